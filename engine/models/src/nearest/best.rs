//! The best candidates of a scan.

/// A row with its score, as one number: the greater the better, equal scores by row ascending. Comparing whole numbers is what a
/// selection spends its time on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Candidate(u64);

impl Candidate {
    pub(super) fn new(score: f32, row: u32) -> Self {
        let bits = score.to_bits();
        // The order of the floats as that of whole numbers: negative ones turned round, below the others.
        let ordered = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
        Self(u64::from(ordered) << 32 | u64::from(!row))
    }

    pub(super) fn score(self) -> f32 {
        let ordered = (self.0 >> 32) as u32;
        f32::from_bits(if ordered >> 31 == 1 { ordered ^ 1 << 31 } else { !ordered })
    }

    pub(super) fn row(self) -> u32 {
        !(self.0 as u32)
    }
}

/// The `count` greatest first, in no order; at least one, at most all.
pub(super) fn select(candidates: &mut [Candidate], count: usize) {
    candidates.select_nth_unstable_by(count - 1, |left, right| right.cmp(left));
}

/// Candidates that it holds for each that it keeps, before it drops the others: fewer selections against more to select from.
const HELD: usize = 3;

/// Collects candidates above a threshold that rises as better ones come. It holds at most [`HELD`] times what it keeps and one more
/// block of rows.
#[derive(Debug, Clone, Default)]
pub(super) struct Best {
    keep: usize,
    found: Vec<Candidate>,
    threshold: f32,
}

impl Best {
    /// Empties it; `keep` is at least 1. Scores up to `threshold` are not taken.
    pub(super) fn start(&mut self, keep: usize, threshold: f32) {
        self.keep = keep.max(1);
        self.found.clear();
        self.threshold = threshold;
    }

    /// How many it keeps.
    pub(super) fn keep(&self) -> usize {
        self.keep
    }

    /// How many it has.
    pub(super) fn len(&self) -> usize {
        self.found.len()
    }

    /// Scores that are not above this one are not among the best.
    pub(super) fn threshold(&self) -> f32 {
        self.threshold
    }

    /// Takes the rows of a block whose bit is set; `scores`, raised by `lift`, are the block's and `start` is its first row.
    pub(super) fn take(&mut self, mut mask: u64, scores: &[f32], lift: f32, start: usize) {
        while mask != 0 {
            let place = mask.trailing_zeros() as usize;
            mask &= mask - 1;
            self.found.push(Candidate::new(lift + scores[place], (start + place) as u32));
        }
        if self.found.len() >= HELD * self.keep {
            self.shrink();
        }
    }

    /// Takes one candidate, if it is above the threshold.
    pub(super) fn push(&mut self, candidate: Candidate) {
        if candidate.score() > self.threshold {
            self.found.push(candidate);
            if self.found.len() >= HELD * self.keep {
                self.shrink();
            }
        }
    }

    fn shrink(&mut self) {
        if self.found.len() >= self.keep {
            select(&mut self.found, self.keep);
            self.found.truncate(self.keep);
            self.threshold = self.found[self.keep - 1].score();
        }
    }

    /// The best, in no order.
    pub(super) fn finish(&mut self) -> &mut Vec<Candidate> {
        self.shrink();
        &mut self.found
    }

    /// Keeps fewer of them.
    pub(super) fn keep_fewer(&mut self, keep: usize) {
        self.keep = keep.max(1);
        self.shrink();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_keep_score_and_row_and_their_order() {
        let scores = [f32::NEG_INFINITY, -1e30, -1.5, -1e-40, -0.0, 0.0, 1e-40, 2.5, 1e30, f32::INFINITY];
        for pair in scores.windows(2) {
            let (low, high) = (Candidate::new(pair[0], 3), Candidate::new(pair[1], 4));
            assert!(low < high, "{pair:?}");
            assert_eq!((low.score().to_bits(), low.row()), (pair[0].to_bits(), 3));
            assert_eq!((high.score().to_bits(), high.row()), (pair[1].to_bits(), 4));
        }
        assert!(Candidate::new(1.0, 7) > Candidate::new(1.0, 8));
    }

    #[test]
    fn the_best_of_all_blocks_are_kept() {
        let scores: Vec<f32> = (0..640_u32).map(|row| (row * 7_919 % 641) as f32).collect();
        let mut best = Best::default();
        best.start(10, f32::NEG_INFINITY);
        for (idx, scores) in scores.chunks(64).enumerate() {
            let above = |(place, score): (usize, &f32)| u64::from(*score > best.threshold()) << place;
            let mask = scores.iter().enumerate().map(above).fold(0, |mask, bit| mask | bit);
            best.take(mask, scores, 0.0, idx * 64);
        }
        let mut wanted = scores.clone();
        wanted.sort_by(|left, right| right.total_cmp(left));
        let mut found: Vec<f32> = best.finish().iter().map(|found| found.score()).collect();
        found.sort_by(|left, right| right.total_cmp(left));
        assert_eq!(found, wanted[..10]);
    }
}
