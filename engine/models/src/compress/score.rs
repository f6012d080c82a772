//! Query scores of passages, sentences and clauses, without a model.
//!
//! One pass over the words of the smallest units counts, per query word, how often it occurs and how closely any
//! word resembles it; larger units are sums and maxima of those rows. Everything after that is arithmetic over
//! `units x query words` in fixed order, so scores are the same on every machine and for every batch.
//!
//! Constants belong to the `lexical` scorer's version; they are not options.

use std::collections::HashMap;

use crate::words;

/// BM25 of sentences and clauses: saturation of repeated words.
pub const SENTENCE_K1: f64 = 1.2;
/// BM25 of sentences and clauses: weight of the length.
pub const SENTENCE_B: f64 = 0.6;
/// BM25 of passages: saturation.
pub const PASSAGE_K1: f64 = 0.9;
/// BM25 of passages of free lengths: weight of the length. Passages of near-equal length have weight 0.
pub const PASSAGE_B_FREE: f64 = 0.4;
/// Passages are of near-equal length if none has more than this many times the mean.
pub const NEAR_EQUAL_LENGTH: f64 = 2.0;
/// Share of a neighbour's score that a sentence inherits.
pub const SENTENCE_SMOOTHING: f64 = 0.35;
/// Share of a neighbour's score that a clause inherits.
pub const CLAUSE_SMOOTHING: f64 = 0.6;
/// Weight of a clause's own words beside its sentence's score.
pub const CLAUSE_WEIGHT: f64 = 0.35;
/// Weights of BM25 and of word resemblance in the lexical score.
pub const LEXICAL_WEIGHTS: (f64, f64) = (0.6, 0.4);
/// Weight of the passage in a sentence's score.
pub const PASSAGE_WEIGHT: f64 = 1.2;
/// Constant of reciprocal rank fusion.
pub const FUSION_RANK: f64 = 60.0;
/// Title words count this often in a passage.
pub const TITLE_WEIGHT: u32 = 2;

/// Bits of the filter over the query's grams.
const FILTER_BITS: usize = 4096;

/// Word statistics of a corpus, for scores that should not depend on the few texts of one row.
///
/// Words come case-folded and stemmed (see [`crate::words`]), tokens case-folded.
pub trait CorpusStats: Send + Sync {
    /// Number of documents (passages, sentences: whatever was counted).
    fn document_count(&self) -> u64;
    /// Number of documents with this word.
    fn document_frequency(&self, word: &str) -> u64;
    /// Number of tokens in the corpus, repeats included.
    fn token_count(&self) -> u64;
    /// How often this token occurs in the corpus.
    fn token_frequency(&self, token: &str) -> u64;
}

/// Statistics counted from texts at hand: each text given to [`TextStats::add`] is one document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TextStats {
    documents: u64,
    frequencies: HashMap<String, u64>,
    tokens: u64,
    token_frequencies: HashMap<String, u64>,
}

impl TextStats {
    /// Statistics of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts `text` as one document. Cost: one pass and a map entry per distinct word.
    pub fn add(&mut self, text: &str) {
        self.documents += 1;
        for word in words::distinct_words(text) {
            *self.frequencies.entry(word).or_default() += 1;
        }
    }

    /// Counts the tokens of `text` under `tokenizer`.
    pub fn add_tokens(&mut self, text: &str, tokenizer: &dyn crate::tokenize::Tokenizer) {
        let mut boundaries = Vec::new();
        tokenizer.boundaries(text, &mut boundaries);
        for (start, end) in boundaries {
            self.tokens += 1;
            *self.token_frequencies.entry(text[start as usize..end as usize].to_lowercase()).or_default() +=
                1;
        }
    }
}

impl CorpusStats for TextStats {
    fn document_count(&self) -> u64 {
        self.documents
    }
    fn document_frequency(&self, word: &str) -> u64 {
        self.frequencies.get(word).copied().unwrap_or(0)
    }
    fn token_count(&self) -> u64 {
        self.tokens
    }
    fn token_frequency(&self, token: &str) -> u64 {
        self.token_frequencies.get(token).copied().unwrap_or(0)
    }
}

