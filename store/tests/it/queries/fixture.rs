//! A small history in which every fault is known: three benchmarks over 60 commits, and one run for each thing that can go wrong.
//!
//! | Runs | What is in them |
//! |---|---|
//! | `A00`..`A59` | `weight_dynamics` +12 % from commit 40, `compression_performance` -20 % from commit 30 and its retention below the floor at 59, `storage_performance` creeping 0.2 % a commit |
//! | `A60`, `A61` | uncommitted work that failed; work on a branch that is 30 % slower |
//! | `B50`..`B59` | the first benchmark on a machine that takes 1.5 times as long |
//! | `P_*` | pairs: the same, +12 %, too noisy, missing, worse quality, unchanged code |
//! | `E_*`, `F_*` | one build against itself on a calm and on a deceived machine |
//! | `S_*`, `K_*`, `R_*`, `M_*`, `Q_*`, `X_*` | storage, soak, fault tests, embeddings and indexes, a program's bench, a service |

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use promptc_store::history::{
    Environment, GitState, History, ResultRow, Run, SampleRow, Side, Status, VerdictRow, summary,
};
use promptc_store::sql::targets_schema;

pub(super) const DAY: i64 = 86_400_000_000;
/// 2026-01-01.
pub(super) const START: i64 = 20_454 * DAY;
/// Time between two commits.
pub(super) const STRIDE: i64 = DAY * 3 / 2;
/// Commits on the main line.
pub(super) const COMMITS: u32 = 60;

/// The history, made once for all tests of the process.
pub(super) fn history() -> &'static History {
    static MADE: OnceLock<(tempfile::TempDir, History)> = OnceLock::new();
    let (_, history) = MADE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let history = History::open(dir.path()).unwrap();
        for run in super::runs::all() {
            let machine = MACHINES.iter().find(|name| environment(name).id() == run.env_id).unwrap();
            history.write(&run, &environment(machine)).unwrap();
        }
        history.append_verdicts(&super::runs::verdicts()).unwrap();
        // A hundred files of a few rows each would be opened by every query.
        history.compact(START + 1_000 * DAY).unwrap();
        (dir, history)
    });
    history
}

/// Machines of the history; `D` has no runs.
pub(super) const MACHINES: [&str; 4] = ["A", "B", "C", "D"];

pub(super) fn environment(machine: &str) -> Environment {
    let text = |text: &str| Some(text.to_owned());
    Environment {
        os: text("linux"),
        cpu_model: Some(format!("cpu {machine}")),
        rustc_version: text("1.95.0"),
        ..Environment::default()
    }
    .sealed()
}

/// SplitMix64: numbers in -1..1 that are the same on every machine.
pub(super) struct Noise(u64);

