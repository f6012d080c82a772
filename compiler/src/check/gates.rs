//! Gates: SQL over recorded runs, and what its one row must satisfy.
//!
//! The SQL itself is checked in `sql/gate.rs`; here are the requirements over its columns and the actions of outcomes.
//! Deciding is the bench area's.

use super::benches::{self, BenchInfo};
use super::context::Context;
use super::expressions::{Scope, check_expr};
use super::sql::{self, gate};
use crate::diagnostic::{Code, Diagnostic};
use crate::hir;
use crate::op;
use crate::resolve::suggest::suggest;
use crate::resolve::{DeclKind, DeclarationId};
use crate::syntax::ast;
use crate::types::{Column, Type};

/// Actions of outcomes: name, whether the first argument is an artifact, whether a label follows.
const ACTIONS: &[(&str, bool, bool)] =
    &[("tag", true, true), ("publish", true, false), ("keep", false, true), ("quarantine", true, false)];

/// What can be tagged and published.
const ARTIFACTS: &[DeclKind] = &[
    DeclKind::Adapter,
    DeclKind::Index,
    DeclKind::Embedder,
    DeclKind::Scorer,
    DeclKind::Patterns,
    DeclKind::Model,
    DeclKind::Tokenizer,
    DeclKind::Dynamics,
    DeclKind::Recursion,
    DeclKind::Diffusion,
];

/// Checks all gates of the program and gives those without errors.
pub(crate) fn check_all(ctx: &mut Context<'_>) -> Vec<hir::Gate> {
    let ids: Vec<DeclarationId> = ctx.of_kind(DeclKind::Gate).map(|declaration| declaration.id).collect();
    ids.into_iter().filter_map(|id| ctx.within(id, |ctx| check_gate(ctx, id))).collect()
}

fn check_gate(ctx: &mut Context<'_>, id: DeclarationId) -> Option<hir::Gate> {
    let item = ctx.item(id);
    let ast::ItemKind::Gate { name, on, sql, requires, outcomes } = &item.kind else { return None };
    let errors_before = ctx.error_count();
    let bench_id = ctx.expect(on, &[DeclKind::Bench]).map(|declaration| declaration.id);
    let bench = bench_id.and_then(|id| benches::bench(ctx, id));
    if let (Some(info), Some(bench_id)) = (&bench, bench_id)
        && info.hir.suite.is_none()
    {
        let message = format!("missing field `record` of bench `{}`", on.text());
        let diagnostic =
            Diagnostic::new(Code::E0207, message, on.span, "its gate has no history to decide on");
        let place = ctx.get(bench_id).span;
        ctx.report(
            diagnostic.label(place, "this bench").help("add `record = history(\"...\")` to the bench"),
        );
    }
    let columns = check_sql(ctx, &name.name, &on.text(), sql, bench.as_ref());
    let conditions: Vec<Option<op::Expr>> =
        requires.iter().map(|require| check_require(ctx, &name.name, columns.as_deref(), require)).collect();
    let mut actions = Vec::new();
    for outcome in outcomes {
        actions.extend(outcome.calls.iter().filter_map(|call| check_action(ctx, outcome.on_pass, call)));
    }
    if ctx.error_count() > errors_before {
        return None;
    }
    let text = |expr: &ast::Expr| (ctx.sources().snippet(expr.span).to_owned(), expr.span);
    Some(hir::Gate {
        name: ctx.get(id).name.clone(),
        bench: bench?.hir.name,
        sql: sql.value.clone(),
        requires: requires.iter().map(text).collect(),
        conditions: conditions.into_iter().collect::<Option<_>>()?,
        outcomes: actions,
        span: item.span,
    })
}

fn check_sql(
    ctx: &mut Context<'_>,
    gate: &str,
    bench_name: &str,
    text: &ast::Text,
    bench: Option<&BenchInfo>,
) -> Option<Vec<Column>> {
    let mut found = Vec::new();
    let metrics: Option<Vec<String>> =
        bench.map(|info| info.hir.metrics.iter().map(|(name, _, _)| name.clone()).collect());
    let tables = benches::stream_tables(ctx);
    let facts = gate::GateFacts {
        gate,
        bench: bench.map_or(bench_name, |info| &info.local),
        metrics: metrics.as_deref(),
        subjects: bench.map(|info| info.subjects.as_slice()),
        is_stream: &|name| tables.iter().any(|(table, _)| table == name),
    };
    let columns = sql::parse(text, &mut found).and_then(|statement| {
        let columns = gate::check_gate(&statement, &facts, &mut found)?;
        for column in columns.iter().filter(|column| !sql::is_plain(&column.ty)) {
            let message = format!("column `{}` of the gate's result is {}", column.name, column.ty);
            found.push(Diagnostic::new(
                Code::E0303,
                message,
                text.span,
                "expected a number, a bool or a text",
            ));
        }
        Some(columns)
    });
    ctx.diagnostics.extend(found);
    columns
}

