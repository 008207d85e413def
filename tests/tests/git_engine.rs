//! The Git engine on real servers: what `file://` can't show. A binary of its own, because libgit2's limits, which these
//! tests lower, are the process's.

// clippy.toml allows it in test functions only, not in what they share.
#![allow(clippy::unwrap_used)]

#[path = "git_engine/bounds.rs"]
mod bounds;
#[path = "git_engine/dripping.rs"]
mod dripping;
#[path = "git_engine/faults.rs"]
mod faults;
#[path = "git_engine/growth.rs"]
mod growth;
#[path = "git_engine/killed.rs"]
mod killed;
#[path = "git_engine/remotes.rs"]
mod remotes;
#[path = "git_engine/rivals.rs"]
mod rivals;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reverser::commit::{CommitPlan, PathChange, Signature};
use reverser::git::limits::{Limits, init_process};
use reverser::git::{
    CommitOutcome, Credentials, CredentialsError, Engine, EngineError, EngineOptions, PushError,
    PushOutcome, RefreshOutcome, RemoteError, RepoUrl, Resumed,
};
use tests::git::{Fault, HttpOptions, Repo, SshOptions};
use tests::process::temp_dir;
use tests::{GitServer, git::SshGitServer};

fn init() {
    static HOME: OnceLock<tempfile::TempDir> = OnceLock::new();
    HOME.get_or_init(|| {
        let home = tempfile::tempdir().unwrap();
        let limits = Limits {
            connect: Duration::from_secs(2),
            silence: Duration::from_secs(2),
            discovery: Duration::from_secs(6),
            transfer: Duration::from_secs(15),
            references: 1 << 20,
            received: 16 << 20,
        };
        init_process(home.path(), limits).unwrap();
        home
    });
}

fn person(name: &str) -> Signature {
    Signature {
        name: name.to_owned(),
        email: format!("{name}@example.com"),
    }
}

fn secret(url: &str, pairs: &[(&str, &str)]) -> Result<Credentials, CredentialsError> {
    let data: BTreeMap<String, Vec<u8>> = pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()))
        .collect();
    Credentials::from_secret(&RepoUrl::parse(url).unwrap(), &data)
}

fn open(work_dir: &Path, url: &str, credentials: Credentials) -> Result<Engine, EngineError> {
    init();
    Engine::open(EngineOptions {
        signer: None,
        work_dir: work_dir.join("clone"),
        url: RepoUrl::parse(url).unwrap(),
        branch: "main".to_owned(),
        credentials,
        committer: person("bot"),
        folders: vec!["x".to_owned()],
        marker: String::new(),
    })
}

fn kept(kept: usize) -> Resumed {
    Resumed { kept, dropped: 0 }
}

fn plan(author: &str, path: &str, content: &str) -> CommitPlan {
    CommitPlan {
        author: person(author),
        message: format!("Write {path}\n\nKubernetes-User: {author}\n"),
        changes: vec![PathChange {
            path: path.to_owned(),
            content: Some(Bytes::copy_from_slice(content.as_bytes())),
        }],
    }
}

