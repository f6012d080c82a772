//! What blocking declarations leave behind: indexes and fitted tables, ready to be used by later stages.

use std::collections::{BTreeMap, HashMap};
use std::sync::{OnceLock, PoisonError, RwLock};

use arrow::array::ArrayRef;
use promptc_store::flows::{Flow, RowId};
use promptc_store::text::TextIndex;
use promptc_store::vectors::{Metric, VectorIndex};

use crate::error::EngineError;
use crate::functions::rendered_keys;
use crate::ops::arms::Query;
use crate::ops::codes::CodeIndex;
use crate::ops::fit_fusion::FittedFusion;
use crate::ops::fit_scorer::FittedScorer;

/// Flow files up to this size are held in memory by the operators that look up their rows; larger ones are read by row.
const IN_MEMORY_BYTES_MAX: u64 = 256 << 20;

/// Something built by an earlier stage.
#[derive(Debug)]
pub enum Artifact {
    /// Collection statistics of an embedder.
    Idf {
        /// `IdfTable` in its stored form.
        bytes: Vec<u8>,
        /// Fingerprint of the node that fitted it.
        fp: [u8; 32],
    },
    /// A scorer of sentences.
    Scorer {
        /// What it was fitted to, and its weights.
        fitted: Box<FittedScorer>,
        /// Fingerprint of the node that fitted it.
        fp: [u8; 32],
    },
    /// Weights of indexes.
    Fusion {
        /// What they were fitted to, and what they gain.
        fitted: Box<FittedFusion>,
        /// Fingerprint of the node that fitted them.
        fp: [u8; 32],
    },
    /// An index.
    Index(Box<IndexArtifact>),
}

/// The structure that finds candidates.
#[derive(Debug)]
pub enum Searcher {
    /// Words.
    Text(Box<TextIndex>),
    /// Vectors.
    Vector(Box<VectorIndex>),
    /// Vectors, by codes that were chosen for them.
    Codes(Box<CodeIndex>),
}

impl Searcher {
    /// Whether vectors are compared by their angle.
    #[must_use]
    pub fn is_by_angle(&self) -> bool {
        match self {
            Self::Text(_) => false,
            Self::Vector(vectors) => vectors.metric() == Metric::Cosine,
            Self::Codes(codes) => codes.stored().metric() == Metric::Cosine,
        }
    }

    /// How it searches, and over what.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Text(words) => {
                let params = words.params();
                let none = || "none".to_owned();
                let (stem, stop) =
                    (params.stem.clone().unwrap_or_else(none), params.stop.clone().unwrap_or_else(none));
                let phrases = if params.positions { ", phrases" } else { "" };
                format!("BM25 of {} texts, stem {stem}, stop {stop}{phrases}", words.rows())
            }
            Self::Vector(vectors) => vectors.describe(),
            Self::Codes(codes) => codes.describe(),
        }
    }
}

/// An index with the rows that it is over.
#[derive(Debug)]
pub struct IndexArtifact {
    /// Finds candidates.
    pub searcher: Searcher,
    flow: Flow,
    fp: [u8; 32],
    /// Row number to row identity.
    row_ids: Vec<RowId>,
    /// Row identity to row number.
    ordinals: HashMap<RowId, u32>,
    /// Row numbers in key order.
    by_key: Vec<u32>,
    /// Place in key order by row number.
    key_ranks: Vec<u32>,
    /// Place of each row's vector by its place in key order, if it has one; empty for words.
    vector_places: OnceLock<Vec<Option<u32>>>,
    /// Columns in memory, by name.
    loaded: RwLock<BTreeMap<String, ArrayRef>>,
}

impl IndexArtifact {
    /// `fp` stands for the index's parameters and the rows of `flow`; `key` are the key columns of the stream. `searcher` may ask for the
    /// place of a row in key order.
    ///
    /// # Errors
    /// A damaged flow file.
    pub fn new(
        searcher: impl FnOnce(&dyn Fn(&RowId) -> Option<u32>) -> Searcher,
        flow: Flow,
        key: &[String],
        fp: [u8; 32],
    ) -> Result<Self, EngineError> {
        let ids = flow.ids().map_err(crate::store_errors::flow)?;
        let ordinals: HashMap<RowId, u32> = ids.iter().copied().zip(0..).collect();
        let keys = row_keys(&flow, key)?;
        let mut by_key: Vec<u32> = (0..keys.len() as u32).collect();
        by_key.sort_by(|left, right| keys[*left as usize].cmp(&keys[*right as usize]));
        let mut key_ranks = vec![0; by_key.len()];
        for (rank, ordinal) in (0..).zip(&by_key) {
            key_ranks[*ordinal as usize] = rank;
        }
        let rank = |row: &RowId| ordinals.get(row).map(|ordinal| key_ranks[*ordinal as usize]);
        let searcher = searcher(&rank);
        Ok(Self {
            searcher,
            flow,
            fp,
            row_ids: ids,
            ordinals,
            by_key,
            key_ranks,
            vector_places: OnceLock::new(),
            loaded: RwLock::default(),
        })
    }

