//! The best places to part a window of a series, by the distances between its values.

use super::Mode;
use super::t_test::{Segment, TTest};

/// Places where a window is parted, in ascending order, none of them 0: the best place of all segments is added as long as the
/// t-test between the two parts of its segment is at most `level`. O(n²) for each place found.
pub(super) fn split_window(values: &[f64], level: f64, mode: Mode) -> Vec<usize> {
    let distances = Distances::of(values);
    let mut segments = vec![(0, values.len(), distances.best(0, values.len()))];
    loop {
        let candidates = segments.iter().enumerate();
        let candidates = candidates.filter_map(|(idx, (_, _, best))| best.map(|best| (idx, best)));
        // The first of equal ones.
        let best = candidates.reduce(|a, b| if b.1.score > a.1.score { b } else { a });
        let Some((idx, Candidate { place, .. })) = best else { break };
        let (start, end, _) = segments[idx];
        let (left, right) = values[start..end].split_at(place - start);
        let test = TTest::of(Segment::of(left), Segment::of(right), mode);
        if test.p > level || test.p.is_nan() {
            break;
        }
        let parts = [(start, place), (place, end)];
        segments.splice(idx..=idx, parts.map(|(start, end)| (start, end, distances.best(start, end))));
    }
    segments[1..].iter().map(|(start, _, _)| *start).collect()
}

/// Where a segment parts best.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Candidate {
    /// First value of the right part.
    place: usize,
    /// How different the parts are.
    score: f64,
}

/// Sums of the distances |Z_i - Z_j| of a window. The order of every addition is that of Otava, so that ties between places fall
/// the same way.
struct Distances {
    count: usize,
    /// Distances, row by row.
    all: Vec<f64>,
    /// `columns[j]`: distances of value j + 1 to all before it.
    columns: Vec<f64>,
    /// `rows[i][j]`: distances of value i to those after it up to value j + 1.
    rows: Vec<f64>,
}

impl Distances {
    /// All sums of a window. O(n²).
    fn of(values: &[f64]) -> Self {
        let count = values.len();
        let mut all = vec![0.0; count * count];
        let mut columns = vec![0.0; count];
        let mut rows = vec![0.0; count * count];
        for (i, first) in values.iter().enumerate() {
            let mut row = 0.0;
            for (j, second) in values.iter().enumerate().skip(i + 1) {
                let distance = (first - second).abs();
                all[i * count + j] = distance;
                columns[j - 1] += distance;
                row += distance;
                rows[i * count + j - 1] = row;
            }
        }
        Distances { count, all, columns, rows }
    }

    /// The place in the segment [start, end) with the largest difference between the values before it and those from it to any
    /// later end k, by equation 5 of Matteson and James (2014) with the sums over both parts unbiased; the first place on ties.
    /// `None` for a segment of one value. O(n²).
    fn best(&self, start: usize, end: usize) -> Option<Candidate> {
        let size = (end - start).checked_sub(1).filter(|size| *size > 0)?;
        let row = |t: usize, c: usize| self.rows[(start + t) * self.count + start + c];
        // Distances inside the left part, by its last value.
        let mut inside_left = Vec::with_capacity(size);
        let mut sum = 0.0;
        for c in 0..size {
            let before: f64 = (0..start).fold(0.0, |sum, i| sum + self.all[i * self.count + start + 1 + c]);
            sum += self.columns[start + c] - before;
            inside_left.push(sum);
        }
        // Distances inside the right part, by its first value and its last.
        let mut inside_right = vec![0.0; (size + 1) * size];
        for t in (0..size).rev() {
            for c in t..size {
                inside_right[t * size + c] = inside_right[(t + 1) * size + c] + row(t, c);
            }
        }
        let mut from_left = vec![0.0; size];
        let mut best = Candidate { place: start + 1, score: f64::NEG_INFINITY };
        for r in 0..size {
            let left = if r > 0 { inside_left[r - 1] } else { 0.0 };
            for c in r..size {
                // n values before the place, m from it on.
                let (n, m) = ((r + 1) as f64, (c - r + 1) as f64);
                from_left[c] += row(r, c);
                let between = 2.0 / (n + m) * (from_left[c] - left);
                let within_left = if r > 0 { 2.0 * m / ((n + m) * (n - 1.0)) * left } else { 0.0 };
                let right = inside_right[(r + 1) * size + c];
                let within_right = if c > r { 2.0 * n / ((n + m) * (m - 1.0)) * right } else { 0.0 };
                let score = between - within_left - within_right;
                if score > best.score {
                    best = Candidate { place: start + r + 1, score };
                }
            }
        }
        Some(best)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The statistic as it is defined, for every place and end.
    fn best_by_definition(values: &[f64]) -> Option<Candidate> {
        let inside = |part: &[f64]| -> f64 {
            part.iter().enumerate().flat_map(|(i, a)| part[i + 1..].iter().map(move |b| (a - b).abs())).sum()
        };
        let mut best: Option<Candidate> = None;
        for place in 1..values.len() {
            for end in place + 1..=values.len() {
                let (x, y) = (&values[..place], &values[place..end]);
                let (n, m) = (x.len() as f64, y.len() as f64);
                let between: f64 = x.iter().flat_map(|a| y.iter().map(move |b| (a - b).abs())).sum();
                let share = |others: f64, own: f64, sum: f64| {
                    if own > 1.0 { 2.0 * others / ((m + n) * (own - 1.0)) * sum } else { 0.0 }
                };
                let score = 2.0 / (m + n) * between - share(m, n, inside(x)) - share(n, m, inside(y));
                if best.is_none_or(|best| score > best.score + 1e-9) {
                    best = Some(Candidate { place, score });
                }
            }
        }
        best
    }

    proptest! {
        #[test]
        fn sums_give_the_statistic_of_every_segment(values in prop::collection::vec(-100.0_f64..100.0, 2..24), start in 0_usize..22, length in 1_usize..24) {
            let start = start.min(values.len() - 1);
            let end = (start + length).min(values.len());
            let found = Distances::of(&values).best(start, end);
            let expected = best_by_definition(&values[start..end]);
            prop_assert_eq!(found.is_some(), expected.is_some());
            if let (Some(found), Some(expected)) = (found, expected) {
                prop_assert_eq!(found.place, expected.place + start);
                prop_assert!((found.score - expected.score).abs() < 1e-7);
            }
        }
    }

    #[test]
    fn a_clean_step_is_one_place() {
        let values: Vec<f64> =
            (0..20).map(|idx| f64::from(idx % 3) + if idx < 12 { 10.0 } else { 20.0 }).collect();
        assert_eq!(split_window(&values, 0.001, Mode::Default), [12]);
        assert!(split_window(&[5.0; 20], 0.5, Mode::Default).is_empty());
        assert!(split_window(&[5.0], 0.5, Mode::Default).is_empty());
    }
}
