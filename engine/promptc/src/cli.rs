//! The command line: one file per verb; this one holds what they share.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use promptc_engine::compiler::diagnostic::json::{render_json, render_json_fault};
use promptc_engine::compiler::diagnostic::render::{Style, render_all, summary};
use promptc_engine::compiler::diagnostic::sarif::{render_sarif, sarif_fault, sarif_run};
use promptc_engine::compiler::plan::Rules;
use promptc_engine::error::EngineError;
use promptc_engine::program::{Program, Settings, load};
use promptc_engine::run::RunOptions;
use promptc_engine::store::open::{CACHE_BYTES_DEFAULT, Store, StoreOptions};
use promptc_engine::store_errors;

use crate::exit::{Exit, report};

mod bench;
mod build_info;
mod check;
mod completions;
mod diff;
mod distill;
mod doctor;
mod embed;
mod explain;
mod fmt;
mod gate;
mod gc;
mod history;
mod memory;
mod new;
mod plan;
mod progress;
pub(crate) mod query;
mod rows;
mod run;
mod search;
mod stress;
mod targets;
mod test;
mod trace;
mod verify;

const EXAMPLES: &str = "\
Examples:
  promptc new hello && promptc run hello/hello.promptc --yes
  promptc check pipelines/crate_docs.promptc --message-format json";

/// Compiles prompt and pipeline programs: checks them, plans what changed, runs only that, and shows the proof.
#[derive(Parser)]
#[command(name = "promptc", version, after_help = EXAMPLES, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    common: Common,
}

/// Runs of a SARIF log. A log is one document: it is printed when everything is in it.
#[derive(Debug, Default)]
struct SarifLog(Mutex<Vec<serde_json::Value>>);

impl SarifLog {
    fn add(&self, run: serde_json::Value) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(run);
    }

    fn take(&self) -> Vec<serde_json::Value> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Flags of every verb.
#[derive(Args)]
pub(crate) struct Common {
    #[arg(skip)]
    log: SarifLog,
    /// Folder of caches, indexes and streams; default: `.promptc` beside the program
    #[arg(long, global = true, env = "PROMPTC_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Threads that compute rows; default: all cores
    #[arg(long, global = true, env = "PROMPTC_THREADS", value_name = "N", value_parser = parse_threads)]
    threads: Option<usize>,
    /// Memory of operators that gather rows, as `512MiB` or `2GiB`; beyond it they use the disk. Default: 512MiB, or two fifths
    /// of the control group's limit
    #[arg(long, global = true, env = "PROMPTC_MEMORY", value_name = "SIZE", value_parser = parse_size)]
    memory: Option<usize>,
    /// Rows that are processed together; results do not depend on it
    #[arg(
        long,
        global = true,
        env = "PROMPTC_BATCH_ROWS",
        value_name = "N",
        default_value_t = 256,
        hide = true
    )]
    batch_rows: usize,
    /// How diagnostics are printed
    #[arg(long, global = true, env = "PROMPTC_MESSAGE_FORMAT", value_enum, default_value_t = MessageFormat::Human)]
    message_format: MessageFormat,
    /// How progress is shown: bars on a terminal, else lines
    #[arg(long, global = true, env = "PROMPTC_PROGRESS", value_enum, default_value_t = Progress::Auto)]
    progress: Progress,
    /// Colours: on a terminal unless NO_COLOR is set, always, or never
    #[arg(long, global = true, env = "PROMPTC_COLOR", value_enum, default_value_t = Color::Auto)]
    color: Color,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum MessageFormat {
    Human,
    Json,
    Sarif,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Progress {
    Auto,
    Json,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Subcommand)]