    /// Stands for everything that decides what a search returns.
    #[must_use]
    pub fn fp(&self) -> [u8; 32] {
        self.fp
    }

    /// The rows that the index is over.
    #[must_use]
    pub fn flow(&self) -> &Flow {
        &self.flow
    }

    /// Number of rows.
    #[must_use]
    pub fn row_count(&self) -> u32 {
        self.by_key.len() as u32
    }

    /// Place in key order of a row; equal scores are ordered by it.
    #[must_use]
    pub fn key_rank(&self, row: &RowId) -> Option<u32> {
        self.ordinals.get(row).map(|ordinal| self.key_ranks[*ordinal as usize])
    }

    /// Identity of the row at a place in key order.
    #[must_use]
    pub fn row_id(&self, rank: u32) -> Option<RowId> {
        let ordinal = *self.by_key.get(rank as usize)?;
        self.row_ids.get(ordinal as usize).copied()
    }

    /// Exact scores of the rows at these places in key order; `None` for a row without a vector.
    ///
    /// # Errors
    /// [`EngineError::Internal`] for a query of another kind than the index's; what the index says.
    pub fn scores(&self, query: &Query<'_>, ranks: &[u32]) -> Result<Vec<Option<f64>>, EngineError> {
        let vectors = match (&self.searcher, query) {
            (Searcher::Text(words), Query::Text(query)) => {
                let rows: Vec<RowId> = ranks.iter().filter_map(|rank| self.row_id(*rank)).collect();
                let scores = words.scores(query, &rows).map_err(crate::store_errors::text)?;
                return Ok(scores.into_iter().map(Some).collect());
            }
            (Searcher::Vector(vectors), _) => vectors.vectors(),
            (Searcher::Codes(codes), _) => codes.stored().vectors(),
            (Searcher::Text(_), Query::Vector(_)) => {
                return Err(EngineError::internal("retrieve", "a vector cannot query a text index"));
            }
        };
        let Query::Vector(query) = query else {
            return Err(EngineError::internal("retrieve", "a text without an embedder"));
        };
        let places = self.vector_places.get_or_init(|| {
            let rows: Vec<RowId> = (0..).map_while(|rank| self.row_id(rank)).collect();
            vectors.places(&rows)
        });
        let score = |rank: &u32| Some(vectors.score(query, (*places.get(*rank as usize)?)? as usize));
        Ok(ranks.iter().map(score).collect())
    }

    /// Reads columns that [`Self::rows`] will be asked for into memory, if their file is small enough to be held there.
    ///
    /// # Errors
    /// A damaged flow file.
    pub fn prepare(&self, columns: &[String]) -> Result<(), EngineError> {
        let is_small =
            std::fs::metadata(self.flow.path()).is_ok_and(|file| file.len() <= IN_MEMORY_BYTES_MAX);
        if !is_small {
            return Ok(());
        }
        let mut loaded = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        let missing: Vec<String> =
            columns.iter().filter(|column| !loaded.contains_key(*column)).cloned().collect();
        if !missing.is_empty() {
            let batch = self.flow.load(&missing).map_err(crate::store_errors::flow)?;
            loaded.extend(missing.into_iter().zip(batch.columns().iter().cloned()));
        }
        Ok(())
    }

    /// The columns of the rows at these places in key order, in the order asked for: from memory if they were prepared,
    /// else from the pages of the file that hold them.
    ///
    /// # Errors
    /// A damaged flow file.
    pub fn rows(&self, ranks: &[u32], columns: &[String]) -> Result<Vec<ArrayRef>, EngineError> {
        let ordinals: Vec<u32> = ranks.iter().map(|rank| self.by_key[*rank as usize]).collect();
        let loaded: Option<Vec<ArrayRef>> = {
            let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
            columns.iter().map(|column| loaded.get(column).cloned()).collect()
        };
        let Some(loaded) = loaded else {
            let batch = self.flow.take(&ordinals, columns).map_err(crate::store_errors::flow)?;
            return Ok(batch.columns().to_vec());
        };
        let indices = arrow::array::UInt32Array::from(ordinals);
        let taken: Result<Vec<ArrayRef>, _> =
            loaded.iter().map(|column| arrow::compute::take(column, &indices, None)).collect();
        Ok(taken?)
    }
}

/// The bytes that sort as the keys of a flow's rows do, in file order.
///
/// # Errors
/// A damaged flow file.
pub fn row_keys(flow: &Flow, key: &[String]) -> Result<Vec<Vec<u8>>, EngineError> {
    let mut keys = Vec::new();
    if key.is_empty() {
        return Ok((0..flow.rows()).map(|row| row.to_be_bytes().to_vec()).collect());
    }
    for batch in flow.stream(Some(key)).map_err(crate::store_errors::flow)? {
        let batch = batch.map_err(crate::store_errors::flow)?;
        keys.extend(rendered_keys(batch.columns(), batch.num_rows())?.into_iter().map(|(bytes, _)| bytes));
    }
    Ok(keys)
}
