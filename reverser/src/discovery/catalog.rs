//! A snapshot of what the cluster serves.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use kube::core::discovery::v2::{APIGroupDiscovery, APIGroupDiscoveryList, APIResourceDiscovery};
use manifest::ReplicasPath;

/// A type that can be listed and watched, at one version.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServedType {
    /// API group; empty for core.
    pub group: String,
    /// API version within the group.
    pub version: String,
    /// Plural name.
    pub resource: String,
    /// Kind, to complete the items of a list, which come without it.
    pub kind: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// What its scale subresource writes to; `None` for a type without one.
    pub replicas: Option<ReplicasPath>,
}

impl ServedType {
    /// `v1` or `apps/v1`.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// The API path of the collection, in one namespace or in all.
    #[must_use]
    pub fn url_path(&self, namespace: Option<&str>) -> String {
        let Self {
            group,
            version,
            resource,
            ..
        } = self;
        let root = if group.is_empty() {
            format!("/api/{version}")
        } else {
            format!("/apis/{group}/{version}")
        };
        match namespace {
            Some(namespace) => format!("{root}/namespaces/{namespace}/{resource}"),
            None => format!("{root}/{resource}"),
        }
    }
}

/// `configmaps` or `deployments.apps`, with the version: `deployments.v1.apps`.
impl fmt::Display for ServedType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.resource, self.version)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        Ok(())
    }
}

/// Other names by which people call a type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Names {
    singular: String,
    short: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    /// In the cluster's order of preference; never empty.
    versions: Vec<Arc<ServedType>>,
    names: Names,
}

/// Every type that can be listed and watched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    /// By group and resource.
    entries: BTreeMap<(String, String), Entry>,
    /// Groups of which some version could not be discovered now: what they served before may still exist.
    stale_groups: Vec<String>,
}

impl Catalog {
    /// From the two aggregated discovery documents (KEP-3352), whose versions stand in the
    /// cluster's order of preference.
    #[must_use]
    pub fn new(core: &APIGroupDiscoveryList, groups: &APIGroupDiscoveryList) -> Self {
        let mut catalog = Self::default();
        for group in core.items.iter().chain(&groups.items) {
            catalog.add_group(group);
        }
        catalog
    }

    fn add_group(&mut self, group: &APIGroupDiscovery) {
        let name = group
            .metadata
            .as_ref()
            .and_then(|m| m.name.clone())
            .unwrap_or_default();
        for version in &group.versions {
            let Some(version_name) = &version.version else {
                continue;
            };
            if version.freshness.as_deref() == Some("Stale") && !self.stale_groups.contains(&name) {
                self.stale_groups.push(name.clone());
            }
            for resource in &version.resources {
                self.add_resource(&name, version_name, resource);
            }
        }
    }

    fn add_resource(&mut self, group: &str, version: &str, resource: &APIResourceDiscovery) {
        let can = |verb: &str| resource.verbs.iter().any(|v| v == verb);
        let (Some(plural), Some(kind)) = (
            &resource.resource,
            resource.response_kind.as_ref().and_then(|k| k.kind.clone()),
        ) else {
            return;
        };
        if !can("list") || !can("watch") {
            return;
        }
        let mut subresources = resource.subresources.iter();
        let is_scaled = subresources.any(|s| s.subresource.as_deref() == Some("scale"));
        let served = Arc::new(ServedType {
            group: group.to_owned(),
            version: version.to_owned(),
            resource: plural.clone(),
            kind,
            namespaced: resource.scope.as_deref() == Some("Namespaced"),
            replicas: is_scaled.then(ReplicasPath::default),
        });
        self.entries
            .entry((group.to_owned(), plural.clone()))
            .or_insert_with(|| Entry {
                versions: Vec::new(),
                names: Names {
                    singular: resource.singular_resource.clone().unwrap_or_default(),
                    short: resource.short_names.clone(),
                },
            })
            .versions
            .push(served);
    }

    /// The versions of one type, preferred first; empty where it is not served.
    #[must_use]
    pub fn versions(&self, group: &str, resource: &str) -> &[Arc<ServedType>] {
        self.entries
            .get(&(group.to_owned(), resource.to_owned()))
            .map_or(&[], |e| &e.versions)
    }

    /// Each type's versions, preferred first.
    pub fn types(&self) -> impl Iterator<Item = &[Arc<ServedType>]> {
        self.entries.values().map(|e| e.versions.as_slice())
    }

    /// Types with a scale subresource whose definition may say what it writes to, each by its first
    /// version. Those that come with Kubernetes have no definition, and no dot in their group.
    pub(super) fn scaled_by_definition(&self) -> Vec<Arc<ServedType>> {
        let scaled = |e: &&Entry| e.versions.iter().any(|v| v.replicas.is_some());
        let types = self.entries.values().filter(scaled);
        types
            .map(|e| e.versions[0].clone())
            .filter(|served| served.group.contains('.'))
            .collect()
    }

    /// Notes what the scale subresource of a type writes to, in those of its versions that have one.
    pub(super) fn set_replicas(
        &mut self,
        of: &ServedType,
        path: impl Fn(&str) -> Option<ReplicasPath>,
    ) {
        let Some(entry) = self
            .entries
            .get_mut(&(of.group.clone(), of.resource.clone()))
        else {
            return;
        };
        for served in &mut entry.versions {
            if served.replicas.is_some()
                && let Some(path) = path(&served.version)
            {
                Arc::make_mut(served).replicas = Some(path);
            }
        }
    }

    /// Groups of which a part could not be discovered.
    pub fn stale_groups(&self) -> impl Iterator<Item = &str> {
        self.stale_groups.iter().map(String::as_str)
    }

