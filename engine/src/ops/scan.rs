//! Sources as tables: rows of the user's files, read in a thread of their own through a bounded channel.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::PartitionStream;
use promptc_compiler::op::Scan;
use promptc_store::sources::{self, BadRows, FileEntry, SourceSpec};

use crate::context::{BadRow, RunContext};
use crate::error::EngineError;
use crate::row_function::NodeStats;
use crate::{store_errors, types};

/// Batches that may wait between the reader and the plan.
const BATCHES_WAITING: usize = 2;

/// The store's description of a source.
///
/// # Errors
/// [`EngineError::Store`] for columns that the kind cannot give.
pub fn spec(scan: &Scan) -> Result<SourceSpec, EngineError> {
    let spec = SourceSpec {
        kind: scan.kind.clone(),
        base: PathBuf::from(if scan.base.is_empty() { "." } else { scan.base.as_str() }),
        path: scan.path.clone(),
        part: scan.part.clone(),
        delimiter: scan.delimiter.chars().next().unwrap_or(','),
        header: scan.header,
        columns: types::schema(&scan.columns),
        key: scan.key.clone(),
        bad_rows: match scan.bad_rows.as_str() {
            "quarantine" => BadRows::Quarantine,
            "skip" => BadRows::Skip,
            _ => BadRows::Error,
        },
        max_bytes: scan.max_bytes,
        max_bad: scan.max_bad,
        limit: scan.limit,
    };
    spec.check().map_err(store_errors::source)?;
    Ok(spec)
}

/// A source as a table of one partition in file order. Bad rows go to the quarantine of the run.
///
/// # Errors
/// As [`spec`].
pub fn table(
    name: &str,
    scan: &Scan,
    files: Vec<FileEntry>,
    batch_rows: usize,
    ctx: Arc<RunContext>,
    stats: Arc<NodeStats>,
) -> Result<Arc<dyn TableProvider>, EngineError> {
    let spec = spec(scan)?;
    let schema = spec.columns.clone();
    let source = FileStream { name: name.to_owned(), spec, files, batch_rows, ctx, stats };
    Ok(Arc::new(StreamingTable::try_new(schema, vec![Arc::new(source)])?))
}

#[derive(Debug)]
struct FileStream {
    name: String,
    spec: SourceSpec,
    files: Vec<FileEntry>,
    batch_rows: usize,
    ctx: Arc<RunContext>,
    stats: Arc<NodeStats>,
}

impl PartitionStream for FileStream {
    fn schema(&self) -> &SchemaRef {
        &self.spec.columns
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut builder = RecordBatchReceiverStreamBuilder::new(self.spec.columns.clone(), BATCHES_WAITING);
        let sender = builder.tx();
        let reader = sources::read(&self.spec, &self.files, self.batch_rows);
        let (ctx, stats, name) = (self.ctx.clone(), self.stats.clone(), self.name.clone());
        builder.spawn_blocking(move || {
            for found in reader {
                ctx.check_interrupt().map_err(EngineError::into_datafusion)?;
                let found = found.map_err(|error| store_errors::source(error).into_datafusion())?;
                for row in found.quarantined {
                    ctx.quarantine.push(BadRow {
                        source: name.clone(),
                        file: row.file.display().to_string(),
                        line: row.line,
                        offset: row.offset,
                        code: row.code.to_owned(),
                        message: row.message,
                        head: String::from_utf8_lossy(&row.head).into_owned(),
                    });
                }
                stats.skipped.fetch_add(found.skipped, Ordering::Relaxed);
                stats.computed.fetch_add(found.batch.num_rows() as u64, Ordering::Relaxed);
                if sender.blocking_send(Ok(found.batch)).is_err() {
                    break;
                }
            }
            Ok::<(), DataFusionError>(())
        });
        builder.build()
    }
}
