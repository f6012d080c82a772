//! Declarations of later areas: resolved and typed now, run when their area is built.
//!
//! Each function checks the fields of one declaration against its table in `later/tables.rs`, and what a table cannot say:
//! fields that need or exclude each other, and that the parts fit together. Trajectories give streams as sources do.

use super::context::{Context, NewNode, Stream, StreamKey};
use super::expressions::{self, Aggregates, Scope, check_columns, check_expr, constant};
use super::fields::{Fields, check_arguments, check_block};
use super::{benches, embedders, indexes, operators, scorers, sources};
use crate::catalog::FieldSpec;
use crate::diagnostic::{Code, Diagnostic};
use crate::graph::{Class, Effect};
use crate::op::{self, Op, Value};
use crate::resolve::suggest::suggest;
use crate::resolve::{DeclKind, DeclarationId};
use crate::source::Span;
use crate::syntax::ast::{self, FromKeyword, ItemKind, OnKeyword, PlainKeyword};
use crate::types::{Column, Type};

pub(super) mod tables;

/// What a `learn` is to reach, over the columns of its stream.
#[derive(Debug, Clone)]
pub(super) struct Objective {
    pub(super) name: String,
    pub(super) span: Span,
    arguments: Vec<(&'static str, op::Expr, Span)>,
}

impl Objective {
    /// A parameter with its place.
    pub(super) fn find(&self, name: &str) -> Option<(&op::Expr, &Span)> {
        let found = self.arguments.iter().find(|(parameter, ..)| *parameter == name);
        found.map(|(_, expr, span)| (expr, span))
    }
}

/// Checks all declarations of later areas, in the order written.
pub(crate) fn check_all(ctx: &mut Context<'_>) {
    for declaration in &ctx.program.declarations {
        let id = declaration.id;
        ctx.within(id, |ctx| check_declaration(ctx, id));
    }
    for module_idx in 0..ctx.program.modules.len() {
        let outer = std::mem::replace(&mut ctx.module, module_idx);
        let program = ctx.program;
        for item in &program.modules[module_idx].file.items {
            let ItemKind::From { keyword: FromKeyword::Learn, name, from, block, .. } = &item.kind else {
                continue;
            };
            let target = ast::Path { segments: vec![name.clone()], span: name.span };
            let scorer =
                ctx.lookup(&target).map(|(id, _)| id).filter(|id| ctx.get(*id).kind == DeclKind::Scorer);
            // A scorer's is checked with the scorer.
            if scorer.is_none() {
                check_learn(ctx, name, from, block, tables::LEARN);
            }
        }
        ctx.module = outer;
    }
}

fn check_declaration(ctx: &mut Context<'_>, id: DeclarationId) {
    match &ctx.item(id).kind {
        ItemKind::Plain { keyword: PlainKeyword::Model, name, block, .. } => check_model(ctx, name, block),
        ItemKind::Plain { keyword: PlainKeyword::Scorer, .. } => {
            scorers::scorer(ctx, id);
        }
        ItemKind::Plain { keyword: PlainKeyword::Recursion, name, block, .. } => {
            seeded_block(ctx, &format!("recursion `{}`", name.name), name, block, tables::RECURSION);
        }
        ItemKind::Plain { keyword: PlainKeyword::Service, name, block, .. } => {
            check_service(ctx, name, block)
        }
        ItemKind::On { keyword, name, on, block, .. } => {
            let base = ctx.expect(on, &[DeclKind::Model]).map(|base| base.id);
            match keyword {
                OnKeyword::Adapter => check_adapter(ctx, name, block),
                OnKeyword::Dynamics => check_dynamics(ctx, name, block),
                OnKeyword::Diffusion => check_diffusion(ctx, name, base, block),
            }
        }
        ItemKind::From { keyword: FromKeyword::Trajectory, .. } => trajectory(ctx, id),
        ItemKind::From { keyword: FromKeyword::Patterns, name, from, block, .. } => {
            check_patterns(ctx, name, from, block);
        }
        ItemKind::Federation { name, target, block } => check_federation(ctx, name, target, block),
        _ => {}
    }
}

/// A block with a required seed: E0404 where it is missing.
fn seeded_block<'a>(
    ctx: &mut Context<'_>,
    owner: &str,
    name: &ast::Ident,
    block: &'a ast::Block,
    specs: &'static [FieldSpec],
) -> Fields<'a> {
    let fields = check_block(ctx, owner, block, specs);
    if !fields.has("seed") {
        let diagnostic =
            Diagnostic::new(Code::E0404, format!("{owner} needs a seed"), name.span, "seeded declaration");
        ctx.report(diagnostic.help("add `seed = 1`"));
    }
    fields
}

