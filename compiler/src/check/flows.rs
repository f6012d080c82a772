//! Streams by name, and flows of pipelines step by step.
//!
//! A flow is typed when its stream is first asked for. Flows that are being typed are kept in a list, so that a cycle is found
//! where it closes and every part of it can be named.

use super::context::{Context, Stream, StreamKey, Visit};
use super::operators::{self, Step};
use super::types::{Fit, check_type, fit, report_mismatch};
use crate::diagnostic::{Code, Diagnostic};
use crate::graph::{Class, Effect};
use crate::op::Op;
use crate::resolve::suggest::suggest;
use crate::resolve::{DeclKind, DeclarationId};
use crate::source::Span;
use crate::syntax::ast::{self, ExprKind, ItemKind, Stage};
use crate::types::{Column, Type};

/// Flows that may be typed inside each other. Declarations are typed after what they name, so only a cycle or streams within
/// one pipeline come near it; each level takes a few KiB of stack.
const FLOW_DEPTH: usize = 128;

/// Declarations that streams can be named by.
const STREAM_KINDS: &[DeclKind] = &[DeclKind::Source, DeclKind::Pipeline, DeclKind::Trajectory];

/// The stream that a whole path names; reports and gives `None` if there is none.
pub(crate) fn stream(ctx: &mut Context<'_>, path: &ast::Path) -> Option<(StreamKey, Stream)> {
    let (key, stream, rest) = stream_prefix(ctx, path)?;
    let Some(extra) = rest.first() else { return Some((key, stream)) };
    let message = match ctx.get(key.declaration).kind {
        DeclKind::Pipeline => format!("stream `{}` has no part `{}`", stream.name, extra.name),
        _ => format!("`{}` has no part `{}`", stream.name, extra.name),
    };
    let parts: Vec<String> = ctx
        .streams
        .keys()
        .filter(|other| other.declaration == key.declaration && key.part.is_none())
        .filter_map(|other| other.part.clone())
        .collect();
    let diagnostic = Diagnostic::new(Code::E0201, message, extra.span, "not declared");
    let diagnostic = if parts.is_empty() {
        diagnostic.note(format!("`{}` is not split", stream.name))
    } else {
        diagnostic.note(format!("parts: {}", parts.join(", ")))
    };
    ctx.report(suggest(diagnostic, &extra.name, extra.span, parts.iter().map(String::as_str)));
    None
}

/// The stream that a path begins with, and the segments after it: `corpus.chunks` of `corpus.chunks.text`.
pub(crate) fn stream_prefix<'p>(
    ctx: &mut Context<'_>,
    path: &'p ast::Path,
) -> Option<(StreamKey, Stream, &'p [ast::Ident])> {
    let first = &path.segments[0];
    if let Some((pipeline, visible)) = ctx.inside
        && let Some(flow) =
            flow_names(ctx, pipeline).into_iter().take(visible).find(|name| *name == first.name)
    {
        let key = StreamKey { declaration: pipeline, part: Some(flow) };
        let stream = stream_of(ctx, &key, path)?;
        return Some((key, stream, &path.segments[1..]));
    }
    let Some((declaration, used)) = ctx.declaration_prefix(path) else {
        report_unknown_stream(ctx, path);
        return None;
    };
    if !STREAM_KINDS.contains(&declaration.kind) {
        let is = declaration.kind.with_article();
        let message = format!("`{}` is {is}, expected a stream", declaration.name);
        ctx.report(Diagnostic::new(Code::E0209, message, path.span, format!("declared as {is}")));
        return None;
    }
    let next = path.segments.get(used);
    if declaration.kind == DeclKind::Pipeline {
        let flows = flow_names(ctx, declaration.id);
        let Some(next) = next else {
            let message = format!("`{}` is a pipeline, expected a stream", declaration.name);
            let mut diagnostic = Diagnostic::new(Code::E0209, message, path.span, "declared as a pipeline");
            if let Some(last) = flows.last() {
                diagnostic = diagnostic.help(format!("name one of its flows: `{}.{last}`", path.text()));
            }
            ctx.report(diagnostic);
            return None;
        };
        if !flows.contains(&next.name) {
            let message = format!("unknown flow `{}` of pipeline `{}`", next.name, declaration.local);
            let diagnostic = Diagnostic::new(Code::E0201, message, next.span, "not declared");
            ctx.report(suggest(diagnostic, &next.name, next.span, flows.iter().map(String::as_str)));
            return None;
        }
        let key = StreamKey { declaration: declaration.id, part: Some(next.name.clone()) };
        let stream = stream_of(ctx, &key, path)?;
        return Some((key, stream, &path.segments[used + 1..]));
    }
    let whole = StreamKey { declaration: declaration.id, part: None };
    let stream = stream_of(ctx, &whole, path)?;
    if let Some(next) = next {
        let key = StreamKey { declaration: declaration.id, part: Some(next.name.clone()) };
        if let Some(part) = ctx.streams.get(&key) {
            return Some((key, part.clone(), &path.segments[used + 1..]));
        }
    }
    Some((whole, stream, &path.segments[used..]))
}

