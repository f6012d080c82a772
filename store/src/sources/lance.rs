//! A Lance dataset: the declared columns of its newest version, batch by batch.
//!
//! Lance reads asynchronously. A thread of its own drives it and hands batches over through a channel that holds
//! [`WAITING_BATCHES`], so that a source reads alike whether or not its caller stands inside a runtime.

use super::parquet::stored_columns;
use super::{BATCH_BYTES, SourceError, SourceSpec};
use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use futures::StreamExt;
use lance::Dataset;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Batches read ahead of their use.
const WAITING_BATCHES: usize = 2;
/// Bytes of a row that the size of a batch counts with, because the dataset does not say: a vector of 256 floats and a
/// paragraph.
const BYTES_PER_ROW: usize = 4_096;

pub(super) struct Lance {
    batches: Receiver<Result<RecordBatch, SourceError>>,
}

impl Lance {
    pub(super) fn open(spec: &SourceSpec, dataset: PathBuf, batch_rows: usize) -> Result<Self, SourceError> {
        let (sender, batches) = sync_channel(WAITING_BATCHES);
        let spec = spec.clone();
        let path = dataset.clone();
        std::thread::Builder::new()
            .name("lance source".into())
            .spawn(move || read(&spec, &path, batch_rows, &sender))
            .map_err(|source| SourceError::Unreadable { path: dataset, source })?;
        Ok(Self { batches })
    }

    pub(super) fn next_batch(&mut self) -> Option<Result<RecordBatch, SourceError>> {
        self.batches.recv().ok()
    }
}

fn read(
    spec: &SourceSpec,
    path: &Path,
    batch_rows: usize,
    sender: &SyncSender<Result<RecordBatch, SourceError>>,
) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(send_all(spec, path, batch_rows, sender)),
        Err(source) => Err(SourceError::Unreadable { path: path.to_path_buf(), source }),
    };
    if let Err(error) = result {
        // The reader may have gone; then nobody waits for the error.
        let _ = sender.send(Err(error));
    }
}

async fn send_all(
    spec: &SourceSpec,
    path: &Path,
    batch_rows: usize,
    sender: &SyncSender<Result<RecordBatch, SourceError>>,
) -> Result<(), SourceError> {
    let damaged =
        |error: lance::Error| SourceError::Damaged { path: path.to_path_buf(), detail: error.to_string() };
    let uri = path.to_str().ok_or_else(|| SourceError::NameNotText { path: path.to_path_buf() })?;
    let dataset = Dataset::open(uri).await.map_err(damaged)?;
    let stored = Schema::from(dataset.schema());
    let positions = stored_columns(&stored, &spec.columns, uri)?;
    let names: Vec<&str> = positions.iter().map(|position| stored.field(*position).name().as_str()).collect();
    let mut scanner = dataset.scan();
    scanner.project(&names).map_err(damaged)?;
    scanner.batch_size((BATCH_BYTES / BYTES_PER_ROW).clamp(1, batch_rows.max(1)));
    scanner.scan_in_order(true);
    let mut stream = scanner.try_into_stream().await.map_err(damaged)?;
    while let Some(batch) = stream.next().await {
        let is_last = batch.is_err();
        if sender.send(batch.map_err(damaged)).is_err() || is_last {
            return Ok(());
        }
    }
    Ok(())
}
