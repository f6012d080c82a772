//! A graph of rows that are near each other, walked from row to row.
//!
//! Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using hierarchical navigable small world graphs"
//! (PAMI 2020): insertion is their algorithm 1, the walk over a level algorithm 2, the choice of links algorithm 4 without its two
//! options. Scores are those of the 8-bit codes. The level of a row comes from its id and the seed, and the order in which rows come from
//! the rows alone, so that equal rows in equal order give equal graphs.
//!
//! A row that is removed stays as a way to others; a row that changes is removed and comes again. What is gone is left out when it is
//! more than [`GONE_MOST`] of the rows, and the graph is made again.

use promptc_kernels::BLOCK_ROWS;

use super::Watch;
use super::best::Candidate;
use super::bits::mixed;
use super::bytes::{ByteCodes, ByteQuery};
use walk::Walk;

mod find;
mod stored;
pub(super) mod walk;

/// How many links rows have, and among how many rows they are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GraphShape {
    /// Links that a new row chooses on each level, 2 to 256; twice as many are the most on the lowest level: `M`.
    pub links: usize,
    /// Candidates among which a new row chooses: `efConstruction`.
    pub beam_build: usize,
}

impl Default for GraphShape {
    fn default() -> Self {
        Self { links: 16, beam_build: 200 }
    }
}

impl GraphShape {
    /// Whether a graph can be made like this.
    pub(super) fn is_possible(self) -> bool {
        (2..=LINKS_MAX).contains(&self.links) && self.beam_build > 0
    }

    /// Most links of a row on a level.
    fn most(self, level: usize) -> usize {
        if level == 0 { 2 * self.links } else { self.links }
    }

    /// Levels above 0 of a row. Each level has one row in `links` (the power of two below) of the one beneath: so many low bits are zero.
    fn levels(self, seed: u64, id: u64) -> usize {
        (mixed(seed, id).trailing_zeros() / self.links.ilog2().max(1)).min(LEVELS_MOST) as usize
    }
}

/// Most links that a shape may have.
pub(super) const LINKS_MAX: usize = 256;
/// Levels above 0 at most.
const LEVELS_MOST: u32 = 7;
/// Levels whose nearest rows say where a row is, when the rows are put into an order: of 16 links, regions of 16 and of 256 rows on
/// average.
const REGION_LEVELS: usize = 2;
/// Rows that get their links before a watch is asked again: some tens of milliseconds.
const WATCHED_ROWS: usize = 256;
/// Share of the rows that may be gone.
const GONE_MOST: f64 = 0.2;

/// Links of all rows.
#[derive(Debug, Clone)]
pub(super) struct Graph {
    seed: u64,
    shape: GraphShape,
    /// For each row the number of its links on level 0, then room for the most.
    base: Vec<u32>,
    /// For rows above level 0 the same for each further level.
    upper: Vec<u32>,
    /// Where the levels of a row begin in `upper`.
    starts: Vec<u32>,
    levels: Vec<u8>,
    /// Where a walk begins: a row of the highest level.
    entry: Option<u32>,
    /// A bit for each row that is there.
    present: Vec<u64>,
    gone: usize,
    walk: Walk,
}

/// What the scores of a graph are computed from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Codes<'a> {
    pub(super) bytes: &'a ByteCodes,
    pub(super) offsets: &'a [f32],
}

impl Graph {
    /// Rows above level 0 come first, in their order, so that all regions are linked; the others then region by region: what a row is
    /// compared with is in the caches from the one before. Side by side on one machine, 30,000 rows take 3.3 s instead of 4.4, and a
    /// beam of 50 finds 0.975 instead of 0.967. Cost: for 100,000 rows of 256 numbers, about 2,500 scores each to find its links and as many to
    /// choose them.
    ///
    /// `watch` is told how far it is; `None` if it says to stop.
    pub(super) fn new(
        codes: Codes<'_>,
        ids: &[u64],
        seed: u64,
        shape: GraphShape,
        watch: Watch<'_>,
    ) -> Option<Self> {
        let mut graph = Self::without_links(ids, seed, shape);
        let (base, upper): (Vec<u32>, Vec<u32>) =
            (0..ids.len() as u32).partition(|row| graph.levels[*row as usize] == 0);
        let linked = upper.len();
        graph.connect_all(upper.into_iter(), 0, codes, watch)?;
        let mut walk = std::mem::take(&mut graph.walk);
        let mut query = ByteQuery::default();
        let mut ordered: Vec<([u32; REGION_LEVELS], u32)> = base
            .into_iter()
            .map(|row| {
                query.set_row(codes.bytes, row as usize);
                (graph.region(codes, &query, &mut walk), row)
            })
            .collect();
        ordered.sort_unstable();
        graph.walk = walk;
        graph.connect_all(ordered.into_iter().map(|(_, row)| row), linked, codes, watch)?;
        Some(graph)
    }

