//! A table of the history for DataFusion: its live files, read through their checksums.
//!
//! ```text
//!  live files --names and covered runs--> files that may hold the run asked for --footers--> DataSourceExec
//!                                                           each byte verified by SealedFile --^
//! ```
//!
//! Which files count is decided when the session is made; their footers are read when a query first needs them. A query for
//! one run therefore opens that run's file and no other. What a large file says of itself is taken from its footer: a column
//! that has one value throughout is not read, and a file whose runs a join does not want is not opened.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, BooleanArray, StringArray};
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::stats::Precision;
use datafusion::common::{
    Column, ColumnStatistics, DFSchema, ScalarValue, Statistics, internal_datafusion_err,
};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use datafusion::datasource::physical_plan::{
    FileGroup, FileScanConfigBuilder, ParquetFileReaderFactory, ParquetSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_optimizer::pruning::PruningPredicate;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::FutureExt;
use futures::future::BoxFuture;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::ChunkReader;

use crate::flows::seal::SealedFile;
use crate::history::files::{Footer, PAGE_ROWS};
use crate::history::{HistoryError, LiveFile, Table};

/// Footers that a table keeps in memory; one of a large file takes some 100 kB.
const FOOTERS_KEPT: usize = 256;

/// Rows from which on a file's statistics cost less than reading what they spare: a page.
const STATISTICS_ROWS_MIN: usize = PAGE_ROWS;

/// Some live files of one table, all of whose rows count.
#[derive(Debug)]
pub(super) struct HistoryTable {
    table: Table,
    schema: SchemaRef,
    files: Vec<LiveFile>,
    /// Footers that were read: files of a history never change. At most [`FOOTERS_KEPT`].
    footers: Mutex<HashMap<PathBuf, PartitionedFile>>,
}

impl HistoryTable {
    pub(super) fn new(table: Table, files: Vec<LiveFile>) -> Self {
        Self { table, schema: table.schema(), files, footers: Mutex::default() }
    }

    /// A file as DataFusion takes it, with its footer and what is known of its columns.
    fn opened(&self, file: &LiveFile) -> Result<PartitionedFile> {
        let mut footers = self.footers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(opened) = footers.get(&file.path) {
            return Ok(opened.clone());
        }
        let footer = Footer::open(&file.path, self.table).map_err(external)?;
        let statistics = self.statistics(file, &footer)?;
        let opened = PartitionedFile::new(footer.path.to_string_lossy(), footer.byte_count)
            .with_statistics(Arc::new(statistics))
            .with_extension(footer);
        if footers.len() < FOOTERS_KEPT {
            footers.insert(file.path.clone(), opened.clone());
        }
        Ok(opened)
    }

    /// The first and the last run of a file, and of a large one the columns that have one value.
    fn statistics(&self, file: &LiveFile, footer: &Footer) -> Result<Statistics> {
        let mut statistics = row_statistics(footer.row_count, &self.schema);
        if footer.row_count >= STATISTICS_ROWS_MIN {
            let found = DFParquetMetadata::statistics_from_parquet_metadata(&footer.metadata, &self.schema)?;
            let columns = statistics.column_statistics.iter_mut().zip(found.column_statistics);
            for ((known, found), field) in columns.zip(self.schema.fields()) {
                // Bounds of floats leave out what is no number, so that equal bounds do not mean one value.
                let is_exact = !field.data_type().is_floating() && !field.data_type().is_nested();
                if is_exact && is_constant(&found, footer.row_count) {
                    *known = found;
                }
            }
        }
        let run_id = self.names_runs().then(|| self.schema.index_of("run_id").ok()).flatten();
        let bounds = file.runs.first().zip(file.runs.last());
        if let Some((idx, (first, last))) = run_id.zip(bounds) {
            let bound = |run: &String| Precision::Exact(ScalarValue::Utf8(Some(run.clone())));
            // Without a count of nulls: the value of a row is the one that is written there.
            statistics.column_statistics[idx] = ColumnStatistics::new_unknown();
            statistics.column_statistics[idx].min_value = bound(first);
            statistics.column_statistics[idx].max_value = bound(last);
        }
        Ok(statistics)
    }

    /// Whether [`LiveFile::runs`] are what stands in the column `run_id`.
    fn names_runs(&self) -> bool {
        matches!(self.table, Table::Results | Table::Samples | Table::Scrapes)
    }

    /// The files whose runs may satisfy the filters.
    fn chosen(&self, state: &dyn Session, filters: &[Expr]) -> Result<Vec<&LiveFile>> {
        // Only they can tell files apart.
        let of_runs = filters.iter().filter(|filter| {
            let columns = filter.column_refs();
            !columns.is_empty() && columns.iter().all(|column| column.name == "run_id")
        });
        let Some(filter) = conjunction(of_runs.cloned()).filter(|_| self.names_runs()) else {
            return Ok(self.files.iter().collect());
        };
        let schema = DFSchema::try_from(self.schema.as_ref().clone())?;
        let filter = state.create_physical_expr(filter, &schema)?;
        let kept =
            PruningPredicate::try_new(filter, self.schema.clone())?.prune(&RunsOfFiles(&self.files))?;
        Ok(self.files.iter().zip(kept).filter(|(_, is_kept)| *is_kept).map(|(file, _)| file).collect())
    }
}

/// The runs of each file as statistics of the column `run_id`.
struct RunsOfFiles<'a>(&'a [LiveFile]);

