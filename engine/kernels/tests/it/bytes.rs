//! The multiplication in 8 bits: every level against the reference, and what holds between levels.

use promptc_kernels::{Epilogue, Kernels, Level, MatrixF32, PackedI8, RowsU8, available_levels};

use super::agree::numbers;

/// What stands in gaps and must stay.
const MARK: f32 = -7.5;
/// Elements between two rows of the output.
const GAP: usize = 3;

struct Case {
    rows: RowsU8,
    weights: PackedI8,
    bias: Vec<f32>,
}

fn whole_numbers(seed: u64, len: usize) -> Vec<i8> {
    numbers(seed, len).iter().map(|value| ((value * 1e4) as i32 % 128) as i8).collect()
}

impl Case {
    fn new(rows: usize, depth: usize, width: usize) -> Self {
        let mut left = RowsU8::default();
        let values = numbers(1, rows * depth);
        Kernels::best().round_rows(MatrixF32 { values: &values, rows, stride: depth }, depth, &mut left);
        let scales: Vec<f32> = numbers(3, width).iter().map(|value| value.abs() + 0.01).collect();
        Self {
            rows: left,
            weights: PackedI8::new(&whole_numbers(2, depth * width), &scales, depth, width),
            bias: numbers(4, width),
        }
    }

    fn compute(&self, kernels: &Kernels, epilogue: Epilogue<'_>) -> Vec<f32> {
        let stride = self.weights.width() + GAP;
        let mut out = vec![MARK; self.rows.len() * stride];
        kernels.gemm_i8(&self.rows, &self.weights, epilogue, &mut out, stride);
        out
    }

    fn epilogues(&self) -> [Epilogue<'_>; 4] {
        let bias = &self.bias;
        [Epilogue::Store, Epilogue::Bias(bias), Epilogue::BiasGelu(bias), Epilogue::BiasAdd(bias)]
    }
}

#[test]
fn every_level_agrees_with_the_definition() {
    for (rows, depth, width) in [
        (0, 4, 4),
        (1, 1, 1),
        (1, 3, 33),
        (2, 4, 32),
        (13, 5, 31),
        (14, 64, 64),
        (15, 63, 65),
        (29, 130, 100),
        (3, 384, 40),
        (1_400, 384, 40),
    ] {
        let case = Case::new(rows, depth, width);
        for level in available_levels() {
            let kernels = Kernels::at(*level).unwrap();
            for epilogue in case.epilogues() {
                let wanted = case.compute(&Kernels::REFERENCE, epilogue);
                for (idx, (wanted, found)) in wanted.iter().zip(case.compute(&kernels, epilogue)).enumerate()
                {
                    let budget = 1e-5 * wanted.abs().max(1.0);
                    let shape = (rows, depth, width);
                    assert!(
                        (wanted - found).abs() <= budget,
                        "{level:?} {shape:?} {epilogue:?} [{idx}]: {found}, not {wanted}"
                    );
                }
            }
        }
    }
}

#[test]
fn products_have_the_same_bits_at_every_level_but_the_reference() {
    let case = Case::new(31, 97, 70);
    let portable = case.compute(&Kernels::PORTABLE, Epilogue::Store);
    for level in available_levels().iter().filter(|level| **level != Level::Reference) {
        assert_eq!(case.compute(&Kernels::at(*level).unwrap(), Epilogue::Store), portable, "{level:?}");
    }
}

#[test]
fn the_greatest_codes_and_weights_do_not_overflow() {
    let depth = promptc_kernels::DEPTH_MAX;
    for sign in [1, -1] {
        let weights = PackedI8::new(&vec![127 * sign; depth], &[1.0], depth, 1);
        let mut rows = RowsU8::default();
        let values = vec![127.0; depth];
        Kernels::best().round_rows(MatrixF32 { values: &values, rows: 1, stride: depth }, depth, &mut rows);
        for level in available_levels() {
            let mut out = [0.0];
            Kernels::at(*level).unwrap().gemm_i8(&rows, &weights, Epilogue::Store, &mut out, 1);
            assert_eq!(out[0], f32::from(sign) * 127.0 * 127.0 * depth as f32, "{level:?}");
        }
    }
}

#[test]
fn a_row_has_the_same_bits_alone() {
    let (count, depth, width) = (41, 77, 70);
    let values = numbers(5, count * depth);
    let weights = PackedI8::new(&whole_numbers(6, depth * width), &vec![0.02; width], depth, width);
    for level in available_levels() {
        let kernels = Kernels::at(*level).unwrap();
        let compute = |values: &[f32], rows: usize| {
            let (mut left, mut out) = (RowsU8::default(), vec![0.0; rows * width]);
            kernels.round_rows(MatrixF32 { values, rows, stride: depth }, depth, &mut left);
            kernels.gemm_i8(&left, &weights, Epilogue::Store, &mut out, width);
            out
        };
        let all = compute(&values, count);
        for (values, row) in values.chunks(depth).zip(all.chunks(width)) {
            assert_eq!(compute(values, 1), row, "{level:?}");
        }
    }
}

#[test]
fn a_number_that_is_not_finite_reaches_the_product() {
    let weights = PackedI8::new(&[1, 2], &[1.0], 2, 1);
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for level in available_levels() {
            let (mut rows, mut out) = (RowsU8::default(), [0.0]);
            let values = MatrixF32 { values: &[1.0, value], rows: 1, stride: 2 };
            Kernels::at(*level).unwrap().round_rows(values, 2, &mut rows);
            Kernels::at(*level).unwrap().gemm_i8(&rows, &weights, Epilogue::Store, &mut out, 1);
            assert!(!out[0].is_finite(), "{level:?} {value}");
        }
    }
}

