//! What a run must satisfy before any of it is written: a wrong row is refused here, not found in a report.

use std::collections::BTreeSet;

use super::environment::Environment;
use super::error::HistoryError;
use super::rows::{ResultRow, Run, SampleRow, Status, Summary, VerdictRow};

/// Longest text of a row, in bytes: a message with its causes, not a log.
const TEXT_BYTES_MAX: usize = 64 << 10;
/// Longest run id.
const RUN_ID_LENGTH_MAX: usize = 64;
/// The suite whose rows must state their durability.
const STORAGE_SUITE: &str = "storage";
/// What a row of `results` may say of its durability.
const DURABILITIES: [&str; 4] = ["none", "wal", "wal_fsync", "group_commit"];
/// Start of the names of compacted files, which no run may have.
pub(super) const COMPACT_PREFIX: &str = "compact-";

/// Checks a run and its environment.
pub(super) fn check_run(run: &Run, environment: &Environment) -> Result<(), HistoryError> {
    let fail =
        |subject: String, detail: String| HistoryError::Row { run_id: run.id.clone(), subject, detail };
    if !is_run_id(&run.id) {
        let detail =
            "a run id has 1 to 64 letters, digits, `-` or `_` and does not start with `compact-`".to_owned();
        return Err(fail("run".into(), detail));
    }
    if run.env_id != environment.id() {
        let detail = format!("env_id {} is not the fingerprint of the environment given", run.env_id);
        return Err(fail("run".into(), detail));
    }
    let mut keys = BTreeSet::new();
    for row in &run.results {
        let subject = || format!("result {} {} ({})", row.bench_id, row.metric, row.side.as_str());
        check_result(row).map_err(|detail| fail(subject(), detail))?;
        if !keys.insert((row.attempt, row.side, row.bench_id.as_str(), row.metric.as_str())) {
            return Err(fail(subject(), format!("attempt {} is there twice", row.attempt)));
        }
    }
    let mut sampled = BTreeSet::new();
    for row in &run.samples {
        let key = (row.attempt, row.side, row.bench_id.as_str(), row.metric.as_str());
        let subject = || format!("samples {} {} ({})", row.bench_id, row.metric, row.side.as_str());
        check_samples(row).map_err(|detail| fail(subject(), detail))?;
        if !keys.contains(&key) {
            return Err(fail(subject(), "they belong to no result".into()));
        }
        if !sampled.insert(key) {
            return Err(fail(subject(), format!("attempt {} is there twice", row.attempt)));
        }
    }
    match run.scrapes.iter().find(|row| !row.value.is_finite() || row.signal.is_empty()) {
        Some(row) => Err(fail(format!("scrape `{}`", row.signal), format!("the value is {}", row.value))),
        None => Ok(()),
    }
}

/// Whether a text can name a run, and with it files.
pub(super) fn is_run_id(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=RUN_ID_LENGTH_MAX).contains(&text.len())
        && text.bytes().all(is_plain)
        && !text.starts_with(COMPACT_PREFIX)
}

