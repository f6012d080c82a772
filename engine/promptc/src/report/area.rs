//! The six lines of the dashboard: which promise belongs to which, and the one that stands for each.

use super::data::{TargetRow, TargetStatus};

/// A line of the dashboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Area {
    /// Times.
    Latency,
    /// Work per time.
    Throughput,
    /// How good results are.
    Quality,
    /// Bytes.
    Memory,
    /// How fast something is learnt.
    Learning,
    /// How times grow with size, threads or clients.
    Scaling,
}

impl Area {
    /// All lines from top to bottom.
    pub(super) const ALL: [Area; 6] =
        [Area::Latency, Area::Throughput, Area::Quality, Area::Memory, Area::Learning, Area::Scaling];

    /// Its word.
    pub(super) fn name(self) -> &'static str {
        match self {
            Area::Latency => "LATENCY",
            Area::Throughput => "THROUGHPUT",
            Area::Quality => "QUALITY",
            Area::Memory => "MEMORY",
            Area::Learning => "LEARNING",
            Area::Scaling => "SCALING",
        }
    }

    /// The line of a promise: by a word of the benchmark's name, else by metric and unit.
    pub(super) fn of(target: &TargetRow) -> Self {
        const LEARNING: [&str; 7] =
            ["learning", "convergence", "training", "ewc", "fisher", "recovery", "dream"];
        const SCALING: [&str; 6] = ["scaling", "concurrent", "threads", "contention", "parallel", "clients"];
        const QUALITY: [&str; 10] = [
            "saved_ratio",
            "retention",
            "cosine",
            "bleu",
            "accuracy",
            "recall",
            "perplexity",
            "error_rate",
            "hit_rate",
            "lost_count",
        ];
        let is_named =
            |words: &[&str]| words.iter().any(|word| target.bench_id.to_lowercase().contains(word));
        if target.metric == "iteration_count" || is_named(&LEARNING) {
            Area::Learning
        } else if is_named(&SCALING) {
            Area::Scaling
        } else if QUALITY.contains(&target.metric.as_str()) {
            Area::Quality
        } else if target.unit == "bytes" {
            Area::Memory
        } else if target.metric == "throughput" || target.unit.ends_with("/s") {
            Area::Throughput
        } else if target.unit == "ns"
            || ["wall_ns", "cpu_ns", "instructions"].contains(&target.metric.as_str())
        {
            Area::Latency
        } else {
            Area::Quality
        }
    }
}

/// One line: the promise nearest to its limit or farthest beyond it, and how many hold.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct AreaLine<'a> {
    /// Which line.
    pub(super) area: Area,
    /// The promise that stands for it, if any was measured.
    pub(super) tightest: Option<&'a TargetRow>,
    /// Promises that hold.
    pub(super) met_count: usize,
    /// Promises that were measured.
    pub(super) measured_count: usize,
    /// Promises in all.
    pub(super) count: usize,
}

/// The six lines. Promises of this project stand for a line before those of a document.
pub(super) fn lines(targets: &[TargetRow]) -> Vec<AreaLine<'_>> {
    let line = |area| {
        let mine: Vec<&TargetRow> = targets.iter().filter(|target| Area::of(target) == area).collect();
        let measured =
            |target: &&TargetRow| matches!(target.status, TargetStatus::Met | TargetStatus::NotMet);
        let mut tight: Vec<&TargetRow> = mine.iter().copied().filter(measured).collect();
        let met_count = tight.iter().filter(|target| target.status == TargetStatus::Met).count();
        let measured_count = tight.len();
        tight.sort_by(|a, b| {
            let own = |target: &TargetRow| target.kind != "ours";
            own(a).cmp(&own(b)).then(strain(b).total_cmp(&strain(a))).then(a.target_id.cmp(&b.target_id))
        });
        AreaLine { area, tightest: tight.first().copied(), met_count, measured_count, count: mine.len() }
    };
    Area::ALL.into_iter().map(line).collect()
}

/// Actual over limit where little is good, limit over actual where much is good; above 1 the promise is broken.
fn strain(target: &TargetRow) -> f64 {
    let Some(actual) = target.actual.filter(|actual| actual.is_finite()) else {
        return 0.0;
    };
    let broken = if target.status == TargetStatus::NotMet { f64::MAX } else { 0.0 };
    let strain = if target.op.starts_with('<') { actual / target.bound } else { target.bound / actual };
    if strain.is_finite() { strain } else { broken }
}

/// Actual over limit, for the bar; none if there is nothing to divide.
pub(super) fn share_of_limit(target: &TargetRow) -> Option<f64> {
    let share = target.actual? / target.bound;
    (share.is_finite() && share >= 0.0).then_some(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(
        bench_id: &str,
        metric: &str,
        unit: &str,
        op: &str,
        bound: f64,
        actual: Option<f64>,
    ) -> TargetRow {
        let is_met = |actual: f64| if op == "<=" { actual <= bound } else { actual >= bound };
        let status = match actual {
            Some(actual) if is_met(actual) => TargetStatus::Met,
            Some(_) => TargetStatus::NotMet,
            None => TargetStatus::NotMeasuredHere,
        };
        let [target_id, bench_id, metric, unit, op] =
            [bench_id, bench_id, metric, unit, op].map(str::to_owned);
        let kind = "ours".to_owned();
        TargetRow {
            target_id,
            kind,
            bench_id,
            metric,
            unit,
            op,
            bound,
            actual,
            status,
            ..TargetRow::default()
        }
    }

    #[test]
    fn promises_find_their_line() {
        let cases = [
            ("compile/check/200_lines", "wall_ns", "ns", Area::Latency),
            ("storage/single_write", "throughput", "1/s", Area::Throughput),
            ("compression/mixed/0.5", "saved_ratio", "ratio", Area::Quality),
            ("memory/trm/peak", "rss_peak_bytes", "bytes", Area::Memory),
            ("weight_dynamics/convergence/512", "wall_ns", "ns", Area::Learning),
            ("throughput/concurrent_8_threads", "throughput", "1/s", Area::Scaling),
        ];
        for (bench_id, metric, unit, area) in cases {
            assert_eq!(Area::of(&target(bench_id, metric, unit, "<=", 1.0, None)), area, "{bench_id}");
        }
    }

    #[test]
    fn the_tightest_promise_stands_for_its_line() {
        let targets = [
            target("a", "wall_ns", "ns", "<=", 100.0, Some(50.0)),
            target("b", "wall_ns", "ns", "<=", 100.0, Some(99.0)),
            target("c", "wall_ns", "ns", "<=", 100.0, None),
            target("d", "throughput", "1/s", ">=", 100.0, Some(50.0)),
            target("e", "throughput", "1/s", ">=", 100.0, Some(0.0)),
        ];
        let lines = lines(&targets);
        assert_eq!(lines[0].tightest.map(|target| target.target_id.as_str()), Some("b"));
        assert_eq!((lines[0].met_count, lines[0].measured_count, lines[0].count), (2, 2, 3));
        assert_eq!(lines[1].tightest.map(|target| target.target_id.as_str()), Some("e"));
        assert_eq!((lines[2].tightest, lines[2].count), (None, 0));
        assert_eq!(share_of_limit(&targets[0]), Some(0.5));
        assert_eq!(share_of_limit(&targets[2]), None);
    }
}
