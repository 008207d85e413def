//! Where the apiserver sends admissions, where there are replicas.

use tokio::time::{Duration, Instant};

/// How long after a write an attempt on the version that it replaced may still be admitted: an apiserver's cache is behind by
/// milliseconds.
const STALE: Duration = Duration::from_secs(1);

/// How old what a sidecar tells of the past may be.
const OUTBOX: Duration = Duration::from_secs(60);

/// Since when all admissions come to our sidecar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Routed {
    /// They always did: there are no replicas, or they came here all along.
    #[default]
    Here,
    /// Some may go to another replica's.
    Elsewhere,
    /// Since then.
    HereSince(Instant),
}

impl Routed {
    /// Whether an observation that was recorded at `since` is no evidence: the write on its version may have been seen by another
    /// sidecar only, just before. `replayed`: it was made up to a minute earlier.
    pub(super) fn may_have_missed(self, since: Instant, replayed: bool) -> bool {
        match self {
            Self::Here => false,
            Self::Elsewhere => true,
            Self::HereSince(from) => {
                let age = if replayed { OUTBOX } else { Duration::ZERO };
                since < from + STALE + age
            }
        }
    }
}
