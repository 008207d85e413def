//! Objects that are larger than anything of ours.

use git2::Oid;

use crate::git::EngineError;
use crate::git::testing::{Bed, git, plan, write};

/// Makes main this tree, whatever it holds.
fn put(bed: &Bed, tree: &str) {
    let remote = bed.remote();
    let commit = git(&remote, &["commit-tree", "-m", "theirs", tree]);
    git(&remote, &["update-ref", "refs/heads/main", &commit]);
}

fn object(bed: &Bed, kind: &str, bytes: &[u8]) -> String {
    let file = bed.room.path().join("object");
    std::fs::write(&file, bytes).unwrap();
    let file = file.to_str().unwrap();
    git(
        &bed.remote(),
        &["hash-object", "-w", "-t", kind, "--literally", file],
    )
}

fn tree<'a>(bed: &Bed, entries: impl Iterator<Item = (&'a str, String, &'a str)>) -> String {
    let mut bytes = Vec::new();
    for (mode, name, oid) in entries {
        bytes.extend_from_slice(format!("{mode} {name}\0").as_bytes());
        bytes.extend_from_slice(Oid::from_str(oid).unwrap().as_bytes());
    }
    object(bed, "tree", &bytes)
}

fn is_too_large<T: std::fmt::Debug>(read: &Result<T, EngineError>) -> bool {
    matches!(read, Err(EngineError::TooLarge { .. }))
}

#[test]
fn a_gigantic_file_reads_as_empty_and_is_replaced() {
    let bed = Bed::empty();
    let blob = object(&bed, "blob", &vec![0; 33 << 20]);
    let folder = tree(&bed, [("100644", "a.yaml".to_owned(), &*blob)].into_iter());
    let root = tree(&bed, [("40000", "x".to_owned(), &*folder)].into_iter());
    put(&bed, &root);
    let mut engine = bed.open("main");
    assert_eq!(engine.read("x/a.yaml").unwrap(), Some(Vec::new()));
    assert!(is_too_large(&engine.read_blob(blob.parse().unwrap())));
    assert_eq!(engine.list_files("").unwrap().len(), 1);
    engine
        .commit(plan("alice", "put right", &[write("x/a.yaml", "a\n")]))
        .unwrap();
    engine.push().unwrap();
    assert_eq!(engine.read("x/a.yaml").unwrap().unwrap(), b"a\n");
}

#[test]
fn a_gigantic_folder_is_an_error_and_others_are_read() {
    let bed = Bed::empty();
    let blob = object(&bed, "blob", b"a\n");
    let name = |n: u32| ("100644", format!("{n:0>40}"), &*blob);
    let gigantic = tree(&bed, (0..500_000).map(name));
    let small = tree(&bed, (0..3).map(name));
    let root = [
        ("40000", "x".to_owned(), &*gigantic),
        ("40000", "y".to_owned(), &*small),
    ];
    put(&bed, &tree(&bed, root.into_iter()));
    let mut engine = bed.open("main");
    assert!(is_too_large(&engine.read("x/a.yaml")));
    assert!(is_too_large(&engine.list_files("x")));
    assert!(is_too_large(&engine.commit(plan(
        "alice",
        "in vain",
        &[write("x/a.yaml", "a\n")]
    ))));
    assert_eq!(engine.list_files("y").unwrap().len(), 3);
    engine
        .commit(plan("alice", "beside it", &[write("y/a.yaml", "a\n")]))
        .unwrap();
    engine.push().unwrap();
}

#[test]
fn few_objects_that_stand_for_many_files_are_not_listed() {
    let bed = Bed::empty();
    let mut inner = ("100644", object(&bed, "blob", b"a\n"));
    for _ in 0..7 {
        let entry = |n: u32| (inner.0, format!("{n}"), &*inner.1);
        let oid = tree(&bed, (0..10).map(entry));
        inner = ("40000", oid);
    }
    let root = tree(&bed, [("40000", "x".to_owned(), &*inner.1)].into_iter());
    put(&bed, &root);
    let mut engine = bed.open("main");
    assert!(is_too_large(&engine.list_files("x")));
    assert_eq!(engine.list_files("x/0/0/0").unwrap().len(), 10_000);
    // Beside it, a path is found and changed as anywhere.
    engine
        .commit(plan("alice", "beside it", &[write("x/0/0/a.yaml", "a\n")]))
        .unwrap();
    engine.push().unwrap();
}
