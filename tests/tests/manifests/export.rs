//! A cluster that is exported: a control plane, our two processes, a repository, and rules that select what is asked for.

use std::collections::BTreeMap;

use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use manifest::Identity;
use serde_json::{Value, json};
use tests::control_plane::{self, ControlPlane};
use tests::eventually::eventually;
use tests::git::{Commit, GitServer, HttpOptions, Repo};
use tests::reverser::{self, Reverser};

use crate::PATIENCE;
use crate::served::{self, Served, text};

pub(crate) const FOLDER: &str = "cluster";
/// Where our own custom resources are.
pub(crate) const HOME: &str = "gitops-home";
const USER: &str = "writer";
const PASSWORD: &str = "correct horse";

pub(crate) fn server() -> GitServer {
    GitServer::https(HttpOptions::basic(USER, PASSWORD)).unwrap()
}

pub(crate) struct Cluster {
    pub(crate) reverser: Reverser,
    pub(crate) repo: Repo,
    // Ended after the reverser.
    pub(crate) plane: ControlPlane,
}

// === impl Cluster ===

impl Cluster {
    /// Nothing is selected yet. The repository and a destination `all` for it are there.
    pub(crate) async fn start(
        server: &GitServer,
        name: &str,
        plane: control_plane::Options,
        options: reverser::Options,
    ) -> Self {
        let plane = ControlPlane::start(plane).await.unwrap();
        Self::on(plane, server, name, options).await
    }

    /// On a control plane that is there already.
    pub(crate) async fn on(
        plane: ControlPlane,
        server: &GitServer,
        name: &str,
        options: reverser::Options,
    ) -> Self {
        let reverser = Reverser::start(&plane, options).await.unwrap();
        let cluster = Self {
            reverser,
            repo: server.create_repo(name),
            plane,
        };
        cluster
            .apply("v1", "Namespace", "", HOME, json!({"metadata": {}}))
            .await;
        let secret = json!({"stringData": {"username": USER, "password": PASSWORD, "ca.crt": server.ca_pem()}});
        cluster.apply("v1", "Secret", HOME, "git", secret).await;
        let repo = json!({"repoUrl": cluster.repo.url(), "allowedBranches": ["main"],
                          "secretRef": {"name": "git"}, "push": {"lingerMs": 200}});
        cluster.ours("GitRepoConfig", HOME, "repo", repo).await;
        cluster.destination("all", FOLDER, "Plain").await;
        cluster
    }

    pub(crate) fn client(&self) -> Client {
        self.plane.client()
    }

    /// Somebody with all rights.
    pub(crate) fn user(&self, name: &str) -> Client {
        self.plane.client_as(name, &["system:masters"])
    }

    pub(crate) async fn destination(&self, name: &str, folder: &str, policy: &str) {
        let spec = json!({"repoRef": {"name": "repo"}, "branch": "main", "baseFolder": folder, "secretPolicy": policy});
        self.ours("GitDestination", HOME, name, spec).await;
    }

    /// Selects types everywhere, and waits until they are watched and what is there is in Git.
    pub(crate) async fn select(&self, destination: &str, types: &[Served]) {
        let rules = types.iter().map(Served::rule).collect();
        self.rule(destination, Value::Array(rules)).await;
    }

    pub(crate) async fn rule(&self, destination: &str, rules: Value) {
        let spec =
            json!({"destinationRef": {"namespace": HOME, "name": destination}, "rules": rules});
        self.ours("ClusterWatchRule", "", destination, spec).await;
        self.ready("ClusterWatchRule", "", destination).await;
        self.ready("GitDestination", HOME, destination).await;
    }

    async fn ours(&self, kind: &str, namespace: &str, name: &str, spec: Value) {
        self.apply(
            "configbutler.ai/v1alpha1",
            kind,
            namespace,
            name,
            json!({"spec": spec}),
        )
        .await;
    }

    async fn apply(&self, api_version: &str, kind: &str, namespace: &str, name: &str, rest: Value) {
        let mut object = rest;
        object["apiVersion"] = api_version.into();
        object["kind"] = kind.into();
        object["metadata"]["name"] = name.into();
        self.api(api_version, kind, namespace)
            .patch(
                name,
                &PatchParams::apply("test-bed").force(),
                &Patch::Apply(object),
            )
            .await
            .unwrap();
    }

