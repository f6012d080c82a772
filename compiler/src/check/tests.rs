//! Tests: rows for sources, a graph of their own, and what must hold of its streams.
//!
//! ```text
//! operators that the pipeline needs, without writes
//!   Scan of a given source  -->  Rows        Scan of any other source  -->  Rows without rows
//! ```
//!
//! The operators are those of the program, already typed; nothing is lowered twice. Running is the engine's.

use std::collections::{BTreeMap, BTreeSet};

use super::benches::{sources_of, upstream};
use super::context::{Context, Stream, StreamKey};
use super::expressions::{Aggregates, Scope, bare_columns, check_expr, constant};
use super::flows;
use super::gates::paths_of;
use crate::diagnostic::{Code, Diagnostic};
use crate::graph::{Graph, NodeId};
use crate::hir;
use crate::op::{self, Op, Value};
use crate::resolve::{DeclKind, DeclarationId};
use crate::source::Span;
use crate::syntax::ast::{self, BinaryOp, ExprKind, ItemKind};
use crate::types::{Column, Type};

/// Rows of the sources of a test by the source's node.
type GivenRows = BTreeMap<NodeId, Vec<Vec<Value>>>;

/// Checks all tests and gives those without errors.
pub(crate) fn check_all(ctx: &mut Context<'_>) -> Vec<hir::Test> {
    let ids: Vec<DeclarationId> = ctx.of_kind(DeclKind::Test).map(|declaration| declaration.id).collect();
    ids.into_iter().filter_map(|id| ctx.within(id, |ctx| check_test(ctx, id))).collect()
}

fn check_test(ctx: &mut Context<'_>, id: DeclarationId) -> Option<hir::Test> {
    let item = ctx.item(id);
    let ItemKind::Test { target, givens, expects, .. } = &item.kind else { return None };
    let errors_before = ctx.error_count();
    let pipeline = ctx.expect(target, &[DeclKind::Pipeline])?;
    let flows = flow_nodes(ctx, pipeline.id);
    let mut rows = GivenRows::new();
    // In a test the flows of the pipeline are named without its prefix; `given` means the source where both have a name.
    let inside = Some((pipeline.id, flows::flow_names(ctx, pipeline.id).len()));
    let outer = ctx.inside.take();
    for given in givens {
        ctx.inside = inside.filter(|_| ctx.lookup(&given.stream).is_none());
        check_given(ctx, &target.text(), &flows, given, &mut rows);
    }
    ctx.inside = inside;
    let expects: Vec<Option<hir::Expect>> = expects.iter().map(|expect| check_expect(ctx, expect)).collect();
    ctx.inside = outer;
    if ctx.error_count() > errors_before {
        return None;
    }
    let expects = expects.into_iter().collect::<Option<Vec<_>>>()?;
    let named = expects.iter().filter_map(|expect| ctx.graph.stream(&expect.stream));
    let roots = flows.iter().copied().chain(named).collect();
    Some(hir::Test {
        name: ctx.get(id).name.clone(),
        target: pipeline.name.clone(),
        graph: test_graph(&ctx.graph, roots, &rows),
        expects,
        span: item.span,
    })
}

/// Nodes of the flows of a pipeline that are typed.
fn flow_nodes(ctx: &Context<'_>, pipeline: DeclarationId) -> Vec<NodeId> {
    let streams = ctx.streams.iter().filter(|(key, _)| key.declaration == pipeline);
    streams.filter_map(|(_, stream)| stream.node).collect()
}

