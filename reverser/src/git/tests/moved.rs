//! Others push, rewrite and delete.

use crate::git::testing::{Bed, delete, git, plan, write};
use crate::git::{PushError, PushOutcome, RefreshOutcome};

#[test]
fn moved_tip_is_replayed() {
    let bed = Bed::with_readme();
    let mut engine = bed.open("main");
    engine
        .commit(plan(
            "alice",
            "Create a\n\nKubernetes-User: alice\n",
            &[write("x/a.yaml", "a\n")],
        ))
        .unwrap();
    engine
        .commit(plan("bob", "Create b\n", &[write("x/b.yaml", "b\n")]))
        .unwrap();
    let dates: Vec<String> = {
        engine.persist().unwrap();
        let log = git(
            &bed.work_dir(),
            &[
                "log",
                "-2",
                "--reverse",
                "--format=%ad",
                "GITOPS_REVERSER_LOCAL",
            ],
        );
        log.lines().map(str::to_owned).collect()
    };
    bed.somebody_pushes("main", &[("docs/theirs.md", Some("theirs\n"))]);
    assert_eq!(
        engine.push().unwrap(),
        PushOutcome::Pushed {
            commits: 2,
            replays: 1
        }
    );
    assert_eq!(
        bed.log("main", "%an"),
        ["Somebody Else", "Somebody Else", "alice", "bob"]
    );
    assert_eq!(
        bed.log(
            "main",
            "%(trailers:key=Kubernetes-User,valueonly,separator=)"
        )[2],
        "alice"
    );
    assert_eq!(bed.log("main", "%ad")[2..], dates[..]);
    assert_eq!(
        bed.files("main"),
        [
            "100644 README",
            "100644 docs/theirs.md",
            "100644 x/a.yaml",
            "100644 x/b.yaml"
        ]
    );
    bed.assert_sound();
}

#[test]
fn what_was_committed_to_a_folder_that_somebody_took_is_dropped_and_the_rest_is_replayed() {
    for theirs in [Some("theirs\n"), None] {
        let bed = Bed::with_readme();
        if theirs.is_none() {
            bed.somebody_pushes("main", &[("x/owner", Some("ours\n"))]);
        }
        let mut engine = bed.open("main");
        for (who, path) in [
            ("alice", "x/a.yaml"),
            ("bob", "y/b.yaml"),
            ("carol", "x/c.yaml"),
        ] {
            let one = plan(who, "m\n", &[write(path, "ours\n")]);
            engine.commit(one).unwrap();
        }
        bed.somebody_pushes("main", &[("x/owner", theirs), ("x/d.yaml", Some("d\n"))]);
        assert_eq!(
            engine.push().unwrap(),
            PushOutcome::Pushed {
                commits: 1,
                replays: 1
            }
        );
        let files = bed.files("main");
        assert!(files.contains(&"100644 y/b.yaml".to_owned()), "{files:?}");
        assert!(files.contains(&"100644 x/d.yaml".to_owned()), "{files:?}");
        let ours = |file: &&String| file.ends_with("x/a.yaml") || file.ends_with("x/c.yaml");
        assert_eq!(files.iter().find(ours), None);
        assert_eq!(engine.take_taken().into_iter().collect::<Vec<_>>(), ["x"]);
        assert!(engine.take_taken().is_empty());

        // From then on it is as any other folder.
        engine
            .commit(plan("dave", "m\n", &[write("x/e.yaml", "e\n")]))
            .unwrap();
        bed.somebody_pushes("main", &[("x/f.yaml", Some("f\n"))]);
        engine.push().unwrap();
        assert_eq!(bed.content("main", "x/e.yaml"), "e");
        bed.assert_sound();
    }
}

#[test]
fn of_two_who_claim_a_folder_at_once_the_first_keeps_it() {
    let bed = Bed::with_readme();
    let mut engine = bed.open("main");
    engine
        .commit(plan("bot", "Claim x\n", &[write("x/owner", "ours\n")]))
        .unwrap();
    bed.somebody_pushes("main", &[("x/owner", Some("theirs\n"))]);
    assert_eq!(engine.push().unwrap(), PushOutcome::UpToDate { replays: 1 });
    assert_eq!(bed.content("main", "x/owner"), "theirs");
}

