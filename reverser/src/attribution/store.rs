//! Pending observations: what comes in, how much of it is kept, what is left over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use manifest::Identity;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Duration, Instant};

use super::credit::Witness;
use super::index::{Index, ObservationId};
use super::metrics::{AttributionMetrics, EvictionReason};
use super::observation::{Observation, Write};
use super::removals::{Removals, Removed};
use super::routed::Routed;
use super::share::{Rivals, Shares};
use super::verdicts::Verdicts;

/// How much the store holds, and for how long.
///
/// With the defaults it stays under 24 MiB whatever is sent to it (`tests/attribution_memory.rs`
/// measures that): the two bounds in bytes, and tables that have grown for something smaller. That
/// is 10,000 observations and 8,000 verdicts with names as they are usual, and some 2,500 and 1,200
/// with the longest that are taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Keys that observations wait under.
    pub keys: usize,
    /// Observations of one user under one key on one version of one object: rivals, of which at
    /// most one was stored.
    pub per_base: usize,
    /// Observations, with all that is kept to find them; one is kept however large it is.
    pub bytes: usize,
    /// Replaced versions whose verdict is remembered, in bytes; at least 4 KiB.
    pub verdict_bytes: usize,
    /// How long an observation waits, and a verdict is remembered.
    pub ttl: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            keys: 10_000,
            per_base: 10,
            bytes: 16 << 20,
            verdict_bytes: 4 << 20,
            ttl: Duration::from_secs(60),
        }
    }
}

/// What became of an observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It waits for its watch event.
    Stored,
    /// The version that it was built on has been replaced by a write that is accounted for.
    BasePassed,
    /// It waits for nothing: it speaks against deletes of what it may have removed.
    Noted,
}

/// An observation that waits, for introspection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The object that it is about.
    pub identity: Identity,
    /// `{group}/{version}/{resource}/{namespace}/{name}:{operation}:{specHash}`
    pub key: String,
    /// Who asked.
    pub username: String,
    /// The resourceVersion to be replaced; empty for a create.
    pub base: String,
    /// When the reverser got it.
    pub received: SystemTime,
}

impl Pending {
    /// The key as far as it says nothing of the content: its hash has no secret in it, so that guesses can be tested with it.
    #[must_use]
    pub fn key_without_hash(&self) -> &str {
        let end = self.key.rfind(':').map_or(0, |colon| colon + 1);
        self.key.get(..end).unwrap_or_default()
    }
}

pub(super) struct Held {
    pub(super) observation: Observation,
    key: Arc<str>,
    rivals: Rivals,
    /// What it costs, by [`cost`].
    bytes: usize,
    pub(super) uid: Arc<str>,
    /// The version of a list for which it was found; empty for a delete that a sweep found.
    pub(super) recalled: Option<Box<str>>,
    /// By the clock, for people.
    received: SystemTime,
    /// Of the sidecar, by the [`Witness`]'s count.
    pub(super) process: u64,
    /// By a sidecar that tells what it saw before: a list that is compared with Git may ask for it
    /// after its object has changed again.
    pub(super) replayed: bool,
    pub(super) since: Instant,
    expires: Instant,
}

/// The correlation store: admissions by key, by uid, and by user.
///
/// An observation is consumed by the join that it answers, and leaves unclaimed after
/// [`Limits::ttl`], when its base has passed, when its FIFO is full (the oldest goes), or when the
/// store is full: then the user who holds the most loses what was least recently added to.
///
/// # What a FIFO holds
/// A FIFO is of one user, one key and one base, and holds at most [`Limits::per_base`]: attempts at
/// the very same write, of which at most one was stored. One bound for a whole key would cost real
/// writes: whoever swings an object between two contents while the watch lags has one on each
/// base. When the store is full one FIFO goes, not a key, so that an object that is written often
/// doesn't lose all at once.
///
/// # Joining, and joining again
/// [`join`](Self::join) is called once on receipt of each change; for every other event of an
/// object there is [`base_passed`](Self::base_passed). Both say that `base` has been replaced, so
/// all that waits on it or on an older version is over: it lost the race, or was refused.
///
/// A change that found nothing leaves its base *open*. What is recorded on an open base is kept,
/// whatever else passes meanwhile, and [`rejoin`](Self::rejoin) finds it when the change's batch
/// closes. After a gap the same holds for all versions below the one that the list showed.
/// Rejoining settles the base. On a settled base nothing is recorded any more, and joining
/// it again (an event that came twice, a second destination) repeats the first answer and counts
/// nothing. `Ambiguous` settles at once: a third rival can't make the first two distinguishable.
///
/// A change that found somebody gives a [`Credit`], except for a create by its own uid. A rival's
/// observation that is recorded later withdraws it. It stands once the sidecar, the same process, has
/// answered a mark that was sent after the event.
///
/// A delete is nobody's where the object may have gone without a call, and not because of whoever was found: see `removals`.
///
/// What a list or a sweep finds by comparing with Git is [`recall`](Self::recall)ed instead, which
/// changes nothing.
///
/// Cheap enough to be called from async code: one short lock, no I/O.
pub struct Store {
    limits: Limits,
    metrics: AttributionMetrics,
    state: Mutex<State>,
    pub(super) credited: Notify,
}

