//! The three processes of a control plane and their flags.

use std::path::Path;

use anyhow::Result;

use super::files::Files;
use crate::assets::{Assets, Tool};
use crate::process::{Process, Spec};

/// The ports of one control plane, all on 127.0.0.1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    pub(super) etcd: u16,
    pub(super) etcd_peer: u16,
    pub(super) apiserver: u16,
}

pub(super) fn etcd(assets: &Assets, directory: &Path, ports: Ports) -> Result<Process> {
    let client = format!("http://127.0.0.1:{}", ports.etcd);
    let peer = format!("http://127.0.0.1:{}", ports.etcd_peer);
    Spec::new("etcd", assets.get(Tool::Etcd)?, directory)
        .arg(format!("--data-dir={}", directory.join("etcd").display()))
        .arg(format!("--listen-client-urls={client}"))
        .arg(format!("--advertise-client-urls={client}"))
        .arg(format!("--listen-peer-urls={peer}"))
        .arg(format!("--initial-advertise-peer-urls={peer}"))
        .arg(format!("--initial-cluster=default={peer}"))
        // Durable against our own SIGKILL all the same: only a machine that crashes loses what is not synced.
        .arg("--unsafe-no-fsync")
        .arg("--log-level=warn")
        .spawn()
}

pub(super) fn apiserver(
    assets: &Assets,
    directory: &Path,
    files: &Files,
    ports: Ports,
    extra: &[String],
) -> Result<Process> {
    Spec::new(
        "kube-apiserver",
        assets.get(Tool::KubeApiserver)?,
        directory,
    )
    .arg(format!("--etcd-servers=http://127.0.0.1:{}", ports.etcd))
    .arg(format!("--secure-port={}", ports.apiserver))
    .arg(format!("--cert-dir={}", directory.display()))
    .arg(format!(
        "--audit-log-path={}",
        directory.join("audit.log").display()
    ))
    .arg(files.flag("audit-policy-file", "audit-policy.json"))
    .arg(files.flag("client-ca-file", "ca.crt"))
    .arg(files.flag("tls-cert-file", "apiserver.crt"))
    .arg(files.flag("tls-private-key-file", "apiserver.key"))
    .arg(files.flag("requestheader-client-ca-file", "front-proxy-ca.crt"))
    .arg(files.flag("proxy-client-cert-file", "front-proxy.crt"))
    .arg(files.flag("proxy-client-key-file", "front-proxy.key"))
    .arg(files.flag("service-account-key-file", "token.pub"))
    .arg(files.flag("service-account-signing-key-file", "token.key"))
    .args([
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        // There are no endpoints to keep: nobody reaches the apiserver through a Service.
        "--endpoint-reconciler-type=none",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--authorization-mode=RBAC",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--allow-privileged=true",
        "--profiling=false",
        // Rotation would hide what tests look for; the log ends with the test process.
        "--audit-log-maxsize=100000",
    ])
    .args(extra)
    .spawn()
}

pub(super) fn controller_manager(
    assets: &Assets,
    directory: &Path,
    files: &Files,
) -> Result<Process> {
    Spec::new(
        "kube-controller-manager",
        assets.get(Tool::KubeControllerManager)?,
        directory,
    )
    .arg(files.flag("kubeconfig", "manager.kubeconfig"))
    .arg(files.flag("root-ca-file", "ca.crt"))
    .arg(files.flag("service-account-private-key-file", "token.key"))
    .arg(files.flag("cluster-signing-cert-file", "ca.crt"))
    .arg(files.flag("cluster-signing-key-file", "ca.key"))
    .args([
        // Each controller acts as its own service account, as in a real cluster.
        "--use-service-account-credentials=true",
        "--leader-elect=false",
        "--secure-port=0",
        "--profiling=false",
    ])
    .spawn()
}