/// Names of the flows of a pipeline, from the top; those of flows that were not understood included.
pub(crate) fn flow_names(ctx: &Context<'_>, id: DeclarationId) -> Vec<String> {
    let ItemKind::Pipeline { stages, .. } = &ctx.item(id).kind else { return Vec::new() };
    let name = |stage: &Stage| match stage {
        Stage::Flow(flow) => Some(flow.name.name.clone()),
        Stage::Bad { name, .. } => name.as_ref().map(|name| name.name.clone()),
        Stage::Write { .. } => None,
    };
    stages.iter().filter_map(name).collect()
}

fn report_unknown_stream(ctx: &mut Context<'_>, path: &ast::Path) {
    if ctx.is_of_lost_import(path) {
        return;
    }
    let wrong = path.text();
    let first = &path.segments[0];
    let own = ctx.inside.map(|(pipeline, visible)| (flow_names(ctx, pipeline), visible));
    let is_later = own
        .as_ref()
        .is_some_and(|(flows, visible)| flows.iter().skip(*visible).any(|name| *name == first.name));
    let mut names = ctx.visible(STREAM_KINDS);
    names.extend(own.into_iter().flat_map(|(flows, visible)| flows.into_iter().take(visible)));
    let diagnostic =
        Diagnostic::new(Code::E0201, format!("unknown stream `{wrong}`"), path.span, "not declared");
    if is_later {
        ctx.report(
            diagnostic
                .note(format!("flow `{}` stands further down: flows run from top to bottom", first.name)),
        );
        return;
    }
    // A wrong first name is what is usually misspelt; the rest of the path stays.
    let span = if path.segments.len() > 1 { first.span } else { path.span };
    ctx.report(suggest(diagnostic, &first.name, span, names.iter().map(String::as_str)));
}

/// The typed stream of an address. `None` only if it closes a cycle, which is reported.
fn stream_of(ctx: &mut Context<'_>, key: &StreamKey, path: &ast::Path) -> Option<Stream> {
    if let Some(known) = ctx.streams.get(key) {
        return Some(known.clone());
    }
    if let Some(visit) = ctx.visits.last_mut() {
        visit.reading = Some((path.text(), path.span));
    }
    match ctx.get(key.declaration).kind {
        DeclKind::Source => super::sources::check_source(ctx, key.declaration),
        DeclKind::Trajectory => super::later::trajectory(ctx, key.declaration),
        _ => {
            if let Some(start) = ctx.visits.iter().position(|visit| visit.key == *key) {
                report_cycle(ctx, start);
                return None;
            }
            if ctx.visits.len() >= FLOW_DEPTH {
                let message = format!("flows read each other more than {FLOW_DEPTH} deep");
                ctx.report(Diagnostic::new(Code::E0501, message, path.span, "one too many"));
                return None;
            }
            check_flow(ctx, key);
        }
    }
    let name = ctx.get(key.declaration).name.clone();
    Some(ctx.streams.get(key).cloned().unwrap_or_else(|| Stream::unknown(name)))
}

/// SQL names of all streams of the program: `source`, `pipeline_flow`, and as written, `pipeline.flow`.
pub(crate) fn table_names(ctx: &Context<'_>) -> Vec<(String, StreamKey)> {
    let mut names = Vec::new();
    for declaration in &ctx.program.declarations {
        match declaration.kind {
            DeclKind::Source | DeclKind::Trajectory => {
                let key = StreamKey { declaration: declaration.id, part: None };
                names.push((declaration.name.clone(), key));
            }
            DeclKind::Pipeline => {
                for flow in flow_names(ctx, declaration.id) {
                    let key = StreamKey { declaration: declaration.id, part: Some(flow.clone()) };
                    names.push((format!("{}_{flow}", declaration.name.replace('.', "_")), key.clone()));
                    names.push((format!("{}.{flow}", declaration.name), key));
                }
            }
            _ => {}
        }
    }
    names
}

/// The stream that SQL names as a table; `None` if there is none, which the caller reports.
pub(crate) fn stream_of_table(ctx: &mut Context<'_>, table: &str, span: Span) -> Option<Stream> {
    let (_, key) = table_names(ctx).into_iter().find(|(name, _)| name == table)?;
    ctx.used.insert(key.declaration);
    let path = ast::Path { segments: vec![ast::Ident { name: table.to_owned(), span }], span };
    stream_of(ctx, &key, &path)
}

