//! What the people of the demo do, and what must be in Git afterwards.
//!
//! Every act is one write by one user, and the next waits until Git shows it: the history is the same at every run.

mod act;

use std::time::{Duration, Instant};

use ::tests::git::{Commit, Repo};
use anyhow::{Context, Result, ensure};
use kube::Client;
use kube::api::{DeleteParams, DynamicObject, PostParams};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::chart;
pub use act::Act;

/// The folder in the repository.
pub const FOLDER: &str = "clusters/demo";
/// The branch that is written to.
pub const BRANCH: &str = "main";

const POLL: Duration = Duration::from_millis(100);

/// Where manifests go, and how.
pub struct Repository {
    /// As the reverser reaches it.
    pub url: String,
    /// Basic authentication.
    pub username: String,
    /// Basic authentication.
    pub password: String,
    /// PEM of the CA that signed the server's certificate.
    pub ca: String,
}

/// The demo in one namespace.
pub struct Scenario {
    namespace: String,
    objects: Vec<DynamicObject>,
    acts: Vec<Act>,
}

// === impl Scenario ===

impl Scenario {
    /// The demo in a namespace that does not exist yet.
    ///
    /// # Errors
    /// If the namespace's name can't be part of an object's.
    pub fn new(namespace: &str, repository: &Repository) -> Result<Self> {
        Ok(Self {
            namespace: namespace.to_owned(),
            objects: objects(namespace, repository).context("the objects of the demo")?,
            acts: acts(namespace).context("the acts of the demo")?,
        })
    }

    /// The writes, in order.
    #[must_use]
    pub fn acts(&self) -> &[Act] {
        &self.acts
    }

    /// Makes the namespace, what is in it before anything is watched, and then the four custom resources.
    ///
    /// # Errors
    /// If the namespace exists already or an object is refused.
    pub async fn prepare(&self, client: &Client) -> Result<()> {
        for object in &self.objects {
            if chart::kind(object) == "Namespace" {
                let created = chart::api(client, object)?
                    .create(&PostParams::default(), object)
                    .await;
                created.with_context(|| format!("make namespace {}", self.namespace))?;
            } else {
                chart::apply(client, act::FIELD_MANAGER, object).await?;
            }
        }
        Ok(())
    }

    /// Waits until all four custom resources are Ready.
    ///
    /// # Errors
    /// At the deadline, with the conditions.
    pub async fn wait_ready(&self, client: &Client, within: Duration) -> Result<()> {
        let start = Instant::now();
        let ours = self.objects.iter().filter(|object| is_ours(object));
        for object in ours {
            loop {
                let live = chart::api(client, object)?
                    .get(chart::name(object))
                    .await
                    .with_context(|| chart::describe(object))?;
                let conditions = live.data["status"]["conditions"].clone();
                if is_ready(&conditions) {
                    break;
                }
                ensure!(
                    start.elapsed() < within,
                    "{} is not Ready after {within:?}; its conditions: {conditions:#}",
                    chart::describe(object)
                );
                tokio::time::sleep(POLL).await;
            }
        }
        Ok(())
    }

    /// Takes away all that [`Scenario::prepare`] and the acts made.
    ///
    /// # Errors
    /// If something can't be deleted. What is gone already is no error.
    pub async fn delete(&self, client: &Client) -> Result<()> {
        let made = self.acts.iter().map(|act| &act.object);
        // The namespace, which is first, takes all that is in it along.
        for object in made
            .chain(&self.objects)
            .filter(|object| object.metadata.namespace.is_none())
        {
            match chart::api(client, object)?
                .delete(chart::name(object), &DeleteParams::default())
                .await
            {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                Err(error) => return Err(error).with_context(|| chart::describe(object)),
            }
        }
        Ok(())
    }

    /// Waits until Git shows the first `count` acts, and returns the commit of the last of them.
    ///
    /// # Errors
    /// At the deadline, with what Git shows instead.
    pub async fn wait_committed(
        &self,
        repo: &Repo,
        count: usize,
        within: Duration,
    ) -> Result<Commit> {
        let start = Instant::now();
        loop {
            let mut commits = live_commits(repo);
            if commits.len() >= count {
                return Ok(commits.swap_remove(count - 1));
            }
            ensure!(
                start.elapsed() < within,
                "no commit for the last write after {within:?}; there are {} for {count} writes",
                commits.len()
            );
            tokio::time::sleep(POLL).await;
        }
    }

    /// Checks the whole history and the final files.
    ///
    /// # Errors
    /// All that is wrong, one line each.
    pub fn check(&self, repo: &Repo) -> Result<()> {
        let mut wrong = Vec::new();
        let commits = live_commits(repo);
        if commits.len() != self.acts.len() {
            wrong.push(format!(
                "{} writes made {} commits",
                self.acts.len(),
                commits.len()
            ));
        }
        for (act, commit) in self.acts.iter().zip(&commits) {
            wrong.extend(act.differences(commit));
        }
        wrong.extend(self.wrong_files(repo)?);
        ensure!(
            wrong.is_empty(),
            "the history is wrong:\n{}",
            wrong.join("\n")
        );
        Ok(())
    }

