//! Distillation: which rows does a static table need so that sums of them stand where an encoder puts whole texts?
//!
//! ```text
//!  Bert ─ each piece alone ──▶ piece vectors E, minus their mean ─────────┐
//!       └ texts ──▶ vectors X ─ directions R ─▶ Y = unit(X R) ──▶ refine: w, M, D so that unit(sum w (E M + D)) is near Y
//!                                                                          └▶ rows w (E M + D) ─▶ static_table::write
//! ```
//! Without texts the rows are w (E R), with R from the piece vectors: nothing is fitted. With texts the map M, a rest D for
//! each piece and the weights w are fitted by gradients that are written out by hand ([`gradient`]). After Tulkens and van
//! Dongen (Model2Vec, 2024) for the table from single pieces, Arora et al. ("A simple but tough-to-beat baseline for sentence
//! embeddings", 2017) for the weights, and Hinton et al. ("Distilling the knowledge in a neural network", 2015) for the
//! shares of similarity in a batch.
//!
//! It does not know where files lie. Threads belong to the caller ([`Workers`]); the bytes are the same for each number of
//! them, on processors of one kernel level.
//!
//! # Decisions
//! *Options by retrieval, not by distance to the teacher.* Measure: nDCG@10 of exact search with the 505 training claims of
//! SciFact, alone and as the sum of z-scores with BM25 (100 candidates each); MiniLM-L6 to 256 numbers, 195,000 texts of 24
//! words. Single pieces 0.556, 0.822. Refined at temperature 0.05, 512 texts a step: 0.679, 0.839; 5 epochs for 3: 0.681,
//! 0.839; 30 % of the pieces left out for 10 %: 0.659, 0.835. At temperature 0.1: 0.674, 0.844; also 1,024 texts a step and
//! half the step sizes of D and w: 0.676, 0.847; also lengths to the power 0.75: 0.692, 0.847, which is what `RECIPE` does.

mod directions;
mod gradient;
mod refine;
mod teacher;
mod workers;

use promptc_kernels::Kernels;

use crate::bert::{Bert, BertError};
use crate::static_table::{self, Provenance, StaticError};
use crate::wordpiece::WordPiece;
use gradient::Student;
pub use teacher::{piece_vectors, sentence_vectors};
pub use workers::{OneWorker, Workers};

/// Version of what is computed here; it stands in the header of a table.
const RECIPE_VERSION: u32 = 1;

/// What a caller chooses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DistillOptions {
    /// Length of a row; at most that of the teacher's vectors.
    pub dim: usize,
    /// How often the texts are gone through.
    pub epochs: usize,
    /// Texts of a step.
    pub batch_texts: usize,
    /// Part of the pieces of a text that a step leaves out, drawn anew each time: 0 to less than 1.
    pub dropout: f64,
    /// Cosines are divided by this before they become shares.
    pub temperature: f32,
    /// What the mean squared length of D costs.
    pub decay: f32,
    /// Step size of D.
    pub rate_rows: f32,
    /// Step size of M.
    pub rate_map: f32,
    /// Step size of the logarithms of w.
    pub rate_weights: f32,
    /// Steps in which the step sizes grow from nothing; afterwards they shrink to nothing.
    pub warmup_steps: usize,
    /// Smoothing a of the first weights a / (a + p), where p is the frequency of a piece by Zipf's law: the vocabulary is
    /// sorted by it, from the piece `the` on. What stands before it is as frequent.
    pub smoothing: f64,
    /// Power to which the lengths of refined rows are raised: 1 leaves them as they are. What is learned on sentences tells
    /// frequent pieces from rare ones more sharply than longer texts need.
    pub length_power: f64,
    /// Of the order of the texts and of what is left out.
    pub seed: u64,
}

impl DistillOptions {
    /// The values with which the shipped table was made.
    pub const RECIPE: Self = Self {
        dim: 256,
        epochs: 4,
        batch_texts: 1024,
        dropout: 0.1,
        temperature: 0.1,
        decay: 1e-3,
        rate_rows: 1e-3,
        rate_map: 1e-3,
        rate_weights: 5e-3,
        warmup_steps: 50,
        smoothing: 1e-4,
        length_power: 0.75,
        seed: 7,
    };
}

