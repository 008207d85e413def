//! Objects that the apiserver stored before it had today's schema.

use super::*;

#[tokio::test]
async fn objects_from_before_the_schema() {
    let plane = ControlPlane::start(PlaneOptions::default()).await.unwrap();
    permissive_definitions(&plane).await;
    let lab = Lab::on(&plane, "old").await;
    let good = json!({"destinationRef": {"name": "all"}, "rules": [{"resources": ["configmaps"]}]});
    let broken = [
        ("text", json!("configmaps")),
        ("none", Value::Null),
        (
            "wrong",
            json!({"destinationRef": "all", "rules": {"resources": "configmaps"}}),
        ),
        (
            "word",
            json!({"destinationRef": {"name": "all"}, "rules": [{"resources": ["configmaps"], "operations": ["WATCH"]}]}),
        ),
    ];
    for (name, spec) in &broken {
        eventually(PATIENCE, || lab.apply::<WatchRule>(name, spec.clone())).await;
    }
    lab.destination("up", json!({"baseFolder": "../up"})).await;
    lab.destination("policy", json!({"secretPolicy": "Seal"}))
        .await;
    lab.apply::<GitRepoConfig>(
        "ftp",
        json!({"repoUrl": "ftp://u:s3cr3t@h/a", "allowedBranches": ["main"]}),
    )
    .await
    .unwrap();
    lab.apply::<GitRepoConfig>(
        "dots",
        json!({"repoUrl": "https://127.0.0.1:1/a", "allowedBranches": ["a..b"]}),
    )
    .await
    .unwrap();
    lab.destination(
        "dots",
        json!({"repoRef": {"name": "dots"}, "branch": "a..b", "baseFolder": "dots"}),
    )
    .await;

    // Applies the definitions as they are.
    let reverser = Reverser::start(&plane, Options::default()).await.unwrap();
    let lab = lab.watching(&["configmaps"]).await;
    lab.settle().await;
    for (name, _) in &broken {
        let message = told::<WatchRule>(&lab, name, "InvalidSpec").await;
        assert!(message.starts_with("the spec can't be read: "), "{message}");
    }
    told::<GitDestination>(&lab, "up", "InvalidBaseFolder").await;
    let message = told::<GitDestination>(&lab, "policy", "InvalidSpec").await;
    assert!(
        message.contains("Seal") && message.contains("Omit"),
        "{message}"
    );
    told::<GitRepoConfig>(&lab, "ftp", "InvalidURL").await;
    told::<GitDestination>(&lab, "dots", "InvalidBranch").await;
    keeps_secrets(&lab, &reverser, &[PASSWORD, "s3cr3t"]).await;

    // As `kubectl replace` does: an apply has to read what is there.
    let rules: Api<DynamicObject> = Api::namespaced_with(
        lab.client.clone(),
        &lab.namespace,
        &ApiResource::erase::<WatchRule>(&()),
    );
    for (name, _) in &broken {
        // Its status may be written in between.
        eventually(PATIENCE, || async {
            let mut rule = rules.get(name).await?;
            rule.data["spec"] = good.clone();
            rules.replace(name, &PostParams::default(), &rule).await
        })
        .await;
        lab.ready::<WatchRule>(name).await;
    }
    lab.ready::<GitDestination>("all").await;
    lab.settle().await;
    reverser.stop().await.unwrap();
}

/// The four kinds, without a word on what is in them.
async fn permissive_definitions(plane: &ControlPlane) {
    let api: Api<k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition> =
        Api::all(plane.client());
    for definition in definitions() {
        let mut definition = serde_json::to_value(definition).unwrap();
        definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"] =
            json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        create(&api, &serde_json::from_value(definition).unwrap()).await;
    }
}
