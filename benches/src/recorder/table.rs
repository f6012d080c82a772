//! What a bench measured itself and what it could not, as text.

use std::fmt::Write;

use crate::measurement::{Measurement, Outcome};
use crate::targets;

/// One line per measurement with its median and our promise about it; then the reasons of what was skipped, each once.
pub(super) fn text(measured: &[Measurement], absent: &[Measurement]) -> String {
    let promises = targets::targets().expect("invariant: a test reads targets.toml");
    let mut text = String::new();
    for one in measured {
        let value = match &one.outcome {
            Outcome::Measured(_) => one.median().map(|median| number(median, one.unit)).unwrap_or_default(),
            Outcome::Skipped(reason) => format!("skipped: {reason}"),
            Outcome::Failed(reason) => format!("failed: {reason}"),
        };
        let promise = one.median().and_then(|median| {
            let target = targets::of(&promises, &one.title, one.metric)?;
            let verdict = if target.is_met(median) { "met" } else { "NOT MET" };
            Some(format!("{} {} {verdict}", target.op, number(target.bound, &target.unit)))
        });
        let line =
            format!("{:<46} {:<14} {value:>12}  {}", one.title, one.metric, promise.unwrap_or_default());
        push(&mut text, line.trim_end());
    }
    let mut said: Vec<&str> = Vec::new();
    for one in absent {
        let Outcome::Skipped(reason) = &one.outcome else { continue };
        if said.contains(&reason.as_str()) {
            continue;
        }
        said.push(reason);
        let same = |other: &&Measurement| other.outcome == one.outcome;
        let count = absent.iter().filter(same).count();
        let titles =
            if count == 1 { one.title.clone() } else { format!("{} and {} more", one.title, count - 1) };
        push(&mut text, &format!("skipped: {titles}: {reason}"));
    }
    text
}

fn push(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("invariant: writing to a string does not fail");
}

/// A value with three digits and its unit.
fn number(value: f64, unit: &str) -> String {
    let (scaled, unit) = match unit {
        "ns" if value >= 1e9 => (value / 1e9, "s"),
        "ns" if value >= 1e6 => (value / 1e6, "ms"),
        "ns" if value >= 1e3 => (value / 1e3, "us"),
        "bytes/s" => (value / 1e6, "MB/s"),
        "ratio" => (value, ""),
        unit => (value, unit),
    };
    let digits = match scaled.abs() {
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    format!("{scaled:.digits$} {unit}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_beside_promises_and_reasons_stand_once() {
        let met = Measurement::new("compile/check/200_lines", "wall_ns", vec![2e6]);
        let missed = Measurement::new("compression/two_threads", "ratio", vec![1.2]);
        let absent: Vec<_> =
            ["a", "b"].map(|title| Measurement::skipped(title, "wall_ns", "no subject")).into();
        let text = text(&[met, missed], &absent);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[0].ends_with("2.00 ms  <= 5.00 ms met"), "{text}");
        assert!(lines[1].ends_with("1.20  >= 1.80 NOT MET"), "{text}");
        assert_eq!(lines[2], "skipped: a and 1 more: no subject");
    }

    #[test]
    fn numbers_have_three_digits() {
        for (value, unit, expected) in [
            (1234.0, "ns", "1.23 us"),
            (0.5, "ratio", "0.500"),
            (2.5e8, "bytes/s", "250 MB/s"),
            (7.0, "count", "7.00 count"),
        ] {
            assert_eq!(number(value, unit), expected);
        }
    }
}
