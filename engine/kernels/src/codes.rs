//! Inner loops over quantised vectors: one query against the codes of many rows.
//!
//! ```text
//!  block of 64 rows, 8-bit codes     group 0: row 0 [4 codes] row 1 [4 codes] .. row 63 | group 1: ..      scan_u8i8
//!  block of 64 rows, 1-bit codes     byte 0: row 0, row 1 .. row 63 | byte 1: ..                           scan_bits
//!  one row, 8-bit codes              code 0, code 1 ..                                                     dot_u8i8_rows
//! ```
//! In a block the same codes of all rows stand together, so that a register holds many rows and no sum is ever taken
//! across it. Sums are integers and exact, and the one step in floating point ([`Kernels::scores_above`]) multiplies and
//! adds apart: **every level gives the same bits**, the reference included.

use crate::Kernels;
use crate::portable::codes as portable;
use crate::reference::codes as reference;

/// Rows of a block: one word of a bit mask.
pub const BLOCK_ROWS: usize = 64;
/// Codes of one row that stand together in a block of 8-bit codes.
pub const GROUP_CODES: usize = 4;
/// Numbers that one byte of 1-bit codes stands for.
pub const BYTE_BITS: usize = 8;
/// Most bytes of 1-bit codes of one row: a sum of two table entries a byte, each at most [`TABLE_ENTRY_MAX`], fits `u16`.
pub const BIT_BYTES_MAX: usize = 512;
/// Largest entry of a [`NibbleTables`]: four of them fit a byte.
pub const TABLE_ENTRY_MAX: u8 = 60;

/// What one byte of 1-bit codes adds to the sum of its row: entry `byte & 15` of the first half and entry `byte >> 4` of the
/// second. No entry exceeds [`TABLE_ENTRY_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(32))]
pub struct NibbleTables(
    /// Two tables of 16 entries.
    pub [u8; 32],
);

/// What turns the sum of a row into its score: `offset + factor * (scale * sum + shift)`, each operation rounded by itself.
#[derive(Debug, Clone, Copy)]
pub struct Scoring<'a> {
    /// One for each row.
    pub factors: &'a [f32],
    /// One for each row.
    pub offsets: &'a [f32],
    /// Of the query.
    pub scale: f32,
    /// Of the query.
    pub shift: f32,
}

impl<'a> Scoring<'a> {
    /// The part for the rows from `start` to `end`.
    #[inline]
    pub fn rows(&self, start: usize, end: usize) -> Scoring<'a> {
        Scoring { factors: &self.factors[start..end], offsets: &self.offsets[start..end], ..*self }
    }
}

type RowSums = fn(&[u8], &[i8], &[u32], &mut [i32]);
type Scores = fn(&[i32], &Scoring<'_>, f32, &mut [f32], &mut [u64]);

/// The ops on codes of one level.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CodeOps {
    pub(crate) scan_u8i8: fn(&[u8], &[i8], &mut [i32]),
    pub(crate) scan_bits: fn(&[u8], &[NibbleTables], &mut [i32]),
    pub(crate) dot_u8i8_rows: RowSums,
    pub(crate) scores_above: Scores,
    pub(crate) hadamard_f32: fn(&mut [f32]),
}

impl CodeOps {
    pub(crate) const REFERENCE: CodeOps = CodeOps {
        scan_u8i8: reference::scan_u8i8_reference,
        scan_bits: reference::scan_bits_reference,
        dot_u8i8_rows: reference::dot_u8i8_rows_reference,
        scores_above: reference::scores_above_reference,
        hadamard_f32: reference::hadamard_f32_reference,
    };

    pub(crate) const PORTABLE: CodeOps = CodeOps {
        scan_u8i8: portable::scan_u8i8_portable,
        scan_bits: portable::scan_bits_portable,
        dot_u8i8_rows: portable::dot_u8i8_rows_portable,
        scores_above: portable::scores_above_portable,
        hadamard_f32: portable::hadamard_f32_portable,
    };
}

impl Kernels {
    /// For each row of the blocks, the sum of `code * query`. `codes` holds `sums.len()` rows in blocks of [`BLOCK_ROWS`], each
    /// row with as many codes as the query has numbers. Cost: one pass over the codes.
    ///
    /// # Panics
    /// If the query's length is no multiple of [`GROUP_CODES`] or above 65,536 (a sum could leave `i32`), the number of rows no
    /// multiple of [`BLOCK_ROWS`], or `codes` not as long as both say.
    #[inline]
    pub fn scan_u8i8(&self, codes: &[u8], query: &[i8], sums: &mut [i32]) {
        assert!(query.len().is_multiple_of(GROUP_CODES) && query.len() <= 1 << 16, "whole groups of codes");
        assert!(sums.len().is_multiple_of(BLOCK_ROWS), "whole blocks of rows");
        assert_eq!(codes.len(), query.len() * sums.len(), "one code for each number of each row");
        (self.codes.scan_u8i8)(codes, query, sums);
    }

