//! The statistics against other programs: SciPy's answers for stored numbers, and Apache Otava's change points of series that both
//! sides generate. The scripts and seeds are beside the answers in `tests/oracle`.

use promptc_store::sql::stats::{
    Mode, benjamini_hochberg, bootstrap_ci, change_points, hodges_lehmann, mad, mann_whitney, paired_test,
    quantile, theil_sen, wilson,
};
use serde_json::Value;

fn statistics(name: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("../oracle/statistics.json")).unwrap();
    let rows = all[name].as_array().unwrap().clone();
    assert!(rows.len() >= 4, "`{name}` has {} rows", rows.len());
    rows
}

fn floats(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn zipped(row: &Value, first: &str, second: &str) -> Vec<(f64, f64)> {
    floats(&row[first]).into_iter().zip(floats(&row[second])).collect()
}

/// Equal within rounding that the order of additions explains.
#[track_caller]
fn near(found: f64, expected: &Value, row: &Value) {
    let expected = expected.as_f64().unwrap();
    let scale = expected.abs().max(1e-300);
    assert!((found - expected).abs() <= 1e-11 * scale, "{found} instead of {expected} for {row}");
}

#[test]
fn paired_test_is_that_of_scipy() {
    for row in statistics("paired") {
        let found = paired_test(&zipped(&row, "base", "cand"), -1).unwrap();
        near(found.p, &row["p"], &row);
        assert!((found.p / row["scipy_p"].as_f64().unwrap() - 1.0).abs() < 1e-6, "{row}");
        // The median of differences near zero keeps the absolute error of the logarithms.
        assert!((found.rel - row["rel"].as_f64().unwrap()).abs() < 1e-14, "{row}");
        for (found, expected, open) in
            [(found.ci_low, &row["ci_low"], -1.0), (found.ci_high, &row["ci_high"], f64::INFINITY)]
        {
            let expected = expected.as_f64().unwrap_or(open);
            assert!(
                found == expected || (found - expected).abs() < 1e-13,
                "{found} instead of {expected}: {row}"
            );
        }
    }
}

#[test]
fn mann_whitney_and_hodges_lehmann_are_those_of_scipy() {
    for row in statistics("mann_whitney") {
        let (base, cand) = (floats(&row["base"]), floats(&row["cand"]));
        let found = mann_whitney(&base, &cand).unwrap().unwrap();
        near(found.u, &row["u"], &row);
        near(found.p, &row["p"], &row);
        assert!((found.rel - row["rel"].as_f64().unwrap()).abs() < 1e-14, "{row}");
        let shift = hodges_lehmann(&base, &cand).unwrap().unwrap();
        assert!((shift - row["shift"].as_f64().unwrap()).abs() < 1e-13, "{shift}: {row}");
    }
}

#[test]
fn theil_sen_is_that_of_scipy() {
    for row in statistics("theil_sen") {
        let found = theil_sen(&zipped(&row, "x", "y")).unwrap().unwrap();
        near(found.slope, &row["slope"], &row);
        near(found.low, &row["low"], &row);
        near(found.high, &row["high"], &row);
        near(found.p, &row["p"], &row);
    }
}

#[test]
fn spread_is_that_of_scipy_and_numpy() {
    for row in statistics("spread") {
        let mut values = floats(&row["values"]);
        near(mad(&values).unwrap(), &row["mad"], &row);
        values.sort_by(f64::total_cmp);
        for (p, expected) in row["quantiles"].as_object().unwrap() {
            near(quantile(&values, p.parse().unwrap()), expected, &row);
        }
    }
}

#[test]
fn bootstrap_is_that_of_numpy_and_lies_between_those_of_scipy() {
    for row in statistics("bootstrap") {
        let level = row["level"].as_f64().unwrap();
        let seed = row["seed"].as_u64().unwrap();
        let found = bootstrap_ci(&floats(&row["values"]), level, seed).unwrap().unwrap();
        near(found.low, &row["replayed"][0], &row);
        near(found.high, &row["replayed"][1], &row);
        let (narrower, wider) = (floats(&row["narrower"]), floats(&row["wider"]));
        assert!(wider[0] <= found.low && found.low <= narrower[0], "{found:?}: {row}");
        assert!(narrower[1] <= found.high && found.high <= wider[1], "{found:?}: {row}");
    }
}

#[test]
fn wilson_is_that_of_scipy() {
    for row in statistics("wilson") {
        let (successes, count) = (row["successes"].as_u64().unwrap(), row["count"].as_u64().unwrap());
        let (low, high) = wilson(successes, count, row["level"].as_f64().unwrap()).unwrap();
        assert!((low - row["low"].as_f64().unwrap()).abs() < 1e-14, "{low}: {row}");
        assert!((high - row["high"].as_f64().unwrap()).abs() < 1e-14, "{high}: {row}");
    }
}

#[test]
fn benjamini_hochberg_is_that_of_scipy() {
    for row in statistics("benjamini_hochberg") {
        let found = benjamini_hochberg(&floats(&row["p"]));
        for (found, expected) in found.into_iter().zip(floats(&row["q"])) {
            assert!((found - expected).abs() < 1e-14, "{found} instead of {expected}");
        }
    }
}

/// SplitMix64 (Steele, Lea and Flood 2014), as in the scripts.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (0..12).fold(0.0, |sum, _| sum + self.uniform()) - 6.0
    }
}

