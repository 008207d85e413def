//! Posts reviews as an apiserver does: over one HTTP/2 connection, with many in flight.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_rustls::TlsConnector;

use super::reviews::Template;

/// How often a paced load sends.
const EVERY: Duration = Duration::from_millis(1);

/// What a load is sent over.
#[derive(Clone)]
pub(super) struct Client {
    url: String,
    sender: SendRequest<Full<Bytes>>,
    template: Arc<Template>,
    /// Numbers all that is sent.
    next: Arc<AtomicU64>,
}

/// What came of a load.
#[derive(Clone, Debug, Default)]
pub(super) struct Answers {
    /// A second, from the first to the last.
    pub(super) rate: f64,
    /// From sending a review to its answer, sorted.
    pub(super) took: Vec<Duration>,
}

// === impl Client ===

impl Client {
    /// Certificates are checked against this authority.
    pub(super) async fn connect(
        url: &str,
        ca_pem: &str,
        template: Arc<Template>,
        next: Arc<AtomicU64>,
    ) -> Result<Self> {
        let address = url.split('/').nth(2).context("a URL without a host")?;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes())?)?;
        let mut config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let stream = TlsConnector::from(Arc::new(config))
            .connect(ServerName::try_from("localhost")?, stream)
            .await?;
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self {
            url: url.to_owned(),
            sender,
            template,
            next,
        })
    }

    /// So many reviews a second for so long, whether they are answered or not.
    pub(super) async fn at_rate(&self, rate: u32, time: Duration) -> Result<Answers> {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut sent = 0;
        let mut calls = JoinSet::new();
        let mut took = Vec::new();
        let start = Instant::now();
        while start.elapsed() < time {
            ticks.tick().await;
            let due = start.elapsed().as_secs_f64() * f64::from(rate);
            while f64::from(sent) < due {
                calls.spawn(self.call());
                sent += 1;
            }
            while let Some(answer) = calls.try_join_next() {
                took.push(answer??);
            }
        }
        while let Some(answer) = calls.join_next().await {
            took.push(answer??);
        }
        Ok(Answers::of(took, start.elapsed()))
    }

    /// As many as are answered in that time, with always so many in flight.
    pub(super) async fn in_flight(&self, callers: usize, time: Duration) -> Result<Answers> {
        let mut calls = JoinSet::new();
        let start = Instant::now();
        for _ in 0..callers {
            let client = self.clone();
            calls.spawn(async move {
                let mut took = Vec::new();
                while start.elapsed() < time {
                    took.push(client.call().await?);
                }
                anyhow::Ok(took)
            });
        }
        let mut took = Vec::new();
        while let Some(answers) = calls.join_next().await {
            took.extend(answers??);
        }
        Ok(Answers::of(took, start.elapsed()))
    }

    /// One review.
    fn call(&self) -> impl Future<Output = Result<Duration>> + Send + use<> {
        let body = self
            .template
            .body(self.next.fetch_add(1, Ordering::Relaxed));
        let mut sender = self.sender.clone();
        let request = Request::post(&self.url)
            .header("content-type", "application/json")
            .header("accept", "application/json, */*")
            .body(Full::new(body));
        async move {
            let sent = Instant::now();
            sender.ready().await?;
            let answer = sender.send_request(request?).await?;
            let status = answer.status();
            let body = answer.into_body().collect().await?.to_bytes();
            let took = sent.elapsed();
            let allowed = br#""allowed":true"#;
            if status != 200 || !body.windows(allowed.len()).any(|text| text == allowed) {
                bail!("{status}: {}", String::from_utf8_lossy(&body));
            }
            Ok(took)
        }
    }
}

// === impl Answers ===

impl Answers {
    fn of(mut took: Vec<Duration>, time: Duration) -> Self {
        took.sort_unstable();
        Self {
            rate: took.len() as f64 / time.as_secs_f64(),
            took,
        }
    }
}
