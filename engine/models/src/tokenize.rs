//! Tokenizers: how many tokens a text is, and where they begin and end.
//!
//! A token is a byte range of the text; ranges are in order, disjoint and on UTF-8 boundaries. Blanks may lie
//! between tokens. This module knows nothing of vocabularies or ids. The classes of characters that it finds are
//! shared by every module that reads words, so that all of them agree on what a letter is.

use std::sync::OnceLock;

/// Counts and locates tokens. Implementations are pure: the same text has the same tokens.
pub trait Tokenizer: std::fmt::Debug + Send + Sync {
    /// Number of tokens in `text`; 0 for empty or blank text. Cost: one pass.
    fn count(&self, text: &str) -> u64;

    /// Appends the byte ranges `(start, end)` of the tokens of `text` to `out`, in order. Offsets are `u32`: the
    /// text must be shorter than 4 GiB, which every caller ensures where a text enters.
    fn boundaries(&self, text: &str, out: &mut Vec<(u32, u32)>);
}

/// The built-in tokenizer: maximal runs of word characters, or one character that is neither word nor blank
/// (`\w+|[^\w\s]` with the classes of Python: a word character is a letter, a number of any kind or the underscore;
/// a blank is Unicode white space or one of U+001C to U+001F). Cost: about a nanosecond per token and less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WordPunct;

/// What a character is to [`WordPunct`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Class {
    /// White space; between tokens.
    Blank = 0,
    /// Letter (`\p{L}`) or number (`\p{N}`).
    Alphanumeric = 1,
    /// The underscore: part of a token, but not of a word that is compared.
    Underscore = 2,
    /// Anything else: a token of its own.
    Mark = 3,
}

impl Class {
    /// True for the characters of `\w`.
    #[inline]
    pub fn is_word(self) -> bool {
        matches!(self, Class::Alphanumeric | Class::Underscore)
    }
}

/// Class of a character. Cost: a table look-up; the first character of each block of 256 beyond ASCII asks the
/// Unicode tables once.
#[inline]
pub fn class_of(character: char) -> Class {
    match u8::try_from(character) {
        Ok(byte) if byte < 128 => ASCII[byte as usize],
        _ => wide_class(character),
    }
}

/// Classes of the ASCII characters; bytes above 127 are never looked up.
pub(crate) const ASCII: [Class; 128] = ascii_classes();

const fn ascii_classes() -> [Class; 128] {
    let mut classes = [Class::Mark; 128];
    let mut idx = 0;
    while idx < 128 {
        let byte = idx as u8;
        if byte.is_ascii_alphanumeric() {
            classes[idx] = Class::Alphanumeric;
        } else if byte == b'_' {
            classes[idx] = Class::Underscore;
        } else if byte == b' ' || (byte >= 0x09 && byte <= 0x0d) || (byte >= 0x1c && byte <= 0x1f) {
            classes[idx] = Class::Blank;
        }
        idx += 1;
    }
    classes
}

/// Number of blocks of 256 characters up to U+10FFFF.
const PAGE_COUNT: usize = 0x1100;

/// One bit per character of a block: letter or number. Filled on first use; a pure function of the Unicode tables.
static PAGES: [OnceLock<[u64; 4]>; PAGE_COUNT] = [const { OnceLock::new() }; PAGE_COUNT];

#[inline]
fn wide_class(character: char) -> Class {
    let code = character as usize;
    let page = PAGES[code >> 8].get_or_init(|| alphanumeric_page(code >> 8));
    if page[(code >> 6) & 3] >> (code & 63) & 1 == 1 {
        Class::Alphanumeric
    } else if character.is_whitespace() {
        Class::Blank
    } else {
        Class::Mark
    }
}

/// Asks the regex crate's Unicode tables which characters of a block are letters or numbers.
#[cold]
fn alphanumeric_page(page: usize) -> [u64; 4] {
    static PATTERN: OnceLock<regex::Regex> = OnceLock::new();
    let pattern = PATTERN.get_or_init(|| {
        regex::Regex::new(r"[\p{L}\p{N}]")
            .expect("invariant: the class of letters and numbers is a valid pattern")
    });
    let characters = (page << 8..(page + 1) << 8).filter_map(|code| char::from_u32(code as u32));
    let text: String = characters.collect();
    let mut bits = [0; 4];
    for found in pattern.find_iter(&text) {
        for low in found.as_str().chars().map(|character| character as usize & 255) {
            bits[low >> 6] |= 1 << (low & 63);
        }
    }
    bits
}

/// Bytes that are counted in one vectorised step.
const BLOCK_BYTES: usize = 64;

/// 1 for an ASCII word byte, else 0; written without branches so that a block of them becomes vector code.
#[inline]
fn is_word_byte(byte: u8) -> u8 {
    let letter = (byte | 0x20).wrapping_sub(b'a') < 26;
    let digit = byte.wrapping_sub(b'0') < 10;
    u8::from(letter | digit | (byte == b'_'))
}

/// 1 for an ASCII blank, else 0.
#[inline]
fn is_blank_byte(byte: u8) -> u8 {
    u8::from((byte == b' ') | (byte.wrapping_sub(0x09) < 5) | (byte.wrapping_sub(0x1c) < 4))
}

