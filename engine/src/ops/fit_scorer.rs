//! `learn` of a scorer: from rows with answers to weights. The features and the fit stand in `promptc_models::compress::scorer`.

use arrow::array::{Array, ArrayRef, StringArray};
use promptc_compiler::op::FitScorer;
use promptc_models::compress::scorer::FEATURE_COUNT;
use promptc_models::compress::{self, Example, Fit, Options, Row, Target, Unit};
use promptc_models::tokenize::Tokenizer;

use crate::arrays;
use crate::error::EngineError;

const PLACE: &str = "learn";

/// A scorer with what it was fitted to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FittedScorer {
    /// One for each feature.
    pub weights: [f64; FEATURE_COUNT],
    /// Rows that had a sentence with an answer.
    pub examples: u64,
    /// Rows that had none, and taught nothing.
    pub skipped: u64,
}

impl FittedScorer {
    const BYTES: usize = 8 * (FEATURE_COUNT + 2);

    /// The stored form: numbers of 8 bytes, least first.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let counts = [self.examples.to_le_bytes(), self.skipped.to_le_bytes()];
        self.weights.iter().map(|weight| weight.to_le_bytes()).chain(counts).flatten().collect()
    }

    /// Reads the stored form; `None` if it is none.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let numbers: &[[u8; 8]] = bytes.as_chunks().0;
        if bytes.len() != Self::BYTES {
            return None;
        }
        let mut weights = [0.0; FEATURE_COUNT];
        for (weight, bytes) in weights.iter_mut().zip(numbers) {
            *weight = f64::from_le_bytes(*bytes);
        }
        let (examples, skipped) = (numbers[FEATURE_COUNT], numbers[FEATURE_COUNT + 1]);
        let (examples, skipped) = (u64::from_le_bytes(examples), u64::from_le_bytes(skipped));
        weights.iter().all(|weight| weight.is_finite()).then_some(Self { weights, examples, skipped })
    }
}

/// The examples of a batch: passages, query, answers, and titles if there is a fourth column. `None` for a row that teaches nothing.
///
/// # Errors
/// [`EngineError::Internal`] for columns of other types.
pub fn examples(
    columns: &[ArrayRef],
    tokenizer: &dyn Tokenizer,
) -> Result<Vec<Option<Example>>, EngineError> {
    let [passages, queries, answers, titles @ ..] = columns else {
        return Err(EngineError::internal(PLACE, "fewer than three columns"));
    };
    let queries: &StringArray = arrays::downcast(queries, PLACE)?;
    let options = Options::with_query(Unit::Sentence, Target::None);
    let example = |row: usize| -> Result<Option<Example>, EngineError> {
        let texts = arrays::row_texts(passages, row, PLACE)?;
        let wanted = arrays::row_texts(answers, row, PLACE)?;
        let titles =
            titles.first().map(|titles| arrays::row_texts(titles, row, PLACE)).transpose()?.flatten();
        let (Some(texts), Some(wanted), true) = (texts, wanted, queries.is_valid(row)) else {
            return Ok(None);
        };
        let (texts, wanted) = (borrowed(&texts), borrowed(&wanted));
        let titles = titles.as_ref().map(|titles| borrowed(titles));
        let row = Row {
            texts: &texts,
            titles: titles.as_deref(),
            query: Some(queries.value(row)),
            similarities: None,
        };
        Ok(compress::example(&row, &wanted, &options, tokenizer, None))
    };
    (0..queries.len()).map(example).collect()
}

fn borrowed(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

/// Fits the weights.
///
/// # Errors
/// E2105 if no row teaches anything.
pub fn fit(name: &str, params: &FitScorer, rows: &[Option<Example>]) -> Result<FittedScorer, EngineError> {
    let examples: Vec<Example> = rows.iter().flatten().cloned().collect();
    if examples.is_empty() {
        let message =
            format!("`learn {name}`: none of {} rows has a sentence that contains an answer", rows.len());
        return Err(EngineError::Row { code: "E2105", message });
    }
    let settings = Fit { epochs: params.epochs, batch: params.batch, rate: params.rate, seed: params.seed };
    let weights = compress::fit(&examples, settings);
    if let Some(place) = weights.iter().position(|weight| !weight.is_finite()) {
        let message =
            format!("`learn {name}`: weight {place} is not finite after the fit; a smaller `lr` may help");
        return Err(EngineError::Row { code: "E2103", message });
    }
    let counts = (examples.len() as u64, (rows.len() - examples.len()) as u64);
    Ok(FittedScorer { weights, examples: counts.0, skipped: counts.1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_form_gives_the_same_weights_and_refuses_what_is_none() {
        let mut weights = [0.1; FEATURE_COUNT];
        weights[3] = -1.0 / 3.0;
        let scorer = FittedScorer { weights, examples: 300, skipped: 7 };
        let mut bytes = scorer.to_bytes();
        assert_eq!(FittedScorer::from_bytes(&bytes), Some(scorer));
        assert_eq!(FittedScorer::from_bytes(&bytes[1..]), None);
        bytes[..8].copy_from_slice(&f64::NAN.to_le_bytes());
        assert_eq!(FittedScorer::from_bytes(&bytes), None);
    }
}
