//! The stores that are measured: made, weighed, removed; and the memory that they take.

use std::path::Path;

use promptc_store::kv::{Batch, Durability};

use super::TUNING;
use super::data::{Shuffled, Values, key};
use super::workload::BATCH;
use crate::context::Cancel;
use crate::error::EngineError;
use crate::stress::open;

/// A store with every record once, its tables merged.
pub(super) fn load(folder: &Path, records: u64, values: &Values, cancel: &Cancel) -> Result<(), EngineError> {
    let store = open(folder, &TUNING)?;
    let mut batch = Batch::new();
    let order = Shuffled::new(records);
    for number in 0..records {
        batch.put(&key(order.at(number)), values.at(number))?;
        if batch.len() as u64 == BATCH {
            if cancel.is_cancelled() {
                return Err(EngineError::Interrupted);
            }
            store.records().write(std::mem::take(&mut batch), Durability::Wal)?;
        }
    }
    store.records().write(batch, Durability::WalFsync)?;
    store.records().compact()?;
    Ok(())
}

pub(super) fn remove(folder: &Path) -> Result<(), EngineError> {
    match std::fs::remove_dir_all(folder) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(EngineError::Program { path: folder.to_path_buf(), source })
        }
        _ => Ok(()),
    }
}

/// Memory of this process that no file stands behind.
pub(super) fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1_024)
}

/// Bytes of the database's files in a store. A table that goes while it is looked at counts as gone.
pub(super) fn table_bytes(store: &Path) -> Result<u64, EngineError> {
    let folder = store.join("kv");
    let io = |source| EngineError::Program { path: folder.clone(), source };
    let mut bytes = 0;
    for entry in std::fs::read_dir(&folder).map_err(io)? {
        bytes += entry.map_err(io)?.metadata().map_or(0, |metadata| metadata.len());
    }
    Ok(bytes)
}
