//! `bench`, `gate`, `history`, and queries over the history: what is printed where, what is kept, how it ends.

use std::path::Path;
use std::process::{Command, Output};

/// Runs the command in a folder, with the history beside the program.
pub(crate) fn promptc(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_promptc"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PROMPTC_")) {
        command.env_remove(name);
    }
    command.env("PROMPTC_HISTORY", folder.join("history")).args(args).current_dir(folder).output().unwrap()
}

/// Both streams of a command that must end with `code`.
pub(crate) fn says(folder: &Path, code: i32, args: &[&str]) -> String {
    let output = promptc(folder, args);
    let all = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{all}");
    all
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Standard output of a command that must end with `code`.
pub(crate) fn ends(folder: &Path, code: i32, args: &[&str]) -> String {
    let output = promptc(folder, args);
    let shown = format!("{}\n{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{args:?}\n{shown}");
    text(&output.stdout)
}

const PROGRAM: &str = r##"edition 2026
param floor : f64 = 0.5
source notes : stream<{ id: text, words: i64 }> = jsonl("notes.jsonl") { key = id }
pipeline p { notes |> derive(is_long = words > 10) -> rows }
bench lengths {
  run = p.rows
  data = notes
  metrics { share_long = mean(is_long), rows = count() }
  better { share_long = higher }
  repeat = 2
  record = history("notes")
}
gate long_enough on lengths {
  sql #"SELECT avg(value) FILTER (WHERE metric = 'share_long') AS share_long FROM current"#
  require share_long >= floor
}
gate no_worse on lengths {
  sql #"
    WITH past AS (
      SELECT median(run_median) AS base, count(DISTINCT at) AS n FROM history
      WHERE metric = 'share_long' AND machine = this_machine())
    SELECT coalesce(min(p.n), 0) AS n, avg(c.value) / min(p.base) AS ratio
    FROM current c LEFT JOIN past p ON true WHERE c.metric = 'share_long'
  "#
  require n < 1 or ratio >= 0.9
}
"##;

/// A folder with a program whose bench gives `long` of four rows as long.
fn folder(long: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("p.promptc"), PROGRAM).unwrap();
    notes(folder.path(), long);
    folder
}

fn notes(folder: &Path, long: usize) {
    let line = |n: usize| format!("{{\"id\":\"n{n}\",\"words\":{}}}\n", if n < long { 20 } else { 5 });
    std::fs::write(folder.join("notes.jsonl"), (0..4).map(line).collect::<String>()).unwrap();
}

fn latest(folder: &Path) -> String {
    let sql = "SELECT run_id FROM results ORDER BY started_at DESC LIMIT 1";
    let found = ends(folder, 0, &["query", "-c", sql, "--format", "csv"]);
    found.lines().nth(1).unwrap().to_owned()
}

#[test]
fn a_bench_is_printed_recorded_and_shown_again() {
    let folder = folder(3);
    let folder = folder.path();
    let printed = ends(folder, 0, &["bench", "p.promptc", "--format", "jsonl"]);
    let share = printed.lines().find(|line| line.contains("share_long")).unwrap();
    let share: serde_json::Value = serde_json::from_str(share).unwrap();
    assert_eq!((share["median"].as_f64(), share["repeats"].as_u64()), (Some(0.75), Some(2)), "{share}");
    assert_eq!(share["bench_id"], "notes/lengths/rows");
    let shown = ends(folder, 0, &["bench", "show", "latest", "--format", "csv"]);
    let line = shown.lines().find(|line| line.contains("share_long")).unwrap();
    assert!(line.starts_with("notes/lengths/rows,solo,share_long,0.75,"), "{shown}");
    ends(folder, 0, &["bench", "p.promptc", "lengths", "--repeat", "1"]);
    let counted = "SELECT count(*) AS n FROM results WHERE metric = 'share_long'";
    assert_eq!(ends(folder, 0, &["query", "-c", counted, "--format", "csv"]), "n\n3\n");
    let listed = ends(folder, 0, &["history", "list", "--format", "csv"]);
    assert_eq!(listed.lines().count(), 3, "{listed}");
    assert!(listed.contains("not judged"), "{listed}");
}

