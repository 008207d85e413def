//! The sockets: admissions over TLS, health and metrics in the clear.

pub mod plain;
pub mod tls;
pub mod webhook;

mod not_after;
mod slots;

use std::time::Duration;

/// Accepting fails when a client is gone already, which is nothing, or when file descriptors are
/// used up, which only time helps against.
async fn accept_failed(error: &std::io::Error) {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    ) {
        tracing::warn!(%error, "accepting a connection");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
