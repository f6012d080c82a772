//! `learn` of the weights of a fusion: from rows with a query and what is relevant for it to a weight for each index. The search for
//! weights stands in `promptc_models::fusion::weights`.
//!
//! ```text
//! query --every index--> candidates with all scores --id--> lesson --fit--> weights, or equal ones with the reason
//! ```

use std::collections::{BTreeSet, HashSet};

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
    /// What was said to be relevant and is not in the index.
    pub unknown: u64,
}

impl FittedFusion {
    /// The stored form: numbers of 8 bytes, least first.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let FusionWeights { weights, gain, error, is_learned } = &self.found;
        let counts = [self.lessons, self.skipped, self.unknown, u64::from(*is_learned)].map(u64::to_le_bytes);
        let numbers = weights.iter().chain([gain, error]).map(|number| number.to_le_bytes());
        counts.into_iter().chain(numbers).flatten().collect()
    }

    /// Reads the stored form of weights for so many indexes; `None` if it is none.
    #[must_use]
    pub fn from_bytes(bytes: &[u8], arms: usize) -> Option<Self> {
        let (numbers, []) = bytes.as_chunks::<8>() else { return None };
        let ([lessons, skipped, unknown, is_learned], numbers) = numbers.split_first_chunk()?;
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
        let (lessons, skipped, unknown) = (count(lessons), count(skipped), count(unknown));
        is_right.then_some(Self { found, lessons, skipped, unknown })
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

/// What a row says.
#[derive(Debug)]
pub enum Row {
    /// It has no query, or names nothing relevant.
    Empty,
    /// Nothing that it names is in the index.
    Unknown(Vec<String>),
    /// A query with what is relevant for it, and what it names beside that.
    Taught(Lesson, Vec<String>),
}

/// Asks the indexes what weights are learned for.
pub struct Teacher<'a> {
    params: &'a FitFusion,
    arms: &'a [SearchArm],
    /// All that may be relevant.
    known: HashSet<String>,
    ctx: &'a RunContext,
    runtime: &'a tokio::runtime::Handle,
}

impl<'a> Teacher<'a> {
    /// `runtime` must be a multi-threaded one.
    ///
    /// # Errors
    /// A damaged flow file.
    pub fn new(
        params: &'a FitFusion,
        arms: &'a [SearchArm],
        ctx: &'a RunContext,
        runtime: &'a tokio::runtime::Handle,
    ) -> Result<Self, EngineError> {
        let index = arms[0].index()?;
        index.prepare(std::slice::from_ref(&params.id))?;
        let all: Vec<u32> = (0..index.row_count()).collect();
        let columns = index.rows(&all, std::slice::from_ref(&params.id))?;
        let ids: &StringArray = arrays::downcast(&columns[0], PLACE)?;
        let known = ids.iter().flatten().map(str::to_owned).collect();
        Ok(Self { params, arms, known, ctx, runtime })
    }

    /// The rows of a batch: queries, and what is relevant for each.
    ///
    /// # Errors
    /// What an index or embedder says; an interrupt; [`EngineError::Internal`] for columns of other types.
    pub fn rows(&self, columns: &[ArrayRef]) -> Result<Vec<Row>, EngineError> {
        let [queries, relevant] = columns else {
            return Err(EngineError::internal(PLACE, "a query and what is relevant were asked for"));
        };
        (0..queries.len()).into_par_iter().map(|row| self.row(queries, relevant, row)).collect()
    }

    fn row(&self, queries: &ArrayRef, relevant: &ArrayRef, row: usize) -> Result<Row, EngineError> {
        self.ctx.check_interrupt()?;
        let named = arrays::row_texts(relevant, row, PLACE)?.unwrap_or_default();
        // A null among them names nothing.
        let named: BTreeSet<String> = named.into_iter().filter(|id| !id.is_empty()).collect();
        let Some(query) = Query::of_row(queries, row)?.filter(|_| !named.is_empty()) else {
            return Ok(Row::Empty);
        };
        let (wanted, unknown): (Vec<String>, Vec<String>) =
            named.into_iter().partition(|id| self.known.contains(id));
        match self.lesson(&query, &wanted)? {
            Some(lesson) => Ok(Row::Taught(lesson, unknown)),
            None => Ok(Row::Unknown(unknown)),
        }
    }

