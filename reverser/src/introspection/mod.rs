//! Answers, over gRPC on loopback, what the process is doing and why.

mod explain;
mod service;

pub use service::{IntrospectionService, Sources};
