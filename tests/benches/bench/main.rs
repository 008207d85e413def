//! `make bench`: how fast the live cluster gets to Git, against what the same work takes at least, and what the sidecar costs.
//!
//! Times are printed and never judged: machines differ. It fails where Git does not end up with every object and every
//! version, or with a wrong author, or where the sidecar does not tell of a write that it saw.

mod args;
mod commits;
mod history;
mod keep;
mod lab;
mod lag;
mod limit;
mod noise;
mod report;
mod seed;
mod tips;
mod webhook;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser as _;
use reverser::git::limits::{Limits, init_process};
use tests::ControlPlane;
use tests::reverser::{Options, Reverser};

use args::{Args, Part};
use lab::Lab;

fn main() -> ExitCode {
    match start() {
        Ok(faults) if faults.is_empty() => ExitCode::SUCCESS,
        Ok(faults) => {
            eprintln!("\n{} things are not as they should be:", faults.len());
            for fault in faults.iter().take(20) {
                eprintln!("  {fault}");
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("\nbench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Returns what is wrong, in Git or with an answer.
fn start() -> Result<Vec<String>> {
    let args = Args::parse();
    // Before there is a second thread, as the programs do.
    let home = tempfile::tempdir()?;
    init_process(home.path(), Limits::default())?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(run(&args))
}

async fn run(args: &Args) -> Result<Vec<String>> {
    let busy_before = noise::busy().await;
    let mut faults = Vec::new();
    if args.measures(Part::Commits) {
        commits()?;
    }
    if [Part::Seed, Part::Keep, Part::Lag, Part::Webhook]
        .into_iter()
        .any(|part| args.measures(part))
    {
        let plane = ControlPlane::start(tests::control_plane::Options::default()).await?;
        let options = Options {
            log_level: args.log_level.clone(),
            register_webhook: false,
            ..Options::default()
        };
        let reverser = Reverser::start(&plane, options).await?;
        if args.measures(Part::Webhook) {
            let lab = Lab::new(&plane, "cost", 1).await?;
            faults.extend(webhook::measure(args, &lab, &reverser).await?);
        }
        if [Part::Seed, Part::Keep, Part::Lag]
            .into_iter()
            .any(|part| args.measures(part))
        {
            faults.extend(to_git(args, &plane, &reverser).await?);
        }
        reverser.stop().await?;
        plane.stop();
    }
    let percent = |busy: Option<f64>| busy.map_or("?".to_owned(), |b| format!("{:.0}", b * 100.0));
    println!(
        "\n{} cores; in use by others: {} % before, {} % after",
        std::thread::available_parallelism().map_or(0, usize::from),
        percent(busy_before),
        percent(noise::busy().await),
    );
    Ok(faults)
}

/// What has to do with Git, beside so many objects. Returns what is wrong in Git.
async fn to_git(args: &Args, plane: &ControlPlane, reverser: &Reverser) -> Result<Vec<String>> {
    let full = Lab::new(plane, "full", args.namespaces).await?;
    say(&format!(
        "creating {} ConfigMaps in {} namespaces",
        args.objects, args.namespaces
    ));
    full.fill(args.objects, args.object_bytes).await?;
    reverser.register_webhook().await?;
    if args.measures(Part::Seed) {
        seed(args, &full, reverser).await?;
    }
    let mut faults = Vec::new();
    if args.measures(Part::Keep) {
        say(&format!("keeping watch for {} s", args.idle_seconds));
        let kept = keep::measure(args, &full, reverser).await.context("keep")?;
        let title = format!("keeping watch of {} ConfigMaps", args.objects);
        println!("{}", report::keep(&title, &kept));
        faults.extend(kept.faults);
    }
    if args.measures(Part::Lag) {
        for (_, outcome) in lag(args, &full, reverser).await? {
            faults.extend(outcome.faults);
        }
    }
    Ok(faults)
}

fn commits() -> Result<()> {
    let mut costs = Vec::new();
    for shape in commits::SHAPES {
        say(&format!(
            "commits: {} files in {} folders",
            shape.files, shape.folders
        ));
        costs.push((shape, commits::measure(shape)?));
    }
    println!("{}", report::commits(&costs));
    Ok(())
}

async fn seed(args: &Args, lab: &Lab<'_>, reverser: &Reverser) -> Result<()> {
    let mut rounds = Vec::new();
    for number in 1..=args.rounds {
        say(&format!("seed, round {number} of {}", args.rounds));
        let name = format!("seed-{number}");
        let round = seed::round(args, lab, reverser, &name)
            .await
            .with_context(|| format!("seed, round {number}"))?;
        rounds.push(round);
        lab.clear(&name).await?;
    }
    let title = format!(
        "seed: {} ConfigMaps of {} bytes",
        args.objects, args.object_bytes
    );
    println!("{}", report::seed(&title, &rounds));
    Ok(())
}

async fn lag(
    args: &Args,
    full: &Lab<'_>,
    reverser: &Reverser,
) -> Result<Vec<(String, lag::Outcome)>> {
    let empty = Lab::new(full.plane, "empty", args.namespaces).await?;
    let mut outcomes = Vec::new();
    for (lab, name) in [(&empty, "empty-folder"), (full, "full-folder")] {
        say(&format!(
            "lag, {name}: {} writes a second for {} s",
            args.rate, args.seconds
        ));
        reverser.restart_reverser().await?;
        reverser.restart_webhook().await?;
        let repo = lab.destination(name).await?;
        lab.rule(name).await?;
        lab.rule_ready(name).await?;
        let outcome = lag::measure(args, lab, reverser, name, &repo)
            .await
            .with_context(|| format!("lag, {name}"))?;
        outcomes.push((name.replace('-', " "), outcome));
        lab.clear(name).await?;
    }
    let title = format!(
        "lag: {} users, {} writes a second for {} s",
        args.users, args.rate, args.seconds
    );
    println!("{}", report::lag(&title, &outcomes));
    Ok(outcomes)
}

fn say(what: &str) {
    eprintln!("bench: {what}");
}
