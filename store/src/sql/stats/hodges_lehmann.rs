//! Shift between two groups.

use super::{StatsError, sorted_numbers};

/// Most differences between two groups.
const MAX_DIFFERENCES: usize = 4_000_000;

/// Median of all differences candidate - base (Hodges and Lehmann, Annals of Mathematical Statistics 1963); `None` if either
/// side has no numbers. O(n m).
///
/// # Errors
/// [`StatsError::Infinite`]; [`StatsError::TooMany`] beyond four million differences.
pub fn hodges_lehmann(base: &[f64], cand: &[f64]) -> Result<Option<f64>, StatsError> {
    let function = "hodges_lehmann";
    let (base, cand) = (sorted_numbers(function, base)?, sorted_numbers(function, cand)?);
    let count = base.len().saturating_mul(cand.len());
    if count > MAX_DIFFERENCES {
        return Err(StatsError::TooMany { function, what: "differences", count, limit: MAX_DIFFERENCES });
    }
    if count == 0 {
        return Ok(None);
    }
    let mut differences = Vec::with_capacity(count);
    for base in &base {
        differences.extend(cand.iter().map(|cand| cand - base));
    }
    let (below, &mut upper, _) = differences.select_nth_unstable_by(count / 2, f64::total_cmp);
    let lower = below.iter().copied().max_by(f64::total_cmp);
    Ok(Some(match lower {
        Some(lower) if count.is_multiple_of(2) => lower.midpoint(upper),
        _ => upper,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::stats::median;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_median_of_all_differences(base in prop::collection::vec(-1e3_f64..1e3, 1..20), cand in prop::collection::vec(-1e3_f64..1e3, 1..20)) {
            let mut all: Vec<f64> = base.iter().flat_map(|base| cand.iter().map(move |cand| cand - base)).collect();
            all.sort_unstable_by(f64::total_cmp);
            prop_assert_eq!(hodges_lehmann(&base, &cand), Ok(Some(median(&all))));
        }
    }

    #[test]
    fn empty_and_overfull_groups() {
        assert_eq!(hodges_lehmann(&[], &[1.0]), Ok(None));
        assert_eq!(hodges_lehmann(&[1.0], &[f64::NAN]), Ok(None));
        assert!(hodges_lehmann(&[1.0], &[f64::INFINITY]).is_err());
        let many = vec![1.0; 2_001];
        assert!(matches!(hodges_lehmann(&many, &many), Err(StatsError::TooMany { count: 4_004_001, .. })));
    }
}
