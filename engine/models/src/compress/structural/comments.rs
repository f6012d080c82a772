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
    // Start of the line's kept part, to see whether a comment stands alone on its lines.
    while start < bytes.len() {
        let end = line_end(text, start);
        if fences.step(&text[start..end]) {
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
        let close_end = line_end(text, close);
        let line_start = memchr::memrchr(b'\n', &bytes[..open]).map_or(0, |newline| newline + 1);
        let alone = cutter.from <= line_start
            && is_blank_line(&bytes[line_start..open])
            && is_blank_line(&bytes[close..close_end]);
        if alone {
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
