//! Parquet: one file, or a folder with one file per value of the partition columns.
//!
//! zstd, row groups of 50,000 rows. Partitions are folders `column=value` as other engines read them; their columns are
//! not repeated inside the files. The bytes depend on the rows and on the library's version alone.

use super::tree::Tree;
use super::values::{self, NotFinite};
use super::{Sink, SinkError, SinkReport, SinkSpec, target_file};
use crate::failpoint::{Site, reach};
use crate::medium::disk::File;
use crate::medium::{AsideFile, MediumError};
use crate::paths;
use arrow::array::{Array, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Rows of one row group.
const GROUP_ROWS: usize = 50_000;
/// Partitions that are open at once; each holds a row group in memory.
const PARTITIONS_MAX: usize = 256;
/// Folder of rows whose partition column is null, as Hive names it.
const NULL_PARTITION: &str = "__HIVE_DEFAULT_PARTITION__";

fn properties() -> WriterProperties {
    let level = ZstdLevel::try_new(3).expect("invariant: 3 is a level of zstd");
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_created_by("promptc".into())
        .build()
}

fn failed(path: &Path, error: ParquetError) -> SinkError {
    match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(source) => SinkError::Medium(MediumError::new("write", path, *source)),
            Err(other) => SinkError::Library { path: path.to_path_buf(), detail: other.to_string() },
        },
        other => SinkError::Library { path: path.to_path_buf(), detail: other.to_string() },
    }
}

/// One Parquet file.
pub(super) struct OneFile {
    writer: ArrowWriter<AsideFile>,
    target: PathBuf,
    rows: u64,
}

impl OneFile {
    pub(super) fn open(spec: &SinkSpec, schema: &SchemaRef) -> Result<Self, SinkError> {
        let target = target_file(spec)?;
        reach(Site::ParquetBeforeCreate).map_err(|source| MediumError::new("create", &target, source))?;
        let file = AsideFile::create(&target)?;
        let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties()))
            .map_err(|error| failed(&target, error))?;
        Ok(Self { writer, target, rows: 0 })
    }
}

impl Sink for OneFile {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), SinkError> {
        reach(Site::ParquetBeforeWrite).map_err(|source| MediumError::new("write", &self.target, source))?;
        self.writer.write(batch).map_err(|error| failed(&self.target, error))?;
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<SinkReport, SinkError> {
        let Self { writer, target, rows } = *self;
        let file = writer.into_inner().map_err(|error| failed(&target, error))?;
        reach(Site::ParquetBeforePublish).map_err(|source| MediumError::new("write", &target, source))?;
        let changed = file.publish()?;
        let bytes =
            std::fs::metadata(&target).map_err(|source| MediumError::new("look at", &target, source))?.len();
        Ok(SinkReport { path: target, rows, bytes, changed })
    }
}

/// A folder of Parquet files.
pub(super) struct Partitions {
    tree: Tree,
    path: String,
    /// Positions of the partition columns, in the order given, and of all others.
    by: Vec<usize>,
    kept: Vec<usize>,
    schema: SchemaRef,
    /// Name of each partition's file, its writer, and where that writes.
    open: BTreeMap<String, (ArrowWriter<File>, PathBuf)>,
    rows: u64,
}

