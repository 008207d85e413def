//! Whether the Lease may be taken, by what was seen of it. Pure.
//!
//! As in client-go (`tools/leaderelection`), the times in a Lease are never compared with this machine's clock: what counts is
//! for how long it was seen unchanged, by the observer's own clock. Clocks that differ are no matter; one that runs at
//! half the speed would be.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use tokio::time::Instant;

/// Pod and process. The process is named too, so that one that was started again knows that it is not the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pod: String,
    process: String,
}

/// What was seen of the Lease, and since when it is so.
#[derive(Debug, Default)]
pub(super) struct Observed {
    spec: Option<(LeaseSpec, Instant)>,
}

/// What may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chance {
    /// It is ours.
    Held,
    /// An earlier process of this very pod held it. A pod runs one container of a name at a time, so that one has ended, and
    /// nobody has led since.
    Inherited,
    /// Nobody holds it, or whoever does has not renewed it for its whole duration.
    Free,
    /// Somebody else's.
    Taken,
}

impl Identity {
    pub(super) fn new(pod: &str) -> Self {
        Self {
            pod: pod.to_owned(),
            process: format!("{:08x}", rand::random::<u32>()),
        }
    }

    /// Whether this name is of a process of the same pod. Names of pods have no `_` in them.
    fn is_of_this_pod(&self, holder: &str) -> bool {
        holder
            .strip_prefix(&self.pod)
            .is_some_and(|rest| rest.starts_with('_'))
    }
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}_{}", self.pod, self.process)
    }
}

impl Observed {
    /// Takes in the Lease as it was just read, and says whether it may be taken. `duration` is ours; a holder that claims a longer
    /// one is given that.
    pub(super) fn see(
        &mut self,
        lease: &Lease,
        me: &Identity,
        duration: Duration,
        now: Instant,
    ) -> Chance {
        let spec = lease.spec.clone().unwrap_or_default();
        let since = match &self.spec {
            Some((known, since)) if *known == spec => *since,
            _ => now,
        };
        let chance = match spec.holder_identity.as_deref().unwrap_or_default() {
            "" => Chance::Free,
            holder if holder == me.to_string() => Chance::Held,
            holder if me.is_of_this_pod(holder) => Chance::Inherited,
            _ => {
                let seconds = spec.lease_duration_seconds.unwrap_or_default();
                let claimed = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
                if now.duration_since(since) > duration.max(claimed) {
                    Chance::Free
                } else {
                    Chance::Taken
                }
            }
        };
        self.spec = Some((spec, since));
        chance
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    const DURATION: Duration = Duration::from_secs(15);

    fn lease(holder: &str, renewed: i64) -> Lease {
        Lease {
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.to_owned()),
                lease_duration_seconds: Some(15),
                renew_time: Some(MicroTime(Timestamp::from_second(renewed).unwrap())),
                ..LeaseSpec::default()
            }),
            ..Lease::default()
        }
    }

    fn after(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_lease_is_free_once_it_was_unchanged_for_its_duration_whatever_its_times_say() {
        let me = Identity::new("b");
        let start = Instant::now();
        // Of a clock that is a year behind, and of one that is a year ahead.
        for renewed in [1_500_000_000, 4_000_000_000] {
            let mut observed = Observed::default();
            let mut see = |renewed: i64, at: u64| {
                observed.see(&lease("a_1", renewed), &me, DURATION, start + after(at))
            };
            assert_eq!(see(renewed, 0), Chance::Taken);
            assert_eq!(see(renewed, 14), Chance::Taken);
            assert_eq!(see(renewed + 2, 15), Chance::Taken);
            assert_eq!(see(renewed + 2, 30), Chance::Taken);
            assert_eq!(see(renewed + 2, 31), Chance::Free);
        }
    }

    #[test]
    fn a_holder_that_claims_longer_is_given_that() {
        let me = Identity::new("b");
        let start = Instant::now();
        let mut observed = Observed::default();
        let mut long = lease("a_1", 0);
        long.spec.as_mut().unwrap().lease_duration_seconds = Some(60);
        let mut see = |at: u64| observed.see(&long, &me, DURATION, start + after(at));
        assert_eq!(see(0), Chance::Taken);
        assert_eq!(see(60), Chance::Taken);
        assert_eq!(see(61), Chance::Free);
    }

    #[test]
    fn a_released_one_is_free_and_ones_own_is_held() {
        let me = Identity::new("b");
        let now = Instant::now();
        let mut observed = Observed::default();
        assert_eq!(
            observed.see(&lease("", 0), &me, DURATION, now),
            Chance::Free
        );
        assert_eq!(
            observed.see(&Lease::default(), &me, DURATION, now),
            Chance::Free
        );
        let mine = lease(&me.to_string(), 0);
        assert_eq!(observed.see(&mine, &me, DURATION, now), Chance::Held);
    }

    #[test]
    fn only_a_process_of_the_very_same_pod_leaves_its_lease() {
        let me = Identity::new("b");
        assert_ne!(me, Identity::new("b"));
        let now = Instant::now();
        let mut observed = Observed::default();
        let mut see = |holder: &str| observed.see(&lease(holder, 0), &me, DURATION, now);
        assert_eq!(see("b_00000000"), Chance::Inherited);
        for other in ["b2_00000000", "b", "b-_1", "bb", "a_b"] {
            assert_eq!(see(other), Chance::Taken, "{other}");
        }
    }
}
