//! One opening of the database: how its files are found, how its end is checked, how it closes.

use std::path::Path;

use rocksdb::{ColumnFamily, DB, DBRecoveryMode, FlushOptions, ReadOptions};

use super::closed::Closed;
use super::settings::Settings;
use super::tuning::Tuning;
use super::{FAMILIES, KvError, LOG, synced};
use crate::failpoint::{self, Site};
use crate::medium::disk;

/// Write buffers below this are left to the log at close: replaying them costs less than a file.
const FLUSH_AT_CLOSE_BYTES: u64 = 1 << 20;
/// How RocksDB's names of files end that it renames when they are whole.
const UNFINISHED: &str = ".dbtmp";
/// RocksDB opens this family with every database; nothing is in it. What it is opened with counts: see [`room`](super::room).
const UNUSED: &str = "default";

/// [`Opened::open_to_read`] or [`Opened::open_to_write`].
type Open = fn(&Path, &Settings) -> Result<Opened, KvError>;

/// One opening of the database. A call takes it once and holds it until its end.
pub(super) struct Opened {
    pub(super) db: DB,
    /// Whether the end of RocksDB's log was damaged, as a power cut leaves it, and was left out.
    pub(super) is_cut: bool,
    /// Of single reads; making them anew for each would cost a tenth of a read that finds its block in memory.
    pub(super) reading: ReadOptions,
    pub(super) is_read_only: bool,
}

impl Opened {
    pub(super) fn open(path: &Path, is_read_only: bool, tuning: &Tuning) -> Result<Self, KvError> {
        let fail = |source| KvError::io(path, &source);
        failpoint::reach(Site::KvBeforeOpen).map_err(fail)?;
        check_names(path)?;
        let open = if is_read_only { Self::open_to_read } else { Self::open_to_write };
        let opened = match open(path, &Settings::new(tuning)) {
            Err(error @ KvError::Damaged { .. }) => Self::open_cut(path, error, open, tuning)?,
            opened => opened?,
        };
        failpoint::reach(Site::KvAfterOpen).map_err(fail)?;
        Ok(opened)
    }

    /// Opens a database whose log is damaged, up to the damage, if nothing that was synced lies behind it: looks first, without
    /// changing anything. Otherwise answers `error`.
    fn open_cut(path: &Path, error: KvError, open: Open, tuning: &Tuning) -> Result<Self, KvError> {
        // What was closed in order has no end that nobody synced.
        if Closed::read(path).is_some_and(|closed| closed.is_latest(path)) {
            return Err(error);
        }
        let mut settings = Settings::new(tuning);
        settings.options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
        let Ok(looked) = Self::open_to_read(path, &settings) else { return Err(error) };
        looked.check_end(path, synced::read(path)).map_err(|_| error)?;
        drop(looked);
        let mut opened = open(path, &settings)?;
        opened.is_cut = true;
        Ok(opened)
    }

    /// The log must not end before a write that was on the device.
    pub(super) fn check_end(&self, path: &Path, synced: u64) -> Result<(), KvError> {
        let last = self.last_logged(path)?;
        if last >= synced {
            return Ok(());
        }
        let detail = format!("the log ends at write {last}; it was on the disk up to write {synced}");
        Err(KvError::Damaged { path: path.to_path_buf(), detail })
    }

    fn open_to_write(path: &Path, settings: &Settings) -> Result<Self, KvError> {
        remove_unfinished(path).map_err(|source| KvError::io(path, &source))?;
        let families = FAMILIES.into_iter().chain([UNUSED]).map(|name| settings.family(name));
        let db = DB::open_cf_descriptors(&settings.options, path, families);
        let db = db.map_err(|source| KvError::new(path, source))?;
        Ok(Self { db, is_cut: false, reading: ReadOptions::default(), is_read_only: false })
    }

    /// For readers, while the database is closed and opened again: holds every file open, so that none is missed that the
    /// next opening removes.
    pub(super) fn bridge(path: &Path, tuning: &Tuning) -> Result<Self, KvError> {
        let mut settings = Settings::new(tuning);
        settings.options.set_max_open_files(-1);
        Self::open_to_read(path, &settings)
    }

