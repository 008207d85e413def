//! Carries out the plan: recompiles it when custom resources or types change, and brings workers,
//! watches and the sidecar's interest set to it.

mod interest;
mod role;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use proto::v1::InterestSet;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::change::{Cause, DestinationKey};
use crate::discovery::Catalog;
use crate::leadership::Roles;
use crate::rules::{CompileOptions, Configuration, Plan, Subscription, WatchKey, compile};
use crate::status::StatusBoard;
use crate::watch::{Shared, Subscriber, Synced, Task};
use crate::workers::{Item, Sweep, Unit, Workers};

/// Changes that come together (`kubectl apply -f` of a folder) make one plan.
const SETTLE: Duration = Duration::from_millis(50);

/// The ends of channels that the conductor holds.
#[derive(Debug)]
pub struct Edges {
    /// The custom resources, once all kinds are known.
    pub configuration: watch::Receiver<Option<Arc<Configuration>>>,
    /// The types.
    pub catalog: watch::Receiver<Arc<Catalog>>,
    /// To the sidecar.
    pub interest: watch::Sender<Arc<InterestSet>>,
    /// The generation that the sidecar has acknowledged.
    pub acknowledged: watch::Receiver<u64>,
    /// From watches: a list was complete. Small: the conductor takes them at once.
    pub synced: (mpsc::Sender<Synced>, mpsc::Receiver<Synced>),
    /// From workers: a destination must be given everything again.
    pub resync: mpsc::Receiver<(DestinationKey, Cause)>,
    /// What this process is among its replicas.
    pub roles: Roles,
    /// No more is to be taken in.
    pub closing: CancellationToken,
}

/// One running watch.
struct Running {
    subscribers: watch::Sender<Arc<Vec<Subscriber>>>,
    task: JoinHandle<()>,
}

/// A destination's place in a watch, as of the last plan.
struct Seat {
    subscription: Subscription,
    epoch: u64,
    /// When the list of this epoch was asked for.
    asked: Instant,
    cause: Cause,
    /// The list of this epoch is complete.
    listed: bool,
}

/// The conductor.
pub struct Conductor {
    options: CompileOptions,
    shared: Shared,
    workers: Arc<Workers>,
    board: Arc<StatusBoard>,
    edges: Edges,
    plan: Arc<Plan>,
    running: BTreeMap<WatchKey, Running>,
    seats: HashMap<(WatchKey, DestinationKey), Seat>,
    /// Grows with every seat that must be given everything. Never used twice: a destination that leaves and comes back
    /// before its watch has noticed would look as if it had been served.
    epoch: u64,
    /// Destinations from which what nothing selects was swept, under this plan.
    swept: BTreeSet<DestinationKey>,
    /// Interest sets by generation, until one is acknowledged.
    offered: BTreeMap<u64, BTreeSet<WatchKey>>,
    /// What the last plan was made from.
    made_from: Vec<String>,
    /// Watches have somebody to tell. Before, they run for nothing but their indexes: a chain of versions that is whole when this
    /// process comes to lead.
    leads: bool,
}

impl Conductor {
    /// Nothing runs yet.
    #[must_use]
    pub fn new(
        options: CompileOptions,
        shared: Shared,
        workers: Arc<Workers>,
        edges: Edges,
    ) -> Self {
        Self {
            options,
            board: shared.board.clone(),
            shared,
            workers,
            edges,
            plan: Arc::default(),
            running: BTreeMap::new(),
            seats: HashMap::new(),
            epoch: 0,
            swept: BTreeSet::new(),
            offered: BTreeMap::new(),
            made_from: Vec::new(),
            leads: false,
        }
    }

    /// Runs until `closing` is cancelled; all watches are closed then, and nothing more goes to a queue.
    ///
    /// # Errors
    /// When a watch or a worker ends that must not.
    pub async fn run(mut self) -> anyhow::Result<()> {
        let mut health = tokio::time::interval(Duration::from_secs(1));
        let closing = self.edges.closing.clone();
        self.take_role().await;
        loop {
            tokio::select! {
                () = closing.cancelled() => {
                    self.close_watches().await;
                    return Ok(());
                }
                Ok(()) = self.edges.roles.changed() => self.take_role().await,
                changed = self.edges.configuration.changed() => {
                    changed?;
                    tokio::time::sleep(SETTLE).await;
                    self.replan(false);
                }
                changed = self.edges.catalog.changed() => {
                    changed?;
                    self.replan(true);
                }
                changed = self.edges.acknowledged.changed() => {
                    changed?;
                    self.interest_acknowledged();
                }
                Some(synced) = self.edges.synced.1.recv() => {
                    self.board.synced(&synced.key);
                    for (name, epoch) in synced.epochs {
                        if let Some(seat) = self.seats.get_mut(&(synced.key.clone(), name)) {
                            seat.listed = seat.epoch == epoch;
                        }
                    }
                    self.sweep_unselected();
                }
                Some((destination, cause)) = self.edges.resync.recv() => self.list_again(&destination, cause),
                _ = health.tick() => self.check_tasks()?,
            }
        }
    }

