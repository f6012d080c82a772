//! SQL inside programs: parsed here, planned and run by the engine.
//!
//! ```text
//! #"SELECT ..."#  --parse-->  Statement  --tables, check_operator, check_query, gate::check_gate-->  diagnostics, columns
//! ```
//!
//! Only `SELECT` and `WITH` are statements of the language. Places that the SQL parser gives (line and column of the
//! text) are mapped back to the program. The types of result columns are found in `columns.rs`, what a gate may say in
//! `gate.rs`. This module knows no streams: callers hand in names and schemas.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{self as sql, Visit, Visitor};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Location, Span as SqlSpan};

use crate::diagnostic::{Code, Diagnostic};
use crate::resolve::suggest::suggest;
use crate::source::Span;
use crate::syntax::ast::Text;
use crate::types::{Column, Type};

pub(crate) mod columns;
pub(crate) mod gate;
pub(crate) mod limit;

/// Functions whose value is not determined by the rows: clocks, random numbers, and this process.
const UNSTABLE_FUNCTIONS: [&str; 14] = [
    "now",
    "random",
    "rand",
    "uuid",
    "gen_random_uuid",
    "current_date",
    "current_time",
    "current_timestamp",
    "today",
    "localtime",
    "localtimestamp",
    "setseed",
    "version",
    "pg_backend_pid",
];

/// Functions that read files or folders.
const FILE_FUNCTIONS: [&str; 12] = [
    "read_csv",
    "read_parquet",
    "read_json",
    "read_text",
    "read_blob",
    "read_avro",
    "parquet_scan",
    "csv_scan",
    "parquet_metadata",
    "input_file_name",
    "glob",
    "pg_read_file",
];

/// Tables of the benchmark history that a query may read besides the streams of the program.
pub(crate) const SYSTEM_TABLES: [&str; 9] =
    ["results", "samples", "environments", "verdicts", "marks", "series", "pairs", "history", "quarantine"];

/// One parsed statement with the text that it was parsed from.
#[derive(Debug, Clone)]
pub(crate) struct Statement<'a> {
    /// The query, `SELECT` or `WITH`.
    pub(crate) query: sql::Query,
    text: &'a Text,
}

/// A table that a statement reads, common table expressions excluded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableUse {
    /// Its name, lower-case unless quoted; parts joined by dots.
    pub(crate) name: String,
    /// Where it stands in the program.
    pub(crate) span: Span,
}

/// Parses the SQL of an operator, a query or a gate. `None` after an E0607, or an E0501 if it is too deep. Cost: one pass over the text.
pub(crate) fn parse<'a>(text: &'a Text, diagnostics: &mut Vec<Diagnostic>) -> Option<Statement<'a>> {
    match parse_query(text) {
        Ok(query) => Some(Statement { query, text }),
        Err(diagnostic) => {
            diagnostics.push(*diagnostic);
            None
        }
    }
}

fn parse_query(text: &Text) -> Result<sql::Query, Box<Diagnostic>> {
    let error = |message: &str, span: Span, label: &str| {
        Box::new(Diagnostic::new(Code::E0607, format!("SQL error: {message}"), span, label))
    };
    if let Err(message) = limit::sql_limit(&text.value) {
        return Err(Box::new(Diagnostic::new(Code::E0501, message, text.span, "too deep")));
    }
    let statements = Parser::parse_sql(&GenericDialect {}, &text.value).map_err(|fault| {
        let shown = fault.to_string();
        let (message, place) = split_place(&shown);
        let span = place.map_or(text.span, |place| token_span(text, place));
        let found =
            message.rsplit_once(", found: ").map_or(String::new(), |(_, found)| format!("found {found}"));
        error(&message, span, &found)
    })?;
    let mut statements = statements.into_iter();
    let (first, more) = (statements.next(), statements.next());
    let refused = |found: &str| {
        let word = text.value.split_whitespace().next().unwrap_or("");
        let at = text.value.find(word).unwrap_or(0);
        error(
            &format!("expected SELECT or WITH, found {found}"),
            text.span_of(at, at + word.len()),
            "not a query",
        )
    };
    match (first, more) {
        (None, _) => Err(refused("no statement")),
        (Some(_), Some(_)) => {
            Err(error("expected one statement, found several", text.span, "ends at the first `;`"))
        }
        (Some(sql::Statement::Query(query)), None) if is_select(&query.body) => Ok(*query),
        (Some(_), None) => {
            let word = text.value.split_whitespace().next().unwrap_or("").to_uppercase();
            Err(refused(&word))
        }
    }
}