impl RunsOfFiles<'_> {
    fn bounds(&self, column: &Column, bound: fn(&LiveFile) -> Option<&String>) -> Option<ArrayRef> {
        let bounds = || self.0.iter().map(|file| bound(file).map(String::as_str)).collect::<StringArray>();
        (column.name == "run_id").then(|| Arc::new(bounds()) as ArrayRef)
    }
}

impl PruningStatistics for RunsOfFiles<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds(column, |file| file.runs.first())
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds(column, |file| file.runs.last())
    }

    fn num_containers(&self) -> usize {
        self.0.len()
    }

    fn null_counts(&self, _column: &Column) -> Option<ArrayRef> {
        None
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        None
    }

    fn contained(&self, column: &Column, values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        if column.name != "run_id" {
            return None;
        }
        let asked: HashSet<&str> = values.iter().filter_map(|value| value.try_as_str().flatten()).collect();
        let answer = |file: &LiveFile| {
            let count = file.runs.iter().filter(|run| asked.contains(run.as_str())).count();
            match count {
                0 => Some(false),
                count if count == file.runs.len() => Some(true),
                _ => None,
            }
        };
        Some(self.0.iter().map(answer).collect())
    }
}

#[async_trait::async_trait]
impl TableProvider for HistoryTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut files = Vec::new();
        let mut row_count = 0;
        for file in self.chosen(state, filters)? {
            let opened = self.opened(file)?;
            let rows = opened.extension::<Footer>().map_or(0, |footer| footer.row_count);
            row_count += rows;
            if rows > 0 {
                files.push(opened);
            }
        }
        if files.is_empty() {
            let schema = match projection {
                Some(projection) => Arc::new(self.schema.project(projection)?),
                None => self.schema.clone(),
            };
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let source = ParquetSource::new(self.schema.clone())
            .with_parquet_file_reader_factory(Arc::new(SealedReaders))
            .with_enable_page_index(true)
            .with_bloom_filter_on_read(true);
        let groups = FileGroup::new(files).split_files(state.config().target_partitions());
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), Arc::new(source))
            .with_file_groups(groups)
            .with_statistics(row_statistics(row_count, &self.schema))
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }
}

fn row_statistics(row_count: usize, schema: &SchemaRef) -> Statistics {
    Statistics { num_rows: Precision::Exact(row_count), ..Statistics::new_unknown(schema) }
}

/// Whether all rows have the same value, or none.
fn is_constant(column: &ColumnStatistics, row_count: usize) -> bool {
    let is_one = || {
        let bounds = (&column.min_value, &column.max_value);
        matches!(bounds, (Precision::Exact(min), Precision::Exact(max)) if min == max && !min.is_null())
    };
    match column.null_count {
        Precision::Exact(0) => is_one(),
        Precision::Exact(count) => count == row_count,
        _ => false,
    }
}

fn external(error: HistoryError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// Opens files by the footer that is attached to them.
#[derive(Debug)]
struct SealedReaders;

impl ParquetFileReaderFactory for SealedReaders {
    fn create_reader(
        &self,
        _partition_index: usize,
        partitioned_file: PartitionedFile,
        _metadata_size_hint: Option<usize>,
        _metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let footer = partitioned_file
            .extension::<Footer>()
            .ok_or_else(|| internal_datafusion_err!("a file of the history without its footer"))?;
        let file = footer.reopen().map_err(external)?;
        Ok(Box::new(SealedFileReader { file, metadata: footer.metadata.clone() }))
    }
}

/// Reads a sealed file for DataFusion. Reading blocks for as long as the page cache or the disk takes.
struct SealedFileReader {
    file: SealedFile,
    metadata: Arc<ParquetMetaData>,
}

impl SealedFileReader {
    fn bytes(&self, range: Range<u64>) -> parquet::errors::Result<Bytes> {
        let length = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
        self.file.get_bytes(range.start, length).map_err(|error| match self.file.broken() {
            Some(broken) => {
                let path = self.file.path().to_owned();
                let broken = HistoryError::Damaged { path, detail: broken.to_string() };
                ParquetError::External(Box::new(broken))
            }
            None => error,
        })
    }
}

impl AsyncFileReader for SealedFileReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        let bytes = self.bytes(range);
        async move { bytes }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, parquet::errors::Result<Arc<ParquetMetaData>>> {
        let metadata = self.metadata.clone();
        async move { Ok(metadata) }.boxed()
    }
}
