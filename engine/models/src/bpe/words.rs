//! Words that are known without merging: those of the vocabulary, and those that were merged before.
//!
//! A word of at most 15 bytes is its own key: its bytes and its length in 128 bits. Where a table has no room for a word, the
//! word is merged instead: what a table holds changes the time, never the ids.

/// Longest word that has a key.
pub(super) const KEY_BYTES_MAX: usize = 15;
/// Most words that a cache holds: those of running text, in some 3 MB.
pub(super) const CACHE_WORDS_MAX: usize = 1 << 16;
/// Words that a cache begins with.
const CACHE_WORDS_MIN: usize = 1 << 10;
/// Most tokens of a word in a cache; a word of more is merged each time.
const CACHE_TOKENS_MAX: usize = 6;
/// Slots that are looked at for a word of the vocabulary.
const PROBES_MAX: usize = 8;

/// Multipliers of hashing. They come from the content of the vocabulary, so that no file can be written whose keys meet in one
/// slot (Dietzfelbinger et al. 1997).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seeds([u64; 3]);

impl Seeds {
    pub(super) fn new(identity: &[u8; 32]) -> Self {
        let (chunks, _) = identity.as_chunks::<8>();
        Self([0, 1, 2].map(|idx| u64::from_le_bytes(chunks[idx]) | 1))
    }

    #[inline]
    pub(super) fn hash(self, low: u64, high: u64) -> u64 {
        let mixed = low.wrapping_mul(self.0[0]).wrapping_add(high.wrapping_mul(self.0[1]));
        (mixed ^ mixed >> 32).wrapping_mul(self.0[2])
    }
}

/// A word as a number; that of no word is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Key {
    low: u64,
    high: u64,
}

impl Key {
    /// The key of `text[start..end]`: 1 to [`KEY_BYTES_MAX`] bytes.
    #[inline]
    pub(super) fn new(text: &[u8], start: usize, end: usize) -> Self {
        let len = end - start;
        let word = match text[start..].first_chunk() {
            Some(chunk) => u128::from_le_bytes(*chunk) & (u128::MAX >> (128 - 8 * len)),
            None => {
                let mut chunk = [0; 16];
                chunk[..len].copy_from_slice(&text[start..end]);
                u128::from_le_bytes(chunk)
            }
        };
        Self { low: word as u64, high: (word >> 64) as u64 | (len as u64) << 56 }
    }

    #[inline]
    pub(super) fn hash(self, seeds: Seeds) -> u64 {
        seeds.hash(self.low, self.high)
    }
}

/// Words that are one token.
pub(super) struct Words {
    /// A power of two of slots, at most half of them taken.
    slots: Vec<(Key, u32)>,
}

impl Words {
    /// Room for this many.
    pub(super) fn new(word_count: usize) -> Self {
        Self { slots: vec![(Key::default(), 0); (word_count * 2).next_power_of_two()] }
    }

    pub(super) fn insert(&mut self, key: Key, hash: u64, id: u32) {
        let mask = self.slots.len() - 1;
        let places = (0..PROBES_MAX).map(|probe| ((hash >> 32) as usize + probe) & mask);
        for place in places {
            if self.slots[place].0 == Key::default() {
                self.slots[place] = (key, id);
                return;
            }
        }
    }

    #[inline]
    pub(super) fn find(&self, key: Key, hash: u64) -> Option<u32> {
        let mask = self.slots.len() - 1;
        for probe in 0..PROBES_MAX {
            let (found, id) = self.slots[((hash >> 32) as usize + probe) & mask];
            if found == key {
                return Some(id);
            }
            if found == Key::default() {
                return None;
            }
        }
        None
    }
}

/// Words that were merged, with their tokens: one place for each word, which the last one that belongs there takes.
#[derive(Debug, Default)]
pub(super) struct WordCache {
    /// Empty, or a power of two.
    slots: Vec<CachedWord>,
    taken_count: usize,
}

#[derive(Debug, Clone, Copy, Default)]
struct CachedWord {
    key: Key,
    count: u32,
    ids: [u32; CACHE_TOKENS_MAX],
}

impl WordCache {
    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.taken_count = 0;
    }

    #[inline]
    pub(super) fn find(&self, key: Key, hash: u64) -> Option<&[u32]> {
        let slot = self.slots.get((hash >> 32) as usize & self.slots.len().wrapping_sub(1))?;
        (slot.key == key).then(|| &slot.ids[..slot.count as usize])
    }

    pub(super) fn insert(&mut self, key: Key, ids: &[u32], seeds: Seeds) {
        let Some(kept) = (ids.len() <= CACHE_TOKENS_MAX).then_some(ids.len()) else { return };
        let slot_count = self.slots.len();
        if self.taken_count * 2 >= slot_count && slot_count < CACHE_WORDS_MAX {
            let grown = vec![CachedWord::default(); (slot_count * 2).max(CACHE_WORDS_MIN)];
            self.taken_count = 0;
            for word in std::mem::replace(&mut self.slots, grown) {
                if word.count > 0 {
                    self.put(word, seeds);
                }
            }
        }
        let mut word = CachedWord { key, count: kept as u32, ids: [0; CACHE_TOKENS_MAX] };
        word.ids[..kept].copy_from_slice(ids);
        self.put(word, seeds);
    }

    fn put(&mut self, word: CachedWord, seeds: Seeds) {
        let place = (word.key.hash(seeds) >> 32) as usize & (self.slots.len() - 1);
        let slot = &mut self.slots[place];
        self.taken_count += usize::from(slot.count == 0);
        *slot = word;
    }
}
