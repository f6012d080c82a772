//! Randomisation test of interleaved pairs with the size of the effect and how many pairs would decide.

use super::signed_rank::{SignedRanks, outside, walsh_averages};
use super::{StatsError, median, sorted_pairs};

/// Most pairs of the exact distribution.
pub const MAX_EXACT_PAIRS: usize = 400;

/// Level of the interval.
const LEVEL: f64 = 0.95;

/// Half width of the interval, in log units, that decides about an effect of 5 %.
const WANTED_HALF_WIDTH: f64 = 0.05;
/// Pairs that are asked for where there are too few for an interval.
const FIRST_LOOK_PAIRS: u32 = 20;

/// Result of [`paired_test`] and [`perm_test`](super::perm_test()).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairedTest {
    /// Relative change of the candidate against the base, positive is worse: 0.1 is 10 % worse.
    pub rel: f64,
    /// Two-sided probability of such a rank sum if the sides of each pair were swapped by fair coins.
    pub p: f64,
    /// Lower end of the 95 % interval of `rel`; -1 with fewer than 6 pairs.
    pub ci_low: f64,
    /// Upper end; infinite with fewer than 6 pairs.
    pub ci_high: f64,
    /// Pairs of two numbers.
    pub pair_count: u32,
    /// Pairs after which the interval would be about 0.05 to both sides, at least `pair_count`, else at most 400.
    pub needed_pairs: u32,
    /// Pairs dropped because a number was missing.
    pub dropped_count: u32,
}

/// Tests whether the candidate of (base, candidate) pairs differs, without any assumption about the noise but that swapping
/// the two sides of a pair changes nothing when both are the same.
///
/// With d = -direction · ln(candidate / base), positive is worse: the statistic is Wilcoxon's signed rank sum (1945; zeros
/// dropped, mean ranks for ties), its distribution is counted exactly, the effect is the median of the Walsh averages (Hodges and
/// Lehmann 1963) and its interval their order statistics at the exact 95 % points of the sum without ties. The direction is -1
/// where lower values are better and 1 where higher ones are. O(n² log n) and at most n³/4 additions.
///
/// # Errors
/// [`StatsError::NotPositive`], [`StatsError::Infinite`]; [`StatsError::TooFew`] for no pairs, [`StatsError::TooMany`] beyond
/// [`MAX_EXACT_PAIRS`]; [`StatsError::Argument`] for another direction.
pub fn paired_test(pairs: &[(f64, f64)], direction: i8) -> Result<PairedTest, StatsError> {
    let function = "paired_test";
    let differences = differences(function, pairs, direction)?;
    let count = differences.len();
    if count > MAX_EXACT_PAIRS {
        return Err(StatsError::TooMany { function, what: "pairs", count, limit: MAX_EXACT_PAIRS });
    }
    let p = SignedRanks::of(&differences).two_sided();
    Ok(effect(&differences, p, outside(count, LEVEL), pairs.len() - count))
}

/// The log ratios of the pairs in ascending order, positive is worse.
pub(super) fn differences(
    function: &'static str,
    pairs: &[(f64, f64)],
    direction: i8,
) -> Result<Vec<f64>, StatsError> {
    if direction.abs() != 1 {
        return Err(StatsError::argument(function, "direction", direction, "-1 or 1"));
    }
    let pairs = sorted_pairs(function, pairs)?;
    if let Some(&(base, cand)) = pairs.iter().find(|(base, cand)| *base <= 0.0 || *cand <= 0.0) {
        return Err(StatsError::NotPositive { function, base, cand });
    }
    if pairs.is_empty() {
        return Err(StatsError::TooFew { function, what: "pairs", count: 0, least: 1 });
    }
    let worse = -f64::from(direction);
    let mut differences: Vec<f64> =
        pairs.iter().map(|(base, cand)| worse * log_ratio(*base, *cand)).collect();
    differences.sort_unstable_by(f64::total_cmp);
    Ok(differences)
}

