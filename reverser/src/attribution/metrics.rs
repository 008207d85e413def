//! What the store counts.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use crate::change::Miss;

/// Why an observation left the store without having been claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvictionReason {
    /// Its time to live was over.
    Expired,
    /// The store was full, and its user held the most.
    Capacity,
    /// The same user asked for the very same write on the same version so often.
    Fifo,
    /// Another write took the version that it was built on: it lost the race or was refused.
    BasePassed,
}

impl EvictionReason {
    fn label(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Capacity => "capacity",
            Self::Fifo => "fifo",
            Self::BasePassed => "base_passed",
        }
    }
}

/// The label of a hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HitTier {
    Exact,
    Content,
}

/// Counters of the attribution store, cheap to clone.
#[derive(Clone, Debug)]
pub struct AttributionMetrics {
    hits: IntCounterVec,
    misses: IntCounterVec,
    evictions: IntCounterVec,
    received: IntCounter,
    duplicates: IntCounter,
    malformed: IntCounter,
    pending: IntGauge,
}

impl AttributionMetrics {
    /// Makes the metrics and registers them.
    ///
    /// # Errors
    /// A metric of one of these names is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let vec = |name: &str, help: &str, label: &str| {
            IntCounterVec::new(Opts::new(format!("gitopsreverser_{name}"), help), &[label])
        };
        let metrics = Self {
            hits: vec(
                "enrich_hits_total",
                "Changes whose author was found, by tier.",
                "tier",
            )?,
            misses: vec(
                "enrich_misses_total",
                "Changes without an author, by reason; a hit that was withdrawn counts here as well.",
                "reason",
            )?,
            evictions: vec(
                "kv_evictions_total",
                "Observations dropped from the attribution store unclaimed, by reason.",
                "reason",
            )?,
            received: IntCounter::new(
                "gitopsreverser_observations_received_total",
                "Observations stored, each counted once however often it was sent.",
            )?,
            duplicates: IntCounter::new(
                "gitopsreverser_observations_duplicate_total",
                "Observations sent again by the sidecar and not counted twice.",
            )?,
            malformed: IntCounter::new(
                "gitopsreverser_observations_malformed_total",
                "Observations that could not be read, and were dropped.",
            )?,
            pending: IntGauge::new(
                "gitopsreverser_attributions_pending",
                "Observations that no watch event has claimed yet.",
            )?,
        };
        for tier in ["exact", "content"] {
            metrics.hits.with_label_values(&[tier]);
        }
        for miss in [
            Miss::Unseen,
            Miss::Ambiguous,
            Miss::Unconfirmed,
            Miss::NeverAdmitted,
        ] {
            metrics.misses.with_label_values(&[miss_label(miss)]);
        }
        for reason in [
            EvictionReason::Expired,
            EvictionReason::Capacity,
            EvictionReason::Fifo,
            EvictionReason::BasePassed,
        ] {
            metrics.evictions.with_label_values(&[reason.label()]);
        }
        registry.register(Box::new(metrics.hits.clone()))?;
        registry.register(Box::new(metrics.misses.clone()))?;
        registry.register(Box::new(metrics.evictions.clone()))?;
        registry.register(Box::new(metrics.received.clone()))?;
        registry.register(Box::new(metrics.duplicates.clone()))?;
        registry.register(Box::new(metrics.malformed.clone()))?;
        registry.register(Box::new(metrics.pending.clone()))?;
        Ok(metrics)
    }

    pub(super) fn hit(&self, tier: HitTier) {
        let label = match tier {
            HitTier::Exact => "exact",
            HitTier::Content => "content",
        };
        self.hits.with_label_values(&[label]).inc();
    }

    pub(super) fn miss(&self, miss: Miss) {
        self.misses.with_label_values(&[miss_label(miss)]).inc();
    }

    pub(super) fn evicted(&self, reason: EvictionReason) {
        self.evictions.with_label_values(&[reason.label()]).inc();
    }

    pub(super) fn received(&self) {
        self.received.inc();
    }

    pub(super) fn duplicate(&self) {
        self.duplicates.inc();
    }

    pub(super) fn malformed(&self) {
        self.malformed.inc();
    }

    pub(super) fn pending(&self, count: usize) {
        self.pending.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    #[cfg(test)]
    pub(super) fn evictions(&self, reason: EvictionReason) -> u64 {
        self.evictions.with_label_values(&[reason.label()]).get()
    }

    #[cfg(test)]
    pub(super) fn hits(&self, tier: HitTier) -> u64 {
        let label = match tier {
            HitTier::Exact => "exact",
            HitTier::Content => "content",
        };
        self.hits.with_label_values(&[label]).get()
    }

    #[cfg(test)]
    pub(super) fn misses(&self, miss: Miss) -> u64 {
        self.misses.with_label_values(&[miss_label(miss)]).get()
    }

    #[cfg(test)]
    pub(super) fn counts(&self) -> (u64, u64, u64) {
        (
            self.received.get(),
            self.duplicates.get(),
            self.malformed.get(),
        )
    }
}

fn miss_label(miss: Miss) -> &'static str {
    match miss {
        Miss::Unseen => "unseen",
        Miss::Ambiguous => "ambiguous",
        Miss::Unconfirmed => "unconfirmed",
        Miss::NeverAdmitted => "never_admitted",
        Miss::Reconciled => "reconciled",
    }
}
