//! Index declarations: bringing an index up to date with the rows of its stream.
//!
//! An index stores the fingerprint of the parameters and the flow file that it stands for. If the file that it was built from is
//! still there, only the difference of the two files is applied; otherwise everything is built anew.

use std::path::{Path, PathBuf};

use arrow::array::{Array, ArrayRef, FixedSizeListArray, Float32Array, RecordBatch, StringArray};
use arrow::datatypes::DataType;
use promptc_compiler::op::Index;
use promptc_models::nearest::{GraphShape, Watch};
use promptc_store::failpoint::Site;
use promptc_store::flows::{self, Flow, RowId};
use promptc_store::text::{TextIndex, TextParams, TextRow};
use promptc_store::vectors::{Metric, VectorIndex, VectorKind, VectorParams, vector_batch};

use crate::arrays;
use crate::artifacts::{IndexArtifact, Searcher};
use crate::error::EngineError;
use crate::functions::rendered_keys;
use crate::ops::codes::{CodeIndex, Kept, Wanted};
use crate::store_errors;

const PLACE: &str = "index";

/// Rows that are read from a flow file at a time.
const ROWS_PER_READ: usize = 1024;

/// What one index is asked to stand for.
pub struct Target<'a> {
    /// Parameters.
    pub params: &'a Index,
    /// Fingerprint of the parameters, as hex.
    pub params_fp: &'a str,
    /// The flow's file.
    pub flow_path: &'a Path,
    /// Name of the flow's file without its ending.
    pub flow_fp: &'a str,
    /// Folder of all flow files.
    pub flows_dir: &'a Path,
    /// Key columns of the stream.
    pub key: &'a [String],
    /// Folder of this index.
    pub dir: PathBuf,
}

/// An index that is up to date.
pub struct BuiltIndex {
    /// It.
    pub index: IndexArtifact,
    /// What that took.
    pub change: IndexChange,
    /// What the user should know.
    pub notices: Vec<String>,
    /// What was found out now.
    pub found: Kept,
}

/// What bringing an index up to date took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IndexChange {
    /// Rows that were added or replaced.
    pub computed: u64,
    /// Rows that were there and stay.
    pub reused: u64,
    /// Rows that were removed.
    pub deleted: u64,
}

/// Opens an index and brings it up to date. `known` is what was found out of an index over codes with these parameters and rows; `watch` looks
/// on while a graph is made. Where it stops that, the caller must not use the index.
///
/// # Errors
/// [`EngineError::Unavailable`] for kinds that this build does not have; errors of the store.
pub async fn build(target: &Target<'_>, known: Kept, watch: Watch<'_>) -> Result<BuiltIndex, EngineError> {
    let flow = Flow::open(target.flow_path).map_err(store_errors::flow)?;
    let state = format!("{}/{}", target.params_fp, target.flow_fp);
    let (searcher, change, mut notices) = match target.params.kind.as_str() {
        "bm25" => text(target, &flow, &state)?,
        "auto" | "flat" | "ivf_flat" | "ivf_pq" | "hnsw" => vectors(target, &flow, &state).await?,
        other => {
            return Err(EngineError::Unavailable {
                area: "store".into(),
                what: format!("index of kind `{other}`"),
            });
        }
    };
    let mut hasher = blake3::Hasher::new();
    hasher.update(state.as_bytes());
    let mut found = Kept::default();
    let with_codes = |rank: &dyn Fn(&RowId) -> Option<u32>| match (searcher, wanted(target.params)) {
        (Searcher::Vector(stored), Some(wanted)) => {
            let (codes, new, notice) = CodeIndex::new(*stored, rank, wanted, known, watch);
            found = new;
            notices.extend(notice);
            Searcher::Codes(Box::new(codes))
        }
        (searcher, _) => searcher,
    };
    let index = IndexArtifact::new(with_codes, flow, target.key, *hasher.finalize().as_bytes())?;
    Ok(BuiltIndex { index, change, notices, found })
}

