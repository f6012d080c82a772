//! Full-text indexes: which texts hold these words, and how well.
//!
//! ```text
//!  rows (~row, key, text) --Analyzer--> tokens --Tantivy--> postings on disk, state in the commit
//!                                                              |
//!  query --Analyzer--> terms, counts ----BM25 over postings----+--> (row, score), best first, ties by key
//! ```
//!
//! Tantivy holds the postings, the commit and the merging of segments. Scoring is ours: Tantivy's own BM25 rounds document
//! lengths to 8 bits and counts deleted documents, so that its scores depend on the history of the index. Ours depend on
//! the rows alone: the same rows give the same scores to the last bit, whether they came in one build or in many updates.
//!
//! This module does not know flows or keys: it stores the bytes it is given.
//!
//! # Decisions
//! *Damage.* Opening compares every file with the folder's seal (about 1 GB/s): Tantivy's own checksums stand inside the files
//! and do not tell the file of one segment from that of another. They are compared where an interrupted update left no seal.
//! An index that fails is dropped and [`TextIndex::notices`] says so; it is derived from a flow and is built again by the next
//! update.
//!
//! *Merging* is Tantivy's logarithmic policy, waited for after each update, so that no thread outlives the call.

mod analyze;
mod error;
mod explain;
mod phrase;
mod score;
mod stop_words;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tantivy::directory::MmapDirectory;
use tantivy::index::SegmentComponent;
use tantivy::indexer::IndexWriterOptions;
use tantivy::schema::{
    BytesOptions, Field, IndexRecordOption, NumericOptions, Schema, TextFieldIndexing, TextOptions,
};
use tantivy::store::Compressor;
use tantivy::tokenizer::{PreTokenizedString, RAW_TOKENIZER_NAME};
use tantivy::{
    Index, IndexReader, IndexSettings, IndexWriter, ReloadPolicy, SegmentMeta, TantivyDocument, Term,
};

use crate::failpoint::{Site, reach};
use crate::flows::RowId;
use crate::folder_seal::{self, Seal};
use crate::medium::disk;
use analyze::Analyzer;
pub use error::TextError;
pub use explain::TermPart;
use score::Snapshot;

/// Bytes that the writer gathers before it writes a segment.
const WRITER_BYTES: usize = 50_000_000;
/// Tantivy's files of an index that are not of one segment: what the commit holds, and which files are Tantivy's.
const COMMIT_FILES: [&str; 2] = ["meta.json", ".managed.json"];
/// How the names of files begin that Tantivy renames when they are whole.
const UNFINISHED: &str = ".tmp";
/// Raised whenever analysis or the stored fields change, so that old indexes are built again.
const TEXT_FORMAT: u32 = 1;

/// What a text index was declared with.
#[derive(Debug, Clone, PartialEq)]
pub struct TextParams {
    /// Saturation of the term frequency, at least 0; 1.2 is usual.
    pub k1: f64,
    /// Strength of the length normalisation, 0 to 1; 0.75 is usual.
    pub b: f64,
    /// Language of the stemmer (`"en"`, `"de"`, ...), `None` for words as they are.
    pub stem: Option<String>,
    /// Language of the stop list, `None` to keep all words.
    pub stop: Option<String>,
    /// Whether the places of words are kept. Then a part of a query between quotation marks is a phrase that a row must hold.
    pub positions: bool,
    /// How often a word of a title counts, at least 1.
    pub title_weight: u32,
}

impl Default for TextParams {
    /// The usual weights; words as they are, all of them, without their places.
    fn default() -> Self {
        Self { k1: 1.2, b: 0.75, stem: None, stop: None, positions: false, title_weight: 1 }
    }
}

/// One text to index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextRow {
    /// Identity of the row.
    pub row: RowId,
    /// The row's key as bytes that compare like the key: decides between equal scores.
    pub key: Vec<u8>,
    /// Its title, whose words count [`TextParams::title_weight`] times.
    pub title: Option<String>,
    /// The text.
    pub text: String,
}

/// What is stored with each commit.
#[derive(Debug, Serialize, Deserialize)]
struct Payload {
    /// What decides the postings: format and analysis.
    analysis: String,
    /// The fingerprint that the caller gave.
    state: String,
}

