//! Expressions: paths, literals, operators and lists, typed over the columns of one stream.
//!
//! What cannot be typed is reported once and becomes `Unknown`, which every later rule accepts in silence.

use super::context::{Context, Stream};
use super::types::{Fit, fit, is_number, report_mismatch, unify};
use super::{constants, functions, units};
use crate::diagnostic::{Code, Diagnostic};
use crate::op::{self, Value};
use crate::resolve::DeclKind;
use crate::resolve::suggest::suggest;
use crate::source::Span;
use crate::syntax::ast::{self, BinaryOp, Literal, UnaryOp};
use crate::types::{Column, Type};

/// Where aggregates may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aggregates {
    /// Nowhere: the expression is over one row.
    Refused,
    /// Only with `over = column`.
    Windows,
    /// Anywhere.
    Allowed,
}

/// What an expression can see.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope<'s> {
    /// How messages call the stream; a path may begin with it: `docs.text`. Empty for constants.
    pub(crate) stream: &'s str,
    /// Columns.
    pub(crate) columns: &'s [Column],
    /// Where aggregates may stand.
    pub(crate) aggregates: Aggregates,
    /// Whether an error hides the columns: any name is accepted then.
    pub(crate) is_unknown: bool,
}

impl<'s> Scope<'s> {
    /// The columns of a stream, row by row.
    pub(crate) fn of(stream: &'s Stream) -> Self {
        Self {
            stream: &stream.name,
            columns: &stream.columns,
            aggregates: Aggregates::Refused,
            is_unknown: stream.is_unknown,
        }
    }

    /// These columns under a name for messages, row by row.
    pub(crate) fn columns(stream: &'s str, columns: &'s [Column]) -> Self {
        Self { stream, columns, aggregates: Aggregates::Refused, is_unknown: false }
    }

    /// No columns: params and literals only.
    pub(crate) fn constant() -> Self {
        Self { stream: "", columns: &[], aggregates: Aggregates::Refused, is_unknown: false }
    }

    /// The same with other rules for aggregates.
    #[must_use]
    pub(crate) fn with_aggregates(self, aggregates: Aggregates) -> Self {
        Self { aggregates, ..self }
    }
}

/// An expression after an error.
pub(crate) fn unknown() -> op::Expr {
    op::Expr { kind: op::ExprKind::Literal(Value::Null), ty: Type::Unknown }
}

/// A literal.
pub(crate) fn literal(value: Value, ty: Type) -> op::Expr {
    op::Expr { kind: op::ExprKind::Literal(value), ty }
}

/// A column of the stream.
pub(crate) fn column(column: &Column) -> op::Expr {
    op::Expr { kind: op::ExprKind::Column(column.name.clone()), ty: column.ty.clone() }
}

/// The column of a stream that an expression is, without conversions.
pub(crate) fn as_column(expr: &op::Expr) -> Option<&str> {
    if let op::ExprKind::Column(name) = &expr.kind { Some(name) } else { None }
}

/// Types an expression. With `expected`, literals adapt to it, the result is converted to it, and a mismatch is reported.
pub(crate) fn check_expr(
    ctx: &mut Context<'_>,
    scope: &Scope<'_>,
    expr: &ast::Expr,
    expected: Option<&Type>,
) -> op::Expr {
    let typed = infer(ctx, scope, expr, expected);
    match expected {
        Some(expected) => coerce(ctx, typed, expected, expr.span),
        None => typed,
    }
}

/// The value of an expression that must not depend on rows: E0314 if it does, E0303 and its kin if it is of another type.
/// `None` after an error.
pub(crate) fn constant(ctx: &mut Context<'_>, expr: &ast::Expr, expected: &Type) -> Option<Value> {
    let typed = check_expr(ctx, &Scope::constant(), expr, Some(expected));
    if typed.ty.is_unknown() {
        return None;
    }
    match constants::fold(&typed) {
        Ok(value) => Some(value),
        Err(reason) => {
            ctx.report(Diagnostic::new(Code::E0314, "value is not constant", expr.span, reason));
            None
        }
    }
}

/// Converts a typed expression to the type of its place, or reports why it cannot be.
pub(crate) fn coerce(ctx: &mut Context<'_>, typed: op::Expr, expected: &Type, span: Span) -> op::Expr {
    match fit(&typed.ty, expected) {
        Fit::Same => typed,
        Fit::Widen => {
            let ty = if typed.ty.is_optional() {
                expected.clone().optional()
            } else {
                expected.required().clone()
            };
            op::Expr { kind: op::ExprKind::Convert(Box::new(typed)), ty }
        }
        Fit::No(code) => {
            report_mismatch(ctx, code, &typed.ty, expected, span);
            unknown()
        }
    }
}

