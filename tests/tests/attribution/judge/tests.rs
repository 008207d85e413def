use std::collections::BTreeSet;

use manifest::SpecHash;

use super::*;

fn text(name: &str) -> Text {
    match name {
        "" => Text::Gone,
        name => Text::Is(SpecHash::of(name.as_bytes())),
    }
}

/// What is of a content with a `?` before it may not have been.
fn truth(states: &[(&str, &str)]) -> Vec<State> {
    let state = |(version, (content, user)): (usize, &(&str, &str))| State {
        certain: !content.starts_with('?'),
        text: text(content.trim_start_matches('?')),
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

#[test]
fn the_whole_history_decides_what_a_version_is() {
    // Nobody need be named for the last b, but then there is nothing left for c and d to be.
    let mut states = truth(&[("b", "ben"), ("c", "ben"), ("d", "ben"), ("b", "ben")]);
    states[3].excuse = Some(Excuse::Rivals);
    let history = kept(&[("b", ""), ("c", "ben"), ("d", "ben"), ("b", "ben")]);
    let mut verdict = Verdict::default();
    verdict.compare("file", &history, &states);
    let findings = verdict.findings().map(|(_, findings)| findings.len());
    assert_eq!(findings, [0, 1, 0, 0, 0]);
}

#[test]
fn one_version_that_never_was_leaves_the_others_what_they_are() {
    let mut history = kept(&TRUE);
    let invented = kept(&[("x", "ann")]).remove(0);
    for at in 0..=TRUE.len() {
        history.insert(at, invented.clone());
        let mut verdict = Verdict::default();
        verdict.compare("file", &history, &truth(&TRUE));
        let findings = verdict.findings().map(|(_, findings)| findings.len());
        let ends_with_it = usize::from(at == TRUE.len());
        assert_eq!(findings, [0, 0, 0, 1, ends_with_it], "{at}");
        history.remove(at);
    }
}

#[test]
fn what_may_not_have_been_may_be_there_and_may_be_missing() {
    let states = [("a", "ann"), ("?b", "ben"), ("?c", "cid"), ("d", "ann")];
    let (a, d) = (states[0], states[3]);
    for between in [
        &[][..],
        &[("b", "ben")],
        &[("c", "cid")],
        &[("b", "ben"), ("c", "cid")],
    ] {
        let history = [&[a], between, &[d]].concat();
        assert_eq!(counts(&history, &states), [0; 5], "{between:?}");
    }
    let by_another = [a, ("b", "cid"), d];
    assert_eq!(counts(&by_another, &states), [1, 0, 0, 0, 0]);
    let disordered = [a, ("c", "cid"), ("b", "ben"), d];
    assert_eq!(counts(&disordered, &states), [0, 0, 0, 1, 0]);
    // It makes nothing else dispensable.
    assert_eq!(counts(&[a, ("b", "ben")], &states), [0, 0, 1, 0, 1]);
}

#[test]
fn a_file_may_end_with_what_may_have_been() {
    let states = [("a", "ann"), ("?b", "ben"), ("?", "cid")];
    for end in 1..=3 {
        let history = [("a", "ann"), ("b", "ben"), ("", "cid")];
        assert_eq!(counts(&history[..end], &states), [0; 5], "{end}");
    }
    assert_eq!(counts(&[], &states), [0, 0, 1, 0, 1]);
    assert_eq!(counts(&[], &states[1..]), [0; 5]);
    let mut verdict = Verdict::default();
    verdict.compare(
        "file",
        &kept(&[("a", "ann"), ("b", "ben")]),
        &truth(&states),
    );
    let total = verdict.total();
    assert_eq!((total.right, total.unlogged), (1, 1));
}

#[test]
fn what_was_written_before_the_log_has_it_is_written_once() {
    // Ben's write found nothing to change if Ann's was there.
    let states = [("a", "ann"), ("?b", "ann"), ("b", "ben"), ("c", "cid")];
    for user in ["ann", "ben"] {
        assert_eq!(
            counts(&[states[0], ("b", user), states[3]], &states),
            [0; 5],
            "{user}"
        );
    }
}

#[test]
fn under_faults_no_reading_has_a_wrong_author_that_need_not() {
    // Right at once and then wrong, or all of it missed.
    let states: Vec<(&str, &str)> = (0..60)
        .map(|n| (["a", "b"][n % 2], ["ann", "ben", "cid"][n % 3]))
        .collect();
    let history = [("a", "ann"), ("b", "ann"), ("a", "ann"), ("b", "cid")];
    let mut verdict = Verdict {
        faulty: true,
        ..Verdict::default()
    };
    verdict.compare("file", &kept(&history), &truth(&states));
    assert_eq!(
        [
            verdict.wrong.len(),
            verdict.invented.len(),
            verdict.unfinished.len()
        ],
        [0; 3]
    );
    // Of several who may have done it.
    let mut states = truth(&TRUE);
    states[1].users.insert("cid".to_owned());
    let mut history = kept(&TRUE);
    history[1].user = Some("cid".to_owned());
    verdict.compare("file", &history, &states);
    assert_eq!(verdict.wrong.len(), 0);
    verdict.faulty = false;
    verdict.compare("file", &history, &states);
    assert_eq!(verdict.wrong.len(), 1);
}
