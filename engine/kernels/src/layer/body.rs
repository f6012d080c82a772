//! The bodies of the layer's ops, over sixteen lanes of any level.
//!
//! Sums over a row run in lanes, element `i` in lane `i % 16`; lanes are then added at distance 8, 4, 2 and 1.

use super::simd::{LANES, Simd};
use crate::gemm::{Epilogue, MatrixF32, PANEL, PackedF32, PanelRow};
use crate::gemm_i8::{CODE_MAX, CODE_ZERO};

/// Rows of a tile at any level, at most.
pub(crate) const TILE_ROWS_MAX: usize = 14;
/// Bytes of the left side that are multiplied with all panels before the next are taken: half of a second cache of 1 MiB. At
/// 33 to 512 rows anything from 512 KiB up is equally fast, 256 KiB loses 2 % (Zen 5).
pub(super) const BLOCK_BYTES: usize = 512 << 10;

/// Sums of a tile.
pub(crate) type TileSums = [[[f32; LANES]; 2]; TILE_ROWS_MAX];

/// What a tile is computed from.
#[derive(Clone, Copy)]
pub(crate) struct TileInput<'a> {
    /// Its rows of the left side, from the first on.
    left: &'a [f32],
    /// Distance of two of these.
    stride: usize,
    /// The panel.
    panel: &'a [PanelRow],
    /// Rows of the next panel to ask for.
    ahead: &'a [PanelRow],
}

/// See [`crate::Kernels::gemm_f32`], which has checked the sizes.
#[inline(always)]
pub(crate) fn gemm<S: Simd>(
    simd: S,
    left: MatrixF32<'_>,
    right: &PackedF32,
    epilogue: Epilogue<'_>,
    out: &mut [f32],
    out_stride: usize,
) {
    let block_rows = (BLOCK_BYTES / (size_of::<f32>() * right.depth().max(1))).max(S::TILE_ROWS);
    let block_count = left.rows.div_ceil(block_rows);
    let mut sums = [[[0.0; LANES]; 2]; TILE_ROWS_MAX];
    for block_idx in 0..block_count {
        let (first, end) = part(left.rows, block_count, block_idx, 1);
        let tile_count = (end - first).div_ceil(S::TILE_ROWS);
        let mut panels = right.panels().peekable();
        for column in (0..right.width()).step_by(PANEL) {
            let panel = panels.next().unwrap_or_default();
            let next = panels.peek().copied().unwrap_or_default();
            let width = PANEL.min(right.width() - column);
            let bias = padded_bias(epilogue, column, width);
            for tile_idx in 0..tile_count {
                let (start, tile_end) = part(end - first, tile_count, tile_idx, 1);
                let (row, rows) = (first + start, tile_end - start);
                let ahead = if block_idx == 0 { half(next, tile_idx) } else { &[] };
                let (left_values, stride) = (&left.values[row * left.stride..], left.stride);
                multiply(simd, rows, TileInput { left: left_values, stride, panel, ahead }, &mut sums);
                let out = &mut out[row * out_stride + column..];
                finish(simd, rows, &sums[..rows], &bias, epilogue, out, (out_stride, width));
            }
        }
    }
}

/// Part `idx` of `count` nearly equal parts of `len`, all but the last of a multiple of `step`.
#[inline(always)]
pub(super) fn part(len: usize, count: usize, idx: usize, step: usize) -> (usize, usize) {
    let end = |idx: usize| (len * idx / count).next_multiple_of(step).min(len);
    (end(idx), end(idx + 1))
}

/// The half of the next panel that the first or second tile of this one asks for: weights that come from memory arrive while
/// there is something to compute (33 rows: 269 instead of 244 GFLOP/s).
#[inline(always)]
fn half(panel: &[PanelRow], tile_idx: usize) -> &[PanelRow] {
    let (first, second) = panel.split_at(panel.len() / 2);
    match tile_idx {
        0 => first,
        1 => second,
        _ => &[],
    }
}

#[inline(always)]
pub(super) fn padded_bias(epilogue: Epilogue<'_>, column: usize, width: usize) -> [[f32; LANES]; 2] {
    let mut padded = [[0.0; LANES]; 2];
    if let Some(bias) = epilogue.bias() {
        padded.as_flattened_mut()[..width].copy_from_slice(&bias[column..column + width]);
    }
    padded
}

/// The sums of `rows` rows of the left side with one panel.
#[inline(always)]
fn multiply<S: Simd>(simd: S, rows: usize, input: TileInput<'_>, sums: &mut TileSums) {
    macro_rules! of_rows {
        ($($rows:literal)*) => {
            match rows {
                $($rows => simd.tile::<$rows>(input, sums),)*
                _ => unreachable!("a tile has 1 to {TILE_ROWS_MAX} rows"),
            }
        };
    }
    of_rows!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
}

