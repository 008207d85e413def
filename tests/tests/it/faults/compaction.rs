//! Versions that etcd has forgotten by the time they are asked for.

use tests::control_plane::Gateway;
use tests::eventually::eventually;
use tests::reverser::Reverser;

use super::through_a_gateway;
use crate::crowd::{Crowd, maps};
use crate::lab::{Lab, PATIENCE, create, delete, map, set};
use crate::truth::{
    git_equals_the_cluster, last_author, no_live_object_was_deleted, nobody_is_wronged,
};

/// How often a watch was told that its version is too old.
async fn expired(reverser: &Reverser) -> f64 {
    let metrics = reverser.reverser_metrics().await;
    metrics
        .get(r#"gitopsreverser_watch_restarts_total{reason="expired"}"#)
        .unwrap()
}

/// Cuts the watch of ConfigMaps and keeps it from opening again, while people write and etcd is compacted, and then lets it
/// go on. With `restart` the apiserver is killed as well.
async fn cut_while_people_write(
    lab: &Lab<'_>,
    gateway: &Gateway,
    reverser: &Reverser,
    round: &str,
    restart: bool,
) {
    for name in ["changed", "deleted"] {
        create(&lab.maps("ann"), &map(name, "round", round)).await;
        lab.holds(name, "round", round).await;
    }
    let before = expired(reverser).await;
    let collection = format!("/namespaces/{}/configmaps?", lab.namespace);
    let hold = gateway
        .hold(move |request| request.contains(&collection) && request.contains("watch=true"));
    gateway.cut();
    assert!(hold.has_caught(PATIENCE).await, "it does not watch again");
    set(&lab.maps("ben"), "changed", "by", "ben").await;
    delete(&lab.maps("cleo"), "deleted").await;
    create(&lab.maps("dan"), &map("new", "round", round)).await;
    if restart {
        lab.plane.stop_apiserver();
    }
    lab.plane.compact_etcd().await.unwrap();
    if restart {
        // What it kept in memory goes with it.
        lab.plane.restart_apiserver().await.unwrap();
    }
    assert!(lab.repo.file(&lab.path("deleted")).is_some());
    drop(hold);

    eventually(PATIENCE, || async {
        match expired(reverser).await {
            now if now > before => Ok(()),
            now => Err(format!("expired {now} times, {before} before")),
        }
    })
    .await;
    lab.holds("changed", "by", "ben").await;
    lab.holds("new", "round", round).await;
    lab.lacks("deleted").await;
}

/// After that the chain is whole again.
async fn goes_on(lab: &Lab<'_>) {
    set(&lab.maps("fay"), "changed", "by", "fay").await;
    lab.holds("changed", "by", "fay").await;
    let exact = |name: &str| (name.to_owned(), "exact".to_owned());
    assert_eq!(last_author(lab, &lab.path("changed")), exact("fay"));
    for name in ["changed", "new"] {
        delete(&lab.maps("gil"), name).await;
        lab.lacks(name).await;
        assert_eq!(last_author(lab, &lab.path(name)), exact("gil"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_compacted_away_while_the_watch_was_cut_is_listed_anew_and_its_authors_are_known_by_content()
 {
    // Without a cache the apiserver knows what etcd knows, and a watch is told at once what is too old.
    let (plane, gateway, reverser) = through_a_gateway(&["--watch-cache=false"]).await;
    let lab = Lab::on(&plane, "compacted")
        .await
        .watching(&["configmaps"])
        .await;
    let crowd = Crowd::start(&lab, &[maps()], 1);
    let mut mine = Vec::new();
    for round in ["one", "two"] {
        cut_while_people_write(&lab, &gateway, &reverser, round, false).await;
        let known = |name: &str, tier: &str| (name.to_owned(), tier.to_owned());
        assert_eq!(
            last_author(&lab, &lab.path("changed")),
            known("ben", "content")
        );
        assert_eq!(
            last_author(&lab, &lab.path("deleted")),
            known("cleo", "content")
        );
        // A uid has one creation.
        assert_eq!(last_author(&lab, &lab.path("new")), known("dan", "exact"));
        goes_on(&lab).await;
        mine.extend(["changed", "deleted", "new"]);
    }
    let mut acts = crowd.stop().await;
    for name in mine {
        acts.deleted(lab.path(name));
    }
    git_equals_the_cluster(&lab, &[maps()]).await;
    no_live_object_was_deleted(&lab, &acts);
    let named = nobody_is_wronged(&lab);
    eprintln!(
        "compacted: {} writes, {} failed, {named} commits with a name of the crowd, {} without, expired {} times",
        acts.writes,
        acts.failures,
        lab.commits()
            .iter()
            .filter(|c| c.trailer("Attribution") == Some("none"))
            .count(),
        expired(&reverser).await,
    );
    lab.repo.fsck().unwrap();
    reverser.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_apiserver_that_was_killed_and_an_etcd_that_was_compacted_meanwhile_cost_no_change_and_wrong_nobody()
 {
    let (plane, gateway, reverser) = through_a_gateway(&[]).await;
    let lab = Lab::on(&plane, "killed-api")
        .await
        .watching(&["configmaps"])
        .await;
    let crowd = Crowd::start(&lab, &[maps()], 2);
    cut_while_people_write(&lab, &gateway, &reverser, "one", true).await;
    // What the sidecar saw of them is kept for a minute, and the restart may take longer.
    for (name, who) in [("changed", "ben"), ("deleted", "cleo"), ("new", "dan")] {
        let (author, tier) = last_author(&lab, &lab.path(name));
        assert!(
            tier == "none" || author == who,
            "{name}: {author} by {tier}"
        );
    }
    goes_on(&lab).await;
    let mut acts = crowd.stop().await;
    assert!(
        acts.failures > 0,
        "nobody noticed that the apiserver was away"
    );
    for name in ["changed", "deleted", "new"] {
        acts.deleted(lab.path(name));
    }
    git_equals_the_cluster(&lab, &[maps()]).await;
    no_live_object_was_deleted(&lab, &acts);
    let named = nobody_is_wronged(&lab);
    eprintln!(
        "killed-api: {} writes, {} failed, {named} commits with a name of the crowd",
        acts.writes, acts.failures
    );
    lab.repo.fsck().unwrap();
    reverser.stop().await.unwrap();
}
