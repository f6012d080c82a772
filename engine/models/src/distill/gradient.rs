//! What a batch of texts says about the parameters: loss and gradient, written out by hand.
//!
//! ```text
//!  text i of n pieces:  s = sum w_t E_t / sqrt n     z = s M + sum w_t D_t / sqrt n     u = z / |z|          w = exp(log w)
//!  loss:  mean (1 - u y)  +  mean over i of KL(P_i, Q_i)  +  decay x mean over the pieces of |D_t|^2
//!         P_i = softmax over j != i of (y_i y_j / temperature), Q_i the same of u
//!  back:  du_i = sum_j (G_ij + G_ji) u_j / temperature - y_i / count,  G = (Q - P) / count
//!         dz = (du - u (u du)) / |z|      dM = s' dz      ds = dz M'
//!         a_t = sum dz / sqrt n, c_t = sum ds / sqrt n over the places of t:   dD_t = w_t a_t,   d log w_t = w_t (E_t c_t + D_t a_t)
//! ```

use promptc_kernels::{Epilogue, Kernels, MatrixF32, PackedF32};

use super::Workers;
use super::directions::transposed;
use super::workers::each;

/// Texts of a job.
const PART_TEXTS: usize = 32;
/// Pieces of a job.
const PART_PIECES: usize = 256;
/// Stands for the similarity of a text with itself: its share is 0.
const MASKED: f32 = -1e3;

/// The parameters, and the vectors of the pieces from which they start.
pub(super) struct Student<'a> {
    /// E, `[ids, source_dim]`.
    pub(super) pieces: &'a [f32],
    pub(super) source_dim: usize,
    pub(super) dim: usize,
    /// M, `[source_dim, dim]`.
    pub(super) map: Vec<f32>,
    /// D, `[ids, dim]`.
    pub(super) rows: Vec<f32>,
    /// Of each id.
    pub(super) log_weights: Vec<f32>,
}

/// Texts of one step.
#[derive(Default)]
pub(super) struct Batch {
    /// Pieces of all texts.
    pub(super) ids: Vec<u32>,
    /// Where the pieces of each text end; each text has some.
    pub(super) ends: Vec<usize>,
    /// y of each, `[texts, dim]`.
    pub(super) targets: Vec<f32>,
}

/// What the loss is made of beside the texts.
#[derive(Clone, Copy)]
pub(super) struct Loss {
    pub(super) temperature: f32,
    pub(super) decay: f32,
}

/// Derivatives of the loss.
pub(super) struct Gradient {
    /// The loss.
    pub(super) loss: f64,
    /// By M.
    pub(super) map: Vec<f32>,
    /// The pieces of the batch, ascending; others have no derivative.
    pub(super) ids: Vec<u32>,
    /// By D, `[ids, dim]`.
    pub(super) rows: Vec<f32>,
    /// By log w, one for each of `ids`.
    pub(super) log_weights: Vec<f32>,
}

impl Batch {
    fn text(&self, idx: usize) -> &[u32] {
        let start = if idx == 0 { 0 } else { self.ends[idx - 1] };
        &self.ids[start..self.ends[idx]]
    }
}

/// Vectors of a batch.
struct Vectors {
    /// s, `[texts, source_dim]`.
    sums: Vec<f32>,
    /// u, `[texts, dim]`.
    units: Vec<f32>,
    /// 1 / |z|, or 0.
    inverse_lengths: Vec<f32>,
}

