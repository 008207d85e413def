//! The other end of the stream: our own protocol, served for real on a unix socket.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use parking_lot::Mutex;
use proto::v1::attribution_server::{Attribution, AttributionServer};
use proto::v1::report_request::Message;
use proto::v1::report_response::Message as Answer;
use proto::v1::{Ack, InterestSet, Mark, ReportRequest, ReportResponse, Standing};
use tokio::net::UnixListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::{UnboundedReceiverStream, UnixListenerStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status, Streaming};

/// A reverser that says nothing by itself.
pub struct Reverser {
    received: UnboundedReceiver<Message>,
    answers: Arc<Mutex<Option<UnboundedSender<ReportResponse>>>>,
    server: JoinHandle<()>,
}

struct Service {
    received: UnboundedSender<Message>,
    answers: Arc<Mutex<Option<UnboundedSender<ReportResponse>>>>,
}

#[tonic::async_trait]
impl Attribution for Service {
    type ReportStream = BoxStream<'static, Result<ReportResponse, Status>>;

    async fn report(
        &self,
        request: Request<Streaming<ReportRequest>>,
    ) -> Result<Response<Self::ReportStream>, Status> {
        let (sender, answers) = unbounded_channel();
        *self.answers.lock() = Some(sender);
        let received = self.received.clone();
        let mut requests = request.into_inner();
        // Reading is part of the response, so that it ends with it.
        let reading = async move {
            while let Some(Ok(request)) = requests.next().await {
                if received.send(request.message.unwrap()).is_err() {
                    break;
                }
            }
        };
        // The stream ends when nobody can answer any more.
        let answers = UnboundedReceiverStream::new(answers)
            .map(|answer| Some(Ok(answer)))
            .chain(futures::stream::iter([None]));
        let reading = reading.into_stream().filter_map(|()| async { None });
        let responses = futures::stream::select(answers, reading)
            .take_while(|answer| std::future::ready(answer.is_some()))
            .filter_map(std::future::ready);
        Ok(Response::new(responses.boxed()))
    }
}

impl Reverser {
    pub fn listen(socket: &Path) -> Self {
        let _ = std::fs::remove_file(socket);
        let incoming = UnixListenerStream::new(UnixListener::bind(socket).unwrap());
        let (sender, received) = unbounded_channel();
        let answers = Arc::new(Mutex::new(None));
        let service = Service {
            received: sender,
            answers: Arc::clone(&answers),
        };
        let server = tokio::spawn(async move {
            Server::builder()
                .add_service(AttributionServer::new(service))
                .serve_with_incoming(incoming)
                .await
                .unwrap();
        });
        Self {
            received,
            answers,
            server,
        }
    }

    /// The next message; waits for it.
    pub async fn next(&mut self) -> Message {
        tokio::time::timeout(Duration::from_secs(30), self.received.recv())
            .await
            .expect("nothing was reported")
            .unwrap()
    }

    /// The next message, which must be an observation: its sequence and name.
    pub async fn observation(&mut self) -> (u64, String) {
        match self.next().await {
            Message::Observation(observation) => (observation.sequence, observation.name),
            other => panic!("no observation: {other:?}"),
        }
    }

    /// Hello, answered with what is known of that session; returns it.
    pub async fn greet(&mut self, known: u64) -> String {
        let Message::Hello(hello) = self.next().await else {
            panic!("a stream begins with Hello");
        };
        self.acknowledge(known);
        hello.session
    }

    /// Hello from a sidecar that has nothing to replay.
    pub async fn greeted(&mut self) {
        self.greet(0).await;
        assert!(matches!(self.next().await, Message::ReplayFinished(_)));
    }

    pub fn acknowledge(&self, sequence: u64) {
        self.answer(Answer::Ack(Ack { sequence }));
    }

    pub fn interest(&self, set: InterestSet) {
        self.answer(Answer::InterestSet(set));
    }

    pub fn mark(&self, number: u64) {
        self.answer(Answer::Mark(Mark { number }));
    }

    pub fn standing(&self, receives: bool) {
        self.answer(Answer::Standing(Standing { receives }));
    }

    /// What a reverser of another version says: nothing that is known here.
    pub fn mumble(&self) {
        let answers = self.answers.lock();
        let sender = answers.as_ref().expect("a stream is open");
        sender.send(ReportResponse { message: None }).unwrap();
    }

    fn answer(&self, message: Answer) {
        let message = Some(message);
        let answers = self.answers.lock();
        let sender = answers.as_ref().expect("a stream is open");
        sender.send(ReportResponse { message }).unwrap();
    }

    /// Ends the stream and the server.
    pub async fn stop(self) {
        // First the door, so that the sidecar finds nobody when it comes back at once.
        self.server.abort();
        let _ = self.server.await;
        self.answers.lock().take();
    }
}
