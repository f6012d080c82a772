//! The user's files to Arrow record batches, in bounded memory.
//!
//! ```text
//! pattern --resolve--> files in byte order --content_hash--> fingerprint of the source
//!                           |
//!                           +--read--> rows, one file after the other --> typed values --> record batches
//!                                       |                                  |
//!                                       +---- bad rows: error, quarantine or skip
//! ```
//!
//! A reader of a text format yields rows of typed values or bad rows; [`reader`](read) gathers them into batches, refuses
//! duplicate keys, and counts bad rows against their bound. Parquet and Lance yield whole batches, which pass the same
//! checks. Does not know where a source stands in a program.

mod adapt;
mod arrays;
mod bad_rows;
mod columns;
mod convert;
mod csv;
mod datum;
mod files;
mod glob;
mod json;
mod jsonl;
mod lance;
mod lines;
mod markdown;
mod parquet;
mod reader;
mod squad;
mod text;
mod trec;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

pub use bad_rows::{BadRow, BadRows};
pub use columns::fixed_columns;
pub use files::{FileEntry, content_hash};
pub use glob::resolve;
pub use markdown::{front_matter, title};
pub use reader::{SourceReader, read};

pub(crate) use convert::type_name;

/// Bytes of the rows that one batch gathers before it is handed on, whatever the row count asked for.
pub const BATCH_BYTES: usize = 8 << 20;

/// What a program says about one source.
#[derive(Debug, Clone)]
pub struct SourceSpec {
    /// `jsonl`, `json`, `csv`, `markdown`, `text`, `squad`, `trec`, `parquet` or `lance`.
    pub kind: String,
    /// Folder that a relative `path` starts from.
    pub base: PathBuf,
    /// Path or pattern as written; a leading `~` is the home folder.
    pub path: String,
    /// `contexts` or `questions` of `squad`; `docs`, `topics` or `qrels` of `trec`.
    pub part: Option<String>,
    /// Between the cells of `csv`; one byte in UTF-8.
    pub delimiter: char,
    /// Whether the first record of `csv` names the columns. Without it cells are taken in the order of `columns`.
    pub header: bool,
    /// Columns wanted. The nullability is the declared one: a null in a non-null column makes a bad row.
    pub columns: SchemaRef,
    /// Columns whose values together are unique; empty: not checked.
    pub key: Vec<String>,
    /// What happens to a bad row.
    pub bad_rows: BadRows,
    /// Longest row in bytes, after decompression.
    pub max_bytes: u64,
    /// Largest share of bad rows, 0 to 1.
    pub max_bad: f64,
    /// Rows to read at most.
    pub limit: Option<u64>,
}

impl SourceSpec {
    /// Refuses a kind, part, delimiter or column that no reader serves, before any file is opened.
    pub fn check(&self) -> Result<(), SourceError> {
        columns::check(self)
    }
}

/// Rows of one batch and the rows that were set aside while it was gathered.
#[derive(Debug)]
pub struct SourceBatch {
    /// Rows in file order. May be empty when only bad rows were found.
    pub batch: RecordBatch,
    /// Bad rows of the mode `quarantine`, for [`crate::schema::quarantine_batch`].
    pub quarantined: Vec<BadRow>,
    /// Bad rows that the mode `skip` dropped.
    pub skipped: u64,
}

/// Why a source cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The pattern matches nothing, or the file is not there (E2101).
    #[error("no file matches `{pattern}` below {}", folder_shown(base).display())]
    NoMatch {
        /// Pattern as written.
        pattern: String,
        /// Folder that was searched.
        base: PathBuf,
    },
    /// The pattern is malformed (E2101).
    #[error("pattern `{pattern}`: {detail}")]
    Pattern {
        /// Pattern as written.
        pattern: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A file or folder cannot be opened or read (E2101).
    #[error("{path} cannot be read: {source}")]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A folder, pipe, socket or device where a file is needed (E2101).
    #[error("{path} is {found}, not a file")]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// A matching file whose name is not UTF-8 (E2101).
    #[error("the name of {path:?} is not UTF-8")]
    NameNotText {
        /// The path.
        path: PathBuf,
    },
    /// A file was written while the run read it (E2101).
    #[error("{path} changed while it was read")]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A bad row in the mode `error` (E2102).
    #[error("{0}")]
    BadRow(Box<BadRow>),
    /// A file that cannot be read on from some point (E2102).
    #[error("{path} is damaged: {detail}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the reader found.
        detail: String,
    },
    /// Two rows with one key (E2104).
    #[error("key {key} is in {first} and again in {second}")]
    DuplicateKey {
        /// Columns and values.
        key: String,
        /// File and place of the first row.
        first: String,
        /// File and place of the second row.
        second: String,
    },
    /// More bad rows than the source allows (E2105).
    #[error(
        "{bad} of {rows} rows of `{pattern}` are bad, at most {percent} % are allowed; the first: {first}"
    )]
    TooManyBad {
        /// Pattern as written.
        pattern: String,
        /// Bad rows.
        bad: u64,
        /// All rows.
        rows: u64,
        /// The bound in percent.
        percent: f64,
        /// The first of them.
        first: Box<BadRow>,
    },
    /// A column that the source does not have, or has with another type (E0303).
    #[error("column `{column}` of `{pattern}`: {detail}")]
    Column {
        /// Pattern or file.
        pattern: String,
        /// The column.
        column: String,
        /// Expected and found.
        detail: String,
    },
    /// A kind, part or option that no reader serves (E2002).
    #[error("source {what} is not in this build")]
    Unsupported {
        /// Kind and part as written.
        what: String,
    },
    /// A fault of ours between checked values and arrays (E2001).
    #[error("rows of {path} do not form a batch: {detail}")]
    Internal {
        /// The file.
        path: PathBuf,
        /// The library's answer.
        detail: String,
    },
}

