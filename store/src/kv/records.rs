//! Records: a map from bytes to bytes whose every change is a record of the log.
//!
//! ```text
//! put, delete, batch --group commit--> one WriteBatch: log record | operations on `records` --> Ack (sequence, checksum)
//! get, range  <-- checksum over sequence, key and value
//! ```
//!
//! What is acknowledged is there after what its [`Durability`] names. A log record and its operations are there together or
//! not at all, at every level. Bytes that are not what was written are an error that names the record, never an answer.

use super::codec::{Batch, LogRecord, decode_log, decode_value};
use super::group_commit::{Ack, GroupCommit, WriteCounts};
use super::log::TRIMMED_KEY;
use super::tuning::{Durability, GROUP_RECORDS_MAX, Tuning};
use super::{Kv, KvError, LOG, Opened, RECORDS};
use crate::failpoint::Site;
use rocksdb::{DBRawIterator, FlushOptions, ReadOptions};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The log and its records. Cheap to clone; may be used from any thread.
#[derive(Debug, Clone)]
pub struct Records {
    pub(super) kv: Arc<Kv>,
    pub(super) writes: Arc<GroupCommit>,
}

/// What [`Records::verify`] read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verified {
    /// Records of the log.
    pub log_records: u64,
    /// Sequences between the first and the last that have no record: writes that failed, or were not promised to last.
    pub gaps: u64,
    /// Keys in `records`.
    pub keys: u64,
}

impl Records {
    /// Reads the newest records of the log, as many as a group has, and goes on after the last.
    pub(crate) fn open(kv: Arc<Kv>, tuning: &Tuning) -> Result<Self, KvError> {
        let last = newest_sequence(&kv, &kv.now())?.unwrap_or(0);
        let writes = Arc::new(GroupCommit::new(kv.clone(), tuning));
        let records = Self { kv, writes };
        let next = last.max(records.trimmed()?).checked_add(1);
        let next = next.ok_or_else(|| records.kv.damaged("the log has no sequence left".into()))?;
        records.writes.begin_at(next);
        Ok(records)
    }

    /// Puts one value.
    ///
    /// # Errors
    /// E1006 a key or value beyond its bound; E1004 the disk is full; E1005 the log could not be synced, now or before.
    /// After an error the value may or may not be there, whole.
    pub fn put(&self, key: &[u8], value: &[u8], durability: Durability) -> Result<Ack, KvError> {
        let mut batch = Batch::new();
        batch.put(key, value)?;
        self.write(batch, durability)
    }

    /// Deletes one key; one that is not there is no error, and is a record of the log all the same.
    ///
    /// # Errors
    /// As for [`Records::put`].
    pub fn delete(&self, key: &[u8], durability: Durability) -> Result<Ack, KvError> {
        let mut batch = Batch::new();
        batch.delete(key)?;
        self.write(batch, durability)
    }

    /// Writes all operations of a batch, or none. It becomes visible to readers in one step.
    ///
    /// # Errors
    /// As for [`Records::put`].
    pub fn write(&self, batch: Batch, durability: Durability) -> Result<Ack, KvError> {
        self.writes.write(batch, durability)
    }

