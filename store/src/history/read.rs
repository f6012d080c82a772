//! Which files of a history count, and which runs are in them.
//!
//! ```text
//!  results/month=2026-01/compact-A-C.parquet   covers A, B, C        live
//!  results/month=2026-01/B.parquet             covered               skipped, removed at the next open
//!  results/month=2026-02/D.parquet             commits run D         live
//!  samples/month=2026-02/D.parquet                                   live, because D is committed
//!  samples/month=2026-02/E.parquet             no results of E       orphan: skipped, removed by the doctor
//! ```
//!
//! A run counts once: the first file that holds it wins, over all histories that are read together.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{TimestampMicrosecondType, UInt32Type};

use super::History;
use super::check::COMPACT_PREFIX;
use super::error::HistoryError;
use super::files::{self, Footer};
use super::rows::Micros;
use super::run_id::run_id_time;
use super::tables::Table;
use crate::medium::disk;

/// A file that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveFile {
    /// Where it is.
    pub path: PathBuf,
    /// Runs in it that count, sorted; of `verdicts` the batches, of `env` the environment.
    pub runs: Vec<String>,
    /// Runs in it that do not count: another file holds them, or they were never committed.
    pub excluded: Vec<String>,
}

/// A run in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunInfo {
    /// Its id.
    pub id: String,
    /// When its first measurement began; of a run without results when its id was made.
    pub started_at: Micros,
    /// Its commit; empty for a run without results.
    pub git_sha: String,
    /// Its branch.
    pub git_branch: String,
    /// Whether its work tree was dirty.
    pub git_dirty: bool,
    /// Position on the main line.
    pub commit_seq: Option<u32>,
    /// Its environment.
    pub env_id: String,
    /// Its suites, sorted.
    pub suites: Vec<String>,
    /// Sides that it measured, sorted: `base` and `cand` for a paired run.
    pub sides: Vec<String>,
    /// Rows of results.
    pub result_count: u32,
    /// Rows of results with the status `ok`.
    pub ok_count: u32,
}

/// A file that does not count and can be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// Where it is.
    pub path: PathBuf,
    /// Why it does not count.
    pub reason: &'static str,
}

/// A file of the history that is not what was written.
#[derive(Debug)]
pub struct DamagedFile {
    /// What is wrong with it.
    pub error: HistoryError,
    /// What is lost with it.
    pub lost: String,
}

/// A file found in a table's folder.
pub(super) struct Listed {
    pub(super) path: PathBuf,
    /// Its name without extension.
    pub(super) stem: String,
    /// Its folder's month; empty where a table is not partitioned.
    pub(super) month: String,
}

impl Listed {
    pub(super) fn is_compact(&self) -> bool {
        self.stem.starts_with(COMPACT_PREFIX)
    }
}

impl History {
    /// Files of `table` that count, compacted ones first.
    ///
    /// # Errors
    /// A compacted file that is damaged or of a later version; the others are looked at when they are read.
    pub fn live_files(&self, table: Table) -> Result<Vec<PathBuf>, HistoryError> {
        let live = live(std::slice::from_ref(self), table)?;
        Ok(live.into_iter().map(|file| file.path).collect())
    }

    /// The committed runs in the order of their ids. Cost: ten columns of all results.
    ///
    /// # Errors
    /// A damaged file, or one of a later version.
    pub fn runs(&self) -> Result<Vec<RunInfo>, HistoryError> {
        let mut runs: BTreeMap<String, RunInfo> = BTreeMap::new();
        for file in live(std::slice::from_ref(self), Table::Results)? {
            for run in &file.runs {
                runs.insert(run.clone(), RunInfo::empty(run));
            }
            add_results(&mut runs, &files::read(&file.path, Table::Results, Some(&RUN_COLUMNS))?);
        }
        Ok(runs.into_values().collect())
    }

    /// Whether a run is committed.
    ///
    /// # Errors
    /// As [`History::live_files`].
    pub fn contains(&self, run_id: &str) -> Result<bool, HistoryError> {
        Ok(self.file_of(Table::Results, run_id)?.is_some())
    }

    /// Whether a run is committed and the files of its results and samples are what was written. Cost: both are read once.
    ///
    /// # Errors
    /// As [`History::live_files`]; E1003 if one of them is damaged.
    pub fn holds(&self, run_id: &str) -> Result<bool, HistoryError> {
        let Some(results) = self.file_of(Table::Results, run_id)? else { return Ok(false) };
        files::verify(&results, Table::Results)?;
        if let Some(samples) = self.file_of(Table::Samples, run_id)? {
            files::verify(&samples, Table::Samples)?;
        }
        Ok(true)
    }

