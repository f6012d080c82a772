//! Measuring recall, and choosing the structure by it.
//!
//! For each held-out query the true neighbours are computed from the originals. Where each of them stands in the order of the
//! 1-bit scores says at once how many rows have to be scored again to find a wanted share of all; and where their lists stand, how
//! many lists have to be looked at: no search is repeated to try a parameter. The result is then searched for and counted.

use serde::{Deserialize, Serialize};

use super::finder::{Effort, Finder};
use super::trial::Trial;
use super::{
    BITS_DIM_MIN, NearestError, Neighbour, Originals, Scratch, Structure, VectorIndex, Watch, cost, space,
};

/// Fewest rows for which lists are tried, if they are not asked for by name.
const LISTS_ROWS_MIN: usize = 2_048;
/// Standard normal quantile of the two-sided 95 % interval.
const Z95: f64 = 1.959_963_984_540_054;
/// Fewest rows for which a graph is made, if it is not asked for by name: below, lists cost less, and a graph takes minutes to make.
const GRAPH_ROWS_MIN: usize = 200_000;
/// Growth of the number of rows scored again while the recall that was counted is too low, and of the gap.
const STEP: f64 = 1.25;
const GAP_STEP: f32 = 0.02;

/// Steps of more effort without more recall after which no more is tried: what is missed then is missed by the 8-bit codes, which all
/// structures have.
const IDLE_STEPS: usize = 3;

/// A gap that no list is beyond.
const GAP_MOST: f32 = 1e9;

/// What a calibration found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
pub(super) struct Truth {
    pub(super) rows: Vec<u32>,
    /// Score of the last of them.
    least: f64,
}

/// A structure that could be chosen.
struct Choice {
    finder: Finder,
    effort: Effort,
    cost_ns: f64,
}

impl VectorIndex {
    /// Measures recall at `k` on held-out `queries` and chooses the structure with the least modelled cost whose recall reaches
    /// `target` with the lower end of its interval. If none does, it is the scan by 8-bit codes, and the calibration says what
    /// it reaches.
    ///
    /// Of so few neighbours that not even all of them would show the target (2,000 show 0.998), none may be missed, and the effort
    /// is one step above that; `recall_low` is below the target then. Only a target of 1 always takes the scan. A structure asked for
    /// by name is kept, and only its effort set. Cost: exact scores of all rows and a scan of their codes for each query, and the codes,
    /// lists and graph of the structures that are tried.
    ///
    /// # Errors
    /// [`NearestError::Sample`] without rows or queries, or with `k` 0; [`NearestError::Original`]; errors of a search;
    /// [`NearestError::Stopped`] if `watch` says so while a graph is made: the index is of no use then.
    pub fn calibrate(
        &mut self,
        queries: &[&[f32]],
        k: usize,
        target: f64,
        originals: &dyn Originals,
        watch: Watch<'_>,
    ) -> Result<Calibration, NearestError> {
        if self.is_empty() || queries.is_empty() || k == 0 {
            return Err(NearestError::Sample);
        }
        if matches!(&self.finder, Finder::Graph(graph) if graph.gone() > 0)
            && self.options.structure.is_none()
        {
            // Other structures have no place for rows that are gone.
            self.unbury();
            self.finder = self.finder_of(Structure::Graph, watch)?;
        }
        let truths: Vec<Truth> =
            queries.iter().map(|query| self.truth(query, k, originals)).collect::<Result<_, _>>()?;
        let tried = match self.options.structure {
            Some(structure) => vec![structure],
            None if self.options.dim < BITS_DIM_MIN => vec![Structure::Scan],
            None if self.len() < LISTS_ROWS_MIN => vec![Structure::Scan, Structure::Bits],
            None if self.len() < GRAPH_ROWS_MIN => vec![Structure::Scan, Structure::Bits, Structure::Lists],
            None => vec![Structure::Scan, Structure::Bits, Structure::Lists, Structure::Graph],
        };
        if tried.contains(&Structure::Graph) {
            self.lay_out(Structure::Graph);
        }
        let aim = aim_of(target, &truths);
        let mut best: Option<Choice> = None;
        for structure in tried {
            let finder = if self.structure() == structure {
                self.finder.clone()
            } else {
                self.finder_of(structure, watch)?
            };
            let choice = self.choice(finder, queries, &truths, k, aim)?;
            if best.as_ref().is_none_or(|best| choice.cost_ns < best.cost_ns) {
                best = Some(choice);
            }
        }
        let Some(Choice { finder, effort, .. }) = best else { return Err(NearestError::Sample) };
        self.effort = effort;
        self.find_by(finder);
        if aim < target {
            self.raise();
        }
        let (recall, recall_low) = self.measured(queries, &truths, k, aim, originals)?;
        let calibration =
            Calibration { target, k, queries: queries.len(), recall, recall_low, rows: self.len() };
        (self.calibration, self.churn) = (Some(calibration), 0);
        Ok(calibration)
    }

