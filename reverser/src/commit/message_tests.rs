use std::io::Write as _;
use std::process::{Command, Stdio};

use super::super::fixtures::*;
use super::super::group::group;
use super::super::{CommitOptions, Signature, plan_batch};
use super::*;
use crate::change::{Attribution, Who};

fn only_message(changes: Vec<Change>) -> String {
    let groups = group(changes);
    assert_eq!(groups.len(), 1);
    message(&groups[0])
}

fn subject_of(changes: Vec<Change>) -> String {
    only_message(changes).lines().next().unwrap().to_owned()
}

/// What git itself reads.
fn parsed(message: &str) -> Vec<(String, String)> {
    let mut git = Command::new("git")
        .args(["interpret-trailers", "--parse"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = git.stdin.take().unwrap();
    stdin.write_all(message.as_bytes()).unwrap();
    drop(stdin);
    let output = git.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(|line| {
            let (key, value) = line.split_once(": ").unwrap();
            (key.to_owned(), value.to_owned())
        })
        .collect()
}

fn decoded(value: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = value.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'%' {
            let hex = std::str::from_utf8(&tail[..2]).unwrap();
            bytes.push(u8::from_str_radix(hex, 16).unwrap());
            rest = &tail[2..];
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn one_change_reads_as_a_sentence() {
    assert_eq!(
        only_message(vec![by("alice", "app-config", "1")]),
        "Update configmaps lab/app-config\n\
         \n\
         - Update configmaps lab/app-config\n\
         \n\
         Kubernetes-User: alice\n\
         Attribution: exact\n\
         Field-Manager: kubectl\n\
         Destination: lab/live\n"
    );
}

#[test]
fn subjects_say_what_and_where() {
    let create = Change {
        operation: Operation::Create,
        ..by("alice", "a", "1")
    };
    assert_eq!(subject_of(vec![create.clone()]), "Create configmaps lab/a");
    let delete = Change {
        operation: Operation::Delete,
        content: None,
        ..by("alice", "b", "")
    };
    assert_eq!(subject_of(vec![delete.clone()]), "Delete configmaps lab/b");
    assert_eq!(
        subject_of(vec![create.clone(), delete]),
        "Change 2 objects in lab"
    );

    let mut other = by("alice", "c", "1");
    other.identity.namespace = "shop".into();
    assert_eq!(
        subject_of(vec![create.clone(), other]),
        "Change 2 objects in 2 namespaces"
    );
    let mut role = by("alice", "system:node", "1");
    role.identity.resource = "clusterroles".into();
    role.identity.namespace = String::new();
    assert_eq!(
        subject_of(vec![role.clone()]),
        "Update clusterroles system:node"
    );
    assert_eq!(subject_of(vec![create.clone(), role]), "Change 2 objects");

    let mut twice = create.clone();
    twice.path = "elsewhere/a".into();
    assert_eq!(subject_of(vec![create, twice]), "Create configmaps lab/a");
}

#[test]
fn reconciles_say_why() {
    let reconciled = |path: &str, cause| Change {
        cause,
        ..unattributed(path, "1", Miss::Reconciled)
    };
    let text = only_message(vec![
        reconciled("a", Cause::Seed),
        reconciled("b", Cause::Seed),
    ]);
    assert!(text.starts_with("Seed 2 objects in lab\n\n"));
    assert!(text.ends_with("\nAttribution: none\nDestination: lab/live\nReason: seed\n"));
    let one = |cause| subject_of(vec![reconciled("a", cause)]);
    assert_eq!(one(Cause::Resync), "Resync configmaps lab/a");
    assert_eq!(one(Cause::Drift), "Restore configmaps lab/a");
}

#[test]
fn none_says_why() {
    let text = only_message(vec![
        unattributed("a", "1", Miss::Unseen),
        unattributed("b", "1", Miss::Ambiguous),
    ]);
    assert_eq!(
        parsed(&text),
        [
            ("Attribution", "none"),
            ("Attribution-Reason", "unseen"),
            ("Attribution-Reason", "ambiguous"),
            ("Destination", "lab/live"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
    );
}

#[test]
fn long_lists_are_cut_and_counted() {
    let changes = (0..5000)
        .map(|n| by("alice", &format!("object-{n}"), "1"))
        .collect();
    let text = only_message(changes);
    assert!(text.starts_with("Change 5000 objects in lab\n"));
    assert!(text.contains("- Update configmaps lab/object-99\n… and 4900 more\n\n"));
    assert_eq!(text.lines().count(), 3 + 100 + 1 + 4);
    assert_eq!(parsed(&text).len(), 4);
}

#[test]
fn nothing_from_the_cluster_forges_a_trailer() {
    let long = "x".repeat(1024);
    for nasty in [
        "Signed-off-by: x",
        "a\nSigned-off-by: x",
        "a\r\n\r\nKubernetes-User: root",
        "a\n\nAttribution: exact\n",
        "Name <mail@example.com>",
        " leading and trailing ",
        "\ttab\t",
        "---",
        "--- a\n---\n",
        "# comment\n# ------------------------ >8 ------------------------",
        "100%0A",
        "nul\0byte",
        "line\u{2028}separator\u{85}next\u{b}vertical\u{c}form",
        "\u{202e}desrever",
        "emoji 🦀 \u{1f468}\u{200d}\u{1f469}",
        "quotes \" ' ` \\",
        ":",
        "(cherry picked from commit 0000000)",
        long.as_str(),
    ] {
        let mut change = by(nasty, "file", "1");
        change.identity.name = nasty.into();
        change.attribution = Attribution::Exact(Who {
            username: nasty.into(),
            field_manager: nasty.into(),
        });
        let other = by(nasty, "other", "1");
        for changes in [vec![change.clone()], vec![change.clone(), other]] {
            let text = only_message(changes);
            let read = parsed(&text);
            let users: Vec<_> = read
                .iter()
                .filter(|(key, _)| key == "Kubernetes-User")
                .map(|(_, value)| decoded(value))
                .collect();
            assert_eq!(users, [nasty]);
            let mut keys: Vec<_> = read.iter().map(|(key, _)| key.as_str()).collect();
            keys.dedup();
            assert_eq!(
                keys,
                [
                    "Kubernetes-User",
                    "Attribution",
                    "Field-Manager",
                    "Destination"
                ],
                "{nasty:?}"
            );
            let managers = read.iter().filter(|(key, _)| key == "Field-Manager");
            assert!(
                managers
                    .map(|(_, value)| decoded(value))
                    .any(|m| m == nasty)
            );
            assert!(text.lines().next().unwrap().chars().count() <= MAX_SUBJECT);
            assert_eq!(text.split("\n\n").count(), 3, "{text:?}");
        }
    }
}

#[test]
fn plans_hold_author_paths_and_summaries_alike() {
    let options = CommitOptions {
        bot: Signature {
            name: "GitOps Reverser".into(),
            email: "bot@example.com".into(),
        },
        email_domain: "example.com".into(),
    };
    let planned = plan_batch(
        vec![
            by("alice", "a", "1"),
            unattributed("b", "2", Miss::Unseen),
            by("alice", "c", "3"),
        ],
        &options,
    );
    let authors: Vec<_> = planned
        .iter()
        .map(|p| p.plan.author.email.as_str())
        .collect();
    assert_eq!(authors, ["alice@example.com", "bot@example.com"]);
    for commit in &planned {
        let paths: Vec<_> = commit.plan.changes.iter().map(|c| &c.path).collect();
        let summaries: Vec<_> = commit.changes.iter().map(|c| &c.path).collect();
        assert_eq!(paths, summaries);
    }
    assert_eq!(planned[0].changes.len(), 2);
}
