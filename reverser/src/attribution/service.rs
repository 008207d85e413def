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
use tokio::time::Instant;
use tonic::{Request, Response, Status, Streaming};
use tracing::{debug, info, warn};

use super::barrier::Asked;
use super::observation::Observation;
use super::sessions::{MAX_SESSION, Sessions};
use super::store::Store;
use crate::leadership::{Role, Roles};

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

/// The connection to the sidecar, and since when it is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presence {
    /// How far it has come.
    pub sidecar: Sidecar,
    /// When it came to that. At first, when the reverser started.
    pub since: Instant,
}

impl Presence {
    /// From now on.
    #[must_use]
    pub fn now(sidecar: Sidecar) -> Self {
        Self {
            sidecar,
            since: Instant::now(),
        }
    }
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
    pub presence: watch::Sender<Presence>,
    /// What this process is among its replicas; told to the sidecar.
    pub roles: Roles,
    /// The newest mark that is wanted of the sidecar.
    pub asked: watch::Receiver<Asked>,
    /// The newest mark that the sidecar has reached: all that it saw before that was asked for is
    /// in the store.
    pub reached: watch::Sender<u64>,
}

struct Shared {
    store: Arc<Store>,
    interest: watch::Receiver<Arc<v1::InterestSet>>,
    applied: watch::Sender<u64>,
    presence: watch::Sender<Presence>,
    roles: Roles,
    asked: watch::Receiver<Asked>,
    reached: watch::Sender<u64>,
    /// Held from claiming a sequence until it is stored: an acknowledgement that a second
    /// stream of the session sends covers only what is stored.
    sessions: Mutex<Sessions>,
    newest: Mutex<Newest>,
}

/// The newest stream; an older one that ends late must not report the sidecar away.
#[derive(Default)]
struct Newest {
    number: u64,
    session: String,
}

/// Serves `gitopsreverser.v1.Attribution`.
///
/// A stream is a Hello, which is answered with what is here of its session; then observations,
/// ReplayFinished, more observations. Every observation is stored before its acknowledgement is
/// sent, and counted once however many streams bring it. A
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
        signals.presence.send_replace(Presence::now(Sidecar::Away));
        signals.applied.send_replace(0);
        Self {
            shared: Arc::new(Shared {
                store,
                interest: signals.interest,
                applied: signals.applied,
                presence: signals.presence,
                roles: signals.roles,
                asked: signals.asked,
                reached: signals.reached,
                sessions: Mutex::default(),
                newest: Mutex::default(),
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
            asked: self.shared.asked.clone(),
            roles: self.shared.roles.clone(),
            shared: Arc::clone(&self.shared),
            greeted: None,
            unsent_standing: *self.shared.roles.borrow() != Role::Alone,
            unsent_interest: true,
            unsent_mark: true,
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
    asked: watch::Receiver<Asked>,
    roles: Roles,
    shared: Arc<Shared>,
    /// After the Hello.
    greeted: Option<Greeted>,
    /// Where there are replicas, the role at the begin of the stream is sent like a change.
    unsent_standing: bool,
    /// The set in force when the stream began is sent like a change.
    unsent_interest: bool,
    /// So is a mark that an earlier stream did not answer.
    unsent_mark: bool,
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
            if self.greeted.is_some() && self.unsent_standing {
                self.unsent_standing = false;
                let receives = self.roles.borrow_and_update().receives();
                return Ok(Some(Outgoing::Standing(v1::Standing { receives })));
            }
            if self.greeted.is_some() && self.unsent_interest {
                self.unsent_interest = false;
                let set = self.interest.borrow_and_update().clone();
                if set.generation > 0 {
                    return Ok(Some(Outgoing::InterestSet(v1::InterestSet::clone(&set))));
                }
            }
            if self.greeted.is_some() && self.unsent_mark {
                self.unsent_mark = false;
                let number = self.asked.borrow_and_update().number;
                if number > *self.shared.reached.borrow() {
                    self.shared.store.mark_sent(number);
                    return Ok(Some(Outgoing::Mark(v1::Mark { number })));
                }
            }
            let message = tokio::select! {
                // Rare, and must not wait for a pause between observations.
                biased;
                () = changed(&mut self.roles) => {
                    self.unsent_standing = true;
                    continue;
                }
                () = changed(&mut self.interest) => {
                    self.unsent_interest = true;
                    continue;
                }
                () = changed(&mut self.asked) => {
                    self.unsent_mark = true;
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
            // The sidecar is told what is here of its session.
            return Ok(true);
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
                shared.store.sidecar_replayed();
                shared.presence.send_replace(Presence::now(Sidecar::Live));
            }),
            Incoming::InterestApplied(applied) => greeted.signal(|shared| {
                shared.applied.send_replace(applied.generation);
            }),
            Incoming::MarkReached(mark) => greeted.signal(|shared| {
                shared.store.mark_reached(mark.number);
                shared.reached.send_if_modified(|reached| {
                    let further = mark.number > *reached;
                    *reached = mark.number.max(*reached);
                    further
                });
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

/// Waits for a new value; without end once there will be none. The rest of the process is ending
/// then, but what the sidecar saw still counts.
async fn changed<T>(receiver: &mut watch::Receiver<T>) {
    if receiver.changed().await.is_err() {
        std::future::pending::<()>().await;
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
        newest.number += 1;
        shared.store.sidecar_returned(newest.session == session);
        newest.session.clone_from(&session);
        shared.applied.send_replace(0);
        shared
            .presence
            .send_replace(Presence::now(Sidecar::Replaying));
        info!(session, "the sidecar is connected");
        Ok(Self {
            session,
            number: newest.number,
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
            Ok(mut observation) => {
                // What an older stream tells, its process no longer confirms.
                observation.early |= self.shared.newest.lock().number != self.number;
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
        if newest.number == self.number {
            send(&self.shared);
        }
    }
}

impl Drop for Greeted {
    fn drop(&mut self) {
        self.signal(|shared| {
            info!(session = self.session, "the sidecar is gone");
            shared.store.sidecar_left();
            shared.presence.send_replace(Presence::now(Sidecar::Away));
            shared.applied.send_replace(0);
        });
    }
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
