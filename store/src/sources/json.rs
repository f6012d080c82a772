//! JSON files that hold one array of objects, read element by element.
//!
//! [`Elements`] finds where each element ends without parsing it, so that memory holds one element and never the file.

use super::jsonl::object;
use super::lines::{BYTE_ORDER_MARK, not_utf8, too_long};
use super::{BadRow, Fault, FileEntry, Row, RowReader, SourceError, SourceSpec};
use crate::schema::HEAD_BYTES_MAX;
use arrow::datatypes::SchemaRef;
use serde_json::Value;
use std::io::{self, BufRead};
use std::path::PathBuf;

/// Longest name of a member that is compared; longer ones are skipped.
const NAME_BYTES_MAX: usize = 1_024;

pub(super) struct JsonArray {
    path: PathBuf,
    elements: Elements,
    columns: SchemaRef,
    bytes_max: u64,
}

impl JsonArray {
    pub(super) fn open(spec: &SourceSpec, file: &FileEntry) -> Result<Self, SourceError> {
        let elements = Elements::array(file.open()?, spec.max_bytes);
        Ok(Self {
            path: file.path.clone(),
            elements,
            columns: spec.columns.clone(),
            bytes_max: spec.max_bytes,
        })
    }
}

impl RowReader for JsonArray {
    fn next_row(&mut self) -> Option<Result<Row, Fault>> {
        let (element, value) = match self.elements.next_value(&self.path, self.bytes_max)? {
            Ok(found) => found,
            Err(fault) => return Some(Err(fault)),
        };
        Some(match object(value, &self.columns) {
            Ok(values) => Ok(Row { values, line: element.line, bytes: self.elements.text.len() }),
            Err(message) => {
                let text = &self.elements.text;
                Err(Fault::Row(BadRow::new(&self.path, Some(element.line), element.offset, message, text)))
            }
        })
    }
}

/// Where an element starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) line: u64,
    pub(super) offset: u64,
    bytes: u64,
    is_long: bool,
}

#[derive(Debug, PartialEq)]
enum State {
    /// Nothing read yet. With a name: the array is that member of the object in the file.
    Start(Option<&'static str>),
    /// After `[`.
    First,
    /// After an element.
    Next,
    End,
}

/// The elements of one array in a file.
pub(super) struct Elements {
    reader: Box<dyn BufRead + Send>,
    state: State,
    bytes_max: u64,
    offset: u64,
    line: u64,
    /// The element read last; of one over the bound only its head.
    pub(super) text: Vec<u8>,
}

/// What the scanner stumbled over.
enum Stumble {
    Io(io::Error),
    /// The file is not what it should be from here on.
    Syntax(String),
}

impl From<io::Error> for Stumble {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Elements {
    /// The elements of the array that is the whole file.
    pub(super) fn array(reader: Box<dyn BufRead + Send>, bytes_max: u64) -> Self {
        Self { reader, state: State::Start(None), bytes_max, offset: 0, line: 1, text: Vec::new() }
    }

    /// The elements of the array under `name` in the object that is the whole file.
    pub(super) fn member(reader: Box<dyn BufRead + Send>, bytes_max: u64, name: &'static str) -> Self {
        Self { state: State::Start(Some(name)), ..Self::array(reader, bytes_max) }
    }

    /// The next element, parsed. A malformed element is a bad row and the next may be good; a malformed array ends with
    /// one bad row, because nothing after it can be told apart.
    pub(super) fn next_value(
        &mut self,
        path: &std::path::Path,
        bytes_max: u64,
    ) -> Option<Result<(Element, Value), Fault>> {
        let element = match self.next_element() {
            Ok(Some(element)) => element,
            Ok(None) => return None,
            Err(Stumble::Io(source)) => {
                self.state = State::End;
                return Some(Err(SourceError::reading(path, source).into()));
            }
            Err(Stumble::Syntax(message)) => {
                self.state = State::End;
                self.text.clear();
                return Some(Err(Fault::Row(BadRow::new(path, Some(self.line), self.offset, message, b""))));
            }
        };
        let value = if element.is_long {
            Err(too_long(element.bytes, bytes_max))
        } else {
            std::str::from_utf8(&self.text).map_err(not_utf8).and_then(|text| {
                serde_json::from_str(text).map_err(|error| {
                    let message = error.to_string();
                    let what = message.split(" at line ").next().unwrap_or(&message);
                    let line = element.line + error.line() as u64 - 1;
                    format!("malformed JSON in line {line}, column {}: {what}", error.column())
                })
            })
        };
        Some(match value {
            Ok(value) => Ok((element, value)),
            Err(message) => {
                Err(Fault::Row(BadRow::new(path, Some(element.line), element.offset, message, &self.text)))
            }
        })
    }

