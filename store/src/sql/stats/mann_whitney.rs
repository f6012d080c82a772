//! Rank test of two unpaired groups.

use super::distributions::normal_two_sided;
use super::ranks::{doubled_ranks, runs};
use super::{StatsError, median, sorted_numbers};

/// Most values of both groups together.
const MAX_VALUES: usize = 10_000_000;

/// Largest group of the exact distribution.
const MAX_EXACT: usize = 8;

/// Result of [`mann_whitney`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MannWhitney {
    /// Pairs of a base and a candidate value in which the candidate is larger; equal ones count half.
    pub u: f64,
    /// Distance of `u` from its middle in standard deviations, half a step nearer; positive where candidates are larger.
    pub z: f64,
    /// Two-sided probability of such a `u` if both groups come from one distribution.
    pub p: f64,
    /// Median of the candidates over the median of the bases, minus one; infinite or not a number where that is zero.
    pub rel: f64,
    /// Values dropped because they are missing.
    pub dropped_count: u32,
}

/// Mann and Whitney's test (Annals of Mathematical Statistics 1947): mean ranks, variance corrected for ties, continuity
/// correction; the exact distribution where both groups have at most 8 values and no two are equal. `None` if either side has
/// no numbers. O(n log n).
///
/// # Errors
/// [`StatsError::Infinite`]; [`StatsError::TooMany`] beyond ten million values.
pub fn mann_whitney(base: &[f64], cand: &[f64]) -> Result<Option<MannWhitney>, StatsError> {
    let function = "mann_whitney";
    let given = base.len() + cand.len();
    if given > MAX_VALUES {
        return Err(StatsError::TooMany { function, what: "values", count: given, limit: MAX_VALUES });
    }
    let (base, cand) = (sorted_numbers(function, base)?, sorted_numbers(function, cand)?);
    if base.is_empty() || cand.is_empty() {
        return Ok(None);
    }
    let mut all: Vec<(f64, bool)> =
        base.iter().map(|value| (*value, false)).chain(cand.iter().map(|value| (*value, true))).collect();
    all.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let values: Vec<f64> = all.iter().map(|(value, _)| *value).collect();
    let ranks = doubled_ranks(&values);
    let rank_sum: u64 =
        all.iter().zip(&ranks).filter(|((_, is_cand), _)| *is_cand).map(|(_, rank)| rank).sum();
    let doubled_u = rank_sum - (cand.len() * (cand.len() + 1)) as u64;
    let u = doubled_u as f64 / 2.0;

    let ties: f64 = runs(&values).map(|run| run.len() as f64).map(|t| t * t * t - t).sum();
    let (n, m, all) = (base.len() as f64, cand.len() as f64, values.len() as f64);
    let variance = n * m / 12.0 * ((all + 1.0) - ties / (all * (all - 1.0)));
    let off = u - n * m / 2.0;
    let nearer = off.signum() * (off.abs() - 0.5).max(0.0);
    let z = if nearer == 0.0 { 0.0 } else { nearer / variance.sqrt() };
    let is_exact = base.len().max(cand.len()) <= MAX_EXACT && ties == 0.0;
    let p = if is_exact { exact(base.len(), cand.len(), doubled_u / 2) } else { normal_two_sided(z) };
    let rel = median(&cand) / median(&base) - 1.0;
    Ok(Some(MannWhitney { u, z, p, rel, dropped_count: (given - values.len()) as u32 }))
}

/// Two-sided probability of `u` among all ways to choose which m of n + m distinct values are candidates.
fn exact(n: usize, m: usize, u: u64) -> f64 {
    // ways[chosen][sum of their ranks, counted from 0, less 0 + 1 + ... below `chosen`]: the u of that choice.
    let mut ways = vec![vec![0_u64; n * m + 1]; m + 1];
    ways[0][0] = 1;
    for rank in 0..n + m {
        for chosen in (1..=m.min(rank + 1)).rev() {
            // The value of this rank beats all below it but the chosen ones.
            let beaten = rank + 1 - chosen;
            for u in (beaten..=n * m).rev() {
                ways[chosen][u] += ways[chosen - 1][u - beaten];
            }
        }
    }
    let smaller = (u as usize).min(n * m - u as usize);
    let tail: u64 = ways[m][..=smaller].iter().sum();
    (2.0 * tail as f64 / ways[m].iter().sum::<u64>() as f64).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn u_counts_pairs_and_sides_mirror(base in prop::collection::vec(0_i32..9, 1..15), cand in prop::collection::vec(0_i32..9, 1..15)) {
            let floats = |values: &[i32]| values.iter().map(|value| f64::from(*value)).collect::<Vec<_>>();
            let (base, cand) = (floats(&base), floats(&cand));
            let wins = |b: &f64, c: &f64| if c > b { 1.0 } else if c == b { 0.5 } else { 0.0 };
            let expected: f64 = base.iter().flat_map(|b| cand.iter().map(move |c| wins(b, c))).sum();
            let found = mann_whitney(&base, &cand).unwrap().unwrap();
            prop_assert_eq!(found.u, expected);
            let mirror = mann_whitney(&cand, &base).unwrap().unwrap();
            prop_assert_eq!((found.z, found.p), (-mirror.z, mirror.p));
            prop_assert!((0.0..=1.0).contains(&found.p));
        }

        /// All ways to deal the ranks, each equally likely.
        #[test]
        fn small_groups_are_exact(values in Just((1..=8).map(f64::from).collect::<Vec<_>>()).prop_shuffle(), n in 1_usize..8) {
            let (base, cand) = values.split_at(n);
            let found = mann_whitney(base, cand).unwrap().unwrap();
            let u_of = |is_cand: u32| -> i32 {
                let larger = |idx: u32| (0..idx).filter(|below| is_cand >> below & 1 == 0).count() as i32;
                (0..8).filter(|idx| is_cand >> idx & 1 == 1).map(larger).sum()
            };
            let all: Vec<i32> = (0_u32..256).filter(|deal| deal.count_ones() as usize == 8 - n).map(u_of).collect();
            let count = |is_in: &dyn Fn(i32) -> bool| all.iter().filter(|u| is_in(**u)).count() as f64;
            let u = found.u as i32;
            let tail = count(&|other| other <= u).min(count(&|other| other >= u));
            prop_assert_eq!(found.p, (2.0 * tail / all.len() as f64).min(1.0));
        }
    }

    #[test]
    fn equal_values_are_no_evidence() {
        let found = mann_whitney(&[2.0; 9], &[2.0; 4]).unwrap().unwrap();
        assert_eq!((found.z, found.p, found.rel), (0.0, 1.0, 0.0));
    }

    #[test]
    fn empty_and_infinite_groups() {
        assert_eq!(mann_whitney(&[], &[1.0]), Ok(None));
        assert_eq!(mann_whitney(&[1.0], &[f64::NAN]), Ok(None));
        assert!(mann_whitney(&[f64::INFINITY], &[1.0]).is_err());
        assert_eq!(mann_whitney(&[1.0, f64::NAN], &[1.0]).unwrap().unwrap().dropped_count, 1);
    }
}
