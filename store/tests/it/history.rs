//! The benchmark history: what is written is read back, a crash leaves no half run, other readers understand the files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use arrow::util::pretty::pretty_format_batches;
use datafusion::prelude::SessionContext;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use promptc_store::history::{
    BuildInfo, Environment, GitState, History, HistoryError, ResultRow, Run, SampleRow, ScrapeRow, Side,
    Status, Table, VerdictRow, summary,
};
use promptc_store::sql::{gate_session, history_session};

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
fn compaction_changes_no_answer_whatever_step_it_stops_at() {
    let ids = [("R1", JANUARY), ("R2", JANUARY + DAY), ("R3", FEBRUARY), ("R4", FEBRUARY + 1), ("R5", MARCH)];
    let dir = tempfile::tempdir().unwrap();
    let history = History::open(dir.path()).unwrap();
    fill(&history, &ids);
    history.append_verdicts(&[verdict("paired", "R1", None, "pass", JANUARY)]).unwrap();
    history.append_verdicts(&[verdict("paired", "R2", None, "fail", JANUARY + 1)]).unwrap();
    let expected = picture(&history);
    let before = snapshot(dir.path());
    let done = history.compact(MARCH + DAY).unwrap();
    assert_eq!((done.file_count, done.covered_count), (7, 14));
    assert!(done.bytes_after < done.bytes_before);
    assert_eq!(picture(&history), expected);
    let after = snapshot(dir.path());
    assert!(after.keys().any(|path| path.ends_with("results/month=2026-03/R5.parquet")));
    assert!(after.keys().any(|path| path.ends_with("results/month=2026-02/compact-R3-R4.parquet")));

    // Compaction writes a file, removes what it covers, and goes on: every state in between.
    let written: Vec<&PathBuf> = after.keys().filter(|path| !before.contains_key(*path)).collect();
    let removed: Vec<&PathBuf> = before.keys().filter(|path| !after.contains_key(*path)).collect();
    assert_eq!((written.len(), removed.len()), (7, 14));
    for new in &written {
        for removed_count in 0..=2 {
            let copy = tempfile::tempdir().unwrap();
            let place = |path: &Path| copy.path().join(path.strip_prefix(dir.path()).unwrap());
            let gone = removed.iter().filter(|path| path.parent() == new.parent()).take(removed_count);
            let gone: Vec<&PathBuf> = gone.copied().collect();
            for (path, bytes) in before.iter().chain([(*new, &after[*new])]) {
                if !gone.contains(&path) {
                    fs::create_dir_all(place(path).parent().unwrap()).unwrap();
                    fs::write(place(path), bytes).unwrap();
                }
            }
            let reader = History::open_existing(copy.path()).unwrap();
            assert_eq!(picture(&reader), expected, "{new:?}, {removed_count} removed");
            // The next opening finishes the removal, and another compaction ends where the first one did.
            let writer = History::open(copy.path()).unwrap();
            let left = removed.iter().filter(|path| path.parent() == new.parent() && place(path).exists());
            assert_eq!(left.count(), 0);
            writer.compact(MARCH + DAY).unwrap();
            assert_eq!(picture(&writer), expected);
            let bytes: Vec<Vec<u8>> = snapshot(copy.path()).into_values().collect();
            assert_eq!(bytes, after.values().cloned().collect::<Vec<_>>());
        }
    }
    // Nothing to do, nothing done; a late run of a closed month joins it by itself.
    assert_eq!(history.compact(MARCH + DAY).unwrap().file_count, 0);
    fill(&history, &[("R6", JANUARY + 5)]);
    assert_eq!(history.compact(MARCH + DAY).unwrap().file_count, 0);
    assert_eq!(history.runs().unwrap().len(), 6);
}

