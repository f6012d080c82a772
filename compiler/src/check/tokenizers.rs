//! Tokenizers: their fields and identities, and which one is meant where none is named.
//!
//! The identity of a tokenizer is a hash over everything that changes counts, and nothing else. Names take no part.

use super::context::{Context, TokenizerInfo};
use super::embedders::{fit_column, identity, report_loop};
use super::fields::{Fields, check_block};
use crate::catalog::declarations::TOKENIZER;
use crate::diagnostic::{Code, Diagnostic};
use crate::resolve::{DeclKind, DeclarationId};
use crate::source::Span;
use crate::syntax::ast::ItemKind;
use crate::types::Nominal;

const TOKENIZER_KEY: &str = "promptc 2026 tokenizer v1";

/// The built-in tokenizer, which a declaration of `kind = word_punct` equals.
pub(crate) fn word_punct() -> TokenizerInfo {
    let fp = identity(TOKENIZER_KEY, &("word_punct",));
    TokenizerInfo { nominal: Nominal { fp, name: "word_punct".to_owned() }, area: None }
}

/// The tokenizer where none is named: the only one that the file declares, else the built-in one; E0309 if several differ.
pub(crate) fn default_tokenizer(ctx: &mut Context<'_>, span: Span) -> Option<TokenizerInfo> {
    let module = ctx.module;
    let declared: Vec<DeclarationId> = ctx
        .of_kind(DeclKind::Tokenizer)
        .filter(|declaration| declaration.module == module)
        .map(|declaration| declaration.id)
        .collect();
    let [first, rest @ ..] = declared.as_slice() else { return Some(word_punct()) };
    let found = tokenizer(ctx, *first)?;
    for other in rest {
        if tokenizer(ctx, *other)?.nominal != found.nominal {
            let names: Vec<String> = declared.iter().map(|id| format!("`{}`", ctx.get(*id).local)).collect();
            let message = format!("which tokenizer is meant: {}", names.join(" or "));
            let diagnostic = Diagnostic::new(Code::E0309, message, span, "counts tokens");
            ctx.report(diagnostic.help(format!("add `tokenizer = {}`", ctx.get(*first).local)));
            return None;
        }
    }
    Some(found)
}

/// The tokenizer that a field names, else the default one.
pub(crate) fn tokenizer_of(ctx: &mut Context<'_>, fields: &Fields<'_>, span: Span) -> Option<TokenizerInfo> {
    if !fields.has("tokenizer") {
        return default_tokenizer(ctx, span);
    }
    tokenizer(ctx, fields.declared("tokenizer")?)
}

/// A declared tokenizer; `None` after an error, which is reported once.
pub(crate) fn tokenizer(ctx: &mut Context<'_>, id: DeclarationId) -> Option<TokenizerInfo> {
    if ctx.open_embedders.contains(&id) {
        report_loop(ctx, id);
        return None;
    }
    if let Some(known) = ctx.tokenizers.get(&id) {
        return known.clone();
    }
    ctx.open_embedders.push(id);
    let found = ctx.within(id, |ctx| check_tokenizer(ctx, id));
    ctx.open_embedders.pop();
    ctx.tokenizers.insert(id, found.clone());
    found
}

fn check_tokenizer(ctx: &mut Context<'_>, id: DeclarationId) -> Option<TokenizerInfo> {
    let declaration = ctx.get(id);
    let ItemKind::Plain { block, .. } = &ctx.item(id).kind else { return None };
    let owner = format!("tokenizer `{}`", declaration.local);
    let fields = check_block(ctx, &owner, block, TOKENIZER);
    let kind = fields.text("kind");
    let train = fields.expr("train").map(|expr| (expr, fit_column(ctx, &owner, id, expr)));
    if fields.has_errors {
        return None;
    }
    let kind = kind?;
    if kind == "word_punct" {
        let TokenizerInfo { nominal, area } = word_punct();
        return Some(TokenizerInfo { nominal: Nominal { name: declaration.local.clone(), ..nominal }, area });
    }
    if !fields.has("file") && train.is_none() {
        let message = format!("missing field `file` of {owner}");
        let diagnostic =
            Diagnostic::new(Code::E0207, message, declaration.span, format!("`{kind}` is loaded or trained"));
        ctx.report(diagnostic.help("add `file = ...`, or `train = ...` with `vocab = ...`"));
        return None;
    }
    let train_text = train.map(|(expr, _)| ctx.sources().snippet(expr.span).to_owned());
    let parts = (&kind, fields.text("file"), train_text, fields.u64("vocab"), fields.texts("special"));
    let nominal = Nominal { fp: identity(TOKENIZER_KEY, &parts), name: declaration.local.clone() };
    Some(TokenizerInfo { nominal, area: Some("runtime") })
}
