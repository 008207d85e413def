use super::bed::*;
use crate::change::Cause;
use crate::watch::emit::Told;
use crate::watch::given::Part;
use crate::watch::side_list::{Served, SideList};

const ADDED: Told = Told::Event { created: true };

/// Everything that a list has to do while there is room.
fn finish(list: &mut SideList, bed: &Bed, version: &str) -> Vec<String> {
    let mut served = Vec::new();
    for _ in 0..10 {
        served.extend(work(list, bed, version, false));
    }
    assert!(list.is_done());
    served
}

fn work(list: &mut SideList, bed: &Bed, version: &str, others_wait: bool) -> Vec<String> {
    told(&list.work(&bed.standing(version), |_| others_wait))
}

#[tokio::test]
async fn a_subscriber_is_given_what_list_and_index_agree_on() {
    let mut bed = Bed::new();
    let old = subscriber(&bed.key, "old", Cause::Seed);
    bed.admitted("alice", &map("a", "u1", 0, "1"), "");
    bed.event(ADDED, &map("a", "u1", 5, "1"), std::slice::from_ref(&old));
    bed.event(ADDED, &map("b", "u2", 6, "1"), std::slice::from_ref(&old));
    take(&old);

    let new = subscriber(&bed.key, "new", Cause::Seed);
    let both = [old.clone(), new.clone()];
    let (a, behind) = (map("a", "u1", 5, "1"), map("b", "u2", 6, "1"));
    let (ahead, again) = (map("c", "u3", 9, "1"), map("d", "u4", 10, "new"));
    bed.event(ADDED, &map("d", "u0", 7, "old"), &[]);
    let mut list = bed.side_list(&[&a, &behind, &ahead, &again], std::slice::from_ref(&new));
    // The watch is past the list for b, and has not come to c and the other d yet.
    bed.admitted("bob", &map("b", "u2", 0, "2"), "6");
    bed.modified(&map("b", "u2", 8, "2"), &both);
    let served = finish(&mut list, &bed, "8");

    assert_eq!(served, ["new everything"]);
    assert_eq!(take(&old), [write("b", "2", "exact bob")]);
    assert_eq!(
        take(&new),
        [
            write("b", "2", "exact bob"),
            write("a", "1", "Reconciled"),
            sweep(&["a", "b", "c", "d"]),
        ]
    );
    // What the watch tells of c later is told as ever.
    bed.admitted("carol", &map("c", "u3", 0, "1"), "");
    bed.event(ADDED, &ahead, &both);
    assert_eq!(take(&new), [write("c", "1", "exact carol")]);
}

#[tokio::test]
async fn the_files_of_what_the_watch_has_told_to_be_gone_are_swept() {
    let mut bed = Bed::new();
    let new = subscriber(&bed.key, "new", Cause::Drift);
    let takers = [new.clone()];
    let objects = ["a", "b", "c", "d"].map(|name| map(name, name, 5, "1"));
    for object in &objects {
        bed.event(ADDED, object, &[]);
    }
    bed.deleted(&map("a", "a", 9, "1"), &takers);
    bed.modified(&terminating(map("b", "b", 10, "1")), &takers);
    take(&new);
    let [a, b, c, d] = &objects;
    // Terminating in the list and not in the index yet: the watch will tell.
    let mut list = bed.side_list(&[a, b, c, &terminating(d.clone())], &takers);
    finish(&mut list, &bed, "10");
    assert_eq!(
        take(&new),
        [write("c", "1", "Reconciled"), sweep(&["c", "d"])]
    );
}

#[tokio::test]
async fn who_wrote_what_the_first_list_found_is_asked_for_unless_git_was_changed() {
    let mut bed = Bed::new();
    let objects = [map("a", "u1", 5, "1"), map("b", "u2", 6, "1")];
    let [a, b] = &objects;
    bed.full_list(true, &[a, b], "7", &[]);
    bed.modified(&map("b", "u2", 8, "2"), &[]);
    for (cause, who) in [
        (Cause::Seed, "Reconciled, if a change"),
        (Cause::Drift, "Reconciled"),
    ] {
        let new = subscriber(&bed.key, "new", cause);
        let mut list = bed.side_list(&[a, &map("b", "u2", 8, "2")], std::slice::from_ref(&new));
        finish(&mut list, &bed, "8");
        assert_eq!(
            take(&new),
            [
                write("a", "1", who),
                write("b", "2", "Reconciled"),
                sweep(&["a", "b"])
            ]
        );
    }
}

