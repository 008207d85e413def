//! One list and watch: lists everything, then trails events, for as long as the plan wants it.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kube::Client;
use manifest::ClusterMade;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::emit::Emitter;
use super::full_list::FullList;
use super::given::Given;
use super::index::Index;
use super::listing::{Listing, Lists, Piece};
use super::side_list::{Served, SideList, Standing};
use super::source::{Source, SourceError};
use super::subscriber::Subscriber;
use crate::attribution::Store;
use crate::change::DestinationKey;
use crate::observe::Metrics;
use crate::rules::WatchKey;
use crate::status::{StatusBoard, WatchPhase};

/// First and longest wait after an error.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// How often it is looked whether a subscriber that had to wait can be given everything now.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// What every watch needs.
#[derive(Clone)]
pub struct Shared {
    /// The apiserver.
    pub client: Client,
    /// Where admissions wait.
    pub store: Arc<Store>,
    /// Where progress is told.
    pub board: Arc<StatusBoard>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// What becomes of what the cluster makes for itself.
    pub cluster_made: ClusterMade,
}

/// The state between two awaits; a transition consumes it.
#[derive(Debug)]
enum State {
    /// There is no chain of versions, or it broke.
    Listing,
    Watching {
        resource_version: String,
    },
    Waiting {
        then: Box<State>,
    },
}

/// How a watch came to its end.
enum Ended {
    /// The server closed it, as it does every few minutes.
    Closed { resource_version: String },
    Failed {
        resource_version: String,
        error: SourceError,
    },
}

/// A list was complete.
#[derive(Debug)]
pub struct Synced {
    /// Whose.
    pub key: WatchKey,
    /// Which destinations were given everything, and the epoch at which they had asked for it.
    pub epochs: Vec<(DestinationKey, u64)>,
}

/// A list/watch, from its first list to the end of its time in the plan.
pub struct Task {
    key: WatchKey,
    shared: Shared,
    source: Source,
    /// Who wants the objects now.
    subscribers: watch::Receiver<Arc<Vec<Subscriber>>>,
    given: Given,
    synced: mpsc::Sender<Synced>,
    index: Index,
    /// A full list was complete.
    listed: bool,
    lists: Lists,
    beside: Beside,
    failures: u32,
    restarts: u64,
    /// The last error, until something works again: while it is tried, nothing is better yet.
    error: Option<String>,
}

/// The list beside the watch.
#[derive(Default)]
struct Beside {
    list: Option<SideList>,
    failures: u32,
    /// After a failure: when to try again.
    retry: Option<Instant>,
}

impl Task {
    /// Nothing was listed yet. `synced` is told whenever a list is complete.
    #[must_use]
    pub fn new(
        key: WatchKey,
        shared: Shared,
        subscribers: watch::Receiver<Arc<Vec<Subscriber>>>,
        synced: mpsc::Sender<Synced>,
    ) -> Self {
        let source = Source::new(shared.client.clone(), &key);
        Self {
            key,
            shared,
            source,
            subscribers,
            given: Given::default(),
            synced,
            index: Index::default(),
            listed: false,
            lists: Lists::Streamed,
            beside: Beside::default(),
            failures: 0,
            restarts: 0,
            error: None,
        }
    }

    /// Runs until aborted.
    pub async fn run(mut self) {
        let mut state = State::Listing;
        loop {
            state = self.step(state).await;
        }
    }

