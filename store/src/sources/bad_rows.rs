//! Rows that are not what the source declares: where they stand and what is wrong with them.

use crate::schema::HEAD_BYTES_MAX;
use std::fmt;
use std::path::{Path, PathBuf};

/// What happens to a bad row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadRows {
    /// The run ends with E2102.
    Error,
    /// The row goes to the table `quarantine`.
    Quarantine,
    /// The row is counted and dropped.
    Skip,
}

/// One bad row, as the table `quarantine` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadRow {
    /// Path as opened.
    pub file: PathBuf,
    /// From 1; `None` where the format has no lines.
    pub line: Option<u64>,
    /// Bytes from the start of the (decompressed) file; the number of the row in Parquet and Lance.
    pub offset: u64,
    /// Code of the diagnostic: E2102.
    pub code: &'static str,
    /// What is wrong, and where in the row.
    pub message: String,
    /// The row's first bytes, at most [`HEAD_BYTES_MAX`].
    pub head: Vec<u8>,
}

impl BadRow {
    pub(crate) fn new(
        file: &Path,
        line: Option<u64>,
        offset: u64,
        message: impl Into<String>,
        row: &[u8],
    ) -> Self {
        let head = row[..row.len().min(HEAD_BYTES_MAX)].to_vec();
        Self { file: file.to_path_buf(), line, offset, code: "E2102", message: message.into(), head }
    }
}

impl fmt::Display for BadRow {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.file.display())?;
        match self.line {
            Some(line) => write!(formatter, ":{line}")?,
            None => write!(formatter, " at {}", self.offset)?,
        }
        write!(formatter, ": {}", self.message)
    }
}
