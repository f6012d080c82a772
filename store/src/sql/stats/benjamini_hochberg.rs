//! Correction for many tests.

/// Adjusted probabilities in the order given (Benjamini and Hochberg, Journal of the Royal Statistical Society B 1995): rejecting
/// all with at most q keeps the expected share of false rejections at q. A probability that is not a number counts as 1.
/// O(n log n).
#[must_use]
pub fn benjamini_hochberg(probabilities: &[f64]) -> Vec<f64> {
    let count = probabilities.len();
    let known: Vec<f64> = probabilities.iter().map(|p| if p.is_nan() { 1.0 } else { *p }).collect();
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|a, b| known[*a].total_cmp(&known[*b]));
    let mut adjusted = vec![1.0; count];
    let mut least = 1.0_f64;
    for (rank, idx) in order.into_iter().enumerate().rev() {
        least = least.min(known[idx] * count as f64 / (rank + 1) as f64);
        adjusted[idx] = least;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adjusted_by_hand() {
        assert_eq!(benjamini_hochberg(&[0.04, 0.01, 0.03, f64::NAN]), [0.16 / 3.0, 0.04, 0.16 / 3.0, 1.0]);
        assert!(benjamini_hochberg(&[]).is_empty());
        assert_eq!(benjamini_hochberg(&[0.2]), [0.2]);
    }
}
