//! What each user holds of the store, so that one user's flood costs only that user.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use super::index::ObservationId;

/// One user's keys, each with its FIFO, ordered by last use.
#[derive(Debug, Default)]
struct Share {
    slots: HashMap<Arc<str>, Slot>,
    /// Least recently used first.
    by_use: BTreeMap<u64, Arc<str>>,
    observations: usize,
}

#[derive(Debug)]
struct Slot {
    /// Oldest first.
    fifo: VecDeque<ObservationId>,
    used: u64,
}

/// All users' shares, and which of them is the largest.
///
/// When the store is full, room is made at the expense of the user who holds the most
/// observations, there with the least recently used key. So with `n` users present, whoever
/// holds less than the `n`th part of a full store loses nothing to any of the others; with one
/// user this is plain least recently used.
#[derive(Debug, Default)]
pub(super) struct Shares {
    users: HashMap<Arc<str>, Share>,
    by_size: BTreeSet<(usize, Arc<str>)>,
    keys: usize,
    clock: u64,
}

impl Shares {
    /// The user's name, in the one copy that all of their observations share.
    pub(super) fn intern(&self, user: &Arc<str>) -> Arc<str> {
        self.users
            .get_key_value(user)
            .map_or_else(|| Arc::clone(user), |(name, _)| Arc::clone(name))
    }

    /// Keys over all users.
    pub(super) fn keys(&self) -> usize {
        self.keys
    }

    pub(super) fn holds(&self, user: &str, key: &str) -> bool {
        self.users
            .get(user)
            .is_some_and(|share| share.slots.contains_key(key))
    }

    /// What waits under this key for this user, oldest first.
    pub(super) fn fifo(&self, user: &str, key: &str) -> Option<&VecDeque<ObservationId>> {
        let share = self.users.get(user)?;
        share.slots.get(key).map(|slot| &slot.fifo)
    }

    /// Appends to the FIFO of the key and makes it the most recently used.
    pub(super) fn push(&mut self, user: &Arc<str>, key: &Arc<str>, id: ObservationId) {
        self.clock += 1;
        let share = self.users.entry(Arc::clone(user)).or_default();
        let slot = share.slots.entry(Arc::clone(key)).or_insert_with(|| {
            self.keys += 1;
            Slot {
                fifo: VecDeque::new(),
                used: self.clock,
            }
        });
        slot.fifo.push_back(id);
        share.by_use.remove(&slot.used);
        slot.used = self.clock;
        share.by_use.insert(slot.used, Arc::clone(key));
        self.by_size.remove(&(share.observations, Arc::clone(user)));
        share.observations += 1;
        self.by_size.insert((share.observations, Arc::clone(user)));
    }

    /// Takes one observation out; a key that is read and not emptied has been used.
    pub(super) fn remove(&mut self, user: &Arc<str>, key: &Arc<str>, id: ObservationId) {
        let Some(share) = self.users.get_mut(user) else {
            return;
        };
        let Some(slot) = share.slots.get_mut(key) else {
            return;
        };
        let Ok(at) = slot.fifo.binary_search(&id) else {
            return;
        };
        slot.fifo.remove(at);
        share.by_use.remove(&slot.used);
        if slot.fifo.is_empty() {
            share.slots.remove(key);
            self.keys -= 1;
        } else {
            self.clock += 1;
            slot.used = self.clock;
            share.by_use.insert(slot.used, Arc::clone(key));
        }
        self.by_size.remove(&(share.observations, Arc::clone(user)));
        share.observations -= 1;
        if share.observations == 0 {
            self.users.remove(user);
        } else {
            self.by_size.insert((share.observations, Arc::clone(user)));
        }
    }

    /// The observations of the least recently used key of the user who holds the most.
    pub(super) fn victims(&self) -> Vec<ObservationId> {
        let Some((_, user)) = self.by_size.last() else {
            return Vec::new();
        };
        self.users
            .get(user)
            .and_then(|share| {
                let (_, key) = share.by_use.first_key_value()?;
                share.slots.get(key)
            })
            .map_or_else(Vec::new, |slot| slot.fifo.iter().copied().collect())
    }
}
