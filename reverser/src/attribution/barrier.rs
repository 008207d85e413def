//! Waiting until everything that the sidecar has seen so far is in the store.
//!
//! A change may reach the reverser before its observation: the stream is slow, or was cut, or the
//! sidecar gets no processor. But its admission was answered before it was written, and whatever
//! the sidecar has answered is in its outbox. So a change whose author is not known yet, or may
//! still have a rival, asks for a *mark*, and once the sidecar has answered it there is nothing left
//! that could still tell.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep, sleep_until};

use super::service::{Presence, Sidecar};
use super::store::Store;

/// How long the sidecar may owe us an answer, or be away, while changes wait for it.
///
/// A stream that was cut is back within 2 s (the sidecar's longest pause), a container that was
/// restarted within a few seconds, and a process that gets no processor for 5 s has lost its
/// admissions to the webhook's timeout. The same as for the replay at the start.
const PATIENCE: Duration = Duration::from_secs(5);

/// The same once the process is to end.
const LAST: Duration = Duration::from_secs(1);

/// No single wait is longer, however often the sidecar comes and goes meanwhile.
const LONGEST: Duration = Duration::from_secs(10);

/// Pause between marks that nobody waits for: 20 a second are no load.
const BETWEEN_MARKS: Duration = Duration::from_millis(50);

/// The newest mark that was asked for; sent to the sidecar on each of its streams until reached.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Marks are numbered from 1; 0 is none.
    pub(super) number: u64,
    at: Instant,
    /// When the oldest was asked for that had no answer by then.
    unanswered_since: Instant,
}

impl Default for Asked {
    fn default() -> Self {
        let now = Instant::now();
        Self {
            number: 0,
            at: now,
            unanswered_since: now,
        }
    }
}

/// What is known to be in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// All that led to changes received up to then.
    Until(Instant),
    /// There is no knowing for changes received since then, and no use in waiting.
    LostSince(Instant),
}

/// What holds changes back until their observations can't be missed any more. One for all
/// workers; each has a clone.
#[derive(Clone, Debug)]
pub struct Barrier {
    asked: watch::Sender<Asked>,
    reached: watch::Receiver<u64>,
    presence: watch::Receiver<Presence>,
}

impl Barrier {
    /// `asked` goes to the [`ReportService`](super::ReportService), `reached` and `presence` come
    /// from it.
    #[must_use]
    pub fn new(
        asked: watch::Sender<Asked>,
        reached: watch::Receiver<u64>,
        presence: watch::Receiver<Presence>,
    ) -> Self {
        Self {
            asked,
            reached,
            presence,
        }
    }

    /// Waits until the store has all that the sidecar saw before the changes that were received
    /// up to `newest`, and returns up to when else it has all, which is that late at least. A
    /// mark that somebody else asked for since then serves as well.
    ///
    /// Gives up once the sidecar has been away, or has owed an answer, for 5 s; at the latest
    /// after 10 s. A sidecar that is dead so holds up nothing for good, and each change that comes
    /// later not at all.
    pub async fn pass(&self, newest: Instant) -> Coverage {
        self.pass_within(newest, PATIENCE).await
    }

    /// The same at the end of the process: the sidecar, which is told to end as well, answers now or never. Gives up after 1 s.
    pub async fn pass_last(&self, newest: Instant) -> Coverage {
        self.pass_within(newest, LAST).await
    }

    async fn pass_within(&self, newest: Instant, patience: Duration) -> Coverage {
        let asked = self.ask(newest);
        let latest = Instant::now() + LONGEST;
        let (mut reached, mut presence) = (self.reached.clone(), self.presence.clone());
        loop {
            if *reached.borrow_and_update() >= asked.number {
                return Coverage::Until(asked.at);
            }
            let now = *presence.borrow_and_update();
            let silent_since = match now.sidecar {
                Sidecar::Away => now.since,
                Sidecar::Replaying | Sidecar::Live => now.since.max(asked.unanswered_since),
            };
            let until = latest.min(silent_since + patience);
            let told = async {
                tokio::select! {
                    told = reached.changed() => told,
                    told = presence.changed() => told,
                }
            };
            tokio::select! {
                biased;
                told = told => if told.is_ok() { continue },
                () = sleep_until(until) => {}
            }
            return Coverage::LostSince(silent_since);
        }
    }

    /// Has the sidecar confirm what was joined, without end: before a batch closes most of it is
    /// certain already, and only the last moments before a sidecar dies are not.
    pub async fn confirm(self, store: Arc<Store>) {
        loop {
            store.credited().await;
            self.pass(Instant::now()).await;
            sleep(BETWEEN_MARKS).await;
        }
    }

