//! Learning merges from texts.
//!
//! Pieces are counted and sorted by their bytes, so that neither the order of the texts nor that of a table decides anything.
//! The most frequent pair comes from a heap whose counts may be too high: one that was lowered since goes back with its count.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::rc::Rc;

use super::added::AddedToken;
use super::file::TOKENS_MAX;
use super::{BpeError, Merge, Parts, Split};

/// A pair that stands less often is not merged.
const COUNT_MIN: u64 = 2;

/// What is learned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BpeTraining {
    /// Most tokens, the 256 bytes and the special ones among them.
    pub token_count: usize,
    /// How texts are cut.
    pub split: Split,
    /// Tokens that are found in a text as it stands, such as `<|endoftext|>`; they have the last ids.
    pub special: Vec<String>,
}

/// A pair and how often it stood at some time: the most frequent first, then the smaller in bytes.
type Candidate = (u64, Reverse<(Rc<[u8]>, Rc<[u8]>)>, (u32, u32));

/// A piece that is merged: its tokens, and how often it stands.
struct Piece {
    tokens: Vec<u32>,
    count: u64,
}

/// Where a pair stands.
#[derive(Default)]
struct Pair {
    count: u64,
    /// Pieces that had it at some time; one may stand twice.
    pieces: Vec<usize>,
}

struct Learner {
    tokens: Vec<Rc<[u8]>>,
    pieces: Vec<Piece>,
    pairs: HashMap<(u32, u32), Pair>,
    heap: BinaryHeap<Candidate>,
}

pub(super) fn parts<T: AsRef<[u8]>>(
    texts: impl IntoIterator<Item = T>,
    training: &BpeTraining,
) -> Result<Parts, BpeError> {
    let BpeTraining { token_count, split, special } = training;
    let added_count = special.len();
    let room = token_count.checked_sub(added_count).filter(|room| *room >= 256 && *token_count <= TOKENS_MAX);
    let room = room.ok_or(BpeError::TokenCount { found: *token_count })?;
    for (idx, token) in special.iter().enumerate() {
        if token.is_empty() {
            return Err(BpeError::EmptyToken { id: (room + idx) as u32 });
        }
        if special[..idx].contains(token) {
            return Err(BpeError::TokenTwice { token: token.clone() });
        }
    }
    let mut learner = Learner::new(pieces(texts, *split));
    let merges = learner.learn(room);
    let tokens: Vec<Vec<u8>> = learner.tokens.iter().map(|token| token.to_vec()).collect();
    let added = |(content, idx): (&String, usize)| AddedToken {
        content: content.clone(),
        id: (tokens.len() + idx) as u32,
        lstrip: false,
        normalized: false,
        special: true,
    };
    let added = special.iter().zip(0..).map(added).collect();
    let (before, behind) = (Vec::new(), Vec::new());
    Ok(Parts { split: *split, tokens, merges, ignores_merges: false, added, before, behind })
}

/// The different pieces of the texts in the order of their bytes, with their counts.
fn pieces<T: AsRef<[u8]>>(texts: impl IntoIterator<Item = T>, split: Split) -> Vec<(Vec<u8>, u64)> {
    let mut counts: HashMap<Vec<u8>, u64> = HashMap::new();
    for text in texts {
        for piece in split.pieces(text.as_ref()) {
            match counts.get_mut(piece) {
                Some(count) => *count += 1,
                None => drop(counts.insert(piece.to_vec(), 1)),
            }
        }
    }
    let mut pieces: Vec<(Vec<u8>, u64)> = counts.into_iter().collect();
    pieces.sort_unstable();
    pieces
}

impl Learner {
    fn new(pieces: Vec<(Vec<u8>, u64)>) -> Self {
        let tokens = (0..=255_u8).map(|byte| Rc::from([byte])).collect();
        let piece = |(bytes, count): (Vec<u8>, u64)| Piece {
            tokens: bytes.into_iter().map(u32::from).collect(),
            count,
        };
        let pieces: Vec<Piece> = pieces.into_iter().map(piece).collect();
        let mut pairs: HashMap<(u32, u32), Pair> = HashMap::new();
        for (idx, piece) in pieces.iter().enumerate() {
            add(&mut pairs, idx, piece, |_| true);
        }
        let mut learner = Self { tokens, pieces, pairs, heap: BinaryHeap::new() };
        let found: Vec<(u32, u32)> = learner.pairs.keys().copied().collect();
        found.into_iter().for_each(|pair| learner.push(pair));
        learner
    }

