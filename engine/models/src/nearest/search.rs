//! A search from the query to its neighbours; the pass over the codes is in `scan.rs` and `probe.rs`.
//!
//! ```text
//!  query ─▶ codes of the query ─▶ scan, chunk by chunk ─▶ best candidates ─▶ 8-bit scores ─▶ exact scores ─▶ k neighbours
//!                                  (all queries of a batch share it,       (after 1-bit codes)  (if originals are given)
//!                                   but for lists, of which each has its own)
//! ```

use promptc_kernels::prefetch;

use super::best::{Best, Candidate};
use super::bits::BitQuery;
use super::bytes::ByteQuery;
use super::finder::{Effort, Finder};
use super::graph::walk::Walk;
use super::kmeans::CentreScores;
use super::rows::RowMask;
use super::scan::{CHUNK_BLOCKS, Chunk};
use super::space::{self, Terms};
use super::{Metric, NearestError, Neighbour, Originals, VectorIndex};

/// Originals that are fetched ahead of the one whose score is computed.
const FETCHED_AHEAD: usize = 2;

/// What one thread needs for its searches; made once, used again.
#[derive(Debug, Clone, Default)]
pub struct Scratch {
    pub(super) queries: Vec<Query>,
    pub(super) chunk: Chunk,
    pub(super) lists: ListRoom,
    pub(super) walk: Walk,
    pub(super) rows: Vec<u32>,
    pub(super) sample: Vec<Candidate>,
}

/// Room for the ranks of lists.
#[derive(Debug, Clone, Default)]
pub(super) struct ListRoom {
    pub(super) scores: CentreScores,
    pub(super) ranked: Vec<Candidate>,
}

/// One query in all its forms.
#[derive(Debug, Clone, Default)]
pub(super) struct Query {
    placed: Vec<f32>,
    terms: Terms,
    pub(super) bytes: ByteQuery,
    pub(super) bits: BitQuery,
    pub(super) best: Best,
}

impl VectorIndex {
    /// The `k` nearest rows to `query`, best first, ties by id; fewer if there are fewer. With `originals` the scores are exact
    /// and computed in one order on every processor; without them they are those of the 8-bit codes. `mask` restricts the rows.
    ///
    /// # Errors
    /// [`NearestError::Dim`] and [`NearestError::Number`] for a query that cannot be compared, [`NearestError::Mask`] for a mask
    /// from before a change, [`NearestError::Original`] where a candidate has no original.
    pub fn search(
        &self,
        query: &[f32],
        k: usize,
        mask: Option<&RowMask>,
        originals: Option<&dyn Originals>,
        scratch: &mut Scratch,
    ) -> Result<Vec<Neighbour>, NearestError> {
        self.scan(std::iter::once(query), k, mask, scratch)?;
        self.finish(0, query, k, originals, scratch)
    }

    /// As [`Self::search`] for each of `queries`; the queries share one pass over the codes.
    ///
    /// # Errors
    /// As [`Self::search`], for the first query that fails.
    pub fn search_batch(
        &self,
        queries: &[&[f32]],
        k: usize,
        mask: Option<&RowMask>,
        originals: Option<&dyn Originals>,
        scratch: &mut Scratch,
    ) -> Result<Vec<Vec<Neighbour>>, NearestError> {
        self.scan(queries.iter().copied(), k, mask, scratch)?;
        let one = |(idx, query): (usize, &&[f32])| self.finish(idx, query, k, originals, scratch);
        queries.iter().enumerate().map(one).collect()
    }

