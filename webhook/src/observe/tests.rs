//! One review for each kind of write, shaped as kube-apiserver v1.34 sends it.

use std::time::{Duration, UNIX_EPOCH};

use proto::v1;
use serde_json::{Value, json};

use super::*;
use crate::review;

const UID: &str = "5d1ab4a6-1d62-4c8e-8f0c-6f3ff5ad3e0a";
const BASE: &str = "4711";

/// A ConfigMap as it is stored, with two managers.
fn config_map(resource_version: Option<&str>, value: &str) -> Value {
    let mut object = json!({
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {
            "name": "app-config",
            "namespace": "lab",
            "uid": UID,
            "creationTimestamp": "2026-01-01T10:00:00Z",
            "managedFields": [{
                "manager": "kubectl-client-side-apply",
                "operation": "Update",
                "apiVersion": "v1",
                "time": "2026-01-01T10:00:00Z",
                "fieldsType": "FieldsV1",
                "fieldsV1": {"f:data": {".": {}, "f:key": {}}}
            }]
        },
        "data": {"key": value}
    });
    if let Some(resource_version) = resource_version {
        object["metadata"]["resourceVersion"] = json!(resource_version);
    }
    object
}

fn scale(replicas: Option<i64>) -> Value {
    json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": "web", "namespace": "lab", "uid": UID, "resourceVersion": BASE,
            "creationTimestamp": "2026-01-01T10:00:00Z"
        },
        "spec": replicas.map_or_else(|| json!({}), |replicas| json!({"replicas": replicas})),
        "status": {"replicas": 1, "selector": "app=web"}
    })
}

/// The request of an AdmissionReview, with null where Go's RawExtension is empty.
fn request(operation: &str, object: Value, old: Value) -> Value {
    let mut request = json!({
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind": {"group": "", "version": "v1", "kind": "ConfigMap"},
        "resource": {"group": "", "version": "v1", "resource": "configmaps"},
        "requestKind": {"group": "", "version": "v1", "kind": "ConfigMap"},
        "requestResource": {"group": "", "version": "v1", "resource": "configmaps"},
        "name": "app-config",
        "namespace": "lab",
        "operation": operation,
        "userInfo": {"username": "jane@example.com", "groups": ["system:authenticated"]},
        "dryRun": false,
        "options": {"kind": "UpdateOptions", "apiVersion": "meta.k8s.io/v1",
                    "fieldManager": "kubectl-edit"}
    });
    request["object"] = object;
    request["oldObject"] = old;
    request
}

fn create() -> Value {
    request("CREATE", config_map(None, "1"), Value::Null)
}

fn update() -> Value {
    request(
        "UPDATE",
        config_map(Some(BASE), "2"),
        config_map(Some(BASE), "1"),
    )
}

fn delete() -> Value {
    let mut delete = request("DELETE", Value::Null, config_map(Some(BASE), "1"));
    delete["options"] = json!({"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1",
                               "propagationPolicy": "Background"});
    delete
}

fn scaling(from: Option<i64>, to: Option<i64>) -> Value {
    let mut scaling = request("UPDATE", scale(to), scale(from));
    scaling["kind"] = json!({"group": "autoscaling", "version": "v1", "kind": "Scale"});
    scaling["resource"] = json!({"group": "apps", "version": "v1", "resource": "deployments"});
    scaling["subResource"] = json!("scale");
    scaling["name"] = json!("web");
    scaling
}

fn judge(request: &Value, interest: &InterestSet) -> Outcome {
    let body = json!({
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": request,
    })
    .to_string();
    let request = review::parse(body.as_bytes()).unwrap();
    observe(&request, interest, UNIX_EPOCH + Duration::from_secs(7))
}

fn observed(request: &Value) -> Observation {
    match judge(request, &InterestSet::Everything) {
        Outcome::Observed(observation) => *observation,
        Outcome::Skipped(skip) => panic!("skipped: {skip:?}"),
    }
}

fn skipped(request: &Value) -> Skip {
    match judge(request, &InterestSet::Everything) {
        Outcome::Skipped(skip) => skip,
        Outcome::Observed(observation) => panic!("observed: {observation:?}"),
    }
}

fn hash(object: &Value) -> String {
    manifest::canonicalize(object).unwrap().hash.to_string()
}

