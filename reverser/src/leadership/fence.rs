//! Whether this process still leads: asked by Git threads, answered by the elector.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use super::clock::Stamp;
use super::lease::RENEW_DEADLINE;
use crate::git::{Denied, Permit};

/// A Lease that was renewed within this time is held, beyond doubt: nobody takes it before it was unchanged for 15 s. Longer than two
/// renewals are apart, so that nobody waits in the ordinary course of things.
const FRESH: Duration = Duration::from_secs(5);

#[derive(Debug)]
enum Standing {
    /// There are no elections.
    Alone,
    /// Not yet.
    Following,
    /// The Lease was renewed by a request that was sent then.
    Leading { renewed: Stamp },
    /// Lost, or given back. For good.
    Over,
}

/// Asked before every push.
///
/// A process may be paused at any point and for any time, by SIGSTOP, a suspended machine or a hypervisor, and wake in the middle
/// of a push, with another replica leading. So not "do I lead" is answered but "has the Lease been renewed lately", by clocks
/// that go on during pauses; where it has not, it is renewed first: a compare-and-swap that fails if another one has it.
///
/// Between the answer and what the server does with the push any time may pass. That can't be excluded: Git knows no fencing
/// tokens. But the server compares the old tip, so a stale push only wins where nobody else has pushed.
#[derive(Debug)]
pub struct Fence {
    standing: Mutex<Standing>,
    told: Condvar,
    /// Somebody waits for a renewal.
    wanted: Notify,
}

impl Fence {
    /// Of a process without replicas: always open.
    #[must_use]
    pub fn alone() -> Self {
        Self::new(Standing::Alone)
    }

    /// Closed until the elector has the Lease.
    #[must_use]
    pub fn following() -> Self {
        Self::new(Standing::Following)
    }

    fn new(standing: Standing) -> Self {
        Self {
            standing: Mutex::new(standing),
            told: Condvar::new(),
            wanted: Notify::new(),
        }
    }

    /// Whether a push would be allowed right now, without asking anybody.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match &*self.standing.lock() {
            Standing::Alone => true,
            Standing::Leading { renewed } => renewed.age() <= RENEW_DEADLINE,
            Standing::Following | Standing::Over => false,
        }
    }

    /// [`Permit::check`], from async code.
    ///
    /// # Errors
    /// As there.
    pub async fn check_async(self: &Arc<Self>) -> Result<(), Denied> {
        let fence = self.clone();
        let checked = tokio::task::spawn_blocking(move || fence.check()).await;
        // It does not panic, and is not cancelled while the runtime lives.
        checked.unwrap_or(Err(Denied::Unconfirmed))
    }

    /// Taken or renewed by a request that was sent at `stamp`. Nothing happens once it is over.
    pub(super) fn renewed(&self, stamp: Stamp) {
        let mut standing = self.standing.lock();
        if !matches!(*standing, Standing::Over) {
            *standing = Standing::Leading { renewed: stamp };
        }
        self.told.notify_all();
    }

    /// From now on nothing is allowed any more.
    pub(super) fn close(&self) {
        *self.standing.lock() = Standing::Over;
        self.told.notify_all();
    }

    /// Resolves when somebody waits for a renewal.
    pub(super) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    fn check_within(&self, patience: Duration) -> Result<(), Denied> {
        let deadline = Instant::now() + patience;
        let mut standing = self.standing.lock();
        loop {
            match &*standing {
                Standing::Alone => return Ok(()),
                Standing::Leading { renewed } if renewed.age() <= FRESH => return Ok(()),
                Standing::Leading { .. } => {}
                Standing::Following | Standing::Over => return Err(Denied::Lost),
            }
            self.wanted.notify_one();
            if self.told.wait_until(&mut standing, deadline).timed_out() {
                return Err(Denied::Unconfirmed);
            }
        }
    }
}

impl Permit for Fence {
    /// Waits up to 10 s for a renewal where the last one is older than 5 s. The worker asks again after a back-off.
    fn check(&self) -> Result<(), Denied> {
        self.check_within(RENEW_DEADLINE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENT: Duration = Duration::from_millis(20);

    fn old() -> Stamp {
        Stamp::of_age(FRESH + Duration::from_secs(1))
    }

    #[test]
    fn it_is_open_with_a_fresh_renewal_only() {
        assert_eq!(Fence::alone().check(), Ok(()));
        let fence = Fence::following();
        assert_eq!(fence.check(), Err(Denied::Lost));
        fence.renewed(Stamp::now());
        assert_eq!(fence.check(), Ok(()));
        fence.renewed(old());
        assert_eq!(fence.check_within(MOMENT), Err(Denied::Unconfirmed));
        assert!(fence.is_open());
    }

    #[test]
    fn what_is_over_stays_over() {
        let fence = Fence::following();
        fence.renewed(Stamp::now());
        fence.close();
        fence.renewed(Stamp::now());
        assert_eq!(fence.check(), Err(Denied::Lost));
        assert!(!fence.is_open());
    }

    #[tokio::test]
    async fn who_asks_after_a_pause_has_the_lease_renewed_first() {
        for still_ours in [true, false] {
            let fence = Arc::new(Fence::following());
            fence.renewed(old());
            let asking = fence.clone();
            let asked = tokio::task::spawn_blocking(move || asking.check());
            fence.wanted().await;
            assert!(!asked.is_finished());
            if still_ours {
                fence.renewed(Stamp::now());
            } else {
                fence.close();
            }
            let expected = if still_ours {
                Ok(())
            } else {
                Err(Denied::Lost)
            };
            assert_eq!(asked.await.unwrap(), expected);
        }
    }
}
