//! Which stored vectors are nearest to a query?
//!
//! An index over codes that chooses its structure by cost at a recall that was measured:
//!
//! | structure | codes | a search |
//! |---|---|---|
//! | [`Structure::Scan`] | 8 bits a number, in blocks of rows | all rows by 8-bit sums, then exact scores of half as many more as are wanted |
//! | [`Structure::Bits`] | 1 bit a number in blocks; 8 bits row by row | all rows by 1-bit sums, the best by 8-bit sums, then exact scores |
//! | [`Structure::Lists`] | the same, 1 bit a number by list | the rows of the near lists by 1-bit sums, then as above |
//! | [`Structure::Graph`] | 8 bits row by row, with links to near rows | the rows along the links by 8-bit sums, then exact scores |
//!
//! The vectors themselves stay with the caller ([`Originals`]): of 256 numbers and more, codes take less than a third of their bytes. Rows
//! are added, replaced and removed in place, a [`RowMask`] filters within the scan, and a batch of queries shares it where all rows are
//! scanned. A search is deterministic: sums are whole numbers, and what is not is added in one order on every processor. What
//! [`VectorIndex::calibrate`] chose is a [`Tuning`], which an index that is built again takes over.
//!
//! # Decisions
//! *Cost.* The choice is made by a model of the cost and not by a clock, so that equal rows give equal answers on every machine.
//! Its constants are in `cost.rs`.
//!
//! *Lists or graph.* 100,000 clustered vectors of 256 numbers at a recall of 0.98, one thread with AVX-512: all rows by 1-bit codes
//! 87 us, lists 25 us; a graph 110 us at 0.993. Lists are made in 0.6 s, a graph in 20 s. So a graph is tried only
//! where there are many more rows, or by its name. Vectors without structure have neither lists nor links that help: at 10,000
//! of them a graph finds 0.55 of the neighbours with a beam of 50, and the scan by 8-bit codes is chosen.
//!
//! *Removal.* The last row takes the place of a removed one: no tombstones, so that neither memory nor recall depends on what was
//! there before. A graph alone keeps what is gone, until it is a fifth.
//!
//! *Ties.* Rows with equal scores are ordered by id, but which of more than fit are found is not defined: a caller that needs all
//! ties compares with every vector.

mod best;
mod bits;
mod bytes;
mod calibrate;
mod cost;
mod error;
mod finder;
mod graph;
mod kmeans;
mod lists;
mod probe;
mod rows;
mod scan;
mod search;
mod slots;
mod space;
mod trial;
mod tuning;

use promptc_kernels::BLOCK_ROWS;
use serde::{Deserialize, Serialize};

use bytes::ByteCodes;
pub use calibrate::Calibration;
pub use error::NearestError;
use finder::{Effort, Finder};
use graph::Graph;
pub use graph::GraphShape;
pub use rows::RowMask;
use rows::Rows;
pub use search::Scratch;
pub use space::Metric;
use space::Space;
pub use tuning::Tuning;

/// Above so many rows an index that was not calibrated has 1-bit codes: below, the 8-bit codes fit the second cache.
const SCAN_ROWS_MAX: usize = 4_096;
/// Shortest vector with 1-bit codes: of shorter ones a rotation leaves some far from normal, and the estimate is far off.
pub const BITS_DIM_MIN: usize = 32;
/// Most rows: their numbers fit 32 bits with room for the padding of a block.
const ROWS_MAX: usize = u32::MAX as usize - BLOCK_ROWS;
/// Longest vector: sums of 1-bit codes fit 16 bits.
pub const DIM_MAX: usize = 4_096;

/// How an index finds its candidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Structure {
    /// All rows by 8-bit codes.
    #[serde(rename = "scan_8bit")]
    Scan,
    /// All rows by 1-bit codes, the best of them by 8-bit codes.
    #[serde(rename = "scan_1bit")]
    Bits,
    /// The rows of some lists by 1-bit codes, the best of them by 8-bit codes.
    #[serde(rename = "lists_1bit")]
    Lists,
    /// Rows along links to near rows by 8-bit codes: HNSW.
    #[serde(rename = "graph_8bit")]
    Graph,
}

