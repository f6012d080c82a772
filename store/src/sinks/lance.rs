//! A Lance dataset: one new version per run that changes something.
//!
//! ```text
//! batches --thread--> .<name>.tmp-*/  (a dataset of its own) --finish--> no target: synced, renamed
//!                                                            \--> target: compared row by row; equal: dropped
//!                                                                 else a twin of the target (hard links) gets the next
//!                                                                 version, is synced, and changes places with it
//! ```
//!
//! With `overwrite` the new version holds exactly the rows of the stream. Without it rows whose key the stream does not
//! have stay (merge by key). Older versions stay readable in the dataset.
//!
//! # Decisions
//! *A twin, and not the target, gets the next version.* Lance does not sync what it writes on a local disk: a power cut within
//! its commit can leave a manifest without content, and then nothing of the dataset opens, older versions included. Lance
//! never changes a file, so hard links make a twin for the price of its names; what stands under the target's name is
//! synced always. A kill or a power cut leaves the old or the new versions.

use super::{Sink, SinkError, SinkReport, SinkSpec};
use crate::failpoint::{Site, reach};
use crate::medium::disk::{self, File};
use crate::medium::{self, Hidden, MediumError};
use crate::paths;
use arrow::array::RecordBatchIterator;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use futures::StreamExt;
use lance::Dataset;
use lance::dataset::{MergeInsertBuilder, WhenMatched, WhenNotMatched, WriteMode, WriteParams};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Batches that wait for Lance.
const WAITING_BATCHES: usize = 2;
/// Rows that are compared at a time.
const COMPARED_ROWS: usize = 1_024;

pub(super) struct Lance {
    target: PathBuf,
    staging: Staging,
    key: Vec<String>,
    overwrite: bool,
    sender: Option<SyncSender<RecordBatch>>,
    worker: Option<JoinHandle<Result<(), SinkError>>>,
    rows: u64,
}

/// A hidden folder that is removed unless it was renamed.
struct Staging(Hidden);

impl Drop for Staging {
    fn drop(&mut self) {
        let _ = disk::remove_dir_all(&self.0);
    }
}

impl Lance {
    pub(super) fn open(spec: &SinkSpec, schema: &SchemaRef) -> Result<Self, SinkError> {
        let plain = paths::relative_output(&spec.path)?;
        let target = match plain.parent().and_then(Path::to_str).filter(|parent| !parent.is_empty()) {
            Some(parent) => paths::output_folder(&spec.base, parent)?,
            None => spec.base.clone(),
        };
        let name = plain.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let target = target.join(&name);
        if target.symlink_metadata().is_ok() {
            paths::output_folder(&spec.base, &spec.path)?;
        }
        for key in &spec.key {
            if schema.column_with_name(key).is_none() {
                let (path, column) = (spec.path.clone(), key.clone());
                let detail = "the key is not a column of the stream".into();
                return Err(SinkError::Column { kind: "lance", path, column, detail });
            }
        }
        medium::remove_stale(&target);
        let staging = Hidden::beside(&target);
        let (sender, receiver) = sync_channel(WAITING_BATCHES);
        let (schema, path) = (schema.clone(), staging.to_path_buf());
        let worker = std::thread::Builder::new()
            .name("lance sink".into())
            .spawn(move || block_on(&path, write_all(&path, schema, receiver)))
            .map_err(|source| MediumError::new("write", &target, source))?;
        Ok(Self {
            target,
            staging: Staging(staging),
            key: spec.key.clone(),
            overwrite: spec.overwrite,
            sender: Some(sender),
            worker: Some(worker),
            rows: 0,
        })
    }

    fn reach(&self, site: Site) -> Result<(), MediumError> {
        reach(site).map_err(|source| MediumError::new("write", &self.target, source))
    }

    /// Ends the worker and returns what went wrong in it.
    fn join(&mut self) -> Result<(), SinkError> {
        self.sender = None;
        match self.worker.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ok(()),
        }
    }
}

impl Drop for Lance {
    fn drop(&mut self) {
        // The worker must not write into the folder that is about to be removed.
        self.sender = None;
        if let Some(worker) = self.worker.take() {
            let _ = worker.join();
        }
    }
}

