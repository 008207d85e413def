//! What a watch event becomes on its way to Git.

use bytes::Bytes;
use manifest::{Identity, SpecHash};

/// The effect of a write on its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// The object was not there before.
    Create,
    /// The object was there, with another content.
    Update,
    /// The object is gone, or was told to go.
    Delete,
}

/// A change of one object as the watch showed it: all that joining it to an admission takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The object, at the version that is watched.
    pub identity: Identity,
    /// `metadata.uid`.
    pub uid: String,
    /// The effect on the object.
    pub operation: Operation,
    /// The resourceVersion that this change replaced; empty where a live event shows that the
    /// object is new, so that nothing was replaced. `None` where the chain of versions is broken:
    /// after a gap, an expired watch, or a start.
    pub base: Option<String>,
    /// The resourceVersion of the object now; for one that a list finds gone, the list's. An
    /// admission on it or on a later version can't have made this change. Empty where unknown.
    pub version: String,
    /// Of the new content; for a delete, of the last content.
    pub spec_hash: SpecHash,
    /// Of the new `metadata.managedFields`, where the object has any.
    pub managed_fields_hash: Option<SpecHash>,
    /// The new replicas, wherever the type keeps them, only where nothing but they changed.
    pub scaled_to: Option<i64>,
}

impl Sighting {
    /// Whether another call could have led to the same: not to a create, as every attempt has a uid of its own.
    #[must_use]
    pub fn may_have_rivals(&self) -> bool {
        self.base.as_ref().is_none_or(|base| !base.is_empty())
    }
}

/// Who made a change.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Who {
    /// The Kubernetes user name as authenticated, any bytes.
    pub username: String,
    /// The field manager of the write, empty where unknown.
    pub field_manager: String,
}

/// How a change was joined to an admission, strongest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribution {
    /// By uid (create) or by uid and the resourceVersion that was replaced.
    Exact(Who),
    /// By identity, operation and content, after a gap.
    Content(Who),
    /// By nothing: the bot is the author.
    None(Miss),
}

impl Attribution {
    /// Nobody where the bot is the author.
    #[must_use]
    pub fn who(&self) -> Option<&Who> {
        match self {
            Self::Exact(who) | Self::Content(who) => Some(who),
            Self::None(_) => None,
        }
    }
}

/// Why a change has no author.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Miss {
    /// No admission was seen for it.
    Unseen,
    /// Several users sent what can't be told apart.
    Ambiguous,
    /// Somebody was found, but the sidecar was away meanwhile and may have missed who else asked.
    Unconfirmed,
    /// The apiserver never calls webhooks for kinds of `admissionregistration.k8s.io`.
    NeverAdmitted,
    /// Found by comparing the live list with Git: whoever did it did it unobserved.
    Reconciled,
}

/// What made the reverser write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// A watch event.
    Live,
    /// The first list of a type for a destination.
    Seed,
    /// A list after a gap.
    Resync,
    /// Somebody else changed the folder in Git.
    Drift,
}

/// `namespace/name` of a GitDestination.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DestinationKey {
    /// The namespace of the GitDestination.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl DestinationKey {
    /// What stands in place of a GitDestination's key where a snapshot is written, which has none.
    #[must_use]
    pub fn snapshot() -> Self {
        Self {
            namespace: String::new(),
            name: "snapshot".to_owned(),
        }
    }

    /// Whether this is no GitDestination's.
    #[must_use]
    pub fn is_snapshot(&self) -> bool {
        self.namespace.is_empty()
    }
}

impl std::fmt::Display for DestinationKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_snapshot() {
            return f.write_str(&self.name);
        }
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// One new version of one file: what Git workers queue and commit.
#[derive(Clone, Debug)]
pub struct Change {
    /// For whom.
    pub destination: DestinationKey,
    /// The object.
    pub identity: Identity,
    /// The file, from the root of the repository.
    pub path: String,
    /// The canonical manifest; `None` deletes the file.
    pub content: Option<Bytes>,
    /// The effect on the object, for the commit message.
    pub operation: Operation,
    /// Who did it.
    pub attribution: Attribution,
    /// Why we write.
    pub cause: Cause,
}
