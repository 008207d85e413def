//! Why a round failed, and what the conditions say of it.

use crate::git::{Denied, EngineError, PushError, RemoteError};
use crate::status::GitFailure;

/// The reason where another replica leads.
pub(super) const NOT_LEADING: &str = "NotLeading";

/// The reason where others pushed each time that we had caught up.
pub(super) const CONTENTION: &str = "PushFailed";

/// Those of [`RoundError::failure`] that an operator can do something about, or that come by themselves: they are counted from 0.
pub(crate) const REASONS: [&str; 8] = [
    "AuthenticationFailed",
    "GitFailed",
    CONTENTION,
    "PushRefused",
    "RepositoryNotFound",
    "RepositoryTooLarge",
    "RepositoryUnreachable",
    "ServerNotTrusted",
];

/// Why a round did not get through.
#[derive(Debug, thiserror::Error)]
pub(super) enum RoundError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Push(#[from] PushError),
    #[error(transparent)]
    Denied(#[from] Denied),
}

impl RoundError {
    pub(super) fn is_corrupt_clone(&self) -> bool {
        match self {
            Self::Engine(error) => error.is_corrupt_clone(),
            Self::Push(error) => error.is_corrupt_clone(),
            Self::Denied(_) => false,
        }
    }

    pub(super) fn is_auth(&self) -> bool {
        match self {
            Self::Engine(error) => error.is_auth(),
            Self::Push(error) => error.is_auth(),
            Self::Denied(_) => false,
        }
    }

    /// Nothing can be done before somebody changes the branch.
    pub(super) fn is_too_large(&self) -> bool {
        match self {
            Self::Engine(error) => error.is_too_large(),
            Self::Push(error) => error.is_too_large(),
            Self::Denied(_) => false,
        }
    }

    /// Why nothing may be pushed, where that is all.
    fn denied(&self) -> Option<Denied> {
        match self {
            Self::Denied(denied) | Self::Push(PushError::Denied(denied)) => Some(*denied),
            _ => None,
        }
    }

    /// Another process pushes from now on.
    pub(super) fn is_superseded(&self) -> bool {
        self.denied() == Some(Denied::Lost)
    }

    /// What the conditions say.
    pub(super) fn failure(&self) -> GitFailure {
        let remote = match self {
            Self::Engine(EngineError::Remote(error)) | Self::Push(PushError::Remote(error)) => {
                Some(error)
            }
            _ => None,
        };
        let (reason, needs_action) = match (remote, self) {
            _ if self.denied() == Some(Denied::Lost) => (NOT_LEADING, false),
            _ if self.denied() == Some(Denied::Unconfirmed) => ("LeaseInDoubt", false),
            (Some(RemoteError::Auth { .. }), _) => ("AuthenticationFailed", true),
            (Some(RemoteError::Untrusted { .. }), _) => ("ServerNotTrusted", true),
            (Some(RemoteError::NotFound { .. }), _) => ("RepositoryNotFound", true),
            _ if self.is_too_large() => ("RepositoryTooLarge", true),
            (Some(_), _) => ("RepositoryUnreachable", false),
            (None, Self::Push(error)) if error.is_refused() => ("PushRefused", true),
            (None, Self::Push(PushError::Moved { .. })) => (CONTENTION, false),
            (None, _) => ("GitFailed", false),
        };
        GitFailure {
            reason,
            message: self.to_string(),
            needs_action,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_of_git_has_a_reason_that_is_counted_from_the_start() {
        let message = String::new;
        let remote = [
            RemoteError::Auth { message: message() },
            RemoteError::Untrusted { message: message() },
            RemoteError::NotFound { message: message() },
            RemoteError::Unreachable { message: message() },
            RemoteError::Timeout { message: message() },
            RemoteError::TooLarge { message: message() },
            RemoteError::Protocol { message: message() },
        ];
        let failures = remote
            .into_iter()
            .flat_map(|error| {
                [
                    RoundError::from(EngineError::Remote(error.clone())),
                    RoundError::from(PushError::Remote(error)),
                ]
            })
            .chain([
                EngineError::TooLarge { message: message() }.into(),
                PushError::Refused { message: message() }.into(),
                PushError::Moved { attempts: 1 }.into(),
                PushError::Local(EngineError::TooLarge { message: message() }).into(),
            ]);
        let reasons: Vec<_> = failures.map(|error| error.failure().reason).collect();
        assert!(reasons.iter().all(|it| REASONS.contains(it)), "{reasons:?}");
        let too_large = reasons.iter().filter(|it| **it == "RepositoryTooLarge");
        assert_eq!(too_large.count(), 4, "{reasons:?}");
    }
}
