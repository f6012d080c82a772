//! Sources: kinds, columns, keys and splits.

use super::context::{Context, NewNode, Stream, StreamKey, Taint};
use super::expressions::{Scope, check_column, check_columns, constant};
use super::fields::{Fields, check_arguments, check_block};
use super::types::{Fit, check_type, fit, report_mismatch};
use crate::catalog::declarations::{SOURCE, SOURCES};
use crate::diagnostic::{Code, Diagnostic};
use crate::graph::{Class, Effect, NodeId};
use crate::op::{Op, Scan, Value};
use crate::resolve::DeclarationId;
use crate::resolve::suggest::suggest;
use crate::source::Span;
use crate::syntax::ast::{self, ItemKind};
use crate::types::{Column, Type};

/// `split = by(column, train = 80%, test = 20%, seed = 11)`
#[derive(Debug, Clone)]
pub(crate) struct Split {
    /// Rows with the same value land together.
    pub(crate) column: String,
    /// Keys the hash.
    pub(crate) seed: u64,
    /// Name, lower and upper bound of each part, in the order written; the last bound is 1.
    pub(crate) parts: Vec<(String, f64, f64)>,
    /// The field.
    pub(crate) span: Span,
}

impl Split {
    /// All parts as the taint of the whole stream.
    pub(crate) fn taint(&self) -> Taint {
        self.parts.iter().map(|(name, _, _)| (name.clone(), self.span)).collect()
    }
}

/// Types a source and its parts; the streams are remembered.
pub(crate) fn check_source(ctx: &mut Context<'_>, id: DeclarationId) {
    let key = StreamKey { declaration: id, part: None };
    if ctx.streams.contains_key(&key) {
        return;
    }
    let name = ctx.get(id).name.clone();
    ctx.streams.insert(key, Stream::unknown(&name));
    ctx.within(id, |ctx| check_source_here(ctx, id));
}

fn check_source_here(ctx: &mut Context<'_>, id: DeclarationId) {
    let declaration = ctx.get(id);
    let item = ctx.item(id);
    let ItemKind::Source { ty, call, block, .. } = &item.kind else { return };
    let columns = match check_type(ctx, ty) {
        Type::Stream(columns) => Some(columns),
        Type::Unknown => None,
        other => {
            let expected = "stream<{ ... }>";
            let message =
                format!("type mismatch: source `{}` is {other}, expected {expected}", declaration.local);
            ctx.report(Diagnostic::new(Code::E0303, message, ty.span, format!("expected {expected}")));
            None
        }
    };
    let scan = check_kind(ctx, call, columns.as_deref(), ty);
    let owner = format!("source `{}`", declaration.local);
    let empty = ast::Block { fields: Vec::new(), span: call.span };
    let fields = check_block(ctx, &owner, block.as_ref().unwrap_or(&empty), SOURCE);
    let Some(columns) = columns else { return };
    let shown = Scope::columns(&declaration.name, &columns);
    let row_key = check_key(ctx, &shown, &owner, &fields, call.span);
    let split = fields.get("split").and_then(|entry| {
        let field = entry.name_span.to(entry.span);
        check_split(ctx, &shown, &owner, entry.expr?, field)
    });
    let is_right = !fields.has_errors;
    let taint = split.as_ref().map(Split::taint).unwrap_or_default();
    let key = row_key.clone().unwrap_or_default();
    let node = match (scan, row_key) {
        (Some(scan), Some(row_key)) if is_right => {
            let scan = fill_scan(scan, &fields, &columns, row_key);
            Some(ctx.add_node(NewNode {
                op: Op::Scan(scan),
                inputs: Vec::new(),
                schema: columns.clone(),
                key: key.clone(),
                class: Class::RowWise,
                effect: Effect::Pure,
                version: 1,
                label: declaration.name.clone(),
                span: declaration.span,
            }))
        }
        _ => None,
    };
    let whole = Stream { name: declaration.name.clone(), columns, key, taint, node, is_unknown: false };
    add_parts(ctx, id, &whole, split.as_ref());
    ctx.graph.streams.extend(node.map(|node| (declaration.name.clone(), node)));
    ctx.streams.insert(StreamKey { declaration: id, part: None }, whole);
}

