//! `Attribution.Report`: the sidecar's stream into the store.

use std::pin::Pin;
use std::sync::Arc;

use futures::{FutureExt, Stream, stream};
use parking_lot::Mutex;
use proto::v1;
use proto::v1::attribution_server::{Attribution, AttributionServer};
use proto::v1::report_request::Message as Incoming;
use proto::v1::report_response::Message as Outgoing;
use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};
use tracing::{debug, info, warn};

use super::observation::Observation;
use super::sessions::{MAX_SESSION, Sessions};
use super::store::Store;

/// A message of the sidecar is an observation of a few hundred bytes; its limits are in
/// [`Observation`].
const MAX_MESSAGE: usize = 64 * 1024;

/// Observations stored before an acknowledgement is written, when they come faster than they are
/// taken: an acknowledgement each would double the traffic of a replay.
const ACK_EVERY: usize = 64;

/// How far the connection to the sidecar has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sidecar {
    /// No stream: admissions are not seen now, or wait in the sidecar's outbox.
    Away,
    /// Connected, and still sending what its outbox holds.
    Replaying,
    /// Connected; what it saw before is in the store.
    Live,
}

/// The service's ends of the channels to the rest of the process, made by whoever wires it.
pub struct SidecarSignals {
    /// What the rules select; every new value is sent to the sidecar. Generation 0 stands for
    /// "not known yet" and is not sent.
    pub interest: watch::Receiver<Arc<v1::InterestSet>>,
    /// The generation by which the sidecar observes now; 0 while it is away, and until it has
    /// acknowledged one.
    pub applied: watch::Sender<u64>,
    /// Connected and replayed, or not.
    pub sidecar: watch::Sender<Sidecar>,
}

struct Shared {
    store: Arc<Store>,
    interest: watch::Receiver<Arc<v1::InterestSet>>,
    applied: watch::Sender<u64>,
    sidecar: watch::Sender<Sidecar>,
    /// Held from claiming a sequence until it is stored: an acknowledgement that a second
    /// stream of the session sends covers only what is stored.
    sessions: Mutex<Sessions>,
    /// The newest stream's number; an older one that ends late must not report the sidecar away.
    newest: Mutex<u64>,
}

/// Serves `gitopsreverser.v1.Attribution`.
///
/// A stream is a Hello, observations, ReplayFinished, more observations. Every observation is
/// stored before its acknowledgement is sent, and counted once however many streams bring it. A
/// malformed one is counted, logged and acknowledged (it would not be better the second time).
/// When a second sidecar connects, the first one goes on being heard, and the signals tell of the
/// newest.
#[derive(Clone)]
pub struct ReportService {
    shared: Arc<Shared>,
}

impl ReportService {
    /// A service that fills `store`.
    #[must_use]
    pub fn new(store: Arc<Store>, signals: SidecarSignals) -> Self {
        signals.sidecar.send_replace(Sidecar::Away);
        signals.applied.send_replace(0);
        Self {
            shared: Arc::new(Shared {
                store,
                interest: signals.interest,
                applied: signals.applied,
                sidecar: signals.sidecar,
                sessions: Mutex::default(),
                newest: Mutex::new(0),
            }),
        }
    }

    /// As a tonic service.
    #[must_use]
    pub fn into_server(self) -> AttributionServer<Self> {
        AttributionServer::new(self).max_decoding_message_size(MAX_MESSAGE)
    }
}

#[tonic::async_trait]
impl Attribution for ReportService {
    type ReportStream = Pin<Box<dyn Stream<Item = Result<v1::ReportResponse, Status>> + Send>>;

    async fn report(
        &self,
        request: Request<Streaming<v1::ReportRequest>>,
    ) -> Result<Response<Self::ReportStream>, Status> {
        let connection = Connection {
            incoming: request.into_inner(),
            interest: self.shared.interest.clone(),
            shared: Arc::clone(&self.shared),
            greeted: None,
            unsent_interest: true,
        };
        let responses = stream::try_unfold(connection, |mut connection| async move {
            let next = connection.next().await?;
            Ok(next.map(|message| {
                let response = v1::ReportResponse {
                    message: Some(message),
                };
                (response, connection)
            }))
        });
        Ok(Response::new(Box::pin(responses)))
    }
}

/// One stream. Dropped when either side ends it.
struct Connection {
    incoming: Streaming<v1::ReportRequest>,
    interest: watch::Receiver<Arc<v1::InterestSet>>,
    shared: Arc<Shared>,
    /// After the Hello.
    greeted: Option<Greeted>,
    /// The set in force when the stream began is sent like a change.
    unsent_interest: bool,
}

struct Greeted {
    session: String,
    number: u64,
    shared: Arc<Shared>,
}

