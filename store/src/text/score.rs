//! Exact BM25 over the postings of one commit.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use tantivy::columnar::{BytesColumn, Column};
use tantivy::fastfield::AliveBitSet;
use tantivy::postings::Postings;
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{DocSet, InvertedIndexReader, Searcher, TERMINATED, Term};

use super::Fields;
use crate::flows::RowId;

/// One segment, with what scoring needs at hand.
pub(super) struct Segment {
    pub(super) postings: Arc<InvertedIndexReader>,
    pub(super) alive: Option<AliveBitSet>,
    /// Number of tokens of each document: 4 bytes per row of the index in memory.
    lengths: Vec<u32>,
    row_high: Column<u64>,
    row_low: Column<u64>,
    keys: Option<BytesColumn>,
}

/// All segments of one commit and the statistics over their present documents.
pub(super) struct Snapshot {
    pub(super) segments: Vec<Segment>,
    row_count: u64,
    token_count: u64,
}

/// A document with a score.
#[derive(Clone, Copy)]
struct Candidate {
    score: f64,
    segment_idx: u32,
    doc: u32,
}

impl Snapshot {
    /// Reads lengths and opens columns. Cost: 8 bytes per row.
    pub(super) fn load(searcher: &Searcher, fields: &Fields) -> tantivy::Result<Self> {
        let mut snapshot = Self { segments: Vec::new(), row_count: 0, token_count: 0 };
        let schema = searcher.schema();
        let name = |field: Field| schema.get_field_name(field);
        for segment_reader in searcher.segment_readers() {
            let columns = segment_reader.fast_fields();
            let length = columns.u64(name(fields.length))?;
            let lengths: Vec<u32> = (0..segment_reader.max_doc())
                .map(|doc| u32::try_from(length.first(doc).unwrap_or(0)).unwrap_or(u32::MAX))
                .collect();
            for doc in segment_reader.doc_ids_alive() {
                snapshot.row_count += 1;
                snapshot.token_count += u64::from(lengths[doc as usize]);
            }
            snapshot.segments.push(Segment {
                postings: segment_reader.inverted_index(fields.text)?,
                alive: segment_reader.alive_bitset().cloned(),
                lengths,
                row_high: columns.u64(name(fields.row_high))?,
                row_low: columns.u64(name(fields.row_low))?,
                keys: columns.bytes(name(fields.key))?,
            });
        }
        Ok(snapshot)
    }

    pub(super) fn row_count(&self) -> u64 {
        self.row_count
    }

    /// Identity and length in tokens of every present document.
    pub(super) fn row_lengths(&self) -> impl Iterator<Item = (RowId, u64)> {
        self.segments.iter().flat_map(|segment| {
            let is_alive = |doc: &u32| segment.alive.as_ref().is_none_or(|alive| alive.is_alive(*doc));
            let docs = (0..segment.lengths.len() as u32).filter(is_alive);
            docs.map(|doc| (segment.row(doc), u64::from(segment.lengths[doc as usize])))
        })
    }

    /// The `k` best rows for the counted `terms`; see [`super::TextIndex::search`].
    pub(super) fn search(
        &self,
        terms: &BTreeMap<String, u32>,
        text: Field,
        (k1, b): (f64, f64),
        k: usize,
        allowed: Option<&(dyn Fn(&RowId) -> bool + Sync)>,
    ) -> tantivy::Result<Vec<(RowId, f64)>> {
        if self.row_count == 0 || k == 0 {
            return Ok(Vec::new());
        }
        let mut scores: Vec<Vec<f64>> =
            self.segments.iter().map(|segment| vec![0.0; segment.lengths.len()]).collect();
        let mut touched: Vec<Vec<u32>> = vec![Vec::new(); self.segments.len()];
        for (term, &query_count) in terms {
            let term = Term::from_field_text(text, term);
            let matches = self.matches(&term)?;
            let weight = f64::from(query_count) * self.idf(&matches);
            for (segment_idx, matches) in matches.iter().enumerate() {
                let segment = &self.segments[segment_idx];
                for &(doc, frequency) in matches {
                    let part = weight * self.saturated(segment, doc, frequency, (k1, b));
                    let score = &mut scores[segment_idx][doc as usize];
                    if *score == 0.0 {
                        touched[segment_idx].push(doc);
                    }
                    *score += part;
                }
            }
        }
        let mut candidates = Vec::new();
        for (segment_idx, docs) in touched.iter().enumerate() {
            let segment = &self.segments[segment_idx];
            for &doc in docs {
                if allowed.is_none_or(|allowed| allowed(&segment.row(doc))) {
                    let score = scores[segment_idx][doc as usize];
                    candidates.push(Candidate { score, segment_idx: segment_idx as u32, doc });
                }
            }
        }
        self.best(candidates, k)
    }

