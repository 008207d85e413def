//! Commits that can be verified: with a key from a Secret, on a real cluster.

use std::path::Path;
use std::process::Command;

use reverser::api::{GitDestination, GitRepoConfig, WatchRule};
use serde_json::{Value, json};
use tests::control_plane::{ControlPlane, Options as PlaneOptions};
use tests::eventually::eventually;
use tests::reverser::{Options, Reverser};

use crate::lab::{Lab, PATIENCE, create, map, set};

/// A new key in OpenSSH's format, with the file that says whose signatures are good.
fn keygen(directory: &Path) -> String {
    let file = directory.join("key");
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-C", "bot", "-N", "", "-f"])
        .arg(&file)
        .status()
        .unwrap();
    assert!(made.success());
    let public = std::fs::read_to_string(directory.join("key.pub")).unwrap();
    std::fs::write(directory.join("allowed"), format!("bot {public}")).unwrap();
    std::fs::read_to_string(file).unwrap()
}

/// `%G?` and author of every commit of the branch: G is a good signature, N none.
fn judged(lab: &Lab<'_>, directory: &Path) -> Vec<(String, String)> {
    let allowed = directory.join("allowed");
    judged_by(
        lab,
        &format!("gpg.ssh.allowedSignersFile={}", allowed.display()),
    )
}

fn judged_by(lab: &Lab<'_>, setting: &str) -> Vec<(String, String)> {
    let log = lab
        .repo
        .git(&[
            "-c",
            setting,
            "log",
            "--reverse",
            "--format=%G? %an",
            "main",
        ])
        .unwrap();
    let pair = |line: &str| {
        let (verdict, author) = line.split_once(' ').unwrap();
        (verdict.to_owned(), author.to_owned())
    };
    log.lines().map(pair).collect()
}

/// A repository whose commits are signed with the Secret `key`, and a rule for all ConfigMaps.
async fn signing(lab: &Lab<'_>) {
    lab.repo_config(lab.repo.url(), &["main"]).await;
    lab.apply::<GitRepoConfig>(
        "repo",
        json!({"repoUrl": lab.repo.url(), "allowedBranches": ["main"], "secretRef": {"name": "git"},
               "push": {"lingerMs": 200}, "commit": {"signing": {"secretRef": {"name": "key"}}}}),
    )
    .await
    .unwrap();
    lab.destination("all", json!({})).await;
    lab.rule("rule", json!([{"resources": ["configmaps"]}]))
        .await;
    lab.ready::<WatchRule>("rule").await;
}

#[tokio::test]
async fn every_commit_verifies_and_none_is_made_without_a_key() {
    let directory = tempfile::tempdir().unwrap();
    let key = keygen(directory.path());
    let lab = Lab::shared("signed").await;
    signing(&lab).await;

    // No key, then one that is none: said, and nothing is committed.
    create(&lab.maps("alice"), &map("one", "k", "1")).await;
    for message in [
        lab.not_ready::<GitRepoConfig>("repo", "SecretNotFound")
            .await,
        lab.not_ready::<GitDestination>("all", "SecretNotFound")
            .await,
    ] {
        assert!(message.contains("'key'"), "{message}");
    }
    lab.secret("key", &[("ssh-privatekey", "-----BEGIN hunter2")])
        .await;
    for message in [
        lab.not_ready::<GitRepoConfig>("repo", "InvalidSigningKey")
            .await,
        lab.not_ready::<GitDestination>("all", "InvalidSigningKey")
            .await,
    ] {
        assert!(
            message.contains("'key'")
                && message.contains("OpenSSH")
                && !message.contains("hunter2"),
            "{message}"
        );
    }
    assert_eq!(lab.repo.head(), None);

    // What waited comes with its author, signed.
    lab.secret("key", &[("ssh-privatekey", key.as_str())]).await;
    lab.holds("one", "k", "1").await;
    lab.ready::<GitRepoConfig>("repo").await;
    // Replayed on a branch that somebody else has moved.
    lab.repo.commit_as_outsider("README.md", "theirs\n");
    set(&lab.maps("bob"), "one", "k", "2").await;
    lab.holds("one", "k", "2").await;
    lab.repo.commit_as_outsider("README.md", "theirs again\n");
    create(&lab.maps("carol"), &map("two", "k", "1")).await;
    lab.holds("two", "k", "1").await;
    let commits = judged(&lab, directory.path());
    for (verdict, author) in &commits {
        let wanted = if author == "Outsider" { "N" } else { "G" };
        assert_eq!(verdict, wanted, "{commits:?}");
    }
    for author in ["alice", "bob", "carol", "Outsider"] {
        assert!(commits.iter().any(|(_, it)| it == author), "{commits:?}");
    }

    // A key that breaks later stops what comes later.
    lab.secret("key", &[("ssh-privatekey", "broken")]).await;
    // A key that was read is good for half a minute.
    eventually(PATIENCE * 2, || async {
        write_something(&lab).await;
        let status: Value = lab.status::<GitDestination>("all").await;
        if status.to_string().contains("InvalidSigningKey") {
            Ok(())
        } else {
            Err(status)
        }
    })
    .await;
    let commits = judged(&lab, directory.path());
    assert!(
        commits
            .iter()
            .all(|(verdict, author)| author == "Outsider" || verdict == "G"),
        "{commits:?}"
    );
}