impl Structure {
    /// Whether there are 1-bit codes.
    fn has_bits(self) -> bool {
        matches!(self, Self::Bits | Self::Lists)
    }

    /// Name in outputs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scan => "scan_8bit",
            Self::Bits => "scan_1bit",
            Self::Lists => "lists_1bit",
            Self::Graph => "graph_8bit",
        }
    }
}

/// What an index is made with.
#[derive(Debug, Clone, PartialEq)]
pub struct NearestOptions {
    /// How vectors are compared.
    pub metric: Metric,
    /// Numbers per vector, 1 to [`DIM_MAX`].
    pub dim: usize,
    /// Seed of the rotation.
    pub seed: u64,
    /// The structure, if it is asked for by name; else the index chooses.
    pub structure: Option<Structure>,
    /// Of a graph, if one is made.
    pub graph: GraphShape,
}

/// A row that was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Neighbour {
    /// Of the row.
    pub id: u64,
    /// By the metric; greater is better.
    pub score: f64,
}

impl Neighbour {
    /// Score descending, then id.
    fn rank(&self, other: &Self) -> std::cmp::Ordering {
        other.score.total_cmp(&self.score).then(self.id.cmp(&other.id))
    }
}

/// The vectors that the codes of an index stand for.
pub trait Originals {
    /// The vector of this id, of the index's dimension.
    fn vector(&self, id: u64) -> Option<&[f32]>;
}

/// Looks on while the links of a graph are found: is told how many rows have theirs, and how many there are, and says whether to go on.
pub type Watch<'a> = &'a dyn Fn(usize, usize) -> bool;

/// Nobody looks on.
pub const UNWATCHED: Watch<'static> = &|_, _| true;

/// An index over vectors.
#[derive(Debug, Clone)]
pub struct VectorIndex {
    options: NearestOptions,
    space: Space,
    rows: Rows,
    /// One for each row, up to whole blocks; behind the rows no score is above any threshold.
    offsets: Vec<f32>,
    bytes: ByteCodes,
    finder: Finder,
    effort: Effort,
    calibration: Option<Calibration>,
    /// Rows that came, went or changed since the last calibration.
    churn: usize,
    /// Counts changes, so that an old [`RowMask`] is noticed.
    generation: u64,
}

/// What an index is at the moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NearestStats {
    /// Rows.
    pub rows: usize,
    /// How candidates are found.
    pub structure: Structure,
    /// Rows of 1-bit codes whose 8-bit scores are computed; 0 for a scan by 8-bit codes.
    pub reranked: usize,
    /// Best rows that a walk through the graph keeps (`ef`); 0 for other structures.
    pub beam: usize,
    /// Lists of the rows; 0 for other structures.
    pub lists: usize,
    /// What was measured last.
    pub calibration: Option<Calibration>,
    /// Share of the rows that came, went or changed since then.
    pub churn: f64,
    /// Bytes of codes, ids and factors in memory.
    pub memory_bytes: usize,
}

impl VectorIndex {
    /// An index over `vectors`, `[ids, dim]` row by row. Cost: two passes over the vectors; a graph, if it is asked for by name.
    ///
    /// # Errors
    /// [`NearestError::Unsupported`], [`NearestError::Shape`], [`NearestError::Short`], [`NearestError::Dim`] if `vectors` is not as long
    /// as said, [`NearestError::Number`], [`NearestError::Duplicate`], [`NearestError::Full`].
    pub fn build(options: NearestOptions, ids: &[u64], vectors: &[f32]) -> Result<Self, NearestError> {
        Self::build_watched(options, ids, vectors, UNWATCHED)
    }

    /// The same with somebody who looks on while a graph is made.
    ///
    /// # Errors
    /// [`NearestError::Stopped`] if `watch` says so; the others of [`Self::build`].
    pub fn build_watched(
        options: NearestOptions,
        ids: &[u64],
        vectors: &[f32],
        watch: Watch<'_>,
    ) -> Result<Self, NearestError> {
        let is_small = ids.len() <= SCAN_ROWS_MAX || options.dim < BITS_DIM_MIN;
        let structure = options.structure.unwrap_or(if is_small { Structure::Scan } else { Structure::Bits });
        let mut index = Self::of_codes(options, structure, ids, vectors)?;
        index.finder = index.finder_of(structure, watch)?;
        Ok(index)
    }

