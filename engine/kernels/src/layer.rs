//! Ops of a transformer layer: the part of the table that works on matrices and rows.
//!
//! One body over a [`simd::Simd`] token serves the levels portable, AVX2 and AVX-512 ([`body`]): sixteen lanes at each of
//! them, and one order of operations. So AVX2 and AVX-512 give the same bits; portable, which does not fuse multiplication
//! and addition, gives its own bits, the same on every processor. A row of a result depends on its own row of the left side
//! alone: it has the same bits however many rows are computed at once.

pub(crate) mod body;
pub(crate) mod bytes;
pub(crate) mod simd;

use crate::dispatch::Kernels;
use crate::gemm::{Epilogue, MatrixF32, PackedF32, assert_fits};
use crate::gemm_i8::{PackedI8, RowsU8, round_columns, round_row, round_steps};
use crate::reference::layer as reference;

/// The functions of one level.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LayerOps {
    pub(crate) gemm_f32: fn(MatrixF32<'_>, &PackedF32, Epilogue<'_>, &mut [f32], usize),
    pub(crate) gemm_i8: fn(&RowsU8, &PackedI8, Epilogue<'_>, &mut [f32], usize),
    pub(crate) round_row: fn(&[f32], &mut [u8]) -> f32,
    pub(crate) round_columns: fn(MatrixF32<'_>, usize, &mut PackedI8),
    pub(crate) round_steps: fn(MatrixF32<'_>, usize, &mut PackedI8),
    pub(crate) softmax_codes: fn(&[f32], f32, &mut [u8]) -> f32,
    pub(crate) gelu_f32: fn(&mut [f32]),
    pub(crate) softmax_f32: fn(&mut [f32], f32),
    pub(crate) layer_norm_f32: fn(&mut [f32], &[f32], &[f32], f32),
}

impl LayerOps {
    pub(crate) const REFERENCE: LayerOps = LayerOps {
        gemm_f32: reference::gemm_f32_reference,
        gemm_i8: reference::gemm_i8_reference,
        round_row: reference::round_row_reference,
        round_columns: reference::round_columns_reference,
        round_steps: reference::round_steps_reference,
        softmax_codes: reference::softmax_codes_reference,
        gelu_f32: reference::gelu_f32_reference,
        softmax_f32: reference::softmax_f32_reference,
        layer_norm_f32: reference::layer_norm_f32_reference,
    };

    pub(crate) const PORTABLE: LayerOps = LayerOps {
        gemm_f32: |left, right, epilogue, out, stride| {
            body::gemm(simd::Portable, left, right, epilogue, out, stride);
        },
        gemm_i8: |left, right, epilogue, out, stride| {
            let multiply = bytes::multiply_plain;
            let tiles = bytes::ByteTiles { most: body::TILE_ROWS_MAX, step: 1, multiply };
            bytes::gemm(simd::Portable, tiles, left, right, epilogue, out, stride);
        },
        round_row: |values, codes| round_row(values, codes),
        round_columns: |rows, depth, out| round_columns(rows, depth, out),
        round_steps: |rows, width, out| round_steps(rows, width, out),
        softmax_codes: |row, scale, codes| body::softmax_codes(simd::Portable, row, scale, codes),
        gelu_f32: |values| body::gelu(simd::Portable, values),
        softmax_f32: |row, scale| body::softmax(simd::Portable, row, scale),
        layer_norm_f32: |values, gain, bias, epsilon| {
            body::layer_norm(simd::Portable, values, gain, bias, epsilon);
        },
    };
}

impl Kernels {
    /// The product of `left`, `[rows, depth]`, and `right`, `[depth, width]`, finished by `epilogue`. Row `i` goes to
    /// `out[i * out_stride..][..width]`; what lies between rows stays. Sums run in order of depth, in `f32`; NaN and
    /// infinities act as in the sum. No memory is allocated. Cost: 2 x rows x depth x width operations, at 512 bits and 33
    /// rows or more at 90 % of what a core can do.
    ///
    /// # Panics
    /// If rows overlap or leave their slice, or a bias is not as long as `right` is wide.
    pub fn gemm_f32(
        &self,
        left: MatrixF32<'_>,
        right: &PackedF32,
        epilogue: Epilogue<'_>,
        out: &mut [f32],
        out_stride: usize,
    ) {
        assert_fits(left.values, left.stride, left.rows, right.depth());
        assert_fits(out, out_stride, left.rows, right.width());
        let is_of_width = epilogue.bias().is_none_or(|bias| bias.len() == right.width());
        assert!(is_of_width, "a bias has one number per column");
        (self.layer.gemm_f32)(left, right, epilogue, out, out_stride);
    }

    /// Rounds rows of `depth` numbers to 8 bits, each with its scale, halves to even; the same bits at every level. A row of zeros, or of
    /// numbers below 1e-30, stays zero; one with a NaN or an infinity gets a scale that is not finite, and with it the product. Cost:
    /// two passes.
    ///
    /// # Panics
    /// If rows overlap or leave their slice.
    pub fn round_rows(&self, rows: MatrixF32<'_>, depth: usize, out: &mut RowsU8) {
        out.fill(rows, depth, self.layer.round_row);
    }

    /// Rounds rows of `depth` numbers to weights of 8 bits, each with its scale: row `j` becomes column `j`, as the keys of an attention.
    /// Rounding is that of [`Self::round_rows`]; memory of `out` is used again. Cost: two passes.
    ///
    /// # Panics
    /// If rows overlap or leave their slice, or the depth is above [`crate::DEPTH_MAX`].
    pub fn round_columns(&self, rows: MatrixF32<'_>, depth: usize, out: &mut PackedI8) {
        assert_fits(rows.values, rows.stride, rows.rows, depth);
        (self.layer.round_columns)(rows, depth, out);
    }

    /// Rounds rows of `width` numbers to weights of 8 bits, each column with its scale: row `i` becomes step `i` of the depth, as the
    /// values of an attention. Otherwise as [`Self::round_columns`].
    ///
    /// # Panics
    /// If rows overlap or leave their slice, or there are more than [`crate::DEPTH_MAX`] of them.
    pub fn round_steps(&self, rows: MatrixF32<'_>, width: usize, out: &mut PackedI8) {
        assert_fits(rows.values, rows.stride, rows.rows, width);
        (self.layer.round_steps)(rows, width, out);
    }

    /// The shares of [`Self::softmax_f32`] in 8 bits: each row is rounded to steps of a 127th of its largest share, and what was rounded
    /// adds up to 1. A NaN or a positive infinity makes the scale of its row NaN, as does a row of negative infinities. Cost: two passes.
    ///
    /// # Panics
    /// If rows overlap or leave their slice, or the scale is not positive and finite.
    pub fn softmax_rows(&self, scores: MatrixF32<'_>, len: usize, scale: f32, out: &mut RowsU8) {
        assert!(scale > 0.0 && scale.is_finite(), "a scale is positive and finite");
        out.fill(scores, len, |row, codes| (self.layer.softmax_codes)(row, scale, codes));
    }

    /// The product of `left`, `[rows, depth]`, and `right`, `[depth, width]`, both of 8 bits, finished by `epilogue`; as
    /// [`Self::gemm_f32`]. Sums are whole numbers, and the same at every level before the epilogue. No memory is allocated. Cost: 2 x
    /// rows x depth x width operations, with the byte instructions of AVX-512 3.6 times as many a second as in `f32`, with AVX2
    /// 1.3 times; the tiles of AMX make 2 to 2.9 times as many as these byte instructions.
    ///
    /// # Panics
    /// If the two sides differ in depth, rows leave `out`, or a bias is not as long as `right` is wide.
    pub fn gemm_i8(
        &self,
        left: &RowsU8,
        right: &PackedI8,
        epilogue: Epilogue<'_>,
        out: &mut [f32],
        out_stride: usize,
    ) {
        assert_eq!(left.depth(), right.depth(), "both sides have one depth");
        assert_fits(out, out_stride, left.len(), right.width());
        let is_of_width = epilogue.bias().is_none_or(|bias| bias.len() == right.width());
        assert!(is_of_width, "a bias has one number per column");
        (self.layer.gemm_i8)(left, right, epilogue, out, out_stride);
    }

    /// Replaces each `x` by `x * P(X <= x)` of a standard normal `X` (Hendrycks and Gimpel 2016: the form with `erf`). NaN
    /// stays; positive infinity stays; negative infinity becomes NaN, as in the formula. Cost: one pass, 1 to 2 elements a
    /// cycle at 512 bits.
    pub fn gelu_f32(&self, values: &mut [f32]) {
        (self.layer.gelu_f32)(values);
    }

    /// Replaces a row by `exp(scale * x)` divided by the sum of these. A row of one element becomes 1; a NaN or a positive
    /// infinity makes all of them NaN, as does a row of negative infinities. Shares below `exp(-87)` of the largest are 0.
    /// Cost: three passes.
    ///
    /// # Panics
    /// If the scale is not positive and finite.
    pub fn softmax_f32(&self, row: &mut [f32], scale: f32) {
        assert!(scale > 0.0 && scale.is_finite(), "a scale is positive and finite");
        (self.layer.softmax_f32)(row, scale);
    }

    /// Normalises each row of `values`, `[rows, gain.len()]`, to mean 0 and variance 1, then multiplies by `gain` and adds
    /// `bias` (Ba et al. 2016). `epsilon` is added to the variance. A row with a NaN or an infinity becomes NaN. Cost: three
    /// passes over a row.
    ///
    /// # Panics
    /// If gain and bias differ in length or are empty, or `values` is no multiple of it.
    pub fn layer_norm_f32(&self, values: &mut [f32], gain: &[f32], bias: &[f32], epsilon: f32) {
        assert!(!gain.is_empty() && gain.len() == bias.len(), "gain and bias have the length of a row");
        assert!(values.len().is_multiple_of(gain.len()), "values are whole rows");
        (self.layer.layer_norm_f32)(values, gain, bias, epsilon);
    }
}
