//! `join`, `union`, `sort`, `limit`, `aggregate`, `distinct`, `sample` and `sql`.

use super::{Applied, report_seed};
use crate::check::context::{Context, NewNode, Stream};
use crate::check::expressions::{
    Aggregates, Scope, bare_columns, check_column, check_columns, check_expr, report_column,
};
use crate::check::types::{Fit, fit, report_mismatch, unify};
use crate::check::{flows, sql as statements};
use crate::diagnostic::{Code, Diagnostic};
use crate::graph::{Class, Effect, NodeId};
use crate::op::{self, JoinKind, Op};
use crate::source::Span;
use crate::syntax::ast;
use crate::types::{Column, Type};

/// A stream that an argument names.
fn check_stream(ctx: &mut Context<'_>, applied: &Applied<'_>, expr: &ast::Expr) -> Option<Stream> {
    let ast::ExprKind::Path(path) = &expr.kind else {
        if !matches!(expr.kind, ast::ExprKind::Bad) {
            let message = format!("operator `{}` takes the name of a stream", applied.operator.name);
            ctx.report(Diagnostic::new(Code::E0303, message, expr.span, "not a stream"));
        }
        return None;
    };
    let (_, stream) = flows::stream(ctx, path)?;
    (!stream.is_unknown).then_some(stream)
}

fn names(columns: Vec<Column>) -> Vec<String> {
    columns.into_iter().map(|column| column.name).collect()
}

pub(super) fn join(ctx: &mut Context<'_>, applied: &Applied<'_>) -> Option<Stream> {
    let fields = &applied.fields;
    let right = check_stream(ctx, applied, fields.expr("right")?);
    let left_on = check_columns(ctx, &applied.scope(), fields.expr("on")?);
    let mut right = right?;
    let left_on = left_on?;
    let right_on = match fields.expr("right_on") {
        Some(expr) => check_columns(ctx, &Scope::of(&right), expr)?,
        None => same_columns(ctx, &right, &left_on, fields.span("on")?)?,
    };
    check_pairs(ctx, &left_on, &right_on, fields.span("right_on").or(fields.span("on"))?)?;
    let how = match fields.text("how")?.as_str() {
        "left" => JoinKind::Left,
        "semi" => JoinKind::Semi,
        "anti" => JoinKind::Anti,
        _ => JoinKind::Inner,
    };
    let (left_on, right_on) = (names(left_on), names(right_on));
    let left = &applied.input;
    let mut columns = left.columns.clone();
    let mut key = left.key.clone();
    if matches!(how, JoinKind::Inner | JoinKind::Left) {
        show_hidden(ctx, applied, left, &mut right);
        // A column that is compared under one name is the same on both sides and stands once.
        let is_shared =
            |name: &str| left_on.iter().zip(&right_on).any(|(left, right)| left == right && right == name);
        for column in right.columns.iter().filter(|column| !is_shared(&column.name)) {
            if columns.iter().any(|other| other.name == column.name) {
                report_clash(ctx, applied, &right, &column.name);
                return None;
            }
            let ty = if how == JoinKind::Left { column.ty.clone().optional() } else { column.ty.clone() };
            columns.push(Column { name: column.name.clone(), ty });
        }
        let is_single = !right.key.is_empty() && right.key.iter().all(|name| right_on.contains(name));
        if !is_single && !key.is_empty() {
            if right.key.is_empty() {
                key.clear();
            }
            key.extend(right.key.iter().filter(|name| !is_shared(name) || !left_on.contains(name)).cloned());
            let shared = right.key.iter().filter(|name| is_shared(name));
            let missing: Vec<String> = shared.filter(|name| !key.contains(name)).cloned().collect();
            key.extend(missing);
        }
    }
    let op = Op::Join { how, left_on, right_on };
    let mut stream = applied.emit(ctx, left, op, vec![right.node], columns, key);
    stream.taint.extend(right.taint);
    Some(stream)
}

/// Hidden key columns of the right side that the left side has too get another hidden name.
fn show_hidden(ctx: &mut Context<'_>, applied: &Applied<'_>, left: &Stream, right: &mut Stream) {
    let mut pairs = Vec::new();
    for column in &mut right.columns {
        if column.name.starts_with('~') && left.column(&column.name).is_some() {
            let mut renamed = format!("~right{}", column.name);
            while left.column(&renamed).is_some() {
                renamed.insert_str(1, "right~");
            }
            pairs.push((renamed.clone(), std::mem::replace(&mut column.name, renamed)));
        }
    }
    for name in &mut right.key {
        if let Some((new, _)) = pairs.iter().find(|(_, old)| old == name) {
            name.clone_from(new);
        }
    }
    if pairs.is_empty() {
        return;
    }
    right.node = right.node.map(|input| {
        ctx.add_node(NewNode {
            op: Op::Rename { columns: pairs },
            inputs: vec![input],
            schema: right.columns.clone(),
            key: right.key.clone(),
            class: Class::RowWise,
            effect: Effect::Pure,
            version: 1,
            label: format!("{}/{} right key", applied.step.flow, applied.step.idx),
            span: applied.step.span,
        })
    });
}

