//! Shingles of words, and their minimum under each permutation.
//!
//! A word is hashed over its bytes in lower case; a shingle of `n` words is a polynomial of its word hashes, kept
//! rolling, so that a word costs the same whatever `n` is. See the parent module for why 8 hashes stand for 128
//! permutations.

use super::DedupError;
use crate::tokenize::{Class, class_at};

/// Largest shingle, in words; bounds the ring of word hashes.
const MAX_WORDS: usize = 32;
/// Number of independent hashes that the permutations are divided over.
const REPEATS: usize = 8;
/// Rows of a band; they come from different hashes.
const ROWS: usize = 4;
/// Bands that one bin of all hashes gives.
const BANDS_PER_BIN: usize = REPEATS / ROWS;
/// Most bins of a hash: 1,024 permutations.
const MAX_BINS: usize = 128;

// Keys: the fractional part of the golden ratio and odd constants without structure, as wyhash takes them. Fixed for
// ever, since stored signatures depend on them.
const WORD_KEY: u64 = 0xa076_1d64_78bd_642f;
const LEN_KEY: u64 = 0xe703_7ed1_a0b4_28db;
const SHINGLE_KEY: u64 = 0x8ebc_6af0_9c88_c6e3;
const SHINGLE_FACTOR: u64 = 0x5899_65cc_7537_4cc3;
const BASE: u64 = 0x9e37_79b9_7f4a_7c15;
const REPEAT_KEYS: [(u64, u64); REPEATS] = [
    (0x2d35_8dcc_aa6c_78a5, 0x8bb8_4b93_962e_acc9),
    (0x4b33_a62e_d433_d4a3, 0x4d5a_2da5_1de1_aa47),
    (0xd6e8_feb8_6659_fd93, 0xa5a3_564e_1d9f_2b3d),
    (0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb),
    (0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53),
    (0x9fb2_1c65_1e98_df25, 0xc2b2_ae3d_27d4_eb4f),
    (0x1656_67b1_9e37_79f9, 0x85eb_ca77_c2b2_ae63),
    (0x27d4_eb2f_1656_67c5, 0xd1b5_4a32_d192_ed03),
];

/// Words of a shingle and number of permutations, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShingleOptions {
    words: u32,
    permutations: u32,
}

impl ShingleOptions {
    /// `words` 1 to 32 (5 is usual); `permutations` a power of two from 32 to 1,024 (128 is usual).
    pub fn new(words: u32, permutations: u32) -> Result<Self, DedupError> {
        if !(1..=MAX_WORDS as u32).contains(&words) {
            return Err(DedupError::Shingle { found: words });
        }
        if !(32..=(REPEATS * MAX_BINS) as u32).contains(&permutations) || !permutations.is_power_of_two() {
            return Err(DedupError::Permutations { found: permutations });
        }
        Ok(Self { words, permutations })
    }

    /// Words of a shingle.
    pub fn words(&self) -> u32 {
        self.words
    }

    /// Number of permutations: slots of a signature.
    pub fn permutations(&self) -> u32 {
        self.permutations
    }
}

/// Hashes of the shingles of a text, ascending, each once: what two blocks are compared by exactly. Texts with fewer
/// words than a shingle have none. Cost: a sort of as many numbers as words.
pub fn shingles(text: &str, options: &ShingleOptions) -> Vec<u64> {
    let mut hashes = Vec::with_capacity(text.len() / 6);
    for_each_shingle(text, options.words as usize, |hash| hashes.push(hash));
    hashes.sort_unstable();
    hashes.dedup();
    hashes
}

/// Shared part of two ascending sets: `|a and b| / |a or b|`; 1 if both are empty. Cost: one merge.
pub fn jaccard(left: &[u64], right: &[u64]) -> f64 {
    let (mut left_idx, mut right_idx, mut shared) = (0, 0, 0usize);
    while left_idx < left.len() && right_idx < right.len() {
        let (one, other) = (left[left_idx], right[right_idx]);
        shared += usize::from(one == other);
        left_idx += usize::from(one <= other);
        right_idx += usize::from(other <= one);
    }
    match left.len() + right.len() - shared {
        0 => 1.0,
        union => shared as f64 / union as f64,
    }
}

/// Word count and minima of a text; no minima if it has fewer than `min_words` words.
pub(super) fn slots(text: &str, options: &ShingleOptions, min_words: u32) -> (u32, Box<[u32]>) {
    let words = options.words as usize;
    match options.permutations as usize / REPEATS {
        // The usual number has a size that the compiler knows: its inner loop has no bound checks or variable shifts.
        16 => minima::<16>(text, words, min_words, 4),
        bins => minima::<MAX_BINS>(text, words, min_words, bins.trailing_zeros()),
    }
}

