//! The pass over the codes, and what is done with the candidates that it leaves.
//!
//! ```text
//!  query ─▶ codes of the query ─▶ scan, chunk by chunk ─▶ best candidates ─▶ 8-bit scores ─▶ exact scores ─▶ k neighbours
//!                                  (all queries of a batch share it)       (after 1-bit codes)  (if originals are given)
//! ```

use std::ops::Range;

use promptc_kernels::{BLOCK_ROWS, Kernels, Scoring, prefetch_f32};

use super::best::{self, Best, Candidate};
use super::bits::BitQuery;
use super::bytes::ByteQuery;
use super::rows::RowMask;
use super::space::{self, Terms};
use super::{Metric, NearestError, Neighbour, Originals, Structure, VectorIndex};

/// Blocks of rows that are scanned before the threshold is looked at again; the first chunks are smaller, since any row is among
/// the best then.
const CHUNK_BLOCKS: usize = 8;

/// From so many blocks on, a threshold is guessed before a scan by 1-bit codes.
const GUESS_BLOCKS: usize = 64;
/// Blocks whose scores the guess is made of, evenly spread.
const SAMPLED_BLOCKS: usize = 8;
/// Candidates that a guess aims at, for each that is kept: a sample is off by a quarter, and a scan that finds too few is done again.
const AIM: usize = 2;

/// Originals that are fetched ahead of the one whose score is computed.
const FETCHED_AHEAD: usize = 2;

/// What one thread needs for its searches; made once, used again.
#[derive(Debug, Clone, Default)]
pub struct Scratch {
    queries: Vec<Query>,
    sums: Vec<i32>,
    scores: Vec<f32>,
    masks: Vec<u64>,
    rows: Vec<u32>,
    sample: Vec<Candidate>,
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
        if k == 0 {
            return Ok(());
        }
        let all = 0..scratch.queries.len();
        for idx in all.clone() {
            let threshold = if mask.is_none() { self.guess(idx, scratch) } else { f32::NEG_INFINITY };
            let best = &mut scratch.queries[idx].best;
            best.start(best.keep(), threshold);
        }
        self.pass(all.clone(), mask, scratch);
        for idx in all {
            let best = &mut scratch.queries[idx].best;
            if mask.is_none() && best.len() < best.keep().min(self.len()) {
                best.start(best.keep(), f32::NEG_INFINITY);
                self.pass(idx..idx + 1, mask, scratch);
            }
        }
        Ok(())
    }

    /// One pass over the codes for some of the queries.
    fn pass(&self, queries: Range<usize>, mask: Option<&RowMask>, scratch: &mut Scratch) {
        let block_count = self.len().div_ceil(BLOCK_ROWS);
        let (mut block, mut len) = (0, 1);
        while block < block_count {
            let is_wanted = |block: usize| mask.is_none_or(|mask| mask.words[block] != 0);
            if !is_wanted(block) {
                block += 1;
                continue;
            }
            let most = (block + len).min(block_count);
            let end = (block + 1..most).find(|block| !is_wanted(*block)).unwrap_or(most);
            for idx in queries.clone() {
                self.scan_chunk(idx, block..end, mask, scratch);
            }
            len = (2 * block.max(1)).clamp(1, CHUNK_BLOCKS);
            block = end;
        }
    }

    /// A threshold that somewhat more rows than are kept should be above, from a sample of the blocks.
    fn guess(&self, idx: usize, scratch: &mut Scratch) -> f32 {
        let block_count = self.len().div_ceil(BLOCK_ROWS);
        let wanted = AIM * scratch.queries[idx].best.keep() * SAMPLED_BLOCKS / block_count.max(1);
        if block_count < GUESS_BLOCKS || wanted >= SAMPLED_BLOCKS * BLOCK_ROWS / 2 {
            return f32::NEG_INFINITY;
        }
        scratch.sample.clear();
        for sampled in 0..SAMPLED_BLOCKS {
            let block = sampled * block_count / SAMPLED_BLOCKS;
            self.score_chunk(idx, block..block + 1, f32::INFINITY, scratch);
            let scored = scratch.scores[..BLOCK_ROWS].iter().map(|score| Candidate::new(*score, 0));
            scratch.sample.extend(scored);
        }
        best::select(&mut scratch.sample, wanted + 1);
        scratch.sample[wanted].score()
    }

    fn prepare(&self, query: &[f32], k: usize, state: &mut Query) -> Result<(), NearestError> {
        space::check(query, self.options.dim)?;
        state.placed.resize(self.options.dim, 0.0);
        state.terms = self.space.place_query(query, &mut state.placed);
        state.bytes.set(&state.placed, self.bytes.width);
        if let Some(bits) = &self.bits {
            state.bits.set(&state.placed, &bits.rotation);
        }
        let keep = match self.structure() {
            Structure::Scan => rescored(k),
            Structure::Bits => self.reranked(k),
        };
        state.best.start(keep, f32::NEG_INFINITY);
        Ok(())
    }

    /// Rows of 1-bit codes whose 8-bit scores are computed for `k` neighbours.
    fn reranked(&self, k: usize) -> usize {
        let share = self.rerank.saturating_mul(k).div_ceil(self.rerank_k.max(1));
        share.max(self.rerank).max(rescored(k))
    }

    fn scan_chunk(&self, idx: usize, blocks: Range<usize>, mask: Option<&RowMask>, scratch: &mut Scratch) {
        self.score_chunk(idx, blocks.clone(), scratch.queries[idx].best.threshold(), scratch);
        let Scratch { queries, scores, masks, .. } = scratch;
        let words = masks[..blocks.len()].iter().zip(scores.as_chunks::<BLOCK_ROWS>().0);
        for ((word, scores), block) in words.zip(blocks) {
            let allowed = mask.map_or(u64::MAX, |mask| mask.words[block]);
            queries[idx].best.take(word & allowed, scores, block * BLOCK_ROWS);
        }
    }

    /// Leaves scores of some blocks and masks of those above the threshold in `scratch`.
    fn score_chunk(&self, idx: usize, blocks: Range<usize>, threshold: f32, scratch: &mut Scratch) {
        let Scratch { queries, sums, scores, masks, .. } = scratch;
        let query = &queries[idx];
        let (start, end) = (blocks.start * BLOCK_ROWS, blocks.end * BLOCK_ROWS);
        let (sums, scores) = (&mut sums[..end - start], &mut scores[..end - start]);
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
        Kernels::best().scores_above(sums, &scoring, threshold, scores, &mut masks[..blocks.len()]);
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
            rows.extend(found.iter().map(|found| found.row()));
            self.bytes.score_rows(bytes, rows, sums, scores);
            for (found, score) in found.iter_mut().zip(&*scores) {
                *found = Candidate::new(self.offsets[found.row() as usize] + score, found.row());
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
                prefetch_f32(ahead);
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
fn rescored(k: usize) -> usize {
    k.saturating_add(k.div_ceil(2)).max(1)
}
