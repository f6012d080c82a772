//! The refinement: the parameters follow the gradient, batch after batch.
//!
//! Steps are those of Adam (Kingma and Ba, 2015), with the usual constants. The step sizes grow from nothing for the first
//! steps and then shrink to nothing in a straight line.

use promptc_kernels::{Epilogue, Kernels, MatrixF32};

use super::gradient::{Batch, Gradient, Loss, Student, packed_rows};
use super::workers::each;
use super::{DistillError, DistillOptions, Lessons, Progress, Stage, Workers};
use crate::wordpiece::WordPiece;

/// Share of the past in the mean of the derivatives.
const MEAN_KEPT: f32 = 0.9;
/// Share of the past in the mean of their squares.
const SQUARE_KEPT: f32 = 0.999;
/// Keeps a division by nothing away.
const EPSILON: f32 = 1e-8;
/// Numbers of a job.
const PART: usize = 1 << 16;

/// The texts as the refinement sees them: those that have pieces.
pub(super) struct Lines {
    ids: Vec<u32>,
    ends: Vec<usize>,
    /// y of each, `[texts, dim]`.
    targets: Vec<f32>,
    dim: usize,
}

impl Lines {
    pub(super) fn new(
        kernels: &Kernels,
        student: &Student<'_>,
        tokenizer: &WordPiece,
        lessons: &Lessons,
        texts: &[impl AsRef<str>],
    ) -> Self {
        let dim = student.dim;
        let mut is_word = vec![false; student.log_weights.len()];
        tokenizer.word_ids().iter().for_each(|id| is_word[*id as usize] = true);
        let map = packed_rows(&student.map, lessons.dim, dim);
        let (mut ids, mut ends, mut targets, mut of_text) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut target = vec![0.0; dim];
        for (text, vector) in texts.iter().zip(lessons.sentences.chunks_exact(lessons.dim)) {
            of_text.clear();
            tokenizer.pieces(text.as_ref(), &mut of_text);
            of_text.retain(|id| is_word[*id as usize]);
            if of_text.is_empty() {
                continue;
            }
            ids.extend_from_slice(&of_text);
            ends.push(ids.len());
            let vector = MatrixF32 { values: vector, rows: 1, stride: lessons.dim };
            kernels.gemm_f32(vector, &map, Epilogue::Store, &mut target, dim);
            crate::embed::normalize(&mut target);
            targets.extend_from_slice(&target);
        }
        Self { ids, ends, targets, dim }
    }

    /// Adds text `idx` to a batch, without the pieces that are left out; at least one stays.
    fn add_to(&self, batch: &mut Batch, idx: usize, dropout: f64, draw: &mut Draw) {
        let start = if idx == 0 { 0 } else { self.ends[idx - 1] };
        let (ids, first) = (&self.ids[start..self.ends[idx]], batch.ids.len());
        batch.ids.extend(ids.iter().filter(|_| draw.unit() >= dropout));
        if batch.ids.len() == first {
            batch.ids.push(ids[draw.below(ids.len())]);
        }
        batch.ends.push(batch.ids.len());
        batch.targets.extend_from_slice(&self.targets[idx * self.dim..][..self.dim]);
    }
}

/// Fits the student to the texts.
///
/// # Errors
/// If the loss is not finite.
pub(super) fn refine(
    kernels: &Kernels,
    student: &mut Student<'_>,
    lines: &Lines,
    options: &DistillOptions,
    workers: &dyn Workers,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), DistillError> {
    let batch_texts = options.batch_texts.min(lines.ends.len());
    // A text alone has no other to be compared with.
    if batch_texts < 2 {
        return Ok(());
    }
    // What is left at the end of an epoch has its turn in another one.
    let epoch_steps = lines.ends.len() / batch_texts;
    let total = epoch_steps * options.epochs;
    let loss = Loss { temperature: options.temperature, decay: options.decay };
    let mut draw = Draw(options.seed);
    let mut order: Vec<usize> = (0..lines.ends.len()).collect();
    let mut adam = Adam::new(student);
    let mut batch = Batch::default();
    for step in 0..total {
        if step % epoch_steps == 0 {
            draw.shuffle(&mut order);
        }
        (batch.ids, batch.ends, batch.targets) = Default::default();
        for idx in &order[step % epoch_steps * batch_texts..][..batch_texts] {
            lines.add_to(&mut batch, *idx, options.dropout, &mut draw);
        }
        let gradient = student.gradient(kernels, &batch, loss, workers);
        if !gradient.loss.is_finite() {
            return Err(DistillError::Diverged { step });
        }
        adam.step(student, &gradient, options, pace(step, total, options.warmup_steps), workers);
        progress(Progress { stage: Stage::Refine, done: step + 1, total });
    }
    Ok(())
}

/// Part of the full step size: up from nothing, then down to nothing.
fn pace(step: usize, total: usize, warmup_steps: usize) -> f32 {
    let up = (step + 1) as f32 / (warmup_steps + 1) as f32;
    let down = (total - step) as f32 / total.saturating_sub(warmup_steps).max(1) as f32;
    up.min(down).min(1.0)
}

/// Means of derivatives and of their squares.
struct Moments {
    means: Vec<f32>,
    squares: Vec<f32>,
}

