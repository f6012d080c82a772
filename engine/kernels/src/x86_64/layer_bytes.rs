//! Multiplication in 8 bits: with the byte instructions of AVX-512, and with 16-bit products of AVX2.

use std::arch::x86_64::{
    __m256i, __m512i, _mm_loadu_si128, _mm256_add_epi32, _mm256_castsi256_si128, _mm256_cvtepi8_epi16,
    _mm256_cvtepu8_epi16, _mm256_hadd_epi32, _mm256_madd_epi16, _mm256_permute4x64_epi64, _mm256_set1_epi32,
    _mm256_setzero_si256, _mm256_storeu_si256, _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_set1_epi32,
    _mm512_setzero_si512, _mm512_storeu_si512,
};

use super::layer::{Avx2, Avx512};
use crate::gemm::{Epilogue, MatrixF32};
use crate::gemm_i8::{GROUP, PackedI8, PanelGroup, RowsU8, round_columns, round_row, round_steps};
use crate::layer::body::{TILE_ROWS_MAX, softmax_codes};
use crate::layer::bytes::{self, ByteSums, ByteTile, ByteTiles};
use crate::layer::simd::LANES;

/// Sums with AVX2 registers.
#[target_feature(enable = "avx2,fma")]
pub(super) fn gemm_i8_avx2(
    left: &RowsU8,
    right: &PackedI8,
    epilogue: Epilogue<'_>,
    out: &mut [f32],
    out_stride: usize,
) {
    let multiply = |tile: ByteTile<'_>, sums: &mut ByteSums| multiply_avx2(tile, sums);
    let tiles = ByteTiles { most: TILE_ROWS_MAX, step: 1, multiply };
    bytes::gemm(Avx2(()), tiles, left, right, epilogue, out, out_stride);
}

/// Two rows with half a panel at a time: eight registers of sums, four of weights, one for codes.
#[target_feature(enable = "avx2,fma")]
fn multiply_avx2(tile: ByteTile<'_>, sums: &mut ByteSums) {
    let ByteTile { left, stride, rows, panel, .. } = tile;
    for first in (0..rows).step_by(2) {
        let (left, sums) = (&left[first * stride..], &mut sums.0[first..]);
        for half in 0..2 {
            match rows - first {
                1 => half_panel_avx2::<1>(left, stride, panel, half, sums),
                _ => half_panel_avx2::<2>(left, stride, panel, half, sums),
            }
        }
    }
}

/// Sixteen columns: four to a register, whose 16-bit products are added in pairs; the two sums of a column are joined at the end.
#[target_feature(enable = "avx2,fma")]
fn half_panel_avx2<const ROWS: usize>(
    left: &[u8],
    stride: usize,
    panel: &[PanelGroup],
    half: usize,
    out: &mut [[[i32; LANES]; 2]],
) {
    assert!(panel.is_empty() || (ROWS - 1) * stride + panel.len() * GROUP <= left.len());
    let mut sums = [[_mm256_setzero_si256(); 4]; ROWS];
    for (step, group) in panel.iter().enumerate() {
        let parts = group.0[half].as_chunks::<4>().0;
        // SAFETY: four columns of four weights are 16 bytes.
        let load = |idx: usize| unsafe { _mm_loadu_si128(parts[idx].as_ptr().cast()) };
        let weights = [0, 1, 2, 3].map(|idx| _mm256_cvtepi8_epi16(load(idx)));
        for (row, sums) in sums.iter_mut().enumerate() {
            // SAFETY: `row < ROWS` and `step < panel.len()`; that all of these groups lie within `left` is asserted above.
            let codes =
                unsafe { left.as_ptr().add(row * stride + step * GROUP).cast::<i32>().read_unaligned() };
            let codes = _mm256_cvtepu8_epi16(_mm256_castsi256_si128(_mm256_set1_epi32(codes)));
            for (sum, weights) in sums.iter_mut().zip(weights) {
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(codes, weights));
            }
        }
    }
    for (sums, out) in sums.iter().zip(out) {
        let (low, high) = out[half].split_at_mut(LANES / 2);
        store_joined(sums[0], sums[1], low);
        store_joined(sums[2], sums[3], high);
    }
}

/// The sums of eight columns, from pairs.
#[target_feature(enable = "avx2")]
fn store_joined(first: __m256i, second: __m256i, out: &mut [i32]) {
    let joined = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_hadd_epi32(first, second));
    assert!(out.len() == 8);
    // SAFETY: eight lanes of 32 bits.
    unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), joined) }
}

/// The ops that round, for the registers of a level.
macro_rules! roundings {
    ($features:literal, $token:ident, $row:ident, $columns:ident, $steps:ident, $softmax:ident) => {
        #[target_feature(enable = $features)]
        pub(super) fn $row(values: &[f32], codes: &mut [u8]) -> f32 {
            round_row(values, codes)
        }

        #[target_feature(enable = $features)]
        pub(super) fn $columns(rows: MatrixF32<'_>, depth: usize, out: &mut PackedI8) {
            round_columns(rows, depth, out);
        }

        #[target_feature(enable = $features)]
        pub(super) fn $steps(rows: MatrixF32<'_>, width: usize, out: &mut PackedI8) {
            round_steps(rows, width, out);
        }

        #[target_feature(enable = $features)]
        pub(super) fn $softmax(row: &[f32], scale: f32, codes: &mut [u8]) -> f32 {
            softmax_codes($token(()), row, scale, codes)
        }
    };
}
roundings!("avx2,fma", Avx2, round_row_avx2, round_columns_avx2, round_steps_avx2, softmax_codes_avx2);
roundings!(
    "avx512f,avx512bw,avx512vl",
    Avx512,
    round_row_avx512,
    round_columns_avx512,
    round_steps_avx512,
    softmax_codes_avx512
);

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
    let tiles = ByteTiles { most: TILE_ROWS_MAX, step: 1, multiply };
    bytes::gemm(Avx512(()), tiles, left, right, epilogue, out, out_stride);
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
    for (sums, out) in sums.iter().zip(&mut out.0) {
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
