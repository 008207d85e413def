//! Names that are given at once, and stand only once nothing can speak against them any more.
//!
//! A change is joined on receipt, but what else was asked for on the same version may reach the
//! store later: the stream is slow, or was cut and is replayed. And it may never come: the
//! sidecar died with it, or was dead when the apiserver called. Then what was found is not
//! known to be all that there was. So until its batch closes a name may be withdrawn.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use crate::change::{Miss, Operation, Sighting};

use super::removals::Removed;

/// Marks under way that eras are kept for. There are more only where the sidecar answers none.
const MOST_MARKS: usize = 64;

/// The right to a name, to be looked at when the change's batch closes.
#[derive(Clone, Debug)]
pub struct Credit {
    rivalled: Arc<AtomicBool>,
    era: Era,
}

impl Credit {
    /// Why the name can't be kept. Final once the [barrier](super::Barrier) was passed.
    #[must_use]
    pub fn objection(&self) -> Option<Miss> {
        if self.rivalled.load(Ordering::Acquire) {
            Some(Miss::Ambiguous)
        } else if self.era.is_confirmed() {
            None
        } else {
            Some(Miss::Unconfirmed)
        }
    }

    pub(super) fn withdraw(&self) {
        self.rivalled.store(true, Ordering::Release);
    }
}

/// What a name was given for, as long as a rival may turn up.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    /// Only what rivals are compared with.
    pub(super) sighting: Box<Sighting>,
    /// What is gone, where something is.
    pub(super) removed: Option<Removed>,
    pub(super) credit: Credit,
}

impl PartialEq for Claim {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.credit.rivalled, &other.credit.rivalled)
    }
}

impl Eq for Claim {}

impl Claim {
    pub(super) fn new(sighting: &Sighting, era: Era) -> Self {
        let removed =
            (sighting.operation == Operation::Delete).then(|| Removed::object(&sighting.identity));
        let mut sighting = sighting.clone();
        let identity = &mut sighting.identity;
        for text in [
            &mut identity.resource,
            &mut identity.namespace,
            &mut identity.name,
            &mut sighting.uid,
            &mut sighting.version,
        ] {
            *text = String::new();
        }
        Self {
            sighting: Box::new(sighting),
            removed,
            credit: Credit {
                rivalled: Arc::default(),
                era,
            },
        }
    }
}

/// Changes that were joined between two marks, and what came of the second one.
#[derive(Clone, Debug, Default)]
pub(super) struct Era(Arc<AtomicU8>);

/// Until one of these it is open.
const CONFIRMED: u8 = 1;
const LOST: u8 = 2;

impl Era {
    fn is_confirmed(&self) -> bool {
        self.0.load(Ordering::Acquire) == CONFIRMED
    }

    fn ends(&self, fate: u8) {
        self.0.store(fate, Ordering::Release);
    }
}

/// What is known to be complete: whether the sidecar that was there when a change was received was
/// still there afterwards, and told all that it had seen.
#[derive(Debug, Default)]
pub(super) struct Witness {
    /// Of the changes that are joined now.
    era: Era,
    /// By the mark that ends it; oldest first.
    awaited: VecDeque<(u64, Era)>,
    /// There is no stream, or one on which not all is told yet that was seen before.
    away: bool,
    /// How many sidecar processes there were. What one saw last dies with it, and until the next one
    /// is there nobody sees anything.
    process: u64,
}

impl Witness {
    pub(super) fn era(&self) -> Era {
        self.era.clone()
    }

    /// What is joined from now on is not covered by this mark, which is about to be sent.
    pub(super) fn mark(&mut self, number: u64) {
        if self.awaited.len() < MOST_MARKS {
            let era = std::mem::take(&mut self.era);
            self.awaited.push_back((number, era));
        }
    }

    /// All that the sidecar saw before this mark was sent is in the store.
    pub(super) fn reached(&mut self, number: u64) {
        while let Some((_, era)) = self.awaited.front().filter(|(mark, _)| *mark <= number) {
            era.ends(CONFIRMED);
            self.awaited.pop_front();
        }
    }

    /// The stream ended.
    pub(super) fn leaves(&mut self) {
        self.away = true;
    }

    /// There is a stream again. The same process will confirm what it saw; another can't tell what
    /// the one before saw last.
    pub(super) fn returns(&mut self, same: bool) {
        self.away = true;
        if same {
            return;
        }
        self.process += 1;
        std::mem::take(&mut self.era).ends(LOST);
        for (_, era) in self.awaited.drain(..) {
            era.ends(LOST);
        }
    }

    /// The process on the stream has told what it saw before.
    pub(super) fn replayed(&mut self) {
        self.away = false;
    }

    /// Whether what is recorded now was seen earlier.
    pub(super) fn is_away(&self) -> bool {
        self.away
    }

    /// The process that observes now.
    pub(super) fn process(&self) -> u64 {
        self.process
    }

    /// Whether what this process observed is evidence: it is still there to tell who else asked for
    /// the same. What a list shows may be of any of them, so all must have been told already; of an
    /// event they are [told](Credit) until its batch closes.
    pub(super) fn vouches_for(&self, process: u64, listed: bool) -> bool {
        process == self.process && !(listed && self.away)
    }
}
