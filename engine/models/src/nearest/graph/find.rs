//! A search through the graph, and the beam that reaches a recall.

use promptc_kernels::BLOCK_ROWS;

use super::super::best::Candidate;
use super::super::calibrate::{Truth, more, recall_of};
use super::super::finder::Finder;
use super::super::rows::RowMask;
use super::super::search::{Query, Scratch, rescored};
use super::super::{NearestError, VectorIndex};
use super::Graph;
use super::walk::Walk;

/// Share of the rows below which the rows that a mask allows are compared one by one: a walk would look at most rows in vain.
const SCANNED_SHARE: f64 = 0.05;
/// First beam that a calibration tries.
const BEAM_FIRST: usize = 10;
/// Allowed rows that are compared at once.
const COMPARED: usize = 256;

impl VectorIndex {
    /// Leaves the best candidates of a walk in `scratch`.
    pub(in super::super) fn walk(
        &self,
        graph: &Graph,
        idx: usize,
        k: usize,
        mask: Option<&RowMask>,
        scratch: &mut Scratch,
    ) {
        let Scratch { queries, walk, rows, .. } = scratch;
        let query = &mut queries[idx];
        let beam = self.effort.beam.max(rescored(k));
        let (words, count) = match mask {
            Some(mask) => (mask.words.as_slice(), mask.rows()),
            None => (graph.present(), self.len()),
        };
        if count <= beam || (count as f64) < SCANNED_SHARE * self.len() as f64 {
            return self.compare(query, words, rows, walk);
        }
        // Rows that are not allowed are ways too: as many more are kept as there are of them.
        let beam = (beam as f64 * self.rows.ids().len() as f64 / count as f64) as usize;
        graph.search(self.rowwise(), &query.bytes, beam, walk);
        let is_allowed = |row: u32| words[row as usize / BLOCK_ROWS] >> (row as usize % BLOCK_ROWS) & 1 == 1;
        walk.found().filter(|found| is_allowed(found.row())).for_each(|found| query.best.push(found));
        if query.best.len() < k.min(count) {
            // Of very many equal rows some have no way to them.
            query.best.start(query.best.keep(), f32::NEG_INFINITY);
            self.compare(query, words, rows, walk);
        }
    }

    /// Takes the rows whose bit is set.
    fn compare(&self, query: &mut Query, words: &[u64], rows: &mut Vec<u32>, walk: &mut Walk) {
        rows.clear();
        for (block, word) in words.iter().enumerate() {
            let mut word = *word;
            while word != 0 {
                rows.push((block * BLOCK_ROWS) as u32 + word.trailing_zeros());
                word &= word - 1;
            }
        }
        for rows in rows.chunks(COMPARED) {
            walk.scored(self.rowwise(), &query.bytes, rows)
                .into_iter()
                .for_each(|found| query.best.push(found));
        }
    }

    /// The least beam that finds enough true neighbours among the candidates, and the scores that a walk with it computes on average.
    pub(in super::super) fn beam_reaching(
        &self,
        finder: &Finder,
        queries: &[&[f32]],
        truths: &[Truth],
        k: usize,
        target: f64,
    ) -> Result<(usize, f64), NearestError> {
        let Finder::Graph(graph) = finder else { return Ok((self.effort.beam, f64::INFINITY)) };
        let (mut query, mut walk) = (Query::default(), Walk::default());
        let mut beam = BEAM_FIRST.max(rescored(k));
        loop {
            let (mut found, mut scored) = (Vec::with_capacity(queries.len()), 0);
            for (vector, truth) in queries.iter().zip(truths) {
                self.prepare(finder, vector, k, &mut query)?;
                graph.search(self.rowwise(), &query.bytes, beam, &mut walk);
                scored += walk.scored;
                let present = walk.found().filter(|found| graph.is_present(found.row() as usize));
                present.for_each(|found| query.best.push(found));
                let best: Vec<u32> =
                    query.best.finish().iter().map(|found: &Candidate| found.row()).collect();
                let good = truth.rows.iter().filter(|row| best.contains(row));
                found.push((good.count(), truth.rows.len()));
            }
            if recall_of(found.into_iter()).1 >= target || beam >= self.len() {
                return Ok((beam, scored as f64 / queries.len() as f64));
            }
            beam = more(beam).min(self.len());
        }
    }
}
