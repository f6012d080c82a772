//! Operators of flows: what each does to the columns and key of its stream.
//!
//! The table of operators gives names, classes, effects and parameters; here every operator reads its arguments and gives the
//! stream after it. One file for each family; nothing here computes rows.

use super::context::{Context, NewNode, Stream};
use super::expressions::{Scope, as_column, check_expr};
use super::fields::{Fields, check_arguments};
use crate::catalog::{self, Alias, Operator};
use crate::diagnostic::{Code, Diagnostic};
use crate::graph::{Class, NodeId};
use crate::op::{self, Op};
use crate::resolve::suggest::suggest;
use crate::source::Span;
use crate::syntax::ast;
use crate::types::{Column, Type};

mod assemble;
mod columns;
mod fusion;
mod later;
mod relational;
mod search;
mod text;

pub(crate) use search::{absent_arm, check_arms};

/// A written step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step<'a> {
    /// The flow that it belongs to: `corpus.docs`.
    pub(crate) flow: &'a str,
    /// Its place in the flow, from 1.
    pub(crate) idx: usize,
    /// The operator's name as written.
    pub(crate) callee: &'a ast::Path,
    /// Arguments, without the stream of an operator at the start of a flow.
    pub(crate) args: &'a [ast::Argument],
    /// `as name`.
    pub(crate) alias: Option<&'a ast::Ident>,
    /// The call.
    pub(crate) span: Span,
}

/// A step with its operator and arguments.
struct Applied<'a> {
    step: &'a Step<'a>,
    operator: &'static Operator,
    fields: Fields<'a>,
    input: Stream,
}

/// The stream after a step; an unknown one after an error.
pub(crate) fn apply(ctx: &mut Context<'_>, step: &Step<'_>, input: Stream) -> Stream {
    let name = step.callee.text();
    let after = format!("{} |> {name}", input.name.split(" |> ").next().unwrap_or_default());
    let Some(operator) = catalog::operator(&name) else {
        report_operator(ctx, &name, step.callee.span);
        return Stream::unknown(after);
    };
    let mut is_right = check_alias(ctx, operator, step);
    let row_columns = input.columns.iter().map(|column| column.name.clone()).collect();
    let outer = std::mem::replace(&mut ctx.row_columns, row_columns);
    let fields = if operator.is_open {
        Fields::empty(operator.parameters)
    } else {
        let owner = format!("operator `{name}`");
        check_arguments(ctx, &owner, step.callee.span, step.args, operator.parameters, operator.positional)
    };
    is_right &= !fields.has_errors;
    let applied = Applied { step, operator, fields, input };
    let found = match operator.name {
        "chunk" => text::chunk(ctx, &applied),
        "compress" => text::compress(ctx, &applied),
        "dedup" => text::dedup(ctx, &applied),
        "embed" => search::embed(ctx, &applied),
        "retrieve" => search::retrieve(ctx, &applied),
        "fuse" => search::fuse(ctx, &applied),
        "assemble" => assemble::assemble(ctx, &applied),
        "select" => columns::select(ctx, &applied),
        "derive" => columns::derive(ctx, &applied),
        "filter" => columns::filter(ctx, &applied),
        "rename" => columns::rename(ctx, &applied),
        "explode" => columns::explode(ctx, &applied),
        "join" => relational::join(ctx, &applied),
        "union" => relational::union(ctx, &applied),
        "sort" => relational::sort(ctx, &applied),
        "limit" => relational::limit(ctx, &applied),
        "aggregate" => relational::aggregate(ctx, &applied),
        "distinct" => relational::distinct(ctx, &applied),
        "sample" => relational::sample(ctx, &applied),
        "sql" => relational::sql(ctx, &applied),
        _ => later::later(ctx, &applied),
    };
    ctx.row_columns = outer;
    match found {
        Some(stream) if is_right => Stream { name: after, ..stream },
        _ => Stream::unknown(after),
    }
}

fn report_operator(ctx: &mut Context<'_>, name: &str, span: Span) {
    let message = format!("unknown operator `{name}`");
    let diagnostic = Diagnostic::new(Code::E0206, message, span, "no such operator");
    let names = catalog::operators::OPERATORS.iter().map(|operator| operator.name);
    ctx.report(suggest(diagnostic, name, span, names));
}