/// Tokens that start in an ASCII block, given whether the byte before it was a word byte.
#[inline]
fn count_block(block: &[u8; BLOCK_BYTES], before: u8) -> u64 {
    let mut word = [0u8; BLOCK_BYTES + 1];
    word[0] = before;
    for (flag, byte) in word[1..].iter_mut().zip(block) {
        *flag = is_word_byte(*byte);
    }
    let mut starts = [0u8; BLOCK_BYTES];
    for idx in 0..BLOCK_BYTES {
        let here = word[idx + 1];
        // A token starts at a word byte after no word byte, and at every mark.
        starts[idx] = (here & !word[idx]) | (1 ^ here ^ is_blank_byte(block[idx]));
    }
    starts.iter().map(|start| u64::from(*start)).sum()
}

impl Tokenizer for WordPunct {
    fn count(&self, text: &str) -> u64 {
        let bytes = text.as_bytes();
        let mut count = 0;
        let mut inside = false;
        let mut idx = 0;
        while idx < bytes.len() {
            if let Some(block) = bytes[idx..].first_chunk::<BLOCK_BYTES>()
                && block.is_ascii()
            {
                count += count_block(block, u8::from(inside));
                inside = is_word_byte(block[BLOCK_BYTES - 1]) == 1;
                idx += BLOCK_BYTES;
                continue;
            }
            let stop = idx + BLOCK_BYTES;
            for character in text[idx..].chars() {
                let class = class_of(character);
                count += u64::from(class.is_word() && !inside || class == Class::Mark);
                inside = class.is_word();
                idx += character.len_utf8();
                if idx >= stop {
                    break;
                }
            }
        }
        count
    }

    fn boundaries(&self, text: &str, out: &mut Vec<(u32, u32)>) {
        let bytes = text.as_bytes();
        let mut idx = 0;
        while idx < bytes.len() {
            let (class, len) = class_at(text, idx);
            let start = idx;
            idx += len;
            match class {
                Class::Blank => continue,
                Class::Mark => {}
                Class::Alphanumeric | Class::Underscore => idx = run_end(text, idx, Class::is_word),
            }
            out.push((start as u32, idx as u32));
        }
    }
}

/// Class and byte length of the character at a UTF-8 boundary before the end of the text.
#[inline(always)]
pub(crate) fn class_at(text: &str, idx: usize) -> (Class, usize) {
    match text.as_bytes()[idx] {
        byte @ 0..128 => (ASCII[byte as usize], 1),
        _ => wide_class_at(text, idx),
    }
}

/// Apart from the ASCII path, so that loops over characters hold that one alone.
#[inline(never)]
fn wide_class_at(text: &str, idx: usize) -> (Class, usize) {
    let character = text[idx..].chars().next().expect("invariant: idx is a boundary before the end");
    (wide_class(character), character.len_utf8())
}

/// End of the run of characters from `idx` on whose class satisfies `inside`.
#[inline]
pub(crate) fn run_end(text: &str, mut idx: usize, inside: impl Fn(Class) -> bool) -> usize {
    let bytes = text.as_bytes();
    while idx < bytes.len() {
        let (class, len) = class_at(text, idx);
        if !inside(class) {
            break;
        }
        idx += len;
    }
    idx
}

/// Byte ranges of the words of a text: maximal runs of letters and numbers (`[\p{L}\p{N}]+`), in order.
pub fn word_ranges(text: &str) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
    let mut idx = 0;
    std::iter::from_fn(move || {
        while idx < text.len() {
            let (class, len) = class_at(text, idx);
            let start = idx;
            idx += len;
            if class == Class::Alphanumeric {
                idx = run_end(text, idx, |class| class == Class::Alphanumeric);
                return Some(start..idx);
            }
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Vec<&str> {
        let mut ranges = Vec::new();
        WordPunct.boundaries(text, &mut ranges);
        ranges.into_iter().map(|(start, end)| &text[start as usize..end as usize]).collect()
    }

    #[test]
    fn words_and_marks_are_tokens() {
        assert_eq!(
            tokens("The cache_size is 3.5x, isn't it?"),
            ["The", "cache_size", "is", "3", ".", "5x", ",", "isn", "'", "t", "it", "?"]
        );
        assert_eq!(
            tokens("naïve 東京タワー x²\u{a0}½ …\u{1c}a"),
            ["naïve", "東京タワー", "x²", "½", "…", "a"]
        );
        // A combining mark is no letter: the same as Python's `\w`.
        assert_eq!(tokens("e\u{301}"), ["e", "\u{301}"]);
        assert_eq!(tokens(" \n\t\r "), Vec::<&str>::new());
    }

    #[test]
    fn words_leave_out_the_underscore() {
        let text = "snake_case, Été 42";
        let words: Vec<&str> = word_ranges(text).map(|range| &text[range]).collect();
        assert_eq!(words, ["snake", "case", "Été", "42"]);
    }

    #[test]
    fn blocks_join_without_a_seam() {
        for len in [0, 1, 63, 64, 65, 127, 128, 129, 1000] {
            assert_eq!(WordPunct.count(&"a".repeat(len)), u64::from(len > 0), "one word of {len} bytes");
            assert_eq!(WordPunct.count(&".".repeat(len)), len as u64, "{len} marks");
        }
    }
}
