//! Git over HTTP and HTTPS.

use std::convert::Infallible;
use std::fs::{File, OpenOptions};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::auth::HttpAuth;
use super::cgi::{self, Body};
use super::repo::GitClient;
use super::{Repo, SshGitServer, SshOptions, create_repo};
use crate::certs::{Authority, install_crypto_provider};
use crate::process::temp_dir;

/// How to start a Git server.
#[derive(Clone, Debug, Default)]
pub struct HttpOptions {
    /// Who may do what.
    pub auth: HttpAuth,
}

/// How the server misbehaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// It does not.
    #[default]
    None,
    /// It refuses every credential (401).
    Unauthorized,
    /// It takes the request and never answers, until the fault is lifted; the request is then served.
    Hang,
    /// It answers every request with this status.
    Status(u16),
    /// It leads every request to the same path at this port of `localhost`, which is another host than `127.0.0.1`.
    Redirect(u16),
}

/// A Git server over HTTP or HTTPS on 127.0.0.1, ended when dropped. It runs on threads of its own: a test may block.
pub struct GitServer {
    state: Arc<State>,
    url: String,
    ca: Option<(String, PathBuf)>,
    runtime: Option<tokio::runtime::Runtime>,
    directory: tempfile::TempDir,
}

/// What its connections share.
struct State {
    root: PathBuf,
    log: File,
    auth: HttpAuth,
    fault: watch::Sender<Fault>,
    requests: AtomicU64,
    push_requests: AtomicU64,
}

// === impl HttpOptions ===

impl HttpOptions {
    /// Basic authentication for everything.
    #[must_use]
    pub fn basic(user: &str, password: &str) -> Self {
        Self {
            auth: HttpAuth::Basic {
                user: user.to_owned(),
                password: password.into(),
            },
        }
    }

    /// A bearer token for everything.
    #[must_use]
    pub fn bearer(token: &str) -> Self {
        Self {
            auth: HttpAuth::Bearer(token.into()),
        }
    }
}

// === impl GitServer ===

impl GitServer {
    /// Starts an HTTPS server whose certificate is signed by an authority of its own ([`GitServer::ca_pem`]).
    ///
    /// # Errors
    /// If no port can be had.
    pub fn https(options: HttpOptions) -> Result<Self> {
        Self::start(options, Some(&Authority::new("gitops-reverser-test-git")?))
    }

    /// Starts a server without TLS.
    ///
    /// # Errors
    /// If no port can be had.
    pub fn http(options: HttpOptions) -> Result<Self> {
        Self::start(options, None)
    }

    /// Starts an sshd for Git.
    ///
    /// # Errors
    /// [`MissingTool`](crate::process::MissingTool) without sshd; else if it does not start, with the end of its log.
    pub fn ssh(options: SshOptions) -> Result<SshGitServer> {
        SshGitServer::start(options)
    }

    fn start(options: HttpOptions, authority: Option<&Authority>) -> Result<Self> {
        install_crypto_provider();
        let directory = temp_dir("git-http")?;
        let root = directory.path().join("repositories");
        std::fs::create_dir(&root).context("make the repositories' directory")?;
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(directory.path().join("http-backend.log"))?;
        let mut ca = None;
        let mut acceptor = None;
        if let Some(authority) = authority {
            acceptor = Some(tls(authority)?);
            let path = directory.path().join("ca.crt");
            std::fs::write(&path, authority.pem()).context("write the authority")?;
            ca = Some((authority.pem(), path));
        }
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .context("bind a port on 127.0.0.1")?;
        listener.set_nonblocking(true)?;
        let scheme = if acceptor.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr()?);
        let state = Arc::new(State {
            root,
            log,
            auth: options.auth,
            fault: watch::Sender::new(Fault::None),
            requests: AtomicU64::new(0),
            push_requests: AtomicU64::new(0),
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("git-server")
            .enable_all()
            .build()
            .context("start the server's threads")?;
        runtime.spawn(accept(Arc::clone(&state), listener, acceptor));
        Ok(Self {
            state,
            url,
            ca,
            runtime: Some(runtime),
            directory,
        })
    }

    /// `https://127.0.0.1:{port}`, without a path.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.url
    }

    /// A repository's URL, without credentials.
    #[must_use]
    pub fn url(&self, repo: &str) -> String {
        format!("{}/{repo}.git", self.url)
    }