pub(super) struct State {
    next: ObservationId,
    /// By id is by age.
    pub(super) held: BTreeMap<ObservationId, Box<Held>>,
    pub(super) by_uid: Index,
    pub(super) by_key: Index,
    /// By [`object`], deletes only.
    pub(super) deletes: Index,
    shares: Shares,
    pub(super) verdicts: Verdicts,
    pub(super) witness: Witness,
    pub(super) routed: Routed,
    pub(super) removals: Removals,
}

impl Store {
    /// An empty store.
    #[must_use]
    pub fn new(limits: Limits, metrics: AttributionMetrics) -> Self {
        Self {
            limits,
            metrics,
            state: Mutex::new(State {
                next: 0,
                held: BTreeMap::new(),
                by_uid: Index::default(),
                by_key: Index::default(),
                deletes: Index::default(),
                shares: Shares::default(),
                verdicts: Verdicts::new(limits.verdict_bytes, limits.ttl),
                witness: Witness::default(),
                routed: Routed::default(),
                removals: Removals::new(limits.ttl),
            }),
            credited: Notify::new(),
        }
    }

    /// Keeps an observation until a join consumes it.
    pub fn record(&self, observation: Observation) -> Recorded {
        self.record_at(observation, Instant::now())
    }

    pub(super) fn record_at(&self, mut observation: Observation, now: Instant) -> Recorded {
        let mut state = self.lock(now);
        if let Some(removed) = Removed::by(&observation) {
            let by = &observation.username;
            let removed = state.removals.asked(removed, by, now);
            self.doubt(&mut state, removed, now);
        }
        if matches!(observation.write, Write::Eviction) {
            return Recorded::Noted;
        }
        if self.contest(&mut state, &observation, now) {
            self.metrics.evicted(EvictionReason::BasePassed);
            return Recorded::BasePassed;
        }
        observation.username = state.shares.intern(&observation.username);
        let key: Arc<str> = observation.key().into();
        let rivals = state
            .shares
            .rivals(&key, &observation.uid, &observation.base);
        let bytes = cost(&observation, &key);
        self.make_room(&mut state, &observation.username, &key, rivals, bytes);

        let id = state.next;
        state.next += 1;
        let uid: Arc<str> = observation.uid.as_str().into();
        let process = state.witness.process();
        state.by_uid.insert(&uid, id);
        state.by_key.insert(&key, id);
        if matches!(observation.write, Write::Delete(_)) {
            let object = object(&observation.identity).into();
            state.deletes.insert(&object, id);
        }
        state.shares.push(&observation.username, rivals, id, bytes);
        let held = Held {
            observation,
            key,
            rivals,
            bytes,
            uid,
            recalled: None,
            received: SystemTime::now(),
            process,
            replayed: state.witness.is_away(),
            since: now,
            expires: now + self.limits.ttl,
        };
        state.held.insert(id, Box::new(held));
        self.metrics.pending(state.held.len());
        Recorded::Stored
    }

    /// The CRD of this name is going, or gone, and its objects go with it, without a call. To be said again while it is going.
    pub fn definition_goes(&self, name: &str) {
        self.definition_goes_at(name, Instant::now());
    }

    pub(super) fn definition_goes_at(&self, name: &str, now: Instant) {
        if let Some(removed) = Removed::custom_resources(name) {
            let mut state = self.lock(now);
            state.removals.goes(removed, now);
            self.doubt(&mut state, removed, now);
        }
    }

    /// A mark is about to be sent: once it is [reached](Self::mark_reached), the store has all that the
    /// sidecar saw before what was joined by now.
    pub fn mark_sent(&self, number: u64) {
        self.state.lock().witness.mark(number);
    }

