//! The report of a run, runs side by side, the shipped queries and gates, the prompt: from outside, over a known history.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use super::bench::{ends, promptc, text};
use super::generated::{COMMITS, PAIRS, TARGETS, history};

/// The generated history, made once; tests copy it. It stays if `PROMPTC_KEEP` is set, for whoever wants to look at it.
fn made() -> &'static Path {
    static MADE: OnceLock<tempfile::TempDir> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let is_kept = std::env::var_os("PROMPTC_KEEP").is_some();
        let dir =
            tempfile::Builder::new().prefix("promptc-report-").disable_cleanup(is_kept).tempdir().unwrap();
        history(dir.path());
        dir
    });
    made.path()
}

/// A folder with a copy of the history, and with promises if it is to be a repository.
fn folder(has_promises: bool) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(made(), &folder.path().join("history"));
    if has_promises {
        std::fs::create_dir(folder.path().join("benches")).unwrap();
        std::fs::write(folder.path().join("benches/targets.toml"), TARGETS).unwrap();
    }
    folder
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() { copy(&path, &target) } else { std::fs::copy(&path, &target).map(|_| ()).unwrap() }
    }
}

/// The data of a page.
fn embedded(page: &str) -> serde_json::Value {
    let json = page.split_once("id=\"promptc-report\">").unwrap().1;
    serde_json::from_str(json.split_once("</script>").unwrap().0).unwrap()
}

fn find<'a>(rows: &'a serde_json::Value, key: &str, value: &str) -> Vec<&'a serde_json::Value> {
    rows.as_array().unwrap().iter().filter(|row| row[key] == value).collect()
}

#[test]
fn a_page_says_what_is_known_of_a_run() {
    let folder = folder(true);
    let folder = folder.path();
    let written = ends(folder, 0, &["bench", "report", "--run", PAIRS]);
    let path = PathBuf::from(written.trim_end());
    assert!(path.ends_with(format!("benches/reports/{PAIRS}.html")), "{written}");
    let page = std::fs::read_to_string(&path).unwrap();
    assert!(page.len() < 3 << 20 && !page.contains("http"), "{}", page.len());
    let data = &embedded(&page)["data"];
    let verdict = |bench_id: &str| {
        let found = find(&data["verdicts"], "bench_id", bench_id);
        let said = found.iter().map(|row| row["decision"].as_str().unwrap());
        let mut said: Vec<&str> = said.filter(|said| *said != "warning").collect();
        said.sort_unstable();
        said
    };
    assert_eq!(verdict("parse/json/1mb"), ["failure", "regression"], "the pairs, and the promise");
    assert_eq!(verdict("encode/utf8/64kb"), ["improvement"]);
    assert_eq!(verdict("search/hnsw/10k"), ["no_change"]);
    assert_eq!(verdict("sync/group/8"), ["cannot_tell"]);
    assert!(page.contains("more needed"), "the pairs that are missing");
    let warned = find(&data["verdicts"], "decision", "warning");
    assert!(warned.iter().any(|row| row["gate_id"] == "iqr_fence"), "{warned:?}");
    // The history with its change points, and the two sides.
    let parse = find(&data["series"], "bench_id", "parse/json/1mb")[0];
    assert_eq!(parse["history"]["commit_seq"].as_array().unwrap().len(), COMMITS as usize);
    assert_eq!(parse["history"]["change_point_idx"], serde_json::json!([40]), "{parse}");
    assert_eq!((parse["base"].as_array().unwrap().len(), parse["cand"].as_array().unwrap().len()), (40, 40));
    assert_eq!(parse["source"]["file"], "benches/parse.rs");
    let encode = find(&data["series"], "bench_id", "encode/utf8/64kb")[0];
    assert_eq!(encode["history"]["change_point_idx"], serde_json::json!([25]));
    // Promises with a status and a reason.
    let status = |id: &str| find(&data["targets"], "target_id", id)[0]["status"].clone();
    assert_eq!((status("parse.json"), status("encode.utf8")), ("not_met".into(), "met".into()));
    assert_eq!(status("forward.gpu"), "skipped");
    assert_eq!(find(&data["targets"], "target_id", "forward.gpu")[0]["reason"], "this machine has no GPU");
    // The gate measured: no false alarm in 100 runs, all of +10 % found where it is quiet.
    let alarms = find(&data["rates"], "kind", "false_alarm")[0];
    assert_eq!((&alarms["count"], &alarms["total"]), (&0.into(), &100.into()));
    assert!((alarms["high"].as_f64().unwrap() - 0.0370).abs() < 1e-4, "{alarms}");
    let power = find(&data["rates"], "kind", "power");
    let quiet = power.iter().find(|rate| rate["injected_rel"] == 0.1 && rate["bar"] == 0.95).unwrap();
    assert_eq!((&quiet["count"], &quiet["total"]), (&200.into(), &200.into()), "{quiet}");
    // The run, its machine, and the SQL behind everything.
    assert_eq!((&data["run"]["id"], &data["run"]["pull_request"]), (&PAIRS.into(), &"42".into()));
    assert!(
        data["run"]["env"]
            .as_array()
            .unwrap()
            .contains(&serde_json::json!(["cpu_model", "Example CPU 2.1 GHz"]))
    );
    let gate = find(&data["gates"], "id", "paired")[0];
    assert!(gate["sql"].as_str().unwrap().contains("paired_test(") && gate["outcome"] == "failed", "{gate}");
    for query in ["queries/targets.sql", "queries/noise_health.sql", "report/history.sql", "report/rates.sql"]
    {
        let sql = find(&data["queries"], "name", query)[0]["sql"].as_str().unwrap();
        assert!(sql.contains("SELECT"), "{query}");
    }
    assert_eq!(find(&data["noise"], "bench_id", "sync/group/8")[0]["state"], "unstable");
    // The same history gives the same bytes, and looking at it decided nothing.
    ends(folder, 0, &["bench", "report", "--run", PAIRS, "--out", "again.html"]);
    assert_eq!(page, std::fs::read_to_string(folder.join("again.html")).unwrap());
    assert!(ends(folder, 0, &["history", "list", "--format", "csv"]).contains("not accepted"));
    let counted = ends(
        folder,
        0,
        &["query", "-c", "SELECT count(*) FROM verdicts WHERE gate_id = 'drift'", "--format", "csv"],
    );
    assert!(counted.ends_with("\n0\n"), "{counted}");
}

