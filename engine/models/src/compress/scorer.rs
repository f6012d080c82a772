//! The linear scorer: 24 features of a sentence and its passage, weights, and their fit.

use super::score::{Counts, QueryWords};

/// Number of features.
pub const FEATURE_COUNT: usize = 24;

/// How sentences are scored against a query.
#[derive(Debug, Clone, PartialEq)]
pub enum Scorer {
    /// Words and word resemblance, no training.
    Lexical,
    /// Trained weights over the `standard24` features.
    Linear([f64; FEATURE_COUNT]),
}

/// What the features of a row's sentences are computed from.
pub struct Context<'a> {
    /// The query.
    pub query: &'a str,
    /// Its words.
    pub query_words: &'a QueryWords,
    /// Inverse document frequency of each of them.
    pub idf: &'a [f64],
    /// BM25 per sentence.
    pub bm25: &'a [f64],
    /// Resemblance per sentence.
    pub coverage: &'a [f64],
    /// Word counts per sentence.
    pub counts: &'a Counts,
    /// Normalised score per passage.
    pub passages: &'a [f64],
    /// Passage of each sentence.
    pub sentence_passages: &'a [u32],
    /// Text of each sentence.
    pub sentence_texts: &'a [u32],
    /// Title per passage.
    pub titles: &'a [&'a str],
}
/// Features.
pub fn features(_context: &Context<'_>, sentences: &[(&str, u32)]) -> Vec<[f64; FEATURE_COUNT]> {
    vec![[0.0; FEATURE_COUNT]; sentences.len()]
}
/// Scores.
pub fn scores(features: &[[f64; FEATURE_COUNT]], weights: &[f64; FEATURE_COUNT]) -> Vec<f64> {
    features.iter().map(|row| row.iter().zip(weights).map(|(feature, weight)| feature * weight).sum()).collect()
}
/// Values moved to 0..2.
pub fn min_max(values: &[f64]) -> Vec<f64> {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    values.iter().map(|value| if high > low { 2.0 * (value - low) / (high - low) } else { 0.0 }).collect()
}
