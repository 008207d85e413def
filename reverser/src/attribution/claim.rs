//! The joins: how a change claims an observation, and what that settles.

use tokio::time::Instant;

use crate::change::{Attribution, Miss, Operation, Sighting, Who};

use super::index::ObservationId;
use super::join::{self, Decision};
use super::metrics::{EvictionReason, HitTier};
use super::observation::{Observation, key};
use super::store::{State, Store};
use super::verdicts::{GAP, Verdict};

/// Whether a change may still be joined later.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Chance {
    MoreToCome,
    Last,
    /// What was found by comparing may be older than any observation: nothing was missed.
    Reconciled,
}

/// Whether what waits on the version itself is over too.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inclusive {
    Yes,
    No,
}

/// What of an object's history a sighting accounts for.
enum Place {
    /// The write on this version.
    Base(String),
    /// All writes below this version, and the key to remember them by.
    Below { version: String, key: String },
}

impl Place {
    /// Nothing where the caller doesn't know the version.
    fn of(sighting: &Sighting) -> Option<Self> {
        match &sighting.base {
            Some(base) => Some(Self::Base(base.clone())),
            None if sighting.version.is_empty() => None,
            None => Some(Self::Below {
                version: sighting.version.clone(),
                key: format!("{GAP}{}", sighting.version),
            }),
        }
    }

    fn key(&self) -> &str {
        match self {
            Self::Base(base) => base,
            Self::Below { key, .. } => key,
        }
    }
}

impl Store {
    /// Who made a change; on receipt of its event, before anything that can block.
    ///
    /// Counts a hit, or a miss that is final. What found nothing ([`Miss::Unseen`]) is counted
    /// by [`rejoin`](Self::rejoin).
    pub fn join(&self, sighting: &Sighting) -> Attribution {
        self.join_at(sighting, Chance::MoreToCome, Instant::now())
    }

    /// The last chance of a change that [`join`](Self::join) answered with [`Miss::Unseen`]:
    /// finds what came late. To be called once, when the change's batch closes.
    pub fn rejoin(&self, sighting: &Sighting) -> Attribution {
        self.join_at(sighting, Chance::Last, Instant::now())
    }

    /// Who made a change that was found by comparing a list with Git. As [`rejoin`](Self::rejoin),
    /// but to find nobody counts as no miss.
    pub fn recall(&self, sighting: &Sighting) -> Attribution {
        self.join_at(sighting, Chance::Reconciled, Instant::now())
    }

    /// A write that changed nothing for Git (status, say) has replaced `base`.
    pub fn base_passed(&self, uid: &str, base: &str) {
        let now = Instant::now();
        let mut state = self.lock(now);
        self.sweep(&mut state, uid, base, Inclusive::Yes, now);
    }

    pub(super) fn join_at(&self, sighting: &Sighting, chance: Chance, now: Instant) -> Attribution {
        if sighting.identity.group == "admissionregistration.k8s.io" {
            if chance == Chance::MoreToCome {
                self.metrics().miss(Miss::NeverAdmitted);
            }
            return Attribution::None(Miss::NeverAdmitted);
        }
        let mut state = self.lock(now);
        let place = Place::of(sighting);
        if let Some(place) = &place
            && let Some(Verdict::Closed(known)) =
                state.verdicts.get(&sighting.uid, place.key(), now)
        {
            return known.clone();
        }

        let ids = state.candidates(sighting, now);
        let candidates: Vec<&Observation> = ids
            .iter()
            .filter_map(|id| state.held.get(id))
            .map(|held| &held.observation)
            .collect();
        let (attribution, winner) = match join::decide(sighting, &candidates) {
            Decision::Exact(at) => (Attribution::Exact(who(candidates[at])), Some(ids[at])),
            Decision::Content(at) => (Attribution::Content(who(candidates[at])), Some(ids[at])),
            Decision::Ambiguous => (Attribution::None(Miss::Ambiguous), None),
            Decision::Unseen => (Attribution::None(Miss::Unseen), None),
        };
        self.count(&attribution, chance);

        if let Some(winner) = winner {
            state.remove(winner);
        }
        if let Some(place) = &place {
            let unseen = attribution == Attribution::None(Miss::Unseen);
            let open = unseen && chance == Chance::MoreToCome;
            let answer = (!open).then_some(&attribution);
            self.settle(&mut state, &sighting.uid, place, answer, now);
        }
        self.metrics().pending(state.held.len());
        attribution
    }