pub(super) fn missing(ctx: &mut Context<'_>, owner: &str, field: &str, span: Span, why: &str) {
    let message = format!("missing field `{field}` of {owner}");
    ctx.report(Diagnostic::new(Code::E0207, message, span, why));
}

fn exclusive(ctx: &mut Context<'_>, owner: &str, fields: &Fields<'_>, first: &str, second: &str) -> bool {
    let (Some(left), Some(right)) = (fields.get(first), fields.get(second)) else { return false };
    let message = format!("`{first}` and `{second}` of {owner} exclude each other");
    let diagnostic = Diagnostic::new(Code::E0311, message, right.name_span, format!("with `{first}`"));
    let place = left.name_span;
    ctx.report(diagnostic.label(place, format!("`{first}`")));
    true
}

fn check_model(ctx: &mut Context<'_>, name: &ast::Ident, block: &ast::Block) {
    let owner = format!("model `{}`", name.name);
    let fields = check_block(ctx, &owner, block, tables::MODEL);
    if fields.text("arch").as_deref() == Some("remote") {
        if !fields.has("endpoint") {
            missing(ctx, &owner, "endpoint", name.span, "a remote model has an address");
        }
        if !fields.has("record") {
            let message = format!("{owner} is an external effect without a record");
            let diagnostic =
                Diagnostic::new(Code::E0405, message, name.span, "its answers cannot be computed again");
            ctx.report(diagnostic.help("add `record = \"path\"`"));
        }
    } else if !fields.has_errors && !exclusive(ctx, &owner, &fields, "file", "init") {
        match (fields.has("file"), fields.has("init"), fields.has("shape")) {
            (false, false, _) => missing(ctx, &owner, "file", name.span, "`file`, or `init` with `shape`"),
            (_, true, false) => missing(ctx, &owner, "shape", name.span, "`init` needs `shape`"),
            _ => {}
        }
    }
    if let Some(expr) = fields.expr("init") {
        check_seed_call(ctx, expr);
    }
    let hash = fields.text("blake3").unwrap_or_default();
    if fields.has("blake3")
        && (hash.len() < 6 || hash.len() > 64 || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
    {
        let span = fields.span("blake3").unwrap_or(name.span);
        let message = format!("`blake3` of {owner} is not a hash");
        ctx.report(Diagnostic::new(Code::E0303, message, span, "expected 6 to 64 hex digits"));
    }
}

/// `seed(n)`
fn check_seed_call(ctx: &mut Context<'_>, expr: &ast::Expr) {
    match &expr.kind {
        ast::ExprKind::Call(call) if call.callee.text() == "seed" && call.args.len() == 1 => {
            constant(ctx, &call.args[0].value, &Type::U64);
        }
        ast::ExprKind::Bad => {}
        _ => ctx.report(Diagnostic::new(Code::E0303, "`init` is `seed(n)`", expr.span, "expected `seed(n)`")),
    }
}

/// Types a trajectory and its parts; the streams are remembered, unknown after an error.
pub(crate) fn trajectory(ctx: &mut Context<'_>, id: DeclarationId) {
    let key = StreamKey { declaration: id, part: None };
    if ctx.streams.contains_key(&key) {
        return;
    }
    let name = ctx.get(id).name.clone();
    ctx.streams.insert(key, Stream::unknown(name));
    ctx.within(id, |ctx| trajectory_here(ctx, id));
}

fn trajectory_here(ctx: &mut Context<'_>, id: DeclarationId) {
    let declaration = ctx.get(id);
    let ItemKind::From { from, block, .. } = &ctx.item(id).kind else { return };
    let owner = format!("trajectory `{}`", declaration.local);
    let stream = benches::stream_of(ctx, from);
    let fields = check_block(ctx, &owner, block, tables::TRAJECTORY);
    if stream.is_unknown {
        return;
    }
    let episode = fields.expr("episode").and_then(|expr| check_columns(ctx, &Scope::of(&stream), expr));
    let derived = check_steps(ctx, &stream, block, &fields);
    let Some(episode) = episode else { return };
    let columns = trajectory_columns(episode.clone(), derived);
    let split = fields.get("split").and_then(|entry| {
        let span = entry.name_span.to(entry.span);
        let scope = Scope::of(&stream);
        sources::check_split(ctx, &scope, &owner, entry.expr?, span)
    });
    let key: Vec<String> = episode.into_iter().map(|column| column.name).collect();
    let node = stream.node.filter(|_| !fields.has_errors).map(|input| {
        ctx.add_node(NewNode {
            op: Op::Unavailable { area: "learn".to_owned(), what: owner.clone() },
            inputs: vec![input],
            schema: columns.clone(),
            key: key.clone(),
            class: Class::Blocking,
            effect: Effect::Pure,
            version: 1,
            label: declaration.name.clone(),
            span: declaration.span,
        })
    });
    let mut taint = stream.taint.clone();
    taint.extend(split.iter().flat_map(sources::Split::taint));
    let whole = Stream { name: declaration.name.clone(), columns, key, taint, node, is_unknown: false };
    sources::add_parts(ctx, id, &whole, split.as_ref());
    ctx.streams.insert(StreamKey { declaration: id, part: None }, whole);
}

/// The fields that are expressions over the stream's columns and earlier fields, with their types.
fn check_steps(
    ctx: &mut Context<'_>,
    stream: &Stream,
    block: &ast::Block,
    fields: &Fields<'_>,
) -> Vec<Column> {
    let mut columns = stream.columns.clone();
    let mut derived: Vec<Column> = Vec::new();
    for field in &block.fields {
        let name = field.name.name.as_str();
        if !matches!(name, "steps" | "state" | "action" | "reward" | "advantage" | "weight") {
            continue;
        }
        let Some(expr) = fields.expr(name) else { continue };
        let scope = Scope::columns(&stream.name, &columns).with_aggregates(Aggregates::Windows);
        let typed = check_expr(ctx, &scope, expr, None);
        let column = Column { name: name.to_owned(), ty: typed.ty };
        columns.retain(|known| known.name != name);
        columns.push(column.clone());
        derived.push(column);
    }
    for field in ["reward", "advantage", "weight"] {
        let Some(column) = derived.iter().find(|column| column.name == field) else { continue };
        let is_number = matches!(
            column.ty.required(),
            Type::Int { .. } | Type::Float { .. } | Type::Bool | Type::Share | Type::Unknown
        );
        if let (false, Some(span)) = (is_number, fields.span(field)) {
            let message = format!("`{field}` of a trajectory is {}, expected a number", column.ty);
            ctx.report(Diagnostic::new(Code::E0303, message, span, "not a number"));
        }
    }
    derived
}

/// `episode`, then its key columns, then state, action, reward, advantage.
fn trajectory_columns(episode: Vec<Column>, derived: Vec<Column>) -> Vec<Column> {
    let mut columns = vec![Column { name: "episode".to_owned(), ty: Type::Record(episode.clone()) }];
    columns.extend(episode.into_iter().filter(|column| column.name != "episode"));
    let of = |name: &str| derived.iter().find(|column| column.name == name).map(|column| column.ty.clone());
    let reward = of("reward").unwrap_or(Type::Unknown);
    for (name, ty) in [
        ("state", of("state").unwrap_or(Type::Unknown)),
        ("action", of("action").unwrap_or(Type::Unknown)),
        ("reward", reward.clone()),
        ("advantage", of("advantage").unwrap_or(reward)),
    ] {
        columns.retain(|column| column.name != name);
        columns.push(Column { name: name.to_owned(), ty });
    }
    columns
}

fn check_patterns(ctx: &mut Context<'_>, name: &ast::Ident, from: &ast::Path, block: &ast::Block) {
    let owner = format!("patterns `{}`", name.name);
    let stream = trained_on(ctx, from);
    let fields = seeded_block(ctx, &owner, name, block, tables::PATTERNS);
    if let Some(expr) = fields.expr("keep") {
        check_expr(ctx, &Scope::of(&stream), expr, Some(&Type::Bool.optional()));
    }
    let (Some(embedder), Some(index)) = (fields.declared("embed"), fields.declared("index")) else { return };
    let embedder = embedders::embedder(ctx, embedder);
    let index_info = indexes::index(ctx, index);
    let (Some(embedder), Some(index_info)) = (embedder, index_info) else { return };
    if !index_info.column.ty.is_unknown() && *index_info.column.ty.required() != embedder.ty {
        let span = fields.span("index").unwrap_or(name.span);
        let diagnostic = Diagnostic::new(
            Code::E0301,
            "vectors of different spaces",
            span,
            index_info.column.ty.to_string(),
        );
        ctx.report(diagnostic.note(format!("{owner} holds {}", embedder.ty)));
    }
}

/// The stream that something is trained on: its test part must not be in it. E0401.
fn trained_on(ctx: &mut Context<'_>, path: &ast::Path) -> Stream {
    let stream = benches::stream_of(ctx, path);
    super::taint::refuse_test(ctx, path, &stream);
    stream
}

fn check_adapter(ctx: &mut Context<'_>, name: &ast::Ident, block: &ast::Block) {
    let owner = format!("adapter `{}`", name.name);
    let fields = check_block(ctx, &owner, block, tables::ADAPTER);
    let Some(expr) = fields.expr("protect") else { return };
    match &expr.kind {
        ast::ExprKind::Call(call) if call.callee.text() == "ewc" => {
            let args = check_arguments(ctx, "`ewc`", call.callee.span, &call.args, tables::EWC, 0);
            if !args.has("seed") {
                operators::report_seed(ctx, "`ewc`", call.callee.span, call.span, !call.args.is_empty());
            }
            if let Some(ast::ExprKind::Path(path)) = args.expr("fisher").map(|expr| &expr.kind) {
                trained_on(ctx, path);
            }
        }
        ast::ExprKind::Bad => {}
        _ => {
            let message = format!("`protect` of {owner} is `ewc(lambda, fisher, seed)`");
            ctx.report(Diagnostic::new(Code::E0303, message, expr.span, "expected `ewc(...)`"));
        }
    }
}

/// The rules of every `learn`; `None` without an objective.
pub(super) fn check_learn<'a>(
    ctx: &mut Context<'_>,
    name: &ast::Ident,
    from: &ast::Path,
    block: &'a ast::Block,
    specs: &'static [FieldSpec],
) -> Option<scorers::Learned<'a>> {
    let owner = format!("`learn {}`", name.name);
    let target = ast::Path { segments: vec![name.clone()], span: name.span };
    let kinds =
        [DeclKind::Scorer, DeclKind::Adapter, DeclKind::Recursion, DeclKind::Embedder, DeclKind::Model];
    // Which fields it takes depends on what is learned.
    let learned = ctx.expect(&target, &kinds);
    let stream = trained_on(ctx, from);
    learned?;
    let fields = seeded_block(ctx, &owner, name, block, specs);
    let takes_steps = specs.iter().any(|spec| spec.name == "steps");
    let is_both = exclusive(ctx, &owner, &fields, "steps", "epochs");
    if takes_steps && !is_both && !fields.has("steps") && !fields.has("epochs") {
        missing(ctx, &owner, "steps", name.span, "`steps` or `epochs`");
    }
    let objective = check_objective(ctx, &owner, &stream, fields.expr("objective")?)?;
    Some((stream, fields, objective))
}

