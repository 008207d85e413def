//! Where the parts of the process say how they are. Holds facts; what follows from them is
//! derived when somebody asks.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use quick_cache::sync::Cache;
use tokio::sync::Notify;

use crate::change::{Attribution, DestinationKey};
use crate::rules::{BranchKey, Plan, WatchKey};

/// Objects whose last commit is remembered for Explain; the least useful are forgotten first.
const REMEMBERED_COMMITS: usize = 10_000;

/// What a list/watch is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchPhase {
    /// Reading pages.
    Listing,
    /// Following events.
    Watching,
    /// Backing off after an error.
    Waiting,
}

impl WatchPhase {
    /// As introspection names it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Listing => "listing",
            Self::Watching => "watching",
            Self::Waiting => "waiting",
        }
    }
}

/// What a Git worker is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WorkerPhase {
    /// Nothing waits.
    #[default]
    Idle,
    /// A batch is open.
    Collecting,
    /// It is being committed and pushed.
    Working,
    /// Backing off after an error.
    Waiting,
}

impl WorkerPhase {
    /// As introspection names it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Collecting => "collecting",
            Self::Working => "working",
            Self::Waiting => "waiting",
        }
    }
}

/// One list/watch.
#[derive(Clone, Debug)]
pub struct WatchReport {
    /// What it does.
    pub phase: WatchPhase,
    /// Objects it knows.
    pub objects: usize,
    /// How often it had to begin again.
    pub restarts: u64,
    /// The last error, while it lasts.
    pub error: Option<String>,
    /// Its list was complete at least once.
    pub synced: bool,
}

/// Why Git can't be written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitFailure {
    /// For the condition.
    pub reason: &'static str,
    /// For people.
    pub message: String,
    /// Somebody has to act; otherwise it may pass by itself.
    pub needs_action: bool,
}

/// One Git worker.
#[derive(Clone, Debug, Default)]
pub struct BranchReport {
    /// What it does.
    pub phase: WorkerPhase,
    /// Why it can't go on, while it can't.
    pub failure: Option<GitFailure>,
    /// The last commit that was pushed.
    pub last_commit: Option<String>,
    /// When.
    pub last_push: Option<SystemTime>,
}

/// The last commit of one object.
#[derive(Clone, Debug)]
pub struct CommitNote {
    /// Its hash.
    pub commit: String,
    /// Who and how sure.
    pub attribution: Attribution,
}

/// What is known of a destination besides its plan.
#[derive(Clone, Debug, Default)]
pub(super) struct DestinationReport {
    pub(super) last_commit: Option<String>,
    pub(super) last_push: Option<SystemTime>,
    /// The folder belongs to somebody else.
    pub(super) refusal: Option<GitFailure>,
    /// Everything of the last list has been pushed.
    pub(super) settled: bool,
}

/// All facts at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The plan at work.
    pub plan: Arc<Plan>,
    /// Every list/watch.
    pub watches: BTreeMap<WatchKey, WatchReport>,
    /// Every Git worker.
    pub branches: BTreeMap<BranchKey, BranchReport>,
    pub(super) destinations: HashMap<DestinationKey, DestinationReport>,
    pub(super) objects: HashMap<DestinationKey, HashMap<WatchKey, i64>>,
    /// By namespace and name: what the last look at a repository came to.
    pub(super) repos: BTreeMap<(String, String), Result<(), GitFailure>>,
    /// Watches that the sidecar observes by.
    pub(super) observed: BTreeSet<WatchKey>,
    /// A sidecar is connected.
    pub sidecar_connected: bool,
}

impl Snapshot {
    /// Live objects of a destination.
    #[must_use]
    pub fn objects(&self, destination: &DestinationKey) -> i64 {
        self.objects
            .get(destination)
            .map_or(0, |watches| watches.values().sum())
    }

    /// Git workers that are doing Git work.
    #[must_use]
    pub fn active_workers(&self) -> usize {
        self.branches
            .values()
            .filter(|branch| branch.phase == WorkerPhase::Working)
            .count()
    }
}

/// The board.
#[derive(Debug)]
pub struct StatusBoard {
    facts: Mutex<Snapshot>,
    commits: Cache<String, CommitNote>,
    changed: Notify,
}

impl Default for StatusBoard {
    fn default() -> Self {
        Self {
            facts: Mutex::default(),
            commits: Cache::new(REMEMBERED_COMMITS),
            changed: Notify::new(),
        }
    }
}

