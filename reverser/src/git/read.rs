//! Looking into the tip.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use git2::Oid;

use super::engine::Engine;
use super::error::EngineError;
use super::limits::MAX_LISTED;
use super::tree::{Entry, entries};

/// A regular file of the tip.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileEntry {
    /// From the root of the repository.
    pub path: String,
    /// Its blob.
    pub oid: Oid,
}

/// Entries of folders that are kept parsed: some 100 bytes each. Beyond it the cache starts anew.
const MAX_CACHED: usize = 100_000;

/// Parsed folders by tree: never stale, since a tree's id is its content.
#[derive(Default)]
pub(super) struct FolderCache {
    folders: HashMap<Oid, Arc<Folder>>,
    entries: usize,
    /// The root of the commit that was looked at last.
    root: Option<(Oid, Oid)>,
}

type Folder = HashMap<Vec<u8>, Found>;

/// What stands at a path.
#[derive(Clone, Copy, Debug)]
struct Found {
    oid: Oid,
    is_tree: bool,
    is_file: bool,
}

impl Engine {
    /// The blob of the regular file at `path`, by trees alone. `None` where there is none, or a symlink, folder or submodule, or
    /// the clone can't be read (which the next commit will tell).
    #[must_use]
    pub fn blob_id(&self, path: &str) -> Option<Oid> {
        let found = self.found(path).ok()??;
        found.is_file.then_some(found.oid)
    }

