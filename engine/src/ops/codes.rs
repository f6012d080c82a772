//! Index kind `auto`: codes in memory over the vectors of a stored index, and how they were chosen.
//!
//! ```text
//! stored vectors --key order--> codes --recall measured on rows of the index--> structure --query--> places --exact scores--> rows
//! ```
//! The codes are made anew from the stored vectors whenever a program runs (a second for a million rows), in the order of the keys: the
//! same rows give the same answers, whatever came and went before. What was measured is kept, and measured again for other rows.
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

use promptc_models::nearest::{
    self, NearestError, NearestOptions, Originals, RowMask, Scratch, Tuning, VectorIndex as Codes,
};
use promptc_store::flows::RowId;
use promptc_store::vectors::{ExactVectors, Metric, VectorIndex};

/// Below so many rows a comparison with every vector takes no longer than an embedding of the query.
const ROWS_MIN: usize = 1_000;
/// Rows that stand for queries when recall is measured.
const QUERIES: usize = 200;
/// Neighbours of a query for which recall is measured.
const MEASURED_K: usize = 100;
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
    target: f64,
}

/// What was measured, in its stored form.
pub type StoredTuning = Vec<u8>;

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

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl CodeIndex {
    /// Makes the codes of `stored`, whose rows in key order are those that `rank` counts, and chooses their structure: by what was
    /// measured before (`known`), or by measuring, which the second result then holds. The third is what the user should know.
    pub fn new(
        stored: VectorIndex,
        rank: impl Fn(&RowId) -> Option<u32>,
        target: f64,
        known: Option<&[u8]>,
    ) -> (Self, Option<StoredTuning>, Option<String>) {
        let vectors = stored.vectors().clone();
        let mut ranked: Vec<(u32, u32)> =
            vectors.rows().iter().zip(0..).filter_map(|(row, place)| Some((rank(row)?, place))).collect();
        ranked.sort_unstable();
        let places: Vec<u32> = ranked.into_iter().map(|(_, place)| place).collect();
        let mut index = Self { stored, codes: None, places, target };
        if index.places.len() < ROWS_MIN {
            return (index, None, None);
        }
        match index.choose(&vectors, known) {
            Ok((codes, tuning)) => {
                index.codes = Some(codes);
                (index, tuning, None)
            }
            Err(error) => (index, None, Some(format!("W2301: {error}: searched exactly"))),
        }
    }

    fn choose(
        &self,
        vectors: &ExactVectors,
        known: Option<&[u8]>,
    ) -> Result<(Codes, Option<StoredTuning>), NearestError> {
        let options = NearestOptions {
            metric: match self.stored.metric() {
                Metric::Cosine => nearest::Metric::Cosine,
                Metric::Dot => nearest::Metric::Dot,
                Metric::L2 => nearest::Metric::L2,
            },
            dim: vectors.dim(),
            seed: 0,
            structure: None,
        };
        let ids: Vec<u64> = (0..self.places.len() as u64).collect();
        let mut ordered = Vec::with_capacity(self.places.len() * vectors.dim());
        self.places.iter().for_each(|place| ordered.extend_from_slice(vectors.vector(*place as usize)));
        let mut codes = Codes::build(options, &ids, &ordered)?;
        drop(ordered);
        let known = known.and_then(|bytes| self.parse(bytes));
        if known.is_some_and(|known| codes.apply(&known).is_ok()) {
            return Ok((codes, None));
        }
        let originals = ByRank { vectors, places: &self.places };
        let step = self.places.len().div_ceil(QUERIES);
        let queries = self.places.iter().step_by(step).map(|place| vectors.vector(*place as usize));
        let queries: Vec<&[f32]> = queries.collect();
        let k = MEASURED_K as f64;
        codes.calibrate(&queries, MEASURED_K + 1, (k * self.target + 1.0) / (k + 1.0), &originals)?;
        let tuning = codes.tuning().and_then(|tuning| serde_json::to_vec(&(FORMAT, tuning)).ok());
        Ok((codes, tuning))
    }

    /// What was measured, if it is for these rows.
    fn parse(&self, bytes: &[u8]) -> Option<Tuning> {
        let (format, tuning): (u32, Tuning) = serde_json::from_slice(bytes).ok()?;
        (format == FORMAT && tuning.calibration.rows == self.places.len()).then_some(tuning)
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
        let lists = if stats.lists > 0 { format!(" in {} lists", stats.lists) } else { String::new() };
        format!(
            "{}{lists}, {} vectors of {}, {}; recall@{MEASURED_K} {:.3} (at least {:.3}) on {} rows as queries, {:.1} MB of codes",
            stats.structure.name(),
            vectors.len(),
            vectors.dim(),
            self.stored.metric().name(),
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
