//! Our own two processes, as one pod would run them, on a control plane of the test bed.

mod binaries;
mod install;
mod metrics;
mod processes;
mod ready;
mod recorder;
mod service;
mod tap;

use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use parking_lot::Mutex;
use tokio::sync::OnceCell;

pub use binaries::Binaries;
use install::Registration;
pub use install::apply_crds;
pub(crate) use install::apply_crds_of;
pub use metrics::Metrics;
use processes::Addresses;
pub use processes::Options;
use recorder::Recorder;
pub use service::Service;
pub use tap::Relay;
use tap::Tap;

use crate::certs::Authority;
use crate::control_plane::{Access, ControlPlane, write_private};
use crate::net::free_port;
use crate::process::{Process, Signal, Usage, temp_dir};

/// A running reverser and its webhook. Ended when dropped, and with the process at the latest.
///
/// One control plane carries one reverser: two would answer for the same custom resources and push against each other. Tests that
/// share the plane share the reverser too ([`Reverser::shared`]).
pub struct Reverser {
    reverser: Mutex<Option<Process>>,
    webhook: Mutex<Option<Process>>,
    binaries: Binaries,
    options: Options,
    addresses: Addresses,
    registration: Registration,
    tap: Option<Tap>,
    recorder: Option<Recorder>,
    access: Access,
    kubeconfig: PathBuf,
    directory: tempfile::TempDir,
}

// === impl Reverser ===

