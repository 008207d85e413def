//! One stream's hold on the outbox.

use std::sync::Arc;

use futures::Stream;
use futures::stream::unfold;
use proto::v1::report_request::Message;
use proto::v1::{Hello, InterestApplied, MarkReached, ReplayFinished, ReportRequest};

use super::Outbox;

/// The current stream. Dropping it takes the link down: every waiting admission answers at once.
#[derive(Debug)]
pub struct Link {
    outbox: Arc<Outbox>,
    epoch: u64,
    /// Everything up to here was observed before this stream began.
    replay_until: u64,
}

/// Where a stream's transmission is.
enum Phase {
    Hello,
    Greeting,
    Replay,
    Live,
}

impl Link {
    pub(super) fn open(outbox: Arc<Outbox>) -> Self {
        let (epoch, replay_until) = {
            let mut state = outbox.state.lock();
            outbox.metrics.dropped(state.expire(&outbox.limits));
            (state.open(), state.last())
        };
        Self {
            outbox,
            epoch,
            replay_until,
        }
    }

    /// Everything to say on this stream, in order: Hello, and once that is answered the replay,
    /// ReplayFinished, then observations as they are made, with InterestApplied and MarkReached in
    /// between. It is
    /// pulled from the outbox as the transport has room, so a slow reverser fills nothing but the
    /// outbox. Ends with the link.
    pub fn transmissions(&self) -> impl Stream<Item = ReportRequest> + Send + use<> {
        let (outbox, epoch, until) = (Arc::clone(&self.outbox), self.epoch, self.replay_until);
        unfold((outbox, Phase::Hello), move |(outbox, phase)| async move {
            let (message, phase) = outbox.next(epoch, until, phase).await?;
            let message = Some(message);
            Some((ReportRequest { message }, (outbox, phase)))
        })
    }

    /// All up to this sequence are stored.
    ///
    /// The first word of a stream answers its Hello. What the reverser has not is replayed then, and
    /// from now on, or once the replay is acknowledged if there is one, admissions wait for their
    /// acknowledgement.
    pub fn acknowledge(&self, sequence: u64) {
        let mut state = self.outbox.state.lock();
        if state.greet(self.epoch, sequence, self.replay_until) {
            self.outbox.metrics.connected.set(1);
            self.outbox.transmit.notify_one();
        } else {
            let count = state.acknowledge(self.epoch, sequence);
            self.outbox.metrics.observations_acked.inc_by(count);
        }
    }

    /// Tells the reverser that a generation of its interest set is applied. If several are
    /// applied before the transport has room, it is told of the last.
    pub fn applied(&self, generation: u64) {
        self.outbox.state.lock().apply(self.epoch, generation);
        self.outbox.transmit.notify_one();
    }

    /// The reverser wants to know when all that was observed until now has been sent. It is told
    /// after the replay, and after the last observation that was here when this was called.
    pub fn mark(&self, number: u64) {
        self.outbox.state.lock().mark(self.epoch, number);
        self.outbox.transmit.notify_one();
    }

    /// Whether everything is acknowledged.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.outbox.depth() == 0
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if self.outbox.state.lock().down(self.epoch) {
            self.outbox.metrics.connected.set(0);
        }
        self.outbox.transmit.notify_one();
    }
}

impl Outbox {
    async fn next(&self, epoch: u64, until: u64, phase: Phase) -> Option<(Message, Phase)> {
        let mut phase = phase;
        loop {
            {
                let mut state = self.state.lock();
                if !state.is_current(epoch) {
                    // The permit that woke us was meant for the current stream.
                    self.transmit.notify_one();
                    return None;
                }
                if matches!(phase, Phase::Greeting) && state.is_greeted() {
                    phase = Phase::Replay;
                }
                match phase {
                    Phase::Hello => {
                        let session = self.session.clone();
                        return Some((Message::Hello(Hello { session }), Phase::Greeting));
                    }
                    Phase::Greeting => {}
                    Phase::Replay => {
                        let Some(observation) = state.transmit(until) else {
                            let finished = Message::ReplayFinished(ReplayFinished {});
                            return Some((finished, Phase::Live));
                        };
                        self.metrics.observations_sent.inc();
                        return Some((Message::Observation(observation), Phase::Replay));
                    }
                    Phase::Live => {
                        if let Some(generation) = state.take_applied() {
                            let applied = Message::InterestApplied(InterestApplied { generation });
                            return Some((applied, Phase::Live));
                        }
                        if let Some(number) = state.take_reached() {
                            let reached = Message::MarkReached(MarkReached { number });
                            return Some((reached, Phase::Live));
                        }
                        if let Some(observation) = state.transmit(u64::MAX) {
                            self.metrics.observations_sent.inc();
                            return Some((Message::Observation(observation), Phase::Live));
                        }
                    }
                }
            }
            self.transmit.notified().await;
        }
    }
}