/// `imitate(cond)` and its kin, over the columns that are learned from.
fn check_objective(
    ctx: &mut Context<'_>,
    owner: &str,
    stream: &Stream,
    expr: &ast::Expr,
) -> Option<Objective> {
    let ast::ExprKind::Call(call) = &expr.kind else {
        if !matches!(expr.kind, ast::ExprKind::Bad) {
            let message = format!("`objective` of {owner} is a call such as `imitate(reward > 0)`");
            ctx.report(Diagnostic::new(Code::E0303, message, expr.span, "expected a call"));
        }
        return None;
    };
    let objective = call.callee.text();
    let Some((_, parameters)) = tables::OBJECTIVES.iter().find(|(name, _)| *name == objective) else {
        let names = || tables::OBJECTIVES.iter().map(|(name, _)| *name);
        let message = format!("`{objective}` is not a choice of `objective` of {owner}");
        let diagnostic = Diagnostic::new(Code::E0205, message, call.callee.span, "not a choice")
            .note(format!("choices: {}", names().collect::<Vec<_>>().join(", ")));
        ctx.report(suggest(diagnostic, &objective, call.callee.span, names()));
        return None;
    };
    let mut position = 0;
    let mut arguments = Vec::new();
    for argument in &call.args {
        match &argument.name {
            Some(name) if !parameters.contains(&name.name.as_str()) => {
                let message = format!("unknown parameter `{}` of `{objective}`", name.name);
                let diagnostic = Diagnostic::new(Code::E0206, message, name.span, "no such parameter");
                ctx.report(suggest(diagnostic, &name.name, name.span, parameters.iter().copied()));
            }
            None if position >= parameters.len() => {
                let message = format!("`{objective}` takes {} arguments", parameters.len());
                ctx.report(Diagnostic::new(Code::E0302, message, argument.span, "one too many"));
            }
            named => {
                let parameter = match named {
                    Some(named) => parameters.iter().find(|name| **name == named.name).copied(),
                    None => parameters.get(position).copied(),
                };
                position += usize::from(named.is_none());
                let expected = (objective == "imitate").then(|| Type::Bool.optional());
                let scope = Scope::of(stream).with_aggregates(Aggregates::Windows);
                let value = check_expr(ctx, &scope, &argument.value, expected.as_ref());
                arguments.extend(parameter.map(|name| (name, value, argument.span)));
            }
        }
    }
    // Titles are optional; all else is needed.
    let needed = parameters.iter().filter(|name| **name != "titles").count();
    if call.args.len() < needed {
        let message = format!("missing parameter of `{objective}`: it takes {}", parameters.join(", "));
        ctx.report(Diagnostic::new(Code::E0207, message, call.span, format!("expected {needed}")));
    }
    Some(Objective { name: objective, span: call.span, arguments })
}