/// The scoring words of a query, with their grams and a filter that tells most words apart at once.
pub struct QueryWords {
    words: Vec<String>,
    grams: Vec<Vec<u64>>,
    filter: Vec<u64>,
}

impl QueryWords {
    /// The distinct scoring words of `query`.
    pub fn new(query: &str) -> Self {
        let words = words::distinct_words(query);
        let mut filter = vec![0_u64; FILTER_BITS / 64];
        let grams: Vec<Vec<u64>> = words
            .iter()
            .map(|word| {
                let mut grams = Vec::new();
                words::grams(word, &mut grams);
                for &gram in &grams {
                    let bit = filter_bit(gram);
                    filter[bit / 64] |= 1 << (bit % 64);
                }
                grams
            })
            .collect();
        Self { words, grams, filter }
    }

    /// The words, distinct, in order of first appearance.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// False if no word of the query has a gram in common with `word`; true is a maybe.
    fn may_share_gram(&self, word: &str) -> bool {
        let mut gram = u64::from(b'^');
        let mut count = 1;
        let mut step = |code: u64| {
            gram = gram << 16 | code;
            count += 1;
            count >= 4 && self.has_bit(gram)
        };
        let inside = if word.is_ascii() {
            word.bytes().any(|byte| step(u64::from(byte)))
        } else {
            word.chars().any(|character| {
                let code = u64::from(u32::from(character));
                step((code ^ code >> 16) & 0xffff)
            })
        };
        // A string of fewer than four characters is one gram.
        inside || step(u64::from(b'$')) || count < 4 && self.has_bit(gram)
    }

    fn has_bit(&self, gram: u64) -> bool {
        let bit = filter_bit(gram);
        self.filter[bit / 64] >> (bit % 64) & 1 == 1
    }
}

fn filter_bit(gram: u64) -> usize {
    (gram.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52) as usize % FILTER_BITS
}

/// Per unit: its number of scoring words, and per query word its frequency and the closest resemblance.
pub struct Counts {
    width: usize,
    lengths: Vec<u32>,
    frequencies: Vec<u32>,
    resemblances: Vec<f64>,
    scratch: Vec<u64>,
}

