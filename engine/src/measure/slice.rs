//! One slice: one short run of one benchmark in a process of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use promptc_store::history::ingest::{IngestOptions, Kind, ingest};
use promptc_store::history::{BuildInfo, NoiseProbe, Summary, summary};
use promptc_store::sql::stats;
use serde::Deserialize;

use super::executable::Executable;
use super::fault;
use crate::error::EngineError;

/// Resamples of criterion's own intervals, which are not used: the fewest that it takes without a warning.
const RESAMPLES: &str = "1001";
/// A slice during which the load of the last minute rises by more than this is measured again.
const LOAD_RISE_MAX: f32 = 2.0;
/// A slice of which the hypervisor took more than this share is measured again.
const STEAL_SHARE_MAX: f64 = 0.05;

/// Variable that asks a bench to be a slice, and what it leaves in criterion's folder if it knows it: see `benches/src/slice.rs`.
const SLICE_VARIABLE: &str = "PROMPTC_BENCH_SLICE";
const SLICE_FILE: &str = "slice.json";

/// How a slice is measured.
#[derive(Debug, Clone)]
pub struct Slicing {
    /// Time before the first sample.
    pub warm_up: Duration,
    /// Time for the samples.
    pub measure: Duration,
    /// Samples.
    pub samples: u32,
    /// Folder for criterion's files; emptied before each slice.
    pub scratch: PathBuf,
}

impl Slicing {
    /// 10 samples in `measure` after `warm_up`.
    #[must_use]
    pub fn new(warm_up: Duration, measure: Duration, scratch: PathBuf) -> Self {
        Self { warm_up, measure, samples: 10, scratch }
    }
}

/// What is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quantity {
    /// `wall_ns`; `cpu_ns` of a bench that measures its processor's time; what a bench without criterion says.
    pub metric: String,
    /// Unit of the values.
    pub unit: String,
    /// -1 if less is better, 1 if more is.
    pub direction: i8,
}

impl Quantity {
    fn time(metric: &str) -> Self {
        Self { metric: metric.to_owned(), unit: "ns".to_owned(), direction: -1 }
    }
}

impl Default for Quantity {
    fn default() -> Self {
        Self::time("wall_ns")
    }
}

/// What one slice says.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Observation {
    pub(super) quantity: Quantity,
    pub(super) value: f64,
    /// Wall time in nanoseconds beside the processor's.
    pub(super) wall_ns: Option<f64>,
    /// How the bench says it was built.
    pub(super) build: Option<BuildInfo>,
}

/// What came of a slice.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Slice {
    /// It was measured.
    Observed(Box<Observation>),
    /// Its subject is not in this build, and why.
    Skipped(String),
}

/// The median of a slice's samples. A disturbed slice is measured once more, and then taken as it is; by the time of its processor
/// none is disturbed.
///
/// # Errors
/// A process that fails, or a benchmark that leaves no measurement.
pub(super) fn observe(executable: &Executable, title: &str, slicing: &Slicing) -> Result<Slice, EngineError> {
    let load_before = load1();
    let probe = NoiseProbe::begin();
    let started = std::time::Instant::now();
    let first = observe_once(executable, title, slicing)?;
    let noise = probe.end();
    let steal_share = noise
        .steal_ms
        .map_or(0.0, |steal| f64::from(steal) / 1e3 / started.elapsed().as_secs_f64().max(1e-9));
    let load_rise = noise.load1.zip(load_before).map_or(0.0, |(after, before)| after - before);
    let is_disturbed = load_rise > LOAD_RISE_MAX || steal_share > STEAL_SHARE_MAX;
    let is_of_wall = matches!(&first, Slice::Observed(first) if first.quantity.metric != "cpu_ns");
    if is_disturbed && is_of_wall {
        return observe_once(executable, title, slicing);
    }
    Ok(first)
}

fn load1() -> Option<f32> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