    /// The value under `key`.
    ///
    /// # Errors
    /// E1003 if it is not what was written.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        let kv = &*self.kv;
        let opened = kv.now();
        let Some(family) = opened.family_if_held(RECORDS) else { return Ok(None) };
        let stored =
            opened.db.get_pinned_cf_opt(family, key, &opened.reading).map_err(|source| kv.error(source))?;
        let decode = |stored: rocksdb::DBPinnableSlice<'_>| match decode_value(key, &stored) {
            Some((_, _, value)) => Ok(value.to_vec()),
            None => Err(damaged_value(kv, key)),
        };
        stored.map(decode).transpose()
    }

    /// Calls `visit` with the keys from `start` to before `end` and their values, in byte order, until it answers `false`.
    /// Without an `end` to the last key. Sees the records of one moment.
    ///
    /// # Errors
    /// E1003 at the first value that is not what was written; those before it were visited.
    pub fn range(
        &self,
        start: &[u8],
        end: Option<&[u8]>,
        mut visit: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), KvError> {
        self.for_each_stored(start, end, |key, _, _, value| Ok(visit(key, value)))
    }

    /// Calls `visit` with the log's records from sequence `from` on, in order, until it answers `false`.
    ///
    /// # Errors
    /// E1003 at the first record that is not what was written.
    pub fn log(&self, from: u64, mut visit: impl FnMut(LogRecord) -> bool) -> Result<(), KvError> {
        let opened = self.kv.now();
        let Some(family) = opened.family_if_held(LOG) else { return Ok(()) };
        let mut entries = opened.db.raw_iterator_cf_opt(family, reading_once());
        entries.seek(from.max(1).to_be_bytes());
        while let Some(record) = log_record(&self.kv, &entries)? {
            if !visit(record) {
                break;
            }
            entries.next();
        }
        Ok(())
    }

    /// Merges the tables of log and records, so that a read looks into one table per level. For measurements and after large
    /// deletions; costs reading and writing everything once.
    ///
    /// # Errors
    /// The store was opened for reading only, or its buffers cannot be written.
    pub fn compact(&self) -> Result<(), KvError> {
        let kv = &*self.kv;
        kv.check_writable()?;
        let opened = kv.now();
        let families = [opened.family(LOG), opened.family(RECORDS)];
        kv.reach(Site::RecordsBeforeCompact)?;
        opened.db.flush_cfs_opt(&families, &FlushOptions::default()).map_err(|source| kv.error(source))?;
        kv.reach(Site::RecordsAfterCompactFlush)?;
        for family in families {
            opened.db.compact_range_cf(family, None::<&[u8]>, None::<&[u8]>);
        }
        Ok(())
    }

    /// Number of the newest write, 0 if there is none. A write that is just being done counts.
    #[must_use]
    pub fn last_sequence(&self) -> u64 {
        self.writes.last_sequence()
    }

    /// What was written since the store was opened.
    #[must_use]
    pub fn counts(&self) -> WriteCounts {
        self.writes.counts()
    }

    /// Reads everything and compares: every record of the log and every value has its checksum, and `records` holds exactly
    /// what the log says; of what it said before it was trimmed, values alone can be compared. For a store that nobody writes
    /// meanwhile. Memory: the keys.
    ///
    /// # Errors
    /// E1003 with what differs first.
    pub fn verify(&self) -> Result<Verified, KvError> {
        let mut verified = Verified::default();
        let trimmed = self.trimmed()?;
        let mut first = None;
        let mut last = 0;
        // Of each key: sequence, bytes and checksum of the newest put.
        let mut newest: BTreeMap<Vec<u8>, (u64, u32, u32)> = BTreeMap::new();
        self.log(0, |record| {
            verified.log_records += 1;
            first.get_or_insert(record.sequence);
            last = record.sequence;
            for change in record.changes {
                match change.put {
                    Some((bytes, crc)) => newest.insert(change.key, (record.sequence, bytes, crc)),
                    None => newest.remove(&change.key),
                };
            }
            true
        })?;
        verified.gaps = first.map_or(0, |first: u64| last - first + 1 - verified.log_records);
        self.for_each_stored(b"", None, |key, sequence, crc, value| {
            verified.keys += 1;
            let found = (sequence, value.len() as u32, crc);
            match newest.remove(key) {
                Some(logged) if logged == found => Ok(true),
                Some((logged, ..)) => Err(self.kv.damaged(format!(
                    "record `{}` is of write {sequence}, by the log of {logged}",
                    key.escape_ascii()
                ))),
                None if sequence <= trimmed => Ok(true),
                None => Err(self.kv.damaged(format!(
                    "record `{}` of write {sequence} is not in the log",
                    key.escape_ascii()
                ))),
            }
        })?;
        match newest.into_iter().next() {
            None => Ok(verified),
            Some((key, (sequence, ..))) => {
                let key = key.escape_ascii();
                Err(self.kv.damaged(format!("record `{key}` of write {sequence} is missing")))
            }
        }
    }

    /// What the user should know about how the database was opened.
    pub(crate) fn notice(&self) -> Option<String> {
        self.kv.notice()
    }

    /// The error for something that is to be tried again when there is room.
    pub(crate) fn full(&self, detail: &str) -> KvError {
        KvError::Full { path: self.kv.path.clone(), detail: detail.to_owned() }
    }

    /// The error for a record whose bytes are whole and make no sense to whom they belong.
    pub(crate) fn damaged(&self, detail: String) -> KvError {
        self.kv.damaged(detail)
    }

    /// Key, sequence, checksum and value of each record from `start` to before `end`.
    fn for_each_stored(
        &self,
        start: &[u8],
        end: Option<&[u8]>,
        mut visit: impl FnMut(&[u8], u64, u32, &[u8]) -> Result<bool, KvError>,
    ) -> Result<(), KvError> {
        let kv = &*self.kv;
        let opened = kv.now();
        let Some(family) = opened.family_if_held(RECORDS) else { return Ok(()) };
        let mut options = ReadOptions::default();
        if let Some(end) = end {
            options.set_iterate_upper_bound(end);
        }
        let mut entries = opened.db.raw_iterator_cf_opt(family, options);
        entries.seek(start);
        while let Some((key, stored)) = entries.item() {
            let (sequence, crc, value) = decode_value(key, stored).ok_or_else(|| damaged_value(kv, key))?;
            if !visit(key, sequence, crc, value)? {
                return Ok(());
            }
            entries.next();
        }
        entries.status().map_err(|source| kv.error(source))
    }
}

