//! Robust slope of one number over another.

use super::distributions::{normal_quantile, normal_two_sided};
use super::ranks::runs;
use super::{StatsError, median, sorted_pairs};

/// Most points; they have eight million slopes.
const MAX_POINTS: usize = 4_000;

/// Level of the interval.
const LEVEL: f64 = 0.95;

/// Result of [`theil_sen`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TheilSen {
    /// Median of the slopes between all pairs of points with different x.
    pub slope: f64,
    /// Lower end of its 95 % interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Two-sided probability of such an association of x and y by chance.
    pub p: f64,
    /// Points dropped because a number is missing.
    pub dropped_count: u32,
}

/// Theil and Sen's slope of (x, y) points (Sen, Journal of the American Statistical Association 1968); `None` if there are no two
/// points with different x. The interval takes order statistics of the slopes by the normal approximation of Kendall's S with
/// Sen's variance; p is that of S with the variance corrected for ties on both axes (Kendall, Rank Correlation Methods), without
/// continuity correction, and 1 for two points. O(n²).
///
/// # Errors
/// [`StatsError::Infinite`]; [`StatsError::TooMany`] beyond 4,000 points.
pub fn theil_sen(points: &[(f64, f64)]) -> Result<Option<TheilSen>, StatsError> {
    let function = "theil_sen";
    let sorted = sorted_pairs(function, points)?;
    let count = sorted.len();
    if count > MAX_POINTS {
        return Err(StatsError::TooMany { function, what: "points", count, limit: MAX_POINTS });
    }
    let mut slopes = Vec::new();
    let mut concordant = 0_i64;
    for (idx, (x, y)) in sorted.iter().enumerate() {
        // Ascending: every later x is larger or equal.
        for (next_x, next_y) in sorted[idx + 1..].iter().filter(|(next_x, _)| next_x > x) {
            slopes.push((next_y - y) / (next_x - x));
            concordant += i64::from(next_y > y) - i64::from(next_y < y);
        }
    }
    if slopes.is_empty() {
        return Ok(None);
    }
    let ties = Ties::of(&sorted);
    let half = normal_quantile(0.5 + LEVEL / 2.0) * ties.sen_variance().sqrt();
    let last = slopes.len() - 1;
    let low = (((slopes.len() as f64 - half) / 2.0).round_ties_even() - 1.0).max(0.0) as usize;
    let high = ((slopes.len() as f64 + half) / 2.0).round_ties_even() as usize;
    let z = concordant as f64 / ties.kendall_variance().sqrt();
    // Four order statistics, without sorting millions of slopes.
    let mut at = |rank: usize| *slopes.select_nth_unstable_by(rank, f64::total_cmp).1;
    let middle = [at(last / 2), at(last.div_ceil(2))];
    Ok(Some(TheilSen {
        slope: median(&middle),
        low: at(low.min(last)),
        high: at(high.min(last)),
        p: if z.is_nan() || count == 2 { 1.0 } else { normal_two_sided(z) },
        dropped_count: (points.len() - count) as u32,
    }))
}

/// Sums over the runs of equal numbers on both axes: t(t-1)(2t+5), t(t-1), t(t-1)(t-2).
struct Ties {
    count: f64,
    x: [f64; 3],
    y: [f64; 3],
}

impl Ties {
    fn of(sorted: &[(f64, f64)]) -> Self {
        let x: Vec<f64> = sorted.iter().map(|(x, _)| *x).collect();
        let mut y: Vec<f64> = sorted.iter().map(|(_, y)| *y).collect();
        y.sort_unstable_by(f64::total_cmp);
        Ties { count: sorted.len() as f64, x: sums(&x), y: sums(&y) }
    }

    fn sen_variance(&self) -> f64 {
        let n = self.count;
        ((n * (n - 1.0) * (2.0 * n + 5.0) - self.x[0] - self.y[0]) / 18.0).max(0.0)
    }

    fn kendall_variance(&self) -> f64 {
        let n = self.count;
        let pairs = n * (n - 1.0);
        let third = if n > 2.0 { self.x[2] * self.y[2] / (9.0 * pairs * (n - 2.0)) } else { 0.0 };
        self.sen_variance() + self.x[1] * self.y[1] / (2.0 * pairs) + third
    }
}

fn sums(sorted: &[f64]) -> [f64; 3] {
    let mut sums = [0.0; 3];
    for run in runs(sorted) {
        let t = run.len() as f64;
        let pairs = t * (t - 1.0);
        let terms = [pairs * (2.0 * t + 5.0), pairs, pairs * (t - 2.0)];
        sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::stats::testing::numbers;

    #[test]
    fn a_line_with_wild_points_keeps_its_slope() {
        let mut points: Vec<(f64, f64)> = (0..40).map(|x| (f64::from(x), 3.0 * f64::from(x) + 1.0)).collect();
        for idx in [3, 17, 30] {
            points[idx].1 = 1e6;
        }
        let found = theil_sen(&points).unwrap().unwrap();
        assert!((found.slope - 3.0).abs() < 1e-9 && found.low <= 3.0 && found.high >= 3.0, "{found:?}");
        assert!(found.p < 1e-12);
        points.reverse();
        assert_eq!(theil_sen(&points).unwrap().unwrap(), found);
    }

    #[test]
    fn noise_has_no_slope() {
        let points: Vec<(f64, f64)> =
            numbers(2, 200).into_iter().enumerate().map(|(x, y)| (x as f64, y)).collect();
        let found = theil_sen(&points).unwrap().unwrap();
        assert!(found.low < 0.0 && found.high > 0.0 && found.p > 0.05, "{found:?}");
    }

    #[test]
    fn degenerate_points() {
        assert_eq!(theil_sen(&[]), Ok(None));
        assert_eq!(theil_sen(&[(1.0, 2.0), (1.0, 3.0), (f64::NAN, 1.0)]), Ok(None));
        let flat = theil_sen(&[(1.0, 2.0), (2.0, 2.0), (3.0, 2.0)]).unwrap().unwrap();
        assert_eq!((flat.slope, flat.low, flat.high, flat.p), (0.0, 0.0, 0.0, 1.0));
        let two = theil_sen(&[(1.0, 2.0), (2.0, 4.0)]).unwrap().unwrap();
        assert_eq!((two.slope, two.p), (2.0, 1.0));
        assert!(theil_sen(&[(1.0, f64::NEG_INFINITY)]).is_err());
        assert!(matches!(theil_sen(&vec![(1.0, 1.0); 4_001]), Err(StatsError::TooMany { .. })));
    }
}
