//! Where a text is cut before pieces are merged: no merge crosses such a cut.
//!
//! Each known expression is a hand-written scanner over bytes, with a table for ASCII. Bytes that are no UTF-8 are signs, each
//! one of its own: so every byte string is cut, and one that is UTF-8 is cut as the expression does it.

mod tables;

use std::sync::LazyLock;

use crate::characters::CharacterTable;

/// A known expression, by the model that brought it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Split {
    /// Words with the blank before them, numbers, signs; English contractions in small letters (Radford et al. 2019).
    Gpt2,
    /// The same, every digit a piece of its own.
    Gpt2Digits,
    /// Words with a blank or a sign before them, at most three digits, line breaks with the blanks before them: also the
    /// form that `cl100k_base` has in a `tokenizer.json`.
    Llama3,
    /// The same, every digit a piece of its own.
    Qwen2,
}

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const GPT2_DIGITS: &str = r"'(?:s|t|re|ve|m|ll|d)| ?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

impl Split {
    /// The expression, as a `tokenizer.json` has it.
    pub fn pattern(self) -> &'static str {
        match self {
            Self::Gpt2 => GPT2,
            Self::Gpt2Digits => GPT2_DIGITS,
            Self::Llama3 => LLAMA3,
            Self::Qwen2 => QWEN2,
        }
    }

    /// The one with this expression, to the letter.
    pub fn from_pattern(pattern: &str) -> Option<Self> {
        let known = [Self::Gpt2, Self::Gpt2Digits, Self::Llama3, Self::Qwen2];
        known.into_iter().find(|split| split.pattern() == pattern)
    }

    /// The pieces of a text: none is empty, and in order they are the text. Cost: one pass, about 2 ns a byte.
    pub fn pieces(self, text: &[u8]) -> impl Iterator<Item = &[u8]> {
        let mut at = 0;
        std::iter::from_fn(move || {
            (at < text.len()).then(|| {
                let start = at;
                at = self.end(text, start);
                &text[start..at]
            })
        })
    }

    /// Where the piece ends that begins at `at`, which is before the end of the text.
    #[inline]
    pub(super) fn end(self, text: &[u8], at: usize) -> usize {
        match self {
            Self::Gpt2 => gpt2_end(text, at, usize::MAX),
            Self::Gpt2Digits => gpt2_end(text, at, 1),
            Self::Llama3 => llama3_end(text, at, 3),
            Self::Qwen2 => llama3_end(text, at, 1),
        }
    }
}

/// What a character is to the expressions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Class {
    Letter,
    Number,
    Blank,
    /// Any other, and a byte that is no UTF-8.
    Sign,
    /// Of a byte beyond ASCII: the character has to be looked at.
    Wide,
}

#[inline]
fn gpt2_end(text: &[u8], at: usize, numbers_max: usize) -> usize {
    let byte = text[at];
    if byte == b'\''
        && let Some(len) = contraction(&text[at + 1..])
    {
        return at + 1 + len;
    }
    let start = at + usize::from(byte == b' ');
    if start == text.len() {
        return start;
    }
    let (class, width) = class_at(text, start);
    match class {
        Class::Letter => letters_end(text, start + width),
        Class::Number => run_end(text, start + width, Class::Number, numbers_max - 1),
        Class::Sign | Class::Wide => run_end(text, start + width, Class::Sign, usize::MAX),
        Class::Blank => blanks(text, at).end(),
    }
}

