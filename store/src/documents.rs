//! Documents: records that can be searched by their words and by their vectors.
//!
//! ```text
//! append, delete --group commit--> kv: log | records          (acknowledged here)
//!                                       |
//!                                     apply: the log after the watermark, in rounds
//!                                       |-- text     Tantivy commit, with its sequence --> watermark
//!                                       '-- vectors  Lance commit, with its sequence ----> watermark
//! search --> (row, score) of the index --> the document, from `records`
//! ```
//!
//! The log is the truth and both indexes are derived from it. An append is acknowledged when it is in the log; it is found
//! once [`Documents::apply`] has come that far. Every answer says how far that is, and a search may ask for a sequence and then
//! gets an answer that has it, or an error.
//!
//! Does not know where vectors come from: the caller brings them.
//!
//! # Decisions
//! *The state of an index is a sequence of the log*, stored in the commit of the index itself, and again as a watermark in `kv`
//! after it. The smaller of the two counts. So nothing is left out whatever was cut between them, and applying a write twice
//! changes nothing: what a round gives to an index is the newest state of every document that the round touches.
//!
//! *The log is synced before an index commits.* An index that holds what a power cut took from the log would find the numbers
//! of those writes given to others, and never notice.
//!
//! *Nothing is applied while the disk is full.* Readers may see writes then that failed and are not there later.
//!
//! *Documents lie under the hash of their id*, which is also what the indexes call them: a hit is one look-up.
//!
//! *Vectors are compared exactly* (kind `flat`): an index that changes with every round has nothing to train on.

mod apply;
mod check;
mod codec;
mod error;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::flows::RowId;
use crate::kv::{Ack, Batch, Durability, Records};
use crate::medium::{MediumError, disk};
use crate::open::Store;
use crate::text::{TextIndex, TextParams};
use crate::vectors::{Metric, VectorIndex, VectorParams};
pub use apply::{Derived, Step, trim};
pub use check::{Agreement, Standing, standings};
pub use error::DocumentsError;

/// Longest name of a collection: it is a folder, and stands in every key.
const NAME_BYTES_MAX: usize = 64;
/// Longest id of a document.
pub const ID_BYTES_MAX: usize = 1_024;
/// Most numbers of a vector.
pub const DIM_MAX: usize = 65_536;
/// Prefix of the keys of `records` that belong to documents.
const PREFIX: &str = "documents/";

/// What a collection is searched by.
#[derive(Debug, Clone, PartialEq)]
pub struct DocumentParams {
    /// Analysis and ranking of the words; none: not searched by words.
    pub text: Option<TextParams>,
    /// Metric and dimension of the vectors; none: documents have no vector.
    pub vectors: Option<(Metric, usize)>,
}

impl DocumentParams {
    /// The indexes that it asks for.
    #[must_use]
    pub fn derived(&self) -> Vec<Derived> {
        let is_wanted = |derived: &Derived| match derived {
            Derived::Text => self.text.is_some(),
            Derived::Vectors => self.vectors.is_some(),
        };
        Derived::ALL.into_iter().filter(is_wanted).collect()
    }
}

/// One document.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Its name in the collection, 1 to [`ID_BYTES_MAX`] bytes; a later one of the same name replaces it.
    pub id: String,
    /// Its words.
    pub text: String,
    /// As many finite numbers as the collection's dimension; empty in a collection without vectors.
    pub vector: Vec<f32>,
}

/// A document that a search found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// As it is in the records now: at the watermark of the answer or later.
    pub document: Document,
    /// Score at the watermark; greater is better.
    pub score: f64,
}

/// What a search answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Best first, ties by id. A document that was deleted after the watermark is left out.
    pub hits: Vec<Hit>,
    /// Everything up to this sequence of the log is in the answer.
    pub watermark: u64,
}

/// An open collection. One owner at a time applies; reading and writing need no more than a shared reference.
#[derive(Debug)]
pub struct Documents {
    name: String,
    dir: PathBuf,
    records: Records,
    params: DocumentParams,
    text: Option<Searched<TextIndex>>,
    vectors: Option<Searched<VectorIndex>>,
    notices: Vec<String>,
    _claim: Claim,
}

