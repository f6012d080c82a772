//! Scorers that are learned: from rows with answers to shorter passages that keep them, and from judged queries to weights of indexes.

use std::fmt::Write as _;

use crate::bench::says;

const PROGRAM: &str = r##"edition 2026
source rows : stream<{ id: text, question: text, passages: list<text>, titles: list<text>, answers: list<text> }> = jsonl("rows.jsonl") {
  key   = id
  split = by(id, train = 50%, test = 50%, seed = 1)
}
scorer qa { kind = linear, unit = sentence }
learn qa from rows.train {
  objective = rank(passages, query = question, answers = answers, titles = titles)
  epochs = 6
  batch  = 1
  lr     = 0.05
  seed   = 7
}
pipeline short {
  rows.test
    |> compress(passages, query = question, titles = titles, ratio = 4x, unit = sentence) as plain
    |> compress(passages, query = question, titles = titles, ratio = 4x, unit = sentence, scorer = qa) as learned
    -> rows
}
query kept = sql #"
SELECT count(*) AS rows,
       sum(CASE WHEN contains(array_to_string(plain, ' '), answers[1]) THEN 1 ELSE 0 END) AS plain,
       sum(CASE WHEN contains(array_to_string(learned, ' '), answers[1]) THEN 1 ELSE 0 END) AS learned
FROM short_rows
"#
"##;

/// Questions for a number whose sentence shares fewer words with the question than others do.
fn rows(count: usize) -> String {
    let mut lines = String::new();
    for id in 0..count {
        let place = ["harbour", "tower", "bridge", "market", "garden", "station"][id % 6];
        let passage = format!(
            "The {place} of the old town was built by people of the old town. \
             Many people of the town like the old {place} that was built. \
             Work on it ended in 1{:03}. The old {place} of the town was built well.",
            100 + id
        );
        let row = serde_json::json!({
            "id": format!("r{id:03}"),
            "question": format!("When was the old {place} of the town built?"),
            "passages": [passage, "Nothing about it stands here. It rains often."],
            "titles": [place, "Rain"],
            "answers": [format!("1{:03}", 100 + id)],
        });
        writeln!(lines, "{row}").unwrap();
    }
    lines
}

fn folder(program: &str, rows: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("p.promptc"), program).unwrap();
    std::fs::write(folder.path().join("rows.jsonl"), rows).unwrap();
    folder
}

#[test]
fn a_learned_scorer_keeps_what_words_alone_lose() {
    let folder = folder(PROGRAM, &rows(60));
    says(folder.path(), 0, &["run", "p.promptc", "--yes"]);
    let found = says(folder.path(), 0, &["query", "p.promptc", "kept", "--format", "csv"]);
    let numbers: Vec<u32> =
        found.lines().nth(1).unwrap().split(',').map(|cell| cell.trim().parse().unwrap()).collect();
    let [rows, plain, learned] = numbers[..] else { panic!("{found}") };
    assert!(rows > 10 && plain < rows / 2, "a control: {found}");
    assert_eq!(learned, rows, "{found}");
    assert!(says(folder.path(), 0, &["run", "p.promptc", "--yes"]).contains("nothing to do"));
    // Another seed of the fit is another scorer, and what it shortens is computed anew.
    std::fs::write(folder.path().join("p.promptc"), PROGRAM.replace("lr     = 0.05", "lr     = 0.06"))
        .unwrap();
    let again = says(folder.path(), 0, &["run", "p.promptc", "--yes"]);
    assert!(again.contains("learn") && !again.contains("nothing to do"), "{again}");
}

#[test]
fn rows_without_an_answer_are_counted_and_none_at_all_is_an_error() {
    let some = rows(20)
        + "{\"id\":\"x\",\"question\":\"When?\",\"passages\":[\"No.\"],\"titles\":[\"a\"],\"answers\":[\"1\"]}\n";
    let all = PROGRAM
        .replace("qa from rows.train", "qa from rows")
        .replace("split = by(id, train = 50%, test = 50%, seed = 1)", "");
    let all = all.replace("rows.test", "rows");
    let counted = folder(&all, &some);
    let ran = says(counted.path(), 0, &["run", "p.promptc", "--yes", "--json"]);
    assert!(ran.contains("W2404") && ran.contains("1 of 21 rows"), "{ran}");
    let none = folder(&all, &rows(5).replace("\"answers\":[\"1", "\"answers\":[\"none 1"));
    let refused = says(none.path(), 4, &["run", "p.promptc", "--yes"]);
    assert!(refused.contains("E2105") && refused.contains("none of 5 rows"), "{refused}");
}

