//! Near-duplicates: which blocks or rows say the same as an earlier one?
//!
//! ```text
//!  text ── signatures ──▶ BlockSignature (one per row or block; cached as bytes)   parallel, row by row
//!                              │  all rows, in key order
//!                              ▼
//!                          cluster ──▶ for every block: kept, or dropped in favour of an earlier one
//!                              └─ asks for `shingles` of a candidate pair, and verifies it exactly
//! ```
//! Signatures depend on one text alone; clustering is a pure function of the ordered list of signatures, so any
//! sequence of inserts, updates and deletes gives what a full run gives. Nothing here knows keys, columns or spans.
//!
//! # Decisions
//! MinHash with 128 permutations (Broder 1997) is done as 8 keyed hashes of 16 permutations each. The permutations of
//! one hash `g` are `x -> x ^ (bin << high)`: the minimum under such a permutation is the smallest value in that bin,
//! or in the nearest occupied bin by exclusive or. So one shingle touches 8 slots instead of 128 (the idea of
//! one-permutation hashing, Li, Owen and Zhang 2012), while every slot stays a true minimum under a permutation of a
//! uniform hash: two slots agree with probability exactly J. What is lost is independence between the 16 slots of one
//! hash on small sets; the four rows of a band therefore come from four different hashes, which keeps the probability
//! of a band at exactly J^4. Words are runs of Unicode letters and digits where the literature takes ASCII ones, so
//! that texts in every script have shingles.

mod cluster;
mod minhash;

pub use cluster::{Decision, cluster};
pub use minhash::{ShingleOptions, jaccard, shingles};

use crate::tokenize::{Tokenizer, WordPunct};
use std::fmt;
use std::ops::Range;

/// Blocks with fewer `word_punct` tokens are never dropped: a repeated short line is form, not content.
pub const MIN_TOKENS: u64 = 8;

/// What is compared with what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// The whole text.
    Row,
    /// The parts between blank lines, outside of code fences.
    Block,
}

/// How signatures are made. Two signatures are comparable if they come from equal options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignatureOptions {
    /// How a text is divided.
    pub unit: Unit,
    /// Near-duplicates too, or exact ones only.
    pub near: bool,
    /// Words of a shingle and number of permutations.
    pub shingle: ShingleOptions,
    /// Blocks with fewer words are compared exactly only.
    pub min_words: u32,
}

/// What is remembered of a block to find its copies. About 0.6 KiB with 128 permutations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockSignature {
    /// Bytes of the text, without blank lines around.
    pub range: Range<u32>,
    /// Keyed 128-bit hash of the text with letters in lower case and runs of blanks as one.
    pub exact: [u8; 16],
    /// Tokens by `word_punct`.
    pub token_count: u32,
    /// Words: runs of letters and digits; 0 if only exact copies are looked for.
    pub word_count: u32,
    /// Minimum per permutation; empty if the block is compared exactly only.
    pub slots: Box<[u32]>,
}

/// Why signatures could not be made or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DedupError {
    /// Permutations must be a power of two from 32 to 1,024.
    Permutations {
        /// What was asked for.
        found: u32,
    },
    /// A shingle must have 1 to 32 words.
    Shingle {
        /// What was asked for.
        found: u32,
    },
    /// Stored bytes are no list of signatures.
    Encoding {
        /// Byte at which reading stopped.
        offset: usize,
    },
}

impl fmt::Display for DedupError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Permutations { found } => {
                write!(out, "{found} permutations found, expected a power of two from 32 to 1024")
            }
            Self::Shingle { found } => write!(out, "shingle of {found} words found, expected 1 to 32"),
            Self::Encoding { offset } => write!(out, "stored signatures end or differ at byte {offset}"),
        }
    }
}

impl std::error::Error for DedupError {}

/// Signatures of the blocks of a text, in order. `Unit::Row` gives exactly one, `Unit::Block` none for blank text.
/// The text must be shorter than 4 GiB. Cost: four passes, about that of tokenizing the text twice.
pub fn signatures(text: &str, options: &SignatureOptions) -> Vec<BlockSignature> {
    let mut buffer = Vec::new();
    match options.unit {
        Unit::Row => Vec::from([signature(text, 0..text.len(), options, &mut buffer)]),
        Unit::Block => {
            blocks(text).into_iter().map(|range| signature(text, range, options, &mut buffer)).collect()
        }
    }
}

