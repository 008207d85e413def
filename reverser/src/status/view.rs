//! The facts as the statuses need them: a thousand rules ask about as many watches.

use std::collections::HashMap;

use super::board::{Snapshot, WatchReport};
use crate::change::DestinationKey;
use crate::rules::WatchKey;

/// A snapshot, and which watches serve which destination.
pub(super) struct View<'a> {
    pub(super) facts: &'a Snapshot,
    serving: HashMap<&'a DestinationKey, Vec<&'a WatchKey>>,
}

// === impl View ===

impl<'a> View<'a> {
    pub(super) fn new(facts: &'a Snapshot) -> Self {
        let mut serving: HashMap<&DestinationKey, Vec<&WatchKey>> = HashMap::new();
        for (key, subscriptions) in &facts.plan.watches {
            for subscription in subscriptions {
                let watches = serving.entry(&subscription.destination.key).or_default();
                // The subscriptions of one watch stand together.
                if watches.last() != Some(&key) {
                    watches.push(key);
                }
            }
        }
        Self { facts, serving }
    }

    fn serving(&self, destination: &DestinationKey) -> impl Iterator<Item = &'a WatchKey> {
        let watches = self.serving.get(destination).into_iter().flatten();
        watches.copied()
    }

    /// Whether everything that is selected for a destination has been listed.
    pub(super) fn is_listed(&self, destination: &DestinationKey) -> bool {
        self.serving(destination)
            .all(|key| self.facts.watches.get(key).is_some_and(|w| w.synced))
    }

    /// What is wrong with one of a destination's watches.
    pub(super) fn watch_error(&self, destination: &DestinationKey) -> Option<String> {
        self.serving(destination).find_map(|key| {
            let error = self.facts.watches.get(key)?.error.as_ref()?;
            Some(format!("{key}: {error}"))
        })
    }

    /// The open watch that covers what a rule asked for: its own, or that of the whole cluster.
    pub(super) fn open(&self, wanted: &WatchKey) -> Option<(&'a WatchKey, &'a WatchReport)> {
        let watches = &self.facts.watches;
        watches
            .get_key_value(&everywhere(wanted))
            .or_else(|| watches.get_key_value(wanted))
    }

    /// Whether the sidecar observes what a rule asked for.
    pub(super) fn is_observed(&self, wanted: &WatchKey) -> bool {
        let observed = &self.facts.observed;
        observed.contains(&everywhere(wanted)) || observed.contains(wanted)
    }
}

fn everywhere(key: &WatchKey) -> WatchKey {
    WatchKey {
        namespace: None,
        ..key.clone()
    }
}
