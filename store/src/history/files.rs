//! One file of the history: its bytes, its footer, its rows.
//!
//! zstd 3, row groups of 50,000 rows, pages of 8,192, statistics of every page, bloom filters on `bench_id` and `git_sha`,
//! byte-stream split for floats and dictionaries for everything else. The file is sealed as a flow is
//! ([`crate::flows`]): our reader compares every byte with its checksum, other readers see plain Parquet.

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::arrow::{ArrowSchemaConverter, ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, ParquetMetaData};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::error::HistoryError;
use super::tables::{SCHEMA_VERSION, Table};
use crate::flows::seal::{BLOCKS_KEY, NAME_KEY, SEAL_KEY, SealWriter, SealedFile};

/// Rows of one row group.
const GROUP_ROWS: usize = 50_000;
/// Most rows of a page: what looking up one benchmark in a large file decodes at least.
pub(crate) const PAGE_ROWS: usize = 8_192;
/// Columns with a bloom filter.
const BLOOM_COLUMNS: [&str; 2] = ["bench_id", "git_sha"];
/// Share of values that a bloom filter finds in vain.
const BLOOM_FALSE_RATE: f64 = 0.01;

/// Footer key: version of the columns, decimal.
pub const VERSION_KEY: &str = "promptc.schema_version";
/// Footer key: version of the program that wrote the file.
pub const PROGRAM_KEY: &str = "promptc.version";
/// Footer key: name of the table.
pub const TABLE_KEY: &str = "promptc.table";
/// Footer key of compacted files: JSON array of the names of the files inside, without their extension.
pub const COVERS_KEY: &str = "promptc.covers";

/// The bytes of a file that holds `batch`, which has the table's schema and order. Memory: the file, and one row group.
pub(super) fn encode(
    path: &Path,
    table: Table,
    batch: &RecordBatch,
    covers: Option<&[String]>,
) -> Result<Vec<u8>, HistoryError> {
    let fail = |error| HistoryError::parquet(path, error);
    let properties = properties(batch).map_err(fail)?;
    // Without Arrow's own copy of the schema, which would repeat it in 5 KB of base64 per file.
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let sink = SealWriter::new(Cursor::new(Vec::new()));
    let mut writer = ArrowWriter::try_new_with_options(sink, batch.schema(), options).map_err(fail)?;
    writer.write(batch).map_err(fail)?;
    writer.flush().map_err(fail)?;
    let io = |source| HistoryError::io("write", path, source);
    writer.sync().map_err(io)?;
    let mut entry = |key: &str, value: String| {
        writer.append_key_value_metadata(KeyValue::new(key.to_owned(), value));
    };
    entry(VERSION_KEY, SCHEMA_VERSION.to_string());
    entry(PROGRAM_KEY, env!("CARGO_PKG_VERSION").to_owned());
    entry(TABLE_KEY, table.name().to_owned());
    entry(NAME_KEY, path.file_stem().unwrap_or_default().to_string_lossy().into_owned());
    if let Some(covers) = covers {
        entry(COVERS_KEY, serde_json::to_string(covers).expect("invariant: a list of texts is JSON"));
    }
    let (seal, blocks) = writer.inner_mut().end_data();
    writer.append_key_value_metadata(KeyValue::new(BLOCKS_KEY.to_owned(), blocks));
    writer.append_key_value_metadata(KeyValue::new(SEAL_KEY.to_owned(), seal));
    writer.finish().map_err(fail)?;
    writer.sync().map_err(io)?;
    writer.inner_mut().seal().map_err(io)?;
    Ok(std::mem::take(writer.inner_mut().file_mut().get_mut()))
}

fn properties(batch: &RecordBatch) -> Result<WriterProperties, ParquetError> {
    let mut builder = WriterProperties::builder()
        .set_created_by("promptc".to_owned())
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_write_batch_size(PAGE_ROWS)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?));
    let schema = batch.schema();
    let leaves = ArrowSchemaConverter::new().convert(&schema)?;
    for leaf_idx in 0..leaves.num_columns() {
        let path = leaves.column(leaf_idx).path().clone();
        let is_float = match schema.field(leaves.get_column_root_idx(leaf_idx)).data_type() {
            DataType::List(item) => item.data_type().is_floating(),
            data_type => data_type.is_floating(),
        };
        if is_float {
            // Samples rarely repeat: their exponents and leading digits compress when they stand together.
            builder = builder
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path, Encoding::BYTE_STREAM_SPLIT);
        }
    }
    let distinct_max = batch.num_rows().clamp(1, GROUP_ROWS) as u64;
    for name in BLOOM_COLUMNS.into_iter().filter(|name| schema.column_with_name(name).is_some()) {
        let path = ColumnPath::from(name);
        builder = builder
            .set_column_bloom_filter_enabled(path.clone(), true)
            .set_column_bloom_filter_fpp(path.clone(), BLOOM_FALSE_RATE)
            .set_column_bloom_filter_ndv(path, distinct_max);
    }
    Ok(builder.build())
}

/// What the footer of a file says, verified. Holds no open file.
#[derive(Debug, Clone)]
pub(crate) struct Footer {
    pub(crate) path: PathBuf,
    pub(crate) byte_count: u64,
    pub(crate) row_count: usize,
    pub(crate) metadata: Arc<ParquetMetaData>,
    covers: Vec<String>,
}

impl Footer {
    /// Opens the file and verifies what stands after its data: that it was written by us, for `table`, in a version that
    /// is known, with columns of the right types. Cost: about 0.2 ms.
    pub(crate) fn open(path: &Path, table: Table) -> Result<Self, HistoryError> {
        Ok(open(path, table)?.0)
    }

