//! WatchRule and ClusterWatchRule: what goes to a destination.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Condition;
use super::patterns;

/// Selects objects of its own namespace for a destination.
#[derive(CustomResource, KubeSchema, Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[kube(
    group = "configbutler.ai",
    version = "v1alpha1",
    kind = "WatchRule",
    plural = "watchrules",
    shortname = "wr",
    category = "gitops-reverser",
    namespaced,
    status = "RuleStatus",
    doc = "Selects objects of its own namespace for a destination.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#
    ),
    printcolumn(
        name = "Destination",
        type_ = "string",
        json_path = ".spec.destinationRef.name"
    ),
    printcolumn(name = "Types", type_ = "integer", json_path = ".status.watchedTypes"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct WatchRuleSpec {
    /// Where to.
    pub destination_ref: DestinationRef,
    /// What; the rules of a list add up.
    #[schemars(length(min = 1, max = 100))]
    pub rules: Vec<ResourceRule>,
}

/// Selects objects anywhere in the cluster for a destination.
#[derive(CustomResource, KubeSchema, Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[kube(
    group = "configbutler.ai",
    version = "v1alpha1",
    kind = "ClusterWatchRule",
    plural = "clusterwatchrules",
    shortname = "cwr",
    category = "gitops-reverser",
    status = "RuleStatus",
    doc = "Selects objects anywhere in the cluster for a destination.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#
    ),
    printcolumn(
        name = "Namespace",
        type_ = "string",
        json_path = ".spec.destinationRef.namespace"
    ),
    printcolumn(
        name = "Destination",
        type_ = "string",
        json_path = ".spec.destinationRef.name"
    ),
    printcolumn(name = "Types", type_ = "integer", json_path = ".status.watchedTypes"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterWatchRuleSpec {
    /// Where to.
    pub destination_ref: ClusterDestinationRef,
    /// What; the rules of a list add up.
    #[schemars(length(min = 1, max = 100))]
    pub rules: Vec<ClusterResourceRule>,
}

/// A GitDestination.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq, JsonSchema)]
pub struct DestinationRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = patterns::NAME))]
    pub name: String,
    /// Its namespace; only the rule's own is allowed until owners can consent.
    #[schemars(length(min = 1, max = 63), regex(pattern = patterns::NAME))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// A GitDestination, from outside any namespace.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq, JsonSchema)]
pub struct ClusterDestinationRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = patterns::NAME))]
    pub name: String,
    /// Its namespace.
    #[schemars(length(min = 1, max = 63), regex(pattern = patterns::NAME))]
    pub namespace: String,
}

/// Which objects, and what may happen to their files.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceRule {
    /// What may happen to a file: it appears (CREATE), changes (UPDATE), goes (DELETE). Omitted: all.
    #[schemars(length(min = 1, max = 4))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operations: Option<Vec<RuleOperation>>,
    /// API groups, "" for core, "*" for all. Omitted: all.
    #[schemars(length(min = 1, max = 64), inner(length(max = 253), regex(pattern = patterns::API_GROUP)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_groups: Option<Vec<String>>,
    /// API versions, "*" for all. Omitted: the version that the cluster prefers.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 63), regex(pattern = patterns::API_VERSION)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_versions: Option<Vec<String>>,
    /// Plural names (deployments), or "*" for the documented preset (everything under --watch-all).
    #[schemars(length(min = 1, max = 128), inner(length(min = 1, max = 253), regex(pattern = patterns::RESOURCE)))]
    pub resources: Vec<String>,
}

/// Which objects, in which scope, and what may happen to their files.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterResourceRule {
    /// Cluster: cluster-scoped objects. Namespaced: objects of every namespace.
    pub scope: RuleScope,
    /// Which objects.
    #[serde(flatten)]
    pub rule: ResourceRule,
}

/// One of the two kinds of resources.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq, JsonSchema)]
pub enum RuleScope {
    /// Cluster-scoped objects.
    Cluster,
    /// Objects of every namespace.
    Namespaced,
}

/// What may happen to a file.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq, JsonSchema)]
pub enum RuleOperation {
    /// It appears.
    #[serde(rename = "CREATE")]
    Create,
    /// It changes.
    #[serde(rename = "UPDATE")]
    Update,
    /// It goes.
    #[serde(rename = "DELETE")]
    Delete,
    /// All three.
    #[serde(rename = "*")]
    All,
}

/// What a rule came to.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RuleStatus {
    /// Ready, Reconciling, Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// metadata.generation that the conditions speak of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Types that the rule selects and that are served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watched_types: Option<i64>,
    /// What the rule names and the cluster does not serve.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unresolved: Vec<String>,
}
