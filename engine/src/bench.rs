//! Benches of programs: the same run again and again, each time into numbers for the benchmark history.
//!
//! ```text
//! what does not depend on `data`  --once-->  prepared store --copied for each repetition--> run --metrics--> result rows
//! ```
//!
//! One [`ResultRow`] per repetition, subject and metric, and beside them the wall time, the processor time and the largest
//! memory of the repetition. A repetition that fails is a row with its reason, never a gap. Nothing is written here: the
//! caller puts the rows into a history.
//!
//! # Decisions
//! - **What does not depend on `data` is made once**, before the first repetition, and copied. A bench of questions over
//!   documents measures the questions: building the documents' index in each of five repetitions would cost minutes
//!   and add nothing but noise. Opening the index is part of a repetition.
//! - **Each repetition has a store of its own**, so no row, stream or index of an earlier one can be found. With
//!   `cache = warm` the repetitions share a store in which only the cache of rows is kept.
//! - **`plan_hash` says nothing of files.** `data_hash` does; together they tell a changed program from changed data.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use promptc_compiler::graph::{Graph, NodeId};
use promptc_compiler::hir::{Bench, Hir, Measured};
use promptc_compiler::op::{Expr, Op};
use promptc_store::history::{Micros, NoiseProbe, ResultRow, Status, code_hash};
use promptc_store::open::{CACHE_BYTES_DEFAULT, Store, StoreOptions};

use crate::context::{Cancel, Events};
use crate::error::EngineError;
use crate::run::RunOptions;
use crate::run::measured::{GraphInputs, Surroundings};
use crate::store_errors;

mod folders;
mod metrics;
mod process;

/// What a measurement needs besides the bench.
#[derive(Debug)]
pub struct Setup<'a> {
    /// The checked program.
    pub hir: &'a Hir,
    /// Settings of the runs; targets and limits are ignored.
    pub options: &'a RunOptions,
    /// A folder for stores, which must exist; what is in it afterwards can be removed.
    pub scratch: &'a Path,
    /// Repetitions instead of the bench's own.
    pub repeat: Option<u32>,
    /// Listens to the runs.
    pub events: Arc<dyn Events>,
    /// Stops them.
    pub cancel: Cancel,
}

/// What was measured.
#[derive(Debug, Clone, Default)]
pub struct Measurement {
    /// By repetition, then metric in the order of the program.
    pub results: Vec<ResultRow>,
    /// Why repetitions failed, each reason once.
    pub faults: Vec<String>,
}

impl Measurement {
    /// Whether every row has a value.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.results.iter().all(|row| row.status == Status::Ok)
    }
}

/// The suite, bench and subject of a bench as one id: `suite/bench/subject`. The bench's name is as declared.
#[must_use]
pub fn bench_id(bench: &Bench, subject: &str) -> String {
    format!("{}/{}/{subject}", suite(bench), local_name(&bench.name))
}

/// The suite that a bench records under; `unrecorded` without `record`. No `/`, so that ids keep three segments.
#[must_use]
pub fn suite(bench: &Bench) -> String {
    let name = bench.suite.as_deref().map(str::trim).filter(|name| !name.is_empty());
    name.unwrap_or("unrecorded").replace('/', "_")
}

