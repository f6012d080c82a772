//! The ledger: build records and the memory of file hashes.
//!
//! ```text
//! name (text) -> checksum 8 bytes | bytes
//! ```
//!
//! A build record is opaque here. By convention a build writes, in the same batch as its record, the key
//! [`uses_key`]: the files of the store that it stands on, one path per line. Garbage collection keeps what any of these
//! name; a build that fails before the batch leaves the old record and the old files in force.

use crate::failpoint::Site;

use super::{CHECKSUM_BYTES, Kv, KvError, LEDGER, checksum};
use rocksdb::{Direction, IteratorMode, WriteBatch, WriteOptions};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Keys under this prefix say which files of the store a program's last build stands on.
const USES: &str = "uses/";

/// Name and value as they are stored.
type RawEntry = (Vec<u8>, Vec<u8>);

/// Build records, by name. Cheap to clone; may be used from any thread.
#[derive(Debug, Clone)]
pub struct Ledger {
    kv: Arc<Kv>,
}

/// Name of the entry that says which files of the store the last build of `program` stands on.
pub fn uses_key(program: &str) -> String {
    format!("{USES}{program}")
}

/// The value for [`uses_key`]: paths relative to the store's folder, `/`-separated, such as `flows/<fp>.parquet`,
/// `vectors/<name>.lance` or `text/<name>`.
pub fn uses_value<'a>(paths: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    let paths: BTreeSet<&str> = paths.into_iter().collect();
    paths.into_iter().collect::<Vec<_>>().join("\n").into_bytes()
}

impl Ledger {
    pub(crate) fn open(kv: Arc<Kv>) -> Self {
        Self { kv }
    }

    /// The bytes under `name`. Error: E1003 if they are not what was written.
    pub fn get(&self, name: &str) -> Result<Option<Vec<u8>>, KvError> {
        let opened = self.kv.now();
        let Some(family) = opened.family_if_held(LEDGER) else { return Ok(None) };
        let value = opened.db.get_pinned_cf(family, name).map_err(|source| self.kv.error(source))?;
        value.map(|value| self.decode(name.as_bytes(), &value)).transpose()
    }

    /// The bytes under each name, in the order of `names`; `None` also for a damaged entry, because callers of this form
    /// keep there what they can compute again. One batched read.
    pub fn get_memos(&self, names: &[String]) -> Vec<Option<Vec<u8>>> {
        let opened = self.kv.now();
        let Some(family) = opened.family_if_held(LEDGER) else { return vec![None; names.len()] };
        let found = opened.db.batched_multi_get_cf(family, names, false);
        let decode = |(name, value): (&String, Result<Option<rocksdb::DBPinnableSlice<'_>>, _>)| {
            let value = value.ok().flatten()?;
            self.decode(name.as_bytes(), &value).ok()
        };
        names.iter().zip(found).map(decode).collect()
    }

    /// Stores all entries in one atomic batch, synced: when it returns they survive a power cut.
    pub fn put_all(&self, entries: &[(&str, &[u8])]) -> Result<(), KvError> {
        self.kv.reach(Site::LedgerBeforePut)?;
        self.write(entries, &[], true)?;
        self.kv.reach(Site::LedgerAfterPut)
    }

    /// Stores all entries in one atomic batch, not synced: they survive a kill of the process. For what can be computed
    /// again.
    pub fn put_memos(&self, entries: &[(&str, &[u8])]) -> Result<(), KvError> {
        self.kv.reach(Site::LedgerBeforeMemo)?;
        self.write(entries, &[], false)?;
        self.kv.reach(Site::LedgerAfterMemo)
    }

    /// Removes all names in one atomic batch, synced. Absent names are no error.
    pub fn remove_all(&self, names: &[&str]) -> Result<(), KvError> {
        self.kv.reach(Site::LedgerBeforeRemove)?;
        self.write(&[], names, true)?;
        self.kv.reach(Site::LedgerAfterRemove)
    }

