//! The Lance dataset of one index: open, change, train, name candidates.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, AsArray, FixedSizeListArray, Float32Array, RecordBatch, RecordBatchIterator};
use arrow::datatypes::{Float32Type, ToByteSlice, UInt64Type};
use futures::TryStreamExt;
use lance::Dataset;
use lance::dataset::builder::DatasetBuilder;
use lance::dataset::cleanup::CleanupPolicyBuilder;
use lance::dataset::{WriteMode, WriteParams};
use lance::index::DatasetIndexExt;
use lance::index::vector::VectorIndexParams;
use lance::session::Session;
use lance_index::IndexType;
use lance_index::vector::ivf::IvfBuildParams;
use lance_index::vector::pq::PQBuildParams;
use lance_linalg::distance::DistanceType;
use rayon::prelude::*;

use super::durable::{list_files, sync_new_files};
use super::guard::{Seal, break_seal, check_seal, write_seal};
use super::train::{Generator, Matrix, assign, k_means, sample};
use super::{ExactVectors, Metric, VectorError, VectorKind, VectorParams, vector_schema};
use crate::failpoint::{Site, reach};
use crate::flows::RowId;
use crate::medium::disk;

/// Bytes of index data that Lance may keep in memory per open index.
const INDEX_CACHE_BYTES: usize = 256 << 20;
/// Bytes of file metadata that Lance may keep in memory per open index.
const METADATA_CACHE_BYTES: usize = 16 << 20;
/// A dataset with this many fragments is written anew: each costs a file to open.
const FRAGMENTS_MAX: usize = 16;
/// Rows per batch when a dataset is written anew.
const BATCH_ROWS: usize = 8_192;
/// Rows that one task hashes at least.
const DIGESTS_PER_TASK: usize = 256;
/// Name of the index inside the dataset.
const INDEX_NAME: &str = "vec";
/// Config key: version number, colon, the caller's fingerprint.
const STATE_KEY: &str = "promptc.state";
/// Config key: [`VectorParams::stored`].
const PARAMS_KEY: &str = "promptc.params";
/// Config key: digest of the rows.
const DIGEST_KEY: &str = "promptc.digest";
/// Config key: number of rows appended since the index was trained; absent if it is not trained.
const UNTRAINED_KEY: &str = "promptc.untrained_rows";

/// A difference to apply, checked.
pub(super) struct Changes<'a> {
    /// Rows to drop: those removed, and those that are added again.
    dropped: HashSet<RowId>,
    added: &'a [RecordBatch],
    added_vectors: ExactVectors,
}

impl<'a> Changes<'a> {
    /// # Errors
    /// [`VectorError::Vector`] for a batch of another schema, a null, NaN or infinity.
    pub(super) fn new(
        dir: &Path,
        dim: usize,
        removed: &[RowId],
        added: &'a [RecordBatch],
    ) -> Result<Self, VectorError> {
        let mut dropped: HashSet<RowId> = removed.iter().copied().collect();
        // The metric plays no part here: these vectors are only copied and hashed.
        let mut added_vectors = ExactVectors::new(Metric::Dot, dim);
        for batch in added {
            push_rows(&mut added_vectors, batch, dim)
                .map_err(|detail| VectorError::Vector { dir: dir.to_owned(), detail })?;
        }
        let mut seen = HashSet::new();
        for row in added_vectors.rows() {
            dropped.insert(*row);
            if !seen.insert(*row) {
                let detail = "a row is added twice".to_owned();
                return Err(VectorError::Vector { dir: dir.to_owned(), detail });
            }
        }
        Ok(Self { dropped, added, added_vectors })
    }
}

/// The dataset of one index, and its rows in memory.
#[derive(Debug)]
pub(super) struct VectorDataset {
    dir: PathBuf,
    session: Arc<Session>,
    dataset: Option<Dataset>,
    vectors: Arc<ExactVectors>,
    /// Lance's number of each row, in the order of `vectors`, and back.
    lance_rows: Vec<u64>,
    places: HashMap<u64, usize>,
    digest: u128,
    state: Option<String>,
    /// Rows that the trained index does not hold; `None` if there is no index.
    untrained_rows: Option<usize>,
}