/// Commits, pushes, is overtaken, pushes again, is opened again.
fn works_all_the_way(repo: &Repo, work_dir: &Path, url: &str, credentials: &Credentials) {
    let mut engine = open(work_dir, url, credentials.clone()).unwrap();
    assert!(matches!(
        engine.commit(plan("alice", "x/a.yaml", "a\n")).unwrap(),
        CommitOutcome::Committed { .. }
    ));
    assert_eq!(
        engine.push().unwrap(),
        PushOutcome::Pushed {
            commits: 1,
            replays: 0
        }
    );
    engine.commit(plan("bob", "x/b.yaml", "b\n")).unwrap();
    repo.commit_as_outsider("docs/theirs.md", "theirs\n");
    assert_eq!(
        engine.push().unwrap(),
        PushOutcome::Pushed {
            commits: 1,
            replays: 1
        }
    );
    repo.commit_as_outsider("x/c.yaml", "c\n");
    assert!(matches!(
        engine.refresh().unwrap(),
        RefreshOutcome::Moved { .. }
    ));
    assert_eq!(engine.refresh().unwrap(), RefreshOutcome::Unchanged);
    engine.commit(plan("alice", "x/a.yaml", "again\n")).unwrap();
    engine.persist().unwrap();
    drop(engine);
    let mut engine = open(work_dir, url, credentials.clone()).unwrap();
    assert_eq!(engine.resumed(), kept(1));
    assert_eq!(
        engine.push().unwrap(),
        PushOutcome::Pushed {
            commits: 1,
            replays: 0
        }
    );
    assert_eq!(
        repo.files(),
        [
            "README.md",
            "docs/theirs.md",
            "x/a.yaml",
            "x/b.yaml",
            "x/c.yaml"
        ]
    );
    let authors: Vec<String> = repo
        .log()
        .iter()
        .skip(1)
        .map(tests::git::Commit::author)
        .collect();
    let ours = |name: &str| format!("{name} <{name}@example.com>");
    let theirs = || "Outsider <outsider@example.com>".to_owned();
    assert_eq!(
        authors,
        [
            ours("alice"),
            theirs(),
            ours("bob"),
            theirs(),
            ours("alice")
        ]
    );
    repo.fsck().unwrap();
}

#[test]
fn https_with_basic_authentication_and_a_private_ca() {
    let server = GitServer::https(HttpOptions::basic("bot", "s3cret")).unwrap();
    let repo = server.create_seeded_repo("shop");
    let directory = temp_dir("engine").unwrap();
    let pairs = [
        ("username", "bot"),
        ("password", "s3cret"),
        ("ca.crt", server.ca_pem()),
    ];
    let credentials = secret(repo.url(), &pairs).unwrap();
    works_all_the_way(&repo, directory.path(), repo.url(), &credentials);
}

/// Wherever a server leads us, the credentials stay with the host that they were given for.
#[test]
fn a_redirect_to_another_host_is_refused_and_nothing_is_sent_there() {
    let server = GitServer::https(HttpOptions::basic("bot", "s3cret")).unwrap();
    let elsewhere = GitServer::https(HttpOptions::basic("bot", "s3cret")).unwrap();
    let repo = server.create_seeded_repo("shop");
    let theirs = elsewhere.create_seeded_repo("shop");
    let before = theirs.head();
    // Not for want of trust.
    let ca = format!("{}\n{}", server.ca_pem(), elsewhere.ca_pem());
    let bearer = [("bearerToken", "t0ken"), ("ca.crt", ca.as_str())];
    let basic = [
        ("username", "bot"),
        ("password", "s3cret"),
        ("ca.crt", ca.as_str()),
    ];
    let directory = temp_dir("engine").unwrap();
    let basic = secret(repo.url(), &basic).unwrap();
    let mut engine = open(directory.path(), repo.url(), basic.clone()).unwrap();
    engine.commit(plan("alice", "x/a.yaml", "a\n")).unwrap();
    let port = elsewhere.base_url().rsplit(':').next().unwrap();
    server.set_fault(Fault::Redirect(port.parse().unwrap()));
    let asked = elsewhere.requests();
    engine.push().unwrap_err();
    for credentials in [basic, secret(repo.url(), &bearer).unwrap()] {
        let other = temp_dir("engine").unwrap();
        let error = open(other.path(), repo.url(), credentials).err().unwrap();
        assert!(error.to_string().contains("redirect"), "{error}");
    }
    assert_eq!(elsewhere.requests(), asked);
    assert_eq!(theirs.head(), before);
    server.set_fault(Fault::None);
    engine.push().unwrap();
    assert!(repo.file("x/a.yaml").is_some());
}

#[test]
fn https_with_a_bearer_token() {
    let server = GitServer::https(HttpOptions::bearer("t0ken")).unwrap();
    let repo = server.create_seeded_repo("shop");
    let directory = temp_dir("engine").unwrap();
    let credentials = secret(
        repo.url(),
        &[("bearerToken", "t0ken"), ("ca.crt", server.ca_pem())],
    )
    .unwrap();
    works_all_the_way(&repo, directory.path(), repo.url(), &credentials);
    let wrong = secret(
        repo.url(),
        &[("bearerToken", "wr0ng"), ("ca.crt", server.ca_pem())],
    )
    .unwrap();
    let error = open(directory.path(), repo.url(), wrong).err().unwrap();
    assert!(
        error.is_auth() && !error.to_string().contains("wr0ng"),
        "{error}"
    );
}

