//! `retrieve`: rows of an indexed stream that answer a query, from one index or fused from several.
//!
//! ```text
//! query --each index--> candidates (max(k, 100)) --fuse--> ranking --per, k--> hits with the columns of their rows
//! ```
//!
//! Argument: the query, a text or a vector. Result: a list of hits, score descending, then key.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, FixedSizeListArray, Float32Array, Float64Array, StringArray, UInt32Array,
};
use arrow::datatypes::DataType;
use promptc_compiler::op::{Fusion, Retrieve};
use promptc_models::fusion::{self, Fused};
use promptc_store::flows::RowId;

use crate::arrays;
use crate::artifacts::{Artifact, IndexArtifact, Searcher};
use crate::error::EngineError;
use crate::ops::embed::TextEmbedder;
use crate::row_function::RowOperator;

const PLACE: &str = "retrieve";

/// Candidates that each index gives at least, so that fusion sees more than the final hits.
const CANDIDATES_MIN: usize = 100;

/// One index with the embedder that turns a text into its query.
#[derive(Debug)]
pub struct SearchArm {
    /// The index's name, shown in `found_by`.
    pub name: String,
    /// The index.
    pub artifact: Arc<Artifact>,
    /// The embedder of a text query on vectors.
    pub embedder: Option<TextEmbedder>,
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
    /// `runtime` must be a multi-threaded one; it is entered from the threads of the row pool.
    #[must_use]
    pub fn new(
        params: &Retrieve,
        arms: Vec<SearchArm>,
        allowed: Option<Arc<HashSet<RowId>>>,
        runtime: tokio::runtime::Handle,
        result: DataType,
    ) -> Self {
        Self {
            arms,
            k: params.k as usize,
            fuse: params.fuse.clone(),
            per: params.per.clone(),
            columns: params.columns.iter().map(|column| column.name.clone()).collect(),
            allowed,
            runtime,
            result,
        }
    }

    fn index(&self, arm: usize) -> Result<&IndexArtifact, EngineError> {
        match self.arms[arm].artifact.as_ref() {
            Artifact::Index(index) => Ok(index),
            Artifact::Idf { .. } => Err(EngineError::internal(PLACE, "an arm is not an index")),
        }
    }

    /// Candidates of one index as (place in key order, score), best first.
    fn candidates(&self, arm: usize, query: &Query<'_>) -> Result<Vec<(u32, f64)>, EngineError> {
        let index = self.index(arm)?;
        let count = self.k.max(CANDIDATES_MIN);
        let is_allowed = self.allowed.as_ref().map(|allowed| move |row: &RowId| allowed.contains(row));
        let allowed = is_allowed.as_ref().map(|test| test as &(dyn Fn(&RowId) -> bool + Sync));
        let found = match (&index.searcher, query) {
            (Searcher::Text(text), Query::Text(query)) => {
                text.search(query, count, allowed).map_err(crate::store_errors::text)?
            }
            (Searcher::Vector(vectors), query) => {
                let embedded;
                let query = match (query, &self.arms[arm].embedder) {
                    (Query::Vector(query), _) => *query,
                    (Query::Text(text), Some(embedder)) => {
                        embedded = embedder.vectors(&[text])?;
                        &embedded
                    }
                    (Query::Text(_), None) => {
                        return Err(EngineError::internal(PLACE, "a text without an embedder"));
                    }
                };
                let found = if vectors.is_exact() || allowed.is_some() {
                    vectors.search_exact(query, count, allowed)
                } else {
                    // Few rows may be computed on a thread of the runtime itself, which must then hand its work on.
                    let search = vectors.search(query, count, None);
                    tokio::task::block_in_place(|| self.runtime.block_on(search))
                };
                found.map_err(crate::store_errors::vectors)?
            }
            (Searcher::Text(_), Query::Vector(_)) => {
                return Err(EngineError::internal(PLACE, "a vector cannot query a text index"));
            }
        };
        let rank = |(row, score): (RowId, f64)| index.key_rank(&row).map(|rank| (rank, score));
        let ranked: Option<Vec<_>> = found.into_iter().map(rank).collect();
        ranked
            .ok_or_else(|| EngineError::internal(PLACE, "an index names a row that its stream does not have"))
    }

