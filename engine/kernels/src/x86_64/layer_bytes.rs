//! Multiplication in 8 bits: with the byte instructions of AVX-512, and the plain loops compiled for AVX2.

use std::arch::x86_64::{
    __m512i, _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_set1_epi32, _mm512_setzero_si512,
    _mm512_storeu_si512,
};

use super::layer::{Avx2, Avx512};
use crate::gemm::Epilogue;
use crate::gemm_i8::{GROUP, PackedI8, RowsU8, round_row};
use crate::layer::bytes::{self, ByteSums, ByteTile, multiply_plain};

/// Sums with AVX2 registers.
#[target_feature(enable = "avx2,fma")]
pub(super) fn gemm_i8_avx2(
    left: &RowsU8,
    right: &PackedI8,
    epilogue: Epilogue<'_>,
    out: &mut [f32],
    out_stride: usize,
) {
    bytes::gemm(Avx2(()), multiply_plain, left, right, epilogue, out, out_stride);
}

/// Rounds a row with AVX2 registers.
#[target_feature(enable = "avx2,fma")]
pub(super) fn round_row_avx2(values: &[f32], codes: &mut [u8]) -> f32 {
    round_row(values, codes)
}

/// Rounds a row with 512-bit registers.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) fn round_row_avx512(values: &[f32], codes: &mut [u8]) -> f32 {
    round_row(values, codes)
}

/// Sums with byte instructions on 512 bits.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn gemm_i8_avx512(
    left: &RowsU8,
    right: &PackedI8,
    epilogue: Epilogue<'_>,
    out: &mut [f32],
    out_stride: usize,
) {
    let multiply = |tile: ByteTile<'_>, sums: &mut ByteSums| multiply_vnni(tile, sums);
    bytes::gemm(Avx512(()), multiply, left, right, epilogue, out, out_stride);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn multiply_vnni(tile: ByteTile<'_>, sums: &mut ByteSums) {
    macro_rules! of_rows {
        ($($rows:literal)*) => {
            match tile.rows {
                $($rows => tile_vnni::<$rows>(tile, sums),)*
                _ => unreachable!("a tile has 1 to 14 rows"),
            }
        };
    }
    of_rows!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
}

/// 14 rows of two registers of sums, two of the panel and one for the left side are 31 of 32.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn tile_vnni<const ROWS: usize>(tile: ByteTile<'_>, out: &mut ByteSums) {
    let ByteTile { left, stride, panel, .. } = tile;
    assert!(panel.is_empty() || (ROWS - 1) * stride + panel.len() * GROUP <= left.len());
    let mut sums = [[_mm512_setzero_si512(); 2]; ROWS];
    for (step, group) in panel.iter().enumerate() {
        let [low, high] = group.0.each_ref().map(|half| {
            // SAFETY: the half of a group is 64 bytes.
            unsafe { _mm512_loadu_si512(half.as_ptr().cast()) }
        });
        for (row, sums) in sums.iter_mut().enumerate() {
            // SAFETY: `row < ROWS` and `step < panel.len()`; that all of these groups lie within `left` is asserted above.
            let codes =
                unsafe { left.as_ptr().add(row * stride + step * GROUP).cast::<i32>().read_unaligned() };
            let codes = _mm512_set1_epi32(codes);
            sums[0] = _mm512_dpbusd_epi32(sums[0], codes, low);
            sums[1] = _mm512_dpbusd_epi32(sums[1], codes, high);
        }
    }
    for (sums, out) in sums.iter().zip(out) {
        for (sum, out) in sums.iter().zip(out) {
            store(*sum, out);
        }
    }
}

#[target_feature(enable = "avx512f")]
fn store(sums: __m512i, out: &mut [i32; 16]) {
    // SAFETY: sixteen lanes of 32 bits.
    unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), sums) }
}
