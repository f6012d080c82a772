//! `select`, `derive`, `filter`, `rename` and `explode`: columns of each row.

use super::{Applied, hidden, report_input, set_column};
use crate::check::context::{Context, Stream};
use crate::check::expressions::{Aggregates, Scope, as_column, check_column, check_expr, column};
use crate::diagnostic::{Code, Diagnostic};
use crate::graph::Class;
use crate::op::{self, Op};
use crate::syntax::ast::{self, BinaryOp, Ident};
use crate::types::{Column, Type};

/// The named arguments of an operator with free names, typed; E0202 for a name that stands twice.
fn check_named(
    ctx: &mut Context<'_>,
    applied: &Applied<'_>,
    scope: &Scope<'_>,
    allow_bare: bool,
) -> Option<Vec<(String, op::Expr)>> {
    let mut columns: Vec<(String, op::Expr)> = Vec::with_capacity(applied.step.args.len());
    let mut is_right = true;
    for argument in applied.step.args {
        let (name, value) = match &argument.name {
            Some(name) => (name.clone(), check_expr(ctx, scope, &argument.value, None)),
            None if allow_bare => match check_column(ctx, scope, &argument.value) {
                Some(found) => (Ident { name: found.name.clone(), span: argument.span }, column(&found)),
                None => {
                    is_right = false;
                    continue;
                }
            },
            None => {
                let message = format!("arguments of `{}` have names", applied.operator.name);
                let diagnostic = Diagnostic::new(Code::E0302, message, argument.span, "no name");
                ctx.report(diagnostic.help("write `name = value`"));
                is_right = false;
                continue;
            }
        };
        if columns.iter().any(|(other, _)| *other == name.name) {
            let message = format!("column `{}` is defined twice", name.name);
            ctx.report(Diagnostic::new(Code::E0202, message, name.span, "defined again here"));
            is_right = false;
        }
        if matches!(value.ty, Type::Null) {
            let message = format!("column `{}` would hold null alone", name.name);
            ctx.report(Diagnostic::new(Code::E0303, message, argument.value.span, "no type"));
            is_right = false;
        }
        is_right &= !value.ty.is_unknown();
        columns.push((name.name, value));
    }
    if applied.step.args.is_empty() {
        let message = format!("operator `{}` names no column", applied.operator.name);
        ctx.report(Diagnostic::new(Code::E0302, message, applied.callee_span(), "expected at least 1"));
        return None;
    }
    is_right.then_some(columns)
}

pub(super) fn select(ctx: &mut Context<'_>, applied: &Applied<'_>) -> Option<Stream> {
    let mut columns = check_named(ctx, applied, &applied.scope(), true)?;
    let input = &applied.input;
    let mut key = Vec::with_capacity(input.key.len());
    let mut kept = Vec::new();
    for name in &input.key {
        // A key column that is selected under its own name stays; any other way it would be another value of that name.
        let stays = columns.iter().any(|(new, expr)| new == name && as_column(expr) == Some(name));
        if stays {
            key.push(name.clone());
            continue;
        }
        if let Some(found) = input.column(name) {
            kept.push((hidden(name), column(found)));
        }
        key.push(hidden(name));
    }
    columns.extend(kept);
    let schema =
        columns.iter().map(|(name, expr)| Column { name: name.clone(), ty: expr.ty.clone() }).collect();
    Some(applied.emit(ctx, input, Op::Select { columns }, Vec::new(), schema, key))
}

pub(super) fn derive(ctx: &mut Context<'_>, applied: &Applied<'_>) -> Option<Stream> {
    let scope = applied.scope().with_aggregates(Aggregates::Windows);
    let mut columns = check_named(ctx, applied, &scope, false)?;
    let input = &applied.input;
    let mut schema = input.columns.clone();
    let mut key = input.key.clone();
    let mut kept = Vec::new();
    for name in &mut key {
        if columns.iter().any(|(new, _)| new == name)
            && let Some(found) = input.column(name)
        {
            kept.push((hidden(name), column(found)));
            *name = hidden(name);
        }
    }
    columns.extend(kept);
    for (name, expr) in &columns {
        set_column(&mut schema, name, expr.ty.clone());
    }
    let has_window = columns.iter().any(|(_, expr)| has_aggregate(expr));
    let class = if has_window { Class::Blocking } else { applied.operator.class };
    Some(applied.emit_as(ctx, input, Op::Derive { columns }, Vec::new(), schema, key, class))
}

fn has_aggregate(expr: &op::Expr) -> bool {
    match &expr.kind {
        op::ExprKind::Aggregate { .. } => true,
        op::ExprKind::Literal(_) | op::ExprKind::Column(_) => false,
        op::ExprKind::Field { base, .. } | op::ExprKind::FieldOfEach { base, .. } => has_aggregate(base),
        op::ExprKind::Call { args, .. } | op::ExprKind::List(args) => args.iter().any(has_aggregate),
        op::ExprKind::Binary { left, right, .. } => has_aggregate(left) || has_aggregate(right),
        op::ExprKind::Unary { operand, .. } | op::ExprKind::Convert(operand) => has_aggregate(operand),
    }
}