impl VectorDataset {
    /// Removes what is in `dir` and begins an empty index.
    pub(super) fn create(dir: &Path, params: &VectorParams) -> Result<Self, VectorError> {
        if dir.exists() {
            reach(Site::VectorsBeforeRemove)
                .and_then(|()| disk::remove_dir_all(dir))
                .map_err(|error| VectorError::io(dir, error))?;
        }
        Ok(Self {
            dir: dir.to_owned(),
            session: Arc::new(Session::new(INDEX_CACHE_BYTES, METADATA_CACHE_BYTES, Arc::default())),
            dataset: None,
            vectors: Arc::new(ExactVectors::new(params.metric, params.dim)),
            lance_rows: Vec::new(),
            places: HashMap::new(),
            digest: 0,
            state: None,
            untrained_rows: None,
        })
    }

    /// Opens and reads the dataset in `dir`; an empty index if there is none, or if the one there has other parameters or
    /// was left by an interrupted update.
    ///
    /// # Errors
    /// Any error but those of the system means that the dataset is damaged.
    pub(super) async fn open(dir: &Path, params: &VectorParams) -> Result<Self, VectorError> {
        if !dir.join("_versions").exists() {
            return Self::create(dir, params);
        }
        match check_seal(dir)? {
            Seal::Missing => return Self::create(dir, params),
            Seal::Broken(detail) => return Err(VectorError::Damaged { dir: dir.to_owned(), detail }),
            Seal::Whole => {}
        }
        let lance = |error| VectorError::lance(dir, error);
        let session = Arc::new(Session::new(INDEX_CACHE_BYTES, METADATA_CACHE_BYTES, Arc::default()));
        let dataset =
            DatasetBuilder::from_uri(uri(dir)?).with_session(session.clone()).load().await.map_err(lance)?;
        let config = dataset.config();
        let state = config.get(STATE_KEY).and_then(|stored| {
            let (version, state) = stored.split_once(':')?;
            (version.parse() == Ok(dataset.version_id())).then(|| state.to_owned())
        });
        if state.is_none() || config.get(PARAMS_KEY) != Some(&params.stored()) {
            return Self::create(dir, params);
        }
        let digest = config.get(DIGEST_KEY).and_then(|digest| u128::from_str_radix(digest, 16).ok());
        let untrained_rows = config.get(UNTRAINED_KEY).and_then(|count| count.parse().ok());
        let mut opened = Self::create_in_memory(dir, params, session);
        opened.read(dataset, params, digest).await?;
        opened.state = state;
        opened.untrained_rows = untrained_rows;
        Ok(opened)
    }

    fn create_in_memory(dir: &Path, params: &VectorParams, session: Arc<Session>) -> Self {
        Self {
            dir: dir.to_owned(),
            session,
            dataset: None,
            vectors: Arc::new(ExactVectors::new(params.metric, params.dim)),
            lance_rows: Vec::new(),
            places: HashMap::new(),
            digest: 0,
            state: None,
            untrained_rows: None,
        }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    pub(super) fn vectors(&self) -> &Arc<ExactVectors> {
        &self.vectors
    }

    pub(super) fn is_trained(&self) -> bool {
        self.untrained_rows.is_some()
    }

    /// Removes the files, so that the next update writes all rows, which are in memory, into a new dataset.
    pub(super) fn forget_files(&mut self) -> Result<(), VectorError> {
        self.dataset = None;
        self.state = None;
        self.session = Arc::new(Session::new(INDEX_CACHE_BYTES, METADATA_CACHE_BYTES, Arc::default()));
        match disk::remove_dir_all(&self.dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(VectorError::io(&self.dir, error))
            }
            _ => Ok(()),
        }
    }

