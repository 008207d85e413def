//! What an operator sees of a running system: introspection over gRPC.

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{ResourceQuota, Secret};
use kube::ResourceExt;
use kube::api::{Api, ListParams, PostParams};
use reverser::api::GitDestination;
use serde_json::{Value, json};
use tests::eventually::eventually;
use tests::reverser::Reverser;

use crate::grpcurl::{Grpcurl, INTROSPECTION};
use crate::lab::{Lab, PATIENCE, create, delete, map};

async fn grpcurl(lab: &Lab<'_>) -> Grpcurl {
    Grpcurl::of(lab.plane, Reverser::shared().await).await
}

/// What Explain says of a core object in the lab's namespace.
async fn explain(grpcurl: &Grpcurl, lab: &Lab<'_>, resource: &str, name: &str) -> Value {
    let request = json!({"resource": resource, "namespace": lab.namespace, "name": name});
    grpcurl.ask("Explain", request).await
}

#[tokio::test]
async fn reflection_names_what_is_served_and_nothing_else() {
    let lab = Lab::shared("reflection").await;
    let grpcurl = grpcurl(&lab).await;
    let services = [
        INTROSPECTION,
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
    ];
    assert_eq!(grpcurl.list(None).await, services);
    let methods = grpcurl.list(Some(INTROSPECTION)).await;
    let methods: Vec<&str> = methods
        .iter()
        .filter_map(|m| m.strip_prefix(&format!("{INTROSPECTION}.")))
        .collect();
    assert_eq!(
        methods,
        [
            "Explain",
            "GetStatus",
            "ListPendingAttributions",
            "ListWatches",
            "ListWorkers"
        ]
    );
    let message = grpcurl.describe("gitopsreverser.v1.ExplainRequest").await;
    assert!(message.contains("string namespace = 4;"), "{message}");
    let health = grpcurl
        .call(
            "grpc.health.v1.Health/Check",
            json!({"service": INTROSPECTION}),
        )
        .await
        .unwrap();
    assert_eq!(health["status"], "SERVING");
}

#[tokio::test]
async fn authors_can_not_be_reported_where_people_look() {
    let lab = Lab::shared("forge").await;
    let refusal = grpcurl(&lab)
        .await
        .call_unlisted(
            "gitopsreverser/v1/attribution.proto",
            "gitopsreverser.v1.Attribution/Report",
        )
        .await
        .unwrap_err();
    assert!(refusal.contains("Code: Unimplemented"), "{refusal}");
}

#[tokio::test]
async fn status_watches_and_workers_tell_what_is_going_on() {
    let lab = Lab::shared("status").await.watching(&["configmaps"]).await;
    let grpcurl = grpcurl(&lab).await;
    create(&lab.maps("alice"), &map("one", "k", "1")).await;
    lab.holds("one", "k", "1").await;

    let status = grpcurl.ask("GetStatus", json!({})).await;
    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(lab.client.clone());
    let cluster = namespaces.get("kube-system").await.unwrap().uid();
    assert_eq!(status["clusterId"].as_str(), cluster.as_deref());
    assert_eq!(status["sidecarConnected"], true);
    assert_ne!(status["version"], "");
    assert_eq!(
        (&status["leader"], &status["role"]),
        (&json!(true), &json!("alone"))
    );
    for count in ["destinations", "watches", "workers"] {
        assert!(status[count].as_u64().unwrap() >= 1, "{count}: {status}");
    }
    assert!(number(&status["objects"]) >= 1, "{status}");

    let answer = grpcurl.ask("ListWatches", json!({})).await;
    let watch = one_of(&answer["watches"], |w| w["namespace"] == *lab.namespace);
    assert_eq!(
        (&watch["group"], &watch["version"], &watch["resource"]),
        (&json!(""), &json!("v1"), &json!("configmaps"))
    );
    assert_eq!(
        (&watch["phase"], &watch["error"]),
        (&json!("watching"), &json!(""))
    );
    // With kube-root-ca.crt, which is watched and left out.
    assert!(number(&watch["objects"]) >= 1, "{watch}");

    // The file is at the remote a moment before the worker has heard of it.
    let destination = format!("{}/all", lab.namespace);
    eventually(PATIENCE, || async {
        let answer = grpcurl.ask("ListWorkers", json!({})).await;
        let worker = one_of(&answer["workers"], |w| w["destinations"][0] == *destination);
        assert_eq!(worker["branch"], "main");
        // Repositories are compared, and named, without the suffix and without credentials.
        assert_eq!(worker["repoUrl"], lab.repo.url().trim_end_matches(".git"));
        if worker["phase"] == "idle"
            && worker["error"] == ""
            && worker["pendingChanges"] == "0"
            && worker["lastCommit"].as_str() == lab.repo.head().as_deref()
            && worker["lastPush"].is_string()
        {
            Ok(())
        } else {
            Err(worker.to_string())
        }
    })
    .await;
}