/// An index and how far it has applied the log.
#[derive(Debug)]
struct Searched<Index> {
    index: Index,
    watermark: u64,
}

impl Documents {
    /// Makes the collection `name`, or opens it if it is there with the same parameters, and applies nothing yet.
    ///
    /// # Errors
    /// E2103 a name of other than 1 to 64 of `a-z 0-9 _ -`, a dimension of 0 or beyond [`DIM_MAX`], or nothing to search by;
    /// E2501 it is open already or has other parameters; what the store says.
    pub async fn create(store: &Store, name: &str, params: DocumentParams) -> Result<Self, DocumentsError> {
        check_name(name)?;
        let refused =
            |detail: &str| DocumentsError::Refused { collection: name.into(), detail: detail.into() };
        if params.text.is_none() && params.vectors.is_none() {
            return Err(refused("neither words nor vectors to search by"));
        }
        if params.vectors.is_some_and(|(_, dim)| dim == 0 || dim > DIM_MAX) {
            return Err(refused("vectors of a dimension that is not 1 to 65536"));
        }
        match declared(store.records(), name)? {
            Some(found) if found != params => {
                let detail = "it was made with other parameters".into();
                return Err(DocumentsError::InUse { collection: name.into(), detail });
            }
            Some(_) => {}
            None => {
                let (key, value) = declaration(name, &params);
                store.records().put(&key, &value, Durability::WalFsync)?;
            }
        }
        Self::open(store, name).await
    }

    /// Opens the collection `name`. An index that is damaged, missing or ahead of the log is begun anew, and
    /// [`Documents::notices`] says so.
    ///
    /// # Errors
    /// E2101 there is none; E2501 it is open already; what the store says.
    ///
    /// Cost: the checksums of both indexes are compared (about 1 GB/s), and the vectors are read into memory.
    pub async fn open(store: &Store, name: &str) -> Result<Self, DocumentsError> {
        check_name(name)?;
        let records = store.records().clone();
        let Some(params) = declared(&records, name)? else {
            let detail = "there is no such collection".into();
            return Err(DocumentsError::Missing { collection: name.into(), detail });
        };
        let claim = Claim::new(store.open_documents(), name)?;
        let dir = store.documents_dir().join(name);
        disk::create_dir_all(&dir).map_err(|source| MediumError::new("make folder", &dir, source))?;
        let mut documents = Self {
            name: name.into(),
            dir,
            records,
            params,
            text: None,
            vectors: None,
            notices: Vec::new(),
            _claim: claim,
        };
        for derived in documents.derived() {
            documents.open_derived(derived).await?;
        }
        Ok(documents)
    }

    /// Names of the store's collections, sorted.
    ///
    /// # Errors
    /// E1003 for damaged records.
    pub fn names(records: &Records) -> Result<Vec<String>, DocumentsError> {
        let mut names = Vec::new();
        let mut start = PREFIX.as_bytes().to_vec();
        // One look-up per collection: the documents of each are skipped.
        loop {
            let mut next = None;
            records.range(&start, Some(&end_of(PREFIX.as_bytes())), |key, _| {
                next = Some(key.to_vec());
                false
            })?;
            let Some(key) = next else { return Ok(names) };
            let name = String::from_utf8_lossy(&key[PREFIX.len()..])
                .split('/')
                .next()
                .unwrap_or_default()
                .to_owned();
            start = end_of(&documents_prefix(&name));
            names.push(name);
        }
    }

    /// The collection's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is searched by.
    #[must_use]
    pub fn params(&self) -> &DocumentParams {
        &self.params
    }

    /// What the user should know: that an index was damaged or ahead of the log and is built again.
    #[must_use]
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// Writes all documents or none, as one record of the log.
    ///
    /// # Errors
    /// E2103 an id of 0 or more than [`ID_BYTES_MAX`] bytes, or a vector that is not finite or has another dimension; E1006 too
    /// much at once; as for [`Records::write`].
    pub fn append(&self, documents: &[Document], durability: Durability) -> Result<Ack, DocumentsError> {
        let mut batch = Batch::new();
        for document in documents {
            self.check_document(document)?;
            batch.put(&self.key(row_of(&document.id)), &codec::encode(document))?;
        }
        Ok(self.records.write(batch, durability)?)
    }

