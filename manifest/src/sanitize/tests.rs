mod filled_in;
mod laws;
mod work;

use std::collections::BTreeSet;

use serde_json::json;

use super::*;

fn sanitized(mut object: Value) -> Value {
    let canonical = crate::canonicalize(&object).ok();
    sanitize(&mut object);
    if let Some(canonical) = canonical {
        let of_rest = crate::canonicalize(&object).expect("a name is left");
        assert_eq!(
            canonical, of_rest,
            "the writer leaves out what sanitising removes"
        );
    }
    object
}

fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": "web", "namespace": "lab", "uid": "u", "resourceVersion": "7", "creationTimestamp": "2026-11-01T00:00:00Z",
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
            "managedFields": [{
                "manager": "kubectl-client-side-apply", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
                "fieldsV1": {
                    "f:metadata": {"f:annotations": {".": {}, "f:kubectl.kubernetes.io/last-applied-configuration": {}}},
                    "f:spec": {
                        "f:internalTrafficPolicy": {}, "f:selector": {}, "f:sessionAffinity": {}, "f:type": {},
                        "f:ports": {
                            ".": {},
                            "k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:name": {}, "f:port": {}, "f:protocol": {}, "f:targetPort": {}},
                            "k:{\"port\":443,\"protocol\":\"TCP\"}": {".": {}, "f:name": {}, "f:nodePort": {}, "f:port": {}, "f:protocol": {}},
                        },
                    },
                },
            }],
        },
        "spec": {
            "clusterIP": "10.96.1.2", "clusterIPs": ["10.96.1.2"], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
            "internalTrafficPolicy": "Cluster", "sessionAffinity": "None", "type": "NodePort", "selector": {"app": "web"},
            "ports": [
                {"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080, "nodePort": 31234},
                {"name": "https", "port": 443, "protocol": "TCP", "nodePort": 30443},
            ],
        },
        "status": {"loadBalancer": {}},
    })
}

fn own(object: &mut Value, manager: &str, spec: &Value) {
    let entries = object["metadata"]["managedFields"]
        .as_array_mut()
        .expect("a list");
    entries.push(json!({"manager": manager, "fieldsV1": {"f:spec": spec}}));
}

#[test]
fn service_loses_what_the_cluster_allocated_and_keeps_what_was_asked_for() {
    assert_eq!(
        sanitized(service()),
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "web", "namespace": "lab"},
            "spec": {
                "internalTrafficPolicy": "Cluster", "sessionAffinity": "None", "type": "NodePort", "selector": {"app": "web"},
                "ports": [
                    {"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080},
                    {"name": "https", "port": 443, "protocol": "TCP", "nodePort": 30443},
                ],
            },
        })
    );
}

#[test]
fn controllers_do_not_own_for_a_person() {
    let mut by_controller = service();
    own(
        &mut by_controller,
        "kube-controller-manager",
        &json!({"f:clusterIP": {}, "f:clusterIPs": {}}),
    );
    assert_eq!(sanitized(by_controller), sanitized(service()));

    let mut by_person = service();
    own(
        &mut by_person,
        "terraform",
        &json!({"f:clusterIP": {}, "f:ipFamilyPolicy": {}}),
    );
    let spec = &sanitized(by_person)["spec"];
    assert_eq!(spec["clusterIP"], "10.96.1.2");
    assert_eq!(spec["ipFamilyPolicy"], "SingleStack");
    assert_eq!(spec.get("clusterIPs"), None);
}

#[test]
fn cluster_ips_never_stand_alone() {
    let mut object = service();
    own(&mut object, "kubectl-edit", &json!({"f:clusterIPs": {}}));
    let spec = &sanitized(object)["spec"];
    assert_eq!(spec["clusterIP"], "10.96.1.2");
    assert_eq!(spec["clusterIPs"], json!(["10.96.1.2"]));
}

#[test]
fn without_managed_fields_allocated_values_stay() {
    let mut object = service();
    object["metadata"]
        .as_object_mut()
        .expect("a map")
        .remove("managedFields");
    let spec = object["spec"].clone();
    assert_eq!(sanitized(object)["spec"], spec);
}

#[test]
fn headless_service_stays_headless() {
    let mut object = service();
    object["spec"]["clusterIP"] = json!("None");
    object["spec"]["clusterIPs"] = json!(["None"]);
    let spec = &sanitized(object)["spec"];
    assert_eq!(spec["clusterIP"], "None");
    assert_eq!(spec.get("clusterIPs"), None);
}

#[test]
fn external_name_is_the_same_admitted_listed_and_watched() {
    let mut watched = service();
    watched["spec"]["type"] = "ExternalName".into();
    let mut listed = watched.clone();
    listed["spec"]
        .as_object_mut()
        .unwrap()
        .remove("internalTrafficPolicy");
    assert_eq!(sanitized(watched), sanitized(listed));
    let kept = sanitized(service());
    assert_eq!(kept["spec"]["internalTrafficPolicy"], "Cluster");
}