/// The name of a declaration without that of its import.
#[must_use]
pub fn local_name(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// Measures one bench. Faults of repetitions are rows of the result.
///
/// # Errors
/// [`EngineError::Interrupted`], and a scratch folder that cannot be used.
pub async fn measure(setup: &Setup<'_>, bench: &Bench) -> Result<Measurement, EngineError> {
    let Some(measured) = &bench.measured else {
        let what = format!("`subject` of bench `{}`", bench.name);
        let error = EngineError::Unavailable { area: "learn".to_owned(), what };
        return Ok(absent(setup, bench, &error));
    };
    let prepared = match Prepared::new(setup, bench, measured).await {
        Ok(prepared) => prepared,
        Err(EngineError::Interrupted) => return Err(EngineError::Interrupted),
        Err(error @ EngineError::Unavailable { .. }) => return Ok(absent(setup, bench, &error)),
        Err(error) => return Ok(failed(setup, bench, &error)),
    };
    let mut found = Measurement::default();
    let warm_up = if bench.is_warm { bench.warm_up.max(1) } else { bench.warm_up };
    let mut warmup_ns = 0;
    for _ in 0..warm_up {
        let started = Instant::now();
        match prepared.repeat(0).await {
            Err(EngineError::Interrupted) => return Err(EngineError::Interrupted),
            // The repetitions will fail in the same way, and say so.
            _ => warmup_ns += nanoseconds(started),
        }
    }
    for attempt in 0..repetitions(setup, bench) {
        match prepared.repeat(attempt).await {
            Ok(rows) => found.results.extend(rows.into_iter().map(|row| ResultRow { warmup_ns, ..row })),
            Err(EngineError::Interrupted) => return Err(EngineError::Interrupted),
            Err(error) => {
                let rows = prepared.blank(attempt);
                found.results.extend(rows.into_iter().map(|row| without_value(row, Status::Failed, &error)));
            }
        }
    }
    found.gather_faults();
    Ok(found)
}

impl Measurement {
    fn gather_faults(&mut self) {
        let reasons: BTreeSet<String> = self.results.iter().filter_map(|row| row.error.clone()).collect();
        self.faults = reasons.into_iter().collect();
    }
}

fn repetitions(setup: &Setup<'_>, bench: &Bench) -> u16 {
    let wanted = setup.repeat.unwrap_or(bench.repeat).max(1);
    u16::try_from(wanted).unwrap_or(u16::MAX)
}

/// Rows of a bench whose subject this build does not have: skipped, with the reason.
fn absent(setup: &Setup<'_>, bench: &Bench, error: &EngineError) -> Measurement {
    all_rows(setup, bench, Status::Skipped, error)
}

/// Rows of a bench that could not begin.
fn failed(setup: &Setup<'_>, bench: &Bench, error: &EngineError) -> Measurement {
    all_rows(setup, bench, Status::Failed, error)
}

fn all_rows(setup: &Setup<'_>, bench: &Bench, status: Status, error: &EngineError) -> Measurement {
    let known = Known::of(setup, bench);
    let rows = (0..repetitions(setup, bench)).flat_map(|attempt| known.blank(bench, attempt, now()));
    let mut found = Measurement {
        results: rows.map(|row| without_value(row, status, error)).collect(),
        faults: Vec::new(),
    };
    found.gather_faults();
    found
}

fn without_value(row: ResultRow, status: Status, error: &EngineError) -> ResultRow {
    ResultRow { status, error: Some(format!("{}: {error}", error.code())), value: None, ..row }
}

/// What is the same in all rows of a bench.
struct Known {
    params: BTreeMap<String, String>,
    plan_hash: Option<String>,
    data_hash: Option<String>,
    code_hash: Option<String>,
    seed: Option<u64>,
}

impl Known {
    fn of(setup: &Setup<'_>, bench: &Bench) -> Self {
        let seed = bench.measured.as_ref().and_then(|measured| lowest_seed(&measured.graph));
        // Who cannot read its own executable measures all the same.
        let code_hash = std::env::current_exe().ok().and_then(|path| code_hash(&path).ok());
        Self { params: params(setup.hir, bench), plan_hash: None, data_hash: None, code_hash, seed }
    }

    /// The rows of one repetition before their values are known: one per subject and metric.
    fn blank(&self, bench: &Bench, attempt: u16, started_at: Micros) -> Vec<ResultRow> {
        let row = |subject: &str, (name, expr, direction): &(String, Expr, i8)| ResultRow {
            attempt,
            suite: suite(bench),
            bench_id: bench_id(bench, subject),
            params: self.params.clone(),
            metric: name.clone(),
            unit: metrics::unit(&expr.ty).to_owned(),
            direction: *direction,
            plan_hash: self.plan_hash.clone(),
            data_hash: self.data_hash.clone(),
            code_hash: self.code_hash.clone(),
            subject: Some(subject.to_owned()),
            seed: self.seed,
            started_at,
            ..ResultRow::default()
        };
        let subjects = bench.subjects.iter();
        subjects.flat_map(|subject| bench.metrics.iter().map(|metric| row(subject, metric))).collect()
    }
}

/// All params of the program, the name of the data and what restricts it, and the number of threads.
fn params(hir: &Hir, bench: &Bench) -> BTreeMap<String, String> {
    let own = bench.data.iter().map(|name| ("data".to_owned(), name.clone()));
    let own = own.chain(bench.restricted.iter().cloned());
    let own = own.chain(bench.is_warm.then(|| ("cache".to_owned(), "warm".to_owned())));
    let threads = ("threads".to_owned(), rayon::current_num_threads().to_string());
    let mut all: BTreeMap<String, String> = own.chain([threads]).collect();
    for param in &hir.params {
        let name =
            if all.contains_key(&param.name) { format!("param.{}", param.name) } else { param.name.clone() };
        all.insert(name, metrics::param_text(&param.value));
    }
    all
}

/// The lowest seed of the operators; parts of splits are data.
fn lowest_seed(graph: &Graph) -> Option<u64> {
    let seed = |op: &Op| match op {
        Op::Sample { seed, .. } => Some(*seed),
        Op::Embed { embedder, .. } | Op::FitIdf { embedder, .. } => Some(embedder.seed),
        Op::FitScorer(fit) => Some(fit.seed),
        Op::FitFusion(fit) => Some(fit.seed),
        Op::Index(index) => index.seed,
        _ => None,
    };
    graph.nodes.iter().filter_map(|node| seed(&node.op)).min()
}

/// A bench with its store prepared.
struct Prepared<'a> {
    setup: &'a Setup<'a>,
    bench: &'a Bench,
    measured: &'a Measured,
    inputs: GraphInputs<'a>,
    known: Known,
    /// The store with everything that does not depend on the data; closed.
    base: PathBuf,
    /// Names of the streams and indexes in it.
    kept: BTreeSet<PathBuf>,
}

