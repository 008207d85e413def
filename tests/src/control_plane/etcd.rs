//! What can be done to etcd behind the apiserver's back.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::ControlPlane;
use crate::net::http_post;

// === impl ControlPlane ===

impl ControlPlane {
    /// Has etcd forget all versions but the present ones, as the apiserver does every five minutes. Whoever asks for an older
    /// one is told that it expired; watches that the apiserver serves from its own memory go on.
    ///
    /// # Errors
    /// If etcd does not answer.
    pub async fn compact_etcd(&self) -> Result<()> {
        let status = self.etcd("maintenance/status", json!({})).await?;
        let revision = status["header"]["revision"]
            .as_str()
            .context("etcd names no revision")?
            .to_owned();
        self.etcd(
            "kv/compaction",
            json!({"revision": revision, "physical": true}),
        )
        .await?;
        Ok(())
    }

    /// The JSON gateway of etcd's gRPC API.
    async fn etcd(&self, method: &str, request: Value) -> Result<Value> {
        let address = format!("127.0.0.1:{}", self.ports.etcd);
        let (status, body) =
            http_post(&address, &format!("/v3/{method}"), &request.to_string()).await?;
        anyhow::ensure!(status == 200, "etcd answers {status} to {method}: {body}");
        serde_json::from_str(&body).with_context(|| format!("etcd's answer to {method}: {body}"))
    }
}
