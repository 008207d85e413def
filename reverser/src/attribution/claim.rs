//! The joins: how a change claims an observation, and what that settles.

use std::sync::Arc;

use tokio::time::Instant;

use crate::change::{Attribution, Miss, Operation, Sighting, Who};

use super::credit::{Claim, Credit};
use super::index::ObservationId;
use super::join::{self, Decision};
use super::metrics::{EvictionReason, HitTier};
use super::observation::{Observation, key};
use super::removals::Removed;
use super::store::{Held, State, Store, object};
use super::verdicts::{GAP, Gaps, Verdict};

/// Whether a change may still be joined later.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Chance {
    MoreToCome,
    Last,
}

/// Whether what waits on the version itself is over too.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inclusive {
    Yes,
    No,
}

/// What [`Store::join`] found.
#[derive(Clone, Debug)]
pub struct Joined {
    /// Who made the change, as far as is known now.
    pub attribution: Attribution,
    /// Where somebody was found who may have rivals: to be asked when the change's batch closes.
    pub credit: Option<Credit>,
}

impl From<Attribution> for Joined {
    fn from(attribution: Attribution) -> Self {
        Self {
            attribution,
            credit: None,
        }
    }
}

#[cfg(test)]
impl PartialEq<Attribution> for Joined {
    fn eq(&self, other: &Attribution) -> bool {
        self.attribution == *other
    }
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

/// Who made a change, and by which observation.
struct Found {
    attribution: Attribution,
    winner: Option<ObservationId>,
    /// Somebody else may have asked for the same, and nobody told us.
    doubtful: bool,
}

impl Store {
    /// Who made a change; on receipt of its event, before anything that can block.
    ///
    /// Counts a hit, or a miss that is final. What found nothing ([`Miss::Unseen`]) is counted
    /// by [`rejoin`](Self::rejoin).
    pub fn join(&self, sighting: &Sighting) -> Joined {
        self.join_at(sighting, Chance::MoreToCome, Instant::now())
    }

    /// The last chance of a change that [`join`](Self::join) answered with [`Miss::Unseen`]:
    /// finds what came late. To be called once, when the change's batch closes.
    pub fn rejoin(&self, sighting: &Sighting) -> Attribution {
        self.join_at(sighting, Chance::Last, Instant::now())
            .attribution
    }

    /// Who made a change that was found by comparing a list with Git: a look, and nothing more.
    ///
    /// Nothing is consumed, settled or dropped. Each destination compares for itself and in its
    /// own time, so what one of them finds here another may still receive live: its exact join
    /// must find everything as it was. An observation that was found is only marked with the
    /// version it was found for. Where no managedFields prove that it made what a later list
    /// shows, it is not found again at another version: the content may have changed twice in
    /// between.
    ///
    /// A hit is counted once for each observation, however many destinations ask, and not again
    /// when it is joined. To find nobody counts as no miss: what a list shows may be older than
    /// any observation.
    pub fn recall(&self, sighting: &Sighting) -> Attribution {
        self.recall_at(sighting, Instant::now())
    }

    /// A write that changed nothing for Git (status, say) has replaced `base`.
    pub fn base_passed(&self, uid: &str, base: &str) {
        let now = Instant::now();
        let mut state = self.lock(now);
        self.sweep(&mut state, uid, base, Inclusive::Yes, now);
    }

