//! Repositories that can't be reached, entered or written to.

use super::*;

#[tokio::test]
async fn a_repository_that_cannot_be_reached() {
    let (lab, healthy) = labs("closed").await;
    credentials(&lab, PASSWORD).await;
    configure(&lab, &format!("https://127.0.0.1:{}/a.git", free_port())).await;
    for message in [
        told::<GitRepoConfig>(&lab, "repo", "RepositoryUnreachable").await,
        told::<GitDestination>(&lab, "all", "RepositoryUnreachable").await,
    ] {
        assert!(message.contains("127.0.0.1"), "{message}");
    }
    // It may come back by itself.
    assert!(!is_stalled::<GitDestination>(&lab, "all").await);
    goes_on_elsewhere(&lab, &healthy).await;
    apply_repo(&lab, lab.repo.url()).await;
    recovers(&lab).await;
}

#[tokio::test]
async fn a_password_that_the_server_refuses() {
    let (lab, healthy) = labs("password").await;
    credentials(&lab, "Tr0ub4dor&3 wrong").await;
    configure(&lab, lab.repo.url()).await;
    for message in [
        told::<GitRepoConfig>(&lab, "repo", "AuthenticationFailed").await,
        told::<GitDestination>(&lab, "all", "AuthenticationFailed").await,
    ] {
        assert!(message.contains("refused the credentials"), "{message}");
    }
    assert!(is_stalled::<GitDestination>(&lab, "all").await);
    goes_on_elsewhere(&lab, &healthy).await;
    keeps_secrets(&lab, Reverser::shared().await, &["Tr0ub4dor&3 wrong"]).await;
    credentials(&lab, PASSWORD).await;
    recovers(&lab).await;
}

#[tokio::test]
async fn a_secret_that_is_missing_and_then_incomplete() {
    let (lab, healthy) = labs("secret").await;
    configure(&lab, lab.repo.url()).await;
    let expected = format!("there is no Secret 'git' in namespace {}", lab.namespace);
    for message in [
        told::<GitRepoConfig>(&lab, "repo", "SecretNotFound").await,
        told::<GitDestination>(&lab, "all", "SecretNotFound").await,
    ] {
        assert_eq!(message, expected);
    }
    goes_on_elsewhere(&lab, &healthy).await;
    lab.secret("git", &[("username", USER)]).await;
    for message in [
        told::<GitRepoConfig>(&lab, "repo", "InvalidCredentials").await,
        told::<GitDestination>(&lab, "all", "InvalidCredentials").await,
    ] {
        assert!(
            message.contains("'git'") && message.contains("password"),
            "{message}"
        );
    }
    credentials(&lab, PASSWORD).await;
    recovers(&lab).await;
}

#[tokio::test]
async fn a_server_whose_certificate_nobody_vouches_for() {
    let (lab, healthy) = labs("untrusted").await;
    lab.secret("git", &[("username", USER), ("password", PASSWORD)])
        .await;
    configure(&lab, lab.repo.url()).await;
    for message in [
        told::<GitRepoConfig>(&lab, "repo", "ServerNotTrusted").await,
        told::<GitDestination>(&lab, "all", "ServerNotTrusted").await,
    ] {
        assert!(message.contains("certificate"), "{message}");
    }
    goes_on_elsewhere(&lab, &healthy).await;
    credentials(&lab, PASSWORD).await;
    recovers(&lab).await;
}

#[tokio::test]
async fn a_repository_that_does_not_exist() {
    let (lab, healthy) = labs("nowhere").await;
    credentials(&lab, PASSWORD).await;
    configure(&lab, &lab.server.url("nowhere-else")).await;
    for message in [
        told::<GitRepoConfig>(&lab, "repo", "RepositoryNotFound").await,
        told::<GitDestination>(&lab, "all", "RepositoryNotFound").await,
    ] {
        assert!(message.contains("not found"), "{message}");
    }
    goes_on_elsewhere(&lab, &healthy).await;
    // Nothing of ours changes: somebody makes the repository.
    let made = Lab {
        repo: lab.server.create_repo("nowhere-else"),
        ..lab
    };
    recovers(&made).await;
}

