//! The pieces of a vocabulary as a tree of bytes, for the longest match.
//!
//! A step from a node along a byte is one look-up in a table with open addressing; nodes are numbered in the order in which
//! the pieces bring them. Pieces that begin a word hang on one root, pieces that continue one on another, without their
//! prefix.

use super::WordPieceError;

/// Root of the pieces that begin a word.
pub(super) const WORD_START: u32 = 0;
/// Root of the pieces that continue a word.
pub(super) const WORD_INSIDE: u32 = 1;
/// What marks a piece that continues a word.
pub(super) const CONTINUING: &str = "##";
/// Most nodes: node and byte share 32 bits.
const NODES_MAX: usize = 1 << 24;
/// No piece ends at this node; also an empty slot's key, which no step has.
const NONE: u32 = u32::MAX;

/// The tree.
pub(super) struct Vocabulary {
    /// Steps: node and byte, and the node that they lead to. A power of two of slots, at most half of them taken.
    slots: Vec<(u32, u32)>,
    /// Of each node, the piece that ends there.
    ids: Vec<u32>,
}

impl Vocabulary {
    /// The tree of these pieces.
    pub(super) fn new(pieces: &[(String, u32)]) -> Result<Self, WordPieceError> {
        let bytes: usize = pieces.iter().map(|(piece, _)| piece.len()).sum();
        if bytes + 2 >= NODES_MAX {
            return Err(WordPieceError::VocabularyTooLong { found: bytes, max: NODES_MAX - 3 });
        }
        let mut vocabulary = Self { slots: vec![(NONE, NONE); 1 << 10], ids: vec![NONE; 2] };
        for (piece, id) in pieces {
            let (root, rest) = match piece.strip_prefix(CONTINUING) {
                // The prefix alone is a word of two signs, and nothing that could continue one.
                Some("") | None => (WORD_START, piece.as_str()),
                Some(rest) => (WORD_INSIDE, rest),
            };
            let node = rest.bytes().fold(root, |node, byte| vocabulary.child(node, byte));
            vocabulary.ids[node as usize] = *id;
        }
        Ok(vocabulary)
    }

    /// The longest piece that `word` begins with, below this root: its id and its length in bytes.
    #[inline]
    pub(super) fn longest(&self, root: u32, word: &[u8]) -> Option<(u32, usize)> {
        let (mut node, mut found) = (root, None);
        for (idx, byte) in word.iter().enumerate() {
            match self.step(node, *byte) {
                Some(next) => node = next,
                None => break,
            }
            let id = self.ids[node as usize];
            if id != NONE {
                found = Some((id, idx + 1));
            }
        }
        found
    }

    #[inline]
    fn step(&self, node: u32, byte: u8) -> Option<u32> {
        let key = node << 8 | u32::from(byte);
        let mut slot = self.slot(key);
        loop {
            let (found, next) = self.slots[slot];
            if found == key {
                return Some(next);
            }
            if found == NONE {
                return None;
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
    }

    /// Where the search for a key begins: multiplicative hashing (Knuth, volume 3, section 6.4).
    #[inline]
    fn slot(&self, key: u32) -> usize {
        let shift = 64 - self.slots.len().trailing_zeros();
        (u64::from(key).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> shift) as usize
    }

    /// The node behind a step, which is made if it is not there.
    fn child(&mut self, node: u32, byte: u8) -> u32 {
        if let Some(next) = self.step(node, byte) {
            return next;
        }
        if self.ids.len() * 2 > self.slots.len() {
            let grown = vec![(NONE, NONE); self.slots.len() * 2];
            for (key, next) in std::mem::replace(&mut self.slots, grown) {
                if key != NONE {
                    self.insert(key, next);
                }
            }
        }
        let next = self.ids.len() as u32;
        self.ids.push(NONE);
        self.insert(node << 8 | u32::from(byte), next);
        next
    }

    fn insert(&mut self, key: u32, next: u32) {
        let mut slot = self.slot(key);
        while self.slots[slot].0 != NONE {
            slot = (slot + 1) & (self.slots.len() - 1);
        }
        self.slots[slot] = (key, next);
    }
}
