//! An aggregated API that is away holds nothing else up.

use kube::Api;
use kube::api::DynamicObject;
use reverser::api::WatchRule;
use serde_json::json;
use tests::control_plane::{ControlPlane, Options as PlaneOptions};
use tests::eventually::eventually;
use tests::reverser::{Options, Reverser};

use crate::lab::{FOLDER, Lab, PATIENCE, create};
use crate::types;

async fn define(lab: &Lab<'_>, group: &str) -> Api<DynamicObject> {
    types::define(&lab.client, group, "Widget").await;
    let resource = kube::api::ApiResource {
        group: group.to_owned(),
        version: "v1".into(),
        api_version: format!("{group}/v1"),
        kind: "Widget".into(),
        plural: "widgets".into(),
    };
    Api::namespaced_with(lab.client.clone(), &lab.namespace, &resource)
}

async fn widget(api: &Api<DynamicObject>, group: &str) {
    let widget: DynamicObject = serde_json::from_value(json!({
        "apiVersion": format!("{group}/v1"), "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 3},
    }))
    .unwrap();
    create(api, &widget).await;
}

#[tokio::test]
async fn a_type_that_appears_is_watched_while_another_api_is_away() {
    let plane = ControlPlane::start(PlaneOptions::default()).await.unwrap();
    let reverser = Reverser::start(&plane, Options::default()).await.unwrap();
    let lab = Lab::on(&plane, "away").await;
    let [old, new] = ["old", "new"].map(|name| format!("{name}.example.com"));
    let path = |group: &str| format!("{FOLDER}/{group}/v1/widgets/{}/w.yaml", lab.namespace);
    let written = |group: &str| {
        let path = path(group);
        let lab = &lab;
        eventually(PATIENCE, move || {
            let file = lab
                .repo
                .file(&path)
                .ok_or_else(|| format!("{path} is not there"));
            async move { file }
        })
    };
    let widgets = define(&lab, &old).await;
    lab.repo_config(lab.repo.url(), &["main"]).await;
    lab.destination("all", json!({})).await;
    lab.rule(
        "old",
        json!([{"apiGroups": [old], "resources": ["widgets"]}]),
    )
    .await;
    lab.ready::<WatchRule>("old").await;
    widget(&widgets, &old).await;
    written(&old).await;

    // Served by somebody who is not there, from now on: every request is answered with 503.
    types::hand_to_nobody(&lab, &old).await;
    types::is_down(&lab.client, &old).await;
    let widgets = define(&lab, &new).await;
    lab.rule(
        "new",
        json!([{"apiGroups": [new], "resources": ["widgets"]}]),
    )
    .await;
    lab.ready::<WatchRule>("new").await;
    widget(&widgets, &new).await;
    written(&new).await;
    // What is away is not gone.
    assert!(lab.repo.file(&path(&old)).is_some());
    reverser.stop().await.unwrap();
}
