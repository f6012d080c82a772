//! One slice: one short run of one benchmark in a process of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use promptc_store::history::ingest::{IngestOptions, Kind, ingest};
use promptc_store::history::{NoiseProbe, Summary, summary};
use promptc_store::sql::stats;

use super::executable::Executable;
use super::fault;
use crate::error::EngineError;

/// Resamples of criterion's own intervals, which are not used: the fewest that it takes without a warning.
const RESAMPLES: &str = "1001";
/// A slice during which the load of the last minute rises by more than this is measured again.
const LOAD_RISE_MAX: f32 = 2.0;
/// A slice of which the hypervisor took more than this share is measured again.
const STEAL_SHARE_MAX: f64 = 0.05;

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
    /// 100 ms of warm-up, then 10 samples in 60 ms.
    #[must_use]
    pub fn short(scratch: PathBuf) -> Self {
        Self { warm_up: Duration::from_millis(100), measure: Duration::from_millis(60), samples: 10, scratch }
    }
}

/// Nanoseconds per iteration of one benchmark: the median of the slice's samples. A disturbed slice is measured once more, and
/// then taken as it is.
///
/// # Errors
/// A process that fails, or a benchmark that criterion does not measure.
pub(super) fn observe(executable: &Executable, title: &str, slicing: &Slicing) -> Result<f64, EngineError> {
    let load_before = load1();
    let probe = NoiseProbe::begin();
    let started = std::time::Instant::now();
    let first = observe_once(executable, title, slicing)?;
    let noise = probe.end();
    let steal_share = noise
        .steal_ms
        .map_or(0.0, |steal| f64::from(steal) / 1e3 / started.elapsed().as_secs_f64().max(1e-9));
    let load_rise = noise.load1.zip(load_before).map_or(0.0, |(after, before)| after - before);
    if load_rise > LOAD_RISE_MAX || steal_share > STEAL_SHARE_MAX {
        return observe_once(executable, title, slicing);
    }
    Ok(first)
}

fn load1() -> Option<f32> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

fn observe_once(executable: &Executable, title: &str, slicing: &Slicing) -> Result<f64, EngineError> {
    let criterion = slicing.scratch.join("criterion");
    clear(&criterion)?;
    let output = Command::new(&executable.path)
        .current_dir(&executable.folder)
        .args(["--bench", "--noplot", "--quiet", "--nresamples", RESAMPLES])
        .args(["--warm-up-time", &slicing.warm_up.as_secs_f64().to_string()])
        .args(["--measurement-time", &slicing.measure.as_secs_f64().to_string()])
        .args(["--sample-size", &slicing.samples.to_string()])
        .args(["--exact", title])
        .env("CRITERION_HOME", &criterion)
        // Benches that record their runs do it here, where nobody reads them.
        .env("PROMPTC_HISTORY", slicing.scratch.join("history"))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| fault(format!("{}: {error}", executable.path.display())))?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        let what = error.lines().last().unwrap_or_default();
        return Err(fault(format!("bench `{}`, `{title}`: {}: {what}", executable.target, output.status)));
    }
    let options = IngestOptions::new("pair", |values| summary(values, 0));
    let found = ingest(Kind::Criterion, std::slice::from_ref(&criterion), &options)
        .map_err(|error| unmeasured(executable, title, &error.to_string()))?;
    let mut values = match found.samples.as_slice() {
        [only] if !only.values.is_empty() => only.values.clone(),
        others => {
            let why = found.warnings.first().cloned();
            let why = why.unwrap_or_else(|| format!("{} benchmarks left samples", others.len()));
            return Err(unmeasured(executable, title, &why));
        }
    };
    values.sort_by(f64::total_cmp);
    Ok(stats::median(&values))
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
