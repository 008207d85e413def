//! The engine: one branch of one repository.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use git2::Oid;

use super::credentials::Credentials;
use super::error::EngineError;
use super::foreign::Foreign;
use super::permit::{Denied, Permit};
use super::read::FolderCache;
use super::resume::Resumed;
use super::signing::Signer;
use super::store::Store;
use super::url::RepoUrl;
use crate::commit::Signature;

/// A clone with more packs than this is fetched afresh at the next opening: each push adds a pack, and a few hundred of them
/// slow every look-up down.
const MAX_PACKS: usize = 200;

/// What a clone may have grown by since it was opened before it is fetched afresh, in bytes; and by as much as it was. It holds
/// every version that was pushed, of which the remote's tip is the only one that is needed.
const MAX_GROWTH: u64 = 256 << 20;

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
    /// Signs every commit, replayed ones too. `None`: they are not signed.
    pub signer: Option<Arc<Signer>>,
    /// The folders that are ours, none of them within another. Where the branch has moved, commits of an earlier process are
    /// resumed only in folders that are still what they were.
    pub folders: Vec<String>,
    /// The name of a file in each of these folders that says whose it is. Where somebody else has written it, made or removed, what
    /// was committed to the folder is dropped instead of put onto theirs. Empty: there is none.
    pub marker: String,
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
    /// Some of them may be at the remote, with others' on top.
    pub(super) in_doubt: bool,
    pub(super) resumed: Resumed,
    /// Folders whose marker somebody else has changed, since that was asked last.
    pub(super) taken: BTreeSet<String>,
    pub(super) folders: RefCell<FolderCache>,
    pub(super) foreign: Foreign,
    pub(super) opened: Instant,
    size_at_opening: u64,
    permit: Option<Arc<dyn Permit>>,
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
            Ok(overgrown) if overgrown.is_overgrown() => {
                let fresh = Store::create(&options.work_dir, &options.url, &options.branch)?;
                let mut engine = Self::open_in(fresh, &options)?;
                // What was found goes with the clone otherwise.
                engine.foreign = overgrown.foreign;
                Ok(engine)
            }
            outcome => outcome,
        }
    }

    fn open_in(store: Store, options: &EngineOptions) -> Result<Self, EngineError> {
        let in_doubt = store.recorded().local != store.recorded().base;
        let mut engine = Self {
            options: options.clone(),
            store,
            remote: None,
            base: None,
            unpushed: Vec::new(),
            in_doubt,
            resumed: Resumed::default(),
            taken: BTreeSet::new(),
            folders: RefCell::default(),
            foreign: Foreign::default(),
            opened: Instant::now(),
            size_at_opening: 0,
            permit: None,
        };
        let tips = engine.fetch()?;
        let left_at = engine.resume(tips)?;
        engine.find_foreign(left_at)?;
        let Resumed { kept, dropped } = engine.resumed;
        if kept + dropped > 0 {
            let (repository, branch) = (&options.url, &options.branch);
            tracing::info!(%repository, branch, kept, dropped, "found commits that were not pushed");
        }
        // A clone whose tip can't be read is of no use.
        engine.list_directories("")?;
        engine.persist()?;
        engine.prune()?;
        engine.note_size();
        Ok(engine)
    }

    /// Whether the clone has become slow: opening the engine again replaces it.
    #[must_use]
    pub fn is_overgrown(&self) -> bool {
        self.unpushed.is_empty() && self.has_outgrown()
    }

    /// Whether there is too much in the clone besides what is to be pushed, which has bounds of its own.
    pub(super) fn has_outgrown(&self) -> bool {
        let (packs, bytes) = self.store.packs.size_of_others();
        let grown = bytes.saturating_sub(self.size_at_opening);
        packs > MAX_PACKS || grown > self.size_at_opening + MAX_GROWTH
    }

    /// Growth counts from here on.
    pub(super) fn note_size(&mut self) {
        self.size_at_opening = self.store.packs.size_of_others().1;
    }

    /// What opening found of an earlier process.
    #[must_use]
    pub fn resumed(&self) -> Resumed {
        self.resumed
    }

    /// Folders whose marker somebody else has changed since the last call. What was committed to them is dropped.
    pub fn take_taken(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.taken)
    }

    /// From the next operation on.
    pub fn set_credentials(&mut self, credentials: Credentials) {
        self.options.credentials = credentials;
    }

    /// Asks before the remote is changed, from now on. Without one, nobody is asked.
    pub fn set_permit(&mut self, permit: Arc<dyn Permit>) {
        self.permit = Some(permit);
    }

    pub(super) fn permitted(&self) -> Result<(), Denied> {
        self.permit.as_ref().map_or(Ok(()), |permit| permit.check())
    }

    /// Credentials, committer, signer and spelling of the URL, from the next operation on. The clone stays what and where it is.
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

    /// How much there is to push: bytes of compressed objects, on disk and in memory.
    #[must_use]
    pub fn unpushed_bytes(&self) -> u64 {
        self.store.unpushed_bytes()
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
        self.persist()?;
        self.prune()
    }

    /// Removes what was saved and is not to be pushed any more.
    pub(super) fn prune(&mut self) -> Result<(), EngineError> {
        let needed = self.unpushed.iter().flat_map(|made| &made.objects);
        if self.store.prune(&needed.copied().collect())? {
            self.store.record(self.tip(), self.base)?;
        }
        Ok(())
    }
}
