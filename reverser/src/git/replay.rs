//! Commits of ours, made again on another tip.

use git2::Oid;

use super::engine::Engine;
use super::error::EngineError;
use super::tree::{Edit, Edits, compare};

impl Engine {
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
        for oid in self.unpushed.clone() {
            if let Some(again) = self.again(oid, tip)? {
                made.push(again);
                tip = Some(again);
            }
        }
        self.unpushed = made;
        self.base = onto;
        Ok(self.unpushed.len())
    }

    fn again(&mut self, oid: Oid, onto: Option<Oid>) -> Result<Option<Oid>, EngineError> {
        let local = |error: git2::Error| EngineError::local("cannot replay a commit", &error);
        let (author, message, changes) = {
            let repository = self.store.repository();
            let commit = repository.find_commit(oid).map_err(local)?;
            let parent = match commit.parent_id(0) {
                Ok(parent) => Some(self.tree_of(parent)?),
                Err(_) => None,
            };
            let mut changes = Vec::new();
            compare(
                &self.store.odb()?,
                parent,
                Some(commit.tree_id()),
                b"",
                &mut changes,
            )
            .map_err(local)?;
            let message = String::from_utf8_lossy(commit.message_raw_bytes()).into_owned();
            (commit.author().to_owned(), message, changes)
        };
        let mut edits = Edits::default();
        for (path, blob) in &changes {
            edits.add(path, blob.map_or(Edit::Remove, Edit::Put))?;
        }
        Ok(self
            .build(onto, &edits, &author, &message)?
            .map(|(oid, _)| oid))
    }
}
