//! Calls in expressions against the table of functions.
//!
//! Nulls pass through: a row function of a nullable argument is nullable, unless it decides about null itself (`if`, `coalesce`,
//! `contents`). Aggregates skip nulls.

use super::context::Context;
use super::expressions::{Aggregates, Scope, check_column, check_expr, coerce, constant, literal, unknown};
use super::types::{Fit, fit, is_measured, report_mismatch, unify};
use crate::catalog::functions::{Argument, FUNCTIONS, Function, Group, Returns};
use crate::catalog::{self};
use crate::diagnostic::{Code, Diagnostic};
use crate::op::{self, Value};
use crate::resolve::DeclKind;
use crate::resolve::suggest::suggest;
use crate::source::Span;
use crate::syntax::ast;
use crate::types::Type;

/// Named arguments that functions take beside the ones in order.
const NAMED: &[(&str, &[&str])] = &[("contents", &["roles"]), ("prefers", &["by", "within"])];

/// A typed call.
pub(crate) fn check_call(
    ctx: &mut Context<'_>,
    scope: &Scope<'_>,
    call: &ast::Call,
    expected: Option<&Type>,
) -> op::Expr {
    let name = call.callee.text();
    let Some(function) = catalog::function(&name) else {
        report_function(ctx, &name, call.callee.span);
        return unknown();
    };
    let Some(named) = split_named(ctx, function, call) else { return unknown() };
    let args: Vec<&ast::Expr> =
        call.args.iter().filter(|argument| argument.name.is_none()).map(|argument| &argument.value).collect();
    if !check_count(ctx, function, args.len(), call) {
        return unknown();
    }
    match (function.group, function.name) {
        (Group::Constant, _) => super::params::check_constant_call(ctx, function, &args, call),
        (Group::Aggregate, _) => check_aggregate(ctx, scope, function, &args, &named, call),
        (_, "if") => check_if(ctx, scope, function, &args, expected),
        (_, "coalesce") => check_coalesce(ctx, scope, function, &args, expected),
        (_, "tokens_of") => check_tokens_of(ctx, scope, function, &args, call),
        (_, "contents") => check_contents(ctx, scope, function, &args, &named, call),
        (_, "prefers") => check_prefers(ctx, scope, function, &args, &named),
        _ => check_row(ctx, scope, function, &args),
    }
}

fn report_function(ctx: &mut Context<'_>, name: &str, span: Span) {
    let diagnostic =
        Diagnostic::new(Code::E0206, format!("unknown function `{name}`"), span, "no such function");
    let diagnostic = match name {
        "row" => diagnostic.note("`row` is only for the rows of a test"),
        "by" | "rrf" | "zscore" | "history" | "imitate" | "reinforce" | "use" | "ewc" | "seed" => {
            diagnostic.note(format!("`{name}` is only the value of a field or parameter that takes it"))
        }
        _ if catalog::operator(name).is_some() => {
            diagnostic.note(format!("`{name}` is an operator: it stands after `|>`"))
        }
        _ => diagnostic,
    };
    ctx.report(suggest(diagnostic, name, span, FUNCTIONS.iter().map(|function| function.name)));
}

/// Arguments with a name; `over` belongs to aggregates. Reports names that the function does not take.
fn split_named<'c>(
    ctx: &mut Context<'_>,
    function: &'static Function,
    call: &'c ast::Call,
) -> Option<Vec<(&'c str, &'c ast::Expr)>> {
    let own =
        NAMED.iter().find(|(name, _)| *name == function.name).map_or(&[] as &[&str], |(_, names)| names);
    let mut names: Vec<&str> = own.to_vec();
    if function.group == Group::Aggregate {
        names.push("over");
    }
    let mut found = Vec::new();
    let mut is_right = true;
    for argument in &call.args {
        let Some(name) = &argument.name else { continue };
        if names.contains(&name.name.as_str()) {
            found.push((name.name.as_str(), &argument.value));
            continue;
        }
        let message = format!("unknown parameter `{}` of function `{}`", name.name, function.name);
        let diagnostic = Diagnostic::new(Code::E0206, message, name.span, "no such parameter");
        ctx.report(suggest(diagnostic, &name.name, name.span, names.iter().copied()));
        is_right = false;
    }
    is_right.then_some(found)
}

