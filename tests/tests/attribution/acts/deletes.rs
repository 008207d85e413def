//! Ways to make an object go.

use serde_json::{Value, json};

use super::Stage;
use crate::kinds::{MAPS, NAMESPACES, PODS};

fn map(metadata: &Value) -> Value {
    json!({"metadata": metadata, "data": {"k": "v"}})
}

pub(super) async fn collection(stage: &mut Stage) {
    let act = "deletecollection";
    let play = stage.name.clone();
    for n in 0..5 {
        let object = MAPS.object(
            &format!("{play}-{n}"),
            map(&json!({"labels": {"play": play}})),
        );
        let path = stage.collection(MAPS);
        stage.actor(act).create(&path, &object).await;
    }
    let selected = format!("{}?labelSelector=play%3D{play}", stage.collection(MAPS));
    stage.actor(act).delete(&selected, &json!({})).await;
}

/// One deletes, another asks for it again, a third clears the finalizer: it was the first.
pub(super) async fn with_finalizer(stage: &mut Stage) {
    let act = "finalizer cleared by another";
    let object = map(&json!({"finalizers": ["corpus.test/hold"]}));
    stage.create(act, MAPS, object).await;
    let path = stage.path(MAPS);
    stage
        .actor(act)
        .merge(&path, &json!({"data": {"k": "w"}}))
        .await;
    stage.actor(act).delete(&path, &json!({})).await;
    stage.actor("second delete").delete(&path, &json!({})).await;
    stage.pause().await;
    stage
        .actor("write to a terminating object")
        .merge(&path, &json!({"data": {"k": "x"}}))
        .await;
    let clear = json!({"metadata": {"finalizers": null}});
    stage.actor("finalizer cleared").merge(&path, &clear).await;
}

/// An owner goes, and its dependents with it, or not.
pub(super) async fn owner(stage: &mut Stage, policy: &'static str) {
    let act = match policy {
        "Foreground" => "foreground delete",
        "Orphan" => "orphan delete",
        _ => "garbage collection",
    };
    let owner = stage.create(act, MAPS, map(&json!({}))).await;
    let reference = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": stage.name,
        "uid": owner["metadata"]["uid"], "blockOwnerDeletion": true}]);
    for n in 0..2 {
        let name = format!("{}-owned-{n}", stage.name);
        let object = MAPS.object(&name, map(&json!({"ownerReferences": reference})));
        let path = stage.collection(MAPS);
        stage.actor(act).create(&path, &object).await;
    }
    let path = stage.path(MAPS);
    stage
        .actor(act)
        .delete(&path, &json!({"propagationPolicy": policy}))
        .await;
}

/// Delete and create under one name, by turns, sometimes with the same content.
pub(super) async fn again_and_again(stage: &mut Stage) {
    let act = "delete and recreate";
    let path = stage.path(MAPS);
    for _ in 0..3 {
        stage.create(act, MAPS, map(&json!({}))).await;
        stage.actor(act).delete(&path, &json!({})).await;
    }
}

/// No webhook hears of the delete that follows; of one that is refused before, it does.
pub(super) async fn eviction(stage: &mut Stage) {
    let act = "eviction";
    // Bound to no node, by a scheduler that is not there: it goes at once.
    let pod = json!({"metadata": {}, "spec": {"schedulerName": "nobody",
        "containers": [{"name": "c", "image": "example.com/web:1"}]}});
    stage.create(act, PODS, pod).await;
    let path = stage.path(PODS);
    let label = json!({"metadata": {"labels": {"by": "somebody"}}});
    stage.actor(act).merge(&path, &label).await;
    // As the eviction writes it, so that it has nothing to write before it deletes: the version stays the one that was to be deleted. In the
    // future, as a controller takes back what is older than two minutes.
    let condition = json!({"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting", "observedGeneration": 1, "lastTransitionTime": "2100-01-01T00:00:00Z"});
    let status = json!({"status": {"conditions": [condition]}});
    stage
        .actor(act)
        .strategic(&format!("{path}/status"), &status)
        .await;
    let refused = stage.actor(act).refused();
    refused.delete(&path, &json!({})).await;
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction",
        "metadata": {"name": stage.name, "namespace": stage.namespace}});
    stage
        .other(act, &refused)
        .create(&format!("{path}/eviction"), &eviction)
        .await;
}

/// With everything in it.
pub(super) async fn namespace(stage: &mut Stage) {
    let act = "namespace deletion";
    let name = format!("gone-{}", stage.name);
    let object = NAMESPACES.object(&name, json!({"metadata": {}}));
    stage
        .actor(act)
        .create(&NAMESPACES.collection(""), &object)
        .await;
    for n in 0..3 {
        let object = MAPS.object(&format!("inside-{n}"), map(&json!({})));
        stage
            .actor(act)
            .create(&MAPS.collection(&name), &object)
            .await;
    }
    stage
        .actor(act)
        .delete(&NAMESPACES.path("", &name), &json!({}))
        .await;
}
