//! Folders of criterion.

use super::{complaint, fixture, ids, options, read, row};
use promptc_store::history::ingest::{IngestOptions, Kind, criterion_folder, ingest};
use promptc_store::history::{Side, Status};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// One benchmark of the committed folders.
pub(super) const ONE: &str = "Checksum Rounds/xor_mul/64/new";

pub(super) const FILES: [&str; 4] = ["benchmark.json", "estimates.json", "sample.json", "tukey.json"];

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The committed folder of criterion 0.8 where it may be damaged.
pub(super) fn damaged() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy_folder(&fixture("criterion_0_8"), folder.path());
    folder
}

#[test]
fn two_versions_of_criterion_give_the_same_benchmarks_with_their_own_figures() {
    for version in ["criterion_0_5", "criterion_0_8"] {
        let ingested = read(Kind::Criterion, version);
        assert_eq!(ingested.warnings, [""; 0]);
        let all =
            ["checksum_rounds/xor/mul/1024", "checksum_rounds/xor/mul/64", "confidence_scoring", "slow/k_1"];
        assert_eq!(ids(&ingested), all);
        assert_eq!(ingested.samples.len(), 4);
        let folders =
            ["Checksum Rounds/xor_mul/1024", "Checksum Rounds/xor_mul/64", "Confidence Scoring", "slow/K=1"];
        for (idx, folder) in folders.into_iter().enumerate() {
            let (row, samples) = (&ingested.results[idx], &ingested.samples[idx]);
            let file = fixture(version).join(folder).join("new/estimates.json");
            let stored: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
            // criterion's own median of the same samples is the second opinion.
            let median = stored["median"]["point_estimate"].as_f64().unwrap();
            assert!(
                (row.value.unwrap() / median - 1.0).abs() < 1e-12,
                "{folder}: {:?} is not {median}",
                row.value
            );
            assert_eq!(row.slope, stored["slope"]["point_estimate"].as_f64(), "{folder}");
            assert_eq!((row.metric.as_str(), row.unit.as_str(), row.direction), ("wall_ns", "ns", -1));
            assert_eq!((row.status, row.suite.as_str(), row.side), (Status::Ok, "elsewhere", Side::Solo));
            assert_eq!(
                (samples.values.len(), samples.iters.len(), &samples.bench_id),
                (10, 10, &row.bench_id)
            );
            assert_eq!(row.iters_total, samples.iters.iter().sum::<u64>());
            let total: f64 =
                samples.values.iter().zip(&samples.iters).map(|(value, &count)| value * count as f64).sum();
            assert!((row.measure_ns as f64 - total).abs() < 2.0, "{folder}");
        }
        assert!(row(&ingested, "slow/k_1", "wall_ns").slope.is_none(), "flat sampling has no slope");
        let per_iter = |id: &str| {
            let row = row(&ingested, id, "wall_ns");
            row.throughput_per_iter.zip(row.throughput_unit.clone())
        };
        assert_eq!(per_iter("checksum_rounds/xor/mul/64"), Some((512, "bytes".to_owned())));
        assert_eq!(per_iter("slow/k_1"), Some((3, "elements".to_owned())));
        assert_eq!(per_iter("confidence_scoring"), None);
    }
}

#[test]
fn a_project_its_target_folder_and_any_file_lead_to_the_same_benchmarks() {
    let project = tempfile::tempdir().unwrap();
    let folder = criterion_folder(project.path(), None, None);
    copy_folder(&fixture("criterion_0_8"), &folder);
    let whole = ingest(Kind::Criterion, &[project.path().to_path_buf()], &options()).unwrap();
    assert_eq!(whole.results.len(), 4);
    for path in [project.path().join("target"), folder.clone()] {
        assert_eq!(ingest(Kind::Criterion, &[path], &options()).unwrap(), whole);
    }
    for path in [folder.join(ONE), folder.join(ONE).join("sample.json")] {
        assert_eq!(
            ids(&ingest(Kind::Criterion, &[path], &options()).unwrap()),
            ["checksum_rounds/xor/mul/64"]
        );
    }
    let elsewhere = criterion_folder(project.path(), Some(Path::new("/home")), Some(Path::new("/target")));
    assert_eq!(elsewhere, Path::new("/home"));
    assert_eq!(
        criterion_folder(Path::new("/p"), None, Some(Path::new("out"))),
        Path::new("/p/out/criterion")
    );
}