/// Marks a bin that no shingle fell into; a real minimum of this value is taken for empty once in 2^32.
const EMPTY: u32 = u32::MAX;

/// Smallest value per hash and bin, for `2^bin_bits` of at most `BINS` bins.
#[inline(always)]
fn minima<const BINS: usize>(text: &str, words: usize, min_words: u32, bin_bits: u32) -> (u32, Box<[u32]>) {
    let mut table = [[EMPTY; BINS]; REPEATS];
    let word_count = for_each_shingle(text, words, |hash| {
        for (row, (mask, factor)) in table.iter_mut().zip(REPEAT_KEYS) {
            let value = fold(hash ^ mask, factor);
            let bin = (value >> (64 - bin_bits)) as usize & (BINS - 1);
            row[bin] = row[bin].min((value << bin_bits >> 32) as u32);
        }
    });
    let word_count = u32::try_from(word_count).unwrap_or(u32::MAX);
    if word_count < min_words {
        return (word_count, Box::default());
    }
    let mut slots = Vec::with_capacity(REPEATS << bin_bits);
    for row in &mut table {
        fill_empty(row, bin_bits);
        slots.extend_from_slice(&row[..1 << bin_bits]);
    }
    (word_count, slots.into_boxed_slice())
}

/// Gives an empty bin the minimum of the nearest occupied one by exclusive or: the minimum under its permutation. After the step
/// for a bit, a bin has the nearest within twice that distance, since `bin ^ (near + bit)` is `(bin ^ bit) ^ near`. Cost: a
/// step a bit, all bins together and without a branch.
#[inline(always)]
fn fill_empty<const BINS: usize>(row: &mut [u32; BINS], bin_bits: u32) {
    for bit in 0..bin_bits {
        let before = *row;
        for (bin, value) in row.iter_mut().enumerate() {
            let other = before[bin ^ (1 << bit & (BINS - 1))];
            *value = if *value == EMPTY { other } else { *value };
        }
    }
}

/// Number of bands of a signature.
pub(super) fn band_count(slots: &[u32]) -> usize {
    slots.len() / ROWS
}

/// Hash of a band: equal for two signatures whose four rows are equal.
pub(super) fn band(slots: &[u32], band: usize) -> u64 {
    let bins = slots.len() / REPEATS;
    let (bin, half) = (band / BANDS_PER_BIN, band % BANDS_PER_BIN);
    let row = |idx: usize| u64::from(slots[(half * ROWS + idx) * bins + bin]);
    fold(fold(row(0) | row(1) << 32, WORD_KEY) ^ row(2) ^ row(3) << 32, LEN_KEY)
}

/// Share of equal slots: an unbiased estimate of the Jaccard similarity, standard deviation about 0.04 with 128.
pub(super) fn estimate(left: &[u32], right: &[u32]) -> f64 {
    let equal = left.iter().zip(right).filter(|(one, other)| one == other).count();
    equal as f64 / left.len().max(1) as f64
}

/// Product folded to 64 bits: a keyed hash of `value` whose every bit depends on every bit.
#[inline]
fn fold(value: u64, key: u64) -> u64 {
    let product = u128::from(value) * u128::from(key);
    product as u64 ^ (product >> 64) as u64
}

/// Calls `emit` with the hash of every run of `words` words; the number of words of the text.
#[inline]
fn for_each_shingle(text: &str, words: usize, mut emit: impl FnMut(u64)) -> usize {
    let mut ring = [0u64; MAX_WORDS];
    let oldest_factor = (0..words).fold(1u64, |power, _| power.wrapping_mul(BASE));
    let (mut rolling, mut place, mut word_count) = (0u64, 0, 0usize);
    for_each_word(text, |hash| {
        rolling = rolling.wrapping_mul(BASE).wrapping_add(hash);
        rolling = rolling.wrapping_sub(ring[place].wrapping_mul(oldest_factor));
        ring[place] = hash;
        place = if place + 1 == words { 0 } else { place + 1 };
        word_count += 1;
        if word_count >= words {
            emit(fold(rolling ^ SHINGLE_KEY, SHINGLE_FACTOR));
        }
    });
    word_count
}

/// Hash of a word in the making: eight bytes at a time.
struct WordHash {
    state: u64,
    pending: u64,
    len: u32,
}

impl WordHash {
    #[inline]
    fn push(&mut self, byte: u8) {
        self.pending |= u64::from(byte) << (8 * (self.len & 7));
        self.len = self.len.wrapping_add(1);
        if self.len & 7 == 0 {
            self.state = fold(self.state ^ self.pending, WORD_KEY);
            self.pending = 0;
        }
    }

