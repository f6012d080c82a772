//! Benches: what is run, on which rows, and which numbers are taken of it. Also the SQL of queries.
//!
//! Measuring is the bench area's; here every name is resolved and every metric proved to be one number.

use super::context::{Context, Stream, StreamKey};
use super::expressions::{Aggregates, Scope, bare_columns, check_expr};
use super::fields::{Fields, check_block, read_choice};
use super::{flows, lints, sql};
use crate::catalog::{Accepts, Fallback, FieldSpec};
use crate::diagnostic::{Code, Diagnostic};
use crate::graph::NodeId;
use crate::hir;
use crate::op;
use crate::resolve::suggest::suggest;
use crate::resolve::{DeclKind, DeclarationId};
use crate::source::Span;
use crate::syntax::ast;
use crate::types::{Column, Type};

mod subgraph;

/// What can be the subject of a bench.
const SUBJECTS: &[DeclKind] =
    &[DeclKind::Model, DeclKind::Adapter, DeclKind::Scorer, DeclKind::Recursion, DeclKind::Diffusion];

/// Fields of `bench`.
const BENCH: &[FieldSpec] = &[
    FieldSpec::new("run", Accepts::Raw, Fallback::None, "the flow that is measured"),
    FieldSpec::new(
        "subject",
        Accepts::Declared(SUBJECTS),
        Fallback::None,
        "what is measured instead of a flow",
    ),
    FieldSpec::new(
        "against",
        Accepts::DeclaredList(SUBJECTS),
        Fallback::None,
        "subjects measured in turn with it",
    ),
    FieldSpec::new(
        "data",
        Accepts::Raw,
        Fallback::Required,
        "the rows: a source, a trajectory, or a part of one",
    ),
    FieldSpec::new("where", Accepts::Raw, Fallback::None, "a condition on the rows"),
    FieldSpec::new("limit", Accepts::Int(1, i64::MAX), Fallback::None, "at most so many rows"),
    FieldSpec::new("sample", Accepts::Share, Fallback::None, "a share of the rows"),
    FieldSpec::new("metrics", Accepts::OpenBlock, Fallback::Required, "the numbers that are taken"),
    FieldSpec::new("better", Accepts::OpenBlock, Fallback::None, "`higher` or `lower` by metric"),
    FieldSpec::new("repeat", Accepts::Int(1, 1_000_000), Fallback::Int(5), "repetitions"),
    FieldSpec::new("warm_up", Accepts::Int(0, 1_000_000), Fallback::Int(1), "repetitions before the first"),
    FieldSpec::new("record", Accepts::Raw, Fallback::None, "`history(\"suite\")`: where results are kept"),
    FieldSpec::new(
        "cache",
        Accepts::Choice(&["bypass", "warm"]),
        Fallback::Text("bypass"),
        "caches while measuring",
    ),
];

/// Longest name of a metric.
const METRIC_BYTES: usize = 40;

/// A typed bench with the names that its gate may use.
#[derive(Debug, Clone)]
pub(crate) struct BenchInfo {
    /// What is handed on.
    pub(crate) hir: hir::Bench,
    /// The name as declared, without the import's.
    pub(crate) local: String,
    /// Subjects of its results.
    pub(crate) subjects: Vec<String>,
}

/// Checks all benches and gives those without errors.
pub(crate) fn check_all(ctx: &mut Context<'_>) -> Vec<hir::Bench> {
    let ids: Vec<DeclarationId> = ctx.of_kind(DeclKind::Bench).map(|declaration| declaration.id).collect();
    ids.into_iter().filter_map(|id| bench(ctx, id)).map(|info| info.hir).collect()
}

/// The typed bench of a declaration; `None` after an error. Kept, so each bench is reported once.
pub(crate) fn bench(ctx: &mut Context<'_>, id: DeclarationId) -> Option<BenchInfo> {
    if let Some(known) = ctx.benches.get(&id) {
        return known.clone();
    }
    let info = ctx.within(id, |ctx| check_bench(ctx, id));
    ctx.benches.insert(id, info.clone());
    info
}

/// The stream whose columns metrics see, and the subjects of the results.
struct Measured {
    columns: Vec<Column>,
    name: String,
    node: Option<NodeId>,
    is_unknown: bool,
    subjects: Vec<String>,
    run: Option<String>,
}