    /// The file that holds a run, as far as names and lists of covered runs tell.
    pub(super) fn file_of(&self, table: Table, run_id: &str) -> Result<Option<PathBuf>, HistoryError> {
        let listed = self.list(table)?;
        for file in listed.iter().filter(|file| file.is_compact()) {
            if Footer::open(&file.path, table)?.covers().iter().any(|run| run == run_id) {
                return Ok(Some(file.path.clone()));
            }
        }
        Ok(listed.into_iter().find(|file| file.stem == run_id).map(|file| file.path))
    }

    /// Checks that no run was made later than `now`, by more than the five minutes that clocks of two machines may differ.
    ///
    /// # Errors
    /// [`HistoryError::Clock`]: runs are ordered by time, so a new one would count as an earlier one.
    pub fn check_clock(&self, now: Micros) -> Result<(), HistoryError> {
        const TOLERANCE: Micros = 300_000_000;
        let newest = live(std::slice::from_ref(self), Table::Results)?
            .iter()
            .filter_map(|file| file.runs.iter().filter_map(|run| run_id_time(run)).max())
            .max();
        match newest {
            Some(newest) if newest > now.saturating_add(TOLERANCE) => {
                Err(HistoryError::Clock { now: now / 1_000_000, newest: newest / 1_000_000 })
            }
            _ => Ok(()),
        }
    }

    /// Files that do not count: of runs that were never committed, or covered by a compacted file, or never finished. A run
    /// that is being written looks the same; [`History::remove_orphans`] waits for it.
    ///
    /// # Errors
    /// As [`History::live_files`].
    pub fn orphans(&self) -> Result<Vec<Orphan>, HistoryError> {
        let mut orphans = Vec::new();
        for table in Table::ALL {
            let live: BTreeSet<PathBuf> = self.live_files(table)?.into_iter().collect();
            for file in self.list(table)?.into_iter().filter(|file| !live.contains(&file.path)) {
                let is_uncommitted = table.is_of_run() && !file.is_compact() && !self.contains(&file.stem)?;
                let reason = if is_uncommitted {
                    "its run was never committed"
                } else {
                    "a compacted file holds its rows"
                };
                orphans.push(Orphan { path: file.path, reason });
            }
            orphans.extend(
                unfinished(&self.dir().join(table.name()))
                    .into_iter()
                    .map(|path| Orphan { path, reason: "it was never finished" }),
            );
        }
        Ok(orphans)
    }

    /// Every file of the history whose bytes are not those that were written, or that is of a later version. One does not hide
    /// the next. Cost: everything is read once (about 1 GB/s).
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn damaged(&self) -> Result<Vec<DamagedFile>, HistoryError> {
        let mut damaged = Vec::new();
        for table in Table::ALL {
            for file in self.list(table)? {
                let Err(error) = files::verify(&file.path, table) else { continue };
                let of = if file.is_compact() { "the runs" } else { "run or batch" };
                let lost = format!("{} of {of} `{}`", table.name(), file.stem);
                damaged.push(DamagedFile { error, lost });
            }
        }
        if damaged.is_empty() {
            self.add_missing_environments(&mut damaged)?;
        }
        Ok(damaged)
    }

    /// Environments that runs name and no file holds. Samples may be pruned and verdicts stand alone, so that nobody misses those.
    fn add_missing_environments(&self, damaged: &mut Vec<DamagedFile>) -> Result<(), HistoryError> {
        let mut seen = BTreeSet::new();
        for run in self.runs()? {
            if seen.insert(run.env_id.clone()) && self.file_of(Table::Env, &run.env_id)?.is_none() {
                let path = self.dir().join(Table::Env.name()).join(format!("{}.parquet", run.env_id));
                let detail = format!("it is missing, and run `{}` was measured in it", run.id);
                let lost = format!("what environment `{}` was", run.env_id);
                damaged.push(DamagedFile { error: HistoryError::Damaged { path, detail }, lost });
            }
        }
        Ok(())
    }

    /// All files of a table in the order of their names, compacted ones first.
    pub(super) fn list(&self, table: Table) -> Result<Vec<Listed>, HistoryError> {
        let folder = self.dir().join(table.name());
        let mut listed = Vec::new();
        for path in entries(&folder)? {
            match name_of(&path).strip_prefix("month=") {
                Some(month) if table != Table::Env => {
                    listed.extend(entries(&path)?.into_iter().filter_map(|path| listed_file(path, month)));
                }
                Some(_) => {}
                None if table == Table::Env => listed.extend(listed_file(path, "")),
                None => {}
            }
        }
        listed
            .sort_by(|left, right| (!left.is_compact(), &left.path).cmp(&(!right.is_compact(), &right.path)));
        Ok(listed)
    }
}

