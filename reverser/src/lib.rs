//! Lists and watches the cluster, joins every change to its author, and commits it to Git.
//!
//! The modules stand in the order in which data passes through them.
//!
//! ```text
//! api → rules (with discovery) → conductor (whole only where this replica leads)
//!                                   │ plan
//! list/watch ─ attribution.join ─→ workers: queue → batch → commit → git
//!                                   │ outcomes
//!                              status, introspection, observe
//! ```
//!
//! `snapshot` goes the same way once, without an operator: discovery → rules → list → compare → commit → git.

pub mod api;
pub mod discovery;
pub mod rules;

pub mod leadership;

pub mod conductor;

pub mod attribution;
pub mod change;
pub mod fingerprint;
pub mod secrets;
pub mod watch;

pub mod commit;
pub mod git;
pub mod workers;

pub mod probe;
pub mod snapshot;

pub mod introspection;
pub mod observe;
pub mod status;

pub mod args;
pub mod wiring;