#[test]
fn mistakes_of_use_name_what_there_is() {
    let folder = folder(3);
    let folder = folder.path();
    for (args, word) in [
        (&["bench", "p.promptc", "length"][..], "lengths"),
        (&["gate", "p.promptc"], "no benchmark history"),
        (&["query", "-c", "SELECT 1"], "no benchmark history"),
        (&["history", "list"], "no benchmark history"),
        (&["bench"], "Usage"),
        (&["gate", "p.promptc", "x.sql"], "either"),
    ] {
        let output = promptc(folder, args);
        let shown = text(&output.stderr);
        assert!(output.status.code() == Some(2) && shown.contains(word), "{args:?}\n{shown}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
    ends(folder, 0, &["bench", "p.promptc"]);
    for (args, word) in [
        (&["gate", "p.promptc", "long"][..], "long_enough"),
        (&["gate", "p.promptc", "--run", "nope"], "nope"),
        (&["gate", "p.promptc", "-p", "a=1"], "--set"),
        (&["bench", "show", "nope"], "nope"),
        (&["history", "accept", "nope"], "nope"),
        (&["query", "-c", "SELECT $x", "-p", "y=1"], "no parameter `y`"),
        (&["query", "-c", "SELECT $x"], "`x` has no value"),
    ] {
        let output = promptc(folder, args);
        let shown = text(&output.stderr);
        assert!(output.status.code() == Some(2) && shown.contains(word), "{args:?}\n{shown}");
    }
}

#[test]
fn gates_of_a_program_pass_fail_and_cannot_tell() {
    let folder = folder(3);
    let folder = folder.path();
    ends(folder, 0, &["bench", "p.promptc"]);
    let passed = ends(folder, 0, &["gate", "p.promptc", "--format", "json"]);
    let passed: serde_json::Value = serde_json::from_str(&passed).unwrap();
    assert_eq!(passed[0]["gate_id"], "p.long_enough");
    assert_eq!(
        (&passed[0]["outcome"], &passed[1]["outcome"]),
        (&"pass".into(), &"pass".into()),
        "{passed:#}"
    );
    let state = |folder: &Path| ends(folder, 0, &["history", "list", "--format", "csv"]);
    assert!(state(folder).ends_with(",accepted\n"), "{}", state(folder));
    // A floor that is missed, and a regression against the run before.
    let missed = ends(folder, 3, &["gate", "p.promptc", "long_enough", "--set", "floor=0.8", "--no-record"]);
    assert!(missed.contains("share_long >= floor (share_long = 0.75)"), "{missed}");
    assert!(state(folder).ends_with(",accepted\n"), "`--no-record` leaves no verdict");
    notes(folder, 2);
    ends(folder, 0, &["bench", "p.promptc"]);
    let worse = ends(folder, 3, &["gate", "p.promptc", "--format", "markdown"]);
    assert!(worse.contains("ratio = 0.666"), "{worse}");
    assert!(state(folder).contains("not accepted"));
    let run = latest(folder);
    ends(folder, 0, &["history", "accept", &run[..], "--reason", "shorter notes are fine"]);
    assert!(!state(folder).contains("not accepted"));
    ends(folder, 0, &["history", "reject", "latest"]);
    assert!(state(folder).contains("not accepted"));
    // A metric without value: the bench ends with 4, and the gate cannot tell.
    std::fs::write(folder.join("notes.jsonl"), "").unwrap();
    let output = promptc(folder, &["bench", "p.promptc"]);
    assert_eq!(output.status.code(), Some(4));
    assert!(
        text(&output.stderr).contains("metric `share_long`: `mean` of 0 values"),
        "{}",
        text(&output.stderr)
    );
    ends(folder, 5, &["gate", "p.promptc", "long_enough"]);
    ends(folder, 0, &["gate", "p.promptc", "long_enough", "--undecided-ok"]);
}

#[test]
fn check_plans_gates_and_names_what_the_planner_refuses() {
    let folder = folder(3);
    let folder = folder.path();
    ends(folder, 0, &["check", "p.promptc"]);
    let wrong = PROGRAM.replace("median(run_median)", "no_such_function(run_median)");
    std::fs::write(folder.join("p.promptc"), wrong).unwrap();
    let output = promptc(folder, &["check", "p.promptc"]);
    let shown = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{shown}");
    assert!(shown.contains("E0607") && shown.contains("no_such_function"), "{shown}");
}

#[test]
fn a_bench_without_record_is_printed_and_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (bench, _) = PROGRAM.split_once("gate long_enough").unwrap();
    std::fs::write(folder.join("p.promptc"), bench.replace("record = history(\"notes\")", "")).unwrap();
    notes(folder, 3);
    let printed = ends(folder, 0, &["bench", "p.promptc", "--format", "csv"]);
    assert!(printed.contains("unrecorded/lengths/rows,share_long,0.75"), "{printed}");
    assert!(!folder.join("history").exists());
}

const ROW_GATE: &str = "-- id: ID
-- severity: error
-- why: a test
-- param: run string
-- param: floor double 0.5
-- undecided: verdict
SELECT bench_id, metric, 'below' AS message, 'regression' AS verdict FROM results
WHERE run_id = $run AND metric = 'share_long' AND value < $floor
";

#[test]
fn file_gates_end_by_the_worst_of_them() {
    let folder = folder(3);
    let folder = folder.path();
    ends(folder, 0, &["bench", "p.promptc"]);
    let write = |name: &str, text: &str| {
        std::fs::write(folder.join(name), text.replace("ID", name.trim_end_matches(".sql"))).unwrap();
    };
    write("floor.sql", ROW_GATE);
    write("warn.sql", &ROW_GATE.replace("error", "warn").replace("double 0.5", "double 0.9"));
    write(
        "unsure.sql",
        &ROW_GATE.replace("'regression'", "'cannot_tell'").replace("double 0.5", "double 0.9"),
    );
    write("broken.sql", &ROW_GATE.replace("value <", "valu <"));
    write("lost.sql", &ROW_GATE.replace("'below' AS message, ", ""));
    write("zero.sql", &ROW_GATE.replace("value <", "CAST(value AS BIGINT) / 0 <"));
    write("key.sql", &format!("-- sevrity: warn\n{ROW_GATE}"));
    let cases: [(i32, &[&str]); 13] = [
        (0, &["gate", "floor.sql"]),
        (0, &["gate", "floor.sql", "warn.sql"]),
        (3, &["gate", "floor.sql", "warn.sql", "--warn-as-error"]),
        (3, &["gate", "floor.sql", "-p", "floor=0.9"]),
        (5, &["gate", "floor.sql", "unsure.sql"]),
        (0, &["gate", "floor.sql", "unsure.sql", "--undecided-ok"]),
        (3, &["gate", "floor.sql", "unsure.sql", "-p", "floor=0.9", "--warn-as-error"]),
        (4, &["gate", "broken.sql", "floor.sql", "unsure.sql", "-p", "floor=0.9"]),
        (4, &["gate", "lost.sql"]),
        (4, &["gate", "zero.sql"]),
        (4, &["gate", "key.sql"]),
        (2, &["gate", "floor.sql", "-p", "flor=1"]),
        (2, &["gate", "absent.sql"]),
    ];
    for (code, args) in cases {
        ends(folder, code, args);
    }
    let shown = ends(folder, 4, &["gate", "broken.sql"]);
    assert!(shown.contains("valu"), "{shown}");
    let verdicts =
        "SELECT gate_id, verdict FROM verdicts WHERE bench_id IS NULL ORDER BY decided_at DESC LIMIT 1";
    assert_eq!(
        ends(folder, 0, &["query", "-c", verdicts, "--format", "csv"]),
        "gate_id,verdict\nbroken,unknown\n"
    );
}

/// The limit of rows is no part of an explanation; EXPLAIN ANALYZE runs what it explains, so it must not write.
#[test]
fn statements_are_explained_and_what_writes_is_not() {
    let folder = folder(3);
    let folder = folder.path();
    ends(folder, 0, &["bench", "p.promptc"]);
    let all = "SELECT value FROM results WHERE metric = $metric";
    let explained =
        ends(folder, 0, &["query", "-c", &format!("EXPLAIN {all}"), "-p", "metric=rows", "--limit", "1"]);
    assert!(
        explained.starts_with("logical_plan\n  ") && explained.contains("\nphysical_plan\n  "),
        "{explained}"
    );
    assert!(!explained.contains("fetch=1") && explained.contains("TableScan: results"), "{explained}");
    let measured = ends(folder, 0, &["query", "-c", &format!("EXPLAIN ANALYZE {all}"), "-p", "metric=rows"]);
    assert!(measured.contains("output_rows=2"), "{measured}");
    let json = ends(
        folder,
        0,
        &["query", "-c", &format!("EXPLAIN {all}"), "-p", "metric=rows", "--format", "jsonl"],
    );
    assert!(json.starts_with("{\"plan_type\":\"logical_plan\",\"plan\":"), "{json}");
    for writes in ["COPY (SELECT 1) TO 'out.csv'", "INSERT INTO targets SELECT * FROM targets"] {
        for explain in ["EXPLAIN ANALYZE ", "EXPLAIN ", ""] {
            ends(folder, 4, &["query", "-c", &format!("{explain}{writes}")]);
        }
    }
    assert!(!folder.join("out.csv").exists());
}

#[test]
fn queries_bind_parameters_and_print_in_every_form() {
    let folder = folder(3);
    let folder = folder.path();
    ends(folder, 0, &["bench", "p.promptc"]);
    std::fs::write(
        folder.join("of.sql"),
        "-- which values has $metric\n-- param: metric string share_long\nSELECT metric, value FROM results WHERE metric = $metric ORDER BY attempt\n",
    )
    .unwrap();
    let csv = ends(folder, 0, &["query", "of.sql", "--format", "csv"]);
    assert_eq!(csv, "metric,value\nshare_long,0.75\nshare_long,0.75\n");
    assert_eq!(
        ends(folder, 0, &["query", "of.sql", "-p", "metric=rows", "--format", "jsonl", "--limit", "1"]),
        "{\"metric\":\"rows\",\"value\":4.0}\n"
    );
    assert_eq!(
        ends(folder, 0, &["query", "of.sql", "-p", "metric=x' OR '1'='1", "--format", "csv"]),
        "metric,value\n"
    );
    assert!(ends(folder, 0, &["query", "of.sql", "--format", "markdown"]).contains("| share_long"));
    assert!(ends(folder, 0, &["query", "of.sql"]).contains("share_long"));
    let lines = ends(folder, 0, &["query", "of.sql", "--format", "line"]);
    assert_eq!(lines, "metric = share_long\n value = 0.75\n\nmetric = share_long\n value = 0.75\n");
    let json = ends(folder, 0, &["query", "of.sql", "--format", "json"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap().as_array().unwrap().len(), 2);
    let tables = ends(folder, 0, &["query"]);
    for table in
        ["results", "samples", "environments", "verdicts", "marks", "series", "pairs", "history", "targets"]
    {
        assert!(tables.lines().any(|line| line == table), "{table} is not in\n{tables}");
    }
    ends(folder, 4, &["query", "-c", "SELECT nope FROM results"]);
    ends(folder, 4, &["query", "-c", "CREATE TABLE t AS SELECT 1"]);
    // A program's own streams together with the history.
    ends(folder, 0, &["run", "p.promptc", "p.rows", "--yes"]);
    let both = "SELECT (SELECT count(*) FROM p_rows) AS rows, (SELECT max(value) FROM results WHERE metric = 'rows') AS measured";
    assert_eq!(
        ends(folder, 0, &["query", "p.promptc", "-c", both, "--format", "csv"]),
        "rows,measured\n4,4.0\n"
    );
}

#[test]
fn what_cannot_be_taken_in_is_no_success() {
    let folder = folder(1);
    let folder = folder.path();
    let row = |name: &str, column: &str| {
        format!("{{\"bench_id\":\"{name}\",\"metric\":\"wall_ns\",\"unit\":\"ns\",{column}}}\n")
    };
    let given = |text: &str| std::fs::write(folder.join("rows.jsonl"), text).unwrap();
    let ingest = ["bench", "ingest", "--from", "rows", "rows.jsonl"];
    // The history comes first, and the folder can be used all the same.
    let in_store = ["--history", ".promptc/history"];
    given(&row("a/b", "\"value\":5"));
    ends(folder, 0, &[&ingest[..], &in_store].concat());
    ends(folder, 0, &["run", "p.promptc", "--yes"]);
    // Later than now, by a clock that is wrong.
    given(&row("a/b", "\"value\":5,\"started_at\":\"2999-01-01T00:00:00Z\""));
    let output = promptc(folder, &ingest);
    assert_eq!(output.status.code(), Some(4));
    assert!(text(&output.stderr).contains("error[E2102]"), "{}", text(&output.stderr));
    // Taken in once, and the file is damaged since.
    given(&row("a/b", "\"value\":6"));
    ends(folder, 0, &ingest);
    ends(folder, 0, &ingest);
    let results = walk(&folder.join("history/results"));
    std::fs::write(&results[0], "").unwrap();
    let output = promptc(folder, &ingest);
    assert_eq!(output.status.code(), Some(4));
    assert!(text(&output.stderr).contains("error[E1003]"), "{}", text(&output.stderr));
    let output = promptc(folder, &["query", "-c", "SELECT * FROM results"]);
    assert!(text(&output.stderr).contains("error[E1003]"), "{}", text(&output.stderr));
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(walk(&path)) } else { found.push(path) }
    }
    found
}

