//! Wilcoxon's signed rank sum: the ranks of differences, its exact null distribution, and Walsh averages.

use super::ranks::doubled_ranks;

/// The signed ranks of some differences.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SignedRanks {
    /// Doubled ranks of the absolute differences, zeros dropped.
    pub(super) ranks: Vec<u64>,
    /// Sum of the doubled ranks of the differences above zero.
    pub(super) above: u64,
}

impl SignedRanks {
    /// Ranks the differences by their absolute value (Wilcoxon, Biometrics Bulletin 1945). O(n log n).
    pub(super) fn of(differences: &[f64]) -> Self {
        let mut kept: Vec<f64> =
            differences.iter().copied().filter(|difference| *difference != 0.0).collect();
        kept.sort_unstable_by(|a, b| a.abs().total_cmp(&b.abs()));
        let absolute: Vec<f64> = kept.iter().map(|difference| difference.abs()).collect();
        let ranks = doubled_ranks(&absolute);
        let above = kept.iter().zip(&ranks).filter(|(difference, _)| **difference > 0.0);
        let above = above.map(|(_, rank)| rank).sum();
        SignedRanks { ranks, above }
    }

    /// The smaller of the sums on both sides; the sum is distributed symmetrically, so that this is all its tail needs.
    pub(super) fn smaller_sum(&self) -> u64 {
        self.above.min(self.ranks.iter().sum::<u64>() - self.above)
    }

    /// Probability of a sum at least as far from its middle when every sign is a fair coin, counted exactly; 1 without
    /// differences. O(n w) for the smaller sum w.
    pub(super) fn two_sided(&self) -> f64 {
        let limit = self.smaller_sum();
        let counts = if self.ranks.iter().all(|rank| rank % 2 == 0) {
            patterns(self.ranks.iter().map(|rank| rank / 2), limit / 2)
        } else {
            patterns(self.ranks.iter().copied(), limit)
        };
        (2.0 * counts.iter().sum::<f64>() * halves(self.ranks.len())).min(1.0)
    }
}

/// How many sign patterns give the sums 0..=limit: one pass over the sums for each rank. Exact below 2^53 patterns, then
/// rounded to 53 bits; 400 ranks stay below the largest double.
fn patterns(ranks: impl Iterator<Item = u64>, limit: u64) -> Vec<f64> {
    let mut counts = vec![0.0; limit as usize + 1];
    counts[0] = 1.0;
    let mut reach = 0;
    for rank in ranks {
        let rank = rank as usize;
        reach = (reach + rank).min(limit as usize);
        for sum in (rank..=reach).rev() {
            counts[sum] += counts[sum - rank];
        }
    }
    counts
}

/// 2^-count.
fn halves(count: usize) -> f64 {
    0.5_f64.powi(count as i32)
}

/// How many of the smallest (and of the largest) Walsh averages of `count` differences lie outside the interval that holds the
/// centre with a probability of at least `level`; `None` where even all of them are too few. O(n³) at most, n ≤ 400.
pub(super) fn outside(count: usize, level: f64) -> Option<usize> {
    let tail = (1.0 - level) / 2.0;
    let counts = patterns(1..=count as u64, (count * (count + 1) / 4) as u64);
    let scale = halves(count);
    let mut sum = 0.0;
    let first_above = counts.iter().position(|patterns| {
        sum += patterns * scale;
        sum > tail
    })?;
    first_above.checked_sub(1)
}

/// The averages (d_i + d_j) / 2 of all i ≤ j in ascending order (Walsh 1949). O(n² log n).
pub(super) fn walsh_averages(differences: &[f64]) -> Vec<f64> {
    let mut averages = Vec::with_capacity(differences.len() * (differences.len() + 1) / 2);
    for (idx, first) in differences.iter().enumerate() {
        averages.extend(differences[idx..].iter().map(|second| first.midpoint(*second)));
    }
    averages.sort_unstable_by(f64::total_cmp);
    averages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_without_zeros_and_with_ties() {
        let found = SignedRanks::of(&[0.0, -1.0, 3.0, 1.0, 2.0]);
        assert_eq!(found, SignedRanks { ranks: vec![3, 3, 6, 8], above: 17 });
        assert_eq!(found.smaller_sum(), 3);
        // Sums of at most 3 of 16 patterns: none, either of the tied pair.
        assert_eq!(found.two_sided(), 2.0 * 3.0 / 16.0);
    }

    #[test]
    fn no_difference_is_no_evidence() {
        assert_eq!(SignedRanks::of(&[0.0, 0.0]).two_sided(), 1.0);
        assert_eq!(SignedRanks::of(&[]).two_sided(), 1.0);
    }

    #[test]
    fn all_patterns_are_counted() {
        let counts = patterns(1..=10, 55);
        assert_eq!(counts.iter().sum::<f64>(), 1024.0);
        assert!(patterns(1..=400, 40_100).iter().sum::<f64>().is_finite());
    }

    /// Critical values of the printed tables of the signed rank test, two-sided 5 %.
    #[test]
    fn order_statistics_of_the_tables() {
        let tables = [(5, None), (6, Some(0)), (8, Some(3)), (10, Some(8)), (20, Some(52)), (50, Some(434))];
        for (count, expected) in tables {
            assert_eq!(outside(count, 0.95), expected, "{count} differences");
        }
    }
}