/// `given source = [row(...), ...]`
fn check_given(
    ctx: &mut Context<'_>,
    target: &str,
    flows: &[NodeId],
    given: &ast::Given,
    rows: &mut GivenRows,
) {
    let Some((key, stream)) = flows::stream(ctx, &given.stream) else { return };
    let is_source = key.part.is_none() && ctx.get(key.declaration).kind == DeclKind::Source;
    let is_read =
        stream.node.is_some_and(|node| flows.iter().any(|flow| upstream(ctx, *flow).contains(&node)));
    if !stream.is_unknown && (!is_source || (!is_read && !flows.is_empty())) {
        let name = given.stream.text();
        let message = format!("given stream `{name}` is not a source of pipeline `{target}`");
        let label = if is_source { "not read by it" } else { "not a source" };
        let mut diagnostic = Diagnostic::new(Code::E0605, message, given.stream.span, label);
        let mut sources: Vec<String> = flows.iter().flat_map(|flow| sources_of(ctx, *flow)).collect();
        sources.sort();
        sources.dedup();
        if !sources.is_empty() {
            diagnostic = diagnostic.note(format!("`{target}` reads {}", sources.join(", ")));
        }
        ctx.report(diagnostic);
        return;
    }
    let ExprKind::List(elements) = &given.rows.kind else {
        if !matches!(given.rows.kind, ExprKind::Bad) {
            let message = "rows of a test are a list of `row(...)`";
            ctx.report(Diagnostic::new(Code::E0303, message, given.rows.span, "expected a list"));
        }
        return;
    };
    let read: Vec<Option<Vec<Value>>> =
        elements.iter().map(|element| check_row(ctx, &stream, element)).collect();
    let (Some(node), Some(read)) = (stream.node, read.into_iter().collect::<Option<Vec<_>>>()) else {
        return;
    };
    if rows.insert(node, read).is_some() {
        let message = format!("rows of `{}` are given twice", given.stream.text());
        ctx.report(Diagnostic::new(Code::E0202, message, given.stream.span, "given again here"));
    }
}

/// `row(column = value, ...)`; the cells in the order of the stream's columns.
fn check_row(ctx: &mut Context<'_>, stream: &Stream, element: &ast::Expr) -> Option<Vec<Value>> {
    let call = match &element.kind {
        ExprKind::Call(call) if call.callee.text() == "row" => call,
        ExprKind::Bad => return None,
        _ => {
            ctx.report(Diagnostic::new(
                Code::E0303,
                "a row of a test is `row(...)`",
                element.span,
                "expected `row(...)`",
            ));
            return None;
        }
    };
    let errors_before = ctx.error_count();
    let mut cells: BTreeMap<&str, Value> = BTreeMap::new();
    for argument in &call.args {
        let Some(name) = &argument.name else {
            let message = "cells of a row are named";
            ctx.report(Diagnostic::new(Code::E0302, message, argument.span, "expected `column = value`"));
            continue;
        };
        let Some(column) = stream.column(&name.name).cloned() else {
            if !stream.is_unknown {
                super::expressions::report_column(ctx, &Scope::of(stream), name);
            }
            continue;
        };
        if let Some(value) = cell(ctx, &argument.value, &column.ty)
            && cells.insert(&name.name, value).is_some()
        {
            let message = format!("column `{}` of the row is given twice", name.name);
            ctx.report(Diagnostic::new(Code::E0202, message, name.span, "given again here"));
        }
    }
    if ctx.error_count() > errors_before || stream.is_unknown {
        return None;
    }
    let absent: Vec<&Column> = stream
        .columns
        .iter()
        .filter(|column| !cells.contains_key(column.name.as_str()) && !column.ty.is_optional())
        .collect();
    if let Some(first) = absent.first() {
        let names: Vec<String> = absent.iter().map(|column| format!("`{}`", column.name)).collect();
        let message = format!("missing column {} in a row of `{}`", names.join(", "), stream.name);
        let diagnostic = Diagnostic::new(
            Code::E0207,
            message,
            call.span,
            format!("`{}` is {}, not null", first.name, first.ty),
        );
        ctx.report(diagnostic);
        return None;
    }
    let cell_of = |column: &Column| cells.get(column.name.as_str()).cloned().unwrap_or(Value::Null);
    Some(stream.columns.iter().map(cell_of).collect())
}

/// A constant of a column's type; records are `row(...)` inside each other.
fn cell(ctx: &mut Context<'_>, expr: &ast::Expr, ty: &Type) -> Option<Value> {
    match (&expr.kind, ty.required()) {
        (ExprKind::Call(call), Type::Record(_) | Type::Message | Type::Span)
            if call.callee.text() == "row" =>
        {
            let columns = super::expressions::fields_of(ty.required())?;
            let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
            let record = Stream { columns, is_unknown: false, ..Stream::unknown("the record") };
            let cells = check_row(ctx, &record, expr)?;
            Some(Value::Record(names.into_iter().zip(cells).collect()))
        }
        (ExprKind::List(elements), Type::List(element)) => {
            let cells: Vec<Option<Value>> = elements.iter().map(|item| cell(ctx, item, element)).collect();
            cells.into_iter().collect::<Option<Vec<_>>>().map(Value::List)
        }
        _ => constant(ctx, expr, ty),
    }
}

/// What a path of an expectation names.
enum Named {
    /// A stream, or a column of it; how many segments name the stream.
    Stream(StreamKey, Box<Stream>, usize),
    Param,
    /// Reported.
    Wrong,
}

