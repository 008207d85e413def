//! The sidecar against one that only allows, in turns: what a write waits for it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::PostParams;
use tests::reverser::{Metrics, Reverser};
use tokio::time::MissedTickBehavior;

use super::allows::AllowsOnly;
use super::histogram::Histogram;
use crate::args::Args;
use crate::lab::{Lab, config_map, payload};
use crate::report::quantile;

/// Each user writes to so many objects in turn.
const OBJECTS: u32 = 20;

/// Writes of a block that are not counted: the apiserver may have to connect first.
const WARM_UP: Duration = Duration::from_millis(500);

/// The key of a ConfigMap that tells which write it was.
const KEY: &str = "write";

/// What came of the turns of one size.
#[derive(Default)]
pub(crate) struct Paired {
    /// From each call to its answer, sorted: with the sidecar, and with the one that only allows.
    pub(super) sidecar: Vec<Duration>,
    pub(super) allows: Vec<Duration>,
    /// For each A B B A, the median with the sidecar minus the other, in seconds, sorted.
    pub(super) differences: Vec<f64>,
    /// The sidecar's own.
    pub(super) histogram: Histogram,
    /// What is wrong; empty if nothing is.
    pub(super) faults: Vec<String>,
}

/// Two blocks of one of them.
type Half = Vec<Duration>;

pub(super) async fn measure(
    args: &Args,
    lab: &Lab<'_>,
    reverser: &Reverser,
    bytes: usize,
) -> Result<Paired> {
    reverser.restart_webhook().await?;
    let mut allows = AllowsOnly::start(reverser).await?;
    let mut writers = Vec::new();
    for user in 0..args.users {
        writers.push(Writer::new(lab, user, bytes).await?);
    }

    let mut paired = Paired::default();
    for turn in 0..args.webhook_turns {
        // Whoever begins has the ends of the turn, and so twice the distance in time.
        let order = match turn % 2 {
            0 => [true, false, false, true],
            _ => [false, true, true, false],
        };
        let (mut with, mut without): (Half, Half) = (Vec::new(), Vec::new());
        for sidecar in order {
            if sidecar {
                reverser.register_webhook().await?;
                with.extend(seen(args, reverser, &mut writers, &mut paired).await?);
            } else {
                reverser.register_webhook_at(&allows.url()).await?;
                without.extend(block(args, &mut writers).await?);
            }
            allows.must_run()?;
            reverser.must_run()?;
        }
        with.sort_unstable();
        without.sort_unstable();
        paired
            .differences
            .push(quantile(&with, 0.5) - quantile(&without, 0.5));
        paired.sidecar.extend(with);
        paired.allows.extend(without);
    }
    paired.sidecar.sort_unstable();
    paired.allows.sort_unstable();
    paired.differences.sort_by(f64::total_cmp);
    Ok(paired)
}

/// A block whose writes the sidecar sees, each of which it must have told the reverser.
async fn seen(
    args: &Args,
    reverser: &Reverser,
    writers: &mut [Writer],
    paired: &mut Paired,
) -> Result<Half> {
    let before = reverser.webhook_metrics().await;
    let took = block(args, writers).await?;
    let after = reverser.webhook_metrics().await;

    let answers = Histogram::of(&after)?.since(&Histogram::of(&before)?);
    let grown = |name: &str| {
        let name = format!("gitopsreverser_webhook_{name}");
        let value = |metrics: &Metrics| metrics.sum(&name);
        value(&after) - value(&before)
    };
    let writes =
        f64::from(args.webhook_rate * args.webhook_block_seconds / args.users * args.users);
    let acknowledged = grown("observations_acked_total");
    if acknowledged < writes {
        paired.faults.push(format!(
            "of {writes} writes the reverser acknowledged {acknowledged}"
        ));
    }
    let late = grown("ack_timeouts_total");
    if late > 0.0 {
        paired.faults.push(format!(
            "{late} answers did not wait for the acknowledgement"
        ));
    }
    paired.histogram = paired.histogram.plus(&answers);
    Ok(took)
}

/// All users write for the time of a block. Returns how long the apiserver's answers took.
async fn block(args: &Args, writers: &mut [Writer]) -> Result<Half> {
    let start = Instant::now();
    let took = try_join_all(writers.iter_mut().map(|writer| writer.write(args, start))).await?;
    Ok(took.into_iter().flatten().collect())
}

/// A user with ConfigMaps that nobody else writes to.
struct Writer {
    api: Api<ConfigMap>,
    user: u32,
    /// As the apiserver answered last, without managed fields: whoever sends none keeps those that are there.
    objects: Vec<ConfigMap>,
    turn: usize,
}

// === impl Writer ===

impl Writer {
    async fn new(lab: &Lab<'_>, user: u32, bytes: usize) -> Result<Self> {
        let api = lab.maps(lab.user(&format!("cost-user-{user}")));
        let mut objects = Vec::new();
        for number in 0..OBJECTS {
            let map = config_map(
                &format!("cost-{bytes}-{user}-{number}"),
                &payload(number as usize, bytes),
            )?;
            let mut map = api.create(&PostParams::default(), &map).await?;
            map.metadata.managed_fields = None;
            objects.push(map);
        }
        Ok(Self {
            api,
            user,
            objects,
            turn: 0,
        })
    }

    /// This user's share of the load, evenly spaced; late calls are caught up with.
    async fn write(&mut self, args: &Args, start: Instant) -> Result<Half> {
        let every = Duration::from_secs(1) * args.users / args.webhook_rate;
        // Not all of them at the same moment.
        let first = start + every.mul_f64(f64::from(self.user) / f64::from(args.users));
        let mut ticks = tokio::time::interval_at(first.into(), every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut took = Vec::new();
        for _ in 0..args.webhook_rate * args.webhook_block_seconds / args.users {
            ticks.tick().await;
            self.turn += 1;
            let at = self.turn % self.objects.len();
            let object = &mut self.objects[at];
            object
                .data
                .get_or_insert_default()
                .insert(KEY.to_owned(), self.turn.to_string());
            let name = object.metadata.name.clone().unwrap_or_default();
            let asked = Instant::now();
            let mut answer = self
                .api
                .replace(&name, &PostParams::default(), object)
                .await
                .with_context(|| format!("update {name}"))?;
            if asked > start + WARM_UP {
                took.push(asked.elapsed());
            }
            answer.metadata.managed_fields = None;
            *object = answer;
        }
        Ok(took)
    }
}
