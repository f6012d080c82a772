//! Why a text index could not be opened, changed or searched.

use std::path::{Path, PathBuf};

use tantivy::TantivyError;

use crate::medium::MediumError;

/// Why a text index could not be opened, changed or searched.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// A parameter has no meaning.
    #[error("text index {}: {detail}", dir.display())]
    Params {
        /// The index folder.
        dir: PathBuf,
        /// Which parameter, and what is allowed.
        detail: String,
    },
    /// No room is left on the device.
    #[error("text index {}: disk full", dir.display())]
    DiskFull {
        /// The index folder.
        dir: PathBuf,
    },
    /// The operating system refused.
    #[error("text index {}: {source}", dir.display())]
    Io {
        /// The index folder.
        dir: PathBuf,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// The index library refused.
    #[error("text index {}: {source}", dir.display())]
    Tantivy {
        /// The index folder.
        dir: PathBuf,
        /// The library's answer.
        #[source]
        source: TantivyError,
    },
    /// It does not hold what it is derived from.
    #[error("text index {}: {detail}", dir.display())]
    Differs {
        /// The index folder.
        dir: PathBuf,
        /// What differs.
        detail: String,
    },
    /// The rows to add could not be read; the index is as it was.
    #[error("text index {}: {source}", dir.display())]
    Rows {
        /// The index folder.
        dir: PathBuf,
        /// What the rows' reader said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl TextError {
    /// The code of the language reference under which this error is explained.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Differs { .. } => "E1003",
            Self::DiskFull { .. } => "E1004",
            Self::Io { .. } => "E2501",
            Self::Params { .. } | Self::Tantivy { .. } | Self::Rows { .. } => "E2001",
        }
    }

    /// What the user can do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Params { .. } => "change the declaration of the index",
            Self::DiskFull { .. } => "free space on this device and run again: the index is as it was",
            Self::Rows { .. } => "see the reason; the index is as it was",
            Self::Io { .. } | Self::Tantivy { .. } | Self::Differs { .. } => {
                "remove the folder and run again: the index is built anew"
            }
        }
    }

    pub(super) fn io(dir: &Path, source: std::io::Error) -> Self {
        if matches!(source.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded) {
            return Self::DiskFull { dir: dir.to_owned() };
        }
        Self::Io { dir: dir.to_owned(), source }
    }

    pub(super) fn medium(dir: &Path, error: MediumError) -> Self {
        match error {
            MediumError::Full { .. } => Self::DiskFull { dir: dir.to_owned() },
            MediumError::Io { source, .. } => Self::io(dir, source),
        }
    }

    pub(super) fn tantivy(dir: &Path, source: TantivyError) -> Self {
        match source {
            TantivyError::IoError(error) => {
                Self::io(dir, std::io::Error::new(error.kind(), error.to_string()))
            }
            source => Self::Tantivy { dir: dir.to_owned(), source },
        }
    }
}