fn observe_once(executable: &Executable, title: &str, slicing: &Slicing) -> Result<Slice, EngineError> {
    let criterion = slicing.scratch.join("criterion");
    clear(&criterion)?;
    let output = Command::new(&executable.path)
        .current_dir(&executable.folder)
        .args(["--bench", "--noplot", "--quiet", "--nresamples", RESAMPLES])
        .args(["--warm-up-time", &slicing.warm_up.as_secs_f64().to_string()])
        .args(["--measurement-time", &slicing.measure.as_secs_f64().to_string()])
        .args(["--sample-size", &slicing.samples.to_string()])
        .args(["--exact", title])
        .env(SLICE_VARIABLE, "1")
        .env("CRITERION_HOME", &criterion)
        // Benches of older builds, which know no slices, record their runs where nobody reads them.
        .env("PROMPTC_HISTORY", slicing.scratch.join("history"))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| fault(format!("{}: {error}", executable.path.display())))?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        let what = error.lines().last().unwrap_or_default();
        return Err(fault(format!("bench `{}`, `{title}`: {}: {what}", executable.target, output.status)));
    }
    let left = Left::read(&criterion.join(SLICE_FILE)).map_err(|why| unmeasured(executable, title, &why))?;
    if let Some((quantity, values)) = left.measurement(title) {
        let value = median(values);
        let observed = Observation { quantity, value, wall_ns: None, build: left.build };
        return Ok(Slice::Observed(Box::new(observed)));
    }
    if let Some(skipped) = left.skipped.into_iter().find(|skipped| skipped.title == title) {
        return Ok(Slice::Skipped(skipped.reason));
    }
    let options = IngestOptions::new("pair", |values| summary(values, 0));
    let found = ingest(Kind::Criterion, std::slice::from_ref(&criterion), &options)
        .map_err(|error| unmeasured(executable, title, &error.to_string()))?;
    let values = match found.samples.as_slice() {
        [only] if !only.values.is_empty() => only.values.clone(),
        others => {
            let why = found.warnings.first().cloned();
            let why = why.unwrap_or_else(|| format!("{} benchmarks left samples", others.len()));
            return Err(unmeasured(executable, title, &why));
        }
    };
    let value = median(values);
    let (quantity, wall_ns) = if left.clock == "cpu" {
        (Quantity::time("cpu_ns"), left.wall_per_cpu.map(|ratio| ratio * value))
    } else {
        (Quantity::default(), None)
    };
    Ok(Slice::Observed(Box::new(Observation { quantity, value, wall_ns, build: left.build })))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    stats::median(&values)
}

/// What a bench that knows slices left.
#[derive(Debug, Default, Deserialize)]
struct Left {
    /// `cpu` if criterion measured the processor's time.
    clock: String,
    /// Time that passed over time that the processor spent.
    wall_per_cpu: Option<f64>,
    /// What the bench measured without criterion.
    measurements: Vec<LeftMeasurement>,
    /// What it has no subject for; benches of older builds do not say.
    #[serde(default)]
    skipped: Vec<LeftSkipped>,
    /// How it was built, if it says so.
    build: Option<BuildInfo>,
}

#[derive(Debug, Deserialize)]
struct LeftSkipped {
    title: String,
    reason: String,
}

#[derive(Debug, Deserialize)]
struct LeftMeasurement {
    title: String,
    metric: String,
    unit: String,
    direction: i8,
    values: Vec<f64>,
}

impl Left {
    /// Nothing if there is no such file: a bench of another project.
    fn read(path: &Path) -> Result<Self, String> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error.to_string()),
        };
        serde_json::from_slice(&bytes).map_err(|error| format!("{SLICE_FILE}: {error}"))
    }

    /// The first measurement of a title that says which way is better.
    fn measurement(&self, title: &str) -> Option<(Quantity, Vec<f64>)> {
        let found = self
            .measurements
            .iter()
            .find(|one| one.title == title && one.direction != 0 && !one.values.is_empty())?;
        let LeftMeasurement { metric, unit, direction, values, .. } = found;
        let quantity = Quantity { metric: metric.clone(), unit: unit.clone(), direction: *direction };
        Some((quantity, values.clone()))
    }
}

fn unmeasured(executable: &Executable, title: &str, why: &str) -> EngineError {
    fault(format!(
        "bench `{}`, `{title}`: {why}; only benchmarks that criterion measures can be paired",
        executable.target
    ))
}

fn clear(folder: &Path) -> Result<(), EngineError> {
    let io = |source| EngineError::Program { path: folder.to_path_buf(), source };
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(error)),
        _ => {}
    }
    std::fs::create_dir_all(folder).map_err(io)
}

/// The observations of one side in short.
pub(super) fn in_short(values: &[f64], seed: u64) -> Summary {
    summary(values, seed)
}
