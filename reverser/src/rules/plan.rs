//! What is to be done, free of how it was asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use manifest::Identity;

use super::{ObjectKey, Operations};
use crate::api::{Conditions, SecretPolicy};
use crate::change::DestinationKey;
use crate::commit::CommitOptions;
use crate::discovery::ServedType;
use crate::git::RepoUrl;
use crate::secrets::{HideError, Recipients, Secrets};
use crate::workers::BatchLimits;

/// One branch of one repository: what a Git worker is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BranchKey {
    /// The URL, normalised, so that two spellings of one repository share a worker.
    pub repository: String,
    /// The branch.
    pub branch: String,
    /// `namespace/name` of the Secret, empty for none: nobody's changes travel under somebody
    /// else's credentials.
    pub secret: String,
    /// `namespace/name` of the Secret with the signing key, empty for none: nothing is signed with somebody
    /// else's key, or goes unsigned because of a neighbour.
    pub signing: String,
}

impl BranchKey {
    /// Whether both write to the same branch, whoever's credentials they use.
    #[must_use]
    pub fn is_same_branch(&self, other: &Self) -> bool {
        self.repository == other.repository && self.branch == other.branch
    }
}

impl fmt::Display for BranchKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.repository, self.branch)
    }
}

/// One destination that can be written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationPlan {
    /// The GitDestination.
    pub key: DestinationKey,
    /// Its metadata.uid: a destination deleted and made again is another one.
    pub uid: String,
    /// Its worker.
    pub branch: BranchKey,
    /// As the GitRepoConfig spells it.
    pub url: RepoUrl,
    /// The GitRepoConfig, in the destination's namespace.
    pub repo_name: String,
    /// The Secret with the credentials, in the destination's namespace.
    pub secret_name: Option<String>,
    /// The Secret with the key that signs commits, in the destination's namespace.
    pub signing_secret: Option<String>,
    /// From the root of the repository, without a slash at either end.
    pub base_folder: String,
    /// What becomes of Secrets.
    pub secret_policy: SecretPolicy,
    /// Who can decrypt them, under secretPolicy Encrypt; nobody under another one.
    pub recipients: Recipients,
    /// Whose values are secret, and how they are hidden; the same for all destinations.
    pub secrets: Arc<Secrets>,
    /// The cluster that the folder may be taken over from.
    pub take_over: Option<String>,
    /// When a batch closes.
    pub limits: BatchLimits,
    /// Names in commits.
    pub commit: CommitOptions,
    /// What the rules select, by group and resource.
    pub selections: BTreeMap<(String, String), Arc<TypeSelection>>,
    /// Every rule that names this destination is resolved, so that what nothing selects may go.
    pub resolved: bool,
    /// Groups of which not everything can be discovered now, and whose types the rules may mean: what is there of them stays.
    pub unseen: BTreeSet<String>,
}

impl DestinationPlan {
    /// Whether objects of this type are not written here whatever rules select: those with secret
    /// values under secretPolicy Omit.
    #[must_use]
    pub fn omits(&self, group: &str, resource: &str) -> bool {
        self.treats(SecretPolicy::Omit, group, resource)
    }

    /// Whether the values of this type are secret, and this policy is what applies to them here.
    #[must_use]
    pub fn treats(&self, policy: SecretPolicy, group: &str, resource: &str) -> bool {
        self.secret_policy == policy && self.secrets.types.contains(group, resource)
    }

    /// What may happen to the file of an object; `None` where no rule selects it.
    #[must_use]
    pub fn operations(&self, identity: &Identity) -> Option<Operations> {
        let of_type = (identity.group.clone(), identity.resource.clone());
        self.selections
            .get(&of_type)?
            .operations(&identity.namespace)
    }

    /// The manifest of an object as it is written here.
    ///
    /// # Errors
    /// Where its values can't be hidden: it must not be written then.
    pub fn text(&self, identity: &Identity, canonical: &Bytes) -> Result<Bytes, HideError> {
        if !self.is_sensitive(identity) {
            return Ok(canonical.clone());
        }
        let (policy, recipients) = (self.secret_policy, &self.recipients);
        self.secrets.hide(policy, recipients, identity, canonical)
    }

    /// What a file of an object that is gone becomes, where the rules keep it and the policy would not have written it so. `None`
    /// where it is left as it is.
    ///
    /// # Errors
    /// Where its values can't be hidden.
    pub fn hidden(&self, identity: &Identity, file: &[u8]) -> Result<Option<Bytes>, HideError> {
        if !self.is_sensitive(identity) {
            return Ok(None);
        }
        let (policy, recipients) = (self.secret_policy, &self.recipients);
        self.secrets.hide_file(policy, recipients, identity, file)
    }

