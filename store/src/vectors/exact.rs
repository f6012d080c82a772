//! Vectors in memory: exact search, and exact scores for candidates of other searches.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};

use super::distance::{Metric, exact_score, fast_score, norm_f64, raw_batch_f32, raw_f32};
use crate::flows::RowId;

/// Rows compared with a query in one call of a kernel.
const BLOCK_ROWS: usize = 256;

/// All vectors of an index. Memory per row: 4 bytes per dimension, 32 bytes and the key.
#[derive(Debug, Clone)]
pub struct ExactVectors {
    metric: Metric,
    dim: usize,
    rows: Vec<RowId>,
    key_bytes: Vec<u8>,
    key_ends: Vec<usize>,
    values: Vec<f32>,
    norms: Vec<f64>,
}

impl ExactVectors {
    pub(super) fn new(metric: Metric, dim: usize) -> Self {
        let (rows, key_bytes, key_ends, values, norms) = Default::default();
        Self { metric, dim, rows, key_bytes, key_ends, values, norms }
    }

    pub(super) fn push(&mut self, row: RowId, key: &[u8], vector: &[f32]) {
        self.rows.push(row);
        self.key_bytes.extend_from_slice(key);
        self.key_ends.push(self.key_bytes.len());
        self.values.extend_from_slice(vector);
        self.norms.push(norm_f64(vector));
    }

    /// Number of vectors.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no vectors.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Numbers per vector.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Identity of each vector, in the order of the index.
    pub fn rows(&self) -> &[RowId] {
        &self.rows
    }

    /// The vector at a place.
    pub fn vector(&self, idx: usize) -> &[f32] {
        &self.values[idx * self.dim..(idx + 1) * self.dim]
    }

    pub(super) fn key(&self, idx: usize) -> &[u8] {
        let start = if idx == 0 { 0 } else { self.key_ends[idx - 1] };
        &self.key_bytes[start..self.key_ends[idx]]
    }

    pub(super) fn norm(&self, idx: usize) -> f64 {
        self.norms[idx]
    }

    /// The `k` best rows among those that `allowed` accepts (all if `None`): score descending, ties by key. A greater score
    /// is better for every metric. The result is that of comparing with every vector in `f64`.
    ///
    /// `query` must have the index's dimension and finite numbers (the caller checks). Cost: one pass over all vectors in
    /// `f32`, then the few rows whose rank `f32` cannot decide in `f64`.
    pub(super) fn search(
        &self,
        query: &[f32],
        k: usize,
        allowed: Option<&(dyn Fn(&RowId) -> bool + Sync)>,
    ) -> Vec<(RowId, f64)> {
        if k == 0 {
            return Vec::new();
        }
        let query_norm = norm_f64(query);
        // The k-th greatest lower bound: whoever cannot reach it is not among the k best.
        let mut floors: BinaryHeap<std::cmp::Reverse<Ordered>> =
            BinaryHeap::with_capacity(k.min(self.len()) + 1);
        let mut ceilings: Vec<(f64, usize)> = Vec::with_capacity(self.len());
        let mut raws = [0f32; BLOCK_ROWS];
        for (idx, row) in self.rows.iter().enumerate() {
            let raw = match allowed {
                Some(allowed) if !allowed(row) => continue,
                Some(_) => raw_f32(self.metric, query, self.vector(idx)),
                None => {
                    if idx % BLOCK_ROWS == 0 {
                        let end = (idx + BLOCK_ROWS).min(self.len());
                        let block = &self.values[idx * self.dim..end * self.dim];
                        raw_batch_f32(self.metric, query, block, &mut raws[..end - idx]);
                    }
                    raws[idx % BLOCK_ROWS]
                }
            };
            let (score, error) = fast_score(self.metric, raw, self.dim, query_norm, self.norms[idx]);
            let floor = Ordered(score - error);
            ceilings.push((score + error, idx));
            if floors.len() < k {
                floors.push(std::cmp::Reverse(floor));
            } else if floors.peek().is_some_and(|least| least.0 < floor) {
                floors.pop();
                floors.push(std::cmp::Reverse(floor));
            }
        }
        let least = match floors.peek() {
            Some(least) if floors.len() == k => least.0.0,
            _ => f64::NEG_INFINITY,
        };
        let candidates = ceilings.into_iter().filter(|&(ceiling, _)| ceiling >= least).map(|(_, idx)| idx);
        self.rank(query, candidates, k)
    }

    /// Places of some rows; `None` for one that is not there. Cost: one pass over the identities.
    pub fn places(&self, rows: &[RowId]) -> Vec<Option<u32>> {
        let known: HashMap<&RowId, u32> = self.rows.iter().zip(0..).collect();
        rows.iter().map(|row| known.get(row).copied()).collect()
    }

    /// The score of the vector at a place, as a search gives it.
    pub fn score(&self, query: &[f32], idx: usize) -> f64 {
        exact_score(self.metric, query, norm_f64(query), self.vector(idx), self.norms[idx])
    }

    /// The `k` best of the vectors at the places `candidates`, by exact score, ties by key.
    pub fn rank(
        &self,
        query: &[f32],
        candidates: impl Iterator<Item = usize>,
        k: usize,
    ) -> Vec<(RowId, f64)> {
        let query_norm = norm_f64(query);
        let score = |idx| exact_score(self.metric, query, query_norm, self.vector(idx), self.norms[idx]);
        let mut scored: Vec<(f64, usize)> = candidates.map(|idx| (score(idx), idx)).collect();
        let order = |left: &(f64, usize), right: &(f64, usize)| {
            // Adding zero makes -0.0 equal to 0.0.
            (right.0 + 0.0).total_cmp(&(left.0 + 0.0)).then_with(|| {
                (self.key(left.1), &self.rows[left.1]).cmp(&(self.key(right.1), &self.rows[right.1]))
            })
        };
        if scored.len() > k {
            scored.select_nth_unstable_by(k, order);
            scored.truncate(k);
        }
        scored.sort_unstable_by(order);
        scored.into_iter().map(|(score, idx)| (self.rows[idx], score)).collect()
    }
}

/// A number with the total order of its bits; bounds are never NaN.
#[derive(Clone, Copy, PartialEq)]
struct Ordered(f64);

impl Eq for Ordered {}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}
