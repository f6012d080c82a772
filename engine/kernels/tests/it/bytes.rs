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
            assert_eq!(rounded(*level), wanted, "{level:?} {depth}");
        }
    }
}