impl Sink for Lance {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), SinkError> {
        self.rows += batch.num_rows() as u64;
        let is_gone = self.sender.as_ref().is_none_or(|sender| sender.send(batch.clone()).is_err());
        if is_gone {
            self.join()?;
            let detail = "the writer ended before the rows did".into();
            return Err(SinkError::Library { path: self.target.clone(), detail });
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<SinkReport, SinkError> {
        self.join()?;
        let changed = if self.target.exists() {
            let (staging, target) = (self.staging.0.to_path_buf(), self.target.clone());
            let key = if self.overwrite { None } else { Some(self.key.clone()) };
            let twin = Staging(Hidden::beside(&self.target));
            let twin_path = twin.0.to_path_buf();
            // A thread without a runtime of its own, whatever thread the caller stands on.
            let worker =
                std::thread::spawn(move || block_on(&target, update(&staging, &target, &twin_path, key)));
            // Lance panics over a manifest that is cut off; the staged dataset was written a moment ago.
            let changed = worker.join().unwrap_or_else(|_| {
                let detail = "the dataset library cannot read what is there".to_owned();
                Err(SinkError::Damaged { path: self.target.clone(), detail })
            })?;
            if changed {
                self.reach(Site::LanceSinkAfterVersion)?;
                sync_tree(&twin.0)?;
                self.reach(Site::LanceSinkBeforeExchange)?;
                medium::exchange(&twin.0, &self.target)?;
                self.reach(Site::LanceSinkAfterExchange)?;
            }
            changed
        } else {
            self.reach(Site::LanceSinkBeforeFirstSync)?;
            sync_tree(&self.staging.0)?;
            self.reach(Site::LanceSinkBeforeFirstRename)?;
            disk::rename(&self.staging.0, &self.target)
                .map_err(|source| MediumError::new("replace", &self.target, source))?;
            self.reach(Site::LanceSinkAfterFirstRename)?;
            true
        };
        if changed {
            medium::sync_folder(self.target.parent().unwrap_or(Path::new(".")))?;
        }
        let bytes = tree_bytes(&self.target);
        Ok(SinkReport { path: self.target.clone(), rows: self.rows, bytes, changed })
    }
}

fn block_on<T>(path: &Path, work: impl Future<Output = Result<T, SinkError>>) -> Result<T, SinkError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|source| MediumError::new("write", path, source))?
        .block_on(work)
}

fn failed(path: &Path, error: &lance::Error) -> SinkError {
    let detail = error.to_string();
    if detail.contains("No space left") {
        let source = std::io::Error::from(std::io::ErrorKind::StorageFull);
        return SinkError::Medium(MediumError::new("write", path, source));
    }
    SinkError::Library { path: path.to_path_buf(), detail }
}

fn uri(path: &Path) -> Result<&str, SinkError> {
    let detail = "the path is not UTF-8";
    path.to_str().ok_or_else(|| SinkError::Library { path: path.to_path_buf(), detail: detail.into() })
}

async fn write_all(path: &Path, schema: SchemaRef, batches: Receiver<RecordBatch>) -> Result<(), SinkError> {
    let io = |source| MediumError::new("write", path, source);
    reach(Site::LanceSinkBeforeStaging).map_err(io)?;
    let batches = batches.into_iter().map(Ok::<_, ArrowError>);
    let reader = RecordBatchIterator::new(batches, schema);
    let params = WriteParams { mode: WriteMode::Create, ..Default::default() };
    Dataset::write(reader, uri(path)?, Some(params)).await.map_err(|error| failed(path, &error))?;
    reach(Site::LanceSinkAfterStaging).map_err(io)?;
    Ok(())
}

