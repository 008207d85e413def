//! The Deployment's pod as processes of this machine.
//!
//! Command, arguments, environment and mounts are what the Deployment says. What a container runtime would do is done in
//! its place: paths below a mount are replaced by the directory that stands for the volume, `/tmp` by `TMPDIR`, and the
//! in-cluster configuration by a kubeconfig that holds the mounted ServiceAccount token and nothing else. A container that
//! mounts no token gets no kubeconfig. Where there is an [`Engine`], it runs the images, and nothing is replaced.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Container, EnvVar, HTTPGetAction, PodSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::Config;
use serde_json::json;
use tests::process::{Process, Signal, Spec, temp_dir};

use crate::cluster::Cluster;
use crate::engine::{Engine, Started};
use crate::volumes::{Mounts, PodIdentity, Volumes};

const TOKEN_MOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const POLL: Duration = Duration::from_millis(100);

/// A running pod. Its processes are killed when it is dropped; [`Pod::stop`] lets them finish.
pub struct Pod {
    containers: Vec<Running>,
    grace: Duration,
    volumes: Volumes,
    // Behind the processes that work in it.
    _directory: tempfile::TempDir,
}

struct Running {
    process: Process,
    // Behind its process.
    started: Option<Started>,
    startup: Vec<Probe>,
    readiness: Vec<Probe>,
}

struct Probe {
    address: String,
    path: String,
}

// === impl Pod ===

impl Pod {
    /// Starts every container of a Deployment's pod, as one replica. Programs are looked for in `programs`, by the file name of the
    /// container's command.
    ///
    /// # Errors
    /// If the pod needs what has no counterpart here, or a program is missing.
    pub async fn start(
        cluster: &Cluster,
        deployment: &Deployment,
        programs: &Path,
    ) -> Result<Self> {
        let name = deployment.metadata.name.as_deref().unwrap_or_default();
        Self::start_as(&format!("{name}-0"), cluster, deployment, programs).await
    }

    /// The same as the pod of this name: one of several replicas.
    ///
    /// # Errors
    /// As above.
    pub async fn start_as(
        name: &str,
        cluster: &Cluster,
        deployment: &Deployment,
        programs: &Path,
    ) -> Result<Self> {
        let template = &deployment
            .spec
            .as_ref()
            .context("the Deployment has no spec")?
            .template;
        let spec = template
            .spec
            .as_ref()
            .context("the Deployment has no pod")?;
        let identity = PodIdentity {
            name: name.to_owned(),
            namespace: deployment.metadata.namespace.clone().unwrap_or_default(),
            service_account: service_account(spec),
        };
        // Short: the address of a unix socket ends at 108 bytes.
        let directory = temp_dir("pod")?;
        let volumes = Volumes::make(&cluster.client()?, spec, &identity, directory.path()).await?;
        let mut containers = Vec::new();
        for container in &spec.containers {
            let running = match Engine::from_env() {
                Some(engine) => start_image(
                    &engine,
                    cluster.config(),
                    spec,
                    container,
                    &identity,
                    &volumes,
                    directory.path(),
                ),
                None => start_container(
                    cluster.config(),
                    container,
                    &identity,
                    &volumes,
                    programs,
                    directory.path(),
                ),
            };
            let running = running.with_context(|| format!("container {}", container.name))?;
            containers.push(running);
        }
        let grace = spec.termination_grace_period_seconds.unwrap_or(30);
        Ok(Self {
            containers,
            grace: Duration::from_secs(grace.unsigned_abs()),
            volumes,
            _directory: directory,
        })
    }