    /// Deletes documents by id, all or none; one that is not there is no error.
    ///
    /// # Errors
    /// As for [`Records::write`].
    pub fn delete(&self, ids: &[&str], durability: Durability) -> Result<Ack, DocumentsError> {
        let mut batch = Batch::new();
        for id in ids {
            batch.delete(&self.key(row_of(id)))?;
        }
        Ok(self.records.write(batch, durability)?)
    }

    /// The document with this id, as it was written last.
    ///
    /// # Errors
    /// E1003 if it is not what was written.
    pub fn get(&self, id: &str) -> Result<Option<Document>, DocumentsError> {
        self.document(row_of(id))
    }

    /// Number of documents. Cost: reads all of them.
    ///
    /// # Errors
    /// E1003 if one is not what was written.
    pub fn count(&self) -> Result<u64, DocumentsError> {
        let prefix = documents_prefix(&self.name);
        let mut count = 0;
        self.records.range(&prefix, Some(&end_of(&prefix)), |_, _| {
            count += 1;
            true
        })?;
        Ok(count)
    }

    /// The `k` best documents for the words of `query`, of everything up to the watermark, which is at least `min_watermark`.
    ///
    /// # Errors
    /// E1007 the index has not come to `min_watermark`; E2101 the collection has no words; what the index says.
    pub fn search_text(&self, query: &str, k: usize, min_watermark: u64) -> Result<Found, DocumentsError> {
        let searched = self.text.as_ref().ok_or_else(|| self.missing("it is not searched by words"))?;
        self.check_watermark(Derived::Text, searched.watermark, min_watermark)?;
        self.found(searched.index.search(query, k, None)?, searched.watermark)
    }

    /// The `k` documents whose vectors are nearest to `query`, of everything up to the watermark, which is at least
    /// `min_watermark`. Compares with every vector.
    ///
    /// # Errors
    /// E1007 the index has not come to `min_watermark`; E2101 the collection has no vectors; E2103 a query of another dimension.
    pub fn search_vectors(
        &self,
        query: &[f32],
        k: usize,
        min_watermark: u64,
    ) -> Result<Found, DocumentsError> {
        let searched = self.vectors.as_ref().ok_or_else(|| self.missing("it has no vectors"))?;
        self.check_watermark(Derived::Vectors, searched.watermark, min_watermark)?;
        self.found(searched.index.search_exact(query, k, None)?, searched.watermark)
    }

    fn found(&self, rows: Vec<(RowId, f64)>, watermark: u64) -> Result<Found, DocumentsError> {
        let mut hits = Vec::with_capacity(rows.len());
        for (row, score) in rows {
            hits.extend(self.document(row)?.map(|document| Hit { document, score }));
        }
        Ok(Found { hits, watermark })
    }

    fn check_watermark(&self, derived: Derived, watermark: u64, wanted: u64) -> Result<(), DocumentsError> {
        if watermark >= wanted {
            return Ok(());
        }
        let collection = self.name.clone();
        Err(DocumentsError::Behind { collection, derived: derived.name(), watermark, wanted })
    }

    fn document(&self, row: RowId) -> Result<Option<Document>, DocumentsError> {
        let Some(value) = self.records.get(&self.key(row))? else { return Ok(None) };
        Ok(Some(self.decode(row, &value)?))
    }

    fn decode(&self, row: RowId, value: &[u8]) -> Result<Document, DocumentsError> {
        let document = codec::decode(value).filter(|document| row_of(&document.id) == row);
        document.ok_or_else(|| {
            let key = self.key(row);
            self.records.damaged(format!("record `{}` does not hold a document", key.escape_ascii())).into()
        })
    }

