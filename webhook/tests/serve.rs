//! The process as a whole, over real sockets.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod common;

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use common::client::{Authority, Identity, connect, get, post};
use common::reverser::Reverser;
use common::{eventually, review};
use http::{Request, StatusCode};
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use webhook::args::Args;
use webhook::token::PATH;
use webhook::wiring::{self, Running};

const OFTEN: Duration = Duration::from_millis(20);

struct Bed {
    directory: TempDir,
    authority: Authority,
    identity: Identity,
}

impl Bed {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let authority = Authority::new();
        let identity = authority.issue();
        identity.write(directory.path());
        Self {
            directory,
            authority,
            identity,
        }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    async fn start(&self, extra: &[String]) -> anyhow::Result<Running> {
        let file = |name: &str| self.path().join(name).display().to_string();
        let args = [
            "gitops-reverser-webhook".to_owned(),
            "--bind-address=127.0.0.1:0".to_owned(),
            "--metrics-bind-address=127.0.0.1:0".to_owned(),
            "--health-probe-bind-address=127.0.0.1:0".to_owned(),
            format!("--tls-cert-file={}", file("tls.crt")),
            format!("--tls-private-key-file={}", file("tls.key")),
            format!("--reverser-endpoint=unix:{}", file("attribution.sock")),
        ];
        let args = Args::try_parse_from(args.iter().chain(extra))?;
        wiring::start(args, OFTEN).await
    }
}

/// Lets the process run until the sender is used or dropped.
fn run(running: Running) -> (oneshot::Sender<()>, JoinHandle<anyhow::Result<()>>) {
    let (stop, stopped) = oneshot::channel();
    let ended = tokio::spawn(running.until(async {
        let _ = stopped.await;
    }));
    (stop, ended)
}

fn allowed(body: &[u8]) -> bool {
    let answer: serde_json::Value = serde_json::from_slice(body).unwrap();
    answer["response"]["allowed"] == true
}

#[tokio::test]
async fn admissions_are_answered_over_both_versions_of_http() {
    let bed = Bed::new();
    let running = bed.start(&[]).await.unwrap();
    let address = running.admissions;
    for alpn in [&b"h2"[..], b"http/1.1"] {
        let stream = connect(address, &bed.authority, alpn, None).await.unwrap();
        let (status, body) = post(stream, PATH, review("lab", "a")).await.unwrap();
        assert_eq!(status, StatusCode::OK);
        assert!(allowed(&body));
    }
}

#[tokio::test]
async fn a_malformed_body_harms_nobody_else() {
    let bed = Bed::new();
    let running = bed.start(&[]).await.unwrap();
    let client = || connect(running.admissions, &bed.authority, b"h2", None);
    for body in ["{".to_owned(), "\u{0}".repeat(100_000)] {
        let (status, _) = post(client().await.unwrap(), PATH, body).await.unwrap();
        assert_eq!(status, StatusCode::BAD_REQUEST);
    }
    let (status, _) = post(client().await.unwrap(), PATH, review("lab", "a"))
        .await
        .unwrap();
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn an_observation_reaches_the_reverser_before_the_client_has_its_answer() {
    let bed = Bed::new();
    let mut reverser = Reverser::listen(&bed.path().join("attribution.sock"));
    let running = bed.start(&[]).await.unwrap();
    reverser.greeted().await;
    let stream = connect(running.admissions, &bed.authority, b"h2", None)
        .await
        .unwrap();
    let answer = tokio::spawn(post(stream, PATH, review("lab", "a")));
    assert_eq!(reverser.observation().await, (1, "a".to_owned()));
    reverser.acknowledge(1);
    assert_eq!(answer.await.unwrap().unwrap().0, StatusCode::OK);
}

#[tokio::test]
async fn a_new_certificate_is_served_without_a_restart_and_a_bad_one_is_not() {
    let bed = Bed::new();
    let running = bed.start(&[]).await.unwrap();
    let served = || async {
        let stream = connect(running.admissions, &bed.authority, b"h2", None)
            .await
            .unwrap();
        let (_, connection) = stream.get_ref();
        connection.peer_certificates().unwrap()[0].clone()
    };
    let reloads = |result: &'static str| {
        let address = running.metrics;
        async move {
            let line = format!("certificate_reloads_total{{result=\"{result}\"}} ");
            let metrics = get(address, "/metrics").await;
            let (_, rest) = metrics.split_once(&line).unwrap();
            rest.lines().next().unwrap().parse::<u32>().unwrap()
        }
    };
    assert_eq!(served().await, bed.identity.certificate);
    let open = connect(running.admissions, &bed.authority, b"h2", None)
        .await
        .unwrap();

    let second = bed.authority.issue();
    second.write(bed.path());
    eventually(async || served().await == second.certificate).await;
    let (status, _) = post(open, PATH, review("lab", "a")).await.unwrap();
    assert_eq!(
        status,
        StatusCode::OK,
        "a connection outlives its certificate"
    );

    let failures = reloads("failure").await;
    std::fs::write(bed.path().join("tls.crt"), "not PEM").unwrap();
    eventually(async || reloads("failure").await > failures).await;
    std::fs::remove_file(bed.path().join("tls.key")).unwrap();
    assert_eq!(served().await, second.certificate);

    let third = bed.authority.issue();
    third.write(bed.path());
    eventually(async || served().await == third.certificate).await;
}