fn name_of(ctx: &mut Context<'_>, path: &ast::Path) -> Named {
    let is_flow = ctx.inside.is_some_and(|(pipeline, _)| {
        flows::flow_names(ctx, pipeline).iter().any(|flow| *flow == path.segments[0].name)
    });
    if !is_flow && ctx.lookup(path).is_some_and(|(id, _)| ctx.get(id).kind == DeclKind::Param) {
        return Named::Param;
    }
    match flows::stream_prefix(ctx, path) {
        Some((key, stream, rest)) => Named::Stream(key, Box::new(stream), path.segments.len() - rest.len()),
        None => Named::Wrong,
    }
}

/// `expect condition`: over the columns of one stream.
fn check_expect(ctx: &mut Context<'_>, expect: &ast::Expr) -> Option<hir::Expect> {
    let mut paths = Vec::new();
    paths_of(expect, &mut paths);
    let mut found: Option<(StreamKey, Stream)> = None;
    for path in paths {
        match name_of(ctx, path) {
            Named::Wrong => return None,
            Named::Param => {}
            Named::Stream(key, stream, _) => match &found {
                None => found = Some((key, *stream)),
                Some((first, _)) if *first == key => {}
                Some((_, first)) => {
                    let message = "expectation names several streams";
                    let label = format!("`{}` beside `{}`", stream.name, first.name);
                    let diagnostic = Diagnostic::new(Code::E0604, message, path.span, label);
                    ctx.report(diagnostic.help("write one `expect` for each stream"));
                    return None;
                }
            },
        }
    }
    let Some((_, stream)) = found else {
        let diagnostic = Diagnostic::new(
            Code::E0604,
            "expectation names no stream",
            expect.span,
            "the same for every row",
        );
        ctx.report(diagnostic.help("name columns with their stream: `flow.column`"));
        return None;
    };
    if stream.is_unknown {
        return None;
    }
    let stripped = strip(ctx, expect);
    let scope = Scope::of(&stream).with_aggregates(Aggregates::Allowed);
    let condition = check_expr(ctx, &scope, &stripped, Some(&Type::Bool.optional()));
    if condition.ty.is_unknown() {
        return None;
    }
    let is_aggregate = holds_aggregate(&condition);
    let mut bare = Vec::new();
    bare_columns(&condition, &mut bare);
    if let (true, Some(column)) = (is_aggregate, bare.first()) {
        let message = format!("column `{column}` of single rows stands beside an aggregate");
        let diagnostic = Diagnostic::new(Code::E0303, message, expect.span, "one fact or one for every row");
        ctx.report(diagnostic.help("write two expectations, or aggregate the column: `all(collect(...))`"));
        return None;
    }
    Some(hir::Expect {
        stream: stream.name.clone(),
        condition,
        is_aggregate,
        text: ctx.sources().snippet(expect.span).to_owned(),
        shown: shown_parts(ctx, &scope, &stripped),
        span: expect.span,
    })
}

/// The expression with the stream's name taken off its paths: `rows.ok` becomes `ok`, `count(rows)` becomes `count()`.
fn strip(ctx: &mut Context<'_>, expr: &ast::Expr) -> ast::Expr {
    let inner = |ctx: &mut Context<'_>, expr: &ast::Expr| Box::new(strip(ctx, expr));
    let kind = match &expr.kind {
        ExprKind::Path(path) => match name_of(ctx, path) {
            Named::Stream(_, _, used) if used < path.segments.len() => {
                ExprKind::Path(ast::Path { segments: path.segments[used..].to_vec(), span: path.span })
            }
            _ => expr.kind.clone(),
        },
        ExprKind::Binary { op, op_span, left, right } => {
            ExprKind::Binary { op: *op, op_span: *op_span, left: inner(ctx, left), right: inner(ctx, right) }
        }
        ExprKind::Unary { op, operand } => ExprKind::Unary { op: *op, operand: inner(ctx, operand) },
        ExprKind::Paren(operand) => ExprKind::Paren(inner(ctx, operand)),
        ExprKind::List(elements) => {
            ExprKind::List(elements.iter().map(|element| strip(ctx, element)).collect())
        }
        ExprKind::Call(call) => {
            let mut args = Vec::new();
            for argument in &call.args {
                let is_stream = matches!(&argument.value.kind, ExprKind::Path(path)
                    if matches!(name_of(ctx, path), Named::Stream(_, _, used) if used == path.segments.len()));
                if is_stream && call.callee.text() == "count" {
                    continue;
                }
                args.push(ast::Argument { value: strip(ctx, &argument.value), ..argument.clone() });
            }
            ExprKind::Call(ast::Call { args, ..call.clone() })
        }
        ExprKind::Literal(_) | ExprKind::Bad => expr.kind.clone(),
    };
    ast::Expr { kind, span: expr.span }
}