/// What waits under a key that begins with this.
async fn pending(grpcurl: &Grpcurl, key: &str) -> Value {
    eventually(PATIENCE, || async {
        let answer = grpcurl
            .ask("ListPendingAttributions", json!({"limit": 1000}))
            .await;
        let pending = answer["pending"].as_array().unwrap();
        let mut pending = pending.iter();
        let found = pending.find(|p| p["key"].as_str().unwrap().starts_with(key));
        found.cloned().ok_or_else(|| answer.to_string())
    })
    .await
}

/// A Secret of this namespace that a quota refuses, after the webhooks were called. The reverser's own is there already.
async fn refuse_a_secret(lab: &Lab<'_>, name: &str) {
    let quota = json!({"metadata": {"name": "no-more"}, "spec": {"hard": {"count/secrets": "0"}}});
    let quotas: Api<ResourceQuota> = Api::namespaced(lab.client.clone(), &lab.namespace);
    let quota = serde_json::from_value(quota).unwrap();
    quotas.create(&PostParams::default(), &quota).await.unwrap();
    let secret = json!({"metadata": {"name": name}, "stringData": {"password": "hunter2"}});
    let secret: Secret = serde_json::from_value(secret).unwrap();
    let secrets: Api<Secret> = Api::namespaced(lab.client.clone(), &lab.namespace);
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    eventually(PATIENCE, || async {
        match secrets.create(&dry, &secret).await {
            Ok(_) => Err("the quota is not in force".to_owned()),
            Err(_) => Ok(()),
        }
    })
    .await;
    let refused = secrets.create(&PostParams::default(), &secret).await;
    refused.unwrap_err();
}

/// Whoever may look in here need not be allowed to read it, and a hash without a key tells a good guess from a bad one.
#[tokio::test]
async fn an_observation_of_a_secret_that_is_pending_tells_nothing_of_its_values() {
    let lab = Lab::shared("pending-secret")
        .await
        .watching(&["secrets"])
        .await;
    let grpcurl = grpcurl(&lab).await;
    refuse_a_secret(&lab, "guess").await;
    let key = format!("/v1/secrets/{}/guess:", lab.namespace);
    let pending = pending(&grpcurl, &key).await;
    assert_eq!(pending["key"], format!("{key}CREATE:"));
}

#[tokio::test]
async fn an_observation_of_a_refused_write_is_pending() {
    let lab = Lab::shared("pending").await.watching(&["configmaps"]).await;
    let grpcurl = grpcurl(&lab).await;
    // Beside ours stands a webhook that can't be reached and refuses this one name: the write is
    // observed, and never happens.
    let configurations: Api<ValidatingWebhookConfiguration> = Api::all(lab.client.clone());
    let refused = configurations
        .list(&ListParams::default())
        .await
        .unwrap()
        .into_iter()
        .map(|configuration| configuration.name_any())
        .find(|name| name.starts_with("gitops-reverser-"))
        .unwrap();
    lab.maps("denied")
        .create(&PostParams::default(), &map(&refused, "k", "hunter2"))
        .await
        .unwrap_err();
    let key = format!("/v1/configmaps/{}/{refused}:", lab.namespace);
    let pending = pending(&grpcurl, &key).await;
    assert_eq!(pending["username"], "denied");
    assert_eq!(pending["baseResourceVersion"], "");
    assert!(pending["received"].is_string());
    let hash = pending["key"].as_str().unwrap().strip_prefix(&key).unwrap();
    assert_eq!(hash.len(), "CREATE:".len() + 16, "{hash}");

    let limited = grpcurl
        .ask("ListPendingAttributions", json!({"limit": 1}))
        .await;
    assert_eq!(limited["pending"].as_array().unwrap().len(), 1);
    assert!(number(&limited["total"]) >= 1);
}

