//! Objects that the cluster makes for itself, and so makes again after a restore.
//!
//! Each is known by its name or its type, never by a label alone, and one that a person changed is not
//! left out where that can be told from its field managers or its content.

mod controllers;
#[cfg(test)]
mod tests;

use std::fmt;

use serde_json::Value;

use crate::Identity;
use crate::cut::Cut;
use crate::sanitize::{cut_of, only_machines};

/// Why an object is not written to Git by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LeftOut {
    /// ConfigMaps by which the control plane publishes its own settings, such as `kube-root-ca.crt`.
    Published,
    /// The `default` ServiceAccount of a namespace, as it was made.
    DefaultServiceAccount,
    /// A ServiceAccount of `kube-system` that kube-controller-manager made for one of its controllers.
    ControllerServiceAccount,
    /// A Secret of type `kubernetes.io/service-account-token`.
    ServiceAccountToken,
    /// A release's state, kept by Helm in a Secret or ConfigMap.
    HelmRelease,
    /// Roles and bindings that the API server restores at each start.
    BootstrapRbac,
    /// An APIService that the API server serves itself, of a built-in group or of a CRD.
    LocalApiService,
    /// The priority classes `system-node-critical` and `system-cluster-critical`.
    SystemPriorityClass,
    /// The Service `kubernetes` in the namespace `default`.
    ApiServerService,
    /// One of the first namespaces, without labels or annotations of its own.
    InitialNamespace,
    /// An IPAddress that records what a Service was given, or the first ServiceCIDR.
    AllocatedAddress,
    /// What a controller of Kubernetes keeps for an owner: ReplicaSets, Pods, Jobs of a CronJob, EndpointSlices.
    Owned,
    /// What controllers and nodes of Kubernetes make: Endpoints, Nodes, claims of a StatefulSet, and the like.
    MachineMade,
    /// Our own webhook's configuration: its path ends in the token that keeps others from posting
    /// invented reviews. The chart makes it again.
    PathToken,
}

impl LeftOut {
    /// Every reason.
    pub const ALL: [Self; 14] = [
        Self::Published,
        Self::DefaultServiceAccount,
        Self::ControllerServiceAccount,
        Self::ServiceAccountToken,
        Self::HelmRelease,
        Self::BootstrapRbac,
        Self::LocalApiService,
        Self::SystemPriorityClass,
        Self::ApiServerService,
        Self::InitialNamespace,
        Self::AllocatedAddress,
        Self::Owned,
        Self::MachineMade,
        Self::PathToken,
    ];

    /// Which objects are meant, for a table in the documentation.
    #[must_use]
    pub fn what(self) -> &'static str {
        match self {
            Self::Published => {
                "ConfigMaps `kube-root-ca.crt` everywhere, `extension-apiserver-authentication` and `kube-apiserver-legacy-service-account-token-tracking` in `kube-system`"
            }
            Self::DefaultServiceAccount => "ServiceAccount `default`, unless changed",
            Self::ControllerServiceAccount => {
                "ServiceAccounts of known controllers in `kube-system`, unless changed"
            }
            Self::ServiceAccountToken => "Secrets of type `kubernetes.io/service-account-token`",
            Self::HelmRelease => {
                "Secrets of type `helm.sh/release.v1`; Secrets and ConfigMaps `sh.helm.release.v1.…` of owner `helm`"
            }
            Self::BootstrapRbac => {
                "RBAC labelled `kubernetes.io/bootstrapping` and named `system:…`, `admin`, `cluster-admin`, `edit`, `view` or `extension-apiserver-authentication-reader`, unless anybody else manages it"
            }
            Self::LocalApiService => {
                "APIServices that are automanaged, have no Service, and are named after their group and version, unless anybody else manages them"
            }
            Self::SystemPriorityClass => {
                "PriorityClasses `system-node-critical` and `system-cluster-critical`, unless anybody else manages them"
            }
            Self::ApiServerService => {
                "Service `kubernetes` in `default`, unless anybody else manages it"
            }
            Self::InitialNamespace => {
                "Namespaces `default`, `kube-system`, `kube-public`, `kube-node-lease`, unless labelled or annotated"
            }
            Self::AllocatedAddress => {
                "IPAddresses of Services, and the ServiceCIDR `kubernetes`, unless anybody else manages them"
            }
            Self::Owned => {
                "whatever has an owner of the groups core, `apps` or `batch` as its controller: ReplicaSets of a Deployment, Pods, Jobs of a CronJob, EndpointSlices of a Service, ResourceClaims of a Pod"
            }
            Self::MachineMade => {
                "Endpoints, Nodes, PersistentVolumeClaims, ControllerRevisions, ClusterTrustBundles, Leases, EndpointSlices, FlowSchemas, PriorityLevelConfigurations, StorageVersions, ResourceSlices, CSINodes, CSIStorageCapacities and VolumeAttachments that machines alone manage"
            }
            Self::PathToken => {
                "ValidatingWebhookConfigurations that call our sidecar by a path with a token; whatever is asked for"
            }
        }
    }

    /// Whether it would let somebody forge authors: left out whatever else is asked for.
    fn is_secret(self) -> bool {
        self == Self::PathToken
    }
}

