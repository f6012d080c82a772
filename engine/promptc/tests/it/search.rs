//! `promptc search`: what is found by which index, and why.

use std::path::Path;

use serde_json::Value;

use crate::bench::{promptc, says, text};

const PROGRAM: &str = r#"edition 2026
source notes : stream<{ id: text, title: text, text: text }> = jsonl("notes.jsonl") { key = id }
embedder hashed { kind = hashed_ngram, dim = 256, seed = 1, weight = idf, fit = notes.text }
pipeline corpus { notes |> embed(text, with = hashed) as v -> rows }
index words  on corpus.rows(text)  { kind = bm25, title = title, positions = true }
index near   on corpus.rows(v)     { kind = flat }
index others on notes(text)        { kind = bm25, stem = "de", stop = "de" }
"#;

const NOTES: [(&str, &str, &str); 4] = [
    ("a", "Cats", "A cat sleeps in the sun. Cats sleep often."),
    ("b", "Dogs", "The dog ran after a ball in the sun."),
    ("c", "Häuser", "Die Häuser der Stadt und das Haus am See."),
    ("d", "Weather", "Sun and rain; no animal is here."),
];

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("p.promptc"), PROGRAM).unwrap();
    let line = |(id, title, text): &(&str, &str, &str)| {
        serde_json::json!({ "id": id, "title": title, "text": text }).to_string() + "\n"
    };
    std::fs::write(folder.path().join("notes.jsonl"), NOTES.iter().map(line).collect::<String>()).unwrap();
    folder
}

/// Both streams of a search, which must end with `code`.
fn asked(folder: &Path, code: i32, args: &[&str]) -> String {
    says(folder, code, &[&["search", "p.promptc"], args].concat())
}

fn json(folder: &Path, indexes: &str, query: &str) -> Value {
    let output = promptc(folder, &["search", "p.promptc", indexes, query, "--format", "json"]);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)))
}

fn ids(found: &Value) -> Vec<&str> {
    found["hits"].as_array().unwrap().iter().map(|hit| hit["row"]["id"].as_str().unwrap()).collect()
}

#[test]
fn a_hit_says_which_index_found_it_and_which_words() {
    let folder = folder();
    let found = asked(folder.path(), 0, &["words,near", "sleeping cats", "--explain", "-k", "2"]);
    for expected in [
        "a  Cats",
        "A **cat** **sleeps** in the sun. **Cats** **sleep** often.",
        "words found it at rank 1",
        "near found it at rank 1",
        "BM25 of 4 texts, stem en, stop en, phrases",
        "exact, 4 vectors of 256, cosine; query by embedder `hashed`: hashed n-grams, 256 numbers",
    ] {
        assert!(found.contains(expected), "{expected} in {found}");
    }
    let found = json(folder.path(), "words,near", "sleeping cats");
    let best = &found["hits"][0];
    let parts: f64 =
        best["indexes"].as_array().unwrap().iter().map(|arm| arm["part"].as_f64().unwrap()).sum();
    assert!((parts - best["score"].as_f64().unwrap()).abs() < 1e-9, "{best}");
    let terms: f64 =
        best["terms"].as_array().unwrap().iter().map(|term| term["part"].as_f64().unwrap()).sum();
    assert!((terms - best["indexes"][0]["score"].as_f64().unwrap()).abs() < 1e-9, "{best}");
    let text = best["row"]["text"].as_str().unwrap();
    let spans = best["spans"].as_array().unwrap().iter();
    let words =
        spans.map(|span| &text[span[0].as_u64().unwrap() as usize..span[1].as_u64().unwrap() as usize]);
    assert_eq!(words.collect::<Vec<_>>(), ["cat", "sleeps", "Cats", "sleep"]);
    assert!(best["row"].get("v").is_none(), "no vectors");
}

#[test]
fn phrases_titles_and_other_languages() {
    let folder = folder();
    assert_eq!(ids(&json(folder.path(), "words", "\"sleeps in the sun\"")), ["a"]);
    assert_eq!(ids(&json(folder.path(), "words", "weather")), ["d"], "only its title has the word");
    assert_eq!(ids(&json(folder.path(), "others", "Haus")), ["c"]);
    let plural = &json(folder.path(), "others", "Häusern")["hits"][0]["terms"][0];
    assert_eq!((plural["term"].as_str(), plural["frequency"].as_u64()), (Some("haus"), Some(2)));
}

#[test]
fn what_cannot_be_asked_is_said() {
    let folder = folder();
    let nothing = asked(folder.path(), 0, &["words", "the of and"]);
    assert!(
        nothing.contains("it keeps no word of the query") && nothing.contains("nothing found"),
        "{nothing}"
    );
    let name = asked(folder.path(), 2, &["word", "cat"]);
    assert!(name.contains("E0201") && name.contains("`words`, `near`, `others`"), "{name}");
    let streams = asked(folder.path(), 2, &["words,others", "cat"]);
    assert!(streams.contains("another stream"), "{streams}");
    let empty = asked(folder.path(), 2, &["words", "  "]);
    assert!(empty.contains("expected words"), "{empty}");
    asked(folder.path(), 2, &["words", "cat", "-k", "0"]);
    let long = "cat and 猫 😀 ".repeat(7000);
    assert_eq!(ids(&json(folder.path(), "words,near", &long))[0], "a", "100 kB of mixed scripts");
    let all = asked(folder.path(), 0, &["near", "cat", "-k", "10000"]);
    assert!(all.contains("  4  "), "more hits asked for than there are rows: {all}");
}

#[test]
fn an_index_follows_its_rows() {
    let folder = folder();
    assert_eq!(ids(&json(folder.path(), "words", "cat")), ["a"]);
    let notes = "{\"id\":\"z\",\"title\":\"Cats\",\"text\":\"none here\"}\n";
    std::fs::write(folder.path().join("notes.jsonl"), notes).unwrap();
    assert_eq!(ids(&json(folder.path(), "words", "cat")), ["z"]);
}