fn check_bench(ctx: &mut Context<'_>, id: DeclarationId) -> Option<BenchInfo> {
    let item = ctx.item(id);
    let ast::ItemKind::Plain { name, block, .. } = &item.kind else { return None };
    let errors_before = ctx.error_count();
    let fields = check_block(ctx, &format!("bench `{}`", name.name), block, BENCH);
    let data = check_data(ctx, &fields);
    let measured = check_measured(ctx, name, &fields, data.as_ref())?;
    let mut columns = measured.columns.clone();
    if !columns.iter().any(|column| column.name == "latency") {
        columns.push(Column { name: "latency".to_owned(), ty: Type::Duration });
    }
    let restriction = check_restriction(ctx, &fields, data.as_ref());
    let scope = Scope { is_unknown: measured.is_unknown, ..Scope::columns(&measured.name, &columns) };
    let mut metrics = check_metrics(ctx, &scope, &fields);
    check_better(ctx, &name.name, &fields, &mut metrics);
    let suite = check_record(ctx, name, &fields);
    warn_unlearned(ctx, &fields);
    if ctx.error_count() > errors_before || fields.has_errors {
        return None;
    }
    let place = subgraph::Place { bench: &name.name, span: item.span };
    let operators = match (&measured.run, measured.node, &data) {
        (Some(_), Some(run), Some(data)) => subgraph::measured(ctx, &place, run, data, restriction),
        _ => None,
    };
    let hir = hir::Bench {
        name: ctx.get(id).name.clone(),
        run: measured.run,
        data: data.map(|data| data.stream.name),
        measured: operators,
        subjects: measured.subjects.clone(),
        restricted: written(ctx, &fields, &["where", "limit", "sample"]),
        is_warm: fields.text("cache").as_deref() == Some("warm"),
        metrics,
        repeat: fields.u32("repeat").unwrap_or(5),
        warm_up: fields.u32("warm_up").unwrap_or(1),
        suite,
        columns: measured.columns,
        span: item.span,
    };
    Some(BenchInfo { hir, local: name.name.clone(), subjects: measured.subjects })
}

/// The texts of the fields that are written.
fn written(ctx: &Context<'_>, fields: &Fields<'_>, names: &[&str]) -> Vec<(String, String)> {
    let text = |name: &&str| {
        let expr = fields.expr(name)?;
        Some(((*name).to_owned(), ctx.sources().snippet(expr.span).to_owned()))
    };
    names.iter().filter_map(text).collect()
}

/// `where`, `limit` and `sample`.
fn check_restriction(
    ctx: &mut Context<'_>,
    fields: &Fields<'_>,
    data: Option<&Data>,
) -> subgraph::Restriction {
    let condition = match (fields.expr("where"), data) {
        (Some(expr), Some(data)) => {
            Some(check_expr(ctx, &Scope::of(&data.stream), expr, Some(&Type::Bool.optional())))
        }
        _ => None,
    };
    let condition = condition.filter(|condition| !condition.ty.is_unknown());
    subgraph::Restriction { condition, share: fields.f64("sample"), rows: fields.u64("limit") }
}

/// `data`, resolved.
struct Data {
    stream: Stream,
    declaration: Option<DeclarationId>,
    span: Span,
}

fn check_data(ctx: &mut Context<'_>, fields: &Fields<'_>) -> Option<Data> {
    let path = path_of(ctx, fields, "data")?;
    let declaration = ctx.lookup(path).map(|(id, _)| id);
    let kind = declaration.map(|id| ctx.get(id).kind);
    let stream = stream_of(ctx, path);
    if matches!(kind, Some(DeclKind::Pipeline)) && !stream.is_unknown {
        let message = format!("`{}` is a flow, expected a source or a trajectory", path.text());
        ctx.report(Diagnostic::new(Code::E0209, message, path.span, "a flow cannot be replaced"));
        return None;
    }
    Some(Data { stream, declaration, span: path.span })
}

fn path_of<'a>(ctx: &mut Context<'_>, fields: &Fields<'a>, name: &str) -> Option<&'a ast::Path> {
    let expr = fields.expr(name)?;
    match &expr.kind {
        ast::ExprKind::Path(path) => Some(path),
        ast::ExprKind::Bad => None,
        _ => {
            ctx.report(Diagnostic::new(
                Code::E0303,
                format!("`{name}` is the name of a stream"),
                expr.span,
                "not a name",
            ));
            None
        }
    }
}