#[derive(Debug, Clone, Copy)]
struct Fields {
    row: Field,
    row_high: Field,
    row_low: Field,
    key: Field,
    length: Field,
    text: Field,
}

/// A full-text index in a folder of its own. One owner at a time.
pub struct TextIndex {
    dir: PathBuf,
    params: TextParams,
    analyzer: Analyzer,
    analysis: String,
    fields: Fields,
    index: Index,
    reader: IndexReader,
    snapshot: Snapshot,
    state: Option<String>,
    notices: Vec<String>,
}

impl std::fmt::Debug for TextIndex {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("TextIndex").field("dir", &self.dir).field("state", &self.state).finish()
    }
}

impl TextIndex {
    /// Opens the index in `dir`, or begins an empty one if there is none, if it was made with another analysis, or if it is
    /// damaged (then [`Self::notices`] says so). `k1` and `b` are used when searching only and may differ from the last time.
    ///
    /// # Errors
    /// [`TextError::Params`] for an unknown language or a number out of range; what the system says.
    pub fn open_or_create(dir: &Path, params: TextParams) -> Result<Self, TextError> {
        let bad = |detail: String| TextError::Params { dir: dir.to_owned(), detail };
        if !(params.k1.is_finite() && params.k1 >= 0.0) {
            return Err(bad(format!("k1 = {} is not a number of at least 0", params.k1)));
        }
        if !(0.0..=1.0).contains(&params.b) {
            return Err(bad(format!("b = {} is not between 0 and 1", params.b)));
        }
        if params.title_weight == 0 {
            return Err(bad("title_weight = 0: at least 1".to_owned()));
        }
        let analyzer = Analyzer::new(params.stem.as_deref(), params.stop.as_deref()).map_err(bad)?;
        let (schema, fields) = schema(params.positions);
        let analysis = format!(
            "format {TEXT_FORMAT}, stem {}, stop {}, positions {}{}",
            params.stem.as_deref().unwrap_or("none"),
            params.stop.as_deref().unwrap_or("none"),
            params.positions,
            if params.title_weight == 1 { String::new() } else { format!(", title {}", params.title_weight) }
        );
        let mut notices = Vec::new();
        let seal = folder_seal::check(dir, |_| true).map_err(|error| TextError::io(dir, error))?;
        let (index, state) = match open_whole(dir, seal, &schema, &analysis) {
            Ok(Some((index, state))) => {
                // An update that was cut off behind its commit left no seal, or a part of one beside it.
                if !folder_seal::is_there(dir) {
                    seal_commit(dir, &index)?;
                }
                (index, Some(state))
            }
            Ok(None) => (create(dir, schema)?, None),
            Err(reason) => {
                notices.push(format!("E1003: text index {}: {reason}; it is built again", dir.display()));
                (create(dir, schema)?, None)
            }
        };
        let tantivy = |error| TextError::tantivy(dir, error);
        let reader: IndexReader =
            index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into().map_err(tantivy)?;
        let snapshot = Snapshot::load(&reader.searcher(), &fields).map_err(tantivy)?;
        Ok(Self {
            dir: dir.to_owned(),
            params,
            analyzer,
            analysis,
            fields,
            index,
            reader,
            snapshot,
            state,
            notices,
        })
    }

    /// The fingerprint given to the last completed [`Self::update`]; `None` for an index that was never filled.
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// What the user should know about how the index was opened.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// Number of texts.
    pub fn rows(&self) -> u64 {
        self.snapshot.row_count()
    }

    /// Identity and number of words of every row, in no particular order.
    pub fn row_lengths(&self) -> impl Iterator<Item = (RowId, u64)> {
        self.snapshot.row_lengths()
    }

    /// Number of words that `text` has in this index.
    pub fn word_count(&self, text: &str) -> u64 {
        self.analyzer.tokens(text).len() as u64
    }

