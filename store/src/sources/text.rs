//! Whole files as rows: `text`, and the part of `markdown` that is the same.

use super::columns::{positions, project};
use super::datum::Datum;
use super::lines::{BYTE_ORDER_MARK, not_utf8};
use super::markdown::{front_matter, title};
use super::{BadRow, Fault, FileEntry, Row, RowReader, SourceError, SourceSpec};
use crate::schema::HEAD_BYTES_MAX;
use std::collections::BTreeMap;
use std::io::Read;

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
        if bytes.starts_with(BYTE_ORDER_MARK) {
            bytes.drain(..BYTE_ORDER_MARK.len());
        }
        let text =
            String::from_utf8(bytes).map_err(|error| bad(not_utf8(error.utf8_error()), error.as_bytes()))?;
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

impl RowReader for WholeFile {
    fn next_row(&mut self) -> Option<Result<Row, Fault>> {
        let file = self.file.take()?;
        Some(self.row(&file))
    }
}