enum Verb {
    /// Write a small program that runs without any download, and a test
    New(new::NewArgs),
    /// Check programs: names, types, units, budgets, train/test leakage
    Check(check::CheckArgs),
    /// Bring programs into the canonical form
    Fmt(fmt::FmtArgs),
    /// Check for warnings only; `--fix` applies the edits that are safe
    Lint(check::LintArgs),
    /// Show what a run would do and why
    Plan(plan::PlanArgs),
    /// Run what changed and write the outputs
    Run(run::RunArgs),
    /// Run all outputs and write `promptc.lock`
    Build(run::BuildArgs),
    /// Compare the program and its files with `promptc.lock`
    Verify(verify::VerifyArgs),
    /// Run the tests of programs
    Test(test::TestArgs),
    /// Measure the benches of a program, or take in results of other tools, and keep them as history
    Bench(bench::BenchArgs),
    /// Decide about a run: the gates of a program, or gates that are SQL files
    Gate(gate::GateArgs),
    /// The benchmark history: list, accept, reject, compact, prune
    History(history::HistoryArgs),
    /// Ask SQL over the streams of the last build, or over the benchmark history
    Query(query::QueryArgs),
    /// Ask indexes of a program: what is found by which, and why
    Search(search::SearchArgs),
    /// Why a node runs, or the page of a diagnostic code
    Explain(explain::ExplainArgs),
    /// Where a row, or one token of a prompt, comes from
    Trace(trace::TraceArgs),
    /// Compare two lock files
    Diff(diff::DiffArgs),
    /// Vectors of texts, or how near they are to each other
    Embed(embed::EmbedArgs),
    /// Make a static table of an encoder: its vectors, without its cost
    Distill(distill::DistillArgs),
    /// Remove streams and indexes that no program refers to (dry without `--yes`)
    Gc(gc::GcArgs),
    /// The store under kills and under load, on this machine's disk
    Stress(stress::StressArgs),
    /// Report the environment and check a data directory
    Doctor(doctor::DoctorArgs),
    /// Print completions for a shell
    Completions(completions::CompletionsArgs),
}

/// Runs the verb of the command line on a thread with room for deep programs.
pub(crate) fn main() -> ExitCode {
    memory::settle();
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(on_this_thread);
    match thread.map(std::thread::JoinHandle::join) {
        Ok(Ok(exit)) => exit,
        _ => Exit::Run.into(),
    }
}

/// Parses the command line and runs the verb.
fn on_this_thread() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; clap knows which stream they belong to.
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Ok };
            return match error.print() {
                Ok(()) => exit.into(),
                Err(_) => Exit::Run.into(),
            };
        }
    };
    let common = cli.common;
    let outcome = match cli.verb {
        Verb::New(args) => new::new(&args),
        Verb::Check(args) => check::check(&args, &common),
        Verb::Fmt(args) => fmt::fmt(&args),
        Verb::Lint(args) => check::lint(&args, &common),
        Verb::Plan(args) => plan::plan(&args, &common),
        Verb::Run(args) => run::run(&args, &common),
        Verb::Build(args) => run::build(&args, &common),
        Verb::Verify(args) => verify::verify(&args, &common),
        Verb::Test(args) => test::test(&args, &common),
        Verb::Bench(args) => bench::bench(&args, &common),
        Verb::Gate(args) => gate::gate(&args, &common),
        Verb::History(args) => history::history(&args, &common),
        Verb::Query(args) => query::query(&args, &common),
        Verb::Search(args) => search::search(&args, &common),
        Verb::Explain(args) => explain::explain(&args, &common),
        Verb::Trace(args) => trace::trace(&args, &common),
        Verb::Diff(args) => diff::diff(&args),
        Verb::Embed(args) => embed::embed(&args, &common),
        Verb::Distill(args) => distill::distill(&args, &common),
        Verb::Gc(args) => gc::gc(&args, &common),
        Verb::Stress(args) => stress::stress(&args, &common),
        Verb::Doctor(args) => doctor::doctor(&args, &common),
        Verb::Completions(args) => completions::completions(&args, &mut Cli::command()),
    };
    let exit = outcome.unwrap_or_else(|error| common.fault(&error));
    let runs = common.log.take();
    if !runs.is_empty() {
        print!("{}", render_sarif(&runs));
    }
    exit.into()
}

/// Outcome of a verb; errors are printed in one place.
pub(crate) type Outcome = Result<Exit, EngineError>;

/// A program file and values of its params.
#[derive(Args)]
struct ProgramArgs {
    /// The program
    file: PathBuf,
    /// Value of a param, as `--set target=8x`; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_set)]
    set: Vec<(String, String)>,
}

impl ProgramArgs {
    /// Reads and checks the program and prints its diagnostics; `None` if it has errors.
    fn load(&self, common: &Common) -> Result<Option<Program>, EngineError> {
        let program = load(&self.file, &settings(&self.set, false))?;
        print_diagnostics(&program, common);
        Ok(if program.checked.has_errors() { None } else { Some(program) })
    }
}

fn settings(set: &[(String, String)], deny_warnings: bool) -> Settings {
    Settings {
        set: set.iter().cloned().collect(),
        environment: std::env::vars().collect::<BTreeMap<_, _>>(),
        home: std::env::var("HOME").ok(),
        deny_warnings,
    }
}

