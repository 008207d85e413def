//! Values encrypted so that `sops` opens them: SOPS's file format, for age recipients.
//!
//! # Deterministic, and what that costs
//!
//! The same object, recipients and cluster key always give the same bytes. So an unchanged Secret makes no commit, after a restart
//! neither, and nothing has to be remembered and nothing decrypted: no private key is in the cluster, and Git compares contents as of
//! any other file.
//!
//! Whatever `sops` would take from a random source is derived from a secret key of the cluster instead, as in SIV modes (RFC 5297)
//! and RFC 6979: `seed = HMAC-SHA-256(cluster key, recipients ‖ identity ‖ the whole canonical manifest)`, and all else,
//! `HMAC-SHA-256(seed, purpose ‖ context)`, from that: see [`seed`]. To whoever does not have the cluster key these look random.
//!
//! - A seed, and with it the data key, belongs to one plaintext of one object for one list of recipients. AES-GCM's one deadly
//!   sin, a key and nonce used twice for different plaintexts, would need two manifests with one HMAC. Within a file each value
//!   has an IV of its own, by its JSON pointer.
//! - age's ephemeral key and file key belong to one recipient in one file.
//! - A reader without an age key learns what `sops` shows too: names, keys, types, the length of every value, which are empty. Besides: that an
//!   object is again exactly what it was in an earlier commit. Equal values anywhere else look different.
//! - A recipient who left keeps the data keys of the versions made for them, and learns nothing about those of any other version.
//! - The cluster key alone opens nothing. Whoever has it and the repository can test a guess of a *whole* manifest, all of its values at once.

mod age;
mod file;
mod format;
mod recipient;
mod seed;

pub use file::EncryptError;
pub(super) use file::{is_encrypted_for, is_ours, readers, strip};
pub use recipient::{InvalidRecipient, ParseRecipientsError, Recipient, Recipients};

use bytes::Bytes;
use manifest::Identity;

/// Encrypts values with what is derived from the cluster's key.
#[derive(Clone)]
pub struct Encryptor(seed::ClusterKey);

// === impl Encryptor ===

impl Encryptor {
    /// Of at least 32 bytes that nobody can guess.
    #[must_use]
    pub fn with_key(key: &[u8]) -> Self {
        Self(seed::ClusterKey::new(key))
    }

    /// The canonical manifest as a SOPS file: of a Secret `data` and `stringData` are encrypted, of any other type every field but
    /// apiVersion, kind and metadata.
    ///
    /// # Errors
    /// For a text that is no manifest, or one that is a SOPS file already.
    pub fn encrypt(
        &self,
        identity: &Identity,
        text: &[u8],
        recipients: &Recipients,
    ) -> Result<Bytes, EncryptError> {
        file::encrypt(&self.0, identity, text, recipients)
    }
}

/// Without the key.
impl std::fmt::Debug for Encryptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encryptor").finish_non_exhaustive()
    }
}

/// Equal where they write the same.
impl PartialEq for Encryptor {
    fn eq(&self, other: &Self) -> bool {
        self.0.is_same(&other.0)
    }
}

impl Eq for Encryptor {}

#[cfg(test)]
mod tests;
