//! Units: sentences, clauses and passages of a text, as byte ranges.
//!
//! ```text
//! text -> lines -> blocks (fence, table, heading, list item) | prose -> sentences -> clauses
//!                                                                     -> passages (packed sentences)
//! ```
//!
//! Units are in order, disjoint, never blank, begin and end at a visible character, and cover every visible
//! character. Nothing here scores or counts anything but tokens.

use crate::tokenize::Tokenizer;

/// A clause with fewer tokens is joined to its neighbour.
pub const CLAUSE_TOKENS_MIN: u32 = 6;

/// A single long text is scored in passages of at most this many tokens.
pub const PASSAGE_TOKENS_MAX: u32 = 256;

/// A single text is long, and scored in passages, from this many tokens on: below, a paragraph or an abstract of two
/// passages would be halved by the passage score alone (SciFact rationales at 4x: 51 instead of 58 of 100).
pub const LONG_TEXT_TOKENS_MIN: u32 = 1024;

/// Texts before a full stop that do not end a sentence.
const ABBREVIATIONS: [&str; 17] = [
    "Mr.", "Mrs.", "Dr.", "St.", "vs.", "etc.", "al.", "Fig.", "Figs.", "e.g.", "i.e.", "No.", "U.S.", "Jr.",
    "Inc.", "approx.", "cf.",
];

/// Words that begin a clause.
const CLAUSE_WORDS: [&str; 10] =
    ["which", "who", "that", "while", "although", "because", "and", "but", "when", "where"];

/// What a sentence-level unit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A sentence of running text.
    Prose,
    /// An ATX heading line.
    Heading,
    /// A fenced code block with its fences.
    Code,
    /// A whole table.
    Table,
    /// A list item with its indented continuation lines.
    Item,
}

impl Kind {
    /// True for units that stand on lines of their own.
    pub fn is_block(self) -> bool {
        self != Kind::Prose
    }
}

/// A sentence-level unit: bytes `[start, end)` of its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sentence {
    /// First byte.
    pub start: u32,
    /// Byte after the last one.
    pub end: u32,
    /// What it is.
    pub kind: Kind,
}

/// A clause: bytes `[start, end)` of its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clause {
    /// First byte.
    pub start: u32,
    /// Byte after the last one.
    pub end: u32,
    /// Tokens of these bytes.
    pub tokens: u32,
}

/// Appends the sentence-level units of `text` to `out`. Cost: one pass.
///
/// A sentence ends at `.`, `!` or `?` (with closing quotes or brackets) before blanks and an upper-case letter,
/// digit, quote or opening bracket, at `。`, `！` or `？`, and at every line end. Fences, tables and list items are one
/// unit each.
pub fn sentences(text: &str, out: &mut Vec<Sentence>) {
    let mut lines = Lines { text, start: 0 };
    while let Some((start, end)) = lines.next() {
        let (start, end) = trim(text, start, end);
        if start == end {
            continue;
        }
        let line = &text[start..end];
        let (end, kind) = match line.as_bytes()[0] {
            b'`' | b'~' if fence_open(line).is_some() => {
                let fence = fence_open(line).expect("invariant: checked by the guard");
                (lines.take_fence(fence, end), Kind::Code)
            }
            b'|' => (lines.take_while(end, |line| line.starts_with('|')), Kind::Table),
            b'#' if is_heading(line) => (end, Kind::Heading),
            _ if is_list_item(line) => (lines.take_item(end), Kind::Item),
            _ if line.contains('|') && lines.peek().is_some_and(is_table_rule) => {
                (lines.take_while(end, |line| line.contains('|')), Kind::Table)
            }
            _ => {
                prose_sentences(text, start, end, out);
                continue;
            }
        };
        out.push(Sentence { start: start as u32, end: end as u32, kind });
    }
}

/// Appends the clauses of the prose sentence `[start, end)` of `text` to `out`; `atomic_code` keeps inline code spans
/// whole. At least one clause for a sentence that is not empty. Cost: one pass.
pub fn clauses(
    text: &str,
    start: u32,
    end: u32,
    atomic_code: bool,
    tokenizer: &dyn Tokenizer,
    out: &mut Vec<Clause>,
) {
    let first = out.len();
    let mut push = |start: usize, end: usize| {
        // A no-break space is none of the blanks that clauses are cut at.
        let (start, end) = trim(text, start, end);
        if start == end {
            return;
        }
        let tokens = tokenizer.count(&text[start..end]) as u32;
        match out[first..].last_mut() {
            Some(last) if tokens < CLAUSE_TOKENS_MIN || last.tokens < CLAUSE_TOKENS_MIN => {
                last.end = end as u32;
                last.tokens += tokens;
            }
            _ => out.push(Clause { start: start as u32, end: end as u32, tokens }),
        }
    };
    let bytes = text.as_bytes();
    let end = end as usize;
    let mut piece_start = start as usize;
    let mut idx = piece_start;
    while idx < end {
        if atomic_code && bytes[idx] == b'`' {
            idx = code_span_end(&bytes[..end], idx);
            continue;
        }
        if !is_blank(bytes[idx]) {
            idx += 1;
            continue;
        }
        let blank = idx;
        while idx < end && is_blank(bytes[idx]) {
            idx += 1;
        }
        if idx < end && blank > piece_start && is_clause_cut(bytes[blank - 1], &text[idx..end]) {
            push(piece_start, blank);
            piece_start = idx;
        }
    }
    if piece_start < end {
        push(piece_start, end);
    }
}

