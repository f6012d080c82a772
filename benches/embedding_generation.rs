//! How many texts a second does an embedder take? One thread.
//!
//! `embedding_generation/<embedder>/<batch>`: a batch of texts of about 200 characters into vectors, the embedder's memory of words
//! warm, as in a build of many rows. No text repeats within a batch. `static` is the shipped table, `encoder_xs` the
//! shipped network with texts of 128 tokens, `encoder_33_tokens` with sentences of 33. `bert` has the shape of all-MiniLM-L6-v2, weights from a counter
//! and sentences of 33 tokens; `peers/bert.py` compares it with ONNX Runtime.
//!
//! `embedding_generation/wordpiece`: texts into ids without special tokens, all of them one after the other, with the vocabulary of
//! the shipped table. With `PROMPTC_TEXTS=<file>`, a JSON string a line, the texts are these, and their ids are left in `<file>.ids`,
//! a line a text; with `PROMPTC_TOKENIZER=<file>` the tokenizer is that `tokenizer.json` (`peers/wordpiece.py`).
//!
//! `embedding_generation/bpe/<cold|warm>`: the same with a byte-level tokenizer, which is trained on the texts or is that
//! `tokenizer.json`. Warm knows the words of the texts from a run before, cold begins without a word (`peers/bpe.py`).

use std::hint::black_box;
use std::path::Path;
use std::process::ExitCode;

use criterion::{BenchmarkId, Criterion, Throughput};
use promptc_benches::{Clock, Recorder, encoder, fixtures};
use promptc_models::bert::{Bert, BertScratch};
use promptc_models::bpe::{Bpe, BpeScratch, BpeTraining, Split};
use promptc_models::embed::{HashedNgram, HashedNgramOptions};
use promptc_models::static_table::StaticScratch;
use promptc_models::wordpiece::WordPiece;

/// Sizes of batches.
const BATCHES: [usize; 3] = [1, 32, 100];
/// Sizes of batches of the transformer.
const BERT_BATCHES: [usize; 3] = [1, 8, 32];
/// Words of its sentences: with the tokens at both ends, 33.
const BERT_WORDS: usize = 31;
/// Words of longer texts: with the tokens at both ends, 128.
const LONG_WORDS: usize = 126;
/// Words that a vocabulary of English has whole.
const COMMON: [&str; 16] = [
    "the", "cell", "of", "a", "wave", "is", "measured", "by", "heat", "and", "its", "length", "in", "water",
    "was", "found",
];
/// Length of a text in bytes.
const TEXT_BYTES: usize = 200;
/// Length of a text that has about 128 tokens in the vocabulary of the table, and how many there are.
const LONG_BYTES: usize = 550;
const LONG_BATCH: usize = 32;
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

fn table(criterion: &mut Criterion<Clock>, texts: &[String]) {
    let table = encoder::shipped_table();
    let mut group = criterion.benchmark_group("embedding_generation");
    let long = fixtures::texts(LONG_BATCH, LONG_BYTES, SEED);
    let short = BATCHES.iter().map(|batch| ("static", &texts[..*batch]));
    for (name, texts) in short.chain([("static_128_tokens", long.as_slice())]) {
        group.throughput(Throughput::Elements(texts.len() as u64));
        let mut vectors = vec![0.0; table.dim() * texts.len()];
        let mut scratch = StaticScratch::default();
        group.bench_function(BenchmarkId::new(name, texts.len()), |bencher| {
            bencher.iter(|| {
                table.embed(black_box(texts), &mut scratch, &mut vectors);
                black_box(&mut vectors);
            });
        });
    }
    group.finish();
}

/// An encoder, made for the first benchmark that runs, so that a run of the others does not wait for it.
struct Transformer {
    name: &'static str,
    words: usize,
    batches: [usize; 3],
    make: fn() -> Bert,
}

/// The shape of MiniLM, and what is shipped.
const TRANSFORMERS: [Transformer; 3] = [
    Transformer { name: "bert", words: BERT_WORDS, batches: BERT_BATCHES, make: encoder::encoder },
    Transformer {
        name: "encoder_33_tokens",
        words: BERT_WORDS,
        batches: BERT_BATCHES,
        make: encoder::shipped_network,
    },
    Transformer { name: "encoder_xs", words: LONG_WORDS, batches: BATCHES, make: encoder::shipped_network },
];