/// Something new to commit.
async fn write_something(lab: &Lab<'_>) {
    let value = rand::random::<u64>().to_string();
    set(&lab.maps("dave"), "two", "k", &value).await;
}

/// Runs gpg in a home of its own.
fn gpg(home: &Path, arguments: &[&str]) -> String {
    let output = Command::new("gpg")
        .arg("--homedir")
        .arg(home)
        .args(["--batch", "--pinentry-mode=loopback", "--passphrase="])
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn commits_are_signed_with_openpgp_too_and_no_log_shows_the_key() {
    // In /tmp, as the path of the agent's socket has 107 bytes at most.
    let home = tempfile::Builder::new().prefix("gpg").tempdir_in("/tmp");
    let home = home.unwrap();
    let generate = ["--quick-generate-key", "Bot", "ed25519", "sign", "never"];
    gpg(home.path(), &generate);
    let key = gpg(home.path(), &["--armor", "--export-secret-keys"]);
    let file = home.path().join("key");
    std::fs::write(&file, &key).unwrap();
    let packets = ["--list-packets", "--verbose", file.to_str().unwrap()];
    let packets = gpg(home.path(), &packets);
    let (_, secret) = packets.split_once("skey[2]: ").unwrap();
    let secret = secret.lines().next().unwrap().to_lowercase();
    let verify = home.path().join("verify");
    let script = format!(
        "#!/bin/sh\nexec gpg --homedir={} \"$@\"\n",
        home.path().display()
    );
    std::fs::write(&verify, script).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(&verify, executable).unwrap();

    let plane = ControlPlane::start(PlaneOptions::default()).await.unwrap();
    let options = Options {
        log_level: "trace".to_owned(),
        ..Options::default()
    };
    let reverser = Reverser::start(&plane, options).await.unwrap();
    let lab = Lab::on(&plane, "openpgp").await;
    lab.secret("key", &[("git.asc", key.as_str())]).await;
    signing(&lab).await;
    create(&lab.maps("alice"), &map("one", "k", "1")).await;
    lab.holds("one", "k", "1").await;

    let commits = judged_by(&lab, &format!("gpg.program={}", verify.display()));
    assert!(
        !commits.is_empty() && commits.iter().all(|(verdict, _)| verdict == "G"),
        "{commits:?}"
    );
    let [log, _] = reverser.logs();
    assert!(log.contains("TRACE") && !log.contains(&secret));
    let kill = ["--homedir", home.path().to_str().unwrap(), "--kill", "all"];
    Command::new("gpgconf").args(kill).status().unwrap();
    reverser.stop().await.unwrap();
}
