//! Stands for election, and holds the Lease.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::Client;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::clock::Stamp;
use super::fence::Fence;
use super::lease::{
    Candidate, LEASE_DURATION, LeaseClient, LeaseError, RENEW_DEADLINE, RETRY_PERIOD, holder, term,
};
use super::metrics::LeadershipMetrics;
use super::observed::{Chance, Observed};
use super::role::{Role, Term};

/// For giving the Lease back at the end. Without, the next leader waits until it has run out.
const RELEASE: Duration = Duration::from_secs(2);

/// Why a process can't go on.
#[derive(Debug, thiserror::Error)]
pub enum ElectorError {
    /// It led, and another one does now. What it holds is out of date, and it must begin anew.
    #[error("the Lease is {0}'s by now")]
    Lost(String),
}

/// What became of a look at the Lease.
enum Look {
    Taken { lease: Box<Lease>, stamp: Stamp },
    SomebodyElse(String),
}

/// The election, from the side of one candidate.
///
/// Its semantics are those of client-go's `leaderelection`, but for the end: a leader that can't reach the apiserver does not
/// end after the renew deadline. It pushes nothing any more ([`Fence`]), and goes on trying; once it gets through, either nobody has
/// taken the Lease and it leads on, with all that it knows of authors, or somebody has, and it ends. An apiserver that is
/// away for 10 s would otherwise end every leader and lose what waits for Git.
pub struct Elector {
    client: LeaseClient,
    fence: Arc<Fence>,
    role: watch::Sender<Role>,
    metrics: Arc<LeadershipMetrics>,
    observed: Observed,
}

impl Elector {
    /// Not a leader yet.
    #[must_use]
    pub fn new(
        client: Client,
        candidate: &Candidate,
        fence: Arc<Fence>,
        role: watch::Sender<Role>,
        metrics: Arc<LeadershipMetrics>,
    ) -> Self {
        Self {
            client: LeaseClient::new(client, candidate),
            fence,
            role,
            metrics,
            observed: Observed::default(),
        }
    }

    /// Waits for the Lease, holds it, and gives it back once `resign` is cancelled.
    ///
    /// # Errors
    /// When it was lost. The process must end: workers, queues and clones are those of a leader.
    pub async fn run(mut self, resign: CancellationToken) -> Result<(), ElectorError> {
        let Some((lease, stamp)) = self.stand(&resign).await else {
            self.fence.close();
            return Ok(());
        };
        self.fence.renewed(stamp);
        self.role.send_replace(Role::Leading(term(&lease)));
        self.lead(lease, stamp, resign).await
    }

    /// `None` once it resigns. Never in the middle of a request: that may have taken the Lease.
    async fn stand(&mut self, resign: &CancellationToken) -> Option<(Box<Lease>, Stamp)> {
        let me = self.client.me.clone();
        info!(identity = %me, "standing for election");
        let mut known = None;
        loop {
            match self.look().await {
                Ok(Look::Taken { lease, stamp }) => {
                    info!(identity = %me, term = %term(&lease), "leading");
                    return Some((lease, stamp));
                }
                Ok(Look::SomebodyElse(holder)) => {
                    if known.as_ref() != Some(&holder) {
                        info!(leader = holder, "following");
                        known = Some(holder);
                    }
                }
                // Others were faster: the next look tells who.
                Err(LeaseError::Conflict) => {}
                Err(error) => {
                    self.metrics.lease_errors_total.inc();
                    warn!(%error, "cannot stand for election");
                }
            }
            // Candidates that were started together don't ask together for long.
            let pause = RETRY_PERIOD.mul_f64(rand::random_range(0.8..1.2));
            resign.run_until_cancelled(sleep(pause)).await?;
        }
    }

