//! Where the log goes and what it looks like.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::args::{Args, LogFormat};

/// Sends the log to standard error in the wanted format and from the wanted level up.
///
/// # Errors
/// When `--log-level` is not a filter, or a log was already set up in this process.
pub fn init(args: &Args) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&args.log_level)
        .map_err(|error| anyhow::anyhow!("--log-level={}: {error}", args.log_level))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .with_target(false);
    match args.log_format {
        LogFormat::Json => log.json().flatten_event(true).try_init(),
        LogFormat::Text => log.try_init(),
    }
    .map_err(|error| anyhow::anyhow!("setting up the log: {error}"))?;
    std::panic::set_hook(Box::new(report_panic));
    Ok(())
}

/// A panic ends one request, or a task and with it the process. Its message is left out: it may
/// quote what was being worked on, which can be a Secret.
fn report_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let at = panic.location().map(ToString::to_string);
    tracing::error!(at, "panicked");
}