fn check_measured(
    ctx: &mut Context<'_>,
    name: &ast::Ident,
    fields: &Fields<'_>,
    data: Option<&Data>,
) -> Option<Measured> {
    match (fields.get("run"), fields.get("subject")) {
        (None, None) => {
            let message = format!("missing field `run` or `subject` of bench `{}`", name.name);
            ctx.report(Diagnostic::new(Code::E0207, message, name.span, "measures nothing"));
            None
        }
        (Some(run), Some(subject)) => {
            let message = format!("bench `{}` has both `run` and `subject`", name.name);
            let diagnostic =
                Diagnostic::new(Code::E0311, message, subject.name_span, "exactly one is allowed");
            ctx.report(diagnostic.label(run.name_span, "`run`"));
            None
        }
        (Some(_), None) => {
            let path = path_of(ctx, fields, "run")?;
            let stream = stream_of(ctx, path);
            if let Some(data) = data {
                check_read(ctx, path, &stream, data);
            }
            Some(Measured {
                name: stream.name.clone(),
                node: stream.node,
                is_unknown: stream.is_unknown,
                subjects: path.segments.last().map(|flow| flow.name.clone()).into_iter().collect(),
                run: Some(stream.name),
                columns: visible(&stream.columns),
            })
            .filter(|measured| measured.node.is_some() || measured.is_unknown)
        }
        (None, Some(_)) => {
            let subject = fields.declared("subject")?;
            let ids = std::iter::once(subject).chain(fields.declared_list("against").iter().copied());
            let subjects = ids.map(|id| ctx.get(id).local.clone()).collect();
            let data = data?;
            Some(Measured {
                name: data.stream.name.clone(),
                node: data.stream.node,
                is_unknown: data.stream.is_unknown,
                subjects,
                run: None,
                columns: visible(&data.stream.columns),
            })
        }
    }
}

/// The stream of a path; unknown after an error.
pub(crate) fn stream_of(ctx: &mut Context<'_>, path: &ast::Path) -> Stream {
    flows::stream(ctx, path).map_or_else(|| Stream::unknown(path.text()), |(_, stream)| stream)
}

fn visible(columns: &[Column]) -> Vec<Column> {
    columns.iter().filter(|column| !column.name.starts_with('~')).cloned().collect()
}

/// E0604 if the run does not read the source that `data` replaces.
fn check_read(ctx: &mut Context<'_>, run: &ast::Path, stream: &Stream, data: &Data) {
    let (Some(run_node), Some(declaration)) = (stream.node, data.declaration) else { return };
    if data.stream.is_unknown {
        return;
    }
    let key = StreamKey { declaration, part: None };
    let source = ctx.streams.get(&key).and_then(|source| source.node);
    if source.is_some_and(|source| reaches(ctx, run_node, source)) {
        return;
    }
    let message = format!("`{}` does not read `{}`", run.text(), data.stream.name);
    let mut diagnostic = Diagnostic::new(Code::E0604, message, data.span, "not read by the run");
    let sources = sources_of(ctx, run_node);
    if !sources.is_empty() {
        diagnostic = diagnostic.note(format!("`{}` reads {}", run.text(), sources.join(", ")));
    }
    ctx.report(diagnostic);
}

/// Whether `node` is computed from `source`, artifacts included.
fn reaches(ctx: &Context<'_>, node: NodeId, source: NodeId) -> bool {
    upstream(ctx, node).contains(&source)
}

/// All nodes that a node is computed from, itself included, in ascending order.
pub(crate) fn upstream(ctx: &Context<'_>, node: NodeId) -> std::collections::BTreeSet<NodeId> {
    let mut found = std::collections::BTreeSet::new();
    let mut open = vec![node];
    while let Some(id) = open.pop() {
        if found.insert(id) {
            open.extend(ctx.graph.node(id).inputs.iter().copied());
        }
    }
    found
}

/// Names of the sources that a node is computed from.
pub(crate) fn sources_of(ctx: &Context<'_>, node: NodeId) -> Vec<String> {
    let nodes = upstream(ctx, node);
    let is_source = |id: &NodeId| matches!(ctx.graph.node(*id).op, op::Op::Scan(_));
    let named = ctx.streams.iter().filter(|(key, _)| key.part.is_none());
    let named =
        named.filter(|(_, stream)| stream.node.is_some_and(|id| nodes.contains(&id) && is_source(&id)));
    named.map(|(_, stream)| format!("`{}`", stream.name)).collect()
}

