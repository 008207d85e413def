use bytes::Bytes;
use proptest::prelude::*;

use super::super::fixtures::*;
use super::*;

fn shape(groups: &[CommitGroup]) -> Vec<(&str, Vec<(&str, &str)>)> {
    groups
        .iter()
        .map(|group| {
            let user = group.key.username.as_deref().unwrap_or("bot");
            let changes = group.changes.iter().map(|change| {
                let content = change.content.as_deref().unwrap_or(b"-");
                (change.path.as_str(), std::str::from_utf8(content).unwrap())
            });
            (user, changes.collect())
        })
        .collect()
}

#[test]
fn the_changes_of_one_user_make_one_commit() {
    let groups = group(vec![
        by("alice", "a", "1"),
        by("bob", "b", "1"),
        by("alice", "c", "1"),
        by("alice", "a", "2"),
    ]);
    assert_eq!(
        shape(&groups),
        [
            ("alice", vec![("a", "2"), ("c", "1")]),
            ("bob", vec![("b", "1")])
        ]
    );
}

#[test]
fn a_file_of_two_users_in_turns_keeps_every_turn() {
    let groups = group(vec![
        by("alice", "f", "1"),
        by("bob", "f", "2"),
        by("alice", "f", "3"),
        by("alice", "other", "1"),
        by("bob", "another", "1"),
    ]);
    assert_eq!(
        shape(&groups),
        [
            ("alice", vec![("f", "1"), ("other", "1")]),
            ("bob", vec![("f", "2"), ("another", "1")]),
            ("alice", vec![("f", "3")]),
        ]
    );
}

#[test]
fn causes_and_the_bot_have_commits_of_their_own() {
    let mut seeded = unattributed("a", "1", Miss::Reconciled);
    seeded.cause = Cause::Seed;
    let groups = group(vec![
        seeded.clone(),
        unattributed("b", "1", Miss::Unseen),
        unattributed("c", "1", Miss::Ambiguous),
        by("alice", "d", "1"),
        Change {
            path: "e".into(),
            ..seeded
        },
    ]);
    assert_eq!(
        shape(&groups),
        [
            ("bot", vec![("a", "1"), ("e", "1")]),
            ("bot", vec![("b", "1"), ("c", "1")]),
            ("alice", vec![("d", "1")]),
        ]
    );
    assert_eq!(groups[1].misses, [Miss::Unseen, Miss::Ambiguous]);
}

#[test]
fn a_mixture_states_the_weaker_tier() {
    let mut weak = by("alice", "b", "1");
    if let Attribution::Exact(who) = weak.attribution.clone() {
        weak.attribution = Attribution::Content(who);
    }
    let groups = group(vec![by("alice", "a", "1"), weak]);
    assert_eq!((groups.len(), groups[0].tier), (1, Tier::Content));
}

#[test]
fn coalesced_operations_add_up() {
    use Operation::{Create, Delete, Update};
    for (first, then, sum) in [
        (Create, Update, Create),
        (Create, Delete, Delete),
        (Update, Update, Update),
        (Update, Delete, Delete),
        (Delete, Create, Update),
    ] {
        let with = |operation| Change {
            operation,
            ..by("alice", "a", "1")
        };
        let groups = group(vec![with(first), with(then)]);
        assert_eq!(groups[0].changes[0].operation, sum);
    }
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = (0..4u8, 0..5u8, 0..4u8, 0..6u8).prop_map(|(user, path, content, kind)| {
        let path = format!("p{path}");
        let mut change = match user {
            0 => unattributed(&path, "", Miss::Unseen),
            n => by(&format!("user-{n}"), &path, ""),
        };
        change.content = (content > 0).then(|| Bytes::from(format!("c{content}")));
        change.cause = if kind == 0 {
            Cause::Resync
        } else {
            Cause::Live
        };
        change
    });
    proptest::collection::vec(change, 0..60)
}

/// The versions of each path in order, consecutive ones of one key as one.
fn histories<'a>(
    changes: impl Iterator<Item = &'a Change>,
) -> std::collections::BTreeMap<String, Vec<(GroupKey, Option<Bytes>)>> {
    let mut histories = std::collections::BTreeMap::<_, Vec<(GroupKey, Option<Bytes>)>>::new();
    for change in changes {
        let history = histories.entry(change.path.clone()).or_default();
        let version = (GroupKey::of(change), change.content.clone());
        match history.last_mut() {
            Some(last) if last.0 == version.0 => *last = version,
            _ => history.push(version),
        }
    }
    histories
}

proptest! {
    #[test]
    fn every_file_keeps_its_versions_and_their_authors_in_order(changes in changes()) {
        let groups = group(changes.clone());
        prop_assert_eq!(
            histories(changes.iter()),
            histories(groups.iter().flat_map(|group| &group.changes))
        );
        for group in &groups {
            let paths: std::collections::HashSet<_> =
                group.changes.iter().map(|change| &change.path).collect();
            prop_assert_eq!(paths.len(), group.changes.len());
            prop_assert!(!group.changes.is_empty());
            prop_assert!(group.changes.iter().all(|c| GroupKey::of(c) == group.key));
        }
    }

    #[test]
    fn files_that_one_user_alone_changed_make_one_commit(count in 1..40usize) {
        let changes = (0..count).map(|n| by("alice", &format!("p{n}"), "1")).collect();
        prop_assert_eq!(group(changes).len(), 1);
    }
}
