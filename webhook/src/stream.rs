//! The stream to the reverser: connects, reports, and connects again.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use proto::v1::attribution_client::AttributionClient;
use proto::v1::report_response::Message;
use proto::v1::{InterestSet, ReportResponse};
use rand::Rng;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};

use crate::endpoint::ReverserEndpoint;
use crate::interest::CurrentInterest;
use crate::outbox::{Link, Outbox};
use crate::routing::Routing;

/// First pause after a stream ended; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Longest pause: a reverser that comes back is found within this.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// For connecting, and for the reverser's first answer. Both are local.
const OPEN: Duration = Duration::from_secs(2);
/// A reverser that answers no ping for this long is taken for dead.
const PING_EVERY: Duration = Duration::from_secs(5);
const PING_DEADLINE: Duration = Duration::from_secs(5);
/// At the end of the process, time for the last acknowledgements.
const DRAIN: Duration = Duration::from_secs(1);
/// And for the last marks: the reverser, which is told to end at the same moment, asks once more whether it has heard everything.
const MARKS: Duration = Duration::from_millis(500);

/// How a stream ended.
#[derive(Debug, thiserror::Error)]
enum StreamError {
    #[error("connecting to the reverser")]
    Connect(#[source] tonic::transport::Error),
    #[error("opening the stream: {}", .0.message())]
    Open(Status),
    #[error("the reverser did not answer within {OPEN:?}")]
    Unanswered,
    #[error("the stream broke: {}", .0.message())]
    Broken(Status),
    #[error("the reverser closed the stream")]
    Closed,
}

/// Keeps the one stream of this process.
#[derive(Debug)]
pub struct Reporter {
    endpoint: ReverserEndpoint,
    outbox: Arc<Outbox>,
    interest: Arc<CurrentInterest>,
    routing: Routing,
}

/// Whether the reverser said anything on a stream.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Heard {
    Nothing,
    Something,
}

impl Reporter {
    /// Reports what is in the outbox, and applies the interest sets that come back.
    #[must_use]
    pub fn new(
        endpoint: ReverserEndpoint,
        outbox: Arc<Outbox>,
        interest: Arc<CurrentInterest>,
        routing: Routing,
    ) -> Self {
        Self {
            endpoint,
            outbox,
            interest,
            routing,
        }
    }

    /// Runs until cancelled, then for half a second more, and for up to 1 s if acknowledgements are
    /// still due, unless the reverser ends the stream. A reverser that is away is waited for without end: the answers don't.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut pause = FIRST_PAUSE;
        let mut quiet = false;
        while !shutdown.is_cancelled() {
            let (heard, end) = self.stream(&shutdown).await;
            let Err(error) = end else { return };
            self.routing.left();
            if heard == Heard::Something {
                pause = FIRST_PAUSE;
                quiet = false;
            }
            let reason = chain(&error);
            if quiet {
                tracing::debug!(endpoint = %self.endpoint, reason, "still no stream to the reverser");
            } else {
                tracing::warn!(endpoint = %self.endpoint, reason, "no stream to the reverser");
                quiet = true;
            }
            let jittered = pause.mul_f64(rand::rng().random_range(0.5..=1.0));
            tokio::select! {
                () = sleep(jittered) => {}
                () = shutdown.cancelled() => {}
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// One stream, from connecting to its end. `Ok` is the end of the process.
    async fn stream(&self, shutdown: &CancellationToken) -> (Heard, Result<(), StreamError>) {
        let link = self.outbox.link();
        let opened = tokio::select! {
            opened = self.open(&link) => opened,
            () = shutdown.cancelled() => return (Heard::Nothing, Ok(())),
        };
        let mut responses = match opened {
            Ok(responses) => responses,
            Err(error) => return (Heard::Nothing, Err(error)),
        };
        tracing::info!(endpoint = %self.endpoint, "reporting to the reverser");
        let mut heard = Heard::Nothing;
        loop {
            let response = tokio::select! {
                biased;
                () = shutdown.cancelled() => {
                    self.drain(&link, responses).await;
                    return (heard, Ok(()));
                }
                response = responses.next() => response,
            };
            match response {
                Some(Ok(response)) => self.take(&link, response),
                Some(Err(status)) => return (heard, Err(StreamError::Broken(status))),
                None => return (heard, Err(StreamError::Closed)),
            }
            heard = Heard::Something;
        }
    }

    async fn open(&self, link: &Link) -> Result<Streaming<ReportResponse>, StreamError> {
        let channel = self.connect().await.map_err(StreamError::Connect)?;
        let mut client = AttributionClient::new(channel);
        timeout(OPEN, client.report(link.transmissions()))
            .await
            .map_err(|_| StreamError::Unanswered)?
            .map(tonic::Response::into_inner)
            .map_err(StreamError::Open)
    }

    async fn connect(&self) -> Result<Channel, tonic::transport::Error> {
        Endpoint::from_shared(self.endpoint.to_string())?
            .connect_timeout(OPEN)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_DEADLINE)
            .keep_alive_while_idle(true)
            .connect()
            .await
    }

    fn take(&self, link: &Link, response: ReportResponse) {
        match response.message {
            Some(Message::Ack(ack)) => link.acknowledge(ack.sequence),
            Some(Message::InterestSet(set)) => self.apply(link, set),
            Some(Message::Mark(mark)) => link.mark(mark.number),
            Some(Message::Standing(standing)) => {
                tracing::info!(receives = standing.receives, "the reverser's standing");
                self.routing.told(standing.receives);
            }
            // A newer reverser may say what we don't know.
            None => {}
        }
    }

    fn apply(&self, link: &Link, set: InterestSet) {
        let (generation, interests) = (set.generation, set.interests.len());
        self.interest.store(set.into());
        link.applied(generation);
        tracing::info!(generation, interests, "interest set applied");
    }

    async fn drain(&self, link: &Link, mut responses: Streaming<ReportResponse>) {
        let now = Instant::now();
        loop {
            let deadline = now + if link.is_drained() { MARKS } else { DRAIN };
            match timeout_at(deadline, responses.next()).await {
                Ok(Some(Ok(response))) => self.take(link, response),
                Ok(Some(Err(_)) | None) | Err(_) => break,
            }
        }
        let unacknowledged = self.outbox.depth();
        if unacknowledged > 0 {
            tracing::warn!(unacknowledged, "ending with observations unacknowledged");
        }
    }
}

/// The error and its causes, in one line. Layers that only repeat their cause are left out.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        if text.ends_with(&cause) {
            text
        } else {
            format!("{text}: {cause}")
        }
    })
}