impl Noise {
    /// The stream of a text.
    pub(super) fn new(seed: &str) -> Self {
        Noise(seed.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        }))
    }

    pub(super) fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((word ^ (word >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    /// `count` values within `share` of `level`.
    pub(super) fn around(&mut self, level: f64, share: f64, count: usize) -> Vec<f64> {
        (0..count).map(|_| (level * (1.0 + share * self.next())).round()).collect()
    }
}

/// A run on the main line at commit `seq`.
pub(super) fn run(id: &str, machine: &str, seq: u32) -> Run {
    let at = START + i64::from(seq) * STRIDE;
    Run {
        id: id.to_owned(),
        started_at: at + DAY / 24,
        git: GitState {
            sha: sha(seq),
            parent: seq.checked_sub(1).map(sha),
            branch: "main".to_owned(),
            commit_time: at,
            commit_seq: Some(seq),
            ..GitState::default()
        },
        env_id: environment(machine).id(),
        ..Run::default()
    }
}

/// A run of work on a branch, made after commit `seq`.
pub(super) fn branch_run(id: &str, machine: &str, seq: u32) -> Run {
    let mut run = run(id, machine, seq);
    run.git.commit_seq = None;
    run.git.branch = "topic".to_owned();
    run.git.sha = format!("{seq:08}{:032}", 1);
    run.git.commit_time += DAY / 48;
    run.started_at += DAY / 24;
    run
}

fn sha(seq: u32) -> String {
    format!("{seq:08}{:032}", 0)
}

/// A row with the summary of its samples.
pub(super) fn row(bench_id: &str, metric: &str, values: &[f64]) -> ResultRow {
    let (unit, direction) = match metric {
        "wall_ns" | "recovery_ns" => ("ns", -1),
        "throughput" => ("1/s", 1),
        "rss_bytes" => ("bytes", -1),
        "lost_count" => ("count", -1),
        "lookup_count" => ("count", 0),
        "error_rate" => ("ratio", -1),
        _ => ("ratio", 1),
    };
    let summary = summary(values, 1);
    ResultRow {
        suite: bench_id.split('/').next().unwrap().trim_end_matches("_performance").to_owned(),
        bench_id: bench_id.to_owned(),
        params: BTreeMap::from([("scale".to_owned(), "quick".to_owned())]),
        metric: metric.to_owned(),
        unit: unit.to_owned(),
        direction,
        iters_total: values.len() as u64,
        value: summary.median,
        summary,
        durability: bench_id.starts_with("storage").then(|| "wal".to_owned()),
        ..ResultRow::default()
    }
}

/// A row that has no value and says why.
pub(super) fn without_value(bench_id: &str, metric: &str, status: Status, error: &str) -> ResultRow {
    ResultRow { status, error: Some(error.to_owned()), ..row(bench_id, metric, &[]) }
}

impl Measure for Run {
    fn add(&mut self, row: ResultRow) -> &mut ResultRow {
        self.results.push(ResultRow { started_at: self.started_at, ..row });
        self.results.last_mut().unwrap()
    }

    fn measure(&mut self, bench_id: &str, metric: &str, side: Side, values: Vec<f64>) -> &mut ResultRow {
        self.samples.push(SampleRow {
            side,
            bench_id: bench_id.to_owned(),
            metric: metric.to_owned(),
            iters: vec![1; values.len()],
            values: values.clone(),
            ..SampleRow::default()
        });
        self.add(ResultRow { side, ..row(bench_id, metric, &values) })
    }
}

/// Adding measurements to a run.
pub(super) trait Measure {
    /// A row as it is, at the time of the run.
    fn add(&mut self, row: ResultRow) -> &mut ResultRow;
    /// A row and its samples.
    fn measure(&mut self, bench_id: &str, metric: &str, side: Side, values: Vec<f64>) -> &mut ResultRow;
}

/// What a gate decided about a benchmark of a run, or about the run.
pub(super) fn verdict(
    gate: &str,
    run_id: &str,
    purpose: &str,
    bench_id: Option<&str>,
    verdict: &str,
) -> VerdictRow {
    let is_row = bench_id.is_some();
    VerdictRow {
        gate_id: gate.to_owned(),
        run_id: run_id.to_owned(),
        purpose: purpose.to_owned(),
        injected_rel: (purpose == "power").then_some(0.10),
        bench_id: bench_id.map(str::to_owned),
        metric: bench_id.map(|_| "wall_ns".to_owned()),
        ci_low: is_row.then_some(-0.02),
        ci_high: is_row.then_some(0.02),
        pair_count: is_row.then_some(40),
        verdict: verdict.to_owned(),
        decided_at: START + 100 * DAY,
        ..VerdictRow::default()
    }
}

/// id, seed, kind, bench_id, metric, statistic, op, bound, unit.
type Promise = [&'static str; 9];

const PROMISES: [Promise; 9] = [
    [
        "compress.floor",
        "none",
        "ours",
        "compression_performance/mixed/0.5",
        "retention",
        "median",
        ">=",
        "0.95",
        "ratio",
    ],
    ["compress.recall", "none", "ours", "index/hnsw/10k", "accuracy", "median", ">=", "0.9", "ratio"],
    [
        "compress.speed",
        "none",
        "ours",
        "compression_performance/mixed/0.5",
        "wall_ns",
        "median",
        "<=",
        "1900000",
        "ns",
    ],
    [
        "gpu.forward",
        "ruvdllm",
        "seed",
        "inference_latency/gpu/8",
        "wall_ns",
        "median",
        "<=",
        "50000000",
        "ns",
    ],
    ["reliability.kill", "none", "ours", "reliability/kill_9/store", "lost_count", "max", "<=", "0", "count"],
    [
        "reliability.power",
        "none",
        "ours",
        "reliability/power_cut/store",
        "lost_count",
        "max",
        "<=",
        "0",
        "count",
    ],
    [
        "storage.rate",
        "ruvdllm",
        "restated",
        "storage_performance/mixed/1kb",
        "throughput",
        "median",
        ">=",
        "10000",
        "ops/s",
    ],
    [
        "weights.seed",
        "ruvdllm",
        "seed",
        "weight_dynamics/convergence/512",
        "wall_ns",
        "median",
        "<=",
        "45000000",
        "ns",
    ],
    [
        "weights.time",
        "none",
        "ours",
        "weight_dynamics/convergence/512",
        "wall_ns",
        "median",
        "<=",
        "47000000",
        "ns",
    ],
];

/// The promises of the history.
pub(super) fn targets() -> RecordBatch {
    let schema = targets_schema();
    let column = |name: &str| -> ArrayRef {
        let of = |promise: &Promise| -> String {
            match name {
                "target_id" => promise[0].to_owned(),
                "seed" => promise[1].to_owned(),
                "kind" => promise[2].to_owned(),
                "bench_id" => promise[3].to_owned(),
                "metric" => promise[4].to_owned(),
                "statistic" => promise[5].to_owned(),
                "op" => promise[6].to_owned(),
                "unit" => promise[8].to_owned(),
                "section" => "Figures".to_owned(),
                _ => String::new(),
            }
        };
        if name == "bound" {
            return Arc::new(
                PROMISES.iter().map(|promise| promise[7].parse::<f64>().ok()).collect::<Float64Array>(),
            );
        }
        Arc::new(PROMISES.iter().map(|promise| Some(of(promise))).collect::<StringArray>())
    };
    let columns = schema.fields().iter().map(|field| column(field.name())).collect();
    RecordBatch::try_new(schema, columns).unwrap()
}
