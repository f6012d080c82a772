//! Similarity of two vectors: a fast form in `f32` with a bound on its error, and the exact form in `f64`.
//!
//! The fast form sorts out candidates; only the exact form, which adds in a fixed order, is ever reported: a score does
//! not depend on the machine, the thread or the place of the vector in the index.

use lance_linalg::distance::{Dot, L2};

/// How two vectors are compared. A greater score is always the better one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Cosine of the angle, -1 to 1; 0 if one of the vectors is zero.
    Cosine,
    /// Inner product.
    Dot,
    /// Negative squared Euclidean distance.
    L2,
}

impl Metric {
    /// The name in the language.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cosine => "cosine",
            Self::Dot => "dot",
            Self::L2 => "l2",
        }
    }
}

/// What the fast form computes of two vectors: the inner product, or the squared distance for [`Metric::L2`], in `f32`.
/// Lance's kernels choose the processor's widest registers at run time; they are compiled with full optimisation in every
/// profile, while loops of this crate are not vectorised in the development profile. Their order of addition depends on the
/// processor, which [`fast_score`] allows for.
#[inline]
pub(super) fn raw_f32(metric: Metric, query: &[f32], vector: &[f32]) -> f32 {
    match metric {
        Metric::Cosine | Metric::Dot => f32::dot(query, vector),
        Metric::L2 => f32::l2(query, vector),
    }
}

/// [`raw_f32`] of `query` and each of the vectors that stand one after the other in `vectors`, one for each of `raws`.
pub(super) fn raw_batch_f32(metric: Metric, query: &[f32], vectors: &[f32], raws: &mut [f32]) {
    match metric {
        Metric::Cosine | Metric::Dot => f32::dot_batch_into(query, vectors, query.len(), raws),
        Metric::L2 => f32::l2_batch_into(query, vectors, query.len(), raws),
    }
}

/// Euclidean norm in `f64`, terms added in order.
pub(super) fn norm_f64(vector: &[f32]) -> f64 {
    vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt()
}

/// The score that is reported: `f64`, terms added in order. `query_norm` and `norm` are [`norm_f64`] of the two.
pub(super) fn exact_score(metric: Metric, query: &[f32], query_norm: f64, vector: &[f32], norm: f64) -> f64 {
    let dot = || query.iter().zip(vector).map(|(&q, &v)| f64::from(q) * f64::from(v)).sum::<f64>();
    match metric {
        Metric::Dot => dot(),
        Metric::Cosine if query_norm == 0.0 || norm == 0.0 => 0.0,
        Metric::Cosine => dot() / (query_norm * norm),
        Metric::L2 => {
            let squares = query.iter().zip(vector).map(|(&q, &v)| {
                let difference = f64::from(q) - f64::from(v);
                difference * difference
            });
            -squares.sum::<f64>()
        }
    }
}

/// The score from the `raw` value of [`raw_f32`], and how far it may be from [`exact_score`]. Where `f32` overflows, the
/// bound is infinite.
#[inline]
pub(super) fn fast_score(metric: Metric, raw: f32, dim: usize, query_norm: f64, norm: f64) -> (f64, f64) {
    // A sum of n products in f32, in any order, is off by at most about n·eps·sum|terms| (Higham, "Accuracy and Stability
    // of Numerical Algorithms", section 3.1); eps is twice the unit roundoff, which leaves room for the f64 side and the
    // division. Underflow adds a trifle.
    let relative = (dim + 2) as f64 * f64::from(f32::EPSILON);
    let tiny = f64::from(f32::MIN_POSITIVE) * dim as f64;
    let raw = f64::from(raw);
    let (score, error) = match metric {
        Metric::Dot => (raw, relative * query_norm * norm + tiny),
        Metric::Cosine if query_norm == 0.0 || norm == 0.0 => (0.0, 0.0),
        Metric::Cosine => (raw / (query_norm * norm), relative + tiny / (query_norm * norm)),
        Metric::L2 => (-raw, relative * 2.0 * raw + tiny),
    };
    if score.is_finite() { (score, error) } else { (0.0, f64::INFINITY) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::train::Generator;

    #[test]
    fn fast_scores_stay_within_their_bound() {
        let mut generator = Generator::new(7);
        for dim in [1, 3, 8, 17, 64, 257] {
            for scale in [1e-30f32, 1e-3, 1.0, 1e6, 1e25] {
                let mut vector =
                    || -> Vec<f32> { (0..dim).map(|_| (generator.unit() as f32 - 0.5) * scale).collect() };
                let (query, vector) = (vector(), vector());
                let (query_norm, norm) = (norm_f64(&query), norm_f64(&vector));
                for metric in [Metric::Cosine, Metric::Dot, Metric::L2] {
                    let raw = raw_f32(metric, &query, &vector);
                    let mut raws = [0.0];
                    raw_batch_f32(metric, &query, &vector, &mut raws);
                    let (fast, error) = fast_score(metric, raw, dim, query_norm, norm);
                    let (batched, _) = fast_score(metric, raws[0], dim, query_norm, norm);
                    let exact = exact_score(metric, &query, query_norm, &vector, norm);
                    assert!(
                        (fast - exact).abs() <= error && (batched - exact).abs() <= error,
                        "{metric:?} dim {dim} scale {scale}: {fast} {exact} {error}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_zero_vector_is_similar_to_nothing() {
        let (zero, one) = ([0.0f32; 9], [1.0f32; 9]);
        assert_eq!(exact_score(Metric::Cosine, &zero, 0.0, &one, norm_f64(&one)), 0.0);
        assert_eq!(fast_score(Metric::Cosine, 0.0, 9, norm_f64(&one), 0.0).0, 0.0);
    }
}
