//! Kill -9, power cuts, a full disk: does the store keep what it acknowledged?
//!
//! ```text
//! parent                                        child (the same program)
//!   draws the cycle's plan  ------ starts ----->  opens the store, writes with 1, 2 or 8 writers
//!   collects acknowledgements  <--- pipe -------  says each one after it was acknowledged
//!   SIGKILL after 5 to 500 ms  ---------------->  x
//!   opens the store (timed), compares everything, goes on with the same store or a new one
//! ```
//!
//! Durability level, group size, caches, buffers, compression and the number of writers differ by cycle. After RocksDB's
//! `db_crashtest.py`. In every second cycle a further writer appends documents and applies the log to their indexes ([`documents`]).
//!
//! [`Hazard`] says what else is done than to kill.
//!
//! # Decisions
//! *What the parent knows stays in its memory*, and not in a file: it is never killed itself, nor is the power of its own disk cut.
//! *The level `none` promises nothing to a kill.* Its cycles show that what is left is whole all the same.

mod check;
mod child;
mod documents;
mod hazard;
mod plan;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use promptc_store::history::{Micros, ResultRow, Status, summary};
use promptc_store::kv::Ack;

use crate::error::EngineError;
use crate::stress::{empty_folder, fault, open};
pub use check::Finding;
use check::{Expected, Heard, check};
pub use child::{ChildOptions, Control, child};
use child::{FULL, READY, remove_store};
pub use hazard::Hazard;
use hazard::{Done, Place, Victim};
use plan::{Operation, Plan, random_of};

/// Longest wait for the child's first word; opening takes milliseconds, a loaded machine seconds.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Where the draws of what is done to the disk begin, apart from those of the plan.
const HAZARD_DRAWS: u64 = 1 << 32;

/// What to do.
#[derive(Debug, Clone)]
pub struct CrashOptions {
    /// This program; started with the arguments `stress crash-child --dir D --seed S --cycle C --hazard H`.
    pub executable: PathBuf,
    /// An empty or new folder for the stores.
    pub dir: PathBuf,
    /// Kills.
    pub cycles: u64,
    /// Of everything that is drawn.
    pub seed: u64,
    /// What is done to the writing process.
    pub hazard: Hazard,
    /// A fault to build in.
    pub control: Option<Control>,
}

/// What happened so far.
#[derive(Debug, Clone, Default)]
pub struct CrashReport {
    /// Cycles that were compared.
    pub cycles: u64,
    /// Writes that were acknowledged.
    pub acknowledged: u64,
    /// What was wrong; the run ends with the first cycle that has something.
    pub finding: Finding,
    /// How long each opening after a kill or a cut took.
    pub reopen_ns: Vec<f64>,
    /// From the moment at which a full disk had room to the next acknowledgement.
    pub resume_ns: Vec<f64>,
    /// Sectors that were torn by cuts.
    pub torn_sectors: u64,
    /// Why nothing was done.
    pub skipped: Option<String>,
    /// Where it went wrong.
    pub failure: Option<Failure>,
}

/// The cycle that went wrong; its store is kept.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Number of the cycle.
    pub cycle: u64,
    /// Its durability level.
    pub durability: &'static str,
    /// Highest sequence that was acknowledged.
    pub last_sequence: u64,
    /// Folder of the store.
    pub dir: PathBuf,
}