/// What is asked of the codes of an index; `None` for kinds without.
fn wanted(params: &Index) -> Option<Wanted> {
    match params.kind.as_str() {
        "hnsw" => Some(Wanted::Graph {
            shape: GraphShape { links: params.m as usize, beam_build: params.ef_build as usize },
            beam: params.ef as usize,
            seed: params.seed.unwrap_or(0),
        }),
        _ => params.recall.map(Wanted::Recall),
    }
}

/// The difference between what an index holds and the flow; `None` if it must be built anew.
fn difference(
    target: &Target<'_>,
    state: Option<&str>,
    flow: &Flow,
) -> Result<Option<flows::FlowDiff>, EngineError> {
    let Some((params_fp, flow_fp)) = state.and_then(|state| state.split_once('/')) else { return Ok(None) };
    let old_path = target.flows_dir.join(format!("{flow_fp}.parquet"));
    if params_fp != target.params_fp || !old_path.exists() {
        return Ok(None);
    }
    // A damaged old file only costs the shortcut.
    let Ok(old) = Flow::open(&old_path) else { return Ok(None) };
    flows::diff(&old, flow).map(Some).map_err(store_errors::flow)
}

fn change_of(diff: &flows::FlowDiff) -> IndexChange {
    IndexChange {
        computed: (diff.added.len() + diff.changed.len()) as u64,
        reused: diff.unchanged,
        deleted: diff.removed.len() as u64,
    }
}

type Built = (Searcher, IndexChange, Vec<String>);

fn text(target: &Target<'_>, flow: &Flow, state: &str) -> Result<Built, EngineError> {
    let params = TextParams {
        k1: target.params.k1,
        b: target.params.b,
        stem: target.params.stem.clone(),
        stop: target.params.stop.clone(),
        positions: target.params.positions,
        title_weight: target.params.title.as_ref().map_or(1, |(_, weight)| *weight),
    };
    let mut index = TextIndex::open_or_create(&target.dir, params.clone()).map_err(store_errors::text)?;
    let mut notices = index.notices().to_vec();
    if index.state() == Some(state) {
        let reused = flow.rows();
        return Ok((
            Searcher::Text(Box::new(index)),
            IndexChange { reused, ..IndexChange::default() },
            notices,
        ));
    }
    let diff = difference(target, index.state(), flow)?;
    if diff.is_none() && index.state().is_some() {
        drop(index);
        remove(&target.dir)?;
        index = TextIndex::open_or_create(&target.dir, params).map_err(store_errors::text)?;
        notices.clear();
    }
    let (removed, inserted, change) = match &diff {
        Some(diff) => (diff.to_remove(), diff.to_insert(), change_of(diff)),
        None => {
            let all: Vec<u32> = (0..u32::try_from(flow.rows()).unwrap_or(u32::MAX)).collect();
            (Vec::new(), all, IndexChange { computed: flow.rows(), ..IndexChange::default() })
        }
    };
    let rows = Rows::new(target, flow, inserted, diff.is_none())?;
    let added = rows.flat_map(|batch| match batch {
        Ok(batch) => text_rows(&batch).unwrap_or_else(|error| vec![Err(error)]),
        Err(error) => vec![Err(error)],
    });
    index.update(&removed, added, state).map_err(store_errors::text)?;
    Ok((Searcher::Text(Box::new(index)), change, notices))
}

fn text_rows(batch: &IndexRows) -> Result<Vec<Result<TextRow, EngineError>>, EngineError> {
    let texts: &StringArray = arrays::downcast(&batch.column, PLACE)?;
    let titles =
        batch.title.as_ref().map(|titles| arrays::downcast::<StringArray>(titles, PLACE)).transpose()?;
    let title_of =
        |row| titles.filter(|titles| titles.is_valid(row)).map(|titles| titles.value(row).to_owned());
    // A row may have a title and no text.
    let is_indexed = |row: &usize| texts.is_valid(*row) || titles.is_some_and(|titles| titles.is_valid(*row));
    let rows = (0..texts.len()).filter(is_indexed);
    Ok(rows
        .map(|row| {
            Ok(TextRow {
                row: batch.ids[row],
                key: batch.keys[row].clone(),
                title: title_of(row),
                text: if texts.is_valid(row) { texts.value(row).to_owned() } else { String::new() },
            })
        })
        .collect())
}