#[test]
fn claim_keeps_its_wishes_and_loses_its_volume() {
    let object = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": "data", "namespace": "lab",
            "annotations": {"pv.kubernetes.io/bind-completed": "yes", "pv.kubernetes.io/bound-by-controller": "yes", "team": "a"},
            "finalizers": ["kubernetes.io/pvc-protection", "example.com/backup"],
            "managedFields": [
                {"manager": "kubectl-create", "fieldsV1": {"f:spec": {"f:accessModes": {}, "f:volumeMode": {}}}},
                {"manager": "kube-controller-manager", "fieldsV1": {"f:spec": {"f:volumeName": {}}}},
            ],
        },
        "spec": {"accessModes": ["ReadWriteOnce"], "volumeMode": "Block", "volumeName": "pvc-1", "storageClassName": "standard"},
        "status": {"phase": "Bound"},
    });
    assert_eq!(
        sanitized(object.clone()),
        json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": "data", "namespace": "lab", "annotations": {"team": "a"}, "finalizers": ["example.com/backup"]},
            "spec": {"accessModes": ["ReadWriteOnce"], "volumeMode": "Block"},
        })
    );
    let mut asked_for = object;
    asked_for["spec"]["storageClassName"] = json!("");
    assert_eq!(
        sanitized(asked_for)["spec"]["storageClassName"],
        "",
        "no class, by intent"
    );
}

#[test]
fn deployment_loses_its_bookkeeping_only() {
    let object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "name": "web", "namespace": "lab", "generation": 4, "labels": {"app": "web"},
            "annotations": {"deployment.kubernetes.io/revision": "4"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "X", "name": "x", "uid": "u"}],
        },
        "spec": {
            "replicas": 3, "progressDeadlineSeconds": 600,
            "template": {
                "metadata": {"creationTimestamp": null, "labels": {"app": "web"}, "annotations": {"kubectl.kubernetes.io/restartedAt": "2026-11-01T00:00:00Z"}},
                "spec": {"containers": [{"name": "web", "image": "nginx"}], "imagePullSecrets": [{"name": "r"}], "securityContext": {}},
            },
        },
        "status": {"replicas": 3},
    });
    assert_eq!(
        sanitized(object),
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "lab", "labels": {"app": "web"}},
            "spec": {
                "replicas": 3, "progressDeadlineSeconds": 600,
                "template": {
                    "metadata": {"labels": {"app": "web"}, "annotations": {"kubectl.kubernetes.io/restartedAt": "2026-11-01T00:00:00Z"}},
                    "spec": {"containers": [{"name": "web", "image": "nginx"}], "imagePullSecrets": [{"name": "r"}], "securityContext": {}},
                },
            },
        })
    );
}

#[test]
fn stateful_set_templates_have_no_state() {
    let object = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"},
        "spec": {"volumeClaimTemplates": [{
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": "data", "creationTimestamp": null},
            "spec": {"volumeMode": "Filesystem"}, "status": {"phase": "Pending"},
        }]},
    });
    assert_eq!(
        sanitized(object)["spec"]["volumeClaimTemplates"][0],
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": {"volumeMode": "Filesystem"}})
    );
}

#[test]
fn intent_that_looks_like_machinery_stays() {
    for object in [
        json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "fast"}, "provisioner": "ebs.csi.aws.com", "parameters": {"type": "gp3"}, "volumeBindingMode": "WaitForFirstConsumer"}),
        json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "high"}, "value": 1_000_000, "globalDefault": false, "preemptionPolicy": "Never"}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "immutable": true, "data": {"status": "x", "metadata": ""}, "binaryData": {"b": "AAEC/w=="}}),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "immutable": true, "type": "kubernetes.io/tls", "data": {"tls.key": "LS0tLS1C"}}),
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "b"}, "imagePullSecrets": [{"name": "r"}], "automountServiceAccountToken": false}),
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "as.x.io"}, "spec": {"versions": [{"name": "v1", "subresources": {"status": {}}}]}}),
        json!({"apiVersion": "x.io/v1", "kind": "Service", "metadata": {"name": "c", "managedFields": [{"manager": "m"}]}, "spec": {"clusterIP": "1.2.3.4", "status": {}, "metadata": {}}}),
    ] {
        let mut expected = object.clone();
        expected["metadata"]
            .as_object_mut()
            .expect("a map")
            .remove("managedFields");
        assert_eq!(sanitized(object), expected);
    }
}

