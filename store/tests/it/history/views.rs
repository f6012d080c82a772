//! What was decided about runs, what a gate sees, and several histories at once.

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use promptc_store::history::{History, HistoryError};
use promptc_store::sql::{gate_session, history_session};

use super::{
    DAY, FEBRUARY, JANUARY, MARCH, count, count_in, environment, fill, query, run, table, try_query, verdict,
};

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
