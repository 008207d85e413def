//! `gitops-reverser probe`: whether an installation works, asked from beside it. The chart's `helm test` runs it, as the
//! image has no shell.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use http::{Request, Uri};
use http_body_util::{BodyExt, Limited};
use kube::client::Body;
use kube::{Client, Config};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::time::Instant;

use crate::args::parse_duration;
use crate::observe::chain;

/// What a sidecar's metrics say of its stream to the reverser.
const CONNECTED: &str = "gitopsreverser_webhook_connected";

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(500);

/// Longer than any page of metrics.
const MAX_PAGE: usize = 16 << 20;

/// What to ask.
#[derive(Clone, Debug, Args)]
pub struct ProbeArgs {
    /// Where the webhook is served (https://…): any answer will do, over a connection that the CA vouches for
    #[arg(
        long,
        env = "GITOPS_REVERSER_WEBHOOK_URL",
        required_unless_present = "metrics_url"
    )]
    pub webhook_url: Option<Uri>,

    /// The CA of the webhook's certificate, PEM; the system's without it
    #[arg(long, env = "GITOPS_REVERSER_CA")]
    pub ca: Option<String>,

    /// A page of metrics that must be there; a sidecar's must say that it is connected to the reverser. Repeated, or
    /// separated by commas
    #[arg(long, env = "GITOPS_REVERSER_METRICS_URL", value_delimiter = ',')]
    pub metrics_url: Vec<Uri>,

    /// How long it may take until everything is as it should be
    #[arg(long, env = "GITOPS_REVERSER_TIMEOUT", default_value = "30s", value_parser = parse_duration)]
    pub timeout: Duration,
}

/// What is not as it should be.
#[derive(Debug, thiserror::Error)]
enum ProbeError {
    #[error("--ca holds no certificate in PEM format")]
    NoCertificate,
    #[error("{}", chain(.0))]
    Connect(#[from] kube::Error),
    #[error("the answer is cut off, or too long: {0}")]
    Answer(Box<dyn std::error::Error + Send + Sync>),
    #[error("it answers {0}")]
    Status(http::StatusCode),
    #[error("it is no page of metrics of ours")]
    NoMetrics,
    #[error("the webhook is not connected to the reverser")]
    NotConnected,
}

/// Asks until everything answers as it should, or the time is over.
#[must_use]
pub fn run(args: &ProbeArgs) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let asked = match runtime {
        Ok(runtime) => runtime.block_on(ask_all(args)),
        Err(error) => Err(format!("the process can't be set up: {error}")),
    };
    match asked {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn ask_all(args: &ProbeArgs) -> Result<(), String> {
    let end = Instant::now() + args.timeout;
    if let Some(url) = &args.webhook_url {
        until(end, url, || ask_webhook(url, args.ca.as_deref())).await?;
    }
    for url in &args.metrics_url {
        until(end, url, || ask_metrics(url)).await?;
    }
    Ok(())
}

async fn until(
    end: Instant,
    url: &Uri,
    ask: impl AsyncFn() -> Result<(), ProbeError>,
) -> Result<(), String> {
    loop {
        let error = match ask().await {
            Ok(()) => {
                println!("ok: {url}");
                return Ok(());
            }
            Err(error) => error,
        };
        if Instant::now() + PAUSE > end || matches!(error, ProbeError::NoCertificate) {
            return Err(format!("{url}: {error}"));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Whatever it says to a GET, which is no review: that it says something is enough.
async fn ask_webhook(url: &Uri, ca: Option<&str>) -> Result<(), ProbeError> {
    get(url, ca).await.map(drop)
}

async fn ask_metrics(url: &Uri) -> Result<(), ProbeError> {
    let (status, page) = get(url, None).await?;
    if !status.is_success() {
        return Err(ProbeError::Status(status));
    }
    judge_metrics(&page)
}

fn judge_metrics(page: &str) -> Result<(), ProbeError> {
    if !page.lines().any(|line| line.starts_with("gitopsreverser_")) {
        return Err(ProbeError::NoMetrics);
    }
    let connected = |line: &str| Some(line.strip_prefix(CONNECTED)?.trim() == "1");
    match page.lines().find_map(connected) {
        Some(false) => Err(ProbeError::NotConnected),
        // The reverser's own page does not speak of it.
        Some(true) | None => Ok(()),
    }
}

/// With the client for the apiserver, which is an HTTP client like any other.
async fn get(url: &Uri, ca: Option<&str>) -> Result<(http::StatusCode, String), ProbeError> {
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let mut config = Config::new(url.clone());
    // Of the server; the path comes with the request.
    let mut server = url.clone().into_parts();
    server.path_and_query = Some(http::uri::PathAndQuery::from_static("/"));
    if let Ok(server) = Uri::from_parts(server) {
        config.cluster_url = server;
    }
    config.connect_timeout = Some(PATIENCE);
    config.read_timeout = Some(PATIENCE);
    config.default_retry = false;
    config.root_cert = ca.map(certificates).transpose()?;
    let request = Request::get(path)
        .body(Body::empty())
        .map_err(kube::Error::HttpError)?;
    let answer = Client::try_from(config)?.send(request).await?;
    let status = answer.status();
    let page = Limited::new(answer.into_body(), MAX_PAGE)
        .collect()
        .await
        .map_err(ProbeError::Answer)?;
    let page = String::from_utf8_lossy(&page.to_bytes()).into_owned();
    Ok((status, page))
}

fn certificates(pem: &str) -> Result<Vec<Vec<u8>>, ProbeError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match read {
        Ok(found) if !found.is_empty() => Ok(found.iter().map(|der| der.to_vec()).collect()),
        _ => Err(ProbeError::NoCertificate),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_ours_and_a_sidecars_says_that_it_is_connected() {
        let other = "gitopsreverser_commits_total 7\n";
        assert!(judge_metrics(other).is_ok());
        assert!(judge_metrics(&format!("{other}{CONNECTED} 1\n")).is_ok());
        let cut = format!("# HELP {CONNECTED} x\n# TYPE {CONNECTED} gauge\n{CONNECTED} 0\n");
        assert!(matches!(judge_metrics(&cut), Err(ProbeError::NotConnected)));
        for page in ["", "up 1\n", "# HELP gitopsreverser_x y\n"] {
            assert!(matches!(judge_metrics(page), Err(ProbeError::NoMetrics)));
        }
    }

    #[test]
    fn what_is_no_certificate_is_refused_rather_than_ignored() {
        for pem in ["", "hello", "-----BEGIN CERTIFICATE-----\n"] {
            assert!(matches!(certificates(pem), Err(ProbeError::NoCertificate)));
        }
    }
}