fn check_alias(ctx: &mut Context<'_>, operator: &Operator, step: &Step<'_>) -> bool {
    match (operator.alias, step.alias) {
        (Alias::Required, None) => {
            let message = format!("operator `{}` needs a name for its result", operator.name);
            let diagnostic = Diagnostic::new(Code::E0207, message, step.callee.span, "`as` is missing");
            ctx.report(diagnostic.help("add `as name` after the parentheses"));
            false
        }
        (Alias::Refused, Some(alias)) => {
            let message = format!("operator `{}` names its columns itself", operator.name);
            let diagnostic = Diagnostic::new(Code::E0206, message, alias.span, "no name is taken here");
            ctx.report(diagnostic.help("remove `as`"));
            false
        }
        _ => true,
    }
}

/// E0404 for something seeded that has no seed. `whole` is the call or block, and `has_others` whether it holds arguments:
/// the edit adds the seed before its closing mark.
pub(crate) fn report_seed(ctx: &mut Context<'_>, what: &str, span: Span, whole: Span, has_others: bool) {
    let message = format!("{what} needs a seed");
    let end = Span { start: whole.end.saturating_sub(1), end: whole.end.saturating_sub(1), ..whole };
    let ends_blank = ctx
        .sources()
        .get(whole.source)
        .text
        .get(..end.start as usize)
        .is_some_and(|text| text.ends_with(' '));
    let seed = match (has_others, ends_blank) {
        (true, true) => ", seed = 1 ",
        (true, false) => ", seed = 1",
        (false, _) => "seed = 1",
    };
    // The blank before a closing brace moves behind the new field.
    let end = if has_others && ends_blank { Span { start: end.start - 1, ..end } } else { end };
    let noun = what.split(' ').next().unwrap_or(what);
    let diagnostic = Diagnostic::new(Code::E0404, message, span, format!("seeded {noun}"));
    ctx.report(diagnostic.help("add `seed = 1`").fix(end, seed));
}

/// The hidden name of a key column.
pub(crate) fn hidden(name: &str) -> String {
    if name.starts_with('~') { name.to_owned() } else { format!("~{name}") }
}

/// Adds a column, or gives the column of that name a new type in its place.
fn set_column(columns: &mut Vec<Column>, name: &str, ty: Type) {
    match columns.iter_mut().find(|column| column.name == name) {
        Some(column) => column.ty = ty,
        None => columns.push(Column { name: name.to_owned(), ty }),
    }
}