    async fn step(&mut self, state: State) -> State {
        match state {
            State::Listing => {
                self.report(WatchPhase::Listing);
                // What it relied upon is gone.
                self.end_beside();
                self.beside = Beside::default();
                match self.list().await {
                    Ok(resource_version) => {
                        self.worked();
                        info!(watch = %self.key, objects = self.index.len(), "listed");
                        self.tell_synced().await;
                        State::Watching { resource_version }
                    }
                    Err(error) => self.failed(State::Listing, &error),
                }
            }
            State::Watching { resource_version } => {
                self.report(WatchPhase::Watching);
                let started = Instant::now();
                match self.trail(resource_version).await {
                    Ended::Closed { resource_version } if started.elapsed() < BACKOFF.0 => {
                        let error = SourceError::Unavailable("the watch was closed at once".into());
                        self.failed(State::Watching { resource_version }, &error)
                    }
                    Ended::Closed { resource_version } => State::Watching { resource_version },
                    Ended::Failed {
                        error: SourceError::Expired(why),
                        ..
                    } => {
                        debug!(watch = %self.key, why, "the version expired; listing again");
                        self.shared.metrics.watch_restarted("expired");
                        self.restarts += 1;
                        // A version that expires at once would have us list without end.
                        tokio::time::sleep(backoff(1)).await;
                        State::Listing
                    }
                    Ended::Failed {
                        resource_version,
                        error,
                    } => self.failed(State::Watching { resource_version }, &error),
                }
            }
            State::Waiting { then } => {
                self.report(WatchPhase::Waiting);
                tokio::time::sleep(backoff(self.failures)).await;
                *then
            }
        }
    }

    fn failed(&mut self, then: State, error: &SourceError) -> State {
        self.failures = self.failures.saturating_add(1);
        self.restarts += 1;
        self.shared.metrics.watch_restarted("error");
        warn!(watch = %self.key, %error, "the list or watch failed; trying again");
        self.error = Some(error.to_string());
        State::Waiting {
            then: Box::new(then),
        }
    }

    fn worked(&mut self) {
        self.failures = 0;
        if self.error.take().is_some() {
            self.report(WatchPhase::Watching);
        }
    }

    fn report(&self, phase: WatchPhase) {
        let (objects, error) = (self.index.len(), self.error.clone());
        self.shared
            .board
            .watch(&self.key, phase, objects, self.restarts, error);
    }

    async fn tell_synced(&mut self) {
        let synced = Synced {
            key: self.key.clone(),
            epochs: self.given.epochs(),
        };
        // The manager holds the other end for as long as this task runs.
        let _ = self.synced.send(synced).await;
    }

    /// Lists everything at one version, and begins a chain of versions there.
    async fn list(&mut self) -> Result<String, SourceError> {
        let subscribers = self.subscribers.borrow_and_update().clone();
        let emitter = Emitter {
            key: &self.key,
            shared: &self.shared,
            subscribers: &subscribers,
        };
        let mut listing = Listing::begin(&self.source, &mut self.lists, &self.key).await?;
        let mut list = FullList::new(emitter, &mut self.index, &mut self.given, !self.listed);
        let version = loop {
            match listing.next().await {
                Ok(Piece::Object(object)) => list.listed(&object, &mut self.index),
                Ok(Piece::Event(event)) => list.event(event, &mut self.index),
                Ok(Piece::End(version)) => break version,
                Err(error) => {
                    if matches!(error, SourceError::Unfinished) {
                        self.lists = Lists::Paged;
                    }
                    return Err(error);
                }
            }
        };
        // Not as seen: the trail begins with a look at who subscribes now.
        let present = self.subscribers.borrow().clone();
        list.finish(&version, &present, &mut self.index, &mut self.given);
        self.listed = true;
        Ok(version)
    }

