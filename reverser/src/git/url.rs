//! Where a repository is.

use std::fmt::{self, Display, Formatter};

/// The address of a repository, as a user gives it: `https://`, `http://`, `ssh://`, `file://`, or `user@host:path`.
///
/// Shown without user information, so that it may go into logs and conditions. A password in the address is
/// refused: addresses are kept where anybody may read them.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RepoUrl {
    scheme: Scheme,
    user: Option<String>,
    /// Without brackets; empty for `file`.
    host: String,
    /// Only where it differs from the scheme's own.
    port: Option<u16>,
    /// With a leading `/`, except in the scp form, where it is relative to the user's home.
    path: String,
    scp: bool,
}

/// How a repository is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// TLS.
    Https,
    /// In the clear.
    Http,
    /// SSH, in either notation.
    Ssh,
    /// A directory of this machine: demos and tests only. It runs no hooks, and a concurrent push may be lost.
    File,
}

/// Why an address was refused. Holds no part of the address, which may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RepoUrlError {
    /// Nothing there.
    #[error("the repository URL is empty")]
    Empty,
    /// Another scheme, or none.
    #[error(
        "the repository URL must start with https://, http://, ssh:// or file://, or have the form git@host:path"
    )]
    Scheme,
    /// No host, or one with bytes that no host name has.
    #[error("the repository URL has no valid host")]
    Host,
    /// Not a number from 1 to 65535.
    #[error("the repository URL has no valid port")]
    Port,
    /// No path, or one that a remote shell could take for an option.
    #[error("the repository URL has no valid path")]
    Path,
    /// A password in front of the host.
    #[error("the repository URL holds a password: put it into the Secret that secretRef names")]
    Password,
    /// Control characters or spaces.
    #[error("the repository URL holds spaces or control characters")]
    Characters,
    /// `?` or `#`, which no Git server address needs and which may hold a token.
    #[error("the repository URL has a query or fragment")]
    Query,
}

// === impl Scheme ===

impl Scheme {
    fn name(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
            Self::Ssh => "ssh",
            Self::File => "file",
        }
    }

    fn default_port(self) -> Option<u16> {
        match self {
            Self::Https => Some(443),
            Self::Http => Some(80),
            Self::Ssh => Some(22),
            Self::File => None,
        }
    }
}

// === impl RepoUrl ===

