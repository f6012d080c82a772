//! Median absolute deviation.

use super::{median, sorted_numbers};

/// Median of the distances from the median, not scaled; `None` if there are no numbers or one is infinite. O(n log n).
///
/// Times 1.4826 it estimates the standard deviation of a normal distribution.
#[must_use]
pub fn mad(values: &[f64]) -> Option<f64> {
    let sorted = sorted_numbers("mad", values).ok()?;
    let middle = median(&sorted);
    let mut distances: Vec<f64> = sorted.iter().map(|value| (value - middle).abs()).collect();
    distances.sort_unstable_by(f64::total_cmp);
    (!distances.is_empty()).then(|| median(&distances))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deviations_from_the_median() {
        assert_eq!(mad(&[1.0, 1.0, 2.0, 2.0, 4.0, 6.0, 9.0]), Some(1.0));
        assert_eq!(mad(&[f64::NAN, 5.0]), Some(0.0));
        assert_eq!((mad(&[]), mad(&[f64::NAN]), mad(&[1.0, f64::INFINITY])), (None, None, None));
    }
}
