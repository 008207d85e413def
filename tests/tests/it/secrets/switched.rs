//! What is asked for while a worker waits for its Git server, which it then carries out all the same.

use tests::control_plane::{ControlPlane, Options as PlaneOptions};
use tests::git::Fault;
use tests::reverser::Options;

use super::*;

const SECOND: &str = "clusters/second";

async fn scanned(reverser: &Reverser) -> f64 {
    let metrics = reverser.reverser_metrics().await;
    metrics.sum("gitopsreverser_objects_scanned_total")
}

/// Waits until a round of the worker hangs: it looks at the remote each second, and the remote is silent.
async fn hangs(lab: &Lab<'_>, reverser: &Reverser) {
    let before = lab.server.requests();
    lab.server.set_fault(Fault::Hang);
    eventually(PATIENCE, || async {
        let asked = lab.server.requests() - before;
        let metrics = reverser.reverser_metrics().await;
        let active = metrics.sum("gitopsreverser_repo_branch_active_workers");
        if asked > 0 && active > 0.0 {
            Ok(())
        } else {
            Err(format!("{asked} requests, {active} workers"))
        }
    })
    .await;
}

/// Waits until what was asked for has been listed, and is behind the round that hangs.
async fn is_listed(reverser: &Reverser, destination: &str, lab: &Lab<'_>, before: f64) {
    eventually(PATIENCE, || async {
        let status = lab.status::<GitDestination>(destination).await;
        let waiting = status["pendingChanges"].as_u64().unwrap_or_default();
        if scanned(reverser).await > before && waiting > 0 {
            Ok(())
        } else {
            Err(status)
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_asked_for_while_a_worker_waits_for_git_is_done_before_it_is_said_to_be() {
    let plane = ControlPlane::start(PlaneOptions::default()).await.unwrap();
    let options = Options {
        reverser_args: vec!["--drift-check-interval=1s".to_owned()],
        ..Options::default()
    };
    let reverser = Reverser::start(&plane, options).await.unwrap();
    let lab = Lab::on(&plane, "switched").await;
    lab.write_secret("alice", "one", "1").await;
    let lab = lab.watching(&["configmaps", "secrets"]).await;
    lab.policy("Plain").await;
    create(&lab.maps("alice"), &map("seen", "k", "v")).await;
    lab.holds("seen", "k", "v").await;
    let clear = BASE64.encode(VALUES[0]);
    let one = lab.secret_file("one", note("1")).await;
    assert_eq!(one["data"]["password"], clear);

    // Another destination on the branch.
    hangs(&lab, &reverser).await;
    let before = scanned(&reverser).await;
    lab.destination("second", json!({"baseFolder": SECOND}))
        .await;
    let rule =
        json!({"destinationRef": {"name": "second"}, "rules": [{"resources": ["configmaps"]}]});
    lab.apply::<WatchRule>("second", rule).await.unwrap();
    is_listed(&reverser, "second", &lab, before).await;
    lab.server.set_fault(Fault::None);
    lab.ready::<GitDestination>("second").await;
    let there = lab.path("seen").replace(FOLDER, SECOND);
    assert!(lab.repo.file(&there).is_some(), "{:?}", lab.repo.files());

    // Secrets are to be hidden from now on.
    hangs(&lab, &reverser).await;
    let before = scanned(&reverser).await;
    lab.destination("all", json!({"secretPolicy": "Redact"}))
        .await;
    is_listed(&reverser, "all", &lab, before).await;
    lab.server.set_fault(Fault::None);
    lab.ready::<GitDestination>("all").await;
    let text = lab.repo.file(&path(&lab, "one")).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(
        text.contains("redacted:") && !text.contains(&clear),
        "{text}"
    );
    lab.repo.fsck().unwrap();
    reverser.stop().await.unwrap();
}

#[tokio::test]
async fn what_was_not_pushed_of_a_destination_that_is_gone_never_is() {
    let plane = ControlPlane::start(PlaneOptions::default()).await.unwrap();
    let reverser = Reverser::start(&plane, Options::default()).await.unwrap();
    let lab = Lab::on(&plane, "withheld")
        .await
        .watching(&["configmaps", "secrets"])
        .await;
    lab.policy("Plain").await;
    lab.destination("second", json!({"baseFolder": SECOND}))
        .await;
    let rule =
        json!({"destinationRef": {"name": "second"}, "rules": [{"resources": ["configmaps"]}]});
    lab.apply::<WatchRule>("second", rule).await.unwrap();
    lab.ready::<GitDestination>("second").await;
    lab.write_secret("alice", "one", "1").await;
    lab.secret_file("one", note("1")).await;

    // Committed, and refused by the server.
    lab.repo
        .install_hook("pre-receive", "#!/bin/sh\necho no >&2\nexit 1\n");
    lab.apply_secret("bob", "one", secret("one", [VALUES[2], VALUES[1]], "2"))
        .await;
    lab.condition::<GitDestination>("all", |ready| ready["status"] == "False")
        .await;
    reverser.kill9_reverser();
    let destinations: Api<GitDestination> = Api::namespaced(lab.client.clone(), &lab.namespace);
    let deleted = destinations.delete("all", &DeleteParams::default()).await;
    deleted.unwrap();
    lab.repo.remove_hook("pre-receive");
    reverser.restart_reverser().await.unwrap();
    create(&lab.maps("alice"), &map("later", "k", "v")).await;
    let later = lab.path("later").replace(FOLDER, SECOND);
    eventually(PATIENCE, || async {
        lab.repo.file(&later).ok_or("it is not there")
    })
    .await;
    let objects = lab.repo.git(&EVERY_OBJECT).unwrap();
    assert!(objects.contains(&BASE64.encode(VALUES[0])));
    assert!(!objects.contains(&BASE64.encode(VALUES[2])));
    reverser.stop().await.unwrap();
}
