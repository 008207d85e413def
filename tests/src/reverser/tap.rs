//! Between the webhook and the reverser: a relay that cuts their stream, or slows it down.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

/// What happens to the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Relay {
    /// Everything passes.
    #[default]
    Pass,
    /// Everything passes this much later, in both directions.
    Slow(Duration),
    /// Connections break at once, and new ones are closed.
    Cut,
}

/// A relay from one unix socket to another, ended when dropped. It runs on a thread of its own.
pub(super) struct Tap {
    relay: watch::Sender<Relay>,
    path: PathBuf,
    runtime: Option<tokio::runtime::Runtime>,
}

// === impl Tap ===

impl Tap {
    /// Listens on `path` and relays to `to`.
    pub(super) fn start(path: PathBuf, to: PathBuf) -> Result<Self> {
        let listener = std::os::unix::net::UnixListener::bind(&path)
            .with_context(|| format!("listen on {}", path.display()))?;
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("tap")
            .enable_all()
            .build()
            .context("start the relay's thread")?;
        let relay = watch::Sender::new(Relay::Pass);
        runtime.spawn(accept(listener, to, relay.subscribe()));
        Ok(Self {
            relay,
            path,
            runtime: Some(runtime),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn set(&self, relay: Relay) {
        self.relay.send_replace(relay);
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn accept(
    listener: std::os::unix::net::UnixListener,
    to: PathBuf,
    relay: watch::Receiver<Relay>,
) {
    let Ok(listener) = UnixListener::from_std(listener) else {
        return;
    };
    loop {
        let Ok((near, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        tokio::spawn(connection(near, to.clone(), relay.clone()));
    }
}

async fn connection(near: UnixStream, to: PathBuf, mut relay: watch::Receiver<Relay>) {
    if *relay.borrow() == Relay::Cut {
        return;
    }
    let Ok(far) = UnixStream::connect(&to).await else {
        return;
    };
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    let up = copy(near_read, far_write, relay.clone());
    let down = copy(far_read, near_write, relay.clone());
    // Whichever ends first ends both.
    tokio::select! {
        () = up => {}
        () = down => {}
        _ = relay.wait_for(|relay| *relay == Relay::Cut) => {}
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    relay: watch::Receiver<Relay>,
) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let Ok(count @ 1..) = from.read(&mut buffer).await else {
            return;
        };
        let delay = match *relay.borrow() {
            Relay::Slow(delay) => delay,
            Relay::Pass | Relay::Cut => Duration::ZERO,
        };
        tokio::time::sleep(delay).await;
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
