//! What each user holds of the store, so that one user's flood costs only that user.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hash::BuildHasher;
use std::sync::Arc;

use super::index::ObservationId;

/// One user's admissions of one key on one version of one object: at most one of them was stored.
///
/// A hash of these, keyed anew in each process. Where two are equal by chance, in one of some
/// 10^10 full stores, they share one FIFO and may lose an observation early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Rivals(u64);

/// One user's rivals, each with their FIFO, ordered by last use.
#[derive(Debug, Default)]
struct Share {
    slots: HashMap<Rivals, Slot>,
    /// Least recently used first.
    by_use: BTreeMap<u64, Rivals>,
    bytes: usize,
}

#[derive(Debug)]
struct Slot {
    /// Oldest first.
    fifo: VecDeque<ObservationId>,
    used: u64,
}

/// All users' shares, and which of them is the largest.
///
/// When the store is full, room is made at the expense of the user who holds the most bytes, there
/// with the rivals that were least recently added to. So with `n` users present, whoever holds less
/// than the `n`th part of what is held loses nothing to any of the others; with one user this is
/// plain least recently used.
#[derive(Debug, Default)]
pub(super) struct Shares {
    users: HashMap<Arc<str>, Share>,
    by_size: BTreeSet<(usize, Arc<str>)>,
    bytes: usize,
    clock: u64,
    hasher: RandomState,
}

/// What a user costs, besides the name: entries in two maps, and maps of their own.
const USER: usize = 1024;

impl Shares {
    /// What all of it costs.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What an observation of this user would add, which costs so much by itself.
    pub(super) fn added(&self, user: &str, bytes: usize) -> usize {
        let new = !self.users.contains_key(user);
        bytes + if new { USER + user.len() } else { 0 }
    }

    /// The user's name, in the one copy that all of their observations share.
    pub(super) fn intern(&self, user: &Arc<str>) -> Arc<str> {
        self.users
            .get_key_value(user)
            .map_or_else(|| Arc::clone(user), |(name, _)| Arc::clone(name))
    }

    /// Whom an observation rivals, among those of its user.
    pub(super) fn rivals(&self, key: &str, uid: &str, base: &str) -> Rivals {
        Rivals(self.hasher.hash_one((key, uid, base)))
    }

    /// What waits of these for this user, oldest first.
    pub(super) fn fifo(&self, user: &str, rivals: Rivals) -> Option<&VecDeque<ObservationId>> {
        let share = self.users.get(user)?;
        share.slots.get(&rivals).map(|slot| &slot.fifo)
    }

    /// Appends to the FIFO, which is the most recently used now.
    pub(super) fn push(
        &mut self,
        user: &Arc<str>,
        rivals: Rivals,
        id: ObservationId,
        bytes: usize,
    ) {
        self.clock += 1;
        let added = self.added(user, bytes);
        let share = self.users.entry(Arc::clone(user)).or_default();
        let slot = share.slots.entry(rivals).or_insert_with(|| Slot {
            fifo: VecDeque::with_capacity(1),
            used: self.clock,
        });
        slot.fifo.push_back(id);
        share.by_use.remove(&slot.used);
        slot.used = self.clock;
        share.by_use.insert(slot.used, rivals);
        self.by_size.remove(&(share.bytes, Arc::clone(user)));
        share.bytes += added;
        self.by_size.insert((share.bytes, Arc::clone(user)));
        self.bytes += added;
    }

    /// Takes one observation out, of which [`push`](Self::push) was told that it costs so much.
    pub(super) fn remove(
        &mut self,
        user: &Arc<str>,
        rivals: Rivals,
        id: ObservationId,
        bytes: usize,
    ) {
        let Some(share) = self.users.get_mut(user) else {
            return;
        };
        let Some(slot) = share.slots.get_mut(&rivals) else {
            return;
        };
        let Ok(at) = slot.fifo.binary_search(&id) else {
            return;
        };
        slot.fifo.remove(at);
        if slot.fifo.is_empty() {
            share.by_use.remove(&slot.used);
            share.slots.remove(&rivals);
        }
        self.by_size.remove(&(share.bytes, Arc::clone(user)));
        if share.slots.is_empty() {
            self.bytes -= share.bytes;
            self.users.remove(user);
        } else {
            share.bytes -= bytes;
            self.bytes -= bytes;
            self.by_size.insert((share.bytes, Arc::clone(user)));
        }
    }

    /// The least recently used rivals of the user who holds the most.
    pub(super) fn victims(&self) -> Vec<ObservationId> {
        let Some((_, user)) = self.by_size.last() else {
            return Vec::new();
        };
        self.users
            .get(user)
            .and_then(|share| {
                let (_, rivals) = share.by_use.first_key_value()?;
                share.slots.get(rivals)
            })
            .map_or_else(Vec::new, |slot| slot.fifo.iter().copied().collect())
    }
}
