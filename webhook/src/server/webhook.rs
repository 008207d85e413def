//! The admission server: HTTP/1.1 and HTTP/2 over TLS, with every wait bounded.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::slots::{Slot, Slots};
use super::tls::CurrentConfig;
use crate::metrics::Metrics;
use crate::routing::Routing;

/// Connections at a time. An apiserver needs one over HTTP/2, and over HTTP/1.1 as many as it has
/// writes in flight; a connection costs some 50 KiB. At the bound the oldest that has carried no
/// admission makes room for a new one. Where all have, the new one is closed at once: the
/// apiserver then goes on without us at once, too, where a queue would cost it the timeout.
const MAX_CONNECTIONS: usize = 256;
/// Requests at a time on one HTTP/2 connection; an apiserver waits with more.
const MAX_STREAMS: u32 = 250;
/// What a client may send ahead on one HTTP/2 connection, in bytes: bounds what a slow reader of
/// bodies holds. Large bodies just take several round trips.
const HTTP2_WINDOW: u32 = 1 << 20;
/// For the TLS handshake, and then for the first request.
const FIRST: Duration = Duration::from_secs(10);
/// For the header of an HTTP/1.1 request, the pause before it included.
const HEADER: Duration = Duration::from_secs(120);
/// A connection that carried no admission for this long is closed. Go's clients close theirs
/// after 90 s, so that they don't send into a closing one.
const IDLE: Duration = Duration::from_secs(120);
/// A connection that came to the wrong pod is kept for this long: it was opened for a request, which is to be answered, and a new
/// one for each would cost more than it brings while the Service still leads here.
const LEAST: Duration = Duration::from_millis(500);
/// Time for the answers in flight once a connection is to be closed.
const FINISH: Duration = Duration::from_secs(2);

/// Who answers the requests of all connections.
pub trait Handler: Send + Sync + 'static {
    /// Whether a request to this path is meant for us at all. A connection on which none came for
    /// some time is closed.
    fn serves(&self, path: &str) -> bool;

    /// Answers one request, whatever it is.
    fn answer(
        &self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Full<Bytes>>> + Send;
}

/// Serves admissions until cancelled, then finishes the answers in flight within 2 s.
pub async fn serve(
    listener: TcpListener,
    config: CurrentConfig,
    handler: Arc<impl Handler>,
    metrics: Arc<Metrics>,
    routing: Routing,
    shutdown: CancellationToken,
) {
    let slots = Slots::new(MAX_CONNECTIONS);
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                super::accept_failed(&error).await;
                continue;
            }
        };
        let Some(slot) = slots.take() else {
            metrics.connection_rejected();
            continue;
        };
        let slot = Arc::new(slot);
        let connection = connection(
            stream,
            TlsAcceptor::from(config.load()),
            Arc::clone(&handler),
            Arc::clone(&metrics),
            routing.clone(),
            Arc::clone(&slot),
            shutdown.clone(),
        );
        let metrics = Arc::clone(&metrics);
        connections.spawn(async move {
            tokio::select! {
                () = connection => {}
                () = slot.evicted() => metrics.connection_rejected(),
            }
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn connection(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    handler: Arc<impl Handler>,
    metrics: Arc<Metrics>,
    routing: Routing,
    slot: Arc<Slot>,
    shutdown: CancellationToken,
) {
    // Answers are small; without this they would wait for more to come.
    let _ = stream.set_nodelay(true);
    let stream = tokio::select! {
        stream = timeout(FIRST, acceptor.accept(stream)) => stream,
        () = shutdown.cancelled() => return,
    };
    let stream = match stream {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            metrics.tls_handshake_failed();
            tracing::debug!(%error, "TLS handshake failed");
            return;
        }
        Err(_) => {
            metrics.tls_handshake_failed();
            return;
        }
    };

    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_connection_window_size(HTTP2_WINDOW)
        .initial_stream_window_size(HTTP2_WINDOW)
        .max_concurrent_streams(MAX_STREAMS);
    // The client said which: nobody needs to guess from its first bytes, without a deadline.
    let builder = if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        builder.http2_only()
    } else {
        builder.http1_only()
    };

    let used = Arc::new(AtomicBool::new(false));
    let service = {
        let used = Arc::clone(&used);
        service_fn(move |request: Request<Incoming>| {
            if handler.serves(request.uri().path()) && !used.swap(true, Ordering::Relaxed) {
                slot.keep();
            }
            let handler = Arc::clone(&handler);
            async move { Ok::<_, Infallible>(handler.answer(request).await) }
        })
    };
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut check = Instant::now() + FIRST;
    let least = Instant::now() + LEAST;
    let mut elsewhere = pin!(async {
        sleep_until(least).await;
        routing.elsewhere().await;
    });
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "connection ended");
                }
                return;
            }
            () = sleep_until(check) => {
                if !used.swap(false, Ordering::Relaxed) {
                    break;
                }
                check = Instant::now() + IDLE;
            }
            () = elsewhere.as_mut() => break,
            () = shutdown.cancelled() => break,
        }
    }
    connection.as_mut().graceful_shutdown();
    // Who does not let go by then is cut off.
    let _ = timeout(FINISH, connection).await;
}
