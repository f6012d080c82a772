//! Quantiles of sorted numbers.

/// Median of ascending numbers: the middle one or the mean of the two in the middle; not a number if there are none. O(1).
#[must_use]
pub fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => sorted[middle],
        _ => sorted[middle - 1].midpoint(sorted[middle]),
    }
}

/// Quantile `p` in 0..=1 of ascending numbers by linear interpolation between order statistics (type 7 of Hyndman and Fan,
/// The American Statistician 1996); `p` outside is taken as the nearest end. Not a number if there are none. O(1).
#[must_use]
pub fn quantile(sorted: &[f64], p: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let position = last as f64 * p.clamp(0.0, 1.0);
    let below = position.floor() as usize;
    let share = position - below as f64;
    let (low, high) = (sorted[below], sorted[(below + 1).min(last)]);
    // From the nearer end, so that the last share of the way does not step over it.
    if share < 0.5 { low + (high - low) * share } else { high - (high - low) * (1.0 - share) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_quantiles_by_hand() {
        assert_eq!((median(&[3.0]), median(&[1.0, 4.0]), median(&[1.0, 2.0, 9.0])), (3.0, 2.5, 2.0));
        let sorted = [1.0, 2.0, 4.0, 8.0, 16.0];
        let found: Vec<f64> = [-1.0, 0.0, 0.1, 0.25, 0.5, 0.9, 1.0].map(|p| quantile(&sorted, p)).into();
        assert_eq!(found, [1.0, 1.0, 1.4, 2.0, 4.0, 12.8, 16.0]);
        assert_eq!(median(&[f64::MAX, f64::MAX]), f64::MAX);
    }

    #[test]
    fn nothing_has_no_median() {
        assert!(median(&[]).is_nan() && quantile(&[], 0.5).is_nan());
    }
}
