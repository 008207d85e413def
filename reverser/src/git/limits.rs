//! What libgit2 keeps for the whole process.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

/// How long servers are waited for, and how much is taken from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For accepting a connection.
    pub connect: Duration,
    /// For anything at all within one read or write.
    pub silence: Duration,
    /// For all of connecting, logging in and the list of references.
    pub discovery: Duration,
    /// For all that follows of one fetch or push.
    pub transfer: Duration,
    /// Bytes until the references are known. libgit2 holds all of them in memory: 48 MB for a list of 30 MB.
    pub references: u64,
    /// Bytes of one fetch or push. What is fetched goes to disk.
    pub received: u64,
}

impl Default for Limits {
    /// 10 s and 30 s. Git servers send keep-alives every 5 s while they work (`uploadpack.keepAlive`,
    /// `receive.keepAlive`), so silence means trouble. A list of 100,000 references is some 7 MB, for which 2 minutes are enough on any
    /// line that a clone can be fetched on; 10 minutes are for a large repository on a slow one, or for slow hooks.
    ///
    /// 32 MiB are half a million references, twice as many as the largest repositories on GitHub have. 1 GiB is the tip of a branch,
    /// without its history.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            silence: Duration::from_secs(30),
            discovery: Duration::from_secs(120),
            transfer: Duration::from_secs(600),
            references: 32 << 20,
            received: 1 << 30,
        }
    }
}

/// Bytes of the largest file that is read: ten times what etcd takes of an object, and what that is as YAML.
pub(super) const MAX_BLOB: usize = 32 << 20;
/// Bytes of the largest folder, or commit, that is read: some 600,000 entries.
pub(super) const MAX_TREE: usize = 32 << 20;
/// Files and folders that are listed at once. A few objects, each naming another many times, can stand for more files than there is
/// memory for.
pub(super) const MAX_LISTED: usize = 1_000_000;

static CURRENT: OnceLock<Limits> = OnceLock::new();

/// Those of [`init_process`], or else the default ones.
pub(super) fn current() -> Limits {
    CURRENT.get().copied().unwrap_or_default()
}

/// What went wrong in setting up the process.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitError {
    /// The directory could not be made.
    #[error("cannot make the directory {path}: {source}")]
    Home {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// libgit2 refused.
    #[error("cannot set up libgit2: {0}")]
    Libgit2(#[from] git2::Error),
}

/// Sets limits, finds the system's CA certificates, and gives libgit2 a home directory of its own. Without it, a
/// server that never answers is waited for without end.
///
/// To be called once, first in `main`, before there is any other thread. `home` is made where it is missing, readable
/// by the owner only; the user's own `~/.gitconfig` and `~/.ssh` are then never looked at.
///
/// # Errors
/// Where `home` can't be made or libgit2 refuses.
pub fn init_process(home: &Path, limits: Limits) -> Result<(), InitError> {
    make_private_directory(home).map_err(|source| InitError::Home {
        path: home.display().to_string(),
        source,
    })?;
    set_options(home, limits)?;
    let _ = CURRENT.set(limits);
    super::ssh::set_hint_home(home);
    Ok(())
}

pub(crate) fn make_private_directory(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

#[allow(unsafe_code)]
fn set_options(home: &Path, limits: Limits) -> Result<(), git2::Error> {
    use git2::{ConfigLevel, opts};
    use std::os::unix::ffi::OsStrExt;

    let millis = |duration: Duration| {
        libc::c_int::try_from(duration.as_millis()).unwrap_or(libc::c_int::MAX)
    };
    let home = std::ffi::CString::new(home.as_os_str().as_bytes())?;
    // SAFETY: these write libgit2's globals, unsynchronised. Called first in `main`, nothing else uses libgit2 yet.
    // The first call of git2 also initialises libgit2 and, through openssl-probe, sets SSL_CERT_FILE and SSL_CERT_DIR
    // where they are unset: another reason for being the only thread.
    unsafe {
        opts::set_server_connect_timeout_in_milliseconds(millis(limits.connect))?;
        opts::set_server_timeout_in_milliseconds(millis(limits.silence))?;
        for level in [ConfigLevel::Global, ConfigLevel::XDG, ConfigLevel::System] {
            opts::set_search_path(level, &home)?;
        }
        let status = libgit2_sys::git_libgit2_opts(
            libgit2_sys::GIT_OPT_SET_HOMEDIR as libc::c_int,
            home.as_ptr(),
        );
        if status < 0 {
            return Err(git2::Error::last_error(status));
        }
        // What is read is compared with its id by ourselves, in a quarter of the time (see `store`).
        opts::strict_hash_verification(false);
        super::wire::register()?;
        super::sockets::register()
    }
}
