//! The benchmark history as tables of SQL.
//!
//! ```text
//!  histories --live files--> results, samples, env, verdicts, scrapes     (read through their checksums: `lake`)
//!                               |
//!                 series, pairs, marks, run_states, measured, history     (`views`)
//!  targets, this_env(), this_machine(), statistics                        (`functions`)
//! ```
//!
//! A session sees the files that counted when it was made. It knows no other files: there is no listing of folders, and a
//! path is not a table. Whoever runs a query checks that it is a `SELECT`.

pub mod functions;
mod lake;
pub mod stats;
mod views;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::MemTable;
use datafusion::catalog::TableProvider;
use datafusion::common::ScalarValue;
use datafusion::dataframe::DataFrame;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{ColumnarValue, Expr, LogicalPlan, Volatility, col, create_udf, lit};
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::FutureExt;

use crate::history::{self, History, HistoryError, Table};

/// The promises, as a table without rows.
///
/// | Column | |
/// |---|---|
/// | `target_id` | its name |
/// | `seed`, `errata`, `section` | where it comes from |
/// | `kind` | `seed`, `restated`, `ours` |
/// | `bench_id`, `metric`, `statistic` | what is measured |
/// | `op`, `bound`, `unit` | what is promised |
/// | `needs` | what the machine must have |
/// | `note` | arithmetic, reasons |
#[must_use]
pub fn targets_schema() -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    let mut fields: Vec<Field> =
        ["target_id", "seed", "errata", "section", "kind", "bench_id", "metric", "statistic", "op"]
            .map(text)
            .into();
    fields.push(Field::new("bound", DataType::Float64, false));
    fields.extend(["unit", "needs", "note"].map(text));
    Arc::new(Schema::new(fields))
}

/// A session with the tables and views of one or several histories; a run that is in several of them counts once.
/// `this_env` is what `this_env()` and `this_machine()` return. Uses as many threads as there are cores.
///
/// # Errors
/// A history that cannot be listed; a compacted file that is damaged or of a later version. Other files are opened when a
/// query needs them, and such an error is then the source of DataFusion's.
pub fn history_session(
    histories: &[History],
    this_env: &str,
    targets: Option<RecordBatch>,
) -> Result<SessionContext, HistoryError> {
    let ctx = SessionContext::new_with_config(SessionConfig::new().with_information_schema(true));
    register_functions(&ctx, this_env);
    register_tables(&ctx, histories)?;
    for view in views::VIEWS {
        register_view(&ctx, view.name, view.sql)?;
    }
    let series = frame(&ctx, "series", "SELECT * FROM series")?.into_view();
    functions::register_tables(&ctx, series, this_env);
    let targets = targets.unwrap_or_else(|| RecordBatch::new_empty(targets_schema()));
    let table =
        MemTable::try_new(targets.schema(), vec![vec![targets]]).map_err(|error| failed("targets", error))?;
    register(&ctx, "targets", Arc::new(table))?;
    Ok(ctx)
}

/// A session with exactly the two tables that a gate may read, `current` and `history`, for the run `run_id` and its bench
/// `bench` (second segment of `bench_id`). Without histories both are empty: enough to plan a gate. One thread, so that
/// sums do not depend on how rows were divided.
///
/// # Errors
/// As [`history_session`]; [`HistoryError::NoRun`] if histories are given and none holds the run.
pub fn gate_session(
    histories: &[History],
    this_env: &str,
    run_id: &str,
    bench: &str,
) -> Result<SessionContext, HistoryError> {
    let mut is_known = histories.is_empty();
    for history in histories {
        is_known = is_known || history.contains(run_id)?;
    }
    if !is_known {
        return Err(HistoryError::NoRun { run_id: run_id.to_owned() });
    }
    let config = || SessionConfig::new().with_target_partitions(1);
    // The tables stay in a session of their own: the gate's session knows the two views alone.
    let inner = SessionContext::new_with_config(config());
    register_functions(&inner, this_env);
    register_tables(&inner, histories)?;
    for view in views::VIEWS {
        register_view(&inner, view.name, view.sql)?;
    }
    let ctx = SessionContext::new_with_config(config());
    register_functions(&ctx, this_env);
    for (name, sql) in views::gate_views(run_id, bench) {
        register(&ctx, name, frame(&inner, name, &sql)?.into_view())?;
    }
    Ok(ctx)
}