#[test]
fn samples_are_pruned_by_month_and_results_stay() {
    let dir = tempfile::tempdir().unwrap();
    let history = History::open(dir.path()).unwrap();
    fill(&history, &[("R1", JANUARY), ("R2", JANUARY), ("R3", MARCH)]);
    history.compact(MARCH).unwrap();
    assert_eq!(history.prune_samples(JANUARY + DAY).unwrap().file_count, 0);
    assert_eq!(history.prune_samples(FEBRUARY).unwrap().file_count, 1);
    assert_eq!(count(&history, "SELECT count(DISTINCT run_id) FROM samples"), 1);
    assert_eq!(count(&history, "SELECT count(DISTINCT run_id) FROM results"), 3);
    fill(&history, &[("R1", JANUARY)]);
    assert_eq!(count(&history, "SELECT count(DISTINCT run_id) FROM samples"), 1);
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

fn accepted(history: &History, run_id: &str) -> bool {
    count(history, &format!("SELECT count(*) FROM run_states WHERE accepted AND run_id = '{run_id}'")) == 1
}

#[test]
fn the_newest_summary_of_every_gate_accepts_a_run_and_a_mark_outweighs_them() {
    let dir = tempfile::tempdir().unwrap();
    let history = History::open(dir.path()).unwrap();
    fill(&history, &[("R1", JANUARY)]);
    let judge =
        |gate: &str, text: &str, at| history.append_verdicts(&[verdict(gate, "R1", None, text, at)]).unwrap();
    assert!(!accepted(&history, "R1"));
    judge("paired", "pass", 1);
    assert!(accepted(&history, "R1"));
    judge("targets", "fail", 2);
    assert!(!accepted(&history, "R1"));
    judge("targets", "unknown", 3);
    assert!(!accepted(&history, "R1"));
    judge("targets", "pass", 4);
    history.append_verdicts(&[verdict("targets", "R1", Some("a/b"), "regression", 5)]).unwrap();
    assert!(accepted(&history, "R1"));
    history.mark("R1", false, "measured during a backup").unwrap();
    assert!(!accepted(&history, "R1"));
    judge("paired", "pass", MARCH * 2);
    assert!(!accepted(&history, "R1"));
    history.mark("R1", true, "it was not").unwrap();
    assert!(accepted(&history, "R1"));
    assert!(
        table(&history, "SELECT run_id, accepted, reason FROM marks ORDER BY at").contains("during a backup")
    );
    let error = history.mark("R9", true, "").unwrap_err();
    assert_eq!(error.code(), "E2101");
}

#[test]
fn a_gate_sees_its_run_and_earlier_clean_runs_of_the_same_bench_only() {
    let dir = tempfile::tempdir().unwrap();
    let history = History::open(dir.path()).unwrap();
    fill(&history, &[("R1", JANUARY), ("R2", JANUARY + DAY), ("R4", MARCH)]);
    let mut dirty = run("R3", FEBRUARY - DAY);
    dirty.git.dirty = true;
    history.write(&dirty, &environment()).unwrap();
    let mut foreign = run("R0", JANUARY - DAY);
    foreign.results.iter_mut().for_each(|row| row.suite = "other".into());
    history.write(&foreign, &environment()).unwrap();
    history.append_verdicts(&[verdict("g", "R2", None, "pass", 1)]).unwrap();
    fill(&history, &[("R35", FEBRUARY)]);

    let histories = [history];
    let ctx = gate_session(&histories, "this", "R35", "routing").unwrap();
    let rows = query(&ctx, "SELECT * FROM current");
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
    let names: Vec<String> = rows[0].schema().fields().iter().map(|field| field.name().clone()).collect();
    let expected = [
        "bench",
        "subject",
        "metric",
        "value",
        "repeat",
        "seed",
        "machine",
        "commit",
        "plan",
        "data",
        "accepted",
        "at",
        "run_median",
    ];
    assert_eq!(names, expected);
    let types = |batch: &RecordBatch| -> Vec<(String, DataType)> {
        let fields = batch.schema().fields().clone();
        fields.iter().map(|field| (field.name().clone(), field.data_type().clone())).collect()
    };
    assert_eq!(types(&query(&ctx, "SELECT * FROM history LIMIT 1")[0]), types(&rows[0]));
    let past = |sql: &str| count_in(&ctx, &format!("SELECT count(*) FROM history WHERE {sql}"));
    assert_eq!(past("true"), 4);
    assert_eq!(past("accepted"), 2);
    assert_eq!(past("bench = 'routing' AND run_median IS NOT NULL"), 4);
    assert_eq!(past("machine = this_machine()"), 0);
    for hidden in ["results", "measured", "verdicts", "information_schema.tables"] {
        assert!(try_query(&ctx, &format!("SELECT * FROM {hidden}")).is_err(), "{hidden}");
    }
    assert!(matches!(gate_session(&histories, "this", "R9", "routing"), Err(HistoryError::NoRun { .. })));
    let empty = gate_session(&[], "this", "R35", "routing").unwrap();
    assert_eq!(count_in(&empty, "SELECT count(*) FROM current"), 0);
}

#[test]
fn a_run_in_two_histories_counts_once() {
    let [left_dir, right_dir] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let left = History::open(left_dir.path()).unwrap();
    let right = History::open(right_dir.path()).unwrap();
    fill(&left, &[("R1", JANUARY), ("R2", JANUARY)]);
    fill(&right, &[("R2", JANUARY), ("R3", JANUARY)]);
    right.append_verdicts(&[verdict("g", "R2", None, "pass", 1)]).unwrap();
    right.compact(MARCH).unwrap();
    for histories in [[left.clone(), right.clone()], [right, left]] {
        let ctx = history_session(&histories, "this", None).unwrap();
        assert_eq!(count_in(&ctx, "SELECT count(*) FROM results"), 15);
        assert_eq!(count_in(&ctx, "SELECT count(*) FROM samples"), 12);
        assert_eq!(count_in(&ctx, "SELECT count(*) FROM results WHERE run_id = 'R2'"), 5);
        assert_eq!(count_in(&ctx, "SELECT count(*) FROM pairs"), 120);
        assert_eq!(count_in(&ctx, "SELECT count(*) FROM environments"), 1);
        assert_eq!(count_in(&ctx, "SELECT count(*) FROM verdicts"), 1);
    }
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
fn damage_newer_versions_and_foreign_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let history = History::open(dir.path()).unwrap();
    fill(&history, &[("R1", JANUARY), ("R2", JANUARY)]);
    let path = file(&history, Table::Results, "R1.parquet");
    let good = fs::read(&path).unwrap();
    let outcome = |sql: &str| {
        let ctx = history_session(std::slice::from_ref(&history), "this", None).unwrap();
        try_query(&ctx, sql)
    };
    let all = "SELECT * FROM results";
    // Every 97th byte turned over: data, page index, footer.
    for at in (0..good.len()).step_by(97) {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        fs::write(&path, bad).unwrap();
        let error = outcome(all).expect_err("a damaged file is read").to_string();
        assert!(error.contains("R1.parquet"), "byte {at}: {error}");
        assert_eq!(
            outcome("SELECT * FROM results WHERE run_id = 'R2'").unwrap()[0].num_rows(),
            5,
            "byte {at}"
        );
    }
    for cut in [0, 3, 100, good.len() - 1] {
        fs::write(&path, &good[..cut]).unwrap();
        let error = outcome(all).expect_err("a cut file is read").to_string();
        assert!(error.contains("R1.parquet"), "cut at {cut}: {error}");
        assert_eq!(history.runs().unwrap_err().code(), "E1003");
    }
    // A file of another table, and one that is not ours.
    fs::write(&path, fs::read(file(&history, Table::Samples, "R1.parquet")).unwrap()).unwrap();
    assert!(outcome(all).unwrap_err().to_string().contains("holds the table `samples`"));
    fs::write(&path, b"a text").unwrap();
    assert!(outcome(all).unwrap_err().to_string().contains("R1.parquet"));
    fs::write(&path, &good).unwrap();
    assert_eq!(count(&history, "SELECT count(*) FROM results"), 10);
}

#[test]
fn a_column_is_null_where_the_file_is_older_and_a_later_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let history = History::open(dir.path()).unwrap();
    fill(&history, &[("R1", JANUARY), ("R2", JANUARY)]);
    let path = file(&history, Table::Results, "R1.parquet");
    rewrite(&path, "0", &["subject", "seed", "plan_hash"]);
    assert_eq!(count(&history, "SELECT count(*) FROM results WHERE run_id = 'R1' AND seed IS NULL"), 5);
    assert_eq!(count(&history, "SELECT count(*) FROM results WHERE seed = 7"), 5);
    assert_eq!(history.runs().unwrap().len(), 2);
    history.compact(MARCH).unwrap();
    assert_eq!(count(&history, "SELECT count(*) FROM results WHERE seed = 7"), 5);
    assert_eq!(count(&history, "SELECT count(*) FROM results"), 10);

    fill(&history, &[("R3", MARCH)]);
    rewrite(&file(&history, Table::Results, "R3.parquet"), "2", &[]);
    let error = history.runs().unwrap_err();
    assert_eq!(error.code(), "E1002");
    assert!(
        error.to_string().contains("schema version 2") && error.to_string().contains("R3.parquet"),
        "{error}"
    );
    let ctx = history_session(&[history], "this", None).unwrap();
    assert!(try_query(&ctx, "SELECT * FROM results").unwrap_err().to_string().contains("schema version 2"));
}