    pub(super) fn join_at(&self, sighting: &Sighting, chance: Chance, now: Instant) -> Joined {
        if never_admitted(sighting) {
            if chance == Chance::MoreToCome {
                self.metrics().miss(Miss::NeverAdmitted);
            }
            return Attribution::None(Miss::NeverAdmitted).into();
        }
        let mut state = self.lock(now);
        let place = Place::of(sighting);
        if let Some(known) = state.settled(sighting, place.as_ref(), now) {
            return known;
        }
        let Found {
            mut attribution,
            mut winner,
            doubtful,
        } = state.find(sighting, now);
        if doubtful && chance == Chance::MoreToCome {
            // The same user's next attempt may be on its way.
            (attribution, winner) = (Attribution::None(Miss::Unseen), None);
        }
        let mut claim = None;
        if let Some(winner) = winner {
            if doubtful {
                attribution = Attribution::None(Miss::Unconfirmed);
            } else if chance == Chance::MoreToCome && sighting.may_have_rivals() {
                claim = Some(Claim::new(sighting, state.witness.era()));
                self.credited.notify_one();
            }
            if !state.is_recalled(winner) {
                self.count_hit(&attribution);
            }
            state.remove(winner);
        }
        if let Attribution::None(miss) = attribution
            && (miss != Miss::Unseen || chance == Chance::Last)
        {
            self.metrics().miss(miss);
        }
        let joined = Joined {
            attribution,
            credit: claim.as_ref().map(|claim| claim.credit.clone()),
        };
        if let Some(place) = &place {
            let unseen = joined.attribution == Attribution::None(Miss::Unseen);
            let verdict = match claim {
                Some(claim) => Verdict::Claimed(joined.attribution.clone(), claim),
                None if unseen && chance == Chance::MoreToCome => Verdict::Open,
                None => Verdict::Closed(joined.attribution.clone()),
            };
            self.settle(&mut state, &sighting.uid, place, verdict, now);
        }
        self.metrics().pending(state.held.len());
        joined
    }

    /// Whether the version that an observation was on is settled. If it is a rival of whoever was
    /// credited for it, or for what came after a gap, nobody is any more.
    pub(super) fn contest(&self, state: &mut State, late: &Observation, now: Instant) -> bool {
        let (uid, base) = (&late.uid, &late.base);
        let mut withdrawn = Vec::new();
        let settled = match state.verdicts.get(uid, base, now) {
            Some(Verdict::Closed(_)) => true,
            Some(Verdict::Claimed(credited, claim)) => {
                if is_rival(claim, credited, late) {
                    withdrawn.push((base.clone(), claim.credit.clone()));
                }
                true
            }
            _ => false,
        };
        for (version, claim) in state.verdicts.gaps(uid, now).claims() {
            let place = format!("{GAP}{version}");
            if join::older(base, version)
                && let Some(Verdict::Claimed(credited, _)) = state.verdicts.get(uid, &place, now)
                && is_rival(claim, credited, late)
            {
                withdrawn.push((place, claim.credit.clone()));
            }
        }
        for (place, credit) in withdrawn {
            self.withdraw(state, uid, &place, &credit, now);
        }
        settled
    }

    /// Takes the names back that were given for deletes of what may have gone without a call. Whoever caused that keeps theirs.
    pub(super) fn doubt(&self, state: &mut State, removed: Removed, now: Instant) {
        let refuted = |answer: &Attribution, object: Removed| {
            let who = answer.who();
            who.is_some_and(|who| state.removals.refute(object, &who.username, now))
        };
        let withdrawn: Vec<(String, String, Credit)> = state
            .verdicts
            .claimed_deletes()
            .filter(|(_, _, answer, claim)| {
                claim
                    .removed
                    .is_some_and(|object| removed.takes(object) && refuted(answer, object))
            })
            .map(|(uid, place, _, claim)| (uid.into(), place.into(), claim.credit.clone()))
            .collect();
        for (uid, place, credit) in withdrawn {
            self.withdraw(state, &uid, &place, &credit, now);
        }
    }

    fn withdraw(&self, state: &mut State, uid: &str, place: &str, credit: &Credit, now: Instant) {
        credit.withdraw();
        let verdict = Verdict::Closed(Attribution::None(Miss::Ambiguous));
        state.verdicts.insert(uid, place, verdict, now);
        self.metrics().miss(Miss::Ambiguous);
    }

