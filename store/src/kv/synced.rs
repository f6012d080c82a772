//! How far the log was on the device, as a lower bound that outlives the process.
//!
//! ```text
//! kv/SYNCED   sequence u64 | crc32 of it u32       little-endian; written in place after every sync of the log, itself not synced
//! ```
//!
//! RocksDB can read a log whose end is damaged up to there, and cannot tell what a power cut left of writes that nobody synced
//! from damage to those that somebody did. This number can: a log that ends before it has lost what was acknowledged.
//! After a kill it is the newest sync; after a power cut it is that, or an older one, and so true all the same.
//!
//! Losing it costs this check and nothing else: a file that is missing or damaged says 0.

use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::medium::disk::{self, File};

/// Name of the file in the database's folder; RocksDB leaves names alone that it does not know.
const SYNCED_NAME: &str = "SYNCED";
const SEQUENCE_BYTES: usize = 8;

/// The bound, and the file that holds it.
#[derive(Debug)]
pub(super) struct Synced {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// None where nothing may be written, or the file could not be made.
    file: Option<File>,
    sequence: u64,
}

impl Synced {
    /// For a database that is written.
    pub(super) fn open(database: &Path) -> Self {
        let sequence = read(database);
        let file = File::open_or_create(&database.join(SYNCED_NAME)).ok();
        Self { state: Mutex::new(State { file, sequence }) }
    }

    /// For a database that is only read.
    pub(super) fn unwritten() -> Self {
        Self { state: Mutex::new(State { file: None, sequence: 0 }) }
    }

    /// Every write up to `sequence` is on the device. Costs a write into the page cache. An error is no loss: the bound stays
    /// where it was.
    pub(super) fn note(&self, sequence: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { file: Some(file), sequence: noted } = &mut *state else { return };
        if sequence <= *noted {
            return;
        }
        if file.seek(SeekFrom::Start(0)).and_then(|_| file.write_all(&encode(sequence))).is_ok() {
            *noted = sequence;
        }
    }
}

/// The bound in the folder of a database.
pub(crate) fn read(database: &Path) -> u64 {
    let stored = disk::read(&database.join(SYNCED_NAME)).unwrap_or_default();
    let sequence = stored.first_chunk::<SEQUENCE_BYTES>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    if stored == encode(sequence) { sequence } else { 0 }
}

fn encode(sequence: u64) -> Vec<u8> {
    let bytes = sequence.to_le_bytes();
    [bytes.as_slice(), &crc32fast::hash(&bytes).to_le_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_rises_and_damage_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()), 0);
        let synced = Synced::open(dir.path());
        for sequence in [3, 9, 5] {
            synced.note(sequence);
        }
        assert_eq!(read(dir.path()), 9);
        drop(synced);
        Synced::open(dir.path()).note(4);
        assert_eq!(read(dir.path()), 9);
        Synced::unwritten().note(99);
        let path = dir.path().join(SYNCED_NAME);
        let good = std::fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut wrong = good.clone();
            wrong[at] ^= 1;
            std::fs::write(&path, wrong).unwrap();
            assert_eq!(read(dir.path()), 0, "byte {at}");
            std::fs::write(&path, &good[..at]).unwrap();
            assert_eq!(read(dir.path()), 0, "cut at {at}");
        }
    }
}
