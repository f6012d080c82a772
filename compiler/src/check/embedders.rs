//! Embedders: their fields and identities.
//!
//! The identity of an embedder is its space: a hash over everything that changes vectors, and nothing else. Names take no
//! part, so two embedders with equal parameters are one space.

use serde::Serialize;

use super::context::{Context, EmbedderInfo, Fit, NewNode};
use super::fields::{Fields, check_block, check_fields_of_kind};
use crate::canonical::canonical_bytes;
use crate::catalog::declarations::{EMBEDDER, EMBEDDER_KINDS};
use crate::diagnostic::{Code, Diagnostic};
use crate::graph::{Class, Effect};
use crate::op::{self, Op};
use crate::resolve::{DeclKind, DeclarationId};
use crate::source::Span;
use crate::syntax::ast::{self, ItemKind};
use crate::types::{Element, Fp, Nominal, Type};

const SPACE_KEY: &str = "promptc 2026 space v1";

/// Where the numbers of an embedder come from.
#[derive(Serialize)]
#[serde(untagged)]
enum Weights<'a> {
    /// By their content.
    Encoder(&'a op::Encoder),
    /// By the names in the program.
    Named((Option<String>, Option<u64>)),
}

/// A hash of what decides results.
pub(crate) fn identity(key: &str, parts: &impl Serialize) -> Fp {
    Fp(blake3::derive_key(key, &canonical_bytes(parts)))
}

/// Reports an embedder or tokenizer that is trained on what it is needed for.
pub(crate) fn report_loop(ctx: &mut Context<'_>, id: DeclarationId) {
    let declaration = ctx.get(id);
    let noun = declaration.kind.noun();
    let message = format!("{noun} `{}` is trained on rows that need it", declaration.local);
    ctx.report(Diagnostic::new(Code::E0402, message, declaration.span, "leads back to itself"));
}

/// The text column of a stream that something is fitted on: `docs.text`. Remembers it for the taint pass.
pub(crate) fn fit_column(
    ctx: &mut Context<'_>,
    what: &str,
    id: DeclarationId,
    expr: &ast::Expr,
) -> Option<(super::context::Stream, op::Expr)> {
    let ast::ExprKind::Path(path) = &expr.kind else {
        let message = format!("{what} is fitted on the column of a stream");
        ctx.report(Diagnostic::new(Code::E0303, message, expr.span, "expected `stream.column`"));
        return None;
    };
    let (_, stream, rest) = super::flows::stream_prefix(ctx, path)?;
    let scope = super::expressions::Scope::of(&stream);
    let [column] = rest else {
        let message = format!("{what} is fitted on the column of a stream");
        ctx.report(Diagnostic::new(Code::E0303, message, expr.span, "expected `stream.column`"));
        return None;
    };
    if stream.is_unknown {
        return None;
    }
    let Some(found) = stream.column(&column.name) else {
        super::expressions::report_column(ctx, &scope, column);
        return None;
    };
    if !matches!(found.ty.required(), Type::Text | Type::Unknown) {
        super::types::report_mismatch(ctx, Code::E0303, &found.ty.clone(), &Type::Text, expr.span);
        return None;
    }
    let text = super::expressions::column(found);
    let fit = Fit {
        what: what.to_owned(),
        declaration: id,
        taint: stream.taint.clone(),
        stream: path.segments[..path.segments.len() - 1]
            .iter()
            .map(|part| part.name.as_str())
            .collect::<Vec<_>>()
            .join("."),
        span: expr.span,
    };
    ctx.fits.push(fit);
    Some((stream, text))
}

/// A declared embedder; `None` after an error, which is reported once.
pub(crate) fn embedder(ctx: &mut Context<'_>, id: DeclarationId) -> Option<EmbedderInfo> {
    if ctx.open_embedders.contains(&id) {
        report_loop(ctx, id);
        return None;
    }
    if let Some(known) = ctx.embedders.get(&id) {
        return known.clone();
    }
    ctx.open_embedders.push(id);
    let found = ctx.within(id, |ctx| check_embedder(ctx, id));
    ctx.open_embedders.pop();
    ctx.embedders.insert(id, found.clone());
    found
}

/// The declared embedder of a space.
pub(crate) fn embedder_of_space(ctx: &mut Context<'_>, space: &Nominal) -> Option<DeclarationId> {
    let declared: Vec<DeclarationId> =
        ctx.of_kind(DeclKind::Embedder).map(|declaration| declaration.id).collect();
    declared.into_iter().find(|id| embedder(ctx, *id).is_some_and(|embedder| embedder.op.space == *space))
}

