//! Arrow schemas of the tables that the store itself makes, and the names of field metadata.

use crate::sources::BadRow;
use arrow::array::{ArrayRef, BinaryArray, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::sync::Arc;

/// Field metadata: the values that an enum column may hold, as a JSON list of texts. Without it any text is accepted.
pub const ENUM_VALUES: &str = "promptc.values";

/// Bytes of a bad row that are kept for whoever repairs the file.
pub const HEAD_BYTES_MAX: usize = 4_096;

/// The table `quarantine`: rows that were set aside while reading.
///
/// | Column | Unit |
/// |---|---|
/// | `source` | name of the source |
/// | `file` | path as opened |
/// | `line` | from 1; null where the format has no lines |
/// | `offset` | bytes from the start of the (decompressed) file |
/// | `code` | code of the diagnostic |
/// | `message` | what is wrong, and where in the row |
/// | `head` | first bytes of the row, at most [`HEAD_BYTES_MAX`] |
pub fn quarantine() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("source", DataType::Utf8, false),
        Field::new("file", DataType::Utf8, false),
        Field::new("line", DataType::UInt64, true),
        Field::new("offset", DataType::UInt64, false),
        Field::new("code", DataType::Utf8, false),
        Field::new("message", DataType::Utf8, false),
        Field::new("head", DataType::Binary, false),
    ]))
}

/// The rows of [`quarantine`] for what the source named `source` set aside.
pub fn quarantine_batch(source: &str, bad_rows: &[BadRow]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(bad_rows.iter().map(|_| source))),
        Arc::new(StringArray::from_iter_values(bad_rows.iter().map(|row| row.file.to_string_lossy()))),
        Arc::new(bad_rows.iter().map(|row| row.line).collect::<UInt64Array>()),
        Arc::new(UInt64Array::from_iter_values(bad_rows.iter().map(|row| row.offset))),
        Arc::new(StringArray::from_iter_values(bad_rows.iter().map(|row| row.code))),
        Arc::new(StringArray::from_iter_values(bad_rows.iter().map(|row| row.message.as_str()))),
        Arc::new(BinaryArray::from_iter_values(bad_rows.iter().map(|row| row.head.as_slice()))),
    ];
    RecordBatch::try_new(quarantine(), columns).expect("invariant: the columns are built to the schema above")
}
