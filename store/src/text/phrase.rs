//! Phrases: parts of a query between quotation marks whose words a row must hold side by side.

use std::collections::{BTreeMap, HashSet};

use tantivy::postings::Postings;
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{DocSet, TERMINATED, Term};

use super::analyze::Analyzer;
use super::score::{Segment, Snapshot};
use crate::flows::RowId;

/// Terms with their places, counted from the first of them.
pub(super) type Phrase = Vec<(String, u32)>;

/// The phrases of a query: what stands between `"` and `"`, or between curly ones. A mark that is not closed is no phrase, nor is one
/// without a term. Words of the stop list leave a gap of their size, in the query as in the index, which any of them fills.
pub(super) fn phrases(analyzer: &Analyzer, query: &str) -> Vec<Phrase> {
    let is_mark = |letter: char| matches!(letter, '"' | '\u{201c}' | '\u{201d}');
    let parts: Vec<&str> = query.split(is_mark).collect();
    // Odd parts are within marks; the last part is behind the last mark.
    let quoted = parts.iter().take(parts.len() - 1).skip(1).step_by(2);
    let phrase = |text: &&str| -> Option<Phrase> {
        let tokens = analyzer.tokens(text);
        let first = tokens.first()?.position;
        Some(tokens.into_iter().map(|token| (token.text, (token.position - first) as u32)).collect())
    };
    quoted.filter_map(phrase).collect()
}

impl Snapshot {
    /// The present rows that hold all `phrases`. Cost: the postings and positions of their terms.
    pub(super) fn rows_with(&self, phrases: &[Phrase], text: Field) -> tantivy::Result<HashSet<RowId>> {
        let mut rows = HashSet::new();
        for segment in &self.segments {
            let mut docs: Option<HashSet<u32>> = None;
            for phrase in phrases {
                let found = docs_with(segment, phrase, text)?;
                docs = Some(match docs {
                    Some(docs) => docs.intersection(&found).copied().collect(),
                    None => found,
                });
            }
            let is_alive = |doc: &u32| segment.alive.as_ref().is_none_or(|alive| alive.is_alive(*doc));
            rows.extend(docs.unwrap_or_default().into_iter().filter(is_alive).map(|doc| segment.row(doc)));
        }
        Ok(rows)
    }
}

/// Documents of a segment that hold a phrase.
fn docs_with(segment: &Segment, phrase: &Phrase, text: Field) -> tantivy::Result<HashSet<u32>> {
    // Places where the phrase can begin, by document.
    let mut starts: Option<BTreeMap<u32, Vec<u32>>> = None;
    for (term, place) in phrase {
        let term = Term::from_field_text(text, term);
        let option = IndexRecordOption::WithFreqsAndPositions;
        let Some(mut postings) = segment.postings.read_postings(&term, option)? else {
            return Ok(HashSet::new());
        };
        let mut next = BTreeMap::new();
        let mut positions = Vec::new();
        let mut doc = postings.doc();
        while doc != TERMINATED {
            let known = starts.as_ref().map(|starts| starts.get(&doc));
            if known != Some(None) {
                postings.positions(&mut positions);
                let begins = positions.iter().filter_map(|position| position.checked_sub(*place));
                let begins: Vec<u32> = match known.flatten() {
                    Some(known) => begins.filter(|begin| known.binary_search(begin).is_ok()).collect(),
                    None => begins.collect(),
                };
                if !begins.is_empty() {
                    next.insert(doc, begins);
                }
            }
            doc = postings.advance();
        }
        starts = Some(next);
    }
    Ok(starts.unwrap_or_default().into_keys().collect())
}
