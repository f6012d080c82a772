//! Writing a flow: hidden columns, duplicate keys, pages, publication.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{ArrayRef, FixedSizeBinaryArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use crate::failpoint::{Control, Site, is_broken, reach};
use crate::medium::disk::{self, File};

use super::identity::{RowHasher, ordinal_id};
use super::seal::{BLOCKS_KEY, NAME_KEY, SEAL_KEY, SealWriter};
use super::{CONTENT_COLUMN, FlowError, ROW_COLUMN, RowId};

/// Rows per row group: what a reader that skips nothing holds in memory at once.
const GROUP_ROWS: usize = 8_192;
/// Most rows per page: what one taken row costs to decode.
const PAGE_ROWS: usize = 512;
/// Most bytes per page before compression.
const PAGE_BYTES: usize = 64 * 1024;

/// What a finished flow holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowMeta {
    /// Number of rows.
    pub rows: u64,
    /// Size of the file in bytes.
    pub bytes: u64,
}

/// Writes one flow. Nothing is visible to readers before [`FlowWriter::finish`]; a writer that is dropped leaves nothing.
pub struct FlowWriter {
    part_path: PathBuf,
    final_path: PathBuf,
    schema: SchemaRef,
    stored: SchemaRef,
    key: Vec<usize>,
    key_hasher: RowHasher,
    content_hasher: RowHasher,
    seen: HashSet<RowId>,
    row_count: u64,
    /// Rows that do not fill a row group yet: pages end where row groups do, so that the file does not depend on how the
    /// rows were cut into batches.
    waiting: Vec<RecordBatch>,
    waiting_rows: usize,
    writer: Option<ArrowWriter<SealWriter<File>>>,
}

impl std::fmt::Debug for FlowWriter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("FlowWriter")
            .field("part_path", &self.part_path)
            .field("rows", &self.row_count)
            .finish()
    }
}

