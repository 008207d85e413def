//! The bare clone on disk, and objects that are not on disk yet.

use std::collections::HashSet;
use std::path::Path;

use bytes::Bytes;
use git2::{Oid, Repository};

use super::directory;
use super::error::EngineError;
use super::limits::{MAX_BLOB, MAX_TREE};
use super::object::{CommitText, Kind, hash};
use super::objects::{Kept, Objects};
use super::pack::{Draft, Encoder, Stream};
use super::packs::Packs;
use super::record::Recorded;
use super::url::RepoUrl;

/// The last of our saved commits. Not below `refs/`, where fetches look for what to tell the server that we have: of commits that
/// it may or may not have got, it would leave out what the clone has no reason to keep.
pub(super) const LOCAL_REF: &str = "GITOPS_REVERSER_LOCAL";

/// What the remote has and the clone too: fetches tell it to the server.
const KNOWN_REF: &str = "refs/gitops-reverser/known";

/// A commit of the remote's at which nothing in our folders was somebody else's.
const SETTLED_REF: &str = "GITOPS_REVERSER_SETTLED";

/// Compressed objects that may be in memory before they are written as a pack, in bytes.
const MAX_DRAFT: usize = 8 << 20;

/// A clone whose new objects stay in memory until they are saved as one pack.
pub(super) struct Store {
    repository: Repository,
    /// What is not on disk.
    pub(super) draft: Draft,
    pub(super) kept: Kept,
    pub(super) packs: Packs,
    recorded: Recorded,
}

impl Store {
    /// Opens the clone in `directory`, or makes an empty one: also where what is there is damaged, or of another
    /// repository or branch, and is thrown away for that.
    pub(super) fn open(directory: &Path, url: &RepoUrl, branch: &str) -> Result<Self, EngineError> {
        directory::open_or_make(directory, url, branch).map(Self::with)
    }

    /// Throws away whatever is in `directory`.
    pub(super) fn create(
        directory: &Path,
        url: &RepoUrl,
        branch: &str,
    ) -> Result<Self, EngineError> {
        directory::make(directory, url, branch).map(Self::with)
    }

    fn with(repository: Repository) -> Self {
        let recorded = Recorded::read(repository.path());
        Self {
            draft: Draft::default(),
            kept: Kept::default(),
            packs: Packs::new(repository.path(), &recorded.packs),
            recorded,
            repository,
        }
    }

    pub(super) fn repository(&self) -> &Repository {
        &self.repository
    }

    /// For the objects of one commit; `made` gets to know them all, those too that are there already.
    pub(super) fn objects<'a>(&'a mut self, made: &'a mut Vec<Oid>) -> Objects<'a> {
        Objects { store: self, made }
    }

    pub(super) fn read_tree(&self, oid: Oid) -> Result<Bytes, EngineError> {
        match self.kept.get(oid) {
            Some(tree) => Ok(tree),
            None => self.read_saved(oid, Kind::Tree).map(Bytes::from),
        }
    }

    pub(super) fn read_commit(&self, oid: Oid) -> Result<CommitText, EngineError> {
        let commit = match self.kept.get(oid) {
            Some(commit) => CommitText::parse(&commit),
            None => CommitText::parse(&self.read_saved(oid, Kind::Commit)?),
        };
        commit.ok_or_else(|| EngineError::corrupt("cannot read a commit", oid.to_string()))
    }

    pub(super) fn read_blob(&self, oid: Oid) -> Result<Vec<u8>, EngineError> {
        match self.draft.blob(oid) {
            Some(blob) => Ok(blob),
            None => self.read_saved(oid, Kind::Blob),
        }
    }

    fn read_saved(&self, oid: Oid, kind: Kind) -> Result<Vec<u8>, EngineError> {
        let max = match kind {
            Kind::Blob => MAX_BLOB,
            Kind::Commit | Kind::Tree => MAX_TREE,
        };
        let (found, data) = read(&self.odb()?, oid, max)?;
        if found == kind {
            Ok(data)
        } else {
            let message = format!("{oid} is not a {}", kind.name());
            Err(EngineError::corrupt("cannot read an object", message))
        }
    }

