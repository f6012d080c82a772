//! `write`: a stream sorted by its key into a sink. The sinks stand in `promptc_store::sinks`.
//!
//! What was written is remembered with the fingerprint of the write and the size and time of the file, so that a run
//! without changes leaves the output alone, and one whose output was changed or deleted by someone else writes it again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, SortExpr};
use datafusion::prelude::SessionContext;
use futures::StreamExt;
use promptc_compiler::op::Write;
use promptc_compiler::types::Fp;
use promptc_store::failpoint::Site;
use promptc_store::open::Store;
use promptc_store::sinks::{SinkSpec, open_sink};

use crate::context::RunContext;
use crate::error::EngineError;
use crate::expressions::{column, lower};
use crate::report::OutputReport;
use crate::store_errors;

/// Column with the name of each file of the sink `files`.
const NAME_COLUMN: &str = "~file_name";
/// Column with the content of each file.
const BODY_COLUMN: &str = "~file_body";

/// Writes the rows of `input` and remembers the output under `fp`.
///
/// # Errors
/// Paths that leave the folder, full disks, values that the sink cannot hold. The earlier output stays.
pub async fn write(
    session: &SessionContext,
    input: LogicalPlan,
    params: &Write,
    folder: &Path,
    fp: &Fp,
    ctx: &Arc<RunContext>,
) -> Result<OutputReport, EngineError> {
    let plan = sorted(input, params)?;
    let stream = session.execute_logical_plan(plan).await?.execute_stream().await?;
    let mut stream = std::pin::pin!(stream);
    let schema = visible(&stream.schema());
    let mut sink = open_sink(&spec(params, folder), &schema).map_err(store_errors::sink)?;
    while let Some(batch) = stream.next().await {
        ctx.check_interrupt()?;
        let batch = batch?;
        let columns: Vec<_> =
            schema.fields().iter().filter_map(|field| batch.column_by_name(field.name()).cloned()).collect();
        sink.write(&RecordBatch::try_new(schema.clone(), columns)?).map_err(store_errors::sink)?;
    }
    ctx.check_interrupt()?;
    let report = sink.finish().map_err(store_errors::sink)?;
    store_errors::reach(Site::OutputBeforeMemo)?;
    let memo = memo_value(&report.path, fp);
    ctx.store.ledger().put_all(&[(memo_key(&report.path).as_str(), memo.as_bytes())])?;
    store_errors::reach(Site::OutputAfterMemo)?;
    Ok(OutputReport {
        path: report.path.display().to_string(),
        rows: report.rows,
        bytes: report.bytes,
        changed: report.changed,
    })
}

/// Whether the output stands as this write left it.
///
/// # Errors
/// A store that cannot be read.
pub fn is_written(store: &Store, params: &Write, folder: &Path, fp: &Fp) -> Result<bool, EngineError> {
    let path = folder.join(&params.path);
    let Some(memo) = store.ledger().get(&memo_key(&path))? else { return Ok(false) };
    let stands = path.exists() && memo == memo_value(&path, fp).as_bytes();
    if stands {
        // No writer comes that would do it.
        promptc_store::sinks::remove_stale(&path);
    }
    Ok(stands)
}

fn spec(params: &Write, folder: &Path) -> SinkSpec {
    SinkSpec {
        kind: params.kind.clone(),
        base: folder.to_path_buf(),
        path: params.path.clone(),
        key: params.key.clone(),
        partition: params.partition.clone(),
        overwrite: params.overwrite,
        name: params.file_name.as_ref().map(|_| NAME_COLUMN.to_owned()),
        body: params.file_body.as_ref().map(|_| BODY_COLUMN.to_owned()),
    }
}

fn sorted(input: LogicalPlan, params: &Write) -> Result<LogicalPlan, EngineError> {
    let mut exprs: Vec<Expr> = input.schema().fields().iter().map(|field| column(field.name())).collect();
    if let (Some(name), Some(body)) = (&params.file_name, &params.file_body) {
        exprs.push(lower(name)?.alias(NAME_COLUMN));
        exprs.push(lower(body)?.alias(BODY_COLUMN));
    }
    let order: Vec<SortExpr> =
        params.key.iter().map(|name| SortExpr::new(column(name), true, false)).collect();
    let plan = LogicalPlanBuilder::from(input).project(exprs)?;
    Ok(if order.is_empty() { plan.build()? } else { plan.sort(order)?.build()? })
}

/// The columns that an output shows: no hidden keys, but the two working columns of `files`.
fn visible(schema: &SchemaRef) -> SchemaRef {
    let is_shown = |name: &str| !name.starts_with('~') || name == NAME_COLUMN || name == BODY_COLUMN;
    let fields: Vec<_> = schema.fields().iter().filter(|field| is_shown(field.name())).cloned().collect();
    Arc::new(Schema::new(fields))
}

fn memo_key(path: &Path) -> String {
    let absolute: PathBuf = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    format!("output/{}", absolute.display())
}

/// Fingerprint, size and time of the output; of a folder the number of its files and a hash of their names, sizes and times.
fn memo_value(path: &Path, fp: &Fp) -> String {
    let found = std::fs::metadata(path).ok();
    if found.as_ref().is_some_and(std::fs::Metadata::is_dir) {
        let mut files = BTreeSet::new();
        list(path, path, &mut files);
        let mut hasher = blake3::Hasher::new();
        for line in &files {
            hasher.update(line.as_bytes()).update(b"\n");
        }
        return format!("{fp} {} {}", files.len(), hasher.finalize().to_hex());
    }
    format!("{fp} {} {}", found.as_ref().map_or(0, std::fs::Metadata::len), modified_ns(found.as_ref()))
}

fn modified_ns(found: Option<&std::fs::Metadata>) -> u128 {
    let modified = found.and_then(|file| file.modified().ok());
    modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map_or(0, |time| time.as_nanos())
}

/// One line for each file below a folder: path, size, time. What cannot be read is left out, and then the output is another.
fn list(root: &Path, folder: &Path, lines: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.metadata() {
            Ok(found) if found.is_dir() => list(root, &path, lines),
            Ok(found) => {
                let name = path.strip_prefix(root).unwrap_or(&path);
                lines.insert(format!("{} {} {}", name.display(), found.len(), modified_ns(Some(&found))));
            }
            Err(_) => {}
        }
    }
}
