//! `retrieve`: rows of an indexed stream that answer a query, from one index or fused from several.
//!
//! ```text
//! query --each index--> candidates (max(k, 100)) --fuse--> ranking --per, k--> hits with the columns of their rows
//! ```
//!
//! Argument: the query, a text or a vector. Result: a list of hits, score descending, then key.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, UInt32Array};
use arrow::datatypes::DataType;
use promptc_compiler::op::{Fusion, Retrieve};
use promptc_models::fusion::{self, Fused};
use promptc_store::flows::RowId;

use crate::arrays;
use crate::error::EngineError;
use crate::ops::arms::{Candidates, Query, SearchArm, ask};
use crate::row_function::RowOperator;

const PLACE: &str = "retrieve";

/// Candidates that each index gives where several are fused, at least. Chosen by nDCG@10 of the 505 training claims of SciFact with the
/// shipped table beside BM25: 0.858 with 100, 0.860 with 200 and with 400, 0.864 with 1,000.
const FUSED_MIN: usize = 1_000;

/// Candidates that an index gives where one hit is kept for each value of a column, at least.
const PER_VALUE_MIN: usize = 100;

/// Candidates to ask each of so many indexes for.
pub(crate) fn candidate_count(arms: usize, k: usize, is_per_value: bool) -> usize {
    match (arms, is_per_value) {
        (2.., _) => k.max(FUSED_MIN),
        (_, true) => k.max(PER_VALUE_MIN),
        _ => k,
    }
}

/// The operator with its indexes.
#[derive(Debug)]
pub struct RetrieveOperator {
    arms: Vec<SearchArm>,
    k: usize,
    fuse: Fusion,
    per: Option<String>,
    columns: Vec<String>,
    /// Rows that the filter lets through; `None` without a filter.
    allowed: Option<Arc<HashSet<RowId>>>,
    /// Runs the searches of approximate vector indexes.
    runtime: tokio::runtime::Handle,
    /// The list of hits that the plan declares.
    result: DataType,
}

impl RetrieveOperator {
    /// `weights` are those that `fuse` names, if it names a scorer. `runtime` must be a multi-threaded one; it is entered from the
    /// threads of the row pool.
    #[must_use]
    pub fn new(
        params: &Retrieve,
        weights: Option<Vec<f64>>,
        arms: Vec<SearchArm>,
        allowed: Option<Arc<HashSet<RowId>>>,
        runtime: tokio::runtime::Handle,
        result: DataType,
    ) -> Self {
        Self {
            arms,
            k: params.k as usize,
            fuse: weights.map_or_else(|| params.fuse.clone(), Fusion::Zscore),
            per: params.per.clone(),
            columns: params.columns.iter().map(|column| column.name.clone()).collect(),
            allowed,
            runtime,
            result,
        }
    }

    /// The hits of one query: (place in key order, score, arms that found it).
    fn hits(&self, query: Query<'_>) -> Result<Vec<(u32, f64, Vec<String>)>, EngineError> {
        let count = candidate_count(self.arms.len(), self.k, self.per.is_some());
        let (allowed, scores_all) = (self.allowed.as_deref(), scores_all(&self.arms, &self.fuse));
        let found = ask(&self.arms, &query, count, allowed, scores_all, &self.runtime)?;
        let fused: Vec<(u32, f64, Vec<String>)> = if let [only] = found.lists.as_slice() {
            only.iter().map(|(rank, score)| (*rank, *score, vec![self.arms[0].name.clone()])).collect()
        } else {
            let fused = fuse(&found, &self.fuse)?;
            let names = |hit: &Fused<u32>| {
                let found = self.arms.iter().zip(&hit.ranks).filter(|(_, rank)| rank.is_some());
                found.map(|(arm, _)| arm.name.clone()).collect()
            };
            fused.iter().map(|hit| (hit.id, hit.score, names(hit))).collect()
        };
        self.one_per_value(fused)
    }

    /// The first `k` hits, with at most one per value of the column `per`.
    fn one_per_value(
        &self,
        mut hits: Vec<(u32, f64, Vec<String>)>,
    ) -> Result<Vec<(u32, f64, Vec<String>)>, EngineError> {
        if let Some(column) = &self.per {
            let ranks: Vec<u32> = hits.iter().map(|(rank, ..)| *rank).collect();
            let values = self.arms[0].index()?.rows(&ranks, std::slice::from_ref(column))?;
            let values = crate::functions::rendered_keys(&values, ranks.len())?;
            let mut seen = HashSet::new();
            let mut values = values.into_iter();
            hits.retain(|_| values.next().is_none_or(|(_, value)| seen.insert(value)));
        }
        hits.truncate(self.k);
        Ok(hits)
    }
}

/// Whether a fusion needs the scores of all candidates by every index.
pub(crate) fn scores_all(arms: &[SearchArm], method: &Fusion) -> bool {
    arms.len() > 1 && matches!(method, Fusion::Zscore(_))
}

/// One ranking of the candidates of several indexes.
///
/// # Errors
/// [`EngineError::Internal`] if there is not one weight for each list.
pub(crate) fn fuse(found: &Candidates, method: &Fusion) -> Result<Vec<Fused<u32>>, EngineError> {
    let slices: Vec<&[(u32, f64)]> = found.lists.iter().map(Vec::as_slice).collect();
    let others: Vec<&[(u32, f64)]> = found.others.iter().map(Vec::as_slice).collect();
    let fused = match method {
        Fusion::Zscore(weights) => fusion::zscore_of_all(&slices, &others, weights),
        Fusion::Weighted(weights) => fusion::weighted(&slices, weights),
        Fusion::Rrf(constant) => Ok(fusion::rrf(&slices, *constant)),
        Fusion::Max => Ok(fusion::max(&slices)),
        Fusion::Learned(name) => {
            return Err(EngineError::internal(PLACE, format!("no weights of scorer `{name}`")));
        }
    };
    fused.map_err(|error| EngineError::internal(PLACE, error))
}

impl RowOperator for RetrieveOperator {
    fn prepare(&self) -> Result<(), EngineError> {
        let columns: Vec<String> = self.columns.iter().chain(&self.per).cloned().collect();
        self.arms[0].index()?.prepare(&columns)
    }

    fn compute(&self, args: &[ArrayRef]) -> Result<ArrayRef, EngineError> {
        let queries = &args[0];
        let mut all = Vec::new();
        let mut lengths = Vec::with_capacity(queries.len());
        for row in 0..queries.len() {
            let found = match Query::of_row(queries, row)? {
                Some(query) => self.hits(query)?,
                None => Vec::new(),
            };
            lengths.push(found.len());
            all.extend((1u32..).zip(found));
        }
        let DataType::List(item) = &self.result else {
            return Err(EngineError::internal(PLACE, "the result is not a list"));
        };
        let ranks: Vec<u32> = all.iter().map(|(_, (rank, ..))| *rank).collect();
        let mut columns = self.arms[0].index()?.rows(&ranks, &self.columns)?;
        columns.push(Arc::new(Float64Array::from_iter_values(all.iter().map(|(_, (_, score, _))| *score))));
        columns.push(Arc::new(UInt32Array::from_iter_values(all.iter().map(|(rank, _)| *rank))));
        let names: Vec<Vec<String>> = all.into_iter().map(|(_, (_, _, names))| names).collect();
        columns.push(Arc::new(arrays::text_list(&names)));
        let records = arrays::record(item.data_type(), columns, PLACE)?;
        Ok(Arc::new(arrays::list_of(item.clone(), records, lengths.into_iter())))
    }
}
