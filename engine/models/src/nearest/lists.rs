//! 1-bit codes in lists: a search looks only at the lists whose centres are nearest.
//!
//! Jégou, Douze and Schmid, "Product quantization for nearest neighbor search" (PAMI 2011), section IV: rows are coded as what
//! is left of them when the centre `c` of their list is taken away, `q·x = q·c + q·(x - c)`. What is left is shorter than the row,
//! and the error of its code with it. The rotation is of the query alone, so one set of tables serves all lists.
//!
//! Which slots are a list's stands in `slots.rs`. A row that comes takes a free slot of the block that its list has a part of, and if
//! there is none, that part moves to a new block; a row that goes leaves its slot to the last one of the list, and a block that is empty
//! waits for another list. Which slot is a row's is kept nowhere: the nearest centre of its codes says the list.
//!
//! Everything is made from the 8-bit codes of the rows, so that lists which are made again later are those of an index built then.

use promptc_kernels::BLOCK_ROWS;

use super::bits::BitCodes;
use super::bytes::{ByteCodes, ByteQuery};
use super::kmeans::{CentreScores, Centres};
use super::slots::{self, List};

/// The slot or row of nothing.
const NONE: u32 = u32::MAX;
/// Fewest changes after which lists are made again.
const CHANGES_MIN: usize = 1_024;

/// Rows by list.
#[derive(Debug, Clone)]
pub(super) struct Lists {
    pub(super) centres: Centres,
    /// The mean offset of a list's rows when it was made; up to whole blocks.
    pub(super) means: Vec<f32>,
    /// Root of the mean square of what is left of the rows of a list, when it was made.
    pub(super) spreads: Vec<f32>,
    /// The same over all rows.
    pub(super) spread: f32,
    members: Vec<List>,
    /// Codes of what is left of the rows, by slot.
    pub(super) bits: BitCodes,
    /// Offsets of the rows by slot; a free slot is above no threshold.
    pub(super) offsets: Vec<f32>,
    /// Rows by slot.
    pub(super) rows: Vec<u32>,
    /// Blocks of no list.
    free: Vec<u32>,
    /// Rows when the lists were made.
    rows_then: usize,
    /// Rows that came or changed since.
    changes: usize,
    room: Room,
}

/// Room for one row on its way into its list.
#[derive(Debug, Clone, Default)]
struct Room {
    scores: CentreScores,
    query: ByteQuery,
    values: Vec<f32>,
    centre: Vec<f32>,
    rotated: Vec<f32>,
}

/// Rows of a list, on average.
const LIST_ROWS: usize = 128;
/// Most lists, in square roots of the number of rows.
const LISTS_MOST: usize = 3;

/// Lists of so many rows.
fn list_count(rows: usize) -> usize {
    (rows / LIST_ROWS).min(LISTS_MOST * rows.isqrt()).max(1)
}

impl Lists {
    /// Lists of all rows. Cost: the centres are compared with each row, and with a sample of the rows in each round.
    pub(super) fn new(bytes: &ByteCodes, offsets: &[f32], rows: usize, dim: usize, seed: u64) -> Self {
        let centres = Centres::train(bytes, rows, dim, list_count(rows), seed);
        let mut room = Room { values: vec![0.0; dim], centre: vec![0.0; dim], ..Room::default() };
        let count = centres.count;
        let mut nearest = |row: usize| {
            room.query.set_row(bytes, row);
            centres.nearest(&room.query, &mut room.scores)
        };
        let owners: Vec<usize> = (0..rows).map(&mut nearest).collect();
        let mut lens = vec![0_usize; count];
        owners.iter().for_each(|list| lens[*list] += 1);
        let (members, blocks) = slots::shared(&lens);
        let slots = blocks * BLOCK_ROWS;
        let mut lists = Self {
            means: vec![f32::NEG_INFINITY; count.next_multiple_of(BLOCK_ROWS)],
            spreads: vec![0.0; count],
            spread: 0.0,
            centres,
            members,
            bits: BitCodes::new(dim, seed),
            offsets: vec![f32::NEG_INFINITY; slots],
            rows: vec![NONE; slots],
            free: Vec::new(),
            rows_then: rows,
            changes: 0,
            room,
        };
        lists.bits.reserve_exact(slots);
        lists.bits.resize(slots);
        let mut by_list: Vec<u32> = (0..rows as u32).collect();
        by_list.sort_by_key(|row| owners[*row as usize]);
        let mut squares = 0.0;
        for rows in by_list.chunk_by(|left, right| owners[*left as usize] == owners[*right as usize]) {
            let list = owners[rows[0] as usize];
            let (mut mean, mut square) = (0.0, 0.0);
            let slots: Vec<usize> = lists.members[list].slots().collect();
            for (row, slot) in rows.iter().zip(slots) {
                square += lists.put(*row as usize, slot, list, bytes, offsets[*row as usize]);
                mean += f64::from(offsets[*row as usize]);
            }
            lists.means[list] = (mean / rows.len() as f64) as f32;
            lists.spreads[list] = (square / rows.len() as f64).sqrt() as f32;
            squares += square;
        }
        lists.spread = (squares / rows.max(1) as f64).sqrt() as f32;
        lists
    }