/// What is computed, and how much of it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What is counted.
    pub stage: Stage,
    /// Number of these that are done.
    pub done: usize,
    /// Number of all.
    pub total: usize,
}

/// The parts of a distillation that take long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Pieces of the vocabulary, by the teacher.
    Pieces,
    /// Texts, by the teacher.
    Texts,
    /// Steps of the refinement.
    Refine,
}

/// Why no table was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DistillError {
    /// The teacher has no vector for a text.
    #[error("teacher has no vector for a text")]
    Teacher(#[from] BertError),
    /// The table cannot be written.
    #[error("distilled table cannot be written")]
    Table(#[from] StaticError),
    /// The refinement has left the range of numbers.
    #[error("loss of step {step} is not finite; choose smaller step sizes")]
    Diverged {
        /// The step.
        step: usize,
    },
    /// An option is out of its range.
    #[error("`{option}` is {found}, expected {expected}")]
    Option {
        /// The option.
        option: &'static str,
        /// Its value.
        found: f64,
        /// Its range.
        expected: String,
    },
}

/// The model that is distilled, for the header of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// Hash of the file of its weights.
    pub weights_blake3: [u8; 32],
}

/// What the teacher said: all that is needed of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Lessons {
    /// Length of the vectors.
    pub dim: usize,
    /// Of [`piece_vectors`].
    pub pieces: Vec<f32>,
    /// Of [`sentence_vectors`]; as many as there are texts.
    pub sentences: Vec<f32>,
}

