//! YAML out and in.

mod parse;

pub use parse::{ParseError, parse};
