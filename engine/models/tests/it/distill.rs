//! Distillation against rows that another program computed, and what does not change them.

use std::sync::atomic::{AtomicUsize, Ordering};

use promptc_kernels::Kernels;
use promptc_models::bert::{Bert, BertOptions, TokenizerFile};
use promptc_models::distill::{
    DistillError, DistillOptions, Lessons, OneWorker, Progress, Source, Stage, Workers, distill,
    piece_vectors, provenance, rows, sentence_vectors,
};
use promptc_models::safetensors::Safetensors;
use promptc_models::static_table::{StaticScratch, StaticTable};

use super::bert::{Folder, MEAN, oracle, sentences};

/// Those of the script.
const OPTIONS: DistillOptions = DistillOptions {
    dim: 12,
    epochs: 6,
    batch_texts: 512,
    dropout: 0.0,
    temperature: 0.05,
    rate_rows: 2e-2,
    rate_map: 1e-2,
    rate_weights: 5e-2,
    warmup_steps: 2,
    ..DistillOptions::RECIPE
};

/// Threads that take the next job when they have time.
struct Threads(usize);

impl Workers for Threads {
    fn run(&self, job_count: usize, job: &(dyn Fn(usize) + Sync)) {
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..self.0 {
                scope.spawn(|| {
                    loop {
                        match next.fetch_add(1, Ordering::Relaxed) {
                            idx if idx < job_count => job(idx),
                            _ => break,
                        }
                    }
                });
            }
        });
    }
}

/// The last job first.
struct Backwards;

impl Workers for Backwards {
    fn run(&self, job_count: usize, job: &(dyn Fn(usize) + Sync)) {
        (0..job_count).rev().for_each(job);
    }
}

fn teacher() -> Bert {
    Folder::tiny().load(MEAN, Kernels::best()).unwrap()
}

fn source() -> Source {
    Source { name: "bert-tiny".to_owned(), weights_blake3: [3; 32] }
}

fn lessons(texts: &[String]) -> Lessons {
    let bert = teacher();
    let pieces = piece_vectors(&bert, &OneWorker, &mut |_| {}).unwrap();
    let sentences = sentence_vectors(&bert, texts, &OneWorker, &mut |_| {}).unwrap();
    Lessons { dim: bert.dim(), pieces, sentences }
}

/// Enough texts for several steps of several jobs.
fn many_texts() -> Vec<String> {
    let sentences = sentences();
    let at = |idx: usize| sentences[idx % sentences.len()].clone();
    (0..150).map(|idx| format!("{} {} {idx}", at(idx), at(idx / 3 + 7))).collect()
}

fn table(texts: &[String], options: &DistillOptions, workers: &dyn Workers) -> Vec<u8> {
    distill(&teacher(), &source(), texts, options, workers, &mut |_| {}).unwrap()
}

#[track_caller]
fn assert_rows(found: &[f32], name: &str) {
    let bytes = std::fs::read(oracle("distill-tiny.safetensors")).unwrap();
    let wanted = Safetensors::parse(&bytes).unwrap().floats(name, &[159, OPTIONS.dim]).unwrap();
    let largest = wanted.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let error = found.iter().zip(&wanted).map(|(found, wanted)| (found - wanted).abs()).fold(0.0, f32::max);
    println!("{name}: largest {largest:e}, error {error:e}");
    assert!(error <= 2e-4 * largest && largest > 0.0, "{name}: {error:e} of {largest:e}");
}

#[test]
fn rows_are_those_of_the_script() {
    let none: &[String] = &[];
    let bert = teacher();
    let single = rows(bert.tokenizer(), &lessons(none), none, &OPTIONS, &OneWorker, &mut |_| {}).unwrap();
    assert_rows(&single, "single");
    let texts = sentences();
    let refined =
        rows(bert.tokenizer(), &lessons(&texts), &texts, &OPTIONS, &OneWorker, &mut |_| {}).unwrap();
    assert_rows(&refined, "refined");
}

#[test]
fn bytes_do_not_depend_on_threads_or_the_order_of_jobs() {
    let texts = many_texts();
    let options = DistillOptions { batch_texts: 70, dropout: 0.3, ..OPTIONS };
    for texts in [&texts[..], &[]] {
        let wanted = table(texts, &options, &OneWorker);
        for workers in [&Threads(1) as &dyn Workers, &Threads(2), &Threads(5), &Backwards] {
            assert!(table(texts, &options, workers) == wanted, "{} texts", texts.len());
        }
    }
    let other_seed = DistillOptions { seed: options.seed + 1, ..options };
    let [one, other] = [options, other_seed].map(|options| identity(&table(&texts, &options, &OneWorker)));
    assert_ne!(one, other, "the seed counts");
    let changed: Vec<String> = texts.iter().rev().cloned().collect();
    assert_ne!(one, identity(&table(&changed, &options, &OneWorker)), "so does the order of the texts");
}

fn identity(table: &[u8]) -> [u8; 32] {
    *load(table).identity()
}

fn load(table: &[u8]) -> StaticTable {
    StaticTable::load(table, TokenizerFile::Vocabulary(&Folder::tiny().vocabulary)).unwrap()
}

/// Largest distance of a pair's cosine to that of the teacher, on average over the texts.
fn mean_distance(table: &StaticTable, texts: &[String], taught: &[f32]) -> f64 {
    let mut vectors = vec![0.0; texts.len() * table.dim()];
    table.embed(texts, &mut StaticScratch::default(), &mut vectors);
    let cosine = |vectors: &[f32], dim: usize, left: usize, right: usize| {
        promptc_kernels::cosine_f32(&vectors[left * dim..][..dim], &vectors[right * dim..][..dim])
    };
    let dim = taught.len() / texts.len();
    let of_text = |left: usize| {
        (0..texts.len())
            .map(|right| {
                (cosine(&vectors, table.dim(), left, right) - cosine(taught, dim, left, right)).abs()
            })
            .fold(0.0, f64::max)
    };
    (0..texts.len()).map(of_text).sum::<f64>() / texts.len() as f64
}