impl Reverser {
    /// The reverser that all tests of this process share, on the shared control plane.
    ///
    /// # Panics
    /// If it can't be started.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Reverser> = OnceCell::const_new();
        SHARED
            .get_or_init(|| async {
                match Self::start(ControlPlane::shared().await, Options::default()).await {
                    Ok(reverser) => reverser,
                    Err(error) => panic!("the shared reverser can't be started: {error:#}"),
                }
            })
            .await
    }

    /// Builds both programs, applies the CRDs, starts both processes, waits until both are ready, and registers the webhook.
    ///
    /// # Errors
    /// If any of it fails, with the end of the log of who ended early.
    pub async fn start(plane: &ControlPlane, options: Options) -> Result<Self> {
        let binaries = tokio::task::spawn_blocking(Binaries::get)
            .await
            .context("build")??;
        apply_crds(&plane.client()).await?;
        let directory = temp_dir("reverser")?;
        let addresses = Addresses::choose();
        let authority = Authority::new("gitops-reverser-test-webhook")?;
        let serving = authority.server("gitops-reverser-webhook", &["127.0.0.1", "localhost"])?;
        processes::write_certificate(directory.path(), &serving)?;
        let token = options
            .path_token
            .as_ref()
            .map(|token| format!("/{token}"))
            .unwrap_or_default();
        if let Some(token) = &options.path_token {
            write_private(&directory.path().join("path-token"), token)?;
        }
        let tap = options.tapped.then(|| {
            let [near, far] =
                ["tap.sock", "attribution.sock"].map(|name| directory.path().join(name));
            Tap::start(near, far)
        });
        let recorder = options.recorded.then(|| {
            let [near, far] =
                ["recorder.sock", "attribution.sock"].map(|name| directory.path().join(name));
            Recorder::start(near, far)
        });
        let closed_port = free_port();
        let registration = Registration {
            name: format!("gitops-reverser-{closed_port}"),
            probe: format!("gitops-reverser-{closed_port}"),
            url: format!(
                "https://{}/process-validating-webhook{token}",
                addresses.webhook
            ),
            ca_pem: authority.pem(),
            closed_port,
        };
        let started = Self {
            reverser: Mutex::new(None),
            webhook: Mutex::new(None),
            kubeconfig: options
                .kubeconfig
                .clone()
                .unwrap_or_else(|| plane.kubeconfig_path()),
            binaries,
            options,
            addresses,
            registration,
            tap: tap.transpose()?,
            recorder: recorder.transpose()?,
            access: plane.access(),
            directory,
        };
        started.spawn_reverser()?;
        started.spawn_webhook()?;
        started.wait_ready().await?;
        if started.options.register_webhook {
            started.register_webhook().await?;
        }
        Ok(started)
    }

    /// Unregisters the webhook and ends both processes as a kubelet does: SIGTERM, and SIGKILL for who is still there after 30 s.
    ///
    /// # Errors
    /// If the webhook can't be unregistered, or a process had to be killed or did not end with 0.
    pub async fn stop(self) -> Result<()> {
        self.unregister_webhook().await?;
        for slot in [&self.webhook, &self.reverser] {
            let Some(mut process) = slot.lock().take() else {
                continue;
            };
            match process.terminate(Duration::from_secs(30)).await {
                Some(status) if status.success() => {}
                Some(status) => bail!(
                    "{} ended with {status}:\n{}",
                    process.name(),
                    process.log_tail()
                ),
                None => bail!(
                    "{} did not end within 30 s of SIGTERM:\n{}",
                    process.name(),
                    process.log_tail()
                ),
            }
        }
        Ok(())
    }

    /// Ends the reverser at once (SIGKILL). Its work directory stays.
    pub fn kill9_reverser(&self) {
        self.reverser.lock().take();
    }

    /// Ends the webhook at once (SIGKILL).
    pub fn kill9_webhook(&self) {
        self.webhook.lock().take();
    }

    /// Kills the reverser, if it runs, starts it on the same ports and work directory, and waits until both are ready.
    ///
    /// # Errors
    /// If it does not come up.
    pub async fn restart_reverser(&self) -> Result<()> {
        self.kill9_reverser();
        self.spawn_reverser()?;
        self.wait_ready().await
    }

    /// Kills the webhook, if it runs, starts it on the same ports, and waits until both are ready.
    ///
    /// # Errors
    /// If it does not come up.
    pub async fn restart_webhook(&self) -> Result<()> {
        self.kill9_webhook();
        self.spawn_webhook()?;
        self.wait_ready().await
    }

    /// Sends a signal to the reverser: SIGSTOP makes it hang, SIGCONT lets it go on.
    pub fn signal_reverser(&self, signal: Signal) {
        if let Some(process) = self.reverser.lock().as_mut() {
            process.signal(signal);
        }
    }

    /// Sends a signal to the webhook.
    pub fn signal_webhook(&self, signal: Signal) {
        if let Some(process) = self.webhook.lock().as_mut() {
            process.signal(signal);
        }
    }

    /// Cuts the stream between the two processes, slows it down, or lets it pass again.
    ///
    /// # Panics
    /// Without [`Options::tapped`].
    pub fn relay(&self, relay: Relay) {
        match &self.tap {
            Some(tap) => tap.set(relay),
            None => panic!("started without a tap"),
        }
    }

    /// How the reverser ended, or `None` while it runs or after it was killed from here.
    pub fn reverser_ended(&self) -> Option<ExitStatus> {
        self.reverser.lock().as_mut().and_then(Process::try_wait)
    }

    /// Asks the reverser to end (SIGTERM), and waits for that. Returns how it ended; `None` if it had to be killed.
    ///
    /// # Panics
    /// If it does not run.
    pub async fn terminate_reverser(&self, grace: Duration) -> Option<ExitStatus> {
        let process = self.reverser.lock().take();
        match process {
            Some(mut process) => process.terminate(grace).await,
            None => panic!("there is no reverser to be ended"),
        }
    }

    /// Asks the webhook to end, likewise.
    ///
    /// # Panics
    /// If it does not run.
    pub async fn terminate_webhook(&self, grace: Duration) -> Option<ExitStatus> {
        let process = self.webhook.lock().take();
        match process {
            Some(mut process) => process.terminate(grace).await,
            None => panic!("there is no webhook to be ended"),
        }
    }

    /// Where the webhook listens: `127.0.0.1:{port}`.
    #[must_use]
    pub fn webhook_address(&self) -> &str {
        &self.addresses.webhook
    }

    /// All that the webhook has told the reverser so far.
    ///
    /// # Panics
    /// Without [`Options::recorded`].
    #[must_use]
    pub fn observations(&self) -> Vec<proto::v1::Observation> {
        match &self.recorder {
            Some(recorder) => recorder.observations(),
            None => panic!("started without a recorder"),
        }
    }

    /// Tells the apiserver of the webhook, and waits until it calls it.
    ///
    /// # Errors
    /// If the apiserver refuses.
    pub async fn register_webhook(&self) -> Result<()> {
        self.registration.create(&self.access.client()).await
    }

    /// Tells the apiserver to trust these authorities (PEM) for the webhook instead, and waits until it does. From then on it
    /// opens new connections to it.
    ///
    /// # Errors
    /// If the apiserver refuses.
    pub async fn register_webhook_trusting(&self, ca_pem: &str) -> Result<()> {
        self.register_webhook_as(&self.registration.url, ca_pem)
            .await
    }

    /// Tells the apiserver to post reviews to this URL instead, whose certificate is signed by the same authority, and waits
    /// until it does.
    ///
    /// # Errors
    /// If the apiserver refuses.
    pub async fn register_webhook_at(&self, url: &str) -> Result<()> {
        self.register_webhook_as(url, &self.registration.ca_pem)
            .await
    }

    /// Tells the apiserver to post reviews to this URL, and to trust these authorities (PEM), and waits until it does both.
    ///
    /// # Errors
    /// If the apiserver refuses.
    pub async fn register_webhook_as(&self, url: &str, ca_pem: &str) -> Result<()> {
        let known = &self.registration;
        let registration = Registration {
            name: known.name.clone(),
            // Another, as the one before is refused already.
            probe: format!("gitops-reverser-{}", free_port()),
            url: url.to_owned(),
            ca_pem: ca_pem.to_owned(),
            closed_port: known.closed_port,
        };
        registration.create(&self.access.client()).await
    }

    /// Takes the webhook from the apiserver: writes from now on are not seen. Waits for nothing.
    ///
    /// # Errors
    /// If the apiserver refuses.
    pub async fn unregister_webhook(&self) -> Result<()> {
        self.registration.delete(&self.access.client()).await
    }

    /// Fails unless every process that was started and not killed still runs.
    ///
    /// # Errors
    /// With the end of the log of who has ended.
    pub fn must_run(&self) -> Result<()> {
        for slot in [&self.reverser, &self.webhook] {
            if let Some(process) = slot.lock().as_mut() {
                process.must_run()?;
            }
        }
        Ok(())
    }

    /// The reverser's metrics now.
    ///
    /// # Panics
    /// If it does not answer.
    pub async fn reverser_metrics(&self) -> Metrics {
        scrape(&self.addresses.reverser_metrics).await
    }

    /// The webhook's metrics now.
    ///
    /// # Panics
    /// If it does not answer.
    pub async fn webhook_metrics(&self) -> Metrics {
        scrape(&self.addresses.webhook_metrics).await
    }

    /// Both metrics addresses, the reverser's first, for `promtool` and others that scrape by themselves.
    #[must_use]
    pub fn metrics_addresses(&self) -> [&str; 2] {
        [
            &self.addresses.reverser_metrics,
            &self.addresses.webhook_metrics,
        ]
    }

    /// Both health addresses, the reverser's first: `/healthz` and `/readyz`.
    #[must_use]
    pub fn health_addresses(&self) -> [&str; 2] {
        [
            &self.addresses.reverser_health,
            &self.addresses.webhook_health,
        ]
    }

    /// Where `Introspection`, health and reflection are served: `127.0.0.1:{port}`.
    #[must_use]
    pub fn introspection_address(&self) -> &str {
        &self.addresses.introspection
    }

    /// The unix socket on which `Attribution.Report` is served.
    #[must_use]
    pub fn attribution_socket(&self) -> PathBuf {
        self.directory.path().join("attribution.sock")
    }

    /// Where the apiserver posts reviews, path token included.
    #[must_use]
    pub fn webhook_url(&self) -> &str {
        &self.registration.url
    }

    /// Who signed the webhook's certificate, PEM.
    #[must_use]
    pub fn webhook_ca_pem(&self) -> &str {
        &self.registration.ca_pem
    }

    /// The webhook's certificate and key on disk, to be replaced under it.
    #[must_use]
    pub fn certificate_paths(&self) -> [PathBuf; 2] {
        ["tls.crt", "tls.key"].map(|name| self.directory.path().join(name))
    }

    /// The reverser's `--work-dir`.
    #[must_use]
    pub fn work_dir(&self) -> PathBuf {
        self.directory.path().join("work")
    }

    /// What both have logged so far, over all restarts: the reverser, then the webhook.
    #[must_use]
    pub fn logs(&self) -> [String; 2] {
        ["gitops-reverser", "gitops-reverser-webhook"].map(|name| {
            std::fs::read(self.directory.path().join(format!("{name}.log"))).map_or_else(
                |_| String::new(),
                |bytes| String::from_utf8_lossy(&bytes).into_owned(),
            )
        })
    }

    /// What the reverser has taken so far, while it runs, where the system tells (Linux).
    #[must_use]
    pub fn reverser_usage(&self) -> Option<Usage> {
        self.reverser.lock().as_mut().and_then(Process::usage)
    }

    /// What the webhook has taken so far, while it runs, where the system tells (Linux).
    #[must_use]
    pub fn webhook_usage(&self) -> Option<Usage> {
        self.webhook.lock().as_mut().and_then(Process::usage)
    }

    /// Process ids, the reverser's first; `None` for one that was killed.
    #[must_use]
    pub fn pids(&self) -> [Option<u32>; 2] {
        [&self.reverser, &self.webhook].map(|slot| slot.lock().as_ref().map(Process::pid))
    }

    /// Lets the peak of both processes' memory begin anew, where the system can do that (Linux).
    pub fn reset_peaks(&self) {
        for slot in [&self.reverser, &self.webhook] {
            slot.lock().as_mut().map(Process::reset_peak);
        }
    }
}

impl Drop for Reverser {
    fn drop(&mut self) {
        // The logs go with the directory; a failed test shows what they ended with.
        if std::thread::panicking() {
            for slot in [&self.reverser, &self.webhook] {
                if let Some(process) = slot.lock().as_ref() {
                    eprintln!(
                        "--- the log of {} ends with:\n{}",
                        process.name(),
                        process.log_tail()
                    );
                }
            }
        }
    }
}

async fn scrape(address: &str) -> Metrics {
    Metrics::scrape(address)
        .await
        .unwrap_or_else(|error| panic!("{error:#}"))
}