fn check_dynamics(ctx: &mut Context<'_>, name: &ast::Ident, block: &ast::Block) {
    let owner = format!("dynamics `{}`", name.name);
    let fields = check_block(ctx, &owner, block, tables::DYNAMICS);
    if let Some(ast::ExprKind::Path(path)) = fields.expr("calibrate").map(|expr| &expr.kind) {
        benches::stream_of(ctx, path);
    }
    if let Some(ast::ExprKind::Path(path)) = fields.expr("context").map(|expr| &expr.kind) {
        let is_prompt = ctx.lookup(path).is_some_and(|(id, _)| ctx.get(id).kind == DeclKind::Prompt);
        if is_prompt {
            ctx.declaration(path);
        } else if let Some((column, stream)) = path.segments.split_last() {
            let end = stream.last().map_or(path.span, |last| last.span);
            if stream.is_empty() {
                ctx.report_unknown("prompt", path, &[DeclKind::Prompt]);
                return;
            }
            let stream = ast::Path { segments: stream.to_vec(), span: path.segments[0].span.to(end) };
            let stream = benches::stream_of(ctx, &stream);
            if !stream.is_unknown && stream.column(&column.name).is_none() {
                expressions::report_column(ctx, &Scope::of(&stream), column);
            }
        }
    }
    if fields.has("fallback") && !fields.has("max_kl") {
        missing(ctx, &owner, "max_kl", name.span, "`fallback` needs a bound");
    }
}

