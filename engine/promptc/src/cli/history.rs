//! `promptc history`, and where the history is.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use promptc_engine::datafusion::prelude::SessionContext;
use promptc_engine::error::EngineError;
use promptc_engine::gate::params::{Param, bind};
use promptc_engine::sql;
use promptc_engine::store::history::{History, Micros, this_environment};
use promptc_engine::store::open::HISTORY_DIR;
use promptc_engine::store::sql::history_session;
use promptc_engine::store_errors;

use super::query::Format;
use super::{Common, Outcome, targets};
use crate::exit::Exit;
use crate::show;

/// Runs that `list` shows, unless `--limit` says more.
const RUNS_SHOWN: usize = 50;

/// Microseconds of a day.
const DAY: Micros = 86_400_000_000;

/// Where the history is.
#[derive(Args, Debug, Clone)]
pub(super) struct Place {
    /// Folder of the benchmark history; several are read together, the first is written.
    /// Default: `benches/results` inside this project's repository, else `history` in the data directory
    #[arg(long, env = "PROMPTC_HISTORY", value_name = "DIR")]
    history: Vec<PathBuf>,
}

impl Place {
    /// The folder that is written, for work in `folder`.
    pub(super) fn dir(&self, folder: &Path, common: &Common) -> PathBuf {
        match self.history.first() {
            Some(dir) => dir.clone(),
            None => repository_results(folder).unwrap_or_else(|| common.data_dir(folder).join(HISTORY_DIR)),
        }
    }

    /// The history that is written; made if it is not there.
    pub(super) fn open(&self, folder: &Path, common: &Common) -> Result<History, EngineError> {
        History::open(&self.dir(folder, common)).map_err(store_errors::history)
    }

    /// The histories that are read. In the repository the published results are part of them.
    pub(super) fn read(&self, folder: &Path, common: &Common) -> Result<Vec<History>, EngineError> {
        let mut dirs = self.history.clone();
        if dirs.is_empty() {
            let dir = self.dir(folder, common);
            dirs.push(dir.join("published"));
            dirs.push(dir);
            dirs.retain(|dir| dir.join("results").is_dir());
        }
        let own = self.dir(folder, common);
        let missing = dirs.iter().find(|dir| !dir.is_dir()).or(dirs.is_empty().then_some(&own));
        if let Some(dir) = missing {
            let message = format!(
                "no benchmark history in {}; `promptc bench` makes one, `--history DIR` names another",
                dir.display()
            );
            return Err(EngineError::Unknown(message));
        }
        dirs.iter().map(|dir| History::open_existing(dir).map_err(store_errors::history)).collect()
    }

    /// The history that holds a run.
    pub(super) fn of_run(
        &self,
        run_id: &str,
        folder: &Path,
        common: &Common,
    ) -> Result<History, EngineError> {
        for history in self.read(folder, common)? {
            if history.contains(run_id).map_err(store_errors::history)? {
                return Ok(history);
            }
        }
        Err(no_run(run_id))
    }
}

fn no_run(run_id: &str) -> EngineError {
    EngineError::Unknown(format!("no run `{run_id}` in the history; `promptc history list` shows the runs"))
}

/// `benches/results` of the repository around a folder, if that is this project's.
fn repository_results(folder: &Path) -> Option<PathBuf> {
    let root = repository(folder)?;
    Some(root.join("benches/results"))
}

/// The nearest folder above that has the promises of this project.
pub(super) fn repository(folder: &Path) -> Option<PathBuf> {
    let folder = std::fs::canonicalize(folder).ok()?;
    folder.ancestors().find(|above| above.join("benches/targets.toml").is_file()).map(Path::to_path_buf)
}

/// A session over histories. `this_env()` is that of the run; without one that of this process, or the newest of this machine if
/// nothing was measured in it.
pub(super) fn session_of(
    histories: &[History],
    env_id: Option<&str>,
    folder: &Path,
) -> Result<SessionContext, EngineError> {
    let promises = match repository(folder) {
        Some(root) => Some(targets::batch(&root.join("benches/targets.toml"))?),
        None => None,
    };
    let own;
    let env_id = match env_id {
        Some(env_id) => env_id,
        None => {
            let environment = super::build_info::environment();
            own = this_environment(histories, &environment).map_err(store_errors::history)?;
            &own
        }
    };
    history_session(histories, env_id, promises).map_err(store_errors::history)
}

/// One row of texts, or none.
pub(super) async fn first_row(
    session: &SessionContext,
    text: &str,
    values: &[(&str, &str)],
) -> Result<Option<Vec<String>>, EngineError> {
    let params: Result<Vec<Param>, String> =
        values.iter().map(|(name, _)| Param::parse(&format!("{name} string"))).collect();
    let params = params.map_err(|error| EngineError::internal("the history", error))?;
    let given = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let plan = bind(session, text, &params, &given).await?;
    let (_, batches) = sql::collect(session, plan, 1).await?;
    let Some(batch) = batches.iter().find(|batch| batch.num_rows() > 0) else { return Ok(None) };
    let cells =
        batch.columns().iter().map(|column| Ok(arrow::util::display::array_value_to_string(column, 0)?));
    cells.collect::<Result<Vec<String>, EngineError>>().map(Some)
}

