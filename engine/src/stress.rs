//! Stress: the store under kills and under load.
//!
//! ```text
//! crash    parent: draws a plan --starts--> child: writes, acknowledges on its pipe --SIGKILL--> parent: opens, compares
//!          (or the power of its disk goes, or its disk is full for a while)
//! storage  workload x durability x clients --times--> histograms --> table, rows of the benchmark history
//! ```
//!
//! Nothing is printed here: callers listen. What a run does follows from its seed, except for the moment at which the system
//! stops a process, and except for times.

pub mod crash;
pub mod disk;
pub mod storage;

use std::path::{Path, PathBuf};

use promptc_store::kv::Tuning;
use promptc_store::open::{CACHE_BYTES_DEFAULT, Store, StoreOptions};

use crate::error::EngineError;
use crate::store_errors;

fn open(dir: &Path, tuning: &Tuning) -> Result<Store, EngineError> {
    open_bounded(dir, tuning, CACHE_BYTES_DEFAULT)
}

/// With a row cache of so many bytes.
fn open_bounded(dir: &Path, tuning: &Tuning, cache_bytes: u64) -> Result<Store, EngineError> {
    let options = StoreOptions { cache_bytes, read_only: false };
    Store::open_tuned(dir, &options, tuning).map_err(store_errors::open)
}

/// Something about processes and files around the store, not of the store.
fn fault(message: impl Into<String>, help: &str) -> EngineError {
    EngineError::Store { code: "E2501", message: message.into(), help: Some(help.to_owned()) }
}

/// A folder that is there and empty: nobody's data is written over.
fn empty_folder(dir: &Path) -> Result<PathBuf, EngineError> {
    let io = |source| EngineError::Program { path: dir.to_path_buf(), source };
    std::fs::create_dir_all(dir).map_err(io)?;
    if std::fs::read_dir(dir).map_err(io)?.next().is_some() {
        let message = format!("{} is not empty", dir.display());
        return Err(fault(message, "name a new or an empty folder; stores are made and removed in it"));
    }
    dir.canonicalize().map_err(io)
}
