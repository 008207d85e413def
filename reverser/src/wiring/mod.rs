//! Puts the process together. Every channel between its parts is made here.

pub(crate) mod connect;
mod follow;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use prometheus::Registry;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::args::Args;
use crate::attribution::endpoint::Endpoint;
use crate::attribution::{
    Asked, AttributionMetrics, Barrier, Limits, Presence, ReportService, Routed, Sidecar,
    SidecarSignals, Store,
};
use crate::conductor::{Conductor, Edges};
use crate::discovery::{Catalog, Refresher};
use crate::introspection::{IntrospectionService, Sources};
use crate::leadership::{Elector, ElectorError, Fence, LeadershipMetrics, Role, RoleLabel};
use crate::observe::{Health, Metrics, serve_health, serve_metrics};
use crate::rules::{Configuration, ConfigurationWatcher, RecipientsReader};
use crate::status::{StatusBoard, StatusWriter};
use crate::watch::Shared;
use crate::workers::{Prober, WorkerSettings, Workers};
use connect::{candidate, cluster_id, connect};
use follow::{announce_ready, follow_sidecar, gauges, terminated};

/// How long the last push may take after SIGTERM. With what follows less than the 30 s that a pod is given where nobody says
/// otherwise; the chart gives 60 s.
const DRAIN: Duration = Duration::from_secs(20);

/// How long the Lease may take to be given back after that.
const RESIGN: Duration = Duration::from_secs(3);

/// The part whose end ends all watches.
const CONDUCTOR: &str = "the conductor";

