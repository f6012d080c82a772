//! Why a row was found: what each term adds to its score, and where its text holds the terms.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use tantivy::Term;
use tantivy::schema::Field;

use super::analyze::Analyzer;
use super::score::Snapshot;
use crate::flows::RowId;

/// What one term of a query adds to the score of one row.
#[derive(Debug, Clone, PartialEq)]
pub struct TermPart {
    /// The term as it is in the index.
    pub term: String,
    /// How often the row holds it, words of a title by their weight.
    pub frequency: u32,
    /// Rows that hold it.
    pub rows: u64,
    /// Inverse document frequency.
    pub idf: f64,
    /// What it adds.
    pub part: f64,
}

impl Snapshot {
    /// See [`super::TextIndex::scores`].
    pub(super) fn scores(
        &self,
        terms: &BTreeMap<String, u32>,
        text: Field,
        weights: (f64, f64),
        rows: &[RowId],
    ) -> tantivy::Result<Vec<f64>> {
        let places: HashMap<&RowId, usize> = rows.iter().zip(0..).collect();
        let mut scores = vec![0.0; rows.len()];
        for (name, &query_count) in terms {
            let matches = self.matches(&Term::from_field_text(text, name))?;
            let weight = f64::from(query_count) * self.idf(&matches);
            for (segment, matches) in self.segments.iter().zip(&matches) {
                for &(doc, frequency) in matches {
                    if let Some(&place) = places.get(&segment.row(doc)) {
                        scores[place] += weight * self.saturated(segment, doc, frequency, weights);
                    }
                }
            }
        }
        Ok(scores)
    }

    /// Parts of the scores of `rows`, greatest first; terms that a row does not hold are left out.
    pub(super) fn explain(
        &self,
        terms: &BTreeMap<String, u32>,
        text: Field,
        weights: (f64, f64),
        rows: &[RowId],
    ) -> tantivy::Result<Vec<Vec<TermPart>>> {
        let places: HashMap<&RowId, usize> = rows.iter().zip(0..).collect();
        let mut parts = vec![Vec::new(); rows.len()];
        for (name, &query_count) in terms {
            let matches = self.matches(&Term::from_field_text(text, name))?;
            let idf = self.idf(&matches);
            let row_count = matches.iter().map(Vec::len).sum::<usize>() as u64;
            for (segment, matches) in self.segments.iter().zip(&matches) {
                for &(doc, frequency) in matches {
                    let Some(&place) = places.get(&segment.row(doc)) else { continue };
                    let part =
                        f64::from(query_count) * idf * self.saturated(segment, doc, frequency, weights);
                    let term = name.clone();
                    parts[place].push(TermPart { term, frequency, rows: row_count, idf, part });
                }
            }
        }
        for parts in &mut parts {
            parts.sort_by(|left, right| right.part.total_cmp(&left.part).then(left.term.cmp(&right.term)));
        }
        Ok(parts)
    }
}

/// See [`super::TextIndex::highlights`].
pub(super) fn highlights(analyzer: &Analyzer, query: &str, text: &str) -> Vec<Range<usize>> {
    let terms: HashSet<String> = analyzer.tokens(query).into_iter().map(|token| token.text).collect();
    let mut spans: Vec<Range<usize>> = Vec::new();
    for token in analyzer.tokens(text) {
        if !terms.contains(&token.text) {
            continue;
        }
        match spans.last_mut() {
            // Pairs of characters overlap; tokens come in the order of their starts.
            Some(last) if token.offset_from <= last.end => last.end = last.end.max(token.offset_to),
            _ => spans.push(token.offset_from..token.offset_to),
        }
    }
    spans
}
