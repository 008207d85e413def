//! A data key wrapped for one recipient: an armored age v1 file (age-encryption.org/v1) with one X25519 stanza.
//!
//! The `age` crate takes its randomness from the system only. The format is small: what is written here is the header and the order of
//! the steps; curve, HKDF, HMAC and AEAD are libraries'.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::error::Unspecified;
use ring::hkdf::{self, HKDF_SHA256};
use ring::hmac;
use x25519_dalek::{X25519_BASEPOINT_BYTES, x25519};

use super::recipient::Recipient;
use super::seed::{Purpose, Seed};

/// Columns of armored text (RFC 7468).
const COLUMNS: usize = 64;

/// Of a payload of one chunk: counter 0, and that it is the last one.
const LAST_CHUNK: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// Whether the shared secret depends on ours: with a point of small order it is zero for all.
pub(super) fn is_contributory(point: &[u8; 32]) -> bool {
    x25519([1; 32], *point) != [0; 32]
}

/// The data key for this recipient.
pub(super) fn wrap(
    data_key: &[u8; 32],
    recipient: &Recipient,
    seed: &Seed,
) -> Result<String, Unspecified> {
    let file_key = seed.derive_short(Purpose::AgeFileKey, recipient.as_ref());
    let nonce = seed.derive_short(Purpose::AgeNonce, recipient.as_ref());
    let ephemeral = seed.derive(Purpose::AgeEphemeral, recipient.as_ref());

    let mut file = stanza(&file_key, ephemeral, recipient)?.into_bytes();
    let mac_key: hmac::Key = expand(&file_key, &[], b"header", hmac::HMAC_SHA256)?;
    let mac = hmac::sign(&mac_key, &file);
    file.extend_from_slice(format!(" {}\n", STANDARD_NO_PAD.encode(mac)).as_bytes());

    file.extend_from_slice(&nonce);
    let payload_key = expand(&file_key, &nonce, b"payload", &CHACHA20_POLY1305)?;
    file.extend(seal(payload_key, LAST_CHUNK, data_key)?);
    Ok(armored(&file))
}

/// The header up to its MAC.
fn stanza(
    file_key: &[u8; 16],
    ephemeral: [u8; 32],
    recipient: &Recipient,
) -> Result<String, Unspecified> {
    let share = x25519(ephemeral, X25519_BASEPOINT_BYTES);
    let secret = x25519(ephemeral, *recipient.point());
    let salt = [share, *recipient.point()].concat();
    let label = b"age-encryption.org/v1/X25519";
    let wrapping_key = expand(&secret, &salt, label, &CHACHA20_POLY1305)?;
    // This key is used once.
    let wrapped = seal(wrapping_key, [0; 12], file_key)?;
    Ok(format!(
        "age-encryption.org/v1\n-> X25519 {}\n{}\n---",
        STANDARD_NO_PAD.encode(share),
        STANDARD_NO_PAD.encode(wrapped)
    ))
}

fn expand<L: hkdf::KeyType, K: for<'a> From<hkdf::Okm<'a, L>>>(
    secret: &[u8],
    salt: &[u8],
    info: &[u8],
    length: L,
) -> Result<K, Unspecified> {
    let key = hkdf::Salt::new(HKDF_SHA256, salt).extract(secret);
    Ok(key.expand(&[info], length)?.into())
}

fn seal(key: UnboundKey, nonce: [u8; 12], plaintext: &[u8]) -> Result<Vec<u8>, Unspecified> {
    let mut sealed = plaintext.to_vec();
    let nonce = Nonce::assume_unique_for_key(nonce);
    LessSafeKey::new(key).seal_in_place_append_tag(nonce, Aad::empty(), &mut sealed)?;
    Ok(sealed)
}

fn armored(file: &[u8]) -> String {
    let mut text = String::from("-----BEGIN AGE ENCRYPTED FILE-----\n");
    for (index, digit) in STANDARD.encode(file).chars().enumerate() {
        if index > 0 && index % COLUMNS == 0 {
            text.push('\n');
        }
        text.push(digit);
    }
    text.push_str("\n-----END AGE ENCRYPTED FILE-----\n");
    text
}