/// Types the metrics: each is one number.
fn check_metrics(
    ctx: &mut Context<'_>,
    scope: &Scope<'_>,
    fields: &Fields<'_>,
) -> Vec<(String, op::Expr, i8)> {
    let scope = scope.with_aggregates(Aggregates::Allowed);
    let Some(block) = fields.get("metrics").and_then(|entry| entry.block) else { return Vec::new() };
    let mut metrics: Vec<(String, op::Expr, i8)> = Vec::new();
    if block.fields.is_empty() {
        let message = "missing field: `metrics` is empty";
        ctx.report(Diagnostic::new(Code::E0207, message, block.span, "at least one metric is required"));
    }
    for field in &block.fields {
        check_metric_name(ctx, &field.name);
        if metrics.iter().any(|(name, _, _)| *name == field.name.name) {
            let message = format!("metric `{}` is defined twice", field.name.name);
            ctx.report(Diagnostic::new(Code::E0202, message, field.name.span, "defined again here"));
        }
        let ast::FieldValue::Expr(expr) = &field.value else {
            if let ast::FieldValue::Block(block) = &field.value {
                let message = format!("metric `{}` is not an expression", field.name.name);
                ctx.report(Diagnostic::new(Code::E0603, message, block.span, "a block"));
            }
            continue;
        };
        let typed = check_expr(ctx, &scope, expr, None);
        check_single_number(ctx, &field.name.name, &typed, expr.span);
        let direction = if matches!(typed.ty.required(), Type::Duration | Type::Size) { -1 } else { 0 };
        metrics.push((field.name.name.clone(), typed, direction));
    }
    metrics
}

fn check_metric_name(ctx: &mut Context<'_>, name: &ast::Ident) {
    if name.name.len() > METRIC_BYTES {
        let message = format!("name of a metric is longer than {METRIC_BYTES} characters");
        ctx.report(Diagnostic::new(
            Code::E0501,
            message,
            name.span,
            format!("{} characters", name.name.len()),
        ));
    }
    let is_right = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if !name.name.bytes().all(is_right) || !name.name.starts_with(|first: char| first.is_ascii_lowercase()) {
        let message = format!("character not allowed in the name of a metric: `{}`", name.name);
        ctx.report(Diagnostic::new(Code::E0106, message, name.span, "expected [a-z][a-z0-9_]*"));
    }
}

/// E0603 for lists, records, texts and values of single rows.
fn check_single_number(ctx: &mut Context<'_>, name: &str, typed: &op::Expr, span: Span) {
    if typed.ty.is_unknown() {
        return;
    }
    let mut bare = Vec::new();
    bare_columns(typed, &mut bare);
    let is_number = matches!(
        typed.ty.required(),
        Type::Int { .. }
            | Type::Float { .. }
            | Type::Tok(_)
            | Type::Ratio
            | Type::Share
            | Type::Duration
            | Type::Size
    );
    let label = if let Some(column) = bare.first() {
        format!("`{column}` has one value per row")
    } else if is_number {
        return;
    } else {
        format!("is {}", typed.ty)
    };
    let diagnostic =
        Diagnostic::new(Code::E0603, format!("metric `{name}` is not a single number"), span, label);
    ctx.report(diagnostic.help("aggregate it, for example with `mean`, `sum`, `count` or `p99`"));
}

fn check_better(
    ctx: &mut Context<'_>,
    bench: &str,
    fields: &Fields<'_>,
    metrics: &mut [(String, op::Expr, i8)],
) {
    let Some(block) = fields.get("better").and_then(|entry| entry.block) else { return };
    for field in &block.fields {
        let ast::FieldValue::Expr(expr) = &field.value else { continue };
        let direction =
            read_choice(ctx, &format!("`{}` of `better`", field.name.name), expr, &["higher", "lower"]);
        if let Some(metric) = metrics.iter_mut().find(|(name, _, _)| *name == field.name.name) {
            metric.2 = if direction.as_deref() == Some("higher") { 1 } else { -1 };
            continue;
        }
        let message = format!("bench `{bench}` has no metric `{}`", field.name.name);
        let names: Vec<&str> = metrics.iter().map(|(name, _, _)| name.as_str()).collect();
        let diagnostic = Diagnostic::new(Code::E0206, message, field.name.span, "no such metric")
            .note(format!("metrics: {}", names.join(", ")));
        ctx.report(suggest(diagnostic, &field.name.name, field.name.span, names));
    }
}