/// Runs the reverser until SIGTERM or SIGINT.
///
/// # Errors
/// When it can't start, or when a part that must live has ended.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let client = connect(&args).await?;
    let candidate = candidate(&args, &client)?;
    let cluster_id = cluster_id(&client).await?;
    info!(version = env!("CARGO_PKG_VERSION"), cluster_id, "starting");
    std::fs::create_dir_all(&args.work_dir)
        .with_context(|| format!("make {}", args.work_dir.display()))?;

    let registry = Registry::new();
    let metrics = Arc::new(Metrics::register(&registry)?);
    let store = Arc::new(Store::new(
        Limits::default(),
        AttributionMetrics::register(&registry)?,
    ));
    let board = Arc::new(StatusBoard::default());
    let health = Arc::new(Health::default());
    // In this order: what is watched, what is pushed, the Lease.
    let [closing, shutdown, resign] = std::array::from_fn(|_| CancellationToken::new());
    let (fence, role) = match &candidate {
        None => (Fence::alone(), Role::Alone),
        Some(_) => (Fence::following(), Role::Following),
    };
    let fence = Arc::new(fence);
    if candidate.is_some() {
        store.admissions_go(Routed::Elsewhere);
    }

    // Latest values: who reads late misses nothing but what is outdated.
    let (configuration, incomplete) = watch::channel(None::<Arc<Configuration>>);
    let (completed, configurations) = watch::channel(None::<Arc<Configuration>>);
    let (catalog, catalogs) = watch::channel(Arc::new(Catalog::default()));
    let (interest, interests) = watch::channel(Arc::default());
    let (acknowledged, acknowledgements) = watch::channel(0_u64);
    let (presence, presences) = watch::channel(Presence::now(Sidecar::Away));
    let (asked, marks) = watch::channel(Asked::default());
    let (reached, reaches) = watch::channel(0_u64);
    let (replayed, replays) = watch::channel(false);
    let (role, roles) = watch::channel(role);
    // One place: a poke that finds it full is already going to be acted on.
    let poke = mpsc::channel(1);
    // A watch that waits here has just listed; the conductor takes it within moments.
    let synced = mpsc::channel(64);
    // Workers drop what does not fit: a destination asks again after its next push.
    let (resync, resyncs) = mpsc::channel(64);

    let barrier = Barrier::new(asked, reaches, presences.clone());
    let workers = Arc::new(Workers::new(WorkerSettings {
        work_dir: args.work_dir.clone(),
        drift_check_interval: Some(args.drift_check_interval).filter(|i| !i.is_zero()),
        max_global: args.workers_max_global as usize,
        max_per_repo: args.workers_max_per_repo as usize,
        cluster_id: cluster_id.clone(),
        client: client.clone(),
        store: store.clone(),
        board: board.clone(),
        metrics: metrics.clone(),
        permit: fence.clone(),
        replayed: replays,
        barrier: barrier.clone(),
        resync,
        shutdown: shutdown.clone(),
    }));
    let compile_options = args.compile_options()?;
    let sensitive = compile_options.secrets.types.clone();
    let conductor = Conductor::new(
        compile_options,
        Shared {
            client: client.clone(),
            store: store.clone(),
            board: board.clone(),
            metrics: metrics.clone(),
            cluster_made: args.cluster_made(),
        },
        workers.clone(),
        Edges {
            configuration: configurations.clone(),
            catalog: catalogs.clone(),
            interest,
            acknowledged: acknowledgements,
            synced,
            resync: resyncs,
            roles: roles.clone(),
            closing: closing.clone(),
        },
    );
    let introspection = IntrospectionService::new(Sources {
        board: board.clone(),
        workers: workers.clone(),
        store: store.clone(),
        client: client.clone(),
        cluster_id,
        roles: roles.clone(),
        fence: fence.clone(),
        cluster_made: args.cluster_made(),
        sensitive,
    });
    let report = ReportService::new(
        store.clone(),
        SidecarSignals {
            interest: interests,
            applied: acknowledged,
            presence,
            roles: roles.clone(),
            asked: marks,
            reached,
        },
    );

    let report_endpoint = Endpoint::bind(&args.grpc_bind_address).await?;
    let introspection_endpoint = Endpoint::bind(&args.introspection_bind_address).await?;
    let metrics_listener = proto::listen(args.metrics_bind_address)
        .await
        .with_context(|| {
            format!(
                "listen on --metrics-bind-address={}",
                args.metrics_bind_address
            )
        })?;
    let health_listener = proto::listen(args.health_probe_bind_address)
        .await
        .with_context(|| {
            format!(
                "listen on --health-probe-bind-address={}",
                args.health_probe_bind_address
            )
        })?;

    // Each of these lives as long as the process; the first to end ends it.
    let mut parts: JoinSet<(&'static str, anyhow::Result<()>)> = JoinSet::new();
    let ended = |name: &'static str| move |()| (name, Ok(()));
    // Apart, as it outlives the others. Empty without an election.
    let mut election: JoinSet<Result<(), ElectorError>> = JoinSet::new();
    let election_metrics = Arc::new(LeadershipMetrics::register(&registry)?);
    if let Some(candidate) = &candidate {
        let (client, metrics) = (client.clone(), election_metrics.clone());
        let elector = Elector::new(client, candidate, fence.clone(), role.clone(), metrics);
        election.spawn(elector.run(resign.clone()));
    }
    {
        use futures::FutureExt;
        let refresher = Refresher::new(
            client.clone(),
            args.discovery_refresh,
            catalog,
            store.clone(),
        );
        parts.spawn(refresher.run(poke).map(ended("discovery")));
        parts.spawn(
            ConfigurationWatcher::new(client.clone(), configuration)
                .run()
                .map(ended("the configuration watch")),
        );
        parts.spawn(
            RecipientsReader::new(client.clone(), incomplete, completed)
                .run()
                .map(ended("the reader of recipients")),
        );
        parts.spawn(conductor.run().map(|result| (CONDUCTOR, result)));
        if let Some(candidate) = &candidate {
            let (client, roles) = (client.clone(), roles.clone());
            let label = RoleLabel::new(client, candidate, fence.clone(), roles, store.clone());
            parts.spawn(label.run().map(ended("the role label")));
        }
        let writer = StatusWriter::new(
            client.clone(),
            board.clone(),
            workers.clone(),
            configurations.clone(),
            roles.clone(),
            fence.clone(),
        );
        parts.spawn(writer.run().map(ended("the status writer")));
        parts.spawn(
            Prober::new(
                client,
                board.clone(),
                configurations.clone(),
                args.work_dir,
                roles,
                args.allow_file_urls,
            )
            .run()
            .map(ended("the prober")),
        );
        let router = tonic::transport::Server::builder().add_service(report.into_server());
        let never = std::future::pending();
        parts.spawn(
            apart(report_endpoint.serve(router, never)).map(|r| ("the attribution service", r)),
        );
        let router = introspection.into_router().await?;
        let never = std::future::pending();
        parts.spawn(
            introspection_endpoint
                .serve(router, never)
                .map(|r| ("the introspection service", r.map_err(Into::into))),
        );
        let gauges = gauges(
            workers.clone(),
            board.clone(),
            metrics,
            fence,
            election_metrics,
        );
        parts.spawn(
            serve_metrics(metrics_listener, registry, gauges).map(ended("the metrics server")),
        );
        parts.spawn(serve_health(health_listener, health.clone()).map(ended("the health server")));
        parts.spawn(barrier.confirm(store).map(ended("the barrier")));
        parts.spawn(follow_sidecar(presences, replayed, board).map(ended("the sidecar's signals")));
        parts.spawn(
            announce_ready(configurations, catalogs, health.clone()).map(ended("readiness")),
        );
    }

    tokio::select! {
        signal = terminated() => info!(signal = signal?, "ending"),
        Some(part) = parts.join_next() => {
            let (name, result) = part.context("a part of the process panicked")?;
            result.with_context(|| format!("{name} failed"))?;
            anyhow::bail!("{name} ended");
        }
        Some(lost) = election.join_next() => {
            lost.context("the election panicked")??;
            anyhow::bail!("the election ended");
        }
    }
    health.set_ready(false);
    closing.cancel();
    let drained = async {
        // Once it has ended, no watch is open, and nothing more comes to the queues.
        while let Some(part) = parts.join_next().await {
            if matches!(part, Ok((CONDUCTOR, _)) | Err(_)) {
                break;
            }
        }
        shutdown.cancel();
        workers.drain().await;
    };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        warn!("what was not pushed in time is compared again at the next start");
    }
    // The Lease was renewed until here. The next leader takes it at once.
    resign.cancel();
    let _ = tokio::time::timeout(RESIGN, election.join_next()).await;
    // Held until here, so that the role's receivers never see its end.
    drop(role);
    Ok(())
}

/// On a thread with nothing else to do. An admission waits for its acknowledgement: not for lists to be
/// read, and not for one thread to wake another.
async fn apart<E>(
    service: impl Future<Output = Result<(), E>> + Send + 'static,
) -> anyhow::Result<()>
where
    E: std::error::Error + Send + Sync + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    tokio::task::spawn_blocking(move || runtime.block_on(service)).await??;
    Ok(())
}