#[test]
fn unknown_ca_is_not_trusted_and_gets_no_password() {
    let server = GitServer::https(HttpOptions::basic("bot", "s3cret")).unwrap();
    let other = GitServer::https(HttpOptions::default()).unwrap();
    let repo = server.create_seeded_repo("shop");
    let directory = temp_dir("engine").unwrap();
    let login = [("username", "bot"), ("password", "s3cret")];
    let with_other_ca = [&login[..], &[("ca.crt", other.ca_pem())]].concat();
    for pairs in [&login[..], &with_other_ca] {
        let error = open(
            directory.path(),
            repo.url(),
            secret(repo.url(), pairs).unwrap(),
        )
        .err()
        .unwrap();
        assert!(
            matches!(error, EngineError::Remote(RemoteError::Untrusted { .. })),
            "{error}"
        );
        assert!(error.is_auth());
    }
    assert_eq!(server.requests(), 0);
}

#[test]
fn wrong_password_is_an_auth_error_until_the_secret_is_rotated() {
    let server = GitServer::http(HttpOptions::basic("bot", "s3cret")).unwrap();
    let repo = server.create_seeded_repo("shop");
    let directory = temp_dir("engine").unwrap();
    let with =
        |password| secret(repo.url(), &[("username", "bot"), ("password", password)]).unwrap();
    let error = open(directory.path(), repo.url(), with("wr0ng"))
        .err()
        .unwrap();
    assert!(
        error.is_auth() && !error.to_string().contains("wr0ng"),
        "{error}"
    );
    let error = open(directory.path(), repo.url(), Credentials::none())
        .err()
        .unwrap();
    assert!(
        error.is_auth() && error.to_string().contains("secretRef"),
        "{error}"
    );
    let mut engine = open(directory.path(), repo.url(), with("s3cret")).unwrap();
    engine.commit(plan("alice", "x/a.yaml", "a\n")).unwrap();
    engine.set_credentials(with("wr0ng"));
    assert!(engine.push().unwrap_err().is_auth());
    assert!(engine.has_unpushed());
    engine.set_credentials(with("s3cret"));
    assert_eq!(
        engine.push().unwrap(),
        PushOutcome::Pushed {
            commits: 1,
            replays: 0
        }
    );
}

#[test]
fn repository_that_is_not_there_is_not_found() {
    let server = GitServer::http(HttpOptions::default()).unwrap();
    let directory = temp_dir("engine").unwrap();
    let error = open(
        directory.path(),
        &server.url("nothing"),
        Credentials::none(),
    )
    .err()
    .unwrap();
    assert!(error.is_not_found(), "{error}");
    let url = server.url("nothing");
    drop(server);
    let error = open(directory.path(), &url, Credentials::none())
        .err()
        .unwrap();
    assert!(error.is_unreachable(), "{error}");
}

#[test]
fn empty_repository_gets_its_first_commit_over_http() {
    let server = GitServer::http(HttpOptions::default()).unwrap();
    let repo = server.create_repo("empty");
    let directory = temp_dir("engine").unwrap();
    let mut engine = open(directory.path(), repo.url(), Credentials::none()).unwrap();
    assert_eq!(engine.tip(), None);
    engine.commit(plan("alice", "x/a.yaml", "a\n")).unwrap();
    engine.push().unwrap();
    assert_eq!(repo.files(), ["x/a.yaml"]);
    repo.fsck().unwrap();
}