fn check_result(row: &ResultRow) -> Result<(), String> {
    for (name, text) in
        [("bench_id", &row.bench_id), ("metric", &row.metric), ("unit", &row.unit), ("suite", &row.suite)]
    {
        if text.is_empty() {
            return Err(format!("`{name}` is empty"));
        }
    }
    if !(-1..=1).contains(&row.direction) {
        return Err(format!("direction is {}", row.direction));
    }
    match (row.status, row.value) {
        (Status::Ok, None) => return Err("status is ok and there is no value".into()),
        (Status::Ok, Some(_)) | (_, None) => {}
        (status, Some(_)) => return Err(format!("status is {} and there is a value", status.as_str())),
    }
    if row.status != Status::Ok && row.error.as_deref().is_none_or(str::is_empty) {
        return Err(format!("status is {} and no reason is given", row.status.as_str()));
    }
    if let Some((name, value)) = floats(row).into_iter().find(|(_, value)| !value.is_finite()) {
        return Err(format!("`{name}` is {value}"));
    }
    match row.durability.as_deref() {
        Some(durability) if !DURABILITIES.contains(&durability) => {
            return Err(format!("durability is `{durability}`, not one of {}", DURABILITIES.join(", ")));
        }
        None if row.suite == STORAGE_SUITE => {
            return Err("a row of suite storage needs its durability".into());
        }
        _ => {}
    }
    let texts = [&row.bench_id, &row.metric, &row.unit, &row.suite].into_iter().chain(&row.error);
    let entries = row.params.iter().chain(&row.tags).flat_map(|(key, value)| [key, value]);
    match texts.chain(entries).find(|text| text.len() > TEXT_BYTES_MAX) {
        Some(text) => Err(format!("a text has {} bytes, more than {TEXT_BYTES_MAX}", text.len())),
        None => Ok(()),
    }
}