impl StatusBoard {
    /// All facts.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.facts.lock().clone()
    }

    /// Resolves after a fact changed.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    fn update(&self, change: impl FnOnce(&mut Snapshot)) {
        change(&mut self.facts.lock());
        self.changed.notify_one();
    }

    /// Another plan is at work. What is no longer in it is forgotten.
    pub fn plan(&self, plan: Arc<Plan>) {
        self.update(|facts| {
            facts
                .watches
                .retain(|key, _| plan.watches.contains_key(key));
            facts
                .destinations
                .retain(|key, _| plan.destinations.contains_key(key));
            facts
                .objects
                .retain(|key, _| plan.destinations.contains_key(key));
            for (destination, watches) in &mut facts.objects {
                watches.retain(|key, _| plan.is_served(destination, key));
            }
            let branches: BTreeSet<&BranchKey> =
                plan.destinations.values().map(|d| &d.branch).collect();
            facts.branches.retain(|key, _| branches.contains(key));
            facts.plan = plan;
        });
    }

    /// How a list/watch is.
    pub fn watch(
        &self,
        key: &WatchKey,
        phase: WatchPhase,
        objects: usize,
        restarts: u64,
        error: Option<String>,
    ) {
        self.update(|facts| {
            let synced = facts.watches.get(key).is_some_and(|w| w.synced);
            facts.watches.insert(
                key.clone(),
                WatchReport {
                    phase,
                    objects,
                    restarts,
                    error,
                    synced,
                },
            );
        });
    }

    /// A list was complete.
    pub fn synced(&self, key: &WatchKey) {
        self.update(|facts| {
            if let Some(watch) = facts.watches.get_mut(key) {
                watch.synced = true;
            }
        });
    }

    /// A destination is being given everything again, perhaps in another folder.
    pub fn unsettle(&self, destination: &DestinationKey) {
        self.update(|facts| {
            let report = facts.destinations.entry(destination.clone()).or_default();
            // A refusal stands until its worker has judged the folder anew, and it does so only where there is a reason to.
            report.settled = false;
        });
    }

    /// How many objects of a watch are live for a destination that it serves.
    pub fn objects(&self, destination: &DestinationKey, watch: &WatchKey, count: usize) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.count(destination, watch, |known| *known = count);
    }

    /// The same, by a difference.
    pub fn objects_grew(&self, destination: &DestinationKey, watch: &WatchKey, by: i64) {
        if by != 0 {
            self.count(destination, watch, |known| *known += by);
        }
    }

    /// A watch may not have noticed yet that a destination has left it: nothing is counted for it any more.
    fn count(&self, destination: &DestinationKey, watch: &WatchKey, change: impl FnOnce(&mut i64)) {
        self.update(|facts| {
            if facts.plan.is_served(destination, watch) {
                let watches = facts.objects.entry(destination.clone()).or_default();
                change(watches.entry(watch.clone()).or_default());
            }
        });
    }

    /// What a worker is doing.
    pub fn worker(&self, branch: &BranchKey, phase: WorkerPhase) {
        self.update(|facts| facts.branches.entry(branch.clone()).or_default().phase = phase);
    }

    /// A worker can't go on, or can again.
    pub fn git_failure(&self, branch: &BranchKey, failure: Option<GitFailure>) {
        self.update(|facts| facts.branches.entry(branch.clone()).or_default().failure = failure);
    }

    /// A destination's folder belongs to somebody else, or no longer.
    pub fn refusal(&self, destination: &DestinationKey, refusal: Option<GitFailure>) {
        self.update(|facts| {
            facts
                .destinations
                .entry(destination.clone())
                .or_default()
                .refusal = refusal;
        });
    }

    /// Everything that was listed for this destination is in Git.
    pub fn settled(&self, destination: &DestinationKey) {
        self.update(|facts| {
            facts
                .destinations
                .entry(destination.clone())
                .or_default()
                .settled = true;
        });
    }

    /// Commits arrived at the remote.
    pub fn pushed(&self, branch: &BranchKey, tip: &str, destinations: &[(DestinationKey, String)]) {
        let now = SystemTime::now();
        self.update(|facts| {
            let report = facts.branches.entry(branch.clone()).or_default();
            report.last_commit = Some(tip.to_owned());
            report.last_push = Some(now);
            for (key, commit) in destinations {
                let report = facts.destinations.entry(key.clone()).or_default();
                report.last_commit = Some(commit.clone());
                report.last_push = Some(now);
            }
        });
    }

    /// What a look at a repository came to.
    pub fn repo(&self, name: &(String, String), outcome: Result<(), GitFailure>) {
        self.update(|facts| {
            facts.repos.insert(name.clone(), outcome);
        });
    }

    /// What was known of a repository is of another URL or Secret.
    pub fn forget_repo(&self, name: &(String, String)) {
        self.update(|facts| {
            facts.repos.remove(name);
        });
    }

    /// The sidecar observes what these watches select.
    pub fn observed(&self, watches: BTreeSet<WatchKey>) {
        self.update(|facts| facts.observed = watches);
    }

    /// A sidecar came or went.
    pub fn sidecar(&self, connected: bool) {
        self.update(|facts| facts.sidecar_connected = connected);
    }

    /// Remembers the last commit of an object's file.
    pub fn remember_commit(&self, destination: &DestinationKey, path: &str, note: CommitNote) {
        self.commits.insert(format!("{destination} {path}"), note);
    }

    /// The last commit of an object's file, as far as it is remembered.
    #[must_use]
    pub fn last_commit(&self, destination: &DestinationKey, path: &str) -> Option<CommitNote> {
        self.commits.get(&format!("{destination} {path}"))
    }
}