#[test]
fn server_that_refuses_is_quoted_and_commits_stay() {
    let server = GitServer::http(HttpOptions::default()).unwrap();
    let repo = server.create_seeded_repo("shop");
    let directory = temp_dir("engine").unwrap();
    let mut engine = open(directory.path(), repo.url(), Credentials::none()).unwrap();
    engine.commit(plan("alice", "x/a.yaml", "a\n")).unwrap();
    for hook in ["pre-receive", "update"] {
        repo.install_hook(
            hook,
            "#!/bin/sh\necho 'GL-HOOK-ERR: the freeze ends on Monday' >&2\nexit 1\n",
        );
        match engine.push().unwrap_err() {
            PushError::Refused { message } => {
                assert!(
                    message.contains("the freeze ends on Monday")
                        && message.contains("hook declined"),
                    "{message}"
                );
            }
            error => panic!("{error}"),
        }
        repo.remove_hook(hook);
    }
    assert!(engine.has_unpushed());
    assert_eq!(
        engine.push().unwrap(),
        PushOutcome::Pushed {
            commits: 1,
            replays: 0
        }
    );
}

#[test]
fn lock_held_on_the_server_is_refused_after_a_few_attempts() {
    let server = GitServer::http(HttpOptions::default()).unwrap();
    let repo = server.create_seeded_repo("shop");
    let directory = temp_dir("engine").unwrap();
    let mut engine = open(directory.path(), repo.url(), Credentials::none()).unwrap();
    engine.commit(plan("alice", "x/a.yaml", "a\n")).unwrap();
    let lock = repo.path().join("refs/heads/main.lock");
    std::fs::write(&lock, "").unwrap();
    let error = engine.push().unwrap_err();
    assert!(matches!(error, PushError::Refused { .. }), "{error}");
    std::fs::remove_file(&lock).unwrap();
    assert_eq!(
        engine.push().unwrap(),
        PushOutcome::Pushed {
            commits: 1,
            replays: 0
        }
    );
}

#[test]
fn server_that_never_answers_is_given_up_and_commits_stay() {
    let server = GitServer::http(HttpOptions::default()).unwrap();
    let repo = server.create_seeded_repo("shop");
    let directory = temp_dir("engine").unwrap();
    let mut engine = open(directory.path(), repo.url(), Credentials::none()).unwrap();
    engine.commit(plan("alice", "x/a.yaml", "a\n")).unwrap();
    server.set_fault(Fault::Hang);
    let error = engine.push().unwrap_err();
    assert!(
        matches!(error, PushError::Remote(RemoteError::Timeout { .. })),
        "{error}"
    );
    assert!(engine.refresh().unwrap_err().is_unreachable());
    server.set_fault(Fault::Status(503));
    assert!(engine.refresh().unwrap_err().is_unreachable());
    server.set_fault(Fault::Status(403));
    assert!(engine.refresh().unwrap_err().is_auth());
    server.set_fault(Fault::None);
    assert_eq!(
        engine.push().unwrap(),
        PushOutcome::Pushed {
            commits: 1,
            replays: 0
        }
    );
    repo.fsck().unwrap();
}

#[test]
fn shallow_clone_is_pushed_from_after_it_was_opened_again() {
    let server = GitServer::http(HttpOptions::default()).unwrap();
    let repo = server.create_seeded_repo("shop");
    for n in 0..3 {
        repo.commit_as_outsider("theirs", format!("{n}\n"));
    }
    let directory = temp_dir("engine").unwrap();
    drop(open(directory.path(), repo.url(), Credentials::none()).unwrap());
    let mut engine = open(directory.path(), repo.url(), Credentials::none()).unwrap();
    for n in 0..3 {
        engine
            .commit(plan("alice", "x/a.yaml", &format!("{n}\n")))
            .unwrap();
        assert_eq!(
            engine.push().unwrap(),
            PushOutcome::Pushed {
                commits: 1,
                replays: 0
            }
        );
    }
    repo.fsck().unwrap();
}

/// A large folder, changed in many commits, saved more than once, by a process that is then killed.
fn killed_before_the_push(repo: &Repo, work_dir: &Path) {
    let mut engine = open(work_dir, repo.url(), Credentials::none()).unwrap();
    let mut all = plan("filler", "x/0000.yaml", "0\n");
    for n in 1..300 {
        let one = plan("", &format!("x/{n:04}.yaml"), &format!("{n}\n"));
        all.changes.extend(one.changes);
    }
    engine.commit(all).unwrap();
    for n in 0..60 {
        let author = if n % 2 == 0 { "alice" } else { "bob" };
        let path = format!("x/{:04}.yaml", n * 5);
        engine.commit(plan(author, &path, "changed\n")).unwrap();
        if n % 20 == 0 {
            engine.persist().unwrap();
        }
    }
    engine.persist().unwrap();
}