    pub(super) fn recall_at(&self, sighting: &Sighting, now: Instant) -> Attribution {
        if never_admitted(sighting) {
            return Attribution::None(Miss::NeverAdmitted);
        }
        let mut state = self.lock(now);
        let place = Place::of(sighting);
        if let Some(known) = state.settled(sighting, place.as_ref(), now) {
            return known.attribution;
        }
        let Found {
            attribution,
            winner,
            doubtful,
        } = state.find(sighting, now);
        if doubtful {
            return Attribution::None(Miss::Unconfirmed);
        }
        if let Some(held) = winner.and_then(|winner| state.held.get_mut(&winner))
            && held
                .recalled
                .replace(sighting.version.as_str().into())
                .is_none()
        {
            self.count_hit(&attribution);
        }
        attribution
    }

    /// Remembers the answer, and drops what can't matter any more.
    fn settle(&self, state: &mut State, uid: &str, place: &Place, verdict: Verdict, now: Instant) {
        let verdicts = &mut state.verdicts;
        verdicts.insert(uid, place.key(), verdict.clone(), now);
        let Place::Below { version, .. } = place else {
            self.sweep(state, uid, place.key(), Inclusive::Yes, now);
            return;
        };
        let mut gaps = verdicts.gaps(uid, now).into_owned();
        let own = gaps.open.as_deref() == Some(version);
        match verdict {
            Verdict::Open => gaps.open = Some(version.as_str().into()),
            Verdict::Claimed(_, claim) => gaps.claim(version, claim),
            _ if own => gaps.open = None,
            _ => {}
        }
        let open = gaps.open.as_deref() == Some(version);
        if gaps != Gaps::default() || own {
            verdicts.insert(uid, GAP, Verdict::Gaps(gaps), now);
        }
        if !open {
            self.sweep(state, uid, version, Inclusive::No, now);
        }
    }

    fn count_hit(&self, attribution: &Attribution) {
        match attribution {
            Attribution::Exact(_) => self.metrics().hit(HitTier::Exact),
            Attribution::Content(_) => self.metrics().hit(HitTier::Content),
            Attribution::None(_) => {}
        }
    }

    /// Drops what waits on a version that has been replaced, and on those before it, except
    /// what a rejoin may still claim.
    fn sweep(&self, state: &mut State, uid: &str, base: &str, inclusive: Inclusive, now: Instant) {
        let verdicts = &state.verdicts;
        let gaps = verdicts.gaps(uid, now);
        let is_over = |held: &Held| {
            let waiting = held.observation.base.as_str();
            let open = verdicts.get(uid, waiting, now) == Some(&Verdict::Open)
                || gaps
                    .open
                    .as_ref()
                    .is_some_and(|version| join::older(waiting, version));
            let passed = (inclusive == Inclusive::Yes && waiting == base)
                || (join::older(waiting, base) && !held.replayed);
            passed && !open
        };
        let ids = state.by_uid.get(uid).iter().copied();
        let over: Vec<ObservationId> = ids
            .filter(|id| state.held.get(id).is_some_and(|held| is_over(held)))
            .collect();
        for id in over {
            state.remove(id);
            self.metrics().evicted(EvictionReason::BasePassed);
        }
        self.metrics().pending(state.held.len());
    }
}

impl State {
    /// What was decided before, once and for all.
    fn settled(&self, sighting: &Sighting, place: Option<&Place>, now: Instant) -> Option<Joined> {
        match self.verdicts.get(&sighting.uid, place?.key(), now) {
            Some(Verdict::Closed(known)) => Some(known.clone().into()),
            Some(Verdict::Claimed(known, claim)) => Some(Joined {
                attribution: known.clone(),
                credit: Some(claim.credit.clone()),
            }),
            _ => None,
        }
    }

    /// Whether somebody else may have asked for the same, and nobody told us.
    fn may_have_missed(&self, sighting: &Sighting, winner: ObservationId) -> bool {
        if !sighting.may_have_rivals() {
            return false;
        }
        let Some(held) = self.held.get(&winner) else {
            return false;
        };
        let listed = sighting.base.is_none();
        held.observation.early
            || self.routed.may_have_missed(held.since, held.replayed)
            || !self.witness.vouches_for(held.process, listed)
    }

