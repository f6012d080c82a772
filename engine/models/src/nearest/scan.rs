//! The pass over codes in blocks, chunk by chunk.

use std::ops::Range;

use promptc_kernels::{BLOCK_ROWS, Kernels, Scoring};

use super::VectorIndex;
use super::best::{self, Candidate};
use super::bits::BitCodes;
use super::bytes::ByteCodes;
use super::finder::Finder;
use super::rows::RowMask;
use super::search::{Query, Scratch};

/// Blocks of rows that are scanned before the threshold is looked at again; the first chunks are smaller, since any row is among
/// the best then.
pub(super) const CHUNK_BLOCKS: usize = 8;

/// From so many blocks on, a threshold is guessed before a scan by 1-bit codes.
const GUESS_BLOCKS: usize = 64;
/// Blocks whose scores the guess is made of, evenly spread.
const SAMPLED_BLOCKS: usize = 8;
/// Candidates that a guess aims at, for each that is kept: a sample is off by a quarter, and a scan that finds too few is done again.
const AIM: usize = 2;

/// Blocks whose scores are kept until a threshold is found among them, where few candidates are wanted: the second cache of a small
/// processor holds their 8-bit codes, the first one their scores.
const HEAD_BLOCKS: usize = 16;
/// Most candidates for which this is done: half the rows of a block.
const HEAD_KEPT: usize = BLOCK_ROWS / 2;

/// Room for the scores of some blocks.
#[derive(Debug, Clone, Default)]
pub(super) struct Chunk {
    pub(super) sums: Vec<i32>,
    pub(super) scores: Vec<f32>,
    pub(super) masks: Vec<u64>,
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
        let rows = blocks.start * BLOCK_ROWS;
        let sums = &mut chunk.sums[..blocks.len() * BLOCK_ROWS];
        match self {
            Blocks::Bits(bits, _) => bits.scan(&query.bits, rows, sums),
            Blocks::Bytes(bytes, _) => bytes.scan(&query.bytes, rows, sums),
        }
        self.compare(query, blocks, threshold, chunk);
    }

    /// The same with sums that are in `chunk` already.
    #[inline]
    fn compare(self, query: &Query, blocks: Range<usize>, threshold: f32, chunk: &mut Chunk) {
        let (factors, offsets, scale, shift) = match self {
            Blocks::Bits(bits, offsets) => (&bits.factors, offsets, query.bits.scale, query.bits.shift),
            Blocks::Bytes(bytes, offsets) => (&bytes.scales, offsets, query.bytes.scale, query.bytes.shift),
        };
        let scoring = Scoring { factors, offsets, scale, shift };
        let scoring = scoring.rows(blocks.start * BLOCK_ROWS, blocks.end * BLOCK_ROWS);
        let rows = blocks.len() * BLOCK_ROWS;
        let Chunk { sums, scores, masks } = chunk;
        let (sums, scores, masks) = (&sums[..rows], &mut scores[..rows], &mut masks[..blocks.len()]);
        Kernels::best().scores_above(sums, &scoring, threshold, scores, masks);
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
    /// The codes that a finder scans.
    pub(super) fn codes<'a>(&'a self, finder: &'a Finder) -> Blocks<'a> {
        match finder {
            Finder::Scan | Finder::Graph(_) => Blocks::Bytes(&self.bytes, &self.offsets),
            Finder::Bits(bits) => Blocks::Bits(&bits.codes, &self.offsets),
            Finder::Lists(lists) => Blocks::Bits(&lists.bits, &lists.offsets),
        }
    }

    /// As [`Self::scan`], over all blocks.
    pub(super) fn scan_blocks(&self, codes: Blocks<'_>, mask: Option<&RowMask>, scratch: &mut Scratch) {
        let all = 0..scratch.queries.len();
        for idx in all.clone() {
            let threshold = if mask.is_none() { guess(codes, idx, scratch) } else { f32::NEG_INFINITY };
            let best = &mut scratch.queries[idx].best;
            best.start(best.keep(), threshold);
        }
        let mut head = 0;
        if mask.is_none() && all.clone().all(|idx| scratch.queries[idx].best.keep() <= HEAD_KEPT) {
            all.clone().for_each(|idx| head = take_head(codes, idx, scratch));
        }
        pass(codes, all.clone(), head, mask, scratch);
        for idx in all {
            let best = &mut scratch.queries[idx].best;
            if mask.is_none() && best.len() < best.keep().min(self.len()) {
                best.start(best.keep(), f32::NEG_INFINITY);
                pass(codes, idx..idx + 1, 0, mask, scratch);
            }
        }
    }
}

