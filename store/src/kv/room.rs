//! Room: how the database goes on after a full disk, without an end of the process.
//!
//! ```text
//! write fails for want of room --> RocksDB looks every 5 s, writes out what it holds in memory, takes writes again
//!        '-- it never will ------> readers move to a twin that writes nothing | close | open, read the newest log records
//! ```
//!
//! Nothing here waits for room: a write looks, at most every [`LOOK_EVERY`], and fails with E1004 until there is some.
//!
//! The time from the first write that found none to the first that went through is an *episode*. While it lasts, readers may see
//! writes that failed and will not be there later; what is derived from the log is not brought up to it meanwhile ([`Kv::episode`]).
//!
//! # Decisions
//! *RocksDB goes first.* What it holds in memory alone, writes of level `none`, survives its own way and no reopening. It goes
//! on once the largest write buffer of all families is free, which is why the family that nobody uses is opened with ours
//! and not with RocksDB's 64 MiB.
//! *Reopening is for what RocksDB calls fatal*: a log file that could not be made, as where the files are used up and not the
//! bytes. It is also done where RocksDB has had [`RESUMED_WITHIN`] and has not gone on.
//! *No write waits within RocksDB.* It makes writers wait while a full write buffer is written out. If that fails for want of room,
//! its recovery waits for the same writers, and both for ever (RocksDB 11, `DelayWrite` against `FlushAllColumnFamilies`). So a
//! write that would wait comes back and is tried again every [`STALLED_LOOK`]; it costs a copy of the batch.
//! *An episode ends with a flush.* A write that failed may stand whole in a log that RocksDB gave up. Once its families have tables
//! that are younger, that log is never read again.
//! *Never for a failed sync.* Such a store takes no writes until its user opens it; see [`group_commit`](super::group_commit).
//! A sync that failed because the disk was full does not count: RocksDB never writes to that log again, and whether its records
//! are read from tables or replayed, they are in synced tables before the next write is acknowledged.

use super::{Kv, KvError, Opened, Tuning, records};
use rocksdb::{ErrorKind, WriteBatch, WriteOptions};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Time between two looks at the disk: what a writer that tries again and again costs is one system call in this time.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// RocksDB looks every five seconds; with room it has gone on after two of its looks, or does not.
const RESUMED_WITHIN: Duration = Duration::from_secs(12);
/// Time between two tries of a write while a full write buffer is written out.
const STALLED_LOOK: Duration = Duration::from_millis(1);
/// Longest that a write is tried; a merge that takes longer will not end.
const STALLED_WITHIN: Duration = Duration::from_secs(600);
/// What RocksDB says of a log to which a write failed before.
const FAILED_BEFORE: &str = "Writer has previous error";
/// Longest wait for reads that still use the old opening. Then they keep it, and a later write tries again.
const CLOSED_WITHIN: Duration = Duration::from_millis(500);
/// Files that must be free: a log, a manifest, and a table for each family, with the names they are renamed from.
const FILES_MIN: u64 = 16;

/// What is known about the room on the disk.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// The last write found none. Every write reads it, so it is not under the lock.
    is_short: AtomicBool,
    /// How often it began to be short.
    episodes: AtomicU64,
    /// Held while the database is opened again: other writers wait.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    looked_at: Option<Instant>,
    room_since: Option<Instant>,
    /// RocksDB does not go on by itself after this one.
    is_fatal: bool,
    /// The twin that writes nothing is in place.
    is_bridged: bool,
}

impl Kv {
    /// Writes a batch; every write of every family comes through here. The caller holds no [`Opened`] meanwhile.
    pub(super) fn write(&self, batch: WriteBatch, mut options: WriteOptions) -> Result<(), KvError> {
        options.set_no_slowdown(true);
        let wanted_bytes = batch.size_in_bytes();
        let data = batch.data().to_vec();
        let mut next = Some(batch);
        let mut stalled_since = None;
        loop {
            if self.room.is_short.load(Ordering::Acquire) {
                self.go_on()?;
            }
            let opened = self.now();
            if opened.is_read_only {
                return Err(self.full("it is read only until there is room", wanted_bytes));
            }
            let batch = next.take().unwrap_or_else(|| WriteBatch::from_data(&data));
            match opened.db.write_opt(batch, &options) {
                Ok(()) => return self.end_episode(&opened, wanted_bytes),
                Err(source) if source.kind() == ErrorKind::Incomplete => {
                    let since = *stalled_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= STALLED_WITHIN {
                        return Err(self.error(source));
                    }
                }
                Err(source) => return Err(self.refused(source, wanted_bytes)),
            }
            drop(opened);
            std::thread::sleep(STALLED_LOOK);
        }
    }

    /// Which episode it is: another number means that readers may have seen between the two what is not there any more.
    ///
    /// # Errors
    /// E1004 while the disk is full.
    pub(super) fn episode(&self) -> Result<u64, KvError> {
        let episode = self.room.episodes.load(Ordering::Acquire);
        if self.room.is_short.load(Ordering::Acquire) {
            return Err(self.full("writes have not gone on yet", 0));
        }
        Ok(episode)
    }

