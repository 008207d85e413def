//! What is derived in place of random numbers.

use manifest::Identity;
use ring::hmac;

use super::recipient::Recipients;

/// Sets these keys apart from the digests that `Redact` makes with the same key, and from those of a later format.
const DOMAIN: &[u8] = b"gitops-reverser/sops/v1";

/// The cluster's key, for this purpose only.
#[derive(Clone)]
pub(super) struct ClusterKey(hmac::Key);

/// Everything about one file.
pub(super) struct Seed(hmac::Key);

/// What a derived value is for.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    /// SOPS's key of the file.
    DataKey,
    /// The IV of the value at this JSON pointer.
    ValueIv,
    /// The IV of the file's MAC.
    MacIv,
    /// age's ephemeral X25519 key, by recipient.
    AgeEphemeral,
    /// age's file key, by recipient.
    AgeFileKey,
    /// age's payload nonce, by recipient.
    AgeNonce,
}

// === impl ClusterKey ===

impl ClusterKey {
    pub(super) fn new(key: &[u8]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        let own = hmac::sign(&key, DOMAIN);
        Self(hmac::Key::new(hmac::HMAC_SHA256, own.as_ref()))
    }

    /// Of this manifest for these recipients.
    pub(super) fn seed(&self, identity: &Identity, text: &[u8], recipients: &Recipients) -> Seed {
        let mut context = hmac::Context::with_key(&self.0);
        let mut part = |part: &[u8]| {
            // With its length before it, or what moves from one to the next would make no difference.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        };
        let names: Vec<&str> = recipients.iter().map(AsRef::as_ref).collect();
        part(names.join(",").as_bytes());
        for name in [
            &identity.group,
            &identity.version,
            &identity.resource,
            &identity.namespace,
            &identity.name,
        ] {
            part(name.as_bytes());
        }
        part(text);
        Seed(hmac::Key::new(hmac::HMAC_SHA256, context.sign().as_ref()))
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        hmac::sign(&self.0, b"").as_ref() == hmac::sign(&other.0, b"").as_ref()
    }
}

// === impl Seed ===

impl Seed {
    /// 32 bytes for one purpose and, within it, one context.
    pub(super) fn derive(&self, purpose: Purpose, context: &str) -> [u8; 32] {
        let label: &[u8] = match purpose {
            Purpose::DataKey => b"data key\0",
            Purpose::ValueIv => b"value iv\0",
            Purpose::MacIv => b"mac iv\0",
            Purpose::AgeEphemeral => b"age ephemeral\0",
            Purpose::AgeFileKey => b"age file key\0",
            Purpose::AgeNonce => b"age nonce\0",
        };
        let mut input = hmac::Context::with_key(&self.0);
        input.update(label);
        input.update(context.as_bytes());
        let mut derived = [0; 32];
        derived.copy_from_slice(input.sign().as_ref());
        derived
    }

    /// The same, cut to 16 bytes.
    pub(super) fn derive_short(&self, purpose: Purpose, context: &str) -> [u8; 16] {
        let mut short = [0; 16];
        short.copy_from_slice(&self.derive(purpose, context)[..16]);
        short
    }
}
