//! Where the reverser listens.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// A place on this machine where the reverser takes reports.
///
/// Nothing else can be expressed: reports name people, and neither end of the stream
/// authenticates the other, so they travel on a unix socket or on loopback only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReverserEndpoint {
    /// `unix:/absolute/path`
    Unix(PathBuf),
    /// `http://127.0.0.1:PORT` or `http://[::1]:PORT`
    Loopback(SocketAddr),
}

/// The text names no place on this machine.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ParseEndpointError {
    /// Neither of the two schemes.
    #[error("expected unix:/path or http://127.0.0.1:PORT")]
    Scheme,
    /// `unix:` without an absolute path.
    #[error("unix: needs an absolute path")]
    RelativePath,
    /// `http://` needs an address and a port. Host names are not resolved: what they resolve to
    /// is not ours to trust.
    #[error("http:// needs an IP address and a port, such as 127.0.0.1:50052")]
    Address,
    /// The address can be reached from elsewhere.
    #[error("{0} is not a loopback address; reports never leave the pod")]
    NotLoopback(SocketAddr),
}

impl FromStr for ReverserEndpoint {
    type Err = ParseEndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path.strip_prefix("//").unwrap_or(path));
            return if path.is_absolute() {
                Ok(Self::Unix(path))
            } else {
                Err(ParseEndpointError::RelativePath)
            };
        }
        let address = text
            .strip_prefix("http://")
            .ok_or(ParseEndpointError::Scheme)?;
        let address: SocketAddr = address
            .strip_suffix('/')
            .unwrap_or(address)
            .parse()
            .map_err(|_| ParseEndpointError::Address)?;
        if address.ip().to_canonical().is_loopback() {
            Ok(Self::Loopback(address))
        } else {
            Err(ParseEndpointError::NotLoopback(address))
        }
    }
}

impl fmt::Display for ReverserEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Loopback(address) => write!(f, "http://{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_on_this_machine_are_taken() {
        for (text, shown) in [
            ("unix:/run/a.sock", "unix:/run/a.sock"),
            ("unix:///run/a.sock", "unix:/run/a.sock"),
            ("http://127.0.0.1:5", "http://127.0.0.1:5"),
            ("http://127.9.0.1:5/", "http://127.9.0.1:5"),
            ("http://[::1]:5", "http://[::1]:5"),
        ] {
            let endpoint: ReverserEndpoint = text.parse().unwrap();
            assert_eq!(endpoint.to_string(), shown);
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "unix:",
            "unix:run/a.sock",
            "unix://run/a.sock",
            "https://127.0.0.1:5",
            "http://127.0.0.1",
            "http://localhost:5",
            "http://127.0.0.1:5/path",
            "http://127.0.0.1:5@10.0.0.1:5",
            "http://0.0.0.0:5",
            "http://[::]:5",
            "http://10.0.0.1:5",
            "http://[::ffff:10.0.0.1]:5",
            "127.0.0.1:5",
        ] {
            assert!(text.parse::<ReverserEndpoint>().is_err(), "{text}");
        }
    }
}
