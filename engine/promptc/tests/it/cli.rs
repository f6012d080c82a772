//! Verbs, exit codes and streams.

use std::path::Path;
use std::process::{Command, Output};

fn promptc(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_promptc"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PROMPTC_")) {
        command.env_remove(name);
    }
    command.args(args).current_dir(folder).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

/// A new program in a temporary folder.
fn fresh() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let made = promptc(folder.path(), &["new", "demo"]);
    assert_eq!(code(&made), 0, "{}", text(&made.stderr));
    folder
}

#[test]
fn help_teaches_and_its_examples_work() {
    let folder = tempfile::tempdir().unwrap();
    let help = text(&promptc(folder.path(), &["--help"]).stdout);
    for word in ["Examples:", "promptc new hello", "run", "check", "trace", "explain"] {
        assert!(help.contains(word), "{word} is not in\n{help}");
    }
    assert_eq!(code(&promptc(folder.path(), &["new", "hello"])), 0);
    assert_eq!(code(&promptc(folder.path(), &["run", "hello/hello.promptc", "--yes"])), 0);
}

#[test]
fn a_new_program_checks_tests_runs_and_rests() {
    let folder = fresh();
    let program = "demo/demo.promptc";
    let check = promptc(folder.path(), &["check", program]);
    assert_eq!((code(&check), text(&check.stderr).as_str()), (0, ""));
    assert_eq!(code(&promptc(folder.path(), &["fmt", "--check", program])), 0, "the program is formatted");
    let test = promptc(folder.path(), &["test", program]);
    assert_eq!(code(&test), 0, "{}", text(&test.stdout));
    let run = promptc(folder.path(), &["run", program, "--yes"]);
    assert_eq!(code(&run), 0, "{}", text(&run.stderr));
    let lines = std::fs::read_to_string(folder.path().join("demo/out/prompts.jsonl")).unwrap();
    assert!(lines.lines().next().unwrap().contains("512 entries"), "{lines}");
    let again = promptc(folder.path(), &["run", program, "--yes"]);
    assert!(text(&again.stdout).starts_with("nothing to do"), "{}", text(&again.stdout));
}

#[test]
fn build_locks_and_verify_notices() {
    let folder = fresh();
    let program = "demo/demo.promptc";
    assert_eq!(code(&promptc(folder.path(), &["build", program])), 0);
    let verify = promptc(folder.path(), &["verify", program]);
    assert_eq!(code(&verify), 0, "{}", text(&verify.stderr));
    std::fs::write(folder.path().join("demo/asks.jsonl"), "{\"qid\":\"q9\",\"question\":\"New?\"}\n")
        .unwrap();
    let verify = promptc(folder.path(), &["verify", program]);
    assert_eq!(code(&verify), 3);
    assert!(text(&verify.stderr).contains("does not hold"), "{}", text(&verify.stderr));
}

#[test]
fn errors_of_the_text_end_with_1_and_point_at_the_place() {
    let folder = fresh();
    let path = folder.path().join("demo/demo.promptc");
    let wrong = std::fs::read_to_string(&path).unwrap().replace("from = words", "from = wordz");
    std::fs::write(&path, wrong).unwrap();
    let check = promptc(folder.path(), &["check", "demo/demo.promptc"]);
    assert_eq!(code(&check), 1);
    let shown = text(&check.stderr);
    assert!(shown.contains("E0201") && shown.contains("did you mean `words`"), "{shown}");
    let json = promptc(folder.path(), &["check", "demo/demo.promptc", "--message-format", "json"]);
    let first: serde_json::Value = serde_json::from_str(text(&json.stdout).lines().next().unwrap()).unwrap();
    assert_eq!(first["code"], "E0201");
    let sarif = promptc(folder.path(), &["check", "demo/demo.promptc", "--message-format", "sarif"]);
    let sarif: serde_json::Value = serde_json::from_str(&text(&sarif.stdout)).unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    assert_eq!(code(&promptc(folder.path(), &["run", "demo/demo.promptc", "--yes"])), 1);
}