fn report_cycle(ctx: &mut Context<'_>, start: usize) {
    let mut visits = ctx.visits[start..].to_vec();
    // A cycle is shown from the pipeline that is written first, wherever it was entered.
    let first =
        visits.iter().enumerate().min_by_key(|(_, visit)| visit.key.declaration).map_or(0, |(idx, _)| idx);
    visits.rotate_left(first);
    let mut names: Vec<&str> = visits.iter().map(|visit| visit.pipeline.as_str()).collect();
    names.dedup();
    if names.len() > 1 && names.first() == names.last() {
        names.pop();
    }
    names.push(&visits[0].pipeline);
    let Some((reading, span)) = visits[0].reading.clone() else { return };
    let message = format!("pipelines form a cycle: {}", names.join(" -> "));
    let label = format!("`{}` reads `{reading}`", visits[0].pipeline);
    let mut diagnostic = Diagnostic::new(Code::E0402, message, span, label);
    for visit in &visits[1..] {
        if let Some((reading, span)) = &visit.reading {
            diagnostic =
                diagnostic.note(format!("`{}` reads `{reading}` at {}", visit.pipeline, ctx.place(*span)));
        }
    }
    ctx.report(diagnostic);
}

/// Types all flows and writes of a pipeline.
pub(crate) fn check_pipeline(ctx: &mut Context<'_>, id: DeclarationId) {
    let ItemKind::Pipeline { stages, .. } = &ctx.item(id).kind else { return };
    let declaration = ctx.get(id);
    let mut seen: Vec<(&str, Span)> = Vec::new();
    for stage in stages {
        let Stage::Flow(flow) = stage else { continue };
        let name = flow.name.name.as_str();
        if let Some((_, first)) = seen.iter().find(|(other, _)| *other == name) {
            let diagnostic = crate::resolve::scope::defined_twice(ctx.sources(), &flow.name, *first);
            ctx.report(diagnostic);
            continue;
        }
        seen.push((name, flow.name.span));
        let key = StreamKey { declaration: id, part: Some(flow.name.name.clone()) };
        if !ctx.streams.contains_key(&key) {
            check_flow(ctx, &key);
        }
    }
    ctx.within(id, |ctx| {
        for (stage_idx, stage) in stages.iter().enumerate() {
            if let Stage::Write { stream, sink, span } = stage {
                let above =
                    stages[..stage_idx].iter().filter(|stage| !matches!(stage, Stage::Write { .. })).count();
                ctx.inside = Some((id, above));
                super::writes::check_write(ctx, declaration, stream, sink, *span);
                ctx.inside = None;
            }
        }
    });
}

/// Types one flow and remembers its stream, an unknown one after an error.
fn check_flow(ctx: &mut Context<'_>, key: &StreamKey) {
    let ItemKind::Pipeline { stages, .. } = &ctx.item(key.declaration).kind else { return };
    let declaration = ctx.get(key.declaration);
    let Some(name) = key.part.as_deref() else { return };
    let full = format!("{}.{name}", declaration.name);
    let flows = stages.iter().filter(|stage| !matches!(stage, Stage::Write { .. }));
    let found = flows.enumerate().find_map(|(idx, stage)| match stage {
        Stage::Flow(flow) if flow.name.name == name => Some((idx, flow)),
        _ => None,
    });
    let Some((flow_idx, flow)) = found else {
        ctx.streams.insert(key.clone(), Stream::unknown(full));
        return;
    };
    ctx.visits.push(Visit { pipeline: declaration.name.clone(), key: key.clone(), reading: None });
    let outer = ctx.inside.replace((key.declaration, flow_idx));
    let typed = ctx.within(key.declaration, |ctx| check_steps(ctx, &full, flow));
    ctx.inside = outer;
    ctx.visits.pop();
    let stream = Stream { name: full.clone(), ..typed };
    ctx.graph.streams.extend(stream.node.map(|node| (full, node)));
    ctx.streams.insert(key.clone(), stream);
}

fn check_steps(ctx: &mut Context<'_>, full: &str, flow: &ast::Flow) -> Stream {
    let mut step_idx = 0;
    let mut current = check_operand(ctx, full, &flow.operand, &mut step_idx);
    for written in &flow.steps {
        let Some(call) = &written.call else {
            current = Stream::unknown(current.name);
            continue;
        };
        step_idx += 1;
        let step = Step {
            flow: full,
            idx: step_idx,
            callee: &call.callee,
            args: &call.args,
            alias: written.alias.as_ref(),
            span: call.span,
        };
        current = operators::apply(ctx, &step, current);
    }
    match &flow.ty {
        Some(ty) => declare(ctx, full, flow, ty, current),
        None => current,
    }
}

