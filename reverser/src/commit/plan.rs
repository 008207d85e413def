//! From a batch to the commits to be made.

use manifest::Identity;

use crate::change::{Attribution, Cause, Change, DestinationKey, Operation};

use super::author::author;
use super::group::{CommitGroup, group};
use super::message::message;
use super::{CommitPlan, PathChange, Signature};

/// How a worker's commits are signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitOptions {
    /// The author of what has no other; the committer of everything.
    pub bot: Signature,
    /// The domain of addresses made from user names; see
    /// [`DEFAULT_EMAIL_DOMAIN`](super::DEFAULT_EMAIL_DOMAIN).
    pub email_domain: String,
}

/// One change of a planned commit, without its content: for logs, and to remember an object's
/// last commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeSummary {
    /// For whom.
    pub destination: DestinationKey,
    /// The object.
    pub identity: Identity,
    /// The file, from the root of the repository.
    pub path: String,
    /// The effect on the file, all coalesced versions taken together.
    pub operation: Operation,
    /// Of the version that is committed.
    pub attribution: Attribution,
    /// Why we write.
    pub cause: Cause,
}

/// A commit and what it holds, path by path in the same order.
#[derive(Clone, Debug)]
pub struct PlannedCommit {
    /// The commit to be made.
    pub plan: CommitPlan,
    /// What it holds.
    pub changes: Vec<ChangeSummary>,
}

/// The commits that a batch makes, in their order. The batch is given in the order in which
/// its changes were seen. See [`group`] for what is guaranteed.
#[must_use]
pub fn plan_batch(changes: Vec<Change>, options: &CommitOptions) -> Vec<PlannedCommit> {
    group(changes)
        .into_iter()
        .map(|group| plan(group, options))
        .collect()
}

/// The commit for one group.
#[must_use]
pub fn plan(group: CommitGroup, options: &CommitOptions) -> PlannedCommit {
    let message = message(&group);
    let author = match &group.key.username {
        Some(username) => author(username, &options.email_domain),
        None => options.bot.clone(),
    };
    let (paths, changes) = group
        .changes
        .into_iter()
        .map(|change| {
            let path_change = PathChange {
                path: change.path.clone(),
                content: change.content,
            };
            let summary = ChangeSummary {
                destination: change.destination,
                identity: change.identity,
                path: change.path,
                operation: change.operation,
                attribution: change.attribution,
                cause: change.cause,
            };
            (path_change, summary)
        })
        .unzip();
    PlannedCommit {
        plan: CommitPlan {
            author,
            message,
            changes: paths,
        },
        changes,
    }
}
