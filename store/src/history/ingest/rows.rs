//! JSON lines with the columns of `results`, and of `samples` for the raw values: for programs in any language.
//!
//! ```text
//! {"bench_id": "parse/json/1mb", "metric": "wall_ns", "unit": "ms", "values": [1.92, 1.95, 1.91]}
//! {"bench_id": "parse/json/1mb", "metric": "accuracy", "unit": "%", "value": 99.5}
//! ```
//!
//! Numbers are in the unit that the line names, and become the history's own. What is not given is computed from `values`,
//! taken from the options, or left empty. Columns that only the run can know (commit, environment) are refused, and so is
//! a column that the tables do not have: a misspelt one would be lost in silence.

use super::super::{Micros, Noise, ResultRow, Side, Status, Summary, bench_id};
use super::fault::Fault;
use super::gather::{Measured, Parsed, Samples};
use super::units::{self, Unit, nearest, shown};
use super::{IngestOptions, check_sample_count, row, time};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::BTreeMap;

const HELP: &str = "write one JSON object per line, with columns of `results`";

/// Columns of a run, which are filled in when it is written.
const OF_THE_RUN: [&str; 10] = [
    "run_id",
    "git_sha",
    "git_parent",
    "git_branch",
    "pr",
    "commit_time",
    "commit_seq",
    "git_dirty",
    "env_id",
    "history_id",
];

/// A time as microseconds or as text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Time {
    Micros(i64),
    Text(String),
}

/// A param or tag, which becomes text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Param {
    Text(String),
    Integer(i64),
    Number(f64),
    Flag(bool),
}

