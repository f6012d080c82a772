//! Text indexes: scores against a plain loop, updates against fresh builds, quality on judged collections.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::path::Path;

use promptc_store::flows::RowId;
use promptc_store::text::{TextIndex, TextParams, TextRow};
use proptest::prelude::*;

fn params() -> TextParams {
    TextParams { stem: Some("en".into()), stop: Some("en".into()), ..TextParams::default() }
}

fn plain() -> TextParams {
    TextParams { stem: None, stop: None, ..params() }
}

fn row_id(number: u32) -> RowId {
    let mut row = RowId::default();
    row[..4].copy_from_slice(&number.wrapping_mul(0x9e37_79b9).to_le_bytes());
    row[12..].copy_from_slice(&number.to_be_bytes());
    row
}

fn text_row(number: u32, text: &str) -> TextRow {
    TextRow { row: row_id(number), key: number.to_be_bytes().to_vec(), title: None, text: text.to_owned() }
}

fn rows<'a>(
    texts: impl IntoIterator<Item = (u32, &'a str)>,
) -> impl Iterator<Item = Result<TextRow, Infallible>> {
    texts.into_iter().map(|(number, text)| Ok(text_row(number, text))).collect::<Vec<_>>().into_iter()
}

fn build(dir: &Path, texts: &BTreeMap<u32, String>, params: TextParams) -> TextIndex {
    let mut index = TextIndex::open_or_create(dir, params).unwrap();
    index.update(&[], rows(texts.iter().map(|(&number, text)| (number, text.as_str()))), "state").unwrap();
    index
}

fn numbered(results: Vec<(RowId, f64)>) -> Vec<(u32, f64)> {
    let number = |row: RowId| u32::from_be_bytes([row[12], row[13], row[14], row[15]]);
    results.into_iter().map(|(row, score)| (number(row), score)).collect()
}