pub(super) fn filter(ctx: &mut Context<'_>, applied: &Applied<'_>) -> Option<Stream> {
    let expr = applied.fields.expr("condition")?;
    let condition = check_expr(ctx, &applied.scope(), expr, Some(&Type::Bool.optional()));
    if condition.ty.is_unknown() {
        return None;
    }
    let mut columns = applied.input.columns.clone();
    narrow(&condition, &mut columns);
    let key = applied.input.key.clone();
    Some(applied.emit(ctx, &applied.input, Op::Filter { condition }, Vec::new(), columns, key))
}

/// Columns that a top-level conjunct `x != null` makes non-null.
fn narrow(condition: &op::Expr, columns: &mut [Column]) {
    let op::ExprKind::Binary { op, left, right } = &condition.kind else { return };
    match op {
        BinaryOp::And => {
            narrow(left, columns);
            narrow(right, columns);
        }
        BinaryOp::NotEq => {
            let name = match (&left.ty, &right.ty) {
                (_, Type::Null) => as_column(left),
                (Type::Null, _) => as_column(right),
                _ => None,
            };
            if let Some(column) = columns.iter_mut().find(|column| Some(column.name.as_str()) == name) {
                column.ty = column.ty.required().clone();
            }
        }
        _ => {}
    }
}

pub(super) fn rename(ctx: &mut Context<'_>, applied: &Applied<'_>) -> Option<Stream> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut is_right = !applied.step.args.is_empty();
    for argument in applied.step.args {
        let Some(new) = &argument.name else {
            let message = "arguments of `rename` have names";
            let diagnostic = Diagnostic::new(Code::E0302, message, argument.span, "no name");
            ctx.report(diagnostic.help("write `new = old`"));
            is_right = false;
            continue;
        };
        let Some(old) = check_column(ctx, &applied.scope(), &argument.value) else {
            is_right = false;
            continue;
        };
        if pairs.iter().any(|(name, from)| *name == new.name || *from == old.name) {
            let message = format!("column `{}` is renamed twice", old.name);
            ctx.report(Diagnostic::new(Code::E0202, message, argument.span, "named again here"));
            is_right = false;
        }
        pairs.push((new.name.clone(), old.name));
    }
    let input = &applied.input;
    for (new, _) in &pairs {
        let is_taken = input.column(new).is_some() && !pairs.iter().any(|(_, old)| old == new);
        if is_taken {
            let message = format!("column `{new}` is already in stream `{}`", input.name);
            ctx.report(Diagnostic::new(Code::E0202, message, applied.step.span, "the name is taken"));
            is_right = false;
        }
    }
    if !is_right {
        return None;
    }
    let renamed = |name: &String| {
        pairs.iter().find(|(_, old)| old == name).map_or(name.clone(), |(new, _)| new.clone())
    };
    let columns: Vec<Column> = input
        .columns
        .iter()
        .map(|column| Column { name: renamed(&column.name), ty: column.ty.clone() })
        .collect();
    let key = input.key.iter().map(renamed).collect();
    Some(applied.emit(ctx, input, Op::Rename { columns: pairs.clone() }, Vec::new(), columns, key))
}

pub(super) fn explode(ctx: &mut Context<'_>, applied: &Applied<'_>) -> Option<Stream> {
    let (list, span) = applied.first(ctx, "column")?;
    let Type::List(element) = list.ty.required().clone() else {
        report_input(ctx, applied, &list.ty, "a list", span);
        return None;
    };
    let name = applied.result_name(ctx, &list, span)?;
    let source = match applied.fields.expr("column").map(|expr| &expr.kind) {
        Some(ast::ExprKind::Path(path)) => path.segments.last().map(|segment| segment.name.clone()),
        _ => None,
    };
    let idx = format!("{}_idx", source.unwrap_or_else(|| name.clone()));
    if applied.input.column(&idx).is_some() {
        let message = format!("column `{idx}` is already in stream `{}`", applied.input.name);
        let diagnostic =
            Diagnostic::new(Code::E0202, message, applied.callee_span(), format!("adds a column `{idx}`"));
        ctx.report(diagnostic.help("give the old one another name with `rename` before"));
        return None;
    }
    let input = applied.keep_key(ctx, &[&name]);
    let mut columns = input.columns.clone();
    set_column(&mut columns, &name, *element);
    set_column(&mut columns, &idx, Type::U32);
    let mut key = input.key.clone();
    if !key.is_empty() {
        key.push(idx);
    }
    Some(applied.emit(ctx, &input, Op::Explode { list, name }, Vec::new(), columns, key))
}