/// Runs the cycles and tells `listen` after each. Stops at the first cycle in which something is wrong, which is a report
/// and no error; otherwise the stores are removed.
///
/// # Errors
/// The folder is not empty, the child cannot be started, or it ends by itself.
pub fn run(options: &CrashOptions, mut listen: impl FnMut(&CrashReport)) -> Result<CrashReport, EngineError> {
    let dir = empty_folder(&options.dir)?;
    let mut report = CrashReport::default();
    let place = match Place::make(&dir, options.hazard) {
        Ok(place) => place,
        Err(refused) => {
            Place::clear(&dir)?;
            report.skipped = Some(refused.to_string());
            return Ok(report);
        }
    };
    let mut expected = Expected::default();
    let mut store_dir = place.path().join("store-0");
    for cycle in 0..options.cycles {
        let plan = Plan::draw(options.seed, cycle, options.hazard);
        if plan.is_fresh || expected.last_sequence > place.log_records_max() {
            remove_store(&store_dir)?;
            store_dir = place.path().join(format!("store-{cycle}"));
            expected = Expected::default();
        }
        let (heard, done) = disturb(options, &plan, cycle, &store_dir, &place)?;
        report.cycles += 1;
        report.acknowledged += heard.count();
        report.torn_sectors += done.torn_sectors;
        report.resume_ns.extend(done.resumed.map(|time| time.as_nanos() as f64));
        let cycle_of = Cycle { options, plan: &plan, cycle, heard: &heard };
        let (finding, looked_at) = compare(&cycle_of, &done, &store_dir, &mut expected, &mut report)?;
        if !finding.is_clean() {
            report.failure = Some(Failure {
                cycle,
                durability: plan.durability.as_str(),
                last_sequence: heard.acks.iter().flatten().map(|ack| ack.sequence).max().unwrap_or(0),
                dir: place.keep(&looked_at)?,
            });
            report.finding = finding;
            listen(&report);
            drop(done);
            place.remove()?;
            return Ok(report);
        }
        listen(&report);
    }
    remove_store(&store_dir)?;
    place.remove()?;
    Ok(report)
}

/// A cycle that is over.
struct Cycle<'a> {
    options: &'a CrashOptions,
    plan: &'a Plan,
    cycle: u64,
    heard: &'a Heard,
}

/// Compares what a cut left, and what the process left; answers the folder that was looked at last.
fn compare(
    cycle: &Cycle<'_>,
    done: &Done,
    store_dir: &Path,
    expected: &mut Expected,
    report: &mut CrashReport,
) -> Result<(Finding, PathBuf), EngineError> {
    if done.is_stuck {
        let mut finding = Finding::default();
        finding.lose(|| "no write was acknowledged although there was room again".to_owned());
        return Ok((finding, store_dir.to_path_buf()));
    }
    if let Some(cut) = &done.cut {
        let left = cut.path().join(store_dir.file_name().unwrap_or_default());
        // The process itself goes on with what it had.
        let finding = reopen(cycle, &left, &mut expected.clone(), report)?;
        if !finding.is_clean() {
            return Ok((finding, left));
        }
    }
    let finding = reopen(cycle, store_dir, expected, report)?;
    Ok((finding, store_dir.to_path_buf()))
}

/// Opens the store that a kill left behind and compares it.
fn reopen(
    cycle: &Cycle<'_>,
    store_dir: &Path,
    expected: &mut Expected,
    report: &mut CrashReport,
) -> Result<Finding, EngineError> {
    let Cycle { options, plan, cycle, heard } = *cycle;
    let began = Instant::now();
    let opened = open(store_dir, &plan.tuning);
    report.reopen_ns.push(began.elapsed().as_nanos() as f64);
    match opened {
        Ok(store) => {
            let draw = |writer, number| {
                if writer == plan.writer_count {
                    documents::operation(options.seed, cycle, number)
                } else {
                    Operation::draw(options.seed, cycle, writer, number)
                }
            };
            let finding = check(store.records(), plan.promises(options.hazard), &draw, heard, expected)?;
            if !finding.is_clean() {
                return Ok(finding);
            }
            let detail = documents::difference(&store)?;
            Ok(Finding { lost: u64::from(detail.is_some()), half_batches: 0, detail })
        }
        // A store that does not open has lost everything.
        Err(error) => Ok(Finding {
            lost: heard.count().max(1),
            half_batches: 0,
            detail: Some(format!("the store does not open: {error}")),
        }),
    }
}

