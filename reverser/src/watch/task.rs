//! One list and watch: lists page by page, then trails events, for as long as the plan wants it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kube::Client;
use kube::api::WatchEvent;
use manifest::SpecHash;
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tracing::{debug, info, warn};

use super::emit::{Emitter, Subscriber};
use super::index::{Index, ObjectName};
use super::object::Seen;
use super::source::{Source, SourceError};
use crate::attribution::Store;
use crate::change::{Cause, DestinationKey};
use crate::observe::Metrics;
use crate::rules::WatchKey;
use crate::status::{StatusBoard, WatchPhase};
use crate::workers::{Item, Sweep, Unit};

/// First and longest wait after an error.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// How long a list waits for room in one destination's queue. Past it that destination is listed
/// for later: its remote is away, and the others' objects must not wait for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a queue that was full is looked at again.
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
}

/// The state between two awaits; a transition consumes it.
#[derive(Debug)]
enum State {
    Listing,
    Watching { resource_version: String },
    Waiting { then: Box<State> },
}

/// How a watch came to its end.
enum Ended {
    /// The server closed it, as it does every few minutes.
    Closed { resource_version: String },
    /// A subscriber wants everything.
    ListWanted,
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
    /// The epoch up to which each destination has been given the whole list.
    seeded: HashMap<DestinationKey, u64>,
    /// Destinations whose queue was full for too long in the last list.
    postponed: HashSet<DestinationKey>,
    synced: mpsc::Sender<Synced>,
    index: Index,
    failures: u32,
    restarts: u64,
    /// The last error, until something works again: while it is tried, nothing is better yet.
    error: Option<String>,
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
            seeded: HashMap::new(),
            postponed: HashSet::new(),
            synced,
            index: Index::default(),
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
                match self.list().await {
                    Ok(resource_version) => {
                        self.worked();
                        info!(watch = %self.key, objects = self.index.len(), "listed");
                        // The manager holds the other end for as long as this task runs.
                        let synced = Synced {
                            key: self.key.clone(),
                            epochs: self.seeded.clone().into_iter().collect(),
                        };
                        let _ = self.synced.send(synced).await;
                        State::Watching { resource_version }
                    }
                    Err(error) => self.failed(State::Listing, &error),
                }
            }
            State::Watching { resource_version } => {
                self.report(WatchPhase::Watching);
                let started = tokio::time::Instant::now();
                match self.trail(resource_version).await {
                    Ended::Closed { resource_version } if started.elapsed() < BACKOFF.0 => {
                        let error = SourceError::Unavailable("the watch was closed at once".into());
                        self.failed(State::Watching { resource_version }, &error)
                    }
                    Ended::Closed { resource_version } => State::Watching { resource_version },
                    Ended::ListWanted => State::Listing,
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

    /// Lists everything at one version and brings index and subscribers to it.
    async fn list(&mut self) -> Result<String, SourceError> {
        let subscribers = self.subscribers.borrow_and_update().clone();
        let mut listing = Listing::new(&subscribers, &self.seeded);
        self.postponed.clear();
        let mut token = None;
        loop {
            let page = self.source.page(token.as_deref()).await?;
            for object in page.items.unwrap_or_default() {
                self.shared.metrics.objects_scanned_total.inc();
                self.listed(object, &mut listing).await;
            }
            if page.metadata.token.is_empty() {
                self.finish(listing).await;
                return Ok(page.metadata.resource_version);
            }
            token = Some(page.metadata.token);
        }
    }

    async fn listed(&mut self, object: Value, listing: &mut Listing<'_>) {
        let metadata = |field: &str| {
            object["metadata"][field]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        let (namespace, name) = (metadata("namespace"), metadata("name"));
        let seen = match Seen::new(object, &self.key.served) {
            Ok(seen) => seen,
            Err(error) => {
                warn!(watch = %self.key, namespace, name, %error, "an object was skipped");
                // It lives all the same: its file stays as it is.
                listing.keep_file(&self.key, &namespace, &name);
                listing.names.insert((namespace.into(), name.into()));
                return;
            }
        };
        listing.names.insert(seen.name());
        let before = self.index.get(&seen.name()).cloned();
        let emitter = Emitter {
            shared: &self.shared,
        };
        for (at, subscriber) in listing.subscribers.iter().enumerate() {
            if let Some(path) = subscriber.live_path(&seen) {
                listing.live[at].insert(SpecHash::of(path.as_bytes()));
            }
            let fresh = listing.fresh[at];
            if self.postponed.contains(subscriber.key()) {
                continue;
            }
            if let Some(write) = emitter.listed(&seen, before.as_ref(), subscriber, fresh) {
                let item = Item::Write(Box::new(write));
                if !subscriber.queue.push_when_room(item, PATIENCE).await {
                    self.postponed.insert(subscriber.key().clone());
                    // Whatever it was given before: what it has missed now is not known any more.
                    self.seeded.remove(subscriber.key());
                }
            }
        }
        self.index.insert(seen.name(), seen.entry());
    }

    /// The list is complete and consistent: what it did not hold is gone.
    async fn finish(&mut self, listing: Listing<'_>) {
        let emitter = Emitter {
            shared: &self.shared,
        };
        for name in self.index.names_not_in(&listing.names) {
            if let Some(entry) = self.index.remove(&name) {
                emitter.gone(&self.key, &name, &entry, None, listing.subscribers);
            }
        }
        for ((subscriber, live), fresh) in listing
            .subscribers
            .iter()
            .zip(listing.live)
            .zip(listing.fresh)
        {
            let destination = &subscriber.subscription.destination;
            if self.postponed.contains(&destination.key) {
                continue;
            }
            self.shared
                .board
                .objects(&destination.key, &self.key, live.len());
            let sweep = Sweep {
                destination: destination.clone(),
                unit: Unit::Listed {
                    selection: subscriber.subscription.selection.clone(),
                    namespace: self.key.namespace.clone(),
                    live: Arc::new(live),
                },
                cause: if fresh {
                    subscriber.cause
                } else {
                    Cause::Resync
                },
            };
            // Sweeps are few; behind a full queue they wait like live changes.
            subscriber.queue.push(Item::Sweep(sweep));
            subscriber.queue.flush();
            self.seeded
                .insert(destination.key.clone(), subscriber.epoch);
        }
    }

    /// Follows events from this version on.
    async fn trail(&mut self, mut resource_version: String) -> Ended {
        if self.list_wanted() {
            return Ended::ListWanted;
        }
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
        loop {
            tokio::select! {
                // Who subscribes comes before what is sent to them.
                biased;
                changed = self.subscribers.changed() => {
                    if changed.is_err() {
                        // The conductor is gone, and with it the process.
                        std::future::pending::<()>().await;
                    }
                    if self.list_wanted() {
                        return Ended::ListWanted;
                    }
                }
                _ = look_again.tick(), if !self.postponed.is_empty() => {
                    if self.list_wanted() {
                        return Ended::ListWanted;
                    }
                }
                event = events.next() => match event {
                    None => return Ended::Closed { resource_version },
                    Some(Err(error)) => return Ended::Failed { resource_version, error },
                    Some(Ok(event)) => {
                        if let Some(version) = self.on_event(event) {
                            resource_version = version;
                        }
                    }
                }
            }
        }
    }

    /// Whether a subscriber has not been given the whole list, or not since it last asked.
    fn list_wanted(&mut self) -> bool {
        let subscribers = self.subscribers.borrow_and_update();
        let known: HashSet<&DestinationKey> = subscribers.iter().map(Subscriber::key).collect();
        self.seeded.retain(|key, _| known.contains(key));
        subscribers.iter().any(|s| {
            let held_back = self.postponed.contains(s.key()) && s.queue.is_full();
            self.seeded.get(s.key()) != Some(&s.epoch) && !held_back
        })
    }

    /// Handles one event; returns the version to go on from.
    fn on_event(&mut self, event: WatchEvent<Value>) -> Option<String> {
        let (object, created, deleted) = match event {
            WatchEvent::Added(object) => (object, true, false),
            WatchEvent::Modified(object) => (object, false, false),
            WatchEvent::Deleted(object) => (object, false, true),
            WatchEvent::Bookmark(bookmark) => return Some(bookmark.metadata.resource_version),
            // Turned into an error by the source.
            WatchEvent::Error(_) => return None,
        };
        let version = object["metadata"]["resourceVersion"]
            .as_str()
            .map(ToOwned::to_owned);
        let subscribers = self.subscribers.borrow().clone();
        let emitter = Emitter {
            shared: &self.shared,
        };
        match Seen::new(object, &self.key.served) {
            Ok(seen) if deleted => emitter.deleted(&self.key, &seen, &mut self.index, &subscribers),
            Ok(seen) => emitter.written(&self.key, &seen, created, &mut self.index, &subscribers),
            Err(error) => warn!(watch = %self.key, %error, "an event was skipped"),
        }
        version
    }
}

fn backoff(failures: u32) -> Duration {
    let doubled = BACKOFF
        .0
        .saturating_mul(1 << failures.saturating_sub(1).min(10));
    doubled.min(BACKOFF.1).mul_f64(rand::random_range(0.8..1.0))
}

/// A list on its way.
struct Listing<'a> {
    subscribers: &'a [Subscriber],
    /// Who must be given every object, not only those that changed.
    fresh: Vec<bool>,
    /// For each subscriber, the paths of the files that may stay.
    live: Vec<HashSet<SpecHash>>,
    names: HashSet<ObjectName>,
}

impl<'a> Listing<'a> {
    fn new(subscribers: &'a [Subscriber], seeded: &HashMap<DestinationKey, u64>) -> Self {
        Self {
            subscribers,
            fresh: subscribers
                .iter()
                .map(|s| seeded.get(s.key()) != Some(&s.epoch))
                .collect(),
            live: vec![HashSet::new(); subscribers.len()],
            names: HashSet::new(),
        }
    }

    fn keep_file(&mut self, key: &WatchKey, namespace: &str, name: &str) {
        for (subscriber, live) in self.subscribers.iter().zip(&mut self.live) {
            live.insert(SpecHash::of(
                subscriber.path_of(&key.served, namespace, name).as_bytes(),
            ));
        }
    }
}
