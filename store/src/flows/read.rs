//! Reading a flow: all rows in order, some rows by number, or only who they are.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
    RowSelection, RowSelector,
};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};

use rayon::prelude::*;

use super::seal::{BLOCKS_KEY, NAME_KEY, SEAL_KEY, SealedFile};
use super::{CONTENT_COLUMN, FlowError, HIDDEN_PREFIX, ROW_COLUMN, RowId};

/// Rows per batch that a flow hands out.
const BATCH_ROWS: usize = 1_024;

/// An open flow. Cheap to clone; every byte that it returns was compared with its checksum.
#[derive(Debug, Clone)]
pub struct Flow {
    file: SealedFile,
    metadata: ArrowReaderMetadata,
    /// With the hidden columns.
    stored: SchemaRef,
    schema: SchemaRef,
    row_count: u64,
}

impl Flow {
    /// Opens a flow file. Cost: its footer (about 100 bytes per page) is read and verified; data is not.
    ///
    /// # Errors
    /// [`FlowError::Damaged`] if the footer does not hold what was written.
    pub fn open(path: &Path) -> Result<Self, FlowError> {
        let file = SealedFile::open(path)?;
        // Where the pages are, not what is in them: the latter serves filters, which are not pushed down.
        let options = ArrowReaderOptions::new().with_offset_index_policy(PageIndexPolicy::Optional);
        let metadata =
            ArrowReaderMetadata::load(&file, options).map_err(|error| FlowError::parquet(path, error))?;
        file.install_blocks(footer_entry(metadata.metadata(), BLOCKS_KEY))?;
        file.check_name(footer_entry(metadata.metadata(), NAME_KEY))?;
        let mut schema_metadata = metadata.schema().metadata().clone();
        schema_metadata.retain(|key, _| ![SEAL_KEY, BLOCKS_KEY, NAME_KEY].contains(&key.as_str()));
        let stored = Arc::new(Schema::new_with_metadata(metadata.schema().fields().clone(), schema_metadata));
        let own_fields: Vec<_> = stored
            .fields()
            .iter()
            .filter(|field| !field.name().starts_with(HIDDEN_PREFIX))
            .cloned()
            .collect();
        let schema = Arc::new(Schema::new_with_metadata(own_fields, stored.metadata().clone()));
        let row_count = u64::try_from(metadata.metadata().file_metadata().num_rows()).unwrap_or(0);
        Ok(Self { file, metadata, stored, schema, row_count })
    }

    /// The flow's columns, without the hidden ones.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The columns in the file: `~row`, `~content`, then the flow's.
    pub fn stored_schema(&self) -> &SchemaRef {
        &self.stored
    }

    /// Number of rows.
    pub fn rows(&self) -> u64 {
        self.row_count
    }

    /// The flow's file.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Identity of every row, in file order. Reads 16 bytes per row.
    ///
    /// # Errors
    /// [`FlowError::Damaged`] if the file does not hold what was written.
    pub fn ids(&self) -> Result<Vec<RowId>, FlowError> {
        self.read_ids(ROW_COLUMN)
    }

    /// Content hash of every row, in file order. Reads 16 bytes per row.
    ///
    /// # Errors
    /// [`FlowError::Damaged`] if the file does not hold what was written.
    pub fn contents(&self) -> Result<Vec<RowId>, FlowError> {
        self.read_ids(CONTENT_COLUMN)
    }

    /// All rows in file order, in batches of at most 1,024, with the columns `projection` in that order, or all but the
    /// hidden ones. Memory: the pages of one batch.
    ///
    /// # Errors
    /// [`FlowError::NoColumn`]; each batch may be [`FlowError::Damaged`].
    pub fn stream(&self, projection: Option<&[String]>) -> Result<FlowRows, FlowError> {
        match projection {
            Some(columns) => self.rows_of(columns, &Part::All),
            None => self.rows_of(&self.own_columns(), &Part::All),
        }
    }

