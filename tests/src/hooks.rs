//! An HTTPS server for what the apiserver calls: admission and conversion webhooks of a test's own.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::certs::{Authority, install_crypto_provider};

/// Answers one call: the path without its first `/`, and the review.
pub type Handler = Arc<dyn Fn(String, Value) -> BoxFuture<'static, Value> + Send + Sync>;

/// A server on 127.0.0.1, ended when dropped. It runs on a thread of its own: a test may block.
pub struct HookServer {
    url: String,
    ca_pem: String,
    runtime: Option<tokio::runtime::Runtime>,
}

// === impl HookServer ===

impl HookServer {
    /// Starts it, with a certificate of an authority of its own.
    ///
    /// # Errors
    /// If no port can be had.
    pub fn start(handler: Handler) -> Result<Self> {
        install_crypto_provider();
        let authority = Authority::new("gitops-reverser-test-hooks")?;
        let acceptor = tls(&authority)?;
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .context("bind a port on 127.0.0.1")?;
        listener.set_nonblocking(true)?;
        let url = format!("https://{}", listener.local_addr()?);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("hooks")
            .enable_all()
            .build()
            .context("start the server's thread")?;
        runtime.spawn(accept(listener, acceptor, handler));
        Ok(Self {
            url,
            ca_pem: authority.pem(),
            runtime: Some(runtime),
        })
    }

    /// Where a hook is called.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.url)
    }

    /// Who signed its certificate, PEM.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }
}

impl Drop for HookServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Not the blocking kind, which panics when a test of its own runtime drops the server.
            runtime.shutdown_background();
        }
    }
}

fn tls(authority: &Authority) -> Result<TlsAcceptor> {
    let identity = authority.server("hooks", &["127.0.0.1", "localhost"])?;
    let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes())
        .context("read the certificate")?;
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).context("read the key")?;
    let mut config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .context("serve with the certificate")?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn accept(listener: std::net::TcpListener, acceptor: TlsAcceptor, handler: Handler) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => panic!("the hooks can't listen: {error}"),
    };
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely: they come back.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        tokio::spawn(connection(handler.clone(), stream, acceptor.clone()));
    }
}

async fn connection(handler: Handler, stream: TcpStream, acceptor: TlsAcceptor) {
    let service = service_fn(move |request| answer(handler.clone(), request));
    let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    // A client that goes away is no matter of ours.
    if let Ok(stream) = acceptor.accept(stream).await {
        let _ = server.serve_connection(TokioIo::new(stream), service).await;
    }
}

async fn answer(
    handler: Handler,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().trim_start_matches('/').to_owned();
    let review = request
        .into_body()
        .collect()
        .await
        .ok()
        .and_then(|body| serde_json::from_slice(&body.to_bytes()).ok());
    let mut response = Response::default();
    match review {
        Some(review) => {
            *response.body_mut() = handler(path, review).await.to_string().into();
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, json);
        }
        None => *response.status_mut() = StatusCode::BAD_REQUEST,
    }
    Ok(response)
}
