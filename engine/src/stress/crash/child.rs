//! The process that is killed: writers that say on a pipe what was acknowledged to them.
//!
//! One line per acknowledgement, written in one call after the write returned, so a line is there or not:
//!
//! ```text
//! ready
//! <writer> <number> <sequence> <checksum>
//! full <writer> <number>                     no room; the same write is tried again
//! ```

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use promptc_store::kv::{Ack, Batch, Durability, KvError, Records};
use promptc_store::open::Store;

use super::documents::{self, Applier};
use super::hazard::Hazard;
use super::plan::{Operation, Plan};
use crate::error::EngineError;
use crate::stress::open;

/// A fault that is built in, to show that the test finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// Acknowledges writes that it only keeps in a buffer.
    Early,
    /// Says that writes are logged, and writes them to memory.
    Unlogged,
    /// Writes the operations of a batch one by one.
    Split,
    /// Says that writes are synced, and leaves them in the page cache.
    Unsynced,
}

impl Control {
    /// All faults.
    pub const ALL: [Self; 4] = [Self::Early, Self::Unlogged, Self::Split, Self::Unsynced];

    /// Its name on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Early => "early",
            Self::Unlogged => "unlogged",
            Self::Split => "split",
            Self::Unsynced => "unsynced",
        }
    }

    /// The fault that a text names.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|control| control.as_str() == text)
    }
}

/// What the child is told.
#[derive(Debug, Clone)]
pub struct ChildOptions {
    /// Folder of the store.
    pub dir: PathBuf,
    /// Seed of the run.
    pub seed: u64,
    /// Number of the cycle.
    pub cycle: u64,
    /// What will be done to it.
    pub hazard: Hazard,
    /// A fault to build in.
    pub control: Option<Control>,
}

/// Writes of one writer at most: more than a disk takes in the half second that a child lives.
const OPERATIONS_MAX: u64 = 1_000_000;
/// Writes that [`Control::Early`] keeps back.
const BUFFERED: usize = 16;

/// Time between two tries of a write for which there was no room, and most tries: two minutes.
const FULL_WAIT: Duration = Duration::from_millis(20);
const FULL_TRIES: u32 = 6_000;

/// First word of a line about a write that found no room.
pub(super) const FULL: &str = "full";
/// First word of the child.
pub(super) const READY: &str = "ready";

/// Opens the store and writes until it is killed, or until nobody reads `output` any more.
///
/// # Errors
/// The store does not open, or a write fails.
pub fn child(options: &ChildOptions, output: impl Write + Send) -> Result<(), EngineError> {
    let plan = Plan::draw(options.seed, options.cycle, options.hazard);
    let store = open(&options.dir, &plan.tuning)?;
    let output = Mutex::new(output);
    if say(&output, READY).is_err() {
        return Ok(());
    }
    let writer_count = if options.control == Some(Control::Early) { 1 } else { plan.writer_count };
    let has_documents = plan.has_documents && options.control.is_none();
    let (plan, output, store) = (&plan, &output, &store);
    std::thread::scope(|scope| {
        let write = |writer| scope.spawn(move || write(options, plan, writer, store.records(), output));
        let mut writers: Vec<_> = (0..writer_count).map(write).collect();
        if has_documents {
            writers.push(scope.spawn(move || write_documents(options, plan, store, output)));
        }
        for writer in writers {
            writer.join().map_err(|_| EngineError::internal("a writer", "it panicked"))??;
        }
        Ok(())
    })
}

fn write(
    options: &ChildOptions,
    plan: &Plan,
    writer: u64,
    records: &Records,
    output: &Mutex<impl Write>,
) -> Result<(), EngineError> {
    let mut buffered: Vec<Batch> = Vec::new();
    for number in 0..OPERATIONS_MAX {
        let operation = Operation::draw(options.seed, options.cycle, writer, number);
        let batch = operation.batch()?;
        let ack = match options.control {
            None if options.hazard == Hazard::FullDisk => {
                let told = |line: &str| say(output, line);
                match patient(
                    records,
                    &operation,
                    plan.durability,
                    &format!("{FULL} {writer} {number}"),
                    &told,
                )? {
                    Some(ack) => ack,
                    None => break,
                }
            }
            None => records.write(batch, plan.durability)?,
            Some(Control::Unsynced) => records.write(batch, Durability::Wal)?,
            Some(Control::Unlogged) => records.write(batch, Durability::None)?,
            Some(Control::Split) => split(records, &operation, &batch, plan.durability)?,
            Some(Control::Early) => {
                let sequence = records.last_sequence() + 1 + buffered.len() as u64;
                let ack = Ack { sequence, crc: batch.crc_at(sequence) };
                buffered.push(batch);
                if buffered.len() == BUFFERED {
                    for batch in buffered.drain(..) {
                        records.write(batch, plan.durability)?;
                    }
                }
                ack
            }
        };
        if say(output, &format!("{writer} {number} {} {}", ack.sequence, ack.crc)).is_err() {
            break;
        }
    }
    Ok(())
}

/// The writer of documents, numbered after the others.
fn write_documents(
    options: &ChildOptions,
    plan: &Plan,
    store: &Store,
    output: &Mutex<impl Write>,
) -> Result<(), EngineError> {
    let mut applier = Applier::new()?;
    let writer = plan.writer_count;
    let told = |line: &str| say(output, line);
    for number in 0..OPERATIONS_MAX {
        let operation = documents::operation(options.seed, options.cycle, number);
        let full = format!("{FULL} {writer} {number}");
        let written = patient(store.records(), &operation, plan.durability, &full, &told)?;
        let Some(ack) = written else { break };
        if say(output, &format!("{writer} {number} {} {}", ack.sequence, ack.crc)).is_err() {
            break;
        }
        applier.after(store, number)?;
    }
    Ok(())
}

/// Tries again and again while there is no room, and says so each time; `None` if nobody reads any more.
fn patient(
    records: &Records,
    operation: &Operation,
    durability: Durability,
    line: &str,
    say: &dyn Fn(&str) -> io::Result<()>,
) -> Result<Option<Ack>, EngineError> {
    let mut tries = 0;
    loop {
        match records.write(operation.batch()?, durability) {
            Ok(ack) => return Ok(Some(ack)),
            Err(KvError::Full { .. }) if tries < FULL_TRIES => {
                tries += 1;
                if say(line).is_err() {
                    return Ok(None);
                }
                std::thread::sleep(FULL_WAIT);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// One by one; the answer is that of the whole.
fn split(
    records: &Records,
    operation: &Operation,
    whole: &Batch,
    durability: Durability,
) -> Result<Ack, KvError> {
    let mut sequence = 0;
    for (key, value) in &operation.changes {
        let ack = match value {
            Some(value) => records.put(key, value, durability)?,
            None => records.delete(key, durability)?,
        };
        sequence = ack.sequence;
    }
    Ok(Ack { sequence, crc: whole.crc_at(sequence) })
}

fn say(output: &Mutex<impl Write>, line: &str) -> io::Result<()> {
    let mut output = output.lock().map_err(|_| io::Error::other("a writer panicked"))?;
    output.write_all(format!("{line}\n").as_bytes())?;
    output.flush()
}

/// Removes a store of the test; a folder that is not there is no error.
pub(super) fn remove_store(dir: &Path) -> Result<(), EngineError> {
    match std::fs::remove_dir_all(dir) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(EngineError::Program { path: dir.to_path_buf(), source })
        }
        _ => Ok(()),
    }
}