    fn wrong_files(&self, repo: &Repo) -> Result<Vec<String>> {
        let ns = &self.namespace;
        let expected = [
            format!("{FOLDER}/apps/v1/deployments/{ns}/web.yaml"),
            format!("{FOLDER}/rbac.authorization.k8s.io/v1/rolebindings/{ns}/team.yaml"),
            format!("{FOLDER}/v1/configmaps/{ns}/app-config.yaml"),
            format!("{FOLDER}/v1/secrets/{ns}/git-credentials.yaml"),
            format!("{FOLDER}/v1/serviceaccounts/{ns}/deployer.yaml"),
            format!("{FOLDER}/v1/services/{ns}/web.yaml"),
        ];
        let files = repo.files();
        let in_namespace = format!("/{ns}/");
        let mut found: Vec<_> = files
            .iter()
            .filter(|file| file.contains(&in_namespace))
            .collect();
        found.sort();
        let mut wrong = Vec::new();
        if !found.iter().copied().eq(expected.iter()) {
            wrong.push(format!("the files of namespace {ns} are {found:#?}"));
        }
        for (path, pointer, value) in [
            (&expected[2], "/data/log-level", json!("debug")),
            (&expected[0], "/spec/replicas", json!(3)),
            (
                &format!("{FOLDER}/scheduling.k8s.io/v1/priorityclasses/{ns}-batch.yaml"),
                "/value",
                json!(1000),
            ),
        ] {
            let Some(text) = repo.file(path) else {
                wrong.push(format!("there is no {path}"));
                continue;
            };
            let manifest: Value =
                serde_yaml::from_slice(&text).with_context(|| format!("{path} is no YAML"))?;
            if manifest.pointer(pointer) != Some(&value) {
                wrong.push(format!(
                    "{path}: {pointer} is {:?}",
                    manifest.pointer(pointer)
                ));
            }
            for machine_made in ["/status", "/metadata/uid", "/metadata/managedFields"] {
                if manifest.pointer(machine_made).is_some() {
                    wrong.push(format!("{path} has {machine_made}"));
                }
            }
        }
        Ok(wrong)
    }
}

/// The reverser's commits of writes that were seen as they happened, oldest first; not those of a reconcile.
fn live_commits(repo: &Repo) -> Vec<Commit> {
    let mut commits = repo.log_of(BRANCH);
    commits.retain(|commit| {
        commit.trailer("Attribution").is_some() && commit.trailer("Reason").is_none()
    });
    commits
}

fn is_ours(object: &DynamicObject) -> bool {
    object
        .types
        .as_ref()
        .is_some_and(|types| types.api_version.starts_with("configbutler.ai/"))
}

fn is_ready(conditions: &Value) -> bool {
    conditions
        .as_array()
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// The documents of a template in which every `$KEY` is replaced.
fn documents<T: DeserializeOwned>(template: &str, values: &[(&str, &str)]) -> Result<Vec<T>> {
    let filled = values
        .iter()
        .fold(template.to_owned(), |text, (key, value)| {
            text.replace(key, value)
        });
    serde_yaml::Deserializer::from_str(&filled)
        .map(|document| {
            // By way of JSON: objects flatten their fields, and YAML's tags get in the way of that.
            let value = Value::deserialize(document)?;
            Ok(serde_json::from_value(value)?)
        })
        .collect()
}

fn objects(namespace: &str, repository: &Repository) -> Result<Vec<DynamicObject>> {
    // A JSON string is a YAML string.
    let quoted = |text: &str| Value::from(text).to_string();
    documents(
        include_str!("objects.yaml"),
        &[
            ("$NAMESPACE", namespace),
            ("$USERNAME", &quoted(&repository.username)),
            ("$PASSWORD", &quoted(&repository.password)),
            ("$CA", &quoted(&repository.ca)),
            ("$URL", &quoted(&repository.url)),
        ],
    )
}

fn acts(namespace: &str) -> Result<Vec<Act>> {
    let lists: Vec<Vec<Act>> = documents(include_str!("acts.yaml"), &[("$NAMESPACE", namespace)])?;
    Ok(lists.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_in_the_namespace_or_named_after_it() {
        let repository = Repository {
            url: "https://127.0.0.1/x.git".to_owned(),
            username: "u".to_owned(),
            password: "p".to_owned(),
            ca: "c".to_owned(),
        };
        let scenario = Scenario::new("lab", &repository).unwrap();
        for object in scenario
            .objects
            .iter()
            .chain(scenario.acts.iter().map(|act| &act.object))
        {
            let named = chart::name(object) == "lab" || chart::name(object).starts_with("lab-");
            assert!(object.metadata.namespace.as_deref() == Some("lab") || named);
        }
    }
}
