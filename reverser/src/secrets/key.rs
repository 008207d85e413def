//! The redaction key, from a file.

use std::path::{Path, PathBuf};

use super::{Encryptor, Redactor};

/// As many bytes as HMAC-SHA-256 gives: a shorter key is its weakest point (RFC 2104, section 3).
const MIN_BYTES: usize = 32;

/// The key can't be used. Nothing of its content is told.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file can't be read.
    #[error("the redaction key {path} can't be read: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Too easy to guess.
    #[error("the redaction key {path} is shorter than {MIN_BYTES} bytes")]
    TooShort {
        /// The file.
        path: PathBuf,
    },
}

/// What needs the key in this file: all its bytes but white space at both ends, which editors and shells add.
///
/// # Errors
/// If the file can't be read or holds less than 32 bytes.
pub(super) fn read_key(path: &Path) -> Result<(Redactor, Encryptor), KeyError> {
    let bytes = std::fs::read(path).map_err(|source| KeyError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    let key = bytes.trim_ascii();
    if key.len() < MIN_BYTES {
        return Err(KeyError::TooShort {
            path: path.to_owned(),
        });
    }
    Ok((Redactor::with_key(key), Encryptor::with_key(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_long_and_white_space_around_it_does_not_count() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        assert!(matches!(read_key(&path), Err(KeyError::Unreadable { .. })));
        std::fs::write(&path, format!("  {}  \n", "k".repeat(31))).unwrap();
        assert!(matches!(read_key(&path), Err(KeyError::TooShort { .. })));
        std::fs::write(&path, format!("{}\n", "k".repeat(32))).unwrap();
        assert_eq!(
            read_key(&path).unwrap(),
            (
                Redactor::with_key("k".repeat(32).as_bytes()),
                Encryptor::with_key("k".repeat(32).as_bytes())
            )
        );
    }
}
