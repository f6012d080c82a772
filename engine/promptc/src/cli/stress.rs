//! `promptc stress`: the store under kills and under load, on the user's own disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use clap::{Args, Subcommand};
use promptc_engine::context::Cancel;
use promptc_engine::error::EngineError;
use promptc_engine::store::history::{ResultRow, Run, git_state, new_run_id};
use promptc_engine::store_errors;

use super::history::{Place, now};
use super::progress::{self, Listener};
use super::{Common, Outcome, build_info};

mod crash;
mod storage;

#[derive(Args)]
#[command(after_help = "Examples:
  promptc stress crash --cycles 1000 --dir /mnt/disk/new-folder
  promptc stress crash --power-cut --cycles 200
  promptc stress storage --records 100000 --clients 1,64 --durability wal,group_commit
  promptc stress storage --open-loop 70
  promptc stress storage --values ../texts --faults
  promptc stress storage --against db_bench --records 200000")]
pub(super) struct StressArgs {
    #[command(subcommand)]
    verb: StressVerb,
}

#[derive(Subcommand)]
enum StressVerb {
    /// Kill a writing process, cut the power of its disk or fill it: is everything there that was acknowledged?
    Crash(crash::CrashArgs),
    /// Rates and latencies of reads and writes at each level of durability
    Storage(storage::StorageArgs),
    /// The process that `crash` kills
    #[command(hide = true)]
    CrashChild(crash::ChildArgs),
    /// Not in this build
    #[command(hide = true)]
    Compile(AbsentArgs),
    /// Not in this build
    #[command(hide = true)]
    Serve(AbsentArgs),
    /// Not in this build
    #[command(hide = true)]
    Soak(AbsentArgs),
}

/// Whatever a verb that is not there was given.
#[derive(Args)]
struct AbsentArgs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    _given: Vec<String>,
}

/// The documents name these verbs, and scripts in `benches/` call them.
fn absent(verb: &str) -> Outcome {
    Err(EngineError::Unavailable { area: "serve".into(), what: format!("the verb `stress {verb}`") })
}

pub(super) fn stress(args: &StressArgs, common: &Common) -> Outcome {
    match &args.verb {
        StressVerb::Crash(crash_args) => crash::crash(crash_args, common),
        StressVerb::Storage(storage_args) => storage::storage(storage_args, common),
        StressVerb::CrashChild(child_args) => crash::child(child_args),
        StressVerb::Compile(_) => absent("compile"),
        StressVerb::Serve(_) => absent("serve"),
        StressVerb::Soak(_) => absent("soak"),
    }
}

/// Where the stores are made, and where the results go.
#[derive(Args)]
struct Where {
    /// A new or empty folder for the stores, on the disk in question; default: one in the folder of temporary files
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Do not keep the results in the benchmark history
    #[arg(long)]
    no_record: bool,
    #[command(flatten)]
    place: Place,
}

impl Where {
    fn folder(&self) -> PathBuf {
        let temporary = || std::env::temp_dir().join(format!("promptc-stress-{}", std::process::id()));
        self.dir.clone().unwrap_or_else(temporary)
    }

    /// Removes a folder that nobody named. One that was named is the user's, and empty.
    fn clean_up(&self, folder: &Path) {
        if self.dir.is_none() {
            // What is left of a temporary folder harms nothing; the system clears it.
            let _ = std::fs::remove_dir_all(folder);
        }
    }

    /// Puts the rows into the history as one run and says so.
    fn record(&self, rows: Vec<ResultRow>, common: &Common) -> Result<(), EngineError> {
        if self.no_record || rows.is_empty() {
            return Ok(());
        }
        let here = Path::new(".");
        let environment = build_info::environment();
        let run = Run {
            id: new_run_id(SystemTime::now()),
            started_at: rows.iter().map(|row| row.started_at).min().unwrap_or_else(now),
            git: git_state(here),
            env_id: environment.id(),
            results: rows,
            ..Run::default()
        };
        let history = self.place.open(here, common)?;
        history.check_clock(now()).map_err(store_errors::history)?;
        history.write(&run, &environment).map_err(store_errors::history)?;
        eprintln!("recorded as run {} in {}", run.id, history.dir().display());
        Ok(())
    }
}

/// Progress, and Ctrl-C: it removes the folder that nobody named.
fn listen(
    args: &Where,
    folder: &Path,
    cancel: &Cancel,
    common: &Common,
) -> Result<Arc<Listener>, EngineError> {
    let listener = progress::listener(common);
    let removed = args.dir.is_none().then(|| folder.to_path_buf());
    super::run::stop_on_interrupt(cancel.clone(), listener.clone(), move || {
        if let Some(folder) = removed {
            let _ = std::fs::remove_dir_all(folder);
        }
    })?;
    Ok(listener)
}
