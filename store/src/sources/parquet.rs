//! Parquet files: the declared columns, batch by batch.
//!
//! The library asserts some of what a sound footer holds; a file damaged there makes it panic. Calls into it are therefore
//! fenced, and a panic is a damaged file like any other.

use super::adapt;
use super::{BATCH_BYTES, FileEntry, SourceError, SourceSpec};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

pub(super) struct Parquet {
    path: PathBuf,
    reader: ParquetRecordBatchReader,
}

impl Parquet {
    pub(super) fn open(spec: &SourceSpec, file: &FileEntry, batch_rows: usize) -> Result<Self, SourceError> {
        fence(&file.path, || Self::open_sound(spec, file, batch_rows))?
    }

    fn open_sound(spec: &SourceSpec, file: &FileEntry, batch_rows: usize) -> Result<Self, SourceError> {
        let damaged = |error: parquet::errors::ParquetError| SourceError::Damaged {
            path: file.path.clone(),
            detail: error.to_string(),
        };
        let builder =
            ParquetRecordBatchReaderBuilder::try_new(file.open_raw()?.into_std()).map_err(damaged)?;
        let roots = stored_columns(builder.schema(), &spec.columns, &file.path.display().to_string())?;
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
        let bytes_per_row = builder
            .metadata()
            .row_groups()
            .iter()
            .filter(|group| group.num_rows() > 0)
            .map(|group| (group.total_byte_size().max(0) / group.num_rows()) as usize)
            .max()
            .unwrap_or(1)
            .max(1);
        let rows = (BATCH_BYTES / bytes_per_row).clamp(1, batch_rows.max(1));
        let reader = builder.with_projection(mask).with_batch_size(rows).build().map_err(damaged)?;
        Ok(Self { path: file.path.clone(), reader })
    }

    pub(super) fn next_batch(&mut self) -> Option<Result<RecordBatch, SourceError>> {
        let Self { path, reader } = self;
        let damaged =
            |error: ArrowError| SourceError::Damaged { path: path.clone(), detail: error.to_string() };
        match fence(path, || reader.next()) {
            Ok(batch) => batch.map(|batch| batch.map_err(damaged)),
            Err(error) => Some(Err(error)),
        }
    }
}

/// Turns a panic of the library into an error of the file. The reader is not used after it.
fn fence<T>(path: &Path, call: impl FnOnce() -> T) -> Result<T, SourceError> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| {
        let said = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        let detail = said.unwrap_or_else(|| "its footer contradicts itself".into());
        SourceError::Damaged { path: path.to_path_buf(), detail }
    })
}

/// Positions of the declared columns in a stored schema. Errors: E0303 for a missing column that is not nullable, and for
/// a type that is not accepted.
pub(super) fn stored_columns(
    stored: &Schema,
    declared: &SchemaRef,
    file: &str,
) -> Result<Vec<usize>, SourceError> {
    let fail = |column: &str, detail: String| SourceError::Column {
        pattern: file.into(),
        column: column.into(),
        detail,
    };
    let mut positions = Vec::with_capacity(declared.fields().len());
    for field in declared.fields() {
        match stored.column_with_name(field.name()) {
            Some((position, found)) => {
                adapt::check(found, field).map_err(|detail| fail(field.name(), detail))?;
                positions.push(position);
            }
            None if field.is_nullable() => {}
            None => {
                let names: Vec<&str> =
                    stored.fields().iter().take(20).map(|field| field.name().as_str()).collect();
                return Err(fail(
                    field.name(),
                    format!("the file does not have it; it has {}", names.join(", ")),
                ));
            }
        }
    }
    Ok(positions)
}
