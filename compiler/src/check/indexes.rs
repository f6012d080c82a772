//! Indexes over columns of streams.

use super::context::{Context, Fit, IndexInfo, NewNode, Stream};
use super::expressions::{Scope, check_column, report_column};
use super::fields::{Fields, check_block, check_fields_of_kind};
use crate::catalog::declarations::{INDEX, INDEX_KINDS};
use crate::diagnostic::{Code, Diagnostic};
use crate::graph::{Class, Effect};
use crate::op::{self, Op};
use crate::resolve::DeclarationId;
use crate::source::Span;
use crate::syntax::ast::ItemKind;
use crate::types::{Column, Type};

/// A declared index; `None` after an error, which is reported once.
pub(crate) fn index(ctx: &mut Context<'_>, id: DeclarationId) -> Option<IndexInfo> {
    if let Some(known) = ctx.indexes.get(&id) {
        return known.clone();
    }
    let found = ctx.within(id, |ctx| {
        // An index sees declarations only, not the flows of the pipeline that asks for it.
        let inside = ctx.inside.take();
        let found = check_index(ctx, id);
        ctx.inside = inside;
        found
    });
    ctx.indexes.insert(id, found.clone());
    found
}

fn check_index(ctx: &mut Context<'_>, id: DeclarationId) -> Option<IndexInfo> {
    let declaration = ctx.get(id);
    let ItemKind::Index { on, column, block, .. } = &ctx.item(id).kind else { return None };
    let owner = format!("index `{}`", declaration.local);
    let fields = check_block(ctx, &owner, block, INDEX);
    let (stream_key, stream) = super::flows::stream(ctx, on)?;
    if stream.is_unknown {
        return None;
    }
    let Some(found) = stream.column(&column.name).cloned() else {
        report_column(ctx, &Scope::of(&stream), column);
        return None;
    };
    let kind = fields.text("kind")?;
    let (_, is_vector, needs_seed, allowed) = INDEX_KINDS.iter().find(|(name, ..)| *name == kind)?;
    let mut is_right = !fields.has_errors & check_fields_of_kind(ctx, &owner, &kind, &fields, allowed);
    is_right &= check_index_column(ctx, &kind, *is_vector, &found, column.span);
    is_right &= check_ranges(ctx, &owner, &fields, &found.ty);
    let title = check_title(ctx, &stream, &fields);
    is_right &= title.is_some();
    let seed = fields.u64("seed");
    if *needs_seed && !fields.has("seed") {
        super::operators::report_seed(ctx, &owner, declaration.span, block.span, !block.fields.is_empty());
        is_right = false;
    }
    if !is_right {
        return None;
    }
    if kind.starts_with("ivf") {
        let fit = Fit {
            what: owner.clone(),
            declaration: id,
            taint: stream.taint.clone(),
            stream: on.text(),
            span: on.span,
        };
        ctx.fits.push(fit);
    }
    let embedder = match found.ty.required() {
        Type::Vector { space: Some(space), .. } => super::embedders::embedder_of_space(ctx, space),
        _ => None,
    };
    let op = if kind == "minhash" {
        Op::Unavailable { area: "store".to_owned(), what: format!("{owner} of kind `minhash`") }
    } else {
        let name_or_none = |name: &str| fields.text(name).filter(|text| text != "none");
        Op::Index(op::Index {
            kind: kind.clone(),
            column: found.name.clone(),
            metric: fields.text("metric")?,
            recall: if kind == "auto" { fields.f64("recall") } else { None },
            m: fields.u32("m")?,
            ef_build: fields.u32("ef_build")?,
            ef: fields.u32("ef")?,
            lists: fields.u32("lists"),
            probes: fields.u32("probes")?,
            sub: fields.u32("sub"),
            bits: fields.u32("bits")?,
            refine: fields.u32("refine")?,
            seed,
            k1: fields.f64("k1")?,
            b: fields.f64("b")?,
            stem: name_or_none("stem"),
            stop: name_or_none("stop"),
            positions: fields.bool("positions")?,
            title: title?,
        })
    };
    let node = stream.node.map(|input| {
        ctx.add_node(NewNode {
            op,
            inputs: vec![input],
            schema: Vec::new(),
            key: Vec::new(),
            class: Class::Artifact,
            effect: if *needs_seed { Effect::Seeded } else { Effect::Pure },
            // Vectors of zeros are left out since the second version; before it, the graph of `hnsw` became promptc's own.
            version: match kind.as_str() {
                "bm25" | "minhash" => 1,
                "hnsw" => 3,
                _ => 2,
            },
            label: format!("index {}", declaration.name),
            span: declaration.span,
        })
    });
    ctx.graph.artifacts.extend(node.map(|node| (declaration.name.clone(), node)));
    Some(IndexInfo { kind, stream, stream_key, column: found, embedder, node })
}

