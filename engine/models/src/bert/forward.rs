//! The forward pass: from token ids to one vector per sequence.
//!
//! ```text
//!  ids ─ token + position + segment ─ norm ─▶ hidden ─┬─▶ queries, keys, values ─▶ per sequence and head:     ┐
//!                                                     │     softmax(queries x keys / sqrt(width)) x values  │ per
//!                                                     └─▶ + out ─ norm ─▶ hidden ─▶ inner, GELU ─ outer ─ + ─ norm │ layer
//!  hidden of a sequence ─ mean or first ─ L2 ─▶ its vector                                                    ┘
//! ```
//! After Devlin et al. (2019) and Vaswani et al. (2017). Sequences stand one behind the other, without padding: all
//! multiplications with weights see every token once, and attention sees one sequence at a time. A row's bits do not depend
//! on its neighbours, so neither does a vector depend on its batch.

use std::ops::Range;

use promptc_kernels::{Epilogue, Kernels, MatrixF32, PackedF32, PackedI8, RowsU8};

use super::weights::{Layer, Linear, Matrix, Norm, Weights};
use super::{BertConfig, Pooling};

/// Rows of scores that are held at once: with the longest sequence of 65,536 tokens they take 32 MiB.
const QUERY_ROWS: usize = 128;

/// Rows of a feed-forward step that are held at once, whose inner numbers are the widest: a model with a wide step and many
/// positions takes no more memory than its weights. At width 1536 anything from 96 to 512 rows is equally fast within 3 %.
const FEED_ROWS: usize = 128;

/// Memory for the numbers between the steps; it grows to the largest group and stays.
#[derive(Default)]
pub(super) struct Activations {
    hidden: Vec<f32>,
    attention: Vec<f32>,
    context: Vec<f32>,
    inner: Vec<f32>,
    scores: Vec<f32>,
    /// Rows before a multiplication with weights of 8 bits.
    codes: RowsU8,
    keys: PackedF32,
    values: PackedF32,
    coded_keys: PackedI8,
    coded_values: PackedI8,
}

/// An encoder's parts for one pass.
pub(super) struct Forward<'a> {
    pub(super) kernels: &'a Kernels,
    pub(super) config: &'a BertConfig,
    pub(super) weights: &'a Weights,
}

impl Forward<'_> {
    /// Computes the hidden vectors of the last layer for sequences that follow each other in `ids`. All ids and lengths are
    /// in range here.
    pub(super) fn run(&self, ids: &[u32], sequences: &[Range<usize>], activations: &mut Activations) {
        let hidden = self.config.hidden;
        activations.hidden.clear();
        activations.attention.resize(ids.len() * 3 * hidden, 0.0);
        activations.context.resize(ids.len() * hidden, 0.0);
        activations.inner.resize(ids.len().min(FEED_ROWS) * self.config.intermediate, 0.0);
        for sequence in sequences {
            self.embed(&ids[sequence.clone()], &mut activations.hidden);
        }
        self.norm(&self.weights.norm, &mut activations.hidden);
        for layer in &self.weights.layers {
            self.layer(layer, sequences, activations);
        }
    }

    /// Sums of token, position and segment.
    fn embed(&self, ids: &[u32], out: &mut Vec<f32>) {
        let positions = self.weights.positions.chunks_exact(self.config.hidden);
        for (id, position) in ids.iter().zip(positions) {
            self.weights.tokens.push_sum(*id, position, out);
        }
    }

    fn layer(&self, layer: &Layer, sequences: &[Range<usize>], activations: &mut Activations) {
        let (hidden, inner) = (self.config.hidden, self.config.intermediate);
        let Activations { hidden: rows, attention, codes, .. } = &mut *activations;
        self.linear(rows, hidden, &layer.attention, Epilogue::Bias, codes, attention);
        let attend = match layer.attention.weights {
            Matrix::F32(_) => Self::attend,
            Matrix::I8(_) => Self::attend_in_codes,
        };
        for sequence in sequences {
            for head in 0..self.config.heads {
                attend(self, sequence, head, activations);
            }
        }
        let Activations { hidden: all, context, inner: inner_all, codes, .. } = activations;
        let sum = Epilogue::BiasAdd;
        self.linear(context, hidden, &layer.attention_out, sum, codes, all);
        for rows in all.chunks_mut(FEED_ROWS * hidden) {
            let inner_rows = &mut inner_all[..rows.len() / hidden * inner];
            self.norm(&layer.attention_norm, rows);
            self.linear(rows, hidden, &layer.inner, Epilogue::BiasGelu, codes, inner_rows);
            self.linear(inner_rows, inner, &layer.outer, sum, codes, rows);
            self.norm(&layer.norm, rows);
        }
    }

    /// A multiplication with weights; `codes` is memory for rows of 8 bits.
    fn linear<'a>(
        &self,
        values: &[f32],
        width: usize,
        linear: &'a Linear,
        epilogue: fn(&'a [f32]) -> Epilogue<'a>,
        codes: &mut RowsU8,
        out: &mut [f32],
    ) {
        let left = MatrixF32 { values, rows: values.len() / width, stride: width };
        let (out_width, epilogue) = (linear.weights.width(), epilogue(&linear.bias));
        match &linear.weights {
            Matrix::F32(weights) => self.kernels.gemm_f32(left, weights, epilogue, out, out_width),
            Matrix::I8(weights) => {
                self.kernels.round_rows(left, width, codes);
                self.kernels.gemm_i8(codes, weights, epilogue, out, out_width);
            }
        }
    }

    fn norm(&self, norm: &Norm, values: &mut [f32]) {
        self.kernels.layer_norm_f32(values, &norm.gain, &norm.bias, self.config.epsilon);
    }

    /// One head of one sequence: queries, keys and values are columns of `attention`, the result goes to `context`.
    fn attend(&self, sequence: &Range<usize>, head: usize, activations: &mut Activations) {
        let Activations { attention, context, scores, keys, values, .. } = activations;
        let hidden = self.config.hidden;
        let width = hidden / self.config.heads;
        let (stride, column, len) = (3 * hidden, head * width, sequence.len());
        let start = sequence.start * stride + column;
        keys.fill_transposed(&attention[start + hidden..], stride, width, len);
        values.fill_rows(&attention[start + 2 * hidden..], stride, len, width);
        let scale = 1.0 / (width as f32).sqrt();
        for first in (0..len).step_by(QUERY_ROWS) {
            let rows = QUERY_ROWS.min(len - first);
            scores.resize(rows * len, 0.0);
            let queries = MatrixF32 { values: &attention[start + first * stride..], rows, stride };
            self.kernels.gemm_f32(queries, keys, Epilogue::Store, scores, len);
            for row in scores.chunks_exact_mut(len) {
                self.kernels.softmax_f32(row, scale);
            }
            let shares = MatrixF32 { values: scores, rows, stride: len };
            let out = &mut context[(sequence.start + first) * hidden + column..];
            self.kernels.gemm_f32(shares, values, Epilogue::Store, out, hidden);
        }
    }
}

