//! Student's t-test between two segments of a series.

use super::Mode;
use crate::sql::stats::distributions::student_two_sided;

/// What the test needs to know of a segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    count: f64,
    mean: f64,
    /// Sum of the squared distances from the mean.
    squares: f64,
}

impl Segment {
    /// A segment of at least one value. O(n).
    pub(super) fn of(values: &[f64]) -> Self {
        let count = values.len() as f64;
        let mean = pairwise_sum(values, |value| value) / count;
        let squares = pairwise_sum(values, |value| (value - mean) * (value - mean));
        Segment { count, mean, squares }
    }
}

/// Result of the test.
#[derive(Debug, Clone, Copy)]
pub(super) struct TTest {
    /// Mean of the values before.
    pub(super) before: f64,
    /// Mean of the values after.
    pub(super) after: f64,
    /// Two-sided probability; not a number for equal means without deviations, which passes no level.
    pub(super) p: f64,
}

impl TTest {
    /// Student's two-sided test with pooled variance. Otava puts deviations of a population where those of a sample belong.
    pub(super) fn of(before: Segment, after: Segment, mode: Mode) -> Self {
        let freedom = before.count + after.count - 2.0;
        let squares = match mode {
            Mode::Default => before.squares + after.squares,
            Mode::Otava => {
                [before, after].map(|part| (part.count - 1.0) * part.squares / part.count).iter().sum()
            }
        };
        let deviation = (squares / freedom * (1.0 / before.count + 1.0 / after.count)).sqrt();
        let p = if freedom > 0.0 {
            student_two_sided((before.mean - after.mean) / deviation, freedom)
        } else {
            1.0
        };
        TTest { before: before.mean, after: after.mean, p }
    }
}

/// Sum in halves down to runs of 128, each in eight interleaved sums, so that the error grows with the logarithm of the length
/// (Higham 1993) and the rounding is that of NumPy.
fn pairwise_sum(values: &[f64], term: impl Fn(f64) -> f64 + Copy) -> f64 {
    if values.len() > 128 {
        let half = values.len() / 2;
        let (left, right) = values.split_at(half - half % 8);
        return pairwise_sum(left, term) + pairwise_sum(right, term);
    }
    let (eights, rest) = values.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for eight in eights {
        sums.iter_mut().zip(eight).for_each(|(sum, value)| *sum += term(*value));
    }
    let [a, b, c, d, e, f, g, h] = sums;
    let sum = ((a + b) + (c + d)) + ((e + f) + (g + h));
    rest.iter().fold(sum, |sum, value| sum + term(*value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_all_lengths() {
        for count in [1, 7, 8, 9, 127, 129, 300] {
            let values: Vec<f64> = (1..=count).map(f64::from).collect();
            assert_eq!(pairwise_sum(&values, |value| value), f64::from(count * (count + 1) / 2));
        }
    }

    #[test]
    fn the_test_by_hand() {
        // Means 2 and 6, squares 2 and 2, four degrees: t = 4 / sqrt(2/3).
        let (before, after) = (Segment::of(&[1.0, 2.0, 3.0]), Segment::of(&[5.0, 6.0, 7.0]));
        let found = TTest::of(before, after, Mode::Default);
        assert_eq!((found.before, found.after), (2.0, 6.0));
        let t: f64 = 4.0 / (1.0_f64 * 2.0 / 3.0).sqrt();
        // Closed form for four degrees.
        let s = t / (4.0 + t * t).sqrt();
        assert!((found.p - (1.0 - s * (3.0 - s * s) / 2.0)).abs() < 1e-12, "{found:?}");
        assert!(TTest::of(before, after, Mode::Otava).p < found.p);
    }

    #[test]
    fn segments_without_deviations() {
        let flat = |value: f64| Segment::of(&[value; 4]);
        assert_eq!(TTest::of(flat(1.0), flat(2.0), Mode::Default).p, 0.0);
        assert!(TTest::of(flat(1.0), flat(1.0), Mode::Default).p.is_nan());
        let one = |value: f64| Segment::of(&[value]);
        assert_eq!(TTest::of(one(1.0), one(2.0), Mode::Default).p, 1.0);
    }
}
