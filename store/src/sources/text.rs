//! Whole files as rows: `text`, and the part of `markdown` that is the same.

use super::columns::{positions, project};
use super::datum::Datum;
use super::lines::BYTE_ORDER_MARK;
use super::markdown::{front_matter, title};
use super::{BadRow, Fault, FileEntry, Row, RowReader, SourceError, SourceSpec};
use crate::schema::HEAD_BYTES_MAX;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// Positions among the columns of `markdown`.
const TITLE: usize = 4;
const FRONT_MATTER: usize = 5;

/// The one row of one file.
pub(super) struct WholeFile {
    file: Option<FileEntry>,
    positions: Vec<usize>,
    is_markdown: bool,
    bytes_max: u64,
}

impl WholeFile {
    pub(super) fn open(spec: &SourceSpec, file: &FileEntry) -> Self {
        Self {
            file: Some(file.clone()),
            positions: positions(spec),
            is_markdown: spec.kind == "markdown",
            bytes_max: spec.max_bytes,
        }
    }

    fn row(&self, file: &FileEntry) -> Result<Row, Fault> {
        let mut bytes = Vec::new();
        let is_long = {
            let mut reader = file.open()?.take(self.bytes_max.saturating_add(1));
            reader.read_to_end(&mut bytes).map_err(|source| SourceError::reading(&file.path, source))?;
            bytes.len() as u64 > self.bytes_max
        };
        let bad = |message: String, bytes: &[u8]| {
            let head = &bytes[..bytes.len().min(HEAD_BYTES_MAX)];
            Fault::Row(BadRow::new(&file.path, None, 0, message, head))
        };
        if is_long {
            let message = format!("the file has more than {} bytes (`max_bytes`)", self.bytes_max);
            return Err(bad(message, &bytes));
        }
        let mark_bytes = if bytes.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        bytes.drain(..mark_bytes);
        let text = String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            Fault::Row(not_utf8_row(&file.path, error.as_bytes(), at, mark_bytes))
        })?;
        let mut values = vec![
            Datum::Text(file.name.clone()),
            Datum::Null,
            Datum::Int(i128::from(file.bytes)),
            Datum::Int(i128::from(file.modified_us())),
        ];
        if self.is_markdown {
            // Not looked for where the program does not ask.
            let is_wanted = |position| self.positions.contains(&position);
            values.push(Datum::optional_text(if is_wanted(TITLE) { title(&text) } else { None }));
            let pairs = if is_wanted(FRONT_MATTER) { front_matter(&text) } else { BTreeMap::new() };
            let pairs = pairs.into_iter().map(|(key, value)| (Datum::Text(key), Datum::Text(value)));
            values.push(Datum::Map(pairs.collect()));
        }
        let bytes = text.len();
        values[1] = Datum::Text(text);
        Ok(Row { values: project(values, &self.positions), line: 1, bytes })
    }
}

/// The bad row of a file whose byte `at`, from 0 and after a mark of `mark_bytes`, is not UTF-8.
fn not_utf8_row(path: &Path, bytes: &[u8], at: usize, mark_bytes: usize) -> BadRow {
    let before = String::from_utf8_lossy(&bytes[..at]);
    let line = before.matches('\n').count() as u64 + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let offset = at + mark_bytes;
    let message = format!("column {column}: byte {} of the file is not UTF-8", offset + 1);
    BadRow::new(path, Some(line), offset as u64, message, &bytes[..bytes.len().min(HEAD_BYTES_MAX)])
}

impl RowReader for WholeFile {
    fn next_row(&mut self) -> Option<Result<Row, Fault>> {
        let file = self.file.take()?;
        Some(self.row(&file))
    }
}
