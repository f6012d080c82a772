//! Streams as SQL tables: queries over the last build, and the tests of a program.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{SchemaError, TableReference};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::prelude::SessionContext;
use promptc_compiler::graph::NodeId;
use promptc_compiler::hir::{Expect, Hir, Test};
use promptc_compiler::op::{self, Op};
use promptc_compiler::plan::BuildRecord;
use promptc_store::flows::Flow;
use promptc_store::open::Store;
use serde::Serialize;

use crate::context::{BadRow, Cancel, RunContext, Silent};
use crate::error::EngineError;
use crate::expressions::{Aggregated, lower};
use crate::functions::rendered_keys;
use crate::run::{RunOptions, left_out, run_graph, stream_file};
use crate::store_errors;

/// Columns that an error names.
const COLUMNS_SHOWN: usize = 12;
/// Failing rows that a test shows.
const ROWS_SHOWN: usize = 3;

/// Registers the stored streams of the last build: `corpus.docs` is the table `corpus_docs` and, quoted, `"corpus.docs"`.
/// Returns the names of the tables.
///
/// # Errors
/// A store that cannot be read.
pub fn register_streams(
    session: &SessionContext,
    store: &Store,
    last: Option<&BuildRecord>,
) -> Result<Vec<String>, EngineError> {
    let mut names = Vec::new();
    for node in last.map_or(&[][..], |last| &last.nodes) {
        let path = store.flows_dir().join(format!("{}.parquet", node.fp.short(32)));
        if !path.exists() {
            continue;
        }
        let stream = node.name.split('/').next().unwrap_or(&node.name);
        let table: Arc<dyn TableProvider> = Flow::open(&path).map_err(store_errors::flow)?.table_provider();
        for name in [stream.to_owned(), stream.replace('.', "_")] {
            let reference = TableReference::bare(name.as_str());
            if !session.table_exist(reference.clone())? {
                session.register_table(reference, table.clone())?;
                names.push(name);
            }
        }
    }
    Ok(names)
}

/// Registers the rows that the last build left out as the table `quarantine`, unless a stream has that name.
///
/// # Errors
/// A store that cannot be read.
pub fn register_quarantine(
    session: &SessionContext,
    store: &Store,
    last: Option<&BuildRecord>,
) -> Result<(), EngineError> {
    let reference = TableReference::bare("quarantine");
    if session.table_exist(reference.clone())? {
        return Ok(());
    }
    let fps = last.map_or(&[][..], |last| &last.nodes).iter().map(|node| node.fp);
    let (_, rows) = left_out(store, fps)?;
    let text = |part: fn(&BadRow) -> &String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rows.iter().map(part)))
    };
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        ("source", text(|row| &row.source), false),
        ("file", text(|row| &row.file), false),
        ("line", Arc::new(rows.iter().map(|row| row.line).collect::<UInt64Array>()), true),
        ("offset", Arc::new(UInt64Array::from_iter_values(rows.iter().map(|row| row.offset))), false),
        ("code", text(|row| &row.code), false),
        ("message", text(|row| &row.message), false),
        ("head", text(|row| &row.head), false),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(columns)?;
    session.register_table(reference, Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?))?;
    Ok(())
}

/// Registers the sources of a program that `sql` mentions; their files are read when the query runs.
///
/// # Errors
/// A source that is mentioned and cannot be read.
pub fn register_sources(
    session: &SessionContext,
    hir: &Hir,
    store: &Arc<Store>,
    sql: &str,
    home: Option<&Path>,
) -> Result<(), EngineError> {
    let ctx = Arc::new(RunContext::new(store.clone(), Cancel::default(), Arc::new(Silent)));
    for (name, id) in &hir.graph.streams {
        let Op::Scan(scan) = &hir.graph.node(*id).op else { continue };
        let table_name = name.replace('.', "_");
        let reference = TableReference::bare(table_name.as_str());
        if !sql.contains(&table_name) || session.table_exist(reference.clone())? {
            continue;
        }
        let spec = crate::ops::scan::spec(scan)?;
        let files = promptc_store::sources::resolve(&spec, home).map_err(store_errors::source)?;
        let table = crate::ops::scan::table(name, scan, files, 1024, ctx.clone(), Arc::default())?;
        session.register_table(reference, table)?;
    }
    Ok(())
}

