//! The clone on disk: used again, resumed from, replaced.

use std::io::Write as _;

use crate::git::testing::{Bed, git, plan, write};
use crate::git::{Engine, EngineError, PushOutcome, Resumed};

fn kept(kept: usize) -> Resumed {
    Resumed { kept, dropped: 0 }
}

#[test]
fn killed_process_resumes_its_persisted_commits() {
    let bed = Bed::with_readme();
    let mut engine = bed.open("main");
    engine
        .commit(plan("alice", "one", &[write("x/a.yaml", "a\n")]))
        .unwrap();
    engine.push().unwrap();
    engine
        .commit(plan("alice", "two", &[write("x/a.yaml", "b\n")]))
        .unwrap();
    engine
        .commit(plan("bob", "three", &[write("x/b.yaml", "b\n")]))
        .unwrap();
    engine.persist().unwrap();
    engine
        .commit(plan("carol", "lost", &[write("x/c.yaml", "c\n")]))
        .unwrap();
    drop(engine);
    let mut engine = bed.open("main");
    assert_eq!(engine.resumed(), kept(2));
    assert_eq!(
        engine.push().unwrap(),
        PushOutcome::Pushed {
            commits: 2,
            replays: 0
        }
    );
    assert_eq!(
        bed.log("main", "%an %s")[1..],
        ["alice one", "alice two", "bob three"]
    );
    bed.assert_sound();
    assert_eq!(bed.open("main").resumed(), Resumed::default());
}

#[test]
fn first_commits_of_an_empty_repository_are_resumed() {
    let bed = Bed::empty();
    let mut engine = bed.open("main");
    engine
        .commit(plan("alice", "one", &[write("x/a.yaml", "a\n")]))
        .unwrap();
    engine.persist().unwrap();
    drop(engine);
    let mut engine = bed.open("main");
    assert_eq!(engine.resumed(), kept(1));
    engine.push().unwrap();
    assert_eq!(bed.log("main", "%an"), ["alice"]);
}

/// A process that made one commit in x and two in y, pushed none, and was killed.
fn killed_before_its_push(bed: &Bed) {
    let mut engine = bed.open("main");
    for (author, path, content) in [
        ("alice", "x/a.yaml", "a\n"),
        ("bob", "y/b.yaml", "b\n"),
        ("carol", "y/b.yaml", "c\n"),
    ] {
        let message = format!("{author}'s\n\nKubernetes-User: {author}\n");
        engine
            .commit(plan(author, &message, &[write(path, content)]))
            .unwrap();
    }
    engine.persist().unwrap();
}

#[test]
fn commits_are_resumed_on_a_branch_that_moved_elsewhere() {
    let bed = Bed::with_readme();
    bed.somebody_pushes(
        "main",
        &[("x/old.yaml", Some("o\n")), ("y/old.yaml", Some("o\n"))],
    );
    killed_before_its_push(&bed);
    let local = ["log", "-3", "--reverse", "--format=%ad"];
    let dates = git(
        &bed.work_dir(),
        &[&local[..], &["GITOPS_REVERSER_LOCAL"]].concat(),
    );
    bed.somebody_pushes("main", &[("xx/theirs", Some("t\n"))]);
    let theirs = bed.tip("main");
    let mut engine = bed.open("main");
    assert_eq!(engine.resumed(), kept(3));
    // And a second time: nothing is lost if it is killed again right now.
    drop(engine);
    engine = bed.open("main");
    assert_eq!(engine.resumed(), kept(3));
    assert_eq!(
        engine.push().unwrap(),
        PushOutcome::Pushed {
            commits: 3,
            replays: 0
        }
    );
    assert_eq!(bed.log("main", "%H")[2], theirs);
    assert_eq!(
        bed.log(
            "main",
            "%an %(trailers:key=Kubernetes-User,valueonly,separator=)"
        )[3..],
        ["alice alice", "bob bob", "carol carol"]
    );
    assert_eq!(bed.log("main", "%ad")[3..].join("\n"), dates);
    assert_eq!(bed.content("main", "xx/theirs"), "t");
    assert_eq!(bed.content("main", "y/b.yaml"), "c");
    bed.assert_sound();
}

