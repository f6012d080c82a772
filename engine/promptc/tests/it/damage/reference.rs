//! The directory that is damaged: a program's outputs and its store with everything in it, and a benchmark history.
//!
//! It is built twice, with a change between, so that every kind of file has an older version. All runs happen at one path, since
//! a store remembers outputs by theirs: what is kept is moved away, and each case gets a copy of hard links at that path.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use promptc_engine::compiler::plan::Rules;
use promptc_engine::context::{Cancel, Silent};
use promptc_engine::error::EngineError;
use promptc_engine::program::{Settings, load};
use promptc_engine::report::RunReport;
use promptc_engine::run::{RunOptions, run};
use promptc_engine::store::history::{
    Environment, GitState, History, ResultRow, Run, SampleRow, VerdictRow, summary,
};
use promptc_engine::store::kv::{Batch, Durability, Tuning};
use promptc_engine::store::open::{CACHE_BYTES_DEFAULT, Store, StoreOptions};
use promptc_engine::store_errors;

use super::judge::{Picture, picture};
use crate::job::Random;

const DOCUMENTS: u64 = 36;
/// Records written by the first build; the second writes half as many, some over the first.
const RECORDS: u64 = 160;
/// Tries, 20 ms apart, until a store that is held counts as held: ten seconds, a hundred times what it takes.
const RELEASE_TRIES: u32 = 500;
/// 2026-01-01 in microseconds.
const START: i64 = 20_454 * 86_400_000_000;

const PROGRAM: &str = r##"
edition 2026
source pages : stream<{ path: text, text: text }> = markdown("docs/*.md") { key = path }
source asks  : stream<{ qid: text, side: text, question: text }> = jsonl("asks.jsonl") { key = qid }
embedder e32 { kind = hashed_ngram, dim = 32, seed = 7, weight = idf, fit = corpus.docs.text }
embedder p32 { kind = hashed_ngram, dim = 32, seed = 9 }
pipeline corpus {
  pages |> compress(text, stages = [structural]) |> dedup(text, unit = block, jaccard = 0.8) -> docs
  docs |> chunk(text, by = heading, max = 64tok) |> embed(text, with = p32) as vec -> chunks
  docs |> embed(text, with = e32) as vec -> fitted
  write fitted to parquet("out/fitted.parquet")
  write chunks to lance("out/chunks.lance")
  write docs to parquet("out/docs.parquet")
  write docs to files("out/pages", name = replace(path, "/", "_"), body = text)
}
index words on corpus.chunks(text) { kind = bm25 }
index near on corpus.chunks(vec) { kind = flat }
index lists on corpus.chunks(vec) { kind = ivf_flat, lists = 2, probes = 1, seed = 3 }
prompt answer(question: text, passages: list<text>) within 256tok {
  user (priority = 50, min = 16tok, shrink = compress(query = question, ratio = 1x..8x, unit = clause)) #"{% for p in passages %}{% if p %}- {{ p }}
{% endif %}{% endfor %}"#
  user (priority = 90, max = 32tok, shrink = keep_head) #"Question: {{ question }}"#
}
pipeline pack {
  asks
    |> retrieve(question, from = [words, near, lists], k = 5) as hits
    |> compress(hits.text, query = question, ratio = 2x, unit = clause) as passages
    |> assemble(answer, question = question, passages = passages) as prompt
    -> prompts
  write prompts to jsonl("out/prompts.jsonl", key = qid)
  write asks to csv("out/questions.csv", key = qid)
  write asks to parquet("out/sides", partition = [side], key = qid)
}
"##;

/// Everything that a case starts from.
pub(super) struct Reference {
    root: tempfile::TempDir,
    /// Files of the last build, relative to its folder.
    pub(super) files: BTreeSet<PathBuf>,
    /// What is to be seen at the end of a case: without a further question, and with one.
    pub(super) expected: [Picture; 2],
    /// The questions of the second build, and those with one more.
    asks: [String; 2],
}

fn sentence(random: &mut Random) -> String {
    let words: Vec<String> = (0..12).map(|_| format!("w{}", random.below(300))).collect();
    format!("The {}.", words.join(" "))
}

fn page(random: &mut Random) -> String {
    let part = |number: u64, random: &mut Random| {
        format!("## Part {number}\n\n{} {}\n\n", sentence(random), sentence(random))
    };
    (0..3 + random.below(2)).map(|number| part(number, random)).collect()
}

