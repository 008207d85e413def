//! Metrics, health and logs.

mod chain;
mod http;
mod logging;
mod metrics;

pub(crate) use chain::chain;
pub use http::{Health, serve_health, serve_metrics};
pub use logging::{LogFormat, init_logging};
pub use metrics::Metrics;