/// ln(candidate / base). The larger is divided by the smaller, so that swapping them negates the answer exactly and 11 : 10 ties
/// with 20 : 22, as coarse clocks give them.
fn log_ratio(base: f64, cand: f64) -> f64 {
    let (small, large) = if cand < base { (cand, base) } else { (base, cand) };
    let ratio = large / small;
    let log = if ratio.is_finite() { ratio.ln() } else { large.ln() - small.ln() };
    if cand < base { -log } else { log }
}

/// The effect with its interval, which leaves out that many Walsh averages at each end.
pub(super) fn effect(
    differences: &[f64],
    p: f64,
    outside: Option<usize>,
    dropped_count: usize,
) -> PairedTest {
    let averages = walsh_averages(differences);
    let (low, high) = match outside {
        Some(outside) => (averages[outside], averages[averages.len() - 1 - outside]),
        None => (f64::NEG_INFINITY, f64::INFINITY),
    };
    let pair_count = differences.len() as u32;
    let half_width = (high - low) / 2.0;
    let wanted = if half_width.is_finite() {
        (f64::from(pair_count) * (half_width / WANTED_HALF_WIDTH).powi(2)).ceil()
    } else {
        f64::from(FIRST_LOOK_PAIRS)
    };
    let most = pair_count.max(MAX_EXACT_PAIRS as u32);
    PairedTest {
        rel: median(&averages).exp_m1(),
        p,
        ci_low: low.exp_m1(),
        ci_high: high.exp_m1(),
        pair_count,
        needed_pairs: wanted.clamp(f64::from(pair_count), f64::from(most)) as u32,
        dropped_count: dropped_count as u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::stats::testing::numbers;
    use proptest::prelude::*;

    /// The probability by trying all signs: how many of the 2^n sums are as far from the middle as the one found.
    fn enumerated(differences: &[f64]) -> f64 {
        let kept: Vec<f64> = differences.iter().copied().filter(|d| *d != 0.0).collect();
        // Twice the mean rank, from its definition.
        let rank = |of: f64| -> i64 {
            let below = kept.iter().filter(|d| d.abs() < of.abs()).count() as i64;
            let equal = kept.iter().filter(|d| d.abs() == of.abs()).count() as i64;
            2 * below + equal + 1
        };
        let ranks: Vec<i64> = kept.iter().map(|d| rank(*d)).collect();
        let found: i64 = kept.iter().zip(&ranks).map(|(d, rank)| if *d > 0.0 { *rank } else { 0 }).sum();
        let total: i64 = ranks.iter().sum();
        let (mut below, mut above) = (0, 0);
        for pattern in 0_u32..1 << kept.len() {
            let sum: i64 =
                ranks.iter().enumerate().map(|(idx, rank)| i64::from(pattern >> idx & 1) * rank).sum();
            below += u32::from(sum <= found);
            above += u32::from(sum >= found);
        }
        assert!(found <= total);
        (2.0 * f64::from(below.min(above)) / f64::from(1_u32 << kept.len())).min(1.0)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn probabilities_are_those_of_all_sign_patterns(values in prop::collection::vec((1e-3_f64..1e3, 1e-3_f64..1e3), 1..=12)) {
            let found = paired_test(&values, -1).unwrap();
            let differences: Vec<f64> = values.iter().map(|(base, cand)| cand.ln() - base.ln()).collect();
            prop_assert_eq!(found.p, enumerated(&differences));
        }

        /// Powers of two have exact logarithms in steps of ln 2, so that many differences are equal or zero.
        #[test]
        fn also_with_ties_and_zeros(steps in prop::collection::vec(-3_i32..=3, 1..=12)) {
            let pairs: Vec<(f64, f64)> = steps.iter().map(|step| (1.0, 2_f64.powi(*step))).collect();
            let found = paired_test(&pairs, -1).unwrap();
            let differences: Vec<f64> = steps.iter().map(|step| f64::from(*step)).collect();
            prop_assert_eq!(found.p, enumerated(&differences));
        }

        #[test]
        fn swapping_the_sides_mirrors_the_answer(values in prop::collection::vec((1e-3_f64..1e3, 1e-3_f64..1e3), 1..=60)) {
            let swapped: Vec<(f64, f64)> = values.iter().rev().map(|(base, cand)| (*cand, *base)).collect();
            let (found, mirror) = (paired_test(&values, -1).unwrap(), paired_test(&swapped, 1).unwrap());
            prop_assert_eq!(found, mirror);
            let mirror = paired_test(&swapped, -1).unwrap();
            prop_assert_eq!(found.p, mirror.p);
            prop_assert!((found.rel.ln_1p() + mirror.rel.ln_1p()).abs() < 1e-9);
            prop_assert_eq!(found.needed_pairs, mirror.needed_pairs);
            prop_assert!(found.ci_low <= found.rel && found.rel <= found.ci_high);
        }
    }

    #[test]
    fn a_constant_factor_is_found_as_it_is() {
        let bases: Vec<f64> = numbers(3, 20).iter().map(|value| 1.0 + value).collect();
        let pairs: Vec<(f64, f64)> = bases.iter().map(|base| (*base, base * 1.1)).collect();
        let found = paired_test(&pairs, -1).unwrap();
        assert!((found.rel - 0.1).abs() < 1e-12 && (found.ci_low - 0.1).abs() < 1e-12, "{found:?}");
        assert_eq!((found.p, found.pair_count, found.needed_pairs), (2.0_f64.powi(-19), 20, 20));
        assert!(paired_test(&pairs, 1).unwrap().rel < -0.09);
    }

    #[test]
    fn equal_ratios_tie_whatever_their_size_and_side() {
        let pairs = [(10.0, 11.0), (20.0, 22.0), (11.0, 10.0), (3.0, 3.0), (1e-308, 1e308)];
        let found = differences("paired_test", &pairs, -1).unwrap();
        assert!(found[0] == -found[2] && found[2] == found[3] && found[1] == 0.0, "{found:?}");
        assert!((found[4] - 616.0 * 10_f64.ln()).abs() < 1e-9);
    }

    #[test]
    fn few_pairs_have_no_interval() {
        let found = paired_test(&[(1.0, 2.0); 5], -1).unwrap();
        assert_eq!((found.ci_low, found.ci_high, found.needed_pairs), (-1.0, f64::INFINITY, 20));
        let found = paired_test(&[(1.0, 2.0); 6], -1).unwrap();
        assert!((found.ci_low - 1.0).abs() < 1e-12 && found.ci_high.is_finite(), "{found:?}");
    }

    #[test]
    fn four_hundred_pairs_are_exact_and_more_are_refused() {
        let pairs: Vec<(f64, f64)> = numbers(5, 401).iter().map(|value| (1.0, 1.5 + value)).collect();
        let found = paired_test(&pairs[..400], -1).unwrap();
        assert!(found.p > 0.0 && found.p < 1e-60, "{found:?}");
        assert!(matches!(paired_test(&pairs, -1), Err(StatsError::TooMany { count: 401, limit: 400, .. })));
    }

    #[test]
    fn bad_values_are_named() {
        let nan = f64::NAN;
        let found = paired_test(&[(1.0, 2.0), (nan, 1.0), (1.0, nan)], -1).unwrap();
        assert_eq!((found.pair_count, found.dropped_count), (1, 2));
        let text = paired_test(&[(1.0, 2.0), (0.0, 1.0)], -1).unwrap_err().to_string();
        assert_eq!(text, "`paired_test` found the pair of base 0 and candidate 1, expected values above 0");
        assert!(matches!(paired_test(&[(1.0, f64::INFINITY)], -1), Err(StatsError::Infinite { .. })));
        assert!(matches!(paired_test(&[(nan, 1.0)], -1), Err(StatsError::TooFew { .. })));
        assert!(matches!(paired_test(&[(1.0, 1.0)], 0), Err(StatsError::Argument { .. })));
    }
}
