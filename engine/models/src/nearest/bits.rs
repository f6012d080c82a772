//! 1-bit codes: the sign of each number after a random rotation, with one factor a row.
//!
//! Gao and Long, "RaBitQ: quantizing high-dimensional vectors with a theoretical error bound for approximate nearest neighbor
//! search" (SIGMOD 2024). With the rotated row `u` and its signs `s`, the inner product with a rotated query `v` is estimated as
//! ```text
//!  u·v  ≈  |u|² / sum |u_i|  *  sum s_i v_i
//! ```
//! without bias over random rotations (their equation 13; our factor holds both norms of it). The query is coded in 16 levels,
//! half a step away from zero, so that the inner sum is a sum of whole numbers, which byte tables hold ([`NibbleTables`]). The
//! rotation is a product of random signs and Hadamard transforms in place of a dense matrix: `dim * log(dim)` operations.

use promptc_kernels::{BLOCK_ROWS, BYTE_BITS, Kernels, NibbleTables};

/// Levels of a query's number are `step * (level - 7.5)`, level 0 to 15.
const MIDDLE: f32 = 7.5;
/// Step of 16 levels, in standard deviations, with the least squared error for normal numbers: Max, "Quantizing for minimum
/// distortion" (1960), table II. Numbers of a rotated vector are nearly normal.
const STEP_DEVIATIONS: f64 = 0.3352;
/// Rounds of signs and transform where the width is a power of two; else one more, as each leaves out some numbers.
const ROUNDS: usize = 3;

/// A random orthogonal map, fixed by its seed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rotation {
    /// Numbers of the result: the dimension rounded up to whole bytes of bits.
    pub(super) width: usize,
    /// For each round the signs of all numbers, 1 or -1, times the scale that keeps lengths.
    signs: Vec<Vec<f32>>,
}

impl Rotation {
    pub(super) fn new(dim: usize, seed: u64) -> Self {
        let width = dim.next_multiple_of(BYTE_BITS);
        let rounds = if width.is_power_of_two() { ROUNDS } else { ROUNDS + 1 };
        let scale = (1.0 / (transformed(width) as f64).sqrt()) as f32;
        let signs = (0..rounds as u64).map(|round| {
            let sign = |idx: u64| if mixed(seed, round << 32 | idx) >> 63 == 0 { scale } else { -scale };
            (0..width as u64).map(sign).collect()
        });
        Self { width, signs: signs.collect() }
    }

    /// Rotates a vector whose numbers from `dim` to the width are zero.
    pub(super) fn apply(&self, values: &mut [f32]) {
        let len = transformed(self.width);
        for (round, signs) in self.signs.iter().enumerate() {
            // The first and the last numbers in turn, so that all mix where the width is no power of two.
            let start = if round % 2 == 0 { 0 } else { self.width - len };
            let part = &mut values[start..start + len];
            for (value, sign) in part.iter_mut().zip(&signs[start..]) {
                *value *= sign;
            }
            Kernels::best().hadamard_f32(part);
        }
    }
}

/// Numbers that one transform takes: the greatest power of two that is not above the width.
fn transformed(width: usize) -> usize {
    1 << width.ilog2()
}

