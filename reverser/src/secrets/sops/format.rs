//! SOPS's values: what one is as bytes, and what it looks like encrypted.

use aes_gcm::aead::consts::U32;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::aes::Aes256;
use aes_gcm::{AesGcm, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// With an IV of 32 bytes, as SOPS has it.
type Cipher = AesGcm<Aes256, U32>;

/// What an encrypted value begins with.
pub(super) const MARK: &str = "ENC[AES256_GCM,";

/// A scalar as SOPS sees it.
pub(super) struct Plain {
    pub(super) bytes: Vec<u8>,
    kind: &'static str,
}

// === impl Plain ===

impl Plain {
    /// `None` for what SOPS walks past: null, and collections.
    pub(super) fn of(value: &Value) -> Option<Self> {
        let (text, kind) = match value {
            Value::String(text) => (text.clone(), "str"),
            Value::Bool(true) => ("True".to_owned(), "bool"),
            Value::Bool(false) => ("False".to_owned(), "bool"),
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(integer), _) => (integer.to_string(), "int"),
                // All digits, never an exponent: as Go's `FormatFloat(…, 'f', -1, 64)`.
                (None, Some(float)) => (float.to_string(), "float"),
                (None, None) => return None,
            },
            Value::Null | Value::Array(_) | Value::Object(_) => return None,
        };
        Some(Self {
            bytes: text.into_bytes(),
            kind,
        })
    }

    /// `ENC[…]`; an empty text stays empty, in SOPS too.
    pub(super) fn encrypted(
        &self,
        key: &[u8; 32],
        iv: &[u8; 32],
        aad: &str,
    ) -> Result<String, aes_gcm::Error> {
        if self.bytes.is_empty() {
            return Ok(String::new());
        }
        let payload = Payload {
            msg: &self.bytes,
            aad: aad.as_bytes(),
        };
        let sealed = Cipher::new(key.into()).encrypt(Nonce::from_slice(iv), payload)?;
        let (data, tag) = sealed.split_at(sealed.len() - 16);
        Ok(format!(
            "{MARK}data:{},iv:{},tag:{},type:{}]",
            STANDARD.encode(data),
            STANDARD.encode(iv),
            STANDARD.encode(tag),
            self.kind
        ))
    }
}
