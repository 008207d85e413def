use super::super::fixtures::*;
use super::*;

fn decided(sighting: &Sighting, candidates: &[Observation]) -> Decision {
    decide(sighting, &candidates.iter().collect::<Vec<_>>())
}

#[test]
fn the_writer_on_the_replaced_version_is_credited() {
    let candidates = [update("old", "4", "x"), update("alice", "5", "x")];
    assert_eq!(decided(&updated("5", "x"), &candidates), Decision::Exact(1));
    assert_eq!(decided(&updated("6", "x"), &candidates), Decision::Unseen);
}

#[test]
fn whoever_asked_for_other_bytes_lost_the_race() {
    let candidates = [update("bob", "5", "y"), update("alice", "5", "x")];
    assert_eq!(decided(&updated("5", "x"), &candidates), Decision::Exact(1));
    assert_eq!(decided(&updated("5", "z"), &candidates), Decision::Unseen);
}

#[test]
fn two_users_with_the_same_bytes_on_one_version_are_nobody() {
    let mut candidates = vec![update("alice", "5", "x"), update("alice", "5", "x")];
    assert_eq!(decided(&updated("5", "x"), &candidates), Decision::Exact(0));
    candidates.push(update("bob", "5", "x"));
    assert_eq!(
        decided(&updated("5", "x"), &candidates),
        Decision::Ambiguous
    );
}

#[test]
fn managed_fields_tell_equal_bytes_apart() {
    let candidates = [
        managed(update("alice", "5", "x"), "alice 12:00:01"),
        managed(update("bob", "5", "x"), "bob 12:00:01"),
    ];
    let mut sighting = updated("5", "x");
    assert_eq!(decided(&sighting, &candidates), Decision::Ambiguous);
    sighting.managed_fields_hash = Some(hash("bob 12:00:01"));
    assert_eq!(decided(&sighting, &candidates), Decision::Exact(1));
}

#[test]
fn equal_bytes_prove_nothing_beside_other_managed_fields() {
    let candidates = [managed(update("alice", "5", "x"), "12:00:01")];
    let mut sighting = updated("5", "x");
    sighting.managed_fields_hash = Some(hash("12:00:02"));
    assert_eq!(decided(&sighting, &candidates), Decision::Unseen);
    // Without them, they are all there is.
    sighting.managed_fields_hash = None;
    assert_eq!(decided(&sighting, &candidates), Decision::Exact(0));
}

#[test]
fn a_write_at_another_version_is_known_by_its_managed_fields() {
    let mut sighting = updated("5", "x");
    sighting.managed_fields_hash = Some(hash("m"));
    let alice = at_v2(managed(update("alice", "5", "x as v2"), "m"));
    let loser = managed(update("bob", "5", "y"), "n");
    assert_eq!(
        decided(&sighting, &[alice.clone(), loser]),
        Decision::Exact(0)
    );
    let twin = at_v2(managed(update("bob", "5", "y as v2"), "m"));
    assert_eq!(
        decided(&sighting, &[alice.clone(), twin]),
        Decision::Ambiguous
    );
    // One manager, one second: alice's may have become the same bytes.
    let native = managed(update("bob", "5", "x"), "m");
    assert_eq!(decided(&sighting, &[alice, native]), Decision::Ambiguous);
}

/// Alice was refused; whoever wrote these bytes with the same manager in the same second was not seen.
#[test]
fn equal_managed_fields_prove_nothing_beside_other_bytes_at_the_same_version() {
    let mut sighting = updated("5", "k: b");
    sighting.managed_fields_hash = Some(hash("m"));
    let refused = managed(update("alice", "5", "k: a"), "m");
    assert_eq!(
        decided(&sighting, std::slice::from_ref(&refused)),
        Decision::Unseen
    );
    // Nor do they speak against who wrote in another version.
    let writer = at_v2(managed(update("bob", "5", "k: b as v2"), "m"));
    assert_eq!(
        decided(&sighting, &[refused.clone(), writer]),
        Decision::Exact(1)
    );
    assert!(!is_rival(&sighting, "bob", &refused));
    assert!(is_rival(&sighting, "bob", &at_v2(refused)));
}

#[test]
fn equal_managed_fields_do_not_make_a_lost_race_a_rival() {
    let mut sighting = updated("5", "x");
    sighting.managed_fields_hash = Some(hash("m"));
    let candidates = [
        managed(update("bob", "5", "y"), "m"),
        managed(update("alice", "5", "x"), "m"),
    ];
    assert_eq!(decided(&sighting, &candidates), Decision::Exact(1));
}

#[test]
fn a_scale_fits_where_only_replicas_changed() {
    let candidates = [scale("hpa", "5", 3), scale("bob", "5", 4)];
    let mut sighting = updated("5", "three replicas");
    assert_eq!(decided(&sighting, &candidates), Decision::Unseen);
    sighting.scaled_to = Some(3);
    assert_eq!(decided(&sighting, &candidates), Decision::Exact(0));
}

