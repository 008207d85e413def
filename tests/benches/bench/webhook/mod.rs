//! What the sidecar costs: a write that waits for it, and a processor that does nothing else.

mod allows;
mod cores;
mod histogram;
mod load;
mod one_core;
mod paired;
mod report;
mod reviews;

use ::reverser::api::{GitDestination, WatchRule};
use anyhow::{Context, Result};
use tests::reverser::Reverser;

use crate::args::Args;
use crate::lab::Lab;
use crate::say;

/// Sizes of the objects' data, in bytes, with their names.
const SIZES: [(usize, &str); 2] = [(1 << 10, "1 KiB"), (10 << 10, "10 KiB")];

/// Prints both parts and how they compare with what is asked for. Returns what went wrong in them.
pub(crate) async fn measure(
    args: &Args,
    lab: &Lab<'_>,
    reverser: &Reverser,
) -> Result<Vec<String>> {
    let name = "cost";
    let _repo = lab.destination(name).await?;
    lab.rule(name).await?;
    lab.ready::<WatchRule>(name).await?;
    lab.ready::<GitDestination>(name).await?;

    let mut pairs = Vec::new();
    for (bytes, size) in SIZES {
        say(&format!(
            "webhook, {size}: {} writes a second, {} times A B B A of {} s",
            args.webhook_rate, args.webhook_turns, args.webhook_block_seconds
        ));
        let pair = paired::measure(args, lab, reverser, bytes)
            .await
            .with_context(|| format!("two sidecars, {size}"))?;
        pairs.push((size, pair));
    }
    println!("{}", report::paired(args, &pairs));

    let mut loads = Vec::new();
    for (bytes, size) in SIZES {
        say(&format!("webhook, {size}: one core"));
        let load = one_core::measure(args, lab, reverser, bytes)
            .await
            .with_context(|| format!("the sidecar on one core, {size}"))?;
        loads.push((size, load));
    }
    println!("{}", report::one_core(args, &loads));
    println!("{}", report::asked_for(args, &pairs, &loads));
    lab.clear(name).await?;

    let faults = pairs.into_iter().map(|(size, pair)| (size, pair.faults));
    let faults = faults.chain(loads.into_iter().map(|(size, load)| (size, load.faults)));
    Ok(faults
        .flat_map(|(size, faults)| {
            faults
                .into_iter()
                .map(move |fault| format!("{size}: {fault}"))
        })
        .collect())
}
