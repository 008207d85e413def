//! Over a real unix socket.

use std::time::Duration;

use proto::v1::attribution_client::AttributionClient;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;

use super::super::barrier::{Barrier, Coverage};
use super::super::endpoint::{BindAddress, Endpoint};
use super::super::fixtures::metrics;
use super::super::observation::tests::wire;
use super::super::store::Limits;
use super::*;
use crate::leadership::Role;

struct Reverser {
    store: Arc<Store>,
    interest: watch::Sender<Arc<v1::InterestSet>>,
    applied: watch::Receiver<u64>,
    presence: watch::Receiver<Presence>,
    barrier: Barrier,
    address: BindAddress,
    served: JoinHandle<()>,
    stop: oneshot::Sender<()>,
    _dir: tempfile::TempDir,
}

impl Reverser {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let address = BindAddress::Unix(dir.path().join("attribution.sock"));
        let store = Arc::new(Store::new(Limits::default(), metrics()));
        let (interest, interests) = watch::channel(Arc::default());
        let (applying, applied) = watch::channel(7);
        let (connecting, presence) = watch::channel(Presence::now(Sidecar::Live));
        let (asking, asked) = watch::channel(Asked::default());
        let (reaching, reached) = watch::channel(0);
        let barrier = Barrier::new(asking, reached, presence.clone());
        let signals = SidecarSignals {
            interest: interests,
            applied: applying,
            presence: connecting,
            roles: watch::channel(Role::Alone).1,
            asked,
            reached: reaching,
        };
        let service = ReportService::new(Arc::clone(&store), signals);
        let router = Server::builder().add_service(service.into_server());
        let endpoint = Endpoint::bind(&address).await.unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(async move {
            endpoint
                .serve(router, async {
                    let _ = stopped.await;
                })
                .await
                .unwrap();
        });
        Self {
            store,
            interest,
            applied,
            presence,
            barrier,
            address,
            served,
            stop,
            _dir: dir,
        }
    }

    async fn is(&mut self, state: Sidecar) {
        self.presence
            .wait_for(|now| now.sidecar == state)
            .await
            .unwrap();
    }

    async fn connect(&self, session: &str) -> Client {
        let mut client = AttributionClient::connect(self.address.to_string())
            .await
            .unwrap();
        let (outbox, outgoing) = mpsc::channel(64);
        outbox.send(hello(session)).await.unwrap();
        let responses = client
            .report(ReceiverStream::new(outgoing))
            .await
            .unwrap()
            .into_inner();
        Client { outbox, responses }
    }
}

struct Client {
    outbox: mpsc::Sender<v1::ReportRequest>,
    responses: Streaming<v1::ReportResponse>,
}

impl Client {
    async fn send(&self, message: Incoming) {
        self.outbox.send(request(message)).await.unwrap();
    }

    async fn observe(&self, sequence: u64) {
        let mut observation = wire(sequence);
        observation.base_resource_version = sequence.to_string();
        self.send(Incoming::Observation(observation)).await;
    }

    async fn next(&mut self) -> Outgoing {
        self.responses
            .message()
            .await
            .unwrap()
            .unwrap()
            .message
            .unwrap()
    }

    /// The answer to Hello: what is here of the session.
    async fn greeted(&mut self, known: u64) {
        let answer = Outgoing::Ack(v1::Ack { sequence: known });
        assert_eq!(self.next().await, answer);
    }

    /// Acknowledgements may be fewer than observations, never out of order.
    async fn acknowledged(&mut self, up_to: u64) {
        let mut before = 0;
        loop {
            let Outgoing::Ack(v1::Ack { sequence }) = self.next().await else {
                panic!("not an acknowledgement");
            };
            assert!((before..=up_to).contains(&sequence));
            before = sequence;
            if sequence == up_to {
                return;
            }
        }
    }