    /// Waits until every container's startup and readiness probes succeed.
    ///
    /// # Errors
    /// If a container ends, with the end of its log, or at the deadline.
    pub async fn wait_ready(&mut self, within: Duration) -> Result<()> {
        let start = Instant::now();
        loop {
            self.must_run()?;
            let failing = self.failing().await;
            let Some(failing) = failing else {
                return Ok(());
            };
            if start.elapsed() > within {
                bail!(
                    "not ready after {within:?}: {failing}\n{}",
                    self.log_tails()
                );
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn failing(&self) -> Option<String> {
        for container in &self.containers {
            for probe in container.startup.iter().chain(&container.readiness) {
                if let Err(error) = probe.check().await {
                    return Some(format!("{}: {error:#}", container.process.name()));
                }
            }
        }
        None
    }

    /// An error if a container has ended.
    ///
    /// # Errors
    /// With the end of its log.
    pub fn must_run(&mut self) -> Result<()> {
        self.containers
            .iter_mut()
            .try_for_each(|container| container.process.must_run())
    }

    /// Sends a signal to a container, by its name.
    ///
    /// # Panics
    /// If the pod has no such container.
    pub fn signal(&mut self, container: &str, signal: Signal) {
        let mut containers = self.containers.iter_mut();
        match containers.find(|running| running.process.name() == container) {
            Some(running) => running.signal(signal),
            None => panic!("the pod has no container {container}"),
        }
    }

    /// The directory that stands for a volume, by the volume's name.
    #[must_use]
    pub fn volume(&self, name: &str) -> Option<&Path> {
        self.volumes.directory(name)
    }

    /// The end of every container's log.
    #[must_use]
    pub fn log_tails(&self) -> String {
        self.containers
            .iter()
            .map(|Running { process, .. }| {
                format!("== {}\n{}\n", process.name(), process.log_tail())
            })
            .collect()
    }

    /// Where the logs are, container by container.
    #[must_use]
    pub fn logs(&self) -> Vec<PathBuf> {
        self.containers
            .iter()
            .map(|running| running.process.log_path().to_owned())
            .collect()
    }

    /// Ends all containers at once, as the kubelet does: SIGTERM, the grace period, SIGKILL.
    ///
    /// # Errors
    /// If one had to be killed or ended with an error.
    pub async fn stop(mut self) -> Result<()> {
        for container in &mut self.containers {
            container.signal(Signal::TERM);
        }
        let mut bad = Vec::new();
        for container in &mut self.containers {
            let ended = container.ended(self.grace).await;
            let process = &container.process;
            match ended {
                Some(status) if status.success() => {}
                Some(status) => bad.push(format!(
                    "{}: {status}\n{}",
                    process.name(),
                    process.log_tail()
                )),
                None => bad.push(format!("{}: killed after {:?}", process.name(), self.grace)),
            }
        }
        if bad.is_empty() {
            Ok(())
        } else {
            bail!("the pod did not end well: {}", bad.join("\n"))
        }
    }
}

// === impl Running ===

impl Running {
    fn new(container: &Container, spec: Spec, started: Option<Started>) -> Result<Self> {
        Ok(Self {
            process: spec.spawn()?,
            started,
            startup: probes(container, container.startup_probe.as_ref())?,
            readiness: probes(container, container.readiness_probe.as_ref())?,
        })
    }

    fn signal(&mut self, signal: Signal) {
        match &self.started {
            Some(started) => started.signal(signal),
            None => self.process.signal(signal),
        }
    }

    /// How it ended within this time. `None` if it had to be killed.
    async fn ended(&mut self, grace: Duration) -> Option<ExitStatus> {
        let ended = self.process.wait(grace).await;
        if ended.is_none() {
            self.signal(Signal::KILL);
        }
        ended
    }
}

fn service_account(spec: &PodSpec) -> String {
    spec.service_account_name
        .clone()
        .unwrap_or_else(|| "default".to_owned())
}

fn start_container(
    config: &Config,
    container: &Container,
    identity: &PodIdentity,
    volumes: &Volumes,
    programs: &Path,
    directory: &Path,
) -> Result<Running> {
    let mounts = volumes.mounts(container.volume_mounts.iter().flatten())?;
    let command = container.command.as_deref().unwrap_or_default();
    let (program, first_args) = command
        .split_first()
        .context("without a command in the Deployment its program is not known")?;
    let program = Path::new(program)
        .file_name()
        .context("the command is no program")?;
    let args = first_args.iter().chain(container.args.iter().flatten());
    let mut spec = Spec::new(&container.name, programs.join(program), directory)
        .args(args.map(|arg| mounts.localize(arg)));
    // A container inherits nothing, and least of all our own flags' variables.
    for (variable, _) in std::env::vars_os() {
        if !matches!(variable.to_str(), Some("PATH" | "LANG")) {
            spec = spec.env_remove(variable);
        }
    }
    // Neither does it see this user's Git and SSH configuration.
    let home = directory.join(format!("{}.home", container.name));
    std::fs::create_dir_all(&home).context("make a home directory")?;
    spec = spec.env("HOME", &home);
    spec = spec.env("TMPDIR", mounts.at("/tmp").unwrap_or(&home));
    if let Some(token) = mounts.at(TOKEN_MOUNT) {
        let kubeconfig = directory.join(format!("{}.kubeconfig", container.name));
        write_kubeconfig(config, token, identity, &kubeconfig)?;
        spec = spec.env("KUBECONFIG", kubeconfig);
    }
    for variable in container.env.iter().flatten() {
        spec = spec.env(&variable.name, value(variable, identity, &mounts)?);
    }
    Running::new(container, spec, None)
}

fn start_image(
    engine: &Engine,
    config: &Config,
    pod: &PodSpec,
    container: &Container,
    identity: &PodIdentity,
    volumes: &Volumes,
    directory: &Path,
) -> Result<Running> {
    let nowhere = Mounts::default();
    let environment: Vec<(String, String)> = container
        .env
        .iter()
        .flatten()
        .map(|variable| Ok((variable.name.clone(), value(variable, identity, &nowhere)?)))
        .collect::<Result<_>>()?;
    let mut mounts = Vec::new();
    for mount in container.volume_mounts.iter().flatten() {
        let volume = volumes.directory(&mount.name).context("no such volume")?;
        if mount.sub_path.is_some() {
            bail!("{}: subPath has no counterpart here", mount.mount_path);
        }
        mounts.push((mount, volume));
    }
    let security = pod.security_context.as_ref();
    let (spec, started) = engine.run(
        container,
        security,
        config,
        &environment,
        &mounts,
        directory,
    )?;
    Running::new(container, spec, Some(started))
}

fn value(variable: &EnvVar, identity: &PodIdentity, mounts: &Mounts) -> Result<String> {
    match (&variable.value, &variable.value_from) {
        (Some(value), _) => Ok(mounts.localize(value)),
        (None, None) => Ok(String::new()),
        (None, Some(source)) => {
            let field = source.field_ref.as_ref().with_context(|| {
                format!(
                    "variable {}: only fieldRef has a counterpart here",
                    variable.name
                )
            })?;
            identity.field(field)
        }
    }
}

/// What `rest.InClusterConfig` does with the mounted files, for programs that can't have them at that path. The address and its
/// CA are the administrator's: `kubernetes.default.svc` does not resolve here.
fn write_kubeconfig(
    config: &Config,
    token: &Path,
    identity: &PodIdentity,
    path: &Path,
) -> Result<()> {
    let mut cluster = json!({ "server": config.cluster_url.to_string() });
    if config.accept_invalid_certs {
        cluster["insecure-skip-tls-verify"] = json!(true);
    } else if let Some(roots) = &config.root_cert {
        let bundle: String = roots.iter().map(|der| pem(der)).collect();
        cluster["certificate-authority-data"] = json!(BASE64.encode(bundle));
    }
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "in-cluster", "cluster": cluster }],
        "users": [{ "name": "pod", "user": { "tokenFile": token.join("token") } }],
        "contexts": [{ "name": "pod", "context": {
            "cluster": "in-cluster", "user": "pod", "namespace": identity.namespace,
        } }],
        "current-context": "pod",
    });
    std::fs::write(path, format!("{kubeconfig:#}\n"))
        .with_context(|| format!("write {}", path.display()))
}

