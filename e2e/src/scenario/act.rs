//! One write by one user.

use ::tests::git::Commit;
use anyhow::{Context, Result};
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use serde::Deserialize;
use serde_json::Value;

use crate::chart;
use crate::cluster::Cluster;

/// What the writes say of themselves, as kubectl does.
pub(super) const FIELD_MANAGER: &str = "kubectl";

/// One write by one user.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Act {
    user: String,
    does: Verb,
    /// The plural name, as commits say it.
    resource: String,
    pub(super) object: DynamicObject,
    /// The merge patch, where there is one.
    #[serde(default)]
    change: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Verb {
    Create,
    Merge,
    Scale,
    Delete,
}

// === impl Act ===

impl Act {
    /// For people: who does what.
    #[must_use]
    pub fn describe(&self) -> String {
        let does = match self.does {
            Verb::Create => "creates",
            Verb::Merge => "changes",
            Verb::Scale => "scales",
            Verb::Delete => "deletes",
        };
        format!("{} {does} {} {}", self.user, self.resource, self.name())
    }

    /// Does it, as its user.
    ///
    /// # Errors
    /// If the apiserver refuses.
    pub async fn perform(&self, cluster: &Cluster) -> Result<()> {
        let client = cluster.client_as(&self.user, &[])?;
        let api: Api<DynamicObject> = chart::api(&client, &self.object)?;
        let name = chart::name(&self.object);
        let patch = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let change = Patch::Merge(&self.change);
        let done = match self.does {
            Verb::Create => {
                let post = PostParams {
                    field_manager: Some(FIELD_MANAGER.to_owned()),
                    ..PostParams::default()
                };
                api.create(&post, &self.object).await.map(drop)
            }
            Verb::Merge => api.patch(name, &patch, &change).await.map(drop),
            Verb::Scale => api.patch_scale(name, &patch, &change).await.map(drop),
            Verb::Delete => api.delete(name, &DeleteParams::default()).await.map(drop),
        };
        done.with_context(|| self.describe())
    }

    /// How a commit differs from the one that this act must make, one line for each difference.
    pub(super) fn differences(&self, commit: &Commit) -> Vec<String> {
        let verb = match self.does {
            Verb::Create => "Create",
            Verb::Merge | Verb::Scale => "Update",
            Verb::Delete => "Delete",
        };
        let subject = format!("{verb} {} {}", self.resource, self.name());
        // A delete names none.
        let field_manager = if self.does == Verb::Delete {
            ""
        } else {
            FIELD_MANAGER
        };
        let trailer = |key| commit.trailer(key).unwrap_or_default();
        [
            (
                "the author",
                commit.author_name.as_str(),
                self.user.as_str(),
            ),
            ("the subject", &commit.subject, &subject),
            ("Kubernetes-User", trailer("Kubernetes-User"), &self.user),
            ("Attribution", trailer("Attribution"), "exact"),
            ("Field-Manager", trailer("Field-Manager"), field_manager),
        ]
        .into_iter()
        .filter(|(_, is, should_be)| is != should_be)
        .map(|(what, is, should_be)| {
            format!("{}: {what} is {is:?}, not {should_be:?}", commit.hash)
        })
        .collect()
    }

    fn name(&self) -> String {
        let name = chart::name(&self.object);
        match &self.object.metadata.namespace {
            Some(namespace) => format!("{namespace}/{name}"),
            None => name.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_commits_that_say_what_was_done_are_right() {
        let acts = super::super::acts("lab").unwrap();
        let scale = &acts[4];
        let commit = |author: &str, subject: &str| {
            let trailers = [
                ("Kubernetes-User", author),
                ("Attribution", "exact"),
                ("Field-Manager", "kubectl"),
            ];
            Commit {
                hash: "abc".to_owned(),
                parents: Vec::new(),
                tree: String::new(),
                author_name: author.to_owned(),
                author_email: author.to_owned(),
                committer_name: String::new(),
                committer_email: String::new(),
                author_time: 0,
                commit_time: 0,
                subject: subject.to_owned(),
                body: String::new(),
                trailers: trailers
                    .map(|(key, value)| (key.to_owned(), value.to_owned()))
                    .into(),
                files: Vec::new(),
            }
        };
        assert_eq!(
            scale.differences(&commit("alice@example.com", "Update deployments lab/web")),
            Vec::<String>::new()
        );
        assert_eq!(
            scale
                .differences(&commit("bob@example.com", "Update deployments lab/web"))
                .len(),
            2
        );
        assert_eq!(
            scale
                .differences(&commit("alice@example.com", "Delete deployments lab/web"))
                .len(),
            1
        );
    }
}
