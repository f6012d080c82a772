//! What a bench measured, before it becomes a row.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// How a measurement ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Values in the unit of the metric, in the order taken. At least one.
    Measured(Vec<f64>),
    /// Its subject is not here, and why.
    Skipped(String),
    /// It was tried, and what went wrong.
    Failed(String),
}

/// One benchmark and metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurement {
    /// Title as in the list of benches.
    pub title: String,
    /// Name of the metric, as `wall_ns`.
    pub metric: &'static str,
    /// Unit of the values, as `ns`.
    pub unit: &'static str,
    /// -1 if lower is better, 1 if higher is, 0 for information.
    pub direction: i8,
    /// What changes the work.
    pub params: BTreeMap<String, String>,
    /// The values.
    pub outcome: Outcome,
    /// Time spent on it.
    pub measured_in: Duration,
    /// `none`, `wal`, `wal_fsync` or `group_commit`; every row of suite `storage` has one.
    pub durability: Option<&'static str>,
}

/// Unit and direction of the metrics that benches here use.
const METRICS: [(&str, &str, i8); 14] = [
    ("wall_ns", "ns", -1),
    ("throughput", "1/s", 1),
    ("bytes_per_second", "bytes/s", 1),
    ("alloc_bytes", "bytes", -1),
    ("rss_peak_bytes", "bytes", -1),
    ("size_bytes", "bytes", -1),
    ("saved_ratio", "ratio", 1),
    ("retention", "ratio", 1),
    ("bleu", "ratio", 1),
    ("accuracy", "ratio", 1),
    ("recall", "ratio", 1),
    ("perplexity", "ratio", -1),
    ("hit_rate", "ratio", 1),
    ("ratio", "ratio", 0),
];

impl Measurement {
    /// A measurement with its values.
    ///
    /// # Panics
    /// If the metric is not known here, or without values.
    #[must_use]
    pub fn new(title: impl Into<String>, metric: &'static str, values: Vec<f64>) -> Self {
        assert!(!values.is_empty(), "a measurement has values");
        Self::with(title.into(), metric, Outcome::Measured(values))
    }

    /// One that did not take place.
    ///
    /// # Panics
    /// If the metric is not known here.
    #[must_use]
    pub fn skipped(title: impl Into<String>, metric: &'static str, reason: &str) -> Self {
        Self::with(title.into(), metric, Outcome::Skipped(reason.to_owned()))
    }

    /// One that was tried and went wrong.
    ///
    /// # Panics
    /// If the metric is not known here.
    #[must_use]
    pub fn failed(title: impl Into<String>, metric: &'static str, reason: &str) -> Self {
        Self::with(title.into(), metric, Outcome::Failed(reason.to_owned()))
    }

    fn with(title: String, name: &'static str, outcome: Outcome) -> Self {
        let known = METRICS.iter().find(|(known, ..)| *known == name);
        let (_, unit, direction) = *known.expect("invariant: benches use metrics of this table");
        let metric = if name == "bytes_per_second" { "throughput" } else { name };
        let (params, measured_in, durability) = Default::default();
        Self { title, metric, unit, direction, params, outcome, measured_in, durability }
    }

    /// Adds a param.
    #[must_use]
    pub fn param(mut self, key: &str, value: impl ToString) -> Self {
        self.params.insert(key.to_owned(), value.to_string());
        self
    }

    /// States how durable a write was when it was answered.
    #[must_use]
    pub fn durable(mut self, durability: &'static str) -> Self {
        self.durability = Some(durability);
        self
    }

    /// States which way is better, for a metric that does not say: -1 lower, 1 higher.
    #[must_use]
    pub fn better(mut self, direction: i8) -> Self {
        self.direction = direction;
        self
    }

    /// States the time spent.
    #[must_use]
    pub fn within(mut self, measured_in: Duration) -> Self {
        self.measured_in = measured_in;
        self
    }

    /// Median of the values; none if it was not measured.
    #[must_use]
    pub fn median(&self) -> Option<f64> {
        let Outcome::Measured(values) = &self.outcome else { return None };
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let is_odd = sorted.len() % 2 == 1;
        Some(if is_odd { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) })
    }
}

/// The times of `count` calls in nanoseconds, in the order taken, after one call that does not count. Asking the clock costs about 25 ns
/// a call; what is faster than some microseconds belongs to criterion.
pub fn times_ns<R>(count: usize, mut work: impl FnMut(usize) -> R) -> Vec<f64> {
    black_box(work(0));
    let timed = |idx| {
        let start = Instant::now();
        black_box(work(idx));
        start.elapsed().as_nanos() as f64
    };
    (0..count).map(timed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_of_the_middle() {
        let median = |values: &[f64]| Measurement::new("a", "wall_ns", values.to_vec()).median();
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(Measurement::skipped("a", "bleu", "why").median(), None);
    }

    #[test]
    fn units_follow_from_metrics() {
        let measurement =
            Measurement::new("a", "bytes_per_second", vec![1.0]).param("threads", 2).durable("wal");
        assert_eq!(
            (measurement.metric, measurement.unit, measurement.direction),
            ("throughput", "bytes/s", 1)
        );
        assert_eq!((measurement.params["threads"].as_str(), measurement.durability), ("2", Some("wal")));
    }

    #[test]
    fn every_call_is_timed_but_the_first() {
        let mut calls = Vec::new();
        assert_eq!(times_ns(3, |idx| calls.push(idx)).len(), 3);
        assert_eq!(calls, [0, 0, 1, 2]);
    }
}
