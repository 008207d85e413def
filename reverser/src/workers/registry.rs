//! All Git workers: made when the plan names their branch, ended when it no longer does.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kube::Client;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::clones::Clones;
use super::worker::Worker;
use super::{Item, Queue};
use crate::attribution::{Barrier, Store};
use crate::change::{Cause, DestinationKey};
use crate::git::Permit;
use crate::leadership::Role;
use crate::observe::Metrics;
use crate::rules::{BranchKey, DestinationPlan, Plan};
use crate::status::StatusBoard;

/// In the work directory: the term of the clones beside it.
const TERM_FILE: &str = "term";

/// What all workers share.
#[derive(Clone)]
pub struct WorkerSettings {
    /// `--work-dir`: each worker keeps its clone in a folder of its own below it.
    pub work_dir: PathBuf,
    /// `--drift-check-interval`: how often a worker asks the remote whether somebody changed its folders.
    pub drift_check_interval: Option<Duration>,
    /// `--workers-max-global`: workers that do Git work at once.
    pub max_global: usize,
    /// `--workers-max-per-repo`: the same for one repository.
    pub max_per_repo: usize,
    /// Uid of kube-system: what the marker in a folder names.
    pub cluster_id: String,
    /// For credentials.
    pub client: Client,
    /// For observations that come late.
    pub store: Arc<Store>,
    /// Where outcomes are told.
    pub board: Arc<StatusBoard>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Whether this process may push.
    pub permit: Arc<dyn Permit>,
    /// True once the sidecar has replayed what it observed before we started.
    pub replayed: watch::Receiver<bool>,
    /// Holds changes back whose observations may still be on their way.
    pub barrier: Barrier,
    /// Destinations that must be given everything again, and why.
    pub resync: mpsc::Sender<(DestinationKey, Cause)>,
    /// Pushes what waits, once, and ends.
    pub shutdown: CancellationToken,
}

/// The part of the plan that one worker carries out: its destinations.
pub(super) type WorkerPlan = Vec<Arc<DestinationPlan>>;

#[derive(Debug)]
struct Handle {
    queue: Arc<Queue>,
    plan: watch::Sender<WorkerPlan>,
    /// Ends the worker after the round that it is in.
    retired: CancellationToken,
    task: JoinHandle<()>,
}

/// The workers.
pub struct Workers {
    settings: WorkerSettings,
    global: Arc<Semaphore>,
    per_repo: Mutex<HashMap<String, Arc<Semaphore>>>,
    handles: Mutex<BTreeMap<BranchKey, Handle>>,
    /// Workers that are on their way out, and still have their clone.
    retiring: Mutex<BTreeMap<BranchKey, JoinHandle<()>>>,
    clones: Arc<Clones>,
    /// What an earlier process left behind was looked at.
    tidied: AtomicBool,
}

impl Workers {
    /// None yet.
    #[must_use]
    pub fn new(settings: WorkerSettings) -> Self {
        let global = Arc::new(Semaphore::new(settings.max_global.max(1)));
        Self {
            clones: Arc::new(Clones::new(settings.work_dir.clone())),
            tidied: AtomicBool::new(false),
            settings,
            global,
            per_repo: Mutex::default(),
            handles: Mutex::default(),
            retiring: Mutex::default(),
        }
    }

    /// Before the first plan, once this process leads: clones of an earlier term are removed. They may hold commits that were not
    /// pushed when another pod took over, which must not be pushed any more. A container that was started again goes on with
    /// the clones of its own term. Blocks while directories are removed.
    pub fn begin(&self, role: &Role) {
        let Some(term) = role.term() else { return };
        let file = self.settings.work_dir.join(TERM_FILE);
        if std::fs::read(&file).is_ok_and(|known| known == term.as_bytes()) {
            return;
        }
        self.clones.remove_unused(std::iter::empty());
        // Last: a process that is killed in between begins anew.
        if let Err(error) = std::fs::write(&file, term.as_bytes()) {
            warn!(%error, "cannot note the term; a restart fetches the clones again");
        }
    }

