//! What is to be seen of a directory, and whether it is right.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::util::pretty::pretty_format_batches;
use promptc_engine::datafusion::error::DataFusionError;
use promptc_engine::error::EngineError;
use promptc_engine::store::doctor::{self, Severity};
use promptc_engine::store::history::History;
use promptc_engine::store::kv::Records;
use promptc_engine::store::sources::{BadRows, SourceSpec, read, resolve};
use promptc_engine::store::sql::{history_error, history_session};
use promptc_engine::{store::history::HistoryError, store_errors};

use super::reference::{Reference, list, runtime};

/// What can be seen after a run.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Picture {
    /// Outputs by their bytes; the dataset apart, which has random names inside.
    pub(super) outputs: BTreeMap<PathBuf, Vec<u8>>,
    /// Rows of the dataset.
    pub(super) dataset: Option<RecordBatch>,
    pub(super) records: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) history: String,
    /// Rows that the run computed or deleted.
    pub(super) computed: u64,
}

pub(super) fn picture(reference: &Reference) -> Picture {
    let store = reference.store();
    Picture {
        outputs: outputs(reference),
        dataset: dataset(reference).ok(),
        records: records(store.records()).unwrap(),
        history: history(reference).unwrap(),
        computed: 0,
    }
}

/// The outputs but for the dataset.
pub(super) fn outputs(reference: &Reference) -> BTreeMap<PathBuf, Vec<u8>> {
    let out = reference.place().join("out");
    let files = list(&out).into_iter().filter(|path| !path.starts_with("chunks.lance"));
    files.map(|path| (path.clone(), fs::read(out.join(path)).unwrap())).collect()
}

/// The rows of the output that is a dataset.
pub(super) fn dataset(reference: &Reference) -> Result<RecordBatch, String> {
    let text = |name: &str| arrow::datatypes::Field::new(name, arrow::datatypes::DataType::Utf8, true);
    let spec = SourceSpec {
        kind: "lance".into(),
        base: reference.place(),
        path: "out/chunks.lance".into(),
        part: None,
        delimiter: ',',
        header: true,
        columns: Arc::new(Schema::new(vec![text("path"), text("text")])),
        key: Vec::new(),
        bad_rows: BadRows::Error,
        max_bytes: 16 << 20,
        max_bad: 0.0,
        limit: None,
    };
    let files = resolve(&spec, None).map_err(|error| error.to_string())?;
    let batches: Result<Vec<RecordBatch>, _> =
        read(&spec, &files, 256).map(|batch| batch.map(|batch| batch.batch)).collect();
    let batches = batches.map_err(|error| error.to_string())?;
    arrow::compute::concat_batches(&spec.columns, &batches).map_err(|error| error.to_string())
}

pub(super) fn records(records: &Records) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, EngineError> {
    let mut found = BTreeMap::new();
    records.range(b"", None, |key, value| found.insert(key.to_vec(), value.to_vec()).is_none())?;
    for key in found.keys() {
        records.get(key)?;
    }
    Ok(found)
}

/// Every row of the history's tables.
pub(super) fn history(reference: &Reference) -> Result<String, EngineError> {
    let history = History::open_existing(&reference.history()).map_err(store_errors::history)?;
    let ctx = history_session(&[history], "this", None).map_err(store_errors::history)?;
    let query = |sql: &'static str| {
        let ctx = ctx.clone();
        runtime().block_on(async move { ctx.sql(sql).await?.collect().await })
    };
    let mut text = String::new();
    for sql in [
        "SELECT run_id, bench_id, value, n_samples, p99, started_at FROM results ORDER BY run_id, bench_id",
        "SELECT * FROM samples ORDER BY run_id, bench_id",
        "SELECT gate_id, run_id, verdict FROM verdicts ORDER BY run_id",
        "SELECT env_id, os FROM env ORDER BY env_id",
        "SELECT count(*) FROM results JOIN env USING (env_id)",
    ] {
        let batches = query(sql).map_err(named)?;
        text += &pretty_format_batches(&batches).unwrap().to_string();
    }
    Ok(text)
}

/// The history's own error inside DataFusion's.
fn named(error: DataFusionError) -> EngineError {
    match history_error(&error) {
        Some(found) => {
            EngineError::Store { code: HistoryError::code(found), message: found.to_string(), help: None }
        }
        None => EngineError::from(error),
    }
}

/// What the doctor says: errors and warnings of the store and of the history.
pub(super) fn doctor(reference: &Reference) -> Vec<String> {
    let mut said: Vec<String> = doctor::check(&reference.store_dir())
        .into_iter()
        .filter(|finding| finding.severity != Severity::Info)
        .map(|finding| {
            let is_told = finding.severity == Severity::Warning
                || !(finding.lost.is_empty() || finding.help.is_empty() || finding.code.is_none());
            assert!(is_told, "without loss, help or code: {finding:?}");
            format!("{} {}", finding.subject, finding.message)
        })
        .collect();
    match History::open_existing(&reference.history()) {
        Err(error) => said.push(error.to_string()),
        Ok(history) => {
            match history.damaged() {
                Ok(damaged) => said.extend(damaged.into_iter().map(|file| file.error.to_string())),
                Err(error) => said.push(error.to_string()),
            }
            match history.orphans() {
                Ok(orphans) => {
                    said.extend(orphans.into_iter().map(|orphan| format!("{}", orphan.path.display())))
                }
                Err(error) => said.push(error.to_string()),
            }
        }
    }
    said
}
