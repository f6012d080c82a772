//! Templates with values put in, and where every byte came from.

use std::sync::Arc;

use promptc_compiler::op::{Filter, Piece, SlotPath, SlotStep};
use promptc_models::spans::Span;

use super::value::Value;

/// Bytes `[start, end)` of a text and where they come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// First byte.
    pub start: usize,
    /// Byte after the last one.
    pub end: usize,
    /// The formal whose value stands here; `None` is fixed text.
    pub formal: Option<Arc<str>>,
    /// Document and first byte in it, if the bytes stand in a source document.
    pub doc: Option<(Arc<str>, u64)>,
}

/// A text whose segments are sorted, disjoint and cover it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rendered {
    /// The text.
    pub text: String,
    /// Its parts.
    pub segments: Vec<Segment>,
}

impl Rendered {
    /// Appends text of one origin; merges it with the last segment where it continues it.
    pub fn push(&mut self, text: &str, formal: Option<&Arc<str>>, doc: Option<(&Arc<str>, u64)>) {
        if text.is_empty() {
            return;
        }
        let start = self.text.len();
        self.text.push_str(text);
        let end = self.text.len();
        if let Some(last) = self.segments.last_mut()
            && last.formal.as_ref() == formal
            && continues(last, doc)
        {
            last.end = end;
            return;
        }
        let doc = doc.map(|(doc, at)| (doc.clone(), at));
        self.segments.push(Segment { start, end, formal: formal.cloned(), doc });
    }

    /// Appends bytes `[start, end)` of another rendered text with their segments.
    pub fn push_range(&mut self, other: &Rendered, start: usize, end: usize) {
        for segment in &other.segments {
            let (from, to) = (segment.start.max(start), segment.end.min(end));
            if from < to {
                let doc = segment.doc.as_ref().map(|(doc, at)| (doc, at + (from - segment.start) as u64));
                self.push(&other.text[from..to], segment.formal.as_ref(), doc);
            }
        }
    }

    /// Appends a text value: spans give the parts that stand in documents.
    fn push_value(&mut self, text: &str, spans: &[Span], formal: &Arc<str>) {
        let mut done = 0;
        for span in spans {
            let at = span.at as usize;
            let end = at + (span.end - span.start) as usize;
            if at < done || text.get(done..at).is_none() || text.get(at..end).is_none() {
                continue;
            }
            self.push(&text[done..at], Some(formal), None);
            self.push(&text[at..end], Some(formal), Some((&span.doc, span.start)));
            done = end;
        }
        self.push(&text[done..], Some(formal), None);
    }
}

fn continues(last: &Segment, doc: Option<(&Arc<str>, u64)>) -> bool {
    match (&last.doc, doc) {
        (None, None) => true,
        (Some((last_doc, at)), Some((doc, next))) => {
            last_doc == doc && at + (last.end - last.start) as u64 == next
        }
        _ => false,
    }
}

/// Renders a template with the values of the formals. Cost: linear in the output.
#[must_use]
pub fn render(template: &[Piece], formals: &[(Arc<str>, Value)]) -> Rendered {
    let frames = formals.iter().map(|(name, value)| Frame { name, formal: name, value }).collect();
    let mut renderer = Renderer { frames, loops: Vec::new(), out: Rendered::default() };
    renderer.pieces(template);
    renderer.out
}

/// A name in scope. `formal` is the formal that its value is a part of.
struct Frame<'a> {
    name: &'a str,
    formal: &'a Arc<str>,
    value: &'a Value,
}

struct Renderer<'a> {
    frames: Vec<Frame<'a>>,
    /// (index, length) of the loops around.
    loops: Vec<(usize, usize)>,
    out: Rendered,
}

/// What a path leads to: a part of a formal, or a fact about the loop.
enum Found<'a> {
    Part(&'a Arc<str>, &'a Value),
    Loop(Value),
}

impl<'a> Renderer<'a> {
    fn pieces(&mut self, pieces: &'a [Piece]) {
        for piece in pieces {
            match piece {
                Piece::Text(text) => self.out.push(text, None, None),
                Piece::Slot { path, filters } => self.slot(path, filters),
                Piece::For { item, list, body } => self.repeat(item, list, body),
                Piece::If { condition, body, otherwise } => {
                    let is_true = match self.find(condition) {
                        Found::Part(_, value) => value.is_true(),
                        Found::Loop(value) => value.is_true(),
                    };
                    self.pieces(if is_true { body } else { otherwise });
                }
            }
        }
    }

    fn repeat(&mut self, item: &'a str, list: &SlotPath, body: &'a [Piece]) {
        let Found::Part(formal, Value::List(items)) = self.find(list) else { return };
        for (idx, value) in items.iter().enumerate() {
            self.frames.push(Frame { name: item, formal, value });
            self.loops.push((idx, items.len()));
            self.pieces(body);
            self.loops.pop();
            self.frames.pop();
        }
    }

    fn slot(&mut self, path: &SlotPath, filters: &[Filter]) {
        match self.find(path) {
            Found::Part(formal, value) => {
                let value = filters.iter().fold(value.clone(), |value, filter| apply(filter, value));
                match &value {
                    Value::Text(text, spans) => self.out.push_value(text, spans, formal),
                    other => self.out.push_value(&shown(other), &[], formal),
                }
            }
            Found::Loop(value) => {
                let value = filters.iter().fold(value, |value, filter| apply(filter, value));
                self.out.push(&shown(&value), None, None);
            }
        }
    }

