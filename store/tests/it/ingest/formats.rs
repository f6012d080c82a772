//! Files of other programs.

use super::{complaint, fixture, ids, options, read, row, text};
use promptc_store::history::ingest::{IngestOptions, Kind, ingest};
use serde_json::Value;
use std::fs;
use std::path::Path;

#[test]
fn kinds_are_told_from_the_files_of_each_program() {
    let files = [
        ("criterion_0_8", Kind::Criterion),
        ("criterion_0_5/slow/K=1/new/sample.json", Kind::Criterion),
        ("cargo_criterion.jsonl", Kind::CriterionJson),
        ("hyperfine.json", Kind::Hyperfine),
        ("db_bench.txt", Kind::DbBench),
        ("lm_eval.json", Kind::LmEval),
        ("load.hlog", Kind::Hdr),
    ];
    for (name, kind) in files {
        assert_eq!(Kind::detect(&fixture(name)).unwrap(), kind, "{name}");
    }
    let error = Kind::detect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap_err();
    assert!(error.help().contains("--from") && error.help().contains("db-bench"), "{}", error.help());
}

#[test]
fn messages_of_cargo_criterion_are_read_line_by_line() {
    let stream = fs::read_to_string(fixture("cargo_criterion.jsonl")).unwrap();
    let ingested = read(Kind::CriterionJson, "cargo_criterion.jsonl");
    let all =
        ["checksum_rounds/xor/mul/1024", "checksum_rounds/xor/mul/64", "confidence_scoring", "slow/k_1"];
    assert_eq!(ids(&ingested), all);
    let first: Value = serde_json::from_str(stream.lines().next().unwrap()).unwrap();
    let row = row(&ingested, "checksum_rounds/xor/mul/64", "wall_ns");
    assert!((row.value.unwrap() / first["median"]["estimate"].as_f64().unwrap() - 1.0).abs() < 1e-12);
    assert_eq!(row.slope, first["slope"]["estimate"].as_f64());
    assert_eq!((row.throughput_per_iter, row.throughput_unit.as_deref()), (Some(512), Some("bytes")));

    // Cut anywhere, the lines before are still good and the cut one is named.
    for length in (stream.len() / 2..stream.len() - 1).step_by(7) {
        let ingested = text(Kind::CriterionJson, &stream[..length]).unwrap();
        assert!((1..=4).contains(&ingested.results.len()) && ingested.warnings.len() <= 1);
    }
    let cut = text(Kind::CriterionJson, stream.lines().next().unwrap().split_at(100).0);
    assert!(complaint(cut).contains("no message of cargo-criterion"));
    let strange =
        complaint(text(Kind::CriterionJson, &stream.replacen("\"unit\":\"ns\"", "\"unit\":\"nsec\"", 1)));
    assert!(strange.starts_with("given.txt:1: unit `nsec` is not known | the nearest is `ns`"), "{strange}");
}

