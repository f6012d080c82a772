//! What the tests of sources and sinks share.

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use promptc_store::sinks::{SinkError, SinkReport, SinkSpec, open_sink};
use promptc_store::sources::{BadRow, BadRows, SourceError, SourceSpec, read, resolve};
use std::path::Path;
use std::sync::Arc;

/// A source of `kind` below `base` with the defaults of the language.
pub(crate) fn source(kind: &str, base: &Path, path: &str, columns: Vec<Field>) -> SourceSpec {
    SourceSpec {
        kind: kind.into(),
        base: base.to_path_buf(),
        path: path.into(),
        part: None,
        delimiter: ',',
        header: true,
        columns: Arc::new(Schema::new(columns)),
        key: Vec::new(),
        bad_rows: BadRows::Error,
        max_bytes: 16 << 20,
        max_bad: 0.05,
        limit: None,
    }
}

/// Everything that a source gives: one batch and all rows set aside.
pub(crate) fn read_all(
    spec: &SourceSpec,
    batch_rows: usize,
) -> Result<(RecordBatch, Vec<BadRow>), SourceError> {
    let files = resolve(spec, None)?;
    let mut batches = Vec::new();
    let mut quarantined = Vec::new();
    for batch in read(spec, &files, batch_rows) {
        let batch = batch?;
        assert!(batch.batch.num_rows() <= batch_rows);
        batches.push(batch.batch);
        quarantined.extend(batch.quarantined);
    }
    Ok((arrow::compute::concat_batches(&spec.columns, &batches).unwrap(), quarantined))
}

pub(crate) fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8, false)
}

pub(crate) fn int(name: &str) -> Field {
    Field::new(name, DataType::Int64, false)
}

/// The texts of a column.
pub(crate) fn texts(batch: &RecordBatch, column: &str) -> Vec<String> {
    use arrow::array::AsArray;
    let column = batch.column_by_name(column).unwrap();
    column.as_string::<i32>().iter().map(|text| text.unwrap_or("null").to_owned()).collect()
}

/// A sink of `kind` below `base` that replaces what is there.
pub(crate) fn sink(kind: &str, base: &Path, path: &str) -> SinkSpec {
    SinkSpec {
        kind: kind.into(),
        base: base.to_path_buf(),
        path: path.into(),
        key: Vec::new(),
        partition: Vec::new(),
        overwrite: true,
        name: None,
        body: None,
    }
}

/// Writes all batches and finishes.
pub(crate) fn write_all(
    spec: &SinkSpec,
    schema: &SchemaRef,
    batches: &[RecordBatch],
) -> Result<SinkReport, SinkError> {
    let mut sink = open_sink(spec, schema)?;
    for batch in batches {
        sink.write(batch)?;
    }
    sink.finish()
}

/// Names in a folder, hidden ones included, sorted.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Writes one batch and finishes.
pub(crate) fn write_one(spec: &SinkSpec, batch: &RecordBatch) -> Result<SinkReport, SinkError> {
    write_all(spec, &batch.schema(), std::slice::from_ref(batch))
}