impl<'a> Prepared<'a> {
    async fn new(
        setup: &'a Setup<'a>,
        bench: &'a Bench,
        measured: &'a Measured,
    ) -> Result<Self, EngineError> {
        let inputs = GraphInputs::new(setup.hir, &measured.graph, setup.options)?;
        let base = setup.scratch.join("prepared");
        folders::clear(&base)?;
        let roots = independent(&measured.graph, measured.data, measured.run);
        let around =
            Surroundings { events: setup.events.clone(), cancel: setup.cancel.clone(), times_rows: false };
        let store = open(&base)?;
        if !roots.is_empty() {
            inputs.run(&roots, store.clone(), &around).await?;
        }
        drop(store);
        let mut known = Known::of(setup, bench);
        known.plan_hash = Some(inputs.plan_hash(&[measured.run]).to_string());
        known.data_hash = Some(inputs.data_hash(&[measured.run]).to_string());
        let kept = folders::results(&base)?;
        Ok(Self { setup, bench, measured, inputs, known, base, kept })
    }

    fn blank(&self, attempt: u16) -> Vec<ResultRow> {
        self.known.blank(self.bench, attempt, now())
    }

    /// One repetition: a run and its metrics.
    async fn repeat(&self, attempt: u16) -> Result<Vec<ResultRow>, EngineError> {
        let dir = self.setup.scratch.join("repetition");
        if self.bench.is_warm && dir.exists() {
            folders::remove_results(&dir, &self.kept)?;
        } else {
            folders::clear(&dir)?;
            folders::copy(&self.base, &dir)?;
        }
        let rows = self.run(attempt, &dir).await;
        if !self.bench.is_warm {
            folders::clear(&dir)?;
        }
        rows
    }