/// Plans one `SELECT` or `WITH` over the registered tables, or `EXPLAIN` or `EXPLAIN ANALYZE` of one; nothing is read.
///
/// # Errors
/// E0501 for SQL that is too deep, E0607 with DataFusion's message, which names what is not there.
pub async fn plan_query(session: &SessionContext, sql: &str) -> Result<LogicalPlan, EngineError> {
    promptc_compiler::sql_limit(sql).map_err(|message| EngineError::Row { code: "E0501", message })?;
    let plan = session.state().create_logical_plan(sql).await.map_err(sql_fault)?;
    // Also within an explanation: EXPLAIN ANALYZE runs what it explains.
    let writes = |plan: &LogicalPlan| {
        use LogicalPlan::{Copy, Ddl, Dml, Statement};
        Ok(matches!(plan, Ddl(_) | Dml(_) | Copy(_) | Statement(_)))
    };
    if plan.exists(writes).map_err(sql_fault)? {
        let message = "a query is a SELECT or WITH; streams are written by programs".to_owned();
        return Err(EngineError::Row { code: "E0607", message });
    }
    Ok(plan)
}

/// DataFusion's own message about SQL as E0607; our errors inside it as they are.
pub(crate) fn sql_fault(error: DataFusionError) -> EngineError {
    let text = missing_column(&error).unwrap_or_else(|| {
        let text = error.strip_backtrace();
        text.lines().next().unwrap_or_default().replace("datafusion.public.", "")
    });
    match EngineError::from(error) {
        EngineError::Internal { .. } => EngineError::Row { code: "E0607", message: format!("SQL: {text}") },
        own => own,
    }
}

/// The message for a column that is not there: the nearest names, and of many columns the first.
fn missing_column(error: &DataFusionError) -> Option<String> {
    let DataFusionError::SchemaError(fault, _) = error.find_root() else { return None };
    let SchemaError::FieldNotFound { field, valid_fields } = fault.as_ref() else { return None };
    let mut names: Vec<&str> = valid_fields.iter().map(|column| column.name.as_str()).collect();
    names.dedup();
    let help = promptc_compiler::did_you_mean(&field.name, names.iter().copied());
    let help = help.map_or_else(String::new, |help| format!("; {help}"));
    let shown = names[..names.len().min(COLUMNS_SHOWN)].join(", ");
    let more = match names.len().saturating_sub(COLUMNS_SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more, which `DESCRIBE <table>` lists"),
    };
    Some(format!("no column `{}`{help} (there are: {shown}{more})", field.name))
}

/// Runs one `SELECT` or `WITH` over the registered tables. `limit` bounds the rows that are gathered.
///
/// # Errors
/// E0607 with DataFusion's message, which names what is not there.
pub async fn query(
    session: &SessionContext,
    sql: &str,
    limit: usize,
) -> Result<(SchemaRef, Vec<RecordBatch>), EngineError> {
    collect(session, plan_query(session, sql).await?, limit).await
}

/// Whether rows of this schema are plans, the answer to `EXPLAIN` and `EXPLAIN ANALYZE`.
#[must_use]
pub fn is_explanation(schema: &Schema) -> bool {
    let names = |schema: &Schema| -> Vec<String> {
        schema.fields().iter().map(|field| field.name().clone()).collect()
    };
    names(schema) == names(&LogicalPlan::explain_schema())
}