    async fn look(&mut self) -> Result<Look, LeaseError> {
        // Before the request: what others have seen unchanged since counts from when it was stored.
        let stamp = Stamp::now();
        let Some(read) = self.client.read().await? else {
            let lease = Box::new(self.client.create().await?);
            return Ok(Look::Taken { lease, stamp });
        };
        let me = &self.client.me;
        let chance = self.observed.see(&read, me, LEASE_DURATION, Instant::now());
        let stamp = Stamp::now();
        let lease = match chance {
            Chance::Taken => return Ok(Look::SomebodyElse(holder(&read).to_owned())),
            // An answer to taking it that never came.
            Chance::Held => self.client.renew(&read).await?,
            Chance::Inherited => self.client.take(&read, true).await?,
            Chance::Free => {
                let lease = self.client.take(&read, false).await?;
                self.metrics.failovers_total.inc();
                lease
            }
        };
        let lease = Box::new(lease);
        Ok(Look::Taken { lease, stamp })
    }

    async fn lead(
        mut self,
        mut lease: Box<Lease>,
        mut renewed: Stamp,
        resign: CancellationToken,
    ) -> Result<(), ElectorError> {
        let term = term(&lease);
        let mut failing = false;
        loop {
            tokio::select! {
                () = resign.cancelled() => {
                    self.release(&lease).await;
                    return Ok(());
                }
                () = sleep(RETRY_PERIOD) => {}
                // At once, but not over and over while the apiserver is away.
                () = self.fence.wanted(), if !failing => {}
            }
            match self.renew(&mut lease).await {
                Ok(Some(stamp)) => {
                    renewed = stamp;
                    self.fence.renewed(stamp);
                    if failing {
                        info!(%term, "the Lease is renewed again");
                    }
                    failing = false;
                }
                Ok(None) => {
                    self.fence.close();
                    let leader = holder(&lease);
                    warn!(%term, leader, "the Lease is lost; ending");
                    return Err(ElectorError::Lost(leader.to_owned()));
                }
                Err(error) => {
                    self.metrics.lease_errors_total.inc();
                    if !failing {
                        warn!(%error, "cannot renew the Lease; trying again");
                    }
                    failing = true;
                }
            }
            self.tell(&term, renewed);
        }
    }

    fn tell(&self, term: &Term, renewed: Stamp) {
        let role = if renewed.age() > RENEW_DEADLINE {
            Role::InDoubt(term.clone())
        } else {
            Role::Leading(term.clone())
        };
        self.role.send_if_modified(|known| {
            let changed = *known != role;
            if changed && matches!(role, Role::InDoubt(_)) {
                warn!("the Lease was not renewed for {RENEW_DEADLINE:?}; nothing is pushed until it is");
            }
            *known = role;
            changed
        });
    }

    /// When the request was sent that renewed it. `None` where it is somebody else's.
    async fn renew(&mut self, lease: &mut Lease) -> Result<Option<Stamp>, LeaseError> {
        let stamp = Stamp::now();
        match self.client.renew(lease).await {
            Ok(written) => {
                *lease = written;
                return Ok(Some(stamp));
            }
            Err(LeaseError::Conflict) => {}
            Err(error) => return Err(error),
        }
        // An answer that never came, an annotation by somebody, or the end.
        let Some(read) = self.client.read().await? else {
            let stamp = Stamp::now();
            let made = self.client.create().await?;
            // Nobody else has led: whoever had would have made it.
            *lease = made;
            return Ok(Some(stamp));
        };
        let mine = self.client.is_mine(&read);
        *lease = read;
        if !mine {
            return Ok(None);
        }
        let stamp = Stamp::now();
        *lease = self.client.renew(lease).await?;
        Ok(Some(stamp))
    }

    async fn release(&self, lease: &Lease) {
        // First: nobody may push once another one may lead.
        self.fence.close();
        match timeout(RELEASE, self.client.release(lease)).await {
            Ok(Ok(_)) => info!("the Lease is given back"),
            Ok(Err(error)) => warn!(%error, "the Lease is not given back; it runs out"),
            Err(_) => warn!("the Lease is not given back within {RELEASE:?}; it runs out"),
        }
    }
}
