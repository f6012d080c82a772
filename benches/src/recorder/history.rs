//! Rows, environment and git state of a run, written to the history.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use promptc_kernels::Kernels;
use promptc_store::history::ingest::{IngestError, IngestOptions, Ingested, Kind, ingest};
use promptc_store::history::{
    BuildInfo, Environment, History, ResultRow, Run, SampleRow, Status, Summary, bench_id, code_hash,
    git_state, new_run_id, summary,
};
use serde_json::json;

pub(super) use promptc_store::history::NoiseProbe as Probe;

use super::Recorder;
use crate::built::built;
use crate::catalog;
use crate::measurement::{Measurement, Outcome};
use crate::place;
use crate::targets::{self, Target};

/// Seed of the resampling behind the interval of a median.
const SUMMARY_SEED: u64 = 0;
/// Slack of the file system's clock against ours when telling criterion's new files from old ones.
const CLOCK_SLACK: Duration = Duration::from_millis(20);

/// Variable that names a file: rows go there as JSON lines, as `promptc bench ingest --from rows` reads them, and not into the
/// history. For a program that starts a bench many times and puts the slices together itself.
const SLICE_VARIABLE: &str = "PROMPTC_BENCH_SLICE";

/// Writes one run and says where it is. No run without rows.
pub(super) fn write(recorder: &Recorder) -> Result<String, String> {
    let run = run(recorder)?;
    if run.results.is_empty() {
        return Ok(format!("{}: nothing was measured, nothing is recorded", recorder.bench.name));
    }
    if let Some(path) = std::env::var_os(SLICE_VARIABLE).filter(|path| !path.is_empty()) {
        let path = std::path::PathBuf::from(path);
        std::fs::write(&path, lines(&run)).map_err(|error| format!("{}: {error}", path.display()))?;
        return Ok(format!("{} rows in {}", run.results.len(), path.display()));
    }
    let environment = Environment::capture(&build()?);
    let folder = place::history_folder();
    let written = History::open(&folder).and_then(|history| {
        let run = Run { env_id: environment.id(), ..run.clone() };
        history.write(&run, &environment)
    });
    written.map_err(|error| format!("{}: {error}", error.code()))?;
    let measured = run.results.iter().filter(|row| row.status == Status::Ok).count();
    let skipped = run.results.len() - measured;
    Ok(format!("recorded {measured} rows and {skipped} skipped as run {} in {}", run.id, folder.display()))
}

/// Everything but the environment.
fn run(recorder: &Recorder) -> Result<Run, String> {
    let criterion = criterion(recorder)?;
    for warning in &criterion.warnings {
        eprintln!("warning: {warning}");
    }
    let known = ids();
    let own = own_ids(recorder);
    let mut results = Vec::new();
    let mut samples = criterion.samples;
    for row in criterion.results {
        if !known.contains(&row.bench_id) {
            return Err(format!("`{}` is not in the list of benches", row.bench_id));
        }
        let of_row = samples.iter().find(|sample| sample.bench_id == row.bench_id);
        results.extend(of_row.and_then(|sample| throughput(&row, sample)));
        results.push(row);
    }
    for measurement in &recorder.measurements {
        let row = result(recorder, measurement);
        if !own.contains(&row.bench_id) {
            return Err(format!("`{}` is not in the list of benches", row.bench_id));
        }
        results.push(row);
        samples.extend(sample(measurement));
    }
    // Other benches may write into the same folder at the same time.
    results.retain(|row| own.contains(&row.bench_id));
    samples.retain(|sample| own.contains(&sample.bench_id));
    if results.is_empty() {
        return Ok(Run::default());
    }
    complete(recorder, &mut results)?;
    Ok(Run {
        id: new_run_id(recorder.started),
        started_at: micros(recorder.started),
        git: git_state(&place::root()),
        pr: std::env::var("PROMPTC_PR").ok().filter(|number| !number.is_empty()),
        results,
        samples,
        ..Run::default()
    })
}

/// What criterion wrote since the start.
fn criterion(recorder: &Recorder) -> Result<Ingested, String> {
    let Some(folder) = &recorder.criterion else { return Ok(Ingested::default()) };
    let mut options = IngestOptions::new(recorder.bench.suite, |values| summary(values, SUMMARY_SEED));
    options.params = recorder.params.clone();
    options.newer_than = Some(recorder.started - CLOCK_SLACK);
    match ingest(Kind::Criterion, std::slice::from_ref(folder), &options) {
        // Everything was filtered out.
        Err(IngestError::NothingFound { .. }) => Ok(Ingested::default()),
        found => found.map_err(|error| error.to_string()),
    }
}

/// Every id that a bench may record.
fn ids() -> Vec<String> {
    let titles = catalog::BENCHES.iter().flat_map(|bench| bench.groups).flat_map(catalog::Group::each);
    titles.map(|title| bench_id(&title)).collect()
}