    /// Removes and adds rows in one commit that also stores `state`. A row of `added` replaces the row of the same identity.
    /// The caller gives the whole difference to the state before; if [`Self::state`] is `None`, that is all rows.
    ///
    /// Returns when the commit is synced. Memory: 50 MB, one thread.
    ///
    /// # Errors
    /// After an error, also one of `added`, the index is as it was before the call.
    pub fn update<E>(
        &mut self,
        removed: &[RowId],
        added: impl Iterator<Item = Result<TextRow, E>>,
        state: &str,
    ) -> Result<(), TextError>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let dir = self.dir.clone();
        let tantivy = |error| TextError::tantivy(&dir, error);
        let options = IndexWriterOptions::builder()
            .num_worker_threads(1)
            .num_merge_threads(1)
            .memory_budget_per_thread(WRITER_BYTES)
            .build();
        let io = |error| TextError::io(&dir, error);
        reach(Site::TextBeforeWriter).map_err(io)?;
        folder_seal::remove(&dir).map_err(io)?;
        remove_unfinished(&dir).map_err(io)?;
        let mut writer: IndexWriter = self.index.writer_with_options(options).map_err(tantivy)?;
        // Files of an update that was cut off are in the way of this one: Tantivy names deletions after the number of operations.
        writer.garbage_collect_files().wait().map_err(tantivy)?;
        let was_empty = self.rows() == 0;
        for row in removed {
            writer.delete_term(Term::from_field_bytes(self.fields.row, row));
        }
        let mut failed = None;
        for text_row in added {
            match text_row {
                Ok(text_row) => {
                    if !was_empty {
                        writer.delete_term(Term::from_field_bytes(self.fields.row, &text_row.row));
                    }
                    reach(Site::TextBeforeAdd).map_err(io)?;
                    let document = self.document(&text_row);
                    writer.add_document(document).map_err(tantivy)?;
                }
                Err(error) => {
                    failed = Some(error.into());
                    break;
                }
            }
        }
        if let Some(source) = failed {
            writer.rollback().map_err(tantivy)?;
            return Err(TextError::Rows { dir, source });
        }
        let payload = Payload { analysis: self.analysis.clone(), state: state.to_owned() };
        let payload = serde_json::to_string(&payload).expect("invariant: two texts are always JSON");
        reach(Site::TextBeforePrepare).map_err(io)?;
        let mut commit = writer.prepare_commit().map_err(tantivy)?;
        commit.set_payload(&payload);
        reach(Site::TextBeforeCommit).map_err(io)?;
        commit.commit().map_err(tantivy)?;
        reach(Site::TextAfterCommit).map_err(io)?;
        writer.wait_merging_threads().map_err(tantivy)?;
        reach(Site::TextAfterMerge).map_err(io)?;
        self.reader.reload().map_err(tantivy)?;
        seal_commit(&dir, &self.index)?;
        self.snapshot = Snapshot::load(&self.reader.searcher(), &self.fields).map_err(tantivy)?;
        self.state = Some(state.to_owned());
        Ok(())
    }

    /// The `k` best rows for `query` among those that `allowed` accepts (all if `None`), score descending, ties by key.
    /// Rows that share no term with the query are not returned. What is not allowed still counts in the statistics, so that
    /// a filter does not change the scores of what it lets through. If positions are kept, rows without one of the query's
    /// phrases (between quotation marks) are not returned either.
    ///
    /// Score (BM25): sum over the query's terms `t`, in byte order, of
    /// `count(t in query) · idf(t) · tf·(k1 + 1) / (tf + k1·(1 - b + b·length/mean length))` with
    /// `idf = ln(1 + (N - df + 0.5)/(df + 0.5))`, after Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25
    /// and Beyond" (2009); N, df and the mean over present rows, lengths exact, all in `f64`. A word of a title counts in `tf` and
    /// in the length as often as its weight says: Robertson, Zaragoza and Taylor, "Simple BM25 extension to multiple weighted
    /// fields" (CIKM 2004).
    ///
    /// Cost: the postings of the query's terms, and 8 bytes per row of the index.
    ///
    /// # Errors
    /// What the library says when it reads.
    pub fn search(
        &self,
        query: &str,
        k: usize,
        allowed: Option<&(dyn Fn(&RowId) -> bool + Sync)>,
    ) -> Result<Vec<(RowId, f64)>, TextError> {
        let tantivy = |error| TextError::tantivy(&self.dir, error);
        let terms = self.analyzer.count(query);
        let phrases = if self.params.positions { phrase::phrases(&self.analyzer, query) } else { Vec::new() };
        let found = |allowed: Option<&(dyn Fn(&RowId) -> bool + Sync)>| {
            self.snapshot.search(&terms, self.fields.text, self.weights(), k, allowed).map_err(tantivy)
        };
        if phrases.is_empty() {
            return found(allowed);
        }
        let rows = self.snapshot.rows_with(&phrases, self.fields.text).map_err(tantivy)?;
        found(Some(&|row| rows.contains(row) && allowed.is_none_or(|allowed| allowed(row))))
    }

    /// The scores of `rows` for `query` as [`Self::search`] gives them, to the last bit; 0 for rows without a term of it, or that are
    /// not there. Phrases are not looked for. Cost: as [`Self::search`].
    ///
    /// # Errors
    /// What the library says when it reads.
    pub fn scores(&self, query: &str, rows: &[RowId]) -> Result<Vec<f64>, TextError> {
        let terms = self.analyzer.count(query);
        let scores = self.snapshot.scores(&terms, self.fields.text, self.weights(), rows);
        scores.map_err(|error| TextError::tantivy(&self.dir, error))
    }

    /// What each term of `query` adds to the score of each of `rows`. Cost: as [`Self::search`].
    ///
    /// # Errors
    /// What the library says when it reads.
    pub fn explain(&self, query: &str, rows: &[RowId]) -> Result<Vec<Vec<TermPart>>, TextError> {
        let terms = self.analyzer.count(query);
        let parts = self.snapshot.explain(&terms, self.fields.text, self.weights(), rows);
        parts.map_err(|error| TextError::tantivy(&self.dir, error))
    }

    /// Where `text` holds terms of `query`: byte ranges in order, none of which touch.
    pub fn highlights(&self, query: &str, text: &str) -> Vec<std::ops::Range<usize>> {
        explain::highlights(&self.analyzer, query, text)
    }

    /// What the index was declared with.
    pub fn params(&self) -> &TextParams {
        &self.params
    }

    /// Saturation and strength of the length normalisation.
    fn weights(&self) -> (f64, f64) {
        (self.params.k1, self.params.b)
    }

    fn document(&self, text_row: &TextRow) -> TantivyDocument {
        let title = text_row.title.as_deref().map(|title| self.analyzer.tokens(title)).unwrap_or_default();
        let text = self.analyzer.tokens(&text_row.text);
        let weight = self.params.title_weight as usize;
        let length = title.len() * weight + text.len();
        let (high, low) = halves(&text_row.row);
        let mut document = TantivyDocument::new();
        document.add_bytes(self.fields.row, &text_row.row);
        document.add_u64(self.fields.row_high, high);
        document.add_u64(self.fields.row_low, low);
        document.add_bytes(self.fields.key, &text_row.key);
        document.add_u64(self.fields.length, length as u64);
        // Each is a value of its own, between which Tantivy leaves a gap that no phrase spans.
        for tokens in std::iter::repeat_n(title, weight).chain([text]) {
            let value = PreTokenizedString { text: String::new(), tokens };
            document.add_pre_tokenized_text(self.fields.text, value);
        }
        document
    }
}