/// The file of a static table that stands for `bert`, refined on `texts`; without texts it is not refined. Cost: the vectors
/// of all pieces and texts by the teacher, then some 50 ms a step on two cores. `progress` is called on the caller's thread.
///
/// # Errors
/// If an option is out of its range, or a vector of the teacher is not finite.
pub fn distill(
    bert: &Bert,
    source: &Source,
    texts: &[impl AsRef<str> + Sync],
    options: &DistillOptions,
    workers: &dyn Workers,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<u8>, DistillError> {
    check(options, bert.dim())?;
    let pieces = piece_vectors(bert, workers, progress)?;
    let sentences = sentence_vectors(bert, texts, workers, progress)?;
    let lessons = Lessons { dim: bert.dim(), pieces, sentences };
    let rows = rows(bert.tokenizer(), &lessons, texts, options, workers, progress)?;
    let provenance = provenance(source, texts, options);
    Ok(static_table::write(&rows, options.dim, bert.tokenizer(), &provenance)?)
}

/// What the header of a table of these texts and options says.
pub fn provenance(source: &Source, texts: &[impl AsRef<str>], options: &DistillOptions) -> Provenance {
    let DistillOptions { epochs, batch_texts, temperature, length_power, seed, smoothing, .. } = options;
    let mut hasher = blake3::Hasher::new_derive_key("promptc texts of a distillation 1");
    for text in texts {
        hasher.update(&(text.as_ref().len() as u64).to_le_bytes());
        hasher.update(text.as_ref().as_bytes());
    }
    let (recipe, learned) = match texts.len() {
        0 => (format!("single pieces, version {RECIPE_VERSION}"), ""),
        count => (
            format!(
                "refined on {count} texts, {epochs} epochs of {batch_texts} a step, temperature {temperature}, length power {length_power}, seed {seed}, version {RECIPE_VERSION}"
            ),
            ", then learned",
        ),
    };
    Provenance {
        source: source.name.clone(),
        source_blake3: source.weights_blake3,
        recipe,
        weighting: format!("{smoothing:e} / ({smoothing:e} + p), p by Zipf from `the` on{learned}"),
        texts_blake3: (!texts.is_empty()).then(|| *hasher.finalize().as_bytes()),
    }
}

/// The rows before they are rounded, `[ids of the tokenizer, options.dim]`.
///
/// # Errors
/// If an option is out of its range, or the step sizes are so large that the loss is not finite.
///
/// # Panics
/// If the lessons are not those of this tokenizer and these texts.
pub fn rows(
    tokenizer: &WordPiece,
    lessons: &Lessons,
    texts: &[impl AsRef<str>],
    options: &DistillOptions,
    workers: &dyn Workers,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<f32>, DistillError> {
    check(options, lessons.dim)?;
    let (kernels, row_count) = (Kernels::best(), tokenizer.largest_id() as usize + 1);
    assert_eq!(lessons.pieces.len(), row_count * lessons.dim, "a vector for each id");
    assert_eq!(lessons.sentences.len(), texts.len() * lessons.dim, "a vector for each text");
    let seen = if texts.is_empty() { &lessons.pieces } else { &lessons.sentences };
    let map = directions::directions(&kernels, seen, lessons.dim, options.dim, workers);
    let mut student = Student {
        pieces: &lessons.pieces,
        source_dim: lessons.dim,
        dim: options.dim,
        map,
        rows: vec![0.0; row_count * options.dim],
        log_weights: log_weights(tokenizer, options.smoothing),
    };
    if !texts.is_empty() {
        let lines = refine::Lines::new(&kernels, &student, tokenizer, lessons, texts);
        refine::refine(&kernels, &mut student, &lines, options, workers, progress)?;
    }
    let mut rows = student.finished(&kernels, workers);
    if !texts.is_empty() {
        raise_lengths(&kernels, &mut rows, options);
    }
    let mut words = tokenizer.word_ids().iter().peekable();
    for (id, row) in (0..).zip(rows.chunks_exact_mut(options.dim)) {
        // Special pieces stand for no words.
        if words.next_if_eq(&&id).is_none() {
            row.fill(0.0);
        }
    }
    Ok(rows)
}

/// Raises the length of each row to a power.
fn raise_lengths(kernels: &Kernels, rows: &mut [f32], options: &DistillOptions) {
    for row in rows.chunks_exact_mut(options.dim) {
        let length = kernels.dot_f32f64(row, row).sqrt();
        if length > 0.0 {
            let factor = length.powf(options.length_power - 1.0);
            row.iter_mut().for_each(|value| *value = (f64::from(*value) * factor) as f32);
        }
    }
}

fn check(options: &DistillOptions, source_dim: usize) -> Result<(), DistillError> {
    let longest = source_dim.min(static_table::DIM_MAX);
    let refused = |option, found, expected: String| Err(DistillError::Option { option, found, expected });
    if !(1..=longest).contains(&options.dim) {
        return refused("dim", options.dim as f64, format!("1 to {longest}"));
    }
    if options.batch_texts < 2 || options.batch_texts > 1 << 14 {
        return refused("batch_texts", options.batch_texts as f64, "2 to 16384".to_owned());
    }
    if !(0.0..1.0).contains(&options.dropout) {
        return refused("dropout", options.dropout, "0 to less than 1".to_owned());
    }
    let positive = [
        ("temperature", f64::from(options.temperature)),
        ("smoothing", options.smoothing),
        ("length_power", options.length_power),
    ];
    let not_negative = [
        ("decay", options.decay),
        ("rate_rows", options.rate_rows),
        ("rate_map", options.rate_map),
        ("rate_weights", options.rate_weights),
    ];
    for (option, found) in positive {
        if !(found > 0.0 && found.is_finite()) {
            return refused(option, found, "a number above 0".to_owned());
        }
    }
    for (option, found) in not_negative {
        if !(found >= 0.0 && found.is_finite()) {
            return refused(option, f64::from(found), "0 or more".to_owned());
        }
    }
    Ok(())
}

/// Logarithms of the first weights, one for each id. The frequency of rank r among n is 1 / (r (1 + 1/2 + .. + 1/n)).
fn log_weights(tokenizer: &WordPiece, smoothing: f64) -> Vec<f32> {
    let mut ids = Vec::new();
    tokenizer.pieces("the", &mut ids);
    let is_word = |id: &u32| tokenizer.word_ids().binary_search(id).is_ok();
    let first = ids.first().copied().filter(is_word).or(tokenizer.word_ids().first().copied()).unwrap_or(0);
    let row_count = tokenizer.largest_id() + 1;
    let harmonic: f64 = (1..=row_count - first).map(|rank| 1.0 / f64::from(rank)).sum();
    let log_weight = |id: u32| {
        let rank = f64::from(id.saturating_sub(first) + 1);
        (smoothing / (smoothing + 1.0 / (rank * harmonic))).ln() as f32
    };
    (0..row_count).map(log_weight).collect()
}
