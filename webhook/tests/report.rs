//! Observations on the wire: acknowledged before the answer, replayed, and only what is asked for.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::reverser::Reverser;
use common::{eventually, review};
use http::Request;
use http_body_util::Full;
use proto::v1::report_request::Message;
use proto::v1::{Interest, InterestSet};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use webhook::admission::Admission;
use webhook::endpoint::ReverserEndpoint;
use webhook::metrics::Metrics;
use webhook::outbox::{Limits, Outbox};
use webhook::routing::Routing;
use webhook::stream::Reporter;
use webhook::token::{PATH, Route};

/// A sidecar without its sockets to the apiserver.
struct Sidecar {
    admission: Arc<Admission>,
    outbox: Arc<Outbox>,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
    reporter: JoinHandle<()>,
}

impl Sidecar {
    fn start(socket: &Path, limits: Limits) -> Self {
        let metrics = Arc::new(Metrics::new().unwrap());
        let outbox = Arc::new(Outbox::new(limits, Arc::clone(&metrics)));
        let interest = Arc::default();
        let admission = Admission::new(
            Route::open(),
            Arc::clone(&outbox),
            Arc::clone(&interest),
            Arc::clone(&metrics),
        );
        let shutdown = CancellationToken::new();
        let endpoint = ReverserEndpoint::Unix(socket.to_owned());
        let reporter = Reporter::new(endpoint, Arc::clone(&outbox), interest, Routing::default());
        Self {
            admission: Arc::new(admission),
            outbox,
            metrics,
            reporter: tokio::spawn(reporter.run(shutdown.clone())),
            shutdown,
        }
    }

    /// Sends an admission; the handle ends with its answer.
    fn admit(&self, namespace: &str, name: &str) -> JoinHandle<()> {
        let admission = Arc::clone(&self.admission);
        let request = Request::post(PATH)
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(review(namespace, name))))
            .unwrap();
        tokio::spawn(async move {
            let response = admission.handle(request).await;
            assert_eq!(response.status(), 200);
        })
    }

    /// Answers wait from here on.
    async fn connected(&self) {
        eventually(async || self.metrics.connected.get() == 1).await;
    }
}

/// A deadline that no test meets: what waits then waits for an acknowledgement and nothing else.
fn patient() -> Limits {
    Limits {
        ack_deadline: Duration::from_secs(600),
        ..Limits::default()
    }
}

fn socket() -> (TempDir, std::path::PathBuf) {
    let directory = TempDir::new().unwrap();
    let socket = directory.path().join("attribution.sock");
    (directory, socket)
}

#[tokio::test]
async fn the_answer_comes_after_the_acknowledgement() {
    let (_directory, socket) = socket();
    let mut reverser = Reverser::listen(&socket);
    let sidecar = Sidecar::start(&socket, patient());
    reverser.greeted().await;
    sidecar.connected().await;

    let answer = sidecar.admit("lab", "a");
    let Message::Observation(observation) = reverser.next().await else {
        panic!("no observation");
    };
    assert_eq!(observation.sequence, 1);
    assert_eq!(observation.uid, "uid-of-a");
    assert_eq!(observation.username, "jane");
    assert!(!answer.is_finished());
    reverser.acknowledge(1);
    answer.await.unwrap();
    assert_eq!(sidecar.outbox.depth(), 0);
}

#[tokio::test]
async fn one_acknowledgement_releases_all_up_to_it() {
    let (_directory, socket) = socket();
    let mut reverser = Reverser::listen(&socket);
    let sidecar = Sidecar::start(&socket, patient());
    reverser.greeted().await;
    sidecar.connected().await;

    let answers = ["a", "b", "c"].map(|name| sidecar.admit("lab", name));
    for sequence in 1..=3 {
        assert_eq!(reverser.observation().await.0, sequence);
    }
    reverser.acknowledge(3);
    for answer in answers {
        answer.await.unwrap();
    }
}

#[tokio::test]
async fn a_reverser_that_never_acknowledges_delays_no_answer_for_long() {
    let (_directory, socket) = socket();
    let mut reverser = Reverser::listen(&socket);
    let sidecar = Sidecar::start(&socket, Limits::default());
    reverser.greeted().await;
    sidecar.connected().await;

    for name in ["a", "b", "c"] {
        sidecar.admit("lab", name).await.unwrap();
    }
    assert_eq!(sidecar.metrics.ack_timeouts.get(), 1);
    assert_eq!(sidecar.outbox.depth(), 3);
}