    /// A version of each type of this catalog that `newer` has not.
    pub(super) fn missing_in(&self, newer: &Self) -> Vec<Arc<ServedType>> {
        let missing = |(key, _): &(&(String, String), &Entry)| !newer.entries.contains_key(*key);
        let entries = self.entries.iter().filter(missing);
        entries.map(|(_, e)| e.versions[0].clone()).collect()
    }

    /// Keeps what `older` knows of a type.
    pub(super) fn keep(&mut self, older: &Self, served: &ServedType) {
        let key = (served.group.clone(), served.resource.clone());
        if let Some(entry) = older.entries.get(&key) {
            self.entries.insert(key, entry.clone());
        }
    }

    /// Whether nothing was discovered yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What somebody who wrote `word` for a resource may have meant: by kind, singular, short
    /// name, or up to two typing errors.
    #[must_use]
    pub fn suggest(&self, word: &str) -> Option<&ServedType> {
        let word = word.to_lowercase();
        let alias = |e: &&Entry| {
            e.versions[0].kind.to_lowercase() == word
                || e.names.singular.to_lowercase() == word
                || e.names.short.contains(&word)
                || e.versions[0].resource == word
        };
        self.entries
            .values()
            .find(alias)
            .or_else(|| {
                self.entries
                    .values()
                    .map(|e| (edit_distance(&e.versions[0].resource, &word), e))
                    .filter(|(distance, _)| *distance <= 2)
                    .min_by_key(|(distance, _)| *distance)
                    .map(|(_, e)| e)
            })
            .map(|e| e.versions[0].as_ref())
    }

    #[cfg(test)]
    pub(crate) fn of(types: &[(&str, &str, &str, &str, bool)]) -> Self {
        let mut catalog = Self::default();
        for (group, version, resource, kind, namespaced) in types {
            let served = Arc::new(ServedType {
                group: (*group).to_owned(),
                version: (*version).to_owned(),
                resource: (*resource).to_owned(),
                kind: (*kind).to_owned(),
                namespaced: *namespaced,
                replicas: None,
            });
            catalog
                .entries
                .entry(((*group).to_owned(), (*resource).to_owned()))
                .or_insert_with(|| Entry {
                    versions: Vec::new(),
                    names: Names {
                        singular: kind.to_lowercase(),
                        short: Vec::new(),
                    },
                })
                .versions
                .push(served);
        }
        catalog
    }
}

/// Levenshtein's distance, in characters.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let substitute = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_or_a_typing_error_suggests_the_plural() {
        let catalog = Catalog::of(&[("apps", "v1", "deployments", "Deployment", true)]);
        for word in ["Deployment", "deployment", "deploymets", "DEPLOYMENTS"] {
            assert_eq!(
                catalog.suggest(word).map(|t| t.resource.as_str()),
                Some("deployments"),
                "{word}"
            );
        }
        assert_eq!(catalog.suggest("secrets"), None);
    }

    /// A group as the apiserver describes it: with one type, scaled in `v1` and not in `v2`.
    fn group(name: &str, resource: &str) -> APIGroupDiscoveryList {
        let version = |version: &str, subresources: serde_json::Value| {
            serde_json::json!({
                "version": version, "freshness": "Current",
                "resources": [{
                    "resource": resource, "scope": "Namespaced", "singularResource": "thing",
                    "responseKind": {"group": "", "version": "", "kind": "Thing"},
                    "verbs": ["list", "watch"], "subresources": subresources,
                }],
            })
        };
        let scale = serde_json::json!([
            {"subresource": "status", "verbs": ["get"]},
            {"subresource": "scale", "verbs": ["get", "update"],
             "responseKind": {"group": "autoscaling", "version": "v1", "kind": "Scale"}},
        ]);
        serde_json::from_value(serde_json::json!({
            "apiVersion": "apidiscovery.k8s.io/v2", "kind": "APIGroupDiscoveryList", "metadata": {},
            "items": [{
                "metadata": {"name": name},
                "versions": [version("v1", scale), version("v2", serde_json::json!([]))],
            }],
        }))
        .unwrap()
    }

    #[test]
    fn what_a_scale_writes_to_is_spec_replicas_unless_a_definition_says_otherwise() {
        let nothing = serde_json::json!({"metadata": {}, "items": []});
        let core: APIGroupDiscoveryList = serde_json::from_value(nothing).unwrap();
        let replicas = |catalog: &Catalog, group: &str, resource: &str| -> Vec<_> {
            let versions = catalog.versions(group, resource).iter();
            versions.map(|v| v.replicas.clone()).collect()
        };

        let catalog = Catalog::new(&core, &group("apps", "deployments"));
        let default = Some(ReplicasPath::default());
        assert_eq!(replicas(&catalog, "apps", "deployments"), [default, None]);
        assert_eq!(catalog.scaled_by_definition(), []);

        let mut catalog = Catalog::new(&core, &group("example.com", "pools"));
        let scaled = catalog.scaled_by_definition();
        assert_eq!(scaled.len(), 1);
        let path = ReplicasPath::parse(".spec.workers");
        catalog.set_replicas(&scaled[0], |_| path.clone());
        assert_eq!(replicas(&catalog, "example.com", "pools"), [path, None]);
    }

    #[test]
    fn url_paths_are_those_of_the_api() {
        let catalog = Catalog::of(&[
            ("apps", "v1", "deployments", "Deployment", true),
            ("", "v1", "nodes", "Node", false),
        ]);
        assert_eq!(
            catalog.versions("apps", "deployments")[0].url_path(Some("lab")),
            "/apis/apps/v1/namespaces/lab/deployments"
        );
        assert_eq!(
            catalog.versions("", "nodes")[0].url_path(None),
            "/api/v1/nodes"
        );
    }
}
