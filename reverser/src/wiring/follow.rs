//! Small parts that only pass on what others say.

use std::sync::Arc;

use tokio::sync::watch;
use tracing::info;

use crate::attribution::{Presence, Sidecar};
use crate::discovery::Catalog;
use crate::leadership::{Fence, LeadershipMetrics};
use crate::observe::{Health, Metrics};
use crate::rules::Configuration;
use crate::status::StatusBoard;
use crate::workers::Workers;

/// Brings the gauges up to date that are worked out on demand.
pub(super) fn gauges(
    workers: Arc<Workers>,
    board: Arc<StatusBoard>,
    metrics: Arc<Metrics>,
    fence: Arc<Fence>,
    election: Arc<LeadershipMetrics>,
) -> impl Fn() + Send + Sync {
    move || {
        election.leader.set(fence.is_open().into());
        let tasks = tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks();
        metrics.tasks.set(i64::try_from(tasks).unwrap_or(i64::MAX));
        let depth: usize = workers.depths().values().sum();
        metrics
            .repo_branch_queue_depth
            .set(i64::try_from(depth).unwrap_or(i64::MAX));
        let active = board.snapshot().active_workers();
        metrics
            .repo_branch_active_workers
            .set(i64::try_from(active).unwrap_or(i64::MAX));
    }
}

/// Tells the workers that the sidecar has replayed, and the board whether it is there.
pub(super) async fn follow_sidecar(
    mut presences: watch::Receiver<Presence>,
    replayed: watch::Sender<bool>,
    board: Arc<StatusBoard>,
) {
    loop {
        let sidecar = presences.borrow_and_update().sidecar;
        board.sidecar(sidecar != Sidecar::Away);
        if sidecar == Sidecar::Live {
            replayed.send_replace(true);
        }
        if presences.changed().await.is_err() {
            return;
        }
    }
}

/// Ready once the custom resources and the types are known.
pub(super) async fn announce_ready(
    mut configurations: watch::Receiver<Option<Arc<Configuration>>>,
    mut catalogs: watch::Receiver<Arc<Catalog>>,
    health: Arc<Health>,
) {
    let known = configurations.wait_for(Option::is_some).await.is_ok();
    if known
        && catalogs
            .wait_for(|catalog| !catalog.is_empty())
            .await
            .is_ok()
    {
        health.set_ready(true);
        info!("ready");
    }
    std::future::pending::<()>().await;
}

pub(super) async fn terminated() -> anyhow::Result<&'static str> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    Ok(tokio::select! {
        _ = term.recv() => "SIGTERM",
        _ = int.recv() => "SIGINT",
    })
}
