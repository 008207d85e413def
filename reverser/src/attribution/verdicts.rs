//! Versions whose successor has been seen, and what was decided about it.

use std::borrow::Cow;
use std::hash::{Hash, Hasher};

use quick_cache::unsync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, Equivalent, OptionsBuilder, Weighter};
use tokio::time::{Duration, Instant};

use crate::change::Attribution;

use super::credit::Claim;

/// What is known of a version that has been replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing was found. A late observation may still claim it.
    Open,
    /// What is open of an object's gaps; at [`GAP`] only.
    Gaps(Gaps),
    /// Final: no observation on this version can ever matter again.
    Closed(Attribution),
    /// The same, but that a rival's may still come late.
    Claimed(Attribution, Claim),
}

/// Versions that lists showed: one gap may follow another before the first one's batch closes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Gaps {
    /// Nothing was found for what was there at this version. Late observations on any earlier one
    /// may still claim it.
    pub(super) open: Option<Box<str>>,
    /// Somebody was found, and a rival's observation on any earlier version may still come late.
    claims: Vec<(Box<str>, Claim)>,
}

impl Gaps {
    /// Of more, the oldest is withdrawn: its batch was closed long ago, or names nobody.
    const MOST: usize = 4;

    pub(super) fn claim(&mut self, version: &str, claim: Claim) {
        if self.claims.len() == Self::MOST {
            self.claims.remove(0).1.credit.withdraw();
        }
        self.claims.push((version.into(), claim));
    }

    pub(super) fn claims(&self) -> impl Iterator<Item = (&str, &Claim)> {
        self.claims
            .iter()
            .map(|(version, claim)| (&**version, claim))
    }

