//! Ops of a transformer layer: matrix product, GELU, softmax, layer norm.
//!
//! Sums and functions are computed in `f64`, in order, and rounded once. All sizes are right here; the table sees to it.

use crate::gemm::{Epilogue, MatrixF32, PackedF32};
use crate::gemm_i8::{CODE_ZERO, LARGEST_LEAST, PackedI8, RowsU8};

/// `sum(left[i][k] * right[k][j])`, finished by the epilogue.
pub(crate) fn gemm_f32_reference(
    left: MatrixF32<'_>,
    right: &PackedF32,
    epilogue: Epilogue<'_>,
    out: &mut [f32],
    out_stride: usize,
) {
    for row in 0..left.rows {
        for column in 0..right.width() {
            let mut sum = 0.0_f64;
            for idx in 0..right.depth() {
                sum += f64::from(left.values[row * left.stride + idx]) * f64::from(right.at(idx, column));
            }
            finish(sum, column, epilogue, &mut out[row * out_stride + column]);
        }
    }
}

/// `round(127 * x / largest) + 128`, and `largest / 127`.
pub(crate) fn round_row_reference(values: &[f32], codes: &mut [u8]) -> f32 {
    codes.fill(CODE_ZERO as u8);
    if let Some(value) = values.iter().find(|value| !value.is_finite()) {
        return value.abs();
    }
    let largest = values.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    if largest < LARGEST_LEAST {
        return 0.0;
    }
    for (code, value) in codes.iter_mut().zip(values) {
        *code = ((value * (127.0 / largest)).round_ties_even() as i32 + CODE_ZERO) as u8;
    }
    largest / 127.0
}

/// Each row rounded as [`round_row_reference`] does, then packed as a column.
pub(crate) fn round_columns_reference(rows: MatrixF32<'_>, depth: usize, out: &mut PackedI8) {
    let columns: Vec<&[f32]> = (0..rows.rows).map(|row| &rows.values[row * rows.stride..][..depth]).collect();
    *out = packed(&columns, depth);
}

/// Each column rounded as [`round_row_reference`] does.
pub(crate) fn round_steps_reference(rows: MatrixF32<'_>, width: usize, out: &mut PackedI8) {
    let columns: Vec<Vec<f32>> = (0..width)
        .map(|column| (0..rows.rows).map(|row| rows.values[row * rows.stride + column]).collect())
        .collect();
    *out = packed(&columns, rows.rows);
}

fn packed(columns: &[impl AsRef<[f32]>], depth: usize) -> PackedI8 {
    let (mut weights, mut scales, mut codes) = (Vec::new(), Vec::new(), vec![0; depth]);
    for column in columns {
        scales.push(round_row_reference(column.as_ref(), &mut codes));
        weights.extend(codes.iter().map(|code| (i32::from(*code) - CODE_ZERO) as i8));
    }
    PackedI8::new(&weights, &scales, depth, columns.len())
}

/// `round(127 * exp(scale * (x - largest))) + 128`, and the inverse of the sum of what was rounded.
pub(crate) fn softmax_codes_reference(row: &[f32], scale: f32, codes: &mut [u8]) -> f32 {
    codes.fill(CODE_ZERO as u8);
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if !largest.is_finite() || row.iter().any(|value| value.is_nan()) {
        return f32::NAN;
    }
    let mut sum = 0.0;
    for (code, value) in codes.iter_mut().zip(row) {
        let share = (f64::from(scale) * (f64::from(*value) - f64::from(largest))).exp();
        let rounded = (127.0 * share).round_ties_even();
        *code = (rounded as i32 + CODE_ZERO) as u8;
        sum += rounded;
    }
    (1.0 / sum) as f32
}

/// `sum((code[i][k] - 128) * weight[k][j])` times the scales of row and column, finished by the epilogue.
pub(crate) fn gemm_i8_reference(
    left: &RowsU8,
    right: &PackedI8,
    epilogue: Epilogue<'_>,
    out: &mut [f32],
    out_stride: usize,
) {
    for (row, row_scale) in left.scales().iter().enumerate() {
        for column in 0..right.width() {
            let (mut sum, mut scale) = (0_i64, 0.0);
            for idx in 0..right.depth() {
                let (weight, of_column) = right.at(idx, column);
                sum += i64::from(i32::from(left.codes(row)[idx]) - CODE_ZERO) * i64::from(weight);
                scale = of_column;
            }
            let product = sum as f64 * f64::from(scale) * f64::from(*row_scale);
            finish(product, column, epilogue, &mut out[row * out_stride + column]);
        }
    }
}

fn finish(product: f64, column: usize, epilogue: Epilogue<'_>, out: &mut f32) {
    let sum = product + epilogue.bias().map_or(0.0, |bias| f64::from(bias[column]));
    *out = match epilogue {
        Epilogue::Store | Epilogue::Bias(_) => sum as f32,
        Epilogue::BiasGelu(_) => gelu(sum) as f32,
        Epilogue::BiasAdd(_) => (f64::from(*out) + sum) as f32,
    };
}

/// `x * P(X <= x)`.
pub(crate) fn gelu_f32_reference(values: &mut [f32]) {
    for value in values {
        *value = gelu(f64::from(*value)) as f32;
    }
}

fn gelu(x: f64) -> f64 {
    x * normal_share(x)
}

/// Share of the standard normal distribution below `x`.
fn normal_share(x: f64) -> f64 {
    let square = x * x;
    let density = (-square / 2.0).exp() * (0.5 / std::f64::consts::PI).sqrt();
    if x.abs() < 3.0 {
        // Abramowitz and Stegun 26.2.11: 1/2 + density * (x + x^3 / 3 + x^5 / (3 * 5) + ...).
        let (mut term, mut sum) = (x, x);
        for factor in (3..120).step_by(2) {
            term *= square / f64::from(factor);
            sum += term;
        }
        return 0.5 + density * sum;
    }
    if square > 1400.0 {
        // The density is 0 in `f64`.
        return if x > 0.0 { 1.0 } else { 0.0 };
    }
    // 26.2.14: the share beyond |x| is density / (|x| + 1 / (|x| + 2 / (|x| + 3 / ...))), from its far end.
    let mut fraction = x.abs();
    for level in (1..200).rev() {
        fraction = x.abs() + f64::from(level) / fraction;
    }
    let beyond = density / fraction;
    if x > 0.0 { 1.0 - beyond } else { beyond }
}

/// `exp(scale * x) / sum(exp(scale * x))`, with the largest taken away first.
pub(crate) fn softmax_f32_reference(row: &mut [f32], scale: f32) {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let term = |value: f32| ((f64::from(value) - f64::from(largest)) * f64::from(scale)).exp();
    let sum: f64 = row.iter().map(|value| term(*value)).sum();
    for value in row {
        *value = (term(*value) / sum) as f32;
    }
}

/// `(x - mean) / sqrt(variance + epsilon) * gain + bias`.
pub(crate) fn layer_norm_f32_reference(values: &mut [f32], gain: &[f32], bias: &[f32], epsilon: f32) {
    let count = gain.len() as f64;
    for row in values.chunks_exact_mut(gain.len()) {
        let mean = row.iter().map(|value| f64::from(*value)).sum::<f64>() / count;
        let variance = row.iter().map(|value| (f64::from(*value) - mean).powi(2)).sum::<f64>() / count;
        let scale = 1.0 / (variance + f64::from(epsilon)).sqrt();
        for ((value, gain), bias) in row.iter_mut().zip(gain).zip(bias) {
            *value = ((f64::from(*value) - mean) * scale * f64::from(*gain) + f64::from(*bias)) as f32;
        }
    }
}
