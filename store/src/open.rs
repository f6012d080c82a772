//! A store directory: its version, its lock, its folders.
//!
//! ```text
//! .promptc/
//!   FORMAT    version of the layout and of the libraries that wrote it      LOCK   process that has it open
//!   kv/       RocksDB      flows/  Parquet      vectors/  Lance      text/  Tantivy      tmp/  emptied on open
//! ```
//!
//! One process writes at a time; several may read together while none writes. The lock is the system's (it ends with the
//! process), the process id in the file is for the message only.

use crate::documents::OpenNames;
use crate::failpoint::{Site, reach};
use crate::kv::{Kv, KvError, Ledger, Records, RowCache, Tuning};
use crate::medium::disk::{self, File};
use crate::medium::{self, MediumError};
use std::fs::TryLockError;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Version of the directory's layout. A store of another version is refused (E1002).
pub const FORMAT_VERSION: u32 = 1;

/// First word of the file `FORMAT`.
const FORMAT_MAGIC: &str = "promptc-store";
/// Longest `FORMAT` that is read.
const FORMAT_BYTES_MAX: u64 = 4_096;

/// Bound of the row cache where the program gives none: 4 GiB.
pub const CACHE_BYTES_DEFAULT: u64 = 4 << 30;

/// How to open a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreOptions {
    /// Bound of the row cache in bytes of keys and values. [`CACHE_BYTES_DEFAULT`] if the user gives none.
    pub cache_bytes: u64,
    /// Neither creates nor changes anything; several such stores may be open at once.
    pub read_only: bool,
}

/// Why a store does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open (E1001).
    #[error("store {path} is open in {holder}")]
    Locked {
        /// The store's folder.
        path: PathBuf,
        /// "process 123", or "another process" if its id is not in the file.
        holder: String,
    },
    /// Written by another version (E1002).
    #[error("store {path} has format {found}, this build reads format {expected}")]
    OtherVersion {
        /// The store's folder.
        path: PathBuf,
        /// Version in the file, as written there.
        found: String,
        /// [`FORMAT_VERSION`].
        expected: u32,
    },
    /// `FORMAT` holds something else (E1003).
    #[error("{path} does not hold a format version but {found:?}")]
    DamagedFormat {
        /// The file `FORMAT`.
        path: PathBuf,
        /// Its first bytes.
        found: String,
    },
    /// A folder with files in it that is not a store (E2501).
    #[error("{path} holds `{entry}` and no FORMAT file: it is not a store")]
    NotAStore {
        /// The folder.
        path: PathBuf,
        /// One of the names in it.
        entry: String,
    },
    /// Opened for reading only, and there is nothing (E2101).
    #[error("there is no store in {path}")]
    Missing {
        /// The folder.
        path: PathBuf,
    },
    /// A file or folder of the store cannot be made, read or written.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// `FORMAT` cannot be written.
    #[error(transparent)]
    Medium(#[from] MediumError),
    /// The key-value store does not open.
    #[error(transparent)]
    Kv(#[from] KvError),
}

impl OpenError {
    fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        match MediumError::new(action, path, source) {
            MediumError::Io { action, path, source } => Self::Io { action, path, source },
            full @ MediumError::Full { .. } => Self::Medium(full),
        }
    }

    /// The code of the diagnostic.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Locked { .. } => "E1001",
            Self::OtherVersion { .. } => "E1002",
            Self::DamagedFormat { .. } => "E1003",
            Self::NotAStore { .. } | Self::Io { .. } => "E2501",
            Self::Missing { .. } => "E2101",
            Self::Medium(error) => error.code(),
            Self::Kv(error) => error.code(),
        }
    }

    /// What the user can do about it.
    pub fn help(&self) -> String {
        match self {
            Self::Locked { .. } => "wait for that process to end, or give this run a store of its own".into(),
            Self::DamagedFormat { path, .. } => format!(
                "`promptc doctor --repair` writes it again if the store tells its format elsewhere; nothing in {} was changed",
                path.parent().unwrap_or(path).display()
            ),
            Self::OtherVersion { path, .. } => format!(
                "use the version of promptc that wrote it; or move {} away and run again: what programs computed is computed \
                 again, records that applications wrote into it are not",
                path.display()
            ),
            Self::NotAStore { .. } => {
                "name an empty or a new folder for the store; if this was a store, see `promptc doctor`"
                    .into()
            }
            Self::Missing { .. } => "run the program once, which makes its store".into(),
            Self::Io { path, .. } => format!("check that {} may be written by this user", path.display()),
            Self::Medium(error) => error.help(),
            Self::Kv(error) => error.help(),
        }
    }
}

/// An open store directory. The lock is held until the store and every handle taken from it are dropped.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    rows: RowCache,
    ledger: Ledger,
    records: Records,
    open_documents: OpenNames,
    read_only: bool,
}