/// The model that an adapter is declared on.
fn base_of(ctx: &mut Context<'_>, adapter: DeclarationId) -> Option<DeclarationId> {
    let ItemKind::On { keyword: OnKeyword::Adapter, on, .. } = &ctx.item(adapter).kind else { return None };
    ctx.within(adapter, |ctx| ctx.lookup(on)).map(|(id, _)| id)
}

/// E0306 for an adapter of another base. `base` is the model it is used with, at `span`.
pub(crate) fn check_base(ctx: &mut Context<'_>, adapter: DeclarationId, base: DeclarationId, span: Span) {
    let Some(own) = base_of(ctx, adapter).filter(|own| *own != base) else { return };
    let (name, own, used) = (&ctx.get(adapter).local, &ctx.get(own).local, &ctx.get(base).local);
    let message = format!("adapter `{name}` is of base `{own}`, used with `{used}`");
    let diagnostic = Diagnostic::new(Code::E0306, message, span, format!("adapter of `{own}`"));
    ctx.report(diagnostic);
}

fn check_diffusion(
    ctx: &mut Context<'_>,
    name: &ast::Ident,
    base: Option<DeclarationId>,
    block: &ast::Block,
) {
    let owner = format!("diffusion `{}`", name.name);
    let fields = seeded_block(ctx, &owner, name, block, tables::DIFFUSION);
    let Some(expr) = fields.expr("adapters") else { return };
    let ast::ExprKind::List(uses) = &expr.kind else {
        let message = format!("`adapters` of {owner} is a list of `use(adapter, steps = a..b)`");
        ctx.report(Diagnostic::new(Code::E0303, message, expr.span, "expected a list"));
        return;
    };
    let mut ranges = Vec::new();
    for used in uses {
        let ast::ExprKind::Call(call) = &used.kind else { continue };
        let Some(ast::ExprKind::Path(path)) = call.args.first().map(|argument| &argument.value.kind) else {
            continue;
        };
        let adapter = ctx.expect(path, &[DeclKind::Adapter]).map(|adapter| adapter.id);
        if let (Some(adapter), Some(base)) = (adapter, base) {
            check_base(ctx, adapter, base, path.span);
        }
        let steps =
            call.args.iter().find(|argument| argument.name.as_ref().is_some_and(|name| name.name == "steps"));
        let range = steps.and_then(|steps| constant(ctx, &steps.value, &Type::Range(Box::new(Type::U32))));
        if let Some(Value::Range(low, high)) = range
            && let (Value::Int(low), Value::Int(high)) = (*low, *high)
        {
            ranges.push((low, high));
        }
    }
    ranges.sort_unstable();
    let steps = fields.u64("steps").and_then(|steps| i64::try_from(steps).ok()).unwrap_or(0);
    let mut next = 0;
    let covers = ranges.iter().all(|(low, high)| {
        let follows = *low == next && high >= low;
        next = high + 1;
        follows
    });
    if ranges.len() == uses.len() && !(covers && next == steps) {
        let message = format!("adapters of {owner} do not cover each of its {steps} steps once");
        ctx.report(Diagnostic::new(Code::E0504, message, expr.span, format!("expected 0..{}", steps - 1)));
    }
}

