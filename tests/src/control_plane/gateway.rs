//! A way to the apiserver on which requests can be held, streams cut, and answers looked at.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use futures::StreamExt as _;
use http::{Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, BodyStream, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::client::Body;
use kube::config::AuthInfo;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::kubeconfig::Credential;
use super::{Access, ControlPlane, write_private};

type Error = Box<dyn std::error::Error + Send + Sync>;
type Reply = Response<UnsyncBoxBody<Bytes, Error>>;
/// Says of a path with its query whether it is meant.
type Which = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// A request that was answered, or whose answer has begun.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Path and query.
    pub request: String,
    /// HTTP status.
    pub status: u16,
    /// What an error said; empty for what is none.
    pub error: String,
}

/// Plain HTTP on 127.0.0.1 in front, the apiserver behind. Ended when dropped; it runs on a thread of its own.
///
/// Who comes with a bearer token is known by that, everybody else is the administrator.
pub struct Gateway {
    state: Arc<State>,
    kubeconfig: PathBuf,
    runtime: Option<tokio::runtime::Runtime>,
}

struct State {
    access: Access,
    held: Mutex<Vec<Held>>,
    answers: Mutex<Vec<Answer>>,
    /// Counts the cuts.
    cuts: watch::Sender<u64>,
}

/// The gateway's side of a [`Hold`].
struct Held {
    which: Which,
    released: watch::Receiver<bool>,
    waiting: watch::Sender<usize>,
}

/// Requests of a kind wait for as long as this lives.
pub struct Hold {
    release: watch::Sender<bool>,
    waiting: watch::Receiver<usize>,
}

// === impl ControlPlane ===

