//! Rows of other languages.

use super::{complaint, row, text};
use promptc_store::history::ingest::Kind;
use promptc_store::history::{Side, Status};

#[test]
fn rows_of_other_languages_are_read() {
    let lines = r#"{"bench_id": "Parse/JSON/1 MB", "metric": "wall_ns", "unit": "ms", "values": [2.0, 1.5, 3.0], "iters": [10, 10, 10], "params": {"threads": 2, "data": "a", "warm": true}}

{"bench_id": "parse/json/1_mb", "metric": "accuracy", "unit": "%", "value": 99.5, "mean": 98.0, "n_samples": 40, "side": "cand", "attempt": 3, "started_at": "2026-01-02T03:04:05.678901Z"}
{"bench_id": "gpu", "metric": "throughput", "unit": "MB/s", "status": "skipped", "error": "no device", "target_value": 5, "target_op": ">=", "suite": "kernels"}
{"bench_id": "mine", "metric": "smell", "unit": "count", "direction": -1, "value": 3, "seed": 7, "tags": {"file": "a.c"}, "load1": 0.5, "schema_version": 1}
"#;
    let ingested = text(Kind::Rows, lines).unwrap();
    assert_eq!((ingested.results.len(), ingested.samples.len(), ingested.warnings.len()), (4, 1, 0));
    let wall = row(&ingested, "parse/json/1_mb", "wall_ns");
    assert_eq!((wall.value, wall.unit.as_str(), wall.iters_total, wall.direction), (Some(2e6), "ns", 30, -1));
    let params: Vec<(&str, &str)> =
        wall.params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(params, [("data", "a"), ("threads", "2"), ("warm", "true")]);
    assert_eq!((wall.started_at, &ingested.samples[0].values), (1_000_000, &vec![2e6, 1.5e6, 3e6]));
    let accuracy = row(&ingested, "parse/json/1_mb", "accuracy");
    assert_eq!(
        (accuracy.value, accuracy.summary.mean, accuracy.summary.n_samples),
        (Some(0.995), Some(0.98), 40)
    );
    assert_eq!(
        (accuracy.side, accuracy.attempt, accuracy.started_at),
        (Side::Candidate, 3, 1_767_323_045_678_901)
    );
    let gpu = row(&ingested, "gpu", "throughput");
    assert_eq!((gpu.status, gpu.value, gpu.error.as_deref()), (Status::Skipped, None, Some("no device")));
    assert_eq!((gpu.unit.as_str(), gpu.target_value, gpu.suite.as_str()), ("bytes/s", Some(5e6), "kernels"));
    let mine = row(&ingested, "mine", "smell");
    assert_eq!((mine.direction, mine.seed, mine.noise.load1), (-1, Some(7), Some(0.5)));
    assert_eq!(mine.summary.n_samples, 1);
}

