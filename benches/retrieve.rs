//! How long does a question to an index take, and building the index? One thread.
//!
//! `retrieve/{bm25,flat}/<rows>`: the ten best of so many texts of 400 bytes for a question of about eight words; `bm25` by words in
//! Tantivy, `flat` by vectors of 256 numbers, compared with each. `retrieve_build/...`: from texts, or from vectors, to a synced index.

use std::convert::Infallible;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{FixedSizeListArray, Float32Array};
use arrow::datatypes::{DataType, Field};
use criterion::BenchmarkId;
use promptc_benches::measurement::times_ns;
use promptc_benches::{Measurement, Recorder, fixtures};
use promptc_models::embed::{HashedNgram, HashedNgramOptions};
use promptc_store::flows::RowId;
use promptc_store::text::{TextIndex, TextParams, TextRow};
use promptc_store::vectors::{Metric, VectorIndex, VectorParams, vector_batch};

/// Rows of an index.
const ROWS: [usize; 2] = [1_000, 10_000];
/// Bytes of a text.
const TEXT_BYTES: usize = 400;
/// Bytes of a question.
const QUESTION_BYTES: usize = 60;
/// Questions in turn.
const QUESTIONS: usize = 64;
/// Rows asked for.
const K: usize = 10;
/// Numbers of a vector.
const DIM: u32 = 256;
/// Times that an index is built: quick, full.
const BUILDS: (usize, usize) = (3, 10);
/// Seed of texts and questions.
const SEED: u64 = 7;

/// Texts, questions and their vectors.
struct Corpus {
    texts: Vec<String>,
    questions: Vec<String>,
    vectors: Vec<f32>,
    question_vectors: Vec<Vec<f32>>,
}

impl Corpus {
    fn new(rows: usize) -> Self {
        let options = HashedNgramOptions { dim: DIM, ngrams: vec![3, 4, 5], seed: 7, normalize: true };
        let embedder =
            HashedNgram::new(options, None).expect("invariant: the options of the main job are allowed");
        let mut scratch = embedder.scratch();
        let mut vector = |text: &String| {
            let mut vector = vec![0.0; DIM as usize];
            embedder.embed(text, &mut scratch, &mut vector);
            vector
        };
        let texts = fixtures::texts(rows, TEXT_BYTES, SEED);
        let questions = fixtures::texts(QUESTIONS, QUESTION_BYTES, SEED + 1);
        let vectors = texts.iter().flat_map(&mut vector).collect();
        let question_vectors = questions.iter().map(&mut vector).collect();
        Self { texts, questions, vectors, question_vectors }
    }

    fn rows(&self) -> Vec<RowId> {
        (0..self.texts.len() as u128).map(u128::to_be_bytes).collect()
    }

    fn build_text(&self, folder: &Path) -> TextIndex {
        let params = TextParams { stem: Some("en".to_owned()), ..TextParams::default() };
        let mut index = TextIndex::open_or_create(folder, params).expect("a new index in a temporary folder");
        let rows = self.rows().into_iter().zip(&self.texts);
        let rows = rows.map(|(row, text)| {
            Ok::<_, Infallible>(TextRow { row, key: row.to_vec(), title: None, text: text.clone() })
        });
        index.update(&[], rows, "bench").expect("the texts are indexed");
        index
    }

    fn build_vectors(&self, folder: &Path, runtime: &tokio::runtime::Runtime) -> VectorIndex {
        let item = Arc::new(Field::new("item", DataType::Float32, true));
        let values = Arc::new(Float32Array::from(self.vectors.clone()));
        let vectors = FixedSizeListArray::new(item, DIM as i32, values, None);
        let rows = self.rows();
        let keys: Vec<Vec<u8>> = rows.iter().map(|row| row.to_vec()).collect();
        let batch = vector_batch(&rows, &keys, &vectors).expect("the vectors have one length");
        runtime.block_on(async {
            let params = VectorParams::flat(Metric::Cosine, DIM as usize);
            let index = VectorIndex::open_or_create(folder, params).await;
            let mut index = index.expect("a new index in a temporary folder");
            index.update(&[], &[batch], "bench").await.expect("the vectors are indexed");
            index
        })
    }
}

/// Builds an index several times, each in a folder of its own; the last one is kept.
fn built<T>(recorder: &mut Recorder, title: &str, folder: &Path, mut build: impl FnMut(&Path) -> T) -> T {
    let place = |name: String| folder.join(title.replace('/', "_")).join(name);
    if recorder.wants(title) {
        let count = recorder.rounds(recorder.scale().pick(BUILDS.0, BUILDS.1));
        let start = Instant::now();
        let mut build_count = 0;
        let times = times_ns(count, |_| {
            build_count += 1;
            build(&place(build_count.to_string()))
        });
        recorder.add(Measurement::new(title, "wall_ns", times).within(start.elapsed()));
    }
    build(&place("kept".to_owned()))
}

fn main() -> ExitCode {
    let mut recorder = Recorder::start("retrieve");
    for (key, value) in [("threads", 1), ("k", K), ("dim", DIM as usize), ("text_bytes", TEXT_BYTES)] {
        recorder.param(key, value);
    }
    recorder.param("data", "generated");
    recorder.param("seed", SEED);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let mut criterion = recorder.criterion();
    for rows in ROWS {
        let corpus = Corpus::new(rows);
        let title = format!("retrieve_build/bm25/{rows}");
        let text = built(&mut recorder, &title, folder.path(), |folder| corpus.build_text(folder));
        let title = format!("retrieve_build/flat/{rows}");
        let flat =
            built(&mut recorder, &title, folder.path(), |folder| corpus.build_vectors(folder, &runtime));
        let mut group = criterion.benchmark_group("retrieve");
        let mut questions = corpus.questions.iter().cycle();
        group.bench_function(BenchmarkId::new("bm25", rows), |bencher| {
            bencher.iter(|| {
                let question = questions.next().expect("invariant: a cycle does not end");
                text.search(question, K, None).expect("the index answers")
            });
        });
        let mut questions = corpus.question_vectors.iter().cycle();
        group.bench_function(BenchmarkId::new("flat", rows), |bencher| {
            bencher.iter(|| {
                let question = questions.next().expect("invariant: a cycle does not end");
                flat.search_exact(question, K, None).expect("the index answers")
            });
        });
        group.finish();
    }
    criterion.final_summary();
    recorder.finish()
}