#[test]
fn hyperfine_gives_times_in_nanoseconds() {
    let ingested = read(Kind::Hyperfine, "hyperfine.json");
    assert_eq!(ingested.warnings, [""; 0]);
    let stored: Value =
        serde_json::from_str(&fs::read_to_string(fixture("hyperfine.json")).unwrap()).unwrap();
    let entries = stored["results"].as_array().unwrap();
    let row = row(&ingested, "hyperfine/sleep_0.001/n_1", "wall_ns");
    let median = entries[0]["median"].as_f64().unwrap() * 1e9;
    assert!((row.value.unwrap() - median).abs() < 1.0, "{:?} is not {median}", row.value);
    assert_eq!((row.summary.n_samples, row.iters_total), (12, 12));
    assert_eq!(row.params.get("n").map(String::as_str), Some("1"));
    let samples = ingested.samples.iter().find(|row| row.bench_id == "hyperfine/sleep_0.001/n_1").unwrap();
    assert!(
        samples.values.iter().all(|value| value.fract() == 0.0),
        "whole nanoseconds: {:?}",
        samples.values
    );
    assert!(
        ids(&ingested).contains(&"hyperfine/sleep_0.002/n_2") && ids(&ingested).contains(&"hyperfine/true")
    );

    let failed = r#"{"results": [
      {"command": "grep x /etc/hosts", "times": [0.5, 0.25, 0.75], "user": 0.125, "system": 0.125,
       "memory_usage_byte": [1000, 3000, 2000], "exit_codes": [0, 1, null], "parameters": {"k": 3}}]}"#;
    let ingested = text(Kind::Hyperfine, failed).unwrap();
    let value = |metric: &str| self::row(&ingested, "hyperfine/grep_x_etc_hosts/k_3", metric).value;
    assert_eq!(value("wall_ns"), Some(5e8));
    assert_eq!(value("cpu_ns"), Some(2.5e8));
    assert_eq!(value("rss_peak_bytes"), Some(2_000.0));
    assert_eq!(value("error_rate"), Some(2.0 / 3.0));
    assert!(
        ingested.warnings[0]
            .starts_with("given.txt:2: 2 of 3 runs of `grep x /etc/hosts` ended with an error")
    );

    for (bad, message) in [
        ("{\"results\": []}", "given.txt:1: `results` has no entry"),
        ("{\"results\": [\n{\"command\": \"a\"}]}", "given.txt:2: no samples"),
        (
            "{\"results\": [\n\n{\"command\": \"a\", \"times\": [0.1, -0.1]}]}",
            "given.txt:3: `times` has -0.1",
        ),
        ("{\"results\": [{\"times\": [1]}]}", "given.txt:1: missing field `command`"),
        ("{\"results\": [", "given.txt:1: EOF"),
    ] {
        let complaint = complaint(text(Kind::Hyperfine, bad));
        assert!(complaint.starts_with(message), "{complaint}");
    }
}

#[test]
fn db_bench_gives_medians_rates_and_repetitions() {
    let ingested = read(Kind::DbBench, "db_bench.txt");
    assert!(ingested.warnings[0].contains("WARNING: Assertions are enabled"), "{:?}", ingested.warnings);
    let first = row(&ingested, "db_bench/fillseq", "wall_ns");
    assert_eq!(
        (first.value, first.summary.mean, first.summary.n_samples),
        (Some(2_000.0), Some(11_030.0), 300)
    );
    assert_eq!(
        (first.summary.p75, first.summary.p99),
        (Some(2_000.0), None),
        "300 values have no 99th percentile"
    );
    assert_eq!((first.iters_total, first.measure_ns), (300, 4_000_000));
    assert_eq!(first.params.get("value_bytes").map(String::as_str), Some("100"));
    assert_eq!(first.params.get("compression").map(String::as_str), Some("snappy"));
    let rate = row(&ingested, "db_bench/fillseq", "throughput");
    assert_eq!((rate.value, rate.unit.as_str(), rate.direction), (Some(77_579.0), "1/s", 1));
    let reads: Vec<(u16, Option<f64>)> = (ingested.results.iter())
        .filter(|row| row.bench_id == "db_bench/readrandom" && row.metric == "throughput")
        .map(|row| (row.attempt, row.value))
        .collect();
    assert_eq!(reads, [(0, Some(1_584_409.0)), (1, Some(2_383_506.0))]);
    assert_eq!(row(&ingested, "db_bench/readrandom", "wall_ns").summary.p999, Some(1_880.0));
    assert_eq!(row(&ingested, "db_bench/fillsync", "wall_ns").durability.as_deref(), Some("wal_fsync"));
    // Without a histogram there is the mean alone.
    assert_eq!(row(&ingested, "db_bench/compact", "wall_ns").value, Some(12_860_000.0));

    // LevelDB prints no rate, and progress may stand before the name.
    let level = "LevelDB:    version 1.23\n... finished 100 ops  \rfillseq : 1.765 micros/op;   62.7 MB/s\n";
    let ingested = text(Kind::DbBench, level).unwrap();
    assert_eq!((ids(&ingested), ingested.results[0].value), (vec!["db_bench/fillseq"], Some(1_765.0)));
    let none = complaint(text(Kind::DbBench, "RocksDB: version 9\n"));
    assert!(none.contains("no line of a benchmark"), "{none}");
    let odd = complaint(text(Kind::DbBench, "\nfillseq : -nan micros/op 3 ops/sec\n"));
    assert!(odd.starts_with("given.txt:2: `-nan` micros/op"), "{odd}");
}