fn own_ids(recorder: &Recorder) -> Vec<String> {
    let titles = recorder.bench.groups.iter().flat_map(catalog::Group::each);
    titles.map(|title| bench_id(&title)).collect()
}

/// The same measurement as work per second, of a row that says how much work an iteration is. Its samples are those of the row.
fn throughput(row: &ResultRow, sample: &SampleRow) -> Option<ResultRow> {
    let work = row.throughput_per_iter? as f64;
    let unit = if row.throughput_unit.as_deref()?.contains("bytes") { "bytes/s" } else { "1/s" };
    let values: Vec<f64> = sample.values.iter().map(|wall_ns| work * 1e9 / wall_ns).collect();
    let summary = summary(&values, SUMMARY_SEED);
    let (metric, unit) = ("throughput".to_owned(), unit.to_owned());
    Some(ResultRow { metric, unit, direction: 1, value: summary.median, summary, slope: None, ..row.clone() })
}

fn result(recorder: &Recorder, measurement: &Measurement) -> ResultRow {
    let (status, error, summary) = match &measurement.outcome {
        Outcome::Measured(values) => (Status::Ok, None, summary(values, SUMMARY_SEED)),
        Outcome::Skipped(reason) => (Status::Skipped, Some(reason.clone()), Summary::default()),
        Outcome::Failed(reason) => (Status::Failed, Some(reason.clone()), Summary::default()),
    };
    let is_storage = recorder.bench.suite == "storage";
    let durability = measurement.durability.or(is_storage.then_some("none"));
    let mut params = recorder.params.clone();
    params.extend(measurement.params.clone());
    ResultRow {
        suite: recorder.bench.suite.to_owned(),
        bench_id: bench_id(&measurement.title),
        params,
        metric: measurement.metric.to_owned(),
        unit: measurement.unit.to_owned(),
        direction: measurement.direction,
        iters_total: u64::from(summary.n_samples),
        value: summary.median,
        summary,
        measure_ns: u64::try_from(measurement.measured_in.as_nanos()).unwrap_or(u64::MAX),
        status,
        error,
        durability: durability.map(str::to_owned),
        started_at: micros(recorder.started),
        ..ResultRow::default()
    }
}

fn sample(measurement: &Measurement) -> Option<SampleRow> {
    let Outcome::Measured(values) = &measurement.outcome else { return None };
    Some(SampleRow {
        bench_id: bench_id(&measurement.title),
        metric: measurement.metric.to_owned(),
        iters: vec![1; values.len()],
        values: values.clone(),
        ..SampleRow::default()
    })
}

/// What all rows of the run share.
fn complete(recorder: &Recorder, results: &mut [ResultRow]) -> Result<(), String> {
    let executable = std::env::current_exe().map_err(|error| format!("this executable: {error}"))?;
    let hash = code_hash(&executable).map_err(|error| error.to_string())?;
    let promises = targets::targets()?;
    let noise = recorder.probe.end();
    let mut tags = BTreeMap::from([
        ("dispatch".to_owned(), Kernels::best().level().name().to_owned()),
        ("file".to_owned(), format!("benches/{}.rs", recorder.bench.name)),
    ]);
    if recorder.arguments.is_quick() {
        tags.insert("sampling".to_owned(), "quick".to_owned());
    }
    for row in results {
        let promise =
            targets::of(&promises, &row.bench_id, &row.metric).filter(|target| target.unit == row.unit);
        row.target_value = promise.map(|target: &Target| target.bound);
        row.target_op = promise.map(|target| target.op.clone());
        row.code_hash = Some(hash.clone());
        row.noise = noise.clone();
        row.tags.extend(tags.clone());
    }
    Ok(())
}

/// What `build.rs` burnt in, and what is known only now.
fn build() -> Result<BuildInfo, String> {
    let lock = std::fs::read(place::root().join("Cargo.lock")).ok();
    let is_set = |name: &str| std::env::var_os(name).is_some();
    let ci_provider = match () {
        () if is_set("GITHUB_ACTIONS") => Some("github"),
        () if is_set("GITLAB_CI") => Some("gitlab"),
        () if is_set("CI") => Some("other"),
        () => None,
    };
    let built: BuildInfo = serde_json::from_value(built()).map_err(|error| format!("the build: {error}"))?;
    Ok(BuildInfo {
        cargo_lock_hash: lock.map(|bytes| blake3::hash(&bytes).to_hex().to_string()),
        ci_provider: ci_provider.map(str::to_owned),
        ..built
    })
}

