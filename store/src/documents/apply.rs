//! Bringing the indexes of a collection up to the log.
//!
//! ```text
//! per index, until the log ends:
//!   log after the watermark --> documents it touches --> their newest state --> log synced --> commit --> watermark
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;

use arrow::array::{FixedSizeListArray, Float32Array, RecordBatch};
use arrow::datatypes::{DataType, Field};

use super::{Document, Documents, DocumentsError, Searched, derived_dir, documents_prefix, end_of, row_of};
use crate::failpoint::{self, Control, Site};
use crate::flows::RowId;
use crate::kv::{LogRecord, Records};
use crate::medium::{MediumError, disk};
use crate::open::Store;
use crate::text::{TextIndex, TextRow};
use crate::vectors::{VectorError, VectorIndex, vector_batch};

/// Documents of one round: they are held in memory, and a commit costs some milliseconds.
const ROUND_DOCUMENTS_MAX: usize = 4_096;
/// Records of the log that one round reads: others may write much that is not of this collection.
const ROUND_RECORDS_MAX: usize = 65_536;
/// Bytes of texts and vectors of one round, one document excepted.
const ROUND_BYTES_MAX: usize = 64 << 20;
/// Documents of one page when all are read.
const PAGE_DOCUMENTS: usize = 1_024;

/// What is derived from the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Derived {
    /// The text index (Tantivy).
    Text,
    /// The vector index (Lance).
    Vectors,
}

impl Derived {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Text, Self::Vectors];

    /// Its name on the command line and in watermarks.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Vectors => "vectors",
        }
    }

    /// The one that a text names.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|derived| derived.name() == text)
    }
}

/// What [`Documents::apply`] has just done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A round was read from the log: so many documents are to be changed.
    Read(Derived, usize),
    /// The log is on the device up to the end of the round.
    Synced(Derived),
    /// The index has committed the round, synced.
    Committed(Derived),
    /// The watermark says so too.
    Marked(Derived, u64),
}

/// The newest state of the documents that a stretch of the log touches.
struct Round {
    /// Last sequence of the stretch.
    last: u64,
    removed: Vec<RowId>,
    present: Vec<(RowId, Document)>,
}

impl Documents {
    /// Brings both indexes up to the newest write that is there when it begins or later, and answers the sequence that both
    /// stand at. Tells `listen` of every step.
    ///
    /// # Errors
    /// As for [`Records::sync`]; what the indexes say. Rounds that were committed stay; the next call goes on behind them.
    pub async fn apply(&mut self, listen: &mut (dyn FnMut(Step) + Send)) -> Result<u64, DocumentsError> {
        let mut watermark = u64::MAX;
        for derived in self.derived() {
            watermark = watermark.min(self.apply_one(derived, listen).await?);
        }
        Ok(watermark)
    }

