//! Versions whose successor has been seen, and what was decided about it.

use std::hash::{Hash, Hasher};

use quick_cache::unsync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, Equivalent, OptionsBuilder, UnitWeighter};
use tokio::time::{Duration, Instant};

use crate::change::Attribution;

/// What is known of a version that has been replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing was found. A late observation may still claim it.
    Open,
    /// Final: no observation on this version can ever matter again.
    Closed(Attribution),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Version {
    uid: Box<str>,
    base: Box<str>,
}

impl Hash for Version {
    fn hash<H: Hasher>(&self, state: &mut H) {
        VersionRef(&self.uid, &self.base).hash(state);
    }
}

#[derive(Hash)]
struct VersionRef<'a>(&'a str, &'a str);

impl Equivalent<Version> for VersionRef<'_> {
    fn equivalent(&self, key: &Version) -> bool {
        self.0 == &*key.uid && self.1 == &*key.base
    }
}

#[derive(Clone, Debug)]
struct Entry {
    verdict: Verdict,
    at: Instant,
}

/// (uid, resourceVersion) → [`Verdict`], bounded, oldest dropped first, forgotten after a time.
///
/// A verdict that was dropped early costs little: a late loser then waits for its own time to
/// live, an event seen twice is joined twice, and a late winner may be missed.
///
/// `quick_cache` is Clock-PRO: new entries go to a *hot* ring until that is full, later ones to a
/// *cold* ring that is evicted first, and what was read is promoted. With its defaults a cache of
/// never-read entries keeps the first 97 % for good and evicts the newest. Here nothing is hot
/// and nothing is ever promoted (`peek` does not mark an entry as read), no ghosts are kept, and
/// there is one shard, so that the cold ring is a plain FIFO. The hot ring can't be smaller than
/// one entry: `new` fills that place with an entry of its own, or the first verdict would stay
/// for good.
pub(super) struct Verdicts {
    cache:
        Cache<Version, Entry, UnitWeighter, DefaultHashBuilder, DefaultLifecycle<Version, Entry>>,
    keep: Duration,
}

impl Verdicts {
    pub(super) fn new(capacity: usize, keep: Duration) -> Self {
        Self::with_hasher(capacity, keep, DefaultHashBuilder::default())
    }

    fn with_hasher(capacity: usize, keep: Duration, hasher: DefaultHashBuilder) -> Self {
        let room = capacity.max(1).saturating_add(1);
        let options = OptionsBuilder::new()
            .shards(1)
            .hot_allocation(0.0)
            .ghost_allocation(0.0)
            .estimated_items_capacity(room)
            .weight_capacity(room as u64)
            .build()
            .expect("both capacities are set");
        let mut cache =
            Cache::with_options(options, UnitWeighter, hasher, DefaultLifecycle::default());
        let placeholder = Version {
            uid: "".into(),
            base: "".into(),
        };
        let entry = Entry {
            verdict: Verdict::Open,
            at: Instant::now(),
        };
        cache.insert(placeholder, entry);
        Self { cache, keep }
    }

    pub(super) fn get(&self, uid: &str, base: &str, now: Instant) -> Option<&Verdict> {
        if uid.is_empty() {
            return None;
        }
        let entry = self.cache.peek(&VersionRef(uid, base))?;
        (now.duration_since(entry.at) < self.keep).then_some(&entry.verdict)
    }

    pub(super) fn insert(&mut self, uid: &str, base: &str, verdict: Verdict, now: Instant) {
        if uid.is_empty() {
            return;
        }
        // Taken out first: replacing in place would count as a read and promote the entry.
        self.cache.remove(&VersionRef(uid, base));
        let version = Version {
            uid: uid.into(),
            base: base.into(),
        };
        self.cache.insert(version, Entry { verdict, at: now });
    }
}
