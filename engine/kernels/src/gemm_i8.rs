//! Both sides of a multiplication in 8 bits: weights with a scale a column, rows with a scale a row.
//!
//! ```text
//!  weights [width, depth] of i8           packed: panels of 32 columns, four steps of depth side by side
//!  column j: w0 w1 w2 w3 │ w4 …    ──▶    group 0: 32 x (w0 w1 w2 w3)   group 1: 32 x (w4 w5 w6 w7)   …
//!  row of f32: x0 x1 x2 …          ──▶    codes round(x / scale) + 128 of u8, scale = largest magnitude / 127
//! ```
//! A product is a whole number, `sum((code - 128) * weight)`, times both scales: whole numbers are the same at every level. It is
//! what the byte instructions of AVX-512 (VNNI) take: unsigned from the left, signed from the right. Rounding rows as they come,
//! each to its own scale, is dynamic quantisation (Zafrir et al. 2019, "Q8BERT").

use crate::gemm::{MatrixF32, PANEL, assert_fits};
use crate::layer::simd::LANES;

/// Steps of depth that one byte instruction joins.
pub(crate) const GROUP: usize = 4;
/// Groups of one step of a tile of AMX; panels are filled up to a multiple, and rows to as many codes.
pub(crate) const GROUPS_OF_STEP: usize = 16;
/// Rows of a tile of AMX, which reads them all: codes are there for a multiple.
pub(crate) const ROWS_OF_STEP: usize = 16;
/// Longest sum that cannot overflow: `255 * 127 * 65,536 < 2^31`.
pub const DEPTH_MAX: usize = 65_536;
/// What a code has more than the whole number that it stands for.
pub(crate) const CODE_ZERO: i32 = 128;
/// Largest magnitude of a code.
pub(crate) const CODE_MAX: f32 = 127.0;
/// Below, a row counts as zero: the inverse of its scale would overflow.
pub(crate) const LARGEST_LEAST: f32 = 1e-30;
/// Numbers of a column that are rounded at once.
const RUN: usize = 32;
/// Added, it leaves the nearest whole number in the low bits: 1.5 x 2^23.
const TO_INTEGER: f32 = 12_582_912.0;

/// Four steps of a panel, on a boundary of a cache line.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct PanelGroup(pub(crate) [[[i8; GROUP]; LANES]; 2]);

/// Weights of 8 bits, packed.
#[derive(Debug, Clone, Default)]
pub struct PackedI8 {
    groups: Vec<PanelGroup>,
    scales: Vec<f32>,
    /// Of each column `128 * sum(weights)`: what the codes' zero adds.
    offsets: Vec<i32>,
    depth: usize,
    width: usize,
}

impl PackedI8 {
    /// Packs weights `[width, depth]`, as a linear layer stores them: row `j` holds column `j` of the product, and has a scale. Cost: one
    /// pass.
    ///
    /// # Panics
    /// If there are not `width * depth` weights and `width` scales, or the depth is above [`DEPTH_MAX`].
    #[must_use]
    pub fn new(weights: &[i8], scales: &[f32], depth: usize, width: usize) -> Self {
        assert!(depth <= DEPTH_MAX, "a sum of products does not overflow");
        assert_eq!(weights.len(), depth * width, "one weight for each column and step of depth");
        assert_eq!(scales.len(), width, "one scale for each column");
        let depth_groups = padded_groups(depth);
        let panel_count = width.div_ceil(PANEL);
        let mut groups = vec![PanelGroup([[[0; GROUP]; LANES]; 2]); depth_groups * panel_count];
        let mut offsets = vec![0; panel_count * PANEL];
        for column in 0..width {
            let stored = &weights[column * depth..][..depth];
            let panel = &mut groups[column / PANEL * depth_groups..][..depth_groups];
            for (group, values) in panel.iter_mut().zip(stored.chunks(GROUP)) {
                group.0.as_flattened_mut()[column % PANEL][..values.len()].copy_from_slice(values);
            }
            offsets[column] = CODE_ZERO * stored.iter().map(|weight| i32::from(*weight)).sum::<i32>();
        }
        let mut scales = scales.to_vec();
        scales.resize(panel_count * PANEL, 0.0);
        Self { groups, scales, offsets, depth, width }
    }

    /// Makes room for a product of this size, with weights of zero. Keeps its memory.
    fn reset(&mut self, depth: usize, width: usize) {
        assert!(depth <= DEPTH_MAX, "a sum of products does not overflow");
        let panel_count = width.div_ceil(PANEL);
        self.groups.clear();
        self.groups.resize(padded_groups(depth) * panel_count, PanelGroup([[[0; GROUP]; LANES]; 2]));
        self.scales.clear();
        self.scales.resize(panel_count * PANEL, 0.0);
        self.offsets.clear();
        self.offsets.resize(panel_count * PANEL, 0);
        (self.depth, self.width) = (depth, width);
    }