/// Brings a twin of the target to the rows of the staged dataset; `false`, and no twin, if the target holds them already.
async fn update(
    staging: &Path,
    target: &Path,
    twin: &Path,
    key: Option<Vec<String>>,
) -> Result<bool, SinkError> {
    let staged = Dataset::open(uri(staging)?).await.map_err(|error| failed(target, &error))?;
    // The staged rows were written a moment ago: what the library cannot do from here on is for what stands under the name. A
    // manifest that is not its version's, for one, looks to it like another writer, or like a fault of its own.
    let fail = |error: lance::Error| match failed(target, &error) {
        SinkError::Library { path, detail } => SinkError::Damaged { path, detail },
        other => other,
    };
    let current = Dataset::open(uri(target)?).await.map_err(fail)?;
    if is_equal(&staged, &current).await.map_err(fail)? {
        return Ok(false);
    }
    drop(current);
    let io = |source| MediumError::new("write", twin, source);
    reach(Site::LanceSinkBeforeTwin).map_err(io)?;
    link_tree(target, twin)?;
    reach(Site::LanceSinkAfterTwin).map_err(io)?;
    let mut scanner = staged.scan();
    scanner.scan_in_order(true);
    let stream = scanner.try_into_stream().await.map_err(fail)?;
    let stream: datafusion::execution::SendableRecordBatchStream = stream.into();
    match key {
        None => {
            let params = WriteParams { mode: WriteMode::Overwrite, ..Default::default() };
            lance::dataset::InsertBuilder::new(uri(twin)?)
                .with_params(&params)
                .execute_stream(stream)
                .await
                .map_err(fail)?;
        }
        Some(key) => {
            let current = Dataset::open(uri(twin)?).await.map_err(fail)?;
            MergeInsertBuilder::try_new(Arc::new(current), key)
                .map_err(fail)?
                .when_matched(WhenMatched::UpdateAll)
                .when_not_matched(WhenNotMatched::InsertAll)
                .try_build()
                .map_err(fail)?
                .execute(stream)
                .await
                .map_err(fail)?;
        }
    }
    Ok(true)
}

/// Whether both hold the same columns and the same rows in the same order.
async fn is_equal(left: &Dataset, right: &Dataset) -> Result<bool, lance::Error> {
    let schema = Schema::from(left.schema());
    if schema != Schema::from(right.schema())
        || left.count_rows(None).await? != right.count_rows(None).await?
    {
        return Ok(false);
    }
    let mut left_rows = Rows::open(left).await?;
    let mut right_rows = Rows::open(right).await?;
    loop {
        match (left_rows.next().await?, right_rows.next().await?) {
            (None, None) => return Ok(true),
            (Some(left), Some(right)) if left == right => {}
            _ => return Ok(false),
        }
    }
}

/// Rows of a dataset in chunks of [`COMPARED_ROWS`], whatever the sizes of its batches.
struct Rows {
    stream: lance::dataset::scanner::DatasetRecordBatchStream,
    rest: Option<RecordBatch>,
}

impl Rows {
    async fn open(dataset: &Dataset) -> Result<Self, lance::Error> {
        let mut scanner = dataset.scan();
        scanner.batch_size(COMPARED_ROWS);
        scanner.scan_in_order(true);
        Ok(Self { stream: scanner.try_into_stream().await?, rest: None })
    }

    async fn next(&mut self) -> Result<Option<RecordBatch>, lance::Error> {
        let mut whole = self.rest.take();
        while whole.as_ref().is_none_or(|batch| batch.num_rows() < COMPARED_ROWS) {
            let Some(batch) = self.stream.next().await.transpose()? else { break };
            whole = Some(match whole {
                Some(first) => arrow::compute::concat_batches(&batch.schema(), [&first, &batch])?,
                None => batch,
            });
        }
        let Some(batch) = whole.filter(|batch| batch.num_rows() > 0) else { return Ok(None) };
        let count = batch.num_rows().min(COMPARED_ROWS);
        if batch.num_rows() > count {
            self.rest = Some(batch.slice(count, batch.num_rows() - count));
        }
        Ok(Some(batch.slice(0, count)))
    }
}

/// The same files under other names; copies where the file system has no hard links.
fn link_tree(from: &Path, to: &Path) -> Result<(), MediumError> {
    let fail = |source| MediumError::new("write", to, source);
    disk::create_dir_all(to).map_err(fail)?;
    for entry in disk::read_dir(from).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let (path, twin) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().map_err(fail)?.is_dir() {
            link_tree(&path, &twin)?;
        } else if disk::hard_link(&path, &twin).is_err() {
            disk::copy(&path, &twin).map_err(fail)?;
        }
    }
    Ok(())
}

/// Syncs every file and folder below `folder`, and the folder.
fn sync_tree(folder: &Path) -> Result<(), MediumError> {
    let fail = |source| MediumError::new("sync", folder, source);
    for entry in disk::read_dir(folder).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let path = entry.path();
        if entry.file_type().map_err(fail)?.is_dir() {
            sync_tree(&path)?;
        } else {
            File::open(&path).and_then(|file| file.sync_all()).map_err(fail)?;
        }
    }
    medium::sync_folder(folder)
}

fn tree_bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => tree_bytes(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.map(bytes).sum()
}
