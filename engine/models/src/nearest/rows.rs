//! Which id stands at which row, and which rows a search may name.

use hashbrown::HashTable;
use promptc_kernels::BLOCK_ROWS;

use super::bits::mixed;

/// Ids of the rows, without gaps: the last row takes the place of one that is removed.
///
/// While the ids ascend, as those of rows that come in the order of their keys do, they are their own table.
#[derive(Debug, Clone, Default)]
pub(super) struct Rows {
    ids: Vec<u64>,
    /// Rows by id; `None` while the ids ascend and no row is buried.
    by_id: Option<HashTable<u32>>,
}

impl Rows {
    /// Rows that have an id.
    pub(super) fn len(&self) -> usize {
        self.by_id.as_ref().map_or(self.ids.len(), HashTable::len)
    }

    /// Ids by row; those of buried rows too.
    pub(super) fn ids(&self) -> &[u64] {
        &self.ids
    }

    pub(super) fn reserve_exact(&mut self, rows: usize) {
        self.ids.reserve_exact(rows.saturating_sub(self.ids.len()));
    }

    /// Cost: one look into the table; without one, the logarithm of the number of rows.
    pub(super) fn find(&self, id: u64) -> Option<usize> {
        match &self.by_id {
            Some(by_id) => by_id.find(hash(id), |row| self.ids[*row as usize] == id).map(|row| *row as usize),
            None if self.ids.last().is_none_or(|last| *last < id) => None,
            None => self.ids.binary_search(&id).ok(),
        }
    }

    /// Adds an id that is not there and returns its row.
    pub(super) fn push(&mut self, id: u64) -> usize {
        let row = self.ids.len();
        if self.ids.last().is_some_and(|last| *last > id) {
            self.table();
        }
        self.ids.push(id);
        let ids = &self.ids;
        if let Some(by_id) = &mut self.by_id {
            by_id.insert_unique(hash(id), row as u32, |row| hash(ids[*row as usize]));
        }
        row
    }

    /// Removes the id at a row; the last row takes its place.
    pub(super) fn swap_remove(&mut self, row: usize) {
        if self.by_id.is_none() && row + 1 == self.ids.len() {
            self.ids.pop();
            return;
        }
        self.bury(row);
        self.drop_buried(row);
    }

    /// Forgets the id of a row; the row stays.
    pub(super) fn bury(&mut self, row: usize) {
        let hashed = hash(self.ids[row]);
        let entry = self.table().find_entry(hashed, |found| *found as usize == row);
        entry.expect("invariant: each row stands in the table").remove();
    }

    /// Removes a buried row; the last row, which is not buried unless it is this one, takes its place.
    pub(super) fn drop_buried(&mut self, row: usize) {
        let last = self.ids.len() - 1;
        if row != last {
            let hashed = hash(self.ids[last]);
            let moved = self.table().find_mut(hashed, |found| *found as usize == last);
            *moved.expect("invariant: each row stands in the table") = row as u32;
        }
        self.ids.swap_remove(row);
    }

    /// The table, which is made where the ids were their own so far: once, since it stays.
    fn table(&mut self) -> &mut HashTable<u32> {
        let ids = &self.ids;
        self.by_id.get_or_insert_with(|| {
            let mut by_id = HashTable::with_capacity(ids.capacity());
            for (row, id) in ids.iter().enumerate() {
                by_id.insert_unique(hash(*id), row as u32, |row| hash(ids[*row as usize]));
            }
            by_id
        })
    }

    /// Bytes in memory.
    pub(super) fn memory_bytes(&self) -> usize {
        let table = self.by_id.as_ref().map_or(0, HashTable::allocation_size);
        self.ids.capacity() * size_of::<u64>() + table
    }
}

fn hash(id: u64) -> u64 {
    mixed(0, id)
}

/// Rows of an index that a search may name: see [`super::VectorIndex::mask`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowMask {
    /// By the places of the codes that are scanned: rows, or slots of lists.
    pub(super) words: Vec<u64>,
    pub(super) rows: usize,
    pub(super) generation: u64,
}

impl RowMask {
    /// A bit for each of the places, which are asked about in turn.
    pub(super) fn new(places: usize, generation: u64, is_allowed: impl Fn(usize) -> bool) -> Self {
        let words = (0..places).step_by(BLOCK_ROWS).map(|start| {
            let bit = |place: usize| u64::from(is_allowed(start + place)) << place;
            (0..BLOCK_ROWS.min(places - start)).map(bit).fold(0, |word, bit| word | bit)
        });
        let words: Vec<u64> = words.collect();
        let rows = words.iter().map(|word| word.count_ones() as usize).sum();
        Self { words, rows, generation }
    }

    /// Number of rows that it lets through.
    pub fn rows(&self) -> usize {
        self.rows
    }
}
