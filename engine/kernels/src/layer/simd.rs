//! Sixteen lanes of `f32`: what the bodies may ask of a level.
//!
//! A token is made only where the processor has the level's instructions; that makes its functions sound. All functions are
//! inlined into the entry function of the level, which has the instructions enabled.

use super::body::{TileInput, TileSums, multiply_tile};
use crate::gemm::PanelRow;

/// Number of lanes at every level.
pub(crate) const LANES: usize = 16;

/// A level's way to compute on sixteen lanes. Comparisons with NaN are false; `min` and `max` then give the right side, as
/// the instructions of x86 do.
pub(crate) trait Simd: Copy {
    /// Sixteen lanes.
    type Vector: Copy;
    /// Rows of a tile of the matrix multiplication, at most: as many as registers hold.
    const TILE_ROWS: usize;

    fn splat(self, value: f32) -> Self::Vector;
    fn load(self, values: &[f32; LANES]) -> Self::Vector;
    fn store(self, vector: Self::Vector, values: &mut [f32; LANES]);

    /// Fewer than sixteen values, with `padding` behind them. The masks of AVX2 are no better: where no lane of a register
    /// is read, AMD takes some hundred cycles.
    #[inline(always)]
    fn load_first(self, values: &[f32], padding: f32) -> Self::Vector {
        let mut lanes = [padding; LANES];
        lanes[..values.len()].copy_from_slice(values);
        self.load(&lanes)
    }

    /// The first lanes, fewer than sixteen.
    #[inline(always)]
    fn store_first(self, vector: Self::Vector, values: &mut [f32]) {
        let mut lanes = [0.0; LANES];
        self.store(vector, &mut lanes);
        values.copy_from_slice(&lanes[..values.len()]);
    }

    fn add(self, left: Self::Vector, right: Self::Vector) -> Self::Vector;
    fn sub(self, left: Self::Vector, right: Self::Vector) -> Self::Vector;
    fn mul(self, left: Self::Vector, right: Self::Vector) -> Self::Vector;
    fn div(self, left: Self::Vector, right: Self::Vector) -> Self::Vector;
    fn min(self, left: Self::Vector, right: Self::Vector) -> Self::Vector;
    fn max(self, left: Self::Vector, right: Self::Vector) -> Self::Vector;
    /// `left * right + sum`, rounded once at the vector levels, twice at the portable one.
    fn mul_add(self, left: Self::Vector, right: Self::Vector, sum: Self::Vector) -> Self::Vector;
    /// `result`, but 0 in lanes where `value < threshold`.
    fn zero_below(self, value: Self::Vector, threshold: f32, result: Self::Vector) -> Self::Vector;
    /// Two to the power of the integer in the low nine bits of each lane: -126 to 127.
    fn exponent(self, shifted: Self::Vector) -> Self::Vector;
    /// The differences of whole numbers, as numbers.
    fn difference(self, left: &[i32; LANES], right: &[i32; LANES]) -> Self::Vector;
    /// The sum of the lanes: added at distance 8, 4, 2 and 1.
    fn sum(self, vector: Self::Vector) -> f32;
    /// The largest lane, found in the same order. One that is NaN may be lost.
    fn largest(self, vector: Self::Vector) -> f32;
    /// The low eight bits of each lane.
    fn low_bytes(self, vector: Self::Vector) -> [u8; LANES];
    /// Asks for a row that is needed soon.
    fn prefetch(self, row: &PanelRow);
    /// [`multiply_tile`] as a function of its own: each number of rows has its own use of registers.
    fn tile<const ROWS: usize>(self, input: TileInput<'_>, sums: &mut TileSums);
}

/// Arrays, which the compiler turns into what the target has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Portable;

#[inline(always)]
fn lanes(each: impl FnMut(usize) -> f32) -> [f32; LANES] {
    std::array::from_fn(each)
}

#[inline(always)]
fn joined(mut lanes: [f32; LANES], join: fn(f32, f32) -> f32) -> f32 {
    for distance in [8, 4, 2, 1] {
        for idx in 0..distance {
            lanes[idx] = join(lanes[idx], lanes[idx + distance]);
        }
    }
    lanes[0]
}

impl Simd for Portable {
    type Vector = [f32; LANES];
    const TILE_ROWS: usize = 2;

    #[inline(always)]
    fn splat(self, value: f32) -> Self::Vector {
        [value; LANES]
    }

    #[inline(always)]
    fn load(self, values: &[f32; LANES]) -> Self::Vector {
        *values
    }

    #[inline(always)]
    fn store(self, vector: Self::Vector, values: &mut [f32; LANES]) {
        *values = vector;
    }

    #[inline(always)]
    fn add(self, left: Self::Vector, right: Self::Vector) -> Self::Vector {
        lanes(|idx| left[idx] + right[idx])
    }

    #[inline(always)]
    fn sub(self, left: Self::Vector, right: Self::Vector) -> Self::Vector {
        lanes(|idx| left[idx] - right[idx])
    }

    #[inline(always)]
    fn mul(self, left: Self::Vector, right: Self::Vector) -> Self::Vector {
        lanes(|idx| left[idx] * right[idx])
    }

    #[inline(always)]
    fn div(self, left: Self::Vector, right: Self::Vector) -> Self::Vector {
        lanes(|idx| left[idx] / right[idx])
    }

    #[inline(always)]
    fn min(self, left: Self::Vector, right: Self::Vector) -> Self::Vector {
        lanes(|idx| if left[idx] < right[idx] { left[idx] } else { right[idx] })
    }

    #[inline(always)]
    fn max(self, left: Self::Vector, right: Self::Vector) -> Self::Vector {
        lanes(|idx| if left[idx] > right[idx] { left[idx] } else { right[idx] })
    }

    #[inline(always)]
    fn mul_add(self, left: Self::Vector, right: Self::Vector, sum: Self::Vector) -> Self::Vector {
        lanes(|idx| left[idx] * right[idx] + sum[idx])
    }

    #[inline(always)]
    fn zero_below(self, value: Self::Vector, threshold: f32, result: Self::Vector) -> Self::Vector {
        lanes(|idx| if value[idx] < threshold { 0.0 } else { result[idx] })
    }

    #[inline(always)]
    fn exponent(self, shifted: Self::Vector) -> Self::Vector {
        lanes(|idx| f32::from_bits((shifted[idx].to_bits() << 23).wrapping_add(0x3f80_0000)))
    }

    #[inline(always)]
    fn difference(self, left: &[i32; LANES], right: &[i32; LANES]) -> Self::Vector {
        lanes(|idx| (left[idx] - right[idx]) as f32)
    }

    #[inline(always)]
    fn sum(self, vector: Self::Vector) -> f32 {
        joined(vector, |left, right| left + right)
    }

    #[inline(always)]
    fn largest(self, vector: Self::Vector) -> f32 {
        // Not `f32::max`, which looks for NaN.
        joined(vector, |left, right| if left > right { left } else { right })
    }

    #[inline(always)]
    fn low_bytes(self, vector: Self::Vector) -> [u8; LANES] {
        vector.map(|lane| lane.to_bits() as u8)
    }

    #[inline(always)]
    fn prefetch(self, _row: &PanelRow) {}

    #[inline(never)]
    fn tile<const ROWS: usize>(self, input: TileInput<'_>, sums: &mut TileSums) {
        multiply_tile::<_, 1, ROWS>(self, input, 0, sums);
        multiply_tile::<_, 1, ROWS>(self, input, 1, sums);
    }
}