/// A run by its id, the beginning of its id, `latest`, or `latest~2` for the second before it: its full id and its
/// environment. `bench` is the beginning of `bench_id` that the latest run must have.
pub(super) async fn find_run(
    session: &SessionContext,
    wanted: Option<&str>,
    bench: &str,
) -> Result<(String, String), EngineError> {
    let found = match steps_back(wanted.unwrap_or("latest")) {
        Some(steps) => {
            let sql = format!(
                "SELECT run_id, min(env_id) FROM results WHERE starts_with(bench_id, $bench) \
                 GROUP BY run_id ORDER BY max(started_at) DESC, run_id DESC LIMIT 1 OFFSET {steps}"
            );
            let found = first_row(session, &sql, &[("bench", bench)]).await?;
            let what = if bench.is_empty() {
                String::new()
            } else {
                format!(" of `{}`", bench.trim_end_matches('/'))
            };
            let none = || {
                let before = if steps > 0 { format!(", {steps} before the latest,") } else { String::new() };
                EngineError::Unknown(format!("no run{what}{before} in the history"))
            };
            found.ok_or_else(none)?
        }
        None => {
            let wanted = wanted.unwrap_or_default();
            let sql = "SELECT min(run_id), min(env_id), count(DISTINCT run_id) FROM results \
                       WHERE starts_with(run_id, $wanted)";
            let exact = "SELECT run_id, env_id FROM results WHERE run_id = $wanted LIMIT 1";
            match first_row(session, exact, &[("wanted", wanted)]).await? {
                Some(found) => found,
                None => {
                    let found = first_row(session, sql, &[("wanted", wanted)]).await?.unwrap_or_default();
                    match found.get(2).map(String::as_str) {
                        Some("1") => found,
                        Some("0") | None => return Err(no_run(wanted)),
                        Some(count) => {
                            return Err(EngineError::Unknown(format!("{count} runs begin with `{wanted}`")));
                        }
                    }
                }
            }
        }
    };
    let mut cells = found.into_iter();
    match (cells.next(), cells.next()) {
        (Some(run_id), Some(env_id)) => Ok((run_id, env_id)),
        _ => Err(EngineError::internal("the history", "a run without id")),
    }
}

/// How many runs before the latest a name like `latest~2` means; none if it is no such name.
fn steps_back(wanted: &str) -> Option<u32> {
    match wanted.strip_prefix("latest")? {
        "" => Some(0),
        rest => rest.strip_prefix('~')?.parse().ok(),
    }
}

#[derive(Args)]
#[command(after_help = "Examples:
  promptc history list
  promptc history publish latest --to benches/results/published
  promptc history accept 01JD3X --reason 'slower on purpose: exact sums'
  promptc history prune --samples-older-than 400 --yes")]
pub(super) struct HistoryArgs {
    #[command(subcommand)]
    verb: HistoryVerb,
    #[command(flatten)]
    place: Place,
}

#[derive(Subcommand)]
enum HistoryVerb {
    /// The runs, newest first, and whether they are accepted
    List {
        /// How rows are printed
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
        /// Runs at most
        #[arg(long, default_value_t = RUNS_SHOWN)]
        limit: usize,
    },
    /// Let a run count as accepted whatever its gates said
    Accept(MarkArgs),
    /// Let a run count as rejected whatever its gates said
    Reject(MarkArgs),
    /// Write the runs of each closed month into one file, and remove files of runs that were never finished
    Compact,
    /// Copy runs, without raw samples, into a small history that is kept under version control
    Publish {
        /// The runs: ids, beginnings of them, or `latest`
        #[arg(required = true)]
        runs: Vec<String>,
        /// Folder of the small history
        #[arg(long, value_name = "DIR", default_value = "benches/results/published")]
        to: PathBuf,
    },
    /// Remove raw samples of old months (dry without `--yes`); results stay for ever
    Prune {
        /// Days that samples are kept
        #[arg(long, value_name = "DAYS", default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=36_500))]
        samples_older_than: u32,
        /// Really remove
        #[arg(long, short)]
        yes: bool,
    },
}

#[derive(Args)]
struct MarkArgs {
    /// The run: its id, the beginning of it, or `latest`
    run: String,
    /// Why, for the next reader
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
}

