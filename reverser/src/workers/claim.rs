//! The marker in a destination's folder: which cluster and which destination it belongs to.

use bytes::Bytes;

use crate::change::DestinationKey;
use crate::commit::{CommitPlan, PathChange, Signature};
use crate::rules::DestinationPlan;
use crate::status::GitFailure;

/// Its file name; not of our path grammar, so that no sweep takes it.
pub(super) const MARKER: &str = ".gitops-reverser";

/// Where the marker of a folder stands.
pub(crate) fn marker_path(base_folder: &str) -> String {
    in_folder(base_folder, MARKER)
}

/// Where a file stands that is of a folder as a whole.
pub(super) fn in_folder(base_folder: &str, name: &str) -> String {
    if base_folder.is_empty() {
        name.to_owned()
    } else {
        format!("{base_folder}/{name}")
    }
}

/// What a look at the marker came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// The folder is ours.
    Held,
    /// Nobody's, or given to us: the marker is to be written.
    Free,
    /// Another cluster's.
    Foreign {
        /// The cluster that the marker names; empty when the marker can't be read.
        cluster: String,
    },
}

/// Whether a judgement for one holds for the other.
pub(super) fn is_same(a: &DestinationPlan, b: &DestinationPlan) -> bool {
    a.uid == b.uid && a.base_folder == b.base_folder && a.take_over == b.take_over
}

/// Judges the marker that was found.
pub(super) fn judge(marker: Option<&[u8]>, cluster: &str, destination: &DestinationPlan) -> Claim {
    let Some(marker) = marker else {
        return Claim::Free;
    };
    let owner = Owner::read(marker);
    if owner.cluster == cluster {
        // Another destination of this cluster had the folder before: overlapping ones are refused,
        // so it is gone or writes elsewhere now.
        return if owner.destination == destination.key.to_string() {
            Claim::Held
        } else {
            Claim::Free
        };
    }
    let given = destination.take_over.as_ref();
    if !owner.cluster.is_empty() && given == Some(&owner.cluster) {
        return Claim::Free;
    }
    Claim::Foreign {
        cluster: owner.cluster,
    }
}

/// Whom a marker names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owner {
    /// Empty where it can't be read.
    pub(crate) cluster: String,
    /// As a [`DestinationKey`] is shown.
    pub(crate) destination: String,
}

impl Owner {
    pub(crate) fn read(marker: &[u8]) -> Self {
        let found = manifest::parse(marker).ok();
        let field = |name: &str| {
            let text = found.as_ref().and_then(|marker| marker[name].as_str());
            text.unwrap_or_default().to_owned()
        };
        Self {
            cluster: field("cluster"),
            destination: field("destination"),
        }
    }
}

/// What a condition says of a foreign folder.
pub(super) fn refusal(destination: &DestinationPlan, cluster: &str) -> GitFailure {
    let folder = &destination.base_folder;
    let message = if cluster.is_empty() {
        format!(
            "{} can't be read, so nobody knows whose folder '{folder}' is; mend or delete the file",
            marker_path(folder)
        )
    } else {
        format!(
            "folder '{folder}' belongs to cluster {cluster}; choose another folder, or set spec.takeOver to {cluster} \
             if that cluster no longer writes to it"
        )
    };
    GitFailure {
        reason: "ForeignFolder",
        message,
        needs_action: true,
    }
}

/// The commit that writes the marker.
pub(super) fn plan(cluster: &str, destination: &DestinationPlan, bot: &Signature) -> CommitPlan {
    let (key, folder) = (&destination.key, &destination.base_folder);
    CommitPlan {
        author: bot.clone(),
        message: format!("Claim {folder} for {key}\n\nDestination: {key}\nReason: claim\n"),
        changes: vec![PathChange {
            path: marker_path(folder),
            content: Some(marker(cluster, key)),
        }],
    }
}

/// What the marker says.
pub(crate) fn marker(cluster: &str, owner: &DestinationKey) -> Bytes {
    let whose = if owner.is_snapshot() {
        "The cluster whose objects this folder holds, as `gitops-reverser snapshot` wrote them."
    } else {
        "The cluster and the GitDestination whose live objects this folder holds."
    };
    let text = format!(
        "# {whose}\n# Edits in this folder are undone; another cluster must not write here.\n\
         cluster: {cluster}\ndestination: {owner}\n"
    );
    text.into()
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::api::SecretPolicy;
    use crate::commit::CommitOptions;
    use crate::git::RepoUrl;
    use crate::rules::BranchKey;
    use crate::workers::BatchLimits;
    use crate::workers::fixtures::everywhere;

    pub(in crate::workers) fn destination(take_over: Option<&str>) -> DestinationPlan {
        let url = RepoUrl::parse("https://git.example.com/a/b.git").unwrap();
        DestinationPlan {
            key: DestinationKey {
                namespace: "lab".to_owned(),
                name: "all".to_owned(),
            },
            uid: String::new(),
            branch: BranchKey {
                repository: url.normalised(),
                branch: "main".to_owned(),
                secret: String::new(),
                signing: String::new(),
            },
            url,
            repo_name: "repo".to_owned(),
            secret_name: None,
            signing_secret: None,
            base_folder: "live".to_owned(),
            secret_policy: SecretPolicy::Omit,
            recipients: Default::default(),
            secrets: Arc::default(),
            take_over: take_over.map(ToOwned::to_owned),
            limits: BatchLimits {
                linger: Duration::ZERO,
                ..BatchLimits::default()
            },
            commit: CommitOptions {
                bot: bot(),
                email_domain: "example.com".to_owned(),
            },
            selections: everywhere(&["configmaps", "secrets"], "v1"),
            resolved: true,
            unseen: BTreeSet::new(),
        }
    }

    fn bot() -> Signature {
        Signature {
            name: "bot".to_owned(),
            email: "bot@example.com".to_owned(),
        }
    }

    #[test]
    fn what_we_write_is_ours() {
        let plan = plan("c1", &destination(None), &bot());
        let marker = plan.changes[0].content.clone().unwrap();
        assert_eq!(judge(Some(&marker), "c1", &destination(None)), Claim::Held);
        assert_eq!(
            judge(Some(&marker), "c2", &destination(None)),
            Claim::Foreign {
                cluster: "c1".to_owned()
            }
        );
        assert_eq!(
            judge(Some(&marker), "c2", &destination(Some("c1"))),
            Claim::Free
        );
        assert_eq!(
            judge(Some(&marker), "c2", &destination(Some("c3"))),
            Claim::Foreign {
                cluster: "c1".to_owned()
            }
        );
    }

    #[test]
    fn a_marker_that_cannot_be_read_is_nobodys_to_overwrite() {
        for marker in [&b"\xff\xfe"[..], b"", b"[]", b"cluster: 7"] {
            assert_eq!(
                judge(Some(marker), "c1", &destination(Some(""))),
                Claim::Foreign {
                    cluster: String::new()
                }
            );
        }
    }
}
