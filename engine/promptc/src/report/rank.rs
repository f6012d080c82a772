//! What comes first: regressions, then what is undecided, then improvements, and within each the largest change.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::data::{Decision, Gate, GateOutcome, ReportData, Series, Verdict};

/// Benchmark and metric.
pub(super) type Subject<'a> = (&'a str, &'a str);

/// The gravest verdict of each benchmark and metric over all gates.
pub(super) fn gravest(data: &ReportData) -> BTreeMap<Subject<'_>, &Verdict> {
    let subjects = subjects_in_order(data).into_iter();
    subjects.map(|verdict| ((verdict.bench_id.as_str(), verdict.metric.as_str()), verdict)).collect()
}

/// The gravest verdict of each benchmark and metric, in the order of the report.
pub(super) fn subjects_in_order(data: &ReportData) -> Vec<&Verdict> {
    let mut seen: BTreeSet<Subject<'_>> = BTreeSet::new();
    let mut sorted = in_order(&data.verdicts);
    sorted.retain(|verdict| seen.insert((&verdict.bench_id, &verdict.metric)));
    sorted
}

/// How many benchmarks and metrics have a decision as their gravest.
pub(super) fn count(data: &ReportData, decision: Decision) -> usize {
    subjects_in_order(data).iter().filter(|verdict| verdict.decision == decision).count()
}

/// Verdicts in the order of the report.
pub(super) fn in_order(verdicts: &[Verdict]) -> Vec<&Verdict> {
    let mut sorted: Vec<&Verdict> = verdicts.iter().collect();
    sorted.sort_by_key(|verdict| {
        (verdict.decision, by_size(verdict.rel), &verdict.bench_id, &verdict.metric, &verdict.gate_id)
    });
    sorted
}

/// Gates in the order of the report: those that could not run, failures, what is undecided, warnings, and the rest by name.
pub(super) fn gates_in_order(data: &ReportData) -> Vec<&Gate> {
    let weight = |gate: &Gate| match gate.outcome {
        GateOutcome::NotRun => 0,
        GateOutcome::Failed if !gate.is_warning() => 1,
        GateOutcome::Undecided => 2,
        GateOutcome::Failed => 3,
        GateOutcome::Passed => 4,
    };
    let mut sorted: Vec<&Gate> = data.gates.iter().collect();
    sorted.sort_by_key(|gate| (weight(gate), &gate.id));
    sorted
}

/// Series in the order of the report; among those without a verdict the ones that moved come first.
pub(super) fn series_in_order(data: &ReportData) -> Vec<&Series> {
    let gravest = gravest(data);
    let key = |series: &&Series| {
        let verdict = gravest.get(&(series.bench_id.as_str(), series.metric.as_str()));
        let decision = match verdict.map(|verdict| verdict.decision) {
            Some(Decision::NoChange) | None => None,
            decided => decided,
        };
        let has_moved = series.history.iter().any(|point| point.is_change_point);
        let place = decision.map_or((1, Decision::NoChange), |decision| (0, decision));
        let rel = by_size(verdict.and_then(|verdict| verdict.rel));
        (place, Reverse(has_moved), verdict.is_none(), rel, series.bench_id.clone(), series.metric.clone())
    };
    let mut sorted: Vec<&Series> = data.series.iter().collect();
    sorted.sort_by_cached_key(key);
    sorted
}

/// Largest change first, missing last, as a key with a total order: bits of a positive number sort as the number.
fn by_size(rel: Option<f64>) -> Reverse<u64> {
    Reverse(rel.filter(|rel| rel.is_finite()).map_or(0, |rel| rel.abs().to_bits() + 1))
}

#[cfg(test)]
mod tests {
    use super::super::data::{HistoryPoint, Severity};
    use super::*;

    #[test]
    fn failures_come_before_warnings() {
        let gate =
            |id: &str, severity, outcome| Gate { id: id.to_owned(), severity, outcome, ..Gate::default() };
        let gates = vec![
            gate("a", Severity::Error, GateOutcome::Passed),
            gate("b", Severity::Warn, GateOutcome::Failed),
            gate("c", Severity::Error, GateOutcome::Undecided),
            gate("d", Severity::Error, GateOutcome::Failed),
            gate("e", Severity::Warn, GateOutcome::NotRun),
        ];
        let data = ReportData { gates, ..ReportData::default() };
        let names: Vec<&str> = gates_in_order(&data).iter().map(|gate| gate.id.as_str()).collect();
        assert_eq!(names, ["e", "d", "c", "b", "a"]);
    }

    fn verdict(gate_id: &str, bench_id: &str, decision: Decision, rel: Option<f64>) -> Verdict {
        let (gate_id, bench_id) = (gate_id.to_owned(), bench_id.to_owned());
        Verdict { gate_id, bench_id, decision, rel, ..Verdict::default() }
    }

    #[test]
    fn grave_and_large_first() {
        let verdicts = vec![
            verdict("paired", "same", Decision::NoChange, Some(0.01)),
            verdict("paired", "small", Decision::Regression, Some(0.06)),
            verdict("paired", "large", Decision::Regression, Some(0.6)),
            verdict("paired", "odd", Decision::Regression, Some(f64::NAN)),
            verdict("paired", "better", Decision::Improvement, Some(-0.3)),
            verdict("paired", "noisy", Decision::CannotTell, None),
        ];
        let names: Vec<&str> = in_order(&verdicts).iter().map(|verdict| verdict.bench_id.as_str()).collect();
        assert_eq!(names, ["large", "small", "odd", "noisy", "better", "same"]);
    }

    #[test]
    fn a_benchmark_counts_once_by_its_gravest_verdict() {
        let verdicts = vec![
            verdict("paired", "a", Decision::Improvement, Some(-0.5)),
            verdict("quality_floor", "a", Decision::Failure, None),
            verdict("paired", "b", Decision::Regression, Some(0.2)),
            verdict("iqr_fence", "b", Decision::Regression, Some(0.1)),
        ];
        let data = ReportData { verdicts, ..ReportData::default() };
        assert_eq!(count(&data, Decision::Improvement), 0);
        assert_eq!(count(&data, Decision::Failure), 1);
        assert_eq!(count(&data, Decision::Regression), 1);
    }

    #[test]
    fn series_that_moved_come_before_quiet_ones() {
        let series = |name: &str, is_change_point: bool| Series {
            bench_id: name.to_owned(),
            history: vec![HistoryPoint { is_change_point, ..HistoryPoint::default() }],
            ..Series::default()
        };
        let data = ReportData {
            series: vec![series("quiet", false), series("moved", true), series("slower", false)],
            verdicts: vec![verdict("paired", "slower", Decision::Regression, Some(0.2))],
            ..ReportData::default()
        };
        let names: Vec<&str> = series_in_order(&data).iter().map(|series| series.bench_id.as_str()).collect();
        assert_eq!(names, ["slower", "moved", "quiet"]);
    }
}