fn ask(number: u64, random: &mut Random) -> String {
    let side = if number.is_multiple_of(2) { "left" } else { "right" };
    format!("{{\"qid\":\"q{number:03}\",\"side\":\"{side}\",\"question\":\"{}\"}}\n", sentence(random))
}

impl Reference {
    pub(super) fn build() -> Self {
        let root = tempfile::tempdir().unwrap();
        let place = root.path().join("case");
        let mut random = Random(23);
        fs::create_dir_all(place.join("docs")).unwrap();
        fs::write(place.join("job.promptc"), PROGRAM).unwrap();
        for number in 0..DOCUMENTS {
            fs::write(place.join(format!("docs/{number:03}.md")), page(&mut random)).unwrap();
        }
        let mut asks: String = (0..4).map(|number| ask(number, &mut random)).collect();
        fs::write(place.join("asks.jsonl"), &asks).unwrap();
        let mut this =
            Self { root, files: BTreeSet::new(), expected: Default::default(), asks: Default::default() };
        this.run().unwrap();
        write_records(&this.small_store(), 0, RECORDS);
        write_history(&this.history(), &["01KA", "01KB"], false);
        copy(&place, &this.root.path().join("older"));
        // A few documents change and one goes, so that the dataset of the vectors gets deletions.
        for number in [3, 4] {
            fs::write(place.join(format!("docs/{number:03}.md")), page(&mut random)).unwrap();
        }
        fs::remove_file(place.join("docs/009.md")).unwrap();
        asks.push_str(&ask(4, &mut random));
        fs::write(place.join("asks.jsonl"), &asks).unwrap();
        this.run().unwrap();
        write_records(&this.small_store(), RECORDS / 2, RECORDS);
        write_history(&this.history(), &["01KC", "01KD"], true);
        fs::rename(&place, this.good()).unwrap();
        this.files = list(&this.good());
        this.asks = [asks.clone(), asks + &ask(5, &mut random)];
        for has_question in [false, true] {
            this.begin(has_question);
            let report = this.run().unwrap();
            let computed = report.nodes.iter().map(|node| node.computed + node.deleted).sum();
            this.expected[usize::from(has_question)] = Picture { computed, ..picture(&this) };
        }
        this
    }

    /// Where every case happens.
    pub(super) fn place(&self) -> PathBuf {
        self.root.path().join("case")
    }

    /// The last build, untouched.
    pub(super) fn good(&self) -> PathBuf {
        self.root.path().join("good")
    }

    /// The build before it.
    pub(super) fn older(&self) -> PathBuf {
        self.root.path().join("older")
    }

    pub(super) fn store_dir(&self) -> PathBuf {
        self.place().join(".promptc")
    }

    pub(super) fn store(&self) -> Store {
        self.open().unwrap()
    }

    /// With small buffers, so that a part of the records is in tables when it is closed, and a part in the log.
    fn small_store(&self) -> Store {
        let options = StoreOptions { cache_bytes: CACHE_BYTES_DEFAULT, read_only: false };
        let tuning = Tuning { write_buffer_bytes: 32 << 10, ..Tuning::STANDARD };
        Store::open_tuned(&self.store_dir(), &options, &tuning).unwrap()
    }

    /// Opens the store of the case. In one process a thread of the last run may let go of it a moment after the run's end; a
    /// command would have ended.
    pub(super) fn open(&self) -> Result<Store, EngineError> {
        let options = StoreOptions { cache_bytes: CACHE_BYTES_DEFAULT, read_only: false };
        for _ in 0..RELEASE_TRIES {
            match Store::open(&self.store_dir(), &options).map_err(store_errors::open) {
                Err(error) if error.code() == "E1001" => std::thread::sleep(Duration::from_millis(20)),
                opened => return opened,
            }
        }
        Store::open(&self.store_dir(), &options).map_err(store_errors::open)
    }

    pub(super) fn history(&self) -> PathBuf {
        self.store_dir().join("history")
    }

    /// A fresh copy of the last build at the place of the cases, with a question more if asked for.
    pub(super) fn begin(&self, has_question: bool) {
        let place = self.place();
        if place.exists() {
            fs::remove_dir_all(&place).unwrap();
        }
        link(&self.good(), &place);
        if has_question {
            fs::remove_file(place.join("asks.jsonl")).unwrap();
            fs::write(place.join("asks.jsonl"), &self.asks[1]).unwrap();
        }
    }

