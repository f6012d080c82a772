//! Embedders of kind `bert`: a program with a model folder from check to search.

use std::path::Path;

use crate::bench::says;

const PROGRAM: &str = r#"edition 2026
source notes : stream<{ id: text, text: text? }> = jsonl("notes.jsonl") { key = id }
source asks  : stream<{ qid: text, question: text }> = jsonl("asks.jsonl") { key = qid }
embedder tiny { kind = bert, dir = "model" }
pipeline corpus { notes |> embed(text, with = tiny) as v -> rows }
pipeline texts { notes |> filter(text != null) |> embed(text, with = tiny) as v -> rows }
index near on texts.rows(v) { kind = flat }
pipeline search { asks |> retrieve(question, from = near, k = 1) as hits -> found }
"#;

/// A folder with the program, its rows and the random model of the oracle.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("p.promptc", PROGRAM);
    let long = "word ".repeat(600);
    write(
        "notes.jsonl",
        &format!(
            "{{\"id\":\"a\",\"text\":\"a cat sat\"}}\n{{\"id\":\"b\",\"text\":null}}\n{{\"id\":\"c\",\"text\":\"{long}\"}}\n"
        ),
    );
    write("asks.jsonl", "{\"qid\":\"q\",\"question\":\"a cat sat\"}\n");
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tests/oracle/bert-tiny");
    std::fs::create_dir(folder.path().join("model")).unwrap();
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        std::fs::copy(model.join(name), folder.path().join("model").join(name)).unwrap();
    }
    folder
}

#[test]
fn a_model_folder_makes_vectors_and_finds_the_same_text() {
    let folder = folder();
    let ran = says(folder.path(), 0, &["run", "p.promptc", "--yes"]);
    assert!(ran.contains("W2201") && ran.contains("in 1 of the rows"), "{ran}");
    let found = says(
        folder.path(),
        0,
        &[
            "query",
            "p.promptc",
            "--format",
            "csv",
            "-c",
            "SELECT hits[1]['id'] AS id, hits[1]['score'] AS score FROM search_found",
        ],
    );
    let (id, score) = found.lines().nth(1).unwrap().split_once(',').unwrap();
    assert_eq!(id, "a", "{found}");
    assert!((score.trim().parse::<f64>().unwrap() - 1.0).abs() < 1e-6, "{found}");
    let nulls = says(
        folder.path(),
        0,
        &["query", "p.promptc", "--format", "csv", "-c", "SELECT id FROM corpus_rows WHERE v IS NULL"],
    );
    assert!(nulls.lines().any(|line| line == "b"), "{nulls}");
    let again = says(folder.path(), 0, &["run", "p.promptc", "--yes"]);
    assert!(again.contains("nothing to do"), "{again}");
}

