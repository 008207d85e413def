//! A worker on a real repository, under paused time.

use std::path::PathBuf;

use prometheus::{IntCounter, Registry};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::*;
use crate::attribution::{Asked, AttributionMetrics, Barrier, Limits, Presence, Sidecar, Store};
use crate::change::DestinationKey;
use crate::git::testing::Bed;
use crate::leadership::Fence;
use crate::observe::Metrics;
use crate::rules::Plan;
use crate::workers::claim::tests::destination;
use crate::workers::fixtures::write;
use crate::workers::{Item, Workers};

/// A worker that runs, and what it tells.
struct Running {
    work_dir: PathBuf,
    bed: Bed,
    queue: Arc<Queue>,
    plan: Arc<DestinationPlan>,
    resync: Resyncs,
    task: JoinHandle<()>,
    retired: CancellationToken,
    shutdown: CancellationToken,
    /// Keep channels open.
    _ends: Box<dyn std::any::Any>,
}

pub(in crate::workers) type Resyncs = mpsc::Receiver<(DestinationKey, Cause)>;

/// With what keeps its channels open.
pub(in crate::workers) fn settings(
    work_dir: PathBuf,
    drift_check_interval: Option<Duration>,
) -> (WorkerSettings, Resyncs, Box<dyn std::any::Any>) {
    let registry = Registry::new();
    let attribution = AttributionMetrics::register(&registry).unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let nowhere = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
    let (asked, marks) = watch::channel(Asked::default());
    let (reached, reaches) = watch::channel(0);
    let (presence, presences) = watch::channel(Presence::now(Sidecar::Away));
    let (replay, replayed) = watch::channel(true);
    let (resync, resyncs) = mpsc::channel(64);
    let settings = WorkerSettings {
        work_dir,
        drift_check_interval,
        max_global: 1,
        max_per_repo: 1,
        cluster_id: "c1".to_owned(),
        client: kube::Client::try_from(nowhere).unwrap(),
        store: Arc::new(Store::new(Limits::default(), attribution)),
        board: Arc::default(),
        metrics: Arc::new(Metrics::register(&registry).unwrap()),
        permit: Arc::new(Fence::alone()),
        replayed,
        barrier: Barrier::new(asked, reaches, presences),
        resync,
        shutdown: CancellationToken::new(),
    };
    let ends = Box::new((marks, reached, presence, replay));
    (settings, resyncs, ends)
}

fn run(drift_check_interval: Option<Duration>) -> Running {
    let bed = Bed::with_readme();
    let plan = Arc::new(DestinationPlan {
        url: bed.options("main").url,
        ..destination(None)
    });
    let work_dir = bed.room.path().join("work");
    let (settings, resync, ends) = settings(work_dir.clone(), drift_check_interval);
    let shutdown = settings.shutdown.clone();
    let queue = Arc::new(Queue::new(IntCounter::new("dropped", "dropped").unwrap()));
    let (plan_sender, plans) = watch::channel(vec![plan.clone()]);
    let retired = CancellationToken::new();
    let worker = Worker::new(
        plan.branch.clone(),
        settings,
        queue.clone(),
        plans,
        [Arc::new(Semaphore::new(1)), Arc::new(Semaphore::new(1))],
        retired.clone(),
        Arc::new(Clones::new(work_dir.clone())),
    );
    Running {
        work_dir,
        bed,
        queue,
        plan,
        resync,
        task: tokio::spawn(worker.run()),
        retired,
        shutdown,
        _ends: Box::new((ends, plan_sender)),
    }
}

impl Running {
    /// Has a change pushed.
    async fn push(&self, name: &str) {
        self.queue.push(Item::Write(Box::new(write(
            &self.plan, name, "ours", "alice",
        ))));
        let path = format!("100644 live/v1/configmaps/lab/{name}.yaml");
        while !self.bed.files("main").contains(&path) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_worker_finds_what_somebody_changed_within_the_interval() {
    let interval = Duration::from_secs(600);
    let mut running = run(Some(interval));
    running.push("one").await;
    for n in 0..3 {
        let path = "live/v1/configmaps/lab/one.yaml";
        let theirs = format!("theirs {n}\n");
        running
            .bed
            .somebody_pushes("main", &[(path, Some(&theirs))]);
        let begun = Instant::now();
        let found = running.resync.recv().await.unwrap();
        assert_eq!(found, (running.plan.key.clone(), Cause::Drift));
        assert!(begun.elapsed() <= interval, "{:?}", begun.elapsed());
    }
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_worker_without_an_interval_does_nothing() {
    let mut running = run(None);
    running.push("one").await;
    let path = "live/v1/configmaps/lab/one.yaml";
    running.bed.somebody_pushes("main", &[(path, None)]);
    let a_day = Duration::from_secs(24 * 3600);
    let found = tokio::time::timeout(a_day, running.resync.recv()).await;
    assert!(found.is_err(), "{found:?}");
    running.stop().await;
}

/// It has nothing to compare, so it does not even fetch.
#[tokio::test(start_paused = true)]
async fn a_worker_that_never_wrote_asks_nobody() {
    let running = run(Some(Duration::from_secs(60)));
    tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
    assert!(!running.work_dir.exists());
    running.stop().await;
}

fn clones(work_dir: &std::path::Path) -> usize {
    std::fs::read_dir(work_dir).unwrap().count()
}

#[tokio::test(start_paused = true)]
async fn the_clone_goes_with_its_last_destination_and_stays_over_a_restart() {
    let running = run(None);
    running.push("one").await;
    running.shutdown.cancel();
    running.task.await.unwrap();
    assert_eq!(clones(&running.work_dir), 1);

    let running = run(None);
    running.push("one").await;
    assert_eq!(clones(&running.work_dir), 1);
    running.retired.cancel();
    running.task.await.unwrap();
    assert_eq!(clones(&running.work_dir), 0);
}

#[tokio::test]
async fn the_first_plan_removes_the_clones_that_it_has_no_worker_for() {
    let room = tempfile::TempDir::new().unwrap();
    let work_dir = room.path().to_owned();
    let leftover = work_dir.join("0123456789abcdef");
    let home = work_dir.join("home");
    let (settings, _resyncs, _ends) = settings(work_dir, None);
    let workers = Workers::new(settings);
    for directory in [&leftover, &home] {
        std::fs::create_dir(directory).unwrap();
    }
    workers.apply(&Plan::default());
    for _ in 0..1000 {
        if leftover.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    assert!(!leftover.exists() && home.exists());
}