    fn open_to_read(path: &Path, settings: &Settings) -> Result<Self, KvError> {
        let options = &settings.options;
        // A directory that was last written before a family was added does not have it.
        let held = DB::list_cf(options, path).map_err(|source| KvError::new(path, source))?;
        let families = FAMILIES.into_iter().filter(|name| held.iter().any(|held| held == name));
        let families = families.map(|name| settings.family(name));
        let db = DB::open_cf_descriptors_read_only(options, path, families, false);
        let db = db.map_err(|source| KvError::new(path, source))?;
        Ok(Self { db, is_cut: false, reading: ReadOptions::default(), is_read_only: true })
    }

    /// Number of the newest write in the log; 0 if there is none.
    pub(super) fn last_logged(&self, path: &Path) -> Result<u64, KvError> {
        let Some(family) = self.family_if_held(LOG) else { return Ok(0) };
        let mut entries = self.db.raw_iterator_cf(family);
        entries.seek_to_last();
        let last = entries.key().and_then(|key| <[u8; 8]>::try_from(key).ok()).map(u64::from_be_bytes);
        entries.status().map_err(|source| KvError::new(path, source))?;
        Ok(last.unwrap_or(0))
    }

    /// Brings all that is in memory into tables, synced.
    pub(super) fn flush(&self) -> Result<(), rocksdb::Error> {
        let families = FAMILIES.map(|name| self.family(name));
        self.db.flush_cfs_opt(&families, &FlushOptions::default())
    }

    /// Flushes what the next opening would replay for long. A flush that fails loses nothing: the log still holds the writes.
    pub(super) fn flush_at_close(&self) {
        let buffered = |name: &'static str| {
            let bytes = self.db.property_int_value_cf(self.family(name), "rocksdb.cur-size-all-mem-tables");
            bytes.ok().flatten().unwrap_or(0)
        };
        if FAMILIES.into_iter().any(|name| buffered(name) > FLUSH_AT_CLOSE_BYTES) {
            let _ = failpoint::reach(Site::KvBeforeCloseFlush).map(|()| self.flush());
        }
    }

    pub(super) fn family(&self, name: &'static str) -> &ColumnFamily {
        self.db.cf_handle(name).expect("invariant: every family is opened with the database")
    }

    /// The family, if it is there: not every directory that is opened for reading only has all of them.
    pub(super) fn family_if_held(&self, name: &'static str) -> Option<&ColumnFamily> {
        self.db.cf_handle(name)
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if !self.is_read_only {
            self.flush_at_close();
        }
    }
}

/// Removes what RocksDB leaves when it is killed while it writes its options down, and keeps for ever.
fn remove_unfinished(path: &Path) -> std::io::Result<()> {
    let entries = match disk::read_dir(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_string_lossy().ends_with(UNFINISHED) && entry.file_type()?.is_file() {
            disk::remove_file(&entry.path())?;
        }
    }
    Ok(())
}

/// RocksDB makes a new database where `CURRENT` is missing, beside the files of the old one: what these held would be lost
/// without a word. A database killed while it was made has neither tables nor logs.
fn check_names(path: &Path) -> Result<(), KvError> {
    let damaged = |detail: String| KvError::Damaged { path: path.to_path_buf(), detail };
    let current = match disk::read_to_string(&path.join("CURRENT")) {
        Ok(current) => current,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return check_empty(path);
        }
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            return Err(damaged(format!("`CURRENT`: {error}")));
        }
        Err(error) => return Err(KvError::io(path, &error)),
    };
    let manifest = current.trim_end();
    if !manifest.starts_with("MANIFEST-") || manifest.contains('/') {
        return Err(damaged("`CURRENT` does not name a manifest".to_owned()));
    }
    if !path.join(manifest).is_file() {
        return Err(damaged(format!("`{manifest}` is missing")));
    }
    Ok(())
}

/// A folder that cannot be looked into may hold a database.
fn check_empty(path: &Path) -> Result<(), KvError> {
    let entries = match disk::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(KvError::io(path, &error)),
    };
    for entry in entries {
        let name = entry.map_err(|error| KvError::io(path, &error))?.file_name();
        let name = name.to_string_lossy();
        if name.ends_with(".sst") || name.ends_with(".log") {
            let detail = format!("`{name}` is there, `CURRENT` is not");
            return Err(KvError::Damaged { path: path.to_path_buf(), detail });
        }
    }
    Ok(())
}
