//! A small copy of chosen runs, without samples, that is kept under version control so that figures in a text can be
//! queried from a fresh checkout.

use std::collections::BTreeSet;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};

use super::check::COMPACT_PREFIX;
use super::error::HistoryError;
use super::files;
use super::read::live;
use super::run_id::month_of;
use super::tables::Table;
use super::{History, Micros};

/// Most bytes of one released file: everybody who clones the repository carries it.
pub const RELEASED_BYTES_MAX: u64 = 2 << 20;

impl History {
    /// Copies the runs `run_ids` into the history `target`: one compacted file each for their environments, verdicts and
    /// results, the results last. Runs that are there already are left out; if none remains, nothing is written. Returns
    /// the number of runs copied.
    ///
    /// # Errors
    /// E2101 for a run that is not here; [`HistoryError::TooLarge`] if a file would exceed [`RELEASED_BYTES_MAX`], and then
    /// nothing is written; else as [`History::write`].
    pub fn release(&self, target: &History, run_ids: &[String]) -> Result<usize, HistoryError> {
        let held = |table: Table| -> Result<BTreeSet<String>, HistoryError> {
            Ok(live(std::slice::from_ref(target), table)?.into_iter().flat_map(|file| file.runs).collect())
        };
        let (there, environments_there) = (held(Table::Results)?, held(Table::Env)?);
        let new: BTreeSet<&str> =
            run_ids.iter().map(String::as_str).filter(|run| !there.contains(*run)).collect();
        let (Some(first), Some(last)) = (new.first(), new.last()) else { return Ok(0) };
        let results = self.rows_where(Table::Results, "run_id", &new)?;
        let found: BTreeSet<&str> = texts(&results, "run_id").collect();
        if let Some(missing) = new.iter().find(|run| !found.contains(*run)) {
            return Err(HistoryError::NoRun { run_id: (*missing).to_owned() });
        }
        let stem = format!("{COMPACT_PREFIX}{first}-{last}");
        let month = month_of(newest(&results));
        let env_ids: BTreeSet<&str> =
            texts(&results, "env_id").filter(|id| !environments_there.contains(*id)).collect();
        let env = self.rows_where(Table::Env, "env_id", &env_ids)?;
        let verdicts = self.rows_where(Table::Verdicts, "run_id", &new)?;
        let names = |set: &BTreeSet<&str>| set.iter().map(|name| (*name).to_owned()).collect::<Vec<String>>();
        let parts = [
            (Table::Env, "", &env, names(&env_ids)),
            (Table::Verdicts, month.as_str(), &verdicts, vec![stem.clone()]),
            (Table::Results, month.as_str(), &results, names(&new)),
        ];
        for (table, _, rows, covers) in &parts {
            let path = target.dir().join(table.name()).join(format!("{stem}.parquet"));
            let byte_count = files::encode(&path, *table, rows, Some(covers))?.len() as u64;
            if byte_count > RELEASED_BYTES_MAX {
                return Err(HistoryError::TooLarge { path, byte_count, limit: RELEASED_BYTES_MAX });
            }
        }
        let _lock = target.lock()?;
        for (table, month, rows, covers) in parts.iter().filter(|(_, _, rows, _)| rows.num_rows() > 0) {
            target.publish(*table, month, &stem, rows, Some(covers))?;
        }
        Ok(new.len())
    }

    /// The live rows of a table whose text column `column` is one of `values`, in the table's order.
    fn rows_where(
        &self,
        table: Table,
        column: &str,
        values: &BTreeSet<&str>,
    ) -> Result<RecordBatch, HistoryError> {
        let mut batches = Vec::new();
        for file in live(std::slice::from_ref(self), table)? {
            if matches!(table, Table::Results) && !file.runs.iter().any(|run| values.contains(run.as_str())) {
                continue;
            }
            let batch = files::read(&file.path, table, None)?;
            let counts = |text: &str| values.contains(text) && !file.excluded.iter().any(|name| name == text);
            let is_wanted: BooleanArray = texts(&batch, column).map(|text| Some(counts(text))).collect();
            let rows = filter_record_batch(&batch, &is_wanted);
            batches.push(rows.map_err(|error| HistoryError::arrow(&file.path, error))?);
        }
        concat_batches(&table.schema(), &batches)
            .and_then(|rows| table.sort(&rows))
            .map_err(|error| HistoryError::arrow(self.dir(), error))
    }
}

fn texts<'a>(batch: &'a RecordBatch, column: &str) -> impl Iterator<Item = &'a str> {
    batch[column].as_string::<i32>().iter().map(Option::unwrap_or_default)
}

fn newest(results: &RecordBatch) -> Micros {
    let times = results["started_at"].as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
    (0..times.len()).map(|row| times.value(row)).max().unwrap_or(0)
}