fn is_all_there(repo: &Repo) {
    repo.fsck().unwrap();
    assert_eq!(repo.files().len(), 301);
    assert_eq!(repo.file("x/0295.yaml").unwrap(), b"changed\n");
    assert_eq!(repo.file("x/0296.yaml").unwrap(), b"296\n");
    let log = repo.log();
    let by = |name: &str| log.iter().filter(|c| c.author().starts_with(name)).count();
    assert_eq!((log.len(), by("alice"), by("bob")), (62, 30, 30));
}

#[test]
fn what_a_killed_process_saved_is_pushed_as_it_is() {
    let server = GitServer::http(HttpOptions::default()).unwrap();
    let repo = server.create_seeded_repo("shop");
    let directory = temp_dir("engine").unwrap();
    killed_before_the_push(&repo, directory.path());
    let mut engine = open(directory.path(), repo.url(), Credentials::none()).unwrap();
    assert_eq!(engine.resumed(), kept(61));
    engine.push().unwrap();
    is_all_there(&repo);
}

#[test]
fn what_was_saved_is_found_without_a_list_of_packs_and_over_a_tip_that_moved() {
    let server = GitServer::http(HttpOptions::default()).unwrap();
    let repo = server.create_seeded_repo("shop");
    let directory = temp_dir("engine").unwrap();
    killed_before_the_push(&repo, directory.path());
    let state = directory.path().join("clone/gitops-reverser-state");
    let text = std::fs::read_to_string(&state).unwrap();
    assert!(text.lines().count() > 2);
    let commits: Vec<&str> = text.lines().take(2).collect();
    std::fs::write(&state, commits.join("\n")).unwrap();
    let mut engine = open(directory.path(), repo.url(), Credentials::none()).unwrap();
    assert_eq!(engine.resumed(), kept(61));
    repo.commit_as_outsider("README.md", "theirs\n");
    let outcome = engine.push().unwrap();
    assert_eq!(
        outcome,
        PushOutcome::Pushed {
            commits: 61,
            replays: 1
        }
    );
    assert_eq!(repo.file("README.md").unwrap(), b"theirs\n");
    repo.fsck().unwrap();
    assert_eq!(repo.log().len(), 63);
}

/// A push whose answer got lost, others on top of it, commits made again: what the server leaves out of a fetch, because we told it
/// that we have it, must be there.
#[test]
fn what_others_built_upon_stays_in_a_shallow_clone() {
    let server = GitServer::http(HttpOptions::default()).unwrap();
    let repo = server.create_seeded_repo("shop");
    let directory = temp_dir("engine").unwrap();
    let mut engine = open(directory.path(), repo.url(), Credentials::none()).unwrap();
    for n in 0..3 {
        let path = format!("x/{n}.yaml");
        engine.commit(plan("alice", &path, "alice's\n")).unwrap();
        engine.persist().unwrap();
        if n == 1 {
            let pushed = Command::new("git")
                .current_dir(directory.path().join("clone"))
                .args(["push", "-q", repo.url()])
                .arg("GITOPS_REVERSER_LOCAL:refs/heads/main")
                .status()
                .unwrap();
            assert!(pushed.success());
            repo.commit_as_outsider("x/theirs.yaml", "theirs\n");
        }
        engine.refresh().unwrap();
        repo.commit_as_outsider("README.md", format!("{n}\n"));
        engine.refresh().unwrap();
    }
    drop(engine);
    let mut engine = open(directory.path(), repo.url(), Credentials::none()).unwrap();
    assert_eq!(engine.resumed(), kept(1));
    assert_eq!(engine.read("x/0.yaml").unwrap().unwrap(), b"alice's\n");
    engine.push().unwrap();
    assert_eq!(engine.list_files("x").unwrap().len(), 4);
    let log = repo.log();
    let by = |name: &str| log.iter().filter(|c| c.author().starts_with(name)).count();
    assert_eq!((by("alice"), log.len()), (3, 8));
    repo.fsck().unwrap();
}

