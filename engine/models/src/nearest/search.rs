//! The pass over the codes, and what is done with the candidates that it leaves.
//!
//! ```text
//!  query ─▶ codes of the query ─▶ scan, chunk by chunk ─▶ best candidates ─▶ 8-bit scores ─▶ exact scores ─▶ k neighbours
//!                                  (all queries of a batch share it)       (after 1-bit codes)  (if originals are given)
//! ```

use promptc_kernels::{BLOCK_ROWS, Kernels, Scoring};

use super::best::{Best, Candidate};
use super::bits::BitQuery;
use super::bytes::ByteQuery;
use super::rows::RowMask;
use super::space::{self, Terms};
use super::{NearestError, Neighbour, Originals, Structure, VectorIndex};

/// Blocks of rows that are scanned before the threshold is looked at again; the first chunks are smaller, since any row is among
/// the best then.
const CHUNK_BLOCKS: usize = 8;

/// What one thread needs for its searches; made once, used again.
#[derive(Debug, Clone, Default)]
pub struct Scratch {
    queries: Vec<Query>,
    sums: Vec<i32>,
    scores: Vec<f32>,
    masks: Vec<u64>,
    rows: Vec<u32>,
}

/// One query in all its forms.
#[derive(Debug, Clone, Default)]
struct Query {
    placed: Vec<f32>,
    terms: Terms,
    bytes: ByteQuery,
    bits: BitQuery,
    best: Best,
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
            self.prepare(query, k, state)?;
        }
        scratch.sums.resize(CHUNK_BLOCKS * BLOCK_ROWS, 0);
        scratch.scores.resize(CHUNK_BLOCKS * BLOCK_ROWS, 0.0);
        scratch.masks.resize(CHUNK_BLOCKS, 0);
        let block_count = self.len().div_ceil(BLOCK_ROWS);
        let (mut block, mut len) = (0, 1);
        while k > 0 && block < block_count {
            let is_wanted = |block: usize| mask.is_none_or(|mask| mask.words[block] != 0);
            if !is_wanted(block) {
                block += 1;
                continue;
            }
            let most = (block + len).min(block_count);
            let end = (block + 1..most).find(|block| !is_wanted(*block)).unwrap_or(most);
            for idx in 0..scratch.queries.len() {
                self.scan_chunk(idx, block..end, mask, scratch);
            }
            len = (2 * block.max(1)).clamp(1, CHUNK_BLOCKS);
            block = end;
        }
        Ok(())
    }

    fn prepare(&self, query: &[f32], k: usize, state: &mut Query) -> Result<(), NearestError> {
        space::check(query, self.options.dim)?;
        state.placed.resize(self.options.dim, 0.0);
        state.terms = self.space.place_query(query, &mut state.placed);
        state.bytes.set(&state.placed, self.bytes.width);
        if let Some(bits) = &self.bits {
            state.bits.set(&state.placed, &bits.rotation);
        }
        state.best.start(match self.structure() {
            Structure::Scan => rescored(k),
            Structure::Bits => self.reranked(k),
        });
        Ok(())
    }

    /// Rows of 1-bit codes whose 8-bit scores are computed for `k` neighbours.
    fn reranked(&self, k: usize) -> usize {
        let share = self.rerank.saturating_mul(k).div_ceil(self.rerank_k.max(1));
        share.max(self.rerank).max(rescored(k))
    }

    fn scan_chunk(
        &self,
        idx: usize,
        blocks: std::ops::Range<usize>,
        mask: Option<&RowMask>,
        scratch: &mut Scratch,
    ) {
        let Scratch { queries, sums, scores, masks, .. } = scratch;
        let query = &mut queries[idx];
        let (start, end) = (blocks.start * BLOCK_ROWS, blocks.end * BLOCK_ROWS);
        let (sums, scores) = (&mut sums[..end - start], &mut scores[..end - start]);
        let masks = &mut masks[..blocks.len()];
        let scoring = match &self.bits {
            Some(bits) => {
                bits.scan(&query.bits, start, sums);
                let (scale, shift) = (query.bits.scale, query.bits.shift);
                Scoring { factors: &bits.factors, offsets: &self.offsets, scale, shift }
            }
            None => {
                self.bytes.scan(&query.bytes, start, sums);
                let (scale, shift) = (query.bytes.scale, query.bytes.shift);
                Scoring { factors: &self.bytes.scales, offsets: &self.offsets, scale, shift }
            }
        };
        let scoring = scoring.rows(start, end);
        Kernels::best().scores_above(sums, &scoring, query.best.threshold(), scores, masks);
        for (idx, (word, scores)) in masks.iter().zip(scores.as_chunks::<BLOCK_ROWS>().0).enumerate() {
            let allowed = mask.map_or(u64::MAX, |mask| mask.words[blocks.start + idx]);
            query.best.take(word & allowed, scores, start + idx * BLOCK_ROWS);
        }
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
        let Scratch { queries, sums, scores, rows, .. } = scratch;
        let Query { bytes, best, terms, .. } = &mut queries[idx];
        if self.bits.is_some() {
            let found = best.finish();
            rows.clear();
            rows.extend(found.iter().map(|found| found.row));
            self.bytes.score_rows(bytes, rows, sums, scores);
            for (found, score) in found.iter_mut().zip(&*scores) {
                found.score = self.offsets[found.row as usize] + score;
            }
            best.keep_fewer(rescored(k));
        }
        let found = best.finish();
        let query_norm = space::norm(query);
        let neighbour = |found: &Candidate| {
            let id = self.rows.ids()[found.row as usize];
            let score = match originals {
                None => terms.score(found.score),
                Some(originals) => {
                    let vector = originals.vector(id).ok_or(NearestError::Original { id })?;
                    self.space.exact(query, query_norm, vector)
                }
            };
            Ok(Neighbour { id, score })
        };
        let mut neighbours: Vec<Neighbour> = found.iter().map(neighbour).collect::<Result<_, _>>()?;
        neighbours.sort_unstable_by(Neighbour::rank);
        neighbours.truncate(k);
        Ok(neighbours)
    }
}

/// Candidates whose exact scores are computed for `k` neighbours: 8-bit codes change places of near rows only.
fn rescored(k: usize) -> usize {
    k.saturating_mul(2).max(1)
}
