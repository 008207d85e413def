//! The queue itself: no locks, no waiting, no wire.

use std::collections::VecDeque;

use prost::Message;
use proto::v1::Observation;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Limits;

/// Whether an admission may wait for an acknowledgement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Health {
    /// No stream, or one whose Hello the reverser has not answered yet.
    #[default]
    Down,
    /// A stream whose reverser still owes the acknowledgement of this sequence: waiting would
    /// likely be in vain.
    Behind {
        until: u64,
    },
    Healthy,
}

/// Observations that went before the reverser had them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dropped {
    /// Pushed out by newer ones.
    pub(crate) overflow: u64,
    /// Too old to be of use.
    pub(crate) expired: u64,
}

struct Entry {
    observation: Observation,
    bytes: usize,
    queued: Instant,
    waiter: Option<oneshot::Sender<()>>,
}

/// The reverser wants to be told once everything up to `until` is transmitted.
#[derive(Clone, Copy)]
struct Mark {
    number: u64,
    until: u64,
}

/// Sequences of entries are contiguous: they leave at the front only.
#[derive(Default)]
pub(super) struct State {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Last sequence given.
    last: u64,
    /// Up to here the reverser that was last heard has them. They stay until they are too old: it may
    /// die, and the next one knows nothing.
    acknowledged: u64,
    /// Last sequence transmitted, on any stream: what may be acknowledged.
    transmitted: u64,
    /// Last sequence transmitted on the current stream.
    cursor: u64,
    /// Which link is the current one.
    epoch: u64,
    health: Health,
    /// A generation of the interest set that is applied, and not yet reported.
    applied: Option<u64>,
    /// The mark to be answered next, and the last of those that came after it. Those in between
    /// are answered with the last.
    marks: [Option<Mark>; 2],
}

impl State {
    /// The receiver is given only where waiting makes sense; it fails when the link goes down or
    /// the observation is dropped.
    pub(super) fn push(
        &mut self,
        mut observation: Observation,
        limits: &Limits,
    ) -> (Option<oneshot::Receiver<()>>, Dropped) {
        let mut dropped = self.expire(limits);
        self.last += 1;
        observation.sequence = self.last;
        let bytes = observation.encoded_len();
        let (waiter, acknowledged) = match self.health {
            Health::Healthy => {
                let (sender, receiver) = oneshot::channel();
                (Some(sender), Some(receiver))
            }
            Health::Down | Health::Behind { .. } => (None, None),
        };
        self.bytes += bytes;
        self.entries.push_back(Entry {
            observation,
            bytes,
            queued: Instant::now(),
            waiter,
        });
        while self.entries.len() > limits.observations || self.bytes > limits.bytes {
            dropped.overflow += self.pop();
        }
        (acknowledged, dropped)
    }

    pub(super) fn expire(&mut self, limits: &Limits) -> Dropped {
        let mut dropped = Dropped::default();
        while self
            .entries
            .front()
            .is_some_and(|entry| entry.queued.elapsed() >= limits.age)
        {
            dropped.expired += self.pop();
        }
        dropped
    }

    /// Begins a stream. Nothing but Hello goes out until that is answered.
    pub(super) fn open(&mut self) -> u64 {
        self.epoch += 1;
        self.health = Health::Down;
        self.release_waiters();
        self.applied = None;
        self.marks = [None; 2];
        self.epoch
    }

    /// The reverser has answered the Hello, and says what it has. The rest up to `replay_until`
    /// comes first. Returns whether that was the stream's first word.
    pub(super) fn greet(&mut self, epoch: u64, sequence: u64, replay_until: u64) -> bool {
        if epoch != self.epoch || self.is_greeted() {
            return false;
        }
        self.acknowledged = sequence.min(self.transmitted);
        self.cursor = self.acknowledged;
        self.health = if self.next() <= replay_until {
            Health::Behind {
                until: replay_until,
            }
        } else {
            Health::Healthy
        };
        true
    }

    /// Whether the current stream's Hello is answered.
    pub(super) fn is_greeted(&self) -> bool {
        self.health != Health::Down
    }

