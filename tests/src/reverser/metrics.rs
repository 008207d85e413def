//! What `/metrics` says, in Prometheus' text format.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

use crate::net::http_get;

/// One scrape: series, with their labels as they were printed, and their values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics(BTreeMap<String, f64>);

// === impl Metrics ===

impl Metrics {
    /// Scrapes an address.
    ///
    /// # Errors
    /// If nothing answers there, or not with metrics.
    pub async fn scrape(address: &str) -> Result<Self> {
        let (status, body) = http_get(address, "/metrics").await?;
        if status != 200 {
            bail!("/metrics on {address} answers {status}: {body}");
        }
        Self::parse(&body).with_context(|| format!("metrics of {address}"))
    }

    fn parse(text: &str) -> Result<Self> {
        text.lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| {
                let (series, value) = line
                    .rsplit_once(' ')
                    .with_context(|| format!("no sample: {line}"))?;
                let value = value.parse().with_context(|| format!("no value: {line}"))?;
                Ok((series.to_owned(), value))
            })
            .collect::<Result<_>>()
            .map(Self)
    }

    /// One series, written as on the page: `name` or `name{label="value"}`.
    #[must_use]
    pub fn get(&self, series: &str) -> Option<f64> {
        self.0.get(series).copied()
    }

    /// The sum over all series of a name, whatever their labels. 0 if there are none.
    #[must_use]
    pub fn sum(&self, name: &str) -> f64 {
        self.matching(name, "").map(|(_, value)| value).sum()
    }

    /// The sum over the series of a name that have a label, written `label="value"`.
    #[must_use]
    pub fn sum_where(&self, name: &str, label: &str) -> f64 {
        self.matching(name, label).map(|(_, value)| value).sum()
    }

    /// All series of a name.
    pub fn series<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.matching(name, "")
    }

    fn matching<'a>(
        &'a self,
        name: &'a str,
        label: &'a str,
    ) -> impl Iterator<Item = (&'a str, f64)> {
        self.0
            .iter()
            .filter(move |(series, _)| {
                series
                    .strip_prefix(name)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('{'))
                    && series.contains(label)
            })
            .map(|(series, value)| (series.as_str(), *value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_summed_over_its_labels_and_no_other_name() {
        let metrics = Metrics::parse(
            "# HELP a_total x\n# TYPE a_total counter\na_total{tier=\"exact\"} 3\na_total{tier=\"a b\"} 1.5\na_total_other 9\nb 1e3\n",
        )
        .unwrap();
        assert!((metrics.sum("a_total") - 4.5).abs() < f64::EPSILON);
        assert!((metrics.sum_where("a_total", "tier=\"exact\"") - 3.0).abs() < f64::EPSILON);
        assert_eq!(metrics.get("b"), Some(1000.0));
        assert_eq!(metrics.get("c"), None);
        assert_eq!(metrics.series("a_total").count(), 2);
    }

    #[test]
    fn what_is_no_metric_is_an_error() {
        assert!(Metrics::parse("<html>").is_err());
    }
}