    /// Applies `changes`; see [`super::VectorIndex::update`].
    pub(super) async fn update(
        &mut self,
        params: &VectorParams,
        changes: &Changes<'_>,
        state: &str,
    ) -> Result<(), VectorError> {
        let dir = self.dir.clone();
        let io = |error| VectorError::io(&dir, error);
        let lance = |error| VectorError::lance(&dir, error);
        if let Some(parent) = dir.parent() {
            disk::create_dir_all(parent).map_err(io)?;
        }
        reach(Site::VectorsBeforeBreakSeal).map_err(io)?;
        break_seal(&dir)?;
        reach(Site::VectorsAfterBreakSeal).map_err(io)?;
        let files_before = list_files(&dir).map_err(io)?;
        self.state = None;
        let dropped: Vec<usize> = (0..self.vectors.len())
            .filter(|&idx| changes.dropped.contains(&self.vectors.rows()[idx]))
            .collect();
        let mut digest = self.digest;
        for &idx in &dropped {
            digest = digest.wrapping_sub(row_digest(&self.vectors, idx));
        }
        for idx in 0..changes.added_vectors.len() {
            digest = digest.wrapping_add(row_digest(&changes.added_vectors, idx));
        }
        let added_count = changes.added_vectors.len();
        let row_count = self.vectors.len() - dropped.len() + added_count;
        let changed = dropped.len() + added_count;
        let (mut dataset, rewritten) = match self.dataset.take() {
            Some(dataset) if changed * 4 <= row_count && dataset.count_fragments() < FRAGMENTS_MAX => {
                (self.change_in_place(dataset, &dropped, changes.added).await?, false)
            }
            _ => (self.rewrite(params, &dropped, changes.added).await?, true),
        };
        let untrained = if rewritten { None } else { self.untrained_rows.map(|count| count + added_count) };
        self.untrained_rows = None;
        let trainable =
            params.kind != VectorKind::Flat && row_count > 0 && row_count >= params.rows_needed(row_count);
        let untrained = match untrained {
            Some(count) if trainable && count * 10 <= row_count => Some(count),
            _ if trainable => train_index(&mut dataset, params, &dir).await?,
            _ => None,
        };
        reach(Site::VectorsBeforeConfig).map_err(io)?;
        let version = dataset.version_id() + 1;
        let config = [
            (STATE_KEY.to_owned(), Some(format!("{version}:{state}"))),
            (PARAMS_KEY.to_owned(), Some(params.stored())),
            (DIGEST_KEY.to_owned(), Some(format!("{digest:032x}"))),
            (UNTRAINED_KEY.to_owned(), untrained.map(|count| count.to_string())),
        ];
        dataset.update_config(config).await.map_err(lance)?;
        if dataset.version_id() != version {
            let detail =
                format!("version {} where {version} was expected: another writer?", dataset.version_id());
            return Err(VectorError::Damaged { dir, detail });
        }
        reach(Site::VectorsAfterConfig).map_err(io)?;
        sync_new_files(&dir, &files_before).map_err(io)?;
        reach(Site::VectorsAfterSync).map_err(io)?;
        let policy = CleanupPolicyBuilder::default()
            .delete_unverified(true)
            .retain_n_versions(&dataset, 1)
            .await
            .map_err(lance)?
            .build();
        dataset.cleanup_with_policy(policy).await.map_err(lance)?;
        reach(Site::VectorsAfterCleanup).map_err(io)?;
        write_seal(&dir)?;
        reach(Site::VectorsAfterSeal).map_err(io)?;
        self.read(dataset, params, Some(digest)).await?;
        self.untrained_rows = untrained;
        self.state = Some(state.to_owned());
        Ok(())
    }

    /// The places of up to `k` rows (of `refine · k` for product codes) that the index names as nearest.
    pub(super) async fn candidates(
        &self,
        params: &VectorParams,
        query: &[f32],
        k: usize,
    ) -> Result<Vec<usize>, VectorError> {
        let Some(dataset) = &self.dataset else { return Ok(Vec::new()) };
        let lance = |error| VectorError::lance(&self.dir, error);
        let wanted = if params.kind == VectorKind::IvfPq { k.saturating_mul(params.refine) } else { k };
        let query = Float32Array::from(query.to_vec());
        let mut scanner = dataset.scan();
        scanner.empty_project().map_err(lance)?.with_row_id();
        scanner.nearest("vec", &query, wanted.clamp(1, self.vectors.len())).map_err(lance)?;
        scanner.nprobes(params.probes).distance_metric(distance_type(params.metric));
        scanner.disable_scoring_autoprojection();
        let batch = scanner.try_into_batch().await.map_err(lance)?;
        let numbers =
            batch.column_by_name(lance::dataset::ROW_ID).map(|column| column.as_primitive::<UInt64Type>());
        let Some(numbers) = numbers else {
            return Err(VectorError::Damaged { dir: self.dir.clone(), detail: "no row numbers".to_owned() });
        };
        Ok(numbers.values().iter().filter_map(|number| self.places.get(number).copied()).collect())
    }

