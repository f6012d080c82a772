//! Folders that criterion writes: per benchmark a folder `new` with four JSON files.
//!
//! Read as criterion 0.3 to 0.8 write them. criterion saves `tukey`, `sample`, `estimates` and, after the comparison with
//! the base line, `benchmark`; a run that is ended in between leaves files of two runs side by side. Their means differ
//! then, and the benchmark is skipped instead of being given times of one run and a slope of another.

use super::super::{Micros, bench_id};
use super::fault::Fault;
use super::gather::{Gathered, Measured, Parsed};
use super::units::shown;
use super::{IngestError, IngestOptions, files, per_iteration, row, sampled, units, whole_ns};
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use walkdir::WalkDir;

/// The files of one benchmark, in the order of [`Texts`].
pub(super) const FILES: [&str; 4] = ["benchmark.json", "sample.json", "estimates.json", "tukey.json"];

/// Deepest folder below the one that is searched. Criterion makes three levels, and `new`.
const DEPTH_MAX: usize = 32;

/// Most entries of the folders searched: far more than any project has benchmarks, and no walk of a whole disk.
const ENTRIES_MAX: usize = 1_000_000;

/// Relative difference of two computations of one mean.
const MEAN_TOLERANCE: f64 = 1e-6;

const RERUN: &str = "the benchmark is skipped; run it again";

/// The folder into which criterion writes: `criterion_home` (`CRITERION_HOME`), or `criterion` in `target_folder`
/// (`CARGO_TARGET_DIR`), or `target/criterion` of the project.
#[must_use]
pub fn criterion_folder(
    project: &Path,
    criterion_home: Option<&Path>,
    target_folder: Option<&Path>,
) -> PathBuf {
    match (criterion_home, target_folder) {
        (Some(home), _) => project.join(home),
        (None, Some(target)) => project.join(target).join("criterion"),
        (None, None) => project.join("target").join("criterion"),
    }
}

/// All benchmarks below `paths`.
pub(super) fn ingest(
    paths: &[PathBuf],
    options: &IngestOptions,
    gathered: &mut Gathered,
) -> Result<(), IngestError> {
    let mut seen = BTreeSet::new();
    let mut too_old = 0_usize;
    for path in paths {
        let folders = find(path, gathered)?;
        if folders.is_empty() {
            return Err(IngestError::NothingFound { path: path.clone() });
        }
        for folder in folders {
            let real = fs::canonicalize(&folder).unwrap_or_else(|_| folder.clone());
            if !seen.insert(real) {
                continue;
            }
            match read_one(&folder, options, gathered) {
                Ok(Some((parsed, sample))) => gathered.add(&sample, parsed)?,
                Ok(None) => too_old += 1,
                Err(error) => gathered.warn_of(&error, RERUN),
            }
        }
    }
    if too_old > 0 && too_old == seen.len() {
        let detail = format!("all {too_old} benchmarks were last measured before this run began");
        gathered.warn(&paths[0], Fault::new(None, detail, "see whether the benchmarks ran at all"));
    }
    Ok(())
}

/// Folders `new` of benchmarks in byte order. A group or function may itself be called `new`; a benchmark's has files.
fn find(path: &Path, gathered: &mut Gathered) -> Result<Vec<PathBuf>, IngestError> {
    let unreadable = |source| IngestError::Unreadable { path: path.to_path_buf(), source };
    let is_file = fs::metadata(path).map_err(unreadable)?.is_file();
    if is_file && FILES.iter().any(|name| path.ends_with(name)) {
        return Ok(path.parent().map(Path::to_path_buf).into_iter().collect());
    }
    if is_file {
        return Err(IngestError::NothingFound { path: path.to_path_buf() });
    }
    let inner = [path.join("target").join("criterion"), path.join("criterion")];
    let root = inner.iter().find(|folder| folder.is_dir()).map_or(path, PathBuf::as_path);
    let mut folders = Vec::new();
    for (count, entry) in WalkDir::new(root).max_depth(DEPTH_MAX).sort_by_file_name().into_iter().enumerate()
    {
        if count >= ENTRIES_MAX {
            return Err(IngestError::TooMany { path: path.to_path_buf(), count_max: ENTRIES_MAX });
        }
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => {
                let place = error.path().unwrap_or(root).to_path_buf();
                gathered.warn(&place, Fault::new(None, error.to_string(), "check its permissions"));
                continue;
            }
        };
        let is_new = entry.file_type().is_dir() && entry.path().file_name().is_some_and(|name| name == "new");
        if is_new && (holds_files(entry.path()) || is_bare(entry.path())) {
            folders.push(entry.into_path());
        }
    }
    Ok(folders)
}