fn check_count(ctx: &mut Context<'_>, function: &'static Function, count: usize, call: &ast::Call) -> bool {
    let most = if function.is_variadic { usize::MAX } else { function.arguments.len() };
    if (function.required..=most).contains(&count) {
        return true;
    }
    let wanted = match (function.required, most) {
        (least, usize::MAX) => format!("at least {least}"),
        (least, most) if least == most => least.to_string(),
        (least, most) => format!("{least} to {most}"),
    };
    let noun = if wanted == "1" { "argument" } else { "arguments" };
    let message = format!("function `{}` takes {wanted} {noun}, found {count}", function.name);
    ctx.report(Diagnostic::new(Code::E0302, message, call.span, format!("expected {wanted}")));
    false
}

/// A call with its nullability: nullable if an argument is.
fn row_call(function: &'static Function, args: Vec<op::Expr>, ty: Type) -> op::Expr {
    if args.iter().any(|arg| arg.ty.is_unknown()) {
        return unknown();
    }
    let ty = if args.iter().any(|arg| arg.ty.is_optional()) { ty.optional() } else { ty };
    op::Expr { kind: op::ExprKind::Call { function: function.name, args }, ty }
}

fn check_row(
    ctx: &mut Context<'_>,
    scope: &Scope<'_>,
    function: &'static Function,
    args: &[&ast::Expr],
) -> op::Expr {
    let mut typed: Vec<op::Expr> = Vec::with_capacity(args.len());
    for (idx, arg) in args.iter().enumerate() {
        let Some(wanted) = function.arguments.get(idx).or(function.arguments.last()) else { continue };
        let first = typed.first().map(|first| first.ty.clone());
        let value = check_argument(ctx, scope, function, *wanted, arg, first.as_ref());
        typed.push(value);
    }
    if typed.iter().any(|arg| arg.ty.is_unknown()) {
        return unknown();
    }
    let first = typed.first().map_or(Type::Unknown, |first| first.ty.required().clone());
    if matches!(function.name, "len" | "slice") && !matches!(first, Type::Text | Type::List(_)) {
        return report_argument(ctx, function, &first, "text or a list", args[0].span);
    }
    if matches!(function.name, "any" | "all")
        && !matches!(&first, Type::List(element) if matches!(element.required(), Type::Bool | Type::Unknown))
    {
        return report_argument(ctx, function, &first, "a list of bools", args[0].span);
    }
    if function.name == "cosine" && first != *typed[1].ty.required() {
        report_mismatch(ctx, Code::E0301, typed[1].ty.required(), &first, args[1].span);
        return unknown();
    }
    let ty = match function.returns {
        Returns::Bool => Type::Bool,
        Returns::Text => Type::Text,
        Returns::OptionalText => Type::Text.optional(),
        Returns::Texts => Type::List(Box::new(Type::Text)),
        Returns::I64 => Type::I64,
        Returns::F64 => Type::F64,
        Returns::Size => Type::Size,
        Returns::Same => first,
        Returns::OptionalElement => match first {
            Type::List(element) => element.optional(),
            _ => Type::Unknown,
        },
        Returns::Flat => match first {
            Type::List(inner) if matches!(inner.required(), Type::List(_)) => inner.required().clone(),
            other => return report_argument(ctx, function, &other, "a list of lists", args[0].span),
        },
        Returns::Special => Type::Unknown,
    };
    row_call(function, typed, ty)
}

fn report_argument(
    ctx: &mut Context<'_>,
    function: &'static Function,
    found: &Type,
    wanted: &str,
    span: Span,
) -> op::Expr {
    if !found.is_unknown() {
        let message = format!("type mismatch: `{}` takes {wanted}, found {found}", function.name);
        ctx.report(Diagnostic::new(Code::E0303, message, span, format!("{found}, expected {wanted}")));
    }
    unknown()
}

