//! The ends of the log: how far it is written, how far it is on the device, how far it was trimmed, and how far what is derived
//! from it has come.
//!
//! ```text
//! 1 ........ trimmed | trimmed+1 ........ watermark | ........ synced | ........ newest
//!   no longer there    applied by the derived store   on the device     in memory or in the page cache
//! ```
//!
//! Whoever derives something from the log calls [`Records::sync`] before it commits what it derived, and
//! [`Records::set_watermark`] after. So a derived store is never ahead of what the log keeps, whatever is cut when: writes that
//! a cut takes back would stay in it otherwise, and their numbers be given again.

use super::codec::LogRecord;
use super::records::{Records, log_record};
use super::{KvError, LOG, META};
use crate::failpoint::Site;
use rocksdb::{WriteBatch, WriteOptions};

/// The newest records of the log are never trimmed, so that every opening still compares them, and the log is never empty.
pub const LOG_RECORDS_KEPT: u64 = 1_024;
/// Key in `log` of the number up to which it was trimmed: sequence 0, which no write has. It stands there and not in `meta`, which
/// is derived and may be begun anew.
pub(super) const TRIMMED_KEY: [u8; 8] = [0; 8];
/// What the checksum of that number covers beside it.
const TRIMMED: &str = "log.trimmed";
/// Entries of `meta`: up to where a derived store has applied the log.
const META_WATERMARK: &str = "watermark/";
/// Bytes of a number in `meta` and of the checksum behind it.
const NUMBER_BYTES: usize = 8;
const CRC_BYTES: usize = 4;

impl Records {
    /// Sequence of the newest record that readers see; that of the last trimmed one if there is none, 0 in a new store.
    ///
    /// # Errors
    /// E1003 if that record is not what was written.
    pub fn newest(&self) -> Result<u64, KvError> {
        let opened = self.kv.now();
        let Some(family) = opened.family_if_held(LOG) else { return Ok(0) };
        let mut entries = opened.db.raw_iterator_cf(family);
        entries.seek_to_last();
        match log_record(&self.kv, &entries)? {
            Some(LogRecord { sequence, .. }) => Ok(sequence),
            None => self.trimmed(),
        }
    }

    /// Sequence up to which the log was trimmed; 0 if it never was.
    ///
    /// # Errors
    /// E1003 if the number is not what was written.
    pub fn trimmed(&self) -> Result<u64, KvError> {
        self.number(LOG, &TRIMMED_KEY, TRIMMED)
    }

    /// Brings every write that readers see now to the device, those of the levels `none` and `wal` as well.
    ///
    /// # Errors
    /// E1004 the disk is full; E1005 the log could not be synced, now or before.
    pub fn sync(&self) -> Result<(), KvError> {
        self.writes.sync()
    }

    /// Which episode it is, counted by full disks. What was read between two answers that differ may hold writes that failed.
    ///
    /// # Errors
    /// E1004 while the disk is full.
    pub(crate) fn episode(&self) -> Result<u64, KvError> {
        self.kv.episode()
    }

    /// Up to where the derived store `name` has applied the log; 0 if it has not begun.
    ///
    /// # Errors
    /// E1003 if the number is not what was written.
    pub fn watermark(&self, name: &str) -> Result<u64, KvError> {
        let name = format!("{META_WATERMARK}{name}");
        self.number(META, name.as_bytes(), &name)
    }

    /// Says that the derived store `name` holds, on the device, everything up to `sequence`. Not synced: a watermark that a cut
    /// takes back is applied again.
    ///
    /// # Errors
    /// E1004 the disk is full; the store was opened for reading only.
    pub fn set_watermark(&self, name: &str, sequence: u64) -> Result<(), KvError> {
        let mut batch = WriteBatch::default();
        let name = format!("{META_WATERMARK}{name}");
        batch.put_cf(self.kv.now().family(META), &name, encode_number(&name, sequence));
        self.write_meta(batch, false)
    }

    /// Removes the records of the log up to `sequence`, except for the newest [`LOG_RECORDS_KEPT`], and answers how many
    /// sequences that were. The records' values stay. For a caller that knows that nothing derived from the log still needs them
    /// (see [`documents::trim`](crate::documents::trim)).
    ///
    /// # Errors
    /// E1004 the disk is full; E1005 the log could not be synced.
    pub(crate) fn trim(&self, sequence: u64) -> Result<u64, KvError> {
        let trimmed = self.trimmed()?;
        let until = sequence.min(self.newest()?.saturating_sub(LOG_RECORDS_KEPT));
        if until <= trimmed {
            return Ok(0);
        }
        self.sync()?;
        self.kv.reach(Site::LogBeforeTrim)?;
        let mut batch = WriteBatch::default();
        batch.delete_range_cf(self.kv.now().family(LOG), TRIMMED_KEY, (until + 1).to_be_bytes());
        batch.put_cf(self.kv.now().family(LOG), TRIMMED_KEY, encode_number(TRIMMED, until));
        self.write_meta(batch, true)?;
        self.kv.reach(Site::LogAfterTrim)?;
        Ok(until - trimmed)
    }

