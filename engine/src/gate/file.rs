//! Gates that are SQL files: every row that comes back is a failure.
//!
//! ```text
//! -- id: paired
//! -- severity: error
//! -- why: the new build is slower than the old by more than chance allows
//! -- param: run string
//! -- undecided: verdict
//! SELECT bench_id, metric, message ...
//! ```

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;

use super::params::{Param, bind, fault};
use super::{Decision, Finding, Outcome, ROWS_MAX, Severity};
use crate::error::EngineError;
use crate::sql::{collect, sql_fault};

/// Columns that every gate returns.
const REQUIRED: [&str; 3] = ["bench_id", "metric", "message"];

/// Keys of the header.
const KEYS: [&str; 5] = ["id", "severity", "why", "param", "undecided"];

/// The verdict of a row that the gate cannot decide.
const CANNOT_TELL: &str = "cannot_tell";

/// A gate as it stands in its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlGate {
    /// Name in verdicts.
    pub id: String,
    /// What a row means.
    pub severity: Severity,
    /// What the gate is for, in words.
    pub why: String,
    /// Its parameters.
    pub params: Vec<Param>,
    /// The column that says `cannot_tell` of rows that are no failures.
    pub undecided: Option<String>,
    /// The whole text of the file.
    pub sql: String,
}

/// What is asked of a gate.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    /// The run; the value of the parameter `run`.
    pub run_id: &'a str,
    /// Values of other parameters by name; those that the gate does not declare are left out.
    pub given: &'a BTreeMap<String, String>,
    /// Rows of warnings are failures.
    pub warn_as_error: bool,
}

