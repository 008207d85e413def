//! What admission plugins, nodes and controllers fill into an object that a person made.

use serde_json::{Value, json};

use super::sanitized;

fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "p", "annotations": {"kubernetes.io/limit-ranger": "LimitRanger plugin set: cpu request"},
            "managedFields": [{"manager": "kubectl-create", "fieldsV1": {"f:spec": {
                "f:containers": {"k:{\"name\":\"a\"}": {".": {}, "f:name": {}, "f:image": {},
                    "f:volumeMounts": {".": {}, "k:{\"mountPath\":\"/data\"}": {".": {}, "f:mountPath": {}, "f:name": {}}}}},
                "f:volumes": {".": {}, "k:{\"name\":\"data\"}": {".": {}, "f:name": {}, "f:emptyDir": {}}},
            }}}],
        },
        "spec": {
            "serviceAccountName": "default", "serviceAccount": "default", "imagePullSecrets": [{"name": "registry"}],
            "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}],
            "volumes": [{"name": "data", "emptyDir": {}}, {"name": "kube-api-access-x7z2p", "projected": {}}],
            "containers": [{"name": "a", "image": "b", "volumeMounts": [
                {"name": "data", "mountPath": "/data"},
                {"name": "kube-api-access-x7z2p", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"},
            ]}],
            "initContainers": [{"name": "i", "image": "b", "volumeMounts": [
                {"name": "kube-api-access-x7z2p", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"},
            ]}],
        },
    })
}

#[test]
fn a_pod_loses_what_its_account_and_its_cluster_filled_in() {
    assert_eq!(
        sanitized(pod())["spec"],
        json!({
            "volumes": [{"name": "data", "emptyDir": {}}],
            "containers": [{"name": "a", "image": "b", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
            "initContainers": [{"name": "i", "image": "b"}],
        })
    );
    assert_eq!(sanitized(pod())["metadata"], json!({"name": "p"}));
}

#[test]
fn a_pod_keeps_what_somebody_set() {
    let mut meant = pod();
    meant["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"] = json!({
        "f:serviceAccountName": {}, "f:imagePullSecrets": {".": {}}, "f:tolerations": {},
        "f:volumes": {".": {}, "k:{\"name\":\"kube-api-access-x7z2p\"}": {".": {}, "f:name": {}}},
    });
    let spec = &sanitized(meant.clone())["spec"];
    for field in [
        "serviceAccountName",
        "imagePullSecrets",
        "tolerations",
        "volumes",
    ] {
        assert_eq!(spec[field], meant["spec"][field], "{field}");
    }
}

#[test]
fn volumes_of_a_pod_that_a_controller_made_are_no_token() {
    let mut made = pod();
    made["metadata"]["managedFields"][0]["manager"] = json!("kube-controller-manager");
    assert_eq!(
        sanitized(made)["spec"]["volumes"],
        json!([{"name": "data", "emptyDir": {}}])
    );
}

#[test]
fn a_node_keeps_the_taints_that_people_gave_it() {
    let node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": "n", "managedFields": [
            {"manager": "kubectl-taint", "fieldsV1": {"f:spec": {"f:unschedulable": {}}}},
            {"manager": "kube-controller-manager", "fieldsV1": {"f:spec": {"f:taints": {}}}},
        ]},
        "spec": {
            "providerID": "cloud://1", "podCIDR": "10.1.0.0/24", "podCIDRs": ["10.1.0.0/24"], "unschedulable": true,
            "taints": [
                {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "timeAdded": "2026-11-01T00:00:00Z"},
                {"key": "gpu", "value": "yes", "effect": "NoSchedule"},
                {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"},
                {"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"},
            ],
        },
    });
    assert_eq!(
        sanitized(node)["spec"],
        json!({"unschedulable": true, "taints": [
            {"key": "gpu", "value": "yes", "effect": "NoSchedule"},
            {"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"},
        ]})
    );
}

#[test]
fn a_signing_request_forgets_who_asked() {
    let request = json!({
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
        "metadata": {"name": "r", "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {"f:request": {}, "f:signerName": {}}}}]},
        "spec": {"request": "LS0=", "signerName": "x.io/y", "username": "alice", "uid": "7", "groups": ["a"], "extra": {"k": ["v"]}},
    });
    assert_eq!(
        sanitized(request)["spec"],
        json!({"request": "LS0=", "signerName": "x.io/y"})
    );
}

/// Applied with nothing but its name, it has no managedFields that could tell.
#[test]
fn a_namespace_loses_the_finalizer_that_each_has_and_keeps_others() {
    let namespace = |finalizers: Value| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}, "spec": {"finalizers": finalizers}});
    let plain = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}});
    assert_eq!(sanitized(namespace(json!(["kubernetes"]))), plain);
    let meant = namespace(json!(["example.com/x", "kubernetes"]));
    assert_eq!(sanitized(meant.clone()), meant);
}
