//! A static table: which vector stands for a text, by one stored row for each piece of a vocabulary?
//!
//! ```text
//!  model.safetensors ─▶ codes, int8, [vocabulary, dim] ┐
//!  vocab.txt or tokenizer.json ─▶ WordPiece ───────────┴▶ StaticTable      text ─ pieces ─▶ ids ─ sum of their rows ─ L2 ─▶ vector
//! ```
//! No network is computed: a text costs little more than its tokenisation. This module reads, writes and uses the rows
//! of a trained encoder, and does not know how they were made.
//!
//! # Decisions
//! *One scale for all rows.* The length of a row is its weight in the sum, and the vector is scaled to length 1, so one scale
//! cancels out: sums are integers and exact, and a vector has the same bits on every processor, in every order and batch. A
//! scale per row would need sums in floating point and 61 kB more.

mod file;

use std::fmt;

use promptc_kernels::Kernels;

use crate::bert::TokenizerFile;
use crate::safetensors::{Dtype, SafetensorsError};
use crate::wordpiece::{WordPiece, WordPieceError};
pub use file::{DIM_MAX, FORMAT_VERSION, Provenance, write};

/// Rows whose codes are added in 16 bits: 256 x -128 is the least number that these hold.
const BLOCK_ROWS: usize = 256;

/// Why a table was refused, or could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StaticError {
    /// The file of tensors.
    #[error("file of the static table is refused")]
    File(#[from] SafetensorsError),
    /// The vocabulary.
    #[error("vocabulary of the static table is refused")]
    Tokenizer(#[from] WordPieceError),
    /// The header does not say what a table's says.
    #[error(
        "header of the static table has `{key}` = {found}, expected {expected}; take a file that promptc wrote"
    )]
    Header {
        /// The key.
        key: &'static str,
        /// What it holds, in quotation marks, or `nothing`.
        found: String,
        /// What was expected.
        expected: String,
    },
    /// A tensor that a table does not have.
    #[error("tensor `{name}` is none of a static table's; take a file that promptc wrote")]
    TensorUnexpected {
        /// Its name.
        name: String,
    },
    /// The codes have another type or shape.
    #[error("tensor `codes` is {dtype:?} {shape:?}, expected I8 [vocabulary, 1 to {DIM_MAX}]")]
    Codes {
        /// Type of the elements.
        dtype: Dtype,
        /// Shape.
        shape: Vec<usize>,
    },
    /// The scale is zero or negative.
    #[error("tensor `scale` is {found}, expected a number above 0; the table is damaged, fetch it again")]
    Scale {
        /// The scale.
        found: f32,
    },
    /// The codes or their scale are not those that were written.
    #[error(
        "rows of the static table do not have the hash in its header; the file is damaged, fetch it again"
    )]
    Damaged,
    /// The tokenizer gives ids that have no row, or there are rows that no token has.
    #[error(
        "tokenizer has ids up to {largest}, the table has {rows} rows; take the vocabulary of this table"
    )]
    Rows {
        /// The largest id.
        largest: u32,
        /// Rows of the table.
        rows: usize,
    },
    /// The table was made with another tokenizer.
    #[error(
        "vocabulary has hash {found}, the table was made with {expected}; take the vocabulary of this table"
    )]
    Vocabulary {
        /// Hash of the tokenizer at hand.
        found: String,
        /// Hash of the tokenizer in the header.
        expected: String,
    },
    /// A number that is to be written is NaN or infinite, or all of them are zero.
    #[error("row {row_idx} of the new table has no finite numbers other than zero; distil it again")]
    NothingToWrite {
        /// The first row that is not finite; 0 if all are zero.
        row_idx: usize,
    },
}

/// A table that is ready.
pub struct StaticTable {
    /// `[rows, dim]`.
    codes: Vec<i8>,
    dim: usize,
    scale: f32,
    provenance: Provenance,
    tokenizer: WordPiece,
    identity: [u8; 32],
}

impl fmt::Debug for StaticTable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = out.debug_struct("StaticTable");
        out.field("dim", &self.dim).field("provenance", &self.provenance).finish_non_exhaustive()
    }
}

/// Memory of one thread between calls; any table may use it. It grows to the longest text: 4 bytes a token.
#[derive(Default)]
pub struct StaticScratch {
    ids: Vec<u32>,
    /// Of a block of rows.
    block_sums: Vec<i16>,
    sums: Vec<i64>,
}

/// What happened to the texts of a call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StaticCounts {
    /// Pieces that were added.
    pub tokens: usize,
    /// Texts whose vector is zero: they have no pieces, or none with a row.
    pub texts_zero: usize,
}

