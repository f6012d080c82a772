//! What finds the candidates of a search, and how hard it looks.

use super::bits::BitCodes;
use super::bytes::{ByteCodes, Layout};
use super::lists::Lists;
use super::{Structure, VectorIndex};

/// What stands beside the 8-bit codes. All of it is made from them and from the offsets, in the order of the rows.
#[derive(Debug, Clone)]
pub(super) enum Finder {
    /// Nothing: the 8-bit codes are scanned.
    Scan,
    /// 1-bit codes by row.
    Bits(BitRows),
    /// 1-bit codes by list.
    Lists(Box<Lists>),
}

/// 1-bit codes of the rows, with room to make them.
#[derive(Debug, Clone)]
pub(super) struct BitRows {
    pub(super) codes: BitCodes,
    values: Vec<f32>,
    rotated: Vec<f32>,
}

/// How much of the candidates a search looks at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Effort {
    /// Rows whose 8-bit scores are computed for [`Self::k`] neighbours.
    pub(super) rerank: usize,
    /// Neighbours that `rerank` is meant for.
    pub(super) k: usize,
    /// How far below the best lists a list may rank and still be looked at: see [`Lists::near`].
    pub(super) gap: f32,
}

impl Effort {
    /// Before calibration: enough for a recall of 0.98 on clustered vectors.
    pub(super) const START: Self = Self { rerank: 160, k: 10, gap: 0.25 };
}

impl BitRows {
    pub(super) fn new(bytes: &ByteCodes, rows: usize, dim: usize, seed: u64) -> Self {
        let mut bits = Self { codes: BitCodes::new(dim, seed), values: vec![0.0; dim], rotated: Vec::new() };
        bits.codes.reserve_exact(rows);
        bits.codes.resize(rows);
        (0..rows).for_each(|row| bits.write(row, bytes));
        bits
    }

    fn write(&mut self, row: usize, bytes: &ByteCodes) {
        bytes.decode(row, &mut self.values);
        self.codes.set(row, &self.values, &mut self.rotated);
    }
}

impl Finder {
    pub(super) fn structure(&self) -> Structure {
        match self {
            Self::Scan => Structure::Scan,
            Self::Bits(_) => Structure::Bits,
            Self::Lists(_) => Structure::Lists,
        }
    }

    /// Takes a row whose 8-bit codes were written: one of those that are there, or the next.
    pub(super) fn set(&mut self, row: usize, bytes: &ByteCodes, offset: f32) {
        match self {
            Self::Scan => {}
            Self::Bits(bits) => {
                bits.codes.resize(bytes.rows());
                bits.write(row, bytes);
            }
            Self::Lists(lists) => lists.set(row, bytes, offset),
        }
    }

    /// Forgets a row; the last one, `last`, gets its number.
    pub(super) fn remove(&mut self, row: usize, last: usize) {
        match self {
            Self::Scan => {}
            Self::Bits(bits) => {
                bits.codes.copy(last, row);
                bits.codes.resize(last);
            }
            Self::Lists(lists) => lists.remove(row, last),
        }
    }

    /// The 1-bit codes, if there are any.
    #[inline]
    pub(super) fn bits(&self) -> Option<&BitCodes> {
        match self {
            Self::Scan => None,
            Self::Bits(bits) => Some(&bits.codes),
            Self::Lists(lists) => Some(&lists.bits),
        }
    }

    /// Bytes in memory.
    pub(super) fn memory_bytes(&self) -> usize {
        match self {
            Self::Scan => 0,
            Self::Bits(bits) => bits.codes.memory_bytes(),
            Self::Lists(lists) => lists.memory_bytes(),
        }
    }
}

impl VectorIndex {
    /// What finds candidates by this structure, for the rows as they are.
    pub(super) fn finder_of(&self, structure: Structure) -> Finder {
        let (rows, dim, seed) = (self.len(), self.options.dim, self.options.seed);
        match structure {
            Structure::Scan => Finder::Scan,
            Structure::Bits => Finder::Bits(BitRows::new(&self.bytes, rows, dim, seed)),
            Structure::Lists => {
                Finder::Lists(Box::new(Lists::new(&self.bytes, &self.offsets, rows, dim, seed)))
            }
        }
    }

    /// Gives the index another finder, and its 8-bit codes the layout that it needs.
    pub(super) fn find_by(&mut self, finder: Finder) {
        let layout = layout_of(finder.structure());
        if self.bytes.layout != layout {
            self.bytes = self.bytes.in_layout(layout, self.len());
        }
        self.finder = finder;
        self.generation += 1;
    }

    /// Makes lists again when the rows are no longer those that they were made for.
    pub(super) fn refresh(&mut self) {
        if matches!(&self.finder, Finder::Lists(lists) if lists.are_old()) {
            self.finder = self.finder_of(Structure::Lists);
        }
    }
}

/// Where the 8-bit codes of a structure stand.
pub(super) fn layout_of(structure: Structure) -> Layout {
    match structure {
        Structure::Scan => Layout::Blocks,
        Structure::Bits | Structure::Lists => Layout::Rows,
    }
}
