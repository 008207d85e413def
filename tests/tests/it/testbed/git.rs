use std::process::Stdio;

use tests::GitServer;
use tests::git::{Fault, GitClient, HttpOptions, Repo, SshOptions};
use tests::process::temp_dir;

fn push_from_a_clone(repo: &Repo, client: &GitClient) {
    let directory = temp_dir("clone").unwrap();
    let clone = directory.path().join("clone");
    repo.clone_to(&clone, client).unwrap();
    std::fs::write(clone.join("pushed.txt"), "pushed\n").unwrap();
    client.run(&clone, &["add", "."]).unwrap();
    client
        .run(
            &clone,
            &[
                "commit",
                "--quiet",
                "-m",
                "Push\n\nWhy.\n\nKubernetes-User: jane",
            ],
        )
        .unwrap();
    client
        .run(
            &clone,
            &["push", "--quiet", "origin", "HEAD:refs/heads/main"],
        )
        .unwrap();
}

fn assert_pushed(repo: &Repo) {
    assert_eq!(
        repo.file("pushed.txt").as_deref(),
        Some(b"pushed\n".as_slice())
    );
    assert_eq!(repo.files(), ["README.md", "pushed.txt"]);
    let log = repo.log();
    assert_eq!(log.len(), 2);
    assert_eq!(log[1].hash, repo.head().unwrap());
    assert_eq!(log[1].parents, [log[0].hash.clone()]);
    assert_eq!(log[1].author(), "Client <client@example.com>");
    assert_eq!(log[1].subject, "Push");
    assert_eq!(log[1].trailer("Kubernetes-User"), Some("jane"));
    assert_eq!(log[1].paths(), ["pushed.txt"]);
    repo.fsck().unwrap();
}

#[test]
fn https_takes_the_right_password() {
    let server = GitServer::https(HttpOptions::basic("bot", "s3cret")).unwrap();
    let repo = server.create_seeded_repo("shop");
    push_from_a_clone(&repo, &server.git_client());
    assert_pushed(&repo);
}

#[test]
fn https_refuses_a_wrong_password_and_none() {
    let server = GitServer::https(HttpOptions::basic("bot", "s3cret")).unwrap();
    let repo = server.create_seeded_repo("shop");
    let directory = temp_dir("clone").unwrap();
    for basic in [
        None,
        Some(("bot".to_owned(), "wrong".into())),
        Some(("other".to_owned(), "s3cret".into())),
    ] {
        let client = GitClient {
            basic,
            ..server.git_client()
        };
        let error = repo
            .clone_to(&directory.path().join("clone"), &client)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("Authentication failed") || error.contains("could not read Username"),
            "{error}"
        );
    }
}

#[test]
fn https_is_refused_by_a_client_that_does_not_know_its_authority() {
    let server = GitServer::https(HttpOptions::default()).unwrap();
    let repo = server.create_seeded_repo("shop");
    let directory = temp_dir("clone").unwrap();
    let client = GitClient {
        ca_file: None,
        ..server.git_client()
    };
    let error = repo
        .clone_to(&directory.path().join("clone"), &client)
        .unwrap_err()
        .to_string();
    assert!(error.contains("certificate"), "{error}");
    assert!(server.ca_pem().starts_with("-----BEGIN CERTIFICATE-----"));
}

#[test]
fn plain_http_takes_a_bearer_token_only() {
    let server = GitServer::http(HttpOptions::bearer("t0ken")).unwrap();
    let repo = server.create_seeded_repo("shop");
    let directory = temp_dir("clone").unwrap();
    let clone = directory.path().join("clone");
    assert!(repo.clone_to(&clone, &server.git_client()).is_err());
    let header = "http.extraHeader=Authorization: Bearer t0ken";
    let clone = clone.to_string_lossy();
    server
        .git_client()
        .run(
            directory.path(),
            &["-c", header, "clone", "--quiet", repo.url(), &clone],
        )
        .unwrap();
}

#[test]
fn a_chunked_push_of_megabytes_arrives() {
    let server = GitServer::https(HttpOptions::basic("bot", "s3cret")).unwrap();
    let repo = server.create_repo("large");
    let directory = temp_dir("clone").unwrap();
    let clone = directory.path().join("clone");
    let client = server.git_client();
    repo.clone_to(&clone, &client).unwrap();
    // What can't be compressed: git's own compression would leave little to stream.
    let mut noise = vec![0_u8; 24 << 20];
    let mut state = 1_u64;
    for byte in &mut noise {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        *byte = state.to_be_bytes()[0];
    }
    std::fs::write(clone.join("noise"), &noise).unwrap();
    client.run(&clone, &["add", "."]).unwrap();
    client
        .run(&clone, &["commit", "--quiet", "-m", "Add noise"])
        .unwrap();
    // Above http.postBuffer (1 MiB) git sends the pack chunked.
    client
        .run(
            &clone,
            &["push", "--quiet", "origin", "HEAD:refs/heads/main"],
        )
        .unwrap();
    assert!(repo.file("noise").is_some_and(|file| file == noise));
    let second = directory.path().join("second");
    repo.clone_to(&second, &client).unwrap();
    assert!(std::fs::read(second.join("noise")).unwrap() == noise);
}

#[test]
fn a_compressed_request_is_understood() {
    let server = GitServer::https(HttpOptions::default()).unwrap();
    let repo = server.create_repo("branches");
    for number in 0..40 {
        let commit = repo.commit_as_outsider("file", number.to_string());
        repo.git(&["branch", &format!("branch-{number}"), &commit])
            .unwrap();
    }
    // To want so many commits takes more than the kilobyte above which git compresses its request.
    let output = server
        .git_client()
        .git(server.directory())
        .env("GIT_TRACE_CURL", "1")
        .args(["clone", "--quiet", "--mirror", repo.url(), "mirror.git"])
        .output()
        .unwrap();
    let trace = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{trace}");
    assert!(trace.to_lowercase().contains("content-encoding: gzip"));
    assert!(trace.to_lowercase().contains("git-protocol: version=2"));
}