#[test]
fn create_is_known_by_the_uid_that_the_object_has_already() {
    let request = create();
    let observation = observed(&request);
    assert_eq!(
        observation,
        Observation {
            sequence: 0,
            group: String::new(),
            version: "v1".into(),
            resource: "configmaps".into(),
            namespace: "lab".into(),
            name: "app-config".into(),
            uid: UID.into(),
            operation: v1::Operation::Create.into(),
            spec_hash: hash(&request["object"]),
            managed_fields_hash: manifest::managed_fields_hash(&request["object"])
                .unwrap()
                .to_string(),
            base_resource_version: String::new(),
            subresource: String::new(),
            replicas: None,
            username: "jane@example.com".into(),
            field_manager: "kubectl-edit".into(),
            early: false,
            time: Some(prost_types::Timestamp {
                seconds: 7,
                nanos: 0
            }),
        }
    );
}

#[test]
fn generate_name_is_already_a_name() {
    let mut request = create();
    request.as_object_mut().unwrap().remove("name");
    request["object"]["metadata"]["generateName"] = json!("app-");
    request["object"]["metadata"]["name"] = json!("app-x7k2p");
    assert_eq!(observed(&request).name, "app-x7k2p");
}

#[test]
fn update_carries_the_version_that_it_replaces() {
    let request = update();
    let observation = observed(&request);
    assert_eq!(observation.operation(), v1::Operation::Update);
    assert_eq!(observation.base_resource_version, BASE);
    assert_eq!(observation.uid, UID);
    assert_eq!(observation.spec_hash, hash(&request["object"]));
    assert_ne!(observation.spec_hash, hash(&request["oldObject"]));
}

#[test]
fn a_retried_update_carries_the_new_base() {
    let mut request = update();
    request["oldObject"]["metadata"]["resourceVersion"] = json!("4712");
    // What the client sent stays in the object, which is not the base.
    request["object"]["metadata"]["resourceVersion"] = json!(BASE);
    assert_eq!(observed(&request).base_resource_version, "4712");
}

#[test]
fn an_update_to_the_same_bytes_is_not_sent() {
    let object = config_map(Some(BASE), "1");
    assert_eq!(
        skipped(&request("UPDATE", object.clone(), object)),
        Skip::Unchanged
    );
}

#[test]
fn an_update_of_what_never_reaches_git_is_not_sent() {
    let old = config_map(Some(BASE), "1");
    let mut new = old.clone();
    new["metadata"]["managedFields"][0]["time"] = json!("2026-01-01T10:00:09Z");
    new["metadata"]["resourceVersion"] = json!("1");
    new["status"] = json!({"phase": "Ready"});
    assert_eq!(skipped(&request("UPDATE", new, old)), Skip::Unchanged);
}

/// The object stays the same, and a file comes of it, or goes.
#[test]
fn an_owner_that_comes_or_goes_is_sent() {
    let free = config_map(Some(BASE), "1");
    let mut owned = free.clone();
    owned["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "u", "controller": true
    }]);
    for (new, old) in [(&free, &owned), (&owned, &free)] {
        let observation = observed(&request("UPDATE", new.clone(), old.clone()));
        assert_eq!(observation.base_resource_version, BASE);
    }
    let mut again = owned.clone();
    again["metadata"]["ownerReferences"][0]["uid"] = json!("u2");
    assert_eq!(skipped(&request("UPDATE", again, owned)), Skip::Unchanged);
}

#[test]
fn a_dry_run_is_not_sent() {
    for mut request in [create(), update(), delete(), scaling(Some(1), Some(2))] {
        request["dryRun"] = json!(true);
        assert_eq!(skipped(&request), Skip::DryRun);
    }
}

#[test]
fn scale_is_about_the_parent() {
    let observation = observed(&scaling(Some(1), Some(5)));
    assert_eq!(observation.operation(), v1::Operation::Update);
    assert_eq!(
        (
            &*observation.group,
            &*observation.version,
            &*observation.resource
        ),
        ("apps", "v1", "deployments")
    );
    assert_eq!(
        (&*observation.name, &*observation.namespace),
        ("web", "lab")
    );
    assert_eq!(observation.subresource, "scale");
    assert_eq!(observation.replicas, Some(5));
    assert_eq!(observation.uid, UID);
    assert_eq!(observation.base_resource_version, BASE);
    assert_eq!(observation.spec_hash, "");
    assert_eq!(observation.managed_fields_hash, "");
}

#[test]
fn scale_to_zero_leaves_the_field_out() {
    assert_eq!(observed(&scaling(Some(1), None)).replicas, Some(0));
    assert_eq!(observed(&scaling(None, Some(1))).replicas, Some(1));
}

#[test]
fn scale_to_the_same_size_is_not_sent() {
    assert_eq!(skipped(&scaling(Some(3), Some(3))), Skip::Unchanged);
    assert_eq!(skipped(&scaling(None, Some(0))), Skip::Unchanged);
}

