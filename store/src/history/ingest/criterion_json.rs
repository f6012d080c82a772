//! The message stream of `cargo criterion --message-format=json`: one JSON object per line.
//!
//! A line that is cut off or malformed costs its own benchmark and gives a warning, since the stream of a run that was
//! ended is still good up to there. A unit that the history does not know is an error.

use super::super::{Micros, bench_id};
use super::fault::Fault;
use super::gather::{Measured, Parsed};
use super::{IngestOptions, per_iteration, row, sampled, units, whole_ns};
use serde::Deserialize;

const HELP: &str = "the line is skipped; write the stream again with `cargo criterion --message-format=json`";

#[derive(Deserialize)]
struct Reason {
    reason: String,
}

#[derive(Deserialize)]
struct Complete {
    id: String,
    iteration_count: Vec<f64>,
    measured_values: Vec<f64>,
    unit: String,
    #[serde(default)]
    throughput: Vec<Throughput>,
    #[serde(default)]
    slope: Option<Estimate>,
}

#[derive(Deserialize)]
struct Throughput {
    per_iteration: u64,
    unit: String,
}

#[derive(Deserialize)]
struct Estimate {
    estimate: f64,
}

/// One measurement per line whose reason is `benchmark-complete`; lines with other reasons are passed over.
pub(super) fn parse(text: &str, at: Micros, options: &IngestOptions) -> Result<Parsed, Fault> {
    let mut parsed = Parsed::default();
    let mut message_count = 0_usize;
    for (line, content) in (1..).zip(text.lines()) {
        if content.trim().is_empty() {
            continue;
        }
        match message(content, line, at, options)? {
            Ok(measured) => {
                message_count += 1;
                parsed.measured.extend(measured);
            }
            Err(fault) => parsed.warnings.push(fault),
        }
    }
    if message_count == 0 {
        let help = "write the stream with `cargo criterion --message-format=json`";
        return Err(Fault::new(None, "no message of cargo-criterion", help));
    }
    Ok(parsed)
}

/// The outer error ends the file, the inner one the line.
fn message(
    content: &str,
    line: u64,
    at: Micros,
    options: &IngestOptions,
) -> Result<Result<Option<Measured>, Fault>, Fault> {
    let malformed = |error: serde_json::Error| Fault::json(&error, line, HELP);
    let complete: Complete = match serde_json::from_str(content) {
        Ok(Reason { reason }) if reason != "benchmark-complete" => return Ok(Ok(None)),
        Ok(_) => match serde_json::from_str(content) {
            Ok(complete) => complete,
            Err(error) => return Ok(Err(malformed(error))),
        },
        Err(error) => return Ok(Err(malformed(error))),
    };
    let unit = units::unit(&complete.unit).map_err(|fault| fault.on(line))?;
    let counted =
        per_iteration(&complete.iteration_count, &complete.measured_values, &unit, options.samples_max);
    let (iters, values) = match counted {
        Ok(counted) => counted,
        Err(fault) => return Ok(Err(fault.on(line))),
    };
    // Only a measurement in another unit than time needs the name that the options give.
    let metric = if unit.name == "ns" && options.unit != "ns" { "wall_ns" } else { options.metric.as_str() };
    units::check_metric(metric, unit.name).map_err(|fault| fault.on(line))?;
    let mut row = row(options, bench_id(&complete.id), metric, unit.name, at);
    row.direction = units::direction(metric).unwrap_or(-1);
    row.slope = complete.slope.map(|slope| unit.convert(slope.estimate));
    if unit.name == "ns" {
        row.measure_ns = whole_ns(complete.measured_values.iter().sum::<f64>() * unit.factor);
    }
    if let Some(throughput) = complete.throughput.into_iter().next() {
        row.throughput_per_iter = Some(throughput.per_iteration);
        row.throughput_unit = Some(throughput.unit);
    }
    Ok(Ok(Some(sampled(options, row, iters, values, Some(line)))))
}
