//! The command line.
//!
//! Each flag can also be given as the environment variable `GITOPS_REVERSER_` + its name in
//! upper case with underscores; the flag wins.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::endpoint::ReverserEndpoint;

/// Answers every admission with allowed, and tells the reverser who made the write.
#[derive(Clone, Debug, Parser)]
#[command(name = "gitops-reverser-webhook", version)]
pub struct Args {
    /// Where admissions are served over TLS
    #[arg(
        long,
        env = "GITOPS_REVERSER_BIND_ADDRESS",
        default_value = "[::]:9443"
    )]
    pub bind_address: SocketAddr,

    /// PEM certificate chain to serve with; read again when it changes
    #[arg(long, env = "GITOPS_REVERSER_TLS_CERT_FILE")]
    pub tls_cert_file: PathBuf,

    /// PEM private key of the certificate; read again when it changes
    #[arg(long, env = "GITOPS_REVERSER_TLS_PRIVATE_KEY_FILE")]
    pub tls_private_key_file: PathBuf,

    /// PEM certificates: only clients with a certificate of these authorities are served; read
    /// again when it changes [default: every client]
    #[arg(long, env = "GITOPS_REVERSER_CLIENT_CA_FILE")]
    pub client_ca_file: Option<PathBuf>,

    /// File with a token: only /process-validating-webhook/<token> is served [default: no token]
    #[arg(long, env = "GITOPS_REVERSER_PATH_TOKEN_FILE")]
    pub path_token_file: Option<PathBuf>,

    /// Where the reverser takes reports: unix:/path, or http://127.0.0.1:PORT
    #[arg(
        long,
        env = "GITOPS_REVERSER_REVERSER_ENDPOINT",
        default_value = "unix:/run/gitops-reverser/attribution.sock"
    )]
    pub reverser_endpoint: ReverserEndpoint,

    /// Where /metrics is served
    #[arg(
        long,
        env = "GITOPS_REVERSER_METRICS_BIND_ADDRESS",
        default_value = "[::]:8080"
    )]
    pub metrics_bind_address: SocketAddr,

    /// Where /healthz and /readyz are served
    #[arg(
        long,
        env = "GITOPS_REVERSER_HEALTH_PROBE_BIND_ADDRESS",
        default_value = "[::]:8081"
    )]
    pub health_probe_bind_address: SocketAddr,

    /// Shape of a log line
    #[arg(
        long,
        value_enum,
        env = "GITOPS_REVERSER_LOG_FORMAT",
        default_value = "json"
    )]
    pub log_format: LogFormat,

    /// Least severe level that is logged: error, warn, info, debug, trace, or a filter such as
    /// info,webhook=debug
    #[arg(long, env = "GITOPS_REVERSER_LOG_LEVEL", default_value = "info")]
    pub log_level: String,
}

/// Shape of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn every_flag_has_help_and_its_own_variable() {
        let command = Args::command();
        command.clone().debug_assert();
        for arg in command.get_arguments() {
            let long = arg.get_long().expect("every argument is a long flag");
            if matches!(long, "help" | "version") {
                continue;
            }
            let variable = format!("GITOPS_REVERSER_{}", long.to_uppercase().replace('-', "_"));
            assert_eq!(arg.get_env().unwrap().to_str().unwrap(), variable);
            assert!(arg.get_help().is_some(), "{long}");
        }
    }

    #[test]
    fn an_endpoint_on_the_network_is_refused() {
        let args = ["x", "--tls-cert-file=c", "--tls-private-key-file=k"];
        assert!(Args::try_parse_from(args).is_ok());
        let remote = args
            .into_iter()
            .chain(["--reverser-endpoint=http://10.0.0.1:50051"]);
        assert!(Args::try_parse_from(remote).is_err());
    }
}
