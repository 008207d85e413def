//! Who scaled, and who changed the rest.

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams};
use reverser::api::WatchRule;
use serde_json::{Value, json};
use tests::eventually::eventually;

use crate::lab::{FOLDER, Lab, PATIENCE, create};

/// Scales through the subresource, as `kubectl scale` does.
async fn scale(api: &Api<DynamicObject>, replicas: u32) {
    let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    api.patch_scale("one", &PatchParams::default(), &patch)
        .await
        .unwrap();
}

async fn change(api: &Api<DynamicObject>, spec: Value) {
    let patch = Patch::Merge(json!({ "spec": spec }));
    api.patch("one", &PatchParams::default(), &patch)
        .await
        .unwrap();
}

/// Waits until the file is as `last` says, and returns its authors, all of them exact.
async fn authors(lab: &Lab<'_>, path: &str, last: impl Fn(&Value) -> bool) -> Vec<String> {
    eventually(PATIENCE, || async {
        let text = lab.repo.file(path).ok_or("the file is not there")?;
        let object: Value = serde_yaml::from_slice(&text).map_err(|error| error.to_string())?;
        if last(&object["spec"]) {
            Ok(())
        } else {
            Err(object.to_string())
        }
    })
    .await;
    let versions = lab.versions(path);
    for commit in &versions {
        assert_eq!(commit.trailer("Attribution"), Some("exact"), "{commit:#?}");
    }
    versions.into_iter().map(|c| c.author_name).collect()
}

#[tokio::test]
async fn who_scales_a_custom_resource_is_known_wherever_it_keeps_its_replicas() {
    let lab = Lab::shared("pools").await;
    let group = format!("{}.example.com", lab.namespace);
    let crds: Api<DynamicObject> = Api::all_with(lab.client.clone(), &ApiResource::erase::<
        k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    >(&()));
    let crd_name = format!("pools.{group}");
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": crd_name},
        "spec": {"group": group, "scope": "Namespaced",
            "names": {"plural": "pools", "singular": "pool", "kind": "Pool"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "subresources": {"status": {},
                    "scale": {"specReplicasPath": ".spec.nodes.workers", "statusReplicasPath": ".status.workers"}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "properties": {
                        "zone": {"type": "string"}, "replicas": {"type": "integer"},
                        "nodes": {"type": "object", "properties": {"workers": {"type": "integer"}}}}},
                    "status": {"type": "object", "properties": {"workers": {"type": "integer"}}}}}}}]},
    });
    crds.patch(&crd_name, &PatchParams::apply("test"), &Patch::Apply(crd))
        .await
        .unwrap();
    lab.repo_config(lab.repo.url(), &["main"]).await;
    lab.destination("all", json!({})).await;
    lab.rule(
        "rule",
        json!([{"apiGroups": [group], "resources": ["pools"]}]),
    )
    .await;
    lab.ready::<WatchRule>("rule").await;

    let resource = ApiResource {
        group: group.clone(),
        version: "v1".into(),
        api_version: format!("{group}/v1"),
        kind: "Pool".into(),
        plural: "pools".into(),
    };
    let pools = |user: &str| -> Api<DynamicObject> {
        Api::namespaced_with(lab.user(user), &lab.namespace, &resource)
    };
    let pool = json!({
        "apiVersion": format!("{group}/v1"), "kind": "Pool", "metadata": {"name": "one"},
        "spec": {"zone": "a", "replicas": 7, "nodes": {"workers": 1}},
    });
    create(&pools("alice"), &serde_json::from_value(pool).unwrap()).await;
    scale(&pools("bob"), 2).await;
    change(&pools("carol"), json!({"zone": "b"})).await;
    scale(&pools("dave"), 3).await;
    // Through the object, what a scale changes, and what it changes elsewhere.
    change(&pools("erin"), json!({"nodes": {"workers": 4}})).await;
    change(&pools("frank"), json!({"replicas": 8})).await;
    change(&pools("grace"), json!({"nodes": {"workers": null}})).await;
    scale(&pools("heidi"), 5).await;

    let path = format!("{FOLDER}/{group}/v1/pools/{}/one.yaml", lab.namespace);
    let by = authors(&lab, &path, |spec| spec["nodes"]["workers"] == 5).await;
    let expected = [
        "alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi",
    ];
    assert_eq!(by, expected);
    crds.delete(&crd_name, &DeleteParams::default())
        .await
        .unwrap();
}

#[tokio::test]
async fn who_scales_a_deployment_is_known() {
    let lab = Lab::shared("scales").await.watching(&["deployments"]).await;
    let api = |user: &str| -> Api<DynamicObject> {
        let resource = ApiResource::erase::<Deployment>(&());
        Api::namespaced_with(lab.user(user), &lab.namespace, &resource)
    };
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "one"},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "one"}},
                 "template": {"metadata": {"labels": {"app": "one"}},
                              "spec": {"containers": [{"name": "c", "image": "i"}]}}},
    });
    create(&api("alice"), &serde_json::from_value(deployment).unwrap()).await;
    // The deployment's controller writes to it in between.
    scale(&api("bob"), 1).await;
    scale(&api("carol"), 2).await;
    change(&api("dave"), json!({"paused": true})).await;
    scale(&api("erin"), 0).await;
    let path = format!("{FOLDER}/apps/v1/deployments/{}/one.yaml", lab.namespace);
    let by = authors(&lab, &path, |spec| {
        spec["replicas"] == 0 && spec["paused"] == true
    })
    .await;
    assert_eq!(by, ["alice", "bob", "carol", "dave", "erin"]);
}
