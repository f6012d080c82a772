//! One index of a search with what turns a text into its query.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef, FixedSizeListArray, Float32Array, StringArray};
use promptc_models::nearest::RowMask;
use promptc_store::flows::RowId;

use crate::arrays;
use crate::artifacts::{Artifact, IndexArtifact, Searcher};
use crate::error::EngineError;
use crate::ops::embed::TextEmbedder;
use crate::store_errors;

const PLACE: &str = "retrieve";

/// What is searched for.
#[derive(Debug, Clone)]
pub enum Query<'a> {
    /// Words, or what an embedder makes a vector of.
    Text(&'a str),
    /// A vector of the index's space.
    Vector(Cow<'a, [f32]>),
}

impl<'a> Query<'a> {
    /// A row of a column of texts or vectors; `None` for null.
    ///
    /// # Errors
    /// [`EngineError::Internal`] for a column of another type.
    pub fn of_row(queries: &'a ArrayRef, row: usize) -> Result<Option<Self>, EngineError> {
        if queries.is_null(row) {
            return Ok(None);
        }
        let Some(vectors) = queries.as_any().downcast_ref::<FixedSizeListArray>() else {
            let texts: &StringArray = arrays::downcast(queries, PLACE)?;
            return Ok(Some(Self::Text(texts.value(row))));
        };
        let values: &Float32Array = arrays::downcast(vectors.values(), PLACE)?;
        let (from, len) = (vectors.value_offset(row) as usize, vectors.value_length() as usize);
        Ok(Some(Self::Vector(Cow::Borrowed(&values.values()[from..from + len]))))
    }
}

/// One index with the embedder that turns a text into its query.
#[derive(Debug)]
pub struct SearchArm {
    /// The index's name, shown in `found_by`.
    pub name: String,
    /// The index.
    pub artifact: Arc<Artifact>,
    /// The embedder of a text query on vectors.
    pub embedder: Option<TextEmbedder>,
    /// The rows of the filter as the codes know them.
    mask: OnceLock<Option<Arc<RowMask>>>,
}

impl SearchArm {
    /// The index itself.
    ///
    /// # Errors
    /// [`EngineError::Internal`] for another artifact.
    pub fn index(&self) -> Result<&IndexArtifact, EngineError> {
        match self.artifact.as_ref() {
            Artifact::Index(index) => Ok(index),
            _ => Err(EngineError::internal(PLACE, "an arm is not an index")),
        }
    }

    /// An arm over an index.
    #[must_use]
    pub fn new(name: String, artifact: Arc<Artifact>, embedder: Option<TextEmbedder>) -> Self {
        Self { name, artifact, embedder, mask: OnceLock::new() }
    }

    /// The query in the form that the index takes: words as they are, or a vector.
    ///
    /// # Errors
    /// E2202 of an embedder; [`EngineError::Internal`] for a query that the compiler should have refused.
    pub fn query<'a>(&self, query: &Query<'a>) -> Result<Query<'a>, EngineError> {
        let is_words = matches!(self.index()?.searcher, Searcher::Text(_));
        match (query, &self.embedder) {
            (Query::Text(text), Some(embedder)) if !is_words => {
                Ok(Query::Vector(Cow::Owned(embedder.vectors(&[*text])?)))
            }
            (Query::Text(_), None) if !is_words => {
                Err(EngineError::internal(PLACE, "a text without an embedder"))
            }
            _ => Ok(query.clone()),
        }
    }

    /// At most `count` candidates as (place in key order, score), best first, for a query in the form of [`Self::query`]. `runtime` runs the searches of approximate vector
    /// indexes; it must be a multi-threaded one. `allowed_rows` must be the same in every call.
    ///
    /// # Errors
    /// What the index says; E2202 of an embedder.
    pub fn candidates(
        &self,
        query: &Query<'_>,
        count: usize,
        allowed_rows: Option<&HashSet<RowId>>,
        runtime: &tokio::runtime::Handle,
    ) -> Result<Vec<(u32, f64)>, EngineError> {
        let index = self.index()?;
        // A vector of zeros has no direction: every row would be as near as any other.
        if let Query::Vector(vector) = query
            && index.searcher.is_by_angle()
            && vector.iter().all(|value| *value == 0.0)
        {
            return Ok(Vec::new());
        }
        let is_allowed = allowed_rows.map(|allowed| move |row: &RowId| allowed.contains(row));
        let allowed = is_allowed.as_ref().map(|test| test as &(dyn Fn(&RowId) -> bool + Sync));
        let found = match (&index.searcher, query) {
            (Searcher::Text(text), Query::Text(query)) => {
                text.search(query, count, allowed).map_err(store_errors::text)?
            }
            (Searcher::Codes(codes), Query::Vector(query)) => {
                let mask = allowed_rows.and_then(|rows| self.mask.get_or_init(|| codes.mask(rows)).clone());
                let found = codes.search(query, count, mask.as_deref());
                match found.map_err(|error| EngineError::Row { code: "E2103", message: error.to_string() })? {
                    Some(found) => found,
                    None => {
                        codes.stored().search_exact(query, count, allowed).map_err(store_errors::vectors)?
                    }
                }
            }
            (Searcher::Vector(vectors), Query::Vector(query)) => {
                let found = if vectors.is_exact() || allowed.is_some() {
                    vectors.search_exact(query, count, allowed)
                } else {
                    // Few rows may be computed on a thread of the runtime itself, which must then hand its work on.
                    let search = vectors.search(query, count, None);
                    tokio::task::block_in_place(|| runtime.block_on(search))
                };
                found.map_err(store_errors::vectors)?
            }
            _ => return Err(EngineError::internal(PLACE, "a query of another kind than the index")),
        };
        let rank = |(row, score): (RowId, f64)| index.key_rank(&row).map(|rank| (rank, score));
        let ranked: Option<Vec<_>> = found.into_iter().map(rank).collect();
        ranked
            .ok_or_else(|| EngineError::internal(PLACE, "an index names a row that its stream does not have"))
    }
}

