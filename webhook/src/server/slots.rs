//! How many connections there are at a time, and who goes when there are more.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// Bounds the connections. One that has carried an admission stays; of those that have not, the oldest makes room for a new
/// one. So whoever opens connections and says nothing, or does not know the path, keeps no apiserver out.
#[derive(Debug)]
pub(super) struct Slots {
    max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    next: u64,
    /// The oldest first.
    newcomers: VecDeque<(u64, CancellationToken)>,
}

/// The room of one connection, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    id: u64,
    evicted: CancellationToken,
}

// === impl Slots ===

impl Slots {
    /// Room for so many connections.
    #[must_use]
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            state: Mutex::default(),
        })
    }

    /// Room for a new connection, at the cost of the oldest that has carried no admission where there is no other. None when all
    /// have carried one.
    #[must_use]
    pub(super) fn take(self: &Arc<Self>) -> Option<Slot> {
        let mut state = self.state.lock();
        if state.taken < self.max {
            state.taken += 1;
        } else {
            let (_, oldest) = state.newcomers.pop_front()?;
            oldest.cancel();
        }
        let id = state.next;
        state.next += 1;
        let evicted = CancellationToken::new();
        state.newcomers.push_back((id, evicted.clone()));
        drop(state);
        Some(Slot {
            slots: Arc::clone(self),
            id,
            evicted,
        })
    }
}

impl State {
    fn forget(&mut self, id: u64) {
        // In order of their numbers, as they came.
        if let Ok(at) = self
            .newcomers
            .binary_search_by_key(&id, |newcomer| newcomer.0)
        {
            self.newcomers.remove(at);
        }
    }
}

// === impl Slot ===

impl Slot {
    /// The connection has carried an admission: it makes room for nobody any more.
    pub(super) fn keep(&self) {
        self.slots.state.lock().forget(self.id);
    }

    /// Comes to pass when the connection has to make room for another.
    pub(super) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.slots.state.lock();
        // Of one that was sent away somebody else has the room already.
        if !self.evicted.is_cancelled() {
            state.taken -= 1;
            state.forget(self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_that_carried_no_admission_makes_room() {
        let slots = Slots::new(3);
        let [first, second, third] = [(); 3].map(|()| slots.take().unwrap());
        first.keep();
        let fourth = slots.take().unwrap();
        let evicted = |all: &[&Slot]| -> Vec<bool> {
            all.iter().map(|slot| slot.evicted.is_cancelled()).collect()
        };
        assert_eq!(
            evicted(&[&first, &second, &third, &fourth]),
            [false, true, false, false]
        );
        third.keep();
        fourth.keep();
        assert!(slots.take().is_none());
        // The room of the one that was sent away is the fourth's: its end frees none.
        drop(second);
        assert!(slots.take().is_none());
        drop(first);
        let fifth = slots.take().unwrap();
        drop(fifth);
        assert!(slots.take().is_some());
    }

    #[test]
    fn nothing_is_left_of_those_that_went() {
        let slots = Slots::new(2);
        for _ in 0..10 {
            let many: Vec<_> = (0..5).map(|_| slots.take().unwrap()).collect();
            drop(many);
        }
        let state = slots.state.lock();
        assert_eq!((state.taken, state.newcomers.len()), (0, 0));
    }
}
