//! What the people of the demo do, and what must be in Git afterwards.
//!
//! Every act is one write by one user, and the next waits until Git shows it: the history is the same at every run.

use std::time::{Duration, Instant};

use ::tests::git::{Commit, Repo};
use anyhow::{Context, Result, ensure};
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::chart;
use crate::cluster::Cluster;

/// A person.
pub const ALICE: &str = "alice@example.com";
/// Another.
pub const BOB: &str = "bob@example.com";

/// The folder in the repository.
pub const FOLDER: &str = "clusters/demo";
/// The branch that is written to.
pub const BRANCH: &str = "main";

/// What the writes say of themselves, as kubectl does.
const FIELD_MANAGER: &str = "kubectl";
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

/// One write by one user.
pub struct Act {
    /// The Kubernetes user.
    pub user: String,
    /// How a commit's subject begins.
    pub verb: &'static str,
    /// The plural name.
    pub resource: &'static str,
    object: DynamicObject,
    call: Call,
}

enum Call {
    Create,
    Merge(Value),
    Scale(i32),
    Delete,
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
            objects: objects(namespace, repository)?,
            acts: acts(namespace)?,
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
                chart::apply(client, object).await?;
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

// === impl Act ===

impl Act {
    /// For people: who does what.
    #[must_use]
    pub fn describe(&self) -> String {
        let does = match &self.call {
            Call::Create => "creates",
            Call::Merge(_) => "changes",
            Call::Scale(_) => "scales",
            Call::Delete => "deletes",
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
        let done = match &self.call {
            Call::Create => {
                let post = PostParams {
                    field_manager: Some(FIELD_MANAGER.to_owned()),
                    ..PostParams::default()
                };
                api.create(&post, &self.object).await.map(drop)
            }
            Call::Merge(change) => api
                .patch(name, &patch, &Patch::Merge(change))
                .await
                .map(drop),
            Call::Scale(replicas) => {
                let scale = json!({ "spec": { "replicas": replicas } });
                api.patch_scale(name, &patch, &Patch::Merge(scale))
                    .await
                    .map(drop)
            }
            Call::Delete => api.delete(name, &DeleteParams::default()).await.map(drop),
        };
        done.with_context(|| self.describe())
    }

    fn name(&self) -> String {
        let name = chart::name(&self.object);
        match &self.object.metadata.namespace {
            Some(namespace) => format!("{namespace}/{name}"),
            None => name.to_owned(),
        }
    }

    fn differences(&self, commit: &Commit) -> Vec<String> {
        let subject = format!("{} {} {}", self.verb, self.resource, self.name());
        [
            ("author", commit.author_name.as_str(), self.user.as_str()),
            ("subject", &commit.subject, &subject),
            (
                "Kubernetes-User",
                commit.trailer("Kubernetes-User").unwrap_or_default(),
                &self.user,
            ),
            (
                "Attribution",
                commit.trailer("Attribution").unwrap_or_default(),
                "exact",
            ),
            (
                "Field-Manager",
                commit.trailer("Field-Manager").unwrap_or_default(),
                self.field_manager(),
            ),
        ]
        .into_iter()
        .filter(|(_, is, should_be)| is != should_be)
        .map(|(what, is, should_be)| {
            format!("{}: {what} is {is:?}, not {should_be:?}", commit.hash)
        })
        .collect()
    }

    /// A delete has none.
    fn field_manager(&self) -> &'static str {
        match self.call {
            Call::Delete => "",
            _ => FIELD_MANAGER,
        }
    }
}

fn object(value: Value) -> Result<DynamicObject> {
    serde_json::from_value(value).context("an object of the demo")
}

fn acts(namespace: &str) -> Result<Vec<Act>> {
    let deployer = format!("system:serviceaccount:{namespace}:deployer");
    let named = |api_version: &str, kind: &str, name: &str| {
        object(json!({
            "apiVersion": api_version,
            "kind": kind,
            "metadata": { "name": name, "namespace": namespace },
        }))
    };
    let act = |user: &str, verb, resource, object, call| Act {
        user: user.to_owned(),
        verb,
        resource,
        object,
        call,
    };
    let config = object(json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": "app-config", "namespace": namespace },
        "data": { "log-level": "info", "app.yaml": "greeting: hello\nretries: 3\n" },
    }))?;
    let deployment = object(json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "web", "namespace": namespace },
        "spec": {
            "replicas": 1,
            "selector": { "matchLabels": { "app": "web" } },
            "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": { "containers": [{ "name": "web", "image": "example.com/web:1.0" }] },
            },
        },
    }))?;
    let service = object(json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": "web", "namespace": namespace },
        "spec": { "selector": { "app": "web" }, "ports": [{ "name": "http", "port": 80 }] },
    }))?;
    let priority = object(json!({
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": { "name": format!("{namespace}-batch") },
        "value": 1000,
    }))?;
    let louder = json!({ "data": { "log-level": "debug" } });
    Ok(vec![
        act(ALICE, "Create", "configmaps", config, Call::Create),
        act(&deployer, "Create", "deployments", deployment, Call::Create),
        act(&deployer, "Create", "services", service, Call::Create),
        act(
            BOB,
            "Update",
            "configmaps",
            named("v1", "ConfigMap", "app-config")?,
            Call::Merge(louder),
        ),
        act(
            ALICE,
            "Update",
            "deployments",
            named("apps/v1", "Deployment", "web")?,
            Call::Scale(3),
        ),
        act(ALICE, "Create", "priorityclasses", priority, Call::Create),
        act(
            BOB,
            "Delete",
            "configmaps",
            named("v1", "ConfigMap", "old-settings")?,
            Call::Delete,
        ),
    ])
}

