//! Vector indexes: which vectors are nearest.
//!
//! ```text
//!  rows (~row, key, vector) --update--> Lance dataset: row, key, vec [+ inverted lists, codes], state in its config
//!                                          |  load: verified against a digest
//!                                          v
//!  query --> candidates (all rows, or those that Lance's index names) --> exact scores from memory --> best k, ties by key
//! ```
//!
//! Lance keeps the vectors and, for approximate kinds, the index that names candidates. Every reported score is computed in
//! `f64` from vectors in memory whose digest was compared, so that a score never depends on the index kind, on the history of
//! the dataset or on a damaged index file. The files that name candidates are compared with their seal ([`guard`]): damaged,
//! they could make an approximate search miss a row.
//!
//! # Decisions
//! *State.* The last commit of an update writes the caller's fingerprint into the dataset's config together with the number of
//! the version that this commit makes. A version whose number differs was made by an interrupted update and has no state.
//!
//! *Training.* Lance's k-means starts from the operating system's randomness and cannot be given a seed through the dataset;
//! it does accept centroids and codebooks, so they are trained here ([`train`]). Its HNSW graph is built in an order of insertion that
//! depends on the threads, so that two builds may name different candidates: a graph is made by whoever searches, over these vectors.
//!
//! *Filters.* A search with a filter compares with every allowed row exactly: an index asked for k candidates could return
//! none that is allowed.
//!
//! *Updates.* Rows are appended and deleted in place; the dataset is written anew when more than a quarter of it changes or
//! it has 16 fragments, and an approximate index is trained anew when 10 % of the rows are not in it (Lance searches those
//! exactly). Only the newest version is kept.

mod dataset;
mod distance;
mod durable;
mod exact;
mod guard;
mod train;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, FixedSizeBinaryArray, FixedSizeListArray, RecordBatch,
};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field, Float32Type, Schema, SchemaRef};

use crate::flows::RowId;
use dataset::{Changes, VectorDataset};
pub use distance::Metric;
pub use exact::ExactVectors;
use guard::caught;

/// How candidates are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VectorKind {
    /// By comparing with every vector: exact.
    Flat,
    /// Inverted lists: only the vectors of the lists nearest to the query.
    IvfFlat,
    /// Inverted lists of product codes.
    IvfPq,
}

impl VectorKind {
    /// The name in the language.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flat => "flat",
            Self::IvfFlat => "ivf_flat",
            Self::IvfPq => "ivf_pq",
        }
    }
}

/// What a vector index was declared with. Fields that the kind does not use are ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VectorParams {
    /// How candidates are found.
    pub kind: VectorKind,
    /// How vectors are compared.
    pub metric: Metric,
    /// Numbers per vector.
    pub dim: usize,
    /// `ivf_*`: number of lists; `None` for the power of two nearest to 4·sqrt(rows).
    pub lists: Option<usize>,
    /// `ivf_*`: lists searched per query.
    pub probes: usize,
    /// `ivf_pq`: codes per vector; divides `dim`.
    pub sub: usize,
    /// `ivf_pq`: bits per code, 4 or 8.
    pub bits: usize,
    /// `ivf_pq`: candidates scored exactly per result asked for.
    pub refine: usize,
    /// Seed of the training.
    pub seed: u64,
}

impl VectorParams {
    /// An exact index.
    pub fn flat(metric: Metric, dim: usize) -> Self {
        Self {
            kind: VectorKind::Flat,
            metric,
            dim,
            lists: None,
            probes: 8,
            sub: (dim / 8).max(1),
            bits: 8,
            refine: 4,
            seed: 0,
        }
    }

    /// Everything that decides what is stored; the parameters of searching alone are not in it.
    fn stored(&self) -> String {
        let head = format!("format 1 {} {} {}", self.kind.name(), self.metric.name(), self.dim);
        let lists = self.lists.map_or("auto".to_owned(), |lists| lists.to_string());
        match self.kind {
            VectorKind::Flat => head,
            VectorKind::IvfFlat => format!("{head} lists {lists} seed {}", self.seed),
            VectorKind::IvfPq => {
                format!("{head} lists {lists} sub {} bits {} seed {}", self.sub, self.bits, self.seed)
            }
        }
    }

