//! What happened to one object.

use std::collections::{BTreeSet, HashMap};

use crate::crowd::{Op, Sent};
use crate::truth::{Claim, Evidence, Excuse, Log, State, Text, Version, Versions};
use crate::witness::Attempt;

/// An object from its create on, and all that is known about it.
pub(crate) struct OneObject<'a> {
    pub(crate) evidence: &'a Evidence<'a>,
    pub(crate) log: &'a Log,
    /// The last call of each request.
    pub(crate) last: &'a HashMap<Op, &'a Attempt>,
    /// All calls about this object.
    pub(crate) attempts: &'a [&'a Attempt],
    pub(crate) uid: &'a str,
    /// Not after its first version; 0 if nobody saw that.
    pub(crate) born: u64,
}

// === impl OneObject ===

impl OneObject<'_> {
    /// Its states in their order, those that may not have been at the place where they would have been.
    pub(crate) fn states(&self, versions: &Versions) -> Vec<State> {
        let mut states = Vec::new();
        let mut unlogged = self.unlogged(versions).into_iter().peekable();
        let mut base = 0;
        for (number, version) in versions {
            while let Some(state) = unlogged.next_if(|state| state.version < *number) {
                states.push(state);
            }
            if version.terminating {
                if base != 0 || !states.is_empty() {
                    states.push(self.gone(base, base != 0));
                }
                return states;
            }
            states.push(self.written(base, *number, version));
            base = *number;
        }
        states.extend(unlogged);
        let is_live = self.evidence.live.contains(self.uid);
        if !is_live && base != 0 {
            states.push(self.gone(base, true));
        } else if self.evidence.faulty && !states.is_empty() {
            // It may never have been there; or what is there waits for its finalizers, and only the log doesn't say so.
            let gone = self.gone(base, false);
            states.extend((!is_live || !gone.users.is_empty()).then_some(gone));
        }
        states
    }

    fn written(&self, base: u64, number: u64, version: &Version) -> State {
        // Whose last call was not on the version before has changed nothing: what was wanted was there already.
        let on = |claim: &Claim| {
            let attempt = claim.op.and_then(|op| self.last.get(&op));
            attempt.map(|attempt| attempt.base)
        };
        let real = |claim: &&Claim| on(claim).is_none_or(|on| on == base);
        let mut claims: Vec<&Claim> = version.claims.iter().filter(real).collect();
        if claims.is_empty() {
            // The log lacks the version before: the apiserver was killed as it wrote it down.
            let changed = |claim: &&Claim| on(claim) != Some(number);
            claims.extend(version.claims.iter().filter(changed));
        }
        let users: BTreeSet<String> = claims.iter().map(|claim| claim.user.clone()).collect();
        let own = claims
            .iter()
            .find_map(|claim| claim.op.and_then(|op| self.last.get(&op)));
        let excuse = if version.initial {
            Some(Excuse::Initial)
        } else if own.is_some_and(|own| self.has_rivals(own, &users)) {
            Some(Excuse::Rivals)
        } else {
            None
        };
        State {
            certain: true,
            text: version.text,
            act: self.act(claims.iter().find_map(|claim| claim.op)),
            users,
            excuse,
            version: number,
        }
    }

    /// Another user asked for what can't be told from it, on the same version.
    pub(crate) fn has_rivals(&self, own: &Attempt, users: &BTreeSet<String>) -> bool {
        let rival = |other: &&&Attempt| {
            other.base == own.base
                && !users.contains(&other.user)
                && other.operation == own.operation
        };
        own.operation == "UPDATE"
            && self.attempts.iter().filter(rival).any(|other| {
                match (own.replicas, other.replicas) {
                    (Some(own), Some(other)) => own == other,
                    // The bytes of one are not known: a chance is enough.
                    (Some(_), None) | (None, Some(_)) => true,
                    (None, None) => {
                        own.fields == other.fields
                            && (own.hash == other.hash || own.api_version != other.api_version)
                    }
                }
            })
    }

    fn gone(&self, logged: u64, certain: bool) -> State {
        let mut base = logged;
        if self.evidence.faulty {
            // A call on a later version shows that this one was replaced, though the log lacks it.
            let there = self.attempts.iter().filter(|a| !a.terminating);
            base = there.map(|a| a.base).fold(logged, u64::max);
        }
        let asked = |on: &dyn Fn(u64) -> bool| -> Vec<&Attempt> {
            let deletes = self.attempts.iter().copied();
            let on = |a: &&Attempt| a.operation == "DELETE" && !a.terminating && on(a.base);
            deletes.filter(on).collect()
        };
        let mut all = asked(&|on| on == base);
        if !all.iter().any(|attempt| self.may_be_done(attempt)) {
            // The log lacks the last version, for the same reason.
            all = asked(&|on| on >= base);
        }
        let done: Vec<&&Attempt> = all.iter().filter(|a| self.may_be_done(a)).collect();
        let users: BTreeSet<String> = done.iter().map(|a| a.user.clone()).collect();
        let all: BTreeSet<&str> = all.iter().map(|a| a.user.as_str()).collect();
        let excuse = match (users.len(), all.len()) {
            (0, _) => Some(Excuse::NotAdmitted),
            (_, 2..) => Some(Excuse::Rivals),
            _ => None,
        };
        State {
            certain,
            text: Text::Gone,
            act: self.act(done.iter().find_map(|a| a.op)),
            users,
            excuse,
            version: base + 1,
        }
    }

    /// Nothing speaks against the delete that was asked for.
    fn may_be_done(&self, attempt: &Attempt) -> bool {
        let accepted = attempt.op.is_none_or(|op| {
            // Called again, about another object of that name or on one that is going: this call lost.
            let last = self.last.get(&op);
            let stands = self.log.collections.contains(&op)
                || last.is_none_or(|last| last.uid == attempt.uid && !last.terminating);
            (self.log.accepted.contains(&op) || self.may_be_unlogged(op)) && stands
        });
        accepted && !attempt.refused
    }

    /// Nobody was told that it failed, and the log says nothing of it.
    pub(crate) fn may_be_unlogged(&self, op: Op) -> bool {
        let told = |status: u16| !self.evidence.faulty || !(200..300).contains(&status);
        !self.log.accepted.contains(&op)
            && self
                .sent(op)
                .is_some_and(|sent| !sent.status.is_some_and(told))
    }

    fn sent(&self, op: Op) -> Option<&Sent> {
        self.evidence.journal.get(usize::try_from(op).ok()?)
    }

    pub(crate) fn act(&self, op: Option<Op>) -> &'static str {
        op.and_then(|op| self.sent(op))
            .map_or("others", |sent| sent.act)
    }
}