fn halves(row: &RowId) -> (u64, u64) {
    let (high, low) = row.split_at(8);
    let number = |bytes: &[u8]| bytes.iter().fold(0u64, |number, &byte| number << 8 | u64::from(byte));
    (number(high), number(low))
}

fn schema(positions: bool) -> (Schema, Fields) {
    let mut builder = Schema::builder();
    let option =
        if positions { IndexRecordOption::WithFreqsAndPositions } else { IndexRecordOption::WithFreqs };
    let indexing = TextFieldIndexing::default()
        .set_tokenizer(RAW_TOKENIZER_NAME)
        .set_index_option(option)
        .set_fieldnorms(false);
    let number = || NumericOptions::default().set_fast();
    let fields = Fields {
        row: builder.add_bytes_field("row", BytesOptions::default().set_indexed()),
        row_high: builder.add_u64_field("row_high", number()),
        row_low: builder.add_u64_field("row_low", number()),
        key: builder.add_bytes_field("key", BytesOptions::default().set_fast()),
        length: builder.add_u64_field("length", number()),
        text: builder.add_text_field("text", TextOptions::default().set_indexing_options(indexing)),
    };
    (builder.build(), fields)
}

/// Opens an index and compares all checksums. `None`: there is none, or it was made with another analysis. `Err`: it is
/// damaged, and why.
fn open_whole(
    dir: &Path,
    seal: Seal,
    schema: &Schema,
    analysis: &str,
) -> Result<Option<(Index, String)>, String> {
    if !dir.join("meta.json").exists() {
        return Ok(None);
    }
    if let Seal::Broken(detail) = seal {
        return Err(detail);
    }
    let index = Index::open_in_dir(dir).map_err(|error| error.to_string())?;
    let metas = index.load_metas().map_err(|error| error.to_string())?;
    // Without payload: a new index whose first update did not complete.
    let Some(payload) = metas.payload else { return Ok(None) };
    let payload: Payload = serde_json::from_str(&payload).map_err(|error| error.to_string())?;
    if payload.analysis != analysis || index.schema() != *schema {
        return Ok(None);
    }
    if seal == Seal::Missing {
        let damaged = index.validate_checksum().map_err(|error| error.to_string())?;
        if let Some(file) = damaged.iter().min() {
            return Err(format!("{} does not hold what was written", file.display()));
        }
    }
    Ok(Some((index, payload.state)))
}