/// The sums of `VECTORS` vectors of each row with one panel, from vector `first` on.
#[inline(always)]
pub(crate) fn multiply_tile<S: Simd, const VECTORS: usize, const ROWS: usize>(
    simd: S,
    input: TileInput<'_>,
    first: usize,
    out: &mut TileSums,
) {
    let TileInput { left, stride, panel, ahead } = input;
    assert!(panel.is_empty() || (ROWS - 1) * stride + panel.len() <= left.len());
    let mut sums = [[simd.splat(0.0); VECTORS]; ROWS];
    let mut ahead = ahead.iter();
    for (step, panel_row) in panel.iter().enumerate() {
        if let Some(row) = ahead.next() {
            simd.prefetch(row);
        }
        let mut right = [simd.splat(0.0); VECTORS];
        for (idx, right) in right.iter_mut().enumerate() {
            *right = simd.load(&panel_row.0[(first + idx) % 2]);
        }
        for (row, sums) in sums.iter_mut().enumerate() {
            // SAFETY: `row < ROWS` and `step < panel.len()`; that all of these lie within `left` is asserted above.
            let value = simd.splat(unsafe { *left.get_unchecked(row * stride + step) });
            for (sum, right) in sums.iter_mut().zip(right) {
                *sum = simd.mul_add(value, right, *sum);
            }
        }
    }
    for (sums, out) in sums.iter().zip(out) {
        for (idx, sum) in sums.iter().enumerate() {
            simd.store(*sum, &mut out[(first + idx) % 2]);
        }
    }
}

/// Sums of a tile, as numbers. A trait and no closure: what is not inlined would be compiled without the level's instructions.
pub(super) trait Sums<S: Simd> {
    /// Sixteen of a row's 32.
    fn half(&self, simd: S, row: usize, half: usize) -> S::Vector;
}

impl<S: Simd> Sums<S> for &[[[f32; LANES]; 2]] {
    #[inline(always)]
    fn half(&self, simd: S, row: usize, half: usize) -> S::Vector {
        simd.load(&self[row][half])
    }
}

/// Kinds of [`Epilogue`] that differ in what is done after the bias.
const STORE: u8 = 0;
const GELU: u8 = 1;
const ADD: u8 = 2;

/// Finishes the sums of `rows` rows of a tile and writes them.
#[inline(always)]
pub(super) fn finish<S: Simd>(
    simd: S,
    rows: usize,
    sums: impl Sums<S>,
    bias: &[[f32; LANES]; 2],
    epilogue: Epilogue<'_>,
    out: &mut [f32],
    sizes: (usize, usize),
) {
    let bias = [simd.load(&bias[0]), simd.load(&bias[1])];
    match epilogue {
        Epilogue::Store | Epilogue::Bias(_) => finish_rows::<S, STORE>(simd, rows, sums, bias, out, sizes),
        Epilogue::BiasGelu(_) => finish_rows::<S, GELU>(simd, rows, sums, bias, out, sizes),
        Epilogue::BiasAdd(_) => finish_rows::<S, ADD>(simd, rows, sums, bias, out, sizes),
    }
}

/// Writes each row of a tile. Whole panels need no look at their width.
#[inline(always)]
fn finish_rows<S: Simd, const KIND: u8>(
    simd: S,
    rows: usize,
    sums: impl Sums<S>,
    bias: [S::Vector; 2],
    out: &mut [f32],
    (out_stride, width): (usize, usize),
) {
    for row in 0..rows {
        let out = &mut out[row * out_stride..][..width];
        if let ([low, high], []) = out.as_chunks_mut::<LANES>() {
            for (half, out) in [low, high].into_iter().enumerate() {
                let sum = simd.add(sums.half(simd, row, half), bias[half]);
                simd.store(finished::<S, KIND>(simd, sum, simd.load(out)), out);
            }
            continue;
        }
        for (half, out) in out.chunks_mut(LANES).enumerate() {
            let sum = simd.add(sums.half(simd, row, half), bias[half]);
            store_some(simd, finished::<S, KIND>(simd, sum, load_padded(simd, out, 0.0)), out);
        }
    }
}

#[inline(always)]
fn finished<S: Simd, const KIND: u8>(simd: S, sum: S::Vector, old: S::Vector) -> S::Vector {
    match KIND {
        GELU => gelu_of(simd, sum),
        ADD => simd.add(old, sum),
        _ => sum,
    }
}

/// Writes as many lanes as there is room for, up to sixteen.
#[inline(always)]
fn store_some<S: Simd>(simd: S, vector: S::Vector, out: &mut [f32]) {
    match out.first_chunk_mut::<LANES>() {
        Some(full) => simd.store(vector, full),
        None => simd.store_first(vector, out),
    }
}

