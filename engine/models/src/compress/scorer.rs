//! The linear scorer: 24 features of a sentence and its passage (`standard24`), weights, and their fit.
//!
//! Fit: softmax over the sentences of one example, target uniform over its gold sentences, gradient
//! `target - probability`, learning rate `rate / (1 + epoch)`, order shuffled by the seed, weights from zero. All in
//! `f64` and fixed order, so that the same examples and seed give the same weights.

use super::score::{self, Counts, QueryWords};
use crate::{tokenize, words};

/// Number of features.
pub const FEATURE_COUNT: usize = 24;

/// Version of the feature set; weights of another version must not be used.
pub const FEATURE_SET: &str = "standard24/1";

/// Starts of questions that ask for a number or a date.
const NUMBER_QUESTIONS: [&str; 9] = [
    "when",
    "what year",
    "how many",
    "how much",
    "how long",
    "how old",
    "what percent",
    "what number",
    "what date",
];

/// Parts of questions that ask for a name.
const NAME_QUESTIONS: [&str; 9] =
    ["who", "whose", "where", "which", "what country", "what city", "what name", "name of", "called"];

/// How sentences are scored against a query.
#[derive(Debug, Clone, PartialEq)]
pub enum Scorer {
    /// Words and word resemblance, no training.
    Lexical,
    /// Trained weights over the `standard24` features.
    Linear([f64; FEATURE_COUNT]),
}

/// What the features of a row's sentences are computed from.
pub(crate) struct Context<'a> {
    pub(crate) query: &'a str,
    pub(crate) query_words: &'a QueryWords,
    pub(crate) idf: &'a [f64],
    pub(crate) counts: &'a Counts,
    /// Text and tokens of each sentence.
    pub(crate) sentences: &'a [(&'a str, u32)],
    pub(crate) sentence_texts: &'a [u32],
    pub(crate) sentence_passages: &'a [u32],
    /// Normalised score per passage.
    pub(crate) passages: &'a [f64],
    /// Title per passage.
    pub(crate) titles: &'a [&'a str],
}

/// One row of sentences for training, with the positions of its gold sentences (at least one).
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// Features per sentence.
    pub features: Vec<[f64; FEATURE_COUNT]>,
    /// Positions of the gold sentences.
    pub gold: Vec<usize>,
}

/// Settings of a fit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fit {
    /// Passes over the examples.
    pub epochs: u32,
    /// Examples per step; their gradients are averaged.
    pub batch: u32,
    /// Learning rate of the first epoch.
    pub rate: f64,
    /// Seed of the order.
    pub seed: u64,
}