    fn next_element(&mut self) -> Result<Option<Element>, Stumble> {
        if let State::Start(name) = self.state {
            self.enter(name)?;
            self.state = State::First;
        }
        if self.state == State::End {
            return Ok(None);
        }
        let byte = self.skip_blanks()?;
        match (byte, &self.state) {
            (Some(b']'), _) => {
                self.bump()?;
                self.state = State::End;
                return Ok(None);
            }
            (Some(b','), State::Next) => {
                self.bump()?;
                if self.skip_blanks()? == Some(b']') {
                    return Err(expected("an element", Some(b']')));
                }
            }
            (Some(_), State::First) => {}
            (found, State::Next) => return Err(expected("`,` or `]`", found)),
            (found, _) => return Err(expected("an element or `]`", found)),
        }
        self.state = State::Next;
        let (line, offset) = (self.line, self.offset);
        self.text.clear();
        let bytes = self.scan_value(true)?;
        Ok(Some(Element { line, offset, bytes, is_long: bytes > self.bytes_max }))
    }

    /// Reads up to the `[` of the array.
    fn enter(&mut self, name: Option<&'static str>) -> Result<(), Stumble> {
        if self.reader.fill_buf()?.starts_with(BYTE_ORDER_MARK) {
            self.reader.consume(BYTE_ORDER_MARK.len());
            self.offset += BYTE_ORDER_MARK.len() as u64;
        }
        let found = self.skip_blanks()?;
        let Some(name) = name else { return self.take(found, b'[', "an array of objects") };
        self.take(found, b'{', "an object")?;
        loop {
            match self.skip_blanks()? {
                Some(b'"') => {}
                Some(b'}') => return Err(Stumble::Syntax(format!("there is no member `{name}`"))),
                found => return Err(expected("a member's name", found)),
            }
            self.text.clear();
            self.scan_value(true)?;
            let is_it = serde_json::from_slice::<String>(&self.text).is_ok_and(|found| found == name);
            let found = self.skip_blanks()?;
            self.take(found, b':', "`:`")?;
            let found = self.skip_blanks()?;
            if is_it {
                return self.take(found, b'[', "an array");
            }
            self.scan_value(false)?;
            if self.skip_blanks()? == Some(b',') {
                self.bump()?;
            }
        }
    }

    fn take(&mut self, found: Option<u8>, wanted: u8, what: &str) -> Result<(), Stumble> {
        if found == Some(wanted) { Ok(self.bump()?) } else { Err(expected(what, found)) }
    }

    /// The next byte that is not blank, not taken.
    fn skip_blanks(&mut self) -> Result<Option<u8>, io::Error> {
        loop {
            let Some(byte) = self.reader.fill_buf()?.first().copied() else { return Ok(None) };
            if !byte.is_ascii_whitespace() {
                return Ok(Some(byte));
            }
            self.bump()?;
        }
    }

    /// Takes one byte, which the caller has seen.
    fn bump(&mut self) -> io::Result<()> {
        if self.reader.fill_buf()?.first() == Some(&b'\n') {
            self.line += 1;
        }
        self.reader.consume(1);
        self.offset += 1;
        Ok(())
    }

    /// Reads one value of any kind and returns its length. With `keep`, its bytes go to `text`, of a value over the bound
    /// only the head.
    fn scan_value(&mut self, keep: bool) -> Result<u64, Stumble> {
        let keep_max =
            if keep { usize::try_from(self.bytes_max).unwrap_or(usize::MAX).max(NAME_BYTES_MAX) } else { 0 };
        let mut scan = Scan::default();
        let mut bytes = 0u64;
        loop {
            let chunk = self.reader.fill_buf()?;
            if chunk.is_empty() {
                return if scan.is_scalar() && bytes > 0 {
                    Ok(bytes)
                } else {
                    Err(expected("the end of a value", None))
                };
            }
            let (count, is_done) = scan.feed(chunk);
            // What passed the bound is not kept, also not where its head left room again.
            let room =
                if bytes > self.bytes_max { 0 } else { keep_max.saturating_sub(self.text.len()).min(count) };
            self.text.extend_from_slice(&chunk[..room]);
            self.line += chunk[..count].iter().filter(|byte| **byte == b'\n').count() as u64;
            self.reader.consume(count);
            self.offset += count as u64;
            bytes += count as u64;
            if bytes > self.bytes_max && self.text.len() > HEAD_BYTES_MAX {
                self.text.truncate(HEAD_BYTES_MAX);
                self.text.shrink_to_fit();
            }
            if is_done {
                return if bytes == 0 {
                    Err(Stumble::Syntax("a value is missing".into()))
                } else {
                    Ok(bytes)
                };
            }
        }
    }
}

/// Finds the end of one value: brackets and quotes only.
#[derive(Default)]
struct Scan {
    depth: u64,
    is_text: bool,
    is_escaped: bool,
    has_started: bool,
}

impl Scan {
    /// Bytes of `chunk` that belong to the value, and whether it ends there.
    fn feed(&mut self, chunk: &[u8]) -> (usize, bool) {
        for (idx, byte) in chunk.iter().enumerate() {
            if self.is_text {
                match byte {
                    _ if self.is_escaped => self.is_escaped = false,
                    b'\\' => self.is_escaped = true,
                    b'"' => {
                        self.is_text = false;
                        if self.depth == 0 {
                            return (idx + 1, true);
                        }
                    }
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.is_text = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' | b',' if self.depth == 0 => return (idx, true),
                b'}' | b']' => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return (idx + 1, true);
                    }
                }
                byte if self.depth == 0 && self.has_started && byte.is_ascii_whitespace() => {
                    return (idx, true);
                }
                _ => {}
            }
            self.has_started = true;
        }
        (chunk.len(), false)
    }