impl Connection {
    /// The next message to the sidecar; none when it has closed its side.
    async fn next(&mut self) -> Result<Option<Outgoing>, Status> {
        loop {
            if self.greeted.is_some() && self.unsent_interest {
                self.unsent_interest = false;
                let set = self.interest.borrow_and_update().clone();
                if set.generation > 0 {
                    return Ok(Some(Outgoing::InterestSet(v1::InterestSet::clone(&set))));
                }
            }
            let interest_changes = async {
                if self.interest.changed().await.is_err() {
                    // The rest of the process is ending; what the sidecar saw still counts.
                    std::future::pending::<()>().await;
                }
            };
            let message = tokio::select! {
                // Rare, and must not wait for a pause between observations.
                biased;
                () = interest_changes => {
                    self.unsent_interest = true;
                    continue;
                }
                message = self.incoming.message() => message?,
            };
            let Some(message) = message else {
                return Ok(None);
            };
            if self.take(message)? {
                return self.acknowledge().map(Some);
            }
        }
    }

    /// Whether there is something to acknowledge.
    fn take(&mut self, message: v1::ReportRequest) -> Result<bool, Status> {
        let Some(message) = message.message else {
            // A kind of message that a newer sidecar knows.
            return Ok(false);
        };
        let Some(greeted) = &self.greeted else {
            let Incoming::Hello(hello) = message else {
                return Err(Status::failed_precondition("a stream begins with Hello"));
            };
            self.greeted = Some(Greeted::new(hello.session, &self.shared)?);
            return Ok(false);
        };
        match message {
            Incoming::Hello(_) => {
                return Err(Status::failed_precondition("Hello was said already"));
            }
            Incoming::Observation(observation) => {
                greeted.record(observation)?;
                return Ok(true);
            }
            Incoming::ReplayFinished(v1::ReplayFinished {}) => greeted.signal(|shared| {
                info!(
                    session = greeted.session,
                    "the sidecar has replayed its outbox"
                );
                shared.sidecar.send_replace(Sidecar::Live);
            }),
            Incoming::InterestApplied(applied) => greeted.signal(|shared| {
                shared.applied.send_replace(applied.generation);
            }),
        }
        Ok(false)
    }

    /// Takes in what else is there already, then acknowledges all of it at once.
    fn acknowledge(&mut self) -> Result<Outgoing, Status> {
        for _ in 1..ACK_EVERY {
            match self.incoming.message().now_or_never() {
                Some(Ok(Some(message))) => self.take(message)?,
                // An error or the end comes again with the next call.
                _ => break,
            };
        }
        let greeted = self
            .greeted
            .as_ref()
            .ok_or_else(|| Status::internal("acknowledging before Hello"))?;
        let sequence = self.shared.sessions.lock().highest(&greeted.session);
        Ok(Outgoing::Ack(v1::Ack { sequence }))
    }
}

impl Greeted {
    fn new(session: String, shared: &Arc<Shared>) -> Result<Self, Status> {
        if session.is_empty() || session.len() > MAX_SESSION {
            return Err(Status::invalid_argument(format!(
                "a session is named by 1 to {MAX_SESSION} bytes"
            )));
        }
        let mut newest = shared.newest.lock();
        *newest += 1;
        shared.applied.send_replace(0);
        shared.sidecar.send_replace(Sidecar::Replaying);
        info!(session, "the sidecar is connected");
        Ok(Self {
            session,
            number: *newest,
            shared: Arc::clone(shared),
        })
    }

    fn record(&self, message: v1::Observation) -> Result<(), Status> {
        let sequence = message.sequence;
        if sequence == 0 {
            return Err(Status::invalid_argument("sequences start at 1"));
        }
        let store = &self.shared.store;
        let mut sessions = self.shared.sessions.lock();
        if !sessions.claim(&self.session, sequence) {
            store.metrics().duplicate();
            return Ok(());
        }
        match Observation::try_from(message) {
            Ok(observation) => {
                debug!(object = %observation.identity, sequence, "admission observed");
                store.metrics().received();
                store.record(observation);
            }
            Err(error) => {
                warn!(session = self.session, sequence, %error, "malformed observation");
                store.metrics().malformed();
            }
        }
        Ok(())
    }

    /// Only the newest stream speaks for the sidecar.
    fn signal(&self, send: impl FnOnce(&Shared)) {
        let newest = self.shared.newest.lock();
        if *newest == self.number {
            send(&self.shared);
        }
    }
}

impl Drop for Greeted {
    fn drop(&mut self) {
        self.signal(|shared| {
            info!(session = self.session, "the sidecar is gone");
            shared.sidecar.send_replace(Sidecar::Away);
            shared.applied.send_replace(0);
        });
    }
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
