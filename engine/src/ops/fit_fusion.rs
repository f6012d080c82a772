//! `learn` of the weights of a fusion: from rows with a query and what is relevant for it to a weight for each index. The search for
//! weights stands in `promptc_models::fusion::weights`.
//!
//! ```text
//! query --every index--> candidates with all scores --id--> lesson --fit--> weights, or equal ones with the reason
//! ```

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, StringArray};
use promptc_compiler::op::FitFusion;
use promptc_models::fusion;
use promptc_models::fusion::weights::{DEPTH, FusionWeights, LESSONS_MIN, Lesson, fit};
use rayon::prelude::*;

use crate::arrays;
use crate::context::RunContext;
use crate::error::EngineError;
use crate::ops::arms::{Query, SearchArm, ask};
use crate::ops::retrieve::candidate_count;

const PLACE: &str = "learn";

/// Most rows that weights are fitted to: they are held in memory with their candidates.
pub const LESSONS_MAX: usize = 20_000;

/// Weights with what they were fitted to.
#[derive(Debug, Clone, PartialEq)]
pub struct FittedFusion {
    /// The weights, and what they gain.
    pub found: FusionWeights,
    /// Rows with something relevant.
    pub lessons: u64,
    /// Rows without, which taught nothing.
    pub skipped: u64,
}

impl FittedFusion {
    /// The stored form: numbers of 8 bytes, least first.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let FusionWeights { weights, gain, error, is_learned } = &self.found;
        let counts = [self.lessons, self.skipped, u64::from(*is_learned)].map(u64::to_le_bytes);
        let numbers = weights.iter().chain([gain, error]).map(|number| number.to_le_bytes());
        counts.into_iter().chain(numbers).flatten().collect()
    }

    /// Reads the stored form of weights for so many indexes; `None` if it is none.
    #[must_use]
    pub fn from_bytes(bytes: &[u8], arms: usize) -> Option<Self> {
        let (numbers, []) = bytes.as_chunks::<8>() else { return None };
        let ([lessons, skipped, is_learned], numbers) = numbers.split_first_chunk()?;
        let numbers: Vec<f64> = numbers.iter().map(|number| f64::from_le_bytes(*number)).collect();
        let (weights, [gain, error]) = numbers.split_last_chunk()?;
        let is_right =
            weights.len() == arms && weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0);
        let found = FusionWeights {
            weights: weights.to_vec(),
            gain: *gain,
            error: *error,
            is_learned: u64::from_le_bytes(*is_learned) == 1,
        };
        let count = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
        is_right.then(|| Self { found, lessons: count(lessons), skipped: count(skipped) })
    }

    /// The weights in words, and what they gain: "words 1.24, near 0.76; nDCG@10 +0.006 ± 0.002 on rows they were not chosen on".
    #[must_use]
    pub fn describe(&self, params: &FitFusion) -> String {
        let FusionWeights { weights, gain, error, .. } = &self.found;
        let named = params.arms.iter().zip(weights).map(|(arm, weight)| format!("{} {weight:.2}", arm.name));
        let named = named.collect::<Vec<_>>().join(", ");
        format!("{named}; nDCG@{DEPTH} {gain:+.4} ± {error:.4} on rows they were not chosen on")
    }

    /// Why the weights stayed equal, if they did.
    #[must_use]
    pub fn why_equal(&self) -> Option<String> {
        if self.found.is_learned {
            return None;
        }
        if self.lessons < LESSONS_MIN as u64 {
            return Some(format!("{} rows teach, fewer than {LESSONS_MIN}", self.lessons));
        }
        let FusionWeights { gain, error, .. } = &self.found;
        Some(format!("others gain {gain:+.4} ± {error:.4} nDCG@{DEPTH} on rows that they were not chosen on"))
    }
}

/// The lessons of a batch: queries, and what is relevant for each. `None` for a row that teaches nothing.
///
/// # Errors
/// What an index or embedder says; an interrupt; [`EngineError::Internal`] for columns of other types.
pub fn lessons(
    columns: &[ArrayRef],
    params: &FitFusion,
    arms: &[SearchArm],
    ctx: &RunContext,
    runtime: &tokio::runtime::Handle,
) -> Result<Vec<Option<Lesson>>, EngineError> {
    let [queries, relevant] = columns else {
        return Err(EngineError::internal(PLACE, "a query and what is relevant were asked for"));
    };
    let lesson = |row: usize| -> Result<Option<Lesson>, EngineError> {
        ctx.check_interrupt()?;
        let wanted = arrays::row_texts(relevant, row, PLACE)?.unwrap_or_default();
        let numbers: BTreeMap<String, u32> = wanted.into_iter().zip(0..).collect();
        let query = Query::of_row(queries, row)?.filter(|_| !numbers.is_empty());
        query.map_or(Ok(None), |query| lesson(&query, &numbers, params, arms, runtime))
    };
    (0..queries.len()).into_par_iter().map(lesson).collect()
}

