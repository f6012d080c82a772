//! The shipped queries and gates: each gives its answer over a small history in which every fault is known.
//!
//! ```text
//!  fixture, runs --> history --+
//!  queries/**/*.sql -----------+--> rows == queries/slt/*.slt
//! ```
//!
//! `PROMPTC_BLESS=1` writes the answers that come out; read the difference before committing it.

mod answers;
mod fixture;
mod million;
mod runs;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use promptc_store::history::History;
use promptc_store::sql::history_session;

/// Folder of the queries.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../queries")
}

/// Names of the SQL files below `queries`, as `gates/paired.sql`.
fn shipped() -> BTreeSet<String> {
    let files = |sub: &str| -> Vec<String> {
        let entries = fs::read_dir(folder().join(sub)).unwrap().map(|entry| entry.unwrap().file_name());
        let names = entries.map(|name| format!("{sub}{}", name.to_str().unwrap()));
        names.filter(|name| name.ends_with(".sql")).collect()
    };
    files("").into_iter().chain(files("gates/")).collect()
}

fn text(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn session(histories: &[History], machine: &str) -> SessionContext {
    let env_id = fixture::environment(machine).id();
    history_session(histories, &env_id, Some(fixture::targets())).unwrap()
}

/// Values of the parameters that a file declares in its head: those given, else their defaults.
fn parameters(name: &str, sql: &str, given: &BTreeMap<String, String>) -> Vec<(String, ScalarValue)> {
    let mut values = Vec::new();
    for line in sql.lines().filter_map(|line| line.strip_prefix("-- param: ")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let value = given.get(words[0]).map(String::as_str).or(words.get(2).copied());
        let value = value.unwrap_or_else(|| panic!("{name}: no value for {}", words[0]));
        values.push((
            words[0].to_owned(),
            match words[1] {
                "string" => ScalarValue::Utf8(Some(value.to_owned())),
                "double" => ScalarValue::Float64(Some(value.parse().unwrap())),
                other => panic!("{name}: type {other}"),
            },
        ));
    }
    let is_declared = |key: &String| values.iter().any(|(name, _)| name == key);
    assert!(given.keys().all(is_declared), "{name} has no parameter of {given:?}");
    values
}

async fn plan(
    ctx: &SessionContext,
    name: &str,
    sql: &str,
    given: &BTreeMap<String, String>,
) -> datafusion::error::Result<LogicalPlan> {
    let plan = ctx.state().create_logical_plan(sql).await?;
    plan.with_param_values(parameters(name, sql, given))
}

fn answer(
    ctx: &SessionContext,
    name: &str,
    sql: &str,
    given: &BTreeMap<String, String>,
) -> datafusion::error::Result<Vec<RecordBatch>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let plan = plan(ctx, name, sql, given).await?;
        let frame = ctx.execute_logical_plan(plan).await?;
        let schema = std::sync::Arc::new(frame.schema().as_arrow().clone());
        let mut batches = frame.collect().await?;
        batches.push(RecordBatch::new_empty(schema));
        Ok(batches)
    })
}

fn row_count(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

/// A value for every parameter that has no default.
fn any_values(sql: &str) -> BTreeMap<String, String> {
    let params = sql.lines().filter_map(|line| line.strip_prefix("-- param: "));
    let names =
        params.map(|param| param.split_whitespace().collect::<Vec<_>>()).filter(|words| words.len() < 3);
    names.map(|words| (words[0].to_owned(), "none".to_owned())).collect()
}

#[test]
fn every_file_begins_with_its_question_or_its_header() {
    for name in shipped() {
        let sql = text(&name);
        let comments: Vec<&str> = sql.lines().take_while(|line| line.starts_with("--")).collect();
        let key = |key: &str| comments.iter().filter(|line| line.starts_with(&format!("-- {key}: "))).count();
        if name.starts_with("gates/") {
            let id = name.trim_start_matches("gates/").trim_end_matches(".sql");
            assert_eq!(comments[0], format!("-- id: {id}"), "{name}");
            assert!(["-- severity: error", "-- severity: warn"].contains(&comments[1]), "{name}");
            assert_eq!(key("why"), 1, "{name}");
            assert_eq!(comments.len(), 3 + key("param") + key("undecided"), "{name}: {comments:?}");
        } else {
            assert!(comments[0].ends_with('?'), "{name}: {}", comments[0]);
            assert_eq!(comments.len(), 1 + key("param"), "{name}: {comments:?}");
        }
        assert!(sql.ends_with('\n') && !sql.contains('\t'), "{name}");
    }
}

#[test]
fn every_file_runs_over_a_history_without_runs() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = session(&[History::open(dir.path()).unwrap()], "D");
    for name in shipped() {
        let sql = text(&name);
        let batches =
            answer(&ctx, &name, &sql, &any_values(&sql)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let expected = match name.as_str() {
            "targets.sql" => 9,
            "seed_report.sql" => 3,
            "reliability.sql" | "gates/false_alarm.sql" => 2,
            _ => 0,
        };
        assert_eq!(row_count(&batches), expected, "{name}");
    }
}

#[test]
fn a_gate_has_the_columns_that_every_gate_has() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = session(&[History::open(dir.path()).unwrap()], "D");
    for name in shipped().into_iter().filter(|name| name.starts_with("gates/")) {
        let sql = text(&name);
        let batches = answer(&ctx, &name, &sql, &any_values(&sql)).unwrap();
        let schema = batches[0].schema();
        for column in ["bench_id", "metric", "message"] {
            assert!(schema.column_with_name(column).is_some(), "{name} has no {column}");
        }
        if sql.contains("-- undecided: verdict\n") {
            assert!(schema.column_with_name("verdict").is_some(), "{name}");
        }
    }
}

