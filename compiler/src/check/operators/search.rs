//! `embed`, `retrieve` and `fuse`: vectors, and hits of indexes.

use super::fusion::{check_fusion, warn_of_rank_fusion};
use super::{Applied, report_input, set_column};
use crate::check::context::{Context, IndexInfo, Stream};
use crate::check::embedders::embedder;
use crate::check::expressions::{Scope, check_column, check_expr};
use crate::check::indexes::index;
use crate::diagnostic::{Code, Diagnostic};
use crate::graph::NodeId;
use crate::op::{self, Fusion, Op};
use crate::resolve::DeclarationId;
use crate::source::Span;
use crate::syntax::ast;
use crate::types::{Column, Type};

pub(super) fn embed(ctx: &mut Context<'_>, applied: &Applied<'_>) -> Option<Stream> {
    let found = applied.first(ctx, "column");
    let embedder = embedder(ctx, applied.fields.declared("with")?)?;
    let (text, span) = found?;
    let vector = match text.ty.required() {
        Type::Text => embedder.ty.clone(),
        Type::List(element) if matches!(element.required(), Type::Text) => {
            let vector = embedder.ty.clone();
            Type::List(Box::new(if element.is_optional() { vector.optional() } else { vector }))
        }
        other => {
            report_input(ctx, applied, other, "a text or a list of texts", span);
            return None;
        }
    };
    let name = applied.alias()?;
    let ty = if text.ty.is_optional() { vector.optional() } else { vector };
    let input = applied.keep_key(ctx, &[&name]);
    let mut columns = input.columns.clone();
    set_column(&mut columns, &name, ty);
    let op = match embedder.area {
        Some(area) => {
            let what = format!("operator `embed` with embedder `{}`", embedder.op.space.name);
            Op::Unavailable { area: area.to_owned(), what }
        }
        None => Op::Embed { text, embedder: embedder.op.clone(), name },
    };
    let others = if embedder.op.idf { vec![embedder.fitted] } else { Vec::new() };
    let key = input.key.clone();
    Some(applied.emit(ctx, &input, op, others, columns, key))
}

/// Columns of a hit: those of the stream without vectors and hidden ones, then `score`, `rank`, `found_by`.
fn hit_columns(ctx: &mut Context<'_>, stream: &Stream, span: Span) -> Option<(Vec<Column>, Vec<Column>)> {
    let is_vector = |ty: &Type| match ty.required() {
        Type::Vector { .. } => true,
        Type::List(element) => matches!(element.required(), Type::Vector { .. }),
        _ => false,
    };
    let carried: Vec<Column> = stream
        .columns
        .iter()
        .filter(|column| !is_vector(&column.ty) && !column.name.starts_with('~'))
        .cloned()
        .collect();
    let own = [("score", Type::F64), ("rank", Type::U32), ("found_by", Type::List(Box::new(Type::Text)))];
    for (name, _) in &own {
        if carried.iter().any(|column| column.name == *name) {
            let message =
                format!("column `{name}` of stream `{}` has the name of a column of hits", stream.name);
            let diagnostic = Diagnostic::new(Code::E0202, message, span, "its hits would have two");
            ctx.report(diagnostic.help("give it another name with `rename` before it is indexed"));
            return None;
        }
    }
    let mut columns = carried.clone();
    columns.extend(own.map(|(name, ty)| Column { name: name.to_owned(), ty }));
    Some((carried, columns))
}

