//! The sidecar's own histogram of how long its answers took.

use std::time::Duration;

use anyhow::{Context, Result};
use tests::reverser::Metrics;

const NAME: &str = "gitopsreverser_webhook_request_duration_seconds_bucket";

/// Answers by how long they took.
#[derive(Clone, Debug, Default)]
pub(crate) struct Histogram {
    /// Upper bounds in seconds, ascending, the last one infinite, each with how many answers took no longer.
    buckets: Vec<(f64, f64)>,
}

// === impl Histogram ===

impl Histogram {
    pub(super) fn of(metrics: &Metrics) -> Result<Self> {
        let mut buckets = metrics
            .series(NAME)
            .map(|(series, count)| {
                let bound = series.split('"').nth(1).context("a bucket without le")?;
                Ok((bound.parse()?, count))
            })
            .collect::<Result<Vec<(f64, f64)>>>()?;
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        Ok(Self { buckets })
    }

    /// The answers of this one that were not yet in `earlier`.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        self.combine(earlier, |now, before| now - before)
    }

    pub(super) fn plus(&self, other: &Self) -> Self {
        if self.buckets.is_empty() {
            return other.clone();
        }
        self.combine(other, |a, b| a + b)
    }

    /// All histograms here are of one process and have the same bounds.
    fn combine(&self, other: &Self, count: impl Fn(f64, f64) -> f64) -> Self {
        let buckets = self.buckets.iter().zip(&other.buckets);
        Self {
            buckets: buckets
                .map(|((bound, a), (_, b))| (*bound, count(*a, *b)))
                .collect(),
        }
    }

    pub(super) fn count(&self) -> f64 {
        self.buckets.last().map_or(0.0, |(_, count)| *count)
    }

    /// As Prometheus' `histogram_quantile` has it: evenly spread within a bucket.
    pub(super) fn quantile(&self, share: f64) -> Duration {
        let rank = self.count() * share;
        let mut lower = (0.0, 0.0);
        for &(bound, count) in &self.buckets {
            if count >= rank && count > 0.0 {
                let within = (rank - lower.1) / (count - lower.1);
                let seconds = if bound.is_finite() {
                    lower.0 + (bound - lower.0) * within
                } else {
                    lower.0
                };
                return Duration::from_secs_f64(seconds);
            }
            lower = (bound, count);
        }
        Duration::ZERO
    }

    /// The share that took no longer than a bound, which is one of the buckets'.
    pub(super) fn within(&self, bound: Duration) -> f64 {
        let seconds = bound.as_secs_f64();
        let found = self.buckets.iter().find(|(at, _)| *at >= seconds);
        found.map_or(0.0, |(_, count)| count / self.count().max(1.0))
    }
}