    /// Follows events from this version on, and lists beside them for those who want everything.
    async fn trail(&mut self, mut resource_version: String) -> Ended {
        let events = match self.source.events(&resource_version).await {
            Ok(events) => events,
            Err(error) => {
                return Ended::Failed {
                    resource_version,
                    error,
                };
            }
        };
        // A list that works says nothing of a watch that is forbidden; an open one does.
        self.worked();
        let mut events = std::pin::pin!(events);
        let mut look_again = tokio::time::interval(LOOK_AGAIN);
        // Who wants everything may have changed, or who can be given it.
        let mut look = true;
        loop {
            if std::mem::take(&mut look) {
                self.list_beside();
            }
            let list = self.beside.list.as_mut();
            let somebody_waits = self.beside.retry.is_some() || self.given.is_somebody_postponed();
            tokio::select! {
                // Who subscribes comes before what is sent to them, and that before older objects.
                biased;
                changed = self.subscribers.changed() => {
                    if changed.is_err() {
                        // The conductor is gone, and with it the process.
                        std::future::pending::<()>().await;
                    }
                    look = true;
                }
                event = events.next() => match event {
                    None => return Ended::Closed { resource_version },
                    Some(Err(error)) => return Ended::Failed { resource_version, error },
                    Some(Ok(event)) => {
                        let subscribers = self.subscribers.borrow().clone();
                        let emitter = Emitter {
                            key: &self.key,
                            shared: &self.shared,
                            subscribers: &subscribers,
                        };
                        if let Some(version) = emitter.event(event, &mut self.index) {
                            resource_version = version;
                        }
                    }
                },
                Some(ready) = async { Some(list?.ready().await) } => match ready {
                    Ok(()) => look = self.go_on_beside(&resource_version).await,
                    Err(error) => self.failed_beside(&error),
                },
                _ = look_again.tick(), if somebody_waits => look = true,
            }
        }
    }

    /// Begins a list beside the watch where somebody wants one and none is under way, and keeps the
    /// one under way to those who want it still.
    fn list_beside(&mut self) {
        let subscribers = self.subscribers.borrow_and_update().clone();
        if let Some(list) = &mut self.beside.list {
            list.retain(&subscribers);
            self.beside.list.take_if(|list| list.is_done());
        }
        self.given.retain(&subscribers);
        if self.beside.list.is_some() || self.beside.retry.is_some_and(|at| Instant::now() < at) {
            return;
        }
        self.beside.retry = None;
        let takers: Vec<Subscriber> = self.given.wanting(&subscribers).cloned().collect();
        if !takers.is_empty() {
            let with_part = |taker: Subscriber| {
                let part = self.given.take_part(&taker);
                (taker, part)
            };
            let takers: Vec<_> = takers.into_iter().map(with_part).collect();
            debug!(watch = %self.key, destinations = takers.len(), "listing beside the watch");
            self.beside.list = Some(SideList::new(&self.source, takers));
        }
    }

    /// Returns whether somebody was served.
    async fn go_on_beside(&mut self, version: &str) -> bool {
        let Some(list) = &mut self.beside.list else {
            return false;
        };
        let standing = Standing {
            key: &self.key,
            shared: &self.shared,
            index: &self.index,
            version,
        };
        let subscribers = self.subscribers.borrow().clone();
        let served = list.work(&standing, |list| {
            self.given.wanting(&subscribers).any(|s| !list.serves(s))
        });
        if served.is_empty() {
            return false;
        }
        for served in served {
            match served {
                Served::Everything(taker) => {
                    info!(watch = %self.key, destination = %taker.key(), "listed beside the watch");
                    self.given.everything(&taker);
                }
                Served::Later((taker, part)) => self.given.postpone(&taker, part),
            }
        }
        self.beside.failures = 0;
        self.worked();
        self.tell_synced().await;
        true
    }

    fn end_beside(&mut self) {
        let list = self.beside.list.take();
        for (taker, part) in list.into_iter().flat_map(SideList::into_takers) {
            self.given.part(&taker, part);
        }
    }

    fn failed_beside(&mut self, error: &SourceError) {
        self.end_beside();
        let beside = &mut self.beside;
        beside.failures = beside.failures.saturating_add(1);
        beside.retry = Some(Instant::now() + backoff(beside.failures));
        if let SourceError::Expired(why) = error {
            // Its reader waited for room for longer than the server keeps old versions.
            debug!(watch = %self.key, why, "a list beside the watch expired; trying again");
            return;
        }
        warn!(watch = %self.key, %error, "a list beside the watch failed; trying again");
        self.error = Some(error.to_string());
        self.report(WatchPhase::Watching);
    }
}

fn backoff(failures: u32) -> Duration {
    let doubled = BACKOFF
        .0
        .saturating_mul(1 << failures.saturating_sub(1).min(10));
    doubled.min(BACKOFF.1).mul_f64(rand::random_range(0.8..1.0))
}