/// Two words name a document; its vector is of a text that names another one.
const FUSION: &str = r##"edition 2026
source docs : stream<{ id: text, text: text, other: text }> = jsonl("docs.jsonl") { key = id }
source asks : stream<{ qid: text, question: text, good: list<text> }> = jsonl("asks.jsonl") {
  key   = qid
  split = by(qid, train = 50%, test = 50%, seed = 1)
}
embedder hashed { kind = hashed_ngram, dim = 64, seed = 1 }
pipeline corpus { docs |> embed(other, with = hashed) as vec -> rows }
index words on corpus.rows(text) { kind = bm25 }
index near on corpus.rows(vec) { kind = flat }
scorer mix { kind = fusion, from = [words, near] }
learn mix from asks.train { objective = retrieve(question, relevant = good), seed = 1 }
pipeline find {
  asks.test
    |> retrieve(question, from = [words, near], k = 10) as equal
    |> retrieve(question, from = [words, near], k = 10, fuse = zscore(mix)) as learned
    |> select(qid, equal = ndcg(equal.id, good, 10), learned = ndcg(learned.id, good, 10))
    -> found
}
query means = sql #"SELECT avg(equal) AS equal, avg(learned) AS learned FROM find_found"#
"##;

fn judged(program: &str, asks: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("p.promptc"), program).unwrap();
    let (mut docs, mut lines) = (String::new(), String::new());
    for (left, right) in (0..12).flat_map(|left| (0..12).map(move |right| (left, right))) {
        let id = format!("d{left:02}{right:02}");
        let other = format!("alpha{} beta{}", (left + 1) % 12, (right + 1) % 12);
        let text = format!("alpha{left} beta{right} and some more");
        writeln!(docs, "{}", serde_json::json!({"id": id, "text": text, "other": other})).unwrap();
        let question = format!("alpha{left} beta{right}");
        let number = left * 12 + right;
        if number % 2 == 0 && number / 2 < asks {
            let ask = serde_json::json!({"qid": format!("q{id}"), "question": question, "good": [id]});
            writeln!(lines, "{ask}").unwrap();
        }
    }
    std::fs::write(folder.path().join("docs.jsonl"), docs).unwrap();
    std::fs::write(folder.path().join("asks.jsonl"), lines).unwrap();
    folder
}

#[test]
fn learned_weights_turn_down_an_index_that_misleads() {
    let folder = judged(FUSION, 72);
    let ran = says(folder.path(), 0, &["run", "p.promptc", "--yes"]);
    let learned =
        ran.lines().find(|line| line.starts_with("learned mix: words ")).unwrap_or_else(|| panic!("{ran}"));
    assert!(learned.contains("near 0.") && learned.contains("nDCG@10 +0."), "{learned}");
    let found = says(folder.path(), 0, &["query", "p.promptc", "means", "--format", "csv"]);
    let means: Vec<f64> =
        found.lines().nth(1).unwrap().split(',').map(|cell| cell.trim().parse().unwrap()).collect();
    let [equal, learned] = means[..] else { panic!("{found}") };
    assert!(equal < 0.95, "a control: {found}");
    assert!(learned > equal + 0.03, "{found}");
    assert!(says(folder.path(), 0, &["run", "p.promptc", "--yes"]).contains("nothing to do"));
    let explained = says(
        folder.path(),
        0,
        &["search", "p.promptc", "words,near", "alpha3 beta4", "--fuse", "mix", "--explain"],
    );
    assert!(explained.contains("d0304") && explained.contains("weight 0."), "{explained}");
    for (indexes, scorer, expected) in [("near,words", "mix", "in its order"), ("words,near", "mux", "`mix`")]
    {
        let refused = says(folder.path(), 2, &["search", "p.promptc", indexes, "alpha3", "--fuse", scorer]);
        assert!(refused.contains(expected), "{refused}");
    }
    // In a new store, in another process, the weights are the same.
    let again = says(folder.path(), 0, &["run", "p.promptc", "--yes", "--data-dir", "other"]);
    assert!(again.contains(ran.lines().find(|line| line.starts_with("learned")).unwrap()), "{again}");
}

