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
    /// Nothing was found for what a list showed at this version. Late observations on any earlier
    /// one may still claim it.
    OpenBelow(Box<str>),
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

/// The place of an object's [`Verdict::OpenBelow`]; no resourceVersion.
pub(super) const GAP: &str = "<";

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
        let room = capacity.max(1).saturating_add(1);
        let options = OptionsBuilder::new()
            .shards(1)
            .hot_allocation(0.0)
            .ghost_allocation(0.0)
            .estimated_items_capacity(room)
            .weight_capacity(room as u64)
            .build()
            .expect("both capacities are set");
        let mut cache = Cache::with_options(
            options,
            UnitWeighter,
            DefaultHashBuilder::default(),
            DefaultLifecycle::default(),
        );
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::Miss;

    const KEEP: Duration = Duration::from_secs(60);

    fn held(verdicts: &Verdicts, now: Instant) -> Vec<u32> {
        (0..100)
            .filter(|n| verdicts.get("u", &n.to_string(), now).is_some())
            .collect()
    }

    /// Of what `quick_cache` does inside; fails when another version does otherwise.
    #[test]
    fn the_oldest_goes_first_however_often_it_was_read() {
        let now = Instant::now();
        let mut verdicts = Verdicts::new(10, KEEP);
        for n in 0..10 {
            verdicts.insert("u", &n.to_string(), Verdict::Open, now);
            for _ in 0..5 {
                assert!(verdicts.get("u", "0", now).is_some());
            }
        }
        assert_eq!(held(&verdicts, now), (0..10).collect::<Vec<_>>());
        for n in 10..50 {
            verdicts.insert("u", &n.to_string(), Verdict::Open, now);
            assert_eq!(held(&verdicts, now), (n - 9..=n).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_is_set_again_is_the_youngest() {
        let now = Instant::now();
        let closed = Verdict::Closed(Attribution::None(Miss::Unseen));
        let mut verdicts = Verdicts::new(3, KEEP);
        for n in [0, 1, 2] {
            verdicts.insert("u", &n.to_string(), Verdict::Open, now);
        }
        verdicts.insert("u", "0", closed.clone(), now);
        verdicts.insert("u", "3", Verdict::Open, now);
        assert_eq!(held(&verdicts, now), [0, 2, 3]);
        assert_eq!(verdicts.get("u", "0", now), Some(&closed));
    }

    #[test]
    fn a_verdict_is_forgotten_in_time_and_an_unknown_uid_has_none() {
        let now = Instant::now();
        let mut verdicts = Verdicts::new(3, KEEP);
        verdicts.insert("u", "0", Verdict::Open, now);
        verdicts.insert("", "", Verdict::Open, now);
        assert!(verdicts.get("", "", now).is_none());
        assert!(
            verdicts
                .get("u", "0", now + KEEP - Duration::from_millis(1))
                .is_some()
        );
        assert!(verdicts.get("u", "0", now + KEEP).is_none());
    }
}