#[test]
fn our_files_win_and_others_stay_in_a_replay() {
    let bed = Bed::with_readme();
    bed.somebody_pushes(
        "main",
        &[("x/a.yaml", Some("old\n")), ("x/gone.yaml", Some("old\n"))],
    );
    let mut engine = bed.open("main");
    engine
        .commit(plan(
            "alice",
            "ours",
            &[write("x/a.yaml", "ours\n"), delete("x/gone.yaml")],
        ))
        .unwrap();
    bed.somebody_pushes(
        "main",
        &[
            ("x/a.yaml", Some("theirs\n")),
            ("x/gone.yaml", Some("theirs\n")),
            ("x/other.yaml", Some("theirs\n")),
        ],
    );
    engine.push().unwrap();
    assert_eq!(bed.content("main", "x/a.yaml"), "ours");
    assert_eq!(
        bed.files("main"),
        ["100644 README", "100644 x/a.yaml", "100644 x/other.yaml"]
    );
    bed.assert_sound();
}

#[test]
fn a_replayed_replacement_of_a_symlink_replaces_it_again() {
    let bed = Bed::with_readme();
    bed.somebody("main", &[], |directory| {
        std::os::unix::fs::symlink("README", directory.join("x")).unwrap();
    });
    let mut engine = bed.open("main");
    engine
        .commit(plan("alice", "ours", &[write("x/a.yaml", "ours\n")]))
        .unwrap();
    bed.somebody_pushes("main", &[("other", Some("theirs\n"))]);
    engine.push().unwrap();
    assert_eq!(
        bed.files("main"),
        ["100644 README", "100644 other", "100644 x/a.yaml"]
    );
    bed.assert_sound();
}

#[test]
fn what_others_have_pushed_already_is_not_committed_again() {
    let bed = Bed::with_readme();
    let mut engine = bed.open("main");
    engine
        .commit(plan("alice", "ours", &[write("x/a.yaml", "same\n")]))
        .unwrap();
    bed.somebody_pushes("main", &[("x/a.yaml", Some("same\n"))]);
    assert_eq!(engine.push().unwrap(), PushOutcome::UpToDate { replays: 1 });
    assert_eq!(engine.tip().unwrap().to_string(), bed.tip("main"));
    assert!(!engine.has_unpushed());
}

#[test]
fn refresh_takes_up_what_others_pushed() {
    let bed = Bed::with_readme();
    let mut engine = bed.open("main");
    assert_eq!(engine.refresh().unwrap(), RefreshOutcome::Unchanged);
    bed.somebody_pushes("main", &[("x/a.yaml", Some("theirs\n"))]);
    let from = engine.tip();
    assert!(
        matches!(engine.refresh().unwrap(), RefreshOutcome::Moved { from: f, replayed: 0, .. } if f == from)
    );
    assert_eq!(engine.read("x/a.yaml").unwrap().unwrap(), b"theirs\n");
    engine
        .commit(plan("alice", "ours", &[write("x/b.yaml", "b\n")]))
        .unwrap();
    bed.somebody_pushes("main", &[("x/c.yaml", Some("c\n"))]);
    assert!(matches!(
        engine.refresh().unwrap(),
        RefreshOutcome::Moved { replayed: 1, .. }
    ));
    assert_eq!(engine.list_files("x").unwrap().len(), 3);
    assert_eq!(
        engine.push().unwrap(),
        PushOutcome::Pushed {
            commits: 1,
            replays: 0
        }
    );
}

