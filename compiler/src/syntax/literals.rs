//! Values of literals: numbers with units, escapes of strings, indentation of raw strings.

use super::ast::{Number, Text, Unit};
use crate::source::{SourceId, Span};

/// The length of the escape that `text` begins with, and the character it stands for if it is an escape.
pub(super) fn escape_len(text: &str) -> (usize, Option<char>) {
    let simple = |character| (2, Some(character));
    match text.as_bytes().get(1) {
        Some(b'"') => simple('"'),
        Some(b'\\') => simple('\\'),
        Some(b'n') => simple('\n'),
        Some(b't') => simple('\t'),
        Some(b'r') => simple('\r'),
        Some(b'u') => unicode_escape(text),
        Some(_) => (1 + text[1..].chars().next().map_or(0, char::len_utf8), None),
        None => (1, None),
    }
}

fn unicode_escape(text: &str) -> (usize, Option<char>) {
    let Some(digits) = text[2..].strip_prefix('{') else { return (2, None) };
    let len = digits.bytes().take_while(u8::is_ascii_hexdigit).count();
    if digits.as_bytes().get(len) != Some(&b'}') {
        return (2, None);
    }
    let code = if len <= 6 { u32::from_str_radix(&digits[..len], 16).ok() } else { None };
    (len + 4, code.and_then(char::from_u32))
}

/// The number that a literal writes; `text` is accepted by the grammar's `number`.
pub(super) fn number(text: &str) -> Number {
    const UNITS: [(&str, Unit); 13] = [
        ("tok", Unit::Tok),
        ("x", Unit::Ratio),
        ("%", Unit::Percent),
        ("ns", Unit::Nanoseconds),
        ("us", Unit::Microseconds),
        ("ms", Unit::Milliseconds),
        ("min", Unit::Minutes),
        ("s", Unit::Seconds),
        ("h", Unit::Hours),
        ("KiB", Unit::KiB),
        ("MiB", Unit::MiB),
        ("GiB", Unit::GiB),
        ("B", Unit::Bytes),
    ];
    let end =
        text.trim_end_matches(|character: char| character.is_ascii_alphabetic() || character == '%').len();
    let unit = UNITS.iter().find(|(name, _)| *name == &text[end..]).map(|(_, unit)| *unit);
    Number { digits: text[..end].replace('_', "").replace("e+", "e"), unit }
}

/// How a unit is written.
pub(super) fn unit_text(unit: Unit) -> &'static str {
    match unit {
        Unit::Tok => "tok",
        Unit::Ratio => "x",
        Unit::Percent => "%",
        Unit::Nanoseconds => "ns",
        Unit::Microseconds => "us",
        Unit::Milliseconds => "ms",
        Unit::Seconds => "s",
        Unit::Minutes => "min",
        Unit::Hours => "h",
        Unit::Bytes => "B",
        Unit::KiB => "KiB",
        Unit::MiB => "MiB",
        Unit::GiB => "GiB",
    }
}

/// Collects a value and where each run of its bytes stands in the source.
struct Runs {
    value: String,
    offsets: Vec<(u32, u32)>,
}

impl Runs {
    fn copy(&mut self, text: &str, at: usize) {
        if !text.is_empty() {
            self.offsets.push((self.value.len() as u32, at as u32));
            self.value.push_str(text);
        }
    }

    fn text(self, span: Span, marks: u8) -> Text {
        Text { value: self.value, span, marks, offsets: self.offsets }
    }
}

/// The value of a string at bytes `[start, end)` of a source text, quotes included; one that is not closed ends without. An unknown
/// escape stands for itself.
pub(super) fn string(source: SourceId, text: &str, start: usize, end: usize) -> Text {
    let mut runs = Runs { value: String::new(), offsets: Vec::new() };
    let is_closed = end > start + 1 && text[..end].ends_with('"');
    let (mut at, last) = (start + 1, if is_closed { end - 1 } else { end });
    while at < last {
        let plain = text[at..last].find('\\').unwrap_or(last - at);
        runs.copy(&text[at..at + plain], at);
        at += plain;
        if at < last {
            let (len, character) = escape_len(&text[at..last]);
            match character {
                Some(character) => runs.copy(character.encode_utf8(&mut [0; 4]), at),
                None => runs.copy(&text[at..at + len], at),
            }
            at += len;
        }
    }
    runs.text(Span::new(source, start, end), 0)
}