/// Every number of a row that may be there or not, with its name.
fn floats(row: &ResultRow) -> Vec<(&'static str, f64)> {
    // Naming every field makes the compiler point here when one is added.
    let Summary {
        n_samples: _,
        median,
        mean,
        stddev,
        mad,
        min,
        max,
        p05,
        p25,
        p75,
        p90,
        p95,
        p99,
        p999,
        ci_low,
        ci_high,
        ci_level,
        outliers_low: _,
        outliers_high: _,
    } = row.summary;
    let noise = &row.noise;
    let all = [
        ("value", row.value),
        ("median", median),
        ("mean", mean),
        ("stddev", stddev),
        ("mad", mad),
        ("min", min),
        ("max", max),
        ("p05", p05),
        ("p25", p25),
        ("p75", p75),
        ("p90", p90),
        ("p95", p95),
        ("p99", p99),
        ("p999", p999),
        ("ci_low", ci_low),
        ("ci_high", ci_high),
        ("ci_level", ci_level),
        ("slope", row.slope),
        ("target_value", row.target_value),
        ("load1", noise.load1.map(f64::from)),
        ("ctx_switches_invol", noise.ctx_switches_invol.map(f64::from)),
        ("steal_ms", noise.steal_ms.map(f64::from)),
        ("cpu_mhz_mean", noise.cpu_mhz_mean.map(f64::from)),
        ("temp_c", noise.temp_c.map(f64::from)),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn check_samples(row: &SampleRow) -> Result<(), String> {
    if row.iters.len() != row.values.len() {
        return Err(format!("{} numbers of iterations for {} values", row.iters.len(), row.values.len()));
    }
    match row.values.iter().position(|value| !value.is_finite()) {
        Some(idx) => Err(format!("value {idx} is {}", row.values[idx])),
        None => Ok(()),
    }
}

/// Checks a verdict. The ends of its interval may be infinite: too few pairs say nothing.
pub(super) fn check_verdict(row: &VerdictRow) -> Result<(), HistoryError> {
    let fail = |detail: String| HistoryError::Row {
        run_id: row.run_id.clone(),
        subject: format!("verdict of gate `{}`", row.gate_id),
        detail,
    };
    let known: &[&str] = if row.bench_id.is_some() {
        &["regression", "improvement", "no_change", "cannot_tell"]
    } else {
        &["pass", "fail", "unknown"]
    };
    if !known.contains(&row.verdict.as_str()) {
        return Err(fail(format!("the verdict is `{}`, not one of {}", row.verdict, known.join(", "))));
    }
    if !["gate", "aa", "power"].contains(&row.purpose.as_str()) {
        return Err(fail(format!("the purpose is `{}`, not gate, aa or power", row.purpose)));
    }
    if row.gate_id.is_empty() || !is_run_id(&row.run_id) {
        return Err(fail("it names no gate or no run".into()));
    }
    let finite = [("base", row.base), ("cand", row.cand), ("rel", row.rel), ("p", row.p), ("q", row.q)];
    let ends = [("ci_low", row.ci_low), ("ci_high", row.ci_high)];
    let is_bad = |(_, value): &(&str, Option<f64>)| value.is_some_and(|value| !value.is_finite());
    let is_nan = |(_, value): &(&str, Option<f64>)| value.is_some_and(f64::is_nan);
    match finite.into_iter().find(is_bad).or_else(|| ends.into_iter().find(is_nan)) {
        Some((name, value)) => Err(fail(format!("`{name}` is {}", value.unwrap_or(f64::NAN)))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> ResultRow {
        let [suite, bench_id, metric, unit] = ["s", "a/b/c", "wall_ns", "ns"].map(str::to_owned);
        ResultRow { suite, bench_id, metric, unit, value: Some(1.0), ..ResultRow::default() }
    }

    fn refusal(change: impl Fn(&mut Run)) -> String {
        let environment = Environment::default().sealed();
        let mut run =
            Run { id: "R1".into(), env_id: environment.id(), results: vec![row()], ..Run::default() };
        assert!(check_run(&run, &environment).is_ok());
        change(&mut run);
        let error = check_run(&run, &environment).expect_err("the change makes it wrong");
        assert_eq!(error.code(), "E2102");
        error.to_string()
    }

    #[test]
    fn each_fault_is_refused_with_its_name() {
        type Change = fn(&mut Run);
        let cases: [(Change, &str); 15] = [
            (|run| run.id = "../x".into(), "a run id has"),
            (|run| run.id = "compact-1".into(), "a run id has"),
            (|run| run.env_id.push('0'), "not the fingerprint"),
            (|run| run.results[0].value = None, "there is no value"),
            (|run| run.results[0].value = Some(f64::NAN), "`value` is NaN"),
            (|run| run.results[0].summary.p99 = Some(f64::INFINITY), "`p99` is inf"),
            (|run| run.results[0].status = Status::Failed, "there is a value"),
            (|run| (run.results[0].status, run.results[0].value) = (Status::Skipped, None), "no reason"),
            (|run| run.results[0].suite = "storage".into(), "durability"),
            (|run| run.results[0].durability = Some("maybe".into()), "durability is `maybe`"),
            (|run| run.results[0].direction = 2, "direction is 2"),
            (|run| run.results[0].unit.clear(), "`unit` is empty"),
            (|run| run.results.push(run.results[0].clone()), "twice"),
            (|run| run.samples.push(SampleRow::default()), "belong to no result"),
            (|run| run.results[0].bench_id = "x".repeat(TEXT_BYTES_MAX + 1), "a text has"),
        ];
        for (change, expected) in cases {
            let message = refusal(change);
            assert!(message.contains(expected), "{message} does not say {expected}");
        }
    }

    #[test]
    fn verdicts_may_have_an_endless_interval_and_nothing_else_that_is_no_number() {
        let [gate_id, run_id, purpose, verdict] = ["paired", "R1", "gate", "cannot_tell"].map(str::to_owned);
        let row = VerdictRow {
            gate_id,
            run_id,
            purpose,
            verdict,
            bench_id: Some("b".into()),
            ..VerdictRow::default()
        };
        let endless =
            VerdictRow { ci_low: Some(f64::NEG_INFINITY), ci_high: Some(f64::INFINITY), ..row.clone() };
        assert!(check_verdict(&endless).is_ok());
        for wrong in [
            VerdictRow { ci_low: Some(f64::NAN), ..row.clone() },
            VerdictRow { p: Some(f64::INFINITY), ..row.clone() },
            VerdictRow { verdict: "pass".into(), ..row.clone() },
            VerdictRow { bench_id: None, ..row.clone() },
            VerdictRow { purpose: "other".into(), ..row },
        ] {
            assert_eq!(check_verdict(&wrong).expect_err("it is wrong").code(), "E2102");
        }
    }
}