#[tokio::test]
async fn with_a_client_ca_only_its_clients_are_served() {
    let bed = Bed::new();
    let clients = Authority::new();
    std::fs::write(bed.path().join("client-ca.crt"), clients.pem()).unwrap();
    let flag = format!(
        "--client-ca-file={}",
        bed.path().join("client-ca.crt").display()
    );
    let running = bed.start(&[flag]).await.unwrap();
    let stranger = bed.authority.issue();
    for identity in [None, Some(&stranger)] {
        let status = async {
            let stream = connect(running.admissions, &bed.authority, b"h2", identity).await?;
            post(stream, PATH, review("lab", "a")).await
        };
        assert!(status.await.is_err());
    }
    let known = clients.issue();
    let stream = connect(running.admissions, &bed.authority, b"h2", Some(&known))
        .await
        .unwrap();
    let (status, _) = post(stream, PATH, review("lab", "a")).await.unwrap();
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn with_a_path_token_only_its_path_is_served() {
    let bed = Bed::new();
    let token = bed.path().join("token");
    std::fs::write(&token, "0123456789abcdef\n").unwrap();
    let flag = format!("--path-token-file={}", token.display());
    let running = bed.start(&[flag]).await.unwrap();
    let secret = format!("{PATH}/0123456789abcdef");
    for (path, expected) in [(PATH, StatusCode::NOT_FOUND), (&*secret, StatusCode::OK)] {
        let stream = connect(running.admissions, &bed.authority, b"http/1.1", None)
            .await
            .unwrap();
        let (status, _) = post(stream, path, review("lab", "a")).await.unwrap();
        assert_eq!(status, expected);
    }
}

#[tokio::test]
async fn a_start_without_a_usable_certificate_fails_and_prints_none_of_it() {
    let bed = Bed::new();
    let key = std::fs::read_to_string(bed.path().join("tls.key")).unwrap();
    bed.authority.issue().write(bed.path());
    std::fs::write(bed.path().join("tls.key"), &key).unwrap();
    let error = bed.start(&[]).await.unwrap_err();
    assert!(format!("{error:?}").contains("certificate and its key"));
    std::fs::write(bed.path().join("tls.key"), "hunter2").unwrap();
    let error = format!("{:?}", bed.start(&[]).await.unwrap_err());
    assert!(error.contains("private key") && !error.contains("hunter2"));
    std::fs::remove_file(bed.path().join("tls.key")).unwrap();
    assert!(bed.start(&[]).await.is_err());
}

#[tokio::test]
async fn health_and_metrics_are_served_while_the_reverser_is_away() {
    let bed = Bed::new();
    let running = bed.start(&[]).await.unwrap();
    for path in ["/healthz", "/readyz"] {
        assert!(get(running.health, path).await.starts_with("HTTP/1.1 200"));
    }
    let metrics = get(running.metrics, "/metrics").await;
    assert!(metrics.contains("gitopsreverser_webhook_connected 0"));
    assert!(metrics.contains("gitopsreverser_webhook_certificate_expiry_timestamp_seconds 6"));
}

#[tokio::test]
async fn a_connection_ends_once_admissions_belong_to_another_pod_and_new_ones_are_served() {
    let bed = Bed::new();
    let mut reverser = Reverser::listen(&bed.path().join("attribution.sock"));
    let running = bed.start(&[]).await.unwrap();
    reverser.greeted().await;
    reverser.standing(true);
    let open = || connect(running.admissions, &bed.authority, b"h2", None);
    let io = TokioIo::new(open().await.unwrap());
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let connection = tokio::spawn(connection);
    // Used, so that it would not be closed for two minutes.
    let request = Request::post(format!("https://localhost{PATH}"))
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(review("lab", "a"))))
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(!connection.is_finished());

    reverser.standing(false);
    let ended = tokio::time::timeout(Duration::from_secs(60), connection).await;
    ended.unwrap().unwrap().unwrap();
    let (status, _) = post(open().await.unwrap(), PATH, review("lab", "b"))
        .await
        .unwrap();
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn the_end_lets_an_answer_in_flight_out() {
    let bed = Bed::new();
    let mut reverser = Reverser::listen(&bed.path().join("attribution.sock"));
    let running = bed.start(&[]).await.unwrap();
    reverser.greeted().await;
    let address = running.admissions;
    let stream = connect(address, &bed.authority, b"h2", None).await.unwrap();
    let (stop, ended) = run(running);
    let answer = tokio::spawn(post(stream, PATH, review("lab", "a")));
    reverser.observation().await;
    stop.send(()).unwrap();
    reverser.acknowledge(1);
    assert_eq!(answer.await.unwrap().unwrap().0, StatusCode::OK);
    ended.await.unwrap().unwrap();
    assert!(connect(address, &bed.authority, b"h2", None).await.is_err());
}