#[test]
fn only_commits_in_a_folder_that_somebody_changed_are_dropped() {
    let bed = Bed::with_readme();
    killed_before_its_push(&bed);
    bed.somebody_pushes("main", &[("x/theirs.yaml", Some("t\n"))]);
    let mut engine = bed.open("main");
    assert_eq!(
        engine.resumed(),
        Resumed {
            kept: 2,
            dropped: 1
        }
    );
    assert_eq!(engine.read("x/a.yaml").unwrap(), None);
    engine.push().unwrap();
    assert_eq!(bed.log("main", "%an")[2..], ["bob", "carol"]);
    bed.assert_sound();
}

#[test]
fn commits_in_a_folder_that_is_ours_no_more_are_dropped_once_the_branch_moves() {
    let bed = Bed::with_readme();
    killed_before_its_push(&bed);
    bed.somebody_pushes("main", &[("README", Some("t\n"))]);
    let mut options = bed.options("main");
    options.folders = vec!["x".to_owned()];
    let engine = Engine::open(options).unwrap();
    assert_eq!(
        engine.resumed(),
        Resumed {
            kept: 1,
            dropped: 2
        }
    );
}

#[test]
fn the_whole_repository_for_a_folder_is_moved_by_anything() {
    let bed = Bed::with_readme();
    killed_before_its_push(&bed);
    bed.somebody_pushes("main", &[("README", Some("t\n"))]);
    let mut options = bed.options("main");
    options.folders = vec![String::new()];
    let mut engine = Engine::open(options).unwrap();
    assert_eq!(
        engine.resumed(),
        Resumed {
            kept: 0,
            dropped: 3
        }
    );
    assert!(!engine.has_unpushed());
    assert_eq!(engine.tip().unwrap().to_string(), bed.tip("main"));
    assert_eq!(engine.push().unwrap(), PushOutcome::UpToDate { replays: 0 });
}

#[test]
fn commits_pushed_before_the_kill_and_others_on_top_are_not_pushed_again() {
    let bed = Bed::with_readme();
    killed_before_its_push(&bed);
    let remote = bed.remote();
    let refspec = "GITOPS_REVERSER_LOCAL~1:refs/heads/main";
    git(
        &bed.work_dir(),
        &["push", "-q", remote.to_str().unwrap(), refspec],
    );
    bed.somebody_pushes("main", &[("README", Some("t\n"))]);
    let mut engine = bed.open("main");
    engine.push().unwrap();
    assert_eq!(
        bed.log("main", "%an"),
        ["Somebody Else", "alice", "bob", "Somebody Else", "carol"]
    );
    bed.assert_sound();
}

/// A process that had pushed a change of two files, and was killed before it noted that.
fn killed_after_its_push(bed: &Bed) {
    let mut engine = bed.open("main");
    let both = |content| ["x/a.yaml", "x/b.yaml"].map(|path| write(path, content));
    engine.commit(plan("alice", "one", &both("1\n"))).unwrap();
    engine.push().unwrap();
    engine.note_settled().unwrap();
    engine.commit(plan("alice", "two", &both("2\n"))).unwrap();
    engine.persist().unwrap();
    drop(engine);
    let remote = bed.remote();
    let refspec = "GITOPS_REVERSER_LOCAL:refs/heads/main";
    git(
        &bed.work_dir(),
        &["push", "-q", remote.to_str().unwrap(), refspec],
    );
}

#[test]
fn what_somebody_reverted_right_after_the_kill_is_known_to_have_been_pushed() {
    let bed = Bed::with_readme();
    killed_after_its_push(&bed);
    bed.somebody_pushes("main", &[("x/a.yaml", Some("1\n"))]);
    bed.somebody_pushes("main", &[("README", Some("t\n"))]);
    let mut engine = bed.open("main");
    assert_eq!(engine.resumed(), Resumed::default());
    let foreign = ["x/a.yaml", "x/b.yaml"].map(|path| engine.is_foreign(path));
    assert_eq!(foreign, [true, false]);
    assert_eq!(engine.push().unwrap(), PushOutcome::UpToDate { replays: 0 });
    bed.assert_sound();
}

