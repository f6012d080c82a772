//! A history of 60 commits whose faults are known, a run of pairs, and one build against itself.
//!
//! | Benchmark | |
//! |---|---|
//! | `parse/json/1mb` | 12 % slower from commit 40; 15 % slower in the pairs |
//! | `encode/utf8/64kb` | 20 % more throughput from commit 25; better in the pairs |
//! | `search/hnsw/10k` | unchanged, 6 % noise |
//! | `sync/group/8` | unchanged, too noisy for the pairs |

use std::path::Path;

use promptc_engine::store::history::{
    Environment, GitState, History, ResultRow, Run, SampleRow, Side, Status, VerdictRow, summary,
};

const DAY: i64 = 86_400_000_000;
/// 2026-01-01.
const START: i64 = 20_454 * DAY;

/// Commits on the main line.
pub(crate) const COMMITS: u32 = 60;

/// The run of pairs; it is the latest.
pub(crate) const PAIRS: &str = "01KZPAIRS0000000000000000P";

/// Runs of one build against itself.
const SAME_RUNS: u32 = 100;

/// bench, metric, unit, direction, level, spread.
type Bench = (&'static str, &'static str, &'static str, i8, f64, f64);

const BENCHES: [Bench; 4] = [
    ("parse/json/1mb", "wall_ns", "ns", -1, 2.1e6, 0.02),
    ("encode/utf8/64kb", "throughput", "bytes/s", 1, 8.0e8, 0.03),
    ("search/hnsw/10k", "wall_ns", "ns", -1, 6.1e4, 0.06),
    ("sync/group/8", "wall_ns", "ns", -1, 1.9e6, 0.35),
];

/// Promises about some of them.
pub(crate) const TARGETS: &str = r#"
[[target]]
id = "parse.json"
seed = "none"
errata = ""
section = "Parser"
kind = "ours"
bench_id = "parse/json/1mb"
metric = "wall_ns"
statistic = "median"
op = "<="
bound = 2200000
unit = "ns"
needs = "cpu"
note = ""

[[target]]
id = "encode.utf8"
seed = "none"
errata = ""
section = "Encoder"
kind = "ours"
bench_id = "encode/utf8/64kb"
metric = "throughput"
statistic = "median"
op = ">="
bound = 700000000
unit = "bytes/s"
needs = "cpu"
note = ""

[[target]]
id = "forward.gpu"
seed = "ruvdllm"
errata = ""
section = "Inference"
kind = "seed"
bench_id = "forward/gpu/8"
metric = "wall_ns"
statistic = "median"
op = "<="
bound = 30000000
unit = "ns"
needs = "gpu"
note = ""
"#;

/// SplitMix64: about normal numbers that are the same on every machine.
struct Noise(u64);

impl Noise {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((word ^ (word >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A value around a level whose logarithm has that standard deviation.
    fn around(&mut self, level: f64, spread: f64) -> f64 {
        let normal: f64 = (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0;
        level * (spread * normal).exp()
    }

    fn values(&mut self, level: f64, spread: f64, count: usize) -> Vec<f64> {
        (0..count).map(|_| self.around(level, spread)).collect()
    }
}

fn environment() -> Environment {
    let text = |text: &str| Some(text.to_owned());
    Environment {
        os: text("linux"),
        arch: text("x86_64"),
        cpu_model: text("Example CPU 2.1 GHz"),
        logical_core_count: Some(2),
        memory_bytes: Some(8 << 30),
        rustc_version: text("1.95.0"),
        ..Environment::default()
    }
    .sealed()
}

fn sha(seq: u32) -> String {
    let word = u128::from(seq + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    format!("{word:032x}{seq:08x}")
}

fn run(id: &str, seq: u32, minutes: i64) -> Run {
    let at = START + i64::from(seq) * DAY;
    Run {
        id: id.to_owned(),
        started_at: at + minutes * 60_000_000,
        git: GitState {
            sha: sha(seq),
            parent: seq.checked_sub(1).map(sha),
            branch: "main".to_owned(),
            commit_time: at,
            commit_seq: Some(seq),
            ..GitState::default()
        },
        env_id: environment().id(),
        ..Run::default()
    }
}

fn add(run: &mut Run, bench: Bench, side: Side, values: Vec<f64>) {
    let (bench_id, metric, unit, direction, ..) = bench;
    let summary = summary(&values, 1);
    let (file, line) = ("benches/parse.rs".to_owned(), "17".to_owned());
    run.results.push(ResultRow {
        side,
        suite: "demo".to_owned(),
        bench_id: bench_id.to_owned(),
        metric: metric.to_owned(),
        unit: unit.to_owned(),
        direction,
        value: summary.median,
        summary,
        started_at: run.started_at,
        tags: [("file".to_owned(), file), ("line".to_owned(), line)].into(),
        ..ResultRow::default()
    });
    run.samples.push(SampleRow {
        side,
        bench_id: bench_id.to_owned(),
        metric: metric.to_owned(),
        iters: vec![1; values.len()],
        values,
        ..SampleRow::default()
    });
}

/// The level of a benchmark at a commit.
fn level(bench: Bench, seq: u32) -> f64 {
    match bench.0 {
        "parse/json/1mb" if seq >= 40 => bench.4 * 1.12,
        "encode/utf8/64kb" if seq >= 25 => bench.4 * 1.20,
        _ => bench.4,
    }
}

fn main_line(noise: &mut Noise) -> Vec<Run> {
    let at = |seq| {
        let mut run = run(&format!("01KM{seq:022}"), seq, 30);
        for bench in BENCHES {
            // A run has a level of its own: the machine is never the same twice.
            let level = noise.around(level(bench, seq), bench.5 * 0.6);
            let values = noise.values(level, bench.5, 30);
            add(&mut run, bench, Side::Solo, values);
        }
        if seq == COMMITS - 1 {
            run.results.push(ResultRow {
                suite: "demo".to_owned(),
                bench_id: "forward/gpu/8".to_owned(),
                metric: "wall_ns".to_owned(),
                unit: "ns".to_owned(),
                direction: -1,
                status: Status::Skipped,
                error: Some("this machine has no GPU".to_owned()),
                started_at: run.started_at,
                ..ResultRow::default()
            });
        }
        run
    };
    (0..COMMITS).map(at).collect()
}

fn pairs(noise: &mut Noise) -> Run {
    let mut run = run(PAIRS, COMMITS, 600);
    run.git.commit_seq = None;
    run.git.branch = "faster-encoder".to_owned();
    run.pr = Some("42".to_owned());
    for bench in BENCHES {
        let factor = match bench.0 {
            "parse/json/1mb" => 1.15,
            "encode/utf8/64kb" => 1.25,
            _ => 1.0,
        };
        let count = if bench.0 == "sync/group/8" { 20 } else { 40 };
        let base = level(bench, COMMITS - 1);
        add(&mut run, bench, Side::Base, noise.values(base, bench.5, count));
        add(&mut run, bench, Side::Candidate, noise.values(base * factor, bench.5, count));
    }
    run.results.iter_mut().for_each(|row| {
        row.tags.insert("base_sha".to_owned(), sha(COMMITS - 1));
    });
    run
}

/// What the measuring of the pairs left: also what did not get worse.
fn pair_verdicts() -> Vec<VerdictRow> {
    let found = [
        ("parse/json/1mb", "wall_ns", (2.35e6, 2.70e6), 0.15, "regression"),
        ("encode/utf8/64kb", "throughput", (9.6e8, 12.0e8), -0.2, "improvement"),
        ("search/hnsw/10k", "wall_ns", (6.1e4, 6.12e4), 0.004, "no_change"),
        ("sync/group/8", "wall_ns", (1.9e6, 1.94e6), 0.02, "cannot_tell"),
    ];
    let row = |(bench_id, metric, sides, rel, verdict): (&str, &str, (f64, f64), f64, &str)| VerdictRow {
        gate_id: "paired".to_owned(),
        run_id: PAIRS.to_owned(),
        purpose: "gate".to_owned(),
        bench_id: Some(bench_id.to_owned()),
        metric: Some(metric.to_owned()),
        base: Some(sides.0),
        cand: Some(sides.1),
        rel: Some(rel),
        ci_low: Some(rel - 0.012),
        ci_high: Some(rel + 0.013),
        verdict: verdict.to_owned(),
        pair_count: Some(40),
        decided_at: START + 70 * DAY,
        ..VerdictRow::default()
    };
    let mut rows: Vec<VerdictRow> = found.map(row).into();
    let verdict = "fail".to_owned();
    rows.push(VerdictRow { bench_id: None, metric: None, verdict, ..rows[0].clone() });
    rows
}

/// One build against itself, and what was found when its second side was slowed down.
fn same(noise: &mut Noise) -> (Vec<Run>, Vec<VerdictRow>) {
    let (mut runs, mut verdicts) = (Vec::new(), Vec::new());
    for number in 0..SAME_RUNS {
        let mut run = run(&format!("01KS{number:022}"), COMMITS - 1, 60 + i64::from(number));
        for bench in BENCHES.into_iter().filter(|bench| bench.1 == "wall_ns") {
            add(&mut run, bench, Side::Base, noise.values(bench.4, bench.5, 6));
            add(&mut run, bench, Side::Same, noise.values(bench.4, bench.5, 6));
            let spread = bench.5.min(0.2);
            for (purpose, injected) in [("aa", None), ("power", Some(0.05)), ("power", Some(0.1))] {
                let found = injected.is_some_and(|rel: f64| noise.uniform() < rel / spread);
                verdicts.push(VerdictRow {
                    gate_id: "paired".to_owned(),
                    run_id: run.id.clone(),
                    purpose: purpose.to_owned(),
                    injected_rel: injected.map(|rel| (1.0 + rel) - 1.0),
                    bench_id: Some(bench.0.to_owned()),
                    metric: Some(bench.1.to_owned()),
                    ci_low: Some(-spread / 3.0),
                    ci_high: Some(spread / 3.0),
                    pair_count: Some(40),
                    verdict: if found { "regression" } else { "no_change" }.to_owned(),
                    decided_at: run.started_at,
                    ..VerdictRow::default()
                });
            }
        }
        runs.push(run);
    }
    (runs, verdicts)
}

/// Writes the history into a folder.
pub(crate) fn history(dir: &Path) {
    let history = History::open(dir).unwrap();
    let mut noise = Noise(7);
    let mut runs = main_line(&mut noise);
    runs.push(pairs(&mut noise));
    let (same, mut verdicts) = same(&mut noise);
    runs.extend(same);
    for run in &runs {
        history.write(run, &environment()).unwrap();
    }
    verdicts.extend(pair_verdicts());
    history.append_verdicts(&verdicts).unwrap();
    // One file for each month in place of hundreds, which the tests copy.
    history.compact(START + 400 * DAY).unwrap();
}
