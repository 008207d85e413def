//! Flags, each with an environment variable: `GITOPS_REVERSER_` and the flag in upper case.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, Subcommand};
use manifest::ClusterMade;

use crate::attribution::endpoint::BindAddress;
use crate::commit::{CommitOptions, Signature};
use crate::git::limits::Limits;
use crate::observe::LogFormat;
use crate::probe::ProbeArgs;
use crate::rules::{CompileOptions, TypeFilter};
use crate::secrets::{KeyError, Secrets, SensitiveType};
use crate::snapshot::{AFTER_HELP, SnapshotArgs};
use crate::workers::BatchLimits;

/// Writes the live cluster to Git, with the author of every change.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "gitops-reverser",
    version,
    args_conflicts_with_subcommands = true
)]
pub struct Args {
    /// Something else than to run as the operator
    #[command(subcommand)]
    pub command: Option<Command>,

    /// How often the types that the cluster serves are discovered; changes of CRDs and APIServices are seen at once
    #[arg(long, env = "GITOPS_REVERSER_DISCOVERY_REFRESH", default_value = "5m", value_parser = parse_duration)]
    pub discovery_refresh: Duration,

    /// `resources: ["*"]` selects everything discoverable instead of the preset
    #[arg(long, env = "GITOPS_REVERSER_WATCH_ALL", default_value_t = false, action = clap::ArgAction::Set,
          num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub watch_all: bool,

    /// A resource (`jobs` or `jobs.batch`) that `*` never selects, besides the built-in list; repeated, or separated by commas
    #[arg(long, env = "GITOPS_REVERSER_DISCOVERY_EXCLUDE", value_delimiter = ',')]
    pub discovery_exclude: Vec<String>,

    /// A file with the key of the digests that stand for redacted values, and of what is encrypted: 32 bytes at least; without it changes
    /// of values don't show, and nothing is encrypted
    #[arg(long, env = "GITOPS_REVERSER_REDACTION_KEY_FILE")]
    pub redaction_key_file: Option<PathBuf>,

