//! Other programs read the files as they are.

use std::process::Command;

use promptc_store::history::History;

use super::{FEBRUARY, JANUARY, MARCH, fill, verdict};

/// Reads the lake that its argument names with DuckDB and prints what it saw, one fact per line.
const SCRIPT: &str = include_str!("readers.py");

/// DuckDB, and pandas and Polars where they are installed, see the rows that were written: in files of single runs, and in
/// compacted ones. The interpreter is `python3`, or what `PROMPTC_PYTHON` names.
#[test]
fn other_readers_see_the_rows_as_plain_columns() {
    let python = std::env::var("PROMPTC_PYTHON").unwrap_or_else(|_| "python3".into());
    let has_duckdb = Command::new(&python)
        .args(["-c", "import duckdb"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !has_duckdb {
        println!("skipped: the Python package duckdb is not installed for {python}");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let history = History::open(dir.path()).unwrap();
    fill(&history, &[("R1", JANUARY), ("R2", JANUARY + 1), ("R3", FEBRUARY)]);
    history.append_verdicts(&[verdict("paired", "R1", None, "pass", JANUARY)]).unwrap();
    for compacted in [false, true] {
        if compacted {
            history.compact(MARCH).unwrap();
        }
        let output = Command::new(&python).args(["-c", SCRIPT]).arg(dir.path()).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        let seen = String::from_utf8_lossy(&output.stdout);
        println!("{}", seen.lines().last().unwrap_or_default());
        let expected = [
            "results 15",
            "ok routing 6",
            "params {'scale': 'quick', 'threads': '1'}",
            "texts VARCHAR VARCHAR VARCHAR VARCHAR",
            "started 2026-01-15 00:00:00+00:00",
            "nulls 3",
            "pairs 120 1.1",
            "iterations 1",
            "env linux test 1",
            "verdict pass",
        ];
        for fact in expected {
            assert!(seen.lines().any(|line| line == fact), "no `{fact}` in:\n{seen}");
        }
    }
}