#[test]
fn delete_is_known_from_the_old_object() {
    let request = delete();
    let observation = observed(&request);
    assert_eq!(observation.operation(), v1::Operation::Delete);
    assert_eq!(observation.name, "app-config");
    assert_eq!(observation.uid, UID);
    assert_eq!(observation.base_resource_version, BASE);
    assert_eq!(observation.spec_hash, hash(&request["oldObject"]));
    assert_eq!(observation.managed_fields_hash, "");
    assert_eq!(observation.field_manager, "");
}

#[test]
fn deletecollection_names_each_object_in_the_old_object_only() {
    let mut request = delete();
    request.as_object_mut().unwrap().remove("name");
    assert_eq!(observed(&request).name, "app-config");
}

#[test]
fn a_second_delete_is_not_sent_and_clearing_finalizers_is_no_delete() {
    let mut terminating = config_map(Some(BASE), "1");
    terminating["metadata"]["deletionTimestamp"] = json!("2026-01-01T10:05:00Z");
    terminating["metadata"]["finalizers"] = json!(["example.com/keep"]);
    let mut delete = delete();
    delete["oldObject"] = terminating.clone();
    assert_eq!(skipped(&delete), Skip::Terminating);

    let mut cleared = terminating.clone();
    cleared["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("finalizers");
    let observation = observed(&request("UPDATE", cleared, terminating));
    assert_eq!(observation.operation(), v1::Operation::Update);
}

#[test]
fn another_served_version_is_the_version_of_the_objects() {
    let mut request = update();
    request["resource"] =
        json!({"group": "autoscaling", "version": "v2", "resource": "horizontalpodautoscalers"});
    request["requestResource"] =
        json!({"group": "autoscaling", "version": "v1", "resource": "horizontalpodautoscalers"});
    let observation = observed(&request);
    assert_eq!(observation.version, "v2");
    assert_ne!(observation.managed_fields_hash, "");
}

#[test]
fn other_subresources_and_operations_are_not_sent() {
    for subresource in ["status", "eviction", "binding", "token", "approval"] {
        let mut request = update();
        request["subResource"] = json!(subresource);
        assert_eq!(skipped(&request), Skip::Subresource, "{subresource}");
    }
    let mut connect = request("CONNECT", Value::Null, Value::Null);
    connect["subResource"] = json!("exec");
    assert_eq!(skipped(&connect), Skip::Operation);
}

#[test]
fn a_namespace_is_in_no_namespace() {
    let mut request = create();
    request["resource"] = json!({"group": "", "version": "v1", "resource": "namespaces"});
    request["name"] = json!("lab");
    request["object"] = json!({"kind": "Namespace", "apiVersion": "v1",
                               "metadata": {"name": "lab", "uid": UID}});
    let observation = observed(&request);
    assert_eq!((&*observation.namespace, &*observation.name), ("", "lab"));
}

#[test]
fn cluster_scoped_objects_have_no_namespace() {
    let mut request = create();
    request.as_object_mut().unwrap().remove("namespace");
    request["resource"] = json!({"group": "rbac.authorization.k8s.io", "version": "v1",
                                 "resource": "clusterroles"});
    assert_eq!(observed(&request).namespace, "");
}

#[test]
fn what_no_rule_selects_is_not_even_parsed() {
    let interest = |resource: &str| -> InterestSet {
        v1::InterestSet {
            generation: 1,
            interests: vec![v1::Interest {
                group: String::new(),
                resource: resource.to_owned(),
                namespace: "lab".to_owned(),
            }],
        }
        .into()
    };
    let mut broken = create();
    broken["object"] = json!("not an object");
    assert_eq!(
        judge(&broken, &interest("secrets")),
        Outcome::Skipped(Skip::NotOfInterest)
    );
    assert_eq!(
        judge(&broken, &interest("configmaps")),
        Outcome::Skipped(Skip::Unreadable)
    );
    assert!(matches!(
        judge(&create(), &interest("configmaps")),
        Outcome::Observed(_)
    ));
}

#[test]
fn scale_is_of_interest_with_its_parent() {
    let interest: InterestSet = v1::InterestSet {
        generation: 1,
        interests: vec![v1::Interest {
            group: "apps".to_owned(),
            resource: "deployments".to_owned(),
            namespace: String::new(),
        }],
    }
    .into();
    assert!(matches!(
        judge(&scaling(Some(1), Some(2)), &interest),
        Outcome::Observed(_)
    ));
}

#[test]
fn a_username_is_taken_to_the_byte() {
    for name in [
        "system:serviceaccount:lab:builder",
        "Zoë 🦀 \"quoted\"",
        "Name <mail@example.com>\nSigned-off-by: x",
        "",
    ] {
        let mut request = create();
        request["userInfo"]["username"] = json!(name);
        assert_eq!(observed(&request).username, name);
    }
}

#[test]
fn the_manager_comes_from_managed_fields_where_options_name_none() {
    let mut request = update();
    request["options"] = Value::Null;
    request["object"]["metadata"]["managedFields"][0]["time"] = json!("2026-01-01T10:00:05Z");
    assert_eq!(
        observed(&request).field_manager,
        "kubectl-client-side-apply"
    );
}

#[test]
fn a_missing_or_nameless_object_is_unreadable() {
    for request in [
        request("CREATE", Value::Null, Value::Null),
        request("UPDATE", config_map(None, "1"), Value::Null),
        request("UPDATE", Value::Null, config_map(None, "1")),
        request("DELETE", config_map(None, "1"), Value::Null),
        request("DELETE", Value::Null, json!([1])),
    ] {
        assert_eq!(skipped(&request), Skip::Unreadable);
    }
    let mut nameless = create();
    nameless["name"] = json!("");
    nameless["object"]["metadata"] = json!({});
    assert_eq!(skipped(&nameless), Skip::Unreadable);
}

#[test]
fn an_object_without_canonical_form_is_unreadable() {
    let mut request = update();
    request["object"].as_object_mut().unwrap().remove("kind");
    assert_eq!(skipped(&request), Skip::Unreadable);
}

#[test]
fn a_username_that_would_break_the_stream_is_not_sent() {
    let mut request = create();
    request["userInfo"]["username"] = json!("x".repeat(2048));
    observed(&request);
    request["userInfo"]["username"] = json!("x".repeat(MAX_OBSERVATION));
    assert_eq!(skipped(&request), Skip::Oversized);
}

fn eviction() -> Value {
    let object = json!({"kind": "Eviction", "apiVersion": "policy/v1",
        "metadata": {"name": "web-1", "namespace": "lab", "creationTimestamp": null}});
    let mut eviction = request("CREATE", object, Value::Null);
    eviction["kind"] = json!({"group": "policy", "version": "v1", "kind": "Eviction"});
    eviction["resource"] = json!({"group": "", "version": "v1", "resource": "pods"});
    eviction["subResource"] = json!("eviction");
    eviction["name"] = json!("web-1");
    eviction
}

fn interest(resource: &str) -> InterestSet {
    v1::InterestSet {
        generation: 1,
        interests: vec![v1::Interest {
            group: String::new(),
            resource: resource.to_owned(),
            namespace: String::new(),
        }],
    }
    .into()
}

fn not_of_interest() -> Outcome {
    Outcome::Skipped(Skip::NotOfInterest)
}

#[test]
fn an_eviction_is_known_by_the_name_of_its_pod() {
    let observation = observed(&eviction());
    assert_eq!(
        (
            observation.resource.as_str(),
            observation.subresource.as_str(),
            observation.name.as_str(),
            observation.username.as_str(),
            observation.spec_hash.as_str(),
        ),
        ("pods", "eviction", "web-1", "jane@example.com", "")
    );
    assert_eq!(
        judge(&eviction(), &interest("configmaps")),
        not_of_interest()
    );
    let mut of_another = eviction();
    of_another["resource"]["resource"] = json!("nodes");
    assert_eq!(skipped(&of_another), Skip::Subresource);
}

#[test]
fn a_definition_that_goes_is_observed_whatever_is_of_interest() {
    let mut request = delete();
    request["resource"] = json!({"group": "apiextensions.k8s.io", "version": "v1",
        "resource": "customresourcedefinitions"});
    request["namespace"] = json!("");
    let outcome = judge(&request, &interest("configmaps"));
    assert!(matches!(outcome, Outcome::Observed(_)), "{outcome:?}");
    request["operation"] = json!("UPDATE");
    request["object"] = config_map(Some(BASE), "2");
    assert_eq!(judge(&request, &interest("configmaps")), not_of_interest());
}

#[test]
fn a_service_that_goes_is_observed_where_its_endpoints_are_of_interest() {
    let mut request = delete();
    request["resource"]["resource"] = json!("services");
    let outcome = judge(&request, &interest("endpoints"));
    assert!(matches!(outcome, Outcome::Observed(_)), "{outcome:?}");
    assert_eq!(judge(&request, &interest("configmaps")), not_of_interest());
}
