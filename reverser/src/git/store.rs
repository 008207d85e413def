//! The bare clone on disk, and objects that are not on disk yet.

use std::ffi::OsStr;
use std::path::Path;

use git2::{
    ErrorClass, ErrorCode, ObjectType, Oid, Repository, RepositoryInitOptions, RepositoryOpenFlags,
};

use super::error::EngineError;
use super::url::RepoUrl;

/// Where the clone notes what it is a clone of.
const URL_KEY: &str = "gitops-reverser.url";
const BRANCH_KEY: &str = "gitops-reverser.branch";

/// The last of our saved commits.
pub(super) const LOCAL_REF: &str = "refs/gitops-reverser/local";
const STATE_FILE: &str = "gitops-reverser-state";

/// Read before loose objects (1) and packs (2).
const MEMPACK_PRIORITY: i32 = 1000;

/// Memory that written objects may take before they are given back at the next save, in bytes. A batch is 1 MiB of files by
/// default; each of its commits adds the bytes of the folders it changes.
const MAX_MEMORY: usize = 64 << 20;

/// What is to be known of a clone after its process was killed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Recorded {
    /// The last of our commits.
    pub(super) local: Option<Oid>,
    /// What the first of those that were not pushed stands on.
    pub(super) base: Option<Oid>,
}

impl Recorded {
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let mut next = || match lines.next()? {
            "none" => Some(None),
            hex => Oid::from_str(hex).ok().map(Some),
        };
        Some(Self {
            local: next()?,
            base: next()?,
        })
    }
}

impl std::fmt::Display for Recorded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for oid in [self.local, self.base] {
            match oid {
                Some(oid) => writeln!(f, "{oid}")?,
                None => writeln!(f, "none")?,
            }
        }
        Ok(())
    }
}

/// A clone whose new objects stay in memory until they are saved as one pack.
pub(super) struct Store {
    repository: Repository,
    /// Written since the last save, in order.
    unsaved: Vec<Oid>,
    /// Bytes in memory, saved or not.
    in_memory: usize,
}

impl Store {
    /// Opens the clone in `directory`, or makes an empty one: also where what is there is damaged, or of another
    /// repository or branch, and is thrown away for that.
    pub(super) fn open(directory: &Path, url: &RepoUrl, branch: &str) -> Result<Self, EngineError> {
        match reuse(directory, url, branch) {
            Ok(repository) => Ok(Self {
                repository,
                unsaved: Vec::new(),
                in_memory: 0,
            }),
            // Out of descriptors, or a failing disk: no reason to throw away commits that were not pushed.
            Err(error)
                if error.class() == ErrorClass::Os && error.code() != ErrorCode::NotFound =>
            {
                Err(EngineError::local("cannot open the clone", &error))
            }
            Err(_) => Self::create(directory, url, branch),
        }
    }

