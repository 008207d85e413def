//! What was observed lately, and how much of it the reverser has.
//!
//! An admission puts its observation in and, while the link is healthy, waits for the
//! acknowledgement, so that the reverser knows the author before the write can reach etcd. The
//! link takes observations out in order and puts acknowledgements in. Sequences make a reconnect
//! safe: each observation keeps its number over any number of streams, and a reverser answers
//! Hello with what it has.
//!
//! What is acknowledged stays for as long as the reverser's store would keep it. When the reverser
//! dies, its store dies, and the next one is told all of it again: who made a change that was not
//! in Git yet, and which others asked for the same.

mod link;
mod state;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use proto::v1::Observation;
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

pub use link::Link;
pub(crate) use state::Dropped;

use crate::metrics::Metrics;
use state::State;

/// The bounds of the outbox.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Observations held. The reverser's store has room for 10,000 keys, so more could not be
    /// kept there either. At the bound the oldest goes; one that the reverser never had is counted.
    pub observations: usize,
    /// Sum of their encoded sizes. An observation has some 500 bytes, so this bound is met only
    /// by usernames of absurd length; it is what keeps memory bounded all the same.
    pub bytes: usize,
    /// After this long an observation goes: the reverser's store keeps none that is older. One that
    /// the reverser never had is counted.
    pub age: Duration,
    /// How long an admission waits for its acknowledgement.
    pub ack_deadline: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            observations: 10_000,
            bytes: 8 << 20,
            age: Duration::from_secs(60),
            ack_deadline: Duration::from_millis(50),
        }
    }
}

/// What an admission knows about its observation when it answers. The answer is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The reverser has it.
    Acknowledged,
    /// The deadline passed. It is on its way, or will be replayed.
    TimedOut,
    /// Nobody waited, since the reverser is away or behind; or the link went down meanwhile.
    Unconfirmed,
}

/// What an observation is waited for by, once it is queued.
#[derive(Debug)]
pub struct Receipt {
    /// Only where waiting makes sense.
    acknowledged: Option<oneshot::Receiver<()>>,
}

/// A bounded queue of observations with sequence numbers. All memory is in here; there is no
/// channel between the admissions and the stream.
#[derive(Debug)]
pub struct Outbox {
    session: String,
    limits: Limits,
    state: Mutex<State>,
    /// One permit says: look again, there may be something to transmit.
    transmit: Notify,
    metrics: Arc<Metrics>,
}

impl Outbox {
    /// An empty outbox of a new session, with its link down.
    #[must_use]
    pub fn new(limits: Limits, metrics: Arc<Metrics>) -> Self {
        Self {
            session: format!("{:032x}", rand::random::<u128>()),
            limits,
            state: Mutex::new(State::default()),
            transmit: Notify::new(),
            metrics,
        }
    }

    /// Numbers the observation and queues it; from here on the reverser will hear of it, whatever becomes of whoever asked.
    #[must_use]
    pub fn push(&self, observation: Observation) -> Receipt {
        let acknowledged = {
            let mut state = self.state.lock();
            let (acknowledged, dropped) = state.push(observation, &self.limits);
            self.metrics.dropped(dropped);
            acknowledged
        };
        self.transmit.notify_one();
        Receipt { acknowledged }
    }

    /// Waits for the acknowledgement of what was queued if the link was healthy then: for
    /// [`Limits::ack_deadline`] at most.
    ///
    /// A deadline that passes makes the link unhealthy until everything queued by then is
    /// acknowledged, so that a reverser that hangs costs the deadline once, not once for each
    /// admission. Cancelling leaves the observation queued.
    pub async fn delivered(&self, receipt: Receipt) -> Delivery {
        let Some(acknowledged) = receipt.acknowledged else {
            return Delivery::Unconfirmed;
        };
        match timeout(self.limits.ack_deadline, acknowledged).await {
            Ok(Ok(())) => Delivery::Acknowledged,
            Ok(Err(_)) => Delivery::Unconfirmed,
            Err(_) => {
                self.state.lock().distrust();
                self.metrics.ack_timeouts.inc();
                Delivery::TimedOut
            }
        }
    }

    /// Begins a stream. An earlier link ends: its transmissions stop, its acknowledgements are
    /// ignored.
    #[must_use]
    pub fn link(self: &Arc<Self>) -> Link {
        Link::open(Arc::clone(self))
    }

    /// Observations that the reverser does not have, after those that are too old have gone.
    pub fn depth(&self) -> usize {
        let mut state = self.state.lock();
        self.metrics.dropped(state.expire(&self.limits));
        state.depth()
    }
}

#[cfg(test)]
mod tests;
