//! `assemble`: a prompt filled from the columns of each row.

use super::{Applied, companion_spans, set_column};
use crate::check::context::{Context, Stream};
use crate::check::expressions::check_expr;
use crate::check::fields::read_choice;
use crate::check::prompts;
use crate::diagnostic::{Code, Diagnostic};
use crate::op::{self, Op};
use crate::resolve::DeclKind;
use crate::resolve::suggest::suggest;
use crate::syntax::ast;
use crate::types::{Column, Type};

pub(super) fn assemble(ctx: &mut Context<'_>, applied: &Applied<'_>) -> Option<Stream> {
    let Some((first, named)) = applied.step.args.split_first().filter(|(first, _)| first.name.is_none())
    else {
        let message = "operator `assemble` names no prompt";
        let diagnostic =
            Diagnostic::new(Code::E0207, message, applied.callee_span(), "the prompt comes first");
        ctx.report(diagnostic);
        return None;
    };
    let ast::ExprKind::Path(path) = &first.value.kind else {
        let message = "first argument of `assemble` is not the name of a prompt";
        ctx.report(Diagnostic::new(Code::E0303, message, first.span, "expected a prompt"));
        return None;
    };
    let declaration = ctx.expect(path, &[DeclKind::Prompt])?;
    let info = prompts::prompt(ctx, declaration.id)?;
    let (args, render) = check_arguments(ctx, applied, &declaration.local, &info.op, named)?;
    prompts::check_use(ctx, &declaration.local, &info, &render, applied.callee_span());
    let name = applied.alias()?;
    let input = applied.keep_key(ctx, &[&name]);
    let mut columns = input.columns.clone();
    let tok = Type::Tok(Some(info.op.tokenizer.clone()));
    set_column(&mut columns, &name, Type::Text);
    set_column(&mut columns, &format!("{name}_messages"), Type::List(Box::new(Type::Message)));
    set_column(&mut columns, &format!("{name}_tokens"), tok);
    set_column(&mut columns, &format!("{name}_lineage"), lineage_type());
    let is_core = info.op.tokenizer == crate::check::tokenizers::word_punct().nominal;
    let op = if !is_core {
        let what = format!("operator `assemble` with tokenizer `{}`", info.op.tokenizer.name);
        Op::Unavailable { area: "runtime".to_owned(), what }
    } else if render == "model" {
        Op::Unavailable { area: "runtime".to_owned(), what: "rendering by a model's template".to_owned() }
    } else {
        Op::Assemble(op::Assemble { prompt: info.op, args, render, name })
    };
    let key = input.key.clone();
    Some(applied.emit(ctx, &input, op, Vec::new(), columns, key))
}

/// Byte ranges of the prompt with where each comes from.
fn lineage_type() -> Type {
    let column = |name: &str, ty: Type| Column { name: name.to_owned(), ty };
    Type::List(Box::new(Type::Record(vec![
        column("start", Type::U32),
        column("end", Type::U32),
        column("message", Type::U32),
        column("formal", Type::Text.optional()),
        column("doc", Type::Text.optional()),
        column("doc_start", Type::U64.optional()),
        column("doc_end", Type::U64.optional()),
        column("via", Type::List(Box::new(Type::Text))),
    ])))
}

/// A value for every formal, in the order of the formals, with its spans; and the rendering.
#[expect(clippy::type_complexity, reason = "the type is that of `op::Assemble::args`")]
fn check_arguments(
    ctx: &mut Context<'_>,
    applied: &Applied<'_>,
    prompt_name: &str,
    prompt: &op::Prompt,
    named: &[ast::Argument],
) -> Option<(Vec<(String, op::Expr, Option<op::Expr>)>, String)> {
    let mut render = "plain".to_owned();
    let mut given: Vec<(&ast::Ident, &ast::Expr)> = Vec::new();
    let mut is_right = true;
    for argument in named {
        let Some(name) = &argument.name else {
            let message = "arguments of `assemble` after the prompt have names";
            let diagnostic = Diagnostic::new(Code::E0302, message, argument.span, "no name");
            ctx.report(diagnostic.help("write `formal = value`"));
            is_right = false;
            continue;
        };
        if given.iter().any(|(other, _)| other.name == name.name) {
            let message = format!("argument `{}` of `assemble` is given twice", name.name);
            ctx.report(Diagnostic::new(Code::E0202, message, name.span, "given again here"));
            is_right = false;
        } else if name.name == "render" {
            match read_render(ctx, &argument.value) {
                Some(found) => render = found,
                None => is_right = false,
            }
        } else if prompt.formals.iter().any(|formal| formal.name == name.name) {
            given.push((name, &argument.value));
        } else {
            let message = format!("prompt `{prompt_name}` has no formal `{}`", name.name);
            let names = prompt.formals.iter().map(|formal| formal.name.as_str());
            let diagnostic = Diagnostic::new(Code::E0206, message, name.span, "no such formal");
            ctx.report(suggest(diagnostic, &name.name, name.span, names.chain(["render"])));
            is_right = false;
        }
    }
    let mut args = Vec::with_capacity(prompt.formals.len());
    for formal in &prompt.formals {
        let Some((_, expr)) = given.iter().find(|(name, _)| name.name == formal.name) else {
            let message = format!("formal `{}` of prompt `{prompt_name}` is not given", formal.name);
            let label = format!("`{}` is missing", formal.name);
            let diagnostic = Diagnostic::new(Code::E0207, message, applied.callee_span(), label);
            ctx.report(diagnostic.help(format!("add `{} = ...` of type {}", formal.name, formal.ty)));
            is_right = false;
            continue;
        };
        let value = check_expr(ctx, &applied.scope(), expr, Some(&formal.ty));
        is_right &= !value.ty.is_unknown();
        let spans = companion_spans(&value, &applied.input.columns);
        args.push((formal.name.clone(), value, spans));
    }
    is_right.then_some((args, render))
}

/// `plain`, `chatml` or `model(m)`, which gives `model`.
fn read_render(ctx: &mut Context<'_>, expr: &ast::Expr) -> Option<String> {
    if let ast::ExprKind::Call(call) = &expr.kind
        && call.callee.text() == "model"
    {
        let [ast::Argument { name: None, value: ast::Expr { kind: ast::ExprKind::Path(path), .. }, .. }] =
            call.args.as_slice()
        else {
            let message = "`model` takes the name of a model";
            ctx.report(Diagnostic::new(Code::E0302, message, call.span, "expected a model"));
            return None;
        };
        ctx.expect(path, &[DeclKind::Model])?;
        return Some("model".to_owned());
    }
    read_choice(ctx, "`render` of operator `assemble`", expr, &["plain", "chatml"])
}
