//! Results of other programs as rows of the benchmark history.
//!
//! ```text
//! paths --files--> text and its time --one parser per kind--> measurements --gather--> rows and raw samples
//!                                                |
//!                                                '--> Fault: line, what is there, remedy --> warning or IngestError
//! ```
//!
//! Parsers are pure: text in, measurements out; only `files` and the walk of criterion's folders touch the disk. Does not
//! know which run the rows belong to, which commit or which machine: that is added when the run is written.
//!
//! | Kind | Raw samples | Metrics |
//! |---|---|---|
//! | `criterion` | yes | `wall_ns`, or the one named in the options |
//! | `criterion-json` | yes | `wall_ns`, or the one that its unit says |
//! | `hyperfine` | yes | `wall_ns`; `rss_peak_bytes` where recorded; `cpu_ns` and `error_rate` as one number |
//! | `db-bench` | no | `wall_ns`, with quantiles if `--histogram` was on; `throughput` |
//! | `lm-eval` | no | one per score of a task, with its standard error |
//! | `hdr` | no | `wall_ns` with quantiles, `throughput`; one benchmark per tag |
//! | `rows` | if given | any |

mod criterion;
mod criterion_json;
mod db_bench;
mod fault;
mod files;
mod gather;
mod hdr;
mod histogram;
mod hyperfine;
mod kind;
mod lm_eval;
mod rows;
mod time;
mod units;

use super::{Micros, ResultRow, SampleRow, Side, Summary};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

pub use criterion::criterion_folder;
pub use fault::IngestError;
pub use kind::Kind;

use fault::Fault;
use gather::{Gathered, Measured, Parsed};

/// Largest file that is read, unless the options say otherwise: a hundred times what a long run writes.
pub const FILE_BYTES_MAX: u64 = 256 << 20;

/// Most raw samples of one benchmark, unless the options say otherwise: ten thousand times criterion's default.
pub const SAMPLES_MAX: usize = 1_000_000;

/// Most measurements of one call: far above any suite, and still in memory.
pub const MEASUREMENTS_MAX: usize = 1_000_000;

/// Longest id of a benchmark in bytes; a longer one is a whole command line or a text pasted by mistake.
pub const BENCH_ID_BYTES_MAX: usize = 512;

/// What the files do not say.
#[derive(Debug, Clone)]
pub struct IngestOptions {
    /// Suite of the rows that name none.
    pub suite: String,
    /// Repetition within the run of the first measurement of each benchmark.
    pub attempt: u16,
    /// Which side of a pair was measured.
    pub side: Side,
    /// Added to the params of every row; a file's own value of the same name wins.
    pub params: BTreeMap<String, String>,
    /// Added to the tags of every row; a file's own value of the same name wins.
    pub tags: BTreeMap<String, String>,
    /// `none`, `wal`, `wal_fsync` or `group_commit`, of rows that name none. Mandatory for suite `storage`.
    pub durability: Option<String>,
    /// What was measured, where the files do not say (`criterion`, `hdr`).
    pub metric: String,
    /// Its unit, where the files do not say (`criterion`, `hdr`).
    pub unit: String,
    /// Files of criterion that were last written before this time are left out: they are of earlier runs.
    pub newer_than: Option<SystemTime>,
    /// Largest file that is read, in bytes.
    pub file_bytes_max: u64,
    /// Most raw samples of one benchmark.
    pub samples_max: usize,
    /// Summary of raw samples, as the history's own producers make it.
    pub summarise: fn(&[f64]) -> Summary,
}

impl IngestOptions {
    /// Solo measurements of wall time in nanoseconds, first attempt, bounds as the constants of this module say.
    #[must_use]
    pub fn new(suite: &str, summarise: fn(&[f64]) -> Summary) -> Self {
        Self {
            suite: suite.to_owned(),
            attempt: 0,
            side: Side::Solo,
            params: BTreeMap::new(),
            tags: BTreeMap::new(),
            durability: None,
            metric: "wall_ns".to_owned(),
            unit: "ns".to_owned(),
            newer_than: None,
            file_bytes_max: FILE_BYTES_MAX,
            samples_max: SAMPLES_MAX,
            summarise,
        }
    }
}