/// The features of every sentence of a row, in the order of the language reference: eighteen of the sentence, six of
/// its passage.
pub(crate) fn features(context: &Context<'_>) -> Vec<[f64; FEATURE_COUNT]> {
    let bm25 = context.counts.bm25(context.idf, score::SENTENCE_K1, score::SENTENCE_B);
    let coverage = context.counts.coverage(context.idf);
    let normed = score::norm(&bm25);
    let best = normed.iter().copied().fold(0.0, f64::max);
    let idf_total: f64 = context.idf.iter().sum();
    let share = |present: &dyn Fn(usize) -> bool| {
        let sum: f64 =
            context.idf.iter().enumerate().filter(|(idx, _)| present(*idx)).map(|(_, idf)| idf).sum();
        if idf_total > 0.0 { sum / idf_total } else { 0.0 }
    };
    let title_shares: Vec<f64> = context
        .titles
        .iter()
        .map(|title| {
            let title = words::words(title);
            share(&|idx| title.contains(&context.query_words.words()[idx]))
        })
        .collect();
    let ranks = score::ranks(context.passages);
    let wanted = Wanted::new(context.query);
    let neighbour = |idx: usize, other: Option<usize>| match other {
        Some(other) if context.sentence_texts.get(other) == Some(&context.sentence_texts[idx]) => {
            normed[other]
        }
        _ => 0.0,
    };
    (0..context.sentences.len())
        .map(|idx| {
            let (text, tokens) = context.sentences[idx];
            let frequencies = context.counts.frequencies(idx);
            let surface = Surface::new(text, &wanted.capitals);
            let known: u32 = frequencies.iter().sum();
            let other_words = f64::from(context.counts.length(idx).saturating_sub(known));
            let passage_idx = context.sentence_passages[idx] as usize;
            let passage = context.passages[passage_idx];
            let opens_passage =
                idx == 0 || context.sentence_passages[idx - 1] != context.sentence_passages[idx];
            let nb = normed[idx];
            let names = f64::from(surface.names) / 4.0;
            [
                1.0,
                nb,
                nb * nb,
                bm25[idx] / 10.0,
                coverage[idx],
                coverage[idx] * coverage[idx],
                share(&|word| frequencies[word] > 0),
                neighbour(idx, idx.checked_sub(1)),
                neighbour(idx, Some(idx + 1)),
                flag(surface.number && wanted.number),
                flag(surface.number),
                names.min(1.0) * flag(wanted.name),
                names,
                (other_words / 20.0).min(1.5),
                surface.capital_share,
                f64::from(tokens.max(1)).ln() / 4.0,
                flag(idx == 0),
                best - nb,
                passage,
                passage * passage,
                title_shares[passage_idx],
                1.0 / ranks[passage_idx] as f64,
                flag(opens_passage),
                nb * passage,
            ]
        })
        .collect()
}

/// The weighted sum of each row of features.
pub fn scores(features: &[[f64; FEATURE_COUNT]], weights: &[f64; FEATURE_COUNT]) -> Vec<f64> {
    features
        .iter()
        .map(|row| row.iter().zip(weights).map(|(feature, weight)| feature * weight).sum())
        .collect()
}

/// Values moved linearly to 0..2; all 0 if they are equal.
pub fn min_max(values: &[f64]) -> Vec<f64> {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    values.iter().map(|value| if high > low { 2.0 * (value - low) / (high - low) } else { 0.0 }).collect()
}

/// Fits weights to examples. Examples without gold or sentences are skipped. Cost: O(epochs · sentences).
pub fn fit(examples: &[Example], settings: Fit) -> [f64; FEATURE_COUNT] {
    let mut weights = [0.0; FEATURE_COUNT];
    let mut order: Vec<usize> = (0..examples.len()).collect();
    let mut state = settings.seed;
    let mut probabilities = Vec::new();
    for epoch in 0..settings.epochs {
        shuffle(&mut order, &mut state);
        let rate = settings.rate / (1.0 + f64::from(epoch));
        for batch in order.chunks(settings.batch.max(1) as usize) {
            let mut gradient = [0.0; FEATURE_COUNT];
            for &idx in batch {
                add_gradient(&examples[idx], &weights, &mut probabilities, &mut gradient);
            }
            for (weight, gradient) in weights.iter_mut().zip(&gradient) {
                *weight += rate * gradient / batch.len() as f64;
            }
        }
    }
    weights
}

/// Adds `sum (target - probability) · features` of one example.
fn add_gradient(
    example: &Example,
    weights: &[f64; FEATURE_COUNT],
    probabilities: &mut Vec<f64>,
    gradient: &mut [f64; FEATURE_COUNT],
) {
    if example.gold.is_empty() || example.features.is_empty() {
        return;
    }
    probabilities.clear();
    probabilities.extend(scores(&example.features, weights));
    let largest = probabilities.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    probabilities.iter_mut().for_each(|value| *value = (*value - largest).exp());
    let total: f64 = probabilities.iter().sum();
    let target = 1.0 / example.gold.len() as f64;
    for (idx, features) in example.features.iter().enumerate() {
        let wanted = if example.gold.contains(&idx) { target } else { 0.0 };
        let error = wanted - probabilities[idx] / total;
        for (gradient, feature) in gradient.iter_mut().zip(features) {
            *gradient += error * feature;
        }
    }
}

