//! What a policy makes of an object's values, and which files are not as it wants them.

use bytes::Bytes;
use manifest::Identity;
use serde_json::Value;

use super::Secrets;
use super::redact::{RedactError, Redactor};
use super::sops::{self, EncryptError, Recipients};
use crate::api::SecretPolicy;

/// Values can't be hidden. Nothing of them is told.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum HideError {
    /// As digests.
    #[error(transparent)]
    Redact(#[from] RedactError),
    /// As a SOPS file.
    #[error(transparent)]
    Encrypt(#[from] EncryptError),
}

impl Secrets {
    /// The manifest of an object whose values are secret, as it is written.
    ///
    /// # Errors
    /// Where they can't be hidden: it must not be written then.
    pub fn hide(
        &self,
        policy: SecretPolicy,
        recipients: &Recipients,
        identity: &Identity,
        canonical: &Bytes,
    ) -> Result<Bytes, HideError> {
        Ok(match policy {
            SecretPolicy::Redact => self.redactor.redact(identity, canonical)?,
            SecretPolicy::Encrypt => self.encrypt(identity, canonical, recipients)?,
            // Left out by whoever asks, so that there is no text of it.
            SecretPolicy::Omit | SecretPolicy::Plain => canonical.clone(),
        })
    }

    fn encrypt(
        &self,
        identity: &Identity,
        text: &[u8],
        recipients: &Recipients,
    ) -> Result<Bytes, EncryptError> {
        let encryptor = self.encryptor.as_ref().ok_or(EncryptError::NoKey)?;
        encryptor.encrypt(identity, text, recipients)
    }

    /// What becomes of a file whose object is gone and which stays. `None` for no change: nobody here can decrypt a file
    /// to encrypt it for others, and digests are hidden well enough.
    ///
    /// # Errors
    /// Where its values can't be hidden.
    pub fn hide_file(
        &self,
        policy: SecretPolicy,
        recipients: &Recipients,
        identity: &Identity,
        file: &[u8],
    ) -> Result<Option<Bytes>, HideError> {
        match policy {
            SecretPolicy::Redact if Redactor::holds_values(identity, file) => {
                let mut object = manifest::parse(file).map_err(RedactError::from)?;
                sops::strip(&mut object);
                let text = manifest::canonicalize(&object).map_err(RedactError::from)?;
                Ok(Some(self.redactor.redact(identity, &text.text)?))
            }
            SecretPolicy::Encrypt if Redactor::holds_values(identity, file) => {
                let object = manifest::parse(file).map_err(EncryptError::from)?;
                if sops::is_ours(&object) {
                    return Ok(None);
                }
                Ok(Some(self.encrypt(identity, file, recipients)?))
            }
            _ => Ok(None),
        }
    }

    /// Whether a file is one that this policy would write of some version of the object.
    #[must_use]
    pub fn is_as_wanted(
        &self,
        policy: SecretPolicy,
        recipients: &Recipients,
        identity: &Identity,
        file: &[u8],
    ) -> bool {
        let object = || manifest::parse(file).unwrap_or(Value::Null);
        match policy {
            SecretPolicy::Redact => !Redactor::holds_values(identity, file),
            SecretPolicy::Encrypt => sops::is_encrypted_for(identity, &object(), recipients),
            SecretPolicy::Omit => false,
            SecretPolicy::Plain => {
                Redactor::holds_values(identity, file) && !sops::is_ours(&object())
            }
        }
    }

    /// Whether a file can be read by somebody who is not to read what this policy writes.
    #[must_use]
    pub fn shows_more(
        &self,
        policy: SecretPolicy,
        recipients: &Recipients,
        identity: &Identity,
        file: &[u8],
    ) -> bool {
        if policy == SecretPolicy::Plain || !Redactor::holds_values(identity, file) {
            return false;
        }
        let object = manifest::parse(file).unwrap_or(Value::Null);
        match sops::readers(identity, &object) {
            Some(readers) => !readers.are_all_in(recipients),
            None => true,
        }
    }
}
