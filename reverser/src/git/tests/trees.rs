//! What commits do to trees.

use crate::git::testing::{Bed, delete, git, plan, write};
use crate::git::{CommitOutcome, EngineError, PathError, PushOutcome};

#[test]
fn first_commit_starts_the_branch_of_an_empty_repository() {
    let bed = Bed::empty();
    let mut engine = bed.open("main");
    assert_eq!(engine.tip(), None);
    let outcome = engine
        .commit(plan("alice", "Create a\n", &[write("x/a.yaml", "a\n")]))
        .unwrap();
    assert!(matches!(
        outcome,
        CommitOutcome::Committed {
            written: 1,
            deleted: 0,
            bytes: 2,
            ..
        }
    ));
    assert_eq!(
        engine.push().unwrap(),
        PushOutcome::Pushed {
            commits: 1,
            replays: 0
        }
    );
    assert_eq!(engine.push().unwrap(), PushOutcome::UpToDate { replays: 0 });
    assert_eq!(bed.files("main"), ["100644 x/a.yaml"]);
    assert_eq!(
        bed.log("main", "%an <%ae>|%cn|%s"),
        ["alice <alice@example.com>|GitOps Reverser|Create a"]
    );
    bed.assert_sound();
}

#[test]
fn same_content_does_not_commit() {
    let bed = Bed::with_readme();
    let mut engine = bed.open("main");
    let changes = [write("x/a.yaml", "a\n"), write("x/b.yaml", "b\n")];
    engine.commit(plan("alice", "both", &changes)).unwrap();
    assert_eq!(
        engine.commit(plan("bob", "again", &changes)).unwrap(),
        CommitOutcome::Unchanged
    );
    assert_eq!(
        engine.commit(plan("bob", "nothing", &[])).unwrap(),
        CommitOutcome::Unchanged
    );
    assert_eq!(
        engine
            .commit(plan("bob", "gone", &[delete("x/c.yaml"), delete("y/z")]))
            .unwrap(),
        CommitOutcome::Unchanged
    );
    let outcome = engine
        .commit(plan(
            "bob",
            "one",
            &[write("x/a.yaml", "a\n"), write("x/b.yaml", "new\n")],
        ))
        .unwrap();
    assert!(matches!(
        outcome,
        CommitOutcome::Committed {
            written: 1,
            bytes: 4,
            ..
        }
    ));
    assert_eq!(engine.unpushed(), 2);
}

#[test]
fn deleting_the_last_file_takes_its_empty_folders_away() {
    let bed = Bed::with_readme();
    let mut engine = bed.open("main");
    engine
        .commit(plan("alice", "deep", &[write("a/b/c/d.yaml", "d\n")]))
        .unwrap();
    let outcome = engine
        .commit(plan("alice", "gone", &[delete("a/b/c/d.yaml")]))
        .unwrap();
    assert!(matches!(
        outcome,
        CommitOutcome::Committed {
            deleted: 1,
            written: 0,
            ..
        }
    ));
    assert_eq!(engine.list_directories("").unwrap(), Vec::<String>::new());
    engine.push().unwrap();
    assert_eq!(bed.files("main"), ["100644 README"]);
    bed.assert_sound();
}

#[test]
fn a_branch_may_become_empty_and_fill_again() {
    let bed = Bed::empty();
    let mut engine = bed.open("main");
    engine
        .commit(plan("alice", "one", &[write("a.yaml", "a\n")]))
        .unwrap();
    engine
        .commit(plan("alice", "gone", &[delete("a.yaml")]))
        .unwrap();
    engine.push().unwrap();
    assert!(bed.files("main").is_empty());
    engine
        .commit(plan("alice", "back", &[write("a.yaml", "a\n")]))
        .unwrap();
    engine.push().unwrap();
    assert_eq!(bed.files("main"), ["100644 a.yaml"]);
    bed.assert_sound();
}

