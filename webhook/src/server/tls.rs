//! The TLS configuration, and its replacement while serving.
//!
//! Certificate, key and client authorities are read again every few seconds and compared by
//! content, which sees a changed file and a Secret mount's swapped symlink alike. What can't be
//! loaded is logged and counted, and the old configuration stays; connections that are open keep
//! the one they began with.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::not_after::not_after;
use crate::metrics::Metrics;

/// How often the files are read. The kubelet brings a changed Secret within a minute or two.
pub const RELOAD_EVERY: Duration = Duration::from_secs(5);

/// Where the certificate, its key and the client authorities are.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// PEM, the serving certificate first.
    pub certificate: PathBuf,
    /// PEM: PKCS#8, PKCS#1 or SEC1.
    pub private_key: PathBuf,
    /// PEM. If given, clients without a certificate of these authorities are turned away.
    pub client_ca: Option<PathBuf>,
}

/// Why the files make no configuration. Nothing of their content is in here.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read.
    #[error("reading {path}: {error}")]
    Read {
        /// Which file.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// A file is not PEM, or has not what it should have in it.
    #[error("{path} has no usable {what} in it")]
    Pem {
        /// Which file.
        path: String,
        /// certificate or private key.
        what: &'static str,
    },
    /// The client authorities are of no use.
    #[error("the client CA file: {0}")]
    ClientCa(#[from] VerifierBuilderError),
    /// The key does not belong to the certificate, or rustls does not know its kind.
    #[error("the certificate and its key: {0}")]
    Config(#[from] rustls::Error),
}

/// The configuration that the next connection begins with.
#[derive(Clone)]
pub struct CurrentConfig(Arc<RwLock<Arc<ServerConfig>>>);

/// Reads the files, now and whenever they change.
pub struct Reloader {
    files: TlsFiles,
    current: CurrentConfig,
    metrics: Arc<Metrics>,
    /// Fingerprint of what was tried last, be it in use or not; `None` if it was not readable.
    tried: Option<u64>,
}

/// What the files hold. Can't be printed.
struct Content {
    certificate: Vec<u8>,
    private_key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

// === impl CurrentConfig ===

impl CurrentConfig {
    pub(crate) fn load(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.read())
    }
}

impl fmt::Debug for CurrentConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CurrentConfig").finish_non_exhaustive()
    }
}

// === impl Reloader ===

impl Reloader {
    /// The first load.
    ///
    /// # Errors
    /// Without a usable certificate there is nothing to serve.
    pub fn start(files: TlsFiles, metrics: Arc<Metrics>) -> Result<Self, TlsError> {
        let content = Content::read(&files)?;
        let (config, expiry) = content.config(&files)?;
        if let Some(expiry) = expiry {
            metrics.certificate_expiry.set(expiry);
        }
        Ok(Self {
            tried: Some(content.fingerprint()),
            current: CurrentConfig(Arc::new(RwLock::new(config))),
            files,
            metrics,
        })
    }

    /// What to accept connections with.
    #[must_use]
    pub fn current(&self) -> CurrentConfig {
        self.current.clone()
    }

    /// Looks at the files this often, until cancelled.
    pub async fn watch(mut self, every: Duration, shutdown: CancellationToken) {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = shutdown.cancelled() => return,
            }
            // A few kilobytes from a mounted Secret, which is a tmpfs: not worth a thread.
            self.look();
        }
    }

    /// Tries each content once, so that a bad one is not logged over and over. Certificate and
    /// key that were read in the middle of a swap don't fit together; the next look sees both.
    fn look(&mut self) {
        let content = Content::read(&self.files);
        let fingerprint = content.as_ref().ok().map(Content::fingerprint);
        if fingerprint == self.tried {
            return;
        }
        self.tried = fingerprint;
        let loaded = content.and_then(|content| content.config(&self.files));
        self.metrics.certificate_reload(loaded.is_ok());
        match loaded {
            Ok((config, expiry)) => {
                *self.current.0.write() = config;
                if let Some(expiry) = expiry {
                    self.metrics.certificate_expiry.set(expiry);
                }
                tracing::info!(expiry, "serving with a new certificate");
            }
            Err(error) => {
                tracing::warn!(%error, "the changed certificate is of no use; the old one stays");
            }
        }
    }
}

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloader")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

// === impl Content ===

impl Content {
    fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|error| TlsError::Read {
                path: path.display().to_string(),
                error,
            })
        };
        Ok(Self {
            certificate: read(&files.certificate)?,
            private_key: read(&files.private_key)?,
            client_ca: files.client_ca.as_deref().map(read).transpose()?,
        })
    }

    fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.certificate, &self.private_key, &self.client_ca).hash(&mut hasher);
        hasher.finish()
    }

    /// The configuration, and `notAfter` of its certificate in seconds since the epoch.
    fn config(&self, files: &TlsFiles) -> Result<(Arc<ServerConfig>, Option<i64>), TlsError> {
        let chain = certificates(&self.certificate, &files.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&self.private_key)
            .map_err(|_| unusable(&files.private_key, "private key"))?;
        let expiry = chain.first().and_then(|leaf| not_after(leaf));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let builder = match (&self.client_ca, &files.client_ca) {
            (Some(pem), Some(path)) => {
                let mut roots = RootCertStore::empty();
                for authority in certificates(pem, path)? {
                    roots.add(authority)?;
                }
                builder.with_client_cert_verifier(
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                        .build()?,
                )
            }
            _ => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok((Arc::new(config), expiry))
    }
}

/// At least one.
fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, pem::Error>>()
        .ok()
        .filter(|certificates| !certificates.is_empty())
        .ok_or_else(|| unusable(path, "certificate"))
}

fn unusable(path: &Path, what: &'static str) -> TlsError {
    TlsError::Pem {
        path: path.display().to_string(),
        what,
    }
}