    /// The sidecar has answered a mark.
    pub fn mark_reached(&self, number: u64) {
        self.state.lock().witness.reached(number);
    }

    /// The sidecar's stream ended.
    pub fn sidecar_left(&self) {
        self.state.lock().witness.leaves();
    }

    /// There is a stream again: of the same process, which remembers what it saw, or of another.
    pub fn sidecar_returned(&self, same: bool) {
        self.state.lock().witness.returns(same);
    }

    /// What the sidecar had seen by now is in the store.
    pub fn sidecar_replayed(&self) {
        self.state.lock().witness.replayed();
    }

    /// Where the apiserver sends admissions. While some may go to another replica's sidecar, and a second longer, what was
    /// observed is no evidence but for creates: the one who made a write may have been seen there, and only a rival here.
    pub fn admissions_go(&self, routed: Routed) {
        self.state.lock().routed = routed;
    }

    /// Waits until somebody was credited since the last call.
    pub async fn credited(&self) {
        self.credited.notified().await;
    }

    /// At most `limit` of the observations that wait, newest first.
    #[must_use]
    pub fn pending(&self, limit: usize) -> Vec<Pending> {
        let state = self.lock(Instant::now());
        let newest = state.held.values().rev().take(limit);
        newest
            .map(|held| Pending {
                identity: held.observation.identity.clone(),
                key: held.key.to_string(),
                username: held.observation.username.to_string(),
                base: held.observation.base.clone(),
                received: held.received,
            })
            .collect()
    }

    /// How many observations wait.
    #[must_use]
    pub fn pending_total(&self) -> usize {
        self.lock(Instant::now()).held.len()
    }

    pub(super) fn metrics(&self) -> &AttributionMetrics {
        &self.metrics
    }

    pub(super) fn lock(&self, now: Instant) -> parking_lot::MutexGuard<'_, State> {
        let mut state = self.state.lock();
        let mut expired = false;
        while let Some((&id, held)) = state.held.first_key_value()
            && held.expires <= now
        {
            state.remove(id);
            self.metrics.evicted(EvictionReason::Expired);
            expired = true;
        }
        if expired {
            self.metrics.pending(state.held.len());
        }
        state
    }

    fn make_room(&self, state: &mut State, user: &str, key: &str, rivals: Rivals, bytes: usize) {
        let full = state.shares.fifo(user, rivals).and_then(|fifo| {
            let oldest = fifo.front().copied();
            oldest.filter(|_| fifo.len() >= self.limits.per_base)
        });
        if let Some(oldest) = full {
            state.remove(oldest);
            self.metrics.evicted(EvictionReason::Fifo);
        }
        while (state.by_key.len() >= self.limits.keys && state.by_key.get(key).is_empty())
            || state.shares.bytes() + state.shares.added(user, bytes) > self.limits.bytes
        {
            let victims = state.shares.victims();
            if victims.is_empty() {
                break;
            }
            for id in victims {
                state.remove(id);
                self.metrics.evicted(EvictionReason::Capacity);
            }
        }
    }
}

impl State {
    pub(super) fn remove(&mut self, id: ObservationId) {
        let Some(held) = self.held.remove(&id) else {
            return;
        };
        self.by_uid.remove(&held.uid, id);
        self.by_key.remove(&held.key, id);
        if matches!(held.observation.write, Write::Delete(_)) {
            self.deletes.remove(&object(&held.observation.identity), id);
        }
        self.shares
            .remove(&held.observation.username, held.rivals, id, held.bytes);
    }
}

/// One object in all its versions.
pub(super) fn object(identity: &Identity) -> String {
    let Identity {
        group,
        resource,
        namespace,
        name,
        ..
    } = identity;
    format!("{group}/{resource}/{namespace}/{name}")
}

/// What an observation costs besides its texts: itself, its entries in six maps, which are half
/// empty after they have grown, a dozen allocations, and the version of a list that recalled it.
const OBSERVATION: usize = 1100;

/// Upper bound of the heap that an observation takes. Its username is the share's.
fn cost(observation: &Observation, key: &str) -> usize {
    let Observation {
        identity,
        uid,
        base,
        field_manager,
        ..
    } = observation;
    let identity = identity.group.len()
        + identity.version.len()
        + identity.resource.len()
        + identity.namespace.len()
        + identity.name.len();
    // The uid is in the index as well, and the object of a delete.
    OBSERVATION + 2 * identity + key.len() + 2 * uid.len() + base.len() + field_manager.len()
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
