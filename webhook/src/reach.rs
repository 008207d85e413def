//! Since when the apiserver reaches this process.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How long after the first review an attempt may still be one that lost to a write which nobody saw.
///
/// It is an attempt on a stale version, and an apiserver's cache is behind by milliseconds; several
/// apiservers may find the way to this process one after the other.
const EARLY: Duration = Duration::from_secs(1);

/// After this long the way from the apiserver to a process that has just been started is taken to be
/// open, though no review has come: probes, endpoints and their spread take some 10 s. Else the first
/// change in a quiet cluster had no author.
const OPEN_AFTER: Duration = Duration::from_secs(30);

/// Tells which reviews came so early that the write before them may have been seen by nobody: until the
/// first one came, the apiserver went on without an answer.
#[derive(Debug)]
pub(crate) struct Reach {
    started: Instant,
    first: OnceLock<Instant>,
}

// === impl Reach ===

impl Reach {
    pub(crate) fn new(started: Instant) -> Self {
        Self {
            started,
            first: OnceLock::new(),
        }
    }

    /// Whether a review that came at `now` is early; the first call is the first review.
    pub(crate) fn is_early(&self, now: Instant) -> bool {
        let first = *self.first.get_or_init(|| now);
        let open = first.saturating_duration_since(self.started) >= OPEN_AFTER;
        !open && now.saturating_duration_since(first) < EARLY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn early(after_start: &[u64]) -> Vec<bool> {
        let started = Instant::now();
        let reach = Reach::new(started);
        let reviews = after_start
            .iter()
            .map(|millis| started + Duration::from_millis(*millis));
        reviews.map(|now| reach.is_early(now)).collect()
    }

    #[test]
    fn what_comes_within_a_second_of_the_first_review_is_early() {
        assert_eq!(
            early(&[20_000, 20_500, 20_999, 21_000]),
            [true, true, true, false]
        );
    }

    #[test]
    fn after_half_a_minute_without_a_review_nothing_is_early() {
        assert_eq!(early(&[30_000, 30_001]), [false, false]);
    }
}
