//! Batches that a blocking operator must see twice: in memory while the pool allows it, beyond that in a temporary file.

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::FileReader;
use arrow::ipc::writer::FileWriter;
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::execution::disk_manager::RefCountedTempFile;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};

use crate::error::EngineError;

/// Batches in the order they came.
pub struct Buffer {
    schema: SchemaRef,
    reservation: MemoryReservation,
    context: Arc<TaskContext>,
    in_memory: Vec<RecordBatch>,
    spill: Option<Spill>,
    count: usize,
}

struct Spill {
    file: RefCountedTempFile,
    writer: Option<FileWriter<BufWriter<File>>>,
}

impl Buffer {
    /// An empty buffer that takes its memory from the pool of `context` under the name of `operator`.
    #[must_use]
    pub fn new(operator: &str, schema: SchemaRef, context: Arc<TaskContext>) -> Self {
        let reservation = MemoryConsumer::new(operator).with_can_spill(true).register(context.memory_pool());
        Self { schema, reservation, context, in_memory: Vec::new(), spill: None, count: 0 }
    }

    /// Adds a batch. The first one that the pool has no room for opens the file; later ones follow it there.
    ///
    /// # Errors
    /// A full disk, or a disk limit that is reached.
    pub fn push(&mut self, batch: RecordBatch) -> Result<(), EngineError> {
        self.count += 1;
        if self.spill.is_none() && self.reservation.try_grow(batch.get_array_memory_size()).is_ok() {
            self.in_memory.push(batch);
            return Ok(());
        }
        let spill = match &mut self.spill {
            Some(spill) => spill,
            None => {
                let file = self.context.runtime_env().disk_manager.create_tmp_file("promptc buffer")?;
                let writer = File::create(file.path()).map_err(DataFusionError::IoError)?;
                let writer = FileWriter::try_new(BufWriter::new(writer), &self.schema)?;
                self.spill.insert(Spill { file, writer: Some(writer) })
            }
        };
        if let Some(writer) = &mut spill.writer {
            writer.write(&batch)?;
        }
        Ok(())
    }

    /// Ends the writing; the buffer can then be read, as often as wanted.
    ///
    /// # Errors
    /// A full disk.
    pub fn finish(&mut self) -> Result<(), EngineError> {
        if let Some(mut writer) = self.spill.as_mut().and_then(|spill| spill.writer.take()) {
            writer.finish()?;
        }
        Ok(())
    }

    /// How many batches there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is no batch.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The batch with a number; those in the file are read again.
    ///
    /// # Errors
    /// A temporary file that cannot be read back.
    pub fn batch(&self, idx: usize) -> Result<RecordBatch, EngineError> {
        if let Some(batch) = self.in_memory.get(idx) {
            return Ok(batch.clone());
        }
        let missing = || EngineError::internal("buffer", format!("no batch {idx}"));
        let spill = self.spill.as_ref().ok_or_else(missing)?;
        let file = File::open(spill.file.path()).map_err(DataFusionError::IoError)?;
        let mut reader = FileReader::try_new(BufReader::new(file), None)?;
        reader.set_index(idx - self.in_memory.len())?;
        Ok(reader.next().ok_or_else(missing)??)
    }
}
