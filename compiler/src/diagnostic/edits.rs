//! Applying edits of diagnostics to a text.

use super::{Diagnostic, Edit};
use crate::source::SourceId;

/// The text with the edits made. Edits apply from front to back; one that overlaps an earlier one, or lies outside the
/// text or inside a character, is left out, since the text it was made for is gone. Equal edits count once.
#[must_use]
pub fn apply(text: &str, edits: &[Edit]) -> String {
    let mut edits: Vec<&Edit> = edits.iter().collect();
    edits.sort_by_key(|edit| (edit.span.start, edit.span.end));
    edits.dedup();
    let mut changed = String::with_capacity(text.len());
    let mut copied = 0;
    for edit in edits {
        let range = edit.span.range();
        if range.start < copied || text.get(range.clone()).is_none() {
            continue;
        }
        changed.push_str(&text[copied..range.start]);
        changed.push_str(&edit.replacement);
        copied = range.end;
    }
    changed.push_str(&text[copied..]);
    changed
}

/// The edits of one source text that may be made unasked.
#[must_use]
pub fn machine_applicable(diagnostics: &[Diagnostic], source: SourceId) -> Vec<Edit> {
    let edits = diagnostics.iter().filter_map(|diagnostic| diagnostic.edit.as_ref());
    edits.filter(|edit| edit.machine_applicable && edit.span.source == source).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Span;

    fn edit(start: usize, end: usize, replacement: &str) -> Edit {
        let span = Span::new(SourceId(0), start, end);
        Edit { span, replacement: replacement.to_owned(), machine_applicable: true }
    }

    #[test]
    fn edits_apply_in_order_of_place_and_once() {
        let cases = [
            (vec![], "abcdef"),
            (vec![edit(4, 5, "E"), edit(0, 1, "AA")], "AAbcdEf"),
            (vec![edit(1, 1, "-"), edit(1, 1, "-")], "a-bcdef"),
            (vec![edit(0, 3, "x"), edit(2, 4, "y")], "xdef"),
            (vec![edit(6, 6, "!"), edit(9, 12, "?")], "abcdef!"),
        ];
        for (edits, expected) in cases {
            assert_eq!(apply("abcdef", &edits), expected, "{edits:?}");
        }
        assert_eq!(apply("é", &[edit(1, 2, "x")]), "é", "inside a character");
    }
}