fn holds_files(folder: &Path) -> bool {
    FILES.iter().any(|name| folder.join(name).symlink_metadata().is_ok())
}

/// Without any folder in it: made by criterion just before a run was ended.
fn is_bare(folder: &Path) -> bool {
    fs::read_dir(folder)
        .is_ok_and(|mut entries| entries.all(|entry| entry.is_ok_and(|entry| !entry.path().is_dir())))
}

/// One benchmark, with the file that its samples are from; none if it is of an earlier run.
fn read_one(
    folder: &Path,
    options: &IngestOptions,
    gathered: &mut Gathered,
) -> Result<Option<(Parsed, PathBuf)>, IngestError> {
    let paths = FILES.map(|name| folder.join(name));
    let read = |path: &PathBuf| files::read(path, options.file_bytes_max);
    let sample = read(&paths[1])?;
    if let (Some(bound), Some(modified)) = (options.newer_than, sample.modified)
        && modified < bound
    {
        return Ok(None);
    }
    let (benchmark, estimates, tukey) = (read(&paths[0])?, read(&paths[2])?, read(&paths[3])?);
    for (path, file) in [(&paths[0], &benchmark), (&paths[2], &estimates), (&paths[3], &tukey)] {
        if let (Some(bound), Some(modified)) = (options.newer_than, file.modified)
            && modified < bound
        {
            let fault = Fault::new(None, "older than the samples beside it: a run was ended half-way", RERUN);
            return Err(fault.at(path));
        }
    }
    let texts = Texts {
        benchmark: &benchmark.text,
        sample: &sample.text,
        estimates: &estimates.text,
        tukey: &tukey.text,
    };
    let parsed = parse(&texts, sample.written_at, options).map_err(|(idx, fault)| fault.at(&paths[idx]))?;
    for text in [texts.benchmark, texts.sample, texts.estimates, texts.tukey] {
        gathered.hash(text.as_bytes());
    }
    Ok(Some((parsed, paths[1].clone())))
}

/// The four files of one benchmark.
struct Texts<'t> {
    benchmark: &'t str,
    sample: &'t str,
    estimates: &'t str,
    tukey: &'t str,
}

#[derive(Deserialize)]
struct Benchmark {
    group_id: String,
    #[serde(default)]
    function_id: Option<String>,
    #[serde(default)]
    value_str: Option<String>,
    #[serde(default)]
    throughput: Option<BTreeMap<String, Value>>,
    #[serde(default)]
    full_id: Option<String>,
    #[serde(default)]
    title: Option<String>,
}

#[derive(Deserialize)]
struct Sample {
    iters: Vec<f64>,
    times: Vec<f64>,
}

#[derive(Deserialize)]
struct Estimates {
    #[serde(alias = "Mean")]
    mean: Estimate,
    #[serde(default, alias = "Slope")]
    slope: Option<Estimate>,
}

#[derive(Deserialize)]
struct Estimate {
    point_estimate: f64,
}

