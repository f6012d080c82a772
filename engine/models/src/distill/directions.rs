//! Directions in which vectors vary most: the right singular vectors of a matrix, largest first.

use promptc_kernels::{Epilogue, Kernels, MatrixF32, PackedF32};

use super::Workers;
use super::workers::each;

/// Rows whose products are added in `f32`; those of all blocks are added in `f64`.
const BLOCK_ROWS: usize = 1024;
/// Blocks of a round: as many products are held at once.
const ROUND_BLOCKS: usize = 8;
/// Most sweeps; a matrix of 384 needs about 9.
const SWEEPS_MAX: usize = 60;
/// Sweeps end when the sum of the squares beside the diagonal is this part of that of all.
const REST_MAX: f64 = 1e-24;

/// `count` directions of the rows of `values`, `[rows, dim]`, as columns of a matrix `[dim, count]`: the eigenvectors of
/// `values' x values`, not centred, of the largest eigenvalues. The largest component of each is positive, the first of them
/// if two are equal.
///
/// # Panics
/// If there are more directions than components.
pub(super) fn directions(
    kernels: &Kernels,
    values: &[f32],
    dim: usize,
    count: usize,
    workers: &dyn Workers,
) -> Vec<f32> {
    assert!(count <= dim, "no more directions than components");
    let mut square = squares(kernels, values, dim, workers);
    let mut vectors = eigenvectors(&mut square, dim);
    let mut order: Vec<usize> = (0..dim).collect();
    order.sort_by(|left, right| square[right * dim + right].total_cmp(&square[left * dim + left]));
    let mut columns = vec![0.0; dim * count];
    for (column, idx) in order[..count].iter().enumerate() {
        let vector = &mut vectors[idx * dim..][..dim];
        let largest = vector
            .iter()
            .fold(0.0_f64, |largest, value| if value.abs() > largest.abs() { *value } else { largest });
        for (row, value) in vector.iter().enumerate() {
            columns[row * count + column] = (value * largest.signum()) as f32;
        }
    }
    columns
}

/// `values' x values`, `[dim, dim]`.
fn squares(kernels: &Kernels, values: &[f32], dim: usize, workers: &dyn Workers) -> Vec<f64> {
    let mut sums = vec![0.0; dim * dim];
    let mut products = vec![0.0; ROUND_BLOCKS * dim * dim];
    for round in values.chunks(ROUND_BLOCKS * BLOCK_ROWS * dim) {
        let blocks = round.chunks(BLOCK_ROWS * dim);
        let block_count = blocks.len();
        each(workers, blocks.zip(products.chunks_mut(dim * dim)), |_, (block, product)| {
            let rows = block.len() / dim;
            let mut right = PackedF32::default();
            right.fill_rows(block, dim, rows, dim);
            let left = transposed(block, rows, dim);
            let left = MatrixF32 { values: &left, rows: dim, stride: rows };
            kernels.gemm_f32(left, &right, Epilogue::Store, product, dim);
        });
        for product in products.chunks(dim * dim).take(block_count) {
            for (sum, value) in sums.iter_mut().zip(product) {
                *sum += f64::from(*value);
            }
        }
    }
    // Both halves are the same sums in the same order; this only makes it plain.
    for row in 0..dim {
        for column in 0..row {
            sums[row * dim + column] = sums[column * dim + row];
        }
    }
    sums
}

/// A matrix `[rows, columns]` as `[columns, rows]`.
pub(super) fn transposed(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut out = vec![0.0; values.len()];
    for (row, values) in values.chunks_exact(columns).enumerate() {
        for (column, value) in values.iter().enumerate() {
            out[column * rows + row] = *value;
        }
    }
    out
}

/// Makes a symmetric matrix diagonal by rotations in a fixed order and returns the eigenvectors, one a row: the cyclic method
/// of Jacobi (Golub and Van Loan, "Matrix Computations", section 8.5). The eigenvalues are on the diagonal.
fn eigenvectors(matrix: &mut [f64], dim: usize) -> Vec<f64> {
    let mut vectors = vec![0.0; dim * dim];
    (0..dim).for_each(|idx| vectors[idx * dim + idx] = 1.0);
    let total: f64 = matrix.iter().map(|value| value * value).sum();
    for _ in 0..SWEEPS_MAX {
        let beside = |row: usize| {
            matrix[row * dim + row + 1..(row + 1) * dim].iter().map(|value| value * value).sum::<f64>()
        };
        if (0..dim).map(beside).sum::<f64>() <= REST_MAX * total {
            break;
        }
        for low in 0..dim {
            for high in low + 1..dim {
                rotate(matrix, &mut vectors, dim, low, high);
            }
        }
    }
    vectors
}

