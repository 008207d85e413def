//! What any webhook costs: the sidecar's own TLS and HTTP server, and nothing behind it.
//!
//! It answers *allowed* without looking at what it is asked: of the body it reads the `uid` that the answer has to
//! repeat, by searching for it. `make bench` holds the sidecar against it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use clap::Parser;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use webhook::metrics::Metrics;
use webhook::review;
use webhook::routing::Routing;
use webhook::runtime::runtime;
use webhook::server::tls::{Reloader, TlsFiles};
use webhook::server::webhook::{Handler, serve};

/// Answers every admission with allowed.
#[derive(Debug, Parser)]
struct Args {
    /// Where admissions are served over TLS
    #[arg(long)]
    bind_address: SocketAddr,
    /// PEM certificate chain to serve with
    #[arg(long)]
    tls_cert_file: PathBuf,
    /// PEM private key of the certificate
    #[arg(long)]
    tls_private_key_file: PathBuf,
}

fn main() -> anyhow::Result<()> {
    runtime()?.block_on(run(Args::parse()))
}

async fn run(args: Args) -> anyhow::Result<()> {
    let metrics = Arc::new(Metrics::new()?);
    let files = TlsFiles {
        certificate: args.tls_cert_file,
        private_key: args.tls_private_key_file,
        client_ca: None,
    };
    let config = Reloader::start(files, Arc::clone(&metrics))?.current();
    let listener = TcpListener::bind(args.bind_address).await?;
    serve(
        listener,
        config,
        Arc::new(AllowsOnly),
        metrics,
        Routing::default(),
        CancellationToken::new(),
    )
    .await;
    Ok(())
}

struct AllowsOnly;

impl Handler for AllowsOnly {
    fn serves(&self, _path: &str) -> bool {
        true
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let body = match request.into_body().collect().await {
            Ok(body) => body.to_bytes(),
            Err(_) => Bytes::new(),
        };
        let mut response = Response::new(Full::new(review::allowed(uid(&body))));
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

/// An apiserver writes `request.uid` before any other.
fn uid(body: &[u8]) -> &str {
    const FIELD: &[u8] = br#""uid":""#;
    let Some(at) = body.windows(FIELD.len()).position(|text| text == FIELD) else {
        return "";
    };
    let rest = body.get(at + FIELD.len()..).unwrap_or_default();
    let end = rest.iter().position(|byte| *byte == b'"').unwrap_or(0);
    std::str::from_utf8(&rest[..end]).unwrap_or_default()
}
