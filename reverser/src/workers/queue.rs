//! What waits for a Git worker. It never holds up a watch, and its memory is bounded.

mod compact;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use prometheus::IntCounter;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{BatchLimits, Portion};
use crate::attribution::{Coverage, Credit};
use crate::change::{Cause, Change, DestinationKey, Operation, Sighting};
use crate::fingerprint::Fingerprint;
use crate::rules::{DestinationPlan, Operations, TypeSelection};

/// How much may wait.
#[derive(Clone, Copy, Debug)]
struct Bound {
    /// Of manifests.
    bytes: usize,
    /// The same for very small changes, whose bookkeeping, 1 KiB, weighs more than their bytes.
    items: usize,
}

/// Before versions in between are dropped. 32 MiB is some 30,000 small objects: an hour of a busy cluster with its remote away.
const LIVE: Bound = Bound {
    bytes: 32 << 20,
    items: 50_000,
};

/// Before lists are held back: of what they bring nothing is lost by waiting. Enough for a second of Git's work, and
/// for some 7,000 small objects at once.
const LISTED: Bound = Bound {
    bytes: 8 << 20,
    items: 10_000,
};

/// One new version of one file on its way.
#[derive(Clone, Debug)]
pub struct Write {
    /// The change.
    pub change: Change,
    /// The destination at the time.
    pub destination: Arc<DestinationPlan>,
    /// What may happen to the file.
    pub allowed: Operations,
    /// Where the author isn't final: what to look for when the batch closes.
    pub unsettled: Option<Unsettled>,
    /// When the change was received.
    pub seen: Instant,
}

impl Write {
    fn unsettled(&self) -> Option<Instant> {
        let awaited = matches!(
            self.unsettled,
            Some(Unsettled::Unseen(_) | Unsettled::Credited(_))
        );
        awaited.then_some(self.seen)
    }
}

/// A change whose author is still to be found, or confirmed.
#[derive(Clone, Debug)]
pub enum Unsettled {
    /// It was joined when it was told, and nobody was found: an observation may still come late.
    Unseen(Box<Sighting>),
    /// It was joined when it was told, and somebody was found: a rival's observation may still come
    /// late.
    Credited(Credit),
    /// The first list found it, and only Git can tell whether it is a change at all.
    Found(Box<Sighting>),
}

/// The files that must go because their objects are not live.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// The destination at the time.
    pub destination: Arc<DestinationPlan>,
    /// Where to look.
    pub unit: Unit,
    /// Why.
    pub cause: Cause,
}

/// A part of a destination's folder.
#[derive(Clone, Debug)]
pub enum Unit {
    /// One type, over all versions, in one namespace or all; its list is complete.
    Listed {
        /// The type as it is selected.
        selection: Arc<TypeSelection>,
        /// `None` for a cluster-wide list.
        namespace: Option<String>,
        /// The resourceVersion at which it was complete; empty where unknown. What is not live was deleted before.
        version: Box<str>,
        /// The fingerprint of the path of every live object's file: 8 bytes each instead of 100.
        live: Arc<HashSet<Fingerprint>>,
    },
    /// Everything that no rule of the destination selects; all of them are resolved.
    Unselected,
}

/// What a worker takes from its queue.
#[derive(Clone, Debug)]
pub enum Item {
    /// Write or delete one file.
    Write(Box<Write>),
    /// Delete what is not live.
    Sweep(Sweep),
    /// Everything that was listed for this destination stands before this item; all of these lists were asked for then or later.
    Listed(Arc<DestinationPlan>, Instant),
}

impl Item {
    /// For whom.
    #[must_use]
    pub fn destination(&self) -> &Arc<DestinationPlan> {
        match self {
            Self::Write(write) => &write.destination,
            Self::Sweep(sweep) => &sweep.destination,
            Self::Listed(destination, _) => destination,
        }
    }

    /// When a live change was received whose author is not final yet.
    fn unsettled(&self) -> Option<Instant> {
        match self {
            Self::Write(write) => write.unsettled(),
            Self::Sweep(_) | Self::Listed(..) => None,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Write(write) => write.change.content.as_ref().map_or(0, Bytes::len),
            Self::Sweep(_) | Self::Listed(..) => 0,
        }
    }
}