fn pem(der: &[u8]) -> String {
    let base64 = BASE64.encode(der);
    let mut text = "-----BEGIN CERTIFICATE-----\n".to_owned();
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = more;
    }
    text + "-----END CERTIFICATE-----\n"
}

fn probes(
    container: &Container,
    probe: Option<&k8s_openapi::api::core::v1::Probe>,
) -> Result<Vec<Probe>> {
    let Some(probe) = probe else {
        return Ok(Vec::new());
    };
    let http = probe
        .http_get
        .as_ref()
        .context("only httpGet probes have a counterpart here")?;
    Ok(vec![Probe {
        address: format!("127.0.0.1:{}", port(container, http)?),
        path: http.path.clone().unwrap_or_else(|| "/".to_owned()),
    }])
}

fn port(container: &Container, http: &HTTPGetAction) -> Result<i32> {
    match &http.port {
        IntOrString::Int(port) => Ok(*port),
        IntOrString::String(name) => container
            .ports
            .iter()
            .flatten()
            .find(|port| port.name.as_ref() == Some(name))
            .map(|port| port.container_port)
            .with_context(|| {
                format!("a probe names port {name}, which the container does not have")
            }),
    }
}

// === impl Probe ===

impl Probe {
    async fn check(&self) -> Result<()> {
        let (status, body) = tests::net::http_get(&self.address, &self.path).await?;
        if !(200..400).contains(&status) {
            bail!(
                "{}{} answers {status}: {}",
                self.address,
                self.path,
                body.trim()
            );
        }
        Ok(())
    }
}