pub(super) fn retrieve(ctx: &mut Context<'_>, applied: &Applied<'_>) -> Option<Stream> {
    let found = applied.first(ctx, "column");
    let fields = &applied.fields;
    let entry = fields.get("from")?;
    let ids: Vec<DeclarationId> = entry.declared.clone();
    let infos: Option<Vec<IndexInfo>> = ids.iter().map(|id| index(ctx, *id)).collect();
    let (query, span) = found?;
    let infos = infos?;
    if fields.has_errors {
        return None;
    }
    let (Some(first), Some(from)) = (infos.first(), entry.expr) else {
        let message = "`from` of operator `retrieve` names no index";
        ctx.report(Diagnostic::new(Code::E0207, message, entry.span, "expected an index"));
        return None;
    };
    let what = applied.owner();
    let arms = check_arms(ctx, &what, (&query, span), &ids, &infos, from)?;
    let (fuse, weights) = check_fusion(ctx, &what, fields.expr("fuse"), infos.len(), Some(&ids))?;
    warn_of_rank_fusion(ctx, &fuse, &arms.0, fields.span("fuse"));
    let indexed = Scope::of(&first.stream);
    let filter = match fields.expr("filter") {
        Some(expr) => {
            let typed = check_expr(ctx, &indexed, expr, Some(&Type::Bool.optional()));
            if typed.ty.is_unknown() {
                return None;
            }
            Some(typed)
        }
        None => None,
    };
    let per = match fields.expr("per") {
        Some(expr) => Some(check_column(ctx, &indexed, expr)?.name),
        None => None,
    };
    let (carried, hit) = hit_columns(ctx, &first.stream, entry.span)?;
    let name = applied.alias()?;
    let input = applied.keep_key(ctx, &[&name]);
    let mut columns = input.columns.clone();
    set_column(&mut columns, &name, Type::List(Box::new(Type::Record(hit))));
    let op = retrieve_op(applied, query, arms.0, fuse, filter, per, carried, name)?;
    let mut others: Vec<Option<NodeId>> = infos.iter().map(|info| info.node).collect();
    others.extend(arms.1);
    others.extend(weights.map(Some));
    let key = input.key.clone();
    let mut stream = applied.emit(ctx, &input, op, others, columns, key);
    for info in &infos {
        stream.taint.extend(info.stream.taint.iter().map(|(part, span)| (part.clone(), *span)));
    }
    Some(stream)
}

/// The name of an arm whose embedder this build does not have.
pub(crate) fn absent_arm(arms: &[op::Arm]) -> Option<&str> {
    let is_core = |embed: &op::Embedder| {
        embed.encoder.is_some() || matches!(embed.kind.as_str(), "hashed_ngram" | "static")
    };
    let absent = arms.iter().find(|arm| !arm.embed.as_ref().is_none_or(is_core));
    absent.map(|arm| arm.name.as_str())
}

#[expect(clippy::too_many_arguments, reason = "the parts of one operator")]
fn retrieve_op(
    applied: &Applied<'_>,
    query: op::Expr,
    arms: Vec<op::Arm>,
    fuse: Fusion,
    filter: Option<op::Expr>,
    per: Option<String>,
    columns: Vec<Column>,
    name: String,
) -> Option<Op> {
    if let Some(arm) = absent_arm(&arms) {
        let what = format!("operator `retrieve` from index `{arm}`");
        return Some(Op::Unavailable { area: "runtime".to_owned(), what });
    }
    let k = applied.fields.u32("k")?;
    Some(Op::Retrieve(op::Retrieve { query, arms, k, fuse, filter, per, columns, name }))
}

