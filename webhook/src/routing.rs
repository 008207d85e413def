//! Whether the apiserver should call this pod's sidecar, or another replica's.
//!
//! The webhook's Service leads to the leader's pod, by a label. But an apiserver keeps its connections, and an established one goes
//! on to where it was opened, wherever the Service leads by now. So the sidecar closes them; requests on them are answered
//! first, and the next one comes over a new connection.

use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep_until};

/// A leader that was away for this long may have a successor before it is back; 15 s is the least that takes.
const AWAY: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Here. There are no replicas, as far as we were told.
    #[default]
    Alone,
    /// Here: our reverser leads.
    Here,
    /// Our reverser led, and is gone since then.
    Left(Instant),
    /// Our reverser follows.
    Elsewhere,
}

/// What the reverser said last. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Routing(watch::Sender<State>);

impl Routing {
    /// The reverser is one of several, and leads or does not.
    pub fn told(&self, receives: bool) {
        let state = if receives {
            State::Here
        } else {
            State::Elsewhere
        };
        self.0.send_replace(state);
    }

    /// The stream to the reverser ended.
    pub fn left(&self) {
        self.0.send_if_modified(|state| {
            let led = *state == State::Here;
            if led {
                *state = State::Left(Instant::now());
            }
            led
        });
    }

    /// Resolves once admissions belong to another pod.
    pub async fn elsewhere(&self) {
        let mut states = self.0.subscribe();
        loop {
            let state = *states.borrow_and_update();
            let until = match state {
                State::Alone | State::Here => None,
                State::Left(since) => Some(since + AWAY),
                State::Elsewhere => return,
            };
            let changed = async {
                if states.changed().await.is_err() {
                    // The process ends.
                    std::future::pending::<()>().await;
                }
            };
            match until {
                None => changed.await,
                Some(until) => tokio::select! {
                    () = changed => {}
                    () = sleep_until(until) => return,
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    async fn is_elsewhere(routing: &Routing, within: Duration) -> bool {
        timeout(within, routing.elsewhere()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn without_replicas_nothing_is_elsewhere() {
        let routing = Routing::default();
        assert!(!is_elsewhere(&routing, LONG).await);
        routing.left();
        assert!(!is_elsewhere(&routing, LONG).await);
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_elsewhere_at_once_when_told_and_after_a_while_without_a_reverser() {
        let routing = Routing::default();
        routing.told(false);
        assert!(is_elsewhere(&routing, Duration::ZERO).await);
        // A follower that is gone is no reason to come back.
        routing.left();
        assert!(is_elsewhere(&routing, Duration::ZERO).await);
        routing.told(true);
        assert!(!is_elsewhere(&routing, LONG).await);
        routing.left();
        let left = Instant::now();
        assert!(is_elsewhere(&routing, LONG).await);
        assert_eq!(left.elapsed(), AWAY);
        // Streams that can't be opened end too.
        routing.left();
        assert!(is_elsewhere(&routing, Duration::ZERO).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_is_back_in_time_keeps_its_connections() {
        let routing = Routing::default();
        routing.told(true);
        routing.left();
        let waiting = tokio::spawn({
            let routing = routing.clone();
            async move { routing.elsewhere().await }
        });
        tokio::time::sleep(AWAY - Duration::from_millis(1)).await;
        routing.told(true);
        tokio::time::sleep(LONG).await;
        assert!(!waiting.is_finished());
    }
}