#[test]
fn answers_that_are_cut_say_so_and_keep_every_key() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::create_dir(folder.join("history")).unwrap();
    let query = |args: &[&str]| promptc(folder, &[&["query", "--format", "jsonl"], args].concat());
    let output = query(&[
        "--limit",
        "2",
        "-c",
        "SELECT 1 AS a, NULL AS b UNION ALL SELECT 2, 3 UNION ALL SELECT 4, 5",
    ]);
    assert_eq!(text(&output.stdout).lines().count(), 2);
    assert!(text(&output.stderr).contains("more than 2 rows"), "{}", text(&output.stderr));
    let output = query(&["--limit", "2", "-c", "SELECT 1 AS a, CAST(NULL AS INT) AS b"]);
    assert_eq!(text(&output.stdout), "{\"a\":1,\"b\":null}\n");
    assert_eq!(text(&output.stderr), "");
    let markdown = promptc(folder, &["query", "--format", "markdown", "-c", "SELECT 'a|b' AS x"]);
    assert!(text(&markdown.stdout).contains("a\\|b"), "{}", text(&markdown.stdout));
}

#[test]
fn results_of_other_tools_are_taken_in_once() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(
        folder.join("h.json"),
        r#"{"results":[{"command":"sleep 0","mean":0.002,"stddev":0.001,"median":0.002,"user":0.0,"system":0.0,"min":0.001,"max":0.003,"times":[0.001,0.002,0.003]}]}"#,
    )
    .unwrap();
    let first = ends(folder, 0, &["bench", "ingest", "h.json", "--suite", "cli"]);
    let again = promptc(folder, &["bench", "ingest", "--from", "hyperfine", "h.json", "--suite", "cli"]);
    assert_eq!((again.status.code(), text(&again.stdout)), (Some(0), first.clone()));
    assert!(text(&again.stderr).contains("already"), "{}", text(&again.stderr));
    let sql = "SELECT count(DISTINCT run_id) AS runs, max(value) AS value FROM results WHERE suite = 'cli' AND metric = 'wall_ns'";
    assert_eq!(ends(folder, 0, &["query", "-c", sql, "--format", "csv"]), "runs,value\n1,2000000.0\n");
    std::fs::write(folder.join("cut.json"), "{\"results\":[{\"comm").unwrap();
    ends(folder, 4, &["bench", "ingest", "cut.json"]);
    ends(folder, 0, &["history", "compact"]);
    ends(folder, 0, &["history", "prune"]);
    ends(folder, 0, &["history", "prune", "--samples-older-than", "1", "--yes"]);
    assert_eq!(ends(folder, 0, &["query", "-c", sql, "--format", "csv"]), "runs,value\n1,2000000.0\n");
}
