//! The numbers of a bench: each metric is one aggregate over the run's stream.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, DurationNanosecondArray, Float64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use promptc_compiler::hir::Bench;
use promptc_compiler::op::{Expr, ExprKind, Value};
use promptc_compiler::types::Type;
use promptc_store::history::{ResultRow, Status, Summary};
use promptc_store::sql::stats::bootstrap_mean;

use crate::error::EngineError;
use crate::expressions::columns_read;
use crate::run::RunOptions;
use crate::run::measured::GraphOutput;
use crate::session::{SessionSettings, session};
use crate::sql::evaluate;

/// The pseudo-column that holds the time of each row.
const LATENCY: &str = "latency";

/// Level and seed of the interval of a mean over rows.
const INTERVAL_LEVEL: f64 = 0.95;
const INTERVAL_SEED: u64 = 7;

/// Whether a metric of the bench reads the pseudo-column, rather than a column of the stream with that name.
pub(super) fn reads_latency(bench: &Bench) -> bool {
    let is_own = bench.columns.iter().any(|column| column.name == LATENCY);
    !is_own && bench.metrics.iter().any(|(_, expr, _)| columns_read(expr).contains(LATENCY))
}

/// Puts the value of each metric into its row, or why there is none.
///
/// # Errors
/// A stop, or a run without a table.
pub(super) async fn fill(
    rows: &mut [ResultRow],
    bench: &Bench,
    output: &GraphOutput,
    options: &RunOptions,
    scratch: &Path,
) -> Result<(), EngineError> {
    let stream = output.table.clone();
    let stream = stream.ok_or_else(|| EngineError::internal("bench", "the run gave no stream"))?;
    let session = session(&SessionSettings {
        batch_rows: options.batch_rows,
        memory_bytes: options.memory_bytes,
        temporary: scratch.to_path_buf(),
    })?;
    let timed =
        if reads_latency(bench) { Some(with_latency(&session, &stream, bench, output).await) } else { None };
    for (row, (name, expr, _)) in rows.iter_mut().zip(&bench.metrics) {
        let is_timed = columns_read(expr).contains(LATENCY);
        let table = match &timed {
            Some(Err(error)) if is_timed => {
                Err(EngineError::Row { code: error.code(), message: error.to_string() })
            }
            Some(Ok(table)) => Ok(table.clone()),
            _ => Ok(stream.clone()),
        };
        let value = match table {
            Ok(table) => evaluate(&session, &table, &[(name.as_str(), expr)], true).await,
            Err(error) => Err(error),
        };
        let value = value.map_err(|error| error.about(&format!("metric `{name}`")));
        match value.and_then(|batches| number(name, &batches)) {
            Ok(value) => {
                row.value = Some(value);
                row.summary = single(value);
                if let (Some(averaged), false) = (averaged(expr), is_timed) {
                    with_interval(&mut row.summary, &session, &stream, averaged).await;
                }
            }
            Err(EngineError::Interrupted) => return Err(EngineError::Interrupted),
            Err(error) => {
                row.status = Status::Failed;
                row.error = Some(format!("{}: {error}", error.code()));
            }
        }
    }
    Ok(())
}

/// What a metric is the mean of over the rows of the stream, if it is one.
fn averaged(expr: &Expr) -> Option<&Expr> {
    match &expr.kind {
        ExprKind::Aggregate { function: "mean", args, over: None } => args.first(),
        ExprKind::Convert(inner) => averaged(inner),
        _ => None,
    }
}

/// Adds the interval of a mean over rows: how much of the value is the choice of these rows. None where it cannot be had.
async fn with_interval(
    summary: &mut Summary,
    session: &datafusion::prelude::SessionContext,
    stream: &Arc<dyn TableProvider>,
    averaged: &Expr,
) {
    let Ok(batches) = evaluate(session, stream, &[("value", averaged)], false).await else { return };
    let mut values = Vec::new();
    for batch in &batches {
        let column = arrow::compute::cast(batch.column(0), &DataType::Float64);
        let Some(column) = column.ok().filter(|column| !column.is_empty()) else { return };
        let Ok(column) = crate::arrays::downcast::<Float64Array>(&column, "bench") else { return };
        values.extend(column.iter().flatten());
    }
    if let Some(interval) = bootstrap_mean(&values, INTERVAL_LEVEL, INTERVAL_SEED) {
        summary.ci_low = Some(interval.low);
        summary.ci_high = Some(interval.high);
        summary.ci_level = Some(INTERVAL_LEVEL);
    }
}