    /// Number of lists.
    pub(super) fn count(&self) -> usize {
        self.members.len()
    }

    /// Slots of a list.
    pub(super) fn list(&self, list: usize) -> &List {
        &self.members[list]
    }

    /// Slots by row.
    pub(super) fn slots(&self) -> Vec<u32> {
        let mut slots = vec![NONE; self.rows.iter().filter(|row| **row != NONE).count()];
        let used = self.rows.iter().zip(0..).filter(|(row, _)| **row != NONE);
        used.for_each(|(row, slot)| slots[*row as usize] = slot);
        slots
    }

    /// Whether so much has changed that the centres should be found again: as many rows came or changed as there were.
    pub(super) fn are_old(&self) -> bool {
        self.changes >= self.rows_then.max(CHANGES_MIN)
    }

    /// Takes a row whose 8-bit codes were written and which is in no list.
    pub(super) fn add(&mut self, row: usize, bytes: &ByteCodes, offset: f32) {
        let list = self.list_of(row, bytes);
        let slot = self.free_slot(list);
        self.put(row, slot, list, bytes, offset);
        self.changes += 1;
    }

    /// Forgets a row whose 8-bit codes are still those that it came with: the last row of its list takes its slot.
    pub(super) fn remove(&mut self, row: usize, bytes: &ByteCodes) {
        let list = self.list_of(row, bytes);
        let slot = self.slot_of(row, list);
        let last = self.members[list].shrink();
        if slot != last {
            self.move_slot(last, slot);
        }
        self.clear(last);
        let block = last / BLOCK_ROWS;
        if self.rows[block * BLOCK_ROWS..(block + 1) * BLOCK_ROWS].iter().all(|row| *row == NONE) {
            self.free.push(block as u32);
        }
    }

    /// Gives a row, whose 8-bit codes are still at their place, another number.
    pub(super) fn renumber(&mut self, from: usize, to: usize, bytes: &ByteCodes) {
        let list = self.list_of(from, bytes);
        let slot = self.slot_of(from, list);
        self.rows[slot] = to as u32;
    }

    /// The list of a row: that of the nearest centre.
    fn list_of(&mut self, row: usize, bytes: &ByteCodes) -> usize {
        self.room.query.set_row(bytes, row);
        self.centres.nearest(&self.room.query, &mut self.room.scores)
    }

    fn slot_of(&self, row: usize, list: usize) -> usize {
        let slot = self.members[list].slots().find(|slot| self.rows[*slot] == row as u32);
        slot.expect("invariant: a row is in the list of its nearest centre")
    }

    /// Writes a row into a slot of a list, and returns the square of what is left of it.
    fn put(&mut self, row: usize, slot: usize, list: usize, bytes: &ByteCodes, offset: f32) -> f64 {
        let Room { values, centre, rotated, .. } = &mut self.room;
        bytes.decode(row, values);
        self.centres.codes.decode(list, centre);
        values.iter_mut().zip(&*centre).for_each(|(value, centre)| *value -= centre);
        self.offsets[slot] = offset;
        self.rows[slot] = row as u32;
        self.bits.set(slot, values, rotated)
    }

    /// A slot for one more row of a list.
    fn free_slot(&mut self, list: usize) -> usize {
        let Some((mut block, slots)) = self.members[list].tail() else {
            let block = self.free_block();
            return self.members[list].begin(block);
        };
        if self.free_place(block).is_none() {
            let to = self.free_block();
            let own = (0..BLOCK_ROWS).filter(|place| slots >> place & 1 == 1);
            for (place, from) in own.enumerate() {
                self.move_slot(block as usize * BLOCK_ROWS + from, to as usize * BLOCK_ROWS + place);
                self.clear(block as usize * BLOCK_ROWS + from);
            }
            self.members[list].move_tail(to);
            block = to;
        }
        let place = self.free_place(block).expect("invariant: a part of a block leaves room in it");
        self.members[list].grow(place);
        block as usize * BLOCK_ROWS + place
    }

    /// The first slot of a block that no row has.
    fn free_place(&self, block: u32) -> Option<usize> {
        let start = block as usize * BLOCK_ROWS;
        self.rows[start..start + BLOCK_ROWS].iter().position(|row| *row == NONE)
    }

    /// A block without rows.
    fn free_block(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            let slots = self.rows.len() + BLOCK_ROWS;
            self.bits.resize(slots);
            self.offsets.resize(slots, f32::NEG_INFINITY);
            self.rows.resize(slots, NONE);
            (slots / BLOCK_ROWS - 1) as u32
        })
    }

    fn move_slot(&mut self, from: usize, to: usize) {
        self.bits.copy(from, to);
        self.offsets[to] = self.offsets[from];
        self.rows[to] = self.rows[from];
    }

    fn clear(&mut self, slot: usize) {
        self.offsets[slot] = f32::NEG_INFINITY;
        self.rows[slot] = NONE;
    }

    /// Bytes in memory.
    pub(super) fn memory_bytes(&self) -> usize {
        let words =
            self.means.capacity() + self.spreads.capacity() + self.offsets.capacity() + self.rows.capacity();
        let lists: usize = self.members.iter().map(List::memory_bytes).sum();
        self.centres.memory_bytes() + self.bits.memory_bytes() + words * 4 + lists
    }
}
