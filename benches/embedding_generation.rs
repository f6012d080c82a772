//! How many texts a second does an embedder take? One thread.
//!
//! `embedding_generation/<embedder>/<batch>`: a batch of texts of about 200 characters into vectors, the embedder's memory of words
//! warm, as in a build of many rows. No text repeats within a batch.

use std::hint::black_box;
use std::process::ExitCode;

use criterion::{BenchmarkId, Criterion, Throughput};
use promptc_benches::{Clock, Recorder, fixtures};
use promptc_models::embed::{HashedNgram, HashedNgramOptions};

/// Sizes of batches.
const BATCHES: [usize; 3] = [1, 32, 100];
/// Length of a text in bytes.
const TEXT_BYTES: usize = 200;
/// Seed of the texts.
const SEED: u64 = 7;

fn hashed_ngram() -> HashedNgram {
    let options = HashedNgramOptions { dim: 256, ngrams: vec![3, 4, 5], seed: 7, normalize: true };
    HashedNgram::new(options, None).expect("invariant: the options of the main job are allowed")
}

fn embeddings(criterion: &mut Criterion<Clock>, texts: &[String]) {
    let embedder = hashed_ngram();
    let mut vectors = vec![0.0; embedder.dim() * texts.len()];
    let mut group = criterion.benchmark_group("embedding_generation");
    for batch in BATCHES {
        group.throughput(Throughput::Elements(batch as u64));
        let mut scratch = embedder.scratch();
        group.bench_function(BenchmarkId::new("hashed_ngram", batch), |bencher| {
            bencher.iter(|| {
                for (text, vector) in texts[..batch].iter().zip(vectors.chunks_exact_mut(embedder.dim())) {
                    embedder.embed(black_box(text), &mut scratch, vector);
                }
                black_box(&mut vectors);
            });
        });
    }
    group.finish();
}

fn main() -> ExitCode {
    let mut recorder = Recorder::start("embedding_generation");
    recorder.param("threads", 1);
    recorder.param("dim", 256);
    recorder.param("text_bytes", TEXT_BYTES);
    recorder.param("data", "generated");
    recorder.param("seed", SEED);
    let texts = fixtures::texts(100, TEXT_BYTES, SEED);
    let mut criterion = recorder.criterion();
    embeddings(&mut criterion, &texts);
    criterion.final_summary();
    recorder.finish()
}
