//! Tails of the normal and of Student's distribution, to about 13 digits even where they are tiny.

use std::f64::consts::{PI, SQRT_2};

/// Terms after which the series and fractions below have long converged.
const MAX_TERMS: usize = 500;

/// Probability that a standard normal number is at least as far from 0 as `z`; not a number for one that is not. O(1).
pub(super) fn normal_two_sided(z: f64) -> f64 {
    let x = z.abs() / SQRT_2;
    if x.is_nan() {
        f64::NAN
    } else if x < 2.0 {
        1.0 - error_series(x)
    } else {
        error_fraction(x)
    }
}

/// The number below which a standard normal number lies with probability `p` in 0.5..1, by bisection of its tail. O(1).
pub(super) fn normal_quantile(p: f64) -> f64 {
    let tail = 2.0 * (1.0 - p);
    let (mut low, mut high) = (0.0, 40.0);
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        if normal_two_sided(middle) > tail { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

/// Probability that Student's t with `freedom` degrees is at least as far from 0 as `t`; not a number for one that is not. O(1).
pub(super) fn student_two_sided(t: f64, freedom: f64) -> f64 {
    if t.is_nan() || t.is_infinite() {
        return if t.is_nan() { f64::NAN } else { 0.0 };
    }
    let square = t * t;
    if square.is_infinite() {
        return 0.0;
    }
    // The incomplete beta function of x = freedom / (freedom + t²); 1 - x without cancellation.
    let (x, rest) = (freedom / (freedom + square), square / (freedom + square));
    incomplete_beta(freedom / 2.0, 0.5, x, rest)
}

/// erf by its series with positive terms only (Abramowitz and Stegun 7.1.6), for x below 2.
fn error_series(x: f64) -> f64 {
    let (mut term, mut sum) = (x, x);
    for idx in 1..MAX_TERMS {
        term *= 2.0 * x * x / (2 * idx + 1) as f64;
        sum += term;
        if term < sum * 1e-17 {
            break;
        }
    }
    2.0 / PI.sqrt() * (-x * x).exp() * sum
}

/// erfc by its continued fraction (Abramowitz and Stegun 7.1.14), from the back, for x of at least 2.
fn error_fraction(x: f64) -> f64 {
    let fraction = (1..=200).rev().fold(x, |below, idx| x + f64::from(idx) / 2.0 / below);
    (-x * x).exp() / PI.sqrt() / fraction
}

/// The regularised incomplete beta function of x, with `rest` = 1 - x, by the continued fraction that converges faster.
fn incomplete_beta(a: f64, b: f64, x: f64, rest: f64) -> f64 {
    if x <= 0.0 || rest <= 0.0 {
        return if x <= 0.0 { 0.0 } else { 1.0 };
    }
    let front = (a * x.ln() + b * rest.ln() + ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b)).exp();
    if x < (a + 1.0) / (a + b + 2.0) {
        front * beta_fraction(a, b, x) / a
    } else {
        1.0 - front * beta_fraction(b, a, rest) / b
    }
}

/// The continued fraction of the incomplete beta function (Abramowitz and Stegun 26.5.8) by Lentz's method.
fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    let nonzero = |value: f64| if value.abs() < 1e-300 { 1e-300 } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / nonzero(1.0 - (a + b) * x / (a + 1.0));
    let mut product = d;
    for idx in 1..MAX_TERMS {
        let m = idx as f64;
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        for coefficient in [even, odd] {
            d = 1.0 / nonzero(1.0 + coefficient * d);
            c = nonzero(1.0 + coefficient / c);
            product *= c * d;
        }
        if (c * d - 1.0).abs() < 1e-16 {
            break;
        }
    }
    product
}

/// Logarithm of the gamma function for positive x (Lanczos 1964, g = 7, nine terms).
fn ln_gamma(x: f64) -> f64 {
    const TERMS: [f64; 9] = [
        0.999_999_999_999_809_9,
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    let x = x - 1.0;
    let base = x + 7.5;
    let sum: f64 = TERMS[1..].iter().enumerate().map(|(idx, term)| term / (x + (idx + 1) as f64)).sum();
    0.5 * (2.0 * PI).ln() + (x + 0.5) * base.ln() - base + (TERMS[0] + sum).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, expected: f64, digits: i32) {
        assert!((found / expected - 1.0).abs() < 10_f64.powi(-digits), "{found} instead of {expected}");
    }

    #[test]
    fn both_forms_of_the_normal_tail_agree_where_they_meet() {
        for x in [1.8, 2.0, 2.2] {
            near(1.0 - error_series(x), error_fraction(x), 12);
        }
        near(normal_two_sided(1.959_963_984_540_054), 0.05, 13);
        near(normal_quantile(0.975), 1.959_963_984_540_054, 14);
        assert_eq!((normal_two_sided(0.0), normal_two_sided(1e9)), (1.0, 0.0));
        assert!(normal_two_sided(f64::NAN).is_nan());
    }

    /// Closed forms: one degree is Cauchy's distribution, two degrees an algebraic function.
    #[test]
    fn tails_of_student() {
        for t in [1e-9, 0.3, 1.0, 2.5, 40.0, 1e6] {
            near(student_two_sided(t, 1.0), 2.0 / PI * (1.0 / t).atan(), 12);
            near(student_two_sided(-t, 2.0), 2.0 / ((2.0 + t * t).sqrt() * ((2.0 + t * t).sqrt() + t)), 12);
        }
        assert_eq!(student_two_sided(0.0, 5.0), 1.0);
        assert_eq!((student_two_sided(f64::INFINITY, 5.0), student_two_sided(1e200, 5.0)), (0.0, 0.0));
        assert!(student_two_sided(f64::NAN, 5.0).is_nan());
    }
}
