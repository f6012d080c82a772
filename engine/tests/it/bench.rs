//! Benches and gates of programs over a real store and a real history: measured, recorded, decided.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use promptc_engine::bench::{Measurement, Setup, local_name, measure, now};
use promptc_engine::context::{Cancel, Silent};
use promptc_engine::error::EngineError;
use promptc_engine::gate::file::Question;
use promptc_engine::gate::{Decision, Outcome, ProgramGate, SqlGate, verdict_rows};
use promptc_engine::program::{Program, Settings, load};
use promptc_engine::store::history::{BuildInfo, Environment, GitState, History, ResultRow, Run, Status};
use promptc_engine::store::open::{CACHE_BYTES_DEFAULT, Store, StoreOptions};
use promptc_engine::store::sql::{gate_session, history_session};

use crate::fixture::{DOCUMENTS, Fixture};

/// A program with a bench over the small documents-and-questions job.
fn program(rest: &str) -> Fixture {
    let fixture = Fixture::documents();
    fixture.write("program.promptc", format!("{DOCUMENTS}\n{rest}"));
    fixture
}

const BENCH: &str = r#"
bench packs {
  run  = pack.prompts
  data = asks
  metrics {
    prompts = count()
    fits    = mean(prompt_tokens <= 96tok)
    longest = max(prompt_tokens)
    slowest = max(latency)
  }
  better { fits = higher }
  repeat = 2
  record = history("docs")
}
"#;

