//! The ops of a transformer layer: every level against the reference, and what holds between levels.

use promptc_kernels::{Epilogue, Kernels, Level, MatrixF32, PackedF32, available_levels};
use proptest::prelude::*;

use super::agree::{LENGTHS, number, numbers};
use super::budgets;

fn levels() -> impl Iterator<Item = (Level, Kernels)> {
    available_levels().iter().map(|level| (*level, Kernels::at(*level).unwrap()))
}

fn packed(values: &[f32], depth: usize, width: usize) -> PackedF32 {
    let mut packed = PackedF32::default();
    packed.fill_rows(values, width, depth, width);
    packed
}

/// A product with gaps between the rows of both sides.
struct Product {
    rows: usize,
    depth: usize,
    width: usize,
    left: Vec<f32>,
    right: Vec<f32>,
    bias: Vec<f32>,
}

/// Elements between two rows.
const GAP: usize = 3;
/// What stands in gaps and must stay.
const MARK: f32 = -7.5;

impl Product {
    fn new(rows: usize, depth: usize, width: usize) -> Self {
        Self {
            rows,
            depth,
            width,
            left: numbers(1, rows * (depth + GAP)),
            right: numbers(2, depth * width),
            bias: numbers(3, width),
        }
    }

    fn left(&self) -> MatrixF32<'_> {
        MatrixF32 { values: &self.left, rows: self.rows, stride: self.depth + GAP }
    }

    fn epilogues(&self) -> [Epilogue<'_>; 4] {
        [
            Epilogue::Store,
            Epilogue::Bias(&self.bias),
            Epilogue::BiasGelu(&self.bias),
            Epilogue::BiasAdd(&self.bias),
        ]
    }

    fn compute(&self, kernels: &Kernels, epilogue: Epilogue<'_>) -> Vec<f32> {
        let stride = self.width + GAP;
        let mut out = vec![MARK; self.rows * stride];
        let right = packed(&self.right, self.depth, self.width);
        kernels.gemm_f32(self.left(), &right, epilogue, &mut out, stride);
        out
    }

    /// Distance that an element may have, with the epilogue.
    fn budget(&self, row: usize, column: usize, epilogue: Epilogue<'_>) -> f64 {
        let product = |idx: usize| {
            f64::from(self.left[row * (self.depth + GAP) + idx])
                * f64::from(self.right[idx * self.width + column])
        };
        let products = (0..self.depth).map(|idx| product(idx).abs()).sum::<f64>();
        let bias = f64::from(self.bias[column].abs());
        match epilogue {
            Epilogue::Store => budgets::gemm_f32(self.depth, products),
            Epilogue::Bias(_) => budgets::gemm_f32(self.depth, products + bias),
            Epilogue::BiasAdd(_) => budgets::gemm_f32(self.depth, products + bias + f64::from(MARK.abs())),
            Epilogue::BiasGelu(_) => {
                budgets::GELU_SLOPE * budgets::gemm_f32(self.depth, products + bias)
                    + budgets::gelu_f32(products + bias)
            }
        }
    }

    fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        for (level, kernels) in levels() {
            for epilogue in self.epilogues() {
                let wanted = self.compute(&Kernels::REFERENCE, epilogue);
                let found = self.compute(&kernels, epilogue);
                for (idx, (wanted, found)) in wanted.iter().zip(&found).enumerate() {
                    let (row, column) = (idx / (self.width + GAP), idx % (self.width + GAP));
                    let budget = if column < self.width { self.budget(row, column, epilogue) } else { 0.0 };
                    if is_off(f64::from(*wanted), f64::from(*found), budget) {
                        let shape = (self.rows, self.depth, self.width);
                        complaints.push(format!(
                            "{level:?} {shape:?} {epilogue:?} [{row}, {column}]: {found}, not {wanted}"
                        ));
                    }
                }
            }
        }
        complaints.truncate(20);
        complaints
    }
}

fn is_off(wanted: f64, found: f64, budget: f64) -> bool {
    match wanted.is_finite() {
        true => found.is_nan() || (wanted - found).abs() > budget,
        false => !(wanted == found || wanted.is_nan() && found.is_nan()),
    }
}

