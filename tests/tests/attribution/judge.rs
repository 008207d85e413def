//! Git against the truth, file by file.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::align::{self, Author, Chain, Passage};
use crate::history::Kept;
use crate::truth::{Excuse, State, Text};

/// Findings of a kind that are printed.
const SHOWN: usize = 12;

/// What became of the versions of one kind of work.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) right: usize,
    /// Right as well, of a state that may or may not have been: the log lacks writes.
    pub(crate) unlogged: usize,
    pub(crate) excused: BTreeMap<Excuse, usize>,
    /// Overwritten by the same author within a batch.
    pub(crate) absorbed: usize,
}

/// All findings.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict {
    /// Versions may be missing, and any may be nobody's: where there is a way to read the history in which no author is
    /// wrong, that one is taken.
    pub(crate) faulty: bool,
    pub(crate) acts: BTreeMap<&'static str, Tally>,
    /// Somebody who did not do it.
    pub(crate) wrong: Vec<String>,
    /// Nobody, though the webhook saw who.
    pub(crate) nameless: Vec<String>,
    /// A version that Git lacks.
    pub(crate) missing: Vec<String>,
    /// A version that never was.
    pub(crate) invented: Vec<String>,
    /// Files that do not end as the object does.
    pub(crate) unfinished: Vec<String>,
}

impl Verdict {
    /// Compares one file's versions with what happened to its object.
    pub(crate) fn compare(&mut self, path: &str, kept: &[Kept], truth: &[State]) {
        let chain = Chain::new(truth);
        let mut next = 0;
        let mut held = Text::Gone;
        for (version, found) in kept.iter().zip(align::align(kept, &chain, self.faulty)) {
            if let Some(found) = found {
                self.pass_over(path, &chain, next, Some(found), held);
                self.judge(path, version, &truth[found]);
                next = found + 1;
            } else {
                let near: Vec<&State> = truth.iter().skip(next).take(3).collect();
                self.invented
                    .push(format!("{path}: {version:?}; expected one of {near:?}"));
            }
            held = version.text;
        }
        self.pass_over(path, &chain, next, None, held);
        let last = align::last(truth, next);
        if !align::is_finished(held, last) {
            self.unfinished
                .push(format!("{path}: {held:?} in place of {last:?}"));
        }
    }

    fn judge(&mut self, path: &str, version: &Kept, state: &State) {
        let tally = self.acts.entry(state.act).or_default();
        match Author::of(version, state, self.faulty) {
            Author::Right if state.certain => tally.right += 1,
            Author::Right => tally.unlogged += 1,
            Author::Excused(excuse) => *tally.excused.entry(excuse).or_default() += 1,
            Author::Nameless => self
                .nameless
                .push(format!("{path}: {version:?} was {state:?}")),
            Author::Wrong => self
                .wrong
                .push(format!("{path}: {version:?} was {state:?}")),
        }
    }

    /// Up to the state that comes then.
    fn pass_over(
        &mut self,
        path: &str,
        chain: &Chain<'_>,
        next: usize,
        then: Option<usize>,
        held: Text,
    ) {
        let truth = chain.states;
        let mut passage = Passage::new(chain, held);
        (next..then.unwrap_or(truth.len())).for_each(|at| passage.over(at));
        let (lost, absorbed) = passage.end(then);
        for at in absorbed {
            self.acts.entry(truth[at].act).or_default().absorbed += 1;
        }
        for at in lost {
            let (state, then) = (&truth[at], then.map(|then| &truth[then]));
            self.missing
                .push(format!("{path}: {state:?}; {held:?} before, then {then:?}"));
        }
    }

    /// Versions of all kinds.
    pub(crate) fn total(&self) -> Tally {
        let mut sum = Tally::default();
        for tally in self.acts.values() {
            sum.right += tally.right;
            sum.unlogged += tally.unlogged;
            sum.absorbed += tally.absorbed;
            for (excuse, count) in &tally.excused {
                *sum.excused.entry(*excuse).or_default() += count;
            }
        }
        sum
    }

    pub(crate) fn table(&self) -> String {
        let mut text = format!(
            "{:34} {:>7} {:>8} {:>9} {:>8} {:>8} {:>9}\n",
            "kind of work", "right", "unlogged", "absorbed", "rivals", "unasked", "initially"
        );
        let mut row = |name: &str, tally: &Tally| {
            let excused = |excuse| tally.excused.get(&excuse).copied().unwrap_or(0);
            let _ = writeln!(
                text,
                "{name:34} {:>7} {:>8} {:>9} {:>8} {:>8} {:>9}",
                tally.right,
                tally.unlogged,
                tally.absorbed,
                excused(Excuse::Rivals),
                excused(Excuse::NotAdmitted),
                excused(Excuse::Initial)
            );
        };
        for (act, tally) in &self.acts {
            row(act, tally);
        }
        row("all", &self.total());
        for (name, findings) in self.findings() {
            let _ = writeln!(text, "{name}: {}", findings.len());
            for finding in findings.iter().take(SHOWN) {
                let _ = writeln!(text, "    {finding}");
            }
        }
        text
    }

    /// All kinds, each with what was found.
    pub(crate) fn findings(&self) -> [(&'static str, Vec<&String>); 5] {
        [
            ("wrong", self.wrong.iter().collect()),
            ("nameless", self.nameless.iter().collect()),
            ("missing", self.missing.iter().collect()),
            ("invented", self.invented.iter().collect()),
            ("unfinished", self.unfinished.iter().collect()),
        ]
    }
}

#[cfg(test)]
mod tests;