/// Runs a plan. `limit` bounds the rows that are gathered, except of an explanation: its few rows cannot be limited, and what
/// `EXPLAIN ANALYZE` runs is the statement as it stands.
///
/// # Errors
/// E0607 with DataFusion's message.
pub async fn collect(
    session: &SessionContext,
    plan: LogicalPlan,
    limit: usize,
) -> Result<(SchemaRef, Vec<RecordBatch>), EngineError> {
    let frame = datafusion::dataframe::DataFrame::new(session.state(), plan);
    let frame = match frame.logical_plan() {
        LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) => frame,
        _ => frame.limit(0, Some(limit)).map_err(sql_fault)?,
    };
    let schema = Arc::new(frame.schema().as_arrow().clone());
    Ok((schema, frame.collect().await.map_err(sql_fault)?))
}

/// The outcome of one test.
#[derive(Debug, Clone, Serialize)]
pub struct TestReport {
    /// Its name.
    pub name: String,
    /// Whether every expectation held.
    pub passed: bool,
    /// What did not hold: text of the expectation, and values of failing rows.
    pub failures: Vec<String>,
    /// Expectations checked.
    pub expectations: usize,
    /// Wall time in milliseconds.
    pub elapsed_ms: f64,
}

/// Runs one test of a program in a scratch folder.
///
/// # Errors
/// Faults of running; expectations that do not hold are part of the report.
pub async fn run_test(
    hir: &Hir,
    test: &Test,
    scratch: &Path,
    options: &RunOptions,
) -> Result<TestReport, EngineError> {
    let started = std::time::Instant::now();
    let settings = promptc_store::open::StoreOptions {
        cache_bytes: promptc_store::open::CACHE_BYTES_DEFAULT,
        read_only: false,
    };
    let store = Arc::new(Store::open(scratch, &settings).map_err(store_errors::open)?);
    let roots: Vec<NodeId> = test
        .expects
        .iter()
        .map(|expect| {
            let missing = || EngineError::internal("test", format!("no stream `{}`", expect.stream));
            test.graph.stream(&expect.stream).ok_or_else(missing)
        })
        .collect::<Result<_, _>>()?;
    let tables = run_graph(hir, &test.graph, &roots, store, options).await?;
    let mut failures = Vec::new();
    for expect in &test.expects {
        failures.extend(check(expect, &tables, options).await?);
    }
    Ok(TestReport {
        name: test.name.clone(),
        passed: failures.is_empty(),
        failures,
        expectations: test.expects.len(),
        elapsed_ms: started.elapsed().as_secs_f64() * 1e3,
    })
}

async fn check(
    expect: &Expect,
    tables: &BTreeMap<String, Arc<dyn TableProvider>>,
    options: &RunOptions,
) -> Result<Option<String>, EngineError> {
    let Some(table) = tables.get(&expect.stream) else {
        return Err(EngineError::internal("test", format!("stream `{}` was not run", expect.stream)));
    };
    let session = crate::session::session(&crate::session::SessionSettings {
        batch_rows: options.batch_rows,
        memory_bytes: options.memory_bytes,
        temporary: std::env::temp_dir(),
    })?;
    let mut exprs: Vec<(&str, &op::Expr)> = vec![(&expect.text, &expect.condition)];
    exprs.extend(expect.shown.iter().map(|(text, expr)| (text.as_str(), expr)));
    let batches = evaluate(&session, table, &exprs, expect.is_aggregate).await?;
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    if rows == 0 {
        return Ok(Some(format!("expect {}\n  the stream `{}` has no rows", expect.text, expect.stream)));
    }
    let mut failing = Vec::new();
    for batch in &batches {
        let holds: &BooleanArray = crate::arrays::downcast(batch.column(0), "test")?;
        for row in (0..batch.num_rows()).filter(|row| holds.is_null(*row) || !holds.value(*row)) {
            failing.push(shown(batch, row, &exprs)?);
        }
    }
    if failing.is_empty() {
        return Ok(None);
    }
    let count = failing.len();
    failing.truncate(ROWS_SHOWN);
    Ok(Some(format!("expect {}\n  {count} of {rows} rows do not hold:\n{}", expect.text, failing.join("\n"))))
}

