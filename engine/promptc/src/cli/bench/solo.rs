//! `promptc bench run`: the current build, measured by itself and recorded.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use clap::Args;
use promptc_engine::error::EngineError;
use promptc_engine::measure::{Executable, build, titles};
use promptc_engine::store::history::ingest::{IngestOptions, Kind, ingest};
use promptc_engine::store::history::{Environment, History, Run, git_state, new_run_id, summary};
use promptc_engine::store_errors;

use super::Scratch;
use crate::cli::history::{Place, now};
use crate::cli::{Common, Outcome};
use crate::exit::Exit;

#[derive(Args)]
#[command(after_help = "Examples:
  promptc bench run -- --bench kernels
  promptc bench run dot_f32 --quick -- --bench kernels
  promptc bench run --project ../crate --suite crate

One run against another has many false alarms; `promptc bench pair` is for deciding, this is for trends and for promised figures.
Exit: 0 everything was measured, 4 a bench failed or left nothing.")]
pub(super) struct RunArgs {
    /// Only benchmarks whose title contains this
    filter: Option<String>,
    /// Folder of the cargo project
    #[arg(long, value_name = "DIR", default_value = ".")]
    project: PathBuf,
    /// Suite of the rows of benches that do not record themselves; default: the name of the bench
    #[arg(long, value_name = "NAME")]
    suite: Option<String>,
    /// Few samples, for a look
    #[arg(long)]
    quick: bool,
    /// A built bench, instead of building the project's
    #[arg(long, value_name = "FILE")]
    exe: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
    /// Arguments for `cargo bench --no-run`
    #[arg(last = true)]
    cargo: Vec<String>,
}

pub(super) fn run(args: &RunArgs, common: &Common) -> Outcome {
    let executables = match &args.exe {
        Some(path) => {
            let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
            vec![Executable::open(&name, path, &args.project)?]
        }
        None => build(&args.project, &args.cargo)?,
    };
    let history = args.place.open(&args.project, common)?;
    history.check_clock(now()).map_err(store_errors::history)?;
    let scratch = Scratch::new()?;
    let mut measured = 0;
    let mut failed = 0;
    for executable in &executables {
        let count = titles(executable, args.filter.as_deref())?.len();
        if count == 0 {
            continue;
        }
        eprintln!("bench `{}`: {count} benchmarks", executable.target);
        measured += 1;
        if let Err(error) = measure(executable, args, &history, &scratch.0) {
            eprintln!("bench `{}`: {error}", executable.target);
            failed += 1;
        }
    }
    if measured == 0 {
        let filter = args.filter.as_deref().unwrap_or_default();
        return Err(EngineError::Unknown(format!("no benchmark has `{filter}` in its title")));
    }
    Ok(if failed == 0 { Exit::Ok } else { Exit::Run })
}

/// Runs one bench. If it recorded itself, that is the run; otherwise what criterion left is.
fn measure(
    executable: &Executable,
    args: &RunArgs,
    history: &History,
    scratch: &Path,
) -> Result<(), EngineError> {
    let criterion = scratch.join(&executable.target);
    let before = run_ids(history)?;
    let dir = std::path::absolute(history.dir())
        .map_err(|source| EngineError::Program { path: history.dir().to_path_buf(), source })?;
    let mut command = Command::new(&executable.path);
    command.current_dir(&executable.folder).args(["--bench", "--noplot"]);
    if args.quick {
        command.arg("--quick");
    }
    let status = command
        .args(args.filter.iter().map(|filter| escaped(filter)))
        .env("CRITERION_HOME", &criterion)
        .env("PROMPTC_HISTORY", &dir)
        .status()
        .map_err(|source| EngineError::Program { path: executable.path.clone(), source })?;
    if !status.success() {
        return Err(EngineError::Row { code: "E2103", message: format!("it ended with {status}") });
    }
    let after = run_ids(history)?;
    let mut new: Vec<&String> = after.difference(&before).collect();
    if let Some(id) = new.pop() {
        eprintln!("recorded as run {id} in {}", history.dir().display());
        return Ok(());
    }
    let suite = args.suite.as_deref().unwrap_or(&executable.target);
    let options = IngestOptions::new(suite, |values| summary(values, 0));
    let found = ingest(Kind::Criterion, &[criterion], &options).map_err(store_errors::ingest)?;
    found.warnings.iter().for_each(|warning| eprintln!("warning[E2102]: {warning}"));
    if found.results.is_empty() {
        let message = "it neither recorded a run nor left results of criterion".to_owned();
        return Err(EngineError::Row { code: "E2101", message });
    }
    let left_out = found.left_out;
    let environment = Environment::capture(&executable.build);
    let mut run = Run {
        id: new_run_id(SystemTime::now()),
        env_id: environment.id(),
        started_at: now(),
        git: git_state(&args.project),
        results: found.results,
        samples: found.samples,
        ..Run::default()
    };
    run.results.iter_mut().for_each(|row| row.code_hash = Some(executable.code_hash.clone()));
    history.write(&run, &environment).map_err(store_errors::history)?;
    eprintln!("recorded as run {} in {}", run.id, history.dir().display());
    if left_out > 0 {
        let message = format!("{left_out} of its measurements could not be recorded");
        return Err(EngineError::Row { code: "E2102", message });
    }
    Ok(())
}

fn run_ids(history: &History) -> Result<BTreeSet<String>, EngineError> {
    let runs = history.runs().map_err(store_errors::history)?;
    Ok(runs.into_iter().map(|run| run.id).collect())
}

/// criterion's filter is a regular expression; ours is a text.
fn escaped(text: &str) -> String {
    let special = |letter: char| !letter.is_alphanumeric() && !matches!(letter, '_' | '/' | ' ');
    text.chars().flat_map(|letter| special(letter).then_some('\\').into_iter().chain([letter])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_a_text() {
        assert_eq!(escaped("dot_f32/64"), "dot_f32/64");
        assert_eq!(escaped("a.b*"), r"a\.b\*");
    }
}
