//! A matrix that is packed for multiplication, and what a multiplication is asked for.
//!
//! ```text
//!  right, [depth, width]            packed: panels of 32 columns, each row by row
//!  ┌────────┬────────┬────┐         panel 0: depth rows of 32   panel 1: depth rows of 32   panel 2: rows of 32,
//!  │ 32     │ 32     │ 5  │   ──▶   ████████ ████████ …         ████████ ████████ …         zeros behind the 5
//!  └────────┴────────┴────┘
//! ```
//! A tile of the product then reads one panel from front to back. Weights are packed once; keys and values of an attention
//! head are packed into a buffer that is used again.
//!
//! # Decisions
//! *An own kernel instead of the crate `gemm`.* Measure: multiplications of a sentence encoder (33, 264 and 512 rows; 384 x
//! 1152, 384 x 384, 384 x 1536, 1536 x 384; 12 weights in turn, so that none waits in the second cache), one thread, thread
//! time, AVX-512 on Zen 5. GFLOP/s over the four shapes: own 269, 279, 277; `gemm` 0.19 with `x86-v4` 205, 248, 259. The
//! crate packs the right side at each call, and chooses its way by the number of rows, so that a text alone and in a batch
//! would differ in bits. It also brings ten crates, and features of `half` that would build Arrow anew.

use crate::layer::simd::LANES;

/// Columns of a panel: two registers of AVX-512, four of AVX2.
pub(crate) const PANEL: usize = 2 * LANES;

/// One row of a panel, on a boundary of a cache line.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct PanelRow(pub(crate) [[f32; LANES]; 2]);

/// The right side of a multiplication, packed. Empty at first; filling it again keeps its memory.
#[derive(Debug, Clone, Default)]
pub struct PackedF32 {
    rows: Vec<PanelRow>,
    depth: usize,
    width: usize,
}

impl PackedF32 {
    /// Number of rows of the matrix: the length of the sums.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Number of columns of the matrix.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Memory in bytes.
    pub fn bytes(&self) -> usize {
        self.rows.capacity() * size_of::<PanelRow>()
    }

    /// Takes the matrix `[depth, width]` whose row `i` begins at `values[i * stride]`. Cost: one pass.
    ///
    /// # Panics
    /// If a row reaches into the next or beyond `values`.
    pub fn fill_rows(&mut self, values: &[f32], stride: usize, depth: usize, width: usize) {
        assert_fits(values, stride, depth, width);
        self.fill_panels(depth, width, |panel, column, len| {
            for (row_idx, row) in panel.iter_mut().enumerate() {
                let start = row_idx * stride + column;
                let row = row.0.as_flattened_mut();
                row[..len].copy_from_slice(&values[start..start + len]);
                row[len..].fill(0.0);
            }
        });
    }

    /// Gives each panel of the matrix `[depth, width]` to `fill`, with its first column and the number of its columns.
    fn fill_panels(&mut self, depth: usize, width: usize, fill: impl Fn(&mut [PanelRow], usize, usize)) {
        self.resize(depth, width);
        if self.rows.is_empty() {
            return;
        }
        for (panel_idx, panel) in self.rows.chunks_exact_mut(depth).enumerate() {
            let column = panel_idx * PANEL;
            fill(panel, column, PANEL.min(width - column));
        }
    }

    /// Takes the matrix `[depth, width]` that is stored transposed: column `j` begins at `values[j * stride]`, as the weights
    /// of a linear layer do. Cost: one pass, about 1 ns an element.
    ///
    /// # Panics
    /// If a column reaches into the next or beyond `values`.
    pub fn fill_transposed(&mut self, values: &[f32], stride: usize, depth: usize, width: usize) {
        assert_fits(values, stride, width, depth);
        self.fill_panels(depth, width, |panel, column, len| {
            for idx in 0..len {
                let start = (column + idx) * stride;
                for (row, value) in panel.iter_mut().zip(&values[start..start + depth]) {
                    row.0.as_flattened_mut()[idx] = *value;
                }
            }
            for row in panel {
                row.0.as_flattened_mut()[len..].fill(0.0);
            }
        });
    }

    fn resize(&mut self, depth: usize, width: usize) {
        (self.depth, self.width) = (depth, width);
        self.rows.resize(depth * width.div_ceil(PANEL), PanelRow([[0.0; LANES]; 2]));
    }

    /// The panels, from left to right.
    pub(crate) fn panels(&self) -> impl Iterator<Item = &[PanelRow]> {
        // A matrix without rows has no panels, though it may have columns: its product is zero.
        self.rows.chunks_exact(self.depth.max(1))
    }

    /// One element; for the reference.
    pub(crate) fn at(&self, row: usize, column: usize) -> f32 {
        self.rows[column / PANEL * self.depth + row].0.as_flattened()[column % PANEL]
    }
}

/// The left side of a multiplication: `rows` rows, of which row `i` begins at `values[i * stride]`. Their length is the
/// depth of the right side.
#[derive(Debug, Clone, Copy)]
pub struct MatrixF32<'a> {
    /// The numbers.
    pub values: &'a [f32],
    /// Number of rows.
    pub rows: usize,
    /// Distance of two rows, in elements.
    pub stride: usize,
}

/// What happens to a product before it is written. A bias has one number per column.
#[derive(Debug, Clone, Copy)]
pub enum Epilogue<'a> {
    /// Nothing.
    Store,
    /// The bias is added.
    Bias(&'a [f32]),
    /// The bias is added, then [`crate::Kernels::gelu_f32`] is taken.
    BiasGelu(&'a [f32]),
    /// Bias and product are added to what the output holds.
    BiasAdd(&'a [f32]),
}

impl<'a> Epilogue<'a> {
    /// The bias, if there is one.
    pub(crate) fn bias(self) -> Option<&'a [f32]> {
        match self {
            Self::Store => None,
            Self::Bias(bias) | Self::BiasGelu(bias) | Self::BiasAdd(bias) => Some(bias),
        }
    }
}

/// Sees to it that `rows` rows of `len` elements at this stride do not overlap and lie within `values`.
pub(crate) fn assert_fits(values: &[f32], stride: usize, rows: usize, len: usize) {
    let Some(last) = rows.checked_sub(1) else { return };
    assert!(stride >= len, "rows of a matrix do not overlap");
    let needed = last.checked_mul(stride).and_then(|start| start.checked_add(len));
    assert!(needed.is_some_and(|needed| needed <= values.len()), "a matrix lies within its slice");
}
