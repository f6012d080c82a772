//! Do the log, the text index and the vector index say the same?

use std::collections::{BTreeMap, BTreeSet};

use super::apply::mark_name;
use super::{Derived, Documents, DocumentsError, declared, derived_dir, documents_prefix, end_of};
use crate::flows::RowId;
use crate::kv::{LogRecord, Records};
use crate::text::TextError;
use crate::vectors::VectorError;

/// What was compared and found equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreement {
    /// Documents in the records, and in every index.
    pub documents: u64,
    /// Sequence at which they agree.
    pub watermark: u64,
}

/// How far an index has come, as far as its watermark says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Name of the collection.
    pub collection: String,
    /// Which of its indexes.
    pub derived: Derived,
    /// Sequence that it has applied.
    pub watermark: u64,
    /// Newest sequence of the log.
    pub newest: u64,
}

/// How far the indexes of all collections have come. Opens none of them.
///
/// # Errors
/// E1003 for damaged records.
pub fn standings(records: &Records) -> Result<Vec<Standing>, DocumentsError> {
    let newest = records.newest()?;
    let mut standings = Vec::new();
    for collection in Documents::names(records)? {
        let Some(params) = declared(records, &collection)? else { continue };
        for derived in params.derived() {
            let watermark = records.watermark(&mark_name(&collection, derived))?;
            standings.push(Standing { collection: collection.clone(), derived, watermark, newest });
        }
    }
    Ok(standings)
}

impl Documents {
    /// Compares the records with both indexes: the same documents are in each, every vector has the bytes of its record, and
    /// every text as many words. For a collection that is applied to the end and that nobody writes meanwhile.
    ///
    /// # Errors
    /// E1003 with the first difference; E1007 an index has not come to the end of the log.
    ///
    /// Cost: reads everything; memory 24 bytes per document, and the vectors that are there anyway.
    pub fn verify(&self) -> Result<Agreement, DocumentsError> {
        let newest = self.newest_of_collection()?;
        for derived in self.derived() {
            self.check_watermark(derived, self.watermark_of(derived), newest)?;
        }
        let prefix = documents_prefix(&self.name);
        let mut words: BTreeMap<RowId, u64> = BTreeMap::new();
        let mut failed = None;
        let mut differs = None;
        let places: BTreeMap<RowId, usize> = match &self.vectors {
            Some(searched) => searched.index.vectors().rows().iter().copied().zip(0..).collect(),
            None => BTreeMap::new(),
        };
        self.records.range(&prefix, Some(&end_of(&prefix)), |key, value| {
            let row = RowId::try_from(&key[prefix.len()..]).unwrap_or_default();
            let document = match self.decode(row, value) {
                Ok(document) => document,
                Err(error) => {
                    failed = Some(error);
                    return false;
                }
            };
            let count = self.text.as_ref().map_or(0, |searched| searched.index.word_count(&document.text));
            words.insert(row, count);
            if let Some(searched) = &self.vectors {
                let stored = places.get(&row).map(|&idx| searched.index.vectors().vector(idx));
                let bits = |vector: &[f32]| vector.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
                if stored.map(bits) != Some(bits(&document.vector)) {
                    differs = Some(document.id);
                }
            }
            differs.is_none()
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        if let Some(id) = differs {
            return Err(
                self.differs(Derived::Vectors, format!("the vector of `{id}` is not that of its record"))
            );
        }
        if places.len() != words.len() && self.vectors.is_some() {
            let detail = format!("{} vectors for {} documents", places.len(), words.len());
            return Err(self.differs(Derived::Vectors, detail));
        }
        if let Some(searched) = &self.text {
            let indexed: BTreeSet<(RowId, u64)> = searched.index.row_lengths().collect();
            let expected: BTreeSet<(RowId, u64)> = words.iter().map(|(row, count)| (*row, *count)).collect();
            if let Some((row, count)) = indexed.symmetric_difference(&expected).next() {
                let id = self
                    .document(*row)?
                    .map_or_else(|| "a document that is not there".into(), |found| found.id);
                return Err(
                    self.differs(Derived::Text, format!("`{id}` with {count} words is in one of the two"))
                );
            }
        }
        Ok(Agreement { documents: words.len() as u64, watermark: self.watermark() })
    }

    /// The newest write of this collection that the log still has, or 0.
    fn newest_of_collection(&self) -> Result<u64, DocumentsError> {
        let prefix = documents_prefix(&self.name);
        let mut newest = 0;
        self.records.log(self.watermark().saturating_add(1), |LogRecord { sequence, changes, .. }| {
            if changes.iter().any(|change| change.key.starts_with(&prefix)) {
                newest = sequence;
            }
            true
        })?;
        Ok(newest)
    }

    fn differs(&self, derived: Derived, detail: String) -> DocumentsError {
        let dir = derived_dir(&self.dir, derived);
        match derived {
            Derived::Text => TextError::Differs { dir, detail }.into(),
            Derived::Vectors => VectorError::Damaged { dir, detail }.into(),
        }
    }
}
