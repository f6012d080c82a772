//! How far a level may be from the reference, and why so far.

use promptc_kernels::Level;

/// Unit roundoff of `f32`: largest relative error of one rounding.
const F32_ROUNDOFF: f64 = (f32::EPSILON / 2.0) as f64;
/// Unit roundoff of `f64`.
const F64_ROUNDOFF: f64 = f64::EPSILON / 2.0;

/// Roundings on the way of a term of [`Level::Portable`] besides one per block of 8: the term itself (a difference, a
/// product), three additions of sums, the last rounding of the reference.
const PORTABLE_ROUNDINGS: f64 = 8.0;
/// As above for the vector levels: up to two more additions of registers, up to 15 elements one by one.
const VECTOR_ROUNDINGS: f64 = 24.0;
/// A rounding near zero loses up to half of the smallest number, whatever the magnitude of the terms.
const SUBNORMAL_LOSS: f64 = 0.5 * f32::from_bits(1) as f64;

/// Largest distance of an `f32` sum from the reference: Higham (2002), section 4.2: a sum is off by at most the number of
/// additions on a term's way, times the roundoff, times the sum of the terms' magnitudes. The relative error of the result
/// itself has no bound, since the terms may cancel. 1.01 stands for the products of roundoffs.
pub(crate) fn sum_f32(level: Level, len: usize, magnitude: f64) -> f64 {
    let (sums, roundings) = match level {
        Level::Reference => return 0.0,
        Level::Portable => (8.0, PORTABLE_ROUNDINGS),
        Level::Avx2 => (32.0, VECTOR_ROUNDINGS),
        Level::Avx512 | Level::Amx => (64.0, VECTOR_ROUNDINGS),
    };
    let additions = len as f64 / sums + roundings;
    1.01 * additions * F32_ROUNDOFF * magnitude + 2.0 * len as f64 * SUBNORMAL_LOSS
}

/// Largest distance of two sums in `f64` over terms whose magnitudes have this sum, each rounded at most three times: both are
/// off by at most the additions on a term's way. Products of tiny numbers are exact.
pub(crate) fn sum_f32f64(len: usize, magnitude: f64) -> f64 {
    2.0 * 1.01 * (len as f64 + 3.0) * F64_ROUNDOFF * magnitude
}

/// Largest distance of two cosines. Three sums in `f64` of at most `len` exact terms on either side; the sums of squares
/// do not cancel, and the inner product is off by a share of the norms, which is what it is divided by. So the distance is
/// absolute, and at most twice the roundings of the longest way.
pub(crate) fn cosine_f32(len: usize) -> f64 {
    2.0 * 1.01 * (len as f64 + 8.0) * 2.0 * F64_ROUNDOFF
}

/// Largest distance of an element of a matrix product: one sum in order, so `depth` additions and as many products, the bias,
/// what was there before, and the rounding of the reference. `magnitude` is the sum of the magnitudes of all these.
pub(crate) fn gemm_f32(depth: usize, magnitude: f64) -> f64 {
    1.01 * (depth as f64 + 5.0) * F32_ROUNDOFF * magnitude + 2.0 * (depth as f64 + 1.0) * SUBNORMAL_LOSS
}

/// Largest distance of a GELU, in units in the last place of its argument. It is not bound relative to its result, which for
/// negative arguments is far smaller: the difference disappears when the result is added to others of the argument's size.
pub(crate) const GELU_ULP: f64 = 2.0;

/// As an absolute distance.
pub(crate) fn gelu_f32(x: f64) -> f64 {
    GELU_ULP * 2.0 * F32_ROUNDOFF * x.abs() + 2.0 * SUBNORMAL_LOSS
}

/// How much the error of an argument grows in a GELU: its steepest slope is 1.129.
pub(crate) const GELU_SLOPE: f64 = 1.13;

/// Shares of a row below this count as 0.
const SOFTMAX_FLOOR: f64 = 1.7e-38;

/// Largest distance of a share. The argument of its exponential is rounded twice, which moves the exponential by as much as
/// the argument is large; the exponential itself, the sum and the division are off by some roundings.
pub(crate) fn softmax_f32(len: usize, argument: f64, share: f64) -> f64 {
    let roundings = 2.0 * argument.abs() + len as f64 / 16.0 + 14.0;
    1.01 * roundings * F32_ROUNDOFF * share + SOFTMAX_FLOOR
}

/// Largest distance of an element of a normalised row: mean and variance are off by the roundings of their sums, relative to
/// the largest magnitude of the row, and are multiplied by `gain / deviation`.
pub(crate) fn layer_norm_f32(len: usize, largest: f64, gain_by_deviation: f64, bias: f64) -> f64 {
    let roundings = len as f64 / 64.0 + 24.0;
    2.0 * roundings * F32_ROUNDOFF * (largest * gain_by_deviation.abs() + bias.abs()) + SUBNORMAL_LOSS
}

#[test]
fn budgets_are_tight_enough_to_notice_a_lost_term() {
    // 1,000 equal terms: one that is missing is a thousandth, 100 times the loosest budget.
    for level in [Level::Portable, Level::Avx2, Level::Avx512, Level::Amx] {
        assert!(sum_f32(level, 1_000, 1_000.0) < 0.01, "{level:?}");
    }
    assert!(cosine_f32(1_000) < 1e-12);
}