#[inline]
fn llama3_end(text: &[u8], at: usize, numbers_max: usize) -> usize {
    let byte = text[at];
    if byte == b'\''
        && let Some(len) = folded_contraction(&text[at + 1..])
    {
        return at + 1 + len;
    }
    let (class, width) = class_at(text, at);
    match class {
        Class::Letter => return letters_end(text, at + width),
        Class::Number => return run_end(text, at + width, Class::Number, numbers_max - 1),
        Class::Blank | Class::Sign | Class::Wide => {}
    }
    let start = at + width;
    let (next, next_width) = if start < text.len() { class_at(text, start) } else { (Class::Blank, 0) };
    if next == Class::Letter && !is_break(byte) {
        return letters_end(text, start + next_width);
    }
    if class == Class::Sign || (byte == b' ' && next == Class::Sign) {
        let end = run_end(text, start, Class::Sign, usize::MAX);
        return end + text[end..].iter().take_while(|byte| is_break(**byte)).count();
    }
    let blanks = blanks(text, at);
    blanks.behind_break.unwrap_or_else(|| blanks.end())
}

/// Length of `s`, `t`, `m`, `d`, `re`, `ve` or `ll`.
fn contraction(rest: &[u8]) -> Option<usize> {
    match rest {
        [b's' | b't' | b'm' | b'd', ..] => Some(1),
        [b'r' | b'v', b'e', ..] | [b'l', b'l', ..] => Some(2),
        _ => None,
    }
}

/// The same in capitals or small letters; the long s (U+017F) is an s there.
fn folded_contraction(rest: &[u8]) -> Option<usize> {
    match rest {
        [0xc5, 0xbf, ..] => Some(2),
        [first, second, ..] => contraction(&[first.to_ascii_lowercase(), second.to_ascii_lowercase()]),
        [first] => contraction(&[first.to_ascii_lowercase()]),
        [] => None,
    }
}

