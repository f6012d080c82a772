//! Diagnostics for programs: one JSON object per line.
//!
//! Offsets are bytes of the UTF-8 text, end exclusive; lines and columns count from 1, columns in characters.

use serde::Serialize;

use crate::source::{SourceMap, Span};

use super::{Code, Diagnostic, Label, Severity};

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Name of the source text.
    pub file: String,
    /// First byte.
    pub start: u32,
    /// First byte after it.
    pub end: u32,
    /// Line of the first byte.
    pub line: u32,
    /// Column of the first byte.
    pub column: u32,
    /// Line of `end`.
    pub end_line: u32,
    /// Column of `end`.
    pub end_column: u32,
}

impl Place {
    /// The place of a span; a source that is not in the map gives an empty file name and line 0.
    #[must_use]
    pub fn of(span: Span, sources: &SourceMap) -> Place {
        let file = sources.iter().nth(span.source.0 as usize).map(|(_, file)| file);
        let (line, column) = file.map_or((0, 0), |file| file.line_column(span.start));
        let (end_line, end_column) = file.map_or((0, 0), |file| file.line_column(span.end));
        let file = file.map_or_else(String::new, |file| file.name.clone());
        Place { file, start: span.start, end: span.end, line, column, end_line, end_column }
    }
}

#[derive(Serialize)]
struct JsonLabel<'a> {
    #[serde(flatten)]
    place: Place,
    label: &'a str,
}

#[derive(Serialize)]
struct JsonEdit<'a> {
    #[serde(flatten)]
    place: Place,
    replacement: &'a str,
    machine_applicable: bool,
}

#[derive(Serialize)]
struct JsonDiagnostic<'a> {
    code: Code,
    severity: Severity,
    message: &'a str,
    #[serde(flatten)]
    primary: JsonLabel<'a>,
    secondary: Vec<JsonLabel<'a>>,
    notes: &'a [String],
    helps: &'a [String],
    edit: Option<JsonEdit<'a>>,
}

/// One line per diagnostic, each ended by a line break, in the order given.
#[must_use]
pub fn render_json(diagnostics: &[Diagnostic], sources: &SourceMap) -> String {
    let label = |label: &'_ Label| Place::of(label.span, sources);
    let mut lines = String::new();
    for diagnostic in diagnostics {
        let secondary = diagnostic
            .secondary
            .iter()
            .map(|other| JsonLabel { place: label(other), label: &other.text })
            .collect();
        let shown = JsonDiagnostic {
            code: diagnostic.code,
            severity: diagnostic.severity,
            message: &diagnostic.message,
            primary: JsonLabel { place: label(&diagnostic.primary), label: &diagnostic.primary.text },
            secondary,
            notes: &diagnostic.notes,
            helps: &diagnostic.helps,
            edit: diagnostic.edit.as_ref().map(|edit| JsonEdit {
                place: Place::of(edit.span, sources),
                replacement: &edit.replacement,
                machine_applicable: edit.machine_applicable,
            }),
        };
        lines
            .push_str(&serde_json::to_string(&shown).expect("invariant: texts and numbers always serialise"));
        lines.push('\n');
    }
    lines
}

/// One line for a fault that has no place in a program, as one of a run or a store: the same fields, with an empty file and zeros.
#[must_use]
pub fn render_json_fault(code: &str, message: &str, help: Option<&str>) -> String {
    let helps: Vec<&str> = help.into_iter().collect();
    let line = serde_json::json!({
        "code": code, "severity": Severity::Error, "message": message, "file": "", "start": 0, "end": 0, "line": 0, "column": 0,
        "end_line": 0, "end_column": 0, "label": "", "secondary": [], "notes": [], "helps": helps, "edit": null,
    });
    format!("{line}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{SourceFile, SourceId};

    #[test]
    fn every_field_of_a_diagnostic_is_there() {
        let mut sources = SourceMap::default();
        sources.add(SourceFile::new("a.promptc", "é dim 256\n"));
        let span = Span::new(SourceId(0), 7, 10);
        let diagnostic = Diagnostic::new(Code::E0101, "m", span, "here")
            .label(Span::new(SourceId(0), 0, 2), "other")
            .note("n")
            .help("h")
            .fix(Span::new(SourceId(0), 7, 7), "= ");
        let text = render_json(&[diagnostic.clone(), diagnostic], &sources);
        assert_eq!(text.lines().count(), 2);
        let line: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        let expected = serde_json::json!({
            "code": "E0101", "severity": "error", "message": "m", "file": "a.promptc",
            "start": 7, "end": 10, "line": 1, "column": 7, "end_line": 1, "end_column": 10, "label": "here",
            "secondary": [{"file": "a.promptc", "start": 0, "end": 2, "line": 1, "column": 1,
                "end_line": 1, "end_column": 2, "label": "other"}],
            "notes": ["n"], "helps": ["h"],
            "edit": {"file": "a.promptc", "start": 7, "end": 7, "line": 1, "column": 7,
                "end_line": 1, "end_column": 7, "replacement": "= ", "machine_applicable": true},
        });
        assert_eq!(line, expected);
        let fault = render_json_fault("E2105", "nothing", Some("look"));
        let fault: serde_json::Value = serde_json::from_str(&fault).unwrap();
        let fields =
            |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(fields(&fault), fields(&line), "a reader needs one shape");
        assert_eq!((&fault["code"], &fault["helps"]), (&"E2105".into(), &serde_json::json!(["look"])));
    }
}
