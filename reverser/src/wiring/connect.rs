//! The apiserver, the cluster, and who we are in it.

use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::core::v1::Namespace;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt};
use tracing::warn;

use crate::args::Args;
use crate::leadership::Candidate;

/// Who this process is among its replicas; none without `--leader-elect`.
pub(super) fn candidate(args: &Args, client: &Client) -> anyhow::Result<Option<Candidate>> {
    if !args.leader_elect {
        return Ok(None);
    }
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let pod =
        variable("POD_NAME").context("--leader-elect needs the name of the pod in $POD_NAME")?;
    let namespace = variable("POD_NAMESPACE");
    Ok(Some(Candidate {
        namespace: namespace.unwrap_or_else(|| client.default_namespace().to_owned()),
        lease: args.leader_elect_lease.clone(),
        pod,
    }))
}

pub(super) async fn connect(args: &Args) -> anyhow::Result<Client> {
    let config = match &args.kubeconfig {
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
    client(config, Duration::from_secs(295)).context("make a client for the apiserver")
}

/// A client that gives up a connection on which nothing came for so long, and tells of every error at once.
pub(crate) fn client(mut config: Config, silence: Duration) -> kube::Result<Client> {
    config.read_timeout = Some(silence);
    config.reset_reader_on_write = true;
    // The client would keep a 503 or 429 to itself for minutes, and double its waits meanwhile. Whoever asks has a back-off of
    // their own and says why they wait; and nobody else's types may wait for those of an aggregated API that is away.
    config.default_retry = false;
    Client::try_from(config)
}

/// The uid of kube-system stands for the cluster: it is there in every cluster and never changes.
pub(super) async fn cluster_id(client: &Client) -> anyhow::Result<String> {
    let mut wait = Duration::from_millis(500);
    loop {
        match read_cluster_id(client).await {
            Ok(uid) => return uid.context("kube-system has no uid"),
            Err(kube::Error::Api(status)) if matches!(status.code, 401 | 403) => {
                anyhow::bail!("namespace kube-system can't be read: {}", status.message)
            }
            Err(error) => warn!(%error, "the apiserver does not answer yet"),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(Duration::from_secs(10));
    }
}

/// The same, asked for once.
pub(crate) async fn read_cluster_id(client: &Client) -> kube::Result<Option<String>> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    Ok(namespaces.get("kube-system").await?.uid())
}
