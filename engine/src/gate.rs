//! Decisions over the benchmark history.
//!
//! ```text
//! `gate g on bench` of a program   current, history --SQL--> one row  --require...--> pass, fail, undecided
//! queries/gates/*.sql              all tables        --SQL--> rows    --each a failure--> pass, fail, undecided
//!                                                                     '--> verdict rows, for the history
//! ```
//!
//! Both kinds are planned before a row is read, and both have three answers: what cannot be told is never a pass. Deciding
//! writes nothing; the caller appends [`Decision::verdict_rows`].

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use promptc_store::history::{Micros, VerdictRow};
use serde::Serialize;

use crate::error::EngineError;

mod condition;
mod division;
pub mod file;
pub mod params;
pub mod program;

pub use file::SqlGate;
pub use program::ProgramGate;

/// Rows of a gate that are kept; more are only counted.
pub const ROWS_MAX: usize = 10_000;

/// The answer of a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Everything holds.
    Pass,
    /// It cannot be told.
    Unknown,
    /// Something does not hold.
    Fail,
}

impl Outcome {
    /// The verdict of the summary row.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Pass => "pass",
            Outcome::Unknown => "unknown",
            Outcome::Fail => "fail",
        }
    }
}

/// What a failure of a gate means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The run is not accepted.
    Error,
    /// It is shown.
    Warn,
}

/// One fact that a gate decided on: a requirement, or a returned row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// The benchmark; of a program's gate the bench with its subject.
    pub bench_id: String,
    /// The metric, if the finding is about one.
    pub metric: Option<String>,
    /// `regression`, `improvement`, `no_change`, `cannot_tell`.
    pub verdict: String,
    /// What is wrong or right, with values.
    pub message: String,
    /// Whether it counts as a failure: a regression of a gate that is not a warning.
    pub is_failure: bool,
    /// Numbers of the row by column: `base`, `cand`, `rel`, `p`, `q`, `needed_pairs` and the like, where they are.
    pub numbers: BTreeMap<String, f64>,
}

/// What a gate decided about a run.
#[derive(Debug, Clone, Serialize)]
pub struct Decision {
    /// `id` of the file, or `program.gate`.
    pub gate_id: String,
    /// The run that was judged.
    pub run_id: String,
    /// What its failures mean.
    pub severity: Severity,
    /// The answer.
    pub outcome: Outcome,
    /// Why the gate could not run; it is then undecided.
    pub error: Option<String>,
    /// What it decided on.
    pub findings: Vec<Finding>,
    /// What should be known besides.
    pub notes: Vec<String>,
    /// The question in words.
    pub why: String,
    /// The SQL as it stands in the file.
    pub sql: String,
    /// blake3 of the SQL.
    pub sql_sha: String,
    /// The rows as they came.
    #[serde(skip)]
    pub rows: Option<(SchemaRef, Vec<RecordBatch>)>,
}

impl Decision {
    fn new(gate_id: &str, run_id: &str, severity: Severity, why: &str, sql: &str) -> Self {
        Self {
            gate_id: gate_id.to_owned(),
            run_id: run_id.to_owned(),
            severity,
            outcome: Outcome::Pass,
            error: None,
            findings: Vec::new(),
            notes: Vec::new(),
            why: why.to_owned(),
            sql: sql.to_owned(),
            sql_sha: blake3::hash(sql.as_bytes()).to_hex().to_string(),
            rows: None,
        }
    }

    /// The same gate after a fault: it could not run.
    #[must_use]
    fn failed(mut self, error: &EngineError) -> Self {
        self.outcome = Outcome::Unknown;
        let help = error.help().map_or_else(String::new, |help| format!("; {help}"));
        self.error = Some(format!("{}: {error}{help}", error.code()));
        self
    }

    /// Findings that count as failures.
    #[must_use]
    pub fn failure_count(&self) -> usize {
        self.findings.iter().filter(|finding| finding.is_failure).count()
    }

    /// Findings that are regressions but only warned about.
    #[must_use]
    pub fn warning_count(&self) -> usize {
        let is_warning = |finding: &&Finding| finding.verdict == "regression" && !finding.is_failure;
        self.findings.iter().filter(is_warning).count()
    }

    /// Findings that could not be told.
    #[must_use]
    pub fn undecided_count(&self) -> usize {
        self.findings.iter().filter(|finding| finding.verdict == "cannot_tell").count()
    }

