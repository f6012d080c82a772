//! Units and metrics: what other programs call them, and what the history does.

use super::super::ResultRow;
use super::fault::Fault;

/// A unit as written, by the history's own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Unit {
    /// The history's name of it.
    pub(super) name: &'static str,
    /// How many of those one is.
    pub(super) factor: f64,
}

impl Unit {
    /// A value in the history's unit. Decimal fractions of seconds are whole nanoseconds again: a result within four
    /// rounding errors of a whole number is that number.
    pub(super) fn convert(&self, value: f64) -> f64 {
        if self.factor == 1.0 {
            return value;
        }
        let converted = value * self.factor;
        let whole = converted.round();
        if (converted - whole).abs() <= 4.0 * f64::EPSILON * whole.abs() { whole } else { converted }
    }
}

/// Name as written, the history's name, and how many of those one is.
const UNITS: [(&str, &str, f64); 39] = [
    ("ns", "ns", 1.0),
    ("us", "ns", 1e3),
    ("µs", "ns", 1e3), // micro sign
    ("μs", "ns", 1e3), // Greek mu
    ("ms", "ns", 1e6),
    ("s", "ns", 1e9),
    ("bytes", "bytes", 1.0),
    ("B", "bytes", 1.0),
    ("kB", "bytes", 1e3),
    ("KB", "bytes", 1e3),
    ("MB", "bytes", 1e6),
    ("GB", "bytes", 1e9),
    ("KiB", "bytes", 1_024.0),
    ("MiB", "bytes", 1_048_576.0),
    ("GiB", "bytes", 1_073_741_824.0),
    ("1/s", "1/s", 1.0),
    ("/s", "1/s", 1.0),
    ("ops/s", "1/s", 1.0),
    ("ops/sec", "1/s", 1.0),
    ("elem/s", "1/s", 1.0),
    ("elements/s", "1/s", 1.0),
    ("bytes/s", "bytes/s", 1.0),
    ("B/s", "bytes/s", 1.0),
    ("kB/s", "bytes/s", 1e3),
    ("KB/s", "bytes/s", 1e3),
    ("MB/s", "bytes/s", 1e6),
    ("GB/s", "bytes/s", 1e9),
    ("KiB/s", "bytes/s", 1_024.0),
    ("MiB/s", "bytes/s", 1_048_576.0),
    ("GiB/s", "bytes/s", 1_073_741_824.0),
    ("ratio", "ratio", 1.0),
    ("%", "ratio", 0.01),
    ("percent", "ratio", 0.01),
    ("share", "share", 1.0),
    ("count", "count", 1.0),
    ("tok", "tok", 1.0),
    ("tok/s", "tok/s", 1.0),
    ("tokens", "tok", 1.0),
    ("tokens/s", "tok/s", 1.0),
];

/// What is known of a metric of the history.
struct Metric {
    name: &'static str,
    units: &'static [&'static str],
    direction: i8,
}

