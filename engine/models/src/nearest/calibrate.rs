//! Measuring recall, and choosing the structure by it.
//!
//! For each held-out query the true neighbours are computed from the originals. Where each of them stands in the order of the
//! 1-bit scores says at once how many rows have to be scored again to find a wanted share of all: no search is repeated to try a
//! parameter. The result is then searched for and counted.

use promptc_kernels::{BLOCK_ROWS, Kernels, Scoring};

use super::bits::{BitCodes, BitQuery};
use super::{
    BITS_DIM_MIN, NearestError, Neighbour, Originals, Room, Scratch, Structure, VectorIndex, layout_of, space,
};

/// Nanoseconds for a byte of 8-bit codes that fits the second cache, measured with AVX-512 at 256 numbers a row: 1.1 ns a row.
const BYTE_NS_NEAR: f64 = 0.004_3;
/// The same from the third cache and beyond: 2.4 to 3.4 ns a row.
const BYTE_NS_FAR: f64 = 0.009_5;
/// Bytes of codes that count as near: a second cache of 1 MiB.
const NEAR_BYTES: f64 = 1_048_576.0;
/// Nanoseconds for a byte of 1-bit codes: 0.37 ns for a row of 32.
const BIT_BYTE_NS: f64 = 0.012;
/// Nanoseconds for a row that is scored again: its place among the best, a random access, and for each number.
const RERANK_NS: f64 = 20.0;
const RERANK_NUMBER_NS: f64 = 0.06;
/// Nanoseconds for the rotation and tables of a query.
const TABLES_NS: f64 = 800.0;
/// Standard normal quantile of the two-sided 95 % interval.
const Z95: f64 = 1.959_963_984_540_054;
/// Growth of the number of rows scored again while the recall that was counted is too low.
const STEP: f64 = 1.25;

/// What a calibration found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Calibration {
    /// Recall that was asked for.
    pub target: f64,
    /// Neighbours of a query.
    pub k: usize,
    /// Queries of the sample.
    pub queries: usize,
    /// Share of the true neighbours that were found; a row as good as the last of them counts.
    pub recall: f64,
    /// Lower end of its Wilson interval (95 %).
    pub recall_low: f64,
    /// Rows of the index then.
    pub rows: usize,
}

/// The true neighbours of one query.
struct Truth {
    rows: Vec<u32>,
    /// Score of the last of them.
    least: f64,
}

impl VectorIndex {
    /// Measures recall at `k` on held-out `queries` and chooses the structure with the least modelled cost whose recall reaches
    /// `target` with the lower end of its interval. If none does, it is the scan by 8-bit codes, and the calibration says what
    /// it reaches. A structure asked for by name is kept, and only its effort set. Cost: exact scores of all rows for each query.
    ///
    /// # Errors
    /// [`NearestError::Sample`] without rows or queries, or with `k` 0; [`NearestError::Original`]; errors of a search.
    pub fn calibrate(
        &mut self,
        queries: &[&[f32]],
        k: usize,
        target: f64,
        originals: &dyn Originals,
    ) -> Result<Calibration, NearestError> {
        if self.is_empty() || queries.is_empty() || k == 0 {
            return Err(NearestError::Sample);
        }
        let truths: Vec<Truth> =
            queries.iter().map(|query| self.truth(query, k, originals)).collect::<Result<_, _>>()?;
        let wanted = self.options.structure;
        let has_no_bits = wanted == Some(Structure::Scan) || self.options.dim < BITS_DIM_MIN;
        let bits = if has_no_bits { None } else { Some(self.bits_from(originals)?) };
        let rerank = match &bits {
            Some(bits) => self.needed(bits, queries, &truths, target)?,
            None => 0,
        };
        let is_cheaper = bits.is_some() && self.bits_cost_ns(rerank) < self.scan_cost_ns();
        let structure = wanted.unwrap_or(if is_cheaper { Structure::Bits } else { Structure::Scan });
        let layout = layout_of(structure);
        if self.bytes.layout != layout {
            self.bytes = self.bytes.in_layout(layout, self.len());
        }
        self.bits = bits.filter(|_| structure == Structure::Bits);
        (self.rerank, self.rerank_k) = (rerank.max(k), k);
        self.generation += 1;
        let calibration = self.measured(queries, &truths, k, target, originals)?;
        (self.calibration, self.churn) = (Some(calibration), 0);
        Ok(calibration)
    }

    /// The 1-bit codes, made from the originals if there are none.
    fn bits_from(&self, originals: &dyn Originals) -> Result<BitCodes, NearestError> {
        if let Some(bits) = &self.bits {
            return Ok(bits.clone());
        }
        let mut bits = BitCodes::new(self.options.dim, self.options.seed);
        bits.reserve_exact(self.len());
        bits.resize(self.len());
        let mut room = Room::new(self.options.dim);
        for (row, id) in self.rows.ids().iter().enumerate() {
            let vector = originals.vector(*id).ok_or(NearestError::Original { id: *id })?;
            self.space.place_row(vector, &mut room.placed);
            bits.set(row, &room.placed, &mut room.rotated);
        }
        Ok(bits)
    }

