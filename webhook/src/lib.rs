//! The sidecar: it answers every admission with *allowed*, and streams who made the write to
//! the reverser.
//!
//! ```text
//! AdmissionReview → observe → outbox ⇒ gRPC ⇒ the reverser's attribution store
//! ```
//!
//! It keeps no state but what it observed in the last minute, and no object body leaves it.
//! Nothing that happens behind it can refuse a write: an answer waits for the reverser 50 ms at
//! most, and not at all while the reverser is away.

pub mod admission;
pub mod args;
pub mod endpoint;
pub mod interest;
pub mod logging;
pub mod metrics;
pub mod observe;
pub mod outbox;
mod reach;
pub mod review;
pub mod routing;
pub mod runtime;
pub mod server;
pub mod stream;
pub mod token;
pub mod wiring;