/// Signature of a range of a text; `buffer` is reused.
fn signature(
    text: &str,
    range: Range<usize>,
    options: &SignatureOptions,
    buffer: &mut Vec<u8>,
) -> BlockSignature {
    let block = &text[range.clone()];
    let minimum = options.min_words.max(options.shingle.words());
    let (word_count, slots) = match options.near {
        true => minhash::slots(block, &options.shingle, minimum),
        false => (0, Box::default()),
    };
    BlockSignature {
        range: range.start as u32..range.end as u32,
        exact: exact_hash(block, buffer),
        token_count: u32::try_from(WordPunct.count(block)).unwrap_or(u32::MAX),
        word_count,
        slots,
    }
}

/// Byte ranges of the parts of a text between blank lines, outside of code fences; an open fence runs to the end.
/// Ranges are without the line end of their last line. Cost: one pass.
pub fn blocks(text: &str) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut open: Option<Range<usize>> = None;
    let mut fence: Option<(u8, usize)> = None;
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let content = line.trim_end();
        let end = start + content.len();
        if content.is_empty() && fence.is_none() {
            ranges.extend(open.take());
        } else {
            open = Some(open.map_or(start, |range| range.start)..end);
            fence = fence_after(content, fence);
        }
        start += line.len();
    }
    ranges.extend(open);
    // Blank lines at the end of an open fence.
    for range in &mut ranges {
        range.end = range.start + text[range.clone()].trim_end().len();
    }
    ranges
}

/// The open fence (its byte and length) after a line, given the one before it.
fn fence_after(line: &str, fence: Option<(u8, usize)>) -> Option<(u8, usize)> {
    let bytes = line.as_bytes();
    let indent = bytes.iter().take_while(|byte| **byte == b' ').count();
    let Some(byte) = bytes.get(indent).copied().filter(|byte| indent < 4 && matches!(byte, b'`' | b'~'))
    else {
        return fence;
    };
    let len = bytes[indent..].iter().take_while(|found| **found == byte).count();
    let rest = &line[indent + len..];
    match fence {
        None if len >= 3 && !(byte == b'`' && rest.contains('`')) => Some((byte, len)),
        Some((open, open_len)) if open == byte && len >= open_len && rest.trim().is_empty() => None,
        unchanged => unchanged,
    }
}

/// Key of the exact hash; fixed, so that equal texts are equal everywhere.
const EXACT_KEY: &[u8; 32] = b"promptc dedup exact block key 01";

/// Hash of the text with letters in lower case and runs of blanks as one; `buffer` is reused.
fn exact_hash(text: &str, buffer: &mut Vec<u8>) -> [u8; 16] {
    buffer.clear();
    let bytes = text.as_bytes();
    let mut blank = true;
    let mut idx = 0;
    while idx < bytes.len() {
        let ascii = bytes[idx..].iter().position(|byte| !byte.is_ascii()).unwrap_or(bytes.len() - idx);
        blank = push_ascii(&bytes[idx..idx + ascii], blank, buffer);
        idx += ascii;
        let Some(character) = text[idx..].chars().next() else { break };
        idx += character.len_utf8();
        if !character.is_whitespace() {
            blank = false;
            for lower in character.to_lowercase() {
                buffer.extend_from_slice(lower.encode_utf8(&mut [0; 4]).as_bytes());
            }
        } else if !std::mem::replace(&mut blank, true) {
            buffer.push(b' ');
        }
    }
    if buffer.last() == Some(&b' ') {
        buffer.pop();
    }
    let mut hash = [0; 16];
    hash.copy_from_slice(&blake3::keyed_hash(EXACT_KEY, buffer).as_bytes()[..16]);
    hash
}

/// Appends ASCII bytes in lower case with runs of blanks as one; `blank` tells whether one stands before, and the
/// result whether one stands at the end. Every byte is written and the place moves on or not, without a branch.
fn push_ascii(bytes: &[u8], blank: bool, buffer: &mut Vec<u8>) -> bool {
    let start = buffer.len();
    buffer.resize(start + bytes.len(), 0);
    let folded = &mut buffer[start..];
    let (mut place, mut before) = (0, if blank { b' ' } else { 0 });
    for byte in bytes {
        let here = FOLDED[usize::from(*byte)];
        folded[place] = here;
        place += usize::from((here != b' ') | (before != b' '));
        before = here;
    }
    buffer.truncate(start + place);
    before == b' '
}