fn print_diagnostics(program: &Program, common: &Common) {
    let checked = &program.checked;
    let (diagnostics, sources) = (&checked.diagnostics, &checked.sources);
    match common.message_format {
        MessageFormat::Json => print!("{}", render_json(diagnostics, sources)),
        MessageFormat::Sarif => common.log.add(sarif_run(diagnostics, sources)),
        MessageFormat::Human if diagnostics.is_empty() => {}
        MessageFormat::Human => {
            eprint!("{}", render_all(diagnostics, sources, common.style()));
            if let Some(summary) = summary(diagnostics) {
                eprintln!("{}: {summary}", program.path.display());
            }
        }
    }
}

impl Common {
    /// Says what ended a verb, in the format that was asked for.
    fn fault(&self, error: &EngineError) -> Exit {
        self.note_fault(error);
        report(error)
    }

    /// Says a fault to programs that read diagnostics.
    fn note_fault(&self, error: &EngineError) {
        let (code, message, help) = (error.code(), error.to_string(), error.help());
        match self.message_format {
            _ if matches!(error, EngineError::Interrupted) => {}
            MessageFormat::Json => print!("{}", render_json_fault(code, &message, help)),
            MessageFormat::Sarif => self.log.add(sarif_fault(code, &message, help)),
            MessageFormat::Human => {}
        }
    }

    fn style(&self) -> Style {
        if self.is_colored(std::io::stderr().is_terminal()) { Style::Color } else { Style::Plain }
    }

    /// Whether a stream that may be a terminal gets colours.
    fn is_colored(&self, is_terminal: bool) -> bool {
        match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => is_terminal && std::env::var_os("NO_COLOR").is_none(),
        }
    }

    fn memory_bytes(&self) -> usize {
        self.memory.unwrap_or_else(memory::default_bytes)
    }

    fn data_dir(&self, folder: &Path) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(|| folder.join(".promptc"))
    }

    fn store(&self, folder: &Path) -> Result<Arc<Store>, EngineError> {
        self.open_store(folder, false)
    }

    fn store_to_read(&self, folder: &Path) -> Result<Arc<Store>, EngineError> {
        self.open_store(folder, true)
    }

    fn open_store(&self, folder: &Path, read_only: bool) -> Result<Arc<Store>, EngineError> {
        let options = StoreOptions { cache_bytes: CACHE_BYTES_DEFAULT, read_only };
        let store = Store::open(&self.data_dir(folder), &options).map_err(store_errors::open)?;
        if let Some(notice) = store.notice() {
            eprintln!("warning: {notice}");
        }
        Ok(Arc::new(store))
    }

    fn run_options(&self, targets: &[String], no_optimize: bool) -> RunOptions {
        RunOptions {
            targets: targets.to_vec(),
            rules: if no_optimize { Rules::None } else { Rules::All },
            out: None,
            limit: None,
            batch_rows: self.batch_rows.max(1),
            memory_bytes: self.memory_bytes(),
            home: std::env::var_os("HOME").map(PathBuf::from),
        }
    }

    /// The runtime of this process; also sets the number of threads that compute rows.
    fn runtime(&self) -> Result<tokio::runtime::Runtime, EngineError> {
        let threads = self.threads.unwrap_or(0);
        // A second call in one process keeps the first pool; every verb calls it once.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.enable_all().thread_stack_size(STACK_BYTES).worker_threads(if threads == 0 {
            2
        } else {
            threads.max(2)
        });
        builder.build().map_err(|error| EngineError::internal("the runtime", error))
    }
}

fn parse_set(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

/// More threads than this only cost memory.
const THREADS_MAX: usize = 1024;

/// Stack of a thread that plans SQL, which recurses over expressions.
const STACK_BYTES: usize = 64 << 20;

fn parse_threads(text: &str) -> Result<usize, String> {
    let threads = text.parse().ok().filter(|threads| (1..=THREADS_MAX).contains(threads));
    threads.ok_or_else(|| format!("expected a number from 1 to {THREADS_MAX}"))
}

fn parse_size(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let factor: usize = match &text[digits.len()..] {
        "" | "B" => 1,
        "KiB" | "K" => 1 << 10,
        "MiB" | "M" => 1 << 20,
        "GiB" | "G" => 1 << 30,
        unit => return Err(format!("unit `{unit}`; one of B, KiB, MiB, GiB")),
    };
    let number: usize = digits.parse().map_err(|_| format!("`{digits}` is not a whole number"))?;
    number.checked_mul(factor).ok_or_else(|| "too large for this machine".to_owned())
}
