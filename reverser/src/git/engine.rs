//! The engine: one branch of one repository.

use std::cell::RefCell;
use std::path::PathBuf;

use git2::Oid;

use super::credentials::Credentials;
use super::error::EngineError;
use super::fetch::{self, Tips};
use super::read::FolderCache;
use super::session::Session;
use super::store::Store;
use super::tree::compare;
use super::url::RepoUrl;
use crate::commit::Signature;

/// A clone with more packs than this is fetched afresh at the next opening: each push adds a pack, and a few hundred of them
/// slow every look-up down.
const MAX_PACKS: usize = 200;

/// What a clone may have grown by since it was opened before it is fetched afresh, in bytes; and by as much as it was. It holds
/// every version that was pushed, of which the remote's tip is the only one that is needed.
const MAX_GROWTH: u64 = 256 << 20;

/// How many commits of ours are looked for at opening.
const MAX_RESUMED: usize = 100_000;

/// What an engine works on.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// The directory of this clone alone: made, used again, or thrown away with all that is in it.
    pub work_dir: PathBuf,
    /// The repository.
    pub url: RepoUrl,
    /// Without `refs/heads/`.
    pub branch: String,
    /// How to log in.
    pub credentials: Credentials,
    /// The bot.
    pub committer: Signature,
}

/// What became of commits that an earlier process had made and not pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumed {
    /// There were none.
    Nothing,
    /// The branch is still where they stand on: they will be pushed with the next push.
    Kept {
        /// How many.
        commits: usize,
    },
    /// The branch has moved meanwhile: the live state is to be written afresh.
    Dropped {
        /// How many.
        commits: usize,
    },
}

/// One branch of one repository: read at its tip, committed to, pushed.
///
/// Blocks, and belongs to one thread at a time. Commits are in memory until [`persist`](Self::persist) or
/// [`push`](Self::push). Nothing but the named paths is ever changed, and history is only added to.
pub struct Engine {
    pub(super) options: EngineOptions,
    pub(super) store: Store,
    /// The branch at the remote, as last heard; `None` where it has none.
    pub(super) remote: Option<Oid>,
    /// What `unpushed` stands on: the branch at the remote or, where it is missing, the tip of the default branch.
    pub(super) base: Option<Oid>,
    /// Oldest first, each the parent of the next.
    pub(super) unpushed: Vec<Made>,
    pub(super) resumed: Resumed,
    pub(super) folders: RefCell<FolderCache>,
    size_at_opening: u64,
}

/// A commit of ours.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) commit: Oid,
    /// Itself and all that was written for it.
    pub(super) objects: Vec<Oid>,
}

/// Whether Git takes this for a branch, without `refs/heads/`.
pub(crate) fn is_branch_name(name: &str) -> bool {
    git2::Reference::is_valid_name(&format!("refs/heads/{name}")) && !name.starts_with('-')
}

impl Engine {
    /// Fetches the tip (one commit deep) into the clone.
    ///
    /// A branch that is missing starts at the tip of the remote's default branch, with the first push; in an empty repository it
    /// starts from nothing. A clone that is damaged, or of another repository or branch, is replaced.
    ///
    /// # Errors
    /// The remote's, or those of the disk.
    pub fn open(options: EngineOptions) -> Result<Self, EngineError> {
        if !is_branch_name(&options.branch) {
            return Err(EngineError::Invalid {
                what: "not a branch name",
                message: options.branch,
            });
        }
        let store = Store::open(&options.work_dir, &options.url, &options.branch)?;
        match Self::open_in(store, &options) {
            Err(error) if error.is_corrupt_clone() => {
                tracing::warn!(repository = %options.url, branch = options.branch, %error, "replacing the local clone");
                Self::open_in(
                    Store::create(&options.work_dir, &options.url, &options.branch)?,
                    &options,
                )
            }
            Ok(engine) if engine.is_overgrown() => Self::open_in(
                Store::create(&options.work_dir, &options.url, &options.branch)?,
                &options,
            ),
            outcome => outcome,
        }
    }

    fn open_in(store: Store, options: &EngineOptions) -> Result<Self, EngineError> {
        let mut engine = Self {
            options: options.clone(),
            store,
            remote: None,
            base: None,
            unpushed: Vec::new(),
            resumed: Resumed::Nothing,
            folders: RefCell::default(),
            size_at_opening: 0,
        };
        let tips = engine.fetch()?;
        engine.resume(tips);
        engine.remote = tips.branch;
        engine.base = tips.base;
        // A clone whose tip can't be read is of no use.
        engine.list_directories("")?;
        engine.persist()?;
        engine.size_at_opening = engine.store.packs.size().1;
        Ok(engine)
    }