    /// Throws away whatever is in `directory`.
    pub(super) fn create(
        directory: &Path,
        url: &RepoUrl,
        branch: &str,
    ) -> Result<Self, EngineError> {
        match std::fs::remove_dir_all(directory) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(EngineError::io("cannot throw away the old clone", &error));
            }
            _ => {}
        }
        super::timeouts::make_private_directory(directory)
            .map_err(|error| EngineError::io("cannot make the directory of the clone", &error))?;
        let make = || -> Result<Repository, git2::Error> {
            let mut options = RepositoryInitOptions::new();
            options.bare(true).external_template(false).no_reinit(true);
            let repository = Repository::init_opts(directory, &options)?;
            let mut config = repository.config()?;
            // Any size is a big file then, and big files are not searched for deltas: libgit2 1.9 reads
            // core.bigFileThreshold from this key (pack-objects.c, packbuilder_config).
            config.set_i64("pack.deltaCacheSize", 1)?;
            config.set_str(BRANCH_KEY, branch)?;
            // Last: a clone without it is thrown away.
            config.set_str(URL_KEY, &url.normalised())?;
            with_memory(repository)
        };
        let repository =
            make().map_err(|error| EngineError::local("cannot make the clone", &error))?;
        Ok(Self {
            repository,
            unsaved: Vec::new(),
            in_memory: 0,
        })
    }

    pub(super) fn repository(&self) -> &Repository {
        &self.repository
    }

    pub(super) fn objects(&mut self) -> Result<Objects<'_>, EngineError> {
        let odb = self
            .repository
            .odb()
            .map_err(|error| EngineError::local("cannot open the object database", &error))?;
        Ok(Objects {
            odb,
            unsaved: &mut self.unsaved,
            in_memory: &mut self.in_memory,
        })
    }

    pub(super) fn odb(&self) -> Result<git2::Odb<'_>, EngineError> {
        self.repository
            .odb()
            .map_err(|error| EngineError::local("cannot open the object database", &error))
    }

    /// What was recorded last; nothing where it can't be read.
    pub(super) fn recorded(&self) -> Recorded {
        std::fs::read_to_string(self.repository.path().join(STATE_FILE))
            .ok()
            .and_then(|text| Recorded::parse(&text))
            .unwrap_or_default()
    }

    /// In one step: a killed process leaves the old record or the new one.
    pub(super) fn record(&self, recorded: Recorded) -> Result<(), EngineError> {
        // A reference too: fetches tell the server that we have it, and pushes name it.
        if let Some(local) = recorded.local {
            self.repository
                .reference(LOCAL_REF, local, true, "")
                .map_err(|error| {
                    EngineError::local("cannot set a reference of the clone", &error)
                })?;
        }
        let file = self.repository.path().join(STATE_FILE);
        let fresh = file.with_extension("new");
        std::fs::write(&fresh, recorded.to_string())
            .and_then(|()| std::fs::rename(&fresh, &file))
            .map_err(|error| EngineError::io("cannot record the state of the clone", &error))
    }

    pub(super) fn packs(&self) -> usize {
        std::fs::read_dir(self.repository.path().join("objects/pack")).map_or(0, Iterator::count)
            / 2
    }

    /// Writes what is in memory only into one pack. What has been saved survives the process.
    pub(super) fn save(&mut self) -> Result<(), EngineError> {
        if !self.unsaved.is_empty() {
            let pack = || -> Result<(), git2::Error> {
                let mut builder = self.repository.packbuilder()?;
                builder.set_threads(1);
                for oid in &self.unsaved {
                    builder.insert_object(*oid, None)?;
                }
                builder.write(&self.repository.path().join("objects/pack"), 0)
            };
            pack().map_err(|error| EngineError::local("cannot write a pack", &error))?;
            self.unsaved.clear();
        }
        if self.in_memory > MAX_MEMORY {
            self.release()
        } else {
            Ok(())
        }
    }

    /// Gives back the memory of what has been saved.
    pub(super) fn release(&mut self) -> Result<(), EngineError> {
        if self.in_memory == 0 || !self.unsaved.is_empty() {
            return Ok(());
        }
        let reopen = || with_memory(open(self.repository.path())?);
        self.repository =
            reopen().map_err(|error| EngineError::local("cannot open the clone again", &error))?;
        self.in_memory = 0;
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn loose_objects(&self) -> usize {
        let objects = self.repository.path().join("objects");
        let folders = std::fs::read_dir(objects).unwrap().filter_map(Result::ok);
        folders
            .filter(|entry| entry.file_name().len() == 2)
            .map(|folder| std::fs::read_dir(folder.path()).unwrap().count())
            .sum()
    }
}

fn reuse(directory: &Path, url: &RepoUrl, branch: &str) -> Result<Repository, git2::Error> {
    remove_leftovers(directory);
    let repository = open(directory)?;
    let config = repository.config()?.snapshot()?;
    if config.get_str(URL_KEY)? != url.normalised() || config.get_str(BRANCH_KEY)? != branch {
        return Err(git2::Error::from_str("a clone of something else"));
    }
    with_memory(repository)
}

/// A process that was killed leaves locks, which would stop this one for good, and packs half written. The directory is
/// ours alone. Best effort: what can't be removed will be an error later, if it matters.
fn remove_leftovers(clone: &Path) {
    let leftover = |folder: &str, name: &str| match folder {
        "objects/pack" => !name.starts_with("pack-"),
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
fn open(directory: &Path) -> Result<Repository, git2::Error> {
    let flags = RepositoryOpenFlags::NO_SEARCH | RepositoryOpenFlags::BARE;
    Repository::open_ext(directory, flags, &[] as &[&OsStr])
}

fn with_memory(repository: Repository) -> Result<Repository, git2::Error> {
    // The backend lives as long as the repository's object database, which every handle from `odb()` shares.
    repository
        .odb()?
        .add_new_mempack_backend(MEMPACK_PRIORITY)?;
    Ok(repository)
}

/// The object database, noting what is written.
pub(super) struct Objects<'a> {
    odb: git2::Odb<'a>,
    unsaved: &'a mut Vec<Oid>,
    in_memory: &'a mut usize,
}

impl Objects<'_> {
    pub(super) fn read_tree(&self, oid: Oid) -> Result<Vec<u8>, git2::Error> {
        read_object(&self.odb, oid, ObjectType::Tree)
    }

    pub(super) fn write(&mut self, kind: ObjectType, data: &[u8]) -> Result<Oid, git2::Error> {
        let oid = self.odb.write(kind, data)?;
        self.unsaved.push(oid);
        *self.in_memory += data.len();
        Ok(oid)
    }
}

pub(super) fn read_object(
    odb: &git2::Odb<'_>,
    oid: Oid,
    kind: ObjectType,
) -> Result<Vec<u8>, git2::Error> {
    let object = odb.read(oid)?;
    if object.kind() != kind {
        return Err(git2::Error::new(
            ErrorCode::Invalid,
            ErrorClass::Odb,
            format!("{oid} is not a {kind}"),
        ));
    }
    Ok(object.data().to_vec())
}