#[test]
fn rewritten_branch_is_taken_as_it_is() {
    let bed = Bed::with_readme();
    bed.somebody_pushes("main", &[("secret.txt", Some("to be forgotten\n"))]);
    let mut engine = bed.open("main");
    engine
        .commit(plan("alice", "ours", &[write("x/a.yaml", "a\n")]))
        .unwrap();
    // Back to a commit that this clone has: libgit2 alone would take that for a fast-forward.
    git(&bed.remote(), &["update-ref", "refs/heads/main", "main~1"]);
    assert_eq!(
        engine.push().unwrap(),
        PushOutcome::Pushed {
            commits: 1,
            replays: 1
        }
    );
    assert_eq!(bed.files("main"), ["100644 README", "100644 x/a.yaml"]);
    assert_eq!(bed.log("main", "%an"), ["Somebody Else", "alice"]);
    bed.assert_sound();
}

#[test]
fn branch_replaced_by_an_unrelated_one_is_taken_as_it_is() {
    let bed = Bed::with_readme();
    let mut engine = bed.open("main");
    engine
        .commit(plan("alice", "ours", &[write("x/a.yaml", "a\n")]))
        .unwrap();
    bed.somebody("main", &["--force"], |directory| {
        git(directory, &["checkout", "-q", "--orphan", "fresh"]);
        git(directory, &["rm", "-q", "-rf", "."]);
        std::fs::write(directory.join("NEW"), "new\n").unwrap();
    });
    engine.push().unwrap();
    assert_eq!(bed.files("main"), ["100644 NEW", "100644 x/a.yaml"]);
    bed.assert_sound();
}

#[test]
fn deleted_branch_comes_back_from_the_default_branch() {
    let bed = Bed::with_readme();
    bed.somebody_pushes("live", &[("x/a.yaml", Some("a\n"))]);
    let mut engine = bed.open("live");
    git(&bed.remote(), &["update-ref", "-d", "refs/heads/live"]);
    engine
        .commit(plan("alice", "ours", &[write("x/b.yaml", "b\n")]))
        .unwrap();
    engine.push().unwrap();
    assert_eq!(bed.files("live"), ["100644 README", "100644 x/b.yaml"]);
    bed.assert_sound();
}

#[test]
fn emptied_repository_is_started_again() {
    let bed = Bed::with_readme();
    let mut engine = bed.open("main");
    engine
        .commit(plan("alice", "one", &[write("x/a.yaml", "a\n")]))
        .unwrap();
    engine.push().unwrap();
    git(&bed.remote(), &["update-ref", "-d", "refs/heads/main"]);
    assert!(matches!(
        engine.refresh().unwrap(),
        RefreshOutcome::Moved { to: None, .. }
    ));
    assert_eq!(engine.tip(), None);
    assert!(engine.list_files("").unwrap().is_empty());
    engine
        .commit(plan("alice", "again", &[write("x/a.yaml", "a\n")]))
        .unwrap();
    engine.push().unwrap();
    assert_eq!(bed.files("main"), ["100644 x/a.yaml"]);
    assert_eq!(bed.log("main", "%s"), ["again"]);
    bed.assert_sound();
}

#[test]
fn missing_branch_starts_at_the_default_branch_with_the_first_push() {
    let bed = Bed::with_readme();
    let mut engine = bed.open("live");
    assert_eq!(engine.tip().unwrap().to_string(), bed.tip("main"));
    assert_eq!(engine.remote_tip(), None);
    assert_eq!(engine.push().unwrap(), PushOutcome::UpToDate { replays: 0 });
    assert!(!bed.has_branch("live"));
    engine
        .commit(plan("alice", "ours", &[write("x/a.yaml", "a\n")]))
        .unwrap();
    engine.push().unwrap();
    assert_eq!(bed.files("live"), ["100644 README", "100644 x/a.yaml"]);
    assert_eq!(bed.files("main"), ["100644 README"]);
    assert_eq!(engine.remote_tip(), engine.tip());
}

