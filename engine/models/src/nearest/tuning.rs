//! What calibration found out, kept apart from the index: an index that is built again need not be measured again.

use serde::{Deserialize, Serialize};

use super::finder::Effort;
use super::{BITS_DIM_MIN, Calibration, NearestError, Structure, VectorIndex, Watch};

/// Share of the rows that came, went or changed, above which a recall that was measured says little.
const CHANGED_MOST: f64 = 0.1;

/// The choice of a calibration. Built from the same rows in the same order and with the same options, an index that takes it gives the
/// same ids and scores as the one that it comes from, if no row came, went or changed there since.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tuning {
    /// How candidates are found.
    pub structure: Structure,
    /// Rows of 1-bit codes whose 8-bit scores are computed for as many neighbours as the calibration says.
    pub rerank: usize,
    /// How far below the best lists a list may rank and still be looked at, in lengths of the query times the spread of the rows.
    pub gap: f32,
    /// Best rows that a walk through the graph keeps: `ef`.
    pub beam: usize,
    /// What was measured.
    pub calibration: Calibration,
    /// Rows that came, went or changed since then.
    pub changes: usize,
}

impl VectorIndex {
    /// What the last calibration chose; `None` before the first.
    pub fn tuning(&self) -> Option<Tuning> {
        let calibration = self.calibration?;
        let Effort { rerank, gap, beam, .. } = self.effort;
        Some(Tuning { structure: self.structure(), rerank, gap, beam, calibration, changes: self.churn })
    }

    /// Takes the structure and effort of an earlier calibration. Cost: where the structure is another one, its codes are made from the
    /// 8-bit codes.
    ///
    /// # Errors
    /// [`NearestError::Tuning`] if the index has another structure by name or a number is out of range, [`NearestError::Short`] if the
    /// vectors are too short for the structure; the index is as it was. [`NearestError::Stopped`] if `watch` says so:
    /// the index is of no use then.
    pub fn apply(&mut self, tuning: &Tuning, watch: Watch<'_>) -> Result<(), NearestError> {
        let Tuning { structure, rerank, gap, beam, calibration, changes } = *tuning;
        let is_asked_for = self.options.structure.is_none_or(|wanted| wanted == structure);
        if !is_asked_for || rerank == 0 || beam == 0 || calibration.k == 0 || !gap.is_finite() {
            return Err(NearestError::Tuning);
        }
        if structure.has_bits() && self.options.dim < BITS_DIM_MIN {
            return Err(NearestError::Short { dim: self.options.dim });
        }
        if structure != self.structure() {
            self.unbury();
            self.lay_out(structure);
            let finder = self.finder_of(structure, watch)?;
            self.find_by(finder);
        }
        self.effort = Effort { rerank, k: calibration.k, gap, beam };
        (self.calibration, self.churn) = (Some(calibration), changes);
        Ok(())
    }

    /// Whether recall should be measured again: it never was, or more than a tenth of the rows came, went or changed since.
    pub fn needs_calibration(&self) -> bool {
        match &self.calibration {
            Some(then) => {
                let changed = self.churn.max(self.len().abs_diff(then.rows));
                changed as f64 > CHANGED_MOST * then.rows as f64
            }
            None => !self.is_empty(),
        }
    }
}
