//! Where a process listens.

use std::io::{Error, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::TcpListener;

/// Listens on an address. `[::]` is every address of both families, as long as `net.ipv6.bindv6only` is 0, which is Linux's
/// default; on a machine without IPv6 it is every IPv4 address.
///
/// # Errors
/// When the address is taken, not ours, or not one of this machine.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    match TcpListener::bind(address).await {
        Err(error)
            if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && !is_about_port(&error) =>
        {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        listening => listening,
    }
}

fn is_about_port(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::AddrInUse | ErrorKind::PermissionDenied
    )
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn every_address_is_of_both_families() {
        let everywhere = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        let listener = listen(everywhere).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .await
            .unwrap();
        if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await.is_ok() {
            TcpStream::connect((Ipv6Addr::LOCALHOST, port))
                .await
                .unwrap();
        }
    }

    #[tokio::test]
    async fn a_taken_port_is_an_error() {
        let first = listen(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)))
            .await
            .unwrap();
        let port = first.local_addr().unwrap().port();
        let again = listen(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await;
        assert_eq!(again.unwrap_err().kind(), ErrorKind::AddrInUse);
    }
}