/// What ends a run is said in the format that was asked for, one document whatever was said before.
#[test]
fn faults_of_a_run_have_the_format_of_diagnostics() {
    let folder = fresh();
    let path = folder.path().join("demo/demo.promptc");
    let whole = std::fs::read_to_string(&path).unwrap();
    for (program, expected, status) in [("demo/demo.promptc", "E2101", 4), ("missing.promptc", "E2101", 2)] {
        let broken = whole.replace("jsonl(\"", "jsonl(\"no/such/");
        assert_ne!(broken, whole);
        std::fs::write(&path, broken).unwrap();
        let json = promptc(folder.path(), &["run", program, "--yes", "--message-format", "json"]);
        assert_eq!(code(&json), status);
        let said = text(&json.stdout);
        let last: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
        assert_eq!((&last["code"], &last["severity"]), (&expected.into(), &"error".into()), "{said}");
        let sarif = promptc(folder.path(), &["run", program, "--yes", "--message-format", "sarif"]);
        let log: serde_json::Value = serde_json::from_str(&text(&sarif.stdout)).unwrap();
        let runs = log["runs"].as_array().unwrap();
        let results: Vec<&serde_json::Value> =
            runs.iter().flat_map(|run| run["results"].as_array().unwrap()).collect();
        assert!(results.iter().any(|result| result["ruleId"] == expected), "{log}");
    }
}

#[test]
fn wrong_use_ends_with_2() {
    let folder = fresh();
    for args in [
        vec!["frobnicate"],
        vec!["check", "missing.promptc"],
        vec!["run", "demo/demo.promptc", "--no-such-flag"],
        vec!["run", "demo/demo.promptc", "no.such.target", "--yes"],
        vec!["explain", "no such thing"],
        vec!["new", "demo"],
    ] {
        let output = promptc(folder.path(), &args);
        assert_eq!(code(&output), 2, "{args:?}: {}", text(&output.stderr));
        assert!(!output.stderr.is_empty(), "{args:?} says nothing");
    }
}

#[test]
fn a_missing_source_ends_with_4_and_names_it() {
    let folder = fresh();
    std::fs::remove_file(folder.path().join("demo/notes.jsonl")).unwrap();
    let run = promptc(folder.path(), &["run", "demo/demo.promptc", "--yes"]);
    assert_eq!(code(&run), 4);
    assert!(
        text(&run.stderr).contains("E2101") && text(&run.stderr).contains("notes.jsonl"),
        "{}",
        text(&run.stderr)
    );
}

#[test]
fn streams_are_tables_and_prompts_are_traced() {
    let folder = fresh();
    let program = "demo/demo.promptc";
    promptc(folder.path(), &["run", program, "--yes"]);
    let sql = "SELECT qid, prompt_tokens FROM pack_prompts ORDER BY qid";
    let csv = promptc(folder.path(), &["query", program, "-c", sql, "--format", "csv"]);
    assert_eq!(code(&csv), 0, "{}", text(&csv.stderr));
    assert_eq!(text(&csv.stdout).lines().count(), 3);
    let trace = promptc(folder.path(), &["trace", program, "pack.prompts", "q1"]);
    assert_eq!(code(&trace), 0, "{}", text(&trace.stderr));
    let shown = text(&trace.stdout);
    assert!(shown.contains("<- cache [") && shown.contains("fixed text"), "{shown}");
    let wrong = promptc(folder.path(), &["query", program, "-c", "DROP TABLE pack_prompts"]);
    assert_eq!(code(&wrong), 4);
}

#[test]
fn every_code_has_a_page() {
    let folder = tempfile::tempdir().unwrap();
    for code_text in ["E0101", "e0503", "W0201", "E2002"] {
        let page = promptc(folder.path(), &["explain", code_text]);
        assert_eq!(code(&page), 0);
        assert!(text(&page.stdout).to_uppercase().contains(&code_text.to_uppercase()));
    }
}

#[test]
fn a_store_in_use_is_refused() {
    let folder = fresh();
    let program = "demo/demo.promptc";
    promptc(folder.path(), &["run", program, "--yes"]);
    let lock = std::fs::File::open(folder.path().join("demo/.promptc/LOCK")).unwrap();
    lock.lock().unwrap();
    let run = promptc(folder.path(), &["run", program, "--yes"]);
    assert_eq!(code(&run), 4);
    assert!(text(&run.stderr).contains("E1001"), "{}", text(&run.stderr));
}
