//! `promptc bench show`.

use std::path::Path;

use clap::Args;
use promptc_engine::gate::params::{bind, declared};
use promptc_engine::sql;

use crate::cli::history::{Place, find_run, session_of};
use crate::cli::query::Format;
use crate::cli::{Common, Outcome};
use crate::exit::Exit;
use crate::show;

/// Rows that are shown at most: a run of every bench of this project has some thousands.
const ROWS_MAX: usize = 100_000;

const RESULTS: &str = "-- param: run string
SELECT bench_id, side, metric, median(value) AS value, min(value) AS min, max(value) AS max, unit, count(*) AS repeats,
       count(*) FILTER (WHERE status <> 'ok') AS without_value, max(error) AS error
FROM results WHERE run_id = $run GROUP BY bench_id, side, metric, unit ORDER BY bench_id, metric, side";

#[derive(Args)]
pub(super) struct ShowArgs {
    /// The run: its id, the beginning of it, or `latest`
    #[arg(default_value = "latest")]
    run: String,
    /// How results are printed
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    place: Place,
}

pub(super) fn show(args: &ShowArgs, common: &Common) -> Outcome {
    let here = Path::new(".");
    let runtime = common.runtime()?;
    let session = session_of(&args.place.read(here, common)?, Some(""), here)?;
    let (schema, batches) = runtime.block_on(async {
        let (run_id, _) = find_run(&session, Some(&args.run), "").await?;
        eprintln!("run {run_id}");
        let given = [("run".to_owned(), run_id)].into();
        let plan = bind(&session, RESULTS, &declared("results", RESULTS)?, &given).await?;
        sql::collect(&session, plan, ROWS_MAX).await
    })?;
    show::print_batches(&schema, &batches, args.format)?;
    Ok(Exit::Ok)
}
