//! Index kinds `auto` and `hnsw`: codes in memory over the vectors of a stored index, and how they are searched.
//!
//! ```text
//! stored vectors --key order--> codes --recall measured on rows of the index--> structure --query--> places --exact scores--> rows
//!                                 \--asked for by name--> graph, recall measured --/
//! ```
//! The codes are made anew from the stored vectors whenever a program runs (a second for a million rows), in the order of the keys: the
//! same rows give the same answers, whatever came and went before. What was measured is kept, as are the links of a graph, and both are
//! found again for other rows.
//!
//! # Decisions
//! *Queries of the measurement.* Rows of the index stand for queries. Each is its own nearest row, which every structure finds; so one
//! neighbour more is asked for, and the target is raised as if that one were found for nothing.
//!
//! *Neighbours.* Recall is measured for more neighbours than people look at. Where fusion asks for still more, some of the last ones may
//! be missed; one that another index gives gets its exact score all the same.

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;

use promptc_compiler::op::Index;
use promptc_models::nearest::{
    self, GraphShape, NearestError, NearestOptions, Originals, RowMask, Scratch, Structure, Tuning,
    VectorIndex as Codes, Watch,
};
use promptc_store::flows::RowId;
use promptc_store::vectors::{ExactVectors, Metric, VectorIndex};

/// Below so many rows a comparison with every vector takes no longer than an embedding of the query.
const ROWS_MIN: usize = 1_000;
/// Rows that stand for queries when recall is measured.
const QUERIES: usize = 200;
/// Neighbours of a query for which recall is measured.
const MEASURED_K: usize = 100;
/// The same of a graph whose beam is given, which is meant for few.
const MEASURED_K_BY_NAME: usize = 10;
/// A search for a greater share of the rows than one of so many compares with every vector.
const SHARE_MOST: usize = 10;
/// Raised whenever codes or their choice change: what was measured before is then measured again.
const FORMAT: u32 = 2;

/// A stored index with codes over its vectors.
#[derive(Debug)]
pub struct CodeIndex {
    stored: VectorIndex,
    /// `None` for so few rows, or numbers so large, that all are compared.
    codes: Option<Codes>,
    /// Place of a row among the stored vectors, by its rank in key order.
    places: Vec<u32>,
    wanted: Wanted,
}

/// What is asked of the codes of an index.
#[derive(Debug, Clone, Copy)]
pub enum Wanted {
    /// The structure with the least cost at this recall.
    Recall(f64),
    /// A graph.
    Graph {
        /// How it is made.
        shape: GraphShape,
        /// Rows that a search keeps (`ef`).
        beam: usize,
        /// Of its levels.
        seed: u64,
    },
}

/// What was found out of the codes of an index, in its stored form.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    /// The structure, and what was measured.
    pub tuning: Option<Vec<u8>>,
    /// The links of a graph.
    pub graph: Option<Vec<u8>>,
}

struct ByRank<'a> {
    vectors: &'a ExactVectors,
    places: &'a [u32],
}

impl Originals for ByRank<'_> {
    fn vector(&self, id: u64) -> Option<&[f32]> {
        let place = self.places.get(usize::try_from(id).ok()?)?;
        Some(self.vectors.vector(*place as usize))
    }
}

impl Kept {
    /// Whether the index has a graph, whose links are worth to be looked for.
    #[must_use]
    pub fn is_of_graph(&self, params: &Index) -> bool {
        let tuning = || self.tuning.as_ref().and_then(|bytes| stored_tuning(bytes));
        params.kind == "hnsw" || tuning().is_some_and(|tuning| tuning.structure == Structure::Graph)
    }
}

