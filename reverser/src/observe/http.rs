//! Two small HTTP servers: metrics, and health for the kubelet.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use prometheus::{Registry, TextEncoder};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tracing::debug;

/// Connections at once to one of these servers; more wait to be accepted.
const CONNECTIONS: usize = 64;

type Answer = Response<Full<Bytes>>;

/// Whether the process is ready to be sent traffic.
#[derive(Debug, Default)]
pub struct Health {
    ready: AtomicBool,
}

impl Health {
    /// From now on `/readyz` answers 200, or 503.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }
}

/// Serves `/healthz` and `/readyz` until dropped.
pub async fn serve_health(listener: TcpListener, health: Arc<Health>) {
    serve(listener, move |path| match path {
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz" if health.is_ready() => text(StatusCode::OK, "ok\n"),
        "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
        _ => text(StatusCode::NOT_FOUND, "not found\n"),
    })
    .await;
}

/// Serves `/metrics` until dropped. `before` brings gauges up to date that are worked out on demand.
pub async fn serve_metrics(
    listener: TcpListener,
    registry: Registry,
    before: impl Fn() + Send + Sync + 'static,
) {
    serve(listener, move |path| {
        if path != "/metrics" {
            return text(StatusCode::NOT_FOUND, "not found\n");
        }
        before();
        match TextEncoder::new().encode_to_string(&registry.gather()) {
            Ok(body) => answer(StatusCode::OK, "text/plain; version=0.0.4", body),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n")),
        }
    })
    .await;
}

async fn serve(listener: TcpListener, handler: impl Fn(&str) -> Answer + Send + Sync + 'static) {
    let handler = Arc::new(handler);
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = connections.clone().acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, most likely: accepting again at once would spin.
                debug!(%error, "accept failed");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        let handler = handler.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let answer = if request.method() == Method::GET {
                    handler(request.uri().path())
                } else {
                    text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n")
                };
                async move { Ok::<_, Infallible>(answer) }
            });
            let mut server = Builder::new(TokioExecutor::new());
            server.http1().timer(hyper_util::rt::TokioTimer::new());
            if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
                debug!(%error, "a connection ended badly");
            }
            drop(permit);
        });
    }
}

fn text(status: StatusCode, body: &str) -> Answer {
    answer(status, "text/plain; charset=utf-8", body.to_owned())
}

fn answer(status: StatusCode, content_type: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static(content_type),
    );
    answer
}
