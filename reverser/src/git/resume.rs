//! Commits of an earlier process that are not at the remote: taken up again, or dropped.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use git2::Oid;

use super::engine::{Engine, Made};
use super::error::EngineError;
use super::fetch::Tips;
use super::path::is_within;

/// How many commits of ours are looked for at opening. More than a worker ever lets gather.
const MAX_RESUMED: usize = 100_000;

/// So many commits are looked at below the tip for ours: a hundred of a branch, and what was merged into it.
const MAX_LOOKED_AT: usize = 10_000;

/// What became of commits that an earlier process had made and not pushed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resumed {
    /// So many will be pushed with the next push.
    pub kept: usize,
    /// So many stood on a folder that somebody has changed meanwhile: its live state is to be written afresh.
    pub dropped: usize,
}

/// A commit of ours, found in the clone.
struct Found {
    made: Made,
    /// Which of our folders it changes; `None` where it changes something else too.
    folders: Option<BTreeSet<String>>,
}

impl Engine {
    /// Takes up what was recorded, on top of what the remote has now: where the branch has moved, only what changes folders that
    /// are as they were before it.
    ///
    /// Ancestry of commits that are not ours is asked about as far as it was fetched; a shallow clone does not know more.
    ///
    /// Returns where the branch was when we last pushed to it or heard of it: what differs there now is others'.
    ///
    /// # Errors
    /// Where the clone can't be read.
    pub(super) fn resume(&mut self, tips: Tips) -> Result<Option<Oid>, EngineError> {
        let (local, base) = (self.store.recorded().local, self.store.recorded().base);
        self.remote = tips.branch;
        self.base = tips.base;
        let mut found = self.since(local, base).unwrap_or_default();
        let mut left_at = base;
        let commits = found.iter().map(|it| it.made.commit);
        if let Some(last) = self.newest_below(tips.branch, base, commits) {
            // Killed after a push and before it was recorded: what the remote has is not pushed again.
            let pushed = found.drain(..=last).next_back();
            left_at = pushed.map(|it| it.made.commit);
            if base.is_some() && self.store.settled() == base {
                // On what was ours, nothing but ours.
                self.store.note_settled(left_at)?;
            }
            self.store.stands_on(left_at)?;
        }
        if left_at == tips.base {
            self.resumed.kept = found.len();
            self.unpushed = found.into_iter().map(|found| found.made).collect();
        } else {
            self.resume_on_moved(found, left_at, tips)?;
        }
        Ok(left_at)
    }

    /// The newest of these commits, which stand on `base`, that is the tip or below it, by its number; as far as the clone knows.
    fn newest_below(
        &self,
        tip: Option<Oid>,
        base: Option<Oid>,
        commits: impl Iterator<Item = Oid>,
    ) -> Option<usize> {
        let numbers: HashMap<Oid, usize> = commits.zip(0..).collect();
        let mut newest = None;
        let mut known: HashSet<Oid> = base.into_iter().collect();
        let mut next: Vec<Oid> = tip.filter(|_| !numbers.is_empty()).into_iter().collect();
        while let Some(oid) = next.pop() {
            if let Some(number) = numbers.get(&oid) {
                newest = newest.max(Some(*number));
            } else if known.len() < MAX_LOOKED_AT
                && known.insert(oid)
                && let Ok(commit) = self.store.read_commit(oid)
            {
                next.extend(commit.parent.into_iter().chain(commit.merged));
            }
        }
        newest
    }

    /// Those of our commits that are at the remote are not to be pushed any more: the answer to their push was lost, and somebody has
    /// pushed since.
    pub(super) fn forget_pushed(&mut self, tips: Tips) -> Result<(), EngineError> {
        let commits = self.unpushed.iter().map(|made| made.commit);
        if let Some(last) = self.newest_below(tips.branch, self.base, commits) {
            let pushed = self.unpushed.drain(..=last).next_back();
            self.base = pushed.map(|made| made.commit);
            self.store.stands_on(self.base)?;
        }
        Ok(())
    }

    fn resume_on_moved(
        &mut self,
        found: Vec<Found>,
        base: Option<Oid>,
        tips: Tips,
    ) -> Result<(), EngineError> {
        let commits: Vec<Oid> = found.iter().map(|found| found.made.commit).collect();
        let touched: BTreeSet<String> = found
            .iter()
            .filter_map(|found| found.folders.clone())
            .flatten()
            .collect();
        let mut unmoved = BTreeMap::new();
        for folder in touched {
            let first = self.first_unmoved(&folder, base, &commits, tips.base)?;
            unmoved.insert(folder, first);
        }
        let all = found.len();
        let may_follow = |number: usize, found: &Found| {
            found.folders.as_ref().is_some_and(|folders| {
                let first = |folder| unmoved.get(folder).copied().flatten();
                let mut firsts = folders.iter().map(first);
                firsts.all(|first| first.is_some_and(|first| number >= first))
            })
        };
        self.unpushed = found
            .into_iter()
            .enumerate()
            .filter(|(number, found)| may_follow(*number, found))
            .map(|(_, found)| found.made)
            .collect();
        self.resumed.dropped = all - self.unpushed.len();
        self.resumed.kept = self.replay(tips.base)?;
        Ok(())
    }

    /// The number of the first commit whose parent has `folder` as `tip` has it. `None` where none has: somebody changed it.
    ///
    /// As a rule the very first; not where some of them were pushed before others moved the branch. Of several equal states
    /// the earliest counts: a commit that is there twice is better than one that is lost.
    fn first_unmoved(
        &self,
        folder: &str,
        base: Option<Oid>,
        commits: &[Oid],
        tip: Option<Oid>,
    ) -> Result<Option<usize>, EngineError> {
        let now = self.folder_tree_at(tip, folder)?;
        let parents = std::iter::once(base).chain(commits.iter().copied().map(Some));
        for (number, parent) in parents.enumerate() {
            if self.folder_tree_at(parent, folder)? == now {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }

    /// The commits on the way from `base` to `local`, oldest first. `None` where there is no such way.
    fn since(&self, local: Option<Oid>, base: Option<Oid>) -> Option<Vec<Found>> {
        let mut all = Vec::new();
        let mut at = local;
        while at != base {
            let commit = self.store.read_commit(at?).ok()?;
            let difference = self.changed_by(&commit).ok()?;
            let paths = difference.files.iter().map(|(path, _)| path.as_slice());
            let folders = paths.map(|path| self.folder_of(path)).collect();
            let blobs = difference.files.iter().filter_map(|(_, blob)| *blob);
            let mut objects: Vec<Oid> = blobs.collect();
            objects.extend(difference.trees);
            objects.extend(at);
            let made = Made {
                commit: at?,
                objects,
            };
            all.push(Found { made, folders });
            if all.len() > MAX_RESUMED {
                return None;
            }
            at = commit.parent;
        }
        all.reverse();
        Some(all)
    }

    /// Which of our folders a file is in.
    fn folder_of(&self, path: &[u8]) -> Option<String> {
        let mut folders = self.options.folders.iter();
        folders.find(|folder| is_within(path, folder)).cloned()
    }
}
