use futures::{FutureExt, Stream, StreamExt};
use proto::v1::ReportRequest;
use proto::v1::report_request::Message;
use std::pin::Pin;
use tokio::time::{Instant, advance};

use super::*;

const DEADLINE: Duration = Duration::from_millis(50);

fn outbox(limits: Limits) -> Arc<Outbox> {
    Arc::new(Outbox::new(limits, Arc::new(Metrics::new().unwrap())))
}

fn observation(name: &str) -> Observation {
    Observation {
        name: name.to_owned(),
        ..Observation::default()
    }
}

impl Outbox {
    async fn deliver(&self, observation: Observation) -> Delivery {
        self.delivered(self.push(observation)).await
    }
}

type Transmissions = Pin<Box<dyn Stream<Item = ReportRequest> + Send>>;

/// What is on the wire by now, with observations as (sequence, name).
fn wire(transmissions: &mut Transmissions) -> Vec<String> {
    let mut wire = Vec::new();
    while let Some(Some(request)) = transmissions.next().now_or_never() {
        wire.push(match request.message.unwrap() {
            Message::Hello(_) => "hello".to_owned(),
            Message::Observation(it) => format!("{}:{}", it.sequence, it.name),
            Message::ReplayFinished(_) => "replayed".to_owned(),
            Message::InterestApplied(it) => format!("applied:{}", it.generation),
            Message::MarkReached(it) => format!("reached:{}", it.number),
        });
    }
    wire
}

/// To a reverser that has everything up to `known`.
fn connected_to(outbox: &Arc<Outbox>, known: u64) -> (Link, Transmissions) {
    let link = outbox.link();
    let transmissions = link.transmissions().boxed();
    link.acknowledge(known);
    (link, transmissions)
}

/// To one that knows nothing.
fn connected(outbox: &Arc<Outbox>) -> (Link, Transmissions) {
    connected_to(outbox, 0)
}

fn deliver(outbox: &Arc<Outbox>, name: &str) -> tokio::task::JoinHandle<Delivery> {
    let (outbox, observation) = (Arc::clone(outbox), observation(name));
    tokio::spawn(async move { outbox.deliver(observation).await })
}

