//! A server that refuses every push, while others move the branch.

use super::remotes::{Remote, on_each};
use super::*;

on_each!(a_clone_does_not_grow_without_end_while_others_push);

/// As if it had been fetched so many times.
fn fetched_again_and_again(clone: &Path, times: usize) {
    let pack = packs(clone).into_iter().next().unwrap();
    for n in 0..times {
        for kind in ["pack", "idx"] {
            let copy = pack.with_file_name(format!("pack-{n:040x}.{kind}"));
            std::fs::copy(pack.with_extension(kind), copy).unwrap();
        }
    }
}

fn packs(clone: &Path) -> Vec<std::path::PathBuf> {
    let files = std::fs::read_dir(clone.join("objects/pack")).unwrap();
    let files = files.map(|file| file.unwrap().path());
    files
        .filter(|file| file.extension().is_some_and(|e| e == "pack"))
        .collect()
}

fn a_clone_does_not_grow_without_end_while_others_push(remote: &Remote) {
    let repo = &remote.repo;
    for n in 0..3 {
        repo.commit_as_outsider(&format!("theirs/{n}"), "theirs\n");
    }
    let directory = temp_dir("growth").unwrap();
    let clone = directory.path().join("clone");
    let mut engine = remote.open(directory.path());
    engine.commit(plan("alice", "x/a.yaml", "a\n")).unwrap();
    repo.install_hook("pre-receive", "#!/bin/sh\necho 'not now' >&2\nexit 1\n");
    let refused = |engine: &mut Engine| match engine.push().unwrap_err() {
        PushError::Refused { message } => assert!(message.contains("not now"), "{message}"),
        error => panic!("{error}"),
    };
    refused(&mut engine);
    fetched_again_and_again(&clone, 250);
    repo.commit_as_outsider("README.md", "moved\n");
    refused(&mut engine);
    assert!(packs(&clone).len() < 10, "{:?}", packs(&clone));
    engine.commit(plan("bob", "x/b.yaml", "b\n")).unwrap();
    repo.commit_as_outsider("theirs/0", "moved again\n");
    refused(&mut engine);
    repo.remove_hook("pre-receive");
    let outcome = engine.push().unwrap();
    assert_eq!(
        outcome,
        PushOutcome::Pushed {
            commits: 2,
            replays: 0
        }
    );
    drop(engine);
    let engine = remote.open(directory.path());
    assert_eq!(engine.read("README.md").unwrap().unwrap(), b"moved\n");
    let log = repo.log();
    let authors: Vec<&str> = log.iter().map(|c| c.author_name.as_str()).collect();
    assert_eq!(authors[authors.len() - 2..], ["alice", "bob"]);
    assert_eq!(repo.file("theirs/0").unwrap(), b"moved again\n");
    repo.fsck().unwrap();
    faults::is_sound(&clone);
}
