//! What is wrong with an input: of a text, and of a file.

use super::Kind;
use std::io;
use std::path::{Path, PathBuf};

/// What is wrong with a text, before a file name is put to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// Counted from 1; none if it is about the whole text.
    pub(super) line: Option<u64>,
    /// What is there and what was expected.
    pub(super) detail: String,
    /// What to do about it.
    pub(super) help: String,
}

impl Fault {
    pub(super) fn new(line: Option<u64>, detail: impl Into<String>, help: impl Into<String>) -> Self {
        Self { line, detail: detail.into(), help: help.into() }
    }

    /// The library's answer about a text that starts on `first_line`.
    pub(super) fn json(error: &serde_json::Error, first_line: u64, help: &str) -> Self {
        let text = error.to_string();
        let place = format!(" at line {} column {}", error.line(), error.column());
        let detail = match text.strip_suffix(&place) {
            Some(detail) => format!("{detail}, column {}", error.column()),
            None => text,
        };
        let line = (error.line() > 0).then(|| first_line + error.line() as u64 - 1);
        Self::new(line, detail, help)
    }

    /// The same on `line`, unless it knows its own.
    pub(super) fn on(mut self, line: u64) -> Self {
        self.line.get_or_insert(line);
        self
    }

    /// The same with a file name.
    pub(super) fn at(self, path: &Path) -> IngestError {
        IngestError::Malformed {
            path: path.to_path_buf(),
            line: self.line,
            detail: self.detail,
            help: self.help,
        }
    }

    /// One line for the list of warnings.
    pub(super) fn warning(self, path: &Path) -> String {
        let error = self.at(path);
        format!("{error}; {}", error.help())
    }
}

/// Why nothing was ingested.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// No path was given (E2101).
    #[error("no path to read {kind} results from")]
    NoPath {
        /// What was to be read.
        kind: Kind,
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
    /// No benchmark below a folder of criterion (E2101).
    #[error("{path} holds no criterion results: no folder `new` with the files of a benchmark")]
    NothingFound {
        /// The folder that was searched.
        path: PathBuf,
    },
    /// A file above the bound (E2102).
    #[error("{path} has more than {bytes_max} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The bound.
        bytes_max: u64,
    },
    /// A file that looks like no kind of results (E2102).
    #[error("{path} looks like no results that can be read")]
    UnknownKind {
        /// The file.
        path: PathBuf,
    },
    /// A file that is not what its kind says (E2102).
    #[error("{path}{}: {detail}", line_shown(*line))]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: Option<u64>,
        /// What is there and what was expected.
        detail: String,
        /// What to do about it.
        help: String,
    },
    /// Two different measurements with one key (E2104).
    #[error("{second}: {key} is measured again, after {first}")]
    Duplicate {
        /// Attempt, side, benchmark and metric.
        key: String,
        /// File and line of the first.
        first: String,
        /// File and line of the second.
        second: String,
    },
    /// An option that no row could carry (E2102).
    #[error("option `{option}`: {detail}")]
    Option {
        /// Which one.
        option: &'static str,
        /// What is there and what was expected.
        detail: String,
        /// What to do about it.
        help: String,
    },
    /// More measurements than one call gathers (E2105).
    #[error("{path}: more than {count_max} measurements")]
    TooMany {
        /// The file that goes beyond.
        path: PathBuf,
        /// The bound.
        count_max: usize,
    },
}

impl IngestError {
    /// The code of the diagnostic.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoPath { .. }
            | Self::Unreadable { .. }
            | Self::NotAFile { .. }
            | Self::NothingFound { .. } => "E2101",
            Self::TooLarge { .. }
            | Self::UnknownKind { .. }
            | Self::Malformed { .. }
            | Self::Option { .. } => "E2102",
            Self::Duplicate { .. } => "E2104",
            Self::TooMany { .. } => "E2105",
        }
    }

    /// What the user can do about it.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            Self::NoPath { kind: Kind::Criterion } => {
                "name the folder `target/criterion`, or a project that has one".into()
            }
            Self::NoPath { .. } => "name at least one file".into(),
            Self::Unreadable { .. } => "check the path and its permissions".into(),
            Self::NotAFile { .. } => "name the files of results one by one".into(),
            Self::NothingFound { .. } => {
                "run `cargo bench` first, or name the folder `criterion` inside the target folder".into()
            }
            Self::TooLarge { .. } => "split the file".into(),
            Self::UnknownKind { .. } => {
                let names: Vec<&str> = Kind::ALL.iter().map(|kind| kind.as_str()).collect();
                format!("say what it is with `--from`: {}", names.join(", "))
            }
            Self::Malformed { help, .. } | Self::Option { help, .. } => help.clone(),
            Self::Duplicate { .. } => {
                "give the second one another `attempt`, another `side` or another `bench_id`".into()
            }
            Self::TooMany { .. } => "ingest the files in several runs".into(),
        }
    }
}

fn line_shown(line: Option<u64>) -> String {
    line.map(|line| format!(":{line}")).unwrap_or_default()
}
