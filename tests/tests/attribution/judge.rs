//! Git against the truth, file by file.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::history::Kept;
use crate::truth::{Excuse, State, Text};

/// States that a version in Git may lie behind the one before.
const WINDOW: usize = 80;
/// Findings of a kind that are printed.
const SHOWN: usize = 12;

/// What became of the versions of one kind of work.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) right: usize,
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
    /// A version that never was, and whose it is said to be.
    pub(crate) invented: Vec<(String, Option<String>)>,
    /// Files that do not end as the object does.
    pub(crate) unfinished: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Author {
    Right,
    Excused(Excuse),
    Nameless,
    Wrong,
}

impl Author {
    fn of(kept: &Kept, state: &State) -> Self {
        match (&kept.user, state.excuse) {
            (Some(user), _) if state.users.contains(user) && state.users.len() == 1 => Self::Right,
            // Nobody knows who it was; the corpus saw nothing of it.
            (Some(_), Some(Excuse::Initial)) => Self::Excused(Excuse::Initial),
            (Some(_), _) => Self::Wrong,
            (None, Some(excuse)) => Self::Excused(excuse),
            (None, None) => Self::Nameless,
        }
    }

    /// Beside the 3 of a version that is missing.
    fn cost(self, faulty: bool) -> usize {
        match self {
            Self::Right | Self::Excused(_) => 0,
            Self::Nameless => 2,
            Self::Wrong if faulty => 3 * WINDOW,
            Self::Wrong => 6,
        }
    }
}

impl Verdict {
    /// Compares one file's versions with what happened to its object.
    pub(crate) fn compare(&mut self, path: &str, kept: &[Kept], truth: &[State]) {
        let mut next = 0;
        let mut held = Text::Gone;
        for version in kept {
            let end = truth.len().min(next + WINDOW);
            let fits = |k: &usize| {
                let text = truth[*k].text;
                text == version.text || (text == Text::Unknown && version.text != Text::Gone)
            };
            let best = (next..end).filter(fits).min_by_key(|k| {
                let (lost, _) = passed_over(&truth[next..*k], Some(&truth[*k]), held);
                let guess = usize::from(truth[*k].text == Text::Unknown);
                (
                    lost.len() * 3 + Author::of(version, &truth[*k]).cost(self.faulty) + guess,
                    *k,
                )
            });
            let Some(found) = best else {
                let near: Vec<&State> = truth.iter().skip(next).take(3).collect();
                let finding = format!("{path}: {version:?}; expected one of {near:?}");
                self.invented.push((finding, version.user.clone()));
                held = version.text;
                continue;
            };
            self.pass_over(path, &truth[next..found], Some(&truth[found]), held);
            self.judge(path, version, &truth[found]);
            held = version.text;
            next = found + 1;
        }
        self.pass_over(path, &truth[next..], None, held);
        let last = truth.last().map_or(Text::Gone, |state| state.text);
        if last != held && last != Text::Unknown {
            self.unfinished
                .push(format!("{path}: {held:?} in place of {last:?}"));
        }
    }

    fn judge(&mut self, path: &str, version: &Kept, state: &State) {
        let tally = self.acts.entry(state.act).or_default();
        match Author::of(version, state) {
            Author::Right => tally.right += 1,
            Author::Excused(excuse) => *tally.excused.entry(excuse).or_default() += 1,
            Author::Nameless => self
                .nameless
                .push(format!("{path}: {version:?} was {state:?}")),
            Author::Wrong => self
                .wrong
                .push(format!("{path}: {version:?} was {state:?}")),
        }
    }

    fn pass_over(&mut self, path: &str, states: &[State], then: Option<&State>, held: Text) {
        let (lost, absorbed) = passed_over(states, then, held);
        for state in absorbed {
            self.acts.entry(state.act).or_default().absorbed += 1;
        }
        for state in lost {
            self.missing
                .push(format!("{path}: {state:?}; {held:?} before, then {then:?}"));
        }
    }

    /// Versions of all kinds.
    pub(crate) fn total(&self) -> Tally {
        let mut sum = Tally::default();
        for tally in self.acts.values() {
            sum.right += tally.right;
            sum.absorbed += tally.absorbed;
            for (excuse, count) in &tally.excused {
                *sum.excused.entry(*excuse).or_default() += count;
            }
        }
        sum
    }

