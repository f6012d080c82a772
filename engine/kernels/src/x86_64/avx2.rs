//! 256-bit registers, with fused multiply-add.
//!
//! Blocks of 32 elements go to four registers of eight sums, which hides the latency of an addition (4 cycles, two per
//! cycle); then single registers; the rest one by one. The four registers are added in pairs, their lanes as in `portable`.

use std::arch::x86_64::{
    __m256, __m256d, _mm_loadu_ps, _mm256_add_ps, _mm256_cvtps_pd, _mm256_fmadd_pd, _mm256_fmadd_ps,
    _mm256_loadu_ps, _mm256_setzero_pd, _mm256_setzero_ps, _mm256_storeu_pd, _mm256_storeu_ps, _mm256_sub_ps,
};

use crate::CosineSums;
use crate::portable::{SUMS, dot_f32f64_portable, l2_f32f64_portable, padded, total_f32, total_f64};

/// Elements of a register.
const LANES: usize = 8;
/// Registers of a block.
const REGISTERS: usize = 4;

/// Sum of the products.
#[target_feature(enable = "avx2,fma")]
pub(crate) fn dot_f32_avx2(left: &[f32], right: &[f32]) -> f32 {
    let mut sums = [_mm256_setzero_ps(); REGISTERS];
    let ((left_blocks, left_rest), (right_blocks, right_rest)) =
        (left.as_chunks::<{ LANES * REGISTERS }>(), right.as_chunks::<{ LANES * REGISTERS }>());
    for (left, right) in left_blocks.iter().zip(right_blocks) {
        let (left, right) = (left.as_chunks::<LANES>().0, right.as_chunks::<LANES>().0);
        for idx in 0..REGISTERS {
            sums[idx] = _mm256_fmadd_ps(load(&left[idx]), load(&right[idx]), sums[idx]);
        }
    }
    let ((left, left_rest), (right, right_rest)) =
        (left_rest.as_chunks::<LANES>(), right_rest.as_chunks::<LANES>());
    for (left, right) in left.iter().zip(right) {
        sums[0] = _mm256_fmadd_ps(load(left), load(right), sums[0]);
    }
    let mut rest = 0.0_f32;
    for (left, right) in left_rest.iter().zip(right_rest) {
        rest = left.mul_add(*right, rest);
    }
    total(sums) + rest
}

/// Sum of the squared differences.
#[target_feature(enable = "avx2,fma")]
pub(crate) fn l2_f32_avx2(left: &[f32], right: &[f32]) -> f32 {
    let mut sums = [_mm256_setzero_ps(); REGISTERS];
    let ((left_blocks, left_rest), (right_blocks, right_rest)) =
        (left.as_chunks::<{ LANES * REGISTERS }>(), right.as_chunks::<{ LANES * REGISTERS }>());
    for (left, right) in left_blocks.iter().zip(right_blocks) {
        let (left, right) = (left.as_chunks::<LANES>().0, right.as_chunks::<LANES>().0);
        for idx in 0..REGISTERS {
            let difference = _mm256_sub_ps(load(&left[idx]), load(&right[idx]));
            sums[idx] = _mm256_fmadd_ps(difference, difference, sums[idx]);
        }
    }
    let ((left, left_rest), (right, right_rest)) =
        (left_rest.as_chunks::<LANES>(), right_rest.as_chunks::<LANES>());
    for (left, right) in left.iter().zip(right) {
        let difference = _mm256_sub_ps(load(left), load(right));
        sums[0] = _mm256_fmadd_ps(difference, difference, sums[0]);
    }
    let mut rest = 0.0_f32;
    for (left, right) in left_rest.iter().zip(right_rest) {
        let difference = left - right;
        rest = difference.mul_add(difference, rest);
    }
    total(sums) + rest
}

/// Sum of the products in `f64`: the loop of `portable`, vectorised by the compiler with these instructions.
#[target_feature(enable = "avx2")]
pub(crate) fn dot_f32f64_avx2(left: &[f32], right: &[f32]) -> f64 {
    dot_f32f64_portable(left, right)
}

/// Sum of the squared differences in `f64`, as above.
#[target_feature(enable = "avx2")]
pub(crate) fn l2_f32f64_avx2(left: &[f32], right: &[f32]) -> f64 {
    l2_f32f64_portable(left, right)
}

/// Cosine, with the eight `f64` sums of `portable` in two registers each.
#[target_feature(enable = "avx2,fma")]
pub(crate) fn cosine_f32_avx2(left: &[f32], right: &[f32]) -> f64 {
    let mut sums = [[_mm256_setzero_pd(); 2]; 3];
    let ((left_blocks, left_rest), (right_blocks, right_rest)) =
        (left.as_chunks::<SUMS>(), right.as_chunks::<SUMS>());
    for (left, right) in left_blocks.iter().zip(right_blocks) {
        add_products(&mut sums, left, right);
    }
    add_products(&mut sums, &padded(left_rest), &padded(right_rest));
    let [dot, left, right] = sums;
    CosineSums { dot: total_f64(lanes(dot)), left: total_f64(lanes(left)), right: total_f64(lanes(right)) }
        .cosine()
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn add_products(sums: &mut [[__m256d; 2]; 3], left: &[f32; SUMS], right: &[f32; SUMS]) {
    let (left, right) = (widened(left), widened(right));
    for half in 0..2 {
        let (left, right) = (left[half], right[half]);
        sums[0][half] = _mm256_fmadd_pd(left, right, sums[0][half]);
        sums[1][half] = _mm256_fmadd_pd(left, left, sums[1][half]);
        sums[2][half] = _mm256_fmadd_pd(right, right, sums[2][half]);
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(values: &[f32; LANES]) -> __m256 {
    // SAFETY: the array has the 32 bytes that are read; any alignment is allowed.
    unsafe { _mm256_loadu_ps(values.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn widened(values: &[f32; SUMS]) -> [__m256d; 2] {
    // SAFETY: both halves of the array have the 16 bytes that are read; any alignment is allowed.
    let (low, high) = unsafe { (_mm_loadu_ps(values.as_ptr()), _mm_loadu_ps(values.as_ptr().add(4))) };
    [_mm256_cvtps_pd(low), _mm256_cvtps_pd(high)]
}

#[inline]
#[target_feature(enable = "avx2")]
fn total(sums: [__m256; REGISTERS]) -> f32 {
    let sum = _mm256_add_ps(_mm256_add_ps(sums[0], sums[1]), _mm256_add_ps(sums[2], sums[3]));
    let mut lanes = [0.0; LANES];
    // SAFETY: the array has the 32 bytes that are written; any alignment is allowed.
    unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), sum) };
    total_f32(lanes)
}

#[inline]
#[target_feature(enable = "avx2")]
fn lanes(halves: [__m256d; 2]) -> [f64; SUMS] {
    let mut lanes = [0.0; SUMS];
    // SAFETY: both halves of the array have the 32 bytes that are written; any alignment is allowed.
    unsafe {
        _mm256_storeu_pd(lanes.as_mut_ptr(), halves[0]);
        _mm256_storeu_pd(lanes.as_mut_ptr().add(4), halves[1]);
    }
    lanes
}
