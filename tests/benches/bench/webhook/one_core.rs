//! The sidecar on a core of its own. Whoever posts, the reverser that takes the stream, and the control plane share the others.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use anyhow::{Context, Result};
use tests::process::Usage;
use tests::reverser::{Metrics, Reverser};

use super::cores::Cores;
use super::histogram::Histogram;
use super::load::{Answers, Client};
use super::reviews::Template;
use crate::args::Args;
use crate::lab::Lab;

/// Reviews in flight where as many are posted as are answered: a busy apiserver's.
const IN_FLIGHT: usize = 32;
/// What the sidecar's outbox holds at most (`webhook::outbox::Limits`).
const OUTBOX: u32 = 10_000;

/// What came of one size.
pub(crate) struct OneCore {
    /// Bytes of a review.
    pub(super) review: usize,
    /// At the rate that is asked for.
    pub(super) paced: Stage,
    /// As fast as it goes.
    pub(super) fastest: Stage,
    /// At the rate that is asked for, without a reverser, from an empty outbox to a full one and on.
    pub(super) away: Stage,
    /// What is wrong; empty if nothing is.
    pub(super) faults: Vec<String>,
}

/// A load, and what the sidecar took for it.
pub(super) struct Stage {
    pub(super) answers: Answers,
    /// Share of its core.
    pub(super) core: f64,
    /// Processor time for one admission.
    pub(super) cpu: Duration,
    /// Before and after it.
    pub(super) before: Usage,
    pub(super) after: Usage,
    pub(super) histogram: Histogram,
    /// Observations that the reverser acknowledged.
    pub(super) acknowledged: f64,
    /// Admissions that were answered without the acknowledgement they waited for.
    pub(super) late: f64,
    /// Observations in the outbox at the end.
    pub(super) waiting: f64,
}

pub(super) async fn measure(
    args: &Args,
    lab: &Lab<'_>,
    reverser: &Reverser,
    bytes: usize,
) -> Result<OneCore> {
    let cores = Cores::allowed()?;
    let template = Arc::new(Template::catch(lab, reverser, bytes).await?);
    let time = Duration::from_secs(args.load_seconds.into());
    reverser.restart_webhook().await?;
    pin(&cores, lab, reverser)?;
    let client = connect(reverser, &template).await?;
    client
        .at_rate(args.load_rate / 4, Duration::from_secs(1))
        .await?;

    let paced = stage(reverser, client.at_rate(args.load_rate, time)).await?;
    let fastest = stage(reverser, client.in_flight(IN_FLIGHT, time)).await?;

    reverser.restart_webhook().await?;
    pin(&cores, lab, reverser)?;
    let client = connect(reverser, &template).await?;
    reverser.kill9_reverser();
    let full = Duration::from_secs(u64::from(OUTBOX / args.load_rate) + 5);
    let away = stage(reverser, client.at_rate(args.load_rate, full)).await?;
    reverser.restart_reverser().await?;
    unpin(&cores, lab, reverser)?;

    let mut faults = Vec::new();
    for stage in [&paced, &fastest] {
        let sent = stage.answers.took.len();
        if stage.acknowledged + stage.waiting < sent as f64 {
            faults.push(format!(
                "of {sent} admissions the reverser acknowledged {}",
                stage.acknowledged
            ));
        }
    }
    Ok(OneCore {
        review: template.body(0).len(),
        paced,
        fastest,
        away,
        faults,
    })
}

/// A connection such as the apiserver's.
async fn connect(reverser: &Reverser, template: &Arc<Template>) -> Result<Client> {
    let (url, ca) = (reverser.webhook_url(), reverser.webhook_ca_pem());
    Client::connect(url, ca, Arc::clone(template), Arc::<AtomicU64>::default()).await
}

async fn stage(reverser: &Reverser, load: impl Future<Output = Result<Answers>>) -> Result<Stage> {
    reverser.reset_peaks();
    let earlier = reverser.webhook_metrics().await;
    let before = reverser.webhook_usage().unwrap_or_default();
    let start = std::time::Instant::now();
    let answers = load.await?;
    let time = start.elapsed();
    let after = reverser.webhook_usage().unwrap_or_default();
    let later = reverser.webhook_metrics().await;
    reverser.must_run()?;

    let cpu = after.cpu.saturating_sub(before.cpu);
    let value =
        |metrics: &Metrics, name: &str| metrics.sum(&format!("gitopsreverser_webhook_{name}"));
    let grown = |name: &str| value(&later, name) - value(&earlier, name);
    Ok(Stage {
        core: cpu.as_secs_f64() / time.as_secs_f64(),
        cpu: cpu.div_f64(answers.took.len().max(1) as f64),
        before,
        after,
        histogram: Histogram::of(&later)?.since(&Histogram::of(&earlier)?),
        acknowledged: grown("observations_acked_total"),
        late: grown("ack_timeouts_total"),
        waiting: value(&later, "outbox_depth"),
        answers,
    })
}

/// The sidecar has a core, everything else the others. To be done again whenever one of the two was started.
fn pin(cores: &Cores, lab: &Lab<'_>, reverser: &Reverser) -> Result<()> {
    let [ours, sidecar] = reverser.pids();
    let rest: Vec<u32> = lab.plane.pids().into_iter().chain(ours).collect();
    cores.reserve_first(sidecar.context("the sidecar does not run")?, &rest)
}

fn unpin(cores: &Cores, lab: &Lab<'_>, reverser: &Reverser) -> Result<()> {
    let ours = reverser.pids().into_iter().flatten();
    let all: Vec<u32> = lab.plane.pids().into_iter().chain(ours).collect();
    cores.release(&all)
}
