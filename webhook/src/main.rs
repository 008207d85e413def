//! `gitops-reverser-webhook`: parses, wires, runs.

use clap::Parser;
use webhook::{args::Args, logging, runtime::runtime, wiring};

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    logging::init(&args)?;
    runtime()?.block_on(async { wiring::run(args, wiring::terminated()?).await })
}