    pub(crate) fn table(&self) -> String {
        let mut text = format!(
            "{:34} {:>7} {:>9} {:>8} {:>8} {:>9}\n",
            "kind of work", "right", "absorbed", "rivals", "unasked", "initially"
        );
        let mut row = |name: &str, tally: &Tally| {
            let excused = |excuse| tally.excused.get(&excuse).copied().unwrap_or(0);
            let _ = writeln!(
                text,
                "{name:34} {:>7} {:>9} {:>8} {:>8} {:>9}",
                tally.right,
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
            (
                "invented",
                self.invented.iter().map(|(text, _)| text).collect(),
            ),
            ("unfinished", self.unfinished.iter().collect()),
        ]
    }
}

/// Of states that Git does not have, those that it should have, and those that one author overwrote within one batch:
/// before the version that is there, or returning to what the file held.
fn passed_over<'a>(
    states: &'a [State],
    then: Option<&State>,
    held: Text,
) -> (Vec<&'a State>, Vec<&'a State>) {
    let (mut lost, mut absorbed) = (Vec::new(), Vec::new());
    let mut rest = states;
    while let Some(first) = rest.first() {
        let run = rest.iter().take_while(|state| alike(first, state)).count();
        if run == rest.len() && then.is_some_and(|then| alike(first, then)) {
            absorbed.extend(rest);
            break;
        }
        let back = rest[..run].iter().rposition(|state| state.text == held);
        let gone = back.map_or(0, |back| back + 1);
        absorbed.extend(&rest[..gone]);
        lost.extend(&rest[gone..run]);
        rest = &rest[run..];
    }
    (lost, absorbed)
}

/// Whether one commit's author may be the author of both.
fn alike(one: &State, other: &State) -> bool {
    let users: BTreeSet<&String> = one.users.intersection(&other.users).collect();
    !users.is_empty() || (one.excuse.is_some() && other.excuse.is_some())
}

#[cfg(test)]
mod tests {
    use manifest::SpecHash;

    use super::*;

    fn text(name: &str) -> Text {
        match name {
            "" => Text::Gone,
            name => Text::Is(SpecHash::of(name.as_bytes())),
        }
    }

    fn truth(states: &[(&str, &str)]) -> Vec<State> {
        let state = |(version, (content, user)): (usize, &(&str, &str))| State {
            text: text(content),
            users: BTreeSet::from([(*user).to_owned()]),
            act: "test",
            excuse: None,
            version: version as u64,
        };
        states.iter().enumerate().map(state).collect()
    }

    fn kept(versions: &[(&str, &str)]) -> Vec<Kept> {
        let kept = |(content, user): &(&str, &str)| Kept {
            text: text(content),
            user: (!user.is_empty()).then(|| (*user).to_owned()),
            note: String::new(),
        };
        versions.iter().map(kept).collect()
    }

    fn counts(kept_versions: &[(&str, &str)], states: &[(&str, &str)]) -> [usize; 5] {
        let mut verdict = Verdict::default();
        verdict.compare("file", &kept(kept_versions), &truth(states));
        verdict.findings().map(|(_, findings)| findings.len())
    }

    const TRUE: [(&str, &str); 5] = [
        ("a", "ann"),
        ("b", "ann"),
        ("c", "ben"),
        ("b", "ann"),
        ("", "ben"),
    ];

    #[test]
    fn a_faithful_history_has_no_findings() {
        assert_eq!(counts(&TRUE, &TRUE), [0; 5]);
        // The first version was overwritten within its batch.
        assert_eq!(counts(&TRUE[1..], &TRUE), [0; 5]);
    }

    #[test]
    fn what_one_author_takes_back_within_a_batch_leaves_no_trace() {
        let states = [("a", "ann"), ("b", "ben"), ("a", "ben"), ("c", "ann")];
        assert_eq!(counts(&[("a", "ann"), ("c", "ann")], &states), [0; 5]);
        let states = [("a", "ann"), ("b", "ben"), ("a", "cid")];
        // Two authors leave two versions.
        assert_eq!(counts(&[("a", "ann")], &states), [0, 0, 1, 0, 0]);
    }

    #[test]
    fn each_kind_of_tampering_is_found() {
        let mut swapped = TRUE;
        swapped[2].1 = "ann";
        assert_eq!(counts(&swapped, &TRUE), [1, 0, 0, 0, 0]);
        let mut nameless = TRUE;
        nameless[2].1 = "";
        assert_eq!(counts(&nameless, &TRUE), [0, 1, 0, 0, 0]);
        let dropped = [TRUE[0], TRUE[1], TRUE[3], TRUE[4]];
        assert_eq!(counts(&dropped, &TRUE), [0, 0, 1, 0, 0]);
        let mut altered = TRUE;
        altered[2].0 = "x";
        assert_eq!(counts(&altered, &TRUE), [0, 0, 1, 1, 0]);
        // A file that ends otherwise, and a version out of order.
        assert_eq!(counts(&TRUE[..4], &TRUE), [0, 0, 1, 0, 1]);
        let disordered = [TRUE[0], TRUE[2], TRUE[1], TRUE[4]];
        assert!(counts(&disordered, &TRUE).iter().sum::<usize>() > 0);
    }

    #[test]
    fn an_excuse_allows_nobody_and_no_other_name() {
        let mut states = truth(&TRUE);
        states[2].excuse = Some(Excuse::Rivals);
        let mut history = kept(&TRUE);
        history[2].user = None;
        let mut verdict = Verdict::default();
        verdict.compare("file", &history, &states);
        assert!(
            verdict
                .findings()
                .iter()
                .all(|(_, findings)| findings.is_empty())
        );
        assert_eq!(verdict.total().excused[&Excuse::Rivals], 1);
        history[2].user = Some("cid".to_owned());
        verdict.compare("file", &history, &states);
        assert_eq!(verdict.wrong.len(), 1);
    }
}