fn transformers(criterion: &mut Criterion<Clock>) {
    let mut group = criterion.benchmark_group("embedding_generation");
    for Transformer { name, words, batches, make } in TRANSFORMERS {
        let mut encoder = None;
        for batch in batches {
            group.throughput(Throughput::Elements(batch as u64));
            group.bench_function(BenchmarkId::new(name, batch), |bencher| {
                let encoder = encoder.get_or_insert_with(make);
                let texts = texts_of(encoder, batch, words);
                let mut vectors = vec![0.0; encoder.dim() * batch];
                let mut scratch = BertScratch::default();
                bencher.iter(|| {
                    let counts = encoder.embed(black_box(&texts), &mut scratch, &mut vectors);
                    assert_eq!(counts.expect("invariant: weights are small").tokens, batch * (words + 2));
                    black_box(&mut vectors);
                });
            });
        }
    }
    group.finish();
}

/// Texts of so many words, each of which is one token of the encoder.
fn texts_of(encoder: &Bert, count: usize, words: usize) -> Vec<String> {
    let made = encoder::sentences(count, words);
    let mut ids = Vec::new();
    encoder.tokenizer().pieces(&made[0], &mut ids);
    if ids.len() == words {
        return made;
    }
    // The vocabulary is not the made one: words that it has, in turn.
    (0..count)
        .map(|text| (0..words).map(|idx| COMMON[(text + idx) % COMMON.len()]).collect::<Vec<_>>().join(" "))
        .collect()
}

fn tokenizer() -> WordPiece {
    match std::env::var_os("PROMPTC_TOKENIZER") {
        Some(path) => WordPiece::from_json(
            &std::fs::read(path).expect("PROMPTC_TOKENIZER names a file that can be read"),
        )
        .expect("PROMPTC_TOKENIZER names a BERT tokenizer"),
        None => encoder::shipped_tokenizer(),
    }
}

fn wordpiece(criterion: &mut Criterion<Clock>, texts: &[String]) {
    let given = fixtures::given_texts();
    let texts = given.as_ref().map_or(texts, |(_, texts)| texts.as_slice());
    let mut group = criterion.benchmark_group("embedding_generation");
    group.sample_size(10).throughput(Throughput::Bytes(texts.iter().map(|text| text.len() as u64).sum()));
    group.bench_function("wordpiece", |bencher| {
        let tokenizer = tokenizer();
        let mut ids = Vec::new();
        if let Some((path, _)) = &given {
            leave_ids(texts, path, |text, ids| tokenizer.pieces(text, ids));
        }
        bencher.iter(|| {
            for text in texts {
                ids.clear();
                tokenizer.pieces(black_box(text), &mut ids);
                black_box(&mut ids);
            }
        });
    });
    group.finish();
}

/// The tokenizer of the file, or one of 8,192 tokens for the texts.
fn byte_level_tokenizer(texts: &[String]) -> Bpe {
    match std::env::var_os("PROMPTC_TOKENIZER") {
        Some(path) => {
            Bpe::from_json(&std::fs::read(path).expect("PROMPTC_TOKENIZER names a file that can be read"))
                .expect("PROMPTC_TOKENIZER names a byte-level BPE tokenizer")
        }
        None => {
            let training = BpeTraining { token_count: 8192, split: Split::Gpt2, special: Vec::new() };
            Bpe::train(texts, &training).expect("invariant: there is room for the bytes")
        }
    }
}

fn bpe(criterion: &mut Criterion<Clock>, texts: &[String]) {
    let given = fixtures::given_texts();
    let texts = given.as_ref().map_or(texts, |(_, texts)| texts.as_slice());
    let mut group = criterion.benchmark_group("embedding_generation");
    group.sample_size(10).throughput(Throughput::Bytes(texts.iter().map(|text| text.len() as u64).sum()));
    for (name, is_warm) in [("cold", false), ("warm", true)] {
        group.bench_function(BenchmarkId::new("bpe", name), |bencher| {
            let tokenizer = byte_level_tokenizer(texts);
            let (mut scratch, mut ids) = (BpeScratch::default(), Vec::new());
            if let Some((path, _)) = &given {
                leave_ids(texts, path, |text, ids| tokenizer.encode(text, &mut scratch, ids));
            }
            bencher.iter(|| {
                if !is_warm {
                    scratch = BpeScratch::default();
                }
                for text in texts {
                    ids.clear();
                    tokenizer.encode(black_box(text), &mut scratch, &mut ids);
                    black_box(&mut ids);
                }
            });
        });
    }
    group.finish();
}

/// Writes the ids of each text beside the file of texts.
fn leave_ids(texts: &[String], path: &Path, mut encode: impl FnMut(&str, &mut Vec<u32>)) {
    let lines = texts.iter().map(|text| {
        let mut ids = Vec::new();
        encode(text, &mut ids);
        format!("{ids:?}\n")
    });
    let lines: String = lines.collect();
    std::fs::write(path.with_added_extension("ids"), lines).expect("the folder of the texts can be written");
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
    table(&mut criterion, &texts);
    transformers(&mut criterion);
    wordpiece(&mut criterion, &texts);
    bpe(&mut criterion, &texts);
    criterion.final_summary();
    recorder.finish()
}