#[tokio::test]
async fn what_the_reverser_missed_is_replayed_once_and_in_order() {
    let (_directory, socket) = socket();
    let sidecar = Sidecar::start(&socket, Limits::default());
    for name in ["a", "b"] {
        sidecar.admit("lab", name).await.unwrap();
    }

    let mut reverser = Reverser::listen(&socket);
    let first = reverser.greet(0).await;
    assert_eq!(reverser.observation().await, (1, "a".to_owned()));
    assert_eq!(reverser.observation().await, (2, "b".to_owned()));
    assert!(matches!(reverser.next().await, Message::ReplayFinished(_)));
    reverser.acknowledge(1);
    eventually(async || sidecar.outbox.depth() == 1).await;
    reverser.stop().await;
    eventually(async || sidecar.metrics.connected.get() == 0).await;
    sidecar.admit("lab", "c").await.unwrap();

    let mut reverser = Reverser::listen(&socket);
    assert_eq!(reverser.greet(1).await, first);
    assert_eq!(reverser.observation().await, (2, "b".to_owned()));
    assert_eq!(reverser.observation().await, (3, "c".to_owned()));
    assert!(matches!(reverser.next().await, Message::ReplayFinished(_)));
    reverser.acknowledge(3);
    eventually(async || sidecar.outbox.depth() == 0).await;

    let answer = sidecar.admit("lab", "d");
    assert_eq!(reverser.observation().await, (4, "d".to_owned()));
    reverser.acknowledge(4);
    answer.await.unwrap();
}

#[tokio::test]
async fn an_answer_that_waits_is_let_go_when_the_reverser_dies() {
    let (_directory, socket) = socket();
    let mut reverser = Reverser::listen(&socket);
    let sidecar = Sidecar::start(&socket, patient());
    reverser.greeted().await;
    sidecar.connected().await;
    let answer = sidecar.admit("lab", "a");
    reverser.observation().await;
    reverser.stop().await;
    answer.await.unwrap();
    assert_eq!(sidecar.outbox.depth(), 1);
}

#[tokio::test]
async fn only_what_the_reverser_is_interested_in_is_reported() {
    let (_directory, socket) = socket();
    let mut reverser = Reverser::listen(&socket);
    let sidecar = Sidecar::start(&socket, Limits::default());
    reverser.greeted().await;
    let interest = |namespace: &str| Interest {
        group: String::new(),
        resource: "configmaps".to_owned(),
        namespace: namespace.to_owned(),
    };
    reverser.interest(InterestSet {
        generation: 5,
        interests: vec![interest("lab")],
    });
    let Message::InterestApplied(applied) = reverser.next().await else {
        panic!("the set is confirmed");
    };
    assert_eq!(applied.generation, 5);

    sidecar.admit("other", "a").await.unwrap();
    let answer = sidecar.admit("lab", "b");
    assert_eq!(reverser.observation().await, (1, "b".to_owned()));
    reverser.acknowledge(1);
    answer.await.unwrap();
    assert_eq!(sidecar.outbox.depth(), 0);
}

#[tokio::test]
async fn a_mark_is_answered_after_all_that_was_observed_before_it() {
    let (_directory, socket) = socket();
    let mut reverser = Reverser::listen(&socket);
    let sidecar = Sidecar::start(&socket, Limits::default());
    reverser.greeted().await;
    sidecar.connected().await;
    // Answered without an acknowledgement, as from a reverser that hangs.
    for name in ["a", "b"] {
        sidecar.admit("lab", name).await.unwrap();
    }
    reverser.mumble();
    reverser.mark(1);
    for name in ["a", "b"] {
        assert_eq!(reverser.observation().await.1, name);
    }
    let Message::MarkReached(reached) = reverser.next().await else {
        panic!("the mark is answered");
    };
    assert_eq!(reached.number, 1);
}

#[tokio::test]
async fn the_end_of_the_process_waits_for_the_last_acknowledgements() {
    let (_directory, socket) = socket();
    let mut reverser = Reverser::listen(&socket);
    let sidecar = Sidecar::start(&socket, patient());
    reverser.greeted().await;
    sidecar.connected().await;
    let answer = sidecar.admit("lab", "a");
    reverser.observation().await;
    sidecar.shutdown.cancel();
    reverser.acknowledge(1);
    answer.await.unwrap();
    sidecar.reporter.await.unwrap();
    assert_eq!(sidecar.outbox.depth(), 0);
}

#[tokio::test]
async fn the_end_of_the_process_does_not_wait_for_a_reverser_that_is_away() {
    let (_directory, socket) = socket();
    let sidecar = Sidecar::start(&socket, Limits::default());
    sidecar.admit("lab", "a").await.unwrap();
    sidecar.shutdown.cancel();
    sidecar.reporter.await.unwrap();
}