/// Whether the body only reads: `WITH x AS (...) DELETE` parses as a query, too.
fn is_select(body: &sql::SetExpr) -> bool {
    match body {
        sql::SetExpr::Select(select) => select.into.is_none(),
        sql::SetExpr::Query(query) => is_select(&query.body),
        sql::SetExpr::SetOperation { left, right, .. } => is_select(left) && is_select(right),
        _ => false,
    }
}

/// Takes `at Line: 1, Column: 17` off the end of the parser's message, and its prefix off the front.
fn split_place(shown: &str) -> (String, Option<Location>) {
    let (message, place) = match shown.rfind(" at Line: ") {
        Some(at) => {
            let mut numbers =
                shown[at..].split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok());
            let place = numbers.next().zip(numbers.next()).map(|(line, column)| Location { line, column });
            (&shown[..at], place)
        }
        None => (shown, None),
    };
    let message = message.strip_prefix("sql parser error: ").unwrap_or(message);
    let mut chars = message.chars();
    let message = chars.next().map_or(String::new(), |first| first.to_lowercase().chain(chars).collect());
    (message.trim_end_matches('.').to_owned(), place)
}

/// Byte offset in `value` of a line and column, both from 1, columns in characters.
fn offset_of(value: &str, place: Location) -> usize {
    let line = usize::try_from(place.line).unwrap_or(usize::MAX).max(1) - 1;
    let start = match line {
        0 => 0,
        line => value.match_indices('\n').nth(line - 1).map_or(value.len(), |(at, _)| at + 1),
    };
    let column = usize::try_from(place.column).unwrap_or(usize::MAX).max(1) - 1;
    value[start..].char_indices().nth(column).map_or(value.len(), |(at, _)| start + at)
}

/// The word or mark that begins at a place; the closing quote at the end of the text.
fn token_span(text: &Text, place: Location) -> Span {
    let start = offset_of(&text.value, place);
    let word_len =
        text.value[start..].bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
    match text.value[start..].chars().next() {
        None => {
            let close = text.span.end as usize - usize::from(text.marks) - 1;
            Span::new(text.span.source, close, text.span.end as usize)
        }
        Some(mark) => text.span_of(start, start + word_len.max(mark.len_utf8())),
    }
}

/// The name of an SQL identifier: lower-case unless quoted.
fn ident_name(ident: &sql::Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

fn object_idents(name: &sql::ObjectName) -> Vec<&sql::Ident> {
    name.0.iter().filter_map(sql::ObjectNamePart::as_ident).collect()
}

fn object_name(name: &sql::ObjectName) -> String {
    object_idents(name).into_iter().map(ident_name).collect::<Vec<_>>().join(".")
}

impl Statement<'_> {
    /// The place in the program of a span of the SQL parser; the whole text where it gives none.
    #[must_use]
    pub(crate) fn span(&self, span: SqlSpan) -> Span {
        if span.start.line == 0 {
            return self.text.span;
        }
        let start = offset_of(&self.text.value, span.start);
        self.text.span_of(start, offset_of(&self.text.value, span.end).max(start))
    }

    fn object_span(&self, name: &sql::ObjectName) -> Span {
        let spans = object_idents(name).into_iter().map(|ident| self.span(ident.span));
        spans.reduce(Span::to).unwrap_or(self.text.span)
    }

    /// The tables that the statement reads, each time it reads them, in the order of the text; names of common table
    /// expressions are left out where they are visible.
    #[must_use]
    pub(crate) fn tables(&self) -> Vec<TableUse> {
        self.reads().tables
    }

    /// Functions of the statement in the order of the text: (lower-case name, place).
    #[must_use]
    pub(crate) fn functions(&self) -> Vec<(String, Span)> {
        self.reads().functions
    }

    fn reads(&self) -> Reads<'_> {
        let mut reads =
            Reads { statement: self, visible: Vec::new(), tables: Vec::new(), functions: Vec::new() };
        let _ = self.query.visit(&mut reads);
        reads.tables.sort_by_key(|table| table.span);
        reads.functions.sort_by_key(|(_, span)| *span);
        reads
    }
}

