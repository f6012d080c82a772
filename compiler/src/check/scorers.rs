//! Scorers: what `compress` ranks sentences by, what `retrieve` weighs indexes by, and the `learn` that fits one.

use super::context::{Context, IndexInfo, NewNode, Stream};
use super::embedders::report_loop;
use super::expressions::{Scope, check_column};
use super::fields::{Fields, check_block, check_fields_of_kind};
use super::indexes::index;
use super::later::{self, tables};
use super::operators::{absent_arm, check_arms};
use super::{taint, tokenizers};
use crate::catalog::FieldSpec;
use crate::diagnostic::{Code, Diagnostic};
use crate::graph::{Class, Effect, NodeId};
use crate::op::{self, Op};
use crate::resolve::DeclarationId;
use crate::source::Span;
use crate::syntax::ast::{self, FromKeyword, ItemKind};
use crate::types::Type;

/// A declared scorer.
#[derive(Debug, Clone)]
pub(crate) struct ScorerInfo {
    /// The node that fits it.
    pub(crate) fitted: Option<NodeId>,
    /// The area that it needs, if this build does not have it.
    pub(crate) area: Option<&'static str>,
    /// The indexes that a scorer of kind `fusion` weighs.
    pub(crate) indexes: Option<Vec<DeclarationId>>,
}

/// One `learn` of a scorer as it is written.
struct Learn<'a> {
    name: &'a ast::Ident,
    from: &'a ast::Path,
    block: &'a ast::Block,
}

/// A declared scorer; `None` after an error, which is reported once.
pub(crate) fn scorer(ctx: &mut Context<'_>, id: DeclarationId) -> Option<ScorerInfo> {
    if ctx.open_embedders.contains(&id) {
        report_loop(ctx, id);
        return None;
    }
    if let Some(known) = ctx.scorers.get(&id) {
        return known.clone();
    }
    ctx.open_embedders.push(id);
    let found = ctx.within(id, |ctx| {
        // What fits it sees declarations only, not the flows of the pipeline that uses it.
        let inside = ctx.inside.take();
        let found = check_scorer(ctx, id);
        ctx.inside = inside;
        found
    });
    ctx.open_embedders.pop();
    ctx.scorers.insert(id, found.clone());
    found
}

fn check_scorer(ctx: &mut Context<'_>, id: DeclarationId) -> Option<ScorerInfo> {
    let declaration = ctx.get(id);
    let ItemKind::Plain { block, .. } = &ctx.item(id).kind else { return None };
    let owner = format!("scorer `{}`", declaration.local);
    let fields = check_block(ctx, &owner, block, tables::SCORER);
    let learns = learns_of(ctx, id);
    for second in learns.iter().skip(1) {
        let message = format!("{owner} is learned twice");
        ctx.report(Diagnostic::new(Code::E0202, message, second.name.span, "a second `learn`"));
    }
    let kind = fields.text("kind")?;
    let (_, needed, allowed) = tables::SCORER_KINDS.iter().find(|(name, ..)| *name == kind)?;
    let mut is_right = !fields.has_errors & check_fields_of_kind(ctx, &owner, &kind, &fields, allowed);
    if !fields.has(needed) {
        later::missing(ctx, &owner, needed, block.span, &format!("a scorer of kind `{kind}` needs it"));
        is_right = false;
    }
    let scored = Scored { owner: &owner, name: &declaration.name, span: declaration.span };
    if kind == "fusion" {
        return fusion(ctx, &scored, &fields, learns.first()).filter(|_| is_right);
    }
    let fitted = learns.first().map(|learn| fit(ctx, &scored, learn));
    if !is_right {
        return None;
    }
    let is_plain = kind == "linear" && fields.text("unit")? == "sentence";
    match fitted {
        Some(fitted) => fitted.map(|node| ScorerInfo {
            fitted: Some(node),
            area: (!is_plain || fields.has("file")).then_some("learn"),
            indexes: None,
        }),
        None => Some(ScorerInfo { fitted: None, area: Some("learn"), indexes: None }),
    }
}