    async fn marked(&mut self) -> u64 {
        loop {
            match self.next().await {
                Outgoing::Mark(mark) => return mark.number,
                Outgoing::Ack(_) => {}
                other @ (Outgoing::InterestSet(_) | Outgoing::Standing(_)) => {
                    panic!("not a mark: {other:?}")
                }
            }
        }
    }

    async fn reach(&self, number: u64) {
        self.send(Incoming::MarkReached(v1::MarkReached { number }))
            .await;
    }

    async fn refused(&mut self) -> tonic::Code {
        loop {
            if let Err(status) = self.responses.message().await {
                return status.code();
            }
        }
    }
}

fn request(message: Incoming) -> v1::ReportRequest {
    v1::ReportRequest {
        message: Some(message),
    }
}

fn hello(session: &str) -> v1::ReportRequest {
    request(Incoming::Hello(v1::Hello {
        session: session.into(),
    }))
}

#[tokio::test]
async fn an_acknowledged_observation_is_in_the_store() {
    let mut reverser = Reverser::start().await;
    assert_eq!(*reverser.applied.borrow(), 0);
    let mut client = reverser.connect("s").await;
    reverser.is(Sidecar::Replaying).await;
    for sequence in 1..=200 {
        client.observe(sequence).await;
        if sequence % 50 == 0 {
            client.acknowledged(sequence).await;
            let waiting = reverser.store.pending(1);
            assert_eq!(waiting[0].base, sequence.to_string());
        }
    }
    client
        .send(Incoming::ReplayFinished(v1::ReplayFinished {}))
        .await;
    reverser.is(Sidecar::Live).await;
    drop(client);
    reverser.is(Sidecar::Away).await;
}

#[tokio::test]
async fn what_is_replayed_on_a_second_stream_counts_once() {
    let mut reverser = Reverser::start().await;
    let mut first = reverser.connect("s").await;
    for sequence in 1..=3 {
        first.observe(sequence).await;
    }
    first.acknowledged(3).await;
    drop(first);
    reverser.is(Sidecar::Away).await;
    let mut second = reverser.connect("s").await;
    second.greeted(3).await;
    for sequence in 2..=5 {
        second.observe(sequence).await;
    }
    second.acknowledged(5).await;
    assert_eq!(reverser.store.metrics().counts(), (5, 2, 0));
    assert_eq!(reverser.store.pending_total(), 5);
    // Another process counts from the start.
    let mut restarted = reverser.connect("t").await;
    restarted.greeted(0).await;
    restarted.observe(1).await;
    restarted.acknowledged(1).await;
    assert_eq!(reverser.store.metrics().counts(), (6, 2, 0));
}

#[tokio::test]
async fn a_malformed_observation_does_not_end_the_stream() {
    let reverser = Reverser::start().await;
    let mut client = reverser.connect("s").await;
    let malformed = v1::Observation {
        spec_hash: "no hash".into(),
        ..wire(1)
    };
    client.send(Incoming::Observation(malformed)).await;
    client.acknowledged(1).await;
    client
        .outbox
        .send(v1::ReportRequest { message: None })
        .await
        .unwrap();
    client.observe(2).await;
    client.acknowledged(2).await;
    assert_eq!(reverser.store.metrics().counts(), (1, 0, 1));
}

#[tokio::test]
async fn the_interest_set_in_force_and_every_later_one_are_sent() {
    let mut reverser = Reverser::start().await;
    let set = |generation| {
        Arc::new(v1::InterestSet {
            generation,
            interests: Vec::new(),
        })
    };
    reverser.interest.send(set(1)).unwrap();
    let mut client = reverser.connect("s").await;
    client.greeted(0).await;
    for generation in [1, 2] {
        let Outgoing::InterestSet(sent) = client.next().await else {
            panic!("not an interest set");
        };
        assert_eq!(sent.generation, generation);
        client
            .send(Incoming::InterestApplied(v1::InterestApplied {
                generation,
            }))
            .await;
        reverser
            .applied
            .wait_for(|now| *now == generation)
            .await
            .unwrap();
        reverser.interest.send(set(generation + 1)).unwrap();
    }
    drop(client);
    reverser.applied.wait_for(|now| *now == 0).await.unwrap();
}

