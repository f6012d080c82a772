//! Operators of later areas: read and typed, but marked as not in this build.

use super::{Applied, report_input, report_seed, set_column};
use crate::check::context::{Context, Stream};
use crate::check::expressions::{check_column, check_expr};
use crate::check::types::report_mismatch;
use crate::diagnostic::{Code, Diagnostic};
use crate::op::Op;
use crate::syntax::ast::ItemKind;
use crate::types::Type;

/// Any operator that has an area of its own.
pub(super) fn later(ctx: &mut Context<'_>, applied: &Applied<'_>) -> Option<Stream> {
    let (input, span) = applied.first(ctx, "column")?;
    let name = applied.result_name(ctx, &input, span)?;
    let added = match applied.operator.name {
        "rerank" => rerank(ctx, applied, &input.ty, span)?,
        "bind_space" => bind_space(ctx, applied, &input.ty, span)?,
        "generate" => generate(ctx, applied, &input.ty, span)?,
        "apply" => vec![("", input.ty.clone())],
        "fold" => vec![("", input.ty.clone()), ("_kl", Type::F64), ("_bytes", Type::Size)],
        "solve" => {
            vec![
                ("", input.ty.clone()),
                ("_steps", Type::U32),
                ("_confidence", Type::F64),
                ("_valid", Type::Bool),
            ]
        }
        _ => {
            if !applied.fields.has("seed") {
                let call = applied.step.span;
                report_seed(
                    ctx,
                    &applied.owner(),
                    applied.callee_span(),
                    call,
                    !applied.step.args.is_empty(),
                );
                return None;
            }
            vec![("", input.ty.clone()), ("_steps", Type::U32)]
        }
    };
    let stream = applied.keep_key(ctx, &[&name]);
    let mut columns = stream.columns.clone();
    for (suffix, ty) in added {
        set_column(&mut columns, &format!("{name}{suffix}"), ty);
    }
    let area = applied.operator.area.unwrap_or("core").to_owned();
    let op = Op::Unavailable { area, what: applied.owner() };
    let key = stream.key.clone();
    Some(applied.emit(ctx, &stream, op, Vec::new(), columns, key))
}

type Added = Vec<(&'static str, Type)>;

fn rerank(
    ctx: &mut Context<'_>,
    applied: &Applied<'_>,
    ty: &Type,
    span: crate::source::Span,
) -> Option<Added> {
    let query =
        check_expr(ctx, &applied.scope(), applied.fields.expr("query")?, Some(&Type::Text.optional()));
    let is_hits = match ty.required() {
        Type::List(element) => {
            matches!(element.required(), Type::Record(columns) if columns.iter().any(|column| column.name == "score"))
        }
        _ => false,
    };
    if !is_hits {
        report_input(ctx, applied, ty, "a list of hits", span);
        return None;
    }
    (!query.ty.is_unknown()).then(|| vec![("", ty.clone())])
}

fn bind_space(
    ctx: &mut Context<'_>,
    applied: &Applied<'_>,
    ty: &Type,
    span: crate::source::Span,
) -> Option<Added> {
    let embedder = crate::check::embedders::embedder(ctx, applied.fields.declared("space")?)?;
    let text = check_column(ctx, &applied.scope(), applied.fields.expr("checked_by")?)?;
    let Type::Vector { dim, space: None, .. } = ty.required() else {
        report_input(ctx, applied, ty, "a vector without space", span);
        return None;
    };
    if *dim != embedder.op.dim {
        report_mismatch(ctx, Code::E0301, ty, &embedder.ty, span);
        return None;
    }
    if !matches!(text.ty.required(), Type::Text) {
        let expr = applied.fields.expr("checked_by")?;
        report_mismatch(ctx, Code::E0303, &text.ty, &Type::Text, expr.span);
        return None;
    }
    Some(vec![("", if ty.is_optional() { embedder.ty.optional() } else { embedder.ty })])
}

fn generate(
    ctx: &mut Context<'_>,
    applied: &Applied<'_>,
    ty: &Type,
    span: crate::source::Span,
) -> Option<Added> {
    if !matches!(ty.required(), Type::Text) {
        report_input(ctx, applied, ty, "a text column", span);
        return None;
    }
    let fields = &applied.fields;
    if fields.f64("temperature").is_some_and(|temperature| temperature > 0.0) && !fields.has("seed") {
        let call = applied.step.span;
        report_seed(ctx, &applied.owner(), applied.callee_span(), call, !applied.step.args.is_empty());
        return None;
    }
    let model = fields.declared("with")?;
    if let Some(adapter) = fields.declared("adapter") {
        let base = ctx.within(adapter, |ctx| match &ctx.item(adapter).kind {
            ItemKind::On { on, .. } => ctx.lookup(on).map(|(id, _)| id),
            _ => None,
        });
        if base.is_some_and(|base| base != model) {
            let message = format!("adapter `{}` is of another base", ctx.get(adapter).local);
            let label = format!("expected an adapter on `{}`", ctx.get(model).local);
            ctx.report(Diagnostic::new(Code::E0306, message, fields.span("adapter")?, label));
            return None;
        }
    }
    let text = if ty.is_optional() { Type::Text.optional() } else { Type::Text };
    Some(vec![("", text), ("_tokens", Type::Tok(None)), ("_nll", Type::F64), ("_stop", Type::Text)])
}
