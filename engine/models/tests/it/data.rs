//! The optional data sets beside the project: questions with answers, packs of passages, abstracts with rationales.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;

use serde_json::Value;

/// The data folder, or `None` with a printed reason.
pub(crate) fn folder() -> Option<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: no data folder at {}", folder.display());
    None
}

/// A question over a paragraph, with the byte ranges of its answers.
pub(crate) struct Question {
    pub(crate) question: String,
    pub(crate) answers: Vec<(usize, usize)>,
    pub(crate) paragraph: usize,
}

/// An article of SQuAD 2.0.
pub(crate) struct Article {
    pub(crate) paragraphs: Vec<String>,
    pub(crate) questions: Vec<Question>,
}

/// The answerable questions of SQuAD 2.0, per article.
pub(crate) fn squad(folder: &std::path::Path) -> Vec<Article> {
    let text = std::fs::read_to_string(folder.join("qa/squad2-dev-cs224n.json")).unwrap();
    let root: Value = serde_json::from_str(&text).unwrap();
    let articles = root["data"].as_array().unwrap();
    articles.iter().map(article).collect()
}

fn article(article: &Value) -> Article {
    let mut out = Article { paragraphs: Vec::new(), questions: Vec::new() };
    for (idx, paragraph) in article["paragraphs"].as_array().unwrap().iter().enumerate() {
        let context = paragraph["context"].as_str().unwrap();
        let offsets: Vec<usize> =
            context.char_indices().map(|(offset, _)| offset).chain([context.len()]).collect();
        for question in paragraph["qas"].as_array().unwrap() {
            if question["is_impossible"].as_bool() == Some(true) {
                continue;
            }
            let span = |answer: &Value| {
                let start = offsets[answer["answer_start"].as_u64().unwrap() as usize];
                (start, start + answer["text"].as_str().unwrap().len())
            };
            let mut answers: Vec<(usize, usize)> =
                question["answers"].as_array().unwrap().iter().map(span).collect();
            answers.dedup();
            out.questions.push(Question {
                question: question["question"].as_str().unwrap().to_owned(),
                answers,
                paragraph: idx,
            });
        }
        out.paragraphs.push(context.to_owned());
    }
    out
}

/// A question of NQ-open with its gold passage.
pub(crate) struct OpenQuestion {
    pub(crate) question: String,
    pub(crate) answers: Vec<String>,
    pub(crate) title: String,
    pub(crate) text: String,
}

/// All questions of NQ-open.
pub(crate) fn nq_open(folder: &std::path::Path) -> Vec<OpenQuestion> {
    let file = std::fs::File::open(folder.join("qa/nq-open-oracle.jsonl.gz")).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    let owned = |value: &Value| value.as_str().unwrap().to_owned();
    text.lines()
        .map(|line| {
            let row: Value = serde_json::from_str(line).unwrap();
            let answers = row["answers"].as_array().unwrap().iter().map(owned).collect();
            let gold =
                row["ctxs"].as_array().unwrap().iter().find(|passage| passage["isgold"] == true).unwrap();
            OpenQuestion {
                question: owned(&row["question"]),
                answers,
                title: owned(&gold["title"]),
                text: owned(&gold["text"]),
            }
        })
        .collect()
}

/// A claim over an abstract, with alternative sets of sentences that prove it.
pub(crate) struct Claim {
    pub(crate) claim: String,
    pub(crate) text: String,
    pub(crate) ranges: Vec<(usize, usize)>,
    pub(crate) rationales: Vec<Vec<usize>>,
}

/// The claims of SciFact's development set with their abstracts.
pub(crate) fn scifact(folder: &std::path::Path, rationales: &str) -> Vec<Claim> {
    let corpus = std::fs::read_to_string(folder.join("retrieval/scifact/corpus.jsonl")).unwrap();
    let mut texts: BTreeMap<String, (String, Vec<usize>)> = BTreeMap::new();
    for line in corpus.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let starts = row["sent_start"]
            .as_array()
            .unwrap()
            .iter()
            .map(|start| start.as_u64().unwrap() as usize)
            .collect();
        texts.insert(
            row["_id"].as_str().unwrap().to_owned(),
            (row["text"].as_str().unwrap().to_owned(), starts),
        );
    }
    let rows = std::fs::read_to_string(folder.join("retrieval/scifact").join(rationales)).unwrap();
    let mut claims: BTreeMap<(String, String), Claim> = BTreeMap::new();
    for line in rows.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let key = (row["claim_id"].as_str().unwrap().to_owned(), row["doc_id"].as_str().unwrap().to_owned());
        let Some((text, starts)) = texts.get(&key.1) else { continue };
        let offsets: Vec<usize> = text.char_indices().map(|(offset, _)| offset).chain([text.len()]).collect();
        let bounds: Vec<usize> = starts.iter().map(|&start| offsets[start]).chain([text.len()]).collect();
        let ranges: Vec<(usize, usize)> = bounds
            .windows(2)
            .map(|pair| (pair[0], pair[0] + text[pair[0]..pair[1]].trim_end().len()))
            .collect();
        let claim = claims.entry(key).or_insert_with(|| Claim {
            claim: row["claim"].as_str().unwrap().to_owned(),
            text: text.clone(),
            ranges,
            rationales: Vec::new(),
        });
        claim.rationales.push(
            row["sentences"].as_array().unwrap().iter().map(|idx| idx.as_u64().unwrap() as usize).collect(),
        );
    }
    claims.into_values().collect()
}

/// A query with the positions of its relevant documents.
pub(crate) type RelevantQuery = (String, Vec<usize>);

/// Documents (title, abstract) of SciFact and its test queries with the positions of their relevant documents.
pub(crate) fn scifact_retrieval(folder: &std::path::Path) -> (Vec<(String, String)>, Vec<RelevantQuery>) {
    let read = |name: &str| std::fs::read_to_string(folder.join("retrieval/scifact").join(name)).unwrap();
    let owned = |value: &Value| value.as_str().unwrap().to_owned();
    let mut places = BTreeMap::new();
    let mut documents = Vec::new();
    for line in read("corpus.jsonl").lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        places.insert(owned(&row["_id"]), documents.len());
        documents.push((owned(&row["title"]), owned(&row["text"])));
    }
    let mut relevant: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for line in read("qrels.test.trec").lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        if fields[3] != "0" {
            relevant.entry(fields[0].to_owned()).or_default().push(places[fields[2]]);
        }
    }
    let queries = read("queries.test.jsonl");
    let rows = queries.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let queries = rows
        .map(|row| (owned(&row["text"]), relevant.remove(row["_id"].as_str().unwrap()).unwrap()))
        .collect();
    (documents, queries)
}
