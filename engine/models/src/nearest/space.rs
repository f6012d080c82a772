//! From vectors to what the codes hold: centred, and for [`Metric::Cosine`] scaled to length 1.
//!
//! With the centre `m`, every metric ranks rows by `(q - m)·(x - m)` plus a number of the row, its *offset*:
//! ```text
//!  dot, cosine   q·x      =  (q - m)·(x - m) + m·(x - m)                 + q·m
//!  l2            -|q-x|²  =  2 [ (q - m)·(x - m) - |x - m|²/2 ]          - |q - m|²
//! ```
//! so one kind of code and one kind of scan serve all of them. The last terms are the same for all rows. Any centre is right;
//! the mean of the rows makes the codes most precise.

use promptc_kernels::Kernels;

use super::NearestError;

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

/// A metric with the centre of its rows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Space {
    pub(super) metric: Metric,
    pub(super) centre: Vec<f32>,
}

/// What turns the rank score of a row into the metric's score: `constant + factor * rank`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Terms {
    constant: f64,
    factor: f64,
}

impl Terms {
    pub(super) fn score(self, rank: f32) -> f64 {
        self.constant + self.factor * f64::from(rank)
    }
}

impl Space {
    /// The space whose centre is the mean of the rows, `vectors` being `[rows, dim]`; without rows it is the origin.
    pub(super) fn of(metric: Metric, dim: usize, vectors: &[f32]) -> Self {
        let mut sums = vec![0.0_f64; dim];
        let mut unit = vec![0.0; dim];
        let rows = vectors.chunks_exact(dim);
        let count = rows.len().max(1) as f64;
        for row in rows {
            scaled(metric, row, &mut unit);
            for (sum, value) in sums.iter_mut().zip(&unit) {
                *sum += f64::from(*value);
            }
        }
        Self { metric, centre: sums.iter().map(|sum| (sum / count) as f32).collect() }
    }

    /// Writes the centred row to `placed` and returns its offset.
    pub(super) fn place_row(&self, vector: &[f32], placed: &mut [f32]) -> f32 {
        self.place(vector, placed);
        self.offset(placed)
    }

    /// The offset of a centred row.
    pub(super) fn offset(&self, placed: &[f32]) -> f32 {
        match self.metric {
            Metric::Cosine | Metric::Dot => Kernels::best().dot_f32f64(&self.centre, placed) as f32,
            Metric::L2 => (-0.5 * Kernels::best().dot_f32f64(placed, placed)) as f32,
        }
    }

    /// Writes the centred query to `placed`.
    pub(super) fn place_query(&self, query: &[f32], placed: &mut [f32]) -> Terms {
        self.place(query, placed);
        let kernels = Kernels::best();
        match self.metric {
            Metric::Cosine | Metric::Dot => {
                // q·m = (q - m)·m + m·m, with the scaled query.
                let constant =
                    kernels.dot_f32f64(placed, &self.centre) + kernels.dot_f32f64(&self.centre, &self.centre);
                Terms { constant, factor: 1.0 }
            }
            Metric::L2 => Terms { constant: -kernels.dot_f32f64(placed, placed), factor: 2.0 },
        }
    }

    fn place(&self, vector: &[f32], placed: &mut [f32]) {
        scaled(self.metric, vector, placed);
        for (value, centre) in placed.iter_mut().zip(&self.centre) {
            *value -= centre;
        }
    }

    /// The score itself, from the vectors as they were given.
    pub(super) fn exact(&self, query: &[f32], query_norm: f64, vector: &[f32]) -> f64 {
        let kernels = Kernels::best();
        match self.metric {
            Metric::Dot => kernels.dot_f32f64(query, vector),
            Metric::L2 => -kernels.l2_f32f64(query, vector),
            Metric::Cosine => {
                let norms = query_norm * kernels.dot_f32f64(vector, vector).sqrt();
                if norms == 0.0 { 0.0 } else { kernels.dot_f32f64(query, vector) / norms }
            }
        }
    }
}

/// The vector, for [`Metric::Cosine`] at length 1; a zero vector stays zero.
fn scaled(metric: Metric, vector: &[f32], out: &mut [f32]) {
    out.copy_from_slice(vector);
    if metric == Metric::Cosine {
        let norm = norm(vector);
        if norm > 0.0 {
            let scale = 1.0 / norm;
            for value in out {
                *value = (f64::from(*value) * scale) as f32;
            }
        }
    }
}

/// Euclidean norm.
pub(super) fn norm(vector: &[f32]) -> f64 {
    Kernels::best().dot_f32f64(vector, vector).sqrt()
}

/// Refuses a vector of another length, and numbers with which no score is defined. The bound keeps squares within `f32`.
pub(super) fn check(vector: &[f32], dim: usize) -> Result<(), NearestError> {
    if vector.len() != dim {
        return Err(NearestError::Dim { found: vector.len(), expected: dim });
    }
    let is_usable = |value: &f32| value.abs() <= NearestError::LARGEST;
    match vector.iter().position(|value| !is_usable(value)) {
        Some(place) => Err(NearestError::Number { place, found: vector[place] }),
        None => Ok(()),
    }
}