    fn cost(&self) -> usize {
        let texts = self.claims.iter().map(|(version, _)| version.len() + CLAIM);
        self.open.as_ref().map_or(0, |version| version.len()) + texts.sum::<usize>()
    }
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

/// The place of an object's [`Verdict::Gaps`]; no resourceVersion.
pub(super) const GAP: &str = "<";

/// What a verdict costs besides its texts: its entry, in a table that is half empty after it has
/// grown, and its allocations.
const VERDICT: usize = 400;

/// What a claim costs: a sighting with a few short texts, and what is shared with the change.
const CLAIM: usize = 400;

/// No verdict costs more: the longest texts that an observation may have, and those of a watch.
const LARGEST: u64 = 4096;

#[derive(Clone, Copy, Debug)]
struct Bytes;

impl Weighter<Version, Entry> for Bytes {
    fn weight(&self, version: &Version, entry: &Entry) -> u64 {
        if version.uid.is_empty() {
            return LARGEST;
        }
        let texts = |attribution: &Attribution| {
            let who = attribution.who();
            who.map_or(0, |who| who.username.len() + who.field_manager.len())
        };
        let answer = match &entry.verdict {
            Verdict::Open => 0,
            Verdict::Gaps(gaps) => gaps.cost(),
            Verdict::Closed(answer) => texts(answer),
            Verdict::Claimed(answer, _) => texts(answer) + CLAIM,
        };
        let bytes = VERDICT + version.uid.len() + version.base.len() + answer;
        (bytes as u64).min(LARGEST)
    }
}

/// (uid, resourceVersion) → [`Verdict`], bounded in bytes, oldest dropped first, forgotten after a
/// time.
///
/// A verdict that was dropped early costs little: a late loser then waits for its own time to
/// live, an event seen twice is joined twice, and a late winner may be missed.
///
/// `quick_cache` is Clock-PRO: new entries go to a *hot* ring until that is full, later ones to a
/// *cold* ring that is evicted first, and what was read is promoted. With its defaults a cache of
/// never-read entries keeps the first 97 % for good and evicts the newest. Here nothing is ever
/// promoted (`peek` does not mark an entry as read), no ghosts are kept, and there is one shard, so
/// that the cold ring is a plain FIFO. The hot ring must have room for the heaviest entry, or that
/// would be refused: `new` fills it for good with an entry of its own.
pub(super) struct Verdicts {
    cache: Cache<Version, Entry, Bytes, DefaultHashBuilder, DefaultLifecycle<Version, Entry>>,
    keep: Duration,
}

impl Verdicts {
    pub(super) fn new(bytes: usize, keep: Duration) -> Self {
        let room = (bytes as u64).max(LARGEST) + LARGEST;
        let options = OptionsBuilder::new()
            .shards(1)
            // A little more, as it is rounded; far less than a second entry would need.
            .hot_allocation((LARGEST as f64 + 1.0) / room as f64)
            .ghost_allocation(0.0)
            .estimated_items_capacity(bytes / VERDICT)
            .weight_capacity(room)
            .build()
            .expect("both capacities are set");
        let mut cache = Cache::with_options(
            options,
            Bytes,
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

    /// What is open of an object's gaps.
    pub(super) fn gaps(&self, uid: &str, now: Instant) -> Cow<'_, Gaps> {
        match self.get(uid, GAP, now) {
            Some(Verdict::Gaps(gaps)) => Cow::Borrowed(gaps),
            _ => Cow::Owned(Gaps::default()),
        }
    }

    /// The names that were given for deletes, and may be withdrawn: whose they are, and by uid and place.
    pub(super) fn claimed_deletes(
        &self,
    ) -> impl Iterator<Item = (&str, &str, &Attribution, &Claim)> {
        self.cache
            .iter()
            .filter_map(|(version, entry)| match &entry.verdict {
                Verdict::Claimed(answer, claim) if claim.removed.is_some() => {
                    Some((&*version.uid, &*version.base, answer, claim))
                }
                _ => None,
            })
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
    use crate::change::{Miss, Who};

    const KEEP: Duration = Duration::from_secs(60);

    /// Room for so many of these tests' verdicts: uids have one byte, versions one or two.
    fn room_for(count: usize) -> Verdicts {
        Verdicts::new(count * (VERDICT + 3), KEEP)
    }

    fn held(verdicts: &Verdicts, now: Instant) -> Vec<u32> {
        (0..100)
            .filter(|n| verdicts.get("u", &n.to_string(), now).is_some())
            .collect()
    }

    /// Of what `quick_cache` does inside; fails when another version does otherwise.
    #[test]
    fn the_oldest_goes_first_however_often_it_was_read() {
        let now = Instant::now();
        let mut verdicts = room_for(20);
        for n in 0..20 {
            verdicts.insert("u", &n.to_string(), Verdict::Open, now);
            for _ in 0..5 {
                assert!(verdicts.get("u", "0", now).is_some());
            }
        }
        assert_eq!(held(&verdicts, now), (0..20).collect::<Vec<_>>());
        for n in 20..50 {
            verdicts.insert("u", &n.to_string(), Verdict::Open, now);
            assert_eq!(held(&verdicts, now), (n - 19..=n).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_is_set_again_is_the_youngest() {
        let now = Instant::now();
        let closed = Verdict::Closed(Attribution::None(Miss::Unseen));
        let mut verdicts = room_for(12);
        for n in 0..12 {
            verdicts.insert("u", &n.to_string(), Verdict::Open, now);
        }
        verdicts.insert("u", "0", closed.clone(), now);
        verdicts.insert("u", "12", Verdict::Open, now);
        let but_1 = (0..=12).filter(|n| *n != 1);
        assert_eq!(held(&verdicts, now), but_1.collect::<Vec<_>>());
        assert_eq!(verdicts.get("u", "0", now), Some(&closed));
    }

    #[test]
    fn long_names_leave_room_for_fewer() {
        let now = Instant::now();
        let mut verdicts = room_for(20);
        let who = |length| {
            Verdict::Closed(Attribution::Exact(Who {
                username: "x".repeat(length),
                field_manager: String::new(),
            }))
        };
        for n in 0..20 {
            verdicts.insert("u", &n.to_string(), who(0), now);
        }
        // As much as five of the others; more than any is kept as well.
        verdicts.insert("u", "20", who(4 * VERDICT), now);
        assert_eq!(held(&verdicts, now), (5..=20).collect::<Vec<_>>());
        verdicts.insert("u", "21", who(1 << 20), now);
        assert!(verdicts.get("u", "21", now).is_some());
        assert!(held(&verdicts, now).len() > 1);
    }

    #[test]
    fn a_verdict_is_forgotten_in_time_and_an_unknown_uid_has_none() {
        let now = Instant::now();
        let mut verdicts = room_for(12);
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
