//! What an operator can ask of a running process, in Prometheus's terms.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use crate::workers::FAILURES;

/// Every metric of the reverser but those of attribution, which stand beside the store.
#[derive(Debug)]
pub struct Metrics {
    /// Objects read by lists.
    pub objects_scanned_total: IntCounter,
    /// Objects that can't be written, each when that is found out.
    pub objects_skipped_total: IntCounter,
    /// Files written by commits.
    pub objects_written_total: IntCounter,
    /// Files deleted by commits.
    pub files_deleted_total: IntCounter,
    /// Commits made.
    pub commits_total: IntCounter,
    /// Bytes of manifests in commits.
    pub commit_bytes_total: IntCounter,
    /// Pushes that found the branch moved and were replayed on its new tip.
    pub rebase_retries_total: IntCounter,
    /// Git workers that are doing Git work now.
    pub repo_branch_active_workers: IntGauge,
    /// Changes that wait for Git workers.
    pub repo_branch_queue_depth: IntGauge,
    /// Async tasks that have not ended.
    pub tasks: IntGauge,
    /// Versions of a file that made way for newer ones because a queue was at its bound.
    pub versions_dropped_total: IntCounter,
    /// Seconds of a push, with everything that it retried.
    pub push_duration_seconds: Histogram,
    /// Seconds from a change being seen to its commit being pushed.
    pub change_lag_seconds: Histogram,
    push_failures_total: IntCounterVec,
    watch_restarts_total: IntCounterVec,
}

impl Metrics {
    /// Registers all of them.
    ///
    /// # Errors
    /// When a name is taken in this registry.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str| -> prometheus::Result<IntCounter> {
            let counter = IntCounter::with_opts(Opts::new(name, help).namespace(NAMESPACE))?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        let counters = |name: &str, help: &str, label: &str| -> prometheus::Result<IntCounterVec> {
            let counters =
                IntCounterVec::new(Opts::new(name, help).namespace(NAMESPACE), &[label])?;
            registry.register(Box::new(counters.clone()))?;
            Ok(counters)
        };
        let gauge = |name: &str, help: &str| -> prometheus::Result<IntGauge> {
            let gauge = IntGauge::with_opts(Opts::new(name, help).namespace(NAMESPACE))?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let histogram = |name: &str, help: &str| -> prometheus::Result<Histogram> {
            let buckets = vec![
                0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0, 20.0, 60.0, 300.0,
            ];
            let options = HistogramOpts::new(name, help)
                .namespace(NAMESPACE)
                .buckets(buckets);
            let histogram = Histogram::with_opts(options)?;
            registry.register(Box::new(histogram.clone()))?;
            Ok(histogram)
        };
        let push_failures_total = counters(
            "push_failures_total",
            "Failed attempts to write to Git.",
            "reason",
        )?;
        let watch_restarts_total = counters(
            "watch_restarts_total",
            "Watches that had to begin again.",
            "reason",
        )?;
        // There from the start, so that a rate over the first increment is seen.
        for reason in FAILURES {
            push_failures_total.with_label_values(&[reason]);
        }
        for reason in ["expired", "error"] {
            watch_restarts_total.with_label_values(&[reason]);
        }
        Ok(Self {
            objects_scanned_total: counter("objects_scanned_total", "Objects read by lists.")?,
            objects_skipped_total: counter(
                "objects_skipped_total",
                "Objects that can't be written to Git, each when that was found out.",
            )?,
            objects_written_total: counter("objects_written_total", "Files written by commits.")?,
            files_deleted_total: counter("files_deleted_total", "Files deleted by commits.")?,
            commits_total: counter("commits_total", "Commits made.")?,
            commit_bytes_total: counter("commit_bytes_total", "Bytes of manifests in commits.")?,
            rebase_retries_total: counter(
                "rebase_retries_total",
                "Pushes that found the branch moved and were replayed on its new tip.",
            )?,
            repo_branch_active_workers: gauge(
                "repo_branch_active_workers",
                "Git workers that are doing Git work now.",
            )?,
            repo_branch_queue_depth: gauge(
                "repo_branch_queue_depth",
                "Changes that wait for Git workers.",
            )?,
            tasks: gauge("tasks", "Async tasks that have not ended.")?,
            versions_dropped_total: counter(
                "versions_dropped_total",
                "Versions of a file that made way for newer ones, or for its deletion, because a queue was at its bound.",
            )?,
            push_duration_seconds: histogram(
                "push_duration_seconds",
                "Duration of a push with its retries.",
            )?,
            change_lag_seconds: histogram(
                "change_lag_seconds",
                "Time from a change being seen to its commit being pushed.",
            )?,
            push_failures_total,
            watch_restarts_total,
        })
    }

    /// Counts a failed attempt to write to Git.
    pub fn push_failed(&self, reason: &str) {
        self.push_failures_total.with_label_values(&[reason]).inc();
    }

    /// Counts a watch that had to begin again: `expired` or `error`.
    pub fn watch_restarted(&self, reason: &str) {
        self.watch_restarts_total.with_label_values(&[reason]).inc();
    }
}

const NAMESPACE: &str = "gitopsreverser";