    fn odb(&self) -> Result<git2::Odb<'_>, EngineError> {
        self.repository
            .odb()
            .map_err(|error| EngineError::local("cannot open the object database", &error))
    }

    /// Packs come whole or not at all, so a commit that is there has its tree.
    pub(super) fn has_commit(&self, oid: Oid) -> bool {
        let tree = self.read_commit(oid).map(|commit| commit.tree);
        tree.is_ok_and(|tree| self.read_tree(tree).is_ok())
    }

    /// What was recorded last; nothing where it can't be read.
    pub(super) fn recorded(&self) -> &Recorded {
        &self.recorded
    }

    /// Notes which commits of ours are not at the remote: those from `base` to `local`.
    pub(super) fn record(
        &mut self,
        local: Option<Oid>,
        base: Option<Oid>,
    ) -> Result<(), EngineError> {
        let recorded = Recorded {
            local,
            base,
            packs: self.packs.unpushed(),
        };
        if recorded == self.recorded {
            return Ok(());
        }
        self.point(LOCAL_REF, local)?;
        recorded
            .write(self.repository.path())
            .map_err(|error| EngineError::io("cannot record the state of the clone", &error))?;
        self.recorded = recorded;
        // Last: as long as the record takes packs for ours alone, no fetch may rely on them.
        self.point(KNOWN_REF, base)
    }

    /// Notes that nothing in our folders is somebody else's at this commit.
    pub(super) fn note_settled(&self, commit: Option<Oid>) -> Result<(), EngineError> {
        if self.noted() == commit {
            return Ok(());
        }
        self.point(SETTLED_REF, commit)
    }

    /// What was noted last, where it can be read still.
    pub(super) fn settled(&self) -> Option<Oid> {
        self.noted().filter(|commit| self.has_commit(*commit))
    }

    fn noted(&self) -> Option<Oid> {
        self.repository.refname_to_id(SETTLED_REF).ok()
    }

    fn point(&self, name: &str, commit: Option<Oid>) -> Result<(), EngineError> {
        let Some(commit) = commit else { return Ok(()) };
        self.repository
            .reference(name, commit, true, "")
            .map(drop)
            .map_err(|error| EngineError::local("cannot set a reference of the clone", &error))
    }

    /// Whether there is much in memory, to be saved before more is made.
    pub(super) fn is_full(&self) -> bool {
        self.draft.bytes() > MAX_DRAFT
    }

    /// Writes what is in memory only into one pack. What has been saved survives the process.
    pub(super) fn save(&mut self) -> Result<(), EngineError> {
        if !self.draft.is_empty() {
            let written = self
                .draft
                .write(self.packs.directory())
                .map_err(|error| EngineError::io("cannot write a pack", &error))?;
            self.packs.add(written);
            self.draft = Draft::default();
            if self.packs.merge_unpushed() {
                self.reopen()?;
            }
        }
        self.kept.shrink();
        Ok(())
    }

    /// What is to be pushed, compressed: on disk and in memory.
    pub(super) fn unpushed_bytes(&self) -> u64 {
        self.packs.unpushed_bytes() + self.draft.bytes() as u64
    }

    /// Removes packs of ours that hold nothing of what is `needed`. Whether there were any.
    pub(super) fn prune(&mut self, needed: &HashSet<Oid>) -> Result<bool, EngineError> {
        let pruned = self.packs.prune(needed);
        if pruned {
            self.reopen()?;
        }
        Ok(pruned)
    }

    /// The remote stands on this commit. If it is one of those that were to be pushed, what was saved with it must stay.
    pub(super) fn stands_on(&mut self, base: Option<Oid>) -> Result<(), EngineError> {
        match base {
            Some(base) if self.packs.contains(base) => {
                self.save()?;
                self.pushed()
            }
            _ => Ok(()),
        }
    }

    /// The remote has everything that was saved: none of it is sent again.
    pub(super) fn pushed(&mut self) -> Result<(), EngineError> {
        self.kept.drop_stale();
        if self.packs.pushed() {
            self.reopen()?;
        }
        Ok(())
    }

    /// Takes what the clone in `fresh` has in place of all that is not to be pushed.
    pub(super) fn take_in_place_of_others(&mut self, fresh: &Path) -> Result<(), EngineError> {
        let clone = self.repository.path().to_owned();
        let mut replace = || -> std::io::Result<()> {
            self.packs
                .take_in_place_of_others(&fresh.join("objects/pack"))?;
            // Below which commits there is nothing. Not there where all of it was fetched.
            match std::fs::rename(fresh.join("shallow"), clone.join("shallow")) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            }
        };
        let replaced = replace();
        self.reopen()?;
        replaced.map_err(|error| EngineError::io("cannot replace what was fetched", &error))
    }

    /// Sees what is on disk now.
    pub(super) fn reopen(&mut self) -> Result<(), EngineError> {
        self.repository = directory::open(self.repository.path())
            .map_err(|error| EngineError::local("cannot open the clone again", &error))?;
        Ok(())
    }

    /// A pack of these objects, all of them saved.
    pub(super) fn stream(&self, objects: impl Iterator<Item = Oid>) -> Result<Stream, EngineError> {
        let odb = self.odb()?;
        let mut encoder = Encoder::default();
        self.packs.stream(objects, |oid| {
            let (kind, data) = read(&odb, oid, usize::MAX)?;
            let mut bytes = Vec::new();
            encoder.whole(kind, &data, &mut bytes);
            Ok(bytes)
        })
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

/// An object of the clone, compared with its id. None that is larger than `max` is unpacked.
fn read(odb: &git2::Odb<'_>, oid: Oid, max: usize) -> Result<(Kind, Vec<u8>), EngineError> {
    let failed = |error: git2::Error| EngineError::local("cannot read an object", &error);
    let (size, _) = odb.read_header(oid).map_err(failed)?;
    if size > max {
        let message = format!("object {oid} has {size} bytes");
        return Err(EngineError::TooLarge { message });
    }
    let object = odb.read(oid).map_err(failed)?;
    let corrupt = |what: &str| {
        let message = format!("{oid} {what}");
        EngineError::corrupt("cannot read an object", message)
    };
    let kind = Kind::of(object.kind()).ok_or_else(|| corrupt("is none of ours"))?;
    if hash(kind, object.data()) != oid {
        return Err(corrupt("has another content"));
    }
    Ok((kind, object.data().to_vec()))
}
