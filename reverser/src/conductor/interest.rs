//! What the sidecar is told to observe.

use std::collections::BTreeSet;
use std::sync::Arc;

use proto::v1::{Interest, InterestSet};

use super::Conductor;
use crate::rules::WatchKey;

impl Conductor {
    pub(super) fn offer_interest(&mut self) {
        let watches: BTreeSet<WatchKey> = self.plan.watches.keys().cloned().collect();
        if self.offered.values().last() == Some(&watches) {
            return;
        }
        let interests = watches
            .iter()
            .map(|key| Interest {
                group: key.served.group.clone(),
                resource: key.served.resource.clone(),
                namespace: key.namespace.clone().unwrap_or_default(),
            })
            .collect();
        let generation = self.offered.keys().last().copied().unwrap_or(0) + 1;
        self.offered.insert(generation, watches);
        self.edges.interest.send_replace(Arc::new(InterestSet {
            generation,
            interests,
        }));
    }

    pub(super) fn interest_acknowledged(&mut self) {
        let generation = *self.edges.acknowledged.borrow_and_update();
        // Zero: no sidecar, so nobody observes anything.
        let watches = self.offered.get(&generation).cloned().unwrap_or_default();
        if generation > 0 {
            self.offered.retain(|offered, _| *offered >= generation);
        }
        self.board.observed(watches);
    }
}
