//! Puts the process together. Every channel between its parts is made here.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::core::v1::Namespace;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt};
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::args::Args;
use crate::attribution::endpoint::Endpoint;
use crate::attribution::{
    Asked, AttributionMetrics, Barrier, Limits, Presence, ReportService, Sidecar, SidecarSignals,
    Store,
};
use crate::conductor::{Conductor, Edges};
use crate::discovery::{Catalog, Refresher};
use crate::introspection::{IntrospectionService, Sources};
use crate::observe::{Health, Metrics, serve_health, serve_metrics};
use crate::rules::{Configuration, ConfigurationWatcher};
use crate::status::{StatusBoard, StatusWriter};
use crate::watch::Shared;
use crate::workers::{Prober, WorkerSettings, Workers};

/// How long the last push may take after SIGTERM; less than the pod's grace period of 30 s.
const DRAIN: Duration = Duration::from_secs(20);

/// Runs the reverser until SIGTERM or SIGINT.
///
/// # Errors
/// When it can't start, or when a part that must live has ended.
pub async fn run(args: Args) -> anyhow::Result<()> {
    anyhow::ensure!(
        !args.leader_elect,
        "--leader-elect: there is no failover yet; run one replica without it"
    );
    let client = connect(&args).await?;
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
    let shutdown = CancellationToken::new();

    // Latest values: who reads late misses nothing but what is outdated.
    let (configuration, configurations) = watch::channel(None::<Arc<Configuration>>);
    let (catalog, catalogs) = watch::channel(Arc::new(Catalog::default()));
    let (interest, interests) = watch::channel(Arc::default());
    let (acknowledged, acknowledgements) = watch::channel(0_u64);
    let (presence, presences) = watch::channel(Presence::now(Sidecar::Away));
    let (asked, marks) = watch::channel(Asked::default());
    let (reached, reaches) = watch::channel(0_u64);
    let (replayed, replays) = watch::channel(false);
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
        replayed: replays,
        barrier: barrier.clone(),
        resync,
        shutdown: shutdown.clone(),
    }));
    let conductor = Conductor::new(
        args.compile_options(),
        Shared {
            client: client.clone(),
            store: store.clone(),
            board: board.clone(),
            metrics: metrics.clone(),
        },
        workers.clone(),
        Edges {
            configuration: configurations.clone(),
            catalog: catalogs.clone(),
            interest,
            acknowledged: acknowledgements,
            synced,
            resync: resyncs,
        },
    );
    let introspection = IntrospectionService::new(Sources {
        board: board.clone(),
        workers: workers.clone(),
        store: store.clone(),
        client: client.clone(),
        cluster_id,
    });
    let report = ReportService::new(
        store.clone(),
        SidecarSignals {
            interest: interests,
            applied: acknowledged,
            presence,
            asked: marks,
            reached,
        },
    );

    let report_endpoint = Endpoint::bind(&args.grpc_bind_address).await?;
    let introspection_endpoint = Endpoint::bind(&args.introspection_bind_address).await?;
    let metrics_listener = TcpListener::bind(args.metrics_bind_address)
        .await
        .with_context(|| {
            format!(
                "listen on --metrics-bind-address={}",
                args.metrics_bind_address
            )
        })?;
    let health_listener = TcpListener::bind(args.health_probe_bind_address)
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
    {
        use futures::FutureExt;
        let refresher = Refresher::new(client.clone(), args.discovery_refresh, catalog);
        parts.spawn(refresher.run(poke).map(ended("discovery")));
        parts.spawn(
            ConfigurationWatcher::new(client.clone(), configuration)
                .run()
                .map(ended("the configuration watch")),
        );
        parts.spawn(conductor.run().map(|result| ("the conductor", result)));
        let writer = StatusWriter::new(
            client.clone(),
            board.clone(),
            workers.clone(),
            configurations.clone(),
        );
        parts.spawn(writer.run().map(ended("the status writer")));
        parts.spawn(
            Prober::new(client, board.clone(), configurations.clone(), args.work_dir)
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
        let gauges = gauges(workers.clone(), board.clone(), metrics);
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
    }
    health.set_ready(false);
    shutdown.cancel();
    if tokio::time::timeout(DRAIN, workers.drain()).await.is_err() {
        warn!("what was not pushed in time is compared again at the next start");
    }
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

async fn connect(args: &Args) -> anyhow::Result<Client> {
    let mut config = match &args.kubeconfig {
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(path)?;
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?
        }
        None => Config::infer()
            .await
            .context("neither --kubeconfig nor $KUBECONFIG nor a ServiceAccount is there")?,
    };
    // Longer than the server lets a watch last (290 s): only a dead connection is silent for so long,
    // and nothing else would ever tell.
    config.read_timeout = Some(Duration::from_secs(295));
    config.reset_reader_on_write = true;
    Client::try_from(config).context("make a client for the apiserver")
}

/// The uid of kube-system stands for the cluster: it is there in every cluster and never changes.
async fn cluster_id(client: &Client) -> anyhow::Result<String> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let mut wait = Duration::from_millis(500);
    loop {
        match namespaces.get("kube-system").await {
            Ok(namespace) => return namespace.uid().context("kube-system has no uid"),
            Err(kube::Error::Api(status)) if matches!(status.code, 401 | 403) => {
                anyhow::bail!("namespace kube-system can't be read: {}", status.message)
            }
            Err(error) => warn!(%error, "the apiserver does not answer yet"),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(Duration::from_secs(10));
    }
}

/// Brings the gauges up to date that are worked out on demand.
fn gauges(
    workers: Arc<Workers>,
    board: Arc<StatusBoard>,
    metrics: Arc<Metrics>,
) -> impl Fn() + Send + Sync {
    move || {
        let depth: usize = workers.depths().values().sum();
        metrics
            .repo_branch_queue_depth
            .set(i64::try_from(depth).unwrap_or(i64::MAX));
        let active = board.snapshot().active_workers();
        metrics
            .repo_branch_active_workers
            .set(i64::try_from(active).unwrap_or(i64::MAX));
    }
}

/// Tells the workers that the sidecar has replayed, and the board whether it is there.
async fn follow_sidecar(
    mut presences: watch::Receiver<Presence>,
    replayed: watch::Sender<bool>,
    board: Arc<StatusBoard>,
) {
    loop {
        let sidecar = presences.borrow_and_update().sidecar;
        board.sidecar(sidecar != Sidecar::Away);
        if sidecar == Sidecar::Live {
            replayed.send_replace(true);
        }
        if presences.changed().await.is_err() {
            return;
        }
    }
}

/// Ready once the custom resources and the types are known.
async fn announce_ready(
    mut configurations: watch::Receiver<Option<Arc<Configuration>>>,
    mut catalogs: watch::Receiver<Arc<Catalog>>,
    health: Arc<Health>,
) {
    let known = configurations.wait_for(Option::is_some).await.is_ok();
    if known
        && catalogs
            .wait_for(|catalog| !catalog.is_empty())
            .await
            .is_ok()
    {
        health.set_ready(true);
        info!("ready");
    }
    std::future::pending::<()>().await;
}

async fn terminated() -> anyhow::Result<&'static str> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    Ok(tokio::select! {
        _ = term.recv() => "SIGTERM",
        _ = int.recv() => "SIGINT",
    })
}