fn listed_file(path: PathBuf, month: &str) -> Option<Listed> {
    let stem = name_of(&path).strip_suffix(".parquet")?.to_owned();
    (!stem.starts_with('.')).then(|| Listed { path, stem, month: month.to_owned() })
}

fn name_of(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// What is in a folder; nothing if it is not there.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, HistoryError> {
    let fail = |source| HistoryError::io("read folder", folder, source);
    let entries = match disk::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(fail(error)),
    };
    entries.map(|entry| Ok(entry.map_err(fail)?.path())).collect()
}

/// Hidden files that a killed writer left in a table's folders.
fn unfinished(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in entries(folder).unwrap_or_default() {
        let name = name_of(&path);
        if name.starts_with("month=") {
            found.extend(unfinished(&path));
        } else if name.starts_with('.') && name.contains(".parquet.tmp-") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The files of `table` that count in histories which are read together. Cost: a listing, and the footers of compacted
/// files.
pub(crate) fn live(histories: &[History], table: Table) -> Result<Vec<LiveFile>, HistoryError> {
    let committed: Option<BTreeSet<String>> = if table.is_of_run() {
        let results = live(histories, Table::Results)?;
        Some(results.into_iter().flat_map(|file| file.runs).collect())
    } else {
        None
    };
    let mut claimed = BTreeSet::new();
    let mut files = Vec::new();
    for history in histories {
        for file in history.list(table)? {
            let held = if file.is_compact() {
                let covers = Footer::open(&file.path, table)?.covers().to_vec();
                if covers.is_empty() {
                    let detail = "it is named as a compacted file and does not say what it covers".to_owned();
                    return Err(HistoryError::Foreign { path: file.path, detail });
                }
                covers
            } else {
                vec![file.stem]
            };
            let counts = |run: &String| committed.as_ref().is_none_or(|committed| committed.contains(run));
            let (mut runs, mut excluded): (Vec<String>, Vec<String>) =
                held.into_iter().partition(|run| counts(run) && !claimed.contains(run));
            if runs.is_empty() {
                continue;
            }
            runs.sort();
            excluded.sort();
            claimed.extend(runs.iter().cloned());
            files.push(LiveFile { path: file.path, runs, excluded });
        }
    }
    Ok(files)
}

/// Columns from which a run is described.
const RUN_COLUMNS: [&str; 10] = [
    "run_id",
    "side",
    "suite",
    "status",
    "started_at",
    "git_sha",
    "git_branch",
    "git_dirty",
    "commit_seq",
    "env_id",
];

impl RunInfo {
    fn empty(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            started_at: run_id_time(id).unwrap_or(0),
            git_sha: String::new(),
            git_branch: String::new(),
            git_dirty: false,
            commit_seq: None,
            env_id: String::new(),
            suites: Vec::new(),
            sides: Vec::new(),
            result_count: 0,
            ok_count: 0,
        }
    }
}

fn add_results(runs: &mut BTreeMap<String, RunInfo>, batch: &RecordBatch) {
    let text = |name: &str| batch.column_by_name(name).map(|column| column.as_string::<i32>());
    let column = |name: &str| text(name).expect("invariant: the columns asked for are read");
    let [run_id, side, suite, status] = ["run_id", "side", "suite", "status"].map(column);
    let [git_sha, git_branch, env_id] = ["git_sha", "git_branch", "env_id"].map(column);
    let started_at = batch["started_at"].as_primitive::<TimestampMicrosecondType>();
    let commit_seq = batch["commit_seq"].as_primitive::<UInt32Type>();
    let git_dirty = batch["git_dirty"].as_boolean();
    for row in 0..batch.num_rows() {
        let Some(run) = runs.get_mut(run_id.value(row)) else { continue };
        if run.result_count == 0 {
            run.started_at = started_at.value(row);
            run.git_sha = git_sha.value(row).to_owned();
            run.git_branch = git_branch.value(row).to_owned();
            run.git_dirty = git_dirty.value(row);
            run.commit_seq = commit_seq.is_valid(row).then(|| commit_seq.value(row));
            run.env_id = env_id.value(row).to_owned();
        }
        run.started_at = run.started_at.min(started_at.value(row));
        run.result_count += 1;
        run.ok_count += u32::from(status.value(row) == "ok");
        for (list, value) in [(&mut run.suites, suite.value(row)), (&mut run.sides, side.value(row))] {
            if let Err(place) = list.binary_search_by(|known| known.as_str().cmp(value)) {
                list.insert(place, value.to_owned());
            }
        }
    }
}
