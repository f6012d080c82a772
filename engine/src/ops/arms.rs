//! One index of a search with what turns a text into its query.

use std::collections::HashSet;
use std::sync::Arc;

use promptc_store::flows::RowId;

use crate::artifacts::{Artifact, IndexArtifact, Searcher};
use crate::error::EngineError;
use crate::ops::embed::TextEmbedder;
use crate::store_errors;

const PLACE: &str = "retrieve";

/// What is searched for.
#[derive(Debug, Clone, Copy)]
pub enum Query<'a> {
    /// Words, or what an embedder makes a vector of.
    Text(&'a str),
    /// A vector of the index's space.
    Vector(&'a [f32]),
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

    /// At most `count` candidates as (place in key order, score), best first. `runtime` runs the searches of approximate vector
    /// indexes; it must be a multi-threaded one.
    ///
    /// # Errors
    /// What the index says; E2202 of an embedder.
    pub fn candidates(
        &self,
        query: Query<'_>,
        count: usize,
        allowed: Option<&HashSet<RowId>>,
        runtime: &tokio::runtime::Handle,
    ) -> Result<Vec<(u32, f64)>, EngineError> {
        let index = self.index()?;
        let is_allowed = allowed.map(|allowed| move |row: &RowId| allowed.contains(row));
        let allowed = is_allowed.as_ref().map(|test| test as &(dyn Fn(&RowId) -> bool + Sync));
        let found = match (&index.searcher, query) {
            (Searcher::Text(text), Query::Text(query)) => {
                text.search(query, count, allowed).map_err(store_errors::text)?
            }
            (Searcher::Text(_), Query::Vector(_)) => {
                return Err(EngineError::internal(PLACE, "a vector cannot query a text index"));
            }
            (Searcher::Vector(vectors), query) => {
                let embedded;
                let query = match (query, &self.embedder) {
                    (Query::Vector(query), _) => query,
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
                    tokio::task::block_in_place(|| runtime.block_on(search))
                };
                found.map_err(store_errors::vectors)?
            }
        };
        let rank = |(row, score): (RowId, f64)| index.key_rank(&row).map(|rank| (rank, score));
        let ranked: Option<Vec<_>> = found.into_iter().map(rank).collect();
        ranked
            .ok_or_else(|| EngineError::internal(PLACE, "an index names a row that its stream does not have"))
    }
}