    fn find(&self, path: &SlotPath) -> Found<'a> {
        if path.root == "loop"
            && let Some((idx, len)) = self.loops.last()
        {
            return Found::Loop(loop_fact(&path.steps, *idx, *len));
        }
        let Some(frame) = self.frames.iter().rev().find(|frame| frame.name == path.root) else {
            return Found::Loop(Value::Null);
        };
        let mut value = frame.value;
        for step in &path.steps {
            value = match step {
                SlotStep::Field(name) => value.field(name),
                SlotStep::Index(idx) => value.element(usize::try_from(*idx).unwrap_or(usize::MAX)),
                SlotStep::IndexBy(path) => value.element(self.index(path)),
            };
        }
        Found::Part(frame.formal, value)
    }

    fn index(&self, path: &SlotPath) -> usize {
        let digits = match self.find(path) {
            Found::Part(_, value) => shown(value),
            Found::Loop(value) => shown(&value),
        };
        digits.parse().unwrap_or(usize::MAX)
    }
}

fn loop_fact(steps: &[SlotStep], idx: usize, len: usize) -> Value {
    let [SlotStep::Field(name)] = steps else { return Value::Null };
    match name.as_str() {
        "index" => Value::Number((idx + 1).to_string()),
        "index0" => Value::Number(idx.to_string()),
        "first" => Value::Bool(idx == 0),
        "last" => Value::Bool(idx + 1 == len),
        _ => Value::Null,
    }
}

/// A value as text: lists and records as JSON.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(value) => value.to_string(),
        Value::Number(digits) => digits.clone(),
        Value::Text(text, _) => text.clone(),
        Value::List(_) | Value::Record(_) => value.to_json().to_string(),
    }
}

fn apply(filter: &Filter, value: Value) -> Value {
    match (filter.name.as_str(), value) {
        ("upper", value) => Value::text(shown(&value).to_uppercase()),
        ("lower", value) => Value::text(shown(&value).to_lowercase()),
        ("trim", Value::Text(text, spans)) => trim(&text, &spans),
        ("length", Value::List(items)) => Value::Number(items.len().to_string()),
        ("length", value) => Value::Number(shown(&value).chars().count().to_string()),
        ("join", Value::List(items)) => {
            let separator = filter.argument.as_deref().unwrap_or("");
            Value::text(items.iter().map(shown).collect::<Vec<_>>().join(separator))
        }
        ("tojson", value) => Value::text(value.to_json().to_string()),
        ("default", value) if !value.is_true() => Value::text(filter.argument.clone().unwrap_or_default()),
        (_, value) => value,
    }
}

/// The text without blanks around; spans move with it.
fn trim(text: &str, spans: &[Span]) -> Value {
    let kept = text.trim();
    let start = text.len() - text.trim_start().len();
    let end = start + kept.len();
    let cut = spans.iter().filter_map(|span| {
        let (at, len) = (span.at as usize, (span.end - span.start) as usize);
        let (from, to) = (at.max(start), (at + len).min(end));
        (from < to).then(|| Span {
            doc: span.doc.clone(),
            start: span.start + (from - at) as u64,
            end: span.start + (to - at) as u64,
            at: (from - start) as u32,
        })
    });
    Value::Text(kept.to_owned(), cut.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(root: &str, steps: Vec<SlotStep>) -> SlotPath {
        SlotPath { root: root.into(), steps }
    }

    #[test]
    fn values_keep_their_documents_and_loops_their_formal() {
        let spans: Arc<[Span]> = Arc::from([Span { doc: "d".into(), start: 10, end: 13, at: 1 }]);
        let list = Value::List(vec![Value::Text("(abc)".into(), spans), Value::text("x")]);
        let formals = [(Arc::from("passages"), list)];
        let template = [Piece::For {
            item: "p".into(),
            list: path("passages", vec![]),
            body: vec![
                Piece::Slot { path: path("loop", vec![SlotStep::Field("index".into())]), filters: vec![] },
                Piece::Slot { path: path("p", vec![]), filters: vec![] },
            ],
        }];
        let rendered = render(&template, &formals);
        assert_eq!(rendered.text, "1(abc)2x");
        let docs: Vec<_> =
            rendered.segments.iter().map(|part| (part.start, part.end, part.doc.is_some())).collect();
        assert_eq!(
            docs,
            [(0, 1, false), (1, 2, false), (2, 5, true), (5, 6, false), (6, 7, false), (7, 8, false)]
        );
        assert_eq!(rendered.segments[2].doc, Some(("d".into(), 10)));
        assert!(rendered.segments[0].formal.is_none() && rendered.segments[1].formal.is_some());
    }

    #[test]
    fn a_template_never_reads_its_values_as_templates() {
        let formals = [(Arc::from("q"), Value::text("{{ q }}"))];
        let rendered = render(&[Piece::Slot { path: path("q", vec![]), filters: vec![] }], &formals);
        assert_eq!(rendered.text, "{{ q }}");
    }
}
