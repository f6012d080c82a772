//! "Did you mean": the nearest names by optimal string alignment.
//!
//! Optimal string alignment counts insertions, deletions, substitutions and swaps of neighbours, each byte of a name being
//! touched at most once (Boytsov 2011, section 2.2: the restricted Damerau distance).

use crate::diagnostic::Diagnostic;
use crate::source::Span;

/// Longest name that is compared; the lexer refuses longer ones.
const NAME_BYTES: usize = 64;

/// Most names that one diagnostic suggests.
const SUGGESTIONS: usize = 3;

/// The restricted Damerau distance of two names, folded to lower case. Cost: the product of the lengths.
#[must_use]
pub(crate) fn distance(left: &str, right: &str) -> usize {
    let left: Vec<u8> = left.bytes().map(|byte| byte.to_ascii_lowercase()).collect();
    let right: Vec<u8> = right.bytes().map(|byte| byte.to_ascii_lowercase()).collect();
    let width = right.len() + 1;
    let mut cells = vec![0usize; (left.len() + 1) * width];
    for row in 0..=left.len() {
        for column in 0..width {
            let cell = if row == 0 || column == 0 {
                row.max(column)
            } else {
                let substituted =
                    cells[(row - 1) * width + column - 1] + usize::from(left[row - 1] != right[column - 1]);
                let deleted = cells[(row - 1) * width + column] + 1;
                let inserted = cells[row * width + column - 1] + 1;
                let mut best = substituted.min(deleted).min(inserted);
                let is_swap = row > 1
                    && column > 1
                    && left[row - 1] == right[column - 2]
                    && left[row - 2] == right[column - 1];
                if is_swap {
                    best = best.min(cells[(row - 2) * width + column - 2] + 1);
                }
                best
            };
            cells[row * width + column] = cell;
        }
    }
    cells[cells.len() - 1]
}

/// At most three of `names` near `wrong`, nearest first, ties by name: distance at most 2, at most 1 below four letters.
#[must_use]
pub(crate) fn nearest<'n>(wrong: &str, names: impl IntoIterator<Item = &'n str>) -> Vec<&'n str> {
    if wrong.len() > NAME_BYTES {
        return Vec::new();
    }
    let limit = if wrong.len() < 4 { 1 } else { 2 };
    let mut found: Vec<(usize, &str)> = names
        .into_iter()
        .filter(|name| name.len() <= NAME_BYTES && name.len().abs_diff(wrong.len()) <= limit)
        .map(|name| (distance(wrong, name), name))
        .filter(|(distance, name)| *distance <= limit && *name != wrong)
        .collect();
    found.sort();
    found.dedup();
    found.into_iter().take(SUGGESTIONS).map(|(_, name)| name).collect()
}

/// "did you mean `a` or `b`?" with the nearest names; `None` if none is near.
#[must_use]
pub fn help<'n>(wrong: &str, names: impl IntoIterator<Item = &'n str>) -> Option<String> {
    let quoted: Vec<String> = nearest(wrong, names).iter().map(|name| format!("`{name}`")).collect();
    match quoted.as_slice() {
        [] => None,
        [only] => Some(format!("did you mean {only}?")),
        [first @ .., last] => Some(format!("did you mean {} or {last}?", first.join(", "))),
    }
}

/// Adds [`help`] to a diagnostic; a single near name also becomes an edit of `span`.
#[must_use]
pub(crate) fn suggest<'n>(
    diagnostic: Diagnostic,
    wrong: &str,
    span: Span,
    names: impl IntoIterator<Item = &'n str>,
) -> Diagnostic {
    let found = nearest(wrong, names);
    let Some(help) = help(wrong, found.iter().copied()) else { return diagnostic };
    let diagnostic = diagnostic.help(help);
    if let [only] = found.as_slice() { diagnostic.fix(span, *only) } else { diagnostic }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_swaps_once() {
        let cases =
            [("e265", "e256", 1), ("txt", "text", 1), ("abc", "abc", 0), ("ca", "abc", 3), ("", "ab", 2)];
        for (left, right, expected) in cases {
            assert_eq!(distance(left, right), expected, "{left} {right}");
        }
    }

    #[test]
    fn nearest_names_come_first_and_short_names_need_a_smaller_distance() {
        assert_eq!(nearest("chnk", ["chunk", "chunks", "drink"]), ["chunk", "chunks"]);
        assert_eq!(nearest("abc", ["axy", "abd"]), ["abd"]);
        assert!(nearest("abc", ["xyz"]).is_empty());
    }
}