async fn vectors(target: &Target<'_>, flow: &Flow, state: &str) -> Result<Built, EngineError> {
    let params = vector_params(target.params, flow)?;
    let mut index =
        VectorIndex::open_or_create(&target.dir, params.clone()).await.map_err(store_errors::vectors)?;
    if index.state() == Some(state) {
        let change = IndexChange { reused: flow.rows(), ..IndexChange::default() };
        let notices = index.notices();
        return Ok((Searcher::Vector(Box::new(index)), change, notices));
    }
    let diff = difference(target, index.state(), flow)?;
    if diff.is_none() && index.state().is_some() {
        drop(index);
        remove(&target.dir)?;
        index = VectorIndex::open_or_create(&target.dir, params).await.map_err(store_errors::vectors)?;
    }
    let (removed, inserted, change) = match &diff {
        Some(diff) => (diff.to_remove(), diff.to_insert(), change_of(diff)),
        None => {
            let all: Vec<u32> = (0..u32::try_from(flow.rows()).unwrap_or(u32::MAX)).collect();
            (Vec::new(), all, IndexChange { computed: flow.rows(), ..IndexChange::default() })
        }
    };
    let by_angle = target.params.metric == "cosine";
    let batches: Result<Vec<RecordBatch>, EngineError> = Rows::new(target, flow, inserted, diff.is_none())?
        .map(|rows| {
            let rows = rows?;
            let list: &FixedSizeListArray = arrays::downcast(&rows.column, PLACE)?;
            let is_found = |row: &usize| list.is_valid(*row) && (!by_angle || has_direction(list, *row));
            let valid: Vec<usize> = (0..list.len()).filter(is_found).collect();
            let indices = arrow::array::UInt32Array::from_iter_values(valid.iter().map(|row| *row as u32));
            let kept = arrow::compute::take(list, &indices, None)?;
            let kept: &FixedSizeListArray = arrays::downcast(&kept, PLACE)?;
            let ids: Vec<RowId> = valid.iter().map(|row| rows.ids[*row]).collect();
            let keys: Vec<Vec<u8>> = valid.iter().map(|row| rows.keys[*row].clone()).collect();
            Ok(vector_batch(&ids, &keys, kept)?)
        })
        .collect();
    index.update(&removed, &batches?, state).await.map_err(store_errors::vectors)?;
    let notices = index.notices();
    Ok((Searcher::Vector(Box::new(index)), change, notices))
}

/// Whether the vector of a row has an angle to others: one of zeros, as of an empty text, would be nearer than all that point away.
fn has_direction(list: &FixedSizeListArray, row: usize) -> bool {
    list.value(row)
        .as_any()
        .downcast_ref::<Float32Array>()
        .is_none_or(|values| values.values().iter().any(|value| *value != 0.0))
}

fn vector_params(params: &Index, flow: &Flow) -> Result<VectorParams, EngineError> {
    let field = flow.schema().field_with_name(&params.column)?;
    let DataType::FixedSizeList(_, dim) = field.data_type() else {
        return Err(EngineError::internal(PLACE, format!("`{}` holds no vectors", params.column)));
    };
    let metric = match params.metric.as_str() {
        "dot" => Metric::Dot,
        "l2" => Metric::L2,
        _ => Metric::Cosine,
    };
    let dim = usize::try_from(*dim).unwrap_or(0);
    let mut found = VectorParams::flat(metric, dim);
    found.kind = match params.kind.as_str() {
        "ivf_flat" => VectorKind::IvfFlat,
        "ivf_pq" => VectorKind::IvfPq,
        _ => VectorKind::Flat,
    };
    found.lists = params.lists.map(|lists| lists as usize);
    found.probes = params.probes as usize;
    found.sub = params.sub.map_or((dim / 8).max(1), |sub| sub as usize);
    found.bits = params.bits as usize;
    found.refine = params.refine as usize;
    found.seed = params.seed.unwrap_or(0);
    Ok(found)
}