fn report_clash(ctx: &mut Context<'_>, applied: &Applied<'_>, right: &Stream, name: &str) {
    let message = format!("column `{name}` is in both sides of the join");
    let span = applied.fields.span("right").unwrap_or(applied.callee_span());
    let diagnostic = Diagnostic::new(Code::E0202, message, span, format!("`{}` has it too", right.name));
    ctx.report(diagnostic.help(format!("give one of them another name before: `rename({name}_2 = {name})`")));
}

fn same_columns(
    ctx: &mut Context<'_>,
    right: &Stream,
    left_on: &[Column],
    span: Span,
) -> Option<Vec<Column>> {
    let mut found = Vec::with_capacity(left_on.len());
    for column in left_on {
        match right.column(&column.name) {
            Some(column) => found.push(column.clone()),
            None => {
                report_column(ctx, &Scope::of(right), &ast::Ident { name: column.name.clone(), span });
                return None;
            }
        }
    }
    Some(found)
}

fn check_pairs(ctx: &mut Context<'_>, left: &[Column], right: &[Column], span: Span) -> Option<()> {
    if left.len() != right.len() {
        let message = format!("join compares {} columns with {}", left.len(), right.len());
        ctx.report(Diagnostic::new(Code::E0302, message, span, format!("expected {}", left.len())));
        return None;
    }
    for (left, right) in left.iter().zip(right) {
        let (left_ty, right_ty) = (left.ty.required(), right.ty.required());
        if unify(left_ty, right_ty).is_none() {
            let code = if let Fit::No(code) = fit(right_ty, left_ty) { code } else { Code::E0303 };
            report_mismatch(ctx, code, right_ty, left_ty, span);
            return None;
        }
    }
    Some(())
}

pub(super) fn union(ctx: &mut Context<'_>, applied: &Applied<'_>) -> Option<Stream> {
    let mut others = Vec::new();
    let mut is_right = true;
    for argument in applied.step.args {
        if let Some(name) = &argument.name {
            let message = format!("unknown parameter `{}` of operator `union`", name.name);
            ctx.report(Diagnostic::new(Code::E0206, message, name.span, "no such parameter"));
            is_right = false;
            continue;
        }
        match check_stream(ctx, applied, &argument.value) {
            Some(stream) => others.push((stream, argument.span)),
            None => is_right = false,
        }
    }
    if applied.step.args.is_empty() {
        let message = "operator `union` takes at least 2 streams";
        ctx.report(Diagnostic::new(Code::E0302, message, applied.step.span, "expected another stream"));
        return None;
    }
    let first = &applied.input;
    let mut taint = first.taint.clone();
    for (other, span) in &others {
        is_right &= first.is_unknown || is_alike(ctx, first, other, *span);
        taint.extend(other.taint.iter().map(|(part, span)| (part.clone(), *span)));
    }
    if !is_right {
        return None;
    }
    let nodes = others.iter().map(|(other, _)| other.node).collect();
    let mut columns = first.columns.clone();
    for column in &mut columns {
        let is_optional =
            others.iter().any(|(other, _)| other.column(&column.name).is_some_and(|c| c.ty.is_optional()));
        if is_optional {
            column.ty = column.ty.clone().optional();
        }
    }
    let stream = applied.emit(ctx, first, Op::Union, nodes, columns, first.key.clone());
    Some(Stream { taint, ..stream })
}

/// Whether two streams have equal columns, in any order, and an equal key.
fn is_alike(ctx: &mut Context<'_>, first: &Stream, other: &Stream, span: Span) -> bool {
    let shown = |stream: &Stream| format!("{} : {}", stream.name, Type::Stream(stream.columns.clone()));
    let is_column = |column: &Column| {
        first.column(&column.name).is_some_and(|found| found.ty.required() == column.ty.required())
    };
    if first.columns.len() != other.columns.len() || !other.columns.iter().all(is_column) {
        let message = format!("streams `{}` and `{}` have different columns", first.name, other.name);
        let diagnostic = Diagnostic::new(Code::E0303, message, span, "not the columns of the first");
        ctx.report(diagnostic.note(shown(first)).note(shown(other)));
        return false;
    }
    if first.key != other.key {
        let message = format!("streams `{}` and `{}` have different keys", first.name, other.name);
        let label = format!("key {}", other.key.join(", "));
        let diagnostic = Diagnostic::new(Code::E0303, message, span, label);
        ctx.report(diagnostic.note(format!("`{}` has the key {}", first.name, first.key.join(", "))));
        return false;
    }
    true
}

