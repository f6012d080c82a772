//! How long do the shipped queries, one benchmark's history and a gate take over a large history?
//!
//! | title | what |
//! |---|---|
//! | `shipped_queries` | every query of `queries/`; each value is the slowest of a round |
//! | `one_benchmark` | one metric of one benchmark, all commits |
//! | `gate` | the gate `paired` over one run of all benchmarks |
//!
//! The history is generated and compacted: two machines, 500 commits, four metrics, 30 samples each; 100,000 results, or a million at full
//! scale. Its values carry 2 % of noise, so that nothing compresses better than measured values do.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use promptc_benches::measurement::times_ns;
use promptc_benches::{Measurement, Recorder, place};
use promptc_engine::datafusion::prelude::SessionContext;
use promptc_engine::gate::file::Question;
use promptc_engine::gate::params::{bind, declared};
use promptc_engine::gate::{Outcome, SqlGate};
use promptc_engine::sql;
use promptc_store::history::{
    Environment, GitState, History, Micros, ResultRow, Run, SampleRow, Side, Summary,
};
use promptc_store::sql::history_session;

/// Benchmarks: quick, full.
const BENCHES: (u32, u32) = (25, 250);
/// Commits, a quarter of a day apart, and a run of each on every machine.
const COMMITS: u32 = 500;
const MACHINES: [&str; 2] = ["A", "B"];
const METRICS: [(&str, &str, i8); 4] =
    [("wall_ns", "ns", -1), ("cpu_ns", "ns", -1), ("throughput", "1/s", 1), ("alloc_bytes", "bytes", -1)];
const SAMPLES: usize = 30;
/// How often everything is asked.
const ROUNDS: usize = 5;
/// Seed of the values.
const SEED: u64 = 7;
/// 2026-01-01 in microseconds.
const START: Micros = 20_454 * DAY;
const DAY: Micros = 86_400_000_000;
/// The run that pairs are judged in.
const PAIRS: &str = "PAIRS";
/// More rows than any shipped query returns here.
const ROWS_MAX: usize = 1_000_000;

fn environment(machine: &str) -> Environment {
    Environment { cpu_model: Some(format!("cpu {machine}")), ..Environment::default() }.sealed()
}

fn bench_id(bench: u32) -> String {
    format!("generated/kernel_{:03}/{}", bench / 4, 64 << (bench % 4))
}

/// splitmix64 (Steele, Lea, Flood 2014), as numbers of mean 0 and deviation 1.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        let mut sum = 0.0;
        for _ in 0..3 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = self.0;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            sum += ((word ^ (word >> 31)) >> 11) as f64 / (1_u64 << 52) as f64 - 1.0;
        }
        sum
    }
}

fn run(id: String, seq: u32, machine: &str) -> Run {
    let at = START + Micros::from(seq) * DAY / 4;
    let git = GitState {
        sha: format!("{seq:040}"),
        branch: "main".to_owned(),
        commit_time: at,
        commit_seq: Some(seq),
        ..GitState::default()
    };
    Run { id, started_at: at + DAY / 24, git, env_id: environment(machine).id(), ..Run::default() }
}

/// Adds a metric of a benchmark with whole values, as clocks give them.
fn add(run: &mut Run, bench: u32, metric: (&str, &str, i8), side: Side, noise: &mut Noise) {
    let level = 1e5 * f64::from(bench + 1);
    let values: Vec<f64> =
        (0..SAMPLES).map(|_| (level * (1.0 + 0.02 * noise.next())).round().max(1.0)).collect();
    let short = short(&values);
    run.results.push(ResultRow {
        side,
        suite: "generated".to_owned(),
        bench_id: bench_id(bench),
        metric: metric.0.to_owned(),
        unit: metric.1.to_owned(),
        direction: metric.2,
        iters_total: SAMPLES as u64,
        value: short.median,
        summary: short,
        started_at: run.started_at,
        ..ResultRow::default()
    });
    run.samples.push(SampleRow {
        side,
        bench_id: bench_id(bench),
        metric: metric.0.to_owned(),
        iters: vec![1; SAMPLES],
        values,
        ..SampleRow::default()
    });
}

/// Order statistics alone: a bootstrap of every row would take longer than all that is measured.
fn short(values: &[f64]) -> Summary {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |share: f64| sorted.get(((sorted.len() - 1) as f64 * share) as usize).copied();
    Summary {
        n_samples: values.len() as u32,
        median: at(0.5),
        min: at(0.0),
        max: at(1.0),
        ci_low: at(0.33),
        ci_high: at(0.67),
        ci_level: Some(0.95),
        ..Summary::default()
    }
}

