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
    let path_span = args.span(field)?;
    let path = ctx.expand_home(&path, path_span);
    if !is_path_free(ctx, &path, path_span) {
        return None;
    }
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

/// Whether a path lies in the folder of the program (E2501) and no other sink of the program writes there (E0202).
fn is_path_free(ctx: &mut Context<'_>, path: &str, span: Span) -> bool {
    let Some(normal) = normal_path(path) else {
        let message = format!("output path `{path}` leaves the folder of the program");
        let diagnostic = Diagnostic::new(Code::E2501, message, span, "leaves its folder");
        ctx.report(diagnostic.help("write a relative path, for example below `out/`"));
        return false;
    };
    let base = &ctx.program.modules[ctx.module].folder;
    let earlier = ctx.graph.nodes.iter().find(|node| match &node.op {
        Op::Write(write) => write.base == *base && normal_path(&write.path).as_ref() == Some(&normal),
        _ => false,
    });
    let Some(first) = earlier.map(|node| node.span) else { return true };
    let message = format!("path `{path}` is written twice");
    let diagnostic = Diagnostic::new(Code::E0202, message, span, "written again here");
    ctx.report(diagnostic.label(first, "first written here").help("give each output a path of its own"));
    false
}

/// The parts of a relative path without `.` and `..`; `None` for one that leaves its folder.
fn normal_path(path: &str) -> Option<Vec<&str>> {
    let bytes = path.as_bytes();
    let has_drive = bytes.get(1) == Some(&b':') && bytes[0].is_ascii_alphabetic();
    if path.starts_with(['/', '\\']) || has_drive {
        return None;
    }
    let mut parts = Vec::new();
    for part in path.split(['/', '\\']) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::normal_path;

    #[test]
    fn paths_that_leave_their_folder_have_no_normal_form() {
        assert_eq!(normal_path("./a//b/../c.jsonl"), Some(vec!["a", "c.jsonl"]));
        for path in ["/a", "../a", "a/../../b", "C:\\a", "\\a", "a\\..\\..\\b"] {
            assert_eq!(normal_path(path), None, "{path}");
        }
    }
}