/// Up to sixteen values; what is missing is `padding`.
#[inline(always)]
fn load_padded<S: Simd>(simd: S, values: &[f32], padding: f32) -> S::Vector {
    match values.first_chunk::<LANES>() {
        Some(full) => simd.load(full),
        None => simd.load_first(values, padding),
    }
}

/// A polynomial by Horner's rule, highest coefficient first.
#[inline(always)]
fn polynomial<S: Simd, const COUNT: usize>(simd: S, x: S::Vector, coefficients: [f32; COUNT]) -> S::Vector {
    let mut sum = simd.splat(coefficients[0]);
    for coefficient in &coefficients[1..] {
        sum = simd.mul_add(sum, x, simd.splat(*coefficient));
    }
    sum
}

/// Numerator of `(P(X <= x) - 1/2) / x` over `x^2`: minimax on 0 to 5.75, fitted by reweighted least squares; with the
/// denominator off by at most 1.4e-8.
const GELU_NUMERATOR: [f32; 6] =
    [2.131_211_4e-8, 6.387_722e-6, 1.823_466_5e-4, 4.758_873e-3, 3.523_810_2e-2, 0.398_942_2];
/// Denominator of the above.
const GELU_DENOMINATOR: [f32; 6] =
    [1.158_077_7e-6, 7.767_51e-5, 1.961_409e-3, 2.943_018_7e-2, 0.254_994_16, 1.0];
/// Beyond, the probability is 0 or 1 in `f32`, as far as it counts beside `x`.
const GELU_END: f32 = 5.75;

/// See [`crate::Kernels::gelu_f32`].
#[inline(always)]
pub(crate) fn gelu<S: Simd>(simd: S, values: &mut [f32]) {
    for block in values.chunks_mut(LANES) {
        let result = gelu_of(simd, load_padded(simd, block, 0.0));
        store_some(simd, result, block);
    }
}

#[inline(always)]
fn gelu_of<S: Simd>(simd: S, x: S::Vector) -> S::Vector {
    let end = simd.max(simd.splat(-GELU_END), simd.min(simd.splat(GELU_END), x));
    let square = simd.mul(end, end);
    let numerator = simd.mul(end, polynomial(simd, square, GELU_NUMERATOR));
    let quotient = simd.div(numerator, polynomial(simd, square, GELU_DENOMINATOR));
    let share = simd.min(simd.splat(1.0), simd.add(simd.splat(0.5), quotient));
    simd.mul(x, simd.zero_below(x, -GELU_END, share))
}

/// Coefficients of the exponential, `1 / n!`: the term of degree 8 is below 6e-9 where it is used.
const EXP: [f32; 8] = [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];
/// `ln 2` in two parts, of which the first has so few bits that its product with an exponent is exact.
const LN_2_PARTS: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
/// Added and subtracted, it rounds to an integer, which it leaves in the low bits: 1.5 x 2^23.
const TO_INTEGER: f32 = 12_582_912.0;
/// Below, an exponential counts as 0.
const EXP_START: f32 = -87.0;

/// `exp(x)` of `x <= 0` by the nearest power of two and a polynomial on half of `ln 2` (as in Cody and Waite 1980).
#[inline(always)]
fn exp_of_negative<S: Simd>(simd: S, x: S::Vector) -> S::Vector {
    let start = simd.max(simd.splat(EXP_START), x);
    let shifted = simd.mul_add(start, simd.splat(std::f32::consts::LOG2_E), simd.splat(TO_INTEGER));
    let exponent = simd.sub(shifted, simd.splat(TO_INTEGER));
    let rest = simd.mul_add(exponent, simd.splat(-LN_2_PARTS[0]), start);
    let rest = simd.mul_add(exponent, simd.splat(-LN_2_PARTS[1]), rest);
    simd.zero_below(x, EXP_START, simd.mul(polynomial(simd, rest, EXP), simd.exponent(shifted)))
}

/// See [`crate::Kernels::softmax_f32`].
#[inline(always)]
pub(crate) fn softmax<S: Simd>(simd: S, row: &mut [f32], scale: f32) {
    let mut largest = simd.splat(f32::NEG_INFINITY);
    for block in row.chunks(LANES) {
        largest = simd.max(largest, load_padded(simd, block, f32::NEG_INFINITY));
    }
    // A NaN that is lost here comes back with its own element.
    let largest = simd.splat(simd.largest(largest));
    let scale = simd.splat(scale);
    let mut sum = simd.splat(0.0);
    for block in row.chunks_mut(LANES) {
        let x = load_padded(simd, block, f32::NEG_INFINITY);
        let term = exp_of_negative(simd, simd.mul(simd.sub(x, largest), scale));
        sum = simd.add(sum, term);
        store_some(simd, term, block);
    }
    let share = simd.splat(1.0 / simd.sum(sum));
    for block in row.chunks_mut(LANES) {
        let term = load_padded(simd, block, 0.0);
        store_some(simd, simd.mul(term, share), block);
    }
}

