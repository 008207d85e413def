//! Health and metrics: small answers to probes and scrapers, over plain HTTP/1.1.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::outbox::Outbox;

/// Connections at a time: kubelet and a few scrapers. More wait to be accepted.
const MAX_CONNECTIONS: usize = 32;
/// A connection lives no longer, so that nobody keeps one of the few.
const LIFETIME: Duration = Duration::from_secs(60);
const HEADER: Duration = Duration::from_secs(5);

/// What is served, apart from the address.
#[derive(Clone, Debug)]
pub enum Page {
    /// `/healthz` and `/readyz`.
    Health(Readiness),
    /// `/metrics`.
    Metrics(Arc<Metrics>, Arc<Outbox>),
}

/// Ready from when admissions are served until the process is told to end.
///
/// The reverser being away does not make the sidecar unready: admissions must be answered all
/// the same, and an unready webhook would cost each write the webhook's timeout. The metric
/// `gitopsreverser_webhook_connected` tells it apart.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Says whether admissions are served.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Relaxed);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Page {
    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is served\n");
        }
        match (self, path) {
            (Self::Health(_), "/healthz") => text(StatusCode::OK, "ok\n"),
            (Self::Health(readiness), "/readyz") if readiness.get() => text(StatusCode::OK, "ok\n"),
            (Self::Health(_), "/readyz") => {
                text(StatusCode::SERVICE_UNAVAILABLE, "not serving admissions\n")
            }
            (Self::Metrics(metrics, outbox), "/metrics") => {
                let depth = i64::try_from(outbox.depth()).unwrap_or(i64::MAX);
                metrics.outbox_depth.set(depth);
                let mut response = text(StatusCode::OK, metrics.render());
                response.headers_mut().insert(
                    CONTENT_TYPE,
                    HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
                );
                response
            }
            _ => text(StatusCode::NOT_FOUND, "not found\n"),
        }
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}

/// Serves the page until cancelled. Connections that are open then are left to end by
/// themselves.
pub async fn serve(listener: TcpListener, page: Page, shutdown: CancellationToken) {
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let page = Arc::new(page);
    loop {
        let accepted = tokio::select! {
            accepted = async {
                let permit = Arc::clone(&connections).acquire_owned().await;
                (listener.accept().await, permit)
            } => accepted,
            () = shutdown.cancelled() => return,
        };
        let (stream, permit) = match accepted {
            (Ok((stream, _)), permit) => (stream, permit),
            (Err(error), _) => {
                super::accept_failed(&error).await;
                continue;
            }
        };
        let page = Arc::clone(&page);
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                let answer = page.answer(request.method(), request.uri().path());
                std::future::ready(Ok::<_, Infallible>(answer))
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER)
                .serve_connection(TokioIo::new(stream), service);
            // Whatever ends it, the other side notices first.
            let _ = timeout(LIFETIME, connection).await;
            drop(permit);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::Limits;

    #[test]
    fn readiness_follows_the_admission_server_and_liveness_does_not() {
        let readiness = Readiness::default();
        let page = Page::Health(readiness.clone());
        let status = |path: &str| page.answer(&Method::GET, path).status().as_u16();
        assert_eq!((status("/healthz"), status("/readyz")), (200, 503));
        readiness.set(true);
        assert_eq!((status("/healthz"), status("/readyz")), (200, 200));
        assert_eq!(status("/metrics"), 404);
    }

    #[test]
    fn metrics_are_served_on_their_path_only() {
        let metrics = Arc::new(Metrics::new().unwrap());
        let outbox = Arc::new(Outbox::new(Limits::default(), Arc::clone(&metrics)));
        let page = Page::Metrics(metrics, outbox);
        assert_eq!(page.answer(&Method::GET, "/metrics").status(), 200);
        assert_eq!(page.answer(&Method::GET, "/").status(), 404);
        assert_eq!(page.answer(&Method::POST, "/metrics").status(), 405);
    }
}