    /// The present documents of each segment that hold `term`, each with its frequency.
    pub(super) fn matches(&self, term: &Term) -> tantivy::Result<Vec<Vec<(u32, u32)>>> {
        self.segments.iter().map(|segment| segment.matches(term)).collect()
    }

    /// Inverse document frequency of a term with these matches.
    pub(super) fn idf(&self, matches: &[Vec<(u32, u32)>]) -> f64 {
        let df = matches.iter().map(Vec::len).sum::<usize>() as f64;
        (1.0 + (self.row_count as f64 - df + 0.5) / (df + 0.5)).ln()
    }

    /// What a term adds for each unit of its weight.
    pub(super) fn saturated(&self, segment: &Segment, doc: u32, frequency: u32, (k1, b): (f64, f64)) -> f64 {
        let mean_length = self.token_count as f64 / self.row_count as f64;
        let length = f64::from(segment.lengths[doc as usize]);
        let frequency = f64::from(frequency);
        let norm = k1 * (1.0 - b + b * length / mean_length);
        frequency * (k1 + 1.0) / (frequency + norm)
    }

    /// Sorts by score and, among equal scores, by key, and keeps the first `k`. Keys are read for tied rows only.
    fn best(&self, mut candidates: Vec<Candidate>, k: usize) -> tantivy::Result<Vec<(RowId, f64)>> {
        let by_score = |left: &Candidate, right: &Candidate| right.score.total_cmp(&left.score);
        if candidates.len() > k {
            let (_, kth, _) = candidates.select_nth_unstable_by(k - 1, by_score);
            let least = kth.score;
            candidates.retain(|candidate| candidate.score.total_cmp(&least) != Ordering::Less);
        }
        candidates.sort_unstable_by(by_score);
        let mut results = Vec::with_capacity(k.min(candidates.len()));
        for equals in candidates.chunk_by(|left, right| left.score.total_cmp(&right.score) == Ordering::Equal)
        {
            let mut ranked: Vec<(Vec<u8>, RowId)> = Vec::with_capacity(equals.len());
            for candidate in equals {
                let segment = &self.segments[candidate.segment_idx as usize];
                let key = if equals.len() > 1 { segment.key(candidate.doc)? } else { Vec::new() };
                ranked.push((key, segment.row(candidate.doc)));
            }
            ranked.sort_unstable();
            results.extend(ranked.into_iter().map(|(_, row)| (row, equals[0].score)));
        }
        results.truncate(k);
        Ok(results)
    }
}

impl Segment {
    /// The present documents that hold `term`, each with its frequency.
    fn matches(&self, term: &Term) -> tantivy::Result<Vec<(u32, u32)>> {
        let Some(mut postings) = self.postings.read_postings(term, IndexRecordOption::WithFreqs)? else {
            return Ok(Vec::new());
        };
        let mut matches = Vec::with_capacity(postings.doc_freq() as usize);
        let mut doc = postings.doc();
        while doc != TERMINATED {
            if self.alive.as_ref().is_none_or(|alive| alive.is_alive(doc)) {
                matches.push((doc, postings.term_freq()));
            }
            doc = postings.advance();
        }
        Ok(matches)
    }

    pub(super) fn row(&self, doc: u32) -> RowId {
        let high = self.row_high.first(doc).unwrap_or(0);
        let low = self.row_low.first(doc).unwrap_or(0);
        (u128::from(high) << 64 | u128::from(low)).to_be_bytes()
    }

    fn key(&self, doc: u32) -> tantivy::Result<Vec<u8>> {
        let mut key = Vec::new();
        if let Some(keys) = &self.keys
            && let Some(ordinal) = keys.ords().first(doc)
        {
            keys.ord_to_bytes(ordinal, &mut key)?;
        }
        Ok(key)
    }
}
