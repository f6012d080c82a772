//! Indexes over codes, `auto` and `hnsw`: what they find beside a comparison with every vector, through edits and filters.

use std::fmt::Write as _;
use std::path::Path;

use crate::bench::says;

const PROGRAM: &str = r##"edition 2026
source notes : stream<{ id: u32, topic: u32, text: text }> = jsonl("notes.jsonl") { key = id }
source asks  : stream<{ qid: u32, question: text }> = jsonl("asks.jsonl") { key = qid }
embedder hashed { kind = hashed_ngram, dim = 64, seed = 1 }
pipeline corpus { notes |> embed(text, with = hashed) as v -> rows }
index near  on corpus.rows(v) { kind = auto, recall = 98% }
index every on corpus.rows(v) { kind = flat }
pipeline find {
  asks
    |> retrieve(question, from = near, k = 10) as found
    |> retrieve(question, from = every, k = 10) as true_ones
    |> retrieve(question, from = near, k = 10, filter = topic == 7) as of_topic
    |> retrieve(question, from = every, k = 10, filter = topic == 7) as true_of_topic
    |> retrieve(question, from = near, k = 10, filter = id == 77) as one
    |> retrieve(question, from = near, k = 10, filter = id == 999999) as none
    -> out
}
query shares = sql #"
WITH hits AS (SELECT qid, unnest(found)['id'] AS id FROM find_out),
     truth AS (SELECT qid, unnest(true_ones)['id'] AS id FROM find_out)
SELECT (SELECT count(*) FROM hits) AS hits,
       (SELECT count(*) FROM hits JOIN truth ON hits.qid = truth.qid AND hits.id = truth.id) AS right,
       (SELECT count(*) FROM find_out WHERE cardinality(one) = 1 AND one[1]['id'] = 77) AS one,
       (SELECT count(*) FROM find_out WHERE cardinality(none) = 0) AS none,
       (SELECT count(*) FROM find_out WHERE cardinality(of_topic) = 10) AS of_topic
"#
query answers = sql #"SELECT qid, found, of_topic FROM find_out ORDER BY qid"#
"##;

const WORDS: [&str; 24] = [
    "river", "stone", "market", "engine", "paper", "winter", "garden", "letter", "window", "bridge",
    "silver", "orange", "harbour", "music", "forest", "kitchen", "soldier", "doctor", "island", "mirror",
    "thunder", "bottle", "ladder", "candle",
];

/// Notes of some words each; `salt` makes others of the same ids.
fn notes(ids: impl Iterator<Item = u32>, salt: u32) -> String {
    let mut lines = String::new();
    for id in ids {
        let mut state = id.wrapping_mul(0x9e37_79b9) ^ salt.wrapping_mul(0x85eb_ca6b);
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            WORDS[state as usize % WORDS.len()]
        };
        let text: Vec<&str> = (0..9).map(|_| next()).collect();
        writeln!(lines, "{{\"id\":{id},\"topic\":{},\"text\":\"{}\"}}", id % 50, text.join(" ")).unwrap();
    }
    lines
}

fn shares(folder: &Path) -> [u32; 5] {
    let found = says(folder, 0, &["query", "p.promptc", "shares", "--format", "csv"]);
    let cells = found.lines().nth(1).unwrap().split(',').map(|cell| cell.trim().parse().unwrap());
    cells.collect::<Vec<_>>().try_into().unwrap()
}

#[test]
fn codes_find_what_is_near_through_edits_and_whatever_was_there_before() {
    let explained = find_what_is_near("kind = auto, recall = 98%", 588);
    assert!(explained.contains("8bit") || explained.contains("1bit"), "{explained}");
    assert!(explained.contains("recall@100 0.9") || explained.contains("recall@100 1.0"), "{explained}");
}

#[test]
fn a_graph_finds_what_is_near_through_edits_and_whatever_was_there_before() {
    let explained = find_what_is_near("kind = hnsw, m = 12, ef = 80, seed = 3", 560);
    assert!(explained.contains("graph_8bit (ef 80)"), "{explained}");
    assert!(explained.contains("recall@10 0.9") || explained.contains("recall@10 1.0"), "{explained}");
}

/// Runs the program with an index `near` of this kind, of whose 600 hits at least so many are right; what `--explain` says of it.
fn find_what_is_near(kind: &str, least: u32) -> String {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("p.promptc", &PROGRAM.replace("kind = auto, recall = 98%", kind));
    write("notes.jsonl", &notes(0..2_500, 1));
    let asks = (0..60).map(|qid| {
        let words: Vec<&str> = (0..4).map(|step| WORDS[(qid * 7 + step * 5) % WORDS.len()]).collect();
        format!("{{\"qid\":{qid},\"question\":\"{}\"}}\n", words.join(" "))
    });
    write("asks.jsonl", &asks.collect::<String>());
    says(folder.path(), 0, &["run", "p.promptc", "--yes"]);
    let [hits, right, one, none, of_topic] = shares(folder.path());
    assert_eq!([hits, one, none, of_topic], [600, 60, 60, 60]);
    assert!(right >= least, "{right} of {hits}");
    let explained = says(folder.path(), 0, &["search", "p.promptc", "near", "river stone", "--explain"]);
    // Removed, changed and new rows.
    let edited = notes(300..1_900, 1) + &notes(1_900..2_200, 2) + &notes(2_200..3_300, 1);
    write("notes.jsonl", &edited);
    says(folder.path(), 0, &["run", "p.promptc", "--yes"]);
    let [hits, right, _, none, of_topic] = shares(folder.path());
    assert_eq!([hits, none, of_topic], [600, 60, 60]);
    assert!(right >= least, "{right} of {hits}");
    let edited = says(folder.path(), 0, &["query", "p.promptc", "answers", "--format", "jsonl"]);
    let fresh = ["--data-dir", "fresh"];
    says(folder.path(), 0, &[&["run", "p.promptc", "--yes"][..], &fresh].concat());
    let anew = [&["query", "p.promptc", "answers", "--format", "jsonl"][..], &fresh].concat();
    assert!(edited == says(folder.path(), 0, &anew), "the same rows, another past: another answer");
    explained
}
