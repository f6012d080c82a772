//! How rare the words of a collection are.
//!
//! `idf(w) = ln(1 + (N - df + 0.5) / (df + 0.5))` (the form of BM25 that is never negative; Robertson and Zaragoza
//! 2009), with `N` texts of which `df` hold a word of that stem. A stem that was never seen has `df = 0`.

use super::{EmbedError, stems};
use rust_stemmers::{Algorithm, Stemmer};
use std::collections::BTreeMap;

/// Number of texts of a collection, and in how many of them each stem occurs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdfTable {
    text_count: u64,
    frequencies: BTreeMap<String, u64>,
}

/// First bytes of the stored form: name and version.
const MAGIC: &[u8; 8] = b"pc-idf\0\x01";

impl IdfTable {
    /// Counts the texts of a collection. Independent of their order. Cost: as embedding without remembered words;
    /// memory: the vocabulary.
    pub fn fit<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let stemmer = Stemmer::create(Algorithm::English);
        let mut table = Self::default();
        for text in texts {
            table.text_count += 1;
            for stem in stems(text, &stemmer) {
                *table.frequencies.entry(stem).or_default() += 1;
            }
        }
        table
    }

    /// Adds the counts of another part of the collection, so that parts can be counted apart.
    pub fn merge(&mut self, other: Self) {
        self.text_count += other.text_count;
        for (stem, count) in other.frequencies {
            *self.frequencies.entry(stem).or_default() += count;
        }
    }

    /// Number of texts counted.
    pub fn text_count(&self) -> u64 {
        self.text_count
    }

    /// Number of texts that hold a word of this stem.
    pub fn frequency(&self, stem: &str) -> u64 {
        self.frequencies.get(stem).copied().unwrap_or(0)
    }

    /// Weight of a stem; positive, larger for rarer ones.
    pub fn idf(&self, stem: &str) -> f64 {
        let frequency = self.frequency(stem) as f64;
        (1.0 + (self.text_count as f64 - frequency + 0.5) / (frequency + 0.5)).ln()
    }

    /// Stored form: magic, number of texts, number of stems, then each stem ascending as length, bytes, count; `u64`
    /// little-endian, the length `u32`. Equal tables have equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&self.text_count.to_le_bytes());
        bytes.extend_from_slice(&(self.frequencies.len() as u64).to_le_bytes());
        for (stem, count) in &self.frequencies {
            bytes.extend_from_slice(&(stem.len() as u32).to_le_bytes());
            bytes.extend_from_slice(stem.as_bytes());
            bytes.extend_from_slice(&count.to_le_bytes());
        }
        bytes
    }

    /// Reads what [`Self::to_bytes`] wrote; checks lengths, order, UTF-8, and that no count exceeds the number of
    /// texts.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EmbedError> {
        let mut reader = Reader { bytes, offset: 0 };
        if reader.take(MAGIC.len())? != MAGIC {
            return Err(EmbedError::Encoding { offset: 0 });
        }
        let text_count = reader.number()?;
        let stem_count = reader.number()?;
        let mut frequencies: BTreeMap<String, u64> = BTreeMap::new();
        for _ in 0..stem_count {
            let error = EmbedError::Encoding { offset: reader.offset };
            let len = reader.take(4)?.iter().rev().fold(0, |len, byte| len << 8 | usize::from(*byte));
            let stem = std::str::from_utf8(reader.take(len)?).map_err(|_| error)?;
            let count = reader.number()?;
            let ascending = frequencies.last_key_value().is_none_or(|(last, _)| last.as_str() < stem);
            if !ascending || count == 0 || count > text_count {
                return Err(error);
            }
            frequencies.insert(stem.to_owned(), count);
        }
        match reader.offset == bytes.len() {
            true => Ok(Self { text_count, frequencies }),
            false => Err(EmbedError::Encoding { offset: reader.offset }),
        }
    }
}

/// Reads from the front of stored bytes.
struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], EmbedError> {
        let error = EmbedError::Encoding { offset: self.offset };
        let end = self.offset.checked_add(len).ok_or(error)?;
        let part = self.bytes.get(self.offset..end).ok_or(error)?;
        self.offset = end;
        Ok(part)
    }

    fn number(&mut self) -> Result<u64, EmbedError> {
        Ok(self.take(8)?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }
}