/// A reason that a person can read, to follow "left out: ".
impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Published => "the control plane publishes its own settings here",
            Self::DefaultServiceAccount => "each namespace gets this ServiceAccount by itself",
            Self::ControllerServiceAccount => {
                "kube-controller-manager makes its controllers' accounts"
            }
            Self::ServiceAccountToken => "the control plane issues this token",
            Self::HelmRelease => "Helm keeps the state of a release here",
            Self::BootstrapRbac => "the API server restores this part of its RBAC at each start",
            Self::LocalApiService => "the API server registers what it serves itself",
            Self::SystemPriorityClass => "the API server makes this priority class",
            Self::ApiServerService => "the API server makes this Service for itself",
            Self::InitialNamespace => "each cluster starts with this namespace",
            Self::AllocatedAddress => "the API server keeps account of its addresses here",
            Self::Owned => "a controller of Kubernetes makes it for its owner",
            Self::MachineMade => {
                "Kubernetes makes it by itself, and nobody else set anything in it"
            }
            Self::PathToken => "it holds the token of the webhook's path",
        })
    }
}

/// Which of the objects that the cluster makes for itself go to Git.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClusterMade {
    /// None: what [`left_out`] names.
    #[default]
    LeftOut,
    /// All but what must never be there.
    Written,
}

impl ClusterMade {
    /// Whether this object is left out, and why.
    #[must_use]
    pub fn left_out(self, identity: &Identity, object: &Value) -> Option<LeftOut> {
        let reason = left_out(identity, object)?;
        (self == Self::LeftOut || reason.is_secret()).then_some(reason)
    }
}