#[test]
fn a_folder_read_again_or_from_two_sides_counts_once() {
    let folder = damaged();
    let once = ingest(Kind::Criterion, &[folder.path().to_path_buf()], &options()).unwrap();
    let paths = [folder.path().to_path_buf(), folder.path().join("slow"), folder.path().join(ONE)];
    assert_eq!(ingest(Kind::Criterion, &paths, &options()).unwrap(), once);
    // The hash is of the content, not of the place.
    let copy = damaged();
    let copied = ingest(Kind::Criterion, &[copy.path().to_path_buf()], &options()).unwrap();
    assert_eq!(copied.content_hash, once.content_hash);
    let other = read(Kind::Criterion, "criterion_0_5");
    assert_ne!(other.content_hash, once.content_hash);
    let cand = IngestOptions { side: Side::Candidate, ..options() };
    let cand = ingest(Kind::Criterion, &[folder.path().to_path_buf()], &cand).unwrap();
    assert_ne!(cand.content_hash, once.content_hash);
    assert!(cand.results.iter().all(|row| row.side == Side::Candidate));
    assert!(cand.samples.iter().all(|row| row.side == Side::Candidate));
}

#[test]
fn every_file_cut_at_every_byte_costs_its_benchmark_alone() {
    let folder = damaged();
    fs::remove_dir_all(folder.path().join("slow")).unwrap();
    fs::remove_dir_all(folder.path().join("Confidence Scoring")).unwrap();
    for name in FILES {
        let path = folder.path().join(ONE).join(name);
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let ingested = ingest(Kind::Criterion, &[folder.path().to_path_buf()], &options()).unwrap();
            assert_eq!(ingested.results.len(), 1, "{name} cut at {length}");
            assert_eq!(ingested.samples.len(), 1, "{name} cut at {length}");
            let [warning] = ingested.warnings.as_slice() else {
                panic!("{name} cut at {length}: {ingested:?}")
            };
            assert!(warning.contains(&format!("{ONE}/{name}:1: ")), "{warning}");
            assert!(warning.ends_with("the benchmark is skipped; run it again"), "{warning}");
        }
        fs::write(&path, whole).unwrap();
    }
    assert_eq!(ingest(Kind::Criterion, &[folder.path().to_path_buf()], &options()).unwrap().results.len(), 2);
}

#[test]
fn a_missing_foreign_or_oversized_file_costs_its_benchmark_alone() {
    type Damage = fn(&Path);
    let cases: [(&str, Damage, &str); 9] = [
        ("benchmark.json", |path| fs::remove_file(path).unwrap(), "cannot be read"),
        ("tukey.json", |path| fs::remove_file(path).unwrap(), "cannot be read"),
        (
            "sample.json",
            |path| fs::write(path, b"{\"iters\":[1.0],\n\"times\":[\xff]}").unwrap(),
            ":2: bytes that are not UTF-8",
        ),
        (
            "sample.json",
            |path| fs::write(path, "{\"iters\":[1.0,2.0],\"times\":[3.0]}").unwrap(),
            "2 iteration counts stand beside 1",
        ),
        ("sample.json", |path| fs::write(path, "{\"iters\":[],\"times\":[]}").unwrap(), "no samples"),
        (
            "sample.json",
            |path| fs::write(path, "{\"iters\":[1.5],\"times\":[3.0]}").unwrap(),
            "has 1.5 iterations",
        ),
        (
            "sample.json",
            |path| fs::write(path, "{\"iters\":[1.0],\"times\":[0.0]}").unwrap(),
            "sample 0 took 0",
        ),
        ("tukey.json", |path| fs::write(path, "[4.0,3.0,2.0,1.0]").unwrap(), "do not ascend"),
        (
            "estimates.json",
            |path| {
                fs::remove_file(path).unwrap();
                fs::create_dir(path).unwrap()
            },
            "is a folder, not a file",
        ),
    ];
    for (name, damage, message) in cases {
        let folder = damaged();
        damage(&folder.path().join(ONE).join(name));
        let ingested = ingest(Kind::Criterion, &[folder.path().to_path_buf()], &options()).unwrap();
        assert_eq!(ingested.results.len(), 3, "{message}");
        let [warning] = ingested.warnings.as_slice() else { panic!("{message}: {:?}", ingested.warnings) };
        assert!(warning.contains(message) && warning.contains(&format!("{ONE}/{name}")), "{warning}");
        assert!(warning.contains("skipped"), "{warning}");
    }
    let small = IngestOptions { file_bytes_max: 300, ..options() };
    let ingested = ingest(Kind::Criterion, &[fixture("criterion_0_8")], &small).unwrap();
    assert!(ingested.results.is_empty() && ingested.warnings.len() == 4);
    assert!(ingested.warnings[0].contains("more than 300 bytes"), "{}", ingested.warnings[0]);
    let few = IngestOptions { samples_max: 9, ..options() };
    let ingested = ingest(Kind::Criterion, &[fixture("criterion_0_8")], &few).unwrap();
    assert!(
        ingested.warnings[3].contains("10 samples of one benchmark, at most 9"),
        "{:?}",
        ingested.warnings
    );
}

