//! Scorers: what `compress` ranks sentences by, and the `learn` that fits one.

use super::context::{Context, NewNode, Stream};
use super::embedders::report_loop;
use super::fields::check_block;
use super::later::{self, tables};
use super::tokenizers;
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
    let fitted = learns.first().map(|learn| fit(ctx, &owner, declaration.span, learn));
    if fields.has_errors {
        return None;
    }
    let is_plain = fields.text("kind")? == "linear" && fields.text("unit")? == "sentence";
    match fitted {
        Some(fitted) => fitted.map(|node| ScorerInfo {
            fitted: Some(node),
            area: (!is_plain || fields.has("file")).then_some("learn"),
        }),
        None => Some(ScorerInfo { fitted: None, area: Some("learn") }),
    }
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

/// The node of a `learn` with the objective `rank`.
fn fit(ctx: &mut Context<'_>, owner: &str, declared: Span, learn: &Learn<'_>) -> Option<NodeId> {
    let errors = ctx.error_count();
    let learned = later::check_learn(ctx, learn.name, learn.from, learn.block);
    let (stream, fields, objective) = learned?;
    if ctx.error_count() > errors || stream.is_unknown {
        return None;
    }
    let name = format!("`learn {}`", learn.name.name);
    if objective.name != "rank" {
        let message = format!("objective `{}` does not fit {owner}", objective.name);
        let span = objective.span;
        ctx.report(Diagnostic::new(Code::E0311, message, span, "a scorer is learned by `rank`"));
        return None;
    }
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
    let node = ctx.add_node(NewNode {
        op,
        inputs: vec![input],
        schema: Vec::new(),
        key: Vec::new(),
        class: Class::Artifact,
        effect: Effect::Seeded,
        version: 1,
        label: owner.to_owned(),
        span: declared,
    });
    ctx.graph.artifacts.push((learn.name.name.clone(), node));
    Some(node)
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
        let message = format!("type mismatch: `{name}` of `rank` is {wanted}, found {}", expr.ty);
        ctx.report(Diagnostic::new(Code::E0303, message, *span, format!("{}, expected {wanted}", expr.ty)));
        return None;
    }
    Some(expr.clone())
}

/// The stream that something is learned from, with what is said of it.
pub(crate) type Learned<'a> = (Stream, super::fields::Fields<'a>, later::Objective);