impl FlowWriter {
    /// Begins the flow `fp` (hexadecimal digits; it becomes the file name). `dir_tmp` and `dir_flows` must exist and be on
    /// one file system. Rows are identified by the values of the columns `key`, or by their ordinal if `key` is empty.
    ///
    /// Memory while writing: the rows of one row group, their encoded pages, and about 40 bytes per row to find duplicate keys.
    ///
    /// # Errors
    /// [`FlowError::Schema`] for an unusable name or type, [`FlowError::NoColumn`] for an unknown key column, and what the
    /// system says when the file is created.
    pub fn create(
        dir_tmp: &Path,
        dir_flows: &Path,
        fp: &str,
        schema: SchemaRef,
        key: &[String],
    ) -> Result<Self, FlowError> {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let final_path = dir_flows.join(format!("{fp}.parquet"));
        let unusable = |detail: String| FlowError::Schema { file: final_path.clone(), detail };
        if fp.is_empty() || !fp.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(unusable(format!("`{fp}` is not a fingerprint")));
        }
        let is_ours = |name: &str| name == ROW_COLUMN || name == CONTENT_COLUMN;
        if let Some(field) = schema.fields().iter().find(|field| is_ours(field.name())) {
            return Err(unusable(format!("column `{}` is reserved", field.name())));
        }
        let key: Vec<usize> = key
            .iter()
            .map(|name| {
                let column = name.clone();
                schema.index_of(name).map_err(|_| FlowError::NoColumn { file: final_path.clone(), column })
            })
            .collect::<Result<_, _>>()?;
        let content: Vec<usize> = (0..schema.fields().len()).filter(|idx| !key.contains(idx)).collect();
        let arrow = |error| FlowError::arrow(&final_path, error);
        let key_hasher = RowHasher::new(schema.fields(), &key).map_err(arrow)?;
        let content_hasher = RowHasher::new(schema.fields(), &content).map_err(arrow)?;
        let stored = stored_schema(&schema);
        let properties = properties(&stored).map_err(|error| FlowError::parquet(&final_path, error))?;

        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let part_path = dir_tmp.join(format!("{fp}.{}.{serial}.part", std::process::id()));
        let io = |error| FlowError::io(&part_path, error);
        reach(Site::FlowBeforeCreate).map_err(io)?;
        let file = File::create_new(&part_path).map_err(io)?;
        let mut flow_writer = Self {
            part_path,
            final_path,
            schema,
            stored: stored.clone(),
            key,
            key_hasher,
            content_hasher,
            seen: HashSet::new(),
            row_count: 0,
            waiting: Vec::new(),
            waiting_rows: 0,
            writer: None,
        };
        let writer = ArrowWriter::try_new(SealWriter::new(file), stored, Some(properties))
            .map_err(|error| flow_writer.error(error))?;
        flow_writer.writer = Some(writer);
        reach(Site::FlowAfterCreate).map_err(|error| FlowError::io(&flow_writer.part_path, error))?;
        if is_broken(Control::FlowFirst) {
            disk::rename(&flow_writer.part_path, &flow_writer.final_path)
                .map_err(|error| FlowError::io(&flow_writer.final_path, error))?;
            flow_writer.part_path.clone_from(&flow_writer.final_path);
        }
        Ok(flow_writer)
    }

    /// Appends the rows of `batch`, which must have the schema given to [`FlowWriter::create`].
    ///
    /// # Errors
    /// [`FlowError::DuplicateKey`] names the first key that was already written; the writer is then of no further use.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), FlowError> {
        if batch.schema_ref().fields() != self.schema.fields() {
            let detail = format!("batch with schema {} for a flow of {}", batch.schema_ref(), self.schema);
            return Err(FlowError::Schema { file: self.final_path.clone(), detail });
        }
        let arrow = |error| FlowError::arrow(&self.part_path, error);
        let rows = if self.key.is_empty() {
            (self.row_count..).take(batch.num_rows()).map(ordinal_id).collect()
        } else {
            self.key_hasher.hash(batch.columns(), batch.num_rows()).map_err(arrow)?
        };
        if !self.key.is_empty() {
            for (row_idx, row) in rows.iter().enumerate() {
                if !self.seen.insert(*row) {
                    let key = self.show_key(batch, row_idx);
                    return Err(FlowError::DuplicateKey { key, row_idx: self.row_count + row_idx as u64 });
                }
            }
        }
        let content = self.content_hasher.hash(batch.columns(), batch.num_rows()).map_err(arrow)?;
        let mut columns: Vec<ArrayRef> =
            vec![id_array(&rows).map_err(arrow)?, id_array(&content).map_err(arrow)?];
        columns.extend_from_slice(batch.columns());
        let stored = RecordBatch::try_new(self.stored.clone(), columns).map_err(arrow)?;
        self.row_count += batch.num_rows() as u64;
        let mut at = 0;
        while at < stored.num_rows() {
            let part = stored.slice(at, (stored.num_rows() - at).min(GROUP_ROWS - self.waiting_rows));
            at += part.num_rows();
            self.waiting_rows += part.num_rows();
            self.waiting.push(part);
            if self.waiting_rows == GROUP_ROWS {
                self.write_group()?;
            }
        }
        Ok(())
    }

    /// Writes the waiting rows as one row group.
    fn write_group(&mut self) -> Result<(), FlowError> {
        reach(Site::FlowBeforeGroup).map_err(|error| FlowError::io(&self.part_path, error))?;
        let group = concat_batches(&self.stored, &self.waiting)
            .map_err(|error| FlowError::arrow(&self.part_path, error))?;
        self.waiting.clear();
        self.waiting_rows = 0;
        let writer = self.writer.as_mut().expect("invariant: only finish takes the writer");
        writer.write(&group).map_err(|error| FlowError::parquet(&self.part_path, error))
    }

    /// Completes the file, syncs it, renames it to `<fp>.parquet` and syncs the folder. A flow of that name that exists
    /// already is replaced, which by its name changes nothing.
    ///
    /// # Errors
    /// After an error no file of that name was created.
    pub fn finish(mut self) -> Result<FlowMeta, FlowError> {
        self.write_group()?;
        let mut writer = self.writer.take().expect("invariant: only finish takes the writer");
        writer.flush().map_err(|error| self.error(error))?;
        let io = |error| FlowError::io(&self.part_path, error);
        writer.sync().map_err(io)?;
        let (seal, blocks) = writer.inner_mut().end_data();
        let name = self.final_path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        writer.append_key_value_metadata(KeyValue::new(NAME_KEY.to_owned(), name));
        writer.append_key_value_metadata(KeyValue::new(BLOCKS_KEY.to_owned(), blocks));
        writer.append_key_value_metadata(KeyValue::new(SEAL_KEY.to_owned(), seal));
        writer.finish().map_err(|error| self.error(error))?;
        writer.sync().map_err(io)?;
        reach(Site::FlowBeforeSeal).map_err(io)?;
        let bytes = writer.inner_mut().seal().map_err(io)?;
        reach(Site::FlowBeforeSync).and_then(|()| writer.inner_mut().file_mut().sync_all()).map_err(io)?;
        drop(writer);
        reach(Site::FlowBeforeRename)
            .and_then(|()| disk::rename(&self.part_path, &self.final_path))
            .map_err(io)?;
        let folder = self.final_path.parent().unwrap_or(Path::new("."));
        reach(Site::FlowAfterRename)
            .and_then(|()| File::open(folder)?.sync_all())
            .and_then(|()| reach(Site::FlowAfterSync))
            .map_err(|error| FlowError::io(folder, error))?;
        Ok(FlowMeta { rows: self.row_count, bytes })
    }

    fn error(&self, error: ParquetError) -> FlowError {
        FlowError::parquet(&self.part_path, error)
    }

    /// The key of a row for people: `column = value, ...`.
    fn show_key(&self, batch: &RecordBatch, row_idx: usize) -> String {
        let options = FormatOptions::default().with_null("null").with_display_error(true);
        let parts: Vec<String> = self
            .key
            .iter()
            .map(|&idx| {
                let value = ArrayFormatter::try_new(batch.column(idx), &options)
                    .map(|formatter| formatter.value(row_idx).to_string())
                    .unwrap_or_else(|error| error.to_string());
                format!("{} = {value}", self.schema.field(idx).name())
            })
            .collect();
        parts.join(", ")
    }
}