/// The scorer that a `learn` is of.
struct Scored<'a> {
    owner: &'a str,
    /// Its name, with that of its module.
    name: &'a str,
    span: Span,
}

fn learns_of<'a>(ctx: &Context<'a>, id: DeclarationId) -> Vec<Learn<'a>> {
    let declaration = ctx.get(id);
    let program = ctx.program;
    let items = &program.modules[declaration.module].file.items;
    let of_scorer = |item: &'a ast::Item| match &item.kind {
        ItemKind::From { keyword: FromKeyword::Learn, name, from, block, .. }
            if name.name == declaration.local =>
        {
            Some(Learn { name, from, block })
        }
        _ => None,
    };
    items.iter().filter_map(of_scorer).collect()
}

/// What a `learn` says, with an objective of the right name; `None` after an error.
fn learned<'a>(
    ctx: &mut Context<'_>,
    scored: &Scored<'_>,
    learn: &Learn<'a>,
    specs: &'static [FieldSpec],
    wanted: &str,
) -> Option<Learned<'a>> {
    let errors = ctx.error_count();
    let (stream, fields, objective) = later::check_learn(ctx, learn.name, learn.from, learn.block, specs)?;
    if ctx.error_count() > errors || stream.is_unknown {
        return None;
    }
    if objective.name != wanted {
        let message = format!("objective `{}` does not fit {}", objective.name, scored.owner);
        let label = format!("a scorer of its kind is learned by `{wanted}`");
        ctx.report(Diagnostic::new(Code::E0311, message, objective.span, label));
        return None;
    }
    Some((stream, fields, objective))
}

/// A scorer of kind `fusion` with the node of its `learn`.
fn fusion(
    ctx: &mut Context<'_>,
    scored: &Scored<'_>,
    fields: &Fields<'_>,
    learn: Option<&Learn<'_>>,
) -> Option<ScorerInfo> {
    let entry = fields.get("from")?;
    let (ids, from) = (entry.declared.clone(), entry.expr?);
    if ids.len() < 2 {
        let message = format!("`from` of {} takes at least 2 indexes, found {}", scored.owner, ids.len());
        ctx.report(Diagnostic::new(Code::E0302, message, entry.span, "expected at least 2"));
        return None;
    }
    let infos: Vec<IndexInfo> = ids.iter().map(|id| index(ctx, *id)).collect::<Option<_>>()?;
    let indexed = &infos.first()?.stream;
    let id = match fields.expr("id") {
        Some(expr) => check_column(ctx, &Scope::of(indexed), expr)?,
        None => {
            let key = indexed.key.first().filter(|_| indexed.key.len() == 1);
            let Some(key) = key.and_then(|key| indexed.column(key)) else {
                let message = format!("the key of stream `{}` is not one column", indexed.name);
                let label = "which column names what is relevant?";
                let diagnostic = Diagnostic::new(Code::E0207, message, scored.span, label);
                ctx.report(diagnostic.help(format!("add `id = ...` to {}", scored.owner)));
                return None;
            };
            key.clone()
        }
    };
    if !matches!(id.ty.required(), Type::Text) {
        let message = format!("type mismatch: `id` of {} is a text, found {}", scored.owner, id.ty);
        let span = fields.span("id").unwrap_or(scored.span);
        ctx.report(Diagnostic::new(Code::E0303, message, span, format!("{}, expected text", id.ty)));
        return None;
    }
    let Some(learn) = learn else {
        return Some(ScorerInfo { fitted: None, area: None, indexes: Some(ids) });
    };
    let (stream, fields, objective) = learned(ctx, scored, learn, tables::LEARN_FUSION, "retrieve")?;
    for info in &infos {
        taint::refuse_test_index(ctx, &info.stream, from.span);
    }
    let (query, query_span) = objective.find("query").map(|(query, span)| (query.clone(), *span))?;
    let texts = Type::List(Box::new(Type::Text));
    let relevant = argument(ctx, &objective, "relevant", &texts)?;
    let what = format!("`learn {}`", learn.name.name);
    let (arms, tables) = check_arms(ctx, &what, (&query, query_span), &ids, &infos, from)?;
    let op = match absent_arm(&arms) {
        Some(arm) => {
            Op::Unavailable { area: "runtime".to_owned(), what: format!("{what} over index `{arm}`") }
        }
        None => {
            Op::FitFusion(op::FitFusion { query, relevant, arms, id: id.name, seed: fields.u64("seed")? })
        }
    };
    let inputs = [stream.node].into_iter().chain(infos.iter().map(|info| info.node)).chain(tables);
    let node = artifact(ctx, scored, op, inputs.collect::<Option<Vec<NodeId>>>()?);
    Some(ScorerInfo { fitted: Some(node), area: None, indexes: Some(ids) })
}

