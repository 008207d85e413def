//! Input that no schema can refuse: each ends as a condition and an Event on its own object, everything else goes on,
//! and once it is mended it is Ready without a restart.

mod folders;
mod remotes;
mod stored;
mod words;

use kube::Resource;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, PostParams};
use reverser::api::{ClusterWatchRule, GitDestination, GitRepoConfig, WatchRule, definitions};
use serde_json::{Value, json};
use tests::control_plane::{ControlPlane, Options as PlaneOptions};
use tests::eventually::eventually;
use tests::git::{Fault, GitServer, HttpOptions};
use tests::net::free_port;
use tests::reverser::{Options, Reverser};

use crate::lab::{FOLDER, Lab, PASSWORD, PATIENCE, USER, create, map, set};

/// Waits until the object is stalled or on its way for this reason, and until an Event on it says the same; returns the
/// message.
async fn told<K: Resource<DynamicType = ()>>(lab: &Lab<'_>, name: &str, reason: &str) -> String {
    let message = lab.not_ready::<K>(name, reason).await;
    let kind = K::kind(&());
    eventually(PATIENCE, || async {
        let events = events(lab).await;
        let found = events.iter().any(|event| {
            let object = &event["involvedObject"];
            object["kind"] == *kind
                && object["name"] == name
                && event["reason"] == reason
                && event["message"] == *message
        });
        if found {
            Ok(())
        } else {
            Err(format!("no Event {reason} on {kind} {name}: {events:#?}"))
        }
    })
    .await;
    message
}

async fn events(lab: &Lab<'_>) -> Vec<Value> {
    let resource = ApiResource::erase::<k8s_openapi::api::core::v1::Event>(&());
    let api: Api<DynamicObject> =
        Api::namespaced_with(lab.client.clone(), &lab.namespace, &resource);
    let list = api.list(&ListParams::default()).await.unwrap();
    list.items.into_iter().map(|event| event.data).collect()
}

/// Nobody but somebody else can mend it: kstatus calls that stalled.
async fn is_stalled<K: Resource<DynamicType = ()>>(lab: &Lab<'_>, name: &str) -> bool {
    let api: Api<DynamicObject> = Api::namespaced_with(
        lab.client.clone(),
        &lab.namespace,
        &ApiResource::erase::<K>(&()),
    );
    let object = api.get(name).await.unwrap();
    let conditions = object.data["status"]["conditions"].as_array().cloned();
    conditions
        .unwrap_or_default()
        .iter()
        .any(|c| c["type"] == "Stalled" && c["status"] == "True")
}

/// No value of a Secret is in a status, an Event, or a log of either process.
async fn keeps_secrets(lab: &Lab<'_>, reverser: &Reverser, values: &[&str]) {
    let mut shown = Vec::new();
    for resource in [
        ApiResource::erase::<GitRepoConfig>(&()),
        ApiResource::erase::<GitDestination>(&()),
        ApiResource::erase::<WatchRule>(&()),
    ] {
        let api: Api<DynamicObject> =
            Api::namespaced_with(lab.client.clone(), &lab.namespace, &resource);
        for object in api.list(&ListParams::default()).await.unwrap() {
            shown.push((resource.kind.clone(), object.data["status"].to_string()));
        }
    }
    assert!(!shown.is_empty());
    for event in events(lab).await {
        shown.push(("an Event".to_owned(), event.to_string()));
    }
    let [reverser_log, webhook_log] = reverser.logs();
    assert!(!reverser_log.is_empty() && !webhook_log.is_empty());
    shown.push(("the reverser's log".to_owned(), reverser_log));
    shown.push(("the webhook's log".to_owned(), webhook_log));
    for value in values {
        let forms = [
            (*value).to_owned(),
            base64(value),
            base64(&format!("{USER}:{value}")),
        ];
        for (place, text) in &shown {
            let leak = forms.iter().find(|form| text.contains(form.as_str()));
            assert!(leak.is_none(), "{place} shows {value:?} as {leak:?}");
        }
    }
}

fn base64(text: &str) -> String {
    use k8s_openapi::ByteString;
    let encoded = serde_json::to_value(ByteString(text.as_bytes().to_vec())).unwrap();
    encoded.as_str().unwrap().to_owned()
}

/// The lab's repository, destination `all` and rule, none of which need be good.
async fn configure(lab: &Lab<'_>, url: &str) {
    apply_repo(lab, url).await;
    lab.destination("all", json!({})).await;
    lab.rule("rule", json!([{"resources": ["configmaps"]}]))
        .await;
}

async fn apply_repo(lab: &Lab<'_>, url: &str) {
    let spec = json!({
        "repoUrl": url, "allowedBranches": ["main"], "secretRef": {"name": "git"}, "push": {"lingerMs": 200},
    });
    lab.apply::<GitRepoConfig>("repo", spec).await.unwrap();
}

async fn credentials(lab: &Lab<'_>, password: &str) {
    let ca = lab.server.ca_pem();
    lab.secret(
        "git",
        &[("username", USER), ("password", password), ("ca.crt", ca)],
    )
    .await;
}

/// After mending: everything is Ready and what was written meanwhile is in Git.
async fn recovers(lab: &Lab<'_>) {
    lab.ready::<GitRepoConfig>("repo").await;
    lab.holds("meanwhile", "k", "1").await;
    lab.ready::<GitDestination>("all").await;
    lab.ready::<WatchRule>("rule").await;
    lab.settle().await;
    keeps_secrets(lab, Reverser::shared().await, &[PASSWORD]).await;
}

/// Something for Git, while Git can't have it; and what a destination of another repository does then.
async fn goes_on_elsewhere(lab: &Lab<'_>, healthy: &Lab<'_>) {
    create(&lab.maps("alice"), &map("meanwhile", "k", "1")).await;
    healthy.settle().await;
    healthy.ready::<GitDestination>("all").await;
}

async fn labs(prefix: &str) -> (Lab<'static>, Lab<'static>) {
    let healthy = Lab::shared(&format!("{prefix}-beside"))
        .await
        .watching(&["configmaps"])
        .await;
    (Lab::shared(prefix).await, healthy)
}