/// The values of expressions over a table: one row per row, or a single one with aggregates.
pub(crate) async fn evaluate(
    session: &SessionContext,
    table: &Arc<dyn TableProvider>,
    exprs: &[(&str, &op::Expr)],
    is_aggregate: bool,
) -> Result<Vec<RecordBatch>, EngineError> {
    let scan = LogicalPlanBuilder::scan("t", provider_as_source(table.clone()), None)?;
    let fields = table.schema();
    let bare = fields.fields().iter().map(|field| {
        datafusion::logical_expr::Expr::Column(datafusion::common::Column::new(
            Some("t"),
            field.name().clone(),
        ))
        .alias(field.name().clone())
    });
    let bare: Vec<_> = bare.collect();
    let scan = scan.project(bare)?;
    let plan = if is_aggregate {
        let mut parts = Aggregated::default();
        let outer: Result<Vec<_>, EngineError> = exprs
            .iter()
            .enumerate()
            .map(|(idx, (_, expr))| Ok(parts.split(expr)?.alias(format!("v{idx}"))))
            .collect();
        let outer = outer?;
        let calls: Vec<_> = parts.aggregates.into_iter().map(|(name, call)| call.alias(name)).collect();
        let no_groups: Vec<datafusion::logical_expr::Expr> = Vec::new();
        scan.aggregate(no_groups, calls)?.project(outer)?.build()?
    } else {
        let values: Result<Vec<_>, EngineError> = exprs
            .iter()
            .enumerate()
            .map(|(idx, (_, expr))| Ok(lower(expr)?.alias(format!("v{idx}"))))
            .collect();
        scan.project(values?)?.build()?
    };
    Ok(session.execute_logical_plan(plan).await?.collect().await?)
}

fn shown(batch: &RecordBatch, row: usize, exprs: &[(&str, &op::Expr)]) -> Result<String, EngineError> {
    let values = exprs.iter().zip(batch.columns()).skip(1).map(|((text, _), values)| {
        let value = arrow::util::display::array_value_to_string(values, row)?;
        let value: String = value.chars().take(200).collect();
        Ok(format!("    {text} = {value}"))
    });
    let values: Result<Vec<String>, arrow::error::ArrowError> = values.collect();
    Ok(values?.join("\n"))
}

/// One row of a stream by its key as text, the values of a composite key joined by `/`, with all its columns.
///
/// # Errors
/// A stream that is not in the last build, a key that no row has.
pub fn row_by_key(
    store: &Store,
    last: &BuildRecord,
    stream: &str,
    key_columns: &[String],
    key: &str,
) -> Result<RecordBatch, EngineError> {
    let Some(path) = stream_file(store, last, stream) else {
        let known = last.nodes.iter().filter_map(|node| node.name.split('/').next());
        let known: std::collections::BTreeSet<&str> =
            known.filter(|name| stream_file(store, last, name).is_some()).collect();
        let known: Vec<&str> = known.into_iter().collect();
        return Err(EngineError::Unknown(format!(
            "no stream `{stream}` in the last build; there are {}",
            known.join(", ")
        )));
    };
    let flow = Flow::open(&path).map_err(store_errors::flow)?;
    let mut row = 0u32;
    for batch in flow.stream(Some(key_columns)).map_err(store_errors::flow)? {
        let batch = batch.map_err(store_errors::flow)?;
        let keys = rendered_keys(batch.columns(), batch.num_rows())?;
        if let Some(found) = keys.iter().position(|(_, text)| text == key) {
            let columns: Vec<String> =
                flow.schema().fields().iter().map(|field| field.name().clone()).collect();
            return flow.take(&[row + found as u32], &columns).map_err(store_errors::flow);
        }
        row += batch.num_rows() as u32;
    }
    let names: Vec<&str> = key_columns.iter().map(|name| name.trim_start_matches('~')).collect();
    Err(EngineError::Unknown(format!(
        "no row with the key `{key}` in `{stream}`; a key is {}",
        names.join("/")
    )))
}