#[test]
fn branch_that_somebody_made_first_is_pushed_onto() {
    let bed = Bed::with_readme();
    let mut engine = bed.open("live");
    engine
        .commit(plan("alice", "ours", &[write("x/a.yaml", "a\n")]))
        .unwrap();
    bed.somebody_pushes("live", &[("theirs", Some("t\n"))]);
    assert_eq!(
        engine.push().unwrap(),
        PushOutcome::Pushed {
            commits: 1,
            replays: 1
        }
    );
    assert_eq!(
        bed.files("live"),
        ["100644 README", "100644 theirs", "100644 x/a.yaml"]
    );
}

#[test]
fn remote_that_vanishes_is_an_error_and_commits_stay() {
    let bed = Bed::with_readme();
    let mut engine = bed.open("main");
    engine
        .commit(plan("alice", "ours", &[write("x/a.yaml", "a\n")]))
        .unwrap();
    let away = bed.room.path().join("away");
    std::fs::rename(bed.remote(), &away).unwrap();
    let error = engine.push().unwrap_err();
    assert!(matches!(error, PushError::Remote(_)), "{error}");
    assert!(engine.refresh().unwrap_err().is_not_found());
    assert!(engine.has_unpushed());
    std::fs::rename(&away, bed.remote()).unwrap();
    assert_eq!(
        engine.push().unwrap(),
        PushOutcome::Pushed {
            commits: 1,
            replays: 0
        }
    );
}

/// While a hook refuses, say, and others go on pushing.
#[test]
fn commits_made_again_and_again_take_no_more_room() {
    let bed = Bed::with_readme();
    let mut engine = bed.open("main");
    for (n, author) in ["alice", "bob"].into_iter().enumerate() {
        engine
            .commit(plan(author, "one", &[write("x/a.yaml", &format!("{n}\n"))]))
            .unwrap();
        engine.persist().unwrap();
    }
    let mut sizes = Vec::new();
    for n in 0..6 {
        bed.somebody_pushes("main", &[("theirs", Some(&format!("{n}\n")))]);
        engine.refresh().unwrap();
        assert_eq!(engine.unpushed(), 2);
        let packs = engine.store.packs.unpushed().len();
        sizes.push((packs, engine.unpushed_bytes()));
    }
    // The contents as first saved, and the last round's trees and commits.
    assert!(sizes.iter().all(|(packs, _)| *packs == 3), "{sizes:?}");
    assert!(
        sizes
            .iter()
            .all(|(_, bytes)| bytes.abs_diff(sizes[0].1) < 32),
        "{sizes:?}"
    );
    drop(engine);
    let mut engine = bed.open("main");
    engine.push().unwrap();
    assert_eq!(bed.log("main", "%an")[7..], ["alice", "bob"]);
    assert_eq!(bed.content("main", "x/a.yaml"), "1");
    bed.assert_sound();
}

/// The answer to a push got lost, and others pushed on top: what they stand on must not be thrown away.
#[test]
fn commits_that_others_built_upon_stay_in_the_clone() {
    let bed = Bed::with_readme();
    let mut engine = bed.open("main");
    for (n, path) in ["x/a.yaml", "x/b.yaml", "x/c.yaml"].into_iter().enumerate() {
        engine
            .commit(plan("alice", path, &[write(path, &format!("{n}\n"))]))
            .unwrap();
        engine.persist().unwrap();
        if n == 1 {
            let remote = bed.remote();
            let refspec = "GITOPS_REVERSER_LOCAL:refs/heads/main";
            git(
                &bed.work_dir(),
                &["push", "-q", remote.to_str().unwrap(), refspec],
            );
            engine.refresh().unwrap();
        }
    }
    bed.somebody_pushes("main", &[("theirs", Some("t\n"))]);
    engine.refresh().unwrap();
    bed.somebody_pushes("main", &[("theirs", Some("u\n"))]);
    engine.push().unwrap();
    assert_eq!(engine.read("x/a.yaml").unwrap().unwrap(), b"0\n");
    assert_eq!(
        bed.log("main", "%s"),
        [
            "somebody's change",
            "x/a.yaml",
            "x/b.yaml",
            "somebody's change",
            "somebody's change",
            "x/c.yaml"
        ]
    );
    bed.assert_sound();
}