/// Writes a file as another version would: without some columns, with another version number, sealed as FORMAT.md says.
fn rewrite(path: &Path, version: &str, without: &[&str]) {
    let reader =
        ParquetRecordBatchReaderBuilder::try_new(fs::File::open(path).unwrap()).unwrap().build().unwrap();
    let batch = reader.into_iter().next().unwrap().unwrap();
    let is_kept = |idx: &usize| !without.contains(&batch.schema().field(*idx).name().as_str());
    let batch = batch.project(&(0..batch.num_columns()).filter(is_kept).collect::<Vec<_>>()).unwrap();
    let properties = WriterProperties::builder().set_coerce_types(true).build();
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), batch.schema(), options).unwrap();
    writer.write(&batch).unwrap();
    writer.flush().unwrap();
    writer.sync().unwrap();
    let sealed_from = writer.inner().len();
    let digits = |hash: blake3::Hash| hash.to_hex()[..16].to_owned();
    let blocks: String = writer.inner().chunks(16 * 1024).map(|block| digits(blake3::hash(block))).collect();
    let mark = format!("promptc-seal-blake3:{}:{sealed_from:016x}", "0".repeat(64));
    for (key, value) in [
        ("promptc.schema_version", version),
        ("promptc.table", "results"),
        ("promptc.blocks", &blocks),
        ("promptc.seal", &mark),
    ] {
        writer.append_key_value_metadata(KeyValue::new(key.to_owned(), value.to_owned()));
    }
    let mut bytes = writer.into_inner().unwrap();
    let at = bytes.windows(mark.len()).rposition(|window| window == mark.as_bytes()).unwrap()
        + "promptc-seal-blake3:".len();
    let hash = blake3::hash(&bytes[sealed_from..]).to_hex();
    bytes[at..at + 64].copy_from_slice(hash.as_bytes());
    fs::write(path, bytes).unwrap();
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