    fn ask(&self, newest: Instant) -> Asked {
        let now = Instant::now();
        let mut mine = Asked::default();
        self.asked.send_if_modified(|asked| {
            let serves = asked.number > 0 && asked.at >= newest;
            if !serves {
                if *self.reached.borrow() >= asked.number {
                    asked.unanswered_since = now;
                }
                asked.number += 1;
                asked.at = now;
            }
            mine = *asked;
            !serves
        });
        mine
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Service {
        asked: watch::Receiver<Asked>,
        reached: watch::Sender<u64>,
        presence: watch::Sender<Presence>,
    }

    impl Service {
        /// One whose sidecar has long been in this state.
        fn long(sidecar: Sidecar) -> (Self, Barrier) {
            let since = Instant::now().checked_sub(Duration::from_secs(600));
            let since = since.unwrap();
            let (asking, asked) = watch::channel(Asked::default());
            let (reaching, reached) = watch::channel(0);
            let (being, presence) = watch::channel(Presence { sidecar, since });
            let service = Self {
                asked,
                reached: reaching,
                presence: being,
            };
            (service, Barrier::new(asking, reached, presence))
        }

        fn is(&self, sidecar: Sidecar) {
            self.presence.send_replace(Presence::now(sidecar));
        }

        fn number(&self) -> u64 {
            self.asked.borrow().number
        }
    }

    fn is_lost(coverage: Coverage) -> bool {
        matches!(coverage, Coverage::LostSince(_))
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_goes_on_when_the_mark_is_reached() {
        let (service, barrier) = Service::long(Sidecar::Live);
        let started = Instant::now();
        let waiting = tokio::spawn(async move { barrier.pass(started).await });
        tokio::time::sleep(seconds(2)).await;
        assert!(!waiting.is_finished());
        assert_eq!(service.number(), 1);
        service.reached.send_replace(1);
        assert_eq!(waiting.await.unwrap(), Coverage::Until(started));
        assert_eq!(started.elapsed(), seconds(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_mark_serves_all_changes_that_came_before_it_was_asked_for() {
        let (service, barrier) = Service::long(Sidecar::Live);
        let early = Instant::now();
        tokio::time::sleep(seconds(1)).await;
        let (one, other) = (barrier.clone(), barrier.clone());
        let one = tokio::spawn(async move { one.pass(early).await });
        let other = tokio::spawn(async move { other.pass(early).await });
        tokio::time::sleep(seconds(1)).await;
        let late = Instant::now();
        let third = barrier.clone();
        let third = tokio::spawn(async move { third.pass(late).await });
        tokio::time::sleep(seconds(1)).await;
        assert_eq!(service.number(), 2);
        service.reached.send_replace(1);
        assert_eq!(one.await.unwrap(), Coverage::Until(early + seconds(1)));
        assert_eq!(other.await.unwrap(), Coverage::Until(early + seconds(1)));
        assert!(!third.is_finished());
        service.reached.send_replace(2);
        assert_eq!(third.await.unwrap(), Coverage::Until(late));
        // It is known already: nobody is asked again.
        assert_eq!(barrier.pass(early).await, Coverage::Until(late));
        assert_eq!(service.number(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_sidecar_that_owes_an_answer_is_waited_for_once() {
        let (service, barrier) = Service::long(Sidecar::Live);
        let started = Instant::now();
        assert!(is_lost(barrier.pass(started).await));
        assert_eq!(started.elapsed(), PATIENCE);
        assert!(is_lost(barrier.pass(Instant::now()).await));
        assert_eq!(started.elapsed(), PATIENCE);
        assert_eq!(service.number(), 2);
        // It was starved, and is back.
        service.reached.send_replace(2);
        let again = Instant::now();
        assert!(is_lost(barrier.pass(again + seconds(1)).await));
        assert_eq!(again.elapsed(), PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_sidecar_that_comes_back_within_its_time_is_waited_for() {
        let (service, barrier) = Service::long(Sidecar::Live);
        service.is(Sidecar::Away);
        let lost = Instant::now();
        let waiting = tokio::spawn(async move { barrier.pass(lost).await });
        tokio::time::sleep(seconds(4)).await;
        service.is(Sidecar::Replaying);
        tokio::time::sleep(seconds(2)).await;
        service.is(Sidecar::Live);
        tokio::time::sleep(seconds(1)).await;
        assert!(!waiting.is_finished());
        service.reached.send_replace(1);
        assert_eq!(waiting.await.unwrap(), Coverage::Until(lost));
    }

    #[tokio::test(start_paused = true)]
    async fn a_sidecar_that_is_away_holds_up_nothing_for_good() {
        let (service, barrier) = Service::long(Sidecar::Live);
        service.is(Sidecar::Away);
        let lost = Instant::now();
        tokio::time::sleep(seconds(2)).await;
        assert!(is_lost(barrier.pass(Instant::now()).await));
        assert_eq!(lost.elapsed(), PATIENCE);
        assert!(is_lost(barrier.pass(Instant::now()).await));
        assert_eq!(lost.elapsed(), PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_end_a_sidecar_is_not_waited_for_to_come_back() {
        let (service, barrier) = Service::long(Sidecar::Live);
        service.is(Sidecar::Away);
        let lost = Instant::now();
        assert!(is_lost(barrier.pass_last(lost).await));
        assert_eq!(lost.elapsed(), LAST);
        let (service, barrier) = Service::long(Sidecar::Live);
        let asked = Instant::now();
        let waiting = tokio::spawn(async move { barrier.pass_last(asked).await });
        tokio::time::sleep(LAST / 2).await;
        service.reached.send_replace(1);
        assert_eq!(waiting.await.unwrap(), Coverage::Until(asked));
    }

    #[tokio::test(start_paused = true)]
    async fn a_sidecar_that_comes_and_goes_holds_up_nothing_for_good() {
        let (service, barrier) = Service::long(Sidecar::Live);
        let started = Instant::now();
        let waiting = tokio::spawn(async move { barrier.pass(started).await });
        let restarts = async {
            loop {
                tokio::time::sleep(seconds(1)).await;
                service.is(Sidecar::Away);
                tokio::time::sleep(seconds(1)).await;
                service.is(Sidecar::Replaying);
            }
        };
        tokio::select! {
            () = restarts => {}
            waited = waiting => assert!(is_lost(waited.unwrap())),
        }
        assert_eq!(started.elapsed(), LONGEST);
    }
}
