//! A list for subscribers that want everything, read beside the open watch.
//!
//! The chain of versions stays whole: the index follows the watch alone, and everybody else's
//! changes keep their exact authors. An object is given to the subscribers where list and index agree on
//! its content, so that what is given is what the watch stands at. Wherever they differ,
//! the watch has told the subscribers of it already, or will: the list is consistent, so at its
//! begin no event was ahead of it, and every event since goes to them too.
//!
//! It is read by pages: it waits for room in queues, and a stream that isn't read is cut off by the server.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::{Instant, timeout_at};

use super::emit::{complete, give};
use super::given::Part;
use super::index::{Index, ObjectName};
use super::object::{Meta, Seen};
use super::source::{Object, Page, PageLimit, Source, SourceError};
use super::subscriber::Subscriber;
use super::task::Shared;
use crate::attribution::join::older;
use crate::rules::WatchKey;

/// How long a list waits for room in a queue while somebody else waits for the list. Past it, that
/// queue's destination is listed for later: its remote is away, and nobody need wait for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Objects that are handed out between two looks at the watch: some milliseconds.
const PIECE: usize = 50;

/// Who wants everything, and what of it comes next.
pub(super) struct SideList {
    source: Source,
    limit: PageLimit,
    takers: Vec<Taker>,
    /// Listed, and not in the index at the time; with the version.
    unknown: HashMap<ObjectName, Box<str>>,
    /// Listed, and of no version that the index could hold: their files stay as they are.
    versionless: HashSet<ObjectName>,
    stage: Stage,
    /// Until when to wait for room.
    deadline: Option<Instant>,
}

/// Who wants everything, and what it was given of it, in this list and before.
pub(super) type Taker = (Subscriber, Part);

enum Stage {
    /// A page is on its way.
    Asking(BoxFuture<'static, Result<Page, SourceError>>),
    /// Its objects are handed out.
    Giving {
        objects: std::vec::IntoIter<Object>,
        next: Option<String>,
    },
    /// The list is complete, the files of what it lacks are not swept yet.
    Ending,
}

/// What a watch stands at.
pub(super) struct Standing<'a> {
    pub(super) key: &'a WatchKey,
    pub(super) shared: &'a Shared,
    pub(super) index: &'a Index,
    /// Everything up to this version has been told.
    pub(super) version: &'a str,
}

/// What became of a taker.
#[derive(Debug)]
pub(super) enum Served {
    /// It was given everything.
    Everything(Subscriber),
    /// Its queue was full for too long.
    Later(Taker),
}

impl SideList {
    /// Lists for `takers`, which must get every event from now on.
    pub(super) fn new(source: &Source, takers: Vec<Taker>) -> Self {
        Self {
            source: source.clone(),
            limit: PageLimit::default(),
            takers,
            unknown: HashMap::new(),
            versionless: HashSet::new(),
            stage: Stage::Asking(Box::pin(source.page(None, PageLimit::default()))),
            deadline: None,
        }
    }

    /// One that has its only page already.
    #[cfg(test)]
    pub(super) fn of_one_page(source: &Source, takers: Vec<Taker>, objects: Vec<Object>) -> Self {
        Self {
            stage: Stage::Giving {
                objects: objects.into_iter(),
                next: None,
            },
            ..Self::new(source, takers)
        }
    }

    /// As if it had waited for long.
    #[cfg(test)]
    pub(super) fn lose_patience(&mut self) {
        self.deadline = Some(Instant::now());
    }

    /// Nobody is left to list for.
    pub(super) fn is_done(&self) -> bool {
        self.takers.is_empty()
    }

    /// Whether it serves this destination, for what it wants now.
    pub(super) fn serves(&self, subscriber: &Subscriber) -> bool {
        self.takers
            .iter()
            .any(|(taker, _)| is_same(taker, subscriber))
    }

    /// Goes on for those of its takers only that still want what they wanted.
    pub(super) fn retain(&mut self, subscribers: &[Subscriber]) {
        self.takers.retain_mut(|(taker, _)| {
            let still = subscribers.iter().find(|now| is_same(taker, now));
            still.inspect(|now| taker.clone_from(now)).is_some()
        });
    }

    /// Ends before its end: what everybody was given.
    pub(super) fn into_takers(self) -> Vec<Taker> {
        self.takers
    }

