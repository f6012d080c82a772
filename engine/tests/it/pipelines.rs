//! The programs of `pipelines/`: their tests pass, and what they write keeps its promises.

use std::path::{Path, PathBuf};

use promptc_engine::compiler::plan::Rules;
use promptc_engine::program::{Program, Settings, load};
use promptc_engine::run::RunOptions;
use promptc_engine::sql::run_test;
use serde_json::Value;

use crate::fixture::{Fixture, stage};

fn programs() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pipelines");
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "promptc"))
        .collect();
    found.sort();
    assert!(found.len() >= 3);
    found
}

fn checked(path: &Path) -> Program {
    let program = load(path, &Settings { home: Some("/nonexistent".into()), ..Settings::default() }).unwrap();
    let shown: Vec<_> =
        program.checked.diagnostics.iter().map(|found| (found.code.text(), &found.message)).collect();
    assert!(shown.is_empty(), "{}: {shown:?}", path.display());
    program
}

#[test]
fn every_program_checks_without_a_word() {
    programs().iter().for_each(|path| drop(checked(path)));
}

#[test]
fn the_tests_of_every_program_pass() {
    let options = RunOptions {
        targets: vec![],
        rules: Rules::All,
        out: None,
        limit: None,
        batch_rows: 64,
        memory_bytes: 64 << 20,
        home: None,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut count = 0;
    for path in programs() {
        let program = checked(&path);
        for test in &program.checked.hir.tests {
            let scratch = tempfile::tempdir().unwrap();
            let report =
                runtime.block_on(run_test(&program.checked.hir, test, scratch.path(), &options)).unwrap();
            assert!(report.passed, "{} {}: {:?}", path.display(), test.name, report.failures);
            count += 1;
        }
    }
    assert!(count >= 2);
}

#[test]
fn a_test_that_does_not_hold_says_so() {
    let text = r##"
edition 2026
source notes : stream<{ id: text, text: text }> = jsonl("n.jsonl") { key = id }
pipeline p { notes |> derive(size = len(text)) -> sized }
test wrong for p {
  given notes = [row(id = "a", text = "abc"), row(id = "b", text = "abcdef")]
  expect sized.size < 5
  expect count(sized) == 2
}
"##;
    let fixture = Fixture::new(text);
    let program = checked(&fixture.path().join("program.promptc"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let test = &program.checked.hir.tests[0];
    let report =
        runtime.block_on(run_test(&program.checked.hir, test, scratch.path(), &fixture.options())).unwrap();
    assert!(!report.passed);
    assert_eq!(report.failures.len(), 1);
    assert!(report.failures[0].contains("1 of 2 rows"), "{}", report.failures[0]);
}

#[test]
fn hello_writes_prompts_whose_every_byte_has_an_origin() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pipelines");
    let fixture = Fixture::new(&std::fs::read_to_string(folder.join("01_hello.promptc")).unwrap());
    for name in ["data/notes.jsonl", "data/asks.jsonl"] {
        fixture.write(name, std::fs::read(folder.join(name)).unwrap());
    }
    let report = fixture.run().unwrap();
    assert_eq!(stage(&report, "hello.prompts").rows, 3);
    let lines = fixture.read("out/hello.jsonl");
    assert_eq!(lines.lines().count(), 3);
    let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert!(first["prompt"].as_str().unwrap().contains("512 entries"), "{first:#}");
    lines.lines().for_each(|line| covers(&serde_json::from_str(line).unwrap()));
}

/// Lineage is sorted, disjoint and complete, and counted tokens are within the budget.
fn covers(prompt: &Value) {
    let text = prompt["prompt"].as_str().unwrap();
    let mut done = 0;
    for part in prompt["prompt_lineage"].as_array().unwrap() {
        assert_eq!(part["start"].as_u64().unwrap(), done);
        done = part["end"].as_u64().unwrap();
        assert!(text.get(..done as usize).is_some(), "a part ends inside a character");
    }
    assert_eq!(done, text.len() as u64);
}

#[test]
fn documents_are_named_by_lineage_and_stand_there() {
    let fixture = Fixture::documents();
    fixture.run().unwrap();
    let mut from_documents = 0;
    for line in fixture.read("out/prompts.jsonl").lines() {
        let prompt: Value = serde_json::from_str(line).unwrap();
        covers(&prompt);
        assert!(prompt["prompt_tokens"].as_u64().unwrap() <= 96);
        let text = prompt["prompt"].as_str().unwrap();
        for part in prompt["prompt_lineage"].as_array().unwrap() {
            let Some(doc) = part["doc"].as_str() else { continue };
            let source = fixture.read(&format!("docs/{}", doc.trim_start_matches("docs/")));
            let range = |from: &str, to: &str| {
                part[from].as_u64().unwrap() as usize..part[to].as_u64().unwrap() as usize
            };
            assert_eq!(&text[range("start", "end")], &source[range("doc_start", "doc_end")]);
            from_documents += 1;
        }
    }
    assert!(from_documents > 0);
}