/// BM25 by definition: words are runs of letters and digits, all documents are looked at.
fn by_definition(texts: &BTreeMap<u32, String>, query: &str, k1: f64, b: f64) -> Vec<(u32, f64)> {
    let words = |text: &str| -> Vec<String> {
        text.to_lowercase()
            .split(|c: char| !c.is_alphanumeric())
            .filter(|w| !w.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let documents: Vec<(u32, Vec<String>)> =
        texts.iter().map(|(&number, text)| (number, words(text))).collect();
    let count = documents.len() as f64;
    let mean = documents.iter().map(|(_, words)| words.len() as f64).sum::<f64>() / count;
    let mut results = Vec::new();
    for (number, document) in &documents {
        let mut score = 0.0;
        for word in words(query) {
            let tf = document.iter().filter(|other| **other == word).count() as f64;
            let df = documents.iter().filter(|(_, document)| document.contains(&word)).count() as f64;
            let idf = (1.0 + (count - df + 0.5) / (df + 0.5)).ln();
            score += idf * tf * (k1 + 1.0) / (tf + k1 * (1.0 - b + b * document.len() as f64 / mean));
        }
        if score > 0.0 {
            results.push((*number, score));
        }
    }
    results.sort_by(|left, right| right.1.total_cmp(&left.1).then(left.0.cmp(&right.0)));
    results
}

fn texts() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec!["red", "green", "blue", "fox", "dog", "Haus", "x1", "naïve"]);
    prop::collection::vec(word, 0..12).prop_map(|words| words.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn scores_are_those_of_the_definition(texts in prop::collection::vec(texts(), 1..60), query in texts()) {
        let dir = tempfile::tempdir().unwrap();
        let texts: BTreeMap<u32, String> = (0..).zip(texts).collect();
        let index = build(&dir.path().join("i"), &texts, plain());
        let expected = by_definition(&texts, &query, 1.2, 0.75);
        let found = numbered(index.search(&query, 1000, None).unwrap());
        prop_assert_eq!(found.len(), expected.len());
        let scores: BTreeMap<u32, f64> = expected.iter().copied().collect();
        for (number, score) in &found {
            prop_assert!((score - scores[number]).abs() < 1e-9);
        }
        prop_assert!(found.is_sorted_by(|l, r| l.1 > r.1 || (l.1 == r.1 && l.0 < r.0)));
    }

    #[test]
    fn updates_end_where_a_fresh_build_starts(
        steps in prop::collection::vec(prop::collection::vec((0u32..40, prop::option::of(texts())), 1..15), 1..6),
        query in texts(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut index = TextIndex::open_or_create(&dir.path().join("updated"), plain()).unwrap();
        let mut current: BTreeMap<u32, String> = BTreeMap::new();
        for (step_idx, step) in steps.iter().enumerate() {
            let step: BTreeMap<u32, &Option<String>> = step.iter().map(|(number, text)| (*number, text)).collect();
            let removed: Vec<RowId> = step.keys().map(|&number| row_id(number)).collect();
            let added = step.iter().filter_map(|(&number, text)| Some((number, text.as_deref()?)));
            index.update(&removed, rows(added), &step_idx.to_string()).unwrap();
            for (number, text) in step {
                match text {
                    Some(text) => current.insert(number, text.clone()),
                    None => current.remove(&number),
                };
            }
        }
        let fresh = build(&dir.path().join("fresh"), &current, plain());
        prop_assert_eq!(index.rows(), current.len() as u64);
        for k in [3, 100] {
            let (left, right) = (index.search(&query, k, None).unwrap(), fresh.search(&query, k, None).unwrap());
            let bits = |results: Vec<(RowId, f64)>| results.into_iter().map(|(r, s)| (r, s.to_bits())).collect::<Vec<_>>();
            prop_assert_eq!(bits(left), bits(right));
        }
    }
}

#[test]
fn the_state_is_that_of_the_last_commit_and_survives_closing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("docs");
    let mut index = TextIndex::open_or_create(&path, params()).unwrap();
    assert_eq!(index.state(), None);
    index.update(&[], rows([(1, "a red fox"), (2, "a blue dog")]), "one").unwrap();
    index.update(&[row_id(1)], rows([(3, "foxes run")]), "two").unwrap();
    drop(index);
    let index = TextIndex::open_or_create(&path, params()).unwrap();
    assert_eq!((index.state(), index.rows()), (Some("two"), 2));
    assert_eq!(
        numbered(index.search("the fox", 5, None).unwrap()).iter().map(|r| r.0).collect::<Vec<_>>(),
        [3]
    );
    drop(index);
    // k1 and b are of the search: no rebuild. The analysis is of the index: rebuilt.
    let searched = TextIndex::open_or_create(&path, TextParams { k1: 0.9, b: 0.4, ..params() }).unwrap();
    assert_eq!(searched.state(), Some("two"));
    drop(searched);
    let other = TextIndex::open_or_create(&path, TextParams { stem: None, ..params() }).unwrap();
    assert_eq!((other.state(), other.rows(), other.notices().len()), (None, 0, 0));
}

#[test]
fn an_error_among_the_rows_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut index = TextIndex::open_or_create(dir.path(), params()).unwrap();
    index.update(&[], rows([(1, "red fox")]), "one").unwrap();
    let broken = vec![Ok(text_row(2, "red dog")), Err("the file ended")];
    let error = index.update(&[row_id(1)], broken.into_iter(), "two").unwrap_err();
    assert!(error.to_string().contains("the file ended"));
    drop(index);
    let index = TextIndex::open_or_create(dir.path(), params()).unwrap();
    assert_eq!((index.state(), numbered(index.search("red", 5, None).unwrap()).len()), (Some("one"), 1));
}

#[test]
fn a_damaged_file_is_noticed_and_the_index_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    let texts: BTreeMap<u32, String> =
        (0..500).map(|n| (n, format!("word{n} common text {}", n % 7))).collect();
    drop(build(dir.path(), &texts, params()));
    let mut files: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let largest = files.iter().max_by_key(|file| std::fs::metadata(file).unwrap().len()).unwrap();
    let mut bytes = std::fs::read(largest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 16;
    std::fs::write(largest, bytes).unwrap();
    let index = TextIndex::open_or_create(dir.path(), params()).unwrap();
    assert_eq!((index.state(), index.rows()), (None, 0));
    assert!(index.notices()[0].contains("E1003"), "{:?}", index.notices());
}

