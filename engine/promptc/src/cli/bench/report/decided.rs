//! Decisions of gates as rows of a report.

use promptc_engine::gate::{Decision as Decided, Finding, Outcome, Severity as GateSeverity, SqlGate};

use crate::report::data::{Decision, Gate, GateOutcome, Series, Severity, Verdict};

/// What a report knows of a gate besides its decision.
#[derive(Debug, Clone, Default)]
pub(in crate::cli) struct About {
    /// Whether its rows say themselves what they are; else every row is a failure.
    pub(in crate::cli) has_verdicts: bool,
    /// Values that were bound, by name.
    pub(in crate::cli) parameters: Vec<(String, String)>,
    /// Its file in the repository.
    pub(in crate::cli) file: Option<String>,
}

impl About {
    /// What is known of a gate that is a SQL file.
    pub(in crate::cli) fn of(
        gate: &SqlGate,
        run_id: &str,
        given: &[(String, String)],
        file: Option<&str>,
    ) -> Self {
        let value = |name: &str, default: Option<&String>| {
            let given = given.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone());
            let run = || (name == "run").then(|| run_id.to_owned());
            given.or_else(run).or_else(|| default.cloned()).unwrap_or_default()
        };
        let parameters = gate.params.iter();
        Self {
            has_verdicts: gate.undecided.is_some(),
            parameters: parameters
                .map(|param| (param.name.clone(), value(&param.name, param.default.as_ref())))
                .collect(),
            file: file.map(|file| file.trim_start_matches("./").replace('\\', "/")),
        }
    }
}

/// The gate and its verdicts. Units are those of the benchmarks in `series`.
pub(in crate::cli) fn decided(decision: &Decided, about: About, series: &[Series]) -> (Gate, Vec<Verdict>) {
    let verdicts =
        decision.findings.iter().map(|finding| verdict(decision, finding, about.has_verdicts, series));
    (gate(decision, &about), verdicts.collect())
}

fn gate(decision: &Decided, about: &About) -> Gate {
    let outcome = match decision.outcome {
        _ if decision.error.is_some() => GateOutcome::NotRun,
        Outcome::Pass if decision.severity == GateSeverity::Warn && decision.warning_count() > 0 => {
            GateOutcome::Failed
        }
        Outcome::Pass => GateOutcome::Passed,
        Outcome::Fail => GateOutcome::Failed,
        Outcome::Unknown => GateOutcome::Undecided,
    };
    Gate {
        id: decision.gate_id.clone(),
        severity: match decision.severity {
            GateSeverity::Error => Severity::Error,
            GateSeverity::Warn => Severity::Warn,
        },
        outcome,
        message: decision.error.clone().unwrap_or_else(|| decision.summary()),
        why: decision.why.clone(),
        sql: decision.sql.clone(),
        parameters: about.parameters.clone(),
        file: about.file.clone(),
    }
}

fn verdict(decision: &Decided, finding: &Finding, has_verdicts: bool, series: &[Series]) -> Verdict {
    let number = |name: &str| finding.numbers.get(name).copied();
    let count =
        |name: &str| number(name).filter(|value| (0.0..=1e9).contains(value)).map(|value| value as u32);
    let metric = finding.metric.clone().unwrap_or_default();
    let decided = match Decision::parse(&finding.verdict).unwrap_or_default() {
        Decision::Regression if !finding.is_failure => Decision::Warning,
        Decision::Regression if !has_verdicts => Decision::Failure,
        decided => decided,
    };
    Verdict {
        gate_id: decision.gate_id.clone(),
        unit: unit(series, &finding.bench_id, &metric),
        bench_id: finding.bench_id.clone(),
        metric,
        base: number("base"),
        cand: number("cand"),
        rel: number("rel"),
        ci_low: number("ci_low"),
        ci_high: number("ci_high"),
        p: number("p"),
        q: number("q"),
        decision: decided,
        needed_pairs: count("needed_pairs"),
        pair_count: count("pair_count"),
        reason: Some(finding.message.clone()),
    }
}

/// The unit of a benchmark's metric; empty if the run has none of that name.
pub(super) fn unit(series: &[Series], bench_id: &str, metric: &str) -> String {
    let is_it = |series: &&Series| series.bench_id == bench_id && series.metric == metric;
    series.iter().find(is_it).map_or_else(String::new, |series| series.unit.clone())
}