    /// Length of the sums.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Number of columns.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Whether all weights and scales are equal.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let weights = |packed: &Self| {
            packed.groups.iter().flat_map(|group| group.0.as_flattened().to_vec()).collect::<Vec<_>>()
        };
        (self.depth, self.width) == (other.depth, other.width)
            && self.scales == other.scales
            && self.offsets == other.offsets
            && weights(self) == weights(other)
    }

    /// Memory in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.groups.len() * size_of::<PanelGroup>() + 4 * (self.scales.len() + self.offsets.len())
    }

    /// The panel that begins with this column.
    pub(crate) fn panel(&self, column: usize) -> Panel<'_> {
        let depth_groups = padded_groups(self.depth);
        let groups = &self.groups[column / PANEL * depth_groups..][..depth_groups];
        let halves = column / LANES..column / LANES + 2;
        Panel {
            groups: &groups[..self.depth.div_ceil(GROUP)],
            padded: groups,
            scales: &self.scales.as_chunks().0[halves.clone()],
            offsets: &self.offsets.as_chunks().0[halves],
        }
    }

    /// One weight and its scale; for the reference.
    pub(crate) fn at(&self, step: usize, column: usize) -> (i8, f32) {
        let panel = self.panel(column / PANEL * PANEL);
        let weight = panel.groups[step / GROUP].0.as_flattened()[column % PANEL][step % GROUP];
        (weight, panel.scales.as_flattened()[column % PANEL])
    }
}

/// 32 columns of [`PackedI8`].
pub(crate) struct Panel<'a> {
    pub(crate) groups: &'a [PanelGroup],
    /// The same with the zeros that fill it up.
    pub(crate) padded: &'a [PanelGroup],
    pub(crate) scales: &'a [[f32; LANES]],
    pub(crate) offsets: &'a [[i32; LANES]],
}

/// Groups of a panel of this depth, with what fills it up.
fn padded_groups(depth: usize) -> usize {
    depth.div_ceil(GROUP).next_multiple_of(GROUPS_OF_STEP)
}

/// Rows of 8 bits, each with its scale: what [`crate::Kernels::round_rows`] makes. Filling it again keeps its memory.
#[derive(Debug, Clone, Default)]
pub struct RowsU8 {
    codes: Vec<u8>,
    scales: Vec<f32>,
    depth: usize,
}

impl RowsU8 {
    /// Takes the codes of `rows` rows of `depth` numbers from `round`, which gets each row and gives its scale.
    pub(crate) fn fill(
        &mut self,
        rows: MatrixF32<'_>,
        depth: usize,
        round: impl Fn(&[f32], &mut [u8]) -> f32,
    ) {
        assert_fits(rows.values, rows.stride, rows.rows, depth);
        self.depth = depth;
        let stride = self.stride();
        self.scales.clear();
        self.codes.resize(rows.rows.next_multiple_of(ROWS_OF_STEP) * stride, 0);
        for idx in 0..rows.rows {
            let values = &rows.values[idx * rows.stride..][..depth];
            self.scales.push(round(values, &mut self.codes[idx * stride..][..stride]));
        }
    }

    /// Whether codes and scales of all rows are equal.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let codes = |rows: &Self| rows.codes[..rows.len() * rows.stride()].to_vec();
        self.depth == other.depth && self.scales == other.scales && codes(self) == codes(other)
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.scales.len()
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.scales.is_empty()
    }

    /// Numbers of a row.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Distance of two rows: whole steps.
    pub(crate) fn stride(&self) -> usize {
        padded_groups(self.depth) * GROUP
    }

    /// Codes from this row on.
    pub(crate) fn codes(&self, row: usize) -> &[u8] {
        &self.codes[row * self.stride()..]
    }

    /// Scales of the rows.
    pub(crate) fn scales(&self) -> &[f32] {
        &self.scales
    }
}

/// Largest magnitude; numbers are ordered as the whole numbers of their bits, and NaN is above all.
#[inline(always)]
fn largest_of(values: &[f32]) -> f32 {
    f32::from_bits(values.iter().map(|value| magnitude_bits(*value)).fold(0, i32::max).cast_unsigned())
}

#[inline(always)]
fn magnitude_bits(value: f32) -> i32 {
    (value.to_bits() & 0x7fff_ffff).cast_signed()
}

/// What numbers with this largest magnitude are multiplied by, and the scale of their codes.
#[inline(always)]
fn inverse_and_scale(largest: f32) -> (f32, f32) {
    if largest < LARGEST_LEAST { (0.0, 0.0) } else { (CODE_MAX / largest, largest / CODE_MAX) }
}

/// The nearest whole number of up to 8 bits, halves to even.
#[inline(always)]
fn nearest(value: f32) -> i8 {
    (value + TO_INTEGER).to_bits() as i8
}