    /// The content of the regular file at `path`; `None` as for [`blob_id`](Self::blob_id). A file of more than 32 MiB, which is
    /// nothing that we wrote, reads as if it were empty.
    ///
    /// # Errors
    /// Where the clone can't be read.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>, EngineError> {
        match self.found(path)? {
            Some(found) if found.is_file => match self.read_blob(found.oid) {
                Err(EngineError::TooLarge { .. }) => Ok(Some(Vec::new())),
                read => read.map(Some),
            },
            _ => Ok(None),
        }
    }

    /// The content of a blob, as [`blob_id`](Self::blob_id) or [`list_files`](Self::list_files) named it.
    ///
    /// # Errors
    /// Where there is no such blob, it has more than 32 MiB, or the clone can't be read.
    pub fn read_blob(&self, oid: Oid) -> Result<Vec<u8>, EngineError> {
        self.store.read_blob(oid)
    }

    /// All regular files below `directory` (`""` is the root), sorted as Git sorts them. Symlinks and submodules are left out
    /// and never followed; so are names that are not UTF-8, which are no manifests of ours.
    ///
    /// # Errors
    /// Where the clone can't be read, and where there are more than a million files and folders.
    pub fn list_files(&self, directory: &str) -> Result<Vec<FileEntry>, EngineError> {
        let mut files = Vec::new();
        if let Some(tree) = self.folder_tree(directory)? {
            let prefix = directory.trim_matches('/');
            self.walk(
                tree,
                if prefix.is_empty() {
                    String::new()
                } else {
                    format!("{prefix}/")
                },
                &mut files,
            )?;
        }
        Ok(files)
    }

    fn walk(
        &self,
        tree: Oid,
        prefix: String,
        files: &mut Vec<FileEntry>,
    ) -> Result<(), EngineError> {
        // A stack of its own: how deep the folders of others go is not ours to bound.
        let mut pending = vec![(prefix, tree)];
        let mut met = 0;
        while let Some((prefix, tree)) = pending.pop() {
            let bytes = self.read_tree(tree)?;
            for entry in entries(&bytes) {
                met += 1;
                if met > MAX_LISTED {
                    let message = format!("there are more than {MAX_LISTED} files in a folder");
                    return Err(EngineError::TooLarge { message });
                }
                let Ok(name) = std::str::from_utf8(entry.name) else {
                    continue;
                };
                if entry.is_tree() {
                    pending.push((format!("{prefix}{name}/"), entry.oid()));
                } else if entry.is_file() {
                    files.push(FileEntry {
                        path: format!("{prefix}{name}"),
                        oid: entry.oid(),
                    });
                }
            }
        }
        files.sort();
        Ok(())
    }

    /// The names of the folders in `directory` (`""` is the root), not of those further down.
    ///
    /// # Errors
    /// Where the clone can't be read.
    pub fn list_directories(&self, directory: &str) -> Result<Vec<String>, EngineError> {
        let Some(tree) = self.folder_tree(directory)? else {
            return Ok(Vec::new());
        };
        let bytes = self.read_tree(tree)?;
        let names = entries(&bytes).filter(super::tree::Entry::is_tree);
        Ok(names
            .filter_map(|entry| String::from_utf8(entry.name.to_vec()).ok())
            .collect())
    }

    /// The tree of `directory` at the tip; `None` where there is none, or the clone can't be read. Equal ids, equal contents.
    #[must_use]
    pub fn folder_id(&self, directory: &str) -> Option<Oid> {
        self.folder_tree(directory).ok().flatten()
    }

    /// The same at the remote, as last heard: without what is not pushed.
    #[must_use]
    pub fn remote_folder_id(&self, directory: &str) -> Option<Oid> {
        self.folder_tree_at(self.base, directory).ok().flatten()
    }

    fn folder_tree(&self, directory: &str) -> Result<Option<Oid>, EngineError> {
        self.folder_tree_at(self.tip(), directory)
    }

    pub(super) fn folder_tree_at(
        &self,
        commit: Option<Oid>,
        directory: &str,
    ) -> Result<Option<Oid>, EngineError> {
        let directory = directory.trim_matches('/');
        if directory.is_empty() {
            return commit.map(|commit| self.tree_of(commit)).transpose();
        }
        Ok(self
            .found_at(commit, directory)?
            .filter(|found| found.is_tree)
            .map(|found| found.oid))
    }

    /// The blob of the regular file at `path` in a commit.
    pub(super) fn blob_at(
        &self,
        commit: Option<Oid>,
        path: &str,
    ) -> Result<Option<Oid>, EngineError> {
        let found = self.found_at(commit, path)?;
        Ok(found.filter(|found| found.is_file).map(|found| found.oid))
    }

    fn found(&self, path: &str) -> Result<Option<Found>, EngineError> {
        self.found_at(self.tip(), path)
    }

    /// Symlinks are not followed.
    fn found_at(&self, commit: Option<Oid>, path: &str) -> Result<Option<Found>, EngineError> {
        let Some(commit) = commit else {
            return Ok(None);
        };
        let mut tree = self.tree_of(commit)?;
        let mut segments = path.split('/').peekable();
        while let Some(segment) = segments.next() {
            match self.folder(tree)?.get(segment.as_bytes()) {
                Some(found) if segments.peek().is_none() => return Ok(Some(*found)),
                Some(found) if found.is_tree => tree = found.oid,
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    fn folder(&self, tree: Oid) -> Result<Arc<Folder>, EngineError> {
        let mut cache = self.folders.borrow_mut();
        if let Some(folder) = cache.folders.get(&tree) {
            return Ok(Arc::clone(folder));
        }
        let bytes = self.read_tree(tree)?;
        let found = |entry: Entry<'_>| Found {
            oid: entry.oid(),
            is_tree: entry.is_tree(),
            is_file: entry.is_file(),
        };
        let folder: Folder = entries(&bytes)
            .map(|entry| (entry.name.to_vec(), found(entry)))
            .collect();
        if cache.entries + folder.len() > MAX_CACHED {
            *cache = FolderCache::default();
        }
        cache.entries += folder.len();
        let folder = Arc::new(folder);
        cache.folders.insert(tree, Arc::clone(&folder));
        Ok(folder)
    }

    pub(super) fn tree_of(&self, commit: Oid) -> Result<Oid, EngineError> {
        if let Some((known, tree)) = self.folders.borrow().root
            && known == commit
        {
            return Ok(tree);
        }
        let tree = self.store.read_commit(commit)?.tree;
        self.folders.borrow_mut().root = Some((commit, tree));
        Ok(tree)
    }

    fn read_tree(&self, tree: Oid) -> Result<Bytes, EngineError> {
        self.store.read_tree(tree)
    }
}