pub(super) fn sort(ctx: &mut Context<'_>, applied: &Applied<'_>) -> Option<Stream> {
    let expr = applied.fields.expr("by")?;
    let by = check_columns(ctx, &applied.scope(), expr)?;
    for column in &by {
        let ty = column.ty.required();
        let is_ordered = crate::check::sources::is_key_type(ty) || crate::check::types::is_measured(ty);
        if !is_ordered {
            let message = format!("column `{}` is {}, which has no order", column.name, column.ty);
            ctx.report(Diagnostic::new(Code::E0303, message, expr.span, "cannot be sorted by"));
            return None;
        }
    }
    let op = Op::Sort { by: names(by), descending: applied.fields.bool("desc")? };
    Some(same_rows(ctx, applied, op))
}

/// An operator that keeps columns and key.
fn same_rows(ctx: &mut Context<'_>, applied: &Applied<'_>, op: Op) -> Stream {
    let (columns, key) = (applied.input.columns.clone(), applied.input.key.clone());
    applied.emit(ctx, &applied.input, op, Vec::new(), columns, key)
}

pub(super) fn limit(ctx: &mut Context<'_>, applied: &Applied<'_>) -> Option<Stream> {
    let rows = applied.fields.u64("n")?;
    Some(same_rows(ctx, applied, Op::Limit { rows }))
}

pub(super) fn aggregate(ctx: &mut Context<'_>, applied: &Applied<'_>) -> Option<Stream> {
    let input = &applied.input;
    let row = applied.scope();
    let mut by: Option<Option<Vec<Column>>> = None;
    let mut written = Vec::new();
    for (idx, argument) in applied.step.args.iter().enumerate() {
        match &argument.name {
            None if idx == 0 => by = Some(check_columns(ctx, &row, &argument.value)),
            Some(name) if name.name == "by" => by = Some(check_columns(ctx, &row, &argument.value)),
            Some(name) => written.push((name, &argument.value)),
            None => {
                let message = "arguments of `aggregate` after `by` have names";
                let diagnostic = Diagnostic::new(Code::E0302, message, argument.span, "no name");
                ctx.report(diagnostic.help("write `name = aggregate`"));
                return None;
            }
        }
    }
    let Some(by) = by else {
        let message = "missing parameter `by` of operator `aggregate`";
        let diagnostic = Diagnostic::new(Code::E0207, message, applied.callee_span(), "`by` is required");
        ctx.report(diagnostic.help("add `by = column`, or `by = []` for one row of all"));
        return None;
    };
    let scope = row.with_aggregates(Aggregates::Allowed);
    let mut columns: Vec<(String, op::Expr)> = Vec::with_capacity(written.len());
    let mut is_right = true;
    for (name, expr) in written {
        let value = check_expr(ctx, &scope, expr, None);
        let is_taken = columns.iter().any(|(other, _)| *other == name.name)
            || by.as_ref().is_some_and(|by| by.iter().any(|column| column.name == name.name));
        if is_taken {
            let message = format!("column `{}` is defined twice", name.name);
            ctx.report(Diagnostic::new(Code::E0202, message, name.span, "defined again here"));
            is_right = false;
        }
        is_right &=
            !value.ty.is_unknown() && check_aggregated(ctx, &value, by.as_deref().unwrap_or(&[]), expr.span);
        columns.push((name.name.clone(), value));
    }
    let by = by?;
    if !is_right {
        return None;
    }
    let mut schema = by.clone();
    // Over no groups there is one row, even of an empty stream, and then only counts have a value.
    let is_whole = by.is_empty();
    schema.extend(columns.iter().map(|(name, expr)| {
        let is_count = matches!(&expr.kind, op::ExprKind::Aggregate { function: "count", .. });
        let ty = if is_whole && !is_count { expr.ty.clone().optional() } else { expr.ty.clone() };
        Column { name: name.clone(), ty }
    }));
    let by = names(by);
    let op = Op::Aggregate { by: by.clone(), columns };
    Some(applied.emit(ctx, input, op, Vec::new(), schema, by))
}