/// Starts the child, lets the hazard strike at its time, kills the child, and answers what it said.
fn disturb(
    options: &CrashOptions,
    plan: &Plan,
    cycle: u64,
    store_dir: &Path,
    place: &Place,
) -> Result<(Heard, Done), EngineError> {
    let started = Instant::now();
    let mut child = start(options, cycle, store_dir)?;
    let Some(output) = child.stdout.take() else {
        return Err(EngineError::internal("stress", "the child has no pipe"));
    };
    let (ready, is_ready) = mpsc::channel();
    let writer_count = plan.writer_count as usize + usize::from(plan.has_documents);
    let counts = Arc::new(Counts::default());
    let reader_counts = counts.clone();
    let reader = std::thread::spawn(move || read_acks(output, writer_count, &ready, &reader_counts));
    if !plan.kills_opening && is_ready.recv_timeout(READY_WITHIN).is_err() {
        // Killing a child that has ended already is no error.
        let _ = child.kill();
        let status = wait(&mut child)?;
        return Err(ended(status));
    }
    let since = if plan.kills_opening { started } else { Instant::now() };
    std::thread::sleep(plan.kill_after.saturating_sub(since.elapsed()));
    let victim = Victim { process: child.id(), said: &counts.said, failed: &counts.failed };
    let done = place.strike(&victim, &mut random_of(options.seed, &[HAZARD_DRAWS, cycle]));
    let _ = child.kill();
    let status = wait(&mut child)?;
    let heard =
        reader.join().map_err(|_| EngineError::internal("stress", "the reader of the pipe panicked"))??;
    // A status is a number only if the child ended before the kill.
    if status.code().is_some() { Err(ended(status)) } else { Ok((heard, done?)) }
}

