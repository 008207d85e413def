//! Servers and repositories that hold more than anybody would.

use rand::RngCore as _;

use super::*;

/// Bytes that no compression makes fewer.
fn noise(bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    rand::rng().fill_bytes(&mut noise);
    noise
}

fn too_large(opened: Result<Engine, EngineError>, words: &str) {
    match opened {
        Err(EngineError::Remote(RemoteError::TooLarge { message })) => {
            assert!(message.contains(words), "{message}");
        }
        other => panic!("{:?}", other.err()),
    }
}

/// Over HTTPS and SSH, as the bytes are counted below either: a repository, and what opens it.
fn on_each_transport(test: impl Fn(&Repo, &dyn Fn() -> Result<Engine, EngineError>)) {
    let https = GitServer::https(HttpOptions::basic("u", "p")).unwrap();
    let repo = https.create_seeded_repo("large");
    let pairs = [
        ("username", "u"),
        ("password", "p"),
        ("ca.crt", https.ca_pem()),
    ];
    let credentials = secret(repo.url(), &pairs).unwrap();
    let room = temp_dir("https").unwrap();
    test(&repo, &|| {
        open(room.path(), repo.url(), credentials.clone())
    });

    let ssh = GitServer::ssh(SshOptions::default()).unwrap();
    let repo = ssh.create_repo("large");
    repo.commit_as_outsider("README.md", "large\n");
    let credentials = ssh_secret(&ssh, repo.url(), &ssh.known_hosts()).unwrap();
    let room = temp_dir("ssh").unwrap();
    test(&repo, &|| {
        open(room.path(), repo.url(), credentials.clone())
    });
}

#[test]
fn more_references_than_are_taken_are_refused() {
    on_each_transport(|repo, open| {
        let tip = repo.head().unwrap();
        let line = |n: u32| format!("{tip} refs/pull/{n:06}/head\n");
        let packed: String = (0..30_000).map(line).collect();
        std::fs::write(repo.path().join("packed-refs"), packed).unwrap();
        too_large(open(), "1 MiB");
    });
}

#[test]
fn a_tip_of_more_than_is_fetched_is_refused_and_a_smaller_one_is_taken() {
    on_each_transport(|repo, open| {
        let small = repo.commit_as_outsider("large", noise(4 << 20));
        open().unwrap();
        repo.commit_as_outsider("large", noise(24 << 20));
        too_large(open(), "16 MiB");
        repo.git(&["update-ref", "refs/heads/main", &small])
            .unwrap();
        open().unwrap();
    });
}
