//! Committing a run, a batch of verdicts, a mark.
//!
//! ```text
//!  Run --check--> samples, env, scrapes, results     each: .<name>.tmp-..., sync, rename, sync folder
//!                                        ^-- commit point: without it the others are orphans that readers skip
//! ```
//!
//! One process writes a history at a time ([`History::lock`]); readers need no lock, since no published file ever changes.

use std::fs::TryLockError;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;

use super::History;
use super::check::{check_run, check_verdict};
use super::environment::Environment;
use super::error::HistoryError;
use super::files;
use super::rows::{Micros, Run, VerdictRow};
use super::run_id::{month_of, new_run_id};
use super::tables::{self, Table};
use crate::failpoint::{Site, reach};
use crate::medium;
use crate::medium::disk::{self, File};

/// Name of the lock file. Hidden, so that other readers' patterns of file names do not meet it.
const LOCK_FILE: &str = ".lock";
/// How long a writer waits for another one; compacting a month of many runs takes seconds.
const LOCK_WAIT: Duration = Duration::from_secs(30);
/// Time between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// The gate under which a person decides.
pub const MANUAL_GATE: &str = "manual";

impl History {
    /// Commits a run: `samples`, `env`, `scrapes`, then `results`, each durable before the next begins. Writing a run again
    /// with the same rows changes nothing; a run that was interrupted is completed.
    ///
    /// # Errors
    /// E2102 for a row that must not be written (nothing is), E2104 if the id is taken by other rows, E1001 if another
    /// process keeps the history for half a minute, E1004 for a full disk. After an error the run is not committed.
    pub fn write(&self, run: &Run, environment: &Environment) -> Result<(), HistoryError> {
        check_run(run, environment)?;
        let _lock = self.lock()?;
        let sorted = |table: Table, batch: RecordBatch| {
            table.sort(&batch).map_err(|error| HistoryError::arrow(self.dir(), error))
        };
        let results = sorted(Table::Results, tables::results_batch(run))?;
        let samples = sorted(Table::Samples, tables::samples_batch(run))?;
        let scrapes = sorted(Table::Scrapes, tables::scrapes_batch(run))?;
        if let Some(stored) = self.rows_of(Table::Results, &run.id)? {
            // Samples may have been pruned since, so only those that are there are compared.
            let other_samples =
                self.rows_of(Table::Samples, &run.id)?.is_some_and(|stored| stored != samples);
            if stored != results || other_samples {
                return Err(HistoryError::Exists { run_id: run.id.clone() });
            }
            return Ok(());
        }
        let month = month_of(run.started_at);
        if samples.num_rows() > 0 {
            self.reach(Site::HistoryBeforeSamples)?;
            self.publish(Table::Samples, &month, &run.id, &samples, None)?;
        }
        if !self.dir().join(Table::Env.name()).join(format!("{}.parquet", run.env_id)).is_file() {
            // Sealed again, so that what is stored is what the fingerprint says.
            self.reach(Site::HistoryBeforeEnv)?;
            let env = tables::env_batch(&environment.clone().sealed());
            self.publish(Table::Env, "", &run.env_id, &env, None)?;
        }
        if scrapes.num_rows() > 0 {
            self.reach(Site::HistoryBeforeScrapes)?;
            self.publish(Table::Scrapes, &month, &run.id, &scrapes, None)?;
        }
        self.reach(Site::HistoryBeforeResults)?;
        self.publish(Table::Results, &month, &run.id, &results, None)?;
        self.reach(Site::HistoryAfterResults)
    }

    /// Appends verdicts, durable and as a whole. They are filed under the month of the last one.
    ///
    /// # Errors
    /// E2102 for a row that must not be written; E1001, E1004 as for [`History::write`].
    pub fn append_verdicts(&self, rows: &[VerdictRow]) -> Result<(), HistoryError> {
        let Some(last) = rows.iter().map(|row| row.decided_at).max() else { return Ok(()) };
        rows.iter().try_for_each(check_verdict)?;
        let _lock = self.lock()?;
        let batch = Table::Verdicts
            .sort(&tables::verdicts_batch(rows))
            .map_err(|error| HistoryError::arrow(self.dir(), error))?;
        let id = new_run_id(SystemTime::now());
        self.reach(Site::HistoryBeforeVerdicts)?;
        self.publish(Table::Verdicts, &month_of(last), &id, &batch, None)?;
        self.reach(Site::HistoryAfterVerdicts)
    }