/// Codes of one row, and its scale. Each level compiles this for its registers, and what follows; the bits are the same.
#[inline(always)]
pub(crate) fn round_row(values: &[f32], codes: &mut [u8]) -> f32 {
    let (inverse, scale) = inverse_and_scale(largest_of(values));
    for (code, value) in codes.iter_mut().zip(values) {
        *code = nearest(value * inverse).cast_unsigned().wrapping_add(CODE_ZERO as u8);
    }
    codes[values.len()..].fill(CODE_ZERO as u8);
    scale
}

/// See [`crate::Kernels::round_columns`].
#[inline(always)]
pub(crate) fn round_columns(rows: MatrixF32<'_>, depth: usize, out: &mut PackedI8) {
    out.reset(depth, rows.rows);
    for column in 0..rows.rows {
        let values = &rows.values[column * rows.stride..][..depth];
        let (inverse, scale) = inverse_and_scale(largest_of(values));
        let panel = &mut out.groups[column / PANEL * padded_groups(depth)..];
        let mut sum = 0;
        // A run of numbers is rounded in registers before its groups go to their places.
        for (groups, values) in panel.chunks_mut(RUN / GROUP).zip(values.chunks(RUN)) {
            let mut codes = [0_i8; RUN];
            for (code, value) in codes.iter_mut().zip(values) {
                *code = nearest(value * inverse);
            }
            for (group, codes) in groups.iter_mut().zip(codes.as_chunks().0) {
                group.0.as_flattened_mut()[column % PANEL] = *codes;
            }
            sum += codes.iter().map(|code| i32::from(*code)).sum::<i32>();
        }
        out.scales[column] = scale;
        out.offsets[column] = CODE_ZERO * sum;
    }
}

/// See [`crate::Kernels::round_steps`].
#[inline(always)]
pub(crate) fn round_steps(rows: MatrixF32<'_>, width: usize, out: &mut PackedI8) {
    let depth = rows.rows;
    out.reset(depth, width);
    for first in (0..width).step_by(PANEL) {
        let count = PANEL.min(width - first);
        let row = |step: usize| -> [f32; PANEL] {
            let values = &rows.values[step * rows.stride + first..][..count];
            values.first_chunk().copied().unwrap_or_else(|| {
                let mut padded = [0.0; PANEL];
                padded[..count].copy_from_slice(values);
                padded
            })
        };
        let mut largest = [0; PANEL];
        for step in 0..depth {
            for (largest, value) in largest.iter_mut().zip(row(step)) {
                *largest = magnitude_bits(value).max(*largest);
            }
        }
        let scaling = largest.map(|bits| inverse_and_scale(f32::from_bits(bits.cast_unsigned())));
        let (inverses, scales) = (scaling.map(|(inverse, _)| inverse), scaling.map(|(_, scale)| scale));
        let mut sums = [0; PANEL];
        let panel = &mut out.groups[first / PANEL * padded_groups(depth)..];
        for (group, start) in panel.iter_mut().zip((0..depth).step_by(GROUP)) {
            for part in 0..GROUP.min(depth - start) {
                let values = row(start + part);
                let columns = group.0.as_flattened_mut().iter_mut().zip(&mut sums);
                for ((codes, sum), (value, inverse)) in columns.zip(values.iter().zip(inverses)) {
                    codes[part] = nearest(value * inverse);
                    *sum += i32::from(codes[part]);
                }
            }
        }
        out.scales[first..first + PANEL].copy_from_slice(&scales);
        out.offsets[first..first + PANEL].copy_from_slice(&sums.map(|sum| CODE_ZERO * sum));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_nearest_of_255_steps() {
        let values = [0.0, 1.0, -1.0, 0.5, 0.003_9, 0.004_0, -0.25];
        let mut rows = RowsU8::default();
        rows.fill(MatrixF32 { values: &values, rows: 1, stride: 7 }, 7, round_row);
        assert_eq!(rows.codes(0)[..8], [128, 255, 1, 192, 128, 129, 96, 128]);
        assert!((rows.scales()[0] - 1.0 / 127.0).abs() < 1e-9);
    }

    #[test]
    fn rows_of_nothing_stay_zero_and_broken_ones_are_seen() {
        let values = [0.0, 0.0, 1e-40, -1e-38, f32::NAN, 1.0, 2.0, f32::INFINITY];
        let mut rows = RowsU8::default();
        rows.fill(MatrixF32 { values: &values, rows: 4, stride: 2 }, 2, round_row);
        assert_eq!(rows.codes(0)[..2], [128; 2]);
        assert_eq!(rows.codes(1)[..2], [128; 2]);
        assert_eq!(rows.scales()[..2], [0.0, 0.0]);
        assert!(rows.scales()[2..].iter().all(|scale| !scale.is_finite()));
    }
}