    /// Finds the links of these rows; so many others have theirs.
    fn connect_all(
        &mut self,
        rows: impl Iterator<Item = u32>,
        linked: usize,
        codes: Codes<'_>,
        watch: Watch<'_>,
    ) -> Option<()> {
        let all = self.levels.len();
        for (linked, row) in (linked..).zip(rows) {
            if linked.is_multiple_of(WATCHED_ROWS) && !watch(linked, all) {
                return None;
            }
            self.connect(row, codes);
        }
        Some(())
    }

    /// Room for the links of these rows.
    fn without_links(ids: &[u64], seed: u64, shape: GraphShape) -> Self {
        let mut graph = Self {
            seed,
            shape,
            base: Vec::with_capacity(ids.len() * (shape.most(0) + 1)),
            upper: Vec::new(),
            starts: Vec::with_capacity(ids.len()),
            levels: Vec::with_capacity(ids.len()),
            entry: None,
            present: Vec::new(),
            gone: 0,
            walk: Walk::default(),
        };
        ids.iter().for_each(|id| graph.push(*id));
        graph
    }

    /// The nearest rows of the lowest levels above 0, the highest level first.
    fn region(&self, codes: Codes<'_>, query: &ByteQuery, walk: &mut Walk) -> [u32; REGION_LEVELS] {
        let mut region = [0; REGION_LEVELS];
        let Some(entry) = self.entry else { return region };
        walk.enter(codes, query, entry);
        for above in (1..=usize::from(self.levels[entry as usize])).rev() {
            walk.level(self, codes, query, above, 1);
            if let (Some(place), Some(found)) = (REGION_LEVELS.checked_sub(above), walk.found().next()) {
                region[place] = found.row();
            }
        }
        region
    }

    /// Adds the next row.
    pub(super) fn insert(&mut self, id: u64, codes: Codes<'_>) {
        let row = self.levels.len() as u32;
        self.push(id);
        self.connect(row, codes);
    }

    /// Makes room for the next row, which has no links yet.
    fn push(&mut self, id: u64) {
        let row = self.levels.len();
        let level = self.shape.levels(self.seed, id);
        self.levels.push(level as u8);
        self.starts.push(self.upper.len() as u32);
        self.base.resize(self.base.len() + self.shape.most(0) + 1, 0);
        self.upper.resize(self.upper.len() + level * (self.shape.most(1) + 1), 0);
        self.present.resize(self.levels.len().div_ceil(BLOCK_ROWS), 0);
        self.present[row / BLOCK_ROWS] |= 1 << (row % BLOCK_ROWS);
    }

    /// Finds the links of a row, on each of its levels.
    fn connect(&mut self, row: u32, codes: Codes<'_>) {
        let level = usize::from(self.levels[row as usize]);
        let Some(entry) = self.entry else {
            self.entry = Some(row);
            return;
        };
        let mut walk = std::mem::take(&mut self.walk);
        let mut query = ByteQuery::default();
        query.set_row(codes.bytes, row as usize);
        let top = usize::from(self.levels[entry as usize]);
        walk.enter(codes, &query, entry);
        for above in (level + 1..=top).rev() {
            walk.level(self, codes, &query, above, 1);
        }
        for own in (0..=level.min(top)).rev() {
            walk.level(self, codes, &query, own, self.shape.beam_build);
            let found: Vec<Candidate> = walk.found().collect();
            let chosen = chosen(codes, row, &found, self.shape.links, &mut walk);
            self.link(row, own, &chosen);
            for other in &chosen {
                self.link_back(*other, row, own, codes, &mut walk);
            }
        }
        if level > top {
            self.entry = Some(row);
        }
        self.walk = walk;
    }

