//! What holds for all trees and all edits.

use std::collections::BTreeMap;

use git2::{IndexEntry, IndexTime, ObjectType, Oid};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::git::store::Store;
use crate::git::tree::{Applied, Edit, Edits, compare};
use crate::git::{RepoUrl, pack};

type Files = BTreeMap<String, Vec<u8>>;
type Plan = BTreeMap<String, Option<u8>>;

/// Few names, so that files and folders often meet, among them those that sort around a folder's.
fn path() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["a", "a-", "a.", "a0", "b", "é"]);
    prop::collection::vec(name, 1..4).prop_map(|segments| segments.join("/"))
}

fn plan() -> impl Strategy<Value = Plan> {
    prop::collection::btree_map(path(), prop::option::weighted(0.7, 0..3_u8), 0..8)
}

fn below(inner: &str, outer: &str) -> bool {
    inner
        .strip_prefix(outer)
        .is_some_and(|rest| rest.starts_with('/'))
}

/// No file is written that another write needs as a folder.
fn fits(plan: &Plan) -> bool {
    let written: Vec<&String> = plan
        .iter()
        .filter(|(_, c)| c.is_some())
        .map(|(p, _)| p)
        .collect();
    !written
        .iter()
        .any(|outer| written.iter().any(|inner| below(inner, outer)))
}

fn model(files: &mut Files, plan: &Plan) {
    for path in plan.iter().filter(|(_, c)| c.is_none()).map(|(p, _)| p) {
        files.remove(path);
    }
    for (path, content) in plan.iter().filter_map(|(path, c)| c.map(|c| (path, c))) {
        files.retain(|other, _| !below(other, path) && !below(path, other));
        files.insert(path.clone(), vec![content]);
    }
}

/// The tree as libgit2 itself makes it, of an index.
fn oracle(store: &Store, files: &Files) -> Option<Oid> {
    let mut index = git2::Index::new().unwrap();
    for (path, content) in files {
        // libgit2 wants to see it.
        let id = store.repository().blob(content).unwrap();
        index
            .add(&IndexEntry {
                ctime: IndexTime::new(0, 0),
                mtime: IndexTime::new(0, 0),
                dev: 0,
                ino: 0,
                mode: 0o100_644,
                uid: 0,
                gid: 0,
                file_size: 0,
                id,
                flags: 0,
                flags_extended: 0,
                path: path.clone().into_bytes(),
            })
            .unwrap();
    }
    (!files.is_empty()).then(|| index.write_tree_to(store.repository()).unwrap())
}

fn apply(store: &mut Store, base: Option<Oid>, plan: &Plan) -> (Option<Oid>, Applied) {
    make(store, base, plan, &mut Vec::new())
}

fn make(
    store: &mut Store,
    base: Option<Oid>,
    plan: &Plan,
    made: &mut Vec<Oid>,
) -> (Option<Oid>, Applied) {
    let contents: Vec<(&str, Option<[u8; 1]>)> = plan
        .iter()
        .map(|(path, c)| (path.as_str(), c.map(|c| [c])))
        .collect();
    let mut edits = Edits::default();
    for (path, content) in &contents {
        let edit = match content {
            Some(content) => Edit::Write {
                oid: Oid::hash_object(ObjectType::Blob, content).unwrap(),
                content,
            },
            None => Edit::Remove,
        };
        edits.add(path.as_bytes(), edit).unwrap();
    }
    let mut applied = Applied::default();
    let tree = edits
        .apply(&mut store.objects(made), base, &mut applied)
        .unwrap();
    (tree, applied)
}

fn store(directory: &TempDir) -> Store {
    let url = RepoUrl::parse("file:///nowhere/at/all").unwrap();
    Store::create(&directory.path().join("clone"), &url, "main").unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn trees_are_what_git_itself_makes(plans in prop::collection::vec(plan().prop_filter("fits", fits), 1..6)) {
        let directory = TempDir::new().unwrap();
        let mut store = store(&directory);
        let (mut files, mut tree) = (Files::new(), None);
        for plan in &plans {
            model(&mut files, plan);
            let (after, applied) = apply(&mut store, tree, plan);
            prop_assert_eq!(after, oracle(&store, &files));
            prop_assert_eq!(after == tree, applied == Applied::default());
            prop_assert_eq!(apply(&mut store, after, plan), (after, Applied::default()));
            tree = after;
        }
    }

    #[test]
    fn differences_applied_again_give_the_same_tree(before in plan().prop_filter("fits", fits), then in plan().prop_filter("fits", fits)) {
        let directory = TempDir::new().unwrap();
        let mut store = store(&directory);
        let (old, _) = apply(&mut store, None, &before);
        let (new, _) = apply(&mut store, old, &then);
        let changes = compare(&store, old, new).unwrap().files;
        prop_assert_eq!(changes.is_empty(), old == new);
        let mut edits = Edits::default();
        for (path, blob) in &changes {
            edits.add(path, blob.map_or(Edit::Remove, Edit::Put)).unwrap();
        }
        let again = edits.apply(&mut store.objects(&mut Vec::new()), old, &mut Applied::default()).unwrap();
        prop_assert_eq!(again, new);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    /// libgit2 reads each object back and compares its id with its content.
    #[test]
    fn saved_objects_read_back_from_one_pack_and_from_several_made_one(
        plans in prop::collection::vec(plan().prop_filter("fits", fits), 1..40),
        every in 1..20_usize,
    ) {
        let directory = TempDir::new().unwrap();
        let mut store = store(&directory);
        let mut made = Vec::new();
        // Large enough for differences to pay.
        let wide = (0..99).map(|n| (format!("w/{n}"), Some(0))).collect();
        let (mut tree, _) = make(&mut store, None, &wide, &mut made);
        for (turn, plan) in (1..).zip(&plans) {
            let one = Plan::from([(format!("w/{turn}"), Some(1))]);
            (tree, _) = make(&mut store, tree, &one, &mut made);
            (tree, _) = make(&mut store, tree, plan, &mut made);
            if turn % every == 0 {
                store.save().unwrap();
            }
        }
        store.save().unwrap();
        let read = |odb: &git2::Odb<'_>| made.iter().all(|oid| odb.read(*oid).is_ok());
        prop_assert!(read(&store.repository().odb().unwrap()));
        let packs = store.packs.directory().to_owned();
        let old: Vec<_> = std::fs::read_dir(&packs).unwrap().map(|file| file.unwrap().path()).collect();
        let packed: Vec<_> = old.iter().filter(|file| file.extension().is_some_and(|e| e == "pack")).cloned().collect();
        if !packed.is_empty() {
            let whole = pack::concatenate(&packs, &packed).unwrap();
            for file in old.iter().filter(|file| file.with_extension("") != whole.with_extension("")) {
                std::fs::remove_file(file).unwrap();
            }
        }
        store.reopen().unwrap();
        prop_assert!(read(&store.repository().odb().unwrap()));
        crate::git::testing::git(&directory.path().join("clone"), &["fsck", "--full"]);
    }
}