fn checked(fixture: &Fixture) -> Program {
    let settings = Settings { set: fixture.set.clone(), ..Settings::default() };
    let program = load(&fixture.path().join("program.promptc"), &settings).unwrap();
    let shown: Vec<_> = program.checked.diagnostics.iter().map(|found| &found.message).collect();
    assert!(!program.checked.has_errors(), "{shown:?}");
    program
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn measured(fixture: &Fixture) -> Result<Measurement, EngineError> {
    measured_with(fixture, Cancel::default())
}

fn measured_with(fixture: &Fixture, cancel: Cancel) -> Result<Measurement, EngineError> {
    measured_in(tempfile::tempdir().unwrap().path(), fixture, cancel)
}

fn measured_in(scratch: &Path, fixture: &Fixture, cancel: Cancel) -> Result<Measurement, EngineError> {
    let program = checked(fixture);
    let options = fixture.options();
    let setup = Setup {
        hir: &program.checked.hir,
        options: &options,
        scratch,
        repeat: None,
        events: Arc::new(Silent),
        cancel,
    };
    runtime().block_on(measure(&setup, &program.checked.hir.benches[0]))
}

fn values(found: &Measurement, metric: &str) -> Vec<Option<f64>> {
    found.results.iter().filter(|row| row.metric == metric).map(|row| row.value).collect()
}

#[test]
fn a_bench_gives_one_row_for_each_repetition_and_metric() {
    let found = measured(&program(BENCH)).unwrap();
    assert!(found.is_whole(), "{:?}", found.faults);
    assert_eq!(values(&found, "prompts"), [Some(2.0), Some(2.0)]);
    assert_eq!(values(&found, "fits"), [Some(1.0), Some(1.0)]);
    let longest = values(&found, "longest");
    assert!(longest[0] == longest[1] && longest[0].unwrap() > 16.0, "{longest:?}");
    for metric in ["wall_ns", "rss_peak_bytes", "slowest"] {
        assert!(values(&found, metric).iter().all(|value| value.unwrap() > 0.0), "{metric}");
    }
    let row = |metric: &str| found.results.iter().find(|row| row.metric == metric).unwrap();
    let fits = row("fits");
    assert_eq!((fits.bench_id.as_str(), fits.suite.as_str()), ("docs/packs/prompts", "docs"));
    assert_eq!((fits.unit.as_str(), fits.direction, fits.subject.as_deref()), ("share", 1, Some("prompts")));
    assert_eq!((row("slowest").unit.as_str(), row("slowest").direction), ("ns", -1));
    assert_eq!((row("longest").unit.as_str(), row("prompts").unit.as_str()), ("tok", "count"));
    assert_eq!(row("wall_ns").direction, 0, "information");
    assert_eq!(fits.params.get("data").map(String::as_str), Some("asks"));
    assert_eq!((fits.seed, fits.status), (Some(7), Status::Ok));
    assert!(fits.code_hash.as_ref().is_some_and(|hash| hash.len() == 64));
    assert!(fits.measure_ns > 0 && fits.noise.load1.is_some());
    let attempts: Vec<u16> =
        found.results.iter().filter(|row| row.metric == "fits").map(|row| row.attempt).collect();
    assert_eq!(attempts, [0, 1]);
    assert!(row("slowest").value < row("wall_ns").value, "one row takes less than the whole repetition");
}

#[test]
fn hashes_tell_a_changed_program_from_changed_data() {
    let fixture = program(BENCH);
    let hashes = |fixture: &Fixture| {
        let row = measured(fixture).unwrap().results.remove(0);
        (row.plan_hash.unwrap(), row.data_hash.unwrap())
    };
    let first = hashes(&fixture);
    assert_eq!(first, hashes(&fixture));
    fixture.write("docs/d.md", "# More\n\nAnother page about caches.\n");
    let other_data = hashes(&fixture);
    assert!(first.0 == other_data.0 && first.1 != other_data.1);
    fixture.write("program.promptc", format!("{}\n{BENCH}", DOCUMENTS.replace("k = 3", "k = 2")));
    let other_program = hashes(&fixture);
    assert!(other_program.0 != other_data.0 && other_program.1 == other_data.1);
}

#[test]
fn data_is_restricted_and_split_as_the_bench_says() {
    let text = r##"
edition 2026
source notes : stream<{ id: text, n: i64 }> = jsonl("n.jsonl") { key = id, split = by(id, train = 50%, test = 50%, seed = 3) }
pipeline p { notes |> derive(m = n + 1) -> rows }
bench b { run = p.rows, data = notes.test, REST metrics { rows = count(), sum = sum(m) } repeat = 1, record = history("h") }
"##;
    let fixture = Fixture::new("");
    let lines: String = (0..40).map(|n| format!("{{\"id\":\"i{n}\",\"n\":{n}}}\n")).collect();
    fixture.write("n.jsonl", lines);
    let count = |rest: &str, data: &str| {
        fixture.write("program.promptc", text.replace("REST", rest).replace("notes.test", data));
        let found = measured(&fixture).unwrap();
        assert!(found.is_whole(), "{:?}", found.faults);
        (values(&found, "rows")[0].unwrap(), values(&found, "sum")[0].unwrap())
    };
    let (all, sum) = count("", "notes");
    assert_eq!((all, sum), (40.0, 820.0));
    let (test, _) = count("", "notes.test");
    let (train, _) = count("", "notes.train");
    assert!(test > 5.0 && train > 5.0 && test + train == 40.0, "{test} {train}");
    assert_eq!(count("where = n >= 38,", "notes").0, 2.0);
    // The first in the order of the key: i0, i1, i10.
    assert_eq!(count("limit = 3,", "notes"), (3.0, 14.0));
    let (sampled, _) = count("sample = 50%,", "notes");
    assert!(sampled > 5.0 && sampled < 35.0, "{sampled}");
}

#[test]
fn warm_repetitions_take_rows_from_the_cache_and_give_the_same_numbers() {
    let scratch = tempfile::tempdir().unwrap();
    let cached_bytes = || {
        let options = StoreOptions { cache_bytes: CACHE_BYTES_DEFAULT, read_only: true };
        let store = Store::open(&scratch.path().join("repetition"), &options);
        store.map_or(0, |store| store.rows().counts().live_bytes)
    };
    let cold = measured_in(scratch.path(), &program(BENCH), Cancel::default()).unwrap();
    assert_eq!(cached_bytes(), 0, "each repetition has a store of its own");
    let program = program(&BENCH.replace("repeat", "cache = warm, repeat"));
    let warm = measured_in(scratch.path(), &program, Cancel::default()).unwrap();
    assert!(cached_bytes() > 0, "the next repetition would find its rows");
    assert!(warm.is_whole(), "{:?}", warm.faults);
    assert_eq!(values(&cold, "longest"), values(&warm, "longest"));
    assert_eq!(warm.results[0].params.get("cache").map(String::as_str), Some("warm"));
}

#[test]
fn a_run_without_row_wise_operators_has_no_latency_rather_than_none_at_all() {
    let text = r##"
edition 2026
source notes : stream<{ id: text, n: i64 }> = jsonl("n.jsonl") { key = id }
pipeline p { notes |> derive(m = n + 1) -> rows }
bench b { run = p.rows, data = notes, metrics { slow = p99(latency), rows = count() } repeat = 1, record = history("h") }
"##;
    let fixture = Fixture::new(text);
    fixture.write("n.jsonl", "{\"id\":\"a\",\"n\":1}\n");
    let found = measured(&fixture).unwrap();
    assert_eq!((values(&found, "slow"), values(&found, "rows")), (vec![None], vec![Some(1.0)]));
    assert!(found.faults[0].contains("row by row"), "{:?}", found.faults);
}

#[test]
fn repetitions_that_fail_are_rows_with_the_reason() {
    let division = BENCH
        .replace("fits    = mean(prompt_tokens <= 96tok)", "fits = sum(prompt_tokens) / (count() - count())");
    let found = measured(&program(&division)).unwrap();
    assert!(!found.is_whole());
    let fits: Vec<&ResultRow> = found.results.iter().filter(|row| row.metric == "fits").collect();
    assert!(fits.len() == 2 && fits.iter().all(|row| row.status == Status::Failed && row.value.is_none()));
    assert_eq!(values(&found, "prompts"), [Some(2.0), Some(2.0)], "other metrics have their values");
    assert!(!found.faults.is_empty());

    let fixture = program(BENCH);
    fixture.write("asks.jsonl", "");
    let found = measured(&fixture).unwrap();
    let reasons = found.faults.join("\n");
    assert!(reasons.contains("metric `fits`: `mean` of 0 values"), "{reasons}");

    fixture.remove("asks.jsonl");
    let found = measured(&fixture).unwrap();
    assert!(found.results.iter().all(|row| row.status == Status::Failed), "{found:?}");
    assert!(found.faults.join("\n").contains("asks"), "{:?}", found.faults);
}

#[test]
fn what_this_build_lacks_is_skipped_with_its_area() {
    let text = r##"edition 2026
tokenizer words { kind = word_punct }
model base { arch = decoder, init = seed(1), shape = "tiny", context = 64tok, tokenizer = words }
source runs : stream<{ id: u32, q: text, a: text, r: f32 }> = jsonl("r.jsonl") { key = id }
trajectory t from runs { episode = [id], steps = q, state = q, action = a, reward = r, split = by(id, train = 80%, test = 20%, seed = 1) }
bench b { subject = base, data = t.test, metrics { nll = mean(nll(action)) }, repeat = 2, record = history("h") }
"##;
    let found = measured(&Fixture::new(text)).unwrap();
    assert_eq!(found.results.len(), 2);
    assert!(found.results.iter().all(|row| row.status == Status::Skipped && row.bench_id == "h/b/base"));
    assert!(found.faults[0].starts_with("E2002"), "{:?}", found.faults);
}

#[test]
fn a_stop_leaves_no_rows() {
    let cancel = Cancel::default();
    cancel.cancel();
    let error = measured_with(&program(BENCH), cancel).unwrap_err();
    assert!(matches!(error, EngineError::Interrupted), "{error}");
}

// Gates.

const GATES: &str = r##"
gate floor on packs {
  sql #"SELECT avg(value) FILTER (WHERE metric = 'fits') AS fits, max(value) FILTER (WHERE metric = 'longest') AS longest FROM current"#
  require fits >= 0.9
  require longest <= 96.0
  on pass { keep("stable") tag(words, "good") }
}
gate no_slower on packs {
  sql #"
    WITH past AS (
      SELECT median(run_median) AS base, count(DISTINCT at) AS n FROM history
      WHERE metric = 'slowest' AND machine = this_machine() AND accepted)
    SELECT coalesce(min(p.n), 0) AS n, median(c.value) / min(p.base) AS ratio
    FROM current c LEFT JOIN past p ON true WHERE c.metric = 'slowest'
  "#
  require n < 2 or ratio <= 1.5
}
"##;

/// A history with runs of the bench `packs`, written as the bench would.
struct Past {
    folder: tempfile::TempDir,
    history: History,
    environment: Environment,
}

impl Past {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let history = History::open(folder.path()).unwrap();
        Self { folder, history, environment: Environment::capture(&BuildInfo::default()) }
    }

    /// A run number `n` with the given values, two repetitions each; `None` is a repetition that failed.
    fn run(&self, n: u32, metrics: &[(&str, Option<f64>)]) -> String {
        let id = format!("R{n:04}");
        let started_at = 1_700_000_000_000_000 + i64::from(n) * 60_000_000;
        let row = |metric: &str, attempt: u16, value: Option<f64>| ResultRow {
            attempt,
            suite: "docs".to_owned(),
            bench_id: "docs/packs/prompts".to_owned(),
            params: BTreeMap::new(),
            metric: metric.to_owned(),
            unit: "ratio".to_owned(),
            direction: 1,
            value,
            status: if value.is_some() { Status::Ok } else { Status::Failed },
            error: value.is_none().then(|| "E2103: it broke".to_owned()),
            subject: Some("prompts".to_owned()),
            started_at,
            ..ResultRow::default()
        };
        let results = metrics
            .iter()
            .flat_map(|(metric, value)| [row(metric, 0, *value), row(metric, 1, *value)])
            .collect();
        let run = Run {
            id: id.clone(),
            started_at,
            git: GitState { sha: format!("{n:040}"), commit_seq: Some(n), ..GitState::default() },
            env_id: self.environment.id(),
            results,
            ..Run::default()
        };
        self.history.write(&run, &self.environment).unwrap();
        id
    }

    fn good(&self, n: u32) -> String {
        self.run(n, &[("fits", Some(1.0)), ("longest", Some(90.0)), ("slowest", Some(1e6))])
    }

    /// What a gate of the program says about a run; the verdict is appended.
    fn decide(&self, gate: &str, run_id: &str) -> Decision {
        let fixture = program(&format!("{BENCH}{GATES}"));
        self.decide_in(&fixture, gate, run_id)
    }

    fn decide_in(&self, fixture: &Fixture, gate: &str, run_id: &str) -> Decision {
        let program = checked(fixture);
        let hir = &program.checked.hir;
        let gate = hir.gates.iter().find(|found| found.name == gate).unwrap();
        let bench = hir.benches.iter().find(|bench| bench.name == gate.bench).unwrap();
        let histories = [History::open_existing(self.folder.path()).unwrap()];
        let env = self.environment.id();
        let session = gate_session(&histories, &env, run_id, local_name(&bench.name)).unwrap();
        let question = ProgramGate { gate, bench, stem: "program" };
        let decision = runtime().block_on(question.decide(&session, run_id));
        self.history.append_verdicts(&verdict_rows(std::slice::from_ref(&decision), now())).unwrap();
        decision
    }

    fn ask(&self, sql: &str) -> String {
        let histories = [History::open_existing(self.folder.path()).unwrap()];
        let session = history_session(&histories, "", None).unwrap();
        let (_, batches) = runtime().block_on(promptc_engine::sql::query(&session, sql, 1000)).unwrap();
        let text = arrow::util::display::array_value_to_string(batches[0].column(0), 0);
        text.unwrap()
    }
}