/// Collects tables and functions.
struct Reads<'a> {
    statement: &'a Statement<'a>,
    /// Names of the common table expressions of the queries around, outermost first.
    visible: Vec<BTreeSet<String>>,
    tables: Vec<TableUse>,
    functions: Vec<(String, Span)>,
}

impl Visitor for Reads<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &sql::Query) -> ControlFlow<()> {
        let names =
            query.with.iter().flat_map(|with| &with.cte_tables).map(|cte| ident_name(&cte.alias.name));
        self.visible.push(names.collect());
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &sql::Query) -> ControlFlow<()> {
        self.visible.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &sql::TableFactor) -> ControlFlow<()> {
        match factor {
            sql::TableFactor::Table { name, args: None, .. } => {
                let table = TableUse { name: object_name(name), span: self.statement.object_span(name) };
                if !self.visible.iter().any(|names| names.contains(&table.name)) {
                    self.tables.push(table);
                }
            }
            sql::TableFactor::Table { name, .. } | sql::TableFactor::Function { name, .. } => {
                self.functions.push((object_name(name).to_lowercase(), self.statement.object_span(name)));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &sql::Expr) -> ControlFlow<()> {
        if let sql::Expr::Function(function) = expr {
            let name = object_name(&function.name).to_lowercase();
            self.functions.push((name, self.statement.object_span(&function.name)));
        }
        ControlFlow::Continue(())
    }
}

/// Reports functions that make a result depend on more than the rows: E0606. `place` completes "not allowed in".
fn check_functions(
    statement: &Statement<'_>,
    place: &str,
    allowed: &[&str],
    diagnostics: &mut Vec<Diagnostic>,
) {
    for (name, span) in statement.functions() {
        if allowed.contains(&name.as_str()) {
            continue;
        }
        let label = if UNSTABLE_FUNCTIONS.contains(&name.as_str()) || name == "this_machine" {
            "its value differs from run to run"
        } else if FILE_FUNCTIONS.contains(&name.as_str()) {
            "reads files"
        } else {
            continue;
        };
        let message = format!("function `{name}` is not allowed in {place}");
        diagnostics.push(Diagnostic::new(Code::E0606, message, span, label));
    }
}

/// Checks the SQL of the operator `sql`: deterministic functions, known tables. `tables` are `input` and the streams of
/// the program by their SQL names, with their columns. Gives the columns of the result; a type that is not found is
/// [`Type::Unknown`], and `None` stands for columns that are not known.
pub(crate) fn check_operator(
    statement: &Statement<'_>,
    tables: &[(String, Vec<Column>)],
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Vec<Column>> {
    check_functions(statement, "`sql`", &[], diagnostics);
    check_tables(statement, tables.iter().map(|(name, _)| name.as_str()).collect(), diagnostics);
    columns::result(statement, &|name| known(tables, name), diagnostics)
}

/// Checks the SQL of a query: it may read the streams and the tables of the history, whose columns are not checked here.
pub(crate) fn check_query(
    statement: &Statement<'_>,
    tables: &[(String, Vec<Column>)],
    diagnostics: &mut Vec<Diagnostic>,
) {
    check_functions(
        statement,
        "a query",
        &[UNSTABLE_FUNCTIONS.as_slice(), &["this_machine"]].concat(),
        diagnostics,
    );
    let names = tables.iter().map(|(name, _)| name.as_str()).chain(SYSTEM_TABLES).collect();
    check_tables(statement, names, diagnostics);
    let _ = columns::result(statement, &|name| known(tables, name), diagnostics);
}

fn known(tables: &[(String, Vec<Column>)], name: &str) -> Option<Vec<Column>> {
    tables.iter().find(|(table, _)| table == name).map(|(_, columns)| columns.clone())
}

fn check_tables(statement: &Statement<'_>, names: Vec<&str>, diagnostics: &mut Vec<Diagnostic>) {
    for table in statement.tables() {
        if names.contains(&table.name.as_str()) {
            continue;
        }
        let message = format!("unknown table `{}`", table.name);
        let diagnostic = Diagnostic::new(Code::E0201, message, table.span, "not declared");
        diagnostics.push(suggest(diagnostic, &table.name, table.span, names.iter().copied()));
    }
}

/// Whether a type may leave a query as it is: plain numbers, truth values, text and times.
#[must_use]
pub(crate) fn is_plain(ty: &Type) -> bool {
    matches!(
        ty.required(),
        Type::Bool
            | Type::Int { .. }
            | Type::Float { .. }
            | Type::Text
            | Type::Timestamp
            | Type::Date
            | Type::Unknown
    )
}

#[cfg(test)]
mod tests {
    use super::gate::{GateFacts, check_gate};
    use super::*;
    use crate::source::SourceId;

    /// A raw string whose value begins at byte 50 of the program.
    pub(crate) fn raw(value: &str) -> Text {
        let span = Span::new(SourceId(0), 48, 50 + value.len() + 2);
        Text { value: value.to_owned(), span, marks: 1, offsets: vec![(0, 50)] }
    }

    fn marked<'a>(value: &'a str, diagnostic: &Diagnostic) -> &'a str {
        let span = diagnostic.primary.span;
        &value[span.start as usize - 50..(span.end as usize - 50).min(value.len())]
    }

    fn gate(value: &str) -> (Vec<String>, Vec<(Code, String)>) {
        let text = raw(value);
        let mut diagnostics = Vec::new();
        let metrics = ["share_ok".to_owned(), "p99".to_owned()];
        let subjects = ["rows".to_owned()];
        let facts = GateFacts {
            gate: "g",
            bench: "b",
            metrics: Some(&metrics),
            subjects: Some(&subjects),
            is_stream: &|name| name == "docs",
        };
        let statement = parse(&text, &mut diagnostics);
        let columns = statement.and_then(|statement| check_gate(&statement, &facts, &mut diagnostics));
        let shown =
            columns.into_iter().flatten().map(|column| format!("{}: {}", column.name, column.ty)).collect();
        (shown, diagnostics.iter().map(|found| (found.code, marked(value, found).to_owned())).collect())
    }

    #[test]
    fn result_columns_of_a_gate_have_types() {
        let (columns, found) = gate(
            "WITH past AS (
                SELECT median(value) AS v, mad(value) AS spread, count(*) AS n FROM history WHERE machine = this_machine() AND metric = 'p99'
             ), now_ AS (SELECT avg(c.value) AS v, max(accepted) FROM current AS c WHERE c.metric IN ('p99'))
             SELECT now_.v / past.v AS slowdown, coalesce(min(past.n), 0) AS n, past.spread * 2 < 3.0 AS calm,
                    CASE metric WHEN 'share_ok' THEN 1.5 ELSE 2 END AS c, 'x' AS label, (SELECT count(*) FROM current) AS s
             FROM now_ LEFT JOIN past ON true CROSS JOIN current",
        );
        assert_eq!(found, []);
        assert_eq!(columns, ["slowdown: f64?", "n: i64", "calm: bool?", "c: f64", "label: text", "s: i64?"]);
    }

    #[test]
    fn findings_stand_at_their_token() {
        let cases: [(&str, Code, &str); 15] = [
            ("SELECT count(*) AS n FROM docs", Code::E0606, "docs"),
            ("SELECT * FROM (SELECT 1 FROM curent)", Code::E0606, "curent"),
            ("SELECT avg(value) AS v FROM current WHERE metric = 'share'", Code::E0602, "'share'"),
            ("SELECT avg(value) AS v FROM current WHERE 'p98' = current.metric", Code::E0602, "'p98'"),
            ("SELECT avg(value) AS v FROM current WHERE metric IN ('p99', 'p98')", Code::E0602, "'p98'"),
            ("SELECT CASE metric WHEN 'q' THEN 1 END AS v FROM current", Code::E0602, "'q'"),
            ("SELECT avg(value) AS v FROM current WHERE subject = 'row'", Code::E0602, "'row'"),
            ("SELECT avg(value) AS v FROM current WHERE bench = 'c'", Code::E0602, "'c'"),
            ("SELECT now() AS v FROM current", Code::E0606, "now"),
            ("SELECT CURRENT_DATE AS v FROM current", Code::E0606, "CURRENT_DATE"),
            ("SELECT * FROM read_csv('x')", Code::E0606, "read_csv"),
            ("SELECT avg(value) AS v FROM history", Code::W0602, "history"),
            ("SELECT vale FROM current", Code::E0607, "vale"),
            ("SELECT avg(value FROM current", Code::E0607, "FROM"),
            ("DELETE FROM current", Code::E0607, "DELETE"),
        ];
        for (value, code, token) in cases {
            assert_eq!(gate(value).1, [(code, token.to_owned())], "{value}");
        }
    }

    #[test]
    fn machine_in_a_join_is_a_condition() {
        for value in [
            "SELECT avg(h.value) AS v FROM history AS h JOIN current AS c ON h.machine = c.machine",
            "SELECT avg(value) AS v FROM history JOIN current USING (machine)",
        ] {
            assert_eq!(gate(value).1, [], "{value}");
        }
    }

    #[test]
    fn tables_leave_out_common_table_expressions_where_they_are_visible() {
        let text = raw(
            "WITH a AS (SELECT * FROM b) SELECT * FROM a JOIN \"p.Rows\" ON true, (WITH c AS (SELECT 1) SELECT * FROM c) WHERE x IN (SELECT x FROM C)",
        );
        let mut diagnostics = Vec::new();
        let statement = parse(&text, &mut diagnostics).expect("parses");
        let names: Vec<String> = statement.tables().into_iter().map(|table| table.name).collect();
        assert_eq!(names, ["b", "p.Rows", "c"]);
    }

    #[test]
    fn an_operator_reads_streams_and_is_deterministic() {
        let text =
            raw("SELECT i.id, lower(i.t) AS t, random() AS r, o.x FROM input i JOIN other o USING (id)");
        let mut diagnostics = Vec::new();
        let statement = parse(&text, &mut diagnostics).expect("parses");
        let column = |name: &str, ty: Type| Column { name: name.to_owned(), ty };
        let input = vec![column("id", Type::U32), column("t", Type::Text.optional())];
        let columns = check_operator(&statement, &[("input".to_owned(), input)], &mut diagnostics);
        let shown: Vec<String> =
            columns.expect("known").iter().map(|c| format!("{}: {}", c.name, c.ty)).collect();
        assert_eq!(shown, ["id: u32", "t: text?", "r: unknown", "x: unknown"]);
        assert_eq!(
            diagnostics.iter().map(|found| found.code).collect::<Vec<_>>(),
            [Code::E0606, Code::E0201]
        );
    }

    #[test]
    fn statements_that_write_are_refused() {
        for value in [
            "",
            "INSERT INTO a VALUES (1)",
            "SELECT 1; SELECT 2",
            "SELECT 1 INTO t",
            "WITH a AS (SELECT 1) DELETE FROM b",
            "VALUES (1)",
        ] {
            let mut diagnostics = Vec::new();
            assert!(parse(&raw(value), &mut diagnostics).is_none(), "{value}");
            assert_eq!(diagnostics.len(), 1, "{value}");
            assert_eq!(diagnostics[0].code, Code::E0607, "{value}");
        }
    }

    #[test]
    fn lines_and_characters_are_found_again() {
        let value = "SELECT 'é',\n  'ü' AS x oops\nFROM current";
        let mut diagnostics = Vec::new();
        assert!(parse(&raw(value), &mut diagnostics).is_none());
        assert_eq!(marked(value, &diagnostics[0]), "oops");
    }
}
