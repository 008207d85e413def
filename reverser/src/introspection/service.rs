//! The gRPC service, with health and reflection beside it.

use std::sync::Arc;
use std::time::SystemTime;

use kube::Client;
use manifest::{ClusterMade, Identity};
use proto::v1;
use proto::v1::introspection_server::{Introspection, IntrospectionServer};
use tonic::server::NamedService;
use tonic::transport::server::Router;
use tonic::{Request, Response, Status};

use super::explain::explain;
use crate::attribution::{Pending, Store};
use crate::leadership::{Fence, Roles};
use crate::rules::WatchKey;
use crate::secrets::SensitiveTypes;
use crate::status::{StatusBoard, WatchReport};
use crate::workers::Workers;

/// Pending attributions that are listed when nobody says how many.
const PENDING: usize = 100;

/// Where the answers come from.
pub struct Sources {
    /// Facts.
    pub board: Arc<StatusBoard>,
    /// Queues.
    pub workers: Arc<Workers>,
    /// Admissions that wait.
    pub store: Arc<Store>,
    /// For the object that is to be explained.
    pub client: Client,
    /// Uid of kube-system.
    pub cluster_id: String,
    /// What this process is among its replicas.
    pub roles: Roles,
    /// Whether it may push.
    pub fence: Arc<Fence>,
    /// What becomes of what the cluster makes for itself.
    pub cluster_made: ClusterMade,
    /// Whose values are secret.
    pub sensitive: SensitiveTypes,
}

/// `gitopsreverser.v1.Introspection`.
pub struct IntrospectionService {
    sources: Sources,
    started: SystemTime,
}

impl IntrospectionService {
    /// Answers from these.
    #[must_use]
    pub fn new(sources: Sources) -> Self {
        Self {
            sources,
            started: SystemTime::now(),
        }
    }

    /// As Explain keeps the hash of a Secret to itself: whoever may look in here need not be allowed to read it.
    fn key<'a>(&self, pending: &'a Pending) -> &'a str {
        let Identity {
            group, resource, ..
        } = &pending.identity;
        if self.sources.sensitive.contains(group, resource) {
            pending.key_without_hash()
        } else {
            &pending.key
        }
    }

    /// With `grpc.health.v1` and reflection, so that grpcurl needs no .proto files.
    ///
    /// # Errors
    /// When the descriptors that were compiled in can't be read.
    pub async fn into_router(self) -> anyhow::Result<Router> {
        let (reporter, health) = tonic_health::server::health_reporter();
        reporter.set_serving::<IntrospectionServer<Self>>().await;
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(v1::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // By name, as the descriptors hold Attribution too, which is served elsewhere.
            .with_service_name(<IntrospectionServer<Self> as NamedService>::NAME)
            .with_service_name("grpc.health.v1.Health")
            .with_service_name("grpc.reflection.v1.ServerReflection")
            .build_v1()?;
        Ok(tonic::transport::Server::builder()
            .add_service(IntrospectionServer::new(self))
            .add_service(health)
            .add_service(reflection))
    }
}

fn count(n: usize) -> u64 {
    n as u64
}

fn count32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn watch(key: &WatchKey, report: &WatchReport) -> v1::Watch {
    v1::Watch {
        group: key.served.group.clone(),
        version: key.served.version.clone(),
        resource: key.served.resource.clone(),
        namespace: key.namespace.clone().unwrap_or_default(),
        phase: report.phase.as_str().to_owned(),
        objects: count(report.objects),
        restarts: report.restarts,
        error: report.error.clone().unwrap_or_default(),
    }
}

#[tonic::async_trait]
impl Introspection for IntrospectionService {
    async fn get_status(
        &self,
        _: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::GetStatusResponse>, Status> {
        let facts = self.sources.board.snapshot();
        let depths = self.sources.workers.depths();
        Ok(Response::new(v1::GetStatusResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            cluster_id: self.sources.cluster_id.clone(),
            started: Some(self.started.into()),
            sidecar_connected: facts.sidecar_connected,
            destinations: count32(facts.plan.destinations.len()),
            watches: count32(facts.watches.len()),
            workers: count32(depths.len()),
            objects: facts.watches.values().map(|w| count(w.objects)).sum(),
            pending_changes: count(depths.values().sum()),
            pending_attributions: count(self.sources.store.pending_total()),
            leader: self.sources.fence.is_open(),
            role: self.sources.roles.borrow().as_str().to_owned(),
        }))
    }

    async fn list_watches(
        &self,
        _: Request<v1::ListWatchesRequest>,
    ) -> Result<Response<v1::ListWatchesResponse>, Status> {
        let facts = self.sources.board.snapshot();
        let watches = facts
            .watches
            .iter()
            .map(|(key, report)| watch(key, report))
            .collect();
        Ok(Response::new(v1::ListWatchesResponse { watches }))
    }

    async fn list_workers(
        &self,
        _: Request<v1::ListWorkersRequest>,
    ) -> Result<Response<v1::ListWorkersResponse>, Status> {
        let facts = self.sources.board.snapshot();
        let workers = self
            .sources
            .workers
            .depths()
            .into_iter()
            .map(|(key, depth)| {
                let report = facts.branches.get(&key).cloned().unwrap_or_default();
                let mine = facts.plan.destinations.values().filter(|d| d.branch == key);
                v1::Worker {
                    destinations: mine.map(|d| d.key.to_string()).collect(),
                    phase: report.phase.as_str().to_owned(),
                    pending_changes: count(depth),
                    last_commit: report.last_commit.unwrap_or_default(),
                    last_push: report.last_push.map(Into::into),
                    error: report.failure.map(|f| f.message).unwrap_or_default(),
                    repo_url: key.repository,
                    branch: key.branch,
                }
            })
            .collect();
        Ok(Response::new(v1::ListWorkersResponse { workers }))
    }

    async fn list_pending_attributions(
        &self,
        request: Request<v1::ListPendingAttributionsRequest>,
    ) -> Result<Response<v1::ListPendingAttributionsResponse>, Status> {
        let limit = match request.get_ref().limit {
            0 => PENDING,
            limit => limit as usize,
        };
        let store = &self.sources.store;
        let pending = store
            .pending(limit)
            .into_iter()
            .map(|pending| v1::PendingAttribution {
                key: self.key(&pending).to_owned(),
                username: pending.username,
                base_resource_version: pending.base,
                received: Some(pending.received.into()),
            });
        Ok(Response::new(v1::ListPendingAttributionsResponse {
            pending: pending.collect(),
            total: count(store.pending_total()),
        }))
    }

    async fn explain(
        &self,
        request: Request<v1::ExplainRequest>,
    ) -> Result<Response<v1::ExplainResponse>, Status> {
        Ok(Response::new(
            explain(&self.sources, request.get_ref()).await?,
        ))
    }
}
