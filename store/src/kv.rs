//! RocksDB: the log with its records, the row cache, and the ledger of builds.
//!
//! | Family | Key | Value | Durable |
//! |---|---|---|---|
//! | `log` | sequence | checksum, what was changed | as its writer asked: [`Durability`] |
//! | `records` | bytes | sequence, checksum, bytes | with its log record, in the same batch |
//! | `rows` | 32 bytes, the row key | generation, checksum, bytes | after a process kill |
//! | `ledger` | text | checksum, bytes | after a power cut, when the call returns |
//! | `meta` | text | integers of the cache | after a process kill |
//!
//! Every value carries a checksum over its key and its bytes, so that neither a flipped bit nor a value under a foreign
//! key is ever answered. The byte layouts are in `FORMAT.md`. Handles are cheap to clone and may be used from any thread.
//!
//! # Decisions
//! *Memory.* The machine may have two cores and little memory: 96 MiB in all, a sixth of it for merging, the rest for blocks, with
//! index and filter blocks among them, and for write buffers, which are written out at 32 MiB over all families; 256 open files. `lz4` on all levels: rows are short texts. A store
//! that has the machine to itself may be opened with another [`Tuning`].
//! *Log.* The write-ahead log stays on for the cache as well: a killed run must not compute its rows again.
//! *Torn logs.* A log whose last record is cut short is read up to there, and so is every later log
//! (`TolerateCorruptedTailRecords`). No value depends on one in another record: rows stand alone, a build record is one batch
//! with all that belongs to it, and so is a log record with its `records`; what was synced was synced with every log before
//! it. A record that is lost is a row computed again, a build that did not happen, or a write that was not promised to last.
//! *Holes in a log.* A power cut may also leave sectors of an end that nobody synced and not those before them. If the database
//! was not closed in order, the log is then read up to the first hole (`PointInTime`), and the user is told; but only if no
//! write that was on the disk lies behind it, which [`synced`] says. Anything else that is wrong with a log is E1003.
//! *All families are flushed together* (atomic flush). A write without RocksDB's log is then in both of its families or in
//! neither after a kill, and no old log is kept for a family that is seldom written. The price is small tables where one
//! family fills its buffer and the others hold little.
//! *A full disk* does not end the process: [`room`] says how the database takes writes again.
//! *Closing in order leaves a mark* ([`closed`]): what the folder held. A log or manifest that ends early is then told from one
//! that was being written when the power went, and losing acknowledged records with it is E1003 and not silence. It costs one
//! sync of the log at close if something was not synced yet.
//! *Start.* Write buffers over 1 MiB are flushed when the store closes, so that the next open replays almost nothing.

pub(crate) mod closed;
mod codec;
mod group_commit;
pub mod ledger;
mod log;
mod opened;
pub mod records;
mod room;
pub mod rows;
mod settings;
pub(crate) mod synced;
mod tuning;

use crate::failpoint::{self, Site};
use crate::medium::disk::File;
use rocksdb::{DB, ReadOptions};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use closed::{Closed, MarkOnClose};
pub use codec::{
    BATCH_BYTES_MAX, BATCH_OPERATIONS_MAX, Batch, Change, KEY_BYTES_MAX, LogRecord, VALUE_BYTES_MAX,
};
pub use group_commit::{Ack, WriteCounts};
pub use ledger::Ledger;
pub use log::LOG_RECORDS_KEPT;
use opened::Opened;
pub use records::{Records, Verified};
pub use rows::{CacheCounts, RowCache};
use settings::Settings;
use synced::Synced;
pub use tuning::{Compression, Durability, GROUP_RECORDS_MAX, Tuning};

/// Families whose content is computed again when it is gone.
pub(crate) const DERIVED: [&str; 3] = [ROWS, LEDGER, META];
const FAMILIES: [&str; 5] = [ROWS, LEDGER, META, LOG, RECORDS];
const LOG: &str = "log";
const RECORDS: &str = "records";
const ROWS: &str = "rows";
const LEDGER: &str = "ledger";
const META: &str = "meta";

/// Bytes of the checksum in front of every value.
const CHECKSUM_BYTES: usize = 8;

