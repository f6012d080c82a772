//! What a report is made of, as plain values.
//!
//! Values are in the unit that stands beside them. A value that is not finite is shown as missing. Relative changes are
//! positive when the candidate is **worse**, whatever the direction of the metric, except [`HistoryPoint::change_rel`].

use serde::{Serialize, Serializer};

/// Microseconds since 1970-01-01 UTC.
pub(crate) type Micros = i64;

/// Everything that one report shows.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub(crate) struct ReportData {
    /// The run that is reported.
    pub(crate) run: RunFacts,
    /// Promises with what was measured, as `targets.sql` returns them.
    pub(crate) targets: Vec<TargetRow>,
    /// What the gates decided, one row per gate, benchmark and metric.
    pub(crate) verdicts: Vec<Verdict>,
    /// The gates that were run.
    pub(crate) gates: Vec<Gate>,
    /// What can be drawn, one per benchmark and metric.
    pub(crate) series: Vec<Series>,
    /// How noisy each benchmark is on this machine, as `noise_health.sql` returns it.
    pub(crate) noise: Vec<NoiseRow>,
    /// Measured false-alarm rate and power of the gate. Empty if never measured, and the report says so.
    pub(crate) rates: Vec<Rate>,
    /// The queries behind the figures.
    pub(crate) queries: Vec<QueryText>,
    /// Remarks for the reader, as what a query left out.
    pub(crate) notes: Vec<String>,
}

/// The run, its commit and its machine.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub(crate) struct RunFacts {
    /// Id of the run.
    pub(crate) id: String,
    /// When it began.
    pub(crate) started_at: Micros,
    /// The measured commit; in a paired run that of the candidate.
    pub(crate) git: GitFacts,
    /// Commit of the base side of a paired run.
    pub(crate) base_sha: Option<String>,
    /// Pull request.
    pub(crate) pull_request: Option<String>,
    /// Version of this program.
    pub(crate) version: String,
    /// Fingerprint of the environment.
    pub(crate) env_id: String,
    /// The environment, name and value, in the order to be shown.
    pub(crate) env: Vec<(String, String)>,
}

/// State of the work tree that was measured.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub(crate) struct GitFacts {
    /// Commit; `unknown` outside a repository.
    pub(crate) sha: String,
    /// Branch; empty if none is checked out.
    pub(crate) branch: String,
    /// Tag of the commit.
    pub(crate) tag: Option<String>,
    /// When it was committed.
    pub(crate) commit_time: Option<Micros>,
    /// Whether tracked files differ from the commit; such a run is never a baseline.
    pub(crate) is_dirty: bool,
}

/// One promise and its measurement.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub(crate) struct TargetRow {
    /// Unique name of the promise.
    pub(crate) target_id: String,
    /// Which document made it: `sona`, `ruvdllm`, `trm`, `ruvllm`, `prompt-compiler`, `none`.
    pub(crate) seed: String,
    /// `seed`, `restated` or `ours`.
    pub(crate) kind: String,
    /// What is measured.
    pub(crate) bench_id: String,
    /// Which quantity.
    pub(crate) metric: String,
    /// `median`, `p99`, ...
    pub(crate) statistic: String,
    /// `<=`, `<`, `>=`, `>`.
    pub(crate) op: String,
    /// The promised limit.
    pub(crate) bound: f64,
    /// Unit of bound and actual.
    pub(crate) unit: String,
    /// What was measured.
    pub(crate) actual: Option<f64>,
    /// Whether it holds.
    pub(crate) status: TargetStatus,
    /// Why it was not measured.
    pub(crate) reason: Option<String>,
}

/// Whether a promise holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TargetStatus {
    /// Measured, and outside the limit.
    NotMet,
    /// Measured, and within.
    Met,
    /// The benchmark ran and said why it cannot measure.
    Skipped,
    /// No measurement on this machine.
    #[default]
    NotMeasuredHere,
}

impl TargetStatus {
    /// The words of `targets.sql` and of the report.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            TargetStatus::NotMet => "not met",
            TargetStatus::Met => "met",
            TargetStatus::Skipped => "skipped",
            TargetStatus::NotMeasuredHere => "not measured here",
        }
    }

    /// The status that the words name.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let all =
            [TargetStatus::NotMet, TargetStatus::Met, TargetStatus::Skipped, TargetStatus::NotMeasuredHere];
        all.into_iter().find(|status| status.as_str() == text)
    }
}