/// What was found in the files.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Ingested {
    /// One row per benchmark, metric, side and attempt, sorted by these.
    pub results: Vec<ResultRow>,
    /// Raw samples of those that have any, in the same order.
    pub samples: Vec<SampleRow>,
    /// What was left out and why, each with its file and remedy, in file order.
    pub warnings: Vec<String>,
    /// Measurements that were found and cannot be recorded; each has a warning.
    pub left_out: u64,
    /// When the earliest measurement began; none without results.
    pub measured_at: Option<Micros>,
    /// blake3 of the options and of all files read, in hexadecimal: equal files give an equal hash, wherever they lie and
    /// whenever they were written.
    pub content_hash: String,
}

/// The measurements in `paths`, in one pass over each file.
///
/// For `criterion` a path is a folder: a project, its target folder, `target/criterion` or anything below. A missing,
/// malformed or half-written file there costs its benchmark and gives a warning. For every other kind a path is a file, and
/// what is malformed in it is an error. Equal measurements of one key (attempt, side, benchmark, metric) count once;
/// different ones are an error for `rows` and a warning for the others, of which the first is kept.
///
/// Two calls with the same files give the same answer. Memory: a few times the largest file.
pub fn ingest(kind: Kind, paths: &[PathBuf], options: &IngestOptions) -> Result<Ingested, IngestError> {
    check_options(options)?;
    if paths.is_empty() {
        return Err(IngestError::NoPath { kind });
    }
    let mut gathered = Gathered::new(kind, options);
    if kind == Kind::Criterion {
        criterion::ingest(paths, options, &mut gathered)?;
    } else {
        for path in files::distinct(paths)? {
            let file = files::read(&path, options.file_bytes_max)?;
            gathered.hash(file.text.as_bytes());
            let parsed = parse(kind, &path, &file.text, file.written_at, options);
            gathered.add(&path, parsed.map_err(|fault| fault.at(&path))?)?;
        }
    }
    Ok(gathered.finish())
}

/// The measurements in one text, as from a pipe. `name` stands for the file in messages, and `at` is when it was written.
/// `criterion` has no such form, as a benchmark of it is four files.
pub fn ingest_text(
    kind: Kind,
    name: &str,
    text: &str,
    at: Micros,
    options: &IngestOptions,
) -> Result<Ingested, IngestError> {
    check_options(options)?;
    let path = Path::new(name);
    let mut gathered = Gathered::new(kind, options);
    gathered.hash(text.as_bytes());
    let parsed = parse(kind, path, text, at, options).map_err(|fault| fault.at(path))?;
    gathered.add(path, parsed)?;
    Ok(gathered.finish())
}

fn parse(kind: Kind, path: &Path, text: &str, at: Micros, options: &IngestOptions) -> Result<Parsed, Fault> {
    match kind {
        Kind::Criterion => Err(Fault::new(None, "criterion's results are a folder", "name the folder")),
        Kind::CriterionJson => criterion_json::parse(text, at, options),
        Kind::Hyperfine => hyperfine::parse(text, at, options),
        Kind::LmEval => lm_eval::parse(text, at, options),
        Kind::DbBench => db_bench::parse(text, at, options),
        Kind::Hdr => {
            let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
            hdr::parse(text, &stem.unwrap_or_default(), at, options)
        }
        Kind::Rows => rows::parse(text, at, options),
    }
}

