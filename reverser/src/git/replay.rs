//! Commits of ours, made again on another tip.

use std::collections::{BTreeMap, BTreeSet};

use git2::Oid;

use super::engine::{Engine, Made};
use super::error::EngineError;
use super::object::CommitText;
use super::path::inside;
use super::tree::{Difference, Edit, Edits, compare};

impl Engine {
    /// Folders that have another marker at `tip` than where our commits begin.
    ///
    /// # Errors
    /// Where the clone can't be read.
    pub(super) fn taken_at(&self, tip: Option<Oid>) -> Result<BTreeSet<String>, EngineError> {
        let mut taken = BTreeSet::new();
        let marker = &self.options.marker;
        if self.unpushed.is_empty() || marker.is_empty() {
            return Ok(taken);
        }
        for folder in &self.options.folders {
            let path = inside(folder, marker);
            if self.blob_at(tip, &path)? != self.blob_at(self.base, &path)? {
                taken.insert(folder.clone());
            }
        }
        Ok(taken)
    }

    /// The files that commits write which are not pushed, of each of their versions the blob; and what `wanted` has of their paths.
    ///
    /// # Errors
    /// Where the clone can't be read.
    pub fn unpushed_files<T>(
        &self,
        wanted: impl Fn(&str) -> Option<T>,
    ) -> Result<BTreeMap<(String, Oid), T>, EngineError> {
        let mut all = BTreeMap::new();
        for made in &self.unpushed {
            let commit = self.store.read_commit(made.commit)?;
            let written = self.changed_by(&commit)?.files.into_iter();
            all.extend(written.filter_map(|(path, blob)| {
                let path = String::from_utf8(path).ok()?;
                let what = wanted(&path)?;
                blob.map(|blob| ((path, blob), what))
            }));
        }
        Ok(all)
    }

    /// Our commits but for those that change one of these folders.
    ///
    /// # Errors
    /// Where the clone can't be read.
    pub(super) fn outside(&self, folders: &BTreeSet<String>) -> Result<Vec<Made>, EngineError> {
        let mut left = Vec::new();
        for made in &self.unpushed {
            if folders.is_empty() || !self.changes_any(made.commit, folders)? {
                left.push(made.clone());
            }
        }
        Ok(left)
    }

    fn changes_any(&self, commit: Oid, folders: &BTreeSet<String>) -> Result<bool, EngineError> {
        let CommitText { parent, .. } = self.store.read_commit(commit)?;
        for folder in folders {
            if self.folder_tree_at(parent, folder)? != self.folder_tree_at(Some(commit), folder)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Puts our commits onto `onto`: the same changes of files by the same authors at the same times, with the same messages.
    /// What `onto` already has makes no commit. Says how many commits are left.
    ///
    /// For the files that they name our commits win; everything else is as `onto` has it.
    ///
    /// # Errors
    /// Where the clone can't be read; everything is then as it was.
    pub(super) fn replay(&mut self, onto: Option<Oid>) -> Result<usize, EngineError> {
        let mut tip = onto;
        let mut made = Vec::with_capacity(self.unpushed.len());
        let commits: Vec<Oid> = self.unpushed.iter().map(|made| made.commit).collect();
        for commit in commits {
            if let Some(again) = self.again(commit, tip)? {
                tip = Some(again.commit);
                made.push(again);
            }
        }
        self.unpushed = made;
        self.base = onto;
        Ok(self.unpushed.len())
    }

    /// How a commit differs from its first parent.
    pub(super) fn changed_by(&self, commit: &CommitText) -> Result<Difference, EngineError> {
        let before = commit.parent.map(|parent| self.tree_of(parent));
        compare(&self.store, before.transpose()?, Some(commit.tree))
    }

    fn again(&mut self, commit: Oid, onto: Option<Oid>) -> Result<Option<Made>, EngineError> {
        let commit = self.store.read_commit(commit)?;
        let changes = self.changed_by(&commit)?.files;
        let mut edits = Edits::default();
        for (path, blob) in &changes {
            edits.add(path, blob.map_or(Edit::Remove, Edit::Put))?;
        }
        let again = self.build(onto, &edits, commit.author, commit.message)?;
        Ok(again.map(|(made, _)| made))
    }
}