/// The history's own error within one of DataFusion's: a damaged or newer file that a query met, with its code and help.
#[must_use]
pub fn history_error(error: &DataFusionError) -> Option<&HistoryError> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(found) = cause {
        if let Some(own) = found.downcast_ref::<HistoryError>() {
            return Some(own);
        }
        cause = found.source();
    }
    None
}

fn register_functions(ctx: &SessionContext, this_env: &str) {
    for name in ["this_env", "this_machine"] {
        let value = ScalarValue::Utf8(Some(this_env.to_owned()));
        let constant = Arc::new(move |_: &[ColumnarValue]| Ok(ColumnarValue::Scalar(value.clone())));
        ctx.register_udf(create_udf(name, Vec::new(), DataType::Utf8, Volatility::Immutable, constant));
    }
    functions::register(ctx);
}

fn register_tables(ctx: &SessionContext, histories: &[History]) -> Result<(), HistoryError> {
    for table in Table::ALL {
        let provider = provider(ctx, histories, table)?;
        if table == Table::Env {
            register(ctx, "environments", provider.clone())?;
        }
        register(ctx, table.name(), provider)?;
    }
    Ok(())
}

/// The live files of a table; files that also hold rows which do not count are read through a filter.
fn provider(
    ctx: &SessionContext,
    histories: &[History],
    table: Table,
) -> Result<Arc<dyn TableProvider>, HistoryError> {
    let fail = |error| failed(table.name(), error);
    let files = history::live(histories, table)?;
    if table == Table::Verdicts && histories.len() > 1 {
        // A copy of a decision may stand in a batch of another name; rows that are equal in everything are one decision.
        let all = Arc::new(lake::HistoryTable::new(table, files));
        return Ok(ctx.read_table(all).and_then(DataFrame::distinct).map_err(fail)?.into_view());
    }
    let (whole, mixed): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| file.excluded.is_empty());
    let whole = Arc::new(lake::HistoryTable::new(table, whole));
    if mixed.is_empty() {
        return Ok(whole);
    }
    let mut frame = ctx.read_table(whole).map_err(fail)?;
    for file in mixed {
        let excluded = file.excluded.iter().map(|run| lit(run.as_str())).collect();
        let part = ctx.read_table(Arc::new(lake::HistoryTable::new(table, vec![file])));
        let part = part.and_then(|part| part.filter(col("run_id").in_list(excluded, true)));
        frame = part.and_then(|part| frame.union(part)).map_err(fail)?;
    }
    Ok(frame.into_view())
}

fn register_view(ctx: &SessionContext, name: &str, sql: &str) -> Result<(), HistoryError> {
    register(ctx, name, frame(ctx, name, sql)?.into_view())
}

/// Plans `sql`. Planning waits for nothing, since every table is in memory or known by its files.
fn frame(ctx: &SessionContext, name: &str, sql: &str) -> Result<DataFrame, HistoryError> {
    let planned = ctx.state().create_logical_plan(sql).now_or_never();
    let waits = || DataFusionError::Internal("planning a view waited".to_owned());
    let plan = planned.unwrap_or_else(|| Err(waits())).map_err(|error| failed(name, error))?;
    Ok(DataFrame::new(ctx.state(), without_identity(plan)))
}

/// The plan below a projection that changes nothing, as `SELECT *` over a filter is one. Each rule of the planner would walk its
/// columns, which are many, in every query over the view.
fn without_identity(plan: LogicalPlan) -> LogicalPlan {
    let LogicalPlan::Projection(projection) = &plan else { return plan };
    let inner = projection.input.schema();
    let is_same = projection.schema == *inner
        && projection.expr.iter().eq(inner
            .columns()
            .into_iter()
            .map(Expr::Column)
            .collect::<Vec<_>>()
            .iter());
    if is_same { projection.input.as_ref().clone() } else { plan }
}

fn register(ctx: &SessionContext, name: &str, table: Arc<dyn TableProvider>) -> Result<(), HistoryError> {
    ctx.register_table(name, table).map_err(|error| failed(name, error))?;
    Ok(())
}

fn failed(view: &str, source: DataFusionError) -> HistoryError {
    HistoryError::View { view: view.to_owned(), source: Box::new(source) }
}