#[test]
fn planted_symlink_is_replaced_not_followed() {
    let bed = Bed::with_readme();
    bed.somebody("main", &[], |directory| {
        std::fs::create_dir_all(directory.join("elsewhere")).unwrap();
        std::fs::write(directory.join("elsewhere/a.yaml"), "theirs\n").unwrap();
        std::fs::create_dir_all(directory.join("base")).unwrap();
        std::os::unix::fs::symlink("../elsewhere", directory.join("base/v1")).unwrap();
        std::os::unix::fs::symlink("../elsewhere/a.yaml", directory.join("base/file.yaml"))
            .unwrap();
    });
    let mut engine = bed.open("main");
    assert_eq!(engine.blob_id("base/v1/a.yaml"), None);
    assert_eq!(engine.blob_id("base/file.yaml"), None);
    assert_eq!(engine.read("base/file.yaml").unwrap(), None);
    assert!(engine.list_files("base").unwrap().is_empty());
    // The link's target, as a file's content, is still another thing than the link.
    let changes = [
        write("base/v1/a.yaml", "ours\n"),
        write("base/file.yaml", "../elsewhere/a.yaml"),
    ];
    engine.commit(plan("alice", "replace", &changes)).unwrap();
    engine.push().unwrap();
    assert_eq!(bed.content("main", "elsewhere/a.yaml"), "theirs");
    assert_eq!(
        bed.files("main"),
        [
            "100644 README",
            "100644 base/file.yaml",
            "100644 base/v1/a.yaml",
            "100644 elsewhere/a.yaml"
        ]
    );
    bed.assert_sound();
}

#[test]
fn deleting_never_follows_a_symlink() {
    let bed = Bed::with_readme();
    bed.somebody("main", &[], |directory| {
        std::fs::create_dir_all(directory.join("elsewhere")).unwrap();
        std::fs::write(directory.join("elsewhere/a.yaml"), "theirs\n").unwrap();
        std::os::unix::fs::symlink("elsewhere", directory.join("base")).unwrap();
    });
    let mut engine = bed.open("main");
    assert_eq!(
        engine
            .commit(plan("alice", "gone", &[delete("base/a.yaml")]))
            .unwrap(),
        CommitOutcome::Unchanged
    );
}

#[test]
fn file_folder_and_submodule_in_the_way_are_replaced() {
    let bed = Bed::with_readme();
    bed.somebody("main", &[], |directory| {
        std::fs::write(directory.join("v1"), "a file\n").unwrap();
        std::fs::create_dir_all(directory.join("b.yaml")).unwrap();
        std::fs::write(directory.join("b.yaml/inner"), "inner\n").unwrap();
        let commit = git(directory, &["rev-parse", "HEAD"]);
        git(
            directory,
            &[
                "update-index",
                "--add",
                "--cacheinfo",
                &format!("160000,{commit},sub"),
            ],
        );
        std::fs::create_dir(directory.join("sub")).unwrap();
        git(directory, &["init", "-q", "sub"]);
        git(
            &directory.join("sub"),
            &["commit", "-q", "--allow-empty", "-m", "x"],
        );
    });
    let mut engine = bed.open("main");
    let changes = [
        write("v1/a.yaml", "a\n"),
        write("b.yaml", "b\n"),
        write("sub/c.yaml", "c\n"),
    ];
    engine.commit(plan("alice", "replace", &changes)).unwrap();
    engine.push().unwrap();
    assert_eq!(
        bed.files("main"),
        [
            "100644 README",
            "100644 b.yaml",
            "100644 sub/c.yaml",
            "100644 v1/a.yaml"
        ]
    );
    bed.assert_sound();
}

#[test]
fn deleting_leaves_a_folder_in_the_files_place_alone() {
    let bed = Bed::with_readme();
    bed.somebody_pushes("main", &[("b.yaml/inner", Some("theirs\n"))]);
    let mut engine = bed.open("main");
    assert_eq!(
        engine
            .commit(plan("alice", "gone", &[delete("b.yaml")]))
            .unwrap(),
        CommitOutcome::Unchanged
    );
}

