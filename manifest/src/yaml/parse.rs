//! Reading a manifest back from Git. The only place that knows `serde_yaml`, which is archived.

use serde_json::Value;

/// The text is no single YAML document of JSON's types.
///
/// Only the place is kept: the message of a parser may quote a Secret's value.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a manifest: YAML error at line {line}, column {column}")]
pub struct ParseError {
    /// From 1; 0 where the parser names no place.
    pub line: usize,
    /// From 1; 0 where the parser names no place.
    pub column: usize,
}

/// Reads one YAML document, such as a manifest file in Git.
///
/// # Errors
/// If it is no YAML, has several documents, keys that are no strings, or is nested deeper than
/// 128 levels.
pub fn parse(text: &[u8]) -> Result<Value, ParseError> {
    serde_yaml::from_slice(text).map_err(|error| {
        let place = error.location();
        ParseError {
            line: place.as_ref().map_or(0, serde_yaml::Location::line),
            column: place.as_ref().map_or(0, serde_yaml::Location::column),
        }
    })
}
