//! Namespaces, a Git server, and the custom resources that join them.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Client, Resource};
use reverser::api::{ClusterWatchRule, GitDestination, GitRepoConfig, WatchRule};
use serde_json::{Value, json};
use tests::control_plane::ControlPlane;
use tests::git::{GitServer, HttpOptions, Repo};
use tokio::time::Instant;

/// How long anything may take before it counts as never.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

const FOLDER: &str = "clusters/bench";
const MANAGER: &str = "bench";
const USER: &str = "writer";
const PASSWORD: &str = "correct horse";

/// Clients that create objects at the same time.
const CREATORS: usize = 16;

pub(crate) struct Lab<'a> {
    pub(crate) plane: &'a ControlPlane,
    pub(crate) server: GitServer,
    /// The custom resources are in the first, ConfigMaps in all of them.
    namespaces: Vec<String>,
    pub(crate) client: Client,
}

// === impl Lab ===

impl<'a> Lab<'a> {
    pub(crate) async fn new(
        plane: &'a ControlPlane,
        prefix: &str,
        namespaces: u32,
    ) -> Result<Self> {
        let mut names = Vec::new();
        for _ in 0..namespaces {
            names.push(plane.create_namespace(prefix).await);
        }
        let lab = Self {
            plane,
            server: GitServer::https(HttpOptions::basic(USER, PASSWORD))?,
            namespaces: names,
            client: plane.client(),
        };
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "git"},
            "stringData": {"username": USER, "password": PASSWORD, "ca.crt": lab.server.ca_pem()},
        });
        let secrets: Api<Secret> = Api::namespaced(lab.client.clone(), lab.home());
        secrets
            .patch("git", &PatchParams::apply(MANAGER), &Patch::Apply(secret))
            .await
            .context("make the Secret")?;
        Ok(lab)
    }

    fn home(&self) -> &str {
        &self.namespaces[0]
    }

    fn is_spread(&self) -> bool {
        self.namespaces.len() > 1
    }

    /// Where the ConfigMap of this name is.
    fn namespace_of(&self, name: &str) -> &str {
        let mix = |sum: usize, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte));
        let sum = name.bytes().fold(0, mix);
        &self.namespaces[sum % self.namespaces.len()]
    }

    /// Of the namespace, or of the cluster where there are several.
    pub(crate) fn maps(&self, client: Client) -> Api<ConfigMap> {
        if self.is_spread() {
            Api::all(client)
        } else {
            Api::namespaced(client, self.home())
        }
    }

    /// For the ConfigMap of this name.
    pub(crate) fn maps_for(&self, client: &Client, name: &str) -> Api<ConfigMap> {
        Api::namespaced(client.clone(), self.namespace_of(name))
    }

    /// What the reverser lists and watches: a namespace, or empty for all of them.
    pub(crate) fn scope(&self) -> &str {
        if self.is_spread() { "" } else { self.home() }
    }

    /// Whether a file is of one of the namespaces.
    pub(crate) fn holds(&self, path: &str) -> bool {
        let rest = path.strip_prefix(FOLDER);
        let rest = rest.and_then(|rest| rest.strip_prefix("/v1/configmaps/"));
        let namespace = rest.and_then(|rest| rest.split_once('/'));
        namespace.is_some_and(|(namespace, _)| self.namespaces.iter().any(|ours| ours == namespace))
    }

    /// Somebody with all rights.
    pub(crate) fn user(&self, name: &str) -> Client {
        self.plane.client_as(name, &["system:masters"])
    }

    /// Where a ConfigMap's file stands.
    pub(crate) fn path(&self, name: &str) -> String {
        format!(
            "{FOLDER}/v1/configmaps/{}/{name}.yaml",
            self.namespace_of(name)
        )
    }

    /// Creates so many ConfigMaps.
    pub(crate) async fn fill(&self, objects: usize, bytes: usize) -> Result<()> {
        stream::iter(0..objects)
            .map(|number| async move {
                let name = seeded_name(number);
                let map = config_map(&name, &payload(number, bytes))?;
                let maps = self.maps_for(&self.client, &name);
                maps.create(&PostParams::default(), &map).await?;
                anyhow::Ok(())
            })
            .buffer_unordered(CREATORS)
            .try_collect::<()>()
            .await
            .context("create ConfigMaps")
    }

    /// An empty repository, and a destination that writes to it as soon as there is a rule. Both have the given name.
    pub(crate) async fn destination(&self, name: &str) -> Result<Repo> {
        let repo = self.server.create_repo(name);
        self.apply::<GitRepoConfig>(
            name,
            json!({"repoUrl": repo.url(), "allowedBranches": ["main"], "secretRef": {"name": "git"}}),
        )
        .await?;
        self.apply::<GitDestination>(
            name,
            json!({"repoRef": {"name": name}, "branch": "main", "baseFolder": FOLDER}),
        )
        .await?;
        self.ready::<GitRepoConfig>(name).await?;
        Ok(repo)
    }

    /// All ConfigMaps of the namespace, or of the cluster where there are several, go to the destination of this name.
    pub(crate) async fn rule(&self, name: &str) -> Result<()> {
        let mut spec = json!({"destinationRef": {"name": name},
                              "rules": [{"apiGroups": [""], "resources": ["configmaps"]}]});
        if self.is_spread() {
            spec["destinationRef"]["namespace"] = self.home().into();
            spec["rules"][0]["scope"] = "Namespaced".into();
            self.apply::<ClusterWatchRule>(name, spec).await
        } else {
            self.apply::<WatchRule>(name, spec).await
        }
    }

    /// Waits until everything was listed once and is in Git.
    pub(crate) async fn rule_ready(&self, name: &str) -> Result<()> {
        if self.is_spread() {
            self.ready::<ClusterWatchRule>(name).await?;
        } else {
            self.ready::<WatchRule>(name).await?;
        }
        self.ready::<GitDestination>(name).await
    }

    /// Takes back what was made under this name.
    pub(crate) async fn clear(&self, name: &str) -> Result<()> {
        if self.is_spread() {
            self.delete::<ClusterWatchRule>(name).await?;
        } else {
            self.delete::<WatchRule>(name).await?;
        }
        self.delete::<GitDestination>(name).await?;
        self.delete::<GitRepoConfig>(name).await
    }

    /// Waits until the custom resource is Ready at its present generation.
    pub(crate) async fn ready<K: Resource<DynamicType = ()>>(&self, name: &str) -> Result<()> {
        let start = Instant::now();
        loop {
            let object = self.api::<K>().get(name).await?;
            let status = &object.data["status"];
            let is_ready = status["observedGeneration"].as_i64() == object.metadata.generation
                && status["conditions"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .any(|c| c["type"] == "Ready" && c["status"] == "True");
            if is_ready {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                bail!("{} {name} is not ready: {status}", K::kind(&()));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn apply<K: Resource<DynamicType = ()>>(&self, name: &str, spec: Value) -> Result<()> {
        let object = json!({
            "apiVersion": K::api_version(&()), "kind": K::kind(&()), "metadata": {"name": name}, "spec": spec,
        });
        self.api::<K>()
            .patch(name, &PatchParams::apply(MANAGER), &Patch::Apply(object))
            .await
            .with_context(|| format!("apply {} {name}", K::kind(&())))?;
        Ok(())
    }

    async fn delete<K: Resource<DynamicType = ()>>(&self, name: &str) -> Result<()> {
        self.api::<K>()
            .delete(name, &DeleteParams::default())
            .await
            .with_context(|| format!("delete {} {name}", K::kind(&())))?;
        Ok(())
    }

    fn api<K: Resource<DynamicType = ()>>(&self) -> Api<DynamicObject> {
        let kind = ApiResource::erase::<K>(&());
        if K::kind(&()) == ClusterWatchRule::kind(&()) {
            Api::all_with(self.client.clone(), &kind)
        } else {
            Api::namespaced_with(self.client.clone(), self.home(), &kind)
        }
    }
}

/// The name of a ConfigMap that is there before the rule.
pub(crate) fn seeded_name(number: usize) -> String {
    format!("app-{number:06}")
}

pub(crate) fn config_map(name: &str, payload: &str) -> Result<ConfigMap> {
    let object = json!({"metadata": {"name": name}, "data": {"app.properties": payload}});
    Ok(serde_json::from_value(object)?)
}

/// Lines of `key=value`, so many bytes in all, other ones for each number.
pub(crate) fn payload(number: usize, bytes: usize) -> String {
    let mut text = String::with_capacity(bytes + 64);
    let mut line = 0_u64;
    while text.len() < bytes {
        let value = xxhash_rust::xxh64::xxh64(&line.to_le_bytes(), number as u64);
        text.push_str(&format!("setting.{line:03}={value:016x}{value:016x}\n"));
        line += 1;
    }
    text.truncate(bytes.saturating_sub(1));
    text.push('\n');
    text
}