    /// Leaves the best candidates of each query in `scratch`.
    fn scan<'a>(
        &self,
        queries: impl ExactSizeIterator<Item = &'a [f32]>,
        k: usize,
        mask: Option<&RowMask>,
        scratch: &mut Scratch,
    ) -> Result<(), NearestError> {
        if mask.is_some_and(|mask| mask.generation != self.generation) {
            return Err(NearestError::Mask);
        }
        scratch.queries.resize_with(queries.len(), Query::default);
        for (query, state) in queries.zip(&mut scratch.queries) {
            self.prepare(&self.finder, query, k, state)?;
        }
        scratch.chunk.reserve(CHUNK_BLOCKS);
        if k == 0 {
            return Ok(());
        }
        match &self.finder {
            Finder::Lists(lists) => {
                (0..scratch.queries.len()).for_each(|idx| self.probe(lists, idx, mask, scratch));
            }
            Finder::Graph(graph) => {
                (0..scratch.queries.len()).for_each(|idx| self.walk(graph, idx, k, mask, scratch));
            }
            finder => self.scan_blocks(self.codes(finder), mask, scratch),
        }
        Ok(())
    }

    /// The query in all forms that a search by this finder needs.
    pub(super) fn prepare(
        &self,
        finder: &Finder,
        query: &[f32],
        k: usize,
        state: &mut Query,
    ) -> Result<(), NearestError> {
        space::check(query, self.options.dim)?;
        state.placed.resize(self.options.dim, 0.0);
        state.terms = self.space.place_query(query, &mut state.placed);
        state.bytes.set(&state.placed, self.bytes.width);
        let keep = match finder.bits() {
            Some(bits) => {
                state.bits.set(&state.placed, &bits.rotation);
                self.reranked(k)
            }
            None => rescored(k),
        };
        state.best.start(keep, f32::NEG_INFINITY);
        Ok(())
    }

    /// Rows of 1-bit codes whose 8-bit scores are computed for `k` neighbours.
    fn reranked(&self, k: usize) -> usize {
        let Effort { rerank, k: meant, .. } = self.effort;
        rerank.saturating_mul(k).div_ceil(meant.max(1)).max(rerank).max(rescored(k))
    }

    /// From candidates to neighbours.
    fn finish(
        &self,
        idx: usize,
        query: &[f32],
        k: usize,
        originals: Option<&dyn Originals>,
        scratch: &mut Scratch,
    ) -> Result<Vec<Neighbour>, NearestError> {
        let Scratch { queries, chunk, rows, .. } = scratch;
        let Query { bytes, best, terms, .. } = &mut queries[idx];
        if self.finder.bits().is_some() {
            let found = best.finish();
            rows.clear();
            match &self.finder {
                Finder::Lists(lists) => {
                    rows.extend(found.iter().map(|found| lists.rows[found.row() as usize]));
                }
                _ => rows.extend(found.iter().map(|found| found.row())),
            }
            self.bytes.score_rows(bytes, rows, &mut chunk.sums, &mut chunk.scores);
            for ((found, row), score) in found.iter_mut().zip(&*rows).zip(&chunk.scores) {
                *found = Candidate::new(self.offsets[*row as usize] + score, *row);
            }
            best.keep_fewer(rescored(k));
        }
        let found = best.finish();
        let query_norm = if self.options.metric == Metric::Cosine { space::norm(query) } else { 1.0 };
        let id_of = |found: &Candidate| self.rows.ids()[found.row() as usize];
        let mut neighbours = Vec::with_capacity(found.len());
        for (idx, candidate) in found.iter().enumerate() {
            let id = id_of(candidate);
            let Some(originals) = originals else {
                neighbours.push(Neighbour { id, score: terms.score(candidate.score()) });
                continue;
            };
            if let Some(ahead) =
                found.get(idx + FETCHED_AHEAD).and_then(|ahead| originals.vector(id_of(ahead)))
            {
                prefetch(ahead);
            }
            let vector = originals.vector(id).ok_or(NearestError::Original { id })?;
            neighbours.push(Neighbour { id, score: self.space.exact(query, query_norm, vector) });
        }
        neighbours.sort_unstable_by(Neighbour::rank);
        neighbours.truncate(k);
        Ok(neighbours)
    }
}

/// Candidates whose exact scores are computed for `k` neighbours: 8-bit codes change places of near rows only.
pub(super) fn rescored(k: usize) -> usize {
    k.saturating_add(k.div_ceil(2)).max(1)
}
