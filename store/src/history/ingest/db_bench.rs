//! Text that RocksDB's or LevelDB's `db_bench` prints.
//!
//! ```text
//! fillseq      :       8.660 micros/op 204214 ops/sec 0.049 seconds 10000 operations;   22.6 MB/s
//! Microseconds per write:
//! Count: 10000 Average: 9.3061  StdDev: 247.13
//! Min: 2  Median: 2.1137  Max: 12066
//! Percentiles: P50: 2.11 P75: 2.71 P99: 7.64 P99.9: 76.00 P99.99: 12066.00
//! ```
//!
//! The histogram stands there with `--histogram`; then the headline is its median, else the mean that the first line has.
//! A benchmark that is printed again (`fillseq[X3]`) is another attempt. Everything else of the text is passed over,
//! but a warning that the program was built without optimisation is handed on.

use super::super::{Micros, Summary, bench_id};
use super::fault::Fault;
use super::gather::{Measured, Parsed};
use super::units::{Unit, shown, unit};
use super::{IngestOptions, row, single, whole_ns};
use std::collections::BTreeMap;

const HELP: &str = "give the whole output of `db_bench --benchmarks=... --histogram=1`";

/// One benchmark of the text while its histograms are read.
struct Section {
    line: u64,
    name: String,
    attempt: u16,
    mean_micros: f64,
    per_second: Option<f64>,
    seconds: Option<f64>,
    operation_count: Option<u64>,
    /// What was timed, as `write`, and how it was spread.
    histograms: Vec<(String, Summary)>,
}

/// One or two measurements per benchmark line, and one per kind of operation where there are several.
pub(super) fn parse(text: &str, at: Micros, options: &IngestOptions) -> Result<Parsed, Fault> {
    let micros = unit("us")?;
    let mut parsed = Parsed::default();
    let mut params = BTreeMap::new();
    let mut attempts: BTreeMap<String, u16> = BTreeMap::new();
    let mut section: Option<Section> = None;
    for (line, content) in (1..).zip(text.lines()) {
        // Progress is written over itself.
        let content = content.rsplit('\r').find(|part| !part.trim().is_empty()).unwrap_or("").trim();
        if let Some(mut next) = headline(content, line)? {
            let attempt = attempts.entry(next.name.clone()).or_insert(options.attempt);
            next.attempt = *attempt;
            *attempt = attempt.saturating_add(1);
            if let Some(done) = section.replace(next) {
                finish(&mut parsed, done, &params, &micros, at, options);
            }
        } else if let Some(section) = &mut section {
            histogram(&mut section.histograms, content, line, &micros)?;
        } else {
            setting(&mut params, content);
        }
        if content.starts_with("WARNING:") {
            let help = "measure a build with optimisation and without assertions";
            parsed.warnings.push(Fault::new(Some(line), shown(content), help));
        }
    }
    match section {
        Some(done) => finish(&mut parsed, done, &params, &micros, at, options),
        None => return Err(Fault::new(None, "no line of a benchmark (`NAME : ... micros/op`)", HELP)),
    }
    Ok(parsed)
}

/// The line that closes a benchmark, if it is one.
fn headline(content: &str, line: u64) -> Result<Option<Section>, Fault> {
    let Some((name, figures)) = content.split_once(':') else { return Ok(None) };
    let Some((mean, rest)) = figures.split_once(" micros/op") else { return Ok(None) };
    // Progress without its carriage return may stand before the name.
    let Some(name) = name.split_whitespace().next_back() else { return Ok(None) };
    let mean_micros = positive(mean.trim(), "micros/op", line)?;
    let before = |word: &str| -> Result<Option<f64>, Fault> {
        match rest.split_once(word).and_then(|(before, _)| before.split_whitespace().next_back()) {
            Some(figure) => positive(figure, word.trim(), line).map(Some),
            None => Ok(None),
        }
    };
    Ok(Some(Section {
        line,
        name: name.to_owned(),
        attempt: 0,
        mean_micros,
        per_second: before(" ops/sec")?,
        seconds: before(" seconds ")?,
        operation_count: before(" operations;")?.map(whole_ns),
        histograms: Vec::new(),
    }))
}

