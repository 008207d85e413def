//! Commits signed with an SSH key, as `git commit -S` makes them with `gpg.format=ssh`.
//!
//! The key is read by `ssh-key`; `ring`, which everything else here uses too, signs. The format is OpenSSH's PROTOCOL.sshsig, with
//! Git's namespace.

use std::collections::BTreeMap;
use std::fmt;

use num_bigint::BigUint;
use ring::rand::SystemRandom;
use ring::rsa::{KeyPairComponents, PublicKeyComponents};
use ring::signature::{Ed25519KeyPair, RSA_PKCS1_SHA512, RsaKeyPair};
use ssh_key::private::{KeypairData, RsaKeypair};
use ssh_key::public::KeyData;
use ssh_key::{Algorithm, HashAlg, LineEnding, PrivateKey, Signature, SshSig};

use super::credentials::secret_fingerprint;
use super::error::EngineError;

/// What the signature is for: a signature made for anything else does not verify as one of a commit.
const NAMESPACE: &str = "git";

/// Where a Secret has the key, as for credentials, and its passphrase.
const KEYS: [&str; 2] = ["ssh-privatekey", "identity"];
const PASSPHRASE: &str = "ssh-password";

/// Signs commits with one key.
pub struct Signer {
    key: Key,
    public: KeyData,
    fingerprint: u64,
}

enum Key {
    Ed25519(Ed25519KeyPair),
    Rsa(Box<RsaKeyPair>),
}

/// Why a Secret can't be used to sign. Names keys, never values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SigningKeyError {
    /// Neither of the keys of the Secret that may hold it.
    #[error("it has no signing key: it needs 'ssh-privatekey' or 'identity'")]
    Missing,
    /// Not what `ssh-keygen` writes, or of another kind: ECDSA, say.
    #[error("the signing key is not an Ed25519 or RSA private key in OpenSSH's format")]
    Malformed,
    /// There is no passphrase, or it is another key's.
    #[error("the signing key is encrypted, and 'ssh-password' does not open it")]
    Locked,
    /// RSA of another size, or numbers that don't fit each other.
    #[error("the signing key can't be used: RSA keys have 2048 to 4096 bits")]
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
        let pem = KEYS
            .iter()
            .find_map(|key| data.get(*key))
            .ok_or(SigningKeyError::Missing)?;
        let key = PrivateKey::from_openssh(pem).map_err(|_| SigningKeyError::Malformed)?;
        let key = if key.is_encrypted() {
            let passphrase = data.get(PASSPHRASE).ok_or(SigningKeyError::Locked)?;
            key.decrypt(passphrase.trim_ascii_end())
                .map_err(|_| SigningKeyError::Locked)?
        } else {
            key
        };
        Ok(Self {
            public: key.public_key().key_data().clone(),
            key: Key::of(key.key_data()).ok_or(SigningKeyError::Unsupported)?,
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
        SshSig::sign(self, NAMESPACE, HashAlg::Sha512, bytes)
            .and_then(|signature| signature.to_pem(LineEnding::LF))
            .map_err(|error| EngineError::Invalid {
                what: "the commit can't be signed",
                message: error.to_string(),
            })
    }
}

impl ssh_key::SigningKey for Signer {
    fn public_key(&self) -> KeyData {
        self.public.clone()
    }
}

impl signature::Signer<Signature> for Signer {
    fn try_sign(&self, message: &[u8]) -> Result<Signature, signature::Error> {
        match &self.key {
            Key::Ed25519(key) => {
                let made = key.sign(message).as_ref().to_vec();
                Ok(Signature::new(Algorithm::Ed25519, made)?)
            }
            Key::Rsa(key) => {
                let mut made = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA512, &SystemRandom::new(), message, &mut made)
                    .map_err(|_| signature::Error::new())?;
                let algorithm = Algorithm::Rsa {
                    hash: Some(HashAlg::Sha512),
                };
                Ok(Signature::new(algorithm, made)?)
            }
        }
    }
}

/// Without the key.
impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").finish_non_exhaustive()
    }
}

// === impl Key ===

impl Key {
    fn of(key: &KeypairData) -> Option<Self> {
        match key {
            KeypairData::Ed25519(pair) => {
                let seed = pair.private.as_ref();
                let public = pair.public.as_ref();
                Ed25519KeyPair::from_seed_and_public_key(seed, public)
                    .map(Self::Ed25519)
                    .ok()
            }
            KeypairData::Rsa(pair) => rsa(pair).map(Box::new).map(Self::Rsa),
            _ => None,
        }
    }
}

/// OpenSSH's format leaves out two of the numbers that RFC 8017 (section 3.2) has: d mod (p-1) and d mod (q-1).
fn rsa(pair: &RsaKeypair) -> Option<RsaKeyPair> {
    let (public, private) = (&pair.public, &pair.private);
    let [d, p, q] = [&private.d, &private.p, &private.q]
        .map(|number| number.as_positive_bytes().map(BigUint::from_bytes_be));
    let (d, p, q) = (d?, p?, q?);
    let one = BigUint::from(1_u8);
    if p <= one || q <= one {
        return None;
    }
    let (d_p, d_q) = (&d % (&p - &one), &d % (&q - &one));
    let components = KeyPairComponents {
        public_key: PublicKeyComponents {
            n: public.n.as_positive_bytes()?,
            e: public.e.as_positive_bytes()?,
        },
        d: &d.to_bytes_be(),
        p: &p.to_bytes_be(),
        q: &q.to_bytes_be(),
        dP: &d_p.to_bytes_be(),
        dQ: &d_q.to_bytes_be(),
        qInv: &private.iqmp.as_positive_bytes()?.to_vec(),
    };
    RsaKeyPair::from_components(&components).ok()
}
