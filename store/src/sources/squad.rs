//! Question sets in the format of SQuAD, one article at a time.
//!
//! A context is known by the first twelve hexadecimal digits of blake3 of its text, so a text that occurs again, in this
//! file or in another, is the same context and gives one row. Questions without an answer are left out. The
//! format counts Unicode code points in `answer_start`; rows hold bytes. An answer that does not stand where its start
//! says makes a bad row.

use super::columns::{positions, project};
use super::datum::Datum;
use super::json::Elements;
use super::{BadRow, Fault, FileEntry, Row, RowReader, SourceError, SourceSpec};
use serde::Deserialize;
use std::collections::{HashSet, VecDeque};
use std::path::PathBuf;

/// Hexadecimal digits of a context's identity.
const ID_DIGITS: usize = 12;

#[derive(Deserialize)]
struct Article {
    #[serde(default)]
    title: String,
    paragraphs: Vec<Paragraph>,
}

#[derive(Deserialize)]
struct Paragraph {
    context: String,
    #[serde(default)]
    qas: Vec<Question>,
}

#[derive(Deserialize)]
struct Question {
    id: String,
    question: String,
    #[serde(default)]
    answers: Vec<Answer>,
    #[serde(default)]
    is_impossible: bool,
}

#[derive(Deserialize)]
struct Answer {
    text: String,
    answer_start: u64,
}

pub(super) struct Squad {
    path: PathBuf,
    articles: Elements,
    positions: Vec<usize>,
    are_questions: bool,
    bytes_max: u64,
    /// Rows of the article read last.
    waiting: VecDeque<Result<Row, Fault>>,
    /// Contexts that were given, by the hash of their text.
    seen: HashSet<[u8; 32]>,
}

impl Squad {
    /// `seen` holds the contexts of the files before this one.
    pub(super) fn open(
        spec: &SourceSpec,
        file: &FileEntry,
        seen: HashSet<[u8; 32]>,
    ) -> Result<Self, SourceError> {
        Ok(Self {
            path: file.path.clone(),
            articles: Elements::member(file.open()?, spec.max_bytes, "data"),
            positions: positions(spec),
            are_questions: spec.part.as_deref() == Some("questions"),
            bytes_max: spec.max_bytes,
            waiting: VecDeque::new(),
            seen,
        })
    }

    fn take_article(&mut self, article: Article, line: u64, offset: u64) {
        for paragraph in article.paragraphs {
            let hash = blake3::hash(paragraph.context.as_bytes());
            let id = hash.to_hex()[..ID_DIGITS].to_owned();
            if self.are_questions {
                for question in paragraph.qas {
                    if question.is_impossible || question.answers.is_empty() {
                        continue;
                    }
                    let bytes = question.question.len() + 64;
                    let head = question.question.clone();
                    let row = questions(question, &id, &article.title, &paragraph.context);
                    self.waiting.push_back(match row {
                        Ok(values) => Ok(Row { values: project(values, &self.positions), line, bytes }),
                        Err(message) => Err(Fault::Row(BadRow::new(
                            &self.path,
                            Some(line),
                            offset,
                            message,
                            head.as_bytes(),
                        ))),
                    });
                }
            } else if self.seen.insert(*hash.as_bytes()) {
                let bytes = paragraph.context.len();
                let values =
                    vec![Datum::Text(id), Datum::Text(article.title.clone()), Datum::Text(paragraph.context)];
                self.waiting.push_back(Ok(Row { values: project(values, &self.positions), line, bytes }));
            }
        }
    }
}

fn questions(question: Question, doc: &str, title: &str, context: &str) -> Result<Vec<Datum>, String> {
    let mut texts = Vec::with_capacity(question.answers.len());
    let mut starts = Vec::with_capacity(question.answers.len());
    for answer in question.answers {
        let start = usize::try_from(answer.answer_start).ok().and_then(|start| {
            let at = context.char_indices().map(|(at, _)| at).chain([context.len()]).nth(start)?;
            context[at..].starts_with(&answer.text).then_some(at)
        });
        let Some(start) = start else {
            return Err(format!(
                "question {}: the answer {:?} does not stand at {} of its context",
                question.id,
                answer.text.chars().take(40).collect::<String>(),
                answer.answer_start
            ));
        };
        let start =
            u32::try_from(start).map_err(|_| format!("question {}: its context is too long", question.id))?;
        texts.push(Datum::Text(answer.text));
        starts.push(Datum::Int(i128::from(start)));
    }
    Ok(vec![
        Datum::Text(question.id),
        Datum::Text(doc.to_owned()),
        Datum::Text(title.to_owned()),
        Datum::Text(question.question),
        Datum::List(texts),
        Datum::List(starts),
    ])
}

impl RowReader for Squad {
    fn next_row(&mut self) -> Option<Result<Row, Fault>> {
        loop {
            if let Some(row) = self.waiting.pop_front() {
                return Some(row);
            }
            let (element, value) = match self.articles.next_value(&self.path, self.bytes_max)? {
                Ok(found) => found,
                Err(fault) => return Some(Err(fault)),
            };
            match serde_json::from_value::<Article>(value) {
                Ok(article) => self.take_article(article, element.line, element.offset),
                Err(error) => {
                    let message = format!("not an article: {error}");
                    let text = &self.articles.text;
                    let row = BadRow::new(&self.path, Some(element.line), element.offset, message, text);
                    return Some(Err(Fault::Row(row)));
                }
            }
        }
    }

    fn take_seen(&mut self) -> HashSet<[u8; 32]> {
        std::mem::take(&mut self.seen)
    }
}