/// Whether the cluster makes this object for itself, and why it is then left out.
#[must_use]
pub fn left_out(identity: &Identity, object: &Value) -> Option<LeftOut> {
    let Identity {
        group,
        resource,
        namespace,
        name,
        ..
    } = identity;
    let type_of_secret = || object.get("type").and_then(Value::as_str);
    let unless_person = |reason| only_machines(object).then_some(reason);
    let known = match (group.as_str(), resource.as_str()) {
        ("", "configmaps") => match (namespace.as_str(), name.as_str()) {
            // pkg/controller/certificates/rootcacertpublisher: changes are undone.
            (_, "kube-root-ca.crt") => Some(LeftOut::Published),
            // pkg/controlplane/controller: clusterauthenticationtrust and legacytokentracking.
            (
                "kube-system",
                "extension-apiserver-authentication"
                | "kube-apiserver-legacy-service-account-token-tracking",
            ) => Some(LeftOut::Published),
            _ => is_helm_release(name, object).then_some(LeftOut::HelmRelease),
        },
        ("", "secrets") => match type_of_secret() {
            Some("kubernetes.io/service-account-token") => Some(LeftOut::ServiceAccountToken),
            Some("helm.sh/release.v1") => Some(LeftOut::HelmRelease),
            _ => is_helm_release(name, object).then_some(LeftOut::HelmRelease),
        },
        ("", "serviceaccounts") if name == "default" => {
            is_bare(object).then_some(LeftOut::DefaultServiceAccount)
        }
        ("", "serviceaccounts")
            if namespace == "kube-system" && controllers::ACCOUNTS.contains(&&**name) =>
        {
            is_bare(object).then_some(LeftOut::ControllerServiceAccount)
        }
        ("", "services") if (namespace.as_str(), name.as_str()) == ("default", "kubernetes") => {
            unless_person(LeftOut::ApiServerService)
        }
        ("", "namespaces") => match name.as_str() {
            "default" | "kube-system" | "kube-public" | "kube-node-lease" => {
                is_bare(object).then_some(LeftOut::InitialNamespace)
            }
            _ => None,
        },
        (
            "rbac.authorization.k8s.io",
            "clusterroles" | "clusterrolebindings" | "roles" | "rolebindings",
        ) if is_bootstrap_rbac(name, object) => unless_person(LeftOut::BootstrapRbac),
        ("apiregistration.k8s.io", "apiservices") if is_local(name, object) => {
            unless_person(LeftOut::LocalApiService)
        }
        ("scheduling.k8s.io", "priorityclasses") => match name.as_str() {
            "system-node-critical" | "system-cluster-critical" => {
                unless_person(LeftOut::SystemPriorityClass)
            }
            _ => None,
        },
        ("networking.k8s.io", "servicecidrs") if name == "kubernetes" => {
            unless_person(LeftOut::AllocatedAddress)
        }
        ("networking.k8s.io", "ipaddresses") => {
            // pkg/registry/core/service/ipallocator.
            let manager = label(object, "ipaddress.kubernetes.io/managed-by");
            let is_address = name.parse::<std::net::IpAddr>().is_ok();
            (manager == Some("ipallocator.k8s.io") && is_address)
                .then_some(LeftOut::AllocatedAddress)
                .filter(|_| only_machines(object))
        }
        ("admissionregistration.k8s.io", "validatingwebhookconfigurations") => {
            holds_path_token(object).then_some(LeftOut::PathToken)
        }
        _ => None,
    };
    known.or_else(|| {
        if controllers::kept_for_owner(object) {
            Some(LeftOut::Owned)
        } else {
            controllers::made(group, resource, object).then_some(LeftOut::MachineMade)
        }
    })
}

/// A path below the one that the sidecar serves without a token.
fn holds_path_token(object: &Value) -> bool {
    let webhooks = object.get("webhooks").and_then(Value::as_array);
    webhooks.into_iter().flatten().any(|webhook| {
        webhook["clientConfig"]["service"]["path"]
            .as_str()
            .is_some_and(|path| path.starts_with("/process-validating-webhook/"))
    })
}

fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get("metadata")?.get("labels")?.get(key)?.as_str()
}

/// helm.sh/helm, pkg/storage/driver: the name holds the driver's format, the label its owner.
fn is_helm_release(name: &str, object: &Value) -> bool {
    name.starts_with("sh.helm.release.v1.") && label(object, "owner") == Some("helm")
}

/// plugin/pkg/auth/authorizer/rbac/bootstrappolicy in kubernetes/kubernetes.
fn is_bootstrap_rbac(name: &str, object: &Value) -> bool {
    const NAMES: &[&str] = &[
        "admin",
        "cluster-admin",
        "edit",
        "extension-apiserver-authentication-reader",
        "view",
    ];
    label(object, "kubernetes.io/bootstrapping") == Some("rbac-defaults")
        && (name.starts_with("system:") || NAMES.contains(&name))
}

/// kube-aggregator, pkg/controllers/autoregister: named after its version and group, and without a
/// Service behind it.
fn is_local(name: &str, object: &Value) -> bool {
    let spec = |key| object.get("spec").and_then(|spec| spec.get(key));
    let text = |key| spec(key).and_then(Value::as_str).unwrap_or_default();
    label(object, "kube-aggregator.kubernetes.io/automanaged").is_some()
        && spec("service").is_none_or(Value::is_null)
        && name.split_once('.') == Some((text("version"), text("group")))
}

/// Whether nothing but the name is left of an object once it is sanitised.
fn is_bare(object: &Value) -> bool {
    let cut = cut_of(object);
    let left = |value: &Value, cut: Option<&Cut>, known: &[&str]| {
        value.as_object().is_some_and(|map| {
            map.keys().all(|key| {
                let gone = cut.and_then(|cut| cut.key(key)).is_some_and(Cut::is_all);
                gone || known.contains(&key.as_str())
            })
        })
    };
    left(object, Some(&cut), &["apiVersion", "kind", "metadata"])
        && object
            .get("metadata")
            .is_some_and(|metadata| left(metadata, cut.key("metadata"), &["name", "namespace"]))
}
