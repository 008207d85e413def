//! The correlation store: admissions wait here for the watch events that they caused.
//!
//! ```text
//! sidecar ⇒ service → observation → store ⇐ join ← watch event
//! ```
//!
//! [`join`] is the decision, pure. [`Store`] keeps what it decides over, bounded in every
//! direction. [`ReportService`] fills the store from the sidecar's stream. [`Barrier`] holds a change
//! back while its observation may still be on its way; until then every name is a [`Credit`] that
//! may be withdrawn.

mod barrier;
mod claim;
mod credit;
pub mod endpoint;
#[cfg(test)]
mod fixtures;
mod index;
pub mod join;
mod metrics;
mod observation;
mod removals;
mod routed;
mod service;
mod sessions;
mod share;
#[cfg(test)]
mod simulation;
mod store;
mod verdicts;

pub use barrier::{Asked, Barrier, Coverage};
pub use claim::Joined;
pub use credit::Credit;
pub use metrics::{AttributionMetrics, EvictionReason};
pub use observation::{Observation, ObservationError, Write};
pub use routed::Routed;
pub use service::{Presence, ReportService, Sidecar, SidecarSignals};
pub use store::{Limits, Pending, Recorded, Store};