fn check_argument(
    ctx: &mut Context<'_>,
    scope: &Scope<'_>,
    function: &'static Function,
    wanted: Argument,
    arg: &ast::Expr,
    first: Option<&Type>,
) -> op::Expr {
    let exactly = |ctx: &mut Context<'_>, ty: Type| check_expr(ctx, scope, arg, Some(&ty.optional()));
    let first = first.map(Type::required);
    match wanted {
        Argument::Text => exactly(ctx, Type::Text),
        Argument::Texts => exactly(ctx, Type::List(Box::new(Type::Text))),
        Argument::Bool => exactly(ctx, Type::Bool),
        Argument::Int => exactly(ctx, Type::I64),
        Argument::Grades => {
            let typed = check_expr(ctx, scope, arg, None);
            let grades = Type::Map(Box::new(Type::Text), Box::new(Type::Int { signed: true, bits: 32 }));
            match typed.ty.required() {
                Type::Unknown => typed,
                Type::List(element) if matches!(element.required(), Type::Text) => typed,
                _ => exactly(ctx, grades),
            }
        }
        Argument::Same => exactly(ctx, first.cloned().unwrap_or(Type::Unknown)),
        Argument::Element => match first {
            Some(Type::List(element)) => exactly(ctx, element.required().clone()),
            _ => check_expr(ctx, scope, arg, None),
        },
        Argument::Regex => check_regex(ctx, arg),
        Argument::Any => check_expr(ctx, scope, arg, None),
        Argument::TextOrTexts
        | Argument::Number
        | Argument::Numbers
        | Argument::List
        | Argument::Spans
        | Argument::Vector => {
            let typed = check_expr(ctx, scope, arg, None);
            match accepts(wanted, typed.ty.required()) {
                Ok(()) => typed,
                Err(what) => report_argument(ctx, function, &typed.ty.clone(), what, arg.span),
            }
        }
    }
}

fn accepts(wanted: Argument, ty: &Type) -> Result<(), &'static str> {
    let element = if let Type::List(element) = ty { Some(element.required()) } else { None };
    let is_text = |ty: &Type| matches!(ty, Type::Text | Type::Enum(_) | Type::Unknown);
    let (is_right, what) = match wanted {
        Argument::TextOrTexts => (is_text(ty) || element.is_some_and(is_text), "text or a list of texts"),
        Argument::Number => (is_measured(ty), "a number"),
        Argument::Numbers => (is_measured(ty) || element.is_some_and(is_measured), "a number"),
        Argument::List => (element.is_some(), "a list"),
        Argument::Spans => {
            let is_spans =
                |ty: &Type| matches!(ty, Type::List(inner) if matches!(inner.required(), Type::Span));
            (is_spans(ty) || element.is_some_and(is_spans), "a list of spans")
        }
        Argument::Vector => (matches!(ty, Type::Vector { .. }), "a vector"),
        _ => (true, ""),
    };
    if is_right || ty.is_unknown() { Ok(()) } else { Err(what) }
}

/// A constant text that compiles as a regular expression of linear time; E0312 otherwise.
fn check_regex(ctx: &mut Context<'_>, arg: &ast::Expr) -> op::Expr {
    let Some(Value::Text(pattern)) = constant(ctx, arg, &Type::Text) else { return unknown() };
    // The same bound as the engine's: patterns are short, and their automata stay below 10 MiB.
    match regex::RegexBuilder::new(&pattern).size_limit(10 << 20).build() {
        Ok(_) => literal(Value::Text(pattern), Type::Text),
        Err(error) => {
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or("").trim_start_matches("error: ").to_owned();
            let message = "regular expression does not compile".to_owned();
            ctx.report(Diagnostic::new(Code::E0312, message, arg.span, "in this expression").note(reason));
            unknown()
        }
    }
}

fn check_if(
    ctx: &mut Context<'_>,
    scope: &Scope<'_>,
    function: &'static Function,
    args: &[&ast::Expr],
    expected: Option<&Type>,
) -> op::Expr {
    let condition = check_expr(ctx, scope, args[0], Some(&Type::Bool.optional()));
    let Some(branches) = check_alternatives(ctx, scope, &args[1..], expected) else { return unknown() };
    let ty = branches[0].ty.clone();
    let is_optional = branches.iter().any(|branch| branch.ty.is_optional());
    if condition.ty.is_unknown() {
        return unknown();
    }
    let ty = if is_optional { ty.optional() } else { ty };
    let args = std::iter::once(condition).chain(branches).collect();
    op::Expr { kind: op::ExprKind::Call { function: function.name, args }, ty }
}

