//! Between the webhook and the reverser: passes on what the webhook observes, and keeps a copy.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use parking_lot::Mutex;
use proto::v1::attribution_client::AttributionClient;
use proto::v1::attribution_server::{Attribution, AttributionServer};
use proto::v1::report_request::Message;
use proto::v1::{Observation, ReportRequest, ReportResponse};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::{Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};

/// A server of the same protocol on a socket of its own, ended when dropped. It runs on a thread of its own.
pub(super) struct Recorder {
    path: PathBuf,
    observations: Arc<Mutex<Vec<Observation>>>,
    runtime: Option<tokio::runtime::Runtime>,
}

struct Service {
    to: PathBuf,
    observations: Arc<Mutex<Vec<Observation>>>,
}

// === impl Recorder ===

impl Recorder {
    /// Listens on `path` and passes everything on to `to`.
    pub(super) fn start(path: PathBuf, to: PathBuf) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("recorder")
            .enable_all()
            .build()
            .context("start the recorder's thread")?;
        let observations = Arc::default();
        let service = Service {
            to,
            observations: Arc::clone(&observations),
        };
        let listener = {
            let _runtime = runtime.enter();
            UnixListener::bind(&path).with_context(|| format!("listen on {}", path.display()))?
        };
        runtime.spawn(
            Server::builder()
                .add_service(AttributionServer::new(service))
                .serve_with_incoming(UnixListenerStream::new(listener)),
        );
        Ok(Self {
            path,
            observations,
            runtime: Some(runtime),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn observations(&self) -> Vec<Observation> {
        self.observations.lock().clone()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[tonic::async_trait]
impl Attribution for Service {
    type ReportStream = BoxStream<'static, Result<ReportResponse, Status>>;

    async fn report(
        &self,
        request: Request<Streaming<ReportRequest>>,
    ) -> Result<Response<Self::ReportStream>, Status> {
        let unavailable = |error: tonic::transport::Error| Status::unavailable(error.to_string());
        let channel = Endpoint::from_shared(format!("unix:{}", self.to.display()))
            .map_err(unavailable)?
            .connect()
            .await
            .map_err(unavailable)?;
        let observations = Arc::clone(&self.observations);
        let requests = request
            .into_inner()
            .take_while(|it| std::future::ready(it.is_ok()));
        let requests = requests
            .filter_map(|it| std::future::ready(it.ok()))
            .inspect(move |it| {
                if let Some(Message::Observation(observation)) = &it.message {
                    observations.lock().push(observation.clone());
                }
            });
        let answers = AttributionClient::new(channel).report(requests).await?;
        Ok(Response::new(answers.into_inner().boxed()))
    }
}
