//! Signed commits, as `git commit -S` makes them with `gpg.format=ssh`.
//!
//! `ssh-key` reads the keys and writes the format; `ring`, which everything else here uses too, signs.

mod key;
mod ssh;

use std::collections::BTreeMap;
use std::fmt;

use super::credentials::secret_fingerprint;
use super::error::EngineError;
use ssh::SshSigner;

/// Signs commits with one key.
pub struct Signer {
    ssh: SshSigner,
    fingerprint: u64,
}

/// Why a Secret can't be used to sign. Names keys, never values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SigningKeyError {
    /// None of the keys of the Secret that may hold it.
    #[error("it has no signing key: it needs 'ssh-privatekey' or 'identity'")]
    Missing,
    /// Not what `ssh-keygen` writes.
    #[error("the signing key is not a private key in OpenSSH's format")]
    NotOpenSsh,
    /// OpenSSH leaves out zero bytes in front of the number, which ssh-key 0.6 insists on.
    #[error(
        "the ECDSA key begins with a zero byte, as one in 256 does, or is damaged: make another"
    )]
    LeadingZero,
    /// There is no passphrase, or it is another key's. With the key that it is expected in.
    #[error("the signing key is encrypted, and '{0}' does not open it")]
    Locked(&'static str),
    /// Of another kind or size, or of numbers that don't fit each other. Security keys (`sk-`) sign nothing by themselves.
    #[error(
        "the signing key is of a kind that can't be used: Ed25519, ECDSA on nistp256 or nistp384, and RSA of 2048 to 4096 bits can"
    )]
    Unsupported,
}

// === impl Signer ===

impl Signer {
    /// Reads the data of a Secret: `ssh-privatekey` or `identity` in OpenSSH's format, and the passphrase `ssh-password`.
    /// Opening an encrypted key takes a noticeable moment, on purpose of its format.
    ///
    /// # Errors
    /// What is wrong with the key. Values are in no error.
    pub fn from_secret(data: &BTreeMap<String, Vec<u8>>) -> Result<Self, SigningKeyError> {
        let pem = ssh::find(data).ok_or(SigningKeyError::Missing)?;
        Ok(Self {
            ssh: SshSigner::new(pem, data)?,
            fingerprint: secret_fingerprint(data),
        })
    }

    /// Equal as long as the Secret's data is, within one process: see [`secret_fingerprint`].
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// A signature of these bytes in its armour.
    pub(super) fn sign(&self, bytes: &[u8]) -> Result<String, EngineError> {
        self.ssh.sign(bytes).map_err(|error| EngineError::Invalid {
            what: "the commit can't be signed",
            message: error.to_string(),
        })
    }
}

/// Without the key.
impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").finish_non_exhaustive()
    }
}