/// Remembers the parts of a split stream, one node each.
pub(crate) fn add_parts(ctx: &mut Context<'_>, id: DeclarationId, whole: &Stream, split: Option<&Split>) {
    let Some(split) = split else { return };
    for (part, from, to) in &split.parts {
        let name = format!("{}.{part}", whole.name);
        let node = whole.node.map(|input| split_node(ctx, whole, input, split, &name, (*from, *to)));
        let taint = Taint::from([(part.clone(), split.span)]);
        let stream = Stream { name: name.clone(), taint, node, ..whole.clone() };
        ctx.graph.streams.extend(node.map(|node| (name, node)));
        ctx.streams.insert(StreamKey { declaration: id, part: Some(part.clone()) }, stream);
    }
}

fn split_node(
    ctx: &mut Context<'_>,
    whole: &Stream,
    input: NodeId,
    split: &Split,
    name: &str,
    (from, to): (f64, f64),
) -> NodeId {
    ctx.add_node(NewNode {
        op: Op::SplitPart { column: split.column.clone(), seed: split.seed, from, to },
        inputs: vec![input],
        schema: whole.columns.clone(),
        key: whole.key.clone(),
        class: Class::RowWise,
        effect: Effect::Seeded,
        version: 1,
        label: name.to_owned(),
        span: split.span,
    })
}

/// The kind of a source with its own arguments; checks that it can give the declared columns.
fn check_kind(
    ctx: &mut Context<'_>,
    call: &ast::Call,
    columns: Option<&[Column]>,
    ty: &ast::Type,
) -> Option<Scan> {
    let kind = call.callee.text();
    let Some(format) = SOURCES.iter().find(|format| format.name == kind) else {
        let names: Vec<&str> = SOURCES.iter().map(|format| format.name).collect();
        let message = format!("`{kind}` is not a kind of source");
        let diagnostic = Diagnostic::new(Code::E0205, message, call.callee.span, "not a choice")
            .note(format!("choices: {}", names.join(", ")));
        ctx.report(suggest(diagnostic, &kind, call.callee.span, names));
        return None;
    };
    let owner = format!("source kind `{kind}`");
    let args =
        check_arguments(ctx, &owner, call.callee.span, &call.args, format.parameters, format.positional);
    let part = args.text("part");
    let fits = columns.is_none_or(|columns| check_given(ctx, &kind, part.as_deref(), columns, ty));
    if args.has_errors || !fits {
        return None;
    }
    let path = args.text("path")?;
    let path = ctx.expand_home(&path, args.span("path")?);
    Some(Scan {
        kind,
        path,
        base: ctx.program.modules[ctx.module].folder.clone(),
        part,
        delimiter: args.text("delim").unwrap_or_default(),
        header: args.bool("header").unwrap_or(true),
        columns: Vec::new(),
        key: Vec::new(),
        bad_rows: String::new(),
        max_bytes: 0,
        max_bad: 0.0,
        limit: None,
    })
}

fn fill_scan(scan: Scan, fields: &Fields<'_>, columns: &[Column], key: Vec<String>) -> Scan {
    Scan {
        columns: columns.to_vec(),
        key,
        bad_rows: fields.text("bad_rows").unwrap_or_default(),
        max_bytes: fields.u64("max_bytes").unwrap_or(0),
        max_bad: fields.f64("max_bad").unwrap_or(0.0),
        limit: fields.u64("limit"),
        ..scan
    }
}

