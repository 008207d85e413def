//! An object that can't be written takes no other along.

use kube::api::{Api, ApiResource, DeleteParams, DynamicObject};
use serde_json::{Value, json};
use tests::eventually::eventually;
use tests::reverser::Reverser;

use crate::lab::{FOLDER, Lab, PATIENCE};
use crate::types;

/// Deeper than the 128 levels that our JSON parser takes; the apiserver takes many more.
fn deep() -> Value {
    (0..150).fold(json!("bottom"), |inner, _| json!([inner]))
}

/// Writes as somebody, without a look at the answer, which our own client could not read either.
async fn send(lab: &Lab<'_>, user: &str, request: http::Request<Vec<u8>>) {
    let answer = lab.user(user).request_text(request).await.unwrap();
    assert!(answer.contains(r#""kind":"Nest""#), "{answer}");
}

#[tokio::test]
async fn an_object_nested_too_deeply_is_skipped_and_the_others_go_on() {
    let lab = Lab::shared("nests").await;
    let group = format!("{}.example.com", lab.namespace);
    types::define(&lab.client, &group, "Nest").await;
    let url = format!("/apis/{group}/v1/namespaces/{}/nests", lab.namespace);
    let nest = |name: &str, spec: Value| json!({"apiVersion": format!("{group}/v1"), "kind": "Nest", "metadata": {"name": name}, "spec": spec});
    let create = |name: &str, spec: Value| {
        let body = nest(name, spec).to_string().into_bytes();
        http::Request::post(&url)
            .header("content-type", "application/json")
            .body(body)
            .unwrap()
    };
    let patch = |name: &str, spec: Value| {
        let body = json!({ "spec": spec }).to_string().into_bytes();
        let request = http::Request::patch(format!("{url}/{name}"));
        request
            .header("content-type", "application/merge-patch+json")
            .body(body)
            .unwrap()
    };
    let path = |name: &str| format!("{FOLDER}/{group}/v1/nests/{}/{name}.yaml", lab.namespace);

    // One is there before its type is watched, and stands in the first list.
    eventually(PATIENCE, || async {
        let answer = lab
            .user("alice")
            .request_text(create("deep", json!({"in": deep()})))
            .await;
        answer.map(drop)
    })
    .await;
    send(&lab, "alice", create("plain", json!({"in": 1}))).await;
    lab.repo_config(lab.repo.url(), &["main"]).await;
    lab.destination("all", json!({})).await;
    lab.rule(
        "rule",
        json!([{"apiGroups": [group], "resources": ["nests"]}]),
    )
    .await;
    lab.ready::<reverser::api::WatchRule>("rule").await;
    let holds = |name: &'static str, value: u32| {
        let (lab, path) = (&lab, path(name));
        async move {
            eventually(PATIENCE, || async {
                let text = lab.repo.file(&path).ok_or(format!("{path} is not there"))?;
                let object: Value = serde_yaml::from_slice(&text).unwrap();
                if object["spec"]["in"] == value {
                    Ok(())
                } else {
                    Err(object.to_string())
                }
            })
            .await;
        }
    };
    holds("plain", 1).await;

    send(&lab, "bob", patch("deep", json!({"more": 1}))).await;
    send(&lab, "carol", patch("plain", json!({"in": 2}))).await;
    holds("plain", 2).await;
    assert_eq!(lab.repo.file(&path("deep")), None);
    send(&lab, "dave", patch("deep", json!({"in": 3}))).await;
    holds("deep", 3).await;
    send(&lab, "erin", patch("deep", json!({"in": deep()}))).await;
    send(&lab, "frank", patch("plain", json!({"in": 4}))).await;
    holds("plain", 4).await;
    // As it was when it could be read last.
    holds("deep", 3).await;

    let api: Api<DynamicObject> = Api::namespaced_with(
        lab.user("grace"),
        &lab.namespace,
        &ApiResource {
            group: group.clone(),
            version: "v1".into(),
            api_version: format!("{group}/v1"),
            kind: "Nest".into(),
            plural: "nests".into(),
        },
    );
    let _ = api.delete("deep", &DeleteParams::default()).await;
    eventually(PATIENCE, || async {
        match lab.repo.file(&path("deep")) {
            None => Ok(()),
            Some(_) => Err("the file is still there"),
        }
    })
    .await;

    let authors = |name: &str| -> Vec<String> {
        let versions = lab.versions(&path(name));
        versions
            .into_iter()
            .skip(1)
            .map(|c| c.author_name)
            .collect()
    };
    assert_eq!(authors("plain"), ["carol", "frank"]);
    let versions = lab.versions(&path("deep"));
    // A sidecar that can't read a review as deep has seen nobody, and nobody is named then.
    let first = &versions[0];
    let unseen = first.trailer("Attribution") == Some("none");
    assert!(unseen || first.author_name == "dave", "{versions:#?}");
    assert_eq!(versions.len(), 2, "{versions:#?}");
    // Once for each time that it became unreadable.
    let [log, _] = Reverser::shared().await.logs();
    let said = log
        .lines()
        .filter(|line| line.contains("an object is skipped") && line.contains(&lab.namespace));
    assert_eq!(said.count(), 2);
    types::definitions(&lab.client)
        .delete(&format!("nests.{group}"), &DeleteParams::default())
        .await
        .unwrap();
}