/// Fisher-Yates with splitmix64 (Steele, Lea, Flood 2014).
fn shuffle(order: &mut [usize], state: &mut u64) {
    for idx in (1..order.len()).rev() {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = *state;
        value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        order.swap(idx, ((value ^ value >> 31) % (idx as u64 + 1)) as usize);
    }
}

fn flag(condition: bool) -> f64 {
    if condition { 1.0 } else { 0.0 }
}

/// What a question asks for.
struct Wanted {
    number: bool,
    name: bool,
    /// Capitalised words of the question, except its first word.
    capitals: Vec<String>,
}

impl Wanted {
    fn new(query: &str) -> Self {
        // Blanks around every word, so that whole words are found.
        let plain: Vec<String> = query
            .to_lowercase()
            .split(|character: char| !character.is_alphanumeric())
            .map(str::to_owned)
            .collect();
        let plain = format!(" {} ", plain.join(" "));
        let asks = |list: &[&str]| list.iter().any(|part| plain.contains(&format!(" {part} ")));
        let words =
            query.split(|character: char| !character.is_alphanumeric()).filter(|word| !word.is_empty());
        let capitals = words.skip(1).filter(|word| starts_upper(word)).map(str::to_owned).collect();
        Self { number: asks(&NUMBER_QUESTIONS), name: asks(&NAME_QUESTIONS), capitals }
    }
}

/// What a sentence's letters show.
struct Surface {
    number: bool,
    /// Capitalised words, except the first word.
    names: u32,
    capital_share: f64,
}

impl Surface {
    fn new(text: &str, capitals: &[String]) -> Self {
        let mut names = 0;
        let mut number = false;
        let mut found = vec![false; capitals.len()];
        for (idx, word) in tokenize::word_ranges(text).map(|range| &text[range]).enumerate() {
            number |= word.bytes().any(|byte| byte.is_ascii_digit());
            if starts_upper(word) {
                names += u32::from(idx > 0);
                for (found, capital) in found.iter_mut().zip(capitals) {
                    *found |= capital == word;
                }
            }
        }
        let hits = found.iter().filter(|found| **found).count();
        let capital_share = if capitals.is_empty() { 0.0 } else { hits as f64 / capitals.len() as f64 };
        Self { number, names, capital_share }
    }
}

fn starts_upper(word: &str) -> bool {
    word.chars().next().is_some_and(char::is_uppercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fit_learns_the_feature_that_marks_the_gold() {
        let row = |value: f64| {
            let mut features = [0.0; FEATURE_COUNT];
            features[1] = value;
            features
        };
        let examples: Vec<Example> = (0..20)
            .map(|_| Example { features: vec![row(0.1), row(0.9), row(0.2)], gold: vec![1] })
            .collect();
        let settings = Fit { epochs: 6, batch: 1, rate: 0.5, seed: 7 };
        let weights = fit(&examples, settings);
        assert!(weights[1] > 1.0 && weights[2].abs() < 1e-12, "{weights:?}");
        assert_eq!(weights, fit(&examples, settings));
        assert_eq!(fit(&[Example { features: vec![], gold: vec![] }], settings), [0.0; FEATURE_COUNT]);
    }

    #[test]
    fn questions_say_what_they_want() {
        let cases = [
            ("when did it end", true, false),
            ("How many men?", true, false),
            ("who won", false, true),
            ("the river is called", false, true),
            ("whenever", false, false),
        ];
        for (query, number, name) in cases {
            let wanted = Wanted::new(query);
            assert_eq!((wanted.number, wanted.name), (number, name), "{query}");
        }
        assert_eq!(Wanted::new("Did the Normans meet Rollo?").capitals, ["Normans", "Rollo"]);
    }

    #[test]
    fn min_max_spans_zero_to_two() {
        assert_eq!(min_max(&[1.0, 3.0, 2.0]), [0.0, 2.0, 1.0]);
        assert_eq!(min_max(&[5.0, 5.0]), [0.0, 0.0]);
        assert!(min_max(&[]).is_empty());
    }
}