/// Coefficients of `2^x` on -1/2 to 1/2, minimax in relative error: off by at most 8e-5, a fiftieth of half a step of 8 bits.
const EXP2_COARSE: [f32; 4] = [0.055_170_752, 0.242_609_14, 0.693_260_97, 0.999_928_2];
/// Below, a share is no step of 8 bits.
const EXP2_COARSE_START: f32 = -30.0;

/// See [`crate::Kernels::softmax_rows`]. The sum is that of the rounded terms, so that the shares add up to 1.
#[inline(always)]
pub(crate) fn softmax_codes<S: Simd>(simd: S, row: &[f32], scale: f32, codes: &mut [u8]) -> f32 {
    let mut largest = simd.splat(f32::NEG_INFINITY);
    for block in row.chunks(LANES) {
        largest = simd.max(largest, load_padded(simd, block, f32::NEG_INFINITY));
    }
    let largest = simd.splat(simd.largest(largest));
    let scale = simd.splat(scale * std::f32::consts::LOG2_E);
    let mut sum = simd.splat(0.0);
    // There is room for whole blocks.
    for (block, codes) in row.chunks(LANES).zip(codes.as_chunks_mut::<LANES>().0) {
        let x = simd.mul(simd.sub(load_padded(simd, block, f32::NEG_INFINITY), largest), scale);
        let shifted = simd.add(simd.max(simd.splat(EXP2_COARSE_START), x), simd.splat(TO_INTEGER));
        let rest = simd.sub(x, simd.sub(shifted, simd.splat(TO_INTEGER)));
        let term = simd.mul(polynomial(simd, rest, EXP2_COARSE), simd.exponent(shifted));
        let term = simd.zero_below(x, EXP2_COARSE_START, term);
        let code = simd.mul_add(term, simd.splat(CODE_MAX), simd.splat(TO_INTEGER));
        sum = simd.add(sum, simd.sub(code, simd.splat(TO_INTEGER)));
        *codes = simd.low_bytes(code).map(|byte| byte.wrapping_add(CODE_ZERO as u8));
    }
    codes[row.len()..].fill(CODE_ZERO as u8);
    1.0 / simd.sum(sum)
}

/// See [`crate::Kernels::layer_norm_f32`]. The variance is taken from the differences to the mean, so that rows far from 0
/// lose nothing.
#[inline(always)]
pub(crate) fn layer_norm<S: Simd>(simd: S, values: &mut [f32], gain: &[f32], bias: &[f32], epsilon: f32) {
    let count = gain.len() as f32;
    for row in values.chunks_exact_mut(gain.len()) {
        let mean = row_sum(simd, row) / count;
        let center = simd.splat(mean);
        let variance = row_sum_of_squares(simd, row, mean) / count;
        let scale = simd.splat(1.0 / (variance + epsilon).sqrt());
        for ((block, gain), bias) in row.chunks_mut(LANES).zip(gain.chunks(LANES)).zip(bias.chunks(LANES)) {
            let (gain, bias) = (load_padded(simd, gain, 0.0), load_padded(simd, bias, 0.0));
            let x = simd.sub(load_padded(simd, block, mean), center);
            store_some(simd, simd.mul_add(simd.mul(x, scale), gain, bias), block);
        }
    }
}

/// Sum of a row, in four vectors that take turns.
#[inline(always)]
fn row_sum<S: Simd>(simd: S, row: &[f32]) -> f32 {
    let mut sums = [simd.splat(0.0); 4];
    for block in row.chunks(4 * LANES) {
        for (sum, lanes) in sums.iter_mut().zip(block.chunks(LANES)) {
            *sum = simd.add(*sum, load_padded(simd, lanes, 0.0));
        }
    }
    total(simd, sums)
}

/// Sum of the squared differences of a row to its mean, in four vectors that take turns.
#[inline(always)]
fn row_sum_of_squares<S: Simd>(simd: S, row: &[f32], mean: f32) -> f32 {
    let (mut sums, center) = ([simd.splat(0.0); 4], simd.splat(mean));
    for block in row.chunks(4 * LANES) {
        for (sum, lanes) in sums.iter_mut().zip(block.chunks(LANES)) {
            let difference = simd.sub(load_padded(simd, lanes, mean), center);
            *sum = simd.add(*sum, simd.mul(difference, difference));
        }
    }
    total(simd, sums)
}

#[inline(always)]
fn total<S: Simd>(simd: S, sums: [S::Vector; 4]) -> f32 {
    let sum = simd.add(simd.add(sums[0], sums[1]), simd.add(sums[2], sums[3]));
    simd.sum(sum)
}
