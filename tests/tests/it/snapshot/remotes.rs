//! How to log in.

use tests::git::{GitServer, HttpOptions};

use super::{FOLDER, Site, Snapshot, bare};
use crate::lab::{PASSWORD, USER, create, map, ssh_server};

/// Everything but credentials.
async fn command(site: &Site<'_>, url: &str) -> Snapshot {
    let flags = [
        format!("--repo={url}"),
        format!("--folder={FOLDER}"),
        format!("--kubeconfig={}", site.plane.kubeconfig_path().display()),
        format!("--namespace={}", site.namespace),
    ];
    Snapshot::new(site.directory.path()).await.flags(&flags)
}

fn directory(site: &Site<'_>, name: &str, files: &[(&str, &str)]) -> String {
    let path = site.directory.path().join(name);
    std::fs::create_dir(&path).unwrap();
    for (key, value) in files {
        std::fs::write(path.join(key), value).unwrap();
    }
    format!("--credentials-dir={}", path.display())
}

#[tokio::test]
async fn https_takes_a_password_or_a_token_from_files_or_the_environment() {
    let site = Site::on(bare().await, "https").await;
    create(&site.maps(), &map("one", "k", "v")).await;
    let ca = directory(&site, "ca", &[("ca.crt", site.server.ca_pem())]);
    command(&site, site.repo.url())
        .await
        .flags(&[ca.as_str()])
        .env("GITOPS_REVERSER_GIT_USERNAME", USER)
        .env("GITOPS_REVERSER_GIT_PASSWORD", PASSWORD)
        .run()
        .await
        .ended(0);
    assert!(site.repo.file(&site.map_file("one")).is_some());

    // The environment wins over the files.
    let said = command(&site, site.repo.url())
        .await
        .flags(&[format!(
            "--credentials-dir={}",
            site.credentials().display()
        )])
        .env("GITOPS_REVERSER_GIT_PASSWORD", "wrong-horse-battery")
        .run()
        .await;
    let shown = last_line(&said);
    assert!(shown.contains("refused the credentials"), "{shown}");
    assert!(!said.err.contains("wrong-horse") && !said.err.contains(PASSWORD));

    let said = command(&site, site.repo.url()).await.run().await;
    let shown = last_line(&said);
    assert!(shown.contains("not trusted"), "{shown}");

    let server = GitServer::http(HttpOptions::bearer("t0ken-of-the-bot")).unwrap();
    let repo = server.create_repo("bearer");
    let token = directory(&site, "token", &[("bearerToken", "t0ken-of-the-bot\n")]);
    command(&site, repo.url())
        .await
        .flags(&[token])
        .run()
        .await
        .ended(0);
    command(&site, repo.url())
        .await
        .flags(&["--diff"])
        .env("GITOPS_REVERSER_GIT_BEARER_TOKEN", "t0ken-of-the-bot")
        .run()
        .await
        .ended(0);
}

/// What is wrong, behind notes.
#[track_caller]
fn last_line(said: &super::Said) -> &str {
    assert_eq!(said.code, 2, "{}", said.err);
    let errors: Vec<&str> = said
        .err
        .lines()
        .filter(|l| l.starts_with("error: "))
        .collect();
    let [error] = errors.as_slice() else {
        panic!("{}", said.err)
    };
    error
}

#[tokio::test]
async fn ssh_takes_a_key_and_known_hosts_and_nothing_without_them() {
    let Some(server) = ssh_server() else {
        return;
    };
    let site = Site::on(bare().await, "ssh").await;
    create(&site.maps(), &map("one", "k", "v")).await;
    let repo = server.create_repo("snapshot");
    let key = server.private_key_pem();
    let half = directory(&site, "half", &[("ssh-privatekey", &key)]);
    let said = command(&site, repo.url()).await.flags(&[half]).run().await;
    assert!(last_line(&said).contains("known_hosts"), "{}", said.err);
    let said = command(&site, repo.url()).await.run().await;
    assert!(last_line(&said).contains("ssh-privatekey"), "{}", said.err);
    let hosts = server.known_hosts();
    let whole = directory(
        &site,
        "whole",
        &[("ssh-privatekey", &key), ("known_hosts", &hosts)],
    );
    command(&site, repo.url())
        .await
        .flags(&[whole])
        .run()
        .await
        .ended(0);
    assert!(repo.file(&site.map_file("one")).is_some());
}