    /// The hits of one query: (place in key order, score, arms that found it).
    fn hits(&self, query: &Query<'_>) -> Result<Vec<(u32, f64, Vec<String>)>, EngineError> {
        let lists: Result<Vec<_>, _> = (0..self.arms.len()).map(|arm| self.candidates(arm, query)).collect();
        let lists = lists?;
        let fused: Vec<(u32, f64, Vec<String>)> = if let [only] = lists.as_slice() {
            only.iter().map(|(rank, score)| (*rank, *score, vec![self.arms[0].name.clone()])).collect()
        } else {
            let slices: Vec<&[(u32, f64)]> = lists.iter().map(Vec::as_slice).collect();
            let fused = match &self.fuse {
                Fusion::Zscore(weights) => fusion::zscore(&slices, weights),
                Fusion::Weighted(weights) => fusion::weighted(&slices, weights),
                Fusion::Rrf(constant) => Ok(fusion::rrf(&slices, *constant)),
                Fusion::Max => Ok(fusion::max(&slices)),
            };
            let fused: Vec<Fused<u32>> = fused.map_err(|error| EngineError::internal(PLACE, error))?;
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
            let values = self.index(0)?.rows(&ranks, std::slice::from_ref(column))?;
            let values = crate::functions::rendered_keys(&values, ranks.len())?;
            let mut seen = HashSet::new();
            let mut values = values.into_iter();
            hits.retain(|_| values.next().is_none_or(|(_, value)| seen.insert(value)));
        }
        hits.truncate(self.k);
        Ok(hits)
    }
}

enum Query<'a> {
    Text(&'a str),
    Vector(&'a [f32]),
}

impl RowOperator for RetrieveOperator {
    fn prepare(&self) -> Result<(), EngineError> {
        let columns: Vec<String> = self.columns.iter().chain(&self.per).cloned().collect();
        self.index(0)?.prepare(&columns)
    }

    fn compute(&self, args: &[ArrayRef]) -> Result<ArrayRef, EngineError> {
        let queries = &args[0];
        let mut all = Vec::new();
        let mut lengths = Vec::with_capacity(queries.len());
        for row in 0..queries.len() {
            let found = if queries.is_null(row) {
                Vec::new()
            } else if let Some(vectors) = queries.as_any().downcast_ref::<FixedSizeListArray>() {
                let vector = vectors.value(row);
                let vector: &Float32Array = arrays::downcast(&vector, PLACE)?;
                self.hits(&Query::Vector(vector.values()))?
            } else {
                let texts: &StringArray = arrays::downcast(queries, PLACE)?;
                self.hits(&Query::Text(texts.value(row)))?
            };
            lengths.push(found.len());
            all.extend((1u32..).zip(found));
        }
        let DataType::List(item) = &self.result else {
            return Err(EngineError::internal(PLACE, "the result is not a list"));
        };
        let ranks: Vec<u32> = all.iter().map(|(_, (rank, ..))| *rank).collect();
        let mut columns = self.index(0)?.rows(&ranks, &self.columns)?;
        columns.push(Arc::new(Float64Array::from_iter_values(all.iter().map(|(_, (_, score, _))| *score))));
        columns.push(Arc::new(UInt32Array::from_iter_values(all.iter().map(|(rank, _)| *rank))));
        let names: Vec<Vec<String>> = all.into_iter().map(|(_, (_, _, names))| names).collect();
        columns.push(Arc::new(arrays::text_list(&names)));
        let records = arrays::record(item.data_type(), columns, PLACE)?;
        Ok(Arc::new(arrays::list_of(item.clone(), records, lengths.into_iter())))
    }
}
