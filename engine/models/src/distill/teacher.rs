//! What the teacher says: a vector for each text, and for each piece alone.

use std::ops::Range;
use std::sync::Mutex;

use super::workers::each;
use super::{DistillError, Progress, Stage, Workers};
use crate::bert::{Bert, BertScratch};

/// Sequences of a job: several groups of the encoder.
const JOB_ROWS: usize = 64;
/// Sequences between two reports.
const ROUND_ROWS: usize = 2048;

/// Vectors of the texts by the teacher, `[texts, dim of the teacher]`, of length 1 if it scales them. Short texts go first, so
/// that jobs take equally long. Cost: that of [`Bert::embed`].
///
/// # Errors
/// If a vector is not finite.
pub fn sentence_vectors(
    bert: &Bert,
    texts: &[impl AsRef<str> + Sync],
    workers: &dyn Workers,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<f32>, DistillError> {
    let mut order: Vec<usize> = (0..texts.len()).collect();
    order.sort_by_key(|idx| texts[*idx].as_ref().len());
    let encode = |range: Range<usize>, scratch: &mut BertScratch, out: &mut [f32]| {
        let texts: Vec<&str> = order[range].iter().map(|idx| texts[*idx].as_ref()).collect();
        Ok(bert.embed(&texts, scratch, out).map(drop)?)
    };
    let sorted = rows(texts.len(), bert.dim(), Stage::Texts, workers, progress, encode)?;
    let mut vectors = vec![0.0; sorted.len()];
    for (idx, vector) in order.iter().zip(sorted.chunks_exact(bert.dim())) {
        vectors[idx * bert.dim()..][..bert.dim()].copy_from_slice(vector);
    }
    Ok(vectors)
}

/// The vector of each piece alone between `[CLS]` and `[SEP]`, minus the mean of all: `[ids, dim of the teacher]`. Special
/// pieces, and those that no text has, are zero. Cost: 3 tokens a piece, for 30,522 pieces some 2 TFLOP.
///
/// # Errors
/// If a vector is not finite.
pub fn piece_vectors(
    bert: &Bert,
    workers: &dyn Workers,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<f32>, DistillError> {
    let (pieces, dim) = (bert.tokenizer().word_ids(), bert.dim());
    let encode = |range: Range<usize>, scratch: &mut BertScratch, out: &mut [f32]| {
        bert.embed_pieces(&pieces[range], scratch, out)?;
        out.chunks_exact_mut(dim).for_each(crate::embed::normalize);
        Ok(())
    };
    let found = rows(pieces.len(), dim, Stage::Pieces, workers, progress, encode)?;
    let mut means = vec![0.0_f64; dim];
    for vector in found.chunks_exact(dim) {
        for (mean, value) in means.iter_mut().zip(vector) {
            *mean += f64::from(*value) / pieces.len() as f64;
        }
    }
    let mut vectors = vec![0.0; (bert.tokenizer().largest_id() as usize + 1) * dim];
    for (id, vector) in pieces.iter().zip(found.chunks_exact(dim)) {
        let row = vectors[*id as usize * dim..][..dim].iter_mut();
        for (value, (found, mean)) in row.zip(vector.iter().zip(&means)) {
            *value = (f64::from(*found) - mean) as f32;
        }
    }
    Ok(vectors)
}

/// `count` vectors, which `encode` writes range by range.
fn rows(
    count: usize,
    dim: usize,
    stage: Stage,
    workers: &dyn Workers,
    progress: &mut dyn FnMut(Progress),
    encode: impl Fn(Range<usize>, &mut BertScratch, &mut [f32]) -> Result<(), DistillError> + Sync,
) -> Result<Vec<f32>, DistillError> {
    let mut out = vec![0.0; count * dim];
    let scratches: Mutex<Vec<BertScratch>> = Mutex::default();
    let failed: Mutex<Option<DistillError>> = Mutex::default();
    let poisoned = "invariant: nothing panics while it is held";
    progress(Progress { stage, done: 0, total: count });
    for (round_idx, round) in out.chunks_mut(ROUND_ROWS * dim).enumerate() {
        let start = round_idx * ROUND_ROWS;
        let end = start + round.len() / dim;
        each(workers, round.chunks_mut(JOB_ROWS * dim), |idx, out| {
            let first = start + idx * JOB_ROWS;
            let mut scratch = scratches.lock().expect(poisoned).pop().unwrap_or_default();
            if let Err(error) = encode(first..first + out.len() / dim, &mut scratch, out) {
                *failed.lock().expect(poisoned) = Some(error);
            }
            scratches.lock().expect(poisoned).push(scratch);
        });
        if let Some(error) = failed.lock().expect(poisoned).take() {
            return Err(error);
        }
        progress(Progress { stage, done: end, total: count });
    }
    Ok(out)
}
