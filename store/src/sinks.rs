//! Rows of a stream to the user's output files.
//!
//! ```text
//! batches, sorted by key --write--> bytes beside the target --finish--> synced, compared, renamed over the target
//!                                        |
//!                                        +-- drop without finish: removed, the target is as it was
//! ```
//!
//! | Kind | Target | Unchanged content |
//! |---|---|---|
//! | `jsonl`, `csv`, `parquet` | one file | file untouched |
//! | `parquet` with `partition` | folder of `column=value/part-0.parquet` | files untouched |
//! | `files` | folder, one file per row | files untouched |
//! | `lance` | dataset, one new version per changed run | no new version |
//!
//! Does not sort, and does not know where the rows come from. Hidden columns are the caller's to leave out.

mod csv;
mod files;
mod jsonl;
mod lance;
mod parquet;
mod tree;
mod values;

use crate::medium::MediumError;
use crate::paths::{self, PathError};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use std::path::{Path, PathBuf};

/// What a program says about one output.
#[derive(Debug, Clone)]
pub struct SinkSpec {
    /// `jsonl`, `csv`, `files`, `parquet` or `lance`.
    pub kind: String,
    /// Folder that outputs stay in: the program's, or the one that the user gave for outputs.
    pub base: PathBuf,
    /// Path below `base` as written.
    pub path: String,
    /// Columns that the rows are sorted by; the key of a `lance` upsert.
    pub key: Vec<String>,
    /// Columns that name the folders of `parquet`; empty: one file.
    pub partition: Vec<String>,
    /// Whether an output of an earlier run is replaced. Without it an existing target is an error, and `lance` keeps rows
    /// whose key the stream does not have.
    pub overwrite: bool,
    /// `files`: column with the name of each file.
    pub name: Option<String>,
    /// `files`: column with the content of each file, text or bytes.
    pub body: Option<String>,
}

/// What a finished sink did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkReport {
    /// Where the output is.
    pub path: PathBuf,
    /// Rows written.
    pub rows: u64,
    /// Bytes of the output, files that did not change included.
    pub bytes: u64,
    /// Whether any byte of the target is another than before.
    pub changed: bool,
}