    /// Measures recall at `k` as [`Self::calibrate`] does, for a graph that is walked with `beam` rows (`ef`), and keeps to that.
    ///
    /// # Errors
    /// [`NearestError::Sample`] without rows or queries, or with `k` or `beam` 0; [`NearestError::Original`]; errors of a search.
    pub fn measure(
        &mut self,
        beam: usize,
        queries: &[&[f32]],
        k: usize,
        originals: &dyn Originals,
    ) -> Result<Calibration, NearestError> {
        if self.is_empty() || queries.is_empty() || k == 0 || beam == 0 {
            return Err(NearestError::Sample);
        }
        let truths: Vec<Truth> =
            queries.iter().map(|query| self.truth(query, k, originals)).collect::<Result<_, _>>()?;
        self.effort = Effort { rerank: self.effort.rerank.max(k), k, beam, ..self.effort };
        let (recall, recall_low) = self.measured(queries, &truths, k, 0.0, originals)?;
        let calibration =
            Calibration { target: 0.0, k, queries: queries.len(), recall, recall_low, rows: self.len() };
        (self.calibration, self.churn) = (Some(calibration), 0);
        Ok(calibration)
    }

    /// One step more effort.
    fn raise(&mut self) {
        self.effort.rerank = more(self.effort.rerank).min(self.len());
        self.effort.beam = more(self.effort.beam).min(self.len());
        self.effort.gap += GAP_STEP;
    }

    /// A structure with the effort that reaches the target, and its cost.
    fn choice(
        &self,
        finder: Finder,
        queries: &[&[f32]],
        truths: &[Truth],
        k: usize,
        target: f64,
    ) -> Result<Choice, NearestError> {
        let (rows, dim) = (self.len(), self.options.dim);
        let structure = finder.structure();
        if structure == Structure::Scan {
            return Ok(Choice {
                finder,
                effort: self.effort,
                cost_ns: cost::scan_ns(rows, self.bytes.width),
            });
        }
        if structure == Structure::Graph {
            let (beam, scored) = self.beam_reaching(&finder, queries, truths, k, target)?;
            let effort = Effort { rerank: k, k, beam, ..self.effort };
            return Ok(Choice { finder, effort, cost_ns: cost::graph_ns(dim, scored) });
        }
        let reaching = Trial::new(self, &finder, queries, truths)?.reaching(target);
        let costs = reaching.iter().map(|reaching| {
            let lists = if let Finder::Lists(lists) = &finder { lists.count() } else { 0 };
            (cost::bits_ns(dim, lists, reaching), reaching)
        });
        let least = costs.min_by(|left, right| left.0.total_cmp(&right.0));
        let Some((cost_ns, reaching)) = least else {
            let effort = Effort { rerank: rows.max(k), k, gap: GAP_MOST, ..self.effort };
            return Ok(Choice { finder, effort, cost_ns: f64::INFINITY });
        };
        let effort = Effort { rerank: reaching.rerank.max(k), k, gap: reaching.gap, ..self.effort };
        Ok(Choice { finder, effort, cost_ns })
    }

