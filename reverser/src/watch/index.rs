//! What is known of every watched object: enough to say what an event changed, and no bodies.

use std::collections::{HashMap, HashSet};

use manifest::SpecHash;

/// Namespace (empty for cluster-scoped) and name.
pub(super) type ObjectName = (Box<str>, Box<str>);

/// One live object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) uid: Box<str>,
    /// The last one seen; every event moves it, a status write too.
    pub(super) resource_version: Box<str>,
    /// Of the last version that could be read, which its file holds. `None` where there was none.
    pub(super) spec_hash: Option<SpecHash>,
    /// Without the replicas, for types with a scale subresource.
    pub(super) unscaled_hash: Option<SpecHash>,
    /// A deletionTimestamp was seen, and the file went.
    pub(super) terminating: bool,
    /// Left out by the rules for what a cluster makes for itself.
    pub(super) left_out: bool,
    /// The first list found this content as it is: nobody was asked yet who wrote it.
    pub(super) found: bool,
}

impl Entry {
    /// Whether its file may stand.
    pub(super) fn is_live(&self) -> bool {
        !self.terminating && !self.left_out
    }
}

/// All objects of one watch.
#[derive(Debug, Default)]
pub(super) struct Index {
    entries: HashMap<ObjectName, Entry>,
    /// Objects that can't be written as they are now, of which that was said.
    unreadable: HashSet<ObjectName>,
}

impl Index {
    pub(super) fn get(&self, name: &ObjectName) -> Option<&Entry> {
        self.entries.get(name)
    }

    pub(super) fn insert(&mut self, name: ObjectName, entry: Entry) {
        self.entries.insert(name, entry);
    }

    pub(super) fn remove(&mut self, name: &ObjectName) -> Option<Entry> {
        self.unreadable.remove(name);
        self.entries.remove(name)
    }

    /// The object can't be written as it is now. Returns whether that is news.
    pub(super) fn note_unreadable(&mut self, name: &ObjectName) -> bool {
        self.unreadable.insert(name.clone())
    }

    /// The object can be written.
    pub(super) fn note_readable(&mut self, name: &ObjectName) {
        self.unreadable.remove(name);
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Objects that a complete list did not hold: gone during a gap.
    pub(super) fn names_not_in(&self, listed: &HashSet<ObjectName>) -> Vec<ObjectName> {
        self.entries
            .keys()
            .filter(|name| !listed.contains(*name))
            .cloned()
            .collect()
    }

    /// Objects whose files may stand.
    pub(super) fn live(&self) -> impl Iterator<Item = &ObjectName> {
        self.entries
            .iter()
            .filter(|(_, entry)| entry.is_live())
            .map(|(name, _)| name)
    }
}