#[track_caller]
fn assert_none(complaints: impl IntoIterator<Item = String>) {
    let complaints: Vec<String> = complaints.into_iter().collect();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn products_of_all_shape_classes() {
    let rows = [0, 1, 2, 3, 5, 6, 7, 12, 13, 14, 15, 28, 29, 33];
    let depths = [0, 1, 2, 15, 32, 33];
    let widths = [0, 1, 15, 16, 17, 31, 32, 33, 64, 70];
    let shapes = rows.iter().flat_map(|rows| depths.iter().map(move |depth| (*rows, *depth)));
    let shapes = shapes.flat_map(|(rows, depth)| widths.iter().map(move |width| (rows, depth, *width)));
    assert_none(shapes.flat_map(|(rows, depth, width)| Product::new(rows, depth, width).complaints()));
}

#[test]
fn products_of_several_blocks() {
    // Left sides of more than 512 KiB are taken in blocks.
    assert_none(
        [(100, 1536, 40), (345, 384, 33)]
            .iter()
            .flat_map(|(rows, depth, width)| Product::new(*rows, *depth, *width).complaints()),
    );
}

#[test]
fn every_term_counts_once() {
    for (level, kernels) in levels() {
        for depth in [1, 5, 31, 64] {
            for width in [1, 20, 33] {
                let product = Product {
                    rows: 17,
                    depth,
                    width,
                    left: (0..17 * (depth + GAP)).map(|idx| (idx % 8) as f32).collect(),
                    right: (0..depth * width).map(|idx| (idx % 16) as f32).collect(),
                    bias: vec![0.0; width],
                };
                let exact = product.compute(&Kernels::REFERENCE, Epilogue::Store);
                assert_eq!(product.compute(&kernels, Epilogue::Store), exact, "{level:?} {depth} {width}");
            }
        }
    }
}

#[test]
fn a_row_has_the_same_bits_alone() {
    let product = Product::new(41, 77, 70);
    let right = packed(&product.right, 77, 70);
    for (level, kernels) in levels() {
        let all = product.compute(&kernels, Epilogue::BiasGelu(&product.bias));
        for row in 0..41 {
            let values = &product.left[row * (77 + GAP)..][..77];
            let mut alone = vec![0.0; 70];
            let left = MatrixF32 { values, rows: 1, stride: 77 };
            kernels.gemm_f32(left, &right, Epilogue::BiasGelu(&product.bias), &mut alone, 70);
            assert_eq!(alone, all[row * (70 + GAP)..][..70], "{level:?} row {row}");
        }
    }
}

#[test]
fn vector_levels_agree_in_bits() {
    let (Ok(avx2), Ok(avx512)) = (Kernels::at(Level::Avx2), Kernels::at(Level::Avx512)) else {
        println!("skipped: this processor has not both vector levels");
        return;
    };
    let product = Product::new(37, 100, 45);
    for epilogue in product.epilogues() {
        assert_eq!(product.compute(&avx2, epilogue), product.compute(&avx512, epilogue), "{epilogue:?}");
    }
    let apply = |kernels: &Kernels, len: usize| {
        let (mut gelu, mut softmax, mut norm) = (numbers(4, len), numbers(5, len), numbers(6, len));
        gelu.iter_mut().for_each(|value| *value *= 6.0);
        kernels.gelu_f32(&mut gelu);
        kernels.softmax_f32(&mut softmax, 9.0);
        if len > 0 {
            kernels.layer_norm_f32(&mut norm, &numbers(7, len), &numbers(8, len), 1e-12);
        }
        [gelu, softmax, norm].concat().iter().map(|value| value.to_bits()).collect::<Vec<u32>>()
    };
    for len in LENGTHS {
        assert_eq!(apply(&avx2, len), apply(&avx512, len), "{len}");
    }
}

#[test]
fn packing_transposed_is_packing_the_transpose() {
    for (depth, width) in [(1, 1), (5, 33), (40, 31), (32, 64), (3, 0), (0, 3)] {
        let values = numbers(9, depth * width);
        let transposed: Vec<f32> =
            (0..depth * width).map(|idx| values[idx % depth * width + idx / depth]).collect();
        // Filled over something larger, so that nothing of it may remain.
        let mut found = packed(&numbers(10, 80 * 80), 80, 80);
        found.fill_transposed(&transposed, depth, depth, width);
        assert_eq!((found.depth(), found.width()), (depth, width));
        let (left, mut out) = (numbers(11, 2 * depth), [vec![0.0; 2 * width], vec![0.0; 2 * width]]);
        for (right, out) in [found, packed(&values, depth, width)].iter().zip(&mut out) {
            let left = MatrixF32 { values: &left, rows: 2, stride: depth };
            Kernels::REFERENCE.gemm_f32(left, right, Epilogue::Store, out, width);
        }
        assert_eq!(out[0], out[1], "{depth} {width}");
    }
}

#[test]
fn a_nan_reaches_its_row_or_column_only() {
    for (level, kernels) in levels() {
        let mut product = Product::new(20, 9, 40);
        product.left[4 * (9 + GAP) + 8] = f32::NAN;
        product.right[8 * 40 + 33] = f32::INFINITY;
        let out = product.compute(&kernels, Epilogue::Bias(&product.bias));
        for row in 0..20 {
            for column in 0..40 {
                let value = out[row * (40 + GAP) + column];
                assert_eq!(value.is_nan(), row == 4, "{level:?} {row} {column}");
                assert_eq!(value.is_infinite(), row != 4 && column == 33, "{level:?} {row} {column}");
            }
        }
    }
}

#[test]
fn wrong_sizes_panic() {
    let right = packed(&[1.0; 6], 3, 2);
    let call = |values: &[f32], stride: usize, bias: &[f32], out_len: usize, out_stride: usize| {
        let left = MatrixF32 { values, rows: 2, stride };
        let mut out = vec![0.0; out_len];
        Kernels::best().gemm_f32(left, &right, Epilogue::Bias(bias), &mut out, out_stride);
    };
    call(&[1.0; 6], 3, &[0.0; 2], 4, 2);
    type Sizes = (usize, usize, usize, usize, usize);
    let wrong: [Sizes; 5] =
        [(5, 3, 2, 4, 2), (6, 2, 2, 4, 2), (6, 3, 1, 4, 2), (6, 3, 2, 3, 2), (6, 3, 2, 4, 1)];
    for (left, stride, bias, out, out_stride) in wrong {
        let run = || call(&vec![1.0; left], stride, &vec![0.0; bias], out, out_stride);
        assert!(std::panic::catch_unwind(run).is_err(), "{left} {stride} {bias} {out} {out_stride}");
    }
    let overflow = std::panic::catch_unwind(|| call(&[1.0; 6], usize::MAX, &[0.0; 2], 4, 2));
    assert!(overflow.is_err());
}

#[test]
fn gelu_stays_within_two_units_of_its_argument() {
    let mut values: Vec<f32> = (-80_000..=80_000).map(|step: i32| step as f32 * 1e-4).collect();
    values.extend((0..60).flat_map(|power| [2.0_f32.powi(power - 40), -(2.0_f32.powi(power - 40))]));
    values.extend([0.0, -0.0, 1e-40, -1e-40, f32::MAX, f32::MIN, f32::INFINITY, f32::NEG_INFINITY, f32::NAN]);
    let mut wanted = values.clone();
    Kernels::REFERENCE.gelu_f32(&mut wanted);
    for (level, kernels) in levels() {
        let mut found = values.clone();
        kernels.gelu_f32(&mut found);
        assert_none(values.iter().zip(&wanted).zip(&found).filter_map(|((x, wanted), found)| {
            let budget = budgets::gelu_f32(f64::from(*x));
            is_off(f64::from(*wanted), f64::from(*found), budget)
                .then(|| format!("{level:?} gelu({x:e}): {found:e}, not {wanted:e}"))
        }));
    }
}

/// `x * P(X <= x)` by Python's `math.erf` and `math.erfc`.
#[test]
fn the_reference_of_gelu_agrees_with_another_library() {
    let cases = [
        (0.5, 0.345_731_230_637),
        (1.0, 0.841_344_746_069),
        (-1.0, -0.158_655_253_931),
        (-2.875, -5.807895283595e-03),
        (-3.125, -2.778204059714e-03),
        (4.0, 3.999_873_315_03),
        (-6.0, -5.919_525_870_23e-9),
    ];
    for (x, wanted) in cases {
        let mut found = [x];
        Kernels::REFERENCE.gelu_f32(&mut found);
        assert!((f64::from(found[0]) - wanted).abs() <= 1e-7 * wanted.abs(), "{x}: {} {wanted}", found[0]);
    }
}

fn softmax_complaints(row: &[f32], scale: f32) -> Vec<String> {
    let mut wanted = row.to_vec();
    Kernels::REFERENCE.softmax_f32(&mut wanted, scale);
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut complaints = Vec::new();
    for (level, kernels) in levels() {
        let mut found = row.to_vec();
        kernels.softmax_f32(&mut found, scale);
        for (idx, (wanted, found)) in wanted.iter().zip(&found).enumerate() {
            let argument = (f64::from(row[idx]) - f64::from(largest)) * f64::from(scale);
            let budget = budgets::softmax_f32(row.len(), argument.max(-88.0), f64::from(*wanted));
            if is_off(f64::from(*wanted), f64::from(*found), budget) {
                complaints.push(format!("{level:?} {idx} of {}: {found:e}, not {wanted:e}", row.len()));
            }
        }
    }
    complaints
}

#[test]
fn softmax_of_all_lengths_and_values() {
    for scale in [0.01, 0.176_776_7, 1.0, 30.0, 1e4] {
        assert_none(LENGTHS.iter().flat_map(|len| softmax_complaints(&numbers(12, *len), scale)));
    }
    assert_none(softmax_complaints(&[1e30, -1e30, f32::NEG_INFINITY, 1e30], 1.0));
    assert_none(softmax_complaints(&[0.0, -0.0, -86.0, -87.5, -104.0, 1e-40], 1.0));
    for len in [1, 15, 16, 17, 33] {
        for special in [f32::NAN, f32::INFINITY] {
            for place in 0..len {
                let mut row = numbers(13, len);
                row[place] = special;
                for (level, kernels) in levels() {
                    let mut found = row.clone();
                    kernels.softmax_f32(&mut found, 1.0);
                    assert!(found.iter().all(|value| value.is_nan()), "{level:?} {len} {place} {found:?}");
                }
            }
        }
        assert_none(softmax_complaints(&vec![f32::NEG_INFINITY; len], 1.0));
    }
}

fn norm_complaints(row: &[f32], gain: &[f32], bias: &[f32], epsilon: f32) -> Vec<String> {
    let mut wanted = [row, row].concat();
    Kernels::REFERENCE.layer_norm_f32(&mut wanted, gain, bias, epsilon);
    let count = row.len() as f64;
    let mean = row.iter().map(|value| f64::from(*value)).sum::<f64>() / count;
    let variance = row.iter().map(|value| (f64::from(*value) - mean).powi(2)).sum::<f64>() / count;
    let deviation = (variance + f64::from(epsilon)).sqrt();
    let largest = row.iter().fold(0.0_f64, |largest, value| largest.max(f64::from(value.abs())));
    let mut complaints = Vec::new();
    for (level, kernels) in levels() {
        let mut found = [row, row].concat();
        kernels.layer_norm_f32(&mut found, gain, bias, epsilon);
        for (idx, (wanted, found)) in wanted.iter().zip(&found).enumerate() {
            let (gain, bias) = (f64::from(gain[idx % row.len()]), f64::from(bias[idx % row.len()]));
            let budget = budgets::layer_norm_f32(row.len(), largest, gain / deviation, bias);
            if is_off(f64::from(*wanted), f64::from(*found), budget) {
                complaints.push(format!("{level:?} {idx} of {}: {found:e}, not {wanted:e}", row.len()));
            }
        }
    }
    complaints
}

#[test]
fn layer_norm_of_all_lengths_and_values() {
    for len in LENGTHS.into_iter().filter(|len| *len > 0) {
        let (gain, bias) = (numbers(14, len), numbers(15, len));
        for (scale, offset) in [(1.0, 0.0), (1e4, -3.0), (1e-6, 0.0), (0.1, 50.0), (0.0, 2.0)] {
            let row: Vec<f32> = numbers(16, len).iter().map(|value| value * scale + offset).collect();
            assert_none(norm_complaints(&row, &gain, &bias, 1e-5));
        }
        for (level, kernels) in levels() {
            for special in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut row = numbers(17, len);
                row[len / 2] = special;
                kernels.layer_norm_f32(&mut row, &gain, &bias, 1e-12);
                assert!(row.iter().all(|value| value.is_nan()), "{level:?} {len} {special}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_rows(row in prop::collection::vec(-20.0_f32..20.0, 1..200), scale in 0.01_f32..4.0) {
        let complaints = softmax_complaints(&row, scale);
        prop_assert!(complaints.is_empty(), "{}", complaints.join("\n"));
        let gain: Vec<f32> = (0..row.len() as u64).map(number).collect();
        let complaints = norm_complaints(&row, &gain, &gain, 1e-6);
        prop_assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    }

    #[test]
    fn random_products(rows in 1..40_usize, depth in 0..60_usize, width in 0..80_usize) {
        let complaints = Product::new(rows, depth, width).complaints();
        prop_assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    }
}
