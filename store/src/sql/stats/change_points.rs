//! Change points of a series: E-divisive means in windows, then a merge by t-tests.
//!
//! The method is Hunter's (Fleming et al., "Hunter: Using Change Point Detection to Hunt for Performance Regressions", ICPE 2023)
//! on the statistic of Matteson and James ("A Nonparametric Approach for Multiple Change Point Analysis of Multivariate Data",
//! 2014), as in Apache Otava 0.8. [`Mode::Otava`] finds exactly its points. Three things are different in [`Mode::Default`]: it
//! looks at logarithms, so that twice as slow and twice as fast weigh the same; its t-test uses sample deviations, where those of
//! a population make the test too sure; and the merge divides the level by the number of places where a point could be. In 1,000
//! flat series of 200 values with noise of 2 % at p = 0.001 that leaves 2 false points where Otava's rules leave 175; a step of
//! 5 % is found after 8 values as often (94 %), after 4 less often (57 % for 85 %). Single wild values still count as short levels.
//!
//! ```text
//!  points -> one median per seq -> windows: split while the best place passes 10 p -> union -> merge until all pass p
//! ```

mod divisive;
mod t_test;

use self::divisive::split_window;
use self::t_test::{Segment, TTest};
use super::{StatsError, median, sorted_pairs};

/// Shortest series with change points.
const MIN_VALUES: usize = 8;

/// Longest series: a tenth of a second of work with the usual window.
const MAX_VALUES: usize = 100_000;

/// Longest window: its matrices take 24 MB.
const MAX_WINDOW: usize = 1_000;

/// Which rules decide about a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Mode {
    /// Logarithms, sample deviations, level divided by the number of places.
    #[default]
    Default,
    /// The rules of Apache Otava 0.8, for comparison.
    Otava,
}

impl Mode {
    /// The mode that a text names: `default` or `otava`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "default" => Some(Mode::Default),
            "otava" => Some(Mode::Otava),
            _ => None,
        }
    }
}

/// A place where a series moved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChangePoint {
    /// First seq of the new level.
    pub seq: u32,
    /// Mean after over mean before, minus one; infinite where the mean before is 0.
    pub rel: f64,
    /// Two-sided probability of the t-test between the segments before and after, for this place alone.
    pub p: f64,
    /// Mean of the segment before: geometric where all values of the series are above 0, arithmetic in mode `otava` and else.
    pub mean_before: f64,
    /// Mean of the segment after.
    pub mean_after: f64,
}

/// The change points of (seq, value) points in ascending order; several values at one seq are replaced by their median. Series
/// of fewer than 8 values have none. Points whose change is at most `min_rel`, as 0.02, are not reported. Values of 0 and below
/// have no logarithm: a series with one of them is judged as it is. O(n w) for a window of w, half a
/// microsecond a value at 50.
///
/// # Errors
/// [`StatsError::Infinite`]; [`StatsError::TooMany`] beyond 100,000 values; [`StatsError::Argument`] for a window outside
/// 2..=1000, a `p` outside 0..1 and a negative `min_rel`.
pub fn change_points(
    points: &[(u32, f64)],
    window: usize,
    p: f64,
    min_rel: f64,
    mode: Mode,
) -> Result<Vec<ChangePoint>, StatsError> {
    let function = "change_points";
    if !(2..=MAX_WINDOW).contains(&window) {
        return Err(StatsError::argument(function, "window", window, "2 to 1000"));
    }
    if !(p > 0.0 && p < 1.0) {
        return Err(StatsError::argument(function, "p", p, "a number between 0 and 1"));
    }
    if !(min_rel >= 0.0 && min_rel.is_finite()) {
        return Err(StatsError::argument(function, "min_rel", min_rel, "0 or more"));
    }
    let (seqs, values) = medians(function, points)?;
    let count = values.len();
    if count > MAX_VALUES {
        return Err(StatsError::TooMany { function, what: "values", count, limit: MAX_VALUES });
    }
    if count < MIN_VALUES {
        return Ok(Vec::new());
    }
    let series = Series::new(&values, mode);
    let weak = series.split(window, first_level(p));
    let found = series.merge(weak, p, min_rel);
    let of = |(at, test): (usize, TTest)| {
        let (mean_before, mean_after) = series.means(&test);
        let rel = mean_after / mean_before - 1.0;
        ChangePoint { seq: seqs[at], rel, p: test.p, mean_before, mean_after }
    };
    Ok(found.into_iter().map(of).collect())
}