/// The value of a raw string at bytes `[start, end)` of a source text, marks and quotes included: the smallest
/// indentation of the non-blank lines after the first is removed from all lines after the first. `missing` is the number
/// of closing bytes that the text lacks.
pub(super) fn raw(source: SourceId, text: &str, start: usize, end: usize, missing: usize) -> Text {
    let marks = text[start..end].bytes().take_while(|byte| *byte == b'#').count();
    let body = start + marks + 1..(end + missing - marks - 1).max(start + marks + 1);
    let content = &text[body.clone()];
    let common = raw_indentation(content);
    let mut runs = Runs { value: String::new(), offsets: Vec::new() };
    let mut at = body.start;
    for (idx, line) in content.split_inclusive('\n').enumerate() {
        let blanks = line.bytes().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let removed = if idx == 0 { 0 } else { blanks.min(common) };
        // A carriage return before the line break is dropped, as the formatter drops it.
        match line[removed..].strip_suffix("\r\n") {
            Some(kept) => {
                runs.copy(kept, at + removed);
                runs.copy("\n", at + line.len() - 1);
            }
            None => runs.copy(&line[removed..], at + removed),
        }
        at += line.len();
    }
    runs.text(Span::new(source, start, end), marks as u8)
}

/// The smallest indentation of the non-blank lines after the first. The line that holds only the closing quote counts
/// as blank, like any line without text.
pub(super) fn raw_indentation(content: &str) -> usize {
    let lines = content.split('\n').skip(1).filter(|line| !line.trim().is_empty());
    lines.map(|line| line.bytes().take_while(|byte| matches!(byte, b' ' | b'\t')).count()).min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_replaced_and_their_places_kept() {
        let source = r#"x "a\n\u{e9}b" y"#;
        let text = string(SourceId(0), source, 2, 14);
        assert_eq!(text.value, "a\néb");
        let span = text.span_of(4, 5);
        assert_eq!(&source[span.range()], "b");
        assert_eq!(&source[text.span_of(0, 1).range()], "a");
    }

    #[test]
    fn raw_strings_lose_the_common_indentation_of_later_lines() {
        let source = "#\"a\n    b\n\n      c\n  \"#";
        let text = raw(SourceId(0), source, 0, source.len(), 0);
        assert_eq!(text.value, "a\nb\n\n  c\n");
        assert_eq!(text.marks, 1);
        let at = text.value.find('c').expect("a c");
        assert_eq!(&source[text.span_of(at, at + 1).range()], "c");
    }

    #[test]
    fn numbers_lose_underscores_and_keep_units() {
        let cases = [
            ("1_000tok", "1000", Some(Unit::Tok)),
            ("1e-3", "1e-3", None),
            ("80%", "80", Some(Unit::Percent)),
        ];
        for (text, digits, unit) in cases {
            assert_eq!(number(text), Number { digits: digits.into(), unit }, "{text}");
        }
        assert_eq!(number("5min").unit, Some(Unit::Minutes));
        assert_eq!(number("0.5KiB").digits, "0.5");
    }

    #[test]
    fn a_string_that_is_not_closed_may_end_in_any_letter() {
        let cases =
            [("\"a b\"", "a b"), ("\"\"", ""), ("\"", ""), ("\"caf\u{e9}", "caf\u{e9}"), ("\"a\\n", "a\n")];
        for (text, value) in cases {
            assert_eq!(string(SourceId(0), text, 0, text.len()).value, value, "{text}");
        }
    }
}
