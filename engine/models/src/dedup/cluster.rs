//! Which blocks are kept, given all signatures in key order.
//!
//! ```text
//!  sort by exact hash ──▶ first copy of each text
//!  sort by band, 32 times ──▶ previous block with the same band
//!  in key order: exact copy? ──▶ as its first copy
//!                 same band as a kept block, and Jaccard >= threshold (exact)? ──▶ dropped for it
//! ```
//! A block is compared with kept blocks only: what is dropped has a kept copy that is itself similar enough, so a
//! chain of small changes never drops a text unlike everything that stays. Memory beside the signatures: 4 bytes per
//! band, 128 bytes of sorting, and a bounded cache of shingles.

use super::minhash::{band, band_count, estimate, jaccard};
use super::{BlockSignature, MIN_TOKENS};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// What becomes of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It stays.
    Kept,
    /// It goes, since it has the same text, but for case and blanks, as the kept block with this position.
    Exact(u32),
    /// It goes, since it is similar to the kept block with this position.
    Near(u32),
}

impl Decision {
    /// Position of the block that stays for this one, if this one goes.
    pub fn kept(self) -> Option<u32> {
        match self {
            Self::Kept => None,
            Self::Exact(kept) | Self::Near(kept) => Some(kept),
        }
    }
}

/// End of a chain of blocks with equal bands.
const NONE: u32 = u32::MAX;
/// A candidate whose estimate is this far below the threshold is not verified. The estimate's standard deviation is
/// at most 0.05, so one pair in a billion is missed by it.
const ESTIMATE_MARGIN: f64 = 0.3;
/// Bands that are hashed in one pass over the signatures, which do not fit into the processor's caches.
const BANDS_AT_ONCE: usize = 8;
/// Shingle hashes that are remembered between verifications: 8 MiB.
const CACHED_SHINGLES: usize = 1 << 20;

/// Decides on every block. `signatures` stand in key order (then block number) and come from equal options; `threshold`
/// is the least Jaccard similarity of shingle sets of a near-duplicate. `shingles` gives the sorted, distinct shingle
/// hashes of the block with a position ([`super::shingles`] of its text) and is asked only to verify candidates.
/// The result is a function of the list alone. Its errors are those of `shingles`. Cost: 32 sorts of a number per
/// block, and a verification per candidate pair.
///
/// # Panics
/// With 2^32 - 1 blocks or more, which exceeds any memory that holds their signatures.
pub fn cluster<E>(
    signatures: &[BlockSignature],
    threshold: f64,
    mut shingles: impl FnMut(usize) -> Result<Vec<u64>, E>,
) -> Result<Vec<Decision>, E> {
    assert!(signatures.len() < NONE as usize, "more blocks than positions");
    let first_copies = first_copies(signatures);
    let mut chains = chains(signatures, &first_copies);
    let mut cache = Cache { sets: BTreeMap::new(), hash_count: 0 };
    let mut decisions = vec![Decision::Kept; signatures.len()];
    let mut candidates = Vec::new();
    for (idx, signature) in signatures.iter().enumerate() {
        let first = first_copies[idx];
        if first != idx as u32 {
            decisions[idx] = match decisions[first as usize] {
                Decision::Kept => Decision::Exact(first),
                dropped => dropped,
            };
            continue;
        }
        candidates.clear();
        for chain in &mut chains {
            collect_kept(chain, idx, &decisions, &mut candidates);
        }
        candidates.sort_unstable();
        candidates.dedup();
        let mut own = None;
        for &candidate in &candidates {
            let other = &signatures[candidate as usize];
            if estimate(&signature.slots, &other.slots) + ESTIMATE_MARGIN < threshold {
                continue;
            }
            if own.is_none() {
                own = Some(shingles(idx)?);
            }
            let similarity =
                jaccard(own.as_deref().unwrap_or_default(), cache.get(candidate, &mut shingles)?);
            if similarity >= threshold {
                decisions[idx] = Decision::Near(candidate);
                break;
            }
        }
    }
    Ok(decisions)
}

/// For every block the position of the first one with the same text; itself if it is the first or too short to go.
fn first_copies(signatures: &[BlockSignature]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..signatures.len() as u32).collect();
    order.sort_unstable_by_key(|idx| (signatures[*idx as usize].exact, *idx));
    let mut first_copies: Vec<u32> = (0..signatures.len() as u32).collect();
    for pair in order.windows(2) {
        let (before, here) = (pair[0] as usize, pair[1] as usize);
        let droppable = u64::from(signatures[here].token_count) >= MIN_TOKENS;
        if droppable && signatures[before].exact == signatures[here].exact {
            first_copies[here] = first_copies[before];
        }
    }
    first_copies
}

/// Per band and block: the previous block with the same band, among the first copies that have slots.
fn chains(signatures: &[BlockSignature], first_copies: &[u32]) -> Vec<Vec<u32>> {
    let members: Vec<u32> = (0..signatures.len() as u32)
        .filter(|idx| first_copies[*idx as usize] == *idx)
        .filter(|idx| {
            let signature = &signatures[*idx as usize];
            !signature.slots.is_empty() && u64::from(signature.token_count) >= MIN_TOKENS
        })
        .collect();
    let bands = members.first().map_or(0, |idx| band_count(&signatures[*idx as usize].slots));
    let mut chains = Vec::with_capacity(bands);
    let mut sorted: Vec<Vec<(u64, u32)>> = vec![Vec::with_capacity(members.len()); BANDS_AT_ONCE.min(bands)];
    for first in (0..bands).step_by(BANDS_AT_ONCE) {
        let numbers = first..(first + BANDS_AT_ONCE).min(bands);
        sorted.iter_mut().for_each(Vec::clear);
        for idx in &members {
            let slots = &signatures[*idx as usize].slots;
            for (sorted, number) in sorted.iter_mut().zip(numbers.clone()) {
                sorted.push((band(slots, number), *idx));
            }
        }
        for sorted in &mut sorted[..numbers.len()] {
            sorted.sort_unstable();
            let mut chain = vec![NONE; signatures.len()];
            for pair in sorted.windows(2) {
                if pair[0].0 == pair[1].0 {
                    chain[pair[1].1 as usize] = pair[0].1;
                }
            }
            chains.push(chain);
        }
    }
    chains
}

/// Adds the kept blocks of a chain before `idx`. Links over dropped blocks are shortened, since a decision never
/// changes, so that a chain of copies is walked once and not once per copy.
fn collect_kept(chain: &mut [u32], idx: usize, decisions: &[Decision], candidates: &mut Vec<u32>) {
    let mut here = idx;
    loop {
        let mut before = chain[here];
        while before != NONE && decisions[before as usize] != Decision::Kept {
            before = chain[before as usize];
        }
        chain[here] = before;
        if before == NONE {
            return;
        }
        candidates.push(before);
        here = before as usize;
    }
}

/// Shingle sets of candidates that were fetched, up to a bound.
struct Cache {
    sets: BTreeMap<u32, Vec<u64>>,
    hash_count: usize,
}

impl Cache {
    /// The set of a block; forgets all others first if they are over the bound.
    fn get<E>(
        &mut self,
        idx: u32,
        shingles: &mut impl FnMut(usize) -> Result<Vec<u64>, E>,
    ) -> Result<&[u64], E> {
        if self.hash_count > CACHED_SHINGLES {
            self.sets.clear();
            self.hash_count = 0;
        }
        match self.sets.entry(idx) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(place) => {
                let set = shingles(idx as usize)?;
                self.hash_count += set.len();
                Ok(place.insert(set))
            }
        }
    }
}
