//! Why there is no snapshot. Each is one line for people.

use std::path::PathBuf;

use crate::git::{CredentialsError, EngineError, PathError, PushError, RepoUrlError};
use crate::secrets::KeyError;

/// Nothing was written.
#[derive(Debug, thiserror::Error)]
pub(super) enum SnapshotError {
    #[error("--log-level: {0}")]
    LogLevel(#[from] tracing_subscriber::filter::ParseError),
    #[error(
        "--repo holds a password: put it into $GITOPS_REVERSER_GIT_PASSWORD or a file in --credentials-dir"
    )]
    PasswordInUrl,
    #[error("--repo: {0}")]
    Url(RepoUrlError),
    #[error("--branch: '{0}' is not a branch name that git accepts")]
    Branch(String),
    #[error("--folder: {0}")]
    Folder(#[from] PathError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("--secret-policy=Encrypt needs --age-recipients, and the key in --redaction-key-file")]
    NobodyToEncryptFor,
    #[error("--credentials-dir: {path} can't be read: {source}")]
    CredentialsDirectory {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "the credentials for Git can't be used (the files in --credentials-dir and the GITOPS_REVERSER_GIT_… variables stand \
         for the Secret): {0}"
    )]
    Credentials(#[from] CredentialsError),
    #[error("the work directory {path} can't be used: {why}")]
    WorkDirectory { path: PathBuf, why: String },
    #[error("the process can't be set up: {0}")]
    Process(String),
    #[error("no cluster: {0}")]
    NoCluster(String),
    #[error("the cluster can't be reached, or does not answer as one: {0}")]
    Cluster(String),
    #[error(
        "the cluster can't be told from others, as this user may not get namespace kube-system: {0}"
    )]
    NoClusterId(String),
    #[error("there is no namespace '{0}' in the cluster")]
    NoNamespace(String),
    #[error("--resource: {}", .0.join("; "))]
    Unresolved(Vec<String>),
    #[error("{0}")]
    Engine(#[from] EngineError),
    #[error("{0}")]
    Push(#[from] PushError),
    #[error("branch '{0}' does not exist in the repository")]
    NoBranch(String),
    #[error("{0} can't be read, so nobody knows whose folder it is in; mend or delete the file")]
    UnreadableMarker(String),
    #[error(
        "folder '{folder}' belongs to cluster {cluster}, and this is cluster {here}; choose another folder, or give \
         --take-over={cluster} if that cluster no longer writes to it"
    )]
    ForeignFolder {
        folder: String,
        cluster: String,
        here: String,
    },
    #[error(
        "folder '{folder}' belongs to GitDestination {destination} of this cluster, which would undo a snapshot; compare with it by \
         --diff, choose another folder, or give --take-over={destination} if nothing writes to it any more"
    )]
    OperatorsFolder { folder: String, destination: String },
    #[error("others changed folder '{0}' each time while the cluster was read")]
    Moved(String),
}
