//! 8-bit codes: one byte a number, with a scale for each row.
//!
//! `x ≈ scale * (code - 128)`, the largest number of the row at 127 steps from zero. The query is coded in the same way, so
//! that a sum over bytes stands for the inner product. Codes stand in blocks of rows for a scan of all of them, or row by row
//! for the sums of a few.

use promptc_kernels::{BLOCK_ROWS, GROUP_CODES, Kernels};

/// Steps from zero to the largest number.
const STEPS: f32 = 127.0;
/// The code of zero.
const ZERO: u8 = 128;
/// Added and taken away again, rounds to the nearest whole number, ties to even, for what is below a million.
const ROUNDING: f32 = 12_582_912.0;

/// Where a code stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// In blocks of rows, as [`Kernels::scan_u8i8`] reads them.
    Blocks,
    /// Row by row, as [`Kernels::dot_u8i8_rows`] reads them.
    Rows,
}

/// Codes of all rows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ByteCodes {
    pub(super) layout: Layout,
    /// Numbers of a row, rounded up to whole groups.
    pub(super) width: usize,
    pub(super) codes: Vec<u8>,
    /// One for each row, up to whole blocks.
    pub(super) scales: Vec<f32>,
    rows: usize,
}

/// A query as codes.
#[derive(Debug, Clone, Default)]
pub(super) struct ByteQuery {
    pub(super) codes: Vec<i8>,
    /// What [`promptc_kernels::Scoring`] takes.
    pub(super) scale: f32,
    pub(super) shift: f32,
}

impl ByteQuery {
    /// Codes of a centred query.
    pub(super) fn set(&mut self, placed: &[f32], width: usize) {
        let (step, steps) = step_of(placed);
        self.codes.clear();
        self.codes.extend(placed.iter().map(|value| quantised(*value, steps) as i8));
        self.codes.resize(width, 0);
        self.scale = step;
        self.shift = shift_of(&self.codes, step);
    }
}

impl ByteQuery {
    /// The codes of a row as those of a query.
    pub(super) fn set_row(&mut self, rows: &ByteCodes, row: usize) {
        let signed = |code: u8| code.wrapping_sub(ZERO) as i8;
        self.codes.clear();
        if rows.layout == Layout::Rows {
            let codes = &rows.codes[row * rows.width..(row + 1) * rows.width];
            self.codes.extend(codes.iter().map(|code| signed(*code)));
        } else {
            let groups = (0..rows.width).step_by(GROUP_CODES).map(|idx| rows.group(row, idx));
            self.codes.extend(groups.flatten().map(signed));
        }
        self.scale = rows.scales[row];
        self.shift = shift_of(&self.codes, self.scale);
    }
}

/// What the rows' code of zero adds to a sum, taken away again.
fn shift_of(codes: &[i8], scale: f32) -> f32 {
    let sum: i32 = codes.iter().map(|code| i32::from(*code)).sum();
    -(f32::from(ZERO) * scale) * sum as f32
}

impl ByteCodes {
    pub(super) fn new(layout: Layout, dim: usize) -> Self {
        Self {
            layout,
            width: dim.next_multiple_of(GROUP_CODES),
            codes: Vec::new(),
            scales: Vec::new(),
            rows: 0,
        }
    }

    /// Room for this many rows without growth.
    pub(super) fn reserve_exact(&mut self, rows: usize) {
        let padded = rows.next_multiple_of(BLOCK_ROWS);
        let coded = if self.layout == Layout::Blocks { padded } else { rows };
        self.codes.reserve_exact((coded * self.width).saturating_sub(self.codes.len()));
        self.scales.reserve_exact(padded.saturating_sub(self.scales.len()));
    }

    /// Makes room for exactly `rows` rows, or forgets those behind.
    pub(super) fn resize(&mut self, rows: usize) {
        let padded = rows.next_multiple_of(BLOCK_ROWS);
        let coded = if self.layout == Layout::Blocks { padded } else { rows };
        self.codes.resize(coded * self.width, 0);
        self.scales.resize(padded, 0.0);
        self.scales[rows..].fill(0.0);
        self.rows = rows;
    }

    /// Number of rows.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Writes a centred row.
    pub(super) fn set(&mut self, row: usize, placed: &[f32]) {
        let (step, steps) = step_of(placed);
        self.scales[row] = step;
        if self.layout == Layout::Rows {
            let codes = &mut self.codes[row * self.width..(row + 1) * self.width];
            codes.fill(ZERO);
            for (code, value) in codes.iter_mut().zip(placed) {
                *code = coded(*value, steps);
            }
            return;
        }
        for (group, values) in placed.chunks(GROUP_CODES).enumerate() {
            let place = self.place(row, group * GROUP_CODES);
            let codes = &mut self.codes[place..place + GROUP_CODES];
            codes.fill(ZERO);
            for (code, value) in codes.iter_mut().zip(values) {
                *code = coded(*value, steps);
            }
        }
    }

