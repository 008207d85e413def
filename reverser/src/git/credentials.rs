//! What a Secret gives to log in with.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::known_hosts::KnownHosts;
use super::ssh::{self, KeyFlaw, SshIdentity};
use super::tls::CaBundle;
use super::url::{RepoUrl, Scheme};

/// How to log in to one repository, and whom to trust there. Can't be printed.
#[derive(Clone)]
pub struct Credentials {
    pub(super) auth: Auth,
    pub(super) ca: Option<CaBundle>,
    fingerprint: u64,
}

#[derive(Clone)]
pub(super) enum Auth {
    None,
    Basic { username: String, password: Secret },
    Bearer(Secret),
    Ssh(Box<SshIdentity>),
}

/// Text that shows itself nowhere.
#[derive(Clone)]
pub(super) struct Secret(String);

/// Why a Secret can't be used. Names keys, never values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// None of the keys that this kind of URL needs.
    #[error("the Secret has no credentials for {scheme}: it needs {wanted}")]
    NothingUsable {
        /// `HTTPS` or `SSH`.
        scheme: &'static str,
        /// The keys that would do.
        wanted: &'static str,
    },
    /// One of a pair.
    #[error("the Secret has the key {present} but not {missing}")]
    Missing {
        /// Is there.
        present: &'static str,
        /// Is not.
        missing: &'static str,
    },
    /// A value that can't be what its key says.
    #[error("the Secret's key {key} is malformed: {why}")]
    Malformed {
        /// Which.
        key: &'static str,
        /// What was expected.
        why: &'static str,
    },
    /// An encrypted key alone.
    #[error("the Secret's key {key} is encrypted: add its passphrase as ssh-password")]
    NeedsPassphrase {
        /// Which.
        key: &'static str,
    },
    /// Without it any server could pose as the right one.
    #[error(
        "the Secret has no key known_hosts: add what `{command}` prints, once you have checked it"
    )]
    NoKnownHosts {
        /// An ssh-keyscan command.
        command: String,
    },
    /// The lines are for other hosts.
    #[error(
        "the Secret's known_hosts has no line for the repository's host: add what `{command}` prints, once you have checked it"
    )]
    HostUnknown {
        /// An ssh-keyscan command.
        command: String,
    },
    /// Argo CD's Secrets name the repository that they are for.
    #[error("the Secret's key url names another host than the repository's URL")]
    ForAnotherHost,
}

const HTTPS_KEYS: &str = "username and password, or bearerToken";
const SSH_KEYS: &str = "ssh-privatekey (or identity, or sshPrivateKey) and known_hosts";

// === impl Secret ===

impl Secret {
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

// === impl Credentials ===

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(hidden)")
    }
}

impl Credentials {
    /// For public repositories and `file://`.
    #[must_use]
    pub fn none() -> Self {
        Self {
            auth: Auth::None,
            ca: None,
            fingerprint: 0,
        }
    }

    /// Reads the data of a Secret for `url`.
    ///
    /// HTTP(S): `username` and `password`, or `bearerToken`; `ca.crt` (also `caFile`) alone is enough for public repositories
    /// behind a private CA, and with it the system's CAs are not trusted for this repository. SSH: `ssh-privatekey`, `identity`
    /// (Flux) or `sshPrivateKey` (Argo CD), its passphrase `ssh-password` or `password` (Flux), and always `known_hosts`.
    /// Other keys are ignored, Argo CD's `insecure` among them. `file://` needs nothing and ignores everything.
    ///
    /// # Errors
    /// Which key is missing or malformed. Values are in no error.
    pub fn from_secret(
        url: &RepoUrl,
        data: &BTreeMap<String, Vec<u8>>,
    ) -> Result<Self, CredentialsError> {
        let data = Data(data);
        check_meant_for(url, &data)?;
        let (auth, ca) = match url.scheme() {
            Scheme::File => return Ok(Self::none()),
            Scheme::Ssh => (ssh_auth(url, &data)?, None),
            Scheme::Https | Scheme::Http => {
                let ca = ca_bundle(&data)?;
                (http_auth(url, &data, ca.is_some())?, ca)
            }
        };
        Ok(Self {
            auth,
            ca,
            fingerprint: secret_fingerprint(data.0),
        })
    }

    /// Equal as long as the Secret's data is: a change means that it was rotated. Good within one process only.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
}

