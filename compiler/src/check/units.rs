//! Binary operators: units, numbers, comparisons, membership and ranges.

use super::context::Context;
use super::expressions::{Scope, check_expr, coerce, combine, unknown};
use super::types::{Fit, fit, is_number, is_unit, report_mismatch, unify};
use crate::diagnostic::{Code, Diagnostic};
use crate::op;
use crate::source::Span;
use crate::syntax::ast::{self, BinaryOp};
use crate::types::Type;

/// `+ - * /`
pub(crate) fn is_arithmetic(op: BinaryOp) -> bool {
    matches!(op, BinaryOp::Add | BinaryOp::Subtract | BinaryOp::Multiply | BinaryOp::Divide)
}

fn symbol(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::Or => "or",
        BinaryOp::And => "and",
        BinaryOp::Eq => "==",
        BinaryOp::NotEq => "!=",
        BinaryOp::Less => "<",
        BinaryOp::LessEq => "<=",
        BinaryOp::Greater => ">",
        BinaryOp::GreaterEq => ">=",
        BinaryOp::In => "in",
        BinaryOp::Range => "..",
        BinaryOp::Add => "+",
        BinaryOp::Subtract => "-",
        BinaryOp::Multiply => "*",
        BinaryOp::Divide => "/",
    }
}

/// The unit of a result, or the code of why there is none. Both types are non-null.
fn result_unit(op: BinaryOp, left: &Type, right: &Type) -> Result<Type, Code> {
    use BinaryOp::{Divide, Multiply};
    if is_number(left) && is_number(right) {
        return unify(left, right).ok_or(Code::E0303);
    }
    let is_measured = |ty: &Type| is_unit(ty) || is_number(ty);
    if !is_measured(left) || !is_measured(right) {
        return Err(Code::E0303);
    }
    if let (Type::Tok(Some(left)), Type::Tok(Some(right))) = (left, right)
        && left != right
    {
        return Err(Code::E0305);
    }
    let is_same = fit(left, right) == Fit::Same;
    match (op, left, right) {
        (BinaryOp::Add | BinaryOp::Subtract, ..) if is_same => unify(left, right).ok_or(Code::E0304),
        (Multiply, Type::Ratio, Type::Ratio) => Ok(Type::Ratio),
        (Multiply, unit, number) | (Multiply, number, unit) if is_unit(unit) && is_number(number) => {
            Ok(unit.clone())
        }
        (Multiply, Type::Share, unit) | (Multiply, unit, Type::Share) => Ok(unit.clone()),
        (Divide, unit, number) if is_unit(unit) && is_number(number) => Ok(unit.clone()),
        (Divide, Type::Tok(_) | Type::Duration | Type::Size, _) if is_same => Ok(Type::Ratio),
        (Divide, Type::Tok(_), Type::Ratio) => Ok(left.clone()),
        _ => Err(Code::E0304),
    }
}

/// `+ - * /` on typed operands.
pub(crate) fn arithmetic(
    ctx: &mut Context<'_>,
    op: BinaryOp,
    (left, left_span): (op::Expr, Span),
    (right, right_span): (op::Expr, Span),
) -> op::Expr {
    match result_unit(op, left.ty.required(), right.ty.required()) {
        Ok(ty) if is_number(&ty) => {
            let nullable = ty.clone().optional();
            let left = coerce(ctx, left, &nullable, left_span);
            let right = coerce(ctx, right, &nullable, right_span);
            combine(op, left, right, ty)
        }
        Ok(ty) => combine(op, left, right, ty),
        Err(code) => {
            let message = match code {
                Code::E0304 => "units do not match".to_owned(),
                Code::E0305 => "tokens of different tokenizers".to_owned(),
                _ => format!("type mismatch: `{}` of {} and {}", symbol(op), left.ty, right.ty),
            };
            let label = format!("{} {} {}", left.ty, symbol(op), right.ty);
            let span = left_span.to(right_span);
            let mut diagnostic = Diagnostic::new(code, message, span, label);
            if op == BinaryOp::Add
                && [&left, &right].iter().all(|side| matches!(side.ty.required(), Type::Text))
            {
                let side = |span| ctx.sources().snippet(span);
                let joined = format!("concat({}, {})", side(left_span), side(right_span));
                diagnostic = diagnostic.help(format!("write `{joined}`")).fix(span, joined);
            }
            ctx.report(diagnostic);
            unknown()
        }
    }
}

/// `== != < <= > >=` on typed operands; a comparison with the literal `null` is two-valued.
pub(crate) fn comparison(
    ctx: &mut Context<'_>,
    op: BinaryOp,
    (left, left_span): (op::Expr, Span),
    (right, right_span): (op::Expr, Span),
) -> op::Expr {
    let is_equality = matches!(op, BinaryOp::Eq | BinaryOp::NotEq);
    if is_equality && (matches!(left.ty, Type::Null) || matches!(right.ty, Type::Null)) {
        let kind = op::ExprKind::Binary { op, left: Box::new(left), right: Box::new(right) };
        return op::Expr { kind, ty: Type::Bool };
    }
    let common = match (left.ty.required(), right.ty.required()) {
        (Type::Enum(_), Type::Text) | (Type::Text, Type::Enum(_)) => Some(Type::Text),
        (found, expected) => unify(found, expected),
    };
    let Some(common) = common else {
        let code = match fit(right.ty.required(), left.ty.required()) {
            Fit::No(code) => code,
            _ => Code::E0303,
        };
        report_mismatch(ctx, code, right.ty.required(), left.ty.required(), right_span);
        return unknown();
    };
    let is_ordered = super::types::is_measured(&common)
        || matches!(common, Type::Text | Type::Date | Type::Timestamp | Type::Unknown | Type::Null);
    let is_comparable =
        is_ordered || (is_equality && matches!(common, Type::Bool | Type::Enum(_) | Type::Bytes));
    if !is_comparable {
        let message = format!("values of type {common} cannot be compared with `{}`", symbol(op));
        ctx.report(Diagnostic::new(
            Code::E0303,
            message,
            left_span.to(right_span),
            format!("both are {common}"),
        ));
        return unknown();
    }
    let nullable = common.optional();
    let left = coerce(ctx, left, &nullable, left_span);
    let right = coerce(ctx, right, &nullable, right_span);
    combine(op, left, right, Type::Bool)
}

/// `a in [b, c]`
pub(crate) fn check_membership(
    ctx: &mut Context<'_>,
    scope: &Scope<'_>,
    left: &ast::Expr,
    right: &ast::Expr,
) -> op::Expr {
    let element = check_expr(ctx, scope, left, None);
    if element.ty.is_unknown() {
        return unknown();
    }
    let list = Type::List(Box::new(element.ty.required().clone()));
    let right = check_expr(ctx, scope, right, Some(&list.optional()));
    combine(BinaryOp::In, element, right, Type::Bool)
}

/// `a .. b`, only where a parameter asks for a range.
pub(crate) fn check_range(
    ctx: &mut Context<'_>,
    scope: &Scope<'_>,
    left: &ast::Expr,
    right: &ast::Expr,
    expected: Option<&Type>,
) -> op::Expr {
    let Some(Type::Range(inner)) = expected.map(Type::required) else {
        let message = "a range is only the value of a parameter that takes one";
        ctx.report(Diagnostic::new(Code::E0303, message, left.span.to(right.span), "range"));
        return unknown();
    };
    let left_typed = check_expr(ctx, scope, left, Some(inner));
    let right_typed = check_expr(ctx, scope, right, Some(inner));
    combine(BinaryOp::Range, left_typed, right_typed, Type::Range(inner.clone()))
}