    /// The authority that signed its certificate.
    ///
    /// # Panics
    /// If it serves plain HTTP.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        self.ca.as_ref().map_or_else(
            || panic!("a plain HTTP server has no certificate"),
            |(pem, _)| pem,
        )
    }

    /// A git command line that trusts the server and authenticates by the configured basic credentials, if there are any.
    #[must_use]
    pub fn git_client(&self) -> GitClient {
        let basic = match &self.state.auth {
            HttpAuth::Basic { user, password } => Some((user.clone(), password.clone())),
            HttpAuth::Open | HttpAuth::Bearer(_) => None,
        };
        GitClient {
            ca_file: self.ca.as_ref().map(|(_, path)| path.clone()),
            basic,
            ssh_command: None,
        }
    }

    /// Makes an empty bare repository.
    ///
    /// # Panics
    /// If git fails.
    #[must_use]
    pub fn create_repo(&self, name: &str) -> Repo {
        create_repo(&self.state.root, name, self.url(name))
            .unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Makes a bare repository with one commit by somebody else: a README.md.
    ///
    /// # Panics
    /// If git fails.
    #[must_use]
    pub fn create_seeded_repo(&self, name: &str) -> Repo {
        let repo = self.create_repo(name);
        repo.commit_as_outsider("README.md", format!("# {name}\n"));
        repo
    }

    /// Makes it misbehave from the next request on, or behave again.
    pub fn set_fault(&self, fault: Fault) {
        self.state.fault.send_replace(fault);
    }

    /// How many requests have come in, refused ones included.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.state.requests.load(Ordering::Relaxed)
    }

    /// How many of them were for a push: as to what there is, or with one.
    #[must_use]
    pub fn push_requests(&self) -> u64 {
        self.state.push_requests.load(Ordering::Relaxed)
    }

    /// Where the repositories and the log are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Not the blocking kind, which panics when a test of its own runtime drops the server.
            runtime.shutdown_background();
        }
    }
}

fn tls(authority: &Authority) -> Result<TlsAcceptor> {
    let identity = authority.server("git", &["127.0.0.1", "localhost"])?;
    let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes())
        .context("read the certificate")?;
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).context("read the key")?;
    let mut config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .context("serve with the certificate")?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn accept(state: Arc<State>, listener: std::net::TcpListener, acceptor: Option<TlsAcceptor>) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => panic!("the Git server can't listen: {error}"),
    };
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely: they come back.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        tokio::spawn(connection(Arc::clone(&state), stream, acceptor.clone()));
    }
}

async fn connection(state: Arc<State>, stream: TcpStream, acceptor: Option<TlsAcceptor>) {
    let service = service_fn(move |request| answer(Arc::clone(&state), request));
    let server = hyper::server::conn::http1::Builder::new();
    // A client that goes away, or does not trust us, is no matter of ours.
    match acceptor {
        Some(acceptor) => {
            if let Ok(stream) = acceptor.accept(stream).await {
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            }
        }
        None => {
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        }
    }
}

async fn answer(
    state: Arc<State>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    state.requests.fetch_add(1, Ordering::Relaxed);
    if request.uri().to_string().contains("git-receive-pack") {
        state.push_requests.fetch_add(1, Ordering::Relaxed);
    }
    let mut fault = state.fault.subscribe();
    let now = fault
        .wait_for(|fault| *fault != Fault::Hang)
        .await
        .map_or(Fault::None, |fault| *fault);
    match now {
        Fault::None | Fault::Hang => {}
        Fault::Unauthorized => return Ok(unauthorized(&state.auth)),
        Fault::Status(status) => return Ok(status_only(status)),
        Fault::Redirect(port) => return Ok(redirect(port, &request)),
    }
    let Ok(user) = state
        .auth
        .check(request.headers().get(header::AUTHORIZATION))
    else {
        return Ok(unauthorized(&state.auth));
    };
    let served = match state.log.try_clone() {
        Ok(log) => cgi::serve(&state.root, log, user.as_deref(), request).await,
        Err(error) => Err(error.into()),
    };
    Ok(served.unwrap_or_else(|error| {
        use std::io::Write as _;
        let _ = writeln!(&state.log, "{error:#}");
        status_only(500)
    }))
}

fn unauthorized(auth: &HttpAuth) -> Response<Body> {
    let mut response = status_only(401);
    let challenge = match auth {
        HttpAuth::Bearer(_) => "Bearer realm=\"git\"",
        HttpAuth::Open | HttpAuth::Basic { .. } => "Basic realm=\"git\"",
    };
    response.headers_mut().insert(
        header::WWW_AUTHENTICATE,
        HeaderValue::from_static(challenge),
    );
    response
}

/// Off this host by its name, though not by its address.
fn redirect(port: u16, request: &Request<Incoming>) -> Response<Body> {
    let path = request.uri().path_and_query().map_or("/", |it| it.as_str());
    let mut response = status_only(302);
    if let Ok(to) = HeaderValue::from_str(&format!("https://localhost:{port}{path}")) {
        response.headers_mut().insert(header::LOCATION, to);
    }
    response
}

fn status_only(status: u16) -> Response<Body> {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let text = Bytes::from(format!("{status}\n"));
    let mut response = Response::new(
        Full::new(text)
            .map_err(|never| match never {})
            .boxed_unsync(),
    );
    *response.status_mut() = status;
    response
}