/// The rows with their samples, one JSON object a line.
fn lines(run: &Run) -> String {
    let mut text = String::new();
    for row in &run.results {
        let of_row = |sample: &&SampleRow| sample.bench_id == row.bench_id && sample.metric == row.metric;
        let sample = run.samples.iter().find(of_row);
        let object = json!({
            "suite": row.suite,
            "bench_id": row.bench_id,
            "metric": row.metric,
            "unit": row.unit,
            "direction": row.direction,
            "params": row.params,
            "tags": row.tags,
            "value": row.value,
            "values": sample.map(|sample| &sample.values),
            "iters": sample.map(|sample| &sample.iters),
            "status": row.status.as_str(),
            "error": row.error,
            "durability": row.durability,
            "code_hash": row.code_hash,
            "started_at": row.started_at,
        });
        text.push_str(&object.to_string());
        text.push('\n');
    }
    text
}

fn micros(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::Arguments;
    use crate::context::Scale;
    use promptc_store::history::ingest::ingest_text;

    /// A recorder that measured one thing itself, and skips what `compression_performance` has no subject for.
    fn recorder() -> Recorder {
        let arguments = Arguments::parse(["--bench".to_owned()]).unwrap();
        let bench = catalog::bench("compression_performance").unwrap();
        let mut recorder = Recorder::new(bench, arguments, Scale::Quick);
        recorder.param("data", "generated");
        let title = "compression_performance/mixed/0.5";
        recorder.add(Measurement::new(title, "bytes_per_second", vec![3e7, 1e7, 2e7]).param("threads", 1));
        let absent = recorder.absent();
        recorder.measurements.extend(absent);
        recorder
    }

    #[test]
    fn a_run_holds_what_was_measured_and_what_was_not() {
        let run = run(&recorder()).unwrap();
        assert_eq!((run.results.len(), run.samples.len()), (6, 1));
        let row = &run.results[0];
        assert_eq!(
            (row.bench_id.as_str(), row.metric.as_str()),
            ("compression_performance/mixed/0.5", "throughput")
        );
        assert_eq!((row.value, row.status), (Some(2e7), Status::Ok));
        assert_eq!((row.target_value, row.target_op.as_deref()), (Some(2e7), Some(">=")));
        let expected = [("data", "generated"), ("scale", "quick"), ("threads", "1")];
        assert_eq!(row.params, expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
        assert_eq!(row.tags["file"], "benches/compression_performance.rs");
        assert_eq!(row.code_hash.as_ref().map(String::len), Some(64));
        for row in &run.results[1..] {
            assert_eq!((row.status, row.value), (Status::Skipped, None));
            assert!(row.error.as_deref().is_some_and(|reason| !reason.is_empty()));
        }
    }

    #[test]
    fn the_history_takes_it_and_gives_it_back() {
        let folder = tempfile::tempdir().unwrap();
        let environment = Environment::capture(&build().unwrap());
        let run = Run { env_id: environment.id(), ..run(&recorder()).unwrap() };
        let history = History::open(folder.path()).unwrap();
        history.write(&run, &environment).unwrap();
        let runs = history.runs().unwrap();
        assert_eq!(runs.len(), 1);
        assert_eq!(runs[0].id, run.id);
    }

    #[test]
    fn lines_are_rows_that_are_taken_in_again() {
        let run = run(&recorder()).unwrap();
        let options = IngestOptions::new("other", |values| summary(values, SUMMARY_SEED));
        let again = ingest_text(Kind::Rows, "slice", &lines(&run), 0, &options).unwrap();
        let sorted = |rows: &[ResultRow]| {
            let mut rows: Vec<_> = rows
                .iter()
                .map(|row| {
                    (
                        row.bench_id.clone(),
                        row.metric.clone(),
                        row.value,
                        row.error.clone(),
                        row.params.clone(),
                    )
                })
                .collect();
            rows.sort_by(|left, right| left.0.cmp(&right.0));
            rows
        };
        assert_eq!(sorted(&again.results), sorted(&run.results));
        assert_eq!(again.samples.len(), 1);
        assert_eq!(again.samples[0].values, run.samples[0].values);
    }

    #[test]
    fn a_bench_outside_the_list_is_refused() {
        let mut recorder = recorder();
        recorder.measurements.clear();
        recorder.add(Measurement::new("compression_performance/none", "wall_ns", vec![1.0]));
        assert!(run(&recorder).unwrap_err().contains("`compression_performance/none` is not in the list"));
    }

    #[test]
    fn work_per_second_follows_from_samples() {
        let row = ResultRow {
            throughput_per_iter: Some(100),
            throughput_unit: Some("elements".to_owned()),
            ..ResultRow::default()
        };
        let sample = SampleRow { values: vec![1e9, 2e9, 4e9], ..SampleRow::default() };
        let rate = throughput(&row, &sample).unwrap();
        assert_eq!((rate.value, rate.unit.as_str(), rate.direction), (Some(50.0), "1/s", 1));
        assert!(throughput(&ResultRow::default(), &sample).is_none());
    }

    #[test]
    fn titles_become_ids_as_the_list_says() {
        assert!(ids().contains(&"answer_refinement_256d_10_tokens".to_owned()));
        assert!(ids().contains(&"full_trm_k_iterations/k/20".to_owned()));
    }
}
