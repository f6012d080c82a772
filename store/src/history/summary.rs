//! Samples in short: centre, spread, quantiles, outliers, and an interval for the median.

use super::rows::Summary;
use crate::sql::stats::{self, quantile};

/// Level of the interval of the median.
const CI_LEVEL: f64 = 0.95;
/// Interquartile ranges beyond the quartiles at which a sample is an outlier (Tukey, Exploratory Data Analysis, 1977).
const FENCE: f64 = 1.5;

/// The summary of `values`, which are in any order. Values that are not finite are left out. A quantile p above the median
/// is given only from `10 / (1 - p)` samples on, one below it from `10 / p` on. Quantiles interpolate linearly (Hyndman and
/// Fan 1996, type 7). Cost: a sort, and 2,000 resamples of the values.
#[must_use]
pub fn summary(values: &[f64], seed: u64) -> Summary {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let n_samples = u32::try_from(sorted.len()).unwrap_or(u32::MAX);
    let (Some(&min), Some(&max)) = (sorted.first(), sorted.last()) else { return Summary::default() };
    let median = quantile(&sorted, 0.5);
    let mean = mean(&sorted);
    let mut deviations: Vec<f64> = sorted.iter().map(|value| (value - median).abs()).collect();
    deviations.sort_by(f64::total_cmp);
    let at = |p: f64| (sorted.len() as f64 >= samples_needed(p)).then(|| quantile(&sorted, p));
    let (q1, q3) = (quantile(&sorted, 0.25), quantile(&sorted, 0.75));
    let (low_fence, high_fence) = (q1 - FENCE * (q3 - q1), q3 + FENCE * (q3 - q1));
    let outside = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let interval = interval_of_median(&sorted, CI_LEVEL, seed);
    Summary {
        n_samples,
        median: Some(median),
        mean: Some(mean),
        stddev: stddev(&sorted, mean),
        mad: Some(quantile(&deviations, 0.5)),
        min: Some(min),
        max: Some(max),
        p05: at(0.05),
        p25: at(0.25),
        p75: at(0.75),
        p90: at(0.90),
        p95: at(0.95),
        p99: at(0.99),
        p999: at(0.999),
        ci_low: interval.map(|(low, _)| low),
        ci_high: interval.map(|(_, high)| high),
        ci_level: interval.map(|_| CI_LEVEL),
        outliers_low: outside(sorted.iter().filter(|value| **value < low_fence).count()),
        outliers_high: outside(sorted.iter().filter(|value| **value > high_fence).count()),
    }
}

/// Samples from which on the quantile p says something: ten of them beyond it.
fn samples_needed(p: f64) -> f64 {
    // Rounded, since 1 - 0.9 is a little more than 0.1 and would ask for 101 samples.
    (10.0 / p.min(1.0 - p)).round()
}

/// Around the smallest value, so that large values with a small spread lose nothing; exact order, one result.
fn mean(sorted: &[f64]) -> f64 {
    let origin = sorted[0];
    origin + sorted.iter().map(|value| value - origin).sum::<f64>() / sorted.len() as f64
}

/// Sample standard deviation; none below two values.
fn stddev(sorted: &[f64], mean: f64) -> Option<f64> {
    let squares: f64 = sorted.iter().map(|value| (value - mean).powi(2)).sum();
    (sorted.len() > 1).then(|| (squares / (sorted.len() - 1) as f64).sqrt())
}

/// Interval of the median; none below two values, and none beyond [`stats::MAX_BOOTSTRAP_VALUES`].
fn interval_of_median(sorted: &[f64], level: f64, seed: u64) -> Option<(f64, f64)> {
    let interval = if sorted.len() < 2 { None } else { stats::bootstrap_median(sorted, level, seed) };
    interval.map(|interval| (interval.low, interval.high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_values_and_one_value() {
        assert_eq!(summary(&[], 1), Summary::default());
        assert_eq!(summary(&[f64::NAN, f64::INFINITY], 1), Summary::default());
        let one = summary(&[4.0], 1);
        assert_eq!(
            (one.n_samples, one.median, one.mad, one.stddev, one.ci_low),
            (1, Some(4.0), Some(0.0), None, None)
        );
    }

    #[test]
    fn known_values_of_a_small_list() {
        let summary = summary(&[5.0, 1.0, 2.0, 4.0, 3.0, 100.0], 1);
        assert_eq!(summary.median, Some(3.5));
        assert_eq!(summary.mad, Some(1.5));
        assert!((summary.mean.unwrap() - 115.0 / 6.0).abs() < 1e-12);
        assert!((summary.stddev.unwrap() - 39.625_328_6).abs() < 1e-6);
        assert_eq!((summary.outliers_low, summary.outliers_high), (0, 1));
        assert_eq!((summary.p25, summary.p90), (None, None));
    }

    #[test]
    fn quantiles_appear_with_enough_samples() {
        let values = |count: u32| (0..count).map(f64::from).collect::<Vec<_>>();
        for (count, p25, p90, p05, p99, p999) in [
            (39, false, false, false, false, false),
            (40, true, false, false, false, false),
            (100, true, true, false, false, false),
            (200, true, true, true, false, false),
            (1_000, true, true, true, true, false),
            (10_000, true, true, true, true, true),
        ] {
            let found = summary(&values(count), 1);
            let seen =
                [found.p25, found.p90, found.p05, found.p99, found.p999].map(|quantile| quantile.is_some());
            assert_eq!(seen, [p25, p90, p05, p99, p999], "{count}");
            assert_eq!((found.p75.is_some(), found.p95.is_some()), (p25, p05), "{count}");
        }
        assert_eq!(summary(&values(101), 1).p90, Some(90.0));
    }

    #[test]
    fn the_interval_holds_the_median_and_depends_on_the_seed_alone() {
        let values: Vec<f64> = (0..200).map(|idx| f64::from((idx * 37) % 200).sqrt()).collect();
        let mut turned = values.clone();
        turned.rotate_left(77);
        let first = summary(&values, 7);
        assert_eq!(first, summary(&turned, 7));
        let (low, high) = (first.ci_low.unwrap(), first.ci_high.unwrap());
        let median = first.median.unwrap();
        assert!(low < median && median < high && high - low < 2.0, "{low} {high}");
        assert_ne!(first, summary(&values, 8));
    }
}