/// Refuses options that no row could carry, before any file is read.
fn check_options(options: &IngestOptions) -> Result<(), IngestError> {
    let refuse = |option: &'static str, fault: Fault| {
        Err(IngestError::Option { option, detail: fault.detail, help: fault.help })
    };
    if options.suite.trim().is_empty() {
        return refuse("suite", Fault::new(None, "the suite has no name", "name the suite of these rows"));
    }
    if let Some(durability) = &options.durability
        && let Err(fault) = units::check_durability(durability)
    {
        return refuse("durability", fault);
    }
    let unit = match units::unit(&options.unit) {
        Ok(unit) => unit,
        Err(fault) => return refuse("unit", fault),
    };
    match units::check_metric(&options.metric, unit.name) {
        Ok(()) => Ok(()),
        Err(fault) => refuse("metric", fault),
    }
}

/// A row with what the options say and nothing measured yet. `unit` is one of the history's own.
fn row(options: &IngestOptions, bench_id: String, metric: &str, unit: &str, at: Micros) -> ResultRow {
    ResultRow {
        attempt: options.attempt,
        side: options.side,
        suite: options.suite.clone(),
        bench_id,
        params: options.params.clone(),
        metric: metric.to_owned(),
        unit: unit.to_owned(),
        direction: units::direction(metric).unwrap_or(0),
        durability: options.durability.clone(),
        started_at: at,
        tags: options.tags.clone(),
        ..ResultRow::default()
    }
}

/// A measurement that is one number, without raw samples.
fn single(options: &IngestOptions, mut row: ResultRow, value: f64, line: Option<u64>) -> Measured {
    row.summary = (options.summarise)(&[value]);
    row.value = Some(value);
    Measured { line, row, samples: None }
}

/// A measurement with raw samples, `iters` iterations each. The caller has checked that there are any, that they are
/// finite, and as many as `iters`.
fn sampled(
    options: &IngestOptions,
    mut row: ResultRow,
    iters: Vec<u64>,
    values: Vec<f64>,
    line: Option<u64>,
) -> Measured {
    row.summary = (options.summarise)(&values);
    row.value = row.summary.median;
    row.iters_total = iters.iter().fold(0, |sum: u64, &count| sum.saturating_add(count));
    Measured { line, row, samples: Some((iters, values)) }
}

/// Values per iteration from iterations and total cost of each sample, in the unit's own; the counts become integers.
fn per_iteration(
    iters: &[f64],
    totals: &[f64],
    unit: &units::Unit,
    samples_max: usize,
) -> Result<(Vec<u64>, Vec<f64>), Fault> {
    if iters.len() != totals.len() {
        let detail =
            format!("{} iteration counts stand beside {} measured values", iters.len(), totals.len());
        return Err(Fault::new(None, detail, "run the benchmark again"));
    }
    check_sample_count(totals.len(), samples_max)?;
    let mut counts = Vec::with_capacity(iters.len());
    let mut values = Vec::with_capacity(iters.len());
    for (idx, (&count, &total)) in iters.iter().zip(totals).enumerate() {
        // Above 2^53 a double no longer counts one by one.
        let is_count = (1.0..=9_007_199_254_740_992.0).contains(&count) && count.fract() == 0.0;
        if !is_count {
            let detail = format!("sample {idx} has {count} iterations, expected a whole number from 1");
            return Err(Fault::new(None, detail, "run the benchmark again"));
        }
        if total <= 0.0 {
            let detail = format!("sample {idx} took {total}, expected more than nothing");
            return Err(Fault::new(
                None,
                detail,
                "make an iteration do more work than the clock can resolve",
            ));
        }
        counts.push(count as u64);
        values.push(unit.convert(total) / count);
    }
    Ok((counts, values))
}

fn check_sample_count(count: usize, samples_max: usize) -> Result<(), Fault> {
    if count == 0 {
        return Err(Fault::new(None, "no samples", "run the benchmark again"));
    }
    if count > samples_max {
        let detail = format!("{count} samples of one benchmark, at most {samples_max} are read");
        return Err(Fault::new(None, detail, "take fewer samples"));
    }
    Ok(())
}

/// Whole nanoseconds of a span that is not negative; what does not fit is the largest.
fn whole_ns(ns: f64) -> u64 {
    ns.max(0.0).round() as u64 // the cast saturates
}
