//! What an operator can ask about the sidecar.

use std::time::Duration;

use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
    TextEncoder,
};

use crate::outbox::Dropped;

/// The answer is due within 50 ms even while the reverser hangs, and within 2 ms on a healthy
/// system: the buckets are fine around both.
const BUCKETS: &[f64] = &[
    0.0001, 0.00025, 0.0005, 0.00075, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.03,
    0.04, 0.05, 0.055, 0.075, 0.1, 0.25, 1.0,
];

/// Every metric of the process, in a registry of its own.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    duration: Histogram,
    /// Observations put on the wire, replays included.
    pub observations_sent: IntCounter,
    /// Observations that the reverser has stored.
    pub observations_acked: IntCounter,
    /// Admissions that were answered because the deadline passed.
    pub ack_timeouts: IntCounter,
    dropped_overflow: IntCounter,
    dropped_expired: IntCounter,
    /// Observations not acknowledged yet.
    pub outbox_depth: IntGauge,
    /// 1 while the reverser answers.
    pub connected: IntGauge,
    /// notAfter of the serving certificate.
    pub certificate_expiry: IntGauge,
    certificate_reloads: IntCounterVec,
    connections_rejected: IntCounter,
    tls_handshake_failures: IntCounter,
}

impl Metrics {
    /// All at zero.
    ///
    /// # Errors
    /// None in practice: two metrics of one name would be one.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let name = |name: &str| format!("gitopsreverser_webhook_{name}");
        let counter = |suffix: &str, help: &str| {
            let counter = IntCounter::new(name(suffix), help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let counters = |suffix: &str, help: &str, label: &str| {
            let counters = IntCounterVec::new(Opts::new(name(suffix), help), &[label])?;
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, prometheus::Error>(counters)
        };
        let gauge = |suffix: &str, help: &str| {
            let gauge = IntGauge::new(name(suffix), help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let duration = Histogram::with_opts(
            HistogramOpts::new(
                name("request_duration_seconds"),
                "Time from the header of an admission request to its answer.",
            )
            .buckets(BUCKETS.to_vec()),
        )?;
        registry.register(Box::new(duration.clone()))?;
        let dropped = counters(
            "observations_dropped_total",
            "Observations that went before the reverser acknowledged them.",
            "reason",
        )?;
        let certificate_reloads = counters(
            "certificate_reloads_total",
            "Attempts to load a changed certificate.",
            "result",
        )?;
        for result in ["success", "failure"] {
            certificate_reloads.with_label_values(&[result]);
        }
        Ok(Self {
            requests: counters(
                "requests_total",
                "Requests by what came of them: observed, why not, or why refused.",
                "outcome",
            )?,
            duration,
            observations_sent: counter(
                "observations_sent_total",
                "Observations put on the wire, replays included.",
            )?,
            observations_acked: counter(
                "observations_acked_total",
                "Observations that the reverser has stored.",
            )?,
            ack_timeouts: counter(
                "ack_timeouts_total",
                "Admissions answered because the acknowledgement did not come in time.",
            )?,
            dropped_overflow: dropped.with_label_values(&["overflow"]),
            dropped_expired: dropped.with_label_values(&["expired"]),
            outbox_depth: gauge("outbox_depth", "Observations not acknowledged yet.")?,
            connected: gauge("connected", "1 while the reverser answers, else 0.")?,
            certificate_expiry: gauge(
                "certificate_expiry_timestamp_seconds",
                "When the serving certificate ceases to be valid, in seconds since the epoch.",
            )?,
            certificate_reloads,
            connections_rejected: counter(
                "connections_rejected_total",
                "Connections closed because too many were open, before they carried an admission.",
            )?,
            tls_handshake_failures: counter(
                "tls_handshake_failures_total",
                "Connections that did not get through the TLS handshake.",
            )?,
            registry,
        })
    }

    /// One request was answered. Only those that made it into a review have a duration worth
    /// knowing.
    pub fn request(&self, outcome: &str, duration: Option<Duration>) {
        self.requests.with_label_values(&[outcome]).inc();
        if let Some(duration) = duration {
            self.duration.observe(duration.as_secs_f64());
        }
    }

    pub(crate) fn dropped(&self, dropped: Dropped) {
        self.dropped_overflow.inc_by(dropped.overflow);
        self.dropped_expired.inc_by(dropped.expired);
    }

    pub(crate) fn certificate_reload(&self, succeeded: bool) {
        let result = if succeeded { "success" } else { "failure" };
        self.certificate_reloads.with_label_values(&[result]).inc();
    }

    pub(crate) fn connection_rejected(&self) {
        self.connections_rejected.inc();
    }

    pub(crate) fn tls_handshake_failed(&self) {
        self.tls_handshake_failures.inc();
    }

    /// The Prometheus text format, version 0.0.4.
    #[must_use]
    pub fn render(&self) -> Vec<u8> {
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            // It would take a metric without a name.
            tracing::error!(%error, "encoding the metrics");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::process::{Command, Stdio};

    #[test]
    fn promtool_finds_nothing_to_complain_about() {
        let metrics = Metrics::new().unwrap();
        metrics.request("observed", Some(Duration::from_micros(300)));
        let text = metrics.render();
        for name in [
            "requests_total{outcome=\"observed\"} 1",
            "dropped_total{reason=\"expired\"} 0",
        ] {
            assert!(String::from_utf8_lossy(&text).contains(name), "{name}");
        }
        let promtool = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut promtool) = promtool else {
            eprintln!("promtool is not installed: the names were not checked");
            return;
        };
        promtool.stdin.take().unwrap().write_all(&text).unwrap();
        let output = promtool.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(
            output.stdout.is_empty() && output.stderr.is_empty(),
            "{output:?}"
        );
    }
}
