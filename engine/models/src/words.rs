//! Scoring words: case-folded, without stop words, stripped of one suffix; their 4-grams; BM25.
//!
//! A word is a run of letters and digits; Han, Hiragana and Katakana characters are words of their own, since those
//! scripts put no blanks between words. The list of stop words and the suffixes are part of the version of the
//! operators that use them: changing one changes results.

use std::sync::LazyLock;

/// Words that say nothing about a text's subject (the language reference's list).
const STOP_WORDS: &str = "a about after also an and are as at be been before being between but by can could did do \
does down during for from had has have he her his how if in into is it its many may more most much no not of on only \
or other out over she some such than that the their then there these they this those to under up was were what when \
where which who whom whose why will with would";

/// Letters that a stem keeps at least.
const STEM_LETTERS_MIN: usize = 3;

/// Slots of the stop word table; a power of two, four times the number of words.
const STOP_SLOTS: usize = 512;

/// Open-addressing table of stop words, each packed into one integer; 0 is an empty slot.
static STOP_TABLE: LazyLock<[u64; STOP_SLOTS]> = LazyLock::new(|| {
    let mut table = [0_u64; STOP_SLOTS];
    for word in STOP_WORDS.split(' ') {
        let key = pack(word.as_bytes());
        let mut slot = stop_slot(key);
        while table[slot] != 0 {
            slot = (slot + 1) % STOP_SLOTS;
        }
        table[slot] = key;
    }
    table
});

/// Calls `each` with every scoring word of `text`, in order, repeats included. Cost: one pass; words of lower-case
/// ASCII letters are not copied.
pub fn for_each_word(text: &str, mut each: impl FnMut(&str)) {
    let table = &*STOP_TABLE;
    let mut buffer = String::with_capacity(32);
    let bytes = text.as_bytes();
    let mut idx = 0;
    while idx < bytes.len() {
        let start = idx;
        let mut class = CLASSES[bytes[idx] as usize];
        if class == Class::Other {
            idx += 1;
            continue;
        }
        let mut upper = false;
        while class == Class::Lower || class == Class::Upper {
            upper |= class == Class::Upper;
            idx += 1;
            class = bytes.get(idx).map_or(Class::Other, |&byte| CLASSES[byte as usize]);
        }
        if class == Class::Wide {
            idx = wide_words(text, start, table, &mut buffer, &mut each);
        } else if upper {
            buffer.push_str(&text[start..idx]);
            buffer.make_ascii_lowercase();
            flush(table, &mut buffer, &mut each);
        } else if !is_stop(table, &text[start..idx]) {
            each(stem(&text[start..idx]));
        }
    }
}

/// What a byte is to the search for words.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Other,
    Lower,
    Upper,
    /// Part of a character beyond ASCII.
    Wide,
}

/// The class of every byte; digits are like lower-case letters.
static CLASSES: [Class; 256] = {
    let mut classes = [Class::Other; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'a'..=b'z' | b'0'..=b'9' => Class::Lower,
            b'A'..=b'Z' => Class::Upper,
            128.. => Class::Wide,
            _ => Class::Other,
        };
        byte += 1;
    }
    classes
};

/// The words from `start` up to the next ASCII byte that is no letter or digit; returns its position.
fn wide_words(
    text: &str,
    start: usize,
    table: &[u64; STOP_SLOTS],
    buffer: &mut String,
    each: &mut impl FnMut(&str),
) -> usize {
    for (offset, character) in text[start..].char_indices() {
        if character.is_ascii() && !character.is_ascii_alphanumeric() {
            flush(table, buffer, each);
            return start + offset;
        }
        if !character.is_alphanumeric() {
            // A combining mark belongs to the word that it follows.
            if !is_mark(character) {
                flush(table, buffer, each);
            }
        } else if is_unspaced(character) {
            flush(table, buffer, each);
            buffer.push(character);
            flush(table, buffer, each);
        } else {
            buffer.extend(character.to_lowercase());
        }
    }
    flush(table, buffer, each);
    text.len()
}

/// The scoring words of `text`, in order, repeats included.
pub fn words(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for_each_word(text, |word| found.push(word.to_owned()));
    found
}

/// The distinct scoring words of `text`, in order of first appearance.
pub fn distinct_words(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for_each_word(text, |word| {
        if seen.insert(word.to_owned()) {
            found.push(word.to_owned());
        }
    });
    found
}

/// True for a case-folded word of the stop list.
pub fn is_stop_word(word: &str) -> bool {
    is_stop(&STOP_TABLE, word)
}

/// The stem of a case-folded word: without the first of `ations ation ingly ings ing edly ies ied ed es ly s` that
/// leaves at least three letters.
pub fn stem(word: &str) -> &str {
    // Suffixes by their last letter, in the order of the whole list.
    let suffixes: &[&str] = match word.as_bytes().last() {
        Some(b's') => &["ations", "ings", "ies", "es", "s"],
        Some(b'n') => &["ation"],
        Some(b'y') => &["ingly", "edly", "ly"],
        Some(b'g') => &["ing"],
        Some(b'd') => &["ied", "ed"],
        _ => return word,
    };
    let rests = suffixes.iter().filter_map(|suffix| word.strip_suffix(suffix));
    let mut long = rests.filter(|rest| {
        rest.len() >= STEM_LETTERS_MIN && (rest.is_ascii() || rest.chars().count() >= STEM_LETTERS_MIN)
    });
    long.next().unwrap_or(word)
}

