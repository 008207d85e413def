//! Contents that were made to have the hash of another.

use manifest::canonicalize;
use serde_json::json;

use crate::lab::{Lab, create, map, set};

const PRIME_1: u64 = 0x9E37_79B1_85EB_CA87;
const PRIME_2: u64 = 0xC2B2_AE3D_27D4_EB4F;

/// XXH64 reads stripes of 32 bytes, in four lanes that know nothing of each other until the end.
const STRIPE: usize = 32;

fn round(lane: u64, input: u64) -> u64 {
    let mixed = lane.wrapping_add(input.wrapping_mul(PRIME_2));
    mixed.rotate_left(31).wrapping_mul(PRIME_1)
}

/// Of an odd number, modulo 2^64 (Newton's method; each step doubles the bits that are right).
fn inverse(number: u64) -> u64 {
    (0..6).fold(number, |inverse, _| {
        inverse.wrapping_mul(2_u64.wrapping_sub(number.wrapping_mul(inverse)))
    })
}

fn word(text: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(text[at..at + 8].try_into().unwrap())
}

/// A text that has the hash of this one and differs from it in 16 letters and digits, in the two stripes from `at` on.
fn twin(text: &[u8], at: usize) -> Vec<u8> {
    assert_eq!(at % STRIPE, 0);
    let lane = (0..at)
        .step_by(STRIPE)
        .fold(PRIME_1.wrapping_add(PRIME_2), |lane, at| {
            round(lane, word(text, at))
        });
    let meets = round(round(lane, word(text, at)), word(text, at + STRIPE));
    let wanted = meets.wrapping_mul(inverse(PRIME_1)).rotate_right(31);
    for number in 0_u32.. {
        let first = format!("{number:08}");
        let differs = round(lane, word(first.as_bytes(), 0));
        let second = wanted
            .wrapping_sub(differs)
            .wrapping_mul(inverse(PRIME_2))
            .to_le_bytes();
        if second.iter().all(u8::is_ascii_alphanumeric) {
            let mut twin = text.to_owned();
            twin[at..at + 8].copy_from_slice(first.as_bytes());
            twin[at + STRIPE..at + STRIPE + 8].copy_from_slice(&second);
            return twin;
        }
    }
    unreachable!("one in 85,000 is of letters and digits")
}

#[tokio::test]
async fn a_change_does_not_hide_behind_the_hash_of_what_was_there() {
    let lab = Lab::shared("twins").await.watching(&["configmaps"]).await;
    let value = "A".repeat(160);
    let canonical = |value: &str| {
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": {"k": value},
            "metadata": {"name": "one", "namespace": lab.namespace},
        });
        canonicalize(&map).unwrap()
    };
    let before = canonical(&value);
    let text = String::from_utf8(before.text.clone()).unwrap();
    let at = text.find(&value).unwrap();
    let twin = String::from_utf8(twin(text.as_bytes(), at.next_multiple_of(STRIPE))).unwrap();
    let other = &twin[at..at + value.len()];
    let after = canonical(other);
    assert_eq!(before.hash, after.hash);
    assert_ne!(before.text, after.text);

    create(&lab.maps("alice"), &map("one", "k", &value)).await;
    lab.holds("one", "k", &value).await;
    set(&lab.maps("bob"), "one", "k", other).await;
    lab.holds("one", "k", other).await;
    let versions = lab.versions(&lab.path("one"));
    let authors: Vec<&str> = versions.iter().map(|c| c.author_name.as_str()).collect();
    assert_eq!(authors, ["alice", "bob"]);
}