#[test]
fn a_gate_passes_fails_and_cannot_tell() {
    let past = Past::new();
    let passed = past.decide("floor", &past.good(1));
    assert_eq!((passed.outcome, passed.gate_id.as_str()), (Outcome::Pass, "program.floor"), "{passed:?}");
    let notes = passed.notes.join("\n");
    assert!(notes.contains("\"stable\" stays") && notes.contains("E2002: `tag(words)`"), "{notes}");

    let missed = past.run(2, &[("fits", Some(0.5)), ("longest", Some(90.0)), ("slowest", Some(1e6))]);
    let failed = past.decide("floor", &missed);
    assert_eq!((failed.outcome, failed.failure_count()), (Outcome::Fail, 1), "{failed:?}");
    assert_eq!(failed.findings[0].message, "fits >= 0.9 (fits = 0.5)");
    assert!(failed.notes.iter().all(|note| !note.contains("stays")), "`on pass` is for a pass");

    let without = past.run(3, &[("longest", Some(90.0)), ("slowest", Some(1e6))]);
    let unknown = past.decide("floor", &without);
    assert_eq!((unknown.outcome, unknown.undecided_count()), (Outcome::Unknown, 1), "{unknown:?}");

    let broken = past.run(4, &[("fits", Some(1.0)), ("longest", Some(90.0)), ("slowest", None)]);
    let unknown = past.decide("floor", &broken);
    assert_eq!((unknown.outcome, unknown.undecided_count()), (Outcome::Unknown, 0), "{unknown:?}");
    assert!(unknown.notes[0].contains("2 of 6"), "{:?}", unknown.notes);
}

