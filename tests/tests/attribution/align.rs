//! Which state of its object each version of a file is: the reading of the history that costs least.
//!
//! A version can't be placed by looking at it alone: one text comes back many times, and the state that
//! fits best may lie beyond those of the versions that follow.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};

use crate::history::Kept;
use crate::truth::{Excuse, State, Text};

/// States that a version in Git may lie behind the one before.
const WINDOW: usize = 80;
/// What must not happen even under faults costs as much as all versions that can be missing at a time.
const GRAVE: usize = 3 * WINDOW;
/// More than any state costs that the version could be.
const INVENTED: usize = 4 * WINDOW;
const LOST: usize = 3;

/// Findings, and then, among readings that find the same, states of which the text is not known.
type Cost = (usize, usize);

/// Who a version says it is by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Author {
    Right,
    Excused(Excuse),
    Nameless,
    Wrong,
}

impl Author {
    pub(crate) fn of(kept: &Kept, state: &State, faulty: bool) -> Self {
        // Where lines of the log are gone, nobody can tell which of several it was.
        let told = state.users.len() == 1 || faulty;
        match (&kept.user, state.excuse) {
            (Some(user), _) if state.users.contains(user) && told => Self::Right,
            // Nobody knows who it was; the corpus saw nothing of it.
            (Some(_), Some(Excuse::Initial)) => Self::Excused(Excuse::Initial),
            (Some(_), _) => Self::Wrong,
            (None, Some(excuse)) => Self::Excused(excuse),
            (None, None) => Self::Nameless,
        }
    }

    fn cost(self, faulty: bool) -> usize {
        match self {
            Self::Right | Self::Excused(_) => 0,
            Self::Nameless => 2,
            Self::Wrong => grave(faulty),
        }
    }
}

/// Without faults nothing may be missing either, and the likeliest reading is wanted.
fn grave(faulty: bool) -> usize {
    if faulty { GRAVE } else { 2 * LOST }
}

/// The state that each version is; none of what never was.
pub(crate) fn align(kept: &[Kept], chain: &Chain<'_>, faulty: bool) -> Vec<Option<usize>> {
    let search = Search {
        kept,
        chain,
        faulty,
        reached: vec![Row::default(); kept.len() + 2],
        open: BinaryHeap::new(),
    };
    search.run()
}

/// What the file is to hold in the end, when the first `next` states are done with.
pub(crate) fn last(truth: &[State], next: usize) -> Text {
    // What may not have been counts if Git has it, and then it is the one before `next`.
    let certain = truth[next..].iter().rfind(|state| state.certain);
    certain
        .or_else(|| truth[..next].last())
        .map_or(Text::Gone, |state| state.text)
}

/// Whether the file ends as it is to.
pub(crate) fn is_finished(held: Text, last: Text) -> bool {
    last == held || last == Text::Unknown
}

/// So many versions were placed, and this is the first state for the next; at the end one more than there are.
#[derive(Clone, Copy, Debug)]
struct Node {
    placed: usize,
    next: usize,
}

/// In the order in which it is looked at: of equal cost what is closest to the end, and has skipped least.
type Open = Reverse<(Cost, Reverse<usize>, usize)>;

/// Dijkstra's search for the cheapest way through all versions.
struct Search<'a> {
    kept: &'a [Kept],
    chain: &'a Chain<'a>,
    faulty: bool,
    /// By the number of versions that are placed.
    reached: Vec<Row>,
    open: BinaryHeap<Open>,
}

// === impl Search ===

impl Search<'_> {
    fn run(mut self) -> Vec<Option<usize>> {
        let start = Node { placed: 0, next: 0 };
        self.reach(start, (0, 0), 0);
        while let Some(Reverse((cost, Reverse(placed), next))) = self.open.pop() {
            let node = Node { placed, next };
            if placed > self.kept.len() {
                break;
            }
            // Otherwise it was reached at less, and is done with.
            if self.reached[placed]
                .at(next)
                .is_some_and(|(known, _)| known == cost)
            {
                self.leave(node, cost);
            }
        }
        self.path()
    }

    fn reach(&mut self, node: Node, cost: Cost, from: usize) {
        let known = self.reached[node.placed].at_mut(node.next);
        if known.is_none_or(|(known, _)| cost < known) {
            *known = Some((cost, from));
            self.open
                .push(Reverse((cost, Reverse(node.placed), node.next)));
        }
    }

    fn leave(&mut self, node: Node, (found, guessed): Cost) {
        let Node { placed, next } = node;
        let (kept, truth) = (self.kept, self.chain.states);
        let held = placed
            .checked_sub(1)
            .map_or(Text::Gone, |before| kept[before].text);
        let mut passage = Passage::new(self.chain, held);
        let Some(version) = kept.get(placed) else {
            (next..truth.len()).for_each(|at| passage.over(at));
            let unfinished = !is_finished(held, last(truth, next));
            let cost = passage.lost(None) * LOST + usize::from(unfinished) * grave(self.faulty);
            let end = Node {
                placed: placed + 1,
                next: truth.len(),
            };
            self.reach(end, (found + cost, guessed), next);
            return;
        };
        for (at, state) in truth.iter().enumerate().skip(next).take(WINDOW) {
            if fits(version, state) {
                let author = Author::of(version, state, self.faulty).cost(self.faulty);
                let cost = found + author + passage.lost(Some(at)) * LOST;
                let guess = usize::from(state.text == Text::Unknown);
                let then = Node {
                    placed: placed + 1,
                    next: at + 1,
                };
                self.reach(then, (cost, guessed + guess), next);
            }
            passage.over(at);
        }
        let then = Node {
            placed: placed + 1,
            next,
        };
        self.reach(then, (found + INVENTED, guessed), next);
    }

    /// Back from the end.
    fn path(&self) -> Vec<Option<usize>> {
        let before =
            |placed: usize, next| self.reached[placed].at(next).map_or(0, |(_, from)| from);
        let placed = self.kept.len();
        let mut next = before(placed + 1, self.chain.states.len());
        let mut path = Vec::with_capacity(placed);
        for placed in (1..=placed).rev() {
            let from = before(placed, next);
            path.push((next > from).then(|| next - 1));
            next = from;
        }
        path.reverse();
        path
    }
}