#[tokio::test]
async fn a_written_object_is_explained_by_rules_path_commit_and_author() {
    let lab = Lab::shared("explain").await.watching(&["configmaps"]).await;
    let grpcurl = grpcurl(&lab).await;
    create(&lab.maps("alice"), &map("one", "k", "1")).await;
    lab.holds("one", "k", "1").await;
    let commit = lab.versions(&lab.path("one")).pop().unwrap();

    let answer = eventually(PATIENCE, || async {
        let answer = explain(&grpcurl, &lab, "configmaps", "one").await;
        if answer["selections"][0]["commit"] == "" {
            Err(answer.to_string())
        } else {
            Ok(answer)
        }
    })
    .await;
    let live = lab.maps("alice").get("one").await.unwrap();
    assert_eq!(
        answer["summary"],
        format!("Written to {}.", lab.path("one"))
    );
    assert_eq!(
        (&answer["live"], &answer["reason"]),
        (&json!(true), &json!(""))
    );
    assert_eq!(answer["uid"].as_str(), live.uid().as_deref());
    assert_eq!(
        answer["resourceVersion"].as_str(),
        live.resource_version().as_deref()
    );
    assert_eq!(answer["specHash"].as_str().unwrap().len(), 16);
    let selections = answer["selections"].as_array().unwrap();
    assert_eq!(selections.len(), 1, "{answer}");
    let selection = &selections[0];
    assert_eq!(selection["destination"], format!("{}/all", lab.namespace));
    assert_eq!(
        selection["rules"],
        json!([format!("WatchRule {}/rule", lab.namespace)])
    );
    assert_eq!(selection["repoUrl"], lab.repo.url());
    assert_eq!(selection["branch"], "main");
    assert_eq!(selection["path"], lab.path("one"));
    assert_eq!(selection["commit"], commit.hash);
    assert_eq!(selection["author"], "alice");
    assert_eq!(selection["attribution"], "exact");
    assert_eq!(selection["attributionReason"], "");

    // Gone, it is still known who did it.
    delete(&lab.maps("bob"), "one").await;
    lab.lacks("one").await;
    eventually(PATIENCE, || async {
        let answer = explain(&grpcurl, &lab, "configmaps", "one").await;
        if answer["selections"][0]["author"] == "bob" && answer["live"] == false {
            Ok(())
        } else {
            Err(answer.to_string())
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_not_written_is_explained_by_a_reason() {
    let lab = Lab::shared("whynot")
        .await
        .watching(&["configmaps", "secrets"])
        .await;
    lab.destination("all", json!({"secretPolicy": "Omit"}))
        .await;
    lab.ready::<GitDestination>("all").await;
    let grpcurl = grpcurl(&lab).await;
    let why = async |resource: &str, name: &str| {
        let answer = explain(&grpcurl, &lab, resource, name).await;
        let reason = answer["reason"].as_str().unwrap().to_owned();
        assert_eq!(answer["summary"], format!("Not written: {reason}."));
        (reason, answer)
    };

    let (reason, answer) = why("serviceaccounts", "default").await;
    assert!(
        reason.starts_with("no rule selects serviceaccounts"),
        "{reason}"
    );
    assert_eq!(answer["selections"], json!([]));

    let (reason, answer) = why("secrets", "git").await;
    assert!(reason.contains("secretPolicy"), "{reason}");
    assert_eq!(answer["live"], true);
    assert_eq!(answer["selections"][0]["path"], "");

    // Every namespace gets one, a moment after it was made.
    eventually(PATIENCE, || async {
        let (reason, _) = why("configmaps", "kube-root-ca.crt").await;
        if reason.contains("the control plane publishes") {
            Ok(())
        } else {
            Err(reason)
        }
    })
    .await;

    let (reason, answer) = why("configmaps", "nobody").await;
    assert!(reason.contains("there is no such object"), "{reason}");
    assert_eq!(
        (&answer["live"], &answer["uid"]),
        (&json!(false), &json!(""))
    );
    assert_eq!(answer["selections"][0]["path"], lab.path("nobody"));
}

#[tokio::test]
async fn a_question_that_can_not_be_meant_is_an_invalid_argument() {
    let lab = Lab::shared("invalid").await.watching(&["configmaps"]).await;
    let grpcurl = grpcurl(&lab).await;
    for request in [
        json!({}),
        json!({"resource": "configmaps", "namespace": lab.namespace}),
        json!({"name": "one", "namespace": lab.namespace}),
        json!({"resource": "configmaps", "namespace": lab.namespace, "name": "../secrets/git"}),
        json!({"resource": "configmaps", "namespace": "a/b", "name": "one"}),
    ] {
        let refusal = grpcurl
            .call(&format!("{INTROSPECTION}/Explain"), request.clone())
            .await
            .unwrap_err();
        assert!(
            refusal.contains("Code: InvalidArgument"),
            "{request}: {refusal}"
        );
    }
}

/// protobuf's JSON has 64-bit integers as strings.
fn number(value: &Value) -> u64 {
    value.as_str().unwrap().parse().unwrap()
}

fn one_of(list: &Value, wanted: impl Fn(&Value) -> bool) -> Value {
    let found: Vec<&Value> = list
        .as_array()
        .unwrap()
        .iter()
        .filter(|item| wanted(item))
        .collect();
    assert_eq!(found.len(), 1, "{list:#}");
    found[0].clone()
}