    /// The numbers that a row's codes stand for, as many as `values` has.
    pub(super) fn decode(&self, row: usize, values: &mut [f32]) {
        let scale = self.scales[row];
        for (group, values) in values.chunks_mut(GROUP_CODES).enumerate() {
            for (value, code) in values.iter_mut().zip(self.group(row, group * GROUP_CODES)) {
                *value = scale * (f32::from(code) - f32::from(ZERO));
            }
        }
    }

    /// Whether two rows have the same codes, which stand row by row.
    pub(super) fn is_equal(&self, row: usize, other: usize) -> bool {
        let codes = |row: usize| &self.codes[row * self.width..(row + 1) * self.width];
        self.scales[row] == self.scales[other] && codes(row) == codes(other)
    }

    /// The group of a row's codes that begins with code `idx`.
    fn group(&self, row: usize, idx: usize) -> [u8; GROUP_CODES] {
        let place = self.place(row, idx);
        *self.codes[place..].first_chunk().expect("invariant: groups are whole")
    }

    /// Bytes in memory.
    pub(super) fn memory_bytes(&self) -> usize {
        self.codes.capacity() + self.scales.capacity() * size_of::<f32>()
    }

    /// Copies a row over another one.
    pub(super) fn copy(&mut self, from: usize, to: usize) {
        self.scales[to] = self.scales[from];
        for idx in (0..self.width).step_by(GROUP_CODES) {
            let (source, target) = (self.place(from, idx), self.place(to, idx));
            self.codes.copy_within(source..source + GROUP_CODES, target);
        }
    }

    /// The same codes in another layout.
    pub(super) fn in_layout(&self, layout: Layout, rows: usize) -> Self {
        let mut moved =
            Self { layout, width: self.width, codes: Vec::new(), scales: self.scales.clone(), rows: 0 };
        moved.reserve_exact(rows);
        moved.resize(rows);
        for row in 0..rows {
            for idx in (0..self.width).step_by(GROUP_CODES) {
                let (source, target) = (self.place(row, idx), moved.place(row, idx));
                moved.codes[target..target + GROUP_CODES]
                    .copy_from_slice(&self.codes[source..source + GROUP_CODES]);
            }
        }
        moved
    }

    /// Place of a code whose index is a multiple of a group.
    fn place(&self, row: usize, idx: usize) -> usize {
        match self.layout {
            Layout::Rows => row * self.width + idx,
            Layout::Blocks => {
                let block = row / BLOCK_ROWS * BLOCK_ROWS * self.width;
                block + idx * BLOCK_ROWS + row % BLOCK_ROWS * GROUP_CODES
            }
        }
    }

    /// Sums of the blocks from row `start` on, one for each of `sums`.
    pub(super) fn scan(&self, query: &ByteQuery, start: usize, sums: &mut [i32]) {
        let codes = &self.codes[start * self.width..(start + sums.len()) * self.width];
        Kernels::best().scan_u8i8(codes, &query.codes, sums);
    }

    /// Rank scores of some rows without their offsets.
    pub(super) fn score_rows(
        &self,
        query: &ByteQuery,
        rows: &[u32],
        sums: &mut Vec<i32>,
        scores: &mut Vec<f32>,
    ) {
        sums.resize(rows.len(), 0);
        Kernels::best().dot_u8i8_rows(&self.codes, &query.codes, rows, sums);
        scores.clear();
        let product = |sum: i32| query.scale * sum as f32 + query.shift;
        scores.extend(rows.iter().zip(sums).map(|(row, sum)| self.scales[*row as usize] * product(*sum)));
    }
}

/// The step of a row, and the steps of the number 1. Where numbers are so small that the latter is none, all of them are zero.
fn step_of(values: &[f32]) -> (f32, f32) {
    let step = values.iter().fold(0.0_f32, |most, value| most.max(value.abs())) / STEPS;
    let steps = 1.0 / step;
    if steps.is_finite() { (step, steps) } else { (0.0, 0.0) }
}

/// The number in steps, -127 to 127, as a whole number.
#[inline]
fn quantised(value: f32, steps: f32) -> f32 {
    ((value * steps).clamp(-STEPS, STEPS) + ROUNDING) - ROUNDING
}

#[inline]
fn coded(value: f32, steps: f32) -> u8 {
    (quantised(value, steps) + f32::from(ZERO)) as u8
}