/// Compares the newest records of the log, as many as a group has, and answers the last sequence.
pub(super) fn newest_sequence(kv: &Kv, opened: &Opened) -> Result<Option<u64>, KvError> {
    let Some(family) = opened.family_if_held(LOG) else { return Ok(None) };
    let mut last = None;
    let mut entries = opened.db.raw_iterator_cf(family);
    entries.seek_to_last();
    for _ in 0..GROUP_RECORDS_MAX {
        let Some(record) = log_record(kv, &entries)? else { break };
        last = last.or(Some(record.sequence));
        entries.prev();
    }
    Ok(last)
}

/// The log record that an iterator stands on; `None` beyond the ends.
pub(super) fn log_record(kv: &Kv, entries: &DBRawIterator<'_>) -> Result<Option<LogRecord>, KvError> {
    match entries.item() {
        // Before the first record: up to where the log was trimmed.
        Some((key, _)) if key == TRIMMED_KEY => Ok(None),
        Some((key, value)) => decode_log(key, value).map(Some).map_err(|detail| kv.damaged(detail)),
        None => entries.status().map(|()| None).map_err(|source| kv.error(source)),
    }
}

fn damaged_value(kv: &Kv, key: &[u8]) -> KvError {
    kv.damaged(format!("record `{}`: checksum differs", key.escape_ascii()))
}

