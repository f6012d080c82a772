//! Which slots of 1-bit codes belong to which list.
//!
//! ```text
//!  slots   │ block 0: 64 of list 0 │ block 1: 9 of list 0, 50 of list 1, 5 free │ block 2: 64 of list 1 │ ..
//! ```
//! A list is whole blocks and at most one block of which it has a part, its *tail*. Lists that are made together share tails two by
//! two, which stand between their whole blocks, so that each list is one run of blocks: half a block a list would be free otherwise,
//! a quarter of all slots.

use std::ops::Range;

use promptc_kernels::BLOCK_ROWS;

use super::scan::CHUNK_BLOCKS;

/// All slots of a block.
const WHOLE: u64 = u64::MAX;

/// Slots of one list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct List {
    blocks: Vec<u32>,
    /// The block of which the list has a part, and the part, which is neither empty nor the whole.
    tail: Option<(u32, u64)>,
    len: usize,
}

impl List {
    /// The first slots of the blocks from `block` on.
    fn new(block: u32, len: usize) -> Self {
        let end = block + len.div_ceil(BLOCK_ROWS) as u32;
        let rest = len % BLOCK_ROWS;
        Self { blocks: (block..end).collect(), tail: (rest > 0).then(|| (end - 1, first(rest))), len }
    }

    /// A part of block `tail`, of which another list has the first `taken` slots, and all slots of the blocks that follow.
    fn behind(tail: u32, taken: usize, len: usize) -> Self {
        let end = tail + 1 + (len / BLOCK_ROWS) as u32;
        let slots = first(len % BLOCK_ROWS) << taken;
        Self { blocks: (tail..end).collect(), tail: Some((tail, slots)), len }
    }

    /// Number of rows.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Number of blocks, the tail among them.
    pub(super) fn block_count(&self) -> usize {
        self.blocks.len()
    }

    /// The slots of a block that are the list's, a bit each; the block is one of its own.
    #[inline]
    pub(super) fn slots_in(&self, block: u32) -> u64 {
        match self.tail {
            Some((tail, slots)) if tail == block => slots,
            _ => WHOLE,
        }
    }

    /// Its blocks, those that follow each other together, at most as many as fit a chunk.
    pub(super) fn runs(&self) -> impl Iterator<Item = Range<usize>> {
        let follow = |left: &u32, right: &u32| *right == *left + 1;
        self.blocks.chunk_by(follow).flat_map(|run| run.chunks(CHUNK_BLOCKS)).map(|run| {
            let start = run[0] as usize;
            start..start + run.len()
        })
    }

    /// Its blocks, and the slots of each that are its own.
    pub(super) fn parts(&self) -> impl Iterator<Item = (u32, u64)> {
        self.blocks.iter().map(|block| (*block, self.slots_in(*block)))
    }

    /// Its slots, in the order of its blocks.
    pub(super) fn slots(&self) -> impl Iterator<Item = usize> {
        self.parts().flat_map(|(block, slots)| {
            let own = (0..BLOCK_ROWS).filter(move |place| slots >> place & 1 == 1);
            own.map(move |place| block as usize * BLOCK_ROWS + place)
        })
    }

    /// Whether a slot is its own.
    pub(super) fn has(&self, slot: usize) -> bool {
        let own = self.parts().find(|(block, _)| *block as usize == slot / BLOCK_ROWS);
        own.is_some_and(|(_, slots)| slots >> (slot % BLOCK_ROWS) & 1 == 1)
    }

    /// The block of which it has a part.
    pub(super) fn tail(&self) -> Option<(u32, u64)> {
        self.tail
    }

    /// Takes a free slot of the tail.
    pub(super) fn grow(&mut self, place: usize) {
        let (block, slots) = self.tail.expect("invariant: a list that grows has a tail");
        let slots = slots | 1 << place;
        self.tail = (slots != WHOLE).then_some((block, slots));
        self.len += 1;
    }

    /// Takes the first slot of a further block, and returns it.
    pub(super) fn begin(&mut self, block: u32) -> usize {
        debug_assert!(self.tail.is_none(), "one tail at most");
        self.blocks.push(block);
        self.tail = Some((block, 0));
        self.grow(0);
        block as usize * BLOCK_ROWS
    }

