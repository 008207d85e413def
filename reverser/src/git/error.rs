//! What can go wrong, by who can mend it. Every message is scrubbed: fit for logs and status conditions.

use git2::{ErrorClass, ErrorCode};

use super::path::PathError;
use super::permit::Denied;
use super::scrub::scrub;

/// The remote side did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// 401, 403, or no key that the SSH server takes.
    #[error("the Git server refused the credentials: {message}")]
    Auth {
        /// libgit2's words.
        message: String,
    },
    /// The server could not be identified: its certificate or host key is not trusted. Nothing was sent to it.
    #[error("the Git server is not trusted: {message}")]
    Untrusted {
        /// What is missing, or did not match.
        message: String,
    },
    /// There is no such repository, or none that these credentials may see.
    #[error("the repository was not found: {message}")]
    NotFound {
        /// libgit2's words.
        message: String,
    },
    /// No name, no route, no connection, or one that broke.
    #[error("the Git server can't be reached: {message}")]
    Unreachable {
        /// libgit2's words.
        message: String,
    },
    /// See [`super::limits`]. Whatever was asked may have been done.
    #[error("the Git server did not answer in time: {message}")]
    Timeout {
        /// libgit2's words.
        message: String,
    },
    /// More than [`super::limits`] allow: too many references, or too much in the tip of the branch.
    #[error("the repository is too large: {message}")]
    TooLarge {
        /// What was too much.
        message: String,
    },
    /// An answer that makes no sense, or a 5xx.
    #[error("the Git server answered strangely: {message}")]
    Protocol {
        /// libgit2's words.
        message: String,
    },
}

/// Why the engine could not do something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The remote side.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// A mistake of the caller.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A signature or branch name that Git does not take.
    #[error("{what}: {message}")]
    Invalid {
        /// What was to be done.
        what: &'static str,
        /// libgit2's words.
        message: String,
    },
    /// The clone lacks objects or can't be read: to be thrown away by opening the engine again.
    #[error("the local clone is damaged ({what}: {message})")]
    Corrupt {
        /// What was to be done.
        what: &'static str,
        /// libgit2's words.
        message: String,
    },
    /// Somebody put more into a folder of ours than any cluster would.
    #[error("the repository is too large: {message}")]
    TooLarge {
        /// What was too much.
        message: String,
    },
    /// The disk is full or can't be written. The clone itself is sound.
    #[error("{what}: {message}")]
    Disk {
        /// What was to be done.
        what: &'static str,
        /// The system's words.
        message: String,
    },
}

/// Why commits are not at the remote.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// A hook, a protected branch, a quota: the same push will be refused again until somebody changes something.
    #[error("the Git server refused the push: {message}")]
    Refused {
        /// The server's own words.
        message: String,
    },
    /// Others pushed each time we had caught up.
    #[error("the branch moved during each of {attempts} attempts to push")]
    Moved {
        /// How many.
        attempts: u32,
    },
    /// It is not for this process to push.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The remote side.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// Our side.
    #[error(transparent)]
    Local(EngineError),
}

// === impl RemoteError ===

impl RemoteError {
    /// `said`: what the server wrote by sideband.
    pub(super) fn classify(error: &git2::Error, said: &str) -> Self {
        let text = error.message();
        let mut message = scrub(text);
        if !said.is_empty() && !message.contains(said) {
            message = format!("{message}: {said}");
        }
        let lower = format!(
            "{} {}",
            text.to_ascii_lowercase(),
            said.to_ascii_lowercase()
        );
        let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
        let net = matches!(
            error.class(),
            ErrorClass::Net | ErrorClass::Os | ErrorClass::Ssh | ErrorClass::Ssl
        );
        if error.code() == ErrorCode::Timeout || has(TIMEOUT_WORDS) {
            return Self::Timeout { message };
        }
        if error.code() == ErrorCode::Certificate || has(&["hostkey", "certificate"]) {
            return Self::Untrusted { message };
        }
        if error.code() == ErrorCode::Auth || has(AUTH_WORDS) {
            return Self::Auth { message };
        }
        if has(NOT_FOUND_WORDS) || (error.code() == ErrorCode::NotFound && !net) {
            return Self::NotFound { message };
        }
        // `file://`: a directory that is not there.
        if error.class() == ErrorClass::Os && has(&["no such file or directory"]) {
            return Self::NotFound { message };
        }
        if net || error.code() == ErrorCode::Eof || has(&["unexpected eof", "early eof"]) {
            return Self::Unreachable { message };
        }
        Self::Protocol { message }
    }
}

/// An HTTPS read that times out surfaces as EAGAIN.
const TIMEOUT_WORDS: &[&str] = &["timed out", "timeout", "resource temporarily unavailable"];
/// strerror(3) of ENOSPC, EDQUOT, EROFS and EIO.
const DISK_WORDS: &[&str] = &[
    "No space left on device",
    "Disk quota exceeded",
    "Read-only file system",
    "Input/output error",
];
const AUTH_WORDS: &[&str] = &[
    "status code: 401",
    "status code: 403",
    "authentication",
    "failed to authenticate",
    "permission denied",
];
const NOT_FOUND_WORDS: &[&str] = &[
    "status code: 404",
    "status code: 410",
    "could not find repository",
    "repository not found",
    "does not appear to be a git repository",
];

// === impl EngineError ===

impl EngineError {
    /// Whether an error of a conversation with a remote is about our own objects, or our own disk.
    pub(super) fn is_local(error: &git2::Error) -> bool {
        use ErrorClass::{Filesystem, Object, Odb, Os, Sha1, Tree, Zlib};
        match error.class() {
            Odb | Object | Sha1 | Tree | Zlib => true,
            // Of a socket too; these are not said of one.
            Os | Filesystem => DISK_WORDS
                .iter()
                .any(|words| error.message().contains(words)),
            _ => false,
        }
    }