fn check_embedder(ctx: &mut Context<'_>, id: DeclarationId) -> Option<EmbedderInfo> {
    let declaration = ctx.get(id);
    let ItemKind::Plain { block, .. } = &ctx.item(id).kind else { return None };
    let owner = format!("embedder `{}`", declaration.local);
    let mut fields = check_block(ctx, &owner, block, EMBEDDER);
    if let Some(kind) = fields.text("kind") {
        let allowed =
            EMBEDDER_KINDS.iter().find(|(name, _)| *name == kind).map_or(&[][..], |(_, fields)| fields);
        if !check_fields_of_kind(ctx, &owner, &kind, &fields, allowed) {
            return None;
        }
    }
    let idf = fields.text("weight").as_deref() == Some("idf");
    let fit = fields.expr("fit").map(|expr| (expr, fit_column(ctx, &owner, id, expr)));
    fields.has_errors |= !check_embedder_fields(ctx, &owner, declaration.span, &fields, idf);
    if fields.has_errors {
        return None;
    }
    let kind = fields.text("kind")?;
    let element = match fields.text("element")?.as_str() {
        "f16" => Element::F16,
        "i8" => Element::I8,
        "bit" => Element::Bit,
        _ => Element::F32,
    };
    let ngrams: Vec<u8> =
        fields.ints("ngrams").into_iter().filter_map(|length| u8::try_from(length).ok()).collect();
    let (mut dim, seed, normalize) =
        (fields.u32("dim")?, fields.u64("seed").unwrap_or(0), fields.bool("normalize")?);
    let encoder = if matches!(kind.as_str(), "static" | "bert") {
        let (encoder, width) = check_encoder(ctx, &owner, &kind, declaration.span, &fields)?;
        dim = width;
        Some(encoder)
    } else {
        None
    };
    let is_hashed = kind == "hashed_ngram";
    let fit_text = fit.as_ref().map(|(expr, _)| ctx.sources().snippet(expr.span).to_owned()).filter(|_| idf);
    let parts = (
        (&kind, dim, element, normalize),
        is_hashed.then_some((&ngrams, seed)),
        fit_text,
        match &encoder {
            Some(encoder) => Some(Weights::Encoder(encoder)),
            None if is_hashed => None,
            None => Some(Weights::Named((fields.text("pool"), fields.u64("max_tokens")))),
        },
        fields.declared("model").map(|model| ctx.get(model).name.clone()),
    );
    let space = Nominal { fp: identity(SPACE_KEY, &parts), name: declaration.local.clone() };
    let ty = Type::Vector { dim, element, space: Some(space.clone()) };
    let embedder = op::Embedder { kind, dim, ngrams, seed, idf, normalize, element, space, encoder };
    let fitted = match fit {
        Some((_, Some((stream, text)))) if idf => {
            let node = stream.node.map(|input| {
                ctx.add_node(NewNode {
                    op: Op::FitIdf { text, embedder: embedder.clone() },
                    inputs: vec![input],
                    schema: Vec::new(),
                    key: Vec::new(),
                    class: Class::Artifact,
                    effect: Effect::Pure,
                    version: 1,
                    label: owner.clone(),
                    span: declaration.span,
                })
            });
            ctx.graph.artifacts.extend(node.map(|node| (declaration.name.clone(), node)));
            node
        }
        Some((_, None)) => return None,
        _ => None,
    };
    let is_built = is_hashed || embedder.encoder.is_some();
    Some(EmbedderInfo { op: embedder, ty, area: (!is_built).then_some("runtime"), fitted })
}