/// Rows as 200 benchmarks of 500 commits would give, with 30 samples each.
fn large_run(idx: i64, rows: usize) -> Run {
    let mut run = run(&format!("L{idx:06}"), JANUARY + idx * 60_000_000);
    run.results.clear();
    run.samples.clear();
    let mut state = idx as u64;
    for bench in 0..rows {
        let bench_id = format!("group{:02}/function{:02}/{}", bench / 20, bench % 20, 1 << (bench % 8));
        let typical = 10f64.powf(2.0 + 5.0 * (bench as f64 / rows as f64));
        // Whole nanoseconds, as a clock gives them.
        let values: Vec<f64> =
            (0..30).map(|_| (typical * (1.0 + 0.04 * (noise(&mut state) - 0.5))).round()).collect();
        run.results.push(ResultRow { seed: None, ..result(&bench_id, &values, run.started_at) });
        run.samples.push(SampleRow {
            bench_id,
            metric: "wall_ns".into(),
            iters: vec![10; 30],
            values,
            ..SampleRow::default()
        });
    }
    run
}

#[test]
fn bytes_of_a_row_are_within_the_bound() {
    let rows: usize = if std::env::var_os("PROMPTC_LONG").is_some() { 100_000 } else { 10_000 };
    let dir = tempfile::tempdir().unwrap();
    let history = History::open(dir.path()).unwrap();
    for idx in 0..(rows / 200) as i64 {
        history.write(&large_run(idx, 200), &environment()).unwrap();
    }
    let size = |table: &str| {
        snapshot(&dir.path().join(table)).values().map(Vec::len).sum::<usize>() as f64 / rows as f64
    };
    let before = [size("results"), size("samples")];
    history.compact(FEBRUARY + 31 * DAY).unwrap();
    let after = [size("results"), size("samples")];
    // Shown by `--nocapture`; the bounds are what the language reference allows with samples.
    eprintln!(
        "bytes per row of {rows}: results {:.1} then {:.1} compacted, samples {:.1} then {:.1}",
        before[0], after[0], before[1], after[1]
    );
    assert_eq!(count(&history, "SELECT count(*) FROM results"), rows as i64);
    assert!(after[0] + after[1] <= 140.0, "{after:?}");
}