/// `record = history("suite")`; W0601 without it.
fn check_record(ctx: &mut Context<'_>, name: &ast::Ident, fields: &Fields<'_>) -> Option<String> {
    let Some(expr) = fields.expr("record") else {
        let message = format!("bench `{}` has no `record` and leaves no history", name.name);
        let warning = Diagnostic::new(Code::W0601, message, name.span, "results are printed and forgotten");
        ctx.report(warning.help("add `record = history(\"suite\")`"));
        return None;
    };
    if let ast::ExprKind::Call(call) = &expr.kind
        && call.callee.text() == "history"
        && let [only] = call.args.as_slice()
        && only.name.is_none()
    {
        let suite = super::expressions::constant(ctx, &only.value, &Type::Text)?;
        return if let op::Value::Text(suite) = suite { Some(suite) } else { None };
    }
    if !matches!(expr.kind, ast::ExprKind::Bad) {
        let message = "`record` of a bench is `history(\"suite\")`";
        ctx.report(Diagnostic::new(Code::E0303, message, expr.span, "expected `history(...)`"));
    }
    None
}

/// W0202 for adapters that no `learn` trains.
fn warn_unlearned(ctx: &mut Context<'_>, fields: &Fields<'_>) {
    let exprs = ["subject", "against"].into_iter().filter_map(|name| fields.expr(name));
    let mut paths = Vec::new();
    exprs.for_each(|expr| super::gates::paths_of(expr, &mut paths));
    for path in paths {
        let Some((id, used)) = ctx.lookup(path) else { continue };
        if used < path.segments.len() || ctx.get(id).kind != DeclKind::Adapter || lints::is_learned(ctx, id) {
            continue;
        }
        let ast::ItemKind::On { on, .. } = &ctx.item(id).kind else { continue };
        let name = path.text();
        let message = format!("adapter `{name}` is compared but never learned: it equals `{}`", on.text());
        ctx.report(Diagnostic::new(Code::W0202, message, path.span, format!("no `learn {name}`")));
    }
}

/// Tables that the program's streams are in SQL, with their columns where they are known: `docs`, `corpus_chunks` and
/// `corpus.chunks`.
pub(crate) fn stream_tables(ctx: &Context<'_>) -> Vec<(String, Vec<Column>)> {
    let mut tables = Vec::new();
    for stream in ctx.streams.values().filter(|stream| !stream.is_unknown) {
        let columns = visible(&stream.columns);
        if stream.name.contains('.') {
            tables.push((stream.name.replace('.', "_"), columns.clone()));
        }
        tables.push((stream.name.clone(), columns));
    }
    tables
}

/// Checks all queries and gives name, SQL and place of those without errors.
pub(crate) fn check_queries(ctx: &mut Context<'_>) -> Vec<(String, String, Span)> {
    let ids: Vec<DeclarationId> = ctx.of_kind(DeclKind::Query).map(|declaration| declaration.id).collect();
    let tables = stream_tables(ctx);
    let has_unknown = ctx.streams.values().any(|stream| stream.is_unknown);
    let mut queries = Vec::new();
    for id in ids {
        let item = ctx.item(id);
        let ast::ItemKind::Query { sql: text, .. } = &item.kind else { continue };
        let mut found = Vec::new();
        let statement = sql::parse(text, &mut found);
        if let Some(statement) = &statement {
            sql::check_query(statement, &tables, &mut found);
            mark_used(ctx, statement);
        }
        // A stream with an error has no columns, and its users are not reported.
        found.retain(|diagnostic| !has_unknown || diagnostic.code != Code::E0201);
        if found.is_empty() {
            queries.push((ctx.get(id).name.clone(), text.value.clone(), item.span));
        }
        ctx.diagnostics.extend(found);
    }
    queries
}

/// Streams that SQL reads are used.
fn mark_used(ctx: &mut Context<'_>, statement: &sql::Statement<'_>) {
    for table in statement.tables() {
        let named = ctx
            .streams
            .iter()
            .find(|(_, stream)| stream.name == table.name || stream.name.replace('.', "_") == table.name);
        if let Some((key, _)) = named {
            ctx.used.insert(key.declaration);
        }
    }
}
