//! One user who floods the webhook with writes that never happen, and the others.

use std::sync::atomic::{AtomicU32, Ordering};

use futures::future::{join, join_all};
use k8s_openapi::api::core::v1::{ConfigMap, ResourceQuota};
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;
use tests::eventually::eventually;
use tests::reverser::Reverser;

use crate::lab::{Lab, PATIENCE, create, map, set};

/// Requests of the flood that are under way at a time.
const STREAMS: u32 = 12;
/// Requests of each.
const EACH: u32 = 200;
const USERS: u32 = 10;
const UPDATES: u32 = 15;

/// A namespace in which no ConfigMap can be created any more. The quota is judged after the webhooks were called.
async fn full(lab: &Lab<'_>) {
    let quotas: Api<ResourceQuota> = Api::namespaced(lab.client.clone(), &lab.namespace);
    let quota = serde_json::from_value(json!({
        "metadata": {"name": "full"}, "spec": {"hard": {"count/configmaps": "0"}},
    }));
    create(&quotas, &quota.unwrap()).await;
    eventually(PATIENCE, || async {
        let quota = quotas.get("full").await.unwrap();
        let known = quota.status.and_then(|status| status.used);
        known.map(|_| ()).ok_or("the quota is not in force")
    })
    .await;
}

/// What mallory sends: every other one is refused, the others are dry runs on objects of other people.
async fn flood(refused: &Api<ConfigMap>, others: &Api<ConfigMap>, stream: u32) -> u32 {
    let mut denied = 0;
    for n in 0..EACH {
        let tag = format!("{stream}-{n}");
        let user = n % USERS;
        match n % 3 {
            0 => {
                let object = map(&format!("never-{tag}"), "k", &tag);
                let answer = refused.create(&PostParams::default(), &object).await;
                denied += u32::from(code(&answer) == 403);
            }
            1 => {
                // Has a name that is taken, or will be: of no effect either way once the object is there.
                let object = map(&format!("object-{user}"), "k", &tag);
                let answer = others.create(&PostParams::default(), &object).await;
                denied += u32::from(code(&answer) == 409);
            }
            _ => {
                let dry = PatchParams {
                    dry_run: true,
                    ..PatchParams::default()
                };
                let patch = Patch::Merge(json!({"data": {"k": tag}}));
                let answer = others.patch(&format!("object-{user}"), &dry, &patch).await;
                denied += u32::from(answer.is_ok());
            }
        }
    }
    denied
}

fn code<T>(answer: &kube::Result<T>) -> u16 {
    match answer {
        Err(kube::Error::Api(status)) => status.code,
        _ => 0,
    }
}

#[tokio::test]
async fn a_flood_of_writes_that_never_happen_costs_nobody_else_an_author() {
    let dam = Lab::shared("dam").await.watching(&["configmaps"]).await;
    let lab = Lab::shared("shore").await.watching(&["configmaps"]).await;
    full(&dam).await;
    for user in 0..USERS {
        let name = format!("object-{user}");
        create(&lab.maps(&format!("user-{user}")), &map(&name, "k", "0")).await;
    }
    let before = Reverser::shared().await.reverser_metrics().await;

    let held_back = AtomicU32::new(0);
    let streams = (0..STREAMS).map(|stream| {
        let (refused, others) = (dam.maps("mallory"), lab.maps("mallory"));
        let held_back = &held_back;
        async move {
            held_back.fetch_add(flood(&refused, &others, stream).await, Ordering::Relaxed);
        }
    });
    let writers = (0..USERS).map(|user| {
        let maps = lab.maps(&format!("user-{user}"));
        async move {
            for n in 1..=UPDATES {
                // Swings, so that old keys come back while the flood goes on.
                set(&maps, &format!("object-{user}"), "k", &(n % 3).to_string()).await;
            }
        }
    });
    join(join_all(streams), join_all(writers)).await;
    assert_eq!(held_back.into_inner(), STREAMS * EACH);

    for user in 0..USERS {
        let name = format!("object-{user}");
        lab.holds(&name, "k", &(UPDATES % 3).to_string()).await;
        let author = format!("user-{user}");
        for commit in lab.versions(&lab.path(&name)) {
            assert_eq!(
                (commit.author_name.as_str(), commit.trailer("Attribution")),
                (author.as_str(), Some("exact")),
                "{commit:#?}"
            );
        }
    }
    for lab in [&dam, &lab] {
        let by_mallory = lab
            .commits()
            .iter()
            .filter(|c| c.author_name == "mallory")
            .count();
        assert_eq!(by_mallory, 0);
    }
    let after = Reverser::shared().await.reverser_metrics().await;
    let received = "gitopsreverser_observations_received_total";
    let flooded = after.sum(received) - before.sum(received);
    // A dry run is none; the rest was observed, and waited in vain.
    assert!(flooded >= f64::from(STREAMS * EACH / 3 * 2), "{flooded}");
}
