//! The walk over one level of a graph: from the best rows so far to their links, until none of them is better.

use promptc_kernels::prefetch;

use super::super::best::Candidate;
use super::super::bytes::ByteQuery;
use super::{Codes, Graph};

/// Chosen rows that are compared at once.
const COMPARED: usize = 8;

/// Where a walk has been; made once, used again.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Walk {
    /// For each row the number of the walk that saw it last: a byte, so that those of many rows stay in the second cache.
    marks: Vec<u8>,
    mark: u8,
    /// The best rows, best first.
    best: Vec<Found>,
    rows: Vec<u32>,
    sums: Vec<i32>,
    scores: Vec<f32>,
    /// Scores that were computed since [`Self::clear`].
    pub(in super::super) scored: usize,
}

/// A row that was found.
#[derive(Debug, Clone, Copy)]
struct Found {
    candidate: Candidate,
    /// Whether its links were followed on this level.
    is_followed: bool,
}

impl Walk {
    /// Forgets what was found.
    pub(in super::super) fn clear(&mut self) {
        self.best.clear();
        self.scored = 0;
    }

    /// Begins at a row.
    pub(super) fn enter(&mut self, codes: Codes<'_>, query: &ByteQuery, row: u32) {
        let scored = self.scored(codes, query, &[row]);
        self.best.clear();
        self.best.extend(scored.into_iter().map(|candidate| Found { candidate, is_followed: false }));
    }

    /// Walks a level from the best rows of the one before, and keeps the best `beam` rows.
    pub(super) fn level(
        &mut self,
        graph: &Graph,
        codes: Codes<'_>,
        query: &ByteQuery,
        level: usize,
        beam: usize,
    ) {
        self.begin(graph.levels.len());
        for found in &mut self.best {
            found.is_followed = false;
            self.marks[found.candidate.row() as usize] = self.mark;
        }
        let mut next = 0;
        while let Some(found) = self.best.get_mut(next) {
            if std::mem::replace(&mut found.is_followed, true) {
                next += 1;
                continue;
            }
            let row = found.candidate.row();
            if let Some(ahead) = self.best.get(next + 1) {
                prefetch(graph.room(ahead.candidate.row(), level));
            }
            self.unseen(graph.links(row, level));
            codes.bytes.score_rows(query, &self.rows, &mut self.sums, &mut self.scores);
            self.scored += self.rows.len();
            for (row, score) in self.rows.iter().zip(&self.scores) {
                let candidate = Candidate::new(codes.offsets[*row as usize] + score, *row);
                if self.best.len() >= beam {
                    if self.best.last().is_none_or(|worst| candidate < worst.candidate) {
                        continue;
                    }
                    self.best.pop();
                }
                let place = self.best.partition_point(|other| other.candidate > candidate);
                self.best.insert(place, Found { candidate, is_followed: false });
                if place <= next {
                    // Its links are the next that are followed, unless a better row comes.
                    prefetch(graph.room(*row, level));
                    next = place;
                }
            }
        }
    }

    /// Leaves in `rows` those of the links that this walk has not seen. Without a branch: which they are cannot be foretold, and a wrong
    /// guess would hold up the reads of the others.
    fn unseen(&mut self, links: &[u32]) {
        self.rows.resize(links.len(), 0);
        let mut count = 0;
        for row in links {
            let mark = std::mem::replace(&mut self.marks[*row as usize], self.mark);
            self.rows[count] = *row;
            count += usize::from(mark != self.mark);
        }
        self.rows.truncate(count);
    }

    fn begin(&mut self, rows: usize) {
        self.marks.resize(rows.max(self.marks.len()), 0);
        self.mark = self.mark.wrapping_add(1);
        if self.mark == 0 {
            self.marks.fill(0);
            self.mark = 1;
        }
    }

    /// The rows that were found, best first.
    pub(in super::super) fn found(&self) -> impl Iterator<Item = Candidate> {
        self.best.iter().map(|found| found.candidate)
    }

    /// Scores of some rows.
    pub(super) fn scored(&mut self, codes: Codes<'_>, query: &ByteQuery, rows: &[u32]) -> Vec<Candidate> {
        codes.bytes.score_rows(query, rows, &mut self.sums, &mut self.scores);
        self.scored += rows.len();
        let candidate =
            |(row, score): (&u32, &f32)| Candidate::new(codes.offsets[*row as usize] + score, *row);
        rows.iter().zip(&self.scores).map(candidate).collect()
    }

    /// Whether none of some rows has a score above `own`.
    pub(super) fn is_nearest(&mut self, codes: Codes<'_>, query: &ByteQuery, rows: &[u32], own: f32) -> bool {
        rows.chunks(COMPARED).all(|rows| {
            codes.bytes.score_rows(query, rows, &mut self.sums, &mut self.scores);
            let mut scores = rows.iter().zip(&self.scores);
            scores.all(|(row, score)| codes.offsets[*row as usize] + score <= own)
        })
    }
}