#[test]
fn a_wrong_column_fails_when_the_file_is_planned() {
    let dir = tempfile::tempdir().unwrap();
    let ctx = session(&[History::open(dir.path()).unwrap()], "D");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for name in shipped() {
        let sql = text(&name);
        let given = any_values(&sql);
        runtime.block_on(plan(&ctx, &name, &sql, &given)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let at = sql.rfind("FROM ").unwrap();
        let selects: Vec<usize> =
            sql.match_indices("SELECT ").map(|(at, _)| at).filter(|found| *found < at).collect();
        for at in selects {
            let at = at + "SELECT ".len();
            let distinct = if sql[at..].starts_with("DISTINCT ") { "DISTINCT ".len() } else { 0 };
            let wrong = format!("{}no_such_column, {}", &sql[..at + distinct], &sql[at + distinct..]);
            let error = runtime.block_on(plan(&ctx, &name, &wrong, &given)).expect_err(&name).to_string();
            assert!(error.contains("no_such_column"), "{name}: {error}");
        }
    }
}

#[test]
fn the_table_functions_read_the_series_of_this_machine() {
    let ctx = session(std::slice::from_ref(fixture::history()), "A");
    let none = BTreeMap::new();
    let count = |sql: &str| row_count(&answer(&ctx, "a query", sql, &none).unwrap());
    assert_eq!(
        count(
            "SELECT value FROM bench_history('weight_dynamics/convergence/512', 'wall_ns') WHERE side = 'solo'"
        ),
        60
    );
    let id = "SELECT DISTINCT history_id FROM bench_history('weight_dynamics/convergence/512', 'wall_ns') WHERE side = 'solo'";
    let batches = answer(&ctx, "a query", id, &none).unwrap();
    let id = arrow::util::display::array_value_to_string(batches[0].column(0), 0).unwrap();
    let points =
        answer(&ctx, "a query", &format!("SELECT seq FROM bench_change_points('{id}')"), &none).unwrap();
    let seqs: Vec<String> = (0..points[0].num_rows())
        .map(|row| arrow::util::display::array_value_to_string(points[0].column(0), row).unwrap())
        .collect();
    assert!(seqs.contains(&"40".to_owned()), "{seqs:?}");
}

/// What the scan takes from the footer of a large file changes no answer.
#[test]
fn a_large_file_gives_the_answers_of_its_runs() {
    let size = million::Size { benches: 64, commits: 40, samples: 2, metrics: 4, machines: 1 };
    let dir = tempfile::tempdir().unwrap();
    let history = million::generate(dir.path(), size);
    let asked = "SELECT git_dirty, status, side, error, suite, bench_id, metric, count(*) AS n, sum(direction) AS way, min(run_id), max(run_id),
                        count(DISTINCT run_id), round(sum(value)) AS total
                 FROM series WHERE run_id <> 'G00007A' AND status = 'ok' AND error IS NULL GROUP BY ALL ORDER BY bench_id, metric";
    let one = "SELECT r.run_id, count(*) FROM results r JOIN (SELECT min(run_id) AS run_id FROM results WHERE side = 'solo') f
               ON f.run_id = r.run_id GROUP BY r.run_id";
    let answers = || {
        let ctx = session(std::slice::from_ref(&history), "A");
        [asked, one, "SELECT count(*) FROM results WHERE status <> 'ok' OR git_dirty OR commit_seq IS NULL"]
            .map(|sql| {
                arrow::util::pretty::pretty_format_batches(
                    &answer(&ctx, "a query", sql, &BTreeMap::new()).unwrap(),
                )
                .unwrap()
                .to_string()
            })
    };
    let of_runs = answers();
    history.compact(million::LATER).unwrap();
    let sizes: Vec<u64> = history
        .live_files(promptc_store::history::Table::Results)
        .unwrap()
        .iter()
        .map(|path| path.metadata().unwrap().len())
        .collect();
    assert_eq!(sizes.len(), 1, "one file of more than a page");
    assert_eq!(answers(), of_runs);
    assert!(of_runs[0].contains("| 39 "), "{}", of_runs[0]);
}
