//! `promptc run` and `promptc build`.

use std::io::{BufRead, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use promptc_engine::compiler::plan::{BuildRecord, classes, show};
use promptc_engine::context::Cancel;
use promptc_engine::error::EngineError;
use promptc_engine::program::Program;
use promptc_engine::report::RunReport;
use promptc_engine::run::{RunOptions, last_build, plan_program, run as run_program};
use promptc_engine::store::medium::{remove_unfinished, replace};

use super::progress::{self, Listener};
use super::{Common, Outcome, ProgramArgs};
use crate::exit::Exit;
use crate::show::{print_report, print_warnings};

/// The lock file of a build, beside the program.
pub(super) const LOCK: &str = "promptc.lock";

#[derive(Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    program: ProgramArgs,
    /// Outputs, streams or artifacts; default: every output
    targets: Vec<String>,
    /// Do not ask before running
    #[arg(long, short)]
    yes: bool,
    /// Read at most so many rows of each source
    #[arg(long, value_name = "ROWS")]
    limit: Option<u64>,
    /// Write outputs below this folder instead of the program's
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Leave the optimizer's rules out; results are the same
    #[arg(long)]
    no_optimize: bool,
    /// Never call out: external columns come from their records (this build has none)
    #[arg(long)]
    replay: bool,
    /// Print the report as JSON on standard output
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct BuildArgs {
    #[command(flatten)]
    program: ProgramArgs,
}

pub(super) fn run(args: &RunArgs, common: &Common) -> Outcome {
    let Some(program) = args.program.load(common)? else { return Ok(Exit::Program) };
    let mut options = common.run_options(&args.targets, args.no_optimize);
    options.limit = args.limit;
    options.out = args.out.clone();
    let is_asking = !args.yes && std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if is_asking && !confirmed(&program, &options, common)? {
        eprintln!("nothing was run");
        return Ok(Exit::Ok);
    }
    let report = execute(&program, &options, common)?;
    print_warnings(&report);
    if args.json {
        let text = serde_json::to_string_pretty(&report)
            .map_err(|error| EngineError::internal("the report", error))?;
        println!("{text}");
    } else {
        print_report(&report);
    }
    Ok(Exit::Ok)
}

pub(super) fn build(args: &BuildArgs, common: &Common) -> Outcome {
    let Some(program) = args.program.load(common)? else { return Ok(Exit::Program) };
    let options = common.run_options(&[], false);
    let report = execute(&program, &options, common)?;
    print_warnings(&report);
    print_report(&report);
    let record = record(&program, common)?;
    let path = lock_path(&program);
    replace(&path, record.to_text().as_bytes()).map_err(promptc_engine::store_errors::medium)?;
    eprintln!("wrote {}", path.display());
    Ok(Exit::Ok)
}

pub(super) fn lock_path(program: &Program) -> PathBuf {
    let stem = program.path.file_stem().map_or_else(|| "program".into(), |stem| stem.to_string_lossy());
    if stem == "promptc" {
        program.folder().join(LOCK)
    } else {
        program.folder().join(format!("{stem}.{LOCK}"))
    }
}

fn record(program: &Program, common: &Common) -> Result<BuildRecord, EngineError> {
    let store = common.store(program.folder())?;
    last_build(&store, &program.identity())?
        .ok_or_else(|| EngineError::internal("build", "no record of this run"))
}

/// How long a run may take to stop by itself after Ctrl-C. Then the process ends as it would by SIGKILL, which the
/// store and the outputs stand at any moment.
const STOP_GRACE: Duration = Duration::from_millis(100);

/// Runs with progress on standard error; Ctrl-C stops it.
fn execute(program: &Program, options: &RunOptions, common: &Common) -> Result<RunReport, EngineError> {
    let store = common.store(program.folder())?;
    let runtime = common.runtime()?;
    let cancel = Cancel::default();
    let events = progress::listener(common);
    // Weak, so that the store closes with the run and may be opened again.
    let kept = Arc::downgrade(&store);
    stop_on_interrupt(cancel.clone(), events.clone(), move || {
        if let Some(store) = kept.upgrade() {
            store.discard_temporaries();
        }
    })?;
    let result = runtime.block_on(run_program(program, store, options, events.clone(), cancel));
    events.finish();
    runtime.shutdown_timeout(Duration::from_millis(100));
    result
}

/// Listens for Ctrl-C on a thread of its own, since all others may be computing. `clean_up` is the last thing done.
pub(super) fn stop_on_interrupt(
    cancel: Cancel,
    events: Arc<Listener>,
    clean_up: impl FnOnce() + Send + 'static,
) -> Result<(), EngineError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| EngineError::internal("the listener for Ctrl-C", error))?;
    let listen = move || {
        if runtime.block_on(tokio::signal::ctrl_c()).is_err() {
            return;
        }
        cancel.cancel();
        std::thread::sleep(STOP_GRACE);
        remove_unfinished();
        clean_up();
        events.finish();
        eprintln!("{}", EngineError::Interrupted);
        std::process::exit(i32::from(Exit::Interrupted.code()));
    };
    std::thread::Builder::new()
        .name("interrupt".to_owned())
        .spawn(listen)
        .map_err(|error| EngineError::internal("the listener for Ctrl-C", error))?;
    Ok(())
}

/// Shows the plan and asks; a plan that changes nothing needs no question.
fn confirmed(program: &Program, options: &RunOptions, common: &Common) -> Result<bool, EngineError> {
    let store = common.store(program.folder())?;
    let (plan, last) = plan_program(program, &store, options)?;
    let changes = classes(&plan, last.as_ref());
    if changes.iter().all(|change| change.class.is_idle()) {
        return Ok(true);
    }
    eprint!("{}", show::show(&plan, &changes, last.as_ref()));
    eprint!("run? [Y/n] ");
    let mut answer = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|source| EngineError::Program { path: Path::new("standard input").to_path_buf(), source })?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "" | "y" | "yes"))
}