fn check_coalesce(
    ctx: &mut Context<'_>,
    scope: &Scope<'_>,
    function: &'static Function,
    args: &[&ast::Expr],
    expected: Option<&Type>,
) -> op::Expr {
    let Some(args) = check_alternatives(ctx, scope, args, expected) else { return unknown() };
    let is_optional = args.iter().all(|arg| arg.ty.is_optional());
    let inner = args[0].ty.required().clone();
    let ty = if is_optional { inner.optional() } else { inner };
    op::Expr { kind: op::ExprKind::Call { function: function.name, args }, ty }
}

/// Expressions of which one is taken: converted to their common type, each with its own nullability.
fn check_alternatives(
    ctx: &mut Context<'_>,
    scope: &Scope<'_>,
    args: &[&ast::Expr],
    expected: Option<&Type>,
) -> Option<Vec<op::Expr>> {
    let hint = expected.map(|ty| ty.clone().optional());
    let typed: Vec<op::Expr> = args.iter().map(|arg| check_hinted(ctx, scope, arg, hint.as_ref())).collect();
    if typed.iter().any(|arg| arg.ty.is_unknown()) {
        return None;
    }
    let mut common = typed[0].ty.clone();
    for (arg, written) in typed.iter().zip(args).skip(1) {
        match unify(&common, &arg.ty) {
            Some(joined) => common = joined,
            None => {
                let code = if let Fit::No(code) = fit(arg.ty.required(), common.required()) {
                    code
                } else {
                    Code::E0303
                };
                report_mismatch(ctx, code, &arg.ty.clone(), &common, written.span);
                return None;
            }
        }
    }
    let common = common.required().clone().optional();
    let converted = typed.into_iter().zip(args).map(|(arg, written)| {
        if matches!(arg.ty, Type::Null) {
            return literal(Value::Null, common.clone());
        }
        coerce(ctx, arg, &common, written.span)
    });
    Some(converted.collect())
}

/// Types an expression whose literals adapt to `hint`, without requiring it.
fn check_hinted(ctx: &mut Context<'_>, scope: &Scope<'_>, expr: &ast::Expr, hint: Option<&Type>) -> op::Expr {
    match (&expr.kind, hint) {
        (ast::ExprKind::Literal(ast::Literal::Number(number)), Some(_)) if number.unit.is_none() => {
            super::constants::number(ctx, &number.digits, None, hint, expr.span)
        }
        _ => check_expr(ctx, scope, expr, None),
    }
}

fn check_tokens_of(
    ctx: &mut Context<'_>,
    scope: &Scope<'_>,
    function: &'static Function,
    args: &[&ast::Expr],
    call: &ast::Call,
) -> op::Expr {
    let text = check_expr(ctx, scope, args[0], Some(&Type::Text.optional()));
    let tokenizer = match args.get(1) {
        Some(ast::Expr { kind: ast::ExprKind::Path(path), .. }) => {
            match ctx.expect(path, &[DeclKind::Tokenizer]) {
                Some(declaration) => super::tokenizers::tokenizer(ctx, declaration.id),
                None => None,
            }
        }
        Some(other) => {
            let message = "second argument of `tokens_of` is not the name of a tokenizer";
            ctx.report(Diagnostic::new(Code::E0303, message, other.span, "expected a tokenizer"));
            None
        }
        None => super::tokenizers::default_tokenizer(ctx, call.span),
    };
    match tokenizer {
        Some(tokenizer) => row_call(function, vec![text], Type::Tok(Some(tokenizer.nominal))),
        None => unknown(),
    }
}

