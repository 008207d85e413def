//! Flags that no other test changes, each off its default and with its effect.

use std::time::Duration;

use reverser::api::{GitDestination, GitRepoConfig, WatchRule};
use serde_json::{Value, json};
use tests::control_plane::{ControlPlane, Options as PlaneOptions};
use tests::eventually::eventually;
use tests::git::Fault;
use tests::reverser::{Options, Reverser};

use crate::lab::{Lab, PATIENCE, create, map, set};

/// A control plane and a reverser with these flags, that is reached through a gateway where one is wanted.
async fn started(flags: &[&str]) -> (ControlPlane, Reverser) {
    let plane = ControlPlane::start(PlaneOptions::default()).await.unwrap();
    let options = Options {
        reverser_args: flags.iter().map(|&flag| flag.to_owned()).collect(),
        ..Options::default()
    };
    let reverser = Reverser::start(&plane, options).await.unwrap();
    (plane, reverser)
}

/// A destination that takes its limits from the flags.
async fn destination(lab: &Lab<'_>, name: &str, branch: &str, folder: &str) {
    lab.repo_config(lab.repo.url(), &["main", "other"]).await;
    let spec = json!({"repoUrl": lab.repo.url(), "allowedBranches": ["main", "other"], "secretRef": {"name": "git"}});
    lab.apply::<GitRepoConfig>("repo", spec).await.unwrap();
    lab.destination(name, json!({"branch": branch, "baseFolder": folder}))
        .await;
}

async fn rule(lab: &Lab<'_>, destination: &str, resources: &[&str]) {
    let spec =
        json!({"destinationRef": {"name": destination}, "rules": [{"resources": resources}]});
    lab.apply::<WatchRule>(destination, spec).await.unwrap();
    // Before it is known the destination is ready too: it has nothing to write.
    lab.ready::<WatchRule>(destination).await;
}

async fn apply(lab: &Lab<'_>, kind: &str, resource: &str, object: Value) {
    let kind = kube::api::ApiResource {
        group: String::new(),
        version: "v1".to_owned(),
        api_version: "v1".to_owned(),
        kind: kind.to_owned(),
        plural: resource.to_owned(),
    };
    let api: kube::Api<kube::api::DynamicObject> =
        kube::Api::namespaced_with(lab.user("alice"), &lab.namespace, &kind);
    let object = serde_json::from_value(object).unwrap();
    create(&api, &object).await;
}

#[tokio::test]
async fn what_goes_into_a_batch_and_what_a_star_means() {
    let (plane, reverser) = started(&[
        "--git-batch-max-files=3",
        "--discovery-exclude=limitranges",
        "--write-cluster-made=true",
    ])
    .await;
    let lab = Lab::on(&plane, "batches").await;
    for number in 0..10 {
        create(&lab.maps("alice"), &map(&format!("m-{number}"), "k", "v")).await;
    }
    let limits = json!({"metadata": {"name": "excluded"}, "spec": {"limits": []}});
    apply(&lab, "LimitRange", "limitranges", limits).await;
    let quota = json!({"metadata": {"name": "included"}, "spec": {"hard": {"pods": "5"}}});
    apply(&lab, "ResourceQuota", "resourcequotas", quota).await;
    destination(&lab, "all", "main", "live").await;
    rule(&lab, "all", &["*"]).await;
    lab.ready::<GitDestination>("all").await;

    let files = lab.repo.files();
    let of = |resource: &str, name: &str| {
        let path = format!("live/v1/{resource}/{}/{name}.yaml", lab.namespace);
        files.contains(&path)
    };
    assert!((0..10).all(|number| of("configmaps", &format!("m-{number}"))));
    assert!(of("resourcequotas", "included"), "{files:?}");
    assert!(!of("limitranges", "excluded"), "{files:?}");
    assert!(of("configmaps", "kube-root-ca.crt"), "{files:?}");
    let sizes: Vec<usize> = lab.commits().iter().map(|c| c.files.len()).collect();
    assert!(sizes.iter().all(|files| *files <= 3), "{sizes:?}");
    reverser.stop().await.unwrap();
}