    /// `None` if nothing is wanted. `wanted` ascends.
    fn lesson(&self, query: &Query<'_>, wanted: &[String]) -> Result<Option<Lesson>, EngineError> {
        if wanted.is_empty() {
            return Ok(None);
        }
        let (arms, count) = (self.arms, candidate_count(self.arms.len(), DEPTH, false));
        let found = ask(arms, query, count, None, true, self.runtime)?;
        let lists: Vec<&[(u32, f64)]> = found.lists.iter().map(Vec::as_slice).collect();
        let others: Vec<&[(u32, f64)]> = found.others.iter().map(Vec::as_slice).collect();
        let fused = fusion::zscore_of_all(&lists, &others, &vec![1.0; arms.len()])
            .map_err(|error| EngineError::internal(PLACE, error))?;
        let mut ranks: Vec<u32> = fused.iter().map(|hit| hit.id).collect();
        ranks.sort_unstable();
        let columns = arms[0].index()?.rows(&ranks, std::slice::from_ref(&self.params.id))?;
        let ids: &StringArray = arrays::downcast(&columns[0], PLACE)?;
        let document = |rank: &u32| {
            let place = ranks.binary_search(rank).ok().filter(|place| ids.is_valid(*place))?;
            wanted.binary_search_by(|id| id.as_str().cmp(ids.value(place))).ok().map(|number| number as u32)
        };
        let seed = seed_of(query, self.params.seed);
        Ok(Some(
            Lesson::new(&fused, document, wanted.len(), seed)
                .unwrap_or_else(|| Lesson::empty(arms.len(), wanted.len(), seed)),
        ))
    }
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
/// E2105 if no row teaches anything.
pub fn fitted(name: &str, params: &FitFusion, rows: Vec<Row>) -> Result<FittedFusion, EngineError> {
    let count = rows.len();
    let (mut lessons, mut unknown, mut empty) = (Vec::new(), Vec::new(), 0);
    for row in rows {
        match row {
            Row::Empty => empty += 1,
            Row::Unknown(ids) => unknown.extend(ids),
            Row::Taught(lesson, ids) => {
                lessons.push(lesson);
                unknown.extend(ids);
            }
        }
    }
    if lessons.is_empty() && count > 0 {
        let why = match unknown.first() {
            Some(id) => format!(
                "nothing that {count} rows say is relevant is in column `{}` of the indexes, not even `{id}`; \
                 `id = ...` of the scorer names another column",
                params.id
            ),
            None => format!("none of {empty} rows has a query and something relevant"),
        };
        return Err(EngineError::Row { code: "E2105", message: format!("`learn {name}`: {why}") });
    }
    let skipped = (count - lessons.len()) as u64;
    let found = fit(&lessons, params.arms.len());
    Ok(FittedFusion { found, lessons: lessons.len() as u64, skipped, unknown: unknown.len() as u64 })
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
        let fitted = FittedFusion { found, lessons: 300, skipped: 7, unknown: 2 };
        let mut bytes = fitted.to_bytes();
        assert_eq!(FittedFusion::from_bytes(&bytes, 2), Some(fitted));
        assert_eq!(FittedFusion::from_bytes(&bytes, 3), None);
        for end in 0..bytes.len() {
            assert_eq!(FittedFusion::from_bytes(&bytes[..end], 2), None);
        }
        bytes[32..40].copy_from_slice(&f64::NAN.to_le_bytes());
        assert_eq!(FittedFusion::from_bytes(&bytes, 2), None);
        bytes[32..40].copy_from_slice(&(-1.0f64).to_le_bytes());
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
