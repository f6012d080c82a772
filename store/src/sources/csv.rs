//! CSV after RFC 4180: quoted cells may hold the delimiter, quotes (doubled) and ends of line.
//!
//! An empty cell without quotes is null where the column allows it, else an empty text; a quoted empty cell is an empty
//! text. Ends of line are LF or CR LF. Blank lines are skipped. A record with another number of cells than the header is
//! a bad row.

use super::convert;
use super::datum::Datum;
use super::lines::{BYTE_ORDER_MARK, too_long};
use super::{BadRow, Fault, FileEntry, Row, RowReader, SourceError, SourceSpec};
use crate::schema::HEAD_BYTES_MAX;
use arrow::datatypes::{DataType, Field, SchemaRef};
use std::io::{self, BufRead};
use std::path::PathBuf;

pub(super) struct Csv {
    path: PathBuf,
    records: Records,
    columns: SchemaRef,
    /// For each declared column its position in a record; `None` for a nullable column that the file does not have.
    positions: Vec<Option<usize>>,
    cell_count: usize,
    bytes_max: u64,
}

impl Csv {
    pub(super) fn open(spec: &SourceSpec, file: &FileEntry) -> Result<Self, SourceError> {
        // `check` of the specification has refused delimiters of more than one byte.
        let delimiter = u8::try_from(spec.delimiter).unwrap_or(b',');
        let mut csv = Self {
            path: file.path.clone(),
            records: Records::new(file.open()?, delimiter, spec.max_bytes),
            columns: spec.columns.clone(),
            positions: (0..spec.columns.fields().len()).map(Some).collect(),
            cell_count: spec.columns.fields().len(),
            bytes_max: spec.max_bytes,
        };
        if spec.header {
            csv.read_header()?;
        }
        Ok(csv)
    }

    /// Finds the columns. A missing one is an error of the file in every mode: all of its rows would be bad.
    fn read_header(&mut self) -> Result<(), SourceError> {
        let fail = |column: &str, detail: &str| SourceError::Column {
            pattern: self.path.display().to_string(),
            column: column.into(),
            detail: detail.into(),
        };
        let names = match self.records.next_record() {
            Ok(None) => Vec::new(),
            Ok(Some(Record { fault: Some(fault), .. })) => {
                return Err(SourceError::BadRow(Box::new(BadRow::new(&self.path, Some(1), 0, fault, b""))));
            }
            Ok(Some(_)) => {
                let texts = self.records.cells().map(|(cell, _)| String::from_utf8(cell.to_vec()));
                texts.collect::<Result<Vec<_>, _>>().map_err(|_| fail("?", "the header is not UTF-8"))?
            }
            Err(source) => return Err(SourceError::reading(&self.path, source)),
        };
        // A file without a byte has no rows and so no bad ones.
        let is_empty = names.is_empty();
        let mut positions = Vec::with_capacity(self.positions.len());
        for field in self.columns.fields() {
            let mut found =
                names.iter().enumerate().filter(|(_, name)| *name == field.name()).map(|(idx, _)| idx);
            let position = found.next();
            if found.next().is_some() {
                return Err(fail(field.name(), "the header names it twice"));
            }
            if position.is_none() && !field.is_nullable() && !is_empty {
                let shown = names.iter().take(20).cloned().collect::<Vec<_>>().join(", ");
                return Err(fail(field.name(), &format!("the header does not name it; it names {shown}")));
            }
            positions.push(position);
        }
        self.positions = positions;
        self.cell_count = names.len();
        Ok(())
    }

    fn values(&self) -> Result<Vec<Datum>, String> {
        let cells: Vec<(&[u8], bool)> = self.records.cells().collect();
        if cells.len() != self.cell_count {
            return Err(format!("expected {} cells, found {}", self.cell_count, cells.len()));
        }
        let fields = self.columns.fields().iter().zip(&self.positions);
        fields.map(|(field, position)| self.value(field, position.map(|idx| cells[idx]))).collect()
    }

