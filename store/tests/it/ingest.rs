//! Results of other programs: files as those programs wrote them, and what damage to them leads to.
//!
//! `tests/ingest/` holds the output of criterion 0.5 and 0.8, cargo-criterion 1.1, hyperfine 1.15, `db_bench` of RocksDB 7.8
//! and Python's hdrhistogram 0.10 over one small program each. `lm_eval.json` follows the harness's own schema by hand.

mod criterion;
mod damage;
mod formats;
mod rows;

use promptc_store::history::ingest::{IngestError, IngestOptions, Ingested, Kind, ingest, ingest_text};
use promptc_store::history::{ResultRow, Summary};
use std::path::{Path, PathBuf};

/// A summary that needs no statistics of ours.
fn summarise(values: &[f64]) -> Summary {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let median = match sorted.len() {
        0 => None,
        count if count % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    };
    Summary { n_samples: u32::try_from(values.len()).unwrap(), median, ..Summary::default() }
}

fn options() -> IngestOptions {
    IngestOptions::new("elsewhere", summarise)
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ingest").join(name)
}

fn read(kind: Kind, name: &str) -> Ingested {
    ingest(kind, &[fixture(name)], &options()).unwrap()
}

fn text(kind: Kind, text: &str) -> Result<Ingested, IngestError> {
    ingest_text(kind, "given.txt", text, 1_000_000, &options())
}

/// The message and the remedy of an error.
fn complaint(result: Result<Ingested, IngestError>) -> String {
    let error = result.expect_err("an error");
    assert!(!error.help().is_empty() && error.code().starts_with('E'));
    format!("{error} | {}", error.help())
}

fn row<'r>(ingested: &'r Ingested, bench_id: &str, metric: &str) -> &'r ResultRow {
    let found = ingested.results.iter().find(|row| row.bench_id == bench_id && row.metric == metric);
    found.unwrap_or_else(|| panic!("no {bench_id} {metric} in {:#?}", ingested.results))
}

fn ids(ingested: &Ingested) -> Vec<&str> {
    ingested.results.iter().map(|row| row.bench_id.as_str()).collect()
}
