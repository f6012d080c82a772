//! `promptc bench`: the benches of a program; results of other tools; the results of a run.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, UInt32Array};
use clap::{Args, Subcommand};
use promptc_engine::bench::{Measurement, Setup, measure};
use promptc_engine::compiler::hir::Bench;
use promptc_engine::context::Cancel;
use promptc_engine::error::EngineError;
use promptc_engine::program::{Program, load};
use promptc_engine::store::history::{ResultRow, Run, Status, git_state, new_run_id, summary};
use promptc_engine::store_errors;

use super::history::{Place, now};
use super::query::Format;
use super::{Common, Outcome, build_info, parse_set, print_diagnostics, progress, settings};
use crate::exit::Exit;
use crate::show;

mod bisect;
mod ci;
mod compare;
mod ingest;
mod pair;
pub(super) mod report;
mod result;
mod solo;

#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "Examples:
  promptc bench pipelines/crate_docs.promptc
  promptc bench pipelines/crate_docs.promptc crate_hits --repeat 1 --history results
  promptc bench ingest --from criterion target/criterion --suite mycrate
  promptc bench run dot_f32 --quick -- --bench kernels
  promptc bench pair HEAD~1 --filter dot_f32 -- --bench kernels
  promptc bench show latest
  promptc bench compare latest~1 latest
  promptc bench report"
)]
pub(super) struct BenchArgs {
    #[command(subcommand)]
    verb: Option<BenchVerb>,
    #[command(flatten)]
    measure: MeasureArgs,
}

#[derive(Subcommand)]
enum BenchVerb {
    /// Take in results of criterion, hyperfine, db_bench and others
    Ingest(ingest::IngestArgs),
    /// The current build of a project's benches, recorded
    Run(solo::RunArgs),
    /// Two commits, or two built benches, measured in turn
    Pair(pair::PairArgs),
    /// One build against itself: how often does the gate err, and what does it find?
    Aa(pair::SameArgs),
    /// Which commit made a benchmark slower
    Bisect(bisect::BisectArgs),
    /// The results of a run
    Show(result::ShowArgs),
    /// A page about a run for whoever decides about it; also a comment, test results, scan results, a dashboard
    Report(report::ReportArgs),
    /// Two runs side by side
    Compare(compare::CompareArgs),
    /// A workflow file that measures pull requests
    Ci(ci::CiArgs),
}

#[derive(Args)]
struct MeasureArgs {
    /// The program
    #[arg(required = true)]
    file: Option<PathBuf>,
    /// Names of its benches; default: all
    names: Vec<String>,
    /// Repetitions instead of the bench's own
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    repeat: Option<u32>,
    /// Value of a param, as `--set target=8x`; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_set)]
    set: Vec<(String, String)>,
    /// How results are printed
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    place: Place,
}

pub(super) fn bench(args: &BenchArgs, common: &Common) -> Outcome {
    match &args.verb {
        Some(BenchVerb::Ingest(ingest_args)) => ingest::ingest(ingest_args, common),
        Some(BenchVerb::Run(run_args)) => solo::run(run_args, common),
        Some(BenchVerb::Pair(pair_args)) => pair::pair(pair_args, common),
        Some(BenchVerb::Aa(same_args)) => pair::same(same_args, common),
        Some(BenchVerb::Bisect(bisect_args)) => bisect::bisect(bisect_args, common),
        Some(BenchVerb::Show(show_args)) => result::show(show_args, common),
        Some(BenchVerb::Report(report_args)) => report::report(report_args, common),
        Some(BenchVerb::Compare(compare_args)) => compare::compare(compare_args, common),
        Some(BenchVerb::Ci(ci_args)) => ci::ci(ci_args),
        None => measure_program(&args.measure, common),
    }
}

fn measure_program(args: &MeasureArgs, common: &Common) -> Outcome {
    let missing = || EngineError::Unknown("name a program, as `promptc bench FILE.promptc`".to_owned());
    let file = args.file.as_ref().ok_or_else(missing)?;
    let program = load(file, &settings(&args.set, false))?;
    print_diagnostics(&program, common);
    if program.checked.has_errors() {
        return Ok(Exit::Program);
    }
    let benches = wanted(&program, &args.names)?;
    let mut run = Run {
        id: new_run_id(SystemTime::now()),
        started_at: now(),
        git: git_state(program.folder()),
        ..Run::default()
    };
    let measured = run_all(&program, &benches, args, common)?;
    for (bench, found) in &measured {
        for fault in &found.faults {
            eprintln!("bench `{}`: {fault}", bench.name);
        }
        if bench.suite.is_some() {
            run.results.extend(found.results.iter().cloned());
        }
    }
    let all: Vec<&ResultRow> = measured.iter().flat_map(|(_, found)| &found.results).collect();
    let batch = table(&all)?;
    show::print_batches(&batch.schema(), &[batch], args.format)?;
    record(&program, run, args, common)?;
    let is_whole = measured.iter().all(|(_, found)| found.is_whole());
    Ok(if is_whole { Exit::Ok } else { Exit::Run })
}