#[test]
fn what_an_update_left_that_was_cut_off_is_not_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let mut index = TextIndex::open_or_create(dir.path(), params()).unwrap();
    index.update(&[], rows([(1, "red fox"), (2, "blue dog")]), "one").unwrap();
    drop(index);
    let files = || std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let segment = files().find_map(|name| name.to_str()?.strip_suffix(".idx").map(str::to_owned)).unwrap();
    let left = [".tmpAb3dEf".to_owned(), format!("{}.idx", "0".repeat(32)), format!("{segment}.999.del")];
    for name in &left {
        std::fs::write(dir.path().join(name), "in memory").unwrap();
    }
    std::fs::remove_file(dir.path().join("promptc.seal")).unwrap();
    drop(TextIndex::open_or_create(dir.path(), params()).unwrap());
    assert!(dir.path().join("promptc.seal").exists());
    // A cut of the power takes what nobody synced.
    for name in &left {
        std::fs::write(dir.path().join(name), "").unwrap();
    }
    let mut index = TextIndex::open_or_create(dir.path(), params()).unwrap();
    assert_eq!((index.state(), index.rows(), index.notices()), (Some("one"), 2, [].as_slice()));
    index.update(&[], rows([(3, "red bird")]), "two").unwrap();
    assert!(files().all(|name| !name.to_string_lossy().starts_with(".tmp")));
    drop(index);
    let index = TextIndex::open_or_create(dir.path(), params()).unwrap();
    assert_eq!((index.state(), index.rows(), index.notices()), (Some("two"), 3, [].as_slice()));
}

#[test]
fn a_filter_limits_the_rows_and_keeps_the_scores() {
    let dir = tempfile::tempdir().unwrap();
    let texts: BTreeMap<u32, String> =
        (0..100).map(|n| (n, format!("fox {}", "x ".repeat(n as usize)))).collect();
    let index = build(dir.path(), &texts, plain());
    let allowed: BTreeSet<RowId> = [60, 70, 80].map(row_id).into();
    let all = numbered(index.search("fox", 100, None).unwrap());
    let some = numbered(index.search("fox", 2, Some(&|row| allowed.contains(row))).unwrap());
    let expected: Vec<(u32, f64)> =
        all.into_iter().filter(|(n, _)| [60, 70, 80].contains(n)).take(2).collect();
    assert_eq!(some, expected);
}

#[test]
fn ties_go_by_key() {
    let dir = tempfile::tempdir().unwrap();
    let texts: BTreeMap<u32, String> = (0..300).map(|n| (n, "same words here".to_owned())).collect();
    let mut index = build(dir.path(), &texts, plain());
    index.update(&[], rows([(7, "same words here"), (1000, "same words here")]), "two").unwrap();
    let found: Vec<u32> = numbered(index.search("words", 9, None).unwrap()).iter().map(|r| r.0).collect();
    assert_eq!(found, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn nothing_to_find() {
    let dir = tempfile::tempdir().unwrap();
    let mut index = TextIndex::open_or_create(&dir.path().join("i"), params()).unwrap();
    assert!(index.search("fox", 5, None).unwrap().is_empty());
    index.update(&[], rows([(1, ""), (2, "the of and"), (3, "fox")]), "s").unwrap();
    assert!(index.search("", 5, None).unwrap().is_empty());
    assert!(index.search("the", 5, None).unwrap().is_empty());
    assert!(index.search("fox", 0, None).unwrap().is_empty());
    assert_eq!(index.search("fox fox fox", 5, None).unwrap().len(), 1);
    let removed = [1, 2, 3].map(row_id);
    index.update(&removed, rows([]), "t").unwrap();
    assert!(index.search("fox", 5, None).unwrap().is_empty());
}

#[test]
fn parameters_out_of_range_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("i");
    for bad in [
        TextParams { k1: -1.0, ..params() },
        TextParams { b: 1.5, ..params() },
        TextParams { stem: Some("xx".into()), ..params() },
    ] {
        assert!(TextIndex::open_or_create(&path, bad).is_err());
    }
    assert!(!path.exists());
}

/// A judged collection: documents, queries, relevant documents per query with their grade.
struct Collection {
    documents: Vec<(String, String)>,
    queries: Vec<(String, String)>,
    judged: BTreeMap<String, BTreeMap<String, f64>>,
}

fn data(name: &str) -> Option<std::path::PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/retrieval").join(name);
    if !path.exists() {
        println!("skipped: {} is not there", path.display());
        return None;
    }
    Some(path)
}

fn judgements(path: &Path) -> BTreeMap<String, BTreeMap<String, f64>> {
    let mut judged: BTreeMap<String, BTreeMap<String, f64>> = BTreeMap::new();
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        if let [query, _, document, grade] = fields[..] {
            judged.entry(query.to_owned()).or_default().insert(document.to_owned(), grade.parse().unwrap());
        }
    }
    judged
}