    fn check(&self) -> Result<(), String> {
        let positive = [
            ("dim", self.dim),
            ("lists", self.lists.unwrap_or(1)),
            ("probes", self.probes),
            ("sub", self.sub),
            ("refine", self.refine),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(format!("{name} = 0"));
        }
        if i32::try_from(self.dim).is_err() {
            return Err(format!("dim = {} is too large", self.dim));
        }
        if self.kind == VectorKind::IvfPq && !self.dim.is_multiple_of(self.sub) {
            return Err(format!("sub = {} does not divide dim = {}", self.sub, self.dim));
        }
        if self.kind == VectorKind::IvfPq && !matches!(self.bits, 4 | 8) {
            return Err(format!("bits = {}: 4 or 8", self.bits));
        }
        Ok(())
    }

    /// Number of lists for `row_count` rows.
    fn list_count(&self, row_count: usize) -> usize {
        self.lists.unwrap_or_else(|| 1 << (4.0 * (row_count.max(1) as f64).sqrt()).log2().round() as u32)
    }

    /// Rows without which the kind cannot be trained.
    fn rows_needed(&self, row_count: usize) -> usize {
        let lists = || 39 * self.list_count(row_count);
        match self.kind {
            VectorKind::Flat => 0,
            VectorKind::IvfFlat => lists(),
            VectorKind::IvfPq => lists().max(1 << self.bits),
        }
    }
}

/// Why a vector index could not be opened, changed or searched.
#[derive(Debug, thiserror::Error)]
pub enum VectorError {
    /// A parameter has no meaning.
    #[error("vector index {}: {detail}", dir.display())]
    Params {
        /// The index folder.
        dir: PathBuf,
        /// Which parameter, and what is allowed.
        detail: String,
    },
    /// A vector is missing, has another dimension, or holds NaN or an infinity.
    #[error("vector index {}: {detail}", dir.display())]
    Vector {
        /// The index folder.
        dir: PathBuf,
        /// Which vector, and what is wrong.
        detail: String,
    },
    /// The dataset does not hold what was written to it.
    #[error("vector index {}: checksum mismatch: {detail}", dir.display())]
    Damaged {
        /// The index folder.
        dir: PathBuf,
        /// What differs.
        detail: String,
    },
    /// No room is left on the device.
    #[error("vector index {}: disk full", dir.display())]
    DiskFull {
        /// The index folder.
        dir: PathBuf,
    },
    /// The operating system refused.
    #[error("vector index {}: {source}", dir.display())]
    Io {
        /// The index folder.
        dir: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The columnar library refused.
    #[error("vector index {}: {source}", dir.display())]
    Arrow {
        /// The index folder.
        dir: PathBuf,
        /// The library's answer.
        #[source]
        source: arrow::error::ArrowError,
    },
    /// The dataset library refused.
    #[error("vector index {}: {source}", dir.display())]
    Lance {
        /// The index folder.
        dir: PathBuf,
        /// The library's answer.
        #[source]
        source: Box<lance::Error>,
    },
}

impl VectorError {
    /// The code of the language reference under which this error is explained.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Damaged { .. } => "E1003",
            Self::DiskFull { .. } => "E1004",
            Self::Vector { .. } => "E2103",
            Self::Io { .. } => "E2501",
            Self::Params { .. } | Self::Arrow { .. } | Self::Lance { .. } => "E2001",
        }
    }

    /// What the user can do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Params { .. } => "change the declaration of the index",
            Self::Vector { .. } => "vectors must be complete, finite and of the declared dimension",
            Self::DiskFull { .. } => {
                "free space on this device and run again: the index is rebuilt if needed"
            }
            Self::Damaged { .. } | Self::Io { .. } | Self::Arrow { .. } | Self::Lance { .. } => {
                "remove the folder and run again: the index is built anew"
            }
        }
    }

    fn io(dir: &Path, source: std::io::Error) -> Self {
        if is_full(&source) {
            return Self::DiskFull { dir: dir.to_owned() };
        }
        Self::Io { dir: dir.to_owned(), source }
    }

    fn arrow(dir: &Path, source: arrow::error::ArrowError) -> Self {
        Self::Arrow { dir: dir.to_owned(), source }
    }

    fn lance(dir: &Path, source: lance::Error) -> Self {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&source);
        while let Some(error) = cause {
            if error.downcast_ref::<std::io::Error>().is_some_and(is_full) {
                return Self::DiskFull { dir: dir.to_owned() };
            }
            cause = error.source();
        }
        Self::Lance { dir: dir.to_owned(), source: Box::new(source) }
    }
}

fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}