#[test]
fn another_model_is_another_space_and_everything_of_it_is_computed_anew() {
    let folder = folder();
    says(folder.path(), 0, &["run", "p.promptc", "--yes"]);
    let path = folder.path().join("model/model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 4;
    bytes[last..].copy_from_slice(&0.25_f32.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let ran = says(folder.path(), 0, &["run", "p.promptc", "--yes"]);
    let embedded = ran.lines().find(|line| line.trim_start().starts_with("texts.rows ")).unwrap_or_default();
    assert!(!ran.contains("nothing to do") && embedded.contains(" 2 "), "{ran}");
}

#[test]
fn a_folder_that_is_no_model_is_named_with_what_to_do() {
    let folder = folder();
    let damage =
        |name: &str, bytes: &[u8]| std::fs::write(folder.path().join("model").join(name), bytes).unwrap();
    let config = std::fs::read(folder.path().join("model/config.json")).unwrap();
    damage("config.json", br#"{"model_type": "gpt2"}"#);
    let said = says(folder.path(), 1, &["check", "p.promptc"]);
    assert!(said.contains("E2202") && said.contains("config.json") && said.contains("gpt2"), "{said}");
    damage("config.json", &config);
    let weights = std::fs::read(folder.path().join("model/model.safetensors")).unwrap();
    damage("model.safetensors", &weights[..weights.len() / 2]);
    let said = says(folder.path(), 4, &["run", "p.promptc", "--yes"]);
    assert!(said.contains("E2202") && said.contains("safetensors"), "{said}");
    damage("model.safetensors", &weights);
    std::fs::remove_file(folder.path().join("model/tokenizer.json")).unwrap();
    let said = says(folder.path(), 1, &["check", "p.promptc"]);
    assert!(said.contains("E2202") && said.contains("tokenizer.json"), "{said}");
}

#[test]
fn with_dim_a_program_is_checked_where_the_model_is_not() {
    let folder = folder();
    let program = PROGRAM.replace("dir = \"model\"", "dir = \"elsewhere\", dim = 32");
    std::fs::write(folder.path().join("p.promptc"), program).unwrap();
    says(folder.path(), 0, &["check", "p.promptc"]);
    let said = says(folder.path(), 4, &["run", "p.promptc", "--yes"]);
    assert!(said.contains("E2202") && said.contains("elsewhere"), "{said}");
    let program = PROGRAM.replace("dir = \"model\"", "dir = \"model\", dim = 64");
    std::fs::write(folder.path().join("p.promptc"), program).unwrap();
    let said = says(folder.path(), 1, &["check", "p.promptc"]);
    assert!(said.contains("E0504"), "{said}");
}

/// What sentence-transformers writes beside a model decides where the program says nothing, and what is not computed is refused.
#[test]
fn a_folder_says_how_its_model_is_pooled_and_how_much_it_reads() {
    let folder = folder();
    let model = folder.path().join("model");
    let write = |name: &str, text: &str| {
        std::fs::create_dir_all(model.join("1_Pooling")).unwrap();
        std::fs::write(model.join(name), text).unwrap();
    };
    let vectors = |program: &str| {
        std::fs::write(folder.path().join("p.promptc"), program).unwrap();
        says(folder.path(), 0, &["run", "p.promptc", "--yes"]);
        let select = "SELECT id, v FROM texts_rows ORDER BY id";
        says(folder.path(), 0, &["query", "p.promptc", "--format", "csv", "-c", select])
    };
    let with = |fields: &str| PROGRAM.replace("dir = \"model\"", &format!("dir = \"model\"{fields}"));
    let mean = vectors(PROGRAM);
    let (cls, short) = (vectors(&with(", pool = cls")), vectors(&with(", max_tokens = 8tok")));
    assert!(mean != cls && mean != short);
    write("1_Pooling/config.json", r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}"#);
    assert_eq!(vectors(PROGRAM), cls);
    assert_eq!(vectors(&with(", pool = mean")), mean);
    let told = says(folder.path(), 0, &["embed", "a cat sat", "--model", "model"]);
    assert!(told.contains("[CLS] of at most"), "{told}");
    write("1_Pooling/config.json", r#"{"pooling_mode_mean_tokens": true}"#);
    write("sentence_bert_config.json", r#"{"max_seq_length": 8}"#);
    assert_eq!(vectors(PROGRAM), short);
    write("sentence_bert_config.json", r#"{"max_seq_length": 100000}"#);
    assert_eq!(vectors(PROGRAM), mean);
    write("modules.json", r#"[{"path": "2_Dense", "type": "sentence_transformers.models.Dense"}]"#);
    let refused = says(folder.path(), 1, &["check", "p.promptc"]);
    assert!(refused.contains("E2202") && refused.contains("`Dense`"), "{refused}");
}

/// What has no words is found by no vector, and finds nothing.
#[test]
fn empty_texts_are_near_to_nothing() {
    for embedder in
        ["kind = bert, dir = \"model\"", "kind = static", "kind = hashed_ngram, dim = 64, seed = 1"]
    {
        let folder = folder();
        let notes = r#"{"id":"a","text":"a cat sat"}
{"id":"b","text":""}
{"id":"c","text":" \n\u200b\u0301"}
{"id":"d","text":"bread and butter"}
"#;
        std::fs::write(folder.path().join("notes.jsonl"), notes).unwrap();
        let asks = "{\"qid\":\"q\",\"question\":\"stock market\"}\n{\"qid\":\"r\",\"question\":\"  \"}\n";
        std::fs::write(folder.path().join("asks.jsonl"), asks).unwrap();
        let program = PROGRAM.replace("kind = bert, dir = \"model\"", embedder).replace("k = 1", "k = 9");
        std::fs::write(folder.path().join("p.promptc"), program).unwrap();
        says(folder.path(), 0, &["run", "p.promptc", "--yes"]);
        let select =
            "SELECT qid, array_to_string(array_sort(hits['id']), ' ') AS ids FROM search_found ORDER BY qid";
        let select = select.replace("hits['id']", "array_agg(hit['id'])").replace(
            "FROM search_found",
            "FROM (SELECT qid, unnest(hits) AS hit FROM search_found) GROUP BY qid",
        );
        let found = says(folder.path(), 0, &["query", "p.promptc", "--format", "csv", "-c", &select]);
        let rows: Vec<&str> = found.lines().skip(1).filter(|line| line.contains(',')).collect();
        assert_eq!(rows, ["q,a d"], "{embedder}: {found}");
    }
}