/// One pass over the codes, from block `first` on, for some of the queries.
fn pass(
    codes: Blocks<'_>,
    queries: Range<usize>,
    first: usize,
    mask: Option<&RowMask>,
    scratch: &mut Scratch,
) {
    let block_count = codes.block_count();
    let (mut block, mut len) = (first, 2 * first.clamp(1, CHUNK_BLOCKS));
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
            let allowed = |block: usize| mask.map_or(u64::MAX, |mask| mask.words[block]);
            scan_chunk(codes, &mut queries[idx], block..end, 0.0, allowed, chunk);
        }
        len = (2 * block.max(1)).clamp(1, CHUNK_BLOCKS);
        block = end;
    }
}

/// A threshold that somewhat more rows than are kept should be above, from a sample of the blocks.
fn guess(codes: Blocks<'_>, idx: usize, scratch: &mut Scratch) -> f32 {
    let block_count = codes.block_count();
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

/// Takes the candidates of the first blocks, and returns how many these are. Where the greatest scores of as many places of a block as
/// candidates are kept are above a threshold, so are that many rows: hardly more than the best are ever taken.
fn take_head(codes: Blocks<'_>, idx: usize, scratch: &mut Scratch) -> usize {
    let Scratch { queries, chunk, sample, .. } = scratch;
    let query = &mut queries[idx];
    let head = codes.block_count().min(HEAD_BLOCKS);
    chunk.reserve(HEAD_BLOCKS);
    codes.score(query, 0..head, f32::INFINITY, chunk);
    let mut greatest = [f32::NEG_INFINITY; BLOCK_ROWS];
    for scores in &chunk.scores.as_chunks::<BLOCK_ROWS>().0[..head] {
        let greater = |most: &mut f32, score: &f32| *most = if *score > *most { *score } else { *most };
        greatest.iter_mut().zip(scores).for_each(|(most, score)| greater(most, score));
    }
    let keep = query.best.keep();
    sample.clear();
    sample.extend(greatest.iter().map(|score| Candidate::new(*score, 0)));
    best::select(sample, keep);
    let threshold = sample[keep - 1].score().next_down();
    query.best.start(keep, threshold);
    codes.compare(query, 0..head, threshold, chunk);
    for block in 0..head {
        let scores = &chunk.scores[block * BLOCK_ROWS..(block + 1) * BLOCK_ROWS];
        query.best.take(chunk.masks[block], scores, 0.0, block * BLOCK_ROWS);
    }
    head
}

/// Takes the candidates of some blocks, of each those rows that `allowed` has a bit for; all scores are raised by `lift`.
#[inline]
pub(super) fn scan_chunk(
    codes: Blocks<'_>,
    query: &mut Query,
    blocks: Range<usize>,
    lift: f32,
    allowed: impl Fn(usize) -> u64,
    chunk: &mut Chunk,
) {
    codes.score(query, blocks.clone(), query.best.threshold() - lift, chunk);
    let words = chunk.masks[..blocks.len()].iter().zip(chunk.scores.as_chunks::<BLOCK_ROWS>().0);
    for ((word, scores), block) in words.zip(blocks) {
        query.best.take(word & allowed(block), scores, lift, block * BLOCK_ROWS);
    }
}
