//! Collections in the format of TREC: documents and topics between tags, judgements in four columns.
//!
//! ```text
//! docs    <DOC> <DOCNO> id </DOCNO> ... <TEXT> ... </TEXT> </DOC>     text: what stands in TEXT, else all after DOCNO
//! topics  <top> <num> Number: 301 <title> ... <desc> ... </top>       text: the title
//! qrels   topic iteration document relevance                          split at blanks
//! ```
//! Tags are known in either case. Tags inside a text become blanks; the entities `&amp; &lt; &gt; &quot;` are resolved.

use super::columns::{positions, project};
use super::datum::Datum;
use super::lines::{Lines, not_utf8, too_long};
use super::{BadRow, Fault, FileEntry, Row, RowReader, SourceError, SourceSpec};
use crate::schema::HEAD_BYTES_MAX;
use std::path::PathBuf;

#[derive(Clone, Copy, PartialEq)]
enum Part {
    Docs,
    Topics,
    Qrels,
}

pub(super) struct Trec {
    path: PathBuf,
    lines: Lines,
    positions: Vec<usize>,
    part: Part,
    bytes_max: u64,
}

impl Trec {
    pub(super) fn open(spec: &SourceSpec, file: &FileEntry) -> Result<Self, SourceError> {
        let part = match spec.part.as_deref() {
            Some("docs") => Part::Docs,
            Some("topics") => Part::Topics,
            _ => Part::Qrels,
        };
        let lines = Lines::new(file.open()?, spec.max_bytes);
        Ok(Self {
            path: file.path.clone(),
            lines,
            positions: positions(spec),
            part,
            bytes_max: spec.max_bytes,
        })
    }

    fn judgement(&mut self) -> Option<Result<Row, Fault>> {
        loop {
            let line = match self.lines.next_line() {
                Err(source) => return Some(Err(SourceError::reading(&self.path, source).into())),
                Ok(line) => line?,
            };
            if self.lines.text.trim_ascii().is_empty() {
                continue;
            }
            let text = &self.lines.text;
            let values =
                if line.is_long { Err(too_long(line.bytes, self.bytes_max)) } else { judgement(text) };
            return Some(match values {
                Ok(values) => {
                    Ok(Row { values: project(values, &self.positions), line: line.number, bytes: text.len() })
                }
                Err(message) => {
                    Err(Fault::Row(BadRow::new(&self.path, Some(line.number), line.offset, message, text)))
                }
            });
        }
    }

    /// Gathers the lines from an opening to a closing tag.
    fn element(&mut self) -> Option<Result<Row, Fault>> {
        let (open, close) = if self.part == Part::Docs { ("<doc>", "</doc>") } else { ("<top>", "</top>") };
        let mut gathered: Vec<u8> = Vec::new();
        let mut bytes = 0u64;
        let mut start = None;
        loop {
            let line = match self.lines.next_line() {
                Err(source) => return Some(Err(SourceError::reading(&self.path, source).into())),
                Ok(Some(line)) => line,
                Ok(None) => {
                    let (number, offset) = start?;
                    let message = format!("{open} is not closed before the end of the file");
                    return Some(Err(Fault::Row(BadRow::new(
                        &self.path,
                        Some(number),
                        offset,
                        message,
                        &gathered,
                    ))));
                }
            };
            let text = &self.lines.text;
            if start.is_none() {
                let Some(at) = find(text, open) else { continue };
                start = Some((line.number, line.offset + at as u64));
            }
            bytes += line.bytes + 1;
            if bytes <= self.bytes_max {
                gathered.extend_from_slice(text);
                gathered.push(b'\n');
            } else {
                gathered.truncate(HEAD_BYTES_MAX);
            }
            let is_closed = find(text, close).is_some();
            if let (true, Some((number, offset))) = (is_closed, start) {
                let values = if bytes > self.bytes_max {
                    Err(too_long(bytes, self.bytes_max))
                } else {
                    std::str::from_utf8(&gathered).map_err(not_utf8).and_then(|text| match self.part {
                        Part::Docs => document(text),
                        _ => topic(text),
                    })
                };
                return Some(match values {
                    Ok(values) => {
                        let bytes = gathered.len();
                        Ok(Row { values: project(values, &self.positions), line: number, bytes })
                    }
                    Err(message) => {
                        Err(Fault::Row(BadRow::new(&self.path, Some(number), offset, message, &gathered)))
                    }
                });
            }
        }
    }
}

