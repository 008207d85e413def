//! Commit messages: a subject for people, the changes, trailers for programs.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::change::{Cause, Change, Miss, Operation};

use super::author::is_invisible;
use super::group::{CommitGroup, Tier};

/// Changes that the body names; whoever wants all of them asks Git.
pub const MAX_LISTED: usize = 100;
/// Values of one trailer key: with more than that nobody reads them.
const MAX_VALUES: usize = 20;
/// Characters of a subject. Longer ones are cut; the body has the whole name.
const MAX_SUBJECT: usize = 120;

/// The message for a group.
///
/// ```text
/// Update configmaps lab/app-config
///
/// - Update configmaps lab/app-config
///
/// Kubernetes-User: alice
/// Attribution: exact
/// Field-Manager: kubectl-client-side-apply
/// Destination: lab/live
/// ```
///
/// The last paragraph is what `git interpret-trailers --parse` reads. Nothing that comes from the
/// cluster can start a line: control characters in it are percent-encoded, as is `%` itself, so
/// that decoding gives back the exact value.
#[must_use]
pub fn message(group: &CommitGroup) -> String {
    with_subject(&subject(group), group, group.changes.len())
}

/// The same under another subject. `changes` is how many there are, of which the group holds the first
/// [`MAX_LISTED`] at least.
#[must_use]
pub fn message_of(subject: &str, group: &CommitGroup, changes: usize) -> String {
    with_subject(&cut(&encode(subject), MAX_SUBJECT), group, changes)
}

fn with_subject(subject: &str, group: &CommitGroup, changes: usize) -> String {
    let mut text = subject.to_owned();
    text.push_str("\n\n");
    for change in group.changes.iter().take(MAX_LISTED) {
        let Change { operation, .. } = change;
        let _ = writeln!(text, "- {} {}", verb(*operation), object(change));
    }
    if let Some(more) = changes.checked_sub(MAX_LISTED)
        && more > 0
    {
        let _ = writeln!(text, "… and {more} more");
    }
    text.push('\n');
    trailers(group, &mut text);
    text
}

fn subject(group: &CommitGroup) -> String {
    let changes = &group.changes;
    let objects: BTreeSet<_> = changes
        .iter()
        .map(|change| {
            let id = &change.identity;
            (&id.group, &id.resource, &id.namespace, &id.name)
        })
        .collect();
    let verb = match group.key.cause {
        Cause::Seed => "Seed",
        Cause::Resync => "Resync",
        Cause::Drift => "Restore",
        Cause::Live => match changes.as_slice() {
            [change] => verb(change.operation),
            // One object of which a file each goes to several places, or moved.
            [first, rest @ ..]
                if objects.len() == 1 && rest.iter().all(|c| c.operation == first.operation) =>
            {
                verb(first.operation)
            }
            _ => "Change",
        },
    };
    let text = match changes.first() {
        Some(change) if objects.len() == 1 => format!("{verb} {}", object(change)),
        _ => format!("{verb} {} objects{}", objects.len(), place(changes)),
    };
    cut(&text, MAX_SUBJECT)
}

/// ` in shop`, ` in 3 namespaces`; nothing where objects of the cluster are among them.
fn place(changes: &[Change]) -> String {
    let namespaces: BTreeSet<_> = changes.iter().map(|c| &c.identity.namespace).collect();
    match namespaces.first() {
        None => String::new(),
        Some(first) if first.is_empty() => String::new(),
        Some(only) if namespaces.len() == 1 => format!(" in {}", encode(only)),
        Some(_) => format!(" in {} namespaces", namespaces.len()),
    }
}

fn verb(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "Create",
        Operation::Update => "Update",
        Operation::Delete => "Delete",
    }
}

/// `configmaps lab/app-config`, `clusterroles view`
fn object(change: &Change) -> String {
    let id = &change.identity;
    let resource = encode(&id.resource);
    let name = encode(&id.name);
    if id.namespace.is_empty() {
        format!("{resource} {name}")
    } else {
        format!("{resource} {}/{name}", encode(&id.namespace))
    }
}

fn trailers(group: &CommitGroup, text: &mut String) {
    let mut line = |key: &str, value: &str| {
        // A trailer without a value is none.
        if !value.is_empty() {
            let _ = writeln!(text, "{key}: {}", encode(value));
        }
    };
    if let Some(username) = &group.key.username {
        line("Kubernetes-User", username);
    }
    let tier = match group.tier {
        Tier::Exact => "exact",
        Tier::Content => "content",
        Tier::None => "none",
    };
    line("Attribution", tier);
    for miss in &group.misses {
        match miss {
            Miss::Unseen => line("Attribution-Reason", "unseen"),
            Miss::Ambiguous => line("Attribution-Reason", "ambiguous"),
            Miss::Unconfirmed => line("Attribution-Reason", "unconfirmed"),
            Miss::NeverAdmitted => line("Attribution-Reason", "never-admitted"),
            // `Reason` says it.
            Miss::Reconciled => {}
        }
    }
    for manager in group.field_managers.iter().take(MAX_VALUES) {
        line("Field-Manager", manager);
    }
    let destinations: BTreeSet<_> = group.changes.iter().map(|c| &c.destination).collect();
    for destination in destinations.into_iter().take(MAX_VALUES) {
        line("Destination", &destination.to_string());
    }
    match group.key.cause {
        Cause::Live => {}
        Cause::Seed => line("Reason", "seed"),
        Cause::Resync => line("Reason", "resync"),
        Cause::Drift => line("Reason", "drift"),
    }
}

/// Percent-encodes what would end a line, hide, or be trimmed, and `%`.
fn encode(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (at, c) in value.chars().enumerate() {
        let trimmed = c.is_whitespace() && (at == 0 || at == last);
        // Of white space only the blank can't end a line for any reader.
        if c == '%' || trimmed || is_invisible(c) || (c.is_whitespace() && c != ' ') {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                let _ = write!(text, "%{byte:02X}");
            }
        } else {
            text.push(c);
        }
    }
    text
}

fn cut(text: &str, characters: usize) -> String {
    if text.chars().count() <= characters {
        return text.to_owned();
    }
    let kept: String = text.chars().take(characters.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