/// Groups sentences of the given token counts into passages: the index of the first sentence of each. A passage has
/// at most [`PASSAGE_TOKENS_MAX`] tokens, unless one sentence alone has more.
pub fn passages(tokens: impl Iterator<Item = u32>) -> Vec<usize> {
    let mut starts = Vec::new();
    let mut used = 0_u32;
    for (idx, count) in tokens.enumerate() {
        if idx == 0 || used.saturating_add(count) > PASSAGE_TOKENS_MAX {
            starts.push(idx);
            used = 0;
        }
        used = used.saturating_add(count);
    }
    starts
}

/// A space or a tab.
pub(crate) fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// The fence that a trimmed line opens: its character and length.
pub(crate) fn fence_open(line: &str) -> Option<(u8, usize)> {
    let bytes = line.as_bytes();
    let mark = *bytes.first()?;
    if mark != b'`' && mark != b'~' {
        return None;
    }
    let len = bytes.iter().take_while(|&&byte| byte == mark).count();
    let info_is_clean = mark == b'~' || memchr::memchr(b'`', &bytes[len..]).is_none();
    (len >= 3 && info_is_clean).then_some((mark, len))
}

/// True if a trimmed line closes the fence.
pub(crate) fn fence_close(line: &str, (mark, len): (u8, usize)) -> bool {
    line.len() >= len && line.bytes().all(|byte| byte == mark)
}

/// True for an ATX heading (trimmed line).
pub(crate) fn is_heading(line: &str) -> bool {
    let level = line.bytes().take_while(|&byte| byte == b'#').count();
    (1..=6).contains(&level) && line.as_bytes().get(level).is_none_or(|&byte| is_blank(byte))
}

/// True for a line that begins a list item (trimmed line).
pub(crate) fn is_list_item(line: &str) -> bool {
    let bytes = line.as_bytes();
    let marker = match bytes[0] {
        b'-' | b'*' | b'+' => 1,
        b'0'..=b'9' => {
            let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if digits > 9 || !matches!(bytes.get(digits), Some(b'.' | b')')) {
                return false;
            }
            digits + 1
        }
        _ => return false,
    };
    bytes.get(marker).is_some_and(|&byte| is_blank(byte))
}

/// True for the line under a table's header: only `-`, `|`, `:` and blanks, with a dash and a bar.
pub(crate) fn is_table_rule(line: &str) -> bool {
    line.contains('-')
        && line.contains('|')
        && line.bytes().all(|byte| matches!(byte, b'-' | b'|' | b':' | b' ' | b'\t'))
}

/// `[start, end)` without white space at both ends.
pub(crate) fn trim(text: &str, start: usize, end: usize) -> (usize, usize) {
    let slice = &text[start..end];
    let tail = slice.trim_end();
    let head = tail.trim_start();
    (start + tail.len() - head.len(), start + tail.len())
}

/// The lines of a text, as byte ranges without the newline.
struct Lines<'a> {
    text: &'a str,
    start: usize,
}

impl Lines<'_> {
    fn next(&mut self) -> Option<(usize, usize)> {
        if self.start >= self.text.len() {
            return None;
        }
        let start = self.start;
        let end =
            memchr::memchr(b'\n', &self.text.as_bytes()[start..]).map_or(self.text.len(), |len| start + len);
        self.start = end + 1;
        Some((start, end))
    }

    /// The next line, untrimmed, without taking it.
    fn peek(&self) -> Option<&str> {
        let (start, end) = Lines { text: self.text, start: self.start }.next()?;
        Some(&self.text[start..end])
    }

    /// Takes lines while they satisfy the condition (given trimmed); returns the end of the last one.
    fn take_while(&mut self, mut last_end: usize, accept: impl Fn(&str) -> bool) -> usize {
        let mut ahead = Lines { text: self.text, start: self.start };
        while let Some((start, end)) = ahead.next() {
            let (start, end) = trim(self.text, start, end);
            if !accept(&self.text[start..end]) {
                break;
            }
            last_end = end;
            self.start = ahead.start;
        }
        last_end
    }

    /// Takes lines up to the closing fence, or to the end of the text.
    fn take_fence(&mut self, fence: (u8, usize), mut last_end: usize) -> usize {
        while let Some((start, end)) = self.next() {
            let (start, end) = trim(self.text, start, end);
            if start < end {
                last_end = end;
            }
            if fence_close(&self.text[start..end], fence) {
                break;
            }
        }
        last_end
    }

    /// Takes the indented lines that continue a list item.
    fn take_item(&mut self, mut last_end: usize) -> usize {
        let mut ahead = Lines { text: self.text, start: self.start };
        while let Some((start, end)) = ahead.next() {
            if !self.text.as_bytes().get(start).is_some_and(|&byte| is_blank(byte)) {
                break;
            }
            let (start, end) = trim(self.text, start, end);
            let line = &self.text[start..end];
            if line.is_empty() || is_list_item(line) || fence_open(line).is_some() || line.starts_with('|') {
                break;
            }
            last_end = end;
            self.start = ahead.start;
        }
        last_end
    }
}