#[derive(Debug)]
struct Waiting {
    item: Item,
    since: Instant,
    /// A new object's first version: before it there is no file.
    begins: bool,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Waiting>,
    /// Sequence number of the front item; positions in `latest` count from the first item ever.
    first: u64,
    /// The newest write of each path.
    latest: HashMap<String, u64>,
    bytes: usize,
    /// What was left of it when it was last compacted.
    compacted: Option<Bound>,
    pending: HashMap<DestinationKey, usize>,
    /// Sequence number after the last sweep. A write may not move to the other side of a sweep,
    /// which judges by what was live when it was put in.
    behind_sweep: u64,
    /// How many live changes wait whose author is not final yet, and when the newest one came.
    unsettled: usize,
    newest_unsettled: Option<Instant>,
    /// A list has ended: what waits goes at once.
    urgent: bool,
    /// Its worker is gone: nothing is kept any more.
    closed: bool,
}

/// The queue of one worker.
///
/// Every version is kept while there is room. Past the bound, a newer version replaces the one
/// that waits for the same file, whoever wrote it (counted as dropped); the newest version of a
/// file is never lost. Of what came and went meanwhile nothing is kept, and of sweeps the newest of each list.
/// So there is at most twice as much as the bound, or as one version of each object that is live or has a file, and one more
/// for each list behind whose sweep it was written again.
#[derive(Debug)]
pub struct Queue {
    state: Mutex<State>,
    added: Notify,
    taken: Notify,
    dropped: IntCounter,
}

/// Why a queue is to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing waits.
    Empty,
    /// A batch is closed.
    Now,
    /// It closes then, or earlier if more comes.
    At(Instant),
}

impl Queue {
    /// Empty. `dropped` counts the versions that make way for newer ones at the bound.
    #[must_use]
    pub fn new(dropped: IntCounter) -> Self {
        Self {
            state: Mutex::default(),
            added: Notify::new(),
            taken: Notify::new(),
            dropped,
        }
    }

    /// Puts a live change in; never waits.
    pub fn push(&self, item: Item) {
        let dropped = self.state.lock().push(item);
        self.dropped.inc_by(dropped as u64);
        self.added.notify_one();
    }

    /// Waits while the queue is at its bound for lists, so that a list is read no faster than Git takes it.
    /// What is put in when there is no room is kept all the same.
    pub async fn room(&self) {
        loop {
            let taken = self.taken.notified();
            if !self.is_full() {
                return;
            }
            taken.await;
        }
    }

    /// Whether lists are held back.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.state.lock().exceeds(LISTED)
    }

    /// A list has ended: what waits need not linger.
    pub fn flush(&self) {
        self.state.lock().urgent = true;
        self.added.notify_one();
    }

    /// Changes that wait, of one destination.
    #[must_use]
    pub fn pending(&self, destination: &DestinationKey) -> usize {
        self.state
            .lock()
            .pending
            .get(destination)
            .copied()
            .unwrap_or(0)
    }

    /// Changes that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.state.lock().items.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets what waits in vain: its destination is gone, or takes it no more.
    pub fn retain(&self, keep: impl Fn(&Item) -> bool) {
        self.state.lock().retain(keep);
        self.taken.notify_waiters();
    }

    /// Drops what waits and whatever comes: nobody takes it any more. Who waits for room goes on.
    pub fn close(&self) {
        {
            let mut state = self.state.lock();
            *state = State {
                closed: true,
                ..State::default()
            };
        }
        self.taken.notify_waiters();
    }

    /// As if it were full.
    #[cfg(test)]
    pub(super) fn fill_up(&self) {
        self.state.lock().bytes += LIVE.bytes;
    }

    pub(super) async fn changed(&self) {
        self.added.notified().await;
    }

    /// When the batch at the front closes.
    pub(super) fn due(&self, limits: &BatchLimits) -> Due {
        let state = self.state.lock();
        let Some(front) = state.items.front() else {
            return Due::Empty;
        };
        if state.urgent || state.items.len() >= limits.max_files || state.bytes >= limits.max_bytes
        {
            return Due::Now;
        }
        Due::At(front.since + limits.linger.min(limits.max_wait))
    }

    /// If a live change waits whose author is not final yet: when the newest was received, or one
    /// that was taken since.
    pub(super) fn unsettled(&self) -> Option<Instant> {
        let state = self.state.lock();
        state.newest_unsettled.filter(|_| state.unsettled > 0)
    }

    /// The front of the queue, up to the ceilings and at least one item; but nothing from a change
    /// on that the portion does not cover.
    pub(crate) fn take(&self, portion: &Portion) -> Vec<Item> {
        let batch = self.state.lock().take(portion);
        self.taken.notify_waiters();
        batch
    }
}