/// The seqs in ascending order with the median of their values.
fn medians(function: &'static str, points: &[(u32, f64)]) -> Result<(Vec<u32>, Vec<f64>), StatsError> {
    let pairs: Vec<(f64, f64)> = points.iter().map(|(seq, value)| (f64::from(*seq), *value)).collect();
    let sorted = sorted_pairs(function, &pairs)?;
    let same_seq = sorted.chunk_by(|a, b| a.0 == b.0).map(|chunk| {
        let values: Vec<f64> = chunk.iter().map(|(_, value)| *value).collect();
        (chunk[0].0 as u32, median(&values))
    });
    Ok(same_seq.unzip())
}

/// Level of the first pass: points that it lets through can still fall in the merge.
fn first_level(p: f64) -> f64 {
    match p {
        p if p < 0.05 => 10.0 * p,
        p if p < 0.5 => 2.0 * p,
        p => p,
    }
}

/// The values as they are compared.
struct Series {
    values: Vec<f64>,
    is_log: bool,
    mode: Mode,
}

impl Series {
    fn new(values: &[f64], mode: Mode) -> Self {
        let is_log = mode == Mode::Default && values.iter().all(|value| *value > 0.0);
        let values = if is_log { values.iter().map(|value| value.ln()).collect() } else { values.to_vec() };
        Series { values, is_log, mode }
    }

    /// Places found in overlapping windows, in ascending order.
    fn split(&self, window: usize, level: f64) -> Vec<usize> {
        let mut places = Vec::new();
        let mut start = 0;
        while start < self.values.len() {
            let end = (start + window).min(self.values.len());
            let found = split_window(&self.values[start..end], level, self.mode);
            let last = found.last().map_or(0, |place| start + place);
            places.extend(found.into_iter().map(|place| start + place));
            start = last.max(start + window / 2);
        }
        places.sort_unstable();
        places.dedup();
        places
    }

    /// The test at each place between the segments that it parts.
    fn test(&self, places: &[usize], idx: usize) -> TTest {
        let start = idx.checked_sub(1).map_or(0, |before| places[before]);
        let end = places.get(idx + 1).copied().unwrap_or(self.values.len());
        let (left, right) = self.values[start..end].split_at(places[idx] - start);
        TTest::of(Segment::of(left), Segment::of(right), self.mode)
    }

    /// Removes the weakest place until all that are left pass.
    fn merge(&self, mut places: Vec<usize>, p: f64, min_rel: f64) -> Vec<(usize, TTest)> {
        let level = match self.mode {
            Mode::Otava => p,
            Mode::Default => p / (self.values.len() - 1) as f64,
        };
        let mut tests: Vec<TTest> = (0..places.len()).map(|idx| self.test(&places, idx)).collect();
        while let Some(mut weakest) = first_best(&tests, |a, b| a.p > b.p) {
            if tests[weakest].p < level {
                let change = |test: &TTest| self.magnitude(test);
                weakest = first_best(&tests, |a, b| change(a) < change(b)).unwrap_or(weakest);
                if change(&tests[weakest]) > min_rel {
                    break;
                }
            }
            places.remove(weakest);
            tests.remove(weakest);
            // Its neighbours now part longer segments. Otava leaves the one before as it was and looks at the two after.
            let neighbours = match self.mode {
                Mode::Default => weakest.saturating_sub(1)..weakest + 1,
                Mode::Otava => weakest..weakest + 2,
            };
            for idx in neighbours.filter(|idx| *idx < places.len()) {
                tests[idx] = self.test(&places, idx);
            }
        }
        places.into_iter().zip(tests).collect()
    }

    /// The larger of the relative changes forwards and backwards.
    fn magnitude(&self, test: &TTest) -> f64 {
        let (before, after) = self.means(test);
        let change = |from: f64, to: f64| if from == 0.0 { 0.0 } else { (to / from - 1.0).abs() };
        change(before, after).max(change(after, before))
    }

    /// The means before and after in the unit of the values.
    fn means(&self, test: &TTest) -> (f64, f64) {
        let (before, after) = (test.before, test.after);
        if self.is_log { (before.exp(), after.exp()) } else { (before, after) }
    }
}