    /// For each row of the blocks, the sum of the table entries that its bits choose. `codes` holds `sums.len()` rows in blocks
    /// of [`BLOCK_ROWS`], each row with one byte for each of the tables. Cost: one pass over the codes.
    ///
    /// Two look-ups among 16 entries a byte, many rows at a time: André, Kermarrec and Le Scouarnec, "Cache locality is not
    /// enough: high-performance nearest neighbor search with product quantization fast scan" (VLDB 2015).
    ///
    /// # Panics
    /// If there are more than [`BIT_BYTES_MAX`] tables, the number of rows is no multiple of [`BLOCK_ROWS`], or `codes` is not as
    /// long as both say.
    #[inline]
    pub fn scan_bits(&self, codes: &[u8], tables: &[NibbleTables], sums: &mut [i32]) {
        assert!(tables.len() <= BIT_BYTES_MAX, "sums that fit 16 bits");
        assert!(sums.len().is_multiple_of(BLOCK_ROWS), "whole blocks of rows");
        assert_eq!(codes.len(), tables.len() * sums.len(), "one byte for each table of each row");
        debug_assert!(tables.iter().flat_map(|table| table.0).all(|entry| entry <= TABLE_ENTRY_MAX));
        (self.codes.scan_bits)(codes, tables, sums);
    }

    /// For each of `rows`, the sum of `code * query` over its codes, which stand row by row in `codes`. Rows that follow are
    /// fetched ahead. Cost: one random access and one pass a row.
    ///
    /// # Panics
    /// If a row does not lie within `codes`, the query is longer than 65,536, or `rows` and `sums` differ in length.
    #[inline]
    pub fn dot_u8i8_rows(&self, codes: &[u8], query: &[i8], rows: &[u32], sums: &mut [i32]) {
        assert_eq!(rows.len(), sums.len(), "one sum for each row");
        assert!(query.len() <= 1 << 16, "sums that fit 32 bits");
        let row_count = codes.len().checked_div(query.len()).unwrap_or(usize::MAX);
        assert!(rows.iter().all(|row| (*row as usize) < row_count), "rows within the codes");
        (self.codes.dot_u8i8_rows)(codes, query, rows, sums);
    }

    /// Writes the score of each row (see [`Scoring`]), and a mask with bit `i % 64` of word `i / 64` set where the score of row
    /// `i` is above `threshold`. A NaN is above nothing.
    ///
    /// # Panics
    /// If the number of rows is no multiple of [`BLOCK_ROWS`] or the slices disagree about it.
    #[inline]
    pub fn scores_above(
        &self,
        sums: &[i32],
        scoring: &Scoring<'_>,
        threshold: f32,
        scores: &mut [f32],
        masks: &mut [u64],
    ) {
        assert!(sums.len().is_multiple_of(BLOCK_ROWS), "whole blocks of rows");
        assert!(scoring.factors.len() == sums.len() && scoring.offsets.len() == sums.len(), "a factor each");
        assert!(scores.len() == sums.len() && masks.len() == sums.len() / BLOCK_ROWS, "a score each");
        (self.codes.scores_above)(sums, scoring, threshold, scores, masks);
    }

    /// Walsh-Hadamard transform in place, not normalised: `values[i] = sum over j of (-1)^popcount(i & j) * values[j]`. All levels
    /// add in the order of the butterflies, so that the bits are the same. Cost: `len * log2(len)` additions.
    ///
    /// # Panics
    /// If the length is no power of two.
    #[inline]
    pub fn hadamard_f32(&self, values: &mut [f32]) {
        assert!(values.len().is_power_of_two(), "a power of two");
        (self.codes.hadamard_f32)(values);
    }
}

/// Asks for the cache lines of values that are read soon. A hint: it changes nothing, and costs a few cycles.
#[inline]
pub fn prefetch<T>(values: &[T]) {
    #[cfg(target_arch = "x86_64")]
    crate::x86_64::prefetch(values);
    #[cfg(not(target_arch = "x86_64"))]
    let _ = values;
}