    #[inline]
    fn finish(self) -> u64 {
        fold(self.state ^ self.pending, LEN_KEY ^ u64::from(self.len))
    }
}

/// Among letters and digits this bit is the case of a letter and set in every digit: setting it folds case.
const CASE_BIT: u8 = 0x20;

/// A byte in each of the eight places.
const fn eight(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// The highest bit of each byte: of a character beyond ASCII, and where [`word_bytes`] has its answer.
const HIGH_BITS: u64 = eight(0x80);

/// Eight bytes of the text from `idx` on, the first the lowest; behind its end zeros, which are no word.
#[inline(always)]
fn eight_at(bytes: &[u8], idx: usize) -> u64 {
    match bytes[idx..].first_chunk::<8>() {
        Some(chunk) => u64::from_le_bytes(*chunk),
        None => bytes[idx..].iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)),
    }
}

/// The highest bit of every byte that is an ASCII letter or digit. No sum carries into the next byte: the highest bits are
/// taken out before (Warren, Hacker's Delight, section 6-1).
#[inline(always)]
fn word_bytes(value: u64) -> u64 {
    let low = value & !HIGH_BITS;
    let within =
        |value: u64, first: u8, last: u8| (value + eight(0x80 - first)) & !(value + eight(0x7f - last));
    let word = within(low | eight(CASE_BIT), b'a', b'z') | within(low, b'0', b'9');
    word & !value & HIGH_BITS
}

/// Calls `emit` with the hash of every word in lower case. Eight bytes are looked at together: a word's end is then no branch
/// that a processor has to guess, and a word of less than eight bytes no loop.
#[inline]
fn for_each_word(text: &str, mut emit: impl FnMut(u64)) {
    let bytes = text.as_bytes();
    let mut idx = 0;
    while idx < bytes.len() {
        let start = idx;
        let mut chunk = eight_at(bytes, idx);
        let mut word = word_bytes(chunk);
        let before = (word | chunk & HIGH_BITS).trailing_zeros() / 8;
        if before > 0 {
            idx += before as usize;
            continue;
        }
        let mut hash = WordHash { state: WORD_KEY, pending: 0, len: 0 };
        while word == HIGH_BITS {
            hash.state = fold(hash.state ^ (chunk | eight(CASE_BIT)), WORD_KEY);
            idx += 8;
            chunk = if idx < bytes.len() { eight_at(bytes, idx) } else { 0 };
            word = word_bytes(chunk);
        }
        let rest = (!word & HIGH_BITS).trailing_zeros() & !7;
        idx += rest as usize / 8;
        // One call of `emit`, so that it is compiled into this loop.
        let hash = if chunk >> rest & 0x80 == 0 {
            hash.pending = (chunk | eight(CASE_BIT)) & ((1 << rest) - 1);
            hash.len = (idx - start) as u32;
            idx += 1;
            Some(hash.finish())
        } else {
            let (end, hash) = wide_word(text, start);
            // Where the character at `idx` is no letter, the word ends before it and that character is passed over.
            idx = end.max(idx + class_at(text, idx).1);
            hash
        };
        if let Some(hash) = hash {
            emit(hash);
        }
    }
}

