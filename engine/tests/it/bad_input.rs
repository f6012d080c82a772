//! Bad input ends with an error that has a code and names the place, and loses nothing.

use promptc_engine::error::EngineError;
use promptc_engine::program::{Settings, load};

use crate::fixture::{Fixture, stage};

const COPY: &str = r##"
edition 2026
source notes : stream<{ id: text, text: text }> = jsonl("notes.jsonl") { key = id }
pipeline p { notes |> filter(len(text) > 0) -> kept
  write kept to jsonl("out/kept.jsonl", key = id) }
"##;

fn code(result: Result<impl std::fmt::Debug, EngineError>) -> (String, String) {
    let error = result.unwrap_err();
    (error.code().to_owned(), error.to_string())
}

#[test]
fn a_missing_file_is_named() {
    let fixture = Fixture::new(COPY);
    let (code, message) = code(fixture.run());
    assert_eq!(code, "E2101");
    assert!(message.contains("notes.jsonl"), "{message}");
}

#[test]
fn a_malformed_line_is_named_and_the_last_output_stays() {
    let fixture = Fixture::new(COPY);
    fixture.write("notes.jsonl", "{\"id\":\"a\",\"text\":\"x\"}\n");
    fixture.run().unwrap();
    let before = fixture.outputs();
    fixture.write("notes.jsonl", "{\"id\":\"a\",\"text\":\"x\"}\n{\"id\":\"b\",\n");
    let (code, message) = code(fixture.run());
    assert_eq!(code, "E2102");
    assert!(message.contains("notes.jsonl") && message.contains('2'), "{message}");
    assert_eq!(before, fixture.outputs());
}

#[test]
fn quarantined_rows_are_counted_and_the_others_stay() {
    let program = COPY.replace("{ key = id }", "{ key = id, bad_rows = quarantine, max_bad = 60% }");
    let fixture = Fixture::new(&program);
    fixture.write("notes.jsonl", b"{\"id\":\"a\",\"text\":\"x\"}\n{\"id\":\"b\",\"text\":\"\xff\"}\nnot json\n{\"id\":\"c\",\"text\":\"y\"}\n");
    let report = fixture.run().unwrap();
    assert_eq!(report.quarantined, 2);
    assert_eq!(stage(&report, "p.kept").rows, 2);
    assert!(
        report.quarantine.iter().all(|row| row.code == "E2102" && row.line.is_some()),
        "{:?}",
        report.quarantine
    );
}

#[test]
fn a_duplicate_key_is_an_error() {
    let fixture = Fixture::new(COPY);
    fixture.write("notes.jsonl", "{\"id\":\"a\",\"text\":\"x\"}\n{\"id\":\"a\",\"text\":\"y\"}\n");
    assert_eq!(code(fixture.run()).0, "E2104");
}

#[test]
fn outputs_stay_in_their_folder() {
    for path in ["../stolen.jsonl", "/tmp/stolen.jsonl", "out/../../stolen.jsonl"] {
        let fixture = Fixture::new(&COPY.replace("out/kept.jsonl", path));
        let program = load(&fixture.path().join("program.promptc"), &Settings::default()).unwrap();
        let codes: Vec<&str> = program.checked.diagnostics.iter().map(|found| found.code.text()).collect();
        assert_eq!(codes, ["E2501"], "{path}");
    }
}

#[test]
fn no_rows_are_no_error() {
    let fixture = Fixture::documents();
    fixture.write("asks.jsonl", "");
    let report = fixture.run().unwrap();
    assert_eq!(stage(&report, "pack.prompts").rows, 0);
    assert_eq!(fixture.read("out/prompts.jsonl"), "");
}

#[test]
fn every_script_passes_through() {
    let fixture = Fixture::documents();
    fixture.write("docs/zh.md", "# 缓存\n\n缓存有五百一十二个条目。旧条目先被淘汰。\n");
    fixture.write("docs/ar.md", "# ذاكرة\n\nتحتوي الذاكرة على 512 مدخلا.\n");
    fixture.write("docs/emoji.md", "# 🦀\n\n🦀🦀 e\u{301}e\u{301} 👩‍👩‍👧 cache\n");
    fixture.write("docs/one.md", "x");
    fixture.write("asks.jsonl", "{\"qid\":\"q1\",\"question\":\"缓存有多少条目？\"}\n{\"qid\":\"q2\",\"question\":\"🦀\"}\n{\"qid\":\"q3\",\"question\":\"\"}\n");
    let report = fixture.run().unwrap();
    assert_eq!(stage(&report, "pack.prompts").rows, 3);
    assert!(fixture.read("out/prompts.jsonl").contains("缓存有五百一十二个条目"));
}

