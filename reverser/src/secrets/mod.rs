//! What is kept from whoever can read the repository: which types, and how their values are hidden.
//!
//! A destination's `secretPolicy` says what becomes of them. Applied where a change is made for a destination,
//! so that no queue, clone or temporary file of one that redacts ever holds a value.

mod key;
mod policy;
mod redact;
mod sensitive;
mod sops;

pub use key::{KeyError, read_key};
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
