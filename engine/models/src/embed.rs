//! Hashed words and n-grams: which vector stands for a text without a trained model?
//!
//! ```text
//!  text ─ lower case, NFKC ─▶ words ─▶ stem (weight 1) and n-grams of ^word$ (0.3) ─▶ slot and sign by keyed hash
//!                                      └ times the idf of the stem, if a table was fitted ┘        └─ sum, L2
//! ```
//! The contributions of a word do not depend on the text around it, so they are computed once and remembered in a
//! [`Scratch`]: texts repeat words, and a remembered word costs a look-up and a few additions. The result does not
//! depend on what is remembered. It knows nothing of columns, stored vectors or other embedders.

mod idf;

pub use idf::IdfTable;

use crate::tokenize::word_ranges;
use rust_stemmers::{Algorithm, Stemmer};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::ops::Range;
use unicode_normalization::{UnicodeNormalization, is_nfkc};

/// Weight of an n-gram, where a stem has 1.
const NGRAM_WEIGHT: f32 = 0.3;
/// Words that a [`Scratch`] remembers before it forgets all of them: with it at most about 60 MB.
const CACHED_WORDS: usize = 1 << 16;
/// Features that a [`Scratch`] remembers before it forgets all of them: 32 MB.
const CACHED_FEATURES: usize = 1 << 22;
/// Longer words are computed each time, since they hardly repeat.
const CACHED_WORD_BYTES: usize = 64;

/// Parameters of the embedder. Two embedders with equal parameters and equal tables are the same space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashedNgramOptions {
    /// Length of the vector: 8 to 4096, a multiple of 8.
    pub dim: u32,
    /// Lengths of the character n-grams, each 1 to 32; may be empty.
    pub ngrams: Vec<u8>,
    /// Keys the hash.
    pub seed: u64,
    /// Scale to length 1; a zero vector stays zero.
    pub normalize: bool,
}

/// Why an embedder or a table could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmbedError {
    /// The length is not 8 to 4096 or no multiple of 8.
    Dim {
        /// What was asked for.
        found: u32,
    },
    /// An n-gram must have 1 to 32 characters.
    Ngram {
        /// What was asked for.
        found: u8,
    },
    /// Stored bytes are no idf table.
    Encoding {
        /// Byte at which reading stopped.
        offset: usize,
    },
}

impl fmt::Display for EmbedError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dim { found } => write!(out, "dim {found} found, expected a multiple of 8 from 8 to 4096"),
            Self::Ngram { found } => write!(out, "n-gram of {found} characters found, expected 1 to 32"),
            Self::Encoding { offset } => write!(out, "stored idf table ends or differs at byte {offset}"),
        }
    }
}

impl std::error::Error for EmbedError {}

/// An embedder of kind `hashed_ngram`.
pub struct HashedNgram {
    options: HashedNgramOptions,
    key: [u8; 32],
    idf: Option<IdfTable>,
    stemmer: Stemmer,
    identity: [u8; 32],
}

impl fmt::Debug for HashedNgram {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("HashedNgram").field("options", &self.options).finish_non_exhaustive()
    }
}

/// What one thread remembers between texts. Used with another embedder, it forgets everything first.
#[derive(Default)]
pub struct Scratch {
    /// Of the embedder whose words are remembered.
    identity: [u8; 32],
    /// Word to its features; the hasher has fixed keys, and the order of the map is never seen.
    words: HashMap<Box<str>, Range<u32>, BuildHasherDefault<DefaultHasher>>,
    features: Vec<Feature>,
    lower: String,
    ngram: String,
    starts: Vec<usize>,
}

/// A contribution: added to the slot.
#[derive(Clone, Copy)]
struct Feature {
    slot: u32,
    weight: f32,
}

impl HashedNgram {
    /// An embedder; with a table, the contributions of a word are multiplied by the idf of its stem.
    pub fn new(options: HashedNgramOptions, idf: Option<IdfTable>) -> Result<Self, EmbedError> {
        if !(8..=4096).contains(&options.dim) || !options.dim.is_multiple_of(8) {
            return Err(EmbedError::Dim { found: options.dim });
        }
        if let Some(found) = options.ngrams.iter().find(|len| !(1..=32).contains(*len)) {
            return Err(EmbedError::Ngram { found: *found });
        }
        let mut key = [0; 32];
        key[..8].copy_from_slice(&options.seed.to_le_bytes());
        let identity = identity(&options, idf.as_ref());
        Ok(Self { options, key, idf, stemmer: Stemmer::create(Algorithm::English), identity })
    }

    /// Hash of the parameters and the fitted table: embedders that agree in it give equal vectors.
    pub fn identity(&self) -> &[u8; 32] {
        &self.identity
    }

    /// Length of the vectors.
    pub fn dim(&self) -> usize {
        self.options.dim as usize
    }

    /// An empty memory for one thread.
    pub fn scratch(&self) -> Scratch {
        Scratch { identity: self.identity, ..Scratch::default() }
    }