/// The arms of a query and the fitted tables that their inserted embedders read. `what` asks them: "operator `retrieve`".
pub(crate) fn check_arms(
    ctx: &mut Context<'_>,
    what: &str,
    (query, span): (&op::Expr, Span),
    ids: &[DeclarationId],
    infos: &[IndexInfo],
    from: &ast::Expr,
) -> Option<(Vec<op::Arm>, Vec<Option<NodeId>>)> {
    let element_span = |idx: usize| match &from.kind {
        ast::ExprKind::List(elements) => elements.get(idx).map_or(from.span, |element| element.span),
        _ => from.span,
    };
    let mut arms = Vec::with_capacity(infos.len());
    let mut tables = Vec::new();
    for (idx, (info, id)) in infos.iter().zip(ids).enumerate() {
        let name = ctx.get(*id).name.clone();
        if ids[..idx].contains(id) {
            let message = format!("index `{name}` is named twice");
            ctx.report(Diagnostic::new(Code::E0202, message, element_span(idx), "it would count twice"));
            return None;
        }
        if info.stream_key != infos[0].stream_key {
            let message = "indexes over different streams";
            let label = format!("over `{}`", info.stream.name);
            let first = &infos[0].stream.name;
            let note = format!("`{}` is over `{first}`", ctx.get(ids[0]).name);
            ctx.report(Diagnostic::new(Code::E0308, message, element_span(idx), label).note(note));
            return None;
        }
        let embed = match (query.ty.required(), info.column.ty.required()) {
            (Type::Text, Type::Text) => None,
            (Type::Text, Type::Vector { .. }) => {
                let embedder = info.embedder.and_then(|id| embedder(ctx, id))?;
                if embedder.op.idf {
                    tables.push(embedder.fitted);
                }
                Some(embedder.op)
            }
            (Type::Vector { .. }, Type::Vector { .. })
                if query.ty.required() == info.column.ty.required() =>
            {
                None
            }
            (Type::Vector { .. }, Type::Vector { .. }) => {
                let message = "vectors of different spaces";
                let diagnostic = Diagnostic::new(Code::E0301, message, span, query.ty.required().to_string());
                ctx.report(diagnostic.note(format!("`{name}` holds {}", info.column.ty.required())));
                return None;
            }
            (Type::Vector { .. }, _) => {
                let message = format!("type mismatch: index `{name}` of kind `{}` takes a text", info.kind);
                let label = format!("{}, expected text", query.ty);
                ctx.report(Diagnostic::new(Code::E0303, message, span, label));
                return None;
            }
            (other, _) => {
                let message = format!("type mismatch: {what} takes a text or a vector, found {other}");
                let label = format!("{other}, expected a text or a vector");
                ctx.report(Diagnostic::new(Code::E0303, message, span, label));
                return None;
            }
        };
        arms.push(op::Arm { name, kind: info.kind.clone(), embed });
    }
    Some((arms, tables))
}

pub(super) fn fuse(ctx: &mut Context<'_>, applied: &Applied<'_>) -> Option<Stream> {
    let mut lists: Vec<op::Expr> = Vec::new();
    let mut method = None;
    for argument in applied.step.args {
        match &argument.name {
            None => {
                let typed = check_expr(ctx, &applied.scope(), &argument.value, None);
                let is_hits = match typed.ty.required() {
                    Type::Unknown => return None,
                    Type::List(element) => matches!(element.required(), Type::Record(columns)
                        if columns.iter().any(|column| column.name == "score")),
                    _ => false,
                };
                if !is_hits {
                    report_input(ctx, applied, &typed.ty, "lists of hits", argument.span);
                    return None;
                }
                if let Some(first) = lists.first().filter(|first| first.ty.required() != typed.ty.required())
                {
                    let message = "hits of different records cannot be fused";
                    let diagnostic =
                        Diagnostic::new(Code::E0303, message, argument.span, typed.ty.to_string());
                    ctx.report(diagnostic.note(format!("the first list is {}", first.ty)));
                    return None;
                }
                lists.push(typed);
            }
            Some(name) if name.name == "method" => method = Some(&argument.value),
            Some(name) => {
                let message = format!("unknown parameter `{}` of operator `fuse`", name.name);
                let diagnostic = Diagnostic::new(Code::E0206, message, name.span, "no such parameter");
                ctx.report(crate::resolve::suggest::suggest(diagnostic, &name.name, name.span, ["method"]));
                return None;
            }
        }
    }
    if lists.len() < 2 {
        let message = format!("operator `fuse` takes at least 2 lists, found {}", lists.len());
        ctx.report(Diagnostic::new(Code::E0302, message, applied.step.span, "expected at least 2"));
        return None;
    }
    let (method, _) = check_fusion(ctx, &applied.owner(), method, lists.len(), None)?;
    let ty = lists[0].ty.clone();
    let name = applied.alias()?;
    let input = applied.keep_key(ctx, &[&name]);
    let mut columns = input.columns.clone();
    set_column(&mut columns, &name, ty);
    let key = input.key.clone();
    Some(applied.emit(ctx, &input, Op::Fuse { lists, method, name }, Vec::new(), columns, key))
}