/// End and hash of the word that begins at `start`, character by character; no hash if there is no word.
#[inline(never)]
fn wide_word(text: &str, start: usize) -> (usize, Option<u64>) {
    let mut word = WordHash { state: WORD_KEY, pending: 0, len: 0 };
    let mut idx = start;
    while idx < text.len() {
        let (class, len) = class_at(text, idx);
        if class != Class::Alphanumeric {
            break;
        }
        for lower in text[idx..idx + len].chars().flat_map(char::to_lowercase) {
            lower.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| word.push(byte));
        }
        idx += len;
    }
    (idx, (word.len > 0).then(|| word.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> ShingleOptions {
        ShingleOptions::new(2, 128).expect("options within their limits")
    }

    #[test]
    fn shingles_are_runs_of_folded_words() {
        let all = shingles("One two, three-four", &options());
        assert_eq!(all.len(), 3);
        let pair = shingles("TWO three!", &options());
        assert!(all.binary_search(&pair[0]).is_ok());
        assert!(all.binary_search(&shingles("three two", &options())[0]).is_err(), "order counts");
        assert!(shingles("one", &options()).is_empty());
        assert_eq!(shingles("ÉTÉ x", &options()), shingles("été X", &options()));
        assert_ne!(shingles("a b c", &options()), shingles("ab c d", &options()));
        assert_eq!(shingles("a b a b a b", &options()).len(), 2);
    }

    #[test]
    fn long_words_differ_by_any_byte() {
        let word = "abcdefghijklmnopqrstuvwxyz";
        let options = ShingleOptions::new(1, 128).expect("options within their limits");
        for idx in 0..word.len() {
            let mut other = word.as_bytes().to_vec();
            other[idx] = b'0';
            let other = String::from_utf8(other).expect("ASCII stays ASCII");
            assert_ne!(shingles(word, &options), shingles(&other, &options), "byte {idx}");
            assert_ne!(shingles(word, &options), shingles(&word[..idx], &options), "length {idx}");
        }
    }

    #[test]
    fn words_hash_the_same_by_bytes_and_by_eights() {
        for text in [
            "a",
            "Abcdefg",
            "ABCDEFGH",
            "abcdefghI",
            "0123456789abcdefXYZ",
            "x-y z",
            "aé b",
            "é",
            "b—c d",
            "😀",
        ] {
            assert_words_hash_the_same(text);
        }
        // Every ASCII character at every place of eight bytes, alone and before a letter beyond ASCII.
        for code in 0..128u8 {
            for place in 0..18 {
                let (letters, character) = ("z".repeat(place), char::from(code));
                for rest in ["", "a", "bcdefghi jk", "é", "— l"] {
                    assert_words_hash_the_same(&format!("{letters}{character}{rest}"));
                }
            }
        }
    }

    /// Words that are found and hashed eight bytes at a time against those found and hashed character by character.
    fn assert_words_hash_the_same(text: &str) {
        let mut fast = Vec::new();
        for_each_word(text, |hash| fast.push(hash));
        let ranges = crate::tokenize::word_ranges(text);
        let slow: Vec<u64> = ranges.filter_map(|range| wide_word(text, range.start).1).collect();
        assert_eq!(fast, slow, "{text:?}");
    }

    #[test]
    fn limits_are_checked() {
        assert_eq!(ShingleOptions::new(0, 128), Err(DedupError::Shingle { found: 0 }));
        assert_eq!(ShingleOptions::new(33, 128), Err(DedupError::Shingle { found: 33 }));
        for found in [0, 16, 100, 2048] {
            assert_eq!(ShingleOptions::new(5, found), Err(DedupError::Permutations { found }));
        }
    }

    #[test]
    fn an_empty_bin_has_the_nearest_occupied_one() {
        for occupied in 0..1u32 << 16 {
            let row: [u32; 16] = std::array::from_fn(|bin| match occupied >> bin & 1 {
                1 => bin as u32,
                _ => EMPTY,
            });
            let mut filled = row;
            fill_empty(&mut filled, 4);
            let nearest =
                |bin: usize| (0..16).map(|distance| row[bin ^ distance]).find(|value| *value != EMPTY);
            assert_eq!(filled, std::array::from_fn(|bin| nearest(bin).unwrap_or(EMPTY)), "{occupied:b}");
        }
    }

    /// The mean of the estimate over many pairs of known similarity; a biased filling of empty bins shows here.
    #[test]
    fn the_estimate_is_unbiased_at_every_size() {
        let options = ShingleOptions::new(1, 128).expect("options within their limits");
        let text = |from: usize, to: usize, salt: usize| -> String {
            (from..to).map(|idx| format!("w{idx}s{salt} ")).collect()
        };
        for (size, shared) in [(8usize, 6usize), (20, 10), (100, 80), (2000, 1500)] {
            let runs = 400_000 / (size + 1000);
            let mut total = 0.0;
            for salt in 0..runs {
                let left = slots(&text(0, size, salt), &options, 1).1;
                let right = slots(&text(size - shared, 2 * size - shared, salt), &options, 1).1;
                total += estimate(&left, &right);
            }
            let truth = shared as f64 / (2 * size - shared) as f64;
            let mean = total / runs as f64;
            // Standard deviation of one estimate is below 0.08; five of the mean's.
            let bound = 5.0 * 0.08 / (runs as f64).sqrt();
            assert!((mean - truth).abs() < bound, "{size} words, {shared} shared: {mean} against {truth}");
        }
    }

    #[test]
    fn other_numbers_of_permutations_estimate_too() {
        let left: String = (0..300).map(|idx| format!("w{idx} ")).collect();
        let right: String = (100..400).map(|idx| format!("w{idx} ")).collect();
        for permutations in [32, 64, 256, 1024] {
            let options = ShingleOptions::new(1, permutations).expect("options within their limits");
            let left = slots(&left, &options, 1).1;
            let right = slots(&right, &options, 1).1;
            assert_eq!(left.len(), permutations as usize);
            let bound = 5.0 * (0.25 / f64::from(permutations)).sqrt();
            assert!((estimate(&left, &right) - 0.5).abs() < bound, "{permutations}");
        }
    }
}