impl RowReader for Trec {
    fn next_row(&mut self) -> Option<Result<Row, Fault>> {
        if self.part == Part::Qrels { self.judgement() } else { self.element() }
    }
}

fn judgement(text: &[u8]) -> Result<Vec<Datum>, String> {
    let text = std::str::from_utf8(text).map_err(not_utf8)?;
    let columns: Vec<&str> = text.split_whitespace().collect();
    let [topic, _, document, relevance] = columns[..] else {
        return Err(format!("expected 4 columns, found {}", columns.len()));
    };
    let relevance: i32 =
        relevance.parse().map_err(|_| format!("relevance `{relevance}` is not an integer"))?;
    Ok(vec![Datum::Text(topic.into()), Datum::Text(document.into()), Datum::Int(i128::from(relevance))])
}

fn document(text: &str) -> Result<Vec<Datum>, String> {
    let (id, after) = between(text, "<docno>", "</docno>").ok_or("the document has no DOCNO")?;
    let id = id.trim();
    if id.is_empty() {
        return Err("DOCNO is empty".into());
    }
    let mut body = String::new();
    let mut rest = &text[after..];
    while let Some((part, end)) = between(rest, "<text>", "</text>") {
        if !body.is_empty() {
            body.push('\n');
        }
        body.push_str(part);
        rest = &rest[end..];
    }
    if body.is_empty() {
        let end = find(&text.as_bytes()[after..], "</doc>").map_or(text.len(), |at| after + at);
        body.push_str(&text[after..end]);
    }
    Ok(vec![Datum::Text(id.into()), Datum::Text(plain(&body))])
}

fn topic(text: &str) -> Result<Vec<Datum>, String> {
    let number = section(text, "<num>").ok_or("the topic has no `num`")?;
    let number = number.trim().trim_start_matches("Number:").trim();
    if number.is_empty() {
        return Err("`num` is empty".into());
    }
    let title = section(text, "<title>").ok_or("the topic has no `title`")?;
    let title = plain(title);
    let title = title.trim_start_matches("Topic:").trim();
    Ok(vec![Datum::Text(number.into()), Datum::Text(title.into())])
}

/// What stands after `tag` up to the next tag.
fn section<'a>(text: &'a str, tag: &str) -> Option<&'a str> {
    let start = find(text.as_bytes(), tag)? + tag.len();
    let end = text[start..].find('<').map_or(text.len(), |at| start + at);
    Some(&text[start..end])
}

/// What stands between the tags, and the byte after the closing one.
fn between<'a>(text: &'a str, open: &str, close: &str) -> Option<(&'a str, usize)> {
    let start = find(text.as_bytes(), open)? + open.len();
    let end = start + find(&text.as_bytes()[start..], close)?;
    Some((&text[start..end], end + close.len()))
}

/// First place of an ASCII tag, in either case.
fn find(text: &[u8], tag: &str) -> Option<usize> {
    let tag = tag.as_bytes();
    text.windows(tag.len()).position(|window| window[0] == b'<' && window.eq_ignore_ascii_case(tag))
}

/// The text without tags and entities, trimmed.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        plain.push_str(&rest[..at]);
        let tag = &rest[at..];
        let is_tag =
            tag[1..].starts_with(|next: char| next.is_ascii_alphabetic() || matches!(next, '/' | '!'));
        match tag.find('>').filter(|_| is_tag) {
            Some(end) => {
                plain.push(' ');
                rest = &tag[end + 1..];
            }
            None => {
                plain.push('<');
                rest = &tag[1..];
            }
        }
    }
    plain.push_str(rest);
    let resolved =
        plain.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&");
    resolved.trim().to_owned()
}