    /// Deletes and appends; both are commits of their own, and neither has a state.
    async fn change_in_place(
        &self,
        mut dataset: Dataset,
        dropped: &[usize],
        added: &[RecordBatch],
    ) -> Result<Dataset, VectorError> {
        let lance = |error| VectorError::lance(&self.dir, error);
        let io = |error| VectorError::io(&self.dir, error);
        if !dropped.is_empty() {
            reach(Site::VectorsBeforeDelete).map_err(io)?;
            let numbers: Vec<String> = dropped.iter().map(|&idx| self.lance_rows[idx].to_string()).collect();
            dataset.delete(&format!("_rowid IN ({})", numbers.join(", "))).await.map_err(lance)?;
        }
        if added.iter().any(|batch| batch.num_rows() > 0) {
            reach(Site::VectorsBeforeAppend).map_err(io)?;
            let schema = vector_schema(self.vectors.dim());
            let batches: Vec<RecordBatch> = added.to_vec();
            let reader = RecordBatchIterator::new(batches.into_iter().map(Ok), schema);
            dataset.append(reader, Some(self.write_params(WriteMode::Append))).await.map_err(lance)?;
        }
        reach(Site::VectorsAfterChange).map_err(io)?;
        Ok(dataset)
    }

    /// Writes the rows that stay and those that come as one fragment.
    async fn rewrite(
        &self,
        params: &VectorParams,
        dropped: &[usize],
        added: &[RecordBatch],
    ) -> Result<Dataset, VectorError> {
        let io = |error| VectorError::io(&self.dir, error);
        reach(Site::VectorsBeforeRewrite).map_err(io)?;
        let gone: HashSet<usize> = dropped.iter().copied().collect();
        let kept: Vec<usize> = (0..self.vectors.len()).filter(|idx| !gone.contains(idx)).collect();
        let mut batches = Vec::new();
        for places in kept.chunks(BATCH_ROWS) {
            let rows: Vec<RowId> = places.iter().map(|&idx| self.vectors.rows()[idx]).collect();
            let keys: Vec<Vec<u8>> = places.iter().map(|&idx| self.vectors.key(idx).to_vec()).collect();
            let values: Vec<f32> = places.iter().flat_map(|&idx| self.vectors.vector(idx)).copied().collect();
            let vectors = list_array(Matrix { values, dim: params.dim });
            let batch = super::vector_batch(&rows, &keys, &vectors)
                .map_err(|error| VectorError::arrow(&self.dir, error))?;
            batches.push(batch);
        }
        batches.extend_from_slice(added);
        let reader = RecordBatchIterator::new(batches.into_iter().map(Ok), vector_schema(params.dim));
        let mode = if self.dir.join("_versions").exists() { WriteMode::Overwrite } else { WriteMode::Create };
        let dataset = Dataset::write(reader, uri(&self.dir)?, Some(self.write_params(mode)))
            .await
            .map_err(|error| VectorError::lance(&self.dir, error))?;
        reach(Site::VectorsAfterRewrite).map_err(io)?;
        Ok(dataset)
    }

    fn write_params(&self, mode: WriteMode) -> WriteParams {
        WriteParams {
            mode,
            session: Some(self.session.clone()),
            auto_cleanup: None,
            ..WriteParams::default()
        }
    }