fn infer(ctx: &mut Context<'_>, scope: &Scope<'_>, expr: &ast::Expr, expected: Option<&Type>) -> op::Expr {
    match &expr.kind {
        ast::ExprKind::Bad => unknown(),
        ast::ExprKind::Paren(inner) => infer(ctx, scope, inner, expected),
        ast::ExprKind::Literal(Literal::Number(number)) => {
            let text = number.digits.clone();
            constants::number(ctx, &text, number.unit, expected, expr.span)
        }
        ast::ExprKind::Literal(Literal::Text(text)) => check_text(ctx, &text.value, expected, expr.span),
        ast::ExprKind::Literal(Literal::Bool(value)) => literal(Value::Bool(*value), Type::Bool),
        ast::ExprKind::Literal(Literal::Null) => literal(Value::Null, Type::Null),
        ast::ExprKind::List(elements) => check_list(ctx, scope, elements, expected),
        ast::ExprKind::Path(path) => check_path(ctx, scope, path),
        ast::ExprKind::Call(call) => functions::check_call(ctx, scope, call, expected),
        ast::ExprKind::Unary { op, operand } => check_unary(ctx, scope, *op, operand, expected, expr.span),
        ast::ExprKind::Binary { op, left, right, .. } => check_binary(ctx, scope, *op, left, right, expected),
    }
}

/// A text literal; where an enum is expected it must be one of its values.
fn check_text(ctx: &mut Context<'_>, text: &str, expected: Option<&Type>, span: Span) -> op::Expr {
    let Some(Type::Enum(values)) = expected.map(Type::required) else {
        return literal(Value::Text(text.to_owned()), Type::Text);
    };
    if values.iter().any(|value| value == text) {
        return literal(Value::Text(text.to_owned()), Type::Enum(values.clone()));
    }
    let message = format!("`{text}` is not a value of the enum");
    let diagnostic = Diagnostic::new(Code::E0205, message, span, "not a value")
        .note(format!("values: {}", values.join(", ")));
    let found = crate::resolve::suggest::help(text, values.iter().map(String::as_str));
    ctx.report(match found {
        Some(help) => diagnostic.help(help),
        None => diagnostic,
    });
    unknown()
}

fn check_list(
    ctx: &mut Context<'_>,
    scope: &Scope<'_>,
    elements: &[ast::Expr],
    expected: Option<&Type>,
) -> op::Expr {
    let wanted = match expected.map(Type::required) {
        Some(Type::List(element)) => Some((**element).clone()),
        _ => None,
    };
    let mut typed: Vec<op::Expr> = Vec::with_capacity(elements.len());
    let mut element_ty = wanted.clone().unwrap_or(Type::Unknown);
    let mut has_error = false;
    for element in elements {
        // Without a wanted type the first element decides, so that the others adapt to it.
        let known = (!element_ty.is_unknown()).then(|| element_ty.clone());
        let item = match &wanted {
            Some(wanted) => check_expr(ctx, scope, element, Some(wanted)),
            None => infer(ctx, scope, element, known.as_ref()),
        };
        if wanted.is_none() {
            match unify(&element_ty, &item.ty) {
                Some(joined) => element_ty = joined,
                None => {
                    report_mismatch(ctx, Code::E0303, &item.ty, &element_ty, element.span);
                    has_error = true;
                }
            }
        }
        has_error |= item.ty.is_unknown();
        typed.push(item);
    }
    if has_error {
        return unknown();
    }
    let typed =
        typed.into_iter().zip(elements).map(|(item, element)| coerce(ctx, item, &element_ty, element.span));
    op::Expr { kind: op::ExprKind::List(typed.collect()), ty: Type::List(Box::new(element_ty)) }
}

/// How many segments of a path name the stream of the scope: `docs.text` over `docs` has one.
fn qualifier_len(scope: &Scope<'_>, path: &ast::Path) -> usize {
    let names: Vec<&str> = scope.stream.split('.').collect();
    let is_prefix = !scope.stream.is_empty()
        && path.segments.len() > names.len()
        && names.iter().zip(&path.segments).all(|(name, segment)| *name == segment.name);
    if is_prefix { names.len() } else { 0 }
}

