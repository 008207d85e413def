//! Lists of several pages whose version etcd forgets before the last one.

use futures::stream::{self, StreamExt as _};
use kube::Api;
use kube::api::DeleteParams;
use reverser::api::{GitDestination, WatchRule};
use serde_json::{Value, json};
use tests::control_plane::{Gateway, Hold};
use tests::eventually::eventually;

use super::through_a_gateway;
use crate::crowd::{Acts, maps};
use crate::lab::{Lab, PATIENCE, create, delete, map, set};
use crate::truth::{
    folder_equals_the_cluster, git_equals_the_cluster, last_author, no_live_object_was_deleted,
};

/// More than two pages.
const MAPS: usize = 1_100;
/// More than one.
const SOME: usize = 150;
const SECOND: &str = "clusters/second";

fn name(number: usize) -> String {
    format!("m-{number:04}")
}

/// Holds every page but the first.
fn hold_next_page(gateway: &Gateway) -> Hold {
    gateway.hold(|request| request.contains("/configmaps?") && request.contains("continue="))
}

/// Changes before and behind where the list stands, and has the list's version forgotten. Returns what was deleted.
async fn meanwhile(lab: &Lab<'_>, round: usize) -> Vec<String> {
    let gone = [round, 600 + round, 1_000 + round].map(name);
    for name in &gone {
        delete(&lab.maps("cleo"), name).await;
    }
    for number in [100, 700, 1_050] {
        set(&lab.maps("ben"), &name(number), "round", &round.to_string()).await;
        let new = format!("{}-{round}", name(number));
        create(&lab.maps("dan"), &map(&new, "k", "v")).await;
    }
    lab.plane.compact_etcd().await.unwrap();
    gone.map(|name| lab.path(&name)).to_vec()
}

/// The token for an inconsistent rest of each list that expired.
fn offered(gateway: &Gateway) -> Vec<String> {
    let answers = gateway.answers().into_iter();
    let expired = answers.filter(|a| a.status == 410 && a.request.contains("continue="));
    expired
        .map(|answer| {
            let status: Value = serde_json::from_str(&answer.error).unwrap();
            status["metadata"]["continue"].as_str().unwrap().to_owned()
        })
        .collect()
}

/// Somebody creates so many.
async fn fill(lab: &Lab<'_>, maps: usize) {
    let ann = lab.maps("ann");
    stream::iter(0..maps)
        .for_each_concurrent(16, |number| {
            let ann = &ann;
            async move { create(ann, &map(&name(number), "k", "v")).await }
        })
        .await;
}