/// Seals the files of the last commit, which Tantivy has synced. Others are of an update that was cut off: nobody reads them, and
/// they may be gone after a power cut.
fn seal_commit(dir: &Path, index: &Index) -> Result<(), TextError> {
    let segments = index.searchable_segment_metas().map_err(|error| TextError::tantivy(dir, error))?;
    let is_of = |segment: &SegmentMeta, name: &str| {
        let delete = segment.relative_path(SegmentComponent::Delete);
        let is_its_own = name.split('.').next() == Some(segment.id().uuid_string().as_str());
        is_its_own && (!name.ends_with(".del") || Path::new(name) == delete)
    };
    let is_sealed =
        |name: &str| COMMIT_FILES.contains(&name) || segments.iter().any(|segment| is_of(segment, name));
    folder_seal::write(dir, is_sealed).map_err(|error| TextError::medium(dir, error))
}

/// Removes what Tantivy leaves when it is killed while it replaces a file, and never looks at again.
fn remove_unfinished(dir: &Path) -> std::io::Result<()> {
    for entry in disk::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            disk::remove_file(&entry.path())?;
        }
    }
    Ok(())
}

/// What is wrong with the files of the index in `dir`, as far as their seal says, or, where an interrupted update left none, as
/// Tantivy's own checksums say. Cost: the files are read once.
pub(crate) fn problem(dir: &Path) -> Option<String> {
    match folder_seal::check(dir, |_| true) {
        Ok(Seal::Broken(detail)) => Some(detail),
        Ok(Seal::Whole) => None,
        // Nothing was committed yet: the next run begins it anew.
        Ok(Seal::Missing) if !dir.join("meta.json").exists() => None,
        Ok(Seal::Missing) => match Index::open_in_dir(dir).and_then(|index| index.validate_checksum()) {
            Ok(damaged) => damaged
                .iter()
                .min()
                .map(|file| format!("`{}` does not hold what was written", file.display())),
            Err(error) => Some(error.to_string()),
        },
        Err(error) => Some(error.to_string()),
    }
}

fn create(dir: &Path, schema: Schema) -> Result<Index, TextError> {
    let io = |error| TextError::io(dir, error);
    reach(Site::TextBeforeCreate).map_err(io)?;
    if dir.exists() {
        disk::remove_dir_all(dir).map_err(io)?;
    }
    disk::create_dir_all(dir).map_err(io)?;
    reach(Site::TextAfterCreateFolder).map_err(io)?;
    let settings = IndexSettings { docstore_compression: Compressor::None, ..IndexSettings::default() };
    let directory = MmapDirectory::open(dir).map_err(|error| TextError::tantivy(dir, error.into()))?;
    Index::create(directory, schema, settings).map_err(|error| TextError::tantivy(dir, error))
}