fn check_path(ctx: &mut Context<'_>, scope: &Scope<'_>, path: &ast::Path) -> op::Expr {
    let find = |name: &str| scope.columns.iter().find(|column| column.name == name);
    let qualified = qualifier_len(scope, path);
    let start = if find(&path.segments[0].name).is_some() { 0 } else { qualified };
    if let Some(found) = find(&path.segments[start].name) {
        if start == 0 && path.segments.len() == 1 {
            warn_hidden(ctx, path, found);
        }
        return check_steps(ctx, column(found), path, start + 1);
    }
    if scope.is_unknown {
        return unknown();
    }
    if qualified > 0 {
        report_column(ctx, scope, &path.segments[qualified]);
        return unknown();
    }
    let Some((declaration, used)) = ctx.declaration_prefix(path) else {
        report_name(ctx, scope, path);
        return unknown();
    };
    if declaration.kind != DeclKind::Param || used < path.segments.len() {
        let is = declaration.kind.with_article();
        let message = format!("`{}` is {is}, expected a value", path.text());
        let label = if scope.columns.is_empty() { "not a value" } else { "neither a column nor a param" };
        ctx.report(Diagnostic::new(Code::E0209, message, path.span, label));
        return unknown();
    }
    match super::params::param(ctx, declaration.id) {
        Some(param) => literal(param.value, param.ty),
        None => unknown(),
    }
}

/// W0203: a column is taken although a param of the same name and type is declared.
fn warn_hidden(ctx: &mut Context<'_>, path: &ast::Path, found: &Column) {
    let Some((id, 1)) = ctx.lookup(path) else { return };
    let declaration = ctx.get(id);
    if declaration.kind != DeclKind::Param {
        return;
    }
    let Some(param) = super::params::param(ctx, id) else { return };
    if matches!(fit(&param.ty, found.ty.required()), Fit::No(_)) {
        return;
    }
    ctx.used.insert(id);
    let message = format!("column `{}` hides the param of this name", found.name);
    let diagnostic = Diagnostic::new(Code::W0203, message, path.span, "the column is meant");
    ctx.report(diagnostic.label(declaration.span, "the param"));
}

fn check_steps(ctx: &mut Context<'_>, mut base: op::Expr, path: &ast::Path, start: usize) -> op::Expr {
    for (idx, segment) in path.segments.iter().enumerate().skip(start) {
        let is_optional = base.ty.is_optional();
        let (fields, is_each) = match base.ty.required() {
            Type::Unknown => return unknown(),
            Type::List(element) => (fields_of(element), true),
            other => (fields_of(other), false),
        };
        let so_far =
            path.segments[..idx].iter().map(|segment| segment.name.as_str()).collect::<Vec<_>>().join(".");
        let Some(fields) = fields else {
            let message = format!("`{so_far}` is {}, which has no field `{}`", base.ty, segment.name);
            ctx.report(Diagnostic::new(Code::E0303, message, segment.span, "not a record"));
            return unknown();
        };
        let Some(field) = fields.iter().find(|field| field.name == segment.name) else {
            let message = format!("field `{}` is not in `{so_far}`", segment.name);
            let names: Vec<&str> = visible(&fields).collect();
            let diagnostic = Diagnostic::new(Code::E0203, message, segment.span, "no such field")
                .note(format!("fields: {}", names.join(", ")));
            ctx.report(suggest(diagnostic, &segment.name, segment.span, names));
            return unknown();
        };
        let name = segment.name.clone();
        let ty = if is_each { Type::List(Box::new(field.ty.clone())) } else { field.ty.clone() };
        let ty = if is_optional { ty.optional() } else { ty };
        let inner = Box::new(base);
        let kind = if is_each {
            op::ExprKind::FieldOfEach { base: inner, name }
        } else {
            op::ExprKind::Field { base: inner, name }
        };
        base = op::Expr { kind, ty };
    }
    base
}

fn visible(columns: &[Column]) -> impl Iterator<Item = &str> {
    columns.iter().map(|column| column.name.as_str()).filter(|name| !name.starts_with('~'))
}

/// Fields of the types that have some; an optional record's fields are optional.
pub(crate) fn fields_of(ty: &Type) -> Option<Vec<Column>> {
    let named = |name: &str, ty: Type| Column { name: name.to_owned(), ty };
    match ty {
        Type::Record(columns) => Some(columns.clone()),
        Type::Span => Some(vec![
            named("doc", Type::Text),
            named("start", Type::U64),
            named("end", Type::U64),
            named("at", Type::U32),
        ]),
        Type::Message => {
            let roles = ["system", "user", "assistant", "tool"].map(str::to_owned).to_vec();
            Some(vec![named("role", Type::Enum(roles)), named("content", Type::Text)])
        }
        Type::Optional(inner) => {
            let fields = fields_of(inner)?;
            Some(fields.into_iter().map(|field| Column { ty: field.ty.optional(), ..field }).collect())
        }
        _ => None,
    }
}

