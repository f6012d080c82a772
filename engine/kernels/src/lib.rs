//! How are the inner loops over numbers computed on this processor, and how far may the answers be apart?
//!
//! | op | result | [`Level::Reference`] | [`Level::Portable`] | [`Level::Avx2`] | [`Level::Avx512`] |
//! |---|---|---|---|---|---|
//! | [`dot_f32`] | sum of products, `f32` | `f64` sum in order | 8 sums | 4 x 8 sums, FMA | 4 x 16 sums, FMA |
//! | [`l2_f32`] | squared distance, `f32` | `f64` sum in order | 8 sums | 4 x 8 sums, FMA | 4 x 16 sums, FMA |
//! | [`cosine_f32`] | cosine, `f64` | `f64` sum in order | 8 sums in `f64` | the same 8 | the same 8 |
//! | [`Kernels::scan_u8i8`] | sums over 8-bit codes, blocks of rows | row by row | by blocks | 16-bit products | VNNI |
//! | [`Kernels::scan_bits`] | sums of table entries, blocks of rows | row by row | by blocks | byte shuffles | byte shuffles |
//! | [`Kernels::dot_u8i8_rows`] | sums over 8-bit codes, single rows | code by code | code by code | 16-bit products | VNNI |
//! | [`Kernels::scores_above`] | scores from sums, mask above a threshold | row by row | row by row | 8 rows | 16 rows |
//! | [`Kernels::hadamard_f32`] | Walsh-Hadamard transform | butterflies | the same | the same | the same |
//! | [`Kernels::gemm_f32`] | matrix product, finished | `f64` sum in order | one sum in order | the same, FMA | the same, FMA |
//! | [`Kernels::round_rows`] | rows of 8 bits with scales | row by row | the same | the same | the same |
//! | [`Kernels::round_columns`], [`Kernels::round_steps`] | weights of 8 bits with scales | column by column | the same | the same | the same |
//! | [`Kernels::gemm_i8`] | matrix product in 8 bits, finished | whole sums, scaled in `f64` | whole sums | 16-bit products | VNNI |
//! | [`Kernels::gelu_f32`] | GELU with `erf` | `f64` series | rational | the same, FMA | the same, FMA |
//! | [`Kernels::softmax_f32`] | shares of a row | `f64` | polynomial, 16 sums | the same, FMA | the same, FMA |
//! | [`Kernels::softmax_rows`] | shares of rows in 8 bits | `f64` | polynomial | the same, FMA | the same, FMA |
//! | [`Kernels::layer_norm_f32`] | normalised rows | `f64` | 64 sums | the same, FMA | the same, FMA |
//!
//! [`Level::Amx`] is [`Level::Avx512`] but for [`Kernels::gemm_i8`], which multiplies tiles of AMX.
//!
//! The ops on codes give the same bits at every level: `codes.rs` draws their layout.
//!
//! The reference is the definition: plain loops, never optimised. Every other level has to stay within a budget of it, which
//! `tests/it/budgets.rs` names. [`Kernels`] is the table: the functions of one level. The free functions use the best level
//! of this processor, found once. Nothing reads the environment: who wants a certain level asks for it.
//!
//! ```
//! use promptc_kernels::{Kernels, Level};
//!
//! let (left, right) = ([1.0, 2.0, 3.0], [4.0, -5.0, 6.0]);
//! assert_eq!(promptc_kernels::dot_f32(&left, &right), 12.0);
//! assert_eq!(Kernels::at(Level::Portable)?.l2_f32(&left, &right), 67.0);
//! # Ok::<(), promptc_kernels::LevelAbsent>(())
//! ```
//!
//! # Bytes that must not depend on the processor
//! `dot_f32` and `l2_f32` differ between levels in the last bits, since each adds in an order of its own. A caller whose
//! result is kept, compared or printed (a column, a ranking with its ties, a fingerprint) uses [`Kernels::PORTABLE`]: one
//! order of additions and no fused operations, so the same bits on every processor. A caller that only shortens a list
//! which is scored again afterwards uses the free functions.
//! `cosine_f32` is the same at all levels but the reference: the product of two `f32` is exact in `f64`, so that a fused
//! multiply-add rounds as the two operations do, and all levels share one order of eight sums.
//!
//! # Special values
//! A NaN in either input makes the result NaN at every level. Infinities act as in the sum of the definition. Results are
//! within budget while the sum of the magnitudes of the terms is below `f32::MAX`; beyond, `dot_f32` and `l2_f32` may be
//! infinite or NaN at a level where the reference, which adds in `f64`, is finite. Empty inputs give 0.

mod codes;
mod dispatch;
mod gemm;
mod gemm_i8;
mod layer;
mod portable;
mod reference;
#[cfg(target_arch = "x86_64")]
mod x86_64;

pub use codes::{
    BIT_BYTES_MAX, BLOCK_ROWS, BYTE_BITS, GROUP_CODES, NibbleTables, Scoring, TABLE_ENTRY_MAX, prefetch,
};
pub use dispatch::{Kernels, Level, LevelAbsent, available_levels};
pub use gemm::{Epilogue, MatrixF32, PackedF32};
pub use gemm_i8::{DEPTH_MAX, PackedI8, RowsU8};

/// Sum of the products of `left` and `right` at the best level of this processor; 0 if they are empty. Cost: one pass,
/// bound by memory from a few thousand elements on.
///
/// # Panics
/// If the lengths differ.
#[inline]
pub fn dot_f32(left: &[f32], right: &[f32]) -> f32 {
    Kernels::best().dot_f32(left, right)
}

/// Sum of the squared differences of `left` and `right` (no square root) at the best level of this processor; 0 if they are
/// empty. Cost: one pass.
///
/// # Panics
/// If the lengths differ.
#[inline]
pub fn l2_f32(left: &[f32], right: &[f32]) -> f32 {
    Kernels::best().l2_f32(left, right)
}

/// Cosine of the angle between `left` and `right`, -1 to 1, at the best level of this processor; 0 if one of them is zero
/// or empty, since it points nowhere; NaN if a component is NaN or infinite. Summed in `f64`, which `f32` components
/// neither overflow nor underflow. Cost: one pass.
///
/// # Panics
/// If the lengths differ.
#[inline]
pub fn cosine_f32(left: &[f32], right: &[f32]) -> f64 {
    Kernels::best().cosine_f32(left, right)
}

/// The three sums of a cosine.
#[derive(Debug, Clone, Copy)]
struct CosineSums {
    /// Sum of the products.
    dot: f64,
    /// Sum of the squares of the left vector.
    left: f64,
    /// Sum of the squares of the right vector.
    right: f64,
}

impl CosineSums {
    /// The cosine: one formula for all levels.
    fn cosine(self) -> f64 {
        // The product stays far inside the range of `f64`, and a vector has cosine 1 with itself, not an ulp less.
        let norms = (self.left * self.right).sqrt();
        if norms == 0.0 {
            return 0.0;
        }
        if !norms.is_finite() {
            // One NaN for all: sign and payload of a computed one depend on the processor.
            return f64::NAN;
        }
        // Rounding may leave the interval by an ulp.
        (self.dot / norms).clamp(-1.0, 1.0)
    }
}