/// A server would refuse it again and again.
#[test]
fn pack_that_the_disk_has_spoilt_is_not_sent() {
    let server = GitServer::http(HttpOptions::default()).unwrap();
    let repo = server.create_seeded_repo("shop");
    let directory = temp_dir("engine").unwrap();
    let mut engine = open(directory.path(), repo.url(), Credentials::none()).unwrap();
    engine.commit(plan("alice", "x/a.yaml", "a\n")).unwrap();
    engine.persist().unwrap();
    let state = directory.path().join("clone/gitops-reverser-state");
    let state = std::fs::read_to_string(&state).unwrap();
    let pack = directory
        .path()
        .join("clone/objects/pack")
        .join(state.lines().nth(2).unwrap());
    let mut bytes = std::fs::read(&pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&pack, bytes).unwrap();
    let requests = server.requests();
    let error = engine.push().unwrap_err();
    assert!(error.is_corrupt_clone(), "{error}");
    assert_eq!(server.requests(), requests);
    assert_eq!(repo.log().len(), 1);
}

/// The branch moves, the answer gets lost: a hook that outlasts our patience, after the fact.
#[test]
fn push_whose_answer_is_lost_counts_as_done() {
    let server = GitServer::http(HttpOptions::default()).unwrap();
    let repo = server.create_seeded_repo("shop");
    repo.git(&["config", "receive.keepAlive", "0"]).unwrap();
    let directory = temp_dir("engine").unwrap();
    let mut engine = open(directory.path(), repo.url(), Credentials::none()).unwrap();
    engine.commit(plan("alice", "x/a.yaml", "a\n")).unwrap();
    repo.install_hook("post-receive", "#!/bin/sh\nsleep 4\n");
    assert_eq!(
        engine.push().unwrap(),
        PushOutcome::Pushed {
            commits: 1,
            replays: 0
        }
    );
    assert_eq!(repo.log().len(), 2);
    assert!(!engine.has_unpushed());
}

/// An idle worker does it every few minutes.
#[test]
fn to_see_that_nothing_has_moved_takes_one_request_and_no_fetch() {
    let server = GitServer::http(HttpOptions::default()).unwrap();
    let repo = server.create_seeded_repo("shop");
    let directory = temp_dir("engine").unwrap();
    let mut engine = open(directory.path(), repo.url(), Credentials::none()).unwrap();
    engine.commit(plan("alice", "x/a.yaml", "a\n")).unwrap();
    engine.push().unwrap();
    for _ in 0..3 {
        let requests = server.requests();
        assert_eq!(engine.refresh().unwrap(), RefreshOutcome::Unchanged);
        assert_eq!(server.requests(), requests + 1);
    }
}

fn ssh_secret(
    server: &SshGitServer,
    url: &str,
    known_hosts: &str,
) -> Result<Credentials, CredentialsError> {
    secret(
        url,
        &[
            ("ssh-privatekey", &server.private_key_pem()),
            ("known_hosts", known_hosts),
        ],
    )
}

#[test]
fn ssh_with_a_key_and_known_hosts() {
    let server = GitServer::ssh(SshOptions::default()).unwrap();
    let repo = server.create_repo("shop");
    repo.commit_as_outsider("README.md", "shop\n");
    let directory = temp_dir("engine").unwrap();
    let credentials = ssh_secret(&server, repo.url(), &server.known_hosts()).unwrap();
    works_all_the_way(&repo, directory.path(), repo.url(), &credentials);
    // Another kind of key for the same host beside the right one is no obstacle.
    let rsa = STANDARD.encode([&[0, 0, 0, 7][..], b"ssh-rsa", &[1; 64]].concat());
    let name = server.known_hosts().split(' ').next().unwrap().to_owned();
    let lines = format!("{name} ssh-rsa {rsa}\n{}", server.known_hosts());
    let credentials = ssh_secret(&server, repo.url(), &lines).unwrap();
    open(directory.path(), repo.url(), credentials).unwrap();
}

