//! What `hyperfine --export-json` writes: one entry per command, times in seconds.
//!
//! The id of a command is `hyperfine/<command>`, with its parameters as a third segment. A run that ended with an error
//! counts (`--ignore-failure` let it); the share of such runs is recorded as `error_rate` and said in a warning.

use super::super::{Micros, ResultRow, bench_id};
use super::fault::Fault;
use super::gather::Parsed;
use super::units::{Unit, shown, unit};
use super::{IngestOptions, check_sample_count, row, sampled, single, whole_ns};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

const HELP: &str = "write the file again with `hyperfine --export-json FILE`";

#[derive(Deserialize)]
struct Export {
    results: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    command: String,
    #[serde(default)]
    times: Option<Vec<f64>>,
    #[serde(default)]
    user: Option<f64>,
    #[serde(default)]
    system: Option<f64>,
    #[serde(default)]
    memory_usage_byte: Option<Vec<f64>>,
    #[serde(default)]
    exit_codes: Option<Vec<Option<i64>>>,
    #[serde(default)]
    parameters: Option<BTreeMap<String, Value>>,
}

/// Up to four measurements per command.
pub(super) fn parse(text: &str, at: Micros, options: &IngestOptions) -> Result<Parsed, Fault> {
    let export: Export = serde_json::from_str(text).map_err(|error| Fault::json(&error, 1, HELP))?;
    if export.results.is_empty() {
        return Err(Fault::new(Some(1), "`results` has no entry", HELP));
    }
    let seconds = unit("s")?;
    let lines = lines_of(text, "\"command\"");
    let mut parsed = Parsed::default();
    for (idx, entry) in export.results.into_iter().enumerate() {
        let line = lines.get(idx).copied().unwrap_or(1);
        add(&mut parsed, entry, &seconds, at, options).map_err(|fault| fault.on(line))?;
        let unplaced = parsed.measured.iter_mut().filter(|measured| measured.line.is_none());
        unplaced.for_each(|measured| measured.line = Some(line));
        parsed.warnings.iter_mut().for_each(|warning| {
            warning.line.get_or_insert(line);
        });
    }
    Ok(parsed)
}

fn add(
    parsed: &mut Parsed,
    entry: Entry,
    seconds: &Unit,
    at: Micros,
    options: &IngestOptions,
) -> Result<(), Fault> {
    let times = entry.times.unwrap_or_default();
    check_sample_count(times.len(), options.samples_max)?;
    if let Some(time) = times.iter().find(|&&time| time <= 0.0) {
        return Err(Fault::new(None, format!("`times` has {time}, expected more than nothing"), HELP));
    }
    let count = times.len();
    let params = params(entry.parameters);
    let id = bench_id(&title(&entry.command, &params));
    let row_of = |metric: &str, unit: &str| -> ResultRow {
        let mut row = row(options, id.clone(), metric, unit, at);
        row.params.extend(params.clone());
        row
    };
    let values: Vec<f64> = times.iter().map(|&time| seconds.convert(time)).collect();
    let mut wall = row_of("wall_ns", "ns");
    wall.measure_ns = whole_ns(values.iter().sum());
    parsed.measured.push(sampled(options, wall, vec![1; count], values, None));

    // The mean over all runs; hyperfine does not store the runs' own. Nothing is below what the system's clock ticks.
    let cpu =
        entry.user.zip(entry.system).map(|(user, system)| user + system).filter(|&seconds| seconds > 0.0);
    if let Some(cpu) = cpu {
        parsed.measured.push(single(options, row_of("cpu_ns", "ns"), seconds.convert(cpu), None));
    }
    let memory = entry.memory_usage_byte.unwrap_or_default();
    if memory.len() == count && memory.iter().all(|&bytes| bytes > 0.0) {
        let row = row_of("rss_peak_bytes", "bytes");
        parsed.measured.push(sampled(options, row, vec![1; count], memory, None));
    }
    let codes = entry.exit_codes.unwrap_or_default();
    let failed_count = codes.iter().filter(|code| **code != Some(0)).count();
    if failed_count > 0 {
        let detail = format!(
            "{failed_count} of {} runs of `{}` ended with an error",
            codes.len(),
            shown(&entry.command)
        );
        parsed.warnings.push(Fault::new(None, detail, "their times are kept; see whether they did the work"));
        let rate = failed_count as f64 / codes.len() as f64;
        parsed.measured.push(single(options, row_of("error_rate", "ratio"), rate, None));
    }
    Ok(())
}

/// The command is one segment, whatever paths it names.
fn title(command: &str, params: &BTreeMap<String, String>) -> String {
    let command = command.replace('/', " ");
    let params: Vec<String> =
        params.iter().map(|(name, value)| format!("{name} {}", value.replace('/', " "))).collect();
    format!("hyperfine/{command}/{}", params.join(" "))
}

fn params(stored: Option<BTreeMap<String, Value>>) -> BTreeMap<String, String> {
    let text = |value: Value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    stored.unwrap_or_default().into_iter().map(|(name, value)| (name, text(value))).collect()
}

/// The lines on which a word stands, from 1.
fn lines_of(text: &str, word: &str) -> Vec<u64> {
    let on_line = |(line, content): (u64, &str)| std::iter::repeat_n(line, content.matches(word).count());
    (1..).zip(text.lines()).flat_map(on_line).collect()
}