fn check_federation(ctx: &mut Context<'_>, name: &ast::Ident, target: &ast::Path, block: &ast::Block) {
    let owner = format!("federation `{}`", name.name);
    ctx.expect(target, &[DeclKind::Adapter]);
    let fields = seeded_block(ctx, &owner, name, block, tables::FEDERATION);
    let aggregate = fields.expr("aggregate");
    let method = match aggregate.map(|expr| &expr.kind) {
        Some(ast::ExprKind::Call(call)) => call.callee.text(),
        Some(ast::ExprKind::Path(path)) => path.text(),
        _ => "mean".to_owned(),
    };
    if let Some(expr) = aggregate
        && !matches!(method.as_str(), "mean" | "trimmed" | "median" | "krum")
    {
        let message = format!("`{method}` is not a choice of `aggregate` of {owner}");
        let diagnostic = Diagnostic::new(Code::E0205, message, expr.span, "not a choice");
        let diagnostic = diagnostic.note("choices: mean, trimmed(share), median, krum(n)");
        ctx.report(suggest(diagnostic, &method, expr.span, ["mean", "trimmed", "median", "krum"]));
        return;
    }
    let is_robust = matches!(method.as_str(), "trimmed" | "median" | "krum");
    let clash = if fields.has("sparsify") && is_robust {
        Some("sparsify")
    } else if fields.bool("secure") == Some(true) && method == "krum" {
        Some("secure")
    } else {
        None
    };
    if let (Some(option), Some(aggregate)) = (clash, aggregate) {
        let span = fields.get(option).map_or(name.span, |entry| entry.name_span);
        let message = format!("`aggregate = {method}` and `{option}` of {owner} exclude each other");
        let diagnostic = Diagnostic::new(Code::E0311, message, span, format!("not with {method}"));
        ctx.report(diagnostic.label(aggregate.span, "the rule that needs single updates"));
    }
    if let Some(ast::ExprKind::Call(call)) = fields.expr("privacy").map(|expr| &expr.kind)
        && call.callee.text() == "dp"
    {
        check_arguments(ctx, "`dp`", call.callee.span, &call.args, tables::DP, 3);
    }
}

fn check_service(ctx: &mut Context<'_>, name: &ast::Ident, block: &ast::Block) {
    let owner = format!("service `{}`", name.name);
    let fields = check_block(ctx, &owner, block, tables::SERVICE);
    let Some(expr) = fields.expr("auth") else { return };
    match &expr.kind {
        ast::ExprKind::Call(call) if call.callee.text() == "token_file" && call.args.len() == 1 => {
            constant(ctx, &call.args[0].value, &Type::Text);
        }
        ast::ExprKind::Bad => {}
        _ => {
            let message = format!("`auth` of {owner} is `token_file(path)`");
            ctx.report(Diagnostic::new(Code::E0303, message, expr.span, "expected `token_file(...)`"));
        }
    }
}