/// The stream that a flow begins with: a name, or an operator whose first argument is the stream.
fn check_operand(ctx: &mut Context<'_>, full: &str, operand: &ast::Expr, step_idx: &mut usize) -> Stream {
    match &operand.kind {
        ExprKind::Path(path) => match stream(ctx, path) {
            Some((_, found)) => found,
            None => Stream::unknown(path.text()),
        },
        ExprKind::Paren(inner) => check_operand(ctx, full, inner, step_idx),
        ExprKind::Call(call) => {
            let Some((first, args)) = call.args.split_first().filter(|(first, _)| first.name.is_none())
            else {
                let name = call.callee.text();
                let message = format!("operator `{name}` at the start of a flow needs a stream");
                ctx.report(Diagnostic::new(
                    Code::E0302,
                    message,
                    call.span,
                    "the first argument is the stream",
                ));
                return Stream::unknown(name);
            };
            let input = check_operand(ctx, full, &first.value, step_idx);
            *step_idx += 1;
            let step =
                Step { flow: full, idx: *step_idx, callee: &call.callee, args, alias: None, span: call.span };
            operators::apply(ctx, &step, input)
        }
        ExprKind::Bad => Stream::unknown(full),
        _ => {
            let message = "a flow begins with a stream";
            ctx.report(Diagnostic::new(Code::E0303, message, operand.span, "not a stream"));
            Stream::unknown(full)
        }
    }
}

/// Checks a flow against its declared type and keeps the declared columns, in that order; omitted keys stay hidden.
fn declare(
    ctx: &mut Context<'_>,
    full: &str,
    flow: &ast::Flow,
    written: &ast::Type,
    stream: Stream,
) -> Stream {
    let declared = match check_type(ctx, written) {
        Type::Stream(columns) => columns,
        Type::Unknown => return Stream::unknown(full),
        other => {
            let message = format!("type mismatch: a flow is a stream, found {other}");
            ctx.report(Diagnostic::new(Code::E0303, message, written.span, "expected stream<{ ... }>"));
            return Stream::unknown(full);
        }
    };
    if stream.is_unknown {
        // The declared columns are as good as known, so the users of the flow are checked.
        return Stream { columns: declared, is_unknown: false, node: None, ..stream };
    }
    let mut is_right = true;
    let mut columns: Vec<Column> = Vec::with_capacity(declared.len());
    for column in declared {
        let span = declared_span(written, &column.name);
        let Some(found) = stream.column(&column.name) else {
            let scope = super::expressions::Scope::of(&stream);
            super::expressions::report_column(ctx, &scope, &ast::Ident { name: column.name.clone(), span });
            is_right = false;
            continue;
        };
        match fit(&found.ty, &column.ty) {
            // The column keeps the identity that the stream knows, such as its tokenizer.
            Fit::Same => {
                let ty = if column.ty.is_optional() { found.ty.clone().optional() } else { found.ty.clone() };
                columns.push(Column { name: column.name, ty });
            }
            Fit::Widen => columns.push(column),
            Fit::No(code) => {
                report_mismatch(ctx, code, &found.ty.clone(), &column.ty, span);
                is_right = false;
            }
        }
    }
    if !is_right {
        return Stream::unknown(full);
    }
    let mut pairs: Vec<(String, String)> =
        columns.iter().map(|column| (column.name.clone(), column.name.clone())).collect();
    let mut key = Vec::with_capacity(stream.key.len());
    for name in &stream.key {
        if columns.iter().any(|column| column.name == *name) {
            key.push(name.clone());
            continue;
        }
        let hidden = operators::hidden(name);
        if let Some(column) = stream.column(name) {
            columns.push(Column { name: hidden.clone(), ty: column.ty.clone() });
            pairs.push((hidden.clone(), name.clone()));
        }
        key.push(hidden);
    }
    if columns == stream.columns {
        return Stream { key, ..stream };
    }
    let node = stream.node.map(|input| {
        ctx.add_node(super::context::NewNode {
            op: Op::Project { columns: pairs },
            inputs: vec![input],
            schema: columns.clone(),
            key: key.clone(),
            class: Class::RowWise,
            effect: Effect::Pure,
            version: 1,
            label: format!("{full} type"),
            span: flow.name.span,
        })
    });
    Stream { columns, key, node, ..stream }
}

/// Where a declared column stands: its name in the written record, else the whole type.
fn declared_span(written: &ast::Type, name: &str) -> Span {
    let ast::TypeKind::Stream(row) = &written.kind else { return written.span };
    let ast::TypeKind::Record(fields) = &row.kind else { return row.span };
    fields.iter().find(|field| field.name.name == name).map_or(row.span, |field| field.name.span)
}