fn check_contents(
    ctx: &mut Context<'_>,
    scope: &Scope<'_>,
    function: &'static Function,
    args: &[&ast::Expr],
    named: &[(&str, &ast::Expr)],
    call: &ast::Call,
) -> op::Expr {
    let turns = check_expr(ctx, scope, args[0], None);
    let fields = match turns.ty.required() {
        Type::Unknown => return unknown(),
        Type::List(element) => super::expressions::fields_of(element),
        _ => None,
    };
    let has = |name: &str| {
        let field = fields.as_ref()?.iter().find(|field| field.name == name)?;
        matches!(field.ty.required(), Type::Text | Type::Enum(_) | Type::Unknown).then_some(())
    };
    if has("role").is_none() || has("content").is_none() {
        let ty = turns.ty.clone();
        return report_argument(
            ctx,
            function,
            &ty,
            "a list of records with `role` and `content`",
            args[0].span,
        );
    }
    let Some((_, roles)) = named.iter().find(|(name, _)| *name == "roles") else {
        let message = "missing parameter `roles` of function `contents`";
        let diagnostic = Diagnostic::new(Code::E0207, message, call.span, "`roles` is required");
        ctx.report(diagnostic.help("add `roles = [\"user\"]`"));
        return unknown();
    };
    let Some(roles) = constant(ctx, roles, &Type::List(Box::new(Type::Text))) else { return unknown() };
    let roles = literal(roles, Type::List(Box::new(Type::Text)));
    row_call(function, vec![turns, roles], Type::Text)
}

fn check_prefers(
    ctx: &mut Context<'_>,
    scope: &Scope<'_>,
    function: &'static Function,
    args: &[&ast::Expr],
    named: &[(&str, &ast::Expr)],
) -> op::Expr {
    let mut typed = vec![check_expr(ctx, scope, args[0], Some(&Type::Text.optional()))];
    for wanted in ["by", "within"] {
        if let Some((_, expr)) = named.iter().find(|(name, _)| *name == wanted) {
            typed.push(check_expr(ctx, scope, expr, None));
        }
    }
    row_call(function, typed, Type::Bool)
}

fn check_aggregate(
    ctx: &mut Context<'_>,
    scope: &Scope<'_>,
    function: &'static Function,
    args: &[&ast::Expr],
    named: &[(&str, &ast::Expr)],
    call: &ast::Call,
) -> op::Expr {
    let over = named.iter().find(|(name, _)| *name == "over").map(|(_, expr)| *expr);
    let counted = args.first().is_some_and(|arg| is_stream(scope, arg));
    if counted && function.name == "count" {
        return finish_aggregate(ctx, scope, function, Vec::new(), Type::I64, over, call);
    }
    let inner = scope.with_aggregates(Aggregates::Refused);
    let typed: Vec<op::Expr> = match (function.name, args) {
        ("quantile", [value, share]) => {
            let value = check_argument(ctx, &inner, function, Argument::Numbers, value, None);
            vec![value, check_expr(ctx, &Scope::constant(), share, Some(&Type::Share))]
        }
        _ => args
            .iter()
            .map(|arg| {
                let wanted = function.arguments.first().copied().unwrap_or(Argument::Any);
                check_argument(
                    ctx,
                    if is_list_form(function, args) { scope } else { &inner },
                    function,
                    wanted,
                    arg,
                    None,
                )
            })
            .collect(),
    };
    if typed.iter().any(|arg| arg.ty.is_unknown()) {
        return unknown();
    }
    if is_list_form(function, args) && typed.len() > 1 {
        return check_extreme(ctx, function, typed, args);
    }
    let is_list = typed.first().is_some_and(|arg| matches!(arg.ty.required(), Type::List(_)));
    if is_list && over.is_none() && function.name != "collect" && function.name != "count" {
        return check_list_form(ctx, function, typed, args[0].span);
    }
    let value = typed.first().map_or(Type::I64, |arg| arg.ty.clone());
    let Some(ty) = aggregate_type(function.name, &value) else {
        return report_argument(
            ctx,
            function,
            &value,
            "numbers",
            args.first().map_or(call.span, |arg| arg.span),
        );
    };
    finish_aggregate(ctx, scope, function, typed, ty, over, call)
}

/// `min(a, b)` and `max(a, b)` compare values of one row.
fn is_list_form(function: &Function, args: &[&ast::Expr]) -> bool {
    matches!(function.name, "min" | "max") && args.len() > 1
}

/// Whether an argument names the stream of the scope as a whole: `count(prompts)`.
fn is_stream(scope: &Scope<'_>, arg: &ast::Expr) -> bool {
    let ast::ExprKind::Path(path) = &arg.kind else { return false };
    !scope.stream.is_empty()
        && path.text() == scope.stream
        && !scope.columns.iter().any(|column| column.name == path.segments[0].name)
}

