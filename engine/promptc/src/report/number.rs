//! Figures for people: values with units, percentages, probabilities, dates.
//!
//! Three significant digits, as more would be read as precision that no benchmark has.

use std::borrow::Cow;

use super::data::Micros;

/// What is shown for a value that is missing or not finite.
pub(super) const MISSING: &str = "–";

/// A unit of display: what to divide by, and its name.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scale<'a> {
    /// Value of one unit of display.
    pub(super) divisor: f64,
    /// Its name; empty for plain numbers.
    pub(super) name: Cow<'a, str>,
}

const NANOSECONDS: [(f64, &str); 6] =
    [(1.0, "ns"), (1e3, "µs"), (1e6, "ms"), (1e9, "s"), (60e9, "min"), (3600e9, "h")];
const BYTES: [(f64, &str); 5] =
    [(1.0, "B"), (1024.0, "KiB"), (1048576.0, "MiB"), (1073741824.0, "GiB"), (1099511627776.0, "TiB")];
const PREFIXES: [(f64, &str); 4] = [(1.0, ""), (1e3, "k"), (1e6, "M"), (1e9, "G")];

/// The unit in which a magnitude of a column's unit reads best.
pub(super) fn scale(unit: &str, magnitude: f64) -> Scale<'_> {
    let rounded = three_digits(magnitude.abs());
    let pick = |steps: &[(f64, &'static str)], suffix: &str| {
        let (divisor, name) =
            steps.iter().rev().find(|(divisor, _)| rounded >= *divisor).unwrap_or(&steps[0]);
        Scale { divisor: *divisor, name: Cow::Owned(format!("{name}{suffix}")) }
    };
    match unit {
        "ns" => pick(&NANOSECONDS, ""),
        "bytes" => pick(&BYTES, ""),
        "bytes/s" => pick(&BYTES, "/s"),
        "1/s" => pick(&PREFIXES, "/s"),
        "tok/s" => pick(&PREFIXES, " tok/s"),
        "tok" => pick(&PREFIXES, " tok"),
        "count" => pick(&PREFIXES, ""),
        "share" => Scale { divisor: 0.01, name: Cow::Borrowed("%") },
        "ratio" | "" => Scale { divisor: 1.0, name: Cow::Borrowed("") },
        other => Scale { divisor: 1.0, name: Cow::Borrowed(other) },
    }
}

/// A value with its unit, as `1.25 ms`.
pub(super) fn figure(value: Option<f64>, unit: &str) -> String {
    let Some(value) = value.filter(|value| value.is_finite()) else {
        return MISSING.to_owned();
    };
    if unit == "count" && value == value.trunc() && value.abs() < 1e6 {
        return grouped(value as i64);
    }
    let scale = scale(unit, value);
    let digits = digits(value / scale.divisor);
    if scale.name.is_empty() { digits } else { format!("{digits} {}", scale.name.trim_start()) }
}

/// Three significant digits.
pub(super) fn digits(value: f64) -> String {
    let rounded = three_digits(value);
    match rounded.abs() {
        0.0 => "0".to_owned(),
        size if !(1e-3..1e7).contains(&size) => format!("{rounded:.2e}"),
        size if size < 1.0 => {
            let text = format!("{rounded:.5}");
            let leading = text.trim_start_matches(['-', '0', '.']).len();
            let keep = text.len() - leading.saturating_sub(3);
            text[..keep.min(text.len())].to_owned()
        }
        size if size < 10.0 => format!("{rounded:.2}"),
        size if size < 100.0 => format!("{rounded:.1}"),
        _ => grouped(rounded as i64),
    }
}

fn three_digits(value: f64) -> f64 {
    format!("{value:.2e}").parse().unwrap_or(value)
}

/// A whole number with a comma every three digits.
pub(super) fn grouped(number: i64) -> String {
    let plain = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (idx, digit) in plain.chars().enumerate() {
        if idx > 0 && (plain.len() - idx).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0 { format!("−{text}") } else { text }
}

/// A relative change with its sign, as `+12.3 %`.
pub(super) fn change(rel: Option<f64>) -> String {
    let Some(percent) = rel.map(|rel| rel * 100.0).filter(|percent| percent.is_finite()) else {
        return MISSING.to_owned();
    };
    let size = percent.abs();
    let text = match size {
        size if size < 99.95 => format!("{size:.1}"),
        size if size < 1e6 => grouped(size.round() as i64),
        size => format!("{size:.1e}"),
    };
    let sign = if size < 0.05 {
        ""
    } else if percent > 0.0 {
        "+"
    } else {
        "−"
    };
    format!("{sign}{text} %")
}

/// A relative change with its interval, if it has one, as `+12.3 % (+10.1 to +15.0 %)`.
pub(super) fn change_within(rel: Option<f64>, low: Option<f64>, high: Option<f64>) -> String {
    match change_interval(low, high) {
        interval if interval == MISSING => change(rel),
        interval => format!("{} ({interval})", change(rel)),
    }
}

/// An interval of relative changes, as `+10.1 to +15.0 %`; the whole line is said in words.
pub(super) fn change_interval(low: Option<f64>, high: Option<f64>) -> String {
    match (low, high) {
        (Some(low), Some(high)) if low.is_finite() && high.is_finite() => {
            let low = change(Some(low));
            format!("{} to {}", low.trim_end_matches(" %"), change(Some(high)))
        }
        (Some(low), Some(high)) if low == f64::NEG_INFINITY && high == f64::INFINITY => {
            "unbounded".to_owned()
        }
        _ => MISSING.to_owned(),
    }
}

/// A share as a percentage without a sign.
pub(super) fn percent(share: Option<f64>) -> String {
    match share.map(|share| share * 100.0).filter(|percent| percent.is_finite()) {
        Some(percent) => format!("{percent:.1} %"),
        None => MISSING.to_owned(),
    }
}

/// A probability: three decimals, or its order of size below.
pub(super) fn probability(p: Option<f64>) -> String {
    match p.filter(|p| p.is_finite()) {
        Some(p) if p > 0.0 && p < 0.001 => format!("{p:.0e}"),
        Some(p) => format!("{p:.3}"),
        None => MISSING.to_owned(),
    }
}

/// Time of a commit or run in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Utc {
    year: i64,
    month: i64,
    day: i64,
    second_of_day: i64,
}