/// E0203 for a name that is no column of the scope's stream.
pub(crate) fn report_column(ctx: &mut Context<'_>, scope: &Scope<'_>, name: &ast::Ident) {
    let message = format!("column `{}` is not in stream `{}`", name.name, scope.stream);
    let shown = Type::Stream(scope.columns.to_vec());
    let diagnostic = Diagnostic::new(Code::E0203, message, name.span, "no such column")
        .note(format!("{} : {shown}", scope.stream));
    let mut names: Vec<String> = visible(scope.columns).map(str::to_owned).collect();
    names.extend(ctx.visible(&[DeclKind::Param]));
    ctx.report(suggest(diagnostic, &name.name, name.span, names.iter().map(String::as_str)));
}

fn report_name(ctx: &mut Context<'_>, scope: &Scope<'_>, path: &ast::Path) {
    if ctx.is_of_lost_import(path) {
        return;
    }
    let first = &path.segments[0].name;
    if scope.stream.is_empty() && ctx.row_columns.contains(first) {
        let label = format!("column `{first}` differs from row to row");
        ctx.report(Diagnostic::new(Code::E0314, "value is not constant", path.span, label));
    } else if scope.stream.is_empty() {
        ctx.report_unknown("name", path, &[DeclKind::Param]);
    } else {
        report_column(ctx, scope, &path.segments[0]);
    }
}

/// The column of a scope that a one-segment path or a path qualified by the stream names; reports E0203, or E0303 for other
/// expressions.
pub(crate) fn check_column(ctx: &mut Context<'_>, scope: &Scope<'_>, expr: &ast::Expr) -> Option<Column> {
    let ast::ExprKind::Path(path) = &expr.kind else {
        if !matches!(expr.kind, ast::ExprKind::Bad) {
            ctx.report(Diagnostic::new(
                Code::E0303,
                "expected the name of a column",
                expr.span,
                "not a column",
            ));
        }
        return None;
    };
    let start = qualifier_len(scope, path);
    let found = |name: &str| scope.columns.iter().find(|column| column.name == name);
    if let [only] = path.segments.as_slice()
        && let Some(column) = found(&only.name)
    {
        return Some(column.clone());
    }
    if let [only] = &path.segments[start..]
        && let Some(column) = found(&only.name)
    {
        return Some(column.clone());
    }
    if !scope.is_unknown {
        report_column(ctx, scope, path.segments.get(start).unwrap_or(&path.segments[0]));
    }
    None
}

/// One column, or a list of columns in brackets.
pub(crate) fn check_columns(
    ctx: &mut Context<'_>,
    scope: &Scope<'_>,
    expr: &ast::Expr,
) -> Option<Vec<Column>> {
    match &expr.kind {
        ast::ExprKind::List(elements) => {
            let found: Vec<Option<Column>> =
                elements.iter().map(|element| check_column(ctx, scope, element)).collect();
            found.into_iter().collect()
        }
        _ => check_column(ctx, scope, expr).map(|column| vec![column]),
    }
}

fn check_unary(
    ctx: &mut Context<'_>,
    scope: &Scope<'_>,
    op: UnaryOp,
    operand: &ast::Expr,
    expected: Option<&Type>,
    span: Span,
) -> op::Expr {
    if op == UnaryOp::Negate
        && let ast::ExprKind::Literal(Literal::Number(number)) = &operand.kind
    {
        return constants::number(ctx, &format!("-{}", number.digits), number.unit, expected, span);
    }
    let typed = infer(ctx, scope, operand, None);
    let is_right = match (op, typed.ty.required()) {
        (_, Type::Unknown) => return unknown(),
        (UnaryOp::Not, ty) => matches!(ty, Type::Bool),
        (UnaryOp::Negate, Type::Int { signed, .. }) => *signed,
        (UnaryOp::Negate, ty) => {
            matches!(ty, Type::Float { .. } | Type::Ratio | Type::Share | Type::Duration)
        }
    };
    if !is_right {
        let wanted = if op == UnaryOp::Not { "bool" } else { "a signed number" };
        let message = format!("type mismatch: found {}, expected {wanted}", typed.ty);
        ctx.report(Diagnostic::new(
            Code::E0303,
            message,
            operand.span,
            format!("{}, expected {wanted}", typed.ty),
        ));
        return unknown();
    }
    let ty = typed.ty.clone();
    op::Expr { kind: op::ExprKind::Unary { op, operand: Box::new(typed) }, ty }
}