const fn metric(name: &'static str, units: &'static [&'static str], direction: i8) -> Metric {
    Metric { name, units, direction }
}

const METRICS: [Metric; 19] = [
    metric("wall_ns", &["ns"], -1),
    metric("cpu_ns", &["ns"], -1),
    metric("throughput", &["1/s", "bytes/s", "tok/s"], 1),
    metric("instructions", &["count"], -1),
    metric("alloc_bytes", &["bytes"], -1),
    metric("rss_peak_bytes", &["bytes"], -1),
    metric("size_bytes", &["bytes"], -1),
    metric("saved_ratio", &["ratio", "share"], 1),
    metric("retention", &["ratio", "share"], 1),
    metric("cosine", &["ratio", "share"], 1),
    metric("bleu", &["ratio", "share"], 1),
    metric("accuracy", &["ratio", "share"], 1),
    metric("recall", &["ratio", "share"], 1),
    metric("perplexity", &["ratio"], -1),
    metric("error_rate", &["ratio", "share"], -1),
    metric("hit_rate", &["ratio", "share"], 1),
    metric("lost_count", &["count"], -1),
    metric("recovery_ns", &["ns"], -1),
    metric("iteration_count", &["count"], -1),
];

/// How durable a write was when it was answered.
const DURABILITIES: [&str; 4] = ["none", "wal", "wal_fsync", "group_commit"];

/// Longest name of a metric, as in the language.
const METRIC_BYTES_MAX: usize = 40;

/// The unit that a text means; an unknown one is a fault that names the nearest.
pub(super) fn unit(text: &str) -> Result<Unit, Fault> {
    match UNITS.iter().find(|(name, ..)| *name == text) {
        Some(&(_, name, factor)) => Ok(Unit { name, factor }),
        None => {
            let names = UNITS.map(|(name, ..)| name);
            let help = format!("the nearest is `{}`; units are {}", nearest(text, &names), own_units());
            Err(Fault::new(None, format!("unit `{}` is not known", shown(text)), help))
        }
    }
}

/// Whether a measurement of the row can have this value: sizes, rates and times are not negative, and no wall clock that ran shows
/// nothing. The processor's may, which ticks in milliseconds.
pub(super) fn is_possible(row: &ResultRow, value: f64) -> bool {
    match (row.metric.as_str(), row.unit.as_str()) {
        ("wall_ns", _) => value > 0.0,
        (_, "ratio") => true,
        _ => value >= 0.0,
    }
}

fn own_units() -> String {
    let mut names: Vec<&str> = Vec::new();
    for (_, name, _) in UNITS {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.join(", ")
}

/// Which way of a metric is better; none if the history does not know the metric.
pub(super) fn direction(name: &str) -> Option<i8> {
    METRICS.iter().find(|metric| metric.name == name).map(|metric| metric.direction)
}

/// Refuses a name that no metric may have, and a metric of the history in the unit of another. `unit` is the history's own.
pub(super) fn check_metric(name: &str, unit: &str) -> Result<(), Fault> {
    let is_rest = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let is_name = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase())
        && name.bytes().all(is_rest)
        && name.len() <= METRIC_BYTES_MAX;
    if !is_name {
        let names = METRICS.map(|metric| metric.name);
        let detail = format!("`{}` is no name of a metric", shown(name));
        let help = format!(
            "lower case letters, digits and `_`, at most {METRIC_BYTES_MAX}; the nearest known one is `{}`",
            nearest(name, &names)
        );
        return Err(Fault::new(None, detail, help));
    }
    match METRICS.iter().find(|metric| metric.name == name) {
        Some(metric) if !metric.units.contains(&unit) => {
            let detail =
                format!("metric `{name}` has unit `{unit}`, expected `{}`", metric.units.join("` or `"));
            Err(Fault::new(None, detail, "name another metric or the unit that was measured"))
        }
        _ => Ok(()),
    }
}

/// Refuses a durability that is none of the four.
pub(super) fn check_durability(text: &str) -> Result<(), Fault> {
    if DURABILITIES.contains(&text) {
        return Ok(());
    }
    let detail = format!("durability `{}` is not known", shown(text));
    let help = format!(
        "the nearest is `{}`; it is one of {}",
        nearest(text, &DURABILITIES),
        DURABILITIES.join(", ")
    );
    Err(Fault::new(None, detail, help))
}

/// A text of the input in a message, not longer than a line.
pub(super) fn shown(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(100)
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect();
    if shown.len() < text.len() {
        shown.push_str("...");
    }
    shown
}

/// The name of which `wrong` is a word, or else the one with the smallest edit distance; the first of several. `names` is
/// not empty. Cost: the product of the lengths for each name, of which at most 64 characters count.
pub(super) fn nearest<'n>(wrong: &str, names: &[&'n str]) -> &'n str {
    let wrong: Vec<char> = wrong.to_lowercase().chars().take(64).collect();
    let distance_to = |name: &&&str| {
        let name: Vec<char> = name.to_lowercase().chars().take(64).collect();
        let is_part = name.split(|character| *character == '_').any(|part| part == wrong);
        (!is_part, distance(&wrong, &name))
    };
    names.iter().min_by_key(distance_to).expect("invariant: every table of names has entries")
}

/// Insertions, deletions and substitutions from one to the other (Levenshtein).
fn distance(left: &[char], right: &[char]) -> usize {
    let mut previous: Vec<usize> = (0..=right.len()).collect();
    for (row, a) in left.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, b) in right.iter().enumerate() {
            let substituted = previous[column] + usize::from(a != b);
            current.push(substituted.min(previous[column + 1] + 1).min(current[column] + 1));
        }
        previous = current;
    }
    previous[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_become_those_of_the_history() {
        let convert = |value: f64, text: &str| unit(text).map(|unit| (unit.convert(value), unit.name));
        assert_eq!(convert(0.001_99, "s"), Ok((1_990_000.0, "ns")));
        assert_eq!(convert(1.5, "µs"), Ok((1_500.0, "ns")));
        assert_eq!(convert(2.0, "MiB/s"), Ok((2_097_152.0, "bytes/s")));
        assert_eq!(convert(99.5, "%"), Ok((0.995, "ratio")));
        assert_eq!(convert(0.1 + 0.2, "ratio"), Ok((0.1 + 0.2, "ratio")));
        let fault = convert(1.0, "sec").unwrap_err();
        assert!(fault.detail.contains("`sec`") && fault.help.contains("the nearest is `s`"), "{fault:?}");
    }

    #[test]
    fn a_metric_keeps_its_unit_and_its_direction() {
        assert_eq!(check_metric("wall_ns", "ns"), Ok(()));
        assert_eq!(check_metric("of_mine", "count"), Ok(()));
        assert!(check_metric("wall_ns", "bytes").is_err());
        assert!(check_metric("Wall", "ns").unwrap_err().help.contains("`wall_ns`"));
        assert!(check_metric("", "ns").is_err() && check_metric(&"a".repeat(41), "ns").is_err());
        assert_eq!(
            (direction("throughput"), direction("wall_ns"), direction("of_mine")),
            (Some(1), Some(-1), None)
        );
    }

    #[test]
    fn every_metric_has_units_that_exist() {
        for metric in METRICS {
            assert!(
                metric.units.iter().all(|name| UNITS.iter().any(|(_, own, _)| own == name)),
                "{}",
                metric.name
            );
        }
    }

    #[test]
    fn the_nearest_name_has_the_fewest_edits() {
        assert_eq!(nearest("valeu", &["mean", "value", "values"]), "value");
        assert_eq!(nearest("fsync", &["none", "wal", "wal_fsync"]), "wal_fsync");
        assert_eq!(nearest("", &["mean", "p05"]), "p05");
        assert_eq!(distance(&['k', 'i', 't'], &['s', 'i', 't', 's']), 2);
    }
}
