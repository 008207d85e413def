//! How long ago something was, however the process or the machine was paused meanwhile.

use std::time::{Duration, Instant, SystemTime};

use rustix::time::{ClockId, clock_gettime};

/// A moment on three clocks. Each of them misses a kind of pause that another one sees.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    /// Runs on while the process is stopped, and never jumps; stands still while the machine is suspended.
    monotonic: Instant,
    /// The same, and runs on while the machine is suspended.
    boot: Duration,
    /// Runs on while a hypervisor has paused the machine, once somebody has set it again. May jump.
    real: SystemTime,
}

impl Stamp {
    pub(super) fn now() -> Self {
        let boot = clock_gettime(ClockId::Boottime);
        Self {
            monotonic: Instant::now(),
            boot: Duration::try_from(boot).unwrap_or_default(),
            real: SystemTime::now(),
        }
    }

    /// The longest time that any of the clocks has counted since. Too long where the real one was set forward: whoever acts on
    /// it must take that for "not known".
    pub(super) fn age(&self) -> Duration {
        self.age_at(&Self::now())
    }

    #[cfg(test)]
    pub(super) fn of_age(age: Duration) -> Self {
        let now = Self::now();
        Self {
            monotonic: now.monotonic.checked_sub(age).unwrap(),
            ..now
        }
    }

    fn age_at(&self, now: &Self) -> Duration {
        let monotonic = now.monotonic.saturating_duration_since(self.monotonic);
        let boot = now.boot.saturating_sub(self.boot);
        // Set back: it says nothing then.
        let real = now.real.duration_since(self.real).unwrap_or_default();
        monotonic.max(boot).max(real)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn later(stamp: &Stamp, monotonic: u32, boot: u32) -> Stamp {
        Stamp {
            monotonic: stamp.monotonic + SECOND * monotonic,
            boot: stamp.boot + SECOND * boot,
            real: stamp.real,
        }
    }

    #[test]
    fn a_pause_that_any_clock_has_seen_counts() {
        let then = Stamp::now();
        assert_eq!(then.age_at(&then), Duration::ZERO);
        assert_eq!(then.age_at(&later(&then, 3, 3)), SECOND * 3);
        // Suspended.
        assert_eq!(then.age_at(&later(&then, 1, 20)), SECOND * 20);
        // Paused from outside, and the clock set right afterwards.
        let paused = Stamp {
            real: then.real + SECOND * 60,
            ..later(&then, 1, 1)
        };
        assert_eq!(then.age_at(&paused), SECOND * 60);
    }

    #[test]
    fn a_clock_that_is_set_back_makes_nothing_younger() {
        let then = Stamp::now();
        let set_back = Stamp {
            real: then.real - SECOND * 3600,
            ..later(&then, 7, 7)
        };
        assert_eq!(then.age_at(&set_back), SECOND * 7);
    }

    #[test]
    fn the_clocks_run() {
        let then = Stamp::now();
        std::thread::sleep(Duration::from_millis(5));
        assert!(then.age() >= Duration::from_millis(5));
    }
}