/// Writes the run, if any of its benches is recorded, and says how to go on.
fn record(program: &Program, mut run: Run, args: &MeasureArgs, common: &Common) -> Result<(), EngineError> {
    if run.results.is_empty() {
        eprintln!("nothing was recorded: no bench has `record = history(\"...\")`");
        return Ok(());
    }
    let environment = build_info::environment();
    run.env_id = environment.id();
    let history = args.place.open(program.folder(), common)?;
    history.check_clock(now()).map_err(store_errors::history)?;
    history.write(&run, &environment).map_err(store_errors::history)?;
    eprintln!("recorded as run {} in {}", run.id, history.dir().display());
    if run.git.dirty {
        eprintln!("the work tree differs from the commit: this run never becomes a baseline");
    }
    if !program.checked.hir.gates.is_empty() {
        eprintln!("`promptc gate {} --run {}` decides about it", program.path.display(), run.id);
    }
    Ok(())
}

/// The benches by name, all without names.
fn wanted<'a>(program: &'a Program, names: &[String]) -> Result<Vec<&'a Bench>, EngineError> {
    let all = &program.checked.hir.benches;
    let known: Vec<&str> = all.iter().map(|bench| bench.name.as_str()).collect();
    if let Some(name) = names.iter().find(|name| !known.contains(&name.as_str())) {
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Err(EngineError::Unknown(format!("no bench `{name}`; the program declares: {known}")));
    }
    if all.is_empty() {
        let message = format!("{} declares no bench", program.path.display());
        return Err(EngineError::Unknown(message));
    }
    Ok(all.iter().filter(|bench| names.is_empty() || names.contains(&bench.name)).collect())
}

fn run_all<'a>(
    program: &'a Program,
    benches: &[&'a Bench],
    args: &MeasureArgs,
    common: &Common,
) -> Result<Vec<(&'a Bench, Measurement)>, EngineError> {
    let runtime = common.runtime()?;
    let options = common.run_options(&[], false);
    let cancel = Cancel::default();
    let events = progress::listener(common);
    let scratch = Scratch::new()?;
    let removed = scratch.0.clone();
    super::run::stop_on_interrupt(cancel.clone(), events.clone(), move || {
        let _ = std::fs::remove_dir_all(removed);
    })?;
    let mut measured = Vec::with_capacity(benches.len());
    for bench in benches {
        let scratch = scratch.0.join(bench.name.replace('.', "-"));
        std::fs::create_dir_all(&scratch)
            .map_err(|source| EngineError::Program { path: scratch.clone(), source })?;
        let setup = Setup {
            hir: &program.checked.hir,
            options: &options,
            scratch: &scratch,
            repeat: args.repeat,
            events: events.clone(),
            cancel: cancel.clone(),
        };
        let found = runtime.block_on(measure(&setup, bench));
        let _ = std::fs::remove_dir_all(&scratch);
        measured.push((*bench, found?));
    }
    events.finish();
    Ok(measured)
}

/// A folder for stores that goes away with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, EngineError> {
        let path = std::env::temp_dir().join(format!("promptc-bench-{}", std::process::id()));
        // A folder of the same name can only be left over from a process that is gone.
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path)
            .map_err(|source| EngineError::Program { path: path.clone(), source })?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left of a scratch folder harms nothing; the system clears it.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One line per benchmark and metric, over its repetitions.
fn table(rows: &[&ResultRow]) -> Result<RecordBatch, EngineError> {
    let mut groups: Vec<(&ResultRow, Vec<f64>, u32)> = Vec::new();
    for row in rows {
        let is_same = |group: &&mut (&ResultRow, Vec<f64>, u32)| {
            group.0.bench_id == row.bench_id && group.0.metric == row.metric
        };
        let group = match groups.iter_mut().find(is_same) {
            Some(group) => group,
            None => {
                groups.push((row, Vec::new(), 0));
                groups.last_mut().ok_or_else(|| EngineError::internal("bench", "no group"))?
            }
        };
        group.1.extend(row.value);
        group.2 += u32::from(row.status != Status::Ok);
    }
    let summaries: Vec<_> = groups.iter().map(|(_, values, _)| summary(values, 0)).collect();
    let texts = |of: fn(&ResultRow) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(groups.iter().map(|(row, ..)| of(row))))
    };
    let numbers = |of: &dyn Fn(usize) -> Option<f64>| -> ArrayRef {
        Arc::new(Float64Array::from_iter((0..groups.len()).map(of)))
    };
    let counts = |of: &dyn Fn(usize) -> usize| -> ArrayRef {
        let count = |idx| u32::try_from(of(idx)).unwrap_or(u32::MAX);
        Arc::new(UInt32Array::from_iter_values((0..groups.len()).map(count)))
    };
    let better = |row: &ResultRow| match row.direction {
        1 => "higher".to_owned(),
        -1 => "lower".to_owned(),
        _ => String::new(),
    };
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("bench_id", texts(|row| row.bench_id.clone())),
        ("metric", texts(|row| row.metric.clone())),
        ("median", numbers(&|idx| summaries[idx].median)),
        ("min", numbers(&|idx| summaries[idx].min)),
        ("max", numbers(&|idx| summaries[idx].max)),
        ("unit", texts(|row| row.unit.clone())),
        ("better", texts(better)),
        ("repeats", counts(&|idx| groups[idx].1.len() + groups[idx].2 as usize)),
        ("without_value", counts(&|idx| groups[idx].2 as usize)),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}
