//! Whether a repository is there and lets us in, without fetching anything.

use std::path::Path;

use git2::Repository;

use super::credentials::Credentials;
use super::error::EngineError;
use super::fetch::{NOTHING, options};
use super::session::Session;
use super::url::RepoUrl;

/// Lists the references of a repository, as `git ls-remote` does. `scratch` is an empty bare
/// repository that libgit2 wants to talk from; made where it is missing, and never filled.
///
/// # Errors
/// The remote's, and those of the disk.
pub fn probe(scratch: &Path, url: &RepoUrl, credentials: &Credentials) -> Result<(), EngineError> {
    let local = |error: git2::Error| EngineError::local("cannot make a scratch repository", &error);
    let session = Session::new(url, credentials);
    session.prepare()?;
    let repository = {
        // Several are asked at once, and two may not make it at the same time.
        static MAKING: parking_lot::Mutex<()> = parking_lot::Mutex::new(());
        let _one = MAKING.lock();
        Repository::open_bare(scratch)
            .or_else(|_| Repository::init_bare(scratch))
            .map_err(local)?
    };
    let mut remote = repository
        .remote_anonymous(&url.for_transport())
        .map_err(local)?;
    remote
        .download(&[NOTHING], Some(&mut options(&session, 0)))
        .map_err(|error| session.error(&error).into())
}