    /// A type (`tokens.example.com`) whose values are as secret as those of Secrets; repeated, or separated by commas
    #[arg(
        long,
        env = "GITOPS_REVERSER_SENSITIVE_RESOURCES",
        value_delimiter = ','
    )]
    pub sensitive_resources: Vec<SensitiveType>,

    /// Also write what the cluster makes for itself and makes again, such as ReplicaSets of a Deployment
    #[arg(long, env = "GITOPS_REVERSER_WRITE_CLUSTER_MADE", default_value_t = false, action = clap::ArgAction::Set,
          num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub write_cluster_made: bool,

    /// Files in a batch
    #[arg(long, env = "GITOPS_REVERSER_GIT_BATCH_MAX_FILES", default_value_t = 200,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub git_batch_max_files: u32,

    /// MiB of manifests in a batch
    #[arg(long, env = "GITOPS_REVERSER_GIT_BATCH_MAX_BYTES_MIB", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub git_batch_max_bytes_mib: u32,

    /// Seconds that a change may wait for its batch to close
    #[arg(long, env = "GITOPS_REVERSER_GIT_BATCH_MAX_WAIT_SEC", default_value_t = 20,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub git_batch_max_wait_sec: u32,

    /// Milliseconds that an idle worker waits for more changes after the first
    #[arg(
        long,
        env = "GITOPS_REVERSER_GIT_BATCH_LINGER_MS",
        default_value_t = 1000
    )]
    pub git_batch_linger_ms: u32,

    /// MiB that one fetch may bring, which is the tip of a branch without its history; a larger repository is left alone
    #[arg(long, env = "GITOPS_REVERSER_GIT_FETCH_MAX_MIB", default_value_t = 1024,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub git_fetch_max_mib: u32,

    /// How often a worker looks whether somebody changed its folders in Git; 0: only when it pushes
    #[arg(long, env = "GITOPS_REVERSER_DRIFT_CHECK_INTERVAL", default_value = "5m", value_parser = parse_interval)]
    pub drift_check_interval: Duration,

    /// Git workers that do Git work at once
    #[arg(long, env = "GITOPS_REVERSER_WORKERS_MAX_GLOBAL", default_value_t = 24,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub workers_max_global: u32,

    /// Git workers that do Git work at once on one repository
    #[arg(long, env = "GITOPS_REVERSER_WORKERS_MAX_PER_REPO", default_value_t = 5,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub workers_max_per_repo: u32,

    /// Repositories may be directories of this machine (`file:///…`): demos and tests only, as whoever may make a
    /// GitRepoConfig can then have any directory read and written that this process can
    #[arg(long, env = "GITOPS_REVERSER_ALLOW_FILE_URLS", default_value_t = false, action = clap::ArgAction::Set,
          num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub allow_file_urls: bool,

    /// Where clones are kept; a cache
    #[arg(
        long,
        env = "GITOPS_REVERSER_WORK_DIR",
        default_value = "/var/cache/gitops-reverser"
    )]
    pub work_dir: PathBuf,

    /// Where the webhook sidecar reports admissions: unix:/path, or a loopback ip:port
    #[arg(
        long,
        env = "GITOPS_REVERSER_GRPC_BIND_ADDRESS",
        default_value = "unix:/run/gitops-reverser/attribution.sock"
    )]
    pub grpc_bind_address: BindAddress,

    /// Where the introspection API is served: unix:/path, or a loopback ip:port
    #[arg(
        long,
        env = "GITOPS_REVERSER_INTROSPECTION_BIND_ADDRESS",
        default_value = "127.0.0.1:50051"
    )]
    pub introspection_bind_address: BindAddress,

    /// Elect a leader among several replicas by a Lease, in the namespace $POD_NAMESPACE and under the name $POD_NAME; the others are ready to
    /// take over. Without, there must be one replica only, and no rights for Leases are needed
    #[arg(long, env = "GITOPS_REVERSER_LEADER_ELECT", default_value_t = false, action = clap::ArgAction::Set,
          num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub leader_elect: bool,

    /// Name of the Lease: one for all replicas, another for each installation in a namespace
    #[arg(
        long,
        env = "GITOPS_REVERSER_LEADER_ELECT_LEASE",
        default_value = "gitops-reverser"
    )]
    pub leader_elect_lease: String,

    /// Where Prometheus metrics are served
    #[arg(
        long,
        env = "GITOPS_REVERSER_METRICS_BIND_ADDRESS",
        default_value = "[::]:8090"
    )]
    pub metrics_bind_address: std::net::SocketAddr,

    /// Where /healthz and /readyz are served
    #[arg(
        long,
        env = "GITOPS_REVERSER_HEALTH_PROBE_BIND_ADDRESS",
        default_value = "[::]:8091"
    )]
    pub health_probe_bind_address: std::net::SocketAddr,

    /// A kubeconfig file; without it $KUBECONFIG, else the ServiceAccount of the pod
    #[arg(long, env = "GITOPS_REVERSER_KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,

    /// Format of the log
    #[arg(long, env = "GITOPS_REVERSER_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,

    /// A level (error, warn, info, debug, trace) or a filter such as info,reverser::git=debug
    #[arg(long, env = "GITOPS_REVERSER_LOG_LEVEL", default_value = "info")]
    pub log_level: String,
}

/// What else this program does.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Writes the cluster to Git once, or tells how the two differ; nothing needs to be installed in the cluster
    #[command(after_help = AFTER_HELP)]
    Snapshot(Box<SnapshotArgs>),
    /// Asks whether an installation works, from beside it: what `helm test` runs
    Probe(ProbeArgs),
}

impl Args {
    /// What becomes of what the cluster makes for itself.
    #[must_use]
    pub fn cluster_made(&self) -> ClusterMade {
        cluster_made(self.write_cluster_made)
    }

    /// What is taken from Git servers.
    #[must_use]
    pub fn git_limits(&self) -> Limits {
        Limits {
            received: u64::from(self.git_fetch_max_mib) << 20,
            ..Limits::default()
        }
    }

