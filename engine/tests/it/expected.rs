//! Plans and results of the programs of `pipelines/` as stored in `pipelines/expected/`. With `PROMPTC_BLESS=1` they are
//! written anew; read the difference before committing it.

use std::path::{Path, PathBuf};

use promptc_engine::compiler::plan::{Request, Rules, classes, plan, show};
use promptc_engine::program::{Settings, load};

use crate::fixture::Fixture;

fn pipelines() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../pipelines")
}

/// Compares with a stored text.
fn check(name: &str, found: &str) {
    let path = pipelines().join("expected").join(name);
    if std::env::var_os("PROMPTC_BLESS").is_some() {
        std::fs::write(&path, found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(expected, found, "{name} differs; PROMPTC_BLESS=1 rewrites it");
}

/// The program with small data in place of what it reads on a real machine.
fn with_small_data(name: &str, data: &[(&str, &str)]) -> Fixture {
    let mut fixture = Fixture::new("edition 2026\n");
    fixture.program = name.to_owned();
    fixture.write(name, std::fs::read(pipelines().join(name)).unwrap());
    data.iter().for_each(|(name, text)| fixture.write(name, text));
    fixture
}

fn stored(name: &str) -> String {
    std::fs::read_to_string(pipelines().join(name)).unwrap()
}

#[test]
fn plans_are_as_stored() {
    for name in ["01_hello", "crate_docs", "rag_pack"] {
        let path = pipelines().join(format!("{name}.promptc"));
        let program =
            load(&path, &Settings { home: Some("/home/someone".into()), ..Settings::default() }).unwrap();
        let request = Request { targets: &[], rules: Rules::All, contents: &|_| None };
        let plan = plan(&program.checked.hir, &request).unwrap();
        check(&format!("{name}.plan.txt"), &show::show(&plan, &classes(&plan, None), None));
    }
}

#[test]
fn hello_gives_what_is_stored() {
    let notes = stored("data/notes.jsonl");
    let asks = stored("data/asks.jsonl");
    let fixture =
        with_small_data("01_hello.promptc", &[("data/notes.jsonl", &notes), ("data/asks.jsonl", &asks)]);
    fixture.run().unwrap();
    check("01_hello.jsonl", &fixture.read("out/hello.jsonl"));
}

#[test]
fn crate_docs_gives_what_is_stored() {
    let rayon = "# Rayon\n\nRayon turns sequential iterators into parallel ones.\n\nCall `par_iter` to iterate over a \
                 vector in parallel, on as many threads as there are cores.\n\n## License\n\nLicensed under either of MIT \
                 or Apache-2.0, at your option, as is usual here.\n";
    let serde = "# Serde\n\nSerde derives serialization and deserialization for structs without tying them to one data \
                 format.\n\n## License\n\nLicensed under either of MIT or Apache-2.0, at your option, as is usual here.\n";
    let asks = "{\"qid\":\"q1\",\"question\":\"How do I iterate over a vector in parallel?\",\"crate\":\"rayon\"}\n\
                {\"qid\":\"q2\",\"question\":\"How do I derive serialization for a struct?\",\"crate\":\"serde\"}\n\
                {\"qid\":\"q3\",\"question\":\"How do I parse a date?\",\"crate\":\"chrono\"}\n";
    let mut fixture = with_small_data(
        "crate_docs.promptc",
        &[
            ("home/registry/src/index/rayon-1.0.0/README.md", rayon),
            ("home/registry/src/index/serde-1.0.0/README.md", serde),
            ("home/registry/src/index/serde-1.0.0/CHANGELOG.md", "# Changes\n\nMany.\n"),
            ("data/crate_questions.jsonl", asks),
        ],
    );
    fixture.set.insert("cargo_home".into(), fixture.path().join("home").display().to_string());
    fixture.run().unwrap();
    check("crate_docs.prompts.jsonl", &fixture.read("out/crate_prompts.jsonl"));
    check("crate_docs.scores.csv", &fixture.read("out/crate_scores.csv"));
}

#[test]
fn rag_pack_gives_what_is_stored() {
    let squad = r#"{"data": [{"title": "Cache", "paragraphs": [
        {"context": "The cache holds 512 entries, by default. When it is full, the entry that was not used for the longest time makes room. Cats sleep most of the day.",
         "qas": [{"id": "q1", "question": "How many entries does the cache hold?", "is_impossible": false,
                  "answers": [{"text": "512", "answer_start": 16}]}]},
        {"context": "The index is rebuilt when the embedder changes. Nobody waits for it, since searches go on over the old one.",
         "qas": [{"id": "q2", "question": "When is the index rebuilt?", "is_impossible": false,
                  "answers": [{"text": "when the embedder changes", "answer_start": 21}]}]}]}]}"#;
    let mut fixture = with_small_data("rag_pack.promptc", &[("data/qa/squad2-dev-cs224n.json", squad)]);
    fixture.set.insert("data".into(), fixture.path().join("data").display().to_string());
    let program = fixture.read("rag_pack.promptc").replace(
        "parquet(\"out/rag_prompts.parquet\", key = qid)",
        "jsonl(\"out/rag_prompts.jsonl\", key = qid)",
    );
    fixture.write("rag_pack.promptc", program);
    fixture.run().unwrap();
    check("rag_pack.jsonl", &fixture.read("out/rag_prompts.jsonl"));
}