fn holds_aggregate(expr: &op::Expr) -> bool {
    match &expr.kind {
        op::ExprKind::Aggregate { .. } => true,
        op::ExprKind::Literal(_) | op::ExprKind::Column(_) => false,
        op::ExprKind::Field { base, .. } | op::ExprKind::FieldOfEach { base, .. } => holds_aggregate(base),
        op::ExprKind::Call { args, .. } | op::ExprKind::List(args) => args.iter().any(holds_aggregate),
        op::ExprKind::Binary { left, right, .. } => holds_aggregate(left) || holds_aggregate(right),
        op::ExprKind::Unary { operand, .. } | op::ExprKind::Convert(operand) => holds_aggregate(operand),
    }
}

/// The values worth showing when an expectation fails: operands of comparisons and arguments of calls, without constants,
/// each text once.
fn shown_parts(ctx: &mut Context<'_>, scope: &Scope<'_>, expect: &ast::Expr) -> Vec<(String, op::Expr)> {
    let mut parts = Vec::new();
    operands_of(expect, &mut parts);
    let mut seen: BTreeSet<Span> = BTreeSet::new();
    let mut shown: Vec<(String, op::Expr)> = Vec::new();
    // The whole is typed already, so its parts have nothing new to report.
    let diagnostic_count = ctx.diagnostics.len();
    for part in parts {
        let text = ctx.sources().snippet(part.span).to_owned();
        if !seen.insert(part.span) || shown.iter().any(|(other, _)| *other == text) {
            continue;
        }
        let typed = check_expr(ctx, scope, part, None);
        if !typed.ty.is_unknown() && !matches!(typed.kind, op::ExprKind::Literal(_)) {
            shown.push((text, typed));
        }
    }
    ctx.diagnostics.truncate(diagnostic_count);
    shown
}

fn operands_of<'e>(expr: &'e ast::Expr, into: &mut Vec<&'e ast::Expr>) {
    match &expr.kind {
        ExprKind::Binary { op: BinaryOp::And | BinaryOp::Or, left, right, .. } => {
            operands_of(left, into);
            operands_of(right, into);
        }
        ExprKind::Binary { left, right, .. } => into.extend([left.as_ref(), right.as_ref()]),
        ExprKind::Unary { operand, .. } | ExprKind::Paren(operand) => operands_of(operand, into),
        ExprKind::Call(call) => into.extend(call.args.iter().map(|argument| &argument.value)),
        ExprKind::Path(_) => into.push(expr),
        ExprKind::List(_) | ExprKind::Literal(_) | ExprKind::Bad => {}
    }
}

/// The operators above `roots`, renumbered, with rows in place of files.
fn test_graph(graph: &Graph, roots: Vec<NodeId>, rows: &GivenRows) -> Graph {
    let mut needed = BTreeSet::new();
    let mut open = roots;
    while let Some(id) = open.pop() {
        if needed.insert(id) {
            open.extend(graph.node(id).inputs.iter().copied());
        }
    }
    // Ids ascend in topological order, and so do the new ones.
    let renumbered: BTreeMap<NodeId, NodeId> =
        needed.iter().enumerate().map(|(idx, id)| (*id, NodeId(idx as u32))).collect();
    let nodes = needed.iter().map(|id| {
        let mut node = graph.node(*id).clone();
        node.id = renumbered[id];
        node.inputs = node.inputs.iter().map(|input| renumbered[input]).collect();
        if matches!(node.op, Op::Scan(_)) {
            node.op = Op::Rows { rows: rows.get(id).cloned().unwrap_or_default() };
        }
        node
    });
    let kept = |names: &[(String, NodeId)]| {
        let found = names.iter().filter_map(|(name, id)| Some((name.clone(), *renumbered.get(id)?)));
        found.collect::<Vec<_>>()
    };
    Graph {
        nodes: nodes.collect(),
        streams: kept(&graph.streams),
        artifacts: kept(&graph.artifacts),
        outputs: Vec::new(),
    }
}
