//! `promptc stress crash`.

use std::path::PathBuf;

use clap::Args;
use clap::builder::PossibleValuesParser;
use promptc_engine::context::Cancel;
use promptc_engine::error::EngineError;
use promptc_engine::store::history::{ResultRow, summary};
use promptc_engine::stress::crash::{
    self, ChildOptions, Control, CrashOptions, CrashReport, Failure, Hazard,
};

use super::{Where, listen};
use crate::cli::history::now;
use crate::cli::progress::{self, Listener};
use crate::cli::{Common, Outcome};
use crate::exit::Exit;

/// Lines of progress where there is no terminal.
const LINES: u64 = 10;
/// Kills for each time that the disk is filled, which takes seconds.
const FULL_DISK_OF: u64 = 10;

#[derive(Args)]
pub(super) struct CrashArgs {
    /// How many times the writing process is killed; a cycle takes about half a second, up to seven where the disk is filled
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    cycles: u64,
    /// Decides what is written, with which settings, and when the process is killed
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Cut the power of a disk of its own instead, an ext4 file system in an image file; needs the right to mount
    #[arg(long)]
    power_cut: bool,
    /// Fill a disk of its own for a while before the kill, 64 MiB in memory; needs the right to mount
    #[arg(long, conflicts_with = "power_cut")]
    full_disk: bool,
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
    #[arg(long, default_value = "kill_9", value_parser = PossibleValuesParser::new(Hazard::ALL.map(Hazard::as_str)))]
    hazard: String,
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
        hazard: Hazard::parse(&args.hazard).unwrap_or(Hazard::Kill),
        control: args.control.as_deref().and_then(Control::parse),
    };
    crash::child(&options, std::io::stdout())?;
    Ok(Exit::Ok)
}

impl CrashArgs {
    fn hazard(&self) -> Hazard {
        match (self.power_cut, self.full_disk) {
            (true, _) => Hazard::PowerCut,
            (_, true) => Hazard::FullDisk,
            _ => Hazard::Kill,
        }
    }
}

pub(super) fn crash(args: &CrashArgs, common: &Common) -> Outcome {
    let folder = args.place.folder();
    let options = CrashOptions {
        executable: executable()?,
        dir: folder.clone(),
        cycles: args.cycles,
        seed: args.seed,
        hazard: args.hazard(),
        control: args.control.as_deref().and_then(Control::parse),
    };
    let listener = listen(&args.place, &folder, &Cancel::default(), common)?;
    let started_at = now();
    let report = crash::run(&options, |report| tell(report, &options, &listener));
    listener.finish();
    let report = report.inspect_err(|_| args.place.clean_up(&folder))?;
    print(&report, options.hazard);
    if options.control.is_none() {
        args.place.record(crash::rows(&report, &options, started_at), common)?;
    }
    match &report.failure {
        Some(failure) => {
            explain(failure, &report, args.seed);
            Ok(Exit::Failed)
        }
        None => {
            args.place.clean_up(&folder);
            Ok(Exit::Ok)
        }
    }
}

/// Kills, and a full disk, for a load that was measured before: the rows of both, and whether nothing was lost.
pub(super) fn faults(
    place: &Where,
    seed: u64,
    cycles: u64,
    common: &Common,
) -> Result<(Vec<ResultRow>, bool), EngineError> {
    let (mut rows, mut is_clean) = (Vec::new(), true);
    for (hazard, cycles) in [(Hazard::Kill, cycles), (Hazard::FullDisk, cycles.div_ceil(FULL_DISK_OF))] {
        let dir = place.folder().join(hazard.as_str());
        let options = CrashOptions { executable: executable()?, dir, cycles, seed, hazard, control: None };
        // Ctrl-C is listened for since the load was measured.
        let listener = progress::listener(common);
        let started_at = now();
        let report = crash::run(&options, |report| tell(report, &options, &listener));
        listener.finish();
        let report = report?;
        print(&report, hazard);
        rows.extend(crash::rows(&report, &options, started_at));
        match &report.failure {
            Some(failure) => {
                explain(failure, &report, seed);
                is_clean = false;
            }
            // Empty, and nobody named it.
            None => drop(std::fs::remove_dir(&options.dir)),
        }
    }
    Ok((rows, is_clean))
}

fn executable() -> Result<PathBuf, EngineError> {
    std::env::current_exe().map_err(|error| EngineError::internal("the path of this program", error))
}

fn tell(report: &CrashReport, options: &CrashOptions, listener: &Listener) {
    let step = options.cycles.div_ceil(LINES);
    if listener.moves() || report.cycles.is_multiple_of(step) {
        let CrashReport { cycles, acknowledged, finding, .. } = report;
        let (name, wrong) = (options.hazard.as_str(), finding.lost + finding.half_batches);
        let all = options.cycles;
        listener.say(&format!("{name} {cycles} of {all}: {acknowledged} acknowledged, {wrong} lost"));
    }
}

fn print(report: &CrashReport, hazard: Hazard) {
    if let Some(reason) = &report.skipped {
        println!("skipped              {} ({reason})", hazard.as_str());
        return;
    }
    let in_short = |values: &[f64]| {
        let summary = summary(values, 0);
        // A percentile of few cycles is their largest.
        (summary.median.unwrap_or(0.0) / 1e6, summary.p99.or(summary.max).unwrap_or(0.0) / 1e6)
    };
    println!("hazard               {}", hazard.as_str());
    println!("cycles               {}", report.cycles);
    println!("acknowledged writes  {}", report.acknowledged);
    println!("lost                 {}", report.finding.lost);
    println!("half batches         {}", report.finding.half_batches);
    let (p50, p99) = in_short(&report.reopen_ns);
    println!("reopen p50           {p50:.1} ms");
    println!("reopen p99           {p99:.1} ms");
    if hazard == Hazard::PowerCut {
        println!("torn sectors         {}", report.torn_sectors);
    }
    if hazard == Hazard::FullDisk {
        let (p50, p99) = in_short(&report.resume_ns);
        println!("disks full           {}", report.resume_ns.len());
        println!("writes again p50     {p50:.0} ms");
        println!("writes again p99     {p99:.0} ms");
    }
}

fn explain(failure: &Failure, report: &CrashReport, seed: u64) {
    let Failure { cycle, durability, last_sequence, dir } = failure;
    let detail = report.finding.detail.as_deref().unwrap_or("nothing more is known");
    eprintln!("error[E1003]: cycle {cycle} of seed {seed}, level {durability}: {detail}");
    eprintln!(
        "  = note: highest acknowledged sequence {last_sequence}; the store is kept in {}",
        dir.display()
    );
    eprintln!("  = help: please report it with the seed, the cycle and the kind of disk");
}
