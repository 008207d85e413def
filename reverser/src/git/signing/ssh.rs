//! SSH keys in OpenSSH's format, and signatures in that of its PROTOCOL.sshsig.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use memchr::memmem;
use num_bigint::BigUint;
use ssh_key::private::{EcdsaKeypair, KeypairData, RsaKeypair};
use ssh_key::public::KeyData;
use ssh_key::{Algorithm, EcdsaCurve, HashAlg, LineEnding, Mpint, PrivateKey, Signature, SshSig};

use super::super::ssh::takes_too_long;
use super::SigningKeyError;
use super::key::{Curve, Key, RsaNumbers};

/// What the signature is for: a signature made for anything else does not verify as one of a commit.
const NAMESPACE: &str = "git";

/// Where a Secret has the key, as for credentials, and its passphrase.
const KEYS: [&str; 2] = ["ssh-privatekey", "identity"];
const PASSPHRASE: &str = "ssh-password";

/// The key in a Secret.
pub(super) fn find(data: &BTreeMap<String, Vec<u8>>) -> Option<&Vec<u8>> {
    KEYS.iter().find_map(|key| data.get(*key))
}

pub(super) struct SshSigner {
    key: Key,
    public: KeyData,
}

// === impl SshSigner ===

impl SshSigner {
    pub(super) fn new(
        pem: &[u8],
        data: &BTreeMap<String, Vec<u8>>,
    ) -> Result<Self, SigningKeyError> {
        if takes_too_long(pem) {
            return Err(SigningKeyError::Slow);
        }
        let key = PrivateKey::from_openssh(pem).map_err(|_| unreadable(pem))?;
        let key = if key.is_encrypted() {
            let locked = SigningKeyError::Locked(PASSPHRASE);
            let passphrase = data.get(PASSPHRASE).ok_or(locked)?;
            let opened = key.decrypt(passphrase.trim_ascii_end());
            opened.map_err(|error| match error {
                // A wrong passphrase is an error of cryptography.
                ssh_key::Error::Encoding(_) => unreadable(pem),
                _ => locked,
            })?
        } else {
            key
        };
        Ok(Self {
            public: key.public_key().key_data().clone(),
            key: read(key.key_data()).ok_or(SigningKeyError::Unsupported)?,
        })
    }

    pub(super) fn sign(&self, bytes: &[u8]) -> Result<String, ssh_key::Error> {
        SshSig::sign(self, NAMESPACE, HashAlg::Sha512, bytes)?.to_pem(LineEnding::LF)
    }
}

impl ssh_key::SigningKey for SshSigner {
    fn public_key(&self) -> KeyData {
        self.public.clone()
    }
}

impl signature::Signer<Signature> for SshSigner {
    fn try_sign(&self, message: &[u8]) -> Result<Signature, signature::Error> {
        let made = self
            .key
            .sign(message)
            .map_err(|_| signature::Error::new())?;
        let signature = match &self.key {
            Key::Ed25519(_) => Signature::new(Algorithm::Ed25519, made),
            Key::Ecdsa(curve, _) => {
                let curve = match curve {
                    Curve::P256 => EcdsaCurve::NistP256,
                    Curve::P384 => EcdsaCurve::NistP384,
                };
                Signature::new(Algorithm::Ecdsa { curve }, mpints(&made)?)
            }
            Key::Rsa(_) => {
                let hash = Some(HashAlg::Sha512);
                Signature::new(Algorithm::Rsa { hash }, made)
            }
        };
        Ok(signature?)
    }
}

/// Which kind of key it is that `ssh-key` does not take; the name stands in the public part, which is never encrypted.
fn unreadable(pem: &[u8]) -> SigningKeyError {
    let lines = pem.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let body: Vec<&[u8]> = lines.filter(|line| !line.starts_with(b"-")).collect();
    let Ok(blob) = BASE64.decode(body.concat()) else {
        return SigningKeyError::NotOpenSsh;
    };
    let is = |kind: &str| memmem::find(&blob, kind.as_bytes()).is_some();
    if is("ssh-dss") || is("ecdsa-sha2-nistp521") || is("sk-") {
        SigningKeyError::Unsupported
    } else if is("ecdsa-sha2-") {
        SigningKeyError::LeadingZero
    } else {
        SigningKeyError::NotOpenSsh
    }
}

/// R and S as RFC 5656 (section 3.1.2) has them.
fn mpints(both: &[u8]) -> Result<Vec<u8>, ssh_key::Error> {
    let (r, s) = both.split_at(both.len() / 2);
    let mut blob = Vec::with_capacity(both.len() + 10);
    for number in [r, s] {
        let number = Mpint::from_positive_bytes(number)?;
        let length = u32::try_from(number.as_bytes().len()).map_err(|_| ssh_key::Error::Crypto)?;
        blob.extend_from_slice(&length.to_be_bytes());
        blob.extend_from_slice(number.as_bytes());
    }
    Ok(blob)
}

fn read(key: &KeypairData) -> Option<Key> {
    match key {
        KeypairData::Ed25519(pair) => Key::ed25519(pair.private.as_ref(), pair.public.as_ref()),
        KeypairData::Ecdsa(EcdsaKeypair::NistP256 { public, private }) => {
            Key::ecdsa(Curve::P256, private.as_slice(), public.as_bytes())
        }
        KeypairData::Ecdsa(EcdsaKeypair::NistP384 { public, private }) => {
            Key::ecdsa(Curve::P384, private.as_slice(), public.as_bytes())
        }
        KeypairData::Rsa(pair) => rsa(pair).and_then(Key::rsa),
        _ => None,
    }
}

fn rsa(pair: &RsaKeypair) -> Option<RsaNumbers> {
    let number = |number: &Mpint| number.as_positive_bytes().map(BigUint::from_bytes_be);
    Some(RsaNumbers {
        n: number(&pair.public.n)?,
        e: number(&pair.public.e)?,
        d: number(&pair.private.d)?,
        p: number(&pair.private.p)?,
        q: number(&pair.private.q)?,
    })
}