    fn check_document(&self, document: &Document) -> Result<(), DocumentsError> {
        let refused = |detail: String| Err(DocumentsError::Refused { collection: self.name.clone(), detail });
        let id_bytes = document.id.len();
        if id_bytes == 0 || id_bytes > ID_BYTES_MAX {
            return refused(format!("an id of {id_bytes} bytes, expected 1 to {ID_BYTES_MAX}"));
        }
        let dim = self.params.vectors.map_or(0, |(_, dim)| dim);
        if document.vector.len() != dim {
            let found = document.vector.len();
            return refused(format!(
                "document `{}` has a vector of dimension {found}, expected {dim}",
                document.id
            ));
        }
        if document.vector.iter().any(|value| !value.is_finite()) {
            return refused(format!("the vector of document `{}` holds NaN or an infinity", document.id));
        }
        Ok(())
    }

    fn missing(&self, detail: &str) -> DocumentsError {
        DocumentsError::Missing { collection: self.name.clone(), detail: detail.into() }
    }

    fn key(&self, row: RowId) -> Vec<u8> {
        key(&self.name, row)
    }

    fn vector_params(&self) -> Option<VectorParams> {
        self.params.vectors.map(|(metric, dim)| VectorParams::flat(metric, dim))
    }
}

/// Key and value in `records` that declare the collection `name`: what [`Documents::create`] writes.
#[must_use]
pub fn declaration(name: &str, params: &DocumentParams) -> (Vec<u8>, Vec<u8>) {
    (params_key(name), codec::encode_params(params).into_bytes())
}

/// Key and value in `records` of a document of the collection `name`: what [`Documents::append`] writes. For whoever compares
/// a store with what it must hold.
#[must_use]
pub fn record(name: &str, document: &Document) -> (Vec<u8>, Vec<u8>) {
    (key(name, row_of(&document.id)), codec::encode(document))
}

/// What the indexes call the document with this id.
fn row_of(id: &str) -> RowId {
    let hash = *blake3::hash(id.as_bytes()).as_bytes();
    std::array::from_fn(|byte_idx| hash[byte_idx])
}

/// Key of a collection's parameters.
fn params_key(name: &str) -> Vec<u8> {
    format!("{PREFIX}{name}").into_bytes()
}

/// What the keys of a collection's documents begin with; 16 bytes of hash follow.
fn documents_prefix(name: &str) -> Vec<u8> {
    format!("{PREFIX}{name}/").into_bytes()
}

fn key(name: &str, row: RowId) -> Vec<u8> {
    let mut key = documents_prefix(name);
    key.extend_from_slice(&row);
    key
}

/// The first key after all that begin with `prefix`, which ends with a byte below 255.
fn end_of(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

fn declared(records: &Records, name: &str) -> Result<Option<DocumentParams>, DocumentsError> {
    let Some(stored) = records.get(&params_key(name))? else { return Ok(None) };
    let params = codec::decode_params(&stored);
    let damaged =
        || records.damaged(format!("record `{PREFIX}{name}` does not hold parameters of documents"));
    params.map(Some).ok_or_else(|| damaged().into())
}

fn check_name(name: &str) -> Result<(), DocumentsError> {
    let is_plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_plain) {
        return Ok(());
    }
    let detail = format!("a name is 1 to {NAME_BYTES_MAX} of a-z, 0-9, `_` and `-`");
    Err(DocumentsError::Refused { collection: name.chars().take(NAME_BYTES_MAX).collect(), detail })
}

/// Names of the collections that are open in this process.
pub(crate) type OpenNames = Arc<Mutex<BTreeSet<String>>>;

/// Holds a collection for one owner until it is dropped.
#[derive(Debug)]
struct Claim {
    names: OpenNames,
    name: String,
}

impl Claim {
    fn new(names: &OpenNames, name: &str) -> Result<Self, DocumentsError> {
        if names.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned()) {
            return Ok(Self { names: names.clone(), name: name.to_owned() });
        }
        let detail = "it is open already in this process".into();
        Err(DocumentsError::InUse { collection: name.into(), detail })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

/// Folder of an index of the collection in `dir`.
pub(crate) fn derived_dir(dir: &Path, derived: Derived) -> PathBuf {
    dir.join(match derived {
        Derived::Text => "text",
        Derived::Vectors => "vectors.lance",
    })
}
