//! Writing a stream's file beside the operators that make its rows: hashing and compressing one batch while the next is computed.

use arrow::array::RecordBatch;
use promptc_store::flows::{FlowError, FlowMeta, FlowWriter};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::error::EngineError;
use crate::store_errors;

/// Batches that wait for the writer at most; with more the operators wait for it.
const BATCHES_WAITING: usize = 2;

/// A [`FlowWriter`] on a thread of its own. Dropped before [`Writing::finish`], it leaves no file.
pub(super) struct Writing {
    batches: mpsc::Sender<RecordBatch>,
    writer: JoinHandle<Result<FlowWriter, FlowError>>,
}

impl Writing {
    pub(super) fn start(mut writer: FlowWriter) -> Self {
        let (batches, mut waiting) = mpsc::channel::<RecordBatch>(BATCHES_WAITING);
        let writer = tokio::task::spawn_blocking(move || {
            while let Some(batch) = waiting.blocking_recv() {
                writer.write(&batch)?;
            }
            Ok(writer)
        });
        Self { batches, writer }
    }

    /// Hands over the next rows.
    ///
    /// # Errors
    /// The error of an earlier batch.
    pub(super) async fn write(&mut self, batch: RecordBatch) -> Result<(), EngineError> {
        if self.batches.send(batch).await.is_ok() {
            return Ok(());
        }
        // The writer ends early only with an error.
        let ended = (&mut self.writer).await.map_err(|error| EngineError::internal("the writer", error))?;
        Err(match ended {
            Err(error) => store_errors::flow(error),
            Ok(_) => EngineError::internal("the writer", "it ended before its rows did"),
        })
    }

    /// Waits for the rows handed over, and publishes the file.
    ///
    /// # Errors
    /// What [`FlowWriter`] says; then there is no file.
    pub(super) async fn finish(self) -> Result<FlowMeta, EngineError> {
        drop(self.batches);
        let writer = self.writer.await.map_err(|error| EngineError::internal("the writer", error))?;
        writer.and_then(FlowWriter::finish).map_err(store_errors::flow)
    }
}