// === impl State ===

impl State {
    fn exceeds(&self, bound: Bound) -> bool {
        self.bytes >= bound.bytes || self.items.len() >= bound.items
    }

    /// The sequence number of the next item.
    fn next(&self) -> u64 {
        self.first + self.items.len() as u64
    }

    /// How many versions were dropped for it.
    fn push(&mut self, item: Item) -> usize {
        if self.closed {
            return 0;
        }
        let mut begins = false;
        if let Item::Write(write) = &item {
            if self.exceeds(LIVE) && self.replace(write) {
                return 1;
            }
            let Change {
                path,
                operation,
                cause,
                ..
            } = &write.change;
            let is_new = (*operation, *cause) == (Operation::Create, Cause::Live);
            begins = is_new && !self.latest.contains_key(path);
        }
        self.append(Waiting {
            item,
            since: Instant::now(),
            begins,
        });
        if self.is_to_be_compacted() {
            return self.compact();
        }
        0
    }

    fn append(&mut self, waiting: Waiting) {
        let item = &waiting.item;
        if let Item::Write(write) = item {
            self.latest.insert(write.change.path.clone(), self.next());
        } else {
            self.behind_sweep = self.next() + 1;
        }
        self.bytes += item.bytes();
        self.count_unsettled(item.unsettled());
        *self
            .pending
            .entry(item.destination().key.clone())
            .or_default() += 1;
        self.items.push_back(waiting);
    }

    /// Puts a newer version of a file in the place of the one that waits.
    fn replace(&mut self, newer: &Write) -> bool {
        let waiting = self
            .latest
            .get(&newer.change.path)
            .filter(|at| **at >= self.behind_sweep);
        let Some(position) = waiting.and_then(|at| at.checked_sub(self.first)) else {
            return false;
        };
        let Some(waiting) = usize::try_from(position)
            .ok()
            .and_then(|at| self.items.get_mut(at))
        else {
            return false;
        };
        let (bytes, unsettled) = (waiting.item.bytes(), waiting.item.unsettled());
        if !waiting.succeeded_by(newer) {
            return false;
        }
        let now = waiting.item.unsettled();
        self.bytes = self.bytes - bytes + waiting.item.bytes();
        self.unsettled -= usize::from(unsettled.is_some());
        self.count_unsettled(now);
        true
    }

    fn count_unsettled(&mut self, unsettled: Option<Instant>) {
        self.unsettled += usize::from(unsettled.is_some());
        self.newest_unsettled = self.newest_unsettled.max(unsettled);
    }

    fn take(&mut self, Portion { limits, coverage }: &Portion) -> Vec<Item> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < limits.max_files.max(1) {
            let Some(front) = self.items.front() else {
                break;
            };
            let size = front.item.bytes();
            if !batch.is_empty() && bytes + size > limits.max_bytes {
                break;
            }
            if let Coverage::Until(by) = *coverage
                && front.item.unsettled().is_some_and(|seen| seen > by)
            {
                break;
            }
            let Some(Waiting { item, .. }) = self.items.pop_front() else {
                break;
            };
            bytes += size;
            self.forget(&item);
            batch.push(item);
        }
        if self.items.is_empty() {
            self.urgent = false;
            self.compacted = None;
        }
        batch
    }

    /// Undoes the bookkeeping of the item that was at the front.
    fn forget(&mut self, item: &Item) {
        self.bytes -= item.bytes();
        self.unsettled -= usize::from(item.unsettled().is_some());
        if let Item::Write(write) = item
            && self.latest.get(&write.change.path) == Some(&self.first)
        {
            self.latest.remove(&write.change.path);
        }
        self.first += 1;
        let key = &item.destination().key;
        if let Some(count) = self.pending.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                self.pending.remove(key);
            }
        }
    }

    fn retain(&mut self, keep: impl Fn(&Item) -> bool) {
        let items = std::mem::take(&mut self.items);
        self.hold(items.into_iter().filter(|waiting| keep(&waiting.item)));
    }

    /// Begins anew with these.
    fn hold(&mut self, items: impl Iterator<Item = Waiting>) {
        *self = Self {
            urgent: self.urgent,
            closed: self.closed,
            ..Self::default()
        };
        for waiting in items {
            self.append(waiting);
        }
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
