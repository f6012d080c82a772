//! Params: their types, bounds and values of this compilation, and the functions that only constants may use.

use super::constants::fold;
use super::context::Context;
use super::expressions::{Scope, check_expr, constant, literal, unknown};
use super::fields::check_block;
use super::types::{check_type, is_measured};
use crate::catalog::declarations::PARAM;
use crate::catalog::functions::Function;
use crate::diagnostic::{Code, Diagnostic};
use crate::hir::Param;
use crate::op::{self, Value};
use crate::resolve::{DeclKind, DeclarationId};
use crate::source::Span;
use crate::syntax::ast::{self, ItemKind, Literal};
use crate::syntax::parse;
use crate::types::Type;

/// Params that may be computed inside each other. They are computed after those that they name, so only a cycle comes near,
/// and a longer one is reported where it is entered again.
const PARAM_DEPTH: usize = 128;

/// Types all params, and reports names of `--set` that no param has.
pub(crate) fn check_params(ctx: &mut Context<'_>) -> Vec<Param> {
    let mut params = Vec::new();
    let names: Vec<&str> =
        ctx.of_kind(DeclKind::Param).map(|declaration| declaration.name.as_str()).collect();
    for name in ctx.outside.set.keys().filter(|name| !names.contains(&name.as_str())) {
        let span = Span::new(ctx.program.modules[0].file.source, 0, 0);
        let diagnostic =
            Diagnostic::new(Code::E0208, format!("unknown parameter `{name}` in `--set`"), span, "");
        let diagnostic = match crate::resolve::suggest::help(name, names.iter().copied()) {
            Some(help) => diagnostic.help(help),
            None if names.is_empty() => diagnostic.note("the program has no params"),
            None => diagnostic.note(format!("params: {}", names.join(", "))),
        };
        ctx.report(diagnostic);
    }
    for id in crate::resolve::dependencies::order(ctx.program) {
        if ctx.get(id).kind == DeclKind::Param {
            param(ctx, id);
        }
    }
    for declaration in ctx.of_kind(DeclKind::Param) {
        params.extend(param(ctx, declaration.id));
    }
    params
}

/// A param with its value; `None` after an error, which is reported once.
pub(crate) fn param(ctx: &mut Context<'_>, id: DeclarationId) -> Option<Param> {
    if let Some(known) = ctx.params.get(&id) {
        return known.clone();
    }
    if let Some(start) = ctx.open_params.iter().position(|open| *open == id) {
        report_cycle(ctx, start);
        return None;
    }
    if ctx.open_params.len() >= PARAM_DEPTH {
        return None;
    }
    ctx.open_params.push(id);
    let found = ctx.within(id, |ctx| check_param(ctx, id));
    ctx.open_params.pop();
    ctx.params.insert(id, found.clone());
    found
}

fn report_cycle(ctx: &mut Context<'_>, start: usize) {
    let open = ctx.open_params[start..].to_vec();
    let mut names: Vec<&str> = open.iter().map(|id| ctx.get(*id).name.as_str()).collect();
    names.push(names[0]);
    let message = format!("params form a cycle: {}", names.join(" -> "));
    let span = ctx.get(open[0]).span;
    ctx.report(Diagnostic::new(Code::E0402, message, span, "its value needs itself"));
}

fn check_param(ctx: &mut Context<'_>, id: DeclarationId) -> Option<Param> {
    let declaration = ctx.get(id);
    let item = ctx.item(id);
    let ItemKind::Param { ty: written, default, block, .. } = &item.kind else { return None };
    let ty = check_type(ctx, written);
    let is_scalar = is_measured(&ty) || matches!(ty, Type::Bool | Type::Text | Type::Unknown);
    if !is_scalar {
        let message = format!(
            "type mismatch: param `{}` is {ty}, expected a number, unit, text or bool",
            declaration.local
        );
        ctx.report(Diagnostic::new(Code::E0303, message, written.span, "not a scalar type"));
        return None;
    }
    let default_value = param_constant(ctx, default, &ty)?;
    let (value, span, is_set) = match ctx.outside.set.get(&declaration.name) {
        Some(text) => {
            (parse_set(ctx, &declaration.name, text, &ty, declaration.span)?, declaration.span, true)
        }
        None => (default_value, default.span, has_environment(ctx, default)),
    };
    let mut doc = item.doc.clone();
    if let Some(block) = block {
        let owner = format!("param `{}`", declaration.local);
        let fields = check_block(ctx, &owner, block, PARAM);
        doc = fields.text("doc").or(doc);
        if !is_within(ctx, &declaration.local, &fields, &ty, &value, span) {
            return None;
        }
    }
    Some(Param { name: declaration.name.clone(), ty, value, is_set, doc })
}

/// Whether the default is a variable of the environment that is set.
fn has_environment(ctx: &Context<'_>, default: &ast::Expr) -> bool {
    let ast::ExprKind::Call(call) = &default.kind else { return false };
    let first = call.args.first().map(|argument| &argument.value.kind);
    match first {
        Some(ast::ExprKind::Literal(Literal::Text(name))) if call.callee.text() == "env" => {
            (ctx.outside.environment)(&name.value).is_some()
        }
        _ => false,
    }
}

