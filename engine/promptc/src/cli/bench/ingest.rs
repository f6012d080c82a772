//! `promptc bench ingest`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::PossibleValuesParser;
use promptc_engine::bench::run_id_of;
use promptc_engine::error::EngineError;
use promptc_engine::store::history::ingest::{IngestOptions, Ingested, Kind, ingest as read_results};
use promptc_engine::store::history::{BuildInfo, Environment, GitState, Micros, Run, git_state, summary};
use promptc_engine::store_errors;

use crate::cli::history::{Place, now};
use crate::cli::{Common, Outcome, parse_set};
use crate::exit::Exit;

/// Clocks of two machines may differ by so many microseconds.
const CLOCKS_DIFFER: Micros = 300_000_000;

#[derive(Args)]
#[command(after_help = "Examples:
  promptc bench ingest target/criterion --suite mycrate
  promptc bench ingest --from hyperfine results.json --suite cli --param threads=2

The machine is taken to be this one, and the commit that of the project in which the results lie. How the measured program was
built is recorded as unknown, since results do not say it.

Exit: 0 all was recorded, 4 something was left out, or nothing is there.")]
pub(super) struct IngestArgs {
    /// Files, or folders of criterion
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Who wrote them; default: found out from the files
    #[arg(long, value_name = "KIND", value_parser = PossibleValuesParser::new(Kind::ALL.map(Kind::as_str)))]
    from: Option<String>,
    /// Suite of rows that name none; default: the kind
    #[arg(long, value_name = "NAME")]
    suite: Option<String>,
    /// Added to the params of every row, as `threads=2`; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_set)]
    param: Vec<(String, String)>,
    /// What a storage result guarantees: none, wal, wal_fsync, group_commit
    #[arg(long, value_name = "WHAT")]
    durability: Option<String>,
    #[command(flatten)]
    place: Place,
}

pub(super) fn ingest(args: &IngestArgs, common: &Common) -> Outcome {
    let kind = kind(args)?;
    let mut options =
        IngestOptions::new(args.suite.as_deref().unwrap_or(kind.as_str()), |values| summary(values, 0));
    options.params = args.param.iter().cloned().collect::<BTreeMap<_, _>>();
    options.durability.clone_from(&args.durability);
    let found = read_results(kind, &args.paths, &options).map_err(store_errors::ingest)?;
    found.warnings.iter().for_each(|warning| eprintln!("warning[E2102]: {warning}"));
    let left_out = found.left_out;
    if found.results.is_empty() {
        let message = "no result in these paths; nothing was recorded".to_owned();
        return Err(EngineError::Row { code: "E2101", message });
    }
    let history = args.place.open(Path::new("."), common)?;
    let mut run = run(found, &options.suite);
    check_time(&run)?;
    let (id, rows) = (run.id.clone(), run.results.len());
    let exit = if left_out > 0 { Exit::Run } else { Exit::Ok };
    if history.holds(&id).map_err(store_errors::history)? {
        eprintln!("these results are run {id} of {} already", history.dir().display());
        println!("{id}");
        return Ok(exit);
    }
    run.git = measured_git(&args.paths, run.started_at);
    // The machine is taken to be this one; how the program was built, its results do not say.
    let environment = Environment::capture(&BuildInfo::default());
    run.env_id = environment.id();
    history.write(&run, &environment).map_err(store_errors::history)?;
    eprintln!("{rows} results recorded in {}", history.dir().display());
    if left_out > 0 {
        eprintln!("{left_out} measurements were left out");
    }
    println!("{id}");
    Ok(exit)
}

/// A run that is later than now would count as the newest of its history until that time has come.
fn check_time(run: &Run) -> Result<(), EngineError> {
    let newest = run.results.iter().map(|row| row.started_at).max().unwrap_or(run.started_at);
    if newest <= now().saturating_add(CLOCKS_DIFFER) {
        return Ok(());
    }
    let ahead_s = (newest - now()) / 1_000_000;
    let message = format!(
        "a measurement began {ahead_s} seconds from now by the clock of this machine; correct `started_at`, or the clock"
    );
    Err(EngineError::Row { code: "E2102", message })
}

/// The commit of the project that the first of the results lies in, else of this folder, as where all projects build in one place. A commit that was made after the measurement
/// is not what was measured, so the tree counts as changed.
fn measured_git(paths: &[PathBuf], measured_at: Micros) -> GitState {
    let folder =
        paths.first().map(|path| if path.is_dir() { path.as_path() } else { path.parent().unwrap_or(path) });
    let folder = folder.filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut git = git_state(folder);
    if git.commit_time == 0 {
        git = git_state(Path::new("."));
        if git.commit_time != 0 {
            eprintln!("the results lie in no repository: they are taken for those of this folder's commit");
        }
    }
    if git.commit_time > measured_at && !git.dirty {
        eprintln!(
            "warning: commit {} was made after the measurement, which counts as one of a changed work tree",
            git.sha.chars().take(10).collect::<String>()
        );
        git.dirty = true;
    }
    git
}

/// The kind of all paths.
fn kind(args: &IngestArgs) -> Result<Kind, EngineError> {
    if let Some(name) = &args.from {
        return Kind::parse(name).ok_or_else(|| EngineError::Unknown(format!("no kind `{name}`")));
    }
    let mut kinds = Vec::with_capacity(args.paths.len());
    for path in &args.paths {
        kinds.push(Kind::detect(path).map_err(store_errors::ingest)?);
    }
    kinds.dedup();
    match kinds.as_slice() {
        [only] => Ok(*only),
        _ => Err(EngineError::Unknown("the paths are of several kinds; take them in one by one".to_owned())),
    }
}

/// A run whose id follows from what was read, so that the same files are one run however often they are taken in.
fn run(found: Ingested, suite: &str) -> Run {
    let started_at = found.measured_at.unwrap_or_else(now);
    Run {
        id: run_id_of(started_at, &format!("{suite}\n{}", found.content_hash)),
        started_at,
        results: found.results,
        samples: found.samples,
        ..Run::default()
    }
}