fn http_auth(url: &RepoUrl, data: &Data<'_>, has_ca: bool) -> Result<Auth, CredentialsError> {
    if let Some(token) = data.text("bearerToken")? {
        // It goes into a header as it is.
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(CredentialsError::Malformed {
                key: "bearerToken",
                why: "a token has no spaces or line ends",
            });
        }
        return Ok(Auth::Bearer(Secret(token.to_owned())));
    }
    let username = data
        .text("username")?
        .map(str::to_owned)
        .or_else(|| url.user().map(str::to_owned));
    match (username, data.text("password")?) {
        (Some(username), _) if username.contains(':') => Err(CredentialsError::Malformed {
            key: "username",
            why: "HTTP basic authentication allows no colon",
        }),
        (Some(username), Some(password)) => Ok(Auth::Basic {
            username,
            password: Secret(password.to_owned()),
        }),
        (None, Some(_)) => Err(CredentialsError::Missing {
            present: "password",
            missing: "username",
        }),
        (Some(_), None) if data.has("username") => Err(CredentialsError::Missing {
            present: "username",
            missing: "password",
        }),
        (_, None) if has_ca => Ok(Auth::None),
        (_, None) => Err(CredentialsError::NothingUsable {
            scheme: "HTTPS",
            wanted: HTTPS_KEYS,
        }),
    }
}

fn ssh_auth(url: &RepoUrl, data: &Data<'_>) -> Result<Auth, CredentialsError> {
    let names = ["ssh-privatekey", "identity", "sshPrivateKey"];
    let Some(name) = names.into_iter().find(|name| data.has(name)) else {
        return Err(CredentialsError::NothingUsable {
            scheme: "SSH",
            wanted: SSH_KEYS,
        });
    };
    let passphrase = data.text("ssh-password")?.or(data.text("password")?);
    let key = data.text(name)?.unwrap_or_default();
    let key = ssh::read_key(key, passphrase.is_some()).map_err(|flaw| match flaw {
        KeyFlaw::NotAKey => CredentialsError::Malformed {
            key: name,
            why: "a private key in PEM or OpenSSH format is expected",
        },
        KeyFlaw::NeedsPassphrase => CredentialsError::NeedsPassphrase { key: name },
        KeyFlaw::Slow => CredentialsError::Malformed {
            key: name,
            why: "opening it takes too long: `ssh-keygen -p -a 100` makes it shorter",
        },
    })?;
    let port = url.port().unwrap_or(22);
    let command = || ssh::scan(url.host(), port);
    let Some(lines) = data.text("known_hosts")? else {
        return Err(CredentialsError::NoKnownHosts { command: command() });
    };
    let known_hosts = KnownHosts::parse(lines);
    if known_hosts.is_empty() {
        return Err(CredentialsError::Malformed {
            key: "known_hosts",
            why: "it has no line that can be read",
        });
    }
    if !known_hosts.knows(url.host(), port) {
        return Err(CredentialsError::HostUnknown { command: command() });
    }
    let passphrase = passphrase.map(|text| Secret(text.to_owned()));
    Ok(Auth::Ssh(Box::new(SshIdentity {
        key: Secret(key),
        passphrase,
        known_hosts,
    })))
}

fn ca_bundle(data: &Data<'_>) -> Result<Option<CaBundle>, CredentialsError> {
    for key in ["ca.crt", "caFile"] {
        if let Some(pem) = data.text(key)? {
            let why = "certificates in PEM format are expected";
            return CaBundle::parse(pem.as_bytes())
                .map(Some)
                .ok_or(CredentialsError::Malformed { key, why });
        }
    }
    Ok(None)
}

/// A password never goes to another host than the Secret says.
fn check_meant_for(url: &RepoUrl, data: &Data<'_>) -> Result<(), CredentialsError> {
    let Some(named) = data.text("url")? else {
        return Ok(());
    };
    match RepoUrl::parse(&format!("{}/", named.trim_end_matches('/')))
        .or_else(|_| RepoUrl::parse(named))
    {
        Ok(named) if named.host() == url.host() => Ok(()),
        Ok(_) => Err(CredentialsError::ForAnotherHost),
        // Argo CD's credential templates may name a host alone.
        Err(_) => match RepoUrl::parse(&format!("{}/any", named.trim_end_matches('/'))) {
            Ok(named) if named.host() == url.host() => Ok(()),
            _ => Err(CredentialsError::ForAnotherHost),
        },
    }
}

/// The Secret's values as text, without the line end that `echo` adds; an empty value counts as none.
struct Data<'a>(&'a BTreeMap<String, Vec<u8>>);

