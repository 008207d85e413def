use std::sync::Arc;

use super::bed::*;
use crate::change::Cause;
use crate::rules::Plan;
use crate::watch::Subscriber;

#[tokio::test]
async fn the_first_list_asks_nobody_and_gives_everything() {
    let mut bed = Bed::new();
    let one = [subscriber(&bed.key, "one", Cause::Seed)];
    bed.admitted("alice", &map("a", "u1", 0, "1"), "");
    bed.full_list(
        true,
        &[
            &map("a", "u1", 5, "1"),
            &terminating(map("b", "u2", 6, "1")),
        ],
        "7",
        &one,
    );
    assert_eq!(
        take(&one[0]),
        [write("a", "1", "Reconciled, if a change"), sweep(&["a"])]
    );
    assert_eq!(bed.shared.store.pending_total(), 1);
}

#[tokio::test]
async fn who_leaves_during_a_list_is_swept_and_counted_by_it_no_more() {
    let mut bed = Bed::new();
    let both = [
        subscriber(&bed.key, "stays", Cause::Seed),
        subscriber(&bed.key, "leaves", Cause::Seed),
    ];
    let subscriptions = |of: &[Subscriber]| of.iter().map(|s| s.subscription.clone()).collect();
    let key = bed.key.clone();
    let plan = |of: &[Subscriber]| {
        let destinations = of.iter().map(|s| s.subscription.destination.clone());
        Arc::new(Plan {
            destinations: destinations.map(|d| (d.key.clone(), d)).collect(),
            watches: [(key.clone(), subscriptions(of))].into(),
            ..Plan::default()
        })
    };
    let objects = |bed: &Bed, of: &Subscriber| bed.shared.board.snapshot().objects(of.key());
    bed.shared.board.plan(plan(&both));
    let [stays, leaves] = &both;
    bed.full_list(true, &[&map("a", "u1", 5, "1")], "6", &both);
    both.iter().for_each(|subscriber| drop(take(subscriber)));
    assert_eq!((objects(&bed, stays), objects(&bed, leaves)), (1, 1));

    // Its other types are still selected.
    let mut without = Plan::clone(&plan(&both));
    without.watches = [(key.clone(), subscriptions(&both[..1]))].into();
    bed.shared.board.plan(Arc::new(without));
    assert_eq!((objects(&bed, stays), objects(&bed, leaves)), (1, 0));
    let now = [&map("a", "u1", 5, "1"), &map("b", "u2", 8, "1")];
    bed.full_list_left(false, &now, "9", (&both, &both[..1]));
    assert_eq!((objects(&bed, stays), objects(&bed, leaves)), (2, 0));
    let created = write("b", "1", "Unseen, so far");
    assert_eq!(take(leaves), [created]);
    assert!(take(stays).contains(&sweep(&["a", "b"])));
}

#[tokio::test]
async fn what_changed_during_a_gap_is_joined_once_and_goes_to_everybody() {
    let mut bed = Bed::new();
    let both = [
        subscriber(&bed.key, "one", Cause::Seed),
        subscriber(&bed.key, "two", Cause::Seed),
    ];
    let before = ["a", "b", "c", "d"].map(|name| map(name, name, 5, "1"));
    let [a, b, c, d] = &before;
    bed.full_list(true, &[a, b, c, d], "6", &both);
    both.iter().for_each(|subscriber| drop(take(subscriber)));

    // Changed, unchanged, deleted, told to go, created; and changed by nobody knows whom.
    bed.admitted("alice", &map("a", "a", 0, "2"), "5");
    bed.delete_admitted("bob", c);
    bed.delete_admitted("carol", d);
    bed.admitted("dave", &map("e", "e", 0, "1"), "");
    bed.full_list(
        false,
        &[
            &map("a", "a", 7, "2"),
            b,
            &terminating(map("d", "d", 8, "1")),
            &map("e", "e", 9, "1"),
            &map("f", "f", 10, "1"),
        ],
        "12",
        &both,
    );
    for subscriber in &both {
        assert_eq!(
            take(subscriber),
            [
                write("a", "2", "content alice"),
                gone("d", "content carol"),
                write("e", "1", "exact dave"),
                write("f", "1", "Unseen, so far"),
                gone("c", "content bob"),
                sweep(&["a", "b", "e", "f"]),
            ]
        );
    }
    assert_eq!(bed.shared.store.pending_total(), 0);
}

#[tokio::test]
async fn after_a_gap_who_wants_everything_gets_the_changes_with_their_authors() {
    let mut bed = Bed::new();
    let old = subscriber(&bed.key, "old", Cause::Seed);
    let new = subscriber(&bed.key, "new", Cause::Seed);
    let (a, b) = (map("a", "a", 5, "1"), map("b", "b", 5, "1"));
    bed.full_list(true, &[&a, &b], "6", std::slice::from_ref(&old));
    take(&old);
    bed.admitted("alice", &map("a", "a", 0, "2"), "5");
    let both = [old, new];
    bed.full_list(false, &[&map("a", "a", 7, "2"), &b], "8", &both);
    assert_eq!(
        take(&both[0]),
        [write("a", "2", "content alice"), sweep(&["a", "b"])]
    );
    assert_eq!(
        take(&both[1]),
        [
            write("a", "2", "content alice"),
            write("b", "1", "Reconciled, if a change"),
            sweep(&["a", "b"])
        ]
    );
}

#[tokio::test]
async fn a_full_list_waits_for_nobody() {
    let mut bed = Bed::new();
    let both = [
        subscriber(&bed.key, "full", Cause::Seed),
        subscriber(&bed.key, "other", Cause::Seed),
    ];
    fill(&bed.key, &both[0]);
    bed.full_list(true, &[&map("a", "a", 5, "1")], "6", &both);
    assert!(!bed.given.has_everything(&both[0]));
    assert!(bed.given.is_somebody_postponed());
    assert!(bed.given.has_everything(&both[1]));
    assert_eq!(bed.given.wanting(&both).count(), 0);
    // No sweep: it was not given what is live.
    let in_vain = |waits: &Waits| {
        matches!(waits, Waits::Write(name, ..) if name == "a") || matches!(waits, Waits::Sweep(_))
    };
    assert!(!take(&both[0]).iter().any(in_vain));
    assert_eq!(bed.given.wanting(&both).count(), 1);
}

#[tokio::test]
async fn a_first_list_that_broke_off_is_begun_anew_and_what_changed_meanwhile_is_joined() {
    let mut bed = Bed::new();
    let one = [subscriber(&bed.key, "one", Cause::Seed)];
    // Listed before it broke off.
    bed.full_list(true, &[&map("a", "a", 5, "1")], "6", &[]);
    bed.admitted("alice", &map("a", "a", 0, "2"), "5");
    bed.full_list(
        true,
        &[&map("a", "a", 7, "2"), &map("b", "b", 8, "1")],
        "9",
        &one,
    );
    assert_eq!(
        take(&one[0]),
        [
            write("a", "2", "content alice"),
            write("b", "1", "Reconciled, if a change"),
            sweep(&["a", "b"])
        ]
    );
}