    /// Remembers the answer, and drops what can't matter any more; without an answer the place
    /// is left open.
    fn settle(
        &self,
        state: &mut State,
        uid: &str,
        place: &Place,
        answer: Option<&Attribution>,
        now: Instant,
    ) {
        let verdict = answer.map_or(Verdict::Open, |answer| Verdict::Closed(answer.clone()));
        let verdicts = &mut state.verdicts;
        // That nobody is known for what a list showed holds without being remembered, and a list
        // of many thousands would push out what has to be.
        let unknown = answer == Some(&Attribution::None(Miss::Unseen));
        if !(unknown && matches!(place, Place::Below { .. })) {
            verdicts.insert(uid, place.key(), verdict.clone(), now);
        }
        match (place, answer) {
            (Place::Base(base), _) => self.sweep(state, uid, base, Inclusive::Yes, now),
            (Place::Below { version, .. }, None) => {
                let open = Verdict::OpenBelow(version.as_str().into());
                verdicts.insert(uid, GAP, open, now);
            }
            (Place::Below { version, .. }, Some(_)) => {
                // One gap may follow another before the first one's batch closes.
                let own = Verdict::OpenBelow(version.as_str().into());
                if verdicts.get(uid, GAP, now) == Some(&own) {
                    verdicts.insert(uid, GAP, verdict, now);
                }
                self.sweep(state, uid, version, Inclusive::No, now);
            }
        }
    }

    fn count(&self, attribution: &Attribution, chance: Chance) {
        match attribution {
            Attribution::Exact(_) => self.metrics().hit(HitTier::Exact),
            Attribution::Content(_) => self.metrics().hit(HitTier::Content),
            Attribution::None(Miss::Unseen) if chance != Chance::Last => {}
            Attribution::None(miss) => self.metrics().miss(*miss),
        }
    }

    /// Drops what waits on a version that has been replaced, and on those before it, except
    /// what a rejoin may still claim.
    fn sweep(&self, state: &mut State, uid: &str, base: &str, inclusive: Inclusive, now: Instant) {
        let verdicts = &state.verdicts;
        let gap = match verdicts.get(uid, GAP, now) {
            Some(Verdict::OpenBelow(version)) => Some(version),
            _ => None,
        };
        let is_over = |waiting: &str| {
            let open = verdicts.get(uid, waiting, now) == Some(&Verdict::Open)
                || gap.is_some_and(|version| join::older(waiting, version));
            (inclusive == Inclusive::Yes && waiting == base)
                || (join::older(waiting, base) && !open)
        };
        let ids = state.by_uid.get(uid).iter().copied();
        let over: Vec<ObservationId> = ids
            .filter(|id| {
                let held = state.held.get(id);
                held.is_some_and(|held| is_over(&held.observation.base))
            })
            .collect();
        for id in over {
            state.remove(id);
            self.metrics().evicted(EvictionReason::BasePassed);
        }
        self.metrics().pending(state.held.len());
    }
}

impl State {
    /// The observations that may have led to a change, oldest first.
    fn candidates(&self, sighting: &Sighting, now: Instant) -> Vec<ObservationId> {
        let mut ids: Vec<ObservationId> = Vec::new();
        if !sighting.uid.is_empty() {
            ids.extend_from_slice(self.by_uid.get(&sighting.uid));
        }
        let operations: &[&str] = match sighting.operation {
            Operation::Delete => &["DELETE"],
            Operation::Create | Operation::Update => &["CREATE", "UPDATE"],
        };
        if sighting.base.is_none() {
            for operation in operations {
                let key = key(&sighting.identity, operation, sighting.spec_hash);
                ids.extend(self.by_key.get(&key).iter().copied().filter(|id| {
                    self.held
                        .get(id)
                        .is_some_and(|held| sighting.uid.is_empty() || held.uid.is_empty())
                }));
            }
            // The write on an open version was seen: it awaits its rejoin, and made no later
            // change.
            ids.retain(|id| {
                self.held.get(id).is_some_and(|held| {
                    let base = &held.observation.base;
                    self.verdicts.get(&held.uid, base, now) != Some(&Verdict::Open)
                })
            });
            ids.sort_unstable();
            ids.dedup();
        }
        ids
    }
}

fn who(observation: &Observation) -> Who {
    Who {
        username: observation.username.to_string(),
        field_manager: observation.field_manager.clone(),
    }
}