    /// A write went through; after a full disk it is done when what failed before it cannot come back.
    fn end_episode(&self, opened: &Opened, wanted_bytes: usize) -> Result<(), KvError> {
        if self.room.is_short.load(Ordering::Acquire) {
            opened.flush().map_err(|source| self.refused(source, wanted_bytes))?;
            self.room.is_short.store(false, Ordering::Release);
        }
        Ok(())
    }

    /// The error of a write, a flush or a sync. One for want of room begins an episode.
    pub(super) fn refused(&self, source: rocksdb::Error, wanted_bytes: usize) -> KvError {
        self.as_full(self.error(source), wanted_bytes)
    }

    fn as_full(&self, error: KvError, wanted_bytes: usize) -> KvError {
        match error {
            KvError::Full { detail, .. } => {
                self.room.note(&detail);
                self.full(&detail, wanted_bytes)
            }
            // The first failure told that it was for want of room.
            KvError::Io { detail, .. }
                if detail.contains(FAILED_BEFORE) && self.room.is_short.load(Ordering::Acquire) =>
            {
                self.full(&detail, wanted_bytes)
            }
            error => error,
        }
    }

    fn full(&self, detail: &str, wanted_bytes: usize) -> KvError {
        let free = free(&self.path).map_or_else(String::new, |free| {
            let files = free.files.map_or_else(String::new, |files| format!(" and {files} files"));
            format!(", {} bytes{files} are free", free.bytes)
        });
        let detail = format!("{detail}; {wanted_bytes} bytes were to be written{free}");
        KvError::Full { path: self.path.clone(), detail }
    }

    /// Opens the database again where that is what helps and there is room; otherwise does nothing.
    fn go_on(&self) -> Result<(), KvError> {
        let mut state = lock(&self.room.state);
        let now = Instant::now();
        let is_early = state.looked_at.is_some_and(|looked_at| now - looked_at < LOOK_EVERY);
        if is_early || !self.room.is_short.load(Ordering::Acquire) {
            return Ok(());
        }
        state.looked_at = Some(now);
        if !has_room(&self.path, &self.tuning) {
            state.room_since = None;
            return Ok(());
        }
        let since = *state.room_since.get_or_insert(now);
        if state.is_fatal || state.is_bridged || now - since >= RESUMED_WITHIN {
            self.open_again(&mut state)?;
        }
        Ok(())
    }