#[test]
fn what_somebody_reverted_is_theirs_also_where_the_push_was_not_noted_as_ours() {
    let bed = Bed::with_readme();
    let mut engine = bed.open("main");
    let files = |content| [write("x/a.yaml", content), write("x/b.yaml", "b\n")];
    engine.commit(plan("alice", "one", &files("1\n"))).unwrap();
    engine.push().unwrap();
    engine.note_settled().unwrap();
    engine.commit(plan("alice", "two", &files("2\n"))).unwrap();
    engine.push().unwrap();
    drop(engine);
    bed.somebody_pushes("main", &[("x/a.yaml", Some("1\n"))]);
    let engine = bed.open("main");
    let foreign = ["x/a.yaml", "x/b.yaml"].map(|path| engine.is_foreign(path));
    assert_eq!(foreign, [true, false]);
}

#[test]
fn a_push_right_before_the_kill_is_found_below_what_somebody_merged() {
    let bed = Bed::with_readme();
    let before = bed.tip("main");
    killed_after_its_push(&bed);
    bed.somebody("main", &[], |directory| {
        git(directory, &["checkout", "-q", "-B", "theirs", &before]);
        std::fs::write(directory.join("README"), "t\n").unwrap();
        git(directory, &["commit", "-q", "-am", "theirs"]);
        // Ours is the second parent.
        git(directory, &["merge", "-q", "origin/main", "-m", "merge"]);
    });
    let mut engine = bed.open("main");
    assert_eq!(engine.resumed(), Resumed::default());
    assert_eq!(engine.push().unwrap(), PushOutcome::UpToDate { replays: 0 });
    assert_eq!(engine.read("x/a.yaml").unwrap().unwrap(), b"2\n"[..]);
}

#[test]
fn commits_pushed_right_before_the_kill_are_not_pushed_again() {
    let bed = Bed::with_readme();
    let mut engine = bed.open("main");
    engine
        .commit(plan("alice", "one", &[write("x/a.yaml", "a\n")]))
        .unwrap();
    engine.persist().unwrap();
    let pushed = engine.tip().unwrap().to_string();
    engine
        .commit(plan("alice", "two", &[write("x/a.yaml", "b\n")]))
        .unwrap();
    engine.persist().unwrap();
    drop(engine);
    git(
        &bed.work_dir(),
        &[
            "push",
            "-q",
            bed.remote().to_str().unwrap(),
            &format!("{pushed}:refs/heads/main"),
        ],
    );
    let engine = bed.open("main");
    assert_eq!(engine.resumed(), kept(1));
    assert_eq!(engine.remote_tip().unwrap().to_string(), pushed);
}

#[test]
fn pushed_commits_that_somebody_reset_are_not_brought_back() {
    let bed = Bed::with_readme();
    let mut engine = bed.open("main");
    engine
        .commit(plan("alice", "one", &[write("x/a.yaml", "a\n")]))
        .unwrap();
    engine.push().unwrap();
    drop(engine);
    git(&bed.remote(), &["update-ref", "refs/heads/main", "main~1"]);
    let engine = bed.open("main");
    assert_eq!(engine.resumed(), Resumed::default());
    assert_eq!(engine.read("x/a.yaml").unwrap(), None);
}

#[test]
fn damaged_clones_are_replaced() {
    type Damage = fn(&std::path::Path);
    let damages: [(&str, Damage); 4] = [
        ("no HEAD", |clone| {
            std::fs::remove_file(clone.join("HEAD")).unwrap();
        }),
        ("no objects", |clone| {
            std::fs::remove_dir_all(clone.join("objects")).unwrap();
            std::fs::create_dir(clone.join("objects")).unwrap();
        }),
        ("cut packs", |clone| {
            let packs = std::fs::read_dir(clone.join("objects/pack")).unwrap();
            for file in packs.map(Result::unwrap) {
                std::fs::remove_file(file.path()).unwrap();
                std::fs::File::create(file.path())
                    .unwrap()
                    .write_all(b"PACK")
                    .unwrap();
            }
        }),
        ("nonsense for a state", |clone| {
            std::fs::write(clone.join("gitops-reverser-state"), b"\xff\x00").unwrap();
        }),
    ];
    for (what, damage) in damages {
        let bed = Bed::with_readme();
        let mut engine = bed.open("main");
        engine
            .commit(plan("alice", "one", &[write("x/a.yaml", "a\n")]))
            .unwrap();
        engine.push().unwrap();
        drop(engine);
        damage(&bed.work_dir());
        let mut engine = bed.open("main");
        assert_eq!(engine.read("x/a.yaml").unwrap().unwrap(), b"a\n", "{what}");
        engine
            .commit(plan("alice", "two", &[write("x/a.yaml", "b\n")]))
            .unwrap();
        engine.push().unwrap();
        bed.assert_sound();
    }
}