    fn check_tasks(&self) -> anyhow::Result<()> {
        if let Some((key, _)) = self
            .running
            .iter()
            .find(|(_, running)| running.task.is_finished())
        {
            anyhow::bail!("the watch of {key} ended");
        }
        if let Some(branch) = self.workers.crashed() {
            anyhow::bail!("the Git worker of {branch} ended");
        }
        Ok(())
    }

    /// Makes a new plan if what it is made from has changed; our own status writes change nothing.
    fn replan(&mut self, types_changed: bool) {
        let Some(configuration) = self.edges.configuration.borrow_and_update().clone() else {
            return;
        };
        let (catalog, unplanned) = newest(&mut self.edges.catalog);
        let types_changed = types_changed || unplanned;
        let made_from = fingerprint(&configuration);
        if catalog.is_empty() || (!types_changed && made_from == self.made_from) {
            return;
        }
        self.made_from = made_from;
        let plan = Arc::new(compile(&configuration, &catalog, &self.options));
        info!(
            destinations = plan.destinations.len(),
            watches = plan.watches.len(),
            "planned"
        );
        self.plan = plan;
        // Queues first: a watch writes as soon as it is there.
        if self.leads {
            self.workers.apply(&self.plan);
        }
        self.swept.clear();
        self.stop_watches();
        self.seat_destinations();
        // After the seats: who is to be given everything again must not be Ready under the new plan.
        self.board.plan(self.plan.clone());
        self.tell_watches();
        self.offer_interest();
        self.sweep_unselected();
    }

    fn tell_watches(&mut self) {
        let keys: Vec<WatchKey> = self.plan.watches.keys().cloned().collect();
        for key in keys {
            self.tell_watch(key);
        }
    }

    fn stop_watches(&mut self) {
        let plan = self.plan.clone();
        self.running.retain(|key, running| {
            let keep = plan.watches.contains_key(key);
            if !keep {
                info!(watch = %key, "stopped");
                running.task.abort();
            }
            keep
        });
        let seated = |key: &WatchKey, name: &DestinationKey| {
            plan.watches
                .get(key)
                .is_some_and(|s| s.iter().any(|s| s.destination.key == *name))
        };
        self.seats.retain(|(key, name), _| seated(key, name));
    }

    /// Gives each destination its place in each watch, with a new epoch where it must be given
    /// everything.
    fn seat_destinations(&mut self) {
        let plan = self.plan.clone();
        for (key, subscriptions) in &plan.watches {
            for subscription in subscriptions {
                let name = subscription.destination.key.clone();
                let seat = self.seats.get(&(key.clone(), name.clone()));
                let (epoch, asked, cause, listed) = match seat {
                    Some(seat) if !subscription.needs_list(&seat.subscription) => {
                        (seat.epoch, seat.asked, seat.cause, seat.listed)
                    }
                    seat => {
                        let cause = seat.map_or(Cause::Seed, |_| Cause::Resync);
                        self.epoch += 1;
                        self.board.unsettle(&name);
                        (self.epoch, Instant::now(), cause, false)
                    }
                };
                self.seats.insert(
                    (key.clone(), name),
                    Seat {
                        subscription: subscription.clone(),
                        epoch,
                        asked,
                        cause,
                        listed,
                    },
                );
            }
        }
    }

    fn list_again(&mut self, destination: &DestinationKey, cause: Cause) {
        info!(%destination, ?cause, "comparing everything again");
        let keys: Vec<WatchKey> = self
            .seats
            .keys()
            .filter(|(_, name)| name == destination)
            .map(|(key, _)| key.clone())
            .collect();
        for key in keys {
            if let Some(seat) = self.seats.get_mut(&(key.clone(), destination.clone())) {
                self.epoch += 1;
                seat.epoch = self.epoch;
                seat.asked = Instant::now();
                seat.cause = cause;
                seat.listed = false;
            }
            self.tell_watch(key);
        }
        self.swept.remove(destination);
    }

