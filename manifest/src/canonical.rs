//! Object → sanitised → YAML → hash.

use std::fmt;

use serde_json::Value;

use crate::SpecHash;
use crate::cut::Cut;
use crate::sanitize::cut_of;
use crate::yaml::{MAX_DEPTH, TooDeep, emit};

/// An object as it is written to Git.
#[derive(Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Canonical YAML: UTF-8, ends with a newline.
    pub text: Vec<u8>,
    /// [`SpecHash`] of `text`.
    pub hash: SpecHash,
}

/// The text may hold a Secret's values, so only its size and its hash are shown.
impl fmt::Debug for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manifest")
            .field("bytes", &self.text.len())
            .field("hash", &format_args!("{}", self.hash))
            .finish()
    }
}

/// Why a JSON value is no object that could be written to Git.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CanonicalizeError {
    /// The value is a list, a scalar or null.
    #[error("not a JSON object")]
    NotAnObject,
    /// `apiVersion` is absent, empty or no string. (Items of a list come without it.)
    #[error("the object has no apiVersion")]
    NoApiVersion,
    /// `kind` is absent, empty or no string. (Items of a list come without it.)
    #[error("the object has no kind")]
    NoKind,
    /// `metadata.name` is absent, empty or no string.
    #[error("the object has no metadata.name")]
    NoName,
    /// Deeper than a JSON parser with the usual limit would have accepted.
    #[error("the object is nested deeper than {0} levels")]
    TooDeep(usize),
}

/// The canonical manifest of an object; the object itself stays as it is.
///
/// The object as admission sent it and as the watch delivers it give the same bytes. Time and memory
/// grow with the object's size only.
///
/// # Errors
/// If the value is no Kubernetes object, or nested too deeply to be read back.
pub fn canonicalize(object: &Value) -> Result<Manifest, CanonicalizeError> {
    let text = text_without(object, &cut_of(object))?;
    let hash = SpecHash::of(&text);
    Ok(Manifest { text, hash })
}

/// The canonical text without what `cut` leaves out.
pub(crate) fn text_without(object: &Value, cut: &Cut) -> Result<Vec<u8>, CanonicalizeError> {
    let top = object.as_object().ok_or(CanonicalizeError::NotAnObject)?;
    let named = |value: Option<&Value>| {
        value
            .and_then(Value::as_str)
            .is_some_and(|it| !it.is_empty())
    };
    if !named(top.get("apiVersion")) {
        return Err(CanonicalizeError::NoApiVersion);
    }
    if !named(top.get("kind")) {
        return Err(CanonicalizeError::NoKind);
    }
    if !named(object.pointer("/metadata/name")) {
        return Err(CanonicalizeError::NoName);
    }
    // Most manifests are smaller; a page saves the first few growths.
    let mut text = Vec::with_capacity(4096);
    emit(top, Some(cut), &mut text).map_err(|TooDeep| CanonicalizeError::TooDeep(MAX_DEPTH))?;
    Ok(text)
}

#[cfg(test)]
mod tests;