impl Partitions {
    pub(super) fn open(spec: &SinkSpec, schema: &SchemaRef) -> Result<Self, SinkError> {
        let fail = |column: &str, detail: &str| SinkError::Column {
            kind: "parquet",
            path: spec.path.clone(),
            column: column.to_owned(),
            detail: detail.to_owned(),
        };
        let mut by = Vec::new();
        for column in &spec.partition {
            let (position, field) =
                schema.column_with_name(column).ok_or_else(|| fail(column, "the stream does not have it"))?;
            if field.data_type().is_nested() || field.data_type().is_floating() {
                return Err(fail(column, "rows are not partitioned by its type"));
            }
            by.push(position);
        }
        let kept: Vec<usize> = (0..schema.fields().len()).filter(|position| !by.contains(position)).collect();
        let inner = schema.project(&kept).map_err(|error| SinkError::Library {
            path: spec.base.join(&spec.path),
            detail: error.to_string(),
        })?;
        let folder = paths::output_folder(&spec.base, &spec.path)?;
        if !spec.overwrite && folder.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(SinkError::Exists { path: folder });
        }
        let tree = Tree::open(folder, &spec.path)?;
        Ok(Self {
            tree,
            path: spec.path.clone(),
            by,
            kept,
            schema: Arc::new(inner),
            open: BTreeMap::new(),
            rows: 0,
        })
    }

    /// The name of the file that a row goes to.
    fn name(&self, batch: &RecordBatch, row: usize) -> Result<String, SinkError> {
        let mut name = String::new();
        for position in &self.by {
            let column = batch.column(*position);
            let field = batch.schema().field(*position).name().clone();
            let value = if column.is_null(row) || *column.data_type() == DataType::Null {
                NULL_PARTITION.to_owned()
            } else {
                let mut cell = Vec::new();
                values::write_cell(&mut cell, column.as_ref(), row).map_err(|NotFinite(value)| {
                    SinkError::NotFinite {
                        path: self.path.clone(),
                        row: self.rows + 1,
                        column: field.clone(),
                        value,
                    }
                })?;
                escape(&cell)
            };
            name.push_str(&format!("{}={value}/", escape(field.as_bytes())));
        }
        name.push_str("part-0.parquet");
        Ok(name)
    }
}

/// Bytes that have a meaning in a path or for other readers, as `%XX`.
fn escape(text: &[u8]) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in String::from_utf8_lossy(text).chars() {
        if character.is_control() || "/\\:*?\"<>|=%#{}[]'".contains(character) {
            escaped.push_str(&format!("%{:02X}", u32::from(character)));
        } else {
            escaped.push(character);
        }
    }
    // A name that is only dots is a step elsewhere.
    if escaped.chars().all(|character| character == '.') { escaped.replace('.', "%2E") } else { escaped }
}

impl Sink for Partitions {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), SinkError> {
        let mut rows_by_name = BTreeMap::<String, Vec<u32>>::new();
        for row in 0..batch.num_rows() {
            rows_by_name.entry(self.name(batch, row)?).or_default().push(row as u32);
            self.rows += 1;
        }
        for (name, rows) in rows_by_name {
            let target = PathBuf::from(&name);
            if !self.open.contains_key(&name) {
                if self.open.len() >= PARTITIONS_MAX {
                    return Err(SinkError::Partitions { path: self.path.clone(), limit: PARTITIONS_MAX });
                }
                let checked = self.tree.check_name(&name, self.rows)?;
                let staged = self.tree.stage();
                let file = reach(Site::PartitionBeforeCreate)
                    .and_then(|()| File::create_new(&staged))
                    .map_err(|source| MediumError::new("create", &staged, source))?;
                let writer = ArrowWriter::try_new(file, self.schema.clone(), Some(properties()))
                    .map_err(|error| failed(&target, error))?;
                self.open.insert(checked, (writer, staged));
            }
            reach(Site::PartitionBeforeWrite).map_err(|source| MediumError::new("write", &target, source))?;
            let (writer, _) = self.open.get_mut(&name).expect("invariant: the partition was opened above");
            let fail = |error: arrow::error::ArrowError| SinkError::Library {
                path: target.clone(),
                detail: error.to_string(),
            };
            let chosen = take_record_batch(batch, &UInt32Array::from(rows)).map_err(fail)?;
            let chosen = chosen.project(&self.kept).map_err(fail)?;
            writer.write(&chosen).map_err(|error| failed(&target, error))?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<SinkReport, SinkError> {
        let Self { mut tree, open, rows, .. } = *self;
        for (name, (writer, staged)) in open {
            reach(Site::PartitionBeforeClose).map_err(|source| MediumError::new("write", &staged, source))?;
            writer.close().map_err(|error| failed(Path::new(&name), error))?;
            tree.add_staged(name, staged)?;
        }
        tree.finish(rows)
    }
}