#[test]
fn a_regression_against_accepted_runs_fails() {
    let past = Past::new();
    for n in 1..=3 {
        let run = past.good(n);
        assert_eq!(past.decide("no_slower", &run).outcome, Outcome::Pass, "run {n}");
    }
    let slower = past.run(4, &[("fits", Some(1.0)), ("longest", Some(90.0)), ("slowest", Some(1.7e6))]);
    let failed = past.decide("no_slower", &slower);
    assert_eq!(failed.outcome, Outcome::Fail, "{failed:?}");
    assert!(failed.findings[0].message.contains("ratio = 1.7"), "{:?}", failed.findings);
    let accepted = "SELECT count(*) FROM run_states WHERE accepted";
    assert_eq!(past.ask(accepted), "3");
    let reason = past.ask("SELECT reason FROM verdicts WHERE run_id = 'R0004' AND verdict = 'regression'");
    assert!(reason.contains("ratio = 1.7"), "{reason}");
    // Only accepted runs count, so a person's word turns the base.
    past.history.mark("R0004", true, "exact sums").unwrap();
    assert_eq!(past.ask(accepted), "4");
}

#[test]
fn nothing_undefined_passes() {
    let cases = [
        ("max(value) / 0 AS v", "v >= 1.0", Outcome::Unknown),
        ("max(value) / (max(value) - max(value)) AS v", "v >= 1.0", Outcome::Unknown),
        ("CAST('NaN' AS DOUBLE) AS v", "v >= 1.0", Outcome::Unknown),
        ("CAST('inf' AS DOUBLE) AS v", "v >= 1.0", Outcome::Unknown),
        ("max(value) FILTER (WHERE metric = 'fits' AND value > 5) AS v", "v >= 1.0", Outcome::Unknown),
        ("max(value) AS v", "v >= 1.0", Outcome::Pass),
        ("max(value) AS v", "v >= 1e9", Outcome::Fail),
    ];
    let past = Past::new();
    let run = past.good(1);
    for (column, require, expected) in cases {
        let gate =
            format!("{BENCH}gate g on packs {{ sql #\"SELECT {column} FROM current\"# require {require} }}");
        let found = past.decide_in(&program(&gate), "g", &run);
        assert_eq!(found.outcome, expected, "{column}: {found:?}");
    }
}