    fn number(&self, family: &'static str, key: &[u8], name: &str) -> Result<u64, KvError> {
        let kv = &*self.kv;
        let opened = kv.now();
        let Some(family) = opened.family_if_held(family) else { return Ok(0) };
        let stored = opened.db.get_pinned_cf(family, key).map_err(|source| kv.error(source))?;
        let Some(stored) = stored else { return Ok(0) };
        decode_number(name, &stored).ok_or_else(|| kv.damaged(format!("`{name}`: checksum differs")))
    }

    fn write_meta(&self, batch: WriteBatch, is_synced: bool) -> Result<(), KvError> {
        let kv = &*self.kv;
        kv.check_writable()?;
        let mut options = WriteOptions::default();
        options.set_sync(is_synced);
        kv.write(batch, options)
    }
}

/// u64 | CRC-32 over name and number.
fn encode_number(name: &str, number: u64) -> [u8; NUMBER_BYTES + CRC_BYTES] {
    let mut stored = [0; NUMBER_BYTES + CRC_BYTES];
    stored[..NUMBER_BYTES].copy_from_slice(&number.to_le_bytes());
    stored[NUMBER_BYTES..].copy_from_slice(&number_crc(name, number).to_le_bytes());
    stored
}

fn decode_number(name: &str, stored: &[u8]) -> Option<u64> {
    let (number, crc) = stored.split_first_chunk::<NUMBER_BYTES>()?;
    let number = u64::from_le_bytes(*number);
    (crc == number_crc(name, number).to_le_bytes()).then_some(number)
}

fn number_crc(name: &str, number: u64) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(name.as_bytes());
    hasher.update(&number.to_le_bytes());
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::super::{Durability, Kv, Tuning};
    use super::*;

    fn open(dir: &std::path::Path) -> Records {
        Records::open(Kv::open(dir, false, None).unwrap(), &Tuning::STANDARD).unwrap()
    }

    #[test]
    fn numbers_are_checked() {
        let stored = encode_number("a", 7);
        assert_eq!(decode_number("a", &stored), Some(7));
        assert_eq!(decode_number("b", &stored), None);
        assert_eq!(decode_number("a", &stored[..11]), None);
        let mut flipped = stored;
        flipped[0] ^= 1;
        assert_eq!(decode_number("a", &flipped), None);
    }

    #[test]
    fn a_trimmed_log_keeps_its_newest_records_and_its_numbers() {
        let dir = tempfile::tempdir().unwrap();
        let records = open(dir.path());
        let written = LOG_RECORDS_KEPT + 500;
        for number in 0..written {
            records.put(&(number % 7).to_le_bytes(), &number.to_le_bytes(), Durability::Wal).unwrap();
        }
        assert_eq!(records.trim(100).unwrap(), 100);
        assert_eq!(records.trim(50).unwrap(), 0);
        assert_eq!((records.trimmed().unwrap(), records.newest().unwrap()), (100, written));
        assert_eq!(records.trim(written).unwrap(), 400);
        let verified = records.verify().unwrap();
        assert_eq!((verified.log_records, verified.gaps, verified.keys), (LOG_RECORDS_KEPT, 0, 7));
        drop(records);
        let records = open(dir.path());
        assert_eq!((records.trimmed().unwrap(), records.last_sequence()), (500, written));
        assert_eq!(records.get(&0_u64.to_le_bytes()).unwrap().unwrap().len(), 8);
        records.verify().unwrap();
    }

    #[test]
    fn a_record_older_than_the_log_is_no_damage_and_a_younger_one_is() {
        let dir = tempfile::tempdir().unwrap();
        let records = open(dir.path());
        records.put(b"old", b"1", Durability::Wal).unwrap();
        for _ in 0..LOG_RECORDS_KEPT + 1 {
            records.put(b"new", b"2", Durability::Wal).unwrap();
        }
        assert_eq!(records.trim(u64::MAX).unwrap(), 2);
        assert_eq!(records.verify().unwrap().keys, 2);
        let opened = records.kv.now();
        opened.db.delete_cf(opened.family(LOG), records.newest().unwrap().to_be_bytes()).unwrap();
        assert!(records.verify().unwrap_err().to_string().contains("`new`"));
    }

    #[test]
    fn watermarks_are_by_name_and_survive() {
        let dir = tempfile::tempdir().unwrap();
        let records = open(dir.path());
        assert_eq!(records.watermark("text").unwrap(), 0);
        records.set_watermark("text", 3).unwrap();
        records.set_watermark("vectors", 2).unwrap();
        drop(records);
        let records = open(dir.path());
        assert_eq!((records.watermark("text").unwrap(), records.watermark("vectors").unwrap()), (3, 2));
    }
}