    /// Reads all rows into memory and compares their digest.
    async fn read(
        &mut self,
        dataset: Dataset,
        params: &VectorParams,
        digest: Option<u128>,
    ) -> Result<(), VectorError> {
        let lance = |error| VectorError::lance(&self.dir, error);
        let damaged = |detail: String| VectorError::Damaged { dir: self.dir.clone(), detail };
        let mut scanner = dataset.scan();
        scanner.project(&["row", "key", "vec"]).map_err(lance)?.with_row_id().scan_in_order(true);
        let mut stream = scanner.try_into_stream().await.map_err(lance)?;
        let mut vectors = ExactVectors::new(params.metric, params.dim);
        let mut lance_rows: Vec<u64> = Vec::new();
        while let Some(batch) = stream.try_next().await.map_err(lance)? {
            push_rows(&mut vectors, &batch, params.dim).map_err(damaged)?;
            let numbers = batch
                .column_by_name(lance::dataset::ROW_ID)
                .ok_or_else(|| damaged("no row numbers".into()))?;
            lance_rows.extend_from_slice(numbers.as_primitive::<UInt64Type>().values());
        }
        let digests = (0..vectors.len()).into_par_iter().with_min_len(DIGESTS_PER_TASK);
        let found = digests.map(|idx| row_digest(&vectors, idx)).reduce(|| 0, u128::wrapping_add);
        if digest != Some(found) {
            return Err(damaged("the rows differ from those that were written".to_owned()));
        }
        self.places = lance_rows.iter().copied().zip(0..).collect();
        self.lance_rows = lance_rows;
        self.vectors = Arc::new(vectors);
        self.digest = found;
        self.dataset = Some(dataset);
        Ok(())
    }
}

/// Appends the rows of a batch with the columns `row`, `key`, `vec`.
fn push_rows(vectors: &mut ExactVectors, batch: &RecordBatch, dim: usize) -> Result<(), String> {
    let column =
        |name: &str| batch.column_by_name(name).ok_or_else(|| format!("a batch without column `{name}`"));
    let wrong = |name: &str| format!("column `{name}` has another type");
    let rows = column("row")?.as_fixed_size_binary_opt().filter(|rows| rows.value_length() == 16);
    let rows = rows.ok_or_else(|| wrong("row"))?;
    let keys = column("key")?.as_binary_opt::<i32>().ok_or_else(|| wrong("key"))?;
    let lists = column("vec")?.as_fixed_size_list_opt().filter(|lists| lists.value_length() as usize == dim);
    let lists = lists.ok_or_else(|| format!("column `vec` does not hold vectors of dimension {dim}"))?;
    let values = lists.values().as_primitive_opt::<Float32Type>().ok_or_else(|| wrong("vec"))?;
    if rows.null_count() + keys.null_count() + lists.null_count() + values.null_count() > 0 {
        return Err("a row, key or vector is null".to_owned());
    }
    for (row_idx, vector) in values.values().chunks_exact(dim).enumerate() {
        if vector.iter().any(|value| !value.is_finite()) {
            return Err(format!("the vector of row {row_idx} of a batch holds NaN or an infinity"));
        }
        let mut row = RowId::default();
        row.copy_from_slice(rows.value(row_idx));
        vectors.push(row, keys.value(row_idx), vector);
    }
    Ok(())
}

/// Hash of one row (its numbers as they lie in memory: an index does not move between byte orders); the sum of all is the digest of the index, whatever the order of its rows.
fn row_digest(vectors: &ExactVectors, idx: usize) -> u128 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&vectors.rows()[idx]);
    hasher.update(&(vectors.key(idx).len() as u64).to_le_bytes());
    hasher.update(vectors.key(idx));
    hasher.update(vectors.vector(idx).to_byte_slice());
    let mut half = [0u8; 16];
    half.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    u128::from_le_bytes(half)
}

fn uri(dir: &Path) -> Result<&str, VectorError> {
    dir.to_str().ok_or_else(|| {
        let detail = "the folder's name is not UTF-8".to_owned();
        VectorError::Params { dir: dir.to_owned(), detail }
    })
}

fn distance_type(metric: Metric) -> DistanceType {
    match metric {
        Metric::Cosine => DistanceType::Cosine,
        Metric::Dot => DistanceType::Dot,
        Metric::L2 => DistanceType::L2,
    }
}

fn list_array(matrix: Matrix) -> FixedSizeListArray {
    let schema = vector_schema(matrix.dim);
    let arrow::datatypes::DataType::FixedSizeList(item, width) = schema.field(2).data_type().clone() else {
        unreachable!("invariant: the third column of the schema holds vectors")
    };
    FixedSizeListArray::new(item, width, Arc::new(Float32Array::from(matrix.values)), None)
}

