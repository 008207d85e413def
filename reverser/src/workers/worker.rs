//! The async part of a worker: waits for batches, for its turn, and after errors.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::clones::{Clones, HeldClone};
use super::credentials::{Access, CredentialSource};
use super::failure::{CONTENTION, NOT_LEADING};
use super::queue::{Due, Queue};
use super::registry::{WorkerPlan, WorkerSettings};
use super::step::{Context, GivenUp, Round, Work, engine_options};
use super::{BatchLimits, Portion, UnpushedLimits};
use crate::attribution::Coverage;
use crate::change::Cause;
use crate::rules::{BranchKey, DestinationPlan};
use crate::status::{GitFailure, WorkerPhase};

/// First and longest wait after a failure.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));

/// The longest wait where others pushed each time: who tries seldom loses against who pushes often, and gets ever later.
const CONTENDED: Duration = Duration::from_secs(2);

/// How often a folder that belongs to somebody else is looked at again.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// How often the Secret is looked at while waiting after a failure: a new one is tried at once.
const LOOK_AT_SECRET: Duration = Duration::from_secs(5);

/// How long the first live commit waits for the sidecar to replay what it observed before we started.
const REPLAY: Duration = Duration::from_secs(5);

/// How long a round may take before its thread is given up. Above the engine's own deadlines for
/// one fetch and one push, so that it ends only what they could not.
const WATCHDOG: Duration = Duration::from_secs(30 * 60);

pub(super) struct Worker {
    key: BranchKey,
    settings: WorkerSettings,
    queue: Arc<Queue>,
    plans: watch::Receiver<WorkerPlan>,
    permits: [Arc<Semaphore>; 2],
    /// No destination is left: what waits is of no interest any more.
    retired: CancellationToken,
    credentials: CredentialSource,
    context: Arc<Context>,
    failures: u32,
    clones: Arc<Clones>,
    /// From the first round on.
    clone: Option<Arc<HeldClone>>,
    last_round: Duration,
    /// Until when the sidecar's replay is waited for: once, not before each round.
    replay_by: Instant,
    /// When the remote is asked next whether somebody changed our folders.
    check_at: Option<Instant>,
}

impl Worker {
    pub(super) fn new(
        key: BranchKey,
        settings: WorkerSettings,
        queue: Arc<Queue>,
        plans: watch::Receiver<WorkerPlan>,
        permits: [Arc<Semaphore>; 2],
        retired: CancellationToken,
        clones: Arc<Clones>,
    ) -> Self {
        let context = Context {
            key: key.clone(),
            cluster_id: settings.cluster_id.clone(),
            queue: queue.clone(),
            latest: plans.clone(),
            store: settings.store.clone(),
            board: settings.board.clone(),
            metrics: settings.metrics.clone(),
            permit: settings.permit.clone(),
            unpushed_limits: UnpushedLimits::default(),
        };
        let credentials = CredentialSource::new(settings.client.clone());
        Self {
            check_at: settings.drift_check_interval.and_then(jittered),
            key,
            settings,
            queue,
            plans,
            permits,
            retired,
            credentials,
            context: Arc::new(context),
            failures: 0,
            clones,
            clone: None,
            last_round: Duration::ZERO,
            replay_by: Instant::now() + REPLAY,
        }
    }

    /// Runs until retired, or until shutdown and then until what waits is pushed. A round that has begun is never
    /// cut off: it has the clone, which is removed once the worker is retired.
    pub(super) async fn run(mut self) {
        self.work().await;
        if self.retired.is_cancelled() {
            self.hold_clone();
            self.discard_clone().await;
        }
    }