    /// Names of the files inside a compacted one.
    pub(super) fn covers(&self) -> &[String] {
        &self.covers
    }

    /// The file with its data, every byte of which is verified when it is read.
    pub(crate) fn reopen(&self) -> Result<SealedFile, HistoryError> {
        let file = SealedFile::open(&self.path).map_err(|error| HistoryError::sealed(&self.path, error))?;
        let blocks = entry(&self.metadata, BLOCKS_KEY);
        file.install_blocks(blocks).map_err(|error| HistoryError::sealed(&self.path, error))?;
        Ok(file)
    }
}

fn open(path: &Path, table: Table) -> Result<(Footer, SealedFile, ArrowReaderMetadata), HistoryError> {
    let sealed = |error| HistoryError::sealed(path, error);
    let foreign = |detail: String| HistoryError::Foreign { path: path.to_owned(), detail };
    let file = SealedFile::open(path).map_err(sealed)?;
    let loaded = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())
        .map_err(|error| HistoryError::Damaged { path: path.to_owned(), detail: error.to_string() })?;
    let metadata = loaded.metadata().clone();
    file.install_blocks(entry(&metadata, BLOCKS_KEY)).map_err(sealed)?;
    file.check_name(entry(&metadata, NAME_KEY)).map_err(sealed)?;
    let version = entry(&metadata, VERSION_KEY).ok_or_else(|| foreign("it has no schema version".into()))?;
    match version.parse::<u64>() {
        Ok(number) if number <= u64::from(SCHEMA_VERSION) => {}
        Ok(_) => {
            let found = version.chars().take(20).collect();
            return Err(HistoryError::Newer { path: path.to_owned(), found, known: SCHEMA_VERSION });
        }
        Err(_) => return Err(foreign("its schema version is not a number".into())),
    }
    let written_for = entry(&metadata, TABLE_KEY).unwrap_or_default();
    if written_for != table.name() {
        return Err(foreign(format!("it holds the table `{written_for}`, not `{}`", table.name())));
    }
    check_columns(loaded.schema(), &table.schema()).map_err(foreign)?;
    let covers = match entry(&metadata, COVERS_KEY) {
        Some(text) => serde_json::from_str(text)
            .map_err(|_| foreign(format!("its key {COVERS_KEY} is not a list of names")))?,
        None => Vec::new(),
    };
    let row_count = usize::try_from(metadata.file_metadata().num_rows()).unwrap_or(0);
    let byte_count = parquet::file::reader::Length::len(&file);
    Ok((Footer { path: path.to_owned(), byte_count, row_count, metadata, covers }, file, loaded))
}

/// Compares every byte of a file with what was written, and its columns and name with what they should be.
pub(super) fn verify(path: &Path, table: Table) -> Result<(), HistoryError> {
    let (_, file, _) = open(path, table)?;
    file.verify().map_err(|error| match file.broken() {
        Some(error) => HistoryError::sealed(path, error),
        None => HistoryError::Damaged { path: path.to_owned(), detail: error.to_string() },
    })
}

fn check_columns(found: &Schema, known: &Schema) -> Result<(), String> {
    for field in known.fields() {
        match found.column_with_name(field.name()) {
            Some((_, column)) if column.data_type() == field.data_type() => {}
            Some((_, column)) => {
                let (name, is, should_be) = (field.name(), column.data_type(), field.data_type());
                return Err(format!("its column `{name}` has the type {is}, not {should_be}"));
            }
            None if field.is_nullable() => {}
            None => return Err(format!("it has no column `{}`", field.name())),
        }
    }
    Ok(())
}

fn entry<'a>(metadata: &'a ParquetMetaData, key: &str) -> Option<&'a str> {
    let entries = metadata.file_metadata().key_value_metadata()?;
    entries.iter().find(|entry| entry.key == key)?.value.as_deref()
}

/// All rows of a file in the table's schema, or only `columns` of it; columns that an older file lacks are null.
pub(super) fn read(path: &Path, table: Table, columns: Option<&[&str]>) -> Result<RecordBatch, HistoryError> {
    let (_, file, loaded) = open(path, table)?;
    let schema = match columns {
        Some(names) => {
            let all = table.schema();
            let fields =
                names.iter().filter_map(|name| all.column_with_name(name)).map(|(_, field)| field.clone());
            Arc::new(Schema::new(fields.collect::<Vec<_>>()))
        }
        None => table.schema(),
    };
    let broken = |error: ParquetError| match file.broken() {
        Some(error) => HistoryError::sealed(path, error),
        None => HistoryError::Damaged { path: path.to_owned(), detail: error.to_string() },
    };
    let names = schema.fields().iter().map(|field| field.name().as_str());
    let roots: Vec<usize> = names.filter_map(|name| loaded.schema().index_of(name).ok()).collect();
    let mask = ProjectionMask::roots(loaded.parquet_schema(), roots);
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file.clone(), loaded.clone());
    let reader = builder.with_projection(mask).build().map_err(broken)?;
    let mut batches = Vec::new();
    for batch in reader {
        let batch = batch.map_err(|error| broken(ParquetError::General(error.to_string())))?;
        batches.push(align(path, &batch, &schema)?);
    }
    concat_batches(&schema, &batches).map_err(|error| HistoryError::arrow(path, error))
}

fn align(path: &Path, batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, HistoryError> {
    let columns: Vec<ArrayRef> = schema
        .fields()
        .iter()
        .map(|field| match batch.column_by_name(field.name()) {
            Some(column) => column.clone(),
            None => new_null_array(field.data_type(), batch.num_rows()),
        })
        .collect();
    RecordBatch::try_new(schema.clone(), columns)
        .map_err(|error| HistoryError::Foreign { path: path.to_owned(), detail: error.to_string() })
}