#[test]
fn faults_come_and_go_at_run_time() {
    let server = GitServer::https(HttpOptions::basic("bot", "s3cret")).unwrap();
    let repo = server.create_seeded_repo("shop");
    let list = || {
        server
            .git_client()
            .run(server.directory(), &["ls-remote", repo.url()])
    };
    for (fault, message) in [
        (Fault::Unauthorized, "Authentication failed"),
        (Fault::Status(403), "403"),
        (Fault::Status(503), "503"),
    ] {
        server.set_fault(fault);
        let error = list().unwrap_err().to_string();
        assert!(error.contains(message), "{fault:?}: {error}");
    }
    server.set_fault(Fault::Hang);
    let before = server.requests();
    let mut hanging = server
        .git_client()
        .git(server.directory())
        .args(["ls-remote", repo.url()])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    while server.requests() == before {
        assert!(hanging.try_wait().unwrap().is_none());
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(hanging.try_wait().unwrap().is_none());
    server.set_fault(Fault::None);
    assert!(
        hanging.wait().unwrap().success(),
        "a request that hung is served once the fault is lifted"
    );
    list().unwrap();
}

#[test]
fn ssh_takes_the_authorised_key_and_is_known_by_its_host_key() {
    let server = GitServer::ssh(SshOptions::default()).unwrap();
    let repo = server.create_repo("shop");
    repo.commit_as_outsider("README.md", "# shop\n");
    push_from_a_clone(&repo, &server.git_client());
    assert_pushed(&repo);
    assert!(server.private_key_pem().contains("PRIVATE KEY"));
}

#[test]
fn ssh_refuses_a_key_that_is_not_authorised() {
    let server = GitServer::ssh(SshOptions::default()).unwrap();
    let other = GitServer::ssh(SshOptions::default()).unwrap();
    let repo = server.create_repo("shop");
    let stranger = server
        .git_client()
        .ssh_command
        .unwrap()
        .split(" -i ")
        .next()
        .unwrap()
        .to_owned();
    let key = other
        .git_client()
        .ssh_command
        .unwrap()
        .split(" -i ")
        .nth(1)
        .unwrap()
        .to_owned();
    let client = GitClient {
        ssh_command: Some(format!("{stranger} -i {key}")),
        ..GitClient::default()
    };
    let directory = temp_dir("clone").unwrap();
    let error = repo
        .clone_to(&directory.path().join("clone"), &client)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("Permission denied"),
        "{error}\n{}",
        server.log()
    );
}

#[test]
fn history_is_told_oldest_first_with_what_each_commit_did() {
    let server = GitServer::http(HttpOptions::default()).unwrap();
    let repo = server.create_repo("shop");
    assert!(
        repo.log().is_empty()
            && repo.files().is_empty()
            && repo.head().is_none()
            && repo.reflog().is_empty()
    );
    let first = repo.commit_as_outsider("a/b.yaml", "1");
    let second = repo.commit_as_outsider("a/b.yaml", "2");
    let third = repo.plant_symlink("a/link", "../../etc/passwd");
    let fourth = repo.remove_as_outsider("a/b.yaml");
    let log = repo.log();
    let told: Vec<_> = log
        .iter()
        .map(|commit| (commit.hash.as_str(), commit.files[0].status))
        .collect();
    assert_eq!(
        told,
        [
            (&*first, 'A'),
            (&*second, 'M'),
            (&*third, 'A'),
            (&*fourth, 'D')
        ]
    );
    assert_eq!(repo.reflog(), [first, second, third, fourth]);
    assert_eq!(repo.files(), ["a/link"]);
    assert_eq!(
        repo.file("a/link").as_deref(),
        Some(b"../../etc/passwd".as_slice())
    );
    assert_eq!(repo.file("a/b.yaml"), None);
}

#[test]
fn a_hook_that_refuses_keeps_the_branch_as_it_was() {
    let server = GitServer::https(HttpOptions::default()).unwrap();
    let repo = server.create_seeded_repo("shop");
    let head = repo.head();
    let directory = temp_dir("clone").unwrap();
    let clone = directory.path().join("clone");
    let client = server.git_client();
    repo.clone_to(&clone, &client).unwrap();
    client
        .run(
            &clone,
            &["commit", "--quiet", "--allow-empty", "-m", "Refused"],
        )
        .unwrap();
    repo.install_hook("pre-receive", "#!/bin/sh\necho not today >&2\nexit 1\n");
    let push = || {
        client.run(
            &clone,
            &["push", "--quiet", "origin", "HEAD:refs/heads/main"],
        )
    };
    let error = push().unwrap_err().to_string();
    assert!(error.contains("not today"), "{error}");
    assert_eq!(repo.head(), head);
    repo.remove_hook("pre-receive");
    push().unwrap();
    assert_ne!(repo.head(), head);
}

#[test]
fn two_second_writers_lose_no_commit_to_each_other() {
    let server = GitServer::http(HttpOptions::default()).unwrap();
    let repo = server.create_seeded_repo("shop");
    std::thread::scope(|scope| {
        for writer in 0..2 {
            let repo = &repo;
            scope.spawn(move || {
                for number in 0..5 {
                    repo.commit_as_outsider(&format!("{writer}-{number}"), "x");
                }
            });
        }
    });
    assert_eq!(repo.files().len(), 11);
    assert_eq!(repo.log().len(), 11);
}
