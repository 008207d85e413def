//! Waiting until both processes are up and know of each other.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use parking_lot::Mutex;

use super::{Metrics, Reverser};
use crate::net::http_get;
use crate::process::Process;

const READY_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

// === impl Reverser ===

impl Reverser {
    /// Waits until each running process says that it is ready and, where both run, until the webhook's stream to the reverser
    /// is open: what it sees before that is only told later.
    ///
    /// # Errors
    /// If one ends, or any of it takes more than a minute.
    pub async fn wait_ready(&self) -> Result<()> {
        let addresses = &self.addresses;
        self.until("the reverser is not ready", &self.reverser, || {
            ready(&addresses.reverser_health)
        })
        .await?;
        self.until("the webhook is not ready", &self.webhook, || {
            ready(&addresses.webhook_health)
        })
        .await?;
        let both = self.reverser.lock().is_some() && self.webhook.lock().is_some();
        if both {
            self.until("the webhook is not connected", &self.webhook, || {
                connected(&addresses.webhook_metrics)
            })
            .await?;
        }
        Ok(())
    }

    /// Tries until it is so, unless the process is not meant to run.
    async fn until<F: Future<Output = Result<()>>>(
        &self,
        what: &str,
        slot: &Mutex<Option<Process>>,
        attempt: impl Fn() -> F,
    ) -> Result<()> {
        let start = Instant::now();
        while slot.lock().is_some() {
            self.must_run()?;
            let Err(error) = attempt().await else { break };
            if start.elapsed() > READY_WITHIN {
                let log = slot
                    .lock()
                    .as_ref()
                    .map(Process::log_tail)
                    .unwrap_or_default();
                bail!("{what} after {READY_WITHIN:?} ({error:#}); its log ends with:\n{log}");
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }
}

async fn ready(address: &str) -> Result<()> {
    match http_get(address, "/readyz").await? {
        (200, _) => Ok(()),
        (status, body) => bail!("/readyz answers {status}: {body}"),
    }
}

async fn connected(address: &str) -> Result<()> {
    if Metrics::scrape(address)
        .await?
        .get("gitopsreverser_webhook_connected")
        == Some(1.0)
    {
        return Ok(());
    }
    bail!("gitopsreverser_webhook_connected is not 1")
}