    /// Readers always have an opening: the twin replays the log into memory, so it needs no room and comes before the old one
    /// is closed. Both cannot be open for writing at once.
    fn open_again(&self, state: &mut State) -> Result<(), KvError> {
        if !state.is_bridged {
            let Ok(bridge) = Opened::bridge(&self.path, &self.tuning) else { return Ok(()) };
            let old = self.replace(bridge);
            if let Err(old) = closed(old) {
                self.replace_shared(old);
                return Ok(());
            }
            state.is_bridged = true;
        }
        let opened = match Opened::open(&self.path, false, &self.tuning) {
            Ok(opened) => opened,
            Err(KvError::Full { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        records::newest_sequence(self, &opened)?;
        self.replace(opened);
        *state = State::default();
        self.room.is_short.store(false, Ordering::Release);
        Ok(())
    }
}

impl Room {
    fn note(&self, detail: &str) {
        let mut state = lock(&self.state);
        if !self.is_short.load(Ordering::Acquire) {
            *state = State::default();
            self.episodes.fetch_add(1, Ordering::AcqRel);
        }
        // The error of a switch to the next log; every later write is answered with it.
        state.is_fatal |= detail.contains("While open a file for appending") && detail.contains(".log");
        self.is_short.store(true, Ordering::Release);
    }
}

/// Closes it when its last reader is gone, or gives it back.
fn closed(opened: Arc<Opened>) -> Result<(), Arc<Opened>> {
    let until = Instant::now() + CLOSED_WITHIN;
    let mut opened = opened;
    loop {
        match Arc::try_unwrap(opened) {
            Ok(opened) => {
                drop(opened);
                return Ok(());
            }
            Err(shared) if Instant::now() >= until => return Err(shared),
            Err(shared) => opened = shared,
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

struct Free {
    bytes: u64,
    /// None where the file system does not count them.
    files: Option<u64>,
}

fn free(path: &Path) -> Option<Free> {
    let system = rustix::fs::statvfs(path).ok()?;
    let files = (system.f_files > 0).then_some(system.f_favail);
    Some(Free { bytes: system.f_bavail.saturating_mul(system.f_frsize), files })
}

/// Room for one write buffer, as RocksDB asks for, and for the files of an opening.
fn has_room(path: &Path, tuning: &Tuning) -> bool {
    free(path).is_some_and(|free| {
        free.bytes >= tuning.write_buffer_bytes as u64 && free.files.is_none_or(|files| files >= FILES_MIN)
    })
}

/// A panic leaves no state that the next look does not put right.
fn lock(mutex: &Mutex<State>) -> MutexGuard<'_, State> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::{Durability, RECORDS, Records};

    /// A store that has just failed as RocksDB does where it does not go on.
    fn stuck(dir: &Path) -> (Arc<Kv>, Records) {
        let kv = Kv::open(dir, false, None).unwrap();
        let records = Records::open(kv.clone(), &Tuning::STANDARD).unwrap();
        for number in 0..100_u32 {
            records.put(&number.to_be_bytes(), b"value", Durability::Wal).unwrap();
        }
        kv.room.note("No space left on device: While open a file for appending: x/000012.log: No space left");
        (kv, records)
    }

    fn count(records: &Records) -> usize {
        let mut count = 0;
        let visit = |_: &[u8], _: &[u8]| {
            count += 1;
            true
        };
        records.range(b"", None, visit).unwrap();
        count
    }

    #[test]
    fn the_next_write_opens_it_again_with_everything_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let (kv, records) = stuck(dir.path());
        let before = Arc::as_ptr(&kv.now());
        let ack = records.put(b"next", b"1", Durability::GroupCommit).unwrap();
        assert_eq!((ack.sequence, count(&records)), (101, 101));
        assert!(Arc::as_ptr(&kv.now()) != before && !kv.now().is_read_only);
        assert!(!kv.room.is_short.load(Ordering::Relaxed));
        records.verify().unwrap();
    }

    #[test]
    fn an_episode_lasts_from_the_first_failure_to_the_first_write_that_goes_through() {
        let dir = tempfile::tempdir().unwrap();
        let kv = Kv::open(dir.path(), false, None).unwrap();
        let records = Records::open(kv.clone(), &Tuning::STANDARD).unwrap();
        records.put(b"a", b"1", Durability::Wal).unwrap();
        assert_eq!(kv.episode().unwrap(), 0);
        let no_room = || kv.room.note("no space");
        no_room();
        no_room();
        assert_eq!(kv.episode().unwrap_err().code(), "E1004");
        let tables = || std::fs::read_dir(dir.path()).unwrap().count();
        let before = tables();
        records.put(b"b", b"2", Durability::Wal).unwrap();
        assert_eq!(kv.episode().unwrap(), 1);
        assert!(tables() > before, "what was written before has tables");
        no_room();
        records.put(b"c", b"3", Durability::Wal).unwrap();
        assert_eq!((kv.episode().unwrap(), count(&records)), (2, 3));
    }

    #[test]
    fn a_log_that_failed_before_counts_as_full_while_there_is_no_room() {
        let dir = tempfile::tempdir().unwrap();
        let kv = Kv::open(dir.path(), false, None).unwrap();
        let failed = || KvError::Io { path: kv.path.clone(), detail: format!("IO error: {FAILED_BEFORE}.") };
        assert_eq!(kv.as_full(failed(), 1).code(), "E2501");
        kv.room.note("no space");
        assert_eq!(kv.as_full(failed(), 1).code(), "E1004");
    }

    #[test]
    fn readers_keep_the_old_opening_and_a_later_write_tries_again() {
        let dir = tempfile::tempdir().unwrap();
        let (kv, records) = stuck(dir.path());
        let reader = kv.now();
        let mut entries = reader.db.raw_iterator_cf(reader.family(RECORDS));
        entries.seek_to_first();
        kv.go_on().unwrap();
        assert!(Arc::ptr_eq(&kv.now(), &reader) && kv.room.is_short.load(Ordering::Relaxed));
        while entries.valid() {
            entries.next();
        }
        entries.status().unwrap();
        drop(entries);
        drop(reader);
        lock(&kv.room.state).looked_at = None;
        kv.go_on().unwrap();
        assert!(!kv.room.is_short.load(Ordering::Relaxed));
        assert_eq!(count(&records), 100);
    }

    #[test]
    fn a_database_that_does_not_open_again_is_read_from_its_twin() {
        let dir = tempfile::tempdir().unwrap();
        let (kv, records) = stuck(dir.path());
        drop(kv.replace(Opened::bridge(dir.path(), &Tuning::STANDARD).unwrap()));
        lock(&kv.room.state).is_bridged = true;
        let other = Opened::open(dir.path(), false, &Tuning::STANDARD).unwrap();
        assert!(kv.write(WriteBatch::default(), WriteOptions::default()).is_err(), "somebody has it");
        assert_eq!(count(&records), 100);
        let error = kv.write(WriteBatch::default(), WriteOptions::default()).unwrap_err();
        assert_eq!(error.code(), "E1004", "the next look is later");
        drop(other);
        lock(&kv.room.state).looked_at = None;
        records.put(b"next", b"1", Durability::Wal).unwrap();
        assert_eq!(count(&records), 101);
    }
}
