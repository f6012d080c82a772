//! What can be wrong with documents.

use crate::kv::KvError;
use crate::medium::MediumError;
use crate::text::TextError;
use crate::vectors::VectorError;

/// Why documents could not be kept or found.
#[derive(Debug, thiserror::Error)]
pub enum DocumentsError {
    /// The log or the records.
    #[error(transparent)]
    Kv(#[from] KvError),
    /// The text index.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The vector index.
    #[error(transparent)]
    Vectors(#[from] VectorError),
    /// A folder or file.
    #[error(transparent)]
    Medium(#[from] MediumError),
    /// A name, id, text or vector that a collection does not take (E2103).
    #[error("collection `{collection}`: {detail}")]
    Refused {
        /// The collection.
        collection: String,
        /// What, and what is taken.
        detail: String,
    },
    /// There is no such collection (E2101), or it is not searched that way.
    #[error("collection `{collection}`: {detail}")]
    Missing {
        /// The collection.
        collection: String,
        /// What is missing.
        detail: String,
    },
    /// It is open already in this process, or was made with other parameters (E2501).
    #[error("collection `{collection}`: {detail}")]
    InUse {
        /// The collection.
        collection: String,
        /// What is in the way.
        detail: String,
    },
    /// The answer would not have what was asked for: the index has not come that far (E1007).
    #[error("collection `{collection}`: {derived} stands at write {watermark}, asked for {wanted}")]
    Behind {
        /// The collection.
        collection: String,
        /// Which index.
        derived: &'static str,
        /// How far it has come.
        watermark: u64,
        /// What the caller asked for.
        wanted: u64,
    },
}

impl DocumentsError {
    /// The code of the diagnostic.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Kv(error) => error.code(),
            Self::Text(error) => error.code(),
            Self::Vectors(error) => error.code(),
            Self::Medium(error) => error.code(),
            Self::Refused { .. } => "E2103",
            Self::Missing { .. } => "E2101",
            Self::InUse { .. } => "E2501",
            Self::Behind { .. } => "E1007",
        }
    }

    /// What the user can do about it.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            Self::Kv(error) => error.help(),
            Self::Text(_) | Self::Vectors(_) => {
                "free space or repair the disk and open the collection again: nothing in the log is lost"
                    .into()
            }
            Self::Medium(error) => error.help(),
            Self::Refused { .. } => "change the document; nothing of this call was written".into(),
            Self::Missing { .. } => "make the collection first, or search it in another way".into(),
            Self::InUse { .. } => "use the collection that is open, or another name".into(),
            Self::Behind { .. } => "apply the log and ask again, or ask for less".into(),
        }
    }
}