    /// All rows in file order as one batch with the columns `columns`, read by all threads. Memory: these columns, twice.
    ///
    /// # Errors
    /// [`FlowError::NoColumn`], [`FlowError::Damaged`].
    pub fn load(&self, columns: &[String]) -> Result<RecordBatch, FlowError> {
        let group_count = self.metadata.metadata().num_row_groups();
        let groups: Vec<Vec<RecordBatch>> = (0..group_count)
            .into_par_iter()
            .map(|group| self.rows_of(columns, &Part::Group(group))?.collect())
            .collect::<Result<_, FlowError>>()?;
        let schema = self.rows_of(columns, &Part::Rows(&[]))?.schema;
        concat_batches(&schema, groups.iter().flatten()).map_err(|error| self.error(error))
    }

    /// The rows with the numbers `rows` (any order, repeats allowed), in that order, with the columns `columns`. Only the
    /// pages that hold these rows are read.
    ///
    /// # Errors
    /// [`FlowError::NoRow`], [`FlowError::NoColumn`], [`FlowError::Damaged`].
    pub fn take(&self, rows: &[u32], columns: &[String]) -> Result<RecordBatch, FlowError> {
        let mut wanted: Vec<u32> = rows.to_vec();
        wanted.sort_unstable();
        wanted.dedup();
        if let Some(&row_idx) = wanted.last().filter(|&&last| u64::from(last) >= self.row_count) {
            return Err(FlowError::NoRow {
                file: self.file.path().to_owned(),
                row_idx,
                row_count: self.row_count,
            });
        }
        let flow_rows = self.rows_of(columns, &Part::Rows(&wanted))?;
        let schema = flow_rows.schema.clone();
        let batches: Vec<RecordBatch> = flow_rows.collect::<Result<_, _>>()?;
        let sorted = concat_batches(&schema, &batches).map_err(|error| self.error(error))?;
        if wanted == rows {
            return Ok(sorted);
        }
        let places: UInt32Array = rows
            .iter()
            .map(|row| wanted.binary_search(row).expect("invariant: wanted holds every row") as u32)
            .collect();
        take_record_batch(&sorted, &places).map_err(|error| self.error(error))
    }

    /// Compares every block of the file with its hash. Cost: the file is read once (about 1 GB/s); memory 1 MiB.
    ///
    /// # Errors
    /// [`FlowError::Damaged`] names the first block that differs.
    pub fn verify(&self) -> Result<(), FlowError> {
        let verified = self.file.verify();
        verified.map_err(|error| self.broken_or(FlowError::parquet(self.file.path(), error)))
    }

    /// The flow's columns by name, without the hidden ones.
    fn own_columns(&self) -> Vec<String> {
        self.schema.fields().iter().map(|field| field.name().clone()).collect()
    }

    fn read_ids(&self, column: &str) -> Result<Vec<RowId>, FlowError> {
        let mut ids = Vec::with_capacity(usize::try_from(self.row_count).unwrap_or(0));
        for batch in self.rows_of(&[column.to_owned()], &Part::All)? {
            let batch = batch?;
            let values = batch.column(0).as_fixed_size_binary();
            ids.extend((0..values.len()).map(|row_idx| {
                let mut id = RowId::default();
                id.copy_from_slice(values.value(row_idx));
                id
            }));
        }
        Ok(ids)
    }