    /// The same with the graph that [`Self::graph_bytes`] gave for equal rows in equal order and equal options. Cost: one pass over the
    /// vectors and the bytes.
    ///
    /// # Errors
    /// [`NearestError::Graph`] if the bytes are not of a graph over so many rows with these ids; the others of [`Self::build`].
    pub fn build_with_graph(
        options: NearestOptions,
        ids: &[u64],
        vectors: &[f32],
        graph: &[u8],
    ) -> Result<Self, NearestError> {
        if options.structure.is_some_and(|structure| structure != Structure::Graph) {
            return Err(NearestError::Graph);
        }
        let mut index = Self::of_codes(options, Structure::Graph, ids, vectors)?;
        let Self { rows, options, .. } = &index;
        let graph =
            Graph::from_bytes(graph, rows.ids(), options.seed, options.graph).ok_or(NearestError::Graph)?;
        index.finder = Finder::Graph(Box::new(graph));
        Ok(index)
    }

    /// The links of the graph; `None` for another structure, and where rows were removed since it was made. Of the default shape about 100 bytes a row.
    #[must_use]
    pub fn graph_bytes(&self) -> Option<Vec<u8>> {
        match &self.finder {
            Finder::Graph(graph) => graph.to_bytes(),
            _ => None,
        }
    }

    /// The codes that a structure needs, without what finds candidates among them.
    fn of_codes(
        options: NearestOptions,
        structure: Structure,
        ids: &[u64],
        vectors: &[f32],
    ) -> Result<Self, NearestError> {
        let dim = options.dim;
        if !(1..=DIM_MAX).contains(&dim) {
            return Err(NearestError::Unsupported { dim });
        }
        if ids.len() > ROWS_MAX {
            return Err(NearestError::Full);
        }
        if vectors.len() != ids.len() * dim {
            return Err(NearestError::Dim { found: vectors.len(), expected: ids.len() * dim });
        }
        if !options.graph.is_possible() {
            return Err(NearestError::Shape { links: options.graph.links });
        }
        vectors.chunks_exact(dim).try_for_each(|vector| space::check(vector, dim))?;
        if structure.has_bits() && dim < BITS_DIM_MIN {
            return Err(NearestError::Short { dim });
        }
        let mut index = Self {
            space: Space::of(options.metric, dim, vectors),
            rows: Rows::default(),
            offsets: Vec::new(),
            bytes: ByteCodes::new(finder::layout_of(structure), dim),
            finder: Finder::Scan,
            effort: Effort::START,
            calibration: None,
            churn: 0,
            generation: 0,
            options,
        };
        index.reserve_exact(ids.len());
        let mut placed = vec![0.0; dim];
        for (id, vector) in ids.iter().zip(vectors.chunks_exact(dim)) {
            index.insert(*id, vector, &mut placed)?;
        }
        index.churn = 0;
        Ok(index)
    }

    fn reserve_exact(&mut self, rows: usize) {
        self.rows.reserve_exact(rows);
        self.offsets.reserve_exact(rows.next_multiple_of(BLOCK_ROWS).saturating_sub(self.offsets.len()));
        self.bytes.reserve_exact(rows);
    }

    /// Adds a row. Cost: one pass over the vector; with 1-bit codes also its rotation.
    ///
    /// # Errors
    /// [`NearestError::Duplicate`] if the id is there, [`NearestError::Dim`], [`NearestError::Number`], [`NearestError::Full`];
    /// the index is as it was.
    pub fn add(&mut self, id: u64, vector: &[f32]) -> Result<(), NearestError> {
        space::check(vector, self.options.dim)?;
        self.insert(id, vector, &mut vec![0.0; self.options.dim])?;
        self.refresh();
        Ok(())
    }

    fn insert(&mut self, id: u64, vector: &[f32], placed: &mut [f32]) -> Result<(), NearestError> {
        if self.rows.find(id).is_some() {
            return Err(NearestError::Duplicate { id });
        }
        if self.rows.ids().len() >= ROWS_MAX {
            return Err(NearestError::Full);
        }
        let row = self.rows.push(id);
        self.resize();
        self.set(row, vector, placed);
        Ok(())
    }

