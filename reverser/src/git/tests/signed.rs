//! Signatures as Git itself judges them, with OpenSSH's and GnuPG's help.

mod openpgp;
mod ssh;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::git::testing::{Bed, git, plan, write};
use crate::git::{Engine, EngineOptions, PushOutcome, Signer, SigningKeyError};

type Data = BTreeMap<String, Vec<u8>>;

fn engine(bed: &Bed, data: &Data) -> Engine {
    let signer = Signer::from_secret(data).unwrap();
    Engine::open(EngineOptions {
        signer: Some(Arc::new(signer)),
        ..bed.options("main")
    })
    .unwrap()
}

/// `%G?` of each commit of main by one author: G is good, N is none.
fn judged(bed: &Bed, config: &[String], author: &str) -> Vec<String> {
    let author = format!("--author={author}");
    let mut arguments: Vec<&str> = Vec::new();
    for setting in config {
        arguments.extend(["-c", setting]);
    }
    arguments.extend(["log", "--format=%G?", &author, "main"]);
    let out = git(&bed.remote(), &arguments);
    out.lines().map(str::to_owned).collect()
}

/// So many that numbers of every length are among them.
fn assert_a_hundred_commits_verify(data: &Data, config: &[String]) {
    let bed = Bed::with_readme();
    let mut engine = engine(&bed, data);
    for number in 0..100 {
        let message = format!("Create {number}\n");
        let path = format!("x/{number}.yaml");
        engine
            .commit(plan("alice", &message, &[write(&path, "a\n")]))
            .unwrap();
    }
    engine.push().unwrap();
    assert_eq!(judged(&bed, config, "alice"), vec!["G"; 100]);
}

/// Commits of two authors, pushed to a branch that has moved on, so that they are signed twice: all are good.
fn assert_every_commit_verifies(data: &Data, config: &[String]) {
    let bed = Bed::with_readme();
    let mut engine = engine(&bed, data);
    for (author, path) in [("alice", "x/a.yaml"), ("bob", "x/b.yaml")] {
        let message = format!("Create {path}\n\nKubernetes-User: {author}\n");
        engine
            .commit(plan(author, &message, &[write(path, "a\n")]))
            .unwrap();
    }
    bed.somebody_pushes("main", &[("docs/theirs.md", Some("theirs\n"))]);
    assert_eq!(
        engine.push().unwrap(),
        PushOutcome::Pushed {
            commits: 2,
            replays: 1
        }
    );
    for author in ["alice", "bob"] {
        assert_eq!(judged(&bed, config, author), ["G"]);
    }
    assert_eq!(judged(&bed, config, "Somebody"), ["N", "N"]);
    assert_eq!(
        bed.log("main", "%B")[..],
        [
            "somebody's change",
            "",
            "somebody's change",
            "",
            "Create x/a.yaml",
            "",
            "Kubernetes-User: alice",
            "",
            "Create x/b.yaml",
            "",
            "Kubernetes-User: bob"
        ],
    );
    bed.assert_sound();
}

/// And shows nothing of any value.
fn assert_refused(data: &Data, wanted: SigningKeyError) {
    let error = Signer::from_secret(data).unwrap_err();
    assert_eq!(error, wanted);
    let shown = format!("{error} {error:?}");
    for value in data.values() {
        let text = String::from_utf8_lossy(value);
        for line in text.lines().filter(|line| line.len() > 4) {
            assert!(!shown.contains(line), "{shown}");
        }
    }
}

#[test]
fn a_secret_without_a_key_or_with_two_is_refused() {
    assert_refused(&Data::new(), SigningKeyError::Missing);
    let both = ["identity", "git.asc"].map(|key| (key.to_owned(), b"hunter2".to_vec()));
    assert_refused(&Data::from(both), SigningKeyError::Ambiguous);
}
