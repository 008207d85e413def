//! A real control plane: etcd, kube-apiserver and kube-controller-manager on loopback ports.

mod audit;
mod components;
mod etcd;
mod files;
mod gateway;
mod kubeconfig;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use kube::api::{Api, PostParams};
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::OnceCell;
use tokio::time::sleep;

use crate::assets::{Assets, Tool};
use crate::net::free_port;
use crate::process::{Process, Signal, temp_dir};
pub use audit::{AuditEvent, AuditObject, AuditStatus, AuditUser};
use components::Ports;
use files::Files;
pub(crate) use files::write_private;
pub use gateway::{Answer, Gateway, Hold};
pub(crate) use kubeconfig::Access;
use kubeconfig::Credential;

/// A control plane is up in 12 s on two idle cores; a machine that builds meanwhile takes several times as long.
const STARTS_WITHIN: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(100);

/// How to start a control plane.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Further flags for kube-apiserver.
    pub apiserver_args: Vec<String>,
    /// The audit policy (JSON), in place of the usual one, which logs no bodies.
    pub audit_policy: Option<String>,
}

/// A running control plane. Ended when dropped, and with the process at the latest.
pub struct ControlPlane {
    // Ended in this order.
    manager: Mutex<Option<Process>>,
    apiserver: Mutex<Option<Process>>,
    etcd: Mutex<Process>,
    assets: Assets,
    options: Options,
    ports: Ports,
    files: Files,
    namespaces: AtomicUsize,
    kubeconfigs: AtomicUsize,
    directory: tempfile::TempDir,
}

// === impl ControlPlane ===

