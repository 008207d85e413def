//! What it takes to go on watching when nothing happens, and to come back after a restart.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tests::process::Usage;
use tests::reverser::Reverser;

use crate::args::Args;
use crate::lab::{Lab, PATIENCE};
use crate::limit;
use crate::seed::usage;

/// How often a process that comes back is asked how far it is: the error of its time.
const EVERY: Duration = Duration::from_millis(20);

/// After the seed, caches and allocators are given so long to let go of what they don't need.
const SETTLE: Duration = Duration::from_secs(15);

/// Reverser and webhook.
type Both<T> = (T, T);

/// What it took.
pub(crate) struct Kept {
    /// Before there was a rule.
    pub(crate) started: Both<Usage>,
    /// Everything is in Git; the peak is of the seed.
    pub(crate) seeded: Both<Usage>,
    /// After the time without work.
    pub(crate) idle: Both<Usage>,
    /// The share of one core meanwhile.
    pub(crate) idle_share: Both<f64>,
    /// A paged list of the same objects, by a client of its own.
    pub(crate) list: Duration,
    /// From the start of the process until it said that it was ready: it has the types and the custom resources.
    pub(crate) ready: Duration,
    /// From the start of the process until every object was listed and compared with Git.
    pub(crate) caught_up: Duration,
    /// Since the restart.
    pub(crate) restarted: Both<Usage>,
    /// What was committed although nothing had changed.
    pub(crate) faults: Vec<String>,
}

/// Seeds a destination, lets nothing happen for a while, and restarts the reverser.
pub(crate) async fn measure(args: &Args, lab: &Lab<'_>, reverser: &Reverser) -> Result<Kept> {
    reverser.restart_reverser().await?;
    reverser.restart_webhook().await?;
    tokio::time::sleep(SETTLE).await;
    let started = usage(reverser);
    let repo = lab.destination("keep").await?;
    reverser.reset_peaks();
    lab.rule("keep").await?;
    lab.rule_ready("keep").await?;
    let seeded = usage(reverser);
    tokio::time::sleep(SETTLE).await;

    let before = usage(reverser);
    let from = Instant::now();
    tokio::time::sleep(Duration::from_secs(args.idle_seconds.into())).await;
    let idle = usage(reverser);
    let share = |before: Usage, after: Usage| {
        (after.cpu - before.cpu).as_secs_f64() / from.elapsed().as_secs_f64()
    };
    let idle_share = (share(before.0, idle.0), share(before.1, idle.1));

    let list = limit::list(lab).await?;
    let tip = repo.tip("main");
    let (ready, caught_up) = come_back(args, reverser).await?;
    let restarted = usage(reverser);
    lab.rule_ready("keep").await?;
    let mut faults = Vec::new();
    if repo.tip("main") != tip {
        faults.push("a restart with nothing changed made a commit".to_owned());
    }
    lab.clear("keep").await?;
    Ok(Kept {
        started,
        seeded,
        idle,
        idle_share,
        list,
        ready,
        caught_up,
        restarted,
        faults,
    })
}

/// Restarts the reverser. Returns how long it took until it was ready, and until it had compared everything with Git.
async fn come_back(args: &Args, reverser: &Reverser) -> Result<(Duration, Duration)> {
    let from = Instant::now();
    reverser.restart_reverser().await?;
    let ready = from.elapsed();
    while from.elapsed() < PATIENCE {
        let metrics = reverser.reverser_metrics().await;
        let get = |name: &str| metrics.sum(&format!("gitopsreverser_{name}"));
        let listed = get("objects_scanned_total") >= args.objects as f64;
        let busy = get("repo_branch_queue_depth") + get("repo_branch_active_workers");
        if listed && busy == 0.0 {
            return Ok((ready, from.elapsed()));
        }
        tokio::time::sleep(EVERY).await;
    }
    bail!("not everything was listed and compared after {PATIENCE:?}")
}