#[tokio::test]
async fn an_older_stream_that_ends_late_says_nothing_of_the_newer() {
    let mut reverser = Reverser::start().await;
    let mut old = reverser.connect("s").await;
    old.observe(1).await;
    old.acknowledged(1).await;
    let mut new = reverser.connect("s").await;
    new.observe(1).await;
    new.acknowledged(1).await;
    drop(old);
    new.send(Incoming::ReplayFinished(v1::ReplayFinished {}))
        .await;
    reverser.is(Sidecar::Live).await;
    for sequence in 2..=9 {
        new.observe(sequence).await;
        new.acknowledged(sequence).await;
        assert_eq!(reverser.presence.borrow().sidecar, Sidecar::Live);
    }
}

#[tokio::test]
async fn a_mark_that_is_reached_leaves_nothing_on_its_way() {
    let mut reverser = Reverser::start().await;
    let mut client = reverser.connect("s").await;
    client
        .send(Incoming::ReplayFinished(v1::ReplayFinished {}))
        .await;
    reverser.is(Sidecar::Live).await;
    let passed = tokio::spawn({
        let barrier = reverser.barrier.clone();
        async move { barrier.pass(Instant::now()).await }
    });
    assert_eq!(client.marked().await, 1);
    // These were made before the mark came.
    for sequence in 1..=500 {
        client.observe(sequence).await;
    }
    client.reach(1).await;
    assert!(matches!(passed.await.unwrap(), Coverage::Until(_)));
    assert_eq!(reverser.store.pending_total(), 500);
}

#[tokio::test]
async fn a_mark_that_a_stream_left_unanswered_is_asked_for_on_the_next() {
    let mut reverser = Reverser::start().await;
    let mut first = reverser.connect("s").await;
    reverser.is(Sidecar::Replaying).await;
    let passed = tokio::spawn({
        let barrier = reverser.barrier.clone();
        async move { barrier.pass(Instant::now()).await }
    });
    assert_eq!(first.marked().await, 1);
    let mut second = reverser.connect("s").await;
    assert_eq!(second.marked().await, 1);
    // Only the newest stream speaks for the sidecar.
    first.reach(1).await;
    first.observe(1).await;
    first.acknowledged(1).await;
    assert!(!passed.is_finished());
    drop(first);
    second.reach(1).await;
    assert!(matches!(passed.await.unwrap(), Coverage::Until(_)));

    // What is reached is not asked for again.
    let mut third = reverser.connect("s").await;
    third.observe(2).await;
    third.acknowledged(2).await;
}

#[tokio::test]
async fn a_stream_begins_with_one_hello() {
    let reverser = Reverser::start().await;
    let mut twice = reverser.connect("s").await;
    twice.outbox.send(hello("s")).await.unwrap();
    assert_eq!(twice.refused().await, tonic::Code::FailedPrecondition);
    for session in ["", &"x".repeat(1000)] {
        let mut unnamed = reverser.connect(session).await;
        assert_eq!(unnamed.refused().await, tonic::Code::InvalidArgument);
    }
    let mut zero = reverser.connect("s").await;
    zero.observe(0).await;
    assert_eq!(zero.refused().await, tonic::Code::InvalidArgument);
}

#[tokio::test]
async fn the_socket_goes_with_the_server() {
    let reverser = Reverser::start().await;
    let BindAddress::Unix(path) = reverser.address.clone() else {
        panic!("not a unix socket");
    };
    assert!(path.exists());
    drop(reverser.stop);
    let ended = tokio::time::timeout(Duration::from_secs(60), reverser.served);
    ended.await.unwrap().unwrap();
    assert!(!path.exists());
}
