//! `gitops-reverser-webhook`: parses, wires, runs.

use clap::Parser;
use webhook::{args::Args, logging, wiring};

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    logging::init(&args)?;
    // Two workers, so that hashing one large object does not hold up the other admissions, and
    // two blocking threads, which bound how many large bodies are hashed at a time.
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(2)
        .enable_all()
        .build()?
        .block_on(async { wiring::run(args, wiring::terminated()?).await })
}