impl SqlGate {
    /// Reads the header of a gate. `file` is how messages call it.
    ///
    /// # Errors
    /// E0607 with the line: a key that is not known or stands twice, a wrong severity or parameter, no `id`.
    pub fn parse(file: &str, text: &str) -> Result<Self, EngineError> {
        let mut found: BTreeMap<&str, String> = BTreeMap::new();
        let mut params: Vec<Param> = Vec::new();
        let mut last = "";
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim_end();
            let Some(comment) = line.strip_prefix("--") else {
                // Blank lines before the header are skipped; one after it ends it.
                if line.trim().is_empty() && found.is_empty() && params.is_empty() {
                    continue;
                }
                break;
            };
            let Some((key, value)) = entry(comment) else {
                // A reason may go on in further lines, set in.
                if last == "why" && comment.starts_with("   ") {
                    let why = found.entry("why").or_default();
                    why.push(' ');
                    why.push_str(comment.trim());
                    continue;
                }
                let message = format!("`{}` is no `key: value`; keys of a gate: {}", line, KEYS.join(", "));
                return Err(fault(file, number, &message));
            };
            let Some(key) = KEYS.into_iter().find(|known| *known == key) else {
                let message = format!("unknown key `{key}` of a gate; keys: {}", KEYS.join(", "));
                return Err(fault(file, number, &message));
            };
            last = key;
            if key == "param" {
                let param = Param::parse(value).map_err(|message| fault(file, number, &message))?;
                if params.iter().any(|other| other.name == param.name) {
                    let message = format!("parameter `{}` is declared twice", param.name);
                    return Err(fault(file, number, &message));
                }
                params.push(param);
            } else if value.is_empty() || found.insert(key, value.to_owned()).is_some() {
                let what = if value.is_empty() { "has no value" } else { "stands twice" };
                return Err(fault(file, number, &format!("key `{key}` {what}")));
            }
        }
        let severity = match found.get("severity").map(String::as_str) {
            None | Some("error") => Severity::Error,
            Some("warn") => Severity::Warn,
            Some(other) => {
                return Err(fault(file, 1, &format!("severity `{other}`; one of error, warn")));
            }
        };
        let id = found.remove("id").ok_or_else(|| fault(file, 1, "a gate begins with `-- id: name`"))?;
        Ok(Self {
            id,
            severity,
            why: found.remove("why").unwrap_or_default(),
            params,
            undecided: found.remove("undecided"),
            sql: text.to_owned(),
        })
    }

    /// Plans the gate: wrong names and types without reading a row.
    ///
    /// # Errors
    /// E0607; values of parameters that are missing or wrong.
    pub async fn plan(
        &self,
        session: &SessionContext,
        question: &Question<'_>,
    ) -> Result<LogicalPlan, EngineError> {
        let is_own = |name: &str| self.params.iter().any(|param| param.name == name);
        let mut given: BTreeMap<String, String> = question
            .given
            .iter()
            .filter(|(name, _)| is_own(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        if is_own("run") {
            given.entry("run".to_owned()).or_insert_with(|| question.run_id.to_owned());
        }
        let plan = bind(session, &self.sql, &self.params, &given).await?;
        let columns: Vec<String> = plan.schema().fields().iter().map(|field| field.name().clone()).collect();
        let wanted = REQUIRED.into_iter().chain(self.undecided.as_deref());
        for name in wanted {
            if !columns.iter().any(|column| column == name) {
                let message = format!(
                    "gate `{}`: its result has no column `{name}`; it has {}",
                    self.id,
                    columns.join(", ")
                );
                return Err(EngineError::Row { code: "E0607", message });
            }
        }
        session.state().optimize(&plan).map_err(sql_fault)?;
        Ok(plan)
    }

    /// Decides about a run. A gate that cannot run is undecided and says why.
    pub async fn decide(&self, session: &SessionContext, question: &Question<'_>) -> Decision {
        let severity = if question.warn_as_error { Severity::Error } else { self.severity };
        let blank = Decision::new(&self.id, question.run_id, severity, &self.why, &self.sql);
        match self.answer(session, question, blank.clone()).await {
            Ok(decision) => decision,
            Err(error) => blank.failed(&error),
        }
    }

    async fn answer(
        &self,
        session: &SessionContext,
        question: &Question<'_>,
        mut decision: Decision,
    ) -> Result<Decision, EngineError> {
        let plan = self.plan(session, question).await?;
        let (schema, batches) = collect(session, plan, ROWS_MAX + 1).await?;
        for batch in &batches {
            self.findings(&schema, batch, question.warn_as_error, &mut decision)?;
        }
        if decision.findings.len() > ROWS_MAX {
            decision.findings.truncate(ROWS_MAX);
            decision.notes.push(format!("more than {ROWS_MAX} rows; the first are kept"));
        }
        decision.rows = Some((schema, batches));
        decision.outcome = if decision.failure_count() > 0 {
            Outcome::Fail
        } else if decision.undecided_count() > 0 {
            Outcome::Unknown
        } else {
            Outcome::Pass
        };
        Ok(decision)
    }

    fn findings(
        &self,
        schema: &SchemaRef,
        batch: &RecordBatch,
        warn_as_error: bool,
        decision: &mut Decision,
    ) -> Result<(), EngineError> {
        let text = |name: &str| texts(schema, batch, name);
        let (ids, metrics, messages) = (text("bench_id")?, text("metric")?, text("message")?);
        let severities = text("severity")?;
        let verdicts = self.undecided.as_deref().map(text).transpose()?.flatten();
        let numbers = numbers(schema, batch)?;
        for row in 0..batch.num_rows() {
            let cell = |column: &Option<StringArray>| {
                let column = column.as_ref().filter(|column| column.is_valid(row));
                column.map(|column| column.value(row).to_owned())
            };
            let is_undecided = cell(&verdicts).as_deref() == Some(CANNOT_TELL);
            let is_warning = !warn_as_error && cell(&severities).as_deref() == Some("warn");
            let is_error = decision.severity == Severity::Error && !is_warning;
            decision.findings.push(Finding {
                bench_id: cell(&ids).unwrap_or_else(|| "(no benchmark)".to_owned()),
                metric: cell(&metrics),
                verdict: if is_undecided { CANNOT_TELL } else { "regression" }.to_owned(),
                message: cell(&messages).unwrap_or_else(|| "no message".to_owned()),
                is_failure: is_error && !is_undecided,
                numbers: numbers
                    .iter()
                    .filter(|(_, column)| column.is_valid(row) && column.value(row).is_finite())
                    .map(|(name, column)| (name.clone(), column.value(row)))
                    .collect(),
            });
        }
        Ok(())
    }
}

/// `key: value` of a comment without its dashes.
fn entry(comment: &str) -> Option<(&str, &str)> {
    let (key, value) = comment.strip_prefix(' ').unwrap_or(comment).split_once(':')?;
    let is_key = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    is_key.then(|| (key, value.trim()))
}

/// A column as texts, if the result has it.
fn texts(schema: &SchemaRef, batch: &RecordBatch, name: &str) -> Result<Option<StringArray>, EngineError> {
    let Ok(place) = schema.index_of(name) else { return Ok(None) };
    let column = arrow::compute::cast(batch.column(place), &DataType::Utf8)?;
    let texts: &StringArray = crate::arrays::downcast(&column, "gate")?;
    Ok(Some(texts.clone()))
}

/// All columns of numbers.
fn numbers(schema: &SchemaRef, batch: &RecordBatch) -> Result<Vec<(String, Float64Array)>, EngineError> {
    let mut found = Vec::new();
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        if field.data_type().is_numeric() {
            let column: ArrayRef = arrow::compute::cast(column, &DataType::Float64)?;
            let values: &Float64Array = crate::arrays::downcast(&column, "gate")?;
            found.push((field.name().clone(), values.clone()));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "-- id: slow\n-- severity: error\n-- why: it became slower\n--      than it should\n-- param: run string\n-- param: limit double 10\n";

    fn gate(body: &str) -> SqlGate {
        SqlGate::parse("slow.sql", &format!("{HEADER}{body}")).unwrap()
    }

    async fn decide(gate: &SqlGate) -> Decision {
        let session = SessionContext::new();
        let rows = session
            .sql("SELECT * FROM (VALUES ('r1', 's/b/x', 'wall_ns', 20.0, 'regression'), ('r1', 's/b/y', 'wall_ns', 5.0, 'cannot_tell'), ('r2', 's/b/x', 'wall_ns', 5.0, 'regression')) AS t(run_id, bench_id, metric, value, verdict)")
            .await
            .unwrap();
        session.register_table("results", rows.into_view()).unwrap();
        let given = BTreeMap::new();
        gate.decide(&session, &Question { run_id: "r1", given: &given, warn_as_error: false }).await
    }

    const BODY: &str = "SELECT bench_id, metric, value AS cand, verdict, concat(metric, ' is ', value) AS message FROM results WHERE run_id = $run AND value > $limit";

    #[test]
    fn headers_are_strict() {
        let found = gate("\n-- a comment in the SQL: fine\nSELECT 1");
        assert_eq!((found.id.as_str(), found.severity), ("slow", Severity::Error));
        assert_eq!(found.why, "it became slower than it should");
        assert_eq!(found.params.len(), 2);
        for (text, word) in [
            ("-- severity: error\nSELECT 1", "-- id: name"),
            ("-- id: a\n-- sevrity: error\nSELECT 1", "sevrity"),
            ("-- id: a\n-- severity: fatal\nSELECT 1", "fatal"),
            ("-- id: a\n-- id: b\nSELECT 1", "twice"),
            ("-- id:\nSELECT 1", "no value"),
            ("-- id: a\n-- some words\nSELECT 1", "some words"),
            ("-- id: a\n-- param: x strong\nSELECT 1", "strong"),
        ] {
            let error = SqlGate::parse("g.sql", text).unwrap_err().to_string();
            assert!(error.contains(word) && error.starts_with("g.sql:"), "{error}");
        }
    }

    #[tokio::test]
    async fn rows_are_failures_and_none_is_a_pass() {
        let failing = decide(&gate(BODY)).await;
        assert_eq!(failing.outcome, Outcome::Fail, "{failing:?}");
        assert_eq!(failing.findings.len(), 1);
        assert_eq!(failing.findings[0].numbers.get("cand"), Some(&20.0));
        let rows = failing.verdict_rows(1);
        assert_eq!((rows[0].verdict.as_str(), rows[0].cand), ("regression", Some(20.0)));
        let passing = decide(&gate(&BODY.replace("$limit", "$limit + 90"))).await;
        assert_eq!(passing.outcome, Outcome::Pass, "{passing:?}");
    }

    #[tokio::test]
    async fn undecided_rows_are_no_failures_and_no_pass() {
        let text = format!("{HEADER}-- undecided: verdict\n{}", BODY.replace("> $limit", "< $limit"));
        let found = decide(&SqlGate::parse("g.sql", &text).unwrap()).await;
        assert_eq!((found.outcome, found.undecided_count()), (Outcome::Unknown, 1), "{found:?}");
        let without = decide(&gate(&BODY.replace("> $limit", "< $limit"))).await;
        assert_eq!(without.outcome, Outcome::Fail, "without the key the row is a failure");
    }

    #[tokio::test]
    async fn warnings_and_rows_that_are_warnings_do_not_fail() {
        let warn = format!("{}{BODY}", HEADER.replace("error", "warn"));
        let found = decide(&SqlGate::parse("g.sql", &warn).unwrap()).await;
        assert_eq!((found.outcome, found.warning_count()), (Outcome::Pass, 1));
        let found =
            decide(&gate(&BODY.replace("SELECT bench_id", "SELECT 'warn' AS severity, bench_id"))).await;
        assert_eq!((found.outcome, found.warning_count()), (Outcome::Pass, 1));
    }

    #[tokio::test]
    async fn what_cannot_run_is_neither_pass_nor_fail() {
        for (body, word) in [
            ("SELECT bench_idd FROM results", "bench_idd"),
            ("SELECT bench_id, metric FROM results", "message"),
            ("SELECT bench_id, metric, 'x' AS message FROM results WHERE value > $nope", "nope"),
            (
                "SELECT bench_id, metric, 'x' AS message FROM results WHERE CAST(value AS BIGINT) / 0 > 1",
                "zero",
            ),
            ("DROP TABLE results", "SELECT"),
        ] {
            let found = decide(&gate(body)).await;
            assert_eq!(found.outcome, Outcome::Unknown, "{body}");
            let error = found.error.clone().unwrap_or_default();
            assert!(error.to_lowercase().contains(&word.to_lowercase()), "{body}: {error}");
            assert_eq!(found.verdict_rows(1).last().unwrap().verdict, "unknown");
        }
    }
}
