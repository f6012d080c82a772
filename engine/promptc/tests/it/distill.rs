//! `promptc distill` and `promptc embed`: a table from a model, and what is refused.

use std::path::{Path, PathBuf};

use crate::bench::says;

fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/tests/oracle/bert-tiny")
}

#[test]
fn a_table_is_made_and_used_and_made_again_with_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let model = model().display().to_string();
    let lines = ["the cat sat", "a dog ran away", "the cat ran", "a dog sat down there"];
    std::fs::write(folder.path().join("texts.txt"), lines.join("\n")).unwrap();
    let made = |out: &str, threads: &str| {
        let args = ["distill", "--model", &model, "--texts", "texts.txt", "--dim", "32", "--out", out];
        says(folder.path(), 0, &[&args[..], &["--threads", threads]].concat());
        std::fs::read(folder.path().join(out).join("model.safetensors")).unwrap()
    };
    assert_eq!(made("one", "1"), made("two", "2"));
    let near = says(folder.path(), 0, &["embed", "--model", "one", "the cat", "the cat", "a dog"]);
    assert!(near.contains("1.000") && near.contains("static table of bert-tiny, one, 32 numbers"), "{near}");
    assert!(near.contains("W2202"), "a random model: {near}");
    std::fs::write(
        folder.path().join("p.promptc"),
        "edition 2026\nsource n : stream<{ id: text, text: text }> = jsonl(\"n.jsonl\") { key = id }\n\
         embedder e { kind = static, dir = \"one\" }\npipeline p { n |> embed(text, with = e) as v -> rows }\n\
         index near on p.rows(v) { kind = flat }\n",
    )
    .unwrap();
    std::fs::write(folder.path().join("n.jsonl"), "{\"id\":\"\\u001b[31ma\",\"text\":\"the cat\"}\n")
        .unwrap();
    let found = says(folder.path(), 0, &["search", "p.promptc", "near", "the cat"]);
    assert!(found.contains("[31ma") && !found.contains('\u{1b}'), "{found}");
    let nothing = says(folder.path(), 0, &["search", "p.promptc", "near", "\u{1f642}", "--format", "json"]);
    assert!(nothing.contains("\"hits\""), "{nothing}");
    assert!(!says(folder.path(), 0, &["gc", "."]).contains("near"), "what a search built is no leftover");
}

#[test]
fn what_a_distillation_would_lose_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("own");
    std::fs::create_dir(&own).unwrap();
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        std::fs::copy(model().join(name), own.join(name)).unwrap();
    }
    let before = std::fs::read(own.join("model.safetensors")).unwrap();
    let to = |out: &str, code: i32| {
        says(folder.path(), code, &["distill", "--model", "own", "--dim", "32", "--out", out])
    };
    assert!(to("own", 2).contains("the folder of the encoder"));
    std::fs::create_dir(folder.path().join("other")).unwrap();
    std::fs::write(folder.path().join("other/model.safetensors"), "weights").unwrap();
    assert!(to("other", 2).contains("no static table"));
    std::fs::write(folder.path().join("file"), "x").unwrap();
    assert!(to("file", 2).contains("no folder"));
    assert_eq!(std::fs::read(own.join("model.safetensors")).unwrap(), before);
    let many = ["distill", "--model", "own", "--dim", "32", "--epochs", "101", "--out", "new"];
    assert!(says(folder.path(), 2, &many).contains("1 to 100"));
    std::fs::write(folder.path().join("bad.txt"), b"fine\nbad \xff\n").unwrap();
    let bad = ["distill", "--model", "own", "--dim", "32", "--texts", "bad.txt", "--out", "new"];
    assert!(says(folder.path(), 2, &bad).contains("line 2 is not UTF-8"));
}
