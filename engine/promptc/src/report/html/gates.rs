//! The gates with their text, and the text of every query that fills the page.

use super::super::data::{GateOutcome, ReportData, Severity};
use super::super::markup::Markup;
use super::super::rank;
use super::section;
use super::tables::badge;

/// One fold per gate: outcome and message in its title, text and parameters inside.
pub(super) fn gates(markup: &mut Markup, cut: &ReportData) {
    section(markup, cut, "gates", "Gates", None);
    if cut.gates.is_empty() {
        markup.leaf("p", &[("class", "none")], "No gate was run, so nothing is said about this run.");
    }
    for gate in rank::gates_in_order(cut) {
        let (class, sign) = match gate.outcome {
            GateOutcome::Passed => ("better", "✓"),
            GateOutcome::Failed if gate.is_warning() => ("unknown", "!"),
            GateOutcome::Failed => ("worse", "✗"),
            GateOutcome::Undecided => ("unknown", "?"),
            GateOutcome::NotRun => ("worse", "!"),
        };
        markup.start("details", &[("class", "sql")]);
        markup.start("summary", &[]);
        badge(markup, class, sign, gate.words());
        markup.text(" ");
        markup.leaf("code", &[], &gate.id);
        if gate.severity == Severity::Warn {
            markup.leaf("span", &[("class", "metric")], " (warning only)");
        }
        markup.text(": ");
        markup.text(&gate.message);
        markup.end();
        if !gate.why.is_empty() {
            markup.leaf("p", &[], &format!("A failure means: {}.", gate.why.trim_end_matches('.')));
        }
        if let Some(file) = &gate.file {
            markup.leaf("p", &[("class", "metric")], file);
        }
        text(markup, &gate.sql, &gate.parameters);
        markup.end();
        markup.line();
    }
    markup.end();
}

/// One fold per query.
pub(super) fn queries(markup: &mut Markup, cut: &ReportData) {
    section(markup, cut, "queries", "The SQL behind each figure", None);
    if cut.queries.is_empty() {
        markup.leaf("p", &[("class", "none")], "No query was recorded.");
    }
    for (idx, query) in cut.queries.iter().enumerate() {
        markup.start("details", &[("class", "sql"), ("id", &format!("query-{idx}"))]);
        markup.start("summary", &[]);
        markup.leaf("code", &[], &query.name);
        markup.text(": ");
        markup.text(&query.question);
        markup.end();
        text(markup, &query.sql, &query.parameters);
        markup.end();
        markup.line();
    }
    markup.end();
}

/// A query's text with the values that were bound.
fn text(markup: &mut Markup, sql: &str, parameters: &[(String, String)]) {
    if !parameters.is_empty() {
        markup.start("p", &[("class", "parameters")]);
        markup.text("with ");
        for (name, value) in parameters {
            markup.leaf("code", &[], &format!("${name} = {value}"));
            markup.text(" ");
        }
        markup.end();
    }
    markup.start("pre", &[]);
    markup.leaf("code", &[], sql);
    markup.end();
}
