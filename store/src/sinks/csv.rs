//! CSV after RFC 4180 with a header; records end in LF.
//!
//! Null is an empty cell, an empty text a quoted empty cell, so that reading gives back what was written. Lists, vectors,
//! records and maps are refused.

use super::values::{self, NotFinite};
use super::{Sink, SinkError, SinkReport, SinkSpec, target_file};
use crate::failpoint::{Site, reach};
use crate::medium::{AsideFile, MediumError};
use arrow::array::Array;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use std::io::Write;

pub(super) struct Csv {
    file: AsideFile,
    path: String,
    rows: u64,
    bytes: u64,
}

impl Csv {
    pub(super) fn open(spec: &SinkSpec, schema: &SchemaRef) -> Result<Self, SinkError> {
        values::check(schema, "csv", &spec.path, false)?;
        let target = target_file(spec)?;
        reach(Site::CsvBeforeCreate).map_err(|source| MediumError::new("create", &target, source))?;
        let file = AsideFile::create(&target)?;
        let mut csv = Self { file, path: spec.path.clone(), rows: 0, bytes: 0 };
        let mut line = Vec::new();
        for (idx, field) in schema.fields().iter().enumerate() {
            separate(&mut line, idx);
            write_quoted(&mut line, field.name().as_bytes());
        }
        csv.put(&mut line)?;
        Ok(csv)
    }

    fn put(&mut self, line: &mut Vec<u8>) -> Result<(), SinkError> {
        line.push(b'\n');
        self.file.write_all(line).map_err(|source| self.file.failed(source))?;
        self.bytes += line.len() as u64;
        line.clear();
        Ok(())
    }
}

fn separate(line: &mut Vec<u8>, idx: usize) {
    if idx > 0 {
        line.push(b',');
    }
}

/// Appends a cell that is not null.
fn write_quoted(line: &mut Vec<u8>, cell: &[u8]) {
    let needs_quotes = cell.is_empty() || cell.iter().any(|byte| matches!(byte, b'"' | b',' | b'\n' | b'\r'));
    if !needs_quotes {
        line.extend_from_slice(cell);
        return;
    }
    line.push(b'"');
    for byte in cell {
        if *byte == b'"' {
            line.push(b'"');
        }
        line.push(*byte);
    }
    line.push(b'"');
}

impl Sink for Csv {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), SinkError> {
        reach(Site::CsvBeforeWrite).map_err(|source| self.file.failed(source))?;
        let schema = batch.schema();
        let (mut line, mut cell) = (Vec::new(), Vec::new());
        for row in 0..batch.num_rows() {
            for (idx, (field, column)) in schema.fields().iter().zip(batch.columns()).enumerate() {
                separate(&mut line, idx);
                if column.is_null(row) {
                    continue;
                }
                cell.clear();
                values::write_cell(&mut cell, column.as_ref(), row).map_err(|NotFinite(value)| {
                    let (path, column) = (self.path.clone(), field.name().clone());
                    SinkError::NotFinite { path, row: self.rows + 1, column, value }
                })?;
                write_quoted(&mut line, &cell);
            }
            self.put(&mut line)?;
            self.rows += 1;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<SinkReport, SinkError> {
        let path = self.file.target().to_path_buf();
        reach(Site::CsvBeforePublish).map_err(|source| self.file.failed(source))?;
        let changed = self.file.publish()?;
        Ok(SinkReport { path, rows: self.rows, bytes: self.bytes, changed })
    }
}
