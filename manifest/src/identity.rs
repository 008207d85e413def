//! What names an object, and what names a content.

use std::fmt;
use std::str::FromStr;

use xxhash_rust::xxh64::xxh64;

/// One object at one served version, by the names of its API path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// API group; empty for core.
    pub group: String,
    /// API version within the group, such as `v1`.
    pub version: String,
    /// Plural resource, such as `configmaps`; never a kind.
    pub resource: String,
    /// Empty for a cluster-scoped object.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

/// `{group}/{version}/{resource}/{namespace}/{name}`: the first part of an attribution key.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            group,
            version,
            resource,
            namespace,
            name,
        } = self;
        write!(f, "{group}/{version}/{resource}/{namespace}/{name}")
    }
}

/// xxhash64 of a canonical manifest, written as 16 hex digits.
///
/// A fingerprint to join by, not a proof of integrity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpecHash(u64);

impl SpecHash {
    /// The hash of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(xxh64(bytes, 0))
    }

    /// The number behind the hex digits.
    #[must_use]
    pub fn to_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for SpecHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The text is not 16 lower-case hex digits.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a spec hash is 16 lower-case hex digits")]
pub struct ParseSpecHashError;

impl FromStr for SpecHash {
    type Err = ParseSpecHashError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() != 16 || !text.bytes().all(hex) {
            return Err(ParseSpecHashError);
        }
        u64::from_str_radix(text, 16)
            .map(Self)
            .map_err(|_| ParseSpecHashError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spec_hash_reads_back_what_it_writes() {
        for bytes in [&b""[..], b"a", b"apiVersion: v1\n"] {
            let hash = SpecHash::of(bytes);
            assert_eq!(hash.to_string().len(), 16);
            assert_eq!(hash.to_string().parse(), Ok(hash));
        }
        // xxhash's own test vector for the empty input.
        assert_eq!(SpecHash::of(b"").to_string(), "ef46db3751d8e999");
        for text in [
            "",
            "ef46",
            "EF46DB3751D8E999",
            "+f46db3751d8e999",
            "ef46db3751d8e9990",
        ] {
            assert_eq!(text.parse::<SpecHash>(), Err(ParseSpecHashError));
        }
    }
}
