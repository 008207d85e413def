//! The reverser: parses flags, starts logging, and runs what `wiring` puts together; or does one of the
//! other things that the program can do.

mod allocator;

use std::process::ExitCode;

use clap::Parser;
use reverser::args::{Args, Command};
use reverser::{git, observe, probe, snapshot, wiring};

fn main() -> anyhow::Result<ExitCode> {
    let mut args = Args::parse();
    match args.command.take() {
        Some(Command::Snapshot(args)) => Ok(snapshot::run(&args)),
        Some(Command::Probe(args)) => Ok(probe::run(&args)),
        None => operate(args).map(|()| ExitCode::SUCCESS),
    }
}

fn operate(args: Args) -> anyhow::Result<()> {
    observe::init_logging(args.log_format, &args.log_level)?;
    // Process-wide and not thread-safe: before there is a second thread.
    git::limits::init_process(&args.work_dir.join("home"), args.git_limits())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(wiring::run(args));
    // Dropping it would wait for threads that wait for a Git server.
    runtime.shutdown_background();
    outcome
}