#[tokio::test]
async fn who_has_no_room_holds_nobody_up() {
    let mut bed = Bed::new();
    let a = map("a", "u1", 5, "1");
    bed.event(ADDED, &a, &[]);
    let (full, new) = (
        subscriber(&bed.key, "full", Cause::Seed),
        subscriber(&bed.key, "new", Cause::Seed),
    );
    fill(&bed.key, &full);
    let mut list = bed.side_list(&[&a], &[full.clone(), new.clone()]);
    assert!(work(&mut list, &bed, "5", false).is_empty());
    assert_eq!(take(&new), []);

    // For a while; then the others go on.
    list.lose_patience();
    list.ready().await.unwrap();
    assert_eq!(work(&mut list, &bed, "5", false), ["full later"]);
    finish(&mut list, &bed, "5");
    assert_eq!(take(&new), [write("a", "1", "Reconciled"), sweep(&["a"])]);
}

#[tokio::test]
async fn a_list_for_one_without_room_waits_until_there_is_room_or_somebody_else_waits() {
    let mut bed = Bed::new();
    let a = map("a", "u1", 5, "1");
    bed.event(ADDED, &a, &[]);
    for somebody in [false, true] {
        let full = subscriber(&bed.key, "full", Cause::Seed);
        fill(&bed.key, &full);
        let mut list = bed.side_list(&[&a], std::slice::from_ref(&full));
        for _ in 0..5 {
            list.lose_patience();
            list.ready().await.unwrap();
            assert!(work(&mut list, &bed, "5", false).is_empty());
        }
        if somebody {
            list.lose_patience();
            list.ready().await.unwrap();
            assert_eq!(work(&mut list, &bed, "5", true), ["full later"]);
            assert!(list.is_done());
            continue;
        }
        take(&full);
        list.ready().await.unwrap();
        finish(&mut list, &bed, "5");
        assert_eq!(take(&full), [write("a", "1", "Reconciled"), sweep(&["a"])]);
    }
}

#[tokio::test]
async fn who_asks_for_something_else_meanwhile_is_not_served() {
    let mut bed = Bed::new();
    let a = map("a", "u1", 5, "1");
    bed.event(ADDED, &a, &[]);
    let (one, mut two) = (
        subscriber(&bed.key, "one", Cause::Seed),
        subscriber(&bed.key, "two", Cause::Seed),
    );
    let mut list = bed.side_list(&[&a], &[one.clone(), two.clone()]);
    two.epoch += 1;
    list.retain(&[two.clone(), one.clone()]);
    assert!(!list.serves(&two));
    let served = finish(&mut list, &bed, "5");
    assert_eq!(served, ["one everything"]);
    assert_eq!(take(&two), []);
}

#[tokio::test]
async fn a_list_that_is_begun_anew_gives_nothing_twice() {
    let mut bed = Bed::new();
    let objects: Vec<_> = (0..60)
        .map(|n| map(&format!("m{n:02}"), &format!("u{n}"), n + 1, "1"))
        .collect();
    for object in &objects {
        bed.event(ADDED, object, &[]);
    }
    let objects: Vec<_> = objects.iter().collect();
    let mut new = subscriber(&bed.key, "new", Cause::Seed);
    let mut list = bed.side_list(&objects, std::slice::from_ref(&new));
    assert!(work(&mut list, &bed, "60", false).is_empty());
    let given = take(&new).len();
    assert!((1..60).contains(&given));
    fill(&bed.key, &new);
    list.lose_patience();
    let Some(Served::Later((taker, part))) = list.work(&bed.standing("60"), |_| true).pop() else {
        panic!("there was no room");
    };
    bed.given.postpone(&taker, part);
    take(&new);

    let mut list = bed.side_list(&objects, std::slice::from_ref(&new));
    finish(&mut list, &bed, "60");
    assert_eq!(take(&new).len(), 60 - given + 1);

    // It asks for everything once more.
    bed.given.part(&new, list_part(&objects));
    new.epoch += 1;
    let mut list = bed.side_list(&objects, std::slice::from_ref(&new));
    finish(&mut list, &bed, "60");
    assert_eq!(take(&new).len(), 60 + 1);
}

fn list_part(objects: &[&serde_json::Value]) -> Part {
    let mut part = Part::default();
    for object in objects {
        let name = object["metadata"]["name"].as_str().unwrap();
        assert!(part.add(&("lab".into(), name.into())));
    }
    part
}
