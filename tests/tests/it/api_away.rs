//! An aggregated API that is away holds nothing else up.

use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams};
use reverser::api::WatchRule;
use serde_json::json;
use tests::control_plane::{ControlPlane, Options as PlaneOptions};
use tests::eventually::eventually;
use tests::reverser::{Options, Reverser};

use crate::lab::{FOLDER, Lab, PATIENCE, create};

async fn define(lab: &Lab<'_>, group: &str) -> Api<DynamicObject> {
    let crds: Api<DynamicObject> = Api::all_with(lab.client.clone(), &kube::api::ApiResource::erase::<
        k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    >(&()));
    let name = format!("widgets.{group}");
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": name},
        "spec": {"group": group, "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]},
    });
    crds.patch(&name, &PatchParams::apply("test"), &Patch::Apply(crd))
        .await
        .unwrap();
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
    let services: Api<APIService> = Api::all(lab.client.clone());
    let name = format!("v1.{old}");
    let taken = json!({
        "metadata": {"labels": {"kube-aggregator.kubernetes.io/automanaged": null}},
        "spec": {"insecureSkipTLSVerify": true, "service": {"namespace": lab.namespace, "name": "nobody"}},
    });
    services
        .patch(&name, &PatchParams::default(), &Patch::Merge(taken))
        .await
        .unwrap();
    eventually(PATIENCE, || async {
        let status = services
            .get(&name)
            .await
            .unwrap()
            .status
            .unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        match conditions.iter().find(|c| c.type_ == "Available") {
            Some(condition) if condition.status == "False" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
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
