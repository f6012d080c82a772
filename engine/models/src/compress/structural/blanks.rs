//! Blanks: trailing ones go, runs inside prose become one, blank lines become one, carriage returns go.

use super::{Cutter, Fences, is_blank};
use crate::compress::units;
use crate::spans::Piece;

/// Indentation from which a line is code and keeps its inner blanks.
const CODE_INDENT: usize = 4;

/// The ranges that stay; `None` if all does.
pub(super) fn kept(text: &str) -> Option<Vec<Piece>> {
    let bytes = text.as_bytes();
    let mut cutter = Cutter::new();
    let mut fences = Fences::new(text);
    let mut doubles = Doubles { bytes, space: 0, tab: 0 };
    let mut newlines = 0;
    let mut start = 0;
    while start < bytes.len() {
        let end = super::line_end(text, start);
        let mut tail = end;
        while tail > start && (is_blank(bytes[tail - 1]) || bytes[tail - 1] == b'\r') {
            tail -= 1;
        }
        let fenced = fences.step(&text[start..tail]);
        let next = (end + 1).min(bytes.len());
        if tail > start && tail == end && (fenced || !doubles.any_in(start, tail)) {
            newlines = 1;
        } else if tail == start && !fenced {
            let keep_newline = end < bytes.len() && newlines < 2;
            cutter.remove(start, if keep_newline { end } else { next });
            newlines += usize::from(keep_newline);
        } else {
            if !fenced && doubles.any_in(start, tail) {
                collapse(bytes, start, tail, &mut cutter);
            }
            cutter.remove(tail, end);
            newlines = 1;
        }
        start = next;
    }
    cutter.finish(bytes.len())
}

/// Removes all but the first blank of every run of a line, except its indentation and inline code.
fn collapse(bytes: &[u8], start: usize, end: usize, cutter: &mut Cutter) {
    let indent = bytes[start..end].iter().take_while(|&&byte| is_blank(byte)).count();
    if indent >= CODE_INDENT || bytes[start] == b'\t' {
        return;
    }
    let mut idx = start + indent;
    while idx < end {
        if bytes[idx] == b'`' {
            idx = units::code_span_end(&bytes[..end], idx);
        } else if is_blank(bytes[idx]) {
            let first = idx;
            while idx < end && is_blank(bytes[idx]) {
                idx += 1;
            }
            cutter.remove(first + 1, idx);
        } else {
            idx += 1;
        }
    }
}

/// Finds, moving forward only, whether a line may have a run of blanks.
struct Doubles<'a> {
    bytes: &'a [u8],
    /// Next two spaces at or after the last line asked for.
    space: usize,
    /// Next tab likewise.
    tab: usize,
}

impl Doubles<'_> {
    fn any_in(&mut self, start: usize, end: usize) -> bool {
        if self.space < start || self.space == 0 {
            let found = memchr::memmem::find(&self.bytes[start..], b"  ");
            self.space = found.map_or(usize::MAX, |offset| start + offset);
        }
        if self.tab < start || self.tab == 0 {
            let found = memchr::memchr(b'\t', &self.bytes[start..]);
            self.tab = found.map_or(usize::MAX, |offset| start + offset);
        }
        self.space < end || self.tab < end
    }
}