#[test]
fn foreign_entries_and_mode_bits_stay_as_they_are() {
    use std::os::unix::fs::PermissionsExt;
    let bed = Bed::with_readme();
    bed.somebody("main", &[], |directory| {
        std::fs::create_dir_all(directory.join("x")).unwrap();
        for name in ["run.sh", "ours.yaml"] {
            let path = directory.join("x").join(name);
            std::fs::write(&path, "content\n").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        std::os::unix::fs::symlink("/etc/passwd", directory.join("x/link")).unwrap();
    });
    let mut engine = bed.open("main");
    assert_eq!(
        engine
            .commit(plan("alice", "same", &[write("x/ours.yaml", "content\n")]))
            .unwrap(),
        CommitOutcome::Unchanged
    );
    engine
        .commit(plan(
            "alice",
            "new",
            &[write("x/a.yaml", "a\n"), write("x/z.yaml", "z\n")],
        ))
        .unwrap();
    engine.push().unwrap();
    assert_eq!(
        bed.files("main"),
        [
            "100644 README",
            "100644 x/a.yaml",
            "120000 x/link",
            "100755 x/ours.yaml",
            "100755 x/run.sh",
            "100644 x/z.yaml"
        ]
    );
    bed.assert_sound();
}

/// Git sorts a folder as if its name ended in a slash: `a-`, `a.yaml`, then the folder `a`, then `a0`.
#[test]
fn names_that_sort_around_a_folder_keep_the_tree_sound() {
    let bed = Bed::empty();
    let mut engine = bed.open("main");
    for (n, path) in ["a/x", "a.yaml", "a0", "a-", "a", "b"]
        .into_iter()
        .enumerate()
    {
        let path = if path == "a" { "a/y" } else { path };
        engine
            .commit(plan("alice", "one more", &[write(path, &format!("{n}\n"))]))
            .unwrap();
    }
    engine.push().unwrap();
    assert_eq!(
        bed.files("main"),
        [
            "100644 a-",
            "100644 a.yaml",
            "100644 a/x",
            "100644 a/y",
            "100644 a0",
            "100644 b"
        ]
    );
    bed.assert_sound();
}

#[test]
fn paths_outside_or_into_git_are_refused_and_nothing_is_committed() {
    let bed = Bed::with_readme();
    let mut engine = bed.open("main");
    let before = engine.tip();
    for path in [
        "../a",
        "/a",
        "a/../b",
        ".git/config",
        "x/.Git/hooks/post-update",
        "a//b",
        "",
    ] {
        let error = engine
            .commit(plan(
                "eve",
                "out",
                &[write("fine.yaml", "x"), write(path, "x")],
            ))
            .unwrap_err();
        assert!(matches!(error, EngineError::Path(_)), "{path}: {error}");
    }
    let twice = [write("a", "1"), write("a/b", "2")];
    let error = engine.commit(plan("eve", "both", &twice)).unwrap_err();
    assert!(matches!(error, EngineError::Path(PathError::Conflict(_))));
    assert_eq!(engine.tip(), before);
}

#[test]
fn a_write_wins_over_a_removal_in_its_way() {
    let bed = Bed::with_readme();
    let mut engine = bed.open("main");
    engine
        .commit(plan(
            "alice",
            "start",
            &[write("a/b", "1"), write("c", "2")],
        ))
        .unwrap();
    let changes = [
        delete("a/b"),
        write("a", "file"),
        delete("c"),
        write("c/d", "3"),
    ];
    engine.commit(plan("alice", "swap", &changes)).unwrap();
    let reversed: Vec<_> = [
        write("a/b", "1"),
        delete("a"),
        write("c", "2"),
        delete("c/d"),
    ]
    .into_iter()
    .collect();
    engine
        .commit(plan("alice", "swap back", &reversed))
        .unwrap();
    engine.push().unwrap();
    assert_eq!(
        bed.files("main"),
        ["100644 README", "100644 a/b", "100644 c"]
    );
    bed.assert_sound();
}

#[test]
fn reading_sees_unpushed_commits() {
    let bed = Bed::with_readme();
    let mut engine = bed.open("main");
    engine
        .commit(plan(
            "alice",
            "x",
            &[write("a/b/c.yaml", "c\n"), write("a/d.yaml", "d\n")],
        ))
        .unwrap();
    assert_eq!(engine.read("a/b/c.yaml").unwrap().unwrap(), b"c\n");
    assert_eq!(
        engine.blob_id("a/d.yaml").unwrap().to_string(),
        "4bcfe98e640c8284511312660fb8709b0afa888e"
    );
    assert_eq!(engine.blob_id("a/none.yaml"), None);
    let paths: Vec<_> = engine
        .list_files("a")
        .unwrap()
        .into_iter()
        .map(|file| file.path)
        .collect();
    assert_eq!(paths, ["a/b/c.yaml", "a/d.yaml"]);
    assert_eq!(engine.list_files("").unwrap().len(), 3);
    assert_eq!(engine.list_files("README").unwrap(), []);
    assert_eq!(engine.list_directories("a").unwrap(), ["b"]);
    engine
        .commit(plan("alice", "y", &[write("a/d.yaml", "new\n")]))
        .unwrap();
    assert_eq!(engine.read("a/d.yaml").unwrap().unwrap(), b"new\n");
    assert_ne!(
        engine.blob_id("a/d.yaml").unwrap().to_string(),
        "4bcfe98e640c8284511312660fb8709b0afa888e"
    );
}
