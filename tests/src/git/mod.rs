//! Real Git servers on loopback ports, and the repositories behind them.
//!
//! Over HTTP and HTTPS it is `git http-backend`, over SSH it is sshd: pushes go through `git receive-pack` with its
//! compare-and-swap of refs and its hooks, which a `file://` URL does not.

mod auth;
mod cgi;
mod cli;
mod http;
mod log;
mod repo;
mod ssh;

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result};

pub use auth::HttpAuth;
pub use http::{Fault, GitServer, HttpOptions};
pub use log::{Commit, FileChange};
pub use repo::{GitClient, Repo};
pub use ssh::{SshGitServer, SshOptions};

/// The branch that a new repository's HEAD names.
pub const DEFAULT_BRANCH: &str = "main";

/// A password or token, which no log and no failure shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

// === impl Secret ===

impl Secret {
    /// The value itself, for a Kubernetes Secret or a credential helper.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(value: &str) -> Self {
        Self(value.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

/// Makes a bare repository below a server's root.
fn create_repo(root: &Path, name: &str, url: String) -> Result<Repo> {
    Repo::init(&root.join(format!("{name}.git")), url)
        .with_context(|| format!("make repository {name}"))
}