    fn value(&self, field: &Field, cell: Option<(&[u8], bool)>) -> Result<Datum, String> {
        let Some((cell, is_quoted)) = cell else { return Ok(Datum::Null) };
        if cell.is_empty() && !is_quoted {
            if field.is_nullable() {
                return Ok(Datum::Null);
            }
            if !matches!(field.data_type(), DataType::Utf8 | DataType::LargeUtf8) {
                return Err(format!("column `{}`: the cell is empty", field.name()));
            }
        }
        let text = std::str::from_utf8(cell).map_err(|error| {
            format!("column `{}`: byte {} of the cell is not UTF-8", field.name(), error.valid_up_to() + 1)
        })?;
        convert::from_cell(text.to_owned(), field)
            .map_err(|detail| format!("column `{}`: {detail}", field.name()))
    }
}

impl RowReader for Csv {
    fn next_row(&mut self) -> Option<Result<Row, Fault>> {
        let record = match self.records.next_record() {
            Err(source) => return Some(Err(SourceError::reading(&self.path, source).into())),
            Ok(None) => return None,
            Ok(Some(record)) => record,
        };
        let values = match record.fault {
            Some(fault) => Err(fault),
            None if record.is_long => Err(too_long(record.bytes, self.bytes_max)),
            None => self.values(),
        };
        Some(match values {
            Ok(values) => Ok(Row { values, line: record.line, bytes: record.bytes as usize }),
            Err(message) => {
                let head = &self.records.head;
                Err(Fault::Row(BadRow::new(&self.path, Some(record.line), record.offset, message, head)))
            }
        })
    }
}

/// One record as it stands in the file.
struct Record {
    line: u64,
    offset: u64,
    bytes: u64,
    is_long: bool,
    fault: Option<String>,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    CellStart,
    Plain,
    Quoted,
    /// After a quote inside a quoted cell: it ends the cell or is the first of two.
    QuoteSeen,
}

/// Splits a file into records and cells.
struct Records {
    reader: Box<dyn BufRead + Send>,
    delimiter: u8,
    bytes_max: u64,
    offset: u64,
    line: u64,
    /// Cells of the record read last, one after the other.
    text: Vec<u8>,
    /// End of each cell in `text`, and whether it was quoted.
    ends: Vec<(usize, bool)>,
    /// The record's first bytes as they stand in the file.
    head: Vec<u8>,
}

impl Records {
    fn new(reader: Box<dyn BufRead + Send>, delimiter: u8, bytes_max: u64) -> Self {
        Self {
            reader,
            delimiter,
            bytes_max,
            offset: 0,
            line: 1,
            text: Vec::new(),
            ends: Vec::new(),
            head: Vec::new(),
        }
    }

