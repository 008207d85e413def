//! The list that begins a chain of versions: the first one, and each after a gap.
//!
//! It never waits for Git. Until it is complete no event is followed, and observations of what
//! happens meanwhile would grow too old to be joined. Whose queue is full is given everything later, by
//! a side list.

use std::collections::HashSet;

use kube::api::WatchEvent;

use super::emit::{Emitter, Gone, Told, complete, give};
use super::given::{Given, Part};
use super::index::{Index, ObjectName};
use super::object::{Seen, Which};
use super::source::Object;
use super::subscriber::Subscriber;
use crate::change::Cause;

/// What a subscriber wants of the list.
#[derive(Debug)]
enum Wants {
    /// It was given everything before.
    Changes,
    /// Everything; with what it was given.
    Everything(Part),
    /// Everything, but there was no room for it.
    EverythingLater(Part),
}

/// A full list on its way.
pub(super) struct FullList<'a> {
    emitter: Emitter<'a>,
    wants: Vec<Wants>,
    /// No list was complete before: what the index lacks is no change.
    first: bool,
    /// Live objects that the index can't hold.
    kept: HashSet<ObjectName>,
}

impl<'a> FullList<'a> {
    pub(super) fn new(
        emitter: Emitter<'a>,
        index: &mut Index,
        given: &mut Given,
        first: bool,
    ) -> Self {
        index.begin_list();
        let mut wants = |subscriber: &Subscriber| {
            if given.has_everything(subscriber) {
                Wants::Changes
            } else {
                Wants::Everything(given.take_part(subscriber))
            }
        };
        Self {
            wants: emitter.subscribers.iter().map(&mut wants).collect(),
            emitter,
            first,
            kept: HashSet::new(),
        }
    }

    /// The next object. What changed during the gap is joined here, once, and goes to everybody.
    pub(super) fn listed(&mut self, object: &Object, index: &mut Index) {
        self.emitter.shared.metrics.objects_scanned_total.inc();
        let Emitter { key, shared, .. } = &self.emitter;
        match Seen::new(object, &key.served, shared.cluster_made) {
            Ok(seen) => self.readable(&seen, index),
            // It lives all the same: its file stays as it is.
            Err(unreadable) => {
                self.emitter.unreadable(&unreadable, Told::List, index);
                if let Which::Name(name) = unreadable.which {
                    index.note_listed(&name);
                    self.kept.insert(name);
                }
            }
        }
    }

    /// What became of an object after it was listed, told before the list was complete: no version came between.
    pub(super) fn event(&mut self, event: WatchEvent<Object>, index: &mut Index) {
        // The version to go on from comes with the list's end.
        let _ = self.emitter.event(event, index);
    }

    fn readable(&mut self, seen: &Seen, index: &mut Index) {
        let name = seen.meta.name.clone();
        if self.first
            && index
                .get(&name)
                .is_none_or(|before| before.uid != seen.meta.uid)
        {
            let mut entry = seen.entry();
            entry.found = true;
            index.note_readable(&name);
            index.insert(name.clone(), entry);
        } else if self.emitter.written(seen, Told::List, index) {
            return;
        }
        let Some(entry) = index.get(&name).filter(|_| seen.is_live()) else {
            return;
        };
        for (subscriber, wants) in self.emitter.subscribers.iter().zip(&mut self.wants) {
            if let Wants::Everything(part) = wants {
                if subscriber.queue.is_full() {
                    *wants = Wants::EverythingLater(std::mem::take(part));
                } else if part.add(&name) {
                    give(seen, &entry, subscriber);
                }
            }
        }
    }

    /// The list is complete and consistent at `version`: what it did not hold is gone. Who is not among `present` has left
    /// meanwhile; what becomes of its files is no matter of this list any more.
    pub(super) fn finish(
        self,
        version: &str,
        present: &[Subscriber],
        index: &mut Index,
        given: &mut Given,
    ) {
        for name in index.missing() {
            if let Some(before) = index.remove(&name) {
                let gone = Gone {
                    told: Told::List,
                    version,
                };
                self.emitter.gone(&name, &before, gone);
            }
        }
        let Emitter {
            key,
            shared,
            subscribers,
        } = self.emitter;
        let is_present = |s: &Subscriber| present.iter().any(|now| now.key() == s.key());
        let with_wants = subscribers.iter().zip(self.wants);
        for (subscriber, wants) in with_wants.filter(|(s, _)| is_present(s)) {
            let cause = match wants {
                Wants::Changes => Cause::Resync,
                Wants::Everything(_) => subscriber.cause,
                Wants::EverythingLater(part) => {
                    given.postpone(subscriber, part);
                    continue;
                }
            };
            let live = subscriber.live_files(&key.served, index, self.kept.iter());
            complete(key, shared, subscriber, version, live, cause);
            given.everything(subscriber);
        }
    }
}
