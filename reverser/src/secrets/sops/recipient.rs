//! Who can decrypt: age X25519 public keys.

use std::fmt;
use std::str::FromStr;

use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32, Hrp};

use super::age;

/// An age recipient, `age1…`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Recipient {
    text: String,
    point: [u8; 32],
}

/// Not an age X25519 recipient. What was given is not told: it may be a private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRecipient {
    /// Where nobody should have put one.
    #[error(
        "it is a private key: put the public one here, as `age-keygen -y` prints it, and take a new key"
    )]
    PrivateKey,
    /// Another word, or a typing error: the checksum tells.
    #[error("it is not an age recipient (age1…, as age-keygen prints it), or mistyped")]
    Malformed,
    /// A point for which everybody knows the shared secret.
    #[error("it is a recipient that everybody could decrypt for")]
    Weak,
}

/// A line that is no recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {error}")]
pub struct ParseRecipientsError {
    /// From 1.
    pub line: usize,
    /// What is wrong with it.
    pub error: InvalidRecipient,
}

/// Some recipients, each once, in an order that does not depend on how they were given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recipients(Vec<Recipient>);

// === impl Recipient ===

impl Recipient {
    pub(super) fn point(&self) -> &[u8; 32] {
        &self.point
    }
}

impl AsRef<str> for Recipient {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Recipient {
    type Err = InvalidRecipient;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.to_ascii_uppercase().starts_with("AGE-SECRET-KEY-") {
            return Err(InvalidRecipient::PrivateKey);
        }
        // Sops compares texts, so that one key has one spelling.
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(InvalidRecipient::Malformed);
        }
        let checked =
            CheckedHrpstring::new::<Bech32>(text).map_err(|_| InvalidRecipient::Malformed)?;
        let bytes: Vec<u8> = checked.byte_iter().collect();
        let point = <[u8; 32]>::try_from(bytes).map_err(|_| InvalidRecipient::Malformed)?;
        // Encoded again, as the bits that fill the last character are free.
        let again = bech32::encode::<Bech32>(Hrp::parse_unchecked("age"), &point);
        if again.as_deref() != Ok(text) {
            return Err(InvalidRecipient::Malformed);
        }
        if !age::is_contributory(&point) {
            return Err(InvalidRecipient::Weak);
        }
        Ok(Self {
            text: text.to_owned(),
            point,
        })
    }
}

// === impl Recipients ===

impl Recipients {
    /// Reads a file of them as age does: one on a line; empty lines and those that begin with `#` don't count.
    ///
    /// # Errors
    /// The first line that is no recipient.
    pub fn parse_file(text: &str) -> Result<Self, ParseRecipientsError> {
        text.lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line.trim()))
            .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
            .map(|(line, text)| {
                text.parse()
                    .map_err(|error| ParseRecipientsError { line, error })
            })
            .collect()
    }

    /// One after another, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &Recipient> {
        self.0.iter()
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nobody could decrypt.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether all of these are among the others.
    #[must_use]
    pub fn are_all_in(&self, others: &Self) -> bool {
        self.0.iter().all(|it| others.0.contains(it))
    }
}

impl FromIterator<Recipient> for Recipients {
    fn from_iter<I: IntoIterator<Item = Recipient>>(recipients: I) -> Self {
        let mut all: Vec<Recipient> = recipients.into_iter().collect();
        all.sort();
        all.dedup();
        Self(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";

    #[test]
    fn what_age_would_refuse_is_refused_and_no_private_key_is_repeated() {
        assert_eq!(ONE.parse::<Recipient>().unwrap().as_ref(), ONE);
        let mistyped = ONE.replace("ql3z", "ql3y");
        for bad in ["", "age1", "age1abc", &mistyped, &ONE.to_uppercase()] {
            let error = bad.parse::<Recipient>().unwrap_err();
            assert_eq!(error, InvalidRecipient::Malformed, "{bad}");
        }
        let private = "AGE-SECRET-KEY-1QQQSYQCYQ5RQWZQFPG9SCRGWPUGPZYSNZS23V9CCRYDPK8QARC0SX4Z7J0";
        let error = format!("# created\n\n{private}\n");
        let error = Recipients::parse_file(&error).unwrap_err();
        assert_eq!((error.line, error.error), (3, InvalidRecipient::PrivateKey));
        assert!(!error.to_string().contains("QQQS"), "{error}");
        let zero = bech32::encode::<Bech32>(Hrp::parse_unchecked("age"), &[0; 32]).unwrap();
        assert_eq!(
            zero.parse::<Recipient>().unwrap_err(),
            InvalidRecipient::Weak
        );
    }

    #[test]
    fn a_list_does_not_depend_on_order_and_repetition() {
        let two = "age1lvyvwawkr0mcnnnncaghunadrqkmuf9e6507x9y920xxpp866cnql7dp2z";
        let read = |text: String| Recipients::parse_file(&text).unwrap();
        let list = read(format!("{ONE}\n# that one\r\n  {two}\r\n{ONE}"));
        assert_eq!(list.len(), 2);
        assert_eq!(list, read(format!("{two}\n{ONE}\n")));
        assert!(read(two.to_owned()).are_all_in(&list) && !list.are_all_in(&read(two.to_owned())));
    }
}