    /// Writes the vector of `text` to `out`. Texts without words give zeros. Sums run in the order of the text, so
    /// equal texts have equal bits. Cost: about 3 microseconds per 100 remembered words and 256 slots; 2 microseconds
    /// per new word.
    ///
    /// # Panics
    /// If the length of `out` is not [`Self::dim`].
    pub fn embed(&self, text: &str, scratch: &mut Scratch, out: &mut [f32]) {
        assert_eq!(out.len(), self.dim(), "the vector has the embedder's length");
        out.fill(0.0);
        if scratch.identity != self.identity {
            *scratch = self.scratch();
        }
        let mut lower = std::mem::take(&mut scratch.lower);
        fold_text(text, &mut lower);
        for range in word_ranges(&lower) {
            let word = &lower[range];
            let known = scratch.words.get(word).cloned();
            let features = known.unwrap_or_else(|| self.learn_word(word, scratch));
            for feature in &scratch.features[features.start as usize..features.end as usize] {
                out[feature.slot as usize] += feature.weight;
            }
        }
        scratch.lower = lower;
        if self.options.normalize {
            normalize(out);
        }
    }

    /// Computes the features of a word and remembers them if it is short.
    #[cold]
    fn learn_word(&self, word: &str, scratch: &mut Scratch) -> Range<u32> {
        if scratch.words.len() >= CACHED_WORDS || scratch.features.len() >= CACHED_FEATURES {
            scratch.words.clear();
            scratch.features.clear();
        }
        let start = scratch.features.len();
        let stem = self.stemmer.stem(word);
        let idf = self.idf.as_ref().map_or(1.0, |table| table.idf(&stem) as f32);
        scratch.features.push(self.feature(&stem, idf));
        scratch.ngram.clear();
        scratch.ngram.push('^');
        scratch.ngram.push_str(word);
        scratch.ngram.push('$');
        scratch.starts.clear();
        scratch.starts.extend(scratch.ngram.char_indices().map(|(idx, _)| idx));
        scratch.starts.push(scratch.ngram.len());
        for len in &self.options.ngrams {
            for window in scratch.starts.windows(usize::from(*len) + 1) {
                let ngram = &scratch.ngram[window[0]..window[window.len() - 1]];
                scratch.features.push(self.feature(ngram, NGRAM_WEIGHT * idf));
            }
        }
        let features = start as u32..scratch.features.len() as u32;
        if word.len() <= CACHED_WORD_BYTES {
            scratch.words.insert(word.into(), features.clone());
        }
        features
    }

    /// Slot and signed weight of a feature: `h mod dim`, negative if bit 63 of `h` is set.
    fn feature(&self, text: &str, weight: f32) -> Feature {
        let hash = blake3::keyed_hash(&self.key, text.as_bytes());
        let (first, _) = hash.as_bytes().split_first_chunk::<8>().expect("invariant: a hash has 32 bytes");
        let value = u64::from_le_bytes(*first);
        let weight = if value >> 63 == 1 { -weight } else { weight };
        Feature { slot: (value % u64::from(self.options.dim)) as u32, weight }
    }
}

/// Hash of everything that a vector depends on.
fn identity(options: &HashedNgramOptions, idf: Option<&IdfTable>) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("promptc hashed_ngram embedder 1");
    hasher.update(&options.dim.to_le_bytes());
    hasher.update(&options.seed.to_le_bytes());
    hasher.update(&[u8::from(options.normalize), u8::from(idf.is_some())]);
    hasher.update(&(options.ngrams.len() as u64).to_le_bytes());
    hasher.update(&options.ngrams);
    if let Some(table) = idf {
        hasher.update(&table.to_bytes());
    }
    *hasher.finalize().as_bytes()
}

/// Lower case, then NFKC.
fn fold_text(text: &str, lower: &mut String) {
    lower.clear();
    if text.is_ascii() {
        lower.push_str(text);
        lower.make_ascii_lowercase();
        return;
    }
    let folded = text.to_lowercase();
    match is_nfkc(&folded) {
        true => *lower = folded,
        false => lower.extend(folded.nfkc()),
    }
}

/// Scales to length 1 unless all are zero; the sum of squares runs in order, in f64.
pub(crate) fn normalize(vector: &mut [f32]) {
    let square: f64 = vector.iter().map(|value| f64::from(*value) * f64::from(*value)).sum();
    if square > 0.0 {
        let scale = 1.0 / square.sqrt();
        for value in vector {
            *value = (f64::from(*value) * scale) as f32;
        }
    }
}

/// Distinct stems of a text, as the embedder sees them: ascending.
fn stems(text: &str, stemmer: &Stemmer) -> Vec<String> {
    let mut lower = String::new();
    fold_text(text, &mut lower);
    let mut words: Vec<&str> = word_ranges(&lower).map(|range| &lower[range]).collect();
    words.sort_unstable();
    words.dedup();
    let mut stems: Vec<String> =
        words.into_iter().map(|word| stemmer.stem(word)).map(Cow::into_owned).collect();
    stems.sort_unstable();
    stems.dedup();
    stems
}
