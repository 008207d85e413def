//! One bare clone for each (repository, branch): trees built on the tip, commits, pushes.
//!
//! Everything here blocks; a worker drives one [`Engine`] from a blocking thread. [`limits::init_process`]
//! comes first in `main`, before any thread.

pub mod credentials;
pub mod engine;
pub mod error;
pub mod limits;
pub mod url;

mod commit;
mod directory;
mod fetch;
mod foreign;
mod known_hosts;
mod object;
mod objects;
mod pack;
mod packs;
mod path;
mod permit;
mod probe;
mod push;
mod read;
mod record;
mod renew;
mod replay;
mod resume;
mod said;
mod scrub;
mod session;
mod signals;
mod signing;
mod sockets;
mod ssh;
mod stand_in;
mod store;
mod tls;
mod tree;
mod wire;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use commit::CommitOutcome;
pub use credentials::{Credentials, CredentialsError, secret_fingerprint};
pub(crate) use engine::is_branch_name;
pub use engine::{Engine, EngineOptions};
pub use error::{EngineError, PushError, RemoteError};
pub use fetch::RefreshOutcome;
pub(crate) use limits::make_private_directory;
pub use object::blob_id;
pub use path::PathError;
pub(crate) use path::{check as check_path, is_within};
pub use permit::{Denied, Permit};
pub use probe::probe;
pub use push::PushOutcome;
pub use read::FileEntry;
pub use resume::Resumed;
pub use signing::{Signer, SigningKeyError};
pub use url::{RepoUrl, RepoUrlError, Scheme};
