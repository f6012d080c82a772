//! The part of a text that shows best why it was found, on one line.

use std::ops::Range;

/// Longest part in bytes, before the marks.
const BYTES_MAX: usize = 240;
/// Bytes that are shown before the first place.
const LEAD: usize = 60;

/// The part with the most places, their words bold (or between `**` without colours), blanks and line ends as single blanks.
pub(super) fn snippet(text: &str, spans: &[Range<usize>], is_colored: bool) -> String {
    let window = window(text, spans);
    let (on, off) = if is_colored { ("\u{1b}[1m", "\u{1b}[0m") } else { ("**", "**") };
    let mut out = String::new();
    let mut at = window.start;
    for span in spans.iter().filter(|span| span.start >= window.start && span.end <= window.end) {
        out.extend(shown(&text[at..span.start]));
        out.push_str(on);
        out.extend(shown(&text[span.clone()]));
        out.push_str(off);
        at = span.end;
    }
    out.extend(shown(&text[at..window.end]));
    let line = out.split_whitespace().collect::<Vec<_>>().join(" ");
    let before = if window.start > 0 { "\u{2026}" } else { "" };
    let after = if window.end < text.len() { "\u{2026}" } else { "" };
    format!("{before}{line}{after}")
}

/// The letters of a part; of control characters only blanks remain, and no marks of direction, since these would steer the terminal.
pub(super) fn shown(part: &str) -> impl Iterator<Item = char> {
    let steers = |letter: char| {
        let is_direction = matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        is_direction || (letter.is_control() && !letter.is_whitespace())
    };
    part.chars().filter(move |letter| !steers(*letter))
}

/// The range of at most [`BYTES_MAX`] bytes with the most places, the first of equals.
fn window(text: &str, spans: &[Range<usize>]) -> Range<usize> {
    let count = |first: usize| {
        let limit = spans[first].start + BYTES_MAX - LEAD;
        spans[first..].iter().take_while(|span| span.end <= limit).count()
    };
    let best = (0..spans.len()).max_by_key(|first| (count(*first), std::cmp::Reverse(*first)));
    let start = best.map_or(0, |best| spans[best].start.saturating_sub(LEAD));
    let start = if start + BYTES_MAX > text.len() { text.len().saturating_sub(BYTES_MAX) } else { start };
    let start = text.ceil_char_boundary(start);
    let start = if start == 0 { 0 } else { text[start..].find(' ').map_or(start, |blank| start + blank + 1) };
    start..text.floor_char_boundary((start + BYTES_MAX).min(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_part_with_the_most_places_is_shown_and_marked() {
        let cat = 2..5;
        assert_eq!(snippet("a cat\n  ran", std::slice::from_ref(&cat), false), "a **cat** ran");
        assert_eq!(snippet("", &[], false), "");
        let text = format!("cat {}the cat and a cat {}", "word ".repeat(100), "end ".repeat(100));
        let spans: Vec<Range<usize>> = text.match_indices("cat").map(|(at, _)| at..at + 3).collect();
        let found = snippet(&text, &spans, false);
        assert!(found.starts_with('\u{2026}') && found.ends_with('\u{2026}'), "{found}");
        assert!(found.contains("the **cat** and a **cat**"), "{found}");
        assert!(found.len() < BYTES_MAX + 32);
    }

    #[test]
    fn wide_letters_and_escapes_do_no_harm() {
        let text = "猫".repeat(500);
        let last = 1497..1500;
        let found = snippet(&text, std::slice::from_ref(&last), true);
        assert!(found.ends_with("\u{1b}[1m猫\u{1b}[0m"), "{found}");
        assert_eq!(snippet("a\u{7}b\u{0}\u{1b}[31m\u{202e}\u{9b}", &[], true), "ab[31m");
    }
}