    /// What bears on plans.
    ///
    /// # Errors
    /// If the redaction key can't be used.
    pub fn compile_options(&self) -> Result<CompileOptions, KeyError> {
        let key_file = self.redaction_key_file.as_deref();
        Ok(CompileOptions {
            allow_file_urls: self.allow_file_urls,
            secrets: Arc::new(Secrets::from_flags(&self.sensitive_resources, key_file)?),
            filter: TypeFilter {
                watch_all: self.watch_all,
                excluded: self.discovery_exclude.clone(),
            },
            limits: BatchLimits {
                max_files: self.git_batch_max_files as usize,
                max_bytes: (self.git_batch_max_bytes_mib as usize) << 20,
                max_wait: Duration::from_secs(self.git_batch_max_wait_sec.into()),
                linger: Duration::from_millis(self.git_batch_linger_ms.into()),
            },
            commit: CommitOptions {
                bot: Signature {
                    name: "GitOps Reverser".to_owned(),
                    email: "gitops-reverser@cluster.local".to_owned(),
                },
                email_domain: "cluster.local".to_owned(),
            },
        })
    }
}

/// What `--write-cluster-made` says.
pub(crate) fn cluster_made(write: bool) -> ClusterMade {
    if write {
        ClusterMade::Written
    } else {
        ClusterMade::LeftOut
    }
}

/// As [`parse_interval`], and longer than nothing.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    match parse_interval(text)? {
        Duration::ZERO => Err("must be longer than nothing".to_owned()),
        duration => Ok(duration),
    }
}

/// Go's notation, as far as Kubernetes flags use it: `90s`, `5m`, `1h30m`, and `0` without a unit.
fn parse_interval(text: &str) -> Result<Duration, String> {
    if text.is_empty() {
        return Err("a number and a unit are missing: 90s, 5m, 1h30m".to_owned());
    }
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .ok_or("a unit is missing: 90s, 5m, 1h30m")?;
        let number: u64 = rest[..digits]
            .parse()
            .map_err(|_| "a number is missing: 90s, 5m, 1h30m")?;
        let units: [(&str, u64); 4] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)];
        let (unit, factor) = units
            .into_iter()
            .find(|(unit, _)| rest[digits..].starts_with(unit))
            .ok_or("the units are h, m, s and ms")?;
        let millis = number.checked_mul(factor).ok_or("too long")?;
        total = total
            .checked_add(Duration::from_millis(millis))
            .ok_or("too long")?;
        rest = &rest[digits + unit.len()..];
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn every_flag_has_a_variable_and_a_line_of_help() {
        let command = Args::command();
        for argument in command.get_arguments() {
            let Some(long) = argument
                .get_long()
                .filter(|l| !matches!(*l, "help" | "version"))
            else {
                continue;
            };
            let variable = format!("GITOPS_REVERSER_{}", long.to_uppercase().replace('-', "_"));
            assert_eq!(
                argument.get_env().and_then(|e| e.to_str()),
                Some(variable.as_str())
            );
            assert!(argument.get_help().is_some(), "{long}");
        }
    }

    #[test]
    fn durations_are_read_as_go_writes_them() {
        assert_eq!(parse_duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(
            parse_duration("1h30m5s10ms"),
            Ok(Duration::from_millis(5_405_010))
        );
        for bad in ["", "5", "m", "-5m", "5 m", "0s"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_drift_check_can_be_switched_off() {
        let interval = |flags: &[&str]| {
            Args::try_parse_from([&["x"], flags].concat()).map(|args| args.drift_check_interval)
        };
        assert_eq!(interval(&[]).unwrap(), Duration::from_secs(300));
        for none in ["0", "0s"] {
            let flag = format!("--drift-check-interval={none}");
            assert_eq!(interval(&[&flag]).unwrap(), Duration::ZERO);
        }
        for bad in ["", "5", "never"] {
            assert!(interval(&[&format!("--drift-check-interval={bad}")]).is_err());
        }
    }

    #[test]
    fn grpc_is_refused_beyond_this_machine() {
        assert!(Args::try_parse_from(["x", "--grpc-bind-address=0.0.0.0:1"]).is_err());
        assert!(Args::try_parse_from(["x", "--introspection-bind-address=10.0.0.1:1"]).is_err());
        assert!(Args::try_parse_from(["x"]).is_ok());
    }
}
