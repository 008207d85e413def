use serde_json::json;

use super::*;
use crate::parse;

fn text(object: &Value) -> String {
    let manifest = canonicalize(object).expect("an object");
    assert_eq!(manifest.hash, SpecHash::of(&manifest.text));
    String::from_utf8(manifest.text).expect("UTF-8")
}

#[test]
fn admission_and_watch_give_the_same_bytes() {
    let managed = json!([{
        "manager": "kubectl-create", "operation": "Update", "apiVersion": "v1", "time": "2026-11-01T00:00:00Z",
        "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {".": {}, "f:a": {}}},
    }]);
    let admitted = json!({
        "kind": "ConfigMap", "apiVersion": "v1",
        "metadata": {"name": "app", "namespace": "lab", "uid": "u", "creationTimestamp": "2026-11-01T00:00:00Z", "managedFields": managed},
        "data": {"a": "1\n2\n", "b": "no"},
    });
    let mut watched = admitted.clone();
    watched["metadata"]["resourceVersion"] = json!("4711");
    watched["metadata"]["generation"] = json!(1);
    let expected = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: app\n  namespace: lab\ndata:\n  a: |\n    1\n    2\n  b: \"no\"\n";
    assert_eq!(text(&admitted), expected);
    assert_eq!(text(&watched), expected);
    assert_eq!(
        canonicalize(&parse(expected.as_bytes()).expect("YAML")),
        canonicalize(&watched),
        "a file in Git has the hash of its object"
    );
}

#[test]
fn secret_keeps_its_bytes_but_never_shows_them() {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": {"name": "s", "namespace": "lab"},
        "data": {"bin": "AAEC/v8=", "num": "MTIz", "yes": "eWVz"},
    });
    assert_eq!(
        text(&secret),
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: s\n  namespace: lab\ndata:\n  bin: AAEC/v8=\n  num: MTIz\n  \"yes\": eWVz\ntype: Opaque\n"
    );
    let shown = format!("{:?}", canonicalize(&secret));
    assert!(!shown.contains("MTIz") && shown.contains("hash"), "{shown}");
}

#[test]
fn what_is_no_object_is_refused_by_what_is_missing() {
    let refused = |value: Value| canonicalize(&value).map(|_| ()).expect_err("refused");
    assert_eq!(refused(json!([])), CanonicalizeError::NotAnObject);
    assert_eq!(refused(json!({})), CanonicalizeError::NoApiVersion);
    assert_eq!(
        refused(json!({"apiVersion": "v1"})),
        CanonicalizeError::NoKind
    );
    assert_eq!(
        refused(json!({"apiVersion": "v1", "kind": ""})),
        CanonicalizeError::NoKind
    );
    assert_eq!(
        refused(
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "a-"}})
        ),
        CanonicalizeError::NoName
    );
}

#[test]
fn deep_objects_are_an_error_and_no_crash() {
    let mut deep = Value::Null;
    for _ in 0..1000 {
        deep = Value::Array(vec![deep]);
    }
    let mut object = json!({"apiVersion": "x.io/v1", "kind": "X", "metadata": {"name": "x"}});
    object["spec"] = deep;
    assert_eq!(
        canonicalize(&object),
        Err(CanonicalizeError::TooDeep(MAX_DEPTH))
    );
}

/// Counted, not timed: ten times the object is about ten times the text.
#[test]
fn text_grows_with_the_object() {
    let object = |items: usize| {
        let ports: Vec<_> = (0..items)
            .map(|port| json!({"port": port, "nodePort": port, "protocol": "TCP"}))
            .collect();
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}, "spec": {"ports": ports}})
    };
    let (small, large) = (text(&object(1000)).len(), text(&object(10_000)).len());
    assert!(large < small * 11, "{small} to {large}");
}