/// Outside aggregates only the columns that the rows are grouped by have one value.
fn check_aggregated(ctx: &mut Context<'_>, value: &op::Expr, by: &[Column], span: Span) -> bool {
    let mut read = Vec::new();
    bare_columns(value, &mut read);
    let Some(name) = read.into_iter().find(|name| !by.iter().any(|column| column.name == *name)) else {
        return true;
    };
    let message = format!("column `{name}` has many values in a group");
    let diagnostic = Diagnostic::new(Code::E0303, message, span, "not aggregated");
    ctx.report(diagnostic.help(format!("add `{name}` to `by`, or take one value: `first({name})`")));
    false
}

pub(super) fn distinct(ctx: &mut Context<'_>, applied: &Applied<'_>) -> Option<Stream> {
    let columns = names(check_columns(ctx, &applied.scope(), applied.fields.expr("columns")?)?);
    Some(same_rows(ctx, applied, Op::Distinct { columns }))
}

pub(super) fn sample(ctx: &mut Context<'_>, applied: &Applied<'_>) -> Option<Stream> {
    let fields = &applied.fields;
    if !fields.has("seed") {
        let call = applied.step.span;
        report_seed(ctx, "operator `sample`", applied.callee_span(), call, !applied.step.args.is_empty());
    }
    match (fields.get("share"), fields.get("n")) {
        (Some(share), Some(n)) => {
            let message = "`share` and `n` of `sample` exclude each other";
            ctx.report(Diagnostic::new(Code::E0311, message, n.span, "`n`").label(share.span, "`share`"));
            return None;
        }
        (None, None) => {
            let message = "missing parameter `share` or `n` of operator `sample`";
            let diagnostic =
                Diagnostic::new(Code::E0207, message, applied.callee_span(), "how many rows is not said");
            ctx.report(diagnostic.help("add `10%` or `n = 100`"));
            return None;
        }
        _ => {}
    }
    let (share, rows) = (fields.f64("share"), fields.u64("n"));
    if share.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
        let message = "value of `share` of operator `sample` is outside 0%..100%";
        ctx.report(Diagnostic::new(Code::E0502, message, fields.span("share")?, "expected 0% to 100%"));
        return None;
    }
    let op = Op::Sample { share, rows, seed: fields.u64("seed")? };
    // By share each row is decided by its own key.
    let class = if rows.is_some() { Class::Blocking } else { Class::RowWise };
    let (columns, key) = (applied.input.columns.clone(), applied.input.key.clone());
    Some(applied.emit_as(ctx, &applied.input, op, Vec::new(), columns, key, class))
}

pub(super) fn sql(ctx: &mut Context<'_>, applied: &Applied<'_>) -> Option<Stream> {
    let fields = &applied.fields;
    let expr = fields.expr("statement")?;
    let ast::ExprKind::Literal(ast::Literal::Text(text)) = &expr.kind else {
        let message = "statement of operator `sql` is not a text literal";
        ctx.report(Diagnostic::new(Code::E0303, message, expr.span, "expected #\"SELECT ...\"#"));
        return None;
    };
    let statement = statements::parse(text, &mut ctx.diagnostics)?;
    if applied.input.is_unknown {
        return None;
    }
    let visible = |stream: &Stream| -> Vec<Column> {
        stream.columns.iter().filter(|column| !column.name.starts_with('~')).cloned().collect()
    };
    let mut tables = vec![("input".to_owned(), visible(&applied.input))];
    let mut inputs: Vec<Option<NodeId>> = Vec::new();
    let mut taint = applied.input.taint.clone();
    for table in statement.tables() {
        if tables.iter().any(|(name, _)| *name == table.name) {
            continue;
        }
        let Some(stream) = flows::stream_of_table(ctx, &table.name, table.span) else { continue };
        inputs.push(stream.node);
        taint.extend(stream.taint.iter().map(|(part, span)| (part.clone(), *span)));
        tables.push((table.name.clone(), visible(&stream)));
    }
    let before = ctx.error_count();
    let columns = statements::check_operator(&statement, &tables, &mut ctx.diagnostics);
    if ctx.error_count() > before {
        return None;
    }
    let columns = columns?;
    let result = Scope::columns("the result", &columns);
    let key = match fields.expr("key") {
        Some(ast::Expr { kind: ast::ExprKind::List(elements), .. }) => {
            let found: Option<Vec<Column>> =
                elements.iter().map(|element| check_column(ctx, &result, element)).collect();
            names(found?)
        }
        Some(expr) => vec![check_column(ctx, &result, expr)?.name],
        // W0404 is a lint.
        None => Vec::new(),
    };
    let names: Vec<String> = tables.into_iter().map(|(name, _)| name).collect();
    let op = Op::Sql { sql: text.value.clone(), tables: names, key: key.clone() };
    let stream = applied.emit(ctx, &applied.input, op, inputs, columns, key);
    Some(Stream { taint, ..stream })
}
