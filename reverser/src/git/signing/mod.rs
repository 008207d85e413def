//! Signed commits, as `git commit -S` makes them with `gpg.format=ssh` or `openpgp`.
//!
//! `ssh-key` and `pgp` (rPGP) read the keys and write the formats; `ring`, which everything else here uses too, signs.

mod key;
mod openpgp;
mod ssh;

use std::collections::BTreeMap;
use std::fmt;

use super::credentials::secret_fingerprint;
use super::error::EngineError;
use openpgp::OpenPgpSigner;
use ssh::SshSigner;

/// Signs commits with one key.
pub struct Signer {
    format: Format,
    fingerprint: u64,
}

enum Format {
    Ssh(SshSigner),
    OpenPgp(OpenPgpSigner),
}

/// Why a Secret can't be used to sign. Names keys, never values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SigningKeyError {
    /// None of the keys of the Secret that may hold it.
    #[error(
        "it has no signing key: it needs 'ssh-privatekey' or 'identity' (SSH), or 'git.asc' (OpenPGP)"
    )]
    Missing,
    /// Which one to sign with is not ours to guess.
    #[error("it has an SSH key and, as 'git.asc', an OpenPGP key: remove one of them")]
    Ambiguous,
    /// Not what `ssh-keygen` writes.
    #[error("the signing key is not a private key in OpenSSH's format")]
    NotOpenSsh,
    /// OpenSSH leaves out zero bytes in front of the number, which ssh-key 0.6 insists on.
    #[error(
        "the ECDSA key begins with a zero byte, as one in 256 does, or is damaged: make another"
    )]
    LeadingZero,
    /// Not what `gpg --armor --export-secret-keys` writes.
    #[error("'git.asc' is not an OpenPGP private key in ASCII armour, as GnuPG exports it")]
    NotOpenPgp,
    /// More than one OpenPGP key, subkeys aside.
    #[error("'git.asc' has more than one key: export the one that signs")]
    SeveralKeys,
    /// A public key, or what GnuPG exports of a secret that is elsewhere: on a card, say.
    #[error("'git.asc' lacks the private half of the key that signs")]
    PublicOnly,
    /// Keys that encrypt, authenticate or certify only.
    #[error("no key of 'git.asc' is one that signs")]
    NotForSigning,
    /// The key that signs, or its primary key.
    #[error("the signing key has expired: extend it and export it again")]
    Expired,
    /// The key that signs, or its primary key.
    #[error("the signing key has been revoked")]
    Revoked,
    /// There is no passphrase, or it is another key's. With the key that it is expected in.
    #[error("the signing key is encrypted, and '{0}' does not open it")]
    Locked(&'static str),
    /// bcrypt of more rounds than anybody needs.
    #[error("opening the signing key takes too long: `ssh-keygen -p -a 100` makes it shorter")]
    Slow,
    /// By something else than GnuPG. Argon2, for one, takes as much memory as the key says.
    #[error(
        "the signing key is encrypted in another way than GnuPG's: import it there and export it"
    )]
    UnknownEncryption,
    /// Of another kind or size, or of numbers that don't fit each other, or what it says of itself can't be verified.
    /// Security keys (`sk-`) sign nothing by themselves.
    #[error(
        "the signing key is of a kind that can't be used: Ed25519, ECDSA on nistp256 or nistp384, and RSA of 2048 to 4096 bits can"
    )]
    Unsupported,
}

// === impl Signer ===

impl Signer {
    /// Reads the data of a Secret: an SSH key in OpenSSH's format as `ssh-privatekey` or `identity`, with the passphrase
    /// `ssh-password`; or an OpenPGP key in ASCII armour as `git.asc`, with the passphrase `passphrase`, which are the names
    /// that Flux's image-automation-controller has (`signingSecretKey` and `signingPassphraseKey` in its
    /// `internal/source/git.go`). Opening an encrypted key takes a noticeable moment, on purpose of its format.
    ///
    /// # Errors
    /// What is wrong with the key. Values are in no error.
    pub fn from_secret(data: &BTreeMap<String, Vec<u8>>) -> Result<Self, SigningKeyError> {
        let format = match (ssh::find(data), openpgp::find(data)) {
            (Some(_), Some(_)) => return Err(SigningKeyError::Ambiguous),
            (Some(pem), None) => Format::Ssh(SshSigner::new(pem, data)?),
            (None, Some(armour)) => Format::OpenPgp(OpenPgpSigner::new(armour, data)?),
            (None, None) => return Err(SigningKeyError::Missing),
        };
        Ok(Self {
            format,
            fingerprint: secret_fingerprint(data),
        })
    }

    /// Equal as long as the Secret's data is, within one process: see [`secret_fingerprint`].
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Whether the key was good when it was read and is not any more.
    #[must_use]
    pub fn has_expired(&self) -> bool {
        match &self.format {
            Format::Ssh(_) => false,
            Format::OpenPgp(signer) => signer.has_expired(),
        }
    }

    /// A signature of these bytes in its armour.
    pub(super) fn sign(&self, bytes: &[u8]) -> Result<String, EngineError> {
        let signed = match &self.format {
            Format::Ssh(signer) => signer.sign(bytes).map_err(|error| error.to_string()),
            Format::OpenPgp(_) if self.has_expired() => Err(SigningKeyError::Expired.to_string()),
            Format::OpenPgp(signer) => signer.sign(bytes).map_err(|error| error.to_string()),
        };
        signed.map_err(|message| EngineError::Invalid {
            what: "the commit can't be signed",
            message,
        })
    }
}

/// Without the key.
impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").finish_non_exhaustive()
    }
}
