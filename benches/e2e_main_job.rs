//! How long does the main job take: from nothing, with nothing changed, with one page changed?
//!
//! `e2e_main_job/<state>`: the program `pipelines/crate_docs.promptc` as `promptc run` runs it, over generated pages in place of a
//! Cargo registry: read and check the program, open the store, hash the pages, plan, run what is needed, write the outputs, close.
//! The three states are measured in turn, round by round, each round in a folder of its own. Start-up of the process is not in it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use promptc_benches::{Measurement, Recorder, fixtures};
use promptc_engine::compiler::plan::Rules;
use promptc_engine::context::{Cancel, Silent};
use promptc_engine::program::{Settings, load};
use promptc_engine::report::RunReport;
use promptc_engine::run::{RunOptions, run};
use promptc_store::open::{CACHE_BYTES_DEFAULT, Store, StoreOptions};

/// Bytes of pages: quick, full.
const BYTES: (usize, usize) = (1 << 20, 7 << 20);
/// Rounds: quick, full.
const ROUNDS: (usize, usize) = (3, 10);
/// Rows of a batch, and memory before spilling, as the command line has them without options.
const BATCH_ROWS: usize = 256;
const MEMORY_BYTES: usize = 512 << 20;
/// Seed of the pages.
const SEED: u64 = 7;

const PROGRAM: &str = include_str!("../pipelines/crate_docs.promptc");
const QUESTIONS: &str = include_str!("../pipelines/data/crate_questions.jsonl");

/// A folder with the program, its questions and a registry of pages about the crates that are asked for.
struct Job {
    folder: tempfile::TempDir,
    pages: Vec<PathBuf>,
}

impl Job {
    fn new(bytes: usize) -> std::io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = folder.path();
        std::fs::create_dir_all(path.join("data"))?;
        std::fs::write(path.join("crate_docs.promptc"), PROGRAM)?;
        std::fs::write(path.join("data/crate_questions.jsonl"), QUESTIONS)?;
        let crates: Vec<String> = QUESTIONS
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .filter_map(|row| Some(row["crate"].as_str()?.to_owned()))
            .collect();
        let mut pages = Vec::new();
        for (idx, page) in fixtures::generated_pages(bytes, SEED).into_iter().enumerate() {
            let name = &crates[idx % crates.len()];
            let package = path.join(format!("home/registry/src/index/{name}-1.0.{}", idx / crates.len()));
            std::fs::create_dir_all(&package)?;
            let page_path = package.join("README.md");
            std::fs::write(&page_path, format!("{}\n\nThis page is about {name}.\n", page.text))?;
            pages.push(page_path);
        }
        Ok(Self { folder, pages })
    }

    fn run(&self, runtime: &tokio::runtime::Runtime) -> Result<RunReport, String> {
        let home = self.folder.path().join("home").display().to_string();
        let settings = Settings { set: [("cargo_home".to_owned(), home)].into(), ..Settings::default() };
        let program = load(&self.folder.path().join("crate_docs.promptc"), &settings).map_err(shown)?;
        let options = StoreOptions { cache_bytes: CACHE_BYTES_DEFAULT, read_only: false };
        let store = Store::open(&self.folder.path().join(".promptc"), &options).map_err(shown)?;
        let options = RunOptions {
            targets: Vec::new(),
            rules: Rules::All,
            out: None,
            limit: None,
            batch_rows: BATCH_ROWS,
            memory_bytes: MEMORY_BYTES,
            home: None,
        };
        let run = run(&program, Arc::new(store), &options, Arc::new(Silent), Cancel::default());
        runtime.block_on(run).map_err(shown)
    }

    fn change(&self, round: usize) -> std::io::Result<()> {
        let page = &self.pages[round * 13 % self.pages.len()];
        let text = std::fs::read_to_string(page)?;
        std::fs::write(page, format!("{text}\nA paragraph that was not there in round {round}.\n"))
    }
}

fn shown(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Times of the three states in one round; fails where a state is not what its name says.
fn round(number: usize, bytes: usize, runtime: &tokio::runtime::Runtime) -> Result<[f64; 3], String> {
    let job = Job::new(bytes).map_err(shown)?;
    let timed = || {
        let start = Instant::now();
        let report = job.run(runtime)?;
        Ok::<_, String>((start.elapsed().as_nanos() as f64, report))
    };
    let (cold, first) = timed()?;
    if first.is_idle() || first.outputs.iter().all(|output| output.rows == 0) {
        return Err("the cold run computed nothing".to_owned());
    }
    let (unchanged, second) = timed()?;
    if !second.is_idle() {
        return Err("the second run computed something".to_owned());
    }
    job.change(number).map_err(shown)?;
    let (changed, third) = timed()?;
    let computed = |report: &RunReport| report.nodes.iter().map(|node| node.computed).sum::<u64>();
    if third.is_idle() || computed(&third) >= computed(&first) {
        return Err("the run after a change computed nothing, or everything".to_owned());
    }
    Ok([cold, unchanged, changed])
}

fn main() -> ExitCode {
    let mut recorder = Recorder::start("e2e_main_job");
    let titles = ["e2e_main_job/cold", "e2e_main_job/unchanged", "e2e_main_job/one_changed"];
    let wanted = titles.map(|title| recorder.wants(title));
    let scale = recorder.scale();
    let bytes = scale.pick(BYTES.0, BYTES.1);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    recorder.param("threads", cores);
    recorder.param("data", "generated");
    recorder.param("seed", SEED);
    recorder.param("bytes", bytes);
    if wanted.contains(&true) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .worker_threads(cores.max(2))
            .thread_stack_size(16 << 20)
            .build()
            .expect("a runtime");
        let rounds = recorder.rounds(scale.pick(ROUNDS.0, ROUNDS.1));
        let times: Result<Vec<[f64; 3]>, String> =
            (0..rounds).map(|number| round(number, bytes, &runtime)).collect();
        for (idx, title) in titles.into_iter().enumerate().filter(|(idx, _)| wanted[*idx]) {
            recorder.add(match &times {
                Ok(times) => {
                    Measurement::new(title, "wall_ns", times.iter().map(|round| round[idx]).collect())
                }
                Err(reason) => Measurement::failed(title, "wall_ns", reason),
            });
        }
    }
    recorder.finish()
}
