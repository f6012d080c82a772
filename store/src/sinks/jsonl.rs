//! JSON lines: one object per row, members in the order of the columns.

use super::values::{self, NotFinite};
use super::{Sink, SinkError, SinkReport, SinkSpec, target_file};
use crate::failpoint::{Site, reach};
use crate::medium::{AsideFile, MediumError};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use std::io::Write;

pub(super) struct JsonLines {
    file: AsideFile,
    path: String,
    rows: u64,
    bytes: u64,
    line: Vec<u8>,
}

impl JsonLines {
    pub(super) fn open(spec: &SinkSpec, schema: &SchemaRef) -> Result<Self, SinkError> {
        values::check(schema, "jsonl", &spec.path, true)?;
        let target = target_file(spec)?;
        reach(Site::JsonlBeforeCreate).map_err(|source| MediumError::new("create", &target, source))?;
        let file = AsideFile::create(&target)?;
        Ok(Self { file, path: spec.path.clone(), rows: 0, bytes: 0, line: Vec::new() })
    }
}

impl Sink for JsonLines {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), SinkError> {
        reach(Site::JsonlBeforeWrite).map_err(|source| self.file.failed(source))?;
        let schema = batch.schema();
        for row in 0..batch.num_rows() {
            self.line.clear();
            self.line.push(b'{');
            for (idx, (field, column)) in schema.fields().iter().zip(batch.columns()).enumerate() {
                if idx > 0 {
                    self.line.push(b',');
                }
                values::write_text(&mut self.line, field.name().as_bytes());
                self.line.push(b':');
                values::write_json(&mut self.line, column.as_ref(), row).map_err(|NotFinite(value)| {
                    SinkError::NotFinite {
                        path: self.path.clone(),
                        row: self.rows + 1,
                        column: field.name().clone(),
                        value,
                    }
                })?;
            }
            self.line.extend_from_slice(b"}\n");
            self.file.write_all(&self.line).map_err(|source| self.file.failed(source))?;
            self.rows += 1;
            self.bytes += self.line.len() as u64;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<SinkReport, SinkError> {
        let path = self.file.target().to_path_buf();
        reach(Site::JsonlBeforePublish).map_err(|source| self.file.failed(source))?;
        let changed = self.file.publish()?;
        Ok(SinkReport { path, rows: self.rows, bytes: self.bytes, changed })
    }
}
