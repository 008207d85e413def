//! What an operator asks of the election.

use prometheus::{IntCounter, IntGauge, Opts, Registry};

/// Metrics of the election; registered without one too, so that dashboards need no exceptions.
#[derive(Debug)]
pub struct LeadershipMetrics {
    /// 1 while this process may push.
    pub leader: IntGauge,
    /// Times that this process took over from another pod.
    pub failovers_total: IntCounter,
    /// Attempts to take or renew the Lease that got no answer, or an error.
    pub lease_errors_total: IntCounter,
}

impl LeadershipMetrics {
    /// Registers all of them.
    ///
    /// # Errors
    /// When a name is taken in this registry.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let options = |name: &str, help: &str| Opts::new(name, help).namespace("gitopsreverser");
        let metrics = Self {
            leader: IntGauge::with_opts(options(
                "leader",
                "1 while this process leads, or runs alone; 0 while it follows or its Lease is in doubt.",
            ))?,
            failovers_total: IntCounter::with_opts(options(
                "failovers_total",
                "Times that this process took over from another pod.",
            ))?,
            lease_errors_total: IntCounter::with_opts(options(
                "lease_errors_total",
                "Attempts to take or renew the Lease that failed.",
            ))?,
        };
        registry.register(Box::new(metrics.leader.clone()))?;
        registry.register(Box::new(metrics.failovers_total.clone()))?;
        registry.register(Box::new(metrics.lease_errors_total.clone()))?;
        Ok(metrics)
    }
}