pub(super) fn history(args: &HistoryArgs, common: &Common) -> Outcome {
    let here = Path::new(".");
    match &args.verb {
        HistoryVerb::List { format, limit } => list(args, *format, *limit, common),
        HistoryVerb::Accept(mark_args) => mark(args, mark_args, true, common),
        HistoryVerb::Reject(mark_args) => mark(args, mark_args, false, common),
        HistoryVerb::Compact => {
            let history = args.place.open(here, common)?;
            let done = history.compact(now()).map_err(store_errors::history)?;
            eprintln!(
                "{} files written for {}; {} bytes, before {}",
                done.file_count, done.covered_count, done.bytes_after, done.bytes_before
            );
            for orphan in history.remove_orphans().map_err(store_errors::history)? {
                eprintln!("removed {}: {}", orphan.path.display(), orphan.reason);
            }
            Ok(Exit::Ok)
        }
        HistoryVerb::Publish { runs, to } => publish(args, runs, to, common),
        HistoryVerb::Prune { samples_older_than, yes } => prune(args, *samples_older_than, *yes, common),
    }
}

fn publish(args: &HistoryArgs, runs: &[String], to: &Path, common: &Common) -> Outcome {
    let here = Path::new(".");
    let session = session_of(&args.place.read(here, common)?, Some(""), here)?;
    let runtime = common.runtime()?;
    let target = History::open(to).map_err(store_errors::history)?;
    let mut by_history: Vec<(History, Vec<String>)> = Vec::new();
    for wanted in runs {
        let (run_id, _) = runtime.block_on(find_run(&session, Some(wanted), ""))?;
        let history = args.place.of_run(&run_id, here, common)?;
        match by_history.iter_mut().find(|(known, _)| *known == history) {
            Some((_, run_ids)) => run_ids.push(run_id),
            None => by_history.push((history, vec![run_id])),
        }
    }
    for (history, run_ids) in by_history {
        let copied = history.release(&target, &run_ids).map_err(store_errors::history)?;
        eprintln!("{copied} of {} runs copied to {}, the others are there", run_ids.len(), to.display());
    }
    Ok(Exit::Ok)
}

const LIST: &str = "
SELECT r.run_id, min(r.started_at) AS started_at, substr(min(r.git_sha), 1, 12) AS \"commit\", min(r.git_branch) AS branch,
       bool_or(r.git_dirty) AS dirty, array_to_string(array_agg(DISTINCT r.suite ORDER BY r.suite), ' ') AS suites,
       count(DISTINCT r.bench_id) AS benches, count(*) AS results, count(*) FILTER (WHERE r.status <> 'ok') AS without_value,
       CASE WHEN s.accepted IS NULL THEN 'not judged' WHEN s.accepted THEN 'accepted' ELSE 'not accepted' END AS state
FROM results r LEFT JOIN run_states s ON s.run_id = r.run_id
GROUP BY r.run_id, s.accepted ORDER BY started_at DESC, r.run_id DESC";

fn list(args: &HistoryArgs, format: Format, limit: usize, common: &Common) -> Outcome {
    let here = Path::new(".");
    let session = session_of(&args.place.read(here, common)?, Some(""), here)?;
    let (schema, batches) = common.runtime()?.block_on(sql::query(&session, LIST, limit))?;
    show::print_batches(&schema, &batches, format)?;
    Ok(Exit::Ok)
}

fn mark(args: &HistoryArgs, wanted: &MarkArgs, is_accepted: bool, common: &Common) -> Outcome {
    let here = Path::new(".");
    let session = session_of(&args.place.read(here, common)?, Some(""), here)?;
    let (run_id, _) = common.runtime()?.block_on(find_run(&session, Some(&wanted.run), ""))?;
    let history = args.place.of_run(&run_id, here, common)?;
    history.mark(&run_id, is_accepted, &wanted.reason).map_err(store_errors::history)?;
    eprintln!("run {run_id} is {}", if is_accepted { "accepted" } else { "rejected" });
    Ok(Exit::Ok)
}

fn prune(args: &HistoryArgs, days: u32, yes: bool, common: &Common) -> Outcome {
    let here = Path::new(".");
    let before = now() - Micros::from(days) * DAY;
    if !yes {
        let session = session_of(&args.place.read(here, common)?, Some(""), here)?;
        let sql = format!(
            "SELECT count(*) FROM samples s JOIN (SELECT run_id, min(started_at) AS at FROM results GROUP BY run_id) r \
             ON r.run_id = s.run_id WHERE CAST(r.at AS BIGINT) < {before}"
        );
        let found = common.runtime()?.block_on(first_row(&session, &sql, &[]))?;
        let count = found.and_then(|row| row.into_iter().next()).unwrap_or_else(|| "0".to_owned());
        eprintln!(
            "about {count} rows of samples are older than {days} days; `--yes` removes those of closed months"
        );
        return Ok(Exit::Ok);
    }
    let removed = args.place.open(here, common)?.prune_samples(before).map_err(store_errors::history)?;
    eprintln!("removed {} files, {} bytes", removed.file_count, removed.bytes);
    Ok(Exit::Ok)
}

/// Microseconds since 1970.
pub(super) fn now() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Micros::try_from(since.as_micros()).unwrap_or(Micros::MAX)
}
