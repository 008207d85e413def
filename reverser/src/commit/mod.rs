//! Changes become commits: grouped by author, with a message that people and trailers' parsers read.

mod author;
#[cfg(test)]
mod fixtures;
mod group;
mod message;
mod plan;

use bytes::Bytes;

pub use author::{DEFAULT_EMAIL_DOMAIN, author};
pub use group::{CommitGroup, GroupKey, Tier, group};
pub use message::{MAX_LISTED, message, message_of};
pub use plan::{ChangeSummary, CommitOptions, PlannedCommit, plan, plan_batch};

/// A name and an e-mail address that Git accepts as they are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Signature {
    /// No `<`, `>`, control characters or surrounding space; never empty.
    pub name: String,
    /// The same rules.
    pub email: String,
}

/// One commit to be made.
#[derive(Clone, Debug)]
pub struct CommitPlan {
    /// The Kubernetes user, or the bot.
    pub author: Signature,
    /// Subject, body and trailers.
    pub message: String,
    /// At most one change for each path.
    pub changes: Vec<PathChange>,
}

/// What a commit does to one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathChange {
    /// From the root of the repository, `/` between segments.
    pub path: String,
    /// The new content; `None` deletes the file.
    pub content: Option<Bytes>,
}