/// The first element that no later one beats.
fn first_best<T>(all: &[T], beats: impl Fn(&T, &T) -> bool) -> Option<usize> {
    let better = |best: usize, idx: usize| if beats(&all[idx], &all[best]) { idx } else { best };
    (0..all.len()).reduce(better)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::stats::testing::numbers;

    /// Values with noise of some 1 % and a factor from `at` on.
    fn stepped(count: usize, at: usize, factor: f64) -> Vec<(u32, f64)> {
        let noise = numbers(4, count);
        let value = |idx: usize| (if idx < at { 1.0 } else { factor }) * (100.0 + 4.0 * noise[idx] - 2.0);
        (0..count).map(|idx| (idx as u32 * 3 + 7, value(idx))).collect()
    }

    fn found(points: &[(u32, f64)]) -> Vec<ChangePoint> {
        change_points(points, 50, 0.001, 0.0, Mode::Default).unwrap()
    }

    #[test]
    fn a_step_is_found_where_it_is_with_its_size() {
        let points = stepped(120, 70, 1.12);
        let [point] = found(&points)[..] else { panic!("{:?}", found(&points)) };
        assert_eq!(point.seq, 70 * 3 + 7);
        assert!((point.rel - 0.12).abs() < 0.005 && point.p < 1e-30, "{point:?}");
        assert!((point.mean_after / point.mean_before - 1.0 - point.rel).abs() < 1e-12);
        assert!((point.mean_before - 100.0).abs() < 0.5, "{point:?}");
        assert_eq!(change_points(&points, 50, 0.001, 0.15, Mode::Default), Ok(vec![]));
    }

    #[test]
    fn order_and_repeats_do_not_matter() {
        let points = stepped(120, 70, 0.8);
        let expected = found(&points);
        assert_eq!(expected.len(), 1);
        let mut more: Vec<(u32, f64)> = points.iter().rev().copied().collect();
        // Two wild values beside three right ones leave the median as it is.
        for (seq, value) in &points {
            more.extend([(*seq, *value), (*seq, *value), (*seq, 1e9), (*seq, 1e-9), (*seq, f64::NAN)]);
        }
        assert_eq!(found(&more), expected);
    }

    /// Logarithms make up and down the same: the points of the reciprocal series are the same ones.
    #[test]
    fn factors_are_symmetric() {
        let points = stepped(150, 60, 1.05);
        let turned: Vec<(u32, f64)> = points.iter().map(|(seq, value)| (*seq, 1.0 / value)).collect();
        let (up, down) = (found(&points), found(&turned));
        assert_eq!(up.len(), 1);
        assert_eq!(up.len(), down.len());
        assert_eq!(up[0].seq, down[0].seq);
        assert!(((1.0 + up[0].rel) * (1.0 + down[0].rel) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn series_with_zeros_are_judged_as_they_are() {
        let points: Vec<(u32, f64)> = (0..40).map(|seq| (seq, if seq < 25 { 0.0 } else { 3.0 })).collect();
        let [point] = found(&points)[..] else { panic!("{:?}", found(&points)) };
        assert_eq!((point.seq, point.p, point.rel), (25, 0.0, f64::INFINITY));
        assert_eq!((point.mean_before, point.mean_after), (0.0, 3.0));
    }

    #[test]
    fn short_and_constant_series_have_no_points() {
        assert_eq!(found(&stepped(7, 3, 5.0)), []);
        assert_eq!(found(&stepped(8, 4, 5.0)).len(), 1);
        assert_eq!(found(&[]), []);
        let flat: Vec<(u32, f64)> = (0..100).map(|seq| (seq, 5.0)).collect();
        for mode in [Mode::Default, Mode::Otava] {
            assert_eq!(change_points(&flat, 50, 0.001, 0.0, mode), Ok(vec![]));
        }
    }

    #[test]
    fn bad_arguments_are_named() {
        let of = |window, p, min_rel| change_points(&[], window, p, min_rel, Mode::Default).is_err();
        assert!(of(1, 0.1, 0.0) && of(1_001, 0.1, 0.0) && of(50, 0.0, 0.0) && of(50, 1.0, 0.0));
        assert!(of(50, f64::NAN, 0.0) && of(50, 0.1, -0.1) && of(50, 0.1, f64::INFINITY) && !of(2, 0.9, 0.0));
        let infinite = change_points(&[(1, f64::INFINITY)], 50, 0.1, 0.0, Mode::Default);
        assert!(matches!(infinite, Err(StatsError::Infinite { .. })));
        assert_eq!((Mode::parse("otava"), Mode::parse("hunter")), (Some(Mode::Otava), None));
    }
}
