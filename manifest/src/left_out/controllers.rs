//! What Kubernetes' own controllers make, and make again.

use serde_json::Value;

use crate::sanitize::only_machines;

/// Accounts under which the controllers of kube-controller-manager act (`--use-service-account-credentials`):
/// plugin/pkg/auth/authorizer/rbac/bootstrappolicy/controller_policy.go in kubernetes/kubernetes, and the
/// two that namespace_policy.go adds.
pub(super) const ACCOUNTS: &[&str] = &[
    "attachdetach-controller",
    "bootstrap-signer",
    "certificate-controller",
    "clusterrole-aggregation-controller",
    "cronjob-controller",
    "daemon-set-controller",
    "deployment-controller",
    "device-taint-eviction-controller",
    "disruption-controller",
    "endpoint-controller",
    "endpointslice-controller",
    "endpointslicemirroring-controller",
    "ephemeral-volume-controller",
    "expand-controller",
    "generic-garbage-collector",
    "horizontal-pod-autoscaler",
    "job-controller",
    "kube-apiserver-serving-clustertrustbundle-publisher",
    "legacy-service-account-token-cleaner",
    "namespace-controller",
    "node-controller",
    "persistent-volume-binder",
    "pod-garbage-collector",
    "podcertificaterequestcleaner",
    "pv-protection-controller",
    "pvc-protection-controller",
    "replicaset-controller",
    "replication-controller",
    "resource-claim-controller",
    "resourcequota-controller",
    "root-ca-cert-publisher",
    "route-controller",
    "selinux-warning-controller",
    "service-account-controller",
    "service-cidrs-controller",
    "service-controller",
    "statefulset-controller",
    "storage-version-garbage-collector",
    "storage-version-migrator-controller",
    "token-cleaner",
    "ttl-after-finished-controller",
    "ttl-controller",
    "validatingadmissionpolicy-status-controller",
    "volumeattributesclass-protection-controller",
];

/// Types of which Kubernetes' own controllers and nodes make objects, as group and resource. What a person
/// made or changed is no different in kind: only the field managers tell.
///
/// Volumes are not among them: one that a provisioner made is made again, but not what is on it.
const MADE: &[(&str, &str)] = &[
    ("", "endpoints"),
    ("", "nodes"),
    // Those of a StatefulSet's templates; they have no owner unless its retention policy deletes them.
    ("", "persistentvolumeclaims"),
    ("apps", "controllerrevisions"),
    ("certificates.k8s.io", "clustertrustbundles"),
    ("coordination.k8s.io", "leases"),
    ("discovery.k8s.io", "endpointslices"),
    ("flowcontrol.apiserver.k8s.io", "flowschemas"),
    (
        "flowcontrol.apiserver.k8s.io",
        "prioritylevelconfigurations",
    ),
    ("internal.apiserver.k8s.io", "storageversions"),
    ("resource.k8s.io", "resourceslices"),
    ("storage.k8s.io", "csinodes"),
    ("storage.k8s.io", "csistoragecapacities"),
    ("storage.k8s.io", "volumeattachments"),
];

/// Whether an object of such a type was made by machines, and nobody else set anything.
pub(super) fn made(group: &str, resource: &str, object: &Value) -> bool {
    let managers = object.pointer("/metadata/managedFields");
    let known = managers
        .and_then(Value::as_array)
        .is_some_and(|entries| !entries.is_empty());
    MADE.contains(&(group, resource)) && known && only_machines(object)
}

/// Whether a controller of Kubernetes itself keeps this object for its owner: a Deployment's ReplicaSet, a
/// Job's Pod, what a Pod asks for. It is made again from the owner, and undone where it differs from it.
///
/// An owner of another group stays out of this: its own kind may not be in Git, and who acts for it may be
/// somebody's declared intent.
pub(super) fn kept_for_owner(object: &Value) -> bool {
    let owners = object.pointer("/metadata/ownerReferences");
    owners
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .any(|owner| {
            let group = owner["apiVersion"]
                .as_str()
                .map(|version| version.split_once('/').map_or("", |(group, _)| group));
            owner["controller"] == true && matches!(group, Some("" | "apps" | "batch"))
        })
}