    async fn work(&mut self) {
        let retired = self.retired.clone();
        let mut work = Work::default();
        loop {
            let look_again = work.is_refused().then(|| Instant::now() + LOOK_AGAIN);
            let check = self.check_at.filter(|_| work.can_check());
            let wake = look_again.into_iter().chain(check).min();
            let waited = retired.run_until_cancelled(self.wait_for_batch(work.is_pending(), wake));
            let Some(last) = waited.await.map(|more| !more) else {
                return;
            };
            if last && self.queue.is_empty() && !work.is_pending() {
                return;
            }
            if check.is_some_and(|at| at <= Instant::now()) {
                // A remote that does not answer is asked again after the back-off, as for a push.
                work.check();
                self.check_at = self.settings.drift_check_interval.and_then(jittered);
            }
            match self.round(&mut work).await {
                Ok(()) => self.succeeded(),
                Err(failure) if last => {
                    warn!(branch = %self.key, "not pushed before the end: {}", failure.message);
                    if failure.needs_action || failure.reason == NOT_LEADING {
                        return;
                    }
                    // Whoever drains the workers puts an end to it.
                    tokio::time::sleep(BACKOFF.0.mul_f64(rand::random_range(0.8..1.0))).await;
                }
                Err(failure) => self.back_off(failure).await,
            }
        }
    }

    fn limits(&self) -> BatchLimits {
        let mut limits = self
            .plans
            .borrow()
            .first()
            .map_or_else(BatchLimits::default, |d| d.limits);
        // While a push takes long, waiting as long for the next batch halves the load at no cost in lag.
        limits.linger = limits.linger.max(self.last_round).min(limits.max_wait);
        limits
    }

    /// Waits until a batch closes, or until `no_longer_than`. False once the process is to end.
    async fn wait_for_batch(&self, pending: bool, no_longer_than: Option<Instant>) -> bool {
        if pending {
            return !self.settings.shutdown.is_cancelled();
        }
        loop {
            let wake = match self.queue.due(&self.limits()) {
                Due::At(at) if at > Instant::now() => Some(at),
                Due::Empty => None,
                Due::Now | Due::At(_) => return !self.settings.shutdown.is_cancelled(),
            };
            let phase = if wake.is_some() {
                WorkerPhase::Collecting
            } else {
                WorkerPhase::Idle
            };
            self.settings.board.worker(&self.key, phase);
            tokio::select! {
                () = self.settings.shutdown.cancelled() => return false,
                () = self.queue.changed() => {}
                () = sleep_until(wake) => {}
                () = sleep_until(no_longer_than) => return true,
            }
        }
    }

    async fn round(&mut self, work: &mut Work) -> Result<(), GitFailure> {
        self.wait_for_replay().await;
        let coverage = self.wait_for_observations().await;
        let Some(destination) = self.plans.borrow_and_update().first().cloned() else {
            return Ok(());
        };
        let access = self.credentials.get(&destination).await?;
        let _permits = self.take_turn().await;
        self.settings.board.worker(&self.key, WorkerPhase::Working);
        let started = Instant::now();
        let portion = Portion {
            limits: self.limits(),
            coverage,
        };
        let round = self
            .blocking_round(work, &destination, access, portion)
            .await?;
        self.last_round = started.elapsed();
        for destination in round.found.moved {
            // Within our folders the cluster wins. The conductor never waits for a worker, so this ends.
            let _ = self.settings.resync.send((destination, Cause::Drift)).await;
        }
        for freed in round.found.freed {
            // Not dropped where it does not fit: nothing else would ask. The conductor waits for no worker.
            let _ = self.settings.resync.send((freed, Cause::Resync)).await;
        }
        round.outcome.map_err(|error| {
            if error.is_auth() {
                self.credentials.forget();
            }
            error.failure()
        })
    }

    /// Runs a round on a thread of its own, so that a server that never answers costs this worker only.
    async fn blocking_round(
        &mut self,
        work: &mut Work,
        destination: &DestinationPlan,
        access: Access,
        portion: Portion,
    ) -> Result<Round, GitFailure> {
        let mut taken = std::mem::take(work);
        let context = self.context.clone();
        let plan = self.plans.borrow().clone();
        let clone = self.hold_clone();
        let options = engine_options(clone.path(), destination, &plan, access);
        let given_up = GivenUp::default();
        let seen_by_thread = given_up.clone();
        let thread = tokio::task::spawn_blocking(move || {
            let round = taken.round(&context, options, &portion, &plan, &seen_by_thread);
            // With the clone, which nobody else may have before the thread ends, should it be given up.
            (taken, round, clone)
        });
        match tokio::time::timeout(WATCHDOG, thread).await {
            Ok(Ok((back, round, _))) => {
                *work = back;
                Ok(round)
            }
            Ok(Err(panic)) => {
                error!(branch = %self.key, %panic, "a Git round panicked");
                Err(self.start_over("an internal error; see the log").await)
            }
            Err(_) => {
                given_up.store(true, std::sync::atomic::Ordering::SeqCst);
                let why = "the Git server kept a connection busy for half an hour";
                Err(self.start_over(why).await)
            }
        }
    }