    /// Drops an index and builds it anew from the records and the log. What it answers afterwards is what it answered before.
    ///
    /// # Errors
    /// E2101 the collection has no such index; as for [`Documents::apply`].
    pub async fn rebuild(
        &mut self,
        derived: Derived,
        listen: &mut (dyn FnMut(Step) + Send),
    ) -> Result<u64, DocumentsError> {
        if !self.derived().contains(&derived) {
            return Err(self.missing(&format!("it has no {}", derived.name())));
        }
        match derived {
            Derived::Text => self.text = None,
            Derived::Vectors => self.vectors = None,
        }
        let dir = derived_dir(&self.dir, derived);
        self.reach(Site::DocumentsBeforeRemove)?;
        match disk::remove_dir_all(&dir) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(MediumError::new("remove", &dir, source).into());
            }
            _ => {}
        }
        self.open_derived(derived).await?;
        self.apply_one(derived, listen).await
    }

    /// Up to where both indexes have applied the log.
    #[must_use]
    pub fn watermark(&self) -> u64 {
        let marks = [
            self.text.as_ref().map(|searched| searched.watermark),
            self.vectors.as_ref().map(|searched| searched.watermark),
        ];
        marks.into_iter().flatten().min().unwrap_or(0)
    }

    pub(super) fn derived(&self) -> Vec<Derived> {
        self.params.derived()
    }

    /// Opens an index and finds where it goes on: behind the smaller of its own sequence and the watermark. One that is not there,
    /// or whose numbers cannot be, is begun anew.
    pub(super) async fn open_derived(&mut self, derived: Derived) -> Result<(), DocumentsError> {
        let dir = derived_dir(&self.dir, derived);
        for attempt in 0.. {
            let state = match derived {
                Derived::Text => {
                    let params = self.params.text.clone().ok_or_else(|| self.missing("no words"))?;
                    let index = TextIndex::open_or_create(&dir, params)?;
                    self.notices.extend_from_slice(index.notices());
                    let state = index.state().map(str::to_owned);
                    self.text = Some(Searched { index, watermark: 0 });
                    state
                }
                Derived::Vectors => {
                    let params = self.vector_params().ok_or_else(|| self.missing("no vectors"))?;
                    let index = VectorIndex::open_or_create(&dir, params).await?;
                    self.notices.extend(index.notices());
                    let state = index.state().map(str::to_owned);
                    self.vectors = Some(Searched { index, watermark: 0 });
                    state
                }
            };
            let Some(state) = state else { break };
            let committed = sequence_of(&state);
            let marked = self.records.watermark(&self.mark_name(derived))?;
            let (newest, trimmed) = (self.records.newest()?, self.records.trimmed()?);
            match committed {
                Some(committed) if committed <= newest && committed.min(marked) >= trimmed => {
                    self.set_watermark(derived, committed.min(marked));
                    break;
                }
                _ if attempt > 0 => break,
                _ => {}
            }
            self.notices.push(format!(
                "E1003: {} of collection `{}` stands at `{state}`, the log at {trimmed} to {newest}: it is built again",
                derived.name(),
                self.name
            ));
            match derived {
                Derived::Text => self.text = None,
                Derived::Vectors => self.vectors = None,
            }
            disk::remove_dir_all(&dir).map_err(|source| MediumError::new("remove", &dir, source))?;
        }
        Ok(())
    }

    async fn apply_one(
        &mut self,
        derived: Derived,
        listen: &mut (dyn FnMut(Step) + Send),
    ) -> Result<u64, DocumentsError> {
        if self.is_empty(derived) {
            self.fill(derived, listen).await?;
        }
        loop {
            let episode = self.records.episode()?;
            let Some(round) = self.round(self.watermark_of(derived))? else {
                return Ok(self.watermark_of(derived));
            };
            if self.records.episode()? != episode {
                continue;
            }
            let document_count = round.removed.len() + round.present.len();
            listen(Step::Read(derived, document_count));
            // Writes of others alone are not worth a commit, unless the log could not be trimmed for it.
            if document_count == 0 && round.last - self.committed(derived) < ROUND_RECORDS_MAX as u64 {
                self.set_watermark(derived, round.last);
                continue;
            }
            self.sync(derived, listen)?;
            self.commit(derived, &round.removed, round.present, round.last).await?;
            self.mark(derived, round.last, listen)?;
        }
    }

    /// Fills an index that holds nothing: every document, as of the newest write.
    async fn fill(
        &mut self,
        derived: Derived,
        listen: &mut (dyn FnMut(Step) + Send),
    ) -> Result<(), DocumentsError> {
        let episode = self.records.episode()?;
        // Read first: what is written while the pages are read is applied once more behind it.
        let newest = self.records.newest()?;
        listen(Step::Read(derived, usize::try_from(self.count()?).unwrap_or(usize::MAX)));
        self.sync(derived, listen)?;
        let mut pages = Pages::new(self);
        match derived {
            Derived::Text => {
                let mut is_ended = false;
                let rows = std::iter::from_fn(|| match pages.next() {
                    Ok(None) if !is_ended => {
                        is_ended = true;
                        pages.check_episode(episode).err().map(Err)
                    }
                    read => read.transpose(),
                });
                let rows = rows.map(|row| row.map(|(row, document)| text_row(row, document)));
                let Some(searched) = &mut self.text else { return Err(self.missing("no words")) };
                searched.index.update(&[], rows, &state_of(newest))?;
            }
            Derived::Vectors => {
                let mut batches = Vec::new();
                loop {
                    let page = pages.next_page()?;
                    if page.is_empty() {
                        break;
                    }
                    batches.extend(self.vector_batch(&page)?);
                }
                pages.check_episode(episode)?;
                let Some(searched) = &mut self.vectors else { return Err(self.missing("no vectors")) };
                searched.index.update(&[], &batches, &state_of(newest)).await?;
            }
        }
        self.mark(derived, newest, listen)
    }

    /// What the log says after `watermark`, up to the bounds of a round; `None` at its end.
    fn round(&self, watermark: u64) -> Result<Option<Round>, DocumentsError> {
        let prefix = documents_prefix(&self.name);
        let mut touched: BTreeMap<RowId, Option<Document>> = BTreeMap::new();
        let (mut last, mut record_count, mut size_bytes) = (watermark, 0, 0);
        let mut failed = None;
        self.records.log(watermark.saturating_add(1), |LogRecord { sequence, changes, .. }| {
            for change in changes {
                let row =
                    change.key.strip_prefix(prefix.as_slice()).and_then(|row| RowId::try_from(row).ok());
                let Some(row) = row else { continue };
                if touched.contains_key(&row) {
                    continue;
                }
                match self.document(row) {
                    Ok(document) => {
                        size_bytes += document.as_ref().map_or(0, size_of_document);
                        touched.insert(row, document);
                    }
                    Err(error) => {
                        failed = Some(error);
                        return false;
                    }
                }
            }
            last = sequence;
            record_count += 1;
            touched.len() < ROUND_DOCUMENTS_MAX
                && record_count < ROUND_RECORDS_MAX
                && size_bytes < ROUND_BYTES_MAX
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        if last == watermark {
            return Ok(None);
        }
        let mut round = Round { last, removed: Vec::new(), present: Vec::new() };
        for (row, document) in touched {
            match document {
                Some(document) => round.present.push((row, document)),
                None => round.removed.push(row),
            }
        }
        Ok(Some(round))
    }

    async fn commit(
        &mut self,
        derived: Derived,
        removed: &[RowId],
        present: Vec<(RowId, Document)>,
        sequence: u64,
    ) -> Result<(), DocumentsError> {
        let state = state_of(sequence);
        match derived {
            Derived::Text => {
                let Some(searched) = &mut self.text else { return Err(self.missing("no words")) };
                let rows =
                    present.into_iter().map(|(row, document)| Ok::<_, Infallible>(text_row(row, document)));
                searched.index.update(removed, rows, &state)?;
            }
            Derived::Vectors => {
                let batch = self.vector_batch(&present)?;
                let Some(searched) = &mut self.vectors else { return Err(self.missing("no vectors")) };
                searched.index.update(removed, batch.as_slice(), &state).await?;
            }
        }
        Ok(())
    }

    /// What the index is about to hold must not be lost by the log.
    fn sync(&self, derived: Derived, listen: &mut (dyn FnMut(Step) + Send)) -> Result<(), DocumentsError> {
        self.reach(Site::DocumentsBeforeApply)?;
        if !failpoint::is_broken(Control::IndexFirst) {
            self.records.sync()?;
        }
        listen(Step::Synced(derived));
        self.reach(Site::DocumentsBeforeCommit)
    }

    fn reach(&self, site: Site) -> Result<(), DocumentsError> {
        Ok(failpoint::reach(site).map_err(|source| MediumError::new("apply to", &self.dir, source))?)
    }

    fn mark(
        &mut self,
        derived: Derived,
        sequence: u64,
        listen: &mut (dyn FnMut(Step) + Send),
    ) -> Result<(), DocumentsError> {
        listen(Step::Committed(derived));
        self.reach(Site::DocumentsAfterCommit)?;
        self.records.set_watermark(&self.mark_name(derived), sequence)?;
        self.set_watermark(derived, sequence);
        self.reach(Site::DocumentsAfterMark)?;
        listen(Step::Marked(derived, sequence));
        Ok(())
    }

    /// Documents with their vectors as a batch of the vector index; none for no documents.
    fn vector_batch(&self, documents: &[(RowId, Document)]) -> Result<Option<RecordBatch>, DocumentsError> {
        let Some((_, dim)) = self.params.vectors else { return Err(self.missing("no vectors")) };
        if documents.is_empty() {
            return Ok(None);
        }
        let rows: Vec<RowId> = documents.iter().map(|(row, _)| *row).collect();
        let keys: Vec<Vec<u8>> =
            documents.iter().map(|(_, document)| document.id.clone().into_bytes()).collect();
        let values = documents.iter().flat_map(|(_, document)| document.vector.iter().copied());
        let values = Arc::new(Float32Array::from_iter_values(values));
        let item = Arc::new(Field::new("item", DataType::Float32, true));
        let dir = derived_dir(&self.dir, Derived::Vectors);
        let batch = FixedSizeListArray::try_new(item, dim as i32, values, None)
            .and_then(|vectors| vector_batch(&rows, &keys, &vectors));
        Ok(Some(batch.map_err(|source| VectorError::Arrow { dir, source })?))
    }

    fn mark_name(&self, derived: Derived) -> String {
        mark_name(&self.name, derived)
    }

    pub(super) fn watermark_of(&self, derived: Derived) -> u64 {
        let watermark = match derived {
            Derived::Text => self.text.as_ref().map(|searched| searched.watermark),
            Derived::Vectors => self.vectors.as_ref().map(|searched| searched.watermark),
        };
        watermark.unwrap_or(0)
    }

    fn set_watermark(&mut self, derived: Derived, sequence: u64) {
        match derived {
            Derived::Text => self.text.iter_mut().for_each(|searched| searched.watermark = sequence),
            Derived::Vectors => self.vectors.iter_mut().for_each(|searched| searched.watermark = sequence),
        }
    }

    /// Sequence of the index's last commit; 0 if there was none.
    fn committed(&self, derived: Derived) -> u64 {
        self.state(derived).and_then(sequence_of).unwrap_or(0)
    }

    fn is_empty(&self, derived: Derived) -> bool {
        self.state(derived).is_none()
    }

    fn state(&self, derived: Derived) -> Option<&str> {
        match derived {
            Derived::Text => self.text.as_ref().and_then(|searched| searched.index.state()),
            Derived::Vectors => self.vectors.as_ref().and_then(|searched| searched.index.state()),
        }
    }
}

/// Removes the part of the log that nothing needs any more: what every index of every collection has applied, by the smaller of
/// its two numbers, after each index was read from the disk and its checksums compared. Keeps the newest
/// [`LOG_RECORDS_KEPT`](crate::kv::LOG_RECORDS_KEPT) records. Answers how many sequences went.
///
/// # Errors
/// E2501 a collection is open in this process; what the store says. Nothing is removed then.
pub async fn trim(store: &Store) -> Result<u64, DocumentsError> {
    let records = store.records();
    let mut until = records.newest()?;
    for name in Documents::names(records)? {
        let mut documents = Documents::open(store, &name).await?;
        documents.apply(&mut |_| ()).await?;
        for derived in documents.derived() {
            let marked = records.watermark(&documents.mark_name(derived))?;
            until = until.min(documents.committed(derived)).min(marked);
        }
    }
    Ok(records.trim(until)?)
}

pub(super) fn mark_name(collection: &str, derived: Derived) -> String {
    format!("{collection}/{}", derived.name())
}

/// What an index stores with its commit.
fn state_of(sequence: u64) -> String {
    format!("log {sequence}")
}

fn sequence_of(state: &str) -> Option<u64> {
    state.strip_prefix("log ")?.parse().ok()
}

fn text_row(row: RowId, document: Document) -> TextRow {
    TextRow { row, key: document.id.into_bytes(), title: None, text: document.text }
}

fn size_of_document(document: &Document) -> usize {
    document.id.len() + document.text.len() + size_of_val(document.vector.as_slice())
}

/// All documents of a collection, page by page, each page as of one moment.
struct Pages {
    records: Records,
    prefix: Vec<u8>,
    /// First key of the next page; `None` at the end.
    next_key: Option<Vec<u8>>,
    read: VecDeque<(RowId, Document)>,
}

impl Pages {
    fn new(documents: &Documents) -> Self {
        let prefix = documents_prefix(&documents.name);
        let next_key = Some(prefix.clone());
        Self { records: documents.records.clone(), prefix, next_key, read: VecDeque::new() }
    }

    /// All pages are of the episode in which the first was read.
    fn check_episode(&self, episode: u64) -> Result<(), DocumentsError> {
        if self.records.episode()? == episode {
            return Ok(());
        }
        Err(self.records.full("the disk was full while the documents were read").into())
    }

    fn next(&mut self) -> Result<Option<(RowId, Document)>, DocumentsError> {
        if self.read.is_empty() {
            self.read = self.next_page()?.into();
        }
        Ok(self.read.pop_front())
    }

    fn next_page(&mut self) -> Result<Vec<(RowId, Document)>, DocumentsError> {
        let mut page = Vec::new();
        let Some(start) = self.next_key.take() else { return Ok(page) };
        let mut damaged = None;
        let mut size_bytes = 0;
        self.records.range(&start, Some(&end_of(&self.prefix)), |key, value| {
            if page.len() == PAGE_DOCUMENTS || size_bytes > ROUND_BYTES_MAX {
                self.next_key = Some(key.to_vec());
                return false;
            }
            size_bytes += value.len();
            let row = RowId::try_from(&key[self.prefix.len()..]).ok();
            let document = super::codec::decode(value);
            match row.zip(document).filter(|(row, document)| row_of(&document.id) == *row) {
                Some(found) => page.push(found),
                None => damaged = Some(key.to_vec()),
            }
            damaged.is_none()
        })?;
        match damaged {
            None => Ok(page),
            Some(key) => {
                let detail = format!("record `{}` does not hold a document", key.escape_ascii());
                Err(self.records.damaged(detail).into())
            }
        }
    }
}
