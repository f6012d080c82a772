//! The paired test for any number of pairs.

use super::paired_test::{MAX_EXACT_PAIRS, PairedTest, differences, effect, paired_test};
use super::random::SplitMix64;
use super::signed_rank::SignedRanks;
use super::{StatsError, sorted_pairs};

/// Most pairs of the test with drawn sign patterns; they have two million Walsh averages and take about half a second.
pub const MAX_DRAWN_PAIRS: usize = 2_000;

const DRAWS: usize = 99_999;

/// [`paired_test`] where lower is better. Beyond [`MAX_EXACT_PAIRS`] pairs the exact distribution of the rank sum is replaced by
/// 99,999 sign patterns drawn from `seed`; the pattern found counts among them, so that p is at least 2e-5 (Phipson and Smyth
/// 2010). O(100,000 n + n² log n) then.
///
/// # Errors
/// As [`paired_test`], with [`MAX_DRAWN_PAIRS`] as the limit.
pub fn perm_test(pairs: &[(f64, f64)], seed: u64) -> Result<PairedTest, StatsError> {
    let function = "perm_test";
    let kept = sorted_pairs(function, pairs)?;
    let dropped_count = pairs.len() - kept.len();
    let count = kept.len();
    if count <= MAX_EXACT_PAIRS {
        let dropped_count = dropped_count as u32;
        return Ok(PairedTest { dropped_count, ..paired_test(&kept, -1)? });
    }
    if count > MAX_DRAWN_PAIRS {
        return Err(StatsError::TooMany { function, what: "pairs", count, limit: MAX_DRAWN_PAIRS });
    }
    let differences = differences(function, &kept, -1)?;
    let found = SignedRanks::of(&differences);
    let mut random = SplitMix64::new(seed);
    let sums = drawn_sums(&found.ranks, &mut random);
    let smaller = found.smaller_sum();
    // The distribution is symmetric: the smaller tail is the lower one of the smaller sum.
    let as_far = 1 + sums.partition_point(|sum| *sum <= smaller);
    let p = (2.0 * as_far as f64 / (DRAWS + 1) as f64).min(1.0);
    let untied: Vec<u64> = (1..=count as u64).collect();
    let untied = drawn_sums(&untied, &mut random);
    let outside = untied[DRAWS / 40].checked_sub(1).map(|outside| outside as usize);
    Ok(effect(&differences, p, outside, dropped_count))
}

/// Ascending sums of the ranks above zero under random signs.
fn drawn_sums(ranks: &[u64], random: &mut SplitMix64) -> Vec<u64> {
    let draw = |_| {
        let mut sum = 0;
        for chunk in ranks.chunks(64) {
            let mut signs = random.next();
            for rank in chunk {
                sum += rank & (signs & 1).wrapping_neg();
                signs >>= 1;
            }
        }
        sum
    };
    let mut sums: Vec<u64> = (0..DRAWS).map(draw).collect();
    sums.sort_unstable();
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::stats::testing::numbers;

    /// Pairs with noise of about 30 % and a candidate worse by `factor`.
    fn pairs(count: usize, factor: f64) -> Vec<(f64, f64)> {
        let values = numbers(11, 2 * count);
        values.chunks(2).map(|two| (1.0 + two[0], (1.0 + two[1]) * factor)).collect()
    }

    #[test]
    fn few_pairs_are_exact() {
        let pairs = pairs(60, 1.1);
        assert_eq!(perm_test(&pairs, 1).unwrap(), paired_test(&pairs, -1).unwrap());
        assert_eq!(perm_test(&pairs, 1).unwrap(), perm_test(&pairs, 2).unwrap());
    }

    #[test]
    fn drawn_patterns_agree_with_the_exact_ones() {
        let many = pairs(401, 1.02);
        let exact = paired_test(&many[..400], -1).unwrap();
        let drawn = perm_test(&many, 1).unwrap();
        assert!(exact.p > 0.01 && (exact.p - drawn.p).abs() < 0.1, "{exact:?} {drawn:?}");
        assert!((exact.ci_low - drawn.ci_low).abs() < 0.01 && (exact.ci_high - drawn.ci_high).abs() < 0.01);
        assert_eq!(drawn, perm_test(&many, 1).unwrap());
        assert_ne!(drawn.p, perm_test(&many, 2).unwrap().p);
        let sure = perm_test(&pairs(500, 1.5), 1).unwrap();
        assert_eq!((sure.p, sure.pair_count, sure.needed_pairs), (2.0 / 100_000.0, 500, 500));
    }

    /// The middle of the drawn sums is the middle of the exact ones, and the points that the interval needs are near
    /// those of the normal approximation.
    #[test]
    fn drawn_sums_have_the_right_spread() {
        let ranks: Vec<u64> = (1..=500).collect();
        let sums = drawn_sums(&ranks, &mut SplitMix64::new(3));
        let (mean, deviation) = (62_625.0, (500.0 * 501.0 * 1001.0 / 24.0_f64).sqrt());
        assert!((sums[DRAWS / 2] as f64 - mean).abs() < 0.02 * deviation);
        assert!((sums[DRAWS / 40] as f64 - (mean - 1.96 * deviation)).abs() < 0.03 * deviation);
    }

    #[test]
    fn too_many_pairs_are_refused() {
        let many = vec![(1.0, 1.0); MAX_DRAWN_PAIRS + 1];
        assert!(matches!(perm_test(&many, 1), Err(StatsError::TooMany { limit: 2_000, .. })));
        assert!(matches!(perm_test(&[], 1), Err(StatsError::TooFew { .. })));
    }
}
