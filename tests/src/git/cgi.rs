//! `git http-backend` as a CGI program (RFC 3875, gitprotocol-http(5)), streamed both ways.

use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::{Bytes, BytesMut};
use futures::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdout};

use super::cli::git;
use crate::process::{Guard, MARK_VARIABLE, Signal, mark, signal_group};

/// A response body.
pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// The CGI headers of git are a few hundred bytes.
const MAX_HEAD: usize = 16 * 1024;
const CHUNK: usize = 64 * 1024;
/// For git to end by itself.
const GRACE: Duration = Duration::from_secs(1);

/// A CGI process. Dropped before it has ended, because the client went away or the server stops, it is ended with its group:
/// asked first, as web servers do, so that git takes its locks away.
struct Backend {
    child: Child,
    group: u32,
}

/// What is left of the answer while it is sent.
struct Rest {
    first: BytesMut,
    stdout: ChildStdout,
    backend: Backend,
}

// === impl Backend ===

impl Drop for Backend {
    fn drop(&mut self) {
        let group = self.group;
        signal_group(group, Signal::TERM);
        std::thread::spawn(move || {
            std::thread::sleep(GRACE);
            signal_group(group, Signal::KILL);
            Guard::get().remove(group);
        });
    }
}

/// Answers one request from the repositories below `root`.
///
/// Neither body is held in memory: what git does not take yet stays at the client, and the other way round.
pub(super) async fn serve(
    root: &Path,
    log: std::fs::File,
    user: Option<&str>,
    request: Request<Incoming>,
) -> Result<Response<Body>> {
    let (parts, mut body) = request.into_parts();
    let text = |name: HeaderName| {
        parts
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let mut command = tokio::process::Command::from(git(root));
    command
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", parts.uri.path())
        .env("QUERY_STRING", parts.uri.query().unwrap_or_default())
        .env("REQUEST_METHOD", parts.method.as_str())
        .env("CONTENT_TYPE", text(header::CONTENT_TYPE))
        // git inflates a compressed body by itself, and reads up to the end where a chunked one has no length.
        .env("HTTP_CONTENT_ENCODING", text(header::CONTENT_ENCODING))
        .env(
            "GIT_PROTOCOL",
            text(HeaderName::from_static("git-protocol")),
        )
        .env("REMOTE_ADDR", "127.0.0.1");
    if let Some(length) = parts
        .headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
    {
        command.env("CONTENT_LENGTH", length);
    }
    if let Some(user) = user {
        command.env("REMOTE_USER", user);
    }
    let mut child = command
        .env(
            MARK_VARIABLE,
            mark().split_once('=').map_or("", |(_, value)| value),
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log)
        .process_group(0)
        .spawn()
        .context("start git http-backend")?;
    let group = child.id().context("git http-backend has no process id")?;
    Guard::get().add(group);
    let mut stdin = child
        .stdin
        .take()
        .context("git http-backend has no standard input")?;
    let mut stdout = child
        .stdout
        .take()
        .context("git http-backend has no standard output")?;
    let backend = Backend { child, group };

    tokio::spawn(async move {
        // An error of either side ends the copy and closes the pipe, which git sees.
        while let Some(Ok(frame)) = body.frame().await {
            if let Ok(data) = frame.into_data()
                && stdin.write_all(&data).await.is_err()
            {
                break;
            }
        }
    });

    let mut buffer = BytesMut::with_capacity(CHUNK);
    let end = loop {
        if let Some(end) = find_end(&buffer) {
            break end;
        }
        if buffer.len() > MAX_HEAD {
            bail!("git http-backend sends no end of headers");
        }
        if stdout
            .read_buf(&mut buffer)
            .await
            .context("read from git http-backend")?
            == 0
        {
            bail!("git http-backend ended before its headers did");
        }
    };
    let head = buffer.split_to(end);
    let (status, headers) = parse_head(&head)?;
    let rest = stream::try_unfold(
        Rest {
            first: buffer,
            stdout,
            backend,
        },
        |mut rest| async move {
            if rest.first.is_empty() {
                rest.first.reserve(CHUNK);
                if rest.stdout.read_buf(&mut rest.first).await? == 0 {
                    rest.backend.child.wait().await?;
                    return Ok(None);
                }
            }
            let chunk = rest.first.split().freeze();
            Ok(Some((Frame::data(chunk), rest)))
        },
    );
    let mut response = Response::new(StreamBody::new(rest).boxed_unsync());
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

/// Where the body begins.
fn find_end(head: &[u8]) -> Option<usize> {
    head.windows(4)
        .position(|four| four == b"\r\n\r\n")
        .map(|at| at + 4)
}

fn parse_head(head: &[u8]) -> Result<(StatusCode, HeaderMap)> {
    let head = std::str::from_utf8(head).context("git's headers are no text")?;
    let mut status = StatusCode::OK;
    let mut headers = HeaderMap::new();
    for line in head.lines().filter(|line| !line.is_empty()) {
        let (name, value) = line
            .split_once(':')
            .with_context(|| format!("no header: {line}"))?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("status") {
            let code = value.split(' ').next().unwrap_or_default();
            status = code
                .parse()
                .with_context(|| format!("no status: {value}"))?;
        } else {
            headers.append(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
        }
    }
    Ok((status, headers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_a_cgi_answer_is_parsed() {
        let answer = b"Status: 403 Forbidden\r\nExpires: Fri, 01 Jan 1980 00:00:00 GMT\r\n\r\nbody";
        let end = find_end(answer).unwrap();
        assert_eq!(&answer[end..], b"body");
        let (status, headers) = parse_head(&answer[..end]).unwrap();
        assert_eq!(status, StatusCode::FORBIDDEN);
        assert_eq!(headers[header::EXPIRES], "Fri, 01 Jan 1980 00:00:00 GMT");
    }
}
