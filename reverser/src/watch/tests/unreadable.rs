use super::bed::*;
use crate::change::Cause;
use crate::watch::emit::Told;

const ADDED: Told = Told::Event { created: true };

#[tokio::test]
async fn what_is_read_again_is_a_change_of_the_version_that_could_not_be_read() {
    let mut bed = Bed::new();
    let one = [subscriber(&bed.key, "one", Cause::Seed)];
    bed.event(ADDED, &map("a", "u", 5, "1"), &one);
    take(&one[0]);
    // Lost the race against what can't be read.
    bed.admitted("loser", &map("a", "u", 0, "2"), "5");
    bed.admitted("alice", &map("a", "u", 0, "2"), "7");
    for version in [6, 7] {
        bed.modified(&deep(map("a", "u", version, "")), &one);
    }
    assert_eq!(take(&one[0]), []);
    bed.modified(&map("a", "u", 8, "2"), &one);
    assert_eq!(take(&one[0]), [write("a", "2", "exact alice")]);
    assert_eq!(bed.shared.store.pending_total(), 0);
}

#[tokio::test]
async fn what_is_read_again_as_its_file_is_changes_nothing() {
    let mut bed = Bed::new();
    let one = [subscriber(&bed.key, "one", Cause::Seed)];
    bed.event(ADDED, &map("a", "u", 5, "1"), &one);
    take(&one[0]);
    bed.modified(&deep(map("a", "u", 6, "")), &one);
    bed.modified(&map("a", "u", 7, "1"), &one);
    assert_eq!(take(&one[0]), []);
}

#[tokio::test]
async fn what_could_never_be_read_is_written_once_it_can() {
    let mut bed = Bed::new();
    let one = [subscriber(&bed.key, "one", Cause::Seed)];
    bed.event(ADDED, &deep(map("a", "u", 5, "")), &one);
    bed.admitted("alice", &map("a", "u", 0, "1"), "5");
    bed.modified(&map("a", "u", 6, "1"), &one);
    assert_eq!(take(&one[0]), [write("a", "1", "exact alice")]);
}

#[tokio::test]
async fn the_file_of_what_can_not_be_read_goes_with_it_by_its_deleter() {
    for told_to_go in [true, false] {
        let mut bed = Bed::new();
        let one = [subscriber(&bed.key, "one", Cause::Seed)];
        bed.event(ADDED, &map("a", "u", 5, "1"), &one);
        take(&one[0]);
        let unreadable = deep(map("a", "u", 6, ""));
        bed.modified(&unreadable, &one);
        bed.delete_admitted("bob", &unreadable);
        let last = deep(map("a", "u", 7, ""));
        if told_to_go {
            bed.modified(&terminating(last.clone()), &one);
            assert_eq!(take(&one[0]), [gone("a", "exact bob")]);
        }
        bed.deleted(&last, &one);
        let rest = if told_to_go {
            vec![]
        } else {
            vec![gone("a", "exact bob")]
        };
        assert_eq!(take(&one[0]), rest);
        assert_eq!(bed.index.len(), 0);
    }
}

#[tokio::test]
async fn lists_leave_the_file_of_what_can_not_be_read() {
    let mut bed = Bed::new();
    let one = subscriber(&bed.key, "one", Cause::Seed);
    let (a, b) = (deep(map("a", "a", 5, "")), map("b", "b", 6, "1"));
    bed.full_list(true, &[&a, &b], "7", std::slice::from_ref(&one));
    assert_eq!(
        take(&one),
        [
            write("b", "1", "Reconciled, if a change"),
            sweep(&["a", "b"])
        ]
    );
    // Nameable, and without a version.
    let mut c = map("c", "", 8, "1");
    c["metadata"]["uid"] = serde_json::Value::Null;
    bed.full_list(false, &[&a, &b, &c], "9", std::slice::from_ref(&one));
    assert_eq!(take(&one), [sweep(&["a", "b", "c"])]);

    let new = subscriber(&bed.key, "new", Cause::Drift);
    let mut list = bed.side_list(&[&a, &b, &c], std::slice::from_ref(&new));
    while !list.is_done() {
        list.work(&bed.standing("9"), |_| false);
    }
    assert_eq!(
        take(&new),
        [write("b", "1", "Reconciled"), sweep(&["a", "b", "c"])]
    );
}

#[tokio::test]
async fn that_an_object_is_skipped_is_counted_once_until_it_can_be_read() {
    let mut bed = Bed::new();
    let skipped = bed.shared.metrics.objects_skipped_total.clone();
    let unreadable = |version| deep(map("a", "u", version, ""));
    bed.event(ADDED, &unreadable(5), &[]);
    bed.modified(&unreadable(6), &[]);
    bed.full_list(true, &[&unreadable(6)], "7", &[]);
    assert_eq!(skipped.get(), 1);
    bed.modified(&map("a", "u", 8, "1"), &[]);
    bed.modified(&unreadable(9), &[]);
    assert_eq!(skipped.get(), 2);
    bed.deleted(&unreadable(10), &[]);
    bed.event(ADDED, &unreadable(11), &[]);
    assert_eq!(skipped.get(), 3);
}
