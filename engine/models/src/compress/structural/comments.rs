//! HTML comments: removed, with their lines where nothing else stands on them.

use memchr::memmem;

use super::{Cutter, Fences, is_blank_line, line_end};
use crate::compress::units;
use crate::spans::Piece;

const OPEN: &[u8] = b"<!--";
const CLOSE: &[u8] = b"-->";

/// The ranges that stay; `None` if all does. A comment that never closes stays.
pub(super) fn kept(text: &str) -> Option<Vec<Piece>> {
    let bytes = text.as_bytes();
    let mut next_open = memmem::find(bytes, OPEN)?;
    let mut cutter = Cutter::new();
    let mut fences = Fences::new(text);
    let mut start = 0;
    // The line of `start`; it is not whole if a comment that began above ends in it.
    let (mut line_start, mut end, mut whole) = (0, line_end(text, 0), true);
    while start < bytes.len() {
        if start > end {
            (line_start, end, whole) = (start, line_end(text, start), bytes[start - 1] == b'\n');
        }
        if whole && start == line_start && fences.step(&text[start..end]) {
            start = end + 1;
            continue;
        }
        if next_open < start {
            match memmem::find(&bytes[start..], OPEN) {
                Some(offset) => next_open = start + offset,
                None => break,
            }
        }
        let Some(open) = (next_open < end).then(|| open_outside_code(bytes, start, end)).flatten() else {
            start = end + 1;
            continue;
        };
        let Some(len) = memmem::find(&bytes[open + OPEN.len()..], CLOSE) else { break };
        let close = open + OPEN.len() + len + CLOSE.len();
        let opens_line = whole && cutter.from <= line_start && is_blank_line(&bytes[line_start..open]);
        let close_end = if close <= end { end } else { line_end(text, close) };
        if opens_line && is_blank_line(&bytes[close..close_end]) {
            let next = (close_end + 1).min(bytes.len());
            cutter.remove(line_start, next);
            start = next;
        } else {
            cutter.remove(open, close);
            start = close;
        }
    }
    cutter.finish(bytes.len())
}

/// The first comment of a line that does not lie in inline code.
fn open_outside_code(bytes: &[u8], start: usize, end: usize) -> Option<usize> {
    let mut idx = start;
    while idx < end {
        match bytes[idx] {
            b'`' => idx = units::code_span_end(&bytes[..end], idx),
            b'<' if bytes[idx..].starts_with(OPEN) => return Some(idx),
            _ => idx += 1,
        }
    }
    None
}
