//! Writes that the log may lack, by the calls of the webhook: an apiserver that is killed has stored
//! what it has not written down yet, and may even have answered.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};

use manifest::Identity;

use crate::crowd::Op;
use crate::life::OneObject;
use crate::truth::{Excuse, State, Versions};
use crate::witness::Attempt;

impl OneObject<'_> {
    /// States that the object may have had, those on the same version in the order of their calls.
    pub(crate) fn unlogged(&self, versions: &Versions) -> Vec<State> {
        if !self.evidence.faulty {
            return Vec::new();
        }
        let may_be = |attempt: &&&Attempt| {
            attempt.operation != "DELETE"
                && !attempt.refused
                && !attempt.terminating
                && self.may_be_missing(attempt, versions)
                && !self.lost_the_race(attempt.base, versions)
        };
        let attempts = self.attempts.iter().filter(may_be);
        let mut states: Vec<State> = attempts.filter_map(|a| self.uncertain(a)).collect();
        states.sort_by_key(|state| state.version);
        states
    }

    fn may_be_missing(&self, attempt: &Attempt, versions: &Versions) -> bool {
        let Some(op) = attempt.op else {
            // A controller's request can't be told from its others: what it wrote next is taken for it.
            let next = versions.range(attempt.base + 1..).next();
            let mut claims = next.into_iter().flat_map(|(_, version)| &version.claims);
            return !claims.any(|claim| claim.op.is_none() && claim.user == attempt.user);
        };
        // Only the last call of a request can be the one that was stored: each before was followed by another.
        let is_last = self
            .last
            .get(&op)
            .is_some_and(|last| std::ptr::eq(*last, attempt));
        is_last && self.may_be_unlogged(op)
    }

    /// The log has what was stored in place of that version: nothing else was.
    fn lost_the_race(&self, base: u64, versions: &Versions) -> bool {
        let mut later = versions.range(base + 1..);
        later.any(|(_, version)| {
            let mut calls = version
                .claims
                .iter()
                .filter_map(|claim| self.last.get(&claim.op?));
            calls.any(|call| call.uid == self.uid && call.base == base)
        })
    }

    fn uncertain(&self, attempt: &Attempt) -> Option<State> {
        let (_, text) = attempt.file.as_ref()?;
        let users = BTreeSet::from([attempt.user.clone()]);
        Some(State {
            certain: false,
            text: *text,
            act: self.act(attempt.op),
            excuse: self.has_rivals(attempt, &users).then_some(Excuse::Rivals),
            users,
            version: attempt.base.max(self.born),
        })
    }
}

/// By uid, a version that is not after the one its create made, and after all that was before under its name.
///
/// All objects share one count of versions, and the last that was called for had been stored.
pub(crate) fn born(attempts: &[Attempt]) -> HashMap<&str, u64> {
    let mut stored = 0;
    let mut born = HashMap::new();
    for attempt in attempts {
        stored = stored.max(attempt.base);
        if attempt.operation == "CREATE" {
            born.insert(attempt.uid.as_str(), stored + 1);
        }
    }
    born
}

/// Deletes about several objects; the log tells of those only that it has.
pub(crate) fn collections(attempts: &[Attempt]) -> HashSet<Op> {
    let mut about: HashMap<Op, &Identity> = HashMap::new();
    let mut collections = HashSet::new();
    for attempt in attempts.iter().filter(|a| a.operation == "DELETE") {
        let (Some(op), Some((identity, _))) = (attempt.op, &attempt.file) else {
            continue;
        };
        match about.entry(op) {
            Entry::Vacant(first) => {
                first.insert(identity);
            }
            Entry::Occupied(first) if *first.get() != identity => {
                collections.insert(op);
            }
            Entry::Occupied(_) => {}
        }
    }
    collections
}

#[cfg(test)]
mod tests;