/// What went wrong in the key-value store.
#[derive(Debug, Clone, thiserror::Error)]
pub enum KvError {
    /// Bytes on disk are not what was written (E1003).
    #[error("damaged data in {path}: {detail}")]
    Damaged {
        /// The database folder.
        path: PathBuf,
        /// Key, file or block, as far as known.
        detail: String,
    },
    /// The device has no room (E1004).
    #[error("no space left for {path}: {detail}")]
    Full {
        /// The database folder.
        path: PathBuf,
        /// The library's answer.
        detail: String,
    },
    /// Another process has the database open (E1001).
    #[error("{path} is open in another process: {detail}")]
    Locked {
        /// The database folder.
        path: PathBuf,
        /// The library's answer.
        detail: String,
    },
    /// The store was opened for reading only.
    #[error("{path} was opened for reading only")]
    ReadOnly {
        /// The database folder.
        path: PathBuf,
    },
    /// The log could not be brought to the device (E1005). The write was not acknowledged; it may be there after a reopen.
    #[error("log of {path} not synced: {detail}")]
    SyncFailed {
        /// The database folder.
        path: PathBuf,
        /// The library's answer.
        detail: String,
    },
    /// A write failed before, so none is taken any more until the store is opened again (E1005).
    #[error("{path} takes no writes since one failed: {cause}")]
    Stopped {
        /// The database folder.
        path: PathBuf,
        /// The failure.
        cause: String,
    },
    /// A key, value or batch beyond its bound (E1006).
    #[error("{what}: {found}, at most {limit}")]
    Bound {
        /// What is too large.
        what: &'static str,
        /// Its bytes, or number.
        found: usize,
        /// The bound.
        limit: usize,
    },
    /// The system refused a read or a write (E2501).
    #[error("key-value store {path}: {detail}")]
    Io {
        /// The database folder.
        path: PathBuf,
        /// The library's answer.
        detail: String,
    },
    /// Anything else that the library reports.
    #[error("key-value store {path}: {source}")]
    Library {
        /// The database folder.
        path: PathBuf,
        /// The library's error.
        source: rocksdb::Error,
    },
}

impl KvError {
    fn new(path: &Path, source: rocksdb::Error) -> Self {
        let path = path.to_path_buf();
        let detail = source.to_string();
        match source.kind() {
            rocksdb::ErrorKind::Corruption => Self::Damaged { path, detail },
            _ if detail.contains("No space left") || detail.contains("Disk quota") => {
                Self::Full { path, detail }
            }
            rocksdb::ErrorKind::IOError
                if detail.contains("While lock file") || detail.contains("lock hold by") =>
            {
                Self::Locked { path, detail }
            }
            rocksdb::ErrorKind::IOError if detail.contains("No such file") => Self::Damaged { path, detail },
            rocksdb::ErrorKind::IOError => Self::Io { path, detail },
            _ => Self::Library { path, source },
        }
    }

    fn io(path: &Path, source: &std::io::Error) -> Self {
        Self::Io { path: path.to_path_buf(), detail: source.to_string() }
    }

    /// The code of the diagnostic.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Damaged { .. } => "E1003",
            Self::Full { .. } => "E1004",
            Self::Locked { .. } => "E1001",
            Self::SyncFailed { .. } | Self::Stopped { .. } => "E1005",
            Self::Bound { .. } => "E1006",
            Self::Io { .. } => "E2501",
            Self::ReadOnly { .. } | Self::Library { .. } => "E2001",
        }
    }

    /// What the user can do about it.
    pub fn help(&self) -> String {
        match self {
            Self::Damaged { path, .. } => format!(
                "`promptc doctor` says what is lost, and with `--repair` moves aside what is computed again; records of \
                 applications are not: restore {} from a copy if it holds some",
                path.display()
            ),
            Self::Full { .. } => {
                "free some space, or lower `cache_bytes`; nothing that was there is lost".into()
            }
            Self::Locked { .. } => "wait for the other process to end".into(),
            Self::SyncFailed { path, .. } | Self::Stopped { path, .. } => format!(
                "check the disk under {}, then open the store again: every write that was acknowledged is read from its log",
                path.display()
            ),
            Self::Bound { .. } => "write less at once, or keep the bytes in a file and its name here".into(),
            Self::Io { path, .. } => {
                format!("check the disk under {} and that it may be written, then run again", path.display())
            }
            Self::ReadOnly { .. } | Self::Library { .. } => {
                "this is a fault of promptc or of its disk; please report it".into()
            }
        }
    }
}

/// The database. Shared by [`Records`], [`RowCache`] and [`Ledger`]; the directory's lock lives as long as the last of them.
pub(crate) struct Kv {
    /// The opening that is in force; after a full disk another may take its place.
    opened: RwLock<Arc<Opened>>,
    path: PathBuf,
    is_read_only: bool,
    tuning: Tuning,
    room: room::Room,
    /// Whether what was acknowledged may be missing on the disk: then closing leaves no mark.
    is_doubtful: AtomicBool,
    /// Whether something was written past RocksDB's log, which a flush alone brings to the disk.
    has_unlogged: Mutex<bool>,
    synced: Synced,
    /// Written after `opened` is closed, because fields are dropped in order.
    mark: MarkOnClose,
    /// Released after `opened` is closed, because fields are dropped in order.
    _lock: Option<File>,
}

impl std::fmt::Debug for Kv {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Kv").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Kv {
    /// Opens or creates the database in `path` with [`Tuning::STANDARD`].
    #[cfg(test)]
    fn open(path: &Path, is_read_only: bool, lock: Option<File>) -> Result<Arc<Self>, KvError> {
        Self::open_tuned(path, is_read_only, lock, &Tuning::STANDARD)
    }

