//! OpenPGP keys (RFC 9580, version 4) as GnuPG exports them, and detached signatures of theirs.
//!
//! rPGP reads and checks keys and puts signatures together. It does not make them: it would sign with RSA without blinding.

mod choice;

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use num_bigint::BigUint;
use pgp::composed::{ArmorOptions, DetachedSignature, PublicOrSecret, SignedSecretKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::crypto::public_key::PublicKeyAlgorithm;
use pgp::crypto::{ecdsa, eddsa_legacy};
use pgp::packet::{Signature, SignatureConfig, SignatureType, Subpacket, SubpacketData};
use pgp::ser::Serialize;
use pgp::types::{
    EcdsaPublicParams, EddsaLegacyPublicParams, Fingerprint, KeyDetails, KeyId, KeyVersion, Mpi,
    Password, PlainSecretParams, PublicParams, S2kParams, SecretParams, SignatureBytes,
    StringToKey, Tag, Timestamp,
};
use ring::digest;

use super::SigningKeyError;
use super::key::{Curve, Key, RsaNumbers};
use choice::{Chosen, Component};

/// Where a Secret has the key, and its passphrase.
const KEY: &str = "git.asc";
const PASSPHRASE: &str = "passphrase";

/// The S2K specifier by which GnuPG says that it left the secret out (its doc/DETAILS, "GNU extensions to the S2K algorithm").
const GNU_DUMMY: u8 = 101;

/// The key in a Secret.
pub(super) fn find(data: &BTreeMap<String, Vec<u8>>) -> Option<&Vec<u8>> {
    data.get(KEY)
}

pub(super) struct OpenPgpSigner {
    key: Key,
    algorithm: PublicKeyAlgorithm,
    fingerprint: Fingerprint,
    id: KeyId,
    /// In seconds of Unix time.
    expires: Option<u64>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the key does not sign")]
    Ring,
    #[error("{0}")]
    Format(#[from] pgp::errors::Error),
}

// === impl OpenPgpSigner ===

impl OpenPgpSigner {
    pub(super) fn new(
        armour: &[u8],
        data: &BTreeMap<String, Vec<u8>>,
    ) -> Result<Self, SigningKeyError> {
        let key = parse(armour)?;
        let Chosen { component, expires } = choice::choose(&key, now())?;
        let passphrase = data.get(PASSPHRASE).map(|text| text.trim_ascii_end());
        match component {
            Component::Primary(key) => Self::open(
                key.public_key(),
                key.secret_params(),
                Tag::SecretKey,
                passphrase,
                expires,
            ),
            Component::Subkey(key) => Self::open(
                key.public_key(),
                key.secret_params(),
                Tag::SecretSubkey,
                passphrase,
                expires,
            ),
        }
    }

    fn open(
        public: &(impl KeyDetails + Serialize),
        secret: &SecretParams,
        tag: Tag,
        passphrase: Option<&[u8]>,
        expires: Option<u64>,
    ) -> Result<Self, SigningKeyError> {
        let opened;
        let plain = match secret {
            SecretParams::Plain(plain) => plain,
            SecretParams::Encrypted(encrypted) => {
                if !is_of_gnupg(encrypted.string_to_key_params()) {
                    return Err(SigningKeyError::UnknownEncryption);
                }
                let locked = SigningKeyError::Locked(PASSPHRASE);
                let passphrase = Password::from(passphrase.ok_or(locked)?);
                opened = encrypted
                    .unlock(&passphrase, public, Some(tag))
                    .map_err(|_| locked)?;
                &opened
            }
        };
        Ok(Self {
            key: read(public.public_params(), plain).ok_or(SigningKeyError::Unsupported)?,
            algorithm: public.algorithm(),
            fingerprint: public.fingerprint(),
            id: public.legacy_key_id(),
            expires,
        })
    }

    pub(super) fn has_expired(&self) -> bool {
        self.expires.is_some_and(|expires| expires <= now())
    }

    pub(super) fn sign(&self, bytes: &[u8]) -> Result<String, Error> {
        let (hash, digest) = match &self.key {
            Key::Ed25519(_) | Key::Rsa(_) => (HashAlgorithm::Sha512, &digest::SHA512),
            Key::Ecdsa(Curve::P256, _) => (HashAlgorithm::Sha256, &digest::SHA256),
            Key::Ecdsa(Curve::P384, _) => (HashAlgorithm::Sha384, &digest::SHA384),
        };
        let mut config = SignatureConfig::v4(SignatureType::Binary, self.algorithm, hash);
        let hashed = [
            SubpacketData::IssuerFingerprint(self.fingerprint.clone()),
            SubpacketData::SignatureCreationTime(Timestamp::now()),
        ];
        for subpacket in hashed {
            config
                .hashed_subpackets
                .push(Subpacket::regular(subpacket)?);
        }
        // For readers that don't know fingerprints; GnuPG writes it too.
        let id = SubpacketData::IssuerKeyId(self.id);
        config.unhashed_subpackets.push(Subpacket::regular(id)?);

        let message = [bytes, &trailer(&config)?].concat();
        let digest = digest::digest(digest, &message);
        // ring hashes by itself, but for Ed25519 OpenPGP signs the hash.
        let made = match &self.key {
            key @ Key::Ed25519(_) => key.sign(digest.as_ref()),
            key => key.sign(&message),
        };
        let made = made.map_err(|_| Error::Ring)?;
        let numbers = match &self.key {
            Key::Rsa(_) => vec![Mpi::from_slice(&made)],
            Key::Ed25519(_) | Key::Ecdsa(..) => {
                let (r, s) = made.split_at(made.len() / 2);
                vec![Mpi::from_slice(r), Mpi::from_slice(s)]
            }
        };
        let start = [digest.as_ref()[0], digest.as_ref()[1]];
        let signature = Signature::from_config(config, start, SignatureBytes::Mpis(numbers))?;
        let armoured = DetachedSignature::new(signature);
        Ok(armoured.to_armored_string(ArmorOptions::default())?)
    }
}

/// What is hashed behind the data (RFC 9580, section 5.2.4).
fn trailer(config: &SignatureConfig) -> Result<Vec<u8>, pgp::errors::Error> {
    let mut subpackets = Vec::new();
    for subpacket in &config.hashed_subpackets {
        subpacket.to_writer(&mut subpackets)?;
    }
    let mut bytes = vec![
        4,
        config.typ.into(),
        config.pub_alg.into(),
        config.hash_alg.into(),
    ];
    bytes.extend_from_slice(&u16::try_from(subpackets.len())?.to_be_bytes());
    bytes.extend_from_slice(&subpackets);
    let length = u32::try_from(bytes.len())?;
    bytes.extend_from_slice(&[4, 0xff]);
    bytes.extend_from_slice(&length.to_be_bytes());
    Ok(bytes)
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// One key with its subkeys.
fn parse(armour: &[u8]) -> Result<SignedSecretKey, SigningKeyError> {
    let malformed = |_| SigningKeyError::NotOpenPgp;
    let (mut keys, _) = PublicOrSecret::from_armor_many_buf(armour).map_err(malformed)?;
    let key = keys.next().ok_or(SigningKeyError::NotOpenPgp)?;
    let key = match key.map_err(malformed)? {
        PublicOrSecret::Secret(key) => key,
        PublicOrSecret::Public(_) => return Err(SigningKeyError::PublicOnly),
    };
    match keys.next() {
        None => {}
        Some(Ok(_)) => return Err(SigningKeyError::SeveralKeys),
        Some(Err(_)) => return Err(SigningKeyError::NotOpenPgp),
    }
    if key.primary_key.version() != KeyVersion::V4 {
        return Err(SigningKeyError::Unsupported);
    }
    Ok(key)
}

/// Iterated and salted: its work is bounded by the format, at 65 MB to hash.
fn is_of_gnupg(protection: &S2kParams) -> bool {
    let (S2kParams::Cfb { s2k, .. } | S2kParams::MalleableCfb { s2k, .. }) = protection else {
        return false;
    };
    matches!(s2k, StringToKey::IteratedAndSalted { .. })
}

/// Whether the secret is in the packet at all.
fn is_present(secret: &SecretParams) -> bool {
    let SecretParams::Encrypted(encrypted) = secret else {
        return true;
    };
    let (S2kParams::Cfb { s2k, .. } | S2kParams::MalleableCfb { s2k, .. }) =
        encrypted.string_to_key_params()
    else {
        return true;
    };
    !matches!(s2k, StringToKey::Private { typ: GNU_DUMMY, .. })
}

fn read(public: &PublicParams, plain: &PlainSecretParams) -> Option<Key> {
    match (public, plain) {
        (
            PublicParams::EdDSALegacy(EddsaLegacyPublicParams::Ed25519 { key }),
            PlainSecretParams::EdDSALegacy(eddsa_legacy::SecretKey::Ed25519(seed)),
        ) => Key::ed25519(seed.as_bytes(), key.as_bytes()),
        (
            PublicParams::ECDSA(EcdsaPublicParams::P256 { key, .. }),
            PlainSecretParams::ECDSA(ecdsa::SecretKey::P256(secret)),
        ) => Key::ecdsa(Curve::P256, &secret.to_bytes(), &key.to_sec1_bytes()),
        (
            PublicParams::ECDSA(EcdsaPublicParams::P384 { key, .. }),
            PlainSecretParams::ECDSA(ecdsa::SecretKey::P384(secret)),
        ) => Key::ecdsa(Curve::P384, &secret.to_bytes(), &key.to_sec1_bytes()),
        (PublicParams::RSA(public), PlainSecretParams::RSA(secret)) => {
            let public = public.to_bytes().ok()?;
            let mut public = public.as_slice();
            let (d, p, q, _) = secret.to_bytes();
            let [n, e] = [(); 2].map(|()| Mpi::try_from_reader(&mut public).ok());
            let number = BigUint::from_bytes_be;
            Key::rsa(RsaNumbers {
                n: number(n?.as_ref()),
                e: number(e?.as_ref()),
                d: number(&d),
                p: number(&p),
                q: number(&q),
            })
        }
        _ => None,
    }
}
