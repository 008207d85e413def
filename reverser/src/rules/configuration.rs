//! The custom resources as they are in the cluster, each parsed on its own.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::SelectAll;
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tracing::warn;

use super::recipients::FoundRecipients;
use crate::api::{
    ClusterWatchRule, ClusterWatchRuleSpec, GitDestination, GitDestinationSpec, GitRepoConfig,
    GitRepoConfigSpec, WatchRule, WatchRuleSpec,
};

/// Which of the four.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// GitRepoConfig.
    Repo,
    /// GitDestination.
    Destination,
    /// WatchRule.
    Rule,
    /// ClusterWatchRule.
    ClusterRule,
}

impl Kind {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Repo, Self::Destination, Self::Rule, Self::ClusterRule];

    /// How the API names it.
    #[must_use]
    pub fn api_resource(self) -> ApiResource {
        match self {
            Self::Repo => ApiResource::erase::<GitRepoConfig>(&()),
            Self::Destination => ApiResource::erase::<GitDestination>(&()),
            Self::Rule => ApiResource::erase::<WatchRule>(&()),
            Self::ClusterRule => ApiResource::erase::<ClusterWatchRule>(&()),
        }
    }
}

/// One custom resource.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// Which kind.
    pub kind: Kind,
    /// Empty for a ClusterWatchRule.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.api_resource().kind;
        if self.namespace.is_empty() {
            write!(f, "{kind} {}", self.name)
        } else {
            write!(f, "{kind} {}/{}", self.namespace, self.name)
        }
    }
}

/// A custom resource, its spec parsed or the reason why it can't be: one that an older schema let
/// through must not stop the others.
#[derive(Clone, Debug)]
pub struct ConfigObject<Spec> {
    /// As the apiserver sent it.
    pub object: Arc<DynamicObject>,
    /// The spec, or what is wrong with it.
    pub spec: Result<Arc<Spec>, String>,
}

impl<Spec: DeserializeOwned> ConfigObject<Spec> {
    fn parse(object: Arc<DynamicObject>) -> Self {
        let spec = object.data.get("spec").cloned().unwrap_or_default();
        let spec = serde_json::from_value(spec)
            .map(Arc::new)
            .map_err(|error| error.to_string());
        Self { object, spec }
    }
}

/// All custom resources at one moment, by namespace and name.
#[derive(Clone, Debug, Default)]
pub struct Configuration {
    /// GitRepoConfigs.
    pub repos: BTreeMap<(String, String), ConfigObject<GitRepoConfigSpec>>,
    /// GitDestinations.
    pub destinations: BTreeMap<(String, String), ConfigObject<GitDestinationSpec>>,
    /// WatchRules.
    pub rules: BTreeMap<(String, String), ConfigObject<WatchRuleSpec>>,
    /// ClusterWatchRules; the namespace is empty.
    pub cluster_rules: BTreeMap<(String, String), ConfigObject<ClusterWatchRuleSpec>>,
    /// From the Secrets that destinations name.
    pub recipients: FoundRecipients,
}

impl Configuration {
    /// The object as the apiserver last sent it.
    #[must_use]
    pub fn object(&self, key: &ObjectKey) -> Option<&Arc<DynamicObject>> {
        let name = (key.namespace.clone(), key.name.clone());
        match key.kind {
            Kind::Repo => self.repos.get(&name).map(|o| &o.object),
            Kind::Destination => self.destinations.get(&name).map(|o| &o.object),
            Kind::Rule => self.rules.get(&name).map(|o| &o.object),
            Kind::ClusterRule => self.cluster_rules.get(&name).map(|o| &o.object),
        }
    }

    fn insert(&mut self, kind: Kind, object: DynamicObject) {
        let name = (object.namespace().unwrap_or_default(), object.name_any());
        let object = Arc::new(object);
        match kind {
            Kind::Repo => drop(self.repos.insert(name, ConfigObject::parse(object))),
            Kind::Destination => drop(self.destinations.insert(name, ConfigObject::parse(object))),
            Kind::Rule => drop(self.rules.insert(name, ConfigObject::parse(object))),
            Kind::ClusterRule => drop(self.cluster_rules.insert(name, ConfigObject::parse(object))),
        }
    }

    fn remove(&mut self, kind: Kind, object: &DynamicObject) {
        let name = (object.namespace().unwrap_or_default(), object.name_any());
        match kind {
            Kind::Repo => drop(self.repos.remove(&name)),
            Kind::Destination => drop(self.destinations.remove(&name)),
            Kind::Rule => drop(self.rules.remove(&name)),
            Kind::ClusterRule => drop(self.cluster_rules.remove(&name)),
        }
    }

    fn clear(&mut self, kind: Kind) {
        match kind {
            Kind::Repo => self.repos.clear(),
            Kind::Destination => self.destinations.clear(),
            Kind::Rule => self.rules.clear(),
            Kind::ClusterRule => self.cluster_rules.clear(),
        }
    }
}

/// Watches the four kinds.
pub struct ConfigurationWatcher {
    client: Client,
    configuration: watch::Sender<Option<Arc<Configuration>>>,
}

impl ConfigurationWatcher {
    /// `configuration` gets a snapshot after every change, the first only once all four kinds
    /// have been listed: with less, a rule that is there would look as if it were gone.
    #[must_use]
    pub fn new(client: Client, configuration: watch::Sender<Option<Arc<Configuration>>>) -> Self {
        Self {
            client,
            configuration,
        }
    }

    /// Runs until dropped.
    pub async fn run(self) {
        let mut events = SelectAll::new();
        for kind in Kind::ALL {
            let api: Api<DynamicObject> = Api::all_with(self.client.clone(), &kind.api_resource());
            let stream = watcher(api, watcher::Config::default()).default_backoff();
            events.push(stream.map(move |event| (kind, event)).boxed());
        }
        let mut current = Configuration::default();
        let mut listing: BTreeMap<Kind, Vec<DynamicObject>> = BTreeMap::new();
        let mut listed: Vec<Kind> = Vec::new();
        while let Some((kind, event)) = events.next().await {
            match event {
                Ok(watcher::Event::Apply(object)) => current.insert(kind, object),
                Ok(watcher::Event::Delete(object)) => current.remove(kind, &object),
                Ok(watcher::Event::Init) => {
                    listing.insert(kind, Vec::new());
                    continue;
                }
                Ok(watcher::Event::InitApply(object)) => {
                    listing.entry(kind).or_default().push(object);
                    continue;
                }
                Ok(watcher::Event::InitDone) => {
                    current.clear(kind);
                    for object in listing.remove(&kind).unwrap_or_default() {
                        current.insert(kind, object);
                    }
                    if !listed.contains(&kind) {
                        listed.push(kind);
                    }
                }
                Err(error) => {
                    warn!(kind = %kind.api_resource().kind, %error, "the watch of a custom resource was interrupted");
                    continue;
                }
            }
            if listed.len() == Kind::ALL.len() {
                self.configuration
                    .send_replace(Some(Arc::new(current.clone())));
            }
        }
    }
}
