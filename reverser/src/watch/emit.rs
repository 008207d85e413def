//! From what was seen of an object to changes for its subscribers. Joins on receipt.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use kube::api::WatchEvent;
use manifest::{Identity, SpecHash};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::index::{Entry, Index, ObjectName};
use super::object::{Meta, Seen, Unreadable, Which};
use super::source::Object;
use super::subscriber::{Subscriber, identity};
use super::task::Shared;
use crate::attribution::{Joined, Store};
use crate::change::{Attribution, Cause, Change, Miss, Operation, Sighting};
use crate::fingerprint::Fingerprint;
use crate::rules::WatchKey;
use crate::workers::{Item, Sweep, Unit, Unsettled, Write};

/// How it became known what an object is like now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// By an event: no version came between this one and what the index holds. `created` for ADDED.
    Event { created: bool },
    /// By a list, after a gap of which nobody told.
    List,
}

impl Told {
    fn cause(self) -> Cause {
        match self {
            Self::Event { .. } => Cause::Live,
            Self::List => Cause::Resync,
        }
    }
}

/// That an object is gone, or told to go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gone<'a> {
    pub(super) told: Told,
    /// The version that says so; of an object that a list lacks, the list's.
    pub(super) version: &'a str,
}

/// Makes changes and hands them to the queues.
pub(super) struct Emitter<'a> {
    pub(super) key: &'a WatchKey,
    pub(super) shared: &'a Shared,
    pub(super) subscribers: &'a [Subscriber],
}