/// A recall that no index reaches, or every one; a weight of nothing.
fn check_ranges(ctx: &mut Context<'_>, owner: &str, fields: &Fields<'_>, indexed: &Type) -> bool {
    let recall = fields.f64("recall").filter(|_| fields.has("recall"));
    if let (Some(recall), Some(span)) = (recall, fields.span("recall"))
        && !(recall > 0.0 && recall <= 1.0)
    {
        let message = format!("value of `recall` of {owner} is out of range");
        ctx.report(Diagnostic::new(Code::E0502, message, span, "expected more than 0 % and at most 100 %"));
        return false;
    }
    if let (Some(bits @ 5..=7), Some(span)) = (fields.u32("bits"), fields.span("bits")) {
        let message = format!("value of `bits` of {owner} is {bits}");
        ctx.report(Diagnostic::new(Code::E0502, message, span, "expected 4 or 8"));
        return false;
    }
    if let (Type::Vector { dim, .. }, Some(sub), Some(span)) =
        (indexed.required(), fields.u32("sub"), fields.span("sub"))
        && dim % sub.max(1) != 0
    {
        let message = format!("value of `sub` of {owner} does not divide vectors of {dim} numbers");
        ctx.report(Diagnostic::new(Code::E0502, message, span, format!("expected a divisor of {dim}")));
        return false;
    }
    if let (Some(span), false) = (fields.span("title_weight"), fields.has("title")) {
        let message = format!("missing field `title` of {owner}");
        ctx.report(Diagnostic::new(Code::E0207, message, span, "weighs the words of `title`"));
        return false;
    }
    true
}

/// The column of titles with its weight, if there is one; `None` after an error.
fn check_title(ctx: &mut Context<'_>, stream: &Stream, fields: &Fields<'_>) -> Option<Option<(String, u32)>> {
    let Some(expr) = fields.expr("title") else { return Some(None) };
    let column = check_column(ctx, &Scope::of(stream), expr)?;
    if !matches!(column.ty.required(), Type::Text) {
        let message = format!("type mismatch: `title` is a text, found {}", column.ty);
        ctx.report(Diagnostic::new(Code::E0303, message, expr.span, format!("{}, expected text", column.ty)));
        return None;
    }
    Some(Some((column.name, fields.u32("title_weight")?)))
}

fn check_index_column(
    ctx: &mut Context<'_>,
    kind: &str,
    is_vector: bool,
    column: &Column,
    span: Span,
) -> bool {
    let (is_right, wanted) = match (is_vector, column.ty.required()) {
        (_, Type::Unknown) => (true, ""),
        (true, Type::Vector { space: None, .. }) => {
            let message = format!("column `{}` is {}, whose space is not known", column.name, column.ty);
            let diagnostic = Diagnostic::new(Code::E0301, message, span, "vector without space");
            ctx.report(diagnostic.help("give it a space with `bind_space`"));
            return false;
        }
        (true, ty) => (matches!(ty, Type::Vector { .. }), "a vector"),
        (false, ty) => (matches!(ty, Type::Text), "a text"),
    };
    if !is_right {
        let message = format!("type mismatch: index kind `{kind}` is over {wanted}, found {}", column.ty);
        ctx.report(Diagnostic::new(Code::E0303, message, span, format!("{}, expected {wanted}", column.ty)));
    }
    is_right
}
