//! Points of time as text (RFC 3339), in UTC.

use super::super::Micros;

/// The first microsecond of year 10000, which the text form does not reach.
const END: Micros = 253_402_300_800_000_000;

/// Microseconds since 1970 of `2026-01-02T03:04:05.678901Z`. A space in place of `T`, fewer or more digits of the fraction
/// (those beyond microseconds are dropped) and an offset as `+02:00` are read; without an offset it is UTC. None for
/// anything else, and for times before 1970.
pub(super) fn parse(text: &str) -> Option<Micros> {
    let (date, time) = text.split_once(['T', 't', ' '])?;
    let &[year, month, day] = split(date, '-', [4, 2, 2])?.as_slice() else { return None };
    let offset_start = time.find(['Z', 'z', '+', '-']).unwrap_or(time.len());
    let (clock, offset) = time.split_at(offset_start);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let &[hour, minute, second] = split(clock, ':', [2, 2, 2])?.as_slice() else { return None };
    let is_date = (1..=12).contains(&month) && (1..=days_of(year, month)).contains(&day);
    if !is_date || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds =
        ((days_before(year, month, day) * 24 + hour) * 60 + minute) * 60 + second - offset_seconds(offset)?;
    let micros = seconds * 1_000_000 + micros_of(fraction)?;
    (0..END).contains(&micros).then_some(micros)
}

/// Whether a number of microseconds lies within the years 1970 to 9999.
pub(super) fn is_plausible(micros: Micros) -> bool {
    (0..END).contains(&micros)
}

fn digits(text: &str) -> Option<i64> {
    let is_number = !text.is_empty() && text.len() <= 9 && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

/// Numbers of fixed widths between separators.
fn split<const N: usize>(text: &str, separator: char, widths: [usize; N]) -> Option<Vec<i64>> {
    let parts: Vec<&str> = text.split(separator).collect();
    let fits = parts.len() == N && parts.iter().zip(widths).all(|(part, width)| part.len() == width);
    if fits { parts.into_iter().map(digits).collect() } else { None }
}

fn micros_of(fraction: &str) -> Option<i64> {
    let is_number = !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let six: String = fraction.chars().chain("000000".chars()).take(6).collect();
    if is_number { digits(&six) } else { None }
}

fn offset_seconds(text: &str) -> Option<i64> {
    let sign = match text {
        "" | "Z" | "z" => return Some(0),
        _ if text.starts_with('-') => -1,
        _ => 1,
    };
    let &[hours, minutes] = split(&text[1..], ':', [2, 2])?.as_slice() else { return None };
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes) * 60)
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date of year 0 to 9999.
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let leap_days = |year: i64| year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let years = (year - 1970) * 365 + leap_days(year - 1) - leap_days(1969);
    years + (1..month).map(|month| days_of(year, month)).sum::<i64>() + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        for (text, micros) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T12:00:00.5Z", Some(951_825_600_500_000)),
            ("2026-01-02 03:04:05.678901", Some(1_767_323_045_678_901)),
            ("2026-01-02T05:04:05.678901999+02:00", Some(1_767_323_045_678_901)),
            ("2026-02-29T00:00:00Z", None),
            ("1969-12-31T23:59:59Z", None),
            ("2026-01-02", None),
            ("2026-1-2T00:00:00Z", None),
            ("2026-01-02T00:00:00.Z", None),
            ("2026-01-02T00:00:00+2", None),
            ("9999-12-31T23:59:59-23:00", None),
            ("äöü-äö-äöT", None),
        ] {
            assert_eq!(parse(text), micros, "{text}");
        }
    }
}