impl Emitter<'_> {
    fn store(&self) -> &Store {
        &self.shared.store
    }

    /// One event; returns the version to go on from.
    pub(super) fn event(&self, event: WatchEvent<Object>, index: &mut Index) -> Option<String> {
        let (object, created) = match event {
            WatchEvent::Added(object) => (object, true),
            WatchEvent::Modified(object) => (object, false),
            WatchEvent::Deleted(object) => {
                return match Meta::read(&object) {
                    Ok(meta) => {
                        self.deleted(&meta, index);
                        Some(meta.resource_version.into())
                    }
                    Err(unreadable) => {
                        self.skipped(&unreadable, index);
                        None
                    }
                };
            }
            WatchEvent::Bookmark(bookmark) => return Some(bookmark.metadata.resource_version),
            // Turned into an error by the source.
            WatchEvent::Error(_) => return None,
        };
        let told = Told::Event { created };
        match Seen::new(&object, &self.key.served, self.shared.cluster_made) {
            Ok(seen) => {
                self.written(&seen, told, index);
                Some(seen.meta.resource_version.into())
            }
            Err(unreadable) => {
                self.unreadable(&unreadable, told, index);
                match unreadable.which {
                    Which::Version(meta) => Some(meta.resource_version.into()),
                    Which::Name(_) | Which::Unknown => None,
                }
            }
        }
    }

    /// The object as it is now; also one that is told to go. Returns whether that changed a file.
    pub(super) fn written(&self, seen: &Seen, told: Told, index: &mut Index) -> bool {
        let Meta { name, uid, .. } = &seen.meta;
        index.note_readable(name);
        let before = index.get(name).filter(|b| b.uid == *uid);
        let unchanged = before.as_ref().is_some_and(|b| {
            b.fingerprint == Some(seen.fingerprint) && b.left_out == seen.left_out.is_some()
        });
        let found = unchanged && before.as_ref().is_some_and(|b| b.found);
        index.insert(
            name.clone(),
            Entry {
                found,
                ..seen.entry()
            },
        );
        if seen.meta.terminating {
            return before.is_some_and(|before| self.terminates(&seen.meta, &before, told));
        }
        if unchanged || (seen.left_out.is_some() && before.as_ref().is_none_or(|b| b.left_out)) {
            self.passed(&seen.meta, before.as_ref());
            return false;
        }
        let base = match (told, &before) {
            (Told::List, _) => None,
            (Told::Event { .. }, Some(before)) => Some(before.resource_version.to_string()),
            // The first version of this uid, and nothing came between.
            (Told::Event { created }, None) => created.then(String::new),
        };
        let sighting = Sighting {
            scaled_to: before.as_ref().and_then(|b| seen.scaled_since(b)),
            ..seen.sighting(before.as_ref(), base)
        };
        let content = seen.left_out.is_none().then(|| seen.text.clone());
        let added = i64::from(before.as_ref().is_none_or(|b| b.left_out));
        let removed = i64::from(content.is_none());
        self.send(&sighting, content.as_ref(), added - removed, told);
        true
    }

    /// The object as it is now, but for its content: its file stays as it is, and what is read of it
    /// next was written over this version.
    pub(super) fn unreadable(&self, unreadable: &Unreadable, told: Told, index: &mut Index) {
        self.skipped(unreadable, index);
        let Which::Version(meta) = &unreadable.which else {
            return;
        };
        let before = index.get(&meta.name).filter(|b| b.uid == meta.uid);
        let entry = Entry {
            uid: meta.uid.clone(),
            resource_version: meta.resource_version.clone(),
            spec_hash: before.as_ref().and_then(|b| b.spec_hash),
            fingerprint: before.as_ref().and_then(|b| b.fingerprint),
            unscaled_hash: None,
            terminating: meta.terminating,
            left_out: before.as_ref().is_some_and(|b| b.left_out),
            found: false,
        };
        index.insert(meta.name.clone(), entry);
        match before {
            Some(before) if meta.terminating => {
                self.terminates(meta, &before, told);
            }
            before => self.passed(meta, before.as_ref()),
        }
    }

    /// Says so once, and not for each of its versions.
    pub(super) fn skipped(&self, unreadable: &Unreadable, index: &mut Index) {
        let name = unreadable.which.name();
        if name.is_none_or(|name| index.note_unreadable(name)) {
            self.shared.metrics.objects_skipped_total.inc();
            let (namespace, name) = name.map_or(("", ""), |(namespace, name)| (namespace, name));
            let why = &unreadable.why;
            warn!(watch = %self.key, namespace, name, %why, "an object is skipped");
        }
    }

    /// Told to go: the file goes now, once, and whoever clears the finalizers changes nothing.
    fn terminates(&self, meta: &Meta, before: &Entry, told: Told) -> bool {
        let gone = Gone {
            told,
            version: &meta.resource_version,
        };
        self.gone(&meta.name, before, gone)
    }

    /// A version of which nothing is written: whoever asked for something on the one before lost the race.
    fn passed(&self, meta: &Meta, before: Option<&Entry>) {
        if let Some(before) = before.filter(|b| b.resource_version != meta.resource_version) {
            self.store()
                .base_passed(&meta.uid, &before.resource_version);
        }
    }

    /// DELETED.
    pub(super) fn deleted(&self, meta: &Meta, index: &mut Index) {
        let name = &meta.name;
        if index.get(name).is_none_or(|known| known.uid != meta.uid) {
            return;
        }
        if let Some(before) = index.remove(name) {
            let gone = Gone {
                told: Told::Event { created: false },
                version: &meta.resource_version,
            };
            self.gone(name, &before, gone);
        }
    }

    /// Deletes the file of an object, where it has one.
    pub(super) fn gone(&self, name: &ObjectName, before: &Entry, gone: Gone<'_>) -> bool {
        if before.left_out || before.terminating {
            return false;
        }
        let base = match gone.told {
            Told::Event { .. } => Some(before.resource_version.to_string()),
            Told::List => None,
        };
        let sighting = Sighting {
            identity: identity(&self.key.served, &name.0, &name.1),
            uid: before.uid.to_string(),
            operation: Operation::Delete,
            base,
            version: gone.version.to_owned(),
            // Without one, nothing is compared with it but what has no uid.
            spec_hash: before.spec_hash.unwrap_or(SpecHash::of(b"")),
            managed_fields_hash: None,
            scaled_to: None,
        };
        self.send(&sighting, None, -1, gone.told);
        true
    }

    /// Joins a change, once for all, and hands it to whoever takes it. Never waits.
    fn send(&self, sighting: &Sighting, content: Option<&Bytes>, grown: i64, told: Told) {
        let taken: Vec<_> = self
            .subscribers
            .iter()
            .filter_map(|s| s.selects(&sighting.identity).map(|allowed| (s, allowed)))
            .collect();
        if taken.is_empty() {
            return;
        }
        let Joined {
            attribution,
            credit,
        } = self.store().join(sighting);
        debug!(object = %sighting.identity, operation = ?sighting.operation, ?attribution, "changed");
        let unsettled = match attribution {
            Attribution::None(Miss::Unseen) => Some(Unsettled::Unseen(Box::new(sighting.clone()))),
            _ => credit.map(Unsettled::Credited),
        };
        for (subscriber, allowed) in taken {
            let Some(content) = content_for(subscriber, &sighting.identity, content) else {
                continue;
            };
            self.shared
                .board
                .objects_grew(subscriber.key(), self.key, grown);
            let change = Change {
                destination: subscriber.key().clone(),
                path: subscriber.path(&sighting.identity),
                identity: sighting.identity.clone(),
                content,
                operation: sighting.operation,
                attribution: attribution.clone(),
                cause: told.cause(),
            };
            let write = Write {
                change,
                destination: subscriber.subscription.destination.clone(),
                allowed,
                unsettled: unsettled.clone(),
                seen: Instant::now(),
            };
            subscriber.queue.push(Item::Write(Box::new(write)));
        }
    }
}