    /// Opens or creates the database in `path`; `lock` is held until it is closed.
    pub(crate) fn open_tuned(
        path: &Path,
        is_read_only: bool,
        lock: Option<File>,
        tuning: &Tuning,
    ) -> Result<Arc<Self>, KvError> {
        let closed = Closed::read(path);
        if let Some(detail) = closed.as_ref().and_then(|closed| closed.difference(path)) {
            return Err(KvError::Damaged { path: path.to_path_buf(), detail });
        }
        let opened = Opened::open(path, is_read_only, tuning)?;
        let marked = closed.map_or(0, |closed| closed.last_sequence).max(synced::read(path));
        opened.check_end(path, marked)?;
        let synced = if is_read_only { Synced::unwritten() } else { Synced::open(path) };
        Ok(Arc::new(Self {
            opened: RwLock::new(Arc::new(opened)),
            path: path.to_path_buf(),
            is_read_only,
            tuning: *tuning,
            room: room::Room::default(),
            is_doubtful: AtomicBool::new(false),
            has_unlogged: Mutex::new(false),
            synced,
            mark: MarkOnClose::new(path),
            _lock: lock,
        }))
    }

    /// Begins families anew: what was in them is gone. Nobody else may have the database open.
    pub(crate) fn begin_anew(path: &Path, families: &[&'static str]) -> Result<(), KvError> {
        let fail = |source| KvError::new(path, source);
        let settings = Settings::new(&Tuning::STANDARD);
        let held = FAMILIES.map(|name| settings.family(name));
        let mut db = DB::open_cf_descriptors(&settings.options, path, held).map_err(fail)?;
        for name in families {
            db.drop_cf(name).map_err(fail)?;
            db.create_cf(name, &settings.family_options(name)).map_err(fail)?;
        }
        Ok(())
    }

    /// Reads each family from end to end, and says in which ones that is not possible. Cost: everything is read once.
    pub(crate) fn unreadable(&self) -> Vec<(&'static str, KvError)> {
        let opened = self.now();
        let problem = |name: &'static str| {
            let mut options = ReadOptions::default();
            options.fill_cache(false);
            let mut entries = opened.db.raw_iterator_cf_opt(opened.family_if_held(name)?, options);
            entries.seek_to_first();
            while entries.valid() {
                entries.next();
            }
            entries.status().err().map(|source| (name, self.error(source)))
        };
        FAMILIES.into_iter().filter_map(problem).collect()
    }

    /// Makes a write past RocksDB's log. The note is held meanwhile: whoever sees the write finds it noted.
    fn write_unlogged<T>(&self, write: impl FnOnce() -> T) -> T {
        let mut has_unlogged = self.has_unlogged.lock().unwrap_or_else(PoisonError::into_inner);
        *has_unlogged = true;
        write()
    }

    /// Brings what was written past RocksDB's log into tables.
    fn flush_unlogged(&self) -> Result<(), KvError> {
        let mut has_unlogged = self.has_unlogged.lock().unwrap_or_else(PoisonError::into_inner);
        if *has_unlogged {
            self.now().flush().map_err(|source| self.refused(source, 0))?;
            *has_unlogged = false;
        }
        Ok(())
    }

    /// What the user should know about how the database was opened.
    pub(crate) fn notice(&self) -> Option<String> {
        let what = "the end of the log was damaged, as a power cut leaves it, and was left out: writes that nobody synced are gone";
        self.now().is_cut.then(|| format!("{}: {what}", self.path.display()))
    }

    /// What was acknowledged may be missing on the disk.
    fn doubt(&self) {
        self.is_doubtful.store(true, Ordering::Relaxed);
    }

    /// The opening that is in force.
    fn now(&self) -> Arc<Opened> {
        self.opened.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts another opening in force and answers the last one.
    fn replace(&self, opened: Opened) -> Arc<Opened> {
        self.replace_shared(Arc::new(opened))
    }

    fn replace_shared(&self, opened: Arc<Opened>) -> Arc<Opened> {
        let mut place = self.opened.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *place, opened)
    }

    fn damaged(&self, detail: String) -> KvError {
        KvError::Damaged { path: self.path.clone(), detail }
    }

    fn error(&self, source: rocksdb::Error) -> KvError {
        KvError::new(&self.path, source)
    }

    /// The program is at `site`, in front of a call of the library or behind it.
    fn reach(&self, site: Site) -> Result<(), KvError> {
        failpoint::reach(site).map_err(|source| KvError::io(&self.path, &source))
    }

    fn check_writable(&self) -> Result<(), KvError> {
        if self.is_read_only { Err(KvError::ReadOnly { path: self.path.clone() }) } else { Ok(()) }
    }
}

impl Drop for Kv {
    /// The mark must not speak of what a power cut may take: tables first, then the log.
    fn drop(&mut self) {
        let opened = self.now();
        if opened.is_read_only || self.flush_unlogged().is_err() || *self.is_doubtful.get_mut() {
            return;
        }
        opened.flush_at_close();
        if opened.db.flush_wal(true).is_ok()
            && let Ok(last) = opened.last_logged(&self.path)
        {
            self.mark.arm(last);
        }
    }
}

/// Checksum of a value under its key: the first eight bytes of blake3 over key length, key and bytes.
fn checksum(key: &[u8], bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(key.len() as u64).to_le_bytes()).update(key).update(bytes);
    let mut sum = [0; CHECKSUM_BYTES];
    sum.copy_from_slice(&hasher.finalize().as_bytes()[..CHECKSUM_BYTES]);
    sum
}
