use std::collections::BTreeSet;

use manifest::SpecHash;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

fn text(rng: &mut StdRng) -> Text {
    match rng.random_range(0..8) {
        0 => Text::Gone,
        n => Text::Is(SpecHash::of(&[n % 3])),
    }
}

fn user(rng: &mut StdRng) -> String {
    ["ann", "ben", "cid"][rng.random_range(0..3)].to_owned()
}

fn state(rng: &mut StdRng) -> State {
    let text = text(rng);
    let users = (0..rng.random_range(1..3)).map(|_| user(rng)).collect();
    State {
        certain: rng.random_bool(0.8),
        users,
        text: if rng.random_bool(0.1) {
            Text::Unknown
        } else {
            text
        },
        act: "test",
        excuse: rng.random_bool(0.2).then_some(Excuse::Rivals),
        version: 0,
    }
}

fn kept(rng: &mut StdRng) -> Kept {
    Kept {
        text: text(rng),
        user: rng.random_bool(0.8).then(|| user(rng)),
        note: String::new(),
    }
}

/// States that Git lacks, looked for run by run.
fn lost(states: &[State], then: Option<&State>, held: Text) -> usize {
    let alike = |one: &State, other: &State| {
        let both: BTreeSet<_> = one.users.intersection(&other.users).collect();
        !both.is_empty() || (one.excuse.is_some() && other.excuse.is_some())
    };
    let certain: Vec<&State> = states.iter().filter(|state| state.certain).collect();
    let (mut lost, mut rest) = (0, &certain[..]);
    while let Some(first) = rest.first() {
        let run = rest.iter().take_while(|state| alike(first, state)).count();
        if run == rest.len() && then.is_some_and(|then| alike(first, then)) {
            break;
        }
        let back = rest[..run].iter().rposition(|state| state.text == held);
        lost += run - back.map_or(0, |back| back + 1);
        rest = &rest[run..];
    }
    lost
}

/// What it costs to read the versions like this.
fn cost(kept: &[Kept], truth: &[State], faulty: bool, path: &[Option<usize>]) -> Cost {
    let (mut found, mut guessed, mut next, mut held) = (0, 0, 0, Text::Gone);
    for (version, at) in kept.iter().zip(path) {
        if let Some(at) = *at {
            let state = &truth[at];
            found += lost(&truth[next..at], Some(state), held) * LOST;
            found += Author::of(version, state, faulty).cost(faulty);
            guessed += usize::from(state.text == Text::Unknown);
            next = at + 1;
        } else {
            found += INVENTED;
        }
        held = version.text;
    }
    found += lost(&truth[next..], None, held) * LOST;
    let finished = is_finished(held, last(truth, next));
    (found + if finished { 0 } else { grave(faulty) }, guessed)
}

/// Every way to read them.
fn paths(kept: &[Kept], truth: &[State], next: usize) -> Vec<Vec<Option<usize>>> {
    let Some((version, rest)) = kept.split_first() else {
        return vec![Vec::new()];
    };
    let places = (next..truth.len()).filter(|at| fits(version, &truth[*at]));
    let mut all = Vec::new();
    for place in places.map(Some).chain([None]) {
        for path in paths(rest, truth, place.map_or(next, |at| at + 1)) {
            all.push([&[place], &path[..]].concat());
        }
    }
    all
}

#[test]
fn no_way_to_read_a_history_costs_less() {
    let mut rng = StdRng::seed_from_u64(1);
    for round in 0..3000 {
        let truth: Vec<State> = (0..rng.random_range(0..8))
            .map(|_| state(&mut rng))
            .collect();
        let kept: Vec<Kept> = (0..rng.random_range(0..6))
            .map(|_| kept(&mut rng))
            .collect();
        let faulty = rng.random_bool(0.5);
        let found = align(&kept, &Chain::new(&truth), faulty);
        let all = paths(&kept, &truth, 0);
        let least = all
            .iter()
            .map(|path| cost(&kept, &truth, faulty, path))
            .min();
        let of_it = cost(&kept, &truth, faulty, &found);
        assert_eq!(
            Some(of_it),
            least,
            "round {round}: {found:?} of {kept:?} in {truth:?}"
        );
        assert!(all.contains(&found));
    }
}

/// A matter of time: cheap to read where nothing is wrong, and not too dear where much is.
#[test]
fn thousands_of_versions_are_placed() {
    let mut rng = StdRng::seed_from_u64(1);
    let mut truth: Vec<State> = Vec::new();
    while truth.len() < 3000 {
        let state = State {
            text: Text::Is(SpecHash::of(&[rng.random_range(0..5)])),
            users: BTreeSet::from([format!("user-{}", rng.random_range(0..200))]),
            certain: true,
            excuse: rng.random_bool(0.05).then_some(Excuse::Rivals),
            ..state(&mut rng)
        };
        if truth.last().is_none_or(|last| last.text != state.text) {
            truth.push(state);
        }
    }
    let mut kept: Vec<Kept> = truth
        .iter()
        .map(|state| Kept {
            text: state.text,
            user: state.users.first().cloned(),
            note: String::new(),
        })
        .collect();
    let chain = Chain::new(&truth);
    let faithful: Vec<Option<usize>> = (0..truth.len()).map(Some).collect();
    assert_eq!(align(&kept, &chain, false), faithful);
    // Nobody's for a while, and then some are missing.
    for gap in [400, 1000, 1600, 2200] {
        kept[gap - 40..gap]
            .iter_mut()
            .for_each(|version| version.user = None);
        kept.drain(gap..gap + 30);
    }
    let found = align(&kept, &chain, true);
    let sure = |place: &usize| kept[*place].user.is_some();
    let away = (0..kept.len()).filter(sure).filter(|place| {
        let gaps = [400, 1000, 1600, 2200]
            .iter()
            .filter(|gap| *gap <= place)
            .count();
        found[*place] != Some(place + 30 * gaps)
    });
    assert!(away.count() < 40);
}
