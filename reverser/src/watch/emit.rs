//! From what was seen of an object to changes for its subscribers. Joins on receipt.

use std::sync::Arc;

use manifest::Identity;
use tokio::time::Instant;
use tracing::debug;

use super::index::{Entry, Index, ObjectName};
use super::object::Seen;
use super::task::Shared;
use crate::attribution::Store;
use crate::change::{Attribution, Cause, Change, DestinationKey, Miss, Operation, Sighting};
use crate::discovery::ServedType;
use crate::rules::{Operations, Subscription, WatchKey};
use crate::workers::{Item, Queue, Write};

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
    fn selects(&self, identity: &Identity) -> Option<Operations> {
        let destination = &self.subscription.destination;
        if destination.omits(&identity.group, &identity.resource) {
            return None;
        }
        self.subscription.selection.operations(&identity.namespace)
    }

    /// Where the object's file stands, if it may stand.
    pub(super) fn live_path(&self, seen: &Seen) -> Option<String> {
        let live =
            !seen.terminating && seen.left_out.is_none() && self.selects(&seen.identity).is_some();
        live.then(|| self.path(&seen.identity))
    }

    fn path(&self, identity: &Identity) -> String {
        manifest::file_path(&self.subscription.destination.base_folder, identity)
    }

    pub(super) fn path_of(&self, served: &ServedType, namespace: &str, name: &str) -> String {
        self.path(&identity(served, namespace, name))
    }
}

fn identity(served: &ServedType, namespace: &str, name: &str) -> Identity {
    Identity {
        group: served.group.clone(),
        version: served.version.clone(),
        resource: served.resource.clone(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

/// Makes changes and hands them to the queues.
pub(super) struct Emitter<'a> {
    pub(super) shared: &'a Shared,
}

impl Emitter<'_> {
    fn store(&self) -> &Store {
        &self.shared.store
    }

    /// An object of a list. Only what the subscriber has not been given yet becomes a write.
    pub(super) fn listed(
        &self,
        seen: &Seen,
        before: Option<&Entry>,
        subscriber: &Subscriber,
        fresh: bool,
    ) -> Option<Write> {
        let path = subscriber.live_path(seen)?;
        let allowed = subscriber.selects(&seen.identity)?;
        let known = before
            .is_some_and(|b| b.uid == seen.uid && b.spec_hash == seen.spec_hash && !b.terminating);
        if known && !fresh {
            return None;
        }
        let sighting = seen.sighting(before, None);
        Some(Write {
            change: Change {
                destination: subscriber.key().clone(),
                identity: seen.identity.clone(),
                path,
                content: Some(seen.text.clone()),
                operation: sighting.operation,
                attribution: Attribution::None(Miss::Reconciled),
                cause: if fresh {
                    subscriber.cause
                } else {
                    Cause::Resync
                },
            },
            destination: subscriber.subscription.destination.clone(),
            allowed,
            unclaimed: Some(Box::new(sighting)),
            seen: Instant::now(),
        })
    }

    /// ADDED (`created`) or MODIFIED.
    pub(super) fn written(
        &self,
        key: &WatchKey,
        seen: &Seen,
        created: bool,
        index: &mut Index,
        subscribers: &[Subscriber],
    ) {
        let name = seen.name();
        let before = index.get(&name).filter(|b| b.uid == seen.uid).cloned();
        index.insert(name.clone(), seen.entry());
        if seen.terminating {
            // Told to go: the file goes now, once, and whoever clears the finalizers changes nothing.
            if let Some(before) = before.filter(|b| !b.terminating) {
                self.gone(key, &name, &before, Some(seen), subscribers);
            }
            return;
        }
        let unchanged = before.as_ref().is_some_and(|b| {
            b.spec_hash == seen.spec_hash && b.left_out == seen.left_out.is_some()
        });
        if unchanged || (seen.left_out.is_some() && before.as_ref().is_none_or(|b| b.left_out)) {
            if let Some(before) = before {
                // Whoever asked for something on that version lost the race.
                self.store()
                    .base_passed(&seen.uid, &before.resource_version);
            }
            return;
        }
        let base = match &before {
            Some(before) => Some(before.resource_version.to_string()),
            // The first version of this uid, and nothing came between.
            None => created.then(String::new),
        };
        let sighting = Sighting {
            scaled_to: before.as_ref().and_then(|b| seen.scaled_since(b)),
            ..seen.sighting(before.as_ref(), base)
        };
        let content = seen.left_out.is_none().then(|| seen.text.clone());
        let added = i64::from(before.as_ref().is_none_or(|b| b.left_out));
        let removed = i64::from(content.is_none());
        self.send(
            key,
            &sighting,
            content.as_ref(),
            added - removed,
            subscribers,
        );
    }

    /// DELETED.
    pub(super) fn deleted(
        &self,
        key: &WatchKey,
        seen: &Seen,
        index: &mut Index,
        subscribers: &[Subscriber],
    ) {
        let name = seen.name();
        if index.get(&name).is_none_or(|known| known.uid != seen.uid) {
            return;
        }
        if let Some(before) = index.remove(&name).filter(|b| !b.terminating) {
            self.gone(key, &name, &before, Some(seen), subscribers);
        }
    }

    /// The object is gone, or told to go. `seen` is the event that says so; without one it was
    /// found missing after a gap, and the chain of versions is broken.
    pub(super) fn gone(
        &self,
        key: &WatchKey,
        name: &ObjectName,
        before: &Entry,
        seen: Option<&Seen>,
        subscribers: &[Subscriber],
    ) {
        if before.left_out || before.terminating {
            return;
        }
        let sighting = Sighting {
            identity: identity(&key.served, &name.0, &name.1),
            uid: before.uid.to_string(),
            operation: Operation::Delete,
            base: seen.map(|_| before.resource_version.to_string()),
            version: seen.map_or_else(String::new, |seen| seen.resource_version.to_string()),
            spec_hash: before.spec_hash,
            managed_fields_hash: None,
            scaled_to: None,
        };
        self.send(key, &sighting, None, -1, subscribers);
    }

    fn send(
        &self,
        key: &WatchKey,
        sighting: &Sighting,
        content: Option<&bytes::Bytes>,
        grown: i64,
        subscribers: &[Subscriber],
    ) {
        let taken: Vec<_> = subscribers
            .iter()
            .filter_map(|s| s.selects(&sighting.identity).map(|allowed| (s, allowed)))
            .collect();
        if taken.is_empty() {
            return;
        }
        let attribution = self.store().join(sighting);
        debug!(object = %sighting.identity, operation = ?sighting.operation, ?attribution, "changed");
        let unclaimed = matches!(attribution, Attribution::None(Miss::Unseen))
            .then(|| Box::new(sighting.clone()));
        for (subscriber, allowed) in taken {
            self.shared.board.objects_grew(subscriber.key(), key, grown);
            let change = Change {
                destination: subscriber.key().clone(),
                path: subscriber.path(&sighting.identity),
                identity: sighting.identity.clone(),
                content: content.cloned(),
                operation: sighting.operation,
                attribution: attribution.clone(),
                cause: Cause::Live,
            };
            let destination = subscriber.subscription.destination.clone();
            let unclaimed = unclaimed.clone();
            let write = Write {
                change,
                destination,
                allowed,
                unclaimed,
                seen: Instant::now(),
            };
            subscriber.queue.push(Item::Write(Box::new(write)));
        }
    }
}