    /// Starts the watch, or tells it who subscribes now.
    fn tell_watch(&mut self, key: WatchKey) {
        let subscriptions = self
            .plan
            .watches
            .get(&key)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let subscribers: Vec<Subscriber> = subscriptions
            .iter()
            .filter_map(|subscription| {
                let destination = &subscription.destination;
                let seat = self.seats.get(&(key.clone(), destination.key.clone()))?;
                let queue = self.workers.queue(&destination.branch)?;
                Some(Subscriber {
                    subscription: subscription.clone(),
                    queue,
                    epoch: seat.epoch,
                    cause: seat.cause,
                })
            })
            .collect();
        let subscribers = Arc::new(subscribers);
        if let Some(running) = self.running.get(&key) {
            running.subscribers.send_replace(subscribers);
            return;
        }
        let (sender, receiver) = watch::channel(subscribers);
        let task = Task::new(
            key.clone(),
            self.shared.clone(),
            receiver,
            self.edges.synced.0.clone(),
        );
        self.running.insert(
            key,
            Running {
                subscribers: sender,
                task: tokio::spawn(task.run()),
            },
        );
    }

    /// Once every list of a destination is complete and all its rules are resolved, what no rule
    /// selects may go.
    fn sweep_unselected(&mut self) {
        // Since when, `None` where some list is not complete.
        let mut listed: HashMap<&DestinationKey, Option<Instant>> = HashMap::new();
        for ((_, name), seat) in &self.seats {
            let asked = seat.listed.then_some(seat.asked);
            let since = listed.entry(name).or_insert(asked);
            *since = (*since).min(asked);
        }
        for destination in self.plan.destinations.values() {
            // Where there is none to wait for, all are.
            let since = listed.get(&destination.key).copied();
            let Some(since) = since.unwrap_or_else(|| Some(Instant::now())) else {
                continue;
            };
            if destination.selections.is_empty() || self.swept.contains(&destination.key) {
                continue;
            }
            let Some(queue) = self.workers.queue(&destination.branch) else {
                continue;
            };
            if destination.resolved {
                let sweep = Sweep {
                    destination: destination.clone(),
                    unit: Unit::Unselected,
                    cause: Cause::Resync,
                };
                queue.push(Item::Sweep(sweep));
            }
            queue.push(Item::Listed(destination.clone(), since));
            queue.flush();
            self.swept.insert(destination.key.clone());
        }
    }
}

/// Which objects there are and which generation of each, and the recipients of Secrets: what a plan depends on.
fn fingerprint(configuration: &Configuration) -> Vec<String> {
    let of = |object: &kube::api::DynamicObject| {
        format!(
            "{}@{}",
            object.uid().unwrap_or_default(),
            object.metadata.generation.unwrap_or_default()
        )
    };
    let repos = configuration.repos.values().map(|o| of(&o.object));
    let destinations = configuration.destinations.values().map(|o| of(&o.object));
    let rules = configuration.rules.values().map(|o| of(&o.object));
    let cluster_rules = configuration.cluster_rules.values().map(|o| of(&o.object));
    let recipients = std::iter::once(format!("{:?}", configuration.recipients));
    recipients
        .chain(repos)
        .chain(destinations)
        .chain(rules)
        .chain(cluster_rules)
        .collect()
}

/// The types now, and whether nobody was told of them yet. Nobody will be: they count as seen from here on. They may have come while a
/// change of the configuration settled.
fn newest(catalog: &mut watch::Receiver<Arc<Catalog>>) -> (Arc<Catalog>, bool) {
    let unseen = catalog.has_changed().unwrap_or(false);
    (catalog.borrow_and_update().clone(), unseen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_that_come_beside_a_configuration_are_planned_with() {
        let (sender, mut catalog) = watch::channel(Arc::default());
        assert!(!newest(&mut catalog).1);
        let found = Catalog::of(&[("", "v1", "configmaps", "ConfigMap", true)]);
        sender.send_replace(Arc::new(found));
        let (types, unseen) = newest(&mut catalog);
        assert!(unseen && !types.is_empty());
        assert!(!newest(&mut catalog).1, "once");
    }
}