impl ControlPlane {
    /// The control plane that all tests of this process share, started by the first to ask. It ends with the process.
    ///
    /// Make namespaces of your own with [`ControlPlane::create_namespace`], and take a plane of your own
    /// ([`ControlPlane::start`]) to restart or break things.
    ///
    /// # Panics
    /// If it can't be started.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();
        SHARED
            .get_or_init(|| async {
                match Self::start(Options::default()).await {
                    Ok(plane) => plane,
                    Err(error) => panic!("the shared control plane can't be started: {error:#}"),
                }
            })
            .await
    }

    /// Starts a control plane of one's own and waits until it is ready: the apiserver answers, and the controller manager has
    /// given namespace `default` its ServiceAccount and CA.
    ///
    /// # Errors
    /// If a program is missing or ends early, with the end of its log.
    pub async fn start(options: Options) -> Result<Self> {
        crate::certs::install_crypto_provider();
        let assets = Assets::locate()?;
        let ports = Ports {
            etcd: free_port(),
            etcd_peer: free_port(),
            apiserver: free_port(),
        };
        let directory = temp_dir("control-plane")?;
        let files = Files::write(directory.path(), ports.apiserver)?;
        if let Some(policy) = &options.audit_policy {
            write_private(&files.path("audit-policy.json"), policy)?;
        }
        // Building a program blocks for minutes, and a file lock with it.
        let (directory, files, processes) = {
            let (assets, extra) = (assets.clone(), options.apiserver_args.clone());
            let start = move || {
                let path = directory.path().to_owned();
                let etcd = components::etcd(&assets, &path, ports)?;
                let apiserver = components::apiserver(&assets, &path, &files, ports, &extra)?;
                // Built here, started later.
                assets.get(Tool::KubeControllerManager)?;
                anyhow::Ok((directory, files, (etcd, apiserver)))
            };
            tokio::task::spawn_blocking(start)
                .await
                .context("start the control plane")??
        };
        let (etcd, apiserver) = processes;
        let plane = Self {
            manager: Mutex::new(None),
            apiserver: Mutex::new(Some(apiserver)),
            etcd: Mutex::new(etcd),
            assets,
            options,
            ports,
            files,
            namespaces: AtomicUsize::new(0),
            kubeconfigs: AtomicUsize::new(0),
            directory,
        };
        plane.wait_ready().await?;
        // It waits for an apiserver for 10 s, and then ends: too short where the machine is busy.
        let path = plane.directory.path();
        let manager = components::controller_manager(&plane.assets, path, &plane.files)?;
        *plane.manager.lock() = Some(manager);
        plane.wait_controllers().await?;
        Ok(plane)
    }

    /// Ends all three processes now instead of on drop.
    pub fn stop(self) {
        drop(self);
    }

    /// The apiserver's URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.files.endpoint.url
    }

    /// The certificate authority of the apiserver, PEM.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.files.endpoint.ca_pem
    }

    /// An administrator's kubeconfig (group `system:masters`).
    #[must_use]
    pub fn kubeconfig_path(&self) -> PathBuf {
        self.files.path("admin.kubeconfig")
    }

    /// A kubeconfig file that authenticates by a token, for a process that is to have no more rights than its ServiceAccount.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn kubeconfig_for_token(&self, token: &str) -> Result<PathBuf> {
        let number = self.kubeconfigs.fetch_add(1, Ordering::Relaxed);
        let path = self.files.path(&format!("token-{number}.kubeconfig"));
        write_private(
            &path,
            &self
                .files
                .endpoint
                .kubeconfig(&Credential::Token(token.to_owned())),
        )?;
        Ok(path)
    }

    /// An administrator's client, bound to the calling runtime: take a new one in every test.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    #[must_use]
    pub fn client(&self) -> kube::Client {
        self.files.endpoint.client(self.files.admin.auth_info())
    }

    pub(crate) fn access(&self) -> Access {
        Access {
            endpoint: self.files.endpoint.clone(),
            credential: self.files.admin.clone(),
        }
    }

    /// A client that acts as a user (impersonated by the administrator). Rights are the user's: `system:masters` among the groups
    /// gives all of them.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    #[must_use]
    pub fn client_as(&self, user: &str, groups: &[&str]) -> kube::Client {
        let mut auth_info = self.files.admin.auth_info();
        auth_info.impersonate = Some(user.to_owned());
        auth_info.impersonate_groups = Some(groups.iter().map(ToString::to_string).collect());
        self.files.endpoint.client(auth_info)
    }

    /// A client that authenticates by a bearer token.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    #[must_use]
    pub fn client_with_token(&self, token: &str) -> kube::Client {
        self.files
            .endpoint
            .client(Credential::Token(token.to_owned()).auth_info())
    }

    /// A client that authenticates by a certificate of this common name and these organisations: a user name of any bytes, where
    /// impersonation takes only what a header can hold.
    ///
    /// # Errors
    /// If it can't be signed.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn client_certified(&self, user: &str, groups: &[&str]) -> Result<kube::Client> {
        let identity = self.files.authority.client(user, groups)?;
        let credential = Credential::Certificate(identity);
        Ok(self.files.endpoint.client(credential.auth_info()))
    }

    /// A token for a ServiceAccount, valid for an hour, through the TokenRequest API.
    ///
    /// # Errors
    /// If there is no such ServiceAccount.
    pub async fn service_account_token(&self, namespace: &str, name: &str) -> Result<String> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client(), namespace);
        let request = TokenRequest {
            spec: TokenRequestSpec {
                expiration_seconds: Some(3600),
                ..TokenRequestSpec::default()
            },
            ..TokenRequest::default()
        };
        let answer = accounts
            .create_token_request(name, &PostParams::default(), &request)
            .await
            .with_context(|| format!("ask for a token of ServiceAccount {namespace}/{name}"))?;
        Ok(answer.status.context("the apiserver gave no token")?.token)
    }

    /// Makes a namespace `{prefix}-{number}` that no other test has, and returns its name.
    ///
    /// # Panics
    /// If the apiserver refuses it.
    pub async fn create_namespace(&self, prefix: &str) -> String {
        let name = format!(
            "{prefix}-{}",
            self.namespaces.fetch_add(1, Ordering::Relaxed)
        );
        let namespace: Namespace =
            match serde_json::from_value(json!({ "metadata": { "name": name } })) {
                Ok(namespace) => namespace,
                Err(error) => panic!("a namespace is a name: {error}"),
            };
        if let Err(error) = Api::all(self.client())
            .create(&PostParams::default(), &namespace)
            .await
        {
            panic!("namespace {name} can't be made: {error}");
        }
        name
    }

    /// All that the audit log holds so far: every resource request but reads by the apiserver itself, Events and Leases. A request
    /// is in it before its answer is sent.
    ///
    /// # Panics
    /// If the log can't be read.
    #[must_use]
    pub fn audit_log(&self) -> Vec<AuditEvent> {
        audit::read(&self.audit_log_path())
            .unwrap_or_else(|error| panic!("the audit log can't be read: {error:#}"))
    }

    /// The audit log itself: a JSON object a line.
    #[must_use]
    pub fn audit_log_path(&self) -> PathBuf {
        self.directory.path().join("audit.log")
    }

    /// The directory of its logs and data.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The programs that it runs, and those that go with it.
    #[must_use]
    pub fn assets(&self) -> &Assets {
        &self.assets
    }

    /// Process ids of etcd, kube-apiserver (unless stopped), and kube-controller-manager.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        let apiserver = self.apiserver.lock().as_ref().map(Process::pid);
        [
            Some(self.etcd.lock().pid()),
            apiserver,
            self.manager.lock().as_ref().map(Process::pid),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Ends the apiserver at once, as a crash would. Watches break, writes fail, etcd keeps everything.
    pub fn stop_apiserver(&self) {
        self.apiserver.lock().take();
    }

    /// Sends a signal to the apiserver: SIGSTOP makes it hang, SIGCONT lets it go on.
    pub fn signal_apiserver(&self, signal: Signal) {
        if let Some(apiserver) = self.apiserver.lock().as_mut() {
            apiserver.signal(signal);
        }
    }

    /// Ends the apiserver, if it runs, starts it again on the same port, and waits until it is ready.
    ///
    /// # Errors
    /// If it does not come up.
    pub async fn restart_apiserver(&self) -> Result<()> {
        {
            let mut apiserver = self.apiserver.lock();
            apiserver.take();
            *apiserver = Some(components::apiserver(
                &self.assets,
                self.directory.path(),
                &self.files,
                self.ports,
                &self.options.apiserver_args,
            )?);
        }
        self.wait_ready().await
    }

    /// Waits until the apiserver says that it is ready.
    async fn wait_ready(&self) -> Result<()> {
        let client = self.client();
        self.poll("kube-apiserver is not ready", || async {
            let request = http::Request::get("/readyz?verbose").body(Vec::new())?;
            anyhow::Ok(client.request_text(request).await?)
        })
        .await?;
        Ok(())
    }

    /// Waits for what the controller manager gives to a namespace.
    async fn wait_controllers(&self) -> Result<()> {
        let client = self.client();
        self.poll("kube-controller-manager has not begun to work", || async {
            Api::<ServiceAccount>::namespaced(client.clone(), "default")
                .get("default")
                .await?;
            Api::<ConfigMap>::namespaced(client.clone(), "default")
                .get("kube-root-ca.crt")
                .await?;
            anyhow::Ok(())
        })
        .await
    }

    async fn poll<T, F: Future<Output = Result<T>>>(
        &self,
        what: &str,
        attempt: impl Fn() -> F,
    ) -> Result<T> {
        let start = Instant::now();
        loop {
            let error = match tokio::time::timeout(Duration::from_secs(10), attempt()).await {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(error)) => format!("{error:#}"),
                Err(_) => "no answer in 10 s".to_owned(),
            };
            self.must_run()?;
            if start.elapsed() > STARTS_WITHIN {
                let log = self
                    .apiserver
                    .lock()
                    .as_ref()
                    .map(Process::log_tail)
                    .unwrap_or_default();
                bail!(
                    "{what} after {STARTS_WITHIN:?}: {error}\nkube-apiserver's log ends with:\n{log}"
                );
            }
            sleep(POLL).await;
        }
    }

    fn must_run(&self) -> Result<()> {
        self.etcd.lock().must_run()?;
        if let Some(apiserver) = self.apiserver.lock().as_mut() {
            apiserver.must_run()?;
        }
        if let Some(manager) = self.manager.lock().as_mut() {
            manager.must_run()?;
        }
        Ok(())
    }
}