#[tokio::test]
async fn a_server_that_never_answers() {
    let (lab, healthy) = labs("hang").await;
    credentials(&lab, PASSWORD).await;
    lab.server.set_fault(Fault::Hang);
    configure(&lab, lab.repo.url()).await;
    // Well before the server is given up.
    goes_on_elsewhere(&lab, &healthy).await;
    for message in [
        told::<GitDestination>(&lab, "all", "RepositoryUnreachable").await,
        told::<GitRepoConfig>(&lab, "repo", "RepositoryUnreachable").await,
    ] {
        assert!(message.contains("in time"), "{message}");
    }
    healthy.settle().await;
    lab.server.set_fault(Fault::None);
    recovers(&lab).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_never_answer_keep_no_other_from_being_asked() {
    let plane = ControlPlane::start(Default::default()).await.unwrap();
    let reverser = Reverser::start(&plane, Default::default()).await.unwrap();
    let lab = Lab::on(&plane, "asked").await;
    let silent = GitServer::https(HttpOptions::basic(USER, PASSWORD)).unwrap();
    silent.set_fault(Fault::Hang);
    let ca = ("ca.crt", silent.ca_pem());
    lab.secret("silent", &[("username", USER), ("password", PASSWORD), ca])
        .await;
    // As many as are asked at once.
    for name in ["a", "b", "c", "d"] {
        let spec = json!({"repoUrl": silent.url(name), "allowedBranches": ["main"], "secretRef": {"name": "silent"}});
        lab.apply::<GitRepoConfig>(name, spec).await.unwrap();
    }
    lab.repo_config(lab.repo.url(), &["main"]).await;
    lab.ready::<GitRepoConfig>("repo").await;
    for name in ["a", "b", "c", "d"] {
        lab.not_ready::<GitRepoConfig>(name, "RepositoryUnreachable")
            .await;
    }
    reverser.stop().await.unwrap();
}

#[tokio::test]
async fn a_hook_that_refuses_the_push() {
    let (lab, healthy) = labs("hook").await;
    lab.repo.install_hook(
        "pre-receive",
        "#!/bin/sh\necho 'ask the platform team first' >&2\nexit 1\n",
    );
    credentials(&lab, PASSWORD).await;
    configure(&lab, lab.repo.url()).await;
    let message = told::<GitDestination>(&lab, "all", "PushRefused").await;
    assert!(message.contains("ask the platform team first"), "{message}");
    assert!(is_stalled::<GitDestination>(&lab, "all").await);
    // Reading is all that it is asked for.
    lab.ready::<GitRepoConfig>("repo").await;
    goes_on_elsewhere(&lab, &healthy).await;
    assert_eq!(lab.repo.head(), None);
    lab.repo.remove_hook("pre-receive");
    recovers(&lab).await;
    // Also after that long no name is lost.
    let versions = lab.versions(&lab.path("meanwhile"));
    assert_eq!(versions.last().unwrap().author_name, "alice");
}

#[tokio::test]
async fn a_directory_of_the_container_is_no_repository_unless_a_flag_says_so() {
    let (lab, healthy) = labs("directory").await;
    credentials(&lab, PASSWORD).await;
    configure(&lab, &format!("file://{}", lab.repo.path().display())).await;
    let message = told::<GitRepoConfig>(&lab, "repo", "FileURLNotAllowed").await;
    assert!(message.contains("--allow-file-urls"), "{message}");
    told::<GitDestination>(&lab, "all", "RepoConfigInvalid").await;
    goes_on_elsewhere(&lab, &healthy).await;
    assert_eq!(lab.repo.head(), None);
    apply_repo(&lab, lab.repo.url()).await;
    recovers(&lab).await;
}