fn positive(figure: &str, what: &str, line: u64) -> Result<f64, Fault> {
    match figure.parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Ok(value),
        _ => Err(Fault::new(Some(line), format!("`{}` {what}, expected a number", shown(figure)), HELP)),
    }
}

/// A line of a histogram, which fills in the last one or opens the next.
fn histogram(
    found: &mut Vec<(String, Summary)>,
    content: &str,
    line: u64,
    micros: &Unit,
) -> Result<(), Fault> {
    if let Some(operation) = content.strip_prefix("Microseconds per ") {
        found.push((operation.trim_end_matches(':').to_owned(), Summary::default()));
        return Ok(());
    }
    let Some((_, summary)) = found.last_mut() else { return Ok(()) };
    if !["Count:", "Min:", "Percentiles:"].iter().any(|word| content.starts_with(word)) {
        return Ok(());
    }
    let content = content.strip_prefix("Percentiles:").unwrap_or(content);
    let mut words = content.split_whitespace();
    while let (Some(name), Some(figure)) = (words.next(), words.next()) {
        let value = positive(figure, name, line)?;
        let time = Some(micros.convert(value));
        match name {
            "Count:" => summary.n_samples = value as u32,
            "Average:" => summary.mean = time,
            "StdDev:" => summary.stddev = time,
            "Min:" => summary.min = time,
            "Median:" => summary.median = time,
            "Max:" => summary.max = time,
            "P75:" => summary.p75 = time,
            "P99:" => summary.p99 = time,
            "P99.9:" => summary.p999 = time,
            _ => {}
        }
    }
    Ok(())
}

/// What the head of the text says about the work.
fn setting(params: &mut BTreeMap<String, String>, content: &str) {
    let Some((name, value)) = content.split_once(':') else { return };
    let first = value.split_whitespace().next().unwrap_or_default();
    let name = match name {
        "Keys" => "key_bytes",
        "Values" => "value_bytes",
        "Entries" => "entries",
        "Compression" => "compression",
        "Write rate" if first != "0" => "write_rate_bytes",
        "Read rate" if first != "0" => "read_rate_ops",
        _ => return,
    };
    params.insert(name.to_owned(), first.to_lowercase());
}

fn finish(
    parsed: &mut Parsed,
    section: Section,
    params: &BTreeMap<String, String>,
    micros: &Unit,
    at: Micros,
    options: &IngestOptions,
) {
    let title = format!("db_bench/{}", section.name.replace('/', "_"));
    let row_of = |title: &str, metric: &str, unit: &str| {
        let mut row = row(options, bench_id(title), metric, unit, at);
        row.params.extend(params.clone());
        row.attempt = section.attempt;
        row.iters_total = section.operation_count.unwrap_or(0);
        row.measure_ns = section.seconds.map(|seconds| whole_ns(seconds * 1e9)).unwrap_or(0);
        // The name says it, whatever the flags were.
        if section.name == "fillsync" {
            row.durability = Some("wal_fsync".to_owned());
        }
        row
    };
    let line = Some(section.line);
    let wall = row_of(&title, "wall_ns", "ns");
    let is_one = section.histograms.len() == 1;
    if !is_one {
        let mean = micros.convert(section.mean_micros);
        parsed.measured.push(single(options, wall.clone(), mean, line));
    }
    for (operation, summary) in section.histograms {
        let mut row = wall.clone();
        if !is_one {
            row.bench_id = bench_id(&format!("{title}/{operation}"));
        }
        row.summary = few_removed(summary);
        row.iters_total = row.iters_total.max(u64::from(row.summary.n_samples));
        row.value = row.summary.median.or(row.summary.mean);
        parsed.measured.push(Measured { line, row, samples: None });
    }
    if let Some(per_second) = section.per_second {
        parsed.measured.push(single(options, row_of(&title, "throughput", "1/s"), per_second, line));
    }
}

/// Without the quantiles for which there are too few values: p needs 10 / (1 - p).
fn few_removed(mut summary: Summary) -> Summary {
    let count = summary.n_samples;
    for (quantile, needed) in [(&mut summary.p75, 40), (&mut summary.p99, 1_000), (&mut summary.p999, 10_000)]
    {
        if count < needed {
            *quantile = None;
        }
    }
    summary
}
