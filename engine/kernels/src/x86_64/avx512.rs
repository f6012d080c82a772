//! 512-bit registers, with fused multiply-add.
//!
//! Blocks of 64 elements go to four registers of sixteen sums; then single registers; the rest is read under a mask, which
//! makes the missing lanes zero. The four registers are added in pairs, then their halves, then lanes as in `portable`.

use std::arch::x86_64::{
    __m512, __m512d, _mm256_loadu_ps, _mm512_add_ps, _mm512_cvtps_pd, _mm512_fmadd_pd, _mm512_fmadd_ps,
    _mm512_loadu_ps, _mm512_maskz_loadu_ps, _mm512_setzero_pd, _mm512_setzero_ps, _mm512_storeu_pd,
    _mm512_storeu_ps, _mm512_sub_ps,
};

use crate::CosineSums;
use crate::portable::{SUMS, dot_f32f64_portable, l2_f32f64_portable, padded, total_f32, total_f64};

/// Elements of a register.
const LANES: usize = 16;
/// Registers of a block.
const REGISTERS: usize = 4;

/// Sum of the products.
#[target_feature(enable = "avx512f")]
pub(crate) fn dot_f32_avx512(left: &[f32], right: &[f32]) -> f32 {
    let mut sums = [_mm512_setzero_ps(); REGISTERS];
    let ((left_blocks, left_rest), (right_blocks, right_rest)) =
        (left.as_chunks::<{ LANES * REGISTERS }>(), right.as_chunks::<{ LANES * REGISTERS }>());
    for (left, right) in left_blocks.iter().zip(right_blocks) {
        let (left, right) = (left.as_chunks::<LANES>().0, right.as_chunks::<LANES>().0);
        for idx in 0..REGISTERS {
            sums[idx] = _mm512_fmadd_ps(load(&left[idx]), load(&right[idx]), sums[idx]);
        }
    }
    let ((left, left_rest), (right, right_rest)) =
        (left_rest.as_chunks::<LANES>(), right_rest.as_chunks::<LANES>());
    for (left, right) in left.iter().zip(right) {
        sums[0] = _mm512_fmadd_ps(load(left), load(right), sums[0]);
    }
    sums[1] = _mm512_fmadd_ps(load_rest(left_rest), load_rest(right_rest), sums[1]);
    total(sums)
}

/// Sum of the squared differences.
#[target_feature(enable = "avx512f")]
pub(crate) fn l2_f32_avx512(left: &[f32], right: &[f32]) -> f32 {
    let mut sums = [_mm512_setzero_ps(); REGISTERS];
    let ((left_blocks, left_rest), (right_blocks, right_rest)) =
        (left.as_chunks::<{ LANES * REGISTERS }>(), right.as_chunks::<{ LANES * REGISTERS }>());
    for (left, right) in left_blocks.iter().zip(right_blocks) {
        let (left, right) = (left.as_chunks::<LANES>().0, right.as_chunks::<LANES>().0);
        for idx in 0..REGISTERS {
            let difference = _mm512_sub_ps(load(&left[idx]), load(&right[idx]));
            sums[idx] = _mm512_fmadd_ps(difference, difference, sums[idx]);
        }
    }
    let ((left, left_rest), (right, right_rest)) =
        (left_rest.as_chunks::<LANES>(), right_rest.as_chunks::<LANES>());
    for (left, right) in left.iter().zip(right) {
        let difference = _mm512_sub_ps(load(left), load(right));
        sums[0] = _mm512_fmadd_ps(difference, difference, sums[0]);
    }
    let difference = _mm512_sub_ps(load_rest(left_rest), load_rest(right_rest));
    sums[1] = _mm512_fmadd_ps(difference, difference, sums[1]);
    total(sums)
}

/// Sum of the products in `f64`: the loop of `portable`, vectorised by the compiler with these instructions.
#[target_feature(enable = "avx512f")]
pub(crate) fn dot_f32f64_avx512(left: &[f32], right: &[f32]) -> f64 {
    dot_f32f64_portable(left, right)
}

/// Sum of the squared differences in `f64`, as above.
#[target_feature(enable = "avx512f")]
pub(crate) fn l2_f32f64_avx512(left: &[f32], right: &[f32]) -> f64 {
    l2_f32f64_portable(left, right)
}

/// Cosine, with the eight `f64` sums of `portable` in one register each.
#[target_feature(enable = "avx512f")]
pub(crate) fn cosine_f32_avx512(left: &[f32], right: &[f32]) -> f64 {
    let mut sums = [_mm512_setzero_pd(); 3];
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
#[target_feature(enable = "avx512f")]
fn add_products(sums: &mut [__m512d; 3], left: &[f32; SUMS], right: &[f32; SUMS]) {
    let (left, right) = (widened(left), widened(right));
    sums[0] = _mm512_fmadd_pd(left, right, sums[0]);
    sums[1] = _mm512_fmadd_pd(left, left, sums[1]);
    sums[2] = _mm512_fmadd_pd(right, right, sums[2]);
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(values: &[f32; LANES]) -> __m512 {
    // SAFETY: the array has the 64 bytes that are read; any alignment is allowed.
    unsafe { _mm512_loadu_ps(values.as_ptr()) }
}

/// The fewer than 16 last elements, with zeros behind them.
#[inline]
#[target_feature(enable = "avx512f")]
fn load_rest(values: &[f32]) -> __m512 {
    debug_assert!(values.len() < LANES);
    let mask = (1_u32 << values.len()) - 1;
    // SAFETY: the mask has one bit for each element of the slice, and lanes whose bit is 0 are not read.
    unsafe { _mm512_maskz_loadu_ps(mask as u16, values.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn widened(values: &[f32; SUMS]) -> __m512d {
    // SAFETY: the array has the 32 bytes that are read; any alignment is allowed.
    _mm512_cvtps_pd(unsafe { _mm256_loadu_ps(values.as_ptr()) })
}

#[inline]
#[target_feature(enable = "avx512f")]
fn total(sums: [__m512; REGISTERS]) -> f32 {
    let sum = _mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3]));
    let mut lanes = [0.0; LANES];
    // SAFETY: the array has the 64 bytes that are written; any alignment is allowed.
    unsafe { _mm512_storeu_ps(lanes.as_mut_ptr(), sum) };
    total_f32(std::array::from_fn(|idx| lanes[idx] + lanes[idx + 8]))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn lanes(sum: __m512d) -> [f64; SUMS] {
    let mut lanes = [0.0; SUMS];
    // SAFETY: the array has the 64 bytes that are written; any alignment is allowed.
    unsafe { _mm512_storeu_pd(lanes.as_mut_ptr(), sum) };
    lanes
}
