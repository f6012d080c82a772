//! The pass over the nearest lists of one query.

use super::VectorIndex;
use super::best::{self, Candidate};
use super::lists::Lists;
use super::rows::RowMask;
use super::scan::scan_chunk;
use super::search::{ListRoom, Query, Scratch};
use super::slots::List;

/// Share of a list's spread by which good rows are above its mean. Measured: 0.65 looks at half as many rows as 0 on clustered vectors
/// and at a tenth fewer on those of an encoder, 1.0 at the same and at a tenth more.
const REACH: f32 = 0.65;
/// Lists whose mean rank says how good the best are: one alone may be far above the others.
const BEST_LISTS: usize = 10;

impl VectorIndex {
    /// Leaves the best candidates of the near lists in `scratch`. With a mask, further lists are looked at until they hold as many
    /// allowed rows as there are rows in the near ones: all lists, if few rows are allowed.
    pub(super) fn probe(&self, lists: &Lists, idx: usize, mask: Option<&RowMask>, scratch: &mut Scratch) {
        let Scratch { queries, chunk, lists: room, .. } = scratch;
        let query = &mut queries[idx];
        lists.rank(query, room);
        let near = lists.near(query, self.effort.gap, room);
        let rows: usize = room.ranked[..near].iter().map(|list| lists.list(list.row() as usize).len()).sum();
        let enough = rows.max(query.best.keep()).min(self.len());
        let codes = self.codes(&self.finder);
        let mut seen = 0;
        for place in 0..lists.count() {
            if place >= near && seen >= enough {
                break;
            }
            if place == near {
                room.ranked[near..].sort_unstable_by(|left, right| right.cmp(left));
            }
            let (list, lift) = lists.lifted(room.ranked[place].row() as usize, room);
            let rows = match mask {
                Some(mask) => list.allowed(mask),
                None => list.len(),
            };
            seen += rows;
            for run in list.runs().filter(|_| rows > 0) {
                let allowed = |block: usize| {
                    list.slots_in(block as u32) & mask.map_or(u64::MAX, |mask| mask.words[block])
                };
                scan_chunk(codes, query, run, lift, allowed, chunk);
            }
        }
    }
}

impl Lists {
    /// A list, and what its centre gives to the score of each of its rows, after [`Self::rank`].
    pub(super) fn lifted(&self, list: usize, room: &ListRoom) -> (&List, f32) {
        (self.list(list), room.scores.scores[list] - self.means[list])
    }

    /// Leaves the ranks of all lists in `room`. A list ranks by the score that good rows of it may have: the mean of its rows and
    /// [`REACH`] times the most that a row at their mean distance from the centre can be above it. By the centre alone, wide lists
    /// are looked at too late.
    pub(super) fn rank(&self, query: &Query, room: &mut ListRoom) {
        let ListRoom { scores, ranked } = room;
        self.centres.score(&query.bytes, &self.means, scores);
        let reach = REACH * query.bits.norm;
        ranked.clear();
        let lists = scores.scores.iter().zip(&self.spreads).zip(0..);
        ranked.extend(lists.map(|((mean, spread), list)| Candidate::new(mean + reach * spread, list)));
    }

    /// Brings the lists to the front that rank at most `gap` below the mean of the [`BEST_LISTS`] best, and returns their number, at
    /// least 1; the best come first. The gap is in lengths of the query times the spread of all rows, so that it neither depends on
    /// the scale of the vectors nor on the number of lists. A query between many lists looks at more of them than one inside a list:
    /// at equal recall, three quarters of the rows that a fixed number of lists has.
    pub(super) fn near(&self, query: &Query, gap: f32, room: &mut ListRoom) -> usize {
        let ranked = &mut room.ranked;
        let best = BEST_LISTS.min(ranked.len());
        best::select(ranked, best);
        ranked[..best].sort_unstable_by(|left, right| right.cmp(left));
        let bar = mean(&ranked[..best]) - gap * query.bits.norm * self.spread;
        let bar = Candidate::new(bar, u32::MAX);
        let mut near = ranked[..best].partition_point(|list| *list >= bar).max(1);
        for place in best..ranked.len() {
            if ranked[place] >= bar {
                ranked.swap(near, place);
                near += 1;
            }
        }
        near
    }
}

impl ListRoom {
    /// How far the lists, ranked best first, are below the best, in units of `scale`.
    pub(super) fn gaps(&self, scale: f32) -> Vec<f32> {
        let mean = mean(&self.ranked[..BEST_LISTS.min(self.ranked.len())]);
        let scale = scale.max(f32::MIN_POSITIVE);
        self.ranked.iter().map(|list| (mean - list.score()) / scale).collect()
    }
}

fn mean(best: &[Candidate]) -> f32 {
    best.iter().map(|list| list.score()).sum::<f32>() / best.len() as f32
}

impl List {
    /// Rows that a mask lets through.
    fn allowed(&self, mask: &RowMask) -> usize {
        let count = |(block, slots): (u32, u64)| (mask.words[block as usize] & slots).count_ones() as usize;
        self.parts().map(count).sum()
    }
}