/// A vector index in a folder of its own. One owner at a time; searching needs a tokio runtime with all drivers.
#[derive(Debug)]
pub struct VectorIndex {
    params: VectorParams,
    dataset: VectorDataset,
    notices: Vec<String>,
}

impl VectorIndex {
    /// Opens the index in `dir` and reads its vectors, or begins an empty one if there is none, if it was made with other
    /// parameters, or if it is damaged (then [`Self::notices`] says so).
    ///
    /// Cost: all vectors are read and their digest compared (about 1 GB/s).
    ///
    /// # Errors
    /// [`VectorError::Params`]; what the system says.
    pub async fn open_or_create(dir: &Path, params: VectorParams) -> Result<Self, VectorError> {
        params.check().map_err(|detail| VectorError::Params { dir: dir.to_owned(), detail })?;
        let mut notices = Vec::new();
        let dataset = match caught(dir, VectorDataset::open(dir, &params)).await {
            Ok(dataset) => dataset,
            Err(error @ (VectorError::Io { .. } | VectorError::DiskFull { .. })) => return Err(error),
            Err(error) => {
                notices.push(format!("E1003: {error}; it is built again"));
                VectorDataset::create(dir, &params)?
            }
        };
        Ok(Self { params, dataset, notices })
    }

    /// The fingerprint given to the last completed [`Self::update`]; `None` for an index that was never filled.
    pub fn state(&self) -> Option<&str> {
        self.dataset.state()
    }

    /// What the user should know: that the index was damaged, that it is too small for its kind (W2301).
    pub fn notices(&self) -> Vec<String> {
        let mut notices = self.notices.clone();
        let row_count = self.dataset.vectors().len();
        if self.state().is_some() && self.params.kind != VectorKind::Flat && !self.dataset.is_trained() {
            notices.push(format!(
                "W2301: {} vectors are too few for {} (it needs {}): searched exactly",
                row_count,
                self.params.kind.name(),
                self.params.rows_needed(row_count)
            ));
        }
        notices
    }

    /// The vectors in memory.
    pub fn vectors(&self) -> &Arc<ExactVectors> {
        self.dataset.vectors()
    }

    /// Removes and adds rows; `state` is stored with the last commit. A row of `added` replaces the row of the same identity.
    /// The batches have the columns of [`vector_schema`] (see [`vector_batch`]). The caller gives the whole difference to the
    /// state before; if [`Self::state`] is `None`, that is all rows.
    ///
    /// Returns when everything is synced. Memory: the vectors once more while they are read back. Training an approximate
    /// kind costs about 13 · lists · dim multiplications per row (of at most 128 rows per list).
    ///
    /// # Errors
    /// [`VectorError::Vector`] before anything is changed. Files that turn out to be damaged are written anew from the vectors
    /// in memory, once (then [`Self::notices`] says so). After another error the index has no state and must be filled anew.
    pub async fn update(
        &mut self,
        removed: &[RowId],
        added: &[RecordBatch],
        state: &str,
    ) -> Result<(), VectorError> {
        let changes = Changes::new(self.dataset.dir(), self.params.dim, removed, added)?;
        let dir = self.dataset.dir().to_owned();
        match caught(&dir, self.dataset.update(&self.params, &changes, state)).await {
            Err(error @ (VectorError::Damaged { .. } | VectorError::Lance { .. })) => {
                self.notices.push(format!("E1003: {error}; it is built again"));
                self.dataset.forget_files()?;
                caught(&dir, self.dataset.update(&self.params, &changes, state)).await
            }
            done => done,
        }
    }

    /// The `k` best rows for `query` among those that `allowed` accepts (all if `None`): score descending, ties by key. A
    /// greater score is better: cosine, inner product, or negative squared distance, in `f64`.
    ///
    /// # Errors
    /// [`VectorError::Vector`] for a query of another dimension or with NaN; [`VectorError::Damaged`], or what the library says
    /// when it reads.
    pub async fn search(
        &self,
        query: &[f32],
        k: usize,
        allowed: Option<&(dyn Fn(&RowId) -> bool + Sync)>,
    ) -> Result<Vec<(RowId, f64)>, VectorError> {
        self.check_query(query)?;
        let vectors = self.dataset.vectors();
        let zero = self.params.metric == Metric::Cosine && distance::norm_f64(query) == 0.0;
        if allowed.is_some() || zero || !self.dataset.is_trained() {
            return Ok(vectors.search(query, k, allowed));
        }
        let candidates = caught(self.dataset.dir(), self.dataset.candidates(&self.params, query, k)).await?;
        // Too few lists probed, or rows that the index leaves out (zero vectors): only a full comparison fills k places.
        if candidates.len() < k.min(vectors.len()) {
            return Ok(vectors.search(query, k, None));
        }
        Ok(vectors.rank(query, candidates.into_iter(), k))
    }

