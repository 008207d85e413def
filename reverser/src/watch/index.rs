//! What is known of every watched object: enough to say what an event changed, and no bodies.

mod packed;

use std::collections::{HashMap, HashSet};

use manifest::SpecHash;

use packed::Packed;

use crate::fingerprint::Fingerprint;

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
    /// The same of it, by which it is told from others.
    pub(super) fingerprint: Option<Fingerprint>,
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

/// Of a list: another one for each that is begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Round(u32);

/// All objects of one watch.
///
/// Some 160 bytes for each object: 72 of facts, packed, and its name; a hash table is two thirds full on average.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// By namespace, then name: a namespace's name is held once.
    namespaces: HashMap<Box<str>, HashMap<Box<str>, Packed>>,
    len: usize,
    round: Round,
    /// Objects that can't be written as they are now, of which that was said.
    unreadable: HashSet<ObjectName>,
}

impl Index {
    pub(super) fn get(&self, (namespace, name): &ObjectName) -> Option<Entry> {
        let names = self.namespaces.get(namespace)?;
        names.get(name).map(Packed::entry)
    }

    pub(super) fn insert(&mut self, (namespace, name): ObjectName, entry: Entry) {
        let names = self.namespaces.entry(namespace).or_default();
        let before = names.insert(name, Packed::new(entry, self.round));
        self.len += usize::from(before.is_none());
    }

    pub(super) fn remove(&mut self, object: &ObjectName) -> Option<Entry> {
        self.unreadable.remove(object);
        let (namespace, name) = object;
        let names = self.namespaces.get_mut(namespace)?;
        let removed = names.remove(name)?;
        if names.is_empty() {
            self.namespaces.remove(namespace);
        }
        self.len -= 1;
        Some(removed.entry())
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
        self.len
    }

    /// A list begins. What is inserted or noted as listed from here on is not [missing](Self::missing) from it.
    pub(super) fn begin_list(&mut self) {
        self.round = Round(self.round.0.wrapping_add(1));
    }

    /// The list holds the object, of which nothing new is known.
    pub(super) fn note_listed(&mut self, (namespace, name): &ObjectName) {
        let names = self.namespaces.get_mut(namespace);
        if let Some(packed) = names.and_then(|names| names.get_mut(name)) {
            packed.round = self.round;
        }
    }

    /// Objects that the list did not hold, now that it is complete: gone during a gap.
    pub(super) fn missing(&self) -> Vec<ObjectName> {
        self.objects()
            .filter(|(_, packed)| packed.round != self.round)
            .map(|((namespace, name), _)| (namespace.into(), name.into()))
            .collect()
    }

    /// Objects whose files may stand: namespace and name.
    pub(super) fn live(&self) -> impl Iterator<Item = (&str, &str)> {
        self.objects()
            .filter(|(_, packed)| packed.is_live())
            .map(|(object, _)| object)
    }

    fn objects(&self) -> impl Iterator<Item = ((&str, &str), &Packed)> {
        self.namespaces.iter().flat_map(|(namespace, names)| {
            names
                .iter()
                .map(move |(name, packed)| ((&**namespace, &**name), packed))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(resource_version: &str) -> Entry {
        Entry {
            uid: "5f0c1e2a-0000-4000-8000-000000000001".into(),
            resource_version: resource_version.into(),
            spec_hash: Some(SpecHash::of(b"")),
            fingerprint: Some(Fingerprint::of(b"")),
            unscaled_hash: None,
            terminating: false,
            left_out: false,
            found: false,
        }
    }

    fn object(namespace: &str, name: &str) -> ObjectName {
        (namespace.into(), name.into())
    }

    #[test]
    fn what_a_list_neither_brings_nor_notes_is_missing() {
        let mut index = Index::default();
        let [brought, noted, gone] =
            [("a", "brought"), ("a", "noted"), ("b", "gone")].map(|(ns, n)| object(ns, n));
        for name in [&brought, &noted, &gone] {
            index.insert(name.clone(), entry("1"));
        }
        index.begin_list();
        index.insert(brought, entry("2"));
        index.note_listed(&noted);
        index.note_listed(&object("c", "never-seen"));
        assert_eq!(index.missing(), [gone]);
    }

    #[test]
    fn what_a_broken_off_list_brought_is_missing_from_the_next() {
        let mut index = Index::default();
        index.begin_list();
        index.insert(object("a", "one"), entry("1"));
        index.begin_list();
        assert_eq!(index.missing(), [object("a", "one")]);
    }

    #[test]
    fn a_namespace_without_objects_is_forgotten() {
        let mut index = Index::default();
        index.insert(object("a", "one"), entry("1"));
        index.insert(object("a", "one"), entry("2"));
        assert_eq!(index.len(), 1);
        assert_eq!(index.remove(&object("a", "one")), Some(entry("2")));
        assert_eq!(index.remove(&object("a", "one")), None);
        assert_eq!((index.len(), index.namespaces.len()), (0, 0));
    }
}
