//! Inline links and images: `[text](target)` becomes `text`, the target is reported.

use super::{Cutter, Fences, line_end};
use crate::compress::units;
use crate::spans::Piece;

/// Open brackets that are remembered within a paragraph; more are not links.
const OPEN_BRACKETS_MAX: usize = 64;

/// Longest target of a link with its brackets, in bytes; bounds the search for the closing bracket.
const TARGET_BYTES_MAX: usize = 4096;

/// What a text is without its link targets.
pub(super) struct Found {
    /// The ranges that stay.
    pub(super) pieces: Vec<Piece>,
    /// Per link the byte at which its text begins, and its target.
    pub(super) targets: Vec<(u32, String)>,
}

/// Finds the inline links and images of a text; `None` without any.
pub(super) fn find(text: &str) -> Option<Found> {
    let bytes = text.as_bytes();
    memchr::memmem::find(bytes, b"](")?;
    let mut fences = Fences::new(text);
    let mut open: Vec<usize> = Vec::new();
    let mut removed: Vec<(usize, usize)> = Vec::new();
    let mut targets: Vec<(u32, String)> = Vec::new();
    let mut start = 0;
    while start < bytes.len() {
        let end = line_end(text, start);
        let line = &text[start..end];
        let fenced = fences.step(line);
        if fenced || line.trim().is_empty() {
            open.clear();
        }
        let mut idx = if fenced { end } else { start };
        while idx < end {
            match bytes[idx] {
                b'\\' => idx += 2,
                b'`' => idx = units::code_span_end(&bytes[..end], idx),
                b'[' => {
                    if open.len() < OPEN_BRACKETS_MAX {
                        open.push(idx);
                    }
                    idx += 1;
                }
                b']' => {
                    idx += 1;
                    let Some(bracket) = open.pop() else { continue };
                    let Some(close) = target_end(&bytes[..end], idx) else { continue };
                    let image = bracket > 0 && bytes[bracket - 1] == b'!';
                    removed.push((bracket - usize::from(image), bracket + 1));
                    removed.push((idx - 1, close));
                    let target = text[idx + 1..close - 1].trim();
                    targets.push((bracket as u32 + 1, target.to_owned()));
                    idx = close;
                }
                _ => idx += 1,
            }
        }
        start = end + 1;
    }
    removed.sort_unstable();
    let mut cutter = Cutter::new();
    for (start, end) in removed {
        cutter.remove(start, end);
    }
    Some(Found { pieces: cutter.finish(bytes.len())?, targets })
}

/// The byte after `(target)` at `idx`, with balanced brackets, on the same line.
fn target_end(bytes: &[u8], idx: usize) -> Option<usize> {
    if bytes.get(idx) != Some(&b'(') {
        return None;
    }
    let mut depth = 0;
    for (offset, &byte) in bytes[idx..].iter().take(TARGET_BYTES_MAX).enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(idx + offset + 1);
        }
    }
    None
}