/// The content as the destination has it, none for a delete. `None` where nothing may be told of it: its file stays as it is.
fn content_for(
    subscriber: &Subscriber,
    identity: &Identity,
    content: Option<&Bytes>,
) -> Option<Option<Bytes>> {
    let destination = &subscriber.subscription.destination;
    match content
        .map(|text| destination.text(identity, text))
        .transpose()
    {
        Ok(content) => Some(content),
        Err(error) => {
            warn!(object = %identity, destination = %destination.key, %error, "its values can't be hidden; it is not written");
            None
        }
    }
}

/// Gives a live object to a subscriber that wants everything: whether its file differs, only Git
/// can tell. `known` is what the index holds of it.
///
/// Nobody is asked who wrote it but for what the first list found. Of everything else a change
/// has told already, and a file that somebody else changed in Git is put right by nobody but us.
pub(super) fn give(seen: &Seen, known: &Entry, subscriber: &Subscriber) {
    let Some(allowed) = subscriber.selects(&seen.identity) else {
        return;
    };
    let Some(content) = content_for(subscriber, &seen.identity, Some(&seen.text)) else {
        return;
    };
    let sighting = seen.sighting(None, None);
    let change = Change {
        destination: subscriber.key().clone(),
        path: subscriber.path(&seen.identity),
        identity: seen.identity.clone(),
        content,
        operation: sighting.operation,
        attribution: Attribution::None(Miss::Reconciled),
        cause: subscriber.cause,
    };
    let ask = known.found && subscriber.cause != Cause::Drift;
    let write = Write {
        change,
        destination: subscriber.subscription.destination.clone(),
        allowed,
        unsettled: ask.then(|| Unsettled::Found(Box::new(sighting))),
        seen: Instant::now(),
    };
    subscriber.queue.push(Item::Write(Box::new(write)));
}

/// Everything live at `version` was given to the subscriber, or will be: the files of its other objects go.
pub(super) fn complete(
    key: &WatchKey,
    shared: &Shared,
    subscriber: &Subscriber,
    version: &str,
    live: HashSet<Fingerprint>,
    cause: Cause,
) {
    let destination = &subscriber.subscription.destination;
    shared.board.objects(&destination.key, key, live.len());
    let sweep = Sweep {
        destination: destination.clone(),
        unit: Unit::Listed {
            selection: subscriber.subscription.selection.clone(),
            namespace: key.namespace.clone(),
            version: version.into(),
            live: Arc::new(live),
        },
        cause,
    };
    // Sweeps are few; behind a full queue they wait like live changes.
    subscriber.queue.push(Item::Sweep(sweep));
    subscriber.queue.flush();
}