fn start(options: &CrashOptions, cycle: u64, store_dir: &Path) -> Result<Child, EngineError> {
    let mut command = Command::new(&options.executable);
    command.args(["stress", "crash-child", "--dir"]).arg(store_dir);
    command.args(["--seed", &options.seed.to_string(), "--cycle", &cycle.to_string()]);
    command.args(["--hazard", options.hazard.as_str()]);
    if let Some(control) = options.control {
        command.args(["--control", control.as_str()]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command.spawn().map_err(|source| EngineError::Program { path: options.executable.clone(), source })
}

fn wait(child: &mut Child) -> Result<ExitStatus, EngineError> {
    child.wait().map_err(|error| EngineError::internal("stress", error))
}

fn ended(status: ExitStatus) -> EngineError {
    let help = "its own message says why; a full or failing disk ends it as well";
    fault(format!("the writing process ended by itself ({status})"), help)
}

/// What was said so far, for those who watch.
#[derive(Debug, Default)]
struct Counts {
    said: AtomicU64,
    failed: AtomicU64,
}

/// Everything that the child says. A last line that is cut off was not said.
fn read_acks(
    output: impl std::io::Read,
    writer_count: usize,
    ready: &mpsc::Sender<()>,
    counts: &Counts,
) -> Result<Heard, EngineError> {
    let wrong = |line: &str| EngineError::internal("stress", format!("the child said {line:?}"));
    let mut heard = Heard { acks: vec![Vec::new(); writer_count], failed: Vec::new() };
    let mut output = BufReader::new(output);
    let mut line = String::new();
    loop {
        line.clear();
        let bytes = output.read_line(&mut line).map_err(|error| EngineError::internal("stress", error))?;
        let Some(words) = line.strip_suffix('\n').filter(|_| bytes > 0) else { return Ok(heard) };
        if words == READY {
            // Nobody listens when the child is killed while it opens the store.
            let _ = ready.send(());
            continue;
        }
        let numbers: Vec<u64> = words.split(' ').filter_map(|word| word.parse().ok()).collect();
        match *numbers.as_slice() {
            [writer, number] if words.starts_with(FULL) => {
                heard.failed.push((writer, number));
                counts.failed.fetch_add(1, Ordering::Relaxed);
            }
            [writer, number, sequence, crc] => {
                let own = heard.acks.get_mut(writer as usize).ok_or_else(|| wrong(words))?;
                if own.len() as u64 != number {
                    return Err(wrong(words));
                }
                own.push(Ack { sequence, crc: crc as u32 });
                counts.said.fetch_add(1, Ordering::Relaxed);
            }
            _ => return Err(wrong(words)),
        }
    }
}

/// The report as rows of suite `reliability`.
#[must_use]
pub fn rows(report: &CrashReport, options: &CrashOptions, started_at: Micros) -> Vec<ResultRow> {
    let row = |metric: &str, unit: &str, direction, values: &[f64]| {
        let summary = summary(values, options.seed);
        ResultRow {
            suite: "reliability".to_owned(),
            bench_id: format!("reliability/{}/records", options.hazard.as_str()),
            params: [("cycles", report.cycles), ("seed", options.seed)]
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.to_string()))
                .collect(),
            metric: metric.to_owned(),
            unit: unit.to_owned(),
            direction,
            iters_total: report.cycles,
            value: summary.median,
            summary,
            status: if report.skipped.is_some() { Status::Skipped } else { Status::Ok },
            error: report.skipped.clone(),
            seed: Some(options.seed),
            started_at,
            ..ResultRow::default()
        }
    };
    if report.skipped.is_some() {
        return vec![row("lost_count", "count", -1, &[])];
    }
    let recovery = if options.hazard == Hazard::FullDisk { &report.resume_ns } else { &report.reopen_ns };
    let wrong = (report.finding.lost + report.finding.half_batches) as f64;
    vec![
        row("lost_count", "count", -1, &[wrong]),
        row("iteration_count", "count", 0, &[report.acknowledged as f64]),
        row("recovery_ns", "ns", -1, recovery),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use promptc_store::kv::{Durability, Tuning};

    const SEED: u64 = 5;

    fn draw(writer: u64, number: u64) -> Operation {
        Operation::draw(SEED, 0, writer, number)
    }

    #[test]
    fn acknowledged_and_maybe_writes_are_told_from_lost_and_foreign_ones() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path(), &Tuning::STANDARD).unwrap();
        let write =
            |number| store.records().write(draw(0, number).batch().unwrap(), Durability::Wal).unwrap();
        let mut acks: Vec<Ack> = (0..20).map(write).collect();
        let look = |acks: &[Ack], is_promised| {
            let mut expected = Expected::default();
            let heard = Heard { acks: vec![acks.to_vec()], failed: Vec::new() };
            check(store.records(), is_promised, &draw, &heard, &mut expected).unwrap()
        };
        assert!(look(&acks, true).is_clean());
        assert!(look(&acks[..19], true).is_clean(), "the last may have been in flight");
        let two = look(&acks[..18], true);
        assert!(two.half_batches > 0 && two.detail.unwrap().contains("in flight"));
        let heard = Heard { acks: vec![acks[..18].to_vec()], failed: vec![(0, 18), (0, 18), (0, 19)] };
        let found = check(store.records(), true, &draw, &heard, &mut Expected::default());
        assert!(found.unwrap().is_clean(), "failed writes may be there");
        acks.push(Ack { sequence: 21, crc: draw(0, 20).batch().unwrap().crc_at(21) });
        assert_eq!(look(&acks, true).lost, 1);
        assert!(look(&acks, false).is_clean());
        acks.pop();
        acks[3].crc ^= 1;
        assert!(look(&acks, true).half_batches > 0);
    }

    #[test]
    fn a_record_that_changed_behind_the_log_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path(), &Tuning::STANDARD).unwrap();
        let mut expected = Expected::default();
        expected.records.insert(b"from an earlier cycle".to_vec(), b"1".to_vec());
        let heard = Heard { acks: vec![Vec::new()], failed: Vec::new() };
        let finding = check(store.records(), true, &draw, &heard, &mut expected);
        assert_eq!(finding.unwrap().lost, 1);
    }

    #[test]
    fn lines_that_are_cut_off_were_not_said() {
        let (ready, is_ready) = mpsc::channel();
        let counts = Counts::default();
        let said = "ready\n0 0 1 77\n1 0 2 78\nfull 0 1\n0 1 3 79\n0 2 4";
        let heard = read_acks(said.as_bytes(), 2, &ready, &counts).unwrap();
        assert!(is_ready.try_recv().is_ok());
        assert_eq!(
            (heard.failed.as_slice(), counts.said.into_inner(), counts.failed.into_inner()),
            ([(0, 1)].as_slice(), 3, 1)
        );
        let acks = heard.acks;
        assert_eq!(acks[0], [Ack { sequence: 1, crc: 77 }, Ack { sequence: 3, crc: 79 }]);
        assert_eq!(acks[1], [Ack { sequence: 2, crc: 78 }]);
        for wrong in ["0 1 1 1\n", "0 0 1\n", "0 1\n"] {
            assert!(read_acks(wrong.as_bytes(), 1, &ready, &Counts::default()).is_err());
        }
    }
}
