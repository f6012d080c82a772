//! Seeded k-means for inverted lists and product quantisers.
//!
//! Lance can train both, but its inverted lists start from the operating system's randomness; trained here, two builds of
//! the same rows give the same lists. Start: k-means++ (Arthur and Vassilvitskii, "k-means++: The Advantages of Careful
//! Seeding", 2007); then Lloyd's iterations. Rows go in by the order of their keys, not by their place in the file. The
//! distances are those of Lance's kernels, whose order of addition depends on the processor's registers: another kind of
//! processor may train slightly other lists.

use super::distance::{Metric, raw_batch_f32, raw_f32};

/// Lloyd iterations at most; on embeddings the loss changes by less than a percent after ten.
const ITERATIONS_MAX: usize = 12;
/// Training rows per centroid; more do not change the lists noticeably and cost time in proportion.
const ROWS_PER_CENTROID: usize = 128;

/// SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
#[derive(Debug, Clone)]
pub(super) struct Generator(u64);

impl Generator {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number in `[0, 1)`.
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A number in `[0, count)`; the bias for counts below 2^32 is below 2^-32.
    pub(super) fn below(&mut self, count: usize) -> usize {
        ((u128::from(self.next()) * count as u128) >> 64) as usize
    }
}

/// Rows of equal length, one after the other.
#[derive(Debug, Clone)]
pub(super) struct Matrix {
    pub(super) values: Vec<f32>,
    pub(super) dim: usize,
}

impl Matrix {
    pub(super) fn row_count(&self) -> usize {
        self.values.len() / self.dim
    }

    pub(super) fn row(&self, row_idx: usize) -> &[f32] {
        &self.values[row_idx * self.dim..(row_idx + 1) * self.dim]
    }

    /// The columns `[start, start + dim)`.
    pub(super) fn columns(&self, start: usize, dim: usize) -> Self {
        let values =
            self.values.chunks_exact(self.dim).flat_map(|row| &row[start..start + dim]).copied().collect();
        Self { values, dim }
    }
}

/// At most `ROWS_PER_CENTROID · centroid_count` rows drawn without repetition, in their order.
pub(super) fn sample(rows: &Matrix, centroid_count: usize, generator: &mut Generator) -> Matrix {
    let row_count = rows.row_count();
    let wanted = (centroid_count * ROWS_PER_CENTROID).min(row_count);
    let mut values = Vec::with_capacity(wanted * rows.dim);
    let mut left = wanted;
    for row_idx in 0..row_count {
        if generator.below(row_count - row_idx) < left {
            values.extend_from_slice(rows.row(row_idx));
            left -= 1;
        }
    }
    Matrix { values, dim: rows.dim }
}

/// `centroid_count` centroids of `rows`. With fewer different rows than centroids, the remaining ones repeat.
/// Cost: about 13 · rows · centroids · dim multiplications.
pub(super) fn k_means(rows: &Matrix, centroid_count: usize, generator: &mut Generator) -> Matrix {
    let mut centroids = seed_centroids(rows, centroid_count, generator);
    let mut nearest: Vec<u32> = Vec::new();
    for _ in 0..ITERATIONS_MAX {
        let next = assign(rows, &centroids);
        if next == nearest {
            break;
        }
        nearest = next;
        move_centroids(rows, &nearest, &mut centroids);
    }
    centroids
}

/// For each row the centroid at the least Euclidean distance, the first of equals.
pub(super) fn assign(rows: &Matrix, centroids: &Matrix) -> Vec<u32> {
    let half_square = |centroid: &[f32]| raw_f32(Metric::Dot, centroid, centroid) / 2.0;
    let half_squares: Vec<f32> = centroids.values.chunks_exact(centroids.dim).map(half_square).collect();
    let mut products = vec![0f32; half_squares.len()];
    let mut nearest = |row: &[f32]| {
        // |r - c|^2 is least where r·c - |c|^2/2 is greatest.
        raw_batch_f32(Metric::Dot, row, &centroids.values, &mut products);
        let mut best = (0u32, f32::NEG_INFINITY);
        for ((product, half_square), centroid_idx) in products.iter().zip(&half_squares).zip(0u32..) {
            if product - half_square > best.1 {
                best = (centroid_idx, product - half_square);
            }
        }
        best.0
    };
    rows.values.chunks_exact(rows.dim).map(&mut nearest).collect()
}

