//! Which files somebody else has changed while nobody of ours looked: before this clone was opened.

use std::collections::{BTreeSet, HashSet};
use std::time::{Duration, Instant};

use git2::Oid;

use super::engine::Engine;
use super::error::EngineError;
use super::path::{inside, is_within};
use super::tree::compare;

/// How long that is of interest. What happened in the cluster before is remembered by then by nobody: a minute by the
/// sidecar, and a minute by the store that it is told to.
const REMEMBERED: Duration = Duration::from_secs(120);

/// More files than this, of some 100 bytes each, are not told one by one.
const MAX_NAMED: usize = 100_000;

/// What somebody else has changed.
#[derive(Debug, Default)]
pub(super) struct Foreign {
    /// All of these folders, as far as can be told.
    folders: BTreeSet<String>,
    files: HashSet<String>,
}

impl Engine {
    /// Notes that nothing in our folders is somebody else's at the remote's tip, as last heard: what is found changed at the next
    /// opening was changed since.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn note_settled(&mut self) -> Result<(), EngineError> {
        self.store.note_settled(self.base)
    }

    /// Whether the file may not be as an earlier process left it: that the cluster has something else then says nothing of
    /// who changed it there.
    #[must_use]
    pub fn is_foreign(&self, path: &str) -> bool {
        let mut folders = self.foreign.folders.iter();
        self.opened.elapsed() < REMEMBERED
            && (self.foreign.files.contains(path) || folders.any(|folder| is_within(path, folder)))
    }

    /// Compares the remote's tip with what was noted, and with where an earlier process left the branch, which may have been killed
    /// before it noted that; a folder of ours of which nothing was noted can't be told anything of.
    pub(super) fn find_foreign(&mut self, left_at: Option<Oid>) -> Result<(), EngineError> {
        self.opened = Instant::now();
        let settled = self.store.settled();
        let left_at = left_at.filter(|commit| self.store.has_commit(*commit));
        let mut foreign = Foreign::default();
        for folder in &self.options.folders {
            match self.changed_in(folder, settled, left_at) {
                Ok(Some(files)) if foreign.files.len() + files.len() <= MAX_NAMED => {
                    foreign.files.extend(files);
                }
                // More than can be told, or looked at.
                Ok(_) | Err(EngineError::TooLarge { .. }) => {
                    foreign.folders.insert(folder.clone());
                }
                Err(error) => return Err(error),
            }
        }
        self.foreign = foreign;
        Ok(())
    }

    /// The files of a folder that are not as they were. `None` for one that is ours, and of which nothing was noted.
    fn changed_in(
        &self,
        folder: &str,
        settled: Option<Oid>,
        left_at: Option<Oid>,
    ) -> Result<Option<Vec<String>>, EngineError> {
        let Some(settled) = settled else {
            let marker = inside(folder, &self.options.marker);
            let is_ours = self.blob_at(self.base, &marker)?.is_some();
            return Ok((!is_ours).then(Vec::new));
        };
        let now = self.folder_tree_at(self.base, folder)?;
        let mut files = Vec::new();
        for commit in BTreeSet::from_iter([settled, left_at.unwrap_or(settled)]) {
            let before = self.folder_tree_at(Some(commit), folder)?;
            let changed = compare(&self.store, before, now)?.files.into_iter();
            // Of names that are not UTF-8 there is no manifest of ours.
            let names = changed.filter_map(|(name, _)| String::from_utf8(name).ok());
            files.extend(names.map(|name| inside(folder, &name)));
        }
        Ok(Some(files))
    }
}
