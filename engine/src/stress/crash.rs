//! Kill -9: does the store keep what it acknowledged?
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
//! # Decisions
//! *What the parent knows stays in its memory*, and not in a file: it is never killed itself. A cut of the power needs the
//! file, and a disk that can be cut.
//! *The level `none` promises nothing to a kill.* Its cycles show that what is left is whole all the same.

mod check;
mod child;
mod documents;
mod plan;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use promptc_store::history::{Micros, ResultRow, Status, summary};
use promptc_store::kv::Ack;

use crate::error::EngineError;
use crate::stress::{empty_folder, fault, open};
pub use check::Finding;
use check::{Expected, check};
pub use child::{ChildOptions, Control, child};
use child::{READY, remove_store};
use plan::{Operation, Plan};

/// Longest wait for the child's first word; opening takes milliseconds, a loaded machine seconds.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// Log records of a store from which on a new one is begun: every cycle compares all of them.
const LOG_RECORDS_MAX: u64 = 200_000;

/// What to do.
#[derive(Debug, Clone)]
pub struct CrashOptions {
    /// This program; started with the arguments `stress crash-child --dir D --seed S --cycle C`.
    pub executable: PathBuf,
    /// An empty or new folder for the stores.
    pub dir: PathBuf,
    /// Kills.
    pub cycles: u64,
    /// Of everything that is drawn.
    pub seed: u64,
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
    /// How long each opening after a kill took.
    pub reopen_ns: Vec<f64>,
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
    let mut expected = Expected::default();
    let mut store_dir = dir.join("store-0");
    for cycle in 0..options.cycles {
        let plan = Plan::draw(options.seed, cycle);
        if plan.is_fresh || expected.last_sequence > LOG_RECORDS_MAX {
            remove_store(&store_dir)?;
            store_dir = dir.join(format!("store-{cycle}"));
            expected = Expected::default();
        }
        let acks = kill(options, &plan, cycle, &store_dir)?;
        let finding = reopen(options, &plan, cycle, &store_dir, &acks, &mut expected, &mut report)?;
        report.cycles += 1;
        report.acknowledged += acks.iter().map(|acks| acks.len() as u64).sum::<u64>();
        if !finding.is_clean() {
            report.failure = Some(Failure {
                cycle,
                durability: plan.durability.as_str(),
                last_sequence: acks.iter().flatten().map(|ack| ack.sequence).max().unwrap_or(0),
                dir: store_dir,
            });
            report.finding = finding;
            listen(&report);
            return Ok(report);
        }
        listen(&report);
    }
    remove_store(&store_dir)?;
    Ok(report)
}

/// Opens the store that a kill left behind and compares it.
fn reopen(
    options: &CrashOptions,
    plan: &Plan,
    cycle: u64,
    store_dir: &Path,
    acks: &[Vec<Ack>],
    expected: &mut Expected,
    report: &mut CrashReport,
) -> Result<Finding, EngineError> {
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
            let finding = check(store.records(), plan, &draw, acks, expected)?;
            if !finding.is_clean() {
                return Ok(finding);
            }
            let detail = documents::difference(&store)?;
            Ok(Finding { lost: u64::from(detail.is_some()), half_batches: 0, detail })
        }
        // A store that does not open has lost everything.
        Err(error) => Ok(Finding {
            lost: acks.iter().map(|acks| acks.len() as u64).sum::<u64>().max(1),
            half_batches: 0,
            detail: Some(format!("the store does not open: {error}")),
        }),
    }
}

/// Starts the child, kills it at its time, and answers what it acknowledged by writer.
fn kill(
    options: &CrashOptions,
    plan: &Plan,
    cycle: u64,
    store_dir: &Path,
) -> Result<Vec<Vec<Ack>>, EngineError> {
    let started = Instant::now();
    let mut child = start(options, cycle, store_dir)?;
    let Some(output) = child.stdout.take() else {
        return Err(EngineError::internal("stress", "the child has no pipe"));
    };
    let (ready, is_ready) = mpsc::channel();
    let writer_count = plan.writer_count as usize + usize::from(plan.has_documents);
    let reader = std::thread::spawn(move || read_acks(output, writer_count, &ready));
    if !plan.kills_opening && is_ready.recv_timeout(READY_WITHIN).is_err() {
        // Killing a child that has ended already is no error.
        let _ = child.kill();
        let status = wait(&mut child)?;
        return Err(ended(status));
    }
    let since = if plan.kills_opening { started } else { Instant::now() };
    std::thread::sleep(plan.kill_after.saturating_sub(since.elapsed()));
    let _ = child.kill();
    let status = wait(&mut child)?;
    let acks =
        reader.join().map_err(|_| EngineError::internal("stress", "the reader of the pipe panicked"))??;
    // A status is a number only if the child ended before the kill.
    if status.code().is_some() { Err(ended(status)) } else { Ok(acks) }
}