    /// Adds a link to a row; if it has too many, it chooses among them.
    fn link_back(&mut self, row: u32, other: u32, level: usize, codes: Codes<'_>, walk: &mut Walk) {
        let mut links = self.links(row, level).to_vec();
        links.push(other);
        let most = self.shape.most(level);
        if links.len() > most {
            let mut query = ByteQuery::default();
            query.set_row(codes.bytes, row as usize);
            let mut scored = walk.scored(codes, &query, &links);
            scored.sort_unstable_by(|left, right| right.cmp(left));
            links = chosen(codes, row, &scored, most, walk);
        }
        self.link(row, level, &links);
    }

    /// Links of a row on one of its levels.
    pub(super) fn links(&self, row: u32, level: usize) -> &[u32] {
        let (all, start) = self.place(row, level);
        &all[start + 1..start + 1 + all[start] as usize]
    }

    /// The number of links of a row on one of its levels, and the room for them.
    pub(super) fn room(&self, row: u32, level: usize) -> &[u32] {
        let (all, start) = self.place(row, level);
        &all[start..=start + self.shape.most(level)]
    }

    fn link(&mut self, row: u32, level: usize, links: &[u32]) {
        let (_, start) = self.place(row, level);
        let all = if level == 0 { &mut self.base } else { &mut self.upper };
        all[start] = links.len() as u32;
        all[start + 1..start + 1 + links.len()].copy_from_slice(links);
    }

    fn place(&self, row: u32, level: usize) -> (&[u32], usize) {
        match level {
            0 => (&self.base, row as usize * (self.shape.most(0) + 1)),
            _ => (&self.upper, self.starts[row as usize] as usize + (level - 1) * (self.shape.most(1) + 1)),
        }
    }

    /// Leaves the best `beam` rows in `walk`, those that are gone among them.
    pub(super) fn search(&self, codes: Codes<'_>, query: &ByteQuery, beam: usize, walk: &mut Walk) {
        walk.clear();
        let Some(entry) = self.entry else { return };
        walk.enter(codes, query, entry);
        for above in (1..=usize::from(self.levels[entry as usize])).rev() {
            walk.level(self, codes, query, above, 1);
        }
        walk.level(self, codes, query, 0, beam);
    }

    /// Whether a row has not been removed.
    pub(super) fn is_present(&self, row: usize) -> bool {
        self.present[row / BLOCK_ROWS] >> (row % BLOCK_ROWS) & 1 == 1
    }

    /// A bit for each row that is there.
    pub(super) fn present(&self) -> &[u64] {
        &self.present
    }

    /// Removes a row.
    pub(super) fn remove(&mut self, row: usize) {
        self.present[row / BLOCK_ROWS] &= !(1 << (row % BLOCK_ROWS));
        self.gone += 1;
    }

    /// Rows that are gone.
    pub(super) fn gone(&self) -> usize {
        self.gone
    }

    /// Whether so many rows are gone that the graph should be made again.
    pub(super) fn is_old(&self) -> bool {
        self.gone as f64 > GONE_MOST * self.levels.len() as f64
    }

    /// Bytes in memory.
    pub(super) fn memory_bytes(&self) -> usize {
        let words = self.base.capacity() + self.upper.capacity() + self.starts.capacity();
        words * size_of::<u32>() + self.levels.capacity() + self.present.capacity() * size_of::<u64>()
    }
}

/// Up to `count` of the candidates, which come best first: each that is nearer to the row than to all that were chosen before, so that
/// links lead into all directions. Copies of the row get half of the links at most: rows with many copies would have no others.
fn chosen(codes: Codes<'_>, row: u32, candidates: &[Candidate], count: usize, walk: &mut Walk) -> Vec<u32> {
    if candidates.len() < count {
        return candidates.iter().map(|candidate| candidate.row()).collect();
    }
    let mut chosen: Vec<u32> = Vec::with_capacity(count);
    let mut query = ByteQuery::default();
    query.set_row(codes.bytes, row as usize);
    let copy = walk.scored(codes, &query, &[row])[0].score();
    let mut copies = 0;
    for candidate in candidates {
        let other = candidate.row();
        if candidate.score() == copy && codes.bytes.is_equal(row as usize, other as usize) {
            copies += 1;
            if copies > count / 2 {
                continue;
            }
        }
        // Scores hold the offset of the row that is looked at; what two rows have in common is their product and both offsets.
        let own = candidate.score() + codes.offsets[row as usize];
        query.set_row(codes.bytes, other as usize);
        if walk.is_nearest(codes, &query, &chosen, own - codes.offsets[other as usize]) {
            chosen.push(other);
            if chosen.len() == count {
                break;
            }
        }
    }
    chosen
}