/// Candidates of several indexes for one query.
#[derive(Debug)]
pub struct Candidates {
    /// Of each index, as (place in key order, score), best first.
    pub lists: Vec<Vec<(u32, f64)>>,
    /// What each index scores the candidates that only others gave.
    pub others: Vec<Vec<(u32, f64)>>,
}

/// Asks all `arms`, and then each for its scores of what it did not give itself, if `scores_all`.
///
/// # Errors
/// As [`SearchArm::candidates`].
pub fn ask(
    arms: &[SearchArm],
    query: &Query<'_>,
    count: usize,
    allowed: Option<&HashSet<RowId>>,
    scores_all: bool,
    runtime: &tokio::runtime::Handle,
) -> Result<Candidates, EngineError> {
    let queries: Vec<Query<'_>> = arms.iter().map(|arm| arm.query(query)).collect::<Result<_, _>>()?;
    let asked = arms.iter().zip(&queries);
    let found = asked.clone().map(|(arm, query)| arm.candidates(query, count, allowed, runtime));
    let lists: Vec<Vec<(u32, f64)>> = found.collect::<Result<_, _>>()?;
    if !scores_all {
        let others = vec![Vec::new(); lists.len()];
        return Ok(Candidates { lists, others });
    }
    let all: BTreeSet<u32> = lists.iter().flatten().map(|(rank, _)| *rank).collect();
    let mut others = Vec::with_capacity(lists.len());
    for ((arm, query), list) in asked.zip(&lists) {
        let own: HashSet<u32> = list.iter().map(|(rank, _)| *rank).collect();
        let missing: Vec<u32> = all.iter().filter(|rank| !own.contains(rank)).copied().collect();
        let scores = if missing.is_empty() { Vec::new() } else { arm.index()?.scores(query, &missing)? };
        others
            .push(missing.into_iter().zip(scores).filter_map(|(rank, score)| Some((rank, score?))).collect());
    }
    Ok(Candidates { lists, others })
}