impl Store {
    /// Opens the store in `dir`, or makes one if the folder is missing or empty. Empties `tmp/`.
    ///
    /// Errors: E1001 another process has it; E1002 another version; E1003 damaged; E1004 disk full; E2501 a folder that is
    /// not a store or may not be written. Cost: a few milliseconds and the replay of RocksDB's log.
    pub fn open(dir: &Path, options: &StoreOptions) -> Result<Self, OpenError> {
        Self::open_tuned(dir, options, &Tuning::STANDARD)
    }

    /// As [`Store::open`], with other settings of the database than [`Tuning::STANDARD`].
    pub fn open_tuned(dir: &Path, options: &StoreOptions, tuning: &Tuning) -> Result<Self, OpenError> {
        let lock = if options.read_only { enter_to_read(dir)? } else { enter_to_write(dir)? };
        if !options.read_only {
            for folder in [Folder::Flows, Folder::Vectors, Folder::Text] {
                make_folder(&dir.join(folder.name()))?;
            }
        }
        refuse_lost_records(dir)?;
        let kv = Kv::open_tuned(&dir.join("kv"), options.read_only, Some(lock), tuning)?;
        if !options.read_only {
            // Not before the database has said that it is free: `LOCK` may have been deleted under a running process.
            empty_tmp(&dir.join("tmp"))?;
        }
        let rows = RowCache::open(kv.clone(), options.cache_bytes)?;
        let ledger = Ledger::open(kv.clone());
        let records = Records::open(kv, tuning)?;
        let open_documents = OpenNames::default();
        Ok(Self {
            dir: dir.to_path_buf(),
            rows,
            ledger,
            records,
            open_documents,
            read_only: options.read_only,
        })
    }

    /// What the user should know about how the store was opened: that a power cut took the end of its log.
    pub fn notice(&self) -> Option<String> {
        self.records.notice()
    }

    /// The store's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The row cache.
    pub fn rows(&self) -> &RowCache {
        &self.rows
    }

    /// Build records and memory of file hashes.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The log and the records that it wrote.
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// Whether the store was opened for reading only.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Folder of the flow files.
    pub fn flows_dir(&self) -> PathBuf {
        self.dir.join(Folder::Flows.name())
    }

    /// Folder of the Lance datasets.
    pub fn vectors_dir(&self) -> PathBuf {
        self.dir.join(Folder::Vectors.name())
    }

    /// Folder of the Tantivy indexes.
    pub fn text_dir(&self) -> PathBuf {
        self.dir.join(Folder::Text.name())
    }

    /// Folder of the indexes that are derived from the log.
    pub fn documents_dir(&self) -> PathBuf {
        self.dir.join(DOCUMENTS_DIR)
    }

    /// Collections of documents that have an owner.
    pub(crate) fn open_documents(&self) -> &OpenNames {
        &self.open_documents
    }

    /// Folder for files that are not yet published, and for spills. On the same file system as the others; emptied by the
    /// next open.
    pub fn tmp_dir(&self) -> PathBuf {
        self.dir.join("tmp")
    }

    /// Removes what is in [`Store::tmp_dir`]: for a process that is about to end without unwinding.
    pub fn discard_temporaries(&self) {
        let _ = empty_tmp(&self.tmp_dir());
    }
}

/// Folders of the store that hold named files which a build may stand on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Folder {
    Flows,
    Vectors,
    Text,
}

impl Folder {
    pub(crate) const ALL: [Self; 3] = [Self::Flows, Self::Vectors, Self::Text];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Flows => "flows",
            Self::Vectors => "vectors",
            Self::Text => "text",
        }
    }
}

fn enter_to_write(dir: &Path) -> Result<File, OpenError> {
    disk::create_dir_all(dir).map_err(|source| OpenError::io("make folder", dir, source))?;
    refuse_foreign(dir)?;
    let lock = lock_to_write(dir)?;
    let fail = |source| OpenError::io("write", dir, source);
    reach(Site::OpenBeforeFormat).map_err(fail)?;
    check_or_write_format(dir)?;
    reach(Site::OpenAfterFormat).map_err(fail)?;
    Ok(lock)
}

/// Takes the folder for this process alone, whatever is in it.
pub(crate) fn lock_to_write(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join("LOCK");
    let mut lock = reach(Site::OpenBeforeLock)
        .and_then(|()| File::open_or_create(&path))
        .map_err(|source| OpenError::io("open", &path, source))?;
    take(dir, &path, lock.try_lock())?;
    let named = reach(Site::OpenAfterLock)
        .and_then(|()| lock.set_len(0))
        .and_then(|()| lock.seek(SeekFrom::Start(0)))
        .and_then(|_| writeln!(lock, "{}", std::process::id()));
    named.map_err(|source| OpenError::io("write", &path, source))?;
    Ok(lock)
}

