//! The chart installed and its pod running.

use std::path::PathBuf;
use std::time::Duration;

use ::tests::assets::Tool;
use ::tests::net::free_port;
use anyhow::{Context, Result, bail};
use k8s_openapi::api::apps::v1::Deployment;
use serde_json::{Value, json};

use crate::chart::{Release, Rendered};
use crate::cluster::Cluster;
use crate::pod::Pod;

/// The listening ports of one pod on this machine.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// The admission webhook, TLS.
    pub webhook: u16,
    /// Its metrics.
    pub webhook_metrics: u16,
    /// Its probes.
    pub webhook_health: u16,
    /// The reverser's gRPC: introspection, health, reflection.
    pub introspection: u16,
    /// Its metrics.
    pub metrics: u16,
    /// Its probes.
    pub health: u16,
}

/// An installed chart with a running pod.
pub struct Install {
    /// The pod.
    pub pod: Pod,
    /// Where it listens.
    pub ports: Ports,
    /// What was applied.
    pub rendered: Rendered,
}

// === impl Ports ===

impl Ports {
    /// The chart's own where they are free, so that what the documentation shows can be typed; others where they are not.
    #[must_use]
    pub fn like_in_the_chart() -> Self {
        let prefer = |port: u16| match std::net::TcpListener::bind(("127.0.0.1", port)) {
            Ok(_) => port,
            Err(_) => free_port(),
        };
        Self {
            webhook: prefer(9443),
            webhook_metrics: prefer(8080),
            webhook_health: prefer(8081),
            introspection: prefer(50051),
            metrics: prefer(8090),
            health: prefer(8091),
        }
    }

    /// Ports that nobody uses, so that several pods can run side by side.
    #[must_use]
    pub fn free() -> Self {
        Self {
            webhook: free_port(),
            webhook_metrics: free_port(),
            webhook_health: free_port(),
            introspection: free_port(),
            metrics: free_port(),
            health: free_port(),
        }
    }

    /// The values that make the pod listen there, and the apiserver call it at `host`, the name or address by which the
    /// apiserver reaches this machine.
    #[must_use]
    pub fn values(&self, host: &str) -> Value {
        let loopback = ["127.0.0.1", "localhost"].contains(&host);
        let webhook_host = if loopback { "127.0.0.1" } else { "0.0.0.0" };
        json!({
            "webhook": {
                "url": format!("https://{host}:{}/process-validating-webhook", self.webhook),
                "bindAddress": format!("{webhook_host}:{}", self.webhook),
                "metricsBindAddress": format!("127.0.0.1:{}", self.webhook_metrics),
                "healthProbeBindAddress": format!("127.0.0.1:{}", self.webhook_health),
            },
            "reverser": {
                "introspectionBindAddress": format!("127.0.0.1:{}", self.introspection),
                "metricsBindAddress": format!("127.0.0.1:{}", self.metrics),
                "healthProbeBindAddress": format!("127.0.0.1:{}", self.health),
            },
        })
    }
}

// === impl Install ===

impl Install {
    /// Applies, starts and waits until the pod is ready.
    ///
    /// # Errors
    /// If any of it fails. What has been applied by then stays.
    pub async fn start(cluster: &Cluster, rendered: Rendered, ports: Ports) -> Result<Self> {
        rendered.apply(&cluster.client()?).await?;
        let deployment: Deployment = rendered.only()?;
        let mut pod = Pod::start(cluster, &deployment, &programs()?).await?;
        pod.wait_ready(Duration::from_secs(60)).await?;
        Ok(Self {
            pod,
            ports,
            rendered,
        })
    }
}

/// Renders the chart for a pod on this machine: the release's values on top of those for the ports.
///
/// # Errors
/// If Helm can't be had or refuses.
pub async fn render(
    cluster: &Cluster,
    release: Release,
    ports: Ports,
    webhook_host: &str,
) -> Result<Rendered> {
    let mut values = ports.values(webhook_host);
    merge(&mut values, &release.values);
    let release = Release { values, ..release };
    let assets = cluster.assets().clone();
    tokio::task::spawn_blocking(move || release.render(&assets.get(Tool::Helm)?))
        .await
        .context("run Helm")?
}

/// Helm's way of putting values over values: maps key by key, anything else replaced.
fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (_, Value::Null) => {}
        (into, from) => *into = from.clone(),
    }
}

/// Where Cargo puts our programs: beside this one, or one up from a test. `GITOPS_REVERSER_BIN_DIR` names another place.
///
/// # Errors
/// If they have not been built.
pub fn programs() -> Result<PathBuf> {
    let directory = match std::env::var_os("GITOPS_REVERSER_BIN_DIR") {
        Some(directory) => PathBuf::from(directory),
        None => {
            let this = std::env::current_exe().context("find this program")?;
            let directory = this.parent().context("this program is in no directory")?;
            match directory.file_name() {
                Some(name) if name == "deps" => directory.parent().unwrap_or(directory),
                _ => directory,
            }
            .to_owned()
        }
    };
    for program in ["gitops-reverser", "gitops-reverser-webhook"] {
        if !directory.join(program).is_file() {
            bail!(
                "there is no {program} in {}: run `make build`",
                directory.display()
            );
        }
    }
    Ok(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_put_over_values_key_by_key() {
        let mut values = json!({ "a": { "b": 1, "c": [1] }, "d": 1 });
        merge(
            &mut values,
            &json!({ "a": { "c": [2], "e": 3 }, "d": null }),
        );
        assert_eq!(values, json!({ "a": { "b": 1, "c": [2], "e": 3 }, "d": 1 }));
    }
}