    async fn run(&self, attempt: u16, dir: &Path) -> Result<Vec<ResultRow>, EngineError> {
        let mut rows = self.blank(attempt);
        let store = open(dir)?;
        let around = Surroundings {
            events: self.setup.events.clone(),
            cancel: self.setup.cancel.clone(),
            times_rows: metrics::reads_latency(self.bench),
        };
        let probe = NoiseProbe::begin();
        let meter = process::Meter::start();
        let output = self.inputs.run(&[self.measured.run], store, &around).await?;
        let cost = meter.stop();
        let noise = probe.end();
        metrics::fill(&mut rows, self.bench, &output, self.setup.options, dir).await?;
        for row in &mut rows {
            row.measure_ns = cost.wall_ns;
            row.iters_total = 1;
            row.noise = noise.clone();
        }
        rows.extend(self.costs(&rows, &cost));
        Ok(rows)
    }

    /// Time and memory of a repetition, for information; a metric of the program with the same name wins.
    fn costs(&self, rows: &[ResultRow], cost: &process::Cost) -> Vec<ResultRow> {
        let Some(first) = rows.first() else { return Vec::new() };
        let all = [
            ("wall_ns", "ns", Some(cost.wall_ns)),
            ("cpu_ns", "ns", cost.cpu_ns),
            ("rss_peak_bytes", "bytes", cost.rss_peak_bytes),
        ];
        let row = |(metric, unit, value): (&str, &str, Option<u64>)| {
            let is_taken = rows.iter().any(|row| row.metric == metric);
            let value = value.filter(|_| !is_taken)? as f64;
            Some(ResultRow {
                metric: metric.to_owned(),
                unit: unit.to_owned(),
                direction: 0,
                value: Some(value),
                summary: metrics::single(value),
                status: Status::Ok,
                error: None,
                ..first.clone()
            })
        };
        all.into_iter().filter_map(row).collect()
    }
}

/// What the run reads, directly or not, without depending on the data: the nodes next to those that do.
fn independent(graph: &Graph, data: NodeId, run: NodeId) -> Vec<NodeId> {
    let mut depends = BTreeSet::from([data]);
    for node in &graph.nodes {
        if node.inputs.iter().any(|input| depends.contains(input)) {
            depends.insert(node.id);
        }
    }
    if !depends.contains(&run) {
        return Vec::new();
    }
    let of_run = graph.nodes.iter().filter(|node| node.id > data && depends.contains(&node.id));
    let inputs = of_run.flat_map(|node| node.inputs.iter().copied());
    let border: BTreeSet<NodeId> = inputs.filter(|input| !depends.contains(input)).collect();
    let is_source = |id: &NodeId| matches!(graph.node(*id).op, Op::Scan(_) | Op::Rows { .. });
    border.into_iter().filter(|id| !is_source(id)).collect()
}

fn open(dir: &Path) -> Result<Arc<Store>, EngineError> {
    let options = StoreOptions { cache_bytes: CACHE_BYTES_DEFAULT, read_only: false };
    Ok(Arc::new(Store::open(dir, &options).map_err(store_errors::open)?))
}

/// The id of a run that follows from what it holds: 48 bits of milliseconds, then 80 bits of a hash, in the form of all run
/// ids. The same content at the same time has the same id.
#[must_use]
pub fn run_id_of(at: Micros, content: &str) -> String {
    const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let millis = u128::try_from(at / 1_000).unwrap_or(0) & ((1 << 48) - 1);
    let hash = blake3::hash(content.as_bytes());
    let hash = hash.as_bytes().iter().take(10).fold(0u128, |hash, byte| (hash << 8) | u128::from(*byte));
    let id = (millis << 80) | hash;
    (0..26).rev().map(|place| char::from(DIGITS[(id >> (5 * place)) as usize & 31])).collect()
}

/// The time of day in microseconds since 1970.
#[must_use]
pub fn now() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Micros::try_from(since.as_micros()).unwrap_or(Micros::MAX)
}

fn nanoseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use promptc_store::history::run_id_time;

    use super::*;

    #[test]
    fn the_same_content_has_the_same_id_and_its_time_is_in_it() {
        let at = 1_790_000_000_123_000;
        let id = run_id_of(at, "a");
        assert_eq!(run_id_time(&id), Some(at));
        assert_eq!(id, run_id_of(at, "a"));
        assert_ne!(id, run_id_of(at, "b"));
    }
}