/// The default of a param: a constant, in which `env` is allowed.
fn param_constant(ctx: &mut Context<'_>, default: &ast::Expr, ty: &Type) -> Option<Value> {
    if let ast::ExprKind::Call(call) = &default.kind
        && call.callee.text() == "env"
    {
        let [name, fallback] = call.args.as_slice() else {
            let message = format!("function `env` takes 2 arguments, found {}", call.args.len());
            ctx.report(Diagnostic::new(Code::E0302, message, call.span, "expected a name and a default"));
            return None;
        };
        let name = constant(ctx, &name.value, &Type::Text)?;
        let fallback = constant(ctx, &fallback.value, ty)?;
        return match (ctx.outside.environment)(super::context::text_of(&name)) {
            Some(text) => parse_set(ctx, super::context::text_of(&name), &text, ty, default.span),
            None => Some(fallback),
        };
    }
    constant(ctx, default, ty)
}

/// A value from outside: text as it is, everything else as a literal of the type.
fn parse_set(ctx: &mut Context<'_>, name: &str, text: &str, ty: &Type, span: Span) -> Option<Value> {
    if matches!(ty, Type::Text) {
        return Some(Value::Text(text.to_owned()));
    }
    let found = literal_value(text, ty);
    if found.is_none() {
        let message = format!("value `{text}` given for `{name}` is not a {ty}");
        ctx.report(Diagnostic::new(Code::E0303, message, span, format!("expected a literal of type {ty}")));
    }
    found
}

/// Reads a literal with the language's own parser and types it in a program of its own.
fn literal_value(text: &str, ty: &Type) -> Option<Value> {
    let mut diagnostics = Vec::new();
    let program_text = format!("edition 2026\nparam value : {ty} = {}\n", text.trim());
    let mut program = crate::resolve::Program::default();
    let source = program.sources.add(crate::source::SourceFile::new("", program_text.clone()));
    let file = parse(source, &program_text, &mut diagnostics);
    let [ast::Item { kind: ItemKind::Param { default, block: None, .. }, .. }] = file.items.as_slice() else {
        return None;
    };
    if !diagnostics.is_empty() || !is_literal(default) {
        return None;
    }
    let default = default.clone();
    program.modules.push(crate::resolve::Module {
        file,
        prefix: String::new(),
        folder: String::new(),
        imports: std::collections::BTreeMap::new(),
        names: std::collections::BTreeMap::new(),
    });
    let set = std::collections::BTreeMap::new();
    let outside = super::context::Outside {
        set: &set,
        environment: &|_| None,
        home: None,
        encoders: &super::no_encoders,
    };
    let mut ctx = Context::new(&program, &outside, Vec::new());
    let typed = check_expr(&mut ctx, &Scope::constant(), &default, Some(ty));
    if !ctx.diagnostics.is_empty() {
        return None;
    }
    fold(&typed).ok()
}

fn is_literal(expr: &ast::Expr) -> bool {
    match &expr.kind {
        ast::ExprKind::Literal(literal) => !matches!(literal, Literal::Null),
        ast::ExprKind::Unary { operand, .. } => is_literal(operand),
        _ => false,
    }
}

fn is_within(
    ctx: &mut Context<'_>,
    name: &str,
    fields: &super::fields::Fields<'_>,
    ty: &Type,
    value: &Value,
    span: Span,
) -> bool {
    let mut is_within = true;
    for (bound, wrong) in [("min", std::cmp::Ordering::Less), ("max", std::cmp::Ordering::Greater)] {
        let Some(expr) = fields.expr(bound) else { continue };
        let Some(limit) = constant(ctx, expr, ty) else { continue };
        if order(value, &limit) == Some(wrong) {
            let written = ctx.sources().snippet(expr.span);
            let side = if bound == "min" { "below its min" } else { "above its max" };
            let message = format!("value of param `{name}` is {side} {written}");
            ctx.report(Diagnostic::new(Code::E0502, message, span, side).label(expr.span, bound));
            is_within = false;
        }
    }
    if let Some(expr) = fields.expr("choices")
        && let Some(Value::List(choices)) = constant(ctx, expr, &Type::List(Box::new(ty.clone())))
        && !choices.contains(value)
    {
        let message = format!("value of param `{name}` is not one of its choices");
        ctx.report(Diagnostic::new(Code::E0205, message, span, "not a choice").label(expr.span, "choices"));
        is_within = false;
    }
    is_within
}

fn order(left: &Value, right: &Value) -> Option<std::cmp::Ordering> {
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => Some(left.cmp(right)),
        (Value::UInt(left), Value::UInt(right)) => Some(left.cmp(right)),
        (Value::UInt(_), Value::Int(_)) => Some(std::cmp::Ordering::Greater),
        (Value::Int(_), Value::UInt(_)) => Some(std::cmp::Ordering::Less),
        (Value::Float(left), Value::Float(right)) => left.partial_cmp(right),
        (Value::Text(left), Value::Text(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

/// `path(...)`, which is replaced by its value, and `env(...)`, which only the default of a param may be.
pub(crate) fn check_constant_call(
    ctx: &mut Context<'_>,
    function: &'static Function,
    args: &[&ast::Expr],
    call: &ast::Call,
) -> op::Expr {
    if function.name == "env" {
        let message = "`env` is only allowed as the default of a param";
        let diagnostic = Diagnostic::new(Code::E0314, message, call.span, "read from outside the program");
        ctx.report(diagnostic.help("declare `param name : text = env(...)` and use `name`"));
        return unknown();
    }
    let mut joined = String::new();
    for arg in args {
        let Some(Value::Text(part)) = constant(ctx, arg, &Type::Text) else { return unknown() };
        if !joined.is_empty() && !joined.ends_with('/') {
            joined.push('/');
        }
        joined.push_str(if joined.is_empty() { &part } else { part.trim_start_matches('/') });
    }
    literal(Value::Text(joined), Type::Text)
}
