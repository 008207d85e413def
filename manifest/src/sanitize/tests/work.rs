//! Steps grow with the size of an object, and with nothing else: they are counted, not timed.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::laws;
use crate::{canonicalize, work};

/// What the rules cost that find nothing, of any object.
const BASE: usize = 2_000;

/// A line of nothing but `1,` may be indented by two columns a level, which is the most that two bytes can cost.
const PER_BYTE: usize = 150;

fn steps(object: &Value) -> usize {
    let (steps, manifest) = work::of(|| canonicalize(object));
    assert!(manifest.is_ok(), "{:?}", manifest.err());
    steps
}

fn bytes(object: &Value) -> usize {
    object.to_string().len()
}

fn object(kind: (&str, &str), rest: Value) -> Value {
    let mut object = rest;
    object["apiVersion"] = kind.0.into();
    object["kind"] = kind.1.into();
    object["metadata"]["name"] = "x".into();
    object
}

fn map(n: usize, entry: impl Fn(usize) -> (String, Value)) -> Value {
    (0..n).map(entry).collect::<Map<_, _>>().into()
}

fn list(n: usize, item: impl Fn(usize) -> Value) -> Value {
    (0..n).map(item).collect()
}

fn managers(n: usize, fields: impl Fn(usize) -> Value) -> Value {
    list(
        n,
        |at| json!({"manager": format!("m{at}"), "operation": "Apply", "fieldsV1": fields(at)}),
    )
}

/// Each in any size: what rules look at, in numbers that nobody would think of.
type Family = (&'static str, fn(usize) -> Value);

fn families() -> Vec<Family> {
    vec![
        ("keys", |n| {
            object(
                ("v1", "ConfigMap"),
                json!({"data": map(n, |at| (format!("key-{at}"), json!("value")))}),
            )
        }),
        ("one text", |n| {
            object(
                ("v1", "ConfigMap"),
                json!({"data": {"a": "a: \"b\"\n".repeat(n)}}),
            )
        }),
        ("lines in depth", |n| {
            let lines = json!("1\n".repeat(n));
            object(
                ("x.io/v1", "X"),
                json!({"spec": (0..100).fold(lines, |inner, _| json!([inner]))}),
            )
        }),
        ("items in depth", |n| {
            let items = list(n, |_| json!(1));
            object(
                ("x.io/v1", "X"),
                json!({"spec": (0..100).fold(items, |inner, _| json!([inner]))}),
            )
        }),
        ("ports with owners", |n| {
            let owned = map(n, |at| {
                (
                    format!("k:{{\"port\":{at},\"protocol\":\"TCP\"}}"),
                    json!({"f:port": {}}),
                )
            });
            let ports = list(n, |at| json!({"port": at, "nodePort": at}));
            object(
                ("v1", "Service"),
                json!({
                    "metadata": {"managedFields": managers(1, |_| json!({"f:spec": {"f:ports": owned}}))}, "spec": {"ports": ports},
                }),
            )
        }),
        ("labels and managers", |n| {
            let fields = |at| json!({"f:metadata": {"f:labels": {format!("f:label-{at}"): {}}}});
            object(
                ("batch/v1", "Job"),
                json!({"metadata": {
                    "labels": map(n, |at| (format!("label-{at}"), json!("v"))), "managedFields": managers(n, fields),
                }}),
            )
        }),
        ("finalizers", |n| {
            object(
                ("v1", "ConfigMap"),
                json!({"metadata": {"finalizers": list(n, |_| json!("orphan"))}}),
            )
        }),
        ("embedded nulls", |n| {
            let templates = list(n, |_| json!({"metadata": {"creationTimestamp": null}}));
            object(("x.io/v1", "X"), json!({"spec": {"templates": templates}}))
        }),
        ("mounts of containers", |n| {
            let mounts = list(
                10,
                |at| json!({"name": format!("kube-api-access-{at}"), "mountPath": format!("/{at}")}),
            );
            let containers = list(
                n,
                |at| json!({"name": format!("c{at}"), "volumeMounts": mounts}),
            );
            let owned = map(n, |at| {
                (format!("k:{{\"name\":\"c{at}\"}}"), json!({"f:image": {}}))
            });
            object(
                ("v1", "Pod"),
                json!({
                    "metadata": {"managedFields": managers(3, |_| json!({"f:spec": {"f:containers": owned}}))},
                    "spec": {"containers": containers},
                }),
            )
        }),
        ("webhooks", |n| {
            let hooks = list(
                n,
                |at| json!({"name": format!("h{at}"), "clientConfig": {"caBundle": "YQ=="}}),
            );
            object(
                (
                    "admissionregistration.k8s.io/v1",
                    "MutatingWebhookConfiguration",
                ),
                json!({
                    "metadata": {"managedFields": managers(1, |_| json!({"f:webhooks": {"k:{\"name\":\"h1\"}": {}}}))}, "webhooks": hooks,
                }),
            )
        }),
    ]
}

#[test]
fn four_times_the_object_is_four_times_the_work() {
    for (name, family) in families() {
        let (small, large) = (family(200), family(800));
        let (few, many) = (steps(&small), steps(&large));
        // Four, and something for names, which get longer by a digit.
        assert!(many < few * 5, "{name}: {few} steps, then {many}");
        assert!(
            many < BASE + PER_BYTE * bytes(&large),
            "{name}: {many} steps for {} bytes",
            bytes(&large)
        );
    }
}

#[test]
fn the_counter_counts() {
    let one = steps(&object(("v1", "ConfigMap"), json!({"data": {"a": "b"}})));
    let more = steps(&object(
        ("v1", "ConfigMap"),
        json!({"data": {"a": "b", "c": "d"}}),
    ));
    assert!(0 < one && one < more, "{one} {more}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_object_takes_more_steps_than_its_bytes_allow(object in laws::object()) {
        let (steps, _) = work::of(|| canonicalize(&object));
        prop_assert!(steps < BASE + PER_BYTE * bytes(&object), "{} steps for {} bytes", steps, bytes(&object));
    }
}