    /// Records that a person accepts or rejects a run: a summary row of the gate `manual`. It outweighs all gates until the
    /// next mark.
    ///
    /// # Errors
    /// E2101 if there is no such run; else as [`History::append_verdicts`].
    pub fn mark(&self, run_id: &str, is_accepted: bool, reason: &str) -> Result<(), HistoryError> {
        if !self.contains(run_id)? {
            return Err(HistoryError::NoRun { run_id: run_id.to_owned() });
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        self.append_verdicts(&[VerdictRow {
            gate_id: MANUAL_GATE.to_owned(),
            run_id: run_id.to_owned(),
            purpose: "gate".to_owned(),
            verdict: if is_accepted { "pass" } else { "fail" }.to_owned(),
            reason: Some(reason.to_owned()),
            decided_at: Micros::try_from(now).unwrap_or(Micros::MAX),
            ..VerdictRow::default()
        }])
    }

    pub(super) fn reach(&self, site: Site) -> Result<(), HistoryError> {
        reach(site).map_err(|source| HistoryError::io("write", self.dir(), source))
    }

    /// The stored rows of a run, in the table's order; none if no file holds it.
    fn rows_of(&self, table: Table, run_id: &str) -> Result<Option<RecordBatch>, HistoryError> {
        let Some(path) = self.file_of(table, run_id)? else { return Ok(None) };
        let batch = files::read(&path, table, None)?;
        let ids = batch["run_id"].as_string::<i32>();
        let is_of_run: BooleanArray = ids.iter().map(|id| Some(id == Some(run_id))).collect();
        let rows = filter_record_batch(&batch, &is_of_run).and_then(|rows| table.sort(&rows));
        rows.map(Some).map_err(|error| HistoryError::arrow(&path, error))
    }

    /// Writes a file aside, syncs it, renames it and syncs its folder.
    pub(super) fn publish(
        &self,
        table: Table,
        month: &str,
        stem: &str,
        batch: &RecordBatch,
        covers: Option<&[String]>,
    ) -> Result<(), HistoryError> {
        let root = self.dir().join(table.name());
        let folder = if month.is_empty() { root.clone() } else { root.join(format!("month={month}")) };
        if !folder.is_dir() {
            self.reach(Site::HistoryBeforeFolder)?;
            disk::create_dir_all(&folder)
                .map_err(|source| HistoryError::io("make folder", &folder, source))?;
            self.reach(Site::HistoryBeforeFolderSync)?;
            // The names of new folders are as much part of the file's durability as its own.
            medium::sync_folder(self.dir())?;
            medium::sync_folder(&root)?;
        }
        let path = folder.join(format!("{stem}.parquet"));
        medium::replace(&path, &files::encode(&path, table, batch, covers)?)?;
        Ok(())
    }

    /// Takes the history for writing; held until the value is dropped, at the latest until the process ends.
    ///
    /// # Errors
    /// E1001 if another process holds it for half a minute.
    pub(super) fn lock(&self) -> Result<HistoryLock, HistoryError> {
        let deadline = Instant::now() + LOCK_WAIT;
        loop {
            match self.try_lock()? {
                Some(lock) => return Ok(lock),
                None if Instant::now() >= deadline => {
                    return Err(HistoryError::Locked { dir: self.dir().to_path_buf() });
                }
                None => thread::sleep(LOCK_PAUSE),
            }
        }
    }

    /// As [`History::lock`], without waiting.
    pub(super) fn try_lock(&self) -> Result<Option<HistoryLock>, HistoryError> {
        let path = self.dir().join(LOCK_FILE);
        let file = File::open_or_create(&path).map_err(|source| HistoryError::io("open", &path, source))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(HistoryLock { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(HistoryError::io("lock", &path, source)),
        }
    }
}

/// The right to write a history.
#[derive(Debug)]
pub(super) struct HistoryLock {
    _file: File,
}
