//! The two processes: their flags, ports and files.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{Recorder, Reverser, Tap};
use crate::certs::Identity;
use crate::control_plane::write_private;
use crate::net::free_port;
use crate::process::Spec;

/// How to start the two processes.
#[derive(Clone, Debug)]
pub struct Options {
    /// Further flags for the reverser, after ours.
    pub reverser_args: Vec<String>,
    /// Further flags for the webhook, after ours.
    pub webhook_args: Vec<String>,
    /// Environment variables of the reverser.
    pub reverser_env: Vec<(String, String)>,
    /// Environment variables of the webhook.
    pub webhook_env: Vec<(String, String)>,
    /// What the reverser authenticates with; the administrator's kubeconfig if absent.
    pub kubeconfig: Option<PathBuf>,
    /// The last segment of the webhook's path, if there is to be one.
    pub path_token: Option<String>,
    /// Whether the apiserver is told of the webhook. Without, no write is attributed.
    pub register_webhook: bool,
    /// Whether the stream between the two goes through a relay that can cut it ([`Reverser::relay`]).
    pub tapped: bool,
    /// Whether what the webhook tells the reverser is kept ([`Reverser::observations`]); in place of a relay.
    pub recorded: bool,
    /// `--log-level` of both.
    pub log_level: String,
}

/// Loopback ports, each `127.0.0.1:{port}`.
pub(super) struct Addresses {
    pub(super) webhook: String,
    pub(super) webhook_metrics: String,
    pub(super) webhook_health: String,
    pub(super) introspection: String,
    pub(super) reverser_metrics: String,
    pub(super) reverser_health: String,
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self {
            reverser_args: Vec::new(),
            webhook_args: Vec::new(),
            reverser_env: Vec::new(),
            webhook_env: Vec::new(),
            kubeconfig: None,
            path_token: None,
            register_webhook: true,
            tapped: false,
            recorded: false,
            log_level: "info".to_owned(),
        }
    }
}

// === impl Addresses ===

impl Addresses {
    pub(super) fn choose() -> Self {
        let address = || format!("127.0.0.1:{}", free_port());
        Self {
            webhook: address(),
            webhook_metrics: address(),
            webhook_health: address(),
            introspection: address(),
            reverser_metrics: address(),
            reverser_health: address(),
        }
    }
}

// === impl Reverser ===

impl Reverser {
    /// Kills the reverser, if it runs, and starts it on the same ports and work directory. Waits for nothing.
    ///
    /// # Errors
    /// If it can't be started.
    pub fn respawn_reverser(&self) -> Result<()> {
        self.kill9_reverser();
        self.spawn_reverser()
    }

    pub(super) fn spawn_reverser(&self) -> Result<()> {
        let mut spec = self.spec("gitops-reverser", &self.binaries.reverser);
        for (name, value) in &self.options.reverser_env {
            spec = spec.env(name, value);
        }
        let process = spec
            .arg(format!("--kubeconfig={}", self.kubeconfig.display()))
            .arg(format!("--work-dir={}", self.work_dir().display()))
            .arg(format!(
                "--grpc-bind-address=unix:{}",
                self.attribution_socket().display()
            ))
            .arg(format!(
                "--introspection-bind-address={}",
                self.addresses.introspection
            ))
            .arg(format!(
                "--metrics-bind-address={}",
                self.addresses.reverser_metrics
            ))
            .arg(format!(
                "--health-probe-bind-address={}",
                self.addresses.reverser_health
            ))
            .args(&self.options.reverser_args)
            .spawn()?;
        *self.reverser.lock() = Some(process);
        Ok(())
    }

    pub(super) fn spawn_webhook(&self) -> Result<()> {
        let [certificate, key] = self.certificate_paths();
        let direct = self.attribution_socket();
        let tapped = self.tap.as_ref().map(Tap::path);
        let recorded = self.recorder.as_ref().map(Recorder::path);
        let socket = recorded.or(tapped).unwrap_or(&direct);
        let mut spec = self
            .spec("gitops-reverser-webhook", &self.binaries.webhook)
            .arg(format!("--bind-address={}", self.addresses.webhook))
            .arg(format!("--tls-cert-file={}", certificate.display()))
            .arg(format!("--tls-private-key-file={}", key.display()))
            .arg(format!("--reverser-endpoint=unix:{}", socket.display()))
            .arg(format!(
                "--metrics-bind-address={}",
                self.addresses.webhook_metrics
            ))
            .arg(format!(
                "--health-probe-bind-address={}",
                self.addresses.webhook_health
            ));
        if self.options.path_token.is_some() {
            spec = spec.arg(format!(
                "--path-token-file={}",
                self.directory.path().join("path-token").display()
            ));
        }
        for (name, value) in &self.options.webhook_env {
            spec = spec.env(name, value);
        }
        *self.webhook.lock() = Some(spec.args(&self.options.webhook_args).spawn()?);
        Ok(())
    }

    /// A process that gets nothing but what its flags say.
    fn spec(&self, name: &str, program: &Path) -> Spec {
        let mut spec = Spec::new(name, program, self.directory.path())
            .dir(self.directory.path())
            .env_remove("KUBECONFIG")
            .env_remove("POD_NAME")
            .env_remove("POD_NAMESPACE")
            .arg("--log-format=text")
            .arg(format!("--log-level={}", self.options.log_level));
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("GITOPS_REVERSER_") {
                spec = spec.env_remove(variable);
            }
        }
        spec
    }
}

pub(super) fn write_certificate(directory: &Path, identity: &Identity) -> Result<()> {
    write_private(&directory.join("tls.crt"), &identity.certificate)?;
    write_private(&directory.join("tls.key"), &identity.key)
}