    /// Reads `columns` (hidden ones allowed) of a part of the rows.
    pub(super) fn rows_of(&self, columns: &[String], part: &Part<'_>) -> Result<FlowRows, FlowError> {
        let places: Vec<usize> = columns
            .iter()
            .map(|name| {
                let column = name.clone();
                let missing = |_| FlowError::NoColumn { file: self.file.path().to_owned(), column };
                self.stored.index_of(name).map_err(missing)
            })
            .collect::<Result<_, _>>()?;
        // The reader returns columns in file order, each once; they are put into the asked order afterwards.
        let mut read: Vec<usize> = places.clone();
        read.sort_unstable();
        read.dedup();
        let order = places
            .iter()
            .map(|place| read.binary_search(place).expect("invariant: every column asked for is read"))
            .collect();
        let schema = Arc::new(self.stored.project(&places).map_err(|error| self.error(error))?);
        let leaves = self.metadata.parquet_schema();
        let mut builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata(self.file.clone(), self.metadata.clone())
                .with_batch_size(BATCH_ROWS)
                .with_projection(ProjectionMask::roots(leaves, read));
        match part {
            Part::All => {}
            Part::Group(group) => builder = builder.with_row_groups(vec![*group]),
            Part::Rows(wanted) => {
                let (groups, selection) = select_rows(self.metadata.metadata(), wanted);
                builder = builder.with_row_groups(groups).with_row_selection(selection);
            }
        }
        let reader =
            builder.build().map_err(|error| self.broken_or(FlowError::parquet(self.file.path(), error)))?;
        Ok(FlowRows { reader, file: self.file.clone(), schema, order })
    }

    fn error(&self, error: ArrowError) -> FlowError {
        self.broken_or(FlowError::arrow(self.file.path(), error))
    }

    fn broken_or(&self, error: FlowError) -> FlowError {
        self.file.broken().unwrap_or(error)
    }
}

/// Which rows of a flow are read.
pub(super) enum Part<'a> {
    /// All.
    All,
    /// Those of one row group.
    Group(usize),
    /// Those with these numbers, ascending; they exist.
    Rows(&'a [u32]),
}

/// Batches of a flow, in file order.
pub struct FlowRows {
    reader: ParquetRecordBatchReader,
    file: SealedFile,
    schema: SchemaRef,
    order: Vec<usize>,
}

impl FlowRows {
    /// Schema of the batches.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn arrange(&self, batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
        let columns = self.order.iter().map(|&idx| batch.column(idx).clone()).collect();
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
    }
}

impl std::fmt::Debug for FlowRows {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("FlowRows")
            .field("file", &self.file.path())
            .field("schema", &self.schema)
            .finish()
    }
}

impl Iterator for FlowRows {
    type Item = Result<RecordBatch, FlowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.reader.next()?;
        Some(batch.and_then(|batch| self.arrange(batch)).map_err(|error| {
            let path: PathBuf = self.file.path().to_owned();
            self.file.broken().unwrap_or_else(|| FlowError::arrow(&path, error))
        }))
    }
}

fn footer_entry<'a>(metadata: &'a ParquetMetaData, key: &str) -> Option<&'a str> {
    let entries = metadata.file_metadata().key_value_metadata()?;
    entries.iter().find(|entry| entry.key == key)?.value.as_deref()
}

/// The row groups that hold the ascending rows `wanted`, and the selection of these rows within these groups.
fn select_rows(metadata: &ParquetMetaData, wanted: &[u32]) -> (Vec<usize>, RowSelection) {
    let mut groups = Vec::new();
    let mut selectors: Vec<RowSelector> = Vec::new();
    let mut rest = wanted;
    let mut group_start = 0u64;
    for (group_idx, group) in metadata.row_groups().iter().enumerate() {
        let group_end = group_start + u64::try_from(group.num_rows()).unwrap_or(0);
        let count = rest.partition_point(|&row| u64::from(row) < group_end);
        if count > 0 {
            groups.push(group_idx);
            let mut at = group_start;
            for &row in &rest[..count] {
                selectors.push(RowSelector::skip((u64::from(row) - at) as usize));
                selectors.push(RowSelector::select(1));
                at = u64::from(row) + 1;
            }
            selectors.push(RowSelector::skip((group_end - at) as usize));
        }
        rest = &rest[count..];
        group_start = group_end;
    }
    (groups, RowSelection::from(selectors))
}