    /// Whether the clone has become slow: opening the engine again replaces it.
    #[must_use]
    pub fn is_overgrown(&self) -> bool {
        let (packs, bytes) = self.store.packs.size();
        let grown = bytes.saturating_sub(self.size_at_opening);
        self.unpushed.is_empty() && (packs > MAX_PACKS || grown > self.size_at_opening + MAX_GROWTH)
    }

    pub(super) fn fetch(&mut self) -> Result<Tips, EngineError> {
        let session = Session::new(&self.options.url, &self.options.credentials);
        fetch::fetch(
            &mut self.store,
            &session,
            &self.options.url,
            &self.options.branch,
        )
    }

    /// Ancestry of commits that are not ours is never asked about: a shallow clone does not know it.
    fn resume(&mut self, tips: Tips) {
        let (local, base) = (self.store.recorded().local, self.store.recorded().base);
        let Some(mut commits) = self.since(local, base) else {
            return;
        };
        if commits.is_empty() {
            return;
        }
        let found = commits.len();
        if base != tips.base {
            // Killed after a push and before it was recorded: what the remote has is not pushed again.
            let pushed = tips
                .branch
                .and_then(|tip| commits.iter().position(|made| made.commit == tip));
            match pushed {
                Some(last) => drop(commits.drain(..=last)),
                None => {
                    self.resumed = Resumed::Dropped { commits: found };
                    return;
                }
            }
        }
        if !commits.is_empty() {
            self.resumed = Resumed::Kept {
                commits: commits.len(),
            };
        }
        self.unpushed = commits;
    }

    /// The commits on the way from `base` to `local`, oldest first. `None` where there is no such way.
    fn since(&self, local: Option<Oid>, base: Option<Oid>) -> Option<Vec<Made>> {
        let mut commits = Vec::new();
        let mut at = local;
        while at != base {
            let commit = self.store.read_commit(at?).ok()?;
            let before = commit.parent.map(|parent| self.store.read_commit(parent));
            let before = before.transpose().ok()?.map(|parent| parent.tree);
            let difference = compare(&self.store, before, Some(commit.tree)).ok()?;
            let mut objects: Vec<Oid> = difference
                .files
                .iter()
                .filter_map(|(_, blob)| *blob)
                .collect();
            objects.extend(difference.trees);
            objects.extend(at);
            commits.push(Made {
                commit: at?,
                objects,
            });
            if commits.len() > MAX_RESUMED {
                return None;
            }
            at = commit.parent;
        }
        commits.reverse();
        Some(commits)
    }

    /// What opening found of an earlier process.
    #[must_use]
    pub fn resumed(&self) -> Resumed {
        self.resumed
    }

    /// From the next operation on.
    pub fn set_credentials(&mut self, credentials: Credentials) {
        self.options.credentials = credentials;
    }

    /// Credentials, committer and spelling of the URL, from the next operation on. The clone stays what and where it is.
    pub fn set_options(&mut self, options: EngineOptions) {
        let clone = std::mem::take(&mut self.options.work_dir);
        let branch = std::mem::take(&mut self.options.branch);
        self.options = EngineOptions {
            work_dir: clone,
            branch,
            ..options
        };
    }

    /// The tip that is read and committed to: our last commit, pushed or not, or else the remote's. `None` where there is nothing yet.
    #[must_use]
    pub fn tip(&self) -> Option<Oid> {
        self.unpushed.last().map(|made| made.commit).or(self.base)
    }

    /// The branch at the remote, as last heard; `None` where it has none.
    #[must_use]
    pub fn remote_tip(&self) -> Option<Oid> {
        self.remote
    }

    /// Whether there is something to push.
    #[must_use]
    pub fn has_unpushed(&self) -> bool {
        !self.unpushed.is_empty()
    }

    /// How many commits there are to push.
    #[must_use]
    pub fn unpushed(&self) -> usize {
        self.unpushed.len()
    }

    /// Forgets the newest commits, so that only the oldest `keep` of those that are not pushed are left: a batch is committed
    /// as a whole or not at all.
    pub fn roll_back_to(&mut self, keep: usize) {
        self.unpushed.truncate(keep);
    }

    /// Writes all commits to the clone on disk, as one pack: from here on they survive the process. Cheap where there is
    /// nothing new. Not synced: the remote is the truth, the clone a cache.
    ///
    /// # Errors
    /// Those of the disk; the commits then stay in memory, to be written by a later call.
    pub fn persist(&mut self) -> Result<(), EngineError> {
        self.store.save()?;
        self.store.record(self.tip(), self.base)
    }

    /// Forgets every commit that is not pushed: after losing a lease. The tip is the remote's again.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn drop_unpushed(&mut self) -> Result<(), EngineError> {
        self.unpushed.clear();
        self.persist()
    }
}