    /// Who made a change, and by which observation.
    fn find(&self, sighting: &Sighting, now: Instant) -> Found {
        let mut ids = self.candidates(sighting, now);
        let found = self.decide(sighting, &ids, now);
        let Some(doubtful) = found
            .winner
            .filter(|id| self.may_have_missed(sighting, *id))
        else {
            return found;
        };
        // The same user may have asked for it again.
        ids.retain(|id| !self.may_have_missed(sighting, *id));
        let again = self.decide(sighting, &ids, now);
        match again.winner {
            Some(winner) if self.user(winner) == self.user(doubtful) => again,
            _ => Found {
                doubtful: true,
                ..found
            },
        }
    }

    fn user(&self, id: ObservationId) -> Option<&Arc<str>> {
        self.held.get(&id).map(|held| &held.observation.username)
    }

    fn decide(&self, sighting: &Sighting, ids: &[ObservationId], now: Instant) -> Found {
        let nobody = |miss| Found {
            attribution: Attribution::None(miss),
            winner: None,
            doubtful: false,
        };
        let candidates: Vec<&Held> = ids
            .iter()
            .filter_map(|id| self.held.get(id).map(AsRef::as_ref))
            .collect();
        let observations: Vec<&Observation> =
            candidates.iter().map(|held| &held.observation).collect();
        let (found, tier): (usize, fn(Who) -> Attribution) =
            match join::decide(sighting, &observations) {
                Decision::Exact(at) => (at, Attribution::Exact),
                Decision::Content(at) => (at, Attribution::Content),
                Decision::Ambiguous => return nobody(Miss::Ambiguous),
                Decision::Unseen => return nobody(Miss::Unseen),
            };
        if sighting.base.is_none() && answered(sighting, candidates[found]) {
            return nobody(Miss::Unseen);
        }
        if sighting.operation == Operation::Delete {
            let (object, user) = (
                Removed::object(&sighting.identity),
                &observations[found].username,
            );
            if self.removals.refute(object, user, now) {
                return nobody(Miss::Unseen);
            }
        }
        Found {
            attribution: tier(who(observations[found])),
            winner: Some(ids[found]),
            doubtful: false,
        }
    }

    fn is_recalled(&self, id: ObservationId) -> bool {
        self.held
            .get(&id)
            .is_some_and(|held| held.recalled.is_some())
    }

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
                    self.held.get(id).is_some_and(|held| {
                        (sighting.uid.is_empty() || held.uid.is_empty())
                            && !join::in_future(sighting, &held.observation)
                    })
                }));
            }
            if sighting.uid.is_empty() && !ids.is_empty() {
                // Whoever deleted it last may have deleted other content, or another object of that
                // name; who asked to delete this content may have been refused.
                let object = object(&sighting.identity);
                ids.extend_from_slice(self.deletes.get(&object));
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

/// Whether an observation was found for what another list showed, and nothing proves that it is
/// what this one shows as well. A deletion is the same one, whoever finds it.
fn answered(sighting: &Sighting, held: &Held) -> bool {
    let elsewhere = held
        .recalled
        .as_deref()
        .is_some_and(|version| version != sighting.version);
    elsewhere
        && sighting.operation != Operation::Delete
        && !join::same_managed_fields(sighting, &held.observation)
}

fn is_rival(claim: &Claim, credited: &Attribution, late: &Observation) -> bool {
    let who = credited.who();
    who.is_some_and(|who| join::is_rival(&claim.sighting, &who.username, late))
}

fn never_admitted(sighting: &Sighting) -> bool {
    sighting.identity.group == "admissionregistration.k8s.io"
}

fn who(observation: &Observation) -> Who {
    Who {
        username: observation.username.to_string(),
        field_manager: observation.field_manager.clone(),
    }
}
