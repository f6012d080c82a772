//! Documents under kills: one more writer, that appends and deletes documents and brings their indexes up to the log.
//!
//! What it writes are operations on the records like those of the others, so the parent compares them in the same way. Then the
//! records and the two indexes must say the same, with nothing to tell about how the indexes were found.

use promptc_store::documents::{self, Document, DocumentParams, Documents, DocumentsError};
use promptc_store::open::Store;
use promptc_store::text::TextParams;
use promptc_store::vectors::Metric;
use tokio::runtime::{Builder, Runtime};

use super::plan::{Operation, random_of};
use crate::error::EngineError;
use crate::measure::Random;
use crate::store_errors;

const COLLECTION: &str = "crash";
/// Few, so that documents are replaced and deleted.
const DOCUMENT_COUNT: u64 = 64;
/// Numbers of a vector.
const DIM: usize = 8;
/// Writes between two times that the log is applied.
const WRITES_PER_APPLY: u64 = 4;
/// Place of this writer in what a draw follows from: none of the others has it.
const WRITER: u64 = u64::MAX;

fn params() -> DocumentParams {
    let text = TextParams::default();
    DocumentParams { text: Some(text), vectors: Some((Metric::Cosine, DIM)) }
}

/// The write with this number: first the declaration of the collection, then one to four documents.
pub(super) fn operation(seed: u64, cycle: u64, number: u64) -> Operation {
    if number == 0 {
        let (key, value) = documents::declaration(COLLECTION, &params());
        return Operation { changes: vec![(key, Some(value))] };
    }
    let mut random = random_of(seed, &[cycle, WRITER, number]);
    let change_count = 1 + random.below(4);
    let change = |_| {
        let (key, value) = documents::record(COLLECTION, &document(&mut random));
        (key, (random.below(5) != 0).then_some(value))
    };
    Operation { changes: (0..change_count).map(change).collect() }
}

fn document(random: &mut Random) -> Document {
    let id = format!("document {}", random.below(DOCUMENT_COUNT));
    let words: Vec<String> = (0..random.below(40)).map(|_| format!("w{}", random.below(200))).collect();
    let vector = (0..DIM).map(|_| random.below(2_001) as f32 / 1_000.0 - 1.0).collect();
    Document { id, text: words.join(" "), vector }
}

/// The collection of a child, and the runtime that its indexes need.
pub(super) struct Applier {
    runtime: Runtime,
    documents: Option<Documents>,
}

impl Applier {
    pub(super) fn new() -> Result<Self, EngineError> {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|error| EngineError::internal("the runtime", error))?;
        Ok(Self { runtime, documents: None })
    }

    /// Applies the log now and then; called after each write. Where there is no room the indexes stay behind, and the next call
    /// tries again.
    pub(super) fn after(&mut self, store: &Store, number: u64) -> Result<(), EngineError> {
        if !number.is_multiple_of(WRITES_PER_APPLY) {
            return Ok(());
        }
        match self.apply(store) {
            Err(error) if error.code() == "E1004" => {
                self.documents = None;
                Ok(())
            }
            applied => applied.map_err(store_errors::documents),
        }
    }

    fn apply(&mut self, store: &Store) -> Result<(), DocumentsError> {
        let documents = match self.documents.take() {
            Some(documents) => documents,
            None => self.runtime.block_on(Documents::open(store, COLLECTION))?,
        };
        let documents = self.documents.insert(documents);
        self.runtime.block_on(documents.apply(&mut |_| ()))?;
        Ok(())
    }
}

/// What differs between the records and their indexes after these are brought up to the log; `None` if nothing does, or if the
/// store has no documents.
pub(super) fn difference(store: &Store) -> Result<Option<String>, EngineError> {
    let mut applier = Applier::new()?;
    let verified = match applier.apply(store) {
        Err(DocumentsError::Missing { .. }) => return Ok(None),
        applied => applied.and_then(|()| match &applier.documents {
            Some(documents) => documents.verify().map(|_| documents.notices().first().cloned()),
            None => Ok(None),
        }),
    };
    Ok(verified.unwrap_or_else(|error| Some(format!("documents: {error}"))))
}
