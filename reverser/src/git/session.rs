//! One conversation with a remote: credentials, trust, deadline, and what the server says beside the protocol.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use git2::{
    CertificateCheckStatus, Cred, CredentialType, ErrorClass, ErrorCode, RemoteCallbacks,
    RemoteRedirect,
};

use super::credentials::{Auth, Credentials};
use super::error::RemoteError;
use super::limits;
use super::said::Said;
use super::scrub::scrub;
use super::signals::Blocked;
use super::sockets::{self, Allowance};
use super::ssh;
use super::url::RepoUrl;

pub(super) struct Session<'a> {
    url: &'a RepoUrl,
    credentials: &'a Credentials,
    /// Time and bytes of the step that it is in.
    allowed: Cell<(Duration, u64)>,
    said: RefCell<Said>,
    /// Why we don't trust the server. libgit2's SSH transport has words of its own for it.
    distrust: RefCell<Option<String>>,
    _signals: Blocked,
}

impl<'a> Session<'a> {
    pub(super) fn new(url: &'a RepoUrl, credentials: &'a Credentials) -> Self {
        let session = Self {
            url,
            credentials,
            allowed: Cell::default(),
            said: RefCell::default(),
            distrust: RefCell::default(),
            _signals: Blocked::new(),
        };
        let limits = limits::current();
        session.allow(limits.discovery, limits.references);
        session
    }

    /// The references are known: the fetch or push proper begins, and ends at once if there were too many.
    pub(super) fn begin_transfer(&self) {
        sockets::look();
        if sockets::is_overrun() {
            return;
        }
        let limits = limits::current();
        self.allow(limits.transfer, limits.received);
    }

    /// For all that comes next, on connections that are open or opened now.
    fn allow(&self, time: Duration, received: u64) {
        self.allowed.set((time, received));
        sockets::allow(Allowance {
            deadline: Instant::now() + time,
            received,
        });
    }

    /// Before connecting.
    pub(super) fn prepare(&self) -> Result<(), RemoteError> {
        if let Auth::Ssh(identity) = &self.credentials.auth {
            let port = self.url.port().unwrap_or(22);
            ssh::hint(identity, self.url.host(), port).map_err(|error| {
                RemoteError::Unreachable {
                    message: format!("cannot write libgit2's known_hosts: {error}"),
                }
            })?;
        }
        Ok(())
    }

    /// Headers beside those of the protocol.
    pub(super) fn headers(&self) -> Vec<String> {
        match &self.credentials.auth {
            Auth::Bearer(token) => vec![format!("Authorization: Bearer {}", token.expose())],
            _ => Vec::new(),
        }
    }

    /// To the same host only: libgit2 would send headers, and offer credentials, to wherever it is led.
    pub(super) fn redirects() -> RemoteRedirect {
        RemoteRedirect::None
    }

    pub(super) fn callbacks(&self) -> RemoteCallbacks<'_> {
        let mut callbacks = RemoteCallbacks::new();
        let asked = Cell::new(0_u32);
        callbacks.credentials(move |_, user, allowed| self.log_in(&asked, user, allowed));
        callbacks.certificate_check(|certificate, host| self.check_certificate(certificate, host));
        callbacks.transfer_progress(|_| {
            sockets::look();
            self.may_go_on()
        });
        callbacks.sideband_progress(|said| {
            self.said.borrow_mut().write_down(said);
            self.may_go_on()
        });
        callbacks
    }

    /// Whether the step that it is in may go on: there is time left, and not too much has come.
    pub(super) fn may_go_on(&self) -> bool {
        !sockets::is_over()
    }

    /// Fit to be shown; empty where the server said nothing.
    pub(super) fn said(&self) -> String {
        scrub(&self.said.borrow().words())
    }

    pub(super) fn error(&self, error: &git2::Error) -> RemoteError {
        if let Some(message) = self.distrust.take() {
            return RemoteError::Untrusted { message };
        }
        let (time, received) = self.allowed.get();
        if sockets::is_overrun() {
            let mib = received >> 20;
            let message = format!("it sent more than {mib} MiB");
            return RemoteError::TooLarge { message };
        }
        if !self.may_go_on() {
            // Whatever libgit2 calls it: a broken connection, for the most part.
            let seconds = time.as_secs();
            let message = format!("it was still busy after {seconds} s");
            return RemoteError::Timeout { message };
        }
        RemoteError::classify(error, &self.said())
    }

    /// libgit2 asks again after each rejection, without end.
    fn log_in(
        &self,
        asked: &Cell<u32>,
        user: Option<&str>,
        allowed: CredentialType,
    ) -> Result<Cred, git2::Error> {
        let refuse = |why: &str| Err(git2::Error::new(ErrorCode::Auth, ErrorClass::Callback, why));
        let ssh_user = user.or(self.url.user()).unwrap_or("git");
        if allowed.contains(CredentialType::USERNAME) {
            return Cred::username(ssh_user);
        }
        asked.set(asked.get() + 1);
        if asked.get() > 1 {
            return refuse("authentication failed");
        }
        match &self.credentials.auth {
            Auth::Basic { username, password }
                if allowed.contains(CredentialType::USER_PASS_PLAINTEXT) =>
            {
                Cred::userpass_plaintext(username, password.expose())
            }
            Auth::Ssh(identity)
                if allowed.intersects(CredentialType::SSH_KEY | CredentialType::SSH_MEMORY) =>
            {
                let passphrase = identity
                    .passphrase
                    .as_ref()
                    .map(super::credentials::Secret::expose);
                Cred::ssh_key_from_memory(ssh_user, None, identity.key.expose(), passphrase)
            }
            Auth::Bearer(_) => refuse("authentication failed"),
            Auth::None => refuse("authentication required, and no secretRef is given"),
            _ => refuse("authentication required, of a kind that the Secret has nothing for"),
        }
    }

    fn check_certificate(
        &self,
        certificate: &git2::cert::Cert<'_>,
        host: &str,
    ) -> Result<CertificateCheckStatus, git2::Error> {
        let refuse = |why: String| {
            let error = git2::Error::new(ErrorCode::Certificate, ErrorClass::Callback, &why);
            self.distrust.replace(Some(why));
            Err(error)
        };
        if let Some(x509) = certificate.as_x509() {
            return match &self.credentials.ca {
                Some(bundle) => bundle
                    .verify(x509.data(), host)
                    .map(|()| CertificateCheckStatus::CertificateOk)
                    .or_else(refuse),
                // libgit2's own verdict, by the system's CAs.
                None => Ok(CertificateCheckStatus::CertificatePassthrough),
            };
        }
        let key = certificate
            .as_hostkey()
            .and_then(git2::cert::CertHostkey::hostkey);
        match (&self.credentials.auth, key) {
            (Auth::Ssh(identity), Some(key)) => identity
                .verify_host(host, self.url.port().unwrap_or(22), key)
                .map(|()| CertificateCheckStatus::CertificateOk)
                .or_else(refuse),
            (Auth::Ssh(_), None) => refuse("the server showed no host key".to_owned()),
            _ => refuse("SSH needs a Secret with a private key and known_hosts".to_owned()),
        }
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        sockets::done();
    }
}