impl Moments {
    fn new(len: usize) -> Self {
        Self { means: vec![0.0; len], squares: vec![0.0; len] }
    }
}

/// Steps of Adam for all parameters.
struct Adam {
    step_count: i32,
    map: Moments,
    rows: Moments,
    log_weights: Moments,
    /// Where the derivative of an id stands in the gradient at hand.
    places: Vec<u32>,
    /// Ids that any batch had so far: the others have never moved.
    is_seen: Vec<bool>,
}

/// An id that a gradient does not have.
const ABSENT: u32 = u32::MAX;

impl Adam {
    fn new(student: &Student<'_>) -> Self {
        Self {
            step_count: 0,
            map: Moments::new(student.map.len()),
            rows: Moments::new(student.rows.len()),
            log_weights: Moments::new(student.log_weights.len()),
            places: vec![ABSENT; student.log_weights.len()],
            is_seen: vec![false; student.log_weights.len()],
        }
    }

    fn step(
        &mut self,
        student: &mut Student<'_>,
        gradient: &Gradient,
        options: &DistillOptions,
        pace: f32,
        workers: &dyn Workers,
    ) {
        self.step_count += 1;
        let correction = |kept: f32| 1.0 - f64::from(kept).powi(self.step_count);
        let (mean, square) = (correction(MEAN_KEPT), correction(SQUARE_KEPT));
        let rule =
            |rate: f32| Rule { rate: (f64::from(rate * pace) / mean) as f32, square: (1.0 / square) as f32 };
        let map_rule = rule(options.rate_map);
        let map = student.map.chunks_mut(PART).zip(gradient.map.chunks(PART));
        let moments = self.map.means.chunks_mut(PART).zip(self.map.squares.chunks_mut(PART));
        each(workers, map.zip(moments), |_, ((values, slopes), (means, squares))| {
            map_rule.apply(values, Some(slopes), means, squares);
        });
        self.places.fill(ABSENT);
        for (place, id) in (0..).zip(&gradient.ids) {
            self.places[*id as usize] = place;
            self.is_seen[*id as usize] = true;
        }
        let dim = student.dim;
        let part_rows = (PART / dim).max(1);
        let (rows_rule, weights_rule) = (rule(options.rate_rows), rule(options.rate_weights));
        let (places, is_seen) = (&self.places, &self.is_seen);
        let rows = student.rows.chunks_mut(part_rows * dim).zip(student.log_weights.chunks_mut(part_rows));
        let means =
            self.rows.means.chunks_mut(part_rows * dim).zip(self.log_weights.means.chunks_mut(part_rows));
        let squares =
            self.rows.squares.chunks_mut(part_rows * dim).zip(self.log_weights.squares.chunks_mut(part_rows));
        each(workers, rows.zip(means.zip(squares)), |part, ((rows, weights), (means, squares))| {
            for idx in (0..weights.len()).filter(|idx| is_seen[part * part_rows + idx]) {
                let place = Some(places[part * part_rows + idx]).filter(|place| *place != ABSENT);
                let place = place.map(|place| place as usize);
                let at = idx * dim..(idx + 1) * dim;
                let slopes = place.map(|place| &gradient.rows[place * dim..][..dim]);
                rows_rule.apply(&mut rows[at.clone()], slopes, &mut means.0[at.clone()], &mut squares.0[at]);
                let slopes = place.map(|place| std::slice::from_ref(&gradient.log_weights[place]));
                let at = idx..=idx;
                weights_rule.apply(
                    &mut weights[at.clone()],
                    slopes,
                    &mut means.1[at.clone()],
                    &mut squares.1[at],
                );
            }
        });
    }
}

/// Step size over the correction of the means; correction of the squares.
#[derive(Clone, Copy)]
struct Rule {
    rate: f32,
    square: f32,
}

impl Rule {
    /// One step; without slopes they are zero.
    fn apply(self, values: &mut [f32], slopes: Option<&[f32]>, means: &mut [f32], squares: &mut [f32]) {
        let moments = means.iter_mut().zip(squares);
        let step = |value: &mut f32, mean: f32, square: f32| {
            *value -= self.rate * mean / ((square * self.square).sqrt() + EPSILON);
        };
        match slopes {
            Some(slopes) => {
                for ((value, slope), (mean, square)) in values.iter_mut().zip(slopes).zip(moments) {
                    *mean = MEAN_KEPT * *mean + (1.0 - MEAN_KEPT) * slope;
                    *square = SQUARE_KEPT * *square + (1.0 - SQUARE_KEPT) * slope * slope;
                    step(value, *mean, *square);
                }
            }
            None => {
                for (value, (mean, square)) in values.iter_mut().zip(moments) {
                    *mean *= MEAN_KEPT;
                    *square *= SQUARE_KEPT;
                    step(value, *mean, *square);
                }
            }
        }
    }
}

/// Numbers that depend on the seed alone: Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (OOPSLA
/// 2014), SplitMix64.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 up to 1, in steps of 2^-53.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Less than `end`; the bias of the remainder is below 2^-40 for what is drawn here.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// The order of Fisher and Yates.
    fn shuffle(&mut self, order: &mut [usize]) {
        for end in (2..=order.len()).rev() {
            order.swap(end - 1, self.below(end));
        }
    }
}