#[test]
fn rows_are_rounded_to_the_same_bits_at_every_level() {
    let ones = PackedI8::new(&[1; 3], &[1.0; 3], 1, 3);
    assert_eq!((ones.depth(), ones.width()), (1, 3));
    for depth in [0, 1, 2, 3, 15, 16, 17, 31, 64, 100, 384, 1001] {
        let mut values = numbers(9, 3 * depth);
        // Halves between two codes, and a row of nothing.
        for (idx, value) in values.iter_mut().take(depth).enumerate() {
            *value = if idx == 0 { 127.0 } else { (idx % 100) as f32 + 0.5 };
        }
        values.iter_mut().skip(2 * depth).for_each(|value| *value *= 1e-33);
        let rounded = |level: Level| {
            let mut rows = RowsU8::default();
            let matrix = MatrixF32 { values: &values, rows: 3, stride: depth };
            Kernels::at(level).unwrap().round_rows(matrix, depth, &mut rows);
            rows
        };
        let wanted = rounded(Level::Reference);
        for level in available_levels() {
            assert!(rounded(*level).is_same(&wanted), "{level:?} {depth}");
        }
    }
}

/// Rows with a broad one, one of nothing and one of halves between two codes.
fn rows_to_round(rows: usize, width: usize) -> Vec<f32> {
    let mut values = numbers(11, rows * width);
    for (idx, value) in values.iter_mut().enumerate() {
        match idx / width.max(1) % 7 {
            2 => *value *= 1e-33,
            4 => *value = if idx % width == 0 { 127.0 } else { (idx % 100) as f32 + 0.5 },
            _ => {}
        }
    }
    values
}

#[test]
fn columns_and_steps_are_rounded_to_the_same_bits_at_every_level() {
    for (rows, width) in [(0, 3), (1, 1), (3, 32), (31, 5), (33, 32), (40, 33), (65, 64), (130, 7)] {
        let values = rows_to_round(rows, width + GAP);
        let matrix = MatrixF32 { values: &values, rows, stride: width + GAP };
        let rounded = |level: Level| {
            // What was there before must not stay.
            let mut packed =
                [PackedI8::new(&[5; 99 * 99], &[1.0; 99], 99, 99), PackedI8::new(&[5; 9], &[1.0; 9], 1, 9)];
            let kernels = Kernels::at(level).unwrap();
            kernels.round_columns(matrix, width, &mut packed[0]);
            kernels.round_steps(matrix, width, &mut packed[1]);
            packed
        };
        let wanted = rounded(Level::Reference);
        for level in available_levels() {
            for (found, wanted) in rounded(*level).iter().zip(&wanted) {
                assert!(found.is_same(wanted), "{level:?} {rows} {width}");
            }
        }
    }
}

/// Shares that a row of codes stands for.
fn shares(kernels: &Kernels, scores: &[f32], len: usize, scale: f32) -> Vec<f32> {
    let (rows, mut codes) = (scores.len() / len, RowsU8::default());
    kernels.softmax_rows(MatrixF32 { values: scores, rows, stride: len }, len, scale, &mut codes);
    let mut unit = vec![0; len * len];
    (0..len).for_each(|idx| unit[idx * len + idx] = 1);
    let mut out = vec![0.0; rows * len];
    kernels.gemm_i8(&codes, &PackedI8::new(&unit, &vec![1.0; len], len, len), Epilogue::Store, &mut out, len);
    out
}

#[test]
fn shares_of_8_bits_are_those_of_the_definition_but_for_their_rounding() {
    let levels = available_levels();
    for len in [1, 2, 15, 16, 17, 33, 100, 257] {
        for spread in [0.1_f32, 3.0, 80.0, 5000.0] {
            let scores: Vec<f32> = numbers(13, 3 * len).iter().map(|value| value * spread).collect();
            let mut exact = scores.clone();
            exact.chunks_mut(len).for_each(|row| Kernels::REFERENCE.softmax_f32(row, 0.2));
            for level in levels {
                let found = shares(&Kernels::at(*level).unwrap(), &scores, len, 0.2);
                for (found, exact) in found.chunks(len).zip(exact.chunks(len)) {
                    let sum: f32 = found.iter().sum();
                    assert!((sum - 1.0).abs() < 1e-5, "{level:?} {len} {spread}: sum {sum}");
                    // Half a step, and what all the roundings together move the sum.
                    let largest = exact.iter().copied().fold(0.0, f32::max);
                    let budget = largest * (0.55 / 127.0 + (0.55 * len as f32 / 127.0).min(1.0) * largest);
                    for (found, exact) in found.iter().zip(exact) {
                        assert!((found - exact).abs() <= budget, "{level:?} {len} {spread}: {found} {exact}");
                    }
                }
            }
        }
    }
    if let (Ok(avx2), Ok(best)) = (Kernels::at(Level::Avx2), Kernels::at(*levels.last().unwrap())) {
        let scores = numbers(17, 5 * 77);
        assert_eq!(shares(&avx2, &scores, 77, 2.0), shares(&best, &scores, 77, 2.0));
    }
}

#[test]
fn scores_that_are_not_finite_reach_the_shares() {
    for broken in [&[f32::NAN, 1.0, 2.0][..], &[1.0, f32::INFINITY, 2.0], &[f32::NEG_INFINITY; 3]] {
        for level in available_levels() {
            let kernels = Kernels::at(*level).unwrap();
            let found = shares(&kernels, broken, 3, 1.0);
            assert!(found.iter().all(|share| share.is_nan()), "{level:?} {broken:?}: {found:?}");
        }
    }
    for level in available_levels() {
        let found = shares(&Kernels::at(*level).unwrap(), &[f32::NEG_INFINITY, 0.0, 0.0], 3, 1.0);
        assert_eq!(found, [0.0, 0.5, 0.5], "{level:?}");
    }
}