/// Why an output cannot be written. The target is then as it was, except where a variant says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The path is refused (E2501).
    #[error(transparent)]
    Path(#[from] PathError),
    /// The system refuses (E1004, E2501).
    #[error(transparent)]
    Medium(#[from] MediumError),
    /// There is something, and `overwrite = false` (E2501).
    #[error("{path} exists, and the sink has `overwrite = false`")]
    Exists {
        /// The target.
        path: PathBuf,
    },
    /// A column that the sink cannot write (E0303).
    #[error("`{kind}` of {path}: column `{column}`: {detail}")]
    Column {
        /// Kind of the sink.
        kind: &'static str,
        /// Path as written.
        path: String,
        /// The column.
        column: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A float without a form in text (E2103).
    #[error("row {row} of {path}: column `{column}` is {value}, which has no form in this output")]
    NotFinite {
        /// Path as written.
        path: String,
        /// Row from 1.
        row: u64,
        /// The column.
        column: String,
        /// `NaN`, `inf` or `-inf`.
        value: f64,
    },
    /// Two rows of `files` with one name, or a name that is the folder of another (E2104).
    #[error("row {row} of {path}: the file name `{name}` {detail}")]
    Name {
        /// Path as written.
        path: String,
        /// Row from 1.
        row: u64,
        /// The name.
        name: String,
        /// What is wrong with it.
        detail: &'static str,
    },
    /// More partitions than are kept open (E0501).
    #[error("{path} has more than {limit} partitions")]
    Partitions {
        /// Path as written.
        path: String,
        /// Most that are written.
        limit: usize,
    },
    /// No such sink (E2002).
    #[error("sink `{kind}` is not in this build")]
    Unsupported {
        /// Kind as written.
        kind: String,
    },
    /// What stands under the target's name cannot be read, and would have to be for the next version (E1003).
    #[error("{path} is damaged: {detail}")]
    Damaged {
        /// The target.
        path: PathBuf,
        /// The library's answer.
        detail: String,
    },
    /// A library failed for a reason that is neither the path nor the disk (E2001).
    #[error("{path}: {detail}")]
    Library {
        /// The target.
        path: PathBuf,
        /// The library's answer.
        detail: String,
    },
}

impl SinkError {
    /// The code of the diagnostic.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Path(error) => error.code(),
            Self::Medium(error) => error.code(),
            Self::Exists { .. } => "E2501",
            Self::Column { .. } => "E0303",
            Self::NotFinite { .. } => "E2103",
            Self::Name { .. } => "E2104",
            Self::Partitions { .. } => "E0501",
            Self::Unsupported { .. } => "E2002",
            Self::Damaged { .. } => "E1003",
            Self::Library { .. } => "E2001",
        }
    }

    /// What the user can do about it.
    pub fn help(&self) -> String {
        match self {
            Self::Path(error) => error.help(),
            Self::Medium(error) => error.help(),
            Self::Exists { .. } => "remove it, choose another name, or leave `overwrite` out".into(),
            Self::Column { .. } => {
                "leave the column out with `select`, or write to another kind of sink".into()
            }
            Self::NotFinite { .. } => "filter such rows, or replace the value with `coalesce`".into(),
            Self::Name { .. } => "give each row a name of its own".into(),
            Self::Partitions { .. } => "partition by a column with fewer values".into(),
            Self::Unsupported { .. } => "sinks are jsonl, csv, files, parquet and lance".into(),
            Self::Damaged { path, .. } => format!(
                "restore it from a copy, or move {} away and run again: its rows are written anew, older versions are lost",
                path.display()
            ),
            Self::Library { .. } => "check the disk; if it is sound, please report this".into(),
        }
    }
}

/// An output that is being written. Dropping it without [`Sink::finish`] leaves the target as it was.
pub trait Sink: Send {
    /// Takes the next rows. Memory: a buffer, not the output.
    fn write(&mut self, batch: &RecordBatch) -> Result<(), SinkError>;

    /// Publishes the output. When it returns the output survives a power cut, or nothing has changed.
    fn finish(self: Box<Self>) -> Result<SinkReport, SinkError>;
}

/// Removes the hidden files that processes left which no longer run, beside an output and in a folder of outputs. For an output that
/// stands as it should, so that no writer comes.
pub fn remove_stale(output: &Path) {
    tree::remove_stale(output);
}

/// Checks the path and the columns and opens the output. Makes missing folders above it and touches nothing else.
///
/// Errors: E2501 for the path, E0303 for a column that the kind cannot hold, E1004 for a full disk.
pub fn open_sink(spec: &SinkSpec, schema: &SchemaRef) -> Result<Box<dyn Sink>, SinkError> {
    match spec.kind.as_str() {
        "jsonl" => Ok(Box::new(jsonl::JsonLines::open(spec, schema)?)),
        "csv" => Ok(Box::new(csv::Csv::open(spec, schema)?)),
        "files" => Ok(Box::new(files::Files::open(spec, schema)?)),
        "parquet" if spec.partition.is_empty() => Ok(Box::new(parquet::OneFile::open(spec, schema)?)),
        "parquet" => Ok(Box::new(parquet::Partitions::open(spec, schema)?)),
        "lance" => Ok(Box::new(lance::Lance::open(spec, schema)?)),
        _ => Err(SinkError::Unsupported { kind: spec.kind.clone() }),
    }
}

/// The file to write, checked.
fn target_file(spec: &SinkSpec) -> Result<PathBuf, SinkError> {
    let path = paths::output_file(&spec.base, &spec.path)?;
    if !spec.overwrite && path.exists() {
        return Err(SinkError::Exists { path });
    }
    Ok(path)
}
