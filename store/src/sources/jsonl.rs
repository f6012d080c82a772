//! JSON lines: one object per line, blank lines skipped.

use super::convert;
use super::datum::Datum;
use super::lines::{Lines, not_utf8, too_long};
use super::{BadRow, Fault, FileEntry, Row, RowReader, SourceError, SourceSpec};
use arrow::datatypes::SchemaRef;
use serde_json::Value;
use std::path::PathBuf;

pub(super) struct JsonLines {
    path: PathBuf,
    lines: Lines,
    columns: SchemaRef,
    bytes_max: u64,
}

impl JsonLines {
    pub(super) fn open(spec: &SourceSpec, file: &FileEntry) -> Result<Self, SourceError> {
        let lines = Lines::new(file.open()?, spec.max_bytes);
        Ok(Self { path: file.path.clone(), lines, columns: spec.columns.clone(), bytes_max: spec.max_bytes })
    }
}

impl RowReader for JsonLines {
    fn next_row(&mut self) -> Option<Result<Row, Fault>> {
        let line = loop {
            match self.lines.next_line() {
                Err(source) => return Some(Err(SourceError::reading(&self.path, source).into())),
                Ok(None) => return None,
                Ok(Some(line)) if !line.is_long && self.lines.text.trim_ascii().is_empty() => {}
                Ok(Some(line)) => break line,
            }
        };
        let text = &self.lines.text;
        let values = if line.is_long {
            Err(too_long(line.bytes, self.bytes_max))
        } else {
            parse(text).and_then(|value| object(value, &self.columns))
        };
        Some(match values {
            Ok(values) => Ok(Row { values, line: line.number, bytes: text.len() }),
            Err(message) => {
                Err(Fault::Row(BadRow::new(&self.path, Some(line.number), line.offset, message, text)))
            }
        })
    }
}

fn parse(text: &[u8]) -> Result<Value, String> {
    let text = std::str::from_utf8(text).map_err(not_utf8)?;
    serde_json::from_str(text).map_err(|error| syntax(&error))
}

/// The parser's message without its own place, and the column.
pub(super) fn syntax(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let what = message.split(" at line ").next().unwrap_or(&message);
    format!("malformed JSON in column {}: {what}", error.column())
}

/// The declared columns of an object.
pub(super) fn object(value: Value, columns: &SchemaRef) -> Result<Vec<Datum>, String> {
    match value {
        Value::Object(object) => convert::record(object, columns.fields().iter().map(AsRef::as_ref)),
        other => Err(format!("expected an object, found {}", kind(&other))),
    }
}

pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