    /// Whether that link was the current one.
    pub(super) fn down(&mut self, epoch: u64) -> bool {
        let current = self.is_current(epoch);
        if current {
            self.health = Health::Down;
            self.epoch += 1;
            self.release_waiters();
        }
        current
    }

    /// A deadline passed: wait again once all that is queued now is acknowledged.
    pub(super) fn distrust(&mut self) {
        if self.health == Health::Healthy {
            self.health = Health::Behind { until: self.last };
        }
    }

    /// Returns how many entries this acknowledged. What was never transmitted can't be
    /// acknowledged.
    pub(super) fn acknowledge(&mut self, epoch: u64, sequence: u64) -> u64 {
        if epoch != self.epoch {
            return 0;
        }
        let sequence = sequence.min(self.cursor);
        let known = self.acknowledged;
        self.acknowledged = known.max(sequence);
        let mut count = 0;
        for entry in self.beyond(known) {
            if entry.observation.sequence > sequence {
                break;
            }
            if let Some(waiter) = entry.waiter.take() {
                // The admission may have given up meanwhile.
                let _ = waiter.send(());
            }
            count += 1;
        }
        if let Health::Behind { until } = self.health
            && sequence >= until
        {
            self.health = Health::Healthy;
        }
        count
    }

    /// The next entry for the current stream, if there is one up to `until`.
    pub(super) fn transmit(&mut self, until: u64) -> Option<Observation> {
        let next = self.next();
        if next > until {
            return None;
        }
        let index = self.index_beyond(self.cursor);
        let observation = self.entries.get(index)?.observation.clone();
        self.cursor = next;
        self.transmitted = self.transmitted.max(next);
        Some(observation)
    }

    /// The next sequence for the current stream. Earlier ones were transmitted on it, or are no
    /// longer here.
    fn next(&self) -> u64 {
        let front = self.entries.front();
        let first = front.map_or(self.last + 1, |entry| entry.observation.sequence);
        first.max(self.cursor + 1)
    }

    /// To be answered once all that is queued now is transmitted.
    pub(super) fn mark(&mut self, epoch: u64, number: u64) {
        if epoch == self.epoch {
            let until = self.last;
            let place = usize::from(self.marks[0].is_some());
            self.marks[place] = Some(Mark { number, until });
        }
    }

    /// A mark to be answered now.
    pub(super) fn take_reached(&mut self) -> Option<u64> {
        let mark = self.marks[0].filter(|mark| self.next() > mark.until)?;
        self.marks = [self.marks[1], None];
        Some(mark.number)
    }

    pub(super) fn apply(&mut self, epoch: u64, generation: u64) {
        if epoch == self.epoch {
            self.applied = Some(generation);
        }
    }

    pub(super) fn take_applied(&mut self) -> Option<u64> {
        self.applied.take()
    }

    pub(super) fn is_current(&self, epoch: u64) -> bool {
        epoch == self.epoch
    }

    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Entries that the reverser does not have.
    pub(super) fn depth(&self) -> usize {
        self.entries.len() - self.index_beyond(self.acknowledged)
    }

    /// How many this lost: none where the reverser has it.
    fn pop(&mut self) -> u64 {
        let Some(entry) = self.entries.pop_front() else {
            return 0;
        };
        self.bytes -= entry.bytes;
        u64::from(entry.observation.sequence > self.acknowledged)
    }

    fn release_waiters(&mut self) {
        for entry in self.beyond(self.acknowledged) {
            entry.waiter = None;
        }
    }

    fn beyond(&mut self, sequence: u64) -> impl Iterator<Item = &mut Entry> {
        let index = self.index_beyond(sequence);
        self.entries.range_mut(index..)
    }

    /// The index of the first entry after this sequence.
    fn index_beyond(&self, sequence: u64) -> usize {
        let Some(front) = self.entries.front() else {
            return 0;
        };
        let skipped = (sequence + 1).saturating_sub(front.observation.sequence);
        usize::try_from(skipped).map_or(self.entries.len(), |skipped| {
            skipped.min(self.entries.len())
        })
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("entries", &self.entries.len())
            .field("last", &self.last)
            .field("acknowledged", &self.acknowledged)
            .field("cursor", &self.cursor)
            .field("health", &self.health)
            .finish_non_exhaustive()
    }
}