impl RepoUrl {
    /// Reads an address.
    ///
    /// # Errors
    /// With the first thing that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, RepoUrlError> {
        if text.is_empty() {
            return Err(RepoUrlError::Empty);
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(RepoUrlError::Characters);
        }
        match text.split_once("://") {
            Some((scheme, rest)) => Self::parse_url(scheme, rest),
            None => Self::parse_scp(text),
        }
    }

    fn parse_url(scheme: &str, rest: &str) -> Result<Self, RepoUrlError> {
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "https" => Scheme::Https,
            "http" => Scheme::Http,
            "ssh" => Scheme::Ssh,
            "file" => Scheme::File,
            _ => return Err(RepoUrlError::Scheme),
        };
        if rest.contains(['?', '#']) && scheme != Scheme::File {
            return Err(RepoUrlError::Query);
        }
        let slash = rest.find('/').ok_or(RepoUrlError::Path)?;
        let (authority, path) = rest.split_at(slash);
        if path.trim_matches('/').is_empty() {
            return Err(RepoUrlError::Path);
        }
        if scheme == Scheme::File {
            return match authority {
                "" | "localhost" => Ok(Self::new(scheme, None, String::new(), None, path, false)),
                _ => Err(RepoUrlError::Host),
            };
        }
        let (user, host_port) = split_user(authority)?;
        let (host, port) = split_port(host_port)?;
        check_host(host)?;
        let port = port.filter(|port| scheme.default_port() != Some(*port));
        Ok(Self::new(
            scheme,
            user,
            host.to_ascii_lowercase(),
            port,
            path,
            false,
        ))
    }

    /// `[user@]host:path`, as in scp(1): a colon before any slash.
    fn parse_scp(text: &str) -> Result<Self, RepoUrlError> {
        // The colons of an IPv6 address stand in brackets.
        let after_host = match (text.find('['), text.find(']')) {
            (Some(open), Some(close)) if open < close => close,
            _ => 0,
        };
        let colon = text[after_host..].find(':').map(|at| at + after_host);
        let slash = text.find('/').unwrap_or(text.len());
        let colon = colon
            .filter(|colon| *colon < slash)
            .ok_or(RepoUrlError::Scheme)?;
        let (authority, path) = (&text[..colon], &text[colon + 1..]);
        let (user, host) = split_user(authority)?;
        let host = host
            .strip_prefix('[')
            .and_then(|h| h.strip_suffix(']'))
            .unwrap_or(host);
        check_host(host)?;
        if path.trim_matches('/').is_empty() || path.starts_with('-') {
            return Err(RepoUrlError::Path);
        }
        Ok(Self::new(
            Scheme::Ssh,
            user,
            host.to_ascii_lowercase(),
            None,
            path,
            true,
        ))
    }

    fn new(
        scheme: Scheme,
        user: Option<String>,
        host: String,
        port: Option<u16>,
        path: &str,
        scp: bool,
    ) -> Self {
        Self {
            scheme,
            user,
            host,
            port,
            path: path.to_owned(),
            scp,
        }
    }

    /// How the repository is reached.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Lower case, without brackets; empty for `file`.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port in use.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port.or(self.scheme.default_port())
    }

    /// The user in front of the host, where there is one. With https it may be a token: not to be shown.
    pub(super) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// What libgit2 connects to. With SSH it names the user; over HTTP credentials go another way.
    pub(super) fn for_transport(&self) -> String {
        let user = match (&self.user, self.scheme) {
            (Some(user), Scheme::Ssh) => format!("{user}@"),
            _ => String::new(),
        };
        if self.scp {
            format!("{user}{}:{}", bracketed(&self.host), self.path)
        } else {
            format!(
                "{}://{user}{}{}{}",
                self.scheme.name(),
                bracketed(&self.host),
                port_suffix(self.port),
                self.path
            )
        }
    }

    /// The form in which two addresses of one repository are equal: without user, default port, trailing `/` and `.git`;
    /// host in lower case, path without `//` and needless percent-encoding, the scp form as `ssh://`.
    ///
    /// The scheme stays: that https and SSH lead to one repository is something that no address tells.
    #[must_use]
    pub fn normalised(&self) -> String {
        let decoded = percent_decoded(&self.path);
        let segments: Vec<&str> = decoded
            .split('/')
            .filter(|s| !s.is_empty() && *s != ".")
            .collect();
        let path = segments.join("/");
        let path = path
            .strip_suffix(".git")
            .filter(|p| !p.is_empty() && !p.ends_with('/'))
            .unwrap_or(&path);
        format!(
            "{}://{}{}/{path}",
            self.scheme.name(),
            bracketed(&self.host),
            port_suffix(self.port)
        )
    }
}

impl Display for RepoUrl {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let slash = if self.path.starts_with('/') { "" } else { "/" };
        write!(
            f,
            "{}://{}{}{slash}{}",
            self.scheme.name(),
            bracketed(&self.host),
            port_suffix(self.port),
            self.path
        )
    }
}

impl fmt::Debug for RepoUrl {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "RepoUrl({self})")
    }
}

impl std::str::FromStr for RepoUrl {
    type Err = RepoUrlError;

    fn from_str(text: &str) -> Result<Self, RepoUrlError> {
        Self::parse(text)
    }
}

fn split_user(authority: &str) -> Result<(Option<String>, &str), RepoUrlError> {
    let Some((user, host)) = authority.rsplit_once('@') else {
        return Ok((None, authority));
    };
    if user.contains(':') {
        return Err(RepoUrlError::Password);
    }
    // A user that looks like an option could be taken for one by programs further on.
    if user.starts_with('-') || user.contains('@') {
        return Err(RepoUrlError::Host);
    }
    Ok(((!user.is_empty()).then(|| percent_decoded(user)), host))
}

fn split_port(text: &str) -> Result<(&str, Option<u16>), RepoUrlError> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or(RepoUrlError::Host)?;
        match rest.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if rest.is_empty() => (host, None),
            None => return Err(RepoUrlError::Host),
        }
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    match port {
        None | Some("") => Ok((host, None)),
        Some(port) => match port.parse::<u16>() {
            Ok(port) if port > 0 => Ok((host, Some(port))),
            _ => Err(RepoUrlError::Port),
        },
    }
}