/// At what cost nodes were reached, and from which `next`. They lie close together, and there are many.
#[derive(Clone, Default)]
struct Row {
    first: usize,
    nodes: VecDeque<Option<(Cost, usize)>>,
}

// === impl Row ===

impl Row {
    fn at(&self, next: usize) -> Option<(Cost, usize)> {
        let at = next.checked_sub(self.first)?;
        self.nodes.get(at).copied().flatten()
    }

    fn at_mut(&mut self, next: usize) -> &mut Option<(Cost, usize)> {
        if self.nodes.is_empty() {
            self.first = next;
        }
        while next < self.first {
            self.nodes.push_front(None);
            self.first -= 1;
        }
        let at = next - self.first;
        if at >= self.nodes.len() {
            self.nodes.resize(at + 1, None);
        }
        &mut self.nodes[at]
    }
}

fn fits(version: &Kept, state: &State) -> bool {
    state.text == version.text || (state.text == Text::Unknown && version.text != Text::Gone)
}

/// An object's states, and which of them one commit's author may be the author of.
///
/// The search asks that of the same states over and over, and names are slow to compare.
pub(crate) struct Chain<'a> {
    pub(crate) states: &'a [State],
    /// Of each, a bit for each that follows.
    alike: Vec<u128>,
}

// The bits suffice.
const _: () = assert!(WINDOW <= 128);

// === impl Chain ===

impl<'a> Chain<'a> {
    pub(crate) fn new(states: &'a [State]) -> Self {
        let mut numbers: HashMap<&str, usize> = HashMap::new();
        let mut who: Vec<Vec<usize>> = Vec::with_capacity(states.len());
        for state in states {
            // In place of a name, all who have an excuse.
            let mut whose = Vec::from_iter(state.excuse.map(|_| 0));
            for user in &state.users {
                let number = numbers.len() + 1;
                whose.push(*numbers.entry(user).or_insert(number));
            }
            who.push(whose);
        }
        let row = |one: usize| {
            let others = who[one..].iter().take(WINDOW).enumerate();
            others.fold(0, |row, (at, other)| {
                let alike = other.iter().any(|user| who[one].contains(user));
                row | u128::from(alike) << at
            })
        };
        let alike = (0..states.len()).map(row).collect();
        Self { states, alike }
    }

    fn alike(&self, one: usize, other: usize) -> bool {
        if other - one < WINDOW {
            return self.alike[one] >> (other - one) & 1 == 1;
        }
        let (one, other) = (&self.states[one], &self.states[other]);
        (one.excuse.is_some() && other.excuse.is_some()) || !one.users.is_disjoint(&other.users)
    }
}

/// Sorts states that Git does not have into those that it should have, and those that one author overwrote within
/// one batch: before the version that is there, or returning to what the file held. What may not have been is neither.
pub(crate) struct Passage<'a> {
    chain: &'a Chain<'a>,
    held: Text,
    /// Of those that one commit's author may be the author of.
    first: Option<usize>,
    /// They are, since the last return.
    run: Vec<usize>,
    lost: Vec<usize>,
    absorbed: Vec<usize>,
}

// === impl Passage ===

impl<'a> Passage<'a> {
    /// From a version that holds this.
    pub(crate) fn new(chain: &'a Chain<'a>, held: Text) -> Self {
        Self {
            chain,
            held,
            first: None,
            run: Vec::new(),
            lost: Vec::new(),
            absorbed: Vec::new(),
        }
    }

    pub(crate) fn over(&mut self, at: usize) {
        let state = &self.chain.states[at];
        if !state.certain {
            return;
        }
        if !self.is_by_first(at) {
            self.lost.append(&mut self.run);
            self.first = Some(at);
        }
        self.run.push(at);
        if state.text == self.held {
            self.absorbed.append(&mut self.run);
        }
    }

    /// How many Git lacks if this comes then.
    fn lost(&self, then: Option<usize>) -> usize {
        let by_first = then.is_some_and(|then| self.is_by_first(then));
        self.lost.len() + if by_first { 0 } else { self.run.len() }
    }

    /// What Git lacks if this comes then, and what was absorbed.
    pub(crate) fn end(mut self, then: Option<usize>) -> (Vec<usize>, Vec<usize>) {
        if then.is_some_and(|then| self.is_by_first(then)) {
            self.absorbed.append(&mut self.run);
        }
        self.lost.append(&mut self.run);
        (self.lost, self.absorbed)
    }

    fn is_by_first(&self, at: usize) -> bool {
        self.first.is_some_and(|first| self.chain.alike(first, at))
    }
}

#[cfg(test)]
mod tests;