#[test]
fn an_update_and_a_scale_to_the_same_replicas_are_told_apart_only_by_managed_fields() {
    let mut sighting = updated("5", "three replicas");
    sighting.scaled_to = Some(3);
    sighting.managed_fields_hash = Some(hash("scale entry"));
    let scaler = scale("hpa", "5", 3);
    let refuted = managed(update("alice", "5", "three replicas"), "alice's entry");
    assert_eq!(
        decided(&sighting, &[refuted.clone(), scaler.clone()]),
        Decision::Exact(1)
    );
    // managedFields count seconds: within one, those of both may be the same.
    let equal = managed(refuted, "scale entry");
    assert_eq!(decided(&sighting, &[equal, scaler]), Decision::Ambiguous);
    // Of one user, the full fit names the field manager.
    let full = managed(update("hpa", "5", "three replicas"), "scale entry");
    assert_eq!(
        decided(&sighting, &[scale("hpa", "5", 3), full]),
        Decision::Exact(1)
    );
}

#[test]
fn a_delete_belongs_to_who_asked_for_it_on_the_last_version() {
    let deleted = seen(Operation::Delete, Some("5"), "x");
    let candidates = [
        delete("refused earlier", "4", "x"),
        update("bob", "5", "x"),
        delete("alice", "5", "x"),
    ];
    assert_eq!(decided(&deleted, &candidates), Decision::Exact(2));
    let rivals = [delete("alice", "5", "x"), delete("bob", "5", "x")];
    assert_eq!(decided(&deleted, &rivals), Decision::Ambiguous);
}

#[test]
fn a_create_is_known_by_its_uid_whatever_was_stored() {
    let created = seen(Operation::Create, Some(""), "x");
    let candidates = [
        create("alice", "x at another version"),
        update("bob", "5", "x"),
    ];
    assert_eq!(decided(&created, &candidates), Decision::Exact(0));
}

#[test]
fn an_object_found_after_a_gap_may_have_been_updated_since_its_creation() {
    let found = seen(Operation::Create, None, "x");
    let creator = create("alice", "x");
    assert_eq!(
        decided(&found, std::slice::from_ref(&creator)),
        Decision::Exact(0)
    );
    assert_eq!(
        decided(&found, &[creator.clone(), update("bob", "5", "y")]),
        Decision::Content(0)
    );
    assert_eq!(
        decided(&found, &[creator, update("bob", "6", "x")]),
        Decision::Ambiguous
    );
    assert_eq!(
        decided(&found, &[create("alice", "y"), update("bob", "5", "x")]),
        Decision::Content(1)
    );
}

#[test]
fn content_of_one_user_counts_after_a_gap_only() {
    let candidates = [update("bob", "7", "y"), update("alice", "5", "x")];
    let found = seen(Operation::Update, None, "x");
    assert_eq!(decided(&found, &candidates), Decision::Content(1));
    assert_eq!(decided(&updated("6", "x"), &candidates), Decision::Unseen);
    let rivals = [update("alice", "5", "x"), update("bob", "9", "x")];
    assert_eq!(decided(&found, &rivals), Decision::Ambiguous);
}

#[test]
fn after_a_gap_managed_fields_refute() {
    let mut found = seen(Operation::Update, None, "x");
    found.managed_fields_hash = Some(hash("m"));
    let refuted = managed(update("alice", "5", "x"), "n");
    assert_eq!(
        decided(&found, std::slice::from_ref(&refuted)),
        Decision::Unseen
    );
    let writer = managed(update("bob", "6", "x"), "m");
    assert_eq!(decided(&found, &[refuted, writer]), Decision::Content(1));
}

#[test]
fn after_a_gap_a_later_scale_by_another_user_may_have_led_back() {
    let found = seen(Operation::Update, None, "x");
    let writer = update("alice", "5", "x");
    assert_eq!(
        decided(&found, &[scale("hpa", "4", 3), writer.clone()]),
        Decision::Content(1)
    );
    assert_eq!(
        decided(&found, &[writer, scale("hpa", "6", 3)]),
        Decision::Ambiguous
    );
}

#[test]
fn a_delete_in_a_gap_is_known_by_its_uid() {
    let gone = seen(Operation::Delete, None, "x");
    let candidates = [update("bob", "5", "y"), delete("alice", "6", "y")];
    assert_eq!(decided(&gone, &candidates), Decision::Content(1));
}

#[test]
fn versions_compare_as_numbers() {
    assert!(older("9", "10") && older("", "1"));
    assert!(!older("10", "9") && !older("9", "9") && !older("a", "b") && !older("1", ""));
}