    /// Runs the program at the place of the cases.
    pub(super) fn run(&self) -> Result<RunReport, EngineError> {
        let program = load(&self.place().join("job.promptc"), &Settings::default())?;
        assert!(!program.checked.has_errors(), "{:?}", program.checked.diagnostics);
        let options = RunOptions {
            targets: Vec::new(),
            rules: Rules::All,
            out: None,
            limit: None,
            batch_rows: 256,
            memory_bytes: 512 << 20,
            home: None,
        };
        let store = Arc::new(self.open()?);
        runtime().block_on(run(&program, store, &options, Arc::new(Silent), Cancel::default()))
    }
}

pub(super) fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: std::sync::OnceLock<tokio::runtime::Runtime> = std::sync::OnceLock::new();
    RUNTIME.get_or_init(|| {
        // Planning recurses over expressions: as much stack as the command gives.
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(2).thread_stack_size(64 << 20).enable_all().build().unwrap()
    })
}

/// The key and the value that a record has after a build that wrote up to `last`.
pub(super) fn record(number: u64, last: u64) -> (Vec<u8>, Vec<u8>) {
    let value = format!("record {number} of {last}").repeat(1 + number as usize % 40);
    (format!("key {number:05}").into_bytes(), value.into_bytes())
}

fn write_records(store: &Store, first: u64, last: u64) {
    for number in (first..last).step_by(2) {
        let mut batch = Batch::new();
        for number in [number, number + 1] {
            let (key, value) = record(number, last + first);
            batch.put(&key, &value).unwrap();
        }
        store.records().write(batch, Durability::GroupCommit).unwrap();
    }
}

fn write_history(dir: &Path, ids: &[&str], is_compacted: bool) {
    let history = History::open(dir).unwrap();
    let environment = Environment { os: Some("linux".to_owned()), ..Environment::default() }.sealed();
    for (number, id) in (0..).zip(ids) {
        let started_at = START + number * 40 * 86_400_000_000;
        let mut run = Run {
            id: format!("{id}0000000000000000000000"),
            started_at,
            git: GitState { sha: format!("{number:040x}"), branch: "main".to_owned(), ..GitState::default() },
            env_id: environment.id(),
            ..Run::default()
        };
        for bench in ["parse/a", "search/b"] {
            let values: Vec<f64> =
                (0..20).map(|value| f64::from(value) + id.len() as f64 * number as f64).collect();
            let summary = summary(&values, 1);
            run.results.push(ResultRow {
                suite: "demo".to_owned(),
                bench_id: bench.to_owned(),
                metric: "wall_ns".to_owned(),
                unit: "ns".to_owned(),
                direction: -1,
                value: summary.median,
                summary,
                started_at,
                ..ResultRow::default()
            });
            run.samples.push(SampleRow {
                bench_id: bench.to_owned(),
                metric: "wall_ns".to_owned(),
                iters: vec![1; values.len()],
                values,
                ..SampleRow::default()
            });
        }
        history.write(&run, &environment).unwrap();
        let verdict = VerdictRow {
            gate_id: "paired".to_owned(),
            run_id: run.id.clone(),
            purpose: "gate".to_owned(),
            verdict: "pass".to_owned(),
            decided_at: started_at,
            ..VerdictRow::default()
        };
        history.append_verdicts(&[verdict]).unwrap();
    }
    if is_compacted {
        history.compact(START + 35 * 86_400_000_000).unwrap();
    }
}

/// Files below a folder, relative to it.
pub(super) fn list(folder: &Path) -> BTreeSet<PathBuf> {
    fn add(root: &Path, folder: &Path, files: &mut BTreeSet<PathBuf>) {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                add(root, &path, files);
            } else {
                files.insert(path.strip_prefix(root).unwrap().to_owned());
            }
        }
    }
    let mut files = BTreeSet::new();
    add(folder, folder, &mut files);
    files
}

fn copy(from: &Path, to: &Path) {
    for file in list(from) {
        fs::create_dir_all(to.join(&file).parent().unwrap()).unwrap();
        fs::copy(from.join(&file), to.join(&file)).unwrap();
    }
}

/// A copy by hard links; of files that are written in place by their bytes.
fn link(from: &Path, to: &Path) {
    for file in list(from) {
        let (source, target) = (from.join(&file), to.join(&file));
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        if name == "LOG" || name.to_lowercase().ends_with("lock") {
            fs::copy(source, target).unwrap();
        } else {
            fs::hard_link(source, target).unwrap();
        }
    }
    fs::create_dir_all(to.join(".promptc/tmp")).unwrap();
}

/// Every file below a folder with its bytes.
pub(super) fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    list(folder).into_iter().map(|path| (path.clone(), fs::read(folder.join(&path)).unwrap())).collect()
}