/// A number without unit, whose type is decided by what it stands beside.
fn is_bare_number(expr: &ast::Expr) -> bool {
    match &expr.kind {
        ast::ExprKind::Literal(Literal::Number(number)) => number.unit.is_none(),
        ast::ExprKind::Unary { op: UnaryOp::Negate, operand } | ast::ExprKind::Paren(operand) => {
            is_bare_number(operand)
        }
        _ => false,
    }
}

/// Whether the literal beside a value of this type takes its type: plain numbers and enums do.
fn adapts(ty: &Type) -> Option<&Type> {
    let ty = ty.required();
    (is_number(ty) || matches!(ty, Type::Enum(_))).then_some(ty)
}

fn is_comparison(op: BinaryOp) -> bool {
    use BinaryOp::{Eq, Greater, GreaterEq, In, Less, LessEq, NotEq};
    matches!(op, Eq | NotEq | Less | LessEq | Greater | GreaterEq | In)
}

fn check_binary(
    ctx: &mut Context<'_>,
    scope: &Scope<'_>,
    op: BinaryOp,
    left: &ast::Expr,
    right: &ast::Expr,
    expected: Option<&Type>,
) -> op::Expr {
    if is_comparison(op) && matches!(&left.kind, ast::ExprKind::Binary { op, .. } if is_comparison(*op)) {
        // `1 < x < 10` was reported as E0110.
        infer(ctx, scope, left, None);
        return unknown();
    }
    match op {
        BinaryOp::Range => return units::check_range(ctx, scope, left, right, expected),
        BinaryOp::And | BinaryOp::Or => {
            let nullable = Type::Bool.optional();
            let left = check_expr(ctx, scope, left, Some(&nullable));
            let right = check_expr(ctx, scope, right, Some(&nullable));
            return combine(op, left, right, Type::Bool);
        }
        BinaryOp::In => return units::check_membership(ctx, scope, left, right),
        _ => {}
    }
    let hint = expected.map(Type::required).filter(|ty| is_number(ty) && units::is_arithmetic(op)).cloned();
    let (typed_left, typed_right) = if is_bare_number(left) && !is_bare_number(right) {
        let typed_right = infer(ctx, scope, right, hint.as_ref());
        (infer(ctx, scope, left, adapts(&typed_right.ty)), typed_right)
    } else {
        let typed_left = infer(ctx, scope, left, hint.as_ref());
        let hint = if is_bare_number(right) || matches!(right.kind, ast::ExprKind::Literal(_)) {
            adapts(&typed_left.ty).cloned()
        } else {
            hint
        };
        let typed_right = infer(ctx, scope, right, hint.as_ref());
        (typed_left, typed_right)
    };
    if typed_left.ty.is_unknown() || typed_right.ty.is_unknown() {
        return unknown();
    }
    if units::is_arithmetic(op) {
        units::arithmetic(ctx, op, (typed_left, left.span), (typed_right, right.span))
    } else {
        units::comparison(ctx, op, (typed_left, left.span), (typed_right, right.span))
    }
}

/// A binary operator whose result is nullable if an operand is.
pub(crate) fn combine(op: BinaryOp, left: op::Expr, right: op::Expr, ty: Type) -> op::Expr {
    if left.ty.is_unknown() || right.ty.is_unknown() {
        return unknown();
    }
    let ty = if left.ty.is_optional() || right.ty.is_optional() { ty.optional() } else { ty };
    op::Expr { kind: op::ExprKind::Binary { op, left: Box::new(left), right: Box::new(right) }, ty }
}

/// Columns that an expression reads outside aggregates, in the order of reading.
pub(crate) fn bare_columns<'e>(expr: &'e op::Expr, into: &mut Vec<&'e str>) {
    match &expr.kind {
        op::ExprKind::Column(name) => into.push(name),
        op::ExprKind::Literal(_) | op::ExprKind::Aggregate { .. } => {}
        op::ExprKind::Field { base, .. } | op::ExprKind::FieldOfEach { base, .. } => bare_columns(base, into),
        op::ExprKind::Call { args, .. } | op::ExprKind::List(args) => {
            args.iter().for_each(|arg| bare_columns(arg, into));
        }
        op::ExprKind::Binary { left, right, .. } => {
            bare_columns(left, into);
            bare_columns(right, into);
        }
        op::ExprKind::Unary { operand, .. } | op::ExprKind::Convert(operand) => bare_columns(operand, into),
    }
}
