//! A destination as a watch sees it: what it takes, and where that stands in its folder.

use std::collections::HashSet;
use std::sync::Arc;

use manifest::Identity;

use super::index::{Index, ObjectName};
use crate::change::{Cause, DestinationKey};
use crate::discovery::ServedType;
use crate::fingerprint::Fingerprint;
use crate::rules::{Operations, Subscription};
use crate::workers::Queue;

/// A destination that a watch serves, and its worker's queue.
#[derive(Clone, Debug)]
pub struct Subscriber {
    /// What of the watch goes where.
    pub subscription: Subscription,
    /// In front of the destination's worker.
    pub queue: Arc<Queue>,
    /// Grows each time the destination wants the whole list.
    pub epoch: u64,
    /// Why it wants it.
    pub cause: Cause,
}

impl Subscriber {
    pub(super) fn key(&self) -> &DestinationKey {
        &self.subscription.destination.key
    }

    /// What the rules allow, where this destination takes the object at all.
    pub(super) fn selects(&self, identity: &Identity) -> Option<Operations> {
        self.selects_in(&identity.group, &identity.resource, &identity.namespace)
    }

    fn selects_in(&self, group: &str, resource: &str, namespace: &str) -> Option<Operations> {
        if self.subscription.destination.omits(group, resource) {
            return None;
        }
        self.subscription.selection.operations(namespace)
    }

    /// Whether it takes the objects of this namespace.
    pub(super) fn takes(&self, served: &ServedType, namespace: &str) -> bool {
        self.selects_in(&served.group, &served.resource, namespace)
            .is_some()
    }

    pub(super) fn path(&self, identity: &Identity) -> String {
        manifest::file_path(&self.subscription.destination.base_folder, identity)
    }

    /// The files that a sweep must leave: those of the live objects that this destination takes,
    /// and of `kept`, of which the index can't tell. Each as the fingerprint of its path.
    pub(super) fn live_files<'a>(
        &self,
        served: &ServedType,
        index: &'a Index,
        kept: impl Iterator<Item = &'a ObjectName>,
    ) -> HashSet<Fingerprint> {
        let kept = kept.map(|(namespace, name)| (&**namespace, &**name));
        index
            .live()
            .chain(kept)
            .filter(|(namespace, _)| self.takes(served, namespace))
            .map(|(namespace, name)| self.path(&identity(served, namespace, name)))
            .map(|path| Fingerprint::of(path.as_bytes()))
            .collect()
    }
}

/// The object of this name.
pub(super) fn identity(served: &ServedType, namespace: &str, name: &str) -> Identity {
    Identity {
        group: served.group.clone(),
        version: served.version.clone(),
        resource: served.resource.clone(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}