#[test]
fn results_of_other_than_one_row_are_undecided() {
    let past = Past::new();
    let run = past.good(1);
    for (sql, count) in [
        ("SELECT value AS v FROM current WHERE value > 1e12", "0 rows"),
        ("SELECT value AS v FROM current", "6 rows"),
        ("SELECT a.value AS v FROM current a CROSS JOIN current b", "11 or more rows"),
    ] {
        let gate = format!("{BENCH}gate g on packs {{ sql #\"{sql}\"# require v >= 0.0 }}");
        let found = past.decide_in(&program(&gate), "g", &run);
        assert_eq!(found.outcome, Outcome::Unknown, "{found:?}");
        assert!(found.notes.iter().any(|note| note.contains(count)), "{:?}", found.notes);
        assert!(found.error.is_none());
    }
}

#[test]
fn what_cannot_be_planned_is_a_fault_and_a_verdict() {
    let past = Past::new();
    let run = past.good(1);
    let gate = format!(
        "{BENCH}gate g on packs {{ sql #\"SELECT no_such_function(value) AS v FROM current\"# require v >= 0.0 }}"
    );
    let found = past.decide_in(&program(&gate), "g", &run);
    assert!(found.error.as_deref().unwrap_or_default().contains("no_such_function"), "{found:?}");
    assert_eq!(found.outcome, Outcome::Unknown);
    assert_eq!(past.ask("SELECT verdict FROM verdicts WHERE bench_id IS NULL"), "unknown");
}

#[test]
fn statistics_functions_decide() {
    let past = Past::new();
    let run = past.good(1);
    let sql = "SELECT mad(value) AS spread, bootstrap_ci(value, 0.95, 1)['low'] AS low FROM current WHERE metric = 'longest'";
    let gate = format!("{BENCH}gate g on packs {{ sql #\"{sql}\"# require spread == 0.0 and low > 80 }}");
    let found = past.decide_in(&program(&gate), "g", &run);
    assert_eq!(found.outcome, Outcome::Pass, "{found:?}");
    let gate = gate.replace("low > 80", "low > 91");
    assert_eq!(past.decide_in(&program(&gate), "g", &run).outcome, Outcome::Fail);
}

// Gates that are SQL files.

const FLOOR: &str = "-- id: floor
-- severity: error
-- why: quality before speed
-- param: run string
-- param: floor double 0.9
SELECT bench_id, metric, min(value) AS cand, concat(metric, ' is below ', $floor) AS message
FROM results WHERE run_id = $run AND metric = 'fits' GROUP BY bench_id, metric
HAVING coalesce(min(value), 0) < $floor OR count(*) > count(value)
UNION ALL
SELECT 'docs/packs/prompts', 'fits', NULL, 'not measured' WHERE NOT EXISTS (SELECT 1 FROM results WHERE run_id = $run AND metric = 'fits')
";

