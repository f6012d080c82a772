//! The environment that a question is about which names no run.
//!
//! A program that asks was seldom built as what was measured: benches are optimised, results of other tools do not say how they were
//! built. Only its machine is known, so the newest environment of this machine is meant.

use arrow::array::AsArray;
use arrow::datatypes::TimestampMicrosecondType;

use super::History;
use super::environment::Environment;
use super::error::HistoryError;
use super::files;
use super::read::live;
use super::rows::Micros;
use super::tables::Table;

/// The environment `own` of the asking program if something was measured in it; else the newest of the same machine that the
/// histories have; else `own` all the same. Cost: a small file for each environment.
///
/// # Errors
/// A file of environments that cannot be read.
pub fn this_environment(histories: &[History], own: &Environment) -> Result<String, HistoryError> {
    let mut newest: Option<(Micros, String)> = None;
    for file in live(histories, Table::Env)? {
        let batch = files::read(&file.path, Table::Env, Some(&["env_id", "captured_at", "raw_json"]))?;
        let (ids, texts) = (batch.column(0).as_string::<i32>(), batch.column(2).as_string::<i32>());
        let times = batch.column(1).as_primitive::<TimestampMicrosecondType>();
        for row in 0..batch.num_rows() {
            let found = (times.value(row), ids.value(row).to_owned());
            if found.1 == own.env_id {
                return Ok(found.1);
            }
            if own.is_machine_of(texts.value(row)) && newest.as_ref().is_none_or(|newest| found > *newest) {
                newest = Some(found);
            }
        }
    }
    Ok(newest.map_or_else(|| own.env_id.clone(), |(_, id)| id))
}
