//! Merging: the bytes of a piece become the tokens of the vocabulary, the pair of lowest rank first.
//!
//! ```text
//!  short piece: tokens and ranks of their pairs in two arrays, searched for the lowest rank, closed up after each merge
//!  long piece:  a chain of tokens, and a heap of (rank, place): n log n, so that a page of one letter costs no square
//! ```
//! Both give what the plain loop gives: of the adjacent pairs the one of lowest rank, leftmost first, until no pair has one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::words::Seeds;

/// No rank: the pair is not merged.
const NONE: u64 = u64::MAX;
/// Longest piece in bytes that is merged in arrays; at twice this the heap is as fast.
const SHORT_BYTES_MAX: usize = 96;
/// No neighbour.
const END: usize = usize::MAX;

/// Two adjacent tokens, and what they become. Its place in a list is its rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Merge {
    pub(super) left: u32,
    pub(super) right: u32,
    pub(super) merged: u32,
}

/// The ranks of pairs.
pub(super) struct Ranks {
    /// The token of each byte.
    bytes: [u32; 256],
    /// Of each two bytes: rank in the upper half, the merged token in the lower.
    byte_pairs: Vec<u64>,
    /// Pairs with the same; a power of two of slots, at most half of them taken.
    slots: Vec<(u64, u64)>,
    seeds: Seeds,
}

/// What merging needs between two pieces.
#[derive(Debug, Default)]
pub(super) struct MergeScratch {
    tokens: Vec<u32>,
    ranks: Vec<u64>,
    chain: Vec<Link>,
    heap: BinaryHeap<Reverse<(u64, usize)>>,
}

#[derive(Debug, Clone, Copy)]
struct Link {
    token: u32,
    before: usize,
    behind: usize,
}

impl Ranks {
    /// The merges are checked: no pair stands twice.
    pub(super) fn new(bytes: [u32; 256], merges: &[Merge], seeds: Seeds) -> Self {
        let slots = vec![(NONE, NONE); (merges.len() * 2).next_power_of_two().max(2)];
        let mut ranks = Self { bytes, byte_pairs: Vec::new(), slots, seeds };
        for (rank, Merge { left, right, merged }) in merges.iter().enumerate() {
            let key = key(*left, *right);
            let mut slot = ranks.slot(key);
            while ranks.slots[slot].0 != NONE {
                slot = (slot + 1) & (ranks.slots.len() - 1);
            }
            ranks.slots[slot] = (key, (rank as u64) << 32 | u64::from(*merged));
        }
        let pairs = (0..1 << 16).map(|pair| ranks.rank(bytes[pair >> 8], bytes[pair & 255]));
        ranks.byte_pairs = pairs.collect();
        ranks
    }

    #[inline]
    fn slot(&self, key: u64) -> usize {
        (self.seeds.hash(key, 0) >> 32) as usize & (self.slots.len() - 1)
    }

    #[inline]
    fn rank(&self, left: u32, right: u32) -> u64 {
        let key = key(left, right);
        let mut slot = self.slot(key);
        loop {
            let (found, rank) = self.slots[slot];
            if found == key || found == NONE {
                return rank;
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
    }

    /// The tokens of a piece, which is not empty.
    pub(super) fn merge<'a>(&self, piece: &[u8], scratch: &'a mut MergeScratch) -> &'a [u32] {
        scratch.tokens.clear();
        scratch.tokens.extend(piece.iter().map(|byte| self.bytes[usize::from(*byte)]));
        scratch.ranks.clear();
        let pairs = piece.windows(2).map(|pair| usize::from(pair[0]) << 8 | usize::from(pair[1]));
        scratch.ranks.extend(pairs.map(|pair| self.byte_pairs[pair]));
        match piece.len() <= SHORT_BYTES_MAX {
            true => self.merge_short(scratch),
            false => self.merge_long(scratch),
        }
        &scratch.tokens
    }

    fn merge_short(&self, scratch: &mut MergeScratch) {
        let (tokens, ranks) = (scratch.tokens.as_mut_slice(), scratch.ranks.as_mut_slice());
        let mut count = ranks.len();
        while count > 0 {
            let (mut lowest, mut at) = (ranks[0], 0);
            for (idx, rank) in ranks[..count].iter().enumerate() {
                if *rank < lowest {
                    (lowest, at) = (*rank, idx);
                }
            }
            if lowest == NONE {
                break;
            }
            tokens[at] = lowest as u32;
            // One token and one pair less.
            tokens.copy_within(at + 2..=count, at + 1);
            ranks.copy_within(at + 1..count, at);
            count -= 1;
            if at < count {
                ranks[at] = self.rank(tokens[at], tokens[at + 1]);
            }
            if at > 0 {
                ranks[at - 1] = self.rank(tokens[at - 1], tokens[at]);
            }
        }
        scratch.tokens.truncate(count + 1);
    }

    fn merge_long(&self, scratch: &mut MergeScratch) {
        let MergeScratch { tokens, ranks, chain, heap } = scratch;
        let last = tokens.len() - 1;
        let link = |(idx, token): (usize, &u32)| Link {
            token: *token,
            before: idx.checked_sub(1).unwrap_or(END),
            behind: if idx == last { END } else { idx + 1 },
        };
        chain.clear();
        chain.extend(tokens.iter().enumerate().map(link));
        heap.clear();
        heap.extend(
            ranks.iter().zip(0..).filter(|(rank, _)| **rank != NONE).map(|(rank, at)| Reverse((*rank, at))),
        );
        while let Some(Reverse((rank, at))) = heap.pop() {
            // A pair that is no more, because one of the two was merged elsewhere.
            if self.rank_at(chain, at) != rank {
                continue;
            }
            let gone = chain[at].behind;
            let behind = chain[gone].behind;
            chain[at] = Link { token: rank as u32, before: chain[at].before, behind };
            chain[gone].behind = gone;
            if behind != END {
                chain[behind].before = at;
            }
            for at in [chain[at].before, at] {
                let rank = if at == END { NONE } else { self.rank_at(chain, at) };
                if rank != NONE {
                    heap.push(Reverse((rank, at)));
                }
            }
        }
        tokens.clear();
        let mut at = 0;
        while at != END {
            tokens.push(chain[at].token);
            at = chain[at].behind;
        }
    }

    /// Rank of the pair that begins at this link; a link that is gone points at itself.
    fn rank_at(&self, chain: &[Link], at: usize) -> u64 {
        match chain[at].behind {
            END => NONE,
            behind if behind == at => NONE,
            behind => self.rank(chain[at].token, chain[behind].token),
        }
    }
}

/// Never [`NONE`]: tokens are far fewer.
#[inline]
fn key(left: u32, right: u32) -> u64 {
    u64::from(left) << 32 | u64::from(right)
}