/// What a client may do without an end: nothing, the beginning of a handshake, a header that goes on. Returns once it is cut off.
async fn dawdle(address: std::net::SocketAddr, bed: &Bed, manner: usize) -> std::io::Result<()> {
    match manner % 3 {
        0 | 1 => {
            let mut stream = TcpStream::connect(address).await?;
            if manner % 3 == 1 {
                // The header of a TLS record of 512 bytes, of which few follow.
                stream.write_all(&[22, 3, 1, 2, 0, 1, 0]).await?;
            }
            stream.read_to_end(&mut Vec::new()).await?;
        }
        _ => {
            let mut stream = connect(address, &bed.authority, b"http/1.1", None).await?;
            let drip = async {
                stream
                    .write_all(b"POST / HTTP/1.1\r\nhost: localhost\r\n")
                    .await?;
                loop {
                    stream.write_all(b"x: 1\r\n").await?;
                    stream.flush().await?;
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            };
            let _: std::io::Result<()> = drip.await;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_comes_to_the_point_is_cut_off() {
    let bed = Bed::new();
    let running = bed.start(&[]).await.unwrap();
    let all = (0..9).map(|manner| dawdle(running.admissions, &bed, manner));
    let all = futures::future::join_all(all);
    // The longest of them would go on for ever; ten seconds are the limit for a first request.
    let ended = tokio::time::timeout(Duration::from_secs(60), all).await;
    assert_eq!(ended.unwrap().len(), 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_connections_keeps_no_admission_out() {
    let bed = Bed::new();
    let token = bed.path().join("token");
    std::fs::write(&token, "0123456789abcdef\n").unwrap();
    let flag = format!("--path-token-file={}", token.display());
    let running = bed.start(&[flag]).await.unwrap();
    let address = running.admissions;
    let path = format!("https://localhost{PATH}/0123456789abcdef");
    let admission = |name: &str| {
        Request::post(path.clone())
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(review("lab", name))))
            .unwrap()
    };
    let apiserver = async || {
        let stream = connect(address, &bed.authority, b"h2", None).await.unwrap();
        let io = TokioIo::new(stream);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        sender
    };
    let mut first = apiserver().await;
    let answer = first.send_request(admission("first")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);

    // Three times as many as there may be, and new ones all the time.
    let flood = tokio::spawn(async move {
        let mut held = std::collections::VecDeque::new();
        loop {
            held.push_back(TcpStream::connect(address).await);
            if held.len() > 768 {
                held.pop_front();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    });
    let metrics = running.metrics;
    eventually(async || {
        let page = get(metrics, "/metrics").await;
        let line = page
            .lines()
            .find(|line| line.starts_with("gitopsreverser_webhook_connections_rejected_total "));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<u32>().ok())
            .is_some_and(|rejected| rejected > 600)
    })
    .await;
    for n in 0..20 {
        let answer = first.send_request(admission(&format!("old-{n}"))).await;
        assert_eq!(answer.unwrap().status(), StatusCode::OK);
        let mut another = apiserver().await;
        let answer = another.send_request(admission(&format!("new-{n}"))).await;
        assert_eq!(answer.unwrap().status(), StatusCode::OK);
    }
    assert!(!flood.is_finished());
    flood.abort();
}