impl StaticTable {
    /// Checks the files and takes the codes; the bytes are not needed afterwards. Cost: for 30,522 rows of 256 some 15 ms,
    /// most of it the tokenizer.
    ///
    /// # Errors
    /// If a file is damaged, is no table of [`FORMAT_VERSION`], or does not belong to the other.
    pub fn load(table: &[u8], vocabulary: TokenizerFile<'_>) -> Result<Self, StaticError> {
        let tokenizer = match vocabulary {
            TokenizerFile::Json(bytes) => WordPiece::from_json(bytes)?,
            TokenizerFile::Vocabulary(bytes) => WordPiece::from_vocabulary(bytes)?,
        };
        let file::Parsed { codes, dim, scale, provenance } = file::parse(table, &tokenizer)?;
        let mut hasher = blake3::Hasher::new_derive_key("promptc static embedder 1");
        hasher.update(tokenizer.identity());
        hasher.update(&(dim as u64).to_le_bytes());
        hasher.update(codes);
        let identity = *hasher.finalize().as_bytes();
        let codes = codes.iter().map(|code| code.cast_signed()).collect();
        Ok(Self { codes, dim, scale, provenance, tokenizer, identity })
    }

    /// Length of the vectors.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Number of rows, one for each id of the vocabulary.
    pub fn row_count(&self) -> usize {
        self.codes.len() / self.dim
    }

    /// What a code of 1 stands for in the rows that were stored; it has no influence on the vectors.
    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// Where the rows come from.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &WordPiece {
        &self.tokenizer
    }

    /// Memory of the rows in bytes.
    pub fn bytes(&self) -> usize {
        self.codes.len()
    }

    /// Hash of the codes and the tokenizer: tables that agree in it give equal vectors.
    pub fn identity(&self) -> &[u8; 32] {
        &self.identity
    }

    /// Writes the vectors of `texts` one after the other to `out`, `[texts, dim]`: the sum of the rows of their pieces,
    /// without `[CLS]` and `[SEP]`, scaled to length 1. A text of any length is read whole. Without pieces, or if the sum is
    /// zero, the vector is zero. The bits depend on the table and the text alone. Cost: about 35 ns for the tokenisation of a
    /// piece and 10 ns for its row of 256.
    ///
    /// # Panics
    /// If the length of `out` is not that of all vectors.
    pub fn embed(
        &self,
        texts: &[impl AsRef<str>],
        scratch: &mut StaticScratch,
        out: &mut [f32],
    ) -> StaticCounts {
        assert_eq!(out.len(), texts.len() * self.dim, "one vector for each text");
        let kernels = Kernels::best();
        let mut counts = StaticCounts::default();
        for (text, vector) in texts.iter().zip(out.chunks_exact_mut(self.dim)) {
            scratch.ids.clear();
            self.tokenizer.pieces(text.as_ref(), &mut scratch.ids);
            counts.tokens += scratch.ids.len();
            self.sum(scratch);
            // Below 2^24 exact, which 131,072 pieces cannot leave.
            for (value, sum) in vector.iter_mut().zip(&scratch.sums) {
                *value = *sum as f32;
            }
            // In `f64`, the sum of the squares of so many integers is exact too: its order does not matter.
            let square = kernels.dot_f32f64(vector, vector);
            counts.texts_zero += usize::from(square == 0.0);
            let factor = if square == 0.0 { 0.0 } else { 1.0 / square.sqrt() };
            for value in vector {
                *value = (f64::from(*value) * factor) as f32;
            }
        }
        counts
    }

    /// The sum of the rows of `scratch.ids`.
    fn sum(&self, scratch: &mut StaticScratch) {
        let StaticScratch { ids, block_sums, sums } = scratch;
        sums.clear();
        sums.resize(self.dim, 0);
        block_sums.resize(self.dim, 0);
        let row = |id: u32| &self.codes[id as usize * self.dim..][..self.dim];
        for block in ids.chunks(BLOCK_ROWS) {
            block_sums.fill(0);
            let (fours, rest) = block.as_chunks::<4>();
            for ids in fours {
                let [first, second, third, fourth] = ids.map(row);
                let rows = first.iter().zip(second).zip(third.iter().zip(fourth));
                for (sum, ((first, second), (third, fourth))) in block_sums.iter_mut().zip(rows) {
                    let [first, second, third, fourth] =
                        [first, second, third, fourth].map(|code| i16::from(*code));
                    // Nothing wraps in a block; a check in each step would keep the loop from being vectors.
                    let (left, right) = (first.wrapping_add(second), third.wrapping_add(fourth));
                    *sum = sum.wrapping_add(left.wrapping_add(right));
                }
            }
            for id in rest {
                for (sum, code) in block_sums.iter_mut().zip(row(*id)) {
                    *sum = sum.wrapping_add(i16::from(*code));
                }
            }
            for (sum, block_sum) in sums.iter_mut().zip(&*block_sums) {
                *sum += i64::from(*block_sum);
            }
        }
    }
}