    /// The `k` best rows by exact scores.
    fn truth(&self, query: &[f32], k: usize, originals: &dyn Originals) -> Result<Truth, NearestError> {
        space::check(query, self.options.dim)?;
        let norm = space::norm(query);
        let mut scored = Vec::with_capacity(self.len());
        for (row, id) in self.rows.ids().iter().enumerate() {
            let vector = originals.vector(*id).ok_or(NearestError::Original { id: *id })?;
            scored.push((Neighbour { id: *id, score: self.space.exact(query, norm, vector) }, row as u32));
        }
        let k = k.min(scored.len());
        scored.select_nth_unstable_by(k - 1, |(left, _), (right, _)| left.rank(right));
        scored.truncate(k);
        let least = scored.iter().fold(f64::INFINITY, |least, (found, _)| least.min(found.score));
        Ok(Truth { rows: scored.into_iter().map(|(_, row)| row).collect(), least })
    }

    /// Rows that have to be scored again for the lower end of the recall's interval to reach the target; all rows if it cannot.
    fn needed(
        &self,
        bits: &BitCodes,
        queries: &[&[f32]],
        truths: &[Truth],
        target: f64,
    ) -> Result<usize, NearestError> {
        let mut placed = vec![0.0; self.options.dim];
        let mut query_bits = BitQuery::default();
        let (mut sums, mut scores) = (vec![0; self.offsets.len()], vec![0.0; self.offsets.len()]);
        let mut masks = vec![0; self.offsets.len() / BLOCK_ROWS];
        let mut places = Vec::new();
        for (query, truth) in queries.iter().zip(truths) {
            self.space.place_query(query, &mut placed);
            query_bits.set(&placed, &bits.rotation);
            bits.scan(&query_bits, 0, &mut sums);
            let (scale, shift) = (query_bits.scale, query_bits.shift);
            let scoring = Scoring { factors: &bits.factors, offsets: &self.offsets, scale, shift };
            Kernels::best().scores_above(&sums, &scoring, f32::INFINITY, &mut scores, &mut masks);
            let place = |row: &u32| {
                let own = scores[*row as usize];
                scores.iter().filter(|score| **score >= own).count()
            };
            places.extend(truth.rows.iter().map(place));
        }
        places.sort_unstable();
        let enough = (1..=places.len()).find(|found| wilson_low(*found, places.len()) >= target);
        Ok(enough.map_or(self.len(), |found| places[found - 1]))
    }

    /// Searches for the sample, with more effort while the recall is too low.
    fn measured(
        &mut self,
        queries: &[&[f32]],
        truths: &[Truth],
        k: usize,
        target: f64,
        originals: &dyn Originals,
    ) -> Result<Calibration, NearestError> {
        let mut scratch = Scratch::default();
        loop {
            let (mut found, mut wanted) = (0, 0);
            for (query, truth) in queries.iter().zip(truths) {
                let neighbours = self.search(query, k, None, Some(originals), &mut scratch)?;
                found += neighbours.iter().filter(|neighbour| neighbour.score >= truth.least).count();
                wanted += truth.rows.len();
            }
            let (recall, recall_low) = (found as f64 / wanted as f64, wilson_low(found, wanted));
            if recall_low >= target || self.bits.is_none() || self.rerank >= self.len() {
                let (queries, rows) = (queries.len(), self.len());
                return Ok(Calibration { target, k, queries, recall, recall_low, rows });
            }
            self.rerank = ((self.rerank as f64 * STEP).ceil() as usize).min(self.len());
        }
    }

    fn scan_cost_ns(&self) -> f64 {
        let bytes = (self.len() * self.bytes.width) as f64;
        bytes * if bytes <= NEAR_BYTES { BYTE_NS_NEAR } else { BYTE_NS_FAR }
    }

    fn bits_cost_ns(&self, rerank: usize) -> f64 {
        let row = RERANK_NS + RERANK_NUMBER_NS * self.options.dim as f64;
        let scan = (self.len() * self.options.dim) as f64 / 8.0 * BIT_BYTE_NS;
        TABLES_NS + scan + rerank as f64 * row
    }
}

/// Lower end of the 95 % interval of a share: Wilson, "Probable inference" (1927).
fn wilson_low(found: usize, wanted: usize) -> f64 {
    let (n, share) = (wanted as f64, found as f64 / wanted as f64);
    let square = Z95 * Z95;
    let middle = share + square / (2.0 * n);
    let half = Z95 * (share * (1.0 - share) / n + square / (4.0 * n * n)).sqrt();
    (middle - half) / (1.0 + square / n)
}
