//! Whether two texts are the same, without keeping them.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::LazyLock;

/// Another one in each process.
static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// 64 bits of a text, by SipHash under a random key of this process.
///
/// A [`manifest::SpecHash`] is the same everywhere, for that two processes join by it; whoever likes finds two texts that have the same
/// one, and could hide a change behind it, or an object behind another's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// The fingerprint of these bytes.
    #[must_use]
    pub fn of(text: &[u8]) -> Self {
        Self(KEY.hash_one(text))
    }
}

#[cfg(test)]
mod tests {
    use manifest::SpecHash;

    use super::*;

    #[test]
    fn texts_that_were_made_to_have_one_hash_have_two_fingerprints() {
        let one = [b'A'; 64];
        let other = b"evilCAoaAAAAAAAAAAAAAAAAAAAAAAAAXFAGS8YMAAAAAAAAAAAAAAAAAAAAAAAA";
        assert_eq!(SpecHash::of(&one), SpecHash::of(other));
        assert_ne!(Fingerprint::of(&one), Fingerprint::of(other));
        assert_eq!(Fingerprint::of(&one), Fingerprint::of(&[b'A'; 64]));
    }
}
