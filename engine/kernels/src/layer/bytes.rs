//! The body of the multiplication in 8 bits, over any level.

use super::body::{BLOCK_BYTES, Sums, finish, padded_bias, part};
use super::simd::{LANES, Simd};
use crate::gemm::{Epilogue, PANEL};
use crate::gemm_i8::{PackedI8, Panel, PanelGroup, RowsU8};

/// Rows of a tile at any level, at most.
pub(crate) const BYTE_ROWS_MAX: usize = 32;

/// Whole-number sums of a tile, on a boundary of a cache line.
#[repr(align(64))]
pub(crate) struct ByteSums(pub(crate) [[[i32; LANES]; 2]; BYTE_ROWS_MAX]);

/// How a level multiplies tiles.
pub(crate) struct ByteTiles<M> {
    /// Rows of a tile, at most.
    pub(crate) most: usize,
    /// Tiles but the last hold a multiple of these.
    pub(crate) step: usize,
    /// Gives the sums of codes and weights of a tile.
    pub(crate) multiply: M,
}

/// What a tile is computed from.
#[derive(Clone, Copy)]
pub(crate) struct ByteTile<'a> {
    /// Codes of its rows, from the first on.
    pub(crate) left: &'a [u8],
    /// Distance of two of these.
    pub(crate) stride: usize,
    /// Number of rows, at least one.
    pub(crate) rows: usize,
    /// The panel, with groups of zeros behind it up to a multiple of 16.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "read for tiles alone"))]
    pub(crate) padded: &'a [PanelGroup],
    /// The panel.
    pub(crate) panel: &'a [PanelGroup],
}

/// See [`crate::Kernels::gemm_i8`], which has checked the sizes.
#[inline(always)]
pub(crate) fn gemm<S: Simd>(
    simd: S,
    tiles: ByteTiles<impl Fn(ByteTile<'_>, &mut ByteSums)>,
    left: &RowsU8,
    right: &PackedI8,
    epilogue: Epilogue<'_>,
    out: &mut [f32],
    out_stride: usize,
) {
    let ByteTiles { most, step, multiply } = tiles;
    let block_rows = (BLOCK_BYTES / left.stride().max(1)).max(most).next_multiple_of(step);
    let block_count = left.len().div_ceil(block_rows);
    let mut sums = ByteSums([[[0; LANES]; 2]; BYTE_ROWS_MAX]);
    for block_idx in 0..block_count {
        let (first, end) = part(left.len(), block_count, block_idx, step);
        let tile_count = (end - first).div_ceil(most);
        for column in (0..right.width()).step_by(PANEL) {
            let Panel { groups: panel, padded, scales, offsets } = right.panel(column);
            let scales = [simd.load(&scales[0]), simd.load(&scales[1])];
            let width = PANEL.min(right.width() - column);
            let bias = padded_bias(epilogue, column, width);
            for tile_idx in 0..tile_count {
                let (start, tile_end) = part(end - first, tile_count, tile_idx, step);
                let (row, rows) = (first + start, tile_end - start);
                let tile = ByteTile { left: left.codes(row), stride: left.stride(), rows, padded, panel };
                multiply(tile, &mut sums);
                let out = &mut out[row * out_stride + column..];
                let row_scales = &left.scales()[row..row + rows];
                let products = Products { sums: &sums, row_scales, scales, offsets };
                finish(simd, rows, products, &bias, epilogue, out, (out_stride, width));
            }
        }
    }
}

/// Whole sums without the codes' zero, times the scales of row and column.
struct Products<'a, S: Simd> {
    sums: &'a ByteSums,
    row_scales: &'a [f32],
    scales: [S::Vector; 2],
    offsets: &'a [[i32; LANES]],
}

impl<S: Simd> Sums<S> for Products<'_, S> {
    #[inline(always)]
    fn half(&self, simd: S, row: usize, half: usize) -> S::Vector {
        let whole = simd.difference(&self.sums.0[row][half], &self.offsets[half]);
        simd.mul(simd.mul(whole, self.scales[half]), simd.splat(self.row_scales[row]))
    }
}

/// Sums without instructions on bytes.
#[inline(always)]
pub(crate) fn multiply_plain(tile: ByteTile<'_>, out: &mut ByteSums) {
    for (row, out) in out.0.iter_mut().enumerate().take(tile.rows) {
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