    /// Whether a file is not as the policy wants it: it was written under another one, or for others to read.
    #[must_use]
    pub fn is_of_another_policy(&self, identity: &Identity, file: &[u8]) -> bool {
        self.is_sensitive(identity)
            && !self
                .secrets
                .is_as_wanted(self.secret_policy, &self.recipients, identity, file)
    }

    /// Whether somebody can read a file who is not to read what is written here.
    #[must_use]
    pub fn is_shown_by(&self, identity: &Identity, file: &[u8]) -> bool {
        self.is_sensitive(identity)
            && self
                .secrets
                .shows_more(self.secret_policy, &self.recipients, identity, file)
    }

    /// Whether secret values are written here as they were under `old`.
    #[must_use]
    pub fn hides_as(&self, old: &Self) -> bool {
        self.secret_policy == old.secret_policy && self.recipients == old.recipients
    }

    /// Whether what was written under `old` may be read by somebody who is not to read it now.
    #[must_use]
    pub fn hides_more_than(&self, old: &Self) -> bool {
        match old.secret_policy {
            SecretPolicy::Plain => self.secret_policy != SecretPolicy::Plain,
            SecretPolicy::Encrypt => match self.secret_policy {
                SecretPolicy::Plain => false,
                SecretPolicy::Encrypt => !old.recipients.are_all_in(&self.recipients),
                SecretPolicy::Redact | SecretPolicy::Omit => true,
            },
            SecretPolicy::Redact | SecretPolicy::Omit => false,
        }
    }

    fn is_sensitive(&self, identity: &Identity) -> bool {
        let (group, resource) = (&identity.group, &identity.resource);
        self.secrets.types.contains(group, resource)
    }
}

/// One type as a destination wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeSelection {
    /// The type, at the version that is watched.
    pub served: Arc<ServedType>,
    /// What may happen to objects anywhere (or cluster-scoped ones); `None` where only namespaces are selected.
    pub everywhere: Option<Operations>,
    /// What may happen to objects of these namespaces.
    pub namespaces: BTreeMap<String, Operations>,
    /// The rules that select it, for people.
    pub rules: Vec<String>,
}

impl TypeSelection {
    /// What may happen to an object of this namespace; `None` where it is not selected.
    #[must_use]
    pub fn operations(&self, namespace: &str) -> Option<Operations> {
        match (self.everywhere, self.namespaces.get(namespace)) {
            (Some(a), Some(b)) => Some(a.union(*b)),
            (a, b) => a.or(b.copied()),
        }
    }
}

/// One list and watch.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WatchKey {
    /// The type and version.
    pub served: Arc<ServedType>,
    /// `None` for the whole cluster.
    pub namespace: Option<String>,
}

impl fmt::Display for WatchKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} in {namespace}", self.served),
            None => write!(f, "{}", self.served),
        }
    }
}

/// A destination that a watch serves.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// Where to.
    pub destination: Arc<DestinationPlan>,
    /// What of it.
    pub selection: Arc<TypeSelection>,
}

impl Subscription {
    /// Whether what is in Git must be compared afresh after `before` became this.
    #[must_use]
    pub fn needs_list(&self, before: &Self) -> bool {
        let (new, old) = (&self.destination, &before.destination);
        new.uid != old.uid
            || new.branch != old.branch
            || new.base_folder != old.base_folder
            || !new.hides_as(old)
            || new.take_over != old.take_over
            || self.selection.everywhere != before.selection.everywhere
            || self.selection.namespaces != before.selection.namespaces
    }
}

/// Everything that follows from the custom resources and the catalog.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Destinations that can be written to.
    pub destinations: BTreeMap<DestinationKey, Arc<DestinationPlan>>,
    /// Watches, with the destinations that each serves.
    pub watches: BTreeMap<WatchKey, Vec<Subscription>>,
    /// What is to be said of each custom resource before anything was tried; Ready means that
    /// nothing is wrong with its words.
    pub findings: BTreeMap<ObjectKey, Finding>,
}

impl Plan {
    /// Whether a watch serves a destination.
    #[must_use]
    pub fn is_served(&self, destination: &DestinationKey, watch: &WatchKey) -> bool {
        let mut subscriptions = self.watches.get(watch).into_iter().flatten();
        subscriptions.any(|s| s.destination.key == *destination)
    }
}

/// What compiling found out about one custom resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The verdict.
    pub conditions: Conditions,
    /// metadata.uid and metadata.generation of what was judged: nothing is said of another one.
    pub judged: (Option<String>, Option<i64>),
    /// For rules: the destination, where it can be written to.
    pub destination: Option<DestinationKey>,
    /// For rules: group, resource and namespace scope of what is watched.
    pub watched: Vec<WatchKey>,
    /// For rules: how many types are selected.
    pub types: usize,
    /// For rules: what the cluster does not serve.
    pub unresolved: Vec<String>,
}