/// Trains and builds the index over all rows of `dataset`. Returns the number of rows it does not hold: 0; or `None` if
/// there is nothing to train on.
async fn train_index(
    dataset: &mut Dataset,
    params: &VectorParams,
    dir: &Path,
) -> Result<Option<usize>, VectorError> {
    let lance = |error| VectorError::lance(dir, error);
    let mut scanner = dataset.scan();
    scanner.project(&["row", "key", "vec"]).map_err(lance)?.scan_in_order(true);
    let batch = scanner.try_into_batch().await.map_err(lance)?;
    let mut vectors = ExactVectors::new(params.metric, params.dim);
    push_rows(&mut vectors, &batch, params.dim)
        .map_err(|detail| VectorError::Damaged { dir: dir.to_owned(), detail })?;
    let params = params.clone();
    let rows = training_rows(&vectors, params.metric);
    if rows.row_count() == 0 {
        return Ok(None);
    }
    let list_count = params.list_count(vectors.len());
    let trained = tokio::task::spawn_blocking(move || index_params(&params, rows, list_count)).await;
    let trained = trained
        .map_err(|error| match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => VectorError::io(dir, std::io::Error::other(error)),
        })?
        .map_err(lance)?;
    let name = Some(INDEX_NAME.to_owned());
    let io = |error| VectorError::io(dir, error);
    reach(Site::VectorsBeforeTrain).map_err(io)?;
    dataset.create_index(&["vec"], IndexType::Vector, name, &trained, true).await.map_err(lance)?;
    reach(Site::VectorsAfterTrain).map_err(io)?;
    Ok(Some(0))
}

/// The vectors by the order of their keys; of unit length for the cosine, without zero vectors.
fn training_rows(vectors: &ExactVectors, metric: Metric) -> Matrix {
    let mut order: Vec<usize> = (0..vectors.len()).collect();
    order.sort_unstable_by_key(|&idx| (vectors.key(idx), vectors.rows()[idx]));
    let mut values = Vec::with_capacity(vectors.len() * vectors.dim());
    for idx in order {
        match metric {
            Metric::Cosine if vectors.norm(idx) == 0.0 => {}
            Metric::Cosine => {
                values.extend(vectors.vector(idx).iter().map(|&x| (f64::from(x) / vectors.norm(idx)) as f32));
            }
            Metric::Dot | Metric::L2 => values.extend_from_slice(vectors.vector(idx)),
        }
    }
    Matrix { values, dim: vectors.dim() }
}

/// Centroids and codebooks from the seed, in the form that Lance takes.
fn index_params(params: &VectorParams, rows: Matrix, list_count: usize) -> lance::Result<VectorIndexParams> {
    let mut generator = Generator::new(params.seed);
    let training = sample(&rows, list_count, &mut generator);
    let centroids = k_means(&training, list_count, &mut generator);
    let ivf = IvfBuildParams::try_with_centroids(list_count, Arc::new(list_array(centroids.clone())))?;
    let metric = distance_type(params.metric);
    Ok(match params.kind {
        VectorKind::Flat | VectorKind::IvfFlat => VectorIndexParams::with_ivf_flat_params(metric, ivf),
        VectorKind::IvfPq => {
            let code_count = 1usize << params.bits;
            let mut training = sample(&rows, code_count, &mut generator);
            // Lance codes the difference to the list's centroid, except for the inner product.
            if params.metric != Metric::Dot {
                let nearest = assign(&training, &centroids);
                for (row, centroid_idx) in training.values.chunks_exact_mut(rows.dim).zip(nearest) {
                    let centroid = centroids.row(centroid_idx as usize);
                    row.iter_mut().zip(centroid).for_each(|(value, center)| *value -= center);
                }
            }
            let sub_dim = rows.dim / params.sub;
            let mut codebook = Vec::with_capacity(code_count * rows.dim);
            for sub_idx in 0..params.sub {
                let part = training.columns(sub_idx * sub_dim, sub_dim);
                codebook.extend(k_means(&part, code_count, &mut generator).values);
            }
            let codebook = Arc::new(Float32Array::from(codebook));
            let pq = PQBuildParams::with_codebook(params.sub, params.bits, codebook);
            VectorIndexParams::with_ivf_pq_params(metric, ivf, pq)
        }
    })
}