impl Student<'_> {
    /// The rows of the table, w (E M + D).
    pub(super) fn finished(&self, kernels: &Kernels, workers: &dyn Workers) -> Vec<f32> {
        let map = packed_rows(&self.map, self.source_dim, self.dim);
        let zeros = vec![0.0; self.dim];
        let mut rows = self.rows.clone();
        let parts =
            rows.chunks_mut(PART_PIECES * self.dim).zip(self.pieces.chunks(PART_PIECES * self.source_dim));
        each(workers, parts, |idx, (rows, pieces)| {
            kernels.gemm_f32(
                matrix(pieces, self.source_dim),
                &map,
                Epilogue::BiasAdd(&zeros),
                rows,
                self.dim,
            );
            let log_weights = &self.log_weights[idx * PART_PIECES..];
            for (row, log_weight) in rows.chunks_exact_mut(self.dim).zip(log_weights) {
                let weight = log_weight.exp();
                row.iter_mut().for_each(|value| *value *= weight);
            }
        });
        rows
    }

    /// Loss and derivatives of a batch. All sums run in an order that depends on the batch alone.
    pub(super) fn gradient(
        &self,
        kernels: &Kernels,
        batch: &Batch,
        loss: Loss,
        workers: &dyn Workers,
    ) -> Gradient {
        let count = batch.ends.len();
        let vectors = self.forward(kernels, batch, workers);
        let (slopes, shares_loss) = similarity_slopes(kernels, batch, &vectors.units, loss, workers);
        let units = packed_rows(&vectors.units, count, self.dim);
        let back_map = packed_columns(&self.map, self.dim, self.source_dim);
        let mut back = vec![0.0; count * self.dim];
        let mut back_sums = vec![0.0; count * self.source_dim];
        let parts =
            back.chunks_mut(PART_TEXTS * self.dim).zip(back_sums.chunks_mut(PART_TEXTS * self.source_dim));
        each(workers, parts, |idx, (back, back_sums)| {
            let first = idx * PART_TEXTS;
            let both: Vec<f32> = (first * count..(first + back.len() / self.dim) * count)
                .map(|at| slopes[at] + slopes[at % count * count + at / count])
                .collect();
            kernels.gemm_f32(matrix(&both, count), &units, Epilogue::Store, back, self.dim);
            for (row, back) in (first..).zip(back.chunks_exact_mut(self.dim)) {
                let at = row * self.dim..(row + 1) * self.dim;
                let (unit, target) = (&vectors.units[at.clone()], &batch.targets[at]);
                for (back, target) in back.iter_mut().zip(target) {
                    *back = *back / loss.temperature - target / count as f32;
                }
                let along = kernels.dot_f32(back, unit);
                for (back, unit) in back.iter_mut().zip(unit) {
                    *back = (*back - unit * along) * vectors.inverse_lengths[row];
                }
            }
            kernels.gemm_f32(matrix(back, self.dim), &back_map, Epilogue::Store, back_sums, self.source_dim);
        });
        let cosines = vectors.units.chunks_exact(self.dim).zip(batch.targets.chunks_exact(self.dim));
        let distances: f64 = cosines.map(|(unit, target)| 1.0 - kernels.dot_f32f64(unit, target)).sum();
        let map = self.map_gradient(kernels, &vectors.sums, &back, workers);
        let (ids, rows, log_weights, squares) =
            self.piece_gradients(kernels, batch, &back, &back_sums, loss, workers);
        let loss = distances / count as f64 + shares_loss + f64::from(loss.decay) * squares;
        Gradient { loss, map, ids, rows, log_weights }
    }

    fn forward(&self, kernels: &Kernels, batch: &Batch, workers: &dyn Workers) -> Vectors {
        let count = batch.ends.len();
        let map = packed_rows(&self.map, self.source_dim, self.dim);
        let zeros = vec![0.0; self.dim];
        let (mut sums, mut units) = (vec![0.0; count * self.source_dim], vec![0.0; count * self.dim]);
        let mut inverse_lengths = vec![0.0; count];
        let parts = sums
            .chunks_mut(PART_TEXTS * self.source_dim)
            .zip(units.chunks_mut(PART_TEXTS * self.dim))
            .zip(inverse_lengths.chunks_mut(PART_TEXTS));
        each(workers, parts, |idx, ((sums, units), inverse_lengths)| {
            let texts = sums.chunks_exact_mut(self.source_dim).zip(units.chunks_exact_mut(self.dim));
            for (text_idx, (sum, unit)) in (idx * PART_TEXTS..).zip(texts) {
                let ids = batch.text(text_idx);
                let factor = 1.0 / (ids.len() as f32).sqrt();
                for id in ids {
                    let weight = self.log_weights[*id as usize].exp() * factor;
                    add(sum, weight, row(self.pieces, *id, self.source_dim));
                    add(unit, weight, row(&self.rows, *id, self.dim));
                }
            }
            kernels.gemm_f32(matrix(sums, self.source_dim), &map, Epilogue::BiasAdd(&zeros), units, self.dim);
            for (unit, inverse_length) in units.chunks_exact_mut(self.dim).zip(inverse_lengths) {
                let square = kernels.dot_f32f64(unit, unit);
                *inverse_length = if square > 0.0 { (1.0 / square.sqrt()) as f32 } else { 0.0 };
                unit.iter_mut().for_each(|value| *value *= *inverse_length);
            }
        });
        Vectors { sums, units, inverse_lengths }
    }

    fn map_gradient(&self, kernels: &Kernels, sums: &[f32], back: &[f32], workers: &dyn Workers) -> Vec<f32> {
        let count = back.len() / self.dim;
        let (left, right) = (transposed(sums, count, self.source_dim), packed_rows(back, count, self.dim));
        let mut map = vec![0.0; self.map.len()];
        let parts = map.chunks_mut(PART_TEXTS * self.dim).zip(left.chunks(PART_TEXTS * count));
        each(workers, parts, |_, (map, left)| {
            kernels.gemm_f32(matrix(left, count), &right, Epilogue::Store, map, self.dim);
        });
        map
    }

    /// The pieces of the batch, the derivatives by their D and log w, and the mean of |D|^2 over the places.
    fn piece_gradients(
        &self,
        kernels: &Kernels,
        batch: &Batch,
        back: &[f32],
        back_sums: &[f32],
        loss: Loss,
        workers: &dyn Workers,
    ) -> (Vec<u32>, Vec<f32>, Vec<f32>, f64) {
        let mut places: Vec<(u32, u32)> = Vec::with_capacity(batch.ids.len());
        for text_idx in 0..batch.ends.len() {
            places.extend(batch.text(text_idx).iter().map(|id| (*id, text_idx as u32)));
        }
        places.sort_unstable();
        let groups: Vec<&[(u32, u32)]> = places.chunk_by(|left, right| left.0 == right.0).collect();
        let mut rows = vec![0.0; groups.len() * self.dim];
        let mut log_weights = vec![0.0; groups.len()];
        let decay_of_place = 2.0 * loss.decay / places.len() as f32;
        let parts = groups
            .chunks(PART_PIECES)
            .zip(rows.chunks_mut(PART_PIECES * self.dim))
            .zip(log_weights.chunks_mut(PART_PIECES));
        each(workers, parts, |_, ((groups, rows), log_weights)| {
            let mut sum = vec![0.0; self.source_dim];
            for ((places, own), slope) in groups.iter().zip(rows.chunks_exact_mut(self.dim)).zip(log_weights)
            {
                let id = places[0].0;
                sum.fill(0.0);
                for (_, text_idx) in *places {
                    let factor = 1.0 / (batch.text(*text_idx as usize).len() as f32).sqrt();
                    add(own, factor, row(back, *text_idx, self.dim));
                    add(&mut sum, factor, row(back_sums, *text_idx, self.source_dim));
                }
                let (piece, rest) = (row(self.pieces, id, self.source_dim), row(&self.rows, id, self.dim));
                let weight = self.log_weights[id as usize].exp();
                *slope = weight * (kernels.dot_f32(piece, &sum) + kernels.dot_f32(rest, own));
                for (own, rest) in own.iter_mut().zip(rest) {
                    *own = weight * *own + decay_of_place * places.len() as f32 * rest;
                }
            }
        });
        let square_of =
            |id: u32| kernels.dot_f32f64(row(&self.rows, id, self.dim), row(&self.rows, id, self.dim));
        let squares: f64 = groups.iter().map(|places| places.len() as f64 * square_of(places[0].0)).sum();
        let ids = groups.iter().map(|places| places[0].0).collect();
        (ids, rows, log_weights, squares / places.len() as f64)
    }
}

