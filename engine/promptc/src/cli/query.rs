//! `promptc query`.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use clap::{Args, ValueEnum};
use promptc_engine::datafusion::prelude::SessionContext;
use promptc_engine::error::EngineError;
use promptc_engine::gate::params::{bind, declared};
use promptc_engine::program::load;
use promptc_engine::run::last_build;
use promptc_engine::session::{SessionSettings, session};
use promptc_engine::sql;

use super::history::{Place, session_of};
use super::{Common, Outcome, parse_set, print_diagnostics, settings};
use crate::exit::Exit;
use crate::{shipped, show};

mod prompt;
mod statements;

use prompt::Prompt;

/// Rows that a query returns at most, unless `--limit` says more.
const ROWS_MAX: usize = 10_000;

/// Tables of the benchmark history that the query of a program may name.
const HISTORY: [&str; 9] =
    ["results", "samples", "environments", "verdicts", "marks", "series", "pairs", "history", "targets"];

#[derive(Args)]
#[command(after_help = "Examples:
  promptc query pipelines/crate_docs.promptc -c 'SELECT count(*) FROM corpus_chunks'
  promptc query pipelines/crate_docs.promptc my_query --format csv
  promptc query targets --format markdown
  promptc query queries/compare_runs.sql -p a=01JD3X -p b=01JD4Y
  promptc query -c 'SELECT bench_id, metric, value FROM results ORDER BY started_at DESC LIMIT 20'
  promptc query --format line -c 'SELECT * FROM environments LIMIT 1'
  promptc query -c 'EXPLAIN ANALYZE SELECT median(value) FROM series'
  promptc query

Without SQL it is a prompt; `\\?` shows its commands. Statements on standard input are run one after the other.")]
pub(crate) struct QueryArgs {
    /// The program whose last build is asked, a file of SQL over the benchmark history, or the name of a query that comes
    /// with promptc, as `targets`
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// A `query` that the program declares
    name: Option<String>,
    /// SQL; `-` reads it from standard input. Without FILE it asks the benchmark history
    #[arg(short = 'c', long = "command", value_name = "SQL", conflicts_with = "name")]
    sql: Option<String>,
    /// Value of a parameter `$name` of the SQL, as `-p run=01JD3X`; may be repeated
    #[arg(short = 'p', long = "param", value_name = "NAME=VALUE", value_parser = parse_set)]
    param: Vec<(String, String)>,
    /// How rows are printed
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Rows at most
    #[arg(long, default_value_t = ROWS_MAX)]
    limit: usize,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Json,
    Jsonl,
    Csv,
    Markdown,
    /// A line per cell, whole, and an empty line between rows
    Line,
}

pub(crate) fn query(args: &QueryArgs, common: &Common) -> Outcome {
    match &args.file {
        None => query_history(args, None, common),
        Some(file) if is_name(file) => {
            let name = file.to_string_lossy();
            let query = shipped::query(&name).ok_or_else(|| no_query(&name))?;
            if args.name.is_some() || args.sql.is_some() {
                return Err(EngineError::Unknown(format!("`{name}` is the query; no other can be given")));
            }
            let here = Path::new(".");
            let session = session_of(&args.place.read(here, common)?, None, here)?;
            answer(args, &session, query.path, query.sql, common)
        }
        Some(file) if file.extension().is_some_and(|ending| ending == "sql") => {
            if args.name.is_some() || args.sql.is_some() {
                let message = format!("{} is the query; no other can be given", file.display());
                return Err(EngineError::Unknown(message));
            }
            query_history(args, Some(file), common)
        }
        Some(file) => query_program(args, file, common),
    }
}

/// Whether it can only be the name of a shipped query.
fn is_name(file: &Path) -> bool {
    file.extension().is_none() && file.components().count() == 1 && !file.exists()
}

fn no_query(name: &str) -> EngineError {
    let names: Vec<&str> = shipped::QUERIES.iter().map(|query| query.name).collect();
    EngineError::Unknown(format!("no file and no shipped query `{name}`; shipped are: {}", names.join(", ")))
}

/// SQL over the benchmark history: from a file, the command line or standard input.
fn query_history(args: &QueryArgs, file: Option<&Path>, common: &Common) -> Outcome {
    let here = Path::new(".");
    let text = match (file, args.sql.as_deref()) {
        (Some(file), _) => Some(
            std::fs::read_to_string(file)
                .map_err(|source| EngineError::Program { path: file.to_path_buf(), source })?,
        ),
        (None, Some("-")) => Some(standard_input()?),
        (None, sql) => sql.map(str::to_owned),
    };
    let session = session_of(&args.place.read(here, common)?, None, here)?;
    let Some(text) = text else {
        let prompt = prompt(args, session, common, Box::new(|_, _| Ok(())))?;
        return if std::io::stdin().is_terminal() { prompt.on_terminal() } else { prompt.on_input() };
    };
    let name = file.map_or_else(|| "SQL".to_owned(), |file| file.display().to_string());
    answer(args, &session, &name, &text, common)
}

