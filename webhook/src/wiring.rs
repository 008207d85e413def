//! Makes the parts and joins them.
//!
//! ```text
//! TLS server → Admission → Outbox ⇄ Reporter ⇄ reverser
//!                  ↑                    │
//!                  └── CurrentInterest ─┤
//!     ↑                                 │
//!     └──────────── Routing ────────────┘
//! ```
//!
//! There is no channel but the outbox: what waits in this process waits in there, within its
//! bounds.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::admission::Admission;
use crate::args::Args;
use crate::interest::CurrentInterest;
use crate::metrics::Metrics;
use crate::outbox::{Limits, Outbox};
use crate::routing::Routing;
use crate::server::plain::{self, Page, Readiness};
use crate::server::tls::{self, Reloader, TlsFiles};
use crate::server::webhook;
use crate::stream::Reporter;
use crate::token::Route;

/// Everything that runs, bound to its addresses.
#[derive(Debug)]
pub struct Running {
    /// Where admissions are served; with the port that the system chose if none was asked for.
    pub admissions: SocketAddr,
    /// Where health is served.
    pub health: SocketAddr,
    /// Where metrics are served.
    pub metrics: SocketAddr,
    tasks: JoinSet<&'static str>,
    readiness: Readiness,
    /// Ends what takes admissions.
    intake: CancellationToken,
    /// Ends the rest, later: answers in flight still want their acknowledgement.
    rest: CancellationToken,
    server: AbortHandle,
}

/// Resolves at SIGTERM and at SIGINT.
///
/// # Errors
/// When the handlers can't be installed.
pub fn terminated() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Runs until `shutdown` resolves and the answers in flight are out.
///
/// # Errors
/// When the process can't start, or when one of its tasks ends by itself.
pub async fn run(args: Args, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    start(args, tls::RELOAD_EVERY).await?.until(shutdown).await
}

/// Binds everything and starts to serve; certificates are looked at every `reload_every`.
///
/// # Errors
/// When an address is taken, or a file that a flag names is of no use.
pub async fn start(args: Args, reload_every: Duration) -> anyhow::Result<Running> {
    let metrics = Arc::new(Metrics::new()?);
    let outbox = Arc::new(Outbox::new(Limits::default(), Arc::clone(&metrics)));
    let interest = Arc::new(CurrentInterest::default());
    let routing = Routing::default();
    let readiness = Readiness::default();
    let (intake, rest) = (CancellationToken::new(), CancellationToken::new());

    let route = match &args.path_token_file {
        Some(file) => Route::from_file(file)
            .with_context(|| format!("--path-token-file={}", file.display()))?,
        None => Route::open(),
    };
    let files = TlsFiles {
        certificate: args.tls_cert_file,
        private_key: args.tls_private_key_file,
        client_ca: args.client_ca_file,
    };
    let reloader = Reloader::start(files, Arc::clone(&metrics))?;
    let admission = Arc::new(Admission::new(
        route,
        Arc::clone(&outbox),
        Arc::clone(&interest),
        Arc::clone(&metrics),
    ));

    let admissions = bind("--bind-address", args.bind_address).await?;
    let health = bind(
        "--health-probe-bind-address",
        args.health_probe_bind_address,
    )
    .await?;
    let metrics_listener = bind("--metrics-bind-address", args.metrics_bind_address).await?;
    let addresses = [&admissions, &health, &metrics_listener].map(TcpListener::local_addr);
    let [admissions_address, health_address, metrics_address] = addresses;

    let mut tasks = JoinSet::new();
    let server = tasks.spawn(named(
        "the admission server",
        webhook::serve(
            admissions,
            reloader.current(),
            admission,
            Arc::clone(&metrics),
            routing.clone(),
            intake.clone(),
        ),
    ));
    tasks.spawn(named(
        "the certificate watch",
        reloader.watch(reload_every, rest.clone()),
    ));
    tasks.spawn(named(
        "the stream to the reverser",
        Reporter::new(
            args.reverser_endpoint,
            Arc::clone(&outbox),
            interest,
            routing,
        )
        .run(rest.clone()),
    ));
    tasks.spawn(named(
        "the health server",
        plain::serve(health, Page::Health(readiness.clone()), rest.clone()),
    ));
    tasks.spawn(named(
        "the metrics server",
        plain::serve(
            metrics_listener,
            Page::Metrics(metrics, outbox),
            rest.clone(),
        ),
    ));
    readiness.set(true);
    let running = Running {
        admissions: admissions_address?,
        health: health_address?,
        metrics: metrics_address?,
        tasks,
        readiness,
        intake,
        rest,
        server,
    };
    tracing::info!(address = %running.admissions, "serving admissions");
    Ok(running)
}

impl Running {
    /// Waits for `shutdown`, then ends: first the intake, then the rest, 3 s in all at most.
    ///
    /// # Errors
    /// When a task ends by itself before that. Whatever it was for is not done any more, so the
    /// process must end and be started again.
    pub async fn until(mut self, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
        tokio::select! {
            () = shutdown => {}
            ended = self.tasks.join_next() => match ended {
                Some(Ok(name)) => bail!("{name} has ended"),
                Some(Err(error)) => bail!("a task has panicked: {error}"),
                None => bail!("there are no tasks"),
            },
        }
        tracing::info!("ending");
        self.readiness.set(false);
        self.intake.cancel();
        while !self.server.is_finished() && self.tasks.join_next().await.is_some() {}
        self.rest.cancel();
        while self.tasks.join_next().await.is_some() {}
        Ok(())
    }
}

async fn named(name: &'static str, task: impl Future<Output = ()>) -> &'static str {
    task.await;
    name
}

async fn bind(flag: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    proto::listen(address)
        .await
        .with_context(|| format!("{flag}={address}"))
}
