//! From plans to commits.

use git2::Oid;

use super::engine::{Engine, Made};
use super::error::EngineError;
use super::object::{CommitText, Kind, blob_id, signed, with_signature};
use super::path;
use super::tree::{Applied, Edit, Edits};
use crate::commit::{CommitPlan, Signature};

/// What became of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitOutcome {
    /// There is a new tip.
    Committed {
        /// It.
        oid: Oid,
        /// Files that were new or got another content.
        written: usize,
        /// Files that were there and are no more.
        deleted: usize,
        /// The content of `written`.
        bytes: usize,
    },
    /// Git already was as planned.
    Unchanged,
}

impl Engine {
    /// Makes a commit on the tip, in memory.
    ///
    /// Files whose content is already there are left alone; where nothing is left to do there is no commit. A
    /// symlink, submodule or file standing where a folder is needed, and anything standing where a file goes, is replaced and never
    /// followed. Deleting a file that is not there does nothing, and takes no folder away but empty ones.
    ///
    /// # Errors
    /// For a path that can't be written (nothing is committed then), an author that Git does not take, or an unreadable clone.
    pub fn commit(&mut self, plan: CommitPlan) -> Result<CommitOutcome, EngineError> {
        let CommitPlan {
            author,
            message,
            changes,
        } = plan;
        let mut edits = Edits::default();
        for change in &changes {
            path::check(&change.path)?;
            let edit = match &change.content {
                Some(content) => Edit::Write {
                    oid: blob_id(content),
                    content,
                },
                None => Edit::Remove,
            };
            edits.add(change.path.as_bytes(), edit)?;
        }
        self.commit_edits(&edits, &author, message)
    }

    /// Writes the content of a file to the clone, for a [`commit_staged`](Self::commit_staged) to come, and gives its id. Of what
    /// is staged, a few MiB are in memory.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn stage(&mut self, content: &[u8]) -> Result<Oid, EngineError> {
        let oid = blob_id(content);
        let mut made = Vec::new();
        self.store
            .objects(&mut made)
            .write(oid, Kind::Blob, content);
        if self.store.is_full() {
            self.store.save()?;
        }
        Ok(oid)
    }

    /// As [`commit`](Self::commit), of files that were staged: paths and their blobs, `None` deletes the file.
    ///
    /// # Errors
    /// The same.
    pub fn commit_staged<'a>(
        &mut self,
        author: &Signature,
        message: String,
        changes: impl IntoIterator<Item = (&'a str, Option<Oid>)>,
    ) -> Result<CommitOutcome, EngineError> {
        let mut edits = Edits::default();
        for (file, blob) in changes {
            path::check(file)?;
            edits.add(file.as_bytes(), blob.map_or(Edit::Remove, Edit::Put))?;
        }
        self.commit_edits(&edits, author, message)
    }

    fn commit_edits(
        &mut self,
        edits: &Edits<'_>,
        author: &Signature,
        message: String,
    ) -> Result<CommitOutcome, EngineError> {
        let author = signed(&signature(author)?);
        let Some((made, applied)) = self.build(self.tip(), edits, author, message.into_bytes())?
        else {
            return Ok(CommitOutcome::Unchanged);
        };
        let oid = made.commit;
        self.unpushed.push(made);
        if self.store.is_full() {
            self.store.save()?;
        }
        let Applied {
            written,
            deleted,
            bytes,
        } = applied;
        Ok(CommitOutcome::Committed {
            oid,
            written,
            deleted,
            bytes,
        })
    }

    /// A commit of `edits` on `parent`, which nothing points to yet. `None` where it would change nothing.
    pub(super) fn build(
        &mut self,
        parent: Option<Oid>,
        edits: &Edits<'_>,
        author: Vec<u8>,
        message: Vec<u8>,
    ) -> Result<Option<(Made, Applied)>, EngineError> {
        let before = parent.map(|parent| self.tree_of(parent)).transpose()?;
        let committer = signed(&signature(&self.options.committer)?);
        let mut applied = Applied::default();
        let mut made = Vec::new();
        let mut objects = self.store.objects(&mut made);
        let tree = match edits.apply(&mut objects, before, &mut applied)? {
            Some(tree) => tree,
            None if before.is_none() => return Ok(None),
            None => objects.write_tree(before, &[], &[]),
        };
        if Some(tree) == before {
            return Ok(None);
        }
        let text = CommitText {
            tree,
            parent,
            merged: Vec::new(),
            author,
            message,
        };
        let mut bytes = text.into_bytes(&committer);
        if let Some(signer) = &self.options.signer {
            bytes = with_signature(&bytes, &signer.sign(&bytes)?);
        }
        let commit = objects.write_commit(&bytes, parent);
        let made = Made {
            commit,
            objects: made,
        };
        Ok(Some((made, applied)))
    }
}

fn signature(who: &Signature) -> Result<git2::Signature<'static>, EngineError> {
    git2::Signature::now(&who.name, &who.email).map_err(|error| EngineError::Invalid {
        what: "not a name and e-mail address for Git",
        message: error.message().to_owned(),
    })
}
