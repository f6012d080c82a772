//! Gates of programs: SQL over `current` and `history`, one row, and requirements over it.

use arrow::array::RecordBatch;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use promptc_compiler::hir::{Action, Bench, Gate};

use super::condition::{Fact, Facts, holds, shown};
use super::division::null_on_zero;
use super::{Decision, Finding, Outcome, Severity};
use crate::bench::bench_id;
use crate::error::EngineError;
use crate::sql::{collect, plan_query, sql_fault};

/// Rows that are read of a result that should have one.
const ROWS_READ: usize = 11;

/// A gate of a program with the bench that it is on.
#[derive(Debug, Clone, Copy)]
pub struct ProgramGate<'a> {
    /// The gate.
    pub gate: &'a Gate,
    /// Its bench.
    pub bench: &'a Bench,
    /// File stem of the program; stands before the gate's name in verdicts.
    pub stem: &'a str,
}

/// What the run recorded of the bench.
struct Recorded {
    rows: i64,
    values: i64,
}

impl ProgramGate<'_> {
    /// Decides about a run. `session` has the tables `current` and `history` of that run and this bench. A gate that cannot
    /// run is undecided and says why.
    pub async fn decide(&self, session: &SessionContext, run_id: &str) -> Decision {
        let id = format!("{}.{}", self.stem, self.gate.name);
        let blank = Decision::new(&id, run_id, Severity::Error, "", &self.gate.sql);
        match self.answer(session, blank.clone()).await {
            Ok(decision) => decision,
            Err(error) => {
                let mut failed = blank.failed(&error);
                failed.findings = self.undecided(&error.to_string());
                failed
            }
        }
    }

    /// The plan of the gate's SQL over empty or full tables alike: faults of names and types without reading a row.
    ///
    /// # Errors
    /// E0607.
    pub async fn plan(&self, session: &SessionContext) -> Result<LogicalPlan, EngineError> {
        let plan = null_on_zero(plan_query(session, &self.gate.sql).await?).map_err(sql_fault)?;
        session.state().optimize(&plan).map_err(sql_fault)?;
        Ok(plan)
    }

    async fn answer(
        &self,
        session: &SessionContext,
        mut decision: Decision,
    ) -> Result<Decision, EngineError> {
        let plan = self.plan(session).await?;
        let recorded = recorded(session).await?;
        let (schema, batches) = collect(session, plan, ROWS_READ).await?;
        let row_count: usize = batches.iter().map(RecordBatch::num_rows).sum();
        decision.rows = Some((schema, batches.clone()));
        if let Some(note) = self.incomplete(&recorded) {
            decision.notes.push(note);
        }
        let one = batches.iter().find(|batch| batch.num_rows() > 0).filter(|_| row_count == 1);
        let Some(one) = one else {
            let more = if row_count == ROWS_READ { " or more" } else { "" };
            let reason = format!("the SQL returned {row_count}{more} rows, expected exactly one");
            decision.findings = self.undecided(&reason);
            decision.notes.push(reason);
            decision.outcome = Outcome::Unknown;
            return Ok(decision);
        };
        let facts = facts(one)?;
        for (idx, (text, _)) in self.gate.requires.iter().enumerate() {
            let Some(condition) = self.gate.conditions.get(idx) else { continue };
            let held = holds(session, condition, &facts).await?;
            decision.findings.push(self.finding(text, held, &shown(condition, &facts)));
        }
        decision.outcome = if decision.failure_count() > 0 {
            Outcome::Fail
        } else if decision.undecided_count() > 0
            || self.incomplete(&recorded).is_some()
            || decision.findings.is_empty()
        {
            Outcome::Unknown
        } else {
            Outcome::Pass
        };
        decision.notes.extend(self.actions(decision.outcome));
        Ok(decision)
    }

    /// Why the run cannot pass whatever the SQL makes of it.
    fn incomplete(&self, recorded: &Recorded) -> Option<String> {
        if recorded.rows == 0 {
            return Some(format!("the run has no results of bench `{}`", self.bench.name));
        }
        let missing = recorded.rows - recorded.values;
        (missing > 0).then(|| format!("{missing} of {} results of the run have no value", recorded.rows))
    }

    fn finding(&self, text: &str, held: Option<bool>, values: &str) -> Finding {
        let verdict = match held {
            Some(true) => "no_change",
            Some(false) => "regression",
            None => "cannot_tell",
        };
        let message = if values.is_empty() { text.to_owned() } else { format!("{text} ({values})") };
        Finding {
            bench_id: bench_id(self.bench, self.bench.subjects.first().map_or("", String::as_str)),
            metric: None,
            verdict: verdict.to_owned(),
            message,
            is_failure: held == Some(false),
            numbers: std::collections::BTreeMap::new(),
        }
    }

    /// Every requirement as undecided.
    fn undecided(&self, reason: &str) -> Vec<Finding> {
        self.gate.requires.iter().map(|(text, _)| self.finding(text, None, reason)).collect()
    }

    /// What the outcome asks for, and that this build does not do it.
    fn actions(&self, outcome: Outcome) -> Vec<String> {
        let is_meant = |action: &&Action| match outcome {
            Outcome::Pass => action.on_pass,
            Outcome::Fail => !action.on_pass,
            Outcome::Unknown => false,
        };
        self.gate.outcomes.iter().filter(is_meant).map(action_note).collect()
    }
}

fn action_note(action: &Action) -> String {
    let label = action.label.as_deref().unwrap_or_default();
    if action.name == "keep" {
        return format!("label \"{label}\" stays");
    }
    let (artifact, kind) =
        action.artifact.as_ref().map_or(("", "artifact"), |(name, kind)| (name.as_str(), kind.as_str()));
    format!(
        "E2002: `{}({artifact})` was not carried out: versions of {kind} `{artifact}` belong to area `learn`, which is not in this build",
        action.name
    )
}

async fn recorded(session: &SessionContext) -> Result<Recorded, EngineError> {
    let sql = "SELECT count(*) AS row_count, count(value) AS value_count FROM current";
    let (_, batches) = collect(session, plan_query(session, sql).await?, 1).await?;
    let batch = batches.iter().find(|batch| batch.num_rows() > 0);
    let count = |column: usize| -> Result<i64, EngineError> {
        let batch = batch.ok_or_else(|| EngineError::internal("gate", "a count without a row"))?;
        let counts: &arrow::array::Int64Array = crate::arrays::downcast(batch.column(column), "gate")?;
        Ok(counts.value(0))
    };
    Ok(Recorded { rows: count(0)?, values: count(1)? })
}

/// The first row by column.
fn facts(batch: &RecordBatch) -> Result<Facts, EngineError> {
    let fields = batch.schema();
    let cells = fields.fields().iter().zip(batch.columns());
    cells.map(|(field, column)| Ok((field.name().clone(), Fact::of(field.name(), column, 0)?))).collect()
}
