//! What the tests of the sidecar share: a client, certificates, and the other end of the stream.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

pub mod client;
pub mod reverser;

use std::time::Duration;

use serde_json::json;

/// Waits for something that nobody tells of; fails after a time that only a hang takes.
pub async fn eventually(mut condition: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting)
        .await
        .expect("it never came true");
}

/// An AdmissionReview for the creation of a ConfigMap.
pub fn review(namespace: &str, name: &str) -> String {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": format!("review-of-{name}"),
            "operation": "CREATE",
            "resource": {"group": "", "version": "v1", "resource": "configmaps"},
            "name": name,
            "namespace": namespace,
            "userInfo": {"username": "jane"},
            "object": {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": name, "namespace": namespace, "uid": format!("uid-of-{name}")},
                "data": {"key": "value"},
            },
            "oldObject": null,
        },
    })
    .to_string()
}