    /// Whether the value so far may end at the end of the file.
    fn is_scalar(&self) -> bool {
        self.depth == 0 && !self.is_text
    }
}

fn expected(what: &str, found: Option<u8>) -> Stumble {
    let found = match found {
        Some(byte) if byte.is_ascii_graphic() => format!("`{}`", char::from(byte)),
        Some(byte) => format!("the byte {byte:#04x}"),
        None => "the end of the file".into(),
    };
    Stumble::Syntax(format!("malformed JSON: expected {what}, found {found}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn values(mut elements: Elements, bytes_max: u64) -> Vec<Result<String, String>> {
        let mut found = Vec::new();
        while let Some(value) = elements.next_value(Path::new("f"), bytes_max) {
            found.push(match value {
                Ok((element, value)) => Ok(format!("{}:{} {value}", element.line, element.offset)),
                Err(Fault::Row(row)) => Err(row.to_string()),
                Err(Fault::Source(error)) => panic!("{error}"),
            });
        }
        found
    }

    fn array(text: &'static str, bytes_max: u64) -> Vec<Result<String, String>> {
        values(Elements::array(Box::new(text.as_bytes()), bytes_max), bytes_max)
    }

    #[test]
    fn elements_are_found_with_their_places() {
        let found = array("\u{feff} [ {\"a\": \"]},[\\\"\"},\n 1 , [2,{}],\n\"x\"]", 100);
        let texts: Vec<_> = found.into_iter().map(Result::unwrap).collect();
        assert_eq!(texts, ["1:6 {\"a\":\"]},[\\\"\"}", "2:24 1", "2:28 [2,{}]", "3:36 \"x\""]);
        assert!(array("[]", 100).is_empty());
        assert!(array(" [ \n ] ", 100).is_empty());
    }

    #[test]
    fn malformed_arrays_end_with_one_bad_row() {
        for text in ["", "{}", "x", "[1 2]", "[1,]", "[,1]", "[1", "[{\"a\": 1}", "[\"a", "[1,,2]"] {
            let found = array(text, 100);
            assert!(found.last().unwrap().is_err(), "{text:?}: {found:?}");
            assert_eq!(found.iter().filter(|value| value.is_err()).count(), 1, "{text:?}: {found:?}");
        }
    }

    #[test]
    fn malformed_and_long_elements_leave_the_next_whole() {
        let found = array("[{\"a\": nope}, {\"b\": 1},\n {\"c\": \"0123456789\"}, 4]", 12);
        assert!(found[0].as_ref().unwrap_err().contains("malformed JSON in line 1, column"), "{found:?}");
        assert!(found[1].is_ok());
        assert!(found[2].as_ref().unwrap_err().contains("f:2: the row has 19 bytes"), "{found:?}");
        assert!(found[3].is_ok());
    }

    #[test]
    fn places_where_the_reader_stops_do_not_matter() {
        let text =
            "[{\"a\": \"x\\\"]\"}, [1, [2]], \"\u{65e5}\", 12, nope, {\"long\": \"0123456789012345\"}, -1 ]";
        let whole = array(text, 14);
        for capacity in 1..text.len() {
            let reader = std::io::BufReader::with_capacity(capacity, text.as_bytes());
            assert_eq!(values(Elements::array(Box::new(reader), 14), 14), whole, "capacity {capacity}");
        }
        assert_eq!(whole.iter().filter(|value| value.is_err()).count(), 2);
    }

    #[test]
    fn member_of_an_object() {
        let text = r#"{"version": "1.1", "x": {"data": [9]}, "data": [1, 2], "y": 3}"#;
        let found = values(Elements::member(Box::new(text.as_bytes()), 100, "data"), 100);
        assert_eq!(found.len(), 2);
        for text in [r#"{"version": 1}"#, r#"{"data": 1}"#, "[]", r#"{"data" [1]}"#] {
            let found = values(Elements::member(Box::new(text.as_bytes()), 100, "data"), 100);
            assert!(found[0].is_err(), "{text}");
        }
    }
}
