//! Statistics of the benchmark history: pure functions over numbers, one file each.
//!
//! Every function gives the same answer for the same values in any order. A value that is not a number counts as missing and is
//! dropped; an infinite one is an error. Where there is nothing to compute from, the answer is `None` or
//! [`StatsError::TooFew`], never a number. Random numbers come from the seed argument alone.
//!
//! Knows nothing of SQL, columns and files; `functions` makes aggregates of these.

mod benjamini_hochberg;
mod bootstrap;
mod change_points;
mod distributions;
mod hodges_lehmann;
mod mad;
mod mann_whitney;
mod paired_test;
mod perm_test;
mod quantile;
mod random;
mod ranks;
mod signed_rank;
mod theil_sen;
mod wilson;

pub use benjamini_hochberg::benjamini_hochberg;
pub use bootstrap::{Interval, MAX_BOOTSTRAP_VALUES, bootstrap_ci, bootstrap_mean, bootstrap_median};
pub use change_points::{ChangePoint, Mode, change_points};
pub use hodges_lehmann::hodges_lehmann;
pub use mad::mad;
pub use mann_whitney::{MannWhitney, mann_whitney};
pub use paired_test::{MAX_EXACT_PAIRS, PairedTest, paired_test};
pub use perm_test::{MAX_DRAWN_PAIRS, perm_test};
pub use quantile::{median, quantile};
pub use theil_sen::{TheilSen, theil_sen};
pub use wilson::wilson;

/// Why a statistic has no answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum StatsError {
    /// A value is infinite.
    #[error("`{function}` found the value {value}, expected finite numbers")]
    Infinite {
        /// Name of the statistic.
        function: &'static str,
        /// The value.
        value: f64,
    },
    /// A pair has no ratio.
    #[error("`{function}` found the pair of base {base} and candidate {cand}, expected values above 0")]
    NotPositive {
        /// Name of the statistic.
        function: &'static str,
        /// Value of the base side.
        base: f64,
        /// Value of the candidate side.
        cand: f64,
    },
    /// More values than the statistic takes.
    #[error("`{function}` found {count} {what}, expected at most {limit}")]
    TooMany {
        /// Name of the statistic.
        function: &'static str,
        /// What is counted.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many it takes.
        limit: usize,
    },
    /// Nothing to compute from.
    #[error("`{function}` found {count} {what}, expected at least {least}")]
    TooFew {
        /// Name of the statistic.
        function: &'static str,
        /// What is counted.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many it takes.
        least: usize,
    },
    /// An argument that makes no sense.
    #[error("`{function}` found {name} = {value}, expected {expected}")]
    Argument {
        /// Name of the statistic.
        function: &'static str,
        /// Name of the argument.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it can be.
        expected: &'static str,
    },
}

impl StatsError {
    fn argument(
        function: &'static str,
        name: &'static str,
        value: impl ToString,
        expected: &'static str,
    ) -> Self {
        StatsError::Argument { function, name, value: value.to_string(), expected }
    }
}

/// The numbers among `values` in ascending order, without those that are missing.
fn sorted_numbers(function: &'static str, values: &[f64]) -> Result<Vec<f64>, StatsError> {
    if let Some(&value) = values.iter().find(|value| value.is_infinite()) {
        return Err(StatsError::Infinite { function, value });
    }
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    Ok(sorted)
}

/// The pairs of which both numbers are there, in ascending order.
fn sorted_pairs(function: &'static str, pairs: &[(f64, f64)]) -> Result<Vec<(f64, f64)>, StatsError> {
    let infinite = pairs.iter().flat_map(|&(a, b)| [a, b]).find(|value| value.is_infinite());
    if let Some(value) = infinite {
        return Err(StatsError::Infinite { function, value });
    }
    let mut sorted: Vec<(f64, f64)> =
        pairs.iter().copied().filter(|(a, b)| !a.is_nan() && !b.is_nan()).collect();
    sorted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    Ok(sorted)
}

#[cfg(test)]
mod testing {
    use super::random::SplitMix64;

    /// Numbers in 0..1 from a seed.
    pub(super) fn numbers(seed: u64, count: usize) -> Vec<f64> {
        let mut random = SplitMix64::new(seed);
        (0..count).map(|_| (random.next() >> 11) as f64 / (1_u64 << 53) as f64).collect()
    }
}
