//! Fewer and larger files for months that are over, and the removal of what is no longer needed.
//!
//! ```text
//!  1  write compact-<first>-<last>.parquet aside, sync, rename      a crash before: nothing happened
//!  2  remove the files that it covers                               a crash between: readers skip them, the next
//!                                                                   open for writing removes them
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use arrow::compute::concat_batches;

use super::History;
use super::check::COMPACT_PREFIX;
use super::error::HistoryError;
use super::files::{self, Footer};
use super::read::{Listed, Orphan};
use super::rows::Micros;
use super::run_id::month_of;
use super::tables::Table;
use crate::failpoint::{Site, reach};
use crate::medium::{self, disk};

/// Most rows of a compacted file: it is sorted in memory, where a row of results takes about 1 KB.
const ROWS_MAX: usize = 200_000;
/// Most bytes of the files that go into one, for the same reason.
const BYTES_MAX: u64 = 64 << 20;

/// What compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compacted {
    /// Files written.
    pub file_count: u32,
    /// Files that they replace.
    pub covered_count: u32,
    /// Bytes of the written files.
    pub bytes_after: u64,
    /// Bytes of the replaced files.
    pub bytes_before: u64,
}

/// What was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Removed {
    /// Files removed.
    pub file_count: u32,
    /// Their bytes.
    pub bytes: u64,
}

impl History {
    /// Compacts every month before that of `now`. A month whose files are compacted already is left alone, apart from runs
    /// that came later. Safe to interrupt at any point.
    ///
    /// # Errors
    /// A damaged file, or one of a later version: its month and table stay as they are. E1001, E1004.
    pub fn compact(&self, now: Micros) -> Result<Compacted, HistoryError> {
        let _lock = self.lock()?;
        self.remove_covered()?;
        let this_month = month_of(now);
        let mut done = Compacted::default();
        for table in [Table::Results, Table::Samples, Table::Scrapes, Table::Verdicts] {
            let live: BTreeSet<PathBuf> = self.live_files(table)?.into_iter().collect();
            let mut months: BTreeMap<String, Vec<Listed>> = BTreeMap::new();
            for file in self.list(table)? {
                if !file.is_compact() && live.contains(&file.path) && file.month < this_month {
                    months.entry(file.month.clone()).or_default().push(file);
                }
            }
            for (month, files) in months {
                self.compact_month(table, &month, files, &mut done)?;
            }
        }
        Ok(done)
    }

    fn compact_month(
        &self,
        table: Table,
        month: &str,
        files: Vec<Listed>,
        done: &mut Compacted,
    ) -> Result<(), HistoryError> {
        let mut group: Vec<Footer> = Vec::new();
        let (mut rows, mut bytes) = (0, 0);
        for file in files {
            let footer = Footer::open(&file.path, table)?;
            let is_full = rows + footer.row_count > ROWS_MAX || bytes + footer.byte_count > BYTES_MAX;
            if is_full && !group.is_empty() {
                self.compact_group(table, month, &std::mem::take(&mut group), done)?;
                (rows, bytes) = (0, 0);
            }
            rows += footer.row_count;
            bytes += footer.byte_count;
            group.push(footer);
        }
        self.compact_group(table, month, &group, done)
    }

    fn compact_group(
        &self,
        table: Table,
        month: &str,
        group: &[Footer],
        done: &mut Compacted,
    ) -> Result<(), HistoryError> {
        // One file gains nothing by another name.
        let ([first, .., last], true) = (group, group.len() > 1) else { return Ok(()) };
        let stem = format!("{COMPACT_PREFIX}{}-{}", stem_of(&first.path), stem_of(&last.path));
        let batches =
            group.iter().map(|file| files::read(&file.path, table, None)).collect::<Result<Vec<_>, _>>()?;
        let folder = self.dir().join(table.name()).join(format!("month={month}"));
        let path = folder.join(format!("{stem}.parquet"));
        let rows = concat_batches(&table.schema(), &batches)
            .and_then(|rows| table.sort(&rows))
            .map_err(|error| HistoryError::arrow(&path, error))?;
        drop(batches);
        let covers: Vec<String> = group.iter().map(|file| stem_of(&file.path)).collect();
        self.reach(Site::HistoryBeforeCompact)?;
        self.publish(table, month, &stem, &rows, Some(&covers))?;
        self.reach(Site::HistoryBeforeCover)?;
        done.file_count += 1;
        done.covered_count += u32::try_from(group.len()).unwrap_or(u32::MAX);
        done.bytes_after += Footer::open(&path, table)?.byte_count;
        done.bytes_before += group.iter().map(|file| file.byte_count).sum::<u64>();
        remove(group.iter().map(|file| file.path.as_path()))?;
        Ok(())
    }

    /// Finishes compactions that were interrupted: removes files whose rows stand in a compacted one.
    pub(super) fn remove_covered(&self) -> Result<Removed, HistoryError> {
        let mut covered = Vec::new();
        for table in [Table::Results, Table::Samples, Table::Scrapes, Table::Verdicts] {
            let listed = self.list(table)?;
            let mut names = BTreeSet::new();
            for file in listed.iter().filter(|file| file.is_compact()) {
                names.extend(Footer::open(&file.path, table)?.covers().iter().cloned());
            }
            let single = listed.into_iter().filter(|file| !file.is_compact() && names.contains(&file.stem));
            covered.extend(single.map(|file| file.path));
        }
        remove(covered.iter().map(PathBuf::as_path))
    }

    /// Removes the samples of months that ended before `before`. Results stay.
    ///
    /// # Errors
    /// E1001; a file that cannot be removed.
    pub fn prune_samples(&self, before: Micros) -> Result<Removed, HistoryError> {
        let _lock = self.lock()?;
        let first_kept = month_of(before);
        let old = self.list(Table::Samples)?.into_iter().filter(|file| file.month < first_kept);
        let paths: Vec<PathBuf> = old.map(|file| file.path).collect();
        remove(paths.iter().map(PathBuf::as_path))
    }

    /// Removes what [`History::orphans`] finds while nobody writes.
    ///
    /// # Errors
    /// E1001; a file that cannot be removed.
    pub fn remove_orphans(&self) -> Result<Vec<Orphan>, HistoryError> {
        let _lock = self.lock()?;
        let orphans = self.orphans()?;
        remove(orphans.iter().map(|orphan| orphan.path.as_path()))?;
        Ok(orphans)
    }
}

fn stem_of(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Removes files and syncs their folders.
fn remove<'a>(paths: impl Iterator<Item = &'a Path>) -> Result<Removed, HistoryError> {
    let mut removed = Removed::default();
    let mut folders = BTreeSet::new();
    for path in paths {
        let bytes = fs::metadata(path).map_or(0, |metadata| metadata.len());
        match reach(Site::HistoryBeforeRemove).and_then(|()| disk::remove_file(path)) {
            Ok(()) => {
                removed.file_count += 1;
                removed.bytes += bytes;
                folders.extend(path.parent());
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(HistoryError::io("remove", path, error)),
        }
    }
    for folder in folders {
        reach(Site::HistoryBeforeRemoveSync)
            .map_err(|source| HistoryError::io("sync folder", folder, source))?;
        medium::sync_folder(folder)?;
    }
    Ok(removed)
}