/// What one gate decided about one benchmark and metric.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub(crate) struct Verdict {
    /// Which gate.
    pub(crate) gate_id: String,
    /// What was judged.
    pub(crate) bench_id: String,
    /// Which quantity.
    pub(crate) metric: String,
    /// Unit of base and candidate.
    pub(crate) unit: String,
    /// Median of the base side.
    pub(crate) base: Option<f64>,
    /// Median of the candidate side.
    pub(crate) cand: Option<f64>,
    /// Relative change, positive is worse: 0.1 is 10 % worse.
    pub(crate) rel: Option<f64>,
    /// Lower end of its interval.
    pub(crate) ci_low: Option<f64>,
    /// Upper end of its interval.
    pub(crate) ci_high: Option<f64>,
    /// Probability of such a change by chance.
    pub(crate) p: Option<f64>,
    /// The same, corrected for all benchmarks of the run.
    pub(crate) q: Option<f64>,
    /// The decision.
    pub(crate) decision: Decision,
    /// Pairs that it takes in all to decide.
    pub(crate) needed_pairs: Option<u32>,
    /// Pairs that there were.
    pub(crate) pair_count: Option<u32>,
    /// Why, or the gate's message, in words.
    pub(crate) reason: Option<String>,
}

impl Verdict {
    /// Pairs that are still to be measured before a decision.
    pub(crate) fn missing_pairs(&self) -> Option<u32> {
        self.needed_pairs.map(|needed| needed.saturating_sub(self.pair_count.unwrap_or(0)))
    }

    /// Whether the gate counts it as a failure.
    pub(crate) fn is_failure(&self) -> bool {
        matches!(self.decision, Decision::Regression | Decision::Failure)
    }
}

/// A decision about one benchmark. The order is that of the report: what needs attention first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Decision {
    /// Worse than chance allows.
    Regression,
    /// A row of a gate that returns failures alone.
    Failure,
    /// Too few or too noisy measurements.
    #[default]
    CannotTell,
    /// A row that only warns.
    Warning,
    /// Better than chance allows.
    Improvement,
    /// The interval lies within the smallest change of interest.
    NoChange,
}

impl Decision {
    /// All of them, in the order of the report.
    pub(crate) const ALL: [Decision; 6] = [
        Decision::Regression,
        Decision::Failure,
        Decision::CannotTell,
        Decision::Warning,
        Decision::Improvement,
        Decision::NoChange,
    ];

    /// The text of the column `verdict`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Decision::Regression => "regression",
            Decision::Failure => "failure",
            Decision::CannotTell => "cannot_tell",
            Decision::Warning => "warning",
            Decision::Improvement => "improvement",
            Decision::NoChange => "no_change",
        }
    }

    /// The words of the report.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Decision::CannotTell => "cannot tell",
            Decision::NoChange => "no change",
            other => other.as_str(),
        }
    }

    /// A sign that tells them apart without colour.
    pub(crate) fn sign(self) -> &'static str {
        match self {
            Decision::Regression | Decision::Failure => "✗",
            Decision::CannotTell => "?",
            Decision::Warning => "!",
            Decision::Improvement => "✓",
            Decision::NoChange => "=",
        }
    }

    /// The decision that a text names.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Decision::ALL.into_iter().find(|decision| decision.as_str() == text)
    }
}

/// One gate and how it ended.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub(crate) struct Gate {
    /// Its name.
    pub(crate) id: String,
    /// Whether its failure fails the run.
    pub(crate) severity: Severity,
    /// How it ended.
    pub(crate) outcome: GateOutcome,
    /// What it found in one line, or why it could not run.
    pub(crate) message: String,
    /// What a failure means.
    pub(crate) why: String,
    /// Its text, verbatim.
    pub(crate) sql: String,
    /// Values that were bound, by name.
    pub(crate) parameters: Vec<(String, String)>,
    /// Its file in the repository, with forward slashes.
    pub(crate) file: Option<String>,
}

impl Gate {
    /// Whether it found something and only warns of it.
    pub(crate) fn is_warning(&self) -> bool {
        self.outcome == GateOutcome::Failed && self.severity == Severity::Warn
    }

    /// How it ended, in the words of the report.
    pub(crate) fn words(&self) -> &'static str {
        if self.is_warning() { "warns" } else { self.outcome.words() }
    }
}

/// How grave a gate's failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Severity {
    /// It fails the run.
    #[default]
    Error,
    /// It is shown.
    Warn,
}

impl Severity {
    /// The word of a gate's header.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warn => "warn",
        }
    }
}

/// How a gate ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum GateOutcome {
    /// No failure, nothing undecided.
    Passed,
    /// At least one failure.
    Failed,
    /// No failure, something undecided.
    Undecided,
    /// It could not run.
    #[default]
    NotRun,
}

