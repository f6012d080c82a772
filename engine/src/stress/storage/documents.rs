//! Documents under load: clients search, and one more writer appends documents and brings their index up to the log.
//!
//! ```text
//! clients --search--> index, as far as it has come     a lock: nobody searches while a round is committed
//! writer  --append--> log --every 64--> apply
//! ```

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{PoisonError, RwLock};

use promptc_store::documents::{Document, DocumentParams, Documents, DocumentsError};
use promptc_store::kv::Durability;
use promptc_store::open::Store;
use promptc_store::text::TextParams;
use promptc_store::vectors::Metric;
use tokio::runtime::{Builder, Runtime};

use super::data::Values;
use crate::context::Cancel;
use crate::error::EngineError;
use crate::measure::Random;
use crate::store_errors;
use crate::stress::fault;

const COLLECTION: &str = "stress";
/// Most documents, so that a collection is made in seconds.
const DOCUMENTS_MAX: u64 = 20_000;
/// Documents of one append when the collection is made.
const LOAD_BATCH: u64 = 500;
/// Numbers of a vector.
const DIM: usize = 128;
/// Appends between two times that the log is applied.
const APPENDS_PER_APPLY: u64 = 64;
/// Documents that a search asks for.
const FOUND_MAX: usize = 10;
/// Bytes of a document that are searched for.
const QUERY_BYTES: usize = 48;

/// What is searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SearchedBy {
    /// Words, in Tantivy.
    Text,
    /// Vectors, in Lance and in memory.
    Vectors,
}

impl SearchedBy {
    fn params(self) -> DocumentParams {
        let text = TextParams::default();
        match self {
            Self::Text => DocumentParams { text: Some(text), vectors: None },
            Self::Vectors => DocumentParams { text: None, vectors: Some((Metric::Cosine, DIM)) },
        }
    }
}

/// Documents of a collection, of so many records that are asked for.
pub(super) fn document_count(records: u64) -> u64 {
    records.min(DOCUMENTS_MAX)
}

/// An open collection that is searched and written at once.
#[derive(Debug)]
pub(super) struct Collection<'a> {
    by: SearchedBy,
    count: u64,
    values: &'a Values,
    documents: RwLock<Documents>,
    runtime: Runtime,
}

impl<'a> Collection<'a> {
    /// Makes the collection if it is not there, with every document once.
    pub(super) fn open(
        store: &Store,
        by: SearchedBy,
        count: u64,
        values: &'a Values,
        cancel: &Cancel,
    ) -> Result<Self, EngineError> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|error| EngineError::internal("the runtime", error))?;
        let documents = runtime.block_on(Documents::create(store, COLLECTION, by.params()));
        let documents = RwLock::new(documents.map_err(store_errors::documents)?);
        let collection = Self { by, count, values, documents, runtime };
        let mut number = 0;
        while number < count {
            if cancel.is_cancelled() {
                return Err(EngineError::Interrupted);
            }
            let batch: Vec<Document> = (number..count.min(number + LOAD_BATCH))
                .map(|number| collection.document(number, number))
                .collect();
            collection.append(&batch, Durability::Wal)?;
            number += LOAD_BATCH;
        }
        collection.apply()?;
        Ok(collection)
    }

    /// One search for a piece of a document, or for a vector that none has.
    pub(super) fn search(&self, random: &mut Random) -> Result<u64, EngineError> {
        let number = random.below(self.count);
        let documents = self.documents.read().unwrap_or_else(PoisonError::into_inner);
        let found = match self.by {
            SearchedBy::Text => documents.search_text(&self.query(number), FOUND_MAX, 0),
            SearchedBy::Vectors => documents.search_vectors(&vector(random.next()), FOUND_MAX, 0),
        };
        let found = found.map_err(store_errors::documents)?.hits.len();
        // Every vector has neighbours; the words of a document may be gone with it.
        if found == FOUND_MAX.min(self.count as usize) || self.by == SearchedBy::Text {
            return Ok(1);
        }
        let message = format!("a search among {} vectors found {found}", self.count);
        Err(fault(message, "this is a loss; please report it with the seed"))
    }

    /// Appends documents that replace others, and applies the log now and then, until it is told to stop; answers how many. Says when
    /// the first is done. Then everything is applied and compared.
    pub(super) fn write_until(
        &self,
        durability: Durability,
        seed: u64,
        begun: Sender<()>,
        stop: &AtomicBool,
    ) -> Result<u64, EngineError> {
        let mut random = Random::new(seed);
        let mut count = 0;
        while !stop.load(Ordering::Relaxed) {
            let document = self.document(random.below(self.count), self.count + count);
            self.append(&[document], durability)?;
            count += 1;
            if count == 1 {
                // Whoever waits hears of an error by the end of the channel.
                let _ = begun.send(());
            }
            if count.is_multiple_of(APPENDS_PER_APPLY) {
                self.apply()?;
            }
        }
        self.apply()?;
        let documents = self.documents.read().unwrap_or_else(PoisonError::into_inner);
        documents.verify().map_err(store_errors::documents)?;
        Ok(count)
    }

    fn append(&self, documents: &[Document], durability: Durability) -> Result<(), EngineError> {
        let collection = self.documents.read().unwrap_or_else(PoisonError::into_inner);
        collection.append(documents, durability).map(|_| ()).map_err(store_errors::documents)
    }

    fn apply(&self) -> Result<(), EngineError> {
        let mut documents = self.documents.write().unwrap_or_else(PoisonError::into_inner);
        let applied: Result<u64, DocumentsError> = self.runtime.block_on(documents.apply(&mut |_| ()));
        applied.map(|_| ()).map_err(store_errors::documents)
    }

    /// The document with this number, in one of its versions.
    fn document(&self, number: u64, version: u64) -> Document {
        let (text, vector) = match self.by {
            SearchedBy::Text => (self.text(version), Vec::new()),
            SearchedBy::Vectors => (String::new(), vector(version)),
        };
        Document { id: format!("document {number}"), text, vector }
    }

    fn text(&self, version: u64) -> String {
        String::from_utf8_lossy(self.values.at(version)).into_owned()
    }

    /// The beginning of the first version of a document.
    fn query(&self, number: u64) -> String {
        let text = self.text(number);
        let mut end = QUERY_BYTES.min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text[..end].to_owned()
    }
}

fn vector(seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed);
    (0..DIM).map(|_| random.unit() as f32 - 0.5).collect()
}