impl ControlPlane {
    /// Opens a way to the apiserver, for who comes with this token, or for an administrator.
    ///
    /// # Errors
    /// If no port can be had.
    pub fn gateway(&self, token: Option<&str>) -> Result<Gateway> {
        let listener =
            std::net::TcpListener::bind(("127.0.0.1", 0)).context("bind a port on 127.0.0.1")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let access = self.access();
        let credential = match token {
            Some(token) => Credential::Token(token.to_owned()),
            None => access.credential.clone(),
        };
        let mut endpoint = access.endpoint.clone();
        endpoint.url = format!("http://{address}");
        let kubeconfig = self
            .files
            .path(&format!("gateway-{}.kubeconfig", address.port()));
        write_private(&kubeconfig, &endpoint.kubeconfig(&credential))?;
        let state = Arc::new(State {
            access,
            held: Mutex::default(),
            answers: Mutex::default(),
            cuts: watch::Sender::new(0),
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("gateway")
            .enable_all()
            .build()
            .context("start the gateway's thread")?;
        runtime.spawn(accept(listener, state.clone()));
        Ok(Gateway {
            state,
            kubeconfig,
            runtime: Some(runtime),
        })
    }
}

// === impl Gateway ===

impl Gateway {
    /// A kubeconfig that leads here.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig.clone()
    }

    /// Has requests wait whose path and query are such, until what this returns is dropped.
    pub fn hold(&self, which: impl Fn(&str) -> bool + Send + Sync + 'static) -> Hold {
        let (release, released) = watch::channel(false);
        let (count, waiting) = watch::channel(0);
        self.state.held.lock().push(Held {
            which: Arc::new(which),
            released,
            waiting: count,
        });
        Hold { release, waiting }
    }

    /// Breaks every answer that is under way, watches above all. New requests pass.
    pub fn cut(&self) {
        self.state.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// All answers so far, in the order in which they began.
    #[must_use]
    pub fn answers(&self) -> Vec<Answer> {
        self.state.answers.lock().clone()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

// === impl Hold ===

impl Hold {
    /// Waits until a request is held; false if none was within `patience`.
    pub async fn has_caught(&self, patience: Duration) -> bool {
        let mut waiting = self.waiting.clone();
        let caught = waiting.wait_for(|count| *count > 0);
        tokio::time::timeout(patience, caught).await.is_ok()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.release.send_replace(true);
    }
}

// === impl State ===

impl State {
    async fn wait_while_held(&self, request: &str) {
        let holds: Vec<_> = {
            let mut held = self.held.lock();
            held.retain(|held| !*held.released.borrow());
            let meant = held.iter().filter(|held| (held.which)(request));
            meant
                .map(|held| (held.released.clone(), held.waiting.clone()))
                .collect()
        };
        for (mut released, count) in holds {
            count.send_modify(|count| *count += 1);
            // A hold that was dropped counts as released.
            let _ = released.wait_for(|released| *released).await;
        }
    }

    async fn pass(&self, request: Request<Incoming>, clients: &Clients) -> Result<Reply, Error> {
        let cuts = self.cuts.subscribe();
        let (mut parts, body) = request.into_parts();
        let asked = parts
            .uri
            .path_and_query()
            .map(ToString::to_string)
            .unwrap_or_default();
        let body = body.collect().await?.to_bytes();
        self.wait_while_held(&asked).await;
        for name in [header::HOST, header::CONNECTION, header::TRANSFER_ENCODING] {
            parts.headers.remove(name);
        }
        let client = if parts.headers.contains_key(header::AUTHORIZATION) {
            &clients.anybody
        } else {
            &clients.admin
        };
        let answer = client
            .send(Request::from_parts(parts, Body::from(body)))
            .await?;
        let (mut parts, body) = answer.into_parts();
        for name in [header::CONNECTION, header::TRANSFER_ENCODING] {
            parts.headers.remove(name);
        }
        let status = parts.status.as_u16();
        let note = |error: String| {
            self.answers.lock().push(Answer {
                request: asked.clone(),
                status,
                error,
            });
        };
        if parts.status.is_success() {
            note(String::new());
            return Ok(Response::from_parts(parts, until_cut(body, cuts)));
        }
        let body = body.collect_bytes().await?;
        note(String::from_utf8_lossy(&body).into_owned());
        let body = Full::new(body).map_err(|never| match never {});
        Ok(Response::from_parts(parts, body.boxed_unsync()))
    }
}

/// Bound to the gateway's own runtime.
struct Clients {
    admin: kube::Client,
    anybody: kube::Client,
}

async fn accept(listener: std::net::TcpListener, state: Arc<State>) {
    let Ok(listener) = TcpListener::from_std(listener) else {
        return;
    };
    let client = |who| state.access.endpoint.client_that_retries(false, who);
    let clients = Arc::new(Clients {
        admin: client(state.access.credential.auth_info()),
        anybody: client(AuthInfo::default()),
    });
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        tokio::spawn(connection(stream, state.clone(), clients.clone()));
    }
}

async fn connection(stream: TcpStream, state: Arc<State>, clients: Arc<Clients>) {
    let service = service_fn(move |request| {
        let (state, clients) = (state.clone(), clients.clone());
        async move {
            let answer = state.pass(request, &clients).await;
            Ok::<_, std::convert::Infallible>(answer.unwrap_or_else(|error| unreachable(&error)))
        }
    });
    // Whichever side ends it.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// What a load balancer says of an apiserver that is away.
fn unreachable(error: &Error) -> Reply {
    let body = Full::new(Bytes::from(error.to_string())).map_err(|never| match never {});
    let mut answer = Response::new(body.boxed_unsync());
    *answer.status_mut() = StatusCode::BAD_GATEWAY;
    answer
}

fn until_cut(body: Body, mut cuts: watch::Receiver<u64>) -> UnsyncBoxBody<Bytes, Error> {
    let frames = BodyStream::new(body).map(|frame| frame.map_err(Error::from));
    let cut = async move {
        // Without a gateway nobody cuts.
        if cuts.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let broken = futures::stream::once(async { Err(Error::from("cut")) });
    // `take_until` ends at the cut and at the end alike; only after a cut is there an error to follow.
    let (mark, was_cut) = watch::channel(false);
    let frames = frames.take_until(async move {
        cut.await;
        mark.send_replace(true);
    });
    let broken = broken.filter(move |_| std::future::ready(*was_cut.borrow()));
    StreamBody::new(frames.chain(broken)).boxed_unsync()
}