fn decide_file(past: &Past, run_id: &str, given: &[(&str, &str)]) -> Decision {
    let gate = SqlGate::parse("floor.sql", FLOOR).unwrap();
    let histories = [History::open_existing(past.folder.path()).unwrap()];
    let session = history_session(&histories, "", None).unwrap();
    let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let question = Question { run_id, given: &given, warn_as_error: false };
    runtime().block_on(gate.decide(&session, &question))
}

#[test]
fn a_file_gate_finds_a_missed_floor_and_a_missing_metric() {
    let past = Past::new();
    let good = past.good(1);
    assert_eq!(decide_file(&past, &good, &[]).outcome, Outcome::Pass);
    let strict = decide_file(&past, &good, &[("floor", "1.5")]);
    assert_eq!(strict.outcome, Outcome::Fail, "{strict:?}");
    let low = past.run(2, &[("fits", Some(0.4))]);
    let failed = decide_file(&past, &low, &[]);
    assert_eq!((failed.outcome, failed.findings[0].numbers.get("cand")), (Outcome::Fail, Some(&0.4)));
    let missing = past.run(3, &[("longest", Some(4.0))]);
    assert_eq!(decide_file(&past, &missing, &[]).findings[0].message, "not measured");
    let broken = past.run(4, &[("fits", None)]);
    assert_eq!(decide_file(&past, &broken, &[]).outcome, Outcome::Fail);
}

// The programs of the repository.

#[test]
fn the_gate_of_the_main_program_decides_about_recorded_runs() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pipelines/crate_docs.promptc");
    let settings = Settings { home: Some("/nonexistent".into()), ..Settings::default() };
    let program = load(&path, &settings).unwrap();
    let hir = &program.checked.hir;
    let (gate, bench) = (&hir.gates[0], &hir.benches[0]);
    let past = Past::new();
    let record = |n: u32, ratio: Option<f64>| {
        let id = format!("M{n}");
        let row = |metric: &str, value: Option<f64>| ResultRow {
            suite: "crate_docs".to_owned(),
            bench_id: "crate_docs/crate_hits/prompts".to_owned(),
            metric: metric.to_owned(),
            unit: "ratio".to_owned(),
            direction: 1,
            value,
            started_at: 1_700_000_000_000_000 + i64::from(n),
            ..ResultRow::default()
        };
        let mut results = vec![row("hit_5", Some(0.8)), row("fits", Some(1.0))];
        results.extend(ratio.map(|ratio| row("ratio", Some(ratio))));
        let run = Run {
            id: id.clone(),
            started_at: 1_700_000_000_000_000 + i64::from(n),
            git: GitState { sha: "unknown".to_owned(), ..GitState::default() },
            env_id: past.environment.id(),
            results,
            ..Run::default()
        };
        past.history.write(&run, &past.environment).unwrap();
        id
    };
    for (n, ratio, expected) in
        [(1, Some(4.0), Outcome::Pass), (2, Some(3.0), Outcome::Fail), (3, None, Outcome::Unknown)]
    {
        let run = record(n, ratio);
        let histories = [History::open_existing(past.folder.path()).unwrap()];
        let session = gate_session(&histories, "", &run, &bench.name).unwrap();
        let question = ProgramGate { gate, bench, stem: "crate_docs" };
        let found = runtime().block_on(question.decide(&session, &run));
        assert_eq!(found.outcome, expected, "{found:?}");
    }
}

/// Every bench of `pipelines/` carries what it measures, and reads what it replaces.
#[test]
fn every_bench_of_the_repository_is_ready_to_be_measured() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pipelines");
    let mut names = Vec::new();
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for path in files.iter().filter(|path| path.extension().is_some_and(|ending| ending == "promptc")) {
        let settings = Settings { home: Some("/nonexistent".into()), ..Settings::default() };
        let program = load(path, &settings).unwrap();
        for bench in &program.checked.hir.benches {
            let measured = bench.measured.as_ref().unwrap();
            assert!(measured.data < measured.run, "{}", bench.name);
            names.push(bench.name.clone());
        }
    }
    assert_eq!(
        names,
        [
            "crate_hits",
            "survival",
            "with_shipped",
            "learned_weights",
            "with_encoder",
            "vaswani_with_shipped",
            "vaswani_with_encoder",
            "retention"
        ]
    );
}