#[test]
fn other_forms_go_to_standard_output_or_a_file() {
    let folder = folder(false);
    let folder = folder.path();
    let written = ends(folder, 0, &["bench", "report", "--run", "latest"]);
    assert_eq!(written.trim_end(), format!("./promptc-report-{PAIRS}.html"));
    assert!(folder.join(format!("promptc-report-{PAIRS}.html")).is_file());
    let comment = ends(folder, 0, &["bench", "report", "--format", "markdown"]);
    assert!(comment.lines().count() <= 60 && comment.contains("**1 worse**"), "{comment}");
    let dashboard = ends(folder, 0, &["bench", "report", "--format", "terminal"]);
    assert!(dashboard.lines().all(|line| line.chars().count() == 80), "{dashboard}");
    assert!(dashboard.contains("✗ parse/json/1mb") && dashboard.contains("1 worse"), "{dashboard}");
    assert!(!dashboard.contains('\u{1b}'), "no colour where no terminal is");
    ends(folder, 0, &["bench", "report", "--format", "junit", "--out", "deep/er/junit.xml"]);
    let xml = std::fs::read_to_string(folder.join("deep/er/junit.xml")).unwrap();
    assert!(xml.contains("<failure") && xml.contains("parse/json/1mb"), "{xml}");
    let scan = ends(folder, 0, &["bench", "report", "--format", "sarif"]);
    let scan: serde_json::Value = serde_json::from_str(&scan).unwrap();
    let results = scan["runs"][0]["results"].as_array().unwrap();
    let parse =
        results.iter().find(|result| result["ruleId"] == "paired" && result["level"] == "error").unwrap();
    let place = &parse["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "benches/parse.rs");
    assert_eq!(place["region"]["startLine"], 17);
    for (args, word) in [
        (&["bench", "report", "--run", "nope"][..], "nope"),
        (&["bench", "report", "--run", "latest~999"], "999 before the latest"),
        (&["bench", "report", "--watch", "--out", "x"], "cannot be used with"),
    ] {
        let output = promptc(folder, args);
        let shown = text(&output.stderr);
        assert!(output.status.code() == Some(2) && shown.contains(word), "{args:?}\n{shown}");
    }
}

#[test]
fn gates_of_the_program_judge_any_history_and_speak_to_other_tools() {
    let folder = folder(false);
    let folder = folder.path();
    let table = ends(folder, 3, &["gate", "--all", "--run", PAIRS, "--no-record"]);
    assert!(table.contains("paired") && table.contains("seed_ten_percent"), "{table}");
    let xml = ends(folder, 3, &["gate", "--all", "--run", PAIRS, "--format", "junit"]);
    assert!(xml.starts_with("<?xml") && xml.contains("classname=\"paired\""), "{xml}");
    assert!(xml.contains(&format!("value=\"{PAIRS}\"")), "{xml}");
    let scan = ends(folder, 3, &["gate", "--all", "--run", PAIRS, "--format", "sarif", "-p", "alpha=0.001"]);
    let scan: serde_json::Value = serde_json::from_str(&scan).unwrap();
    let driver = &scan["runs"][0]["tool"]["driver"];
    let rule = find(&driver["rules"], "id", "paired")[0];
    assert_eq!(rule["properties"]["parameters"]["alpha"], "0.001");
    assert!(
        ends(folder, 0, &["history", "list", "--format", "csv", "--limit", "1"]).contains("not accepted")
    );
    let both = promptc(folder, &["gate", "--all", "x.sql"]);
    assert_eq!(both.status.code(), Some(2));
    // A gate that cannot run is an error in every form, never a passed case.
    let broken = "-- id: broken\n-- param: run string\nSELECT bench_idd FROM results WHERE run_id = $run\n";
    std::fs::write(folder.join("broken.sql"), broken).unwrap();
    let xml = ends(folder, 4, &["gate", "broken.sql", "--format", "junit"]);
    assert!(xml.contains("errors=\"1\"") && xml.contains("bench_idd"), "{xml}");
    let scan = ends(folder, 4, &["gate", "broken.sql", "--format", "sarif"]);
    let scan: serde_json::Value = serde_json::from_str(&scan).unwrap();
    assert_eq!(scan["runs"][0]["invocations"][0]["executionSuccessful"], false);
}

#[test]
fn two_runs_stand_side_by_side() {
    let folder = folder(false);
    let folder = folder.path();
    let (old, new) = (format!("01KM{:022}", 39), format!("01KM{:022}", 40));
    let rows = ends(folder, 0, &["bench", "compare", &old, &new, "--format", "csv"]);
    let parse = rows.lines().find(|line| line.starts_with("parse/json/1mb")).unwrap();
    assert!(parse.ends_with(",worse"), "{rows}");
    for args in [["latest", "latest"], ["latest", "nope"], ["latest~x", "latest"]] {
        assert_eq!(
            promptc(folder, &["bench", "compare", args[0], args[1]]).status.code(),
            Some(2),
            "{args:?}"
        );
    }
    let steps = promptc(folder, &["bench", "compare", "latest~1", "latest"]);
    assert!(text(&steps.stderr).contains(&format!("b: run {PAIRS}")), "{}", text(&steps.stderr));
}

#[test]
fn shipped_queries_have_names() {
    let folder = folder(true);
    let folder = folder.path();
    let targets = ends(folder, 0, &["query", "targets", "--format", "csv"]);
    assert!(targets.starts_with("target_id,") && targets.lines().count() == 4, "{targets}");
    let trend = ends(folder, 0, &["query", "seed_report", "-p", "seed=ruvdllm", "--format", "jsonl"]);
    assert!(trend.contains("forward") || trend.is_empty(), "{trend}");
    let output = promptc(folder, &["query", "target"]);
    assert!(output.status.code() == Some(2) && text(&output.stderr).contains("noise_health"));
    std::fs::write(folder.join("targets"), "no program").unwrap();
    let output = promptc(folder, &["query", "targets"]);
    assert_ne!(output.status.code(), Some(0), "a file of that name is meant");
}

/// Runs the command with a text as standard input.
fn with_input(folder: &Path, args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_promptc"))
        .env("PROMPTC_HISTORY", folder.join("history"))
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn statements_of_standard_input_run_one_after_the_other() {
    let folder = folder(false);
    let folder = folder.path();
    std::fs::write(folder.join("more.sql"), "SELECT 7 AS seven;\nSELECT 8 AS eight").unwrap();
    let input = "\\format csv\nSELECT count(DISTINCT run_id) AS runs -- all; of them\nFROM results; SELECT ';' AS a;\n\
                 \\i more.sql\n\\d marks\n\\o out.csv\nSELECT 1 AS one;\n\\o\n\\queries trend\nSELECT $x AS x";
    let output = with_input(folder, &["query", "-p", "x=5"], input);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{err}");
    assert!(
        out.starts_with("runs\n161\na\n;\nseven\n7\neight\n8\ncolumn,type,null\nrun_id,Utf8,no\n"),
        "{out}\n{err}"
    );
    assert!(out.contains("-- How did $bench move") && out.ends_with("x\n5\n"), "{out}\n{err}");
    assert_eq!(std::fs::read_to_string(folder.join("out.csv")).unwrap(), "one\n1\n");
    let output =
        with_input(folder, &["query", "--limit", "2", "--format", "csv"], "SELECT run_id FROM results;");
    assert_eq!(text(&output.stdout).lines().count(), 3);
    assert!(text(&output.stderr).contains("only the first 2 rows"), "{}", text(&output.stderr));
    // Nothing at all lists the tables; a failure ends what follows.
    assert!(text(&with_input(folder, &["query"], "\n").stdout).contains("results\n"));
    for (input, code, word) in [
        ("SELECT nope FROM results; SELECT 'later'", 4, "nope"),
        ("\\nope\nSELECT 'later';", 2, "`\\nope`"),
        ("\\d nope\nSELECT 'later';", 2, "environments"),
        ("\\format nope\nSELECT 'later';", 2, "markdown"),
        ("\\i absent.sql\nSELECT 'later';", 2, "absent.sql"),
        ("DROP TABLE results; SELECT 'later';", 4, "SELECT or WITH"),
    ] {
        let output = with_input(folder, &["query"], input);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{input}\n{err}");
        assert!(err.contains(word) && !out.contains("later"), "{input}\n{out}\n{err}");
    }
    std::fs::write(folder.join("round.sql"), "\\i round.sql").unwrap();
    assert_eq!(with_input(folder, &["query"], "\\i round.sql").status.code(), Some(2));
    let quit = with_input(folder, &["query"], "\\q\nSELECT nope;");
    assert_eq!((quit.status.code(), text(&quit.stdout)), (Some(0), String::new()));
}

#[test]
fn a_workflow_is_written_once() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let printed = ends(folder, 0, &["bench", "ci", "--", "--bench", "my bench"]);
    assert!(
        printed.contains("promptc bench pair \"$base\" HEAD --undecided-ok -- --bench 'my bench'"),
        "{printed}"
    );
    assert!(printed.contains("command -v promptc"), "{printed}");
    assert!(!folder.join(".github").exists());
    let written = ends(folder, 0, &["bench", "ci", "--write", "--install", "cargo install promptc"]);
    let path = folder.join(written.trim_end());
    let text_of = |path: &Path| std::fs::read_to_string(path).unwrap();
    assert!(
        path.ends_with(".github/workflows/bench.yml") && text_of(&path).contains("cargo install promptc")
    );
    std::fs::write(&path, "mine").unwrap();
    let refused = promptc(folder, &["bench", "ci", "--write"]);
    assert!(refused.status.code() == Some(2) && text(&refused.stderr).contains("--force"));
    assert_eq!(text_of(&path), "mine");
    ends(folder, 0, &["bench", "ci", "--write", "--force"]);
    assert!(text_of(&path).contains("promptc gate --all"));
    assert_eq!(promptc(folder, &["bench", "ci", "--install", "a\nb"]).status.code(), Some(2));
}