#[test]
fn gathered_rules_go_whoever_wrote_them_and_others_stay() {
    let role = |aggregation: Value, manager: &str| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": "r", "managedFields": [
                {"manager": "kubectl-create", "fieldsV1": {"f:aggregationRule": {}}},
                {"manager": manager, "fieldsV1": {"f:rules": {}}},
            ]},
            "aggregationRule": aggregation,
            "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
        })
    };
    let rule = json!({"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]});
    let gathered = sanitized(role(rule.clone(), "clusterrole-aggregation-controller"));
    assert_eq!(gathered.get("rules"), None);
    assert_eq!(gathered["aggregationRule"], rule);
    let undone = sanitized(role(rule, "kubectl-edit"));
    assert_eq!(undone, gathered);
    assert!(
        sanitized(role(Value::Null, "kube-apiserver"))
            .get("rules")
            .is_some()
    );
}

#[test]
fn an_empty_list_is_the_same_admitted_and_read() {
    for (api_version, kind, fields) in [
        ("rbac.authorization.k8s.io/v1", "ClusterRole", vec!["rules"]),
        ("rbac.authorization.k8s.io/v1", "Role", vec!["rules"]),
        (
            "discovery.k8s.io/v1",
            "EndpointSlice",
            vec!["endpoints", "ports"],
        ),
    ] {
        let plain = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}});
        for empty in [json!([]), json!(null)] {
            let mut object = plain.clone();
            for field in &fields {
                object[field] = empty.clone();
            }
            assert_eq!(sanitized(object), plain, "{kind}");
        }
    }
    let custom =
        json!({"apiVersion": "x.io/v1", "kind": "Role", "metadata": {"name": "x"}, "rules": []});
    assert_eq!(sanitized(custom.clone()), custom);
}

#[test]
fn job_is_the_same_admitted_and_read() {
    let admitted = json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "j", "managedFields": [{"manager": "kubectl-create", "fieldsV1": {"f:spec": {"f:template": {"f:spec": {}}}}}]},
        "spec": {
            "manualSelector": false,
            "selector": {"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}},
            "template": {
                "metadata": {"creationTimestamp": null, "labels": {"controller-uid": "u", "batch.kubernetes.io/controller-uid": "u", "job-name": "j", "batch.kubernetes.io/job-name": "j"}},
                "spec": {"restartPolicy": "Never"},
            },
        },
    });
    let mut read = admitted.clone();
    read["metadata"]["labels"] = read["spec"]["template"]["metadata"]["labels"].clone();
    let expected = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"},
        "spec": {"manualSelector": false, "template": {"metadata": {}, "spec": {"restartPolicy": "Never"}}},
    });
    assert_eq!(sanitized(admitted), expected);
    assert_eq!(sanitized(read), expected);
}

#[test]
fn volume_forgets_which_life_of_a_claim_it_served() {
    let volume = |manager| {
        json!({
            "apiVersion": "v1", "kind": "PersistentVolume",
            "metadata": {"name": "pv", "managedFields": [
                {"manager": manager, "fieldsV1": {"f:spec": {"f:claimRef": {"f:name": {}, "f:namespace": {}}}}},
                {"manager": "kube-controller-manager", "fieldsV1": {"f:spec": {"f:claimRef": {"f:uid": {}, "f:resourceVersion": {}}}}},
            ]},
            "spec": {"claimRef": {"name": "data", "namespace": "lab", "uid": "u", "resourceVersion": "9"}, "volumeMode": "Block"},
        })
    };
    assert_eq!(
        sanitized(volume("kubectl"))["spec"],
        json!({"claimRef": {"name": "data", "namespace": "lab"}, "volumeMode": "Block"})
    );
    assert_eq!(
        sanitized(volume("csi-provisioner"))["spec"],
        json!({"volumeMode": "Block"})
    );
}

#[test]
fn what_a_rule_emptied_goes_and_what_was_empty_stays() {
    let object = json!({
        "apiVersion": "x.io/v1", "kind": "Rollout",
        "metadata": {"name": "r", "finalizers": ["orphan"], "annotations": {}},
        "spec": {"template": {"metadata": {"creationTimestamp": null}}, "other": {}},
    });
    assert_eq!(
        sanitized(object),
        json!({
            "apiVersion": "x.io/v1", "kind": "Rollout",
            "metadata": {"name": "r", "annotations": {}},
            "spec": {"template": {"metadata": {}}, "other": {}},
        })
    );
}

#[test]
fn each_rule_says_what_and_why_and_stands_once() {
    let mut seen = BTreeSet::new();
    for rule in rules() {
        assert!(
            !rule.reason().is_empty() && !rule.source().is_empty(),
            "{rule}"
        );
        let kind = match rule.of {
            Of::Every => String::new(),
            Of::Kind(group, kind) => format!("{group}/{kind}"),
        };
        assert!(seen.insert(format!("{rule} {kind}")), "twice: {rule}");
    }
}
