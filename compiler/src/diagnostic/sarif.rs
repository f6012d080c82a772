//! Diagnostics for code scanners: one SARIF 2.1.0 log.
//!
//! Source: OASIS, "Static Analysis Results Interchange Format (SARIF) Version 2.1.0". Columns count Unicode code points
//! (`columnKind`), as everywhere in this project. Only machine-applicable edits become fixes.

use serde_json::{Value, json};

use crate::source::{SourceMap, Span};

use super::json::Place;
use super::{Code, Diagnostic, Edit, Label, Severity};

/// A whole log of these runs. Ends with a line break.
#[must_use]
pub fn render_sarif(runs: &[Value]) -> String {
    let log = json!({ "$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": runs });
    serde_json::to_string_pretty(&log).expect("invariant: texts and numbers always serialise") + "\n"
}

/// The run of a log that holds one fault without a place in a program, as one of a run or a store.
#[must_use]
pub fn sarif_fault(code: &str, message: &str, help: Option<&str>) -> Value {
    let text: Vec<String> =
        std::iter::once(message.to_owned()).chain(help.map(|help| format!("help: {help}"))).collect();
    let rule = match Code::parse(code) {
        Some(known) => json!({"id": code, "shortDescription": {"text": known.summary()}}),
        None => json!({"id": code}),
    };
    let driver = json!({"name": "promptc", "version": env!("CARGO_PKG_VERSION"), "rules": [rule]});
    let result =
        json!({"ruleId": code, "ruleIndex": 0, "level": "error", "message": {"text": text.join("\n")}});
    json!({"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": [result]})
}

/// One run of a log; the rules are the codes that occur.
#[must_use]
pub fn sarif_run(diagnostics: &[Diagnostic], sources: &SourceMap) -> Value {
    let mut codes: Vec<Code> = diagnostics.iter().map(|diagnostic| diagnostic.code).collect();
    codes.sort_unstable();
    codes.dedup();
    let rules: Vec<Value> = codes
        .iter()
        .map(|code| json!({"id": code.text(), "shortDescription": {"text": code.summary()}}))
        .collect();
    let results: Vec<Value> =
        diagnostics.iter().map(|diagnostic| result(diagnostic, &codes, sources)).collect();
    let driver = json!({"name": "promptc", "version": env!("CARGO_PKG_VERSION"), "rules": rules});
    json!({"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results})
}

fn result(diagnostic: &Diagnostic, codes: &[Code], sources: &SourceMap) -> Value {
    let level = match diagnostic.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let notes = diagnostic.notes.iter().map(|note| format!("note: {note}"));
    let helps = diagnostic.helps.iter().map(|help| format!("help: {help}"));
    let text: Vec<String> = std::iter::once(diagnostic.message.clone()).chain(notes).chain(helps).collect();
    let mut result = json!({
        "ruleId": diagnostic.code.text(),
        "ruleIndex": codes.binary_search(&diagnostic.code).unwrap_or_default(),
        "level": level,
        "message": {"text": text.join("\n")},
        "locations": [location(&diagnostic.primary, sources)],
    });
    if !diagnostic.secondary.is_empty() {
        result["relatedLocations"] =
            diagnostic.secondary.iter().map(|label| location(label, sources)).collect();
    }
    if let Some(edit) = diagnostic.edit.as_ref().filter(|edit| edit.machine_applicable) {
        result["fixes"] = json!([fix(edit, diagnostic, sources)]);
    }
    result
}

fn location(label: &Label, sources: &SourceMap) -> Value {
    let place = Place::of(label.span, sources);
    let physical =
        json!({"artifactLocation": {"uri": uri(&place.file)}, "region": region(label.span, sources)});
    if label.text.is_empty() {
        return json!({"physicalLocation": physical});
    }
    json!({"physicalLocation": physical, "message": {"text": label.text}})
}

fn region(span: Span, sources: &SourceMap) -> Value {
    let place = Place::of(span, sources);
    json!({
        "startLine": place.line.max(1),
        "startColumn": place.column.max(1),
        "endLine": place.end_line.max(1),
        "endColumn": place.end_column.max(1),
        "byteOffset": place.start,
        "byteLength": place.end.saturating_sub(place.start),
    })
}

fn fix(edit: &Edit, diagnostic: &Diagnostic, sources: &SourceMap) -> Value {
    let place = Place::of(edit.span, sources);
    let help = diagnostic.helps.first().unwrap_or(&diagnostic.message);
    let replacement = json!({
        "deletedRegion": region(edit.span, sources),
        "insertedContent": {"text": edit.replacement},
    });
    let change = json!({"artifactLocation": {"uri": uri(&place.file)}, "replacements": [replacement]});
    json!({"description": {"text": help}, "artifactChanges": [change]})
}

/// The file name as a relative URI reference: bytes outside RFC 3986's unreserved set and `/` are percent-encoded.
fn uri(file: &str) -> String {
    let mut uri = String::with_capacity(file.len());
    for byte in file.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                uri.push(byte as char)
            }
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{SourceFile, SourceId};

    #[test]
    fn a_log_holds_rules_places_and_fixes() {
        let mut sources = SourceMap::default();
        sources.add(SourceFile::new("my dir/é.promptc", "abc\ndef\n"));
        let span = Span::new(SourceId(0), 4, 7);
        let found = [
            Diagnostic::new(Code::W0201, "unused", span, ""),
            Diagnostic::new(Code::E0101, "m", span, "here").note("n").help("write x").fix(span, "x"),
        ];
        let log: Value = serde_json::from_str(&render_sarif(&[sarif_run(&found, &sources)])).unwrap();
        assert_eq!(log["version"], "2.1.0");
        let run = &log["runs"][0];
        assert_eq!(run["tool"]["driver"]["rules"][0]["id"], "E0101");
        let result = &run["results"][1];
        assert_eq!(result["ruleIndex"], 0);
        assert_eq!(result["message"]["text"], "m\nnote: n\nhelp: write x");
        let physical = &result["locations"][0]["physicalLocation"];
        assert_eq!(physical["artifactLocation"]["uri"], "my%20dir/%C3%A9.promptc");
        assert_eq!(physical["region"]["startLine"], 2);
        assert_eq!(physical["region"]["endColumn"], 4);
        let change = &result["fixes"][0]["artifactChanges"][0]["replacements"][0];
        assert_eq!(change["insertedContent"]["text"], "x");
        assert_eq!(run["results"][0]["level"], "warning");
        assert!(run["results"][0].get("fixes").is_none());
    }
}