    /// Has its part of the tail as the first slots of another block instead.
    pub(super) fn move_tail(&mut self, to: u32) {
        let (from, slots) = self.tail.expect("invariant: a tail that moves is there");
        self.blocks.iter_mut().filter(|block| **block == from).for_each(|block| *block = to);
        self.tail = Some((to, first(slots.count_ones() as usize)));
    }

    /// Bytes in memory.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.blocks.capacity() * size_of::<u32>()
    }

    /// Gives up one of its slots, which it returns. A list without a tail breaks into its last block.
    pub(super) fn shrink(&mut self) -> usize {
        let last = *self.blocks.last().expect("invariant: a list that shrinks has rows");
        let (block, slots) = self.tail.unwrap_or((last, WHOLE));
        let place = slots.ilog2() as usize;
        let left = slots & !(1 << place);
        self.tail = (left != 0).then_some((block, left));
        if left == 0 {
            self.blocks.retain(|other| *other != block);
        }
        self.len -= 1;
        block as usize * BLOCK_ROWS + place
    }
}

/// A bit for each of the first `count` slots of a block, fewer than all.
fn first(count: usize) -> u64 {
    (1 << count) - 1
}

/// Lists of so many rows each, and the number of their blocks. Tails share blocks two by two, the longest that is left with the shortest
/// if that fits, and alone if not: no other pairs leave fewer blocks.
pub(super) fn shared(lens: &[usize]) -> (Vec<List>, usize) {
    let tail_len = |list: usize| lens[list] % BLOCK_ROWS;
    let mut lists = vec![List::default(); lens.len()];
    let mut end = 0;
    for list in (0..lens.len()).filter(|list| tail_len(*list) == 0) {
        lists[list] = List::new(end, lens[list]);
        end += (lens[list] / BLOCK_ROWS) as u32;
    }
    let mut by_tail: Vec<usize> = (0..lens.len()).filter(|list| tail_len(*list) > 0).collect();
    by_tail.sort_by_key(|list| tail_len(*list));
    let mut rest = by_tail.as_slice();
    while let Some((long, shorter)) = rest.split_last() {
        lists[*long] = List::new(end, lens[*long]);
        end += lens[*long].div_ceil(BLOCK_ROWS) as u32;
        rest = shorter;
        if let Some((short, others)) = shorter.split_first()
            && tail_len(*short) + tail_len(*long) <= BLOCK_ROWS
        {
            lists[*short] = List::behind(end - 1, tail_len(*long), lens[*short]);
            end += (lens[*short] / BLOCK_ROWS) as u32;
            rest = others;
        }
    }
    (lists, end as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_list_has_its_slots_and_hardly_any_is_free() {
        let lens: Vec<usize> = (0..500).map(|list| list * 7_919 % 331).collect();
        let (lists, blocks) = shared(&lens);
        let mut owned = vec![false; blocks * BLOCK_ROWS];
        for (list, len) in lists.iter().zip(&lens) {
            assert_eq!((list.len(), list.slots().count()), (*len, *len));
            assert_eq!(list.runs().map(|run| run.len()).sum::<usize>(), list.block_count());
            for slot in list.slots() {
                assert!(list.has(slot) && !std::mem::replace(&mut owned[slot], true), "slot {slot} twice");
            }
        }
        let rows: usize = lens.iter().sum();
        assert!(owned.len() - rows < rows / 50, "{} slots for {rows} rows", owned.len());
        assert_eq!(shared(&[]), (Vec::new(), 0));
        assert_eq!(shared(&[64, 0, 128]).1, 3);
    }

    #[test]
    fn a_list_grows_and_shrinks_slot_by_slot() {
        let mut list = List::default();
        for len in 0..200 {
            match list.tail() {
                Some((_, slots)) => list.grow(slots.trailing_ones() as usize),
                None => assert_eq!(list.begin(len / 64 * 2), len as usize / 64 * 128),
            }
            assert_eq!(list.slots().count(), list.len());
        }
        list.move_tail(9);
        assert_eq!(list.slots().last(), Some(9 * BLOCK_ROWS + 7));
        for len in (0..200).rev() {
            let slot = list.shrink();
            assert!(!list.has(slot));
            assert_eq!((list.len(), list.slots().count()), (len, len));
        }
        assert_eq!(list, List::default());
    }
}