    /// Gives a row another vector.
    ///
    /// # Errors
    /// [`NearestError::Absent`], [`NearestError::Dim`], [`NearestError::Number`]; the index is as it was.
    pub fn update(&mut self, id: u64, vector: &[f32]) -> Result<(), NearestError> {
        space::check(vector, self.options.dim)?;
        let mut row = self.rows.find(id).ok_or(NearestError::Absent { id })?;
        if let Finder::Graph(graph) = &mut self.finder {
            // The links of the row are those of its old place: it is buried there, and comes again.
            graph.remove(row);
            self.rows.bury(row);
            row = self.rows.push(id);
            self.resize();
        } else {
            self.finder.leave(row, &self.bytes);
        }
        self.set(row, vector, &mut vec![0.0; self.options.dim]);
        self.refresh();
        Ok(())
    }

    /// Removes a row.
    ///
    /// # Errors
    /// [`NearestError::Absent`].
    pub fn remove(&mut self, id: u64) -> Result<(), NearestError> {
        let row = self.rows.find(id).ok_or(NearestError::Absent { id })?;
        let last = self.rows.ids().len() - 1;
        self.finder.remove(row, last, &self.bytes);
        if let Finder::Graph(_) = &self.finder {
            self.rows.bury(row);
        } else {
            self.rows.swap_remove(row);
            self.offsets[row] = self.offsets[last];
            self.bytes.copy(last, row);
            self.resize();
        }
        self.changed();
        self.refresh();
        Ok(())
    }

    /// Brings the columns of rows to the number of rows.
    fn resize(&mut self) {
        let rows = self.rows.ids().len();
        self.offsets.resize(rows.next_multiple_of(BLOCK_ROWS), f32::NEG_INFINITY);
        self.offsets[rows..].fill(f32::NEG_INFINITY);
        self.bytes.resize(rows);
    }

    fn set(&mut self, row: usize, vector: &[f32], placed: &mut [f32]) {
        self.offsets[row] = self.space.place_row(vector, placed);
        self.bytes.set(row, placed);
        self.finder.set(row, self.rows.ids()[row], &self.bytes, &self.offsets);
        self.changed();
    }

    fn changed(&mut self) {
        self.churn += 1;
        self.generation += 1;
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a row has this id.
    pub fn contains(&self, id: u64) -> bool {
        self.rows.find(id).is_some()
    }

    /// How candidates are found at the moment.
    pub fn structure(&self) -> Structure {
        self.finder.structure()
    }

    /// The rows whose ids are allowed, for searches until the index changes. Cost: one call a row.
    pub fn mask(&self, is_allowed: impl Fn(u64) -> bool) -> RowMask {
        let ids = self.rows.ids();
        match &self.finder {
            Finder::Scan | Finder::Bits(_) => {
                RowMask::new(ids.len(), self.generation, |row| is_allowed(ids[row]))
            }
            Finder::Graph(graph) => {
                RowMask::new(ids.len(), self.generation, |row| graph.is_present(row) && is_allowed(ids[row]))
            }
            Finder::Lists(lists) => {
                let id = |slot: usize| ids.get(lists.rows[slot] as usize);
                RowMask::new(lists.rows.len(), self.generation, |slot| {
                    id(slot).is_some_and(|id| is_allowed(*id))
                })
            }
        }
    }

    /// What the index is at the moment.
    pub fn stats(&self) -> NearestStats {
        NearestStats {
            rows: self.len(),
            structure: self.structure(),
            reranked: if self.structure().has_bits() { self.effort.rerank } else { 0 },
            beam: if self.structure() == Structure::Graph { self.effort.beam } else { 0 },
            lists: if let Finder::Lists(lists) = &self.finder { lists.count() } else { 0 },
            calibration: self.calibration,
            churn: self.churn as f64 / self.len().max(1) as f64,
            memory_bytes: self.bytes.memory_bytes()
                + self.offsets.capacity() * size_of::<f32>()
                + self.finder.memory_bytes()
                + self.rows.memory_bytes(),
        }
    }
}