    /// The batch is lost with its thread: everything is compared again.
    async fn start_over(&mut self, why: &str) -> GitFailure {
        self.discard_clone().await;
        let plan = self.plans.borrow().clone();
        for destination in plan {
            let request = (destination.key.clone(), Cause::Resync);
            let _ = self.settings.resync.send(request).await;
        }
        lost(why)
    }

    fn hold_clone(&mut self) -> Arc<HeldClone> {
        let hold = || self.clones.hold(&self.key);
        self.clone.get_or_insert_with(hold).clone()
    }

    /// Has the clone removed, now or when a thread that was given up ends at last.
    async fn discard_clone(&mut self) {
        if let Some(clone) = self.clone.take() {
            clone.discard();
            // A panic there would be one in removing files: nothing to do about it.
            let _ = tokio::task::spawn_blocking(move || drop(clone)).await;
        }
    }

    async fn wait_for_replay(&self) {
        let mut replayed = self.settings.replayed.clone();
        // The sender outlives the workers; a sidecar that never comes holds nothing up for good.
        let _ = tokio::time::timeout_at(self.replay_by, replayed.wait_for(|done| *done)).await;
    }

    /// Waits until the observations of what is in the queue by now can't be late any more, those of
    /// rivals neither. Live changes that come later are left for the next round, unless there is no
    /// use in waiting for the sidecar.
    async fn wait_for_observations(&self) -> Coverage {
        let now = Instant::now();
        match self.queue.unsettled() {
            None => Coverage::Until(now),
            Some(newest) => {
                let pass = self.settings.barrier.pass(newest);
                // One that was begun before the end is not waited for any longer than one that is begun after it.
                match self.settings.shutdown.run_until_cancelled(pass).await {
                    Some(coverage) => coverage,
                    None => self.settings.barrier.pass_last(newest).await,
                }
            }
        }
    }

    /// At most `--workers-max-per-repo` of a repository and `--workers-max-global` in all.
    async fn take_turn(&self) -> Vec<OwnedSemaphorePermit> {
        let mut permits = Vec::new();
        for semaphore in &self.permits {
            // Never closed.
            permits.extend(semaphore.clone().acquire_owned().await);
        }
        permits
    }

    fn succeeded(&mut self) {
        self.failures = 0;
        self.settings.board.git_failure(&self.key, None);
    }

    async fn back_off(&mut self, failure: GitFailure) {
        self.failures = self.failures.saturating_add(1);
        warn!(branch = %self.key, reason = failure.reason, "{}", failure.message);
        let contended = failure.reason == CONTENTION;
        self.settings.metrics.push_failed(failure.reason);
        self.settings.board.git_failure(&self.key, Some(failure));
        self.settings.board.worker(&self.key, WorkerPhase::Waiting);
        let doubled = BACKOFF.0.saturating_mul(1 << (self.failures - 1).min(10));
        let longest = if contended { CONTENDED } else { BACKOFF.1 };
        let wait = doubled.min(longest).mul_f64(rand::random_range(0.8..1.0));
        let mut plans = self.plans.clone();
        let destination = plans.borrow().first().cloned();
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = self.settings.shutdown.cancelled() => {}
            // Another Secret or URL may be what it takes.
            _ = plans.changed() => self.credentials.forget(),
            () = self.retired.cancelled() => {}
            () = self.credentials.changed(destination.as_deref(), LOOK_AT_SECRET) => {}
        }
    }
}

fn lost(why: &str) -> GitFailure {
    GitFailure {
        reason: "GitFailed",
        message: why.to_owned(),
        needs_action: false,
    }
}

/// A moment within this time from now: workers that were started together don't ask together for long. `None` for one that
/// is further away than can be told.
fn jittered(interval: Duration) -> Option<Instant> {
    let shortened = interval.mul_f64(rand::random_range(0.8..1.0));
    Instant::now().checked_add(shortened)
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
#[path = "worker_tests.rs"]
pub(in crate::workers) mod tests;
