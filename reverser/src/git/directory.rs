//! The directory of a clone: used again where it is sound and of the right branch, made otherwise.

use std::ffi::OsStr;
use std::path::Path;

use git2::{ErrorClass, ErrorCode, Repository, RepositoryInitOptions, RepositoryOpenFlags};

use super::error::EngineError;
use super::url::RepoUrl;

/// Where the clone notes what it is a clone of.
const URL_KEY: &str = "gitops-reverser.url";
const BRANCH_KEY: &str = "gitops-reverser.branch";

/// Opens the clone, or makes an empty one: also where what is there is damaged, or of another repository or branch, and is
/// thrown away for that.
pub(super) fn open_or_make(
    directory: &Path,
    url: &RepoUrl,
    branch: &str,
) -> Result<Repository, EngineError> {
    match reuse(directory, url, branch) {
        Ok(repository) => Ok(repository),
        // Out of descriptors, or a failing disk: no reason to throw away commits that were not pushed.
        Err(error) if error.class() == ErrorClass::Os && error.code() != ErrorCode::NotFound => {
            Err(EngineError::local("cannot open the clone", &error))
        }
        Err(_) => make(directory, url, branch),
    }
}

/// Throws away whatever is there, and makes an empty clone.
pub(super) fn make(
    directory: &Path,
    url: &RepoUrl,
    branch: &str,
) -> Result<Repository, EngineError> {
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(EngineError::io("cannot throw away the old clone", &error));
        }
        _ => {}
    }
    super::limits::make_private_directory(directory)
        .map_err(|error| EngineError::io("cannot make the directory of the clone", &error))?;
    let make = || -> Result<Repository, git2::Error> {
        let mut options = RepositoryInitOptions::new();
        options.bare(true).external_template(false).no_reinit(true);
        let repository = Repository::init_opts(directory, &options)?;
        let mut config = repository.config()?;
        // For `file://`, where libgit2 makes the pack. Any size is a big file then, and big files are not searched for
        // deltas: libgit2 1.9 reads core.bigFileThreshold from this key (pack-objects.c, packbuilder_config).
        config.set_i64("pack.deltaCacheSize", 1)?;
        config.set_str(BRANCH_KEY, branch)?;
        // Last: a clone without it is thrown away.
        config.set_str(URL_KEY, &url.normalised())?;
        Ok(repository)
    };
    make().map_err(|error| EngineError::local("cannot make the clone", &error))
}

fn reuse(directory: &Path, url: &RepoUrl, branch: &str) -> Result<Repository, git2::Error> {
    remove_leftovers(directory);
    let repository = open(directory)?;
    let config = repository.config()?.snapshot()?;
    if config.get_str(URL_KEY)? != url.normalised() || config.get_str(BRANCH_KEY)? != branch {
        return Err(git2::Error::from_str("a clone of something else"));
    }
    Ok(repository)
}

/// A process that was killed leaves locks, which would stop this one for good, and packs half written. The directory is
/// ours alone. Best effort: what can't be removed will be an error later, if it matters.
fn remove_leftovers(clone: &Path) {
    let _ = std::fs::remove_dir_all(clone.join(super::renew::FOLDER));
    let packs = clone.join("objects/pack");
    let leftover = |folder: &str, name: &str| match folder {
        // A pack without its index is one that was under way.
        "objects/pack" => {
            !name.starts_with("pack-")
                || (name.ends_with(".pack") && !packs.join(name).with_extension("idx").exists())
        }
        _ => name.ends_with(".lock"),
    };
    for folder in ["", "refs/gitops-reverser", "objects/pack"] {
        let Ok(files) = std::fs::read_dir(clone.join(folder)) else {
            continue;
        };
        for file in files.filter_map(Result::ok) {
            if leftover(folder, &file.file_name().to_string_lossy()) {
                let _ = std::fs::remove_file(file.path());
            }
        }
    }
}

/// Not `Repository::open_bare`: that one does not read the `shallow` file, and every walk then fails at the commit
/// below which there is nothing (libgit2 1.9, `git_repository_open_bare` never loads grafts).
pub(super) fn open(directory: &Path) -> Result<Repository, git2::Error> {
    let flags = RepositoryOpenFlags::NO_SEARCH | RepositoryOpenFlags::BARE;
    Repository::open_ext(directory, flags, &[] as &[&OsStr])
}
