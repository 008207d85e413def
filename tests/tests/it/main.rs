//! The integration tests: one binary, so that all of them share one control plane.

// clippy.toml allows it in test functions only, not in what they share.
#![allow(clippy::unwrap_used)]

mod api_away;
mod authors;
mod bad_input;
mod certificates;
mod cluster_rules;
mod crowd;
mod documentation;
mod ending;
mod failover;
mod faults;
mod flags;
mod flood;
mod grpcurl;
mod hostile;
mod joining;
mod killed;
mod lab;
mod lists;
mod many_rules;
mod metrics;
mod operations;
mod reconcile;
mod refusals;
mod scaling;
mod secrets;
mod seeing;
mod signed;
mod snapshot;
mod ssh;
mod stream;
mod testbed;
mod truth;
mod types;
mod unreadable;
