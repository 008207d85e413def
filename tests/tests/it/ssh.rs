//! The whole path over SSH.

use reverser::api::{GitDestination, GitRepoConfig, WatchRule};
use serde_json::json;

use crate::lab::{Lab, create, map, ssh_server};

#[tokio::test]
async fn a_repository_over_ssh_is_written_to_with_the_key_of_its_secret() {
    let Some(server) = ssh_server() else {
        return;
    };
    let mut lab = Lab::shared("ssh").await;
    lab.repo = server.create_repo("ssh");
    let url = lab.repo.url().to_owned();

    // Without known_hosts the server can't be told from another: nothing is sent to it.
    let key = server.private_key_pem();
    lab.secret("git-ssh", &[("ssh-privatekey", &key)]).await;
    let config =
        json!({"repoUrl": url, "allowedBranches": ["main"], "secretRef": {"name": "git-ssh"}});
    lab.apply::<GitRepoConfig>("repo", config).await.unwrap();
    let message = lab
        .not_ready::<GitRepoConfig>("repo", "InvalidCredentials")
        .await;
    assert!(message.contains("known_hosts"), "{message}");

    let hosts = server.known_hosts();
    lab.secret(
        "git-ssh",
        &[("ssh-privatekey", &key), ("known_hosts", &hosts)],
    )
    .await;
    lab.ready::<GitRepoConfig>("repo").await;
    lab.destination("all", json!({})).await;
    lab.rule("rule", json!([{"resources": ["configmaps"]}]))
        .await;
    lab.ready::<WatchRule>("rule").await;
    lab.ready::<GitDestination>("all").await;
    create(&lab.maps("alice"), &map("one", "k", "1")).await;
    lab.holds("one", "k", "1").await;
    assert_eq!(lab.versions(&lab.path("one"))[0].author_name, "alice");
    lab.repo.fsck().unwrap();
}
