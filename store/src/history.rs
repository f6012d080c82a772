//! The benchmark history: every measurement as rows in Parquet files that other programs read as they are.
//!
//! ```text
//!  Run --write--> samples/month=YYYY-MM/<run>.parquet   env/<env>.parquet   scrapes/...   results/... (last: commit point)
//!  VerdictRow --append_verdicts--> verdicts/month=YYYY-MM/<batch>.parquet
//!                      |
//!                   compact: one file for the runs of a month that is over
//!                      |
//!  live files --> crate::sql (tables and views)   DuckDB, pandas, Polars
//! ```
//!
//! Files are only added. What was measured is never changed; what was decided about it is more rows. Nothing here knows how
//! a measurement is taken or what a gate demands. `FORMAT.md` describes every file.
//!
//! # Decisions
//! *Texts without Arrow dictionaries.* Parquet stores them with a dictionary anyway; as plain Utf8 they compare, unite and
//! pass through functions of SQL without casts, and other readers see text.
//!
//! *Marks are verdicts.* Accepting a run is a summary row of the gate `manual`, so that one table in one order of time says
//! whether a run is accepted, and a mark is written in one atomic step like any verdict.
//!
//! *One writer, any number of readers.* A lock file serialises writers of a folder; two processes that ingest the same run
//! meet as one writing and one finding it done.

mod cells;
mod check;
mod code_hash;
mod compact;
mod environment;
mod error;
pub(crate) mod files;
mod git;
pub mod ingest;
mod noise;
mod read;
mod release;
mod rows;
mod run_id;
mod summary;
mod tables;
mod this_environment;
mod write;

use crate::medium::disk;
use std::path::{Path, PathBuf};

pub use code_hash::{code_hash, rustc_version};
pub use compact::{Compacted, Removed};
pub use environment::{BuildInfo, Environment};
pub use error::HistoryError;
pub use files::{COVERS_KEY, PROGRAM_KEY, TABLE_KEY, VERSION_KEY};
pub use git::git_state;
pub use noise::NoiseProbe;
pub(crate) use read::live;
pub use read::{DamagedFile, LiveFile, Orphan, RunInfo};
pub use release::RELEASED_BYTES_MAX;
pub use rows::{
    GitState, Micros, Noise, ResultRow, Run, SampleRow, ScrapeRow, Side, Status, Summary, VerdictRow,
};
pub use run_id::{new_run_id, run_id_time};
pub use summary::summary;
pub use tables::{
    SCHEMA_VERSION, Table, env_batch, history_id, results_batch, samples_batch, scrapes_batch, verdicts_batch,
};
pub use this_environment::this_environment;
pub use write::MANUAL_GATE;

/// A folder of benchmark history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    dir: PathBuf,
}

impl History {
    /// Opens the history in `dir` for writing, or begins one. Finishes a compaction that was interrupted, unless another
    /// process is writing.
    ///
    /// # Errors
    /// A folder that cannot be made or read; a compacted file that is damaged (E1003) or of a later version (E1002).
    pub fn open(dir: &Path) -> Result<Self, HistoryError> {
        disk::create_dir_all(dir).map_err(|source| HistoryError::io("make folder", dir, source))?;
        let history = Self { dir: dir.to_path_buf() };
        if let Some(_lock) = history.try_lock()? {
            history.remove_covered()?;
        }
        Ok(history)
    }

    /// Opens a history for reading: nothing is made, changed or removed.
    ///
    /// # Errors
    /// [`HistoryError::Missing`] if there is no such folder.
    pub fn open_existing(dir: &Path) -> Result<Self, HistoryError> {
        if !dir.is_dir() {
            return Err(HistoryError::Missing { dir: dir.to_path_buf() });
        }
        Ok(Self { dir: dir.to_path_buf() })
    }

    /// Its folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

/// Characters that tell two benchmarks apart as words do.
const OPERATORS: &str = "+*<>!%^&|~$@?\\";
/// Digits of the hash of what an id cannot say.
const ID_HASH_DIGITS: usize = 8;

/// The id of a benchmark from the title of its group, function and parameter: lower case, every run of characters outside
/// `[a-z0-9.]` becomes `_`, parts joined by `/`. A part that says more than its letters and digits do, as a sign, an operator or
/// a letter of another script, ends with eight digits of its hash, so that `-1` and `1` are two benchmarks.
///
/// ```
/// use promptc_store::history::bench_id;
/// assert_eq!(bench_id("Single Latent Update/MLP/64"), "single_latent_update/mlp/64");
/// assert_ne!(bench_id("zstd/-1"), bench_id("zstd/1"));
/// ```
#[must_use]
pub fn bench_id(title: &str) -> String {
    title.split('/').map(id_part).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
}

fn id_part(part: &str) -> String {
    let words = part.split(|character: char| !(character.is_ascii_alphanumeric() || character == '.'));
    let words: Vec<String> = words.filter(|word| !word.is_empty()).map(str::to_lowercase).collect();
    let hash = says_more(part).then(|| blake3::hash(part.as_bytes()).to_hex()[..ID_HASH_DIGITS].to_owned());
    words.into_iter().chain(hash).collect::<Vec<_>>().join("_")
}

/// Whether a part of a title has characters that are no mere separators between its words.
fn says_more(part: &str) -> bool {
    let mut before = ' ';
    let mut characters = part.chars().peekable();
    while let Some(character) = characters.next() {
        let is_sign = character == '-'
            && !before.is_ascii_alphanumeric()
            && characters.peek().is_some_and(char::is_ascii_digit);
        if is_sign || !character.is_ascii() || OPERATORS.contains(character) {
            return true;
        }
        before = character;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::bench_id;
    use std::collections::BTreeSet;

    #[test]
    fn what_words_do_not_say_is_told_by_a_hash() {
        let titles =
            ["zstd/1", "zstd/-1", "zstd/+1", "ops/+", "ops/*", "größe", "grüße", "日本", "中国", "c", "c++"];
        let ids: BTreeSet<String> = titles.iter().map(|title| bench_id(title)).collect();
        assert_eq!(ids.len(), titles.len(), "{ids:?}");
        for (title, id) in [
            ("Answer Refinement (256d, 10 tokens)", "answer_refinement_256d_10_tokens"),
            ("Throughput/Single Thread K=5", "throughput/single_thread_k_5"),
            ("a-b/f32-1/x: y [z]", "a_b/f32_1/x_y_z"),
            ("Group//1.5", "group/1.5"),
            (" / ", ""),
        ] {
            assert_eq!(bench_id(title), id);
            assert_eq!(bench_id(&bench_id(title)), id, "an id is its own title");
        }
    }
}