fn objects(namespace: &str, repository: &Repository) -> Result<Vec<DynamicObject>> {
    let edit =
        json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit" });
    let user = |name: &str| json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name });
    let cluster_wide = format!("{namespace}-priority-classes");
    let destination = json!({ "name": "demo" });
    [
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } }),
        json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": { "name": "deployer", "namespace": namespace },
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": { "name": "team", "namespace": namespace },
            "roleRef": edit,
            "subjects": [
                user(ALICE),
                user(BOB),
                { "kind": "ServiceAccount", "name": "deployer", "namespace": namespace },
            ],
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": { "name": cluster_wide },
            "rules": [{
                "apiGroups": ["scheduling.k8s.io"],
                "resources": ["priorityclasses"],
                "verbs": ["create"],
            }],
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": { "name": cluster_wide },
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": cluster_wide,
            },
            "subjects": [user(ALICE)],
        }),
        json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": { "name": "old-settings", "namespace": namespace },
            "data": { "colour": "beige" },
        }),
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": { "name": "git-credentials", "namespace": namespace },
            "stringData": {
                "username": repository.username,
                "password": repository.password,
                "ca.crt": repository.ca,
            },
        }),
        json!({
            "apiVersion": "configbutler.ai/v1alpha1",
            "kind": "GitRepoConfig",
            "metadata": { "name": "demo", "namespace": namespace },
            "spec": {
                "repoUrl": repository.url,
                "allowedBranches": [BRANCH],
                "secretRef": { "name": "git-credentials" },
            },
        }),
        json!({
            "apiVersion": "configbutler.ai/v1alpha1",
            "kind": "GitDestination",
            "metadata": { "name": "demo", "namespace": namespace },
            "spec": { "repoRef": { "name": "demo" }, "branch": BRANCH, "baseFolder": FOLDER },
        }),
        json!({
            "apiVersion": "configbutler.ai/v1alpha1",
            "kind": "WatchRule",
            "metadata": { "name": "everything", "namespace": namespace },
            "spec": { "destinationRef": destination, "rules": [{ "resources": ["*"] }] },
        }),
        json!({
            "apiVersion": "configbutler.ai/v1alpha1",
            "kind": "ClusterWatchRule",
            "metadata": { "name": format!("{namespace}-priority-classes") },
            "spec": {
                "destinationRef": { "name": "demo", "namespace": namespace },
                "rules": [{
                    "scope": "Cluster",
                    "apiGroups": ["scheduling.k8s.io"],
                    "resources": ["priorityclasses"],
                }],
            },
        }),
    ]
    .into_iter()
    .map(object)
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_commits_that_say_what_was_done_are_right() {
        let acts = acts("lab").unwrap();
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
            scale.differences(&commit(ALICE, "Update deployments lab/web")),
            Vec::<String>::new()
        );
        assert_eq!(
            scale
                .differences(&commit(BOB, "Update deployments lab/web"))
                .len(),
            2
        );
        assert_eq!(
            scale
                .differences(&commit(ALICE, "Delete deployments lab/web"))
                .len(),
            1
        );
    }

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