/// The rotation of rows and columns `low` and `high` that makes their common element zero. Only whole rows are kept: element
/// (`low`, `k`) is also element (`k`, `low`).
fn rotate(matrix: &mut [f64], vectors: &mut [f64], dim: usize, low: usize, high: usize) {
    let common = matrix[low * dim + high];
    if common == 0.0 {
        return;
    }
    let (left, right) = (matrix[low * dim + low], matrix[high * dim + high]);
    let ratio = (right - left) / (2.0 * common);
    let tangent = ratio.signum() / (ratio.abs() + (ratio * ratio + 1.0).sqrt());
    let cosine = 1.0 / (tangent * tangent + 1.0).sqrt();
    let sine = tangent * cosine;
    turn(matrix, dim, low, high, cosine, sine);
    for row in 0..dim {
        if row != low && row != high {
            matrix[row * dim + low] = matrix[low * dim + row];
            matrix[row * dim + high] = matrix[high * dim + row];
        }
    }
    matrix[low * dim + low] = left - tangent * common;
    matrix[high * dim + high] = right + tangent * common;
    matrix[low * dim + high] = 0.0;
    matrix[high * dim + low] = 0.0;
    turn(vectors, dim, low, high, cosine, sine);
}

/// Turns two rows by an angle.
fn turn(matrix: &mut [f64], dim: usize, low: usize, high: usize, cosine: f64, sine: f64) {
    let (before, after) = matrix.split_at_mut(high * dim);
    for (left, right) in before[low * dim..][..dim].iter_mut().zip(&mut after[..dim]) {
        (*left, *right) = (cosine * *left - sine * *right, sine * *left + cosine * *right);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distill::OneWorker;

    #[test]
    fn directions_are_those_of_the_singular_vectors() {
        let (rows, dim, count) = (50, 7, 4);
        let mut state = 3_u64;
        let mut draw = || {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            (state >> 40) as f32 / (1 << 24) as f32 - 0.4
        };
        let values: Vec<f32> = (0..rows * dim).map(|_| draw()).collect();
        let found = directions(&Kernels::best(), &values, dim, count, &OneWorker);
        let column =
            |idx: usize| -> Vec<f64> { (0..dim).map(|row| f64::from(found[row * count + idx])).collect() };
        let image = |vector: &[f64]| -> Vec<f64> {
            let mut out = vec![0.0; dim];
            for row in values.chunks(dim) {
                let dot: f64 = row.iter().zip(vector).map(|(left, right)| f64::from(*left) * right).sum();
                out.iter_mut().zip(row).for_each(|(out, value)| *out += dot * f64::from(*value));
            }
            out
        };
        let mut last = f64::INFINITY;
        for idx in 0..count {
            let vector = column(idx);
            let image = image(&vector);
            let size = image.iter().zip(&vector).map(|(left, right)| left * right).sum::<f64>();
            for (image, value) in image.iter().zip(&vector) {
                assert!((image - size * value).abs() < 1e-5 * size, "{idx}: {image} {}", size * value);
            }
            assert!(size < last, "in order");
            last = size;
            for other in 0..idx {
                let dot: f64 = column(other).iter().zip(&vector).map(|(left, right)| left * right).sum();
                assert!(dot.abs() < 1e-6);
            }
            assert!(
                vector.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()))
                    == vector.iter().copied().fold(0.0, f64::max)
            );
        }
        // The rest has less than the last of them: power iteration finds no larger size beside.
        let total: f64 = values.iter().map(|value| f64::from(*value).powi(2)).sum();
        let kept: f64 = (0..count)
            .map(|idx| {
                image(&column(idx)).iter().zip(column(idx)).map(|(left, right)| left * right).sum::<f64>()
            })
            .sum();
        assert!(kept < total && total - kept < last * (dim - count) as f64);
    }
}