#[test]
fn refinement_brings_the_table_nearer_to_the_teacher() {
    let texts = many_texts();
    let options = DistillOptions { batch_texts: 50, epochs: 30, dropout: 0.1, warmup_steps: 5, ..OPTIONS };
    let taught = sentence_vectors(&teacher(), &texts, &OneWorker, &mut |_| {}).unwrap();
    let [single, refined] = [&[], &texts[..]]
        .map(|seen| mean_distance(&load(&table(seen, &options, &OneWorker)), &texts, &taught));
    println!("{single} {refined}");
    assert!(refined < 0.5 * single, "{refined} {single}");
}

#[test]
fn headers_say_what_was_done() {
    let texts = sentences();
    let refined = load(&table(&texts, &OPTIONS, &OneWorker));
    assert_eq!(*refined.provenance(), provenance(&source(), &texts, &OPTIONS));
    assert_eq!((refined.dim(), refined.row_count()), (12, 159));
    assert!(refined.provenance().texts_blake3.is_some());
    let single = load(&table(&[], &OPTIONS, &OneWorker));
    assert_eq!(single.provenance().texts_blake3, None);
    assert_ne!(single.provenance().recipe, refined.provenance().recipe);
    // Special tokens have no row.
    let mut out = vec![1.0; 12];
    let counts = refined.embed(&["[MASK] [UNK] \u{1f600}"], &mut StaticScratch::default(), &mut out);
    assert_eq!((counts.tokens, counts.texts_zero), (3, 1));
}

#[test]
fn progress_reaches_the_end_of_each_stage() {
    let mut seen: Vec<Progress> = Vec::new();
    let texts = many_texts();
    let options = DistillOptions { batch_texts: 70, ..OPTIONS };
    distill(&teacher(), &source(), &texts, &options, &OneWorker, &mut |progress| seen.push(progress))
        .unwrap();
    for (stage, total) in [(Stage::Pieces, 154), (Stage::Texts, 150), (Stage::Refine, 12)] {
        let of_stage: Vec<usize> = seen
            .iter()
            .filter(|progress| progress.stage == stage)
            .inspect(|progress| assert_eq!(progress.total, total, "{stage:?}"))
            .map(|progress| progress.done)
            .collect();
        assert!(of_stage.is_sorted() && of_stage.last() == Some(&total), "{stage:?} {of_stage:?}");
    }
}

#[test]
fn texts_without_pieces_and_a_single_text_teach_nothing_and_break_nothing() {
    let empty = ["".to_owned(), " \n".to_owned(), "[MASK]".to_owned()];
    assert_eq!(load(&table(&empty, &OPTIONS, &OneWorker)).dim(), 12);
    let long = ["hit the cache ".repeat(7000), "moon".to_owned(), String::new()];
    assert_eq!(load(&table(&long, &OPTIONS, &OneWorker)).dim(), 12);
    assert_eq!(load(&table(&long[..1], &OPTIONS, &OneWorker)).dim(), 12);
}

#[test]
fn options_out_of_range_are_refused_by_name() {
    let base = OPTIONS;
    let cases = [
        ("dim", DistillOptions { dim: 0, ..base }),
        ("dim", DistillOptions { dim: 37, ..base }),
        ("batch_texts", DistillOptions { batch_texts: 1, ..base }),
        ("batch_texts", DistillOptions { batch_texts: usize::MAX, ..base }),
        ("dropout", DistillOptions { dropout: 1.0, ..base }),
        ("dropout", DistillOptions { dropout: f64::NAN, ..base }),
        ("temperature", DistillOptions { temperature: 0.0, ..base }),
        ("smoothing", DistillOptions { smoothing: f64::INFINITY, ..base }),
        ("length_power", DistillOptions { length_power: 0.0, ..base }),
        ("decay", DistillOptions { decay: -1.0, ..base }),
        ("rate_rows", DistillOptions { rate_rows: f32::NAN, ..base }),
        ("rate_map", DistillOptions { rate_map: f32::INFINITY, ..base }),
        ("rate_weights", DistillOptions { rate_weights: -0.1, ..base }),
    ];
    for (name, options) in cases {
        let refused = distill(&teacher(), &source(), &sentences(), &options, &OneWorker, &mut |_| {});
        assert!(matches!(refused, Err(DistillError::Option { option, .. }) if option == name), "{name}");
    }
}

#[test]
fn a_teacher_without_finite_vectors_is_an_error() {
    let mut folder = Folder::tiny();
    // The last tensors are those of the pooler, which are not read: 36 x 36 and 36 numbers.
    let end = folder.weights.len() - 4 * (36 * 36 + 36);
    for value in folder.weights[end - 4 * 36..end].as_chunks_mut::<4>().0 {
        *value = f32::MAX.to_le_bytes();
    }
    let bert = folder.load(BertOptions { normalize: true, ..MEAN }, Kernels::best()).unwrap();
    let refused = distill(&bert, &source(), &sentences(), &OPTIONS, &Threads(2), &mut |_| {});
    assert!(matches!(refused, Err(DistillError::Teacher(_))), "{refused:?}");
}

#[test]
fn step_sizes_that_are_too_large_are_an_error_and_no_table() {
    let options = DistillOptions { rate_weights: 1e30, ..OPTIONS };
    let refused = distill(&teacher(), &source(), &sentences(), &options, &OneWorker, &mut |_| {});
    assert!(matches!(refused, Err(DistillError::Diverged { .. })), "{refused:?}");
}
