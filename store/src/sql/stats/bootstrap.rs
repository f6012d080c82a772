//! Bootstrap interval of the median.

use super::random::SplitMix64;
use super::{StatsError, median, quantile, sorted_numbers};

/// An estimate with the ends of its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// The estimate itself.
    pub mid: f64,
    /// Upper end.
    pub high: f64,
}

/// Most values of one bootstrap; 2,000 resamples of that many take about a second.
pub const MAX_BOOTSTRAP_VALUES: usize = 100_000;

const RESAMPLES: usize = 2_000;

/// Percentile bootstrap of the median (Efron 1979) with 2,000 resamples; `None` if there are no numbers. The numbers are
/// sorted first, so their order does not matter. O(2,000 n).
///
/// # Errors
/// [`StatsError::Infinite`]; [`StatsError::TooMany`] beyond [`MAX_BOOTSTRAP_VALUES`]; [`StatsError::Argument`] for a level that
/// is not between 0 and 1.
pub fn bootstrap_ci(values: &[f64], level: f64, seed: u64) -> Result<Option<Interval>, StatsError> {
    let function = "bootstrap_ci";
    if !(level > 0.0 && level < 1.0) {
        return Err(StatsError::argument(function, "level", level, "a number between 0 and 1"));
    }
    let sorted = sorted_numbers(function, values)?;
    let count = sorted.len();
    if count > MAX_BOOTSTRAP_VALUES {
        return Err(StatsError::TooMany { function, what: "values", count, limit: MAX_BOOTSTRAP_VALUES });
    }
    if count == 0 {
        return Ok(None);
    }
    let mut random = SplitMix64::new(seed);
    let mut drawn = vec![0; count];
    let mut medians = Vec::with_capacity(RESAMPLES);
    for _ in 0..RESAMPLES {
        drawn.fill_with(|| random.below(count) as u32);
        medians.push(median_of_drawn(&sorted, &mut drawn));
    }
    medians.sort_unstable_by(f64::total_cmp);
    let tail = (1.0 - level) / 2.0;
    Ok(Some(Interval {
        low: quantile(&medians, tail),
        mid: median(&sorted),
        high: quantile(&medians, 1.0 - tail),
    }))
}

/// As [`bootstrap_ci`]; `None` also where that has an error.
#[must_use]
pub fn bootstrap_median(values: &[f64], level: f64, seed: u64) -> Option<Interval> {
    bootstrap_ci(values, level, seed).ok().flatten()
}

/// Percentile bootstrap of the mean (Efron 1979) with 2,000 resamples; `None` without numbers, with one that is infinite or NaN, or
/// with more than [`MAX_BOOTSTRAP_VALUES`]. The numbers are sorted first, so their order does not matter. O(2,000 n).
#[must_use]
pub fn bootstrap_mean(values: &[f64], level: f64, seed: u64) -> Option<Interval> {
    let is_usable = !values.is_empty() && values.len() <= MAX_BOOTSTRAP_VALUES;
    if !is_usable || !values.iter().all(|value| value.is_finite()) {
        return None;
    }
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let count = sorted.len();
    let mut random = SplitMix64::new(seed);
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| (0..count).map(|_| sorted[random.below(count)]).sum::<f64>() / count as f64)
        .collect();
    means.sort_unstable_by(f64::total_cmp);
    let tail = (1.0 - level) / 2.0;
    let mid = sorted.iter().sum::<f64>() / count as f64;
    Some(Interval { low: quantile(&means, tail), mid, high: quantile(&means, 1.0 - tail) })
}

/// The median of the sorted numbers at the drawn positions, without sorting them.
fn median_of_drawn(sorted: &[f64], drawn: &mut [u32]) -> f64 {
    let middle = drawn.len() / 2;
    let is_even = drawn.len().is_multiple_of(2);
    let (below, &mut upper, _) = drawn.select_nth_unstable(middle);
    let upper = sorted[upper as usize];
    match below.iter().max() {
        Some(&lower) if is_even => sorted[lower as usize].midpoint(upper),
        _ => upper,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_holds_the_median_and_depends_on_the_seed_alone() {
        let values: Vec<f64> = (0..41).map(|idx| f64::from((idx * 17) % 41)).collect();
        let found = bootstrap_ci(&values, 0.95, 7).unwrap().unwrap();
        assert_eq!(found.mid, 20.0);
        assert!(found.low < 20.0 && found.high > 20.0 && found.low > 5.0 && found.high < 35.0, "{found:?}");
        let reversed: Vec<f64> = values.iter().rev().copied().chain([f64::NAN]).collect();
        assert_eq!(bootstrap_ci(&reversed, 0.95, 7).unwrap().unwrap(), found);
        let wide = bootstrap_ci(&values, 0.99, 7).unwrap().unwrap();
        assert!(wide.low <= found.low && wide.high >= found.high);
    }

    #[test]
    fn one_value_is_its_own_interval_and_none_has_none() {
        assert_eq!(bootstrap_median(&[3.0], 0.95, 1), Some(Interval { low: 3.0, mid: 3.0, high: 3.0 }));
        assert_eq!(bootstrap_ci(&[f64::NAN], 0.95, 1), Ok(None));
        for (values, level) in [(vec![f64::NEG_INFINITY], 0.9), (vec![1.0], 1.0), (vec![1.0], f64::NAN)] {
            assert!(bootstrap_ci(&values, level, 1).is_err());
            assert_eq!(bootstrap_median(&values, level, 1), None);
        }
        assert!(matches!(
            bootstrap_ci(&vec![0.0; MAX_BOOTSTRAP_VALUES + 1], 0.9, 1),
            Err(StatsError::TooMany { .. })
        ));
    }

    #[test]
    fn the_interval_of_a_mean_is_that_of_the_normal_law_and_of_no_order() {
        // 400 numbers of deviation 0.5: the mean's is 0.025.
        let mut values: Vec<f64> = (0..400).map(|idx| f64::from(idx % 2)).collect();
        let found = bootstrap_mean(&values, 0.95, 7).unwrap();
        assert_eq!(found.mid, 0.5);
        assert!((found.low - 0.451).abs() < 0.006 && (found.high - 0.549).abs() < 0.006, "{found:?}");
        values.reverse();
        assert_eq!(bootstrap_mean(&values, 0.95, 7).unwrap(), found);
        assert_eq!(bootstrap_mean(&[3.0], 0.95, 7).unwrap(), Interval { low: 3.0, mid: 3.0, high: 3.0 });
        assert!(
            bootstrap_mean(&[], 0.95, 7).is_none() && bootstrap_mean(&[1.0, f64::NAN], 0.95, 7).is_none()
        );
    }
}