/// Splits one trimmed line of prose into sentences.
fn prose_sentences(text: &str, start: usize, end: usize, out: &mut Vec<Sentence>) {
    let bytes = text.as_bytes();
    let mut sentence_start = start;
    let mut idx = start;
    while idx < end {
        let wide = match bytes[idx] {
            b'.' | b'!' | b'?' => false,
            0xe3 if text[idx..end].starts_with('。') => true,
            0xef if text[idx..end].starts_with(['！', '？']) => true,
            _ => {
                idx += 1;
                continue;
            }
        };
        let stop = idx + if wide { 3 } else { 1 };
        let closed = skip_closers(text, stop, end);
        let next = closed + text[closed..end].len() - text[closed..end].trim_start().len();
        let ends_here = if wide {
            next < end
        } else {
            next > closed
                && next < end
                && starts_sentence(&text[next..end])
                && !(bytes[idx] == b'.' && is_abbreviation(&text[sentence_start..stop]))
        };
        if ends_here {
            out.push(Sentence { start: sentence_start as u32, end: closed as u32, kind: Kind::Prose });
            sentence_start = next;
            idx = next;
        } else {
            idx = stop;
        }
    }
    if sentence_start < end {
        out.push(Sentence { start: sentence_start as u32, end: end as u32, kind: Kind::Prose });
    }
}

/// The position after closing quotes and brackets at `idx`.
fn skip_closers(text: &str, idx: usize, end: usize) -> usize {
    let rest = &text[idx..end];
    let after = rest.trim_start_matches(['"', '\'', ')', ']', '}', '”', '’', '»', '」', '』', '）']);
    idx + rest.len() - after.len()
}

fn starts_sentence(rest: &str) -> bool {
    rest.chars().next().is_some_and(|first| {
        first.is_uppercase()
            || first.is_numeric()
            || crate::words::is_unspaced(first)
            || matches!(first, '"' | '\'' | '“' | '‘' | '«' | '(' | '[' | '「' | '『' | '（')
    })
}

/// True if a full stop at the end of `before` belongs to an abbreviation or an initial.
fn is_abbreviation(before: &str) -> bool {
    // Every listed abbreviation and initial has its word in the last eight bytes.
    let whole_word = |len: usize| {
        before[..before.len() - len].chars().next_back().is_none_or(|previous| !previous.is_alphanumeric())
    };
    if ABBREVIATIONS.iter().any(|word| before.ends_with(word) && whole_word(word.len())) {
        return true;
    }
    let mut tail = before.chars().rev().skip(1);
    tail.next().is_some_and(char::is_uppercase)
        && tail.next().is_none_or(|previous| !previous.is_alphanumeric())
}

/// True if a clause ends at blanks between `before` and `after`.
fn is_clause_cut(before: u8, after: &str) -> bool {
    if matches!(before, b',' | b';' | b':' | b')') {
        return true;
    }
    let bytes = after.as_bytes();
    match bytes[0] {
        b'(' => true,
        b'-' => bytes.get(1).is_some_and(|&byte| is_blank(byte)),
        0xe2 => {
            (after.starts_with('–') || after.starts_with('—'))
                && bytes.get(3).is_some_and(|&byte| is_blank(byte))
        }
        b'w' | b't' | b'a' | b'b' => CLAUSE_WORDS.iter().any(|word| {
            after.starts_with(word)
                && after[word.len()..]
                    .chars()
                    .next()
                    .is_none_or(|next| !next.is_alphanumeric() && next != '_')
        }),
        _ => false,
    }
}

