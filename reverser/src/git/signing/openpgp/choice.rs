//! Which key signs: the newest subkey that can, or else the primary key, as GnuPG chooses (`finish_lookup` in its g10/getkey.c).

use std::cmp::Reverse;

use pgp::composed::{SignedSecretKey, SignedSecretSubKey};
use pgp::packet::{
    KeyFlags, PublicKey, SecretKey, SecretSubkey, Signature, SignatureType, SubpacketData,
};
use pgp::types::{KeyDetails, SecretParams, Tag};

use super::super::SigningKeyError;

/// The key that signs, within the key that was given.
#[derive(Clone, Copy)]
pub(super) struct Chosen<'a> {
    pub(super) component: Component<'a>,
    /// In seconds of Unix time.
    pub(super) expires: Option<u64>,
}

#[derive(Clone, Copy)]
pub(super) enum Component<'a> {
    Primary(&'a SecretKey),
    Subkey(&'a SecretSubkey),
}

/// At `now`, in seconds of Unix time.
///
/// # Errors
/// What is wrong with the primary key, or else with the newest key that is meant to sign.
pub(super) fn choose(key: &SignedSecretKey, now: u64) -> Result<Chosen<'_>, SigningKeyError> {
    let primary = &key.primary_key;
    let public = primary.public_key();
    let revocations = &key.details.revocation_signatures;
    if revocations.iter().any(|it| it.verify_key(public).is_ok()) {
        return Err(SigningKeyError::Revoked);
    }
    let own = self_signature(key, now).ok_or(SigningKeyError::Unsupported)?;
    let expires = expiry(primary, own);
    check_expiry(expires, now)?;

    let mut candidates: Vec<_> = key
        .secret_subkeys
        .iter()
        .filter_map(|subkey| Some((subkey, binding(public, subkey, now)?)))
        .collect();
    candidates.sort_by_key(|(subkey, _)| Reverse(subkey.key.created_at().as_secs()));
    let subkeys = candidates.into_iter().map(|(subkey, binding)| {
        if is_revoked(public, subkey) {
            return Err(SigningKeyError::Revoked);
        }
        // A subkey is good for as long as its primary key at most.
        let own = expiry(&subkey.key, binding);
        let expires = own.into_iter().chain(expires).min();
        check_expiry(expires, now)?;
        check_presence(subkey.key.secret_params())?;
        let component = Component::Subkey(&subkey.key);
        Ok(Chosen { component, expires })
    });
    let primary = is_for_signing(own).then(|| {
        check_presence(primary.secret_params())?;
        let component = Component::Primary(primary);
        Ok(Chosen { component, expires })
    });
    let all: Vec<_> = subkeys.chain(primary).collect();
    let usable = all.iter().find_map(|candidate| candidate.ok());
    let flaw = all.into_iter().find_map(Result::err);
    usable.ok_or(flaw.unwrap_or(SigningKeyError::NotForSigning))
}

/// What the key says of itself: its newest signature of itself or one of its user IDs.
fn self_signature(key: &SignedSecretKey, now: u64) -> Option<&Signature> {
    let public = key.primary_key.public_key();
    let direct = key
        .details
        .direct_signatures
        .iter()
        .filter(|it| it.verify_key(public).is_ok() && is_in_force(it, now));
    let users = key.details.users.iter().filter_map(|user| {
        let own = user.signatures.iter().filter(|it| {
            let verified = it.verify_certification(public, Tag::UserId, &user.id);
            verified.is_ok() && is_in_force(it, now)
        });
        own.max_by_key(|it| created(it))
            .filter(|it| it.typ() != Some(SignatureType::CertRevocation))
    });
    direct.chain(users).max_by_key(|it| created(it))
}

/// The signature that makes it a subkey which may sign. It has to have signed that itself, or else anybody could claim it.
fn binding<'a>(
    primary: &PublicKey,
    subkey: &'a SignedSecretSubKey,
    now: u64,
) -> Option<&'a Signature> {
    let public = subkey.key.public_key();
    let bindings = subkey.signatures.iter().filter(|it| {
        it.typ() == Some(SignatureType::SubkeyBinding)
            && it.verify_subkey_binding(primary, public).is_ok()
            && is_in_force(it, now)
    });
    let newest = bindings.max_by_key(|it| created(it))?;
    let back = newest.embedded_signature()?;
    let agrees = back.verify_primary_key_binding(public, primary).is_ok();
    (agrees && is_for_signing(newest)).then_some(newest)
}

fn is_revoked(primary: &PublicKey, subkey: &SignedSecretSubKey) -> bool {
    let public = subkey.key.public_key();
    subkey.signatures.iter().any(|it| {
        it.typ() == Some(SignatureType::SubkeyRevocation)
            && it.verify_subkey_binding(primary, public).is_ok()
    })
}

/// Keys without flags do whatever their algorithm can.
fn is_for_signing(signature: &Signature) -> bool {
    let subpackets = signature.config().map(|config| &config.hashed_subpackets);
    let mut flags = subpackets
        .into_iter()
        .flatten()
        .filter_map(|it| match &it.data {
            SubpacketData::KeyFlags(flags) => Some(flags),
            _ => None,
        });
    flags.next().is_none_or(KeyFlags::sign)
}

fn created(signature: &Signature) -> u64 {
    signature.created().map_or(0, |time| time.as_secs().into())
}

/// Whether the signature itself has not expired.
fn is_in_force(signature: &Signature, now: u64) -> bool {
    let good_for = signature.signature_expiration_time();
    let good_for = good_for.map_or(0, |time| u64::from(time.as_secs()));
    good_for == 0 || created(signature) + good_for > now
}

/// 0 seconds mean forever (RFC 9580, section 5.2.3.13).
fn expiry(key: &impl KeyDetails, signature: &Signature) -> Option<u64> {
    let good_for = signature.key_expiration_time()?.as_secs();
    let created = u64::from(key.created_at().as_secs());
    (good_for != 0).then(|| created + u64::from(good_for))
}

fn check_expiry(expires: Option<u64>, now: u64) -> Result<(), SigningKeyError> {
    match expires {
        Some(expires) if expires <= now => Err(SigningKeyError::Expired),
        _ => Ok(()),
    }
}

fn check_presence(secret: &SecretParams) -> Result<(), SigningKeyError> {
    if super::is_present(secret) {
        Ok(())
    } else {
        Err(SigningKeyError::PublicOnly)
    }
}
