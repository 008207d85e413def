//! Which changes of a batch make one commit.

use std::collections::HashMap;

use crate::change::{Attribution, Cause, Change, Miss, Operation};

/// What all changes of a commit have in common. Every user has commits of their own, and so has
/// every cause: what the cluster's users did live is not mixed with what a reconcile found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GroupKey {
    /// The Kubernetes user; `None` is the bot.
    pub username: Option<String>,
    /// Why we write.
    pub cause: Cause,
}

impl GroupKey {
    fn of(change: &Change) -> Self {
        Self {
            username: change.attribution.who().map(|who| who.username.clone()),
            cause: change.cause,
        }
    }
}

/// The changes of one commit: at most one for each path, in the order in which the paths were
/// first changed.
#[derive(Clone, Debug)]
pub struct CommitGroup {
    /// Who, and why.
    pub key: GroupKey,
    /// Never empty.
    pub changes: Vec<Change>,
    /// Of all versions, those that were coalesced included; sorted, each once, none empty.
    pub field_managers: Vec<String>,
    /// The weakest of all versions.
    pub tier: Tier,
    /// Why versions have no author; sorted, each once. Empty where all of them have one.
    pub misses: Vec<Miss>,
}

/// What the commit says about its attribution: never more than holds for each of its versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// No author.
    None,
    /// Joined by content.
    Content,
    /// Joined by uid or version.
    Exact,
}

/// Groups a batch, given in the order in which the changes were seen.
///
/// Each path's versions stay in their order: applying the groups one after the other leaves each
/// file as its last change did, and a file's authors follow each other as they did in the cluster.
/// Consecutive versions of one file by one user coalesce into the last one. Within that, a change
/// goes to the earliest commit of its user that it can go to. Deterministic.
#[must_use]
pub fn group(changes: Vec<Change>) -> Vec<CommitGroup> {
    let mut groups: Vec<Draft> = Vec::new();
    // Groups of one key, ascending.
    let mut by_key: HashMap<GroupKey, Vec<usize>> = HashMap::new();
    let mut last_of_path: HashMap<String, usize> = HashMap::new();
    for change in changes {
        let key = GroupKey::of(&change);
        let earliest = last_of_path.get(&change.path).copied().unwrap_or(0);
        let of_key = by_key.entry(key.clone()).or_default();
        // A group that holds the path's last version and is of another key is not in `of_key`.
        let at = of_key.partition_point(|&group| group < earliest);
        let chosen = of_key.get(at).copied().unwrap_or_else(|| {
            groups.push(Draft::new(key));
            of_key.push(groups.len() - 1);
            groups.len() - 1
        });
        last_of_path.insert(change.path.clone(), chosen);
        groups[chosen].add(change);
    }
    groups.into_iter().map(Draft::finish).collect()
}

struct Draft {
    group: CommitGroup,
    at: HashMap<String, usize>,
}

impl Draft {
    fn new(key: GroupKey) -> Self {
        Self {
            group: CommitGroup {
                key,
                changes: Vec::new(),
                field_managers: Vec::new(),
                tier: Tier::Exact,
                misses: Vec::new(),
            },
            at: HashMap::new(),
        }
    }

    fn add(&mut self, mut change: Change) {
        let (tier, manager) = match &change.attribution {
            Attribution::Exact(who) => (Tier::Exact, who.field_manager.as_str()),
            Attribution::Content(who) => (Tier::Content, who.field_manager.as_str()),
            Attribution::None(miss) => {
                self.group.misses.push(*miss);
                (Tier::None, "")
            }
        };
        self.group.tier = self.group.tier.min(tier);
        if !manager.is_empty() {
            self.group.field_managers.push(manager.to_owned());
        }
        match self.at.get(&change.path) {
            None => {
                self.at
                    .insert(change.path.clone(), self.group.changes.len());
                self.group.changes.push(change);
            }
            Some(&at) => {
                let before = &mut self.group.changes[at];
                change.operation = in_sequence(before.operation, change.operation);
                *before = change;
            }
        }
    }

    fn finish(mut self) -> CommitGroup {
        self.group.field_managers.sort_unstable();
        self.group.field_managers.dedup();
        self.group.misses.sort_by_key(|miss| *miss as u8);
        self.group.misses.dedup();
        self.group
    }
}

/// The effect of two operations on one file, one after the other.
fn in_sequence(first: Operation, then: Operation) -> Operation {
    match (first, then) {
        (_, Operation::Delete) => Operation::Delete,
        (Operation::Create, _) => Operation::Create,
        (Operation::Update | Operation::Delete, _) => Operation::Update,
    }
}

#[cfg(test)]
#[path = "group_tests.rs"]
mod tests;