/// libgit2 is told not to look, as it takes longer over it than over all else.
#[test]
fn what_is_read_is_compared_with_its_id() {
    git2::opts::strict_hash_verification(false);
    let bed = Bed::with_readme();
    let engine = bed.open("main");
    let oid = crate::git::blob_id(b"a\n");
    let hex = oid.to_string();
    let folder = bed.work_dir().join("objects").join(&hex[..2]);
    std::fs::create_dir_all(&folder).unwrap();
    let write = |content: &[u8]| {
        let file = std::fs::File::create(folder.join(&hex[2..])).unwrap();
        let mut file = flate2::write::ZlibEncoder::new(file, flate2::Compression::fast());
        file.write_all(b"blob 2\0").unwrap();
        file.write_all(content).unwrap();
        file.finish().unwrap();
    };
    write(b"a\n");
    assert_eq!(engine.read_blob(oid).unwrap(), b"a\n");
    write(b"b\n");
    let error = engine.read_blob(oid).unwrap_err();
    assert!(error.is_corrupt_clone(), "{error}");
}

#[test]
fn locks_of_a_killed_process_stop_nobody() {
    let bed = Bed::with_readme();
    let mut engine = bed.open("main");
    engine
        .commit(plan("alice", "one", &[write("x/a.yaml", "a\n")]))
        .unwrap();
    engine.persist().unwrap();
    drop(engine);
    for lock in [
        "shallow.lock",
        "config.lock",
        "refs/gitops-reverser/known.lock",
        "GITOPS_REVERSER_LOCAL.lock",
        "objects/pack/pack_git2_half",
    ] {
        std::fs::write(bed.work_dir().join(lock), "").unwrap();
    }
    let mut engine = bed.open("main");
    assert_eq!(engine.resumed(), kept(1));
    engine
        .commit(plan("alice", "two", &[write("x/a.yaml", "b\n")]))
        .unwrap();
    engine.push().unwrap();
    assert!(!bed.work_dir().join("objects/pack/pack_git2_half").exists());
    bed.assert_sound();
}

#[test]
fn clone_of_another_branch_is_replaced() {
    let bed = Bed::with_readme();
    bed.somebody_pushes("live", &[("x/a.yaml", Some("a\n"))]);
    drop(bed.open("main"));
    let engine = bed.open("live");
    assert_eq!(engine.tip().unwrap().to_string(), bed.tip("live"));
}

#[test]
fn repository_that_is_not_there_is_not_found() {
    let bed = Bed::with_readme();
    std::fs::remove_dir_all(bed.remote()).unwrap();
    let error = bed.try_open("main").err().unwrap();
    assert!(error.is_not_found(), "{error}");
}

#[test]
fn branch_names_that_git_refuses_are_refused() {
    let bed = Bed::with_readme();
    for branch in ["", "a..b", "-x", "a b", "a~1", "x.lock", "/"] {
        assert!(
            matches!(bed.try_open(branch), Err(EngineError::Invalid { .. })),
            "{branch}"
        );
    }
}

/// Loose objects cost ten times as much; a fetch may leave a few.
#[test]
fn commits_are_written_as_one_pack() {
    let bed = Bed::with_readme();
    let mut engine = bed.open("main");
    let (loose, packs) = (engine.store.loose_objects(), engine.store.packs.size().0);
    for n in 0..20 {
        engine
            .commit(plan(
                "alice",
                "one",
                &[write(&format!("x/{n}.yaml"), "a\n")],
            ))
            .unwrap();
    }
    assert_eq!(engine.store.packs.size().0, packs);
    engine.persist().unwrap();
    engine.persist().unwrap();
    assert_eq!(
        (engine.store.loose_objects(), engine.store.packs.size().0),
        (loose, packs + 1)
    );
    bed.assert_sound();
}