/// The stream with the time of every row; holds the columns that metrics read in memory.
async fn with_latency(
    session: &datafusion::prelude::SessionContext,
    stream: &Arc<dyn TableProvider>,
    bench: &Bench,
    output: &GraphOutput,
) -> Result<Arc<dyn TableProvider>, EngineError> {
    let no_latency = |why: &str| EngineError::Row { code: "E2103", message: format!("no latency: {why}") };
    let left_out = || no_latency("the run has other rows than were timed");
    let row_ns = output.row_ns.as_ref().map_err(|why| no_latency(why))?;
    let mut wanted: Vec<String> = bench
        .metrics
        .iter()
        .flat_map(|(_, expr, _)| columns_read(expr))
        .filter(|name| name != LATENCY)
        .collect();
    wanted.sort();
    wanted.dedup();
    let schema = stream.schema();
    let places: Result<Vec<usize>, _> = wanted.iter().map(|name| schema.index_of(name)).collect();
    let frame = session.read_table(stream.clone())?;
    let batches = frame.collect().await?;
    let mut fields: Vec<Field> = places
        .as_ref()
        .map_or(Vec::new(), |places| places.iter().map(|place| schema.field(*place).clone()).collect());
    let places = places?;
    fields.push(Field::new(LATENCY, DataType::Duration(TimeUnit::Nanosecond), false));
    let schema = Arc::new(Schema::new(fields));
    let mut rest = row_ns.as_slice();
    let mut timed = Vec::with_capacity(batches.len());
    for batch in &batches {
        let (own, later) = rest.split_at_checked(batch.num_rows()).ok_or_else(left_out)?;
        rest = later;
        let mut columns: Vec<ArrayRef> = places.iter().map(|place| batch.column(*place).clone()).collect();
        let times = own.iter().map(|ns| i64::try_from(*ns).unwrap_or(i64::MAX));
        columns.push(Arc::new(DurationNanosecondArray::from_iter_values(times)));
        timed.push(RecordBatch::try_new(schema.clone(), columns)?);
    }
    if !rest.is_empty() {
        return Err(left_out());
    }
    Ok(Arc::new(MemTable::try_new(schema, vec![timed])?))
}

/// The one number of a result; not a number and infinity are faults.
fn number(name: &str, batches: &[RecordBatch]) -> Result<f64, EngineError> {
    let fault = |why: &str| EngineError::Row { code: "E2103", message: format!("metric `{name}` {why}") };
    let batch = batches.iter().find(|batch| batch.num_rows() > 0).ok_or_else(|| fault("has no value"))?;
    let column = batch.column(0);
    let column = match column.data_type() {
        DataType::Duration(_) => arrow::compute::cast(column, &DataType::Int64)?,
        _ => column.clone(),
    };
    let column = arrow::compute::cast(&column, &DataType::Float64)?;
    let values: &Float64Array = crate::arrays::downcast(&column, "bench")?;
    if values.is_null(0) {
        return Err(fault("is null: the stream has no rows, or no values to aggregate"));
    }
    let value = values.value(0);
    if value.is_finite() { Ok(value) } else { Err(fault(&format!("is {value}, not a finite number"))) }
}

/// The summary of a single value.
pub(super) fn single(value: f64) -> Summary {
    let value = Some(value);
    Summary { n_samples: 1, median: value, mean: value, min: value, max: value, ..Summary::default() }
}

/// The unit in which a type is recorded.
pub(super) fn unit(ty: &Type) -> &'static str {
    match ty.required() {
        Type::Duration => "ns",
        Type::Size => "bytes",
        Type::Tok(_) => "tok",
        Type::Share => "share",
        Type::Int { .. } => "count",
        _ => "ratio",
    }
}

/// The value of a param as text; lists and ranges as the language writes them.
pub(super) fn param_text(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::UInt(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Text(value) => value.clone(),
        Value::List(items) => format!("[{}]", items.iter().map(param_text).collect::<Vec<_>>().join(", ")),
        Value::Record(cells) => {
            let cells: Vec<String> =
                cells.iter().map(|(name, value)| format!("{name} = {}", param_text(value))).collect();
            format!("({})", cells.join(", "))
        }
        Value::Range(from, to) => format!("{}..{}", param_text(from), param_text(to)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(value: Option<f64>) -> Vec<RecordBatch> {
        let values: ArrayRef = Arc::new(Float64Array::from(vec![value]));
        vec![RecordBatch::try_from_iter([("v0", values)]).unwrap()]
    }

    #[test]
    fn only_finite_numbers_are_values() {
        assert_eq!(number("m", &batch(Some(0.5))).unwrap(), 0.5);
        for (value, word) in [(None, "null"), (Some(f64::NAN), "NaN"), (Some(f64::INFINITY), "inf")] {
            let error = number("m", &batch(value)).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains("`m`"), "{error}");
        }
        assert!(number("m", &[]).is_err());
    }

    #[test]
    fn units_follow_from_types() {
        let cases = [
            (Type::Duration, "ns"),
            (Type::Size, "bytes"),
            (Type::Share.optional(), "share"),
            (Type::F64, "ratio"),
            (Type::I64, "count"),
        ];
        for (ty, expected) in cases {
            assert_eq!(unit(&ty), expected, "{ty}");
        }
    }
}
