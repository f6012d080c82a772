//! The benchmark history: what is written is read back, a crash leaves no half run, other readers understand the files.

mod compaction;
mod damage;
mod readers;
mod views;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type};
use arrow::util::pretty::pretty_format_batches;
use datafusion::prelude::SessionContext;
use promptc_store::history::{
    BuildInfo, Environment, GitState, History, HistoryError, ResultRow, Run, SampleRow, ScrapeRow, Side,
    Status, Table, VerdictRow, summary,
};
use promptc_store::sql::history_session;

const DAY: i64 = 86_400_000_000;
/// 2026-01-15.
const JANUARY: i64 = 20_468 * DAY;
/// 2026-02-15.
const FEBRUARY: i64 = JANUARY + 31 * DAY;
/// 2026-03-15: the month that is not over.
const MARCH: i64 = FEBRUARY + 28 * DAY;

fn environment() -> Environment {
    Environment {
        os: Some("linux test 1".into()),
        gpu_names: vec!["none".into()],
        features: vec!["a".into(), "b".into()],
        ..Environment::default()
    }
    .sealed()
}

/// SplitMix64: noise that is the same on every machine.
fn noise(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut word = *state;
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((word ^ (word >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

fn result(bench_id: &str, values: &[f64], started_at: i64) -> ResultRow {
    let summary = summary(values, 1);
    ResultRow {
        suite: "airline".into(),
        bench_id: bench_id.into(),
        params: BTreeMap::from([("scale".into(), "quick".into()), ("threads".into(), "1".into())]),
        metric: "wall_ns".into(),
        unit: "ns".into(),
        direction: -1,
        iters_total: values.len() as u64,
        value: summary.median,
        summary,
        code_hash: Some("c0de".into()),
        subject: bench_id.split('/').nth(2).map(str::to_owned),
        seed: Some(7),
        started_at,
        tags: BTreeMap::from([("git_tag".into(), "v1".into())]),
        ..ResultRow::default()
    }
}

/// A paired run of two benches, 10 % slower on the candidate side.
fn run(id: &str, started_at: i64) -> Run {
    let mut state = started_at as u64;
    let mut run = Run {
        id: id.into(),
        started_at,
        git: GitState {
            sha: format!("{started_at:040x}"),
            branch: "main".into(),
            commit_time: started_at,
            commit_seq: Some((started_at / DAY) as u32),
            ..GitState::default()
        },
        env_id: environment().id(),
        ..Run::default()
    };
    for bench in ["airline/routing/full", "airline/booking/full"] {
        let base: Vec<f64> = (0..20).map(|_| 1_000.0 + (100.0 * noise(&mut state)).round()).collect();
        let cand: Vec<f64> = base.iter().map(|value| value * 1.1).collect();
        for (side, values) in [(Side::Base, base), (Side::Candidate, cand)] {
            run.results.push(ResultRow { side, ..result(bench, &values, started_at) });
            run.samples.push(SampleRow {
                side,
                bench_id: bench.into(),
                metric: "wall_ns".into(),
                iters: vec![1; values.len()],
                values,
                ..SampleRow::default()
            });
        }
    }
    run.results.push(ResultRow {
        value: None,
        status: Status::Skipped,
        error: Some("no GPU here".into()),
        summary: summary(&[], 1),
        ..result("airline/gpu/full", &[], started_at)
    });
    run.scrapes.push(ScrapeRow { at: started_at, signal: "memory_used_ratio".into(), value: 0.5 });
    run
}

fn block<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

fn query(ctx: &SessionContext, sql: &str) -> Vec<RecordBatch> {
    try_query(ctx, sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
}

fn try_query(ctx: &SessionContext, sql: &str) -> datafusion::error::Result<Vec<RecordBatch>> {
    block(async { ctx.sql(sql).await?.collect().await })
}

fn table(history: &History, sql: &str) -> String {
    let ctx = history_session(std::slice::from_ref(history), "this", None).unwrap();
    pretty_format_batches(&query(&ctx, sql)).unwrap().to_string()
}

fn count(history: &History, sql: &str) -> i64 {
    let ctx = history_session(std::slice::from_ref(history), "this", None).unwrap();
    count_in(&ctx, sql)
}

fn count_in(ctx: &SessionContext, sql: &str) -> i64 {
    query(ctx, sql)[0].column(0).as_primitive::<Int64Type>().value(0)
}

/// Everything that can be seen of the results, samples, scrapes and verdicts, in a fixed order.
fn picture(history: &History) -> String {
    let parts = [
        "SELECT * FROM results ORDER BY run_id, bench_id, metric, side",
        "SELECT * FROM samples ORDER BY run_id, bench_id, metric, side",
        "SELECT * FROM scrapes ORDER BY run_id, at",
        "SELECT * FROM verdicts ORDER BY run_id, gate_id, bench_id",
        "SELECT * FROM pairs ORDER BY run_id, bench_id, pair_idx",
    ];
    parts.map(|sql| table(history, sql)).join("\n")
}

/// Every file below a folder with its bytes.
fn snapshot(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(snapshot(&path));
        } else {
            files.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    files
}

fn file(history: &History, table: Table, name: &str) -> PathBuf {
    let ends_so = |path: &PathBuf| path.to_string_lossy().ends_with(name);
    snapshot(&history.dir().join(table.name())).into_keys().find(ends_so).unwrap()
}

fn fill(history: &History, ids: &[(&str, i64)]) {
    for (id, started_at) in ids {
        history.write(&run(id, *started_at), &environment()).unwrap();
    }
}

fn verdict(gate: &str, run_id: &str, bench_id: Option<&str>, verdict: &str, decided_at: i64) -> VerdictRow {
    VerdictRow {
        gate_id: gate.into(),
        run_id: run_id.into(),
        purpose: "gate".into(),
        bench_id: bench_id.map(str::to_owned),
        metric: bench_id.map(|_| "wall_ns".to_owned()),
        verdict: verdict.into(),
        decided_at,
        ..VerdictRow::default()
    }
}

#[test]
fn what_is_written_is_read_back_by_sql() {
    let dir = tempfile::tempdir().unwrap();
    let history = History::open(dir.path()).unwrap();
    fill(&history, &[("R1", JANUARY)]);
    assert_eq!(count(&history, "SELECT count(*) FROM results"), 5);
    assert_eq!(
        count(&history, "SELECT count(*) FROM results WHERE status = 'ok' AND bench_id LIKE '%/routing/%'"),
        2
    );
    assert_eq!(
        count(&history, "SELECT count(*) FROM results WHERE tags['git_tag'] = 'v1' AND side = 'base'"),
        2
    );
    assert_eq!(
        count(&history, "SELECT count(*) FROM env WHERE os = 'linux test 1' AND cpu_model IS NULL"),
        1
    );
    assert_eq!(count(&history, "SELECT count(*) FROM environments JOIN results USING (env_id)"), 5);
    assert_eq!(count(&history, "SELECT count(*) FROM series"), 4);
    assert_eq!(count(&history, "SELECT count(*) FROM pairs WHERE run_id = 'R1' AND same_code"), 40);
    assert_eq!(
        count(&history, "SELECT count(*) FROM pairs WHERE abs(cand_value / base_value - 1.1) < 1e-9"),
        40
    );
    assert_eq!(count(&history, "SELECT count(*) FROM scrapes WHERE value = 0.5"), 1);
    assert_eq!(count(&history, "SELECT count(*) FROM targets"), 0);
    assert_eq!(
        count(&history, "SELECT count(*) FROM results WHERE this_env() = 'this' AND this_machine() = 'this'"),
        5
    );
    let ctx = history_session(&[history], "this", None).unwrap();
    let values =
        query(&ctx, "SELECT value, median(value) OVER () FROM results WHERE side = 'base' ORDER BY value");
    let expected = run("R1", JANUARY).results[0].value.unwrap();
    assert!(values[0].column(0).as_primitive::<Float64Type>().iter().any(|value| value == Some(expected)));
}

#[test]
fn a_history_without_runs_has_empty_tables() {
    let dir = tempfile::tempdir().unwrap();
    let history = History::open(dir.path()).unwrap();
    for name in [
        "results",
        "samples",
        "env",
        "environments",
        "verdicts",
        "scrapes",
        "series",
        "pairs",
        "marks",
        "history",
    ] {
        assert_eq!(count(&history, &format!("SELECT count(*) FROM {name}")), 0, "{name}");
    }
    let error = History::open_existing(&dir.path().join("none")).unwrap_err();
    assert_eq!(error.code(), "E2101");
    assert!(!dir.path().join("none").exists());
}

#[test]
fn writing_a_run_again_changes_nothing_and_other_rows_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let history = History::open(dir.path()).unwrap();
    fill(&history, &[("R1", JANUARY)]);
    let before = snapshot(dir.path());
    fill(&history, &[("R1", JANUARY)]);
    assert_eq!(snapshot(dir.path()), before);
    let mut other = run("R1", JANUARY);
    other.results[0].value = Some(1.0);
    let error = history.write(&other, &environment()).unwrap_err();
    assert_eq!((error.code(), matches!(error, HistoryError::Exists { .. })), ("E2104", true));
    assert_eq!(snapshot(dir.path()), before);

    // The same holds for a run inside a compacted file.
    fill(&history, &[("R2", JANUARY)]);
    history.compact(MARCH).unwrap();
    let before = snapshot(dir.path());
    fill(&history, &[("R1", JANUARY), ("R2", JANUARY)]);
    assert_eq!(snapshot(dir.path()), before);
    assert!(history.write(&other, &environment()).is_err());
}

#[test]
fn a_wrong_row_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let history = History::open(dir.path()).unwrap();
    let mut wrong = run("R1", JANUARY);
    wrong.samples[0].values[3] = f64::NAN;
    let error = history.write(&wrong, &environment()).unwrap_err();
    assert_eq!(error.code(), "E2102");
    assert!(error.to_string().contains("value 3 is NaN"), "{error}");
    assert_eq!(snapshot(&dir.path().join("samples")).len(), 0);
}

#[test]
fn a_crash_between_the_files_of_a_run_leaves_no_half_run() {
    let whole = tempfile::tempdir().unwrap();
    let history = History::open(whole.path()).unwrap();
    fill(&history, &[("R1", JANUARY)]);
    let before = picture(&history);
    fill(&history, &[("R2", JANUARY + DAY)]);
    let after = picture(&history);
    // The files of R2 in the order in which they become visible; env was there.
    let steps =
        [Table::Samples, Table::Scrapes, Table::Results].map(|table| file(&history, table, "R2.parquet"));
    let contents = steps.clone().map(|path| fs::read(path).unwrap());
    for done in 0..=steps.len() {
        for (idx, (path, bytes)) in steps.iter().zip(&contents).enumerate() {
            if idx < done {
                fs::write(path, bytes).unwrap()
            } else {
                let _ = fs::remove_file(path);
            }
        }
        // What a kill in the middle of the next file leaves.
        if let Some(path) = steps.get(done) {
            fs::write(path.with_file_name(".R2.parquet.tmp-4294967294-0"), b"half").unwrap();
        }
        let history = History::open(whole.path()).unwrap();
        let expected = if done == steps.len() { &after } else { &before };
        assert_eq!(&picture(&history), expected, "{done} files");
        let names: Vec<String> = history.runs().unwrap().into_iter().map(|run| run.id).collect();
        assert_eq!(names.len(), 1 + usize::from(done == steps.len()), "{done} files");
        let expected = if done == steps.len() { 0 } else { done + 1 };
        assert_eq!(history.orphans().unwrap().len(), expected, "{done} files");
        if done < steps.len() {
            history.remove_orphans().unwrap();
            assert_eq!(history.orphans().unwrap(), []);
            assert_eq!(picture(&history), before);
        }
    }
    fill(&history, &[("R2", JANUARY + DAY)]);
    assert_eq!(picture(&history), after);
}

#[test]
fn runs_are_listed_and_a_clock_set_back_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let history = History::open(dir.path()).unwrap();
    let id = promptc_store::history::new_run_id(
        std::time::UNIX_EPOCH + std::time::Duration::from_micros(MARCH as u64),
    );
    fill(&history, &[("R1", JANUARY), (&id, MARCH)]);
    let runs = history.runs().unwrap();
    assert_eq!(runs.iter().map(|run| run.id.as_str()).collect::<Vec<_>>(), [&id, "R1"]);
    let info = &runs[1];
    assert_eq!((info.result_count, info.ok_count, info.started_at, info.git_dirty), (5, 4, JANUARY, false));
    assert_eq!((info.suites.join(","), info.sides.join(",")), ("airline".into(), "base,cand,solo".into()));
    assert_eq!(info.env_id, environment().id());
    assert!(history.check_clock(MARCH).is_ok());
    let error = history.check_clock(FEBRUARY).unwrap_err();
    assert!(error.to_string().contains("set back"), "{error}");
}

#[test]
fn two_writers_of_one_history_wait_for_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let ids: Vec<String> = (0..8).map(|idx| format!("R{idx}")).collect();
    std::thread::scope(|scope| {
        for part in 0..4 {
            let ids = &ids;
            let dir = dir.path();
            scope.spawn(move || {
                let history = History::open(dir).unwrap();
                // Every run is written by two threads.
                for id in ids.iter().skip(part % 2).step_by(2) {
                    history.write(&run(id, JANUARY), &environment()).unwrap();
                }
                history.compact(MARCH).unwrap();
            });
        }
    });
    let history = History::open(dir.path()).unwrap();
    assert_eq!(history.runs().unwrap().len(), 8);
    assert_eq!(count(&history, "SELECT count(*) FROM results"), 40);
    assert_eq!(count(&history, "SELECT count(*) FROM samples"), 32);
}

#[test]
fn an_environment_holds_no_name_of_its_user_or_host() {
    let environment = Environment::capture(&BuildInfo {
        rustc_version: Some("rustc 1.95.0".into()),
        ..BuildInfo::default()
    });
    let text = format!("{environment:?}");
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if host.trim().len() > 3 {
        assert!(!text.contains(host.trim()));
    }
    let id = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    assert!(id.trim().is_empty() || !text.contains(id.trim()));
    assert!(!text.contains(env!("CARGO_MANIFEST_DIR")));
}