/// Columns that a kind gives whatever the file holds; `None` where the file decides.
fn given_columns(kind: &str, part: Option<&str>) -> Option<Vec<(&'static str, Type)>> {
    let texts = || Type::List(Box::new(Type::Text));
    let given = match (kind, part) {
        ("markdown" | "text", _) => {
            let mut given = vec![
                ("path", Type::Text),
                ("text", Type::Text),
                ("bytes", Type::U64),
                ("modified_at", Type::Timestamp),
            ];
            if kind == "markdown" {
                given.push(("title", Type::Text.optional()));
                given.push(("front_matter", Type::Map(Box::new(Type::Text), Box::new(Type::Text))));
            }
            given
        }
        ("squad", Some("contexts")) => vec![("id", Type::Text), ("title", Type::Text), ("text", Type::Text)],
        ("squad", Some("questions")) => vec![
            ("qid", Type::Text),
            ("doc", Type::Text),
            ("title", Type::Text),
            ("question", Type::Text),
            ("answers", texts()),
            ("answer_starts", Type::List(Box::new(Type::U32))),
        ],
        ("trec", Some("docs")) => vec![("id", Type::Text), ("text", Type::Text)],
        ("trec", Some("topics")) => vec![("qid", Type::Text), ("text", Type::Text)],
        ("trec", Some("qrels")) => {
            vec![("qid", Type::Text), ("id", Type::Text), ("rel", Type::Int { signed: true, bits: 32 })]
        }
        _ => return None,
    };
    Some(given)
}

/// Where a declared column stands in the written type: the name in the record, else the type itself.
fn column_span(ty: &ast::Type, name: &str) -> Span {
    let ast::TypeKind::Stream(row) = &ty.kind else { return ty.span };
    let ast::TypeKind::Record(fields) = &row.kind else { return row.span };
    fields.iter().find(|field| field.name.name == name).map_or(row.span, |field| field.name.span)
}

fn check_given(
    ctx: &mut Context<'_>,
    kind: &str,
    part: Option<&str>,
    columns: &[Column],
    ty: &ast::Type,
) -> bool {
    let Some(given) = given_columns(kind, part) else { return kind != "csv" || check_flat(ctx, columns, ty) };
    let mut is_right = true;
    for column in columns {
        let span = column_span(ty, &column.name);
        let Some((_, found)) = given.iter().find(|(name, _)| *name == column.name) else {
            let what = part.map_or(format!("`{kind}`"), |part| format!("`{kind}` with `part = {part}`"));
            let message = format!("column `{}` is not given by {what}", column.name);
            let names: Vec<&str> = given.iter().map(|(name, _)| *name).collect();
            let shown: Vec<String> = given.iter().map(|(name, ty)| format!("{name}: {ty}")).collect();
            let diagnostic = Diagnostic::new(Code::E0203, message, span, "no such column")
                .note(format!("it gives {}", shown.join(", ")));
            ctx.report(suggest(diagnostic, &column.name, span, names));
            is_right = false;
            continue;
        };
        if let Fit::No(code) = fit(found, &column.ty) {
            report_mismatch(ctx, code, found, &column.ty, span);
            is_right = false;
        }
    }
    is_right
}

/// CSV has cells of one value each.
fn check_flat(ctx: &mut Context<'_>, columns: &[Column], ty: &ast::Type) -> bool {
    let nested = columns.iter().find(|column| {
        let ty = column.ty.required();
        matches!(
            ty,
            Type::List(_)
                | Type::Map(..)
                | Type::Record(_)
                | Type::Vector { .. }
                | Type::Span
                | Type::Message
        )
    });
    let Some(column) = nested else { return true };
    let message = format!("column `{}` is {}, which a csv cell cannot hold", column.name, column.ty);
    ctx.report(Diagnostic::new(Code::E0303, message, column_span(ty, &column.name), "not a single value"));
    false
}

/// Whether values of a type can identify rows.
pub(crate) fn is_key_type(ty: &Type) -> bool {
    let is_plain =
        matches!(ty, Type::Bool | Type::Int { .. } | Type::Text | Type::Bytes | Type::Date | Type::Timestamp);
    is_plain || matches!(ty, Type::Enum(_) | Type::Tok(_) | Type::Duration | Type::Size | Type::Unknown)
}

