//! What a sample of queries says about 1-bit codes: where the true neighbours stand, for any number of lists and of rows.

use std::ops::Range;

use promptc_kernels::BLOCK_ROWS;

use super::calibrate::{Truth, recall_of};
use super::finder::Finder;
use super::scan::Chunk;
use super::search::{ListRoom, Query};
use super::{NearestError, VectorIndex};

/// Gaps that are tried, from that which just reaches the target to that which reaches all true neighbours.
const GAPS: usize = 24;

/// One query against all rows. Without lists, all rows are one list.
struct Trace {
    /// Gap of each list, the nearest first: ascending.
    gaps: Vec<f32>,
    /// Blocks up to and with each list.
    blocks: Vec<usize>,
    neighbours: Vec<NeighbourTrace>,
}

/// One true neighbour.
struct NeighbourTrace {
    /// Place of its list.
    list: usize,
    /// Candidates with at least its score, up to and with each list.
    places: Vec<usize>,
}

/// All queries of a sample.
pub(super) struct Trial(Vec<Trace>);

/// An effort that reaches the target, with what it costs a query on average.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reaching {
    pub(super) gap: f32,
    pub(super) rerank: usize,
    /// Lists that are looked at.
    pub(super) lists: f64,
    /// Blocks of their rows.
    pub(super) blocks: f64,
}

impl Trial {
    /// Cost: a scan of all rows for each query, and a pass over the scores for each neighbour.
    pub(super) fn new(
        index: &VectorIndex,
        finder: &Finder,
        queries: &[&[f32]],
        truths: &[Truth],
    ) -> Result<Self, NearestError> {
        let (mut state, mut chunk, mut room) = (Query::default(), Chunk::default(), ListRoom::default());
        let traces = queries.iter().zip(truths).map(|(query, truth)| {
            index.prepare(finder, query, 1, &mut state)?;
            Ok(Trace::new(index, finder, &state, truth, &mut chunk, &mut room))
        });
        traces.collect::<Result<_, _>>().map(Self)
    }

    /// The efforts with which the lower end of the recall's interval reaches the target, one for each gap that can.
    pub(super) fn reaching(&self, target: f64) -> Vec<Reaching> {
        let neighbours = |trace: &Trace| trace.neighbours.iter().map(|one| trace.gaps[one.list]).collect();
        let mut gaps: Vec<f32> = self.0.iter().flat_map(|trace| -> Vec<f32> { neighbours(trace) }).collect();
        gaps.sort_unstable_by(f32::total_cmp);
        let first = ((gaps.len() as f64 * target) as usize).min(gaps.len().saturating_sub(1));
        let step = (gaps.len() - first).div_ceil(GAPS).max(1);
        let mut tried: Vec<f32> = gaps[first..].iter().step_by(step).chain(gaps.last()).copied().collect();
        tried.dedup();
        tried.into_iter().filter_map(|gap| self.at(gap, target)).collect()
    }

    fn at(&self, gap: f32, target: f64) -> Option<Reaching> {
        let near: Vec<usize> = self.0.iter().map(|trace| trace.near(gap)).collect();
        let traces = || self.0.iter().zip(&near);
        let places: Vec<Vec<usize>> = traces().map(|(trace, near)| trace.places(*near)).collect();
        let count = self.0.len() as f64;
        let blocks: usize = traces().map(|(trace, near)| trace.blocks[near - 1]).sum();
        let rerank = needed(&places, target)?;
        let lists = near.iter().sum::<usize>() as f64 / count;
        Some(Reaching { gap, rerank, lists, blocks: blocks as f64 / count })
    }
}

impl Trace {
    fn new(
        index: &VectorIndex,
        finder: &Finder,
        query: &Query,
        truth: &Truth,
        chunk: &mut Chunk,
        room: &mut ListRoom,
    ) -> Self {
        let codes = index.codes(finder);
        let block_count = codes.block_count();
        chunk.reserve(block_count);
        codes.score(query, 0..block_count, f32::INFINITY, chunk);
        let scores = &mut chunk.scores;
        let mut gaps = vec![0.0];
        let mut runs: Vec<Vec<Range<usize>>> = vec![vec![0..block_count]];
        if let Finder::Lists(lists) = finder {
            lists.rank(query, room);
            room.ranked.sort_unstable_by(|left, right| right.cmp(left));
            gaps = room.gaps(query.bits.norm * lists.spread);
            runs.clear();
            for list in &room.ranked {
                let (list, lift) = lists.lifted(list.row() as usize, room);
                let own: Vec<Range<usize>> = list.runs().collect();
                own.iter().flat_map(rows_of).for_each(|row| scores[row] += lift);
                runs.push(own);
            }
        }
        let blocks = runs.iter().scan(0, |sum, runs| {
            *sum += runs.iter().map(Range::len).sum::<usize>();
            Some(*sum)
        });
        let blocks = blocks.collect();
        let slot = |row: &u32| match finder {
            Finder::Lists(lists) => lists.slot_of(*row as usize),
            _ => *row as usize,
        };
        let neighbours = truth.rows.iter().map(slot).map(|slot| NeighbourTrace::new(slot, scores, &runs));
        let neighbours = neighbours.collect();
        Self { gaps, blocks, neighbours }
    }

    /// Number of lists within a gap.
    fn near(&self, gap: f32) -> usize {
        self.gaps.partition_point(|other| *other <= gap).max(1)
    }

    /// Where the true neighbours stand, 1 being the first; those that are in none of the near lists behind all rows.
    fn places(&self, near: usize) -> Vec<usize> {
        let place = |one: &NeighbourTrace| if one.list < near { one.places[near - 1] } else { usize::MAX };
        self.neighbours.iter().map(place).collect()
    }
}

impl NeighbourTrace {
    fn new(slot: usize, scores: &[f32], runs: &[Vec<Range<usize>>]) -> Self {
        let own = scores[slot];
        let block = slot / BLOCK_ROWS;
        let list =
            runs.iter().position(|runs| runs.iter().any(|run| run.contains(&block))).unwrap_or(runs.len());
        let places = runs.iter().scan(0, |above, runs| {
            let rows =
                |run: &Range<usize>| scores[rows_of(run)].iter().filter(|score| **score >= own).count();
            *above += runs.iter().map(rows).sum::<usize>();
            Some(*above)
        });
        Self { list, places: places.collect() }
    }
}

fn rows_of(blocks: &Range<usize>) -> Range<usize> {
    blocks.start * BLOCK_ROWS..blocks.end * BLOCK_ROWS
}

/// Rows that have to be scored again for the lower end of the recall's interval to reach the target; `None` if it cannot.
fn needed(places: &[Vec<usize>], target: f64) -> Option<usize> {
    let mut ascending: Vec<usize> = places.iter().flatten().copied().collect();
    ascending.sort_unstable();
    let is_enough = |most: usize| {
        let found =
            |places: &Vec<usize>| (places.iter().filter(|place| **place <= most).count(), places.len());
        recall_of(places.iter().map(found)).1 >= target
    };
    let enough = ascending.partition_point(|most| !is_enough(*most));
    ascending.get(enough).copied().filter(|place| *place < usize::MAX)
}