    pub(super) fn local(what: &'static str, error: &git2::Error) -> Self {
        let message = scrub(error.message());
        match error.class() {
            ErrorClass::Os | ErrorClass::Filesystem => Self::Disk { what, message },
            ErrorClass::Invalid => Self::Invalid { what, message },
            _ => Self::Corrupt { what, message },
        }
    }

    pub(super) fn io(what: &'static str, error: &std::io::Error) -> Self {
        Self::Disk {
            what,
            message: scrub(&error.to_string()),
        }
    }

    /// Of a file that was written once and is read back.
    pub(super) fn reading(what: &'static str, error: &std::io::Error) -> Self {
        use std::io::ErrorKind::{InvalidData, NotFound, UnexpectedEof};
        match error.kind() {
            InvalidData | NotFound | UnexpectedEof => Self::corrupt(what, error.to_string()),
            _ => Self::io(what, error),
        }
    }

    pub(super) fn corrupt(what: &'static str, message: impl Into<String>) -> Self {
        Self::Corrupt {
            what,
            message: message.into(),
        }
    }

    fn remote(&self) -> Option<&RemoteError> {
        match self {
            Self::Remote(error) => Some(error),
            _ => None,
        }
    }

    /// Another Secret would help: the credentials were refused or the server is not trusted.
    #[must_use]
    pub fn is_auth(&self) -> bool {
        matches!(
            self.remote(),
            Some(RemoteError::Auth { .. } | RemoteError::Untrusted { .. })
        )
    }

    /// Waiting may help: no connection, no answer, a strange answer.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(
            self.remote(),
            Some(
                RemoteError::Unreachable { .. }
                    | RemoteError::Timeout { .. }
                    | RemoteError::Protocol { .. }
            )
        )
    }

    /// Another URL would help.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self.remote(), Some(RemoteError::NotFound { .. }))
    }

    /// Nothing can be done before somebody changes the branch, or raises the limit.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        matches!(
            self,
            Self::TooLarge { .. } | Self::Remote(RemoteError::TooLarge { .. })
        )
    }

    /// The clone is to be opened again, which throws it away and fetches afresh.
    #[must_use]
    pub fn is_corrupt_clone(&self) -> bool {
        matches!(self, Self::Corrupt { .. })
    }
}

// === impl PushError ===

impl From<EngineError> for PushError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Remote(error) => Self::Remote(error),
            error => Self::Local(error),
        }
    }
}

impl PushError {
    /// See [`EngineError::is_auth`].
    #[must_use]
    pub fn is_auth(&self) -> bool {
        matches!(
            self,
            Self::Remote(RemoteError::Auth { .. } | RemoteError::Untrusted { .. })
        )
    }

    /// The server said no, in words that [`std::fmt::Display`] repeats.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }

    /// See [`EngineError::is_too_large`].
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        match self {
            Self::Remote(error) => matches!(error, RemoteError::TooLarge { .. }),
            Self::Local(error) => error.is_too_large(),
            _ => false,
        }
    }

    /// See [`EngineError::is_corrupt_clone`].
    #[must_use]
    pub fn is_corrupt_clone(&self) -> bool {
        matches!(self, Self::Local(error) if error.is_corrupt_clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classified(code: ErrorCode, class: ErrorClass, message: &str) -> RemoteError {
        RemoteError::classify(&git2::Error::new(code, class, message), "")
    }

    #[test]
    fn measured_messages_are_classified() {
        use ErrorClass as Class;
        use ErrorCode as Code;
        let cases = [
            (
                Code::Auth,
                Class::Http,
                "remote authentication required but no callback set",
                "refused the credentials",
            ),
            (
                Code::GenericError,
                Class::Http,
                "unexpected http status code: 403",
                "refused the credentials",
            ),
            (
                Code::GenericError,
                Class::Http,
                "unexpected http status code: 404",
                "not found",
            ),
            (
                Code::GenericError,
                Class::Http,
                "unexpected http status code: 502",
                "strangely",
            ),
            (
                Code::GenericError,
                Class::Os,
                "SSL error: syscall failure: Resource temporarily unavailable",
                "in time",
            ),
            (
                Code::GenericError,
                Class::Net,
                "failed to resolve address for x: Name or service not known",
                "reached",
            ),
            (
                Code::GenericError,
                Class::Os,
                "failed to connect to 127.0.0.1: Connection refused",
                "reached",
            ),
            (
                Code::Certificate,
                Class::Ssl,
                "the SSL certificate is invalid",
                "not trusted",
            ),
            (
                Code::Certificate,
                Class::Ssh,
                "invalid or unknown remote ssh hostkey",
                "not trusted",
            ),
            (
                Code::NotFound,
                Class::Os,
                "failed to resolve path '/x': No such file or directory",
                "not found",
            ),
            (Code::GenericError, Class::Http, "unexpected EOF", "reached"),
        ];
        for (code, class, message, expected) in cases {
            let shown = classified(code, class, message).to_string();
            assert!(shown.contains(expected), "{message}: {shown}");
        }
    }

    #[test]
    fn a_full_disk_is_not_the_servers() {
        let error = |message| git2::Error::new(ErrorCode::GenericError, ErrorClass::Os, message);
        assert!(EngineError::is_local(&error(
            "cannot extend packfile '/x': No space left on device"
        )));
        assert!(!EngineError::is_local(&error(
            "failed to connect to h: Connection refused"
        )));
    }

    #[test]
    fn no_message_shows_user_information() {
        let error = classified(
            ErrorCode::GenericError,
            ErrorClass::Net,
            "cannot reach https://u:pw@h/a",
        );
        assert!(!error.to_string().contains("pw"));
    }
}