/// As people keep them: the key with a passphrase, the host's name hashed.
#[test]
fn ssh_with_an_encrypted_key_and_hashed_known_hosts() {
    let server = GitServer::ssh(SshOptions::default()).unwrap();
    let repo = server.create_repo("shop");
    repo.commit_as_outsider("README.md", "shop\n");
    let directory = temp_dir("engine").unwrap();
    let keygen = |file: &str, content: String, arguments: &[&str]| {
        let path = directory.path().join(file);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let status = Command::new("ssh-keygen")
            .args(arguments)
            .arg("-f")
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success());
        std::fs::read_to_string(path).unwrap()
    };
    let encrypt = ["-q", "-p", "-P", "", "-N", "open sesame"];
    let key = keygen("key", server.private_key_pem(), &encrypt);
    let hosts = keygen("hosts", server.known_hosts(), &["-H"]);
    assert!(hosts.starts_with("|1|"));
    let pairs = [("identity", &*key), ("known_hosts", &*hosts)];
    let error = secret(repo.url(), &pairs).unwrap_err();
    assert!(
        matches!(error, CredentialsError::NeedsPassphrase { .. }),
        "{error}"
    );
    let with = |phrase| {
        let pairs = [&pairs[..], &[("password", phrase)]].concat();
        open(
            directory.path(),
            repo.url(),
            secret(repo.url(), &pairs).unwrap(),
        )
    };
    let error = with("wrong").err().unwrap();
    assert!(error.is_auth(), "{error}");
    with("open sesame").unwrap();
}

#[test]
fn ssh_host_whose_key_is_not_known_gets_no_connection() {
    let server = GitServer::ssh(SshOptions::default()).unwrap();
    let other = GitServer::ssh(SshOptions::default()).unwrap();
    let repo = server.create_repo("shop");
    let directory = temp_dir("engine").unwrap();
    let error = secret(repo.url(), &[("ssh-privatekey", &server.private_key_pem())]).unwrap_err();
    assert!(
        matches!(error, CredentialsError::NoKnownHosts { .. }),
        "{error}"
    );
    assert!(ssh_secret(&server, repo.url(), &other.known_hosts()).is_err());
    // The right name with another host's key.
    let own = server.known_hosts();
    let others = other.known_hosts();
    let wrong = format!(
        "{} {}",
        own.split(' ').next().unwrap(),
        others.split_once(' ').unwrap().1
    );
    let credentials = ssh_secret(&server, repo.url(), &wrong).unwrap();
    let error = open(directory.path(), repo.url(), credentials)
        .err()
        .unwrap();
    assert!(
        matches!(error, EngineError::Remote(RemoteError::Untrusted { .. })),
        "{error}"
    );
    assert!(error.to_string().contains("known_hosts"), "{error}");
    assert!(!server.log().contains("Accepted publickey"));
}

#[test]
fn ssh_key_that_the_server_does_not_know_is_an_auth_error() {
    let server = GitServer::ssh(SshOptions::default()).unwrap();
    let other = GitServer::ssh(SshOptions::default()).unwrap();
    let repo = server.create_repo("shop");
    let directory = temp_dir("engine").unwrap();
    let credentials = ssh_secret(&other, repo.url(), &server.known_hosts()).unwrap();
    let error = open(directory.path(), repo.url(), credentials)
        .err()
        .unwrap();
    assert!(
        matches!(error, EngineError::Remote(RemoteError::Auth { .. })),
        "{error}"
    );
    let credentials = ssh_secret(&server, repo.url(), &server.known_hosts()).unwrap();
    let error = open(
        directory.path(),
        &server.url("nothing"),
        credentials.clone(),
    )
    .err()
    .unwrap();
    assert!(error.is_not_found(), "{error}");
    server.pause();
    let error = open(directory.path(), repo.url(), credentials)
        .err()
        .unwrap();
    assert!(error.is_unreachable(), "{error}");
    server.resume();
}