/// Bytes with letters in lower case and every ASCII blank as one.
const FOLDED: [u8; 256] = folded_bytes();

const fn folded_bytes() -> [u8; 256] {
    let mut folded = [0; 256];
    let mut idx = 0;
    while idx < 256 {
        let byte = idx as u8;
        folded[idx] = if byte.wrapping_sub(9) < 5 { b' ' } else { byte.to_ascii_lowercase() };
        idx += 1;
    }
    folded
}

/// Version of the stored form.
const ENCODING: u8 = 1;
/// Bytes of the fields of fixed size of a stored signature.
const FIXED_BYTES: usize = 4 * 4 + 16 + 4;

/// Stored form of a row's signatures: a version byte, then per block its range, token and word counts, hash, number
/// of slots and slots; integers little-endian. Equal signatures have equal bytes.
pub fn encode(signatures: &[BlockSignature]) -> Vec<u8> {
    let mut bytes = vec![ENCODING];
    for signature in signatures {
        for value in [signature.range.start, signature.range.end, signature.token_count, signature.word_count]
        {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        bytes.extend_from_slice(&signature.exact);
        bytes.extend_from_slice(&(signature.slots.len() as u32).to_le_bytes());
        for slot in &signature.slots {
            bytes.extend_from_slice(&slot.to_le_bytes());
        }
    }
    bytes
}

/// Reads what [`encode`] wrote. Damaged bytes are an error, never a panic; at most the size of `bytes` is allocated.
pub fn decode(bytes: &[u8]) -> Result<Vec<BlockSignature>, DedupError> {
    if bytes.first() != Some(&ENCODING) {
        return Err(DedupError::Encoding { offset: 0 });
    }
    let mut signatures = Vec::new();
    let mut offset = 1;
    while offset < bytes.len() {
        let error = DedupError::Encoding { offset };
        let fixed = bytes.get(offset..offset + FIXED_BYTES).ok_or(error)?;
        let number = |idx: usize| {
            u32::from_le_bytes(
                fixed[idx..idx + 4].try_into().expect("invariant: four bytes of the fixed part"),
            )
        };
        let slot_bytes = (number(32) as usize).checked_mul(4).ok_or(error)?;
        offset += FIXED_BYTES;
        let end = offset.checked_add(slot_bytes).ok_or(error)?;
        let (slots, _) = bytes.get(offset..end).ok_or(error)?.as_chunks::<4>();
        let mut exact = [0; 16];
        exact.copy_from_slice(&fixed[16..32]);
        signatures.push(BlockSignature {
            range: number(0)..number(4),
            exact,
            token_count: number(8),
            word_count: number(12),
            slots: slots.iter().map(|slot| u32::from_le_bytes(*slot)).collect(),
        });
        offset = end;
    }
    Ok(signatures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_end_at_blank_lines_outside_fences() {
        let text = "\n\none\ntwo\n \t\n```x\na\n\nb\n```\nafter\n\n~~~\n```\n\nopen\n\n";
        let parts: Vec<&str> = blocks(text).into_iter().map(|range| &text[range]).collect();
        assert_eq!(parts, ["one\ntwo", "```x\na\n\nb\n```\nafter", "~~~\n```\n\nopen"]);
        assert_eq!(blocks(" \n\n"), Vec::<Range<usize>>::new());
        assert_eq!(blocks("a\r\n\r\nb"), [0..1, 5..6]);
    }

    #[test]
    fn exact_hash_folds_case_and_blanks_only() {
        let hash = |text: &str| exact_hash(text, &mut Vec::new());
        assert_eq!(hash("The  Cache\n holds É"), hash(" the cache holds é\t"));
        assert_eq!(hash("a\u{a0} \u{2003}b\u{a0}"), hash("A b"));
        assert_eq!(hash(" \u{a0} "), hash(""));
        assert_ne!(hash("the cache"), hash("thecache"));
        assert_ne!(hash("the cache."), hash("the cache"));
    }
}
