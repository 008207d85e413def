//! What is kept from whoever can read the repository: which types, and how their values are hidden.
//!
//! A destination's `secretPolicy` says what becomes of them. Applied where a change is made for a destination,
//! so that no queue, clone or temporary file of one that redacts ever holds a value.

mod key;
mod policy;
mod redact;
mod sensitive;
mod sops;

use std::path::Path;

pub use key::KeyError;
pub use policy::HideError;
pub use redact::{RedactError, Redactor};
pub use sensitive::{ParseTypeError, SensitiveType, SensitiveTypes};
pub use sops::{
    EncryptError, Encryptor, InvalidRecipient, ParseRecipientsError, Recipient, Recipients,
};

/// From flags, for all destinations.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Secrets {
    /// Whose values are secret.
    pub types: SensitiveTypes,
    /// Hides them.
    pub redactor: Redactor,
    /// Encrypts them; without a key nothing is.
    pub encryptor: Option<Encryptor>,
}

impl Secrets {
    /// As the flags say: `types` beside core Secrets, and the key in this file, without which changes of redacted values don't show
    /// and nothing is encrypted.
    ///
    /// # Errors
    /// If the key can't be used.
    pub fn from_flags(types: &[SensitiveType], key_file: Option<&Path>) -> Result<Self, KeyError> {
        let (redactor, encryptor) = key_file.map(key::read_key).transpose()?.unzip();
        Ok(Self {
            types: types.iter().cloned().collect(),
            redactor: redactor.unwrap_or_default(),
            encryptor,
        })
    }
}