impl Utc {
    /// Splits microseconds since 1970 into a date of the Gregorian calendar and a time of day.
    ///
    /// Source: Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`.
    pub(super) fn of(time: Micros) -> Self {
        let seconds = time.div_euclid(1_000_000);
        let days = seconds.div_euclid(86_400) + 719_468;
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        Utc {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month,
            day: day_of_year - (153 * shifted_month + 2) / 5 + 1,
            second_of_day: seconds.rem_euclid(86_400),
        }
    }

    /// As `2026-07-14`.
    pub(super) fn date(self) -> String {
        format!("{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }

    /// As `13:05`.
    pub(super) fn time(self) -> String {
        format!("{:02}:{:02}", self.second_of_day / 3600, self.second_of_day / 60 % 60)
    }

    /// As `2026-07-14 13:05 UTC`.
    pub(super) fn minute(self) -> String {
        format!("{} {} UTC", self.date(), self.time())
    }

    /// As `2026-07-14T13:05:09`, for JUnit.
    pub(super) fn iso(self) -> String {
        format!("{}T{}:{:02}", self.date(), self.time(), self.second_of_day % 60)
    }
}

/// The first seven digits of a commit, or all of a name that is none.
pub(super) fn short_sha(sha: &str) -> &str {
    let is_hex = sha.len() > 7 && sha.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hex { &sha[..7] } else { sha }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_get_the_unit_in_which_they_read_best() {
        let cases = [
            (Some(0.0), "ns", "0 ns"),
            (Some(0.25), "ns", "0.250 ns"),
            (Some(999.4), "ns", "999 ns"),
            (Some(999.9), "ns", "1.00 µs"),
            (Some(12_345.0), "ns", "12.3 µs"),
            (Some(1.5e9), "ns", "1.50 s"),
            (Some(7200e9), "ns", "2.00 h"),
            (Some(-2500.0), "ns", "-2.50 µs"),
            (Some(512.0), "bytes", "512 B"),
            (Some(1536.0), "bytes", "1.50 KiB"),
            (Some(3.0 * 1048576.0), "bytes/s", "3.00 MiB/s"),
            (Some(12_300.0), "1/s", "12.3 k/s"),
            (Some(45.0), "1/s", "45.0 /s"),
            (Some(620.0), "tok/s", "620 tok/s"),
            (Some(0.9534), "ratio", "0.953"),
            (Some(0.00012), "ratio", "1.20e-4"),
            (Some(0.0123), "ratio", "0.0123"),
            (Some(0.9534), "share", "95.3 %"),
            (Some(12_345.0), "count", "12,345"),
            (Some(2.5e6), "count", "2.50 M"),
            (Some(3.0), "furlong", "3.00 furlong"),
            (Some(f64::NAN), "ns", "–"),
            (Some(f64::INFINITY), "ns", "–"),
            (None, "ns", "–"),
        ];
        let wrong: Vec<String> = cases
            .iter()
            .filter(|(value, unit, text)| figure(*value, unit) != *text)
            .map(|(value, unit, text)| format!("{value:?} {unit}: {} and not {text}", figure(*value, unit)))
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn changes_and_probabilities() {
        assert_eq!(change(Some(0.1234)), "+12.3 %");
        assert_eq!(change(Some(-0.5)), "−50.0 %");
        assert_eq!(change(Some(0.0001)), "0.0 %");
        assert_eq!(change(Some(12.0)), "+1,200 %");
        assert_eq!(change(Some(f64::NAN)), "–");
        assert_eq!(change_interval(Some(0.05), Some(0.1)), "+5.0 to +10.0 %");
        assert_eq!(change_interval(Some(f64::NEG_INFINITY), Some(f64::INFINITY)), "unbounded");
        assert_eq!(change_interval(Some(0.05), None), "–");
        assert_eq!(probability(Some(1.9e-6)), "2e-6");
        assert_eq!(probability(Some(0.0)), "0.000");
        assert_eq!(probability(Some(0.25)), "0.250");
    }

    #[test]
    fn dates_of_the_calendar() {
        assert_eq!(Utc::of(0).minute(), "1970-01-01 00:00 UTC");
        assert_eq!(Utc::of(951_782_400_000_000).date(), "2000-02-29");
        assert_eq!(Utc::of(-1).iso(), "1969-12-31T23:59:59");
        assert_eq!(Utc::of(1_784_034_309_000_000).iso(), "2026-07-14T13:05:09");
        assert!(!Utc::of(i64::MIN).date().is_empty() && !Utc::of(i64::MAX).date().is_empty());
    }

    #[test]
    fn short_names_of_commits() {
        assert_eq!(short_sha("0123456789abcdef"), "0123456");
        assert_eq!(short_sha("unknown"), "unknown");
        assert_eq!(short_sha("täg-ünd-so"), "täg-ünd-so");
    }
}
