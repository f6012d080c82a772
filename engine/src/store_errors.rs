//! Errors of the store as errors of a run: code, message and help are kept.

use promptc_store::failpoint::Site;
use promptc_store::{documents, flows, history, kv, medium, open, sinks, sources, text, vectors};

use crate::error::EngineError;

fn store(code: &'static str, error: &dyn std::error::Error, help: impl Into<String>) -> EngineError {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let text = inner.to_string();
        if !message.contains(&text) {
            message = format!("{message}: {text}");
        }
        cause = inner.source();
    }
    EngineError::Store { code, message, help: Some(help.into()).filter(|help: &String| !help.is_empty()) }
}

/// The program is at a failpoint outside the store.
///
/// # Errors
/// E2501 if a test lets it fail.
pub fn reach(site: Site) -> Result<(), EngineError> {
    promptc_store::failpoint::reach(site).map_err(|error| store("E2501", &error, ""))
}

/// A file that was not written.
#[must_use]
pub fn medium(error: medium::MediumError) -> EngineError {
    store(error.code(), &error, error.help())
}

/// A flow file.
#[must_use]
pub fn flow(error: flows::FlowError) -> EngineError {
    store(error.code(), &error, error.help())
}

/// A text index.
#[must_use]
pub fn text(error: text::TextError) -> EngineError {
    match error {
        text::TextError::Rows { dir, source } => {
            of_rows(source, |source| text::TextError::Rows { dir, source })
        }
        error => store(error.code(), &error, error.help()),
    }
}

/// What the reader of the rows said, if it has a name of its own; else the index's error about it.
fn of_rows(
    source: Box<dyn std::error::Error + Send + Sync>,
    of_index: impl FnOnce(Box<dyn std::error::Error + Send + Sync>) -> text::TextError,
) -> EngineError {
    match source.downcast::<EngineError>().map(|own| *own) {
        Ok(own) => own,
        Err(source) => match source.downcast::<flows::FlowError>() {
            Ok(error) => flow(*error),
            Err(source) => {
                let error = of_index(source);
                store(error.code(), &error, error.help())
            }
        },
    }
}

/// A vector index.
#[must_use]
pub fn vectors(error: vectors::VectorError) -> EngineError {
    store(error.code(), &error, error.help())
}

/// A collection of documents.
#[must_use]
pub fn documents(error: documents::DocumentsError) -> EngineError {
    store(error.code(), &error, error.help())
}

/// The data directory.
#[must_use]
pub fn open(error: open::OpenError) -> EngineError {
    store(error.code(), &error, error.help())
}

/// A source.
#[must_use]
pub fn source(error: sources::SourceError) -> EngineError {
    store(error.code(), &error, error.help())
}

/// The benchmark history.
#[must_use]
pub fn history(error: history::HistoryError) -> EngineError {
    history_ref(&error)
}

/// The benchmark history, of an error that others hold as well.
pub(crate) fn history_ref(error: &history::HistoryError) -> EngineError {
    store(error.code(), error, error.help())
}

/// Results of another tool.
#[must_use]
pub fn ingest(error: history::ingest::IngestError) -> EngineError {
    store(error.code(), &error, error.help())
}

/// A sink.
#[must_use]
pub fn sink(error: sinks::SinkError) -> EngineError {
    store(error.code(), &error, error.help())
}

impl From<kv::KvError> for EngineError {
    fn from(error: kv::KvError) -> Self {
        store(error.code(), &error, error.help())
    }
}