    /// Makes and ends workers as the plan wants it. The first plan comes once all custom resources are known: clones that none
    /// of its workers wants are removed.
    pub fn apply(&self, plan: &Plan) {
        self.tidy_up(plan);
        let mut branches: BTreeMap<&BranchKey, WorkerPlan> = BTreeMap::new();
        for destination in plan.destinations.values() {
            branches
                .entry(&destination.branch)
                .or_default()
                .push(destination.clone());
        }
        let mut handles = self.handles.lock();
        let mut retiring = self.retiring.lock();
        retiring.retain(|_, task| !task.is_finished());
        let gone: Vec<BranchKey> = handles
            .keys()
            .filter(|key| !branches.contains_key(key))
            .cloned()
            .collect();
        for key in gone {
            info!(branch = %key, "no destination writes to this branch any more");
            if let Some(handle) = handles.remove(&key) {
                handle.retired.cancel();
                handle.queue.close();
                retiring.insert(key, handle.task);
            }
        }
        for (key, destinations) in branches {
            match handles.get(key) {
                Some(handle) => {
                    handle.queue.retain(|item| {
                        let taken_by = |now: &DestinationPlan| {
                            let then = item.destination();
                            now.key == then.key && now.uid == then.uid && !is_omitted(item, now)
                        };
                        destinations.iter().any(|now| taken_by(now))
                    });
                    handle.plan.send_if_modified(|known| {
                        let changed = *known != destinations;
                        *known = destinations;
                        changed
                    });
                }
                None => {
                    let predecessor = retiring.remove(key);
                    let handle = self.start(key, destinations, predecessor);
                    handles.insert(key.clone(), handle);
                }
            }
        }
    }

    fn tidy_up(&self, plan: &Plan) {
        if self.tidied.swap(true, Ordering::Relaxed) {
            return;
        }
        let destinations = plan.destinations.values();
        let branches: Vec<BranchKey> = destinations.map(|d| d.branch.clone()).collect();
        let clones = self.clones.clone();
        // Ends by itself; nothing waits for it, and what it leaves behind the next start finds.
        tokio::task::spawn_blocking(move || clones.remove_unused(branches.into_iter()));
    }

    fn start(
        &self,
        key: &BranchKey,
        destinations: WorkerPlan,
        predecessor: Option<JoinHandle<()>>,
    ) -> Handle {
        let queue = Arc::new(Queue::new(
            self.settings.metrics.versions_dropped_total.clone(),
        ));
        let (plan, plans) = watch::channel(destinations);
        let per_repo = self
            .per_repo
            .lock()
            .entry(key.repository.clone())
            .or_insert_with(|| Arc::new(Semaphore::new(self.settings.max_per_repo.max(1))))
            .clone();
        // The repository's own first: whoever waits behind a repository that hangs holds no global turn.
        let permits = [per_repo, self.global.clone()];
        let retired = CancellationToken::new();
        let worker = Worker::new(
            key.clone(),
            self.settings.clone(),
            queue.clone(),
            plans,
            permits,
            retired.clone(),
            self.clones.clone(),
        );
        let task = tokio::spawn(async move {
            if let Some(predecessor) = predecessor {
                // Two may not write to one clone. How it ended is of no interest any more.
                let _ = predecessor.await;
            }
            worker.run().await;
        });
        Handle {
            queue,
            plan,
            retired,
            task,
        }
    }

    /// The queue in front of a branch, while there is a worker for it.
    #[must_use]
    pub fn queue(&self, key: &BranchKey) -> Option<Arc<Queue>> {
        self.handles
            .lock()
            .get(key)
            .map(|handle| handle.queue.clone())
    }

    /// Changes that wait for one destination.
    #[must_use]
    pub fn pending(&self, destination: &DestinationKey) -> usize {
        self.handles
            .lock()
            .values()
            .map(|handle| handle.queue.pending(destination))
            .sum()
    }

    /// Changes that wait, by branch.
    #[must_use]
    pub fn depths(&self) -> BTreeMap<BranchKey, usize> {
        self.handles
            .lock()
            .iter()
            .map(|(key, handle)| (key.clone(), handle.queue.len()))
            .collect()
    }

    /// Whether a worker has ended that should not have: it panicked.
    #[must_use]
    pub fn crashed(&self) -> Option<BranchKey> {
        if self.settings.shutdown.is_cancelled() {
            return None;
        }
        self.handles
            .lock()
            .iter()
            .find(|(_, handle)| handle.task.is_finished())
            .map(|(key, _)| key.clone())
    }

    /// Waits until every worker has pushed what it had, after the shutdown token was cancelled.
    pub async fn drain(&self) {
        let handles = std::mem::take(&mut *self.handles.lock());
        let retiring = std::mem::take(&mut *self.retiring.lock());
        let tasks = handles.into_values().map(|handle| handle.task);
        for task in tasks.chain(retiring.into_values()) {
            // A worker that panicked has nothing left to wait for.
            let _ = task.await;
        }
    }
}

/// A Secret on its way to a destination that was told to omit Secrets meanwhile.
fn is_omitted(item: &Item, destination: &DestinationPlan) -> bool {
    let Item::Write(write) = item else {
        return false;
    };
    let identity = &write.change.identity;
    write.change.content.is_some() && destination.omits(&identity.group, &identity.resource)
}

#[cfg(test)]
#[path = "turns_tests.rs"]
mod tests;
