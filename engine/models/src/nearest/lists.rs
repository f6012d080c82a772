//! 1-bit codes in lists: a search looks only at the lists whose centres are nearest.
//!
//! Jégou, Douze and Schmid, "Product quantization for nearest neighbor search" (PAMI 2011), section IV: rows are coded as what
//! is left of them when the centre `c` of their list is taken away, `q·x = q·c + q·(x - c)`. What is left is shorter than the row,
//! and the error of its code with it. The rotation is of the query alone, so one set of tables serves all lists.
//!
//! ```text
//!  slots of 1-bit codes   │ block 0: 64 of list 0 │ block 1: 9 of list 0, 55 free │ block 2: 64 of list 1 │ ..
//!  rows of slots          │ 3, 8, 21 ..                                            │ 0, 5, 6 ..
//! ```
//! A list is blocks of slots, all full but the last. A row that comes takes the next slot of its list, or the first of a new block;
//! a row that goes leaves its slot to the last one of the list, and a block that is empty waits for another list.
//!
//! Everything is made from the 8-bit codes of the rows, so that lists which are made again later are those of an index built then.

use promptc_kernels::BLOCK_ROWS;

use super::bits::BitCodes;
use super::bytes::{ByteCodes, ByteQuery};
use super::kmeans::{CentreScores, Centres};

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
    /// Slots by row.
    slots: Vec<u32>,
    /// Which list has a block.
    owners: Vec<u32>,
    free: Vec<u32>,
    /// Rows when the lists were made.
    rows_then: usize,
    /// Rows that came or changed since.
    changes: usize,
    room: Room,
}

/// Slots of one list.
#[derive(Debug, Clone, Default)]
pub(super) struct List {
    pub(super) blocks: Vec<u32>,
    pub(super) len: usize,
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
        let slots = lens.iter().map(|len| len.next_multiple_of(BLOCK_ROWS)).sum();
        let mut lists = Self {
            means: vec![f32::NEG_INFINITY; count.next_multiple_of(BLOCK_ROWS)],
            spreads: vec![0.0; count],
            spread: 0.0,
            centres,
            members: vec![List::default(); count],
            bits: BitCodes::new(dim, seed),
            offsets: Vec::with_capacity(slots),
            rows: Vec::with_capacity(slots),
            slots: vec![NONE; rows],
            owners: Vec::new(),
            free: Vec::new(),
            rows_then: rows,
            changes: 0,
            room,
        };
        lists.bits.reserve_exact(slots);
        let mut by_list: Vec<u32> = (0..rows as u32).collect();
        by_list.sort_by_key(|row| owners[*row as usize]);
        let mut squares = 0.0;
        for rows in by_list.chunk_by(|left, right| owners[*left as usize] == owners[*right as usize]) {
            let list = owners[rows[0] as usize];
            let (mut mean, mut square) = (0.0, 0.0);
            for row in rows {
                square += lists.put(*row as usize, list, bytes, offsets[*row as usize]);
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

    /// Where the code of a row is.
    pub(super) fn slot_of(&self, row: usize) -> usize {
        self.slots[row] as usize
    }

    /// Whether so much has changed that the centres should be found again: as many rows came or changed as there were.
    pub(super) fn are_old(&self) -> bool {
        self.changes >= self.rows_then.max(CHANGES_MIN)
    }

    /// Takes a row whose 8-bit codes were written, in place of what it was.
    pub(super) fn set(&mut self, row: usize, bytes: &ByteCodes, offset: f32) {
        self.room.query.set_row(bytes, row);
        let list = self.centres.nearest(&self.room.query, &mut self.room.scores);
        if row < self.slots.len() {
            self.take(row);
        } else {
            self.slots.push(NONE);
        }
        self.put(row, list, bytes, offset);
        self.changes += 1;
    }

    /// Forgets a row; row `last` gets its number.
    pub(super) fn remove(&mut self, row: usize, last: usize) {
        self.take(row);
        let slot = self.slots[last];
        self.slots.swap_remove(row);
        if row != last {
            self.rows[slot as usize] = row as u32;
        }
    }

    /// Writes a row into the next slot of a list, and returns the square of what is left of it.
    fn put(&mut self, row: usize, list: usize, bytes: &ByteCodes, offset: f32) -> f64 {
        let slot = self.next_slot(list);
        let Room { values, centre, rotated, .. } = &mut self.room;
        bytes.decode(row, values);
        self.centres.codes.decode(list, centre);
        values.iter_mut().zip(&*centre).for_each(|(value, centre)| *value -= centre);
        self.offsets[slot] = offset;
        self.rows[slot] = row as u32;
        self.slots[row] = slot as u32;
        self.bits.set(slot, values, rotated)
    }

    fn next_slot(&mut self, list: usize) -> usize {
        let members = &mut self.members[list];
        if members.len == members.blocks.len() * BLOCK_ROWS {
            let block = self.free.pop().unwrap_or_else(|| {
                let block = self.owners.len();
                let slots = (block + 1) * BLOCK_ROWS;
                self.owners.push(NONE);
                self.bits.resize(slots);
                self.offsets.resize(slots, f32::NEG_INFINITY);
                self.rows.resize(slots, NONE);
                block as u32
            });
            self.owners[block as usize] = list as u32;
            members.blocks.push(block);
        }
        members.len += 1;
        members.slot(members.len - 1)
    }

    /// Frees the slot of a row: the last row of the list takes it.
    fn take(&mut self, row: usize) {
        let slot = self.slot_of(row);
        let members = &mut self.members[self.owners[slot / BLOCK_ROWS] as usize];
        let last = members.slot(members.len - 1);
        members.len -= 1;
        if members.len.is_multiple_of(BLOCK_ROWS) {
            self.free.extend(members.blocks.pop());
        }
        if slot != last {
            self.bits.copy(last, slot);
            self.offsets[slot] = self.offsets[last];
            self.rows[slot] = self.rows[last];
            self.slots[self.rows[slot] as usize] = slot as u32;
        }
        self.offsets[last] = f32::NEG_INFINITY;
        self.rows[last] = NONE;
    }

    /// Bytes in memory.
    pub(super) fn memory_bytes(&self) -> usize {
        let words = self.means.capacity()
            + self.spreads.capacity()
            + self.offsets.capacity()
            + self.rows.capacity()
            + self.slots.capacity();
        let lists: usize =
            self.members.iter().map(|list| size_of::<List>() + list.blocks.capacity() * 4).sum();
        self.centres.memory_bytes()
            + self.bits.memory_bytes()
            + words * 4
            + lists
            + self.owners.capacity() * 4
    }
}

impl List {
    fn slot(&self, place: usize) -> usize {
        self.blocks[place / BLOCK_ROWS] as usize * BLOCK_ROWS + place % BLOCK_ROWS
    }
}