/// A counter's mixed bits: Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (OOPSLA 2014), SplitMix64.
pub(super) fn mixed(seed: u64, counter: u64) -> u64 {
    let mut bits = seed.wrapping_add(counter.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Codes of all rows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct BitCodes {
    pub(super) rotation: Rotation,
    /// Blocks of rows, as [`Kernels::scan_bits`] reads them.
    pub(super) codes: Vec<u8>,
    /// One for each row, up to whole blocks.
    pub(super) factors: Vec<f32>,
}

/// A query as tables.
#[derive(Debug, Clone, Default)]
pub(super) struct BitQuery {
    rotated: Vec<f32>,
    /// Length of the query.
    pub(super) norm: f32,
    pub(super) tables: Vec<NibbleTables>,
    /// What [`promptc_kernels::Scoring`] takes.
    pub(super) scale: f32,
    pub(super) shift: f32,
}

impl BitQuery {
    /// Tables of a centred query.
    pub(super) fn set(&mut self, placed: &[f32], rotation: &Rotation) {
        self.rotated.clear();
        self.rotated.extend_from_slice(placed);
        self.rotated.resize(rotation.width, 0.0);
        rotation.apply(&mut self.rotated);
        let square = Kernels::best().dot_f32f64(&self.rotated, &self.rotated);
        self.norm = square.sqrt() as f32;
        let step = (STEP_DEVIATIONS * (square / rotation.width as f64).sqrt()) as f32;
        // Both signs of a level add up to 15, so a sum of entries stands for `sum s_i (level_i - 7.5)` plus 7.5 a number.
        self.scale = step;
        self.shift = -MIDDLE * rotation.width as f32 * step;
        let inverse = 1.0 / step;
        // Numbers so small that this is infinite are all taken for zero.
        let steps = if inverse.is_finite() { inverse } else { 0.0 };
        self.tables.clear();
        self.tables.extend(self.rotated.as_chunks::<BYTE_BITS>().0.iter().map(|values| {
            let levels = values.map(|value| level(value, steps));
            let (low, high) = levels.split_at(BYTE_BITS / 2);
            let mut entries = [0; 32];
            entries[..16].copy_from_slice(&entries_of(low));
            entries[16..].copy_from_slice(&entries_of(high));
            NibbleTables(entries)
        }));
    }
}

/// Level of a number, 0 to 15.
fn level(value: f32, steps: f32) -> u8 {
    // Steps from level 0, cut to whole numbers: level 7 ends and level 8 begins at zero. A float cast saturates.
    ((value * steps + MIDDLE + 0.5) as u8).min(15)
}

/// For each of 16 choices of signs, the sum of the levels that are added and of 15 less the levels that are taken away.
fn entries_of(levels: &[u8]) -> [u8; 16] {
    let mut entries = [0; 16];
    entries[0] = levels.iter().map(|level| 15 - level).sum();
    for (bit, level) in levels.iter().enumerate() {
        // Those with this bit follow from those without; the sum does not leave 0 to 60.
        let (without, with) = entries[..2 << bit].split_at_mut(1 << bit);
        for (with, without) in with.iter_mut().zip(without) {
            *with = *without + 2 * level - 15;
        }
    }
    entries
}

impl BitCodes {
    pub(super) fn new(dim: usize, seed: u64) -> Self {
        Self { rotation: Rotation::new(dim, seed), codes: Vec::new(), factors: Vec::new() }
    }

    /// Bytes of a row's bits.
    pub(super) fn row_bytes(&self) -> usize {
        self.rotation.width / BYTE_BITS
    }

    /// Room for this many rows without growth.
    pub(super) fn reserve_exact(&mut self, rows: usize) {
        let padded = rows.next_multiple_of(BLOCK_ROWS);
        self.codes.reserve_exact((padded * self.row_bytes()).saturating_sub(self.codes.len()));
        self.factors.reserve_exact(padded.saturating_sub(self.factors.len()));
    }

    /// Makes room for exactly `rows` rows, or forgets those behind.
    pub(super) fn resize(&mut self, rows: usize) {
        let padded = rows.next_multiple_of(BLOCK_ROWS);
        self.codes.resize(padded * self.row_bytes(), 0);
        self.factors.resize(padded, 0.0);
        self.factors[rows..].fill(0.0);
    }

    /// Writes a centred row and returns its square; `rotated` is room for its rotation.
    pub(super) fn set(&mut self, row: usize, placed: &[f32], rotated: &mut Vec<f32>) -> f64 {
        rotated.clear();
        rotated.extend_from_slice(placed);
        rotated.resize(self.rotation.width, 0.0);
        self.rotation.apply(rotated);
        let square = Kernels::best().dot_f32f64(rotated, rotated);
        let magnitude: f64 = rotated.iter().map(|value| f64::from(value.abs())).sum();
        self.factors[row] = if magnitude > 0.0 { (square / magnitude) as f32 } else { 0.0 };
        for (idx, values) in rotated.as_chunks::<BYTE_BITS>().0.iter().enumerate() {
            let bit = |(place, value): (usize, &f32)| u8::from(*value > 0.0) << place;
            let place = self.place(row, idx);
            self.codes[place] = values.iter().enumerate().map(bit).fold(0, |byte, bit| byte | bit);
        }
        square
    }

    /// Copies a row over another one.
    pub(super) fn copy(&mut self, from: usize, to: usize) {
        self.factors[to] = self.factors[from];
        for idx in 0..self.row_bytes() {
            let (source, target) = (self.place(from, idx), self.place(to, idx));
            self.codes[target] = self.codes[source];
        }
    }

    /// Bytes in memory.
    pub(super) fn memory_bytes(&self) -> usize {
        self.codes.capacity() + self.factors.capacity() * size_of::<f32>()
    }

    fn place(&self, row: usize, idx: usize) -> usize {
        (row / BLOCK_ROWS * self.row_bytes() + idx) * BLOCK_ROWS + row % BLOCK_ROWS
    }

    /// Sums of the blocks from row `start` on, one for each of `sums`.
    pub(super) fn scan(&self, query: &BitQuery, start: usize, sums: &mut [i32]) {
        let codes = &self.codes[start * self.row_bytes()..(start + sums.len()) * self.row_bytes()];
        Kernels::best().scan_bits(codes, &query.tables, sums);
    }
}
