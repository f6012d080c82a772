//! What finds the candidates of a search, and how hard it looks.

use super::bits::BitCodes;
use super::bytes::{ByteCodes, Layout};
use super::graph::{Codes, Graph};
use super::lists::Lists;
use super::{NearestError, Structure, UNWATCHED, VectorIndex, Watch};

/// What stands beside the 8-bit codes. All of it is made from them and from the offsets, in the order of the rows.
#[derive(Debug, Clone)]
pub(super) enum Finder {
    /// Nothing: the 8-bit codes are scanned.
    Scan,
    /// 1-bit codes by row.
    Bits(BitRows),
    /// 1-bit codes by list.
    Lists(Box<Lists>),
    /// Links between rows.
    Graph(Box<Graph>),
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
    /// Best rows that a walk through the graph keeps: `ef`.
    pub(super) beam: usize,
}

impl Effort {
    /// Before calibration: enough for a recall of 0.98 on clustered vectors.
    pub(super) const START: Self = Self { rerank: 160, k: 10, gap: 0.25, beam: 50 };
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
            Self::Graph(_) => Structure::Graph,
        }
    }

    /// Takes a row whose 8-bit codes were written: one of those that are there, or the next.
    pub(super) fn set(&mut self, row: usize, id: u64, bytes: &ByteCodes, offsets: &[f32]) {
        match self {
            Self::Scan => {}
            Self::Bits(bits) => {
                bits.codes.resize(bytes.rows());
                bits.write(row, bytes);
            }
            Self::Lists(lists) => lists.add(row, bytes, offsets[row]),
            Self::Graph(graph) => graph.insert(id, Codes { bytes, offsets }),
        }
    }

    /// Makes ready for other 8-bit codes of a row, which [`Self::set`] then takes.
    pub(super) fn leave(&mut self, row: usize, bytes: &ByteCodes) {
        if let Self::Lists(lists) = self {
            lists.remove(row, bytes);
        }
    }

    /// Forgets a row, whose 8-bit codes are still there; the last one, `last`, gets its number, except in a graph, where all keep theirs.
    pub(super) fn remove(&mut self, row: usize, last: usize, bytes: &ByteCodes) {
        match self {
            Self::Scan => {}
            Self::Bits(bits) => {
                bits.codes.copy(last, row);
                bits.codes.resize(last);
            }
            Self::Lists(lists) => {
                lists.remove(row, bytes);
                if row != last {
                    lists.renumber(last, row, bytes);
                }
            }
            Self::Graph(graph) => graph.remove(row),
        }
    }

    /// The 1-bit codes, if there are any.
    #[inline]
    pub(super) fn bits(&self) -> Option<&BitCodes> {
        match self {
            Self::Scan | Self::Graph(_) => None,
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
            Self::Graph(graph) => graph.memory_bytes(),
        }
    }
}

impl VectorIndex {
    /// What finds candidates by this structure, for the rows as they are, of which none is buried.
    ///
    /// # Errors
    /// [`NearestError::Stopped`] if `watch` says so.
    pub(super) fn finder_of(&self, structure: Structure, watch: Watch<'_>) -> Result<Finder, NearestError> {
        debug_assert_eq!(self.len(), self.rows.ids().len(), "no row is buried");
        let (rows, dim, seed) = (self.len(), self.options.dim, self.options.seed);
        Ok(match structure {
            Structure::Scan => Finder::Scan,
            Structure::Bits => Finder::Bits(BitRows::new(&self.bytes, rows, dim, seed)),
            Structure::Lists => {
                Finder::Lists(Box::new(Lists::new(&self.bytes, &self.offsets, rows, dim, seed)))
            }
            Structure::Graph => {
                let graph = Graph::new(self.rowwise(), self.rows.ids(), seed, self.options.graph, watch);
                Finder::Graph(Box::new(graph.ok_or(NearestError::Stopped)?))
            }
        })
    }

    /// Gives the 8-bit codes the layout that a structure needs.
    pub(super) fn lay_out(&mut self, structure: Structure) {
        let layout = layout_of(structure);
        if self.bytes.layout != layout {
            self.bytes = self.bytes.in_layout(layout, self.rows.ids().len());
        }
    }

    /// Gives the index another finder.
    pub(super) fn find_by(&mut self, finder: Finder) {
        self.lay_out(finder.structure());
        self.finder = finder;
        self.generation += 1;
    }

    /// The 8-bit codes, as a graph takes them.
    pub(super) fn rowwise(&self) -> Codes<'_> {
        Codes { bytes: &self.bytes, offsets: &self.offsets }
    }

    /// Makes lists or a graph again when the rows are no longer those that they were made for.
    pub(super) fn refresh(&mut self) {
        let is_old = match &self.finder {
            Finder::Lists(lists) => lists.are_old(),
            Finder::Graph(graph) => graph.is_old(),
            _ => false,
        };
        if is_old {
            self.unbury();
            if let Ok(finder) = self.finder_of(self.structure(), UNWATCHED) {
                self.finder = finder;
            }
        }
    }

    /// Removes the rows that are gone but were kept for a graph: the last rows take their places. The graph has to be made again.
    pub(super) fn unbury(&mut self) {
        let Finder::Graph(graph) = &self.finder else { return };
        for row in (0..self.rows.ids().len()).rev().filter(|row| !graph.is_present(*row)) {
            let last = self.rows.ids().len() - 1;
            self.rows.drop_buried(row);
            self.offsets[row] = self.offsets[last];
            self.bytes.copy(last, row);
        }
        self.resize();
    }
}

/// Where the 8-bit codes of a structure stand.
pub(super) fn layout_of(structure: Structure) -> Layout {
    match structure {
        Structure::Scan => Layout::Blocks,
        Structure::Bits | Structure::Lists | Structure::Graph => Layout::Rows,
    }
}