    /// Resolves once there is something to do. Loses nothing when it is dropped before.
    ///
    /// # Errors
    /// When the next page can't be had: the list is of no use any more.
    pub(super) async fn ready(&mut self) -> Result<(), SourceError> {
        match &mut self.stage {
            Stage::Asking(page) => {
                let page = page.await?;
                let objects = page.items.unwrap_or_default();
                self.limit = self.limit.after(&objects);
                self.stage = Stage::Giving {
                    objects: objects.into_iter(),
                    next: Some(page.metadata.token).filter(|token| !token.is_empty()),
                };
            }
            Stage::Giving { .. } => {
                let deadline = *self
                    .deadline
                    .get_or_insert_with(|| Instant::now() + PATIENCE);
                // Past the deadline `work` looks who has no room.
                let _ = timeout_at(deadline, room(&self.takers)).await;
            }
            Stage::Ending => {}
        }
        // There may be much to do; others live on this thread too.
        tokio::task::yield_now().await;
        Ok(())
    }

    /// Does some of what there is to do, and never waits. `others_wait` tells whether a subscriber
    /// that it doesn't serve waits for it to end.
    pub(super) fn work(
        &mut self,
        standing: &Standing<'_>,
        others_wait: impl Fn(&Self) -> bool,
    ) -> Vec<Served> {
        for _ in 0..PIECE {
            let Stage::Giving { objects, next } = &mut self.stage else {
                break;
            };
            if self.takers.iter().any(is_full) {
                return self.out_of_room(others_wait);
            }
            self.deadline = None;
            match (objects.next(), next.take()) {
                (Some(object), token) => {
                    *next = token;
                    self.hand_out(&object, standing);
                }
                (None, Some(token)) => {
                    let page = self.source.page(Some(token), self.limit);
                    self.stage = Stage::Asking(Box::pin(page));
                }
                (None, None) => self.stage = Stage::Ending,
            }
        }
        match self.stage {
            Stage::Ending => self.end_one(standing).into_iter().collect(),
            Stage::Asking(_) | Stage::Giving { .. } => Vec::new(),
        }
    }

    /// Waits on, or goes on without those who have no room.
    fn out_of_room(&mut self, others_wait: impl Fn(&Self) -> bool) -> Vec<Served> {
        if self
            .deadline
            .is_none_or(|deadline| Instant::now() < deadline)
        {
            return Vec::new();
        }
        self.deadline = None;
        if self.takers.iter().all(is_full) && !others_wait(self) {
            return Vec::new();
        }
        self.takers
            .extract_if(.., |taker| is_full(taker))
            .map(Served::Later)
            .collect()
    }

    fn hand_out(&mut self, object: &Object, standing: &Standing<'_>) {
        standing.shared.metrics.objects_scanned_total.inc();
        let served = &standing.key.served;
        let meta = match Meta::read(object) {
            Ok(meta) => meta,
            // The watch says so, where it has not said it already.
            Err(unreadable) => {
                self.versionless.extend(unreadable.which.name().cloned());
                return;
            }
        };
        let takes = |(taker, _): &Taker| taker.takes(served, &meta.name.0);
        if !self.takers.iter().any(takes) {
            return;
        }
        let Some(known) = standing.index.get(&meta.name) else {
            self.unknown.insert(meta.name, meta.resource_version);
            return;
        };
        let Ok(seen) = Seen::new(object, served, standing.shared.cluster_made) else {
            return;
        };
        let agreed = known.uid == seen.meta.uid && known.fingerprint == Some(seen.fingerprint);
        if agreed && known.is_live() && seen.is_live() {
            for (taker, part) in &mut self.takers {
                if part.add(&seen.meta.name) {
                    give(&seen, &known, taker);
                }
            }
        }
    }

    /// Sweeps for one taker, by what is live now. An object that the list held and the watch has not
    /// told of yet is live too.
    fn end_one(&mut self, standing: &Standing<'_>) -> Option<Served> {
        let (taker, _) = self.takers.pop()?;
        let untold =
            |version: &str| !older(version, standing.version) && version != standing.version;
        let kept = self
            .unknown
            .iter()
            .filter(|(name, version)| standing.index.get(name).is_none() && untold(version))
            .map(|(name, _)| name)
            .chain(&self.versionless);
        let live = taker.live_files(&standing.key.served, standing.index, kept);
        complete(
            standing.key,
            standing.shared,
            &taker,
            standing.version,
            live,
            taker.cause,
        );
        Some(Served::Everything(taker))
    }
}

fn is_full((taker, _): &Taker) -> bool {
    taker.queue.is_full()
}

/// Whether both are one destination that wants the same.
fn is_same(a: &Subscriber, b: &Subscriber) -> bool {
    a.key() == b.key() && a.epoch == b.epoch
}

/// Waits until nobody's queue is full.
async fn room(takers: &[Taker]) {
    // One that has room may lose it while another is waited for.
    while let Some((full, _)) = takers.iter().find(|taker| is_full(taker)) {
        full.queue.room().await;
    }
}
