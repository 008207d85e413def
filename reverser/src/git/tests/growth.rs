//! Clones that wait: for a remote that takes nothing, while others push to it.

use std::path::Path;

use crate::git::testing::{Bed, plan, write};
use crate::git::{PushOutcome, RefreshOutcome, Resumed};

/// As if it had been fetched so many times.
fn fetched_again_and_again(clone: &Path, times: std::ops::Range<usize>) {
    let packs = clone.join("objects/pack");
    let files = std::fs::read_dir(&packs).unwrap();
    let mut files = files.map(|file| file.unwrap().path());
    let pack = files
        .find(|file| file.extension().is_some_and(|e| e == "pack"))
        .unwrap();
    for n in times {
        for kind in ["pack", "idx"] {
            let copy = packs.join(format!("pack-{n:040x}.{kind}"));
            std::fs::copy(pack.with_extension(kind), copy).unwrap();
        }
    }
}

fn pushed(commits: usize) -> PushOutcome {
    PushOutcome::Pushed {
        commits,
        replays: 0,
    }
}

#[test]
fn a_clone_with_commits_that_wait_is_fetched_afresh_when_it_has_grown() {
    let bed = Bed::with_readme();
    let mut engine = bed.open("main");
    for (n, author) in ["alice", "bob"].into_iter().enumerate() {
        let change = write(&format!("x/{n}.yaml"), "ours\n");
        engine.commit(plan(author, "one", &[change])).unwrap();
        engine.persist().unwrap();
    }
    fetched_again_and_again(&bed.work_dir(), 0..150);
    bed.somebody_pushes("main", &[("README", Some("once\n"))]);
    engine.refresh().unwrap();
    assert!(engine.store.packs.size().0 > 150, "too early");

    fetched_again_and_again(&bed.work_dir(), 150..250);
    bed.somebody_pushes("main", &[("README", Some("twice\n"))]);
    let outcome = engine.refresh().unwrap();
    assert!(matches!(outcome, RefreshOutcome::Moved { replayed: 2, .. }));
    assert!(engine.store.packs.size().0 < 10);
    assert!(!bed.work_dir().join("renewed").exists());
    assert_eq!(engine.read("README").unwrap().unwrap(), b"twice\n");
    assert_eq!(engine.read("x/0.yaml").unwrap().unwrap(), b"ours\n");
    bed.assert_sound();

    // As after a kill, which may come in the midst of it.
    drop(engine);
    std::fs::create_dir_all(bed.work_dir().join("renewed/objects")).unwrap();
    let mut engine = bed.open("main");
    let kept = Resumed {
        kept: 2,
        dropped: 0,
    };
    assert_eq!(engine.resumed(), kept);
    assert!(!bed.work_dir().join("renewed").exists());
    assert_eq!(engine.push().unwrap(), pushed(2));
    assert_eq!(bed.log("main", "%an")[3..], ["alice", "bob"]);
    bed.assert_sound();
}

#[test]
fn packs_that_wait_are_made_one_now_and_then() {
    let bed = Bed::with_readme();
    let mut engine = bed.open("main");
    for n in 0..40 {
        let change = write(&format!("x/{}.yaml", n % 7), &format!("{n}\n"));
        engine.commit(plan("alice", "one", &[change])).unwrap();
        engine.persist().unwrap();
        let packs = engine.store.packs.size().0;
        assert!(packs < 20, "{packs} packs");
    }
    drop(engine);
    let mut engine = bed.open("main");
    assert_eq!(engine.resumed().kept, 40);
    assert_eq!(engine.read("x/4.yaml").unwrap().unwrap(), b"39\n");
    bed.somebody_pushes("main", &[("README", Some("theirs\n"))]);
    engine.refresh().unwrap();
    assert_eq!(engine.push().unwrap(), pushed(40));
    assert_eq!(bed.log("main", "%an").len(), 42);
    bed.assert_sound();
}