/// The measurement of one benchmark, or which of [`FILES`] is at fault.
fn parse(texts: &Texts<'_>, written_at: Micros, options: &IngestOptions) -> Result<Parsed, (usize, Fault)> {
    let in_file = |idx: usize| move |error: serde_json::Error| (idx, Fault::json(&error, 1, RERUN));
    let benchmark: Benchmark = serde_json::from_str(texts.benchmark).map_err(in_file(0))?;
    let sample: Sample = serde_json::from_str(texts.sample).map_err(in_file(1))?;
    let estimates: Estimates = serde_json::from_str(texts.estimates).map_err(in_file(2))?;
    let fences: [f64; 4] = serde_json::from_str(texts.tukey).map_err(in_file(3))?;
    if !fences.is_sorted() {
        return Err((3, Fault::new(Some(1), "the four fences do not ascend", RERUN)));
    }
    let unit = units::unit(&options.unit).map_err(|fault| (1, fault))?;
    let (iters, values) = per_iteration(&sample.iters, &sample.times, &unit, options.samples_max)
        .map_err(|fault| (1, fault.on(1)))?;
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let stated = unit.convert(estimates.mean.point_estimate);
    if (mean - stated).abs() > MEAN_TOLERANCE * mean.abs() {
        let detail = format!("mean {stated}, but the samples beside it have {mean}: files of two runs");
        return Err((2, Fault::new(Some(1), detail, RERUN)));
    }

    let total_ns = whole_ns(sample.times.iter().sum::<f64>() * unit.factor);
    let is_time = unit.name == "ns";
    let began_at =
        if is_time { written_at - Micros::try_from(total_ns / 1_000).unwrap_or(0) } else { written_at };
    let mut parsed = Parsed::default();
    let mut row = row(options, bench_id(&full_title(&benchmark)), &options.metric, unit.name, began_at);
    // What criterion measures is a cost, whatever a project calls it.
    row.direction = units::direction(&options.metric).unwrap_or(-1);
    row.measure_ns = if is_time { total_ns } else { 0 };
    row.slope = estimates.slope.map(|slope| unit.convert(slope.point_estimate));
    match benchmark.throughput.as_ref().map(throughput) {
        None => {}
        Some(Some((count, unit))) => {
            row.throughput_per_iter = Some(count);
            row.throughput_unit = Some(unit);
        }
        Some(None) => {
            let detail = format!("benchmark `{}` has a throughput of no known form", shown(&row.bench_id));
            parsed.warnings.push(Fault::new(
                Some(1),
                detail,
                "its times are kept, the throughput is left out",
            ));
        }
    }
    let measured: Measured = sampled(options, row, iters, values, Some(1));
    parsed.measured.push(measured);
    Ok(parsed)
}

/// The title in full. criterion cuts the one that it stores at 100 bytes, and numbers those that occur twice in a run.
fn full_title(benchmark: &Benchmark) -> String {
    let full = benchmark.full_id.clone().unwrap_or_else(|| {
        let parts = [Some(&benchmark.group_id), benchmark.function_id.as_ref(), benchmark.value_str.as_ref()];
        parts.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join("/")
    });
    let number = benchmark.title.as_deref().and_then(|title| title.strip_prefix(full.as_str()));
    match number {
        Some(number) if number.starts_with(" #") => full + number,
        _ => full,
    }
}

/// Units of work of one iteration, as `{"Bytes": 512}` or `{"ElementsAndBytes": {"elements": 1, "bytes": 8}}`.
fn throughput(stored: &BTreeMap<String, Value>) -> Option<(u64, String)> {
    let (name, count) = stored.first_key_value()?;
    let (count, unit) = match name.as_str() {
        "Bytes" | "BytesDecimal" => (count.as_u64()?, "bytes"),
        "Elements" => (count.as_u64()?, "elements"),
        "Bits" => (count.as_u64()?, "bits"),
        "ElementsAndBytes" => (count.get("elements")?.as_u64()?, "elements"),
        _ => return None,
    };
    Some((count, unit.to_owned()))
}
