//! Logs on standard error: JSON for machines, text for people.

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing::subscriber::set_global_default;
use tracing_log::{AsLog, LogTracer};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// rPGP logs the private keys that it reads (`debug!` in 0.21's packet/secret_key_parser.rs): no level is to show them.
const TELLS_SECRETS: &str = "pgp";

/// `--log-format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For a terminal.
    Text,
}

/// Starts logging. `level` is a level (`info`) or a filter of tracing-subscriber (`info,reverser::git=debug`).
///
/// # Errors
/// When the filter can't be read.
pub fn init_logging(
    format: LogFormat,
    level: &str,
) -> Result<(), tracing_subscriber::filter::ParseError> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(level)?)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Json => set_global_default(builder.json().flatten_event(true).finish()),
        LogFormat::Text => set_global_default(builder.finish()),
    }
    .expect("logging starts once");
    LogTracer::builder()
        .with_max_level(LevelFilter::current().as_log())
        .ignore_crate(TELLS_SECRETS)
        .init()
        .expect("logging starts once");
    Ok(())
}