impl SourceError {
    /// The code of the diagnostic.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoMatch { .. }
            | Self::Pattern { .. }
            | Self::Unreadable { .. }
            | Self::NotAFile { .. }
            | Self::NameNotText { .. }
            | Self::Changed { .. } => "E2101",
            Self::BadRow(row) => row.code,
            Self::Damaged { .. } => "E2102",
            Self::DuplicateKey { .. } => "E2104",
            Self::TooManyBad { .. } => "E2105",
            Self::Column { .. } => "E0303",
            Self::Unsupported { .. } => "E2002",
            Self::Internal { .. } => "E2001",
        }
    }

    /// What the user can do about it.
    pub fn help(&self) -> String {
        match self {
            Self::NoMatch { .. } => {
                "check the path; it is relative to the program's folder, and `*` does not cross `/`".into()
            }
            Self::Pattern { .. } => "patterns know `*`, `?`, `**` between slashes, and `[a-z]`".into(),
            Self::Unreadable { .. } => "check that the file is there and may be read by this user".into(),
            Self::NotAFile { .. } => "name a file, or a pattern that matches files".into(),
            Self::NameNotText { .. } => "rename the file".into(),
            Self::Changed { .. } => "run again when nothing writes to it any more".into(),
            Self::BadRow(_) => {
                "repair the row, or set `bad_rows = quarantine` on the source to set such rows aside".into()
            }
            Self::Damaged { .. } => "fetch or write the file again".into(),
            Self::DuplicateKey { .. } => {
                "remove one of the rows, or choose a key that tells them apart".into()
            }
            Self::TooManyBad { .. } => {
                "repair the rows; or raise `max_bad` on the source, and look at the table `quarantine` after the run".into()
            }
            Self::Column { .. } => "correct the column's name or type in the source's declaration".into(),
            Self::Unsupported { .. } => {
                "sources are jsonl, json, csv, markdown, text, squad, trec, parquet and lance".into()
            }
            Self::Internal { .. } => "this is a fault of promptc; please report it".into(),
        }
    }

    /// An error of reading `path`; damage inside a compressed file is told from a file that cannot be read.
    pub(crate) fn reading(path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::InvalidData
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::Other => Self::Damaged { path, detail: source.to_string() },
            _ => Self::Unreadable { path, source },
        }
    }
}

/// A folder as a message shows it: the current one has an empty name.
fn folder_shown(folder: &Path) -> &Path {
    if folder.as_os_str().is_empty() { Path::new(".") } else { folder }
}

/// Why a reader has no next row.
#[derive(Debug)]
pub(crate) enum Fault {
    /// This row is bad; the next may be good.
    Row(BadRow),
    /// The source ends here.
    Source(SourceError),
}

impl From<SourceError> for Fault {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

/// A checked row: one value per column of the declaration.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) values: Vec<datum::Datum>,
    /// From 1: line, or number of the row where the format has no lines.
    pub(crate) line: u64,
    /// Bytes that the row took in the file, for the bound of a batch.
    pub(crate) bytes: usize,
}

/// Rows of one file, in file order.
pub(crate) trait RowReader: Send {
    /// The next row, a fault, or `None` at the end. Must not be called after a [`Fault::Source`].
    fn next_row(&mut self) -> Option<Result<Row, Fault>>;

    /// What the reader of the next file has to know of this one: hashes of texts that were given.
    fn take_seen(&mut self) -> HashSet<[u8; 32]> {
        HashSet::new()
    }
}