/// Has a second destination take what `resources` names, by a rule named after it.
async fn second_takes(lab: &Lab<'_>, resources: &str) {
    let rule = json!({"destinationRef": {"name": "second"}, "rules": [{"resources": [resources]}]});
    lab.apply::<WatchRule>(resources, rule).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_whose_next_page_expired_begins_anew_and_takes_no_inconsistent_rest() {
    // From etcd itself, and not as a stream.
    let flags = ["--watch-cache=false", "--feature-gates=WatchList=false"];
    let (plane, gateway, reverser) = through_a_gateway(&flags).await;
    let lab = Lab::on(&plane, "pages").await;
    fill(&lab, MAPS).await;
    let lab = lab.watching(&["configmaps"]).await;
    git_equals_the_cluster(&lab, &[maps()]).await;
    let mut acts = Acts::default();

    // The list that begins a chain of versions.
    let hold = hold_next_page(&gateway);
    reverser.respawn_reverser().unwrap();
    assert!(
        hold.has_caught(PATIENCE).await,
        "no second page was asked for"
    );
    for path in meanwhile(&lab, 1).await {
        acts.deleted(path);
    }
    drop(hold);
    git_equals_the_cluster(&lab, &[maps()]).await;
    let tokens = offered(&gateway);
    assert_eq!(tokens.len(), 1, "{tokens:?}");

    // The list beside the watch, for another destination.
    reverser.wait_ready().await.unwrap();
    lab.ready::<WatchRule>("rule").await;
    let hold = hold_next_page(&gateway);
    lab.destination("second", json!({"baseFolder": SECOND}))
        .await;
    second_takes(&lab, "configmaps").await;
    assert!(
        hold.has_caught(PATIENCE).await,
        "no second page was asked for"
    );
    let deleted = meanwhile(&lab, 2).await;
    // The watch has told of them already: with their authors.
    git_equals_the_cluster(&lab, &[maps()]).await;
    let exact = |name: &str| (name.to_owned(), "exact".to_owned());
    for path in &deleted {
        assert_eq!(last_author(&lab, path), exact("cleo"));
        acts.deleted(path.clone());
    }
    assert_eq!(last_author(&lab, &lab.path(&name(700))), exact("ben"));
    drop(hold);
    lab.ready::<GitDestination>("second").await;
    folder_equals_the_cluster(&lab, SECOND, &[maps()]).await;
    git_equals_the_cluster(&lab, &[maps()]).await;
    let tokens = offered(&gateway);
    assert_eq!(tokens.len(), 2, "{tokens:?}");

    for token in &tokens {
        let taken = gateway
            .answers()
            .into_iter()
            .filter(|a| a.request.contains(token.as_str()));
        assert_eq!(taken.count(), 0, "an inconsistent list was finished");
    }
    no_live_object_was_deleted(&lab, &acts);
    // Nothing but what was deleted ever went, there neither.
    let history = lab.repo.git(&[
        "log",
        "--diff-filter=D",
        "--no-renames",
        "--name-only",
        "--format=",
        "main",
        "--",
        SECOND,
    ]);
    let swept = history.unwrap();
    let swept: Vec<&str> = swept.lines().filter(|line| !line.is_empty()).collect();
    for path in &swept {
        let there = path.replace(SECOND, crate::lab::FOLDER);
        assert!(deleted.contains(&there), "{path}");
    }
    lab.repo.fsck().unwrap();
    eprintln!("pages: {} lists expired between two pages", tokens.len());
    reverser.stop().await.unwrap();
}

#[tokio::test]
async fn a_list_under_way_writes_nothing_for_a_rule_that_goes() {
    let (plane, gateway, reverser) = through_a_gateway(&["--feature-gates=WatchList=false"]).await;
    let lab = Lab::on(&plane, "leaves").await;
    fill(&lab, SOME).await;
    let lab = lab.watching(&["configmaps"]).await;
    lab.destination("second", json!({"baseFolder": SECOND}))
        .await;
    for resources in ["configmaps", "serviceaccounts"] {
        second_takes(&lab, resources).await;
    }
    lab.ready::<WatchRule>("configmaps").await;
    lab.ready::<GitDestination>("second").await;
    folder_equals_the_cluster(&lab, SECOND, &[maps()]).await;
    let left = || {
        let files = lab.repo.files().into_iter();
        files
            .filter(|file| file.starts_with(&format!("{SECOND}/v1/configmaps/")))
            .count()
    };

    // A list for both, and behind its first page one of them leaves.
    let hold = hold_next_page(&gateway);
    reverser.restart_reverser().await.unwrap();
    assert!(
        hold.has_caught(PATIENCE).await,
        "no second page was asked for"
    );
    let rules: Api<WatchRule> = Api::namespaced(lab.client.clone(), &lab.namespace);
    let gone = rules.delete("configmaps", &DeleteParams::default()).await;
    gone.unwrap();
    eventually(PATIENCE, || async {
        match left() {
            0 => Ok(()),
            left => Err(format!("{left} files are left")),
        }
    })
    .await;
    drop(hold);
    lab.ready::<GitDestination>("all").await;
    // Behind all that the list has brought.
    lab.settle().await;
    assert_eq!(left(), 0);
    let second = lab.status::<GitDestination>("second").await;
    assert_eq!(second["objects"], 0, "{second}");
    git_equals_the_cluster(&lab, &[maps()]).await;
    reverser.stop().await.unwrap();
}