    /// All entries whose name starts with `prefix`, in byte order. Error: E1003 if one is damaged.
    pub fn entries(&self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, KvError> {
        self.raw_entries(prefix)?
            .into_iter()
            .map(|(name, value)| {
                let bytes = self.decode(&name, &value)?;
                let name = String::from_utf8(name)
                    .map_err(|error| self.damaged(error.as_bytes(), "name is not text"))?;
                Ok((name, bytes))
            })
            .collect()
    }

    /// All names that start with `prefix`, in byte order; whether their bytes are whole is not looked at. Error: E1003 if one is not text.
    /// Cost: their bytes are read.
    pub fn names(&self, prefix: &str) -> Result<Vec<String>, KvError> {
        let mut names = Vec::new();
        self.for_each(prefix, |name, _| names.push(name.into_vec()))?;
        let text = |name| {
            String::from_utf8(name).map_err(|error| self.damaged(error.as_bytes(), "name is not text"))
        };
        names.into_iter().map(text).collect()
    }

    /// Names of damaged entries, shown as text. For the doctor: one damaged entry does not hide the next.
    pub fn damaged_names(&self) -> Result<Vec<String>, KvError> {
        let mut damaged = Vec::new();
        self.for_each("", |name, value| {
            if std::str::from_utf8(&name).is_err() || self.decode(&name, &value).is_err() {
                damaged.push(String::from_utf8_lossy(&name).into_owned());
            }
        })?;
        Ok(damaged)
    }

    /// The files of the store that some build stands on, with the program that says so.
    pub fn uses(&self) -> Result<Vec<(String, String)>, KvError> {
        let mut uses = Vec::new();
        for (name, bytes) in self.entries(USES)? {
            let paths = std::str::from_utf8(&bytes)
                .map_err(|_| self.damaged(name.as_bytes(), "paths are not text"))?;
            let program = &name[USES.len()..];
            uses.extend(paths.lines().map(|path| (program.to_owned(), path.to_owned())));
        }
        Ok(uses)
    }

    fn write(&self, entries: &[(&str, &[u8])], removed: &[&str], is_synced: bool) -> Result<(), KvError> {
        self.kv.check_writable()?;
        let opened = self.kv.now();
        let family = opened.family(LEDGER);
        let mut batch = WriteBatch::default();
        for (name, bytes) in entries {
            let mut value = Vec::with_capacity(CHECKSUM_BYTES + bytes.len());
            value.extend_from_slice(&checksum(name.as_bytes(), bytes));
            value.extend_from_slice(bytes);
            batch.put_cf(family, name, value);
        }
        for name in removed {
            batch.delete_cf(family, name);
        }
        let mut options = WriteOptions::default();
        options.set_sync(is_synced);
        drop(opened);
        self.kv.write(batch, options)
    }

    fn raw_entries(&self, prefix: &str) -> Result<Vec<RawEntry>, KvError> {
        let mut entries = Vec::new();
        self.for_each(prefix, |name, value| entries.push((name.into_vec(), value.into_vec())))?;
        Ok(entries)
    }

    fn for_each(&self, prefix: &str, mut take: impl FnMut(Box<[u8]>, Box<[u8]>)) -> Result<(), KvError> {
        let start = IteratorMode::From(prefix.as_bytes(), Direction::Forward);
        let opened = self.kv.now();
        let Some(family) = opened.family_if_held(LEDGER) else { return Ok(()) };
        for entry in opened.db.iterator_cf(family, start) {
            let (name, value) = entry.map_err(|source| self.kv.error(source))?;
            if !name.starts_with(prefix.as_bytes()) {
                break;
            }
            take(name, value);
        }
        Ok(())
    }

    fn decode(&self, name: &[u8], value: &[u8]) -> Result<Vec<u8>, KvError> {
        match value.split_first_chunk::<CHECKSUM_BYTES>() {
            Some((sum, bytes)) if *sum == checksum(name, bytes) => Ok(bytes.to_vec()),
            _ => Err(self.damaged(name, "checksum differs")),
        }
    }

    fn damaged(&self, name: &[u8], what: &str) -> KvError {
        let detail = format!("ledger entry `{}`: {what}", String::from_utf8_lossy(name));
        KvError::Damaged { path: self.kv.path.clone(), detail }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back_after_a_reopen_and_damage_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(Kv::open(dir.path(), false, None).unwrap());
        ledger.put_all(&[("build/a", b"1"), ("build/b", b""), ("hash/a", b"2")]).unwrap();
        drop(ledger);
        let ledger = Ledger::open(Kv::open(dir.path(), false, None).unwrap());
        assert_eq!(ledger.get("build/a").unwrap(), Some(b"1".to_vec()));
        assert_eq!(ledger.get("build/b").unwrap(), Some(Vec::new()));
        assert_eq!(ledger.get("build/c").unwrap(), None);
        let names: Vec<_> = ledger.entries("build/").unwrap().into_iter().map(|entry| entry.0).collect();
        assert_eq!(names, ["build/a", "build/b"]);
        let opened = ledger.kv.now();
        opened.db.put_cf(opened.family(LEDGER), "build/a", b"12345678x").unwrap();
        let error = ledger.get("build/a").unwrap_err();
        assert_eq!(error.code(), "E1003");
        assert!(error.to_string().contains("build/a"), "{error}");
        assert_eq!(ledger.damaged_names().unwrap(), ["build/a"]);
        assert_eq!(ledger.get_memos(&["build/a".into(), "hash/a".into()]), [None, Some(b"2".to_vec())]);
        ledger.remove_all(&["build/a", "never"]).unwrap();
        assert_eq!(ledger.get("build/a").unwrap(), None);
    }

    #[test]
    fn uses_are_sorted_and_joined_over_programs() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(Kv::open(dir.path(), false, None).unwrap());
        ledger
            .put_all(&[
                (&uses_key("p"), &uses_value(["flows/b", "flows/a"])),
                (&uses_key("q"), &uses_value([])),
            ])
            .unwrap();
        let expected = [("p".to_owned(), "flows/a".to_owned()), ("p".to_owned(), "flows/b".to_owned())];
        assert_eq!(ledger.uses().unwrap(), expected);
    }

    #[test]
    fn read_only_database_refuses_writes() {
        let dir = tempfile::tempdir().unwrap();
        Ledger::open(Kv::open(dir.path(), false, None).unwrap()).put_all(&[("a", b"1")]).unwrap();
        let ledger = Ledger::open(Kv::open(dir.path(), true, None).unwrap());
        assert_eq!(ledger.get("a").unwrap(), Some(b"1".to_vec()));
        assert!(matches!(ledger.put_all(&[("a", b"2")]), Err(KvError::ReadOnly { .. })));
    }
}