    fn cells(&self) -> impl Iterator<Item = (&[u8], bool)> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|(end, _)| *end));
        starts.zip(&self.ends).map(|(start, (end, is_quoted))| (&self.text[start..*end], *is_quoted))
    }

    /// Reads the next record that is not a blank line.
    fn next_record(&mut self) -> io::Result<Option<Record>> {
        if self.offset == 0 && self.reader.fill_buf()?.starts_with(BYTE_ORDER_MARK) {
            self.reader.consume(BYTE_ORDER_MARK.len());
            self.offset = BYTE_ORDER_MARK.len() as u64;
        }
        loop {
            let record = self.read_record()?;
            let is_blank = record.as_ref().is_some_and(|record| {
                record.fault.is_none()
                    && !record.is_long
                    && self.ends.len() == 1
                    && self.text.is_empty()
                    && !self.ends[0].1
            });
            if !is_blank {
                return Ok(record);
            }
        }
    }

    fn read_record(&mut self) -> io::Result<Option<Record>> {
        self.text.clear();
        self.ends.clear();
        self.head.clear();
        let (line, offset) = (self.line, self.offset);
        let mut state = State::CellStart;
        let mut is_quoted = false;
        let mut fault = None;
        let is_complete = loop {
            let chunk = self.reader.fill_buf()?;
            if chunk.is_empty() {
                break false;
            }
            let mut taken = 0;
            let mut is_done = false;
            for byte in chunk {
                taken += 1;
                if *byte == b'\n' {
                    self.line += 1;
                }
                match (state, *byte) {
                    (State::Quoted, b'"') => state = State::QuoteSeen,
                    (State::QuoteSeen, b'"') => {
                        self.text.push(b'"');
                        state = State::Quoted;
                    }
                    (State::Quoted, byte) => self.text.push(byte),
                    (_, b'\n') => {
                        is_done = true;
                        break;
                    }
                    (_, byte) if byte == self.delimiter => {
                        self.ends.push((self.text.len(), is_quoted));
                        is_quoted = false;
                        state = State::CellStart;
                    }
                    (State::CellStart, b'"') => {
                        is_quoted = true;
                        state = State::Quoted;
                    }
                    // The CR of an end of line goes with it; elsewhere after a quote it is as wrong as any byte.
                    (State::QuoteSeen, b'\r') => {}
                    (State::QuoteSeen, _) => {
                        let cell = self.ends.len() + 1;
                        fault.get_or_insert_with(|| format!("cell {cell}: text after the closing quote"));
                        state = State::Plain;
                    }
                    (_, byte) => {
                        self.text.push(byte);
                        state = State::Plain;
                    }
                }
            }
            let room = HEAD_BYTES_MAX.saturating_sub(self.head.len()).min(taken);
            self.head.extend_from_slice(&chunk[..room]);
            self.reader.consume(taken);
            self.offset += taken as u64;
            // Of a record over the bound nothing is kept but its head, so that memory stays within it.
            if self.offset - offset > self.bytes_max {
                self.text.clear();
                self.ends.clear();
            }
            if is_done {
                break true;
            }
        };
        let bytes = self.offset - offset;
        if bytes == 0 {
            return Ok(None);
        }
        if !is_complete && state == State::Quoted {
            let cell = self.ends.len() + 1;
            fault = Some(format!("cell {cell}: a quote opens in this record and never closes"));
        }
        if state == State::Plain && !is_quoted && self.text.last() == Some(&b'\r') {
            self.text.pop();
        }
        self.ends.push((self.text.len(), is_quoted));
        Ok(Some(Record { line, offset, bytes, is_long: bytes > self.bytes_max, fault }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(text: &'static str, bytes_max: u64) -> Vec<Result<Vec<String>, String>> {
        let whole = records_of(Box::new(text.as_bytes()), bytes_max);
        // Where the reader stops must not matter.
        for capacity in 1..8 {
            let reader = std::io::BufReader::with_capacity(capacity, text.as_bytes());
            assert_eq!(records_of(Box::new(reader), bytes_max), whole, "capacity {capacity}");
        }
        whole
    }

    fn records_of(reader: Box<dyn BufRead + Send>, bytes_max: u64) -> Vec<Result<Vec<String>, String>> {
        let mut records = Records::new(reader, b',', bytes_max);
        let mut found = Vec::new();
        while let Some(record) = records.next_record().unwrap() {
            found.push(match record {
                Record { fault: Some(fault), .. } => Err(fault),
                Record { is_long: true, .. } => Err("long".into()),
                _ => Ok(records.cells().map(|(cell, _)| String::from_utf8(cell.to_vec()).unwrap()).collect()),
            });
        }
        found
    }

    fn cells(cells: &[&str]) -> Result<Vec<String>, String> {
        Ok(cells.iter().map(|cell| (*cell).to_owned()).collect())
    }

    #[test]
    fn quotes_delimiters_and_ends_of_line() {
        let found = records("a,b\r\n\"x,\"\"y\"\"\n\",\"\"\r\n\n,\nlast,\"q\"", 100);
        let expected =
            [cells(&["a", "b"]), cells(&["x,\"y\"\n", ""]), cells(&["", ""]), cells(&["last", "q"])];
        assert_eq!(found, expected);
    }

    #[test]
    fn broken_quotes_are_faults() {
        assert!(records("\"a\"b,c\n1,2\n", 100)[0].as_ref().unwrap_err().contains("cell 1"));
        assert_eq!(records("\"a\"b,c\n1,2\n", 100)[1], cells(&["1", "2"]));
        assert!(records("a,\"b\nc", 100)[0].as_ref().unwrap_err().contains("never closes"));
    }

    #[test]
    fn long_records_leave_the_next_whole() {
        let found = records("0123456789,0123456789\na,b\n", 10);
        assert_eq!(found, [Err("long".into()), cells(&["a", "b"])]);
    }
}
