//! What a search costs: a model in nanoseconds, so that the choice of a structure does not depend on a clock.
//!
//! The constants were measured with AVX-512 on one core at 256 numbers a row; what counts is how they compare.

use promptc_kernels::BLOCK_ROWS;

use super::trial::Reaching;

/// For a byte of 8-bit codes that fits the second cache: 1.1 ns a row.
const BYTE_NS_NEAR: f64 = 0.004_3;
/// The same from the third cache: 2.4 ns a row.
const BYTE_NS_FAR: f64 = 0.009_5;
/// The same from memory in part: 4.5 ns a row of 100,000.
const BYTE_NS_FARTHEST: f64 = 0.017_5;
/// Bytes of codes that count as near: a second cache of 1 MiB.
const NEAR_BYTES: f64 = 1_048_576.0;
/// Bytes of codes that a third cache holds beside others.
const FAR_BYTES: f64 = 16_777_216.0;
/// For a byte of 1-bit codes: 0.37 ns for a row of 32.
const BIT_BYTE_NS: f64 = 0.012;
/// For a row that is scored again: its place among the best, a random access, and for each number.
const RERANK_NS: f64 = 20.0;
const RERANK_NUMBER_NS: f64 = 0.06;
/// For the rotation and tables of a query.
const TABLES_NS: f64 = 800.0;
/// For a list that is looked at: its rank, its first access, and a call of each loop.
const LIST_NS: f64 = 60.0;
/// For a row of a graph whose score is computed: its mark, its place among the best, a random access, and for each number.
const LINK_NS: f64 = 25.0;
/// For the rank of a list.
const CENTRE_NS: f64 = 1.5;

/// The scan of all rows by 8-bit codes.
pub(super) fn scan_ns(rows: usize, width: usize) -> f64 {
    let bytes = (rows * width) as f64;
    bytes
        * match bytes {
            _ if bytes <= NEAR_BYTES => BYTE_NS_NEAR,
            _ if bytes <= FAR_BYTES => BYTE_NS_FAR,
            _ => BYTE_NS_FARTHEST,
        }
}

/// A pass over blocks of 1-bit codes, then rows scored again; before it, the centres of so many lists are compared.
pub(super) fn bits_ns(dim: usize, lists: usize, effort: &Reaching) -> f64 {
    let scanned = effort.blocks * (BLOCK_ROWS * dim) as f64 / 8.0 * BIT_BYTE_NS;
    let reranked = effort.rerank as f64 * (RERANK_NS + RERANK_NUMBER_NS * dim as f64);
    let centres = scan_ns(lists, dim) + lists as f64 * CENTRE_NS;
    let ranked = if lists > 0 { centres + effort.lists * LIST_NS } else { 0.0 };
    TABLES_NS + ranked + scanned + reranked
}

/// A walk through a graph that computes so many scores.
pub(super) fn graph_ns(dim: usize, scored: f64) -> f64 {
    scored * (LINK_NS + RERANK_NUMBER_NS * dim as f64)
}
