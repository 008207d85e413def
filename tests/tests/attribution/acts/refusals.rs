//! Writes that are refused after our webhook has seen them, and what others do next.

use std::time::Duration;

use rand::Rng;
use serde_json::{Value, json};

use super::Stage;
use crate::kinds::MAPS;
use crate::place::Place;

fn map(value: &str) -> Value {
    json!({"metadata": {}, "data": {"k": value}})
}

/// Refused by a webhook beside ours; then the same, or something else, by another.
pub(super) async fn update(stage: &mut Stage) {
    let act = "after a refused update";
    stage.create(act, MAPS, map("0")).await;
    let path = stage.path(MAPS);
    for n in 1..4 {
        let refused = stage.actor(act).refused();
        let patch = json!({"data": {"k": n.to_string()}});
        refused.merge(&path, &patch).await;
        let other = stage.other(act, &refused);
        if stage.rng.random_bool(0.3) {
            other.merge(&path, &patch).await;
        } else {
            other
                .merge(&path, &json!({"data": {"k": format!("other-{n}")}}))
                .await;
        }
    }
    // A create that was refused has a uid of its own, and leaves nothing behind.
    let twin = MAPS.object(&format!("{}-twin", stage.name), map("0"));
    let collection = stage.collection(MAPS);
    let refused = stage.actor("after a refused create").refused();
    refused.create(&collection, &twin).await;
    stage
        .other("after a refused create", &refused)
        .create(&collection, &twin)
        .await;
}

/// Refused, then written over or deleted by another.
pub(super) async fn delete(stage: &mut Stage) {
    let act = "after a refused delete";
    stage.create(act, MAPS, map("0")).await;
    let path = stage.path(MAPS);
    let refused = stage.actor(act).refused();
    refused.delete(&path, &json!({})).await;
    if stage.rng.random_bool(0.5) {
        let other = stage.other(act, &refused);
        other.merge(&path, &json!({"data": {"k": "1"}})).await;
    }
    stage.other(act, &refused).delete(&path, &json!({})).await;
}

/// The quota is judged after the webhooks were called.
pub(super) async fn quota(stage: &mut Stage) {
    let act = "refused by a quota";
    for _ in 0..3 {
        stage.create(act, MAPS, map("0")).await;
    }
}

/// A namespace in which there is room for nothing.
pub(super) async fn fill(place: &Place, namespace: &str) {
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "full"},
        "spec": {"hard": {"count/configmaps": "1"}}});
    let path = format!("/api/v1/namespaces/{namespace}/resourcequotas/full");
    let admin = place.crowd.actor("others", "kubernetes-admin");
    assert!(admin.apply(&path, "corpus", true, &quota).await.is_ok());
    while admin.get(&path).await.body["status"]["used"].is_null() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A name that is taken, a version or uid that is not the present one; then others go on.
pub(super) async fn preconditions(stage: &mut Stage) {
    let act = "after a failed precondition";
    let first = stage.create(act, MAPS, map("0")).await;
    stage.create(act, MAPS, map("0")).await;
    let path = stage.path(MAPS);
    stage
        .actor(act)
        .merge(&path, &json!({"data": {"k": "1"}}))
        .await;
    let mut stale = first.clone();
    stale["data"]["k"] = "2".into();
    stage.actor(act).put(&path, &stale).await;
    stage
        .actor(act)
        .merge(&path, &json!({"data": {"k": "2"}}))
        .await;
    let uid = json!({"preconditions": {"uid": "00000000-0000-0000-0000-000000000000"}});
    stage.actor(act).delete(&path, &uid).await;
    let version =
        json!({"preconditions": {"resourceVersion": first["metadata"]["resourceVersion"]}});
    stage.actor(act).delete(&path, &version).await;
    stage.actor(act).delete(&path, &json!({})).await;
}
