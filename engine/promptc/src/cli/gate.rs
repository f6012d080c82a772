//! `promptc gate`: the gates of a program, and gates that are SQL files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, UInt64Array};
use clap::{Args, ValueEnum};
use promptc_engine::bench::{local_name, suite};
use promptc_engine::compiler::diagnostic::{Code, Diagnostic};
use promptc_engine::compiler::hir::{Bench, Gate};
use promptc_engine::error::EngineError;
use promptc_engine::gate::file::Question;
use promptc_engine::gate::{Decision, Outcome as Answer, ProgramGate, SqlGate, verdict_rows};
use promptc_engine::program::{Program, load};
use promptc_engine::store::history::History;
use promptc_engine::store::sinks::{SinkSpec, open_sink};
use promptc_engine::store::sql::gate_session;
use promptc_engine::store_errors;

use super::bench::report::decided::{About, decided};
use super::bench::report::gather::Gather;
use super::history::{Place, find_run, now, repository, session_of};
use super::query::Format;
use super::{Common, Outcome, parse_set, print_diagnostics, settings};
use crate::exit::Exit;
use crate::report::data::ReportData;
use crate::report::{junit, sarif};
use crate::{shipped, show};

#[derive(Args)]
#[command(after_help = "Examples:
  promptc gate pipelines/crate_docs.promptc --run latest
  promptc gate pipelines/crate_docs.promptc no_worse --undecided-ok
  promptc gate queries/gates/*.sql --run 01JD3X -p alpha=0.001
  promptc gate --all --run latest --format junit > gates.xml

Exit: 0 all passed, 3 a gate failed, 4 a gate could not run, 5 something could not be decided.")]
pub(super) struct GateArgs {
    /// A program and names of its gates (default: all), or SQL files
    #[arg(required_unless_present = "all", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The gates that come with promptc
    #[arg(long, conflicts_with = "files")]
    all: bool,
    /// The run: its id, the beginning of it, `latest` or `latest~1`
    #[arg(long, value_name = "ID")]
    run: Option<String>,
    /// Value of a parameter of SQL files, as `-p alpha=0.001`; may be repeated
    #[arg(short = 'p', long = "param", value_name = "NAME=VALUE", value_parser = parse_set)]
    param: Vec<(String, String)>,
    /// Value of a param of the program, as `--set target=8x`; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_set)]
    set: Vec<(String, String)>,
    /// Rows of gates that warn are failures
    #[arg(long)]
    warn_as_error: bool,
    /// End with 0 instead of 5 where something could not be decided
    #[arg(long)]
    undecided_ok: bool,
    /// Only look: leave no verdicts in the history
    #[arg(long)]
    no_record: bool,
    /// Keep the rows that gates returned, as `<gate>-<run>.parquet` in this folder
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true, default_missing_value = "benches/analysis")]
    store_failures: Option<PathBuf>,
    /// How decisions are printed
    #[arg(long, value_enum, default_value_t = GateFormat::Table)]
    format: GateFormat,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum GateFormat {
    Table,
    Json,
    Markdown,
    /// Test results: a case for each benchmark that a gate judged
    Junit,
    /// Scan results: SARIF 2.1.0
    Sarif,
}

impl GateFormat {
    /// Whether it shows the run and its benchmarks besides the decisions.
    fn has_run(self) -> bool {
        matches!(self, GateFormat::Junit | GateFormat::Sarif)
    }
}

/// Decisions, and what the formats of other tools show besides.
struct Judged {
    decisions: Vec<Decision>,
    about: Vec<About>,
    run: ReportData,
}

impl Judged {
    fn report(self) -> ReportData {
        let mut data = self.run;
        for (decision, about) in self.decisions.iter().zip(self.about) {
            let (gate, verdicts) = decided(decision, about, &data.series);
            data.gates.push(gate);
            data.verdicts.extend(verdicts);
        }
        data
    }
}

pub(super) fn gate(args: &GateArgs, common: &Common) -> Outcome {
    let is_sql = |path: &Path| path.extension().is_some_and(|ending| ending == "sql");
    let sql_count = args.files.iter().filter(|path| is_sql(path)).count();
    let judged = if sql_count == args.files.len() {
        sql_gates(args, common)?
    } else if sql_count == 0 {
        let (file, names) = args.files.split_at(1);
        let program = load(&file[0], &settings(&args.set, false))?;
        if program.checked.has_errors() {
            print_diagnostics(&program, common);
            return Ok(Exit::Program);
        }
        if let Some((name, _)) = args.param.first() {
            return Err(EngineError::Unknown(format!(
                "`-p {name}` belongs to SQL files; params of programs are `--set`"
            )));
        }
        program_gates(&program, names, args, common)?
    } else {
        return Err(EngineError::Unknown(
            "either a program with names of its gates, or SQL files".to_owned(),
        ));
    };
    if let Some(folder) = &args.store_failures {
        store_failures(&judged.decisions, folder)?;
    }
    let exit = exit(&judged.decisions, args.undecided_ok);
    for decision in &judged.decisions {
        if let Some(error) = &decision.error {
            // Whole: a cell of the table is cut.
            eprintln!("error: gate `{}` could not run: {error}", decision.gate_id);
        }
    }
    print(judged, args.format)?;
    Ok(exit)
}

/// What could not run weighs most, then failures, then what could not be decided.
fn exit(decisions: &[Decision], undecided_ok: bool) -> Exit {
    let any = |outcome: Answer| decisions.iter().any(|decision| decision.outcome == outcome);
    if decisions.iter().any(|decision| decision.error.is_some()) {
        Exit::Run
    } else if any(Answer::Fail) {
        Exit::Failed
    } else if any(Answer::Unknown) && !undecided_ok {
        Exit::Undecided
    } else {
        Exit::Ok
    }
}

/// Writes the rows of every gate that returned some, as they came, and says where.
fn store_failures(decisions: &[Decision], folder: &Path) -> Result<(), EngineError> {
    for decision in decisions {
        let Some((schema, batches)) = &decision.rows else { continue };
        if batches.iter().all(|batch| batch.num_rows() == 0) {
            continue;
        }
        std::fs::create_dir_all(folder)
            .map_err(|source| EngineError::Program { path: folder.to_path_buf(), source })?;
        let spec = SinkSpec {
            kind: "parquet".to_owned(),
            base: folder.to_path_buf(),
            path: format!("{}-{}.parquet", decision.gate_id, decision.run_id),
            key: Vec::new(),
            partition: Vec::new(),
            overwrite: true,
            name: None,
            body: None,
        };
        let mut sink = open_sink(&spec, schema).map_err(store_errors::sink)?;
        for batch in batches {
            sink.write(batch).map_err(store_errors::sink)?;
        }
        let report = sink.finish().map_err(store_errors::sink)?;
        eprintln!("{} rows of gate {} in {}", report.rows, decision.gate_id, report.path.display());
    }
    Ok(())
}

/// Appends the verdicts to the history that holds the run.
fn record(
    decisions: &[Decision],
    args: &GateArgs,
    folder: &Path,
    common: &Common,
) -> Result<(), EngineError> {
    if args.no_record {
        return Ok(());
    }
    let mut by_run: BTreeMap<&str, Vec<Decision>> = BTreeMap::new();
    for decision in decisions {
        by_run.entry(&decision.run_id).or_default().push(decision.clone());
    }
    for (run_id, decisions) in by_run {
        let history = args.place.of_run(run_id, folder, common)?;
        history.append_verdicts(&verdict_rows(&decisions, now())).map_err(store_errors::history)?;
    }
    Ok(())
}

/// The gates of the files, or those that are shipped, each with its file in the repository.
fn read_gates(args: &GateArgs, folder: &Path) -> Result<Vec<(SqlGate, Option<String>)>, EngineError> {
    if args.all {
        let has_files = repository(folder).is_some();
        let read = |shipped: &shipped::Shipped| {
            let gate = SqlGate::parse(shipped.path, shipped.sql)?;
            Ok((gate, has_files.then(|| shipped.path.to_owned())))
        };
        return shipped::GATES.iter().map(read).collect();
    }
    let read = |path: &PathBuf| {
        let text = std::fs::read_to_string(path)
            .map_err(|source| EngineError::Program { path: path.clone(), source })?;
        let name = path.display().to_string();
        Ok((SqlGate::parse(&name, &text)?, path.is_relative().then_some(name)))
    };
    args.files.iter().map(read).collect()
}

fn sql_gates(args: &GateArgs, common: &Common) -> Result<Judged, EngineError> {
    let here = Path::new(".");
    let (gates, files): (Vec<SqlGate>, Vec<Option<String>>) = read_gates(args, here)?.into_iter().unzip();
    let given: BTreeMap<String, String> = args.param.iter().cloned().collect();
    let is_known = |name: &str| gates.iter().any(|gate| gate.params.iter().any(|param| param.name == name));
    if let Some(name) = given.keys().find(|name| !is_known(name)) {
        return Err(EngineError::Unknown(format!("no gate has a parameter `{name}`")));
    }
    for (idx, gate) in gates.iter().enumerate() {
        if gates[..idx].iter().any(|other| other.id == gate.id) {
            return Err(EngineError::Unknown(format!("two gates are called `{}`", gate.id)));
        }
    }
    let histories = args.place.read(here, common)?;
    let runtime = common.runtime()?;
    let (run_id, env_id) =
        runtime.block_on(find_run(&session_of(&histories, Some(""), here)?, args.run.as_deref(), ""))?;
    let session = session_of(&histories, Some(&env_id), here)?;
    let question = Question { run_id: &run_id, given: &given, warn_as_error: args.warn_as_error };
    let mut decisions = Vec::with_capacity(gates.len());
    for gate in &gates {
        decisions.push(runtime.block_on(gate.decide(&session, &question)));
    }
    eprintln!("run {run_id}");
    record(&decisions, args, here, common)?;
    let about =
        |(gate, file): (&SqlGate, &Option<String>)| About::of(gate, &run_id, &args.param, file.as_deref());
    let about = gates.iter().zip(&files).map(about).collect();
    let mut run = ReportData::default();
    if args.format.has_run() {
        run = runtime.block_on(Gather::new(&session, &run_id).facts())?;
    }
    Ok(Judged { decisions, about, run })
}

fn program_gates(
    program: &Program,
    names: &[PathBuf],
    args: &GateArgs,
    common: &Common,
) -> Result<Judged, EngineError> {
    let folder = program.folder();
    let wanted = wanted(program, names)?;
    let histories = args.place.read(folder, common)?;
    let runtime = common.runtime()?;
    let plain = session_of(&histories, Some(""), folder)?;
    let stem = program.path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    let mut decisions = Vec::with_capacity(wanted.len());
    let mut run = ReportData::default();
    for (gate, bench) in wanted {
        let name = local_name(&bench.name);
        let prefix = format!("{}/{name}/", suite(bench));
        let (run_id, env_id) = runtime.block_on(find_run(&plain, args.run.as_deref(), &prefix))?;
        let session = decided_session(&histories, &env_id, &run_id, name)?;
        let question = ProgramGate { gate, bench, stem: &stem };
        decisions.push(runtime.block_on(question.decide(&session, &run_id)));
        eprintln!("gate {}: run {run_id}", gate.name);
        if args.format.has_run() && run.run.id != run_id {
            let facts = runtime.block_on(Gather::new(&plain, &run_id).facts())?;
            run.series.extend(facts.series);
            run.run = facts.run;
        }
    }
    record(&decisions, args, folder, common)?;
    let file = program.path.is_relative().then(|| program.path.display().to_string());
    let about = decisions.iter().map(|_| About { file: file.clone(), ..About::default() }).collect();
    Ok(Judged { decisions, about, run })
}

/// Gates whose SQL the planner refuses, over tables without rows: what the compiler does not know, as functions and what
/// they take.
pub(super) async fn unplannable(program: &Program) -> Result<Vec<Diagnostic>, EngineError> {
    let mut faults = Vec::new();
    for (gate, bench) in wanted(program, &[])? {
        let session =
            gate_session(&[], "", "none", local_name(&bench.name)).map_err(store_errors::history)?;
        let question = ProgramGate { gate, bench, stem: "" };
        if let Err(error) = question.plan(&session).await {
            let message = format!("gate `{}`: {error}", gate.name);
            faults.push(Diagnostic::new(Code::E0607, message, gate.span, "cannot be planned"));
        }
    }
    Ok(faults)
}

fn decided_session(
    histories: &[History],
    env_id: &str,
    run_id: &str,
    bench: &str,
) -> Result<promptc_engine::datafusion::prelude::SessionContext, EngineError> {
    gate_session(histories, env_id, run_id, bench).map_err(store_errors::history)
}

/// The gates by name with their benches, all without names.
fn wanted<'a>(program: &'a Program, names: &[PathBuf]) -> Result<Vec<(&'a Gate, &'a Bench)>, EngineError> {
    let hir = &program.checked.hir;
    let known: Vec<&str> = hir.gates.iter().map(|gate| gate.name.as_str()).collect();
    let names: Vec<String> = names.iter().map(|name| name.display().to_string()).collect();
    if let Some(name) = names.iter().find(|name| !known.contains(&name.as_str())) {
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Err(EngineError::Unknown(format!("no gate `{name}`; the program declares: {known}")));
    }
    if hir.gates.is_empty() {
        return Err(EngineError::Unknown(format!("{} declares no gate", program.path.display())));
    }
    let mut found = Vec::new();
    for gate in hir.gates.iter().filter(|gate| names.is_empty() || names.contains(&gate.name)) {
        let bench = hir.benches.iter().find(|bench| bench.name == gate.bench);
        found.push((gate, bench.ok_or_else(|| EngineError::internal("gate", "a gate without its bench"))?));
    }
    Ok(found)
}

fn print(judged: Judged, format: GateFormat) -> Result<(), EngineError> {
    let decisions = &judged.decisions;
    let format = match format {
        GateFormat::Json => {
            let text = serde_json::to_string_pretty(decisions)
                .map_err(|error| EngineError::internal("the decisions", error))?;
            println!("{text}");
            return Ok(());
        }
        GateFormat::Junit => {
            print!("{}", junit(&judged.report()));
            return Ok(());
        }
        GateFormat::Sarif => {
            print!("{}", sarif(&judged.report()));
            return Ok(());
        }
        GateFormat::Table => Format::Table,
        GateFormat::Markdown => Format::Markdown,
    };
    let gates = gate_table(decisions)?;
    show::print_batches(&gates.schema(), &[gates], format)?;
    let findings = finding_table(decisions)?;
    if findings.num_rows() > 0 {
        println!();
        show::print_batches(&findings.schema(), &[findings], format)?;
    }
    Ok(())
}

fn gate_table(decisions: &[Decision]) -> Result<RecordBatch, EngineError> {
    let texts = |of: &dyn Fn(&Decision) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(decisions.iter().map(of)))
    };
    let counts = |of: fn(&Decision) -> usize| -> ArrayRef {
        Arc::new(UInt64Array::from_iter_values(decisions.iter().map(|decision| of(decision) as u64)))
    };
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("gate", texts(&|decision| decision.gate_id.clone())),
        ("severity", texts(&|decision| format!("{:?}", decision.severity).to_lowercase())),
        ("verdict", texts(&|decision| decision.outcome.as_str().to_owned())),
        ("failed", counts(Decision::failure_count)),
        ("warned", counts(Decision::warning_count)),
        ("undecided", counts(Decision::undecided_count)),
        ("reason", texts(&Decision::summary)),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

fn finding_table(decisions: &[Decision]) -> Result<RecordBatch, EngineError> {
    let all =
        decisions.iter().flat_map(|decision| decision.findings.iter().map(move |found| (decision, found)));
    let all: Vec<_> = all.collect();
    let texts = |of: &dyn Fn(usize) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values((0..all.len()).map(of)))
    };
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("gate", texts(&|idx| all[idx].0.gate_id.clone())),
        ("bench_id", texts(&|idx| all[idx].1.bench_id.clone())),
        ("metric", texts(&|idx| all[idx].1.metric.clone().unwrap_or_default())),
        ("verdict", texts(&|idx| all[idx].1.verdict.clone())),
        ("message", texts(&|idx| all[idx].1.message.clone())),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}