#[test]
fn a_bad_row_is_an_error_with_line_and_remedy() {
    let good = r#"{"bench_id": "a", "metric": "wall_ns", "unit": "ns", "value": 1}"#;
    let with = |column: &str| good.replace("\"value\": 1", column);
    let cases = [
        (with("\"valeu\": 1"), "column `valeu` is not known | the nearest is `value`"),
        (with("\"git_sha\": \"abc\", \"value\": 1"), "column `git_sha` is of the run"),
        (good.replace("\"ns\"", "\"nsec\""), "unit `nsec` is not known | the nearest is `ns`"),
        (good.replace("\"ns\"", "\"bytes\""), "metric `wall_ns` has unit `bytes`, expected `ns`"),
        (good.replace("wall_ns", "Wall"), "`Wall` is no name of a metric"),
        (good.replace("wall_ns", "smell"), "metric `smell` is not known, and column `direction` is missing"),
        (good.replace("\"metric\"", "\"tags\": {}, \"suite\""), "column `metric` is missing"),
        (with("\"value\": \"fast\""), "column `value`: invalid type: string \"fast\", expected f64"),
        (with("\"values\": [1, null]"), "column `values`: invalid type: null"),
        (with("\"attempt\": 70000"), "column `attempt`: invalid value"),
        (with("\"direction\": 2, \"value\": 1"), "`direction` is 2"),
        (with("\"side\": \"left\", \"value\": 1"), "`side` is `left` | it is one of solo"),
        (with("\"status\": \"great\""), "`status` is `great`"),
        (with("\"status\": \"failed\", \"value\": 1"), "status `failed` with a value"),
        (with("\"status\": \"failed\""), "status `failed` without a reason"),
        (with("\"mean\": 1"), "neither `value` nor `values`"),
        (with("\"values\": []"), "no samples"),
        (with("\"values\": [1], \"iters\": [1, 2]"), "`iters` has 2 entries, `values` 1"),
        (with("\"value\": 1, \"target_op\": \"=\""), "`target_op` is `=`"),
        (
            with("\"value\": 1, \"durability\": \"wall\""),
            "durability `wall` is not known | the nearest is `wal`",
        ),
        (with("\"value\": 1, \"started_at\": \"yesterday\""), "`started_at` is no time"),
        (with("\"value\": 1, \"suite\": \"storage\""), "of suite `storage` has no durability"),
        (with("\"value\": 1, \"schema_version\": 2"), "`schema_version` is not 1"),
        (with("\"value\": 1e999"), "number out of range"),
        (with("\"value\": NaN"), "expected value"),
        (with("\"values\": [1, 2, 3e305]").replace("\"ns\"", "\"s\""), "benchmark `a` has a value beyond"),
        (with("\"value\": 1, \"max\": 3e305").replace("\"ns\"", "\"s\""), "benchmark `a` has a value beyond"),
        (good.replace("\"a\"", "\" \""), "a benchmark without a title"),
        (with("\"value\": -5"), "benchmark `a` has wall_ns of -5 ns"),
        (with("\"value\": 0"), "benchmark `a` has wall_ns of 0 ns"),
        (with("\"values\": [1, -2]").replace("wall_ns", "cpu_ns"), "benchmark `a` has cpu_ns of -2 ns"),
        (good.replace("\"a\"", &format!("\"{}\"", "a".repeat(600))), "has 600 bytes, at most 512"),
        ("[1]".to_owned(), "invalid type: sequence"),
        (good[..20].to_owned(), "EOF while parsing"),
    ];
    for (bad, message) in cases {
        let complaint =
            complaint(text(Kind::Rows, &format!("{}\n\n{bad}\n", good.replace("\"a\"", "\"b\""))));
        assert!(
            complaint.starts_with("given.txt:3: ") && complaint.contains(message),
            "{bad}\n  gave {complaint}"
        );
    }
    let half = with("\"values\": [1, 2], \"status\": \"timeout\", \"error\": \"after 60 s\"");
    let half = text(Kind::Rows, &half).unwrap();
    assert_eq!((half.results[0].value, half.samples[0].values.len()), (None, 2));
    assert!(complaint(text(Kind::Rows, "\n\n")).contains("no line with a measurement"));
}

#[test]
fn one_key_twice_is_one_row_or_an_error() {
    let line = r#"{"bench_id": "a", "metric": "wall_ns", "unit": "ns", "value": 1}"#;
    assert_eq!(text(Kind::Rows, &format!("{line}\n{line}")).unwrap().results.len(), 1);
    let other = line.replace("1}", "2}");
    let complaint = complaint(text(Kind::Rows, &format!("{line}\n{other}")));
    assert!(
        complaint
            .starts_with("given.txt:2: `a` wall_ns (solo, attempt 0) is measured again, after given.txt:1 |"),
        "{complaint}"
    );
    for apart in ["\"attempt\": 1", "\"side\": \"cand\"", "\"bench_id\": \"b\""] {
        let apart = other.replace("{", &format!("{{{apart}, ")).replace(
            ", \"bench_id\": \"a\"",
            if apart.contains("bench_id") { "" } else { ", \"bench_id\": \"a\"" },
        );
        assert_eq!(text(Kind::Rows, &format!("{line}\n{apart}")).unwrap().results.len(), 2, "{apart}");
    }
}