/// Each of them would be 40 KB otherwise.
#[test]
fn a_large_folder_changed_again_and_again_is_saved_as_differences() {
    const FILES: usize = 1000;
    let bed = Bed::with_readme();
    let mut engine = bed.open("main");
    let all: Vec<_> = (0..FILES)
        .map(|n| write(&format!("x/file-{n:04}.yaml"), &format!("{n}\n")))
        .collect();
    engine.commit(plan("alice", "all", &all)).unwrap();
    engine.push().unwrap();
    let before = engine.store.packs.size().1;
    for n in 0..120 {
        engine
            .commit(plan(
                "alice",
                "one",
                &[write(&format!("x/file-{n:04}.yaml"), "other\n")],
            ))
            .unwrap();
    }
    engine.persist().unwrap();
    // A chain of differences has its bounds, so that the folder is there whole three times.
    let grown = engine.store.packs.size().1 - before;
    assert!(grown < 200_000, "{grown} bytes");
    engine.push().unwrap();
    assert_eq!(bed.files("main").len(), FILES + 1);
    bed.assert_sound();
}

#[test]
fn packs_are_made_one_now_and_then() {
    let bed = Bed::with_readme();
    let mut engine = bed.open("main");
    for n in 0..100 {
        engine
            .commit(plan(
                "alice",
                "one",
                &[write(&format!("x/{}.yaml", n % 7), &format!("{n}\n"))],
            ))
            .unwrap();
        engine.push().unwrap();
        assert_eq!(
            engine.read(&format!("x/{}.yaml", n % 7)).unwrap().unwrap(),
            format!("{n}\n").as_bytes()
        );
    }
    let packs = engine.store.packs.size().0;
    assert!(packs < 30, "{packs}");
    assert!(!engine.is_overgrown());
    bed.assert_sound();
}

/// Of `file://`, where libgit2 makes the pack. libgit2 1.9 reads its big-file threshold from `pack.deltaCacheSize` by mistake, and
/// big files are not searched for deltas, which takes long. Should a version mend this: set `core.bigFileThreshold` too.
#[test]
fn libgit2_does_not_search_for_deltas() {
    let bed = Bed::with_readme();
    let mut engine = bed.open("main");
    let text = "the same line, again and again\n".repeat(50);
    for n in 0..20 {
        engine
            .commit(plan(
                "alice",
                "one",
                &[write("x/a.yaml", &format!("{n}\n{text}"))],
            ))
            .unwrap();
    }
    engine.persist().unwrap();
    let clone = engine.store.repository();
    let mut builder = clone.packbuilder().unwrap();
    let mut walk = clone.revwalk().unwrap();
    walk.push(engine.tip().unwrap()).unwrap();
    builder.insert_walk(&mut walk).unwrap();
    let pack = bed.room.path().join("by-libgit2.pack");
    let mut bytes = git2::Buf::new();
    builder.write_buf(&mut bytes).unwrap();
    std::fs::write(&pack, &*bytes).unwrap();
    git(bed.room.path(), &["index-pack", pack.to_str().unwrap()]);
    let listed = git(
        bed.room.path(),
        &["verify-pack", "-v", pack.to_str().unwrap()],
    );
    assert!(!listed.contains("chain length"), "{listed}");
}

#[test]
fn memory_is_given_back_after_a_push_and_everything_stays_readable() {
    let bed = Bed::with_readme();
    let mut engine = bed.open("main");
    for n in 0..3 {
        engine
            .commit(plan(
                "alice",
                "one",
                &[write("x/a.yaml", &format!("{n}\n"))],
            ))
            .unwrap();
        engine.push().unwrap();
        assert_eq!(
            engine.read("x/a.yaml").unwrap().unwrap(),
            format!("{n}\n").into_bytes()
        );
    }
    assert_eq!(bed.log("main", "%s").len(), 4);
    bed.assert_sound();
}
