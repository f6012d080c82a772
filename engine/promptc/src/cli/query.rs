//! `promptc query`.

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use promptc_engine::error::EngineError;
use promptc_engine::program::load;
use promptc_engine::run::last_build;
use promptc_engine::session::{SessionSettings, session};
use promptc_engine::sql;

use super::{Common, Outcome, print_diagnostics, settings};
use crate::exit::Exit;
use crate::show;

/// Rows that a query returns at most, unless `--limit` says more.
const ROWS_MAX: usize = 10_000;

#[derive(Args)]
#[command(after_help = "Examples:
  promptc query pipelines/crate_docs.promptc -c 'SELECT count(*) FROM corpus_chunks'
  promptc query pipelines/crate_docs.promptc my_query --format csv")]
pub(crate) struct QueryArgs {
    /// The program whose last build is asked
    file: PathBuf,
    /// A `query` that the program declares
    name: Option<String>,
    /// SQL; `-` reads it from standard input. Without NAME and SQL the tables are listed
    #[arg(short = 'c', long = "command", value_name = "SQL", conflicts_with = "name")]
    sql: Option<String>,
    /// How rows are printed
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Rows at most
    #[arg(long, default_value_t = ROWS_MAX)]
    limit: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Json,
    Jsonl,
    Csv,
    Markdown,
}

pub(crate) fn query(args: &QueryArgs, common: &Common) -> Outcome {
    let program = load(&args.file, &settings(&[], false))?;
    if program.checked.has_errors() {
        print_diagnostics(&program, common);
        return Ok(Exit::Program);
    }
    let store = common.store(program.folder())?;
    let session = session(&SessionSettings {
        batch_rows: 8192,
        memory_bytes: common.memory,
        temporary: store.tmp_dir(),
    })?;
    let last = last_build(&store, &program.identity())?;
    let tables = sql::register_streams(&session, &store, last.as_ref())?;
    let text = match (&args.name, &args.sql) {
        (Some(name), _) => {
            let known = &program.checked.hir.queries;
            let found = known.iter().find(|(query, ..)| query == name);
            let names: Vec<&str> = known.iter().map(|(query, ..)| query.as_str()).collect();
            let missing = || {
                EngineError::Unknown(format!("no query `{name}`; the program declares: {}", names.join(", ")))
            };
            found.map(|(_, sql, _)| sql.clone()).ok_or_else(missing)?
        }
        (None, Some(sql)) if sql == "-" => standard_input()?,
        (None, Some(sql)) => sql.clone(),
        (None, None) => {
            if tables.is_empty() {
                eprintln!("no streams are built yet; `promptc run {}` builds them", args.file.display());
            }
            tables.iter().filter(|name| !name.contains('.')).for_each(|name| println!("{name}"));
            return Ok(Exit::Ok);
        }
    };
    let home = std::env::var_os("HOME").map(PathBuf::from);
    sql::register_sources(&session, &program.checked.hir, &store, &text, home.as_deref())?;
    let (schema, batches) = common.runtime()?.block_on(sql::query(&session, &text, args.limit))?;
    show::print_batches(&schema, &batches, args.format)?;
    let rows: usize = batches.iter().map(|batch| batch.num_rows()).sum();
    if rows == args.limit && std::io::stderr().is_terminal() {
        eprintln!("stopped at {rows} rows; `--limit` raises it");
    }
    Ok(Exit::Ok)
}

fn standard_input() -> Result<String, EngineError> {
    let mut text = String::new();
    let read = std::io::stdin().read_to_string(&mut text);
    read.map_err(|source| EngineError::Program { path: Path::new("standard input").to_path_buf(), source })?;
    Ok(text)
}
