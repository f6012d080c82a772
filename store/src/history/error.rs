//! Why the history could not be written or read.

use std::io;
use std::path::{Path, PathBuf};

use arrow::error::ArrowError;
use parquet::errors::ParquetError;

use crate::flows::FlowError;
use crate::medium::MediumError;

/// One failure, with what it concerns.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// Another process writes (E1001).
    #[error("history {dir} is being written by another process")]
    Locked {
        /// The history's folder.
        dir: PathBuf,
    },
    /// A file of a later version (E1002).
    #[error("{path} has schema version {found}, this build reads up to {known}")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Version in its footer, as written there.
        found: String,
        /// The latest version that is read.
        known: u16,
    },
    /// The file does not hold what was written to it (E1003).
    #[error("{path}: checksum mismatch: {detail}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Which part, and how it differs.
        detail: String,
    },
    /// A file that this program did not write, or not for this table (E1003).
    #[error("{path} is not a file of the history: {detail}")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What it lacks.
        detail: String,
    },
    /// There is no history (E2101).
    #[error("there is no benchmark history in {dir}")]
    Missing {
        /// The folder.
        dir: PathBuf,
    },
    /// A run was named that is not there (E2101).
    #[error("there is no run `{run_id}` in the history")]
    NoRun {
        /// The run asked for.
        run_id: String,
    },
    /// A run of this id was written with other rows (E2104).
    #[error("run `{run_id}` is in the history already, with other rows")]
    Exists {
        /// The run.
        run_id: String,
    },
    /// A row that must not be written (E2102).
    #[error("run `{run_id}`: {subject}: {detail}")]
    Row {
        /// The run that it belongs to.
        run_id: String,
        /// Table, bench and metric of the row.
        subject: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A file to be kept under version control would be too large (E0501).
    #[error("{path} would have {byte_count} bytes, at most {limit} are allowed")]
    TooLarge {
        /// The file that was not written.
        path: PathBuf,
        /// Its size.
        byte_count: u64,
        /// The bound.
        limit: u64,
    },
    /// The newest run was made later than now (E2102).
    #[error("the clock says {now} and the history holds a run of {newest}: the clock was set back")]
    Clock {
        /// Seconds since 1970 by the clock.
        now: i64,
        /// Seconds since 1970 of the newest run.
        newest: i64,
    },
    /// The system refused.
    #[error(transparent)]
    Medium(#[from] MediumError),
    /// The columnar library refused what we gave it (E2001).
    #[error("{path}: {source}")]
    Arrow {
        /// The file being read or written.
        path: PathBuf,
        /// The library's answer.
        source: ArrowError,
    },
    /// The query library refused one of our views (E2001).
    #[error("view `{view}` of the history: {source}")]
    View {
        /// Name of the view or table.
        view: String,
        /// The library's answer.
        source: Box<datafusion::error::DataFusionError>,
    },
}

impl HistoryError {
    /// The code of the diagnostic.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Locked { .. } => "E1001",
            Self::Newer { .. } => "E1002",
            Self::Damaged { .. } | Self::Foreign { .. } => "E1003",
            Self::Missing { .. } | Self::NoRun { .. } => "E2101",
            Self::Exists { .. } => "E2104",
            Self::Row { .. } | Self::Clock { .. } => "E2102",
            Self::TooLarge { .. } => "E0501",
            Self::Medium(error) => error.code(),
            Self::Arrow { .. } | Self::View { .. } => "E2001",
        }
    }

    /// What the user can do about it.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            Self::Locked { .. } => "wait for that process to end and try again".into(),
            Self::Newer { .. } => "use the version of promptc that wrote it; nothing was read from it".into(),
            Self::Damaged { path, .. } => {
                format!(
                    "restore {} from a copy, or move it out of the history: its runs are lost",
                    path.display()
                )
            }
            Self::Foreign { path, .. } => {
                format!("move {} out of the history; only promptc writes there", path.display())
            }
            Self::Missing { .. } => {
                "name another folder with --history, or run a bench once, which makes it".into()
            }
            Self::NoRun { .. } => "`promptc history` lists the runs".into(),
            Self::Exists { .. } => {
                "give the other rows a run id of their own; what is stored is never changed".into()
            }
            Self::Row { .. } => "correct the producer of the row; nothing of the run was written".into(),
            Self::TooLarge { .. } => "release fewer runs; nothing was written".into(),
            Self::Clock { .. } => "set the clock; runs are ordered by it".into(),
            Self::Medium(error) => error.help(),
            Self::Arrow { .. } | Self::View { .. } => {
                "this is a fault of promptc, not of the program: please report it with this message".into()
            }
        }
    }

    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Medium(MediumError::new(action, path, source))
    }

    pub(super) fn arrow(path: &Path, source: ArrowError) -> Self {
        Self::Arrow { path: path.to_owned(), source }
    }

    pub(super) fn parquet(path: &Path, source: ParquetError) -> Self {
        Self::Arrow { path: path.to_owned(), source: source.into() }
    }

    /// An error of the seal: damage, or the system's.
    pub(super) fn sealed(path: &Path, error: FlowError) -> Self {
        match error {
            FlowError::Damaged { detail, .. } => Self::Damaged { path: path.to_owned(), detail },
            FlowError::Io { source, .. } => Self::io("read", path, source),
            other => Self::Damaged { path: path.to_owned(), detail: other.to_string() },
        }
    }
}
