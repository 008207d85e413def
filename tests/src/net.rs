//! Loopback ports, and the smallest HTTP client that can read a health or metrics endpoint.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context, Result};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Below every system's ephemeral range, so that no outgoing connection takes a port while its server restarts.
const FIRST: u16 = 18_000;
const COUNT: u16 = 12_000;

/// A free port on 127.0.0.1, handed out once per process. Another process could still take it before it is bound; the choice
/// is random among thousands, so that parallel test runs do not meet.
///
/// # Panics
/// If no port is free.
#[must_use]
pub fn free_port() -> u16 {
    static TAKEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);
    let mut taken = TAKEN.lock();
    let taken = taken.get_or_insert_default();
    let random = RandomState::new();
    (0..100_000_u32)
        .map(|attempt| {
            FIRST + u16::try_from(random.hash_one(attempt) % u64::from(COUNT)).unwrap_or(0)
        })
        .find(|port| {
            !taken.contains(port)
                && TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()
                && taken.insert(*port)
        })
        .unwrap_or_else(|| panic!("no port is free on 127.0.0.1"))
}

/// Status and body of a plain GET.
///
/// # Errors
/// If nothing listens there or the answer is not HTTP.
pub async fn http_get(address: &str, path: &str) -> Result<(u16, String)> {
    // HTTP/1.0: the answer ends with the connection and is not chunked.
    http(
        address,
        &format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n"),
    )
    .await
}

/// Status and body of a plain POST of JSON.
///
/// # Errors
/// If nothing listens there or the answer is not HTTP.
pub async fn http_post(address: &str, path: &str, json: &str) -> Result<(u16, String)> {
    let length = json.len();
    http(
        address,
        &format!(
            "POST {path} HTTP/1.0\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{json}"
        ),
    )
    .await
}

async fn http(address: &str, request: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)
        .await
        .with_context(|| format!("connect to {address}"))?;
    stream.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    let answer = String::from_utf8_lossy(&bytes);
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .context("the answer has no end of headers")?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .context("the answer has no status")?;
    Ok((status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_handed_out_once() {
        let ports: HashSet<u16> = (0..50).map(|_| free_port()).collect();
        assert_eq!(ports.len(), 50);
    }
}