/// G, `[texts, texts]`, and the mean of the divergences.
fn similarity_slopes(
    kernels: &Kernels,
    batch: &Batch,
    units: &[f32],
    loss: Loss,
    workers: &dyn Workers,
) -> (Vec<f32>, f64) {
    let count = batch.ends.len();
    let dim = units.len() / count;
    let [found, wanted] = [units, &batch.targets].map(|vectors| packed_columns(vectors, dim, count));
    let (mut slopes, mut losses) = (vec![0.0; count * count], vec![0.0_f64; count]);
    let parts = slopes.chunks_mut(PART_TEXTS * count).zip(losses.chunks_mut(PART_TEXTS));
    each(workers, parts, |idx, (slopes, losses)| {
        let first = idx * PART_TEXTS;
        let at = first * dim..(first + losses.len()) * dim;
        let mut wanted_shares = vec![0.0; slopes.len()];
        kernels.gemm_f32(matrix(&units[at.clone()], dim), &found, Epilogue::Store, slopes, count);
        kernels.gemm_f32(
            matrix(&batch.targets[at], dim),
            &wanted,
            Epilogue::Store,
            &mut wanted_shares,
            count,
        );
        let rows = slopes.chunks_exact_mut(count).zip(wanted_shares.chunks_exact_mut(count));
        for ((row_idx, (found, wanted)), row_loss) in (first..).zip(rows).zip(losses) {
            for shares in [&mut *found, &mut *wanted] {
                shares[row_idx] = MASKED;
                kernels.softmax_f32(shares, 1.0 / loss.temperature);
            }
            for (found, wanted) in found.iter_mut().zip(wanted) {
                if *wanted > 0.0 && *found > 0.0 {
                    *row_loss += f64::from(*wanted * (*wanted / *found).ln());
                }
                *found = (*found - *wanted) / count as f32;
            }
        }
    });
    (slopes, losses.iter().sum::<f64>() / count as f64)
}

fn add(sum: &mut [f32], factor: f32, values: &[f32]) {
    for (sum, value) in sum.iter_mut().zip(values) {
        *sum += factor * value;
    }
}

fn row(values: &[f32], idx: u32, len: usize) -> &[f32] {
    &values[idx as usize * len..][..len]
}

fn matrix(values: &[f32], stride: usize) -> MatrixF32<'_> {
    MatrixF32 { values, rows: values.len() / stride, stride }
}

/// A matrix `[depth, width]`, for multiplication from the right.
pub(super) fn packed_rows(values: &[f32], depth: usize, width: usize) -> PackedF32 {
    let mut packed = PackedF32::default();
    packed.fill_rows(values, width, depth, width);
    packed
}

/// The transposed of a matrix `[width, depth]`, for multiplication from the right.
fn packed_columns(values: &[f32], depth: usize, width: usize) -> PackedF32 {
    let mut packed = PackedF32::default();
    packed.fill_transposed(values, depth, depth, width);
    packed
}

#[cfg(test)]
mod tests;