    /// What is appended to `verdicts`: a row for each finding, and one about the run. `decided_at` is raised by one in
    /// the row about the run, so that it is the newest.
    #[must_use]
    pub fn verdict_rows(&self, decided_at: Micros) -> Vec<VerdictRow> {
        let plain = VerdictRow {
            gate_id: self.gate_id.clone(),
            run_id: self.run_id.clone(),
            purpose: "gate".to_owned(),
            sql_sha: self.sql_sha.clone(),
            decided_at,
            ..VerdictRow::default()
        };
        let count = |finding: &Finding, name: &str| {
            let value = finding.numbers.get(name).copied().filter(|value| (0.0..=1e9).contains(value));
            value.map(|value| value.round() as u32)
        };
        let row = |finding: &Finding| {
            let number = |name: &str| finding.numbers.get(name).copied();
            VerdictRow {
                bench_id: Some(finding.bench_id.clone()),
                metric: finding.metric.clone(),
                base: number("base"),
                cand: number("cand"),
                rel: number("rel"),
                ci_low: number("ci_low"),
                ci_high: number("ci_high"),
                p: number("p"),
                q: number("q"),
                verdict: finding.verdict.clone(),
                needed_pairs: count(finding, "needed_pairs"),
                pair_count: count(finding, "pair_count"),
                reason: Some(finding.message.clone()),
                ..plain.clone()
            }
        };
        let mut rows: Vec<VerdictRow> = self.findings.iter().map(row).collect();
        rows.push(VerdictRow {
            verdict: self.outcome.as_str().to_owned(),
            reason: Some(self.summary()),
            decided_at: decided_at + 1,
            ..plain
        });
        rows
    }

    /// The decision in a few words.
    #[must_use]
    pub fn summary(&self) -> String {
        if let Some(error) = &self.error {
            return format!("could not run: {error}");
        }
        let counts = [
            (self.failure_count(), "failed"),
            (self.warning_count(), "warned"),
            (self.undecided_count(), "undecided"),
        ];
        let parts: Vec<String> = counts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        let shown = if parts.is_empty() { "nothing to object".to_owned() } else { parts.join(", ") };
        if self.notes.is_empty() { shown } else { format!("{shown}; {}", self.notes.join("; ")) }
    }
}

/// The verdict rows of several decisions. The worst decision comes last and is the newest, so that the run counts as
/// accepted only if all of them passed.
#[must_use]
pub fn verdict_rows(decisions: &[Decision], decided_at: Micros) -> Vec<VerdictRow> {
    let mut sorted: Vec<&Decision> = decisions.iter().collect();
    sorted.sort_by(|left, right| (left.outcome, &left.gate_id).cmp(&(right.outcome, &right.gate_id)));
    let step = |idx: usize| decided_at + 2 * Micros::try_from(idx).unwrap_or(0);
    sorted.into_iter().enumerate().flat_map(|(idx, decision)| decision.verdict_rows(step(idx))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(gate_id: &str, outcome: Outcome) -> Decision {
        Decision { outcome, ..Decision::new(gate_id, "r1", Severity::Error, "", "SELECT 1") }
    }

    #[test]
    fn the_newest_row_about_the_run_is_the_worst() {
        let all =
            [decision("a", Outcome::Fail), decision("b", Outcome::Pass), decision("c", Outcome::Unknown)];
        let rows = verdict_rows(&all, 100);
        let newest = rows.iter().max_by_key(|row| row.decided_at).unwrap();
        assert_eq!((newest.gate_id.as_str(), newest.verdict.as_str()), ("a", "fail"));
        assert!(rows.iter().all(|row| row.bench_id.is_none() && row.run_id == "r1"));
    }

    #[test]
    fn findings_come_before_the_row_about_the_run() {
        let mut found = decision("a", Outcome::Fail);
        found.findings.push(Finding {
            bench_id: "s/b/x".to_owned(),
            metric: Some("m".to_owned()),
            verdict: "regression".to_owned(),
            message: "worse".to_owned(),
            is_failure: true,
            numbers: BTreeMap::from([("rel".to_owned(), 0.2), ("needed_pairs".to_owned(), 40.0)]),
        });
        let rows = found.verdict_rows(7);
        assert_eq!((rows[0].rel, rows[0].needed_pairs, rows[0].decided_at), (Some(0.2), Some(40), 7));
        assert_eq!((rows[1].bench_id.as_deref(), rows[1].decided_at), (None, 8));
        assert_eq!(rows[1].reason.as_deref(), Some("1 failed"));
    }
}