    fn api(&self, api_version: &str, kind: &str, namespace: &str) -> Api<DynamicObject> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let gvk = kube::core::GroupVersionKind::gvk(group, version, kind);
        let resource = kube::api::ApiResource::from_gvk(&gvk);
        if namespace.is_empty() {
            Api::all_with(self.client(), &resource)
        } else {
            Api::namespaced_with(self.client(), namespace, &resource)
        }
    }

    async fn ready(&self, kind: &str, namespace: &str, name: &str) {
        let api = self.api("configbutler.ai/v1alpha1", kind, namespace);
        eventually(PATIENCE, || async {
            let object = api.get(name).await.map_err(|error| error.to_string())?;
            let status = &object.data["status"];
            let conditions = status["conditions"].as_array();
            let ready = conditions
                .into_iter()
                .flatten()
                .any(|it| it["type"] == "Ready" && it["status"] == "True");
            let current = status["observedGeneration"].as_i64() == object.metadata.generation;
            if ready && current {
                Ok(())
            } else {
                Err(format!("{kind} {name}: {status}"))
            }
        })
        .await;
    }

    /// What Git is to hold of these types now: the canonical text of each object that is not left out.
    pub(crate) async fn wanted(&self, types: &[Served]) -> BTreeMap<String, Vec<u8>> {
        let client = self.client();
        let mut files = BTreeMap::new();
        for served in types {
            for object in served::list(&client, served).await {
                let identity = served.identity(&object);
                let terminating = object["metadata"]["deletionTimestamp"].is_string();
                if !terminating && manifest::left_out(&identity, &object).is_none() {
                    let text = manifest::canonicalize(&object).unwrap().text;
                    files.insert(manifest::file_path(FOLDER, &identity), text);
                }
            }
        }
        files
    }

    /// Waits until Git holds every object of these types as it is, and nothing else. Returns the files.
    pub(crate) async fn exported(&self, types: &[Served]) -> BTreeMap<String, Vec<u8>> {
        eventually(PATIENCE, || async {
            let wanted = self.wanted(types).await;
            let files = self.files();
            let differ = |path: &&String| wanted.get(*path) != files.get(*path);
            let paths: std::collections::BTreeSet<&String> =
                wanted.keys().chain(files.keys()).filter(differ).collect();
            if paths.is_empty() {
                Ok(files)
            } else {
                Err(format!(
                    "{} files are not as their objects: {paths:?}",
                    paths.len()
                ))
            }
        })
        .await
    }

    /// The files of the destination `all` at the tip.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = self.repo.contents();
        let ours = |path: &str| {
            path.strip_prefix(FOLDER)
                .is_some_and(|rest| rest.starts_with('/'))
        };
        files.retain(|path, _| ours(path) && !path.ends_with("/.gitops-reverser"));
        files
    }

    /// The commits that changed manifests, oldest first.
    pub(crate) fn commits(&self) -> Vec<Commit> {
        let mut commits = self.repo.log();
        commits.retain(|commit| !commit.subject.starts_with("Claim "));
        commits
    }
}

/// What a file is about, by its content. Its type is one of these.
pub(crate) fn identity_of(types: &[Served], content: &[u8]) -> Identity {
    let object = manifest::parse(content).unwrap();
    served::type_of(types, &object).identity(&object)
}

/// Waits until a CustomResourceDefinition is served.
pub(crate) async fn established(client: &Client, crd: &Value) {
    let name = text(&crd["metadata"]["name"]);
    let path = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}");
    eventually(PATIENCE, || async {
        let crd = served::get(client, &path)
            .await
            .map_err(|error| error.to_string())?;
        let conditions = crd["status"]["conditions"].as_array();
        let there = conditions
            .into_iter()
            .flatten()
            .any(|it| it["type"] == "Established" && it["status"] == "True");
        if there {
            Ok(())
        } else {
            Err(crd["status"].to_string())
        }
    })
    .await;
}