fn scifact() -> Option<Collection> {
    let dir = data("scifact")?;
    let lines = |file: &str| -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(dir.join(file)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let text =
        |value: &serde_json::Value| value.as_str().map(str::to_owned).unwrap_or_else(|| value.to_string());
    let documents = lines("corpus.jsonl")
        .iter()
        .map(|line| (text(&line["_id"]), format!("{} {}", text(&line["title"]), text(&line["text"]))))
        .collect();
    let queries =
        lines("queries.test.jsonl").iter().map(|line| (text(&line["_id"]), text(&line["text"]))).collect();
    Some(Collection { documents, queries, judged: judgements(&dir.join("qrels.test.trec")) })
}

fn vaswani() -> Option<Collection> {
    let dir = data("vaswani")?;
    let entries = |file: &str, open: &str, number: (&str, &str)| -> Vec<(String, String)> {
        let text = std::fs::read_to_string(dir.join(file)).unwrap().to_lowercase();
        text.split(open)
            .skip(1)
            .map(|entry| {
                let (_, rest) = entry.split_once(number.0).unwrap();
                let (name, rest) = rest.split_once(number.1).unwrap();
                let words: Vec<&str> = rest.split('<').filter_map(|part| part.rsplit('>').next()).collect();
                (name.trim().to_owned(), words.join(" "))
            })
            .collect()
    };
    Some(Collection {
        documents: entries("doc-text.trec", "<doc>", ("<docno>", "</docno>")),
        queries: entries("query-text.trec", "<top>", ("<num>", "</num>")),
        judged: judgements(&dir.join("qrels")),
    })
}

/// Mean nDCG@10 over the judged queries, gain = grade, and the median time of a search in microseconds.
fn quality(collection: &Collection) -> (f64, u128) {
    let dir = tempfile::tempdir().unwrap();
    let mut index = TextIndex::open_or_create(dir.path(), params()).unwrap();
    let texts = (0..).zip(&collection.documents).map(|(number, (_, text))| (number, text.as_str()));
    index.update(&[], rows(texts), "s").unwrap();
    let (mut sum, mut count, mut times) = (0.0, 0, Vec::new());
    for (query, text) in &collection.queries {
        let Some(judged) = collection.judged.get(query) else { continue };
        let start = std::time::Instant::now();
        let found = numbered(index.search(text, 10, None).unwrap());
        times.push(start.elapsed().as_micros());
        let discount = |rank: usize| 1.0 / (rank as f64 + 2.0).log2();
        let gain = |number: u32| judged.get(&collection.documents[number as usize].0).copied().unwrap_or(0.0);
        let dcg: f64 = found.iter().enumerate().map(|(rank, hit)| gain(hit.0) * discount(rank)).sum();
        let mut ideal: Vec<f64> = judged.values().copied().collect();
        ideal.sort_by(|left, right| right.total_cmp(left));
        let best: f64 = ideal.iter().take(10).enumerate().map(|(rank, grade)| grade * discount(rank)).sum();
        sum += if best > 0.0 { dcg / best } else { 0.0 };
        count += 1;
    }
    times.sort_unstable();
    (sum / f64::from(count), times[times.len() / 2])
}

#[test]
fn quality_on_scifact() {
    let Some(collection) = scifact() else { return };
    let (ndcg, micros) = quality(&collection);
    println!(
        "SciFact: {} documents, nDCG@10 {ndcg:.4}, {micros} us per search (median)",
        collection.documents.len()
    );
    assert!(ndcg >= 0.680, "{ndcg}");
}

#[test]
fn quality_on_vaswani() {
    let Some(collection) = vaswani() else { return };
    let (ndcg, micros) = quality(&collection);
    println!(
        "Vaswani: {} documents, nDCG@10 {ndcg:.4}, {micros} us per search (median)",
        collection.documents.len()
    );
    assert!(ndcg >= 0.435, "{ndcg}");
}

#[test]
fn a_phrase_must_stand_in_a_row_word_by_word() {
    let dir = tempfile::tempdir().unwrap();
    let texts: BTreeMap<u32, String> = [
        (1, "the green tea house"),
        (2, "tea that is green"),
        (3, "green tea and green tea again"),
        (4, "house of tea"),
        (5, "黒猫が好き"),
        (6, "黒い猫が好き"),
    ]
    .map(|(number, text)| (number, text.to_owned()))
    .into();
    let with_places = build(dir.path(), &texts, TextParams { positions: true, ..params() });
    let found = |query: &str| {
        let mut rows: Vec<u32> =
            numbered(with_places.search(query, 10, None).unwrap()).into_iter().map(|(row, _)| row).collect();
        rows.sort_unstable();
        rows
    };
    assert_eq!(found("green tea"), [1, 2, 3, 4]);
    assert_eq!(found("\"green tea\""), [1, 3]);
    assert_eq!(found("\u{201c}Green Teas\u{201d} house"), [1, 3], "stemmed, and other words only add");
    assert_eq!(found("\"tea green\""), [0; 0]);
    assert_eq!(found("\"tea that is green\""), [2], "stop words leave their places");
    assert_eq!(found("\"tea is green\""), [3], "which any word of the list fills");
    assert_eq!(found("\"green tea\" \"tea house\""), [1]);
    assert_eq!(found("\"green tea"), [1, 2, 3, 4], "a mark alone is none");
    assert_eq!(found("\"\" \"the\" tea"), [1, 2, 3, 4], "nothing to hold");
    assert_eq!(found("\"黒猫\""), [5]);
    let every = with_places.search("green tea", 10, None).unwrap();
    let phrase = with_places.search("\"green tea\"", 10, None).unwrap();
    assert!(phrase.iter().all(|hit| every.contains(hit)), "a phrase changes no score");
    let elsewhere = tempfile::tempdir().unwrap();
    let without = build(elsewhere.path(), &texts, params());
    assert_eq!(
        without.search("\"tea green\"", 10, None).unwrap().len(),
        4,
        "without places marks mean nothing"
    );
}

#[test]
fn a_title_counts_as_its_words_written_as_often_as_it_weighs() {
    let titled = [(1, "Tea", "leaves and water"), (2, "Water", "tea and more tea"), (3, "", "water")];
    let dir = tempfile::tempdir().unwrap();
    let mut index =
        TextIndex::open_or_create(dir.path(), TextParams { title_weight: 3, positions: true, ..plain() })
            .unwrap();
    let added = titled.iter().map(|(number, title, text)| {
        let title = (!title.is_empty()).then(|| (*title).to_owned());
        Ok::<_, Infallible>(TextRow { title, ..text_row(*number, text) })
    });
    index.update(&[], added, "state").unwrap();
    let written: BTreeMap<u32, String> = titled
        .iter()
        .map(|(number, title, text)| (*number, format!("{title} {title} {title} {text}").trim().to_owned()))
        .collect();
    for query in ["tea", "water tea", "leaves"] {
        let found = numbered(index.search(query, 10, None).unwrap());
        let expected = by_definition(&written, query, 1.2, 0.75);
        assert_eq!(found.len(), expected.len());
        for ((row, score), (expected_row, expected_score)) in found.iter().zip(&expected) {
            assert_eq!(row, expected_row, "{query}");
            assert!((score - expected_score).abs() < 1e-12, "{query}");
        }
    }
    assert!(index.search("\"tea tea\"", 10, None).unwrap().is_empty(), "copies of a title are apart");
    assert!(index.search("\"tea leaves\"", 10, None).unwrap().is_empty(), "so are title and text");
}

#[test]
fn parts_of_a_score_add_up_and_terms_are_marked() {
    let dir = tempfile::tempdir().unwrap();
    let texts: BTreeMap<u32, String> = [(1, "Cats run; a cat ran. The dog?"), (2, "dogs"), (3, "birds")]
        .map(|(n, t)| (n, t.to_owned()))
        .into();
    let index = build(dir.path(), &texts, params());
    let query = "the running cats of a dog";
    let found = index.search(query, 10, None).unwrap();
    let rows: Vec<RowId> = found.iter().map(|(row, _)| *row).collect();
    let parts = index.explain(query, &rows).unwrap();
    for ((_, score), parts) in found.iter().zip(&parts) {
        assert!((parts.iter().map(|part| part.part).sum::<f64>() - score).abs() < 1e-12);
        assert!(parts.is_sorted_by(|left, right| left.part >= right.part));
    }
    let first: Vec<(&str, u32, u64)> =
        parts[0].iter().map(|part| (part.term.as_str(), part.frequency, part.rows)).collect();
    assert_eq!(first, [("cat", 2, 1), ("run", 1, 1), ("dog", 1, 2)]);
    let marked = |query: &str, text: &'static str| -> Vec<&'static str> {
        index.highlights(query, text).into_iter().map(|span| &text[span]).collect()
    };
    assert_eq!(marked(query, "Cats run; a cat ran. The dog?"), ["Cats", "run", "cat", "dog"]);
    assert_eq!(marked("黒猫", "白と黒猫と猫"), ["黒猫", "猫"], "pairs and their characters are one mark");
    assert_eq!(marked("", "Cats"), [""; 0]);
}