/// The byte after the inline code span that opens at `idx`, or after its backticks if it never closes.
pub(crate) fn code_span_end(bytes: &[u8], idx: usize) -> usize {
    let run = |from: usize| bytes[from..].iter().take_while(|&&byte| byte == b'`').count();
    let len = run(idx);
    let mut from = idx + len;
    while let Some(offset) = memchr::memchr(b'`', &bytes[from..]) {
        let close = run(from + offset);
        from += offset + close;
        if close == len {
            return from;
        }
    }
    idx + len
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenize::WordPunct;

    fn split(text: &str) -> Vec<&str> {
        let mut out = Vec::new();
        sentences(text, &mut out);
        out.iter().map(|unit| &text[unit.start as usize..unit.end as usize]).collect()
    }

    fn cut(text: &str) -> Vec<&str> {
        let mut out = Vec::new();
        clauses(text, 0, text.len() as u32, true, &WordPunct, &mut out);
        for clause in &out {
            assert_eq!(
                u64::from(clause.tokens),
                WordPunct.count(&text[clause.start as usize..clause.end as usize])
            );
        }
        out.iter().map(|unit| &text[unit.start as usize..unit.end as usize]).collect()
    }

    #[test]
    fn clauses_begin_and_end_with_something_visible() {
        let text = "one two three four five six, \u{a0}seven eight nine ten eleven twelve\u{a0}";
        let mut clauses = Vec::new();
        super::clauses(text, 0, text.len() as u32, true, &crate::tokenize::WordPunct, &mut clauses);
        let found: Vec<&str> =
            clauses.iter().map(|clause| &text[clause.start as usize..clause.end as usize]).collect();
        assert_eq!(found, ["one two three four five six,", "seven eight nine ten eleven twelve"]);
    }

    #[test]
    fn sentence_boundaries() {
        let cases: [(&str, &[&str]); 12] = [
            ("One. Two! Three? four.", &["One.", "Two!", "Three? four."]),
            ("He said \"no.\" Then he left.", &["He said \"no.\"", "Then he left."]),
            ("Dr. Who met J. Smith. 10 men.", &["Dr. Who met J. Smith.", "10 men."]),
            ("It was national. Next.", &["It was national.", "Next."]),
            ("See Lee et al. 2020 (U.S. Army).", &["See Lee et al. 2020 (U.S. Army)."]),
            ("a line\nthe next\n\n  \nlast", &["a line", "the next", "last"]),
            ("東京は首都。人口は多い！次", &["東京は首都。", "人口は多い！", "次"]),
            ("v1.2 is out. (Really.) Yes", &["v1.2 is out.", "(Really.)", "Yes"]),
            ("", &[]),
            (" \n\t", &[]),
            ("a\u{301}. É b", &["a\u{301}.", "É b"]),
            ("text.  “Quoted. Here”", &["text.", "“Quoted.", "Here”"]),
        ];
        for (text, expected) in cases {
            assert_eq!(split(text), expected, "{text}");
        }
    }

    #[test]
    fn blocks_are_one_unit() {
        let text = "# A. B\nSee:\n```rust\nlet a = 1. B;\n\n| x |\n```\n| a | b |\n|---|---|\n| 1. A | 2 |\n\n- one. Two\n  more. Text\n- next\n1. x\na | b\n--|--\nc | d\n";
        let mut out = Vec::new();
        sentences(text, &mut out);
        let kinds: Vec<Kind> = out.iter().map(|unit| unit.kind).collect();
        use Kind::{Code, Heading, Item, Prose, Table};
        assert_eq!(kinds, [Heading, Prose, Code, Table, Item, Item, Item, Table]);
        assert_eq!(split(text)[4], "- one. Two\n  more. Text");
        assert_eq!(split("```\nopen")[0], "```\nopen");
    }

    #[test]
    fn clause_boundaries_and_joins() {
        let cases: [(&str, &[&str]); 6] = [
            ("short, too short", &["short, too short"]),
            (
                "one two three four five six, seven eight nine ten eleven twelve",
                &["one two three four five six,", "seven eight nine ten eleven twelve"],
            ),
            (
                "the first of them all came in (the second of them never did) and the third was late too",
                &[
                    "the first of them all came in",
                    "(the second of them never did)",
                    "and the third was late too",
                ],
            ),
            ("a b c d e f – g h i j k l", &["a b c d e f", "– g h i j k l"]),
            ("call `f(a, b, c, d, e)` of the whole thing", &["call `f(a, b, c, d, e)` of the whole thing"]),
            ("a b c d e f andy who g h i j k", &["a b c d e f andy", "who g h i j k"]),
        ];
        for (text, expected) in cases {
            assert_eq!(cut(text), expected, "{text}");
        }
    }

    #[test]
    fn passages_hold_whole_sentences_up_to_the_limit() {
        assert_eq!(passages([100, 100, 56, 1, 300, 2].into_iter()), [0, 3, 4, 5]);
        assert_eq!(passages(std::iter::empty()), Vec::<usize>::new());
    }
}