#[test]
fn the_order_of_the_lines_does_not_show_in_what_is_learned() {
    let outputs: Vec<Vec<u8>> = [false, true]
        .into_iter()
        .map(|is_turned| {
            let program = FUSION.replace(
                "    -> found\n",
                "    -> found\n  write found to jsonl(\"out/found.jsonl\", key = qid)\n",
            );
            let program = program.replace("select(qid, equal", "select(qid, scores = learned.score, equal");
            let folder = judged(&program, 72);
            let path = folder.path().join("asks.jsonl");
            let asks = std::fs::read_to_string(&path).unwrap();
            let mut lines: Vec<&str> = asks.lines().collect();
            if is_turned {
                lines.reverse();
                lines.swap(3, 40);
            }
            std::fs::write(&path, lines.join("\n")).unwrap();
            says(folder.path(), 0, &["run", "p.promptc", "--yes"]);
            std::fs::read(folder.path().join("out/found.jsonl")).unwrap()
        })
        .collect();
    assert!(!outputs[0].is_empty() && outputs[0] == outputs[1]);
}

#[test]
fn few_judged_queries_leave_weights_equal_and_none_is_an_error() {
    let few = judged(
        &FUSION
            .replace("asks.train", "asks")
            .replace("  split = by(qid, train = 50%, test = 50%, seed = 1)\n", "")
            .replace("asks.test", "asks"),
        12,
    );
    let ran = says(few.path(), 0, &["run", "p.promptc", "--yes", "--json"]);
    assert!(ran.contains("W2405") && ran.contains("12 rows teach, fewer than 20"), "{ran}");
    let found = says(few.path(), 0, &["query", "p.promptc", "means", "--format", "csv"]);
    let cells: Vec<&str> = found.lines().nth(1).unwrap().split(',').collect();
    assert_eq!(cells[0], cells[1], "{found}");
    let asks = std::fs::read_to_string(few.path().join("asks.jsonl")).unwrap();
    let nothing: String = asks
        .lines()
        .map(|line| {
            let mut ask: serde_json::Value = serde_json::from_str(line).unwrap();
            ask["good"] = serde_json::json!([]);
            format!("{ask}\n")
        })
        .collect();
    std::fs::write(few.path().join("asks.jsonl"), nothing).unwrap();
    let refused = says(few.path(), 4, &["run", "p.promptc", "--yes"]);
    assert!(refused.contains("E2105") && refused.contains("none of 12 rows"), "{refused}");
    // Names that are in no index: all of them is an error, some are counted.
    let misspelt = asks.replace("\"good\":[\"d", "\"good\":[\"x");
    std::fs::write(few.path().join("asks.jsonl"), &misspelt).unwrap();
    let refused = says(few.path(), 4, &["run", "p.promptc", "--yes"]);
    assert!(refused.contains("E2105") && refused.contains("not even `x"), "{refused}");
    let half: String =
        asks.lines().take(6).chain(misspelt.lines().skip(6)).map(|line| format!("{line}\n")).collect();
    std::fs::write(few.path().join("asks.jsonl"), half).unwrap();
    let counted = says(few.path(), 0, &["run", "p.promptc", "--yes", "--json"]);
    assert!(counted.contains("6 of what rows say is relevant is not in column `id`"), "{counted}");
    std::fs::write(few.path().join("asks.jsonl"), "").unwrap();
    let none = says(few.path(), 0, &["run", "p.promptc", "--yes", "--json"]);
    assert!(none.contains("W2405") && none.contains("0 rows teach"), "{none}");
}
