//! Objects that are made: on their way into the clone, and kept at hand.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use git2::Oid;

use super::error::EngineError;
use super::object::{Kind, hash};
use super::pack::{Delta, Segment};
use super::store::Store;

/// Folders and commits that are kept in memory, in bytes.
const MAX_KEPT: usize = 32 << 20;

/// Folders and commits that were made here, as they are looked at again and again.
#[derive(Default)]
pub(super) struct Kept {
    objects: HashMap<Oid, Bytes>,
    /// Others have taken their place.
    stale: HashSet<Oid>,
    bytes: usize,
}

impl Kept {
    pub(super) fn get(&self, oid: Oid) -> Option<Bytes> {
        self.objects.get(&oid).cloned()
    }

    /// Takes the place of another one.
    fn insert(&mut self, oid: Oid, data: Bytes, instead_of: Option<Oid>) {
        self.stale.extend(instead_of);
        self.stale.remove(&oid);
        self.bytes += data.len();
        if let Some(same) = self.objects.insert(oid, data) {
            self.bytes -= same.len();
        }
    }

    /// Drops what is not looked at again soon: the newest state of each folder stays. Everything is on disk.
    pub(super) fn drop_stale(&mut self) {
        for oid in self.stale.drain() {
            if let Some(data) = self.objects.remove(&oid) {
                self.bytes -= data.len();
            }
        }
    }

    /// Back below the bound. Everything is on disk.
    pub(super) fn shrink(&mut self) {
        if self.bytes > MAX_KEPT {
            self.drop_stale();
        }
        if self.bytes > MAX_KEPT {
            *self = Self::default();
        }
    }
}

/// The objects of one commit on their way into the clone.
pub(super) struct Objects<'a> {
    pub(super) store: &'a mut Store,
    pub(super) made: &'a mut Vec<Oid>,
}

impl Objects<'_> {
    pub(super) fn read_tree(&self, oid: Oid) -> Result<Bytes, EngineError> {
        self.store.read_tree(oid)
    }

    /// An object with this id.
    pub(super) fn write(&mut self, oid: Oid, kind: Kind, data: &[u8]) {
        self.made.push(oid);
        if !self.is_there(oid) {
            self.store.draft.add(oid, kind, data, None);
        }
    }

    /// A tree of parts of `base` and of others.
    pub(super) fn write_tree(
        &mut self,
        base: Option<Oid>,
        bytes: &[u8],
        segments: &[Segment],
    ) -> Oid {
        // What is put in is seldom longer than what it takes the place of.
        let mut tree = Vec::with_capacity(bytes.len() + 64);
        for segment in segments {
            match segment {
                Segment::Kept(range) => tree.extend_from_slice(&bytes[range.clone()]),
                Segment::New(new) => tree.extend_from_slice(new),
            }
        }
        let oid = hash(Kind::Tree, &tree);
        self.made.push(oid);
        if !self.is_there(oid) {
            let from = base
                .filter(|base| self.store.draft.contains(*base))
                .map(|base| (base, Delta::new(bytes.len(), tree.len(), segments)));
            self.store.draft.add(oid, Kind::Tree, &tree, from);
        }
        self.store.kept.insert(oid, Bytes::from(tree), base);
        oid
    }

    pub(super) fn write_commit(&mut self, commit: &[u8], parent: Option<Oid>) -> Oid {
        let oid = hash(Kind::Commit, commit);
        self.write(oid, Kind::Commit, commit);
        let commit = Bytes::copy_from_slice(commit);
        self.store.kept.insert(oid, commit, parent);
        oid
    }

    /// A file that is in the clone already, and perhaps not at the remote.
    pub(super) fn put(&mut self, oid: Oid) {
        self.made.push(oid);
    }

    fn is_there(&self, oid: Oid) -> bool {
        self.store.packs.contains(oid)
    }
}