#[tokio::test]
async fn how_large_and_how_old_a_batch_becomes_and_how_often_types_are_looked_for() {
    let plane = ControlPlane::start(PlaneOptions::default()).await.unwrap();
    let gateway = plane.gateway(None).unwrap();
    let flags = [
        "--git-batch-max-bytes-mib=4",
        "--git-batch-linger-ms=15000",
        "--discovery-refresh=1s",
    ];
    let options = Options {
        reverser_args: flags.map(str::to_owned).into(),
        kubeconfig: Some(gateway.kubeconfig()),
        ..Options::default()
    };
    let reverser = Reverser::start(&plane, options).await.unwrap();
    let lab = Lab::on(&plane, "large").await;
    let large = "x".repeat(400 << 10);
    for number in 0..8 {
        create(
            &lab.maps("alice"),
            &map(&format!("m-{number}"), "k", &large),
        )
        .await;
    }
    destination(&lab, "all", "main", "clusters/lab").await;
    rule(&lab, "all", &["configmaps"]).await;
    lab.ready::<GitDestination>("all").await;
    // Of these, two make a batch of the default's size.
    let sizes: Vec<usize> = lab.commits().iter().map(|c| c.files.len()).collect();
    assert!(sizes.iter().any(|files| *files > 2), "{sizes:?}");

    // Longer apart than the default's linger. A list that ends closes a batch at once, so not each pair stays together.
    let mut together = false;
    for round in 0..5 {
        let value = round.to_string();
        set(&lab.maps("alice"), "m-1", "k", &value).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        set(&lab.maps("alice"), "m-2", "k", &value).await;
        lab.holds("m-2", "k", &value).await;
        together |= lab.commits().last().unwrap().paths().len() == 2;
        if together {
            break;
        }
    }
    assert!(together, "{:?}", lab.commits());

    let looks = || {
        let answers = gateway.answers().into_iter();
        answers.filter(|a| a.request == "/apis").count()
    };
    let before = looks();
    eventually(PATIENCE, || async {
        match looks() {
            now if now >= before + 3 => Ok(()),
            now => Err(format!("{now} looks, {before} before")),
        }
    })
    .await;
    reverser.stop().await.unwrap();
}

/// How many workers are at it once two branches wait for a server that hangs.
async fn at_once(flags: &[&str]) -> f64 {
    let (plane, reverser) = started(flags).await;
    let lab = Lab::on(&plane, "workers").await;
    create(&lab.maps("alice"), &map("one", "k", "v")).await;
    destination(&lab, "all", "main", "clusters/lab").await;
    destination(&lab, "other", "other", "clusters/lab").await;
    for name in ["all", "other"] {
        rule(&lab, name, &["configmaps"]).await;
        lab.ready::<GitDestination>(name).await;
    }
    lab.server.set_fault(Fault::Hang);
    set(&lab.maps("alice"), "one", "k", "hung").await;
    let asked = lab.server.requests();
    let workers = || async {
        let metrics = reverser.reverser_metrics().await;
        metrics.sum("gitopsreverser_repo_branch_active_workers")
    };
    eventually(PATIENCE, || async {
        let both = lab.server.requests() > asked && workers().await > 0.0;
        both.then_some(()).ok_or("nobody has asked the server")
    })
    .await;
    // Both are due by now, twice over.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let workers = workers().await;
    lab.server.set_fault(Fault::None);
    lab.holds("one", "k", "hung").await;
    reverser.stop().await.unwrap();
    workers
}

#[tokio::test]
async fn how_many_workers_work_at_once() {
    let (global, of_one, default) = tokio::join!(
        at_once(&["--workers-max-global=1"]),
        at_once(&["--workers-max-per-repo=1"]),
        at_once(&[]),
    );
    assert_eq!((global, of_one, default), (1.0, 1.0, 2.0));
}

#[tokio::test]
async fn how_much_a_fetch_may_bring() {
    let (plane, reverser) = started(&["--git-fetch-max-mib=1"]).await;
    let lab = Lab::on(&plane, "fetched").await;
    create(&lab.maps("alice"), &map("one", "k", "v")).await;
    // Which no compression makes less.
    let noise: Vec<u8> = (0..3 << 20).map(|_| rand::random()).collect();
    lab.repo.commit_as_outsider("large", &noise);
    destination(&lab, "all", "main", "clusters/lab").await;
    rule(&lab, "all", &["configmaps"]).await;
    let message = lab
        .not_ready::<GitDestination>("all", "RepositoryTooLarge")
        .await;
    assert!(message.contains("more than 1 MiB"), "{message}");
    lab.repo.remove_as_outsider("large");
    lab.holds("one", "k", "v").await;
    lab.ready::<GitDestination>("all").await;
    reverser.stop().await.unwrap();
}