/// Reading a whole family does not push out what others read again and again.
fn reading_once() -> ReadOptions {
    let mut options = ReadOptions::default();
    options.fill_cache(false);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(dir: &std::path::Path) -> Records {
        Records::open(Kv::open(dir, false, None).unwrap(), &Tuning::STANDARD).unwrap()
    }

    fn filled(dir: &std::path::Path) -> Records {
        let records = records(dir);
        records.put(b"a", b"1", Durability::Wal).unwrap();
        records.put(b"b", b"2", Durability::GroupCommit).unwrap();
        records.put(b"c", b"3", Durability::WalFsync).unwrap();
        records
    }

    #[test]
    fn damaged_values_are_named_and_never_answered() {
        let dir = tempfile::tempdir().unwrap();
        let records = filled(dir.path());
        let kv = records.kv.now();
        let family = kv.family(RECORDS);
        let mut stored = kv.db.get_cf(family, b"b").unwrap().unwrap();
        let foreign = stored.clone();
        *stored.last_mut().unwrap() ^= 1;
        for wrong in [stored.as_slice(), b"", b"short"] {
            kv.db.put_cf(family, b"b", wrong).unwrap();
            let error = records.get(b"b").unwrap_err();
            assert_eq!(error.code(), "E1003");
            assert!(error.to_string().contains("record `b`"), "{error}");
            assert_eq!(records.range(b"", None, |_, _| true).unwrap_err().code(), "E1003");
            assert_eq!(records.verify().unwrap_err().code(), "E1003");
        }
        kv.db.put_cf(family, b"b", &foreign).unwrap();
        records.verify().unwrap();
        kv.db.put_cf(family, b"z", foreign).unwrap();
        assert_eq!(records.get(b"z").unwrap_err().code(), "E1003");
    }

    #[test]
    fn a_damaged_log_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let records = filled(dir.path());
        let kv = records.kv.now();
        let family = kv.family(LOG);
        let mut logged = kv.db.get_cf(family, 2_u64.to_be_bytes()).unwrap().unwrap();
        logged[12] ^= 1;
        kv.db.put_cf(family, 2_u64.to_be_bytes(), logged).unwrap();
        let error = records.log(1, |_| true).unwrap_err();
        assert!(error.code() == "E1003" && error.to_string().contains("log record 2"), "{error}");
        drop((kv, records));
        let kv = Kv::open(dir.path(), false, None).unwrap();
        let error = Records::open(kv, &Tuning::STANDARD).unwrap_err();
        assert!(error.to_string().contains("log record 2"), "{error}");
    }

    #[test]
    fn records_that_differ_from_the_log_are_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let records = filled(dir.path());
        records.put(b"b", b"later", Durability::Wal).unwrap();
        records.delete(b"a", Durability::Wal).unwrap();
        let expected = Verified { log_records: 5, gaps: 0, keys: 2 };
        assert_eq!(records.verify().unwrap(), expected);
        let kv = records.kv.now();
        let family = kv.family(RECORDS);
        let stored = kv.db.get_cf(family, b"c").unwrap().unwrap();
        kv.db.delete_cf(family, b"c").unwrap();
        assert!(records.verify().unwrap_err().to_string().contains("`c` of write 3 is missing"));
        kv.db.put_cf(family, b"c", stored).unwrap();
        kv.db.delete_cf(kv.family(LOG), 3_u64.to_be_bytes()).unwrap();
        assert!(records.verify().unwrap_err().to_string().contains("not in the log"));
        kv.db.delete_cf(family, b"c").unwrap();
        assert_eq!(records.verify().unwrap(), Verified { log_records: 4, gaps: 1, keys: 1 });
    }

    #[test]
    fn a_repair_that_was_killed_leaves_a_database_that_can_be_read() {
        let dir = tempfile::tempdir().unwrap();
        drop(filled(dir.path()));
        let families = ["rows", "ledger", "meta", "log", "records"];
        let mut db = rocksdb::DB::open_cf(&rocksdb::Options::default(), dir.path(), families).unwrap();
        families[..3].iter().for_each(|name| db.drop_cf(name).unwrap());
        drop(db);
        let kv = Kv::open(dir.path(), true, None).unwrap();
        let ledger = crate::kv::Ledger::open(kv.clone());
        assert_eq!(ledger.get("build/a").unwrap(), None);
        assert_eq!((ledger.get_memos(&["a".to_owned()]), ledger.uses().unwrap()), (vec![None], vec![]));
        assert_eq!(crate::kv::RowCache::open(kv, 1 << 20).unwrap().get_many(&[[0; 32]]), [None]);
        assert_eq!(records(dir.path()).get(b"a").unwrap().unwrap(), b"1");
    }

    #[test]
    fn a_database_without_the_families_is_read_as_empty() {
        let dir = tempfile::tempdir().unwrap();
        let mut options = rocksdb::Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        drop(rocksdb::DB::open_cf(&options, dir.path(), ["rows", "ledger", "meta"]).unwrap());
        let kv = Kv::open(dir.path(), true, None).unwrap();
        let read = Records::open(kv, &Tuning::STANDARD).unwrap();
        assert_eq!(read.get(b"a").unwrap(), None);
        assert_eq!(read.verify().unwrap(), Verified::default());
        assert!(matches!(read.put(b"a", b"1", Durability::Wal), Err(KvError::ReadOnly { .. })));
        drop(read);
        assert_eq!(records(dir.path()).put(b"a", b"1", Durability::Wal).unwrap().sequence, 1);
    }
}