#[tokio::test(start_paused = true)]
async fn an_answer_never_waits_while_the_reverser_is_away() {
    let outbox = outbox(Limits::default());
    for name in ["a", "b"] {
        let delivery = outbox.deliver(observation(name)).now_or_never();
        assert_eq!(delivery, Some(Delivery::Unconfirmed));
    }
    assert_eq!(outbox.depth(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_answer_waits_for_its_acknowledgement() {
    let outbox = outbox(Limits::default());
    let (link, mut transmissions) = connected(&outbox);
    assert_eq!(wire(&mut transmissions), ["hello", "replayed"]);
    let (first, second) = (deliver(&outbox, "a"), deliver(&outbox, "b"));
    tokio::task::yield_now().await;
    assert_eq!(wire(&mut transmissions), ["1:a", "2:b"]);
    assert!(!first.is_finished());
    link.acknowledge(2);
    assert_eq!(first.await.unwrap(), Delivery::Acknowledged);
    assert_eq!(second.await.unwrap(), Delivery::Acknowledged);
    assert!(link.is_drained());
}

#[tokio::test(start_paused = true)]
async fn an_answer_waits_no_longer_than_the_deadline() {
    let outbox = outbox(Limits::default());
    let (_link, mut transmissions) = connected(&outbox);
    let started = Instant::now();
    let delivery = deliver(&outbox, "a").await.unwrap();
    assert_eq!(delivery, Delivery::TimedOut);
    assert_eq!(started.elapsed(), DEADLINE);
    assert_eq!(wire(&mut transmissions), ["hello", "replayed", "1:a"]);
    assert_eq!(outbox.depth(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_reverser_that_hangs_costs_the_deadline_once() {
    let outbox = outbox(Limits::default());
    let (link, mut transmissions) = connected(&outbox);
    deliver(&outbox, "a").await.unwrap();
    let delivery = outbox.deliver(observation("b")).now_or_never();
    assert_eq!(delivery, Some(Delivery::Unconfirmed));

    wire(&mut transmissions);
    link.acknowledge(1);
    let third = deliver(&outbox, "c");
    tokio::task::yield_now().await;
    assert!(!third.is_finished(), "caught up: answers wait again");
    wire(&mut transmissions);
    link.acknowledge(3);
    assert_eq!(third.await.unwrap(), Delivery::Acknowledged);
}

#[tokio::test(start_paused = true)]
async fn a_link_that_goes_down_lets_everyone_go_at_once() {
    let outbox = outbox(Limits::default());
    let (link, _transmissions) = connected(&outbox);
    let started = Instant::now();
    let waiting = deliver(&outbox, "a");
    tokio::task::yield_now().await;
    drop(link);
    assert_eq!(waiting.await.unwrap(), Delivery::Unconfirmed);
    assert_eq!(started.elapsed(), Duration::ZERO);
    let delivery = outbox.deliver(observation("b")).now_or_never();
    assert_eq!(delivery, Some(Delivery::Unconfirmed));
}

#[tokio::test(start_paused = true)]
async fn a_reverser_that_comes_back_is_told_what_it_lacks_under_the_old_number() {
    let outbox = outbox(Limits::default());
    let (link, mut transmissions) = connected(&outbox);
    for name in ["a", "b", "c"] {
        deliver(&outbox, name).await.unwrap();
    }
    wire(&mut transmissions);
    link.acknowledge(1);
    drop(link);
    assert_eq!(transmissions.next().await, None, "the old stream ends");
    deliver(&outbox, "d").await.unwrap();

    // It had taken in one more before the stream broke.
    let (link, mut transmissions) = connected_to(&outbox, 2);
    deliver(&outbox, "e").await.unwrap();
    assert_eq!(
        wire(&mut transmissions),
        ["hello", "3:c", "4:d", "replayed", "5:e"]
    );
    link.acknowledge(4);
    assert_eq!(outbox.depth(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_reverser_that_knows_nothing_is_told_what_another_had() {
    let outbox = outbox(Limits::default());
    let (link, mut transmissions) = connected(&outbox);
    for name in ["a", "b"] {
        deliver(&outbox, name).await.unwrap();
    }
    wire(&mut transmissions);
    link.acknowledge(2);
    assert!(link.is_drained());
    drop(link);

    let (link, mut transmissions) = connected(&outbox);
    assert_eq!(
        wire(&mut transmissions),
        ["hello", "1:a", "2:b", "replayed"]
    );
    assert_eq!(outbox.depth(), 2);
    let delivery = outbox.deliver(observation("c")).now_or_never();
    assert_eq!(delivery, Some(Delivery::Unconfirmed), "it is behind");
    wire(&mut transmissions);
    link.acknowledge(3);
    assert!(link.is_drained());
}

#[tokio::test(start_paused = true)]
async fn what_the_reverser_had_goes_in_time_and_is_no_loss() {
    let outbox = outbox(Limits {
        observations: 2,
        ..Limits::default()
    });
    let (link, mut transmissions) = connected(&outbox);
    for name in ["a", "b", "c"] {
        deliver(&outbox, name).await.unwrap();
        wire(&mut transmissions);
        link.acknowledge(u64::MAX);
    }
    advance(Duration::from_secs(60)).await;
    deliver(&outbox, "d").await.unwrap();
    let metrics = String::from_utf8(outbox.metrics.render()).unwrap();
    for reason in ["overflow", "expired"] {
        let none = format!("dropped_total{{reason=\"{reason}\"}} 0");
        assert!(metrics.contains(&none), "{metrics}");
    }
    drop(link);
    let (_link, mut transmissions) = connected(&outbox);
    assert_eq!(wire(&mut transmissions), ["hello", "4:d", "replayed"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_told_before_the_reverser_answers() {
    let outbox = outbox(Limits::default());
    outbox.deliver(observation("a")).await;
    let link = outbox.link();
    let mut transmissions = link.transmissions().boxed();
    assert_eq!(wire(&mut transmissions), ["hello"]);
    let delivery = outbox.deliver(observation("b")).now_or_never();
    assert_eq!(delivery, Some(Delivery::Unconfirmed));
    link.acknowledge(0);
    assert_eq!(wire(&mut transmissions), ["1:a", "replayed", "2:b"]);
}

#[tokio::test(start_paused = true)]
async fn answers_wait_again_once_the_replay_is_acknowledged() {
    let outbox = outbox(Limits::default());
    deliver(&outbox, "a").await.unwrap();
    let (link, mut transmissions) = connected(&outbox);
    let delivery = outbox.deliver(observation("b")).now_or_never();
    assert_eq!(delivery, Some(Delivery::Unconfirmed));
    wire(&mut transmissions);
    link.acknowledge(1);
    let started = Instant::now();
    assert_eq!(deliver(&outbox, "c").await.unwrap(), Delivery::TimedOut);
    assert_eq!(started.elapsed(), DEADLINE);
}

#[tokio::test(start_paused = true)]
async fn at_the_bound_the_oldest_goes() {
    let outbox = outbox(Limits {
        observations: 3,
        ..Limits::default()
    });
    for name in ["a", "b", "c", "d", "e"] {
        outbox.deliver(observation(name)).await;
    }
    let (_link, mut transmissions) = connected(&outbox);
    assert_eq!(
        wire(&mut transmissions),
        ["hello", "3:c", "4:d", "5:e", "replayed"]
    );
    let metrics = String::from_utf8(outbox.metrics.render()).unwrap();
    assert!(metrics.contains(r#"dropped_total{reason="overflow"} 2"#));
}

#[tokio::test(start_paused = true)]
async fn long_names_can_not_take_more_memory_than_the_bound() {
    let outbox = outbox(Limits {
        bytes: 1000,
        ..Limits::default()
    });
    for _ in 0..10 {
        outbox.deliver(observation(&"x".repeat(400))).await;
    }
    assert_eq!(outbox.depth(), 2);
    outbox.deliver(observation(&"x".repeat(2000))).await;
    assert_eq!(outbox.depth(), 0);
    outbox.deliver(observation("small")).await;
    assert_eq!(outbox.depth(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_dropped_while_the_reverser_hangs_keeps_nobody_waiting() {
    let outbox = outbox(Limits {
        observations: 1,
        ..Limits::default()
    });
    let (_link, _transmissions) = connected(&outbox);
    let first = deliver(&outbox, "a");
    tokio::task::yield_now().await;
    let _second = deliver(&outbox, "b");
    assert_eq!(first.await.unwrap(), Delivery::Unconfirmed);
}

#[tokio::test(start_paused = true)]
async fn after_a_minute_an_observation_goes() {
    let outbox = outbox(Limits::default());
    outbox.deliver(observation("a")).await;
    advance(Duration::from_secs(59)).await;
    outbox.deliver(observation("b")).await;
    advance(Duration::from_secs(1)).await;
    assert_eq!(outbox.depth(), 1);
    let (_link, mut transmissions) = connected(&outbox);
    assert_eq!(wire(&mut transmissions), ["hello", "2:b", "replayed"]);
    let metrics = String::from_utf8(outbox.metrics.render()).unwrap();
    assert!(metrics.contains(r#"dropped_total{reason="expired"} 1"#));
}

#[tokio::test(start_paused = true)]
async fn what_was_never_sent_can_not_be_acknowledged() {
    let outbox = outbox(Limits::default());
    let (link, mut transmissions) = connected(&outbox);
    deliver(&outbox, "a").await.unwrap();
    link.acknowledge(u64::MAX);
    assert_eq!(outbox.depth(), 1);
    wire(&mut transmissions);
    link.acknowledge(u64::MAX);
    assert_eq!(outbox.depth(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_link_that_was_replaced_has_no_say() {
    let outbox = outbox(Limits::default());
    let (old, mut old_transmissions) = connected(&outbox);
    deliver(&outbox, "a").await.unwrap();
    wire(&mut old_transmissions);
    let (new, mut transmissions) = connected(&outbox);
    old.acknowledge(1);
    old.applied(7);
    old.mark(7);
    assert_eq!(outbox.depth(), 1);
    assert_eq!(wire(&mut old_transmissions), Vec::<String>::new());
    drop(old);
    assert_eq!(wire(&mut transmissions), ["hello", "1:a", "replayed"]);
    assert_eq!(outbox.metrics.connected.get(), 1);
    new.acknowledge(1);
    assert_eq!(outbox.depth(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_latest_interest_that_was_applied_is_reported_after_the_replay() {
    let outbox = outbox(Limits::default());
    outbox.deliver(observation("a")).await;
    let (link, mut transmissions) = connected(&outbox);
    link.applied(1);
    link.applied(2);
    assert_eq!(
        wire(&mut transmissions),
        ["hello", "1:a", "replayed", "applied:2"]
    );
    link.applied(3);
    assert_eq!(wire(&mut transmissions), ["applied:3"]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_waits_is_woken_by_an_observation() {
    let outbox = outbox(Limits::default());
    let (_link, mut transmissions) = connected(&outbox);
    wire(&mut transmissions);
    let next = tokio::spawn(async move { transmissions.next().await });
    tokio::task::yield_now().await;
    let _waiting = deliver(&outbox, "a");
    let message = next.await.unwrap().unwrap().message.unwrap();
    assert!(matches!(message, Message::Observation(it) if it.sequence == 1));
}

#[tokio::test(start_paused = true)]
async fn a_mark_is_reached_after_all_that_was_there_when_it_came() {
    let outbox = outbox(Limits::default());
    let (link, mut transmissions) = connected(&outbox);
    for name in ["a", "b"] {
        deliver(&outbox, name).await.unwrap();
    }
    link.mark(1);
    deliver(&outbox, "c").await.unwrap();
    assert_eq!(
        wire(&mut transmissions),
        ["hello", "replayed", "1:a", "2:b", "reached:1", "3:c"]
    );
    // Nothing new: at once.
    link.mark(2);
    assert_eq!(wire(&mut transmissions), ["reached:2"]);
    link.acknowledge(3);
    link.mark(3);
    assert_eq!(wire(&mut transmissions), ["reached:3"]);
}

#[tokio::test(start_paused = true)]
async fn a_mark_waits_for_the_replay() {
    let outbox = outbox(Limits::default());
    deliver(&outbox, "a").await.unwrap();
    let (link, mut transmissions) = connected(&outbox);
    link.mark(1);
    deliver(&outbox, "b").await.unwrap();
    assert_eq!(
        wire(&mut transmissions),
        ["hello", "1:a", "replayed", "reached:1", "2:b"]
    );
}

#[tokio::test(start_paused = true)]
async fn marks_that_keep_coming_hold_up_neither_the_first_nor_each_other() {
    let outbox = outbox(Limits::default());
    let (link, mut transmissions) = connected(&outbox);
    assert_eq!(wire(&mut transmissions), ["hello", "replayed"]);
    for (number, name) in [(1, "a"), (2, "b"), (3, "c")] {
        deliver(&outbox, name).await.unwrap();
        link.mark(number);
    }
    assert_eq!(
        wire(&mut transmissions),
        ["1:a", "reached:1", "2:b", "3:c", "reached:3"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_mark_holds_for_what_was_dropped_and_ends_with_its_link() {
    let outbox = outbox(Limits {
        observations: 1,
        ..Limits::default()
    });
    let (link, mut transmissions) = connected(&outbox);
    deliver(&outbox, "a").await.unwrap();
    link.mark(1);
    deliver(&outbox, "b").await.unwrap();
    assert_eq!(
        wire(&mut transmissions),
        ["hello", "replayed", "reached:1", "2:b"]
    );
    link.mark(2);
    drop(link);
    let (_link, mut transmissions) = connected(&outbox);
    assert_eq!(wire(&mut transmissions), ["hello", "2:b", "replayed"]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_waits_is_woken_by_a_mark() {
    let outbox = outbox(Limits::default());
    let (link, mut transmissions) = connected(&outbox);
    wire(&mut transmissions);
    let next = tokio::spawn(async move { transmissions.next().await });
    tokio::task::yield_now().await;
    link.mark(4);
    let message = next.await.unwrap().unwrap().message.unwrap();
    assert!(matches!(message, Message::MarkReached(it) if it.number == 4));
}
