//! Sums over pairs of components: inner product, squared distance, cosine.
//!
//! Terms are computed and added in `f64`, in the order of the components, and rounded once at the end: the error of the
//! reference itself is far below the budget of any other level. All lengths are equal here; the table sees to it.

use crate::CosineSums;

/// `sum(left[i] * right[i])`.
pub(crate) fn dot_f32_reference(left: &[f32], right: &[f32]) -> f32 {
    let mut sum = 0.0_f64;
    for (left, right) in left.iter().zip(right) {
        sum += f64::from(*left) * f64::from(*right);
    }
    sum as f32
}

/// As [`dot_f32_reference`], not rounded at the end.
pub(crate) fn dot_f32f64_reference(left: &[f32], right: &[f32]) -> f64 {
    let mut sum = 0.0_f64;
    for (left, right) in left.iter().zip(right) {
        sum += f64::from(*left) * f64::from(*right);
    }
    sum
}

/// As [`l2_f32_reference`], not rounded at the end.
pub(crate) fn l2_f32f64_reference(left: &[f32], right: &[f32]) -> f64 {
    let mut sum = 0.0_f64;
    for (left, right) in left.iter().zip(right) {
        let difference = f64::from(*left) - f64::from(*right);
        sum += difference * difference;
    }
    sum
}

/// `sum((left[i] - right[i])^2)`.
pub(crate) fn l2_f32_reference(left: &[f32], right: &[f32]) -> f32 {
    let mut sum = 0.0_f64;
    for (left, right) in left.iter().zip(right) {
        let difference = f64::from(*left) - f64::from(*right);
        sum += difference * difference;
    }
    sum as f32
}

/// `dot(left, right) / (|left| * |right|)`.
pub(crate) fn cosine_f32_reference(left: &[f32], right: &[f32]) -> f64 {
    let mut sums = CosineSums { dot: 0.0, left: 0.0, right: 0.0 };
    for (left, right) in left.iter().zip(right) {
        let (left, right) = (f64::from(*left), f64::from(*right));
        sums.dot += left * right;
        sums.left += left * left;
        sums.right += right * right;
    }
    sums.cosine()
}