impl Forward<'_> {
    /// The same where weights have 8 bits: queries, keys, shares and values are rounded to 8 bits as well (Zafrir et al. 2019).
    fn attend_in_codes(&self, sequence: &Range<usize>, head: usize, activations: &mut Activations) {
        let Activations { attention, context, scores, codes, coded_keys, coded_values, .. } = activations;
        let hidden = self.config.hidden;
        let width = hidden / self.config.heads;
        let (stride, column, len) = (3 * hidden, head * width, sequence.len());
        let start = sequence.start * stride + column;
        let rows_from = |start: usize, rows: usize| MatrixF32 { values: &attention[start..], rows, stride };
        self.kernels.round_columns(rows_from(start + hidden, len), width, coded_keys);
        self.kernels.round_steps(rows_from(start + 2 * hidden, len), width, coded_values);
        let scale = 1.0 / (width as f32).sqrt();
        for first in (0..len).step_by(QUERY_ROWS) {
            let rows = QUERY_ROWS.min(len - first);
            scores.resize(rows * len, 0.0);
            self.kernels.round_rows(rows_from(start + first * stride, rows), width, codes);
            self.kernels.gemm_i8(codes, coded_keys, Epilogue::Store, scores, len);
            self.kernels.softmax_rows(MatrixF32 { values: scores, rows, stride: len }, len, scale, codes);
            let out = &mut context[(sequence.start + first) * hidden + column..];
            self.kernels.gemm_i8(codes, coded_values, Epilogue::Store, out, hidden);
        }
    }
}

impl Activations {
    /// The vector of a sequence after [`Forward::run`]: sums run in order of the tokens.
    pub(super) fn pool(&self, sequence: &Range<usize>, pooling: Pooling, out: &mut [f32]) {
        let hidden = out.len();
        let rows = &self.hidden[sequence.start * hidden..sequence.end * hidden];
        match pooling {
            Pooling::Cls => out.copy_from_slice(&rows[..hidden]),
            Pooling::Mean => {
                out.fill(0.0);
                for row in rows.chunks_exact(hidden) {
                    for (sum, value) in out.iter_mut().zip(row) {
                        *sum += value;
                    }
                }
                let count = sequence.len() as f32;
                out.iter_mut().for_each(|sum| *sum /= count);
            }
        }
    }
}