    /// As [`Self::search`], but exact for every kind, and without a runtime.
    ///
    /// # Errors
    /// [`VectorError::Vector`] for a query of another dimension or with NaN.
    pub fn search_exact(
        &self,
        query: &[f32],
        k: usize,
        allowed: Option<&(dyn Fn(&RowId) -> bool + Sync)>,
    ) -> Result<Vec<(RowId, f64)>, VectorError> {
        self.check_query(query)?;
        Ok(self.dataset.vectors().search(query, k, allowed))
    }

    /// How vectors are compared.
    pub fn metric(&self) -> Metric {
        self.params.metric
    }

    /// How it is searched, and over what.
    pub fn describe(&self) -> String {
        let VectorParams { kind, metric, dim, .. } = &self.params;
        let kind = if self.is_exact() { "exact" } else { kind.name() };
        format!("{kind}, {} vectors of {dim}, {}", self.vectors().len(), metric.name())
    }

    /// Whether [`Self::search`] without a filter compares with every row, so that [`Self::search_exact`] gives the same.
    pub fn is_exact(&self) -> bool {
        !self.dataset.is_trained()
    }

    fn check_query(&self, query: &[f32]) -> Result<(), VectorError> {
        let bad = |detail| Err(VectorError::Vector { dir: self.dataset.dir().to_owned(), detail });
        if query.len() != self.params.dim {
            return bad(format!("a query of dimension {} for an index of {}", query.len(), self.params.dim));
        }
        if query.iter().any(|value| !value.is_finite()) {
            return bad("the query holds NaN or an infinity".to_owned());
        }
        Ok(())
    }
}

/// What is wrong with the files of the index in `dir`, as far as their seal says. Without a seal the next run builds the index
/// anew, which is no damage. Cost: the files are read once.
pub(crate) fn problem(dir: &Path) -> Option<String> {
    match guard::check_whole_seal(dir) {
        Ok(guard::Seal::Broken(detail)) => Some(detail),
        Ok(_) => None,
        Err(error) => Some(error.to_string()),
    }
}

/// Columns of a vector index: `row` (16 bytes), `key` (bytes that compare like the key), `vec` (`dim` numbers).
pub fn vector_schema(dim: usize) -> SchemaRef {
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let width = i32::try_from(dim).unwrap_or(i32::MAX);
    Arc::new(Schema::new(vec![
        Field::new("row", DataType::FixedSizeBinary(16), false),
        Field::new("key", DataType::Binary, false),
        Field::new("vec", DataType::FixedSizeList(item, width), false),
    ]))
}

/// A batch for [`VectorIndex::update`] from rows, their keys and their vectors. The list's own field may have any name,
/// nullability and metadata.
///
/// # Errors
/// If the three differ in length, or the vectors are not `f32` or contain nulls.
pub fn vector_batch(
    rows: &[RowId],
    keys: &[Vec<u8>],
    vectors: &FixedSizeListArray,
) -> Result<RecordBatch, arrow::error::ArrowError> {
    use arrow::error::ArrowError;
    let values = vectors
        .values()
        .as_primitive_opt::<Float32Type>()
        .ok_or_else(|| ArrowError::SchemaError(format!("vectors of {}", vectors.data_type())))?;
    let dim = vectors.value_length() as usize;
    let schema = vector_schema(dim);
    let DataType::FixedSizeList(item, width) = schema.field(2).data_type().clone() else {
        return Err(ArrowError::SchemaError("invariant: the third column holds vectors".to_owned()));
    };
    let row_bytes = Buffer::from(rows.as_flattened());
    let columns: Vec<ArrayRef> = vec![
        Arc::new(FixedSizeBinaryArray::try_new(16, row_bytes, None)?),
        Arc::new(BinaryArray::from_iter_values(keys)),
        Arc::new(FixedSizeListArray::try_new(
            item,
            width,
            Arc::new(values.clone()),
            vectors.nulls().cloned(),
        )?),
    ];
    RecordBatch::try_new(schema, columns)
}