    /// The `k` best rows by exact scores.
    fn truth(&self, query: &[f32], k: usize, originals: &dyn Originals) -> Result<Truth, NearestError> {
        space::check(query, self.options.dim)?;
        let norm = space::norm(query);
        let mut scored = Vec::with_capacity(self.len());
        for (row, id) in self.rows.ids().iter().enumerate() {
            if matches!(&self.finder, Finder::Graph(graph) if !graph.is_present(row)) {
                continue;
            }
            let vector = originals.vector(*id).ok_or(NearestError::Original { id: *id })?;
            scored.push((Neighbour { id: *id, score: self.space.exact(query, norm, vector) }, row as u32));
        }
        let k = k.min(scored.len());
        scored.select_nth_unstable_by(k - 1, |(left, _), (right, _)| left.rank(right));
        scored.truncate(k);
        let least = scored.iter().fold(f64::INFINITY, |least, (found, _)| least.min(found.score));
        Ok(Truth { rows: scored.into_iter().map(|(_, row)| row).collect(), least })
    }

    /// Searches for the sample, with more effort while the recall is too low and rises. Returns it with the lower end of its interval.
    fn measured(
        &mut self,
        queries: &[&[f32]],
        truths: &[Truth],
        k: usize,
        target: f64,
        originals: &dyn Originals,
    ) -> Result<(f64, f64), NearestError> {
        let mut scratch = Scratch::default();
        let (mut most, mut idle) = (0.0, 0);
        loop {
            let mut found = Vec::with_capacity(queries.len());
            for (query, truth) in queries.iter().zip(truths) {
                let neighbours = self.search(query, k, None, Some(originals), &mut scratch)?;
                let good = neighbours.iter().filter(|neighbour| neighbour.score >= truth.least);
                found.push((good.count().min(truth.rows.len()), truth.rows.len()));
            }
            let (recall, recall_low) = recall_of(found.into_iter());
            let effort =
                if self.structure() == Structure::Graph { self.effort.beam } else { self.effort.rerank };
            let is_all = effort >= self.len();
            idle = if recall > most { 0 } else { idle + 1 };
            most = recall.max(most);
            let is_done = recall_low >= target || is_all || idle == IDLE_STEPS;
            if is_done || self.structure() == Structure::Scan {
                return Ok((recall, recall_low));
            }
            self.raise();
        }
    }
}

/// What the lower end of the recall's interval has to reach: the target, or what it is if no neighbour of the sample is missed.
fn aim_of(target: f64, truths: &[Truth]) -> f64 {
    let all = truths.iter().map(|truth| (truth.rows.len(), truth.rows.len()));
    let (_, most) = recall_of(all);
    if target < 1.0 { target.min(most) } else { target }
}

/// The next greater effort.
pub(super) fn more(effort: usize) -> usize {
    (effort as f64 * STEP).ceil() as usize
}

/// Recall and the lower end of its interval, from how many of how many neighbours each query found. Neighbours of one query are missed
/// together, so that they count for less than as many queries: by the design effect of Kish, "Survey sampling" (1965), section 5.4.
pub(super) fn recall_of(queries: impl Iterator<Item = (usize, usize)> + Clone) -> (f64, f64) {
    let (count, found, wanted) =
        queries.clone().fold((0, 0, 0), |sum, one| (sum.0 + 1, sum.1 + one.0, sum.2 + one.1));
    let share = found as f64 / wanted as f64;
    let squares: f64 = queries.map(|(found, wanted)| (found as f64 - share * wanted as f64).powi(2)).sum();
    // The variance of the sum over the variance if all neighbours were independent.
    let independent = wanted as f64 * share * (1.0 - share);
    let effect = squares / independent * count as f64 / (count as f64 - 1.0);
    let effect = if effect.is_finite() { effect.max(1.0) } else { 1.0 };
    (share, wilson_low(share, wanted as f64 / effect))
}

/// Lower end of the 95 % interval of a share: Wilson, "Probable inference" (1927).
fn wilson_low(share: f64, count: f64) -> f64 {
    let square = Z95 * Z95;
    let middle = share + square / (2.0 * count);
    let half = Z95 * (share * (1.0 - share) / count + square / (4.0 * count * count)).sqrt();
    (middle - half) / (1.0 + square / count)
}
