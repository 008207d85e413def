//! The cluster: how to reach it, what people call it, and which one it is.

use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};

use super::args::SnapshotArgs;
use super::error::SnapshotError;
use crate::discovery::{Catalog, discover};
use crate::observe::chain;
use crate::wiring::connect::{client, read_cluster_id};

/// Longer than a busy apiserver takes to begin an answer.
const SILENCE: Duration = Duration::from_secs(60);

/// A server that is still too busy after about so long is an error.
const PATIENCE: Duration = Duration::from_secs(5);

/// A cluster that answers.
pub(super) struct Cluster {
    pub(super) client: Client,
    /// The context of the kubeconfig; `None` in a pod.
    pub(super) name: Option<String>,
}

/// Which cluster it is.
pub(super) enum ClusterId {
    Known(String),
    /// This user may not know; with the server's words.
    Forbidden(String),
}

impl Cluster {
    pub(super) async fn connect(args: &SnapshotArgs) -> Result<Self, SnapshotError> {
        let no_cluster = |error: &dyn std::error::Error| SnapshotError::NoCluster(chain(error));
        let read = match &args.kubeconfig {
            Some(path) => Kubeconfig::read_from(path).map_err(|error| no_cluster(&error))?,
            None => match Kubeconfig::read() {
                Ok(read) => read,
                Err(error) if args.context.is_some() => return Err(no_cluster(&error)),
                Err(error) => return Self::in_pod(&error),
            },
        };
        let context = args.context.clone().or(read.current_context.clone());
        let options = KubeConfigOptions {
            context: context.clone(),
            ..KubeConfigOptions::default()
        };
        let config = Config::from_custom_kubeconfig(read, &options)
            .await
            .map_err(|error| no_cluster(&error))?;
        Self::of(config, context)
    }

    fn in_pod(no_kubeconfig: &dyn std::error::Error) -> Result<Self, SnapshotError> {
        let config = Config::incluster().map_err(|_| {
            let why = chain(no_kubeconfig);
            SnapshotError::NoCluster(format!(
                "neither --kubeconfig nor $KUBECONFIG nor ~/.kube/config is there, and this is no pod with a ServiceAccount ({why})"
            ))
        })?;
        Self::of(config, None)
    }

    fn of(config: Config, name: Option<String>) -> Result<Self, SnapshotError> {
        let client =
            client(config, SILENCE).map_err(|error| SnapshotError::NoCluster(chain(&error)))?;
        Ok(Self { client, name })
    }

    /// What it serves.
    pub(super) async fn discover(&self) -> Result<Catalog, SnapshotError> {
        patiently(|| discover(&self.client))
            .await
            .map_err(|error| unreachable(&error))
    }

    pub(super) async fn id(&self) -> Result<ClusterId, SnapshotError> {
        match patiently(|| read_cluster_id(&self.client)).await {
            Ok(Some(uid)) => Ok(ClusterId::Known(uid)),
            Ok(None) => Err(SnapshotError::Cluster("kube-system has no uid".to_owned())),
            Err(kube::Error::Api(status)) if status.code == 403 => {
                Ok(ClusterId::Forbidden(status.message))
            }
            Err(error) => Err(unreachable(&error)),
        }
    }

    /// A namespace with a typing error in its name would look as if everything in it were gone.
    pub(super) async fn check_namespaces(
        &self,
        namespaces: &[String],
    ) -> Result<(), SnapshotError> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        for name in namespaces {
            match patiently(|| api.get_metadata_opt(name)).await {
                Ok(Some(_)) => {}
                Ok(None) => return Err(SnapshotError::NoNamespace(name.clone())),
                // Who may not know of it may list what is in it all the same.
                Err(kube::Error::Api(status)) if status.code == 403 => {}
                Err(error) => return Err(unreachable(&error)),
            }
        }
        Ok(())
    }
}

/// Asks again where the server is too busy to answer.
async fn patiently<T>(ask: impl AsyncFn() -> kube::Result<T>) -> kube::Result<T> {
    let mut wait = Duration::from_millis(500);
    loop {
        match ask().await {
            Err(kube::Error::Api(status))
                if matches!(status.code, 429 | 503 | 504) && wait < PATIENCE =>
            {
                tokio::time::sleep(wait).await;
                wait *= 2;
            }
            answer => return answer,
        }
    }
}

fn unreachable(error: &kube::Error) -> SnapshotError {
    SnapshotError::Cluster(match error {
        kube::Error::Api(status) => format!("{} ({})", status.message, status.code),
        error => chain(error),
    })
}