/// The model of an embedder of kind `static` or `bert`, and the length of its vectors.
fn check_encoder(
    ctx: &mut Context<'_>,
    owner: &str,
    kind: &str,
    declared: Span,
    fields: &Fields<'_>,
) -> Option<(op::Encoder, u32)> {
    let span = fields.span("dir").unwrap_or(declared);
    let dir = fields.text("dir").map(|dir| {
        let dir = ctx.expand_home(&dir, span);
        let base = &ctx.program.modules[ctx.module].folder;
        if dir.starts_with('/') || base.is_empty() { dir } else { format!("{base}/{dir}") }
    });
    let place = super::EncoderPlace { kind, dir: dir.as_deref() };
    let folder = match (ctx.outside.encoders)(place) {
        Ok(folder) => folder,
        Err(_) if fields.has("dim") => {
            // The program can be checked where the model is not; it cannot be run there.
            let (dim, max_tokens) = (fields.u32("dim")?, fields.u32("max_tokens")?);
            let hash = format!("absent {}", dir.as_deref().unwrap_or(kind));
            super::EncoderFolder::new(hash, dim, Some(max_tokens))
        }
        Err(why) => {
            let message = format!("model folder of {owner} cannot be used: {why}");
            let diagnostic =
                Diagnostic::new(Code::E2202, message, span, "the space is what this folder holds");
            ctx.report(diagnostic.help(match kind {
                "static" => {
                    "give a folder that `promptc distill` wrote; without `dir` it is the table that comes with promptc"
                }
                _ => {
                    "give a folder with `config.json` of a BERT model, `model.safetensors`, and `tokenizer.json` or `vocab.txt`; with `dim` \
                     the program can be checked without it; without `dir` it is the encoder that comes with promptc"
                }
            }));
            return None;
        }
    };
    if let Some(found) = fields.u32("dim").filter(|dim| fields.has("dim") && *dim != folder.dim) {
        let message = format!("vectors of {owner} have {} numbers, `dim` says {found}", folder.dim);
        let span = fields.span("dim").unwrap_or(span);
        ctx.report(Diagnostic::new(Code::E0504, message, span, format!("expected {}", folder.dim)));
        return None;
    }
    let dir = dir.unwrap_or_default();
    let Some(most_tokens) = folder.max_tokens else {
        let encoder = op::Encoder { dir, hash: folder.hash, max_tokens: u32::MAX, pool: "mean".to_owned() };
        return Some((encoder, folder.dim));
    };
    let usual_pool = folder.pool.filter(|_| !fields.has("pool")).map(str::to_owned);
    let pool = usual_pool.or_else(|| fields.text("pool"))?;
    if pool == "last" {
        let message = format!("`pool = last` of {owner} is for models that read from left to right");
        let span = fields.span("pool").unwrap_or(span);
        ctx.report(Diagnostic::new(Code::E0311, message, span, "expected `mean` or `cls`"));
        return None;
    }
    let usual_tokens = folder.usual_tokens.filter(|_| !fields.has("max_tokens")).map(u64::from);
    let wanted = usual_tokens.or_else(|| fields.u64("max_tokens"))?;
    if fields.has("max_tokens") && !(3..=u64::from(most_tokens)).contains(&wanted) {
        let message = format!("value of `max_tokens` of {owner} is not 3 to {most_tokens}");
        let span = fields.span("max_tokens").unwrap_or(span);
        ctx.report(Diagnostic::new(Code::E0502, message, span, "the model has no positions beyond"));
        return None;
    }
    let max_tokens = u32::try_from(wanted).unwrap_or(u32::MAX).min(most_tokens);
    Some((op::Encoder { dir, hash: folder.hash, max_tokens, pool }, folder.dim))
}

/// Rules between the fields of an embedder.
fn check_embedder_fields(
    ctx: &mut Context<'_>,
    owner: &str,
    span: Span,
    fields: &Fields<'_>,
    idf: bool,
) -> bool {
    let kind = fields.text("kind").unwrap_or_default();
    let mut missing: Vec<(&str, &str)> = Vec::new();
    if kind == "hashed_ngram" && !fields.has("seed") {
        missing.push(("seed", "seed = 1"));
    }
    if kind == "model" && !fields.has("model") {
        missing.push(("model", "model = ..."));
    }
    if idf && !fields.has("fit") {
        missing.push(("fit", "fit = stream.column"));
    }
    for (name, example) in &missing {
        let message = format!("missing field `{name}` of {owner}");
        let diagnostic = Diagnostic::new(Code::E0207, message, span, format!("`{name}` is required here"));
        ctx.report(diagnostic.help(format!("add `{example}`")));
    }
    let mut is_right = missing.is_empty();
    if kind == "hashed_ngram" && fields.u32("dim").is_some_and(|dim| dim % 8 != 0) {
        let span = fields.span("dim").unwrap_or(span);
        let message = format!("value of `dim` of {owner} is not a multiple of 8");
        ctx.report(Diagnostic::new(Code::E0502, message, span, "expected a multiple of 8"));
        is_right = false;
    }
    is_right
}
