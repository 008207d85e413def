//! A place for one test: a namespace, a repository, a destination, and people who write.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Client, Resource, ResourceExt};
use reverser::api::{GitDestination, GitRepoConfig, WatchRule};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tests::control_plane::ControlPlane;
use tests::eventually::eventually;
use tests::git::{Commit, GitServer, HttpOptions, Repo, SshGitServer, SshOptions};
use tests::reverser::Reverser;

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The folder of the lab's destination.
pub(crate) const FOLDER: &str = "clusters/lab";

pub(crate) const USER: &str = "writer";
pub(crate) const PASSWORD: &str = "correct horse";

pub(crate) struct Lab<'a> {
    pub(crate) plane: &'a ControlPlane,
    pub(crate) server: GitServer,
    pub(crate) repo: Repo,
    pub(crate) namespace: String,
    pub(crate) client: Client,
}

/// An SSH server. None where there is no sshd, but in CI, which has to have it.
pub(crate) fn ssh_server() -> Option<SshGitServer> {
    match GitServer::ssh(SshOptions::default()) {
        Ok(server) => Some(server),
        Err(error) if std::env::var_os("CI").is_none() => {
            eprintln!("SKIPPED: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

impl Lab<'static> {
    /// On the control plane and the reverser that all tests share.
    pub(crate) async fn shared(prefix: &str) -> Self {
        let plane = ControlPlane::shared().await;
        Reverser::shared().await;
        Self::on(plane, prefix).await
    }
}

impl<'a> Lab<'a> {
    /// Namespace and repository are there; nothing refers to them yet.
    pub(crate) async fn on(plane: &'a ControlPlane, prefix: &str) -> Self {
        let server = GitServer::https(HttpOptions::basic(USER, PASSWORD)).unwrap();
        let repo = server.create_repo(prefix);
        let namespace = plane.create_namespace(prefix).await;
        let client = plane.client();
        Self {
            plane,
            server,
            repo,
            namespace,
            client,
        }
    }

    /// A lab whose destination is written to: all ConfigMaps of its namespace.
    pub(crate) async fn watching(self, resources: &[&str]) -> Self {
        self.repo_config(self.repo.url(), &["main"]).await;
        self.destination("all", json!({})).await;
        self.rule("rule", json!([{"resources": resources}])).await;
        self.ready::<WatchRule>("rule").await;
        self.ready::<GitDestination>("all").await;
        self
    }

    /// The repository's credentials and CA, as a Secret named `git`, and a GitRepoConfig named `repo`.
    pub(crate) async fn repo_config(&self, url: &str, branches: &[&str]) {
        self.secret(
            "git",
            &[
                ("username", USER),
                ("password", PASSWORD),
                ("ca.crt", self.server.ca_pem()),
            ],
        )
        .await;
        self.apply::<GitRepoConfig>(
            "repo",
            json!({"repoUrl": url, "allowedBranches": branches, "secretRef": {"name": "git"},
                   "push": {"lingerMs": 200}}),
        )
        .await
        .unwrap();
    }

    pub(crate) async fn secret(&self, name: &str, data: &[(&str, &str)]) {
        let data: BTreeMap<String, String> = data
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data});
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        api.patch(
            name,
            &PatchParams::apply("test").force(),
            &Patch::Apply(secret),
        )
        .await
        .unwrap();
    }

    /// A GitDestination; `more` overrides fields of its spec.
    pub(crate) async fn destination(&self, name: &str, more: Value) {
        let mut spec = json!({"repoRef": {"name": "repo"}, "branch": "main", "baseFolder": FOLDER});
        spec.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        self.apply::<GitDestination>(name, spec).await.unwrap();
    }

    /// A WatchRule for the destination `all`.
    pub(crate) async fn rule(&self, name: &str, rules: Value) {
        self.apply::<WatchRule>(
            name,
            json!({"destinationRef": {"name": "all"}, "rules": rules}),
        )
        .await
        .unwrap();
    }

    /// Applies one of the custom resources.
    pub(crate) async fn apply<K>(&self, name: &str, spec: Value) -> kube::Result<DynamicObject>
    where
        K: Resource<DynamicType = ()>,
    {
        let object = json!({
            "apiVersion": K::api_version(&()), "kind": K::kind(&()), "metadata": {"name": name}, "spec": spec,
        });
        let api: Api<DynamicObject> = Api::namespaced_with(
            self.client.clone(),
            &self.namespace,
            &kube::api::ApiResource::erase::<K>(&()),
        );
        api.patch(
            name,
            &PatchParams::apply("test").force(),
            &Patch::Apply(object),
        )
        .await
    }

    /// Waits until the custom resource is Ready at its present generation.
    pub(crate) async fn ready<K: Resource<DynamicType = ()>>(&self, name: &str) {
        self.condition::<K>(name, |ready| ready["status"] == "True")
            .await;
    }

    /// Waits until the custom resource is not Ready for this reason; returns the message.
    pub(crate) async fn not_ready<K: Resource<DynamicType = ()>>(
        &self,
        name: &str,
        reason: &str,
    ) -> String {
        let ready = self
            .condition::<K>(name, |c| c["status"] == "False" && c["reason"] == reason)
            .await;
        ready["message"].as_str().unwrap().to_owned()
    }

    /// The status of a custom resource.
    pub(crate) async fn status<K: Resource<DynamicType = ()>>(&self, name: &str) -> Value {
        let resource = kube::api::ApiResource::erase::<K>(&());
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &self.namespace, &resource);
        api.get(name).await.unwrap().data["status"].clone()
    }

    /// Waits until the Ready condition of a custom resource, of its present generation, is as wanted.
    pub(crate) async fn condition<K: Resource<DynamicType = ()>>(
        &self,
        name: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let resource = kube::api::ApiResource::erase::<K>(&());
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &self.namespace, &resource);
        eventually(PATIENCE, || async {
            let object = api.get(name).await.map_err(|error| error.to_string())?;
            let status = &object.data["status"];
            let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
            let ready = conditions
                .iter()
                .find(|c| c["type"] == "Ready")
                .cloned()
                .unwrap_or_default();
            if status["observedGeneration"].as_i64() == object.metadata.generation && wanted(&ready)
            {
                Ok(ready)
            } else {
                Err(format!("{} {name}: {status}", resource.kind))
            }
        })
        .await
    }

    /// Somebody with all rights.
    pub(crate) fn user(&self, name: &str) -> Client {
        self.plane.client_as(name, &["system:masters"])
    }

    /// ConfigMaps of the lab's namespace, as somebody.
    pub(crate) fn maps(&self, user: &str) -> Api<ConfigMap> {
        Api::namespaced(self.user(user), &self.namespace)
    }

    /// Where a ConfigMap's file stands.
    pub(crate) fn path(&self, name: &str) -> String {
        self.path_of("configmaps", name)
    }

    /// Where the file of an object of a core type stands.
    pub(crate) fn path_of(&self, resource: &str, name: &str) -> String {
        format!("{FOLDER}/v1/{resource}/{}/{name}.yaml", self.namespace)
    }

    /// The commits that changed manifests, oldest first: without the one that claims the folder.
    pub(crate) fn commits(&self) -> Vec<Commit> {
        let mut commits = self.repo.log();
        commits.retain(|commit| !commit.subject.starts_with("Claim "));
        commits
    }

    /// The commits that changed this file, oldest first.
    pub(crate) fn versions(&self, path: &str) -> Vec<Commit> {
        self.commits()
            .into_iter()
            .filter(|commit| commit.paths().contains(&path))
            .collect()
    }

    /// Waits until the file holds this ConfigMap key and value.
    pub(crate) async fn holds(&self, name: &str, key: &str, value: &str) {
        let path = self.path(name);
        eventually(PATIENCE, || async {
            let text = self
                .repo
                .file(&path)
                .ok_or_else(|| format!("{path} is not there"))?;
            let object: Value = serde_yaml::from_slice(&text).map_err(|error| error.to_string())?;
            if object["data"][key] == value {
                Ok(())
            } else {
                Err(format!("{path} holds {object}"))
            }
        })
        .await;
    }

    /// Waits until the ConfigMap's file is gone.
    pub(crate) async fn lacks(&self, name: &str) {
        self.there(&self.path(name), false).await;
    }

    /// Waits until the file is there, or gone.
    pub(crate) async fn there(&self, path: &str, wanted: bool) {
        eventually(PATIENCE, || async {
            if self.repo.file(path).is_some() == wanted {
                Ok(())
            } else {
                Err(format!("{path} is there: {}", !wanted))
            }
        })
        .await;
    }

    /// Waits until everything that happened before is in Git, by writing something and seeing it
    /// there: a worker commits in order.
    pub(crate) async fn settle(&self) {
        let name = format!("settle-{}", self.commits().len());
        create(&self.maps("settler"), &map(&name, "k", "v")).await;
        self.holds(&name, "k", "v").await;
    }
}

/// A ConfigMap with one key.
pub(crate) fn map(name: &str, key: &str, value: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name}, "data": {key: value}})).unwrap()
}

pub(crate) async fn create<K>(api: &Api<K>, object: &K)
where
    K: Resource + Clone + DeserializeOwned + Serialize + std::fmt::Debug,
{
    api.create(&PostParams::default(), object)
        .await
        .unwrap_or_else(|e| panic!("create {}: {e}", object.name_any()));
}

/// Sets one key of a ConfigMap.
pub(crate) async fn set(api: &Api<ConfigMap>, name: &str, key: &str, value: &str) {
    let patch = Patch::Merge(json!({"data": {key: value}}));
    api.patch(name, &PatchParams::default(), &patch)
        .await
        .unwrap_or_else(|e| panic!("patch {name}: {e}"));
}

pub(crate) async fn delete(api: &Api<ConfigMap>, name: &str) {
    api.delete(name, &DeleteParams::default())
        .await
        .unwrap_or_else(|e| panic!("delete {name}: {e}"));
}