#[test]
fn a_prompt_that_cannot_fit_is_quarantined_and_not_cut() {
    let program = r##"
edition 2026
source notes : stream<{ id: text, text: text }> = jsonl("notes.jsonl") { key = id }
prompt small(text: text) within 5tok { user #"{{ text }}"# }
pipeline p { notes |> assemble(small, text = text) as prompt -> prompts
  write prompts to jsonl("out/p.jsonl", key = id) }
"##;
    let fixture = Fixture::new(program);
    fixture.write(
        "notes.jsonl",
        "{\"id\":\"a\",\"text\":\"one two\"}\n{\"id\":\"b\",\"text\":\"one two three four five six\"}\n",
    );
    for _ in 0..2 {
        let report = fixture.run().unwrap();
        assert_eq!(fixture.read("out/p.jsonl").lines().count(), 1);
        if !report.is_idle() {
            assert_eq!(report.quarantined, 1);
            assert_eq!(report.quarantine[0].code, "E2401");
            assert!(report.quarantine[0].message.contains("row b"), "{:?}", report.quarantine);
        }
    }
}

#[test]
fn division_by_zero_is_named() {
    let program = r##"
edition 2026
source notes : stream<{ id: text, n: i64 }> = jsonl("notes.jsonl") { key = id }
pipeline p { notes |> derive(share = 10 / n) -> kept
  write kept to jsonl("out/kept.jsonl", key = id) }
"##;
    let fixture = Fixture::new(program);
    fixture.write("notes.jsonl", "{\"id\":\"a\",\"n\":0}\n");
    assert_eq!(code(fixture.run()).0, "E2103");
}

#[test]
fn outputs_never_replace_what_a_program_reads() {
    for path in ["notes.jsonl", "program.promptc", ".promptc/FORMAT", "./notes.jsonl"] {
        let fixture = Fixture::new(&COPY.replace("out/kept.jsonl", path));
        fixture.write("notes.jsonl", "{\"id\":\"a\",\"text\":\"x\"}\n");
        let program = fixture.read("program.promptc");
        assert_eq!(code(fixture.run()).0, "E2501", "{path}");
        assert_eq!(fixture.read("notes.jsonl"), "{\"id\":\"a\",\"text\":\"x\"}\n");
        assert_eq!(fixture.read("program.promptc"), program);
    }
}

#[test]
fn rows_that_were_left_out_are_named_in_every_run() {
    let program = COPY.replace("{ key = id }", "{ key = id, bad_rows = quarantine, max_bad = 60% }");
    let fixture = Fixture::new(&program);
    fixture.write("notes.jsonl", "{\"id\":\"a\",\"text\":\"x\"}\nnot json\n");
    assert_eq!(fixture.run().unwrap().quarantined, 1);
    let again = fixture.run().unwrap();
    assert!(again.is_idle());
    assert_eq!(again.quarantined, 1);
    assert_eq!(again.quarantine[0].line, Some(2));
}

#[test]
fn a_damaged_stream_is_an_error_with_its_code() {
    let fixture = Fixture::new(COPY);
    fixture.write("notes.jsonl", "{\"id\":\"a\",\"text\":\"x\"}\n");
    fixture.run().unwrap();
    fixture.remove("out/kept.jsonl");
    for entry in std::fs::read_dir(fixture.path().join(".promptc/flows")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 3;
        bytes[middle] ^= 4;
        std::fs::write(&path, bytes).unwrap();
    }
    assert_eq!(code(fixture.run()).0, "E1003");
}

#[test]
fn what_this_build_cannot_do_is_said_before_any_file_is_read() {
    let program = r##"
edition 2026
source notes : stream<{ id: text, text: text }> = jsonl("nowhere.jsonl") { key = id }
tokenizer words { kind = word_punct }
model base { arch = decoder, init = seed(1), shape = "tiny", context = 64tok, tokenizer = words }
pipeline p { notes |> generate(text, with = base, max = 8tok) as answer -> kept
  write kept to jsonl("out/kept.jsonl", key = id) }
"##;
    assert_eq!(code(Fixture::new(program).run()).0, "E2002");
}

#[test]
fn what_was_left_out_once_is_forgotten_when_the_source_is_repaired() {
    let program = COPY.replace("{ key = id }", "{ key = id, bad_rows = quarantine, max_bad = 60% }");
    let fixture = Fixture::new(&program);
    fixture.write("notes.jsonl", "{\"id\":\"a\",\"text\":\"x\"}\nnot json\n");
    assert_eq!(fixture.run().unwrap().quarantined, 1);
    fixture.write("notes.jsonl", "{\"id\":\"a\",\"text\":\"x\"}\n");
    assert_eq!(fixture.run().unwrap().quarantined, 0);
    let settings = promptc_engine::store::open::StoreOptions { cache_bytes: 1 << 30, read_only: false };
    let store =
        promptc_engine::store::open::Store::open(&fixture.path().join(".promptc"), &settings).unwrap();
    assert!(store.ledger().entries("quarantine/").unwrap().is_empty());
}