impl GateOutcome {
    /// The words of the report.
    pub(crate) fn words(self) -> &'static str {
        match self {
            GateOutcome::Passed => "passed",
            GateOutcome::Failed => "failed",
            GateOutcome::Undecided => "cannot tell",
            GateOutcome::NotRun => "could not run",
        }
    }
}

/// What all gates of severity error say together, with the precedence of the exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overall {
    /// A gate could not run: nothing is known.
    NotRun,
    /// A gate failed.
    Failed,
    /// None failed, something is undecided.
    Undecided,
    /// All passed.
    Passed,
    /// There was no gate, which is not a pass.
    NoGate,
}

impl ReportData {
    /// What the gates of severity error say together; gates of severity warn count only when they could not run.
    pub(crate) fn overall(&self) -> Overall {
        let ends_so = |outcome, severity| {
            self.gates.iter().any(|gate| gate.outcome == outcome && severity == gate.severity)
        };
        let is_unrun = |gate: &Gate| gate.outcome == GateOutcome::NotRun;
        if self.gates.is_empty() {
            Overall::NoGate
        } else if self.gates.iter().any(is_unrun) {
            Overall::NotRun
        } else if ends_so(GateOutcome::Failed, Severity::Error) {
            Overall::Failed
        } else if ends_so(GateOutcome::Undecided, Severity::Error) {
            Overall::Undecided
        } else {
            Overall::Passed
        }
    }

    /// How many promises have a status.
    pub(crate) fn target_count(&self, status: TargetStatus) -> usize {
        self.targets.iter().filter(|target| target.status == status).count()
    }
}

/// One benchmark and metric with its past and its two sides.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub(crate) struct Series {
    /// What was measured.
    pub(crate) bench_id: String,
    /// Which quantity.
    pub(crate) metric: String,
    /// Unit of all values.
    pub(crate) unit: String,
    /// -1 if lower is better, 1 if higher is, 0 for information.
    pub(crate) direction: i8,
    /// Its past on this machine, in any order.
    #[serde(serialize_with = "columns")]
    pub(crate) history: Vec<HistoryPoint>,
    /// What the run itself found, if it knows how sure that is.
    pub(crate) estimate: Option<Estimate>,
    /// Samples of the base side.
    pub(crate) base: Vec<f64>,
    /// Samples of the candidate side, or of a run by itself.
    pub(crate) cand: Vec<f64>,
    /// Where the benchmark is written.
    pub(crate) source: Option<Place>,
}

/// A value with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Estimate {
    /// Headline value of the candidate side, or of a run by itself.
    pub(crate) value: f64,
    /// Lower end of its interval.
    pub(crate) low: f64,
    /// Upper end of its interval.
    pub(crate) high: f64,
}

/// One measurement of the past.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct HistoryPoint {
    /// Position of the commit on the main line.
    pub(crate) commit_seq: u32,
    /// When it was committed.
    pub(crate) commit_time: Micros,
    /// Commit.
    pub(crate) sha: String,
    /// Headline value.
    pub(crate) value: Option<f64>,
    /// Lower end of its interval.
    pub(crate) ci_low: Option<f64>,
    /// Upper end of its interval.
    pub(crate) ci_high: Option<f64>,
    /// Whether the series has another level from here on.
    pub(crate) is_change_point: bool,
    /// Mean after over mean before, less one, in the metric's own direction: 0.1 is a value higher by 10 %.
    pub(crate) change_rel: Option<f64>,
}

/// A past as columns, which is a third of the bytes of one object per point.
fn columns<S: Serializer>(points: &[HistoryPoint], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Columns<'a> {
        commit_seq: Vec<u32>,
        commit_time_us: Vec<Micros>,
        sha: Vec<&'a str>,
        value: Vec<Option<f64>>,
        ci_low: Vec<Option<f64>>,
        ci_high: Vec<Option<f64>>,
        change_point_idx: Vec<usize>,
        change_rel: Vec<Option<f64>>,
    }
    let is_change = |(_, point): &(usize, &HistoryPoint)| point.is_change_point;
    let changes: Vec<(usize, &HistoryPoint)> = points.iter().enumerate().filter(is_change).collect();
    let columns = Columns {
        commit_seq: points.iter().map(|point| point.commit_seq).collect(),
        commit_time_us: points.iter().map(|point| point.commit_time).collect(),
        sha: points.iter().map(|point| point.sha.as_str()).collect(),
        value: points.iter().map(|point| point.value).collect(),
        ci_low: points.iter().map(|point| point.ci_low).collect(),
        ci_high: points.iter().map(|point| point.ci_high).collect(),
        change_point_idx: changes.iter().map(|(idx, _)| *idx).collect(),
        change_rel: changes.iter().map(|(_, point)| point.change_rel).collect(),
    };
    columns.serialize(serializer)
}