impl<'a> Data<'a> {
    fn text(&self, key: &'static str) -> Result<Option<&'a str>, CredentialsError> {
        let Some(bytes) = self.0.get(key) else {
            return Ok(None);
        };
        let text = std::str::from_utf8(bytes)
            .map_err(|_| CredentialsError::Malformed {
                key,
                why: "it is not UTF-8 text",
            })?
            .trim_end_matches(['\r', '\n']);
        if text.contains('\0') {
            return Err(CredentialsError::Malformed {
                key,
                why: "it has a zero byte",
            });
        }
        Ok((!text.is_empty()).then_some(text))
    }

    fn has(&self, key: &str) -> bool {
        self.0.get(key).is_some_and(|bytes| !bytes.is_empty())
    }
}

/// Stands for the data of a Secret: another one means that it was changed. Good within one process only.
#[must_use]
pub fn secret_fingerprint(data: &BTreeMap<String, Vec<u8>>) -> u64 {
    let mut hasher = DefaultHasher::new();
    data.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str, pairs: &[(&str, &str)]) -> Result<Credentials, CredentialsError> {
        let data = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()))
            .collect();
        Credentials::from_secret(&RepoUrl::parse(url).unwrap(), &data)
    }

    const KEY: &str =
        "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n";
    const HOSTS: &str =
        "h ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB\n";

    #[test]
    fn basic_and_bearer_are_read_for_https() {
        let basic = read("https://h/a", &[("username", "bot"), ("password", "pw\n")]).unwrap();
        assert!(
            matches!(&basic.auth, Auth::Basic { username, password } if username == "bot" && password.expose() == "pw")
        );
        let bearer = read("https://h/a", &[("bearerToken", "t0k")]).unwrap();
        assert!(matches!(&bearer.auth, Auth::Bearer(token) if token.expose() == "t0k"));
    }

    #[test]
    fn shapes_of_flux_and_argo_cd_are_read() {
        let shapes: [&[(&str, &str)]; 3] = [
            &[
                ("identity", KEY),
                ("identity.pub", "ssh-ed25519 A"),
                ("known_hosts", HOSTS),
                ("password", "phrase"),
            ],
            &[
                ("sshPrivateKey", KEY),
                ("known_hosts", HOSTS),
                ("type", "git"),
                ("url", "git@h:a/b"),
            ],
            &[("ssh-privatekey", KEY), ("known_hosts", HOSTS)],
        ];
        for shape in shapes {
            assert!(matches!(
                read("ssh://git@h/a/b", shape).unwrap().auth,
                Auth::Ssh(_)
            ));
        }
        let argo = [
            ("type", "git"),
            ("url", "https://h"),
            ("username", "u"),
            ("password", "p"),
            ("project", "x"),
        ];
        assert!(matches!(
            read("https://h/a", &argo).unwrap().auth,
            Auth::Basic { .. }
        ));
    }

    #[test]
    fn ssh_without_known_hosts_says_what_to_add() {
        let error = read("ssh://git@h:2222/a", &[("identity", KEY)])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("known_hosts") && error.contains("ssh-keyscan -p 2222 h"),
            "{error}"
        );
        let error = read(
            "ssh://git@other/a",
            &[("identity", KEY), ("known_hosts", HOSTS)],
        )
        .unwrap_err();
        assert_eq!(
            error,
            CredentialsError::HostUnknown {
                command: "ssh-keyscan other".to_owned()
            }
        );
        let error = read(
            "ssh://git@h/a",
            &[("identity", KEY), ("known_hosts", "nonsense")],
        )
        .unwrap_err();
        assert!(matches!(
            error,
            CredentialsError::Malformed {
                key: "known_hosts",
                ..
            }
        ));
    }

    #[test]
    fn credentials_of_another_host_are_not_used() {
        let argo = [
            ("url", "https://elsewhere/a"),
            ("username", "u"),
            ("password", "p"),
        ];
        assert_eq!(
            read("https://h/a", &argo).unwrap_err(),
            CredentialsError::ForAnotherHost
        );
    }

    #[test]
    fn errors_and_debug_show_no_value() {
        let secret = "hunter2";
        let errors = [
            read("https://h/a", &[("password", secret)])
                .unwrap_err()
                .to_string(),
            read("https://h/a", &[("username", secret)])
                .unwrap_err()
                .to_string(),
            read("https://h/a", &[("bearerToken", "hunter2 x")])
                .unwrap_err()
                .to_string(),
            read("https://h/a", &[("ca.crt", secret)])
                .unwrap_err()
                .to_string(),
            read("ssh://git@h/a", &[("identity", secret)])
                .unwrap_err()
                .to_string(),
            format!(
                "{:?}",
                read("https://h/a", &[("bearerToken", secret)]).unwrap()
            ),
        ];
        for error in errors {
            assert!(!error.contains(secret), "{error}");
        }
    }

    #[test]
    fn rotation_changes_the_fingerprint() {
        let of = |token| {
            read("https://h/a", &[("bearerToken", token)])
                .unwrap()
                .fingerprint()
        };
        assert_eq!(of("a"), of("a"));
        assert_ne!(of("a"), of("b"));
    }

    #[test]
    fn empty_secret_says_what_is_needed() {
        assert!(
            read("https://h/a", &[])
                .unwrap_err()
                .to_string()
                .contains("bearerToken")
        );
        assert!(
            read("ssh://git@h/a", &[("username", "u"), ("password", "p")])
                .unwrap_err()
                .to_string()
                .contains("ssh-privatekey")
        );
        assert!(read("file:///a", &[]).is_ok());
    }
}
