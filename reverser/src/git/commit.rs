//! From plans to commits.

use git2::{ObjectType, Oid};

use super::engine::Engine;
use super::error::EngineError;
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
        let local = |error: git2::Error| EngineError::local("cannot make a commit", &error);
        let mut edits = Edits::default();
        for change in &changes {
            path::check(&change.path)?;
            let edit = match &change.content {
                Some(content) => Edit::Write {
                    oid: Oid::hash_object(ObjectType::Blob, content).map_err(local)?,
                    content,
                },
                None => Edit::Remove,
            };
            edits.add(change.path.as_bytes(), edit)?;
        }
        let author = signature(&author)?;
        let Some((oid, applied)) = self.build(self.tip(), &edits, &author, &message)? else {
            return Ok(CommitOutcome::Unchanged);
        };
        self.unpushed.push(oid);
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
        author: &git2::Signature<'_>,
        message: &str,
    ) -> Result<Option<(Oid, Applied)>, EngineError> {
        let local = |error: git2::Error| EngineError::local("cannot make a commit", &error);
        let before = parent.map(|parent| self.tree_of(parent)).transpose()?;
        let committer = signature(&self.options.committer)?;
        let mut applied = Applied::default();
        let tree = {
            let mut objects = self.store.objects()?;
            match edits
                .apply(&mut objects, before, &mut applied)
                .map_err(local)?
            {
                Some(tree) => tree,
                None if before.is_none() => return Ok(None),
                None => objects.write(ObjectType::Tree, &[]).map_err(local)?,
            }
        };
        if Some(tree) == before {
            return Ok(None);
        }
        let repository = self.store.repository();
        let text = {
            let tree = repository.find_tree(tree).map_err(local)?;
            let parents = parent
                .map(|parent| repository.find_commit(parent))
                .transpose()
                .map_err(local)?;
            let parents: Vec<_> = parents.iter().collect();
            repository
                .commit_create_buffer(author, &committer, message, &tree, &parents)
                .map_err(local)?
        };
        let oid = self
            .store
            .objects()?
            .write(ObjectType::Commit, &text)
            .map_err(local)?;
        Ok(Some((oid, applied)))
    }
}

fn signature(who: &Signature) -> Result<git2::Signature<'static>, EngineError> {
    git2::Signature::now(&who.name, &who.email).map_err(|error| EngineError::Invalid {
        what: "not a name and e-mail address for Git",
        message: error.message().to_owned(),
    })
}