fn check_host(host: &str) -> Result<(), RepoUrlError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if host.is_empty() || host.starts_with('-') || !host.chars().all(fits) {
        return Err(RepoUrlError::Host);
    }
    Ok(())
}

fn bracketed(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

fn port_suffix(port: Option<u16>) -> String {
    port.map(|port| format!(":{port}")).unwrap_or_default()
}

/// Leaves what is not valid percent-encoding of UTF-8 as it is.
fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes
            .get(at + 1..at + 3)
            .and_then(|h| std::str::from_utf8(h).ok());
        match hex.and_then(|h| u8::from_str_radix(h, 16).ok()) {
            Some(byte) if bytes[at] == b'%' => {
                out.push(byte);
                at += 3;
            }
            _ => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalised(text: &str) -> String {
        RepoUrl::parse(text).unwrap().normalised()
    }

    #[test]
    fn equal_repositories_normalise_alike() {
        for text in [
            "git@GitHub.com:acme/live.git",
            "github.com:acme/live",
            "ssh://git@github.com/acme/live",
            "ssh://github.com:22/acme/live.git/",
            "SSH://git@github.com//acme/./live.git",
            "ssh://git@github.com/acme/%6Cive",
        ] {
            assert_eq!(normalised(text), "ssh://github.com/acme/live", "{text}");
        }
        assert_eq!(normalised("https://h:443/a.git"), normalised("https://H/a"));
        assert_eq!(normalised("http://h:80/a/"), normalised("http://h/a"));
    }

    #[test]
    fn different_repositories_do_not_normalise_alike() {
        assert_ne!(normalised("https://h/a"), normalised("https://h:8443/a"));
        assert_ne!(normalised("https://h/a"), normalised("https://h/A"));
        assert_ne!(normalised("https://h/a"), normalised("http://h/a"));
        assert_eq!(normalised("file:///srv/a/.git"), "file:///srv/a/.git");
    }

    #[test]
    fn display_shows_no_user_information() {
        for text in [
            "https://ghp_token@github.com/acme/live.git",
            "ssh://someone@github.com/acme/live.git",
        ] {
            let url = RepoUrl::parse(text).unwrap();
            for shown in [url.to_string(), format!("{url:?}"), url.normalised()] {
                assert!(
                    !shown.contains("ghp_token") && !shown.contains("someone"),
                    "{shown}"
                );
            }
        }
        assert_eq!(
            RepoUrl::parse("git@github.com:acme/live")
                .unwrap()
                .to_string(),
            "ssh://github.com/acme/live"
        );
    }

    #[test]
    fn transport_gets_the_user_for_ssh_only() {
        let transport = |text: &str| RepoUrl::parse(text).unwrap().for_transport();
        assert_eq!(transport("git@host:a/b.git"), "git@host:a/b.git");
        assert_eq!(transport("ssh://git@host:2222/a"), "ssh://git@host:2222/a");
        assert_eq!(transport("https://token@host/a"), "https://host/a");
        assert_eq!(
            transport("ssh://git@[::1]:2222/a"),
            "ssh://git@[::1]:2222/a"
        );
        assert_eq!(transport("file:///srv/a"), "file:///srv/a");
    }

    #[test]
    fn wrong_addresses_are_refused() {
        for (text, why) in [
            ("", RepoUrlError::Empty),
            ("ftp://host/a", RepoUrlError::Scheme),
            ("/srv/git/a", RepoUrlError::Scheme),
            ("./a:b", RepoUrlError::Scheme),
            ("https://", RepoUrlError::Path),
            ("https://host", RepoUrlError::Path),
            ("https://host/", RepoUrlError::Path),
            ("https:///a", RepoUrlError::Host),
            ("https://user:secret@host/a", RepoUrlError::Password),
            ("https://host:0/a", RepoUrlError::Port),
            ("https://host:70000/a", RepoUrlError::Port),
            ("https://ho st/a", RepoUrlError::Characters),
            ("https://host/a?token=x", RepoUrlError::Query),
            ("-oProxyCommand=x:a", RepoUrlError::Host),
            ("git@host:-u", RepoUrlError::Path),
            ("file://elsewhere/a", RepoUrlError::Host),
        ] {
            assert_eq!(RepoUrl::parse(text).unwrap_err(), why, "{text}");
        }
    }
}
