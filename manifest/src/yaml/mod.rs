//! YAML out and in.
//!
//! The writer is our own: it knows the traps of YAML 1.1 and 1.2 both, decides the order of keys, skips
//! what a [`crate::cut::Cut`] leaves out, and needs no copy of the object. Its bytes are the input of
//! [`crate::SpecHash`], so any change to it changes all hashes.

mod emit;
mod parse;
mod scalar;
#[cfg(test)]
mod tests;

pub use emit::keys_in_order;
pub(crate) use emit::{TooDeep, emit};
pub use parse::{ParseError, parse};

/// Deepest nesting that is written: the limit of `serde_json` and `serde_yaml` when they read.
pub(crate) const MAX_DEPTH: usize = 127;
