//! Verdicts over the pairs of all benchmarks of a run: the rule of `queries/gates/paired.sql`, for deciding which benchmarks need more
//! pairs while they are measured.

use promptc_store::sql::stats::{PairedTest, StatsError, benjamini_hochberg, paired_test};

/// Limits of the rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rule {
    /// Smallest relative change that matters.
    pub min_effect: f64,
    /// Largest corrected probability of a false alarm.
    pub alpha: f64,
}

impl Default for Rule {
    fn default() -> Self {
        Self { min_effect: 0.05, alpha: 0.01 }
    }
}

/// One benchmark, judged among all of its run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    /// The test of its pairs.
    pub test: PairedTest,
    /// The probability corrected for all benchmarks of the run (Benjamini and Hochberg 1995).
    pub q: f64,
    /// `regression`, `improvement`, `no_change`, `cannot_tell`.
    pub verdict: &'static str,
}

impl Judged {
    /// Whether more pairs could change the answer.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.verdict == CANNOT_TELL
    }
}

const CANNOT_TELL: &str = "cannot_tell";

/// Judges the pairs (base, candidate) of every benchmark of a run. An effect below the smallest that matters has probability 1, so
/// that it never takes part of the correction from others.
///
/// # Errors
/// Values that are no positive numbers, or no pairs at all for a benchmark.
pub(super) fn judge(benchmarks: &[(&[(f64, f64)], i8)], rule: Rule) -> Result<Vec<Judged>, StatsError> {
    let tests: Vec<PairedTest> = benchmarks
        .iter()
        .map(|(pairs, direction)| paired_test(pairs, *direction))
        .collect::<Result<_, _>>()?;
    let raw = |test: &PairedTest| if test.rel.abs() < rule.min_effect { 1.0 } else { test.p };
    let corrected = benjamini_hochberg(&tests.iter().map(raw).collect::<Vec<f64>>());
    let judged = tests.into_iter().zip(corrected).map(|(test, q)| Judged {
        test,
        q,
        verdict: verdict(&test, q, rule),
    });
    Ok(judged.collect())
}

fn verdict(test: &PairedTest, q: f64, rule: Rule) -> &'static str {
    if test.rel > rule.min_effect && q <= rule.alpha {
        "regression"
    } else if test.rel < -rule.min_effect && q <= rule.alpha {
        "improvement"
    } else if test.ci_low > -rule.min_effect && test.ci_high < rule.min_effect {
        "no_change"
    } else {
        CANNOT_TELL
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Random;

    /// Pairs with noise of about this relative size, the candidate slower by `factor`.
    fn pairs(seed: u64, count: usize, noise: f64, factor: f64) -> Vec<(f64, f64)> {
        let mut random = Random::new(seed);
        let mut unit = || random.next() as f64 / u64::MAX as f64 - 0.5;
        (0..count)
            .map(|_| (100.0 * (noise * unit()).exp(), 100.0 * factor * (noise * unit()).exp()))
            .collect()
    }

    #[test]
    fn slow_fast_same_and_noisy_are_told_apart() {
        let all = [
            pairs(1, 40, 0.05, 1.2),
            pairs(2, 40, 0.05, 0.8),
            pairs(3, 40, 0.05, 1.0),
            pairs(4, 20, 2.0, 1.0),
            pairs(5, 3, 0.05, 1.5),
        ];
        let benchmarks: Vec<(&[(f64, f64)], i8)> = all.iter().map(|pairs| (pairs.as_slice(), -1)).collect();
        let judged = judge(&benchmarks, Rule::default()).unwrap();
        let verdicts: Vec<&str> = judged.iter().map(|judged| judged.verdict).collect();
        assert_eq!(verdicts, ["regression", "improvement", "no_change", "cannot_tell", "cannot_tell"]);
        assert!((judged[0].test.rel - 0.2).abs() < 0.03, "{:?}", judged[0]);
        assert!(judged[3].is_open() && judged[3].test.needed_pairs > 20);
    }

    #[test]
    fn where_more_is_better_the_same_numbers_are_an_improvement() {
        let pairs = pairs(1, 40, 0.05, 1.2);
        assert_eq!(judge(&[(&pairs, 1)], Rule::default()).unwrap()[0].verdict, "improvement");
    }

    #[test]
    fn many_equal_benchmarks_raise_no_alarm() {
        let all: Vec<_> = (0..200).map(|seed| pairs(seed, 20, 0.2, 1.0)).collect();
        let benchmarks: Vec<(&[(f64, f64)], i8)> = all.iter().map(|pairs| (pairs.as_slice(), -1)).collect();
        let judged = judge(&benchmarks, Rule::default()).unwrap();
        assert!(judged.iter().all(|judged| !matches!(judged.verdict, "regression" | "improvement")));
    }
}
