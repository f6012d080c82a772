//! What the SQL of a gate may say: two tables, recorded names, deterministic functions.
//!
//! A gate decides on recorded facts. So it reads `current` and `history` only, and every literal that it compares with
//! the columns `metric`, `subject` and `bench` must be something that its bench records: a misspelt metric would match
//! no row and the gate would never decide.

use std::ops::ControlFlow;

use sqlparser::ast::{self as sql, Spanned, Visit, Visitor};

use super::{Statement, check_functions, columns, ident_name};
use crate::diagnostic::{Code, Diagnostic};
use crate::resolve::suggest::suggest;
use crate::source::Span;
use crate::types::{Column, Type};

/// What is known of the gate's surroundings.
pub(crate) struct GateFacts<'a> {
    /// The gate's name.
    pub(crate) gate: &'a str,
    /// The bench's name.
    pub(crate) bench: &'a str,
    /// Metrics that the bench records; `None` if the bench has errors.
    pub(crate) metrics: Option<&'a [String]>,
    /// Subjects that the bench records: the flow's name, or the subject and what it is measured against.
    pub(crate) subjects: Option<&'a [String]>,
    /// Whether a table name is a stream of the program.
    pub(crate) is_stream: &'a dyn Fn(&str) -> bool,
}

/// Columns of `current` and `history`.
#[must_use]
pub(crate) fn gate_columns() -> Vec<Column> {
    let (text, float) = (Type::Text, Type::F64);
    let columns = [
        ("bench", text.clone()),
        ("subject", text.clone().optional()),
        ("metric", text.clone()),
        ("value", float.clone().optional()),
        ("repeat", Type::Int { signed: false, bits: 16 }),
        ("seed", Type::U64.optional()),
        ("machine", text.clone()),
        ("commit", text.clone()),
        ("plan", text.clone().optional()),
        ("data", text.optional()),
        ("accepted", Type::Bool),
        ("at", Type::Timestamp),
        ("run_median", float.optional()),
    ];
    columns.map(|(name, ty)| Column { name: name.to_owned(), ty }).to_vec()
}

/// Checks the SQL of a gate: E0602, E0606, E0607, W0602. Gives the columns of its result, `None` if they are not known.
pub(crate) fn check_gate(
    statement: &Statement<'_>,
    facts: &GateFacts<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Vec<Column>> {
    let tables = statement.tables();
    for table in tables.iter().filter(|table| !is_gate_table(&table.name)) {
        let message = format!("table `{}` is not allowed in a gate", table.name);
        let label =
            if (facts.is_stream)(&table.name) { "a stream of this program" } else { "no table of a gate" };
        let diagnostic = Diagnostic::new(Code::E0606, message, table.span, label);
        let diagnostic = diagnostic.note("a gate reads current and history");
        diagnostics.push(suggest(diagnostic, &table.name, table.span, ["current", "history"]));
    }
    check_functions(statement, "a gate", &["this_machine"], diagnostics);
    let mut conditions = Conditions { statement, literals: Vec::new(), names_machine: false };
    let _ = statement.query.visit(&mut conditions);
    for (column, literal, span) in &conditions.literals {
        diagnostics.extend(check_literal(facts, column, literal, *span));
    }
    if let Some(history) =
        tables.iter().find(|table| table.name == "history").filter(|_| !conditions.names_machine)
    {
        let message = format!("gate `{}` compares runs of different machines", facts.gate);
        let warning = Diagnostic::new(Code::W0602, message, history.span, "rows of any machine");
        diagnostics.push(warning.help("add the condition `machine = this_machine()`"));
    }
    let known = |name: &str| is_gate_table(name).then(gate_columns);
    columns::result(statement, &known, diagnostics)
}

fn is_gate_table(name: &str) -> bool {
    name == "current" || name == "history"
}

fn check_literal(facts: &GateFacts<'_>, column: &str, literal: &str, span: Span) -> Option<Diagnostic> {
    let GateFacts { gate, bench, .. } = facts;
    let only_bench = [(*bench).to_owned()];
    let (recorded, message, kind) = match column {
        "metric" => (
            facts.metrics?,
            format!("gate `{gate}`: bench `{bench}` records no metric `{literal}`"),
            "metrics",
        ),
        "subject" => (
            facts.subjects?,
            format!("gate `{gate}`: bench `{bench}` records no subject `{literal}`"),
            "subjects",
        ),
        _ => (
            &only_bench[..],
            format!("gate `{gate}`: its rows are of bench `{bench}`, not of `{literal}`"),
            "",
        ),
    };
    if recorded.iter().any(|name| name == literal) {
        return None;
    }
    let diagnostic = Diagnostic::new(Code::E0602, message, span, "in the gate's SQL");
    let note = match column {
        "bench" => "a gate sees rows of its own bench only".to_owned(),
        _ => format!("{kind} of `{bench}`: {}", recorded.join(", ")),
    };
    let diagnostic = diagnostic.note(note);
    // The literal's quotes stay.
    let inside = Span { start: span.start + 1, end: span.end.saturating_sub(1).max(span.start + 1), ..span };
    Some(suggest(diagnostic, literal, inside, recorded.iter().map(String::as_str)))
}

/// Collects literals that are compared with recorded names, and whether `machine` is compared with anything.
struct Conditions<'a> {
    statement: &'a Statement<'a>,
    /// (column, literal, place)
    literals: Vec<(String, String, Span)>,
    names_machine: bool,
}

fn column_name(expr: &sql::Expr) -> Option<String> {
    match expr {
        sql::Expr::Identifier(ident) => Some(ident_name(ident)),
        sql::Expr::CompoundIdentifier(idents) => idents.last().map(ident_name),
        sql::Expr::Nested(inner) => column_name(inner),
        _ => None,
    }
}

impl Conditions<'_> {
    fn compare(&mut self, column: &sql::Expr, other: &sql::Expr) {
        let Some(name) = column_name(column) else { return };
        self.names_machine |= name == "machine";
        if let ("metric" | "subject" | "bench", sql::Expr::Value(value)) = (name.as_str(), other)
            && let sql::Value::SingleQuotedString(literal) = &value.value
        {
            self.literals.push((name, literal.clone(), self.statement.span(value.span())));
        }
    }
}

impl Visitor for Conditions<'_> {
    type Break = ();

    fn pre_visit_table_factor(&mut self, _: &sql::TableFactor) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &sql::Select) -> ControlFlow<()> {
        for join in select.from.iter().flat_map(|from| &from.joins) {
            if let Some(sql::JoinConstraint::Using(names)) = columns::constraint(&join.join_operator) {
                self.names_machine |= names.iter().any(|name| super::object_name(name) == "machine");
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &sql::Expr) -> ControlFlow<()> {
        match expr {
            sql::Expr::BinaryOp { left, op: sql::BinaryOperator::Eq | sql::BinaryOperator::NotEq, right } => {
                self.compare(left, right);
                self.compare(right, left);
            }
            sql::Expr::InList { expr, list, .. } => list.iter().for_each(|item| self.compare(expr, item)),
            sql::Expr::Case { operand: Some(operand), conditions, .. } => {
                conditions.iter().for_each(|when| self.compare(operand, &when.condition));
            }
            sql::Expr::IsNotDistinctFrom(left, right) => {
                self.compare(left, right);
                self.compare(right, left);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
