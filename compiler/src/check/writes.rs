//! Writes: streams and their sinks.

use super::context::{Context, NewNode, Stream};
use super::expressions::{Scope, check_columns, check_expr};
use super::fields::{Fields, check_arguments};
use crate::catalog::declarations::SINKS;
use crate::diagnostic::{Code, Diagnostic};
use crate::graph::{Class, Effect};
use crate::op::{Op, Write};
use crate::resolve::Declaration;
use crate::resolve::suggest::suggest;
use crate::source::Span;
use crate::syntax::ast;
use crate::types::Type;

/// Types `write stream to sink(...)` and adds its node.
pub(crate) fn check_write(
    ctx: &mut Context<'_>,
    pipeline: &Declaration,
    path: &ast::Path,
    sink: &ast::Call,
    span: Span,
) {
    let found = super::flows::stream(ctx, path);
    let kind = sink.callee.text();
    let Some(format) = SINKS.iter().find(|format| format.name == kind) else {
        let names: Vec<&str> = SINKS.iter().map(|format| format.name).collect();
        let message = format!("`{kind}` is not a kind of sink");
        let diagnostic = Diagnostic::new(Code::E0205, message, sink.callee.span, "not a choice")
            .note(format!("choices: {}", names.join(", ")));
        ctx.report(suggest(diagnostic, &kind, sink.callee.span, names));
        return;
    };
    let owner = format!("sink `{kind}`");
    let args =
        check_arguments(ctx, &owner, sink.callee.span, &sink.args, format.parameters, format.positional);
    let Some((_, stream)) = found else { return };
    if stream.is_unknown {
        return;
    }
    let mut is_right = !args.has_errors;
    if kind == "csv" {
        is_right &= check_cells(ctx, &stream, path.span);
    }
    let Some(write) = read_write(ctx, &stream, &kind, &args, sink.callee.span) else { return };
    let Some(input) = stream.node.filter(|_| is_right) else { return };
    let label = format!("{}/{}", pipeline.name, write.path);
    let node = ctx.add_node(NewNode {
        op: Op::Write(write),
        inputs: vec![input],
        schema: Vec::new(),
        key: Vec::new(),
        class: Class::Sink,
        effect: Effect::Sink,
        version: 1,
        label: label.clone(),
        span,
    });
    ctx.graph.outputs.push((label, node));
}

fn check_cells(ctx: &mut Context<'_>, stream: &Stream, span: Span) -> bool {
    let nested = stream.columns.iter().find(|column| {
        let ty = column.ty.required();
        let is_nested =
            matches!(ty, Type::List(_) | Type::Map(..) | Type::Record(_) | Type::Span | Type::Message);
        (is_nested || matches!(ty, Type::Vector { .. } | Type::Tokens(_))) && !column.name.starts_with('~')
    });
    let Some(column) = nested else { return true };
    let message = format!("column `{}` is {}, which a csv cell cannot hold", column.name, column.ty);
    let diagnostic = Diagnostic::new(Code::E0303, message, span, "not single values");
    ctx.report(diagnostic.help("drop it with `select`, or write jsonl"));
    false
}

fn read_write(
    ctx: &mut Context<'_>,
    stream: &Stream,
    kind: &str,
    args: &Fields<'_>,
    callee: Span,
) -> Option<Write> {
    let scope = Scope::of(stream);
    let key = match args.expr("key") {
        Some(expr) => check_columns(ctx, &scope, expr)?.into_iter().map(|column| column.name).collect(),
        None => stream.key.clone(),
    };
    if key.is_empty() && kind != "files" {
        let message = format!("missing parameter `key` of sink `{kind}`");
        let diagnostic = Diagnostic::new(Code::E0207, message, callee, "the stream has no key");
        ctx.report(diagnostic.help("add `key = column`: rows are sorted by it"));
        return None;
    }
    let partition: Vec<String> = match args.expr("partition") {
        Some(expr) => check_columns(ctx, &scope, expr)?.into_iter().map(|column| column.name).collect(),
        None => Vec::new(),
    };
    let text = |ctx: &mut Context<'_>, name: &str| {
        args.expr(name).map(|expr| check_expr(ctx, &scope, expr, Some(&Type::Text)))
    };
    let (file_name, file_body) = (text(ctx, "name"), text(ctx, "body"));
    let is_unknown = |expr: &Option<crate::op::Expr>| expr.as_ref().is_some_and(|expr| expr.ty.is_unknown());
    if is_unknown(&file_name) || is_unknown(&file_body) {
        return None;
    }
    let field = if kind == "files" { "dir" } else { "path" };
    let path = args.text(field)?;
    let path = ctx.expand_home(&path, args.span(field)?);
    Some(Write {
        kind: kind.to_owned(),
        path,
        base: ctx.program.modules[ctx.module].folder.clone(),
        key,
        partition,
        file_name,
        file_body,
        overwrite: args.bool("overwrite")?,
    })
}