fn lesson(
    query: &Query<'_>,
    numbers: &BTreeMap<String, u32>,
    params: &FitFusion,
    arms: &[SearchArm],
    runtime: &tokio::runtime::Handle,
) -> Result<Option<Lesson>, EngineError> {
    let found = ask(arms, query, candidate_count(arms.len(), DEPTH, false), None, true, runtime)?;
    let lists: Vec<&[(u32, f64)]> = found.lists.iter().map(Vec::as_slice).collect();
    let others: Vec<&[(u32, f64)]> = found.others.iter().map(Vec::as_slice).collect();
    let fused = fusion::zscore_of_all(&lists, &others, &vec![1.0; arms.len()])
        .map_err(|error| EngineError::internal(PLACE, error))?;
    let mut ranks: Vec<u32> = fused.iter().map(|hit| hit.id).collect();
    ranks.sort_unstable();
    let columns = arms[0].index()?.rows(&ranks, std::slice::from_ref(&params.id))?;
    let ids: &StringArray = arrays::downcast(&columns[0], PLACE)?;
    let document = |rank: &u32| {
        let place = ranks.binary_search(rank).ok()?;
        ids.is_valid(place).then(|| numbers.get(ids.value(place)).copied()).flatten()
    };
    Ok(Lesson::new(&fused, document, numbers.len(), seed_of(query, params.seed)))
}

/// Decides the fold of a query: equal ones share it.
fn seed_of(query: &Query<'_>, seed: u64) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    match query {
        Query::Text(text) => hasher.update(text.as_bytes()),
        Query::Vector(vector) => {
            vector.iter().for_each(|value| {
                hasher.update(&value.to_le_bytes());
            });
            &mut hasher
        }
    };
    let hash = hasher.finalize();
    hash.as_bytes().first_chunk().map_or(0, |first| u64::from_le_bytes(*first))
}

/// Fits the weights.
///
/// # Errors
/// E2105 if there are more than [`LESSONS_MAX`] rows, or none that teaches anything.
pub fn fitted(
    name: &str,
    params: &FitFusion,
    rows: Vec<Option<Lesson>>,
) -> Result<FittedFusion, EngineError> {
    let count = rows.len();
    let lessons: Vec<Lesson> = rows.into_iter().flatten().collect();
    if lessons.is_empty() {
        let message = format!("`learn {name}`: none of {count} rows has a query and something relevant");
        return Err(EngineError::Row { code: "E2105", message });
    }
    let skipped = (count - lessons.len()) as u64;
    let found = fit(&lessons, params.arms.len());
    Ok(FittedFusion { found, lessons: lessons.len() as u64, skipped })
}

/// E2105 for more rows than are fitted to.
///
/// # Errors
/// See above.
pub fn check_count(name: &str, rows: usize) -> Result<(), EngineError> {
    if rows <= LESSONS_MAX {
        return Ok(());
    }
    let message = format!(
        "`learn {name}`: more than {LESSONS_MAX} rows; learn from some of them: `sample(rows = {LESSONS_MAX}, seed = 1)`"
    );
    Err(EngineError::Row { code: "E2105", message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_form_gives_the_same_weights_and_refuses_what_is_none() {
        let found = FusionWeights { weights: vec![1.25, 0.75], gain: 0.01, error: 0.004, is_learned: true };
        let fitted = FittedFusion { found, lessons: 300, skipped: 7 };
        let mut bytes = fitted.to_bytes();
        assert_eq!(FittedFusion::from_bytes(&bytes, 2), Some(fitted));
        assert_eq!(FittedFusion::from_bytes(&bytes, 3), None);
        for end in 0..bytes.len() {
            assert_eq!(FittedFusion::from_bytes(&bytes[..end], 2), None);
        }
        bytes[24..32].copy_from_slice(&f64::NAN.to_le_bytes());
        assert_eq!(FittedFusion::from_bytes(&bytes, 2), None);
        bytes[24..32].copy_from_slice(&(-1.0f64).to_le_bytes());
        assert_eq!(FittedFusion::from_bytes(&bytes, 2), None);
    }

    #[test]
    fn equal_queries_share_a_fold_and_seeds_change_it() {
        let text = seed_of(&Query::Text("a b"), 1);
        assert_eq!(text, seed_of(&Query::Text("a b"), 1));
        assert_ne!(text, seed_of(&Query::Text("a b"), 2));
        assert_ne!(text, seed_of(&Query::Text("a c"), 1));
    }
}