fn is_break(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

/// A run of white space.
struct Blanks {
    start: usize,
    /// Where its last character begins.
    last: usize,
    end: usize,
    /// Where its last line break ends.
    behind_break: Option<usize>,
    ends_text: bool,
}

impl Blanks {
    /// The last blank goes with what stands behind it, if it is not the only one.
    fn end(&self) -> usize {
        if self.ends_text || self.last == self.start { self.end } else { self.last }
    }
}

fn blanks(text: &[u8], start: usize) -> Blanks {
    let mut blanks = Blanks { start, last: start, end: start, behind_break: None, ends_text: true };
    while blanks.end < text.len() {
        let (class, width) = class_at(text, blanks.end);
        if class != Class::Blank {
            blanks.ends_text = false;
            break;
        }
        blanks.last = blanks.end;
        blanks.end += width;
        if is_break(text[blanks.last]) {
            blanks.behind_break = Some(blanks.end);
        }
    }
    blanks
}

/// End of a run of letters from `at` on.
#[inline]
fn letters_end(text: &[u8], mut at: usize) -> usize {
    while let Some(chunk) = text[at..].first_chunk() {
        let others = not_letters(u64::from_le_bytes(*chunk));
        if others == 0 {
            at += 8;
            continue;
        }
        at += others.trailing_zeros() as usize / 8;
        if text[at].is_ascii() {
            return at;
        }
        match class_at(text, at) {
            (Class::Letter, width) => at += width,
            _ => return at,
        }
    }
    run_end(text, at, Class::Letter, usize::MAX)
}

/// The highest bit of each byte that is no ASCII letter. Bytes do not carry into each other: each sum stays below 256.
#[inline]
fn not_letters(chunk: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let small = (chunk | (0x20 * ONES)) & (0x7f * ONES);
    let (from_a, behind_z) = (small + (0x80 - 0x61) * ONES, small + (0x80 - 0x7b) * ONES);
    (!from_a | behind_z | chunk) & (0x80 * ONES)
}

/// End of a run of this class from `at` on, of at most `count_max` characters.
#[inline]
fn run_end(text: &[u8], mut at: usize, class: Class, count_max: usize) -> usize {
    for _ in 0..count_max {
        if at >= text.len() {
            break;
        }
        match class_at(text, at) {
            (found, width) if found == class => at += width,
            _ => break,
        }
    }
    at
}

/// Class and width of the character at `at`; never [`Class::Wide`].
#[inline]
fn class_at(text: &[u8], at: usize) -> (Class, usize) {
    match BYTES[usize::from(text[at])] {
        Class::Wide => wide_class(&text[at..]),
        class => (class, 1),
    }
}

/// The character that these bytes begin with; a byte that begins none is a sign.
fn wide_class(rest: &[u8]) -> (Class, usize) {
    let low = |byte: u8| u32::from(byte & 0x3f);
    let (code, width) = match *rest {
        [a @ 0xc2..=0xdf, b @ 0x80..=0xbf, ..] => (u32::from(a & 0x1f) << 6 | low(b), 2),
        [a @ 0xe0..=0xef, b @ 0x80..=0xbf, c @ 0x80..=0xbf, ..] => {
            (u32::from(a & 0xf) << 12 | low(b) << 6 | low(c), 3)
        }
        [a @ 0xf0..=0xf4, b @ 0x80..=0xbf, c @ 0x80..=0xbf, d @ 0x80..=0xbf, ..] => {
            (u32::from(a & 7) << 18 | low(b) << 12 | low(c) << 6 | low(d), 4)
        }
        _ => return (Class::Sign, 1),
    };
    let is_shortest = code >= [0x80, 0x800, 0x1_0000][width - 2];
    match char::from_u32(code) {
        Some(_) if is_shortest => (CLASSES.of(code as usize), width),
        _ => (Class::Sign, 1),
    }
}

/// Width of the blank that a text ends with, if it ends with one.
pub(super) fn blank_before(text: &[u8]) -> Option<usize> {
    (1..=text.len().min(4)).find(|width| class_at(text, text.len() - width) == (Class::Blank, *width))
}

/// Of each byte, as far as it tells.
const BYTES: [Class; 256] = bytes();

const fn bytes() -> [Class; 256] {
    let mut classes = [Class::Wide; 256];
    let mut byte = 0;
    while byte < 128 {
        classes[byte] = match byte as u8 {
            b'a'..=b'z' | b'A'..=b'Z' => Class::Letter,
            b'0'..=b'9' => Class::Number,
            b'\t'..=b'\r' | b' ' => Class::Blank,
            _ => Class::Sign,
        };
        byte += 1;
    }
    classes
}

static CLASSES: LazyLock<CharacterTable<Class>> = LazyLock::new(|| {
    let lists: [(&[u32], Class); 3] = [
        (&tables::LETTERS, Class::Letter),
        (&tables::NUMBERS, Class::Number),
        (&tables::BLANKS, Class::Blank),
    ];
    CharacterTable::new(Class::Sign, &lists, |class, of_list| *class = *of_list)
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_tables_agree_on_ascii() {
        for byte in 0..128_u8 {
            assert_eq!(BYTES[usize::from(byte)], CLASSES.of(usize::from(byte)), "{byte}");
            let others = not_letters(u64::from_le_bytes([byte; 8]));
            let wanted = if byte.is_ascii_alphabetic() { 0 } else { 0x8080_8080_8080_8080 };
            assert_eq!(others, wanted, "{byte}");
        }
        assert_eq!(not_letters(u64::from_le_bytes(*b"aZ[z\xe1@`{")), 0x8080_8080_0080_0000);
    }

    #[test]
    fn a_byte_that_begins_no_character_is_a_sign() {
        let damaged: [&[u8]; 8] = [
            b"\x80",
            b"\xc1\xbf",
            b"\xe0\x9f\xbf",
            b"\xed\xa0\x80",
            b"\xf0\x8f\xbf\xbf",
            b"\xf4\x90\x80\x80",
            b"\xe9\xa1",
            b"\xff",
        ];
        for bytes in damaged {
            assert_eq!(wide_class(bytes), (Class::Sign, 1), "{bytes:?}");
        }
        assert_eq!(wide_class("é".as_bytes()), (Class::Letter, 2));
        assert_eq!(wide_class("٣".as_bytes()), (Class::Number, 2));
        assert_eq!(wide_class("\u{3000}".as_bytes()), (Class::Blank, 3));
        assert_eq!(wide_class("𝄞".as_bytes()), (Class::Sign, 4));
    }
}
