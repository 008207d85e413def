//! What a Service is to the apiserver: an address that leads to the pod with a label, and connections that stay where they were
//! opened.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::control_plane::ControlPlane;

/// How soon a moved label is seen, about as soon as endpoints follow in a cluster.
const POLL: Duration = Duration::from_millis(200);

/// A relay on 127.0.0.1, ended when dropped. It runs on a thread of its own: a test may block.
pub struct Service {
    address: String,
    runtime: Option<tokio::runtime::Runtime>,
}

// === impl Service ===

impl Service {
    /// Leads to the address of the pod of this namespace that has the label (`key=value`); nowhere while none has it, and by
    /// turns where several have it.
    ///
    /// # Errors
    /// If no port can be had.
    pub fn start(
        plane: &ControlPlane,
        namespace: &str,
        label: &str,
        addresses: BTreeMap<String, String>,
    ) -> Result<Self> {
        let listener =
            std::net::TcpListener::bind(("127.0.0.1", 0)).context("bind a port on 127.0.0.1")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?.to_string();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("service")
            .enable_all()
            .build()
            .context("start the relay's thread")?;
        let access = plane.access();
        let (backends, known) = watch::channel(Vec::new());
        let (namespace, label) = (namespace.to_owned(), label.to_owned());
        runtime.spawn(async move {
            let pods: Api<Pod> = Api::namespaced(access.client(), &namespace);
            let labelled = ListParams::default().labels(&label);
            loop {
                if let Ok(list) = pods.list(&labelled).await {
                    let names = list.items.iter().map(ResourceExt::name_any);
                    let found = names.filter_map(|name| addresses.get(&name).cloned());
                    backends.send_replace(found.collect());
                }
                tokio::time::sleep(POLL).await;
            }
        });
        runtime.spawn(accept(listener, known));
        Ok(Self {
            address,
            runtime: Some(runtime),
        })
    }

    /// `127.0.0.1:{port}`
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn accept(listener: std::net::TcpListener, backends: watch::Receiver<Vec<String>>) {
    let Ok(listener) = TcpListener::from_std(listener) else {
        return;
    };
    let mut turn = 0;
    loop {
        let Ok((mut near, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let backends = backends.borrow().clone();
        turn += 1;
        let Some(backend) = backends.get(turn % backends.len().max(1)).cloned() else {
            continue;
        };
        tokio::spawn(async move {
            if let Ok(mut far) = TcpStream::connect(&backend).await {
                // Whichever side ends it.
                let _ = copy_bidirectional(&mut near, &mut far).await;
            }
        });
    }
}
