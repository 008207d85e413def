//! SIGTERM: what was received is pushed, within a bound.

use std::time::{Duration, Instant};

use reverser::api::{GitDestination, GitRepoConfig, WatchRule};
use serde_json::json;
use tests::control_plane::{ControlPlane, Options as PlaneOptions};
use tests::eventually::eventually;
use tests::git::Fault;
use tests::reverser::{Options, Reverser};

use crate::lab::{Lab, PATIENCE, create, map};

/// What a pod is given where nobody says otherwise. The reverser must not need it all.
const GRACE: Duration = Duration::from_secs(30);

const MAPS: usize = 60;

#[tokio::test]
async fn what_was_received_is_pushed_before_the_end() {
    let plane = ControlPlane::start(PlaneOptions::default()).await.unwrap();
    let options = Options {
        reverser_args: vec!["--git-batch-max-wait-sec=600".to_owned()],
        ..Options::default()
    };
    let reverser = Reverser::start(&plane, options).await.unwrap();
    let lab = Lab::on(&plane, "ending").await;
    lab.repo_config(lab.repo.url(), &["main"]).await;
    // What a list finds is pushed at once, but nothing else is for a minute.
    lab.apply::<GitRepoConfig>(
        "repo",
        json!({"repoUrl": lab.repo.url(), "allowedBranches": ["main"], "secretRef": {"name": "git"},
               "push": {"lingerMs": 60_000}}),
    )
    .await
    .unwrap();
    lab.destination("all", json!({})).await;
    lab.rule("rule", json!([{"resources": ["configmaps"]}]))
        .await;
    lab.ready::<WatchRule>("rule").await;
    lab.ready::<GitDestination>("all").await;
    let head = lab.repo.head();
    for number in 0..MAPS {
        let user = if number % 2 == 0 { "ann" } else { "ben" };
        create(&lab.maps(user), &map(&format!("m{number}"), "k", "v")).await;
    }
    eventually(PATIENCE, || async {
        let metrics = reverser.reverser_metrics().await;
        match metrics.get("gitopsreverser_repo_branch_queue_depth") {
            Some(depth) if depth >= MAPS as f64 => Ok(()),
            depth => Err(format!("{depth:?}")),
        }
    })
    .await;
    assert_eq!(lab.repo.head(), head);
    let ended = reverser.terminate_reverser(GRACE).await;
    assert!(ended.is_some_and(|status| status.success()), "{ended:?}");
    for number in 0..MAPS {
        let user = if number % 2 == 0 { "ann" } else { "ben" };
        let versions = lab.versions(&lab.path(&format!("m{number}")));
        assert_eq!(versions.len(), 1, "m{number}");
        assert_eq!(versions[0].author_name, user);
    }
    lab.repo.fsck().unwrap();
}

#[tokio::test]
async fn a_git_server_that_never_answers_does_not_hold_up_the_end() {
    let plane = ControlPlane::start(PlaneOptions::default()).await.unwrap();
    let reverser = Reverser::start(&plane, Options::default()).await.unwrap();
    let lab = Lab::on(&plane, "hanging")
        .await
        .watching(&["configmaps"])
        .await;
    create(&lab.maps("ann"), &map("one", "k", "v")).await;
    lab.holds("one", "k", "v").await;
    let requests = lab.server.requests();
    lab.server.set_fault(Fault::Hang);
    create(&lab.maps("ann"), &map("two", "k", "v")).await;
    eventually(PATIENCE, || async {
        let more = lab.server.requests() - requests;
        if more > 0 {
            Ok(())
        } else {
            Err("it does not push")
        }
    })
    .await;
    let asked = Instant::now();
    let ended = reverser.terminate_reverser(GRACE).await;
    assert!(ended.is_some_and(|status| status.success()), "{ended:?}");
    eprintln!("hanging: ended after {:?}", asked.elapsed());
    // Its commit was saved, and goes where it belongs.
    lab.server.set_fault(Fault::None);
    reverser.restart_reverser().await.unwrap();
    lab.holds("two", "k", "v").await;
    let versions = lab.versions(&lab.path("two"));
    assert_eq!(versions[0].author_name, "ann");
    reverser.stop().await.unwrap();
}
