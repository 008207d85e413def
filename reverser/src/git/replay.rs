//! Commits of ours, made again on another tip.

use git2::Oid;

use super::engine::{Engine, Made};
use super::error::EngineError;
use super::object::CommitText;
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

    fn again(&mut self, commit: Oid, onto: Option<Oid>) -> Result<Option<Made>, EngineError> {
        let CommitText {
            tree,
            parent,
            author,
            message,
        } = self.store.read_commit(commit)?;
        let before = parent.map(|parent| self.tree_of(parent)).transpose()?;
        let changes = compare(&self.store, before, Some(tree))?.files;
        let mut edits = Edits::default();
        for (path, blob) in &changes {
            edits.add(path, blob.map_or(Edit::Remove, Edit::Put))?;
        }
        let again = self.build(onto, &edits, author, message)?;
        Ok(again.map(|(made, _)| made))
    }
}
