use std::time::Duration;

use manifest::SpecHash;

use super::super::claim::tests::destination;
use super::super::fixtures::{self, config_map};
use super::*;
use crate::change::{Attribution, Miss, Operation, Who};

fn queue() -> Arc<Queue> {
    Arc::new(Queue::new(IntCounter::new("dropped", "dropped").unwrap()))
}

fn write(name: &str, cause: Cause, unseen: bool) -> Item {
    let sighting = Sighting {
        identity: config_map(name),
        uid: format!("uid of {name}"),
        operation: Operation::Update,
        base: Some("5".to_owned()),
        version: "6".to_owned(),
        spec_hash: SpecHash::of(b"x"),
        managed_fields_hash: None,
        scaled_to: None,
    };
    let mut write = fixtures::write(&destination(None).into(), name, "x", "");
    write.change.attribution = Attribution::None(Miss::Unseen);
    write.change.cause = cause;
    write.unsettled = unseen.then(|| match cause {
        Cause::Live => Unsettled::Unseen(Box::new(sighting)),
        _ => Unsettled::Found(Box::new(sighting)),
    });
    Item::Write(Box::new(write))
}

fn names(items: &[Item]) -> Vec<&str> {
    let writes = items.iter().filter_map(|item| match item {
        Item::Write(write) => Some(write),
        Item::Sweep(_) | Item::Listed(_) => None,
    });
    writes
        .map(|write| write.change.identity.name.as_str())
        .collect()
}

fn by(covered: Instant) -> Portion {
    Portion {
        limits: BatchLimits::default(),
        coverage: Coverage::Until(covered),
    }
}

async fn a_moment() {
    tokio::time::sleep(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn who_waits_for_room_goes_on_when_the_worker_goes() {
    let queue = queue();
    queue.state.lock().bytes = LIVE.bytes;
    let waiting = tokio::spawn({
        let queue = queue.clone();
        async move { queue.room().await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    queue.close();
    waiting.await.unwrap();
    queue.push(Item::Listed(destination(None).into()));
    assert!(queue.is_empty());
}

#[test]
fn lists_are_held_back_long_before_a_version_is_dropped() {
    let queue = queue();
    queue.state.lock().bytes = LISTED.bytes;
    assert!(queue.is_full());
    queue.push(version("a", "alice", Cause::Live));
    queue.push(version("b", "bob", Cause::Live));
    assert_eq!(queue.len(), 2);
    assert_eq!(queue.dropped.get(), 0);
}

fn version(content: &str, username: &str, cause: Cause) -> Item {
    let Item::Write(mut write) = write("one", cause, false) else {
        panic!("a write is a write");
    };
    write.change.content = Some(Bytes::copy_from_slice(content.as_bytes()));
    write.change.attribution = Attribution::Exact(Who {
        username: username.to_owned(),
        field_manager: String::new(),
    });
    Item::Write(write)
}

#[tokio::test]
async fn at_the_bound_the_newest_version_stays_and_keeps_the_author_it_came_with() {
    let queue = queue();
    queue.push(version("a", "alice", Cause::Live));
    queue.state.lock().bytes = LIVE.bytes;
    queue.push(version("b", "bob", Cause::Live));
    // What a list says of the same version.
    queue.push(version("b", "nobody", Cause::Resync));
    let taken = queue.take(&by(Instant::now()));
    let [Item::Write(write)] = &taken[..] else {
        panic!("{taken:?}");
    };
    assert_eq!(write.change.content.as_deref(), Some(&b"b"[..]));
    let Attribution::Exact(who) = &write.change.attribution else {
        panic!("{write:?}");
    };
    assert_eq!(who.username, "bob");
}

#[tokio::test(start_paused = true)]
async fn a_change_without_author_is_not_taken_before_its_observation_must_be_there() {
    let queue = queue();
    queue.push(write("a", Cause::Live, true));
    a_moment().await;
    let covered = Instant::now();
    a_moment().await;
    // Neither of these waits for an observation of its own.
    queue.push(write("b", Cause::Live, false));
    queue.push(write("c", Cause::Resync, true));
    queue.push(write("late", Cause::Live, true));
    queue.push(write("behind", Cause::Live, false));
    assert_eq!(names(&queue.take(&by(covered))), ["a", "b", "c"]);
    assert!(queue.take(&by(covered)).is_empty());
    assert_eq!(names(&queue.take(&by(Instant::now()))), ["late", "behind"]);

    queue.push(write("late", Cause::Live, true));
    let any = Portion {
        limits: BatchLimits::default(),
        coverage: Coverage::LostSince(covered),
    };
    assert_eq!(names(&queue.take(&any)), ["late"]);
}

#[tokio::test(start_paused = true)]
async fn a_queue_knows_when_its_newest_change_without_author_came() {
    let queue = queue();
    queue.push(write("a", Cause::Live, false));
    queue.push(write("b", Cause::Seed, true));
    assert_eq!(queue.unsettled(), None);
    queue.push(write("c", Cause::Live, true));
    a_moment().await;
    queue.push(write("d", Cause::Live, true));
    let newest = Instant::now();
    a_moment().await;
    queue.push(write("e", Cause::Live, false));
    assert_eq!(queue.unsettled(), Some(newest));
    queue.retain(|item| !names(std::slice::from_ref(item)).contains(&"c"));
    assert_eq!(queue.unsettled(), Some(newest));

    // Past the bound a newer version of a file takes the older one's place.
    queue.state.lock().bytes += LIVE.bytes;
    queue.push(write("d", Cause::Live, false));
    assert_eq!(queue.len(), 4);
    assert_eq!(queue.unsettled(), None);
    queue.push(write("a", Cause::Live, true));
    assert_eq!(queue.unsettled(), Some(Instant::now()));
    queue.state.lock().bytes -= LIVE.bytes;
    assert_eq!(queue.take(&by(Instant::now())).len(), 4);
    assert_eq!(queue.unsettled(), None);
}