fn prompt<'a>(
    args: &QueryArgs,
    session: SessionContext,
    common: &Common,
    prepare: prompt::Prepare<'a>,
) -> Result<Prompt<'a>, EngineError> {
    let given = args.param.iter().cloned().collect();
    Prompt::new(session, common.runtime()?, args.format, args.limit, given, prepare)
}

/// Runs SQL with its parameters bound and prints the rows.
fn answer(args: &QueryArgs, session: &SessionContext, name: &str, text: &str, common: &Common) -> Outcome {
    let given: BTreeMap<String, String> = args.param.iter().cloned().collect();
    let (schema, batches) = common.runtime()?.block_on(async {
        let plan = bind(session, text, &declared(name, text)?, &given).await?;
        sql::collect(session, plan, args.limit.saturating_add(1)).await
    })?;
    let rows: usize = batches.iter().map(|batch| batch.num_rows()).sum();
    let is_cut = rows > args.limit && !sql::is_explanation(&schema);
    let shown = if is_cut { first_rows(&batches, args.limit) } else { batches };
    show::print_batches(&schema, &shown, args.format)?;
    if is_cut {
        eprintln!(
            "warning: there are more than {} rows, and the rest was left out; `--limit` raises it",
            args.limit
        );
    }
    Ok(Exit::Ok)
}

fn first_rows(batches: &[RecordBatch], limit: usize) -> Vec<RecordBatch> {
    let mut left = limit;
    let take = |batch: &RecordBatch| {
        let count = batch.num_rows().min(left);
        left -= count;
        (count > 0).then(|| batch.slice(0, count))
    };
    batches.iter().filter_map(take).collect()
}

/// SQL over the streams of a program; tables of the history are there if the SQL names one and there is a history.
fn query_program(args: &QueryArgs, file: &Path, common: &Common) -> Outcome {
    let program = load(file, &settings(&[], false))?;
    if program.checked.has_errors() {
        print_diagnostics(&program, common);
        return Ok(Exit::Program);
    }
    let store = common.store(program.folder())?;
    let last = last_build(&store, &program.identity())?;
    let text = match (&args.name, &args.sql) {
        (Some(name), _) => {
            let known = &program.checked.hir.queries;
            let found = known.iter().find(|(query, ..)| query == name);
            let names: Vec<&str> = known.iter().map(|(query, ..)| query.as_str()).collect();
            let missing = || {
                EngineError::Unknown(format!("no query `{name}`; the program declares: {}", names.join(", ")))
            };
            Some(found.map(|(_, sql, _)| sql.clone()).ok_or_else(missing)?)
        }
        (None, Some(sql)) if sql == "-" => Some(standard_input()?),
        (None, sql) => sql.clone(),
    };
    let is_prompt = text.is_none() && std::io::stdin().is_terminal();
    let names_history =
        is_prompt || text.as_deref().is_some_and(|text| HISTORY.iter().any(|table| text.contains(table)));
    let histories = if names_history {
        args.place.read(program.folder(), common).unwrap_or_default()
    } else {
        Vec::new()
    };
    let session = if histories.is_empty() {
        session(&SessionSettings {
            batch_rows: 8192,
            memory_bytes: common.memory_bytes(),
            temporary: store.tmp_dir(),
        })?
    } else {
        session_of(&histories, None, program.folder())?
    };
    let tables = sql::register_streams(&session, &store, last.as_ref())?;
    sql::register_quarantine(&session, &store, last.as_ref())?;
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let prepare = |session: &SessionContext, text: &str| {
        sql::register_sources(session, &program.checked.hir, &store, text, home.as_deref())
    };
    let Some(text) = text else {
        if tables.is_empty() {
            eprintln!("no streams are built yet; `promptc run {}` builds them", file.display());
        }
        if is_prompt {
            return prompt(args, session, common, Box::new(prepare))?.on_terminal();
        }
        tables.iter().filter(|name| !name.contains('.')).for_each(|name| println!("{name}"));
        return Ok(Exit::Ok);
    };
    prepare(&session, &text)?;
    answer(args, &session, "SQL", &text, common)
}

fn standard_input() -> Result<String, EngineError> {
    let mut text = String::new();
    let read = std::io::stdin().read_to_string(&mut text);
    read.map_err(|source| EngineError::Program { path: Path::new("standard input").to_path_buf(), source })?;
    Ok(text)
}