impl Applied<'_> {
    fn scope(&self) -> Scope<'_> {
        Scope::of(&self.input)
    }

    fn callee_span(&self) -> Span {
        self.step.callee.span
    }

    fn owner(&self) -> String {
        format!("operator `{}`", self.operator.name)
    }

    /// The typed first argument; `None` after an error.
    fn first(&self, ctx: &mut Context<'_>, field: &str) -> Option<(op::Expr, Span)> {
        let expr = self.fields.expr(field)?;
        let typed = check_expr(ctx, &self.scope(), expr, None);
        (!typed.ty.is_unknown()).then_some((typed, expr.span))
    }

    /// The name of the result: `as name`, else the input column. E0207 if the input is no column and no name is given.
    fn result_name(&self, ctx: &mut Context<'_>, input: &op::Expr, span: Span) -> Option<String> {
        if let Some(alias) = self.step.alias {
            return Some(alias.name.clone());
        }
        if let Some(name) = as_column(input) {
            return Some(name.to_owned());
        }
        let message = format!("operator `{}` needs a name for its result", self.operator.name);
        let diagnostic = Diagnostic::new(Code::E0207, message, span, "no column that it could replace");
        ctx.report(diagnostic.help("add `as name` after the parentheses"));
        None
    }

    /// The alias of an operator that requires one.
    fn alias(&self) -> Option<String> {
        self.step.alias.map(|alias| alias.name.clone())
    }

    /// Makes sure that a column that the operator replaces is not part of the key: such a key is kept hidden.
    fn keep_key(&self, ctx: &mut Context<'_>, replaced: &[&str]) -> Stream {
        let mut stream = self.input.clone();
        let lost: Vec<String> =
            stream.key.iter().filter(|name| replaced.contains(&name.as_str())).cloned().collect();
        if lost.is_empty() {
            return stream;
        }
        let mut columns = Vec::new();
        for name in &lost {
            let Some(ty) = stream.column(name).map(|column| column.ty.clone()) else { continue };
            columns
                .push((hidden(name), op::Expr { kind: op::ExprKind::Column(name.clone()), ty: ty.clone() }));
            set_column(&mut stream.columns, &hidden(name), ty);
        }
        for name in &mut stream.key {
            if lost.contains(name) {
                *name = hidden(name);
            }
        }
        if let (Some(input), Some(derive)) = (stream.node, catalog::operator("derive")) {
            let node = NewNode {
                op: Op::Derive { columns },
                inputs: vec![input],
                schema: stream.columns.clone(),
                key: stream.key.clone(),
                class: derive.class,
                effect: derive.effect,
                version: derive.version,
                label: format!("{}/{} key", self.step.flow, self.step.idx),
                span: self.step.span,
            };
            stream.node = Some(ctx.add_node(node));
        }
        stream
    }

    /// Adds the operator's node and gives the stream after it. `input` is the stream that it reads, `others` its other inputs.
    fn emit(
        &self,
        ctx: &mut Context<'_>,
        input: &Stream,
        op: Op,
        others: Vec<Option<NodeId>>,
        columns: Vec<Column>,
        key: Vec<String>,
    ) -> Stream {
        self.emit_as(ctx, input, op, others, columns, key, self.operator.class)
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one node")]
    fn emit_as(
        &self,
        ctx: &mut Context<'_>,
        input: &Stream,
        op: Op,
        others: Vec<Option<NodeId>>,
        columns: Vec<Column>,
        key: Vec<String>,
        class: Class,
    ) -> Stream {
        let inputs: Option<Vec<NodeId>> = std::iter::once(input.node).chain(others).collect();
        let node = inputs.map(|inputs| {
            ctx.add_node(NewNode {
                op,
                inputs,
                schema: columns.clone(),
                key: key.clone(),
                class,
                effect: self.operator.effect,
                version: self.operator.version,
                label: format!("{}/{} {}", self.step.flow, self.step.idx, self.operator.name),
                span: self.step.span,
            })
        });
        Stream {
            name: String::new(),
            columns,
            key,
            taint: input.taint.clone(),
            node,
            is_unknown: input.is_unknown,
        }
    }
}

/// The column of spans that belongs to an expression: `text_spans` of `text`, `hits.text_spans` of `hits.text`.
fn companion_spans(expr: &op::Expr, columns: &[Column]) -> Option<op::Expr> {
    let is_spans = |ty: &Type| match ty.required() {
        Type::List(element) => match element.required() {
            Type::Span => true,
            Type::List(inner) => matches!(inner.required(), Type::Span),
            _ => false,
        },
        _ => false,
    };
    match &expr.kind {
        op::ExprKind::Column(name) => {
            let found = columns.iter().find(|column| column.name == format!("{name}_spans"))?;
            is_spans(&found.ty).then(|| super::expressions::column(found))
        }
        op::ExprKind::FieldOfEach { base, name } | op::ExprKind::Field { base, name } => {
            let is_each = matches!(expr.kind, op::ExprKind::FieldOfEach { .. });
            let record = match base.ty.required() {
                Type::List(element) if is_each => element.as_ref(),
                other => other,
            };
            let spans = format!("{name}_spans");
            let field =
                super::expressions::fields_of(record)?.into_iter().find(|field| field.name == spans)?;
            if !is_spans(&field.ty) {
                return None;
            }
            let kind = if is_each {
                op::ExprKind::FieldOfEach { base: base.clone(), name: spans }
            } else {
                op::ExprKind::Field { base: base.clone(), name: spans }
            };
            let ty = if is_each { Type::List(Box::new(field.ty)) } else { field.ty };
            let ty = if base.ty.is_optional() { ty.optional() } else { ty };
            Some(op::Expr { kind, ty })
        }
        _ => None,
    }
}

/// Reports that an argument is of another type than the operator takes.
fn report_input(ctx: &mut Context<'_>, applied: &Applied<'_>, found: &Type, wanted: &str, span: Span) {
    let message =
        format!("type mismatch: operator `{}` takes {wanted}, found {found}", applied.operator.name);
    ctx.report(Diagnostic::new(Code::E0303, message, span, format!("{found}, expected {wanted}")));
}