fn stored_tuning(bytes: &[u8]) -> Option<Tuning> {
    let (format, tuning): (u32, Tuning) = serde_json::from_slice(bytes).ok()?;
    (format == FORMAT).then_some(tuning)
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl CodeIndex {
    /// Makes the codes of `stored`, whose rows in key order are those that `rank` counts, and chooses their structure: by what was
    /// found out before (`known`), or by measuring. The second result is what is new, the third what the user should know. Where `watch`
    /// stops the making of a graph, there are no codes, and nothing is new.
    pub fn new(
        stored: VectorIndex,
        rank: impl Fn(&RowId) -> Option<u32>,
        wanted: Wanted,
        known: Kept,
        watch: Watch<'_>,
    ) -> (Self, Kept, Option<String>) {
        let vectors = stored.vectors().clone();
        let mut ranked: Vec<(u32, u32)> =
            vectors.rows().iter().zip(0..).filter_map(|(row, place)| Some((rank(row)?, place))).collect();
        ranked.sort_unstable();
        let places: Vec<u32> = ranked.into_iter().map(|(_, place)| place).collect();
        let mut index = Self { stored, codes: None, places, wanted };
        if index.places.len() < ROWS_MIN {
            return (index, Kept::default(), None);
        }
        match index.choose(&vectors, known, watch) {
            Ok((codes, new)) => {
                index.codes = Some(codes);
                (index, new, None)
            }
            Err(error) => (index, Kept::default(), Some(format!("W2301: {error}: searched exactly"))),
        }
    }

    fn choose(
        &self,
        vectors: &ExactVectors,
        known: Kept,
        watch: Watch<'_>,
    ) -> Result<(Codes, Kept), NearestError> {
        let (structure, graph, seed) = match self.wanted {
            Wanted::Recall(_) => (None, GraphShape::default(), 0),
            Wanted::Graph { shape, seed, .. } => (Some(Structure::Graph), shape, seed),
        };
        let metric = match self.stored.metric() {
            Metric::Cosine => nearest::Metric::Cosine,
            Metric::Dot => nearest::Metric::Dot,
            Metric::L2 => nearest::Metric::L2,
        };
        let options = NearestOptions { metric, dim: vectors.dim(), seed, structure, graph };
        let ids: Vec<u64> = (0..self.places.len() as u64).collect();
        let mut ordered = Vec::with_capacity(self.places.len() * vectors.dim());
        self.places.iter().for_each(|place| ordered.extend_from_slice(vectors.vector(*place as usize)));
        let tuning = known.tuning.as_ref().and_then(|bytes| self.parse(bytes));
        let is_graph =
            structure.is_some() || tuning.is_some_and(|tuning| tuning.structure == Structure::Graph);
        // Links that are not those of these rows are found again.
        let linked = known
            .graph
            .filter(|_| is_graph)
            .and_then(|graph| Codes::build_with_graph(options.clone(), &ids, &ordered, &graph).ok());
        let is_linked = linked.is_some();
        let mut codes = match linked {
            Some(codes) => codes,
            None => Codes::build_watched(options, &ids, &ordered, watch)?,
        };
        drop(ordered);
        let new_graph = |codes: &Codes| if is_linked { None } else { codes.graph_bytes() };
        if tuning.is_some_and(|tuning| codes.apply(&tuning, watch).is_ok()) {
            let graph = new_graph(&codes);
            return Ok((codes, Kept { tuning: None, graph }));
        }
        let originals = ByRank { vectors, places: &self.places };
        let step = self.places.len().div_ceil(QUERIES);
        let queries = self.places.iter().step_by(step).map(|place| vectors.vector(*place as usize));
        let queries: Vec<&[f32]> = queries.collect();
        match self.wanted {
            Wanted::Recall(target) => {
                let k = MEASURED_K as f64;
                codes.calibrate(
                    &queries,
                    MEASURED_K + 1,
                    (k * target + 1.0) / (k + 1.0),
                    &originals,
                    watch,
                )?;
            }
            Wanted::Graph { beam, .. } => {
                codes.measure(beam, &queries, MEASURED_K_BY_NAME + 1, &originals)?;
            }
        }
        let tuning = codes.tuning().and_then(|tuning| serde_json::to_vec(&(FORMAT, tuning)).ok());
        let graph = new_graph(&codes);
        Ok((codes, Kept { tuning, graph }))
    }

    /// What was measured, if it is for these rows.
    fn parse(&self, bytes: &[u8]) -> Option<Tuning> {
        let tuning = stored_tuning(bytes)?;
        let is_wanted = match self.wanted {
            Wanted::Recall(_) => true,
            Wanted::Graph { beam, .. } => tuning.beam == beam,
        };
        (is_wanted && tuning.calibration.rows == self.places.len()).then_some(tuning)
    }

    /// The stored index.
    #[must_use]
    pub fn stored(&self) -> &VectorIndex {
        &self.stored
    }

    /// Restricts searches to some rows; `None` where all are compared anyway.
    #[must_use]
    pub fn mask(&self, allowed: &HashSet<RowId>) -> Option<Arc<RowMask>> {
        let codes = self.codes.as_ref()?;
        let rows = self.stored.vectors().rows();
        let is_allowed = |id: u64| {
            self.places.get(id as usize).is_some_and(|place| allowed.contains(&rows[*place as usize]))
        };
        Some(Arc::new(codes.mask(is_allowed)))
    }

    /// The `k` nearest rows with exact scores, best first, ties by key: all that a comparison with every vector finds, but for the
    /// share that the recall leaves open. `None` where only that comparison answers.
    ///
    /// # Errors
    /// A query that cannot be compared.
    pub fn search(
        &self,
        query: &[f32],
        k: usize,
        mask: Option<&RowMask>,
    ) -> Result<Option<Vec<(RowId, f64)>>, NearestError> {
        let Some(codes) = &self.codes else { return Ok(None) };
        let is_zero = query.iter().all(|value| *value == 0.0);
        if k.saturating_mul(SHARE_MOST) > self.places.len() || is_zero {
            return Ok(None);
        }
        let vectors = self.stored.vectors();
        let originals = ByRank { vectors, places: &self.places };
        let found =
            SCRATCH.with_borrow_mut(|scratch| codes.search(query, k, mask, Some(&originals), scratch))?;
        let places = found.iter().map(|found| self.places[found.id as usize] as usize);
        // Scores of one kind everywhere: those of a comparison with every vector.
        Ok(Some(vectors.rank(query, places, k)))
    }

    /// How it is searched, over what, and what was measured.
    #[must_use]
    pub fn describe(&self) -> String {
        let Some(codes) = &self.codes else { return self.stored.describe() };
        let (stats, vectors) = (codes.stats(), self.stored.vectors());
        let Some(found) = stats.calibration else { return self.stored.describe() };
        let how = match stats.structure {
            Structure::Lists => format!(" in {} lists", stats.lists),
            Structure::Graph => format!(" (ef {})", stats.beam.max(found.k)),
            Structure::Scan | Structure::Bits => String::new(),
        };
        format!(
            "{}{how}, {} vectors of {}, {}; recall@{} {:.3} (at least {:.3}) on {} rows as queries, {:.1} MB of codes",
            stats.structure.name(),
            vectors.len(),
            vectors.dim(),
            self.stored.metric().name(),
            found.k - 1,
            without_self(found.recall, found.k),
            without_self(found.recall_low, found.k),
            found.queries,
            stats.memory_bytes as f64 / 1e6,
        )
    }
}

/// Recall of the neighbours of a row other than itself.
fn without_self(recall: f64, k: usize) -> f64 {
    let k = k as f64;
    ((recall * k - 1.0) / (k - 1.0)).max(0.0)
}
