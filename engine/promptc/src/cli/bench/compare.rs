//! `promptc bench compare`: two runs side by side.

use std::path::Path;

use clap::Args;
use promptc_engine::error::EngineError;
use promptc_engine::gate::params::{bind, declared};
use promptc_engine::sql;

use crate::cli::history::{Place, find_run, session_of};
use crate::cli::query::Format;
use crate::cli::{Common, Outcome};
use crate::exit::Exit;
use crate::{shipped, show};

/// Rows that are shown at most.
const ROWS_MAX: usize = 100_000;

#[derive(Args)]
#[command(after_help = "Examples:
  promptc bench compare latest~1 latest
  promptc bench compare 01JD3X 01JD4Y --format markdown

Positive is worse, whatever the direction of a metric. Runs of different machines are not compared as values.")]
pub(super) struct CompareArgs {
    /// The older run: its id, the beginning of it, `latest` or `latest~1`
    a: String,
    /// The newer run
    b: String,
    /// How rows are printed
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    place: Place,
}

pub(super) fn compare(args: &CompareArgs, common: &Common) -> Outcome {
    let here = Path::new(".");
    let missing = || EngineError::internal("compare", "no shipped query `compare_runs`");
    let query = shipped::query("compare_runs").ok_or_else(missing)?;
    let session = session_of(&args.place.read(here, common)?, None, here)?;
    let (schema, batches) = common.runtime()?.block_on(async {
        let (a, _) = find_run(&session, Some(&args.a), "").await?;
        let (b, _) = find_run(&session, Some(&args.b), "").await?;
        if a == b {
            return Err(EngineError::Unknown(format!("`{}` and `{}` are both run {a}", args.a, args.b)));
        }
        eprintln!("a: run {a}\nb: run {b}");
        let given = [("a".to_owned(), a), ("b".to_owned(), b)].into();
        let plan = bind(&session, query.sql, &declared(query.path, query.sql)?, &given).await?;
        sql::collect(&session, plan, ROWS_MAX).await
    })?;
    show::print_batches(&schema, &batches, args.format)?;
    Ok(Exit::Ok)
}
