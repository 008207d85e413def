//! Private keys, whatever format they came in.

use num_bigint::BigUint;
use ring::error::Unspecified;
use ring::rand::SystemRandom;
use ring::rsa::{KeyPairComponents, PublicKeyComponents};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    RSA_PKCS1_SHA512, RsaKeyPair,
};

/// Signs.
pub(super) enum Key {
    Ed25519(Ed25519KeyPair),
    Ecdsa(Curve, EcdsaKeyPair),
    Rsa(Box<RsaKeyPair>),
}

/// Those that `ring` signs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Curve {
    /// With SHA-256.
    P256,
    /// With SHA-384.
    P384,
}

/// What an RSA key is made of; both formats have more, which follows from these.
pub(super) struct RsaNumbers {
    pub(super) n: BigUint,
    pub(super) e: BigUint,
    pub(super) d: BigUint,
    pub(super) p: BigUint,
    pub(super) q: BigUint,
}

// === impl Key ===

impl Key {
    /// `None` where the halves don't belong together; so below.
    pub(super) fn ed25519(seed: &[u8], public: &[u8]) -> Option<Self> {
        Ed25519KeyPair::from_seed_and_public_key(seed, public)
            .map(Self::Ed25519)
            .ok()
    }

    /// From the scalar and the uncompressed point.
    pub(super) fn ecdsa(curve: Curve, private: &[u8], public: &[u8]) -> Option<Self> {
        let algorithm = match curve {
            Curve::P256 => &ECDSA_P256_SHA256_FIXED_SIGNING,
            Curve::P384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
        };
        let random = SystemRandom::new();
        EcdsaKeyPair::from_private_key_and_public_key(algorithm, private, public, &random)
            .map(|key| Self::Ecdsa(curve, key))
            .ok()
    }

    /// `None` also for sizes that `ring` does not sign with: less than 2048 bits and more than 4096.
    pub(super) fn rsa(numbers: RsaNumbers) -> Option<Self> {
        let RsaNumbers { n, e, d, p, q } = numbers;
        // RFC 8017 (section 3.2) does not say which is larger, but ring wants it to be p; in OpenPGP it is q.
        let (p, q) = if p < q { (q, p) } else { (p, q) };
        let one = BigUint::from(1_u8);
        if q <= one {
            return None;
        }
        let (d_p, d_q) = (&d % (&p - &one), &d % (&q - &one));
        let q_inv = q.modinv(&p)?;
        let [n, e, d, p, q, d_p, d_q, q_inv] =
            [n, e, d, p, q, d_p, d_q, q_inv].map(|number| number.to_bytes_be());
        let components = KeyPairComponents {
            public_key: PublicKeyComponents { n, e },
            d,
            p,
            q,
            dP: d_p,
            dQ: d_q,
            qInv: q_inv,
        };
        RsaKeyPair::from_components(&components)
            .map(Box::new)
            .map(Self::Rsa)
            .ok()
    }

    /// The numbers of the signature behind each other, each as long as the key: R and S, or the one of RSA, with SHA-512 and the
    /// padding of PKCS #1 v1.5.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
        match self {
            Self::Ed25519(key) => Ok(key.sign(message).as_ref().to_vec()),
            Self::Ecdsa(_, key) => {
                let signature = key.sign(&SystemRandom::new(), message)?;
                Ok(signature.as_ref().to_vec())
            }
            Self::Rsa(key) => {
                let mut made = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA512, &SystemRandom::new(), message, &mut made)?;
                Ok(made)
            }
        }
    }
}
