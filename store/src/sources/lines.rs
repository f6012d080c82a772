//! Lines of a file, each within a bound.

use crate::schema::HEAD_BYTES_MAX;
use std::io::{self, BufRead, Read};

/// The byte order mark that some editors write before UTF-8.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads line by line. A line over the bound is skipped without being held: only its head stays.
pub(crate) struct Lines {
    reader: Box<dyn BufRead + Send>,
    bytes_max: u64,
    next_offset: u64,
    next_number: u64,
    /// The line read last, without its end of line; of a line over the bound only the head.
    pub(crate) text: Vec<u8>,
}

/// Where the line read last stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line {
    /// From 1.
    pub(crate) number: u64,
    /// Bytes from the start of the file.
    pub(crate) offset: u64,
    /// Bytes of the line, its end not counted.
    pub(crate) bytes: u64,
    /// Whether it is over the bound.
    pub(crate) is_long: bool,
}

impl Lines {
    pub(crate) fn new(reader: Box<dyn BufRead + Send>, bytes_max: u64) -> Self {
        Self { reader, bytes_max, next_offset: 0, next_number: 1, text: Vec::new() }
    }

    /// Reads the next line into [`Lines::text`]; `None` at the end of the file.
    pub(crate) fn next_line(&mut self) -> io::Result<Option<Line>> {
        self.text.clear();
        // Two more than the bound: the end of line may be CR LF.
        let limit = self.bytes_max.saturating_add(2);
        let mut taken = self.reader.by_ref().take(limit).read_until(b'\n', &mut self.text)? as u64;
        if taken == 0 {
            return Ok(None);
        }
        let mut has_end = self.text.last() == Some(&b'\n');
        let bytes = if !has_end && taken == limit {
            self.text.truncate(HEAD_BYTES_MAX);
            self.text.shrink_to_fit();
            let skipped;
            (skipped, has_end) = self.skip_rest()?;
            taken += skipped;
            taken - u64::from(has_end)
        } else {
            if has_end {
                self.text.pop();
                if self.text.last() == Some(&b'\r') {
                    self.text.pop();
                }
            }
            self.text.len() as u64
        };
        let line = Line {
            number: self.next_number,
            offset: self.next_offset,
            bytes,
            is_long: bytes > self.bytes_max,
        };
        self.next_offset += taken;
        self.next_number += 1;
        if line.offset == 0 && self.text.starts_with(BYTE_ORDER_MARK) {
            self.text.drain(..BYTE_ORDER_MARK.len());
        }
        Ok(Some(line))
    }

    /// Skips to the next line; the bytes passed, and whether an end of line was among them.
    fn skip_rest(&mut self) -> io::Result<(u64, bool)> {
        let mut skipped = 0;
        loop {
            let chunk = self.reader.fill_buf()?;
            if chunk.is_empty() {
                return Ok((skipped, false));
            }
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let count = end.map_or(chunk.len(), |at| at + 1);
            self.reader.consume(count);
            skipped += count as u64;
            if end.is_some() {
                return Ok((skipped, true));
            }
        }
    }
}

/// A message about the first byte of `bytes` that is not UTF-8, with its place from 1.
pub(crate) fn not_utf8(error: std::str::Utf8Error) -> String {
    format!("byte {} is not UTF-8", error.valid_up_to() + 1)
}

/// A message about a row over the bound.
pub(crate) fn too_long(bytes: u64, bytes_max: u64) -> String {
    format!("the row has {bytes} bytes, at most {bytes_max} are read (`max_bytes`)")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &'static [u8], bytes_max: u64) -> Vec<(Vec<u8>, Line)> {
        let mut lines = Lines::new(Box::new(text), bytes_max);
        let mut found = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            found.push((lines.text.clone(), line));
        }
        found
    }

    #[test]
    fn ends_of_line_and_places() {
        let found = lines(b"\xef\xbb\xbfab\r\n\nc", 10);
        let texts: Vec<_> = found.iter().map(|found| found.0.as_slice()).collect();
        assert_eq!(texts, [b"ab".as_slice(), b"", b"c"]);
        let places: Vec<_> = found.iter().map(|found| (found.1.number, found.1.offset)).collect();
        assert_eq!(places, [(1, 0), (2, 7), (3, 8)]);
    }

    #[test]
    fn long_lines_keep_the_place_of_the_next() {
        let found = lines(b"12345\n123456\r\n1234567\n12345678901234567890\nx", 5);
        let long: Vec<_> = found.iter().map(|found| found.1.is_long).collect();
        assert_eq!(long, [false, true, true, true, false]);
        assert_eq!(found[4], (b"x".to_vec(), Line { number: 5, offset: 43, bytes: 1, is_long: false }));
    }
}
