//! Deployments: scaled, restarted, and written to by their controller all the while.

use serde_json::{Value, json};

use super::Stage;
use crate::kinds::DEPLOYMENTS;

fn deployment(replicas: u32) -> Value {
    json!({"metadata": {}, "spec": {
        "replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}},
                     "spec": {"containers": [{"name": "c", "image": "example.com/web:1"}]}}}})
}

pub(super) async fn scaled(stage: &mut Stage) {
    let act = "scale";
    stage.create(act, DEPLOYMENTS, deployment(0)).await;
    let path = stage.path(DEPLOYMENTS);
    let scale = format!("{path}/scale");
    // As kubectl scale does.
    for replicas in [1, 2] {
        let patch = json!({"spec": {"replicas": replicas}});
        stage.actor(act).merge(&scale, &patch).await;
        stage.pause().await;
    }
    // As the autoscaler does.
    let hpa = stage.crowd.actor(
        act,
        "system:serviceaccount:kube-system:horizontal-pod-autoscaler",
    );
    for replicas in [3, 1] {
        let mut now = hpa.get(&scale).await.body;
        now["spec"]["replicas"] = replicas.into();
        hpa.put(&scale, &now).await;
    }
    // Both at once, and a change of something else.
    let image = json!([{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "example.com/web:2"}]);
    let (down, up, new) = (
        json!({"spec": {"replicas": 0}}),
        json!({"spec": {"replicas": 2}}),
        stage.actor("scale, contended"),
    );
    let (one, two) = (
        stage.actor("scale, contended"),
        stage.actor("scale, contended"),
    );
    tokio::join!(
        one.merge(&scale, &down),
        two.merge(&scale, &up),
        new.json_patch(&path, &image)
    );
    stage.actor(act).delete(&path, &json!({})).await;
}

pub(super) async fn restarted(stage: &mut Stage) {
    let act = "rollout restart";
    stage.create(act, DEPLOYMENTS, deployment(1)).await;
    let path = stage.path(DEPLOYMENTS);
    for minute in 0..2 {
        let restarted =
            json!({"kubectl.kubernetes.io/restartedAt": format!("2026-01-01T00:0{minute}:00Z")});
        let patch = json!({"spec": {"template": {"metadata": {"annotations": restarted}}}});
        stage.actor(act).strategic(&path, &patch).await;
        stage.pause().await;
    }
    stage
        .actor(act)
        .delete(&path, &json!({"propagationPolicy": "Background"}))
        .await;
}
