//! Values replaced by digests.

use std::fmt;

use bytes::Bytes;
use manifest::{CanonicalizeError, Identity, ParseError};
use ring::hmac;
use serde_json::Value;

use super::sensitive::is_secret;

/// What a replaced value begins with. No base64 has a colon (RFC 4648), so that the apiserver refuses a Secret of them.
const MARK: &str = "redacted:";

/// Bytes of the digest that are written, as hex digits: two values of one key fall together once in 2^64.
const DIGEST_BYTES: usize = 8;

/// What no value is in: these say which object it is.
const KEPT: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Further fields of a Secret that hold no value.
const KEPT_OF_SECRET: [&str; 2] = ["immutable", "type"];

/// Replaces values. The same value of the same key of the same object always gives the same text, also after a restart with
/// the same key; equal values anywhere else do not, so that nobody sees who shares a password.
///
/// Without a key a value becomes `redacted:` alone: a digest that anybody can compute would give short values away.
#[derive(Clone, Default)]
pub struct Redactor {
    key: Option<hmac::Key>,
}

/// A manifest can't be redacted. Nothing of its content is told.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RedactError {
    /// It does not read back.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// It is no object any more.
    #[error(transparent)]
    Canonicalize(#[from] CanonicalizeError),
}

// === impl Redactor ===

impl Redactor {
    /// Of at least 32 bytes that nobody can guess.
    #[must_use]
    pub fn with_key(key: &[u8]) -> Self {
        Self {
            key: Some(hmac::Key::new(hmac::HMAC_SHA256, key)),
        }
    }

    /// Whether a change of a value shows.
    #[must_use]
    pub fn shows_changes(&self) -> bool {
        self.key.is_some()
    }

    /// The canonical manifest of the object with its values replaced: of a Secret all but type and immutable, of any other
    /// type every scalar outside apiVersion, kind and metadata. Keys, names, labels and annotations stay.
    ///
    /// # Errors
    /// For a text that is no manifest.
    pub fn redact(&self, identity: &Identity, text: &[u8]) -> Result<Bytes, RedactError> {
        let mut object = manifest::parse(text)?;
        if let Some(fields) = object.as_object_mut() {
            for (field, value) in fields {
                if !is_kept(identity, field) {
                    self.replace(identity, &format!("/{}", escaped(field)), value);
                }
            }
        }
        Ok(manifest::canonicalize(&object)?.text.into())
    }

    fn replace(&self, identity: &Identity, pointer: &str, value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for (field, value) in fields {
                    self.replace(identity, &format!("{pointer}/{}", escaped(field)), value);
                }
            }
            Value::Array(items) => {
                for (index, value) in items.iter_mut().enumerate() {
                    self.replace(identity, &format!("{pointer}/{index}"), value);
                }
            }
            scalar => *scalar = self.replacement(identity, pointer, scalar).into(),
        }
    }

    fn replacement(&self, identity: &Identity, pointer: &str, scalar: &Value) -> String {
        let Some(key) = &self.key else {
            return MARK.to_owned();
        };
        let mut context = hmac::Context::with_key(key);
        // Each with its length before it, or what moves from one to the next would make no difference.
        let parts = [
            &identity.group,
            &identity.resource,
            &identity.namespace,
            &identity.name,
            pointer,
            // As JSON, in which 1 is not "1".
            &scalar.to_string(),
        ];
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let digest = context.sign();
        let digits = digest.as_ref().iter().take(DIGEST_BYTES);
        MARK.chars()
            .chain(
                digits
                    .flat_map(|byte| format!("{byte:02x}").into_bytes())
                    .map(char::from),
            )
            .collect()
    }

    /// Whether a file holds a value in the clear. What can't be read may hold some.
    #[must_use]
    pub fn holds_values(identity: &Identity, text: &[u8]) -> bool {
        let Ok(Value::Object(fields)) = manifest::parse(text) else {
            return true;
        };
        fields
            .iter()
            .any(|(field, value)| !is_kept(identity, field) && is_clear(value))
    }
}

pub(super) fn is_kept(identity: &Identity, field: &str) -> bool {
    KEPT.contains(&field)
        || (is_secret(&identity.group, &identity.resource) && KEPT_OF_SECRET.contains(&field))
}

fn is_clear(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.values().any(is_clear),
        Value::Array(items) => items.iter().any(is_clear),
        Value::String(text) => !text.starts_with(MARK),
        _ => true,
    }
}

/// A segment of a JSON pointer (RFC 6901, section 3).
pub(super) fn escaped(field: &str) -> String {
    field.replace('~', "~0").replace('/', "~1")
}

/// Equal where they write the same.
impl PartialEq for Redactor {
    fn eq(&self, other: &Self) -> bool {
        let sample = |it: &Self| {
            it.key
                .as_ref()
                .map(|key| hmac::sign(key, b"").as_ref().to_vec())
        };
        sample(self) == sample(other)
    }
}

impl Eq for Redactor {}

/// Without the key.
impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor")
            .field("shows_changes", &self.shows_changes())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "redact_tests.rs"]
mod tests;
