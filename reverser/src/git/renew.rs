//! A clone fetched afresh under commits that wait to be pushed.
//!
//! While a server takes nothing and others move the branch, each fetch adds a pack, and nothing else takes any away.

use super::engine::Engine;
use super::error::EngineError;
use super::fetch::{Tips, fetch};
use super::store::Store;

/// Within the clone: where it is fetched to. What a killed process leaves there is removed at the next opening.
pub(super) const FOLDER: &str = "renewed";

impl Engine {
    /// Where the clone has grown too much by what it fetched, fetches the tip afresh and removes all that came before it. What
    /// failed is tried again when the branch moves once more.
    pub(super) fn renew_if_outgrown(&mut self) {
        if !self.has_unpushed() || !self.has_outgrown() {
            return;
        }
        let (repository, branch) = (self.options.url.clone(), self.options.branch.clone());
        match self.renew() {
            Ok(true) => tracing::info!(%repository, branch, "fetched the clone afresh"),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(%repository, branch, %error, "cannot fetch the clone afresh");
            }
        }
    }

    /// False where it can't be done now: the branch has moved meanwhile, or what waits to be pushed is not in our own packs.
    fn renew(&mut self) -> Result<bool, EngineError> {
        let mut waiting = self.unpushed.iter().flat_map(|made| &made.objects);
        if !waiting.all(|oid| self.store.packs.contains(*oid)) {
            return Ok(false);
        }
        let folder = self.store.repository().path().join(FOLDER);
        let mut fresh = Store::create(&folder, &self.options.url, &self.options.branch)?;
        let known = Tips {
            branch: self.remote,
            base: self.base,
        };
        let is_same = fetch(&mut fresh, &self.options, 1)? == known;
        drop(fresh);
        if is_same {
            self.store.take_in_place_of_others(&folder)?;
            self.note_size();
        }
        // Best effort: it is thrown away before it is used again.
        let _ = std::fs::remove_dir_all(&folder);
        Ok(is_same)
    }
}