fn start(options: &CrashOptions, cycle: u64, store_dir: &Path) -> Result<Child, EngineError> {
    let mut command = Command::new(&options.executable);
    command.args(["stress", "crash-child", "--dir"]).arg(store_dir);
    command.args(["--seed", &options.seed.to_string(), "--cycle", &cycle.to_string()]);
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

/// Acknowledgements by writer, each in its order. A last line that is cut off was not said.
fn read_acks(
    output: impl std::io::Read,
    writer_count: usize,
    ready: &mpsc::Sender<()>,
) -> Result<Vec<Vec<Ack>>, EngineError> {
    let wrong = |line: &str| EngineError::internal("stress", format!("the child said {line:?}"));
    let mut acks = vec![Vec::new(); writer_count];
    let mut output = BufReader::new(output);
    let mut line = String::new();
    loop {
        line.clear();
        let bytes = output.read_line(&mut line).map_err(|error| EngineError::internal("stress", error))?;
        let Some(words) = line.strip_suffix('\n').filter(|_| bytes > 0) else { return Ok(acks) };
        if words == READY {
            // Nobody listens when the child is killed while it opens the store.
            let _ = ready.send(());
            continue;
        }
        let numbers: Vec<u64> = words.split(' ').filter_map(|word| word.parse().ok()).collect();
        let &[writer, number, sequence, crc] = numbers.as_slice() else { return Err(wrong(words)) };
        let own = acks.get_mut(writer as usize).ok_or_else(|| wrong(words))?;
        if own.len() as u64 != number {
            return Err(wrong(words));
        }
        own.push(Ack { sequence, crc: crc as u32 });
    }
}

/// The report as rows of suite `reliability`.
#[must_use]
pub fn rows(report: &CrashReport, options: &CrashOptions, started_at: Micros) -> Vec<ResultRow> {
    let row = |metric: &str, unit: &str, direction, values: &[f64]| {
        let summary = summary(values, options.seed);
        ResultRow {
            suite: "reliability".to_owned(),
            bench_id: "reliability/kill_9/records".to_owned(),
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
            status: Status::Ok,
            seed: Some(options.seed),
            started_at,
            ..ResultRow::default()
        }
    };
    let wrong = (report.finding.lost + report.finding.half_batches) as f64;
    vec![
        row("lost_count", "count", -1, &[wrong]),
        row("iteration_count", "count", 0, &[report.acknowledged as f64]),
        row("recovery_ns", "ns", -1, &report.reopen_ns),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use promptc_store::kv::{Durability, Tuning};

    const SEED: u64 = 5;

    /// A plan of a level with one writer.
    fn plan(durability: Durability) -> Plan {
        Plan { durability, writer_count: 1, tuning: Tuning::STANDARD, ..Plan::draw(SEED, 0) }
    }

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
        let look = |acks: &[Ack], durability| {
            let mut expected = Expected::default();
            check(store.records(), &plan(durability), &draw, &[acks.to_vec()], &mut expected).unwrap()
        };
        assert!(look(&acks, Durability::Wal).is_clean());
        assert!(look(&acks[..19], Durability::Wal).is_clean(), "the last may have been in flight");
        let two = look(&acks[..18], Durability::Wal);
        assert!(two.half_batches > 0 && two.detail.unwrap().contains("in flight"));
        acks.push(Ack { sequence: 21, crc: draw(0, 20).batch().unwrap().crc_at(21) });
        assert_eq!(look(&acks, Durability::Wal).lost, 1);
        assert!(look(&acks, Durability::None).is_clean());
        acks.pop();
        acks[3].crc ^= 1;
        assert!(look(&acks, Durability::Wal).half_batches > 0);
    }

    #[test]
    fn a_record_that_changed_behind_the_log_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path(), &Tuning::STANDARD).unwrap();
        let mut expected = Expected::default();
        expected.records.insert(b"from an earlier cycle".to_vec(), b"1".to_vec());
        let finding = check(store.records(), &plan(Durability::Wal), &draw, &[Vec::new()], &mut expected);
        assert_eq!(finding.unwrap().lost, 1);
    }

    #[test]
    fn lines_that_are_cut_off_were_not_said() {
        let (ready, is_ready) = mpsc::channel();
        let acks = read_acks("ready\n0 0 1 77\n1 0 2 78\n0 1 3 79\n0 2 4".as_bytes(), 2, &ready).unwrap();
        assert!(is_ready.try_recv().is_ok());
        assert_eq!(acks[0], [Ack { sequence: 1, crc: 77 }, Ack { sequence: 3, crc: 79 }]);
        assert_eq!(acks[1], [Ack { sequence: 2, crc: 78 }]);
        assert!(read_acks("0 1 1 1\n".as_bytes(), 1, &ready).is_err());
        assert!(read_acks("0 0 1\n".as_bytes(), 1, &ready).is_err());
    }
}