fn check_key(
    ctx: &mut Context<'_>,
    scope: &Scope<'_>,
    owner: &str,
    fields: &Fields<'_>,
    call: Span,
) -> Option<Vec<String>> {
    let Some(expr) = fields.expr("key") else {
        let default =
            ["path", "id"].into_iter().find(|name| scope.columns.iter().any(|column| column.name == *name));
        let Some(name) = default else {
            let message = format!("missing field `key` of {owner}");
            let diagnostic = Diagnostic::new(Code::E0207, message, call, "`key` is required");
            ctx.report(diagnostic.help("add `{ key = column }`: the column or columns that identify a row"));
            return None;
        };
        return Some(vec![name.to_owned()]);
    };
    let columns = check_columns(ctx, scope, expr)?;
    let mut is_right = true;
    for column in &columns {
        if column.ty.is_optional() {
            report_mismatch(ctx, Code::E0307, &column.ty, column.ty.required(), expr.span);
            is_right = false;
        } else if !is_key_type(&column.ty) {
            let message = format!("column `{}` is {}, which cannot identify rows", column.name, column.ty);
            ctx.report(Diagnostic::new(Code::E0303, message, expr.span, "not a key"));
            is_right = false;
        }
    }
    is_right.then(|| columns.into_iter().map(|column| column.name).collect())
}

/// Reads `by(column, part = share, ..., seed = n)`: E0310 if the shares do not sum to 100 %, E0404 without a seed. `field` is
/// the whole field, to which taint refers.
pub(crate) fn check_split(
    ctx: &mut Context<'_>,
    scope: &Scope<'_>,
    owner: &str,
    expr: &ast::Expr,
    field: Span,
) -> Option<Split> {
    let call = match &expr.kind {
        ast::ExprKind::Call(call) if call.callee.text() == "by" => call,
        ast::ExprKind::Bad => return None,
        _ => {
            let message = format!("`split` of {owner} is not a split");
            let diagnostic = Diagnostic::new(Code::E0303, message, expr.span, "expected `by(...)`");
            ctx.report(diagnostic.help("write `by(column, train = 80%, test = 20%, seed = 1)`"));
            return None;
        }
    };
    let mut column = None;
    let mut seed = None;
    let mut shares: Vec<(String, f64)> = Vec::new();
    let mut is_right = true;
    for argument in &call.args {
        match argument.name.as_ref().map(|name| name.name.as_str()) {
            None if column.is_none() => {
                column = Some(check_column(ctx, scope, &argument.value));
            }
            None => {
                let message = "a split is by one column";
                ctx.report(Diagnostic::new(Code::E0302, message, argument.span, "one too many"));
                is_right = false;
            }
            Some("seed") => seed = Some(constant(ctx, &argument.value, &Type::U64)),
            Some(part) => match constant(ctx, &argument.value, &Type::Share) {
                Some(Value::Float(share)) => shares.push((part.to_owned(), share)),
                _ => is_right = false,
            },
        }
    }
    if column.is_none() {
        let message = format!("split of {owner} names no column");
        ctx.report(Diagnostic::new(Code::E0207, message, call.span, "the column comes first"));
    }
    if seed.is_none() {
        super::operators::report_seed(
            ctx,
            &format!("split of {owner}"),
            call.callee.span,
            call.span,
            !call.args.is_empty(),
        );
    }
    let sum: f64 = shares.iter().map(|(_, share)| share).sum();
    // Shares are decimal fractions of a few digits; their sum in floats is off by less than this.
    if is_right && (sum - 1.0).abs() > 1e-9 {
        let message = format!("split shares sum to {} %, expected 100 %", (sum * 1e8).round() / 1e6);
        // The parts are known all the same.
        ctx.report(Diagnostic::new(Code::E0310, message, call.span, "shares of the parts"));
    }
    let seed = match seed?? {
        Value::Int(seed) => u64::try_from(seed).ok()?,
        Value::UInt(seed) => seed,
        _ => return None,
    };
    let column = column??.name;
    if !is_right {
        return None;
    }
    let mut from = 0.0;
    let last = shares.len().saturating_sub(1);
    let parts = shares.into_iter().enumerate().map(|(idx, (name, share))| {
        let to = if idx == last { 1.0 } else { from + share };
        let part = (name, from, to);
        from = to;
        part
    });
    Some(Split { column, seed, parts: parts.collect(), span: field })
}