/// Declares the columns once: as fields to be read, and as names to be compared.
macro_rules! columns {
    ($($name:ident: $kind:ty,)*) => {
        #[derive(Deserialize)]
        struct Line {
            $(#[serde(default)] $name: Option<$kind>,)*
        }

        const COLUMNS: &[&str] = &[$(stringify!($name),)*];
    };
}

columns! {
    schema_version: u64,
    attempt: u16,
    pair_id: String,
    side: String,
    suite: String,
    bench_id: String,
    params: BTreeMap<String, Param>,
    metric: String,
    unit: String,
    direction: i8,
    n_samples: u32,
    iters_total: u64,
    value: f64,
    mean: f64,
    stddev: f64,
    mad: f64,
    min: f64,
    p05: f64,
    p25: f64,
    p75: f64,
    p90: f64,
    p95: f64,
    p99: f64,
    p999: f64,
    max: f64,
    ci_low: f64,
    ci_high: f64,
    ci_level: f64,
    slope: f64,
    outliers_low: u32,
    outliers_high: u32,
    throughput_per_iter: u64,
    throughput_unit: String,
    warmup_ns: u64,
    measure_ns: u64,
    status: String,
    error: String,
    durability: String,
    code_hash: String,
    plan_hash: String,
    data_hash: String,
    subject: String,
    seed: u64,
    target_value: f64,
    target_op: String,
    started_at: Time,
    load1: f32,
    ctx_switches_invol: f32,
    steal_ms: f32,
    cpu_mhz_mean: f32,
    temp_c: f32,
    tags: BTreeMap<String, Param>,
    iters: Vec<u64>,
    values: Vec<f64>,
}

/// One measurement per line; the first line that is not one ends the file.
pub(super) fn parse(text: &str, at: Micros, options: &IngestOptions) -> Result<Parsed, Fault> {
    let mut parsed = Parsed::default();
    for (number, content) in (1..).zip(text.lines()) {
        if content.trim().is_empty() {
            continue;
        }
        let columns: BTreeMap<String, IgnoredAny> =
            serde_json::from_str(content).map_err(|error| Fault::json(&error, number, HELP))?;
        columns.keys().try_for_each(|name| check_column(name)).map_err(|fault| fault.on(number))?;
        let line: Line = serde_json::from_str(content).map_err(|error| of_type(&error, content, number))?;
        let mut measured = measured(line, at, options).map_err(|fault| fault.on(number))?;
        measured.line = Some(number);
        parsed.measured.push(measured);
    }
    if parsed.measured.is_empty() {
        return Err(Fault::new(None, "no line with a measurement", HELP));
    }
    Ok(parsed)
}

fn check_column(name: &str) -> Result<(), Fault> {
    if OF_THE_RUN.contains(&name) {
        let detail = format!("column `{name}` is of the run, not of a measurement");
        return Err(Fault::new(None, detail, "leave it out; it is filled in when the run is written"));
    }
    if COLUMNS.contains(&name) {
        return Ok(());
    }
    let help =
        format!("the nearest is `{}`; what changes the work goes into `params`", nearest(name, COLUMNS));
    Err(Fault::new(None, format!("column `{}` is not known", shown(name)), help))
}

/// A column with another type: the last one that begins before the place of the error.
fn of_type(error: &serde_json::Error, content: &str, number: u64) -> Fault {
    let mut end = error.column().min(content.len());
    while !content.is_char_boundary(end) {
        end -= 1;
    }
    let place = |name: &&&str| content[..end].rfind(&format!("\"{name}\""));
    let mut fault = Fault::json(error, number, HELP);
    if let Some(name) = COLUMNS.iter().filter(|name| place(name).is_some()).max_by_key(place) {
        fault.detail = format!("column `{name}`: {}", fault.detail);
    }
    fault
}

fn measured(mut line: Line, at: Micros, options: &IngestOptions) -> Result<Measured, Fault> {
    let needed = |name: &str, text: Option<String>| {
        text.ok_or_else(|| Fault::new(None, format!("column `{name}` is missing"), HELP))
    };
    let (bench, metric) = (needed("bench_id", line.bench_id.take())?, needed("metric", line.metric.take())?);
    let unit = units::unit(&needed("unit", line.unit.take())?)?;
    units::check_metric(&metric, unit.name)?;
    if line.schema_version.is_some_and(|version| version != 1) {
        return Err(Fault::new(None, "`schema_version` is not 1", "write the rows for this version"));
    }
    let mut row = row(options, bench_id(&bench), &metric, unit.name, at);
    row.direction = direction(line.direction, &metric)?;
    row.status = word(line.status.take(), "status", Status::parse, "ok, failed, timeout, skipped")?;
    row.side = match line.side.take() {
        None => options.side,
        side => word(side, "side", Side::parse, "solo, base, cand, aa")?,
    };
    row.attempt = line.attempt.unwrap_or(options.attempt);
    row.suite = line.suite.take().filter(|suite| !suite.is_empty()).unwrap_or_else(|| options.suite.clone());
    row.params.extend(texts(line.params.take()));
    row.tags.extend(texts(line.tags.take()));
    row.started_at = match &line.started_at {
        None => at,
        Some(time) => started_at(time)?,
    };
    row.noise = noise(&line);
    set_promises(&mut row, &mut line, &unit)?;
    set_texts(&mut row, &mut line)?;
    let samples = set_values(&mut row, line, &unit, options)?;
    Ok(Measured { line: None, row, samples })
}

/// The value, its summary and the raw samples.
fn set_values(
    row: &mut ResultRow,
    line: Line,
    unit: &Unit,
    options: &IngestOptions,
) -> Result<Option<Samples>, Fault> {
    let fault = |detail: String, help: &str| Err(Fault::new(None, detail, help));
    let values: Option<Vec<f64>> =
        line.values.as_ref().map(|values| values.iter().map(|&value| unit.convert(value)).collect());
    if let Some(values) = &values {
        check_sample_count(values.len(), options.samples_max)?;
    }
    let samples = match (line.iters.as_ref(), values) {
        (None, None) => None,
        (None, Some(values)) => Some((vec![1; values.len()], values)),
        (Some(iters), Some(values)) if iters.len() == values.len() => Some((iters.clone(), values)),
        (Some(iters), values) => {
            let count = values.map_or(0, |values| values.len());
            return fault(
                format!("`iters` has {} entries, `values` {count}", iters.len()),
                "give both lists, equally long",
            );
        }
    };
    row.summary = match &samples {
        Some((_, values)) => (options.summarise)(values),
        None => stated_summary(&line, unit),
    };
    let stated = line.value.map(|value| unit.convert(value));
    // What did not end well has no headline, though some samples may have been taken.
    row.value = if row.status == Status::Ok { stated.or(row.summary.median) } else { stated };
    row.iters_total = match (&samples, line.iters_total) {
        (_, Some(total)) => total,
        (Some((iters, _)), None) => iters.iter().fold(0, |sum: u64, &count| sum.saturating_add(count)),
        (None, None) => 0,
    };
    row.warmup_ns = line.warmup_ns.unwrap_or(0);
    row.measure_ns = line.measure_ns.unwrap_or(0);
    row.slope = line.slope.map(|slope| unit.convert(slope));
    match (row.status, row.value) {
        (Status::Ok, None) => {
            fault("neither `value` nor `values`".into(), "give one of them, or another `status`")
        }
        (Status::Ok, Some(_)) => Ok(samples),
        (_, Some(_)) => fault(
            format!("status `{}` with a value", row.status.as_str()),
            "leave the value out, or give status `ok`",
        ),
        (_, None) if row.error.is_none() => {
            fault(format!("status `{}` without a reason", row.status.as_str()), "say why in column `error`")
        }
        (_, None) => Ok(samples),
    }
}

/// The summary that a line states itself. A single value is one sample, if it does not say how many there were.
fn stated_summary(line: &Line, unit: &Unit) -> Summary {
    let own = |value: Option<f64>| value.map(|value| unit.convert(value));
    Summary {
        n_samples: line.n_samples.unwrap_or(u32::from(line.value.is_some())),
        median: own(line.value),
        mean: own(line.mean),
        stddev: own(line.stddev),
        mad: own(line.mad),
        min: own(line.min),
        max: own(line.max),
        p05: own(line.p05),
        p25: own(line.p25),
        p75: own(line.p75),
        p90: own(line.p90),
        p95: own(line.p95),
        p99: own(line.p99),
        p999: own(line.p999),
        ci_low: own(line.ci_low),
        ci_high: own(line.ci_high),
        ci_level: line.ci_level,
        outliers_low: line.outliers_low.unwrap_or(0),
        outliers_high: line.outliers_high.unwrap_or(0),
    }
}

fn set_promises(row: &mut ResultRow, line: &mut Line, unit: &Unit) -> Result<(), Fault> {
    row.target_value = line.target_value.map(|value| unit.convert(value));
    row.target_op = line.target_op.take();
    row.throughput_per_iter = line.throughput_per_iter;
    row.throughput_unit = line.throughput_unit.take();
    match row.target_op.as_deref() {
        None | Some("<=" | "<" | ">=" | ">") => Ok(()),
        Some(op) => {
            let detail = format!("`target_op` is `{}`", shown(op));
            Err(Fault::new(None, detail, "it is one of <=, <, >=, >"))
        }
    }
}

fn set_texts(row: &mut ResultRow, line: &mut Line) -> Result<(), Fault> {
    row.pair_id = line.pair_id.take();
    row.error = line.error.take();
    row.code_hash = line.code_hash.take();
    row.plan_hash = line.plan_hash.take();
    row.data_hash = line.data_hash.take();
    row.subject = line.subject.take();
    row.seed = line.seed;
    if let Some(durability) = line.durability.take() {
        units::check_durability(&durability)?;
        row.durability = Some(durability);
    }
    Ok(())
}

fn noise(line: &Line) -> Noise {
    Noise {
        load1: line.load1,
        ctx_switches_invol: line.ctx_switches_invol,
        steal_ms: line.steal_ms,
        cpu_mhz_mean: line.cpu_mhz_mean,
        temp_c: line.temp_c,
    }
}

fn direction(stated: Option<i8>, metric: &str) -> Result<i8, Fault> {
    let help = "-1 if lower is better, 1 if higher is, 0 for information";
    match (stated, units::direction(metric)) {
        (Some(direction @ -1..=1), _) | (None, Some(direction)) => Ok(direction),
        (Some(direction), _) => Err(Fault::new(None, format!("`direction` is {direction}"), help)),
        (None, None) => {
            let detail = format!("metric `{metric}` is not known, and column `direction` is missing");
            Err(Fault::new(None, detail, help))
        }
    }
}

/// A word of a fixed set; the default where it is missing.
fn word<T: Default>(
    text: Option<String>,
    column: &str,
    read: impl Fn(&str) -> Option<T>,
    all: &str,
) -> Result<T, Fault> {
    match text {
        None => Ok(T::default()),
        Some(text) => read(&text).ok_or_else(|| {
            Fault::new(None, format!("`{column}` is `{}`", shown(&text)), format!("it is one of {all}"))
        }),
    }
}

fn texts(params: Option<BTreeMap<String, Param>>) -> BTreeMap<String, String> {
    let text = |param: Param| match param {
        Param::Text(text) => text,
        Param::Integer(number) => number.to_string(),
        Param::Number(number) => number.to_string(),
        Param::Flag(flag) => flag.to_string(),
    };
    params.unwrap_or_default().into_iter().map(|(name, param)| (name, text(param))).collect()
}

fn started_at(time: &Time) -> Result<Micros, Fault> {
    let found = match time {
        Time::Micros(micros) => Some(*micros).filter(|micros| time::is_plausible(*micros)),
        Time::Text(text) => time::parse(text),
    };
    found.ok_or_else(|| {
        let help = "give microseconds since 1970, or a text as 2026-01-02T03:04:05Z";
        Fault::new(None, "`started_at` is no time of the years 1970 to 9999", help)
    })
}
