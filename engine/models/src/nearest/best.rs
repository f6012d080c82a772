//! The best candidates of a scan.

/// A row and its score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    pub(super) score: f32,
    pub(super) row: u32,
}

impl Candidate {
    /// Score descending, then row.
    fn rank(&self, other: &Self) -> std::cmp::Ordering {
        other.score.total_cmp(&self.score).then(self.row.cmp(&other.row))
    }
}

/// Collects candidates above a threshold that rises as better ones come, and keeps the best. It holds at most twice what it keeps
/// and one more block of rows.
#[derive(Debug, Clone, Default)]
pub(super) struct Best {
    keep: usize,
    found: Vec<Candidate>,
    threshold: f32,
}

impl Best {
    /// Empties it; `keep` is at least 1.
    pub(super) fn start(&mut self, keep: usize) {
        self.keep = keep.max(1);
        self.found.clear();
        self.threshold = f32::NEG_INFINITY;
    }

    /// Scores that are not above this one are not among the best.
    pub(super) fn threshold(&self) -> f32 {
        self.threshold
    }

    /// Takes the rows of a block whose bit is set; `scores` are the block's and `start` is its first row.
    pub(super) fn take(&mut self, mut mask: u64, scores: &[f32], start: usize) {
        while mask != 0 {
            let place = mask.trailing_zeros() as usize;
            mask &= mask - 1;
            self.found.push(Candidate { score: scores[place], row: (start + place) as u32 });
        }
        if self.found.len() >= 2 * self.keep {
            self.shrink();
        }
    }

    fn shrink(&mut self) {
        if self.found.len() > self.keep {
            self.found.select_nth_unstable_by(self.keep - 1, Candidate::rank);
            self.found.truncate(self.keep);
        }
        if self.found.len() == self.keep {
            self.threshold = self.found.iter().fold(f32::INFINITY, |least, found| least.min(found.score));
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