    /// Merges until there are `room` tokens.
    fn learn(&mut self, room: usize) -> Vec<Merge> {
        let mut ids: HashMap<Rc<[u8]>, u32> = self.tokens.iter().cloned().zip(0..).collect();
        let mut merges = Vec::new();
        while self.tokens.len() < room && merges.len() < TOKENS_MAX {
            let Some((left, right)) = self.most_frequent() else { break };
            let bytes: Rc<[u8]> =
                [&*self.tokens[left as usize], &*self.tokens[right as usize]].concat().into();
            // Two pairs can have the same bytes: they become the same token.
            let merged = *ids.entry(bytes.clone()).or_insert(self.tokens.len() as u32);
            if merged as usize == self.tokens.len() {
                self.tokens.push(bytes);
            }
            merges.push(Merge { left, right, merged });
            self.merge((left, right), merged);
        }
        merges
    }

    fn most_frequent(&mut self) -> Option<(u32, u32)> {
        while let Some((count, _, pair)) = self.heap.pop() {
            let now = self.pairs.get(&pair).map_or(0, |pair| pair.count);
            if now == count {
                return Some(pair);
            }
            if now < count {
                self.push(pair);
            }
        }
        None
    }

    fn push(&mut self, pair: (u32, u32)) {
        let count = self.pairs.get(&pair).map_or(0, |pair| pair.count);
        if count >= COUNT_MIN {
            let bytes = |token: u32| self.tokens[token as usize].clone();
            self.heap.push((count, Reverse((bytes(pair.0), bytes(pair.1))), pair));
        }
    }

    /// Merges a pair wherever it stands.
    fn merge(&mut self, pair: (u32, u32), merged: u32) {
        let Some(Pair { pieces, .. }) = self.pairs.get_mut(&pair).map(std::mem::take) else { return };
        let mut raised = Vec::new();
        for idx in pieces {
            let piece = &mut self.pieces[idx];
            for pair in windows(&piece.tokens) {
                if let Some(pair) = self.pairs.get_mut(&pair) {
                    pair.count = pair.count.saturating_sub(piece.count);
                }
            }
            merge_piece(&mut piece.tokens, pair, merged);
            let is_new = |(left, right): (u32, u32)| left == merged || right == merged;
            add(&mut self.pairs, idx, piece, is_new);
            raised.extend(windows(&piece.tokens).filter(|pair| is_new(*pair)));
        }
        self.pairs.remove(&pair);
        raised.sort_unstable();
        raised.dedup();
        raised.into_iter().for_each(|pair| self.push(pair));
    }
}

fn windows(tokens: &[u32]) -> impl Iterator<Item = (u32, u32)> {
    tokens.array_windows().map(|[left, right]| (*left, *right))
}

/// Counts the pairs of a piece, and notes the piece for those that are new in it.
fn add(
    pairs: &mut HashMap<(u32, u32), Pair>,
    idx: usize,
    piece: &Piece,
    is_new: impl Fn((u32, u32)) -> bool,
) {
    for tokens in windows(&piece.tokens) {
        let pair = pairs.entry(tokens).or_default();
        pair.count += piece.count;
        if is_new(tokens) && pair.pieces.last() != Some(&idx) {
            pair.pieces.push(idx);
        }
    }
}

/// Merges a pair in a piece, from the left.
fn merge_piece(tokens: &mut Vec<u32>, (left, right): (u32, u32), merged: u32) {
    let (mut read, mut written) = (0, 0);
    while read < tokens.len() {
        let is_pair = tokens[read] == left && tokens.get(read + 1) == Some(&right);
        tokens[written] = if is_pair { merged } else { tokens[read] };
        read += 1 + usize::from(is_pair);
        written += 1;
    }
    tokens.truncate(written);
}