/// Writes and compacts the history.
fn generate(folder: &Path, benches: u32) -> History {
    let history = History::open(folder).expect("a history in a temporary folder opens");
    let mut noise = Noise(SEED);
    for seq in 0..COMMITS {
        for machine in MACHINES {
            let mut one = run(format!("G{seq:05}{machine}"), seq, machine);
            for bench in 0..benches {
                for metric in METRICS {
                    add(&mut one, bench, metric, Side::Solo, &mut noise);
                }
            }
            history.write(&one, &environment(machine)).expect("the run fits on the disk");
        }
    }
    let mut pairs = run(PAIRS.to_owned(), COMMITS, MACHINES[0]);
    // Work on a branch is no point of the series.
    pairs.git.commit_seq = None;
    for bench in 0..benches {
        for side in [Side::Base, Side::Candidate] {
            add(&mut pairs, bench, METRICS[0], side, &mut noise);
        }
    }
    history.write(&pairs, &environment(MACHINES[0])).expect("the run fits on the disk");
    history.compact(START + 10_000 * DAY).expect("the history is compacted");
    history
}

/// Rows of a query with these parameters, as far as it declares them.
async fn ask(session: &SessionContext, file: &str, text: &str, values: &BTreeMap<String, String>) -> usize {
    let params = declared(file, text).expect("a shipped query declares its parameters");
    let is_own = |name: &&String| params.iter().any(|param| param.name == **name);
    let given = values.keys().filter(is_own).map(|name| (name.clone(), values[name].clone())).collect();
    let plan = bind(session, text, &params, &given).await.expect("a shipped query is planned");
    let (_, batches) = sql::collect(session, plan, ROWS_MAX).await.expect("a shipped query answers");
    batches.iter().map(|batch| batch.num_rows()).sum()
}

/// The shipped queries: name and text.
fn queries() -> Vec<(String, String)> {
    let entries = std::fs::read_dir(place::root().join("queries")).expect("the folder of the queries");
    let mut found: Vec<(String, String)> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let is_sql = path.extension().is_some_and(|ending| ending == "sql");
            let name = path.file_name()?.to_str()?.to_owned();
            is_sql.then(|| (name, std::fs::read_to_string(&path).expect("a query is readable")))
        })
        .collect();
    found.sort();
    found
}

fn main() -> ExitCode {
    let mut recorder = Recorder::start("history");
    let (of_queries, of_one, of_gate) = ("history/shipped_queries", "history/one_benchmark", "history/gate");
    let wanted: Vec<bool> = [of_queries, of_one, of_gate].iter().map(|title| recorder.wants(title)).collect();
    let benches = recorder.scale().pick(BENCHES.0, BENCHES.1);
    recorder.param("rows", benches * COMMITS * (METRICS.len() * MACHINES.len()) as u32);
    recorder.param("seed", SEED);
    if !wanted.contains(&true) {
        return recorder.finish();
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let history = generate(folder.path(), benches);
    let session = history_session(&[history], &environment(MACHINES[0]).id(), None).expect("a session");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let rounds = recorder.rounds(ROUNDS);
    let start = Instant::now();
    if wanted[0] {
        let last = format!("G{:05}{}", COMMITS - 1, MACHINES[0]);
        let texts = [("run", last.as_str()), ("bench", &bench_id(3)), ("a", "G00010A"), ("b", &last)];
        let values = texts.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let mut slowest = Vec::with_capacity(rounds);
        for _ in 0..rounds {
            let times = queries().into_iter().map(|(name, text)| {
                let asked = Instant::now();
                runtime.block_on(ask(&session, &name, &text, &values));
                asked.elapsed().as_nanos() as f64
            });
            slowest.push(times.fold(0.0, f64::max));
        }
        recorder.add(Measurement::new(of_queries, "wall_ns", slowest).within(start.elapsed()));
    }
    if wanted[1] {
        let text = format!("SELECT commit_seq, value FROM bench_history('{}', 'wall_ns')", bench_id(3));
        let times = times_ns(rounds * 4, |_| {
            let rows = runtime.block_on(ask(&session, "one_benchmark", &text, &BTreeMap::new()));
            assert_eq!(rows, COMMITS as usize, "a value of every commit");
        });
        recorder.add(Measurement::new(of_one, "wall_ns", times).within(start.elapsed()));
    }
    if wanted[2] {
        let path = place::root().join("queries/gates/paired.sql");
        let text = std::fs::read_to_string(path).expect("the gate is readable");
        let gate = SqlGate::parse("paired.sql", &text).expect("the gate is right");
        let (given, warn_as_error) = (BTreeMap::new(), false);
        let times = times_ns(rounds * 4, |_| {
            let question = Question { run_id: PAIRS, given: &given, warn_as_error };
            let decision = runtime.block_on(gate.decide(&session, &question));
            assert_eq!((decision.error, decision.outcome), (None, Outcome::Pass), "equal sides");
        });
        recorder.add(Measurement::new(of_gate, "wall_ns", times).within(start.elapsed()));
    }
    recorder.finish()
}
