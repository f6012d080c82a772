//! Ranks of numbers with ties.

/// Ranks of ascending numbers, doubled so that the mean rank of equal numbers is a whole number. O(n).
pub(super) fn doubled_ranks(sorted: &[f64]) -> Vec<u64> {
    let mut ranks = Vec::with_capacity(sorted.len());
    for run in runs(sorted) {
        // First rank + last rank of the run, counted from 1.
        ranks.extend(run.clone().map(|_| (run.start + 1 + run.end) as u64));
    }
    ranks
}

/// Ranges of equal numbers among ascending ones.
pub(super) fn runs(sorted: &[f64]) -> impl Iterator<Item = std::ops::Range<usize>> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let first = *sorted.get(start)?;
        let length = sorted[start..].iter().take_while(|value| **value == first).count();
        start += length;
        Some(start - length..start)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_numbers_share_their_mean_rank() {
        assert_eq!(doubled_ranks(&[0.5, 1.0, 1.0, 2.0, 2.0, 2.0]), [2, 5, 5, 10, 10, 10]);
        assert!(doubled_ranks(&[]).is_empty());
        assert_eq!(runs(&[-0.0, 0.0, 1.0]).collect::<Vec<_>>(), [0..2, 2..3]);
    }
}
