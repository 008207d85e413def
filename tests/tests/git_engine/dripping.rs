//! Servers that never fall silent for long, and never come to an end.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use super::*;

/// What a server sends: all of it at once and then, a byte at a time, more without end.
enum Answer {
    Whole(Vec<u8>),
    Dripping(Vec<u8>),
}

/// A server that answers what comes first on a connection, by the first line of an HTTP request; with `None` it does not wait for one.
/// It lives as long as the tests.
fn server(answer: impl Fn(Option<&str>) -> Option<Answer> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming().map(Result::unwrap) {
            let answer = answer.clone();
            // A client that goes away is what these tests are about.
            std::thread::spawn(move || drop(talk(stream, &*answer)));
        }
    });
    address
}

fn talk(
    mut stream: TcpStream,
    answer: &dyn Fn(Option<&str>) -> Option<Answer>,
) -> std::io::Result<()> {
    let mut first = answer(None);
    loop {
        let answer = match first.take() {
            Some(answer) => answer,
            None => answer(Some(&request(&mut stream)?)).unwrap(),
        };
        match answer {
            Answer::Whole(bytes) => stream.write_all(&bytes)?,
            Answer::Dripping(bytes) => {
                stream.write_all(&bytes)?;
                loop {
                    std::thread::sleep(Duration::from_millis(200));
                    stream.write_all(b"a")?;
                }
            }
        }
    }
}

/// The first line of a request; its body is left where it is.
fn request(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head);
    Ok(head.lines().next().unwrap_or_default().to_owned())
}

fn packet(line: &str) -> String {
    format!("{:04x}{line}", line.len() + 4)
}

/// The beginning of a long answer.
fn ok(kind: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/x-git-{kind}\r\nContent-Length: 100000\r\n\r\n{body}"
    )
    .into_bytes()
}

/// The references of a repository with nothing but `main`, at `tip`.
fn references(service: &str, tip: &str) -> Answer {
    let body = [
        packet(&format!("# service=git-{service}\n")),
        "0000".to_owned(),
        packet(&format!(
            "{tip} refs/heads/main\0report-status side-band-64k ofs-delta shallow\n"
        )),
        "0000".to_owned(),
    ]
    .concat();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/x-git-{service}-advertisement\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    Answer::Whole((head + &body).into_bytes())
}

/// Fails instead of waiting for good.
fn comes_to_an_end<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    init();
    let (done, outcome) = mpsc::channel();
    std::thread::spawn(move || done.send(work()));
    let outcome = outcome.recv_timeout(Duration::from_secs(120));
    outcome.expect("it waits for the server without end")
}

fn opening(url: String) -> EngineError {
    comes_to_an_end(move || {
        let directory = temp_dir("dripping").unwrap();
        let opened = open(directory.path(), &url, Credentials::none());
        opened.err().unwrap()
    })
}

#[track_caller]
fn is_too_late(error: &dyn std::fmt::Display) {
    let error = error.to_string();
    assert!(
        error.contains("did not answer in time") && error.contains("still busy after"),
        "{error}"
    );
}

#[test]
fn a_header_without_end_is_given_up() {
    let start = b"HTTP/1.1 200 OK\r\nX-Slow: ";
    let address = server(|request| request.map(|_| Answer::Dripping(start.to_vec())));
    is_too_late(&opening(format!("http://{address}/shop.git")));
}

#[test]
fn a_list_of_references_without_end_is_given_up() {
    let service = packet("# service=git-upload-pack\n");
    let start = ok(
        "upload-pack-advertisement",
        &format!("{service}0000fff0{} refs/heads/", "1".repeat(40)),
    );
    let address = server(move |request| request.map(|_| Answer::Dripping(start.clone())));
    is_too_late(&opening(format!("http://{address}/shop.git")));
}

#[test]
fn a_tls_handshake_without_end_is_given_up() {
    // The header of a record of 16 KB.
    let address = server(|_| Some(Answer::Dripping(b"\x16\x03\x03\x40\x00".to_vec())));
    is_too_late(&opening(format!("https://{address}/shop.git")));
}

/// Here libssh2 has a timeout of its own for each of its calls, which is shorter.
#[test]
fn an_ssh_handshake_without_end_is_given_up() {
    for start in [&b""[..], b"SSH-2.0-slow\r\n", b"SSH-2.0-slow\r\n\0\0\x40\0"] {
        let address = server(|_| Some(Answer::Dripping(start.to_vec())));
        let error = comes_to_an_end(move || {
            let directory = temp_dir("dripping").unwrap();
            let key = directory.path().join("key");
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(&key)
                .status()
                .unwrap();
            assert!(made.success());
            let key = std::fs::read_to_string(key).unwrap();
            let url = format!("ssh://git@{address}/shop.git");
            let (host, port) = address.split_once(':').unwrap();
            let blob = [&[0, 0, 0, 11][..], b"ssh-ed25519", &[0, 0, 0, 32], &[7; 32]].concat();
            let known_hosts = format!("[{host}]:{port} ssh-ed25519 {}", STANDARD.encode(blob));
            let pairs = [("identity", &*key), ("known_hosts", &*known_hosts)];
            let credentials = secret(&url, &pairs).unwrap();
            open(directory.path(), &url, credentials).err().unwrap()
        });
        assert!(error.is_unreachable(), "{error}");
    }
}

#[test]
fn a_fetch_without_end_is_given_up() {
    let address = server(|request| {
        let post = request?.starts_with("POST ");
        Some(if post {
            Answer::Dripping(ok("upload-pack-result", "fff0"))
        } else {
            references("upload-pack", &"1".repeat(40))
        })
    });
    is_too_late(&opening(format!("http://{address}/shop.git")));
}

#[test]
fn a_push_without_end_is_given_up_and_commits_stay() {
    let real = GitServer::http(HttpOptions::default()).unwrap();
    let repo = real.create_seeded_repo("shop");
    let tip = repo.tip("main").unwrap();
    let address = server(move |request| {
        let request = request?;
        Some(match request.split_once("service=git-") {
            Some((_, rest)) => references(rest.split(' ').next().unwrap(), &tip),
            None => Answer::Dripping(ok("receive-pack-result", "fff0\x02")),
        })
    });
    let directory = temp_dir("dripping").unwrap();
    let at = |url: &str| EngineOptions {
        signer: None,
        work_dir: directory.path().join("clone"),
        url: RepoUrl::parse(url).unwrap(),
        branch: "main".to_owned(),
        credentials: Credentials::none(),
        committer: person("bot"),
        folders: vec!["x".to_owned()],
        marker: String::new(),
    };
    init();
    let mut engine = Engine::open(at(repo.url())).unwrap();
    engine.commit(plan("alice", "x/a.yaml", "a\n")).unwrap();
    engine.set_options(at(&format!("http://{address}/shop.git")));
    let (mut engine, outcome) = comes_to_an_end(move || {
        let outcome = engine.push();
        (engine, outcome)
    });
    is_too_late(&outcome.unwrap_err());
    engine.set_options(at(repo.url()));
    assert_eq!(
        engine.push().unwrap(),
        PushOutcome::Pushed {
            commits: 1,
            replays: 0
        }
    );
    repo.fsck().unwrap();
}
