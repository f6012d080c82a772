//! What can go wrong while a program runs: one variant per failure, each with its code.

use std::path::PathBuf;

use datafusion::error::DataFusionError;
use promptc_store::history::HistoryError;

/// A failed run.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Ctrl-C or a cancelled caller.
    #[error("interrupted; finished rows stay in the cache, outputs are untouched")]
    Interrupted,
    /// Something of the store: sources, sinks, files, databases.
    #[error("{message}")]
    Store {
        /// The code of the failure.
        code: &'static str,
        /// What happened, with file and place.
        message: String,
        /// What to do.
        help: Option<String>,
    },
    /// A row that an operator cannot compute.
    #[error("{message}")]
    Row {
        /// The code of the failure.
        code: &'static str,
        /// The operator, the row and the reason.
        message: String,
    },
    /// The program asks for a feature that this build does not have.
    #[error("{what} belongs to area `{area}`, which is not in this build")]
    Unavailable {
        /// The area.
        area: String,
        /// What was asked for.
        what: String,
    },
    /// A name given by the caller does not exist.
    #[error("{0}")]
    Unknown(String),
    /// A program file that cannot be read.
    #[error("{}: {source}", path.display())]
    Program {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// DataFusion or Arrow refused something that the compiler accepted: our own fault.
    #[error("internal fault in {place}: {message}; please report it with the program")]
    Internal {
        /// Where.
        place: String,
        /// The message of the library.
        message: String,
    },
}

impl EngineError {
    /// The diagnostic code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Interrupted => "interrupted",
            Self::Store { code, .. } | Self::Row { code, .. } => code,
            Self::Unavailable { .. } => "E2002",
            Self::Unknown(_) => "E0201",
            Self::Program { .. } => "E2101",
            Self::Internal { .. } => "E2001",
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn help(&self) -> Option<&str> {
        match self {
            Self::Store { help, .. } => help.as_deref(),
            _ => None,
        }
    }

    /// The same error with what it is about in front of its message.
    #[must_use]
    pub fn about(self, subject: &str) -> Self {
        match self {
            Self::Store { code, message, help } => {
                Self::Store { code, message: format!("{subject}: {message}"), help }
            }
            Self::Row { code, message } => Self::Row { code, message: format!("{subject}: {message}") },
            other => other,
        }
    }

    /// Our own fault at a named place.
    pub fn internal(place: impl Into<String>, error: impl std::fmt::Display) -> Self {
        Self::Internal { place: place.into(), message: error.to_string() }
    }

    /// An error for DataFusion to carry through its plan; [`EngineError::from`] takes it out again.
    #[must_use]
    pub fn into_datafusion(self) -> DataFusionError {
        DataFusionError::External(Box::new(self))
    }
}

/// Finds the engine's own error inside what DataFusion returns.
impl From<DataFusionError> for EngineError {
    fn from(error: DataFusionError) -> Self {
        match error {
            DataFusionError::External(inner) => external(inner),
            DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => Self::from(*inner),
            DataFusionError::ArrowError(inner, trace) => match *inner {
                arrow::error::ArrowError::ExternalError(inner) => external(inner),
                other => Self::internal("the plan", DataFusionError::ArrowError(Box::new(other), trace)),
            },
            other if is_disk_full(&other) => Self::Store {
                code: "E1004",
                message: format!("disk full: {}", other.strip_backtrace()),
                help: Some("free space on this device and run again: finished parts are kept".into()),
            },
            DataFusionError::Shared(inner) => shared(&inner),
            DataFusionError::ResourcesExhausted(message) => Self::Store {
                code: "E1004",
                message: format!("memory limit reached: {message}"),
                help: Some("raise `--memory` or process fewer rows at once".into()),
            },
            other => Self::internal("the plan", other),
        }
    }
}

/// Whether the system's answer at the root is that there is no room: for what is spilled, or its folder.
fn is_disk_full(error: &DataFusionError) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(found) = cause {
        if let Some(io) = found.downcast_ref::<std::io::Error>() {
            return matches!(io.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded);
        }
        cause = found.source();
    }
    false
}

/// The error of ours inside a box that a library passed on.
fn external(inner: Box<dyn std::error::Error + Send + Sync>) -> EngineError {
    let inner = match inner.downcast::<EngineError>() {
        Ok(own) => return *own,
        Err(other) => other,
    };
    let inner = match inner.downcast::<promptc_store::flows::FlowError>() {
        Ok(flow) => return crate::store_errors::flow(*flow),
        Err(other) => other,
    };
    let inner = match inner.downcast::<HistoryError>() {
        Ok(history) => return crate::store_errors::history(*history),
        Err(other) => other,
    };
    match inner.downcast::<DataFusionError>() {
        Ok(nested) => EngineError::from(*nested),
        Err(other) => EngineError::internal("the plan", other),
    }
}

/// The error of ours behind one that several readers of a plan were given.
fn shared(error: &std::sync::Arc<DataFusionError>) -> EngineError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error.as_ref());
    while let Some(found) = cause {
        if let Some(history) = found.downcast_ref::<HistoryError>() {
            return crate::store_errors::history_ref(history);
        }
        cause = found.source();
    }
    EngineError::internal("the plan", error)
}

impl From<arrow::error::ArrowError> for EngineError {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::from(DataFusionError::from(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_under_the_plan_is_named() {
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let error = EngineError::from(DataFusionError::IoError(full).context("spilling"));
        assert_eq!(error.code(), "E1004");
        let other = std::io::Error::from(std::io::ErrorKind::NotFound);
        assert_eq!(EngineError::from(DataFusionError::IoError(other)).code(), "E2001");
    }
}