/// A line of a file of the repository.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Place {
    /// Path from the root, with forward slashes.
    pub(crate) file: String,
    /// Line from 1.
    pub(crate) line: u32,
}

/// How far one benchmark can be trusted on this machine.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub(crate) struct NoiseRow {
    /// What was measured.
    pub(crate) bench_id: String,
    /// Which quantity.
    pub(crate) metric: String,
    /// Runs that it is judged by.
    pub(crate) run_count: u64,
    /// Standard deviation over mean, between runs.
    pub(crate) between_run_cv: Option<f64>,
    /// Standard deviation over mean, within a run.
    pub(crate) within_run_cv: Option<f64>,
    /// Mean load of the last minute.
    pub(crate) load1: Option<f64>,
    /// Time stolen by the hypervisor, in milliseconds.
    pub(crate) steal_ms: Option<f64>,
    /// `stable`, `unstable`, `too few runs`.
    pub(crate) state: String,
}

/// A measured property of the gate itself: a share with its Wilson interval.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub(crate) struct Rate {
    /// False alarms, or power.
    pub(crate) kind: RateKind,
    /// Slow-down that was injected, as 0.1; none for false alarms.
    pub(crate) injected_rel: Option<f64>,
    /// Runs with a false alarm, or benchmarks found.
    pub(crate) count: u64,
    /// Out of so many.
    pub(crate) total: u64,
    /// Lower end of the interval.
    pub(crate) low: Option<f64>,
    /// Upper end of the interval.
    pub(crate) high: Option<f64>,
    /// The promised share: at most for false alarms, at least for power.
    pub(crate) bar: Option<f64>,
    /// Of what it is a share, as which benchmarks and how many pairs.
    pub(crate) note: String,
}

/// Which property of the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RateKind {
    /// Share of runs of one build against itself that were called a regression.
    #[default]
    FalseAlarm,
    /// Share of injected slow-downs that were found.
    Power,
}

/// One query and what it fills.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub(crate) struct QueryText {
    /// Its name, as `trend.sql`.
    pub(crate) name: String,
    /// The question that it answers.
    pub(crate) question: String,
    /// Its text, verbatim.
    pub(crate) sql: String,
    /// Values that were bound, by name.
    pub(crate) parameters: Vec<(String, String)>,
    /// The part of the report that it fills.
    pub(crate) section: Option<Section>,
}

/// Parts of the report that queries fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Section {
    /// Promises against measurements.
    Targets,
    /// What the gates decided.
    Verdicts,
    /// The charts.
    Series,
    /// False alarms and power.
    Rates,
    /// Noise per benchmark.
    Noise,
    /// The machine.
    Environment,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_the_columns_are_read_back() {
        for decision in Decision::ALL {
            assert_eq!(Decision::parse(decision.as_str()), Some(decision));
        }
        for status in ["not met", "met", "skipped", "not measured here"] {
            assert_eq!(TargetStatus::parse(status).map(TargetStatus::as_str), Some(status));
        }
        assert_eq!((Decision::parse("pass"), TargetStatus::parse("")), (None, None));
    }

    #[test]
    fn the_outcome_follows_the_precedence_of_the_exit_codes() {
        let overall = |gates: &[(Severity, GateOutcome)]| {
            let gate = |&(severity, outcome)| Gate { severity, outcome, ..Gate::default() };
            ReportData { gates: gates.iter().map(gate).collect(), ..ReportData::default() }.overall()
        };
        use GateOutcome::{Failed, NotRun, Passed, Undecided};
        use Severity::{Error, Warn};
        assert_eq!(overall(&[]), Overall::NoGate);
        assert_eq!(overall(&[(Error, Passed), (Warn, Failed)]), Overall::Passed);
        assert_eq!(overall(&[(Error, Undecided), (Error, Passed)]), Overall::Undecided);
        assert_eq!(overall(&[(Error, Undecided), (Error, Failed)]), Overall::Failed);
        assert_eq!(overall(&[(Error, Failed), (Warn, NotRun)]), Overall::NotRun);
    }

    #[test]
    fn pairs_that_are_missing() {
        let verdict = |needed_pairs, pair_count| Verdict { needed_pairs, pair_count, ..Verdict::default() };
        assert_eq!(verdict(Some(60), Some(20)).missing_pairs(), Some(40));
        assert_eq!(verdict(Some(20), Some(60)).missing_pairs(), Some(0));
        assert_eq!(verdict(None, Some(60)).missing_pairs(), None);
    }
}