/// Fills `grams` with the sorted distinct 4-grams of `^word$`; a shorter string is one gram.
///
/// A gram is four characters of 16 bits each; characters above that range are folded into it.
pub fn grams(word: &str, grams: &mut Vec<u64>) {
    grams.clear();
    let mut gram = u64::from(b'^');
    let mut count = 1;
    for character in word.chars().chain(std::iter::once('$')) {
        let code = u64::from(u32::from(character));
        gram = gram << 16 | (code ^ code >> 16) & 0xffff;
        count += 1;
        if count >= 4 {
            grams.push(gram);
        }
    }
    if grams.is_empty() {
        grams.push(gram);
    }
    grams.sort_unstable();
    grams.dedup();
}

/// Jaccard similarity of two sorted lists of distinct grams; 0 if both are empty.
pub fn jaccard(left: &[u64], right: &[u64]) -> f64 {
    let (mut left_idx, mut right_idx, mut shared) = (0, 0, 0_usize);
    while left_idx < left.len() && right_idx < right.len() {
        match left[left_idx].cmp(&right[right_idx]) {
            std::cmp::Ordering::Less => left_idx += 1,
            std::cmp::Ordering::Greater => right_idx += 1,
            std::cmp::Ordering::Equal => {
                shared += 1;
                left_idx += 1;
                right_idx += 1;
            }
        }
    }
    let union = left.len() + right.len() - shared;
    if union == 0 { 0.0 } else { shared as f64 / union as f64 }
}

/// Inverse document frequency of BM25: `ln(1 + (n - df + 0.5) / (df + 0.5))`; `df` above `n` counts as `n`.
pub fn idf(documents: u64, document_frequency: u64) -> f64 {
    let frequency = document_frequency.min(documents) as f64;
    let ratio = (documents as f64 - frequency + 0.5) / (frequency + 0.5);
    (1.0 + ratio).ln()
}

/// One word's share of BM25: `idf · tf · (k1 + 1) / (tf + k1 · (1 - b + b · length / mean_length))`.
pub fn bm25_term(idf: f64, frequency: f64, k1: f64, b: f64, relative_length: f64) -> f64 {
    idf * frequency * (k1 + 1.0) / (frequency + k1 * (1.0 - b + b * relative_length))
}

/// True for characters of scripts without blanks between words.
pub(crate) fn is_unspaced(character: char) -> bool {
    matches!(u32::from(character), 0x3040..=0x30ff | 0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xf900..=0xfaff | 0x20000..=0x3ffff)
}

/// True for the combining marks that occur inside words of common scripts.
fn is_mark(character: char) -> bool {
    matches!(u32::from(character), 0x0300..=0x036f | 0x1ab0..=0x1aff | 0x1dc0..=0x1dff | 0x20d0..=0x20ff | 0xfe20..=0xfe2f)
}

fn flush(table: &[u64; STOP_SLOTS], buffer: &mut String, each: &mut impl FnMut(&str)) {
    if buffer.is_empty() {
        return;
    }
    if !is_stop(table, buffer) {
        each(stem(buffer));
    }
    buffer.clear();
}

fn is_stop(table: &[u64; STOP_SLOTS], word: &str) -> bool {
    if word.len() > 8 {
        return false;
    }
    let key = pack(word.as_bytes());
    let mut slot = stop_slot(key);
    while table[slot] != 0 {
        if table[slot] == key {
            return true;
        }
        slot = (slot + 1) % STOP_SLOTS;
    }
    false
}

fn pack(word: &[u8]) -> u64 {
    word.iter().take(8).fold(0, |key, &byte| key << 8 | u64::from(byte))
}

fn stop_slot(key: u64) -> usize {
    (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 55) as usize % STOP_SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_folded_stripped_and_filtered() {
        let cases = [
            ("ingly rations sorting sadly boringly", vec!["ing", "ration", "sort", "sad", "bor"]),
            ("The Nations of Normandy", vec!["nation", "normandy"]),
            ("explorations flying flies cried tried", vec!["explor", "fly", "fli", "cri", "tri"]),
            ("is as the", vec![]),
            ("x86_64 don't", vec!["x86", "64", "don", "t"]),
            ("Röntgen's", vec!["röntgen", "s"]),
            ("東京 tower", vec!["東", "京", "tower"]),
            ("used uses us", vec!["used", "use", "us"]),
        ];
        for (text, expected) in cases {
            // "fli": `ies` leaves two letters, so the next suffix that fits (`es`) goes.
            assert_eq!(words(text), expected, "{text}");
        }
    }

    #[test]
    fn every_stop_word_is_found_and_no_other() {
        for word in STOP_WORDS.split(' ') {
            assert!(is_stop_word(word), "{word}");
        }
        for word in ["cat", "", "wouldst", "a\0", "notwithstanding"] {
            assert!(!is_stop_word(word), "{word}");
        }
    }

    #[test]
    fn grams_of_short_and_long_words() {
        let mut left = Vec::new();
        let mut right = Vec::new();
        grams("5", &mut left);
        assert_eq!(left.len(), 1);
        grams("cat", &mut left);
        assert_eq!(left.len(), 2);
        grams("cat", &mut right);
        assert!((jaccard(&left, &right) - 1.0).abs() < 1e-12);
        grams("normandy", &mut left);
        grams("norman", &mut right);
        // ^nor norm orma rman | mand andy ndy$ against man$
        assert!((jaccard(&left, &right) - 4.0 / 8.0).abs() < 1e-12);
    }
}
