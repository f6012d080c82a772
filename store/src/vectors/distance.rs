//! Similarity of two vectors: a fast form in `f32` with a bound on its error, and the exact form in `f64`.
//!
//! The fast form sorts out candidates; only the exact form is ever reported. Both add in a fixed order, so that a score does
//! not depend on the machine, the thread or the place of the vector in the index.

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

/// Parallel sums of the fast form: two registers of four lanes on every x86-64.
const LANES: usize = 8;

/// Inner product in `f32` with eight running sums. Vectors of equal length.
#[inline]
pub(super) fn dot_f32(left: &[f32], right: &[f32]) -> f32 {
    let mut sums = [0f32; LANES];
    let (left_chunks, right_chunks) = (left.chunks_exact(LANES), right.chunks_exact(LANES));
    let rest: f32 = left_chunks.remainder().iter().zip(right_chunks.remainder()).map(|(l, r)| l * r).sum();
    for (left_chunk, right_chunk) in left_chunks.zip(right_chunks) {
        for lane in 0..LANES {
            sums[lane] += left_chunk[lane] * right_chunk[lane];
        }
    }
    sums.iter().sum::<f32>() + rest
}

/// Squared Euclidean distance in `f32` with eight running sums. Vectors of equal length.
#[inline]
pub(super) fn squared_distance_f32(left: &[f32], right: &[f32]) -> f32 {
    let mut sums = [0f32; LANES];
    let (left_chunks, right_chunks) = (left.chunks_exact(LANES), right.chunks_exact(LANES));
    let rest: f32 =
        left_chunks.remainder().iter().zip(right_chunks.remainder()).map(|(l, r)| (l - r) * (l - r)).sum();
    for (left_chunk, right_chunk) in left_chunks.zip(right_chunks) {
        for lane in 0..LANES {
            let difference = left_chunk[lane] - right_chunk[lane];
            sums[lane] += difference * difference;
        }
    }
    sums.iter().sum::<f32>() + rest
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

/// The score in `f32` and how far it may be from [`exact_score`]. Where `f32` overflows, the bound is infinite.
#[inline]
pub(super) fn fast_score(
    metric: Metric,
    query: &[f32],
    query_norm: f64,
    vector: &[f32],
    norm: f64,
) -> (f64, f64) {
    // A sum of n products in f32, in any order, is off by at most about n·eps·sum|terms| (Higham, "Accuracy and Stability
    // of Numerical Algorithms", section 3.1); doubled for the f64 side and the division. Underflow adds a trifle.
    let relative = (query.len() + 2) as f64 * f64::from(f32::EPSILON);
    let (score, error) = match metric {
        Metric::Dot => (f64::from(dot_f32(query, vector)), relative * query_norm * norm),
        Metric::Cosine if query_norm == 0.0 || norm == 0.0 => (0.0, 0.0),
        Metric::Cosine => (f64::from(dot_f32(query, vector)) / (query_norm * norm), relative),
        Metric::L2 => {
            let distance = f64::from(squared_distance_f32(query, vector));
            (-distance, relative * 2.0 * distance)
        }
    };
    let tiny = f64::from(f32::MIN_POSITIVE) * query.len() as f64;
    let tiny =
        if metric == Metric::Cosine && query_norm * norm > 0.0 { tiny / (query_norm * norm) } else { tiny };
    if score.is_finite() { (score, error + tiny) } else { (0.0, f64::INFINITY) }
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
                    let (fast, error) = fast_score(metric, &query, query_norm, &vector, norm);
                    let exact = exact_score(metric, &query, query_norm, &vector, norm);
                    assert!(
                        (fast - exact).abs() <= error,
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
        assert_eq!(fast_score(Metric::Cosine, &one, norm_f64(&one), &zero, 0.0).0, 0.0);
    }
}
