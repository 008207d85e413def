//! Manifests that apply back: the canonical form against a real control plane, a real kubectl and a real Git.
//!
//! Each test says its figures on standard error.

// clippy.toml allows it in test functions only, not in what they share.
#![allow(clippy::unwrap_used)]

mod admission;
mod corpus;
mod export;
mod kubectl;
mod kubectl_reads;
mod quiet;
mod round_trip;
mod served;

/// Text that some parser takes for something else, as the writer's own tests have it.
#[path = "../../../manifest/src/yaml/tests/traps.rs"]
mod traps;
/// Arbitrary values, likewise.
#[path = "../../../manifest/src/yaml/tests/values.rs"]
mod values;

use std::time::Duration;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