#[test]
fn files_of_two_runs_side_by_side_are_noticed() {
    let folder = damaged();
    let (of, to) = (fixture("criterion_0_5").join(ONE), folder.path().join(ONE));
    fs::copy(of.join("sample.json"), to.join("sample.json")).unwrap();
    let ingested = ingest(Kind::Criterion, &[folder.path().to_path_buf()], &options()).unwrap();
    assert_eq!(ingested.results.len(), 3);
    assert!(ingested.warnings[0].contains("files of two runs"), "{:?}", ingested.warnings);
    // All files of the other run together are one run again.
    copy_folder(&of, &to);
    let ingested = ingest(Kind::Criterion, &[folder.path().to_path_buf()], &options()).unwrap();
    assert_eq!((ingested.results.len(), ingested.warnings.len()), (4, 0));
}

#[test]
fn benchmarks_of_earlier_runs_are_left_out() {
    let folder = damaged();
    let bound = SystemTime::now() + Duration::from_secs(1_000);
    let newer = IngestOptions { newer_than: Some(bound), ..options() };
    let set = |path: &Path, time: SystemTime| {
        fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    };
    let paths = [folder.path().to_path_buf()];
    let ingested = ingest(Kind::Criterion, &paths, &newer).unwrap();
    assert!(ingested.results.is_empty());
    assert!(
        ingested.warnings[0].contains("all 4 benchmarks were last measured before"),
        "{:?}",
        ingested.warnings
    );

    let later = bound + Duration::from_secs(1);
    FILES.iter().for_each(|name| set(&folder.path().join(ONE).join(name), later));
    let ingested = ingest(Kind::Criterion, &paths, &newer).unwrap();
    assert_eq!(
        (ids(&ingested).as_slice(), ingested.warnings.len()),
        (["checksum_rounds/xor/mul/64"].as_slice(), 0)
    );
    // The time of the measurement is that of its file less what it took.
    let row = &ingested.results[0];
    let written = i64::try_from(later.duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap();
    assert_eq!(row.started_at, written - i64::try_from(row.measure_ns / 1_000).unwrap());
    assert_eq!(ingested.measured_at, Some(row.started_at));

    set(&folder.path().join(ONE).join("estimates.json"), bound - Duration::from_secs(1));
    let ingested = ingest(Kind::Criterion, &paths, &newer).unwrap();
    assert!(
        ingested.results.is_empty()
            && ingested.warnings[0].contains("estimates.json: older than the samples")
    );
}

#[test]
fn titles_that_differ_in_signs_only_are_told() {
    let folder = damaged();
    copy_folder(&folder.path().join("slow"), &folder.path().join("slow_2"));
    let path = folder.path().join("slow_2/K=1/new/benchmark.json");
    let stored = fs::read_to_string(&path).unwrap();
    // A copy under the same title is the same measurement.
    assert_eq!(
        ingest(Kind::Criterion, &[folder.path().to_path_buf()], &options()).unwrap().warnings,
        [""; 0]
    );
    fs::write(&path, stored.replace("K=1", "K 1").replace("\"Elements\":3", "\"Elements\":4")).unwrap();
    let ingested = ingest(Kind::Criterion, &[folder.path().to_path_buf()], &options()).unwrap();
    assert_eq!(ingested.results.len(), 4);
    let [warning] = ingested.warnings.as_slice() else { panic!("{:?}", ingested.warnings) };
    assert_eq!(ingested.left_out, 1);
    assert!(warning.contains("`slow/k_1` wall_ns (solo, attempt 0) is measured again, after"), "{warning}");
    assert!(
        warning.contains("slow_2/K=1/new/sample.json:1") && warning.contains("slow/K=1/new/sample.json:1"),
        "{warning}"
    );
    // criterion numbers a title that occurs twice in one run.
    fs::write(&path, stored.replace("\"title\":\"slow/K=1\"", "\"title\":\"slow/K=1 #2\"")).unwrap();
    let ingested = ingest(Kind::Criterion, &[folder.path().to_path_buf()], &options()).unwrap();
    assert_eq!(ids(&ingested)[3..], ["slow/k_1", "slow/k_1_2"]);
}

#[test]
fn titles_and_throughputs_of_other_forms_are_read() {
    let folder = damaged();
    let path = folder.path().join("slow/K=1/new/benchmark.json");
    let long = "long ".repeat(30);
    let cases = [
        (r#"{"group_id":"A","function_id":"b","value_str":"1"}"#.to_owned(), "a/b/1", None, 0),
        (
            format!(r#"{{"group_id":"{long}","full_id":"{long}/x","title":"{}..."}}"#, &long[..100]),
            "",
            None,
            0,
        ),
        (r#"{"group_id":"a","throughput":{"BytesDecimal":7}}"#.to_owned(), "a", Some(7), 0),
        (
            r#"{"group_id":"a","throughput":{"ElementsAndBytes":{"elements":5,"bytes":9}}}"#.to_owned(),
            "a",
            Some(5),
            0,
        ),
        (r#"{"group_id":"a","throughput":{"Frames":7}}"#.to_owned(), "a", None, 1),
        (r#"{"group_id":" "}"#.to_owned(), "none", None, 1),
    ];
    for (stored, id, per_iter, warning_count) in cases {
        fs::write(&path, &stored).unwrap();
        let ingested = ingest(Kind::Criterion, &[folder.path().join("slow")], &options()).unwrap();
        assert_eq!(ingested.warnings.len(), warning_count, "{stored}: {:?}", ingested.warnings);
        let Some(row) = ingested.results.first() else {
            assert_eq!(id, "none");
            continue;
        };
        let id = if id.is_empty() {
            format!("{}/x", "long_".repeat(30).trim_end_matches('_'))
        } else {
            id.to_owned()
        };
        assert_eq!((&row.bench_id, row.throughput_per_iter), (&id, per_iter), "{stored}");
    }
}

#[test]
fn another_measurement_of_criterion_keeps_its_name_and_unit() {
    let counted = IngestOptions { metric: "instructions".into(), unit: "count".into(), ..options() };
    let ingested = ingest(Kind::Criterion, &[fixture("criterion_0_8")], &counted).unwrap();
    let row = &ingested.results[0];
    assert_eq!(
        (row.metric.as_str(), row.unit.as_str(), row.direction, row.measure_ns),
        ("instructions", "count", -1, 0)
    );
    let wrong = IngestOptions { unit: "parsec".into(), ..options() };
    assert!(
        complaint(ingest(Kind::Criterion, &[fixture("criterion_0_8")], &wrong))
            .starts_with("option `unit`: ")
    );
    let wrong = IngestOptions { unit: "bytes".into(), ..options() };
    assert!(complaint(ingest(Kind::Criterion, &[], &wrong)).contains("metric `wall_ns` has unit `bytes`"));
}

#[test]
fn a_path_without_results_is_an_error() {
    let empty = tempfile::tempdir().unwrap();
    let nothing = complaint(ingest(Kind::Criterion, &[empty.path().to_path_buf()], &options()));
    assert!(nothing.contains("holds no criterion results") && nothing.contains("cargo bench"), "{nothing}");
    for kind in Kind::ALL {
        assert!(complaint(ingest(kind, &[], &options())).contains("no path"), "{kind}");
        let missing = complaint(ingest(kind, &[empty.path().join("nothing")], &options()));
        assert!(missing.contains("nothing cannot be read"), "{kind}: {missing}");
    }
    let folder = complaint(ingest(Kind::Rows, &[empty.path().to_path_buf()], &options()));
    assert!(folder.contains("is a folder, not a file"), "{folder}");
    // A folder without files, which a run leaves that is ended just after it made it.
    fs::create_dir_all(empty.path().join("a/new")).unwrap();
    let ingested = ingest(Kind::Criterion, &[empty.path().to_path_buf()], &options()).unwrap();
    assert!(ingested.results.is_empty() && ingested.warnings[0].contains("a/new/sample.json cannot be read"));
}
