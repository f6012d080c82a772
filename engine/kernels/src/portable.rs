//! The level that every processor has, with the same bits on each of them.
//!
//! Element `i` is added to sum `i % 8`; the eight sums are then added as in [`total_f32`]. Multiplication and addition round
//! separately (the compiler never fuses them), so that the order alone determines the result. Eight independent sums are
//! what the compiler turns into vector code on any target, without a flag.

pub(crate) mod codes;

use crate::CosineSums;

/// Number of independent sums.
pub(crate) const SUMS: usize = 8;
/// Number of independent sums of the ops that add in `f64`.
const WIDE_SUMS: usize = 4 * SUMS;

/// Sum of the products.
pub(crate) fn dot_f32_portable(left: &[f32], right: &[f32]) -> f32 {
    sum_terms(left, right, |left, right| left * right)
}

/// Sum of the squared differences.
pub(crate) fn l2_f32_portable(left: &[f32], right: &[f32]) -> f32 {
    sum_terms(left, right, |left, right| {
        let difference = left - right;
        difference * difference
    })
}

#[inline(always)]
fn sum_terms(left: &[f32], right: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let mut sums = [0.0_f32; SUMS];
    let ((left_blocks, left_rest), (right_blocks, right_rest)) =
        (left.as_chunks::<SUMS>(), right.as_chunks::<SUMS>());
    for (left, right) in left_blocks.iter().zip(right_blocks) {
        for idx in 0..SUMS {
            sums[idx] += term(left[idx], right[idx]);
        }
    }
    for ((sum, left), right) in sums.iter_mut().zip(left_rest).zip(right_rest) {
        *sum += term(*left, *right);
    }
    total_f32(sums)
}

/// Cosine, summed in `f64`.
pub(crate) fn cosine_f32_portable(left: &[f32], right: &[f32]) -> f64 {
    let mut sums = [[0.0_f64; SUMS]; 3];
    let ((left_blocks, left_rest), (right_blocks, right_rest)) =
        (left.as_chunks::<SUMS>(), right.as_chunks::<SUMS>());
    for (left, right) in left_blocks.iter().zip(right_blocks) {
        add_products(&mut sums, left, right);
    }
    let (left_rest, right_rest) = (padded(left_rest), padded(right_rest));
    add_products(&mut sums, &left_rest, &right_rest);
    CosineSums { dot: total_f64(sums[0]), left: total_f64(sums[1]), right: total_f64(sums[2]) }.cosine()
}

#[inline(always)]
fn add_products(sums: &mut [[f64; SUMS]; 3], left: &[f32; SUMS], right: &[f32; SUMS]) {
    let [dots, lefts, rights] = sums;
    for idx in 0..SUMS {
        let (left, right) = (f64::from(left[idx]), f64::from(right[idx]));
        dots[idx] += left * right;
        lefts[idx] += left * left;
        rights[idx] += right * right;
    }
}

/// Sum of the products in `f64`.
#[inline(always)]
pub(crate) fn dot_f32f64_portable(left: &[f32], right: &[f32]) -> f64 {
    sum_terms_f64(left, right, |left, right| left * right)
}

/// Sum of the squared differences in `f64`.
#[inline(always)]
pub(crate) fn l2_f32f64_portable(left: &[f32], right: &[f32]) -> f64 {
    sum_terms_f64(left, right, |left, right| (left - right) * (left - right))
}

/// [`WIDE_SUMS`] sums, which hide the latency of an addition at every level; then four to one, then as in [`total_f64`].
#[inline(always)]
fn sum_terms_f64(left: &[f32], right: &[f32], term: impl Fn(f64, f64) -> f64) -> f64 {
    let mut sums = [0.0_f64; WIDE_SUMS];
    let mut add = |left: &[f32; WIDE_SUMS], right: &[f32; WIDE_SUMS]| {
        for idx in 0..WIDE_SUMS {
            sums[idx] += term(f64::from(left[idx]), f64::from(right[idx]));
        }
    };
    let ((left_blocks, left_rest), (right_blocks, right_rest)) =
        (left.as_chunks::<WIDE_SUMS>(), right.as_chunks::<WIDE_SUMS>());
    for (left, right) in left_blocks.iter().zip(right_blocks) {
        add(left, right);
    }
    if !left_rest.is_empty() {
        let (mut left, mut right) = ([0.0; WIDE_SUMS], [0.0; WIDE_SUMS]);
        left[..left_rest.len()].copy_from_slice(left_rest);
        right[..right_rest.len()].copy_from_slice(right_rest);
        add(&left, &right);
    }
    let four = |idx: usize| (sums[idx] + sums[idx + SUMS]) + (sums[idx + 2 * SUMS] + sums[idx + 3 * SUMS]);
    total_f64(std::array::from_fn(four))
}

/// The last, incomplete block with zeros behind it; a zero changes no sum, since no sum is ever `-0`.
#[inline(always)]
pub(crate) fn padded(rest: &[f32]) -> [f32; SUMS] {
    let mut block = [0.0; SUMS];
    block[..rest.len()].copy_from_slice(rest);
    block
}

/// Neighbours at distance 4, then 2, then 1: the order in which halves of vector registers are added.
#[inline(always)]
pub(crate) fn total_f32(sums: [f32; SUMS]) -> f32 {
    let [a, b, c, d, e, f, g, h] = sums;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

/// As [`total_f32`].
#[inline(always)]
pub(crate) fn total_f64(sums: [f64; SUMS]) -> f64 {
    let [a, b, c, d, e, f, g, h] = sums;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}