#[test]
fn scores_of_the_evaluation_harness_keep_error_version_and_direction() {
    let ingested = read(Kind::LmEval, "lm_eval.json");
    assert_eq!(ingested.warnings, [""; 0]);
    let all: Vec<(&str, &str, i8)> = (ingested.results.iter())
        .map(|row| (row.bench_id.as_str(), row.metric.as_str(), row.direction))
        .collect();
    assert_eq!(
        all,
        [
            ("lm_eval/arc_easy", "accuracy", 1),
            ("lm_eval/arc_easy", "accuracy_norm", 1),
            ("lm_eval/gsm8k/flexible_extract", "exact_match", 1),
            ("lm_eval/gsm8k/strict_match", "exact_match", 1),
            ("lm_eval/wikitext", "word_perplexity", -1),
            ("lm_eval/wmt16_en_de", "bleu", 1),
            ("lm_eval/wmt16_en_de", "ter", -1),
        ]
    );
    let easy = row(&ingested, "lm_eval/arc_easy", "accuracy");
    assert_eq!((easy.value, easy.summary.n_samples), (Some(0.656_144_781_144_781_1), 2_376));
    // The deviation of single answers: sqrt(p (1 - p)) of 2,376 questions, with n - 1 as the harness counts.
    let p: f64 = 0.656_144_781_144_781_1;
    let deviation = (p * (1.0 - p) * 2_376.0 / 2_375.0).sqrt();
    assert!((easy.summary.stddev.unwrap() / deviation - 1.0).abs() < 1e-9);
    assert!((easy.summary.ci_high.unwrap() - p - 1.96 * 0.009_746_660_6).abs() < 1e-5);
    assert_eq!(easy.params.get("task_version").map(String::as_str), Some("1.0"));
    assert_eq!(easy.subject.as_deref(), Some("tiny-model"));
    assert_eq!(easy.started_at, 1_712_345_678_125_000);
    let strict = row(&ingested, "lm_eval/gsm8k/strict_match", "exact_match");
    assert_eq!((strict.summary.ci_low, strict.params.get("shots").map(String::as_str)), (None, Some("5")));
    let bleu = row(&ingested, "lm_eval/wmt16_en_de", "bleu");
    assert!(
        (bleu.value.unwrap() - 0.315).abs() < 1e-12 && (bleu.summary.ci_low.unwrap() - 0.3052).abs() < 1e-4
    );

    let old = r#"{"results": {"piqa": {"acc": 0.75, "acc_stderr": 0.01}}, "versions": {"piqa": 0}, "config": {"model": "gpt2"}}"#;
    let ingested = text(Kind::LmEval, old).unwrap();
    let row = row(&ingested, "lm_eval/piqa", "accuracy");
    assert_eq!((row.value, row.started_at, row.subject.as_deref()), (Some(0.75), 1_000_000, Some("gpt2")));
    let none = complaint(text(Kind::LmEval, r#"{"results": {"piqa": {"alias": "piqa"}}}"#));
    assert!(none.starts_with("given.txt:1: no score of any task"), "{none}");
    let wrong = complaint(text(Kind::LmEval, "{\"results\": {\n\"piqa\": 3}}"));
    assert!(wrong.starts_with("given.txt:2: invalid type"), "{wrong}");
}

#[test]
fn histograms_give_what_the_library_gives() {
    // Printed by Python's hdrhistogram of the same values: 5, 25, 50, 75, 90, 95, 99, 100 %, mean, deviation, minimum.
    let cases = [
        (
            "read",
            1_200,
            [160_511., 295_935., 436_735., 647_679., 919_551., 1_153_023., 1_876_991., 3_639_295.],
            517_853.933,
            344_933.910,
            63_744.,
        ),
        (
            "write",
            300,
            [172_159., 280_575., 423_935., 680_959., 1_076_223., 1_234_943., 0., 2_756_607.],
            541_023.893,
            368_932.571,
            75_072.,
        ),
    ];
    let ingested = read(Kind::Hdr, "load.hlog");
    for (tag, count, quantiles, mean, stddev, min) in cases {
        let row = row(&ingested, &format!("hdr/load/{tag}"), "wall_ns");
        let of = &row.summary;
        assert_eq!((of.n_samples, row.iters_total), (count, u64::from(count)));
        let found = [of.p05, of.p25, of.median, of.p75, of.p90, of.p95, of.p99, of.max];
        // A hundredth part of 300 values is too few.
        let wanted = quantiles.map(|quantile| (quantile > 0.0).then_some(quantile));
        assert_eq!((found, row.value, of.min), (wanted, of.median, Some(min)), "{tag}");
        assert!((of.mean.unwrap() - mean).abs() < 0.01, "{tag}: {:?}", of.mean);
        // Python divides by the number of values, we by one less.
        let ours = of.stddev.unwrap() * ((f64::from(count) - 1.0) / f64::from(count)).sqrt();
        assert!((ours - stddev).abs() < 0.01, "{tag}: {ours}");
        assert!(of.outliers_high > 0 && of.outliers_low == 0 && of.p999.is_none());
        let rate = self::row(&ingested, &format!("hdr/load/{tag}"), "throughput");
        assert_eq!(rate.value, Some(f64::from(count) / 3.0));
        assert_eq!(row.started_at, 1_700_000_000_250_000);
    }
    let micros = IngestOptions { unit: "us".into(), ..options() };
    let ingested = ingest(Kind::Hdr, &[fixture("load.hlog")], &micros).unwrap();
    assert_eq!(row(&ingested, "hdr/load/read", "wall_ns").value, Some(436_735_000.0));
}

#[test]
fn a_damaged_histogram_is_an_error_of_its_line() {
    let log = fs::read_to_string(fixture("load.hlog")).unwrap();
    let line = log.lines().nth(3).unwrap();
    let start = line.find("HIST").unwrap();
    for length in start..line.len() - 1 {
        let complaint = complaint(text(Kind::Hdr, &format!("# a comment\n{}", &line[..length])));
        assert!(complaint.starts_with("given.txt:2: "), "cut at {length}: {complaint}");
    }
    for (bad, message) in [
        ("1,2,3", "expected start, length, maximum and histogram"),
        ("1,x,3,HIST", "the length of the interval is no number"),
        ("1,2,3,HIST!", "byte 0x21 in base64"),
        ("1,2,3,AAAAAAAA", "cookie 0x00000000"),
        ("#[StartTime: soon]", "`StartTime` without seconds"),
    ] {
        let complaint = complaint(text(Kind::Hdr, bad));
        assert!(complaint.starts_with("given.txt:1: ") && complaint.contains(message), "{complaint}");
    }
    assert!(complaint(text(Kind::Hdr, "# nothing\n")).contains("no line with a histogram"));
}

#[test]
fn suite_storage_needs_a_durability() {
    let storage = IngestOptions { suite: "storage".into(), ..options() };
    let refused = complaint(ingest(Kind::DbBench, &[fixture("db_bench.txt")], &storage));
    assert!(refused.contains("`db_bench/fillseq` of suite `storage` has no durability"), "{refused}");
    let wal = IngestOptions { durability: Some("wal".into()), ..storage.clone() };
    let ingested = ingest(Kind::DbBench, &[fixture("db_bench.txt")], &wal).unwrap();
    let durabilities = |id: &str| row(&ingested, id, "wall_ns").durability.clone().unwrap();
    assert_eq!(
        (durabilities("db_bench/fillseq"), durabilities("db_bench/fillsync")),
        ("wal".into(), "wal_fsync".into())
    );
    let wrong = IngestOptions { durability: Some("fsync".into()), ..storage };
    assert!(
        complaint(ingest(Kind::DbBench, &[fixture("db_bench.txt")], &wrong))
            .contains("the nearest is `wal_fsync`")
    );
}
