//! Where gRPC is served: a unix socket or a loopback address, nothing else.

use std::fmt;
use std::fs;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};
use tonic::transport::server::Router;

/// An address that only this pod can reach.
///
/// Whoever can write to `Attribution.Report` can forge authors, and introspection names every
/// watched object. So an address that others could reach is refused when it is parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BindAddress {
    /// `unix:/path`, `unix:///path`
    Unix(PathBuf),
    /// `127.0.0.1:port`, `[::1]:port`; port 0 lets the system choose.
    Loopback(SocketAddr),
}

/// A text is no address to serve gRPC on.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ParseBindAddressError {
    /// A relative path would depend on where the process was started.
    #[error("the path of unix:{0} is not absolute")]
    RelativePath(String),
    /// Others could reach it.
    #[error("{0} is not a loopback address: gRPC is served on unix:/path, 127.0.0.1 or [::1] only")]
    NotLoopback(SocketAddr),
    /// Neither form.
    #[error("{0:?} is neither unix:/path nor a loopback ip:port")]
    Syntax(String),
}

impl FromStr for BindAddress {
    type Err = ParseBindAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if Path::new(path).is_absolute() {
                Ok(Self::Unix(path.into()))
            } else {
                Err(ParseBindAddressError::RelativePath(path.to_owned()))
            };
        }
        let address = text.strip_prefix("http://").unwrap_or(text);
        let address = match address.strip_prefix("localhost:") {
            // Resolving the name could give anything; what is meant is clear.
            Some(port) => format!("127.0.0.1:{port}"),
            None => address.to_owned(),
        };
        match address.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_loopback() => Ok(Self::Loopback(address)),
            Ok(address) => Err(ParseBindAddressError::NotLoopback(address)),
            Err(_) => Err(ParseBindAddressError::Syntax(text.to_owned())),
        }
    }
}

impl fmt::Display for BindAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Loopback(address) => write!(f, "{address}"),
        }
    }
}

/// An address could not be served on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process answers on this socket.
    #[error("{} is in use by a running process", .0.display())]
    InUse(PathBuf),
    /// There is something that is no socket, and it is not ours to remove.
    #[error("{} exists and is not a socket", .0.display())]
    NotASocket(PathBuf),
    /// The system refused.
    #[error("can't listen on {address}")]
    Io {
        /// Where.
        address: BindAddress,
        /// What it said.
        #[source]
        source: io::Error,
    },
}

/// Owner and group: the two containers share a group, nobody else gets in.
const SOCKET_MODE: u32 = 0o660;

/// A bound address, accepting connections once it is served.
#[derive(Debug)]
pub struct Endpoint {
    listener: Listener,
    address: BindAddress,
}

#[derive(Debug)]
enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Endpoint {
    /// Binds; a socket that a dead process left behind is replaced.
    ///
    /// # Errors
    /// See [`BindError`].
    pub async fn bind(address: &BindAddress) -> Result<Self, BindError> {
        let failed = |source| BindError::Io {
            address: address.clone(),
            source,
        };
        match address {
            BindAddress::Unix(path) => {
                remove_stale(path).await?;
                let listener = UnixListener::bind(path).map_err(failed)?;
                let mode = fs::Permissions::from_mode(SOCKET_MODE);
                fs::set_permissions(path, mode).map_err(failed)?;
                Ok(Self {
                    listener: Listener::Unix(listener),
                    address: address.clone(),
                })
            }
            BindAddress::Loopback(wanted) => {
                let listener = TcpListener::bind(wanted).await.map_err(failed)?;
                let bound = listener.local_addr().map_err(failed)?;
                Ok(Self {
                    listener: Listener::Tcp(listener),
                    address: BindAddress::Loopback(bound),
                })
            }
        }
    }

    /// Where it really listens: with the port that the system chose.
    #[must_use]
    pub fn address(&self) -> &BindAddress {
        &self.address
    }

    /// Serves until `shutdown`, then lets open calls end. The socket file goes with it.
    ///
    /// # Errors
    /// Accepting failed for good.
    pub async fn serve(
        self,
        router: Router,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), tonic::transport::Error> {
        match self.listener {
            Listener::Unix(listener) => {
                let incoming = UnixListenerStream::new(listener);
                let served = router
                    .serve_with_incoming_shutdown(incoming, shutdown)
                    .await;
                if let BindAddress::Unix(path) = &self.address {
                    // Left behind it is only stale: the next start removes it.
                    let _ = fs::remove_file(path);
                }
                served
            }
            Listener::Tcp(listener) => {
                let incoming = TcpListenerStream::new(listener);
                router
                    .serve_with_incoming_shutdown(incoming, shutdown)
                    .await
            }
        }
    }
}

/// Removes a socket that nobody answers on.
async fn remove_stale(path: &Path) -> Result<(), BindError> {
    let failed = |source| BindError::Io {
        address: BindAddress::Unix(path.to_owned()),
        source,
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            Err(BindError::NotASocket(path.to_owned()))
        }
        Ok(_) => match UnixStream::connect(path).await {
            Ok(_) => Err(BindError::InUse(path.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(path).map_err(failed)
            }
            Err(error) => Err(failed(error)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sockets_and_loopback_parse() {
        for text in [
            "unix:/run/x.sock",
            "unix:///run/x.sock",
            "127.0.0.1:50051",
            "127.8.8.8:1",
            "[::1]:0",
            "localhost:5",
            "http://127.0.0.1:5",
        ] {
            text.parse::<BindAddress>().expect(text);
        }
        for text in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "192.168.0.1:80"] {
            assert!(matches!(
                text.parse::<BindAddress>(),
                Err(ParseBindAddressError::NotLoopback(_))
            ));
        }
        for text in [
            "",
            "127.0.0.1",
            ":50051",
            "example.com:1",
            "localhost:x",
            "[fe80::1%lo]:1",
        ] {
            assert!(matches!(
                text.parse::<BindAddress>(),
                Err(ParseBindAddressError::Syntax(_))
            ));
        }
        assert!(matches!(
            "unix:x.sock".parse::<BindAddress>(),
            Err(ParseBindAddressError::RelativePath(_))
        ));
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let address = BindAddress::Unix(dir.path().join("x.sock"));
        let first = Endpoint::bind(&address).await.unwrap();
        assert!(matches!(
            Endpoint::bind(&address).await,
            Err(BindError::InUse(_))
        ));
        drop(first);
        let second = Endpoint::bind(&address).await.unwrap();
        let BindAddress::Unix(path) = second.address() else {
            panic!("bound elsewhere");
        };
        let mode = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, SOCKET_MODE);
    }

    #[tokio::test]
    async fn a_file_in_the_way_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("precious");
        fs::write(&path, "data").unwrap();
        assert!(matches!(
            Endpoint::bind(&BindAddress::Unix(path.clone())).await,
            Err(BindError::NotASocket(_))
        ));
        assert_eq!(fs::read_to_string(path).unwrap(), "data");
    }

    #[tokio::test]
    async fn the_system_chooses_port_0() {
        let address = "127.0.0.1:0".parse().unwrap();
        let endpoint = Endpoint::bind(&address).await.unwrap();
        assert!(matches!(
            endpoint.address(),
            BindAddress::Loopback(bound) if bound.port() != 0
        ));
    }
}
