//! What holds for all objects.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::sanitized;

/// Objects full of what rules look for, in right and wrong shapes.
pub(super) fn object() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "kubernetes",
        "orphan",
        "None",
        "",
        "x",
        "foregroundDeletion",
        "kubernetes.io/pvc-protection",
        "TCP",
        "kube-api-access-x",
        "node.kubernetes.io/not-ready",
    ]);
    let key = prop::sample::select(vec![
        "metadata",
        "spec",
        "status",
        "creationTimestamp",
        "labels",
        "annotations",
        "finalizers",
        "clusterIP",
        "clusterIPs",
        "ports",
        "nodePort",
        "port",
        "template",
        "secrets",
        "claimRef",
        "uid",
        "selector",
        "rules",
        "aggregationRule",
        "job-name",
        "volumeName",
        "name",
        "deployment.kubernetes.io/revision",
        "kubernetes.io/metadata.name",
        "volumeClaimTemplates",
        "webhooks",
        "clientConfig",
        "caBundle",
        "containers",
        "volumes",
        "volumeMounts",
        "taints",
        "key",
    ]);
    let leaf = prop_oneof![
        1 => Just(Value::Null),
        1 => (0..3).prop_map(Value::from),
        2 => word.prop_map(Value::from),
    ];
    let any = leaf.prop_recursive(6, 60, 6, move |inner| {
        let map =
            prop::collection::btree_map(key.clone().prop_map(str::to_owned), inner.clone(), 0..6);
        prop_oneof![
            3 => map.prop_map(|map| Value::Object(map.into_iter().collect())),
            1 => prop::collection::vec(inner, 0..4).prop_map(Value::from),
        ]
    });
    let kind = prop::sample::select(vec![
        ("v1", "Service"),
        ("v1", "PersistentVolumeClaim"),
        ("v1", "PersistentVolume"),
        ("v1", "Namespace"),
        ("v1", "ServiceAccount"),
        ("v1", "Pod"),
        ("v1", "Node"),
        ("batch/v1", "Job"),
        ("apps/v1", "StatefulSet"),
        ("rbac.authorization.k8s.io/v1", "ClusterRole"),
        (
            "admissionregistration.k8s.io/v1",
            "ValidatingWebhookConfiguration",
        ),
        ("x.io/v1", "X"),
    ]);
    let managed = prop::sample::select(vec![
        json!(null),
        json!([]),
        json!([{"manager": "kubectl"}]),
        json!([{"manager": "kubectl", "fieldsV1": {"f:spec": {"f:ports": {}}}}]),
        json!([{"manager": "kube-scheduler", "fieldsV1": {"f:spec": {}}}]),
        json!([{}]),
        json!("x"),
    ]);
    (kind, any, managed).prop_map(|((api, kind), mut object, managed)| {
        if let Some(map) = object.as_object_mut() {
            map.insert("apiVersion".to_owned(), api.into());
            map.insert("kind".to_owned(), kind.into());
            if let Some(metadata) = map
                .entry("metadata")
                .or_insert_with(|| json!({}))
                .as_object_mut()
            {
                metadata.insert("name".to_owned(), "n".into());
                metadata.insert("managedFields".to_owned(), managed);
            }
        }
        object
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn sanitising_is_idempotent(object in object()) {
        let once = sanitized(object);
        prop_assert_eq!(sanitized(once.clone()), once);
    }

    #[test]
    fn what_the_server_adds_changes_nothing(object in object(), version in "[0-9]{1,5}") {
        let mut stored = object.clone();
        if let Some(metadata) = stored.get_mut("metadata").and_then(Value::as_object_mut) {
            for key in ["resourceVersion", "generation", "uid", "selfLink"] {
                metadata.insert(key.to_owned(), version.clone().into());
            }
            stored["status"] = json!({"phase": "Active"});
        }
        prop_assert_eq!(sanitized(stored), sanitized(object));
    }
}
