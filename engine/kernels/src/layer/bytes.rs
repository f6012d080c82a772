//! The body of the multiplication in 8 bits, over any level.

use super::body::{BLOCK_BYTES, TILE_ROWS_MAX, finish, padded_bias, part};
use super::simd::{LANES, Simd};
use crate::gemm::{Epilogue, PANEL};
use crate::gemm_i8::{PackedI8, PanelGroup, RowsU8};

/// Whole-number sums of a tile.
pub(crate) type ByteSums = [[[i32; LANES]; 2]; TILE_ROWS_MAX];

/// What a tile is computed from.
#[derive(Clone, Copy)]
pub(crate) struct ByteTile<'a> {
    /// Codes of its rows, from the first on.
    pub(crate) left: &'a [u8],
    /// Distance of two of these.
    pub(crate) stride: usize,
    /// Number of rows, 1 to [`TILE_ROWS_MAX`].
    pub(crate) rows: usize,
    /// The panel.
    pub(crate) panel: &'a [PanelGroup],
}

/// See [`crate::Kernels::gemm_i8`], which has checked the sizes. `multiply` gives the sums of codes and weights of a tile.
#[inline(always)]
pub(crate) fn gemm<S: Simd>(
    simd: S,
    multiply: impl Fn(ByteTile<'_>, &mut ByteSums),
    left: &RowsU8,
    right: &PackedI8,
    epilogue: Epilogue<'_>,
    out: &mut [f32],
    out_stride: usize,
) {
    let block_rows = (BLOCK_BYTES / left.stride().max(1)).max(TILE_ROWS_MAX);
    let block_count = left.len().div_ceil(block_rows);
    let mut sums = [[[0; LANES]; 2]; TILE_ROWS_MAX];
    let mut scaled = [[[0.0; LANES]; 2]; TILE_ROWS_MAX];
    for block_idx in 0..block_count {
        let (first, end) = part(left.len(), block_count, block_idx);
        let tile_count = (end - first).div_ceil(TILE_ROWS_MAX);
        for column in (0..right.width()).step_by(PANEL) {
            let (panel, scales, offsets) = right.panel(column);
            let width = PANEL.min(right.width() - column);
            let bias = padded_bias(epilogue, column, width);
            for tile_idx in 0..tile_count {
                let (start, tile_end) = part(end - first, tile_count, tile_idx);
                let (row, rows) = (first + start, tile_end - start);
                multiply(ByteTile { left: left.codes(row), stride: left.stride(), rows, panel }, &mut sums);
                for ((scaled, sums), row_scale) in
                    scaled.iter_mut().zip(&sums).zip(&left.scales()[row..row + rows])
                {
                    scale(scaled.as_flattened_mut(), sums.as_flattened(), (scales, offsets), *row_scale);
                }
                let out = &mut out[row * out_stride + column..];
                finish(simd, &scaled[..rows], &bias, epilogue, out, (out_stride, width));
            }
        }
    }
}

/// Takes the codes' zero from the sums of a row, and multiplies by the scales.
#[inline(always)]
fn scale(scaled: &mut [f32], sums: &[i32], (scales, offsets): (&[f32], &[i32]), row_scale: f32) {
    for (((scaled, sum), scale), offset) in scaled.iter_mut().zip(sums).zip(scales).zip(offsets) {
        *scaled = (sum - offset) as f32 * scale * row_scale;
    }
}

/// Sums without instructions on bytes.
#[inline(always)]
pub(crate) fn multiply_plain(tile: ByteTile<'_>, out: &mut ByteSums) {
    for (row, out) in out.iter_mut().enumerate().take(tile.rows) {
        let mut sums = [0_i32; PANEL];
        let codes = tile.left[row * tile.stride..].as_chunks::<4>().0;
        for (group, codes) in tile.panel.iter().zip(codes) {
            let codes = codes.map(i32::from);
            for (sum, weights) in sums.iter_mut().zip(group.0.as_flattened()) {
                let products: [i32; 4] = std::array::from_fn(|idx| codes[idx] * i32::from(weights[idx]));
                *sum += products[0] + products[1] + products[2] + products[3];
            }
        }
        out.as_flattened_mut().copy_from_slice(&sums);
    }
}
