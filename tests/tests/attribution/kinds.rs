//! What the corpus writes, and what the rules select.

use manifest::Identity;
use serde_json::{Value, json};

/// One served type, at the version that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) resource: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) namespaced: bool,
}

const fn kind(
    group: &'static str,
    version: &'static str,
    resource: &'static str,
    kind: &'static str,
    namespaced: bool,
) -> Kind {
    Kind {
        group,
        version,
        resource,
        kind,
        namespaced,
    }
}

pub(crate) const MAPS: Kind = kind("", "v1", "configmaps", "ConfigMap", true);
pub(crate) const ACCOUNTS: Kind = kind("", "v1", "serviceaccounts", "ServiceAccount", true);
pub(crate) const SERVICES: Kind = kind("", "v1", "services", "Service", true);
pub(crate) const PODS: Kind = kind("", "v1", "pods", "Pod", true);
pub(crate) const NAMESPACES: Kind = kind("", "v1", "namespaces", "Namespace", false);
pub(crate) const DEPLOYMENTS: Kind = kind("apps", "v1", "deployments", "Deployment", true);
pub(crate) const AUTOSCALERS: Kind = kind(
    "autoscaling",
    "v2",
    "horizontalpodautoscalers",
    "HorizontalPodAutoscaler",
    true,
);
/// Stored as v1; v2 is what the apiserver prefers, and so what is watched.
pub(crate) const WIDGETS: Kind = kind("corpus.test", "v2", "widgets", "Widget", true);
pub(crate) const PASSING: Kind = kind("passing.test", "v1", "passings", "Passing", true);
pub(crate) const CLASSES: Kind = kind(
    "scheduling.k8s.io",
    "v1",
    "priorityclasses",
    "PriorityClass",
    false,
);

pub(crate) const ALL: [Kind; 10] = [
    MAPS,
    ACCOUNTS,
    SERVICES,
    PODS,
    NAMESPACES,
    DEPLOYMENTS,
    AUTOSCALERS,
    WIDGETS,
    PASSING,
    CLASSES,
];

impl Kind {
    pub(crate) fn find(group: &str, resource: &str) -> Option<Self> {
        ALL.into_iter()
            .find(|kind| kind.group == group && kind.resource == resource)
    }

    pub(crate) fn api_version(&self) -> String {
        api_version(self.group, self.version)
    }

    /// The collection in a namespace; `""` for all of them.
    pub(crate) fn collection(&self, namespace: &str) -> String {
        self.collection_at(self.version, namespace)
    }

    pub(crate) fn collection_at(&self, version: &str, namespace: &str) -> String {
        let root = if self.group.is_empty() {
            "/api"
        } else {
            "/apis"
        };
        let api = api_version(self.group, version);
        let Self { resource, .. } = self;
        if self.namespaced && !namespace.is_empty() {
            format!("{root}/{api}/namespaces/{namespace}/{resource}")
        } else {
            format!("{root}/{api}/{resource}")
        }
    }

    pub(crate) fn path(&self, namespace: &str, name: &str) -> String {
        format!("{}/{name}", self.collection(namespace))
    }

    /// An object of these metadata; `rest` holds everything else.
    pub(crate) fn object(&self, name: &str, rest: Value) -> Value {
        let mut object = rest;
        object["apiVersion"] = self.api_version().into();
        object["kind"] = self.kind.into();
        object["metadata"]["name"] = name.into();
        object
    }

    pub(crate) fn identity(&self, metadata: &Value) -> Identity {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Identity {
            group: self.group.to_owned(),
            version: self.version.to_owned(),
            resource: self.resource.to_owned(),
            namespace: text(&metadata["namespace"]),
            name: text(&metadata["name"]),
        }
    }

    /// What a rule says to select it.
    pub(crate) fn rule(&self, scope: &str) -> Value {
        json!({"apiGroups": [self.group], "resources": [self.resource], "scope": scope})
    }
}

pub(crate) fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}