pub(crate) fn enter_to_read(dir: &Path) -> Result<File, OpenError> {
    if !dir.join("FORMAT").is_file() {
        if dir.is_dir() {
            refuse_foreign(dir)?;
        }
        return Err(OpenError::Missing { path: dir.to_path_buf() });
    }
    let path = dir.join("LOCK");
    // Without `LOCK` nobody can write under it; a file that is always there takes its place, so that nothing has to be made.
    let lock = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => File::open(&dir.join("FORMAT")),
        opened => opened,
    };
    let lock = lock.map_err(|source| OpenError::io("open", &path, source))?;
    take(dir, &path, lock.try_lock_shared())?;
    check_format(dir)?;
    Ok(lock)
}

fn take(dir: &Path, path: &Path, result: Result<(), TryLockError>) -> Result<(), OpenError> {
    match result {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            let holder = disk::read_to_string(path).ok().and_then(|text| text.trim().parse::<u32>().ok());
            let holder = holder.map_or("another process".into(), |process| format!("process {process}"));
            Err(OpenError::Locked { path: dir.to_path_buf(), holder })
        }
        Err(TryLockError::Error(source)) => Err(OpenError::io("lock", path, source)),
    }
}

/// A store whose documents have indexes had a database; another would take its place without a word.
fn refuse_lost_records(dir: &Path) -> Result<(), OpenError> {
    let has_entries =
        |folder: &Path| disk::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    let database = dir.join("kv");
    if has_entries(&database) || !has_entries(&dir.join(DOCUMENTS_DIR)) {
        return Ok(());
    }
    let detail = "it is gone, and `documents` has the indexes of records that were in it".to_owned();
    Err(KvError::Damaged { path: database, detail }.into())
}

/// The indexes of documents in a store.
pub(crate) const DOCUMENTS_DIR: &str = "documents";
/// The benchmark history below a data directory.
pub const HISTORY_DIR: &str = "history";

/// A folder without `FORMAT` may hold only what a store killed while it was made leaves behind, and a benchmark history, which
/// needs no store.
fn refuse_foreign(dir: &Path) -> Result<(), OpenError> {
    if dir.join("FORMAT").exists() {
        return Ok(());
    }
    let entries = disk::read_dir(dir).map_err(|source| OpenError::io("read folder", dir, source))?;
    for entry in entries {
        let entry = entry.map_err(|source| OpenError::io("read folder", dir, source))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != "LOCK" && name != HISTORY_DIR && !name.starts_with(".FORMAT.tmp-") {
            return Err(OpenError::NotAStore { path: dir.to_path_buf(), entry: name });
        }
    }
    Ok(())
}

fn check_or_write_format(dir: &Path) -> Result<(), OpenError> {
    if dir.join("FORMAT").exists() {
        return check_format(dir);
    }
    write_format(dir)
}

/// Writes `FORMAT` as this version does.
pub(crate) fn write_format(dir: &Path) -> Result<(), OpenError> {
    let text = format!(
        "{FORMAT_MAGIC} {FORMAT_VERSION}\npromptc {}\nrocksdb 11.8\nparquet 58\nlance 14.0.2\ntantivy 0.27\n",
        env!("CARGO_PKG_VERSION")
    );
    medium::replace(&dir.join("FORMAT"), text.as_bytes())?;
    Ok(())
}

/// Checks the first line of `FORMAT`: the version that decides. The lines below it are for people.
pub(crate) fn check_format(dir: &Path) -> Result<(), OpenError> {
    let path = dir.join("FORMAT");
    let mut bytes = Vec::new();
    File::open(&path)
        .and_then(|file| file.take(FORMAT_BYTES_MAX).read_to_end(&mut bytes))
        .map_err(|source| OpenError::io("read", &path, source))?;
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().next().unwrap_or_default();
    let version = line.strip_prefix(FORMAT_MAGIC).map(str::trim).filter(|version| !version.is_empty());
    match version {
        Some(version) if version == FORMAT_VERSION.to_string() => Ok(()),
        Some(version) => {
            let found = version.chars().take(40).collect();
            Err(OpenError::OtherVersion { path: dir.to_path_buf(), found, expected: FORMAT_VERSION })
        }
        None => Err(OpenError::DamagedFormat { path, found: line.chars().take(40).collect() }),
    }
}

fn make_folder(path: &Path) -> Result<(), OpenError> {
    disk::create_dir_all(path).map_err(|source| OpenError::io("make folder", path, source))
}

fn empty_tmp(path: &Path) -> Result<(), OpenError> {
    let fail = |source| OpenError::io("empty", path, source);
    match reach(Site::OpenBeforeTmp).and_then(|()| disk::remove_dir_all(path)) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(fail(source)),
        _ => reach(Site::OpenAfterTmp).map_err(fail).and_then(|()| make_folder(path)),
    }
}