/// A requirement is a bool over the result's columns and the params of the program. `None` after an error.
fn check_require(
    ctx: &mut Context<'_>,
    gate: &str,
    columns: Option<&[Column]>,
    require: &ast::Expr,
) -> Option<op::Expr> {
    let Some(columns) = columns else {
        if ctx.error_count() == 0 {
            let message = format!("gate `{gate}`: columns of the query's result are not known");
            let diagnostic = Diagnostic::new(Code::E0601, message, require.span, "reads them");
            ctx.report(diagnostic.help("name every column of the outer SELECT"));
        }
        return None;
    };
    let mut paths = Vec::new();
    paths_of(require, &mut paths);
    let mut is_known = true;
    for path in paths {
        let root = &path.segments[0];
        let is_column = columns.iter().any(|column| column.name == root.name);
        let is_param = ctx.lookup(path).is_some_and(|(id, _)| ctx.get(id).kind == DeclKind::Param);
        if is_column || is_param {
            continue;
        }
        is_known = false;
        let message = format!("gate `{gate}`: no column `{}` in the query's result", root.name);
        let shown: Vec<String> =
            columns.iter().map(|column| format!("{}: {}", column.name, column.ty)).collect();
        let diagnostic = Diagnostic::new(Code::E0601, message, root.span, "no such column")
            .note(format!("the result has {}", shown.join(", ")));
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        ctx.report(suggest(diagnostic, &root.name, root.span, names));
    }
    is_known.then(|| check_condition(ctx, columns, require))
}

/// Types a requirement. What the statistics functions give is known to the engine only; here such a column is what makes
/// sense of the requirement: a number, else a bool, else a text. The engine checks it again with the value.
fn check_condition(ctx: &mut Context<'_>, columns: &[Column], require: &ast::Expr) -> op::Expr {
    let wanted = Type::Bool.optional();
    let typed = check_expr(ctx, &Scope::columns("", columns), require, Some(&wanted));
    if !typed.ty.is_unknown() || ctx.error_count() > 0 {
        return typed;
    }
    let finding_count = ctx.diagnostics.len();
    let mut last = typed;
    for guess in [Type::F64, Type::Bool, Type::Text] {
        ctx.diagnostics.truncate(finding_count);
        let guessed = columns.iter().map(|column| Column {
            name: column.name.clone(),
            ty: if column.ty.is_unknown() { guess.clone().optional() } else { column.ty.clone() },
        });
        let guessed: Vec<Column> = guessed.collect();
        last = check_expr(ctx, &Scope::columns("", &guessed), require, Some(&wanted));
        if ctx.diagnostics.len() == finding_count {
            break;
        }
    }
    last
}

/// All paths of an expression that stand for values, in the order written.
pub(crate) fn paths_of<'e>(expr: &'e ast::Expr, into: &mut Vec<&'e ast::Path>) {
    match &expr.kind {
        ast::ExprKind::Path(path) => into.push(path),
        ast::ExprKind::Binary { left, right, .. } => {
            paths_of(left, into);
            paths_of(right, into);
        }
        ast::ExprKind::Unary { operand, .. } | ast::ExprKind::Paren(operand) => paths_of(operand, into),
        ast::ExprKind::Call(call) => call.args.iter().for_each(|argument| paths_of(&argument.value, into)),
        ast::ExprKind::List(elements) => elements.iter().for_each(|element| paths_of(element, into)),
        ast::ExprKind::Literal(_) | ast::ExprKind::Bad => {}
    }
}

fn check_action(ctx: &mut Context<'_>, on_pass: bool, call: &ast::Call) -> Option<hir::Action> {
    let name = call.callee.text();
    let Some((_, takes_artifact, takes_label)) = ACTIONS.iter().find(|(action, _, _)| *action == name) else {
        let message = format!("action `{name}` is not allowed in an outcome");
        let diagnostic = Diagnostic::new(Code::E0608, message, call.callee.span, "no such action").note(
            "actions: tag(artifact, \"label\"), publish(artifact), keep(\"label\"), quarantine(artifact)",
        );
        ctx.report(suggest(
            diagnostic,
            &name,
            call.callee.span,
            ACTIONS.iter().map(|(action, _, _)| *action),
        ));
        return None;
    };
    let wanted = usize::from(*takes_artifact) + usize::from(*takes_label);
    if call.args.len() != wanted || call.args.iter().any(|argument| argument.name.is_some()) {
        let message =
            format!("action `{name}` takes {wanted} arguments without names, found {}", call.args.len());
        ctx.report(Diagnostic::new(Code::E0302, message, call.span, format!("expected {wanted}")));
        return None;
    }
    let mut action = hir::Action { on_pass, name, artifact: None, label: None, span: call.span };
    let mut values = call.args.iter().map(|argument| &argument.value);
    if *takes_artifact && let Some(value) = values.next() {
        match &value.kind {
            ast::ExprKind::Path(path) => {
                let declaration = ctx.expect(path, ARTIFACTS)?;
                action.artifact = Some((declaration.name.clone(), declaration.kind.noun().to_owned()));
            }
            ast::ExprKind::Bad => {}
            _ => ctx.report(Diagnostic::new(
                Code::E0303,
                "expected the name of an artifact",
                value.span,
                "not a name",
            )),
        }
    }
    if let Some(value) = values.next() {
        let op::Value::Text(label) = super::expressions::constant(ctx, value, &Type::Text)? else {
            return None;
        };
        action.label = Some(label);
    }
    Some(action)
}