fn remove(dir: &Path) -> Result<(), EngineError> {
    store_errors::reach(Site::IndexBeforeRemove)?;
    std::fs::remove_dir_all(dir).or_else(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(EngineError::Store {
            code: "E2501",
            message: format!("{}: {error}", dir.display()),
            help: Some("check that this folder may be changed by this user".into()),
        }),
    })
}

/// Rows to insert: identity, key, the indexed column, and the titles if they are indexed too.
struct IndexRows {
    ids: Vec<RowId>,
    keys: Vec<Vec<u8>>,
    column: ArrayRef,
    title: Option<ArrayRef>,
}

/// Reads the rows to insert in batches.
struct Rows<'a> {
    flow: &'a Flow,
    ids: Vec<RowId>,
    /// Key columns, then the one of titles if `has_title`, then the indexed one.
    columns: Vec<String>,
    has_title: bool,
    pending: std::vec::IntoIter<u32>,
    /// Reads from front to back when all rows are wanted.
    all: Option<flows::FlowRows>,
    next: usize,
}

impl<'a> Rows<'a> {
    fn new(
        target: &Target<'_>,
        flow: &'a Flow,
        inserted: Vec<u32>,
        is_all: bool,
    ) -> Result<Self, EngineError> {
        let title = target.params.title.as_ref().map(|(column, _)| column);
        let columns: Vec<String> =
            target.key.iter().chain(title).chain([&target.params.column]).cloned().collect();
        let all = if is_all { Some(flow.stream(Some(&columns)).map_err(store_errors::flow)?) } else { None };
        let ids = flow.ids().map_err(store_errors::flow)?;
        let (has_title, pending) = (title.is_some(), inserted.into_iter());
        Ok(Self { flow, ids, columns, has_title, pending, all, next: 0 })
    }

    fn batch(&mut self, batch: &RecordBatch, ids: Vec<RowId>) -> Result<IndexRows, EngineError> {
        let missing = || EngineError::internal(PLACE, "a flow without the indexed column");
        let (column, mut keys) = batch.columns().split_last().ok_or_else(missing)?;
        let mut title = None;
        if self.has_title {
            let (titles, others) = keys.split_last().ok_or_else(missing)?;
            (title, keys) = (Some(titles.clone()), others);
        }
        let keys = if keys.is_empty() {
            (self.next..self.next + batch.num_rows()).map(|row| (row as u64).to_be_bytes().to_vec()).collect()
        } else {
            rendered_keys(keys, batch.num_rows())?.into_iter().map(|(bytes, _)| bytes).collect()
        };
        self.next += batch.num_rows();
        Ok(IndexRows { ids, keys, column: column.clone(), title })
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<IndexRows, EngineError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(rows) = &mut self.all {
            let batch = match rows.next()?.map_err(store_errors::flow) {
                Ok(batch) => batch,
                Err(error) => return Some(Err(error)),
            };
            let ids = self.ids[self.next..self.next + batch.num_rows()].to_vec();
            return Some(self.batch(&batch, ids));
        }
        let wanted: Vec<u32> = self.pending.by_ref().take(ROWS_PER_READ).collect();
        if wanted.is_empty() {
            return None;
        }
        let ids = wanted.iter().map(|row| self.ids[*row as usize]).collect();
        let batch = self.flow.take(&wanted, &self.columns).map_err(store_errors::flow);
        Some(batch.and_then(|batch| self.batch(&batch, ids)))
    }
}