impl Counts {
    /// No units, for a query of `width` words.
    pub fn new(width: usize) -> Self {
        Self {
            width,
            lengths: Vec::new(),
            frequencies: Vec::new(),
            resemblances: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Number of units.
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// True without units.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// Adds a unit without words.
    pub fn push_empty(&mut self) {
        self.lengths.push(0);
        self.frequencies.resize(self.frequencies.len() + self.width, 0);
        self.resemblances.resize(self.resemblances.len() + self.width, 0.0);
    }

    /// Adds a unit with the words of `text`. Cost: one pass; resemblance is computed only for words that share a
    /// gram with the query.
    pub fn push_text(&mut self, query: &QueryWords, text: &str) {
        self.push_empty();
        self.extend_text(query, text, 1);
    }

    /// Adds the words of `text` to the last unit, `weight` times.
    pub fn extend_text(&mut self, query: &QueryWords, text: &str, weight: u32) {
        let Some(length) = self.lengths.last_mut() else { return };
        let row = self.frequencies.len() - self.width;
        let frequencies = &mut self.frequencies[row..];
        let resemblances = &mut self.resemblances[row..];
        let scratch = &mut self.scratch;
        words::for_each_word(text, |word| {
            *length += weight;
            if !query.may_share_gram(word) {
                return;
            }
            words::grams(word, scratch);
            for (idx, (query_word, query_grams)) in query.words.iter().zip(&query.grams).enumerate() {
                if query_word == word {
                    frequencies[idx] += weight;
                    resemblances[idx] = 1.0;
                } else if resemblances[idx] < 1.0 {
                    resemblances[idx] = resemblances[idx].max(words::jaccard(query_grams, scratch));
                }
            }
        });
    }

    /// Adds units `range` of `parts` to the last unit: lengths and frequencies add up, resemblances take the larger.
    pub fn extend_parts(&mut self, parts: &Counts, range: std::ops::Range<usize>) {
        let Some(length) = self.lengths.last_mut() else { return };
        let row = self.frequencies.len() - self.width;
        for part in range {
            *length += parts.lengths[part];
            for idx in 0..self.width {
                self.frequencies[row + idx] += parts.frequencies[part * self.width + idx];
                let resemblance = parts.resemblances[part * self.width + idx];
                self.resemblances[row + idx] = self.resemblances[row + idx].max(resemblance);
            }
        }
    }

    /// Number of scoring words of a unit.
    pub fn length(&self, unit: usize) -> u32 {
        self.lengths[unit]
    }

    /// Frequencies of the query's words in a unit.
    pub fn frequencies(&self, unit: usize) -> &[u32] {
        &self.frequencies[unit * self.width..(unit + 1) * self.width]
    }

    /// Closest resemblance of any word of a unit to each of the query's words, 0 to 1.
    pub fn resemblances(&self, unit: usize) -> &[f64] {
        &self.resemblances[unit * self.width..(unit + 1) * self.width]
    }

    /// Inverse document frequency of each query word: from the corpus if given, else over these units.
    pub fn idf(&self, query: &QueryWords, stats: Option<&dyn CorpusStats>) -> Vec<f64> {
        let count =
            |idx: usize| (0..self.len()).filter(|unit| self.frequencies(*unit)[idx] > 0).count() as u64;
        match stats {
            Some(stats) => {
                let documents = stats.document_count();
                query.words.iter().map(|word| words::idf(documents, stats.document_frequency(word))).collect()
            }
            None => (0..self.width).map(|idx| words::idf(self.len() as u64, count(idx))).collect(),
        }
    }

    /// BM25 of every unit against the query.
    pub fn bm25(&self, idf: &[f64], k1: f64, b: f64) -> Vec<f64> {
        let total: f64 = self.lengths.iter().map(|&length| f64::from(length)).sum();
        let mean = if self.is_empty() { 0.0 } else { total / self.len() as f64 };
        (0..self.len())
            .map(|unit| {
                let relative = if mean > 0.0 { f64::from(self.lengths[unit]) / mean } else { 0.0 };
                let pairs = self.frequencies(unit).iter().zip(idf).filter(|(frequency, _)| **frequency > 0);
                pairs
                    .map(|(&frequency, &idf)| words::bm25_term(idf, f64::from(frequency), k1, b, relative))
                    .sum()
            })
            .collect()
    }

    /// `sum idf · resemblance / sum idf` of every unit; 0 for a query without words.
    pub fn coverage(&self, idf: &[f64]) -> Vec<f64> {
        let total: f64 = idf.iter().sum();
        (0..self.len())
            .map(|unit| {
                let sum: f64 =
                    self.resemblances(unit).iter().zip(idf).map(|(resemblance, idf)| idf * resemblance).sum();
                if total > 0.0 { sum / total } else { 0.0 }
            })
            .collect()
    }

    /// Length weight of passages: 0 if their lengths are near-equal, else [`PASSAGE_B_FREE`].
    pub fn passage_b(&self) -> f64 {
        let total: f64 = self.lengths.iter().map(|&length| f64::from(length)).sum();
        let longest = self.lengths.iter().copied().max().map_or(0.0, f64::from);
        if longest * self.len() as f64 <= NEAR_EQUAL_LENGTH * total { 0.0 } else { PASSAGE_B_FREE }
    }
}

/// `x_i + weight · max(x_{i-1}, x_{i+1})`, with neighbours only inside the same group (`groups` is sorted).
pub fn smooth(values: &[f64], groups: &[u32], weight: f64) -> Vec<f64> {
    let neighbour = |idx: usize, other: Option<usize>| match other {
        Some(other) if other < values.len() && groups[other] == groups[idx] => values[other],
        _ => 0.0,
    };
    (0..values.len())
        .map(|idx| {
            values[idx] + weight * neighbour(idx, idx.checked_sub(1)).max(neighbour(idx, Some(idx + 1)))
        })
        .collect()
}

/// Values divided by the largest; all 0 if the largest is not above 0.
pub fn norm(values: &[f64]) -> Vec<f64> {
    let largest = values.iter().copied().fold(0.0, f64::max);
    values.iter().map(|value| if largest > 0.0 { value / largest } else { 0.0 }).collect()
}

/// Lexical score of sentences: smoothed BM25 and smoothed resemblance, each normalised.
pub fn lexical(bm25: &[f64], coverage: &[f64], texts: &[u32]) -> Vec<f64> {
    let bm25 = norm(&smooth(bm25, texts, SENTENCE_SMOOTHING));
    let coverage = norm(&smooth(coverage, texts, SENTENCE_SMOOTHING));
    bm25.iter()
        .zip(&coverage)
        .map(|(bm25, coverage)| LEXICAL_WEIGHTS.0 * bm25 + LEXICAL_WEIGHTS.1 * coverage)
        .collect()
}

/// Reciprocal rank fusion of two scores of the same passages: `sum 1 / (60 + rank)`, ranks from 1, ties by position.
pub fn fuse(left: &[f64], right: &[f64]) -> Vec<f64> {
    let (left, right) = (ranks(left), ranks(right));
    left.iter()
        .zip(&right)
        .map(|(&left, &right)| 1.0 / (FUSION_RANK + left as f64) + 1.0 / (FUSION_RANK + right as f64))
        .collect()
}

/// The rank of every value, 1 for the largest, ties by position.
pub fn ranks(values: &[f64]) -> Vec<usize> {
    let mut ranks = vec![0; values.len()];
    for (rank, idx) in order(values).into_iter().enumerate() {
        ranks[idx as usize] = rank + 1;
    }
    ranks
}

/// Positions by falling score, ties by position.
pub fn order(scores: &[f64]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..scores.len() as u32).collect();
    order.sort_by(|&left, &right| {
        scores[right as usize].total_cmp(&scores[left as usize]).then(left.cmp(&right))
    });
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smoothing_stays_inside_a_text() {
        let smoothed = smooth(&[1.0, 0.0, 4.0, 2.0], &[0, 0, 1, 1], 0.5);
        assert_eq!(smoothed, [1.0, 0.5, 5.0, 4.0]);
    }

    #[test]
    fn ranks_and_fusion_break_ties_by_position() {
        assert_eq!(ranks(&[1.0, 3.0, 1.0]), [2, 1, 3]);
        let fused = fuse(&[1.0, 3.0], &[3.0, 1.0]);
        assert!((fused[0] - fused[1]).abs() < 1e-15);
    }

    #[test]
    fn parts_add_up_to_the_whole() {
        let query = QueryWords::new("normans in Normandy");
        let mut parts = Counts::new(query.words().len());
        parts.push_text(&query, "The Normans lived");
        parts.push_text(&query, "in Normandy, Normandy!");
        let mut whole = Counts::new(query.words().len());
        whole.push_text(&query, "The Normans lived in Normandy, Normandy!");
        let mut sum = Counts::new(query.words().len());
        sum.push_empty();
        sum.extend_parts(&parts, 0..2);
        assert_eq!(whole.frequencies(0), [1, 2]);
        assert_eq!(sum.frequencies(0), whole.frequencies(0));
        assert_eq!(sum.resemblances(0), whole.resemblances(0));
        assert_eq!(sum.length(0), whole.length(0));
    }

    #[test]
    fn empty_values_are_harmless() {
        assert!(norm(&[]).is_empty() && smooth(&[], &[], 1.0).is_empty());
        assert_eq!(norm(&[0.0, 0.0]), [0.0, 0.0]);
        let counts = Counts::new(0);
        assert!(counts.bm25(&[], 1.0, 1.0).is_empty());
        assert!(counts.passage_b().abs() < 1e-15);
    }
}