fn check_extreme(
    ctx: &mut Context<'_>,
    function: &'static Function,
    typed: Vec<op::Expr>,
    args: &[&ast::Expr],
) -> op::Expr {
    let mut common = typed[0].ty.required().clone();
    for (arg, written) in typed.iter().zip(args).skip(1) {
        match unify(&common, arg.ty.required()) {
            Some(joined) => common = joined,
            None => {
                let code =
                    if let Fit::No(code) = fit(arg.ty.required(), &common) { code } else { Code::E0303 };
                report_mismatch(ctx, code, &arg.ty.clone(), &common, written.span);
                return unknown();
            }
        }
    }
    if !is_measured(&common) && !matches!(common, Type::Text | Type::Date | Type::Timestamp) {
        return report_argument(ctx, function, &common, "numbers, texts or times", args[0].span);
    }
    let nullable = common.clone().optional();
    let typed =
        typed.into_iter().zip(args).map(|(arg, written)| coerce(ctx, arg, &nullable, written.span)).collect();
    row_call(function, typed, common)
}

/// An aggregate of the elements of a list within one row; nullable, since the list may be empty.
fn check_list_form(
    ctx: &mut Context<'_>,
    function: &'static Function,
    typed: Vec<op::Expr>,
    span: Span,
) -> op::Expr {
    let Type::List(element) = typed[0].ty.required().clone() else { return unknown() };
    if function.name == "first" {
        return row_call(function, typed, element.optional());
    }
    match aggregate_type(function.name, &element) {
        Some(ty) if function.name == "sum" => row_call(function, typed, ty.required().clone()),
        Some(ty) => row_call(function, typed, ty.optional()),
        None => report_argument(ctx, function, &typed[0].ty.clone(), "a list of numbers", span),
    }
}

/// The result of an aggregate over values of a type: non-null where the values are, since groups are not empty.
fn aggregate_type(name: &str, value: &Type) -> Option<Type> {
    let required = value.required();
    let result = match name {
        "count" => return Some(Type::I64),
        "collect" => return Some(Type::List(Box::new(required.clone()))),
        "first" => return Some(value.clone()),
        "min" | "max" => match required {
            Type::Text | Type::Date | Type::Timestamp | Type::Unknown => required.clone(),
            ty if is_measured(ty) => ty.clone(),
            _ => return None,
        },
        "mean" if matches!(required, Type::Bool) => Type::Share,
        "sum" => match required {
            Type::Int { signed: true, .. } => Type::I64,
            Type::Int { signed: false, .. } => Type::U64,
            Type::Float { .. } => Type::F64,
            ty if is_measured(ty) => ty.clone(),
            _ => return None,
        },
        "quantile" | "p50" | "p90" | "p95" | "p99" if is_measured(required) => required.clone(),
        "mean" | "median" | "stddev" | "mad" => match required {
            Type::Int { .. } | Type::Float { .. } => Type::F64,
            ty if is_measured(ty) => ty.clone(),
            _ => return None,
        },
        _ => return None,
    };
    // The deviation of one row is not defined.
    Some(if value.is_optional() || name == "stddev" { result.optional() } else { result })
}

fn finish_aggregate(
    ctx: &mut Context<'_>,
    scope: &Scope<'_>,
    function: &'static Function,
    args: Vec<op::Expr>,
    ty: Type,
    over: Option<&ast::Expr>,
    call: &ast::Call,
) -> op::Expr {
    let is_allowed = match scope.aggregates {
        Aggregates::Allowed => true,
        Aggregates::Windows => over.is_some(),
        Aggregates::Refused => false,
    };
    if !is_allowed {
        let message = format!("aggregate `{}` is not allowed here", function.name);
        let diagnostic = Diagnostic::new(Code::E0303, message, call.span, "computed over many rows");
        let help = match scope.aggregates {
            Aggregates::Windows => "add `over = column` to repeat the value in every row of its group",
            _ => "use it in `aggregate`, in metrics or in `expect`",
        };
        ctx.report(diagnostic.help(help));
        return unknown();
    }
    let over = match over {
        Some(expr) => match check_column(ctx, scope, expr) {
            Some(column) => Some(column.name),
            None => return unknown(),
        },
        None => None,
    };
    op::Expr { kind: op::ExprKind::Aggregate { function: function.name, args, over }, ty }
}
