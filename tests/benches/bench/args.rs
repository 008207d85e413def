//! Sizes, each a flag and an environment variable.

use clap::{Parser, ValueEnum};

/// Measures the release programs on a real control plane and a real HTTPS Git server.
#[derive(Clone, Debug, Parser)]
#[command(name = "bench")]
pub(crate) struct Args {
    /// ConfigMaps that are there before the rule
    #[arg(long, env = "GITOPS_REVERSER_BENCH_OBJECTS", default_value_t = 5000)]
    pub(crate) objects: usize,

    /// Bytes of data in each ConfigMap
    #[arg(
        long,
        env = "GITOPS_REVERSER_BENCH_OBJECT_BYTES",
        default_value_t = 1024
    )]
    pub(crate) object_bytes: usize,

    /// Namespaces that they are spread over, and those that users write to
    #[arg(long, env = "GITOPS_REVERSER_BENCH_NAMESPACES", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) namespaces: u32,

    /// How often the seed is measured
    #[arg(long, env = "GITOPS_REVERSER_BENCH_ROUNDS", default_value_t = 3)]
    pub(crate) rounds: usize,

    /// Users that write at the same time
    #[arg(long, env = "GITOPS_REVERSER_BENCH_USERS", default_value_t = 10,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) users: u32,

    /// ConfigMaps that each of them writes in turn; nobody else does
    #[arg(long, env = "GITOPS_REVERSER_BENCH_OBJECTS_PER_USER", default_value_t = 10,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) objects_per_user: u32,

    /// Writes a second, of all users together
    #[arg(long, env = "GITOPS_REVERSER_BENCH_RATE", default_value_t = 50,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rate: u32,

    /// For how many seconds they write
    #[arg(long, env = "GITOPS_REVERSER_BENCH_SECONDS", default_value_t = 30,
          value_parser = clap::value_parser!(u32).range(1..=600))]
    pub(crate) seconds: u32,

    /// Updates a second at which two sidecars are compared, of all users together
    #[arg(long, env = "GITOPS_REVERSER_BENCH_WEBHOOK_RATE", default_value_t = 200,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) webhook_rate: u32,

    /// How often two sidecars take turns, for each size of object: A B B A
    #[arg(long, env = "GITOPS_REVERSER_BENCH_WEBHOOK_TURNS", default_value_t = 5,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) webhook_turns: u32,

    /// For how many seconds a sidecar is called before the other one is
    #[arg(long, env = "GITOPS_REVERSER_BENCH_WEBHOOK_BLOCK_SECONDS", default_value_t = 5,
          value_parser = clap::value_parser!(u32).range(1..=600))]
    pub(crate) webhook_block_seconds: u32,

    /// Admissions a second that are posted to the sidecar without an apiserver
    #[arg(long, env = "GITOPS_REVERSER_BENCH_LOAD_RATE", default_value_t = 2000,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) load_rate: u32,

    /// For how many seconds they are
    #[arg(long, env = "GITOPS_REVERSER_BENCH_LOAD_SECONDS", default_value_t = 15,
          value_parser = clap::value_parser!(u32).range(1..=600))]
    pub(crate) load_seconds: u32,

    /// For how many seconds processes that have nothing to do are looked at
    #[arg(long, env = "GITOPS_REVERSER_BENCH_IDLE_SECONDS", default_value_t = 60,
          value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub(crate) idle_seconds: u32,

    /// Only this; all otherwise
    #[arg(long, env = "GITOPS_REVERSER_BENCH_ONLY")]
    pub(crate) only: Option<Part>,

    /// `--log-level` of both programs; with GITOPS_REVERSER_TEST_KEEP=1 their logs stay
    #[arg(long, env = "GITOPS_REVERSER_BENCH_LOG_LEVEL", default_value = "info")]
    pub(crate) log_level: String,

    /// Cargo says this to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What can be measured by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// From a rule to the pushed commit that holds every object
    Seed,
    /// What it takes to go on watching, and to come back after a restart
    Keep,
    /// From a write's answer to its pushed commit
    Lag,
    /// What the sidecar adds to a write, and how much of it one core takes
    Webhook,
    /// Commits of one file, in small trees and in large ones
    Commits,
}

// === impl Args ===

impl Args {
    pub(crate) fn measures(&self, part: Part) -> bool {
        self.only.is_none_or(|only| only == part)
    }
}
