//! Named streams at rest: one Parquet file per fingerprint.
//!
//! A flow file is written aside, synced and renamed, and never changed afterwards. Two hidden columns come first: `~row`
//! says which row this is, `~content` says what it holds, so that two versions of a stream can be compared by reading
//! 32 bytes per row. The order of the rows in the file is the order of the stream.
//!
//! ```text
//!  batches --FlowWriter--> tmp/<fp>.<n>.part --sync, rename, sync folder--> flows/<fp>.parquet --Flow--> rows, takes, SQL
//!             + ~row, ~content, block checksums, seal                       every byte read is verified
//! ```
//!
//! This module does not know what a fingerprint means, which flows belong together, or when a file may be removed.
//!
//! # Decisions
//! *Checksums.* The Parquet library verifies page checksums but cannot write them. The writer therefore hashes the data
//! in blocks of 16 KiB while they pass, and puts the table of block hashes and a hash of everything after the data into the
//! footer ([`seal`]). The file stays a plain Parquet file for other readers; ours verifies each block when it is read, so
//! that opening a large file costs its footer and taking ten rows costs their pages.
//!
//! *Small pages.* Row groups of 8,192 rows and pages of at most 512 rows or 64 KiB let [`Flow::take`] read single rows;
//! dictionaries are used for enumerations only, since a text dictionary of up to 1 MiB would have to be read for one row.

mod diff;
mod identity;
mod read;
pub(crate) mod seal;
mod table;
mod write;

use std::path::{Path, PathBuf};

use arrow::error::ArrowError;
use parquet::errors::ParquetError;

pub use diff::{FlowDiff, diff};
pub use read::{Flow, FlowRows};
pub use table::FlowTable;
pub use write::{FlowMeta, FlowWriter};

/// Identity of a row: the first 16 bytes of a blake3 hash.
pub type RowId = [u8; 16];

/// Name of the hidden column that identifies a row.
pub const ROW_COLUMN: &str = "~row";
/// Name of the hidden column that hashes what a row holds beside its key.
pub const CONTENT_COLUMN: &str = "~content";
/// First character of every hidden column; no column of a program starts with it.
pub const HIDDEN_PREFIX: char = '~';

/// Why a flow could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum FlowError {
    /// The file does not hold what was written to it.
    #[error("{}: checksum mismatch: {detail}", file.display())]
    Damaged {
        /// The flow file.
        file: PathBuf,
        /// Which part failed, with its offset in bytes.
        detail: String,
    },
    /// No room is left on the device.
    #[error("{}: disk full", file.display())]
    DiskFull {
        /// The file that was being written.
        file: PathBuf,
    },
    /// Two rows have the same key.
    #[error("duplicate key {key} in row {row_idx}")]
    DuplicateKey {
        /// The key values, as `column = value`.
        key: String,
        /// Ordinal of the second row with this key, from 0.
        row_idx: u64,
    },
    /// A column was named that the flow does not have.
    #[error("{}: no column `{column}`", file.display())]
    NoColumn {
        /// The flow file.
        file: PathBuf,
        /// The name asked for.
        column: String,
    },
    /// A row number beyond the end was asked for.
    #[error("{}: row {row_idx} of {row_count}", file.display())]
    NoRow {
        /// The flow file.
        file: PathBuf,
        /// The row asked for, from 0.
        row_idx: u32,
        /// Number of rows in the flow.
        row_count: u64,
    },
    /// A batch does not have the schema that the flow was created with, or the schema cannot be stored.
    #[error("{}: {detail}", file.display())]
    Schema {
        /// The flow file.
        file: PathBuf,
        /// What does not fit.
        detail: String,
    },
    /// The operating system refused.
    #[error("{}: {source}", file.display())]
    Io {
        /// The file or folder.
        file: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The columnar library refused.
    #[error("{}: {source}", file.display())]
    Arrow {
        /// The flow file.
        file: PathBuf,
        /// The library's answer.
        #[source]
        source: ArrowError,
    },
}

impl FlowError {
    /// The code of the language reference under which this error is explained.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Damaged { .. } => "E1003",
            Self::DiskFull { .. } => "E1004",
            Self::DuplicateKey { .. } => "E2104",
            Self::Io { .. } => "E2501",
            Self::NoColumn { .. } | Self::NoRow { .. } | Self::Schema { .. } | Self::Arrow { .. } => "E2001",
        }
    }

    /// What the user can do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Damaged { .. } => "remove the file and run again: it is computed anew from its inputs",
            Self::DiskFull { .. } => "free space on this device and run again: finished parts are kept",
            Self::DuplicateKey { .. } => {
                "choose key columns that tell the rows apart, or `distinct` the stream first"
            }
            Self::Io { .. } => "check that the store directory exists and may be written",
            Self::NoColumn { .. } | Self::NoRow { .. } | Self::Schema { .. } | Self::Arrow { .. } => {
                "this is a fault of promptc, not of the program: please report it with this message"
            }
        }
    }

    fn io(file: &Path, source: std::io::Error) -> Self {
        if matches!(source.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded) {
            return Self::DiskFull { file: file.to_owned() };
        }
        Self::Io { file: file.to_owned(), source }
    }

    fn arrow(file: &Path, source: ArrowError) -> Self {
        match source {
            ArrowError::IoError(_, source) => Self::io(file, source),
            source => Self::Arrow { file: file.to_owned(), source },
        }
    }

    fn parquet(file: &Path, error: ParquetError) -> Self {
        match error {
            ParquetError::External(inner) => match inner.downcast::<std::io::Error>() {
                Ok(source) => Self::io(file, *source),
                Err(other) => Self::arrow(file, ArrowError::ParquetError(other.to_string())),
            },
            other => Self::arrow(file, ArrowError::ParquetError(other.to_string())),
        }
    }
}