/// The node of a `learn` with the objective `rank`.
fn fit(ctx: &mut Context<'_>, scored: &Scored<'_>, learn: &Learn<'_>) -> Option<NodeId> {
    let (stream, fields, objective) = learned(ctx, scored, learn, tables::LEARN, "rank")?;
    let name = format!("`learn {}`", learn.name.name);
    let Some(epochs) = fields.u32("epochs").filter(|_| fields.has("epochs")) else {
        let message = format!("missing field `epochs` of {name}");
        let diagnostic =
            Diagnostic::new(Code::E0207, message, learn.name.span, "a scorer is fitted in whole passes");
        ctx.report(diagnostic.help("give `epochs` in the place of `steps`"));
        return None;
    };
    let texts = Type::List(Box::new(Type::Text));
    let passages = argument(ctx, &objective, "passages", &texts)?;
    let query = argument(ctx, &objective, "query", &Type::Text)?;
    let answers = argument(ctx, &objective, "answers", &texts)?;
    let titles = match objective.find("titles") {
        Some(_) => Some(argument(ctx, &objective, "titles", &texts)?),
        None => None,
    };
    let tokenizer = tokenizers::default_tokenizer(ctx, learn.name.span)?;
    let op = match tokenizer.area {
        Some(area) => Op::Unavailable { area: area.to_owned(), what: name.clone() },
        None => Op::FitScorer(op::FitScorer {
            passages,
            query,
            answers,
            titles,
            epochs,
            batch: fields.u32("batch")?,
            rate: fields.f64("lr")?,
            seed: fields.u64("seed")?,
            tokenizer: tokenizer.nominal,
        }),
    };
    let input = stream.node?;
    Some(artifact(ctx, scored, op, vec![input]))
}

/// The node of what is learned.
fn artifact(ctx: &mut Context<'_>, scored: &Scored<'_>, op: Op, inputs: Vec<NodeId>) -> NodeId {
    let node = ctx.add_node(NewNode {
        op,
        inputs,
        schema: Vec::new(),
        key: Vec::new(),
        class: Class::Artifact,
        effect: Effect::Seeded,
        version: 1,
        label: format!("scorer {}", scored.name),
        span: scored.span,
    });
    ctx.graph.artifacts.push((scored.name.to_owned(), node));
    node
}

/// A parameter of the objective, of a type or null; E0303 otherwise.
fn argument(
    ctx: &mut Context<'_>,
    objective: &later::Objective,
    name: &str,
    wanted: &Type,
) -> Option<op::Expr> {
    let (expr, span) = objective.find(name)?;
    let is_right = match (expr.ty.required(), wanted) {
        (Type::Unknown, _) => return None,
        (Type::List(element), Type::List(_)) => matches!(element.required(), Type::Text),
        (found, wanted) => found == wanted,
    };
    if !is_right {
        let message =
            format!("type mismatch: `{name}` of `{}` is {wanted}, found {}", objective.name, expr.ty);
        ctx.report(Diagnostic::new(Code::E0303, message, *span, format!("{}, expected {wanted}", expr.ty)));
        return None;
    }
    Some(expr.clone())
}

/// The stream that something is learned from, with what is said of it.
pub(crate) type Learned<'a> = (Stream, super::fields::Fields<'a>, later::Objective);
