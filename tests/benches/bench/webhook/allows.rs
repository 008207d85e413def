//! The sidecar's server with nothing behind it, to compare with.

use anyhow::{Context, Result};
use tempfile::TempDir;
use tests::net::free_port;
use tests::process::{Process, Spec, temp_dir};
use tests::reverser::{Binaries, Reverser};
use tokio::net::TcpStream;
use tokio::time::{Duration, Instant, sleep};

use crate::lab::PATIENCE;

/// A running `allows-only`, which serves with the sidecar's certificate.
pub(super) struct AllowsOnly {
    process: Process,
    address: String,
    _directory: TempDir,
}

// === impl AllowsOnly ===

impl AllowsOnly {
    pub(super) async fn start(reverser: &Reverser) -> Result<Self> {
        let directory = temp_dir("allows-only")?;
        let address = format!("127.0.0.1:{}", free_port());
        let [certificate, key] = reverser.certificate_paths();
        let program = Binaries::get()?.webhook.with_file_name("allows-only");
        let mut process = Spec::new("allows-only", program, directory.path())
            .arg(format!("--bind-address={address}"))
            .arg(format!("--tls-cert-file={}", certificate.display()))
            .arg(format!("--tls-private-key-file={}", key.display()))
            .spawn()
            .context("`make bench` builds it")?;
        let start = Instant::now();
        while TcpStream::connect(&address).await.is_err() && start.elapsed() < PATIENCE {
            process.must_run()?;
            sleep(Duration::from_millis(20)).await;
        }
        Ok(Self {
            process,
            address,
            _directory: directory,
        })
    }

    pub(super) fn url(&self) -> String {
        format!("https://{}/process-validating-webhook", self.address)
    }

    pub(super) fn must_run(&mut self) -> Result<()> {
        self.process.must_run()
    }
}
