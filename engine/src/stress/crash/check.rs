//! After a kill: is the store what its acknowledgements say?
//!
//! ```text
//! acknowledged writes ---.
//! writes in flight, and failed ones ("maybe") -----------> those that the log has, in its order --> expected records
//! the log ---------------'                                                            compare: the records that are there
//! ```
//!
//! What a write held is drawn anew from the seed and never taken from the store, so a value that the store changed and
//! whose checksum it changed as well would be noticed.

use std::collections::BTreeMap;

use promptc_store::kv::{Ack, Records};

use super::plan::Operation;
use crate::error::EngineError;

/// What the child said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// Acknowledgements by writer, each in its order.
    pub(super) acks: Vec<Vec<Ack>>,
    /// Writer and number of each write that failed, as often as it did.
    pub(super) failed: Vec<(u64, u64)>,
}

impl Heard {
    pub(super) fn count(&self) -> u64 {
        self.acks.iter().map(|acks| acks.len() as u64).sum()
    }
}

/// What must be in the store before a cycle.
#[derive(Debug, Clone, Default)]
pub(super) struct Expected {
    pub(super) records: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) last_sequence: u64,
}

/// What is wrong after a cycle.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Finding {
    /// Acknowledged writes that are not in the log, and records that are not what they must be.
    pub lost: u64,
    /// Writes of the log that are neither acknowledged nor in flight as they stand there, and records of batches that are
    /// there in part.
    pub half_batches: u64,
    /// The first of them in words.
    pub detail: Option<String>,
}

impl Finding {
    /// Whether everything is as it must be.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lost == 0 && self.half_batches == 0
    }

    pub(super) fn lose(&mut self, detail: impl FnOnce() -> String) {
        self.lost += 1;
        self.detail.get_or_insert_with(detail);
    }

    fn halve(&mut self, detail: impl FnOnce() -> String) {
        self.half_batches += 1;
        self.detail.get_or_insert_with(detail);
    }
}

/// Compares the store with what was acknowledged, by writer and in order, and moves `expected` on to what is there. Where nothing
/// is promised to last, acknowledged writes may be gone; what is there must be whole all the same.
pub(super) fn check(
    records: &Records,
    is_promised: bool,
    draw: &dyn Fn(u64, u64) -> Operation,
    heard: &Heard,
    expected: &mut Expected,
) -> Result<Finding, EngineError> {
    let acks = &heard.acks;
    let mut finding = Finding::default();
    if let Err(error) = records.verify() {
        finding.lose(|| error.to_string());
        return Ok(finding);
    }
    let mut log: BTreeMap<u64, u32> = BTreeMap::new();
    records.log(expected.last_sequence + 1, |record| log.insert(record.sequence, record.crc).is_none())?;
    let mut done: BTreeMap<u64, Operation> = BTreeMap::new();
    for (writer, acks) in (0..).zip(acks) {
        for (number, ack) in (0..).zip(acks) {
            let operation = draw(writer, number);
            let crc = operation.batch()?.crc_at(ack.sequence);
            let words = || format!("write {number} of writer {writer}, acknowledged as {}", ack.sequence);
            match log.remove(&ack.sequence) {
                Some(found) if found == crc && ack.crc == crc => {
                    done.insert(ack.sequence, operation);
                }
                Some(_) => finding.halve(|| format!("{}, is there with other content", words())),
                None if !is_promised => {}
                None => finding.lose(|| format!("{}, is not there", words())),
            }
        }
    }
    let mut maybe: Vec<Operation> =
        (0..).zip(acks).map(|(writer, acks)| draw(writer, acks.len() as u64)).collect();
    maybe.extend(heard.failed.iter().map(|(writer, number)| draw(*writer, *number)));
    for (sequence, crc) in log {
        let mut is_this = Vec::with_capacity(maybe.len());
        for operation in &maybe {
            is_this.push(operation.batch()?.crc_at(sequence) == crc);
        }
        match is_this.iter().position(|is_this| *is_this) {
            Some(place) => {
                done.insert(sequence, maybe.swap_remove(place));
            }
            None => finding.halve(|| format!("log record {sequence} is of no write that was in flight")),
        }
    }
    compare(records, done, expected, &mut finding)?;
    expected.last_sequence = records.last_sequence();
    Ok(finding)
}

/// Applies what was done, in order, and compares all records.
fn compare(
    records: &Records,
    done: BTreeMap<u64, Operation>,
    expected: &mut Expected,
    finding: &mut Finding,
) -> Result<(), EngineError> {
    let mut of_batches: BTreeMap<Vec<u8>, bool> = BTreeMap::new();
    for operation in done.into_values() {
        let is_batch = operation.changes.len() > 1;
        for (key, value) in operation.changes {
            of_batches.insert(key.clone(), is_batch);
            match value {
                Some(value) => expected.records.insert(key, value),
                None => expected.records.remove(&key),
            };
        }
    }
    let mut found = BTreeMap::new();
    let gather = |key: &[u8], value: &[u8]| found.insert(key.to_vec(), value.to_vec()).is_none();
    records.range(b"", None, gather)?;
    let mut keys: Vec<&Vec<u8>> = found.keys().chain(expected.records.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    for key in keys {
        if found.get(key) == expected.records.get(key) {
            continue;
        }
        let words = || format!("record `{}` has not the value that was written last", key.escape_ascii());
        match of_batches.get(key) {
            Some(true) => finding.halve(words),
            _ => finding.lose(words),
        }
    }
    Ok(())
}