impl Drop for FlowWriter {
    fn drop(&mut self) {
        // After `finish` the part was renamed and there is nothing to remove; a part that cannot be removed is garbage
        // that the next opening of the store clears from `tmp/`.
        drop(self.writer.take());
        let _ = disk::remove_file(&self.part_path);
    }
}

/// The schema in the file: the hidden columns, then the flow's.
fn stored_schema(schema: &Schema) -> SchemaRef {
    let hidden = |name: &str| Arc::new(Field::new(name, DataType::FixedSizeBinary(16), false));
    let mut fields = vec![hidden(ROW_COLUMN), hidden(CONTENT_COLUMN)];
    fields.extend(schema.fields().iter().cloned());
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

fn id_array(ids: &[RowId]) -> Result<ArrayRef, ArrowError> {
    let bytes = arrow::buffer::Buffer::from(ids.as_flattened());
    Ok(Arc::new(FixedSizeBinaryArray::try_new(16, bytes, None)?))
}

/// Pages, compression and statistics per column.
fn properties(schema: &Schema) -> Result<WriterProperties, ParquetError> {
    let leaves = ArrowSchemaConverter::new().convert(schema)?;
    let mut builder = WriterProperties::builder()
        .set_created_by("promptc".to_owned())
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_data_page_size_limit(PAGE_BYTES)
        .set_write_batch_size(PAGE_ROWS)
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?));
    for leaf_idx in 0..leaves.num_columns() {
        let path = leaves.column(leaf_idx).path().clone();
        let field = schema.field(leaves.get_column_root_idx(leaf_idx));
        if matches!(field.data_type(), DataType::FixedSizeList(..) | DataType::FixedSizeBinary(_)) {
            builder = builder
                .set_column_compression(path.clone(), Compression::UNCOMPRESSED)
                .set_column_statistics_enabled(path.clone(), EnabledStatistics::None);
        }
        if matches!(field.data_type(), DataType::Dictionary(..)) {
            builder = builder.set_column_dictionary_enabled(path, true);
        }
    }
    Ok(builder.build())
}
