//! The path on which admissions are taken.

use std::fmt;
use std::path::Path;

use subtle::ConstantTimeEq;

/// The only path without a token.
pub const PATH: &str = "/process-validating-webhook";

/// Shorter tokens can be guessed.
const MIN_TOKEN: usize = 16;
/// Longer ones are not tokens but the wrong file.
const MAX_TOKEN: usize = 256;

/// Which path is served, to the byte.
///
/// With a token, knowing it is what tells the apiserver from any other pod that can reach the
/// port; it is compared in constant time and can't be printed.
pub struct Route {
    path: String,
}

/// The token file is of no use.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Not readable, or not UTF-8.
    #[error("reading the path token file")]
    Read(#[from] std::io::Error),
    /// Too short or too long, after surrounding white space is cut off.
    #[error("the path token must have between {MIN_TOKEN} and {MAX_TOKEN} characters")]
    Length,
    /// Something that a URL path would have to escape.
    #[error("the path token may hold only letters, digits and -._~")]
    Characters,
}

impl Route {
    /// Without a token: [`PATH`] itself.
    #[must_use]
    pub fn open() -> Self {
        Self {
            path: PATH.to_owned(),
        }
    }

    /// [`PATH`]`/<token>` and nothing else.
    ///
    /// # Errors
    /// When the token is too short, too long, or not made of unreserved URL characters
    /// (RFC 3986 section 2.3).
    pub fn with_token(token: &str) -> Result<Self, TokenError> {
        let token = token.trim();
        if !(MIN_TOKEN..=MAX_TOKEN).contains(&token.len()) {
            return Err(TokenError::Length);
        }
        let unreserved = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
        if !token.bytes().all(unreserved) {
            return Err(TokenError::Characters);
        }
        Ok(Self {
            path: format!("{PATH}/{token}"),
        })
    }

    /// [`Route::with_token`] of a file's content.
    ///
    /// # Errors
    /// As there, and when the file can't be read.
    pub fn from_file(file: &Path) -> Result<Self, TokenError> {
        Self::with_token(&std::fs::read_to_string(file)?)
    }

    /// Whether this is the path, in a time that tells nothing but the length.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        self.path.as_bytes().ct_eq(path.as_bytes()).into()
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdefXYZ-._~";

    #[test]
    fn with_a_token_only_the_path_that_ends_in_it_matches() {
        let route = Route::with_token(&format!("  {TOKEN}\n")).unwrap();
        assert!(route.matches(&format!("{PATH}/{TOKEN}")));
        for path in [
            PATH.to_owned(),
            format!("{PATH}/"),
            format!("{PATH}/{TOKEN}/"),
            format!("{PATH}/{}", TOKEN.to_lowercase()),
            format!("{PATH}//{TOKEN}"),
            format!("/{TOKEN}"),
        ] {
            assert!(!route.matches(&path), "{path}");
        }
    }

    #[test]
    fn without_a_token_only_the_bare_path_matches() {
        let route = Route::open();
        assert!(route.matches(PATH));
        assert!(!route.matches("/process-validating-webhook/"));
        assert!(!route.matches("/"));
    }

    #[test]
    fn a_token_that_is_short_long_or_not_plain_is_refused() {
        assert!(matches!(
            Route::with_token("short"),
            Err(TokenError::Length)
        ));
        assert!(matches!(
            Route::with_token(&"a".repeat(257)),
            Err(TokenError::Length)
        ));
        assert!(matches!(
            Route::with_token("0123456789abcdef/.."),
            Err(TokenError::Characters)
        ));
    }

    #[test]
    fn the_token_is_not_printed() {
        let route = Route::with_token(TOKEN).unwrap();
        assert!(!format!("{route:?}").contains(TOKEN));
    }
}
