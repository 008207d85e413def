//! Which destinations have been given everything, and which still want it.

use std::collections::{HashMap, HashSet};

use super::index::ObjectName;
use super::subscriber::Subscriber;
use crate::change::DestinationKey;
use crate::fingerprint::Fingerprint;

/// Objects that a destination has been given on the way to everything, so that a list that is begun
/// anew gets further than the one before it. Fingerprints of their names: 8 bytes each instead of 100.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Part(HashSet<Fingerprint>);

impl Part {
    /// Whether the object is new here.
    pub(super) fn add(&mut self, (namespace, name): &ObjectName) -> bool {
        self.0
            .insert(Fingerprint::of(format!("{namespace}/{name}").as_bytes()))
    }
}

/// What a watch remembers of its subscribers.
#[derive(Debug, Default)]
pub(super) struct Given {
    /// The epoch up to which each destination has been given the whole list.
    epochs: HashMap<DestinationKey, u64>,
    /// What those have been given of a list that they were not given whole, at its epoch. They are
    /// told of every change since.
    parts: HashMap<DestinationKey, (u64, Part)>,
    /// Destinations whose queue was full when they were to be given it.
    postponed: HashSet<DestinationKey>,
}

impl Given {
    /// Whether the subscriber was given everything since it last asked.
    pub(super) fn has_everything(&self, subscriber: &Subscriber) -> bool {
        self.epochs.get(subscriber.key()) == Some(&subscriber.epoch)
    }

    /// It was given everything that it wanted.
    pub(super) fn everything(&mut self, subscriber: &Subscriber) {
        let key = subscriber.key();
        self.postponed.remove(key);
        self.parts.remove(key);
        self.epochs.insert(key.clone(), subscriber.epoch);
    }

    /// It was given this much.
    pub(super) fn part(&mut self, subscriber: &Subscriber, part: Part) {
        self.parts
            .insert(subscriber.key().clone(), (subscriber.epoch, part));
    }

    /// What it has been given on the way to everything.
    pub(super) fn take_part(&mut self, subscriber: &Subscriber) -> Part {
        match self.parts.remove(subscriber.key()) {
            Some((epoch, part)) if epoch == subscriber.epoch => part,
            _ => Part::default(),
        }
    }

    /// Its queue is full: it must not be listed for before there is room.
    pub(super) fn postpone(&mut self, subscriber: &Subscriber, part: Part) {
        self.postponed.insert(subscriber.key().clone());
        self.part(subscriber, part);
    }

    /// Somebody waits for room.
    pub(super) fn is_somebody_postponed(&self) -> bool {
        !self.postponed.is_empty()
    }

    /// Who wants everything and can be given it now.
    pub(super) fn wanting<'a>(
        &self,
        subscribers: &'a [Subscriber],
    ) -> impl Iterator<Item = &'a Subscriber> {
        subscribers.iter().filter(|subscriber| {
            let held_back = self.postponed.contains(subscriber.key()) && subscriber.queue.is_full();
            !self.has_everything(subscriber) && !held_back
        })
    }

    /// Forgets who is no subscriber any more: one that comes back is another one.
    pub(super) fn retain(&mut self, subscribers: &[Subscriber]) {
        let known: HashSet<&DestinationKey> = subscribers.iter().map(Subscriber::key).collect();
        self.epochs.retain(|key, _| known.contains(key));
        self.parts.retain(|key, _| known.contains(key));
        self.postponed.retain(|key| known.contains(key));
    }

    /// What to tell the conductor.
    pub(super) fn epochs(&self) -> Vec<(DestinationKey, u64)> {
        self.epochs
            .iter()
            .map(|(key, epoch)| (key.clone(), *epoch))
            .collect()
    }
}
