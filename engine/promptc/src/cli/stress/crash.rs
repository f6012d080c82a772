//! `promptc stress crash`.

use std::path::PathBuf;

use clap::Args;
use clap::builder::PossibleValuesParser;
use promptc_engine::context::Cancel;
use promptc_engine::error::EngineError;
use promptc_engine::store::history::summary;
use promptc_engine::stress::crash::{self, ChildOptions, Control, CrashOptions, CrashReport, Failure};

use super::{Where, listen};
use crate::cli::history::now;
use crate::cli::{Common, Outcome};
use crate::exit::Exit;

/// Lines of progress where there is no terminal.
const LINES: u64 = 10;

#[derive(Args)]
pub(super) struct CrashArgs {
    /// How many times the writing process is killed; a cycle takes about half a second
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    cycles: u64,
    /// Decides what is written, with which settings, and when the process is killed
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// A fault to build in, to see that it is found
    #[arg(long, hide = true, value_name = "FAULT", value_parser = controls())]
    control: Option<String>,
    #[command(flatten)]
    place: Where,
}

#[derive(Args)]
pub(super) struct ChildArgs {
    #[arg(long)]
    dir: PathBuf,
    #[arg(long)]
    seed: u64,
    #[arg(long)]
    cycle: u64,
    #[arg(long, value_parser = controls())]
    control: Option<String>,
}

fn controls() -> PossibleValuesParser {
    PossibleValuesParser::new(Control::ALL.map(Control::as_str))
}

pub(super) fn child(args: &ChildArgs) -> Outcome {
    let options = ChildOptions {
        dir: args.dir.clone(),
        seed: args.seed,
        cycle: args.cycle,
        control: args.control.as_deref().and_then(Control::parse),
    };
    crash::child(&options, std::io::stdout())?;
    Ok(Exit::Ok)
}

pub(super) fn crash(args: &CrashArgs, common: &Common) -> Outcome {
    let folder = args.place.folder();
    let executable =
        std::env::current_exe().map_err(|error| EngineError::internal("the path of this program", error))?;
    let options = CrashOptions {
        executable,
        dir: folder.clone(),
        cycles: args.cycles,
        seed: args.seed,
        control: args.control.as_deref().and_then(Control::parse),
    };
    let listener = listen(&args.place, &folder, &Cancel::default(), common)?;
    let started_at = now();
    let step = args.cycles.div_ceil(LINES);
    let show = |report: &CrashReport| {
        if listener.moves() || report.cycles.is_multiple_of(step) {
            let CrashReport { cycles, acknowledged, finding, .. } = report;
            let wrong = finding.lost + finding.half_batches;
            listener
                .say(&format!("kill {cycles} of {}: {acknowledged} acknowledged, {wrong} lost", args.cycles));
        }
    };
    let report = crash::run(&options, show);
    listener.finish();
    let report = report.inspect_err(|_| args.place.clean_up(&folder))?;
    print(&report);
    if options.control.is_none() {
        args.place.record(crash::rows(&report, &options, started_at), common)?;
    }
    match &report.failure {
        Some(failure) => {
            explain(failure, &report, args);
            Ok(Exit::Failed)
        }
        None => {
            args.place.clean_up(&folder);
            Ok(Exit::Ok)
        }
    }
}

fn print(report: &CrashReport) {
    let reopen = summary(&report.reopen_ns, 0);
    // A percentile of few cycles is their largest.
    let p99 = reopen.p99.or(reopen.max).unwrap_or(0.0);
    println!("cycles               {}", report.cycles);
    println!("acknowledged writes  {}", report.acknowledged);
    println!("lost                 {}", report.finding.lost);
    println!("half batches         {}", report.finding.half_batches);
    println!("reopen p50           {:.1} ms", reopen.median.unwrap_or(0.0) / 1e6);
    println!("reopen p99           {:.1} ms", p99 / 1e6);
}

fn explain(failure: &Failure, report: &CrashReport, args: &CrashArgs) {
    let Failure { cycle, durability, last_sequence, dir } = failure;
    let detail = report.finding.detail.as_deref().unwrap_or("nothing more is known");
    eprintln!("error[E1003]: cycle {cycle} of seed {}, level {durability}: {detail}", args.seed);
    eprintln!(
        "  = note: highest acknowledged sequence {last_sequence}; the store is kept in {}",
        dir.display()
    );
    eprintln!("  = help: please report it with the seed, the cycle and the kind of disk");
}
