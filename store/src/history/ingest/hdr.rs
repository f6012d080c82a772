//! Interval logs of HdrHistogram: one histogram per line, as the log writers of Java, C, Python and Rust write them.
//!
//! ```text
//! #[StartTime: 1441812279.474 (seconds since epoch), ...]
//! "StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"
//! Tag=read,0.127,1.007,2.769,HISTFAAAAEV42...
//! ```
//!
//! The intervals of a tag are added up. Its id is `hdr/<file>/<tag>`. The log does not say what its values are: metric and
//! unit come from the options, nanoseconds of wall time unless they say otherwise.

use super::super::{Micros, bench_id};
use super::fault::Fault;
use super::gather::{Measured, Parsed};
use super::histogram::Histogram;
use super::units::{self, shown};
use super::{IngestOptions, row, single, whole_ns};
use std::collections::BTreeMap;

const HELP: &str = "give a log with histograms of version 2, as the log writer of HdrHistogram writes it";

#[derive(Default)]
struct Tagged {
    line: u64,
    histogram: Histogram,
    seconds: f64,
}

/// One measurement of values and one of throughput for each tag.
pub(super) fn parse(text: &str, name: &str, at: Micros, options: &IngestOptions) -> Result<Parsed, Fault> {
    let unit = units::unit(&options.unit)?;
    let mut began_at = at;
    let mut tags: BTreeMap<&str, Tagged> = BTreeMap::new();
    for (line, content) in (1..).zip(text.lines()) {
        let content = content.trim();
        if let Some(time) = content.strip_prefix("#[StartTime:") {
            began_at = start_time(time)
                .ok_or_else(|| Fault::new(Some(line), "`StartTime` without seconds", HELP))?;
        }
        if content.is_empty() || content.starts_with(['#', '"']) {
            continue;
        }
        let (tag, interval) = match content.strip_prefix("Tag=").and_then(|rest| rest.split_once(',')) {
            Some((tag, interval)) => (tag, interval),
            None => ("", content),
        };
        let fields: Vec<&str> = interval.splitn(4, ',').collect();
        let &[_, seconds, _, encoded] = fields.as_slice() else {
            let detail = format!("`{}`, expected start, length, maximum and histogram", shown(content));
            return Err(Fault::new(Some(line), detail, HELP));
        };
        let seconds =
            seconds.trim().parse::<f64>().ok().filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
        let Some(seconds) = seconds else {
            return Err(Fault::new(Some(line), "the length of the interval is no number", HELP));
        };
        let tagged = tags.entry(tag).or_insert_with(|| Tagged { line, ..Tagged::default() });
        tagged.seconds += seconds;
        tagged
            .histogram
            .add_encoded(encoded.trim())
            .map_err(|detail| Fault::new(Some(line), detail, HELP))?;
    }

    let mut parsed = Parsed::default();
    for (tag, Tagged { line, histogram, seconds }) in tags {
        let id = bench_id(&format!("hdr/{}/{}", name.replace('/', "_"), tag.replace('/', "_")));
        if histogram.count() == 0 {
            let detail = format!("no value was recorded for `{id}`");
            parsed.warnings.push(Fault::new(Some(line), detail, "it is left out; see whether anything ran"));
            continue;
        }
        let mut values = row(options, id.clone(), &options.metric, unit.name, began_at);
        values.direction = units::direction(&options.metric).unwrap_or(-1);
        values.summary = histogram.summary(unit.factor);
        values.value = values.summary.median;
        values.iters_total = histogram.count();
        values.measure_ns = whole_ns(seconds * 1e9);
        parsed.measured.push(Measured { line: Some(line), row: values, samples: None });
        if seconds > 0.0 {
            let mut rate = row(options, id, "throughput", "1/s", began_at);
            rate.iters_total = histogram.count();
            rate.measure_ns = whole_ns(seconds * 1e9);
            parsed.measured.push(single(options, rate, histogram.count() as f64 / seconds, Some(line)));
        }
    }
    if parsed.measured.is_empty() && parsed.warnings.is_empty() {
        return Err(Fault::new(None, "no line with a histogram", HELP));
    }
    Ok(parsed)
}

/// Seconds since 1970 at the start of a text, in microseconds.
fn start_time(text: &str) -> Option<Micros> {
    let seconds: f64 = text.split_whitespace().next()?.parse().ok()?;
    (0.0..=253_402_300_799.0).contains(&seconds).then_some((seconds * 1e6) as Micros)
}
