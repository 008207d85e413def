//! The canonical form of a Kubernetes object: what the webhook sidecar and the reverser must
//! compute alike, or no admission would ever match a watch event.
//!
//! `sanitize → canonical YAML → hash`, and `identity → path in Git`. Pure: no I/O, no clock.

mod identity;

pub use identity::{Identity, SpecHash};
