//! The pass over the codes, and what is done with the candidates that it leaves.
//!
//! ```text
//!  query ─▶ codes of the query ─▶ scan, chunk by chunk ─▶ best candidates ─▶ 8-bit scores ─▶ exact scores ─▶ k neighbours
//!                                  (all queries of a batch share it,       (after 1-bit codes)  (if originals are given)
//!                                   but for lists, of which each has its own)
//! ```

use std::ops::Range;

use promptc_kernels::{BLOCK_ROWS, Kernels, Scoring, prefetch_f32};

use super::best::{self, Best, Candidate};
use super::bits::{BitCodes, BitQuery};
use super::bytes::{ByteCodes, ByteQuery};
use super::finder::{Effort, Finder};
use super::kmeans::CentreScores;
use super::rows::RowMask;
use super::space::{self, Terms};
use super::{Metric, NearestError, Neighbour, Originals, VectorIndex};

/// Blocks of rows that are scanned before the threshold is looked at again; the first chunks are smaller, since any row is among
/// the best then.
pub(super) const CHUNK_BLOCKS: usize = 8;

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
    pub(super) queries: Vec<Query>,
    pub(super) chunk: Chunk,
    pub(super) lists: ListRoom,
    rows: Vec<u32>,
    sample: Vec<Candidate>,
}

/// Room for the scores of some blocks.
#[derive(Debug, Clone, Default)]
pub(super) struct Chunk {
    sums: Vec<i32>,
    pub(super) scores: Vec<f32>,
    pub(super) masks: Vec<u64>,
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

/// Codes in blocks, as a scan reads them, with the offsets that belong to them.
#[derive(Clone, Copy)]
pub(super) enum Blocks<'a> {
    Bytes(&'a ByteCodes, &'a [f32]),
    Bits(&'a BitCodes, &'a [f32]),
}

impl Blocks<'_> {
    pub(super) fn block_count(self) -> usize {
        let (Self::Bytes(_, offsets) | Self::Bits(_, offsets)) = self;
        offsets.len() / BLOCK_ROWS
    }

    /// Leaves scores of some blocks and masks of those above the threshold in `chunk`.
    #[inline]
    pub(super) fn score(self, query: &Query, blocks: Range<usize>, threshold: f32, chunk: &mut Chunk) {
        let (start, end) = (blocks.start * BLOCK_ROWS, blocks.end * BLOCK_ROWS);
        let Chunk { sums, scores, masks } = chunk;
        let (sums, scores) = (&mut sums[..end - start], &mut scores[..end - start]);
        let scoring = match self {
            Blocks::Bits(bits, offsets) => {
                bits.scan(&query.bits, start, sums);
                let (scale, shift) = (query.bits.scale, query.bits.shift);
                Scoring { factors: &bits.factors, offsets, scale, shift }
            }
            Blocks::Bytes(bytes, offsets) => {
                bytes.scan(&query.bytes, start, sums);
                let (scale, shift) = (query.bytes.scale, query.bytes.shift);
                Scoring { factors: &bytes.scales, offsets, scale, shift }
            }
        };
        let scoring = scoring.rows(start, end);
        Kernels::best().scores_above(sums, &scoring, threshold, scores, &mut masks[..blocks.len()]);
    }
}

impl Chunk {
    /// Room for so many blocks.
    pub(super) fn reserve(&mut self, blocks: usize) {
        self.sums.resize(blocks * BLOCK_ROWS, 0);
        self.scores.resize(blocks * BLOCK_ROWS, 0.0);
        self.masks.resize(blocks, 0);
    }
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
            finder => self.scan_blocks(self.codes(finder), mask, scratch),
        }
        Ok(())
    }

    /// The codes that a finder scans.
    pub(super) fn codes<'a>(&'a self, finder: &'a Finder) -> Blocks<'a> {
        match finder {
            Finder::Scan => Blocks::Bytes(&self.bytes, &self.offsets),
            Finder::Bits(bits) => Blocks::Bits(&bits.codes, &self.offsets),
            Finder::Lists(lists) => Blocks::Bits(&lists.bits, &lists.offsets),
        }
    }

    /// As [`Self::scan`], over all blocks.
    fn scan_blocks(&self, codes: Blocks<'_>, mask: Option<&RowMask>, scratch: &mut Scratch) {
        let all = 0..scratch.queries.len();
        for idx in all.clone() {
            let threshold = if mask.is_none() { self.guess(codes, idx, scratch) } else { f32::NEG_INFINITY };
            let best = &mut scratch.queries[idx].best;
            best.start(best.keep(), threshold);
        }
        self.pass(codes, all.clone(), mask, scratch);
        for idx in all {
            let best = &mut scratch.queries[idx].best;
            if mask.is_none() && best.len() < best.keep().min(self.len()) {
                best.start(best.keep(), f32::NEG_INFINITY);
                self.pass(codes, idx..idx + 1, mask, scratch);
            }
        }
    }

    /// One pass over the codes for some of the queries.
    fn pass(&self, codes: Blocks<'_>, queries: Range<usize>, mask: Option<&RowMask>, scratch: &mut Scratch) {
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
                let Scratch { queries, chunk, .. } = &mut *scratch;
                scan_chunk(codes, &mut queries[idx], block..end, 0.0, mask, chunk);
            }
            len = (2 * block.max(1)).clamp(1, CHUNK_BLOCKS);
            block = end;
        }
    }

    /// A threshold that somewhat more rows than are kept should be above, from a sample of the blocks.
    fn guess(&self, codes: Blocks<'_>, idx: usize, scratch: &mut Scratch) -> f32 {
        let block_count = self.len().div_ceil(BLOCK_ROWS);
        let wanted = AIM * scratch.queries[idx].best.keep() * SAMPLED_BLOCKS / block_count.max(1);
        if block_count < GUESS_BLOCKS || wanted >= SAMPLED_BLOCKS * BLOCK_ROWS / 2 {
            return f32::NEG_INFINITY;
        }
        let Scratch { queries, chunk, sample, .. } = scratch;
        sample.clear();
        for sampled in 0..SAMPLED_BLOCKS {
            let block = sampled * block_count / SAMPLED_BLOCKS;
            codes.score(&queries[idx], block..block + 1, f32::INFINITY, chunk);
            sample.extend(chunk.scores[..BLOCK_ROWS].iter().map(|score| Candidate::new(*score, 0)));
        }
        best::select(sample, wanted + 1);
        sample[wanted].score()
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

/// Takes the candidates of some blocks; all scores are raised by `lift`.
#[inline]
pub(super) fn scan_chunk(
    codes: Blocks<'_>,
    query: &mut Query,
    blocks: Range<usize>,
    lift: f32,
    mask: Option<&RowMask>,
    chunk: &mut Chunk,
) {
    codes.score(query, blocks.clone(), query.best.threshold() - lift, chunk);
    let words = chunk.masks[..blocks.len()].iter().zip(chunk.scores.as_chunks::<BLOCK_ROWS>().0);
    for ((word, scores), block) in words.zip(blocks) {
        let allowed = mask.map_or(u64::MAX, |mask| mask.words[block]);
        query.best.take(word & allowed, scores, lift, block * BLOCK_ROWS);
    }
}

/// Candidates whose exact scores are computed for `k` neighbours: 8-bit codes change places of near rows only.
fn rescored(k: usize) -> usize {
    k.saturating_add(k.div_ceil(2)).max(1)
}
