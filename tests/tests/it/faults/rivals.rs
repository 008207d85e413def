//! Two clusters that are pointed at one folder.

use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt as _;
use kube::api::Api;
use reverser::api::{GitDestination, GitRepoConfig, WatchRule};
use serde_json::json;
use tests::control_plane::{ControlPlane, Options as PlaneOptions};
use tests::eventually::eventually;
use tests::git::Commit;
use tests::reverser::{Options, Reverser};

use crate::crowd::{Crowd, maps};
use crate::lab::{FOLDER, Lab, PASSWORD, PATIENCE, USER, create, map, set};
use crate::truth::{git_equals_the_cluster, last_author, nobody_is_wronged};

/// What a cluster is called in a folder's marker.
async fn uid(plane: &ControlPlane) -> String {
    let namespaces: Api<Namespace> = Api::all(plane.client());
    namespaces.get("kube-system").await.unwrap().uid().unwrap()
}

/// The commits of a lab's destination.
fn commits_of(lab: &Lab<'_>) -> Vec<Commit> {
    let destination = format!("{}/all", lab.namespace);
    let mut commits = lab.repo.log();
    commits.retain(|commit| commit.trailer("Destination") == Some(destination.as_str()));
    commits
}

async fn is_refused(lab: &Lab<'_>, owner: &str) {
    let message = lab
        .not_ready::<GitDestination>("all", "ForeignFolder")
        .await;
    assert!(
        message.contains(&format!("set spec.takeOver to {owner}")),
        "{message}"
    );
    let status = lab.status::<GitDestination>("all").await;
    let conditions = status["conditions"].as_array().unwrap();
    let stalled = conditions.iter().find(|c| c["type"] == "Stalled").unwrap();
    assert_eq!(stalled["status"], "True", "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_clusters_on_one_folder_the_second_writes_nothing_until_it_is_told_to_take_over_and_then_the_first_one_stalls()
 {
    let (here, there) = tokio::join!(
        ControlPlane::start(PlaneOptions::default()),
        ControlPlane::start(PlaneOptions::default())
    );
    let (here, there) = (here.unwrap(), there.unwrap());
    let options = || Options {
        reverser_args: vec!["--drift-check-interval=1s".to_owned()],
        ..Options::default()
    };
    let first = Reverser::start(&here, options()).await.unwrap();
    let second = Reverser::start(&there, options()).await.unwrap();
    let (here_uid, there_uid) = (uid(&here).await, uid(&there).await);

    let ours = Lab::on(&here, "ours").await.watching(&["configmaps"]).await;
    // As is usual: a branch that is pushed to all the time leaves nobody a turn.
    let spec = json!({"repoUrl": ours.repo.url(), "allowedBranches": ["main"], "secretRef": {"name": "git"}});
    ours.apply::<GitRepoConfig>("repo", spec).await.unwrap();
    create(&ours.maps("ann"), &map("one", "k", "1")).await;
    ours.holds("one", "k", "1").await;
    let crowd = Crowd::start(&ours, &[maps()], 5);

    let mut theirs = Lab::on(&there, "theirs").await;
    theirs.repo = ours.repo.clone();
    create(&theirs.maps("ben"), &map("two", "k", "1")).await;
    theirs.repo_config(ours.repo.url(), &["main"]).await;
    let secret = [
        ("username", USER),
        ("password", PASSWORD),
        ("ca.crt", ours.server.ca_pem()),
    ];
    theirs.secret("git", &secret).await;
    theirs.destination("all", json!({})).await;
    theirs
        .rule("rule", json!([{"resources": ["configmaps"]}]))
        .await;
    is_refused(&theirs, &here_uid).await;
    theirs.ready::<WatchRule>("rule").await;

    // The first one goes on as if nobody else were there, and the second writes nothing, whatever happens.
    set(&theirs.maps("ben"), "two", "k", "2").await;
    set(&ours.maps("cleo"), "one", "k", "2").await;
    ours.holds("one", "k", "2").await;
    assert_eq!(
        last_author(&ours, &ours.path("one")),
        ("cleo".to_owned(), "exact".to_owned())
    );
    second.restart_reverser().await.unwrap();
    is_refused(&theirs, &here_uid).await;
    assert!(commits_of(&theirs).is_empty());
    // A name that is not the owner's changes nothing.
    theirs
        .destination("all", json!({"takeOver": there_uid}))
        .await;
    is_refused(&theirs, &here_uid).await;
    assert!(commits_of(&theirs).is_empty());

    // Under the first one's load.
    theirs
        .destination("all", json!({"takeOver": here_uid}))
        .await;
    theirs.ready::<GitDestination>("all").await;
    git_equals_the_cluster(&theirs, &[maps()]).await;
    is_refused(&ours, &there_uid).await;
    let acts = crowd.stop().await;
    assert_eq!(acts.failures, 0);
    let last = commits_of(&ours).len();
    let log = ours.repo.log();
    let claim = log.iter().position(|c| {
        c.subject.starts_with("Claim ")
            && c.trailer("Destination") == Some(&format!("{}/all", theirs.namespace))
    });
    let claim = claim.unwrap();
    let stray: Vec<_> = log[claim..]
        .iter()
        .filter(|c| c.trailer("Destination") == Some(&format!("{}/all", ours.namespace)))
        .collect();
    assert!(stray.is_empty(), "{stray:#?}");

    // The first one is told and restarted, and stays away.
    set(&ours.maps("cleo"), "one", "k", "3").await;
    first.restart_reverser().await.unwrap();
    set(&ours.maps("cleo"), "one", "k", "4").await;
    is_refused(&ours, &there_uid).await;
    set(&theirs.maps("dan"), "two", "k", "5").await;
    theirs.holds("two", "k", "5").await;
    assert_eq!(
        last_author(&theirs, &theirs.path("two")),
        ("dan".to_owned(), "exact".to_owned())
    );
    assert_eq!(commits_of(&ours).len(), last);
    let marker = String::from_utf8(
        ours.repo
            .file(&format!("{FOLDER}/.gitops-reverser"))
            .unwrap(),
    )
    .unwrap();
    assert!(marker.contains(&there_uid), "{marker}");

    // And back. The second one has to forget that it may take over, or they would take turns.
    theirs.destination("all", json!({})).await;
    theirs.ready::<GitDestination>("all").await;
    ours.destination("all", json!({"takeOver": there_uid}))
        .await;
    ours.ready::<GitDestination>("all").await;
    git_equals_the_cluster(&ours, &[maps()]).await;
    is_refused(&theirs, &here_uid).await;
    let named = nobody_is_wronged(&ours);
    eprintln!(
        "rivals: {} writes, {named} commits with a name of the crowd, {} commits in all",
        acts.writes,
        ours.repo.log().len()
    );
    eventually(PATIENCE, || async { ours.repo.fsck() }).await;
    first.stop().await.unwrap();
    second.stop().await.unwrap();
}