/// The series of a seed, as `series` in `change_points.py` draws it.
fn series(seed: u64) -> Vec<f64> {
    let mut random = Random(seed);
    let count = 8 + (random.uniform() * 293.0) as usize;
    let noise = 0.005 + 0.075 * random.uniform();
    let mut steps = Vec::new();
    for _ in 0..(random.uniform() * 5.0) as usize {
        let at = (random.uniform() * count as f64) as usize;
        let size = 0.02 + 0.28 * random.uniform();
        steps.push((at, if random.next() & 1 == 1 { 1.0 + size } else { 1.0 - size }));
    }
    let kind = random.next() % 8;
    let wild = if kind < 2 { 0.05 } else { 0.0 };
    let drift = if kind == 2 { 0.1 / count as f64 } else { 0.0 };
    let grid = if kind == 3 || kind == 4 { Some(2.0) } else { None };
    let value = |idx: usize| {
        let level =
            steps.iter().filter(|(at, _)| idx >= *at).fold(100.0, |level, (_, factor)| level * factor);
        let mut value = level * (1.0 + noise * random.normal() + drift * idx as f64);
        if random.uniform() < wild {
            value *= 1.5;
        }
        grid.map_or(value, |grid| (value / grid).trunc() * grid)
    };
    (0..count).map(value).collect()
}

fn seqs(values: &[f64], window: usize, p: f64, mode: Mode) -> Vec<u32> {
    let points: Vec<(u32, f64)> = (0..).zip(values.iter().copied()).collect();
    change_points(&points, window, p, 0.0, mode).unwrap().iter().map(|point| point.seq).collect()
}

#[test]
fn change_points_of_a_thousand_series_are_those_of_otava() {
    let oracle: Value = serde_json::from_str(include_str!("../oracle/change_points.json")).unwrap();
    for (seed, sum) in floats(&oracle["sums_of_first_series"]).into_iter().enumerate() {
        assert_eq!(series(seed as u64).iter().sum::<f64>(), sum, "the series of seed {seed} is another one");
    }
    let (window, p) = (oracle["window"].as_u64().unwrap() as usize, oracle["p"].as_f64().unwrap());
    let answers = oracle["indexes"].as_array().unwrap();
    assert_eq!(answers.len(), 1000);
    let mut different = Vec::new();
    for (seed, expected) in answers.iter().enumerate() {
        let expected: Vec<u32> = floats(expected).into_iter().map(|idx| idx as u32).collect();
        let found = seqs(&series(seed as u64), window, p, Mode::Otava);
        if found != expected {
            different.push((seed, found, expected));
        }
    }
    assert!(different.is_empty(), "{} series differ: {different:?}", different.len());
}

/// 200 values with noise of 2 % and a step at 100.
fn step(seed: u64, size: f64) -> Vec<f64> {
    let mut random = Random(seed);
    let level = |idx| if idx < 100 { 100.0 } else { 100.0 * (1.0 + size) };
    (0..200).map(|idx| level(idx) * (1.0 + 0.02 * random.normal())).collect()
}

#[test]
fn flat_series_have_hardly_a_point_and_steps_have_theirs() {
    let flat = |mode| (0..300).map(|seed| seqs(&step(seed, 0.0), 50, 0.001, mode).len()).sum::<usize>();
    let (ours, otava) = (flat(Mode::Default), flat(Mode::Otava));
    assert!(ours <= 30, "{ours} false points in 300 flat series");
    assert!(otava > ours, "{otava} false points in mode otava, {ours} in the default mode");
    for (size, least) in [(0.12, 100), (0.05, 90), (0.02, 40)] {
        let is_found = |seed: &u64| {
            seqs(&step(*seed, size), 50, 0.001, Mode::Default).iter().any(|seq| seq.abs_diff(100) <= 2)
        };
        let found = (1_000..1_100).filter(is_found).count();
        assert!(found >= least, "a step of {size} was found in {found} of 100 series");
    }
}
