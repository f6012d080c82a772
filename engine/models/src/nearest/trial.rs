//! What a sample of queries says about 1-bit codes: where the true neighbours stand, for any number of lists and of rows.

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

/// Room for one query against all rows.
#[derive(Default)]
struct Room {
    chunk: Chunk,
    lists: ListRoom,
    /// Slots of lists by row.
    slots: Vec<u32>,
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
        let mut state = Query::default();
        let mut room = Room::default();
        if let Finder::Lists(lists) = finder {
            room.slots = lists.slots();
        }
        let traces = queries.iter().zip(truths).map(|(query, truth)| {
            index.prepare(finder, query, 1, &mut state)?;
            Ok(Trace::new(index, finder, &state, truth, &mut room))
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
    fn new(index: &VectorIndex, finder: &Finder, query: &Query, truth: &Truth, room: &mut Room) -> Self {
        let Room { chunk, lists: room, slots } = room;
        let codes = index.codes(finder);
        let block_count = codes.block_count();
        chunk.reserve(block_count);
        codes.score(query, 0..block_count, f32::INFINITY, chunk);
        let scores = &chunk.scores;
        let Finder::Lists(lists) = finder else {
            let places = truth.rows.iter().map(|row| (0, scores[*row as usize]));
            return Self::of(vec![0.0], vec![block_count], scores, &[scores.len()], places);
        };
        lists.rank(query, room);
        room.ranked.sort_unstable_by(|left, right| right.cmp(left));
        let gaps = room.gaps(query.bits.norm * lists.spread);
        let (mut blocks, mut ends, mut ordered) = (vec![], vec![], Vec::with_capacity(scores.len()));
        for list in &room.ranked {
            let (list, lift) = lists.lifted(list.row() as usize, room);
            ordered.extend(list.slots().map(|slot| scores[slot] + lift));
            blocks.push(blocks.last().copied().unwrap_or(0) + list.block_count());
            ends.push(ordered.len());
        }
        let place = |row: &u32| {
            let slot = slots[*row as usize] as usize;
            let near = room.ranked.iter().map(|list| lists.lifted(list.row() as usize, room));
            let own = near.enumerate().find(|(_, (list, _))| list.has(slot));
            let (place, (_, lift)) = own.expect("invariant: a row is in a list");
            (place, scores[slot] + lift)
        };
        Self::of(gaps, blocks, &ordered, &ends, truth.rows.iter().map(place))
    }

    /// From the scores list by list, each up to its end, and the lists and scores of the neighbours.
    fn of(
        gaps: Vec<f32>,
        blocks: Vec<usize>,
        scores: &[f32],
        ends: &[usize],
        neighbours: impl Iterator<Item = (usize, f32)>,
    ) -> Self {
        let neighbours = neighbours.map(|(list, own)| NeighbourTrace::new(list, own, scores, ends));
        Self { gaps, blocks, neighbours: neighbours.collect() }
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
    fn new(list: usize, own: f32, scores: &[f32], ends: &[usize]) -> Self {
        let (mut start, mut above) = (0, 0);
        let places = ends.iter().map(|end| {
            above += scores[start..*end].iter().filter(|score| **score >= own).count();
            start = *end;
            above
        });
        Self { list, places: places.collect() }
    }
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