/// k-means++: each next centroid is a row drawn with probability proportional to its squared distance to those before.
fn seed_centroids(rows: &Matrix, centroid_count: usize, generator: &mut Generator) -> Matrix {
    let row_count = rows.row_count();
    let mut centroids = Matrix { values: Vec::with_capacity(centroid_count * rows.dim), dim: rows.dim };
    let mut distances = vec![f32::INFINITY; row_count];
    let mut latest = vec![0f32; row_count];
    let mut chosen = generator.below(row_count);
    for _ in 0..centroid_count {
        let centroid = rows.row(chosen);
        centroids.values.extend_from_slice(centroid);
        let mut total = 0f64;
        raw_batch_f32(Metric::L2, centroid, &rows.values, &mut latest);
        for (distance, latest) in distances.iter_mut().zip(&latest) {
            *distance = distance.min(*latest);
            total += f64::from(*distance);
        }
        let mut target = generator.unit() * total;
        chosen = row_count - 1;
        for (row_idx, &distance) in distances.iter().enumerate() {
            target -= f64::from(distance);
            if target < 0.0 {
                chosen = row_idx;
                break;
            }
        }
    }
    centroids
}

/// Each centroid becomes the mean of its rows; one without rows stays where it is.
fn move_centroids(rows: &Matrix, nearest: &[u32], centroids: &mut Matrix) {
    let dim = rows.dim;
    let mut sums = vec![0f64; centroids.values.len()];
    let mut counts = vec![0u32; centroids.row_count()];
    for (row, &centroid_idx) in rows.values.chunks_exact(dim).zip(nearest) {
        let start = centroid_idx as usize * dim;
        counts[centroid_idx as usize] += 1;
        for (sum, &value) in sums[start..start + dim].iter_mut().zip(row) {
            *sum += f64::from(value);
        }
    }
    for (centroid_idx, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let columns = centroid_idx * dim..(centroid_idx + 1) * dim;
        for (value, sum) in centroids.values[columns.clone()].iter_mut().zip(&sums[columns]) {
            *value = (sum / f64::from(count)) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separate_clusters_are_found_and_the_seed_decides() {
        let mut generator = Generator::new(1);
        let values = (0..300)
            .flat_map(|row| [(row % 3) as f32 * 10.0 + generator.unit() as f32, generator.unit() as f32]);
        let rows = Matrix { values: values.collect(), dim: 2 };
        let centroids = k_means(&rows, 3, &mut Generator::new(5));
        assert_eq!(centroids.values, k_means(&rows, 3, &mut Generator::new(5)).values);
        let mut places: Vec<i32> = centroids.values.chunks(2).map(|c| (c[0] / 10.0).floor() as i32).collect();
        places.sort_unstable();
        assert_eq!(places, [0, 1, 2]);
    }

    #[test]
    fn fewer_different_rows_than_centroids() {
        let rows = Matrix { values: vec![1.0, 2.0, 1.0, 2.0], dim: 2 };
        assert_eq!(k_means(&rows, 3, &mut Generator::new(0)).values, [1.0, 2.0, 1.0, 2.0, 1.0, 2.0]);
    }

    #[test]
    fn a_sample_keeps_order_and_does_not_repeat() {
        let rows = Matrix { values: (0..1000).map(|n| n as f32).collect(), dim: 1 };
        let drawn = sample(&rows, 2, &mut Generator::new(3));
        assert_eq!(drawn.row_count(), 256);
        assert!(drawn.values.is_sorted_by(|a, b| a < b));
    }
}
